"""Namespace: the definitions of one namespace in memory, with its router.

Nothing here checks who may, whether a name is legal, or what goes when something goes, and nothing persists: decisions.py does.
"""

from __future__ import annotations

from collections.abc import Iterator

from entrepot.broker.catalogue.definitions import (
    Binding,
    Destination,
    ExchangeDefinition,
    Identity,
    QueueDefinition,
    TopicDefinition,
)
from entrepot.broker.catalogue.name_order import NameOrder
from entrepot.broker.catalogue.routing import KINDS, Router
from entrepot.model.names import vhost_of

SUBJECT_EXCHANGE = "amq.topic"
SYSTEM_EXCHANGES = {"amq.direct": "direct", "amq.fanout": "fanout", "amq.topic": "topic", "amq.headers": "headers", "amq.match": "headers"}


class Namespace:
    """Exchanges, queues, topics and bindings by name. Starts with the system exchanges; the default exchange is the router's."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.where = f"vhost '{vhost_of(name)}'"
        self.exchanges: dict[str, ExchangeDefinition] = {}
        self.queues: dict[str, QueueDefinition] = {}
        self._queue_order = NameOrder()
        self.topics: dict[str, TopicDefinition] = {}
        self.bindings: dict[Identity, Binding] = {}
        self._makers: dict[tuple[str, ...], tuple[str, ...]] = {}  # of bindings: the same users, the same tuple
        self.router = Router(self.where, self.queues, self.topics)
        self.router.namespace = name
        for exchange, type_name in SYSTEM_EXCHANGES.items():
            self.add_exchange(
                ExchangeDefinition(name, exchange, type_name, durable=True, auto_delete=False, internal=False, arguments={}, kind=KINDS[type_name])
            )
        self.router.subject_exchange = self.exchanges[SUBJECT_EXCHANGE].routes

    def add_exchange(self, exchange: ExchangeDefinition) -> None:
        """Take in an exchange of a new name."""
        assert exchange.name not in self.exchanges, exchange.name
        self.exchanges[exchange.name] = exchange
        self.router.exchanges[exchange.name] = exchange.routes
        if exchange.internal:
            self.router.internal[exchange.name] = True
        self.router.changed()

    def add_queue(self, queue: QueueDefinition) -> None:
        """Take in a queue of a new name."""
        assert queue.name not in self.queues, queue.name
        self.queues[queue.name] = queue
        self._queue_order.add(queue.name)
        self.router.changed()

    def queue_names(self, prefix: str, after: str) -> Iterator[str]:
        """Names of queues that begin with `prefix` and come behind `after`, in order; not to be used once queues have come or gone."""
        return self._queue_order.behind(prefix, after)

    def add_topic(self, topic: TopicDefinition) -> None:
        """Take in a topic of a new name, and its subject."""
        assert topic.name not in self.topics, topic.name
        self.topics[topic.name] = topic
        if topic.subject:
            self.exchanges[SUBJECT_EXCHANGE].routes.add_subject(topic.subject, topic)
        self.router.changed()

    def add_binding(
        self, identity: Identity, source: ExchangeDefinition, destination: Destination, arguments: dict[str, object], makers: tuple[str, ...] = ()
    ) -> None:
        """Take in a binding that is not there. Refused (INVALID) where a headers exchange does not take the arguments."""
        assert identity not in self.bindings, identity
        routing_key = identity[3]
        target = destination.routes if isinstance(destination, ExchangeDefinition) else destination
        makers = self._makers.setdefault(makers, makers)
        source.routes.add(identity, routing_key, arguments, target, makers)
        binding = Binding(identity, source, destination, routing_key, arguments, makers)
        self.bindings[identity] = binding
        source.bindings_out[identity] = binding
        destination.bindings_in[identity] = binding
        self.router.changed()

    def change_makers(self, binding: Binding, makers: tuple[str, ...]) -> None:
        """A binding has other makers from now on."""
        target = binding.destination.routes if isinstance(binding.destination, ExchangeDefinition) else binding.destination
        routes = binding.source.routes
        routes.remove(binding.identity, binding.routing_key, target, binding.makers)
        binding.makers = self._makers.setdefault(makers, makers)
        binding.maker = binding.makers[0] if makers else ""
        routes.add(binding.identity, binding.routing_key, binding.arguments, target, binding.makers)
        self.router.changed()

    def remove_binding(self, binding: Binding) -> None:
        """Drop a binding."""
        target = binding.destination.routes if isinstance(binding.destination, ExchangeDefinition) else binding.destination
        binding.source.routes.remove(binding.identity, binding.routing_key, target, binding.makers)
        del self.bindings[binding.identity]
        del binding.source.bindings_out[binding.identity]
        del binding.destination.bindings_in[binding.identity]
        self.router.changed()

    def remove_exchange(self, exchange: ExchangeDefinition) -> None:
        """Drop an exchange, which has no bindings."""
        assert not exchange.bindings_in, exchange.name
        assert not exchange.bindings_out, exchange.name
        del self.exchanges[exchange.name]
        del self.router.exchanges[exchange.name]
        self.router.internal.pop(exchange.name, None)
        self.router.changed()

    def remove_queue(self, queue: QueueDefinition) -> None:
        """Drop a queue, which has no bindings."""
        assert not queue.bindings_in, queue.name
        del self.queues[queue.name]
        self._queue_order.remove(queue.name)
        self.router.changed()

    def remove_topic(self, topic: TopicDefinition) -> None:
        """Drop a topic, which has no bindings, with its subject."""
        assert not topic.bindings_in, topic.name
        del self.topics[topic.name]
        if topic.subject:
            self.exchanges[SUBJECT_EXCHANGE].routes.remove_subject(topic.subject, topic)
        self.router.changed()

    def change_subject(self, topic: TopicDefinition, subject: str) -> None:
        """Give a topic another subject, "" for none."""
        routes = self.exchanges[SUBJECT_EXCHANGE].routes
        if topic.subject:
            routes.remove_subject(topic.subject, topic)
        topic.subject = subject
        if subject:
            routes.add_subject(subject, topic)
        self.router.changed()


def exchange_text(namespace: Namespace, name: str) -> str:
    """How error texts call an exchange."""
    return f"exchange '{name}' in {namespace.where}"


def queue_text(namespace: Namespace, name: str) -> str:
    """How error texts call a queue or stream."""
    return f"queue '{name}' in {namespace.where}"
