"""Deduplication: the last batches of every producer of a log, so that a batch sent again is known, a lost one noticed, an old epoch fenced.

State of its own (producer_state.py), which outlives deleting and trimming the records, staged in the commit that appends them. In memory a
producer's batches are packed as its value has them. The producers of each holder (whoever sent their last batch) stand in one chain, the longest
silent first: those are forgotten when they have been silent for `idle_ms`, and sooner where there are too many of one holder, or in all, but never
before `retry_ms`, in which a batch may still be sent again.
"""

from __future__ import annotations

from collections.abc import Iterable

import cython

from entrepot.broker.producers.producer_state import (
    BATCH_SIZE,
    BATCHES_MAX,
    FORMAT,
    HEAD_SIZE,
    PRODUCER_PREFIX,
    TIMED_BATCH_SIZE,
    TIMED_FORMAT,
    Batch,
    Verdict,
    check_producer,
    unpack_batches,
)
from entrepot.store.interface import LOG_ID_SIZE, Log, Store

if not cython.compiled:
    from entrepot.model.octets import copy_ba, get_u32_le, get_u32_le_ba, get_u64_le, get_u64_le_ba, put_u32_le, put_u64_le, resize_ba, take_ba

PRODUCERS_MAX = 500_000  # remembered of one store, a producer once for each log, unless told otherwise
SHARE_OF_ONE = 0.8  # of these, for one holder
IDLE_MS = 86_400_000
RETRY_MS = 300_000  # clients of all kinds give up on a batch after two minutes, unless told otherwise
NO_WRAP = 0  # sequences go on for ever
KAFKA_WRAP = 1 << 31  # sequences are i32 and go back to 0
SCAN_LIMIT = 1024  # rows read at once at opening

_HEAD = HEAD_SIZE
_BATCH = BATCH_SIZE
_TIMED_BATCH = TIMED_BATCH_SIZE
_BATCHES = BATCHES_MAX
_FORMAT = FORMAT
_TIMED_FORMAT = TIMED_FORMAT
_NO_TIME = 0xFFFFFFFFFFFFFFFF
_EPOCH_MASK = 0xFFFFFFFF
_ID_MASK = 0xFFFFFFFFFFFFFFFF
_OK, _DUPLICATE, _GAP, _FENCED, _FULL = 0, 1, 2, 3, 4  # Verdict's


class Holder:
    """Who sends batches: the chain of its producers, `oldest` being silent for longest."""

    __slots__ = ("count", "name", "newest", "oldest")

    def __init__(self, name: str) -> None:
        self.name = name
        self.count = 0
        self.oldest: Producer | None = None
        self.newest: Producer | None = None


class Producer:
    """What is remembered of one producer in one log. `packed` are its last batches, `timed` with times; `older` and `newer` are its neighbours in the chain."""

    __slots__ = ("epoch", "holder", "id", "key", "last_ms", "log_id", "newer", "older", "packed", "shard", "timed")

    id: int
    log_id: bytes
    shard: int
    key: bytes
    epoch: int
    last_ms: int
    timed: bool
    packed: bytearray
    holder: Holder
    older: Producer | None
    newer: Producer | None

    @property
    def batches(self) -> list[Batch]:
        """The last ones, oldest first."""
        return unpack_batches(bytes(self.packed), self.timed)


