"""Claims: what a front says, to a new start of an owner, that its consumers held at the one before: they are given the same again.

What is not there any more, or was given to somebody else meanwhile (a claim that comes late), is passed over, and nobody is told. That what is claimed was
delivered is known: neither the claim nor its end is a further delivery.
"""

from __future__ import annotations

from typing import Any

from entrepot.broker.calls.port import ACCEPT, RELEASE, UNSENT
from entrepot.broker.owner import claiming
from entrepot.broker.queue.parts import leased_by
from entrepot.broker.queue.priority_queue import PriorityQueue
from entrepot.broker.queue.queue import Queue
from entrepot.broker.subscription.consumer import Consumer
from entrepot.cluster.owners import words
from entrepot.model.errors import CorruptData, NotDone
from entrepot.model.ranges import OFFSET_LIMIT, RangeSet

_ALL = 0x7FFFFFFF  # ranges


class Claims:
    """Of one ServedOwner. `count`: how many have come. `held`: what of a consumer's leases was claimed. `is_over`: there are no more claims."""

    def __init__(self, served: Any) -> None:
        self._served = served
        self.count = 0
        self.held: dict[Consumer, RangeSet] = {}
        self.is_over = False

    def claim(self, consumer: Consumer, said: words.Claim) -> None:
        """One that has entered. Raises CorruptData."""
        if self.is_over:
            raise CorruptData("a claim comes behind the last")
        self.count += 1
        if any(first >= end for first, end in said.ranges) or (said.positions is not None and len(said.positions) != len(said.log_ids)):
            raise CorruptData(f"a claim of {len(said.ranges)} ranges, of which some are none, or of partitions that are not read")
        if said.reads and said.consumer.is_getter:
            raise CorruptData(f"getter {said.consumer.number} is said to be sent what there is")
        if consumer.token is not None:
            consumer.active = said.reads
        if consumer.lent:
            consumer.borrowed(said.credit)
        try:
            held = self._claim(consumer, said)
        except NotDone:
            self._gone(consumer)
            return
        if held.count:
            self.held[consumer] = held
        if consumer.leased == 0 and not said.reads:
            self._door(consumer).forget(consumer)

    def _claim(self, consumer: Consumer, said: words.Claim) -> RangeSet:
        owner = self._served.owner
        if said.positions is None:
            return claiming.claim_of_queue(owner, consumer, owner.queue(said.log_ids[0]), said.ranges, said.was_given)
        self._served.check_one(said.log_ids)
        targets = [owner.target(log_id) for log_id in said.log_ids]
        if any(isinstance(target, Queue) for target in targets):
            raise CorruptData("a queue is claimed as if it were partitions")
        self._served.read_places(said.consumer, said.log_ids)
        claiming.claim_of_partitions(consumer, targets, said.positions, words.start_of(said.start), said.leased)
        return RangeSet()

    def _gone(self, consumer: Consumer) -> None:
        """What it read is not there, or is another's."""
        self._door(consumer).gone(consumer)

    def end(self, count: int) -> None:
        """There are no more. Raises CorruptData."""
        if self.is_over or count != self.count:
            raise CorruptData(f"{count} claims are said to be all, and {self.count} have come")
        self.is_over = True

    # ---- what becomes of it

    def settle(self, consumer: Consumer, first: int, count: int, disposition: int) -> None:
        """As Owner.settle(): where it is not accepted, only of what the consumer holds, for it may have had it at another start, and it is another's now."""
        settle = self._served.owner.settle
        claimed = self.held.get(consumer)
        for low, high in may_end(consumer, first, first + count, disposition):
            known = claimed.ranges(low, high, _ALL) if claimed is not None and disposition == RELEASE else []
            for one, end in known:
                self._release(consumer, one, end)
            for one, end in _without(low, high, known):
                settle(consumer, one, end - one, disposition)
        self.forget(consumer, first, count)

    def forget(self, consumer: Consumer, first: int, count: int) -> None:
        """What it has of these it was given here."""
        claimed = self.held.get(consumer)
        if claimed is not None:
            claimed.remove(first, first + count)
            if claimed.count == 0:
                del self.held[consumer]

    def released(self, consumer: Consumer) -> None:
        """It ends: what of it was claimed goes back as it was."""
        held = self.held.pop(consumer, None)
        if held is not None:
            for first, end in held.ranges(0, OFFSET_LIMIT, _ALL):
                self._release(consumer, first, end)

    def _release(self, consumer: Consumer, first: int, end: int) -> None:
        queue = consumer.reads
        self._served.owner.settle(consumer, first, end - first, UNSENT)
        if isinstance(queue, Queue) and queue.delivery_limit >= 0:
            queue.overdelivered = True

    @staticmethod
    def _door(consumer: Consumer) -> Any:
        return consumer.attachment


def may_end(consumer: Consumer, first: int, end: int, disposition: int) -> list[tuple[int, int]]:
    """What of [first, end) it may end so: what is not accepted is only what it holds of a queue."""
    queue = consumer.reads
    if disposition == ACCEPT or not isinstance(queue, Queue):
        return [(first, end)]
    if end - first == 1 and not isinstance(queue, PriorityQueue):
        return [(first, end)] if queue.subscription.is_leased_by(consumer.id, first) else []
    leased = leased_by(queue, consumer.id)
    return [(max(low, first), min(high, end)) for low, high in leased if low < end and high > first]


def _without(first: int, end: int, ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """[first, end) without these, which lie in it, ascending."""
    found = []
    for low, high in ranges:
        if first < low:
            found.append((first, low))
        first = high
    return [*found, (first, end)] if first < end else found
