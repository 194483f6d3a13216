"""What a target remembers of a sender."""

import pytest

from entrepot.broker.outbox.handover import GONE, TAKEN, UNDER_WAY_MAX
from entrepot.broker.outbox.taken import Taken, taken_key
from entrepot.model.errors import CorruptData


def test_the_next_is_taken_and_answered_the_same_again():
    taken = Taken()
    assert taken.may_take(1, 1)
    assert not taken.may_take(2, 1)
    taken.take(1, TAKEN)
    value = taken.take(2, GONE)
    again = Taken(value)
    assert (again.last, again.answer_to(1), again.answer_to(2)) == (2, TAKEN, GONE)
    assert not again.may_take(2, 1)
    assert again.may_take(3, 1)


def test_behind_a_gap_only_what_nothing_is_waited_for_before():
    taken = Taken()
    taken.take(1, TAKEN)
    assert not taken.may_take(5, 4)
    assert taken.may_take(5, 5)
    taken.take(5, GONE)
    assert [taken.answer_to(sequence) for sequence in (1, 4, 5)] == [0, 0, GONE]


def test_as_many_answers_as_may_be_under_way():
    taken = Taken()
    for sequence in range(1, 21):
        value = taken.take(sequence, TAKEN)
    again = Taken(value)
    assert [sequence for sequence in range(1, 21) if again.answer_to(sequence)] == list(range(21 - UNDER_WAY_MAX, 21))


GOLDEN = bytes.fromhex("0101 0300000000000000 0102")


def test_the_format():
    taken = Taken(GOLDEN)
    assert (taken.last, taken.answer_to(2), taken.answer_to(3)) == (3, TAKEN, GONE)
    assert taken_key(258) == b"r:\x01\x02"
    before = Taken()
    before.take(1, TAKEN)
    before.take(2, TAKEN)
    before.answers = before.answers[1:]
    assert before.take(3, GONE) == GOLDEN


@pytest.mark.parametrize("value", [b"", GOLDEN[:9], b"\x02\x02" + GOLDEN[2:]], ids=["empty", "cut", "newer"])
def test_what_cannot_be_read(value):
    with pytest.raises(CorruptData):
        Taken(value)
