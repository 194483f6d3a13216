"""A message that kills who takes it, the broker among them (SIGKILL), is buried after as many deliveries as its queue's limit says (pika)."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pika
import pytest
from pika.exceptions import AMQPError

from entrepot.testing.broker import Broker

LIMIT = 2
DECLARED: dict[str, Any] = {"x-queue-type": "quorum", "x-delivery-limit": LIMIT, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
DEADLINE_S = 20.0


@contextlib.contextmanager
def connected(broker: Broker) -> Iterator[Any]:
    """A channel of a new connection, which may be lost."""
    connection = pika.BlockingConnection(pika.URLParameters(broker.amqp_url))
    try:
        yield connection.channel()
    finally:
        with contextlib.suppress(AMQPError):
            connection.close()


@contextlib.contextmanager
def taken(broker: Broker, queue: str, *, ack: bool = False) -> Iterator[tuple[pika.BasicProperties, bytes]]:
    """The first message of `queue`, out with a consumer."""
    with connected(broker) as channel:
        channel.basic_qos(prefetch_count=1)
        got: list[tuple[pika.BasicProperties, bytes]] = []

        def take(channel: Any, method: Any, properties: pika.BasicProperties, body: bytes) -> None:
            got.append((properties, body))
            if ack:
                channel.basic_ack(method.delivery_tag)

        channel.basic_consume(queue, take)
        give_up = time.monotonic() + DEADLINE_S
        while not got:
            assert time.monotonic() < give_up, f"nothing came from {queue}"
            channel.connection.process_data_events(0.05)
        yield got[0]


@pytest.mark.parametrize("ends", [("kill",), ("close", "kill"), ("kill", "stop", "close")], ids=" ".join)
def test_poison_is_buried_over_any_mix_of_ends(tmp_path: Path, ends: tuple[str, ...]) -> None:
    with Broker(tmp_path / "data", listeners=("amqp",)) as broker:
        with connected(broker) as channel:
            channel.queue_declare("dead", durable=True)
            channel.queue_declare("work", durable=True, arguments=DECLARED)
            channel.confirm_delivery()
            for body in (b"poison", b"one", b"two"):
                channel.basic_publish("", "work", body)
        for given, end in zip(range(LIMIT + 1), itertools.cycle(ends), strict=False):
            with taken(broker, "work") as (properties, body):
                assert body == b"poison"
                assert (properties.headers or {}) == ({"x-delivery-count": given} if given else {})
                if end == "kill":
                    broker.kill()
                    broker.start()
                elif end == "stop":
                    broker.restart()
        with taken(broker, "dead", ack=True) as (properties, body):
            assert body == b"poison"
            assert properties.headers["x-death"][0]["reason"] == "delivery_limit"
        for expected in (b"one", b"two"):
            with taken(broker, "work", ack=True) as (_, body):
                assert body == expected
