"""How long queues live: exclusive, auto-delete, x-expires, durable and transient, over a restart (pika)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pika
import pytest
from harness import Inbox, drain, get, publish, ready, refused, wait_until

Name = Callable[..., str]


def exists(connection: Any, queue: str) -> bool:
    channel = connection.channel()
    try:
        channel.queue_declare(queue, passive=True)
    except pika.exceptions.ChannelClosedByBroker as error:
        if error.reply_code == 404:
            return False
        raise
    channel.close()
    return True


@pytest.mark.parametrize(
    "act",
    [
        lambda c, q: c.queue_declare(q, passive=True),
        lambda c, q: c.queue_declare(q, exclusive=True),
        lambda c, q: c.queue_declare(q),
        lambda c, q: c.basic_consume(q, lambda *_: None),
        lambda c, q: c.basic_get(q),
        lambda c, q: c.queue_purge(q),
        lambda c, q: c.queue_delete(q),
        lambda c, q: c.queue_bind(q, "amq.direct", "k"),
    ],
    ids=["passive", "declare", "declare unlike", "consume", "get", "purge", "delete", "bind"],
)
def test_exclusive_queue_is_locked_to_others(connect: Any, channel: Any, name: Name, act: Callable[[Any, str], Any]) -> None:
    queue = channel.queue_declare(name(), exclusive=True).method.queue
    with refused(405, f"RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{queue}' in vhost '/'"):
        act(connect().channel(), queue)
    assert channel.queue_declare(queue, passive=True).method.queue == queue


def test_a_server_made_name_is_not_for_declaring_again(channel: Any) -> None:
    queue = channel.queue_declare("", exclusive=True).method.queue
    with refused(403, f"ACCESS_REFUSED - queue name '{queue}' contains reserved prefix 'amq.*'"):
        channel.queue_declare(queue, exclusive=True)


def test_anyone_may_publish_to_an_exclusive_queue(connect: Any, channel: Any) -> None:
    queue = channel.queue_declare("", exclusive=True).method.queue
    other = connect().channel()
    other.confirm_delivery()
    publish(other, queue, b"x")
    assert get(channel, queue) == b"x"


def test_exclusive_queue_belongs_to_the_connection_and_ends_with_it(connect: Any, connection: Any, name: Name) -> None:
    owner, queue = connect(), name()
    first, second = owner.channel(), owner.channel()
    first.queue_declare(queue, exclusive=True)
    second.queue_declare(queue, passive=True)  # another channel, the same connection
    first.close()
    second.queue_declare(queue, exclusive=True)
    owner.close()
    assert not exists(connection, queue)  # gone when connection.close is answered


def test_exclusive_property_cannot_be_added(channel: Any, queue: str) -> None:
    with refused(405, "RESOURCE_LOCKED"):
        channel.queue_declare(queue, durable=True, exclusive=True)


def test_auto_delete_queue_goes_with_its_last_consumer(connection: Any, channel: Any, name: Name) -> None:
    queue = name()
    channel.queue_declare(queue, auto_delete=True)
    publish(channel, queue, b"x")
    get(channel, queue)  # no consumer: stays
    one, other = Inbox.on(channel, queue), Inbox.on(connection.channel(), queue)
    channel.basic_cancel(one.tag)
    assert exists(connection, queue)
    other.channel.close()
    wait_until(connection, lambda: not exists(connection, queue), "the queue gone")


def test_auto_delete_queue_without_a_consumer_stays(connect: Any, connection: Any, name: Name) -> None:
    queue = name()
    maker = connect()
    maker.channel().queue_declare(queue, auto_delete=True)
    maker.close()
    assert exists(connection, queue)


def test_expires_when_unused(connection: Any, channel: Any, name: Name) -> None:
    queue = name()
    channel.queue_declare(queue, arguments={"x-expires": 200})
    # every look with a passive declare counts as use: look through what an alternate exchange catches instead
    catcher, exchange = name("caught"), name("exchange")
    channel.queue_declare(catcher)
    channel.exchange_declare(exchange, "direct", arguments={"alternate-exchange": "amq.fanout"})
    channel.queue_bind(queue, exchange, "k")
    channel.queue_bind(catcher, "amq.fanout", "")

    def unrouted() -> bool:
        publish(channel, "k", b"x", exchange=exchange)
        return bool(drain(channel, catcher))

    wait_until(connection, unrouted, "the queue expired")
    assert not exists(connection, queue)


def test_does_not_expire_while_consumed(connection: Any, channel: Any, name: Name) -> None:
    kept, beside = name("kept"), name("beside")
    channel.queue_declare(kept, arguments={"x-expires": 100})
    Inbox.on(channel, kept, auto_ack=True)
    channel.queue_declare(beside, arguments={"x-expires": 300})
    channel.queue_bind(beside, "amq.direct", beside)
    returned: list[Any] = []
    other = connection.channel()
    other.add_on_return_callback(lambda *args: returned.append(args))

    def expired() -> bool:
        other.basic_publish("amq.direct", beside, b"x", mandatory=True)
        return bool(returned)

    wait_until(connection, expired, "the other queue expired")
    assert exists(connection, kept)


def test_durable_things_and_persistent_messages_outlive_a_restart(own_broker: Any) -> None:
    before = pika.BlockingConnection(pika.URLParameters(own_broker.amqp_url))
    channel = before.channel()
    channel.confirm_delivery()
    channel.queue_declare("durable", durable=True, arguments={"x-max-length": 100})
    channel.queue_declare("transient")
    channel.exchange_declare("events", "topic", durable=True)
    channel.exchange_declare("passing", "topic")
    channel.exchange_bind("events", "amq.fanout", "#")
    channel.queue_bind("durable", "events", "a.#")
    publish(channel, "durable", *[b"%d" % number for number in range(10)], delivery_mode=2, headers={"n": 1})
    got, _, _ = channel.basic_get("durable")
    channel.basic_ack(got.delivery_tag)
    channel.basic_get("durable")  # out, not settled
    before.close()
    own_broker.restart()

    after = pika.BlockingConnection(pika.URLParameters(own_broker.amqp_url))
    assert not exists(after, "transient")
    with refused(404):
        after.channel().exchange_declare("passing", passive=True)
    channel = after.channel()
    channel.confirm_delivery()
    channel.exchange_declare("events", passive=True)
    channel.queue_declare("durable", durable=True, arguments={"x-max-length": 100})
    got, properties, body = channel.basic_get("durable", auto_ack=True)
    assert (body, got.redelivered, properties.headers) == (b"1", True, {"n": 1})
    got, _, body = channel.basic_get("durable")  # RabbitMQ, too: what was never out is not said to have been
    assert (body, got.redelivered) == (b"2", False)
    channel.basic_nack(got.delivery_tag)
    assert drain(channel, "durable") == [b"%d" % number for number in range(2, 10)]
    publish(channel, "a.b", b"routed", exchange="events", delivery_mode=2)
    assert get(channel, "durable") == b"routed"
    after.close()


def test_confirmed_messages_outlive_a_kill(own_broker: Any) -> None:
    before = pika.BlockingConnection(pika.URLParameters(own_broker.amqp_url))
    channel = before.channel()
    channel.confirm_delivery()
    channel.queue_declare("durable", durable=True)
    publish(channel, "durable", *[b"%d" % number for number in range(100)], delivery_mode=2)
    own_broker.kill()
    own_broker.restart()
    after = pika.BlockingConnection(pika.URLParameters(own_broker.amqp_url))
    channel = after.channel()
    assert ready(channel, "durable") == 100
    assert drain(channel, "durable") == [b"%d" % number for number in range(100)]
    after.close()
