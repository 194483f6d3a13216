"""Connections that move between workers: the socket itself goes to the process that has the queue which its client uses (SCM_RIGHTS, unix(7)).

    wish      a session finds that what it consumes or publishes lies in another worker
    packed    it reads no more, what it began is answered, and it says what the other needs to go on
    offer     that and the socket go over a Unix socket of the other worker, `<name>.moves` in the node's directory, which is its owner's alone
    taken     the other has room, and goes on with the client; here the connection ends, unheard by its client. Refused, or no answer ever: it goes on here

Who says *taken* serves only what he said so of, and who hears the end of the other's socket without it goes on himself: so a client is never served by two.
The socket is one of whole messages, in order (SOCK_SEQPACKET); where the system has none, nothing moves.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec

from entrepot.net.connection import ConnectionCore
from entrepot.net.network import Network
from entrepot.net.session import Mobile, Stays
from entrepot.net.short_path import short_path

log = logging.getLogger("entrepot.worker")

OFFER_MAX_BYTES = 128 << 10  # of what is packed: more has a connection that was read from for long, which stays
OFFERED_MAX = 64  # to one worker at once, not yet answered
POLL_S = 0.002  # until it is looked first whether a session has come to rest; then half as long again each time,
POLL_MAX_S = 0.1  # up to this, about 0.2 s in all; then it goes on here
ROOM_S = 1.0  # for which one waits that the other worker may be offered more
REST_S = 0.1  # without accepting, where no descriptor is left
BACKLOG = 64
MESSAGES_PER_TURN = 32

_CLOSE_ON_EXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
_TAKEN, _REFUSED = b"T", b"R"


class Offer(msgspec.Struct, array_like=True, frozen=True):
    """What goes along with a socket. `moves`: how often it has moved."""

    number: Annotated[int, msgspec.Meta(ge=0)]
    listener: str
    since_ms: int
    moves: int
    packed: bytes


_OFFER = msgspec.msgpack.Decoder(Offer)


def path_of(directory: Path, name: str) -> Path:
    """Where that worker is offered connections."""
    return directory / f"{name}.moves"


class _Offered:
    """To one other worker: a socket, and what it has not answered, by number. `behind`: who come when it has, and how long each waits between two looks."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.waiting: dict[int, ConnectionCore] = {}
        self.behind: dict[ConnectionCore, float] = {}


