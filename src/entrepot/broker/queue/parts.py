"""What holds of a queue as a whole, whether it has levels or not: who holds what of it, and what is to be dead-lettered.

Offsets are as consumers know them.
"""

from __future__ import annotations

from entrepot.broker.queue.priority_queue import PriorityQueue
from entrepot.broker.queue.queue import Queue
from entrepot.broker.subscription.consumer import Consumer


def parts_of(queue: Queue) -> list[Queue]:
    """Each with a log and a subscription of its own, by their offsets."""
    return queue.levels[::-1] if isinstance(queue, PriorityQueue) else [queue]


def leased_by(queue: Queue, consumer_id: int) -> list[tuple[int, int]]:
    """What it holds: [first, end), ascending."""
    return [(part.origin + first, part.origin + end) for part in parts_of(queue) for first, end in part.subscription.leased_by(consumer_id)]


def hold(queue: Queue, consumer_id: int, first: int, count: int) -> int:
    """Lease to it what of these is there, and free; how many."""
    part = _part_of(queue, first)
    return 0 if part is None else part.subscription.hold(consumer_id, first - part.origin, count)


def dying(queue: Queue) -> list[tuple[Consumer | None, int, int, str]]:
    """What is still to be dead-lettered: see DeadLetters.jobs()."""
    return [
        (holder, part.origin + first, count, reason)
        for part in parts_of(queue)
        if part.dead_letters is not None
        for holder, first, count, reason in part.dead_letters.jobs()
    ]


def without_dying(queue: Queue, consumer: Consumer, first: int, count: int) -> list[tuple[int, int]]:
    """Of these, [first, end) what is not being dead-lettered for the consumer."""
    part = _part_of(queue, first)
    if part is None or part.dead_letters is None:
        return [(first, first + count)]
    origin = part.origin
    return [(origin + low, origin + high) for low, high in part.dead_letters.without_pending(consumer, [(first - origin, first + count - origin)])]


def _part_of(queue: Queue, offset: int) -> Queue | None:
    return queue.part(offset) if isinstance(queue, PriorityQueue) else queue
