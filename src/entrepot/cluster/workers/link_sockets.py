"""The connections of links between workers: Unix sockets in the node's directory, which is its owner's alone.

Each worker listens at `<name>.link`, and connects to those that it dials (Member.to_dial()), again and again while there is no connection. They stand on a
Network of their own: no limit of clients' connections holds for them, and they outlive those when the process stops.
"""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path
from typing import Any, Protocol

from entrepot.cluster.link import WINDOW_BYTES
from entrepot.cluster.link_session import LinkSession
from entrepot.net.ground import NetworkLimits
from entrepot.net.listener import Listener
from entrepot.net.network import Network
from entrepot.net.session import Peer, Session, Wake
from entrepot.net.short_path import short_path

RETRY_S = (0.02, 0.05, 0.1, 0.25)  # between attempts; the last goes on
BACKLOG = 64
LOCAL = "local"

LIMITS = NetworkLimits(
    connections=1024,
    connections_per_listener=1024,
    accept_backlog=BACKLOG,
    socket_output_bytes=256 << 10,
    connection_output_bytes=2 * WINDOW_BYTES,
    close_timeout_ms=1000,
    dead_peer_timeout_ms=10_000,
    unfinished_bytes=1 << 30,
    strangers_per_listener=128,
    strangers_per_address=128,
    strangers_bytes=1 << 30,
)


class Links(Protocol):
    """A Member, as far as connections are concerned."""

    def session(self, dials: str | None, wake: Wake) -> LinkSession:
        """Of a new connection."""

    def needs_connection(self, name: str) -> bool:
        """Whether there is none with that process."""


def path_of(directory: Path, name: str) -> Path:
    """Where that worker listens."""
    return directory / f"{name}.link"


class LinkConnections(Listener):
    """What connections that were accepted, and those that were made, have in common."""

    name = "link"
    for_clients = False

    def __init__(self, network: Network, links: Links) -> None:
        super().__init__(network, LOCAL, 0)
        self._links = links

    def _dials(self) -> str | None:
        return None

    def make_session(self, peer: Peer, wake: Wake) -> Session:
        """See Listener."""
        return self._links.session(self._dials(), wake)

    def _peer_of(self, transport: Any) -> Peer:
        return Peer(LOCAL, 0, False, self.name, True, LOCAL, 0)


class LinkListener(LinkConnections):
    """Where the others connect to this worker."""

    def __init__(self, network: Network, links: Links, directory: Path, name: str) -> None:
        super().__init__(network, links)
        self._path = path_of(directory, name)

    async def start(self) -> None:
        """See Listener. The worker has the lock of its own directory: what lies there was left by a start that is dead."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._path.unlink(missing_ok=True)
            with short_path(self._path) as path:
                sock.bind(path)
            os.chmod(self._path, 0o600)
            sock.listen(BACKLOG)
            sock.setblocking(False)
        except BaseException:
            sock.close()
            raise
        self._sockets = [sock]
        self.network.loop.add_reader(sock.fileno(), self._acceptable, sock)

    def _accepted(self, sock: socket.socket, address: Any) -> None:
        self._begin(sock, (LOCAL, 0))


class LinkDialler(LinkConnections):
    """Connects to the process `other`, whenever there is no connection with it, until it stops."""

    def __init__(self, network: Network, links: Links, directory: Path, other: str) -> None:
        super().__init__(network, links)
        self._path = path_of(directory, other)
        self._other = other
        self._timer: asyncio.TimerHandle | None = None
        self._dialling: asyncio.Task[None] | None = None
        self._attempt = 0  # since there was a connection

    def _dials(self) -> str | None:
        return self._other

    async def start(self) -> None:
        """See Listener."""
        self._dial()

    def stop_accepting(self) -> None:
        """See Listener."""
        for under_way in (self._timer, self._dialling):
            if under_way is not None:
                under_way.cancel()
        self._timer = self._dialling = None

    def _dial(self) -> None:
        """Now, if there is no connection; and look again later."""
        if self.open_count or not self._links.needs_connection(self._other):
            self._attempt = 0
        elif self._dialling is None:
            self._dialling = self.network.loop.create_task(self._connect_to())
        self._timer = self.network.loop.call_later(RETRY_S[min(self._attempt, len(RETRY_S) - 1)], self._dial)
        self._attempt += 1

    async def _connect_to(self) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            with short_path(self._path) as path:
                await self.network.loop.sock_connect(sock, path)
        except OSError:
            sock.close()
        except BaseException:
            sock.close()
            raise
        else:
            self._begin(sock, (LOCAL, 0))
        finally:
            self._dialling = None


async def connect_links(network: Network, links: Links, directory: Path, name: str, to_dial: list[str]) -> None:
    """Listen, and dial the others. OSError."""
    await network.listen(LinkListener(network, links, directory, name))
    for other in to_dial:
        await network.listen(LinkDialler(network, links, directory, other))
