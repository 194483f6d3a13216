"""Operations: what the requests of broker/calls/requests.py do. One method a request; HANDLERS is the table.

Each returns (result, group): the call completes with that group's commit, or at once where group is None. LATER means that the
operation completes the call itself.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from entrepot.broker.calls import requests
from entrepot.broker.calls.port import DONE, Ask, fail
from entrepot.broker.calls.questions import BrowsedPage, BrowseQueue, FindReplies
from entrepot.broker.catalogue.namespace import SUBJECT_EXCHANGE, SYSTEM_EXCHANGES
from entrepot.broker.catalogue.queue_arguments import STREAM, QueuePolicy
from entrepot.broker.catalogue.quotas import CONSUMERS
from entrepot.broker.catalogue.routing import REPLY_PREFIX
from entrepot.broker.catalogue.stream import Ticket
from entrepot.broker.front.door import CONSUMER, Door
from entrepot.broker.front.spread import Spread
from entrepot.broker.groups.coordinator import HANDLERS as GROUP_HANDLERS
from entrepot.broker.operations.counting import Counting
from entrepot.broker.operations.deleting import Deleting
from entrepot.broker.operations.live_objects import LiveObjects
from entrepot.broker.operations.parts import BrokerParts
from entrepot.broker.operations.steps import QUEUE_STEPS
from entrepot.broker.operations.thinning import THINNED_AT_ONCE, is_thick, thin_out
from entrepot.broker.subscription.consumer import Consumer, Pool, make_consumer
from entrepot.broker.topic.stream_start import parse_places
from entrepot.broker.users.authorization import Action, ResourceKind
from entrepot.model.errors import NotDone, Reason, Refused
from entrepot.model.names import vhost_of
from entrepot.store.interface import Group

GETTERS_MAX = 64  # queues that a connection gets from one by one, before those that hold nothing are forgotten

LATER = object()
"""The operation completes its call itself."""

Outcome = tuple[Any, Ticket | None]
FurtherHandler = Callable[[Door, Ask, Any], Outcome]


class Operations:
    """The requests, over one broker."""

    def __init__(self, broker: BrokerParts, live: LiveObjects) -> None:
        self._broker = broker
        self._live = live
        self._unused = live.unused
        self._further: dict[type, FurtherHandler] = {}
        self.on_decides: Callable[[], None]  # set with what tidies up then
        self._left: list[Door] = []  # connections that have ended, and whose exclusive queues are still to go
        live.consumer_gone = _gone

    def perform(self, door: Door, call: Ask) -> Outcome:
        """Carry out one request. Raises Refused."""
        handler = HANDLERS.get(type(call.request))
        if handler is not None:
            return handler(self, door, call, call.request)
        return self._further[type(call.request)](door, call, call.request)

    def add_handlers(self, handlers: dict[type, FurtherHandler]) -> None:
        """Requests that others carry out."""
        self._further.update(handlers)

    # ---- life

    def detach(self, door: Door) -> None:
        """A connection has ended: cancel, release, delete its exclusive queues."""
        for consumer in list(door.consumers.values()):
            self.end_consumer(door, consumer)
        self._remove_exclusive(door)

    def _remove_exclusive(self, door: Door) -> None:
        broker = self._broker
        if broker.decider is not None and broker.decider.is_known:
            broker.decider.ended(door)
            return
        definitions = broker.catalogue.exclusive_queues(door.home)
        if definitions and not broker.decisions.stream.decides:  # exchanges that are kept may go with them
            self._left.append(door)
            return
        for definition in definitions:
            broker.decisions.remove_queue(definition)

    def decide_again(self) -> None:
        """The catalogue is decided here again, or somebody is known who does: what had to wait for it is done."""
        left, self._left = self._left, []
        for door in left:
            self._remove_exclusive(door)
        self.on_decides()

    def statistics(self) -> dict[str, float]:
        """Figures for metrics."""
        kept = self._live.last_values
        return {
            "queues": self._live.queue_count,
            "consumers": self._broker.catalogue.quotas.used(CONSUMERS),
            "retained": sum(values.count for values in kept),
            "retained_bytes": sum(values.size_bytes for values in kept),
        }

    # ---- queues

    def declare_queue(self, door: Door, call: Ask, request: requests.DeclareQueue) -> Outcome:
        """See requests.DeclareQueue."""
        broker = self._broker
        if request.name.startswith(REPLY_PREFIX):
            return self._find_replies(door, call, request.name)
        if not request.passive and request.name:
            self._authorize(door, Action.CONFIGURE, ResourceKind.QUEUE, request.name)
        if (broker.store.closed or broker.owners.loading) and request.durable and not request.exclusive and not request.passive and request.name:
            self._check_open(door, request.arguments.get("x-queue-type"), request.name)
        definition, created = broker.decisions.declare_queue(
            door.namespace,
            request.name,
            durable=request.durable,
            exclusive=request.exclusive,
            auto_delete=request.auto_delete,
            arguments=request.arguments,
            connection=door.home,
            passive=request.passive,
            maker=door.principal.name,
            check=partial(self._check_new, door, request),
            made_up=request.made_up,
            is_own=request.is_own,
        )
        if created:
            door.spent += QUEUE_STEPS
        staged = None if request.passive else self._when_decided(created and definition.persistent)
        if created:  # nothing is in it
            return (definition.name, 0, 0), None if staged is None or staged.durable else staged
        Counting(call, definition.name, staged).begin(broker.owners.by_owner(definition))
        return LATER, None

    def _find_replies(self, door: Door, call: Ask, name: str) -> Outcome:
        """A name of replies is declared: whether somebody waits for what is sent to it, here or in the process that it says."""
        replies = self._broker.replies
        nobody = Refused(Reason.NOT_FOUND, f"no queue '{name}' in vhost '{vhost_of(door.namespace)}'")
        if name in self._broker.catalogue.namespace(door.namespace).router.replies:
            return (name, 0, 1), None
        home = replies.home(name)
        if home is None:
            raise nobody

        def found(error: NotDone | None, is_there: Any) -> None:
            if error is not None or not is_there:
                fail(call, error or nobody)
                return
            call.result = (name, 0, 1)
            call.outcome = DONE
            if not door.closed:
                door.sink.completed(call)

        home.ask(FindReplies(door.namespace, name.encode("utf-8", "surrogateescape")), found)
        return LATER, None

    def _check_new(self, door: Door, request: requests.DeclareQueue, name: str, policy: QueuePolicy) -> None:
        """Whether the queue that is about to be made may be; `name` was made up where none was asked for. Raises Refused, Unavailable."""
        if not request.name:
            self._authorize(door, Action.CONFIGURE, ResourceKind.QUEUE, name)
            if request.durable and not request.exclusive:
                self._check_open(door, policy.queue_type, name)
        self._refuse_last_value(door, policy, name)
        exchange = policy.dead_letter_exchange
        if exchange is not None:
            self._authorize(door, Action.READ, ResourceKind.QUEUE, name)
            self._authorize(door, Action.WRITE, ResourceKind.EXCHANGE, exchange)

    def _check_open(self, door: Door, queue_type: object, name: str) -> None:
        """Unavailable where the shard of a queue, or stream, is not open here."""
        shard = self._broker.shards.shard("topic" if queue_type == STREAM else "queue", door.namespace, name)
        self._broker.owners.owner_of(shard)

    def delete_queue(self, door: Door, call: Ask, request: requests.DeleteQueue) -> Outcome:
        """See requests.DeleteQueue."""
        catalogue = self._broker.catalogue
        self._authorize(door, Action.CONFIGURE, ResourceKind.QUEUE, request.name)
        try:
            definition = catalogue.find_queue(door.namespace, request.name, door.home)
        except Refused as refused:
            if refused.reason is Reason.NOT_FOUND:
                return 0, self._when_decided(False)  # as RabbitMQ: deleting what is not there succeeds
            raise
        self._refuse_last_value(door, definition.policy, request.name)
        if is_thick(self._broker, definition) and not request.if_unused and not request.if_empty:
            thin_out(self._broker, door, call, definition)
            return LATER, None
        Deleting(self._broker, door, call, definition).begin()
        return LATER, None

    def purge_queue(self, door: Door, call: Ask, request: requests.PurgeQueue) -> Outcome:
        """See requests.PurgeQueue."""
        self._authorize(door, Action.READ, ResourceKind.QUEUE, request.name)
        definition = self._queue(door, request.name, "queue.purge")
        self._broker.owners.owner(definition).purge(definition.log_id, call)
        return LATER, None

    @staticmethod
    def _complete(call: Ask, group: Ticket | None) -> None:
        """A call that was LATER has its result: it is complete now, or with the commit of its effect."""
        if group is None:
            call.outcome = DONE
            call.attachment.sink.completed(call)
        else:
            group.calls.append(call)

    # ---- exchanges and bindings

    def declare_exchange(self, door: Door, call: Ask, request: requests.DeclareExchange) -> Outcome:
        """See requests.DeclareExchange."""
        if not request.passive:
            self._authorize(door, Action.CONFIGURE, ResourceKind.EXCHANGE, request.name)
            alternate = request.arguments.get("alternate-exchange")
            if isinstance(alternate, str):
                self._authorize(door, Action.READ, ResourceKind.EXCHANGE, request.name)
                self._authorize(door, Action.WRITE, ResourceKind.EXCHANGE, alternate)
        definition = self._broker.decisions.declare_exchange(
            door.namespace,
            request.name,
            request.type,
            durable=request.durable,
            auto_delete=request.auto_delete,
            internal=request.internal,
            arguments=request.arguments,
            passive=request.passive,
            maker=door.principal.name,
            home=door.home[0],
        )
        return None, None if request.passive else self._when_decided(definition.persistent)

    def delete_exchange(self, door: Door, call: Ask, request: requests.DeleteExchange) -> Outcome:
        """See requests.DeleteExchange."""
        self._authorize(door, Action.CONFIGURE, ResourceKind.EXCHANGE, request.name)
        catalogue = self._broker.catalogue
        exchange = catalogue.namespace(door.namespace).exchanges.get(request.name)
        many = exchange is not None and len(exchange.bindings_in) + len(exchange.bindings_out) > THINNED_AT_ONCE
        if many and not request.if_unused and request.name not in SYSTEM_EXCHANGES:
            thin_out(self._broker, door, call, exchange)
            return LATER, None
        self._broker.decisions.delete_exchange(door.namespace, request.name, if_unused=request.if_unused)
        return None, self._when_decided(True)

    def bind(self, door: Door, call: Ask, request: requests.Bind) -> Outcome:
        """See requests.Bind."""
        decisions = self._broker.decisions
        maker = door.principal.name
        to_queue = request.destination_kind == "queue"
        self._authorize(door, Action.WRITE, ResourceKind.QUEUE if to_queue else ResourceKind.EXCHANGE, request.destination)
        self._authorize(door, Action.READ, ResourceKind.EXCHANGE, request.source)
        if to_queue:
            queue = self._broker.catalogue.maybe_queue(door.namespace, request.destination)
            if queue is not None:
                self._refuse_last_value(door, queue.policy, request.destination)
            if request.remove:
                decisions.unbind_queue(door.namespace, request.destination, request.source, request.routing_key, request.arguments, door.home)
            else:
                self._authorize_subject(door, request)
                decisions.bind_queue(door.namespace, request.destination, request.source, request.routing_key, request.arguments, door.home, maker)
        elif request.remove:
            decisions.unbind_exchange(door.namespace, request.destination, request.source, request.routing_key, request.arguments)
        else:
            self._authorize_subject(door, request)
            decisions.bind_exchange(door.namespace, request.destination, request.source, request.routing_key, request.arguments, maker)
        return None, self._when_decided(True)

    def list_bindings(self, door: Door, call: Ask, request: requests.ListBindings) -> Outcome:
        """See requests.ListBindings."""
        self._authorize(door, Action.READ, ResourceKind.QUEUE, request.queue)
        definition = self._broker.catalogue.find_queue(door.namespace, request.queue, door.home)
        return [(binding.source.name, binding.routing_key, dict(binding.arguments)) for binding in definition.bindings_in.values()], None

    def _authorize_subject(self, door: Door, request: requests.Bind) -> None:
        """A binding to a topic's subject asks for the topic. What a pattern matches, now or later, is asked when it is carried (catalogue/routing.py)."""
        if request.source == SUBJECT_EXCHANGE:
            for topic in self._broker.catalogue.namespace(door.namespace).exchanges[SUBJECT_EXCHANGE].routes.subjects.get(request.routing_key, ()):
                self._authorize(door, Action.READ, ResourceKind.TOPIC, topic.name)

    # ---- consuming

    def consume(self, door: Door, call: Ask, request: requests.Consume) -> Outcome:
        """See requests.Consume."""
        self._authorize(door, Action.READ, ResourceKind.QUEUE, request.queue)
        self._consume(door, call, request, self._broker.catalogue.find_queue(door.namespace, request.queue, door.home))
        return LATER, None

    def consume_replies(self, door: Door, call: Ask, request: requests.ConsumeReplies) -> Outcome:
        """See requests.ConsumeReplies."""
        broker = self._broker
        broker.catalogue.quotas.check(door.principal.name, CONSUMER)
        number = broker.next_consumer_id()
        box = broker.replies.open(broker.catalogue.namespace(door.namespace).router, number)
        pool = door.limit_of(call.stream).pool(broker.replies)
        box.consumer = make_consumer(number, door, request.token, box, pool, 0, True, False, 0)
        box.consumer.owner = broker.replies
        door.enter(box.consumer)
        return (number, box.name), None

    def _consume(self, door: Door, call: Ask, request: requests.Consume, definition: Any) -> None:
        """Start deliveries from a queue or topic. Raises Refused."""
        broker = self._broker
        self._refuse_last_value(door, definition.policy, request.queue)
        shared = door.limit_of(call.stream)
        where = f"queue '{request.queue}' in vhost '{vhost_of(door.namespace)}'"
        broker.catalogue.quotas.check(door.principal.name, CONSUMER)
        start: Any = None
        numbers: range | None = None
        if not definition.is_topic:
            if "x-stream-offset" in request.arguments:
                raise Refused(Reason.INVALID, f"invalid arg 'x-stream-offset' for {where} of queue type rabbit_{definition.policy.queue_type}_queue")
        elif request.auto_settle:
            raise Refused(Reason.NOT_SUPPORTED, f"automatic acknowledgement not supported by stream queues {where}")
        elif request.limit == 0:
            raise Refused(Reason.INVALID, f"consumer prefetch count is not set for '{where}'")
        else:
            places = request.start, request.arguments.get("x-stream-partition")
            numbers, start = parse_places(definition.name, len(definition.partitions), *places, broker.hub.now_ms())
        by_owner = broker.owners.by_owner(definition, numbers)
        owner, *others = by_owner
        pool = Pool(call.stream) if others else shared.pool(owner)
        consumer = make_consumer(
            broker.next_consumer_id(), door, request.token, None, pool, request.limit, request.auto_settle, request.exclusive, request.priority
        )
        consumer.source = definition
        done = partial(self._consuming, door, call, consumer)
        if others:
            spread = Spread(consumer, shared, list(by_owner))
            door.enter(consumer, spread.parts)
            spread.begin(by_owner, start, done)
        else:
            consumer.owner = owner
            door.enter(consumer)
            owner.consume(consumer, by_owner[owner], start, done)

    def _consuming(self, door: Door, call: Ask, consumer: Consumer, error: NotDone | None) -> None:
        """Its owner has answered."""
        if error is not None:
            consumer.active = False
            door.leave(consumer)
            door.consumers.pop(consumer.id, None)
            fail(call, error)
            return
        call.result = consumer.id
        self._complete(call, None)

    def cancel(self, door: Door, call: Ask, request: requests.Cancel) -> Outcome:
        """See requests.Cancel."""
        consumer = door.consumers.get(request.consumer_id)
        if consumer is not None and consumer.active:
            self.stop_consumer(door, consumer)
        return None, None

    def stop_consumer(self, door: Door, consumer: Consumer) -> None:
        """No more deliveries to it; what it holds stays leased to it."""
        consumer.owner.cancel(consumer)
        door.leave(consumer)
        if consumer.leased == 0:
            door.consumers.pop(consumer.id, None)

    def stream_limit(self, door: Door, call: Ask, request: requests.StreamLimit) -> Outcome:
        """See requests.StreamLimit."""
        door.limit_of(call.stream).set_limit(request.limit)
        return None, None

    def close_stream(self, door: Door, call: Ask, request: requests.CloseStream) -> Outcome:
        """See requests.CloseStream."""
        for consumer in [consumer for consumer in door.consumers.values() if consumer.stream == call.stream]:
            self.end_consumer(door, consumer)
        door.limits.pop(call.stream, None)
        for key in [key for key in door.getters if key[0] == call.stream]:
            del door.getters[key]
        return None, None

    def get(self, door: Door, call: Ask, request: requests.Get) -> Outcome:
        """See requests.Get."""
        self._authorize(door, Action.READ, ResourceKind.QUEUE, request.queue)
        definition = self._queue(door, request.queue, "basic.get")
        owner = self._broker.owners.owner(definition)
        key = (call.stream, request.queue, request.auto_settle)
        getter = door.getters.get(key)
        if getter is None or getter.source is not definition or getter.owner is not owner:
            count = len(door.getters)
            if count >= GETTERS_MAX and count & (count - 1) == 0:  # at each power of two: where all of them hold something, a look at them all is rare
                self._tidy_getters(door)
            pool = Pool(call.stream)  # what Get takes is not counted against the stream's limit
            getter = make_consumer(self._broker.next_consumer_id(), door, None, None, pool, 0, request.auto_settle, False, 0)
            getter.source = definition
            getter.owner = owner
            door.getters[key] = getter
            door.consumers[getter.id] = getter
        owner.get(definition.log_id, getter, call)
        return LATER, None

    def browse(self, door: Door, call: Ask, request: requests.Browse) -> Outcome:
        """See requests.Browse."""
        self._authorize(door, Action.READ, ResourceKind.QUEUE, request.queue)
        definition = self._queue(door, request.queue, "browsing")
        question = BrowseQueue(definition.log_id, request.place, request.limit, door.codec)
        self._broker.owners.owner(definition).ask(question, partial(self._browsed, call))
        return LATER, None

    @staticmethod
    def _browsed(call: Ask, error: NotDone | None, page: BrowsedPage | None) -> None:
        if error is not None:
            fail(call, error)
            return
        call.result = page
        call.outcome = DONE
        if not call.attachment.closed:
            call.attachment.sink.completed(call)

    @staticmethod
    def _tidy_getters(door: Door) -> None:
        """Forget those that hold nothing."""
        for key, getter in list(door.getters.items()):
            if getter.leased == 0:
                del door.getters[key]
                door.consumers.pop(getter.id, None)
                getter.owner.end(getter)

    def of_group(self, door: Door, call: Ask, request: Any) -> Outcome:
        """What broker/groups does."""
        self._broker.groups.perform(call)
        return LATER, None

    # ---- shared

    def end_consumer(self, door: Door, consumer: Consumer) -> None:
        """Cancel, and put back what it holds."""
        door.consumers.pop(consumer.id, None)
        door.leave(consumer)
        consumer.owner.end(consumer)

    def _queue(self, door: Door, name: str, what: str) -> Any:
        """The definition of the queue of that name; a stream is refused."""
        definition = self._broker.catalogue.find_queue(door.namespace, name, door.home)
        if definition.is_topic:
            raise self.not_for_streams(definition, what)
        self._refuse_last_value(door, definition.policy, name)
        return definition

    @staticmethod
    def _refuse_last_value(door: Door, policy: QueuePolicy, name: str) -> None:
        """Refused: a queue of last values is the broker's own affair."""
        if policy.last_value and not door.principal.is_internal:
            raise Refused(Reason.NOT_PERMITTED, f"queue '{name}' in vhost '{vhost_of(door.namespace)}' keeps last values: it is the broker's own")

    def not_for_streams(self, definition: Any, what: str) -> Refused:
        """The refusal of what only queues can do."""
        return Refused(Reason.NOT_SUPPORTED, f"{what} not supported by stream queues queue '{definition.name}' in vhost '{vhost_of(definition.namespace)}'")

    def _authorize(self, door: Door, action: Action, kind: ResourceKind, name: str) -> None:
        self._broker.authorizer.authorize(door.principal, action, door.namespace, kind, name)

    def _when_decided(self, kept: bool) -> Ticket | None:
        """As _when_durable(), of a change of the catalogue: also until everybody has applied it, `kept` or not."""
        stream = self._broker.decisions.stream
        return stream.ticket() if kept or stream.is_followed else None

    def _when_durable(self, staged: bool) -> Group | None:
        """The group that the call waits for, made urgent; None if nothing durable was staged."""
        if not staged:
            return None
        self._broker.store.urgent()
        return self._broker.store.group()


def _gone(consumer: Consumer) -> None:
    """A consumer's queue was deleted: the door that has it hears of it."""
    door: Any = consumer.attachment
    door.gone(consumer)


Handler = Callable[[Operations, Door, Ask, Any], Outcome]

HANDLERS: dict[type, Handler] = {
    requests.DeclareQueue: Operations.declare_queue,
    requests.DeleteQueue: Operations.delete_queue,
    requests.PurgeQueue: Operations.purge_queue,
    requests.DeclareExchange: Operations.declare_exchange,
    requests.DeleteExchange: Operations.delete_exchange,
    requests.Bind: Operations.bind,
    requests.ListBindings: Operations.list_bindings,
    requests.Consume: Operations.consume,
    requests.ConsumeReplies: Operations.consume_replies,
    requests.Cancel: Operations.cancel,
    requests.StreamLimit: Operations.stream_limit,
    requests.CloseStream: Operations.close_stream,
    requests.Get: Operations.get,
    requests.Browse: Operations.browse,
    **dict.fromkeys(GROUP_HANDLERS, Operations.of_group),
}
