"""From Kafka's clients to AMQP's and back, through a broker that serves both: librdkafka and pika."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pika
import pytest
from confluent_kafka.admin import AdminClient
from harness import Inbox, wait_ready
from kafka_messages import Sent, assorted, create_topic, produce, read_all

from entrepot.testing import Broker


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    with Broker() as broker:
        yield broker


@pytest.fixture
def channel(broker: Broker) -> Iterator[Any]:
    with pika.BlockingConnection(pika.URLParameters(broker.amqp_url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        yield channel


@pytest.fixture
def topic(broker: Broker) -> str:
    name = f"crossing.{secrets.token_hex(6)}"
    create_topic(AdminClient({"bootstrap.servers": broker.kafka_bootstrap}), name)
    return name


@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_kafkas_records_in_a_queue_and_in_a_stream(broker: Broker, channel: Any, topic: str, compression: str) -> None:
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, "amq.topic", "crossing.#")
    records = assorted(200)
    produce(broker.kafka_bootstrap, topic, records, 0, compression_type=compression, linger_ms=20)
    taken = Inbox.on(channel, queue)
    reading = channel.connection.channel()
    reading.basic_qos(prefetch_count=500)
    read = Inbox.on(reading, topic, arguments={"x-stream-offset": "first"})
    for inbox in (taken, read):
        inbox.wait(len(records))
        assert inbox.bodies == [record.value or b"" for record in records]
        for record, delivery in zip(records, inbox.deliveries, strict=True):
            headers = delivery.properties.headers or {}
            assert headers.get("x-key") == record.key
            assert ("x-null-value" in headers) == (record.value is None)
            assert delivery.properties.timestamp == record.timestamp_ms // 1000
            assert delivery.method.routing_key == topic
    assert [delivery.properties.headers["x-stream-offset"] for delivery in read.deliveries] == list(range(len(records)))
    assert {delivery.method.exchange for delivery in taken.deliveries} == {"amq.topic"}


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_a_long_batch_in_a_queue_and_in_a_stream(broker: Broker, channel: Any, topic: str, compression: str) -> None:
    """Of more records than are translated in one go."""
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, "amq.topic", "crossing.#")
    values = [b"%d" % number for number in range(9000)]
    produce(broker.kafka_bootstrap, topic, values, 0, compression_type=compression, linger_ms=1000, batch_num_messages=9000)
    taken = Inbox.on(channel, queue)
    reading = channel.connection.channel()
    reading.basic_qos(prefetch_count=len(values))
    read = Inbox.on(reading, topic, arguments={"x-stream-offset": "first"})
    for inbox in (taken, read):
        inbox.wait(len(values))
        assert inbox.bodies == values
    assert [delivery.properties.headers["x-stream-offset"] for delivery in read.deliveries] == list(range(len(values)))


def test_amqp_messages_as_kafkas_records(broker: Broker, channel: Any, topic: str) -> None:
    properties = pika.BasicProperties(
        content_type="text/plain", message_id="m1", timestamp=1_700_000_000, delivery_mode=2, headers={"x-key": "k1", "retries": 3, "note": "hello"}
    )
    for number in range(50):
        channel.basic_publish("", topic, b"%d" % number, properties)
    channel.basic_publish("amq.topic", topic, b"by subject", pika.BasicProperties(delivery_mode=2))
    produce(broker.kafka_bootstrap, topic, [b"from Kafka"], 0)
    records = [Sent.of(message) for message in read_all(broker.kafka_bootstrap, topic, 52)]
    first = records[0]
    assert (first.key, first.value, first.timestamp_ms) == (b"k1", b"0", 1_700_000_000_000)
    assert dict(first.headers) == {
        "content-type": b"text/plain",
        "message-id": b"m1",
        "retries": b"3",
        "note": b"hello",
        "entrepot.types": first.headers[-1][1],
    }
    assert [record.value for record in records] == [*(b"%d" % number for number in range(50)), b"by subject", b"from Kafka"]
    assert dict(records[50].headers) == {"entrepot.exchange": b"amq.topic", "entrepot.routing-key": topic.encode()}


def test_kafkas_records_by_their_priorities(broker: Broker, channel: Any, topic: str) -> None:
    """A queue with levels is given what the header `priority` says, of whole batches too."""
    queue = f"levels.{secrets.token_hex(6)}"
    channel.queue_declare(queue, durable=True, arguments={"x-max-priority": 5})
    channel.queue_bind(queue, "amq.topic", topic)
    plain = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(plain, "amq.topic", topic)
    records = [Sent(b"%d" % number, headers=(("priority", b"%d" % (number % 8)),) if number % 8 else ()) for number in range(80)]
    produce(broker.kafka_bootstrap, topic, records, 0, linger_ms=100)
    assert Inbox.on(channel, plain).wait(80)
    wait_ready(channel, queue, 80)
    taken = Inbox.on(channel, queue)
    taken.wait(80)
    assert [int(body) for body in taken.bodies] == [number for level in range(5, -1, -1) for number in range(80) if min(number % 8, 5) == level]
    channel.queue_delete(queue)
