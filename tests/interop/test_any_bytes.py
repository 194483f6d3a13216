"""Routing keys, exchanges' names and fields of tables that are not UTF-8 (bare frames; no client library sends them all). RabbitMQ 3.10.8 answers each so."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from confluent_kafka import Consumer, TopicPartition
from harness import DEADLINE_S
from wire import (
    BASIC_GET,
    BASIC_GET_OK,
    BASIC_PUBLISH,
    BODY,
    CHANNEL_CLOSE,
    CHANNEL_CLOSE_OK,
    CHANNEL_OPEN,
    CHANNEL_OPEN_OK,
    CONNECTION_CLOSE,
    HEADER,
    QUEUE_DECLARE,
    QUEUE_DECLARE_OK,
    Wire,
    frame,
    header,
    long,
    method,
)

BASIC_RETURN, BASIC_ACK, BASIC_REJECT = (60, 50), (60, 80), (60, 90)
CONFIRM_SELECT, CONFIRM_SELECT_OK = (85, 10), (85, 11)
EXCHANGE_DECLARE, EXCHANGE_DECLARE_OK = (40, 10), (40, 11)
QUEUE_BIND, QUEUE_BIND_OK = (50, 20), (50, 21)
MANDATORY = b"\x01"
LATIN_1 = "caf\u00e9".encode("latin-1")

Name = Callable[..., str]


def short(octets: bytes) -> bytes:
    return bytes([len(octets)]) + octets


def field(name: bytes, text: bytes) -> bytes:
    return short(name) + b"S" + long(text)


def publish(exchange: bytes, key: bytes, properties: bytes = b"\x00\x00") -> bytes:
    return method(1, BASIC_PUBLISH, b"\x00\x00" + short(exchange) + short(key) + MANDATORY) + header(1, 1, properties) + frame(BODY, 1, b"x")


def declare(queue: bytes, arguments: bytes = b"") -> bytes:
    return method(1, QUEUE_DECLARE, b"\x00\x00" + short(queue) + b"\x02" + long(arguments))


def bind(queue: bytes, exchange: bytes, key: bytes, arguments: bytes = b"") -> bytes:
    return method(1, QUEUE_BIND, b"\x00\x00" + short(queue) + short(exchange) + short(key) + b"\x00" + long(arguments))


def get(queue: bytes, *, no_ack: bool = True) -> bytes:
    return method(1, BASIC_GET, b"\x00\x00" + short(queue) + bytes([no_ack]))


@pytest.fixture
def wire(amqp_url: str) -> Any:
    with Wire(amqp_url) as wire:
        wire.connect()
        wire.open_channel()
        yield wire


@pytest.mark.parametrize("exchange", [b"", b"amq.direct", b"amq.topic"])
def test_a_routing_key_of_any_bytes_is_looked_up_and_returned(wire: Wire, exchange: bytes) -> None:
    wire.send(publish(exchange, LATIN_1))
    returned = wire.expect(BASIC_RETURN)
    assert returned.payload[4:] == b"\x01\x38" + short(b"NO_ROUTE") + short(exchange) + short(LATIN_1)


def test_a_routing_key_of_any_bytes_is_routed(wire: Wire, name: Name) -> None:
    queue = name().encode()
    wire.send(declare(queue))
    wire.expect(QUEUE_DECLARE_OK)
    for exchange, pattern in ((b"amq.fanout", b""), (b"amq.topic", b"*.end")):
        wire.send(bind(queue, exchange, pattern))
        wire.expect(QUEUE_BIND_OK)
        wire.send(publish(exchange, LATIN_1 + b".end"), get(queue))
        assert wire.expect(BASIC_GET_OK).payload[13:] == short(exchange) + short(LATIN_1 + b".end") + bytes(4)
        assert [wire.read_frame().kind for _ in range(2)] == [2, 3]  # type: ignore[union-attr]


def test_an_exchange_that_is_not_there_closes_the_channel_alone(wire: Wire) -> None:
    wire.send(publish(LATIN_1, b"k"))
    close = wire.expect(CHANNEL_CLOSE)
    assert struct.unpack_from(">H", close.payload, 4) == (404,)
    assert b"NOT_FOUND - no exchange 'caf" in close.payload
    assert close.culprit == BASIC_PUBLISH
    wire.send(method(1, CHANNEL_CLOSE_OK), method(1, CHANNEL_OPEN, b"\x00"))
    wire.expect(CHANNEL_OPEN_OK)


def test_names_and_texts_in_tables(wire: Wire, name: Name) -> None:
    """Of arguments that nobody knows, of those that are names of exchanges, of headers that are matched."""
    queue, exchange = name().encode(), name("exchange").encode()
    wire.send(declare(queue, field(LATIN_1, LATIN_1) + field(b"x-dead-letter-exchange", LATIN_1)))
    wire.expect(QUEUE_DECLARE_OK)
    wire.send(method(1, EXCHANGE_DECLARE, b"\x00\x00" + short(exchange) + short(b"direct") + b"\x02" + long(field(LATIN_1, LATIN_1))))
    wire.expect(EXCHANGE_DECLARE_OK)
    wire.send(bind(queue, b"amq.headers", b"", field(LATIN_1, LATIN_1)))
    wire.expect(QUEUE_BIND_OK)
    wire.send(publish(b"amq.headers", b"", b"\x20\x00" + long(field(LATIN_1, LATIN_1))), get(queue))
    wire.expect(BASIC_GET_OK)


def test_line_ends_are_taken_out_of_the_name_of_a_declared_queue(wire: Wire, name: Name) -> None:
    queue = name().encode()
    wire.send(declare(b"\r" + queue[:9] + b"\r\n" + queue[9:] + b"\n"))
    assert wire.expect(QUEUE_DECLARE_OK).payload[4:] == short(queue) + bytes(8)


def test_they_outlive_a_restart_and_readers_of_every_protocol_come_past_them(own_broker: Any) -> None:
    """In a stored address, in x-death, in headers, in definitions."""
    key = LATIN_1 + b".end"
    with Wire(own_broker.amqp_url) as wire:
        wire.connect()
        wire.open_channel()
        for queue, arguments in (
            (b"first", field(b"x-dead-letter-exchange", b"amq.fanout") + field(LATIN_1, LATIN_1)),
            (b"letters", b""),
            (b"records", field(b"x-queue-type", b"stream")),
        ):
            wire.send(declare(queue, arguments))
            wire.expect(QUEUE_DECLARE_OK)
        for bound, exchange in ((b"first", b"amq.topic"), (b"letters", b"amq.fanout"), (b"records", b"amq.fanout")):
            wire.send(bind(bound, exchange, b"*.end", field(LATIN_1, LATIN_1)))
            wire.expect(QUEUE_BIND_OK)
        persistent = b"\x30\x00" + long(field(LATIN_1, LATIN_1)) + b"\x02"
        wire.send(method(1, CONFIRM_SELECT, b"\x00"))
        wire.expect(CONFIRM_SELECT_OK)
        for number in (1, 2, 3):
            wire.send(publish(b"amq.topic", key, persistent))
            wire.expect(BASIC_ACK)
            if number < 3:  # the third stays where it is
                wire.send(get(b"first", no_ack=False))
                assert wire.expect(BASIC_GET_OK).payload.endswith(short(key) + bytes(4))
                assert [wire.read_frame().kind for _ in range(2)] == [HEADER, BODY]  # type: ignore[union-attr]
                wire.send(method(1, BASIC_REJECT, struct.pack(">QB", number, 0)))
        wire.send(publish(b"", b"letters"))  # what was rejected before is dead-lettered once this is confirmed
        wire.expect(BASIC_ACK)
    own_broker.restart()
    with Wire(own_broker.amqp_url) as wire:
        wire.connect()
        wire.open_channel()
        wire.send(declare(b"first", field(b"x-dead-letter-exchange", b"amq.fanout") + field(LATIN_1, LATIN_1)))
        assert wire.expect(QUEUE_DECLARE_OK).payload[4:] == short(b"first") + struct.pack(">II", 1, 0)
        wire.send(get(b"first"))
        assert short(b"amq.topic") + short(key) in wire.expect(BASIC_GET_OK).payload
        assert [wire.read_frame().kind for _ in range(2)] == [HEADER, BODY]  # type: ignore[union-attr]
        wire.send(get(b"letters"))
        assert short(b"amq.fanout") + short(key) in wire.expect(BASIC_GET_OK).payload
        properties = wire.read_frame().payload  # type: ignore[union-attr]
        assert field(LATIN_1, LATIN_1) in properties
        assert short(b"routing-keys") + b"A" + long(b"S" + long(key)) in properties
    sqs = boto3.client("sqs", endpoint_url=own_broker.sqs_url, aws_access_key_id="key", aws_secret_access_key="secret", region_name="eu-west-1")
    address = sqs.get_queue_url(QueueName="letters")["QueueUrl"]
    (message,) = sqs.receive_message(QueueUrl=address, MessageAttributeNames=["All"], MaxNumberOfMessages=1, WaitTimeSeconds=20)["Messages"]
    assert message["Body"] == "x"
    sqs.close()
    reader = Consumer({"bootstrap.servers": own_broker.kafka_bootstrap, "group.id": "reader", "auto.offset.reset": "earliest"})
    reader.assign([TopicPartition("records", 0, 0)])
    for _ in range(2):
        record = reader.poll(DEADLINE_S)
        assert record is not None
        assert record.error() is None
        assert record.value() == b"x"
    reader.close()


@pytest.mark.parametrize(
    "frames",
    [
        declare(LATIN_1),
        bind(b"q", b"amq.direct", LATIN_1),
        method(1, EXCHANGE_DECLARE, b"\x00\x00" + short(LATIN_1) + short(b"direct") + b"\x00" + long(b"")),
        get(LATIN_1),
    ],
    ids=["queue", "binding", "exchange", "get"],
)
def test_other_methods_take_utf8_alone(wire: Wire, frames: bytes) -> None:
    wire.send(frames)
    assert wire.expect(CONNECTION_CLOSE).reply[0] == 501
