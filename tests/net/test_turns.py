"""One budget of steps for all who take turns."""

from __future__ import annotations

from typing import Any

import pytest

from both_modes import both
from entrepot.net.turns import TURN_STEPS

Turns: Any


@pytest.fixture(params=both("entrepot.net.turns"), autouse=True)
def _mode(request: pytest.FixtureRequest) -> None:
    global Turns
    Turns = request.param.Turns


def test_what_is_spent_is_there_again_in_the_next_turn():
    later: list[Any] = []
    turns = Turns(later.append)
    turns.spend(TURN_STEPS + 5)
    turns.spend(1)
    assert turns.left == -6
    assert len(later) == 1
    later.pop()()
    assert (turns.left, later) == (TURN_STEPS, [])


def test_what_leaves_most_of_a_turn_needs_no_new_one():
    later: list[Any] = []
    turns = Turns(later.append)
    turns.spend(TURN_STEPS // 4)
    assert later == []
    turns.spend(1)
    assert len(later) == 1
    later.pop()()
    assert turns.left == TURN_STEPS


def test_who_waits_goes_on_in_order_while_steps_are_left():
    later: list[Any] = []
    turns = Turns(later.append)
    done: list[int] = []

    def work(number: int) -> None:
        done.append(number)
        turns.spend(TURN_STEPS // 2)
        if len(done) < 6:
            turns.wait(lambda: work(number))

    for number in range(3):
        turns.wait(lambda number=number: work(number))
    seen = []
    while later:
        later.pop(0)()
        seen.append(len(done))
        done_now = len(done)
        assert done_now - (seen[-2] if len(seen) > 1 else 0) <= 2
    assert done[:6] == [0, 1, 2, 0, 1, 2]
    assert turns.waiting_count == 0


def test_who_comes_to_wait_in_a_turn_has_the_next_one():
    later: list[Any] = []
    turns = Turns(later.append)
    done: list[str] = []
    turns.wait(lambda: (done.append("first"), turns.wait(lambda: done.append("second"))))
    later.pop(0)()
    assert done == ["first"]
    later.pop(0)()
    assert done == ["first", "second"]
    assert later == []


def test_a_bug_costs_no_other_its_turn():
    later: list[Any] = []
    turns = Turns(later.append)
    done: list[str] = []
    turns.wait(lambda: 1 // 0)
    turns.wait(lambda: done.append("other"))
    with pytest.raises(ZeroDivisionError):
        later.pop(0)()
    later.pop(0)()
    assert done == ["other"]
