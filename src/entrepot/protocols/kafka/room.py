"""Room: what requests hold that are taken in and wait: for their turn, or to be checked beside the loop.

Until it is taken in, a request lies in its connection's receive buffer, which counts as unfinished (net/unfinished.py) and is given up when all of them are
too much. Behind that only so much may wait as there is room for; the first is let in whatever its size.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

ROOM_BYTES = 128 << 20
FREE_BYTES = 16 << 10  # a request that is not longer needs no room


class Room:
    """Of one process. `is_full`: long requests are to wait(function), which is called, once, when there is room again."""

    __slots__ = ("held_bytes", "is_full", "limit_bytes", "waiting")

    def __init__(self, limit_bytes: int = ROOM_BYTES) -> None:
        self.limit_bytes = limit_bytes
        self.held_bytes = 0
        self.is_full = False
        self.waiting: deque[Callable[[], object]] = deque()

    def hold(self, size: int) -> None:
        """A request of so many bytes is in."""
        self.held_bytes += size
        self.is_full = self.held_bytes >= self.limit_bytes

    def release(self, size: int) -> None:
        """It is through, or given up."""
        self.held_bytes -= size
        self.is_full = self.held_bytes >= self.limit_bytes
        while self.waiting and not self.is_full:
            self.waiting.popleft()()

    def wait(self, function: Callable[[], object]) -> None:
        """Call function() when there is room; it looks again."""
        self.waiting.append(function)
