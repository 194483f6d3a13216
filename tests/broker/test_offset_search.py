"""Whose turn it is to search, and to look into an entry."""

from entrepot.broker.topic.offset_search import ACTIVE_MAX, SearchTurns


class Loop:
    def __init__(self):
        self.ready = []

    def call_soon(self, function, *arguments):
        self.ready.append((function, arguments))

    def turn(self):
        ready, self.ready = self.ready, []
        for function, arguments in ready:
            function(*arguments)
        return bool(ready)


def test_one_look_in_a_turn_of_the_loop():
    loop, seen = Loop(), []
    turns = SearchTurns(loop)
    for number in range(3):
        turns.look(lambda number=number: seen.append(number))
    assert seen == []
    for expected in ([0], [0, 1], [0, 1, 2]):
        loop.turn()
        assert seen == expected
    assert not loop.turn()


def test_a_look_may_ask_for_another():
    loop, seen = Loop(), []
    turns = SearchTurns(loop)

    def first():
        seen.append(1)
        turns.look(lambda: seen.append(2))

    turns.look(first)
    loop.turn()
    assert seen == [1]
    loop.turn()
    assert seen == [1, 2]


def test_searches_wait_for_a_place():
    loop, begun = Loop(), []
    turns = SearchTurns(loop)
    for number in range(ACTIVE_MAX + 3):
        turns.begin(lambda number=number: begun.append(number))
    assert len(begun) == ACTIVE_MAX
    turns.ended()
    turns.ended()
    while loop.turn():
        pass
    assert begun == list(range(ACTIVE_MAX + 2))
