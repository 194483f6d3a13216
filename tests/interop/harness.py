"""What the tests of every client share: waiting for conditions, collecting deliveries, expecting refusals."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker, ConnectionClosedByBroker

DEADLINE_S = float(os.environ.get("ENTREPOT_TEST_DEADLINE_S", "20"))  # how long anything is waited for


def wait_until(connection: pika.BlockingConnection, condition: Callable[[], Any], what: str = "", deadline_s: float = DEADLINE_S) -> None:
    """Serve `connection` until `condition()` holds; fails after `deadline_s`."""
    give_up = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < give_up, f"not within {deadline_s} s: {what or condition}"
        connection.process_data_events(time_limit=0.02)


def ready(channel: BlockingChannel, queue: str) -> int:
    """Messages of `queue` that are waiting, not those out with consumers."""
    count: int = channel.queue_declare(queue, passive=True).method.message_count
    return count


def consumers(channel: BlockingChannel, queue: str) -> int:
    count: int = channel.queue_declare(queue, passive=True).method.consumer_count
    return count


def wait_ready(channel: BlockingChannel, queue: str, count: int) -> None:
    wait_until(channel.connection, lambda: ready(channel, queue) == count, f"{count} messages ready in {queue}")


def publish(channel: BlockingChannel, queue: str, *bodies: bytes | str, exchange: str = "", **properties: Any) -> None:
    for body in bodies:
        channel.basic_publish(exchange, queue, body, pika.BasicProperties(**properties))


def get(channel: BlockingChannel, queue: str, *, auto_ack: bool = True) -> bytes:
    """The body of the next message of `queue`, which has to hold one now."""
    got, _, body = channel.basic_get(queue, auto_ack=auto_ack)
    assert got is not None, f"{queue} is empty"
    octets: bytes = body
    return octets


def drain(channel: BlockingChannel, queue: str) -> list[bytes]:
    """All bodies that are ready now, taken with basic.get."""
    bodies = []
    while True:
        got, _, body = channel.basic_get(queue, auto_ack=True)
        if got is None:
            return bodies
        bodies.append(body)


@dataclass(frozen=True)
class Delivery:
    method: Any
    properties: Any
    body: bytes

    @property
    def tag(self) -> int:
        tag: int = self.method.delivery_tag
        return tag


@dataclass
class Inbox:
    """What one consumer was given, oldest first; `cancelled` holds the consumer tags that the broker cancelled."""

    channel: BlockingChannel
    deliveries: list[Delivery] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    tag: str = ""

    @classmethod
    def on(cls, channel: BlockingChannel, queue: str, **options: Any) -> Inbox:
        inbox = cls(channel)
        channel.add_on_cancel_callback(lambda frame: inbox.cancelled.append(frame.method.consumer_tag))
        inbox.tag = channel.basic_consume(queue, lambda _, method, properties, body: inbox.deliveries.append(Delivery(method, properties, body)), **options)
        return inbox

    @property
    def bodies(self) -> list[bytes]:
        return [delivery.body for delivery in self.deliveries]

    def wait(self, count: int) -> list[Delivery]:
        """Once at least `count` have come: all of them."""
        wait_until(self.channel.connection, lambda: len(self.deliveries) >= count, f"{count} deliveries")
        return self.deliveries

    def ack(self, delivery: Delivery, *, multiple: bool = False) -> None:
        self.channel.basic_ack(delivery.tag, multiple=multiple)


@contextmanager
def refused(code: int, *fragments: str) -> Iterator[None]:
    """The broker closes the channel with `code` and a text that holds every fragment; the connection lives on."""
    with pytest.raises(ChannelClosedByBroker) as caught:
        yield
    check_reply(caught.value, code, fragments)


@contextmanager
def thrown_out(code: int, *fragments: str) -> Iterator[None]:
    """The broker closes the whole connection with `code` and a text that holds every fragment."""
    with pytest.raises(ConnectionClosedByBroker) as caught:
        yield
    check_reply(caught.value, code, fragments)


def check_reply(error: ChannelClosedByBroker | ConnectionClosedByBroker, code: int, fragments: tuple[str, ...]) -> None:
    assert error.reply_code == code, error.reply_text
    for fragment in fragments:
        assert fragment in error.reply_text
