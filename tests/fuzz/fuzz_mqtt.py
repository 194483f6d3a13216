"""MQTT as a fuzzer speaks it: every packet, mostly right, in all three versions, and what is wrong with them."""

from __future__ import annotations

from fuzz_values import Chance, damaged, number, payload, text
from fuzz_world import PASSWORD, USER, Wire, World

TOPICS = (b"a", b"a/b", b"a/b/c", b"a/b/d", b"room/1/temp", b"$x/a", b"will/x", b"orders", b"/", b"a//b", b"long/" * 60 + b"x")
ODD_TOPICS = (b"", b"+", b"a/#", b"$SYS/x", b"x" * 65_001, b"/" * 255, b"/" * 3000, b"y" * 60_000, b"\xff", b"a\0b")
FILTERS = (
    b"a", b"a/+", b"#", b"+/b/#", b"+/+/+", b"$share/g/a/#", b"$share/g/#", b"$share/h/+", b"$x/#", b"room/+/temp", b"$SYS/#", b"long/" * 60 + b"#",
    b"$share/g/" + b"long/" * 60 + b"#",
)  # fmt: skip
ODD_FILTERS = (b"", b"a#", b"#/a", b"$share/g", b"$share//a", b"$share/+/a", b"+" + b"/+" * 255, b"/" * 255 + b"#", b"x" * 65_001, b"z/" * 300, b"\xc3")
IDS = (b"a", b"b", b"c", b"d", b"", b"e" * 23)
_HELD_MAX = 1 << 17


def variable(value: int) -> bytes:
    """A variable byte integer."""
    octets = []
    while True:
        octets.append(value % 128 + (128 if value >= 128 else 0))
        value //= 128
        if not value:
            return bytes(octets)


def packet(first: int, rest: bytes) -> bytes:
    """A whole one."""
    return bytes((first,)) + variable(len(rest)) + rest


def string(octets: bytes) -> bytes:
    """With its size."""
    return len(octets).to_bytes(2, "big") + octets


def _listed(items: list[bytes]) -> bytes:
    whole = b"".join(items)
    return variable(len(whole)) + whole


