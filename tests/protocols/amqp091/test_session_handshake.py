"""From the protocol header to connection.open-ok, its ways to fail, and the ends of a connection."""

import pytest
from amqp_wire import publish, route
from session_bench import HEADER, Client, closing, frame

from entrepot.model.errors import Reason, Refused
from entrepot.protocols.amqp091 import states
from entrepot.protocols.amqp091.handshake import CLOSE_TIMEOUT_S, IDLE_S, Settings


@pytest.fixture
def client():
    return Client()


def silent_end(client):
    """Nothing more is said, and the connection ends."""
    return client.octets() == b"" and client.session.closing and client.session.state == states.CLOSED


def left_to_the_client(client):
    """The client began to close and ends the stream itself: it is read until then, or for a while."""
    session = client.session
    assert session.state == states.CLOSED
    assert not session.closing
    assert not session.paused
    session.deadline_reached(500.0)
    assert session.next_deadline == 500.0 + CLOSE_TIMEOUT_S
    assert not session.closing
    session.deadline_reached(500.0 + CLOSE_TIMEOUT_S)
    return silent_end(client)


def test_a_good_one(client):
    (start,) = client.greet()
    assert start[1] == "connection.start"
    assert start[2]["mechanisms"].split() == ["PLAIN", "AMQPLAIN"]
    assert start[2]["server_properties"]["capabilities"]["basic.nack"] is True
    (tune,) = client.say("connection.start_ok", 0)
    assert tune == (0, "connection.tune", {"channel_max": 2047, "frame_max": 131072, "heartbeat": 60})
    assert client.say("connection.tune_ok", 0, frame_max=8192, channel_max=10, heartbeat=7) == []
    assert [said[1] for said in client.say("connection.open", 0)] == ["connection.open_ok"]
    session = client.session
    assert (session.frame_max, session.channel_max, session.heartbeat_s) == (8192, 10, 7)
    assert session.state == states.OPEN
    assert client.door.namespace == "public/default"
    assert client.notes == []


def test_in_one_piece(client):
    client.open()
    assert client.session.state == states.OPEN


def test_amqplain(client):
    table = b"\x05LOGINS\x00\x00\x00\x05guest\x08PASSWORDS\x00\x00\x00\x05guest"
    client.open(mechanism="AMQPLAIN", response=table)
    assert client.authenticator.asked == [("guest", "guest")]


@pytest.mark.parametrize(
    "header",
    [b"AMQP\x01\x01\x08\x00", b"AMQP\x01\x01\x00\x09", b"AMQP\x00\x00\x08\x00", b"AMQP\x00\x01\x00\x00", b"GET / HT", b"\x16\x03\x01\x02\x00\x01\x00\x01"],
)
def test_another_protocol_is_told_ours(client, header):
    client.send(header)
    assert client.octets() == HEADER
    assert client.session.closing
    client.send(HEADER)  # not looked at any more
    assert client.octets() == b""


@pytest.mark.parametrize(
    "bad",
    [
        {"mechanism": "EXTERNAL"},
        {"mechanism": ""},
        {"response": b"guest"},
        {"response": b"\0a\0b\0c"},
        {"mechanism": "AMQPLAIN", "response": b"\xff"},
        {"mechanism": "AMQPLAIN", "response": b"\x05LOGINS\x00\x00\xff\x05guest"},
    ],
)
def test_what_is_no_login_ends_the_connection(client, bad):
    client.greet()
    client.send(frame("connection.start_ok", 0, **bad))
    assert silent_end(client)
    assert len(client.notes) == 1
    assert client.notes[0].startswith("peer: connection closed: ")
    assert client.authenticator.asked == []


def test_an_amqplain_without_its_entries_is_a_failed_login(client):
    client.greet()
    client.send(frame("connection.start_ok", 0, mechanism="AMQPLAIN", response=b"\x05LOGINI\x00\x00\x00\x05"))
    assert client.authenticator.asked == [("", "")]
    assert client.session.closing


@pytest.mark.parametrize("capable", [True, False])
def test_a_wrong_password(client, capable):
    client.greet()
    properties = {"capabilities": {"authentication_failure_close": True}} if capable else {"capabilities": 5}
    said = client.say("connection.start_ok", 0, response=b"\0guest\0wrong", client_properties=properties)
    if capable:
        assert closing(said) == ("connection.close", 403, (0, 0))
    else:
        assert said == []
    assert client.session.closing
    assert client.notes == ["peer: login of 'guest' refused (PLAIN)"]


