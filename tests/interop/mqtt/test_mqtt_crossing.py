"""Messages that cross between MQTT and the other protocols, with real clients at both ends: what arrives, where, and with which fields."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pika
import pytest
from confluent_kafka.admin import AdminClient
from kafka_messages import Sent, create_topic, produce, read_all
from mqtt_client import DEADLINE_S, Peer, new_name, said_of
from pika.adapters.blocking_connection import BlockingChannel

Meet = Callable[..., Peer]


@pytest.fixture
def space(mqtt_broker: Any) -> Iterator[Any]:
    """A namespace of this test's own."""
    with mqtt_broker.namespace() as space:
        yield space


@pytest.fixture
def meet(connect: Callable[..., Peer], space: Any) -> Meet:
    """meet(version="5", **Peer's own) → a Peer in this test's namespace."""
    return lambda version="5", **how: connect(version, user=(space.mqtt_user, "guest"), **how)


@pytest.fixture
def channel(space: Any) -> Iterator[BlockingChannel]:
    connection = pika.BlockingConnection(pika.URLParameters(space.amqp_url))
    channel = connection.channel()
    channel.confirm_delivery()
    yield channel
    connection.close()


@pytest.fixture
def topic(space: Any) -> str:
    """A topic of Kafka's, whose subject MQTT reads as NAME/log."""
    name = f"{new_name()}.log"
    create_topic(AdminClient({"bootstrap.servers": space.kafka_bootstrap}), name)
    return name


@pytest.fixture
def sqs(space: Any) -> Iterator[Any]:
    client = boto3.client("sqs", endpoint_url=space.sqs_url, **space.credentials)
    yield client
    client.close()


def bound(channel: BlockingChannel, key: str, name: str = "", **arguments: object) -> str:
    """A queue that gets what is published under such routing keys."""
    queue: str = channel.queue_declare(name, exclusive=not name, durable=bool(name), arguments=arguments).method.queue
    channel.queue_bind(queue, "amq.topic", key)
    return queue


def got(channel: BlockingChannel, queue: str) -> tuple[Any, Any, bytes]:
    """The next message of a queue, acknowledged."""
    for method, properties, body in channel.consume(queue, inactivity_timeout=DEADLINE_S):
        assert method is not None, "no message"
        channel.basic_ack(method.delivery_tag)
        channel.cancel()
        return method, properties, body
    raise AssertionError


GIVEN = {
    "ContentType": "text/plain", "CorrelationData": b"c", "ResponseTopic": "answers/a.b", "MessageExpiryInterval": 600, "PayloadFormatIndicator": 1,
    "UserProperty": [("colour", "gr\u00fcn"), ("x-key", "k"), ("x-group-id", "g"), ("message-id", "m"), ("message-type", "t"), ("priority", "7")],
}  # fmt: skip


def test_mqtt_publishes_and_amqp_consumes(meet: Meet, channel: BlockingChannel) -> None:
    queue = bound(channel, "sensors.*.temperature")
    meet().publish("sensors/a.b/temperature", "21.5\u00b0", 1, **GIVEN)
    method, properties, body = got(channel, queue)
    assert body == "21.5\u00b0".encode()
    assert (method.exchange, method.routing_key) == ("amq.topic", "sensors.a/b.temperature")
    assert (properties.content_type, properties.correlation_id, properties.reply_to, properties.delivery_mode) == ("text/plain", "c", "answers.a/b", 2)
    assert (properties.message_id, properties.type, properties.priority) == ("m", "t", 7)
    assert 590_000 < int(properties.expiration) <= 600_000
    assert properties.headers == {"colour": "gr\u00fcn", "x-key": b"k", "x-group-id": "g"}


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_each_quality_of_service_arrives_once(meet: Meet, channel: BlockingChannel, any_version: str, qos: int) -> None:
    queue, peer = bound(channel, "a.#"), meet(any_version)
    for number in range(20):
        peer.publish("a/b", f"{number}", qos)
    found = [got(channel, queue) for _ in range(20)]
    assert [body for _, _, body in found] == [f"{number}".encode() for number in range(20)]
    assert {properties.delivery_mode for _, properties, _ in found} == {2 if qos else None}
    assert channel.queue_declare(queue, passive=True).method.message_count == 0


