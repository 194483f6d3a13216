"""aiokafka: everything that its producer, consumer and admin client do."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import MessageSizeTooLargeError, TopicAlreadyExistsError
from kafka_messages import DEADLINE_S, assorted

NewTopicName = Callable[..., str]


@asynccontextmanager
async def producing(bootstrap: str, **options: Any) -> AsyncIterator[AIOKafkaProducer]:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, **options) as producer:
        yield producer


@asynccontextmanager
async def consuming(bootstrap: str, *topics: str, **options: Any) -> AsyncIterator[AIOKafkaConsumer]:
    options = {"auto_offset_reset": "earliest", "enable_auto_commit": False, "fetch_max_wait_ms": 100, "heartbeat_interval_ms": 300} | options
    async with AIOKafkaConsumer(*topics, bootstrap_servers=bootstrap, **options) as consumer:
        yield consumer


async def take(consumer: AIOKafkaConsumer, count: int) -> list[Any]:
    taken: list[Any] = []
    async with asyncio.timeout(DEADLINE_S):
        while len(taken) < count:
            for records in (await consumer.getmany(timeout_ms=200, max_records=count - len(taken))).values():
                taken += records
    return taken


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("compression", [None, "gzip", "snappy", "lz4", "zstd"])
def test_every_field_comes_back(bootstrap: str, topic: NewTopicName, compression: str | None) -> None:
    name, sent = topic(), assorted()

    async def run() -> None:
        async with producing(bootstrap, compression_type=compression, linger_ms=20) as producer:
            futures = [await producer.send(name, one.value, one.key, 0, one.timestamp_ms, list(one.headers)) for one in sent]
            metadata = [await future for future in futures]
        assert [each.offset for each in metadata] == list(range(len(sent)))
        async with consuming(bootstrap, name) as consumer:
            records = await take(consumer, len(sent))
        assert [(r.value, r.key, r.headers, r.timestamp) for r in records] == [(one.value, one.key, one.headers, one.timestamp_ms) for one in sent]

    asyncio.run(run())


@pytest.mark.parametrize("options", [{"acks": 0}, {"acks": 1}, {"acks": "all"}, {"enable_idempotence": True}], ids=["0", "1", "all", "idempotent"])
def test_acks(bootstrap: str, topic: NewTopicName, options: dict[str, Any]) -> None:
    name = topic(2)

    async def run() -> None:
        async with producing(bootstrap, linger_ms=5, **options) as producer:
            for number in range(500):
                await producer.send(name, b"%d" % number, partition=number % 2)
            await producer.flush()
        async with consuming(bootstrap, name) as consumer:
            records = await take(consumer, 500)
        for partition in (0, 1):
            assert [int(r.value) for r in records if r.partition == partition] == list(range(partition, 500, 2))

    asyncio.run(run())


@pytest.mark.parametrize("assignor", [RoundRobinPartitionAssignor, StickyPartitionAssignor])
def test_groups_rebalance_and_resume(bootstrap: str, topic: NewTopicName, group: str, assignor: type[Any]) -> None:
    name = topic(4)
    options = {"group_id": group, "partition_assignment_strategy": (assignor,)}

    async def run() -> None:
        async with producing(bootstrap) as producer:
            for number in range(40):
                await producer.send(name, b"%d" % number, partition=number % 4)
        async with consuming(bootstrap, name, **options) as one:
            assert {int(r.value) for r in await take(one, 40)} == set(range(40))
            await one.commit()
            async with consuming(bootstrap, name, **options) as two:
                await until(lambda: len(one.assignment()) == len(two.assignment()) == 2)
                assert not one.assignment() & two.assignment()
                async with producing(bootstrap) as producer:
                    for number in range(4):
                        await producer.send_and_wait(name, b"again %d" % number, partition=number)
                for member in (one, two):
                    assert {TopicPartition(name, r.partition) for r in await take(member, 2)} == set(member.assignment())
                await two.commit()
            await until(lambda: len(one.assignment()) == 4)
            await one.commit(dict.fromkeys(one.assignment(), 11))
        async with consuming(bootstrap, name, **options) as three:
            await until(three.assignment)
            assert [await three.committed(TopicPartition(name, n)) for n in range(4)] == [11] * 4
            assert [await three.position(TopicPartition(name, n)) for n in range(4)] == [11] * 4

    asyncio.run(run())


def test_listeners_and_static_members(bootstrap: str, topic: NewTopicName, group: str) -> None:
    name = topic(2)
    seen: list[tuple[str, int]] = []

    class Listener(ConsumerRebalanceListener):
        def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
            seen.append(("revoked", len(revoked)))

        def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
            seen.append(("assigned", len(assigned)))

    async def run() -> None:
        async with consuming(bootstrap, group_id=group, group_instance_id="one") as one:
            one.subscribe([name], listener=Listener())
            await until(lambda: len(one.assignment()) == 2)
            async with consuming(bootstrap, name, group_id=group, group_instance_id="two") as two:
                await until(lambda: len(one.assignment()) == len(two.assignment()) == 1)
        assert ("assigned", 2) in seen
        assert ("revoked", 2) in seen
        assert ("assigned", 1) in seen

    asyncio.run(run())


def test_positions_and_times(bootstrap: str, topic: NewTopicName) -> None:
    name = topic()
    part = TopicPartition(name, 0)
    start = 1_700_000_000_000

    async def run() -> None:
        async with producing(bootstrap, linger_ms=10) as producer:
            for number in range(50):
                await producer.send(name, b"%d" % number, timestamp_ms=start + number * 1000)
        async with consuming(bootstrap) as consumer:
            consumer.assign([part])
            assert (await consumer.beginning_offsets([part]), await consumer.end_offsets([part])) == ({part: 0}, {part: 50})
            found = await consumer.offsets_for_times({part: start + 20_500})
            assert (found[part].offset, found[part].timestamp) == (21, start + 21_000)
            assert await consumer.offsets_for_times({part: start + 60_000}) == {part: None}
            consumer.seek(part, 33)
            assert (await take(consumer, 1))[0].value == b"33"
            await consumer.seek_to_end(part)
            assert await consumer.position(part) == 50
            await consumer.seek_to_beginning(part)
            assert (await take(consumer, 1))[0].value == b"0"
            assert consumer.highwater(part) == 50

    asyncio.run(run())


def test_large_messages(bootstrap: str, topic: NewTopicName) -> None:
    name = topic(max_message_bytes=3 << 20)
    body = secrets.token_bytes(2 << 20)

    async def run() -> None:
        async with producing(bootstrap, max_request_size=8 << 20) as producer:
            await producer.send_and_wait(name, body)
            with pytest.raises(MessageSizeTooLargeError):
                await producer.send_and_wait(name, body * 2)
        async with consuming(bootstrap, name, max_partition_fetch_bytes=1000, fetch_max_bytes=1000) as consumer:
            assert (await take(consumer, 1))[0].value == body

    asyncio.run(run())


def test_administration(bootstrap: str) -> None:
    name = f"interop.{secrets.token_hex(6)}"

    async def run() -> None:
        client = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await client.start()
        try:
            assert (await client.create_topics([NewTopic(name, 2, 1)])).topic_errors[0][1] == 0
            answer = await client.create_topics([NewTopic(name, 2, 1)])
            assert answer.topic_errors[0][1] == TopicAlreadyExistsError.errno
            assert name in await client.list_topics()
            (described,) = await client.describe_topics([name])
            assert len(described["partitions"]) == 2
            async with producing(bootstrap) as producer:
                for _ in range(10):
                    await producer.send_and_wait(name, b"x", partition=1)
            assert await client.delete_records({TopicPartition(name, 1): RecordsToDelete(before_offset=4)}) == {TopicPartition(name, 1): 4}
            assert (await client.describe_cluster())["cluster_id"]
        finally:
            await client.delete_topics([name])
            await client.close()

    asyncio.run(run())
