"""Consumers: prefetch, acknowledging, requeueing, cancelling, priorities, exclusive and single active consumers; basic.get (pika)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from harness import Inbox, consumers, drain, get, publish, ready, refused, thrown_out, wait_ready, wait_until


def test_get_says_how_many_are_left_and_when_there_is_none(channel: Any, queue: str) -> None:
    publish(channel, queue, b"1", b"2", content_type="text/plain")
    got, properties, body = channel.basic_get(queue)
    assert (got.exchange, got.routing_key, got.redelivered, got.message_count, body) == ("", queue, False, 1, b"1")
    assert properties.content_type == "text/plain"
    channel.basic_ack(got.delivery_tag)
    assert get(channel, queue) == b"2"
    assert channel.basic_get(queue) == (None, None, None)


def test_deliveries_are_in_order_and_say_where_they_came_from(channel: Any, queue: str) -> None:
    channel.queue_bind(queue, "amq.topic", "a.#")
    publish(channel, "a.b", *[b"%d" % number for number in range(500)], exchange="amq.topic")
    inbox = Inbox.on(channel, queue, consumer_tag="mine", auto_ack=True)
    deliveries = inbox.wait(500)
    assert inbox.bodies == [b"%d" % number for number in range(500)]
    assert [delivery.tag for delivery in deliveries] == list(range(1, 501))
    method = deliveries[0].method
    assert (method.consumer_tag, method.exchange, method.routing_key, method.redelivered) == ("mine", "amq.topic", "a.b", False)
    assert ready(channel, queue) == 0


def test_publish_then_get_without_confirms(connection: Any, queue: str) -> None:
    channel = connection.channel()
    for number in range(20):
        publish(channel, queue, b"%d" % number)
        assert get(channel, queue) == b"%d" % number


def test_prefetch_per_consumer(connection: Any, channel: Any, queue: str) -> None:
    publish(channel, queue, *[b"%d" % number for number in range(10)])
    consuming = connection.channel()
    consuming.basic_qos(prefetch_count=2)
    one = Inbox.on(consuming, queue)
    one.wait(2)
    consuming.basic_qos(prefetch_count=3)  # holds for consumers that come later
    other = Inbox.on(consuming, queue)
    other.wait(3)
    assert ready(channel, queue) == 5
    assert (len(one.deliveries), len(other.deliveries)) == (2, 3)
    one.ack(one.deliveries[0])
    one.wait(3)
    other.ack(other.deliveries[2])  # any of them
    other.wait(4)
    assert ready(channel, queue) == 3
    assert (len(one.deliveries), len(other.deliveries)) == (3, 4)


def test_prefetch_of_the_channel(connection: Any, channel: Any, queue: str) -> None:
    publish(channel, queue, *[b"%d" % number for number in range(10)])
    consuming = connection.channel()
    consuming.basic_qos(prefetch_count=4, global_qos=True)
    one, other = Inbox.on(consuming, queue), Inbox.on(consuming, queue)
    wait_ready(channel, queue, 6)
    wait_until(connection, lambda: len(one.deliveries) + len(other.deliveries) == 4)
    first = (one.deliveries + other.deliveries)[0]
    consuming.basic_ack(first.tag)
    wait_ready(channel, queue, 5)
    wait_until(connection, lambda: len(one.deliveries) + len(other.deliveries) == 5)


def test_prefetch_of_consumer_and_channel_hold_both(connection: Any, channel: Any, queue: str) -> None:
    publish(channel, queue, *[b"x"] * 10)
    consuming = connection.channel()
    consuming.basic_qos(prefetch_count=2)
    consuming.basic_qos(prefetch_count=3, global_qos=True)  # in the other order RabbitMQ 3.10 forgets this one
    one, other = Inbox.on(consuming, queue), Inbox.on(consuming, queue)
    wait_ready(channel, queue, 7)
    wait_until(connection, lambda: sorted([len(one.deliveries), len(other.deliveries)]) == [1, 2])


@pytest.mark.parametrize("late", [False, True], ids=["before it consumes", "while it consumes"])
@pytest.mark.parametrize(("limit", "most"), [(5, 5), (0, 10)])
def test_a_prefetch_of_consumers_lifts_that_of_the_channel(connection: Any, channel: Any, queue: str, limit: int, most: int, late: bool) -> None:
    """RabbitMQ 3.10.8: after qos(n, global) and then qos(m) the channel has no limit of its own."""
    publish(channel, queue, *[b"x"] * 10)
    consuming = connection.channel()
    consuming.basic_qos(prefetch_count=2, global_qos=True)
    if not late:
        consuming.basic_qos(prefetch_count=limit)
    inbox = Inbox.on(consuming, queue)
    if late:
        inbox.wait(2)
        consuming.basic_qos(prefetch_count=limit)
        most = 10  # it was made without a limit of its own
    wait_ready(channel, queue, 10 - most)
    inbox.wait(most)


def test_prefetch_does_not_count_for_get_and_auto_ack(connection: Any, channel: Any, queue: str) -> None:
    publish(channel, queue, *[b"x"] * 5)
    consuming = connection.channel()
    consuming.basic_qos(prefetch_count=1)
    assert get(consuming, queue, auto_ack=False) == get(consuming, queue, auto_ack=False) == b"x"
    Inbox.on(consuming, queue, auto_ack=True).wait(3)


def test_prefetch_size_is_not_there(channel: Any) -> None:
    with thrown_out(540, "NOT_IMPLEMENTED - prefetch_size!=0 (10)"):
        channel.basic_qos(prefetch_size=10)


def test_ack_multiple(channel: Any, queue: str) -> None:
    publish(channel, queue, *[b"%d" % number for number in range(6)])
    inbox = Inbox.on(channel, queue)
    inbox.wait(6)
    inbox.ack(inbox.deliveries[1])
    inbox.ack(inbox.deliveries[3], multiple=True)
    channel.basic_cancel(inbox.tag)
    channel.close()
    after = channel.connection.channel()
    assert drain(after, queue) == [b"4", b"5"]


def test_ack_everything_with_tag_zero(channel: Any, queue: str) -> None:
    publish(channel, queue, b"1", b"2")
    Inbox.on(channel, queue).wait(2)
    channel.basic_ack(0, multiple=True)
    channel.basic_ack(0, multiple=True)  # nothing left: no error
    channel.close()
    assert ready(channel.connection.channel(), queue) == 0


@pytest.mark.parametrize(
    "act",
    [
        lambda c: c.basic_ack(99),
        lambda c: c.basic_ack(0),
        lambda c: c.basic_ack(99, multiple=True),
        lambda c: c.basic_nack(99),
        lambda c: c.basic_nack(99, multiple=True),
        lambda c: c.basic_reject(99),
    ],
    ids=["ack", "ack 0", "ack multiple", "nack", "nack multiple", "reject"],
)
def test_unknown_delivery_tag(channel: Any, queue: str, act: Any) -> None:
    with refused(406, "PRECONDITION_FAILED - unknown delivery tag "):
        act(channel)
        channel.queue_declare(queue, passive=True)


@pytest.mark.parametrize("auto_ack", [True, False], ids=["auto-ack", "acked before"])
def test_nothing_is_acked_twice(channel: Any, queue: str, auto_ack: bool) -> None:
    publish(channel, queue, b"x")
    got, _, _ = channel.basic_get(queue, auto_ack=auto_ack)
    with refused(406, "PRECONDITION_FAILED - unknown delivery tag 1"):
        if not auto_ack:
            channel.basic_ack(got.delivery_tag)
        channel.basic_ack(got.delivery_tag)
        channel.queue_declare(queue, passive=True)


def test_tags_are_the_channels_own(connection: Any, channel: Any, queue: str) -> None:
    publish(channel, queue, b"x")
    got, _, _ = channel.basic_get(queue)
    other = connection.channel()
    with refused(406, "unknown delivery tag"):
        other.basic_ack(got.delivery_tag)
        other.queue_declare(queue, passive=True)


@pytest.mark.parametrize(
    "back",
    [
        lambda c, tag: c.basic_reject(tag, requeue=True),
        lambda c, tag: c.basic_nack(tag, requeue=True),
        lambda c, tag: c.basic_nack(tag, multiple=True, requeue=True),
    ],
    ids=["reject", "nack", "nack multiple"],
)
def test_requeued_goes_back_to_its_place_and_is_redelivered(channel: Any, queue: str, back: Any) -> None:
    publish(channel, queue, b"1", b"2", b"3")
    first, _, _ = channel.basic_get(queue)
    assert not first.redelivered
    back(channel, first.delivery_tag)
    again, _, body = channel.basic_get(queue)
    assert (body, again.redelivered, again.delivery_tag) == (b"1", True, 2)
    second, _, body = channel.basic_get(queue)
    assert (body, second.redelivered) == (b"2", False)
    channel.basic_nack(again.delivery_tag)
    channel.basic_nack(second.delivery_tag)
    assert drain(channel, queue) == [b"1", b"2", b"3"]


@pytest.mark.parametrize("drop", [lambda c, tag: c.basic_reject(tag, requeue=False), lambda c, tag: c.basic_nack(tag, requeue=False)], ids=["reject", "nack"])
def test_not_requeued_is_gone(channel: Any, queue: str, drop: Any) -> None:
    publish(channel, queue, b"1", b"2")
    got, _, _ = channel.basic_get(queue)
    drop(channel, got.delivery_tag)
    channel.close()
    assert drain(channel.connection.channel(), queue) == [b"2"]


def test_quorum_queues_tell_how_often_a_message_was_delivered_before(connect: Any, channel: Any, name: Any) -> None:
    """x-delivery-count: on redelivery, whichever way a message came back; in place of what its publisher said (RabbitMQ 3.10.8, 4)."""
    queue = name()
    channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
    publish(channel, queue, b"x", headers={"own": "1", "x-delivery-count": 77}, message_id="m", content_type="text/plain")
    backs: list[tuple[bool, Callable[[Any, int], object]]] = [  # whether it is fetched by basic.get: there RabbitMQ 3.10 says 0 at first
        (False, lambda channel, tag: channel.close()),
        (True, lambda channel, tag: channel.basic_nack(tag, requeue=True)),
        (True, lambda channel, tag: channel.basic_reject(tag, requeue=True)),
        (True, lambda channel, tag: channel.basic_recover(requeue=True)),
        (False, lambda channel, tag: channel.connection.close()),
    ]
    for count, (by_get, back) in enumerate(backs):
        wait_ready(channel, queue, 1)
        other = connect().channel()
        if by_get:
            got, properties, _ = other.basic_get(queue)
            tag = got.delivery_tag
        else:
            (delivery,) = Inbox.on(other, queue).wait(1)
            got, properties, tag = delivery.method, delivery.properties, delivery.tag
        assert got.redelivered == bool(count)
        assert properties.headers == {"own": "1", "x-delivery-count": count or 77}
        assert (properties.message_id, properties.content_type) == ("m", "text/plain")
        back(other, tag)
        if other.is_open:
            other.connection.close()
    classic = name()
    channel.queue_declare(classic)
    publish(channel, classic, b"x")
    for _ in range(2):
        got, properties, _ = channel.basic_get(classic)
        assert properties.headers is None
        channel.basic_nack(got.delivery_tag, requeue=True)


def test_nack_multiple_of_everything(channel: Any, queue: str) -> None:
    publish(channel, queue, b"1", b"2", b"3")
    for _ in range(3):
        channel.basic_get(queue)
    channel.basic_nack(0, multiple=True)
    assert drain(channel, queue) == [b"1", b"2", b"3"]


@pytest.mark.parametrize("end", ["channel", "connection"])
def test_what_was_out_comes_back_in_order_when_its_holder_goes(connect: Any, channel: Any, queue: str, end: str) -> None:
    publish(channel, queue, *[b"%d" % number for number in range(5)])
    holder = connect()
    holding = holder.channel()
    inbox = Inbox.on(holding, queue)
    inbox.wait(5)
    inbox.ack(inbox.deliveries[2])
    (holding if end == "channel" else holder).close()
    wait_ready(channel, queue, 4)
    for expected in (b"0", b"1", b"3", b"4"):
        got, _, body = channel.basic_get(queue, auto_ack=True)
        assert (body, got.redelivered) == (expected, True)


def test_recover_requeues_all_of_the_channel(channel: Any, queue: str) -> None:
    publish(channel, queue, b"1", b"2")
    inbox = Inbox.on(channel, queue)
    inbox.wait(2)
    channel.basic_recover(requeue=True)
    inbox.wait(4)
    assert inbox.bodies == [b"1", b"2", b"1", b"2"]
    assert [delivery.method.redelivered for delivery in inbox.deliveries] == [False, False, True, True]
    inbox.ack(inbox.deliveries[3], multiple=True)
    channel.close()
    assert ready(channel.connection.channel(), queue) == 0


def test_recover_without_requeue_is_not_there(channel: Any) -> None:
    with thrown_out(540, "NOT_IMPLEMENTED - requeue=false"):
        channel.basic_recover(requeue=False)


def test_cancel_keeps_what_is_out(channel: Any, queue: str) -> None:
    publish(channel, queue, b"1")
    inbox = Inbox.on(channel, queue)
    inbox.wait(1)
    channel.basic_cancel(inbox.tag)
    publish(channel, queue, b"2")
    assert ready(channel, queue) == 1
    assert consumers(channel, queue) == 0
    inbox.ack(inbox.deliveries[0])
    channel.close()
    assert drain(channel.connection.channel(), queue) == [b"2"]
    assert inbox.bodies == [b"1"]


def test_round_robin(connection: Any, channel: Any, queue: str) -> None:
    inboxes = [Inbox.on(connection.channel(), queue, auto_ack=True) for _ in range(3)]
    publish(channel, queue, *[b"%d" % number for number in range(30)])
    wait_until(connection, lambda: sum(len(inbox.deliveries) for inbox in inboxes) == 30)
    assert all(inbox.deliveries for inbox in inboxes)
    for inbox in inboxes:
        assert inbox.bodies == sorted(inbox.bodies, key=int)


def test_consumer_priorities(connection: Any, channel: Any, queue: str) -> None:
    low_channel, high_channel = connection.channel(), connection.channel()
    low_channel.basic_qos(prefetch_count=5)
    high_channel.basic_qos(prefetch_count=2)
    low = Inbox.on(low_channel, queue, arguments={"x-priority": -1})
    high = Inbox.on(high_channel, queue, arguments={"x-priority": 10})
    publish(channel, queue, b"1", b"2")
    high.wait(2)
    assert low.bodies == []
    publish(channel, queue, b"3")  # the high one is full
    low.wait(1)
    high.ack(high.deliveries[0])
    high_channel.queue_declare(queue, passive=True)  # the acknowledgement has been taken in
    publish(channel, queue, b"4")
    high.wait(3)
    assert (high.bodies, low.bodies) == ([b"1", b"2", b"4"], [b"3"])


def test_consumer_priority_must_be_a_number(channel: Any, queue: str) -> None:
    with refused(406, "PRECONDITION_FAILED - invalid arg 'x-priority'"):
        channel.basic_consume(queue, lambda *_: None, arguments={"x-priority": "high"})


@pytest.mark.parametrize("first_exclusive", [True, False])
def test_exclusive_consumer(connection: Any, channel: Any, queue: str, first_exclusive: bool) -> None:
    inbox = Inbox.on(channel, queue, exclusive=first_exclusive)
    with refused(403, f"ACCESS_REFUSED - queue '{queue}' in vhost '/' in exclusive use"):
        connection.channel().basic_consume(queue, lambda *_: None, exclusive=not first_exclusive)
    channel.basic_cancel(inbox.tag)
    connection.channel().basic_consume(queue, lambda *_: None, exclusive=True)


def test_single_active_consumer(connection: Any, channel: Any, name: Any) -> None:
    queue = name()
    channel.queue_declare(queue, arguments={"x-single-active-consumer": True})
    active_channel = connection.channel()
    active, waiting = Inbox.on(active_channel, queue), Inbox.on(connection.channel(), queue, auto_ack=True)
    publish(channel, queue, b"1", b"2", b"3")
    active.wait(3)
    assert waiting.bodies == []
    active.ack(active.deliveries[0])
    active_channel.close()
    waiting.wait(2)
    assert waiting.bodies == [b"2", b"3"]
    publish(channel, queue, b"4")
    waiting.wait(3)


def test_exclusive_consume_on_a_single_active_queue(channel: Any, name: Any) -> None:
    queue = name()
    channel.queue_declare(queue, arguments={"x-single-active-consumer": True})
    with refused(403, "ACCESS_REFUSED"):
        channel.basic_consume(queue, lambda *_: None, exclusive=True)


def test_consumer_is_told_when_its_queue_is_deleted(connection: Any, channel: Any, queue: str) -> None:
    inbox = Inbox.on(channel, queue)
    connection.channel().queue_delete(queue)
    wait_until(connection, lambda: inbox.cancelled == [inbox.tag])
    assert channel.is_open


def test_a_consumer_waits_for_messages_and_takes_them_as_they_come(connect: Any, channel: Any, queue: str) -> None:
    consuming = connect()
    inbox = Inbox.on(consuming.channel(), queue, auto_ack=True)
    for number in range(20):
        publish(channel, queue, b"%d" % number)
        inbox.wait(number + 1)
    assert inbox.bodies == [b"%d" % number for number in range(20)]
