"""The set of segments: cold reads and time searches against a model, replacement under reads, bounded caches, damage."""

from __future__ import annotations

from typing import Any

import pytest
from encoding import encode, entry_of
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_disk import MemoryDisk

from both_modes import examples
from entrepot.model.errors import CorruptData
from entrepot.store.entry_codec import entry_time
from entrepot.store.interface import Log
from entrepot.store.local.checkpoint import SegmentRow
from entrepot.store.local.segment import SegmentWriter
from entrepot.store.local.segments import Segments, segment_name


class ModelLog(Log):
    def __init__(self, shard: int, log_id: bytes) -> None:
        self._shard = shard
        self._id = log_id

    @property
    def shard(self) -> int:  # type: ignore[override]
        return self._shard


Rows = list[tuple[int, int, bytes, int]]  # base, span, body, time
LOG = b"L" * 16
OTHER = b"M" * 16


class Bench:
    """A set over a memory disk, with segments written by hand."""

    def __init__(self, **options: Any) -> None:
        self.disk = MemoryDisk()
        self.logs = {log_id: ModelLog(shard, log_id) for shard, log_id in ((1, LOG), (2, OTHER))}
        self.segments = Segments(self.disk, self.logs.get, **options)
        self.origins: dict[bytes, int] = {}  # where in a journal each body might come from: equal ones are one entry of many logs

    def write(self, segment_id: int, pieces: list[tuple[int, bytes, int, int, Rows]]) -> SegmentRow:
        """pieces: (shard, log, first, end, rows)."""
        writer = SegmentWriter(segment_id)
        for shard, log_id, first, end, rows in pieces:
            writer.begin(shard, log_id, first)
            for base, span, body, time_ms in rows:
                encoded = encode(entry_of(body, count=span, append_time_ms=time_ms))
                writer.add(base, span, entry_time(encoded, 0), encoded, 0, len(encoded), self.origins.setdefault(body, len(self.origins)))
            writer.end(end)
        data = writer.finish()
        self.disk.files[segment_name(segment_id)] = bytearray(data)
        return SegmentRow(segment_id, len(data), 0)

    def fetch(self, log_id: bytes, offset: int, limit: int = 1 << 60, size_max: int = 1 << 18) -> tuple[list[tuple[int, bytes | None]], int]:
        answers: list[Any] = []
        self.segments.fetch(log_id, offset, limit, size_max, lambda *answer: answers.append(answer))
        self.disk.run()
        ((entries, next_offset, error),) = answers
        if error is not None:
            raise error
        return [(stored.base, stored.entry.data) for stored in entries], next_offset

    def find(self, log_id: bytes, time_ms: int, first: int = 0) -> int | None:
        answers: list[Any] = []
        self.segments.find(log_id, time_ms, first, lambda *answer: answers.append(answer))
        self.disk.run()
        ((base, error),) = answers
        if error is not None:
            raise error
        return base  # type: ignore[no-any-return]

    def read_all(self, log_id: bytes, offset: int, limit: int, size_max: int = 1 << 18) -> list[tuple[int, bytes | None]]:
        found = []
        while offset < limit:
            entries, after = self.fetch(log_id, offset, limit, size_max)
            assert after > offset
            found.extend(entries)
            offset = after
        return found


def rows_of(first: int, end: int, size: int = 10, step: int = 1) -> Rows:
    return [(n, 1, bytes([n & 255]) * size, 1000 + n) for n in range(first, end, step)]


@st.composite
def layouts(draw: st.DrawFn) -> list[list[tuple[int, int, Rows]]]:
    """Segments from old to new, each a list of pieces of one log, over offsets 0..60, all in entries of one offset."""
    segments = []
    for _ in range(draw(st.integers(0, 4))):
        edges = sorted(draw(st.lists(st.integers(0, 60), min_size=2, max_size=6, unique=True)))
        pieces = []
        for first, end in zip(edges[::2], edges[1::2], strict=False):
            kept = draw(st.sets(st.integers(first, end - 1)))
            size = draw(st.sampled_from([1, 3000, 5000, 70_000]))
            pieces.append((first, end, [(n, 1, bytes([len(segments), n]) * size, draw(st.integers(0, 50))) for n in sorted(kept)]))
        segments.append(pieces)
    return segments


