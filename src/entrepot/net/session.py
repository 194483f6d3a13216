"""What a protocol's session offers to the network: bytes in, bytes out, a few flags. Sessions open no socket and never wait.

bytes arrive     get_buffer -> (the kernel fills it) -> buffer_updated
bytes leave      wake() from anywhere -> at the end of this tick: output.take()
flow control     session.paused stops reading; writable(False) means: the peer does not read, deliver nothing more to it
time             next_deadline -> deadline_reached(); looked at every SWEEP_INTERVAL_S, so no finer than that
the end          session.closing: what is in output is sent, then the connection is closed; lost() is always the last call
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from entrepot.model.printable import printable

NAME_MAX = 100

Wish = Callable[[str, float], object]
"""wish(process, after_s): a connection might move to that other process, later. Its session is asked then (Mobile.begin_leaving()), or told to stay()."""

Wake = Callable[[], object]
"""Says that output, paused, closing or next_deadline may have changed. Cheap, and may be called any number of times a tick."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end, and which of our addresses it connected to."""

    host: str
    port: int
    tls: bool
    listener: str
    is_loopback: bool
    local_host: str = ""
    local_port: int = 0

    def __str__(self) -> str:
        return address_text((self.host, self.port))


def peer_text(peer: object, **known: str) -> str:
    """Who is at the other end, as the log says it: the address, and what is known by name, each cut at NAME_MAX characters."""
    names = [f"{what.replace('_', ' ')} '{printable(name, NAME_MAX)}'" for what, name in known.items() if name]
    return f"{peer} ({', '.join(names)})" if names else str(peer)


def address_text(address: Sequence[Any]) -> str:
    """HOST:PORT of a socket's address, [V6]:PORT where the host is one of IPv6."""
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(frozen=True, slots=True)
class Client:
    """Who speaks on a connection, as far as that is known: users that have logged in, namespaces that are used, and what the client says of itself."""

    users: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    name: str = ""
    product: str = ""
    channels: int = 0
    consumers: int = 0


class Output(Protocol):
    """A session's bytes on their way out."""

    @property
    def size(self) -> int:
        """Bytes waiting."""

    def take(self) -> Sequence[bytes | bytearray | memoryview]:
        """All parts, in order, never changed afterwards; the output is empty then, or what it keeps back follows when its session is flushed()."""


class Session(Protocol):
    """One connection as a state machine. A session never raises for what a peer sent: it says so in its protocol and sets `closing`."""

    output: Any  # an Output; not declared as one, since a compiled class's attribute has its own type
    closing: bool  # no more is read; the connection ends once output is sent
    paused: bool  # nothing is read until it is False again (and wake() was called)
    next_deadline: float  # monotonic seconds; 0.0 for none

    @property
    def established(self) -> bool:
        """Whether somebody has shown who it is; until then it is a stranger's connection (arrivals.py)."""

    def get_buffer(self, size_hint: int) -> bytearray | memoryview:
        """Where the next bytes go: writable, not empty, and not moved before buffer_updated()."""

    def buffer_updated(self, count: int) -> object:
        """`count` bytes have arrived there."""

    def writable(self, is_writable: bool) -> object:
        """False: more than the high mark waits in the socket, produce no deliveries; True: go on. Answers may always be produced."""

    def flushed(self) -> object:
        """All output was handed over, and the socket takes more."""

    def deadline_reached(self, now: float) -> object:
        """`next_deadline` has passed: heartbeat due, peer dead, handshake too slow."""

    def shut_down(self, reason: str) -> object:
        """The broker stops: say goodbye in the protocol's way and set `closing`, at once or when the peer has answered."""

    def lost(self, reason: str) -> object:
        """The connection is gone: release everything. The last call."""


class Stays(Exception):
    """A session that was to move to another process cannot, however long it is waited for."""


class Mobile(Protocol):
    """How connections of a protocol move to another process, socket and all: functions of its sessions."""

    def let(self, session: Any, mover: Wish) -> object:
        """There are other processes, and it may move: it is to say so when it had better."""

    def begin_leaving(self, session: Any, process: str) -> bool:
        """Read no more (`paused`), and come to rest. False: it stays."""

    def packed(self, session: Any) -> bytes | None:
        """All that another process needs to go on; None: not yet, something is under way. Raises Stays: something has come that binds it here.

        Nothing is said or heeded from then on, unless it is to stay().
        """

    def stay(self, session: Any) -> object:
        """It does not move: it goes on here, also with what was put off. Where it has not begun to leave: nothing."""

    def unpack(self, session: Any, octets: bytes) -> object:
        """Of a new session, before anything else: go on with what was packed(), by another process of this program. Raises Refused."""