class MqttTalk:
    """One client: connects, talks, connects again when it was closed."""

    listeners = ("mqtt", "mqtt", "mqtts")

    def __init__(self, chance: Chance, world: World | None, has_users: bool) -> None:
        self._chance = chance
        self._has_users = has_users
        self._version = 5
        self._waiting: list[bytes] = []
        self._held = b""  # of a packet that has not come whole
        self._answers: list[bytes] = []  # that are due
        self._next_id = 0

    # ---- what arrives

    def connection_made(self, transport: Wire) -> None:
        """See asyncio."""
        chance = self._chance
        self._held = b""
        self._answers.clear()
        self._version = chance.choice((3, 4, 5, 5))
        connect = self._connect()
        self._waiting = [connect if chance.random() < 0.95 else damaged(chance, connect)]

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        data = self._held + data
        at = 0
        while len(data) - at >= 2:
            size = shift = 0
            place = at + 1
            while place < len(data) and shift <= 21:
                size |= (data[place] & 127) << shift
                shift += 7
                place += 1
                if data[place - 1] < 128:
                    break
            else:
                break
            if len(data) - place < size:
                break
            self._heard(data[at], data[place : place + size])
            at = place + size
        self._held = data[at:][:_HELD_MAX]
        del self._answers[: max(len(self._answers) - 100, 0)]

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio."""

    def _heard(self, first: int, rest: bytes) -> None:
        kind, qos = first >> 4, first >> 1 & 3
        if kind == 3 and qos:
            at = 2 + int.from_bytes(rest[:2], "big")
            self._answers.append(packet(0x40 if qos == 1 else 0x50, rest[at : at + 2]))
        elif kind in (5, 6):
            self._answers.append(packet(0x62 if kind == 5 else 0x70, rest[:2]))

    # ---- what is sent

    def _properties(self, *items: bytes, most: float = 0.3) -> bytes:
        if self._version != 5:
            return b""
        chance = self._chance
        found = [item for item in items if chance.random() < most]
        if chance.random() < 0.01:
            found.append(bytes((chance.randrange(0x30),)) + chance.randbytes(chance.randrange(6)))
        return _listed(found)

    def _connect(self) -> bytes:
        chance = self._chance
        name, password = (USER, PASSWORD) if self._has_users and chance.random() < 0.9 else ("guest", "guest")
        flags = chance.choice((0, 2, 2))
        rest = string(chance.choice(IDS))
        if chance.random() < 0.3:
            flags |= 4 | chance.randrange(3) << 3 | chance.choice((0, 32))
            properties = self._properties(b"\x18" + chance.choice((0, 1, 30)).to_bytes(4, "big"), b"\x02\0\0\0\x05")
            rest += properties + string(text(chance, TOPICS, 0.03)) + string(b"gone")
        if chance.random() < 0.9:
            flags |= 0xC0
            rest += string(name.encode()) + string(password.encode())
        properties = self._properties(
            b"\x11" + chance.choice((0, 1, 100, 0xFFFFFFFF)).to_bytes(4, "big"),
            b"\x21" + chance.choice((1, 3, 500)).to_bytes(2, "big"),
            b"\x22" + chance.choice((0, 3, 60_000)).to_bytes(2, "big"),
            b"\x27" + chance.choice((20, 500, 100_000)).to_bytes(4, "big"),
            b"\x15" + string(b"SCRAM-SHA-256") + b"\x16" + string(b"n,,n=alice,r=abc") if chance.random() < 0.05 else b"",
        )
        head = string(b"MQIsdp" if self._version == 3 else b"MQTT") + bytes((self._version, flags)) + chance.choice((0, 1, 5, 60)).to_bytes(2, "big")
        return packet(0x10, head + properties + rest)

    def _id(self) -> bytes:
        self._next_id = self._next_id % 200 + 1
        return (self._next_id if self._chance.random() < 0.97 else number(self._chance, 16)).to_bytes(2, "big")

    def _publish(self) -> bytes:
        chance = self._chance
        qos = chance.choice((0, 0, 1, 2)) if chance.random() < 0.995 else 3
        topic = chance.choice(TOPICS) if chance.random() < 0.98 else chance.choice(ODD_TOPICS)
        properties = self._properties(
            b"\x02" + number(chance, 32).to_bytes(4, "big"),
            b"\x23" + chance.choice((1, 2, 5, 5, 6)).to_bytes(2, "big") if chance.random() < 0.3 else b"",
            b"\x26" + string(b"k") + string(text(chance, (b"v", b"x-key"), 0.1)),
            b"\x08" + string(text(chance, TOPICS, 0.02)),
            b"\x09" + string(payload(chance)[:100]),
            b"\x03" + string(b"text/plain"),
            most=0.15,
        )
        first = 0x30 | qos << 1 | (chance.random() < 0.2) | (chance.random() < 0.1) << 3
        return packet(first, string(topic) + (self._id() if qos else b"") + properties + payload(chance))

    def _filter(self) -> bytes:
        chance = self._chance
        return chance.choice(FILTERS) if chance.random() < 0.97 else chance.choice(ODD_FILTERS)

    def _subscribe(self) -> bytes:
        chance = self._chance
        options = (0, 1, 2, 1, 2, 4, 8, 16, 33) if self._version == 5 else (0, 1, 2)
        listed = b"".join(string(self._filter()) + bytes((chance.choice(options),)) for _ in range(chance.choice((1, 1, 2, 3, 30))))
        return packet(0x82, self._id() + self._properties(b"\x0b" + chance.choice((b"\x01", b"\x07", b"\xff\x7f", b"\0"))) + listed)

    def _acknowledge(self) -> list[bytes]:
        chance = self._chance
        if self._answers and chance.random() < 0.95:
            count = min(len(self._answers), chance.choice((1, 5, 50)))
            found, self._answers = self._answers[:count], self._answers[count:]
            return found
        return [packet(chance.choice((0x40, 0x50, 0x62, 0x70)), self._id() + (b"\x97" if self._version == 5 and chance.random() < 0.1 else b""))]

    def next_frames(self) -> list[bytes]:
        """What it sends now: one packet or a few."""
        chance = self._chance
        if self._waiting:
            frames, self._waiting = self._waiting, []
            if chance.random() < 0.5:
                frames.append(self._subscribe())
            return frames
        way = chance.random()
        if way < 0.45:
            return [self._publish() for _ in range(chance.choice((1, 1, 2, 20)))]
        if way < 0.7:
            return self._acknowledge()
        if way < 0.82:
            return [self._subscribe()]
        if way < 0.88:
            listed = b"".join(string(self._filter()) for _ in range(chance.choice((1, 2, 30))))
            return [packet(0xA2, self._id() + self._properties() + listed)]
        if way < 0.93:
            return [b"\xc0\0" * chance.choice((1, 1, 500))]
        if way < 0.95:
            return [packet(0xE0, b"" if self._version != 5 or chance.random() < 0.5 else chance.choice((b"\x04\0", b"\0\x05\x11\0\0\0\x09", b"\0")))]
        if way < 0.96:
            return [packet(0xF0, b"\x19" + self._properties(b"\x15" + string(b"SCRAM-SHA-256"), b"\x16" + chance.randbytes(20), most=0.8))]
        if way < 0.98:
            return [damaged(chance, self._publish())]
        if way < 0.985:
            return [bytes((chance.randrange(256),)) + b"\xff\xff\xff\x7f", chance.randbytes(30_000)]
        if way < 0.99:
            return [packet(0x82, self._id() + self._properties() + b"".join(string(b"f/%d" % n) + b"\1" for n in range(300)))]
        return [chance.randbytes(chance.choice((1, 10, 1000)))]
