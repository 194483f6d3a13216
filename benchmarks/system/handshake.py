"""The blocking part of a connection's life: connect, open, declare, bind, consume. Plain Python, AMQP 0-9-1.

Never reads past the frame it waits for, so that what follows is left to the loop.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

METHOD, HEADER, BODY = 1, 2, 3
CONNECTION_CLOSE = b"\x00\x0a\x00\x32\x00\xc8\x00\x00\x00\x00\x00"
CHANNEL_CLOSE = b"\x00\x14\x00\x28\x00\xc8\x00\x00\x00\x00\x00"
CONNECTION_CLOSE_OK, CHANNEL_CLOSE_OK = 0x000A0033, 0x00140029


class BrokerError(Exception):
    """The broker could not be reached, refused something, or broke the protocol."""


def shortstr(text: str) -> bytes:
    data = text.encode()
    return bytes([len(data)]) + data


def longstr(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def table(items: dict[str, str | int | bool]) -> bytes:
    """A field table of strings, integers (as `l`) and booleans."""
    out = bytearray()
    for name, value in items.items():
        out += shortstr(name)
        if isinstance(value, bool):
            out += b"t" + bytes([value])
        elif isinstance(value, int):
            out += b"l" + struct.pack(">q", value)
        else:
            out += b"S" + longstr(value.encode())
    return longstr(bytes(out))


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


def publish_frames(exchange: str, routing_key: str, body: bytes, *, frame_max: int, persistent: bool, mandatory: bool, priority: int = -1) -> tuple[bytes, int]:
    """A whole publish on channel 1, and where its body starts. `priority` -1: none."""
    method = struct.pack(">HHH", 60, 40, 0) + shortstr(exchange) + shortstr(routing_key) + bytes([mandatory])
    flags, properties = (0x1000, b"") if priority < 0 else (0x1800, bytes((priority,)))
    header = struct.pack(">HHQHB", 60, 0, len(body), flags, 2 if persistent else 1) + properties
    start = frame(METHOD, 1, method) + frame(HEADER, 1, header)
    room = frame_max - 8
    return start + b"".join(frame(BODY, 1, body[at : at + room]) for at in range(0, len(body), room)), len(start) + 7


@dataclass(frozen=True)
class Address:
    """Where a broker is and who we are to it."""

    host: str
    port: int
    user: str
    password: str
    virtual_host: str

    @classmethod
    def parse(cls, url: str) -> Address:
        """amqp://user:password@host:port/vhost; no path means the virtual host `/`."""
        parts = urlsplit(url)
        if parts.scheme != "amqp" or not parts.hostname:
            raise ValueError(f"not an amqp:// address: {url}")
        return cls(parts.hostname, parts.port or 5672, unquote(parts.username or "guest"), unquote(parts.password or "guest"), unquote(parts.path[1:]) or "/")


