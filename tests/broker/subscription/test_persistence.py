"""Subscription state: what was staged is what is loaded."""

import itertools
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from state_store import StateStore

from both_modes import examples
from entrepot.broker.subscription.leases import Subscription
from entrepot.broker.subscription.persistence import SubscriptionState, fold_all_subscriptions, fold_subscription
from entrepot.model.errors import CorruptData

END = 2**64 - 1
ID = b"0123456789abcdef"
OTHER = b"0123456789abcdeg"
SIZE = 200_000

offsets = st.one_of(st.integers(0, 40), st.integers(65_520, 65_550), st.integers(0, SIZE))
spans = st.one_of(st.integers(1, 10), st.integers(1, 150_000))


@settings(max_examples=examples(60), deadline=None)
@given(steps=st.lists(st.tuples(st.sampled_from(["take", "settle", "settle_to", "release"]), offsets, spans), max_size=25))
def test_a_topics_subscription_comes_back(steps):
    store = StateStore(fold_subscription)
    sub = Subscription(0, SIZE)
    sub.count_deltas = []
    state = SubscriptionState(store, 3, ID)
    SubscriptionState(store, 3, OTHER).stage_settled([(7, 9)])
    for name, first, count in steps:
        if name == "take":
            sub.take(1, count, END)
        elif name == "settle":
            sub.settle(1, first, count)
        elif name == "settle_to":
            sub.settle_to(first)
        else:
            sub.release(1, first, count)
        state.stage_floor(sub.floor)
        state.stage_settled(sub.settled_ranges)
        sub.settled_ranges.clear()
        state.stage_counts(sub.count_deltas)
        sub.count_deltas.clear()
    again = SubscriptionState(store, 3, ID)
    loaded = Subscription(again.load_floor(), SIZE)
    again.load_settled(loaded)
    again.load_counts(loaded)
    sub.release_all(1, count_delivery=False)
    assert (loaded.floor, loaded.ready_count) == (sub.floor, sub.ready_count)
    while sub.ready_count:
        found = []
        for one in (sub, loaded):
            taken = one.take_settled(1_000_000, END)
            found.append((one.taken_first, taken, one.taken_deliveries))
        if found[0] != found[1]:  # one stops at the cursor where the other does not
            shorter = min(found, key=lambda each: each[1])
            longer = max(found, key=lambda each: each[1])
            assert shorter[0] == longer[0]
            assert shorter[2] == longer[2]
            behind = sub if found[0] is shorter else loaded
            missing = longer[1] - shorter[1]
            while missing:
                taken = behind.take_settled(missing, END)
                assert behind.taken_deliveries == longer[2]
                missing -= taken
    assert not loaded.ready_count
    assert loaded.floor == SIZE
    again.drop()
    assert {key[2:18] for _, key in store.values} == {OTHER}


@settings(max_examples=examples(200), deadline=None)
@given(
    deltas=st.lists(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 12), st.integers(0, 3)), min_size=1, max_size=5), min_size=1, max_size=8),
    forgotten=st.integers(-1, 7),
)
def test_counts_fold_all_at_once_as_one_after_the_other(deltas, forgotten):
    key = b"s:" + ID + b"c" + bytes(8)
    packed = [b"\x01" + b"".join(struct.pack("<HHI", first, first + more, deliveries) for first, more, deliveries in delta) for delta in deltas]
    said = {}
    for number, delta in enumerate(deltas):
        if number == forgotten:
            packed[number] = b""
            said = {}
            continue
        for first, more, deliveries in delta:
            said.update(dict.fromkeys(range(first, first + more + 1), deliveries))
    value = None
    for delta in packed:
        value = fold_subscription(key, value, delta)
    assert fold_all_subscriptions(key, None, packed) == value
    half = fold_all_subscriptions(key, None, packed[: len(packed) // 2])
    assert fold_all_subscriptions(key, half, packed[len(packed) // 2 :]) == value
    runs = list(struct.iter_unpack("<HHI", (value or b"\x01")[1:]))
    assert {offset: deliveries for first, last, deliveries in runs for offset in range(first, last + 1)} == {k: v for k, v in said.items() if v}
    assert all(one[1] + 1 < two[0] or one[2] != two[2] for one, two in itertools.pairwise(runs)), "neighbours that say the same"


def test_a_block_of_ten_thousand_runs_folds_in_one_pass():
    key = b"s:" + ID + b"c" + bytes(8)
    odd = b"\x01" + b"".join(struct.pack("<HHI", number, number, 2 + number % 3) for number in range(0, 65_536, 2))
    settled = [b"\x01" + struct.pack("<HHI", number, number, 0) for number in range(0, 60_000, 2)]
    value = fold_subscription(key, None, odd)
    assert len(fold_all_subscriptions(key, value, settled)) == 1 + 8 * (65_536 - 60_000) // 2


def test_blocks_below_the_floor_are_forgotten():
    store = StateStore(fold_subscription)
    state = SubscriptionState(store, 0, ID)
    state.stage_settled([(10, 70_000), (140_000, 140_001)])
    assert len(store.values) == 3
    state.stage_floor(131_072)
    assert len(store.values) == 2
    state.stage_floor(100)
    assert state.load_floor() == 131_072


def test_golden_values():
    store = StateStore(fold_subscription)
    state = SubscriptionState(store, 0, ID)
    state.stage_floor(5)
    state.stage_settled([(65_536 + 2, 65_536 + 4)])
    state.stage_counts([(7, 9, 2), (9, 10, 2), (8, 9, 0)])
    assert {key[18:]: value for (_, key), value in store.values.items()} == {
        b"f": bytes.fromhex("01 0500000000000000"),
        b"s" + (1).to_bytes(8, "big"): bytes.fromhex("01 01000100 02000300"),
        b"c" + bytes(8): bytes.fromhex("01 0700 0700 02000000 0900 0900 02000000"),
    }
    state.stage_counts([(0, 20, 0)])
    assert len(store.values) == 2


@pytest.mark.parametrize(("key", "value", "delta"), [(b"f", None, b"\x02"), (b"f", b"\x07", b"\x01" + bytes(8)), (b"x", None, b"\x01")])
def test_what_no_version_wrote_is_told(key, value, delta):
    with pytest.raises(CorruptData):
        fold_subscription(b"s:" + ID + key, value, delta)
