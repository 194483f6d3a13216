"""Catalogue: declares, finds and removes exchanges, queues, topics and bindings, by RabbitMQ's rules and in its words.

Every call takes effect in memory at once and stages what must outlive a restart in the store's open commit; the caller hangs its own
answer on that commit. Errors are Refused:

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
from collections.abc import Callable, Hashable, Iterator
from functools import partial
from itertools import chain, islice
from typing import Any

from entrepot.broker.catalogue.arguments import Arguments, type_name
from entrepot.broker.catalogue.definitions import Binding, Destination, ExchangeDefinition, QueueDefinition, TopicDefinition, identity_of
from entrepot.broker.catalogue.kept_definitions import (
    CATALOGUE_SHARD,
    EXCHANGE_KEY,
    NAMESPACE_KEY,
    QUEUE_KEY,
    TOPIC_KEY,
    StateStore,
    binding_fields,
    binding_key,
    encode_value,
    exchange_fields,
    load,
    named_key,
    queue_fields,
    topic_fields,
)
from entrepot.broker.catalogue.namespace import SYSTEM_EXCHANGES, Namespace, Removed, exchange_text, queue_text
from entrepot.broker.catalogue.queue_arguments import QUEUE_ARGUMENT_NAMES, STREAM, QueuePolicy, check_properties, check_same_arguments, parse_queue_arguments
from entrepot.broker.catalogue.quotas import BINDINGS, EXCHANGES, METADATA, NAMESPACES, NOBODY, PARTITIONS, QUEUES, TOPICS, QuotaLimits, Quotas
from entrepot.broker.catalogue.routing import KINDS
from entrepot.broker.catalogue.shards import check_open
from entrepot.broker.catalogue.timed_definition import TimedDefinition
from entrepot.broker.state import DELETE, set_value
from entrepot.model.errors import Reason, Refused
from entrepot.model.names import DEFAULT_NAMESPACE, check_name, check_namespace, shown, vhost_of
from entrepot.model.principal import GUEST

SERVER_NAMED = "amq.gen-"
MAKERS_MAX = 8  # of one binding: the latest are kept


class Catalogue:
    """All definitions of this broker."""

    def __init__(self, store: StateStore, new_log_id: Callable[[], bytes], limits: QuotaLimits | None = None) -> None:
        self.namespaces: dict[str, Namespace] = {}
        self._store = store
        self.new_log_id = new_log_id
        self.quotas = Quotas(limits)
        self._topics: dict[bytes, TopicDefinition] = {}  # by id
        self._exclusive: dict[Hashable, dict[QueueDefinition, bool]] = {}
        self._may_carry: Callable[[str, str, tuple[str, ...]], bool] | None = None
        self._make_namespace(DEFAULT_NAMESPACE)

    # Start

    def load(self) -> None:
        """Take in what the store has kept; once, before the first call. Raises CorruptData for what cannot be understood."""
        load(self._store, self._namespace_of)
        for namespace in self.namespaces.values():
            self._topics.update((topic.id, topic) for topic in namespace.topics.values())
            exchanges = (exchange for exchange in namespace.exchanges.values() if exchange.name not in SYSTEM_EXCHANGES)
            made: Iterator[Destination | Binding]
            made = chain(exchanges, namespace.queues.values(), namespace.topics.values(), namespace.bindings.values())
            for one in made:
                self.quotas.count(one.maker, one.uses())

    def statistics(self) -> dict[str, int]:
        """How many there are of each kind; system exchanges are not counted."""
        return {kind: self.quotas.used(kind) for kind in (NAMESPACES, EXCHANGES, QUEUES, TOPICS, PARTITIONS, BINDINGS)}

    def queues(self) -> Iterator[QueueDefinition]:
        """Every queue of every namespace."""
        for namespace in self.namespaces.values():
            yield from namespace.queues.values()

    def topics(self) -> Iterator[TopicDefinition]:
        """Every topic of every namespace, streams among them."""
        for namespace in self.namespaces.values():
            yield from namespace.topics.values()

    def guard(self, may_carry: Callable[[str, str, tuple[str, ...]], bool]) -> None:
        """Whether a binding of these makers carries what a topic sends on is asked from now on: may_carry(namespace, topic, makers)."""
        self._may_carry = may_carry
        for namespace in self.namespaces.values():
            namespace.router.may_carry = partial(may_carry, namespace.name)
            namespace.router.changed()

    def routes_changed(self) -> None:
        """Whoever knows a route has to ask for it again: what users may do has changed."""
        for namespace in self.namespaces.values():
            namespace.router.changed()

    # Namespaces

    def namespace(self, name: str) -> Namespace:
        """The namespace of that name; NOT_FOUND."""
        namespace = self.namespaces.get(name)
        if namespace is None:
            raise Refused(Reason.NOT_FOUND, f"vhost {vhost_of(name)} not found")
        return namespace

    def create_namespace(self, name: str) -> Namespace:
        """The namespace of that name, made if there is none."""
        existing = self.namespaces.get(name)
        if existing is not None:
            return existing
        check_namespace(name)
        check_open(self._store, (CATALOGUE_SHARD,))
        namespace = self._make_namespace(name)
        self._store.fold(CATALOGUE_SHARD, named_key(NAMESPACE_KEY, name, ""), set_value(encode_value({})))
        return namespace

    def delete_namespace(self, name: str) -> None:
        """Remove an empty namespace; NOT_PERMITTED for the default one, NOT_EMPTY while it has queues, topics or exchanges of its own."""
        namespace = self.namespace(name)
        if name == DEFAULT_NAMESPACE:
            raise Refused(Reason.NOT_PERMITTED, f"the default namespace {name} cannot be deleted")
        if namespace.queues or namespace.topics or len(namespace.exchanges) > len(SYSTEM_EXCHANGES):
            raise Refused(Reason.NOT_EMPTY, f"namespace {name} is not empty: delete its queues, topics and exchanges first")
        check_open(self._store, (CATALOGUE_SHARD,))
        for binding in list(namespace.bindings.values()):  # among the system exchanges
            self._forget(namespace, namespace.remove_binding(binding))
        del self.namespaces[name]
        self.quotas.give_back(NOBODY, {NAMESPACES: 1})
        self._store.fold(CATALOGUE_SHARD, named_key(NAMESPACE_KEY, name, ""), DELETE)

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
    ) -> ExchangeDefinition:
        """The exchange of that name, made if there is none, for the user `maker`, else checked to be the same; `passive`: as find_exchange()."""
        if passive:
            return self.find_exchange(namespace, name)
        space = self.namespace(namespace)
        _refuse_default(name)
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
        alternate = arguments.get("alternate-exchange")
        if alternate is not None and alternate.__class__ is not str:
            raise Refused(Reason.INVALID, f"invalid type '{type_name(alternate)}' for arg 'alternate-exchange' in {where}")
        exchange = ExchangeDefinition(
            space.name, name, exchange_type, durable=durable, auto_delete=auto_delete, internal=internal, arguments=arguments, kind=kind, maker=maker
        )
        self.quotas.take(maker, exchange.uses())
        space.add_exchange(exchange)
        if exchange.persistent:
            self._keep(named_key(EXCHANGE_KEY, space.name, name), exchange_fields(exchange))
        return exchange

    def find_exchange(self, namespace: str, name: str) -> ExchangeDefinition:
        """The exchange of that name; NOT_FOUND, and NOT_PERMITTED for the default exchange, which is none that could be shown."""
        space = self.namespace(namespace)
        _refuse_default(name)
        exchange = space.exchanges.get(name)
        if exchange is None:
            raise Refused(Reason.NOT_FOUND, f"no {exchange_text(space, name)}")
        return exchange

    def delete_exchange(self, namespace: str, name: str, *, if_unused: bool = False) -> Removed:
        """Remove an exchange, its bindings, and what that leaves unused; nothing is removed where there is none."""
        space = self.namespace(namespace)
        _refuse_default(name)
        if name in SYSTEM_EXCHANGES:
            raise Refused(Reason.NOT_PERMITTED, f"deletion of system {exchange_text(space, name)} not allowed")
        exchange = space.exchanges.get(name)
        if exchange is None:
            return Removed()
        if if_unused and exchange.bindings_out:
            raise Refused(Reason.IN_USE, f"{exchange_text(space, name)} in use")
        return self._forget(space, space.remove_exchange(exchange))

    def thin_out(self, definition: ExchangeDefinition | QueueDefinition | TopicDefinition, count: int) -> bool:
        """Remove at most `count` of what is bound to it and by it, with what that leaves unused; whether more than `count` are left."""
        space = self.namespace(definition.namespace)
        tables = [definition.bindings_in]
        if isinstance(definition, ExchangeDefinition):
            tables.append(definition.bindings_out)
        for binding in list(islice(chain.from_iterable(table.values() for table in tables), count)):
            if space.bindings.get(binding.identity) is binding:
                self._forget(space, space.remove_binding(binding))
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
        connection: Hashable,
        passive: bool = False,
        timed: TimedDefinition | None = None,
        maker: str = "",
    ) -> tuple[QueueDefinition | TopicDefinition, bool]:
        """The queue of that name and whether it was made now; with `x-queue-type` `stream`, a topic of one partition.

        An empty name: one is made up, beginning with SERVER_NAMED. `passive`: as find_queue().
        """
        if passive:
            return self.find_queue(namespace, name, connection), False
        space = self.namespace(namespace)
        server_named = not name
        if server_named:
            name = SERVER_NAMED + base64.urlsafe_b64encode(self.new_log_id()).rstrip(b"=").decode()
        else:
            _refuse_reserved("queue", name)
        where = queue_text(space, name)
        found = self.maybe_queue(namespace, name)
        if isinstance(found, TopicDefinition) and not found.is_stream:
            if arguments.get("x-queue-type") == STREAM:
                return found, False
            found = None  # a topic of another protocol; a queue may have its name too
        if found is not None:
            if found.exclusive_to is not None or exclusive:
                self._check_owner(space, found, connection if exclusive else None)
            _check_same(where, "durable", durable, found.durable)
            _check_same(where, "auto_delete", auto_delete, found.auto_delete)
            check_same_arguments(where, found.arguments, arguments, QUEUE_ARGUMENT_NAMES)
            return found, False
        check_name("queue", name)
        policy = parse_queue_arguments(where, arguments)
        check_properties(where, policy.queue_type, durable, exclusive, auto_delete)
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
        )
        self.quotas.take(maker, queue.uses())
        space.add_queue(queue)
        if exclusive:
            self._exclusive.setdefault(connection, {})[queue] = True
        self.keep_queue(queue)
        return queue, True

    def keep_queue(self, queue: QueueDefinition) -> None:
        """Stage the definition as it is now; see check_room()."""
        size = queue.size()
        self.quotas.count(queue.maker, {METADATA: size - queue.metadata_bytes})
        queue.metadata_bytes = size
        if queue.persistent:
            self._keep(named_key(QUEUE_KEY, queue.namespace, queue.name), queue_fields(queue))

    def check_room(self, queue: QueueDefinition, timed: TimedDefinition) -> None:
        """Whether there is room for a queue to be changed so; LIMIT."""
        self.quotas.check(queue.maker, {METADATA: timed.size() - (0 if queue.timed is None else queue.timed.size())})

    def maybe_queue(self, namespace: str, name: str) -> QueueDefinition | TopicDefinition | None:
        """The queue of that name, else the topic, else None; whoever owns it."""
        space = self.namespace(namespace)
        return space.queues.get(name) or space.topics.get(name)

    def find_queue(self, namespace: str, name: str, connection: Hashable) -> QueueDefinition | TopicDefinition:
        """The queue of that name, else the topic; NOT_FOUND, LOCKED."""
        space = self.namespace(namespace)
        found = self.maybe_queue(namespace, name)
        if found is None:
            raise Refused(Reason.NOT_FOUND, f"no {queue_text(space, name)}")
        if found.exclusive_to is not None:
            self._check_owner(space, found, connection)
        return found

    def delete_queue(
        self, namespace: str, name: str, *, connection: Hashable, if_unused: bool = False, if_empty: bool = False, consumers: int = 0, messages: int = 0
    ) -> Removed:
        """Remove a queue or stream as a client asks for it; nothing is removed where there is none.

        `consumers` and `messages` are what it has at the moment, for the two conditions.
        """
        space = self.namespace(namespace)
        if self.maybe_queue(namespace, name) is None:
            return Removed()
        found = self.find_queue(namespace, name, connection)
        if if_unused and consumers:
            raise Refused(Reason.IN_USE, f"{queue_text(space, name)} in use")
        if if_empty and messages:
            raise Refused(Reason.NOT_EMPTY, f"{queue_text(space, name)} not empty")
        return self.remove_queue(found)

    def remove_queue(self, queue: QueueDefinition | TopicDefinition) -> Removed:
        """Remove a queue or topic unconditionally: asked for, expired, its last consumer or its connection gone. Once removed, nothing."""
        namespace = self.namespaces[queue.namespace]
        if isinstance(queue, TopicDefinition):
            if namespace.topics.get(queue.name) is not queue:
                return Removed()
            return self._forget(namespace, namespace.remove_topic(queue))
        if namespace.queues.get(queue.name) is not queue:
            return Removed()
        return self._forget(namespace, namespace.remove_queue(queue))

    def exclusive_queues(self, connection: Hashable) -> list[QueueDefinition]:
        """The queues to remove when `connection` ends."""
        return list(self._exclusive.get(connection, ()))

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
        space = self.namespace(namespace)
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
        self.add_topic(topic)
        return topic

    def new_topic(self, namespace: str, name: str, partitions: int, config: dict[str, str], maker: str = NOBODY) -> TopicDefinition:
        """A topic that may be made, and is not there: add_topic() makes it once it has its partitions. As create_topic()."""
        space = self.namespace(namespace)
        self._check_new(space, name)
        check_name("topic", name)
        self._check_partitions(name, partitions)
        self.quotas.check(maker, {TOPICS: 1, PARTITIONS: partitions})
        policy = QueuePolicy(queue_type=STREAM)
        return TopicDefinition(space.name, name, [], subject=name, arguments={}, policy=policy, id_=self.new_log_id(), config=config, maker=maker)

    def add_topic(self, topic: TopicDefinition) -> None:
        """Have a topic of new_topic(), if that may still be: EXISTS_DIFFERENT, LIMIT."""
        space = self.namespace(topic.namespace)
        self._check_new(space, topic.name)
        self.quotas.take(topic.maker, topic.uses())
        space.add_topic(topic)
        self._topics[topic.id] = topic
        self._keep_topic(topic)

    def find_topic(self, namespace: str, name: str) -> TopicDefinition:
        """The topic of that name; NOT_FOUND."""
        space = self.namespace(namespace)
        topic = space.topics.get(name)
        if topic is None:
            raise Refused(Reason.NOT_FOUND, f"no topic '{shown(name)}' in {space.where}")
        return topic

    def topic_by_id(self, topic_id: bytes) -> TopicDefinition | None:
        """The topic of that id, of whatever namespace."""
        return self._topics.get(topic_id)

    def add_partitions(self, topic: TopicDefinition, count: int, log_ids: list[bytes] | None = None, *, check_only: bool = False) -> list[bytes]:
        """Have `count` partitions in all: the new logs' ids, `log_ids` if given. INVALID: not more than there are, or too many; LIMIT, of its maker."""
        if count <= len(topic.partitions):
            raise Refused(Reason.INVALID, f"topic '{topic.name}' has {len(topic.partitions)} partitions: {count} would not be more")
        self._check_partitions(topic.name, count)
        more = {PARTITIONS: count - len(topic.partitions)}
        self.quotas.check(topic.maker, more)
        if check_only:
            return []
        self.quotas.count(topic.maker, more)
        added = [self.new_log_id() for _ in range(count - len(topic.partitions))] if log_ids is None else log_ids
        topic.partitions = topic.partitions + added
        self._keep_topic(topic)
        return added

    def configure_topic(self, topic: TopicDefinition, config: dict[str, str]) -> None:
        """Replace what was set of it."""
        topic.config = dict(config)
        self._keep_topic(topic)

    def change_subject(self, namespace: str, topic: TopicDefinition, subject: str) -> None:
        """Give a topic another subject in amq.topic, "" for none."""
        space = self.namespace(namespace)
        space.change_subject(topic, subject)
        self._keep_topic(topic)

    # Bindings

    def bind_queue(
        self, namespace: str, queue: str, exchange: str, routing_key: str, arguments: Arguments, connection: Hashable, maker: str = ""
    ) -> tuple[Binding | None, bool]:
        """Bind a queue or stream to an exchange; the binding (None if it was there) and whether it was made now.

        `maker` is the user who asks, "" for nobody that is known. One that was there is the user's too from now on.
        """
        destination = self.find_queue(namespace, queue, connection)
        return self.bind(namespace, exchange, destination, routing_key, arguments, maker)

    def bind_exchange(
        self, namespace: str, destination: str, source: str, routing_key: str, arguments: Arguments, maker: str = ""
    ) -> tuple[Binding | None, bool]:
        """Bind exchange `destination` to exchange `source`; as bind_queue()."""
        _refuse_default(source)
        return self.bind(namespace, source, self.find_exchange(namespace, destination), routing_key, arguments, maker)

    def bind(
        self, namespace: str, source: str, destination: Destination, routing_key: str, arguments: Arguments, maker: str = ""
    ) -> tuple[Binding | None, bool]:
        """Bind any destination; as bind_queue()."""
        space = self.namespace(namespace)
        exchange = self.find_exchange(namespace, source)
        identity = identity_of(source, destination, routing_key, arguments)
        existing = space.bindings.get(identity)
        if existing is not None:
            self._add_maker(space, existing, maker)
            return None, False
        self.quotas.check(maker, {BINDINGS: 1, METADATA: len(identity[4])})
        binding = space.add_binding(exchange, destination, routing_key, dict(arguments), (maker,) if maker else ())
        assert binding is not None, identity
        self.quotas.count(maker, binding.uses())
        if binding.persistent:
            self._keep(binding_key(space.name, binding.identity), binding_fields(binding))
        return binding, True

    def unbind_queue(self, namespace: str, queue: str, exchange: str, routing_key: str, arguments: Arguments, connection: Hashable) -> Removed:
        """Undo bind_queue(); nothing is removed where queue, exchange or binding are not there."""
        _refuse_default(exchange)
        if self.maybe_queue(namespace, queue) is None:
            return Removed()
        return self.unbind(namespace, exchange, self.find_queue(namespace, queue, connection), routing_key, arguments)

    def unbind_exchange(self, namespace: str, destination: str, source: str, routing_key: str, arguments: Arguments) -> Removed:
        """Undo bind_exchange(); nothing is removed where exchanges or binding are not there."""
        space = self.namespace(namespace)
        _refuse_default(source)
        _refuse_default(destination)
        found = space.exchanges.get(destination)
        return Removed() if found is None else self.unbind(namespace, source, found, routing_key, arguments)

    def unbind(self, namespace: str, source: str, destination: Destination, routing_key: str, arguments: Arguments) -> Removed:
        """Undo bind(); nothing is removed where exchange or binding are not there."""
        space = self.namespace(namespace)
        binding = space.bindings.get(identity_of(source, destination, routing_key, arguments))
        return Removed() if binding is None else self._forget(space, space.remove_binding(binding))

    # Below: how

    def _add_maker(self, space: Namespace, binding: Binding, maker: str) -> None:
        """A binding that is there was made by this user too."""
        if not maker or maker in (binding.makers or (GUEST,)):
            return
        self.quotas.give_back(binding.maker, binding.uses())
        space.change_makers(binding, (*(binding.makers or (GUEST,)), maker)[-MAKERS_MAX:])
        self.quotas.count(binding.maker, binding.uses())
        if binding.persistent:
            self._keep(binding_key(space.name, binding.identity), binding_fields(binding))

    def _make_namespace(self, name: str) -> Namespace:
        self.quotas.take(NOBODY, {NAMESPACES: 1})
        namespace = Namespace(name)
        if self._may_carry is not None:
            namespace.router.may_carry = partial(self._may_carry, name)
        self.namespaces[name] = namespace
        return namespace

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
        self.quotas.check(maker, {TOPICS: 1, PARTITIONS: partitions})
        log_ids = [self.new_log_id() for _ in range(partitions)]
        id_ = self.new_log_id()
        topic = TopicDefinition(namespace.name, name, log_ids, subject=subject, arguments=arguments, policy=policy, id_=id_, maker=maker)
        self.add_topic(topic)
        return topic

    @staticmethod
    def _check_new(namespace: Namespace, name: str) -> None:
        if name in namespace.topics:
            raise Refused(Reason.EXISTS_DIFFERENT, f"topic '{name}' in {namespace.where} exists")

    def _keep_topic(self, topic: TopicDefinition) -> None:
        self._keep(named_key(TOPIC_KEY, topic.namespace, topic.name), topic_fields(topic))

    def _check_partitions(self, name: str, partitions: int) -> None:
        most = self.quotas.limits.partitions
        if not 1 <= partitions <= most:
            raise Refused(Reason.INVALID, f"topic '{name}': {partitions} partitions; 1 to {most} are allowed")

    def _check_owner(self, namespace: Namespace, queue: QueueDefinition | TopicDefinition, connection: Hashable) -> None:
        if queue.exclusive_to is None or queue.exclusive_to != connection:
            raise Refused(
                Reason.LOCKED,
                f"cannot obtain exclusive access to locked {queue_text(namespace, queue.name)}. It could be originally declared on another connection "
                "or the exclusive property value does not match that of the original declaration.",
            )

    def _keep(self, key: bytes, fields: dict[str, Any]) -> None:
        self._store.fold(CATALOGUE_SHARD, key, set_value(encode_value(fields)))

    def _forget(self, namespace: Namespace, removed: Removed) -> Removed:
        """Stage the end of everything removed."""
        keys = [binding_key(namespace.name, binding.identity) for binding in removed.bindings if binding.persistent]
        keys += [named_key(EXCHANGE_KEY, namespace.name, exchange.name) for exchange in removed.exchanges if exchange.persistent]
        keys += [named_key(TOPIC_KEY if queue.is_topic else QUEUE_KEY, namespace.name, queue.name) for queue in removed.queues if queue.persistent]
        for key in keys:
            self._store.fold(CATALOGUE_SHARD, key, DELETE)
        for queue in removed.queues:
            if isinstance(queue, TopicDefinition):
                del self._topics[queue.id]
            owned = self._exclusive.get(queue.exclusive_to)
            if owned is not None and isinstance(queue, QueueDefinition):
                owned.pop(queue, None)
                if not owned:
                    del self._exclusive[queue.exclusive_to]
        for gone in chain(removed.queues, removed.exchanges, removed.bindings):
            self.quotas.give_back(gone.maker, gone.uses())
        return removed

    def _namespace_of(self, name: str) -> Namespace:
        return self.namespaces.get(name) or self._make_namespace(name)


def _refuse_default(exchange: str) -> None:
    if exchange == "":
        raise Refused(Reason.NOT_PERMITTED, "operation not permitted on the default exchange")


def _refuse_reserved(kind: str, name: str) -> None:
    if name.startswith("amq."):
        raise Refused(Reason.NOT_PERMITTED, f"{kind} name '{name}' contains reserved prefix 'amq.*'")


def _check_same(where: str, name: str, received: bool | str, current: bool | str) -> None:
    if received != current:
        shown = [("true" if value else "false") if isinstance(value, bool) else value for value in (received, current)]
        raise Refused(Reason.EXISTS_DIFFERENT, f"inequivalent arg '{name}' for {where}: received '{shown[0]}' but current is '{shown[1]}'")
