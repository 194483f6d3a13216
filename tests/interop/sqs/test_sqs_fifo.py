"""FIFO queues with boto3, in both wire protocols: order and exclusion by group, deduplication, sequence numbers, attempts, high throughput."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest
from sqs_endpoint import BAD_VALUE, MISSING, Queue, bodies, refused

Queues = Callable[..., Queue]


def put(queue: Queue, group: str, *texts: str, **options: Any) -> list[dict[str, Any]]:
    """Send each as itself: its text is its deduplication id, within its group."""
    return [queue.send(text, MessageGroupId=group, **{"MessageDeduplicationId": f"{group}.{text}", **options}) for text in texts]


def test_order(fifo: Queue) -> None:
    put(fifo, "g", *(str(number) for number in range(25)))
    got: list[str] = []
    while len(got) < 25:
        messages = fifo.take(1) if len(got) % 2 else fifo.receive(7, 2)
        got += bodies(messages)
        fifo.delete_batch(messages)
    assert got == [str(number) for number in range(25)]


def test_order_of_a_batch(fifo: Queue) -> None:
    for first in (0, 10):
        fifo.send_batch(*({"MessageBody": str(number), "MessageGroupId": "g", "MessageDeduplicationId": str(number)} for number in range(first, first + 10)))
    first_ten = fifo.receive(10, 2)
    assert bodies(first_ten) == [str(number) for number in range(10)]
    fifo.delete_batch(first_ten)
    assert bodies(fifo.receive(10, 2)) == [str(number) for number in range(10, 20)]


def test_a_group_is_one_consumer_s_at_a_time(fifo: Queue) -> None:
    put(fifo, "a", "a1", "a2")
    put(fifo, "b", "b1")
    first = fifo.one()
    assert first["Body"] == "a1"
    second = fifo.one()
    assert second["Body"] == "b1"
    assert fifo.receive() == []
    fifo.delete(first)
    assert bodies([fifo.one()]) == ["a2"]


def test_a_group_waits_for_all_that_are_out(fifo: Queue) -> None:
    put(fifo, "a", "a1", "a2", "a3")
    put(fifo, "b", "b1")
    first, second = fifo.receive(2, 2)
    assert bodies([first, second]) == ["a1", "a2"]
    fifo.delete(first)
    assert bodies(fifo.receive(10, 0)) == ["b1"]
    fifo.delete(second)
    assert bodies([fifo.one()]) == ["a3"]


@pytest.mark.parametrize("hidden_s", [0, 30])
def test_a_group_whose_worker_always_gives_back_leaves_the_others_their_turn(fifo: Queue, hidden_s: int) -> None:
    put(fifo, "bad", "bad1", "bad2")
    put(fifo, "a", "a1")
    put(fifo, "b", "b1")
    got: list[str] = []
    for _ in range(6):
        message = fifo.one(VisibilityTimeout=hidden_s)
        got.append(message["Body"])
        if hidden_s and got[-1].startswith("bad"):
            fifo.show(message, 0)
        elif hidden_s:
            fifo.delete(message)
    assert got[:3] == ["bad1", "a1", "b1"]
    assert set(got[3:]) == ({"bad1"} if hidden_s else {"bad1", "a1", "b1"})


def test_a_long_poll_is_woken_when_the_group_is_free(fifo: Queue) -> None:
    put(fifo, "a", "a1", "a2")
    first = fifo.one()
    got: list[str] = []
    waiting = threading.Thread(target=lambda: got.extend(bodies(fifo.receive(1, 20))))
    waiting.start()
    fifo.delete(first)
    waiting.join()
    assert got == ["a2"]


def test_what_comes_again_comes_first(fifo: Queue) -> None:
    put(fifo, "g", "1", "2", "3")
    first = fifo.one()
    fifo.show(first, 0)
    assert bodies(fifo.receive(10, 2)) == ["1", "2", "3"]


@pytest.mark.usefixtures("as_documented")
def test_later_ones_stay_hidden_behind_an_earlier_one(fifo: Queue) -> None:
    put(fifo, "g", "1", "2", "3")
    messages = fifo.receive(3, 2, VisibilityTimeout=2)
    fifo.show(messages[0], 30)
    fifo.show(messages[1], 0)
    fifo.show(messages[2], 0)
    assert fifo.receive(10, 1) == []
    fifo.show(messages[0], 0)
    assert bodies(fifo.receive(10, 2)) == ["1", "2", "3"]


def test_earlier_ones_come_before_one_that_is_hidden(fifo: Queue) -> None:
    put(fifo, "g", "1", "2", "3")
    messages = fifo.receive(3, 2)
    fifo.show(messages[0], 0)
    fifo.show(messages[1], 0)
    assert bodies(fifo.receive(10, 2)) == ["1", "2"]


def test_after_the_timeout_the_group_comes_in_order(sqs: Any, queues: Queues) -> None:
    queue = queues(sqs, ".fifo", FifoQueue="true", VisibilityTimeout=1)
    put(queue, "g", "1", "2", "3")
    assert bodies(queue.receive(2, 2)) == ["1", "2"]
    assert queue.receive() == []
    assert bodies(queue.receive(10, 5)) == ["1", "2", "3"]


def test_a_handle_does_not_outlive_its_timeout(fifo: Queue) -> None:
    put(fifo, "g", "1")
    message = fifo.one(VisibilityTimeout=1)
    fifo.wait_counts(1, 0, 0)
    with refused(BAD_VALUE, "expired"):
        fifo.delete(message)
    assert bodies([fifo.one()]) == ["1"]


def test_sequence_numbers(fifo: Queue) -> None:
    answers = put(fifo, "a", "1", "2") + put(fifo, "b", "1")
    numbers = [answer["SequenceNumber"] for answer in answers]
    assert {len(number) for number in numbers} == {20}
    assert numbers == sorted(set(numbers))
    message = fifo.one(AttributeNames=["All"])
    attributes = message["Attributes"]
    assert (attributes["SequenceNumber"], attributes["MessageGroupId"], attributes["MessageDeduplicationId"]) == (numbers[0], "a", "a.1")


def test_a_duplicate_is_the_message_that_was_there(fifo: Queue) -> None:
    first = put(fifo, "g", "x")[0]
    again = fifo.send("another body", MessageGroupId="g", MessageDeduplicationId="g.x")
    assert again["MessageId"] == first["MessageId"]
    message = fifo.one()
    assert message["Body"] == "x"
    fifo.delete(message)
    put(fifo, "g", "x")
    assert fifo.receive() == [], "what was deleted is known for five minutes, too"


def test_duplicates_within_a_batch(fifo: Queue) -> None:
    answer = fifo.send_batch(*({"MessageBody": text, "MessageGroupId": "g", "MessageDeduplicationId": "same"} for text in "abc"))
    assert len({each["MessageId"] for each in answer["Successful"]}) == 1
    assert bodies(fifo.receive(10, 2)) == ["a"]


def test_the_scope_is_the_queue(fifo: Queue) -> None:
    for group in ("a", "b"):
        fifo.send(group, MessageGroupId=group, MessageDeduplicationId="same")
    assert bodies(fifo.receive(10, 2)) == ["a"]


@pytest.mark.usefixtures("as_documented")
def test_the_scope_is_the_group(sqs: Any, queues: Queues) -> None:
    queue = queues(sqs, ".fifo", FifoQueue="true", DeduplicationScope="messageGroup", FifoThroughputLimit="perMessageGroupId")
    for group in ("a", "b", "a"):
        queue.send(group, MessageGroupId=group, MessageDeduplicationId="same")
    assert sorted(bodies(queue.take(2))) == ["a", "b"]
    assert queue.receive() == []


def test_deduplication_by_content(sqs: Any, queues: Queues) -> None:
    queue = queues(sqs, ".fifo", FifoQueue="true", ContentBasedDeduplication="true")
    queue.send("x", MessageGroupId="g")
    queue.send("x", MessageGroupId="g", MessageAttributes={"a": {"DataType": "String", "StringValue": "not part of it"}})
    queue.send("x", MessageGroupId="g", MessageDeduplicationId="own")
    queue.send("y", MessageGroupId="g")
    messages = queue.receive(10, 2, AttributeNames=["All"])
    assert bodies(messages) == ["x", "x", "y"]
    assert len(messages[0]["Attributes"]["MessageDeduplicationId"]) == 64
    assert messages[1]["Attributes"]["MessageDeduplicationId"] == "own"


def test_what_a_message_must_say(fifo: Queue) -> None:
    with refused(MISSING, "MessageGroupId"):
        fifo.send("x", MessageDeduplicationId="d")
    with refused(BAD_VALUE, "dupl"):
        fifo.send("x", MessageGroupId="g")
    with refused(BAD_VALUE, "DelaySeconds"):
        fifo.send("x", MessageGroupId="g", MessageDeduplicationId="d", DelaySeconds=2)
    for wrong in ("a b", "x" * 129, "é"):
        with refused(BAD_VALUE, "MessageGroupId"):
            fifo.send("x", MessageGroupId=wrong, MessageDeduplicationId="d")
        with refused(BAD_VALUE, "MessageDeduplicationId"):
            fifo.send("x", MessageGroupId="g", MessageDeduplicationId=wrong)
    assert fifo.receive() == []


def test_the_queue_s_delay(sqs: Any, queues: Queues) -> None:
    queue = queues(sqs, ".fifo", FifoQueue="true", DelaySeconds=1)
    put(queue, "g", "1", "2")
    assert queue.receive() == []
    first = queue.one()
    queue.delete(first)
    assert [first["Body"], queue.one()["Body"]] == ["1", "2"]


@pytest.mark.usefixtures("as_documented")
def test_an_attempt_that_is_made_again(fifo: Queue) -> None:
    """The same attempt id brings the same messages under the same handles, as long as nothing happened to them."""
    put(fifo, "a", "1", "2")
    put(fifo, "b", "1")
    first = fifo.receive(2, 2, ReceiveRequestAttemptId="attempt")
    again = fifo.receive(2, 0, ReceiveRequestAttemptId="attempt")
    assert [message["MessageId"] for message in again] == [message["MessageId"] for message in first]
    fifo.delete_batch(again)
    other = fifo.receive(10, 0, ReceiveRequestAttemptId="attempt")
    assert not {message["MessageId"] for message in other} & {message["MessageId"] for message in first}


def test_purging_forgets_duplicates(sqs: Any, fifo: Queue) -> None:
    put(fifo, "g", "x")
    sqs.purge_queue(QueueUrl=fifo.url)
    fifo.wait_counts(0, 0, 0)
    put(fifo, "g", "x")
    assert bodies([fifo.one()]) == ["x"]


@pytest.mark.usefixtures("as_documented")
def test_what_may_not_change(sqs: Any, fifo: Queue) -> None:
    with refused("InvalidAttributeValue", "queue type"):
        fifo.set(FifoQueue="false")
    fifo.set(ContentBasedDeduplication="true")
    assert fifo.attribute("ContentBasedDeduplication") == "true"
    with refused("InvalidAttributeValue"):
        fifo.set(FifoThroughputLimit="perMessageGroupId")
    fifo.set(DeduplicationScope="messageGroup", FifoThroughputLimit="perMessageGroupId")
    with refused("InvalidAttributeValue"):
        fifo.set(DeduplicationScope="nonsense")


def test_consumers_of_many_groups(sqs: Any, queues: Queues) -> None:
    """Several consumers at once: each group in order, and never two of them in the same group."""
    queue = queues(sqs, ".fifo", FifoQueue="true", DeduplicationScope="messageGroup", FifoThroughputLimit="perMessageGroupId")
    groups = [f"g{number}" for number in range(8)]
    for number in range(20):
        queue.send_batch(*({"MessageBody": f"{group} {number}", "MessageGroupId": group, "MessageDeduplicationId": str(number)} for group in groups))
    held: set[str] = set()
    lock, violations, seen = threading.Lock(), [], defaultdict(list)

    def work() -> None:
        while messages := queue.receive(5, 2):
            found = {message["Body"].split()[0] for message in messages}
            with lock:
                violations.extend(found & held)
                held.update(found)
                for message in messages:
                    group, number = message["Body"].split()
                    seen[group].append(int(number))
            with lock:  # given up before the delete: another may get the group while its answer is on the way
                held.difference_update(found)
            queue.delete_batch(messages)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert violations == []
    assert seen == {group: list(range(20)) for group in groups}
