"""aiobotocore: the same API from one event loop, many calls at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from sqs_endpoint import CREDENTIALS, DEADLINE_S, new_name


@asynccontextmanager
async def queue_of(endpoint: str, **attributes: str) -> AsyncIterator[tuple[Any, str]]:
    config = AioConfig(max_pool_connections=200, retries={"total_max_attempts": 1}, read_timeout=60)
    async with get_session().create_client("sqs", endpoint_url=endpoint, config=config, **CREDENTIALS) as sqs:
        name = new_name() + (".fifo" if attributes.get("FifoQueue") else "")
        url = (await sqs.create_queue(QueueName=name, Attributes=attributes))["QueueUrl"]
        try:
            yield sqs, url
        finally:
            await sqs.delete_queue(QueueUrl=url)


def test_many_senders_and_receivers(endpoint: str) -> None:
    """100 sends on their way at once; what each of ten consumers takes is taken once."""

    async def run() -> None:
        async with queue_of(endpoint) as (sqs, url):
            sent = await asyncio.gather(*(sqs.send_message(QueueUrl=url, MessageBody=str(number)) for number in range(300)))
            assert len({answer["MessageId"] for answer in sent}) == 300
            taken: list[str] = []

            async def work() -> None:
                while messages := (await sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1)).get("Messages"):
                    taken.extend(message["Body"] for message in messages)
                    entries = [{"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]} for number, message in enumerate(messages)]
                    assert not (await sqs.delete_message_batch(QueueUrl=url, Entries=entries)).get("Failed")

            await asyncio.gather(*(work() for _ in range(10)))
            assert sorted(taken, key=int) == [str(number) for number in range(300)]

    asyncio.run(asyncio.wait_for(run(), DEADLINE_S * 3))


@pytest.mark.usefixtures("as_documented")
def test_a_hundred_long_polls(endpoint: str) -> None:
    """Each message wakes one; a poll that is cancelled takes none away."""

    async def run() -> None:
        async with queue_of(endpoint) as (sqs, url):
            given_up = [asyncio.create_task(sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20)) for _ in range(20)]
            waiting = [asyncio.create_task(sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20, MaxNumberOfMessages=1)) for _ in range(80)]
            await asyncio.sleep(0)
            for task in given_up:
                task.cancel()
            await asyncio.gather(*given_up, return_exceptions=True)
            for first in range(0, 80, 10):
                entries = [{"Id": str(number), "MessageBody": str(number)} for number in range(first, first + 10)]
                await sqs.send_message_batch(QueueUrl=url, Entries=entries)
            answers = await asyncio.gather(*waiting)
            got = [message["Body"] for answer in answers for message in answer.get("Messages") or ()]
            assert sorted(got, key=int) == [str(number) for number in range(80)]

    asyncio.run(asyncio.wait_for(run(), DEADLINE_S * 3))


def test_groups(endpoint: str) -> None:
    """FIFO with many consumers: each group in order."""

    async def run() -> None:
        async with queue_of(endpoint, FifoQueue="true", ContentBasedDeduplication="true") as (sqs, url):
            for number in range(10):
                entries = [{"Id": group, "MessageBody": f"{group} {number}", "MessageGroupId": group} for group in "abcdefghij"]
                assert len((await sqs.send_message_batch(QueueUrl=url, Entries=entries))["Successful"]) == 10
            seen: dict[str, list[int]] = {group: [] for group in "abcdefghij"}

            async def work() -> None:
                while messages := (await sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=3, WaitTimeSeconds=2)).get("Messages"):
                    for message in messages:
                        group, number = message["Body"].split()
                        seen[group].append(int(number))
                        await sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

            await asyncio.gather(*(work() for _ in range(6)))
            assert seen == {group: list(range(10)) for group in "abcdefghij"}

    asyncio.run(asyncio.wait_for(run(), DEADLINE_S * 3))
