"""Messages that cross between STOMP and the other protocols, with real clients at both ends: what arrives, where, and with which fields."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pika
import pytest
from confluent_kafka.admin import AdminClient
from harness import wait_until
from kafka_messages import Sent, create_topic, produce, read_all
from pika.adapters.blocking_connection import BlockingChannel
from stomp_client import DEADLINE_S, Peer, new_name

Connect = Callable[..., Peer]


@pytest.fixture
def channel(space: Any) -> Iterator[BlockingChannel]:
    connection = pika.BlockingConnection(pika.URLParameters(space.amqp_url))
    channel = connection.channel()
    channel.confirm_delivery()
    yield channel
    connection.close()


@pytest.fixture
def topic(space: Any) -> str:
    name = new_name("topic")
    create_topic(AdminClient({"bootstrap.servers": space.kafka_bootstrap}), name)
    return name


@pytest.fixture
def sqs(space: Any) -> Iterator[Any]:
    client = boto3.client("sqs", endpoint_url=space.sqs_url, **space.credentials)
    yield client
    client.close()


def got(channel: BlockingChannel, queue: str) -> tuple[Any, Any, bytes]:
    """The next message of a queue, acknowledged."""
    for method, properties, body in channel.consume(queue, inactivity_timeout=DEADLINE_S):
        assert method is not None, "no message"
        channel.basic_ack(method.delivery_tag)
        channel.cancel()
        return method, properties, body
    raise AssertionError


def test_stomp_sends_and_amqp_consumes(connect: Connect, channel: BlockingChannel, version: str) -> None:
    name = new_name()
    headers = {
        "content-type": "text/plain", "correlation-id": "c", "priority": "7", "persistent": "true", "type": "t", "amqp-message-id": "m",
        "reply-to": "/queue/back", "timestamp": "1700000000500", "expiration": "600000", "app-id": "a", "x-key": "k", "JMSXGroupID": "g", "colour": "gr\u00fcn",
    }  # fmt: skip
    connect(version).send(f"/queue/{name}", "h\u00e4llo", headers)
    method, properties, body = got(channel, name)
    assert body == "h\u00e4llo".encode()
    assert (method.exchange, method.routing_key) == ("", name)
    assert (properties.content_type, properties.correlation_id, properties.priority, properties.delivery_mode) == ("text/plain", "c", 7, 2)
    assert (properties.type, properties.message_id, properties.reply_to, properties.timestamp) == ("t", "m", "back", 1_700_000_000)
    assert (properties.expiration, properties.app_id) == ("600000", "a")
    assert properties.headers == {"x-key": b"k", "x-group-id": "g", "colour": "gr\u00fcn"}


def test_amqp_publishes_and_stomp_reads(connect: Connect, channel: BlockingChannel, version: str) -> None:
    name = new_name()
    channel.queue_declare(name, durable=True)
    properties = pika.BasicProperties(
        content_type="text/plain", correlation_id="c", priority=7, delivery_mode=2, type="t", message_id="m", reply_to="back", timestamp=1_700_000_000,
        headers={"text": "gr\u00fcn", "number": -5, "yes": True, "octets": b"\xff", "list": [1, "a"], "none": None},
    )  # fmt: skip
    channel.basic_publish("", name, "h\u00e4llo".encode(), properties)
    peer = connect(version)
    peer.subscribe(f"/queue/{name}", ack="client")
    (frame,) = peer.take()
    peer.settle(frame)
    said = frame.headers
    assert frame.body == "h\u00e4llo"
    assert (said["destination"], said["content-type"], said["correlation-id"], said["priority"]) == (f"/queue/{name}", "text/plain", "c", "7")
    assert (said["persistent"], said["type"], said["amqp-message-id"], said["reply-to"]) == ("true", "t", "m", "/reply-queue/back")
    assert said["timestamp"] == "1700000000000"
    assert (said["text"], said["number"], said["yes"], said["octets-base64"], said["list"], said["none"]) == ("gr\u00fcn", "-5", "true", "/w==", '[1,"a"]', "")
    assert channel.queue_declare(name, passive=True).method.message_count == 0


def test_a_request_over_stomp_is_answered_over_amqp(connect: Connect, channel: BlockingChannel) -> None:
    name = new_name()
    asker = connect()
    asker.send(f"/queue/{name}", "ask", {"reply-to": "/temp-queue/mine", "correlation-id": "7"})
    _, properties, _ = got(channel, name)
    channel.basic_publish("", properties.reply_to, b"answer", pika.BasicProperties(correlation_id=properties.correlation_id))
    (reply,) = asker.take()
    assert (reply.body, reply.headers["correlation-id"], reply.headers["subscription"]) == ("answer", "7", "/temp-queue/mine")


def test_a_request_over_amqp_is_answered_over_stomp(connect: Connect, channel: BlockingChannel) -> None:
    name = new_name()
    answerer = connect()
    answerer.subscribe(f"/queue/{name}")
    answers: list[tuple[bytes, str]] = []
    channel.basic_consume("amq.rabbitmq.reply-to", lambda _, __, properties, body: answers.append((body, properties.correlation_id)), auto_ack=True)
    channel.basic_publish("", name, b"ask", pika.BasicProperties(reply_to="amq.rabbitmq.reply-to", correlation_id="7"))
    (request,) = answerer.take()
    answerer.send(request.headers["reply-to"], "answer", {"correlation-id": request.headers["correlation-id"]})
    wait_until(channel.connection, lambda: answers == [(b"answer", "7")])


def test_topics_are_amqps_topic_exchange(connect: Connect, channel: BlockingChannel) -> None:
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, "amq.topic", "a.*")
    peer = connect()
    peer.subscribe("/topic/a.#")
    peer.send("/topic/a.b", "from stomp")
    assert got(channel, queue)[0].routing_key == "a.b"
    assert peer.take()[0].body == "from stomp"
    channel.basic_publish("amq.topic", "a.c", b"from amqp")
    (frame,) = peer.take()
    assert (frame.body, frame.headers["destination"]) == ("from amqp", "/topic/a.c")


def test_a_dead_letter_of_stomps_reads_like_amqps(connect: Connect, channel: BlockingChannel) -> None:
    name, dead = new_name(), new_name("dead")
    channel.queue_declare(dead)
    channel.queue_declare(name, durable=True, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})
    connect().send(f"/queue/{name}", "poison")
    method, _, _ = channel.basic_get(name)
    channel.basic_reject(method.delivery_tag, requeue=False)
    _, properties, body = got(channel, dead)
    assert body == b"poison"
    (death,) = properties.headers["x-death"]
    assert (death["queue"], death["reason"], death["count"], death["routing-keys"]) == (name, "rejected", 1, [name])
    assert properties.headers["x-first-death-queue"] == name


def test_stomp_sends_to_a_kafka_topic(connect: Connect, space: Any, topic: str) -> None:
    peer = connect()
    peer.send(f"/queue/{topic}", "by its name", {"x-key": "k", "colour": "green", "timestamp": "1700000000123"})
    peer.send(f"/topic/{topic}", "by its subject", {"correlation-id": "c"})
    named, subject = map(Sent.of, read_all(space.kafka_bootstrap, topic, 2))
    assert (named.key, named.value, dict(named.headers)["colour"], named.timestamp_ms) == (b"k", b"by its name", b"green", 1_700_000_000_123)
    assert (subject.key, subject.value, dict(subject.headers)["correlation-id"]) == (None, b"by its subject", b"c")


def test_stomp_reads_what_kafka_produces(connect: Connect, space: Any, topic: str) -> None:
    peer = connect()
    peer.subscribe(f"/topic/{topic}", "subject")
    record = Sent(b"value", b"key", (("colour", b"green"), ("octets", b"\xff")), 1_700_000_000_123)
    produce(space.kafka_bootstrap, topic, [record, Sent(None, b"\x00\xff")])
    first, second = peer.take(2)
    assert (first.body, first.headers["x-key"], first.headers["colour"]) == ("value", "key", "green")
    assert first.headers["timestamp"] in ("1700000000123", "1700000000000")  # what goes on to another worker's queue goes in AMQP's form, in seconds
    assert (first.headers["octets-base64"], first.headers["destination"]) == ("/w==", f"/topic/{topic}")
    assert (second.body or "", second.headers["x-null-value"], second.headers["x-key-base64"]) == ("", "true", "AP8=")
    peer.subscribe(f"/queue/{topic}", "stream", "client", {"x-stream-offset": "first"})
    stream = peer.take(2)
    assert [frame.headers["x-stream-offset"] for frame in stream] == ["0", "1"]
    assert stream[0].headers["destination"] == f"/queue/{topic}"
    peer.settle(stream[1], key="stream")
    peer.subscribe(f"/queue/{topic}", "by itself", "auto", {"x-stream-offset": "first", "prefetch-count": "1"})
    assert [frame.headers["x-stream-offset"] for frame in peer.take(2)] == ["0", "1"]


def test_stomp_sends_and_sqs_receives(connect: Connect, sqs: Any) -> None:
    name = new_name().replace(".", "-")
    connect().send(f"/queue/{name}", "hello", {"colour": "green", "correlation-id": "c", "JMSXGroupID": "g"})
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    (message,) = sqs.receive_message(QueueUrl=url, MessageAttributeNames=["All"], AttributeNames=["All"], WaitTimeSeconds=5)["Messages"]
    assert message["Body"] == "hello"
    values = {key: value["StringValue"] for key, value in message["MessageAttributes"].items()}
    assert values == {"colour": "green", "correlation-id": "c"}
    assert message["Attributes"]["MessageGroupId"] == "g"
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


def test_sqs_sends_and_stomp_reads(connect: Connect, sqs: Any) -> None:
    name = new_name().replace(".", "-")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    attributes = {"colour": {"DataType": "String", "StringValue": "green"}, "size": {"DataType": "Number", "StringValue": "5"}}
    sent = sqs.send_message(QueueUrl=url, MessageBody=json.dumps({"a": 1}), MessageAttributes=attributes)
    peer = connect()
    peer.subscribe(f"/queue/{name}", ack="client")
    (frame,) = peer.take()
    peer.settle(frame)
    assert (json.loads(frame.body), frame.headers["colour"], frame.headers["size"]) == ({"a": 1}, "green", "5")
    assert frame.headers["amqp-message-id"] == sent["MessageId"]
    assert frame.headers["destination"] == f"/queue/{name}"


def test_priorities(connect: Connect, channel: BlockingChannel) -> None:
    """A queue that STOMP declares with x-max-priority, and both write and read."""
    name = new_name()
    holder, sender, reader = connect(), connect(), connect()
    holder.subscribe(f"/queue/{name}", ack="client-individual", headers={"x-max-priority": "9", "durable": "true", "prefetch-count": "1"})
    sender.send(f"/queue/{name}", "held")
    (held,) = holder.take()
    for priority in ("0", "9", "4", "200"):
        sender.send(f"/queue/{name}", priority, {"priority": priority})
    sender.send(f"/queue/{name}", "none")
    channel.basic_publish("", name, b"5", pika.BasicProperties(priority=5))
    holder.ack(held)
    (first,) = holder.take()
    assert first.body == "9"
    holder.ack(first, negative=True)  # back to its place
    (again,) = holder.take()
    assert again.body == "9"
    holder.settle(again)
    holder.take()
    holder.close()
    reader.subscribe(f"/queue/{name}", headers={"x-max-priority": "9", "durable": "true"})
    assert [frame.body for frame in reader.take(5)] == ["200", "5", "4", "0", "none"]
