"""SimulatedLoop: a deterministic event loop in virtual time. The same seed and the same calls give the same run.

Stands in for asyncio's loop where sans-IO code takes a Scheduler: call_soon, call_later, call_at, time. Callbacks due at one time run in the
order they were asked for, as asyncio's do. Time passes only when nothing is left to do at the present.
"""

from __future__ import annotations

import hashlib
import heapq
import random
from collections import deque
from collections.abc import Callable
from typing import Any

WALL_START_MS = 1_750_000_000_000  # what the simulated wall clock shows at time 0


class Handle:
    """A callback that was asked for; cancel() takes it back."""

    __slots__ = ("args", "callback", "cancelled", "when")

    def __init__(self, when: float, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.when = when
        self.callback = callback
        self.args = args
        self.cancelled = False

    def cancel(self) -> None:
        """It will not run; nothing if it has. As asyncio's, it lets go of what it would have called."""
        self.cancelled = True
        self.callback, self.args = _nothing, ()


class Stuck(AssertionError):
    """run_until() ran out of events, or of its limit, before its condition held."""


class SimulatedLoop:
    """Virtual time and the one source of chance of a run.

    `random` is for the parts of the simulation; what happens goes into the trace, whose digest() two runs of one seed share.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self._now = 0.0
        self._order = 0
        self._timers: list[tuple[float, int, Handle]] = []
        self._soon: deque[Handle] = deque()
        self._digest = hashlib.blake2b(digest_size=16)
        self.steps = 0

    # ---- what asyncio's loops offer

    def time(self) -> float:
        """Virtual seconds since the start."""
        return self._now

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Any = None) -> Handle:
        """Run at the next tick."""
        handle = Handle(self._now, callback, args)
        self._soon.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_at(self, when: float, callback: Callable[..., object], *args: Any, context: Any = None) -> Handle:
        """Run at virtual time `when`."""
        handle = Handle(max(when, self._now), callback, args)
        self._order += 1
        heapq.heappush(self._timers, (handle.when, self._order, handle))
        return handle

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any, context: Any = None) -> Handle:
        """Run after `delay` virtual seconds."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    # ---- running

    def step(self) -> bool:
        """Run one tick: everything that was due when it began; False if nothing is left at all. What a callback raises comes out."""
        if not self._soon:
            self._advance()
        if not self._soon:
            return False
        for _ in range(len(self._soon)):
            handle = self._soon.popleft()
            if not handle.cancelled:
                self.steps += 1
                self.perform(handle)
        return True

    def perform(self, handle: Handle) -> None:
        """Call what is due."""
        handle.callback(*handle.args)

    def _advance(self) -> None:
        while self._timers and self._timers[0][2].cancelled:
            heapq.heappop(self._timers)
        if not self._timers:
            return
        self._now = self._timers[0][0]
        while self._timers and self._timers[0][0] <= self._now:
            self._soon.append(heapq.heappop(self._timers)[2])

    def run_until(self, condition: Callable[[], bool], limit_s: float = 3600.0) -> None:
        """Run until the condition holds after a tick. Stuck if it does not within `limit_s` virtual seconds, or nothing is left to do."""
        end = self._now + limit_s
        while not condition():
            if self._now > end or not self.step():
                raise Stuck(f"seed {self.seed}: after {self._now:.3f} virtual seconds and {self.steps} steps the condition does not hold")

    def run_for(self, seconds: float) -> None:
        """Let virtual time pass."""
        end = self._now + seconds
        reached = self.call_at(end, _nothing)
        while self._now < end and self.step():
            pass
        reached.cancel()

    def forget_all(self) -> None:
        """The process is gone, and with it everything that it had asked for."""
        self._timers.clear()
        self._soon.clear()

    # ---- the trace

    def note(self, *words: object) -> None:
        """Add to the trace: words whose text is the same in every run of the seed."""
        self._digest.update(f"{self._now:.9f} {words}\n".encode())

    def digest(self) -> str:
        """Of everything noted so far, and of where chance stands."""
        final = self._digest.copy()
        final.update(repr((self._now, self.steps, self.random.getstate()[1][:4])).encode())
        return final.hexdigest()


def _nothing() -> None:
    pass


class SimulatedClock:
    """The loop's time; the wall clock runs with it, `skew_ms` away from where it began. Tests step it by setting `skew_ms`."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop
        self.skew_ms = 0

    def monotonic_s(self) -> float:
        """See Clock."""
        return self._loop.time()

    def elapsed_s(self) -> float:
        """See Clock."""
        return self._loop.time()

    def wall_ms(self) -> int:
        """See Clock."""
        return WALL_START_MS + self.skew_ms + int(self._loop.time() * 1000)


class SimulatedEntropy:
    """Drawn from the loop's chance."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop

    def octets(self, count: int) -> bytes:
        """See Entropy."""
        return self._loop.random.randbytes(count)

    def below(self, bound: int) -> int:
        """See Entropy."""
        return self._loop.random.randrange(bound)
