"""Queue: a name over a log with exactly one subscription; records go when settled.

dispatch() takes ranges of offsets from the subscription for consumers that have credit, finds the entry that holds them, and hands
each slice on. A slice never crosses an entry. What is not in memory is fetched; meanwhile the queue waits and nobody else does.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

from entrepot.broker.calls.port import Delivery
from entrepot.broker.catalogue.queue_arguments import QUORUM
from entrepot.broker.logs.cursor import GAP, HERE, Cursor
from entrepot.broker.logs.hub import Hub
from entrepot.broker.logs.log_owner import LogOwner
from entrepot.broker.queue.dead_letters import DeadLetters
from entrepot.broker.queue.delivery_counts import DeliveryCounts
from entrepot.broker.queue.heads import BURY_MAX, NO_HEADS, Heads
from entrepot.broker.subscription.consumer import BROKER_ID, Consumer
from entrepot.broker.subscription.leases import Subscription
from entrepot.broker.transactions.log_transactions import Transactions
from entrepot.model.entry import CONTROL, TRANSACTIONAL, Entry
from entrepot.model.errors import NotDone, Reason, Refused
from entrepot.store.interface import Log, Store

SLICE_MAX = 512  # records handed to one consumer before the next has its turn
SLICE_BYTES = 262_144  # and about so many bytes
SLICES_MAX = 32  # and so many slices of one queue before other queues have their turn
MARK_STEP = 65_536  # "may have been delivered" is journalled this many records ahead
COUNTED_MARK_STEP = 4096  # where deliveries are counted against a limit: what a crash makes of the mark is a delivery

# C aliases, declared in the .pxd.
_SLICE_MAX, _SLICE_BYTES, _SLICES_MAX, _BURY_MAX = SLICE_MAX, SLICE_BYTES, SLICES_MAX, BURY_MAX
_END = 0xFFFFFFFFFFFFFFFF
_CONTROL, _TRANSACTIONAL = CONTROL, TRANSACTIONAL
_HERE, _GAP = HERE, GAP


class Queue(LogOwner):
    """The live queue over one log. Its definition says what it is; `dead_letters` is None where dropped records go nowhere; heads(queue) makes its Heads."""

    __slots__ = (
        "burying",
        "bytes_max",
        "choosy",
        "consumers",
        "counts",
        "cursor",
        "dead_letters",
        "definition",
        "delivery_limit",
        "deserted",
        "ended",
        "expirable",
        "fresh_from",
        "gone",
        "heads",
        "hub",
        "length_max",
        "log",
        "mark_step",
        "marked_ahead",
        "marking",
        "message_ttl_ms",
        "name",
        "on_unused",
        "origin",
        "overdelivered",
        "prioritised",
        "ready_bytes",
        "rejects_to_dead_letters",
        "rejects_when_full",
        "single_active",
        "store",
        "subscription",
        "tells_deliveries",
        "timed",
        "transactions",
        "turn",
        "waiting",
    )

    def __init__(self, definition: Any, hub: Hub, store: Store, log: Log, namespace: str, heads: Callable[[Queue], Heads]) -> None:
        policy = definition.policy
        self.definition, self.name = definition, definition.name
        self.hub = hub
        self.store, self.log = store, log
        self.dirty, self.origin = False, 0  # origin: what consumers are told of offsets is so much more
        self.message_ttl_ms = -1 if policy.message_ttl_ms is None else policy.message_ttl_ms
        self.length_max = -1 if policy.max_length is None else policy.max_length
        self.bytes_max = -1 if policy.max_length_bytes is None else policy.max_length_bytes
        self.rejects_when_full = policy.overflow != "drop-head"
        self.rejects_to_dead_letters = policy.overflow == "reject-publish-dlx"
        self.choosy = self.rejects_when_full or self.bytes_max >= 0  # what comes is looked at first
        self.delivery_limit = -1 if policy.delivery_limit is None else policy.delivery_limit
        self.tells_deliveries = policy.queue_type == QUORUM
        self.single_active = policy.single_active_consumer
        self.dead_letters: DeadLetters | None = None
        if policy.dead_letter_exchange is not None:
            self.dead_letters = DeadLetters(definition, hub, log, namespace, self.end_buried, self.take_over)
        self.consumers: list[Consumer] = []
        self.turn, self.prioritised, self.deserted = 0, False, False  # deserted: the last consumer has gone, which dispatch() has not seen yet
        self.on_unused: Any = None
        self.cursor = Cursor(hub, log, self._loaded)
        self.marking = False
        self.mark_step = MARK_STEP if self.delivery_limit < 0 else COUNTED_MARK_STEP
        self.marked_ahead, self.fresh_from = log.marked_offset, _END
        self.ready_bytes = min(log.bytes_alive, max(self.bytes_max, 0))  # an upper estimate, which drops nothing
        self.heads = heads(self)
        self.timed: Any = None  # the TimedQueue, once anybody leases here for a time
        self.gone: Any = None  # the NotDone that says why it has ended
        self.ended, self.burying = False, 0  # records that the broker itself holds
        self.waiting: list[Any] = []  # callbacks that need the head in memory: a Get under way
        self.expirable = self.message_ttl_ms >= 0 or log.next_offset > log.first_offset  # what lies there may have a time to live
        self.transactions: Any = hub.transactions.get(log.id)  # None as long as nothing in the log ever had to do with a transaction
        self.subscription = Subscription(log.first_offset, max(log.first_offset, self.visible_end()))
        for first, end in log.holes():
            self.subscription.restore_settled(first, end)
        self.subscription.redelivered_below = min(log.marked_offset, log.next_offset)  # what comes now is new
        self.counts: DeliveryCounts | None = None  # where there is no limit, or nothing is kept over a restart
        self.overdelivered = False  # something is ready that was delivered more often than it may be
        if self.delivery_limit >= 0 and not log.volatile:
            self.counts = DeliveryCounts(store, log, self.subscription)
            self.overdelivered = self.counts.load() > 0
        if self.transactions is not None:
            for transaction_id, pending in self.transactions.pending.items():
                for first, end in pending:
                    self.subscription.restore_pending(transaction_id, first, end)
        log.owner = self
        if self.overdelivered or (log.next_offset > log.first_offset and (self.message_ttl_ms >= 0 or self.dead_letters is not None)):
            hub.mark_dirty(self)  # what has expired meanwhile goes, and a timer is set

    # ---- what producers do

    def ready(self) -> int:
        """Records that may be delivered now."""
        return self.subscription.ready_count

    def depth(self) -> int:
        """Records ready, those not yet durable included."""
        return self.subscription.ready_count + (self.log.next_offset - self.log.durable_offset)

    def on_durable(self, log: Log) -> None:
        """What was appended may be delivered."""
        if self.fresh_from == _END:
            self.fresh_from = self.subscription.end
        end = log.durable_offset if self.transactions is None else self.visible_end()
        if end > self.subscription.end:
            self.subscription.advance_end(end)
            if self.timed is not None:
                self.timed.advanced()
        self.hub.mark_dirty(self)

    def visible_end(self) -> int:
        """min(durable end, stable offset): where delivering stops."""
        end = self.log.durable_offset
        if self.transactions is not None:
            end = self.transactions.visible_end(end)
        return end

    def follow(self, log: Log, transactions: Any) -> None:
        """See LogOwner."""
        self.transactions = transactions

    def note_expiry(self) -> None:
        """Some record published here has a time to live of its own."""
        self.expirable = True

    def note_appended(self, body_bytes: int) -> None:
        """Records of so many bytes were published here; called where there is a limit in bytes."""
        self.ready_bytes += body_bytes

    def is_full(self, count: int, body_bytes: int) -> bool:
        """Whether `count` more records would go over the length limits (for reject-publish)."""
        if self.length_max >= 0 and self.depth() + count > self.length_max:
            return True
        return self.bytes_max >= 0 and self.ready_bytes + body_bytes > self.bytes_max

    # ---- consumers

    def add_consumer(self, consumer: Consumer) -> None:
        """A new subscriber; deliveries begin at the end of this tick."""
        self.consumers.append(consumer)
        if len(self.consumers) > 1 and self.consumers[len(self.consumers) - 2].priority < consumer.priority:  # there may be ten thousand
            self.consumers.sort(key=attrgetter("priority"), reverse=True)
        self._note_consumers()
        if not self.log.volatile and not self.marking and self.log.marked_offset <= self.subscription.cursor:
            self._mark_ahead(self.subscription.cursor)
        self.hub.mark_dirty(self)

    def remove_consumer(self, consumer: Consumer) -> None:
        """It takes no more. What it holds stays leased."""
        consumer.active = False
        if consumer in self.consumers:
            self.consumers.remove(consumer)
        self._note_consumers()
        self.hub.mark_dirty(self)
        if self.deserted and self.on_unused is not None:
            self.on_unused(self)

    def _note_consumers(self) -> None:
        self.deserted = not self.consumers
        self.prioritised = len(self.consumers) > 1 and self.consumers[0].priority != self.consumers[len(self.consumers) - 1].priority

    def pick(self) -> Consumer | None:
        """The next consumer with room: the best priority that has any, in turn among equals."""
        count = len(self.consumers)
        if count == 0:
            return None
        if self.single_active:
            consumer = self.consumers[0]
            return consumer if consumer.room(1) else None
        best = None
        index = self.turn
        for _ in range(count):
            if index >= count:
                index = 0
            consumer = self.consumers[index]
            index += 1
            if consumer.room(1) and (best is None or consumer.priority > best.priority):
                best = consumer
                self.turn = index
                if not self.prioritised:
                    break
        return best

    # ---- delivering

    def dispatch(self) -> None:
        """Give consumers with credit what is ready; then expire and drop what is over the limits."""
        if self.ended:
            return
        if self.overdelivered:
            self.heads.bury_overdelivered()
        if self.timed is not None:
            self.timed.dispatch()
        if self.waiting and not self.is_waiting():
            waiting, self.waiting = self.waiting, []
            for callback in waiting:  # each may have to wait again
                callback()
        slices = 0
        while self.subscription.ready_count > 0 and not self.cursor.loading and not self.marking:
            slices += 1
            if slices > _SLICES_MAX:
                self.hub.mark_dirty(self)
                return
            if self.expirable:
                if self.burying >= _BURY_MAX:
                    return
                if self.heads.expire():
                    continue
            consumer = self.pick()
            if consumer is None:
                break
            ready = self.subscription.ready_count
            limit = consumer.room(_SLICE_MAX)
            if not self.single_active and not self.prioritised:
                share = ready // len(self.consumers) + 1
                limit = min(limit, share)
            if self.take(consumer, limit) is None and self.subscription.ready_count == ready:
                break
        if self.counts is not None and not self.marking:
            self.counts.take_back()
        if self.cursor.loading or self.marking:
            return
        self.fresh_from = _END
        if self.length_max >= 0 or self.bytes_max >= 0:
            if self.depth() == 0:
                self.ready_bytes = 0  # estimates end here
            self.heads.drop_overflow()
        if self.expirable and self.subscription.ready_count > 0:
            while self.heads.expire():
                pass
            self.heads.set_timer()
        if (self.deserted or self.subscription.ready_count + self.subscription.leased_count == 0) and self.cursor.reader.held_bytes > 0:
            self.cursor.rest()
        self.deserted = False

    def take(self, consumer: Consumer, limit: int) -> Delivery | None:
        """Lease up to `limit` ready records of one entry to the consumer and send them; None if nothing could be taken now."""
        sub = self.subscription
        grouped = self.timed is not None and self.timed.scan is not None
        offset = self.timed.next_of_groups() if grouped else sub.peek()
        if offset == _END or not self.may_deliver(offset):
            return None
        while not self.locate(offset):
            passed = offset
            offset = self.timed.next_of_groups() if grouped else sub.peek()
            if offset == passed or offset == _END or not self.may_deliver(offset):  # noqa: SIM109 - a tuple costs; else nothing stood there: go on behind it
                return None
        cursor = self.cursor
        entry = cursor.entry
        below = cursor.end
        if not self.log.volatile and below > self.log.marked_offset:
            below = self.log.marked_offset
        data: bytes | None = cursor.data()
        if consumer.codec != cursor.tag:
            data = self.hub.translated(cursor.stored, consumer.codec)
            if data is None:
                return None
        assert data is not None
        if len(data) > _SLICE_BYTES:
            average = len(data) // entry.count
            if average * limit > _SLICE_BYTES:
                limit = _SLICE_BYTES // average
                if limit == 0:
                    limit = 1
        if self.timed is not None and not grouped:
            limit = self.timed.same_deliveries(offset, limit)
        told = 0
        counts = self.counts
        if counts is not None and (self.delivery_limit == 0 or sub.deliveries_of(offset) > 0):
            told = counts.told_from(offset)
            if told == 0:
                self._tell(offset)
                return None
            if told < limit:
                limit = told
        if grouped:
            self.timed.taken(offset)
            taken = sub.take_range(consumer.id, offset, 1)
            if taken and consumer.auto_settle:
                sub.settle(consumer.id, offset, 1)
        elif consumer.auto_settle:
            taken = sub.take_settled(limit, below)
        else:
            taken = sub.take(consumer.id, limit, below)
        if taken == 0:
            return None
        first = sub.taken_first
        if counts is not None and told:
            counts.taken(first, taken)
        delivery = Delivery.__new__(Delivery)
        delivery.consumer_id = consumer.id
        delivery.token = consumer.token
        delivery.codec = consumer.codec
        delivery.codec_version = self.hub.codec(consumer.codec).version
        delivery.data = data
        delivery.position = cursor.position_of(first) if consumer.codec == cursor.tag else self._position_in(data, consumer.codec, first)
        delivery.count = taken
        delivery.offset = self.origin + first
        delivery.deliveries = sub.taken_deliveries if self.timed is None else sub.taken_deliveries + self.timed.deliveries_at(first)
        delivery.redelivered = delivery.deliveries > 0
        delivery.counted = delivery.redelivered and self.tells_deliveries
        delivery.settled = consumer.auto_settle
        delivery.from_topic = False
        delivery.append_time_ms = entry.append_time_ms
        if self.bytes_max >= 0:
            self.ready_bytes -= self.body_bytes(first, taken)
        if consumer.auto_settle:
            self.discard_settled()
        else:
            consumer.gave(taken)
        self.hub.delivered_count += taken
        if consumer.token is not None:
            position = consumer.attachment.sink.deliver(delivery)
            if consumer.codec == cursor.tag:
                cursor.passed(first + taken, position)
        return delivery

    def _position_in(self, data: bytes, tag: int, offset: int) -> int:
        """Byte position of a record in a form of the cursor's entry."""
        codec = self.hub.codec(tag)
        return codec.skip(data, codec.start(data), offset - self.cursor.base)

    def take_one(self, getter: Consumer) -> Delivery | None:
        """One record for a Get, leased to `getter` and sent nowhere; None: nothing now, see is_waiting()."""
        if self.expirable:
            self.hub.mark_dirty(self)  # another head, with a time of its own
        return self.take(getter, 1)

    def drop_overflow(self) -> bool:
        """Apply the length limits to what may be seen; False if what is staged has to be seen first."""
        if self.length_max < 0 and self.bytes_max < 0:
            return True
        if self.has_staged():
            return False
        self.heads.drop_overflow()
        return True

    def has_staged(self) -> bool:
        """Whether something was published that is not durable yet, and so cannot be seen."""
        return self.log.next_offset > self.subscription.end

    def is_waiting(self) -> bool:
        """Whether the head is being fetched, or its mark is being journalled."""
        return self.cursor.loading or self.marking

    def wait(self, callback: Callable[[], None]) -> None:
        """Call back once it may be tried again: what was fetched, marked or made durable."""
        self.waiting.append(callback)

    def may_deliver(self, offset: int) -> bool:
        """Whether the mark covers `offset`; if not, it is journalled ahead, and delivery goes on once that is durable."""
        if self.log.volatile:
            return True
        marked = self.log.marked_offset
        if offset >= marked:
            if not self.marking:
                self._mark_ahead(offset)
            return False
        if marked - offset < self.mark_step // 2 and self.marked_ahead < offset + self.mark_step // 2:
            self.marked_ahead = offset + self.mark_step
            self.store.mark(self.log, self.marked_ahead)
        return True

    def _mark_ahead(self, offset: int) -> None:
        self.marked_ahead = offset + self.mark_step
        self.store.mark(self.log, self.marked_ahead)
        self._go_on_when_durable()

    def _tell(self, offset: int) -> None:
        """Journal that `offset`, and what of its kind follows and may be taken, is delivered once more; delivering goes on once that is durable."""
        if self.counts is not None and not self.marking:
            room = 0
            for consumer in self.consumers[:1] if self.single_active else self.consumers:
                room += consumer.room(_SLICE_MAX)
            self.counts.tell(offset, max(room, 1))
            self._go_on_when_durable()

    def _go_on_when_durable(self) -> None:
        self.marking = True
        self.store.group().calls.append(self._marked)
        self.store.urgent()

    def _marked(self) -> None:
        self.marking = False
        self.hub.mark_dirty(self)

    def locate(self, offset: int) -> bool:
        """Make the cursor's entry the one that holds `offset`; False if it has to be fetched, or nothing is there any more."""
        found = self.cursor.locate(offset)
        if found == _GAP:
            self.subscription.drop(offset, self.cursor.gap_end - offset)
            self.discard_settled()
        elif found == _HERE and self.cursor.entry.flags & (_CONTROL | _TRANSACTIONAL) and self.is_passed_over(self.cursor.entry):
            self.subscription.drop(self.cursor.base, self.cursor.end - self.cursor.base)
            self.discard_settled()
            self.hub.mark_dirty(self)
            return False
        return found == _HERE

    def is_passed_over(self, entry: Entry) -> bool:
        """A transaction's marker, or an entry of an aborted one: not for consumers."""
        if entry.flags & _CONTROL:
            return True
        return self.transactions is not None and bool(self.transactions.is_aborted(entry.transaction_id))

    def _loaded(self) -> None:
        self.hub.mark_dirty(self)

    def body_bytes(self, first: int, count: int) -> int:
        """Sum of the body sizes of records of the cursor's entry."""
        return self.hub.codec(self.cursor.tag).body_bytes(self.cursor.data(), self.cursor.position_of(first), count)

    # ---- settling

    def settle(self, consumer: Consumer, first: int, count: int) -> int:
        """Accepted: gone for good. How many were leased to the consumer."""
        settled = self.subscription.settle(consumer.id, first, count)
        consumer.freed(settled)
        self.hub.settled_count += settled
        self.discard_settled()
        if self.subscription.ready_count > 0:
            self.hub.mark_dirty(self)
        return settled

    def release(self, consumer: Consumer, first: int, count: int, count_delivery: bool) -> int:
        """Back to its place, to be delivered again; how many. What was delivered too often is buried instead."""
        if self.delivery_limit >= 0 and count_delivery and not self.ended:
            released: int = self.heads.release_or_bury(consumer, first, count)
            return released
        return self.release_now(consumer, first, count, count_delivery)

    def release_now(self, consumer: Consumer, first: int, count: int, count_delivery: bool) -> int:
        """Back to its place, however often it was delivered; how many."""
        released = self.subscription.release(consumer.id, first, count, count_delivery)
        consumer.freed(released)
        if self.timed is not None:
            self.timed.returned(first, count)
        if self.bytes_max >= 0 and released == count:
            end = first + count
            while first < end and self.cursor.locate(first) == _HERE:
                stop = min(end, self.cursor.end)
                self.ready_bytes += self.body_bytes(first, stop - first)
                first = stop
        self.hub.mark_dirty(self)
        return released

    def settle_in(self, transactions: Transactions, transaction_id: int, consumer: Consumer, first: int, count: int) -> int:
        """Accepted in a transaction: gone with its commit, ready again with its abort. How many were leased to the consumer."""
        ranges = self.subscription.settle_in(transaction_id, consumer.id, first, count)
        settled = 0
        for low, high in ranges:
            settled += high - low
        if settled:
            consumer.freed(settled)
            transactions.of(self.log).settling(transaction_id, ranges)
            self.hub.mark_dirty(self)
        return settled

    def end_pending(self, transaction_id: int, committed: bool) -> None:
        """See LogOwner."""
        if self.ended:
            return
        ended = self.subscription.end_pending(transaction_id, committed)
        if self.timed is not None and not committed:
            self.timed.look_again()
        self.overdelivered = self.overdelivered or (self.delivery_limit >= 0 and not committed)
        if committed:
            self.hub.settled_count += ended
            self.discard_settled()
        self.hub.mark_dirty(self)

    def release_all(self, consumer: Consumer) -> None:
        """Everything that the consumer holds goes back, but for what is being buried."""
        held = list(self.subscription.leased_by(consumer.id))
        if consumer.burying and self.dead_letters is not None:
            held = self.dead_letters.without_pending(consumer, held)
        for first, end in held:
            self.release(consumer, first, end - first, True)

    def bury(self, consumer: Consumer | None, first: int, count: int, reason: str) -> None:
        """End records that are leased to `consumer` (None: to the broker itself) for a reason: dead-letter or drop them."""
        if consumer is None:
            self.burying += count
        if self.dead_letters is not None:
            self.dead_letters.add(consumer, first, count, reason)
            return
        self.end_buried(consumer, first, count)

    def end_buried(self, consumer: Consumer | None, first: int, count: int) -> None:
        """The records are gone for good: they were dropped, or published elsewhere in this same commit."""
        settled = self.subscription.settle(BROKER_ID if consumer is None else consumer.id, first, count)
        if consumer is None:
            self.burying -= count
        else:
            consumer.freed(settled)
            door: Any = consumer.attachment
            door.credit_returned(consumer)
        self.discard_settled()
        self.hub.mark_dirty(self)

    def take_over(self, consumer: Consumer | None, first: int, count: int) -> None:
        """Records that are buried, and that the consumer (None: the broker itself) holds, have somewhere to go: the broker holds them until they are there."""
        if consumer is None:
            self.burying -= count
        else:
            consumer.freed(self.subscription.move(consumer.id, BROKER_ID, first, count))
            door: Any = consumer.attachment
            door.credit_returned(consumer)
        self.hub.mark_dirty(self)

    def discard_settled(self) -> None:
        """Stage what the subscription has just settled as discarded from the log."""
        ranges = self.subscription.settled_ranges
        for first, end in ranges:
            self.store.discard(self.log, first, end)
        if self.timed is not None:
            self.timed.settled(ranges)
        if self.counts is not None:
            self.counts.settled(ranges)
        ranges.clear()

    def purge(self) -> int:
        """Drop every ready record (those leased stay); how many."""
        purged = self.subscription.purge()
        self.ready_bytes = 0
        self.discard_settled()
        return purged

    def expire_head(self) -> int:
        """See Heads.expire()."""
        return self.heads.expire()

    # ---- the end

    def forget(self) -> None:
        """The queue is deleted: so is what was kept of it beside its log."""
        if self.timed is not None:
            self.timed.drop()
        if self.counts is not None:
            self.counts.drop()

    def close(self, gone: NotDone | None = None) -> None:
        """The queue is deleted, or open elsewhere: no more work, and `gone` for whoever asks."""
        self.ended, self.gone = True, gone or Refused(Reason.NOT_FOUND, f"queue '{self.name}' is deleted")
        self.heads.close()
        self.heads = NO_HEADS  # what knows it back is let go of: it goes with the last who has it
        self.log.owner = None
        if self.timed is not None:
            self.timed.close(self.gone)
        self.cursor.close()
        if self.dead_letters is not None:
            self.dead_letters.close()
        waiting, self.waiting = self.waiting, []
        for callback in waiting:
            self.hub.scheduler.call_soon(callback)
