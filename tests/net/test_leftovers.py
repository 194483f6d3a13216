"""What is left over of long requests goes little by little, and what others still hold does not."""

from __future__ import annotations

import weakref
from typing import Any

from entrepot.net.leftovers import LOOKS_MAX, Leftovers
from entrepot.net.turns import LEFTOVERS, TURN_STEPS, Turns


class Element:
    pass


def elements(count: int, alive: weakref.WeakSet[Element]) -> list[Any]:
    made = [Element() for _ in range(count)]
    alive.update(made)
    return made


def emptied(leftovers: Leftovers, alive: weakref.WeakSet[Element], count: int = 100) -> list[int]:
    """How many elements have gone in each turn, until all have."""
    gone = []
    while len(leftovers):
        before = len(alive)
        assert leftovers.let_go(count) <= count
        gone.append(before - len(alive))
    return gone


def test_a_long_list_goes_in_stretches_and_what_is_long_in_it_too() -> None:
    alive: weakref.WeakSet[Element] = weakref.WeakSet()
    leftovers = Leftovers()
    request = {"topics": [{"name": "t", "partitions": elements(900, alive)} for _ in range(3)], "names": elements(500, alive), "id": elements(1, alive)[0]}
    leftovers.add([request, elements(250, alive), None, "text", []])
    del request
    gone = emptied(leftovers, alive)
    assert not alive
    assert max(gone) <= 100
    assert len(gone) >= (2700 + 500 + 250) // 100


def test_what_somebody_else_holds_is_not_touched() -> None:
    alive: weakref.WeakSet[Element] = weakref.WeakSet()
    leftovers = Leftovers()
    kept = elements(200, alive)
    leftovers.add([{"kept": kept, "free": elements(200, alive)}])
    for _ in range(10):
        leftovers.let_go(100)
    assert len(kept) == len(alive) == 200
    del kept
    emptied(leftovers, alive)
    assert not alive


def test_what_stays_somebody_elses_is_left_to_that_one() -> None:
    alive: weakref.WeakSet[Element] = weakref.WeakSet()
    leftovers = Leftovers()
    kept = elements(200, alive)
    leftovers.add([kept])
    for _ in range(LOOKS_MAX + 1):
        leftovers.let_go(100)
    assert len(leftovers) == 0
    assert len(kept) == 200


def test_turns_let_go_of_so_much_each_until_nothing_is_left() -> None:
    later: list[Any] = []
    turns = Turns(later.append)
    alive: weakref.WeakSet[Element] = weakref.WeakSet()
    turns.leave([elements(3 * LEFTOVERS, alive)])
    counts = []
    while later:
        later.pop(0)()
        counts.append(len(alive))
        assert turns.left >= TURN_STEPS - LEFTOVERS
    assert counts[0] >= 2 * LEFTOVERS
    assert counts[-1] == 0
    assert len(counts) <= 5
