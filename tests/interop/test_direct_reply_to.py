"""Requests and answers over amq.rabbitmq.reply-to, RabbitMQ's queue that is none (pika)."""

from __future__ import annotations

import os
from typing import Any

import pytest
from harness import Inbox, publish, refused, wait_ready, wait_until
from pika.exceptions import UnroutableError

REPLY_TO = "amq.rabbitmq.reply-to"
WORKERS = int(os.environ.get("ENTREPOT_TEST_WORKERS", "1"))


def test_request_and_answer(connect: Any, connection: Any, queue: str) -> None:
    asking = connection.channel()
    answers = Inbox.on(asking, REPLY_TO, auto_ack=True)
    requests = Inbox.on(connect().channel(), queue, auto_ack=True)
    publish(asking, queue, b"ping", reply_to=REPLY_TO, correlation_id="1")
    (request,) = requests.wait(1)
    assert request.properties.reply_to.startswith(f"{REPLY_TO}.")
    publish(requests.channel, request.properties.reply_to, b"pong", correlation_id="1")
    (answer,) = answers.wait(1)
    assert (answer.body, answer.properties.correlation_id, answer.method.exchange) == (b"pong", "1", "")
    assert answer.method.consumer_tag == answers.tag


def test_each_asker_gets_its_own_answers(connect: Any, queue: str) -> None:
    serving = connect().channel()
    requests = Inbox.on(serving, queue, auto_ack=True)
    askers = [connect().channel() for _ in range(3)]
    inboxes = [Inbox.on(asking, REPLY_TO, auto_ack=True) for asking in askers]
    for number, asking in enumerate(askers):
        publish(asking, queue, b"%d" % number, reply_to=REPLY_TO)
    for request in requests.wait(3):
        publish(serving, request.properties.reply_to, b"to " + request.body)
    for number, inbox in enumerate(inboxes):
        inbox.wait(1)
        assert inbox.bodies == [b"to %d" % number]


def test_an_asker_that_has_gone(connect: Any, channel: Any, queue: str) -> None:
    asker = connect()
    asking = asker.channel()
    Inbox.on(asking, REPLY_TO, auto_ack=True)
    asking.confirm_delivery()
    publish(asking, queue, b"ping", reply_to=REPLY_TO)
    _, properties, _ = channel.basic_get(queue, auto_ack=True)
    asker.close()
    publish(channel, properties.reply_to, b"to nobody")  # dropped, and confirmed
    if WORKERS == 1:  # else it may have been another worker's
        with pytest.raises(UnroutableError):
            channel.basic_publish("", properties.reply_to, b"to nobody", mandatory=True)


def test_declaring_asks_whether_the_asker_is_there(channel: Any) -> None:
    assert channel.queue_declare(REPLY_TO, passive=True).method.queue == REPLY_TO


def test_whether_an_asker_is_there_still(connect: Any, queue: str) -> None:
    """Who serves may declare the name it was given, before it does the work."""
    asker, serving = connect(), connect().channel()
    asking = asker.channel()
    inbox = Inbox.on(asking, REPLY_TO, auto_ack=True)
    asking.confirm_delivery()
    publish(asking, queue, b"ping", reply_to=REPLY_TO)
    _, properties, _ = serving.basic_get(queue, auto_ack=True)
    assert serving.queue_declare(properties.reply_to, passive=True).method.consumer_count == 1
    asking.basic_cancel(inbox.tag)
    with refused(404, f"NOT_FOUND - no queue '{properties.reply_to}' in vhost '/'"):
        serving.queue_declare(properties.reply_to)
    with refused(406, "PRECONDITION_FAILED - fast reply consumer does not exist"):
        publish(asking, queue, b"ping", reply_to=REPLY_TO)
        asking.queue_declare(queue, passive=True)