def test_while_credentials_are_checked_nothing_is_read_and_what_came_waits(client):
    client.authenticator.held = []
    client.send(HEADER, frame("connection.start_ok", 0), frame("connection.tune_ok", 0), frame("connection.open", 0))
    assert client.names() == ["connection.start"]
    assert client.session.paused
    client.authenticator.held.pop()()
    assert not client.session.paused
    assert client.names() == ["connection.tune", "connection.open_ok"]


def test_lost_while_credentials_are_checked(client):
    client.authenticator.held = []
    client.send(HEADER, frame("connection.start_ok", 0))
    client.octets()
    client.session.lost("gone")
    client.authenticator.held.pop()()
    assert client.octets() == b""
    assert client.port.doors == []


@pytest.mark.parametrize(("channel_max", "frame_max", "expected"), [(0, 0, (2047, 131072)), (0, 4096, (2047, 4096)), (1, 131072, (1, 131072))])
def test_what_tune_ok_may_say(client, channel_max, frame_max, expected):
    client.send(HEADER, frame("connection.start_ok", 0), frame("connection.tune_ok", 0, channel_max=channel_max, frame_max=frame_max))
    assert (client.session.channel_max, client.session.frame_max) == expected
    assert client.session.state == states.TUNED


@pytest.mark.parametrize("bad", [{"frame_max": 4095}, {"frame_max": 131073}, {"frame_max": 0xFFFFFFFF}, {"channel_max": 2048}])
def test_what_tune_ok_may_not_say(client, bad):
    client.send(HEADER, frame("connection.start_ok", 0))
    client.hear()
    assert closing(client.say("connection.tune_ok", 0, **bad)) == ("connection.close", 530, (10, 31))


@pytest.mark.parametrize(
    ("refusal", "text"),
    [
        (Refused(Reason.NOT_FOUND, "x"), "NOT_ALLOWED - vhost nope not found"),
        (Refused(Reason.NOT_PERMITTED, "x"), "NOT_ALLOWED - access to vhost 'nope' refused for user 'guest'"),
        (Refused(Reason.INVALID, "x"), "NOT_ALLOWED - access to vhost 'nope' refused for user 'guest'"),
    ],
)
def test_a_virtual_host_that_is_not_to_be_had(client, refusal, text):
    client.port.refusal = refusal
    client.send(HEADER, frame("connection.start_ok", 0), frame("connection.tune_ok", 0), frame("connection.open", 0, virtual_host="nope"))
    said = client.hear()
    assert closing(said) == ("connection.close", 530, (10, 40))
    assert said[-1][2]["reply_text"] == text


BEFORE = {
    states.STARTED: [HEADER],
    states.TUNING: [HEADER, frame("connection.start_ok", 0)],
    states.TUNED: [HEADER, frame("connection.start_ok", 0), frame("connection.tune_ok", 0)],
}
OUT_OF_TURN = [
    frame("channel.open"),
    frame("queue.declare"),
    frame("connection.start_ok", 0),
    frame("connection.tune_ok", 0),
    frame("connection.open", 0),
    frame("connection.close_ok", 0),
    frame("connection.open_ok", 0),
    frame("channel.open", 0),
    publish(1, route(b"", b"q"), b"body"),
    frame("basic.ack"),
    b"\x01\x00\x00\x00\x00\x00\x04\x00\x0a\x03\xe7\xce",  # unknown method 10.999
    b"\x01\x00\x00\x00\x00\x00\x00\xce",
    b"\x07\x00\x00\x00\x00\x00\x00\xce",
]
EXPECTED = {states.STARTED: 2, states.TUNING: 3, states.TUNED: 4}


@pytest.mark.parametrize("state", BEFORE)
@pytest.mark.parametrize("octets", range(len(OUT_OF_TURN)))
def test_out_of_turn(state, octets):
    if octets == EXPECTED[state]:
        return
    client = Client()
    client.send(*BEFORE[state])
    client.hear()
    assert client.session.state == state
    client.send(OUT_OF_TURN[octets])
    said = client.hear()
    assert client.session.state in (states.CLOSING, states.CLOSED)
    assert len(client.notes) == 1
    if state == states.STARTED:
        assert said == []
        assert client.session.closing
    else:
        assert closing(said)[0] == "connection.close"
    assert client.port.doors == []


