"""Sorting and merging against a model: what is alive is read back, what is dead is left out, and memory stays bounded."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from encoding import encode, entry_of
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_disk import MemoryDisk, MemoryLoop

from both_modes import examples
from entrepot.model.errors import CorruptData
from entrepot.store.interface import Log
from entrepot.store.local import sorter as sorter_module
from entrepot.store.local.checkpoint import SegmentRow
from entrepot.store.local.segments import Segments, segment_name
from entrepot.store.local.sorter import Sorter, tier_of


class ModelLog(Log):
    """A log whose offsets are all one record's; `discarded` is its settled offsets."""

    def __init__(self, shard: int) -> None:
        self.discarded: set[int] = set()
        self.model_shard = shard
        self.next = 0

    @property
    def shard(self) -> int:  # type: ignore[override]
        return self.model_shard

    @property
    def first_offset(self) -> int:  # type: ignore[override]
        offset = 0
        while offset in self.discarded:
            offset += 1
        return offset

    def dead(self, first: int, end: int) -> bool:
        return all(offset in self.discarded for offset in range(first, end))

    def whole(self, first: int, end: int) -> bool:
        return not any(offset in self.discarded for offset in range(first, end))


class Bench:
    """Journal files of bare encoded entries with gaps, logs, a set of segments and a sorter."""

    def __init__(self, **options: Any) -> None:
        self.disk = MemoryDisk()
        self.loop = MemoryLoop(self.disk)
        self.logs: dict[bytes, ModelLog] = {}
        self.ids: dict[int, bytes] = {}
        self.segments = Segments(self.disk, self.logs.get)
        self.sorter = Sorter(self.disk, self.loop, self.segments, self.logs.get, **options)
        self.bodies: dict[tuple[bytes, int], bytes] = {}
        self.life = 0
        self.rows: dict[bytes, list[tuple[int, int, int, int, int]]] = {}
        self.position = 64

    def log(self, number: int) -> bytes:
        log_id = self.ids.setdefault(number, number.to_bytes(16, "big"))
        if log_id not in self.logs:
            self.logs[log_id] = ModelLog(number % 3)
        return log_id

    def begin_journal(self) -> None:
        self.life += 1
        self.rows = {}
        self.position = 64
        self.disk.files[f"journal-{self.life}"] = bytearray(64)

    def append(self, numbers: list[int], body: bytes, gap: int = 0) -> None:
        encoded = encode(entry_of(body, append_time_ms=self.life))
        file = self.disk.files[f"journal-{self.life}"]
        file.extend(b"\xee" * gap)
        for number in numbers:
            log = self.logs[self.log(number)]
            self.rows.setdefault(self.log(number), []).append((log.next, self.life, len(file), len(encoded), 1))
            self.bodies[self.log(number), log.next] = body
            log.next += 1
        file.extend(encoded)

    def discard(self, number: int, offsets: Any) -> None:
        self.logs[self.log(number)].discarded.update(offsets)

    def sort(self) -> list[SegmentRow]:
        packed = []
        for log_id, rows in self.rows.items():
            log = self.logs.get(log_id)
            if log is not None:
                packed.append((log.shard, log_id, b"".join(struct.pack("<QIIII", *row) for row in rows if not log.dead(row[0], row[0] + row[4]))))
        answers: list[Any] = []
        source = self.disk.open(f"journal-{self.life}")
        self.sorter.sort([(self.life, source)], packed, lambda *answer: answers.append(answer))
        self.loop.run()
        ((added, error),) = answers
        if error is not None:
            raise error
        self.segments.replace(added, [])
        return added  # type: ignore[no-any-return]

    def merge(self) -> tuple[list[SegmentRow], list[int]]:
        answers: list[Any] = []
        self.sorter.merge(lambda *answer: answers.append(answer))
        self.loop.run()
        ((added, removed, error),) = answers
        if error is not None:
            raise error
        self.segments.replace(added, removed)
        self.disk.run()
        return added, removed

    def merge_all(self) -> int:
        count = 0
        while self.merge() != ([], []):
            count += 1
            assert count < 100
        return count

    def read(self, log_id: bytes) -> dict[int, bytes | None]:
        found: dict[int, bytes | None] = {}
        offset = 0
        while offset < 1 << 40:
            answers: list[Any] = []
            self.segments.fetch(log_id, offset, 1 << 40, 1 << 18, lambda *answer, answers=answers: answers.append(answer))
            self.disk.run()
            ((entries, offset, error),) = answers
            if error is not None:
                raise error
            found.update((stored.base, stored.entry.data) for stored in entries)
        return found

    def check(self) -> None:
        """Every living record is there with its bytes, in order; whatever else is there is dead."""
        for log_id, log in self.logs.items():
            found = self.read(log_id)
            assert list(found) == sorted(found)
            for offset in range(log.next):
                if offset not in log.discarded:
                    assert found[offset] == self.bodies[log_id, offset]
            assert all(body == self.bodies[log_id, offset] for offset, body in found.items())
        assert all(segment.pins == 0 for segment in self.segments.segments())


