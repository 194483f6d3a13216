"""Deduplication: the last batches of every producer of a log, so that a batch sent again is known, a lost one noticed, an old epoch fenced.

State of its own, which outlives deleting and trimming the records, staged in the commit that appends them (docs/formats/producers.md):

    key     b"p:" log id (16 bytes) producer id (u64, big-endian)
    value   format (u8, 1), then, little-endian: producer epoch i32, time of the last batch in ms since 1970 i64,
            then of the last batches, oldest first: (first sequence i64, base offset u64, count u32)*, at most BATCHES_MAX
    delta   the same with one batch, or none (a new epoch); nothing at all: forgotten
"""

from __future__ import annotations

import enum
import struct
from collections import OrderedDict
from typing import NamedTuple

from entrepot.model.errors import CorruptData
from entrepot.store.interface import LOG_ID_SIZE, Log, Store

PRODUCER_PREFIX = b"p:"
BATCHES_MAX = 5  # remembered of one producer: as many as a Kafka producer has in flight
PRODUCERS_MAX = 100_000  # remembered of one store, unless told otherwise
NO_WRAP = 0  # sequences go on for ever
KAFKA_WRAP = 1 << 31  # sequences are i32 and go back to 0
SCAN_LIMIT = 1024  # rows read at once at opening

_FORMAT = b"\x01"
_HEAD = struct.Struct("<iq")
_BATCH = struct.Struct("<qQI")
_MASK = 0xFFFFFFFFFFFFFFFF


def fold_producer(key: bytes, value: bytes | None, delta: bytes) -> bytes | None:
    """The fold of every key that starts with PRODUCER_PREFIX. CorruptData for what no version wrote."""
    if delta == b"":
        return None
    if delta[:1] != _FORMAT or (value is not None and value[:1] != _FORMAT):
        raise CorruptData(f"producer state {key!r} has format {delta[:1]!r} or {(value or b'')[:1]!r}, expected 1")
    head = delta[: 1 + _HEAD.size]
    batches = delta[1 + _HEAD.size :]
    if value is not None and value[1:5] == delta[1:5]:  # of the same epoch
        batches = value[1 + _HEAD.size :] + batches
    excess = len(batches) - BATCHES_MAX * _BATCH.size
    return head + (batches[excess:] if excess > 0 else batches)


class Verdict(enum.Enum):
    """What a batch is."""

    OK = "the next one"
    DUPLICATE = "appended before"
    GAP = "not the next one"
    FENCED = "of an epoch that is over"
    FULL = "of a producer that there is no room to remember"


class Batch(NamedTuple):
    """One that was appended: `span` records, offsets `base` onwards."""

    first_sequence: int
    base: int
    span: int

    def next_sequence(self, wrap: int) -> int:
        """Of the batch behind it."""
        following = self.first_sequence + self.span
        return following % wrap if wrap else following


class Producer:
    """What is remembered of one producer in one log."""

    __slots__ = ("batches", "epoch", "last_ms")

    def __init__(self, epoch: int, last_ms: int, batches: list[Batch]) -> None:
        self.epoch = epoch
        self.last_ms = last_ms
        self.batches = batches


