"""Namespace: what one test has of a broker to itself, for every protocol."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from entrepot.model.endpoints import Endpoints, Place
from entrepot.protocol_table import endpoints
from entrepot.testing.offered import Offered

FIRST_ACCOUNT = 100_000_000_000  # accounts are numbered from here on
LOOPBACK = "127.0.0.1"


def values(ports: Mapping[str, int], account: str = "") -> dict[str, Any]:
    """What is offered where these listeners are: a `port` of each protocol, and the addresses in its words."""
    found: dict[str, Any] = {}
    for name, offered in endpoints().items():
        if name in ports:
            found[f"{name}_port"] = ports[name]
            found |= {value: form(_place(offered, ports, account)) for value, form in offered.values.items()}
    return found


def _place(offered: Endpoints, ports: Mapping[str, int], account: str) -> Place:
    return Place(f"{LOOPBACK}:{ports[offered.name]}", account)


@dataclass
class Namespace(Offered):
    """Addresses within one namespace, in the words of each protocol: sqs_url, credentials, amqp_url, kafka_bootstrap, and whatever else is offered.

    `ports`: by listener; `account`: its name, and the twelve digits that SQS calls it by; `own_ports`: of the listeners that lead to it alone.
    """

    ports: Mapping[str, int]
    account: str
    own_ports: dict[str, int] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in self.__dataclass_fields__ or name not in (found := values(self._all_ports, self.account)):
            raise AttributeError(f"a namespace of this broker has no {name!r}")
        return found[name]

    @property
    def _all_ports(self) -> dict[str, int]:
        return {**self.ports, **self.own_ports}

    @property
    def name(self) -> str:
        """As in the configuration."""
        return f"public/{self.account}"

    @property
    def environment(self) -> dict[str, str]:
        """What brings clients here that look for it there, with the credentials of this account."""
        found: dict[str, str] = {}
        for offered in self._offered():
            if offered.environment is not None:
                found |= offered.environment(_place(offered, self._all_ports, self.account))
        return found

    @contextmanager
    def in_environment(self) -> Iterator[None]:
        """os.environ holds `environment` in the block, and nothing that would lead elsewhere."""
        given = self.environment
        unset = [name for offered in self._offered() for name in offered.unset]
        before = {name: os.environ.get(name) for name in (*given, *unset)}
        os.environ.update(given)
        for name in unset:
            os.environ.pop(name, None)
        try:
            with ExitStack() as stack:
                for offered in self._offered():
                    if offered.around is not None:
                        stack.enter_context(offered.around())
                yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value

    def _offered(self) -> list[Endpoints]:
        return [offered for offered in endpoints().values() if offered.name in self.ports]
