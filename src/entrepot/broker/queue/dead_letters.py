"""DeadLetters: what a queue drops is published again: in one commit with its end here where all that it goes to is open here, else by intents (outbox/).

What lies in memory alone, or was never in the queue, has no intents: it is sent directly to wherever it goes, and lost with the process that has it.

Work is done in slices of a few hundred records a tick. Until its turn a record stays leased, so a crash in between delivers it
again and loses nothing. With as many intents as there may be the rest waits, where it is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from entrepot.broker.logs.cursor import GAP, LATER, Cursor
from entrepot.broker.logs.entry_codec import DeadLetter
from entrepot.broker.logs.hub import Hub
from entrepot.broker.logs.log_owner import LogOwner
from entrepot.broker.outbox.handover import LETTER, Target
from entrepot.broker.outbox.intents import Intent, Packed
from entrepot.broker.subscription.consumer import Consumer
from entrepot.model.entry import HAS_DELIVER_AT, HAS_EXPIRY, HAS_PRIORITY, TRANSIENT, Entry
from entrepot.model.errors import NotDone, Unavailable
from entrepot.model.ranges import RangeSet
from entrepot.store.interface import Log

RECORDS_PER_TICK = 256
_OF_RECORDS = HAS_EXPIRY | HAS_PRIORITY | HAS_DELIVER_AT | TRANSIENT  # flags that go with a record elsewhere
REFUSED_MAX = 10_000  # records that were never in the queue, waiting to be dead-lettered; one more is dropped
REFUSED_BYTES_MAX = 16 << 20  # of them
RETRY_S = 1.0  # while appends are refused, or a target is not open here or has no room

Holders = Callable[[Consumer | None, int, int], None]


class DeadLetters(LogOwner):
    """One queue's dead-lettering. The hub dispatches it as it does queues. end(holder, first, count): these are published elsewhere, and go.

    take_over(holder, first, count): these are the broker's, until they are elsewhere.
    """

    def __init__(self, definition: Any, hub: Hub, log: Log, namespace: str, end: Holders, take_over: Holders) -> None:
        self.dirty = False
        self._definition = definition
        self._end = end
        self._take_over = take_over
        self._hub = hub
        self._log = log
        self._namespace = namespace
        self._exchange: str = definition.policy.dead_letter_exchange
        self._routing_key: str | None = definition.policy.dead_letter_routing_key
        self._jobs: deque[tuple[Consumer | None, int, int, str]] = deque()  # (holder, first, count, reason)
        self._refused: deque[tuple[Entry, bytes]] = deque()
        self._refused_bytes = 0
        self._cursor = Cursor(hub, log, self._loaded)
        self._closed = False
        self._retry: Any = None

    def add(self, consumer: Consumer | None, first: int, count: int, reason: str) -> None:
        """Dead-letter records that are leased to `consumer`, or to the broker itself."""
        if self._jobs:
            holder, begin, before, why = self._jobs[-1]
            if holder is consumer and begin + before == first and why == reason:  # rejected one by one, they go together
                self._jobs[-1] = (consumer, begin, before + count, reason)
                return
        if consumer is not None:
            consumer.burying += 1
        self._jobs.append((consumer, first, count, reason))
        self._hub.mark_dirty(self)

    def jobs(self) -> list[tuple[Consumer | None, int, int, str]]:
        """What is still to be dead-lettered: who holds it (None: the broker), first, count, and why."""
        return list(self._jobs)

    def without_pending(self, consumer: Consumer, held: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """The ranges [first, end) of `held` without what is being dead-lettered for this consumer."""
        left = RangeSet()
        for first, end in held:
            left.add(first, end)
        for holder, first, count, _ in self._jobs:
            if holder is consumer:
                left.remove(first, first + count)
        return left.ranges(0, 0xFFFFFFFFFFFFFFFF, 0x7FFFFFFF)

    def on_durable(self, log: Log) -> None:
        """Nothing: the queue is the log's owner."""

    def dispatch(self) -> None:
        """One slice of work."""
        if self._hub.refusing:
            self._try_later()
            return
        budget = self._publish_all_refused(RECORDS_PER_TICK)
        while self._jobs and budget > 0 and not self._closed:
            consumer, first, count, reason = self._jobs[0]
            found = self._cursor.locate(first)
            if found == LATER:
                return
            handed_over = False
            if found == GAP:
                now = min(count, self._cursor.gap_end - first)  # nothing there to publish
            else:
                limit = min(count, budget, self._cursor.end - first)
                now = self._publish(first, limit, reason)
                if now == 0:
                    handed_over = True
                    now = self._hand_over(consumer, first, limit, reason)
                    if now == 0:
                        self._try_later()
                        return
            self._jobs.popleft()
            if now < count:
                self._jobs.appendleft((consumer, first + now, count - now, reason))
            if now == count and consumer is not None:
                consumer.burying -= 1
            if not handed_over:
                self._end(consumer, first, now)
            budget -= now
        if self._jobs and not self._closed:
            self._hub.mark_dirty(self)

    def publish_refused(self, entry: Entry, record: bytes) -> None:
        """Dead-letter a record that the queue has no room for (reject-publish-dlx): one that was never in its log, as well as can be."""
        if len(self._refused) < REFUSED_MAX and self._refused_bytes < REFUSED_BYTES_MAX:
            self._refused.append((entry, record))
            self._refused_bytes += len(record)
            self._hub.mark_dirty(self)
        else:
            self._hub.dead_letters_dropped_count += 1

    def _publish_all_refused(self, budget: int) -> int:
        """As many as the budget allows; what is left of it. They do not go by intents, nor hold up others: they were never in a log that an intent names."""
        while self._refused and budget > 0 and not self._closed:
            entry, record = self._refused[0]
            assert entry.data is not None
            try:
                self._publish_record(entry.codec, entry.flags, entry.data, record)
            except NotDone:
                self._try_later()
                return budget
            self._refused.popleft()
            self._refused_bytes -= len(record)
            budget -= 1
        if self._refused and not self._closed:
            self._hub.mark_dirty(self)
        return budget

    def close(self) -> None:
        """No more work; what is left stays leased and goes with the queue, or is delivered again after a restart."""
        self._closed = True
        if self._retry is not None:
            self._retry.cancel()
        self._cursor.close()

    def _loaded(self) -> None:
        self._hub.mark_dirty(self)

    def _try_later(self) -> None:
        """Nothing can be appended now: the records stay where they are."""
        if self._retry is None:
            self._retry = self._hub.scheduler.call_later(RETRY_S, self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        if not self._closed:
            self._hub.mark_dirty(self)

    def _publish(self, first: int, count: int, reason: str) -> int:
        """How many were: fewer than `count` where the next one's target is not open here or has no room, or where it would overtake what is on its way."""
        cursor = self._cursor
        outbox = self._hub.outbox
        tag = cursor.tag
        data = cursor.data()
        flags = cursor.entry.flags & _OF_RECORDS
        codec = self._hub.codec(tag)
        letter = self._letter(reason)
        on_its_way = outbox.has_any(self._log)
        done = 0
        try:
            for record in codec.split(data, cursor.position_of(first), count):
                again = codec.dead_letter(data, record, letter)
                if again is not None:
                    address, packed = again
                    if on_its_way and outbox.is_outstanding(self._log, [shard for shard, _ in self._targets(address, tag, packed)]):
                        break
                    self._hub.publish_dead(self._namespace, address, tag, flags, packed, self._definition.maker)
                    self._hub.dead_lettered_count += 1
                done += 1
        except NotDone:
            pass
        cursor.passed(first + done, -1)
        return done

    def _publish_record(self, tag: int, flags: int, data: bytes, record: bytes) -> None:
        again = self._hub.codec(tag).dead_letter(data, record, self._letter("maxlen"))
        if again is None:
            return
        letter = (self._namespace, again[0], tag, flags & _OF_RECORDS, again[1], self._definition.maker)
        try:
            self._hub.publish_dead(*letter)
        except Unavailable:
            self._sender.send(*letter)
        self._hub.dead_lettered_count += 1

    @property
    def _sender(self) -> LetterSender:
        sender: LetterSender = self._hub.outbox.senders[LETTER]
        return sender

    def _send(self, consumer: Consumer | None, first: int, count: int, reason: str) -> int:
        """Of a queue in memory alone: send them directly, wherever they go, as many as can be now."""
        cursor = self._cursor
        tag, data = cursor.tag, cursor.data()
        codec = self._hub.codec(tag)
        letter = self._letter(reason)
        done = 0
        try:
            for record in codec.split(data, cursor.position_of(first), count):
                again = codec.dead_letter(data, record, letter)
                if again is not None:
                    self._sender.send(self._namespace, again[0], tag, cursor.entry.flags & _OF_RECORDS, again[1], self._definition.maker)
                    self._hub.dead_lettered_count += 1
                done += 1
        except NotDone:
            pass
        cursor.passed(first + done, -1)
        if done:
            self._end(consumer, first, done)
        return done

    def _hand_over(self, consumer: Consumer | None, first: int, count: int, reason: str) -> int:
        """Stage an intent for the first record, and for those behind it that go to the same in the same words; of how many (0: there may be none now)."""
        outbox = self._hub.outbox
        if self._log.volatile:
            return self._send(consumer, first, count, reason)
        if not outbox.has_room(self._log):
            return 0
        cursor = self._cursor
        data = cursor.data()
        codec = self._hub.codec(cursor.tag)
        letter = self._letter(reason)
        to: tuple[tuple[Target, ...], bytes, bytes] | None = None
        run = 0
        for record in codec.split(data, cursor.position_of(first), count):
            again = codec.dead_letter(data, record, letter)
            if again is None:
                break
            address, packed = again
            hidden = codec.without_hidden_keys(packed)[1] if codec.further_keys(packed, 0) else b""
            other = self._targets(address, cursor.tag, packed), address, hidden
            if not other[0] and run == 0:  # what is not open here is in a circle
                self._end(consumer, first, 1)
                return 1
            if not other[0] or (to is not None and other != to):
                break
            to = other
            run += 1
        if to is not None:
            outbox.stage(self._log.owner, LETTER, first, run, to[0], reason=reason)
            self._sender.routes.next_turn()
            self._take_over(consumer, first, run)
        cursor.passed(first + run, -1)
        return run

    def _letter(self, reason: str) -> DeadLetter:
        return DeadLetter(self._namespace, self._definition.name, reason, self._exchange, self._routing_key, self._hub.now_ms())

    def _targets(self, address: bytes, tag: int, record: bytes) -> tuple[Target, ...]:
        return self._sender.routes.targets(self._namespace, address, tag, record, self._definition.maker)

    def pack(self, cursor: Cursor, first: int, count: int, reason: str) -> Packed:
        """See Sender.pack: records of an intent, which go in the same words."""
        data = cursor.data()
        codec = self._hub.codec(cursor.tag)
        letter = self._letter(reason)
        address = hidden = b""
        records = []
        for record in codec.split(data, cursor.position_of(first), count):
            again = codec.dead_letter(data, record, letter)
            if again is not None:
                address, packed = again
                if codec.further_keys(packed, 0):
                    packed, hidden = codec.without_hidden_keys(packed)
                records.append(packed)
        return Packed(address, hidden, cursor.entry.flags & _OF_RECORDS, b"".join(records), len(records))


class Routes(Protocol):
    """Where dead letters go: see DeadRoutes, for this and the other."""

    def send(self, namespace: str, address: bytes, tag: int, flags: int, record: bytes, maker: str = "") -> None:
        """Send one directly, wherever that is."""

    def targets(self, namespace: str, address: bytes, tag: int, record: bytes, maker: str) -> tuple[Target, ...]:
        """Where one would go."""

    def next_turn(self) -> None:
        """What has no key goes to the next partition of a topic from now on."""


class LetterSender:
    """The outbox's Sender of dead letters."""

    def __init__(self, hub: Hub, routes: Routes) -> None:
        self._hub = hub
        self.routes = routes
        self.send = routes.send

    def pack(self, queue: Any, cursor: Cursor, first: int, count: int, intent: Intent) -> Packed:
        """See Sender."""
        packed: Packed = queue.dead_letters.pack(cursor, first, count, intent.reason)
        return packed

    def ended(self, queue: Any, intent: Intent, taken: bool) -> None:
        """See Sender."""
        self._hub.mark_dirty(queue.dead_letters)  # there is room for more
