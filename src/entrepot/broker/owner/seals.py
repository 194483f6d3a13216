"""Seals: a queue or stream that is about to be deleted takes nothing more: what its counts were when that was decided they are still when it goes.

Sealed is by the ids of its logs what an owner has of it. It holds until the catalogue has removed it, or whoever sealed it says that it stays, or the shard
closes: then it is gone with what lives here. Who would publish there, or read, is told *unavailable* meanwhile; who would seal it waits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from entrepot.broker.calls.questions import Seal, Unseal
from entrepot.broker.owner.local_owner import LocalOwner
from entrepot.broker.owners import Done
from entrepot.broker.queue.queue import Queue
from entrepot.model.errors import NotDone, Reason, Refused, Unavailable
from entrepot.model.names import vhost_of
from entrepot.store.interface import Log


class Seals:
    """Of one owner. The queue of a session is not sealed while a connection has that.

    routes_changed(namespace): whoever has found the way to something there finds it anew.
    """

    def __init__(self, owner: LocalOwner, routes_changed: Callable[[str], None]) -> None:
        self._owner = owner
        self._routes_changed = routes_changed
        self._sealed: dict[Log, list[Callable[[], None]]] = {}  # with who waits to seal it

    def seal(self, question: Seal, done: Done) -> None:
        """See Seal."""
        owner = self._owner
        try:
            targets = [owner.target(log_id) for log_id in question.log_ids]
            first = next((target.log for target in targets if target.log in self._sealed), None)
            if first is not None:
                self._sealed[first].append(partial(self.seal, question, done))
                return
            if owner.answering.sessions.is_attached(targets[0].log):
                raise Refused(Reason.LOCKED, f"{_where(targets[0])} is a session's that a connection has")
            ready, consumers = _counts(targets)
            if question.if_unused and consumers:
                raise Refused(Reason.IN_USE, f"{_where(targets[0])} in use")
            if question.if_empty and ready:
                raise Refused(Reason.NOT_EMPTY, f"{_where(targets[0])} not empty")
        except NotDone as error:
            done(error, None)
            return
        self._sealed.update((target.log, []) for target in targets)
        self._count()
        done(None, (ready, consumers))
        if targets[0].log in self._sealed:  # it will be for a while
            self._routes_changed(_namespace(targets[0]))

    def unseal(self, question: Unseal) -> None:
        """See Unseal."""
        self._let_go([log for log_id in question.log_ids if (log := self._owner.store.log(log_id)) is not None])

    def gone(self, logs: Iterable[Log]) -> None:
        """What was over these logs has ended here."""
        if self._sealed:
            self._let_go(logs)

    def is_sealed(self, log: Log) -> bool:
        """Whether nothing may come there."""
        return log in self._sealed

    def check(self, logs: Iterable[Log]) -> None:
        """Unavailable, if nothing may come to one of them."""
        if any(log in self._sealed for log in logs):
            raise Unavailable("what it leads to is about to be deleted")

    def _let_go(self, logs: Iterable[Log]) -> None:
        waiting = [one for log in logs for one in self._sealed.pop(log, ())]
        self._count()
        for one in waiting:
            self._owner.hub.scheduler.call_soon(one)

    def _count(self) -> None:
        self._owner.sealed = len(self._sealed)


def _counts(targets: list[Any]) -> tuple[int, int]:
    """What is ready, and who reads."""
    ready = consumers = 0
    for target in targets:
        if isinstance(target, Queue):
            ready += target.depth()
            consumers += len(target.consumers)
        else:
            ready += target.log.next_offset - target.log.first_offset
            consumers = target.topic.consumer_count()
    return ready, consumers


def _where(target: Any) -> str:
    """How texts call it."""
    name = target.name if isinstance(target, Queue) else target.topic.name
    return f"queue '{name}' in vhost '{vhost_of(_namespace(target))}'"


def _namespace(target: Any) -> str:
    definition: Any = target.definition if isinstance(target, Queue) else target.topic.definition
    namespace: str = definition.namespace
    return namespace
