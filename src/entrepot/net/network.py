"""All sockets of a process: the listeners, what they share (tick, limits, deadlines), and how they stop."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from entrepot.clock import Clock
from entrepot.net.arrivals import Arrivals
from entrepot.net.complaints import Complaints
from entrepot.net.connection import Tick
from entrepot.net.listener import Listener
from entrepot.net.turns import Turns
from entrepot.net.unfinished import Unfinished

log = logging.getLogger("entrepot.net")

SWEEP_INTERVAL_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkLimits:
    """What is bounded here; the configuration's [limits] says what each is for."""

    connections: int
    connections_per_listener: int
    accept_backlog: int
    socket_output_bytes: int
    connection_output_bytes: int
    close_timeout_ms: int
    dead_peer_timeout_ms: int
    unfinished_bytes: int
    strangers_per_listener: int
    strangers_per_address: int
    strangers_bytes: int


class Network:
    """Owns the listeners. Made on the loop it serves; `stop` ends it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock, limits: NetworkLimits) -> None:
        self.loop = loop
        self.clock = clock
        self.limits = limits
        self.tick = Tick(loop.call_soon)
        self.turns = Turns(loop.call_soon)
        self.unfinished = Unfinished(limits.unfinished_bytes)
        self.strangers = Unfinished(limits.strangers_bytes)
        self.complaints = Complaints(clock.monotonic_s)
        self.arrivals = Arrivals(limits.strangers_per_listener, limits.strangers_per_address)
        self.listeners: list[Listener] = []
        self.session_failures = 0  # sessions ended by our own bugs
        self._sweeper: asyncio.TimerHandle | None = None
        self._drained: asyncio.Event | None = None

    @property
    def connection_count(self) -> int:
        """Connections that are open, from their accept on."""
        return self.arrivals.count

    async def listen(self, listener: Listener) -> None:
        """Start `listener`; it is ours from now on."""
        await listener.start()
        self.listeners.append(listener)
        if self._sweeper is None:
            self._sweeper = self.loop.call_later(SWEEP_INTERVAL_S, self._sweep)

    def drop(self, listener: Listener) -> None:
        """Close one listener of ours, and cut its connections off."""
        listener.stop_accepting()
        for connection in list(listener.connections):
            listener.cut(connection)
        self.listeners.remove(listener)

    def connection_ended(self) -> None:
        """Called for every connection that is gone."""
        if self._drained is not None and self.connection_count == 0:
            self._drained.set()

    def stop_accepting(self) -> None:
        """Close every listening socket; connections go on."""
        for listener in self.listeners:
            listener.stop_accepting()

    async def stop(self, reason: str, grace_s: float) -> None:
        """Stop accepting, let every session say goodbye, and cut off what is still open after `grace_s` seconds."""
        self.stop_accepting()
        self._drained = asyncio.Event()
        for listener in self.listeners:
            listener.shut_down(reason)
        for arrival in self.arrivals.pending():
            arrival.cut()
        if self.connection_count:
            try:
                await asyncio.wait_for(self._drained.wait(), grace_s)
            except TimeoutError:
                log.warning("%d connections did not close within %.1f s and are cut off", self.connection_count, grace_s)
                for listener in self.listeners:
                    for connection in list(listener.connections):
                        listener.cut(connection)
                await self._drained.wait()
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
