"""The addresses of a node whose workers listen together: reserved for as long as the parent lives."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack

from entrepot.net.reserved import Reserved, reserve
from entrepot.protocol_table import listeners, protocols
from entrepot.settings import Config, address

HTTP = "http"  # the parent's alone
APART = "kafka"  # the protocol whose clients tell workers apart
OWN_FROM = 100  # a worker's own port is the common one, this, and its number more


class Addresses:
    """Closed with the stack. `shared`: of each listener that all workers have together; `own`: of those whose clients tell workers apart, one each."""

    def __init__(self, config: Config, count: int, stack: ExitStack) -> None:
        """Raises OSError in a listener's words, Refused."""
        self.http: tuple[str, int] | None = None
        self.shared: dict[str, Reserved] = {}
        self.own: dict[str, list[str]] = {}
        self._stack = stack
        wanted = {name: config.listen.get(name, kind.address) for name, kind in listeners().kinds.items()}
        for name, where in wanted.items():
            if where and name == HTTP:
                self.http = address(name, where)
            elif where:
                self.shared[name] = self._reserved(*address(name, where))
        for name in protocols()[APART].listeners:
            if name in self.shared:
                self.own[name] = [self._reserved(*each).address for each in own_addresses(self.shared[name], count, wanted[name].endswith(":0"))]

    def of_workers(self) -> Mapping[str, str]:
        """Where each listens with the others; "" for nowhere."""
        return dict.fromkeys(listeners().kinds, "") | {name: held.address for name, held in self.shared.items()}

    def _reserved(self, host: str, port: int) -> Reserved:
        held = reserve(host, port)
        self._stack.callback(held.close)
        return held


def own_addresses(shared: Reserved, count: int, is_chosen: bool) -> list[tuple[str, int]]:
    """Of the workers in their order; port 0 takes a free one. `is_chosen`: the system has chosen the common port."""
    return [(shared.host, 0 if is_chosen else shared.port + OWN_FROM + number) for number in range(count)]
