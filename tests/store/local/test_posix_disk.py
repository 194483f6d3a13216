"""A real directory: lock, lanes, a store reopened on it, and the limits of the disk."""

from __future__ import annotations

import asyncio
import fcntl
import os
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from store_bench import SMALL, Bench, Chance, Loop, MemoryDisk, Told, fold

from entrepot.clock import SystemClock
from entrepot.model.entry import make_entry
from entrepot.model.errors import Refused
from entrepot.store.local.opening import open_store
from entrepot.store.local.posix_disk import PosixDisk
from entrepot.store.local.settings import Durability, StoreSettings
from entrepot.store.local.store import LocalStore


def opened(path: Path, settings: StoreSettings = SMALL) -> LocalStore:
    loop: Any = asyncio.get_running_loop()
    store = open_store(str(path), scheduler=loop, clock=SystemClock(), entropy=Chance(), fold=fold, settings=settings)
    store.set_owner(Told())
    return store


async def commit(store: LocalStore) -> None:
    done = asyncio.get_running_loop().create_future()
    store.group().calls.append(lambda: done.set_result(None))
    store.urgent()
    await done


async def closed(store: LocalStore) -> None:
    done = asyncio.get_running_loop().create_future()
    store.close(lambda: done.set_result(None))
    await done


@pytest.mark.parametrize("durability", list(Durability))
def test_what_was_committed_is_there_after_reopening(tmp_path: Path, durability: Durability) -> None:
    settings = StoreSettings(durability=durability, journal_file_size=64 << 10, journal_ready_files=1, reserve_size=0, cache_size=10_000, sync_interval_ms=1)

    async def run() -> None:
        store = opened(tmp_path / "data", settings)
        log = store.create_log(0, b"l" * 16)
        for number in range(400):
            store.append([log], make_entry(2, 1, 0, b"", b"%04d" % number * 100, 1))
            store.fold(0, b"count", b"x")
            if number % 5 == 4:
                store.discard(log, number - 3, number - 2)
            await commit(store)
        await closed(store)
        store = opened(tmp_path / "data", settings)
        again = store.log(b"l" * 16)
        assert again is not None
        assert (again.next_offset, again.durable_offset) == (400, 400)
        reader = again.reader()
        offset = found = 0
        while offset < 400:
            stored = reader.at(offset)
            if stored is None:
                done = asyncio.get_running_loop().create_future()
                reader.fetch(offset, lambda done=done: done.set_result(None))
                await done
                continue
            assert stored.entry.data == b"%04d" % stored.base * 100
            found += 1
            offset = stored.base + 1
        assert found == 320
        assert store.get(0, b"count") == b"x" * 400
        await closed(store)

    asyncio.run(run())


def test_a_directory_has_one_process(tmp_path: Path) -> None:
    async def run() -> None:
        store = opened(tmp_path)
        with pytest.raises(Refused, match="in use"):
            opened(tmp_path)
        await closed(store)
        await closed(opened(tmp_path))

    asyncio.run(run())


def test_files_of_a_disk(tmp_path: Path) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        for full_sync in (0, fcntl.F_GETFD):  # the second is how macOS syncs, with a harmless command
            disk = PosixDisk(str(tmp_path / str(full_sync)), loop, full_sync=full_sync)
            file = disk.open("a", create=True)
            with pytest.raises(FileExistsError):
                disk.open("a", create=True)
            file.pwrite(3, [b"abc", b"def"])
            file.sync()
            assert (file.size(), file.pread(0, 100), file.pread(4, 2)) == (9, b"\0\0\0abcdef", b"bc")
            file.truncate(5)
            outcomes: list[asyncio.Future[Any]] = [loop.create_future() for _ in range(4)]

            def told(outcome: asyncio.Future[Any]) -> Any:
                return lambda result, error: outcome.set_result(error if error is not None else result)

            disk.read(file, 1, 100, told(outcomes[0]))
            disk.background(lambda: "worked", told(outcomes[1]))
            disk.background(partial(disk.open, "none"), told(outcomes[2]))
            disk.commit(file, 0, [b"xy"], sync=True, done=told(outcomes[3]))
            found = await asyncio.gather(*outcomes)
            assert found[:2] == [b"\0\0ab", "worked"]
            assert isinstance(found[2], FileNotFoundError)
            assert isinstance(found[3], float)
            disk.rename("a", "b")
            disk.sync_directory()
            assert disk.names() == ["b"]
            assert disk.free_bytes() > 0
            disk.remove("b")
            file.close()
            file.close()
            disk.close()
            disk.close()

    asyncio.run(run())


def test_reads_of_more_than_a_turns_share_all_come_also_while_it_closes(tmp_path: Path) -> None:
    size = 3 << 20
    data = os.urandom(size)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        disk = PosixDisk(str(tmp_path), loop)
        file = disk.open("a", create=True)
        file.pwrite(0, [data])
        found: list[bytes] = []
        for _ in range(6):
            disk.read_apart([(file, 0, 30, 1 << 20), (file, 1 << 20, 0, 2 << 20)], lambda pieces, _: found.append(b"".join(map(b"".join, pieces))))
            disk.read_many([(file, 0, size)], lambda pieces, _: found.append(b"".join(pieces)))
        while len(found) < 12:
            await asyncio.sleep(0)
        for _ in range(6):
            disk.read(file, 0, size, lambda piece, _: found.append(piece))
        disk.close()
        while len(found) < 18:
            await asyncio.sleep(0)
        file.close()
        assert set(found) == {data}

    asyncio.run(run())


def test_a_nearly_full_disk_refuses_appends_and_lets_the_rest_go_on() -> None:
    settings = StoreSettings(journal_file_size=16 << 10, journal_ready_files=1, reserve_size=1 << 20, cache_size=8 << 10)
    bench = Bench(MemoryDisk(Loop()), settings)
    heard: list[bool] = []
    bench.told.store_pressure = heard.append  # type: ignore[attr-defined]
    log = bench.create(1)
    assert bench.commit()
    bench.disk.free = bench.disk.used + (1 << 20) + 200_000
    while not bench.store.full:
        bench.append(log, data=b"x" * 1000)
        assert bench.commit()
    with pytest.raises(Refused, match="nearly full"):
        bench.append(log)
    assert heard == [True]
    entry = make_entry(2, 1, 0, b"", b"x", 1)
    assert not bench.store.extend([log], entry, b"y", 1)
    bench.store.discard(log, 0, log.next_offset)
    bench.store.fold(0, b"k", b"v")
    assert bench.commit()
    assert log.first_offset == log.durable_offset
    bench.disk.free += 4 << 20
    bench.store.fold(0, b"k", b"v")
    assert bench.commit()
    assert not bench.store.full
    assert heard == [True, False]
    bench.append(log)
    assert bench.commit()


def test_too_much_staged_is_pressure_until_it_is_durable() -> None:
    settings = StoreSettings(journal_file_size=16 << 10, journal_ready_files=1, reserve_size=0, staged_max=10_000)
    bench = Bench(MemoryDisk(Loop()), settings)
    heard: list[bool] = []
    bench.told.store_pressure = heard.append  # type: ignore[attr-defined]
    log = bench.create(1)
    for _ in range(12):
        bench.append(log, data=b"x" * 1000)
    assert heard == [True]
    assert bench.store.pressure
    assert bench.commit()
    assert heard == [True, False]
