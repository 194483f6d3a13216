"""Calls of AMQP 0-9-1 that go out ahead of their answers, over many connections at once; plain Python, for what is not measured by the microsecond.

A connection is a Session (handshake.py) that is given over to a Caller. A call is whole frames on channel 1; its answer a method (with the body of what was
got, which fits a frame), or, for a publish with confirms, its confirm. Whatever else the broker says, returns and negative confirms too, is a BrokerError.
"""

from __future__ import annotations

import select
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence

from benchmarks.system.handshake import BODY, HEADER, METHOD, BrokerError, Session, frame, longstr, publish_frames, shortstr

DECLARE_OK, GET_OK, ACK = (50, 11), (60, 71), (60, 80)
ANSWERS = {DECLARE_OK, GET_OK, (60, 72), (60, 11)}  # GetEmpty, QosOk
_BLOCKED = {(10, 60), (10, 61)}
_HEAD = struct.Struct(">BHI")
_FRAME_END = 0xCE
_SILENCE_S = 60.0
_READ = 1 << 16

Answered = Callable[[tuple[int, int], bytes, bytes], None]  # of a call: the method, its arguments, the body that came with it


def declare(queue: str, *, passive: bool = False) -> bytes:
    """Of a durable queue."""
    return _method(50, 10, b"\0\0" + shortstr(queue) + bytes([passive | 2]) + longstr(b""))


def publish(queue: str, body: bytes) -> bytes:
    """Persistent, mandatory, to this queue."""
    return publish_frames("", queue, body, frame_max=131072, persistent=True, mandatory=True)[0]


def get(queue: str) -> bytes:
    """One message, to be acknowledged."""
    return _method(60, 70, b"\0\0" + shortstr(queue) + b"\0")


def acknowledge_all() -> bytes:
    """What the channel has got; answered when the broker has read it."""
    return _method(60, 80, struct.pack(">QB", 0, 1)) + prefetch(1)


def prefetch(count: int) -> bytes:
    """Of the channel's consumers: a call that touches no queue."""
    return _method(60, 10, struct.pack(">IHB", 0, count, 0))


def messages_of(arguments: bytes) -> int:
    """As queue.declare-ok says it."""
    return int(struct.unpack_from(">I", arguments, 1 + arguments[0])[0])


def _method(class_id: int, method_id: int, arguments: bytes) -> bytes:
    return frame(METHOD, 1, struct.pack(">HH", class_id, method_id) + arguments)


class Caller:
    """A session whose calls are at most `window` ahead of their answers."""

    def __init__(self, session: Session, window: int) -> None:
        self.socket = session.socket
        self._window = window
        self._calls: Iterator[bytes] = iter(())
        self._answered: Answered = lambda *_: None
        self._more = self._publishes = False
        self._waiting = 0  # calls that are not answered
        self._inbox = bytearray()
        self._outbox = bytearray()
        self._got = b""  # the arguments of the GetOk whose body is to come
        self._unconfirmed: set[int] = set()
        self._published = 0
        self.socket.setblocking(False)

    def begin(self, calls: Iterable[bytes], answered: Answered, *, publishes: bool = False) -> None:
        """What it is to call next, once all before is answered. `publishes`: these are publishes, on a channel with confirms."""
        assert self.is_done
        self._calls, self._answered, self._more = iter(calls), answered, True
        self._publishes = publishes

    @property
    def port(self) -> int:
        """The client's."""
        return int(self.socket.getsockname()[1])

    @property
    def is_done(self) -> bool:
        """Whether everything was sent and is answered."""
        return not (self._more or self._waiting)

    @property
    def interest(self) -> int:
        """What the system is to be asked for."""
        return select.EPOLLIN | (select.EPOLLOUT if self._outbox else 0)

    def feed(self) -> None:
        """Send what may be sent."""
        while self._more and self._waiting < self._window:
            call = next(self._calls, None)
            if call is None:
                self._more = False
                break
            self._outbox += call
            self._waiting += 1
            if self._publishes:
                self._published += 1
                self._unconfirmed.add(self._published)
        if self._outbox:
            try:
                del self._outbox[: self.socket.send(self._outbox)]
            except BlockingIOError:
                pass

    def take(self) -> None:
        """What has come."""
        try:
            data = self.socket.recv(_READ)
        except BlockingIOError:
            return
        if not data:
            raise BrokerError("the broker ended a connection")
        self._inbox += data
        at = 0
        while len(self._inbox) - at >= _HEAD.size + 1:
            kind, _, size = _HEAD.unpack_from(self._inbox, at)
            end = at + _HEAD.size + size
            if len(self._inbox) <= end:
                break
            if self._inbox[end] != _FRAME_END:
                raise BrokerError("a frame without its end octet")
            self._frame(kind, bytes(self._inbox[at + _HEAD.size : end]))
            at = end + 1
        del self._inbox[:at]

    def _frame(self, kind: int, payload: bytes) -> None:
        if kind == METHOD:
            method = (int.from_bytes(payload[:2]), int.from_bytes(payload[2:4]))
            if method == GET_OK:
                self._got = payload[4:]
            elif method == ACK:
                self._confirmed(*struct.unpack_from(">QB", payload, 4))
            elif method in ANSWERS:
                self._done(method, payload[4:], b"")
            elif method not in _BLOCKED:
                raise BrokerError(f"the broker said {method[0]}.{method[1]}: {payload[4:200]!r}")
        elif kind == BODY:
            self._done(GET_OK, self._got, payload)
        elif kind not in (HEADER, 8):
            raise BrokerError(f"a frame of type {kind}")

    def _confirmed(self, tag: int, multiple: int) -> None:
        tags = [each for each in self._unconfirmed if each <= tag] if multiple else [tag]
        if not self._unconfirmed.issuperset(tags):
            raise BrokerError(f"confirmed, and was not published: {tag}")
        self._unconfirmed.difference_update(tags)
        for _ in tags:
            self._done(ACK, b"", b"")

    def _done(self, method: tuple[int, int], arguments: bytes, body: bytes) -> None:
        if not self._waiting:
            raise BrokerError(f"answered, and was not asked: {method[0]}.{method[1]}")
        self._waiting -= 1
        self._answered(method, arguments, body)


def exchange(callers: Sequence[Caller]) -> None:
    """Until all are done. Raises BrokerError, also when nothing comes for a minute."""
    by_fd = {caller.socket.fileno(): caller for caller in callers}
    with select.epoll() as poller:
        for fd, caller in by_fd.items():
            caller.feed()
            poller.register(fd, caller.interest)
        left = sum(not caller.is_done for caller in callers)
        while left:
            ready = poller.poll(_SILENCE_S)
            if not ready:
                raise BrokerError(f"{left} connections have waited for {_SILENCE_S:.0f} s for an answer")
            for fd, mask in ready:
                caller = by_fd[fd]
                was_done = caller.is_done
                if mask & ~select.EPOLLOUT:
                    caller.take()
                caller.feed()
                poller.modify(fd, caller.interest)
                left -= caller.is_done and not was_done
