"""The administration's listener: HTTP on the socket file, apart from the limits that clients' connections have, so that it answers when those are reached."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from entrepot.admin import socket_file
from entrepot.http.session import Handler, HttpSession
from entrepot.net.arrivals import Arrival
from entrepot.net.listener import Listener
from entrepot.net.network import Network
from entrepot.net.session import Peer, Wake

CONNECTIONS_MAX = 16  # one more, and the oldest is cut off
BACKLOG = 16
LOCAL = "local"  # what stands for the address of who connects


class AdminSession(HttpSession):
    """An HTTP session of the broker's owner."""

    established = True  # the system let in nobody else


class AdminListener(Listener):
    """Listens in a data directory whose lock is held."""

    name = "admin"
    for_clients = False

    def __init__(self, network: Network, directory: Path, handler: Handler, request_bytes: int) -> None:
        super().__init__(network, LOCAL, 0)
        self._directory = directory
        self._handler = handler
        self._request_bytes = request_bytes
        self._arrived: list[Arrival] = []  # the oldest first

    def make_session(self, peer: Peer, wake: Wake) -> HttpSession:
        """See Listener. No web page reaches a socket file: every Host is right."""
        return AdminSession(self._handler, self.network.clock, self._request_bytes, wake, lambda _host: None, self.note, self.network.known.look_of)

    async def start(self) -> None:
        """See Listener."""
        sock = socket_file.bind(self._directory, BACKLOG)
        self._sockets = [sock]
        self.network.loop.add_reader(sock.fileno(), self._acceptable, sock)

    def stop_accepting(self) -> None:
        """See Listener: the file goes, too."""
        if self._sockets:
            socket_file.remove(self._directory)
        super().stop_accepting()

    def _accepted(self, sock: socket.socket, address: Any) -> None:
        self._arrived = [arrival for arrival in self._arrived if arrival.sock is not None]  # those that have not ended
        if len(self._arrived) >= CONNECTIONS_MAX:
            self._arrived.pop(0).cut()
        self._arrived.append(self._begin(sock, (LOCAL, 0)))

    def _peer_of(self, transport: Any) -> Peer:
        return Peer(LOCAL, 0, False, self.name, True, LOCAL, 0)
