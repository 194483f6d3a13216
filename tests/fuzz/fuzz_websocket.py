"""A talk of another protocol within WebSocket, as a fuzzer carries it: the request, messages in one frame or several, and what is wrong with them."""

from __future__ import annotations

from typing import Any

from fuzz_mqtt import MqttTalk
from fuzz_stomp import StompTalk
from fuzz_values import Chance, damaged
from fuzz_world import Wire, World

_CONTROL = (8, 9, 10)


def frame(chance: Chance, opcode: int, data: bytes, last: bool = True, masked: bool = True) -> bytes:
    """One frame of a client."""
    size = len(data)
    head = bytes(((128 if last else 0) | opcode,))
    bit = 128 if masked else 0
    if size < 126:
        head += bytes((bit | size,))
    elif size < 1 << 16:
        head += bytes((bit | 126,)) + size.to_bytes(2, "big")
    else:
        head += bytes((bit | 127,)) + size.to_bytes(8, "big")
    if not masked:
        return head + data
    mask = chance.randbytes(4)
    whole = (mask * (size // 4 + 1))[:size]
    return head + mask + (int.from_bytes(data, "big") ^ int.from_bytes(whole, "big")).to_bytes(size, "big")


class WebSocketTalk:
    """`inner` talks within it."""

    listeners: tuple[str, ...] = ()
    subprotocols: tuple[bytes, ...] = ()
    paths: tuple[bytes, ...] = ()
    opcodes = (2,)

    def __init__(self, chance: Chance, inner: Any) -> None:
        self._chance = chance
        self._inner = inner
        self._asked = False
        self._shaken = False
        self._held = b""

    # ---- what arrives

    def connection_made(self, transport: Wire) -> None:
        """See asyncio."""
        self._asked = self._shaken = False
        self._held = b""
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        data = self._held + data
        if not self._shaken:
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                self._held = head[:65_536]
                return
            self._shaken = True
        at = 0
        while len(data) - at >= 2:
            size, place = data[at + 1] & 127, at + 2
            if size >= 126:
                width = 2 if size == 126 else 8
                size, place = int.from_bytes(data[place : place + width], "big"), place + width
            if len(data) < place + size:
                break
            if data[at] & 15 not in _CONTROL:
                self._inner.data_received(data[place : place + size])
            at = place + size
        self._held = data[at:]

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio."""

    # ---- what is sent

    def _request(self) -> bytes:
        chance = self._chance
        lines = [
            b"GET %b HTTP/1.1" % (chance.choice(self.paths) if chance.random() < 0.98 else b"/" + b"x" * chance.choice((1, 9000))),
            b"Host: %b" % chance.choice((b"127.0.0.1:15675", b"localhost", b"here.example" if chance.random() < 0.1 else b"localhost")),
            b"Upgrade: websocket",
            b"Connection: Upgrade",
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            b"Sec-WebSocket-Version: 13",
            b"Sec-WebSocket-Protocol: " + b", ".join(chance.sample(self.subprotocols, chance.choice((1, len(self.subprotocols))))),
        ]
        if chance.random() < 0.05:
            lines.append(
                chance.choice((b"Origin: http://127.0.0.1:15675", b"Origin: null", b"X: " + b"y" * 8000, b"Sec-WebSocket-Extensions: permessage-deflate"))
            )
        if chance.random() < 0.03:
            del lines[chance.randrange(1, len(lines))]
        return b"\r\n".join((*lines, b"", b""))

    def _carried(self, data: bytes) -> list[bytes]:
        """One message: whole or in pieces, with a ping within now and then, or wrong."""
        chance = self._chance
        opcode = chance.choice(self.opcodes)
        way = chance.random()
        if way < 0.8 or len(data) < 4:
            return [frame(chance, opcode, data)]
        if way < 0.97:
            cut = chance.randrange(len(data))
            between = [frame(chance, 9, b"ping")] if chance.random() < 0.3 else []
            return [frame(chance, opcode, data[:cut], last=False), *between, frame(chance, 0, data[cut:])]
        if way < 0.98:
            return [frame(chance, opcode, data, masked=False)]
        if way < 0.99:
            return [frame(chance, chance.choice((0, 1, 2, 3, 7, 8, 11)), data, last=chance.random() < 0.5)]
        return [frame(chance, 9, b"p" * chance.choice((125, 126, 3000)))]

    def next_frames(self) -> list[bytes]:
        """What it sends now."""
        chance = self._chance
        if not self._asked:
            self._asked = True
            request = self._request()
            return [request if chance.random() < 0.97 else damaged(chance, request)]
        way = chance.random()
        if way < 0.01:
            return [frame(chance, 8, chance.choice((b"", b"\x03\xe8", b"\x03\xe8bye", b"\0", b"\x03\xed", b"\x03\xe8\xff")))]
        if way < 0.03:
            return [frame(chance, chance.choice((9, 10)), chance.randbytes(chance.choice((0, 5, 125))))] * chance.choice((1, 1, 200))
        if way < 0.035:
            return [bytes((130, 255)) + chance.choice((1 << 20, 1 << 40, (1 << 63) - 1)).to_bytes(8, "big") + b"mask", chance.randbytes(30_000)]
        frames = self._inner.next_frames()
        if len(frames) > 1 and chance.random() < 0.5:
            frames = [b"".join(frames)]
        return [piece for one in frames for piece in self._carried(one)]


class StompOverWebSocket(WebSocketTalk):
    """STOMP in a browser."""

    listeners = ("stomp-ws",)
    subprotocols = (b"v12.stomp", b"v11.stomp", b"v10.stomp")
    paths = (b"/stomp", b"/ws", b"/")
    opcodes = (1, 2)

    def __init__(self, chance: Chance, world: World | None, has_users: bool) -> None:
        super().__init__(chance, StompTalk(chance, world, has_users))


class MqttOverWebSocket(WebSocketTalk):
    """MQTT in a browser."""

    listeners = ("mqtt-ws",)
    subprotocols = (b"mqtt", b"mqttv3.1")
    paths = (b"/mqtt", b"/ws", b"/")

    def __init__(self, chance: Chance, world: World | None, has_users: bool) -> None:
        super().__init__(chance, MqttTalk(chance, world, has_users))
