"""What a client hears of the broker's limits: a connection that is blocked and goes on, a consumer that gets no more than it may hold."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import full_disk
import pika
import pytest
from harness import Inbox, drain, publish, wait_until
from pika.exceptions import NackError

from entrepot.testing import Broker


@pytest.fixture
def trigger(tmp_path: Path) -> Path:
    """Nothing is free on the broker's disk while it exists."""
    return tmp_path / "full"


@pytest.fixture
def broker(trigger: Path, tmp_path: Path) -> Iterator[Broker]:
    command = (sys.executable, full_disk.__file__, str(trigger))
    settings = {"disk.reserve_bytes": 1 << 20, "limits.prefetch": 3}
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    # One worker: it looks at the disk when it has taken enough, and at no other time. Several look by the clock (see tests/crash/test_disk_faults.py).
    with Broker(tmp_path / "data", listeners=("amqp",), command=command, settings=settings, environment=environment, workers=1) as started:
        yield started


@pytest.fixture
def connection(broker: Broker) -> Iterator[Any]:
    with pika.BlockingConnection(pika.URLParameters(broker.amqp_url)) as connected:
        yield connected


def test_connection_blocked_and_unblocked(broker: Broker, connection: Any, trigger: Path) -> None:
    heard: list[str] = []
    connection.add_on_connection_blocked_callback(lambda _, frame: heard.append(frame.method.reason))
    connection.add_on_connection_unblocked_callback(lambda _, frame: heard.append("unblocked"))
    channel = connection.channel()
    channel.confirm_delivery()
    channel.queue_declare("q", durable=True)
    publish(channel, "q", b"before" * 30_000)
    trigger.touch()
    publish(channel, "q", b"meanwhile" * 30_000)
    wait_until(connection, lambda: heard)
    assert "disk" in heard[0]
    with pytest.raises(NackError):
        channel.basic_publish("", "q", b"refused")
    with pika.BlockingConnection(pika.URLParameters(broker.amqp_url)) as other:
        assert [body[:6] for body in drain(other.channel(), "q")] == [b"before", b"meanwh"]
    assert len(heard) == 1
    trigger.unlink()
    wait_until(connection, lambda: len(heard) == 2)
    assert heard[1] == "unblocked"
    publish(channel, "q", b"after")
    assert drain(channel, "q") == [b"after"]


def test_a_consumer_without_a_prefetch_holds_what_the_broker_allows(connection: Any) -> None:
    channel = connection.channel()
    channel.confirm_delivery()
    channel.queue_declare("q", durable=True)
    publish(channel, "q", *[b"%d" % number for number in range(8)])
    inbox = Inbox.on(channel, "q")
    inbox.wait(3)
    assert channel.queue_declare("q", passive=True).method.message_count == 5
    assert inbox.bodies == [b"0", b"1", b"2"]
    inbox.ack(inbox.deliveries[1], multiple=True)
    inbox.wait(5)
    assert channel.queue_declare("q", passive=True).method.message_count == 3
