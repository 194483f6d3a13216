"""Deduplication: the last batches of every producer of a log, so that a batch sent again is known, a lost one noticed, an old epoch fenced.

State of its own (producer_state.py), which outlives deleting and trimming the records, staged in the commit that appends them. In memory a
producer's batches are packed as its value has them; all producers stand in one chain, the longest silent first.
"""

from __future__ import annotations

import cython

from entrepot.broker.producer_state import BATCH_SIZE, BATCHES_MAX, FORMAT, HEAD_SIZE, PRODUCER_PREFIX, Batch, Verdict, check_producer, unpack_batches
from entrepot.store.interface import LOG_ID_SIZE, Log, Store

if not cython.compiled:
    from entrepot.model.octets import copy_ba, get_u32_le, get_u32_le_ba, get_u64_le, get_u64_le_ba, put_u32_le, put_u64_le, resize_ba, take_ba

PRODUCERS_MAX = 500_000  # remembered of one store, a producer once for each log, unless told otherwise
NO_WRAP = 0  # sequences go on for ever
KAFKA_WRAP = 1 << 31  # sequences are i32 and go back to 0
SCAN_LIMIT = 1024  # rows read at once at opening

_HEAD = HEAD_SIZE
_BATCH = BATCH_SIZE
_FULL_SIZE = BATCHES_MAX * BATCH_SIZE
_FORMAT = FORMAT
_EPOCH_MASK = 0xFFFFFFFF
_ID_MASK = 0xFFFFFFFFFFFFFFFF
_OK, _DUPLICATE, _GAP, _FENCED, _FULL = 0, 1, 2, 3, 4  # Verdict's


class Producer:
    """What is remembered of one producer in one log. `packed` are its last batches; `older` and `newer` are its neighbours in the chain."""

    __slots__ = ("epoch", "id", "key", "last_ms", "log_id", "newer", "older", "packed", "shard")

    id: int
    log_id: bytes
    shard: int
    key: bytes
    epoch: int
    last_ms: int
    packed: bytearray
    older: Producer | None
    newer: Producer | None

    @property
    def batches(self) -> list[Batch]:
        """The last ones, oldest first."""
        return unpack_batches(bytes(self.packed))


