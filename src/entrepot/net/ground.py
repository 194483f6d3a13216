"""Ground: what all listeners of a process stand on, and their connections: loop, tick, limits, and what is counted over all of them.

Of net's modules each stands on the ones after it: network (the listeners), listener (one port), ground, arrivals, connection, session.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol

from entrepot.clock import Clock
from entrepot.model.listeners import NO_LISTENERS, Listeners
from entrepot.net.arrivals import Arrivals
from entrepot.net.complaints import Complaints
from entrepot.net.connection import ConnectionCore, Tick
from entrepot.net.turns import Turns
from entrepot.net.unfinished import Unfinished


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


class Moves(Protocol):
    """Who moves connections to other processes."""

    def wish(self, connection: ConnectionCore, process: str, after_s: float) -> None:
        """See session.Wish."""


class Ground:
    """Made on the loop that it serves. `known`: the listeners that there may be, for hints to who came to the wrong one."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock, limits: NetworkLimits, known: Listeners = NO_LISTENERS) -> None:
        self.loop = loop
        self.clock = clock
        self.limits = limits
        self.known = known
        self.shares_addresses = False  # with other processes that listen there, too (reserved.py)
        self.tick = Tick(loop.call_soon)
        self.turns = Turns(loop.call_soon)
        self.unfinished = Unfinished(limits.unfinished_bytes)
        self.strangers = Unfinished(limits.strangers_bytes)
        self.complaints = Complaints(clock.monotonic_s)
        self.arrivals = Arrivals(limits.strangers_per_listener, limits.strangers_per_address, self.complaints.say, self._connection_ended)
        self.open: list[tuple[str, str, int]] = []  # name, host and port of the listeners that all know, other processes' too
        self.moves: Moves | None = None  # where there are other processes
        self.session_failures = 0  # sessions ended by our own bugs
        self.drained: asyncio.Event | None = None  # set when no connection is left, once somebody waits for that

    @property
    def connection_count(self) -> int:
        """Connections that are open, from their accept on."""
        return self.arrivals.count

    def _connection_ended(self) -> None:
        if self.drained is not None and self.connection_count == 0:
            self.drained.set()
