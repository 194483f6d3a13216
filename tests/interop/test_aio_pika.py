"""aio-pika (over aiormq): the asyncio client."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import aio_pika
import pytest
from aio_pika.patterns import RPC, Master
from harness import DEADLINE_S

Body = Callable[[Any, Any], Awaitable[None]]


def conversation(amqp_url: str, body: Body, *, robust: bool = False) -> None:
    """Run `body(connection, channel)`, then close."""

    async def main() -> None:
        connection = await (aio_pika.connect_robust if robust else aio_pika.connect)(amqp_url)
        async with asyncio.timeout(DEADLINE_S), connection:
            await body(connection, await connection.channel())

    asyncio.run(main())


@pytest.mark.parametrize("robust", [False, True])
def test_publish_and_consume(amqp_url: str, robust: bool) -> None:
    async def body(_: Any, channel: Any) -> None:
        exchange = await channel.declare_exchange(f"interop.{secrets.token_hex(6)}", aio_pika.ExchangeType.TOPIC, auto_delete=True)
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(exchange, "a.#")
        await channel.set_qos(prefetch_count=10)
        await asyncio.gather(
            *(
                exchange.publish(aio_pika.Message(b"%d" % number, headers={"number": number}, delivery_mode=aio_pika.DeliveryMode.PERSISTENT), "a.b")
                for number in range(200)
            )
        )
        seen = []
        async with queue.iterator() as messages:
            async for message in messages:
                async with message.process():
                    assert message.headers["number"] == int(message.body)
                    seen.append(message.body)
                if len(seen) == 200:
                    break
        assert sorted(seen, key=int) == [b"%d" % number for number in range(200)]

    conversation(amqp_url, body, robust=robust)


def test_direct_replies(amqp_url: str) -> None:
    async def body(connection: Any, channel: Any) -> None:
        queue = await channel.declare_queue(exclusive=True)

        async def serve(message: Any) -> None:
            answer = aio_pika.Message(b"to " + message.body, correlation_id=message.correlation_id)
            await channel.default_exchange.publish(answer, message.reply_to)

        await queue.consume(serve, no_ack=True)
        replies = await channel.get_queue("amq.rabbitmq.reply-to", ensure=False)
        for attempt in range(3):
            answers: asyncio.Queue[Any] = asyncio.Queue()
            tag = await replies.consume(answers.put, no_ack=True)
            for number in range(20):
                request = aio_pika.Message(b"%d" % number, correlation_id=f"{attempt}.{number}", reply_to="amq.rabbitmq.reply-to")
                await channel.default_exchange.publish(request, queue.name)
            for number in range(20):
                answer = await answers.get()
                assert (answer.body, answer.correlation_id) == (b"to %d" % number, f"{attempt}.{number}")
            await replies.cancel(tag)

    conversation(amqp_url, body)


def test_unroutable_is_raised(amqp_url: str) -> None:
    async def body(connection: Any, _: Any) -> None:
        channel = await connection.channel(on_return_raises=True)
        with pytest.raises(aio_pika.exceptions.DeliveryError):
            await channel.default_exchange.publish(aio_pika.Message(b"x"), "interop.nowhere", mandatory=True)

    conversation(amqp_url, body)


def test_errors_have_their_classes(amqp_url: str) -> None:
    async def body(connection: Any, channel: Any) -> None:
        with pytest.raises(aio_pika.exceptions.ChannelNotFoundEntity):
            await channel.declare_queue("interop.nowhere", passive=True)
        other = await connection.channel()
        queue = await other.declare_queue(exclusive=True)
        with pytest.raises(aio_pika.exceptions.ChannelPreconditionFailed):
            await (await connection.channel()).declare_exchange("amq.direct", "fanout", durable=True)
        assert (await other.declare_queue(queue.name, passive=True)).name == queue.name

    conversation(amqp_url, body)


def test_reject_requeue_and_dead_letter(amqp_url: str) -> None:
    async def body(_: Any, channel: Any) -> None:
        dead = await channel.declare_queue(exclusive=True)
        queue = await channel.declare_queue(
            exclusive=True, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead.name, "x-message-ttl": 60_000}
        )
        await channel.default_exchange.publish(aio_pika.Message(b"x", expiration=30), queue.name)
        first = await queue.get()
        assert not first.redelivered
        await first.nack(requeue=True)
        second = await queue.get()
        assert second.redelivered
        await second.reject(requeue=False)
        async with dead.iterator() as messages:
            message = await anext(messages)
            await message.ack()
        assert message.headers["x-death"][0]["reason"] == "rejected"
        assert await queue.get(fail=False) is None

    conversation(amqp_url, body)


def test_rpc_pattern(amqp_url: str) -> None:
    async def body(connection: Any, channel: Any) -> None:
        async def multiply(*, x: int, y: int) -> int:
            if x == 0:
                raise ValueError("zero")
            return x * y

        method = f"interop.{secrets.token_hex(6)}"
        server = await RPC.create(channel)
        await server.register(method, multiply, auto_delete=True)
        client = await RPC.create(await connection.channel())
        assert await asyncio.gather(*(client.call(method, {"x": number, "y": 2}) for number in range(1, 30))) == [number * 2 for number in range(1, 30)]
        with pytest.raises(ValueError, match="zero"):
            await client.call(method, {"x": 0, "y": 1})

    conversation(amqp_url, body)


def test_master_worker_pattern(amqp_url: str) -> None:
    async def body(_: Any, channel: Any) -> None:
        name = f"interop.{secrets.token_hex(6)}"
        master, done = Master(channel), asyncio.Event()
        seen: list[int] = []

        async def work(*, task: int) -> None:
            seen.append(task)
            if len(seen) == 20:
                done.set()

        worker = await master.create_worker(name, work, auto_delete=True)
        for task in range(20):
            await master.create_task(name, {"task": task})
        await done.wait()
        await worker.close()
        assert sorted(seen) == list(range(20))

    conversation(amqp_url, body, robust=True)


def test_many_channels_and_large_bodies_at_once(amqp_url: str) -> None:
    async def body(connection: Any, _: Any) -> None:
        async def one(number: int) -> None:
            async with await connection.channel() as channel:
                queue = await channel.declare_queue(exclusive=True)
                sent = bytes([number]) * 300_000
                await channel.default_exchange.publish(aio_pika.Message(sent), queue.name)
                message = await queue.get(no_ack=True)
                assert message.body == sent

        await asyncio.gather(*(one(number) for number in range(40)))

    conversation(amqp_url, body)


def test_transactions_are_not_advertised_nor_needed(amqp_url: str) -> None:
    """The channel without confirms works as well."""

    async def body(connection: Any, _: Any) -> None:
        channel = await connection.channel(publisher_confirms=False)
        queue = await channel.declare_queue(exclusive=True)
        for number in range(10):
            await channel.default_exchange.publish(aio_pika.Message(b"%d" % number), queue.name)
        seen = [(await queue.get(no_ack=True)).body for _ in range(10)]
        assert seen == [b"%d" % number for number in range(10)]

    conversation(amqp_url, body)


def test_robust_connection_comes_back(own_broker: Any) -> None:
    """Its queues, bindings and consumers are restored after the broker was away."""

    async def main() -> None:
        connection = await aio_pika.connect_robust(own_broker.amqp_url, reconnect_interval=0.1)
        async with asyncio.timeout(60), connection:
            channel = await connection.channel()
            queue = await channel.declare_queue("survivor", durable=True)
            seen: asyncio.Queue[bytes] = asyncio.Queue()

            async def note(message: Any) -> None:
                async with message.process():
                    await seen.put(message.body)

            await queue.consume(note)
            await channel.default_exchange.publish(aio_pika.Message(b"before"), "survivor")
            assert await seen.get() == b"before"
            reconnected = asyncio.Event()
            connection.reconnect_callbacks.add(lambda *_: reconnected.set())
            await asyncio.to_thread(own_broker.restart)
            await reconnected.wait()
            await channel.default_exchange.publish(aio_pika.Message(b"after"), "survivor")
            while (body := await seen.get()) != b"after":
                assert body == b"before"  # its acknowledgement may have been too late

    asyncio.run(main())
