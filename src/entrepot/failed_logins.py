"""FailedLogins: how often an address was wrong lately, and how long it waits for the next answer because of it.

Counted for each (address, name), and for each address over all names. A right login forgets the first. What is remembered is bounded: the one that
failed longest ago is forgotten.
"""

from __future__ import annotations

from collections import OrderedDict

REMEMBERED_MAX = 10_000
FREE_FAILURES = 3  # of one name from one address, which are answered at once
FREE_FAILURES_OF_ADDRESS = 100
FIRST_DELAY_S = 0.1  # then twice as long each time
DELAY_MAX_S = 5.0
FORGET_S = 60.0  # without a further failure


class FailedLogins:
    """Times are monotonic seconds."""

    def __init__(self) -> None:
        self._failures: OrderedDict[tuple[str, str | None], tuple[int, float]] = OrderedDict()  # (count, when last), the oldest first

    def failed(self, source: str, name: str, now: float) -> float:
        """One more failure; how many seconds its answer has to wait."""
        of_name = self._count((source, name), now)
        of_source = self._count((source, None), now)
        return max(_delay(of_name - FREE_FAILURES), _delay(of_source - FREE_FAILURES_OF_ADDRESS))

    def succeeded(self, source: str, name: str) -> None:
        """The right password was shown."""
        self._failures.pop((source, name), None)

    def _count(self, key: tuple[str, str | None], now: float) -> int:
        count, last = self._failures.pop(key, (0, now))
        if now - last > FORGET_S:
            count = 0
        self._failures[key] = (count + 1, now)
        if len(self._failures) > REMEMBERED_MAX:
            self._failures.popitem(last=False)
        return count + 1


def _delay(count: int) -> float:
    if count <= 0:
        return 0.0
    return float(min(FIRST_DELAY_S * 2 ** min(count - 1, 30), DELAY_MAX_S))
