"""HeadDrops: what leaves a queue without being delivered: its head expired or over the length limits of a queue that drops, or it was delivered too often."""

from __future__ import annotations

from typing import Any

from entrepot.broker.queue.heads import BURY_MAX
from entrepot.broker.queue.queue import Queue
from entrepot.broker.subscription.consumer import BROKER_ID, Consumer
from entrepot.model.entry import HAS_EXPIRY, HAS_SENT_TIME

_END = 0xFFFFFFFFFFFFFFFF


class HeadDrops:
    """The Heads of one queue. Nothing here runs for a queue without limits and times to live."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._timer: Any = None
        self._due_ms = 0
        self._time = queue.store.shard_time(queue.log.shard)

    def expire(self) -> int:
        """Take the head's expired records and bury them; how many (0: the head lives, or has to be fetched first)."""
        queue = self._queue
        offset = queue.subscription.peek()
        if offset == _END or offset >= queue.fresh_from or queue.burying >= BURY_MAX or not queue.locate(offset):
            return 0
        cursor = queue.cursor
        entry = cursor.entry
        age = self._now_ms() - entry.append_time_ms
        count = 0
        if queue.message_ttl_ms >= 0 and age >= queue.message_ttl_ms:
            count = cursor.end - offset
        elif entry.flags & HAS_SENT_TIME and queue.message_ttl_ms >= 0 and self._sent_ms(offset) + queue.message_ttl_ms <= self._now_ms():
            count = 1
        elif entry.flags & HAS_EXPIRY and age >= 0:
            codec = queue.hub.codec(cursor.tag)
            count = codec.expired_count(cursor.data(), cursor.position_of(offset), cursor.end - offset, age)
        if count == 0:
            return 0
        return self._bury(min(count, BURY_MAX), "expired")

    def drop_overflow(self) -> None:
        """drop-head: the oldest ready records go while the queue is over a limit."""
        queue = self._queue
        if queue.rejects_when_full:
            return
        sub = queue.subscription
        while sub.ready_count > 0 and queue.burying < BURY_MAX:
            over = 0
            if queue.length_max >= 0 and sub.ready_count > queue.length_max:  # both unsigned in C: compared first
                over = sub.ready_count - queue.length_max
            if over == 0 and (queue.bytes_max < 0 or queue.ready_bytes <= queue.bytes_max):
                return
            if self.drop_first(over if over > 0 else 1) == 0:
                return

    def drop_first(self, count: int) -> int:
        """Up to `count` of the oldest ready records go; how many (0: the first has to be fetched)."""
        queue = self._queue
        return self._bury(min(count, BURY_MAX), "maxlen") if queue.locate(queue.subscription.peek()) else 0

    def bury_overdelivered(self) -> None:
        """End what is ready though it was delivered more often than it may be: its last delivery ended with the process, or in a transaction."""
        queue = self._queue
        queue.overdelivered = False
        sub = queue.subscription
        for first, end in sub.counted_over(queue.delivery_limit):
            position = sub.next_ready(first)
            while position < end:
                taken = sub.take_range(BROKER_ID, position, min(sub.ready_until(position), end) - position)
                assert taken, position
                queue.bury(None, position, taken, "delivery_limit")
                position = sub.next_ready(position + taken)

    def release_or_bury(self, consumer: Consumer, first: int, count: int) -> int:
        """Put back what the consumer holds and had delivered; how many. What was delivered too often by now is buried instead."""
        queue = self._queue
        end = first + count
        released = 0
        while first < end:
            stop = queue.subscription.same_count_until(first, end)
            if queue.subscription.deliveries_of(first) + 1 <= queue.delivery_limit:
                released += queue.release_now(consumer, first, stop - first, True)
            else:
                queue.bury(consumer, first, stop - first, "delivery_limit")
            first = stop
        return released

    def set_timer(self) -> None:
        """Wake up when the head expires."""
        queue = self._queue
        offset = queue.subscription.peek()
        if offset == _END or not queue.locate(offset):
            return
        cursor = queue.cursor
        entry = cursor.entry
        ttl = queue.message_ttl_ms
        if entry.flags & HAS_EXPIRY:
            own = queue.hub.codec(cursor.tag).time_to_live_ms(cursor.data(), cursor.position_of(offset))
            if own >= 0 and (ttl < 0 or own < ttl):
                ttl = own
        if ttl >= 0:
            due_ms = (self._sent_ms(offset) if entry.flags & HAS_SENT_TIME else entry.append_time_ms) + ttl
            if self._timer is not None:
                if self._due_ms <= due_ms:
                    return
                self._timer.cancel()
            self._due_ms = due_ms
            self._timer = queue.hub.scheduler.call_later(max(due_ms - self._now_ms(), 1) / 1000, self._due)

    def close(self) -> None:
        """No more work."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _now_ms(self) -> int:
        now: int = self._time.at(self._queue.hub.now_ms())
        return now

    def _sent_ms(self, offset: int) -> int:
        """When a record of the cursor's entry was first sent."""
        cursor = self._queue.cursor
        sent = self._queue.hub.codec(cursor.tag).sent_time_ms(cursor.data(), cursor.position_of(offset))
        return cursor.entry.append_time_ms if sent < 0 else sent

    def _bury(self, count: int, reason: str) -> int:
        """Take up to `count` records of the cursor's entry from the head, and bury them; how many."""
        queue = self._queue
        taken = queue.subscription.take(BROKER_ID, count, queue.cursor.end)
        if taken:
            first = queue.subscription.taken_first
            if queue.bytes_max >= 0:
                queue.ready_bytes -= queue.body_bytes(first, taken)
            if reason == "expired":
                queue.hub.expired_count += taken
            queue.bury(None, first, taken, reason)
        return taken

    def _due(self) -> None:
        self._timer = None
        if not self._queue.ended:
            self._queue.hub.mark_dirty(self._queue)
