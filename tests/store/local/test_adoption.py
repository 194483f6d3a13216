"""Journal files whose entries are large and alive stay as they are: segments refer to them, readers find everything, and damage is found and set aside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from store_bench import SMALL, Bench, Chance, Loop, MemoryDisk

from entrepot.model.errors import CorruptData
from entrepot.store.local.quarantine import Quarantine
from entrepot.store.local.settings import StoreSettings
from entrepot.store.local.verify import Report, verify

ADOPTING = replace(SMALL, adopt_size_min=4096, adopt_entry_size_min=500, cache_size=0)
LOGS = 3
COUNT = 120


def grown(settings: StoreSettings = ADOPTING, size: int = 600) -> Bench:
    """Logs whose entries alternate in the journal, most of them no longer in the current file."""
    bench = Bench(settings=settings)
    logs = [bench.create(number, number) for number in range(LOGS)]
    for number in range(COUNT):
        for log in logs[: 2 if number % 5 else LOGS]:
            bench.append(log, data=b"%04d" % number * (size // 4))
        bench.store.fold(0, b"key", b"%d" % (number % 10))
        assert bench.commit()
    bench.loop.run()
    return bench


def names(disk: MemoryDisk, prefix: str) -> list[str]:
    return [name for name in disk.names() if name.startswith(prefix)]


def adopted_files(bench: Bench) -> list[str]:
    return [name for segment in bench.store.maintenance._segments.segments() for name in segment.names()[1:]]


def everything(bench: Bench) -> list[list[Any]]:
    return [bench.read(bench.log(number)) for number in range(LOGS)]


def test_large_entries_stay_where_they_are_and_are_read_from_there() -> None:
    bench = grown()
    figures = bench.store.statistics()
    assert figures["adopted_bytes"] > 60_000
    assert figures["sorted_bytes"] < figures["adopted_bytes"] / 5
    assert figures["journal_unsorted_bytes"] < 64 << 10
    expected = everything(bench)
    assert [len(found) for found in expected] == [COUNT, COUNT, COUNT // 5]
    again = Bench(bench.disk.copy(Loop()), ADOPTING, 7)
    assert everything(again) == expected
    assert verify(again.disk).is_whole  # type: ignore[arg-type]


def test_small_entries_are_sorted() -> None:
    bench = grown(size=40)
    figures = bench.store.statistics()
    assert figures["adopted_bytes"] == 0
    assert adopted_files(bench) == []


def test_what_is_found_by_time_is_found_there() -> None:
    bench = grown()
    log = bench.log(0)
    first = bench.read(log)[0]
    found: list[int] = []
    log.find(0, found.append)
    bench.loop.run(lambda: bool(found))
    assert found == [first[0]]
    late: list[int] = []
    log.find(1 << 60, late.append)
    bench.loop.run(lambda: bool(late))
    assert late == [log.durable_offset]


def test_a_file_goes_with_its_last_record() -> None:
    bench = grown()
    before = adopted_files(bench)
    assert set(before) <= set(bench.disk.names())
    for number in range(LOGS):
        log = bench.log(number)
        bench.store.discard(log, 0, log.next_offset)
    logs = [bench.log(number) for number in range(LOGS)]
    for number in range(4 * COUNT):
        bench.append(logs[0], data=b"%04d" % number * 150)
        assert bench.commit()
    bench.loop.run()
    assert not set(before) & set(adopted_files(bench))
    assert not set(before) & set(bench.disk.names())


def test_a_mostly_dead_file_is_copied_and_goes() -> None:
    bench = grown()
    before = adopted_files(bench)
    kept = bench.read(bench.log(2))
    for number in range(2):
        bench.store.discard(bench.log(number), 0, bench.log(number).next_offset)
    for number in range(3 * COUNT):
        bench.append(bench.log(0), data=b"%04d" % number * 150)
        assert bench.commit()
    bench.loop.run()
    assert not set(before) & set(bench.disk.names())
    assert bench.read(bench.log(2)) == kept
    again = Bench(bench.disk.copy(Loop()), ADOPTING, 7)
    assert again.read(again.log(2)) == kept
    assert verify(again.disk).is_whole  # type: ignore[arg-type]


def test_few_large_entries_that_are_gone_free_their_file_however_many_small_ones_stay() -> None:
    bench = Bench(settings=ADOPTING)
    large, *small = [bench.create(number, number) for number in range(LOGS)]
    for number in range(COUNT):
        bench.append(large, data=b"%04d" % number * 1500)
        for log in small:
            bench.append(log, data=b"x" * 20)
        assert bench.commit()
    bench.loop.run()
    before = bench.store.statistics()["segment_bytes"]
    assert before > COUNT * 4000
    bench.store.discard(bench.log(0), 0, bench.log(0).next_offset)
    for number in range(4 * COUNT):
        bench.append(bench.log(1), data=b"x" * 20)
        bench.store.fold(0, b"key%d" % (number % 7), b"z" * 300)
        assert bench.commit()
    bench.loop.run()
    assert bench.store.statistics()["segment_bytes"] < before / 4
    assert len(bench.read(bench.log(1))) == 5 * COUNT
    assert len(bench.read(bench.log(2))) == COUNT


def test_a_fetch_brings_no_more_than_it_should() -> None:
    bench = grown(replace(ADOPTING, journal_file_size=64 << 10, journal_sort_files=1))
    segment = next(segment for segment in bench.store.maintenance._segments.segments() if segment.adopted is not None)
    answers: list[Any] = []
    bench.store.maintenance._segments.fetch(bench.log(0).id, 0, 1 << 40, 5000, lambda *answer: answers.append(answer))
    bench.loop.run(lambda: bool(answers))
    ((entries, after, error),) = answers
    assert error is None
    assert segment.adopted.size > 20_000
    assert 5000 // 600 <= len(entries) <= 5000 // 600 + 2
    assert after == entries[-1].base + entries[-1].entry.span


@pytest.mark.parametrize("settings", [ADOPTING, StoreSettings()], ids=["adopted", "journal"])
def test_long_entries_are_read_straight_to_where_they_stay(settings: StoreSettings) -> None:
    bench = Bench(settings=replace(settings, cache_size=1))
    log = bench.create(0, 0)
    wanted = [b"%04d" % number * 12_000 for number in range(COUNT)]
    for number, data in enumerate(wanted):
        entry = bench.append(log, data=data)
        if number % 7 == 6:
            entry.producer_id, entry.first_sequence = 5, number  # another length of its header
        assert bench.commit()
    bench.loop.run()
    apart: list[int] = []  # sizes of heads
    read_apart = bench.disk.read_apart
    bench.disk.read_apart = lambda reads, done: apart.extend(head for _, _, head, _ in reads) or read_apart(reads, done)  # type: ignore[method-assign]
    assert [data for _, _, data in bench.read(log)] == wanted
    assert 0 < apart.count(0) < 10  # before any was seen
    assert apart.count(32) > len(apart) / 2


@pytest.mark.parametrize("what", ["missing", "header"])
def test_a_file_that_is_not_the_one_referred_to_is_refused_and_set_aside(what: str) -> None:
    bench = grown()
    name = adopted_files(bench)[0]
    disk = bench.disk.copy(Loop())
    if what == "missing":
        del disk.nodes[name]
    else:
        disk.nodes[name].data[17] ^= 1
    with pytest.raises(CorruptData, match=name):
        Bench(disk.copy(Loop()), ADOPTING, 7)
    report = verify(disk)  # type: ignore[arg-type]
    assert any(name in str(damage) for damage in report.damages)
    check_after(bench, disk, mended(disk), gone=what == "missing")


def test_every_damaged_entry_is_found_and_set_aside() -> None:
    bench = grown()
    name = adopted_files(bench)[0]
    size = len(bench.disk.nodes[name].data)
    found = 0
    for position in range(64, size, size // 20):
        disk = bench.disk.copy(Loop())
        disk.nodes[name].data[position] ^= 0x08
        report = verify(disk)  # type: ignore[arg-type]
        if report.is_whole:
            continue  # between two entries nothing is read any more
        found += 1
        assert name in str(report)
        after = mended(disk)
        assert f"quarantine-{name}" in after.moved
        check_after(bench, disk, after, gone=True)
    assert found > 10


def mended(disk: MemoryDisk) -> Report:
    loop = disk.loop

    def run(start: Callable[[Callable[[], None]], None]) -> None:
        done: list[bool] = []
        start(lambda: done.append(True))
        loop.run(lambda: bool(done))
        assert done

    return Quarantine(disk, loop, run, None, clock=loop, entropy=Chance(9)).run()  # type: ignore[arg-type]


def check_after(before: Bench, disk: MemoryDisk, report: Report, *, gone: bool) -> None:
    """The store opens, and exactly what is not reported missing is there."""
    assert report.is_mended
    assert bool(report.missing) == gone
    assert verify(disk).is_whole  # type: ignore[arg-type]
    bench = Bench(disk, ADOPTING, 7)
    lost = {(missing.log, offset) for missing in report.missing for offset in range(missing.first, missing.end)}
    for number in range(LOGS):
        log = bench.log(number)
        assert bench.read(log) == [record for record in before.read(before.log(number)) if (log.id, record[0]) not in lost]
        bench.append(log, data=b"new")
    assert bench.commit()
    bench.close()


def test_while_commits_are_large_files_grow_and_none_is_zeroed() -> None:
    settings = replace(ADOPTING, journal_bulk_commit_size=4096, journal_bulk_file_size=64 << 10, group_size_max=16 << 10, journal_sort_files=1)
    bench = Bench(settings=settings)
    log = bench.create(0, 0)
    for number in range(60):
        for part in range(8):
            bench.append(log, data=b"%04d" % (8 * number + part) * 250)
        assert bench.commit()
    bench.loop.run()
    sizes = {name: len(bench.disk.nodes[name].data) for name in names(bench.disk, "journal-")}
    assert sum(32 << 10 < size <= 64 << 10 for size in sizes.values()) >= 4
    zeroed = bench.store.ring.ready
    assert len(zeroed) == 0
    for _ in range(20):
        bench.append(log, data=b"small")
        assert bench.commit()
    bench.loop.run()
    assert bench.store.ring.current.grows is False or bench.store.ring.ready
    assert [data for _, _, data in bench.read(log)][:2] == [b"0000" * 250, b"0001" * 250]
    assert verify(bench.disk.copy(Loop())).is_whole  # type: ignore[arg-type]
