"""What the bench of several workers makes of what it measured, and what it finds wrong."""

from __future__ import annotations

from typing import Any

import pytest
from benchmarks.system.calls import DECLARE_OK, GET_OK
from benchmarks.system.handshake import shortstr
from benchmarks.system.queue_names import names_of
from benchmarks.system.sqs_load import main as sqs_load
from benchmarks.system.workers import parser
from benchmarks.system.workers_many import Got, Named, WrongAnswer
from benchmarks.system.workers_share import SHAPES, Spent, lengths_of, marginal_us, row

EMPTY = (60, 72)


def test_set_up_and_idling_are_not_in_the_marginal_cost() -> None:
    set_up, idle, each_us = [0.3, 0.7], [0.01, 0.02], [2.0, 4.0]

    def spent(messages: int, seconds: float) -> Spent:
        return Spent(messages, seconds, [a + b * seconds + c * messages / 1e6 for a, b, c in zip(set_up, idle, each_us, strict=True)])

    assert marginal_us(spent(100_000, 5.0), spent(900_000, 11.0), idle) == pytest.approx(each_us)


def test_a_long_run_with_no_more_than_the_short_one_is_refused() -> None:
    with pytest.raises(ValueError, match="5"):
        marginal_us(Spent(5, 1.0, [1.0]), Spent(5, 2.0, [2.0]), [0.0])


def test_a_row_has_both_quotients() -> None:
    found = {1: [[6.0], [7.0], [5.0]], 3: [[2.0, 4.0, 3.0], [3.0, 3.0, 3.0], [1.0, 1.0, 4.0]]}
    line = "| AMQP | 6.00 | 4.00 | 9.00 | 1.50 | 2.00 | 6.00; 7.00; 5.00 | 2.00 4.00 3.00; 3.00 3.00 3.00; 1.00 1.00 4.00 |"
    assert row("AMQP", found, 3) == line


@pytest.mark.parametrize(
    ("words", "lengths"),
    [
        (["--part", "0.01"], {"amqp-1": (200, 1200), "sqs-send": (1, 2)}),
        (["--part", "2"], {"amqp-1": (40_000, 240_000), "sqs-send": (4, 16)}),
        (["--lengths", "3", "9"], {"amqp-1": (3, 9), "sqs-send": (3, 9)}),
    ],
)
def test_lengths_can_be_chosen(words: list[str], lengths: dict[str, Any]) -> None:
    arguments = parser().parse_args(["share", *words, "--only", *lengths])
    assert {name: lengths_of(SHAPES[name], arguments) for name in arguments.only} == lengths


def test_settings_are_repeatable() -> None:
    assert parser().parse_args(["many", "--set", "a=1", "--set", "b=2"]).set == ["a=1", "b=2"]


def test_what_every_worker_was_given_comes_through_every_worker() -> None:
    got = Got(["a", "b"], 2)
    for worker, names, publisher in ((0, ["a", "b"], 1), (1, ["a", "b"], 0)):
        asked = iter(names)
        for name in names:
            got.take(worker, asked, GET_OK, b"", f"{publisher} {name}".encode())
    got.check()
    assert got.table(lambda name: int(name == "b")) == [[1, 1], [1, 1]]


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ([(0, GET_OK, b"0 a")], "of 'a' came"),
        ([(0, GET_OK, b"0 a"), (0, GET_OK, b"1 a")], "through workers"),
        ([(0, GET_OK, b"0 a"), (1, GET_OK, b"0 a")], "came twice"),
        ([(0, GET_OK, b"0 b")], "was asked for a message of 'a'"),
        ([(0, EMPTY, b"")], "was asked for a message of 'a'"),
    ],
    ids=["one is missing", "all through one worker", "twice", "of another queue", "empty"],
)
def test_it_is_noticed(answers: list[tuple[int, tuple[int, int], bytes]], error: str) -> None:
    got = Got(["a"], 2)

    def take_all() -> None:
        for worker, method, body in answers:
            got.take(worker, iter(["a"]), method, b"", body)
        got.check()

    with pytest.raises(WrongAnswer, match=error):
        take_all()


@pytest.mark.parametrize(("name", "messages"), [("b", 2), ("a", 1)])
def test_another_queue_or_another_count_is_noticed(name: str, messages: int) -> None:
    with pytest.raises(WrongAnswer):
        Named(["a"], messages=2).declared(DECLARE_OK, shortstr(name) + messages.to_bytes(4) + bytes(4), b"")


def test_queues_of_sqs_have_a_connection_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert (names_of("q", 1), names_of("q", 2)) == (["q"], ["q-0", "q-1"])
    assert sqs_load(["send", "--url", "http://127.0.0.1:1", "--queues", "3", "--connections", "2"]) == 2
    assert sqs_load(["polls", "--url", "http://127.0.0.1:1", "--queues", "3"]) == 2
    assert "--queues 3" in capsys.readouterr().err