def test_amqp_publishes_and_mqtt_reads(meet: Meet, channel: BlockingChannel) -> None:
    peer = meet()
    peer.subscribe("from/+/#", 2)
    properties = pika.BasicProperties(
        content_type="text/plain", content_encoding="gzip", correlation_id="c", delivery_mode=2, priority=7, type="t", message_id="m", reply_to="answers.a/b",
        expiration="600000", headers={"text": "gr\u00fcn", "number": -5, "yes": True, "octets": b"ab", "list": [1, "a"], "none": None, "x-key": b"k"},
    )  # fmt: skip
    channel.basic_publish("amq.topic", "from.amqp.a/b", b"\x00\xff", properties)
    channel.basic_publish("amq.topic", "from.amqp", b"plain")
    first, second = sorted(peer.take(2), key=lambda message: len(message.payload))
    assert (first.topic, first.payload, first.qos, bool(first.retain)) == ("from/amqp/a.b", b"\x00\xff", 1, False)
    said = said_of(first)
    assert (said["ContentType"], said["CorrelationData"], said["ResponseTopic"]) == ("text/plain", b"c".hex(), "answers/a.b")
    assert 590 < said["MessageExpiryInterval"] <= 600
    user = dict(said["UserProperty"])
    assert {"text": "gr\u00fcn", "number": "-5", "yes": "true", "octets": "ab", "list": '[1,"a"]', "x-key": "k"}.items() <= user.items()
    assert {"content-encoding": "gzip", "priority": "7", "message-id": "m", "message-type": "t"}.items() <= user.items()
    assert "none" not in user
    assert (second.topic, second.payload, second.qos) == ("from/amqp", b"plain", 0)


def test_what_is_no_topic_is_not_seen(meet: Meet, channel: BlockingChannel) -> None:
    peer = meet()
    peer.subscribe("#", 1)
    for key in ("a.*", "#", "", "a\0b", "ok"):
        channel.basic_publish("amq.topic", key, b"x", pika.BasicProperties(delivery_mode=2))
    assert [message.topic for message in peer.rest() if not message.topic.startswith("marker/")] == ["ok"]


def test_a_request_over_mqtt_is_answered_over_amqp(meet: Meet, channel: BlockingChannel) -> None:
    queue, asker = bound(channel, "ask"), meet()
    asker.subscribe("answers/mine", 1)
    asker.publish("ask", b"?", ResponseTopic="answers/mine", CorrelationData=b"7")
    _, properties, _ = got(channel, queue)
    channel.basic_publish("amq.topic", properties.reply_to, b"answer", pika.BasicProperties(correlation_id=properties.correlation_id, delivery_mode=2))
    answer = asker.one()
    assert (answer.payload, answer.properties.CorrelationData) == (b"answer", b"7")


def test_a_kept_session_gets_what_amqp_published(meet: Meet, channel: BlockingChannel) -> None:
    peer = meet(clean=False, SessionExpiryInterval=600)
    peer.subscribe("a/#", 1)
    peer.close()
    for number in range(10):
        channel.basic_publish("amq.topic", "a.b", f"{number}".encode(), pika.BasicProperties(delivery_mode=2))
    again = meet(client_id=peer.client_id, clean=False)
    assert [message.payload for message in again.take(10)] == [f"{number}".encode() for number in range(10)]


def test_amqp_sees_nothing_of_what_is_retained(meet: Meet, channel: BlockingChannel) -> None:
    """It is published once, as everything else; who binds later has missed it."""
    early, peer = bound(channel, "a"), meet()
    peer.publish("a", b"kept", 1, retain=True)
    late = bound(channel, "a")
    assert got(channel, early)[2] == b"kept"
    assert channel.queue_declare(late, passive=True).method.message_count == 0