class Session:
    """A connection being set up, with channel 1 open."""

    def __init__(self, address: Address, *, frame_max: int = 131072, timeout_s: float = 30.0) -> None:
        try:
            self.socket = socket.create_connection((address.host, address.port), timeout_s)
        except OSError as error:
            raise BrokerError(f"cannot connect to {address.host}:{address.port}: {error}") from error
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(b"AMQP\x00\x00\x09\x01")
        self.wait(10, 10)
        response = f"\0{address.user}\0{address.password}".encode()
        capabilities: bytes = longstr(shortstr("connection.blocked") + b"t\x01" + shortstr("basic.nack") + b"t\x01" + shortstr("publisher_confirms") + b"t\x01")
        properties = longstr(shortstr("product") + b"S" + longstr(b"entrepot load") + shortstr("capabilities") + b"F" + capabilities)
        self.send(0, 10, 11, properties + shortstr("PLAIN") + longstr(response) + shortstr("en_US"))
        channel_max, broker_frame_max, _heartbeat = struct.unpack_from(">HIH", self.wait(10, 30))
        self.frame_max = min(frame_max, broker_frame_max or frame_max)
        tune = frame(METHOD, 0, struct.pack(">HHHIH", 10, 31, channel_max, self.frame_max, 0))
        opening = frame(METHOD, 0, struct.pack(">HH", 10, 40) + shortstr(address.virtual_host) + b"\0\0")
        self.socket.sendall(tune + opening)
        self.wait(10, 41)
        self.call(20, 10, b"\0")

    def send(self, channel: int, class_id: int, method_id: int, arguments: bytes) -> None:
        self.socket.sendall(frame(METHOD, channel, struct.pack(">HH", class_id, method_id) + arguments))

    def call(self, class_id: int, method_id: int, arguments: bytes, answer: int | None = None) -> bytes:
        """Calls a method of channel 1; the arguments of its answer."""
        self.send(1, class_id, method_id, arguments)
        return self.wait(class_id, answer or method_id + 1)

    def wait(self, class_id: int, method_id: int) -> bytes:
        """The arguments of this method, which must be the next but for heartbeats and notices of blocking."""
        while True:
            kind, _channel, size = struct.unpack(">BHI", self._exactly(7))
            payload = self._exactly(size + 1)[:-1]
            if kind == 8:
                continue
            got = struct.unpack_from(">HH", payload)
            if kind == METHOD and got == (class_id, method_id):
                return payload[4:]
            if kind == METHOD and got in ((10, 60), (10, 61)):
                continue
            if kind == METHOD and got in ((10, 50), (20, 40)):
                code, length = struct.unpack_from(">HB", payload, 4)
                raise BrokerError(f"closed by the broker: {code} {payload[7 : 7 + length].decode('utf-8', 'replace')}")
            raise BrokerError(f"waited for {class_id}.{method_id}, got frame type {kind}, {got[0]}.{got[1]}")

    def _exactly(self, count: int) -> bytes:
        try:
            data = self.socket.recv(count, socket.MSG_WAITALL)
            while len(data) < count:
                more = self.socket.recv(count - len(data), socket.MSG_WAITALL)
                if not more:
                    raise BrokerError("the broker ended the connection during set-up")
                data += more
        except OSError as error:
            raise BrokerError(f"during set-up: {error}") from error
        return data

    def declare_queue(self, name: str, *, durable: bool, exclusive: bool = False, arguments: dict[str, str | int | bool] | None = None) -> str:
        """Its name, which the broker chooses if empty."""
        bits = durable << 1 | exclusive << 2 | exclusive << 3
        answer = self.call(50, 10, b"\0\0" + shortstr(name) + bytes([bits]) + table(arguments or {}))
        return answer[1 : 1 + answer[0]].decode()

    def declare_exchange(self, name: str, kind: str, *, durable: bool) -> None:
        self.call(40, 10, b"\0\0" + shortstr(name) + shortstr(kind) + bytes([durable << 1]) + table({}))

    def bind(self, queue: str, exchange: str, routing_key: str) -> None:
        self.call(50, 20, b"\0\0" + shortstr(queue) + shortstr(exchange) + shortstr(routing_key) + b"\0" + table({}))

    def purge(self, queue: str) -> None:
        self.call(50, 30, b"\0\0" + shortstr(queue) + b"\0")

    def delete_queue(self, queue: str) -> None:
        self.call(50, 40, b"\0\0" + shortstr(queue) + b"\0")

    def delete_exchange(self, exchange: str) -> None:
        self.call(40, 20, b"\0\0" + shortstr(exchange) + b"\0")

    def confirms(self) -> None:
        self.call(85, 10, b"\0")

    def prefetch(self, count: int) -> None:
        self.call(60, 10, struct.pack(">IHB", 0, count, 0))

    def consume(self, queue: str, tag: str, *, auto_ack: bool, arguments: dict[str, str | int | bool] | None = None) -> None:
        self.call(60, 20, b"\0\0" + shortstr(queue) + shortstr(tag) + bytes([auto_ack << 1]) + table(arguments or {}))

    def consume_nowait(self, queue: str, tag: str, *, auto_ack: bool, arguments: dict[str, str | int | bool] | None = None) -> None:
        """As consume(), with no answer asked for."""
        self.send(1, 60, 20, b"\0\0" + shortstr(queue) + shortstr(tag) + bytes([auto_ack << 1 | 8]) + table(arguments or {}))

    def close(self) -> None:
        """Closes politely."""
        self.socket.sendall(frame(METHOD, 0, CONNECTION_CLOSE))
        self.wait(10, 51)
        self.socket.close()


def cancel_frame(tag: str) -> bytes:
    return frame(METHOD, 1, struct.pack(">HH", 60, 30) + shortstr(tag) + b"\0")
