"""What goes when something goes: its bindings, and auto-delete exchanges that are left without any. Only looks; the catalogue removes."""

from __future__ import annotations

from collections.abc import Iterable

from entrepot.broker.catalogue.definitions import Binding, Destination, ExchangeDefinition, Identity


class Going:
    """`bindings` and `exchanges` that go, in an order in which nothing is left hanging: bindings first."""

    def __init__(self) -> None:
        self.bindings: dict[Identity, Binding] = {}
        self.exchanges: dict[str, ExchangeDefinition] = {}
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
        return self._unbound(exchange.bindings_out.values()) + self._unbound(exchange.bindings_in.values())

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
