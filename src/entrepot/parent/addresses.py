"""The addresses of a node whose workers listen together: reserved for as long as the parent lives."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterable, Mapping
from contextlib import ExitStack

from entrepot.cluster.workers.ports import FURTHER, own_addresses
from entrepot.config import listened
from entrepot.net.reserved import Reserved, reserve
from entrepot.net.session import address_text
from entrepot.protocol_table import listeners, protocols
from entrepot.settings import Config, address

log = logging.getLogger("entrepot.parent")

HTTP = "http"  # the parent's alone


class Addresses:
    """Closed with the stack. `shared`: of each listener that all workers have together; `own`: of those whose clients tell workers apart, one each."""

    def __init__(self, config: Config, count: int, stack: ExitStack) -> None:
        """Raises OSError in a listener's words, Refused."""
        self.http: tuple[str, int] | None = None
        self.shared: dict[str, Reserved] = {}
        self._stack = stack
        self._all: list[Reserved] = []
        wanted = listened(config)
        for name, where in wanted.items():
            if where and name == HTTP:
                self.http = address(name, where)
            elif where:
                self.shared[name] = self._reserved(name, where, stack)
        apart = [name for protocol in protocols().values() if protocol.tells_nodes_apart for name in protocol.listeners]
        self.own = self._own(wanted, apart, count)

    @property
    def count(self) -> int:
        """Sockets that are held."""
        return sum(len(held.sockets) for held in self._all)

    def of_workers(self) -> Mapping[str, str]:
        """Where each listens with the others; "" for nowhere."""
        return dict.fromkeys(listeners().kinds, "") | {name: held.address for name, held in self.shared.items()}

    def of_clients(self) -> dict[str, str]:
        """All that clients are told of; HTTP's once the parent listens."""
        http = {} if self.http is None else {HTTP: address_text(self.http)}
        return http | {name: held.address for name, held in self.shared.items()}

    def _own(self, wanted: Mapping[str, str], apart: Iterable[str], count: int) -> dict[str, list[str]]:
        """By the rule; where somebody else listens at one of these ports, further on."""
        taken: set[int] = set()
        while True:
            found = own_addresses(wanted, apart, count, taken)
            try:
                with ExitStack() as attempt:
                    own = {name: [self._reserved(name, where, attempt).address for where in places] for name, places in found.items()}
                    self._stack.push(attempt.pop_all())
                return own
            except InUse as error:
                taken.add(error.port)
                log.warning("listen.%s: the ports of the workers' own are looked for %d further on: %s", error.name, FURTHER, error.strerror)

    def _reserved(self, name: str, where: str, stack: ExitStack) -> Reserved:
        host, port = address(name, where)
        try:
            held = reserve(host, port, self._all)
        except OSError as error:
            raise (InUse(error, name, port) if error.errno == errno.EADDRINUSE and port else error) from None
        self._all.append(held)
        stack.callback(self._all.remove, held)
        stack.callback(held.close)
        return held


class InUse(OSError):
    """Somebody else listens at the port of the listener called `name`."""

    def __init__(self, error: OSError, name: str, port: int) -> None:
        super().__init__(error.errno, error.strerror)
        self.name = name
        self.port = port
