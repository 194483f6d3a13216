"""tx.select, tx.commit, tx.rollback: pika and aio-pika. RabbitMQ 3.10.8 answers each so, where it is not said otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import aio_pika
import pika
import pytest
from harness import DEADLINE_S, Inbox, drain, get, publish, ready, refused, wait_ready
from wire import BASIC_PUBLISH, BODY, CHANNEL_CLOSE, Wire, frame, header, method, short

Connect = Callable[..., pika.BlockingConnection]
Name = Callable[..., str]
TX_SELECT, TX_SELECT_OK, TX_COMMIT, TX_COMMIT_OK = (90, 10), (90, 11), (90, 20), (90, 21)
TX_ROLLBACK, TX_ROLLBACK_OK = (90, 30), (90, 31)
BASIC_RETURN = (60, 50)
CONFIRM_SELECT, CONFIRM_SELECT_OK = (85, 10), (85, 11)


@pytest.fixture
def tx(connect: Connect) -> Any:
    """A transactional channel of another connection than `channel`'s."""
    channel = connect().channel()
    channel.tx_select()
    return channel


@pytest.fixture
def wire(amqp_url: str) -> Iterator[Wire]:
    with Wire(amqp_url) as wire:
        wire.connect()
        wire.open_channel()
        yield wire


def reached(tx: Any) -> None:
    """Everything said before has reached the broker: it has answered what was asked behind it."""
    tx.basic_qos()


def test_published_at_the_commit_and_in_order(channel: Any, tx: Any, queue: str) -> None:
    bodies = [b"%d" % number for number in range(50)]
    publish(tx, queue, *bodies)
    reached(tx)
    assert ready(channel, queue) == 0
    tx.tx_commit()
    assert drain(channel, queue) == bodies


def test_forgotten_with_a_rollback(channel: Any, tx: Any, queue: str) -> None:
    publish(tx, queue, b"x")
    tx.tx_rollback()
    publish(tx, queue, b"y")
    tx.tx_commit()
    assert drain(channel, queue) == [b"y"]


def test_nothing_to_commit(tx: Any) -> None:
    tx.tx_commit()
    tx.tx_rollback()
    tx.tx_select()
    tx.tx_commit()


@pytest.mark.parametrize("end", [lambda tx: tx.close(), lambda tx: tx.connection.close()], ids=["channel", "connection"])
def test_what_is_not_committed_goes_with_its_channel(channel: Any, tx: Any, queue: str, end: Callable[[Any], Any]) -> None:
    publish(channel, queue, b"1", b"2")
    publish(tx, queue, b"x")
    tx.basic_ack(tx.basic_get(queue)[0].delivery_tag)
    end(tx)
    wait_ready(channel, queue, 2)
    got, _, body = channel.basic_get(queue, auto_ack=True)
    assert (got.redelivered, body) == (True, b"1")


@pytest.mark.parametrize(
    ("settle", "left"),
    [
        (lambda tx, tag: tx.basic_ack(tag), []),
        (lambda tx, tag: tx.basic_ack(0, multiple=True), []),
        (lambda tx, tag: tx.basic_reject(tag, requeue=False), []),
        (lambda tx, tag: tx.basic_reject(tag, requeue=True), [b"1"]),
        (lambda tx, tag: tx.basic_nack(tag, multiple=True, requeue=True), [b"1"]),
    ],
    ids=["ack", "ack of all", "reject", "requeue", "nack of all"],
)
def test_settled_at_the_commit(channel: Any, tx: Any, queue: str, settle: Callable[[Any, int], Any], left: list[bytes]) -> None:
    publish(channel, queue, b"1")
    tag = tx.basic_get(queue)[0].delivery_tag
    settle(tx, tag)
    reached(tx)
    assert ready(channel, queue) == 0
    tx.tx_rollback()  # it is out as before: neither settled nor ready
    assert ready(channel, queue) == 0
    settle(tx, tag)
    tx.tx_commit()
    tx.close()
    assert drain(channel, queue) == left


def test_settled_twice(channel: Any, tx: Any, queue: str) -> None:
    publish(channel, queue, b"1")
    tag = tx.basic_get(queue)[0].delivery_tag
    tx.basic_ack(tag)
    with refused(406, "unknown delivery tag 1"):
        tx.basic_ack(tag)
        tx.tx_commit()
    wait_ready(channel, queue, 1)


