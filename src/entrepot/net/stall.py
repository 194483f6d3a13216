"""How long the event loop is ever away: a timer that should fire every 10 ms, and by how much it is late.

A stall shorter than the interval may go unseen; one over 20 ms is always seen, at most 10 ms too short. It costs 100 wake-ups a second.
A loop may be away because of what it does, or because other threads have the processors; the system says how long its thread waited for one.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from typing import Protocol

from entrepot.clock import Clock

INTERVAL_S = 0.01
BOUNDS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


class Waited(Protocol):
    """Tells how long a thread waited for a processor."""

    def seconds(self) -> float:
        """In all, until now."""

    def close(self) -> None:
        """It is asked no more."""


class StallWatch:
    """Counts how late the loop was. `counts[i]` are those of at most BOUNDS_S[i] seconds, the last those above all bounds.

    `longest_own_s` is the longest without what the thread waited for a processor, be it before the timer was due (so it may be up to 10 ms too short):
    what the broker itself did, or waited for.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock, waited: Waited) -> None:
        self._loop = loop
        self._clock = clock
        self._waited = waited
        self._waited_s = 0.0
        self._due = 0.0
        self._handle: asyncio.TimerHandle | None = None
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.sum_s = 0.0
        self.longest_s = 0.0
        self.longest_own_s = 0.0

    def start(self) -> None:
        """Watch from now on."""
        self._waited_s = self._waited.seconds()
        self._due = self._clock.monotonic_s() + INTERVAL_S
        self._handle = self._loop.call_later(INTERVAL_S, self._fire)

    def stop(self) -> None:
        """Watch no longer."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
            self._waited.close()

    def note(self, late_s: float, waited_s: float) -> None:
        """One observation; in the time since the one before the thread waited `waited_s` for a processor."""
        self.counts[bisect_left(BOUNDS_S, late_s)] += 1
        self.sum_s += late_s
        self.longest_s = max(self.longest_s, late_s)
        self.longest_own_s = max(self.longest_own_s, late_s - waited_s)

    def _fire(self) -> None:
        now = self._clock.monotonic_s()
        waited_s = self._waited.seconds()
        self.note(max(0.0, now - self._due), waited_s - self._waited_s)
        self._waited_s = waited_s
        self._due = now + INTERVAL_S
        self._handle = self._loop.call_later(INTERVAL_S, self._fire)
