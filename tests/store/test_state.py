"""State over a base behaves like a plain ordered map, whatever is staged, cut, prepared or saved."""

from __future__ import annotations

from bisect import insort

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from both_modes import examples
from entrepot.store.state import NoBase, State


def fold(key: bytes, value: bytes | None, delta: bytes) -> bytes | None:
    """Appends; "!" deletes."""
    return None if delta == b"!" else (value or b"") + delta


class MapBase:
    def __init__(self) -> None:
        self.rows: dict[tuple[int, bytes], bytes] = {}

    def get(self, shard: int, key: bytes) -> bytes | None:
        return self.rows.get((shard, key))

    def scan(self, shard: int, first: bytes, end: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        found: list[tuple[bytes, bytes]] = []
        for (where, key), value in self.rows.items():
            if where == shard and first <= key < end:
                insort(found, (key, value))
        return found[:limit]


keys = st.sampled_from([b"", b"a", b"aa", b"ab", b"b", b"c", b"cc", b"\xff"])
shards = st.integers(0, 1)


class StateMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.base = MapBase()
        self.state = State(self.base, fold)
        self.model: dict[tuple[int, bytes], bytes] = {}
        self.cut: dict[tuple[int, bytes], bytes] | None = None
        self.rows: list[tuple[int, bytes, bytes | None]] = []
        self.prepared = False
        self.applied = False

    @rule(shard=shards, key=keys, delta=st.sampled_from([b"x", b"y", b"!"]))
    def fold(self, shard: int, key: bytes, delta: bytes) -> None:
        self.state.fold(shard, key, delta)
        value = fold(key, self.model.get((shard, key)), delta)
        if value is None:
            self.model.pop((shard, key), None)
        else:
            self.model[shard, key] = value

    @rule(shard=shards, key=keys)
    def get(self, shard: int, key: bytes) -> None:
        assert self.state.get(shard, key) == self.model.get((shard, key))

    @rule(shard=shards, first=keys, end=keys, limit=st.integers(0, 9))
    def scan(self, shard: int, first: bytes, end: bytes, limit: int) -> None:
        wanted = sorted((key, value) for (where, key), value in self.model.items() if where == shard and first <= key < end)
        assert self.state.scan(shard, first, end, limit) == wanted[:limit]

    @precondition(lambda self: self.cut is None)
    @rule()
    def freeze(self) -> None:
        self.state.freeze()
        self.cut = dict(self.model)
        self.rows = []
        self.prepared = self.applied = False

    @precondition(lambda self: self.cut is not None and not self.prepared)
    @rule(limit=st.integers(1, 4))
    def prepare(self, limit: int) -> None:
        rows = self.state.prepare(limit)
        self.rows.extend(rows)
        self.prepared = not rows

    @precondition(lambda self: self.prepared and not self.applied)
    @rule()
    def apply(self) -> None:
        """The background has committed; nobody has been told yet."""
        for shard, key, value in self.rows:
            if value is None:
                self.base.rows.pop((shard, key), None)
            else:
                self.base.rows[shard, key] = value
        assert self.base.rows == self.cut
        self.applied = True

    @precondition(lambda self: self.applied and self.cut is not None)
    @rule()
    def saved(self) -> None:
        self.state.saved()
        self.cut = None

    @invariant()
    def counted(self) -> None:
        assert self.state.changed_count() >= 0
        assert (self.state.changed_bytes() == 0) <= (self.state.get(0, b"none") is None)


StateMachine.TestCase.settings = settings(max_examples=examples(80), stateful_step_count=40, deadline=None)
TestStateMachine = StateMachine.TestCase


def test_without_a_base_it_is_a_map_in_memory() -> None:
    state = State(NoBase(), fold)
    for key in (b"b", b"a"):
        state.fold(0, key, b"1")
    assert state.scan(0, b"", b"z", 9) == [(b"a", b"1"), (b"b", b"1")]
    assert state.scan(0, b"", b"z", 1) == [(b"a", b"1")]
    assert state.get(1, b"a") is None
    state.fold(0, b"c", b"2")
    assert state.scan(0, b"b", b"z", 9) == [(b"b", b"1"), (b"c", b"2")]


def test_only_one_cut_at_a_time() -> None:
    state = State(NoBase(), fold)
    state.freeze()
    with pytest.raises(AssertionError):
        state.freeze()
    assert state.prepare(10) == []
    state.saved()
    with pytest.raises(AssertionError):
        state.prepare(1)


class Absolute:
    """A fold whose deltas are whole values."""

    absolute = frozenset({b"a:"})

    def __call__(self, key, value, delta):
        return None if delta == b"-" else delta


class CountedBase(NoBase):
    """Notes what it is asked."""

    def __init__(self):
        self.asked = []

    def get(self, shard, key):
        self.asked.append(key)
        return b"base"


def test_of_deltas_that_are_whole_values_the_last_one_counts_and_the_base_is_not_asked():
    base = CountedBase()
    state = State(base, Absolute())
    for delta in (b"1", b"22", b"333"):
        state.fold(0, b"a:k", delta)
    assert state.changed_bytes() == len(b"a:k") + 3
    state.freeze()
    state.fold(0, b"a:k", b"-")
    assert state.get(0, b"a:k") is None
    assert state.prepare(10) == [(0, b"a:k", b"333")]
    state.saved()
    assert state.get(0, b"a:k") is None
    assert base.asked == []
    state.fold(0, b"b:k", b"4")
    assert state.get(0, b"b:k") == b"4"
    assert base.asked == [b"b:k"]