class Deduplication:
    """The producers of every log of one store. A batch is judged by check(), and noted by append() in the commit that appends it.

    `idle_ms`: a producer that has not been heard of for so long may be forgotten to make room for another.
    """

    def __init__(self, store: Store, wrap: int = KAFKA_WRAP, producers_max: int = PRODUCERS_MAX, idle_ms: int = 86_400_000) -> None:
        self._store = store
        self._wrap = wrap
        self._producers_max = producers_max
        self._idle_ms = idle_ms
        self._producers: OrderedDict[tuple[bytes, int], Producer] = OrderedDict()  # the longest silent first

    def __len__(self) -> int:
        """How many producers are remembered."""
        return len(self._producers)

    def load(self) -> None:
        """At opening: what the store has kept."""
        found: list[tuple[tuple[bytes, int], Producer]] = []
        for shard in {log.shard for log in self._store.logs()}:
            first = PRODUCER_PREFIX
            while rows := self._store.scan(shard, first, b"p;", SCAN_LIMIT):
                for key, value in rows:
                    log_id = key[len(PRODUCER_PREFIX) : len(PRODUCER_PREFIX) + LOG_ID_SIZE]
                    if self._store.log(log_id) is None:
                        self._store.fold(shard, key, b"")
                        continue
                    number = int.from_bytes(key[len(PRODUCER_PREFIX) + LOG_ID_SIZE :], "big")
                    found.append(((log_id, number - (1 << 64) if number >> 63 else number), _decode(key, value)))
                first = rows[-1][0] + b"\x00"
        found.sort(key=lambda row: row[1].last_ms)
        self._producers = OrderedDict(found)

    def producer(self, log: Log, producer_id: int) -> Producer | None:
        """What is remembered of a producer in a log."""
        return self._producers.get((log.id, producer_id))

    def check(self, log: Log, producer_id: int, epoch: int, first_sequence: int, count: int, now_ms: int) -> tuple[Verdict, Batch | None]:
        """Judge a batch; with DUPLICATE comes the batch that was appended: answer as for that one, once log.durable_offset is past it.

        Who is not remembered may begin anywhere (it may have been forgotten); a new epoch begins at 0.
        """
        producer = self._producers.get((log.id, producer_id))
        if producer is None:
            return (Verdict.OK if self._make_room(now_ms) else Verdict.FULL), None
        if epoch < producer.epoch:
            return Verdict.FENCED, None
        if epoch > producer.epoch:
            return (Verdict.OK if first_sequence == 0 else Verdict.GAP), None
        for batch in producer.batches:
            if batch.first_sequence == first_sequence and batch.span == count:
                return Verdict.DUPLICATE, batch
        if not producer.batches:
            return (Verdict.OK if first_sequence == 0 else Verdict.GAP), None
        return (Verdict.OK if first_sequence == producer.batches[-1].next_sequence(self._wrap) else Verdict.GAP), None

    def append(self, log: Log, producer_id: int, epoch: int, first_sequence: int, count: int, now_ms: int) -> None:
        """Stage that a batch, judged OK, is being appended at next_offset: call it in the same tick, before Store.append()."""
        self._note(log, producer_id, epoch, now_ms, [Batch(first_sequence, log.next_offset, count)])

    def note(self, log: Log, producer_id: int, epoch: int, first_sequence: int, base: int, count: int, now_ms: int) -> None:
        """Stage that a batch, judged OK, was appended at `base` just now, in this same commit."""
        self._note(log, producer_id, epoch, now_ms, [Batch(first_sequence, base, count)])

    def fence(self, log: Log, producer_id: int, epoch: int, now_ms: int) -> None:
        """Stage that epochs below `epoch` are over (a transaction's marker said so)."""
        producer = self._producers.get((log.id, producer_id))
        if producer is None or producer.epoch < epoch:
            self._note(log, producer_id, epoch, now_ms, [])

    def forget(self, log: Log) -> None:
        """Stage that the log is gone, and its producers with it."""
        for key in [key for key in self._producers if key[0] == log.id]:
            del self._producers[key]
            self._store.fold(log.shard, _key(*key), b"")

    def _note(self, log: Log, producer_id: int, epoch: int, now_ms: int, batches: list[Batch]) -> None:
        key = (log.id, producer_id)
        producer = self._producers.get(key)
        if producer is None or producer.epoch != epoch:
            producer = self._producers[key] = Producer(epoch, now_ms, batches)
        else:
            producer.last_ms = now_ms
            producer.batches = (producer.batches + batches)[-BATCHES_MAX:]
        self._producers.move_to_end(key)
        self._store.fold(log.shard, _key(*key), _FORMAT + _HEAD.pack(epoch, now_ms) + b"".join(_BATCH.pack(*batch) for batch in batches))

    def _make_room(self, now_ms: int) -> bool:
        """Whether one more producer may be remembered; the longest silent one goes if it has been silent long enough."""
        if len(self._producers) < self._producers_max:
            return True
        key, oldest = next(iter(self._producers.items()))
        if now_ms - oldest.last_ms < self._idle_ms:
            return False
        del self._producers[key]
        log = self._store.log(key[0])
        if log is not None:
            self._store.fold(log.shard, _key(*key), b"")
        return True


def _key(log_id: bytes, producer_id: int) -> bytes:
    return PRODUCER_PREFIX + log_id + (producer_id & _MASK).to_bytes(8, "big")


def _decode(key: bytes, value: bytes) -> Producer:
    if value[:1] != _FORMAT:
        raise CorruptData(f"producer state {key!r} has format {value[:1]!r}, expected 1")
    epoch, last_ms = _HEAD.unpack_from(value, 1)
    return Producer(epoch, last_ms, [Batch(*row) for row in _BATCH.iter_unpack(value[1 + _HEAD.size :])])
