"""Decisions: what the catalogue becomes, by RabbitMQ's rules and in its words: checks, makes ids, commits rows. At the owner of shard 0.

Every call takes effect in this process at once, in the store's open commit; the caller hangs its own answer on CatalogueStream.ticket().
What is asked for and what is said back are names, numbers and plain values, but for the definitions that are returned to whoever is in this process.
Errors are Unavailable where shard 0 is elsewhere, and Refused:

    NOT_FOUND         no such namespace, exchange or queue
    NOT_PERMITTED     reserved names, the default exchange, system exchanges
    EXISTS_DIFFERENT  declared again with other properties or arguments
    INVALID           properties, names and arguments that cannot be
    NOT_SUPPORTED     an exchange type that does not exist
    LOCKED            exclusive to another connection
    IN_USE, NOT_EMPTY a conditional delete
    LIMIT             as many as there may be
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from itertools import chain, islice

from entrepot.broker.catalogue.arguments import Arguments, type_name
from entrepot.broker.catalogue.catalogue import Catalogue, refuse_default
from entrepot.broker.catalogue.changes import Row
from entrepot.broker.catalogue.definitions import Binding, Destination, ExchangeDefinition, Home, QueueDefinition, TopicDefinition, binding_uses, identity_of
from entrepot.broker.catalogue.kept_definitions import (
    exchange_row,
    gone,
    gone_binding_row,
    made_binding_row,
    namespace_row,
    queue_row,
    topic_row,
)
from entrepot.broker.catalogue.matching import check_headers_match
from entrepot.broker.catalogue.namespace import SYSTEM_EXCHANGES, Namespace, exchange_text, queue_text
from entrepot.broker.catalogue.queue_arguments import QUEUE_ARGUMENT_NAMES, STREAM, QueuePolicy, check_properties, check_same_arguments, parse_queue_arguments
from entrepot.broker.catalogue.quotas import METADATA, NAMESPACES, NOBODY, PARTITIONS, TOPICS, Account, QuotaLimits
from entrepot.broker.catalogue.removal import Going
from entrepot.broker.catalogue.routing import HEADERS, KINDS
from entrepot.broker.catalogue.stream import CatalogueStream
from entrepot.broker.catalogue.timed_definition import TimedDefinition
from entrepot.model.errors import Reason, Refused
from entrepot.model.names import DEFAULT_NAMESPACE, check_name, check_namespace
from entrepot.model.principal import GUEST

SERVER_NAMED = "amq.gen-"
MAKERS_MAX = 8  # of one binding: the latest are kept

PolicyCheck = Callable[[str, QueuePolicy], None]
"""(name, policy) of a queue that is about to be made; raises Refused where it may not be."""


class Decisions:
    """Over one catalogue and its stream."""

    def __init__(self, catalogue: Catalogue, stream: CatalogueStream, new_log_id: Callable[[], bytes]) -> None:
        self.catalogue = catalogue
        self.stream = stream
        self.new_log_id = new_log_id
        self._quotas = catalogue.quotas
        self.reserved_queues: tuple[str, ...] = ()  # what names begin with that clients may not give to new ones
        self.reserved_exchanges: tuple[str, ...] = ()

    @classmethod
    def over(cls, stream: CatalogueStream, new_log_id: Callable[[], bytes], limits: QuotaLimits | None = None) -> Decisions:
        """Over a catalogue that is loaded from the stream's store. Raises CorruptData."""
        catalogue = Catalogue(limits)
        catalogue.load(stream)
        return cls(catalogue, stream, new_log_id)

    # Namespaces

    def create_namespace(self, name: str) -> Namespace:
        """The namespace of that name, made if there is none."""
        existing = self.catalogue.namespaces.get(name)
        if existing is not None:
            return existing
        check_namespace(name)
        self._quotas.check(NOBODY, {NAMESPACES: 1})
        self.stream.commit([namespace_row(name)])
        return self.catalogue.namespace(name)

    def delete_namespace(self, name: str) -> None:
        """Remove an empty namespace; NOT_PERMITTED for the default one, NOT_EMPTY while it has queues, topics or exchanges of its own."""
        space = self.catalogue.namespace(name)
        if name == DEFAULT_NAMESPACE:
            raise Refused(Reason.NOT_PERMITTED, f"the default namespace {name} cannot be deleted")
        if space.queues or space.topics or len(space.exchanges) > len(SYSTEM_EXCHANGES):
            raise Refused(Reason.NOT_EMPTY, f"namespace {name} is not empty: delete its queues, topics and exchanges first")
        self.stream.commit([*(gone_binding_row(name, binding) for binding in space.bindings.values()), namespace_row(name, gone=True)])

    # Exchanges

    def declare_exchange(
        self,
        namespace: str,
        name: str,
        exchange_type: str,
        *,
        durable: bool,
        auto_delete: bool,
        internal: bool,
        arguments: Arguments,
        passive: bool = False,
        maker: str = NOBODY,
        home: bytes = b"",
        is_own: bool = False,
    ) -> ExchangeDefinition:
        """The exchange of that name, made if there is none, for the user `maker`, else checked to be the same; `passive`: as find_exchange().

        `home`: the start of the process that asks; one that is not durable goes with it. `is_own`: the broker's own, with a name that clients may not give.
        """
        if passive:
            return self.catalogue.find_exchange(namespace, name)
        space = self.catalogue.namespace(namespace)
        refuse_default(name)
        where = exchange_text(space, name)
        kind = KINDS.get(exchange_type)
        if kind is None:
            raise Refused(Reason.NOT_SUPPORTED, f"unknown exchange type '{exchange_type}'")
        exchange = space.exchanges.get(name)
        if exchange is not None:
            _check_same(where, "type", exchange_type, exchange.type)
            _check_same(where, "durable", durable, exchange.durable)
            _check_same(where, "auto_delete", auto_delete, exchange.auto_delete)
            _check_same(where, "internal", internal, exchange.internal)
            check_same_arguments(where, exchange.arguments, arguments, ("alternate-exchange",))
            return exchange
        _refuse_reserved("exchange", check_name("exchange", name))
        if not is_own:
            _refuse_reserved("exchange", name, self.reserved_exchanges)
        alternate = arguments.get("alternate-exchange")
        if alternate is not None and alternate.__class__ is not str:
            raise Refused(Reason.INVALID, f"invalid type '{type_name(alternate)}' for arg 'alternate-exchange' in {where}")
        exchange = ExchangeDefinition(
            space.name,
            name,
            exchange_type,
            durable=durable,
            auto_delete=auto_delete,
            internal=internal,
            arguments=arguments,
            kind=kind,
            maker=maker,
            home=b"" if durable else home,
        )
        self._quotas.check(maker, exchange.uses())
        self.stream.commit([exchange_row(exchange)])
        return space.exchanges[name]

    def delete_exchange(self, namespace: str, name: str, *, if_unused: bool = False) -> None:
        """Remove an exchange, its bindings, and what that leaves unused; nothing is removed where there is none."""
        space = self.catalogue.namespace(namespace)
        refuse_default(name)
        if name in SYSTEM_EXCHANGES:
            raise Refused(Reason.NOT_PERMITTED, f"deletion of system {exchange_text(space, name)} not allowed")
        exchange = space.exchanges.get(name)
        if exchange is None:
            return
        if if_unused and exchange.bindings_out:
            raise Refused(Reason.IN_USE, f"{exchange_text(space, name)} in use")
        self._remove(space, exchange)

    def thin_out(self, definition: Destination, count: int) -> bool:
        """Remove at most `count` of what is bound to it and by it, with what that leaves unused; whether more than `count` are left."""
        space = self.catalogue.namespace(definition.namespace)
        tables = [definition.bindings_in]
        if isinstance(definition, ExchangeDefinition):
            tables.append(definition.bindings_out)
        going = Going(space.queues)
        going.unbind(islice(chain.from_iterable(table.values() for table in tables), count))
        if going.bindings:
            self.stream.commit(_rows_gone(space, going))
        return sum(map(len, tables)) > count

    # Queues

    def declare_queue(
        self,
        namespace: str,
        name: str,
        *,
        durable: bool,
        exclusive: bool,
        auto_delete: bool,
        arguments: Arguments,
        connection: Home,
        passive: bool = False,
        timed: TimedDefinition | None = None,
        maker: str = "",
        check: PolicyCheck | None = None,
        made_up: str = "",
        is_own: bool = False,
    ) -> tuple[QueueDefinition | TopicDefinition, bool]:
        """The queue of that name and whether it was made now; with `x-queue-type` `stream`, a topic of one partition.

        An empty name: one is made up (see made_up_name()), if it is not `made_up`. `passive`: as find_queue(). `is_own`: as of an exchange.
        """
        if passive:
            return self.catalogue.find_queue(namespace, name, connection), False
        space = self.catalogue.namespace(namespace)
        server_named = not name
        if server_named:
            name = made_up or made_up_name(self.new_log_id())
        else:
            _refuse_reserved("queue", name)
        where = queue_text(space, name)
        found = self.catalogue.maybe_queue(namespace, name)
        if isinstance(found, TopicDefinition) and not found.is_stream:
            if arguments.get("x-queue-type") == STREAM:
                return found, False
            found = None  # a topic of another protocol; a queue may have its name too
        if found is not None:
            if found.exclusive_to is not None or exclusive:
                self.catalogue.check_owner(space, found, connection if exclusive else None)
            _check_same(where, "durable", durable, found.durable)
            _check_same(where, "auto_delete", auto_delete, found.auto_delete)
            check_same_arguments(where, found.arguments, arguments, QUEUE_ARGUMENT_NAMES)
            return found, False
        check_name("queue", name)
        if not is_own:
            _refuse_reserved("queue", name, self.reserved_queues)
        policy = parse_queue_arguments(where, arguments)
        check_properties(where, policy.queue_type, durable, exclusive, auto_delete)
        if check is not None:
            check(name, policy)
        if policy.queue_type == STREAM:
            return self._make_topic(space, name, 1, name, arguments, policy, maker=maker), True
        queue = QueueDefinition(
            space.name,
            name,
            self.new_log_id(),
            durable=durable,
            auto_delete=auto_delete,
            exclusive_to=connection if exclusive else None,
            arguments=arguments,
            policy=policy,
            timed=timed,
            maker=maker,
            home=b"" if durable and not exclusive else connection[0],
        )
        self._quotas.check(maker, queue.uses())
        self.stream.commit([queue_row(queue)])
        return space.queues[name], True

    def change_timed(self, queue: QueueDefinition, timed: TimedDefinition) -> None:
        """Have a queue's timed leases be otherwise; see check_room()."""
        self.stream.commit([queue_row(queue, timed=timed.kept())])

    def check_room(self, queue: QueueDefinition, timed: TimedDefinition) -> None:
        """Whether there is room for a queue to be changed so; LIMIT."""
        self._quotas.check(queue.maker, {METADATA: timed.size() - (0 if queue.timed is None else queue.timed.size())})

    def delete_queue(
        self, namespace: str, name: str, *, connection: Home, if_unused: bool = False, if_empty: bool = False, consumers: int = 0, messages: int = 0
    ) -> None:
        """Remove a queue or stream as a client asks for it; nothing is removed where there is none.

        `consumers` and `messages` are what it has at the moment, for the two conditions.
        """
        space = self.catalogue.namespace(namespace)
        if self.catalogue.maybe_queue(namespace, name) is None:
            return
        found = self.catalogue.find_queue(namespace, name, connection)
        if if_unused and consumers:
            raise Refused(Reason.IN_USE, f"{queue_text(space, name)} in use")
        if if_empty and messages:
            raise Refused(Reason.NOT_EMPTY, f"{queue_text(space, name)} not empty")
        self.remove_queue(found)

    def remove_queue(self, queue: QueueDefinition | TopicDefinition) -> None:
        """Remove a queue or topic unconditionally: asked for, expired, its last consumer or its connection gone. Once removed, nothing."""
        space = self.catalogue.namespaces.get(queue.namespace)
        table = {} if space is None else space.topics if isinstance(queue, TopicDefinition) else space.queues
        if space is not None and table.get(queue.name) is queue:
            self._remove(space, queue)

    # Topics

    def declare_topic(
        self,
        namespace: str,
        name: str,
        *,
        partitions: int = 1,
        subject: str | None = None,
        max_age_ms: int | None = None,
        max_length_bytes: int | None = None,
        maker: str = NOBODY,
    ) -> tuple[TopicDefinition, bool]:
        """The topic of that name and whether it was made now. `subject` None is its name, "" is none; limits are per partition.

        An existing one is returned as it is, unless it has another number of partitions (EXISTS_DIFFERENT).
        """
        space = self.catalogue.namespace(namespace)
        existing = space.topics.get(name)
        if existing is not None:
            if len(existing.partitions) != partitions:
                raise Refused(Reason.EXISTS_DIFFERENT, f"topic '{name}' in {space.where} has {len(existing.partitions)} partitions, not {partitions}")
            return existing, False
        check_name("topic", name)
        self._check_partitions(name, partitions)
        policy = QueuePolicy(queue_type=STREAM, max_age_ms=max_age_ms, max_length_bytes=max_length_bytes)
        return self._make_topic(space, name, partitions, name if subject is None else subject, {}, policy, maker=maker), True

    def create_topic(
        self, namespace: str, name: str, partitions: int, config: dict[str, str], *, check_only: bool = False, maker: str = NOBODY
    ) -> TopicDefinition | None:
        """A new topic, as Kafka's clients ask for it; None with `check_only`. EXISTS_DIFFERENT where there is one, INVALID, LIMIT."""
        topic = self.new_topic(namespace, name, partitions, config, maker)
        if check_only:
            return None
        topic.partitions = [self.new_log_id() for _ in range(partitions)]
        return self.add_topic(topic)

    def new_topic(self, namespace: str, name: str, partitions: int, config: dict[str, str], maker: str = NOBODY) -> TopicDefinition:
        """A topic that may be made, and is not there: add_topic() makes it once it has its partitions. As create_topic()."""
        space = self.catalogue.namespace(namespace)
        _check_new(space, name)
        check_name("topic", name)
        self._check_partitions(name, partitions)
        self._quotas.check(maker, {TOPICS: 1, PARTITIONS: partitions})
        policy = QueuePolicy(queue_type=STREAM)
        return TopicDefinition(space.name, name, [], subject=name, arguments={}, policy=policy, id_=self.new_log_id(), config=config, maker=maker)

    def account(self, maker: str) -> Account:
        """For what takes of a user's quota before it is in the catalogue."""
        return Account(self._quotas, maker)

    def add_topic(self, topic: TopicDefinition) -> TopicDefinition:
        """Have a topic as it was described by new_topic(), if that may still be: EXISTS_DIFFERENT, LIMIT."""
        space = self.catalogue.namespace(topic.namespace)
        _check_new(space, topic.name)
        self._quotas.check(topic.maker, topic.uses())
        self.stream.commit([topic_row(topic)])
        return space.topics[topic.name]

    def add_partitions(self, topic: TopicDefinition, count: int, log_ids: list[bytes] | None = None, *, check_only: bool = False) -> list[bytes]:
        """Have `count` partitions in all: the new logs' ids, `log_ids` if given. INVALID: not more than there are, or too many; LIMIT, of its maker."""
        if count <= len(topic.partitions):
            raise Refused(Reason.INVALID, f"topic '{topic.name}' has {len(topic.partitions)} partitions: {count} would not be more")
        self._check_partitions(topic.name, count)
        more = {PARTITIONS: count - len(topic.partitions)}
        self._quotas.check(topic.maker, more)
        if check_only:
            return []
        added = [self.new_log_id() for _ in range(count - len(topic.partitions))] if log_ids is None else log_ids
        self.stream.commit([topic_row(topic, partitions=topic.partitions + added)])
        return added

    def configure_topic(self, topic: TopicDefinition, config: dict[str, str]) -> None:
        """Replace what was set of it."""
        self.stream.commit([topic_row(topic, config=dict(config))])

    def change_subject(self, topic: TopicDefinition, subject: str) -> None:
        """Give a topic another subject in amq.topic, "" for none."""
        self.stream.commit([topic_row(topic, subject=subject)])

    # Bindings

    def bind_queue(
        self, namespace: str, queue: str, exchange: str, routing_key: str, arguments: Arguments, connection: Home, maker: str = ""
    ) -> tuple[Binding | None, bool]:
        """Bind a queue or stream to an exchange; the binding (None if it was there) and whether it was made now.

        `maker` is the user who asks, "" for nobody that is known. One that was there is the user's too from now on.
        """
        destination = self.catalogue.find_queue(namespace, queue, connection)
        return self.bind(namespace, exchange, destination, routing_key, arguments, maker)

    def bind_exchange(
        self, namespace: str, destination: str, source: str, routing_key: str, arguments: Arguments, maker: str = ""
    ) -> tuple[Binding | None, bool]:
        """Bind exchange `destination` to exchange `source`; as bind_queue()."""
        refuse_default(source)
        return self.bind(namespace, source, self.catalogue.find_exchange(namespace, destination), routing_key, arguments, maker)

    def bind(
        self, namespace: str, source: str, destination: Destination, routing_key: str, arguments: Arguments, maker: str = ""
    ) -> tuple[Binding | None, bool]:
        """Bind any destination; as bind_queue()."""
        space = self.catalogue.namespace(namespace)
        exchange = self.catalogue.find_exchange(namespace, source)
        identity = identity_of(source, destination, routing_key, arguments)
        existing = space.bindings.get(identity)
        if existing is not None:
            self._add_maker(space, existing, maker)
            return None, False
        if exchange.routes.kind == HEADERS:
            check_headers_match(arguments)
        self._quotas.check(maker, binding_uses(identity))
        kept = exchange.persistent and destination.persistent
        self.stream.commit([made_binding_row(space.name, identity, (maker,) if maker else (), kept=kept)])
        return space.bindings[identity], True

    def unbind_queue(self, namespace: str, queue: str, exchange: str, routing_key: str, arguments: Arguments, connection: Home) -> None:
        """Undo bind_queue(); nothing is removed where queue, exchange or binding are not there."""
        refuse_default(exchange)
        if self.catalogue.maybe_queue(namespace, queue) is not None:
            self.unbind(namespace, exchange, self.catalogue.find_queue(namespace, queue, connection), routing_key, arguments)

    def unbind_exchange(self, namespace: str, destination: str, source: str, routing_key: str, arguments: Arguments) -> None:
        """Undo bind_exchange(); nothing is removed where exchanges or binding are not there."""
        space = self.catalogue.namespace(namespace)
        refuse_default(source)
        refuse_default(destination)
        found = space.exchanges.get(destination)
        if found is not None:
            self.unbind(namespace, source, found, routing_key, arguments)

    def unbind(self, namespace: str, source: str, destination: Destination, routing_key: str, arguments: Arguments) -> None:
        """Undo bind(); nothing is removed where exchange or binding are not there."""
        space = self.catalogue.namespace(namespace)
        binding = space.bindings.get(identity_of(source, destination, routing_key, arguments))
        if binding is not None:
            going = Going(space.queues)
            going.unbind([binding])
            self.stream.commit(_rows_gone(space, going))

    def _add_maker(self, space: Namespace, binding: Binding, maker: str) -> None:
        """A binding that is there was made by this user too."""
        if not maker or maker in (binding.makers or (GUEST,)):
            return
        makers = (*(binding.makers or (GUEST,)), maker)[-MAKERS_MAX:]
        self.stream.commit([made_binding_row(space.name, binding.identity, makers, kept=binding.persistent)])

    def _remove(self, space: Namespace, definition: Destination) -> None:
        going = Going(space.queues)
        going.remove(definition)
        rows = _rows_gone(space, going)
        if isinstance(definition, QueueDefinition) and definition not in going.queues:
            rows.append(gone(queue_row(definition)))
        elif isinstance(definition, TopicDefinition):
            rows.append(gone(topic_row(definition)))
        self.stream.commit(rows)

    def _make_topic(
        self,
        namespace: Namespace,
        name: str,
        partitions: int,
        subject: str,
        arguments: Arguments,
        policy: QueuePolicy,
        maker: str = NOBODY,
    ) -> TopicDefinition:
        self._quotas.check(maker, {TOPICS: 1, PARTITIONS: partitions})
        log_ids = [self.new_log_id() for _ in range(partitions)]
        id_ = self.new_log_id()
        return self.add_topic(TopicDefinition(namespace.name, name, log_ids, subject=subject, arguments=arguments, policy=policy, id_=id_, maker=maker))

    def _check_partitions(self, name: str, partitions: int) -> None:
        most = self._quotas.limits.partitions
        if not 1 <= partitions <= most:
            raise Refused(Reason.INVALID, f"topic '{name}': {partitions} partitions; 1 to {most} are allowed")


