"""UnusedQueues: what becomes of queues that nobody reads: deleted at once (auto-delete), or when nobody has used them for so long (x-expires)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from entrepot.broker.queue.queue import Queue
from entrepot.store.interface import Scheduler

AGAIN_S = 0.5  # until it is tried again to delete a queue, while the catalogue's decisions are made elsewhere


class UnusedQueues:
    """Of one broker. remove(queue) is called when one is to be deleted, may_remove(): whether that can be decided now."""

    def __init__(self, scheduler: Scheduler, may_remove: Callable[[], bool], remove: Callable[[Queue], None]) -> None:
        self._scheduler = scheduler
        self._may_remove = may_remove
        self._remove = remove
        self._expiring: dict[Queue, Any] = {}  # queues with x-expires and no consumer -> timer
        self._due: dict[Queue, Any] = {}  # auto-delete queues that go when the catalogue's decisions are made here again -> timer

    def unused(self, queue: Queue) -> None:
        """Its last consumer has gone."""
        if not queue.definition.auto_delete:
            self.touch(queue)
        elif self._may_remove():
            self._remove(queue)
        else:
            _stop(self._due, queue)
            self._due[queue] = self._scheduler.call_later(AGAIN_S, self._again, queue)

    def touch(self, queue: Queue) -> None:
        """The queue was used just now: its x-expires starts again."""
        expires_ms = queue.definition.policy.expires_ms
        if expires_ms is None:
            return
        _stop(self._expiring, queue)
        if not queue.consumers:
            self._expiring[queue] = self._scheduler.call_later(expires_ms / 1000, self._expired, queue)

    def used(self, queue: Queue) -> None:
        """Somebody reads it, or it has ended."""
        _stop(self._expiring, queue)
        _stop(self._due, queue)

    def stays(self, queue: Queue) -> None:
        """It was to be deleted, and that was refused: it is tried again when nobody has used it meanwhile."""
        if queue.definition.policy.expires_ms is not None:
            self.touch(queue)
        elif queue.definition.auto_delete and not queue.consumers:
            _stop(self._due, queue)
            self._due[queue] = self._scheduler.call_later(AGAIN_S, self._again, queue)

    def is_due(self, queue: Queue) -> bool:
        """Whether it is still to be deleted, for nobody reads it."""
        return queue in self._due

    def _again(self, queue: Queue) -> None:
        self._due.pop(queue, None)
        if not queue.consumers and not queue.ended:
            self.unused(queue)

    def _expired(self, queue: Queue) -> None:
        self._expiring.pop(queue, None)
        if not self._may_remove():
            self.touch(queue)
        elif not queue.consumers and not queue.ended:
            self._remove(queue)


def _stop(timers: dict[Queue, Any], queue: Queue) -> None:
    timer = timers.pop(queue, None)
    if timer is not None:
        timer.cancel()
