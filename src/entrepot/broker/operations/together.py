"""Together: publishes and settlements of one stream that are done in one commit, or not at all (AMQP's transactions of one channel).

Nothing that is staged can be taken back, so everything that may refuse is asked first, before the first of them is staged. What is staged in
one go is one commit of the store: after a crash all of it is there, or nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from entrepot.broker.calls.port import ACCEPT, RELEASE, Ask, Publish, make_settle
from entrepot.broker.calls.requests import CheckPublish, CommitTogether, Release
from entrepot.broker.catalogue.definitions import QueueDefinition
from entrepot.broker.front.door import Door
from entrepot.broker.front.publisher import Path
from entrepot.broker.front.replies import ReplyBox
from entrepot.broker.operations.operations import FurtherHandler, Operations, Outcome
from entrepot.broker.operations.parts import BrokerParts
from entrepot.broker.owners import Owner
from entrepot.model.errors import Reason, Refused

WORK_MAX = 9000  # of one commit, which cannot take turns: steps of net/turns.py
_BY_RUN = 3  # what a run of records costs that goes whole where its address leads, to up to eight queues
_BY_SETTLEMENT = 2  # a run of them
_BY_RECORD = 12  # what a run of records costs that has to be looked at, or may be refused


class Together:
    """The requests, over one broker."""

    def __init__(self, broker: BrokerParts, operations: Operations) -> None:
        self._broker = broker
        self._operations = operations

    def handlers(self) -> dict[type, FurtherHandler]:
        """For Operations."""
        return {CheckPublish: self._check_publish, CommitTogether: self._commit, Release: self._release}

    def _check_publish(self, door: Door, call: Ask, request: CheckPublish) -> Outcome:
        door.spent += self._broker.path_for(door, request.address).router.taken_steps()
        return None, None

    def _commit(self, door: Door, call: Ask, request: CommitTogether) -> Outcome:
        """See requests.CommitTogether."""
        if not request.publishes and not request.settlements:
            return None, None
        routed, work = self._check_publishes(door, request)
        self._check_settlements(door, request)
        broker = self._broker
        stores = (broker.store, broker.volatile)
        for store in stores:
            store.whole = True
        try:
            for path, publish in routed:  # nothing by door.submit(): it may refuse, or come later, in the midst of it
                broker.publisher.publish(path, publish)
            for settlement in request.settlements:
                settlement.attachment = door
                door.settle(settlement)
        finally:
            for store in stores:
                store.whole = False
        door.spent += work  # it cannot take turns: others have theirs before this connection does more
        broker.store.urgent()
        for _, publish in routed:
            if publish.mandatory:
                door.sink.completed(publish)
        if routed:
            door.publishes = True
            broker.check_pressure()
        return None, broker.store.group()

    def _release(self, door: Door, call: Ask, request: Release) -> Outcome:
        """See requests.Release."""
        for consumer_id, first, count in request.ranges:
            consumer = door.consumers.get(consumer_id)
            disposition = ACCEPT if consumer is None or consumer.source is None or consumer.source.is_topic else RELEASE
            settlement = make_settle(call.stream, consumer_id, first, count, disposition)
            settlement.attachment = door
            door.settle(settlement)
        return None, None

    def _check_settlements(self, door: Door, request: CommitTogether) -> None:
        known: set[Any] = set()
        for settlement in request.settlements:
            consumer = door.consumers.get(settlement.consumer_id)
            if consumer is None:
                continue
            if consumer.source is not None and consumer.source not in known and not consumer.source.is_topic:
                known.add(consumer.source)
                self._broker.owners.owner(consumer.source)  # what is kept until a queue is back is in no commit
            if settlement.disposition != ACCEPT and consumer.source is not None and consumer.source.is_topic:
                raise self._operations.not_for_streams(consumer.source, "basic.nack and basic.reject")

    def _check_publishes(self, door: Door, request: CommitTogether) -> tuple[list[tuple[Path, Publish]], int]:
        """The publishes, each with where it goes, and what all of it costs. Raises Refused if any of them would be."""
        broker = self._broker
        routed = []
        if request.publishes and broker.refusing is not None:
            raise broker.refusing.with_traceback(None)
        work = _BY_SETTLEMENT * len(request.settlements)
        filling: dict[QueueDefinition, list[int]] = {}  # queues that refuse what is over their limits -> records and bytes of bodies that come
        for publish in request.publishes:
            path: Path = broker.path_for(door, publish.address)
            publish.attachment = door
            routed.append((path, publish))
            self._check_room(lane.owner for lane in path.lanes)
            if path.plain and not path.choosy and not publish.scattered:
                work += _work(path.log_count)
            else:
                known: set[Any] = set()
                for targets, count, body_bytes in broker.publisher.parting.loads(path, publish):
                    work += _BY_RECORD + _work(len(targets))
                    _add(filling, targets, count, body_bytes)
                    known.update(target for target in targets if not isinstance(target, ReplyBox))
                self._check_room(path.whole_owner(target) for target in known)
            work += path.router.taken_steps()
            if work > WORK_MAX:
                break
        if work > WORK_MAX:
            raise Refused(Reason.LIMIT, f"a transaction's messages, queues and acknowledgements cost more than the {WORK_MAX} steps of one: commit it sooner")
        for queue, (count, body_bytes) in filling.items():
            if broker.owners.owner(queue).is_over(queue.log_id, count, body_bytes):
                raise Refused(Reason.FULL, f"queue '{queue.name}' refuses what is over its limit: nothing of the transaction was done")
        return routed, work

    @staticmethod
    def _check_room(owners: Iterable[Owner]) -> None:
        """Refused, where an owner of what a transaction leads to has none; Unavailable, from `owners`, where there is no owner."""
        if any(owner.is_full() for owner in owners):
            raise Refused(Reason.LIMIT, "there is no room for a transaction's messages now")


def _work(targets: int) -> int:
    """Of a publish to so many logs."""
    return _BY_RUN + max(0, targets - 1) // 8


def _add(filling: dict[QueueDefinition, list[int]], targets: list[Any], count: int, body_bytes: int) -> None:
    for target in targets:
        if isinstance(target, QueueDefinition) and target.policy.overflow != "drop-head":
            so_far = filling.setdefault(target, [0, 0])
            so_far[0] += count
            so_far[1] += body_bytes