class Moves:
    """Of one worker. `most`: how often one connection may move. See net.ground.Moves.

    is_there(name): whether that worker can be asked anything. may_take(): whether this one knows at present what users and namespaces there are.
    """

    def __init__(
        self, network: Network, directory: Path, name: str, most: int, is_there: Callable[[str], bool], may_take: Callable[[], bool] = lambda: True
    ) -> None:
        self.gone = 0  # connections, to other workers
        self.stayed = 0  # that were to move, and did not
        self._network = network
        self._loop = network.loop
        self._directory = directory
        self._path = path_of(directory, name)
        self._most = most
        self._is_there = is_there
        self._may_take = may_take
        self._listening: socket.socket | None = None
        self._accepted: set[socket.socket] = set()
        self._others: dict[str, _Offered] = {}
        self._wishes: dict[ConnectionCore, tuple[str, Any]] = {}  # where to, and the timer
        self._last_number = 0

    # ---- its life

    def start(self) -> None:
        """Listen. The worker has the lock of its own directory: what lies there was left by a start that is dead. OSError."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
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
        self._listening = sock
        self._loop.add_reader(sock.fileno(), self._acceptable, sock)

    def stop(self) -> None:
        """Nothing moves any more."""
        for _, timer in self._wishes.values():
            timer.cancel()
        self._wishes.clear()
        for name in list(self._others):
            self._end(name)
        for sock in [*self._accepted, *([self._listening] if self._listening is not None else [])]:
            self._close(sock)
        self._accepted.clear()
        self._listening = None

    # ---- away from here

    def wish(self, connection: ConnectionCore, process: str, after_s: float) -> None:
        """See net.ground.Moves."""
        earlier = self._wishes.get(connection)
        if earlier is not None:
            if after_s:
                return
            earlier[1].cancel()
        self._wishes[connection] = (process, self._loop.call_later(after_s, self._safely, self._begin, connection, process))

    def _safely(self, step: Callable[..., None], connection: ConnectionCore, *more: Any) -> None:
        """What fails by our own fault costs this connection, and no other: else it would be nobody's for ever."""
        try:
            step(connection, *more)
        except Exception as error:
            connection.listener.broken(connection, error)

    def _begin(self, connection: ConnectionCore, process: str) -> None:
        self._wishes.pop(connection, None)
        session: Any = connection.session
        if session is None or connection.is_closing:
            return
        may = self._listening is not None and not connection.at_end and connection.arrival.move_count < self._most and self._is_there(process)
        if may and _mobile(connection).begin_leaving(session, process):
            self._poll(connection, process, POLL_S)
        else:
            _mobile(connection).stay(session)

    def _poll(self, connection: ConnectionCore, process: str, wait_s: float) -> None:
        """Whether the session has come to rest, and its client has all that was said."""
        session: Any = connection.session
        if session is None or connection.is_closing or connection.at_end:
            return
        other = self._others.get(process)
        if other is not None and len(other.waiting) >= OFFERED_MAX and self._listening is not None:
            other.behind[connection] = wait_s
            self._loop.call_later(ROOM_S, self._safely, self._waited_long, connection, other)
            return
        try:
            packed = _mobile(connection).packed(session) if _has_said_all(connection) else None
        except Stays:
            self._stay(connection)
            return
        is_large = packed is not None and len(packed) > OFFER_MAX_BYTES
        if packed is not None and not is_large and self._offer(connection, process, packed):
            return
        if wait_s < POLL_MAX_S and self._listening is not None and not is_large:
            self._loop.call_later(wait_s, self._safely, self._poll, connection, process, wait_s * 1.5)
        else:
            self._stay(connection)

    def _waited_long(self, connection: ConnectionCore, other: _Offered) -> None:
        if other.behind.pop(connection, None) is not None:
            self._stay(connection)

    def _next(self, process: str, other: _Offered) -> None:
        """Those behind, as far as it may be offered more."""
        while other.behind and len(other.waiting) < OFFERED_MAX:
            connection = next(iter(other.behind))
            self._safely(self._poll, connection, process, other.behind.pop(connection))

    def _stay(self, connection: ConnectionCore) -> None:
        self.stayed += 1
        connection.arrival.move_count += 1  # the attempt counts, or it would be made for ever
        session: Any = connection.session
        if session is not None:
            _mobile(connection).stay(session)
            connection.wake()

    def _offer(self, connection: ConnectionCore, process: str, packed: bytes) -> bool:
        """Whether it is on its way. Until that is answered nothing is read from its client, nor said to it."""
        other = self._other(process)
        if other is None:
            return False
        arrival = connection.arrival
        self._last_number += 1
        offer = Offer(self._last_number, arrival.listener.name, arrival.since_ms, arrival.move_count + 1, packed)
        if not connection.reading_paused:
            connection.reading_paused = True
            connection.transport.pause_reading()
        descriptor = connection.transport.get_extra_info("socket").fileno()
        try:
            socket.send_fds(other.sock, [msgspec.msgpack.encode(offer)], [descriptor])
        except OSError:  # it takes no more now; or it has ended, and _answered() hears of that
            return False
        other.waiting[offer.number] = connection
        connection.is_closing = True  # for all who look, while it is nobody's
        return True

    def _other(self, process: str) -> _Offered | None:
        found = self._others.get(process)
        if found is not None:
            return found
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sock.setblocking(False)
        try:
            with short_path(path_of(self._directory, process)) as path:
                sock.connect(path)
        except OSError:
            sock.close()
            return None
        self._loop.add_reader(sock.fileno(), self._answered, process)
        self._others[process] = found = _Offered(sock)
        return found

    def _answered(self, process: str) -> None:
        other = self._others[process]
        for _ in range(MESSAGES_PER_TURN):
            try:
                answer = other.sock.recv(64)
            except BlockingIOError:
                return
            except ConnectionResetError:  # it has ended with offers unread. This is said once, before what it had answered by then
                continue
            except OSError:
                answer = b""
            if not answer:  # it has ended: what it has not taken it never will
                for connection in self._end(process, and_cut=False):
                    self._safely(self._go_on, connection)
                return
            number = int.from_bytes(answer[1:], "big")
            if number not in other.waiting:
                self._end(process)
                return
            connection = other.waiting.pop(number)
            if answer[:1] == _TAKEN:
                self.gone += 1
                _let_go(connection)
            else:
                self._safely(self._go_on, connection)
            self._next(process, other)

    def _end(self, process: str, *, and_cut: bool = True) -> list[ConnectionCore]:
        """Hear no more of that worker: which it was offered and did not answer for. It may have taken them, unless its own end was heard: they are cut here."""
        other = self._others.pop(process)
        self._close(other.sock)
        waiting = list(other.waiting.values())
        behind, other.behind = other.behind, {}
        for connection in behind:
            self._safely(self._stay, connection)
        for connection in waiting if and_cut else ():
            _let_go(connection)
        return waiting

    def _go_on(self, connection: ConnectionCore) -> None:
        if connection.transport is not None:
            connection.is_closing = False
            self._stay(connection)
            if self._network.drained is not None:
                connection.listener.end(connection, "the broker stops")

    # ---- here from others

    def _acceptable(self, sock: socket.socket) -> None:
        try:
            accepted, _ = sock.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError:  # no descriptor is left
            self._loop.remove_reader(sock.fileno())
            self._loop.call_later(REST_S, self._accept_again, sock)
            return
        accepted.setblocking(False)
        self._accepted.add(accepted)
        self._loop.add_reader(accepted.fileno(), self._readable, accepted)

    def _accept_again(self, sock: socket.socket) -> None:
        if sock is self._listening:
            self._loop.add_reader(sock.fileno(), self._acceptable, sock)

    def _readable(self, sock: socket.socket) -> None:
        for _ in range(MESSAGES_PER_TURN):
            moved = None
            try:
                octets, descriptors, flags, _ = socket.recv_fds(sock, OFFER_MAX_BYTES + 4096, 1, _CLOSE_ON_EXEC)
                moved = _socket_of(descriptors)
                heard = bool(octets) and not flags & socket.MSG_TRUNC and self._heed(sock, octets, moved)
            except BlockingIOError:
                return
            except (OSError, msgspec.MsgspecError) as error:
                heard = False
                log.warning("a connection that another worker offered could not be taken: %s", error)
            if not heard:
                if moved is not None:
                    moved.close()
                self._accepted.discard(sock)
                self._close(sock)
                return

    def _heed(self, sock: socket.socket, octets: bytes, moved: socket.socket | None) -> bool:
        """One offer: taken or refused. False: it is neither, and the other worker will hear no more. No socket: this process has no descriptor left."""
        offer = _OFFER.decode(octets)
        number = offer.number.to_bytes(8, "big")
        found = [listener for listener in self._network.listeners if listener.name == offer.listener and listener.has_room()]
        if moved is None or not found or not _has_peer(moved) or not self._is_ready():
            sock.send(_REFUSED + number)
            if moved is not None:
                moved.close()
            return True
        sock.send(_TAKEN + number)  # before it is: whoever does not hear of it goes on himself
        found[0].take_over(moved, offer.packed, offer.since_ms, offer.moves)
        return True

    def _is_ready(self) -> bool:
        """Whether this process knows what there is now: else it would end whose user or namespace is news to it."""
        if self._network.tick.on_read is not None:  # it may have stood still
            self._network.tick.on_read()
        return self._may_take()

    def _close(self, sock: socket.socket) -> None:
        self._loop.remove_reader(sock.fileno())
        sock.close()


def _mobile(connection: ConnectionCore) -> Mobile:
    mobile = connection.listener.mobile
    assert mobile is not None, "who may not move has no wish to"
    return mobile


def _socket_of(descriptors: list[int]) -> socket.socket | None:
    """What came along. OSError: it is no socket."""
    try:
        return socket.socket(fileno=descriptors[0]) if descriptors else None
    except OSError:
        os.close(descriptors[0])
        raise


def _has_peer(sock: socket.socket) -> bool:
    """Whether it is a connection, with somebody at the other end."""
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


def _let_go(connection: ConnectionCore) -> None:
    """End this process's hold of its socket; another's stays."""
    if connection.transport is not None:
        connection.transport.abort()


def _has_said_all(connection: ConnectionCore) -> bool:
    """Whether all that its session has said is with the system."""
    output: Any = connection.output
    return bool(output.size + connection.rest_bytes + connection.transport.get_write_buffer_size() == 0)
