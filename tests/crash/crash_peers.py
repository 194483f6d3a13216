"""Publishers and consumers on bare sockets, driven by one loop: fast enough to keep the broker's disk busy, and nothing they were told is lost on them."""

from __future__ import annotations

import selectors
import socket
import struct
from collections import deque
from collections.abc import Callable

from benchmarks.system.handshake import METHOD, Address, Session, frame, publish_frames
from crash_bodies import Violation, body_of
from crash_ledger import GONE, SETTLED, QueueLedger, Sent, StreamLedger

FENCE = "fence"  # a queue of one message: what is published there, and confirmed, is behind what was settled on the same channel before
_DELIVER, _ACK, _NACK = b"\x00\x3c\x00\x3c", b"\x00\x3c\x00\x50", b"\x00\x3c\x00\x78"
_TX_COMMIT, _TX_COMMIT_OK = b"\x00\x5a\x00\x14", b"\x00\x5a\x00\x15"
_BLOCKED, _UNBLOCKED = b"\x00\x0a\x00\x3c", b"\x00\x0a\x00\x3d"


class Peer:
    """One connection. `run` reads and writes it; end of the stream sets `ended`."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.socket: socket.socket = session.socket
        self.ended = False
        self.blocked = ""  # why publishing is blocked
        self._inbox = b""
        self._outbox = bytearray()
        self._header: bytes | None = None
        self._body: list[bytes] = []
        self._body_left = 0
        self._method = b""

    def send(self, data: bytes) -> None:
        """Queue it for the socket."""
        self._outbox += data

    @property
    def wants_to_write(self) -> bool:
        """Whether something waits for the socket."""
        return bool(self._outbox)

    def write(self) -> None:
        """As much as the socket takes."""
        try:
            sent = self.socket.send(self._outbox)
        except BlockingIOError:
            return
        except OSError:
            self._outbox.clear()
            return
        del self._outbox[:sent]

    def read(self) -> None:
        """What the socket has."""
        try:
            data = self.socket.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.ended = True
            self.socket.close()
            return
        self._inbox = self._take(self._inbox + data if self._inbox else data)
        self.after_read()

    def _take(self, data: bytes) -> bytes:
        at, end = 0, len(data)
        while end - at >= 8:
            size = int.from_bytes(data[at + 3 : at + 7], "big")
            if end - at < size + 8:
                break
            self._frame(data[at], data[at + 7 : at + 7 + size])
            at += size + 8
        return data[at:]

    def _frame(self, kind: int, payload: bytes) -> None:
        if kind == METHOD:
            name = payload[:4]
            if name == _ACK:
                self.confirmed(int.from_bytes(payload[4:12], "big"), bool(payload[12] & 1))
            elif name == _DELIVER:
                self._method = payload
            elif name == _BLOCKED:
                self.blocked = payload[5:].decode()
            elif name == _UNBLOCKED:
                self.blocked = ""
            else:
                self.told(name, payload)
        elif kind == 2:
            self._header = payload
            self._body = []
            self._body_left = int.from_bytes(payload[4:12], "big")
            if not self._body_left:
                self._deliver()
        elif kind == 3:
            self._body.append(payload)
            self._body_left -= len(payload)
            if not self._body_left:
                self._deliver()

    def _deliver(self) -> None:
        tag_at = 5 + self._method[4]
        assert self._header is not None
        tag = int.from_bytes(self._method[tag_at : tag_at + 8], "big")
        self.delivery(tag, bool(self._method[tag_at + 8] & 1), self._header, b"".join(self._body))

    # what each kind of peer does with it

    def told(self, name: bytes, payload: bytes) -> None:
        """A method nobody expects."""
        raise Violation(f"{type(self).__name__}: unexpected method {struct.unpack('>HH', name)}: {payload[4:200]!r}")

    def confirmed(self, tag: int, multiple: bool) -> None:
        """A confirm came."""
        raise Violation("a confirm nobody asked for")

    def delivery(self, tag: int, redelivered: bool, header: bytes, body: bytes) -> None:
        """A message came."""
        raise Violation("a message nobody asked for")

    def after_read(self) -> None:
        """All of one read was handled."""


class Publisher(Peer):
    """Publishes its numbered messages, `window` unconfirmed at most."""

    def __init__(self, session: Session, sent: Sent, number: int, life: int, exchange: str, routing_key: str, window: int, budget: int = 1 << 40) -> None:
        super().__init__(session)
        self.source = (number, life)
        self._sent = sent
        self._exchange, self._routing_key = exchange, routing_key
        self.window = window
        self._budget = budget
        self._next = 0
        self._lowest = 0  # all below are confirmed
        self._answered: set[int] = set()
        sent.sent[self.source] = 0
        sent.confirmed[self.source] = 0
        self.begin()
        self.pump()

    def begin(self) -> None:
        """Ask for what will be answered."""
        self.session.confirms()

    @property
    def done(self) -> bool:
        """Whether all of its budget is confirmed."""
        return self._lowest >= self._budget

    def pump(self) -> None:
        """Publish what the window allows."""
        until = min(self._lowest + self.window, self._budget)
        if until - self._next < min(self.window // 8, self._budget - self._next) or until <= self._next:
            return
        for number in range(self._next, until):
            body = body_of(*self.source, number)
            data, _ = publish_frames(self._exchange, self._routing_key, body, frame_max=self.session.frame_max, persistent=True, mandatory=False)
            self.send(data)
        self._next = until
        self._sent.sent[self.source] = until
        self.write()

    def confirmed(self, tag: int, multiple: bool) -> None:
        if tag > self._next or tag < 1:
            raise Violation(f"publisher {self.source}: confirm of {tag}, {self._next} were sent")
        if multiple:
            self._lowest = max(self._lowest, tag)
        else:
            self._answered.add(tag - 1)
        while self._lowest in self._answered:
            self._answered.discard(self._lowest)
            self._lowest += 1
        self._sent.confirmed[self.source] = max(self._sent.confirmed[self.source], tag)

    def after_read(self) -> None:
        self.pump()


class Transactor(Publisher):
    """Publishes each of its messages to three queues, `window` of them in one transaction (the last may have fewer).

    Of three workers one has two of these queues, and another the third.
    """

    ROUTING_KEYS = ("every-1", "every-2", "every-3")

    def begin(self) -> None:
        self.session.call(90, 10, b"")

    def pump(self) -> None:
        """One transaction, once the one before is done."""
        if self._next > self._lowest or self.done:
            return
        until = min(self._next + self.window, self._budget)
        for number in range(self._next, until):
            body = body_of(*self.source, number)
            for key in self.ROUTING_KEYS:
                self.send(publish_frames("", key, body, frame_max=self.session.frame_max, persistent=True, mandatory=False)[0])
        self.send(frame(METHOD, 1, _TX_COMMIT))
        self._next = until
        self._sent.sent[self.source] = until
        self.write()

    def told(self, name: bytes, payload: bytes) -> None:
        if name != _TX_COMMIT_OK or self._lowest == self._next:
            super().told(name, payload)
        self._lowest = self._sent.confirmed[self.source] = self._next

    def is_whole(self, count: int) -> bool:
        """Whether so many messages are whole transactions."""
        return count % self.window == 0 or count == self._budget


class Consumer(Peer):
    """Settles in runs, and publishes to FENCE behind them: once that is confirmed, they must not come again.

    `rejects`: without requeueing, to the dead-letter exchange; a record that has to be read from the disk first moves there when it was
    read, which a fence does not wait for. `returns`: now and then a run is given back first. `fence`: an exchange and a routing key that lead to
    whoever has the consumer's queue.
    """

    def __init__(
        self, session: Session, ledger: QueueLedger, *, run: int = 100, rejects: bool = False, returns: bool = False, fence: tuple[str, str] = ("", FENCE)
    ) -> None:
        super().__init__(session)
        self.ledger = ledger
        self._run = run
        self._rejects = rejects
        self._returns = returns
        self._fence = fence
        self._runs = 0
        self._tag = 0
        self._open: list[tuple[int, int, int]] = []
        self._settled: list[tuple[int, int, int]] = []
        self._fences: deque[tuple[int, list[tuple[int, int, int]]]] = deque()
        self._fence_tag = 0
        self._fence_after = 500  # settled ones
        session.confirms()
        session.prefetch(1000)
        session.consume(ledger.name, "c", auto_ack=False)

    def delivery(self, tag: int, redelivered: bool, header: bytes, body: bytes) -> None:
        self._open.append(self.ledger.delivered(body, redelivered))
        self._tag = tag
        if len(self._open) >= self._run:
            self.settle()

    def settle(self) -> None:
        """All that was delivered, with one method."""
        if not self._open:
            return
        self._runs += 1
        arguments = struct.pack(">Q", self._tag)
        if self._returns and self._runs % 7 == 3:
            self.send(frame(METHOD, 1, _NACK + arguments + b"\x03"))
            self._open.clear()
            return
        self.send(frame(METHOD, 1, _NACK + arguments + b"\x01" if self._rejects else _ACK + arguments + b"\x01"))
        self.ledger.settled(self._open, SETTLED)
        self._settled += self._open
        self._open.clear()

    def after_read(self) -> None:
        self.settle()
        if len(self._settled) >= self._fence_after:
            self.fence()
        if self._outbox:
            self.write()

    @property
    def is_settled(self) -> bool:
        """Whether everything that it got is settled for good."""
        return not self._open and not self._settled and not self._fences

    def fence(self) -> None:
        """Ask whether what was settled so far is durable."""
        self._fence_after = min(self._fence_after, max(1, len(self._settled)))
        data, _ = publish_frames(*self._fence, b"fence", frame_max=self.session.frame_max, persistent=True, mandatory=False)
        self.send(data)
        self._fence_tag += 1
        self._fences.append((self._fence_tag, self._settled))
        self._settled = []

    def confirmed(self, tag: int, multiple: bool) -> None:
        while self._fences and self._fences[0][0] <= tag:
            settled = self._fences.popleft()[1]
            if not self._rejects:
                self.ledger.settled(settled, GONE)


class StreamReader(Peer):
    """Reads on from where the ledger is."""

    def __init__(self, session: Session, ledger: StreamLedger) -> None:
        super().__init__(session)
        self.ledger = ledger
        self._since = 0
        session.prefetch(1000)
        session.consume(ledger.name, "s", auto_ack=False, arguments={"x-stream-offset": ledger.next_offset})

    def delivery(self, tag: int, redelivered: bool, header: bytes, body: bytes) -> None:
        at = header.index(b"x-stream-offsetl") + 16
        self.ledger.read(int.from_bytes(header[at : at + 8], "big"), body)
        self._since += 1
        if self._since == 200:
            self._since = 0
            self.send(frame(METHOD, 1, _ACK + struct.pack(">Q", tag) + b"\x01"))
            self.write()


def connect(url: str) -> Session:
    """A connection with channel 1 open."""
    return Session(Address.parse(url))


def drive(peers: list[Peer], until: Callable[[], bool], *, silence_s: float = 30.0, may_end: bool = False) -> bool:
    """Read and write until `until` holds; False if every peer has ended first. Violation if nothing happens for `silence_s`, or one ends that should not."""
    with selectors.DefaultSelector() as selector:
        for peer in peers:
            if not peer.ended:
                peer.socket.setblocking(False)
                selector.register(peer.socket, selectors.EVENT_READ, peer)
        while not until():
            for key in list(selector.get_map().values()):
                peer = key.data
                if peer.ended:
                    selector.unregister(key.fileobj)
                    continue
                wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if peer.wants_to_write else 0)
                if key.events != wanted:
                    selector.modify(peer.socket, wanted, peer)
            if not selector.get_map():
                return False
            ready = selector.select(silence_s)
            if not ready:
                raise Violation(f"nothing was heard for {silence_s} s")
            for key, events in ready:
                if events & selectors.EVENT_WRITE:
                    key.data.write()
                if events & selectors.EVENT_READ:
                    selector_key = key.fileobj
                    key.data.read()
                    if key.data.ended:
                        selector.unregister(selector_key)
                        if not may_end:
                            raise Violation(f"the broker ended the connection of a {type(key.data).__name__}")
        return True
