"""Who is checked next, who goes when too many wait, and how long those who were wrong wait for their answer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from entrepot.authentication import Authenticator
from entrepot.failed_logins import DELAY_MAX_S, FORGET_S, FREE_FAILURES, FREE_FAILURES_OF_ADDRESS, REMEMBERED_MAX, FailedLogins
from entrepot.login_line import WAITING_MAX, WAITING_PER_NAME_MAX, LoginLine, Waiting
from entrepot.net.session import Peer

CHECK: Any = None


def waiting(source: str, name: str) -> Waiting:
    return Waiting(source, name, CHECK, lambda principal: None)


def fill(line: LoginLine, count: int, source: str, name: str = "{}") -> list[Waiting | None]:
    return [line.add(waiting(source, name.format(number))) for number in range(count)]


def turns_until(line: LoginLine, wanted: Waiting) -> int:
    turns = 1
    while line.next() is not wanted:
        turns += 1
        assert turns <= WAITING_MAX
    return turns


def test_addresses_take_turns_and_at_each_its_names():
    line = LoginLine()
    fill(line, 900, "10.0.0.1")
    right = waiting("10.0.0.2", "ann")
    assert line.add(right) is None
    assert turns_until(line, right) == 2
    fill(line, WAITING_PER_NAME_MAX, "127.0.0.1", "bob")
    right = waiting("127.0.0.1", "ann")
    line.add(right)
    assert turns_until(line, right) <= 2 * 2


def test_a_crowd_pays_and_not_who_comes_after_it():
    line = LoginLine()
    fill(line, 1050, "10.0.0.1")
    assert line.count == WAITING_MAX
    dropped = line.add(waiting("10.0.0.2", "ann"))
    assert dropped is not None
    assert dropped.source == "10.0.0.1"
    assert line.count == WAITING_MAX


def test_of_one_name_at_one_address_the_oldest_goes():
    line = LoginLine()
    first = waiting("10.0.0.1", "ann")
    line.add(first)
    dropped = fill(line, 1050, "10.0.0.1", "ann")
    assert dropped.index(first) == WAITING_PER_NAME_MAX - 1
    right = waiting("10.0.0.1", "ann")
    assert line.add(right) is not right
    assert turns_until(line, right) == WAITING_PER_NAME_MAX
    assert line.next() is None
    assert (line.count, line._sizes, line._sources) == (0, {}, {})


def test_answers_wait_longer_each_time_and_a_right_login_forgets():
    failed = FailedLogins()
    delays = [failed.failed("a", "ann", 0.0) for _ in range(FREE_FAILURES + 10)]
    assert delays[:FREE_FAILURES] == [0.0] * FREE_FAILURES
    assert delays[FREE_FAILURES:] == sorted(delays[FREE_FAILURES:])
    assert 0 < delays[FREE_FAILURES] < delays[-1] == DELAY_MAX_S
    assert failed.failed("b", "ann", 0.0) == 0.0
    failed.succeeded("a", "ann")
    assert failed.failed("a", "ann", 0.0) == 0.0


def test_many_names_from_one_address_wait_too_and_time_forgets():
    failed = FailedLogins()
    delays = [failed.failed("a", str(number), 0.0) for number in range(FREE_FAILURES_OF_ADDRESS + 1)]
    assert delays[-1] > 0
    assert not any(delays[:-1])
    assert failed.failed("a", "x", FORGET_S + 1) == 0.0


def test_what_is_remembered_is_bounded():
    failed = FailedLogins()
    for number in range(REMEMBERED_MAX):
        failed.failed(str(number), "x", 0.0)
    assert len(failed._failures) == REMEMBERED_MAX


def test_of_a_long_name_little_is_remembered():
    users, loop, clock = (
        SimpleNamespace(begin_plain=lambda *given: None),
        SimpleNamespace(call_later=lambda *given: None),
        SimpleNamespace(monotonic_s=lambda: 0.0),
    )
    authenticator = Authenticator(users, loop, clock)
    authenticator.wrong("n" * 16_000, Peer("10.0.0.1", 1, False, "kafka", False), lambda: None)
    authenticator.close()
    assert {len(name) for _, name in authenticator._failed._failures if name is not None} == {255}
