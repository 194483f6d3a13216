"""Queues with x-max-priority (pika): what RabbitMQ does with them, and where a queue of levels differs from it for the better."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pika
import pytest
from harness import Inbox, consumers, drain, publish, ready, refused, wait_ready
from pika.exceptions import NackError

Names = Callable[..., str]


def declare(channel: Any, name: Names, top: int = 10, **arguments: Any) -> str:
    queue = name("priorities")
    channel.queue_declare(queue, durable=True, arguments={"x-max-priority": top, **{key.replace("_", "-"): value for key, value in arguments.items()}})
    return queue


def put(channel: Any, queue: str, *priorities: int | None, **properties: Any) -> None:
    """Messages that are called by their place and priority."""
    for place, priority in enumerate(priorities):
        publish(channel, queue, f"{place}:{priority}", priority=priority, **properties)


def test_the_highest_first(channel: Any, name: Names) -> None:
    queue = declare(channel, name)
    put(channel, queue, None, 0, 3, 10, 11, 255, 1, 3)
    assert ready(channel, queue) == 8
    assert drain(channel, queue) == [b"3:10", b"4:11", b"5:255", b"2:3", b"7:3", b"6:1", b"0:None", b"1:0"]


def test_a_run_of_many(connection: Any, name: Names) -> None:
    channel = connection.channel()
    queue = declare(channel, name, 4)
    for number in range(600):
        publish(channel, queue, b"%d" % number, priority=number % 6)
    wait_ready(channel, queue, 600)
    inbox = Inbox.on(channel, queue, auto_ack=True)
    inbox.wait(600)
    expected = [number for level in range(4, -1, -1) for number in range(600) if min(number % 6, 4) == level]
    assert [int(body) for body in inbox.bodies] == expected


def test_what_comes_later_goes_before_with_a_prefetch_of_one(connection: Any, channel: Any, name: Names) -> None:
    queue = declare(channel, name)
    put(channel, queue, 0)
    reading = connection.channel()
    reading.basic_qos(prefetch_count=1)
    inbox = Inbox.on(reading, queue)
    inbox.wait(1)
    put(channel, queue, 1, 9, 4, 9)
    for count in range(1, 6):
        inbox.ack(inbox.wait(count)[count - 1])
    assert inbox.bodies == [b"0:0", b"1:9", b"3:9", b"2:4", b"0:1"]


def test_what_is_given_back_is_in_its_place(channel: Any, name: Names) -> None:
    queue = declare(channel, name)
    put(channel, queue, 1, 1, 5, 5)
    got = [channel.basic_get(queue) for _ in range(4)]
    assert [body for _, _, body in got] == [b"2:5", b"3:5", b"0:1", b"1:1"]
    for place in (1, 3, 0):
        channel.basic_nack(got[place][0].delivery_tag)
    wait_ready(channel, queue, 3)
    again = [channel.basic_get(queue, auto_ack=True) for _ in range(3)]
    assert [(body, method.redelivered, method.message_count) for method, _, body in again] == [(b"2:5", True, 2), (b"3:5", True, 1), (b"1:1", True, 0)]
    channel.basic_ack(got[2][0].delivery_tag)


def test_multiple_acknowledges_over_levels(channel: Any, name: Names) -> None:
    queue = declare(channel, name)
    put(channel, queue, 1, 5, 0, 9)
    got = [channel.basic_get(queue) for _ in range(4)]
    channel.basic_ack(got[2][0].delivery_tag, multiple=True)
    channel.basic_nack(got[3][0].delivery_tag)
    wait_ready(channel, queue, 1)
    assert drain(channel, queue) == [b"2:0"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(256, "{max_value_exceeded,256}"), (-1, "{value_negative,-1}"), ("x", "expected integer, got longstr"), (True, "expected integer, got bool")],
)
def test_arguments_that_are_none(channel: Any, name: Names, value: Any, text: str) -> None:
    with refused(406, "invalid arg 'x-max-priority' for queue", text):
        declare(channel, name, value)


def test_not_for_quorum_queues_and_streams(connection: Any, name: Names) -> None:
    for kind in ("quorum", "stream"):
        with refused(406, "invalid arg 'x-max-priority' for queue", f"of queue type rabbit_{kind}_queue"):
            declare(connection.channel(), name, x_queue_type=kind)


def test_it_stays_as_it_was_declared(connection: Any, channel: Any, name: Names) -> None:
    queue = declare(channel, name)
    with refused(406, "inequivalent arg 'x-max-priority'", "received '5' but current is '10'"):
        connection.channel().queue_declare(queue, durable=True, arguments={"x-max-priority": 5})
    with refused(406, "inequivalent arg 'x-max-priority'", "received none but current is the value '10' of type 'signedint'"):
        connection.channel().queue_declare(queue, durable=True)


def test_over_a_length_the_highest_go(channel: Any, name: Names) -> None:
    dead = name("dead")
    channel.queue_declare(dead, durable=True)
    queue = declare(channel, name, x_max_length=3, x_dead_letter_exchange="", x_dead_letter_routing_key=dead)
    put(channel, queue, 1, 5, 3, 0, 5, 0)
    wait_ready(channel, dead, 3)
    assert drain(channel, queue) == [b"0:1", b"3:0", b"5:0"]
    assert drain(channel, dead) == [b"1:5", b"4:5", b"2:3"]


def test_over_octets_the_highest_go(channel: Any, name: Names) -> None:
    queue = declare(channel, name, x_max_length_bytes=9)
    put(channel, queue, 1, 5, 3, 0, 5, 0)
    wait_ready(channel, queue, 3)
    assert drain(channel, queue) == [b"0:1", b"3:0", b"5:0"]


def test_refused_over_a_length(channel: Any, name: Names) -> None:
    queue = declare(channel, name, x_max_length=2, x_overflow="reject-publish")
    put(channel, queue, 1, 0)
    with pytest.raises(NackError):
        put(channel, queue, 5)
    assert drain(channel, queue) == [b"0:1", b"1:0"]


def test_time_to_live_of_the_queue(channel: Any, name: Names) -> None:
    dead = name("dead")
    channel.queue_declare(dead, durable=True)
    queue = declare(channel, name, x_message_ttl=200, x_dead_letter_exchange="", x_dead_letter_routing_key=dead)
    put(channel, queue, 1, 5, 3)
    wait_ready(channel, dead, 3)
    assert sorted(drain(channel, dead)) == [b"0:1", b"1:5", b"2:3"]
    assert ready(channel, queue) == 0


def test_time_to_live_of_messages(channel: Any, name: Names) -> None:
    """RabbitMQ keeps counting those behind the head, and does not deliver them; here they are gone."""
    queue = declare(channel, name)
    put(channel, queue, 5, expiration="60000")
    put(channel, queue, 1, 3, expiration="100")
    dead = name("dead")  # whatever has as long to live is over by the time this is
    channel.queue_declare(dead, durable=True, arguments={"x-message-ttl": 200})
    put(channel, dead, 0)
    wait_ready(channel, dead, 0)
    assert drain(channel, queue) == [b"0:5"]


def test_purged_and_deleted_with_all_levels(channel: Any, name: Names) -> None:
    queue = declare(channel, name)
    put(channel, queue, 1, 9, None)
    assert channel.queue_purge(queue).method.message_count == 3
    put(channel, queue, 1, 9)
    assert channel.queue_delete(queue).method.message_count == 2
    channel.queue_declare(queue, durable=True, arguments={"x-max-priority": 3})
    assert ready(channel, queue) == 0


def test_in_a_transaction(connection: Any, channel: Any, name: Names) -> None:
    queue = declare(channel, name)
    put(channel, queue, 2)
    transacted = connection.channel()
    transacted.tx_select()
    method, _, body = transacted.basic_get(queue)
    assert body == b"0:2"
    put(transacted, queue, 1, 7)
    transacted.basic_ack(method.delivery_tag)
    assert ready(channel, queue) == 0
    transacted.tx_commit()
    assert drain(channel, queue) == [b"1:7", b"0:1"]


def test_consumers_that_end_leave_all_levels(connection: Any, channel: Any, name: Names) -> None:
    queue = declare(channel, name)
    put(channel, queue, 1, 9, 4)
    reading = connection.channel()
    Inbox.on(reading, queue).wait(3)
    reading.close()
    wait_ready(channel, queue, 3)
    assert consumers(channel, queue) == 0
    assert drain(channel, queue) == [b"1:9", b"2:4", b"0:1"]


def test_over_a_kill(own_broker: Any) -> None:
    channel = pika.BlockingConnection(pika.URLParameters(own_broker.amqp_url)).channel()
    channel.confirm_delivery()
    channel.queue_declare("kept", durable=True, arguments={"x-max-priority": 9})
    put(channel, "kept", 1, 9, None, 4)
    method, _, body = channel.basic_get("kept")
    assert body == b"1:9"
    channel.basic_ack(method.delivery_tag)
    put(channel, "kept", 4)  # confirmed, and so is what came before
    own_broker.kill()
    own_broker.start()
    channel = pika.BlockingConnection(pika.URLParameters(own_broker.amqp_url)).channel()
    assert drain(channel, "kept") == [b"3:4", b"0:4", b"0:1", b"2:None"]
    channel.connection.close()
