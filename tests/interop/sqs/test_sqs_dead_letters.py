"""Dead-letter queues with boto3: redrive and allow policies, what a dead letter keeps, its way back by move tasks."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from sqs_endpoint import BAD_VALUE, DEADLINE_S, Queue, bodies, redrive, refused

Queues = Callable[..., Queue]


@pytest.fixture
def pair(sqs: Any, queues: Queues) -> tuple[Queue, Queue]:
    """A queue whose messages are given up after two receives, and where they go then."""
    dead = queues(sqs)
    return queues(sqs, RedrivePolicy=redrive(dead, 2)), dead


@pytest.fixture
def json_pair(json_sqs: Any, queues: Queues) -> tuple[Queue, Queue]:
    """The same by today's boto3, for calls that the old one does not know."""
    dead = queues(json_sqs)
    return queues(json_sqs, RedrivePolicy=redrive(dead, 1)), dead


def give_up(queue: Queue, *texts: str, times: int = 1) -> None:
    """Send, and receive so often that they are dead at the next receive."""
    queue.send(*texts)
    for _ in range(times):
        queue.take(len(texts), VisibilityTimeout=0)
    assert queue.receive() == []


def test_a_message_that_was_received_too_often(pair: tuple[Queue, Queue]) -> None:
    queue, dead = pair
    sent = queue.send("x", MessageAttributes={"a": {"DataType": "String", "StringValue": "b"}})
    first = queue.one(VisibilityTimeout=0, AttributeNames=["All"])
    assert queue.one(VisibilityTimeout=0)["MessageId"] == sent["MessageId"]
    assert queue.receive() == []
    letter = dead.one(AttributeNames=["All"], MessageAttributeNames=["All"])
    assert (letter["Body"], letter["MessageId"]) == ("x", sent["MessageId"])
    assert letter["MessageAttributes"] == {"a": {"DataType": "String", "StringValue": "b"}}
    assert letter["Attributes"]["SentTimestamp"] == first["Attributes"]["SentTimestamp"]
    assert letter["Attributes"]["ApproximateReceiveCount"] == "3"
    assert letter["Attributes"]["DeadLetterQueueSourceArn"] == queue.arn
    queue.wait_counts(0, 0, 0)


def test_one_that_is_deleted_in_time(pair: tuple[Queue, Queue]) -> None:
    queue, dead = pair
    queue.send("x")
    queue.one(VisibilityTimeout=0)
    queue.delete(queue.one())
    assert queue.receive() == []
    assert dead.counts() == (0, 0, 0)


def test_after_the_timeout(sqs: Any, queues: Queues) -> None:
    dead = queues(sqs)
    queue = queues(sqs, RedrivePolicy=redrive(dead, 1), VisibilityTimeout=1)
    queue.send("x")
    queue.one()
    give_up_at = time.monotonic() + DEADLINE_S
    while dead.counts()[0] == 0:
        assert queue.receive(1, 1) == []
        assert time.monotonic() < give_up_at
    assert bodies([dead.one()]) == ["x"]


def test_a_policy_that_comes_later(sqs: Any, queues: Queues) -> None:
    queue, dead = queues(sqs), queues(sqs)
    queue.send("x")
    for _ in range(4):
        queue.one(VisibilityTimeout=0)
    queue.set(RedrivePolicy=redrive(dead, 4))
    assert queue.receive() == []
    assert bodies([dead.one()]) == ["x"]


def test_sources_are_listed(sqs: Any, queues: Queues) -> None:
    dead = queues(sqs)
    sources = [queues(sqs, RedrivePolicy=redrive(dead, 3)) for _ in range(3)]
    found = sqs.list_dead_letter_source_queues(QueueUrl=dead.url)
    assert sorted(found["queueUrls"]) == sorted(source.url for source in sources)
    assert not sqs.list_dead_letter_source_queues(QueueUrl=sources[0].url).get("queueUrls")


