"""Real, unmodified clients against a real broker process over real sockets: the broker, connections to it, names that are cleared away afterwards.

The broker is an Entrepot started for the run; with ENTREPOT_TEST_AMQP_URL set it is whatever listens there, so that the same test can be put to RabbitMQ.
"""

from __future__ import annotations

import gc
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel

ORACLE_URL = os.environ.get("ENTREPOT_TEST_AMQP_URL")

Connect = Callable[..., pika.BlockingConnection]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"))
            item.add_marker(pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"))


@pytest.fixture(scope="module", autouse=True)
def sockets_left_by_clients() -> Iterator[None]:
    """pika leaves its sockets to the garbage collector when a connection fails: they go here, where that is no error."""
    yield
    gc.collect()


@pytest.fixture(scope="session")
def amqp_url() -> Iterator[str]:
    """The broker under test: a new Entrepot, or what ENTREPOT_TEST_AMQP_URL names."""
    if ORACLE_URL:
        yield ORACLE_URL
        return
    from entrepot.testing import Broker  # not at the top: the oracle runs need no Entrepot

    with Broker() as broker:
        yield broker.amqp_url


@pytest.fixture(scope="session")
def fetched() -> Path:
    """Where clients that are fetched on demand are kept between runs: ENTREPOT_TEST_CACHE, else a folder under the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get("ENTREPOT_TEST_CACHE") or Path(cache) / "entrepot-tests")


@pytest.fixture
def own_broker() -> Iterator[Any]:
    """An Entrepot of this test's own, to be restarted or killed; a named URL can't be."""
    if ORACLE_URL:
        pytest.skip("ENTREPOT_TEST_AMQP_URL names a broker that is not ours to restart")
    from entrepot.testing import Broker

    with Broker() as broker:
        yield broker


@pytest.fixture
def connect(amqp_url: str, name: object) -> Iterator[Connect]:  # `name`: connections end before their queues are cleared away
    """connect(url=…, **URLParameters attributes) → a pika connection, closed at the end."""
    opened: list[pika.BlockingConnection] = []

    def make(url: str = amqp_url, **attributes: Any) -> pika.BlockingConnection:
        parameters = pika.URLParameters(url)
        parameters.socket_timeout = parameters.blocked_connection_timeout = 20
        for key, value in attributes.items():
            setattr(parameters, key, value)
        opened.append(pika.BlockingConnection(parameters))
        return opened[-1]

    yield make
    for connection in opened:
        if connection.is_open:
            connection.close()


@pytest.fixture
def connection(connect: Connect) -> pika.BlockingConnection:
    return connect()


@pytest.fixture
def channel(connection: pika.BlockingConnection) -> BlockingChannel:
    """A channel in confirm mode: what was published is in its queues when basic_publish returns."""
    channel = connection.channel()
    channel.confirm_delivery()
    return channel


@pytest.fixture
def name(amqp_url: str) -> Iterator[Callable[..., str]]:
    """name(prefix) → a name nobody else uses; a queue or exchange of that name is deleted at the end."""
    given: list[str] = []

    def make(prefix: str = "q") -> str:
        given.append(f"interop.{prefix}.{secrets.token_hex(6)}")
        return given[-1]

    yield make
    if given:
        connection = pika.BlockingConnection(pika.URLParameters(amqp_url))
        for each in given:
            with connection.channel() as channel:
                channel.queue_delete(each)
                channel.exchange_delete(each)
        connection.close()


@pytest.fixture
def queue(channel: BlockingChannel, name: Callable[..., str]) -> str:
    """A durable queue, empty."""
    queue = name("queue")
    channel.queue_declare(queue, durable=True)
    return queue
