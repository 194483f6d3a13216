"""All sockets of a process: the listeners, their deadlines, and how they stop. What they stand on is ground.py; nothing below knows of this module."""

from __future__ import annotations

import asyncio
import logging

from entrepot.clock import Clock
from entrepot.model.listeners import NO_LISTENERS, Listeners
from entrepot.net.ground import Ground, NetworkLimits
from entrepot.net.listener import Listener

__all__ = ["Network", "NetworkLimits"]

log = logging.getLogger("entrepot.net")

SWEEP_INTERVAL_S = 0.25


class Network(Ground):
    """Owns the listeners. Made on the loop it serves; `stop` ends it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock, limits: NetworkLimits, known: Listeners = NO_LISTENERS) -> None:
        super().__init__(loop, clock, limits, known)
        self.listeners: list[Listener] = []
        self._sweeper: asyncio.TimerHandle | None = None

    async def listen(self, listener: Listener) -> None:
        """Start `listener`; it is ours from now on."""
        await listener.start()
        self.listeners.append(listener)
        if not listener.of_node:
            self.open.append((listener.name, listener.host, listener.port))
        if self._sweeper is None:
            self._sweeper = self.loop.call_later(SWEEP_INTERVAL_S, self._sweep)

    def drop(self, listener: Listener) -> None:
        """Close one listener of ours, and cut its connections off."""
        listener.stop_accepting()
        for connection in list(listener.connections):
            listener.cut(connection)
        self.listeners.remove(listener)
        if not listener.of_node:
            self.open.remove((listener.name, listener.host, listener.port))

    def stop_accepting(self) -> None:
        """Close every listening socket; connections go on."""
        for listener in self.listeners:
            listener.stop_accepting()

    async def stop(self, reason: str, grace_s: float) -> None:
        """Stop accepting, let every session say goodbye, and cut off what is still open after `grace_s` seconds."""
        self.stop_accepting()
        self.drained = asyncio.Event()
        for listener in self.listeners:
            listener.shut_down(reason)
        for arrival in self.arrivals.pending():
            arrival.cut()
        if self.connection_count:
            try:
                await asyncio.wait_for(self.drained.wait(), grace_s)
            except TimeoutError:
                log.warning("%d connections did not close within %.1f s and are cut off", self.connection_count, grace_s)
                for listener in self.listeners:
                    for connection in list(listener.connections):
                        listener.cut(connection)
                await self.drained.wait()
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        self.complaints.close()

    def _sweep(self) -> None:
        now = self.clock.monotonic_s()
        self.arrivals.sweep()
        self.complaints.sweep()
        for listener in self.listeners:
            listener.sweep(now)
        self._sweeper = self.loop.call_later(SWEEP_INTERVAL_S, self._sweep)
