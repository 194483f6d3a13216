"""Streams over AMQP 0-9-1: x-queue-type=stream and x-stream-offset (pika)."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from harness import Inbox, publish, refused, thrown_out, wait_until

Name = Callable[..., str]


@pytest.fixture
def stream(channel: Any, name: Name) -> str:
    stream = name("stream")
    channel.queue_declare(stream, durable=True, arguments={"x-queue-type": "stream"})
    return stream


def read(connection: Any, stream: str, offset: Any = None, prefetch: int = 100) -> Inbox:
    channel = connection.channel()
    channel.basic_qos(prefetch_count=prefetch)
    return Inbox.on(channel, stream, arguments={} if offset is None else {"x-stream-offset": offset})


def offsets(inbox: Inbox) -> list[int]:
    return [delivery.properties.headers["x-stream-offset"] for delivery in inbox.deliveries]


def test_reading_takes_nothing_away(connection: Any, channel: Any, stream: str) -> None:
    publish(channel, stream, *[b"%d" % number for number in range(10)])
    for _ in range(2):
        inbox = read(connection, stream, "first")
        inbox.wait(10)
        assert inbox.bodies == [b"%d" % number for number in range(10)]
        assert offsets(inbox) == list(range(10))
        inbox.ack(inbox.deliveries[-1], multiple=True)


@pytest.mark.parametrize("offset", [0, 4, 9])
def test_from_an_offset(connection: Any, channel: Any, stream: str, offset: int) -> None:
    publish(channel, stream, *[b"%d" % number for number in range(10)])
    inbox = read(connection, stream, offset)
    inbox.wait(10 - offset)
    assert offsets(inbox) == list(range(offset, 10))


@pytest.mark.parametrize("offset", ["next", None])
def test_next_is_what_comes_after(connection: Any, channel: Any, stream: str, offset: Any) -> None:
    publish(channel, stream, b"before")
    inbox = read(connection, stream, offset)
    publish(channel, stream, b"after")
    inbox.wait(1)
    assert (inbox.bodies, offsets(inbox)) == ([b"after"], [1])


def test_last_starts_in_the_last_chunk(connection: Any, channel: Any, stream: str) -> None:
    for number in range(20):
        publish(channel, stream, b"%d" % number)  # confirmed one by one: chunks of one
    inbox = read(connection, stream, "last")
    publish(channel, stream, b"20")
    inbox.wait(2)
    assert 0 < offsets(inbox)[0] <= 19  # RabbitMQ: the chunk; a broker without chunks: the last message
    assert inbox.bodies[:2] == [b"%d" % number for number in range(offsets(inbox)[0], offsets(inbox)[0] + 2)]


def test_from_a_time(connection: Any, channel: Any, stream: str) -> None:
    publish(channel, stream, b"0", b"1")
    early = read(connection, stream, datetime(2020, 1, 1, tzinfo=UTC))
    early.wait(2)
    assert early.bodies == [b"0", b"1"]


def test_from_a_time_in_the_middle(connection: Any, channel: Any, stream: str) -> None:
    """AMQP's timestamps count seconds: what was published in an earlier one is not wanted."""
    publish(channel, stream, b"0", b"1")
    second = int(time.time()) + 1
    wait_until(connection, lambda: time.time() >= second + 0.05)
    publish(channel, stream, b"2", b"3")
    inbox = read(connection, stream, datetime.fromtimestamp(second, UTC))
    inbox.wait(2)
    assert (inbox.bodies, offsets(inbox)) == ([b"2", b"3"], [2, 3])


def test_an_offset_that_is_not_written_yet(connection: Any, channel: Any, stream: str) -> None:
    """RabbitMQ 3.10 attaches at the end; what comes from there on arrives."""
    publish(channel, stream, b"0")
    inbox = read(connection, stream, 3)
    publish(channel, stream, b"1", b"2", b"3", b"4")
    wait_until(connection, lambda: inbox.bodies[-1:] == [b"4"])
    assert inbox.bodies == [b"3", b"4"] or inbox.bodies == [b"1", b"2", b"3", b"4"]


