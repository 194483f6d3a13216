"""amqps: the same port over TLS, with a certificate made for the test (pika, aio-pika)."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aio_pika
import pika
import pytest
from identities import Identity, make_identity
from pika.exceptions import AMQPError


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return make_identity(tmp_path_factory.mktemp("server"), "server")


@pytest.fixture(scope="module")
def start(server: Identity) -> Callable[..., Any]:
    """start(**[tls] settings) → a broker to be entered, with an amqps listener."""
    from entrepot.testing import Broker

    def make(**settings: object) -> Broker:
        tls = {"certificate": server.certificate, "key": server.key, **settings}
        return Broker(settings={f"tls.{key}": value for key, value in tls.items()}, listeners=("amqp", "amqps", "http"))

    return make


@pytest.fixture(scope="module")
def broker(start: Callable[..., Any]) -> Iterator[Any]:
    with start() as broker:
        yield broker


def trusting(server: Identity, client: Identity | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(server.certificate))
    if client is not None:
        context.load_cert_chain(client.certificate, client.key)
    return context


def parameters(broker: Any, context: ssl.SSLContext | None) -> pika.ConnectionParameters:
    options = None if context is None else pika.SSLOptions(context, "localhost")
    return pika.ConnectionParameters("127.0.0.1", broker.port("amqps"), ssl_options=options, socket_timeout=20, connection_attempts=1)


def round_trip(connection: pika.BlockingConnection) -> bytes:
    with connection:
        channel = connection.channel()
        channel.confirm_delivery()
        queue = channel.queue_declare("", exclusive=True).method.queue
        channel.basic_publish("", queue, bytes(500_000) + b"secret")
        _, _, body = channel.basic_get(queue, auto_ack=True)
        received: bytes = body
        return received


def test_a_large_message_there_and_back(broker: Any, server: Identity) -> None:
    assert round_trip(pika.BlockingConnection(parameters(broker, trusting(server)))) == bytes(500_000) + b"secret"


def test_aio_pika(broker: Any, server: Identity) -> None:
    async def talk() -> bytes:
        url = f"amqps://guest:guest@localhost:{broker.port('amqps')}/?cafile={server.certificate}"
        async with await aio_pika.connect(url) as connection:
            channel = await connection.channel()
            queue = await channel.declare_queue(exclusive=True)
            await channel.default_exchange.publish(aio_pika.Message(b"over TLS"), queue.name)
            message = await queue.get(no_ack=True)
            return message.body

    assert asyncio.run(asyncio.wait_for(talk(), 20)) == b"over TLS"


def test_a_client_that_does_not_trust_it(broker: Any, server: Identity) -> None:
    with pytest.raises((AMQPError, ssl.SSLError)):
        pika.BlockingConnection(parameters(broker, ssl.create_default_context()))
    assert round_trip(pika.BlockingConnection(parameters(broker, trusting(server)))).endswith(b"secret")  # nobody else is disturbed


def test_plain_text_to_the_tls_port(broker: Any, server: Identity) -> None:
    with pytest.raises((AMQPError, OSError)):
        pika.BlockingConnection(parameters(broker, None))
    assert round_trip(pika.BlockingConnection(parameters(broker, trusting(server)))).endswith(b"secret")


def test_clients_that_must_show_a_certificate(start: Callable[..., Any], server: Identity, tmp_path: Path) -> None:
    client, stranger = make_identity(tmp_path, "client"), make_identity(tmp_path, "stranger")
    with start(client_authorities=client.certificate) as broker:
        assert round_trip(pika.BlockingConnection(parameters(broker, trusting(server, client)))).endswith(b"secret")
        for refused in (None, stranger):
            with pytest.raises((AMQPError, OSError)):
                pika.BlockingConnection(parameters(broker, trusting(server, refused)))
