"""SimulatedProcess: one start of a process in a simulated loop: it can be killed, and stopped and continued (SIGSTOP, SIGCONT).

Killed, nothing that it had asked for is called any more. Stopped, what has become due waits, and so does what arrives; both come when it goes on, each in
its own order, and mixed by chance. Its clock goes on all the while, at a speed of its own.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Any

from entrepot.simulation.loop import WALL_START_MS, Handle, SimulatedLoop


class SimulatedProcess:
    """A Scheduler. on_arrival(): called when something comes after it stood still, before it is heeded, and whenever something comes."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self.loop = loop
        self.random: random.Random = loop.random
        self.is_dead = False
        self.is_stopped = False
        self.on_arrival: Callable[[], object] | None = None
        self._due: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._arrived: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()

    # ---- what its code asks of a loop

    def time(self) -> float:
        """See SimulatedLoop."""
        return self.loop.time()

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Any = None) -> Handle:
        """See SimulatedLoop."""
        return self.loop.call_soon(self._call, callback, args)

    call_soon_threadsafe = call_soon

    def call_at(self, when: float, callback: Callable[..., object], *args: Any, context: Any = None) -> Handle:
        """See SimulatedLoop."""
        return self.loop.call_at(when, self._call, callback, args)

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any, context: Any = None) -> Handle:
        """See SimulatedLoop."""
        return self.loop.call_later(delay, self._call, callback, args)

    def _call(self, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        if self.is_stopped:
            self._due.append((callback, args))
        elif not self.is_dead:
            callback(*args)

    # ---- what happens to it

    def arrive(self, callback: Callable[..., object], *args: Any) -> None:
        """Something comes from outside."""
        if self.is_stopped:
            self._arrived.append((callback, args))
        elif not self.is_dead:
            self._heed(callback, args)

    def _heed(self, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        if self.on_arrival is not None:
            self.on_arrival()
        callback(*args)

    def kill(self) -> None:
        """It is gone."""
        self.is_dead = True
        self.is_stopped = False
        self._due.clear()
        self._arrived.clear()

    def stop(self) -> None:
        """It stands still."""
        self.is_stopped = not self.is_dead

    def go_on(self) -> None:
        """It goes on, with all that has come meanwhile."""
        self.is_stopped = False
        while not self.is_dead and not self.is_stopped and (self._due or self._arrived):
            if self._due and (not self._arrived or self.random.random() < 0.5):
                callback, args = self._due.popleft()
                callback(*args)
            else:
                callback, args = self._arrived.popleft()
                self._heed(callback, args)


class ProcessClock:
    """The loop's time as one process sees it: `rate` seconds a second; its wall clock `skew_ms` away."""

    def __init__(self, loop: SimulatedLoop, rate: float = 1.0, skew_ms: int = 0) -> None:
        self._loop = loop
        self.rate = rate
        self.skew_ms = skew_ms

    def monotonic_s(self) -> float:
        """See Clock: as its timers count, which are the loop's."""
        return self._loop.time()

    def elapsed_s(self) -> float:
        """See Clock."""
        return self._loop.time() * self.rate

    def wall_ms(self) -> int:
        """See Clock."""
        return WALL_START_MS + self.skew_ms + int(self._loop.time() * 1000)
