"""A protocol's port: accepts connections within the limits, gives each a session, and ends them.

A protocol derives from Listener and writes `make_session`; everything else is here. `Network` (network.py) owns the listeners.
"""

from __future__ import annotations

import abc
import ipaddress
import logging
import socket
import ssl
import sys
from typing import TYPE_CHECKING

from entrepot.net.connection import Connection, ConnectionCore
from entrepot.net.session import Peer, Session, Wake

if TYPE_CHECKING:
    import asyncio

    from entrepot.net.network import Network

log = logging.getLogger("entrepot.net")


class Listener(abc.ABC):
    """One listening address of one protocol.

    name: of the protocol, as in the configuration and in metrics. Attributes after `start`: `host`, `port` (the real ones).
    """

    name = ""

    def __init__(self, network: Network, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        self.network = network
        self.host = host
        self.port = port
        self.tls = tls
        self.server: asyncio.Server | None = None
        self.connections: set[ConnectionCore] = set()
        self.accepted = 0  # since start
        self.turned_away = 0  # over a limit, since start

    @abc.abstractmethod
    def make_session(self, peer: Peer, wake: Wake) -> Session:
        """A new connection's session; called once per accepted connection. May raise Refused to turn the peer away."""

    # -- its life, called by Network

    async def start(self) -> None:
        """Bind and accept. OSError if the address is taken."""
        limits = self.network.limits
        self.server = await self.network.loop.create_server(
            self._accept,
            self.host,
            self.port,
            ssl=self.tls,
            ssl_handshake_timeout=limits.close_timeout_ms / 1000 if self.tls is not None else None,
            backlog=limits.accept_backlog,
        )
        self.host, self.port = self.server.sockets[0].getsockname()[:2]

    def stop_accepting(self) -> None:
        """Close the listening socket; connections go on."""
        if self.server is not None:
            self.server.close()

    def _accept(self) -> Connection:
        return Connection(self, self.network.tick, self.network.limits.connection_output_bytes)

    # -- a connection's life, called by the connection

    def opened(self, connection: ConnectionCore) -> None:
        """A socket was accepted."""
        transport = connection.transport
        address = transport.get_extra_info("peername") or ("", 0)
        local = transport.get_extra_info("sockname") or ("", 0)
        connection.peer = peer = Peer(address[0], address[1], self.tls is not None, self.name, _is_loopback(address[0]), local[0], local[1])
        limits = self.network.limits
        full = ""
        if self.network.connection_count >= limits.connections:
            full = f"{self.network.connection_count} connections are open (limits.connections)"
        elif len(self.connections) >= limits.connections_per_listener:
            full = f"{len(self.connections)} connections are open (limits.connections_per_listener)"
        if full:
            self.turned_away += 1
            self.network.log_seldom("turned away", f"{self.name}: {peer} turned away, {full}")
            connection.is_closing = True
            transport.abort()
            return
        sock = transport.get_extra_info("socket")
        _tune(sock, self.network.limits.dead_peer_timeout_ms)
        transport.set_write_buffer_limits(high=limits.socket_output_bytes)
        connection.session = session = self.make_session(peer, connection.wake)
        connection.output = session.output
        self.connections.add(connection)
        self.network.connection_count += 1
        self.accepted += 1
        connection.wake()

    def closed(self, connection: ConnectionCore, error: Exception | None) -> None:
        """Its socket is gone: the session hears of it, once."""
        session = connection.session
        connection.session = None
        connection.is_closing = True
        if session is None:
            return
        self.connections.discard(connection)
        self.network.connection_count -= 1
        try:
            session.lost("the peer closed the connection" if error is None else str(error) or type(error).__name__)
        except Exception:
            log.exception("%s: %s: a session failed at its end", self.name, connection.peer)
        self.network.connection_ended()

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
                self.network.log_seldom("cut off", f"{self.name}: {connection.peer} cut off: it did not take its last bytes in time")
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
            if connection.session is not None and not connection.is_closing:
                try:
                    connection.session.shut_down(reason)
                except Exception as error:
                    self.broken(connection, error)
                connection.wake()


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
