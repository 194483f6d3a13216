"""The simulated disk: what is synced stays, what is not may not, and everything possible happens under some seed."""

import errno

import pytest

from entrepot.simulation.disk import SECTOR_SIZE, Crashed, SimulatedDisk
from entrepot.simulation.loop import SimulatedLoop

SEEDS = range(200)


def made(seed, data=b""):
    loop = SimulatedLoop(seed)
    disk = SimulatedDisk(loop)
    file = disk.open("a", create=True)
    file.pwrite(0, [data])
    file.sync()
    disk.sync_directory()
    return loop, disk, file


def after(disk, name="a"):
    disk.crash()
    if name not in disk.names():
        return None
    file = disk.open(name)
    return file.pread(0, file.size())


def test_what_is_synced_stays():
    for seed in SEEDS:
        _, disk, _ = made(seed, b"x" * 10_000)
        assert after(disk) == b"x" * 10_000


def test_any_subset_of_sectors_survives():
    seen = set()
    for seed in SEEDS:
        _, disk, file = made(seed, b"-" * 3 * SECTOR_SIZE)
        file.pwrite(0, [b"+" * SECTOR_SIZE, b"+" * 2 * SECTOR_SIZE])
        data = after(disk)
        seen.add(bytes(data[sector * SECTOR_SIZE] for sector in range(3)))
        assert all(len(set(data[sector * SECTOR_SIZE : (sector + 1) * SECTOR_SIZE])) == 1 for sector in range(3))
    assert seen == {bytes((a, b, c)) for a in b"+-" for b in b"+-" for c in b"+-"}


def test_an_unsynced_length_may_be_old_or_new_or_between():
    sizes = set()
    for seed in SEEDS:
        _, disk, file = made(seed, b"-" * 100)
        file.pwrite(100, [b"+" * 9000])
        sizes.add(len(after(disk)))
    assert {100, 9100} < sizes


def test_a_truncation_may_come_undone():
    seen = set()
    for seed in SEEDS:
        _, disk, file = made(seed, b"-" * 100)
        file.truncate(0)
        seen.add(after(disk))
    assert seen == {b"", b"-" * 100}


def test_names_need_the_directory_synced():
    seen = set()
    for seed in SEEDS:
        _, disk, _ = made(seed)
        new = disk.open("b.tmp", create=True)
        new.pwrite(0, [b"b"])
        new.sync()
        disk.rename("b.tmp", "b")
        disk.remove("a")
        disk.crash()
        seen.add(tuple(disk.names()))
        if "b" in disk.names():
            assert disk.open("b").pread(0, 10) == b"b"
    assert seen >= {(), ("a",), ("b",), ("a", "b"), ("a", "b.tmp"), ("b.tmp",)}


def test_a_synced_rename_replaces():
    for seed in SEEDS:
        _, disk, _ = made(seed, b"old")
        new = disk.open("a.tmp", create=True)
        new.pwrite(0, [b"new"])
        new.sync()
        disk.sync_directory()
        disk.rename("a.tmp", "a")
        assert after(disk) in (b"old", b"new")
        _, disk, _ = made(seed, b"old")
        new = disk.open("a.tmp", create=True)
        new.pwrite(0, [b"new"])
        new.sync()
        disk.rename("a.tmp", "a")
        disk.sync_directory()
        assert after(disk) == b"new"


def test_lanes_report_in_order_and_only_what_is_synced():
    loop, disk, file = made(3)
    seen = []
    for number in range(5):
        disk.commit(file, number, [b"x"], sync=True, done=lambda seconds, error, number=number: seen.append((number, seconds > 0, error)))
        disk.background(lambda number=number: number * 10, lambda result, error: seen.append(result))
    disk.read(file, 0, 3, lambda data, error: seen.append(data))
    loop.run_until(lambda: len(seen) == 11)
    assert [item for item in seen if isinstance(item, tuple)] == [(number, True, None) for number in range(5)]
    assert [item for item in seen if isinstance(item, int)] == [0, 10, 20, 30, 40]
    assert after(disk) == b"xxxxx"


def test_a_commit_under_way_may_be_lost_and_is_not_reported():
    outcomes = set()
    for seed in SEEDS:
        loop, disk, file = made(seed)
        reported = []
        disk.commit(file, 0, [b"x"], sync=True, done=lambda *_, reported=reported: reported.append(True))
        loop.run_for(loop.random.uniform(0, 1e-3))
        data = after(disk)
        assert data == b"x" if reported else data in (b"", b"x", b"\0")
        loop.run_for(1)
        outcomes.add((bool(reported), data))
    assert {(True, b"x"), (False, b"x"), (False, b"")} <= outcomes


def test_a_crash_in_the_middle_of_background_work():
    loop, disk, file = made(1)
    done = []

    def work():
        file.pwrite(0, [b"1"])
        file.sync()
        file.pwrite(0, [b"2"])
        file.sync()

    disk.background(work, lambda *_: done.append(True))
    disk.crash_after = 3
    with pytest.raises(Crashed):
        loop.run_until(lambda: bool(done))
    with pytest.raises(Crashed):
        file.sync()
    assert after(disk) in (b"1", b"2")
    assert not done


def test_failures():
    loop, disk, file = made(1, b"old")
    seen = []
    disk.fail_next["write"] = errno.EIO
    disk.commit(file, 0, [b"x"], sync=True, done=lambda result, error: seen.append((result, error.errno)))
    loop.run_until(lambda: bool(seen))
    disk.fail_next["sync"] = errno.EIO
    disk.commit(file, 0, [b"new"], sync=True, done=lambda result, error: seen.append((result, error.errno)))
    loop.run_until(lambda: len(seen) == 2)
    assert seen == [(None, errno.EIO)] * 2
    file.sync()
    assert file.pread(0, 3) == b"new"
    assert after(disk) == b"old"


def test_nothing_behind_a_failed_commit_is_attempted():
    loop, disk, file = made(1, b"old")
    seen = []
    disk.fail_next["sync"] = errno.EIO
    for data in (b"1", b"2", b"3"):
        disk.commit(file, 0, [data], sync=True, done=lambda result, error: seen.append(error.errno))
    loop.run_until(lambda: len(seen) == 3)
    assert seen == [errno.EIO] * 3
    assert file.pread(0, 3) == b"1ld"


def test_the_disk_fills():
    _, disk, file = made(1)
    disk.capacity = 10_000
    file.pwrite(0, [bytes(8000)])
    assert disk.free_bytes() == 2000
    with pytest.raises(OSError, match="No space"):
        file.pwrite(8000, [bytes(2001)])
    file.pwrite(8000, [bytes(2000)])
    file.truncate(0)
    assert disk.free_bytes() == 10_000


def test_closing_finishes_what_was_submitted():
    _, disk, file = made(1)
    done = []
    for number in range(3):
        disk.commit(file, number, [b"x"], sync=True, done=done.append)
    disk.close()
    assert after(disk) == b"xxx"
    assert not done
