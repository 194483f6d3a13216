"""Direct reply-to as the session sees it: what it asks of the port, and what becomes of requests."""

import pytest
from amqp_wire import publish, record, route
from pika.spec import BasicProperties
from session_bench import Client, complete, frame, refuse

from entrepot.broker.calls import requests as r
from entrepot.model.errors import Reason

NAME = "amq.rabbitmq.reply-to"
QUEUE = f"{NAME}.token"
KEY = route(b"", b"service")


def asking(reply_to):
    return b"".join(BasicProperties(reply_to=reply_to).encode())


def refusal(text, method):
    arguments = {"reply_code": 406, "reply_text": f"PRECONDITION_FAILED - {text}", "class_id": 60, "method_id": method}
    return 1, "channel.close", arguments


@pytest.fixture
def client():
    return Client().open().open_channel()


@pytest.fixture
def consumer(client):
    client.say("basic.consume", queue=NAME, consumer_tag="replies", no_ack=True)
    complete(client.door.pending[0], (7, QUEUE))
    assert client.hear() == [(1, "basic.consume_ok", {"consumer_tag": "replies"})]
    return client


def test_declaring_is_answered_without_asking(client):
    declared = (1, "queue.declare_ok", {"queue": NAME, "message_count": 0, "consumer_count": 1})
    assert client.say("queue.declare", queue=NAME) == [declared]
    assert client.say("queue.declare", queue=NAME, nowait=True) == []
    assert client.door.requests == []


def test_requests_name_the_queue(consumer):
    consumer.send(publish(1, KEY, b"ask", asking(NAME)), publish(1, KEY, b"other", asking("elsewhere")))
    published = b"".join(call.data for call in consumer.door.publishes)
    assert published == record(asking(QUEUE), b"ask") + record(asking("elsewhere"), b"other")
    assert isinstance(consumer.door.asked[0].request, r.ConsumeReplies)


def test_requests_wait_for_the_queue(client):
    client.send(frame("basic.consume", queue=NAME, no_ack=True), publish(1, KEY, b"ask", asking(NAME)))
    assert client.door.publishes == []
    complete(client.door.pending[0], (7, QUEUE))
    assert client.door.publishes[0].data == record(asking(QUEUE), b"ask")


def test_nobody_to_answer(client):
    client.send(publish(1, KEY, b"ask", asking(NAME)))
    assert client.hear() == [refusal("fast reply consumer does not exist", 40)]
    assert client.door.publishes == []


@pytest.mark.parametrize("how", ["cancel", "cancelled"])
def test_no_longer(consumer, how):
    subscriber = consumer.door.asked[0].request.token
    if how == "cancel":
        consumer.door.answer = complete
        consumer.say("basic.cancel", consumer_tag="replies")
        assert consumer.door.requests[1:] == [r.Cancel(7)]
    else:
        consumer.session.cancelled(subscriber)
    consumer.hear()
    consumer.send(publish(1, KEY, b"ask", asking(NAME)))
    assert consumer.hear() == [refusal("fast reply consumer does not exist", 40)]


def test_only_without_acknowledgements(client):
    assert client.say("basic.consume", queue=NAME) == [refusal("reply consumer cannot acknowledge", 20)]


def test_only_one_a_channel(consumer):
    said = consumer.say("basic.consume", queue=NAME, no_ack=True, consumer_tag="more")
    assert said == [refusal("reply consumer already set", 20)]


def test_a_refused_settlement_ends_the_connection(client):
    """A stream's records can only be acknowledged."""
    client.say("basic.consume", queue="q", consumer_tag="t")
    call = client.door.asked[0]
    complete(call, 3)
    client.hear()
    channel = client.session.channels[1]
    channel.delivered(3, 0, 1)
    client.send(frame("basic.nack", delivery_tag=1))
    refuse(client.door.asked[-1], Reason.NOT_SUPPORTED, "basic.nack not supported")
    ((number, name, arguments),) = client.hear()
    assert (number, name, arguments["reply_code"], arguments["reply_text"]) == (0, "connection.close", 540, "NOT_IMPLEMENTED - basic.nack not supported")


def test_an_answer_comes_before_the_cancellation_that_it_brings(client):
    """A client deletes the queue that its own channel consumes from."""
    for tag in ("a", "b"):
        client.say("basic.consume", queue="q", consumer_tag=tag)
        complete(client.door.pending[0], 3)
    client.hear()
    client.say("queue.delete", queue="q")
    for call in client.door.asked[:2]:
        client.session.cancelled(call.request.token)
    assert client.hear() == []
    complete(client.door.pending[0], 0)
    assert [(name, arguments.get("consumer_tag")) for _, name, arguments in client.hear()] == [
        ("queue.delete_ok", None),
        ("basic.cancel", "a"),
        ("basic.cancel", "b"),
    ]