def test_a_mandatory_answer_comes_back_only_if_nobody_gets_it(connect: Any, channel: Any, queue: str) -> None:
    """RabbitMQ 3.10 gives it to the asker, and back; 4.2 asks at no time whether anybody is there."""
    asker = connect()
    asking, near = asker.channel(), asker.channel()
    inbox = Inbox.on(asking, REPLY_TO, auto_ack=True)
    publish(asking, queue, b"ping", reply_to=REPLY_TO)
    wait_ready(channel, queue, 1)
    _, properties, _ = channel.basic_get(queue, auto_ack=True)
    channel.basic_publish("", properties.reply_to, b"pong", mandatory=True)
    inbox.wait(1)
    asking.close()
    near.confirm_delivery()
    with pytest.raises(UnroutableError):  # of another worker's asker it is not known whether he is there: so it goes by a channel beside his
        near.basic_publish("", properties.reply_to, b"pong", mandatory=True)


def test_answers_are_for_the_asker_alone(connect: Any, channel: Any, queue: str) -> None:
    asking = connect().channel()
    Inbox.on(asking, REPLY_TO, auto_ack=True)
    asking.confirm_delivery()
    publish(asking, queue, b"ping", reply_to=REPLY_TO)
    _, properties, _ = channel.basic_get(queue, auto_ack=True)
    for act in (
        lambda channel: channel.basic_consume(properties.reply_to, lambda *_: None),
        lambda channel: channel.basic_get(properties.reply_to),
        lambda channel: channel.queue_purge(properties.reply_to),
        lambda channel: channel.queue_bind(properties.reply_to, "amq.direct", "k"),
    ):
        with refused(404, f"NOT_FOUND - no queue '{properties.reply_to}' in vhost '/'"):
            act(channel.connection.channel())


def test_an_asker_that_does_not_read_loses_what_it_has_no_room_for(connect: Any, channel: Any, queue: str) -> None:
    """Its answers are dropped, nobody else's, and it goes on with what comes later."""
    asker, serving = connect(), connect().channel()
    asking = asker.channel()
    inbox = Inbox.on(asking, REPLY_TO, auto_ack=True)
    publish(asking, queue, b"ping", reply_to=REPLY_TO)
    wait_ready(channel, queue, 1)
    _, properties, _ = channel.basic_get(queue, auto_ack=True)
    serving.confirm_delivery()
    for number in range(200):
        publish(serving, properties.reply_to, b"%03d" % number + b"." * 500_000)  # confirmed, each of them

    def came_later() -> bool:
        publish(serving, properties.reply_to, b"later")  # dropped as well, as long as there is no room
        return b"later" in inbox.bodies

    wait_until(asker, came_later)
    numbers = [int(body[:3]) for body in inbox.bodies if body != b"later"]
    assert numbers == sorted(set(numbers))
    assert numbers[:8] == list(range(8))
    assert len(numbers) < 200


def test_after_the_reply_consumer_another_one(channel: Any, queue: str) -> None:
    names = []
    for _ in range(2):
        inbox = Inbox.on(channel, REPLY_TO, auto_ack=True)
        publish(channel, queue, b"ping", reply_to=REPLY_TO, headers={"a": 1}, message_id="m")
        _, properties, body = channel.basic_get(queue, auto_ack=True)
        assert (properties.headers, properties.message_id, body) == ({"a": 1}, "m", b"ping")
        names.append(properties.reply_to)
        publish(channel, properties.reply_to, b"pong")
        inbox.wait(1)
        channel.basic_cancel(inbox.tag)
    assert names[0] != names[1]


def test_automatic_acknowledgement_only(channel: Any) -> None:
    with refused(406, "PRECONDITION_FAILED - reply consumer cannot acknowledge"):
        channel.basic_consume(REPLY_TO, lambda *_: None)


def test_one_reply_consumer_a_channel(channel: Any) -> None:
    channel.basic_consume(REPLY_TO, lambda *_: None, auto_ack=True)
    with refused(406, "PRECONDITION_FAILED - reply consumer already set"):
        channel.basic_consume(REPLY_TO, lambda *_: None, auto_ack=True)


def test_asking_without_listening(channel: Any, queue: str) -> None:
    with refused(406, "PRECONDITION_FAILED - fast reply consumer does not exist"):
        publish(channel, queue, b"ping", reply_to=REPLY_TO)
