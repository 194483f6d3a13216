"""The schedule against a sorted list; its memory stays small."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from state_store import StateStore

from both_modes import examples
from entrepot.broker.subscription.schedule import NEVER, Schedule, ShardTime, fold_schedule
from entrepot.model.errors import CorruptData

ID = b"0123456789abcdef"
steps = st.lists(st.tuples(st.sampled_from(["add", "add", "add", "due", "cancel", "reopen"]), st.integers(0, 30), st.integers(0, 5)), max_size=60)


@settings(max_examples=examples(200), deadline=None)
@given(steps=steps)
def test_agrees_with_a_sorted_list(steps):
    store = StateStore(fold_schedule)
    Schedule(store, 0, b"0123456789abcdeg").add(1, 1, 1)
    schedule = Schedule(store, 0, ID, near_max=3)
    model: dict[tuple[int, int], tuple[int, bytes]] = {}
    for number, (name, due, first) in enumerate(steps):
        if name == "add":
            if (due, first) not in model:
                schedule.add(due, first, number + 1, b"x" * first)
                model[due, first] = (number + 1, b"x" * first)
        elif name == "cancel":
            schedule.cancel(due, first)
            model.pop((due, first), None)
        elif name == "reopen":
            schedule = Schedule(store, 0, ID, near_max=3)
        else:
            found = schedule.due(due, 4)
            wanted = [key for key in sorted(model) if key[0] <= due][:4]
            assert found == [(key[1], *model.pop(key)) for key in wanted]
        assert schedule.next_due() == (min(model)[0] if model else NEVER)
        assert len(schedule._near) <= 6
        assert len(store.values) == len(model) + 1


def test_shard_time_never_steps_back():
    time = ShardTime(100)
    assert [time.now_ms(wall) for wall in (50, 120, 110, 130)] == [100, 120, 120, 130]


def test_an_unknown_format_is_told():
    with pytest.raises(CorruptData):
        fold_schedule(b"d:key", None, b"\x02")
