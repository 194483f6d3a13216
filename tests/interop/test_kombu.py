"""kombu (over py-amqp): what Celery stands on, and its oddities."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator
from typing import Any

import kombu
import pytest
from amqp.exceptions import NotFound, PreconditionFailed
from harness import DEADLINE_S
from kombu.pidbox import Mailbox
from kombu.pools import producers


@pytest.fixture
def link(amqp_url: str) -> Iterator[Any]:
    with kombu.Connection(amqp_url, heartbeat=10, transport_options={"confirm_publish": True}) as link:
        yield link


@pytest.fixture
def topology(link: Any) -> Iterator[tuple[Any, Any]]:
    name = f"interop.{secrets.token_hex(6)}"
    exchange = kombu.Exchange(name, type="topic", durable=True)
    queue = kombu.Queue(name, exchange, routing_key="a.#", durable=True)
    yield exchange, queue
    channel = link.channel()
    queue(channel).delete()
    exchange(channel).delete()


def take(link: Any, queue: Any, count: int, **options: Any) -> list[Any]:
    seen: list[Any] = []

    def on_message(body: Any, message: Any) -> None:
        seen.append(body)
        message.ack()

    with link.Consumer(queue, callbacks=[on_message], accept=["json", "pickle", "yaml", "text/plain", "application/data"], **options):
        while len(seen) < count:
            link.drain_events(timeout=DEADLINE_S)
    return seen


@pytest.mark.parametrize("compression", [None, "zlib", "bzip2"])
def test_publish_declares_and_serializes(link: Any, topology: tuple[Any, Any], compression: str | None) -> None:
    exchange, queue = topology
    with producers[link].acquire(block=True) as producer:
        for number in range(20):
            producer.publish(
                {"number": number, "text": "ä" * 1000},
                exchange=exchange,
                routing_key="a.b",
                declare=[queue],
                serializer="json",
                compression=compression,
                retry=True,
            )
    assert [body["number"] for body in take(link, queue, 20)] == list(range(20))


def test_prefetch_and_requeue(link: Any, topology: tuple[Any, Any]) -> None:
    exchange, queue = topology
    with link.Producer() as producer:
        for number in range(5):
            producer.publish(number, exchange=exchange, routing_key="a", declare=[queue])
    seen: list[tuple[int, bool]] = []

    def on_message(body: int, message: Any) -> None:
        seen.append((body, message.delivery_info["redelivered"]))
        if body == 2 and not message.delivery_info["redelivered"]:
            message.requeue()
        elif body == 3:
            message.reject()
        else:
            message.ack()

    with link.Consumer(queue, callbacks=[on_message], prefetch_count=1):
        while len(seen) < 6:
            link.drain_events(timeout=DEADLINE_S)
    assert seen == [(0, False), (1, False), (2, False), (2, True), (3, False), (4, False)]


def test_simple_queue(link: Any) -> None:
    name = f"interop.{secrets.token_hex(6)}"
    with link.SimpleQueue(name, queue_opts={"auto_delete": True}) as simple:
        for number in range(5):
            simple.put({"n": number})
        assert simple.qsize() == 5
        for number in range(5):
            message = simple.get(block=True, timeout=DEADLINE_S)
            assert message.payload == {"n": number}
            message.ack()
        with pytest.raises(simple.Empty):
            simple.get(block=False)


def test_drain_events_times_out_and_goes_on(link: Any, topology: tuple[Any, Any]) -> None:
    exchange, queue = topology
    seen: list[Any] = []
    with link.Consumer(queue, callbacks=[lambda body, message: (seen.append(body), message.ack())]):
        with pytest.raises(socket.timeout):
            link.drain_events(timeout=0.01)
        link.heartbeat_check()
        with link.clone() as other, other.Producer() as producer:
            producer.publish("x", exchange=exchange, routing_key="a")
        link.drain_events(timeout=DEADLINE_S)
    assert seen == ["x"]


def test_errors_have_their_classes(link: Any, topology: tuple[Any, Any]) -> None:
    exchange, _ = topology
    exchange(link.channel()).declare()
    with pytest.raises(NotFound):
        kombu.Queue("interop.nowhere")(link.channel()).queue_declare(passive=True)
    with pytest.raises(PreconditionFailed):
        kombu.Exchange(exchange.name, type="fanout", durable=True)(link.channel()).declare()


def test_queue_arguments(link: Any) -> None:
    name = f"interop.{secrets.token_hex(6)}"
    queue = kombu.Queue(name, expires=60.0, message_ttl=30.0, max_length=2, max_length_bytes=1000, durable=False, channel=link.channel())
    queue.declare()
    with link.Producer() as producer:
        for number in range(3):
            producer.publish(number, routing_key=name, expiration=20)
    assert take(link, queue, 2) == [1, 2]
    queue.delete()


def test_mailbox_broadcast_and_answers(link: Any) -> None:
    """pidbox: fanout out, answers through a direct exchange to an expiring queue of the asker's own."""
    mailbox = Mailbox(f"interop-{secrets.token_hex(4)}", type="fanout", accept=["json"], connection=link)
    asked: list[str] = []

    def double(state: str, value: int) -> int:
        asked.append(state)
        return value * 2

    for host in ("one", "two"):
        mailbox.Node(hostname=host, state=host, handlers={"double": double}, channel=link.channel()).listen()
    with link.clone() as asking:
        bound = mailbox(asking)
        ticket = secrets.token_hex(8)
        reply_queue = bound.get_reply_queue()
        reply_queue(asking.channel()).declare()
        bound._publish("double", {"value": 21}, reply_ticket=ticket, channel=asking.channel())
        while len(asked) < 2:
            link.drain_events(timeout=DEADLINE_S)
        replies = bound._collect(ticket, limit=2, timeout=DEADLINE_S, channel=asking.channel())
    assert {host: answer for reply in replies for host, answer in reply.items()} == {"one": 42, "two": 42}


def test_ensure_connection_and_info(link: Any, amqp_url: str) -> None:
    link.ensure_connection(max_retries=1)
    assert link.connection.server_properties["product"]
    assert "direct_reply_to" in link.connection.server_capabilities
    assert link.transport.supports_heartbeats
    assert link.supports_exchange_type("headers")


def test_basic_return_of_py_amqp(link: Any) -> None:
    returned: list[Any] = []
    with link.Producer(on_return=lambda *arguments: returned.append(arguments)) as producer:
        producer.publish("x", routing_key="interop.nowhere", mandatory=True)
    assert returned[0][1:4] == ("NO_ROUTE", "", "interop.nowhere") or "NO_ROUTE" in str(returned[0])
