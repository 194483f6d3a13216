"""The addresses of a node whose workers listen together: reserved for as long as the parent lives."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack

from entrepot.cluster.workers.ports import own_addresses
from entrepot.net.reserved import Reserved, reserve
from entrepot.protocol_table import listeners, protocols
from entrepot.settings import Config, address

HTTP = "http"  # the parent's alone


class Addresses:
    """Closed with the stack. `shared`: of each listener that all workers have together; `own`: of those whose clients tell workers apart, one each."""

    def __init__(self, config: Config, count: int, stack: ExitStack) -> None:
        """Raises OSError in a listener's words, Refused."""
        self.http: tuple[str, int] | None = None
        self.shared: dict[str, Reserved] = {}
        self._stack = stack
        self._all: list[Reserved] = []
        wanted = {name: config.listen.get(name, kind.address) for name, kind in listeners().kinds.items()}
        for name, where in wanted.items():
            if where and name == HTTP:
                self.http = address(name, where)
            elif where:
                self.shared[name] = self._reserved(name, where)
        apart = [name for protocol in protocols().values() if protocol.tells_nodes_apart for name in protocol.listeners]
        self.own = {name: [self._reserved(name, where).address for where in found] for name, found in own_addresses(wanted, apart, count).items()}

    @property
    def count(self) -> int:
        """Sockets that are held."""
        return sum(len(held.sockets) for held in self._all)

    def of_workers(self) -> Mapping[str, str]:
        """Where each listens with the others; "" for nowhere."""
        return dict.fromkeys(listeners().kinds, "") | {name: held.address for name, held in self.shared.items()}

    def _reserved(self, name: str, where: str) -> Reserved:
        held = reserve(*address(name, where), self._all)
        self._all.append(held)
        self._stack.callback(held.close)
        return held
