"""TimedOperations: what the requests of broker/calls/queue_requests.py do, and how calls find the queues whose leases are timed.

Each request returns (result, group), as operations.py says.
"""

from __future__ import annotations

import heapq
from dataclasses import fields
from functools import partial
from itertools import islice
from typing import Any

from entrepot.broker.calls import queue_requests as asked
from entrepot.broker.calls.lease_calls import EndLeases, Receive, Send
from entrepot.broker.calls.port import DONE, Ask, fail
from entrepot.broker.calls.queue_requests import QueueDescription, TimedPolicy
from entrepot.broker.catalogue.definitions import QueueDefinition
from entrepot.broker.catalogue.shards import CATALOGUE, check_open
from entrepot.broker.catalogue.stream import Ticket
from entrepot.broker.catalogue.timed_definition import TimedDefinition
from entrepot.broker.front.door import Door
from entrepot.broker.front.places import Place
from entrepot.broker.operations.operations import LATER, FurtherHandler, Outcome
from entrepot.broker.operations.parts import BrokerParts
from entrepot.broker.outbox.handover import HOME
from entrepot.broker.queue.queue import Queue
from entrepot.broker.timed.moves import MoveTasks
from entrepot.broker.timed.redrive import Elsewhere
from entrepot.broker.timed.sending import Sending
from entrepot.broker.timed.timed_queue import TimedQueue
from entrepot.broker.timed.waits import Waits
from entrepot.broker.users.authorization import Action, ResourceKind
from entrepot.model.errors import NotDone, Reason, Refused
from entrepot.model.names import vhost_of
from entrepot.store.interface import Group

PURGE_INTERVAL_MS = 60_000  # between two purges of a queue, as SQS
ACTIONS = (Action.READ, Action.WRITE, Action.CONFIGURE)


