"""Together: publishes and settlements of one stream that are done in one commit, or not at all (AMQP's transactions of one channel).

What goes to one owner is one call to it, and one commit there (owner/together.py): all of it or nothing. Where it goes to several, each is asked first
whether it would do its part, and then to do it; it is answered when the last part is durable. No commit spans two owners: one that refuses then all the
same, after another has done its part, leaves an outcome that is not known.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from entrepot.broker.calls.port import ACCEPT, DONE, RELEASE, Ask, Publish, Settle, fail, make_settle
from entrepot.broker.calls.questions import CheckTogether, Load
from entrepot.broker.calls.requests import CheckPublish, CommitTogether, Release
from entrepot.broker.catalogue.definitions import QueueDefinition
from entrepot.broker.front.door import Door
from entrepot.broker.front.gathered import Gathered
from entrepot.broker.front.parting import put_replies
from entrepot.broker.front.publisher import Path
from entrepot.broker.operations.operations import LATER, FurtherHandler, Operations, Outcome
from entrepot.broker.operations.parts import BrokerParts
from entrepot.broker.owners import Owner, Settlement, Stage
from entrepot.broker.subscription.consumer import Consumer
from entrepot.model.errors import NotDone, OutcomeUnknown, Reason, Refused

WORK_MAX = 6000  # of one commit, which cannot take turns: steps of net/turns.py
_BY_RUN = 3  # what a run of records costs that goes whole where its address leads, to up to eight queues
_BY_SETTLEMENT = 2  # a run of them
_LOOKS = 2  # of the router at a record, where that has to be: for what its targets have room for, and for what they get
_BY_RECORD = 12  # what a run of records costs that has to be looked at, or may be refused


class _Share:
    """What one owner is to do."""

    __slots__ = ("loads", "settlements", "stages")

    def __init__(self) -> None:
        self.stages: list[Stage] = []
        self.settlements: list[Settlement] = []
        self.loads: list[Load] = []


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
        _Commit(self._broker, self._operations, door, call).begin()
        return LATER, None

    def _release(self, door: Door, call: Ask, request: Release) -> Outcome:
        """See requests.Release."""
        for consumer_id, first, count in request.ranges:
            consumer = door.consumers.get(consumer_id)
            disposition = ACCEPT if consumer is None or consumer.source is None or consumer.source.is_topic else RELEASE
            settlement = make_settle(call.stream, consumer_id, first, count, disposition)
            settlement.attachment = door
            door.settle(settlement)
        return None, None


class _Commit:
    """One CommitTogether on its way."""

    def __init__(self, broker: BrokerParts, operations: Operations, door: Door, call: Ask) -> None:
        self._broker = broker
        self._operations = operations
        self._door = door
        self._call = call
        self._request: CommitTogether = call.request
        self._shares: dict[Owner, _Share] = {}
        self._replies: list[Callable[[], Any]] = []  # what goes to takers of replies, who have no owner
        self._consumers: list[Consumer] = []  # who will hold less
        self._read: list[Settle] = []  # of topics
        self._work = 0

    def begin(self) -> None:
        """Find out who does what of it, and have it done. Raises a NotDone, and nothing is done then."""
        try:
            self._share_out_publishes()
        finally:
            self._door.spent += self._work  # it cannot take turns: others have theirs before this connection does more
        self._share_out_settlements()
        if len(self._shares) < 2:
            self._do(None, [])
            return
        checking = Gathered(len(self._shares), self._do)
        for owner, share in list(self._shares.items()):
            owner.ask(CheckTogether(share.loads, bool(share.stages)), checking.put)

    # ---- who does what

    def _spend(self, steps: int) -> None:
        """It costs so much more. Refused, if that is too much."""
        self._work += steps
        if self._work > WORK_MAX:
            raise Refused(Reason.LIMIT, f"a transaction's messages, queues and acknowledgements cost more than the {WORK_MAX} steps of one: commit it sooner")

    def _share_out_publishes(self) -> None:
        """Raises Refused if any of them would be, or all of it costs too much."""
        broker = self._broker
        publishes = self._request.publishes
        if publishes and broker.refusing is not None:
            raise broker.refusing.with_traceback(None)
        self._work = _BY_SETTLEMENT * len(self._request.settlements)
        filling: dict[QueueDefinition, list[int]] = {}  # queues that refuse what is over their limits -> records and bytes of bodies that come
        for publish in publishes:
            path: Path = broker.path_for(self._door, publish.address)
            publish.attachment = self._door
            router = path.router
            self._spend(router.taken_steps())
            if path.plain and not path.choosy and not publish.scattered:
                self._spend(_work(path.log_count))
            else:
                for targets, count, body_bytes in broker.publisher.parting.loads(
                    path, publish, lambda router=router: self._spend(_LOOKS * router.taken_steps())
                ):
                    self._spend(_BY_RECORD + _work(len(targets)))
                    _add(filling, targets, count, body_bytes)
            self._share_out(path, publish)
            if publish.unroutable and publish.mandatory and self._request.all_routed:
                raise Refused(
                    Reason.NOT_FOUND, f"there is no queue '{publish.address[2 + publish.address[0] :].decode()}': nothing of the transaction was done"
                )
            router.taken_steps()  # of the second look: they are counted
        for queue, (count, body_bytes) in filling.items():
            self._share_of(broker.owners.owner(queue)).loads.append((queue.log_id, count, body_bytes))

    def _share_out(self, path: Path, publish: Publish) -> None:
        """To whom it goes: owners of what its address leads to, whole or in runs, and takers of replies."""
        publisher = self._broker.publisher
        if path.plain and not publish.scattered:
            publish.unroutable = not path.lanes
            for lane in path.lanes:
                self._share_of(lane.owner).stages.append((lane, b"", [], publish))
        elif path.to_reply and not publish.scattered:
            self._replies.append(partial(publisher.replies.answer, path.router, publish))
        else:
            for target in path.spread:
                path.whole_owner(target)  # one of whose partitions is on its way
            runs, replies = publisher.parting.by_owner(path, publish)
            for owner, of_owner in runs.items():
                self._share_of(owner).stages.append((None, publish.address, of_owner, publish))
            if replies:
                self._replies.append(partial(put_replies, publish, replies))

    def _share_out_settlements(self) -> None:
        for settlement in self._request.settlements:
            consumer = self._door.consumers.get(settlement.consumer_id)
            if consumer is None or consumer.source is None:  # of replies nothing is held
                continue
            if consumer.source.is_topic:  # which gives credit, and is in no commit
                if settlement.disposition != ACCEPT:
                    raise self._operations.not_for_streams(consumer.source, "basic.nack and basic.reject")
                self._read.append(settlement)
                continue
            owner = self._broker.owners.owner(consumer.source)  # what is kept until a queue is back is in no commit
            self._share_of(owner).settlements.append((consumer, settlement.first, settlement.count, settlement.disposition))
            self._consumers.append(consumer)

    def _share_of(self, owner: Owner) -> _Share:
        share = self._shares.get(owner)
        if share is None:
            share = self._shares[owner] = _Share()
        return share

    # ---- doing it

    def _do(self, error: NotDone | None, _: list[Any]) -> None:
        """All would do their part."""
        if error is not None:
            fail(self._call, error)
            return
        door = self._door
        if door.closed:
            return  # nobody waits for it, and what it has consumed is on its way back
        ended = self._end_of_one if len(self._shares) < 2 else Gathered(len(self._shares), self._end).put
        for owner, share in self._shares.items():
            owner.together(share.stages, share.settlements, share.loads, ended)
        for consumer in self._consumers:
            door.credit_returned(consumer)
        for settlement in self._read:
            settlement.attachment = door
            door.settle(settlement)
        if self._request.publishes:
            door.publishes = True
            self._broker.check_pressure()
        if not self._shares:
            self._broker.store.urgent()
            self._broker.store.group().calls.append(partial(ended, None, None))

    def _end_of_one(self, error: NotDone | None, _: Any) -> None:
        self._end(error, [])

    def _end(self, error: NotDone | None, done: list[Any]) -> None:
        """The last of them has answered: `done` of them have done their part, if there are several."""
        call, door = self._call, self._door
        if error is not None:
            fail(call, OutcomeUnknown(f"a part of the transaction was done, and another was not: {error}") if done else error)
            return
        publisher = self._broker.publisher
        for reply in self._replies:
            reply()
        for publish in self._request.publishes:
            publisher.published_count += publish.count
            publisher.published_bytes += publish.body_bytes
            if publish.mandatory and not door.closed:
                publish.outcome = DONE
                door.sink.completed(publish)
        call.outcome = DONE
        if not door.closed:
            door.sink.completed(call)


def _work(targets: int) -> int:
    """Of a publish to so many logs."""
    return _BY_RUN + max(0, targets - 1) // 8


def _add(filling: dict[QueueDefinition, list[int]], targets: list[Any], count: int, body_bytes: int) -> None:
    for target in targets:
        if isinstance(target, QueueDefinition) and target.policy.overflow != "drop-head":
            so_far = filling.setdefault(target, [0, 0])
            so_far[0] += count
            so_far[1] += body_bytes
