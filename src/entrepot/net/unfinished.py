"""Unfinished: what all connections hold of requests and messages that have not arrived whole, and its limit.

Each connection holds a little freely (its receive buffer up to BUFFER_MAX_BYTES); what is more counts here. Over the limit, the connection that has
gone longest without finishing anything gives its memory back: who sends on is through soon, and who has stopped half-way makes room for others.
"""

from __future__ import annotations

from collections.abc import Callable


class Unfinished:
    """Of one process. `held_bytes` now; `ended_count` connections that were ended for it, since start."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.held_bytes = 0
        self.ended_count = 0
        self._shares: dict[Share, None] = {}  # those that hold something, the one without success for longest first

    def share(self, give_back: Callable[[], bool]) -> Share:
        """A connection's share. give_back() makes it give its memory back; whether the connection had to end for it. It never raises."""
        return Share(self, give_back)

    def changed(self, share: Share, delta: int) -> None:
        """Called by a share that holds more or less. May have any share give back, that one too."""
        self.held_bytes += delta
        if not share.held_bytes:
            self._shares.pop(share, None)
            return
        self._shares.setdefault(share, None)
        while self.held_bytes > self.limit_bytes and self._shares:
            longest = next(iter(self._shares))
            del self._shares[longest]
            self.held_bytes -= longest.held_bytes
            longest.held_bytes = 0
            if longest.give_back():
                self.ended_count += 1

    def renewed(self, share: Share) -> None:
        """Called by a share whose connection has finished something: it is last in line."""
        if share in self._shares:
            del self._shares[share]
            self._shares[share] = None


class Share:
    """What one connection holds."""

    __slots__ = ("_all", "give_back", "held_bytes")

    def __init__(self, shared: Unfinished, give_back: Callable[[], bool]) -> None:
        self._all = shared
        self.give_back = give_back
        self.held_bytes = 0

    def hold(self, size: int) -> None:
        """It holds `size` bytes beyond what is free (negative: none) from now on."""
        size = max(0, size)
        delta = size - self.held_bytes
        if delta:
            self.held_bytes = size
            self._all.changed(self, delta)

    def finished(self) -> None:
        """A request or message is whole."""
        if self.held_bytes:
            self._all.renewed(self)

    def close(self) -> None:
        """The connection has ended."""
        self.hold(0)
        self.give_back = _nothing


def _nothing() -> bool:
    """For who has ended."""
    return False
