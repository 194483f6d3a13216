"""The journal's format: entries, commits, golden and damaged files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_bench import SMALL, Bench, Loop, MemoryDisk, Node

from both_modes import both
from entrepot.model.entry import make_entry
from entrepot.model.errors import CorruptData
from entrepot.store.local.journal import FileHeader, decode_file_header, encode_file_header

GOLDEN = Path(__file__).parent / "golden"
CODECS = both("entrepot.store.entry_codec")
I64 = st.integers(-(1 << 63), (1 << 63) - 1)


@given(
    data=st.binary(max_size=300),
    count=st.integers(0, (1 << 32) - 1),
    flags=st.integers(0, 0xFFFF),
    epoch=st.sampled_from([0, 1, (1 << 32) - 1]),
    times=st.tuples(I64, I64),
    producer=st.one_of(st.none(), st.tuples(st.integers(0, (1 << 63) - 1), st.integers(-(1 << 31), (1 << 31) - 1), I64)),
    transaction=st.sampled_from([-1, 0, (1 << 63) - 1]),
    before=st.binary(max_size=3),
)
def test_an_entry_comes_back_as_it_was_in_both_modes(data, count, flags, epoch, times, producer, transaction, before):
    entry = make_entry(2, 7, flags, b"", data, count)
    entry.epoch, entry.transaction_id = epoch, transaction
    entry.append_time_ms, entry.max_time_ms = times
    if producer is not None:
        entry.producer_id, entry.producer_epoch, entry.first_sequence = producer
    entry.seal()
    headers = [codec.encode_header(entry) for codec in CODECS]
    assert headers[0] == headers[1]
    stored = before + headers[0] + data
    for codec in CODECS:
        again = codec.decode_entry(stored, len(before), len(stored))
        for name in ("codec", "codec_version", "flags", "count", "span", "epoch", "append_time_ms", "max_time_ms", "transaction_id", "data"):
            assert getattr(again, name) == getattr(entry, name), name
        if producer is not None:
            assert (again.producer_id, again.producer_epoch, again.first_sequence) == producer
        assert codec.entry_span(stored, len(before)) == count
        assert codec.entry_time(stored, len(before)) == (times[1] or times[0])


@given(data=st.binary(max_size=60), producer=st.booleans(), head_size=st.integers(0, 90), flip=st.integers(0, 10_000), cut=st.integers(1, 200))
def test_an_entry_read_as_two_pieces_is_the_same_wherever_they_meet(data, producer, head_size, flip, cut):
    entry = make_entry(2, 1, 0, b"", data, 1)
    if producer:
        entry.producer_id, entry.first_sequence = 7, 9
    entry.seal()
    header = CODECS[0].encode_header(entry)
    whole = header + data
    for codec in CODECS:
        for at in (head_size, len(header)):
            again = codec.decode_apart(whole[:at], whole[at:])
            assert (again.data, again.producer_id, again.first_sequence, again.size) == (data, entry.producer_id, entry.first_sequence, len(data))
            flipped = bytearray(whole)
            flipped[flip % len(whole)] ^= 1 << (flip % 8)
            for damaged in (bytes(flipped), whole[:-cut], whole + b"\0"):
                with pytest.raises(CorruptData):
                    codec.decode_apart(damaged[:at], damaged[at:])
        assert codec.decode_apart(header, data).data is data


@given(data=st.binary(max_size=60), flip=st.integers(0, 10_000), cut=st.integers(0, 200))
def test_a_damaged_entry_is_refused_in_both_modes(data, flip, cut):
    entry = make_entry(2, 1, 0, b"", data, 1)
    entry.seal()
    whole = CODECS[0].encode_header(entry) + data
    flipped = bytearray(whole)
    flipped[flip % len(whole)] ^= 1 << (flip % 8)
    for codec in CODECS:
        with pytest.raises(CorruptData):
            codec.decode_entry(bytes(flipped), 0, len(flipped))
        if cut < len(whole):
            with pytest.raises(CorruptData):
                codec.decode_entry(whole[:cut], 0, cut)


def test_a_file_header_holds_or_is_none():
    data = encode_file_header(FileHeader(3, 1 << 63, 2, 5, 77, 99))
    found = decode_file_header(data)
    assert found is not None
    assert (found.life, found.salt, found.previous_life, found.previous_salt, found.first_sequence, found.chain) == (3, 1 << 63, 2, 5, 77, 99)
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 4
        assert decode_file_header(bytes(damaged)) is None
        assert decode_file_header(data[:position]) is None


def golden_bench() -> Bench:
    """What the golden file holds; also how it was made."""
    bench = Bench(settings=replace(SMALL, journal_ready_files=0), seed=41)  # all in the first file
    one, two = bench.create(1, 3), bench.create(2, 4)
    entry = bench.append(one, two, data=b"shared", count=2)
    entry.producer_id, entry.producer_epoch, entry.first_sequence, entry.transaction_id, entry.max_time_ms = 9, 1, 5, 6, 1_600_000_000_000
    bench.append(two, data=b"alone")
    assert bench.commit()
    bench.store.discard(two, 1, 2)
    bench.store.mark(one, 1)
    bench.store.fold(3, b"key", b"value")
    assert bench.commit()
    gone = bench.create(3)
    assert bench.commit()
    bench.store.drop_log(gone)
    assert bench.commit()
    return bench


def journal_of(bench: Bench) -> bytes:
    current = bench.store.ring.current
    return bytes(bench.disk.nodes[current.name].data[: current.end])


def opened_with(data: bytes) -> Bench:
    disk = MemoryDisk(Loop())
    disk.nodes["journal-00000001"] = Node(data)
    return Bench(disk)


def test_the_golden_file_of_version_1_is_read_and_still_written():
    data = (GOLDEN / "journal-v1").read_bytes()
    assert journal_of(golden_bench()) == data
    bench = opened_with(data)
    one, two = bench.log(1), bench.log(2)
    assert (one.shard, one.next_offset, one.marked_offset) == (3, 2, 1)
    assert (two.shard, two.next_offset, list(two.holes())) == (4, 3, [(1, 2)])
    assert bench.read(one) == [(0, 2, b"shared")]
    assert bench.read(two) == [(0, 2, b"shared"), (2, 1, b"alone")]
    found = one.reader()
    found.fetch(0, lambda: None)
    bench.loop.run(lambda: found.at(0) is not None)
    stored = found.at(0)
    assert stored is not None
    assert (stored.entry.producer_id, stored.entry.first_sequence, stored.entry.transaction_id, stored.entry.max_time_ms) == (9, 5, 6, 1_600_000_000_000)
    assert bench.store.get(3, b"key") == b"value"
    assert len(list(bench.store.logs())) == 2


@pytest.mark.parametrize("damage", ["header-flipped", "commit-flipped", "payload-flipped", "newer-file", "newer-commit"])
def test_damaged_golden_files_are_refused(damage: str):
    with pytest.raises(CorruptData, match="journal-00000001"):
        opened_with((GOLDEN / f"journal-v1-{damage}").read_bytes())


def test_a_cut_golden_file_is_a_torn_tail():
    bench = opened_with((GOLDEN / "journal-v1-cut").read_bytes())
    assert bench.store.sequence == 3
    assert len(list(bench.store.logs())) == 3


def test_a_file_that_grows_is_left_as_soon_as_another_is_ready():
    """Overwriting syncs at twice the speed of appending; a file left short is not used again."""
    bench = Bench(settings=replace(SMALL, journal_ready_files=1))
    log = bench.create(1)
    assert bench.commit()
    ring = bench.store.ring
    first = ring.lives[1]
    assert first.grows
    bench.loop.run(lambda: bool(ring.ready))
    bench.append(log)
    assert bench.commit()
    assert ring.current is not first
    assert not ring.current.grows
    bench.loop.run(lambda: 1 not in ring.lives)
    bench.append(log)
    assert bench.commit()
    bench.loop.run(lambda: first.name not in bench.disk.nodes)
