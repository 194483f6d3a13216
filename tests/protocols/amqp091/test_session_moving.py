"""A session that is packed by one process and goes on in another: what goes along, that nothing is heard twice or lost, and who stays."""

from __future__ import annotations

import pytest
from amqp_wire import publish, route
from session_bench import HEADER, Client, closing, complete, frame

from entrepot.model.errors import Reason, Refused
from entrepot.model.principal import Principal
from entrepot.net.session import Stays
from entrepot.protocols.amqp091 import moving
from entrepot.protocols.amqp091.moving import PUBLISHER_AFTER_S

Q = route(b"", b"q")


class Mover:
    def __init__(self, client):
        self.wishes = []
        moving.let(client.session, lambda process, after_s: self.wishes.append((process, after_s)))


def opened(channels=1, **start):
    client = Client().open(**start)
    client.mover = Mover(client)
    client.door.elsewhere = {"far": "w2"}
    for number in range(1, channels + 1):
        client.open_channel(number)
    return client


def moved(client):
    """A client of the process that goes on."""
    octets = moving.packed(client.session)
    assert octets is not None
    other = Client()
    moving.unpack(other.session, octets)
    return other


def requested(client):
    return [type(request).__name__ for request in client.door.requests]


def test_a_consumer_moves_before_it_consumes():
    client = opened()
    assert client.say("basic.consume", queue="far") == []
    assert client.mover.wishes == [("w2", 0.0)]
    assert moving.begin_leaving(client.session, "w2")
    assert client.session.paused
    other = moved(client)
    assert requested(client) == []
    assert requested(other) == ["Consume"]
    call = other.door.asked[-1]
    assert call.request.queue == "far"
    complete(call, 7)
    assert [said[1] for said in other.hear()] == ["basic.consume_ok"]
    assert not other.session.paused


def test_where_it_does_not_move_it_consumes_here_and_what_came_behind_comes_after():
    client = opened()
    client.send(frame("basic.consume", queue="far"), frame("basic.qos"))
    assert requested(client) == []
    moving.stay(client.session)
    complete(client.door.asked[-1], 7)
    assert client.names() == ["basic.consume_ok", "basic.qos_ok"]
    assert client.session.deferred_count == 0
    assert not client.session.paused


def test_what_came_behind_it_is_not_moved():
    client = opened()
    client.send(frame("basic.consume", queue="far"), frame("basic.qos"))
    assert moving.begin_leaving(client.session, "w2")
    with pytest.raises(Stays):
        moving.packed(client.session)


@pytest.mark.parametrize("queue", ["q", "amq.rabbitmq.reply-to"])
def test_what_is_here_is_consumed_at_once(queue):
    client = opened()
    client.send(frame("basic.consume", queue=queue, no_ack=True))
    assert client.mover.wishes == []
    assert len(client.door.requests) == 1


def test_a_publisher_goes_on_with_its_numbers():
    client = opened().confirming()
    client.send(publish(1, Q, b"a") + publish(1, Q, b"b"))
    client.session.elsewhere("w1")
    assert client.mover.wishes == [("w1", PUBLISHER_AFTER_S)]
    assert moving.begin_leaving(client.session, "w1")
    assert moving.packed(client.session) is None, "the publish is not answered"
    complete(client.door.publishes[0])
    assert client.hear() == [(1, "basic.ack", {"delivery_tag": 2, "multiple": True})]
    other = moved(client)
    other.send(publish(1, Q, b"c"))
    complete(other.door.publishes[0])
    assert other.hear() == [(1, "basic.ack", {"delivery_tag": 3, "multiple": True})]


def test_without_confirms_what_is_on_its_way_is_waited_for():
    client = opened()
    client.send(publish(1, Q, b"a"))
    assert moving.begin_leaving(client.session, "w1")
    client.door.owing = True
    assert moving.packed(client.session) is None
    client.door.owing = False
    assert moving.packed(client.session) is not None


@pytest.mark.parametrize("cut", range(1, 60))
def test_half_a_message_goes_along(cut):
    client = opened()
    octets = publish(1, Q, b"first") + publish(1, Q, b"second")
    size = len(publish(1, Q, b"first"))
    client.send(octets[: size + cut] if size + cut < len(octets) else octets[:-1])
    assert moving.begin_leaving(client.session, "w1")
    other = moved(client)
    other.send(octets[size + cut :] if size + cut < len(octets) else octets[-1:])
    bodies = [call.data for one in (client, other) for call in one.door.publishes]
    assert len(bodies) == 2
    assert bodies[0].endswith(b"first")
    assert bodies[1].endswith(b"second")


def test_a_message_that_was_begun_stays():
    client = opened()
    large = publish(1, Q, bytes(100_000))
    client.send(large[:90_000])
    assert moving.begin_leaving(client.session, "w1")
    with pytest.raises(Stays):
        moving.packed(client.session)
    moving.stay(client.session)
    client.send(large[90_000:])
    assert len(client.door.publishes) == 1


