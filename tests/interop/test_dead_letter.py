"""Dead lettering and what causes it: rejection, time to live, length limits (pika)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from harness import Inbox, drain, get, publish, ready, refused, wait_ready, wait_until
from pika.exceptions import NackError

Name = Callable[..., str]


@pytest.fixture
def with_dead_letters(channel: Any, name: Name) -> Callable[..., tuple[str, Inbox]]:
    """with_dead_letters(arguments) → a queue with them, and an inbox on what it dead-letters, through an exchange and queue of its own."""

    def make(arguments: dict[str, Any] | None = None, dead_routing_key: str = "") -> tuple[str, Inbox]:
        queue, exchange, morgue = name(), name("dlx"), name("dead")
        channel.exchange_declare(exchange, "fanout")
        channel.queue_declare(morgue)
        channel.queue_bind(morgue, exchange, "")
        key = {"x-dead-letter-routing-key": dead_routing_key} if dead_routing_key else {}
        channel.queue_declare(queue, arguments={"x-dead-letter-exchange": exchange} | key | (arguments or {}))
        return queue, Inbox.on(channel.connection.channel(), morgue, auto_ack=True)

    return make


WithDeadLetters = Callable[..., tuple[str, Inbox]]


def test_rejected(channel: Any, with_dead_letters: WithDeadLetters) -> None:
    queue, dead = with_dead_letters()
    publish(channel, queue, b"x", headers={"mine": 1}, message_id="m", delivery_mode=2, expiration="100000")
    got, _, _ = channel.basic_get(queue)
    channel.basic_reject(got.delivery_tag, requeue=False)
    (letter,) = dead.wait(1)
    assert letter.body == b"x"
    assert letter.method.routing_key == queue
    assert (letter.properties.message_id, letter.properties.delivery_mode, letter.properties.headers["mine"]) == ("m", 2, 1)
    assert letter.properties.expiration is None  # or it would expire again where it went
    headers = letter.properties.headers
    (death,) = headers["x-death"]
    assert death["reason"] == "rejected"
    assert (death["queue"], death["exchange"], death["routing-keys"], death["count"]) == (queue, "", [queue], 1)
    assert death["original-expiration"] == "100000"
    assert death["time"] is not None
    assert (headers["x-first-death-reason"], headers["x-first-death-queue"], headers["x-first-death-exchange"]) == ("rejected", queue, "")


def test_nack_multiple_is_rejection_of_each_in_order(channel: Any, with_dead_letters: WithDeadLetters) -> None:
    queue, dead = with_dead_letters()
    publish(channel, queue, b"1", b"2", b"3")
    inbox = Inbox.on(channel, queue)
    inbox.wait(3)
    channel.basic_nack(inbox.deliveries[2].tag, multiple=True, requeue=False)
    assert [letter.body for letter in dead.wait(3)] == [b"1", b"2", b"3"]


def test_dead_letter_routing_key(channel: Any, with_dead_letters: WithDeadLetters) -> None:
    queue, dead = with_dead_letters(dead_routing_key="of the dead")
    publish(channel, queue, b"x", headers={"CC": ["copy"]})
    got, _, _ = channel.basic_get(queue)
    channel.basic_reject(got.delivery_tag, requeue=False)
    (letter,) = dead.wait(1)
    assert letter.method.routing_key == "of the dead"
    assert letter.properties.headers["x-death"][0]["routing-keys"] == [queue, "copy"]


CAUSES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {  # the queue's arguments, the message's properties
    "rejected": ({}, {}),
    "expired": ({}, {"expiration": "1"}),
    "of the queue's time": ({"x-message-ttl": 1}, {}),
    "maxlen": ({"x-max-length": 1}, {}),
    "refused": ({"x-max-length": 0, "x-overflow": "reject-publish-dlx"}, {}),
    "delivery_limit": ({"x-queue-type": "quorum", "x-delivery-limit": 1}, {}),
}


@pytest.mark.parametrize("kind", ["direct", "topic", "default"])
@pytest.mark.parametrize("cause", CAUSES)
def test_without_a_key_of_its_own_a_dead_letter_goes_to_all_that_it_had(channel: Any, name: Name, cause: str, kind: str) -> None:
    """To its routing key, its CC keys and its BCC keys, over several deaths; x-death and the headers do not tell of BCC (RabbitMQ 3.10.8)."""
    arguments, properties = CAUSES[cause]
    living, second, last, dlx = name(), name("second"), name("last"), "" if kind == "default" else name("dlx")
    if dlx:
        channel.exchange_declare(dlx, kind)
    for queue, further in ((last, {}), (second, {"x-message-ttl": 0, "x-dead-letter-exchange": dlx})):
        channel.queue_declare(queue, arguments=further)
    channel.queue_declare(living, durable=True, arguments={"x-dead-letter-exchange": dlx, **arguments})
    if dlx:
        channel.queue_bind(second, dlx, second)  # "second" is where it dies again, by way of BCC
        channel.queue_bind(last, dlx, last)
    dead = Inbox.on(channel.connection.channel(), last, auto_ack=True)
    headers = {"CC": ["nowhere"], "BCC": [second]}
    source = name("source")
    channel.exchange_declare(source, "direct")
    channel.queue_bind(living, source, last)  # its routing key is the last queue's name: it would come there at once by the first exchange
    with contextlib.suppress(NackError):
        publish(channel, last, b"x", exchange=source, headers=headers, **properties)
    if cause == "maxlen":
        publish(channel, last, b"y", exchange=source)
    for _ in range({"rejected": 1, "delivery_limit": 2}.get(cause, 0)):
        wait_ready(channel, living, 1)
        channel.basic_nack(channel.basic_get(living)[0].delivery_tag, requeue=cause == "delivery_limit")
    letters = dead.wait(2)
    assert [letter.body for letter in letters] == [b"x", b"x"]
    first, again = sorted(letters, key=lambda letter: len(letter.properties.headers["x-death"]))
    assert [death["queue"] for death in first.properties.headers["x-death"]] == [living]
    assert [death["queue"] for death in again.properties.headers["x-death"]] == [second, living]
    for letter in letters:
        assert letter.method.routing_key == last
        assert "BCC" not in letter.properties.headers
        assert letter.properties.headers["CC"] == ["nowhere"]
        assert all(death["routing-keys"] == [last, "nowhere"] for death in letter.properties.headers["x-death"])


def test_with_a_key_of_its_own_a_dead_letter_goes_nowhere_else(channel: Any, name: Name, queue: str) -> None:
    living, other = name(), name("other")
    channel.queue_declare(other)
    channel.queue_declare(living, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": queue})
    publish(channel, living, b"x", headers={"BCC": [other]})
    assert drain(channel, other) == [b"x"]
    channel.basic_reject(channel.basic_get(living)[0].delivery_tag, requeue=False)
    inbox = Inbox.on(channel, queue, auto_ack=True)
    (letter,) = inbox.wait(1)
    assert letter.properties.headers["x-death"][0]["routing-keys"] == [living]
    assert drain(channel, other) == []


def test_default_exchange_as_dead_letter_exchange(channel: Any, name: Name, queue: str) -> None:
    living = name()
    channel.queue_declare(living, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": queue})
    publish(channel, living, b"x")
    channel.basic_reject(channel.basic_get(living)[0].delivery_tag, requeue=False)
    inbox = Inbox.on(channel, queue, auto_ack=True)
    inbox.wait(1)


def test_dead_letter_exchange_that_is_not_there(channel: Any, name: Name) -> None:
    queue = name()
    channel.queue_declare(queue, arguments={"x-dead-letter-exchange": "interop.nowhere"})
    publish(channel, queue, b"dropped")
    channel.basic_reject(channel.basic_get(queue)[0].delivery_tag, requeue=False)
    assert ready(channel, queue) == 0


def test_deaths_are_counted_by_queue_and_reason_newest_first(channel: Any, name: Name) -> None:
    work, retry = name("work"), name("retry")
    channel.queue_declare(work, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": retry})
    channel.queue_declare(retry, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": work, "x-message-ttl": 1})
    inbox = Inbox.on(channel, work)
    publish(channel, work, b"x")
    for attempt in range(3):
        letter = inbox.wait(attempt + 1)[attempt]
        channel.basic_reject(letter.tag, requeue=False)
    last = inbox.wait(4)[3]
    deaths = last.properties.headers["x-death"]
    assert [(death["queue"], death["reason"], death["count"]) for death in deaths] == [(retry, "expired", 3), (work, "rejected", 3)]
    assert last.properties.headers["x-first-death-queue"] == work
    assert last.properties.headers["x-first-death-reason"] == "rejected"
    inbox.ack(last)


def test_a_cycle_without_rejection_is_cut(channel: Any, name: Name) -> None:
    queue = name()
    channel.queue_declare(queue, arguments={"x-dead-letter-exchange": "", "x-message-ttl": 1})  # would expire into itself for ever
    publish(channel, queue, b"x")
    wait_until(channel.connection, lambda: ready(channel, queue) == 0, "the message dropped")


@pytest.mark.parametrize("how", ["queue", "message", "both"])
def test_time_to_live(channel: Any, with_dead_letters: WithDeadLetters, how: str) -> None:
    queue, dead = with_dead_letters({"queue": {"x-message-ttl": 50}, "message": {}, "both": {"x-message-ttl": 500_000}}[how])
    publish(channel, queue, b"1", b"2", expiration=None if how == "queue" else "50")
    letters = dead.wait(2)
    assert [letter.body for letter in letters] == [b"1", b"2"]
    death = letters[0].properties.headers["x-death"][0]
    assert (death["reason"], death["queue"]) == ("expired", queue)
    assert death.get("original-expiration") == (None if how == "queue" else "50")
    assert ready(channel, queue) == 0


def test_zero_is_delivered_at_once_or_never(channel: Any, with_dead_letters: WithDeadLetters) -> None:
    queue, dead = with_dead_letters({"x-message-ttl": 0})
    publish(channel, queue, b"nobody there")
    dead.wait(1)
    inbox = Inbox.on(channel, queue, auto_ack=True)
    publish(channel, queue, b"taken")
    inbox.wait(1)
    assert (inbox.bodies, dead.bodies) == ([b"taken"], [b"nobody there"])


def test_expired_is_never_delivered_though_it_waits_behind_others(channel: Any, with_dead_letters: WithDeadLetters) -> None:
    queue, dead = with_dead_letters()
    publish(channel, queue, b"long", expiration="600000")
    publish(channel, queue, b"short", expiration="1")
    publish(channel, queue, b"after")
    assert get(channel, queue) == b"long"
    # RabbitMQ looks at the head only, so "short" may still lie there; a broker that looks deeper has dead-lettered it already
    wait_until(channel.connection, lambda: dead.bodies == [b"short"])
    assert get(channel, queue) == b"after"


def test_time_to_live_does_not_touch_what_is_out(channel: Any, with_dead_letters: WithDeadLetters) -> None:
    queue, dead = with_dead_letters({"x-message-ttl": 100})
    publish(channel, queue, b"out")
    got, _, _ = channel.basic_get(queue)
    publish(channel, queue, b"waits")
    assert [letter.body for letter in dead.wait(1)] == [b"waits"]
    channel.basic_nack(got.delivery_tag, requeue=True)  # its time has run out too
    assert [letter.body for letter in dead.wait(2)] == [b"waits", b"out"]


@pytest.mark.parametrize("expiration", ["abc", "", "-1", "1.5", "99999999999999"])
def test_expiration_that_is_no_time(channel: Any, queue: str, expiration: str) -> None:
    with refused(406, "PRECONDITION_FAILED - invalid expiration"):
        publish(channel, queue, b"x", expiration=expiration)


@pytest.mark.parametrize("limits", [{"x-max-length": 3}, {"x-max-length-bytes": 30}, {"x-max-length": 3, "x-overflow": "drop-head"}], ids=str)
def test_over_the_limit_the_oldest_go(channel: Any, with_dead_letters: WithDeadLetters, limits: dict[str, Any]) -> None:
    queue, dead = with_dead_letters(limits)
    publish(channel, queue, *[b"number %03d" % number for number in range(5)])
    assert [letter.body for letter in dead.wait(2)] == [b"number 000", b"number 001"]
    death = dead.deliveries[0].properties.headers["x-death"][0]
    assert (death["reason"], death["queue"]) == ("maxlen", queue)
    assert drain(channel, queue) == [b"number 002", b"number 003", b"number 004"]


def test_limit_does_not_count_what_is_out(channel: Any, name: Name) -> None:
    queue = name()
    channel.queue_declare(queue, arguments={"x-max-length": 2})
    publish(channel, queue, b"1", b"2")
    channel.basic_get(queue)
    publish(channel, queue, b"3")
    assert drain(channel, queue) == [b"2", b"3"]


def test_limit_of_none(channel: Any, name: Name) -> None:
    queue = name()
    channel.queue_declare(queue, arguments={"x-max-length": 0})
    inbox = Inbox.on(channel, queue, auto_ack=True)
    publish(channel, queue, b"handed over")
    inbox.wait(1)
    channel.basic_cancel(inbox.tag)
    publish(channel, queue, b"dropped")
    assert ready(channel, queue) == 0


def test_reject_publish(channel: Any, with_dead_letters: WithDeadLetters) -> None:
    queue, dead = with_dead_letters({"x-max-length": 2, "x-overflow": "reject-publish"})
    publish(channel, queue, b"1", b"2")
    with pytest.raises(NackError):
        publish(channel, queue, b"3")
    assert get(channel, queue) == b"1"
    publish(channel, queue, b"4")
    assert drain(channel, queue) == [b"2", b"4"]
    assert dead.bodies == []


def test_reject_publish_dlx(channel: Any, with_dead_letters: WithDeadLetters) -> None:
    queue, dead = with_dead_letters({"x-max-length": 1, "x-overflow": "reject-publish-dlx"})
    publish(channel, queue, b"1")
    with pytest.raises(NackError):
        publish(channel, queue, b"2")
    (letter,) = dead.wait(1)
    assert letter.body == b"2"
    assert letter.properties.headers["x-death"][0]["reason"] == "maxlen"
    assert drain(channel, queue) == [b"1"]
