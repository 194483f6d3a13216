"""AMQP 0-9-1 as a fuzzer speaks it: every method of the table with arguments that mostly make sense, contents, logins, and what is wrong with them."""

from __future__ import annotations

import struct
from typing import Any

from fuzz_values import Chance, damaged, number, payload, text
from fuzz_world import PASSWORD, USER, Wire, World

from entrepot.protocols.amqp091.methods import BY_NAME, TABLE, Method

HEADER = b"AMQP\x00\x00\x09\x01"
QUEUES = (b"orders", b"returns", b"stream", b"events", b"fuzz.fifo", b"amq.rabbitmq.reply-to", b"")
EXCHANGES = (b"", b"amq.direct", b"amq.topic", b"amq.fanout", b"amq.headers", b"fan", b"tree", b"inner")
KEYS = (b"orders", b"returns", b"stream", b"events", b"a.b.c", b"a.*.#", b"#", b"*", b"", b"a")
TAGS = (b"", b"c1", b"c2")
NAMES: dict[str, tuple[bytes, ...]] = {
    "queue": QUEUES,
    "exchange": EXCHANGES,
    "source": EXCHANGES,
    "destination": EXCHANGES,
    "routing_key": KEYS,
    "consumer_tag": TAGS,
    "type": (b"direct", b"fanout", b"topic", b"headers", b"x-nothing"),
    "virtual_host": (b"/",),
    "mechanism": (b"PLAIN", b"AMQPLAIN"),
    "locale": (b"en_US",),
    "reply_text": (b"bye",),
}
ARGUMENTS: tuple[tuple[bytes, tuple[Any, ...]], ...] = (
    (b"x-queue-type", (b"classic", b"quorum", b"stream")),
    (b"x-message-ttl", (0, 1, 1000, 1 << 40)),
    (b"x-expires", (1, 1000, 1 << 40)),
    (b"x-max-length", (0, 1, 10)),
    (b"x-max-length-bytes", (0, 100, 1 << 40)),
    (b"x-overflow", (b"drop-head", b"reject-publish", b"reject-publish-dlx")),
    (b"x-dead-letter-exchange", EXCHANGES),
    (b"x-dead-letter-routing-key", KEYS),
    (b"x-single-active-consumer", (True, False)),
    (b"x-delivery-limit", (0, 1, -1)),
    (b"x-max-age", (b"1h", b"1s", b"99999999999Y")),
    (b"x-stream-offset", (b"first", b"last", b"next", 0, 1 << 62, -1, b"1h")),
    (b"x-priority", (0, 10, -10)),
    (b"x-match", (b"all", b"any", b"any-with-x")),
    (b"alternate-exchange", EXCHANGES),
    (b"a", (b"1", 1, None)),
)
PROPERTIES = "ssTBBsssssssss"  # of the flags from bit 15 down; s: short string, B: octet; headers (T) and the timestamp by place
_FROM_CLIENT = [method for method in TABLE if method.from_client and method.class_id != 10 and method.name not in ("basic.publish", "channel.open")]
_RARE = frozenset({"queue.delete", "exchange.delete", "channel.close", "channel.close_ok", "queue.purge", "channel.flow", "basic.recover_async"})
_UNSUPPORTED = frozenset({"immediate", "prefetch_size", "internal"})  # what mostly ends a connection
_COMMON = [method for method in _FROM_CLIENT if method.name not in _RARE]
_OFTEN = [BY_NAME[name] for name in ("basic.consume", "basic.get", "basic.ack", "basic.ack", "basic.nack", "basic.reject", "basic.qos", "queue.declare")]
_CONNECTION = [method for method in TABLE if method.class_id == 10 and method.name not in ("connection.close", "connection.close_ok")]
_SETTLES = frozenset({"basic.ack", "basic.nack", "basic.reject"})
_WIDTHS = {"octet": 8, "short": 16, "long": 32, "longlong": 64}
_CHANNELS = (1, 1, 1, 2, 3)


def frame(kind: int, channel: int, data: bytes, size: int | None = None, end: bytes = b"\xce") -> bytes:
    """One frame, whose size may lie."""
    return struct.pack(">BHI", kind, channel & 0xFFFF, len(data) if size is None else size) + data + end


def short(data: bytes) -> bytes:
    """A short string."""
    return bytes((min(len(data), 255),)) + data[:255]


