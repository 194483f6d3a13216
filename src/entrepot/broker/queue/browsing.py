"""Browsing: a page of what is ready in a queue, as its readers would get it, without taking anything.

A place is an offset; in a queue with priorities that of its level, behind how far that is below the highest.

What is read ahead of consumers is read by a cursor of the page's own. What has expired, and what is a transaction's, is passed over. A page that has much to
pass over goes on in a later turn.
"""

from __future__ import annotations

from entrepot.broker.calls.questions import BrowsedPage, BrowsedSlice, BrowseQueue
from entrepot.broker.logs.cursor import GAP, HERE, Cursor
from entrepot.broker.owners import Done
from entrepot.broker.queue.parts import parts_of
from entrepot.broker.queue.priority_queue import LEVEL_SHIFT, PriorityQueue
from entrepot.broker.queue.queue import Queue
from entrepot.model.entry import CONTROL, HAS_EXPIRY, HAS_SENT_TIME, TRANSACTIONAL

PAGE_BYTES = 65_536  # of a page about so many, or one record
STEPS_MAX = 200  # slices, and runs that are passed over, in one turn

_END = 0xFFFFFFFFFFFFFFFF
_OFFSET_LIMIT = 1 << LEVEL_SHIFT


class Browsing:
    """One page: done(why not, or None, a BrowsedPage), at once or later."""

    def __init__(self, queue: Queue, question: BrowseQueue, done: Done) -> None:
        self._queue = queue
        self._codec = question.codec
        self._limit = question.limit
        self._left = question.limit
        self._done = done
        self._published = [(part.log, part.log.next_offset) for part in parts_of(queue)]
        self._slices: list[BrowsedSlice] = []
        self._bytes = 0
        rank, offset = divmod(max(question.place, 0), 1 << LEVEL_SHIFT)
        self._parts = [part for part in parts_of(queue) if _rank(queue, part) >= rank]  # that are to be read, the next one last
        if self._parts:
            self._part = self._parts.pop()
            self._at = offset if _rank(queue, self._part) == rank else 0
        else:  # a place in another queue, which had this one's name and more levels
            self._part, self._at = queue, _OFFSET_LIMIT
        self._cursor = Cursor(queue.hub, self._part.log, self._go_on)

    def begin(self) -> None:
        """Read, once what was published before is durable."""
        queue = self._queue
        if any(log.durable_offset < published for log, published in self._published) and not queue.ended:
            queue.wait(self.begin)
        else:
            self._go_on()

    def _go_on(self) -> None:
        queue = self._queue
        if queue.ended:
            self._cursor.close()
            self._done(queue.gone.again(), None)
            return
        for _ in range(STEPS_MAX):
            offset = self._part.subscription.next_ready(self._at)
            if offset == _END:
                if self._parts:
                    self._next_part()
                    continue
                self._end(-1)
                return
            if self._left == 0 or self._bytes >= PAGE_BYTES:
                self._end(_rank(queue, self._part) << LEVEL_SHIFT | offset)
                return
            found = self._cursor.locate(offset)
            if found == GAP:
                self._at = self._cursor.gap_end
            elif found != HERE or not self._take(offset):
                return
        queue.hub.scheduler.call_soon(self._go_on)

    def _next_part(self) -> None:
        self._cursor.close()
        self._part = self._parts.pop()
        self._at = 0
        self._cursor = Cursor(self._queue.hub, self._part.log, self._go_on)

    def _take(self, offset: int) -> bool:
        """What of the cursor's entry is ready from `offset` on; False: it is not ready to be read."""
        queue, cursor = self._part, self._cursor
        entry = cursor.entry
        if entry.flags & (CONTROL | TRANSACTIONAL) and queue.is_passed_over(entry):
            self._at = cursor.end
            return True
        expired = self._expired(offset)
        if expired:
            self._at = offset + expired
            return True
        if not cursor.is_ready(self._codec):
            return False
        data = cursor.data() if self._codec == cursor.tag else queue.hub.translated(cursor.stored, self._codec)
        if data is None:
            self._at = cursor.end
            return True
        sub = queue.subscription
        stop = min(cursor.end, sub.ready_until(offset), offset + self._left, offset + 1 + (PAGE_BYTES - self._bytes) * entry.count // len(data))
        if entry.flags & (HAS_EXPIRY | HAS_SENT_TIME):
            stop = offset + 1  # each has a time of its own
        stop = sub.same_count_until(offset, stop)
        codec = queue.hub.codec(self._codec)
        first = codec.skip(data, codec.start(data), offset - cursor.base)
        end = codec.skip(data, first, stop - offset)
        self._slices.append((codec.version, sub.deliveries_of(offset), stop - offset, data[first:end]))
        self._left -= stop - offset
        self._bytes += end - first
        self._at = stop
        return True

    def _expired(self, offset: int) -> int:
        """How many records from `offset` on have expired, though nobody has buried them yet."""
        queue, cursor = self._queue, self._cursor
        entry = cursor.entry
        now_ms: int = queue.store.shard_time(queue.log.shard).at(queue.hub.now_ms())
        age = now_ms - entry.append_time_ms
        if queue.message_ttl_ms >= 0:
            if age >= queue.message_ttl_ms:
                return cursor.end - offset
            if entry.flags & HAS_SENT_TIME:
                sent = queue.hub.codec(cursor.tag).sent_time_ms(cursor.data(), cursor.position_of(offset))
                if sent >= 0 and sent + queue.message_ttl_ms <= now_ms:
                    return 1
        if entry.flags & HAS_EXPIRY and age >= 0:
            return queue.hub.codec(cursor.tag).expired_count(cursor.data(), cursor.position_of(offset), cursor.end - offset, age)
        return 0

    def _end(self, place: int) -> None:
        self._cursor.close()
        page: BrowsedPage = self._slices, place, self._queue.ready()
        self._done(None, page)


def _rank(queue: Queue, part: Queue) -> int:
    """How far a part of the queue is below its highest level."""
    return queue.top - (part.origin >> LEVEL_SHIFT) if isinstance(queue, PriorityQueue) else 0