def test_dead_lettered_at_the_commit(channel: Any, tx: Any, name: Name) -> None:
    dead, queue = name("dead"), name()
    channel.queue_declare(dead)
    channel.queue_declare(queue, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})
    publish(channel, queue, b"1")
    tx.basic_reject(tx.basic_get(queue)[0].delivery_tag, requeue=False)
    reached(tx)
    assert ready(channel, dead) == 0
    tx.tx_commit()
    wait_ready(channel, dead, 1)
    assert get(channel, dead) == b"1"


def test_what_is_settled_makes_room_for_more_with_the_commit(channel: Any, tx: Any, queue: str) -> None:
    publish(channel, queue, b"1", b"2", b"3")
    tx.basic_qos(prefetch_count=1)
    inbox = Inbox.on(tx, queue)
    inbox.wait(1)
    tx.basic_ack(1)
    tx.tx_rollback()
    tx.basic_ack(1)
    reached(tx)
    assert inbox.bodies == [b"1"]
    tx.tx_commit()
    inbox.wait(2)
    assert inbox.bodies == [b"1", b"2"]


def test_recover_leaves_what_the_transaction_has_settled(channel: Any, tx: Any, queue: str) -> None:
    publish(channel, queue, b"1", b"2", b"3")
    for _ in range(3):
        tx.basic_get(queue)
    tx.basic_ack(2)
    tx.basic_recover(requeue=True)
    wait_ready(channel, queue, 2)
    tx.tx_commit()
    assert drain(channel, queue) == [b"1", b"3"]


def test_recover_and_then_a_rollback(channel: Any, tx: Any, queue: str) -> None:
    publish(channel, queue, b"1", b"2", b"3")
    for _ in range(3):
        tx.basic_get(queue)
    tx.basic_ack(2)
    tx.basic_recover(requeue=True)
    tx.tx_rollback()
    tx.basic_ack(2)
    tx.tx_commit()
    tx.close()
    assert drain(channel, queue) == [b"1", b"3"]


def test_taken_and_passed_on(channel: Any, tx: Any, name: Name) -> None:
    """What a transacted listener does: each message in one commit with what comes of it."""
    source, target = name("source"), name("target")
    for queue in (source, target):
        channel.queue_declare(queue, durable=True)
    publish(channel, source, *(b"%d" % number for number in range(20)))
    inbox = Inbox.on(tx, source)
    inbox.wait(20)
    for delivery in inbox.deliveries:
        publish(tx, target, delivery.body)
        if int(delivery.body) % 5 == 4:
            tx.tx_rollback()
            continue
        tx.basic_ack(delivery.tag)
        tx.tx_commit()
    tx.close()
    assert drain(channel, target) == [b"%d" % number for number in range(20) if number % 5 != 4]
    assert drain(channel, source) == [b"4", b"9", b"14", b"19"]


def test_answers_to_requests(connection: Any, channel: Any, tx: Any, queue: str) -> None:
    asking = connection.channel()
    answers = Inbox.on(asking, "amq.rabbitmq.reply-to", auto_ack=True)
    publish(asking, queue, b"ask", reply_to="amq.rabbitmq.reply-to")
    wait_ready(channel, queue, 1)
    got, properties, _ = tx.basic_get(queue)
    publish(tx, properties.reply_to, b"answer")
    tx.basic_ack(got.delivery_tag)
    tx.tx_commit()
    answers.wait(1)
    assert answers.bodies == [b"answer"]


def test_a_stream_takes_part(channel: Any, tx: Any, name: Name) -> None:
    stream = name("stream")
    channel.queue_declare(stream, durable=True, arguments={"x-queue-type": "stream"})
    publish(tx, stream, b"1", b"2")
    tx.tx_commit()
    tx.basic_qos(prefetch_count=1)
    inbox = Inbox.on(tx, stream, arguments={"x-stream-offset": "first"})
    inbox.wait(1)
    tx.basic_ack(1)
    tx.tx_commit()
    inbox.wait(2)
    assert inbox.bodies == [b"1", b"2"]


# ---- what is refused


