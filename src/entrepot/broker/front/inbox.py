"""Inbox: the target owner's side of what comes from sources elsewhere. What is appended, and that it was taken, are one commit: nothing comes twice."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Any

from entrepot.broker.calls.port import make_publish
from entrepot.broker.catalogue.shards import HOME
from entrepot.broker.front.publisher import Publisher
from entrepot.broker.logs.hub import Hub
from entrepot.broker.outbox.handover import GONE, LETTER, NOT_NOW, OUT_OF_TURN, SUBJECT, TAKEN, Answer, Handover
from entrepot.broker.outbox.taken import Taken, taken_key
from entrepot.broker.queue.queue import Queue
from entrepot.broker.state import set_value
from entrepot.model.entry import make_entry
from entrepot.model.errors import NotDone, Reason, Refused
from entrepot.store.interface import Log, Store


class Inbox:
    """Of one broker's open shards. `take_timed`(queue, handover) appends to a queue with timed leases; `answer` sends an Answer back; who
    carries them between processes puts another in its place (cluster/handovers.py).

    `loading`: shards that the store has opened, and whose queues are not there yet.
    """

    def __init__(
        self,
        hub: Hub,
        publisher: Publisher,
        take_timed: Callable[[Queue, Handover], None],
        answer: Callable[[Answer], None],
        loading: AbstractSet[int],
    ) -> None:
        self._hub = hub
        self._publisher = publisher
        self._take_timed = take_timed
        self.answer = answer
        self._loading = loading
        self._at_home: dict[int, Taken] = {}  # of what is not durable: gone with it
        self._taken_count = 0
        self._gone_count = 0
        self._again_count = 0

    def is_open(self, shard: int) -> bool:
        """See Owners."""
        return shard not in self._store_of(shard).closed and shard not in self._loading

    def hand_over(self, handover: Handover) -> None:
        """See Owners."""
        if not self.is_open(handover.target):
            return  # whoever opens it is asked
        taken = self._taken(handover)
        if handover.sequence <= taken.last:
            status = taken.answer_to(handover.sequence)
            if status:
                self._again_count += 1
                self._answer_when_durable(handover, status)
            return
        status = OUT_OF_TURN
        if taken.may_take(handover.sequence, handover.first_waited):
            status = self._take(handover)
        if status in (NOT_NOW, OUT_OF_TURN):
            self._hub.scheduler.call_soon(self.answer, _answer(handover, status))
            return
        value = taken.take(handover.sequence, status)
        if handover.target != HOME:
            self._store_of(handover.target).fold(handover.target, taken_key(handover.source), set_value(value))
        self._answer_when_durable(handover, status)

    def statistics(self) -> dict[str, float]:
        """Figures for metrics."""
        return {"handovers_taken_total": self._taken_count, "handovers_gone_total": self._gone_count, "handovers_again_total": self._again_count}

    def _taken(self, handover: Handover) -> Taken:
        if handover.target == HOME:
            return self._at_home.setdefault(handover.source, Taken())
        return Taken(self._store_of(handover.target).get(handover.target, taken_key(handover.source)))

    def _take(self, handover: Handover) -> int:
        """Append it to all of its logs that are there; NOT_NOW: nothing was staged."""
        store = self._store_of(handover.target)
        if handover.kind == SUBJECT and handover.target == HOME and store.is_full():
            return GONE  # a topic's subject holds up nobody for what memory has no room for
        if store.is_full() or (self._hub.refusing and handover.target != HOME):
            return NOT_NOW
        logs = [log for log_id in handover.logs if (log := store.log(log_id)) is not None]
        if any(log.owner is None or self._is_sealed(log) for log in logs):  # neither there nor gone: it will be one of them
            return NOT_NOW
        if not logs:
            self._gone_count += 1
            return GONE
        store.whole = True  # there was room when it was looked
        try:
            if not handover.count:
                pass  # nothing of it was there any more
            elif handover.kind in (LETTER, SUBJECT):
                self._append(handover, logs)
            else:
                self._take_timed(logs[0].owner, handover)
        except NotDone as error:  # a queue that has no side for timed leases yet cannot be given one now, or never
            if not isinstance(error, Refused) or error.reason is not Reason.NOT_SUPPORTED:
                return NOT_NOW
            self._gone_count += 1
            return GONE
        finally:
            store.whole = False
        self._taken_count += 1
        return TAKEN

    def _store_of(self, shard: int) -> Store:
        """Where a shard is, or what is in none."""
        return self._publisher.volatile if shard == HOME else self._publisher.owners.here(shard).store

    def _is_sealed(self, log: Log) -> bool:
        """Whether it is about to be deleted, perhaps."""
        sealed: bool = self._publisher.owners.holder(log).seals.is_sealed(log)
        return sealed

    def _append(self, handover: Handover, logs: list[Log]) -> None:
        """As a publish would: queues may refuse what they have no room for."""
        publisher = self._publisher
        codec = self._hub.codec(handover.tag)
        queues: list[Any] = [log.owner for log in logs if isinstance(log.owner, Queue)]
        partitions = [log for log in logs if not isinstance(log.owner, Queue)]
        size = codec.body_bytes(handover.data, 0, handover.count)
        call = make_publish(0, handover.address, handover.tag, handover.version, handover.flags, handover.data, handover.count, size)
        prefix: bytes = codec.hiding_prefix(handover.address, handover.hidden) if handover.hidden else codec.prefix(handover.address)
        if queues:
            owner = publisher.owners.holder(queues[0].log)
            owner.admission.stage(call, prefix, queues, handover.data, handover.count, range(handover.count), [])
            owner.store.urgent()
        if partitions:
            store = self._store_of(handover.target)
            store.append(partitions, make_entry(handover.tag, handover.version, handover.flags, prefix, handover.data, handover.count))
            store.urgent()

    def _answer_when_durable(self, handover: Handover, status: int) -> None:
        """Behind what is staged, and what was staged before."""
        store = self._store_of(handover.target)
        store.group().calls.append(partial(self.answer, _answer(handover, status)))
        store.urgent()


def _answer(handover: Handover, status: int) -> Answer:
    return Answer(handover.source, handover.target, handover.sequence, status)
