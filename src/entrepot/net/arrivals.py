"""Arrivals: every connection from its accept to its end, and which of them nobody has yet shown to be anybody's.

A connection costs a descriptor from the moment it is accepted, before TLS's handshake and before anybody logs in: so that is when it counts. Until its
session is `established` it is a stranger's, and of strangers there are fewer: so many of a listener, so many from one address. One more is let in, and
the stranger that has waited longest pays with its connection: silent sockets keep nobody out.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from typing import Any, Protocol

from entrepot.net.connection import ConnectionCore


class Port(Protocol):
    """What is asked of a listener here."""

    name: str
    open_count: int  # accepted and not ended, those in TLS's handshake too

    def cut(self, connection: ConnectionCore) -> None:
        """End it now."""


def source_of(host: str) -> str:
    """Who counts as one at the other end: an IPv4 address, or the /64 of an IPv6 one (RFC 6177: less than that nobody is given)."""
    if ":" not in host:
        return host
    try:
        address = ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:
        return host
    return str(address.ipv4_mapped or ipaddress.IPv6Address(int(address) >> 64 << 64))


class Arrival:
    """One accepted connection. `connection` is None until its session is made: TLS still shakes hands."""

    __slots__ = ("_all", "_is_counted", "connection", "listener", "move_count", "moved", "number", "since_ms", "sock", "source")

    def __init__(self, arrivals: Arrivals, listener: Port, sock: socket.socket, source: str, number: int) -> None:
        self._all = arrivals
        self.number = number  # of no other one in this process
        self.since_ms = 0  # of its accept, from 1970
        self.moved: bytes | None = None  # what another process has packed of its session
        self.move_count = 0  # how often it was to move to another process
        self._is_counted = True
        self.listener = listener
        self.sock: socket.socket | None = sock
        self.source = source
        self.connection: ConnectionCore | None = None

    @property
    def is_established(self) -> bool:
        """Whether somebody has shown who it is, to this process or to the one that it comes from."""
        if self.moved is not None:
            return True
        session: Any = self.connection.session if self.connection is not None else None
        return session is not None and bool(session.established)

    def cut(self) -> None:
        """End it now. It no longer counts; its descriptor is free in the loop's next turn."""
        connection, sock = self.connection, self.sock
        self.release()
        if connection is not None:
            self.listener.cut(connection)
        elif sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)  # the handshake hears of it and ends
            except OSError:
                pass

    def release(self) -> None:
        """It has ended, or is as good as that."""
        if self._is_counted:
            self._is_counted = False
            self.sock = self.connection = None
            self._all.released(self)


class Arrivals:
    """Of one process. `count` connections in all. `outwaited`: strangers that were cut for others, since start."""

    def __init__(self, per_listener: int, per_source: int, complain: Callable[[str], object], on_ended: Callable[[], object]) -> None:
        self.per_listener = per_listener
        self.per_source = per_source
        self.count = 0
        self.outwaited = 0
        self._complain = complain
        self._on_ended = on_ended  # called for every connection that is gone
        self._last_number = 0
        self._strangers: dict[Arrival, None] = {}  # the one that waits for longest first, in these three
        self._by_listener: dict[Port, dict[Arrival, None]] = {}
        self._by_source: dict[str, dict[Arrival, None]] = {}

    @property
    def strangers(self) -> int:
        """Connections that nobody has shown to be anybody's."""
        return len(self._strangers)

    def add(self, listener: Port, sock: socket.socket, host: str) -> Arrival:
        """A connection was accepted: where there are too many strangers now, the one that waits for longest is cut."""
        self._last_number += 1
        arrival = Arrival(self, listener, sock, source_of(host), self._last_number)
        self.count += 1
        self._strangers[arrival] = None
        of_listener = self._by_listener.setdefault(listener, {})
        of_source = self._by_source.setdefault(arrival.source, {})
        of_listener[arrival] = of_source[arrival] = None  # in both before anybody leaves: a group that is empty goes
        for group, limit in ((of_listener, self.per_listener), (of_source, self.per_source)):
            while len(group) > limit:
                self._pass(next(iter(group)))
        return arrival

    def make_room(self, listener: Port | None = None) -> bool:
        """Cut the stranger that waits for longest, of one listener or of all; False: there is none."""
        group = self._strangers if listener is None else self._by_listener.get(listener, {})
        while group:
            if self._pass(next(iter(group))):
                return True
        return False

    def sweep(self) -> None:
        """Those who have been established are strangers no more."""
        for arrival in [arrival for arrival in self._strangers if arrival.is_established]:
            self._forget(arrival)

    def pending(self) -> list[Arrival]:
        """Those whose session is not made yet."""
        return [arrival for arrival in self._strangers if arrival.connection is None]

    def released(self, arrival: Arrival) -> None:
        """Called once by an arrival that has ended."""
        self.count -= 1
        arrival.listener.open_count -= 1
        self._forget(arrival)
        self._on_ended()

    def _pass(self, arrival: Arrival) -> bool:
        """The first in line: it is no stranger, or it is cut (True)."""
        self._forget(arrival)
        if arrival.is_established:
            return False
        self.outwaited += 1
        self._complain(f"{arrival.listener.name}: a connection from {arrival.source} cut off: of those without a login it waited longest")
        arrival.cut()
        return True

    def _forget(self, arrival: Arrival) -> None:
        self._strangers.pop(arrival, None)
        if (of_listener := self._by_listener.get(arrival.listener)) is not None:
            of_listener.pop(arrival, None)
            if not of_listener:
                del self._by_listener[arrival.listener]
        if (of_source := self._by_source.get(arrival.source)) is not None:
            of_source.pop(arrival, None)
            if not of_source:
                del self._by_source[arrival.source]
