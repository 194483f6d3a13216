"""LocalStore: staging, commits, reading, reopening."""

from __future__ import annotations

from dataclasses import replace

import pytest
from store_bench import SMALL, Bench, Loop

from entrepot.model.entry import restore_entry, stored_entry
from entrepot.model.errors import CorruptData, Refused, Unavailable
from entrepot.store.interface import Log
from entrepot.store.local.group import ROWS_MAX
from entrepot.store.local.settings import StoreSettings


def test_nothing_is_durable_before_its_commit() -> None:
    bench = Bench()
    log = bench.create(1)
    bench.append(log, data=b"one")
    assert log.next_offset == 1
    assert log.durable_offset == 0
    assert log.reader().at(0) is None
    assert bench.commit()
    assert log.durable_offset == 1
    assert bench.read(log) == [(0, 1, b"one")]


def test_lingering_commits_without_anybody_waiting() -> None:
    bench = Bench()
    log = bench.create(1)
    bench.append(log)
    bench.loop.run(lambda: bool(bench.told.groups))
    assert bench.loop.now >= 0.005
    assert log.durable_offset == 1


def test_one_entry_in_several_logs_is_one_copy_in_memory() -> None:
    bench = Bench()
    logs = [bench.create(number) for number in range(3)]
    bench.append(logs[0], data=b"before")
    entry = bench.append(*logs, data=b"shared", count=2)
    assert bench.commit()
    assert [log.next_offset for log in logs] == [3, 2, 2]
    found = logs[0].reader().at(1)
    assert found is not None
    assert found.entry is entry
    assert bench.told.groups[0].logs == logs


def test_extend_joins_only_the_last_open_entry_of_exactly_its_logs() -> None:
    bench = Bench()
    a, b = bench.create(1), bench.create(2)
    entry = bench.append(a, b, data=b"x")
    assert bench.store.extend([a, b], entry, b"y", 2)
    assert not bench.store.extend([a], entry, b"y", 1)
    assert (a.next_offset, b.next_offset) == (3, 3)
    bench.append(b, data=b"z")
    assert not bench.store.extend([a, b], entry, b"y", 1)
    assert bench.commit()
    assert not bench.store.extend([a, b], entry, b"y", 1)
    assert bench.read(a) == [(0, 3, b"xy")]
    assert bench.read(b) == [(0, 3, b"xy"), (3, 1, b"z")]


def test_what_is_staged_while_the_disk_works_is_the_next_commit() -> None:
    bench = Bench()
    log = bench.create(1)
    assert bench.commit()
    bench.append(log)
    bench.store.urgent()
    bench.loop.step()
    for _ in range(10):
        bench.append(log)
    bench.store.urgent()
    bench.loop.run(lambda: log.durable_offset == 11)
    assert [group.sequence for group in bench.told.groups] == [1, 2, 3]


def test_discards_marks_and_state_survive_reopening() -> None:
    bench = Bench()
    log = bench.create(1, shard=7)
    for number in range(20):
        bench.append(log, data=b"%d" % number)
    bench.store.mark(log, 9)
    bench.store.fold(3, b"key", b"a")
    bench.store.fold(3, b"key", b"b")
    bench.store.discard(log, 0, 3)
    bench.store.discard(log, 5, 7)
    bench.store.discard(log, 7, 8)
    assert bench.commit()
    assert (log.first_offset, log.marked_offset, list(log.holes())) == (3, 9, [(5, 8)])
    bench = bench.reopened()
    log = bench.log(1)
    assert (log.shard, log.first_offset, log.next_offset, log.durable_offset, log.marked_offset) == (7, 3, 20, 20, 9)
    assert list(log.holes()) == [(5, 8)]
    assert [base for base, _, _ in bench.read(log)] == [3, 4, *range(8, 20)]
    assert bench.store.get(3, b"key") == b"ab"
    assert bench.store.scan(3, b"", b"z", 10) == [(b"key", b"ab")]


def test_discards_close_up_with_the_floor() -> None:
    bench = Bench()
    log = bench.create(1)
    bench.append(log, count=10)
    assert bench.commit()
    bench.store.discard(log, 4, 6)
    bench.store.discard(log, 0, 4)
    assert log.first_offset == 6
    assert list(log.holes()) == []
    stored = log.reader().at(0)
    assert stored is not None
    assert stored.base == 0
    bench.store.discard(log, 6, 10)
    assert log.reader().at(0) is None
    assert bench.store.statistics()["cached_bytes"] <= 64


def test_a_dropped_log_is_gone_and_its_readers_end() -> None:
    bench = Bench()
    log = bench.create(1)
    bench.append(log)
    assert bench.commit()
    reader = log.reader()
    bench.store.drop_log(log)
    assert reader.at(0) is None
    assert bench.commit()
    bench = bench.reopened()
    assert bench.store.log((1).to_bytes(16, "big")) is None


