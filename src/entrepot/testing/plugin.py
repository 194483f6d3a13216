"""The pytest plugin: fixtures with a real broker. Loaded by pytest itself wherever Entrepot is installed; costs nothing until used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from entrepot.testing.broker import Broker
    from entrepot.testing.namespace import Namespace


@pytest.fixture(scope="session")
def entrepot_broker() -> Broker:
    """One broker for the whole test session, on free ports and a temporary directory."""
    from entrepot.testing.endpoints import shared_broker

    return shared_broker()


@pytest.fixture
def entrepot_amqp_url(entrepot_broker: Broker) -> str:
    """The AMQP address of `entrepot_broker`."""
    return entrepot_broker.amqp_url


@pytest.fixture
def entrepot_kafka_bootstrap(entrepot_broker: Broker) -> str:
    """The bootstrap servers of `entrepot_broker`, for Kafka clients."""
    return entrepot_broker.kafka_bootstrap


@pytest.fixture
def entrepot_namespace(entrepot_broker: Broker) -> Iterator[Namespace]:
    """A namespace of this test's own on `entrepot_broker`: an SQS account, a virtual host and a Kafka listener that lead to the same queues and topics."""
    with entrepot_broker.namespace() as space:
        yield space


@pytest.fixture
def entrepot_sqs(entrepot_namespace: Namespace) -> Iterator[Namespace]:
    """`entrepot_namespace`; in the test every AWS SDK goes there: endpoint, credentials and region are in the environment, for child processes too."""
    with entrepot_namespace.in_environment():
        yield entrepot_namespace


@pytest.fixture
def entrepot_kafka(entrepot_namespace: Namespace) -> str:
    """The bootstrap servers of `entrepot_namespace`."""
    return entrepot_namespace.kafka_bootstrap


@pytest.fixture
def entrepot_amqp(entrepot_namespace: Namespace) -> str:
    """The AMQP URL of `entrepot_namespace`."""
    return entrepot_namespace.amqp_url
