"""Addresses that several processes listen at together (SO_REUSEPORT): reserved by one that does not listen, so that they stay theirs, and the port is one.

A socket that is bound and does not listen is offered no connection; who has SO_REUSEPORT and the same user may bind beside it. Nobody else may, though he have
SO_REUSEADDR, as most servers do: that lets in beside one who has it, too, and does not listen.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterable
from typing import Any

from entrepot.model.errors import Reason, Refused
from entrepot.net.listener import bound_sockets
from entrepot.net.session import address_text

ATTEMPTS = 8  # at a port that is free at all addresses of a host
EVERYWHERE = ("0.0.0.0", "::")


class Reserved:
    """Held until it is closed. `address`: of the host as it was given, and the port that it is."""

    def __init__(self, host: str, port: int, sockets: list[socket.socket]) -> None:
        self.host = host
        self.port = port
        self.sockets = sockets

    @property
    def bound(self) -> tuple[str, int]:
        """The first address as the system says it."""
        host, port = self.sockets[0].getsockname()[:2]
        return str(host), int(port)

    @property
    def address(self) -> str:
        """As the configuration has it: HOST:PORT."""
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def close(self) -> None:
        """Whoever comes may have it."""
        for sock in self.sockets:
            sock.close()


def reserve(host: str, port: int, others: Iterable[Reserved] = ()) -> Reserved:
    """Port 0 takes a free one. Raises OSError, in the words of a listener, where somebody listens there, or one of `others` holds it, with whom the system
    would have it shared; Refused: the system cannot share addresses.
    """
    if not hasattr(socket, "SO_REUSEPORT"):
        raise Refused(Reason.NOT_SUPPORTED, "several processes cannot listen at one address on this system: workers need SO_REUSEPORT")
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for sock in bound_sockets(found) if port else ():  # fails where anybody listens, though they would share
        sock.close()
    held = Reserved(host, port, _bound(found, 1 if port else ATTEMPTS))
    held.port = held.bound[1]
    for sock in held.sockets:  # needed to bind, where connections of before are not over
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    if any(_meet(mine, theirs) for other in others for mine in held.sockets for theirs in other.sockets):
        held.close()
        raise OSError(errno.EADDRINUSE, f"cannot listen at {address_text((host, port))}: {os.strerror(errno.EADDRINUSE).lower()}")
    return held


def _meet(mine: socket.socket, theirs: socket.socket) -> bool:
    """Whether a client could mean both."""
    (host, port, *_), (other, others_port, *_) = mine.getsockname(), theirs.getsockname()
    return mine.family == theirs.family and port == others_port and (host == other or not {host, other}.isdisjoint(EVERYWHERE))


def _bound(found: list[Any], attempts: int) -> list[socket.socket]:
    for _ in range(attempts - 1):
        with contextlib.suppress(OSError):  # the port that was free at the first address is taken at another
            return bound_sockets(found, is_shared=True)
    return bound_sockets(found, is_shared=True)
