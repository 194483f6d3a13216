"""Routing keys, exchanges' names and fields of tables that are not UTF-8 (bare frames; no client library sends them all). RabbitMQ 3.10.8 answers each so."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
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
    QUEUE_DECLARE,
    QUEUE_DECLARE_OK,
    Wire,
    frame,
    header,
    long,
    method,
)

BASIC_RETURN = (60, 50)
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


def get(queue: bytes) -> bytes:
    return method(1, BASIC_GET, b"\x00\x00" + short(queue) + b"\x01")


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
