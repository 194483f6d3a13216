"""KeptDrops: what leaves a queue that is kept for somebody who may be away for long: its oldest records, where more wait than may. They go nowhere.

What may have been delivered is spared, and not counted: whoever comes back goes on with it. That is what was put back; after a start the first SPARED_MAX of
what may have been given out before. Octets are those of the log: an estimate that costs no publish anything, and is right but for an entry or so.
"""

from __future__ import annotations

from entrepot.broker.dropped import Dropped
from entrepot.broker.queue.head_drops import HeadDrops
from entrepot.broker.queue.queue import Queue
from entrepot.broker.subscription.consumer import Consumer

SPARED_MAX = 1000
_END = 0xFFFFFFFFFFFFFFFF


class KeptDrops:
    """The Heads of one queue, whose policy has `kept_bytes` and `max_length`. All but drop_overflow() is as HeadDrops does it."""

    def __init__(self, queue: Queue, dropped: Dropped) -> None:
        self._queue = queue
        self._drops = HeadDrops(queue)
        self._dropped = dropped
        self._bytes_max: int = queue.definition.policy.kept_bytes
        self._is_told = False

    def expire(self) -> int:
        """See Heads."""
        return self._drops.expire()

    def drop_first(self, count: int) -> int:
        """See Heads."""
        return self._drops.drop_first(count)

    def bury_overdelivered(self) -> None:
        """See Heads."""
        self._drops.bury_overdelivered()

    def release_or_bury(self, consumer: Consumer, first: int, count: int) -> int:
        """See Heads."""
        return self._drops.release_or_bury(consumer, first, count)

    def set_timer(self) -> None:
        """See Heads."""
        self._drops.set_timer()

    def close(self) -> None:
        """See Heads."""
        self._drops.close()

    def drop_overflow(self) -> None:
        """See Heads."""
        queue = self._queue
        if queue.subscription.ready_count > queue.length_max or queue.log.bytes_alive > self._bytes_max:
            position, spared = self._behind_flights()
            over = self._over(queue.subscription.ready_count - spared)
            if over:
                self._drop(position, over)

    def _behind_flights(self) -> tuple[int, int]:
        """Where the first ready record is that was certainly never delivered, and how many ready ones lie before it."""
        sub = self._queue.subscription
        position, spared = sub.next_ready(0), 0
        while position < sub.cursor:
            stop = min(sub.ready_until(position), sub.cursor)
            spared += stop - position
            position = sub.next_ready(stop)
        while position < sub.redelivered_below and spared < SPARED_MAX:
            stop = min(sub.ready_until(position), sub.redelivered_below, position + SPARED_MAX - spared)
            spared += stop - position
            position = sub.next_ready(stop)
        return position, spared

    def _over(self, waiting: int) -> int:
        """How many of those that wait are to go."""
        queue = self._queue
        sub, log = queue.subscription, queue.log
        over = max(waiting - queue.length_max, 0)
        alive = sub.ready_count + sub.leased_count + log.next_offset - sub.end
        stored = log.bytes_alive * waiting // max(alive, 1)
        if stored > self._bytes_max:
            over = max(over, -(-waiting * (stored - self._bytes_max) // stored))
        return over

    def _drop(self, position: int, over: int) -> None:
        queue = self._queue
        sub = queue.subscription
        dropped = 0
        while dropped < over and position != _END:
            count = min(sub.ready_until(position) - position, over - dropped)
            dropped += sub.drop(position, count)
            position = sub.next_ready(position + count)
        queue.discard_settled()
        self._dropped.count += dropped
        if not self._is_told:
            self._is_told = True
            definition = queue.definition
            self._dropped.journal(
                f"queue '{definition.name}' in {definition.namespace} holds {queue.length_max} messages or {self._bytes_max} bytes that nobody takes: "
                "the oldest are dropped from now on"
            )