@pytest.mark.usefixtures("as_documented")
def test_queues_that_may_not_be_targets(sqs: Any, queues: Queues) -> None:
    queue = queues(sqs)
    with pytest.raises(ClientError, match="Invalid|NonExistentQueue"):
        queue.set(RedrivePolicy=json.dumps({"deadLetterTargetArn": f"{queue.arn}-nobody", "maxReceiveCount": 1}))
    with refused(BAD_VALUE):
        queue.set(RedrivePolicy=redrive(queues(sqs, ".fifo", FifoQueue="true"), 1))
    with refused(BAD_VALUE):
        queue.set(RedrivePolicy=json.dumps({"deadLetterTargetArn": "nonsense", "maxReceiveCount": 1}))


@pytest.mark.usefixtures("as_documented")
def test_who_may_use_a_dead_letter_queue(sqs: Any, queues: Queues) -> None:
    dead, one, other = queues(sqs), queues(sqs), queues(sqs)
    dead.set(RedriveAllowPolicy=json.dumps({"redrivePermission": "byQueue", "sourceQueueArns": [one.arn]}))
    one.set(RedrivePolicy=redrive(dead, 1))
    with refused(BAD_VALUE):
        other.set(RedrivePolicy=redrive(dead, 1))
    dead.set(RedriveAllowPolicy=json.dumps({"redrivePermission": "denyAll"}))
    with refused(BAD_VALUE):
        other.set(RedrivePolicy=redrive(dead, 1))
    dead.set(RedriveAllowPolicy=json.dumps({"redrivePermission": "allowAll"}))
    other.set(RedrivePolicy=redrive(dead, 1))
    with pytest.raises(ClientError, match="Invalid"):
        dead.set(RedriveAllowPolicy=json.dumps({"redrivePermission": "sometimes"}))
    with pytest.raises(ClientError, match="Invalid"):
        dead.set(RedriveAllowPolicy=json.dumps({"redrivePermission": "allowAll", "sourceQueueArns": [one.arn]}))


def test_order_of_a_group_in_a_fifo_dead_letter_queue(sqs: Any, queues: Queues) -> None:
    dead = queues(sqs, ".fifo", FifoQueue="true", ContentBasedDeduplication="true")
    queue = queues(sqs, ".fifo", FifoQueue="true", ContentBasedDeduplication="true", RedrivePolicy=redrive(dead, 1))
    for number in range(3):
        queue.send(str(number), MessageGroupId="g")
    assert bodies(queue.receive(3, 2, VisibilityTimeout=0)) == ["0", "1", "2"]
    give_up_at = time.monotonic() + DEADLINE_S
    while queue.counts() != (0, 0, 0):
        assert queue.receive() == []
        assert time.monotonic() < give_up_at
    for number in range(3):
        letter = dead.one(AttributeNames=["All"])
        assert (letter["Body"], letter["Attributes"]["MessageGroupId"]) == (str(number), "g")
        dead.delete(letter)


def wait_task(dead: Queue) -> dict[str, Any]:
    """The newest task, when it has ended."""
    give_up_at = time.monotonic() + DEADLINE_S
    while True:
        task: dict[str, Any] = dead.sqs.list_message_move_tasks(SourceArn=dead.arn)["Results"][0]
        if task["Status"] not in ("RUNNING", "CANCELLING"):
            return task
        assert time.monotonic() < give_up_at, task


def test_dead_letters_go_back(json_pair: tuple[Queue, Queue]) -> None:
    queue, dead = json_pair
    give_up(queue, "a", "b", "c")
    assert dead.sqs.start_message_move_task(SourceArn=dead.arn)["TaskHandle"]
    task = wait_task(dead)
    assert (task["Status"], task["ApproximateNumberOfMessagesMoved"], task["SourceArn"]) == ("COMPLETED", 3, dead.arn)
    assert "TaskHandle" not in task, "only a running task has a handle"
    assert sorted(bodies(queue.take(3))) == ["a", "b", "c"]
    dead.wait_counts(0, 0, 0)


