"""SIGKILL under load of SQS clients: leases, counts and deduplication survive, groups stay excluded and in order, nothing that was answered is lost.

ENTREPOT_KILLS sets how often the broker is killed; `-m long` does it 50 times, with both kinds of queue at the same time.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import Any

import pytest
from crash_sqs import LEASE_S, Raw, SqsSide
from test_kill import KILLS_LONG, SETTINGS

from entrepot.testing.broker import Broker

KILLS = int(os.environ.get("ENTREPOT_KILLS", "4"))
LISTENERS = ("sqs", "http")


def endpoint(broker: Broker) -> str:
    return broker.sqs_url


@pytest.mark.parametrize("fifo", [False, True], ids=["standard", "fifo"])
def test_clients_over_crashes(tmp_path: Path, fifo: bool) -> None:
    dice = random.Random(1)
    with Broker(tmp_path / "data", settings=SETTINGS, listeners=LISTENERS) as broker:
        side = SqsSide(endpoint(broker), fifo=fifo)
        for _ in range(KILLS):
            side.wait(dice.choice((1, 100, 500)))
            broker.kill()
            broker.start()
        side.wait(50)
        side.stop()
        assert side.acknowledged_count > 50


@pytest.mark.long
@pytest.mark.parametrize("seed", [3])
def test_both_kinds_over_fifty_crashes(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    with Broker(tmp_path / "data", settings=SETTINGS, listeners=LISTENERS) as broker:
        sides = [SqsSide(endpoint(broker), fifo=fifo) for fifo in (False, True)]
        for _ in range(KILLS_LONG):
            dice.choice(sides).wait(dice.choice((1, 100, 1000)))
            broker.kill()
            broker.start()
        for side in sides:
            side.wait(50)
            side.stop()
            assert side.acknowledged_count > KILLS_LONG


@pytest.fixture
def made(tmp_path: Path) -> Any:
    """(broker, a way to call it)."""
    with Broker(tmp_path / "data", settings=SETTINGS, listeners=LISTENERS) as broker:
        raw = Raw(endpoint(broker))
        yield broker, raw
        raw.close()


def crash(broker: Broker, raw: Raw) -> None:
    broker.kill()
    raw.close()
    broker.start()


def queue_of(raw: Raw, name: str, **attributes: str) -> str:
    url: str = raw.sure("CreateQueue", QueueName=name, Attributes=attributes)["QueueUrl"]
    return url


def receive(raw: Raw, url: str, wait_s: int = 0, **words: object) -> list[dict[str, Any]]:
    asked = {"MaxNumberOfMessages": 10, "WaitTimeSeconds": wait_s, "AttributeNames": ["All"], **words}
    found: list[dict[str, Any]] = raw.call("ReceiveMessage", QueueUrl=url, **asked).get("Messages") or []
    return found


LEASES_S = (LEASE_S, 5 * LEASE_S, 20 * LEASE_S)  # until one is longer than a crash takes: several workers, or a machine that has much to do, need more of it


def test_a_lease_and_its_handle(made: Any) -> None:
    broker, raw = made
    for lease_s in LEASES_S:
        url = queue_of(raw, f"q{lease_s}")
        raw.call("SendMessageBatch", QueueUrl=url, Entries=[{"Id": text, "MessageBody": text} for text in ("a", "b", "c")])
        begun = time.monotonic()
        messages = {message["Body"]: message for message in receive(raw, url, VisibilityTimeout=lease_s)}
        raw.call("ChangeMessageVisibility", QueueUrl=url, ReceiptHandle=messages["b"]["ReceiptHandle"], VisibilityTimeout=600)
        crash(broker, raw)
        found = receive(raw, url)
        if time.monotonic() - begun < lease_s:
            break
    assert found == []
    raw.call("DeleteMessage", QueueUrl=url, ReceiptHandle=messages["c"]["ReceiptHandle"])
    (again,) = receive(raw, url, 20)
    assert time.monotonic() - begun >= lease_s
    assert (again["Body"], again["MessageId"]) == ("a", messages["a"]["MessageId"])
    assert again["Attributes"]["ApproximateReceiveCount"] == "2"
    for name in ("SentTimestamp", "ApproximateFirstReceiveTimestamp"):
        assert again["Attributes"][name] == messages["a"]["Attributes"][name]
    raw.call("DeleteMessage", QueueUrl=url, ReceiptHandle=messages["b"]["ReceiptHandle"])
    raw.call("DeleteMessage", QueueUrl=url, ReceiptHandle=again["ReceiptHandle"])
    crash(broker, raw)
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    assert set(raw.call("GetQueueAttributes", QueueUrl=url, AttributeNames=names)["Attributes"].values()) == {"0"}


def test_a_delay(made: Any) -> None:
    broker, raw = made
    for delay_s in LEASES_S:
        url = queue_of(raw, f"q{delay_s}")
        begun = time.monotonic()
        raw.call("SendMessage", QueueUrl=url, MessageBody="late", DelaySeconds=delay_s)
        raw.call("SendMessage", QueueUrl=url, MessageBody="later", DelaySeconds=900)
        crash(broker, raw)
        found = receive(raw, url)
        if time.monotonic() - begun < delay_s:
            break
    assert found == []
    assert raw.call("GetQueueAttributes", QueueUrl=url, AttributeNames=["All"])["Attributes"]["ApproximateNumberOfMessagesDelayed"] == "2"
    (message,) = receive(raw, url, 20)
    assert message["Body"] == "late"
    assert time.monotonic() - begun >= delay_s


def test_groups_duplicates_and_sequence_numbers(made: Any) -> None:
    broker, raw = made
    url = queue_of(raw, "q.fifo", FifoQueue="true")

    def send(text: str, group: str) -> dict[str, Any]:
        answer: dict[str, Any] = raw.call("SendMessage", QueueUrl=url, MessageBody=text, MessageGroupId=group, MessageDeduplicationId=text)
        return answer

    first = send("a1", "a")
    send("a2", "a")
    send("b1", "b")
    (taken,) = receive(raw, url, MaxNumberOfMessages=1, VisibilityTimeout=600)
    crash(broker, raw)
    assert [message["Body"] for message in receive(raw, url)] == ["b1"], "the group of what is out is excluded"
    assert send("a1", "a")["MessageId"] == first["MessageId"], "it is known as a duplicate"
    assert int(send("a3", "a")["SequenceNumber"]) > int(first["SequenceNumber"])
    raw.call("DeleteMessage", QueueUrl=url, ReceiptHandle=taken["ReceiptHandle"])
    crash(broker, raw)
    for expected in ("a2", "a3"):
        (message,) = receive(raw, url, 20, MaxNumberOfMessages=1)
        assert message["Body"] == expected
        raw.call("DeleteMessage", QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    send("a1", "a")
    assert receive(raw, url) == [], "what was deleted is still known"


def test_dead_letters(made: Any) -> None:
    broker, raw = made
    dead = queue_of(raw, "dead")
    arn = raw.call("GetQueueAttributes", QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    url = queue_of(raw, "q", RedrivePolicy=f'{{"deadLetterTargetArn": "{arn}", "maxReceiveCount": 2}}')
    sent = raw.call("SendMessage", QueueUrl=url, MessageBody="x")
    for _ in range(2):
        assert len(receive(raw, url, VisibilityTimeout=0)) == 1
        crash(broker, raw)
    assert receive(raw, url) == []
    crash(broker, raw)  # before or after it was moved: the next receive moves it, if it is still there
    assert receive(raw, url) == []
    (letter,) = receive(raw, dead, 20)
    assert letter["MessageId"] == sent["MessageId"]
    assert letter["Attributes"]["ApproximateReceiveCount"] == "3"
