"""DeliveryCounts: how often a queue's records were delivered, kept over a restart where that is held against a limit.

A record's first delivery is told by the log's mark, at no cost. Each further one is told before it begins: the number of the delivery is
staged, and the record handed out once that is durable. So whatever ends a delivery (a requeue, its consumer's death, the process's),
it has been counted, and nothing has to be written when it ends. What was told and is then taken by nobody is taken back. With a limit
of 0 the first delivery is told as well, as the mark, which lies ahead of what was delivered, must not bury what was never seen.
"""

from __future__ import annotations

from entrepot.broker.subscription.leases import Subscription
from entrepot.broker.subscription.persistence import SubscriptionState
from entrepot.model.ranges import RangeSet
from entrepot.store.interface import Log, Store

TOLD_MAX = 4096  # records of which it is told at once

_TOLD_MAX = TOLD_MAX
_END = 0xFFFFFFFFFFFFFFFF


class DeliveryCounts:
    """Of one queue over a log that is kept. Memory and state follow the records that were delivered and are not settled, in runs."""

    __slots__ = ("kept", "state", "store", "subscription", "told")

    def __init__(self, store: Store, log: Log, subscription: Subscription) -> None:
        self.subscription = subscription
        self.store = store
        self.state = SubscriptionState(store, log.shard, log.id)
        self.kept = RangeSet()  # of which something is kept
        self.told = RangeSet()  # whose next delivery is

    def load(self) -> int:
        """At opening, once it is known what is settled: what was kept; of how many records."""
        self.state.load_counts(self.subscription)
        for first, end in self.subscription.counted_over(0):
            self.kept.add(first, end)
        return self.kept.count

    def told_from(self, offset: int) -> int:
        """Of how many records from `offset` on the next delivery is told, and durable; ask only while nothing of it is under way."""
        return self.told.next_absent(offset) - offset

    def tell(self, offset: int, count: int) -> None:
        """Stage the next delivery of `offset`, which is ready, and of up to `count` - 1 that follow and were delivered as often."""
        sub = self.subscription
        stop = sub.same_count_until(offset, sub.ready_until(offset))
        count = min(count, _TOLD_MAX)
        if stop - offset > count:
            stop = offset + count
        self.state.stage_counts([(offset, stop, sub.deliveries_of(offset) + 1)])
        self.kept.add(offset, stop)
        self.told.add(offset, stop)

    def take_back(self) -> None:
        """What is still told goes to nobody now: see to it that it does not count as delivered."""
        if self.told.count == 0:
            return
        sub = self.subscription
        corrected: list[tuple[int, int, int]] = []
        for first, end in self.told.ranges(0, _END, 0x7FFFFFFF):
            while first < end:
                stop = sub.same_count_until(first, end)
                deliveries = sub.counted_deliveries(first)
                corrected.append((first, stop, deliveries))
                if deliveries == 0:
                    self.kept.remove(first, stop)
                first = stop
        self.told.clear()
        self.state.stage_counts(corrected)
        self.store.urgent()

    def taken(self, first: int, count: int) -> None:
        """These are being delivered: the next time has to be told again."""
        self.told.remove(first, first + count)

    def settled(self, ranges: list[tuple[int, int]]) -> None:
        """Nothing needs to be known of these any more."""
        if self.kept.count == 0:
            return
        forgotten: list[tuple[int, int, int]] = []
        for first, end in ranges:
            for low, high in self.kept.ranges(first, end, 0x7FFFFFFF):
                forgotten.append((low, high, 0))
                self.kept.remove(low, high)
                self.told.remove(low, high)
        if forgotten:
            self.state.stage_counts(forgotten)

    def drop(self) -> None:
        """The queue is deleted: so is what was kept."""
        self.state.drop()
