"""Record batches as they arrive, valid and damaged, in both modes and beside a client's own codec."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from crc32c import crc32c
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka_batches import COMPRESSIONS, GZIP, LZ4, NONE, SNAPPY, ZSTD, batch, pack, plain, record, record_fields, seal, valid_batches, varint
from kafka_forms import ALL, REFUSED, REFUSED_HERE, TAKEN

from both_modes import both, examples
from entrepot.model.entry import TRANSACTIONAL
from entrepot.protocols.kafka import batch_errors
from entrepot.protocols.kafka.batch_errors import CORRUPT_MESSAGE, INVALID_RECORD, INVALID_TIMESTAMP, MESSAGE_TOO_LARGE, UNSUPPORTED_COMPRESSION_TYPE
from entrepot.protocols.kafka.compression import Unpacker

MODES = both("entrepot.protocols.kafka.record_batch", "entrepot.protocols.kafka.lz4_frame", "entrepot.protocols.kafka.record_cursor")
mode = pytest.mark.parametrize("module", MODES, ids=["installed", "interpreted"])
UNPACKED_MAX = 1 << 16


def validate(module: Any, data: bytes) -> Any:
    return module.BatchValidator(UNPACKED_MAX).validate(bytes(bytearray(data)))


def refusal(module: Any, data: bytes) -> batch_errors.InvalidBatch:
    with pytest.raises(batch_errors.InvalidBatch) as caught:
        validate(module, data)
    return caught.value


@mode
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_batch_of_every_compression(module: Any, compression: int) -> None:
    records = [record(b"k", b"v" * 100, [(b"h", None), (b"h", b"x")], delta=index, time_delta=index * 300) for index in range(20)]
    data = batch(records, compression, base_time=5_000, max_time=5_000 + 19 * 300, producer=(7, 3, 40))
    head = validate(module, data)
    assert (head.count, head.base_time_ms, head.max_time_ms, head.flags) == (20, 5_000, 10_700, 0)
    assert (head.producer_id, head.producer_epoch, head.first_sequence) == (7, 3, 40)
    assert head.compression == compression % 8
    assert head.data == data


@mode
def test_a_transactional_batch_is_flagged(module: Any) -> None:
    assert validate(module, batch(plain([b"a"]), attributes=0x10, producer=(1, 0, 0))).flags == TRANSACTIONAL


@mode
def test_a_producer_without_number_and_times_without_value(module: Any) -> None:
    head = validate(module, batch(plain([b"a"]), base_time=-1))
    assert (head.producer_id, head.producer_epoch, head.first_sequence, head.max_time_ms) == (-1, -1, -1, -1)


@mode
def test_a_wrong_greatest_timestamp_is_put_right(module: Any) -> None:
    records = [record(None, b"a", delta=0, time_delta=5), record(None, b"b", delta=1, time_delta=-3)]
    head = validate(module, batch(records, ZSTD, base_time=100, max_time=-1))
    assert head.max_time_ms == 105
    assert head.data == batch(records, ZSTD, base_time=100, max_time=105)


WRONG = {
    "nothing": (b"", CORRUPT_MESSAGE),
    "a cut header": (batch(plain([b"a"]))[:60], CORRUPT_MESSAGE),
    "a cut end": (batch(plain([b"a"]))[:-1], CORRUPT_MESSAGE),
    "a size below 0": (batch(plain([b"a"]), size=-1), CORRUPT_MESSAGE),
    "a size below the header's": (batch(plain([b"a"]), size=48), CORRUPT_MESSAGE),
    "a size that is huge": (batch(plain([b"a"]), size=2**31 - 1), CORRUPT_MESSAGE),
    "two batches": (batch(plain([b"a"])) * 2, INVALID_RECORD),
    "magic 1": (batch(plain([b"a"]), magic=1), INVALID_RECORD),
    "a bad checksum": (batch(plain([b"a"]), crc=5), CORRUPT_MESSAGE),
    "a control batch": (batch(plain([b"a"]), attributes=0x20), INVALID_RECORD),
    "a delete horizon": (batch(plain([b"a"]), attributes=0x40), INVALID_RECORD),
    "timestamps of the append": (batch(plain([b"a"]), attributes=0x08), INVALID_TIMESTAMP),
    "compression 5": (batch(plain([b"a"]), attributes=5), UNSUPPORTED_COMPRESSION_TYPE),
    "no records": (batch([]), INVALID_RECORD),
    "a count below 0": (batch(plain([b"a"]), count=-1, last_delta=-2), INVALID_RECORD),
    "a count that claims more": (batch(plain([b"a"]), count=2, last_delta=1), INVALID_RECORD),
    "a count that claims very much more": (batch(plain([b"a"]), count=2**31 - 1, last_delta=2**31 - 2), INVALID_RECORD),
    "a count that claims less": (batch(plain([b"a", b"b"]), count=1, last_delta=0), INVALID_RECORD),
    "another last delta": (batch(plain([b"a", b"b"]), last_delta=5), INVALID_RECORD),
    "a producer without a sequence": (batch(plain([b"a"]), producer=(1, 0, -1)), INVALID_RECORD),
    "a producer without an epoch": (batch(plain([b"a"]), producer=(1, -1, 0)), INVALID_RECORD),
    "a transaction of nobody": (batch(plain([b"a"]), attributes=0x10), INVALID_RECORD),
    "offset deltas from 1": (batch([record(delta=1)]), INVALID_RECORD),
    "offset deltas with a gap": (batch([record(delta=0), record(delta=2)]), INVALID_RECORD),
    "a time past the end of time": (batch([record(time_delta=2**62)], base_time=2**62 + 2**61), INVALID_TIMESTAMP),
    "a time before its start": (batch([record(time_delta=-(2**62))], base_time=-(2**62) - 2**61), INVALID_TIMESTAMP),
    "a record of size -1": (batch([varint(-1)]), INVALID_RECORD),
    "a record of size 0": (batch([varint(0)]), INVALID_RECORD),
    "a record that claims more": (batch([varint(1000) + bytes(20)]), INVALID_RECORD),
    "a record that claims less": (batch([varint(5) + bytes(6)]), INVALID_RECORD),
    "a record with bytes behind its headers": (batch([varint(7) + bytes([0, 0, 0, 1, 1, 0, 0])]), INVALID_RECORD),
    "a key that claims more": (batch([varint(6) + bytes([0, 0, 0]) + varint(50) + b"\x01\x00"]), INVALID_RECORD),
    "a value that claims more": (batch([varint(6) + bytes([0, 0, 0, 1]) + varint(60) + b"\x00"]), INVALID_RECORD),
    "headers below 0": (batch([varint(6) + bytes([0, 0, 0, 1, 1, 1])]), INVALID_RECORD),
    "more headers than bytes": (batch([varint(6) + bytes([0, 0, 0, 1, 1, 40])]), INVALID_RECORD),
    "a header without a name": (batch([varint(8) + bytes([0, 0, 0, 1, 1, 2, 1, 1])]), INVALID_RECORD),
    "a header that claims more": (batch([varint(8) + bytes([0, 0, 0, 1, 1, 2, 0, 60])]), INVALID_RECORD),
    "a varint without an end": (batch([b"\x80" * 20]), INVALID_RECORD),
    "a varint of six bytes": (batch([b"\x8c\x80\x80\x80\x80\x00" + bytes(6)]), INVALID_RECORD),
    "a varint of 33 bits": (batch([b"\x8c\x80\x80\x80\x10" + bytes(6)]), INVALID_RECORD),
    "a varlong of eleven bytes": (batch([varint(17) + b"\x00" + b"\x80" * 10 + b"\x00" + bytes([0, 1, 1, 0, 0])]), INVALID_RECORD),
    "gzip of nothing": (batch(plain([b"a"]), attributes=GZIP), CORRUPT_MESSAGE),
    "snappy of nothing": (batch(plain([b"a" * 40]), attributes=SNAPPY), CORRUPT_MESSAGE),
    "lz4 of nothing": (batch(plain([b"a"]), attributes=LZ4), CORRUPT_MESSAGE),
    "zstd of nothing": (batch(plain([b"a"]), attributes=ZSTD), CORRUPT_MESSAGE),
    "gzip of a thousand members": (batch([pack(GZIP, b"") * 1_000 + pack(GZIP, record())], attributes=GZIP), CORRUPT_MESSAGE),
    "lz4 of ever more blocks": (batch([pack(LZ4, b"")[:7] + b"\x01\x00\x00\x80x" * 20_000 + bytes(4)], attributes=LZ4), CORRUPT_MESSAGE),
    "a cut gzip": (batch([pack(GZIP, record())[:-3]], attributes=GZIP), CORRUPT_MESSAGE),
    "a snappy that claims a gigabyte": (batch([b"\x80\x80\x80\x80\x04" + b"\x00a" * 9], attributes=SNAPPY), CORRUPT_MESSAGE),
    "a snappy block that claims more": (batch([b"\x82SNAPPY\x00" + bytes(8) + b"\x00\x00\x10\x00abc"], attributes=SNAPPY), CORRUPT_MESSAGE),
    "a framed snappy without blocks": (batch([b"\x82SNAPPY\x00" + bytes(8)], attributes=SNAPPY), INVALID_RECORD),
}


@mode
@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_has_its_error(module: Any, case: str) -> None:
    data, code = WRONG[case]
    error = refusal(module, data)
    assert error.code == code, error
    assert str(error)


def compressed(form: tuple[int, bytes]) -> bytes:
    """Four records in one of the forms of kafka_forms."""
    compression, packed = form
    return batch([packed], attributes=compression, count=4, last_delta=3)


@mode
@pytest.mark.parametrize("form", TAKEN)
def test_forms_of_compression_that_readers_read(module: Any, form: str) -> None:
    data = compressed(TAKEN[form])
    assert validate(module, data).data == data
    assert Unpacker(UNPACKED_MAX).unpack(*TAKEN[form]) == ALL


@mode
@pytest.mark.parametrize("form", REFUSED | REFUSED_HERE)
def test_forms_of_compression_that_they_do_not(module: Any, form: str) -> None:
    assert refusal(module, compressed((REFUSED | REFUSED_HERE)[form])).code in (CORRUPT_MESSAGE, INVALID_RECORD)


def test_members_unpack_to_so_much_together_and_no_more() -> None:
    half = pack(GZIP, bytes(UNPACKED_MAX // 2))
    assert Unpacker(UNPACKED_MAX).unpack(GZIP, half * 2) == bytes(UNPACKED_MAX)
    with pytest.raises(batch_errors.InvalidBatch) as caught:
        Unpacker(UNPACKED_MAX).unpack(GZIP, half * 2 + pack(GZIP, b"x"))
    assert caught.value.code == MESSAGE_TOO_LARGE
    large = bytes(range(256)) * 1024
    assert Unpacker().unpack(GZIP, pack(GZIP, b"small") + gzip.compress(large, 0)) == b"small" + large


@mode
def test_the_record_at_fault_is_named(module: Any) -> None:
    assert refusal(module, batch([record(delta=0), record(delta=1), record(delta=5)])).record_index == 2
    assert refusal(module, batch([record(delta=0), varint(5) + bytes(6)])).record_index == 1
    assert refusal(module, batch([record()], crc=1)).record_index == -1


@mode
@pytest.mark.parametrize("compression", COMPRESSIONS[1:])
def test_a_bomb_is_refused(module: Any, compression: int) -> None:
    bomb = batch([record(None, bytes(4 * UNPACKED_MAX))], compression)
    assert refusal(module, bomb).code == MESSAGE_TOO_LARGE
    for compression_again in COMPRESSIONS:
        validate(module, batch([record(None, bytes(UNPACKED_MAX - 20))], compression_again))


@mode
@pytest.mark.parametrize("value_size", [UNPACKED_MAX - 20, 4 * UNPACKED_MAX], ids=["good", "bombs"])
def test_a_request_unpacks_to_so_much_and_no_more(module: Any, value_size: int) -> None:
    validator = module.BatchValidator(UNPACKED_MAX)
    packed = batch([record(None, bytes(value_size))], COMPRESSIONS[1])
    for _ in range(2):
        validator.begin()
        refused = []
        for _ in range(8):
            try:
                validator.validate(bytes(bytearray(packed)))
            except batch_errors.InvalidBatch as error:
                refused.append(str(error))
        together = [text for text in refused if "one request" in text]
        assert len(together) in (3, 4)
        assert len(refused) == (8 if value_size > UNPACKED_MAX else len(together))
        validator.validate(batch([record(None, bytes(value_size))]))


def test_a_batch_larger_than_the_kept_room() -> None:
    value = bytes(3 << 20)
    for compression in COMPRESSIONS[1:]:
        if compression != COMPRESSIONS[-1]:
            assert MODES[0].BatchValidator().validate(batch([record(None, value)], compression)).count == 1


@mode
def test_the_stamp_of_a_topic_that_keeps_times(module: Any) -> None:
    records = plain([b"a", b"b"])
    stamped = module.stamp(batch(records, base_offset=0), 2**40, 9, -1)
    assert stamped == batch(records, base_offset=2**40, epoch=9)


@mode
def test_the_stamp_of_a_topic_with_times_of_the_append(module: Any) -> None:
    records = plain([b"a", b"b"])
    stamped = module.stamp(batch(records, LZ4), 5, 0, 77_000)
    assert stamped == batch(records, LZ4, base_offset=5, epoch=0, attributes=8, max_time=77_000)
    read = DefaultRecordBatch(stamped)
    assert read.validate_crc()
    assert [(item.offset, item.timestamp, item.value) for item in read] == [(5, 77_000, b"a"), (6, 77_000, b"b")]


@settings(max_examples=examples(60), deadline=None)
@given(fields=st.lists(record_fields, min_size=1, max_size=8), compression=st.sampled_from([NONE, GZIP, SNAPPY, LZ4, ZSTD]))
def test_what_a_client_builds_is_taken(fields: list[Any], compression: int) -> None:
    builder = DefaultRecordBatchBuilder(2, compression, 0, 7, 1, 100, 1 << 20)
    for offset, (key, value, headers, delta) in enumerate(fields):
        builder.append(offset, 10_000 + delta, key, value, [(name.decode(), content) for name, content in headers])
    data = bytes(builder.build())
    for module in MODES:
        head = validate(module, data)
        assert head.data == data
        assert head.count == len(fields)
        assert head.max_time_ms == 10_000 + max(delta for *_, delta in fields)
        assert head.first_sequence == 100


def outcome(module: Any, data: bytes) -> tuple[Any, ...]:
    try:
        head = validate(module, data)
    except batch_errors.InvalidBatch as error:
        return error.code, error.record_index, str(error)
    return head.count, head.flags, head.compression, head.base_time_ms, head.max_time_ms, head.producer_id, head.producer_epoch, head.first_sequence, head.data


def resealed(data: bytes) -> bytes:
    """With the size and the checksum that fit what is there."""
    return seal(data[21:], magic=data[16]) if len(data) > 21 else data


@settings(max_examples=examples(300), deadline=None)
@given(data=valid_batches, bits=st.lists(st.integers(0, 2**20), max_size=4), cut=st.one_of(st.none(), st.integers(0, 400)), sealed=st.booleans())
def test_damage_is_told_alike_in_both_modes(data: bytes, bits: list[int], cut: int | None, sealed: bool) -> None:
    whole = data
    damaged = bytearray(data)
    for bit in bits:
        damaged[bit // 8 % len(damaged)] ^= 1 << bit % 8
    data = bytes(damaged if cut is None else damaged[:cut])
    if sealed:
        data = resealed(data)
    installed, interpreted = (outcome(module, data) for module in MODES)
    assert installed == interpreted
    if not sealed and data[16:] != whole[16:]:
        assert installed[0] in (CORRUPT_MESSAGE, INVALID_RECORD)
        assert len(installed) == 3
    if len(installed) > 3:
        assert crc32c(installed[-1][21:]) == int.from_bytes(installed[-1][17:21], "big")


@settings(max_examples=examples(200), deadline=None)
@given(records=st.binary(max_size=60), count=st.integers(1, 4))
def test_any_bytes_as_records(records: bytes, count: int) -> None:
    data = batch([records], count=count, last_delta=count - 1)
    installed, interpreted = (outcome(module, data) for module in MODES)
    assert installed == interpreted
