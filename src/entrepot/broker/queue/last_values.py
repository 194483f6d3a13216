"""LastValues: a queue of which nobody consumes, that keeps of each address the last record that was published to it.

Each record is an entry of its own. What replaces one, or takes it away (an empty body), what is discarded and the row that says where the last one lies
are one commit. Those with a time to live have a second row by their time, and go by a timer; nothing in memory grows with how many there are, but for the
holes that what was replaced has left.
"""

from __future__ import annotations

from typing import Any

from entrepot.broker.calls.port import Publish
from entrepot.broker.catalogue.quotas import LastValueLimits
from entrepot.broker.logs.entry_codec import EntryCodec
from entrepot.broker.queue.last_value_pages import LastValuePages
from entrepot.broker.queue.last_value_rows import LastValue, decoded, encoded, time_key, time_of, time_prefix, value_key
from entrepot.broker.queue.queue import Queue
from entrepot.broker.state import DELETE, LAST_VALUE_PREFIX, prefix_end, set_value
from entrepot.broker.subscription.consumer import Consumer
from entrepot.model.entry import make_entry
from entrepot.store.interface import LOG_ID_SIZE, Scheduler, Store

EXPIRED_PER_TURN = 256
DROPPED_PER_TURN = 1024
WAIT_MAX_S = 3600.0  # of a timer


