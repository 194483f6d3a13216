"""Exchange types, bindings between exchanges, alternate exchanges, CC and BCC, the mandatory flag (pika)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pika
import pytest
from harness import drain, get, publish, ready, refused
from pika.exceptions import UnroutableError

Name = Callable[..., str]


@pytest.fixture
def exchange_of(channel: Any, name: Name) -> Callable[..., str]:
    def make(kind: str, **options: Any) -> str:
        exchange = name(kind)
        channel.exchange_declare(exchange, kind, **options)
        return exchange

    return make


@pytest.fixture
def queues(channel: Any, name: Name) -> list[str]:
    names = [name(str(number)) for number in range(4)]
    for each in names:
        channel.queue_declare(each)
    return names


def counts(channel: Any, queues: list[str]) -> list[int]:
    return [len(drain(channel, each)) for each in queues]


def test_default_exchange_is_every_queue_by_its_name(channel: Any, queues: list[str]) -> None:
    publish(channel, queues[2], b"x")
    assert counts(channel, queues) == [0, 0, 1, 0]


def test_direct(channel: Any, queues: list[str], exchange_of: Callable[..., str]) -> None:
    exchange = exchange_of("direct")
    for queue, key in ((0, "a"), (1, "a"), (1, "b"), (2, "b"), (3, "c")):
        channel.queue_bind(queues[queue], exchange, key)
    for key, expected in (("a", [1, 1, 0, 0]), ("b", [0, 1, 1, 0]), ("A", [0, 0, 0, 0]), ("c", [0, 0, 0, 1])):
        publish(channel, key, b"x", exchange=exchange)
        assert counts(channel, queues) == expected, key


def test_a_message_reaches_a_queue_once_however_many_bindings_match(channel: Any, queue: str, exchange_of: Callable[..., str]) -> None:
    exchange = exchange_of("topic")
    for pattern in ("#", "a.*", "a.b"):
        channel.queue_bind(queue, exchange, pattern)
    publish(channel, "a.b", b"x", exchange=exchange)
    assert drain(channel, queue) == [b"x"]


def test_fanout(channel: Any, queues: list[str], exchange_of: Callable[..., str]) -> None:
    exchange = exchange_of("fanout")
    for each in queues[:3]:
        channel.queue_bind(each, exchange, "ignored")
    publish(channel, "whatever", b"x", exchange=exchange)
    assert counts(channel, queues) == [1, 1, 1, 0]


@pytest.mark.parametrize(
    ("pattern", "matches", "misses"),
    [
        ("a.b.c", ["a.b.c"], ["a.b", "a.b.c.d", "", "a.b.C"]),
        ("a.*.c", ["a.b.c", "a..c"], ["a.c", "a.b.b.c"]),
        ("#", ["", "a", "a.b.c", ".", "..."], []),
        ("*", ["a"], ["a.b", ".", ""]),  # the empty key has no word
        ("a.#", ["a", "a.b", "a.b.c"], ["b.a", "ab"]),
        ("#.c", ["c", "b.c", "a.b.c"], ["c.a"]),
        ("a.#.c", ["a.c", "a.b.c", "a.b.b.c"], ["a.b", "c"]),
        ("#.b.#", ["b", "a.b", "b.c", "a.b.c"], ["a.c"]),
        ("*.#", ["a", "a.b"], []),
        ("#.*", ["a", "a.b"], []),
        ("*.*", ["a.b", "."], ["a", "a.b.c"]),
        ("a*", ["a*"], ["ab", "a"]),  # a wildcard is a whole word
    ],
)
def test_topic(channel: Any, queue: str, exchange_of: Callable[..., str], pattern: str, matches: list[str], misses: list[str]) -> None:
    exchange = exchange_of("topic")
    channel.queue_bind(queue, exchange, pattern)
    for key in matches + misses:
        publish(channel, key, key.encode(), exchange=exchange)
    assert drain(channel, queue) == [key.encode() for key in matches]


@pytest.mark.parametrize(
    ("arguments", "headers", "matched"),
    [
        ({"x-match": "all", "a": 1, "b": "x"}, {"a": 1, "b": "x"}, True),
        ({"x-match": "all", "a": 1, "b": "x"}, {"a": 1, "b": "x", "c": 3}, True),
        ({"x-match": "all", "a": 1, "b": "x"}, {"a": 1}, False),
        ({"x-match": "all", "a": 1}, {"a": 2}, False),
        ({"x-match": "all", "a": 1}, {"a": "1"}, False),
        ({"a": 1, "b": 2}, {"a": 1}, False),  # all is the default
        ({"x-match": "any", "a": 1, "b": "x"}, {"b": "x"}, True),
        ({"x-match": "any", "a": 1, "b": "x"}, {"a": 2, "b": "y"}, False),
        ({"x-match": "all"}, {}, True),
        ({"x-match": "all"}, None, True),
        ({"x-match": "any"}, {"a": 1}, False),
        ({"x-match": "all", "a": None}, {"a": "whatever"}, True),  # no value: the header has to be there
        ({"x-match": "all", "a": None}, {}, False),
        ({"x-match": "any", "a": True}, {"a": True}, True),
        ({"x-match": "any", "a": True}, {"a": False}, False),
        ({"x-match": "all", "x-a": 1, "b": 1}, {"b": 1}, True),  # names that begin with x- don't count
        ({"x-match": "all-with-x", "x-a": 1, "b": 1}, {"b": 1}, False),
        ({"x-match": "all-with-x", "x-a": 1}, {"x-a": 1}, True),
        ({"x-match": "any-with-x", "x-a": 1, "b": 1}, {"x-a": 1}, True),
        ({"x-match": "any", "x-a": 1, "b": 1}, {"x-a": 1}, False),
    ],
    ids=str,
)
def test_headers(channel: Any, queue: str, exchange_of: Callable[..., str], arguments: dict[str, Any], headers: dict[str, Any] | None, matched: bool) -> None:
    exchange = exchange_of("headers")
    channel.queue_bind(queue, exchange, "", arguments)
    publish(channel, "", b"x", exchange=exchange, headers=headers)
    assert ready(channel, queue) == int(matched)


@pytest.mark.parametrize("x_match", ["bogus", 5])
def test_headers_bad_x_match(channel: Any, queue: str, x_match: Any) -> None:
    with refused(406, "PRECONDITION_FAILED", "x-match"):
        channel.queue_bind(queue, "amq.headers", "", {"x-match": x_match})


def test_unbind_needs_key_and_arguments_alike(channel: Any, queue: str, exchange_of: Callable[..., str]) -> None:
    exchange = exchange_of("headers")
    channel.queue_bind(queue, exchange, "", {"a": 1})
    channel.queue_unbind(queue, exchange, "", {"a": 2})
    publish(channel, "", b"still bound", exchange=exchange, headers={"a": 1})
    channel.queue_unbind(queue, exchange, "", {"a": 1})
    publish(channel, "", b"unbound", exchange=exchange, headers={"a": 1})
    assert drain(channel, queue) == [b"still bound"]


def test_binding_twice_is_one_binding(channel: Any, queue: str, exchange_of: Callable[..., str]) -> None:
    exchange = exchange_of("direct")
    channel.queue_bind(queue, exchange, "k")
    channel.queue_bind(queue, exchange, "k")
    channel.queue_unbind(queue, exchange, "k")
    publish(channel, "k", b"x", exchange=exchange)
    assert ready(channel, queue) == 0


def test_exchange_to_exchange(channel: Any, queues: list[str], exchange_of: Callable[..., str]) -> None:
    first, second, third = exchange_of("topic"), exchange_of("direct"), exchange_of("fanout", internal=True)
    channel.exchange_bind(second, first, "a.#")
    channel.exchange_bind(third, second, "a.b")
    channel.exchange_bind(first, third, "")  # a ring: each queue gets it once all the same
    channel.queue_bind(queues[0], first, "a.b")
    channel.queue_bind(queues[1], second, "a.b")
    channel.queue_bind(queues[2], third, "")
    channel.queue_bind(queues[3], second, "a.c")
    publish(channel, "a.b", b"x", exchange=first)
    assert counts(channel, queues) == [1, 1, 1, 0]
    channel.exchange_unbind(third, second, "a.b")
    publish(channel, "a.b", b"x", exchange=first)
    assert counts(channel, queues) == [1, 1, 0, 0]


def test_alternate_exchange(channel: Any, queues: list[str], exchange_of: Callable[..., str]) -> None:
    last = exchange_of("fanout")
    middle = exchange_of("direct", arguments={"alternate-exchange": last})
    first = exchange_of("direct", arguments={"alternate-exchange": middle})
    channel.queue_bind(queues[0], first, "0")
    channel.queue_bind(queues[1], middle, "1")
    channel.queue_bind(queues[2], last, "")
    for key in ("0", "1", "2"):
        channel.basic_publish(first, key, key.encode(), mandatory=True)  # routed by the alternate counts as routed
    assert [drain(channel, each) for each in queues] == [[b"0"], [b"1"], [b"2"], []]


def test_alternate_exchange_that_is_not_there(channel: Any, exchange_of: Callable[..., str]) -> None:
    exchange = exchange_of("direct", arguments={"alternate-exchange": "interop.nowhere"})
    channel.basic_publish(exchange, "k", b"dropped")
    with pytest.raises(UnroutableError):
        channel.basic_publish(exchange, "k", b"returned", mandatory=True)


def test_cc_and_bcc(channel: Any, queues: list[str]) -> None:
    channel.basic_publish("", queues[0], b"x", pika.BasicProperties(headers={"CC": [queues[1], queues[0]], "BCC": [queues[2]], "mine": 1}))
    seen = []
    for each in queues[:3]:
        _, properties, body = channel.basic_get(each, auto_ack=True)
        assert body == b"x"
        seen.append(properties.headers)
        assert channel.basic_get(each)[0] is None
    assert seen == [{"CC": [queues[1], queues[0]], "mine": 1}] * 3  # BCC is taken out


def test_cc_must_be_a_list(channel: Any, queue: str) -> None:
    with refused(406, "PRECONDITION_FAILED"):
        publish(channel, queue, b"x", headers={"CC": "not a list"})


def test_mandatory_unroutable_comes_back_whole(channel: Any) -> None:
    properties = pika.BasicProperties(message_id="m", headers={"a": 1}, delivery_mode=2)
    with pytest.raises(UnroutableError) as caught:
        channel.basic_publish("amq.direct", "interop.nowhere", b"body" * 1000, properties, mandatory=True)
    (returned,) = caught.value.messages
    assert (returned.method.reply_code, returned.method.reply_text) == (312, "NO_ROUTE")
    assert (returned.method.exchange, returned.method.routing_key) == ("amq.direct", "interop.nowhere")
    assert returned.body == b"body" * 1000
    assert (returned.properties.message_id, returned.properties.headers, returned.properties.delivery_mode) == ("m", {"a": 1}, 2)


def test_not_mandatory_unroutable_is_confirmed_and_gone(channel: Any) -> None:
    channel.basic_publish("amq.direct", "interop.nowhere", b"dropped")


def test_return_comes_before_its_confirm_and_in_order(connection: Any, queue: str) -> None:
    channel = connection.channel()
    returned: list[bytes] = []
    channel.add_on_return_callback(lambda _, __, ___, body: returned.append(body))
    for number in range(50):
        channel.basic_publish("", queue if number % 2 else "interop.nowhere", b"%d" % number, mandatory=True)
    channel.queue_declare(queue, passive=True)  # answered behind the returns of the same channel
    connection.process_data_events()
    assert returned == [b"%d" % number for number in range(0, 50, 2)]
    assert len(drain(channel, queue)) == 25


def test_auto_delete_exchange_goes_with_its_last_binding(connection: Any, channel: Any, queue: str, exchange_of: Callable[..., str]) -> None:
    exchange = exchange_of("direct", auto_delete=True)
    channel.queue_bind(queue, exchange, "1")
    channel.queue_bind(queue, exchange, "2")
    channel.queue_unbind(queue, exchange, "1")
    channel.exchange_declare(exchange, passive=True)
    channel.queue_unbind(queue, exchange, "2")
    with refused(404):
        connection.channel().exchange_declare(exchange, passive=True)


def test_auto_delete_exchange_goes_with_its_last_queue(connection: Any, channel: Any, queue: str, exchange_of: Callable[..., str]) -> None:
    exchange = exchange_of("fanout", auto_delete=True)
    channel.queue_bind(queue, exchange, "")
    channel.queue_delete(queue)
    with refused(404):
        connection.channel().exchange_declare(exchange, passive=True)


def test_deleting_an_exchange_takes_its_bindings(channel: Any, queue: str, name: Name) -> None:
    exchange = name("exchange")
    channel.exchange_declare(exchange, "fanout")
    channel.queue_bind(queue, exchange, "")
    channel.exchange_delete(exchange)
    channel.exchange_declare(exchange, "fanout")
    publish(channel, "", b"x", exchange=exchange)
    assert ready(channel, queue) == 0
    publish(channel, queue, b"by name")
    assert get(channel, queue) == b"by name"