def test_what_was_agreed_on_goes_along():
    client = opened(channels=3, heartbeat=17)
    client.say("basic.qos", 2, prefetch_count=33)
    client.send(frame("queue.declare", 3, queue="mine"))
    complete(client.door.asked[-1], ("mine", 0, 0))
    assert moving.begin_leaving(client.session, "w1")
    other = moved(client)
    session = other.session
    assert session.principal == Principal("guest")
    assert (session.user, session.vhost, other.door.namespace, session.heartbeat_s) == (b"guest", "/", client.door.namespace, 17)
    assert session.client_properties == client.session.client_properties
    assert sorted(session.channels) == [1, 2, 3]
    other.send(frame("basic.consume", 2, queue=""))
    assert closing(other.hear())[:2] == ("channel.close", 404)
    other.send(frame("basic.consume", 3, queue=""))
    assert other.door.requests[-1].queue == "mine"
    assert [said[1] for said in other.say("channel.close", 1)] == ["channel.close_ok"]
    assert other.door.ended_streams


def bound():
    client = opened()
    client.door.bound = True
    return client


def consuming():
    client = opened()
    client.consume()
    return client


def unsettled():
    client = opened()
    token = client.consume(tag="t")
    client.deliver(token, 5, [b"x"])
    client.send(frame("basic.cancel", consumer_tag="t"))
    complete(client.door.asked[-1])
    return client


def in_a_transaction():
    client = opened()
    client.say("tx.select")
    return client


def limited():
    client = opened()
    client.send(frame("basic.qos", prefetch_count=10, global_qos=True))
    complete(client.door.asked[-1])
    return client


def throttled():
    client = opened()
    client.session.throttle(True, "")
    return client


def blocked():
    client = opened()
    client.session.throttle(True, "no room")
    return client


@pytest.mark.parametrize("which", [bound, consuming, unsettled, in_a_transaction, limited, throttled, blocked])
def test_who_has_something_here_stays(which):
    client = which()
    before = client.door.requests
    client.mover.wishes.clear()
    paused = client.session.paused
    assert not moving.begin_leaving(client.session, "w2")
    moving.stay(client.session)
    assert client.session.paused == paused
    client.send(frame("basic.consume", queue="far", consumer_tag="another"))
    assert client.mover.wishes == []
    assert len(client.door.requests) == len(before) + 1


@pytest.mark.parametrize("what", ["queue", "message", "consumer"])
def test_what_it_comes_to_have_here_while_it_is_about_to_go_keeps_it(what):
    client = opened(channels=2)
    if what == "queue":
        client.send(frame("queue.declare", exclusive=True))
    elif what == "message":
        client.send(frame("basic.get", no_ack=False))
    client.session.elsewhere("w2")
    assert moving.begin_leaving(client.session, "w2")
    if what == "consumer":
        client.send(frame("basic.consume", 2, queue="q"))
    else:
        assert moving.packed(client.session) is None, "it is not answered"
    if what == "queue":
        client.door.bound = True
        complete(client.door.asked[-1], ("q", 0, 0))
    elif what == "message":
        delivery, _ = client.deliver(None, 5, [b"x"])
        complete(client.door.asked[-1], (delivery, 0))
    with pytest.raises(Stays):
        moving.packed(client.session)
    moving.stay(client.session)
    assert not client.session.paused


def test_whose_properties_cannot_be_written_stays():
    client = opened()
    client.session.client_properties = {"built": 1 << 63}  # as a timestamp after 9999 is read
    assert moving.begin_leaving(client.session, "w1")
    with pytest.raises(Stays):
        moving.packed(client.session)


def test_the_end_that_comes_meanwhile_is_read_on_after():
    client = opened()
    client.send(frame("basic.consume", queue="far"), frame("connection.close", 0))
    assert [said[1] for said in client.hear()] == ["connection.close_ok"]
    client.session.go_on()
    client.session.paused = True  # as by an answer
    moving.stay(client.session)
    assert not client.session.paused


def test_whose_user_is_gone_is_told():
    client = opened()
    client.session.principal = Principal("gone")
    octets = frame("queue.declare")
    client.send(octets[:9])
    assert moving.begin_leaving(client.session, "w1")
    other = moved(client)
    assert closing(other.hear())[:2] == ("connection.close", 320)
    other.send(octets[9:], frame("connection.close_ok", 0))
    assert other.session.closing
    assert other.port.doors == []


def test_who_is_about_to_be_told_stays():
    client = opened()
    client.session.principal = Principal("going")
    assert moving.begin_leaving(client.session, "w1")
    with pytest.raises(Stays):
        moving.packed(client.session)


def test_whose_namespace_is_gone_does_not_go_on():
    client = opened()
    assert moving.begin_leaving(client.session, "w1")
    other = Client()
    other.port.refusal = Refused(Reason.NOT_FOUND, "no such namespace")
    with pytest.raises(Refused):
        moving.unpack(other.session, moving.packed(client.session))


def test_a_client_that_is_lost_meanwhile_is_not_asked_again():
    client = opened()
    client.send(frame("basic.consume", queue="far"))
    client.session.lost("gone")
    moving.stay(client.session)
    assert requested(client) == []


def test_a_connection_that_is_not_open_has_no_wish():
    client = Client()
    mover = Mover(client)
    client.send(HEADER)
    client.session.elsewhere("w1")
    assert mover.wishes == []
    assert not moving.begin_leaving(client.session, "w1")
