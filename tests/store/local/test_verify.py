"""verify says what is wrong and where; quarantine makes the store open again and says what is missing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from store_bench import SMALL, Bench, Chance, Loop, MemoryDisk, Told, fold

from entrepot.clock import SystemClock
from entrepot.entropy import SystemEntropy
from entrepot.model.entry import make_entry
from entrepot.model.errors import CorruptData
from entrepot.store.local.checkpoint import CHECKPOINT_NAME, IMAGE_NAME
from entrepot.store.local.opening import open_store
from entrepot.store.local.quarantine import Quarantine, quarantine
from entrepot.store.local.verify import Report, verify


def grown() -> Bench:
    """A store with several segments, a checkpoint, and journal files in no segment: three logs, some records settled."""
    bench = Bench()
    logs = [bench.create(number, number) for number in range(3)]
    for number in range(120):
        bench.append(*logs, data=b"%04d" % number * 150)
        bench.store.fold(0, b"key", b"%d" % (number % 10))
        assert bench.commit()
        if number == 60:
            bench.store.discard(logs[1], 0, 30)
            bench.store.discard(logs[1], 35, 40)
    bench.loop.run()
    bench.store.settings = replace(SMALL, journal_sort_files=100)
    for number in range(120, 190):
        bench.append(*logs, data=b"%04d" % number * 100)
        assert bench.commit()
    return bench


def alive(number: int) -> list[int]:
    return [offset for offset in range(190) if number != 1 or (offset >= 30 and not 35 <= offset < 40)]


def mended(disk: MemoryDisk) -> Report:
    loop = disk.loop

    def run(start: Callable[[Callable[[], None]], None]) -> None:
        done: list[bool] = []
        start(lambda: done.append(True))
        loop.run(lambda: bool(done))
        assert done

    return Quarantine(disk, loop, run, None, clock=loop, entropy=Chance(9)).run()  # type: ignore[arg-type]


def names(disk: MemoryDisk, prefix: str) -> list[str]:
    return [name for name in disk.names() if name.startswith(prefix)]


def check_after(disk: MemoryDisk, report: Report) -> None:
    """The store opens, and exactly what is alive and not reported missing is there; then all is whole."""
    assert verify(disk).is_whole  # type: ignore[arg-type]
    bench = Bench(disk, SMALL, 7)
    gone = {(missing.log, offset) for missing in report.missing for offset in range(missing.first, missing.end)}
    for number in range(3):
        log = bench.log(number)
        wanted = [offset for offset in alive(number) if (log.id, offset) not in gone and offset < log.next_offset]
        assert [base for base, _, _ in bench.read(log)] == wanted
        assert log.first_offset + sum(end - first for first, end in log.holes()) + len(wanted) == log.next_offset
        bench.append(log, data=b"new")
    assert bench.commit()
    bench.close()


def test_a_whole_store_is_whole_and_untouched() -> None:
    bench = grown()
    disk = bench.disk.copy(Loop())
    before = {name: bytes(node.data) for name, node in disk.nodes.items()}
    seen: list[str] = []
    report = verify(disk, lambda what, _done, _total: seen.append(what))  # type: ignore[arg-type]
    assert report.is_whole
    assert report.commits >= 30
    assert report.entries > 100
    assert "whole" in str(report)
    assert any(what.startswith("segment-") for what in seen)
    assert any(what.startswith("journal-") for what in seen)
    assert mended(disk).is_whole
    assert {name: bytes(node.data) for name, node in disk.nodes.items()} == before


def test_an_empty_disk_is_whole() -> None:
    assert verify(MemoryDisk(Loop())).is_whole  # type: ignore[arg-type]


def test_every_damaged_byte_of_a_segment_is_found_and_set_aside() -> None:
    bench = grown()
    name = names(bench.disk, "segment-")[0]
    size = len(bench.disk.nodes[name].data)
    for position in [*range(0, 64, 7), *range(70, size, size // 25), size - 1]:
        if 24 <= position < 60:
            continue
        disk = bench.disk.copy(Loop())
        disk.nodes[name].data[position] ^= 0x08
        report = verify(disk)  # type: ignore[arg-type]
        assert {damage.file for damage in report.damages} == {name}, position
        assert name in str(report)
        after = mended(disk)
        assert after.moved == [f"quarantine-{name}"]
        check_after(disk, after)


def test_a_flipped_bit_in_an_entry_costs_no_more_than_its_step() -> None:
    bench = grown()
    name = names(bench.disk, "segment-")[0]
    disk = bench.disk.copy(Loop())
    disk.nodes[name].data[64 + 32 + 100] ^= 1
    report = mended(disk)
    assert report.missing
    assert sum(missing.end - missing.first for missing in report.missing) < 120
    check_after(disk, report)


def test_a_missing_segment() -> None:
    bench = grown()
    name = names(bench.disk, "segment-")[0]
    disk = bench.disk.copy(Loop())
    del disk.nodes[name]
    report = verify(disk)  # type: ignore[arg-type]
    assert [damage.file for damage in report.damages] == [name]
    check_after(disk, mended(disk))


def test_a_torn_tail_is_not_damage() -> None:
    bench = grown()
    disk = bench.disk.copy(Loop())
    current = bench.store.ring.current
    assert current is not None
    disk.nodes[current.name].data[current.end - 20] ^= 1
    report = verify(disk)  # type: ignore[arg-type]
    assert report.is_whole
    assert current.name in report.torn_tail
    assert "never acknowledged" in str(report)


def test_damage_in_the_journal_is_where_opening_refuses_and_is_cut_off() -> None:
    bench = grown()
    lives = list(bench.store.ring.lives.values())
    tried = 0
    for journal_file in lives:
        for position in range(70, journal_file.end - 600, max(200, journal_file.end // 9)):
            disk = bench.disk.copy(Loop())
            disk.nodes[journal_file.name].data[position] ^= 0x40
            try:
                Bench(disk.copy(Loop()), SMALL, 3)
                assert verify(disk).is_whole  # type: ignore[arg-type]
                continue
            except CorruptData:
                pass
            tried += 1
            report = verify(disk)  # type: ignore[arg-type]
            assert [damage.file for damage in report.damages] == [journal_file.name]
            assert 0 <= report.damages[0].position <= position
            after = mended(disk)
            assert f"quarantine-{journal_file.name}" in after.moved
            check_after(disk, after)
    assert tried > 5


def test_a_missing_journal_file() -> None:
    bench = grown()
    lives = list(bench.store.ring.lives.values())
    assert len(lives) > 1
    for journal_file in lives[:-1]:
        disk = bench.disk.copy(Loop())
        del disk.nodes[journal_file.name]
        report = verify(disk)  # type: ignore[arg-type]
        assert not report.is_whole
        check_after(disk, mended(disk))


def test_a_damaged_checkpoint_is_named_and_left() -> None:
    bench = grown()
    disk = bench.disk.copy(Loop())
    disk.nodes[IMAGE_NAME].data[500] ^= 1
    report = verify(disk)  # type: ignore[arg-type]
    assert [damage.file for damage in report.damages if damage.file == IMAGE_NAME]
    before = {name: bytes(node.data) for name, node in disk.nodes.items()}
    after = mended(disk)
    assert not after.moved
    assert not after.is_mended
    assert "Not mended" in str(after)
    assert {name: bytes(node.data) for name, node in disk.nodes.items()} == before


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A data directory as a broker left it."""
    loop = asyncio.new_event_loop()
    store: Any = open_store(str(tmp_path), scheduler=loop, clock=SystemClock(), entropy=SystemEntropy(), fold=fold, settings=SMALL)
    told = Told()
    store.set_owner(told)
    log = store.create_log(0, b"L" * 16)

    async def work() -> None:
        for number in range(150):
            entry = make_entry(2, 1, 0, b"", b"%04d" % number * 100, 1)
            store.append([log], entry)
            done = loop.create_future()
            store.group().calls.append(lambda done=done: done.set_result(None))
            store.urgent()
            await done
        closed = loop.create_future()
        store.close(lambda: closed.set_result(None))
        await closed

    loop.run_until_complete(work())
    loop.close()
    return tmp_path


def test_a_real_directory(directory: Path) -> None:
    assert verify(directory).is_whole
    assert (directory / CHECKPOINT_NAME).exists()
    segment = min(directory.glob("segment-*"))
    data = bytearray(segment.read_bytes())
    data[150] ^= 1
    segment.write_bytes(data)
    report = verify(directory)
    assert [damage.file for damage in report.damages] == [segment.name]
    after = quarantine(directory)
    assert after.moved == [f"quarantine-{segment.name}"]
    assert (directory / f"quarantine-{segment.name}").read_bytes() == bytes(data)
    assert after.missing
    assert after.is_mended
    assert "missing from now on" in str(after)
    assert verify(directory).is_whole
    assert quarantine(directory).moved == []
