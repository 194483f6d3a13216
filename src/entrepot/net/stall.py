"""How long the event loop is ever away: a timer that should fire every 10 ms, and by how much it is late.

A stall shorter than the interval may go unseen; one over 20 ms is always seen, at most 10 ms too short. It costs 100 wake-ups a second.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left

from entrepot.clock import Clock

INTERVAL_S = 0.01
BOUNDS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


class StallWatch:
    """Counts how late the loop was. `counts[i]` are those of at most BOUNDS_S[i] seconds, the last those above all bounds."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock) -> None:
        self._loop = loop
        self._clock = clock
        self._due = 0.0
        self._handle: asyncio.TimerHandle | None = None
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.sum_s = 0.0
        self.longest_s = 0.0

    def start(self) -> None:
        """Watch from now on."""
        self._due = self._clock.monotonic_s() + INTERVAL_S
        self._handle = self._loop.call_later(INTERVAL_S, self._fire)

    def stop(self) -> None:
        """Watch no longer."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def note(self, late_s: float) -> None:
        """One observation."""
        self.counts[bisect_left(BOUNDS_S, late_s)] += 1
        self.sum_s += late_s
        self.longest_s = max(self.longest_s, late_s)

    def _fire(self) -> None:
        now = self._clock.monotonic_s()
        self.note(max(0.0, now - self._due))
        self._due = now + INTERVAL_S
        self._handle = self._loop.call_later(INTERVAL_S, self._fire)
