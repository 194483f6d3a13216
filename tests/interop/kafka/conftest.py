"""Unmodified Kafka clients against a real broker process over real sockets: where it is, topics and groups of a test's own.

The broker is an Entrepot started for the run. To put the same tests to Apache Kafka, or to any other broker, name it:

    ENTREPOT_TEST_KAFKA=127.0.0.1:9092             a listener without authentication; topics and groups are made, and removed afterwards
    ENTREPOT_TEST_KAFKA_SASL=127.0.0.1:9094        one with SASL over plain text, that knows the user `alice` with the password `alice-secret`
    ENTREPOT_TEST_KAFKA_TLS=127.0.0.1:9095,CA.pem  one with TLS, without authentication

Without the second and the third, tests that need them are skipped when the first is given.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient
from kafka_endpoints import Endpoint, named_endpoints
from kafka_messages import DEADLINE_S, create_topic

NAMED = named_endpoints(os.environ)
# So that a group learns of a change within a test's patience, and misses a killed member.
QUICK = {"groups.consumer_heartbeat_interval_ms": 500, "groups.consumer_session_timeout_ms": 6000}


@pytest.fixture(scope="session")
def kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """An Entrepot for the run, None if a broker is named."""
    if NAMED:
        yield None
        return
    from entrepot.testing import Broker  # not at the top: runs against another broker need no Entrepot

    with Broker(listeners=("amqp", "kafka", "http"), settings=QUICK) as broker:
        yield broker


@pytest.fixture(scope="session")
def endpoint(kafka_broker: Any) -> Endpoint:
    """The listener without authentication."""
    return NAMED["plain"] if NAMED else Endpoint(f"127.0.0.1:{kafka_broker.port('kafka')}")


@pytest.fixture(scope="session")
def bootstrap(endpoint: Endpoint) -> str:
    return endpoint.bootstrap


@pytest.fixture(scope="session")
def is_entrepot() -> bool:
    """Whether the broker is an Entrepot: for the few things that Kafka does otherwise, or does not do."""
    return not NAMED


@pytest.fixture(scope="session")
def admin(bootstrap: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": bootstrap, "socket.timeout.ms": int(DEADLINE_S * 1000)})


@pytest.fixture
def topic(admin: AdminClient) -> Iterator[Callable[..., str]]:
    """topic(partitions=1, **configuration) → the name of a topic of this test's own; dots in configuration keys are written as underscores."""
    made: list[str] = []

    def make(partitions: int = 1, **configuration: object) -> str:
        made.append(f"interop.{secrets.token_hex(6)}")
        create_topic(admin, made[-1], partitions, {key.replace("_", "."): str(value) for key, value in configuration.items()})
        return made[-1]

    yield make
    if made:
        for future in admin.delete_topics(made, operation_timeout=DEADLINE_S).values():
            future.exception(DEADLINE_S)  # some tests delete their own


@pytest.fixture
def group() -> str:
    """A group id that nobody else uses."""
    return f"interop.{secrets.token_hex(6)}"


@pytest.fixture(scope="session")
def fetched() -> Path:
    """Where clients that are fetched on demand are kept between runs: ENTREPOT_TEST_CACHE, else a folder under the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get("ENTREPOT_TEST_CACHE") or Path(cache) / "entrepot-tests")