def test_an_exchange_that_is_not_there_ends_the_channel_at_once(wire: Wire, channel: Any, queue: str) -> None:
    wire.send(method(1, TX_SELECT), _publish("", queue), _publish("interop.nowhere", "k"))
    wire.expect(TX_SELECT_OK)
    close = wire.expect(CHANNEL_CLOSE)
    assert close.reply == (404, "NOT_FOUND - no exchange 'interop.nowhere' in vhost '/'")
    assert close.culprit == BASIC_PUBLISH
    assert ready(channel, queue) == 0


def test_an_internal_exchange(channel: Any, tx: Any, name: Name) -> None:
    exchange = name("exchange")
    channel.exchange_declare(exchange, "fanout", internal=True)
    with refused(403, f"cannot publish to internal exchange '{exchange}'"):
        publish(tx, "k", b"x", exchange=exchange)
        tx.tx_commit()


def test_an_expiration_that_is_none(tx: Any, queue: str) -> None:
    with refused(406, "invalid expiration 'x': no_integer"):
        publish(tx, queue, b"x", expiration="x")
        tx.tx_commit()


def test_a_queue_that_is_full_ends_the_channel_at_the_commit(channel: Any, tx: Any, name: Name, queue: str) -> None:
    """RabbitMQ has done the rest by then ("partial tx completion"); here nothing is done (test_nothing_is_done_where_a_queue_is_full)."""
    full = name("full")
    channel.queue_declare(full, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    publish(tx, full, b"1", b"2")
    with refused(406, "PRECONDITION_FAILED - "):
        tx.tx_commit()
    with tx.connection.channel() as other:
        assert other.is_open


def test_nothing_is_done_where_a_queue_is_full(own_broker: Any) -> None:
    with pika.BlockingConnection(pika.URLParameters(own_broker.amqp_url)) as connection:
        channel = connection.channel()
        channel.queue_declare("full", arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
        for queue in ("source", "other"):
            channel.queue_declare(queue)
        publish(channel, "source", b"1")
        wait_ready(channel, "source", 1)
        tx = connection.channel()
        tx.tx_select()
        publish(tx, "other", b"a")
        publish(tx, "full", b"1", b"2")
        tx.basic_ack(tx.basic_get("source")[0].delivery_tag)
        with refused(406, "queue 'full' refuses what is over its limit: nothing of the transaction was done"):
            tx.tx_commit()
        assert [ready(channel, queue) for queue in ("source", "other", "full")] == [1, 0, 0]


@pytest.mark.parametrize(
    ("says", "text", "culprit"),
    [
        ([TX_SELECT, CONFIRM_SELECT], "cannot switch from tx to confirm mode", CONFIRM_SELECT),
        ([CONFIRM_SELECT, TX_SELECT], "cannot switch from confirm to tx mode", TX_SELECT),
        ([TX_COMMIT], "channel is not transactional", TX_COMMIT),
        ([TX_ROLLBACK], "channel is not transactional", TX_ROLLBACK),
    ],
)
def test_out_of_place(wire: Wire, says: list[tuple[int, int]], text: str, culprit: tuple[int, int]) -> None:
    for which in says:
        wire.send(method(1, which, b"\x00" if which == CONFIRM_SELECT else b""))
    if len(says) == 2:
        wire.expect((says[0][0], 11))
    close = wire.expect(CHANNEL_CLOSE)
    assert close.reply == (406, f"PRECONDITION_FAILED - {text}")
    assert close.culprit == culprit


def test_the_commit_is_to_blame_for_what_it_could_not_do(wire: Wire, channel: Any, name: Name) -> None:
    full = name("full")
    channel.queue_declare(full, arguments={"x-max-length": 0, "x-overflow": "reject-publish"})
    wire.send(method(1, TX_SELECT), _publish("", full), method(1, TX_COMMIT))
    wire.expect(TX_SELECT_OK)
    close = wire.expect(CHANNEL_CLOSE)
    assert (close.reply[0], close.culprit) == (406, TX_COMMIT)


def test_returns_come_with_the_commit_and_before_its_answer(wire: Wire, queue: str) -> None:
    wire.send(method(1, TX_SELECT), *(_publish("", key, mandatory=True) for key in ("interop.nowhere", queue, "interop.nowhere.else")))
    wire.expect(TX_SELECT_OK)
    wire.send(method(1, TX_ROLLBACK), _publish("", "interop.third", mandatory=True), _publish("", queue, mandatory=True), method(1, TX_COMMIT))
    wire.expect(TX_ROLLBACK_OK)
    returned = wire.expect(BASIC_RETURN)
    assert returned.payload.endswith(short("") + short("interop.third"))
    assert [wire.read_frame().kind for _ in range(2)] == [2, 3]  # type: ignore[union-attr]
    wire.expect(TX_COMMIT_OK)


def _publish(exchange: str, key: str, mandatory: bool = False) -> bytes:
    arguments = b"\x00\x00" + short(exchange) + short(key) + bytes([mandatory])
    return method(1, BASIC_PUBLISH, arguments) + header(1, 1) + frame(BODY, 1, b"x")


# ---- what holds


def test_one_connections_transactions_are_apart(connect: Connect, channel: Any, queue: str) -> None:
    connection = connect()
    channels = [connection.channel() for _ in range(3)]
    for one in channels[:2]:
        one.tx_select()
    publish(channels[0], queue, b"first")
    publish(channels[1], queue, b"second")
    publish(channels[2], queue, b"plain")
    wait_ready(channel, queue, 1)
    channels[1].tx_commit()
    channels[0].tx_rollback()
    assert drain(channel, queue) == [b"plain", b"second"]


def test_committed_is_on_the_disk(own_broker: Any) -> None:
    parameters = pika.URLParameters(own_broker.amqp_url)
    connection = pika.BlockingConnection(parameters)
    channel = connection.channel()
    for queue in ("source", "one", "two"):
        channel.queue_declare(queue, durable=True)
    channel.confirm_delivery()
    publish(channel, "source", b"1", b"2")
    tx = connection.channel()
    tx.tx_select()
    publish(tx, "one", b"a", b"b")
    publish(tx, "two", b"c")
    tx.basic_ack(tx.basic_get("source")[0].delivery_tag)
    tx.tx_commit()
    publish(tx, "one", b"not committed")
    tx.basic_ack(tx.basic_get("source")[0].delivery_tag)
    reached(tx)
    own_broker.kill()
    own_broker.start()
    with pika.BlockingConnection(pika.URLParameters(own_broker.amqp_url)) as again:
        channel = again.channel()
        assert [drain(channel, queue) for queue in ("source", "one", "two")] == [[b"2"], [b"a", b"b"], [b"c"]]


def test_aio_pika(amqp_url: str, name: Name) -> None:
    queue_name = name("aio")

    async def main() -> None:
        connection = await aio_pika.connect(amqp_url)
        async with asyncio.timeout(DEADLINE_S), connection:
            channel = await connection.channel(publisher_confirms=False)
            queue = await channel.declare_queue(queue_name, auto_delete=False)
            async with channel.transaction():
                await channel.default_exchange.publish(aio_pika.Message(b"1"), queue_name)
                await channel.default_exchange.publish(aio_pika.Message(b"2"), queue_name)
            given_up = channel.transaction()
            await given_up.select()
            await channel.default_exchange.publish(aio_pika.Message(b"3"), queue_name)
            await given_up.rollback()
            async with channel.transaction():
                first = await queue.get()
                await first.ack()
                await channel.default_exchange.publish(aio_pika.Message(b"4"), queue_name)
            left = [(await queue.get(no_ack=True)).body for _ in range(2)]
            assert (first.body, left) == (b"1", [b"2", b"4"])
            assert await queue.get(fail=False) is None

    asyncio.run(main())


def test_very_many_to_one_queue_one_by_one(own_broker: Any) -> None:
    """As a program writes them that flushes each: they come in many reads."""
    with pika.BlockingConnection(pika.URLParameters(own_broker.amqp_url)) as connection:
        channel = connection.channel()
        channel.queue_declare("many")
        channel.tx_select()
        for number in range(12_000):
            channel.basic_publish("", "many", b"%d" % number)
        channel.tx_commit()
        assert ready(channel, "many") == 12_000


def test_one_that_is_too_large(own_broker: Any) -> None:
    """RabbitMQ has no limit."""
    with pika.BlockingConnection(pika.URLParameters(own_broker.amqp_url)) as connection:
        channel = connection.channel()
        channel.queue_declare("q")
        channel.tx_select()
        with refused(406, "a transaction holds at most 10000 messages that do not follow another to the same address: commit it sooner"):
            for number in range(10_001):
                channel._impl.basic_publish("", "qr"[number % 2], b"")
            channel.tx_commit()
        with connection.channel() as other:
            assert ready(other, "q") == 0