@settings(max_examples=examples(60), deadline=None)
@given(layouts(), st.integers(0, 61), st.integers(0, 61), st.sampled_from([1, 10_000, 1 << 18]))
def test_reads_and_searches_against_a_model(layout: list[list[tuple[int, int, Rows]]], first: int, limit: int, size_max: int) -> None:
    bench = Bench()
    owner: dict[int, tuple[bytes, int] | None] = {}
    rows = []
    for number, pieces in enumerate(layout):
        rows.append(bench.write(number + 1, [(1, LOG, *piece) for piece in pieces]))
        for begin, end, some in pieces:
            owner.update(dict.fromkeys(range(begin, end)))
            owner.update({base: (body, time_ms) for base, _, body, time_ms in some})
    bench.segments.adopt(rows)
    alive = {offset: kept for offset, kept in sorted(owner.items()) if kept is not None}
    wanted = [(offset, kept[0]) for offset, kept in alive.items() if first <= offset < limit]
    assert bench.read_all(LOG, first, limit, size_max) == wanted
    for time_ms in (0, 25, 51):
        assert bench.find(LOG, time_ms, first) == next((offset for offset, kept in alive.items() if offset >= first and kept[1] >= time_ms), None)
    assert bench.fetch(OTHER, 0) == ([], 1 << 60)
    assert bench.find(OTHER, 0) is None


def test_a_cold_read_is_few_long_reads() -> None:
    bench = Bench()
    bench.segments.adopt([bench.write(1, [(1, LOG, 0, 5000, rows_of(0, 5000, 500))])])
    bench.fetch(LOG, 0)
    bench.disk.reads.clear()
    found, after = bench.fetch(LOG, 2500)
    assert found[0][0] == 2500
    assert after - 2500 == len(found) > 400
    ((_, _, size),) = bench.disk.reads
    assert size <= (1 << 18) + (1 << 16)


def test_an_entry_in_the_middle_of_its_span_is_found() -> None:
    bench = Bench()
    bench.segments.adopt([bench.write(1, [(1, LOG, 0, 20, [(0, 10, b"a", 1), (10, 10, b"b", 2)])])])
    assert bench.fetch(LOG, 5) == ([(0, b"a"), (10, b"b")], 20)
    assert bench.fetch(LOG, 15) == ([(10, b"b")], 20)
    assert bench.find(LOG, 1, 5) == 0
    assert bench.find(LOG, 2, 5) == 10


def test_an_entry_larger_than_a_read() -> None:
    bench = Bench()
    large = b"x" * 1_000_000
    bench.segments.adopt([bench.write(1, [(1, LOG, 0, 3, [(0, 1, large, 1), (1, 1, b"b", 2), (2, 1, large + b"y", 9)])])])
    assert bench.read_all(LOG, 0, 3, 1000) == [(0, large), (1, b"b"), (2, large + b"y")]
    assert bench.find(LOG, 5) == 2


def test_replaced_files_go_when_their_last_read_has_ended() -> None:
    bench = Bench()
    bench.segments.adopt([bench.write(n, [(1, LOG, n * 10, n * 10 + 10, rows_of(n * 10, n * 10 + 10))]) for n in (1, 2, 3)])
    assert len(bench.read_all(LOG, 10, 40)) == 30
    answers: list[Any] = []
    bench.segments.fetch(LOG, 10, 30, 1 << 18, lambda *answer: answers.append(answer))
    merged = bench.write(4, [(1, LOG, 10, 30, rows_of(10, 30))])
    assert [row.id for row in bench.segments.rows_after([merged], [1, 2])] == [4, 3]
    bench.segments.replace([merged], [1, 2])
    assert segment_name(1) in bench.disk.files
    bench.disk.run()
    assert len(answers[0][0]) == 20  # both pieces at once, from the files that were replaced
    assert bench.segments.strays() == []
    assert [row.id for row in bench.segments.rows()] == [4, 3]
    assert len(bench.read_all(LOG, 10, 40)) == 30
    bench.segments.replace([], [4, 3])
    bench.disk.run()
    assert bench.disk.files == {}
    assert bench.fetch(LOG, 0, 99) == ([], 99)


