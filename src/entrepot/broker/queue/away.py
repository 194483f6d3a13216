"""AwayQueue: stands where a queue stood while its shard is not open here: for those who read it, and for what they do with what they hold.

A consumer is not cancelled when its queue moves. It is sent nothing for a while, its old deliveries stay its own, and what it says of them waits until
the queue is open again. Everybody else is told *unavailable*: nothing was done, try again.
"""

from __future__ import annotations

from typing import Any

from entrepot.broker.calls.port import ACCEPT, REJECT, RELEASE, UNSENT
from entrepot.broker.logs.log_owner import LogOwner
from entrepot.broker.queue import parts
from entrepot.broker.queue.queue import Queue
from entrepot.broker.subscription.consumer import Consumer
from entrepot.model.errors import Unavailable
from entrepot.store.interface import Log

Kept = tuple[Consumer, int, int, int, str]  # consumer, first, count, disposition, reason where it is to be dead-lettered


class AwayQueue(LogOwner):
    """Of one queue that has no live one here. `definition.runtime` is this. `is_due`: it was about to be deleted, for nobody reads it."""

    def __init__(self, definition: Any, is_due: bool = False) -> None:
        self.dirty = False
        self.definition = definition
        self.consumers: list[Consumer] = []  # who is sent more when it is back, in their order
        self.gone = Unavailable(f"queue '{definition.name}' is on its way to another owner")
        self._holders: list[Consumer] = []  # all whose `owner` this is
        self._held: list[tuple[Consumer, int, int]] = []  # who holds what: first, end
        self._kept: list[Kept] = []  # what came to be said of it meanwhile, in order
        self._was_used = is_due

    def leave(self, queue: Queue, holders: list[Consumer]) -> None:
        """Take over from the live queue, which ends. `holders`: consumers, cancelled ones and Gets' too, that may hold something of it."""
        jobs = parts.dying(queue)
        gone = [holder for holder, *_ in jobs if holder is not None and holder not in holders]  # their connections have ended, what they rejected is on its way
        self._holders = [*holders, *dict.fromkeys(gone)]
        for consumer in self._holders:
            self._held += [(consumer, first, end) for first, end in parts.leased_by(queue, consumer.id)]
            consumer.reads = self
            consumer.burying = 0
        for holder, first, count, reason in jobs:
            if holder is not None:  # what the broker itself holds is ready again when it is back
                self._kept.append((holder, first, count, REJECT, reason))
        self.consumers = queue.consumers
        self._was_used |= bool(queue.consumers)
        queue.consumers = []
        queue.close(self.gone)

    def return_to(self, queue: Queue) -> None:
        """The live queue is there again: it goes on as if nothing had been."""
        for consumer in self._holders:
            consumer.reads = queue
        for consumer, first, end in self._held:
            held = parts.hold(queue, consumer.id, first, end - first)
            consumer.freed(end - first - held)
        for consumer, first, count, disposition, reason in self._kept:
            if disposition == ACCEPT:
                queue.settle(consumer, first, count)
            elif disposition in (RELEASE, UNSENT):
                for begin, end in parts.without_dying(queue, consumer, first, count):  # what was rejected before is on its way
                    queue.release(consumer, begin, end - begin, disposition == RELEASE)
            else:
                queue.bury(consumer, first, count, reason)
        for consumer in self.consumers:
            queue.add_consumer(consumer)
        for consumer in self._holders:
            door: Any = consumer.attachment
            door.credit_returned(consumer)
        if self._was_used and not self.consumers:
            queue.on_unused(queue)

    # ---- what a live queue would be asked

    def settle(self, consumer: Consumer, first: int, count: int, disposition: int) -> None:
        """Of what the consumer holds: kept until the queue is back."""
        self._kept.append((consumer, first, count, disposition, "rejected"))

    def release_all(self, consumer: Consumer) -> None:
        """The consumer's connection or channel has ended: what it holds, and has not settled before, goes back."""
        self._kept += [(holder, first, end - first, RELEASE, "") for holder, first, end in self._held if holder is consumer]

    def remove_consumer(self, consumer: Consumer) -> None:
        """It is sent no more."""
        consumer.active = False
        if consumer in self.consumers:
            self.consumers.remove(consumer)

    # ---- a log's owner, of no log

    def on_durable(self, log: Log) -> None:
        """What was staged before it left."""

    def dispatch(self) -> None:
        """Somebody has credit again."""
