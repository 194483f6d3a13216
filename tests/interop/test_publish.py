"""Publishing: confirms, properties as they were, bodies of all sizes, many channels (pika)."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pika
import pytest
from harness import Inbox, get, publish, ready, refused, thrown_out, wait_until

Name = Callable[..., str]

HEADERS: dict[str, Any] = {
    "text": "Grüße 🐇",
    "empty": "",
    "bytes": b"\x00\xff",
    "true": True,
    "false": False,
    "none": None,
    "small": 7,
    "negative": -7,
    "int": 2**31 - 1,
    "long": 2**62,
    "least": -(2**63),
    "double": 1.5,
    "decimal": Decimal("1.25"),
    "time": datetime(2024, 2, 29, 12, 0, tzinfo=UTC),
    "list": [1, "two", None, [3], {"four": 4}],
    "table": {"a": {"b": {"c": [True]}}},
    "empty list": [],
    "empty table": {},
}


def test_all_properties_arrive_as_they_were(channel: Any, queue: str) -> None:
    sent = pika.BasicProperties(
        content_type="application/json",
        content_encoding="gzip",
        headers={key: value for key, value in HEADERS.items() if not isinstance(value, float)},  # pika cannot send doubles
        delivery_mode=1,
        priority=3,
        correlation_id="c",
        reply_to="r",
        expiration="600000",
        message_id="m",
        timestamp=1_700_000_000,
        type="t",
        user_id="guest",
        app_id="a",
        cluster_id="k",
    )
    channel.basic_publish("", queue, b"x", sent)
    _, got, _ = channel.basic_get(queue, auto_ack=True)
    wanted = dict(vars(sent))
    wanted["headers"] = wanted["headers"] | {"time": got.headers["time"]}
    assert got.headers["time"].replace(tzinfo=UTC) == HEADERS["time"]
    assert vars(got) == wanted


def test_no_properties_are_no_properties(channel: Any, queue: str) -> None:
    channel.basic_publish("", queue, b"x")
    _, got, _ = channel.basic_get(queue, auto_ack=True)
    assert all(value is None for value in vars(got).values())


def test_empty_strings_are_not_absent(channel: Any, queue: str) -> None:
    publish(channel, queue, b"x", content_type="", message_id="", headers={})
    _, got, _ = channel.basic_get(queue, auto_ack=True)
    assert (got.content_type, got.message_id, got.headers, got.app_id) == ("", "", {}, None)


def test_user_id_has_to_be_the_users(channel: Any, queue: str) -> None:
    with refused(406, "PRECONDITION_FAILED - user_id property set to 'somebody' but authenticated user was 'guest'"):
        publish(channel, queue, b"x", user_id="somebody")


def test_delivery_mode_is_one_or_two(channel: Any, queue: str) -> None:
    with refused(406, "PRECONDITION_FAILED"):
        publish(channel, queue, b"x", delivery_mode=7)


def test_immediate_is_not_there(channel: Any, queue: str) -> None:
    from pika import spec

    with thrown_out(540, "NOT_IMPLEMENTED - immediate=true"):
        channel._impl._send_method(spec.Basic.Publish(exchange="", routing_key=queue, immediate=True), (pika.BasicProperties(), b"x"))
        channel.queue_declare(queue, passive=True)


@pytest.mark.parametrize("size", [0, 1, 4087, 4088, 4089, 131_064, 131_065, 262_128, 1_000_003])
def test_body_sizes_around_the_frame(connect: Any, queue: str, size: int) -> None:
    body = random.Random(size).randbytes(size)
    for frame_max in (131_072, 4096):
        channel = connect(frame_max=frame_max).channel()
        channel.confirm_delivery()
        publish(channel, queue, body)
        assert get(channel, queue) == body


def test_large_messages_in_both_directions_at_once(connect: Any, queue: str) -> None:
    connection = connect()
    channel = connection.channel()
    inbox = Inbox.on(connection.channel(), queue, auto_ack=True)
    bodies = [bytes([number]) * (8 << 20) for number in range(3)]
    publish(channel, queue, *bodies)
    inbox.wait(3)
    assert [hashlib.sha256(body).digest() for body in inbox.bodies] == [hashlib.sha256(body).digest() for body in bodies]


@pytest.mark.long
def test_a_hundred_megabytes(channel: Any, queue: str) -> None:
    body = random.Random(1).randbytes(1 << 20) * 100
    publish(channel, queue, body)
    assert get(channel, queue) == body


def test_confirms_count_from_one_and_cover_everything(connection: Any, queue: str) -> None:
    """Confirms may be single or multiple; all numbers up to the last are confirmed, none twice."""
    from pika import spec

    channel = connection.channel()
    impl = channel._impl  # the blocking channel would wait for each
    settled: list[tuple[str, int, bool]] = []

    def on_confirm(frame: Any) -> None:
        kind = "ack" if isinstance(frame.method, spec.Basic.Ack) else "nack"
        settled.append((kind, frame.method.delivery_tag, frame.method.multiple))

    selected: list[Any] = []
    impl.confirm_delivery(on_confirm, callback=selected.append)
    wait_until(connection, lambda: selected)
    for number in range(1000):
        impl.basic_publish("", queue if number % 3 else "interop.nowhere", b"%d" % number)
    covered: set[int] = set()

    def all_covered() -> bool:
        while settled:
            kind, tag, multiple = settled.pop(0)
            assert kind == "ack"
            tags = {each for each in range(1, tag + 1) if each not in covered} if multiple else {tag}
            assert not tags & covered
            covered.update(tags)
        return len(covered) == 1000

    wait_until(connection, all_covered)
    assert covered == set(range(1, 1001))
    assert ready(channel, queue) == 666


def test_confirm_select_twice(connection: Any, queue: str) -> None:
    from pika import spec

    channel = connection.channel()
    channel.confirm_delivery()
    replies: list[Any] = []
    channel._impl._rpc(spec.Confirm.Select(), replies.append, [spec.Confirm.SelectOk])
    wait_until(connection, lambda: replies)
    publish(channel, queue, b"x")


def test_many_channels_each_with_its_own_consumer(connection: Any, channel: Any, name: Name) -> None:
    inboxes = []
    for _ in range(200):
        own = connection.channel()
        queue = own.queue_declare("", exclusive=True).method.queue
        inboxes.append((queue, Inbox.on(own, queue, auto_ack=True)))
    for number, (queue, _) in enumerate(inboxes):
        publish(channel, queue, b"%d" % number)
    wait_until(connection, lambda: all(inbox.deliveries for _, inbox in inboxes))
    assert [inbox.bodies for _, inbox in inboxes] == [[b"%d" % number] for number in range(200)]


def test_channel_numbers_are_used_again(connection: Any, queue: str) -> None:
    for _ in range(50):
        channel = connection.channel(7)
        publish(channel, queue, b"x")
        assert get(channel, queue) == b"x"
        channel.close()


def test_order_from_one_channel_through_one_exchange(connection: Any, channel: Any, queue: str) -> None:
    channel.queue_bind(queue, "amq.direct", "k")
    sender = connection.channel()
    publish(sender, "k", *[b"%d" % number for number in range(2000)], exchange="amq.direct")
    inbox = Inbox.on(channel, queue, auto_ack=True)
    inbox.wait(2000)
    assert inbox.bodies == [b"%d" % number for number in range(2000)]


def test_transient_messages_count_too(channel: Any, queue: str) -> None:
    publish(channel, queue, b"transient", delivery_mode=1)
    publish(channel, queue, b"persistent", delivery_mode=2)
    assert (get(channel, queue), get(channel, queue)) == (b"transient", b"persistent")
