"""What all connections hold of what is unfinished: who gives back, and when."""

from __future__ import annotations

from entrepot.net.unfinished import Unfinished


class Holder:
    def __init__(self, shared, *, ends=True):
        self.asked = 0
        self.ends = ends
        self.share = shared.share(self.give_back)

    def give_back(self):
        self.asked += 1
        self.share.hold(0)  # as a buffer says that was made small
        return self.ends


def test_the_one_that_waits_longest_gives_back():
    shared = Unfinished(100)
    first, second, third = (Holder(shared) for _ in range(3))
    first.share.hold(40)
    second.share.hold(40)
    assert (shared.held_bytes, first.asked) == (80, 0)
    third.share.hold(30)
    assert (first.asked, second.asked, third.asked) == (1, 0, 0)
    assert (shared.held_bytes, shared.ended_count) == (70, 1)


def test_who_finishes_something_is_last_in_line():
    shared = Unfinished(100)
    first, second, third = (Holder(shared) for _ in range(3))
    first.share.hold(40)
    second.share.hold(40)
    first.share.finished()
    third.share.hold(30)
    assert (first.asked, second.asked) == (0, 1)


def test_one_alone_over_the_limit_gives_back_itself():
    shared = Unfinished(100)
    one = Holder(shared)
    one.share.hold(101)
    assert (one.asked, shared.held_bytes) == (1, 0)


def test_as_many_give_back_as_it_takes():
    shared = Unfinished(100)
    small = [Holder(shared, ends=False) for _ in range(10)]
    for holder in small:
        holder.share.hold(10)
    Holder(shared).share.hold(55)
    assert [holder.asked for holder in small] == [1] * 6 + [0] * 4
    assert (shared.held_bytes, shared.ended_count) == (95, 0)


def test_less_than_nothing_is_nothing_and_an_end_gives_all_back():
    shared = Unfinished(100)
    one, other = Holder(shared), Holder(shared)
    one.share.hold(-5)
    assert shared.held_bytes == 0
    one.share.hold(50)
    one.share.hold(20)
    one.share.finished()
    assert shared.held_bytes == 20
    one.share.close()
    other.share.hold(101)
    assert (shared.held_bytes, one.asked, other.asked) == (0, 0, 1)