class Deduplication:
    """The producers of every log of one store. A batch is judged by judge(), and noted by note() in the commit that appends it, both for the last hold().

    `known_base`, `known_span` and `known_time_ms`: the place and time of the batch that was last judged DUPLICATE.
    """

    __slots__ = (
        "_count",
        "_holder",
        "_holders",
        "_idle_ms",
        "_logs",
        "_producers_max",
        "_retry_ms",
        "_share_max",
        "_store",
        "_wrap",
        "known_base",
        "known_span",
        "known_time_ms",
    )

    def __init__(self, store: Store, wrap: int = KAFKA_WRAP, producers_max: int = PRODUCERS_MAX, idle_ms: int = IDLE_MS, retry_ms: int = RETRY_MS) -> None:
        self._store = store
        self._wrap = wrap
        self._producers_max = producers_max
        self._share_max = max(1, int(producers_max * SHARE_OF_ONE))
        self._idle_ms = idle_ms
        self._retry_ms = min(retry_ms, idle_ms)
        self._logs: dict[bytes, dict[int, Producer]] = {}
        self._count = 0
        self._holders: dict[str, Holder] = {}
        self._holder = Holder("")
        self.hold("")
        self.known_base = 0
        self.known_span = 0
        self.known_time_ms = -1

    def __len__(self) -> int:
        """How many producers are remembered."""
        return self._count

    def hold(self, name: str) -> None:
        """What is judged and noted from now on comes from `name`. After a start all producers are nobody's, "", until they send."""
        if not self._holder.count and self._holder.name:
            self._holders.pop(self._holder.name, None)
        holder = self._holders.get(name)
        if holder is None:
            holder = self._holders[name] = Holder(name)
        self._holder = holder

    def load(self, shards: Iterable[int] | None = None) -> None:
        """As shards open (None: all): what the store has kept."""
        self.hold("")
        found: list[tuple[int, int, bytes, bytes, bytes]] = []
        for shard in {log.shard for log in self._store.logs()} if shards is None else shards:
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
            producer.timed = value[0] == _TIMED_FORMAT
            producer.packed = bytearray(value[HEAD_SIZE:])

    def unload(self, shard: int) -> None:
        """A shard closes: nobody of it is known here any more."""
        for log in self._store.logs(shard):
            for producer in self._logs.pop(log.id, {}).values():
                self._unlink(producer)
                self._count -= 1

    def producer(self, log: Log, producer_id: int) -> Producer | None:
        """What is remembered of a producer in a log."""
        of_log = self._logs.get(log.id)
        return None if of_log is None else of_log.get(producer_id)

    def check(self, log: Log, producer_id: int, epoch: int, first_sequence: int, count: int, now_ms: int) -> tuple[Verdict, Batch | None]:
        """judge(), with the batch that was appended where it is a DUPLICATE."""
        verdict = Verdict(self.judge(log, producer_id, epoch, first_sequence, count, now_ms))
        return verdict, Batch(first_sequence, self.known_base, self.known_span, self.known_time_ms) if verdict is Verdict.DUPLICATE else None

    def judge(self, log: Log, producer_id: int, epoch: int, first_sequence: int, count: int, now_ms: int) -> int:
        """The Verdict of a batch. DUPLICATE: answer as for the one at `known_base`, once log.durable_offset is past it.

        Who is not remembered may begin anywhere (it may have been forgotten); a new epoch begins at 0.
        """
        producer = self.producer(log, producer_id)
        if producer is None:
            return _OK if self._has_room(now_ms) else _FULL
        if epoch < producer.epoch:
            return _FENCED
        if epoch > producer.epoch:
            return _OK if first_sequence == 0 else _GAP
        packed = producer.packed
        size = len(packed)
        row = _TIMED_BATCH if producer.timed else _BATCH
        expected = 0
        p = 0
        while p < size:
            sequence = get_u64_le_ba(packed, p)
            span = get_u32_le_ba(packed, p + 16)
            if sequence == first_sequence and span == count:
                self.known_base = get_u64_le_ba(packed, p + 8)
                self.known_span = span
                self.known_time_ms = -1
                if producer.timed and get_u64_le_ba(packed, p + 20) != _NO_TIME:
                    self.known_time_ms = get_u64_le_ba(packed, p + 20)
                return _DUPLICATE
            expected = sequence + span
            p += row
        if self._wrap and expected >= self._wrap:
            expected -= self._wrap
        return _OK if first_sequence == expected else _GAP

    def append(self, log: Log, producer_id: int, epoch: int, first_sequence: int, count: int, now_ms: int) -> None:
        """Stage that a batch, judged OK, is being appended at next_offset: call it in the same tick, before Store.append()."""
        self.note(log, producer_id, epoch, first_sequence, log.next_offset, count, now_ms)

    def note(self, log: Log, producer_id: int, epoch: int, first_sequence: int, base: int, count: int, now_ms: int, time_ms: int = -1) -> None:
        """Stage that a batch, judged OK, was appended at `base` just now, in this same commit. `time_ms`: what its records got for a time, -1 for none."""
        producer = self._touched(log, producer_id, epoch, now_ms)
        if time_ms >= 0 and not producer.timed:
            self._give_times(producer)
        row = _TIMED_BATCH if producer.timed else _BATCH
        packed = producer.packed
        size = len(packed)
        if size == _BATCHES * row:
            del packed[:row]
            size -= row
        resize_ba(packed, size + row)
        put_u64_le(packed, size, first_sequence)
        put_u64_le(packed, size + 8, base)
        put_u32_le(packed, size + 16, count)
        if producer.timed:
            put_u64_le(packed, size + 20, time_ms if time_ms >= 0 else _NO_TIME)
        self._stage(producer)

    def fence(self, log: Log, producer_id: int, epoch: int, now_ms: int) -> None:
        """Stage that epochs below `epoch` are over (a transaction's marker said so)."""
        producer = self.producer(log, producer_id)
        if producer is None or producer.epoch < epoch:
            self._stage(self._touched(log, producer_id, epoch, now_ms))

    def forget(self, log: Log) -> None:
        """Stage that the log is gone, and its producers with it."""
        for producer in self._logs.pop(log.id, {}).values():
            self._drop(producer)

    # ---- below

    def _touched(self, log: Log, producer_id: int, epoch: int, now_ms: int) -> Producer:
        """The producer, of that epoch and the last one heard of."""
        producer = self.producer(log, producer_id)
        if producer is None:
            producer = self._add(log.id, log.shard, producer_id)
        elif producer is not self._holder.newest:
            self._unlink(producer)
            self._link(producer)
        if producer.epoch != epoch:
            producer.epoch = epoch
            producer.packed = bytearray()
            producer.timed = False
        producer.last_ms = now_ms
        return producer

    def _give_times(self, producer: Producer) -> None:
        """From now on its batches have times; those before have none."""
        packed = producer.packed
        timed = bytearray(len(packed) // _BATCH * _TIMED_BATCH)
        p = 0
        at = 0
        while p < len(packed):
            copy_ba(timed, at, packed, p, _BATCH)
            put_u64_le(timed, at + _BATCH, _NO_TIME)
            p += _BATCH
            at += _TIMED_BATCH
        producer.packed = timed
        producer.timed = True

    def _stage(self, producer: Producer) -> None:
        """Stage it as it is now."""
        size = len(producer.packed)
        delta = bytearray(_HEAD + size)
        delta[0] = _TIMED_FORMAT if producer.timed else _FORMAT
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
        producer.timed = False
        producer.packed = bytearray()
        of_log = self._logs.get(log_id)
        if of_log is None:
            of_log = self._logs[log_id] = {}
        of_log[producer_id] = producer
        self._count += 1
        self._link(producer)
        return producer

    def _link(self, producer: Producer) -> None:
        """Put it at the end of the chain of whom it comes from: the last one heard of."""
        holder = self._holder
        producer.holder = holder
        holder.count += 1
        producer.newer = None
        producer.older = holder.newest
        if holder.newest is None:
            holder.oldest = producer
        else:
            holder.newest.newer = producer
        holder.newest = producer

    def _unlink(self, producer: Producer) -> None:
        holder = producer.holder
        holder.count -= 1
        older, newer = producer.older, producer.newer
        if older is None:
            holder.oldest = newer
        else:
            older.newer = newer
        if newer is None:
            holder.newest = older
        else:
            newer.older = older
        producer.older = None
        producer.newer = None
        if not holder.count and holder.name and holder is not self._holder:
            self._holders.pop(holder.name, None)

    def _has_room(self, now_ms: int) -> bool:
        """Whether one more may be remembered. Forgets who has been silent for too long, and where there are too many who has been for longest."""
        holder = self._holder
        self._forget_silent(holder, now_ms, self._idle_ms)  # two for each that comes: they become fewer
        self._forget_silent(holder, now_ms, self._idle_ms)
        self._forget_silent(self._holders[""], now_ms, self._idle_ms)
        if holder.name and holder.count >= self._share_max and not self._forget_silent(holder, now_ms, self._retry_ms):
            return False
        if self._count < self._producers_max:
            return True
        silent: Holder = holder
        for other in self._holders.values():
            if other.oldest is not None and (silent.oldest is None or other.oldest.last_ms < silent.oldest.last_ms):
                silent = other
        return self._forget_silent(silent, now_ms, self._retry_ms)

    def _forget_silent(self, holder: Holder, now_ms: int, silent_ms: int) -> bool:
        """Whether the holder's longest silent one has been silent for so long, and is forgotten."""
        oldest = holder.oldest
        if oldest is None or now_ms - oldest.last_ms < silent_ms:
            return False
        of_log = self._logs[oldest.log_id]
        del of_log[oldest.id]
        if not of_log:
            del self._logs[oldest.log_id]
        self._drop(oldest)
        return True

    def _drop(self, producer: Producer) -> None:
        """It is out of its log's table: have it out of the chain, and of the store."""
        self._unlink(producer)
        self._count -= 1
        self._store.fold(producer.shard, producer.key, b"")
