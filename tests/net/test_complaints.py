"""Warnings about peers: none drowns another, and none is lost without being counted."""

from __future__ import annotations

import logging

import pytest

from entrepot.net.complaints import COMPLAINT_INTERVAL_S, KINDS_MAX, Complaints, kind_of


class Said:
    """Complaints under a clock that stands still, and what they have logged."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self.now = 100.0
        self.complaints = Complaints(lambda: self.now)
        self._caplog = caplog

    def log(self) -> list[str]:
        lines = [record.getMessage() for record in self._caplog.records if record.name == "entrepot.net" and record.levelno == logging.WARNING]
        self._caplog.clear()
        return lines

    def later(self) -> None:
        self.now += COMPLAINT_INTERVAL_S
        self.complaints.sweep()


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Said:
    return Said(caplog)


def test_another_warning_is_not_held_back(said: Said) -> None:
    texts = ["kafka: 10.0.0.1:5: API key 99 is not served", "amqp: 10.0.0.1:6: login of 'ann' refused", "amqp: 10.0.0.1:7: no queue 'q' in vhost '/'"]
    for text in texts:
        said.complaints.say(text)
    assert said.log() == texts


def test_the_same_warning_comes_once_and_then_its_last_with_the_count(said: Said) -> None:
    for port in range(5):
        said.complaints.say(f"amqp: 10.0.0.1:{port}: login of 'user-{port}' refused")
    assert said.log() == ["amqp: 10.0.0.1:0: login of 'user-0' refused"]
    said.later()
    assert said.log() == ["amqp: 10.0.0.1:4: login of 'user-4' refused (3 like this left out before it)"]
    assert said.complaints.left_out == 3
    said.later()
    said.complaints.say("amqp: 10.0.0.1:9: login of 'ann' refused")
    assert said.log() == ["amqp: 10.0.0.1:9: login of 'ann' refused"]


def test_one_that_was_held_back_comes_whole(said: Said) -> None:
    said.complaints.say("port 1 said this")
    said.complaints.say("port 2 said this")
    said.later()
    assert said.log() == ["port 1 said this", "port 2 said this"]


def test_a_flood_is_one_line_an_interval_without_a_sweep_too(said: Said) -> None:
    for _ in range(1000):
        said.now += COMPLAINT_INTERVAL_S / 100
        said.complaints.say("port 1 said this")
    assert len(said.log()) in range(9, 12)


def test_many_kinds_are_bounded_and_counted(said: Said) -> None:
    def word(number: int) -> str:
        return "".join(chr(ord("a") + int(digit)) for digit in str(number))

    for number in range(1000):
        said.complaints.say(f"amqp: {word(number)}")
    assert len(said.log()) == KINDS_MAX + 1
    said.later()
    assert said.log() == [f"amqp: {word(999)} ({1000 - KINDS_MAX - 2} others left out before it)"]


def test_at_the_end_what_was_left_out_is_told(said: Said) -> None:
    for port in range(4):
        said.complaints.say(f"port {port} said this")
    said.log()
    said.complaints.close()
    assert said.log() == ["port 3 said this (2 like this left out before it)"]


def test_what_is_kept_of_a_text_is_bounded_and_harmless(said: Said) -> None:
    said.complaints.say("\x1b[2J" + "x" * 1_000_000)
    (line,) = said.log()
    assert len(line) < 3000
    assert "\x1b" not in line


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("amqp: 127.0.0.1:1 (user 'ann'): no queue 'a'", "amqp: [::1]:99 (user 'bob'): no queue 'b 2'"),
        ("a frame of 5 bytes", "a frame of 70000 bytes"),
    ],
)
def test_what_is_quoted_and_what_is_counted_makes_no_difference(one: str, other: str) -> None:
    assert kind_of(one) == kind_of(other)
    assert kind_of(one) != kind_of(one + " at last")
