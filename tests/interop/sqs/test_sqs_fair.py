"""Message groups on standard queues: a group that has much in flight does not starve the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqs_endpoint import BAD_VALUE, Queue, refused

Queues = Callable[..., Queue]


def test_a_group_is_told(json_sqs: Any, queues: Queues) -> None:
    queue = queues(json_sqs)
    queue.send("x", MessageGroupId="tenant-1")
    assert queue.one(MessageSystemAttributeNames=["All"])["Attributes"]["MessageGroupId"] == "tenant-1"


@pytest.mark.parametrize("group", ["a b", "x" * 129, "é"])
def test_names_that_no_group_may_have(json_sqs: Any, queues: Queues, group: str) -> None:
    with refused(BAD_VALUE, "MessageGroupId"):
        queues(json_sqs).send("x", MessageGroupId=group)


def test_groups_do_not_exclude(json_sqs: Any, queues: Queues) -> None:
    """Other than in a FIFO queue."""
    queue = queues(json_sqs)
    queue.send("1", "2", MessageGroupId="g")
    assert len(queue.take(1) + queue.take(1)) == 2


@pytest.mark.usefixtures("as_documented")
def test_a_noisy_group_does_not_starve_the_quiet_ones(json_sqs: Any, queues: Queues) -> None:
    """The noisy one's backlog lies before the quiet ones' messages, and much of it is in flight: theirs come first all the same."""
    queue = queues(json_sqs)
    for _ in range(50):
        queue.send_batch(*({"MessageBody": "noisy", "MessageGroupId": "noisy"} for _ in range(10)))
    queue.take(100)
    for group in ("quiet-1", "quiet-2", "quiet-3"):
        queue.send(group, group, MessageGroupId=group)
    got = [message["Body"] for message in queue.take(20)]
    assert sorted(body for body in got if body != "noisy") == ["quiet-1", "quiet-1", "quiet-2", "quiet-2", "quiet-3", "quiet-3"]
    assert {message["Body"] for message in queue.take(386)} == {"noisy"}


@pytest.mark.usefixtures("as_documented")
def test_messages_without_a_group_are_nobody_s_neighbours(json_sqs: Any, queues: Queues) -> None:
    queue = queues(json_sqs)
    for _ in range(20):
        queue.send_batch(*({"MessageBody": "noisy", "MessageGroupId": "noisy"} for _ in range(10)))
    queue.take(100)
    queue.send("alone")
    assert "alone" in [message["Body"] for message in queue.take(10)]