def test_more_than_the_cache_is_read_from_the_journal() -> None:
    bench = Bench()
    log, other = bench.create(1), bench.create(2)
    expected = []
    for number in range(300):
        data = b"%05d" % number * 20
        bench.append(log, data=data)
        bench.append(other, data=b"other")
        expected.append((number, 1, data))
        assert bench.commit()
    figures = bench.store.statistics()
    assert figures["cached_bytes"] <= SMALL.cache_size + 4096
    assert figures["segments"] >= 1
    assert bench.read(log) == expected
    bench = bench.reopened()
    assert bench.read(bench.log(1)) == expected


def test_an_entry_larger_than_a_journal_file_is_kept() -> None:
    bench = Bench()
    log = bench.create(1)
    bench.append(log, data=b"x" * 100_000)
    bench.append(log, data=b"y")
    assert bench.commit()
    bench = bench.reopened()
    assert bench.read(bench.log(1)) == [(0, 1, b"x" * 100_000), (1, 1, b"y")]


@pytest.mark.parametrize("kind", ["fail_write", "fail_sync"])
def test_an_error_of_write_or_sync_ends_the_store(kind: str) -> None:
    bench = Bench()
    log = bench.create(1)
    assert bench.commit()
    setattr(bench.disk, kind, OSError(5, "broken"))
    bench.append(log)
    assert not bench.commit()
    assert isinstance(bench.told.failed, OSError)
    assert log.durable_offset == 0
    with pytest.raises(Unavailable):
        bench.append(log)
    assert len(bench.told.groups) == 1


def test_closing_commits_what_is_staged() -> None:
    bench = Bench()
    log = bench.create(1)
    bench.append(log, data=b"last")
    bench.close()
    bench = bench.reopened()
    assert bench.read(bench.log(1)) == [(0, 1, b"last")]


def test_creating_a_log_twice_is_refused() -> None:
    bench = Bench()
    bench.create(1)
    with pytest.raises(Refused):
        bench.create(1)


def test_the_journal_cut_at_every_byte_of_its_last_commits() -> None:
    bench = Bench()
    log = bench.create(1)
    ends = []
    for number in range(4):
        bench.append(log, data=b"%d" % number * 10)
        assert bench.commit()
        ends.append(bench.store.ring.current.end)
    name = bench.store.ring.current.name
    whole = bytes(bench.disk.nodes[name].data)
    for cut in range(ends[0], ends[3] + 1):
        disk = bench.disk.copy(bench.loop.__class__())
        disk.nodes[name].data[cut:] = bytes(len(whole) - cut)
        kept = sum(1 for end in ends if end <= cut)
        again = bench.reopened(disk)
        found = again.read(again.log(1))
        assert kept <= len(found) <= sum(1 for end in ends if end - 48 <= cut), cut  # trailing zeroes may be cut off unnoticed
        assert found == [(number, 1, b"%d" % number * 10) for number in range(len(found))]


def test_a_flipped_bit_in_the_middle_is_refused_with_file_and_position() -> None:
    bench = Bench()
    log = bench.create(1)
    for _ in range(5):
        bench.append(log, data=b"0123456789")
        assert bench.commit()
    current = bench.store.ring.current
    for position in range(0, current.end - 300, 11):
        disk = bench.disk.copy(bench.loop.__class__())
        disk.nodes[current.name].data[position] ^= 0x10
        with pytest.raises(CorruptData, match=current.name):
            bench.reopened(disk)


def rewritten(bench: Bench, log: Log, first: int, end: int, entries: list[tuple[int, int, bytes]]) -> None:
    stored = [stored_entry(base, restore_entry(2, 1, 0, 1, span, data)) for base, span, data in entries]
    done: list[bool] = []
    bench.store.rewrite(log, first, end, stored, lambda: done.append(True))
    bench.loop.run(lambda: bool(done) or bench.told.failed is not None)
    assert done


def test_a_rewritten_range_is_read_instead_of_what_was_there() -> None:
    bench = Bench()
    log, other = bench.create(1), bench.create(2)
    for number in range(30):
        bench.append(log, other, data=b"%d" % number)
        assert bench.commit()
    pinned = log.reader().at(19)
    rewritten(bench, log, 0, 20, [(3, 1, b"three"), (10, 5, b"ten")])
    expected = [(3, 1, b"three"), (10, 5, b"ten"), *((number, 1, b"%d" % number) for number in range(20, 30))]
    assert bench.read(log) == expected
    assert len(bench.read(other)) == 30
    assert pinned is not None
    assert pinned.entry.data == b"19"
    rewritten(bench, log, 10, 15, [])
    del expected[1]
    assert bench.read(log) == expected
    bench.append(log, data=b"next")
    assert bench.commit()
    expected.append((30, 1, b"next"))
    bench = bench.reopened()
    assert bench.read(bench.log(1)) == expected
    assert len(bench.read(bench.log(2))) == 30


