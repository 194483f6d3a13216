"""Calls ahead of their answers: each answer comes to its call, and whatever is no answer is an error."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from benchmarks.system.calls import ACK, DECLARE_OK, GET_OK, Caller, declare, exchange, get, messages_of, publish
from benchmarks.system.handshake import BODY, HEADER, METHOD, BrokerError, frame, shortstr

QUEUES = [f"q{number}" for number in range(5)]
GOT = struct.pack(">QB", 1, 0) + shortstr("") + shortstr("q") + bytes(4)


def method(class_id: int, method_id: int, arguments: bytes = b"") -> bytes:
    return frame(METHOD, 1, struct.pack(">HH", class_id, method_id) + arguments)


def declared(name: str, messages: int) -> bytes:
    return method(*DECLARE_OK, shortstr(name) + struct.pack(">II", messages, 0))


def confirmed(tag: int, *, multiple: bool = False) -> bytes:
    return method(*ACK, struct.pack(">QB", tag, multiple))


def got(body: bytes) -> bytes:
    return method(*GET_OK, GOT) + frame(HEADER, 1, bytes(14)) + frame(BODY, 1, body)


class Pair:
    """A caller, and what the broker would be."""

    def __init__(self, window: int = 10) -> None:
        ours, self.broker = socket.socketpair()
        self.caller = Caller(SimpleNamespace(socket=ours), window)  # type: ignore[arg-type]
        self.answers: list[tuple[Any, bytes, bytes]] = []

    def begin(self, *calls: bytes, publishes: bool = False) -> None:
        self.caller.begin(calls, lambda *answer: self.answers.append(answer), publishes=publishes)
        self.caller.feed()

    def say(self, octets: bytes, step: int = 1 << 16) -> None:
        for at in range(0, len(octets), step):
            self.broker.sendall(octets[at : at + step])
            self.caller.take()


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    with made.broker, made.caller.socket:
        yield made


@pytest.mark.parametrize("step", [1, 3, 50, 1 << 16])
def test_answers_come_in_order_however_they_are_split(pair: Pair, step: int) -> None:
    pair.begin(*map(declare, QUEUES), get("q0"))
    assert pair.broker.recv(1 << 16) == b"".join([*map(declare, QUEUES), get("q0")])
    heartbeat, blocked = frame(8, 0, b""), frame(METHOD, 0, struct.pack(">HH", 10, 60) + shortstr("disk"))
    pair.say(heartbeat + blocked + b"".join(declared(name, 7) for name in QUEUES) + got(b"hello"), step)
    assert [(answer, arguments[1 : 1 + arguments[0]].decode(), messages_of(arguments)) for answer, arguments, _ in pair.answers[:-1]] == [
        (DECLARE_OK, name, 7) for name in QUEUES
    ]
    assert pair.answers[-1] == (GET_OK, GOT, b"hello")
    assert pair.caller.is_done


def test_no_more_than_the_window_is_ahead() -> None:
    pair = Pair(window=2)
    with pair.broker, pair.caller.socket:
        pair.begin(*map(declare, QUEUES))
        assert pair.broker.recv(1 << 16) == declare("q0") + declare("q1")
        pair.say(declared("q0", 0))
        pair.caller.feed()
        assert pair.broker.recv(1 << 16) == declare("q2")
        assert not pair.caller.is_done


def test_confirms_of_one_and_of_many(pair: Pair) -> None:
    pair.begin(*(publish(name, b"x") for name in QUEUES), publishes=True)
    pair.say(confirmed(2))
    assert len(pair.answers) == 1
    pair.say(confirmed(4, multiple=True) + confirmed(5))
    assert [answer for answer, _, _ in pair.answers] == [ACK] * 5
    pair.begin(publish("q0", b"x"), publishes=True)
    pair.say(confirmed(6))
    assert len(pair.answers) == 6


@pytest.mark.parametrize(
    "said",
    [
        confirmed(6),
        confirmed(2) + confirmed(2),
        method(60, 120, struct.pack(">QB", 1, 0)),
        method(60, 50, struct.pack(">H", 312) + shortstr("NO_ROUTE") + shortstr("") + shortstr("q0")),
        method(20, 40, struct.pack(">H", 404) + shortstr("NOT_FOUND") + bytes(4)),
        frame(9, 1, b""),
        confirmed(1)[:-1] + b"\0",
    ],
    ids=["no such tag", "a tag twice", "nack", "return", "channel closed", "no frame", "no end of one"],
)
def test_what_is_no_confirm_is_an_error(pair: Pair, said: bytes) -> None:
    pair.begin(*(publish(name, b"x") for name in QUEUES), publishes=True)
    with pytest.raises(BrokerError):
        pair.say(said)


def test_an_answer_to_nothing_is_an_error(pair: Pair) -> None:
    pair.begin(declare("q0"))
    with pytest.raises(BrokerError, match="was not asked"):
        pair.say(declared("q0", 0) * 2)


def test_an_exchange_lasts_until_all_are_answered(pair: Pair) -> None:
    other = Pair(window=1)
    with other.broker, other.caller.socket:
        pair.begin(*map(declare, QUEUES))
        other.begin(declare("q0"))
        pair.broker.sendall(b"".join(declared(name, 0) for name in QUEUES))
        other.broker.sendall(declared("q0", 0))
        exchange([pair.caller, other.caller])
    assert (len(pair.answers), len(other.answers)) == (5, 1)


def test_the_end_of_a_connection_is_an_error(pair: Pair) -> None:
    pair.begin(declare("q0"))
    pair.broker.shutdown(socket.SHUT_WR)
    with pytest.raises(BrokerError, match="ended"):
        exchange([pair.caller])
