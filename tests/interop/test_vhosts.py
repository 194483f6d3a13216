"""Virtual hosts: one for each configured namespace, and nothing of one is seen in another (pika)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pika
import pytest
from harness import Inbox, get, publish, ready, refused
from pika.exceptions import ProbableAccessDeniedError

VHOSTS = ("/", "sales", "acme/orders")  # public/default, public/sales, acme/orders

Open = Callable[..., Any]


@pytest.fixture(scope="module")
def broker() -> Iterator[Any]:
    if "ENTREPOT_TEST_AMQP_URL" in os.environ:
        pytest.skip("ENTREPOT_TEST_AMQP_URL names a broker whose namespaces are not ours to configure")
    from entrepot.testing import Broker

    with Broker(settings={"namespaces": "public/default,public/sales,acme/orders"}) as broker:
        yield broker


@pytest.fixture
def opened(broker: Any) -> Iterator[Open]:
    """opened(vhost) → a channel in confirm mode, of a connection of its own."""
    connections = []

    def make(vhost: str) -> Any:
        parameters = pika.URLParameters(broker.amqp_url)
        parameters.virtual_host = vhost
        parameters.socket_timeout = 20
        connections.append(pika.BlockingConnection(parameters))
        channel = connections[-1].channel()
        channel.confirm_delivery()
        return channel

    yield make
    for connection in connections:
        if connection.is_open:
            connection.close()


def test_one_name_in_each_is_another_queue(opened: Open) -> None:
    channels = [opened(vhost) for vhost in VHOSTS]
    for number, channel in enumerate(channels):
        channel.queue_declare("same", durable=True, auto_delete=number == 1)
        publish(channel, "same", *[b"%d" % number] * (number + 1))
    for number, channel in enumerate(channels):
        assert ready(channel, "same") == number + 1
        assert get(channel, "same") == b"%d" % number
        channel.queue_delete("same")


def test_exchanges_are_each_its_own(opened: Open) -> None:
    here, there = opened("sales"), opened("acme/orders")
    here.exchange_declare("news", "fanout")
    there.exchange_declare("news", "direct")
    for channel in (here, there):
        channel.queue_declare("readers")
        channel.queue_bind("readers", "amq.fanout")
        channel.queue_bind("readers", "news", "k")
    publish(here, "k", b"fanout", exchange="amq.fanout")
    publish(there, "k", b"direct", exchange="news")
    assert (get(here, "readers"), get(there, "readers")) == (b"fanout", b"direct")
    assert ready(here, "readers") == ready(there, "readers") == 0
    for channel in (here, there):
        channel.queue_delete("readers")
        channel.exchange_delete("news")


def test_exclusive_queues_and_consumers(opened: Open) -> None:
    here, there = opened("sales"), opened("acme/orders")
    here.queue_declare("mine", exclusive=True)
    there.queue_declare("mine", exclusive=True)
    inbox = Inbox.on(here, "mine", auto_ack=True)
    publish(there, "mine", b"there")
    publish(here, "mine", b"here")
    inbox.wait(1)
    assert inbox.bodies == [b"here"]
    assert get(there, "mine") == b"there"


@pytest.mark.parametrize("vhost", VHOSTS)
def test_errors_name_it(opened: Open, vhost: str) -> None:
    with refused(404, f"NOT_FOUND - no queue 'nowhere' in vhost '{vhost}'"):
        opened(vhost).queue_declare("nowhere", passive=True)


@pytest.mark.parametrize("vhost", ["nope", "acme/nope", "no/such/thing", ""])
def test_what_is_not_there(opened: Open, vhost: str) -> None:
    with pytest.raises(ProbableAccessDeniedError, match=rf"\(530\) 'NOT_ALLOWED - vhost {vhost} not found'"):
        opened(vhost)


def test_kept_over_a_restart(broker: Any, opened: Open) -> None:
    channel = opened("acme/orders")
    channel.queue_declare("kept", durable=True)
    publish(channel, "kept", b"kept", delivery_mode=2)
    channel.connection.close()
    broker.restart()
    channel = opened("acme/orders")
    assert get(channel, "kept") == b"kept"
    channel.queue_delete("kept")
    with refused(404, "NOT_FOUND"):
        opened("sales").queue_declare("kept", passive=True)