def test_a_rewrite_must_fit_its_range() -> None:
    bench = Bench()
    log = bench.create(1)
    bench.append(log, count=10)
    assert bench.commit()
    entry = restore_entry(2, 1, 0, 1, 2, b"x")
    for first, end, base in [(0, 11, 0), (5, 5, 5), (0, 4, 3), (4, 8, 3)]:
        with pytest.raises(ValueError, match="rewrite"):
            bench.store.rewrite(log, first, end, [stored_entry(base, entry)], lambda: None)


def test_a_rewrite_of_a_log_that_is_dropped_ends() -> None:
    bench = Bench()
    log = bench.create(1)
    bench.append(log, count=10)
    assert bench.commit()
    done: list[bool] = []
    bench.store.rewrite(log, 0, 10, [], lambda: done.append(True))
    bench.store.drop_log(log)
    bench.loop.run(lambda: bool(done))
    assert done


def test_find_by_time_in_segments_journal_and_memory() -> None:
    bench = Bench()
    log, other = bench.create(1), bench.create(2)
    times = []
    for _ in range(200):
        bench.loop.call_later(1.0, lambda: None)
        bench.loop.run(lambda now=bench.loop.now: bench.loop.now >= now + 1.0)
        bench.append(log, data=b"x" * 300)
        bench.append(other, data=b"y")
        assert bench.commit()
        stored = log.reader().at(log.durable_offset - 1)
        assert stored is not None
        times.append(stored.entry.append_time_ms)
    assert bench.store.statistics()["segments"] >= 1
    bench = bench.reopened()
    log = bench.log(1)
    for offset in (0, 1, 50, 120, 198, 199):
        for time_ms, expected in ((times[offset], offset), (times[offset] + 1, offset + 1)):
            found: list[int] = []
            log.find(time_ms, found.append)
            bench.loop.run(lambda found=found: bool(found))
            assert found == [expected]


def test_too_many_rows_in_memory_start_a_sort_before_a_file_is_full() -> None:
    settings = StoreSettings(journal_file_size=1 << 20, journal_ready_files=1, reserve_size=0, index_rows_max=100)
    bench = Bench(None, settings)
    log = bench.create(1)
    for _ in range(500):
        bench.append(log)
        assert bench.commit()
    bench.loop.run()
    assert bench.store.statistics()["segments"] >= 1
    assert sum(log.rows.count for log in bench.store.logs()) <= 150
    assert len(bench.read(log)) == 500


def test_crashes_do_not_pile_up_journal_files() -> None:
    bench = Bench()
    log = bench.create(1)
    for number in range(30):
        bench.append(log, data=b"%d" % number)
        assert bench.commit()
        loop = type(bench.loop)()
        bench = bench.reopened(bench.disk.crashed(loop, lambda _name, _sector: True))
        log = bench.log(1)
    bench.append(log, data=b"30")
    assert bench.commit()
    bench.loop.run()  # a round: what was left behind is sorted
    bench = bench.reopened(bench.disk.crashed(type(bench.loop)(), lambda _name, _sector: True))
    bench.loop.run()
    assert [int(data) for _, _, data in bench.read(bench.log(1))] == list(range(31))
    free = [name for name, _ in bench.store.ring.ready]
    assert len(free) <= SMALL.journal_ready_files + SMALL.journal_sort_files
    journal = [name for name in bench.disk.names() if name.startswith("journal")]
    assert len(journal) == len(free) + len(bench.store.ring.lives) + len(bench.store.ring.retired)
    assert len(journal) <= 12, journal


def turn(bench: Bench) -> None:
    """What is to be done now, without any time passing."""
    while bench.loop.ready:
        bench.loop.step()


def test_what_is_staged_beyond_a_large_group_is_the_next_commit_at_once() -> None:
    bench = Bench(settings=replace(SMALL, group_size_max=1000))
    log = bench.create(1)
    assert bench.commit()
    before = bench.store.commit_count
    bench.append(log, data=b"first")
    bench.store.urgent()
    turn(bench)  # it is with the committer
    first = bench.store.group()
    for number in range(5):
        bench.append(log, data=b"%d" % number * 600)
        bench.store.fold(0, b"key", b"%d" % number)
        bench.store.urgent()
        turn(bench)
    assert bench.store.group() is not first
    assert bench.store.group().number == first.number + 2
    assert log.durable_offset == 0
    assert bench.commit()
    assert bench.store.commit_count == before + 4
    expected = [(0, 1, b"first")] + [(1 + number, 1, b"%d" % number * 600) for number in range(5)]
    assert bench.read(log) == expected
    again = Bench(bench.disk.copy(Loop()))
    assert again.read(again.log(1)) == expected
    assert again.store.get(0, b"key") == b"01234"