def _rows_gone(space: Namespace, going: Going) -> list[Row]:
    """What goes, in an order in which nothing is left hanging."""
    rows = [gone_binding_row(space.name, binding) for binding in going.bindings.values()]
    return rows + [gone(exchange_row(exchange)) for exchange in going.exchanges.values()] + [gone(queue_row(queue)) for queue in going.queues]


def _check_new(namespace: Namespace, name: str) -> None:
    if name in namespace.topics:
        raise Refused(Reason.EXISTS_DIFFERENT, f"topic '{name}' in {namespace.where} exists")


def _refuse_reserved(kind: str, name: str, prefixes: tuple[str, ...] = ("amq.",)) -> None:
    for prefix in prefixes:
        if name.startswith(prefix):
            raise Refused(Reason.NOT_PERMITTED, f"{kind} name '{name}' contains reserved prefix '{prefix}*'")


def made_up_name(chance: bytes) -> str:
    """A queue's, of octets of chance."""
    return SERVER_NAMED + base64.urlsafe_b64encode(chance).rstrip(b"=").decode()


def _check_same(where: str, name: str, received: bool | str, current: bool | str) -> None:
    if received != current:
        shown = [("true" if value else "false") if isinstance(value, bool) else value for value in (received, current)]
        raise Refused(Reason.EXISTS_DIFFERENT, f"inequivalent arg '{name}' for {where}: received '{shown[0]}' but current is '{shown[1]}'")
