"""The pytest plugin: fixtures with a real broker. Loaded by pytest itself wherever Entrepot is installed; costs nothing until used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from entrepot.testing.broker import Broker


@pytest.fixture(scope="session")
def entrepot_broker() -> Iterator[Broker]:
    """One broker for the whole test session, on free ports and a temporary directory."""
    from entrepot.testing.broker import Broker

    with Broker() as broker:
        yield broker


@pytest.fixture
def entrepot_amqp_url(entrepot_broker: Broker) -> str:
    """The AMQP address of `entrepot_broker`."""
    return entrepot_broker.amqp_url


@pytest.fixture
def entrepot_kafka_bootstrap(entrepot_broker: Broker) -> str:
    """The bootstrap servers of `entrepot_broker`, for Kafka clients."""
    return entrepot_broker.kafka_bootstrap
