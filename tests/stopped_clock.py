"""A clock for tests: it stands still until it is set."""

from __future__ import annotations


class StoppedClock:
    """See entrepot.clock.Clock; the wall clock shows 0."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic_s(self) -> float:
        return self.now_s

    def elapsed_s(self) -> float:
        return self.now_s

    def wall_ms(self) -> int:
        return 0