@pytest.mark.parametrize("state", BEFORE)
def test_a_client_may_take_its_leave_early(state):
    client = Client()
    client.send(*BEFORE[state])
    client.hear()
    assert [said[1] for said in client.say("connection.close", 0)] == ["connection.close_ok"]
    assert left_to_the_client(client)


@pytest.mark.parametrize("state", [states.HEADER, *BEFORE, states.OPEN, states.CLOSING])
def test_lost_in_every_state(client, state):
    if state in BEFORE:
        client.send(*BEFORE[state])
    elif state != states.HEADER:
        client.open().open_channel()
        if state == states.CLOSING:
            client.send(frame("channel.open"))
    client.octets()
    assert client.session.state == state
    client.session.lost("reset")
    client.session.lost("twice does no harm")
    assert client.session.state == states.CLOSED
    assert all(door.closed for door in client.port.doors)
    client.send(frame("channel.open", 3))
    assert client.octets() == b""


@pytest.mark.parametrize("state", [states.HEADER, *BEFORE, states.OPEN])
def test_shut_down_in_every_state(client, state):
    if state in BEFORE:
        client.send(*BEFORE[state])
    elif state != states.HEADER:
        client.open().open_channel()
    client.octets()
    client.session.shut_down("stopping")
    if state < states.TUNED:
        assert silent_end(client)
        return
    said = client.hear()
    assert closing(said) == ("connection.close", 320, (0, 0))
    assert said[-1][2]["reply_text"] == "CONNECTION_FORCED - broker forced connection closure with reason 'stopping'"
    assert not client.session.closing
    assert all(door.closed for door in client.port.doors)
    client.session.shut_down("again")
    assert client.say("connection.close_ok", 0) == []
    assert client.session.closing


class TestAtTheEnd:
    def test_the_client_closes(self, client):
        client.open().open_channel()
        assert [said[1] for said in client.say("connection.close", 0)] == ["connection.close_ok"]
        assert client.door.closed
        client.send(frame("channel.open", 2), frame("connection.close", 0))
        assert client.octets() == b""
        assert left_to_the_client(client)

    def test_the_client_closes_while_the_broker_stops(self, client):
        client.open()
        assert [said[1] for said in client.say("connection.close", 0)] == ["connection.close_ok"]
        client.session.shut_down("stopping")
        assert silent_end(client)

    def test_the_client_closes_while_nothing_is_read(self, client):
        client.open().open_channel()
        client.session.throttle(True, "")
        client.send(frame("connection.close", 0))
        client.octets()
        assert left_to_the_client(client)

    def test_after_our_close_only_its_answer_matters(self, client):
        client.open().open_channel()
        assert closing(client.say("channel.open")) == ("connection.close", 504, (20, 10))
        assert client.door.closed
        client.send(publish(1, route(b"", b"q"), b"x"), frame("queue.declare"), frame("channel.close"), frame("basic.ack"))
        assert client.octets() == b""
        assert client.door.publishes == []
        assert not client.session.closing
        client.send(frame("connection.close_ok", 0))
        assert client.session.closing

    def test_both_close_at_once(self, client):
        client.open().open_channel()
        client.say("channel.open")
        assert [said[1] for said in client.say("connection.close", 0)] == ["connection.close_ok"]
        assert not client.session.closing
        client.send(frame("connection.close_ok", 0))
        assert silent_end(client)

    def test_rubbish_instead_of_the_answer_ends_it(self, client):
        client.open().open_channel()
        client.say("channel.open")
        client.send(b"\x01\x00\x00\x00\x00\x00\x04\x00\x0a\x00\x33\x00")
        assert client.session.closing
        client.send(b"more")
        assert client.octets() == b""

    def test_bytes_that_cannot_be_framed_end_it_after_the_reason(self, client):
        client.open()
        client.send(b"\x07\x00\x00\x00\x00\x00\x00\xce")
        assert closing(client.hear())[:2] == ("connection.close", 501)
        assert client.session.closing  # nothing behind it can be read
        client.send(b"more")
        assert client.octets() == b""

    def test_a_peer_that_does_not_answer_is_not_waited_for_long(self, client):
        client.open()
        client.session.deadline_reached(100.0)
        client.send(frame("channel.open", 0))
        client.session.deadline_reached(200.0)
        assert client.session.next_deadline == 200.0 + CLOSE_TIMEOUT_S
        assert not client.session.closing
        client.session.deadline_reached(210.5)
        assert client.session.closing

    def test_an_unanswered_call_of_a_closed_connection_is_nothing(self, client):
        client.open().open_channel()
        client.send(frame("queue.declare"))
        client.send(frame("channel.open", 0))
        client.octets()
        (call,) = client.door.pending
        call.outcome = 1
        call.result = ("q", 0, 0)
        client.session.completed(call)
        assert client.octets() == b""


