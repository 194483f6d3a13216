"""When a worker that has ended is started again, and by which start the others know it."""

from __future__ import annotations

from pathlib import Path

from entrepot.clock import Clock
from entrepot.cluster.greeting import START_SIZE
from entrepot.entropy import Entropy
from entrepot.model.errors import CorruptData
from entrepot.store.local.whole_file import write_whole

DELAYS_S = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0)  # the last goes on
STEADY_S = 10.0  # who was ready for so long begins with the first again
LAST_START_NAME = "last.start"

_NUMBER_SIZE = 8  # of a start, in front of its octets of chance
_NS_PER_MS = 1_000_000


class Restarts:
    """Of one worker."""

    def __init__(self) -> None:
        self.count = 0  # since the node's start
        self._in_a_row = 0

    def delay_s(self, ready_s: float | None, has_failed: bool = False) -> float:
        """It has ended: how long to wait. `ready_s`: for how long it was ready, None: it never was. `has_failed`: what ended it may well be there still."""
        if ready_s is not None and ready_s >= STEADY_S:
            self._in_a_row = 0
        if has_failed:
            self._in_a_row = max(self._in_a_row, 1)
        delay = DELAYS_S[min(self._in_a_row, len(DELAYS_S) - 1)]
        self._in_a_row += 1
        self.count += 1
        return delay


class StartIds:
    """Starts of a node's workers (cluster/greeting.py): each is greater than all before it, over restarts of the node too, and though the clock be set back."""

    def __init__(self, directory: Path, clock: Clock, entropy: Entropy) -> None:
        self._path = directory / LAST_START_NAME
        self._clock = clock
        self._entropy = entropy
        self._last = _last(self._path)

    def next(self) -> str:
        """Hexadecimal, as WorkerPlace has it; kept before it is used. Raises OSError."""
        self._last = max(self._last + 1, self._clock.wall_ms() * _NS_PER_MS)
        start = self._last.to_bytes(_NUMBER_SIZE, "big") + self._entropy.octets(START_SIZE - _NUMBER_SIZE)
        write_whole(self._path, start.hex().encode() + b"\n")
        return start.hex()


def _last(path: Path) -> int:
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return 0
    try:
        start = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        start = b""
    if len(start) != START_SIZE:
        raise CorruptData(f"{path} holds no start: {text[:100]!r}; without the file starts are counted by the clock")
    return int.from_bytes(start[:_NUMBER_SIZE], "big")