def field(chance: Chance, value: Any) -> bytes:
    """A field's type and value, of an odd type now and then."""
    if chance.random() < 0.05:
        return _any_field(chance, 0)
    if isinstance(value, bool):
        return b"t" + bytes((value,))
    if value is None:
        return b"V"
    if isinstance(value, bytes):
        return b"S" + struct.pack(">I", len(value)) + value
    if -(1 << 31) <= value < 1 << 31:
        return b"I" + struct.pack(">i", value)
    return b"l" + struct.pack(">q", value)


def _any_field(chance: Chance, depth: int) -> bytes:
    kind = chance.choice(b"tbBsuIilLfdDSxTFAVU\x00")
    sizes = {b"t": 1, b"b": 1, b"B": 1, b"s": 2, b"u": 2, b"I": 4, b"i": 4, b"f": 4, b"l": 8, b"L": 8, b"d": 8, b"T": 8, b"D": 5}
    letter = bytes((kind,))
    if letter in sizes:
        return letter + chance.choice((chance.randbytes(sizes[letter]), b"\xff" * sizes[letter], bytes(sizes[letter])))
    if letter in (b"S", b"x"):
        data = text(chance, KEYS, 0.5)
        return letter + struct.pack(">I", len(data)) + data
    if letter == b"F" and depth < 100:
        inner = b"".join(short(text(chance, KEYS)) + _any_field(chance, depth + 1) for _ in range(chance.choice((0, 1, 1, 2))))
        return letter + struct.pack(">I", len(inner)) + inner
    if letter == b"A" and depth < 100:
        inner = b"".join(_any_field(chance, depth + 1) for _ in range(chance.choice((0, 1, 1, 2))))
        return letter + struct.pack(">I", len(inner)) + inner
    return letter


def table(chance: Chance) -> bytes:
    """A field table: mostly empty or of arguments that mean something, now and then deep or long."""
    way = chance.random()
    if way < 0.5:
        return bytes(4)
    if way < 0.55:  # deep
        inner = b""
        for _ in range(chance.choice((15, 16, 17, 64, 65, 500))):
            inner = b"\x01aF" + struct.pack(">I", len(inner)) + inner
    elif way < 0.56:  # long
        inner = b"\x01at\x01" * chance.choice((4095, 4097, 20_000))
    else:
        inner = b""
        for _ in range(chance.choice((1, 1, 2, 4))):
            name, values = chance.choice(ARGUMENTS)
            inner += short(name) + field(chance, chance.choice(values))
    return struct.pack(">I", len(inner)) + inner


