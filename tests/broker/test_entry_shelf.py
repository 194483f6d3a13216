"""Entries on shelves: what is found, what goes first, and that no byte is counted that is not there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from entrepot.broker.logs.entry_shelf import SHARES, EntryShelf
from entrepot.broker.logs.hub import Hub
from entrepot.broker.subscription.leases import Subscription
from entrepot.model.entry import StoredEntry, restore_entry, stored_entry


def hub_of(limit: int) -> Hub:
    hub = Hub(SimpleNamespace(), SimpleNamespace())
    hub.shelved_max_bytes = limit
    return hub


def entry(base: int, span: int, size: int = 100) -> StoredEntry:
    return stored_entry(base, restore_entry(1, 1, 0, span, span, bytes(size)))


def test_an_offset_is_found_in_its_entry_and_nowhere_else() -> None:
    shelf = EntryShelf(hub_of(1 << 20))
    for base in (10, 40, 20):
        assert shelf.put(entry(base, 5))
    assert [getattr(shelf.find(offset), "base", None) for offset in (9, 10, 14, 15, 20, 24, 25, 44, 45)] == [None, 10, 10, None, 20, 20, None, 40, None]


def test_a_queue_has_its_share_and_no_more() -> None:
    hub = hub_of(40_000)
    shelf = EntryShelf(hub)
    count = 0
    while shelf.put(entry(count, 1)):
        count += 1
    assert 0 < count < 30
    assert 40_000 // SHARES <= hub.shelved_bytes < 40_000 // SHARES + 1000


def test_who_was_not_used_for_longest_gives_up_what_it_has() -> None:
    hub = hub_of(42_000)  # 25 entries each
    shelves = [EntryShelf(hub) for _ in range(SHARES + 1)]
    for shelf in shelves[:-1]:
        base = 0
        while shelf.put(entry(base, 1)):
            base += 1
    shelves[0].used()
    shelves[-1].put(entry(7, 1))
    assert shelves[1].find(0) is None
    assert shelves[0].find(0) is not None
    assert shelves[-1].find(7) is not None


Step = tuple[int, str, int]


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["put", "used", "clear", "sweep"]), st.integers(0, 12)), max_size=60), st.integers(0, 6000))
def test_bytes_are_those_of_what_is_there(steps: list[Step], limit: int) -> None:
    hub = hub_of(limit)
    shelves = [EntryShelf(hub) for _ in range(6)]
    for which, what, number in steps:
        shelf: Any = shelves[which]
        if what == "put":
            shelf.put(entry(10 * number, 10, 50 * number))
        elif what == "used":
            shelf.used()
        elif what == "clear":
            shelf.clear()
        else:
            subscription = Subscription(0, 200)
            subscription.drop(0, 10 * number)
            shelf.sweep(subscription)
            assert all(shelf.find(offset) is None for offset in range(10 * number))
        assert hub.shelved_bytes == sum(shelf.size for shelf in shelves)
        assert set(hub.shelves) == {shelf for shelf in shelves if shelf.size}
        assert hub.shelved_bytes <= limit + 1200