class TestTime:
    def test_a_handshake_has_its_time(self):
        client = Client(Settings(handshake_timeout_s=5.0))
        client.session.deadline_reached(50.0)
        assert client.session.next_deadline == 55.0
        client.send(HEADER)
        client.octets()
        client.session.deadline_reached(55.0)
        assert silent_end(client)
        assert client.notes == ["peer: handshake not finished in 5 s; connection closed"]

    def test_heartbeats_go_out_when_nothing_else_does(self, client):
        client.open(heartbeat=10)
        session = client.session
        session.deadline_reached(100.0)
        assert session.next_deadline == 105.0
        assert client.octets() == b""  # open-ok went out just now
        session.deadline_reached(105.0)
        assert client.names() == ["heartbeat"]

    def test_a_silent_peer_is_given_up_after_two_intervals(self, client):
        client.open(heartbeat=10)
        now = 100.0
        client.session.deadline_reached(now)
        for _ in range(3):
            now += 5
            client.session.deadline_reached(now)
            assert not client.session.closing
        client.session.deadline_reached(now + 5)
        assert client.session.closing
        assert client.door.closed
        assert client.notes == ["peer (user 'guest', virtual host '/'): missed heartbeats from client, timeout: 10s; connection closed"]

    def test_any_byte_is_a_sign_of_life(self, client):
        client.open(heartbeat=10)
        for tick in range(20):
            client.session.deadline_reached(100.0 + tick * 5)
            if tick % 2:
                client.send(b"\x08\x00\x00\x00\x00\x00\x00\xce"[tick // 2 % 8 : tick // 2 % 8 + 1])
        assert not client.session.closing

    def test_a_peer_that_we_do_not_read_is_not_given_up(self, client):
        client.open(heartbeat=10)
        client.session.throttle(True, "")
        for tick in range(20):
            client.session.deadline_reached(100.0 + tick * 5)
        assert not client.session.closing

    def test_without_heartbeats_nothing_is_sent_and_nobody_given_up(self, client):
        client.open(heartbeat=0)
        client.octets()
        for tick in range(10):
            client.session.deadline_reached(100.0 + tick * 100)
            assert client.session.next_deadline == 100.0 + tick * 100 + IDLE_S
        assert client.octets() == b""
        assert not client.session.closing

    @pytest.mark.parametrize("heartbeat", [0, 10])
    def test_an_idle_connection_gives_its_buffers_back(self, client, heartbeat):
        client.open(heartbeat=heartbeat).open_channel()
        token = client.consume()
        for _ in range(4):
            client.send(publish(1, route(b"", b"q"), bytes(100_000)) * 3)
            client.deliver(token, 0, [bytes(15_000)] * 6)
            client.octets()
        assert client.session.decoder.buffer_bytes > 100_000
        assert client.session.output.buffer_bytes > 50_000
        client.session.deadline_reached(100.0)
        assert client.session.decoder.buffer_bytes < 10_000
        assert client.session.output.buffer_bytes == 0
        client.send(publish(1, route(b"", b"q"), bytes(100_000)))
        assert client.door.publishes[-1].body_bytes == 100_000

    def test_half_a_frame_survives_that(self, client):
        client.open().open_channel()
        octets = publish(1, route(b"", b"q"), bytes(range(256)) * 300)
        client.send(octets[:50_000])
        client.session.deadline_reached(100.0)
        client.send(octets[50_000:])
        assert client.door.publishes[-1].data.endswith(bytes(range(256)) * 300)
