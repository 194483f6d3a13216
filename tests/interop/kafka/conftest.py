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
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient
from kafka_endpoints import Endpoint, named_endpoints
from kafka_messages import DEADLINE_S, create_topic

NAMED = named_endpoints(os.environ)
WORKERS = int(os.environ.get("ENTREPOT_TEST_WORKERS", "1"))
# So that a group learns of a change within a test's patience, and misses a killed member.
QUICK = {"groups.consumer_heartbeat_interval_ms": 500, "groups.consumer_session_timeout_ms": 6000}


@pytest.fixture(scope="session")
def entrepots() -> Iterator[Callable[[int], Any]]:
    """entrepots(workers) → an Entrepot for the run."""
    with ExitStack() as stack:

        @cache
        def broker(workers: int) -> Any:
            from entrepot.testing import Broker  # not at the top: runs against another broker need no Entrepot

            return stack.enter_context(Broker(listeners=("amqp", "kafka", "http"), settings=QUICK, workers=workers))

        yield broker


@pytest.fixture(scope="module")
def kafka_broker(request: pytest.FixtureRequest, entrepots: Callable[[int], Any]) -> Any:
    """The Entrepot, None if a broker is named. A module's WORKERS says that it is about so many."""
    return None if NAMED else entrepots(getattr(request.module, "WORKERS", WORKERS))


@pytest.fixture(scope="module")
def endpoint(kafka_broker: Any) -> Endpoint:
    """The listener without authentication."""
    return NAMED["plain"] if NAMED else Endpoint(f"127.0.0.1:{kafka_broker.port('kafka')}")


@pytest.fixture(scope="module")
def bootstrap(endpoint: Endpoint) -> str:
    return endpoint.bootstrap


@pytest.fixture(scope="module")
def node_count(kafka_broker: Any) -> int:
    """How many nodes clients are told of."""
    return 1 if NAMED else int(kafka_broker.workers)


@pytest.fixture(scope="session")
def is_entrepot() -> bool:
    """Whether the broker is an Entrepot: for the few things that Kafka does otherwise, or does not do."""
    return not NAMED


@pytest.fixture(scope="module")
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