def arguments(chance: Chance, method: Method, tag: int = 0) -> bytes:
    """What a method says, field by field. `tag`: a delivery's that may be settled."""
    out = b""
    bits = width = 0
    for argument in method.arguments:
        if argument.type == "bit":
            usual = {"requeue": 0.9, "active": 1.0, "durable": 0.9, "passive": 0.1, "exclusive": 0.05, "no_ack": 0.3}.get(argument.name, 0.2)
            bits |= (chance.random() < (0.01 if argument.name in _UNSUPPORTED else usual)) << width
            width += 1
            continue
        if width:
            out += bytes((bits & 0xFF,))
            bits = width = 0
        if argument.type == "table":
            out += table(chance)
        elif argument.type in ("shortstr", "name"):
            out += short(text(chance, NAMES.get(argument.name, (b"",)), 0.01))
        elif argument.type == "longstr":
            data = text(chance, (f"\0{USER}\0{PASSWORD}".encode(), b"\0guest\0guest", b"\0a\0b"), 0.2)
            out += struct.pack(">I", len(data)) + data
        else:
            bits_wide = _WIDTHS[argument.type]
            value = number(chance, bits_wide)
            if argument.name == "delivery_tag" and chance.random() < 0.95:
                value = tag
            elif argument.name in _UNSUPPORTED and chance.random() < 0.98:
                value = 0
            out += value.to_bytes(bits_wide // 8, "big")
    return out + bytes((bits & 0xFF,)) if width else out


def method_frame(chance: Chance, method: Method, channel: int, tag: int = 0) -> bytes:
    """One method."""
    return frame(1, channel, struct.pack(">HH", method.class_id, method.method_id) + arguments(chance, method, tag))


def properties(chance: Chance) -> bytes:
    """The property list of a content header."""
    if chance.random() < 0.5:
        return b"\x10\x00\x02"
    flags = chance.getrandbits(16) & chance.getrandbits(16)
    if chance.random() < 0.9:
        flags &= 0xFFEF  # a user id that is not the connection's closes its channel
    if chance.random() < 0.98:
        flags &= 0xFFFC
    out = struct.pack(">H", flags)
    for place, kind in enumerate(PROPERTIES):
        if not flags & 0x8000 >> place:
            continue
        if place == 2:
            out += table(chance)
        elif place == 9:
            out += number(chance, 64).to_bytes(8, "big")
        elif kind == "B":
            out += bytes((chance.choice((1, 2, 2)) if chance.random() < 0.97 else chance.getrandbits(8),))
        elif place == 7:
            out += short(text(chance, (b"0", b"1", b"1000", b"4294967295") if chance.random() < 0.9 else (b"4294967296", b"-1", b"x")))
        elif place == 6:
            out += short(text(chance, (b"amq.rabbitmq.reply-to", b"orders")))
        else:
            out += short(text(chance, (b"guest", b"alice", b"text/plain", b"id")))
    return out


def publish(chance: Chance, channel: int) -> list[bytes]:
    """A message: its frames, one of which may be missing, doubled, or of another size than was said."""
    body = payload(chance)
    size = number(chance, 64) if chance.random() < 0.02 else len(body)
    at = chance.choice((1, 4000, 130_000))
    begin = method_frame(chance, BY_NAME["basic.publish"], channel)
    if chance.random() < 0.6:
        begin = frame(1, channel, b"\x00\x3c\x00\x28\x00\x00\x00" + short(chance.choice(QUEUES[:5])) + bytes((chance.random() < 0.3,)))
    frames = [begin, frame(2, channel, struct.pack(">HHQ", 60, 0, size) + properties(chance))]
    frames += [frame(3, channel, body[start : start + at]) for start in range(0, min(len(body), 20 * at), at)]
    if chance.random() < 0.01:
        frames.pop(chance.randrange(len(frames)))
    elif chance.random() < 0.01:
        frames.insert(chance.randrange(len(frames)), chance.choice(frames))
    return frames


def login(chance: Chance, has_users: bool) -> list[bytes]:
    """All that it takes to have three channels, one of them with confirms."""
    name, password = (USER, PASSWORD) if has_users and chance.random() < 0.9 else ("guest", "guest")
    response = f"\0{name}\0{password}".encode()
    capabilities = b"\x0ccapabilities" + b"F" + struct.pack(">I", 21) + b"\x12connection.blockedt\x01" if chance.random() < 0.5 else b""
    start_ok = struct.pack(">I", len(capabilities)) + capabilities + b"\x05PLAIN" + struct.pack(">I", len(response)) + response + b"\x05en_US"
    return [
        HEADER,
        frame(1, 0, struct.pack(">HH", 10, 11) + start_ok),
        frame(1, 0, struct.pack(">HHHIH", 10, 31, 64, chance.choice((0, 4096, 131_072)), chance.choice((0, 0, 0, 60)))),
        frame(1, 0, struct.pack(">HH", 10, 40) + b"\x01/\x00\x00"),
        *(_open_channel(channel) for channel in (1, 2, 3)),
        frame(1, 2, struct.pack(">HHB", 85, 10, 0)),
    ]


def _open_channel(channel: int) -> bytes:
    return frame(1, channel, b"\x00\x14\x00\x0a\x00")


def topology() -> list[bytes]:
    """What there is to begin with: three queues, a stream, exchanges, bindings."""
    out = []
    for name, extra in ((b"orders", b""), (b"returns", b""), (b"events", b""), (b"stream", b"\x0cx-queue-typeS\x00\x00\x00\x06stream")):
        out.append(frame(1, 1, b"\x00\x32\x00\x0a\x00\x00" + short(name) + b"\x02" + struct.pack(">I", len(extra)) + extra))
    for name, kind in ((b"fan", b"fanout"), (b"tree", b"topic"), (b"inner", b"direct")):
        out.append(frame(1, 1, b"\x00\x28\x00\x0a\x00\x00" + short(name) + short(kind) + b"\x02" + bytes(4)))
        out.append(frame(1, 1, b"\x00\x32\x00\x14\x00\x00" + short(b"orders") + short(name) + short(b"a.#") + b"\x00" + bytes(4)))
    return out


class AmqpTalk:
    """One client: logs in, talks, logs in again when it was closed."""

    listeners = ("amqp", "amqp", "amqps")

    def __init__(self, chance: Chance, world: World | None, has_users: bool) -> None:
        self._chance = chance
        self._is_new = True
        self._has_users = has_users
        self._waiting: list[bytes] = []  # to be sent next
        self._seen = bytearray()
        self._tags: dict[int, list[int]] = {}  # of deliveries that were not settled, by channel

    # ---- what arrives

    def connection_made(self, transport: Wire) -> None:
        """See asyncio."""
        chance = self._chance
        self._seen.clear()
        self._tags.clear()
        way = chance.random()
        if way < 0.9 or self._is_new:
            self._waiting = login(chance, self._has_users)
            if self._is_new or chance.random() < 0.2:
                self._waiting += topology()
            self._is_new = False
        else:
            steps = login(chance, self._has_users)
            self._waiting = steps[: chance.randrange(6)]
            if chance.random() < 0.3:
                self._waiting = [damaged(chance, step) if chance.random() < 0.3 else step for step in self._waiting]

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        seen = self._seen
        seen += data
        at = 0
        while len(seen) - at >= 11:
            kind, channel, size = struct.unpack_from(">BHI", seen, at)
            if len(seen) - at < size + 8:
                break
            if kind == 1:
                which = struct.unpack_from(">HH", seen, at + 7)
                if which in ((60, 60), (60, 71)):
                    start = at + 11 + (1 + seen[at + 11] if which == (60, 60) else 0)
                    self._tags.setdefault(channel, []).append(struct.unpack_from(">Q", seen, start)[0])
                else:
                    self._heard(channel, *which)
            at += size + 8
        del seen[:at]

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio."""

    def _heard(self, channel: int, class_id: int, method_id: int) -> None:
        if self._chance.random() < 0.1:
            return  # what should be answered is not
        if (class_id, method_id) == (20, 40):
            self._tags.pop(channel, None)
            self._waiting += [frame(1, channel, b"\x00\x14\x00\x29"), _open_channel(channel)]
        elif (class_id, method_id) == (10, 50):
            self._waiting = [frame(1, 0, b"\x00\x0a\x00\x33")]

    # ---- what is sent

    def _method(self, method: Method, channel: int) -> bytes:
        """One that settles mostly settles what was delivered."""
        chance = self._chance
        tags = self._tags.get(channel)
        if method.name in _SETTLES and not tags and chance.random() < 0.98:
            method = BY_NAME[chance.choice(("basic.get", "basic.consume"))]
        at = chance.randrange(min(len(tags), 5)) if tags else 0
        return method_frame(chance, method, channel, tags.pop(at) if tags and method.name in _SETTLES else 0)

    def next_frames(self) -> list[bytes]:
        """What it sends now: one frame or a few."""
        chance = self._chance
        if self._waiting:
            count = chance.randint(1, len(self._waiting))
            frames, self._waiting = self._waiting[:count], self._waiting[count:]
            return frames
        channel = chance.choice(_CHANNELS)
        way = chance.random()
        if way < 0.30:
            frames = publish(chance, channel)
        elif way < 0.65:
            frames = [self._method(chance.choice(_OFTEN), channel) for _ in range(chance.choice((1, 1, 1, 4)))]
        elif way < 0.93:
            frames = [self._method(chance.choice(_COMMON), channel)]
        elif way < 0.96:
            frames = [method_frame(chance, chance.choice(_FROM_CLIENT), channel)]
        elif way < 0.97:
            frames = [method_frame(chance, chance.choice(TABLE), chance.choice((0, 1, 2, 63, 64, 65_535)))]
        elif way < 0.98:
            frames = [method_frame(chance, chance.choice(_CONNECTION), 0)]
        elif way < 0.985:
            frames = [frame(8, 0, b"")]
        elif way < 0.99:
            frames = [frame(1, 0, b"\x00\x0a\x00\x32" + arguments(chance, BY_NAME["connection.close"]))]
        elif way < 0.995:
            frames = [frame(chance.choice((0, 1, 2, 3, 4, 8, 255)), number(chance, 16), chance.randbytes(chance.choice((0, 3, 4, 50))))]
        else:
            frames = [chance.randbytes(chance.choice((1, 8, 100, 5000)))]
        return frames
