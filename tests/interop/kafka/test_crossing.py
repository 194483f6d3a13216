"""Messages that cross from one protocol to the other, with real clients at both ends: what arrives, where, and with which fields."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pika
import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME
from harness import DEADLINE_S, Delivery, Inbox, wait_until
from kafka_messages import Sent, consumer, produce, read_all, take
from pika.adapters.blocking_connection import BlockingChannel

NewTopicName = Callable[..., str]
START_MS = 1_700_000_000_000


@pytest.fixture(scope="module")
def amqp(kafka_broker: Any) -> Iterator[pika.BlockingConnection]:
    """A connection of AMQP's to the same broker."""
    if kafka_broker is None:
        pytest.skip("the broker that is named speaks one protocol")
    connection = pika.BlockingConnection(pika.URLParameters(kafka_broker.amqp_url))
    yield connection
    connection.close()


@pytest.fixture
def channel(amqp: pika.BlockingConnection) -> Iterator[BlockingChannel]:
    channel = amqp.channel()
    channel.confirm_delivery()
    yield channel
    if channel.is_open:
        channel.close()


@pytest.fixture
def bound(channel: BlockingChannel) -> Callable[[str], str]:
    """bound(pattern) → a queue that is bound to it in amq.topic, gone with the connection."""

    def make(pattern: str) -> str:
        queue: str = channel.queue_declare("", exclusive=True).method.queue
        channel.queue_bind(queue, "amq.topic", pattern)
        return queue

    return make


def received(channel: BlockingChannel, queue: str, count: int) -> list[Delivery]:
    return Inbox.on(channel, queue).wait(count)


def streamed(channel: BlockingChannel, topic: str, count: int, offset: str | int = "first") -> list[Delivery]:
    channel.basic_qos(prefetch_count=500)
    inbox = Inbox.on(channel, topic, arguments={"x-stream-offset": offset})
    return inbox.wait(count)