class Deduplication:
    """The producers of every log of one store. A batch is judged by judge(), and noted by note() in the commit that appends it.

    `idle_ms`: a producer that has not been heard of for so long may be forgotten to make room for another. `known_base` and `known_span`: the
    place of the batch that was last judged DUPLICATE.
    """

    __slots__ = ("_count", "_idle_ms", "_logs", "_newest", "_oldest", "_producers_max", "_store", "_wrap", "known_base", "known_span")

    def __init__(self, store: Store, wrap: int = KAFKA_WRAP, producers_max: int = PRODUCERS_MAX, idle_ms: int = 86_400_000) -> None:
        self._store = store
        self._wrap = wrap
        self._producers_max = producers_max
        self._idle_ms = idle_ms
        self._logs: dict[bytes, dict[int, Producer]] = {}
        self._count = 0
        self._oldest: Producer | None = None
        self._newest: Producer | None = None
        self.known_base = 0
        self.known_span = 0

    def __len__(self) -> int:
        """How many producers are remembered."""
        return self._count

    def load(self) -> None:
        """At opening: what the store has kept."""
        found: list[tuple[int, int, bytes, bytes, bytes]] = []
        for shard in {log.shard for log in self._store.logs()}:
            first = PRODUCER_PREFIX
            while True:
                rows = self._store.scan(shard, first, b"p;", SCAN_LIMIT)
                if not rows:
                    break
                for key, value in rows:
                    log_id = key[len(PRODUCER_PREFIX) : len(PRODUCER_PREFIX) + LOG_ID_SIZE]
                    if self._store.log(log_id) is None:
                        self._store.fold(shard, key, b"")
                        continue
                    check_producer(key, value)
                    found.append((get_u64_le(value, 5), shard, log_id, key, value))
                first = rows[len(rows) - 1][0] + b"\x00"
        found.sort()
        for last_ms, shard, log_id, key, value in found:
            number = int.from_bytes(key[len(PRODUCER_PREFIX) + LOG_ID_SIZE :], "big")
            producer = self._add(log_id, shard, number - (1 << 64) if number >> 63 else number)
            epoch = get_u32_le(value, 1)
            producer.epoch = epoch - (1 << 32) if epoch >> 31 else epoch
            producer.last_ms = last_ms
            producer.packed = bytearray(value[HEAD_SIZE:])

    def producer(self, log: Log, producer_id: int) -> Producer | None:
        """What is remembered of a producer in a log."""
        of_log = self._logs.get(log.id)
        return None if of_log is None else of_log.get(producer_id)

    def check(self, log: Log, producer_id: int, epoch: int, first_sequence: int, count: int, now_ms: int) -> tuple[Verdict, Batch | None]:
        """judge(), with the batch that was appended where it is a DUPLICATE."""
        verdict = Verdict(self.judge(log, producer_id, epoch, first_sequence, count, now_ms))
        return verdict, Batch(first_sequence, self.known_base, self.known_span) if verdict is Verdict.DUPLICATE else None

    def judge(self, log: Log, producer_id: int, epoch: int, first_sequence: int, count: int, now_ms: int) -> int:
        """The Verdict of a batch. DUPLICATE: answer as for the one at `known_base`, once log.durable_offset is past it.

        Who is not remembered may begin anywhere (it may have been forgotten); a new epoch begins at 0.
        """
        producer = self.producer(log, producer_id)
        if producer is None:
            return _OK if self._count < self._producers_max or self._make_room(now_ms) else _FULL
        if epoch < producer.epoch:
            return _FENCED
        if epoch > producer.epoch:
            return _OK if first_sequence == 0 else _GAP
        packed = producer.packed
        size = len(packed)
        expected = 0
        p = 0
        while p < size:
            sequence = get_u64_le_ba(packed, p)
            span = get_u32_le_ba(packed, p + 16)
            if sequence == first_sequence and span == count:
                self.known_base = get_u64_le_ba(packed, p + 8)
                self.known_span = span
                return _DUPLICATE
            expected = sequence + span
            p += _BATCH
        if self._wrap and expected >= self._wrap:
            expected -= self._wrap
        return _OK if first_sequence == expected else _GAP

    def append(self, log: Log, producer_id: int, epoch: int, first_sequence: int, count: int, now_ms: int) -> None:
        """Stage that a batch, judged OK, is being appended at next_offset: call it in the same tick, before Store.append()."""
        self.note(log, producer_id, epoch, first_sequence, log.next_offset, count, now_ms)

    def note(self, log: Log, producer_id: int, epoch: int, first_sequence: int, base: int, count: int, now_ms: int) -> None:
        """Stage that a batch, judged OK, was appended at `base` just now, in this same commit."""
        producer = self._touched(log, producer_id, epoch, now_ms)
        packed = producer.packed
        size = len(packed)
        if size == _FULL_SIZE:
            del packed[:_BATCH]
            size -= _BATCH
        resize_ba(packed, size + _BATCH)
        put_u64_le(packed, size, first_sequence)
        put_u64_le(packed, size + 8, base)
        put_u32_le(packed, size + 16, count)
        self._stage(producer)

    def fence(self, log: Log, producer_id: int, epoch: int, now_ms: int) -> None:
        """Stage that epochs below `epoch` are over (a transaction's marker said so)."""
        producer = self.producer(log, producer_id)
        if producer is None or producer.epoch < epoch:
            self._stage(self._touched(log, producer_id, epoch, now_ms))

    def forget(self, log: Log) -> None:
        """Stage that the log is gone, and its producers with it."""
        for producer in self._logs.pop(log.id, {}).values():
            self._unlink(producer)
            self._count -= 1
            self._store.fold(producer.shard, producer.key, b"")

    # ---- below

    def _touched(self, log: Log, producer_id: int, epoch: int, now_ms: int) -> Producer:
        """The producer, of that epoch and the last one heard of."""
        producer = self.producer(log, producer_id)
        if producer is None:
            producer = self._add(log.id, log.shard, producer_id)
        elif producer is not self._newest:
            self._unlink(producer)
            self._link(producer)
        if producer.epoch != epoch:
            producer.epoch = epoch
            producer.packed = bytearray()
        producer.last_ms = now_ms
        return producer

    def _stage(self, producer: Producer) -> None:
        """Stage it as it is now."""
        size = len(producer.packed)
        delta = bytearray(_HEAD + size)
        delta[0] = _FORMAT
        put_u32_le(delta, 1, producer.epoch & _EPOCH_MASK)
        put_u64_le(delta, 5, producer.last_ms)
        copy_ba(delta, _HEAD, producer.packed, 0, size)
        self._store.fold(producer.shard, producer.key, take_ba(delta, 0, _HEAD + size))

    def _add(self, log_id: bytes, shard: int, producer_id: int) -> Producer:
        producer = Producer.__new__(Producer)
        producer.id = producer_id
        producer.log_id = log_id
        producer.shard = shard
        producer.key = PRODUCER_PREFIX + log_id + (producer_id & _ID_MASK).to_bytes(8, "big")
        producer.epoch = -1
        producer.last_ms = 0
        producer.packed = bytearray()
        of_log = self._logs.get(log_id)
        if of_log is None:
            of_log = self._logs[log_id] = {}
        of_log[producer_id] = producer
        self._count += 1
        self._link(producer)
        return producer

    def _link(self, producer: Producer) -> None:
        """Put it at the chain's end: the last one heard of."""
        producer.newer = None
        producer.older = self._newest
        if self._newest is None:
            self._oldest = producer
        else:
            self._newest.newer = producer
        self._newest = producer

    def _unlink(self, producer: Producer) -> None:
        older, newer = producer.older, producer.newer
        if older is None:
            self._oldest = newer
        else:
            older.newer = newer
        if newer is None:
            self._newest = older
        else:
            newer.older = older
        producer.older = None
        producer.newer = None

    def _make_room(self, now_ms: int) -> bool:
        """Whether the longest silent one has been silent long enough to go."""
        oldest = self._oldest
        if oldest is None or now_ms - oldest.last_ms < self._idle_ms:
            return False
        of_log = self._logs[oldest.log_id]
        del of_log[oldest.id]
        if not of_log:
            del self._logs[oldest.log_id]
        self._unlink(oldest)
        self._count -= 1
        self._store.fold(oldest.shard, oldest.key, b"")
        return True
