"""The segment format: what is written is read, and damage anywhere is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from encoding import encode, entry_of
from hypothesis import given, settings
from hypothesis import strategies as st

from both_modes import examples
from entrepot.model.entry import StoredEntry
from entrepot.model.errors import CorruptData
from entrepot.store.entry_codec import entry_time
from entrepot.store.local.segment import (
    FOOTER_SIZE,
    HEADER_SIZE,
    Reference,
    SegmentIndex,
    SegmentWriter,
    check_header,
    decode_referred,
    frame_size,
    index_place,
    load_index,
    parse_frames,
    read_frame,
)

GOLDEN = Path(__file__).parent / "golden"


def index_of(data: bytes) -> SegmentIndex:
    check_header("s", data[:HEADER_SIZE])
    footer = data[-FOOTER_SIZE:]
    position, size = index_place("s", len(data), footer)
    return load_index("s", footer, data[position : position + size])


def key_of(shard: int, log_id: bytes) -> bytes:
    return shard.to_bytes(4, "big") + log_id


def read_log(data: bytes, shard: int, log_id: bytes, first: int = 0, end: int = 1 << 62) -> list[StoredEntry]:
    index = index_of(data)
    found: list[StoredEntry] = []
    for piece in index.pieces(key_of(shard, log_id)):
        if piece.end <= first or piece.first >= end or piece.step_count == 0:
            continue
        start = index.step(index.step_of_offset(piece, first))[1]
        frames = data[start : piece.position + piece.size]
        entries: list[StoredEntry | None] = []
        references: list[Reference] = []
        assert parse_frames("s", start, frames, first, end, 1 << 62, entries, references) >= len(frames)
        for place, base, position, size in references:
            entries[place] = decode_referred("s", position, base, data, position, size)
        found.extend(stored for stored in entries if stored is not None)
    return found


def write(pieces: list[tuple[int, bytes, int, list[tuple[int, bytes, int]], int]], take_every: int = 1 << 40) -> bytes:
    """pieces: (shard, log, first, [(base, encoded, key)], end); each entry spans what its encoding says."""
    writer = SegmentWriter(7)
    out = []
    for shard, log_id, first, entries, end in pieces:
        writer.begin(shard, log_id, first)
        for base, encoded, key in entries:
            span = int.from_bytes(encoded[16:20], "little")
            writer.add(base, span, entry_time(encoded, 0), encoded, 0, len(encoded), key)
            if writer.pending() >= take_every:
                out.append(writer.take())
        writer.end(end)
    out.append(writer.finish())
    data = b"".join(out)
    assert writer.position() == len(data)
    return data


bodies = st.one_of(st.binary(max_size=40), st.integers(4000, 9000).map(lambda n: b"x" * n))
logs = st.dictionaries(
    st.tuples(st.sampled_from([0, 1, 255, 256]), st.sampled_from([bytes([n]) * 16 for n in (0, 7, 127, 128, 255)])),
    st.lists(st.tuples(bodies, st.integers(1, 5), st.integers(0, 3), st.integers(0, 10**13)), max_size=30),
    max_size=6,
)


@settings(max_examples=examples(60), deadline=None)
@given(logs, st.sampled_from([1, 1000, 1 << 40]))
def test_what_is_written_is_read(content: dict[tuple[int, bytes], list[tuple[bytes, int, int, int]]], take_every: int) -> None:
    pieces = []
    expected: dict[tuple[int, bytes], list[tuple[int, int, int, bytes]]] = {}
    for (shard, log_id), rows in sorted(content.items()):
        base = 3
        encoded = []
        wanted = expected[shard, log_id] = []
        for body, count, gap, time_ms in rows:
            base += gap
            encoded.append((base, encode(entry_of(body, count=count, append_time_ms=time_ms)), -1))
            wanted.append((base, count, time_ms, body))
            base += count
        pieces.append((shard, log_id, 3, encoded, base))
    data = write(pieces, take_every)
    index = index_of(data)
    assert index.segment_id == 7
    assert index.piece_count == len(content)
    for (shard, log_id), wanted in expected.items():
        assert [(s.base, s.entry.span, s.entry.append_time_ms, s.entry.data) for s in read_log(data, shard, log_id)] == wanted
        for first in {0, *(row[0] for row in wanted), *(row[0] + row[1] - 1 for row in wanted)}:
            assert [s.base for s in read_log(data, shard, log_id, first)] == [row[0] for row in wanted if row[0] + row[1] > first]
            assert [s.base for s in read_log(data, shard, log_id, 0, first)] == [row[0] for row in wanted if row[0] < first]


def test_steps_are_sparse_and_find_offsets_and_times() -> None:
    encoded = [(n, encode(entry_of(b"y" * 1000, append_time_ms=1000 + n)), -1) for n in range(1000)]
    data = write([(1, b"l" * 16, 0, encoded, 1000)])
    index = index_of(data)
    (piece,) = index.pieces(key_of(1, b"l" * 16))
    assert piece.max_time_ms == 1999
    assert piece.entry_count == 1000
    assert 14 <= piece.step_count <= 18
    for offset in (0, 1, 500, 999):
        number = index.step_of_offset(piece, offset)
        assert index.step(number)[0] <= offset
        assert number == piece.step_count - 1 or index.step(number + 1)[0] > offset
    for time_ms in (0, 1000, 1500, 1999):
        number = index.step_of_time(piece, time_ms, 0)
        assert index.step(number)[2] >= time_ms
        assert number == 0 or index.step(number - 1)[2] < time_ms
    assert index.step_of_time(piece, 2000, 0) == -1


def test_a_large_body_is_stored_once_per_shard() -> None:
    body = b"z" * 50_000
    encoded = encode(entry_of(body))
    small = encode(entry_of(b"s" * 100))
    pieces = [(shard, bytes([n]) * 16, 0, [(0, small, 1), (1, encoded, 2)], 2) for shard in (1, 2) for n in range(20)]
    data = write(pieces)
    assert 2 * 50_000 < len(data) < 3 * 50_000
    for shard, log_id, *_ in pieces:
        found = read_log(data, shard, log_id)
        assert [s.base for s in found] == [0, 1]
        assert found[1].entry.data == body


def test_a_piece_without_entries_says_that_its_range_is_gone() -> None:
    index = index_of(write([(0, b"a" * 16, 5, [], 9)]))
    (piece,) = index.pieces(key_of(0, b"a" * 16))
    assert (piece.first, piece.end, piece.step_count, piece.size) == (5, 9, 0, 0)
    assert index.pieces(key_of(0, b"b" * 16)) == []
    with pytest.raises(IndexError):
        index.piece(1)
    with pytest.raises(IndexError):
        index.step(0)


def test_pieces_out_of_order_are_our_bug() -> None:
    writer = SegmentWriter(1)
    writer.begin(1, b"b" * 16, 0)
    writer.end(3)
    with pytest.raises(AssertionError):
        writer.begin(1, b"b" * 16, 2)


def test_entries_are_walked_by_their_heads() -> None:
    encoded = encode(entry_of(b"z" * 5000, append_time_ms=44))
    data = write([(0, b"a" * 16, 0, [(0, encoded, 9)], 1), (0, b"b" * 16, 0, [(8, encoded, 9)], 9)])
    first, second = (index_of(data).piece(n) for n in (0, 1))
    frame = read_frame("s", first.position, data[first.position :], 0)
    assert frame is not None
    assert (frame.base, frame.span, frame.time_ms, frame.size, frame.at) == (0, 1, 44, len(encoded), 32)
    assert data[frame.position : frame.position + frame.size] == encoded
    assert read_frame("s", first.position, data[first.position : first.position + frame.whole_size - 1], 0) is None
    assert frame_size("s", first.position, data, first.position) == frame.whole_size
    other = read_frame("s", second.position, data[second.position :], 0)
    assert other is not None
    assert (other.base, other.at, other.position) == (8, -1, frame.position)


def damaged_everywhere() -> bytes:
    large = encode(entry_of(b"L" * 4100))
    return write([(0, b"a" * 16, 0, [(0, encode(entry_of(b"one")), 1), (1, large, 2)], 2), (0, b"b" * 16, 0, [(0, large, 2)], 1)])


def read_all(data: bytes) -> list[tuple[int, bytes | None]]:
    return [(s.base, s.entry.data) for log_id in (b"a" * 16, b"b" * 16) for s in read_log(data, 0, log_id)]


def test_every_flipped_bit_is_told() -> None:
    data = damaged_everywhere()
    assert len(read_all(data)) == 3
    told = []
    body = set(range(300, 4000))  # inside the large body: one is as good as another
    for position in [p for p in range(len(data)) if p not in body or p % 500 == 0]:
        damaged = bytearray(data)
        damaged[position] ^= 1 << (position % 8)
        with pytest.raises(CorruptData) as caught:
            read_all(bytes(damaged))
        told.append(str(caught.value))
    assert all(text.startswith("s:") for text in told)


def test_a_file_cut_at_every_byte_is_refused() -> None:
    data = damaged_everywhere()
    for size in [*range(200), *range(len(data) - 400, len(data))]:
        cut = data[:size]
        with pytest.raises(CorruptData):
            index_of(cut)
    with pytest.raises(CorruptData):
        index_of(data + b"\0")


def golden() -> bytes:
    large = encode(entry_of(b"large " * 1000, count=3, append_time_ms=1_700_000_000_123))
    small = encode(entry_of(b"small", append_time_ms=1_700_000_000_000))
    return write([(3, b"A" * 16, 10, [(10, small, 0), (12, large, 1)], 15), (3, b"B" * 16, 0, [(0, large, 1)], 3), (200, b"C" * 16, 7, [], 9)])


def test_the_golden_file_of_version_1_is_read_and_still_written() -> None:
    data = (GOLDEN / "segment-v1").read_bytes()
    assert [(s.base, s.entry.span, s.entry.data) for s in read_log(data, 3, b"A" * 16)] == [(10, 1, b"small"), (12, 3, b"large " * 1000)]
    assert [(s.base, s.entry.span, s.entry.data) for s in read_log(data, 3, b"B" * 16)] == [(0, 3, b"large " * 1000)]
    assert index_of(data).pieces(key_of(200, b"C" * 16))[0].end == 9
    assert golden() == data


DAMAGED = {
    "segment-v1-header-flipped": "header",
    "segment-v1-newer": "newer",
    "segment-v1-cut": "cut",
    "segment-v1-footer-flipped": "footer",
    "segment-v1-index-flipped": "index",
    "segment-v1-frame-flipped": "frame",
    "segment-v1-entry-flipped": "checksum",
    "segment-v1-reference-flipped": "reference",
}


@pytest.mark.parametrize(("name", "word"), DAMAGED.items())
def test_damaged_files_are_told_by_what_is_wrong(name: str, word: str) -> None:
    data = (GOLDEN / name).read_bytes()
    with pytest.raises(CorruptData, match=word):
        _ = [read_log(data, 3, log_id) for log_id in (b"A" * 16, b"B" * 16)]


def golden_adopting() -> bytes:
    writer = SegmentWriter(7, 41)
    writer.begin(3, b"A" * 16, 10)
    writer.adopt(10, 2, 1_700_000_000_000, 64 + 56 + 12, 70_000)
    writer.adopt(12, 1, 1_700_000_000_123, 90_000, 40)
    writer.end(15)
    return writer.finish()


def references_of(data: bytes) -> list[tuple[int, int, int, int]]:
    piece = index_of(data).pieces(key_of(3, b"A" * 16))[0]
    frames = data[piece.position : piece.position + piece.size]
    references: list[tuple[int, int, int, int]] = []
    entries: list[Any] = []
    assert parse_frames("s", piece.position, frames, 0, 1 << 62, 1 << 62, entries, references) == len(frames)
    assert entries == [None, None]
    return references


def test_the_golden_file_of_version_2_refers_to_a_journal_file() -> None:
    data = (GOLDEN / "segment-v2-adopting").read_bytes()
    assert check_header("s", data[:HEADER_SIZE]) == 7
    assert references_of(data) == [(0, 10, 132, 70_000), (1, 12, 90_000, 40)]
    assert [index_of(data).step(number)[0] for number in range(2)] == [10, 12]
    assert golden_adopting() == data


@pytest.mark.parametrize(
    ("name", "word"), {"segment-v2-frame-flipped": "frame", "segment-v2-reference-flipped": "reference", "segment-v2-newer": "newer"}.items()
)
def test_damaged_files_of_version_2_are_told_by_what_is_wrong(name: str, word: str) -> None:
    data = (GOLDEN / name).read_bytes()
    with pytest.raises(CorruptData, match=word):
        _ = check_header("s", data[:HEADER_SIZE]), references_of(data)
