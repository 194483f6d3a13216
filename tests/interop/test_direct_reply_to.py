"""Requests and answers over amq.rabbitmq.reply-to, RabbitMQ's queue that is none (pika)."""

from __future__ import annotations

from typing import Any

import pytest
from harness import Inbox, publish, refused
from pika.exceptions import UnroutableError

REPLY_TO = "amq.rabbitmq.reply-to"


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
    with pytest.raises(UnroutableError):
        channel.basic_publish("", properties.reply_to, b"to nobody", mandatory=True)


def test_declaring_asks_whether_the_asker_is_there(channel: Any) -> None:
    assert channel.queue_declare(REPLY_TO, passive=True).method.queue == REPLY_TO


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