@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_a_topic_is_read_as_a_stream(bootstrap: str, topic: NewTopicName, channel: BlockingChannel, compression: str) -> None:
    name = topic()
    produce(bootstrap, name, [Sent(b"%d" % n, b"k%d" % n, (("n", b"%d" % n),), START_MS + n * 1000) for n in range(300)], compression_type=compression)
    got = streamed(channel, name, 300)
    assert [delivery.body for delivery in got] == [b"%d" % n for n in range(300)]
    assert [delivery.properties.headers["x-stream-offset"] for delivery in got] == list(range(300))
    assert [delivery.properties.headers["n"] for delivery in got] == [str(n) for n in range(300)]
    assert {delivery.properties.timestamp for delivery in got[:2]} == {START_MS // 1000, START_MS // 1000 + 1}


def test_a_stream_begins_where_it_is_asked_to(bootstrap: str, topic: NewTopicName, channel: BlockingChannel) -> None:
    name = topic()
    produce(bootstrap, name, [b"%d" % n for n in range(100)], batch_num_messages=9)
    assert [delivery.body for delivery in streamed(channel, name, 3, 42)][:3] == [b"42", b"43", b"44"]


@pytest.mark.parametrize("compression", ["none", "lz4"])
def test_a_topic_fills_the_queues_that_its_subject_is_bound_to(
    bootstrap: str, topic: NewTopicName, channel: BlockingChannel, bound: Callable[[str], str], compression: str
) -> None:
    name = topic(2)
    queues = [bound(name), bound("interop.*"), bound("#")]
    other = bound("something.else")
    produce(bootstrap, name, [b"%d" % n for n in range(50)], partition=1, compression_type=compression)
    for queue in queues:
        got = received(channel, queue, 50)
        assert [delivery.body for delivery in got] == [b"%d" % n for n in range(50)]
        assert {delivery.method.routing_key for delivery in got} == {name}
    assert channel.queue_declare(other, passive=True).method.message_count == 0


def test_fields_that_both_have(bootstrap: str, topic: NewTopicName, channel: BlockingChannel, bound: Callable[[str], str]) -> None:
    name = topic()
    queue = bound(name)
    headers = (("content-type", b"application/json"), ("content-encoding", b"utf-8"), ("correlation-id", b"c"), ("reply-to", b"r"), ("own", b"1"))
    produce(bootstrap, name, [Sent(b"{}", b"key", headers, START_MS)])
    (delivery,) = received(channel, queue, 1)
    properties = delivery.properties
    assert (properties.content_type, properties.content_encoding, properties.correlation_id, properties.reply_to) == ("application/json", "utf-8", "c", "r")
    assert (properties.headers["own"], properties.timestamp, properties.delivery_mode) == ("1", START_MS // 1000, 2)


def test_a_queue_is_settled_as_any(
    bootstrap: str, topic: NewTopicName, amqp: pika.BlockingConnection, channel: BlockingChannel, bound: Callable[[str], str]
) -> None:
    """What Kafka's clients wrote is returned, comes again, and is gone once it is acknowledged; the topic keeps it."""
    name = topic()
    queue = bound(name)
    produce(bootstrap, name, [b"%d" % n for n in range(20)], compression_type="zstd")
    inbox = Inbox.on(channel, queue)
    first = inbox.wait(20)
    channel.basic_nack(first[9].tag, multiple=True, requeue=True)
    again = inbox.wait(30)[20:]
    assert [delivery.body for delivery in again] == [b"%d" % n for n in range(10)]
    assert all(delivery.method.redelivered for delivery in again)
    channel.basic_ack(0, multiple=True)
    channel.basic_cancel(inbox.tag)
    wait_until(amqp, lambda: channel.queue_declare(queue, passive=True).method.message_count == 0)
    assert len(read_all(bootstrap, name, 20)) == 20


def test_what_amqp_publishes_to_a_topic(bootstrap: str, topic: NewTopicName, channel: BlockingChannel) -> None:
    name = topic()
    properties = pika.BasicProperties(
        content_type="text/plain", correlation_id="c", timestamp=START_MS // 1000, delivery_mode=2, headers={"text": "ü", "number": 7}
    )
    for number in range(100):
        channel.basic_publish("amq.topic", name, b"%d" % number, properties)
    messages = read_all(bootstrap, name, 100)
    assert [message.value() for message in messages] == [b"%d" % n for n in range(100)]
    assert [message.offset() for message in messages] == list(range(100))
    headers = dict(messages[0].headers() or ())
    assert (headers["content-type"], headers["correlation-id"], headers["text"], headers["number"]) == (b"text/plain", b"c", "ü".encode(), b"7")
    assert messages[0].timestamp() == (TIMESTAMP_CREATE_TIME, START_MS)


def test_a_stream_is_a_topic(bootstrap: str, channel: BlockingChannel) -> None:
    """A stream that an AMQP client declared is read by Kafka's."""
    name = f"interop.stream.{secrets.token_hex(6)}"
    channel.queue_declare(name, durable=True, arguments={"x-queue-type": "stream"})
    for number in range(10):
        channel.basic_publish("", name, b"%d" % number)
    assert [message.value() for message in read_all(bootstrap, name, 10)] == [b"%d" % n for n in range(10)]
    channel.queue_delete(name)


def test_both_write_and_both_read(bootstrap: str, topic: NewTopicName, channel: BlockingChannel, group: str) -> None:
    """One topic, written in turn; each protocol's reader gets all of it, in the same order."""
    name = topic()
    for round_ in range(5):
        produce(bootstrap, name, [b"kafka %d" % round_] * 3, compression_type=("none", "lz4", "gzip", "zstd", "snappy")[round_])
        for _ in range(3):
            channel.basic_publish("amq.topic", name, b"amqp %d" % round_)
    expected = [b"%s %d" % (who, round_) for round_ in range(5) for who in (b"kafka", b"amqp") for _ in range(3)]
    assert [message.value() for message in read_all(bootstrap, name, 30)] == expected
    assert [delivery.body for delivery in streamed(channel, name, 30)] == expected
    with consumer(bootstrap, group, group_protocol="consumer") as one:
        one.subscribe([name])
        taken = take(one, 20, DEADLINE_S)
        one.commit(taken[-1], asynchronous=False)
    with consumer(bootstrap, group, group_protocol="consumer") as two:
        two.subscribe([name])
        assert [message.value() for message in take(two, 10, DEADLINE_S)] == expected[20:]


def test_keys_and_nothing(bootstrap: str, topic: NewTopicName, channel: BlockingChannel, bound: Callable[[str], str]) -> None:
    """A tombstone, an empty value, and no key: each arrives as what AMQP can say of it."""
    name = topic()
    queue = bound(name)
    produce(bootstrap, name, [Sent(None, b"gone"), Sent(b"", b"empty"), Sent(b"body")])
    assert [delivery.body for delivery in received(channel, queue, 3)] == [b"", b"", b"body"]
