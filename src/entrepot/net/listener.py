"""A protocol's port: accepts connections within the limits, gives each a session, and ends them.

A protocol derives from Listener and writes `make_session`; everything else is here. It stands on connection.py, arrivals.py and ground.py; above it
stands `Network` (network.py), which owns the listeners.
"""

from __future__ import annotations

import abc
import asyncio
import ipaddress
import logging
import socket
import ssl
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

from entrepot.model.errors import Refused
from entrepot.model.listeners import PLAIN, TLS
from entrepot.net.arrivals import Arrival
from entrepot.net.connection import Connection, ConnectionCore
from entrepot.net.ground import Ground
from entrepot.net.session import Client, Mobile, Peer, Session, Wake, address_text
from entrepot.net.tls import why_no_handshake

log = logging.getLogger("entrepot.net")

ACCEPTS_PER_TURN = 64
ACCEPT_REST_S = 0.1


class Listener(abc.ABC):
    """One listening address of one protocol.

    name: of the protocol, as in the configuration and in metrics. Attributes after `start`: `host`, `port` (the real ones).
    """

    name = ""
    of_node = False  # where this process listens besides, for clients that tell it from others
    mobile: Mobile | None = None  # how its connections move to other processes, if they do
    for_clients = True  # its connections are told of to who administers the broker

    def __init__(self, network: Ground, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        self.network = network
        self.host = host
        self.port = port
        self.tls = tls
        self._sockets: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()  # connections that are being made
        self.connections: set[ConnectionCore] = set()
        self.open_count = 0  # accepted and not ended, those in TLS's handshake too
        self.accepted = 0  # since start
        self.turned_away = 0  # over a limit, since start

    @abc.abstractmethod
    def make_session(self, peer: Peer, wake: Wake) -> Session:
        """A new connection's session; called once per accepted connection. May raise Refused to turn the peer away."""

    def client_of(self, session: Any) -> Client:
        """What is known of who speaks; `session` is one that make_session() made."""
        return Client()

    def tell_nodes(self, addresses: Sequence[tuple[str, int]]) -> None:  # noqa: B027 - mostly, it makes no difference
        """Its twins at all nodes, in their order, are there from now on. Of interest where clients tell nodes apart."""

    # -- its life, called by Network

    async def start(self) -> None:
        """Bind and accept. OSError if the address is taken."""
        loop = self.network.loop
        found = await loop.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self._sockets = _listening(bound_sockets(found, is_shared=self.network.shares_addresses), self.network.limits.accept_backlog)
        self.host, self.port = self._sockets[0].getsockname()[:2]
        for sock in self._sockets:
            loop.add_reader(sock.fileno(), self._acceptable, sock)

    def stop_accepting(self) -> None:
        """Close the listening socket; connections go on."""
        sockets, self._sockets = self._sockets, []
        for sock in sockets:
            self.network.loop.remove_reader(sock.fileno())
            sock.close()

    # -- accepting

    def _acceptable(self, sock: socket.socket) -> None:
        """Take what waits, at most ACCEPTS_PER_TURN of it."""
        for _ in range(ACCEPTS_PER_TURN):
            try:
                accepted, address = sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._rest(sock, error)
                return
            accepted.setblocking(False)
            self._accepted(accepted, address)

    def _rest(self, sock: socket.socket, error: OSError) -> None:
        """Nothing can be accepted now, most likely for want of descriptors: the stranger that waits for longest gives up its own, and we try again later."""
        self.network.complaints.say(f"{self.name}: a connection could not be accepted: {error.strerror}; see `ulimit -n`")
        self.network.arrivals.make_room()
        self.network.loop.remove_reader(sock.fileno())
        self.network.loop.call_later(ACCEPT_REST_S, self._go_on_accepting, sock)

    def _go_on_accepting(self, sock: socket.socket) -> None:
        if sock in self._sockets:
            self.network.loop.add_reader(sock.fileno(), self._acceptable, sock)

    def _accepted(self, sock: socket.socket, address: tuple[Any, ...]) -> None:
        """Count a connection, or turn it away; then make its transport."""
        network, limits = self.network, self.network.limits
        full = ""
        if network.connection_count >= limits.connections and not network.arrivals.make_room():
            full = f"{network.connection_count} connections are open (limits.connections)"
        elif self.open_count >= limits.connections_per_listener and not network.arrivals.make_room(self):
            full = f"{self.open_count} connections are open (limits.connections_per_listener)"
        if full:
            self.turned_away += 1
            network.complaints.say(f"{self.name}: {address_text(address)} turned away, {full}")
            sock.close()
            return
        self._begin(sock, address)

    def has_room(self) -> bool:
        """Whether one more may come from another process."""
        network, limits = self.network, self.network.limits
        is_full = network.connection_count >= limits.connections or self.open_count >= limits.connections_per_listener
        return self.mobile is not None and bool(self._sockets) and not is_full

    def take_over(self, sock: socket.socket, packed: bytes, since_ms: int, move_count: int) -> None:
        """Go on with a connection of another process, as its session was packed there."""
        sock.setblocking(False)
        arrival = self._begin(sock, sock.getpeername())
        arrival.moved = packed
        arrival.since_ms, arrival.move_count = since_ms, move_count

    def _begin(self, sock: socket.socket, address: Any) -> Arrival:
        """It counts from here on."""
        self.open_count += 1
        arrival = self.network.arrivals.add(self, sock, address[0])
        arrival.since_ms = self.network.clock.wall_ms()
        task = self.network.loop.create_task(self._connect(sock, arrival, address))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return arrival

    def _accept(self) -> Connection:
        return Connection(self, self.network.tick, self.network.limits.connection_output_bytes)

    async def _connect(self, sock: socket.socket, arrival: Arrival, address: tuple[Any, ...]) -> None:
        def make() -> Connection:
            connection = self._accept()
            connection.arrival = arrival
            return connection

        timeout_s = self.network.limits.close_timeout_ms / 1000 if self.tls is not None else None
        try:
            await self.network.loop.connect_accepted_socket(make, sock, ssl=self.tls, ssl_handshake_timeout=timeout_s)
        except (OSError, ssl.SSLError) as error:  # also a handshake that took too long
            arrival.release()
            why, look = why_no_handshake(error)
            what = "ended before it began" if self.tls is None else "TLS handshake failed"
            self._note(f"{address_text(address)}: {what}: {why}", look)
        except BaseException:
            arrival.release()
            raise

    # -- what the operator should know

    def note(self, text: str, first: bytes = b"") -> None:
        """A session's warning; with the first bytes of its connection, of which eight are enough, where what those look like says more."""
        self._note(text, self.network.known.look_of(first) if first else "")

    def _note(self, text: str, look: str) -> None:
        self.network.complaints.say(f"{self.name}: {text}{self._hint(look)}")

    def _hint(self, look: str) -> str:
        """To whom it belongs who looks like that, where that is another listener than this one."""
        known = self.network.known
        here = known.kinds.get(self.name)
        if not look or here is None:
            return ""
        if look == TLS:
            other = known.with_tls(self.name)
            if not other:
                return "; it looks like TLS, and there is none here"
            where = self._where([other])
            return f"; it looks like TLS: the TLS listener is {where}" if where else f"; it looks like TLS, and there is no TLS listener (listen.{other})"
        if look == PLAIN:
            where = self._where([here.without_tls])
            return f"; it looks like plain text: the listener without TLS is {where}" if where else "; it looks like plain text, and TLS is expected"
        if look == here.look:
            return ""
        is_plain = self.tls is None
        where = self._where([name for name, kind in known.kinds.items() if kind.look == look and (not kind.without_tls) == is_plain])
        return f"; it looks like {look}" + (f": that is served by {where}" if where else "")

    def _where(self, names: Sequence[str]) -> str:
        """Those of the listeners that there are, with their addresses."""
        return ", ".join(f"{name} at {address_text((host, port))}" for name, host, port in self.network.open if name in names)

    # -- a connection's life, called by the connection

    def opened(self, connection: ConnectionCore) -> None:
        """A socket was accepted."""
        transport = connection.transport
        connection.peer = peer = self._peer_of(transport)
        limits = self.network.limits
        arrival = connection.arrival
        if arrival is not None:
            if arrival.sock is None:  # cut while it was made
                connection.is_closing = True
                transport.abort()
                return
            arrival.connection = connection
        sock = transport.get_extra_info("socket")
        _tune(sock, limits.dead_peer_timeout_ms)
        transport.set_write_buffer_limits(high=limits.socket_output_bytes)
        connection.session = session = self.make_session(peer, connection.wake)
        connection.output = session.output
        self.connections.add(connection)
        if self.mobile is not None and self.tls is None and self.network.moves is not None:
            self.mobile.let(session, partial(self.network.moves.wish, connection))
        if arrival is not None and arrival.moved is not None:
            self._go_on(connection, arrival.moved)
            arrival.moved = None
            if self.network.drained is not None:  # it was too young to be told
                self.end(connection, "the broker stops")
        else:
            self.accepted += 1
        connection.wake()

    def _go_on(self, connection: ConnectionCore, packed: bytes) -> None:
        assert self.mobile is not None
        try:
            self.mobile.unpack(connection.session, packed)
        except Refused as refused:  # what it used is gone
            self.note(f"{connection.peer}: ended on its way from another worker: {refused}")
            self.cut(connection)
        except Exception as error:
            self.broken(connection, error)

    def _peer_of(self, transport: Any) -> Peer:
        address = transport.get_extra_info("peername") or ("", 0)
        local = transport.get_extra_info("sockname") or ("", 0)
        return Peer(address[0], address[1], self.tls is not None, self.name, _is_loopback(address[0]), local[0], local[1])

    def closed(self, connection: ConnectionCore, error: Exception | None) -> None:
        """Its socket is gone: the session hears of it, once."""
        session = connection.session
        connection.session = None
        connection.is_closing = True
        self.connections.discard(connection)
        if connection.arrival is not None:
            connection.arrival.release()
        if session is None:
            return
        try:
            session.lost("the peer closed the connection" if error is None else str(error) or type(error).__name__)
        except Exception:
            log.exception("%s: %s: a session failed at its end", self.name, connection.peer)

    def finish(self, connection: ConnectionCore) -> None:
        """All its output is with the transport: close after that is sent, or cut it off if the peer never takes it."""
        connection.is_closing = True
        self.linger(connection)
        connection.transport.close()

    def linger(self, connection: ConnectionCore) -> None:
        """Cut the connection off if it has not ended in time."""
        if not connection.abort_at:
            connection.abort_at = self.network.clock.monotonic_s() + self.network.limits.close_timeout_ms / 1000

    def broken(self, connection: ConnectionCore, error: Exception) -> None:
        """A session failed by our own fault: this connection ends, the others go on, and the log has the evidence."""
        self.network.session_failures += 1
        log.error("%s: %s: a session failed; its connection is closed", self.name, connection.peer, exc_info=error)
        self.cut(connection)

    def cut(self, connection: ConnectionCore) -> None:
        """End it now, whatever is still to be sent."""
        connection.is_closing = True
        if connection.transport is not None:
            connection.transport.abort()

    def sweep(self, now: float) -> None:
        """Look at every connection's deadlines."""
        for connection in list(self.connections):
            session = connection.session
            if connection.abort_at and now >= connection.abort_at:
                self.network.complaints.say(f"{self.name}: {connection.peer} cut off: it did not take its last bytes in time")
                self.cut(connection)
            elif session is not None and not connection.is_closing and 0.0 < session.next_deadline <= now:
                try:
                    session.deadline_reached(now)
                except Exception as error:
                    self.broken(connection, error)
                connection.wake()

    def shut_down(self, reason: str) -> None:
        """Ask every session to say goodbye."""
        for connection in list(self.connections):
            self.end(connection, reason)

    def end(self, connection: ConnectionCore, reason: str) -> None:
        """Ask one session to say goodbye."""
        if connection.session is not None and not connection.is_closing:
            try:
                connection.session.shut_down(reason)
            except Exception as error:
                self.broken(connection, error)
            connection.wake()


def bound_sockets(found: Sequence[tuple[Any, ...]], is_shared: bool = False) -> list[socket.socket]:
    """Sockets that do not listen yet, one for each address; where the system chooses the port, it is the same for all. OSError where one is taken.

    `is_shared`: others that share it, too, may have the address.
    """
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            sock = socket.socket(family, kind, protocol)
            sockets.append(sock)
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if is_shared:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            port = sockets[0].getsockname()[1] if len(sockets) > 1 and not address[1] else address[1]
            try:
                sock.bind((address[0], port, *address[2:]))
            except OSError as error:
                raise OSError(error.errno, f"cannot listen at {address_text(address)}: {(error.strerror or str(error)).lower()}") from None
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _listening(sockets: list[socket.socket], backlog: int) -> list[socket.socket]:
    try:
        for sock in sockets:
            sock.listen(backlog)
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.split("%")[0]).is_loopback
    except ValueError:
        return False


def _tune(sock: socket.socket, dead_peer_timeout_ms: int) -> None:
    """No Nagle delay; a peer that vanished without a word is found by the kernel even where the protocol has no heartbeat."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    idle_s = max(1, dead_peer_timeout_ms // 2000)
    if sys.platform == "darwin":
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPALIVE, idle_s)
    elif hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, idle_s // 4))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, dead_peer_timeout_ms)