class TimedOperations:
    """The requests, over one broker."""

    def __init__(self, broker: BrokerParts) -> None:
        self._broker = broker
        self._waits = Waits(broker.hub, _wait_over)
        self.moves = MoveTasks(broker.entropy)

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

    def changed(self, definition: QueueDefinition) -> None:
        """What is said of a queue's timed leases has come to be, or is another: see LiveObjects."""
        if definition.runtime.gone is not None:
            return  # it is done so when its shard opens
        timed: TimedQueue | None = definition.runtime.timed
        if timed is None:
            self.timed_of(definition)
            return
        before = timed.definition
        assert definition.timed is not None
        timed.definition = definition.timed
        self._configure(definition)
        if before.access_policy != definition.timed.access_policy:
            timed.withdraw_all(None)  # whoever waits was let in by the policy before

    # ---- finding

    def place(self, door: Door, name: str) -> Place:
        """The queue of that name, as this door's principal may use it. Refused: NOT_FOUND, LOCKED."""
        definition = self._definition(door, name)
        authorizer = self._broker.authorizer
        may = partial(authorizer.may, door.principal)
        self.timed_of(definition)  # which makes it, where nobody has asked for it yet
        lane = self._broker.owners.owner(definition).timed(definition.log_id)
        return Place(lane, may(Action.READ, door.namespace, name), may(Action.WRITE, door.namespace, name), authorizer.version)

    def not_permitted(self, door: Door, call: Send | Receive | EndLeases, write: bool) -> None:
        """Say so, or that the queue's own policy is another than the one that did not allow it: raises Refused."""
        self._check_version(self._definition(door, call.queue), call)
        self._authorize(door, Action.WRITE if write else Action.READ, call.queue, False)

    def timed_of(self, definition: QueueDefinition) -> TimedQueue:
        """The side of a queue whose leases are timed; made, and kept with its definition, if there is none."""
        queue: Queue = definition.here()
        timed: TimedQueue | None = queue.timed
        if timed is None:
            if definition.timed is None:
                self._broker.decisions.change_timed(definition, self._default(definition))
                timed = queue.timed
                assert timed is not None  # by changed()
                return timed
            timed = TimedQueue(queue, definition.timed, self._waits, self._broker.entropy.octets(4), Finder(self, definition.namespace))
            timed.sending = Sending(timed, self._broker.owners.holder(timed.log).growing)
            queue.timed = timed
            timed.moves = self.moves
            self.moves.open(timed)
            self._configure(definition)
        return timed

    def found(self, namespace: str, name: str) -> QueueDefinition | None:
        """The queue of that name, unless it is one connection's own."""
        definition: QueueDefinition | None = self._broker.catalogue.namespace(namespace).queues.get(name)
        return None if definition is None or definition.exclusive_to is not None else definition

    def elsewhere(self, definition: QueueDefinition) -> Elsewhere:
        """Where a queue is, and what those have to know who send something there."""
        policy = (definition.timed or self._default(definition)).policy
        shard = self._broker.shards.shard("queue", definition.namespace, definition.name) if definition.persistent else HOME
        return Elsewhere((shard, definition.log_id), policy.groups, policy.dead_letter_queue)

    def _definition(self, door: Door, name: str) -> QueueDefinition:
        space = self._broker.catalogue.namespace(door.namespace)
        definition: QueueDefinition | None = space.queues.get(name)
        if definition is None:
            raise Refused(Reason.NOT_FOUND, f"no queue '{name}' in vhost '{vhost_of(door.namespace)}'")
        if definition.exclusive_to is not None and definition.exclusive_to != door.home:
            raise Refused(Reason.LOCKED, f"queue '{name}' in vhost '{vhost_of(door.namespace)}' is exclusive to another connection")
        return definition

    def _default(self, definition: QueueDefinition) -> TimedDefinition:
        """Of a queue that another protocol declared."""
        now_s = self._broker.clock.wall_ms() // 1000
        return TimedDefinition(TimedPolicy(retention_ms=definition.policy.message_ttl_ms or 0), created_s=now_s, modified_s=now_s)

    def _configure(self, definition: QueueDefinition) -> None:
        """Have the live queue do what its definition says."""
        timed: TimedQueue = definition.here().timed
        assert definition.timed is not None
        timed.configure()
        timed.sending.configure(definition.timed.policy)
        own = definition.policy.message_ttl_ms
        limits = [limit for limit in (own, definition.timed.policy.retention_ms or None) if limit is not None]
        timed.queue.message_ttl_ms = min(limits, default=-1)
        if limits:
            timed.queue.expirable = True

    # ---- requests

    def create(self, door: Door, call: Ask, request: asked.CreateTimedQueue) -> Outcome:
        """See CreateTimedQueue."""
        self._authorize(door, Action.CONFIGURE, request.name, False)  # a queue's own policy lets nobody make it
        catalogue = self._broker.catalogue
        if request.name in catalogue.namespace(door.namespace).queues:
            definition = self._definition(door, request.name)
            self._check_version(definition, request)
            self._compare(definition, request)
            return (self._description(definition, True), False), self._when_durable()
        self._check_policy(door, request.name, request.policy)
        check_open(self._broker.store, (CATALOGUE, self._broker.shards.shard("queue", door.namespace, request.name)))
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
        return (self._description(made, True), True), self._when_decided()

    def describe(self, door: Door, call: Ask, request: asked.DescribeQueue) -> Outcome:
        """See DescribeQueue."""
        definition = self._definition(door, request.name)
        self._check_version(definition, request)
        self._authorize_any(door, request.name, request.granted)
        return self._description(definition, request.counts), None

    def set_policy(self, door: Door, call: Ask, request: asked.SetQueuePolicy) -> Outcome:
        """See SetQueuePolicy."""
        definition = self._definition(door, request.name)
        self._check_version(definition, request)
        self._authorize(door, Action.CONFIGURE, request.name, request.granted)
        definition.here()  # nothing is changed of a queue that is on its way
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
        definition.here()
        self._broker.decisions.check_room(definition, changed)
        self._broker.decisions.change_timed(definition, changed)
        return self._description(definition, True), self._when_decided()

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
        definition.here()
        self._broker.decisions.remove_queue(definition)
        return None, self._when_decided()

    def purge(self, door: Door, call: Ask, request: asked.PurgeTimedQueue) -> Outcome:
        """See PurgeTimedQueue."""
        definition = self._definition(door, request.name)
        self._check_version(definition, request)
        self._authorize(door, Action.READ, request.name, request.granted)
        timed = self.timed_of(definition)
        now_ms = timed.now_ms()
        if timed.purged_ms and now_ms - timed.purged_ms < PURGE_INTERVAL_MS:
            raise Refused(Reason.IN_USE, f"queue '{request.name}' was purged less than {PURGE_INTERVAL_MS // 1000} seconds ago")
        timed.purged_ms = now_ms
        return self._purge(call, timed)

    def _purge(self, call: Ask, timed: TimedQueue) -> Outcome:
        if timed.queue.has_staged():
            timed.queue.wait(partial(self._purge_later, call, timed))
            return LATER, None
        timed.purge()
        return None, self._when_durable()

    def _purge_later(self, call: Ask, timed: TimedQueue) -> None:
        if timed.ended:
            fail(call, timed.queue.gone)
            return
        result, group = self._purge(call, timed)
        if result is not LATER and group is not None:
            call.outcome = DONE
            group.calls.append(call)

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
        timed = self.timed_of(source)
        if timed.move is not None:
            raise Refused(Reason.IN_USE, f"a task moves from queue '{request.source}' already")
        return self.moves.start(timed, request.destination, request.per_second_max), self._when_durable()

    def cancel_move(self, door: Door, call: Ask, request: asked.CancelMove) -> Outcome:
        """See CancelMove."""
        away: NotDone | None = None
        for definition in self._broker.catalogue.namespace(door.namespace).queues.values():
            if definition.runtime.gone is not None:
                away = definition.runtime.gone
                continue
            timed = definition.runtime.timed
            if timed is not None and timed.move is not None and timed.move.task.task_id == request.task_id:
                self._check_version(definition, request)
                self._authorize(door, Action.READ, definition.name, request.granted)
                return self.moves.cancel(timed), self._when_durable()
        if away is not None:  # the task may be its
            raise away.again()
        raise Refused(Reason.NOT_FOUND, "no such task runs")

    def list_moves(self, door: Door, call: Ask, request: asked.ListMoves) -> Outcome:
        """See ListMoves."""
        source = self._definition(door, request.source)
        self._check_version(source, request)
        self._authorize(door, Action.READ, request.source, request.granted)
        return self.moves.tasks(self.timed_of(source))[: request.limit], None

    # ---- shared

    def _description(self, definition: QueueDefinition, counts: bool) -> QueueDescription:
        timed = definition.timed or self._default(definition)
        visible = leased = delayed = 0
        queue: Queue = definition.here()
        if counts:
            visible = queue.subscription.ready_count
            if queue.timed is not None:
                delayed = queue.timed.delayed_count()
            leased = queue.subscription.leased_count - delayed
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
        if timed is not None and request.policy_version != (timed.policy_version if timed.access_policy else 0):
            raise self.timed_of(definition).policy_changed()

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


class Finder:
    """Finds queues of one namespace, for dead letters and moves."""

    def __init__(self, operations: TimedOperations, namespace: str) -> None:
        self._operations = operations
        self._namespace = namespace

    def __call__(self, name: str) -> TimedQueue | None:
        """The live queue of that name; None: there is none. Unavailable: it is not open here."""
        definition = self._operations.found(self._namespace, name)
        return None if definition is None else self._operations.timed_of(definition)

    def elsewhere(self, name: str) -> Elsewhere | None:
        """The queue of that name, wherever it is; None: there is none."""
        definition = self._operations.found(self._namespace, name)
        return None if definition is None else self._operations.elsewhere(definition)


def _wait_over(call: Any) -> None:
    call.attachment.timed_out(call)
