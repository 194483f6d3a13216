"""The end of a connection, heart-beats, and turns."""

from __future__ import annotations

import random

import pytest
from stomp_bench import Client, complete, known_queue
from stomp_wire import frame, send

from entrepot.broker.calls.port import DONE
from entrepot.protocols.stomp.handshake import Settings


@pytest.fixture
def client() -> Client:
    return Client().connect()


@pytest.fixture
def known() -> Client:
    return known_queue()


# ---- DISCONNECT, and the end


def test_disconnect_waits_for_what_is_on_its_way(known: Client) -> None:
    known.send(send("/queue/q", b"1", "receipt:1"), frame("DISCONNECT", "receipt:bye"), send("/queue/q", b"ignored"))
    assert known.hear() == []
    assert not known.session.closing
    complete(known.door.publishes[0])
    assert known.said() == [("RECEIPT", "1"), ("RECEIPT", "bye")]
    assert known.session.closing
    assert known.door.closed
    assert len(known.door.publishes) == 1


def test_disconnect_without_a_receipt(client: Client) -> None:
    client.send(frame("DISCONNECT"))
    assert client.hear() == []
    assert client.session.closing


def test_after_an_error_nothing_is_looked_at_and_the_end_comes_soon(client: Client) -> None:
    client.send(frame("NONSENSE"), send("/queue/q", b"1"))
    assert client.said() == [("ERROR", "unknown command")]
    client.send(send("/queue/q", b"1"))
    assert client.door.publishes == []
    assert not client.session.closing
    client.session.deadline_reached(5.0)
    assert client.session.closing


def test_the_broker_stops(client: Client) -> None:
    client.session.shut_down("it stops")
    assert client.said() == [("ERROR", "connection closed")]
    assert client.session.closing


def test_lost(known: Client) -> None:
    known.send(send("/queue/q", b"1", "receipt:1"))
    call = known.door.publishes[0]
    known.session.lost("gone")
    assert known.door.closed
    complete(call)
    assert known.octets() == b""


# ---- heart-beats


def beating(header: str, ms: int = 10_000) -> Client:
    client = Client(settings=Settings(heart_beat_ms=ms))
    client.send(frame("CONNECT", "accept-version:1.2", f"heart-beat:{header}"))
    client.octets()
    return client


def test_the_broker_beats_as_often_as_the_client_wants() -> None:
    client = beating("0,1000")
    client.session.spoke = False
    now = 50.0
    client.session.deadline_reached(now)
    silent = 0.0
    for _ in range(200):
        now += 0.25
        if now >= client.session.next_deadline:
            client.session.deadline_reached(now)
        silent = 0.0 if client.octets() == b"\n" else silent + 0.25
        assert silent < 1.0


def test_a_client_that_falls_silent_is_given_up() -> None:
    client = beating("1000,0", ms=1000)
    session = client.session
    session.deadline_reached(10.0)
    for tenths in range(1, 50):
        session.deadline_reached(10.0 + tenths / 2)
        client.send(b"\n")
    assert not session.closing
    session.deadline_reached(35.0)
    session.deadline_reached(36.9)
    assert not session.closing
    session.deadline_reached(37.1)
    assert session.closing


def test_a_client_that_is_not_read_from_is_not_silent() -> None:
    client = beating("1000,0", ms=1000)
    client.session.throttle(True, "")
    for seconds in range(20):
        client.session.deadline_reached(10.0 + seconds)
    assert not client.session.closing


@pytest.mark.parametrize("header", ["1", "a,b", "-1,0", "1,2,3", ""])
def test_a_heart_beat_that_is_none(header: str) -> None:
    client = Client()
    client.send(frame("CONNECT", "accept-version:1.2", f"heart-beat:{header}"))
    assert client.said() == [("ERROR", "malformed header")]


# ---- turns


def test_many_frames_take_turns() -> None:
    client = Client().connect()
    client.session.turns.left = 0
    client.session.get_buffer(-1)
    client.send(*(frame("BEGIN", f"transaction:{number}", f"receipt:{number}") for number in range(90)))
    assert [what for _, what in client.said()] == [str(number) for number in range(90)]
    assert not client.session.paused


def test_in_any_order_of_answers_every_receipt_comes_once() -> None:
    for seed in range(30):
        dice = random.Random(seed)
        client = Client().connect()
        wanted = []
        for number in range(30):
            kind = dice.randrange(4)
            destination = dice.choice(("/queue/a", "/queue/b", "/topic/t"))
            if kind < 3:
                client.send(send(destination, b"x", f"receipt:{number}"))
            else:
                client.send(frame("BEGIN", f"transaction:{number}", f"receipt:{number}"))
            wanted.append(str(number))
            if dice.random() < 0.3 and client.door.pending:
                complete(dice.choice(client.door.pending))
        while client.door.pending:
            complete(dice.choice(client.door.pending))
        assert sorted(what for command, what in client.said() if command == "RECEIPT") == sorted(wanted)
        assert all(call.outcome == DONE for call in client.door.publishes)