def test_credit_comes_from_acknowledgements(connection: Any, channel: Any, stream: str) -> None:
    publish(channel, stream, *[b"%d" % number for number in range(30)])
    inbox = read(connection, stream, "first", prefetch=5)
    inbox.wait(5)
    while len(inbox.deliveries) < 30:
        seen = len(inbox.deliveries)
        inbox.ack(inbox.deliveries[-1], multiple=True)
        inbox.wait(seen + 1)
    assert offsets(inbox) == list(range(30))


def test_two_readers_at_their_own_pace(connection: Any, channel: Any, stream: str) -> None:
    one, other = read(connection, stream, "first", prefetch=2), read(connection, stream, "first", prefetch=10)
    publish(channel, stream, *[b"%d" % number for number in range(6)])
    other.wait(6)
    one.wait(2)
    assert one.bodies[:2] == [b"0", b"1"]


def test_as_bound_to_an_exchange(connection: Any, channel: Any, stream: str, queue: str) -> None:
    channel.queue_bind(stream, "amq.topic", "a.#")
    channel.queue_bind(queue, "amq.topic", "a.#")
    publish(channel, "a.b", b"both", exchange="amq.topic", headers={"mine": 1}, message_id="m")
    inbox = read(connection, stream, "first")
    (delivery,) = inbox.wait(1)
    assert (delivery.method.exchange, delivery.method.routing_key) == ("amq.topic", "a.b")
    assert delivery.properties.message_id == "m"
    assert delivery.properties.headers == {"mine": 1, "x-stream-offset": 0}


def test_prefetch_is_needed(channel: Any, stream: str) -> None:
    with refused(406, "PRECONDITION_FAILED - consumer prefetch count is not set"):
        channel.basic_consume(stream, lambda *_: None)


def test_automatic_acknowledgement_is_not_there(channel: Any, stream: str) -> None:
    channel.basic_qos(prefetch_count=1)
    with thrown_out(540, "NOT_IMPLEMENTED"):
        channel.basic_consume(stream, lambda *_: None, auto_ack=True)


@pytest.mark.parametrize("act", [lambda c, s: c.basic_get(s), lambda c, s: c.queue_purge(s)], ids=["get", "purge"])
def test_what_streams_do_not_do(channel: Any, stream: str, act: Callable[[Any, str], Any]) -> None:
    with thrown_out(540, "NOT_IMPLEMENTED"):
        act(channel, stream)


@pytest.mark.parametrize("act", [lambda c, tag: c.basic_nack(tag), lambda c, tag: c.basic_reject(tag, requeue=False)], ids=["nack", "reject"])
def test_what_was_read_can_only_be_acknowledged(connection: Any, channel: Any, stream: str, act: Callable[[Any, int], Any]) -> None:
    publish(channel, stream, b"0")
    inbox = read(connection, stream, "first")
    inbox.wait(1)
    with thrown_out(540, f"NOT_IMPLEMENTED - basic.nack and basic.reject not supported by stream queues queue '{stream}' in vhost '/'"):
        act(inbox.channel, inbox.deliveries[0].tag)
        wait_until(connection, lambda: False)


def test_offset_that_makes_no_sense(channel: Any, stream: str) -> None:
    """RabbitMQ 3.10 crashes into a connection error 541; a refusal of the channel is as good."""
    from pika.exceptions import ChannelClosedByBroker, ConnectionClosedByBroker

    channel.basic_qos(prefetch_count=1)
    with pytest.raises((ChannelClosedByBroker, ConnectionClosedByBroker)):
        channel.basic_consume(stream, lambda *_: None, arguments={"x-stream-offset": "bogus"})


def test_offset_on_a_queue(channel: Any, queue: str) -> None:
    with refused(406, "PRECONDITION_FAILED - invalid arg 'x-stream-offset'"):
        channel.basic_consume(queue, lambda *_: None, arguments={"x-stream-offset": "first"})


def test_a_stream_is_no_queue_when_declared_again(channel: Any, stream: str) -> None:
    with refused(406, "PRECONDITION_FAILED - inequivalent arg 'x-queue-type'"):
        channel.queue_declare(stream, durable=True)


def test_deleting_a_stream_tells_its_readers(connection: Any, channel: Any, stream: str) -> None:
    inbox = read(connection, stream, "first")
    channel.queue_delete(stream)
    wait_until(connection, lambda: inbox.cancelled == [inbox.tag])
