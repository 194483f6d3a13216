"""Leases with boto3, in both wire protocols: visibility timeouts, receipt handles, long polls, delays, retention, counts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqs_endpoint import BAD_VALUE, DEADLINE_S, Queue, bodies, refused
from sqs_wire import hang_up_on_poll

Queues = Callable[..., Queue]


def test_a_message_is_hidden_and_comes_again(queue: Queue) -> None:
    queue.send("x")
    first = queue.one(VisibilityTimeout=1, AttributeNames=["All"])
    assert queue.receive() == []
    again = queue.one(AttributeNames=["All"])
    assert again["MessageId"] == first["MessageId"]
    assert again["ReceiptHandle"] != first["ReceiptHandle"]
    assert again["Attributes"]["ApproximateReceiveCount"] == "2"
    assert again["Attributes"]["ApproximateFirstReceiveTimestamp"] == first["Attributes"]["ApproximateFirstReceiveTimestamp"]


def test_it_is_hidden_no_less_than_it_was_asked(queue: Queue) -> None:
    queue.send("x")
    begun = time.monotonic()
    queue.one(VisibilityTimeout=2)
    queue.one()
    assert time.monotonic() - begun >= 2


def test_the_queue_s_own_timeout(sqs: Any, queues: Queues) -> None:
    queue = queues(sqs, VisibilityTimeout=1)
    queue.send("x")
    assert queue.one()["MessageId"] == queue.one(VisibilityTimeout=30)["MessageId"]
    assert queue.receive() == []


def test_no_timeout_at_all(queue: Queue) -> None:
    queue.send("x")
    assert len({queue.one(VisibilityTimeout=0)["ReceiptHandle"] for _ in range(3)}) == 3
    queue.wait_counts(1, 0, 0)


def test_ending_a_lease(queue: Queue) -> None:
    queue.send("x")
    message = queue.one()
    queue.wait_counts(0, 1, 0)
    queue.show(message, 0)
    assert queue.one()["MessageId"] == message["MessageId"]


def test_extending_a_lease(queue: Queue) -> None:
    queue.send("x")
    message = queue.one(VisibilityTimeout=1)
    queue.show(message, 30)
    assert queue.receive(1, 2) == []
    queue.delete(message)
    queue.wait_counts(0, 0, 0)


def test_shortening_a_lease(queue: Queue) -> None:
    queue.send("x")
    message = queue.one(VisibilityTimeout=600)
    queue.show(message, 1)
    assert queue.one()["MessageId"] == message["MessageId"]


def test_changing_many_leases(queue: Queue) -> None:
    queue.send("a", "b", "c")
    messages = queue.take(3)
    entries = [{"Id": str(number), "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": 0} for number, message in enumerate(messages)]
    answer = queue.sqs.change_message_visibility_batch(QueueUrl=queue.url, Entries=entries)
    assert [each["Id"] for each in answer["Successful"]] == ["0", "1", "2"]
    assert sorted(bodies(queue.take(3))) == ["a", "b", "c"]


def test_deleting_twice(queue: Queue) -> None:
    queue.send("x")
    message = queue.one()
    for _ in range(3):
        queue.delete(message)
    queue.wait_counts(0, 0, 0)


def test_deleting_after_the_timeout(queue: Queue) -> None:
    """As long as nobody else has got it, the handle is the latest."""
    queue.send("x")
    message = queue.one(VisibilityTimeout=1)
    queue.wait_counts(1, 0, 0)
    queue.delete(message)
    queue.wait_counts(0, 0, 0)


def test_the_latest_handle_deletes(queue: Queue) -> None:
    queue.send("x")
    queue.one(VisibilityTimeout=0)
    queue.delete(queue.one())
    queue.wait_counts(0, 0, 0)


@pytest.mark.usefixtures("as_documented")
def test_an_older_handle_does_not_end_another_s_lease(queue: Queue) -> None:
    """Deleting with a handle that is not the latest is answered with success, and the message stays, as the API reference has it."""
    queue.send("x")
    old = queue.one(VisibilityTimeout=0)
    new = queue.one()
    queue.delete(old)
    queue.show(new, 0)
    assert queue.one()["MessageId"] == new["MessageId"]


def test_handles_that_are_none(queue: Queue) -> None:
    queue.send("x")
    for handle in ("garbage", "AQEB" + "x" * 300, "0" * 200):
        for call in (queue.delete, lambda message: queue.show(message, 1)):
            with pytest.raises(queue.sqs.exceptions.ReceiptHandleIsInvalid):
                call({"ReceiptHandle": handle})


@pytest.mark.usefixtures("as_documented")
def test_another_queue_s_handle(sqs: Any, queues: Queues) -> None:
    one, other = queues(sqs), queues(sqs)
    one.send("x")
    other.send("y")
    theirs = other.one()
    own = one.one()
    for call in (lambda: one.delete(theirs), lambda: one.show(theirs, 0)):
        with pytest.raises(sqs.exceptions.ReceiptHandleIsInvalid):
            call()
    one.show(own, 0)
    assert bodies([one.one()]) == ["x"]
    other.show(theirs, 0)
    assert bodies([other.one()]) == ["y"]


@pytest.mark.usefixtures("as_documented")
def test_a_handle_of_a_queue_that_was_made_again(sqs: Any, queues: Queues) -> None:
    queue = queues(sqs)
    queue.send("x")
    old = queue.one()
    sqs.delete_queue(QueueUrl=queue.url)
    assert sqs.create_queue(QueueName=queue.name)["QueueUrl"] == queue.url
    queue.send("y")
    with pytest.raises(sqs.exceptions.ReceiptHandleIsInvalid):
        queue.delete(old)
    assert bodies([queue.one()]) == ["y"]


def test_a_new_timeout_for_what_is_deleted(queue: Queue) -> None:
    queue.send("x")
    message = queue.one()
    queue.delete(message)
    with refused(BAD_VALUE, "does not exist"):
        queue.show(message, 10)


def test_counts(queue: Queue) -> None:
    queue.send("a", "b", "c", "d")
    queue.send("late", DelaySeconds=900)
    queue.wait_counts(4, 0, 1)
    messages = queue.take(2)
    queue.wait_counts(2, 2, 1)
    queue.delete(messages[0])
    queue.wait_counts(2, 1, 1)
    queue.show(messages[1], 0)
    queue.wait_counts(3, 0, 1)


def test_a_long_poll_is_answered_at_once(queue: Queue) -> None:
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(queue.receive, 1, 20)
        begun = time.monotonic()
        queue.send("x")
        assert bodies(waiting.result(DEADLINE_S)) == ["x"]
        assert time.monotonic() - begun < 15, "the poll was answered by its end and not by the message"


def test_a_long_poll_that_gets_nothing_waits(queue: Queue) -> None:
    begun = time.monotonic()
    assert queue.receive(1, 1) == []
    assert time.monotonic() - begun >= 1


def test_the_queue_s_own_waiting_time(sqs: Any, queues: Queues) -> None:
    queue = queues(sqs, ReceiveMessageWaitTimeSeconds=1)
    begun = time.monotonic()
    assert not sqs.receive_message(QueueUrl=queue.url).get("Messages")
    assert time.monotonic() - begun >= 1
    begun = time.monotonic()
    assert queue.receive(1, 0) == []
    assert time.monotonic() - begun < 15


def test_a_long_poll_does_not_wait_for_more(queue: Queue) -> None:
    queue.send("x")
    begun = time.monotonic()
    assert len(queue.receive(10, 20)) == 1
    assert time.monotonic() - begun < 15


def test_many_long_polls_share_what_comes(queue: Queue) -> None:
    """Each message wakes one of them, and none comes twice."""
    with ThreadPoolExecutor(20) as pool:
        waiting = [pool.submit(queue.receive, 1, 20) for _ in range(20)]
        queue.send_batch(*({"MessageBody": str(number)} for number in range(10)))
        queue.send_batch(*({"MessageBody": str(number)} for number in range(10, 20)))
        got = [message for each in waiting for message in each.result(DEADLINE_S + 5)]
    assert sorted(bodies(got), key=int) == [str(number) for number in range(20)]


def test_a_long_poll_is_woken_by_a_lease_that_ends(queue: Queue) -> None:
    queue.send("x")
    message = queue.one()
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(queue.receive, 1, 20)
        queue.show(message, 0)
        assert [each["MessageId"] for each in waiting.result(DEADLINE_S)] == [message["MessageId"]]


@pytest.mark.usefixtures("as_documented")
def test_a_poll_that_is_given_up_takes_nothing(sqs: Any, queue: Queue, endpoint: str) -> None:
    """A client that closes its connection while it waits does not get the message that comes then."""
    for _ in range(5):
        hang_up_on_poll(endpoint, queue.url)
    queue.send("x")
    assert bodies([queue.one()]) == ["x"]


def test_a_delay(queue: Queue) -> None:
    begun = time.monotonic()
    queue.send("x", DelaySeconds=1)
    assert queue.receive() == []
    queue.wait_counts(0, 0, 1)
    assert bodies([queue.one()]) == ["x"]
    assert time.monotonic() - begun >= 1


def test_the_queue_s_own_delay(sqs: Any, queues: Queues) -> None:
    queue = queues(sqs, DelaySeconds=1)
    queue.send("late")
    queue.send("now", DelaySeconds=0)
    assert bodies([queue.one()]) == ["now"]
    assert bodies([queue.one()]) == ["late"]


def test_changing_the_queue_s_delay_does_not_move_what_is_there(sqs: Any, queues: Queues) -> None:
    """Of a standard queue the new delay is for new messages."""
    queue = queues(sqs, DelaySeconds=900)
    queue.send("old")
    queue.set(DelaySeconds=0)
    queue.send("new")
    assert bodies([queue.one()]) == ["new"]
    assert queue.receive() == []
    queue.wait_counts(0, 1, 1)


def test_delays_in_a_batch(queue: Queue) -> None:
    queue.send_batch({"MessageBody": "two", "DelaySeconds": 2}, {"MessageBody": "now"}, {"MessageBody": "one", "DelaySeconds": 1})
    assert bodies(queue.take(1) + queue.take(1) + queue.take(1)) == ["now", "one", "two"]


@pytest.mark.long
def test_retention(sqs: Any, queues: Queues) -> None:
    """The shortest that there is: a minute."""
    queue = queues(sqs, MessageRetentionPeriod=60)
    queue.send("old")
    give_up = time.monotonic() + 90
    while queue.counts() != (0, 0, 0):
        assert time.monotonic() < give_up, "it is kept for longer than a minute"
        threading.Event().wait(1)
    assert queue.receive() == []


def test_consumers_share_a_queue(queue: Queue) -> None:
    """Every message once, whoever takes it, while they are hidden long enough."""
    for first in range(0, 200, 10):
        queue.send_batch(*({"MessageBody": str(number)} for number in range(first, first + 10)))
    taken: list[str] = []

    def work() -> None:
        while messages := queue.receive(10, 1):
            taken.extend(bodies(messages))
            queue.delete_batch(messages)

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken, key=int) == [str(number) for number in range(200)]
    queue.wait_counts(0, 0, 0)
