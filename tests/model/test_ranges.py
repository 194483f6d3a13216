"""RangeSet against a plain set of offsets, interpreted and compiled."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from both_modes import both, examples
from entrepot.model.errors import CorruptData

MODES = both("entrepot.model.ranges", "entrepot.model.range_block")
END = 2**64 - 1
mode = pytest.mark.parametrize("ranges", MODES, ids=["installed", "interpreted"])

EDGES = [0, 1, 63, 64, 65, 65535, 65536, 65537, 131071, 131072, 131073, 196608, 262144]
near_edges = st.sampled_from(EDGES).flatmap(lambda edge: st.integers(max(0, edge - 3), edge + 3))
offsets = st.one_of(st.integers(0, 262150), near_edges, st.integers(0, 400))
lengths = st.one_of(st.integers(0, 8), st.integers(0, 300), st.sampled_from([65536, 131072, 200000]))
steps = st.lists(st.tuples(st.sampled_from(["add", "add", "remove", "comb", "clear_below"]), offsets, lengths), max_size=12)


def as_ranges(model: set[int]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for offset in sorted(model):
        if found and found[-1][1] == offset:
            found[-1] = (found[-1][0], offset + 1)
        else:
            found.append((offset, offset + 1))
    return found


def apply(subject, model: set[int], step: tuple[str, int, int]) -> None:
    name, first, length = step
    if name == "comb":  # many short runs: a bitmap
        length = min(20 * length, 3000)
        for offset in range(first, first + 3 * length, 3):
            subject.add(offset, offset + 1)
        model.update(range(first, first + 3 * length, 3))
        return
    if name == "clear_below":
        gone = {offset for offset in model if offset < first}
        assert subject.clear_below(first) == len(gone)
        model -= gone
        return
    changed = set(range(first, first + length))
    if name == "add":
        assert subject.add(first, first + length) == len(changed - model)
        model |= changed
    else:
        assert subject.remove(first, first + length) == len(changed & model)
        model -= changed


@mode
@settings(max_examples=examples(80), deadline=None)
@given(steps=steps, asked=st.lists(offsets, max_size=6))
def test_agrees_with_a_set(ranges, steps, asked):
    subject = ranges.RangeSet(True)
    model: set[int] = set()
    copy = ranges.RangeSet()
    for step in steps:
        apply(subject, model, step)
        assert subject.count == len(model)
        for number in subject.take_changed():
            copy.restore_block(number, subject.encode_block(number))
    wanted = as_ranges(model)
    assert list(subject) == wanted
    assert list(copy) == wanted
    assert copy.count == len(model)
    for offset in asked:
        assert subject.contains(offset) == (offset in model)
        following = next((r for r in wanted if r[1] > offset), None)
        assert subject.next_present(offset) == (END if following is None else max(offset, following[0]))
        assert subject.next_absent(offset) == (following[1] if following and following[0] <= offset else offset)
        assert subject.run_at(offset) == (following is not None)
        if following:
            assert (subject.run_first, subject.run_end) == following
        assert subject.count_in(offset, offset + 70000) == sum(1 for present in model if offset <= present < offset + 70000)


@settings(max_examples=examples(40), deadline=None)
@given(steps=st.lists(st.tuples(st.sampled_from(["add", "remove"]), st.integers(0, 2**63 - 400000), lengths), max_size=12))
def test_modes_agree_anywhere(steps):
    subjects = [module.RangeSet(False) for module in MODES]
    for name, first, length in steps:
        assert len({getattr(subject, name)(first, first + length) for subject in subjects}) == 1
    assert list(subjects[0]) == list(subjects[1])


@mode
def test_in_order_is_one_run(ranges):
    subject = ranges.RangeSet(False)
    for first in range(0, 1_000_000, 50):
        assert subject.add(first, first + 50) == 50
    assert list(subject) == [(0, 1_000_000)]
    assert subject.encode_block(3) == b"\x01\x02\x00\x00"


@mode
def test_huge_ranges_cost_nothing(ranges):
    subject = ranges.RangeSet(False)
    assert subject.add(5, 2**62) == 2**62 - 5
    assert subject.remove(2**40, 2**61) == 2**61 - 2**40
    assert subject.remove(2**61 + 7, 2**61 + 8) == 1
    assert list(subject) == [(5, 2**40), (2**61, 2**61 + 7), (2**61 + 8, 2**62)]
    assert subject.add(0, 2**63) == 2**63 - (2**62 - 5 - (2**61 - 2**40) - 1)
    assert list(subject) == [(0, 2**63)]
    assert subject.run_at(2**50)
    assert (subject.run_first, subject.run_end) == (0, 2**63)
    subject.clear()
    assert not subject.count


@mode
def test_refuses_offsets_beyond_the_limit(ranges):
    with pytest.raises(ValueError, match="greatest offset"):
        ranges.RangeSet(False).add(2**63 - 1, 2**63 + 1)


@mode
@pytest.mark.parametrize(
    "value",
    [
        b"\x01",
        b"\x02\x00\x00\x00",
        b"\x01\x03\x00\x00",
        b"\x01\x00\x01\x00",
        b"\x01\x00\x01\x00\x05\x00\x04\x00",
        b"\x01\x00\x02\x00\x01\x00\x02\x00\x03\x00\x03\x00",
        b"\x01\x01\x00\x00" + bytes(8191),
        b"\x01\x02\x00\x00\x00",
    ],
    ids=["short", "format", "kind", "runs missing", "backwards", "touching", "bitmap short", "full with bytes"],
)
def test_damaged_blocks_are_told(ranges, value):
    with pytest.raises(CorruptData):
        ranges.RangeSet(False).restore_block(1, value)


@mode
def test_golden_block(ranges):
    subject = ranges.RangeSet(False)
    subject.add(65536 + 1, 65536 + 4)
    subject.add(65536 + 65535, 65536 + 65537)
    assert subject.encode_block(1) == bytes.fromhex("01000200 01000300 ffffffff")
    assert subject.encode_block(2) == bytes.fromhex("01000100 00000000")
    assert subject.encode_block(0) == b""
