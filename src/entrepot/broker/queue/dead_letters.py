"""DeadLetters: what a queue drops is published again elsewhere, in one commit with its end here.

Work is done in slices of a few hundred records a tick. Until its turn a record stays leased, so a crash in between delivers it
again and loses nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from entrepot.broker.logs.cursor import GAP, LATER, Cursor
from entrepot.broker.logs.entry_codec import DeadLetter
from entrepot.broker.logs.hub import Hub
from entrepot.broker.logs.log_owner import LogOwner
from entrepot.broker.subscription.consumer import Consumer
from entrepot.model.entry import HAS_DELIVER_AT, HAS_EXPIRY, HAS_PRIORITY, TRANSIENT, Entry
from entrepot.model.errors import Unavailable
from entrepot.model.ranges import RangeSet
from entrepot.store.interface import Log

RECORDS_PER_TICK = 256
_OF_RECORDS = HAS_EXPIRY | HAS_PRIORITY | HAS_DELIVER_AT | TRANSIENT  # flags that go with a record elsewhere
RETRY_S = 1.0  # while appends are refused, or a target is not open here


class DeadLetters(LogOwner):
    """One queue's dead-lettering. The hub dispatches it as it does queues. end(holder, first, count): these are published elsewhere, and go."""

    def __init__(self, definition: Any, hub: Hub, log: Log, namespace: str, end: Callable[[Consumer | None, int, int], None]) -> None:
        self.dirty = False
        self._definition = definition
        self._end = end
        self._hub = hub
        self._namespace = namespace
        self._exchange: str = definition.policy.dead_letter_exchange
        self._routing_key: str | None = definition.policy.dead_letter_routing_key
        self._jobs: deque[tuple[Consumer | None, int, int, str]] = deque()  # (holder, first, count, reason)
        self._refused: deque[tuple[Entry, bytes]] = deque()
        self._cursor = Cursor(hub, log, self._loaded)
        self._closed = False
        self._retry: Any = None

    def add(self, consumer: Consumer | None, first: int, count: int, reason: str) -> None:
        """Dead-letter records that are leased to `consumer`, or to the broker itself."""
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
        budget = RECORDS_PER_TICK
        while self._refused and budget > 0 and not self._closed:
            entry, record = self._refused[0]
            assert entry.data is not None
            try:
                self._publish_record(entry.codec, entry.flags, entry.data, record, "maxlen")
            except Unavailable:
                self._try_later()
                return
            self._refused.popleft()
            budget -= 1
        while self._jobs and budget > 0 and not self._closed:
            consumer, first, count, reason = self._jobs[0]
            found = self._cursor.locate(first)
            if found == LATER:
                return
            if found == GAP:
                now = min(count, self._cursor.gap_end - first)  # nothing there to publish
            else:
                now = self._publish(first, min(count, budget, self._cursor.end - first), reason)
                if now == 0:
                    self._try_later()
                    return
            self._jobs.popleft()
            if now < count:
                self._jobs.appendleft((consumer, first + now, count - now, reason))
            if now == count and consumer is not None:
                consumer.burying -= 1
            self._end(consumer, first, now)
            budget -= now
        if (self._jobs or self._refused) and not self._closed:
            self._hub.mark_dirty(self)

    def publish_refused(self, entry: Entry, record: bytes) -> None:
        """Dead-letter a record that the queue has no room for (reject-publish-dlx): one that was never in its log."""
        self._refused.append((entry, record))
        self._hub.mark_dirty(self)

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
        """How many were: fewer than `count` where the next one's target is not open here."""
        cursor = self._cursor
        codec = self._hub.codec(cursor.tag)
        data = cursor.data()
        done = 0
        try:
            for record in codec.split(data, cursor.position_of(first), count):
                self._publish_record(cursor.tag, cursor.entry.flags, data, record, reason)
                done += 1
        except Unavailable:
            pass
        cursor.passed(first + done, -1)
        return done

    def _publish_record(self, tag: int, flags: int, data: bytes, record: bytes, reason: str) -> None:
        letter = DeadLetter(self._namespace, self._definition.name, reason, self._exchange, self._routing_key, self._hub.now_ms())
        again = self._hub.codec(tag).dead_letter(data, record, letter)
        if again is not None:
            address, packed = again
            self._hub.publish_dead(self._namespace, address, tag, flags & _OF_RECORDS, packed, self._definition.maker)
            self._hub.dead_lettered_count += 1
