"""A bare AMQP 0-9-1 connection over a socket, for what no client library lets one send: frames out of order, of the wrong size, of unknown kinds."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
END = b"\xce"
PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"

CONNECTION_START, CONNECTION_START_OK = (10, 10), (10, 11)
CONNECTION_TUNE, CONNECTION_TUNE_OK = (10, 30), (10, 31)
CONNECTION_OPEN, CONNECTION_OPEN_OK = (10, 40), (10, 41)
CONNECTION_CLOSE, CONNECTION_CLOSE_OK = (10, 50), (10, 51)
CHANNEL_OPEN, CHANNEL_OPEN_OK = (20, 10), (20, 11)
CHANNEL_CLOSE, CHANNEL_CLOSE_OK = (20, 40), (20, 41)
QUEUE_DECLARE, QUEUE_DECLARE_OK = (50, 10), (50, 11)
BASIC_PUBLISH, BASIC_GET, BASIC_GET_OK = (60, 40), (60, 70), (60, 71)


@dataclass(frozen=True)
class Frame:
    """One received frame; `method` is (class id, method id) of a method frame and None for the others."""

    kind: int
    channel: int
    payload: bytes

    @property
    def method(self) -> tuple[int, int] | None:
        return struct.unpack_from(">HH", self.payload) if self.kind == METHOD else None  # type: ignore[return-value]

    @property
    def reply(self) -> tuple[int, str]:
        """Reply code and text of a connection.close or channel.close."""
        code, length = struct.unpack_from(">HB", self.payload, 4)
        return code, self.payload[7 : 7 + length].decode()

    @property
    def culprit(self) -> tuple[int, int]:
        """Class and method id that a connection.close or channel.close blames; (0, 0) when none."""
        return struct.unpack(">HH", self.payload[-4:])  # type: ignore[return-value]


def short(text: str) -> bytes:
    octets = text.encode()
    return bytes([len(octets)]) + octets


def long(octets: bytes) -> bytes:
    return struct.pack(">I", len(octets)) + octets


def frame(kind: int, channel: int, payload: bytes, end: bytes = END) -> bytes:
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + end


def method(channel: int, which: tuple[int, int], arguments: bytes = b"") -> bytes:
    return frame(METHOD, channel, struct.pack(">HH", *which) + arguments)


def header(channel: int, body_size: int, flags_and_properties: bytes = b"\x00\x00", class_id: int = 60) -> bytes:
    return frame(HEADER, channel, struct.pack(">HHQ", class_id, 0, body_size) + flags_and_properties)


def declare(channel: int, queue: str, bits: int = 0) -> bytes:
    return method(channel, QUEUE_DECLARE, b"\x00\x00" + short(queue) + bytes([bits]) + long(b""))


def publish(channel: int, exchange: str, routing_key: str, bits: int = 0) -> bytes:
    return method(channel, BASIC_PUBLISH, b"\x00\x00" + short(exchange) + short(routing_key) + bytes([bits]))


class Wire:
    """A socket that speaks frames. Everything read has a deadline of `timeout_s`; end of stream reads as None."""

    def __init__(self, amqp_url: str, timeout_s: float = 20) -> None:
        parts = urlsplit(amqp_url)
        self.user, self.password = unquote(parts.username or "guest"), unquote(parts.password or "guest")
        self.vhost = unquote(parts.path[1:]) or "/"
        self.socket = socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 5672), timeout=timeout_s)
        self._pending = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.socket.close()

    def send(self, *octets: bytes) -> None:
        self.socket.sendall(b"".join(octets))

    def read(self, count: int) -> bytes | None:
        """Exactly `count` octets, or None when the peer closed first."""
        while len(self._pending) < count:
            try:
                more = self.socket.recv(65536)
            except ConnectionResetError:
                return None
            if not more:
                return None
            self._pending += more
        octets, self._pending = self._pending[:count], self._pending[count:]
        return octets

    def read_frame(self) -> Frame | None:
        head = self.read(7)
        if head is None:
            return None
        kind, channel, size = struct.unpack(">BHI", head)
        rest = self.read(size + 1)
        if rest is None:
            return None
        assert rest[-1:] == END
        return Frame(kind, channel, rest[:-1])

    def expect(self, which: tuple[int, int]) -> Frame:
        """The next method frame, heartbeats skipped; it has to be `which`."""
        while True:
            received = self.read_frame()
            if received is None or received.kind != HEARTBEAT:
                break
        assert received is not None, f"the broker closed the socket instead of sending {which}"
        assert received.method == which, f"{which} expected, got {received}"
        return received

    def start(self) -> Frame:
        """Send the protocol header; the connection.start that comes back."""
        self.send(PROTOCOL_HEADER)
        return self.expect(CONNECTION_START)

    def start_ok(self, mechanism: str = "PLAIN", response: bytes | None = None, properties: bytes = b"") -> None:
        answer = f"\0{self.user}\0{self.password}".encode() if response is None else response
        self.send(method(0, CONNECTION_START_OK, long(properties) + short(mechanism) + long(answer) + short("en_US")))

    def tune(self, channel_max: int | None = None, frame_max: int | None = None, heartbeat_s: int = 0) -> tuple[int, int, int]:
        """Answer connection.tune; what the broker proposed, as (channel_max, frame_max, heartbeat_s)."""
        proposed: tuple[int, int, int] = struct.unpack(">HIH", self.expect(CONNECTION_TUNE).payload[4:])
        channels = proposed[0] if channel_max is None else channel_max
        size = proposed[1] if frame_max is None else frame_max
        self.send(method(0, CONNECTION_TUNE_OK, struct.pack(">HIH", channels, size, heartbeat_s)))
        return proposed

    def open(self, vhost: str | None = None) -> None:
        self.send(method(0, CONNECTION_OPEN, short(self.vhost if vhost is None else vhost) + b"\x00\x00"))

    def connect(self, frame_max: int | None = None, heartbeat_s: int = 0, channel_max: int | None = None) -> Wire:
        self.start()
        self.start_ok()
        self.tune(frame_max=frame_max, heartbeat_s=heartbeat_s, channel_max=channel_max)
        self.open()
        self.expect(CONNECTION_OPEN_OK)
        return self

    def open_channel(self, channel: int = 1) -> None:
        self.send(method(channel, CHANNEL_OPEN, b"\x00"))
        self.expect(CHANNEL_OPEN_OK)

    def closes_with(self) -> tuple[int, str]:
        """The broker's connection.close, answered; afterwards the socket must end."""
        close = self.expect(CONNECTION_CLOSE)
        self.send(method(0, CONNECTION_CLOSE_OK))
        assert self.read_frame() is None, "the socket stayed open after connection.close-ok"
        return close.reply
