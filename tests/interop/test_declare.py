"""Declare, passive declare, delete, bind, unbind, purge, and what RabbitMQ answers when they can't be done (pika)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from harness import get, publish, ready, refused, thrown_out

Name = Callable[..., str]

DURABLE = {"durable": True}
STREAM = {"x-queue-type": "stream"}


def test_declare_reports_name_messages_and_consumers(channel: Any, name: Name) -> None:
    queue = name()
    first = channel.queue_declare(queue, durable=True).method
    assert (first.queue, first.message_count, first.consumer_count) == (queue, 0, 0)
    publish(channel, queue, b"1", b"2")
    channel.basic_qos(prefetch_count=1)
    channel.basic_consume(queue, lambda *_: None)
    again = channel.queue_declare(queue, durable=True).method
    assert again.consumer_count == 1
    assert again.message_count in (1, 2)  # one may be out already


def test_server_named_queue_and_the_name_left_out(channel: Any) -> None:
    queue = channel.queue_declare("", exclusive=True).method.queue
    assert queue.startswith("amq.gen-")
    assert channel.queue_declare("", exclusive=True).method.queue != queue
    last = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind("", "amq.direct")  # "": the last one declared on this channel, as queue and as routing key
    publish(channel, last, b"here", exchange="amq.direct")
    assert get(channel, "") == b"here"
    assert ready(channel, queue) == 0


def test_no_last_queue(channel: Any) -> None:
    with refused(404, "NOT_FOUND"):
        channel.basic_get("")


def test_line_ends_are_taken_out_of_names_that_are_declared_bound_and_deleted(channel: Any, name: Name) -> None:
    """Where a name is only used, and in routing keys, types and tags, they stay (RabbitMQ 3.10.8)."""
    queue, exchange = name("queue"), name("exchange")

    def broken(text: str) -> str:
        return f"\r{text[:9]}\r\n{text[9:]}\n"

    channel.exchange_declare(broken(exchange), "direct")
    channel.exchange_declare(exchange, passive=True)
    channel.queue_declare(queue)  # test_any_bytes.py has a broken name here: pika waits for an answer with that one
    channel.queue_bind(broken(queue), broken(exchange), "a\nb")
    publish(channel, "a\nb", b"x", exchange=exchange)
    assert get(channel, queue) == b"x"
    channel.queue_unbind(broken(queue), broken(exchange), "a\nb")
    channel.exchange_bind(broken(exchange), "amq.\nfanout", "k")
    channel.exchange_unbind(broken(exchange), "amq.\nfanout", "k")
    channel.queue_delete(broken(queue))
    channel.exchange_delete(broken(exchange))
    with refused(404, f"no exchange '{exchange}'"):
        channel.exchange_declare(exchange, passive=True)


@pytest.mark.parametrize("act", [lambda channel, name: channel.basic_get(name), lambda channel, name: channel.queue_purge(name)])
def test_line_ends_stay_where_a_queue_is_only_used(channel: Any, queue: str, act: Callable[[Any, str], Any]) -> None:
    with refused(404, f"no queue '{queue}\n'"):
        act(channel, queue + "\n")


def test_passive(channel: Any, queue: str, name: Name) -> None:
    assert channel.queue_declare(queue, passive=True).method.queue == queue
    exchange = name("exchange")
    channel.exchange_declare(exchange, "topic")
    channel.exchange_declare(exchange, passive=True)


@pytest.mark.parametrize("exchange", ["amq.direct", "amq.fanout", "amq.topic", "amq.headers", "amq.match"])
def test_predeclared_exchanges(channel: Any, exchange: str) -> None:
    channel.exchange_declare(exchange, passive=True)
    kind = exchange.removeprefix("amq.").replace("match", "headers")
    channel.exchange_declare(exchange, kind, durable=True)


@pytest.mark.parametrize(
    "act",
    [
        lambda c, n: c.queue_declare(n, passive=True),
        lambda c, n: c.queue_purge(n),
        lambda c, n: c.queue_bind(n, "amq.direct", "k"),
        lambda c, n: c.basic_get(n),
        lambda c, n: c.basic_consume(n, lambda *_: None),
    ],
    ids=["passive", "purge", "bind", "get", "consume"],
)
def test_missing_queue(channel: Any, act: Callable[[Any, str], Any]) -> None:
    with refused(404, "NOT_FOUND - no queue 'interop.nowhere' in vhost '/'"):
        act(channel, "interop.nowhere")


@pytest.mark.parametrize(
    "act",
    [
        lambda c, q: c.exchange_declare("interop.nowhere", passive=True),
        lambda c, q: c.queue_bind(q, "interop.nowhere", "k"),
        lambda c, q: c.exchange_bind("interop.nowhere", "amq.direct", "k"),
        lambda c, q: c.exchange_bind("amq.direct", "interop.nowhere", "k"),
        lambda c, q: c.basic_publish("interop.nowhere", "k", b""),
    ],
    ids=["passive", "bind", "exchange bind, destination", "exchange bind, source", "publish"],
)
def test_missing_exchange(channel: Any, queue: str, act: Callable[[Any, str], Any]) -> None:
    with refused(404, "NOT_FOUND - no exchange 'interop.nowhere' in vhost '/'"):
        act(channel, queue)


def test_deleting_and_unbinding_what_is_not_there_succeeds(channel: Any, queue: str) -> None:
    assert channel.queue_delete("interop.nowhere").method.message_count == 0
    channel.exchange_delete("interop.nowhere")
    channel.queue_unbind(queue, "amq.direct", "never bound")
    channel.queue_unbind("interop.nowhere", "amq.direct", "k")
    channel.queue_unbind(queue, "interop.nowhere", "k")
    channel.exchange_unbind("amq.fanout", "amq.direct", "never bound")


@pytest.mark.parametrize(
    ("attribute", "changed"),
    [("durable", {"durable": False}), ("auto_delete", {"durable": True, "auto_delete": True})],
)
def test_queue_redeclared_differently(channel: Any, queue: str, attribute: str, changed: dict[str, Any]) -> None:
    with refused(406, f"PRECONDITION_FAILED - inequivalent arg '{attribute}' for queue '{queue}' in vhost '/'"):
        channel.queue_declare(queue, **changed)


@pytest.mark.parametrize(("argument", "was", "is_now"), [
    ("x-message-ttl", 5000, 6000),
    ("x-message-ttl", 5000, None),
    ("x-message-ttl", None, 5000),
    ("x-expires", 500_000, 600_000),
    ("x-max-length", 5, 6),
    ("x-max-length-bytes", 5, 6),
    ("x-overflow", "drop-head", "reject-publish"),
    ("x-dead-letter-exchange", "a", "b"),
    ("x-single-active-consumer", True, None),
])  # fmt: skip
def test_queue_arguments_redeclared_differently(channel: Any, name: Name, argument: str, was: Any, is_now: Any) -> None:
    queue = name()
    channel.queue_declare(queue, durable=True, arguments={} if was is None else {argument: was})
    with refused(406, f"PRECONDITION_FAILED - inequivalent arg '{argument}' for queue '{queue}' in vhost '/'"):
        channel.queue_declare(queue, durable=True, arguments={} if is_now is None else {argument: is_now})


def test_queue_arguments_nobody_knows_are_ignored(channel: Any, name: Name) -> None:
    queue = name()
    channel.queue_declare(queue, durable=True, arguments={"x-of-tomorrow": 1, "note": "mine"})
    channel.queue_declare(queue, durable=True)


def test_equal_integers_of_other_widths_are_equivalent(channel: Any, name: Name) -> None:
    queue = name()
    channel.queue_declare(queue, durable=True, arguments={"x-max-length": 2**33})  # pika sends 'l'
    channel.queue_declare(queue, durable=True, arguments={"x-max-length": 2**33})


@pytest.mark.parametrize(
    ("attribute", "kind", "changed"),
    [
        ("type", "fanout", DURABLE),
        ("durable", "direct", {}),
        ("auto_delete", "direct", {"durable": True, "auto_delete": True}),
        ("internal", "direct", {"durable": True, "internal": True}),
        ("alternate-exchange", "direct", {"durable": True, "arguments": {"alternate-exchange": "other"}}),
    ],
)
def test_exchange_redeclared_differently(channel: Any, name: Name, attribute: str, kind: str, changed: dict[str, Any]) -> None:
    exchange = name("exchange")
    channel.exchange_declare(exchange, "direct", durable=True)
    with refused(406, f"PRECONDITION_FAILED - inequivalent arg '{attribute}' for exchange '{exchange}' in vhost '/'"):
        channel.exchange_declare(exchange, kind, **changed)


@pytest.mark.parametrize("kind", ["bogus", "x-delayed-message", "x-consistent-hash"])
def test_unknown_exchange_type(channel: Any, name: Name, kind: str) -> None:
    with thrown_out(503, f"COMMAND_INVALID - unknown exchange type '{kind}'"):
        channel.exchange_declare(name("exchange"), kind, arguments={"x-delayed-type": "direct"})


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ({"x-message-ttl": -1}, {}),
        ({"x-message-ttl": "10"}, {}),
        ({"x-message-ttl": True}, {}),
        ({"x-expires": 0}, {}),
        ({"x-expires": -1}, {}),
        ({"x-max-length": -1}, {}),
        ({"x-max-length": "many"}, {}),
        ({"x-max-length-bytes": -1}, {}),
        ({"x-overflow": "bogus"}, {}),
        ({"x-overflow": 5}, {}),
        ({"x-dead-letter-exchange": 5}, {}),
        ({"x-dead-letter-routing-key": "key without exchange"}, {}),
        ({"x-dead-letter-routing-key": 5, "x-dead-letter-exchange": "e"}, {}),
        ({"x-queue-type": "bogus"}, {}),
        ({"x-queue-type": 5}, {}),
        ({"x-single-active-consumer": "yes"}, {}),
        ({"x-max-age": "1D"}, {}),  # a stream's
        (STREAM, {"durable": False}),
        (STREAM, {"exclusive": True}),
        (STREAM, {"auto_delete": True}),
        (STREAM | {"x-message-ttl": 4}, {}),
        (STREAM | {"x-dead-letter-exchange": "e"}, {}),
        (STREAM | {"x-max-length": 4}, {}),
    ],
    ids=str,
)
def test_queue_arguments_that_make_no_sense(channel: Any, name: Name, arguments: dict[str, Any], options: dict[str, Any]) -> None:
    with refused(406, "PRECONDITION_FAILED - invalid "):
        channel.queue_declare(name(), **(DURABLE | options), arguments=arguments)


@pytest.mark.parametrize(
    "act",
    [
        lambda c, q: c.exchange_declare("", "direct"),
        lambda c, q: c.exchange_declare("", passive=True),
        lambda c, q: c.exchange_delete(""),
        lambda c, q: c.queue_bind(q, "", "k"),
        lambda c, q: c.queue_unbind(q, "", q),
        lambda c, q: c.exchange_bind("", "amq.direct", "k"),
        lambda c, q: c.exchange_bind("amq.direct", "", "k"),
        lambda c, q: c.exchange_declare("amq.mine", "direct"),
        lambda c, q: c.queue_declare("amq.mine"),
        lambda c, q: c.exchange_delete("amq.direct"),
    ],
    ids=[
        "declare default",
        "passive default",
        "delete default",
        "bind",
        "unbind",
        "exchange bind to",
        "exchange bind from",
        "reserved exchange",
        "reserved queue",
        "delete amq.",
    ],
)
def test_what_is_the_brokers_own(channel: Any, queue: str, act: Callable[[Any, str], Any]) -> None:
    with refused(403, "ACCESS_REFUSED"):
        act(channel, queue)


def test_internal_exchange_takes_no_publish(channel: Any, name: Name) -> None:
    exchange = name("exchange")
    channel.exchange_declare(exchange, "fanout", internal=True)
    with refused(403, f"ACCESS_REFUSED - cannot publish to internal exchange '{exchange}' in vhost '/'"):
        channel.basic_publish(exchange, "k", b"")


def test_if_empty_and_if_unused(connection: Any, channel: Any, queue: str) -> None:
    publish(channel, queue, b"1")
    other = connection.channel()
    with refused(406, f"PRECONDITION_FAILED - queue '{queue}' in vhost '/' not empty"):
        other.queue_delete(queue, if_empty=True)
    channel.basic_consume(queue, lambda *_: None)
    other = connection.channel()
    with refused(406, f"PRECONDITION_FAILED - queue '{queue}' in vhost '/' in use"):
        other.queue_delete(queue, if_unused=True)


def test_exchange_if_unused(connection: Any, channel: Any, queue: str, name: Name) -> None:
    exchange = name("exchange")
    channel.exchange_declare(exchange, "direct")
    channel.queue_bind(queue, exchange, "k")
    with refused(406, f"PRECONDITION_FAILED - exchange '{exchange}' in vhost '/' in use"):
        connection.channel().exchange_delete(exchange, if_unused=True)
    channel.queue_unbind(queue, exchange, "k")
    channel.exchange_delete(exchange, if_unused=True)


def test_purge_and_delete_count_what_they_drop(channel: Any, queue: str) -> None:
    publish(channel, queue, *[b"x"] * 5)
    assert channel.queue_purge(queue).method.message_count == 5
    assert ready(channel, queue) == 0
    publish(channel, queue, *[b"x"] * 3)
    assert channel.queue_delete(queue).method.message_count == 3
    with refused(404):
        channel.queue_declare(queue, passive=True)


def test_purge_leaves_what_is_out(channel: Any, queue: str) -> None:
    publish(channel, queue, b"out", b"in")
    got, _, _ = channel.basic_get(queue)
    assert channel.queue_purge(queue).method.message_count == 1
    channel.basic_nack(got.delivery_tag)
    assert get(channel, queue) == b"out"


def test_a_queue_of_the_same_name_is_a_new_one(channel: Any, queue: str) -> None:
    channel.queue_bind(queue, "amq.direct", "again")
    publish(channel, queue, b"old")
    channel.queue_delete(queue)
    channel.queue_declare(queue, durable=True)
    assert ready(channel, queue) == 0
    publish(channel, "again", b"unbound with the old one", exchange="amq.direct")
    assert ready(channel, queue) == 0


def test_closing_one_channel_leaves_the_others(connection: Any, queue: str) -> None:
    one, other = connection.channel(), connection.channel()
    with refused(404):
        one.queue_declare("interop.nowhere", passive=True)
    assert other.queue_declare(queue, passive=True).method.queue == queue
    again = connection.channel()
    assert again.queue_declare(queue, passive=True).method.queue == queue


def test_names_of_255_octets_and_of_any_script(channel: Any, name: Name) -> None:
    for queue in (name().ljust(255, "n"), name("Ünïcødé-队列-🐇"), name("with spaces / and $igns")):
        channel.queue_declare(queue, auto_delete=True)
        publish(channel, queue, b"x")
        assert get(channel, queue) == b"x"
        channel.queue_delete(queue)
