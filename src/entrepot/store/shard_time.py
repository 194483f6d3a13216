"""ShardTime: the time that leases, delays, times to live and deduplication windows are counted in: what is journalled is never behind it.

It begins at the wall clock, or where the last owner's was if that is later, and then runs by a clock that counts what passes and cannot be set. Where the
wall clock says otherwise it comes nearer to it by at most a thousandth of what passes: a lease does not end early because somebody sets the clock.
"""

from __future__ import annotations

from entrepot.clock import Clock

SLEW = 0.001  # of what has passed, towards the wall clock
_SLEW = SLEW


class ShardTime:
    """Of the shards that one store has open."""

    __slots__ = ("_at_s", "_clock", "_ms", "_tick_ms", "_told_ms")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._at_s = clock.elapsed_s()
        self._ms = float(clock.wall_ms())
        self._tick_ms = -1
        self._told_ms = 0

    def not_before(self, time_ms: int) -> None:
        """Something was journalled at that time, so it is not earlier now."""
        if time_ms > self._ms:
            self._ms = float(time_ms)
            self._tick_ms = -1

    def now_ms(self) -> int:
        """Milliseconds since 1970, never behind what was told before."""
        at_s = self._clock.elapsed_s()
        passed_ms = (at_s - self._at_s) * 1000
        if passed_ms > 0:
            self._at_s = at_s
            most = passed_ms * _SLEW
            off = self._clock.wall_ms() - self._ms - passed_ms
            self._ms += passed_ms + max(-most, min(most, off))
        return int(self._ms)

    def at(self, tick_ms: int) -> int:
        """now_ms(), looked at once in a tick: as long as the wall clock of it, `tick_ms`, is the same."""
        if tick_ms != self._tick_ms:
            self._tick_ms = tick_ms
            self._told_ms = self.now_ms()
        return self._told_ms