appends = st.tuples(
    st.lists(st.integers(0, 5), min_size=1, max_size=4, unique=True),
    st.sampled_from([0, 1, 100, 4090, 5000, 30_000]),
    st.sampled_from([0, 0, 60, 9000, 150_000]),
)
discards = st.tuples(st.integers(0, 5), st.integers(0, 12), st.integers(1, 12))
rounds = st.lists(
    st.tuples(st.lists(appends, max_size=12), st.lists(discards, max_size=5), st.booleans(), st.none() | st.integers(0, 5)), min_size=1, max_size=12
)


@settings(max_examples=examples(60), deadline=None)
@given(rounds, st.sampled_from([4096, 40_000, 8 << 20]))
def test_against_a_model(history: list[Any], window_size: int) -> None:
    bench = Bench(window_size=window_size)
    for number in range(6):
        bench.log(number)
    for appended, discarded, merge, dropped in history:
        bench.begin_journal()
        for n, (numbers, size, gap) in enumerate(appended):
            bench.append(numbers, bytes([n & 255]) * size, gap)
        for number, first, count in discarded:
            log = bench.logs[bench.log(number)]
            bench.discard(number, range(min(first, log.next), min(first + count, log.next)))
        bench.sort()
        if dropped is not None:
            del bench.logs[bench.log(dropped)]
            bench.ids[dropped] = bytes([bench.life]) + bench.ids[dropped][1:]
            bench.log(dropped)
        if merge:
            bench.merge_all()
        bench.check()
    bench.merge_all()
    bench.check()
    for log in bench.logs.values():
        log.discarded.update(range(log.next))
    bench.merge_all()
    assert bench.segments.rows() == []
    assert [name for name in bench.disk.files if name.startswith("segment-")] == []


def test_nothing_alive_costs_nothing() -> None:
    bench = Bench()
    bench.begin_journal()
    for _ in range(100):
        bench.append([1, 2], b"x" * 1000)
    bench.discard(1, range(100))
    bench.discard(2, range(100))
    assert bench.sort() == []
    assert list(bench.disk.files) == ["journal-1"]
    assert bench.disk.syncs == 0


def test_reads_are_bounded_and_skip_what_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(window_size=100_000)
    bench.begin_journal()
    for n in range(1000):
        bench.append([n % 7], bytes([n & 255]) * 1000)
    for number in range(7):
        bench.discard(number, range(50, 143))
    read: list[int] = []
    whole = bench.disk.read_many
    monkeypatch.setattr(bench.disk, "read_many", lambda reads, done: read.append(sum(size for _, _, size in reads)) or whole(reads, done))
    added = bench.sort()
    assert len(added) == len(read) == 4
    assert max(read) <= 100_000 + 2 * 4096
    assert sum(read) < 450_000
    bench.check()


def test_sorted_logs_are_long_runs() -> None:
    bench = Bench()
    bench.begin_journal()
    for n in range(20_000):
        bench.append([n % 100], bytes([n & 255]) * 100)
    (row,) = bench.sort()
    bench.check()
    bench.disk.reads.clear()
    bench.read(bench.log(50))
    reads = [read for read in bench.disk.reads if read[0] == segment_name(row.id)]
    assert len(reads) == 1
    assert row.size < 20_000 * 170


def test_a_shared_payload_is_written_once_and_survives_its_first_log() -> None:
    bench = Bench()
    bench.begin_journal()
    bench.append([0, 3, 6, 9], b"P" * 100_000)
    bench.append([9], b"small")
    (row,) = bench.sort()
    assert row.size < 102_000
    bench.check()
    bench.discard(0, [0])
    bench.discard(3, [0])
    added, removed = bench.merge()
    assert removed == [row.id]
    assert added[0].size < 102_000
    bench.check()
    assert bench.merge() == ([], [])


def test_tiers_bound_the_number_of_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sorter_module, "TIER_SIZES", (10_000, 80_000, 640_000))
    bench = Bench()
    merges = 0
    for n in range(130):
        bench.begin_journal()
        for m in range(10):
            bench.append([m % 3], bytes([n]) * 400)
        bench.sort()
        merges += bench.merge_all()
        assert len(bench.segments.rows()) <= 8 * 3
    bench.check()
    assert 10 < merges < 40
    assert bench.sorter.merged_bytes < 4 * bench.sorter.sorted_bytes


