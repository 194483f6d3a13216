"""PriorityQueue: a queue whose messages have levels: each in use is a log and a subscription of its own. Who has credit is given of the highest first.

The queue itself is its level 0, over the log that its definition names. A further one is a Level, over a log of the same shard whose id follows from that
one's; it is made when something is first published there, and goes with the queue. Consumers and limits are the queue's; where a record is, when it ends, and
its dead letter are its level's. Consumers know a record by its level and its offset there: level << LEVEL_SHIFT | offset.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Any

from entrepot.broker.calls.port import Delivery
from entrepot.broker.logs.hub import Hub
from entrepot.broker.queue.heads import BURY_MAX, Heads
from entrepot.broker.queue.queue import SLICE_MAX, SLICES_MAX, Queue
from entrepot.broker.subscription.consumer import Consumer
from entrepot.broker.transactions.log_transactions import Transactions
from entrepot.model.errors import NotDone
from entrepot.store.interface import LOG_ID_SIZE, Log, Store

LEVEL_SHIFT = 55  # offsets lie below 1 << 63, levels below 256

_SHIFT, _OFFSETS = LEVEL_SHIFT, (1 << LEVEL_SHIFT) - 1
_SLICE_MAX, _SLICES_MAX, _BURY_MAX = SLICE_MAX, SLICES_MAX, BURY_MAX
_END = 0xFFFFFFFFFFFFFFFF


def level_id(log_id: bytes, number: int) -> bytes:
    """The id of the log of a level from 1 on, of a queue over log `log_id`."""
    return blake2b(log_id, digest_size=LOG_ID_SIZE, key=b"level %d" % number).digest()


class Level(Queue):
    """A level from 1 on of `whole`. Offsets are its log's own, but for what consumers are told. `ready_bytes` is what `whole` has not added yet."""

    __slots__ = ("whole",)

    def __init__(self, whole: PriorityQueue, number: int, log: Log) -> None:
        definition = whole.definition
        super().__init__(definition, whole.hub, whole.store, log, definition.namespace, whole.heads_of)
        self.whole = whole
        self.origin = number << LEVEL_SHIFT
        self.expirable = self.expirable or whole.expirable

    def dispatch(self) -> None:
        """Something has come, come back or been fetched here: the queue sees to it."""
        self.whole.dispatch()

    def mark_first(self) -> None:
        """Somebody will be given the first of it, or is already: see Queue.add_consumer()."""
        if not self.log.volatile and not self.marking and self.log.marked_offset <= self.subscription.cursor:
            self._mark_ahead(self.subscription.cursor)


