"""Shards: stable, spread, kept."""

from __future__ import annotations

from collections import Counter

import pytest
from memory_state import MemoryState

from entrepot.broker.catalogue.shards import SHARD_COUNT_KEY, Shards
from entrepot.broker.state import set_value
from entrepot.model.errors import CorruptData


def test_a_store_keeps_how_many_it_was_made_with() -> None:
    state = MemoryState()
    assert Shards.of(state).count == 256
    state.fold(0, SHARD_COUNT_KEY, set_value(b"\x02\x10\x00"))
    assert Shards.of(state).count == 16


@pytest.mark.parametrize("kept", [b"", b"\x01\x10\x00", b"\x03\x10\x00", b"\x02\x00\x00", b"\x02\x10\x00\x00"])
def test_what_cannot_be_read_stops_the_start(kept: bytes) -> None:
    state = MemoryState()
    state.fold(0, SHARD_COUNT_KEY, set_value(kept))
    with pytest.raises(CorruptData, match="number of shards"):
        Shards.of(state)


def test_a_resource_stays_in_its_shard() -> None:
    shards = Shards(256)
    assert [shards.shard("queue", "public/default", "orders"), shards.shard("topic", "public/default", "orders", 3)] == GOLDEN
    assert len({shards.shard("queue", "public/default", f"q{number}") for number in range(5000)}) == 256


GOLDEN = [118, 10]  # on disk by now


def test_many_partitions_are_where_each_is():
    shards = Shards(64)
    assert shards.shards("topic", "public/default", "näme", range(3, 2000)) == [shards.shard("topic", "public/default", "näme", n) for n in range(3, 2000)]


def test_a_topics_partitions_are_spread_evenly_over_any_number_of_members():
    shards = Shards(256)
    for members in range(2, 9):
        for topic in range(40):
            counts = Counter(shard % members for shard in shards.shards("topic", "public/default", f"topic-{topic}", range(4 * members)))
            assert max(counts.values()) <= 5  # 256 is not divisible by each


def test_names_that_differ_by_a_digit_come_to_all_of_four_members():
    shards = Shards(256)
    for name in ("q", "orders-", "test.queue"):
        assert {shards.shard("queue", "public/default", f"{name}{digit}") % 4 for digit in range(10)} == {0, 1, 2, 3}
