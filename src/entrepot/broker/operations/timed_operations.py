"""TimedOperations: what the requests of broker/calls/queue_requests.py do, and how calls find the queues whose leases are timed.

Each request returns (result, group), as operations.py says.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from itertools import islice
from typing import Any

from entrepot.broker.calls import queue_requests as asked
from entrepot.broker.calls.lease_calls import EndLeases, PolicyChanged, Receive, Send
from entrepot.broker.calls.port import DONE, Ask, fail
from entrepot.broker.calls.questions import AskQueues, CancelMove, FindMove, ListMoves, PurgeTimed, QueueFigures, StartMove
from entrepot.broker.calls.queue_requests import MoveTask, QueueDescription, TimedPolicy
from entrepot.broker.catalogue.definitions import QueueDefinition
from entrepot.broker.catalogue.shards import CATALOGUE, check_open
from entrepot.broker.catalogue.stream import Ticket
from entrepot.broker.catalogue.timed_definition import TimedDefinition, timed_by_default
from entrepot.broker.front.door import Door
from entrepot.broker.front.gathered import Gathered
from entrepot.broker.front.places import Place
from entrepot.broker.operations.operations import LATER, FurtherHandler, Outcome
from entrepot.broker.operations.parts import BrokerParts
from entrepot.broker.owners import Owner
from entrepot.broker.users.authorization import Action, ResourceKind
from entrepot.model.errors import NotDone, Reason, Refused, Unavailable
from entrepot.model.names import vhost_of
from entrepot.store.interface import Group

ACTIONS = (Action.READ, Action.WRITE, Action.CONFIGURE)

TicketOf = Callable[[], Ticket]


def _as_it_is(answer: Any) -> Any:
    return answer


class TimedOperations:
    """The requests, over one broker."""

    def __init__(self, broker: BrokerParts) -> None:
        self._broker = broker

    def handlers(self) -> dict[type, FurtherHandler]:
        """Who carries out what."""
        return {
            asked.CreateTimedQueue: self.create,
            asked.DescribeQueue: self.describe,
            asked.SetQueuePolicy: self.set_policy,
            asked.ListQueues: self.list_queues,
            asked.ListSources: self.list_sources,
            asked.DeleteTimedQueue: self.delete,
            asked.PurgeTimedQueue: self.purge,
            asked.StartMove: self.start_move,
            asked.CancelMove: self.cancel_move,
            asked.ListMoves: self.list_moves,
        }

    # ---- finding

    def place(self, door: Door, name: str) -> Place:
        """The queue of that name, as this door's principal may use it. Refused: NOT_FOUND, LOCKED."""
        definition = self._definition(door, name)
        authorizer = self._broker.authorizer
        may = partial(authorizer.may, door.principal)
        lane = self._timed_owner(definition).timed(definition.log_id)
        return Place(lane, may(Action.READ, door.namespace, name), may(Action.WRITE, door.namespace, name), authorizer.version)

    def not_permitted(self, door: Door, call: Send | Receive | EndLeases, write: bool) -> None:
        """Say so, or that the queue's own policy is another than the one that did not allow it: raises Refused."""
        self._check_version(self._definition(door, call.queue), call)
        self._authorize(door, Action.WRITE if write else Action.READ, call.queue, False)

    def _timed_owner(self, definition: QueueDefinition) -> Owner:
        """The owner of a queue, which knows it as one with timed leases from now on. Unavailable."""
        owner = self._broker.owners.owner(definition)
        if definition.timed is None:
            self._broker.sides.make_timed(definition)
        return owner

    def _definition(self, door: Door, name: str) -> QueueDefinition:
        self._broker.check_catalogue()
        space = self._broker.catalogue.namespace(door.namespace)
        definition: QueueDefinition | None = space.queues.get(name)
        if definition is None:
            raise Refused(Reason.NOT_FOUND, f"no queue '{name}' in vhost '{vhost_of(door.namespace)}'")
        if definition.exclusive_to is not None and definition.exclusive_to != door.home:
            raise Refused(Reason.LOCKED, f"queue '{name}' in vhost '{vhost_of(door.namespace)}' is exclusive to another connection")
        return definition

    def _default(self, definition: QueueDefinition) -> TimedDefinition:
        return timed_by_default(definition.policy, self._broker.clock.wall_ms() // 1000)

    # ---- requests

    def create(self, door: Door, call: Ask, request: asked.CreateTimedQueue) -> Outcome:
        """See CreateTimedQueue."""
        self._authorize(door, Action.CONFIGURE, request.name, False)  # a queue's own policy lets nobody make it
        catalogue = self._broker.catalogue
        if request.name in catalogue.namespace(door.namespace).queues:
            definition = self._definition(door, request.name)
            self._check_version(definition, request)
            self._compare(definition, request)
            return self._counted(call, definition, self._when_durable, lambda description: (description, False))
        self._check_policy(door, request.name, request.policy)
        check_open(self._broker.store, (CATALOGUE,))
        self._broker.owners.owner_of(self._broker.shards.shard("queue", door.namespace, request.name))
        now_s = self._broker.clock.wall_ms() // 1000
        timed = TimedDefinition(
            request.policy,
            dict(request.attributes),
            dict(request.tags),
            now_s,
            now_s,
            self._first_version() if request.access_policy else 0,
            request.access_policy,
        )
        made, _ = self._broker.decisions.declare_queue(
            door.namespace,
            request.name,
            durable=True,
            exclusive=False,
            auto_delete=False,
            arguments={},
            connection=door.home,
            timed=timed,
            maker=door.principal.name,
        )
        assert isinstance(made, QueueDefinition)
        return (self._description(made), True), self._when_decided()  # nothing is in it

    def describe(self, door: Door, call: Ask, request: asked.DescribeQueue) -> Outcome:
        """See DescribeQueue."""
        definition = self._definition(door, request.name)
        self._check_version(definition, request)
        self._authorize_any(door, request.name, request.granted)
        if request.counts:
            return self._counted(call, definition, None)
        self._broker.owners.owner(definition)  # of what is on its way nothing is said
        return self._description(definition), None

    def set_policy(self, door: Door, call: Ask, request: asked.SetQueuePolicy) -> Outcome:
        """See SetQueuePolicy."""
        definition = self._definition(door, request.name)
        self._check_version(definition, request)
        self._authorize(door, Action.CONFIGURE, request.name, request.granted)
        self._broker.owners.owner(definition)  # nothing is changed of a queue that is on its way
        was = definition.timed or self._default(definition)
        if request.expected is not None and request.expected != was.policy:
            raise Refused(Reason.EXISTS_DIFFERENT, f"queue '{request.name}' has been changed by somebody else: describe it and try again")
        policy = was.policy
        if request.policy is not None:
            policy = request.policy
            if (policy.dead_letter_queue, policy.groups) != (was.policy.dead_letter_queue, was.policy.groups):
                self._check_policy(door, request.name, policy)
            if policy.groups != was.policy.groups:
                raise Refused(Reason.INVALID, f"queue '{request.name}': whether it orders groups cannot be changed")
        version, access = was.policy_version, was.access_policy
        if request.access_policy is not None and request.access_policy != access:
            version, access = version + 1 if version else self._first_version(), request.access_policy
        changed = TimedDefinition(
            policy,
            dict(was.attributes if request.attributes is None else request.attributes),
            dict(was.tags if request.tags is None else request.tags),
            was.created_s,
            self._broker.clock.wall_ms() // 1000,
            version,
            access,
        )
        self._broker.decisions.check_room(definition, changed)
        self._broker.decisions.change_timed(definition, changed)
        return self._counted(call, definition, self._when_decided)

    def list_queues(self, door: Door, call: Ask, request: asked.ListQueues) -> Outcome:
        """See ListQueues."""
        may = self._broker.authorizer.may
        namespace = self._broker.catalogue.namespace(door.namespace)
        found = (
            name
            for name in namespace.queue_names(request.prefix, request.after)
            if namespace.queues[name].exclusive_to is None and any(may(door.principal, action, door.namespace, name) for action in ACTIONS)
        )
        names = list(islice(found, request.limit + 1))
        return (names[: request.limit], len(names) > request.limit), None

    def list_sources(self, door: Door, call: Ask, request: asked.ListSources) -> Outcome:
        """See ListSources."""
        self._check_version(self._definition(door, request.name), request)
        self._authorize_any(door, request.name, request.granted)
        queues = self._broker.catalogue.namespace(door.namespace).queues
        found = (
            name
            for name, definition in queues.items()
            if name > request.after and definition.timed is not None and definition.timed.policy.dead_letter_queue == request.name
        )
        names = heapq.nsmallest(request.limit + 1, found)
        return (names[: request.limit], len(names) > request.limit), None

    def delete(self, door: Door, call: Ask, request: asked.DeleteTimedQueue) -> Outcome:
        """See DeleteTimedQueue."""
        definition = self._definition(door, request.name)
        self._check_version(definition, request)
        self._authorize(door, Action.CONFIGURE, request.name, request.granted)
        self._broker.owners.owner(definition)
        self._broker.decisions.remove_queue(definition)
        return None, self._when_decided()

    def purge(self, door: Door, call: Ask, request: asked.PurgeTimedQueue) -> Outcome:
        """See PurgeTimedQueue."""
        definition = self._definition(door, request.name)
        self._check_version(definition, request)
        self._authorize(door, Action.READ, request.name, request.granted)
        self._timed_owner(definition).ask(PurgeTimed(definition.log_id), partial(self._answer, call, _as_it_is))
        return LATER, None

    # ---- moves

    def start_move(self, door: Door, call: Ask, request: asked.StartMove) -> Outcome:
        """See StartMove."""
        source = self._definition(door, request.source)
        self._check_version(source, request)
        self._authorize(door, Action.READ, request.source, request.granted)
        queues = self._broker.catalogue.namespace(door.namespace).queues
        homes = [name for name, one in queues.items() if one.timed is not None and one.timed.policy.dead_letter_queue == request.source]
        if not homes:
            raise Refused(Reason.INVALID, f"queue '{request.source}' is nobody's dead-letter queue")
        if request.destination:
            target = self._definition(door, request.destination)
            self._authorize(door, Action.WRITE, request.destination, False)
            if (target.timed or self._default(target)).policy.groups != (source.timed or self._default(source)).policy.groups:
                raise Refused(Reason.INVALID, f"queue '{request.destination}' must order groups if and only if queue '{request.source}' does")
        else:  # what is moved says itself where it came from: it may go to no queue that the caller may not write to
            for home in homes:
                self._authorize(door, Action.WRITE, home, False)
        question = StartMove(source.log_id, request.destination, request.per_second_max)
        self._timed_owner(source).ask(question, partial(self._answer, call, _task))
        return LATER, None

    def cancel_move(self, door: Door, call: Ask, request: asked.CancelMove) -> Outcome:
        """See CancelMove."""
        owners = self._broker.owners.everyone()
        finding = Gathered(len(owners), partial(self._found_move, door, call))
        for owner in owners:
            owner.ask(FindMove(request.task_id), finding.put)
        return LATER, None

    def _found_move(self, door: Door, call: Ask, error: NotDone | None, answers: list[Any]) -> None:
        """All owners have said whether they know the task."""
        request: asked.CancelMove = call.request
        queues = self._broker.catalogue.namespace(door.namespace).queues.values()
        try:
            found = [log_id for log_id in answers if log_id is not None]
            definition = next((one for one in queues if one.log_id in found), None) if found else None
            if definition is None:
                if error is not None:
                    raise error.again()
                if self._broker.store.closed or self._broker.owners.loading:
                    for one in queues:  # the task may be of one that is on its way
                        self._broker.owners.owner(one)
                raise Refused(Reason.NOT_FOUND, "no such task runs")
            self._check_version(definition, request)
            self._authorize(door, Action.READ, definition.name, request.granted)
            owner = self._broker.owners.owner(definition)
        except NotDone as why:
            fail(call, why)
            return
        owner.ask(CancelMove(definition.log_id, request.task_id), partial(self._answer, call, _task))

    def list_moves(self, door: Door, call: Ask, request: asked.ListMoves) -> Outcome:
        """See ListMoves."""
        source = self._definition(door, request.source)
        self._check_version(source, request)
        self._authorize(door, Action.READ, request.source, request.granted)
        question = ListMoves(source.log_id, request.limit)
        self._timed_owner(source).ask(question, partial(self._answer, call, _tasks))
        return LATER, None

    # ---- shared

    def _counted(self, call: Ask, definition: QueueDefinition, ticket: TicketOf | None, result: Callable[[QueueDescription], Any] = _as_it_is) -> Outcome:
        """Answer with what there is to know of a queue, and what its owner says is in it; with `ticket`. Unavailable."""
        owner = self._broker.owners.owner(definition)
        owner.ask(AskQueues([definition.log_id]), partial(self._describe, call, definition, ticket, result))
        return LATER, None

    def _describe(
        self,
        call: Ask,
        definition: QueueDefinition,
        ticket: TicketOf | None,
        result: Callable[[QueueDescription], Any],
        error: NotDone | None,
        answer: list[QueueFigures | None],
    ) -> None:
        if error is None and answer[0] is None:
            error = Unavailable(f"queue '{definition.name}' is on its way to another owner")
        if error is not None or answer[0] is None:
            self._answer(call, result, error, None)
            return
        visible, leased, delayed, *_ = answer[0]
        self._answer(call, result, None, self._description(definition, visible, leased, delayed), ticket)

    @staticmethod
    def _answer(call: Ask, result: Callable[[Any], Any], error: NotDone | None, answer: Any, ticket: TicketOf | None = None) -> None:
        """An owner has answered: so is the call, with `ticket`."""
        if error is not None:
            fail(call, error)
            return
        call.result = result(answer)
        if ticket is not None:
            ticket().calls.append(call)
            return
        call.outcome = DONE
        if not call.attachment.closed:
            call.attachment.sink.completed(call)

    def _description(self, definition: QueueDefinition, visible: int = 0, leased: int = 0, delayed: int = 0) -> QueueDescription:
        timed = definition.timed or self._default(definition)
        return QueueDescription(
            definition.name,
            definition.log_id,
            timed.policy,
            timed.attributes,
            timed.tags,
            timed.created_s,
            timed.modified_s,
            visible,
            leased,
            delayed,
            timed.policy_version,
            timed.access_policy,
        )

    def _compare(self, definition: QueueDefinition, request: asked.CreateTimedQueue) -> None:
        timed = definition.timed or self._default(definition)
        for one in fields(TimedPolicy):
            if one.name in request.given and getattr(timed.policy, one.name) != getattr(request.policy, one.name):
                raise Refused(Reason.EXISTS_DIFFERENT, f"queue '{request.name}' exists with another value of {one.name}")
        if request.access_policy and request.access_policy != timed.access_policy:
            raise Refused(Reason.EXISTS_DIFFERENT, f"queue '{request.name}' exists with another value of access_policy")

    def _check_policy(self, door: Door, name: str, policy: TimedPolicy) -> None:
        """Whether its dead-letter queue may be one."""
        target_name = policy.dead_letter_queue
        if target_name is None:
            return
        target = self._definition(door, target_name)
        self._authorize(door, Action.WRITE, target_name, False)
        timed = target.timed or self._default(target)
        if timed.policy.groups != policy.groups:
            raise Refused(Reason.INVALID, f"dead-letter queue '{target_name}' must order groups if and only if queue '{name}' does")
        allowed = timed.policy.sources_allowed
        if allowed is not None and name not in allowed:
            raise Refused(Reason.INVALID, f"queue '{target_name}' does not allow queue '{name}' to use it as a dead-letter queue")

    def _first_version(self) -> int:
        """Of a policy: not that of another queue of this name before, which somebody may remember."""
        version: int = 1 + self._broker.entropy.below(1 << 30)
        return version

    def _check_version(self, definition: QueueDefinition, request: asked.Checked | Send | Receive | EndLeases) -> None:
        """The queue's own policy is the one that the call was checked against."""
        timed = definition.timed
        version = 0 if timed is None or not timed.access_policy else timed.policy_version
        if timed is not None and request.policy_version != version:
            self._broker.owners.owner(definition)  # which would say so too
            raise PolicyChanged(f"the policy of queue '{definition.name}' has changed", version, timed.access_policy, definition.namespace)

    def _authorize(self, door: Door, action: Action, name: str, granted: bool) -> None:
        self._broker.authorizer.authorize(door.principal, action, door.namespace, ResourceKind.QUEUE, name, granted)

    def _authorize_any(self, door: Door, name: str, granted: bool) -> None:
        """Whoever may do anything with a queue may look at it."""
        may = self._broker.authorizer.may
        if not any(may(door.principal, action, door.namespace, name) for action in ACTIONS):
            self._authorize(door, Action.READ, name, granted)

    def _when_decided(self) -> Ticket:
        """Of a change of the catalogue."""
        return self._broker.decisions.stream.ticket()

    def _when_durable(self) -> Group:
        self._broker.store.urgent()
        return self._broker.store.group()


def _task(fields: tuple[Any, ...]) -> MoveTask:
    return MoveTask(*fields)


def _tasks(found: list[tuple[Any, ...]]) -> list[MoveTask]:
    return [MoveTask(*fields) for fields in found]
