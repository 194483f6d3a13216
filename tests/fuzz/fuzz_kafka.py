"""Kafka's protocol as a fuzzer speaks it: every API of the table in every version, written field by field so that each of them can lie."""

from __future__ import annotations

import re
import struct
from functools import cache
from typing import Any, NamedTuple

import kafka_batches as batches
from fuzz_values import Chance, damaged, number, payload, text
from fuzz_world import PASSWORD, USER, Wire, World

from entrepot.broker.topic.topic_config import SETTINGS
from entrepot.model.names import DEFAULT_NAMESPACE
from entrepot.protocols.kafka.apis import APIS, Api

TOPICS = (b"trips", b"logs", b"stream", b"made")
GROUPS = (b"g1", b"g2", b"g3")
NAMES: dict[str, tuple[bytes, ...]] = {
    "name": TOPICS,
    "topic": TOPICS,
    "topic_names": TOPICS,
    "topic_name": TOPICS,
    "subscribed_topic_names": TOPICS,
    "subscribed_topic_regex": (b"t.*", b".*", b"(trips|logs)", b"[a-z]{1,5}", b"(((a*)*)*)*$"),
    "resource_name": (*TOPICS, b"1", b""),
    "configuration_keys": tuple(key.encode() for key in SETTINGS),
    "value": (b"1", b"1000", b"-1", b"delete", b"LogAppendTime", b"CreateTime"),
    "group_id": GROUPS,
    "groups": GROUPS,
    "group_ids": GROUPS,
    "groups_names": GROUPS,
    "key": GROUPS,
    "coordinator_keys": GROUPS,
    "protocol_type": (b"consumer",),
    "protocol_name": (b"range",),
    "mechanism": (b"PLAIN", b"SCRAM-SHA-256", b"SCRAM-SHA-512"),
    "transactional_id": (b"tx",),
    "server_assignor": (b"uniform", b"range"),
    "client_software_name": (b"fuzz",),
    "client_software_version": (b"1.0",),
}
CONFIGS = tuple(key.encode() for key in SETTINGS)
_WIDTHS = {"bool": 8, "i8": 8, "i16": 16, "u16": 16, "i32": 32, "i64": 64, "f64": 64}
_SMALL = {"partition": 4, "partition_index": 4, "index": 4, "partitions": 4, "partition_indexes": 4, "fetch_offset": 20, "offset": 20, "committed_offset": 20}
_SOON = frozenset({"max_wait_ms", "timeout_ms", "retention_time_ms"})
_LONG = frozenset({"session_timeout_ms", "rebalance_timeout_ms"})
_UNKNOWN = frozenset({"replica_id", "current_leader_epoch", "leader_epoch", "last_fetched_epoch", "broker_ids", "replicas"})
_SELDOM = frozenset({"transactional_id", "group_instance_id", "instance_id", "server_assignor", "subscribed_topic_regex"})  # mostly null
_MEMBER = re.compile(rb"[ -~]{0,20}[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_MANY = frozenset({0, 1, 11, 12, 14, 8, 68, 2, 9, 13})  # APIs that are asked more often
_PREFERRED = [api for api in APIS.values() if api.key in _MANY]
_ALL = [api for api in APIS.values() if api.key not in (17, 36)]


class Field(NamedTuple):
    """One line of a table."""

    name: str
    kind: str  # "" for a struct
    array: bool
    nullable: bool
    tag: int
    fields: tuple[Field, ...]


@cache
def fields_of(table: str, version: int) -> tuple[Field, ...]:
    """The fields that a version of a message has, from its table."""
    lines = [(len(line) - len(line.lstrip()), line.split()) for line in table.splitlines() if line.strip()]
    return _fields(lines, 0, version)[0]


def _fields(lines: list[tuple[int, list[str]]], at: int, version: int) -> tuple[tuple[Field, ...], int]:
    indent = lines[at][0] if at < len(lines) else 0
    found = []
    while at < len(lines) and lines[at][0] >= indent:
        words = lines[at][1]
        at += 1
        inner: tuple[Field, ...] = ()
        if at < len(lines) and lines[at][0] > indent:
            inner, at = _fields(lines, at, version)
        kind = words[1].removeprefix("[]").removeprefix("struct")
        nullable, tag, there = False, -1, True
        for word in words[2:]:
            if word[0] == "?":
                nullable = _has(word[1:], version)
            elif word.startswith("tag="):
                tag = int(word[4:])
            elif word[0] != "=":
                there = _has(word, version)
        if there:
            found.append(Field(words[0], kind, words[1].startswith("[]"), nullable, tag, inner))
    return tuple(found), at


def _has(versions: str, version: int) -> bool:
    if not versions:
        return True
    first, _, last = versions.rstrip("+").partition("-")
    return int(first) <= version and (versions.endswith("+") or version <= int(last or first))


def uvarint(value: int) -> bytes:
    """An unsigned varint."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def records(chance: Chance, producer: tuple[int, int, int]) -> bytes:
    """Record batches: mostly one that is right."""
    made = [
        batches.record(
            chance.choice((None, b"", b"k")),
            chance.choice((None, payload(chance))),
            [(b"h", b"v")] * chance.choice((0, 0, 1, 3)),
            delta=index,
            time_delta=chance.choice((0, 0, 5, -5)),
        )
        for index in range(chance.choice((1, 1, 2, 5)))
    ]
    options: dict[str, Any] = {}
    way = chance.random()
    if way < 0.05:
        options["count"] = number(chance, 32, True)
    elif way < 0.08:
        options["last_delta"] = number(chance, 32, True)
    elif way < 0.10:
        options["attributes"] = chance.getrandbits(15)
    elif way < 0.12:
        options["base_time"] = number(chance, 64, True)
    elif way < 0.14:
        options["size"] = number(chance, 32, True)
    elif way < 0.16:
        options["magic"] = chance.choice((0, 1, 3, 255))
    elif way < 0.25:
        options["producer"] = producer
    if way > 0.97:
        made = [damaged(chance, one) for one in made]
    out = batches.batch(made, chance.choice(batches.COMPRESSIONS) if chance.random() < 0.3 else batches.NONE, **options)
    if chance.random() < 0.03:
        body = bytearray(damaged(chance, out[21:]))  # with a checksum that is right
        out = batches.seal(bytes(body))
    return out * chance.choice((1, 1, 1, 2))


def create_topics() -> bytes:
    """A CreateTopics of all of them but one, which is made when it is first asked for."""
    topics = b"".join(struct.pack(">H", len(name)) + name + struct.pack(">ihii", 4, 1, 0, 0) for name in TOPICS[:3])
    body = struct.pack(">hhi", 19, 2, 19 << 16) + b"\xff\xff" + struct.pack(">i", 3) + topics + struct.pack(">ib", 1000, 0)
    return struct.pack(">I", len(body)) + body


class Writer:
    """Writes one request. What is wrong with it is decided field by field: `wrong` is how likely."""

    def __init__(self, chance: Chance, talk: KafkaTalk, flexible: bool, wrong: float) -> None:
        self.chance = chance
        self.talk = talk
        self.flexible = flexible
        self.wrong = wrong

    def struct(self, fields: tuple[Field, ...]) -> bytes:
        """All fields, then the tagged ones."""
        out = b"".join(self.field(field) for field in fields if field.tag < 0)
        if not self.flexible:
            return out
        chance = self.chance
        tags = [(field.tag, self.field(field)) for field in fields if field.tag >= 0 and chance.random() < 0.3]
        if chance.random() < 0.02:
            tags.append((chance.choice((0, 1, 99, (1 << 32) - 1)), chance.randbytes(chance.randrange(5))))
        out += uvarint(self._size(len(tags), 32))
        return out + b"".join(uvarint(tag) + uvarint(self._size(len(raw), 32)) + raw for tag, raw in tags)

    def _size(self, size: int, bits: int) -> int:
        return number(self.chance, bits) if self.chance.random() < self.wrong else size

    def field(self, field: Field) -> bytes:
        """One field."""
        chance = self.chance
        if field.nullable and chance.random() < (0.95 if field.name in _SELDOM else 0.02 if field.kind == "records" else 0.3 if field.kind else 0.1):
            return self._null(field)
        if chance.random() < self.wrong / 2:
            return self._null(field)
        if not field.array:
            return (b"\x01" if field.nullable and not field.kind else b"") + self.one(field)
        count = chance.choice((0, 1, 1, 1, 2, 3)) if chance.random() < 0.99 else chance.choice((50, 300))
        if count == 0 and chance.random() < 0.7:
            count = 1
        values = b"".join(self.one(field) for _ in range(count))
        return self._count(count) + values

    def _null(self, field: Field) -> bytes:
        if field.array or field.kind in ("string", "bytes", "records"):
            return b"\0" if self.flexible else b"\xff\xff" if field.kind == "string" and not field.array else b"\xff\xff\xff\xff"
        return b"\xff" if not field.kind else self.one(field)

    def _count(self, count: int) -> bytes:
        count = self._size(count, 32)
        return uvarint(count + 1) if self.flexible else struct.pack(">I", count)

    def one(self, field: Field) -> bytes:
        """One value, or element."""
        chance = self.chance
        kind = field.kind
        if not kind:
            return self.struct(field.fields)
        if kind == "uuid":
            ids = self.talk.topic_ids()
            return chance.choice(ids) if ids and chance.random() < 0.9 else chance.choice((bytes(16), chance.randbytes(16)))
        if kind == "string":
            data = self.talk.text(field)
            size = self._size(len(data), 15)
            return (uvarint(size + 1) if self.flexible else struct.pack(">H", size & 0xFFFF)) + data
        if kind in ("bytes", "records"):
            data = self.talk.octets(field)
            return self._count(len(data)) + data
        bits = _WIDTHS[kind]
        return (self.talk.number(field, bits) & ((1 << bits) - 1)).to_bytes(bits // 8, "big")


class KafkaTalk:
    """One client: logs in where it must, asks, and connects again when it was closed."""

    listeners = ("kafka", "kafka", "kafkas")

    def __init__(self, chance: Chance, world: World | None, has_users: bool) -> None:
        self._chance = chance
        self._world = world
        self._has_users = has_users
        self._waiting: list[bytes] = []
        self._seen = bytearray()
        self._members: list[bytes] = []
        self._generation = 1
        self._producer = (0, 0)
        self._sequence = 0
        self._session = 0
        self._is_new = True

    # ---- what arrives

    def connection_made(self, transport: Wire) -> None:
        """See asyncio."""
        chance = self._chance
        self._seen.clear()
        self._session = 0
        self._waiting = []
        if chance.random() < (0.92 if self._has_users else 0.1):
            name = f"\0{USER}\0{PASSWORD}" if self._has_users and chance.random() < 0.95 else "\0guest\0guest"
            self._waiting = self.login(name.encode())
            if chance.random() < 0.1:
                self._waiting = [damaged(chance, step) for step in self._waiting]
        if self._is_new or chance.random() < 0.3:
            self._waiting.append(create_topics())
        self._is_new = False

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        seen = self._seen
        seen += data
        while len(seen) >= 4:
            size = int.from_bytes(seen[:4], "big")
            if len(seen) < 4 + size:
                break
            if size >= 18:
                self._heard(bytes(seen[4 : 4 + min(size, 300)]))
            del seen[: 4 + size]

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio."""

    def _heard(self, answer: bytes) -> None:
        """Remember what later requests may name: the correlation id says what it answers."""
        key, version = answer[1], answer[2]
        api = APIS.get(key)
        if api is None:
            return
        at = 5 if version >= api.flexible_from and key != 18 else 4
        if key == 1 and version >= 7:
            self._session = int.from_bytes(answer[at + 6 : at + 10], "big")
        elif key == 22 and answer[at + 4 : at + 6] == b"\0\0" and len(answer) >= at + 16:
            self._producer = struct.unpack_from(">qh", answer, at + 6)
            self._sequence = 0
        elif key == 11:
            start = at + (6 if version >= 2 else 2)
            self._generation = int.from_bytes(answer[start : start + 4], "big", signed=True)
            self._members = _MEMBER.findall(answer)[:3] or self._members

    # ---- what fields are made of

    def topic_ids(self) -> list[bytes]:
        """Ids of topics that there are."""
        if self._world is None:
            return []
        topics = self._world.catalogue.namespaces[DEFAULT_NAMESPACE].topics
        return [topic.id for topic in list(topics.values())[:4]]

    def text(self, field: Field) -> bytes:
        """A string."""
        chance = self._chance
        if field.name == "member_id":
            return text(chance, (*self._members, b"", b"m1", b"m2"))
        if field.name == "configs":
            return text(chance, CONFIGS)
        known = NAMES.get(field.name, (b"",))
        if known is TOPICS and chance.random() < 0.08:
            known = CONFIGS  # of a configuration, which is called `name` too
        return text(chance, known, 0.004)

    def octets(self, field: Field) -> bytes:
        """Bytes."""
        chance = self._chance
        if field.kind == "records":
            producer = (*self._producer, self._sequence) if chance.random() < 0.8 else (chance.randrange(5), 0, number(chance, 31))
            self._sequence += 1
            return records(chance, producer)
        if field.name == "auth_bytes":
            return text(chance, (f"\0{USER}\0{PASSWORD}".encode(), b"\0guest\0guest", b"n,,n=alice,r=abc", b"c=biws,r=abc,p=AAAA"), 0.2)
        topics = b"\0\x01\0\0\0\x01\0\x05trips" + b"\xff\xff\xff\xff"
        return topics if chance.random() < 0.7 else chance.randbytes(chance.randrange(30))

    def number(self, field: Field, bits: int) -> int:
        """A number."""
        chance = self._chance
        name = field.name
        if chance.random() < 0.02:
            return number(chance, bits)
        if name in _SMALL:
            return chance.randrange(_SMALL[name])
        if name in _SOON:
            return chance.choice((0, 1, 100))
        if name in _LONG:
            return chance.choice((6000, 10_000, 300_000))
        if name == "session_id":
            return self._session
        if name == "session_epoch":
            return chance.choice((0, 0, -1, 1, 2))
        if name in _UNKNOWN:
            return chance.choice((-1, -1, 0))
        if name in ("generation_id", "generation_id_or_member_epoch", "member_epoch"):
            return chance.choice((self._generation, self._generation, 0, -1, 1, -2))
        if name == "timestamp":
            return chance.choice((-1, -2, -3, -4, -5, 0, 1_750_000_000_000))
        if name in ("num_partitions", "count"):
            return chance.choice((-1, 1, 2, 4, 8))
        if name == "replication_factor":
            return chance.choice((1, -1))
        if name == "acks":
            return chance.choice((-1, 1, 1, 0))
        if name in ("max_bytes", "partition_max_bytes", "response_partition_limit"):
            return chance.choice((1 << 20, 100, 0))
        if name == "resource_type":
            return chance.choice((2, 2, 4, 32))
        if name in ("producer_id", "producer_epoch"):
            return chance.choice((-1, self._producer[name == "producer_epoch"]))
        if name == "transaction_timeout_ms":
            return 1000
        return number(chance, min(bits, 3))

    # ---- what is sent

    def request(self, api: Api, version: int, wrong: float) -> bytes:
        """One request of an API."""
        chance = self._chance
        flexible = version >= api.flexible_from
        head = struct.pack(">hhi", api.key, version, api.key << 16 | (version & 0xFF) << 8) + b"\x00\x04fuzz"
        if flexible:
            head += b"\0"
        body = Writer(chance, self, flexible, wrong).struct(fields_of(api.request_table, version))
        return struct.pack(">I", len(head) + len(body)) + head + body

    def login(self, token: bytes) -> list[bytes]:
        """SaslHandshake and SaslAuthenticate; in version 0 the token comes by itself."""
        chance = self._chance
        version = chance.choice((0, 1, 1, 1))
        mechanism = text(chance, (b"PLAIN", b"PLAIN", b"PLAIN", b"PLAIN", b"SCRAM-SHA-256"), 0.02)
        begin = struct.pack(">hhi", 17, version, 17 << 16) + b"\x00\x01f" + struct.pack(">H", len(mechanism)) + mechanism
        out = [struct.pack(">I", len(begin)) + begin]
        if version == 0:
            return [*out, struct.pack(">I", len(token)) + token]
        body = struct.pack(">hhi", 36, 1, 36 << 16) + b"\x00\x01f" + struct.pack(">I", len(token)) + token
        return [*out, struct.pack(">I", len(body)) + body]

    def next_frames(self) -> list[bytes]:
        """What it sends now: one request or a few."""
        chance = self._chance
        if self._waiting:
            frames, self._waiting = self._waiting, []
            return frames
        way = chance.random()
        if way < 0.003:
            return [chance.choice((chance.randbytes(chance.choice((4, 50, 3000))), struct.pack(">i", number(chance, 32, True)), b"GET / HTTP/1.1\r\n\r\n"))]
        if way < 0.006:
            api, version = chance.choice(list(APIS.values())), number(chance, 4)
            return [struct.pack(">Ihhi", 10, chance.choice((api.key, number(chance, 16, True))), version, 0) + b"\xff\xff"]
        out = []
        for _ in range(chance.choice((1, 1, 1, 1, 2, 5))):
            api = chance.choice(_PREFERRED if chance.random() < 0.6 else _ALL if chance.random() < 0.98 else list(APIS.values()))
            out.append(self.request(api, chance.randint(api.least, api.most), 0.01 if chance.random() < 0.05 else 0.0))
        return out
