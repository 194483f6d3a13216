"""Claims at an owner: who held what at its start before, and goes on reading there, is given the same again, before anything is dispatched."""

from __future__ import annotations

from typing import Any

from entrepot.broker.owner.local_owner import LocalOwner
from entrepot.broker.queue import parts
from entrepot.broker.queue.queue import Queue
from entrepot.broker.subscription.consumer import Consumer
from entrepot.broker.topic.partition import Partition
from entrepot.broker.topic.stream_start import Start
from entrepot.model.errors import Reason, Refused
from entrepot.model.names import vhost_of
from entrepot.model.ranges import RangeSet


def claim_of_queue(owner: LocalOwner, consumer: Consumer, queue: Queue, ranges: list[tuple[int, int]], was_given: bool) -> RangeSet:
    """Lease to it what is free of these; which that is. One that is active, and no getter, reads on. Refused: it may not, beside others."""
    if consumer.active and consumer.token is not None:
        others = queue.consumers
        if others and (others[0].exclusive or consumer.exclusive):  # who is exclusive is alone
            raise Refused(Reason.NOT_PERMITTED, f"queue '{queue.name}' in vhost '{vhost_of(queue.definition.namespace)}' in exclusive use")
        owner.unused.used(queue)
        queue.add_consumer(consumer)
        if queue.single_active and was_given and owner.hub.held:  # who claims too late is behind those who were given something meanwhile
            _prefer(queue, consumer)
    consumer.reads = queue
    for first, end in ranges:
        held = parts.hold(queue, consumer.id, first, end - first)
        consumer.leased += held  # its credit was spent when it was given them
        consumer.pool.leased += held
    claimed = RangeSet()
    for first, end in parts.leased_by(queue, consumer.id):
        claimed.add(first, end)
        if queue.timed is not None and queue.timed.scan is not None:
            for offset in range(first, end):
                queue.timed.taken(offset)
    return claimed


def _prefer(queue: Queue, consumer: Consumer) -> None:
    """It was the active one: before its equals."""
    others = queue.consumers
    others.remove(consumer)
    others.insert(next((place for place, other in enumerate(others) if other.priority <= consumer.priority), len(others)), consumer)


def claim_of_partitions(consumer: Consumer, partitions: list[Partition], positions: list[int], start: Start, leased: int) -> None:
    """It goes on in each behind what came of it, or begins at `start` where nothing did; `leased` of what it was sent are not settled."""
    topic: Any = partitions[0].topic
    consumer.leased += leased
    consumer.pool.leased += leased
    consumer.reads = topic
    if not consumer.active:
        return
    fresh = [partition for partition, position in zip(partitions, positions, strict=True) if position < 0]
    topic.add_consumer(consumer, fresh, start)
    for partition, position in zip(partitions, positions, strict=True):
        if position >= 0:
            topic.read_on(consumer, partition, position)