class LastValues:
    """The Heads of such a queue: nothing leaves it at its head. `pages` are what is read of it."""

    def __init__(self, queue: Queue, limits: LastValueLimits) -> None:
        self.pages = LastValuePages(self, queue)
        self.replaced_count = 0
        self._queue = queue
        self._limits = limits
        self._store = queue.store
        self._log = queue.log
        self._shard = queue.log.shard
        self._time = queue.store.shard_time(queue.log.shard)
        self._early: list[int] = []  # discarded before they were durable: the subscription has not seen them yet
        self._timer: Any = None
        self._due_ms = 0
        self._look()

    @property
    def count(self) -> int:
        """How many there are."""
        return self._queue.depth() - len(self._early)

    @property
    def size_bytes(self) -> int:
        """About how many bytes their entries have."""
        return self._log.bytes_alive

    def now_ms(self) -> int:
        """The time of the queue's shard."""
        now: int = self._time.at(self._queue.hub.now_ms())
        return now

    def find(self, key: bytes) -> LastValue | None:
        """What the row of that key says."""
        row = self._store.get(self._shard, key)
        return None if row is None else decoded(row)

    def keep(self, call: Publish, codec: EntryCodec, prefix: bytes, record: bytes) -> bool:
        """Stage that a record of the call is the last value of the address that its entry's prefix says. False: it is not, for there are too many, or too
        much, or it cannot be taken apart.
        """
        address = codec.address(prefix)
        key = value_key(self._log.id, address)
        before = self.find(key)
        if not codec.body_bytes(record, 0, 1):
            if before is not None:
                self._store.fold(self._shard, key, DELETE)
                self._discard(before.offset, before.due_ms)
            return True
        if not codec.by_record or not self._has_room(before, len(prefix) + len(record)):
            return False
        offset = self._log.next_offset
        self._store.append([self._log], make_entry(call.codec, call.codec_version, call.flags, prefix, record, 1))
        time_to_live_ms = codec.time_to_live_ms(record, 0)
        value = LastValue(offset, len(record), 0 if time_to_live_ms < 0 else self.now_ms() + max(time_to_live_ms, 1))
        self._store.fold(self._shard, key, set_value(encoded(value)))
        if before is not None:
            self._discard(before.offset, before.due_ms)
            self.replaced_count += 1
        if value.due_ms:
            self._store.fold(self._shard, time_key(self._log.id, value.due_ms, offset), set_value(address))
            self._arm(value.due_ms)
        return True

    def _has_room(self, before: LastValue | None, size: int) -> bool:
        return (before is not None or self.count < self._limits.values) and self.size_bytes + size <= self._limits.values_bytes

    def _discard(self, offset: int, due_ms: int) -> None:
        """Stage that a record is gone, whose row is gone or says another."""
        if due_ms:
            self._store.fold(self._shard, time_key(self._log.id, due_ms, offset), DELETE)
        subscription = self._queue.subscription
        if offset < subscription.end:
            subscription.drop(offset, 1)
            self._queue.discard_settled()
            return
        self._store.discard(self._log, offset, offset + 1)
        self._early.append(offset)
        if len(self._early) == 1:
            self._store.group().calls.append(self._soon)

    def _soon(self) -> None:
        """Durable: in the next turn the subscription knows of it."""
        self._queue.hub.scheduler.call_soon(self._take_in)

    def _take_in(self) -> None:
        """What was discarded early is settled."""
        queue = self._queue
        if queue.ended:
            return
        subscription = queue.subscription
        for offset in self._early:
            if offset < subscription.end:
                subscription.drop(offset, 1)
        subscription.settled_ranges.clear()
        self._early = [offset for offset in self._early if offset >= subscription.end]
        if self._early:
            self._store.group().calls.append(self._soon)

    # ---- what expires

    def _look(self) -> None:
        """Wake up when the next expires."""
        prefix = time_prefix(self._log.id)
        for key, _ in self._store.scan(self._shard, prefix, prefix_end(prefix), 1):
            self._arm(time_of(self._log.id, key)[0])

    def _arm(self, due_ms: int) -> None:
        if self._timer is not None:
            if self._due_ms <= due_ms:
                return
            self._timer.cancel()
        self._due_ms = due_ms
        wait_s = max(due_ms - self.now_ms(), 1) / 1000
        self._timer = self._queue.hub.scheduler.call_later(min(wait_s, WAIT_MAX_S), self._expire)

    def _expire(self) -> None:
        """Some may have expired."""
        self._timer = None
        queue = self._queue
        if queue.ended:
            return
        end = time_key(self._log.id, self.now_ms() + 1, 0)
        for key, address in self._store.scan(self._shard, time_prefix(self._log.id), end, EXPIRED_PER_TURN):
            due_ms, offset = time_of(self._log.id, key)
            self._store.fold(self._shard, value_key(self._log.id, address), DELETE)
            self._discard(offset, due_ms)
            queue.hub.expired_count += 1
        self._look()

    # ---- Heads

    def expire(self) -> int:
        """See Heads: not by its head."""
        return 0

    def drop_overflow(self) -> None:
        """See Heads: what would be too much was not taken."""

    def drop_first(self, count: int) -> int:
        """See Heads."""
        return 0

    def bury_overdelivered(self) -> None:
        """See Heads: nothing is delivered."""

    def release_or_bury(self, consumer: Consumer, first: int, count: int) -> int:
        """See Heads: nothing is delivered."""
        return 0

    def set_timer(self) -> None:
        """See Heads."""

    def close(self) -> None:
        """See Heads."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.pages.close()


def drop_rows(store: Store, shard: int, log_id: bytes, scheduler: Scheduler) -> None:
    """Those of a queue that is deleted go, and what was noted of copies into it, some in a turn.

    What a crash leaves of them goes when the shard opens again (drop_rows_of_none()).
    """
    if shard in store.closed:
        return
    prefix = LAST_VALUE_PREFIX + log_id
    rows = store.scan(shard, prefix, prefix + b"\xff", DROPPED_PER_TURN)
    for key, _ in rows:
        store.fold(shard, key, DELETE)
    if len(rows) == DROPPED_PER_TURN:
        scheduler.call_soon(drop_rows, store, shard, log_id, scheduler)


def drop_rows_of_none(store: Store, shard: int, scheduler: Scheduler) -> None:
    """A shard has opened: rows of queues go that were deleted while it was closed, or of which a crash has left some."""
    first = LAST_VALUE_PREFIX
    while rows := store.scan(shard, first, prefix_end(LAST_VALUE_PREFIX), 1):
        prefix = rows[0][0][: len(LAST_VALUE_PREFIX) + LOG_ID_SIZE]
        log_id = prefix[len(LAST_VALUE_PREFIX) :]
        if store.log(log_id) is None:
            drop_rows(store, shard, log_id, scheduler)
        first = prefix + b"\xff"