def test_a_set_that_changes_while_indexes_load_is_asked_again() -> None:
    bench = Bench()
    bench.segments.adopt([bench.write(n, [(1, LOG, n * 10, n * 10 + 10, rows_of(n * 10, n * 10 + 10))]) for n in (1, 2)])
    answers: list[Any] = []
    bench.segments.fetch(LOG, 10, 30, 1 << 18, lambda *answer: answers.append(answer))
    bench.segments.find(LOG, 1015, 0, lambda *answer: answers.append(answer))
    bench.segments.replace([bench.write(3, [(1, LOG, 10, 30, rows_of(10, 30))])], [1, 2])
    bench.disk.run()
    assert {len(answer) for answer in answers} == {2, 3}
    assert next(answer for answer in answers if len(answer) == 2) == (15, None)
    assert [stored.base for stored in next(answer for answer in answers if len(answer) == 3)[0]] == list(range(10, 30))


def test_removed_segments_are_neighbours() -> None:
    bench = Bench()
    bench.segments.adopt([SegmentRow(n, 1, 0) for n in (1, 2, 3)])
    with pytest.raises(AssertionError):
        bench.segments.rows_after([], [1, 3])
    with pytest.raises(AssertionError):
        bench.segments.rows_after([], [9])


def test_strays_are_what_no_checkpoint_names() -> None:
    bench = Bench()
    rows = [bench.write(1, []), bench.write(5, [])]
    bench.write(6, [])
    bench.segments.adopt(rows)
    assert bench.segments.strays() == [segment_name(6)]
    assert [bench.segments.take_id(), bench.segments.take_id()] == [7, 8]


def test_indexes_in_memory_are_bounded() -> None:
    bench = Bench(index_cache_size_max=20_000)
    many = [(n.to_bytes(16, "big")) for n in range(200)]
    bench.logs.update({log_id: ModelLog(9, log_id) for log_id in many})
    bench.segments.adopt([bench.write(k, [(9, log_id, k, k + 1, rows_of(k, k + 1)) for log_id in many]) for k in range(1, 9)])
    for log_id in many[::20]:
        assert [row[0] for row in bench.read_all(log_id, 0, 99)] == list(range(1, 9))
        held = [segment for segment in bench.segments.segments() if segment.index is not None]
        assert sum(segment.index.size() for segment in held if segment.index) <= 20_000 + 200 * 96
        assert bench.segments.statistics()["segment_index_bytes"] == sum(segment.index.size() for segment in held if segment.index)


@pytest.mark.parametrize("position", [-3, -40, 70, 90, 5000])
def test_damage_is_told_and_pins_are_released(position: int) -> None:
    bench = Bench()
    bench.segments.adopt([bench.write(1, [(1, LOG, 0, 3, [(0, 1, b"x" * 6000, 5), (1, 1, b"b", 2)]), (1, b"N" * 16, 0, 1, rows_of(0, 1))])])
    bench.disk.files[segment_name(1)][position] ^= 1
    with pytest.raises(CorruptData, match=segment_name(1)):
        bench.fetch(LOG, 0)
    assert bench.segments.segments()[0].pins == 0


def test_a_missing_or_renamed_file_is_an_error_of_the_one_who_reads() -> None:
    bench = Bench()
    row = bench.write(1, [(1, LOG, 0, 1, rows_of(0, 1))])
    bench.segments.adopt([row])
    data = bench.disk.files.pop(segment_name(1))
    with pytest.raises(FileNotFoundError):
        bench.fetch(LOG, 0)
    with pytest.raises(FileNotFoundError):
        bench.find(LOG, 0)
    bench = Bench()
    bench.disk.files[segment_name(2)] = data
    bench.segments.adopt([SegmentRow(2, len(data), 0)])
    with pytest.raises(CorruptData, match="renamed"):
        bench.fetch(LOG, 0)
