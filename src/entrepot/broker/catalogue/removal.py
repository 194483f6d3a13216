"""What goes when something goes: its bindings, auto-delete exchanges that are left without any, and the queue of a shared subscription with its exchange.

Only looks; the catalogue removes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from entrepot.broker.catalogue.definitions import Binding, Destination, ExchangeDefinition, Identity, QueueDefinition
from entrepot.broker.catalogue.queue_arguments import SHARED


class Going:
    """`bindings`, `exchanges` and `queues` that go, in an order in which nothing is left hanging: bindings first. Looked at are `all_queues` of a namespace."""

    def __init__(self, all_queues: Mapping[str, QueueDefinition]) -> None:
        self.bindings: dict[Identity, Binding] = {}
        self.exchanges: dict[str, ExchangeDefinition] = {}
        self.queues: list[QueueDefinition] = []
        self._all_queues = all_queues
        self._left: dict[str, int] = {}  # bindings that an auto-delete exchange has left, by name

    def unbind(self, bindings: Iterable[Binding]) -> None:
        """These go, and what that leaves unused."""
        waiting = self._unbound(bindings)
        while waiting:
            waiting += self._all_of(waiting.pop())

    def remove(self, definition: Destination) -> None:
        """Whatever leads to a definition that goes, and from it, and what that leaves unused; the exchange itself, if it is one."""
        if isinstance(definition, ExchangeDefinition):
            waiting = self._all_of(definition)
        else:
            waiting = self._unbound(definition.bindings_in.values())
        while waiting:
            waiting += self._all_of(waiting.pop())

    def _all_of(self, exchange: ExchangeDefinition) -> list[ExchangeDefinition]:
        if exchange.name in self.exchanges:
            return []
        self.exchanges[exchange.name] = exchange
        unused = self._unbound(exchange.bindings_out.values()) + self._unbound(exchange.bindings_in.values())
        queue = self._all_queues.get(exchange.name) if exchange.arguments.get(SHARED) is True else None
        if queue is not None and queue.policy.shared:
            self.queues.append(queue)
            unused += self._unbound(queue.bindings_in.values())
        return unused

    def _unbound(self, bindings: Iterable[Binding]) -> list[ExchangeDefinition]:
        """Take these in; exchanges that have none left."""
        unused = []
        for binding in bindings:
            if binding.identity in self.bindings:
                continue
            self.bindings[binding.identity] = binding
            source = binding.source
            if source.auto_delete and source.name not in self.exchanges:
                left = self._left[source.name] = self._left.get(source.name, len(source.bindings_out)) - 1
                if left == 0:
                    unused.append(source)
        return unused