@pytest.mark.usefixtures("as_documented")
@pytest.mark.parametrize("elsewhere", [False, True])
def test_what_a_task_moves_is_new(json_sqs: Any, queues: Queues, json_pair: tuple[Queue, Queue], elsewhere: bool) -> None:
    """Another id, sent when it was moved, never received: AWS's guide. What is dead-lettered keeps all that."""
    queue, dead = json_pair
    first = queue.send("a")["MessageId"]
    queue.take(1, VisibilityTimeout=0)
    assert queue.receive() == []
    dead.wait_counts(1, 0, 0)
    letter = dead.take(1, AttributeNames=["All"], VisibilityTimeout=0)[0]
    assert letter["MessageId"] == first
    target = queues(json_sqs) if elsewhere else queue
    json_sqs.start_message_move_task(SourceArn=dead.arn, **({"DestinationArn": target.arn} if elsewhere else {}))
    task = wait_task(dead)
    message = target.take(1, AttributeNames=["All"])[0]
    assert message["MessageId"] != first
    assert int(message["Attributes"]["SentTimestamp"]) >= task["StartedTimestamp"] > int(letter["Attributes"]["SentTimestamp"])
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"


@pytest.mark.usefixtures("as_documented")
def test_why_a_task_failed(json_sqs: Any, queues: Queues, json_pair: tuple[Queue, Queue]) -> None:
    queue, dead = json_pair
    target = queues(json_sqs)
    give_up(queue, "a", "b", "c")
    json_sqs.start_message_move_task(SourceArn=dead.arn, DestinationArn=target.arn, MaxNumberOfMessagesPerSecond=1)
    json_sqs.delete_queue(QueueUrl=target.url)
    task = wait_task(dead)
    assert (task["Status"], task["FailureReason"]) == ("FAILED", "AWS.SimpleQueueService.NonExistentQueue")


def test_dead_letters_go_elsewhere(json_sqs: Any, queues: Queues, json_pair: tuple[Queue, Queue]) -> None:
    queue, dead = json_pair
    other = queues(json_sqs)
    give_up(queue, "a", "b")
    json_sqs.start_message_move_task(SourceArn=dead.arn, DestinationArn=other.arn, MaxNumberOfMessagesPerSecond=500)
    task = wait_task(dead)
    assert (task["Status"], task["DestinationArn"], task["MaxNumberOfMessagesPerSecond"]) == ("COMPLETED", other.arn, 500)
    assert sorted(bodies(other.take(2))) == ["a", "b"]
    assert queue.counts() == (0, 0, 0)


def test_a_task_that_is_cancelled(json_sqs: Any, json_pair: tuple[Queue, Queue]) -> None:
    queue, dead = json_pair
    for number in range(2):
        queue.send_batch(*({"MessageBody": f"{number} {each}"} for each in range(10)))
    queue.take(20, VisibilityTimeout=0)
    assert queue.receive() == []
    dead.wait_counts(20, 0, 0)
    handle = json_sqs.start_message_move_task(SourceArn=dead.arn, MaxNumberOfMessagesPerSecond=1)["TaskHandle"]
    with refused(BAD_VALUE, "already"):
        json_sqs.start_message_move_task(SourceArn=dead.arn)
    moved = json_sqs.cancel_message_move_task(TaskHandle=handle)["ApproximateNumberOfMessagesMoved"]
    assert moved < 20
    task = wait_task(dead)
    assert task["Status"] == "CANCELLED"
    assert 0 <= task["ApproximateNumberOfMessagesMoved"] < 20
    assert dead.counts()[0] + queue.counts()[0] == 20


def test_tasks_that_are_refused(json_sqs: Any, queues: Queues, json_pair: tuple[Queue, Queue]) -> None:
    queue, dead = json_pair
    with refused(BAD_VALUE):
        json_sqs.start_message_move_task(SourceArn=queue.arn)
    with refused("ResourceNotFoundException", status=404):
        json_sqs.start_message_move_task(SourceArn=f"{dead.arn}-nobody")
    with refused("ResourceNotFoundException", status=404):
        json_sqs.start_message_move_task(SourceArn=dead.arn, DestinationArn=f"{dead.arn}-nobody")
