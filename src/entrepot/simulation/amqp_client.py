"""AmqpClient: a scripted AMQP 0-9-1 client for simulated connections: a publisher with confirms, or a consumer.

Written against the specification and nothing of the broker's, so that both being wrong alike is unlikely.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from entrepot.simulation.network import Script

_HEADER = b"AMQP\x00\x00\x09\x01"
_START, _TUNE, _OPEN_OK = (10, 10), (10, 30), (10, 41)
_CHANNEL_OPEN_OK, _CHANNEL_CLOSE, _CHANNEL_CLOSE_OK, _CANCEL = (20, 11), (20, 40), (20, 41), (60, 30)
_DECLARE_OK, _QOS_OK, _CONSUME_OK, _SELECT_OK = (50, 11), (60, 11), (60, 21), (85, 11)
_RECOVER_OK, _TX_SELECT_OK, _TX_COMMIT_OK = (60, 111), (90, 11), (90, 21)
_DELIVER, _ACK, _NACK = (60, 60), (60, 80), (60, 120)


def _short(text: bytes) -> bytes:
    return bytes([len(text)]) + text


def _long(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _frame(kind: int, channel: int, payload: bytes) -> bytes:
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


def _method(channel: int, class_id: int, method_id: int, arguments: bytes = b"") -> bytes:
    return _frame(1, channel, struct.pack(">HH", class_id, method_id) + arguments)


def text_field(name: str, value: str) -> bytes:
    """A field of a table, whose value is a long string."""
    return _short(name.encode()) + b"S" + _long(value.encode())


def number_field(name: str, value: int) -> bytes:
    """A field of a table, whose value is a signed 32-bit number."""
    return _short(name.encode()) + b"I" + struct.pack(">i", value)


def _delivery_count(header: bytes) -> int:
    """x-delivery-count of a content header whose first property, if it has the property at all, is a table of that field alone; else 0."""
    expected = _long(_short(b"x-delivery-count") + b"l" + bytes(8))
    (flags,) = struct.unpack_from(">H", header, 12)
    if not flags & 0x2000 or header[14 : 14 + len(expected) - 8] != expected[:-8]:
        return 0
    return int.from_bytes(header[6 + len(expected) : 14 + len(expected)], "big")


def _ignore(*_: object) -> None:
    pass


class Unexpected(AssertionError):
    """The broker sent what it must not."""


class AmqpClient(Script):
    """One connection with one channel on one durable queue. `ready` once it may publish, or is subscribed.

    Publisher: publish() gives the delivery tag; on_confirm(low, high, acked) for each confirm's tags. Consumer (prefetch > 0):
    on_delivery(tag, redelivered, body), while `deliveries` is what the message says of earlier ones; then ack() or requeue(). `arguments` are
    the queue's, as fields of a table. Where the broker closes the channel because it cannot say that something was done (405 "try again", 541), it
    opens it again: on_closed() then (`closed_with` is the code), everything that was not answered is unknown, and tags begin anew.
    `transacted`, set before it is connected: what it publishes and accepts waits for commit(). on_done(): commit(), or recover(), is answered.
    """

    def __init__(self, queue: str, prefetch: int = 0, arguments: bytes = b"") -> None:
        super().__init__()
        self.queue = queue.encode()
        self.arguments = arguments
        self.prefetch = prefetch
        self.ready = False
        self.next_tag = 1  # of publishes
        self.confirmed_to = 0
        self.on_confirm: Callable[[int, int, bool], None] = _ignore
        self.on_delivery: Callable[[int, bool, bytes], None] = _ignore
        self.on_closed: Callable[[], None] = _ignore
        self.on_done: Callable[[], None] = _ignore
        self.deliveries = 0
        self.closed_with = 0
        self.transacted = False
        self.served_by = ""  # by whom it was accepted, where there are several
        self.is_cut_off = False  # whoever serves it is dead, and it has not heard of that yet
        self._delivery: tuple[int, bool] | None = None
        self._size = 0
        self._body = bytearray()

    # ---- what a script does

    def publish(self, body: bytes, queue: str | None = None) -> int:
        """Send a persistent message to the queue, or to another one; its delivery tag."""
        routing_key = self.queue if queue is None else queue.encode()
        tag = self.next_tag
        self.next_tag += 1
        header = _frame(2, 1, struct.pack(">HHQH", 60, 0, len(body), 0x1000) + b"\x02")
        self.transport.write(_method(1, 60, 40, b"\0\0" + _short(b"") + _short(routing_key) + b"\0") + header + (_frame(3, 1, body) if body else b""))
        return tag

    def ack(self, tag: int, *, multiple: bool = False) -> None:
        """Accept a delivery, or all up to it."""
        self.transport.write(_method(1, 60, 80, struct.pack(">QB", tag, multiple)))

    def requeue(self, tag: int) -> None:
        """Give a delivery back."""
        self.transport.write(_method(1, 60, 120, struct.pack(">QB", tag, 2)))

    def recover(self) -> None:
        """Have all that is held delivered again, to whomever."""
        self.transport.write(_method(1, 60, 110, b"\1"))

    def commit(self) -> None:
        """Of a transaction."""
        self.transport.write(_method(1, 90, 20))

    # ---- the protocol

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        self.received += data
        while len(self.received) >= 7:
            kind, channel, size = struct.unpack_from(">BHI", self.received)
            if len(self.received) < size + 8:
                return
            payload = bytes(self.received[7 : 7 + size])
            if self.received[7 + size] != 0xCE:
                raise Unexpected(f"a frame of {size} bytes does not end in 0xCE")
            del self.received[: size + 8]
            self._on_frame(kind, channel, payload)

    def connection_made(self, transport: object) -> None:
        """See asyncio."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self.transport.write(_HEADER)

    def _on_frame(self, kind: int, channel: int, payload: bytes) -> None:
        if kind == 1:
            self._on_method(struct.unpack_from(">HH", payload), payload[4:])
        elif kind == 2 and self._delivery is not None:
            self._size = struct.unpack_from(">Q", payload, 4)[0]
            self.deliveries = _delivery_count(payload)
            self._body.clear()
            self._delivered()
        elif kind == 3 and self._delivery is not None:
            self._body += payload
            self._delivered()
        elif kind != 8:
            raise Unexpected(f"a frame of kind {kind} on channel {channel}")

    def _on_method(self, method: tuple[int, ...], arguments: bytes) -> None:
        write = self.transport.write
        if method == _DELIVER:
            at = 1 + arguments[0]
            tag, redelivered = struct.unpack_from(">QB", arguments, at)
            self._delivery = (tag, bool(redelivered))
        elif method in (_ACK, _NACK):
            tag, bits = struct.unpack_from(">QB", arguments)
            low = self.confirmed_to + 1 if bits & 1 else tag
            self.on_confirm(low, tag, method == _ACK)
            if bits & 1:
                self.confirmed_to = tag
        elif method == _START:
            write(_method(0, 10, 11, _long(b"") + _short(b"PLAIN") + _long(b"\0guest\0guest") + _short(b"en_US")))
        elif method == _TUNE:
            channels, size, _ = struct.unpack_from(">HIH", arguments)
            write(_method(0, 10, 31, struct.pack(">HIH", channels, size, 0)) + _method(0, 10, 40, _short(b"/") + b"\0\0"))
        elif method == _OPEN_OK:
            write(_method(1, 20, 10, b"\0"))
        elif method in (_CHANNEL_CLOSE, _CANCEL):
            code = struct.unpack_from(">H", arguments)[0]
            if method == _CHANNEL_CLOSE and code not in (405, 541):
                raise Unexpected(f"the channel is closed: {arguments[2:200]!r}")
            self.closed_with = code
            self.ready = False
            self.next_tag, self.confirmed_to = 1, 0
            self._delivery = None
            self.on_closed()
            write(_method(1, 20, 41) if method == _CHANNEL_CLOSE else _method(1, 20, 40, b"\0\xc8\0\0\0\0\0"))
            if method == _CHANNEL_CLOSE:
                write(_method(1, 20, 10, b"\0"))
        elif method == _CHANNEL_CLOSE_OK:
            write(_method(1, 20, 10, b"\0"))
        elif method == _CHANNEL_OPEN_OK:
            write(_method(1, 50, 10, b"\0\0" + _short(self.queue) + b"\x02" + _long(self.arguments)))
        elif method == _DECLARE_OK:
            write(_method(1, 60, 10, struct.pack(">IHB", 0, self.prefetch, 0)) if self.prefetch else _method(1, 85, 10, b"\0"))
        elif method == _QOS_OK and self.transacted:
            write(_method(1, 90, 10))
        elif method in (_QOS_OK, _TX_SELECT_OK):
            write(_method(1, 60, 20, b"\0\0" + _short(self.queue) + _short(b"") + b"\0" + _long(b"")))
        elif method in (_CONSUME_OK, _SELECT_OK):
            self.ready = True
        elif method in (_RECOVER_OK, _TX_COMMIT_OK):
            self.on_done()
        else:
            raise Unexpected(f"method {method}: {arguments[:200]!r}")

    def _delivered(self) -> None:
        if len(self._body) > self._size:
            raise Unexpected(f"a body of {self._size} bytes has {len(self._body)}")
        if len(self._body) == self._size:
            assert self._delivery is not None
            tag, redelivered = self._delivery
            self._delivery = None
            self.on_delivery(tag, redelivered, bytes(self._body))