def test_many_rows_are_the_next_commit_as_many_bytes_are() -> None:
    bench = Bench()
    log = bench.create(1)
    assert bench.commit()
    before = bench.store.commit_count
    bench.append(log)
    bench.store.urgent()
    turn(bench)  # it is with the committer
    numbers = set()
    for number in range(3 * ROWS_MAX):
        bench.store.fold(0, b"key%d" % number, b"v")
        if number % 100 == 0:
            numbers.add(bench.store.group().number)
            bench.store.urgent()
            turn(bench)
    assert len(numbers) == 3
    assert bench.commit()
    assert bench.store.commit_count - before >= 4
    again = Bench(bench.disk.copy(Loop()))
    assert [again.store.get(0, b"key%d" % number) for number in (0, 3 * ROWS_MAX - 1)] == [b"v", b"v"]


def journal_sizes(bench: Bench) -> list[int]:
    return sorted(bench.disk.open(name).size() for name in bench.disk.names() if name.startswith("journal-"))


def test_journal_files_are_small_until_there_is_traffic() -> None:
    settings = StoreSettings(journal_file_size=1 << 20, journal_first_file_size=16 << 10, reserve_size=0)
    bench = Bench(None, settings)
    bench.loop.run()
    assert sum(journal_sizes(bench)) <= 3 * (16 << 10)
    log = bench.create(1)
    for number in range(400):
        bench.append(log, data=b"%d" % number + bytes(10_000))
        assert bench.commit()
        bench.loop.run()
    assert journal_sizes(bench)[-1] == 1 << 20
    bench = bench.reopened()
    assert [int(data[:-10_000]) for _, _, data in bench.read(bench.log(1))] == list(range(400))


def test_journal_files_have_full_size_as_soon_as_there_is_traffic() -> None:
    """What is zeroed of sizes between the first and the full one is never reused, and is zeroed while there is much to do."""
    bench = Bench(None, StoreSettings(journal_file_size=1 << 20, journal_first_file_size=32 << 10, reserve_size=0))
    log = bench.create(1)
    sizes: set[int] = set()
    for _ in range(20):
        bench.append(log, data=bytes(10_000))
        assert bench.commit()
        bench.loop.run()
        sizes.update(file.size() for _, file in bench.store.ring.ready)
    assert sizes == {32 << 10, 1 << 20}


@pytest.mark.parametrize("closes", [False, True])
def test_the_time_of_shards_is_not_before_what_was_journalled(closes: bool) -> None:
    bench = Bench()
    log = bench.create(1)
    bench.loop.now = 3600.0
    bench.append(log, data=b"x")
    assert bench.commit()
    if closes:
        bench.close()
    again = bench.reopened(bench.disk.copy(Loop()))  # whose clock begins an hour earlier
    hour_ms = 3_600_000
    assert again.loop.wall_ms() < bench.loop.wall_ms() - hour_ms + 1000
    assert again.store.shard_time(0).now_ms() >= bench.loop.wall_ms() - 1000


def test_shards_close_and_open() -> None:
    bench = Bench()
    here, there = bench.create(1, shard=1), bench.create(2, shard=2)
    bench.append(there, data=b"before")
    closed: list[int] = []
    bench.store.close_shard(2, lambda: closed.append(2))
    for refused in (
        lambda: bench.append(here, there, data=b"both"),
        lambda: bench.store.discard(there, 0, 1),
        lambda: bench.store.mark(there, 1),
        lambda: bench.store.fold(2, b"k:1", b"x"),
        lambda: bench.store.drop_log(there),
        lambda: bench.store.create_log(2, bytes(16)),
        lambda: bench.store.close_shard(2, bool),
    ):
        with pytest.raises(Unavailable, match="shard 2"):
            refused()
    assert (here.next_offset, there.next_offset) == (0, 1)
    assert closed == []
    bench.loop.run(lambda: bool(closed))
    assert there.durable_offset == 1
    assert list(bench.store.logs(2)) == [there]
    bench.append(here, data=b"goes on")
    bench.store.open_shard(2, 7, lambda: closed.append(-2))
    bench.loop.run(lambda: len(closed) == 2)
    bench.append(there, data=b"after")
    assert bench.commit()
    assert [bench.read(log)[-1][2] for log in (here, there)] == [b"goes on", b"after"]
