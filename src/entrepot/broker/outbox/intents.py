"""Intents: that records of a source go to certain logs elsewhere, kept in the source's shard until they are there (docs/formats/intents.md).

`u:i`, 16 octets id of the source's log, u64 first offset (big-endian)
    MessagePack [version, minimum reader version, [count, kind, reason, task, [[shard, sequence, [log id, ...], status], ...], [[ms, deliveries], ...]]]
    version 2, of kind CARRIED: a seventh field, the records; instead of a log's id `carried` and the shard (9 octets, big-endian), for an offset a number
`u:s`, u16 target shard (big-endian)
    u8 version 1, u8 minimum reader version 1, u64 the last sequence that was given from here to there (little-endian)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from entrepot.broker.outbox.handover import CARRIED, Target
from entrepot.broker.state import prefix_end
from entrepot.model.errors import CorruptData
from entrepot.store.interface import LOG_ID_SIZE

INTENT_PREFIX = b"u:"
INTENTS = INTENT_PREFIX + b"i"
INTENTS_END = prefix_end(INTENTS)
_SEQUENCES = INTENT_PREFIX + b"s"

_VERSION = 2  # what this reads
_PLAIN = 1  # of what the first version reads, too
_CARRYING = 2
_CARRIED_LOG = b"carried"
_SEQUENCE_SIZE = 10


class Packed(msgspec.Struct):
    """Some records of one entry, as they go."""

    address: bytes
    hidden: bytes
    flags: int
    data: bytes
    count: int
    tag: int = 0  # of their codec, where they are carried
    version: int = 0


def carried_log(shard: int) -> bytes:
    """In place of the id of a log, for what is carried from a shard."""
    return _CARRIED_LOG + shard.to_bytes(LOG_ID_SIZE - len(_CARRIED_LOG), "big")


def is_carried(log_id: bytes) -> bool:
    """Whether it is none."""
    return log_id.startswith(_CARRIED_LOG)


class Part:
    """What of an intent goes to one shard, and has a sequence of its own. `status`: what its owner answered, 0 for nothing yet."""

    __slots__ = ("freed", "intent", "logs", "sequence", "shard", "status")

    def __init__(self, intent: Intent, shard: int, sequence: int, logs: tuple[bytes, ...], status: int = 0) -> None:
        self.intent = intent
        self.shard = shard
        self.sequence = sequence
        self.logs = logs
        self.status = status
        self.freed = False  # its answer is noted here, durably: nobody waits for it


class Intent:
    """Records [first, +count) of the log `log_id` in `shard`. `reason`, `task`, `carried` are for those who pack them.

    `durable`: it may be sent. `dropped`: it is not to be any more. `packed`: the records, where they lie in no log (CARRIED).
    """

    __slots__ = ("carried", "count", "dropped", "durable", "first", "kind", "log_id", "packed", "parts", "reason", "shard", "size", "task")

    def __init__(self, shard: int, log_id: bytes, first: int, count: int, kind: int, reason: str, task: bytes, carried: Sequence[tuple[int, int]]) -> None:
        self.shard = shard
        self.log_id = log_id
        self.first = first
        self.count = count
        self.kind = kind
        self.reason = reason
        self.task = task
        self.carried = tuple(carried)
        self.packed: Packed | None = None
        self.parts: list[Part] = []
        self.durable = False
        self.dropped = False
        self.size = 0  # bytes of its value

    def is_answered(self) -> bool:
        """All owners have."""
        return all(part.status for part in self.parts)

    def key(self) -> bytes:
        """Where it is kept, in its shard."""
        return INTENTS + self.log_id + self.first.to_bytes(8, "big")

    def value(self) -> bytes:
        """As it is kept."""
        parts = [[part.shard, part.sequence, part.logs, part.status] for part in self.parts]
        fields = [self.count, self.kind, self.reason, self.task, parts, self.carried]
        version = _PLAIN
        if self.packed is not None:
            fields.append(msgspec.structs.astuple(self.packed))
            version = _CARRYING
        value = msgspec.msgpack.encode([version, version, fields])
        self.size = len(value)
        return value


def decoded(shard: int, key: bytes, value: bytes) -> Intent:
    """What was kept; it is durable. Raises CorruptData."""
    try:
        _, reader_min, fields = msgspec.msgpack.decode(value)
        if reader_min > _VERSION:
            raise CorruptData(f"intent {key!r} needs a reader of version {reader_min}; this one is {_VERSION}")
        count, kind, reason, task, parts, carried = fields[:6]
        at = len(INTENTS) + LOG_ID_SIZE
        intent = Intent(shard, key[len(INTENTS) : at], int.from_bytes(key[at:], "big"), count, kind, reason, task, [(ms, times) for ms, times in carried])
        if intent.kind == CARRIED:
            intent.packed = Packed(*fields[6])
        intent.parts = [Part(intent, part[0], part[1], tuple(part[2]), part[3]) for part in parts]
    except (msgspec.DecodeError, ValueError, TypeError, IndexError) as error:
        raise CorruptData(f"intent {key!r} does not decode: {error}") from None
    for part in intent.parts:
        part.freed = part.status != 0
    intent.durable = True
    intent.size = len(value)
    return intent


def by_shard(targets: Iterable[Target]) -> dict[int, tuple[bytes, ...]]:
    """The logs in each shard, in their order."""
    found: dict[int, tuple[bytes, ...]] = {}
    for shard, log_id in targets:
        found[shard] = (*found.get(shard, ()), log_id)
    return found


def sequence_key(target: int) -> bytes:
    """Where the last sequence to a target shard is kept, in the source's."""
    return _SEQUENCES + target.to_bytes(2, "big")


def sequence_value(sequence: int) -> bytes:
    """As it is kept."""
    return bytes((_PLAIN, _PLAIN)) + sequence.to_bytes(8, "little")


def sequence_of(value: bytes | None) -> int:
    """The last sequence; 0 where none was given. Raises CorruptData."""
    if value is None:
        return 0
    if len(value) < _SEQUENCE_SIZE or value[1] > _PLAIN:
        raise CorruptData(f"the last sequence to a shard is kept as {value!r}, which this version cannot read")
    return int.from_bytes(value[2:_SEQUENCE_SIZE], "little")