def test_mqtt_publishes_to_a_kafka_topic(meet: Meet, space: Any, topic: str) -> None:
    peer = meet()
    for number in range(5):
        peer.publish(topic.replace(".", "/"), f"{number}", number % 3, UserProperty=[("x-key", "k"), ("colour", "green")], ContentType="text/plain")
    found = [Sent.of(message) for message in read_all(space.kafka_bootstrap, topic, 5)]
    assert [(sent.key, sent.value, dict(sent.headers)["colour"]) for sent in found] == [(b"k", f"{number}".encode(), b"green") for number in range(5)]


def test_mqtt_reads_what_kafka_produces(meet: Meet, space: Any, topic: str) -> None:
    peer = meet()
    peer.subscribe(topic.replace(".", "/"), 1)
    records = [Sent(b"value", b"key", (("colour", b"green"), ("octets", b"\xff")), 1_700_000_000_123), Sent(None, b"k"), *(Sent(b"%d" % n) for n in range(50))]
    produce(space.kafka_bootstrap, topic, records)
    first, second, *others = peer.take(52)
    assert (first.topic, first.payload, first.qos) == (topic.replace(".", "/"), b"value", 1)
    assert sorted(said_of(first)["UserProperty"]) == [("colour", "green"), ("x-key", "key")]
    assert (second.payload, sorted(said_of(second)["UserProperty"])) == (b"", [("x-key", "k"), ("x-null-value", "true")])
    assert [message.payload for message in others] == [b"%d" % n for n in range(50)]


def test_mqtt_publishes_and_sqs_receives(meet: Meet, channel: BlockingChannel, sqs: Any) -> None:
    name = new_name()
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    channel.queue_bind(name, "amq.topic", "sensors.#")
    meet().publish("sensors/a", json.dumps({"celsius": 21.5}), 1, UserProperty=[("colour", "green")], CorrelationData=b"c")
    (message,) = sqs.receive_message(QueueUrl=url, MessageAttributeNames=["All"], WaitTimeSeconds=5)["Messages"]
    assert json.loads(message["Body"]) == {"celsius": 21.5}
    assert {key: value["StringValue"] for key, value in message["MessageAttributes"].items()} == {"colour": "green", "correlation-id": "c"}
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


def test_namespaces_are_apart(meet: Meet, connect: Callable[..., Peer]) -> None:
    """The same topic and the same client identifier elsewhere are others."""
    here, client_id = meet(), new_name("c")
    mine, other = meet(client_id=client_id), connect(client_id=client_id)
    for peer in (mine, other):
        peer.subscribe("a", 1)
    here.publish("a", b"x")
    assert mine.one().payload == b"x"
    assert (other.rest(), mine.rest()) == ([], [])


def test_a_topic_that_amqp_has_no_key_for(meet: Meet, channel: BlockingChannel) -> None:
    """MQTT's clients have it, whatever process they are connected to; AMQP's are told of it in a header."""
    topic = "a/" * 20_000 + "b"
    assert topic.count("/") > 256
    peer, writer, long = meet(), meet(), "a/" * 200 + "b" * 60_000
    queue = bound(channel, "a.#")
    assert peer.subscribe("a/#", 1) == peer.subscribe(f"$share/g/{long}", 1) == 1
    assert writer.publish(topic) == 0x90
    assert writer.publish(long, b"long", 2, retain=True) == 0
    assert [(one.topic, one.payload) for one in peer.take(2)] == [(long, b"long")] * 2
    late = meet()
    late.subscribe(long, 1)
    assert (kept := late.one()).retain
    assert kept.topic == long
    method, properties, body = got(channel, queue)
    assert (method.exchange, method.routing_key, body) == ("amq.topic", "", b"long")
    assert properties.headers == {"x-routing-key": long.replace("/", ".")}