class PriorityQueue(Queue):
    """`levels` are those in use, the highest first, itself the last. `tails`: what whoever appends keeps of each level, by its number (owner/levelling.py)."""

    __slots__ = ("by_number", "further", "heads_of", "levels", "tails", "top")

    def __init__(self, definition: Any, hub: Hub, store: Store, log: Log, namespace: str, heads: Callable[[Queue], Heads]) -> None:
        super().__init__(definition, hub, store, log, namespace, heads)
        self.heads_of = heads
        self.top: int = definition.policy.max_priority
        self.choosy = True
        self.levels: list[Queue] = [self]
        self.further: list[Level] = []  # without itself
        self.by_number: dict[int, Queue] = {0: self}
        self.tails: dict[int, Any] = {}
        for number in range(1, self.top + 1):
            known = store.log(level_id(log.id, number))
            if known is not None:
                self._enter(number, known)
        if self.bytes_max >= 0:
            self._gather()
            self.ready_bytes = min(self.ready_bytes, self.bytes_max)  # an upper estimate, which drops nothing

    def level(self, number: int) -> Queue:
        """A level up to `top`; made, in the open commit, where it is not in use. Unavailable."""
        known = self.by_number.get(number)
        if known is None:
            known = self._enter(number, self.store.create_log(self.log.shard, level_id(self.log.id, number)))
            if self.consumers:
                known.mark_first()
        return known

    def part(self, offset: int) -> Queue | None:
        """The level of a record, by what consumers are told of its offset; None: it is none in use."""
        return self.by_number.get(offset >> _SHIFT)

    def _enter(self, number: int, log: Log) -> Level:
        level = Level(self, number, log)
        self.by_number[number] = level
        self.further.append(level)
        self.levels = [self.by_number[known] for known in sorted(self.by_number, reverse=True)]
        return level

    # ---- what producers do

    def ready(self) -> int:
        """See Queue."""
        count = 0
        for level in self.levels:
            count += level.subscription.ready_count
        return count

    def depth(self) -> int:
        """See Queue."""
        count = 0
        for level in self.levels:
            count += level.subscription.ready_count + (level.log.next_offset - level.log.durable_offset)
        return count

    def has_staged(self) -> bool:
        """See Queue."""
        count = 0
        for level in self.levels:
            count += level.log.next_offset - level.subscription.end
        return count > 0

    def note_expiry(self) -> None:
        """See Queue."""
        for level in self.levels:
            level.expirable = True

    # ---- delivering

    def add_consumer(self, consumer: Consumer) -> None:
        """See Queue."""
        Queue.add_consumer(self, consumer)
        for level in self.further:
            level.mark_first()

    def highest(self) -> Queue | None:
        """The highest level with something ready."""
        for level in self.levels:
            if level.subscription.ready_count > 0:
                return level
        return None

    def dispatch(self) -> None:
        """See Queue. Where the highest level waits for the disk, the others wait for it."""
        if self.ended:
            return
        if self.waiting and not self.is_waiting():
            waiting, self.waiting = self.waiting, []
            for callback in waiting:
                callback()
        slices = 0
        level = self.highest()
        while level is not None and not level.cursor.loading and not level.marking:
            slices += 1
            if slices > _SLICES_MAX:
                self.hub.mark_dirty(self)
                return
            if level.expirable:
                if level.burying >= _BURY_MAX:
                    return
                if level.heads.expire():
                    level = self.highest()
                    continue
            consumer = self.pick()
            if consumer is None:
                break
            ready = level.subscription.ready_count
            limit = consumer.room(_SLICE_MAX)
            if not self.single_active and not self.prioritised:
                share = self.ready() // len(self.consumers) + 1
                limit = min(limit, share)
            if level.take(consumer, limit) is None and level.subscription.ready_count == ready:
                break
            level = self.highest()
        if level is None or not (level.cursor.loading or level.marking):
            self._end_dispatch()

    def _end_dispatch(self) -> None:
        """Expire and drop what is over the limits."""
        for level in self.levels:
            level.fresh_from = _END
        if self.length_max >= 0 or self.bytes_max >= 0:
            self._drop_over()
        is_loading = False
        for level in self.levels:
            if level.expirable and level.subscription.ready_count > 0:
                while level.heads.expire():
                    pass
                level.heads.set_timer()
            if (self.deserted or level.subscription.ready_count + level.subscription.leased_count == 0) and level.cursor.reader.held_bytes > 0:
                level.cursor.rest()
            is_loading = is_loading or level.cursor.loading
        self.deserted = self.deserted and is_loading

    def _gather(self) -> None:
        """Of all levels: what came to be ready, or was taken."""
        for level in self.further:
            self.ready_bytes += level.ready_bytes
            level.ready_bytes = 0

    def _drop_over(self) -> None:
        """drop-head: what would be delivered next goes, while the queue is over a limit."""
        self._gather()
        if self.depth() == 0:
            self.ready_bytes = 0  # estimates end here
        if self.rejects_when_full:
            return
        level = self.highest()
        while level is not None and level.burying < _BURY_MAX:
            ready = self.ready()
            over = ready - self.length_max if self.length_max >= 0 and ready > self.length_max else 0
            if over == 0 and (self.bytes_max < 0 or self.ready_bytes <= self.bytes_max):
                return
            if level.heads.drop_first(over if over > 0 else 1) == 0:
                return
            self._gather()
            level = self.highest()

    def drop_overflow(self) -> bool:
        """See Queue."""
        if self.length_max < 0 and self.bytes_max < 0:
            return True
        if self.has_staged():
            return False
        self._drop_over()
        return True

    def expire_head(self) -> int:
        """See Queue."""
        level = self.highest()
        return 0 if level is None else int(level.heads.expire())

    def take_one(self, getter: Consumer) -> Delivery | None:
        """See Queue."""
        level = self.highest()
        return None if level is None else Queue.take_one(level, getter)

    def is_waiting(self) -> bool:
        """See Queue."""
        return any(Queue.is_waiting(level) for level in self.levels)

    # ---- settling

    def settle(self, consumer: Consumer, first: int, count: int) -> int:
        """See Queue."""
        level = self.part(first)
        settled = 0 if level is None else Queue.settle(level, consumer, first & _OFFSETS, count)
        if self.ready() > 0:
            self.hub.mark_dirty(self)
        return settled

    def release(self, consumer: Consumer, first: int, count: int, count_delivery: bool) -> int:
        """See Queue."""
        level = self.part(first)
        return 0 if level is None else Queue.release(level, consumer, first & _OFFSETS, count, count_delivery)

    def settle_in(self, transactions: Transactions, transaction_id: int, consumer: Consumer, first: int, count: int) -> int:
        """See Queue."""
        level = self.part(first)
        return 0 if level is None else Queue.settle_in(level, transactions, transaction_id, consumer, first & _OFFSETS, count)

    def bury(self, consumer: Consumer | None, first: int, count: int, reason: str) -> None:
        """See Queue."""
        level = self.part(first)
        if level is not None:
            Queue.bury(level, consumer, first & _OFFSETS, count, reason)

    def release_all(self, consumer: Consumer) -> None:
        """See Queue."""
        for level in self.levels:
            Queue.release_all(level, consumer)

    def purge(self) -> int:
        """See Queue."""
        return sum([Queue.purge(level) for level in self.levels])

    # ---- the end

    def close(self, gone: NotDone | None = None) -> None:
        """See Queue."""
        Queue.close(self, gone)
        for level in self.further:
            level.close(self.gone)
