"""Shared: shared subscriptions in the catalogue. One is an exchange and a queue of the same name, both with the argument SHARED.

Nothing is published to the exchange. It is there for its bindings: each says that a queue is a member. It is auto-delete, and its queue goes with it
(removal.py); so whatever takes a member away (it leaves, it is deleted, it lived in a process that has ended) takes away what nobody is a member of, in the
same commit.
"""

from __future__ import annotations

from entrepot.broker.catalogue.arguments import Arguments
from entrepot.broker.catalogue.decisions import Decisions
from entrepot.broker.catalogue.definitions import Binding, Home, QueueDefinition, TopicDefinition
from entrepot.broker.catalogue.namespace import Namespace
from entrepot.broker.catalogue.queue_arguments import SHARED
from entrepot.model.errors import NotDone, Reason, Refused

_IS_SHARED = {SHARED: True}


class Shared:
    """Over the decisions of one catalogue."""

    def __init__(self, decisions: Decisions) -> None:
        self._decisions = decisions

    def join(
        self,
        namespace: str,
        name: str,
        exchange: str,
        pattern: str,
        member: QueueDefinition | TopicDefinition,
        arguments: Arguments,
        queue_arguments: Arguments,
        connection: Home,
        maker: str,
    ) -> None:
        """Make a queue a member; what of the subscription is not there is made. Raises Refused, Unavailable, and nothing has changed then."""
        decisions = self._decisions
        space = decisions.catalogue.namespace(namespace)
        _check_name(space, name)
        had = {binding.identity for binding in _bindings(space, name, member)}
        is_new = name not in space.exchanges
        decisions.declare_exchange(namespace, name, "direct", durable=True, auto_delete=True, internal=True, arguments=_IS_SHARED, maker=maker, is_own=True)
        try:
            decisions.bind(namespace, name, member, pattern, arguments, maker)
            if name not in space.queues:
                decisions.declare_queue(
                    namespace,
                    name,
                    durable=True,
                    exclusive=False,
                    auto_delete=False,
                    arguments={**queue_arguments, **_IS_SHARED},
                    connection=connection,
                    maker=maker,
                    is_own=True,
                )
            decisions.bind_queue(namespace, name, exchange, pattern, {}, connection, maker)
        except NotDone:
            if is_new:
                decisions.delete_exchange(namespace, name)
            raise
        for binding in _bindings(space, name, member):
            if binding.identity in had and (binding.routing_key, binding.arguments) != (pattern, dict(arguments)):
                decisions.unbind(namespace, name, member, binding.routing_key, binding.arguments)

    def leave(self, namespace: str, name: str, member: QueueDefinition | TopicDefinition) -> None:
        """A queue is a member no more."""
        space = self._decisions.catalogue.namespace(namespace)
        for binding in _bindings(space, name, member):
            self._decisions.unbind(namespace, name, member, binding.routing_key, binding.arguments)

    def sweep(self) -> None:
        """What nobody is a member of goes: its last ones had ended with the process that decided before."""
        decisions = self._decisions
        for space in list(decisions.catalogue.namespaces.values()):
            for exchange in list(space.exchanges.values()):
                if exchange.arguments.get(SHARED) is True and exchange.auto_delete and not exchange.bindings_out:
                    decisions.delete_exchange(space.name, exchange.name)


def _check_name(space: Namespace, name: str) -> None:
    """Refused (EXISTS_DIFFERENT): something else has that name."""
    exchange, queue = space.exchanges.get(name), space.queues.get(name)
    if (exchange is not None and exchange.arguments.get(SHARED) is not True) or (queue is not None and not queue.policy.shared):
        raise Refused(Reason.EXISTS_DIFFERENT, f"'{name}' in {space.where} is no shared subscription")


def _bindings(space: Namespace, name: str, member: QueueDefinition | TopicDefinition) -> list[Binding]:
    """Those that say that a queue is a member."""
    exchange = space.exchanges.get(name)
    if exchange is None or exchange.arguments.get(SHARED) is not True:
        return []
    return [binding for binding in exchange.bindings_out.values() if binding.destination is member]
