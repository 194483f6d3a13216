"""What is particular to the volatile store: its memory, its scratch files, entries shared with a durable store."""

from __future__ import annotations

import pytest
from store_bench import Bench, Loop, MemoryDisk
from test_interface import VolatileBench

from entrepot.model.errors import CorruptData, Refused
from entrepot.store.shard_time import ShardTime
from entrepot.store.volatile import VolatileStore


def fill(bench: VolatileBench, logs: int, rounds: int, size: int = 1000) -> None:
    made = [bench.create(number) for number in range(logs)]
    for number in range(rounds):
        for log in made:
            bench.append(log, data=b"%06d" % number + b"x" * (size - 6))
        assert bench.commit()
        bench.loop.run()


def test_memory_stays_within_the_budget_and_everything_is_read_back() -> None:
    bench = VolatileBench(memory_size_max=100_000)
    fill(bench, 3, 300)
    figures = bench.store.statistics()
    assert figures["memory_bytes"] <= 100_000
    assert figures["scratch_bytes"] > 700_000
    for number in range(3):
        log = bench.log(number)
        assert log.bytes_alive == 300_000
        assert [data[:6] for _, _, data in bench.read(log)] == [b"%06d" % n for n in range(300)]
        assert [base for base, _, _ in bench.read(log, 150)] == list(range(150, 300))


def test_the_start_of_a_log_stays_in_memory_while_others_have_more() -> None:
    bench = VolatileBench(memory_size_max=300_000)
    fill(bench, 2, 500)
    for number in range(2):
        reader = bench.log(number).reader()
        assert all(reader.at(offset) is not None for offset in range(60))
        assert reader.at(300) is None


def test_scratch_files_go_with_what_is_in_them() -> None:
    bench = VolatileBench(memory_size_max=10_000)
    fill(bench, 2, 100)
    for number in range(2):
        bench.store.discard(bench.log(number), 10, 90)
        bench.store.discard(bench.log(number), 0, 100)
    assert bench.commit()
    bench.loop.run()
    figures = bench.store.statistics()
    assert (figures["memory_bytes"], figures["scratch_bytes"]) == (0, 0)
    bench.close()
    assert bench.disk.names() == []


def test_left_overs_of_a_crash_are_removed() -> None:
    disk = MemoryDisk(Loop())
    for name in ("scratch-00000007", "journal-1"):
        disk.open(name, create=True)
    VolatileBench(disk=disk)
    assert disk.names() == ["journal-1"]


def test_a_payload_of_many_logs_counts_once() -> None:
    bench = VolatileBench(memory_size_max=50_000)
    logs = [bench.create(number) for number in range(100)]
    bench.append(*logs, data=b"p" * 10_000)
    assert bench.commit()
    assert 10_000 <= bench.store.statistics()["memory_bytes"] < 11_000
    for log in logs[1:]:
        bench.store.drop_log(log)
    assert bench.store.statistics()["memory_bytes"] >= 10_000
    bench.store.discard(logs[0], 0, 1)
    assert bench.store.statistics()["memory_bytes"] == 0


def test_a_full_disk_refuses_appends_and_consuming_resumes_them() -> None:
    bench = VolatileBench(memory_size_max=10_000)
    bench.disk.fail_write = OSError(28, "No space left on device")
    log = bench.create(1)
    refused = False
    for _ in range(100):
        try:
            bench.append(log, data=b"x" * 1000)
        except Refused:
            refused = True
            break
        assert bench.commit()
        bench.loop.run()
    assert refused
    assert bench.told.failed is None
    count = log.next_offset
    assert len(bench.read(log)) == count
    bench.disk.fail_write = None
    bench.store.discard(log, 0, count - 1)
    assert bench.commit()
    for _ in range(50):
        bench.append(log, data=b"y" * 1000)
        assert bench.commit()
        bench.loop.run()
    assert bench.store.statistics()["memory_bytes"] <= 10_000
    assert len(bench.read(log)) == 51


def test_a_spilled_block_that_cannot_be_read_ends_the_store() -> None:
    bench = VolatileBench(memory_size_max=10_000)
    fill(bench, 1, 100)
    (name,) = bench.disk.names()
    bench.disk.nodes[name].data[200] ^= 1
    with pytest.raises(CorruptData):
        bench.read(bench.log(0))
    assert isinstance(bench.store.failed, CorruptData)


def test_what_is_discarded_or_dropped_while_it_is_written_is_not_kept() -> None:
    bench = VolatileBench(memory_size_max=5_000)
    logs = [bench.create(number) for number in range(3)]
    for log in (*logs, *logs):
        bench.append(log, data=b"z" * 1000)
    assert bench.commit()
    while bench.store.statistics()["spilling_bytes"] == 0:
        assert bench.loop.step()
    bench.store.discard(logs[0], 0, logs[0].next_offset)
    bench.store.drop_log(logs[1])
    bench.store.discard(logs[2], 1, 2)
    assert bench.commit()
    bench.loop.run()
    assert bench.read(logs[0]) == []
    assert [base for base, _, _ in bench.read(logs[2])] == [0, *range(2, logs[2].next_offset)]


def test_an_entry_also_in_a_durable_store_is_sealed_and_shared() -> None:
    durable, volatile = Bench(), VolatileBench()
    mine, its = volatile.create(1), durable.create(1)
    entry = durable.append(its, data=b"both")
    volatile.store.append([mine], entry)
    assert not durable.store.extend([its], entry, b"more", 1)
    assert not volatile.store.extend([mine], entry, b"more", 1)
    assert durable.commit()
    assert volatile.commit()
    for bench, log in ((durable, its), (volatile, mine)):
        stored = log.reader().at(0)
        assert stored is not None
        assert stored.entry is entry
        assert bench.read(log) == [(0, 1, b"both")]
    volatile.store.discard(mine, 0, 1)
    assert volatile.store.statistics()["memory_bytes"] == 0
    durable.store.discard(its, 0, 1)
    assert durable.store.statistics()["cached_bytes"] <= 64


def test_without_a_disk_memory_is_the_limit() -> None:
    bench = VolatileBench()
    bench.store = VolatileStore(bench.loop, ShardTime(bench.loop), lambda _key, _value, delta: delta, memory_size_max=1000)
    bench.store.set_owner(bench.told)
    log = bench.create(1)
    bench.append(log, data=b"x" * 1000)
    bench.append(log, data=b"x" * 1000)
    with pytest.raises(Refused, match="budget"):
        bench.append(log, data=b"x" * 1000)
    assert bench.commit()
    assert bench.store.statistics()["scratch_bytes"] == 0
    bench.close()
