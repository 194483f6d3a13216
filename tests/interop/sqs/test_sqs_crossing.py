"""Messages that cross between SQS and the other protocols, with real clients at both ends: what arrives, where, and with which fields."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pika
import pytest
from confluent_kafka import Producer
from pika.adapters.blocking_connection import BlockingChannel
from sqs_endpoint import DEADLINE_S, Queue, bodies, new_name


@pytest.fixture
def space(sqs_broker: Any) -> Iterator[Any]:
    """A namespace of this test's own."""
    if sqs_broker is None:
        pytest.skip("the endpoint that is named speaks one protocol")
    with sqs_broker.namespace() as space:
        yield space


@pytest.fixture
def sqs(space: Any) -> Iterator[Any]:
    client = boto3.client("sqs", endpoint_url=space.sqs_url, **space.credentials)
    yield client
    client.close()


@pytest.fixture
def channel(space: Any) -> Iterator[BlockingChannel]:
    connection = pika.BlockingConnection(pika.URLParameters(space.amqp_url))
    channel = connection.channel()
    channel.confirm_delivery()
    yield channel
    connection.close()


def make(sqs: Any, suffix: str = "", **attributes: str) -> Queue:
    return Queue(sqs, sqs.create_queue(QueueName=new_name() + suffix, Attributes=attributes)["QueueUrl"])


def got(channel: BlockingChannel, queue: str, count: int) -> list[tuple[Any, Any, bytes]]:
    """So many messages of a queue, acknowledged."""
    found: list[tuple[Any, Any, bytes]] = []
    for method, properties, body in channel.consume(queue, inactivity_timeout=DEADLINE_S):
        assert method is not None, f"{len(found)} of {count} messages"
        channel.basic_ack(method.delivery_tag)
        found.append((method, properties, body))
        if len(found) == count:
            break
    channel.cancel()
    return found


def test_amqp_publishes_and_sqs_receives(sqs: Any, channel: BlockingChannel) -> None:
    queue = make(sqs)
    properties = pika.BasicProperties(content_type="text/plain", headers={"text": "ü", "number": 7, "octets": b"\x00\xff"}, delivery_mode=2)
    for number in range(20):
        channel.basic_publish("", queue.name, f"body {number}", properties)
    messages = queue.take(20, MessageAttributeNames=["All"], MessageSystemAttributeNames=["All"])
    assert sorted(bodies(messages)) == sorted(f"body {number}" for number in range(20))
    attributes = messages[0]["MessageAttributes"]
    assert attributes["text"] == {"DataType": "String", "StringValue": "ü"}
    assert attributes["number"]["StringValue"] == "7"
    assert messages[0]["Attributes"]["ApproximateReceiveCount"] == "1"
    assert len({message["MessageId"] for message in messages}) == 20
    for message in messages:
        queue.delete(message)
    queue.wait_counts(0, 0, 0)


def test_sqs_sends_and_amqp_consumes(sqs: Any, channel: BlockingChannel) -> None:
    queue = make(sqs)
    attributes = {"text": {"DataType": "String", "StringValue": "ü"}, "number": {"DataType": "Number", "StringValue": "7"}}
    queue.send_batch(*({"MessageBody": f"body {number} €", "MessageAttributes": attributes} for number in range(10)))
    found = got(channel, queue.name, 10)
    assert sorted(body.decode() for _, _, body in found) == sorted(f"body {number} €" for number in range(10))
    assert found[0][1].headers["text"] == "ü"
    queue.wait_counts(0, 0, 0)


def test_an_exchange_fills_an_sqs_queue(sqs: Any, channel: BlockingChannel) -> None:
    queue = make(sqs)
    exchange = new_name()
    channel.exchange_declare(exchange, "topic", durable=True)
    channel.queue_bind(queue.name, exchange, "orders.#")
    channel.basic_publish(exchange, "orders.new", b"in")
    channel.basic_publish(exchange, "others", b"out")
    assert bodies([queue.one()]) == ["in"]
    assert queue.receive() == []


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_kafka_s_records_arrive_in_sqs(sqs: Any, channel: BlockingChannel, space: Any, compression: str) -> None:
    """A topic's subject is bound to the queue."""
    queue, topic = make(sqs), new_name()
    channel.queue_bind(queue.name, "amq.topic", topic)
    producer = Producer({"bootstrap.servers": space.kafka_bootstrap, "compression.type": compression})
    for number in range(50):
        producer.produce(topic, f"record {number}".encode(), key=b"key", headers=[("own", b"text")])
    assert producer.flush(DEADLINE_S) == 0
    messages = queue.take(50, MessageAttributeNames=["All"])
    assert sorted(bodies(messages)) == sorted(f"record {number}" for number in range(50))
    assert messages[0]["MessageAttributes"]["own"]["StringValue"] == "text"


def test_both_take_from_one_queue(sqs: Any, channel: BlockingChannel) -> None:
    """Each message goes to one of them."""
    queue = make(sqs)
    queue.send_batch(*({"MessageBody": f"{number}"} for number in range(10)))
    first = queue.take(4)
    rest = got(channel, queue.name, 6)
    assert sorted([*bodies(first), *(body.decode() for _, _, body in rest)], key=int) == [str(number) for number in range(10)]
    queue.delete_batch(first)
    queue.wait_counts(0, 0, 0)


def test_what_amqp_returns_comes_to_sqs(sqs: Any, channel: BlockingChannel) -> None:
    queue = make(sqs)
    queue.send("x")
    method, _, _ = channel.basic_get(queue.name)
    assert method is not None
    assert queue.receive() == []
    channel.basic_nack(method.delivery_tag, requeue=True)
    assert queue.one(MessageSystemAttributeNames=["All"])["Attributes"]["ApproximateReceiveCount"] == "2"


def test_a_queue_that_amqp_declared(sqs: Any, channel: BlockingChannel) -> None:
    name = new_name()
    channel.queue_declare(name, durable=True)
    channel.basic_publish("", name, b"x")
    queue = Queue(sqs, sqs.get_queue_url(QueueName=name)["QueueUrl"])
    message = queue.one(VisibilityTimeout=1)
    assert queue.one()["MessageId"] == message["MessageId"]
    assert queue.attribute("VisibilityTimeout") == "30"


def test_order_of_groups_for_both(sqs: Any, channel: BlockingChannel) -> None:
    """A FIFO queue's group is one consumer's at a time, whatever it speaks."""
    queue = make(sqs, ".fifo", FifoQueue="true", ContentBasedDeduplication="true")
    for number in range(3):
        queue.send(str(number), MessageGroupId="g")
    first = queue.one()
    assert channel.basic_get(queue.name) == (None, None, None)
    queue.delete(first)
    assert [body for _, _, body in got(channel, queue.name, 2)] == [b"1", b"2"]


def test_a_large_message_both_ways(sqs: Any, channel: BlockingChannel) -> None:
    queue = make(sqs)
    body = "x" * (1 << 20)
    channel.basic_publish("", queue.name, body)
    message = queue.one()
    assert message["Body"] == body
    queue.delete(message)
    queue.send(body)
    assert got(channel, queue.name, 1)[0][2] == body.encode()
