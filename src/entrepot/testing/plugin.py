"""The pytest plugin: fixtures with a real broker. Loaded by pytest itself wherever Entrepot is installed; costs nothing until used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from entrepot.protocol_table import endpoints

if TYPE_CHECKING:
    from entrepot.model.endpoints import Endpoints
    from entrepot.testing.broker import Broker
    from entrepot.testing.namespace import Namespace


@pytest.fixture(scope="session")
def entrepot_broker() -> Broker:
    """One broker for the whole test session, on free ports and a temporary directory."""
    from entrepot.testing.endpoints import shared_broker

    return shared_broker()


@pytest.fixture
def entrepot_namespace(entrepot_broker: Broker) -> Iterator[Namespace]:
    """A namespace of this test's own on `entrepot_broker`: an account, a virtual host, a listener of its own, that lead to the same queues and topics."""
    with entrepot_broker.namespace() as space:
        yield space


def _fixtures(offered: Endpoints) -> dict[str, Any]:
    """A protocol's fixtures: what a client of its is told of a namespace of the test's own, and the same of the whole broker."""
    name, client = offered.name, offered.client

    def of_namespace(entrepot_namespace: Namespace) -> Any:
        return getattr(entrepot_namespace, client or "")

    def of_broker(entrepot_broker: Broker) -> Any:
        return getattr(entrepot_broker, client or "")

    def in_environment(entrepot_namespace: Namespace) -> Iterator[Namespace]:
        """`entrepot_namespace`; in the test every client goes there that looks into the environment (endpoint, credentials), in child processes too."""
        with entrepot_namespace.in_environment():
            yield entrepot_namespace

    if client is None:
        return {}
    if not client:
        return {f"entrepot_{name}": pytest.fixture(in_environment)}
    of_namespace.__doc__, of_broker.__doc__ = (f"`{client}` of `{of}`. {offered.values[client].__doc__}" for of in ("entrepot_namespace", "entrepot_broker"))
    return {f"entrepot_{name}": pytest.fixture(of_namespace), f"entrepot_{client}": pytest.fixture(of_broker)}


for _offered in endpoints().values():
    globals().update(_fixtures(_offered))
