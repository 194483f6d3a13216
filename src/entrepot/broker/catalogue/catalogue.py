"""Catalogue: all definitions as they are now, in this process. Everybody has one; the owner of shard 0 decides what it becomes (decisions.py).

apply() is pure and tolerant: whoever has applied the same rows in the same order has the same catalogue, and a row that says what is so already, or
speaks of what is not there any more, changes nothing. What comes and goes is told to whoever brings it to life (on_applied).
Errors of the finders are Refused: NOT_FOUND, LOCKED (exclusive to another connection), NOT_PERMITTED (the default exchange).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from entrepot.broker.catalogue.changes import NO_REVISION, Revision, Row
from entrepot.broker.catalogue.definitions import TO_EXCHANGE, TO_QUEUE, Binding, Destination, ExchangeDefinition, QueueDefinition, TopicDefinition
from entrepot.broker.catalogue.kept_definitions import (
    BINDING_KEY,
    EXCHANGE_KEY,
    NAMESPACE_KEY,
    QUEUE_KEY,
    TOPIC_KEY,
    binding_row,
    decode_value,
    exchange_of,
    exchange_row,
    identity_in,
    is_same,
    kept_arguments,
    namespace_row,
    queue_of,
    queue_row,
    scan_all,
    split_key,
    timed_of,
    topic_id_in,
    topic_of,
    topic_policy,
    topic_row,
)
from entrepot.broker.catalogue.namespace import SYSTEM_EXCHANGES, Namespace, exchange_text, queue_text
from entrepot.broker.catalogue.quotas import BINDINGS, EXCHANGES, METADATA, NAMESPACES, NOBODY, PARTITIONS, QUEUES, TOPICS, QuotaLimits, Quotas
from entrepot.broker.catalogue.stream import CatalogueStream
from entrepot.model.errors import CorruptData, Reason, Refused
from entrepot.model.names import DEFAULT_NAMESPACE, shown, vhost_of

_KIND_SIZE = len(NAMESPACE_KEY)


@dataclass(slots=True)
class Applied:
    """What a change made, removed, and changed."""

    made: list[QueueDefinition | TopicDefinition] = field(default_factory=list)
    removed: list[QueueDefinition | TopicDefinition] = field(default_factory=list)
    changed: list[QueueDefinition | TopicDefinition] = field(default_factory=list)


class Catalogue:
    """Of one process. `revision`: of the state that it is in, `becoming`: of the one that it is about to be in, the same mostly.

    on_applied(applied) is called for changes that concern queues or topics.
    """

    prefixes: tuple[bytes, ...] = (NAMESPACE_KEY, EXCHANGE_KEY, QUEUE_KEY, TOPIC_KEY, BINDING_KEY)

    def __init__(self, limits: QuotaLimits | None = None) -> None:
        self.namespaces: dict[str, Namespace] = {}
        self.quotas = Quotas(limits)
        self.revision = self.becoming = NO_REVISION
        self.on_applied: Callable[[Applied], None] | None = None
        self._waiting: list[tuple[Revision, Callable[[], None]]] = []
        self._topics: dict[bytes, TopicDefinition] = {}  # by id
        self._exclusive: dict[Hashable, dict[QueueDefinition, bool]] = {}
        self._may_carry: Callable[[str, str, tuple[str, ...]], bool] | None = None
        self._appliers = {
            NAMESPACE_KEY: self._apply_namespace,
            EXCHANGE_KEY: self._apply_exchange,
            QUEUE_KEY: self._apply_queue,
            TOPIC_KEY: self._apply_topic,
            BINDING_KEY: self._apply_binding,
        }
        self._make_namespace(DEFAULT_NAMESPACE)

    # Changes

    def load(self, stream: CatalogueStream) -> None:
        """Take in what the stream's store has kept, and follow it; once, before the first call. Raises CorruptData for what cannot be understood."""
        self.revision = self.becoming = stream.revision
        stream.add(self)
        applied = Applied()
        for prefix in self.prefixes:
            for key, value in scan_all(stream.store, prefix):
                row = Row(key, decode_value(key, value))
                if not self._appliers[prefix](row, applied):
                    fields = row.fields
                    raise CorruptData(f"binding {key!r} joins {fields['source']!r} and {fields['kind']} {fields['destination']!r}, of which one does not exist")

    def apply(self, revision: Revision, rows: list[Row], *, more: bool = False) -> None:
        """Take in a change; see snapshots.Part."""
        self.becoming = revision
        if not more:
            self.revision = revision
        applied = Applied()
        for row in rows:
            prefix = row.key[:_KIND_SIZE]
            apply = self._appliers.get(prefix)
            if apply is not None and not (row.gone and split_key(row.key, prefix)[0] not in self.namespaces):
                apply(row, applied)
        if self.on_applied is not None and (applied.made or applied.removed or applied.changed):
            self.on_applied(applied)
        for waiting in [waiting for waiting in self._waiting if waiting[0] <= self.revision]:
            self._waiting.remove(waiting)
            waiting[1]()

    def when(self, revision: Revision, do: Callable[[], None]) -> None:
        """Do something once the catalogue is as far as that, at once if it is."""
        if revision <= self.revision:
            do()
        else:
            self._waiting.append((revision, do))

    def rows(self) -> Iterator[Row]:
        """Rows that make another catalogue like this one; see snapshots.Part."""
        for name in list(self.namespaces):
            if name != DEFAULT_NAMESPACE and name in self.namespaces:
                yield namespace_row(name)
        for _, exchange in self._each(lambda space: space.exchanges):
            if exchange.name not in SYSTEM_EXCHANGES:
                yield exchange_row(exchange)
        for _, queue in self._each(lambda space: space.queues):
            yield queue_row(queue)
        for _, topic in self._each(lambda space: space.topics):
            yield topic_row(topic)
        for name, binding in self._each(lambda space: space.bindings):
            yield binding_row(name, binding)

    def transient_rows(self) -> Iterator[Row]:
        """Those of rows() that are not kept."""
        for space in self.namespaces.values():
            yield from (exchange_row(one) for one in space.exchanges.values() if not one.persistent and one.name not in SYSTEM_EXCHANGES)
            yield from (queue_row(one) for one in space.queues.values() if not one.persistent)
        for space in self.namespaces.values():
            yield from (binding_row(space.name, one) for one in space.bindings.values() if not one.persistent)

    def _each(self, of: Callable[[Namespace], dict[Any, Any]]) -> Iterator[tuple[str, Any]]:
        """What is in every namespace by then, of what was in it in the beginning: others may come and go meanwhile."""
        for name in list(self.namespaces):
            space = self.namespaces.get(name)
            for key in [] if space is None else list(of(space)):
                space = self.namespaces.get(name)
                found = None if space is None else of(space).get(key)
                if found is not None:
                    yield name, found

    def snapshot(self) -> list[Row]:
        """All of rows()."""
        return list(self.rows())

    def value(self, key: bytes, kept: bytes) -> dict[str, Any]:
        """See snapshots.Part."""
        return decode_value(key, kept)

    def _apply_namespace(self, row: Row, applied: Applied) -> bool:
        name = split_key(row.key, NAMESPACE_KEY)[0]
        if not row.gone:
            self._namespace_of(name)
        elif name != DEFAULT_NAMESPACE and name in self.namespaces:
            space = self.namespaces[name]
            definitions: list[Destination] = [*space.queues.values(), *space.topics.values(), *space.exchanges.values()]
            for definition in definitions:
                if definition.name not in SYSTEM_EXCHANGES:
                    self._drop(space, definition, applied)
            for binding in list(space.bindings.values()):
                self._drop_binding(space, binding)
            del self.namespaces[name]
            self.quotas.give_back(NOBODY, {NAMESPACES: 1})
        return True

    def _apply_exchange(self, row: Row, applied: Applied) -> bool:
        space, name = self._place(row, EXCHANGE_KEY)
        existing = space.exchanges.get(name)
        bindings: list[Row] = []
        if existing is not None and (row.gone or not is_same(exchange_row(existing), row)):
            bindings = self._drop(space, existing, applied)
            existing = None
        if existing is None and not row.gone:
            exchange = exchange_of(space, name, row.fields)
            self.quotas.count(exchange.maker, exchange.uses())
            space.add_exchange(exchange)
            self._bind_again(bindings, applied)
        return True

    def _apply_queue(self, row: Row, applied: Applied) -> bool:
        space, name = self._place(row, QUEUE_KEY)
        existing = space.queues.get(name)
        bindings: list[Row] = []
        if existing is not None and (row.gone or existing.log_id != row.fields["log_id"]):
            bindings = self._drop(space, existing, applied)
            existing = None
        if row.gone:
            return True
        if existing is not None:
            timed = timed_of(row.fields)
            if timed != existing.timed:
                existing.timed = timed
                size = existing.size()
                self.quotas.count(existing.maker, {METADATA: size - existing.metadata_bytes})
                existing.metadata_bytes = size
                applied.changed.append(existing)
            return True
        queue = queue_of(space, name, row.fields)
        self.quotas.count(queue.maker, queue.uses())
        space.add_queue(queue)
        if queue.exclusive_to is not None:
            self._exclusive.setdefault(queue.exclusive_to, {})[queue] = True
        applied.made.append(queue)
        self._bind_again(bindings, applied)
        return True

    def _apply_topic(self, row: Row, applied: Applied) -> bool:
        space, name = self._place(row, TOPIC_KEY)
        existing = space.topics.get(name)
        bindings: list[Row] = []
        if existing is not None and (row.gone or existing.id != topic_id_in(row.fields)):
            bindings = self._drop(space, existing, applied)
            existing = None
        if row.gone:
            return True
        if existing is None:
            topic = topic_of(space, name, row.fields)
            self.quotas.count(topic.maker, topic.uses())
            space.add_topic(topic)
            self._topics[topic.id] = topic
            applied.made.append(topic)
            self._bind_again(bindings, applied)
        elif not is_same(topic_row(existing), row):
            fields = row.fields
            self.quotas.count(existing.maker, {PARTITIONS: len(fields["partitions"]) - len(existing.partitions)})
            existing.partitions = fields["partitions"]
            existing.config = fields.get("config") or {}
            existing.policy = topic_policy(space, name, fields, existing.arguments)
            if fields["subject"] != existing.subject:
                space.change_subject(existing, fields["subject"])
            applied.changed.append(existing)
        return True

    def _apply_binding(self, row: Row, applied: Applied) -> bool:
        """False: one of its ends is not there."""
        space = self.namespaces.get(split_key(row.key, BINDING_KEY)[0])
        if space is None:
            return False
        fields = row.fields
        identity = identity_in(fields)
        existing = space.bindings.get(identity)
        if row.gone:
            if existing is not None:
                self._drop_binding(space, existing)
            return True
        makers = tuple(fields.get("makers", ()))
        if existing is not None:
            if existing.makers != makers:
                self.quotas.give_back(existing.maker, existing.uses())
                space.change_makers(existing, makers)
                self.quotas.count(existing.maker, existing.uses())
            return True
        source = space.exchanges.get(fields["source"])
        name = fields["destination"]
        destination: Destination | None
        if fields["kind"] == TO_EXCHANGE:
            destination = space.exchanges.get(name)
        elif fields["kind"] == TO_QUEUE:
            destination = space.queues.get(name)
        else:
            destination = space.topics.get(name)
        if source is None or destination is None:
            return False
        space.add_binding(identity, source, destination, kept_arguments(fields), makers)
        binding = space.bindings[identity]
        self.quotas.count(binding.maker, binding.uses())
        return True

    def _place(self, row: Row, prefix: bytes) -> tuple[Namespace, str]:
        """The namespace of a named thing, and its name."""
        namespace, name = split_key(row.key, prefix)
        return self._namespace_of(namespace), name.decode()

    def _drop(self, space: Namespace, definition: Destination, applied: Applied) -> list[Row]:
        """Let go of a definition. Its bindings went before it; any that are left go with it, and are returned: another of its name has them."""
        bindings = list(definition.bindings_in.values())
        if isinstance(definition, ExchangeDefinition):
            bindings += [binding for binding in definition.bindings_out.values() if binding.destination is not definition]
        rows = [binding_row(space.name, binding) for binding in bindings]
        for binding in bindings:
            self._drop_binding(space, binding)
        self.quotas.give_back(definition.maker, definition.uses())
        if isinstance(definition, ExchangeDefinition):
            space.remove_exchange(definition)
            return rows
        applied.removed.append(definition)
        if isinstance(definition, TopicDefinition):
            space.remove_topic(definition)
            del self._topics[definition.id]
            return rows
        space.remove_queue(definition)
        owned = self._exclusive.get(definition.exclusive_to)
        if owned is not None:
            owned.pop(definition, None)
            if not owned:
                del self._exclusive[definition.exclusive_to]
        return rows

    def _bind_again(self, bindings: list[Row], applied: Applied) -> None:
        """Something is another now, in one row: whoever tells of a difference does not tell of what is bound to it before and after."""
        for row in bindings:
            try:
                self._apply_binding(row, applied)
            except Refused:  # it is of another type now, which does not take these arguments
                continue

    def _drop_binding(self, space: Namespace, binding: Binding) -> None:
        space.remove_binding(binding)
        self.quotas.give_back(binding.maker, binding.uses())

    def _make_namespace(self, name: str) -> Namespace:
        self.quotas.count(NOBODY, {NAMESPACES: 1})
        namespace = Namespace(name)
        if self._may_carry is not None:
            namespace.router.may_carry = partial(self._may_carry, name)
        self.namespaces[name] = namespace
        return namespace

    def _namespace_of(self, name: str) -> Namespace:
        return self.namespaces.get(name) or self._make_namespace(name)

    # What there is

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

    def namespace(self, name: str) -> Namespace:
        """The namespace of that name; NOT_FOUND."""
        namespace = self.namespaces.get(name)
        if namespace is None:
            raise Refused(Reason.NOT_FOUND, f"vhost {vhost_of(name)} not found")
        return namespace

    def find_exchange(self, namespace: str, name: str) -> ExchangeDefinition:
        """The exchange of that name; NOT_FOUND, and NOT_PERMITTED for the default exchange, which is none that could be shown."""
        space = self.namespace(namespace)
        refuse_default(name)
        exchange = space.exchanges.get(name)
        if exchange is None:
            raise Refused(Reason.NOT_FOUND, f"no {exchange_text(space, name)}")
        return exchange

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
            self.check_owner(space, found, connection)
        return found

    def exclusive_queues(self, connection: Hashable) -> list[QueueDefinition]:
        """The queues to remove when `connection` ends."""
        return list(self._exclusive.get(connection, ()))

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

    def check_owner(self, namespace: Namespace, queue: QueueDefinition | TopicDefinition, connection: Hashable) -> None:
        """LOCKED unless the queue is exclusive to that connection."""
        if queue.exclusive_to is None or queue.exclusive_to != connection:
            raise Refused(
                Reason.LOCKED,
                f"cannot obtain exclusive access to locked {queue_text(namespace, queue.name)}. It could be originally declared on another connection "
                "or the exclusive property value does not match that of the original declaration.",
            )


def refuse_default(exchange: str) -> None:
    """NOT_PERMITTED for the default exchange."""
    if exchange == "":
        raise Refused(Reason.NOT_PERMITTED, "operation not permitted on the default exchange")