def test_a_rewritten_range_replaces_the_original() -> None:
    bench = Bench()
    bench.begin_journal()
    for n in range(10):
        bench.append([0], b"old %d" % n)
    bench.append([1], b"other")
    bench.sort()
    bench.begin_journal()
    bench.logs[bench.log(0)].next = 2
    for n in range(2, 6):
        bench.append([0], b"new %d" % n)
    bench.logs[bench.log(0)].next = 10
    bench.append([0], b"old 10")
    bench.sort()
    bench.check()
    for n in range(8):
        bench.begin_journal()
        bench.append([0], b"more %d" % n)
        bench.sort()
    assert bench.merge_all() == 1
    assert len(bench.segments.rows()) == 1
    bench.check()
    assert bench.read(bench.log(0))[3] == b"new 3"


def test_an_entry_larger_than_the_window_and_than_a_read() -> None:
    bench = Bench(window_size=8192)
    bench.begin_journal()
    bench.append([1], b"a" * 3_000_000)
    bench.append([1, 4], b"b" * 2_000_000)
    bench.append([1], b"c")
    bench.sort()
    bench.check()
    bench.begin_journal()
    for _ in range(8):
        bench.append([1], b"d" * 5000, 100_000)
    bench.sort()
    assert bench.merge_all() == 1
    bench.check()


def test_slices_return_to_the_loop() -> None:
    bench = Bench()
    bench.begin_journal()
    for n in range(10_000):
        bench.append([n % 5], b"x" * 10)
    turns = 0
    packed = [(log.shard, log_id, b"".join(struct.pack("<QIIII", *row) for row in bench.rows[log_id])) for log_id, log in bench.logs.items()]
    answers: list[Any] = []
    bench.sorter.sort([(1, bench.disk.open("journal-1"))], packed, lambda *answer: answers.append(answer))
    assert bench.sorter.busy
    while bench.loop.ready or bench.disk.pending:
        if not bench.loop.ready:
            bench.disk.run()
            continue
        callback, args = bench.loop.ready.pop(0)
        callback(*args)
        turns += 1
    assert len(answers) == 1
    assert turns >= 10_000 / 1500
    with pytest.raises(AssertionError):
        [bench.sorter.merge(lambda *_: None) for _ in range(2)]
    bench.sorter.stop()
    bench.loop.run()
    assert not bench.sorter.busy


def test_damage_ends_the_job_with_its_place() -> None:
    bench = Bench()
    bench.begin_journal()
    bench.append([1], b"x" * 100)
    bench.disk.files["journal-1"][64] ^= 1
    with pytest.raises(CorruptData, match=r"journal-1.*position 64"):
        bench.sort()
    bench.disk.files["journal-1"][64] ^= 1
    bench.rows[bench.log(1)] = [(0, 1, 1 << 20, 100, 1)]
    with pytest.raises(CorruptData, match="past the file's end"):
        bench.sort()
    bench.rows[bench.log(1)] = [(0, 1, 64, 128, 1)]
    (row,) = bench.sort()
    bench.begin_journal()
    bench.append([1], b"x" * 100)
    bench.sort()
    bench.discard(1, [1])
    for position in (64 + 16, 70, -100, -10):
        bench.disk.files[segment_name(row.id)][position] ^= 1
        bench.segments._forget_index(bench.segments.segments()[0])
        with pytest.raises(CorruptData, match=segment_name(row.id)):
            merge_by_force(bench)
        assert all(segment.pins == 0 for segment in bench.segments.segments())
        bench.disk.files[segment_name(row.id)][position] ^= 1
    merge_by_force(bench)
    bench.check()


def merge_by_force(bench: Bench) -> None:
    bench.sorter._plan = lambda _alive: list(bench.segments.segments())  # type: ignore[method-assign]
    bench.merge()


def test_a_failed_write_ends_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    bench.begin_journal()
    bench.append([1], b"x")

    def full(*_args: Any, **_options: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("memory_disk.MemoryFile.pwrite", full)
    with pytest.raises(OSError, match="No space"):
        bench.sort()
    assert not bench.sorter.busy


def test_tiers() -> None:
    assert [tier_of(size) for size in (0, (16 << 20) - 1, 16 << 20, 128 << 20, 1 << 40)] == [0, 0, 1, 2, 3]


def test_segments_are_not_made_at_the_cost_of_the_last_of_the_disk():
    bench = Bench(keep_free=10_000)
    bench.begin_journal()
    for body in (b"a" * 3000, b"b" * 3000):
        bench.append([1], body)
    bench.disk.free = 12_000
    with pytest.raises(OSError, match="stay free"):
        bench.sort()
    assert sorted(bench.disk.files) == ["journal-1"]
    assert not bench.sorter.busy
    bench.disk.free = 20_000
    bench.sort()
    assert len(bench.disk.files) == 2
