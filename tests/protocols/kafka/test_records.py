"""The entry codec: batches to record batches and back, beside a client's own codec and AMQP's."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from aiokafka.record.default_records import DefaultRecordBatch
from amqp_wire import record as amqp_record
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka_batches import COMPRESSIONS, ZSTD, batch, contents, header_lists, numbered, plain, record, valid_batches
from test_translation import PREFIX, property_lists

from both_modes import both, examples
from entrepot.model import batch as neutral
from entrepot.model.batch import BatchBuilder, RecordBatch
from entrepot.protocols.amqp091.records import AmqpEntryCodec

BELOW = tuple(f"entrepot.protocols.kafka.{name}" for name in ("record_cursor", "record_batch", "to_neutral", "from_neutral"))
MODES = both("entrepot.protocols.kafka.records", "entrepot.model.batch", *BELOW)
mode = pytest.mark.parametrize("module", MODES, ids=["installed", "interpreted"])
AMQP = AmqpEntryCodec()
ADDRESS = b"\x02ex\x03key"


def read(data: bytes) -> list[tuple[Any, ...]]:
    """As aiokafka reads it."""
    found = DefaultRecordBatch(data)
    assert found.validate_crc()
    return [(item.offset, item.timestamp, item.key, item.value, list(item.headers)) for item in found]


@mode
def test_positions_are_indices(module: Any) -> None:
    codec = module.KafkaEntryCodec()
    data = batch(plain([b"a", b"b", b"c"]), ZSTD)
    assert codec.skip(data, codec.start(data), 2) == 2
    assert codec.expired_count(data, 0, 3, 10**9) == 0
    assert codec.time_to_live_ms(data, 0) == -1
    assert codec.further_keys(data, 0) == []
    assert not codec.by_record


@mode
def test_an_address_in_front(module: Any) -> None:
    codec = module.KafkaEntryCodec()
    data = batch(plain([b"a", b"b"]), base_offset=5)
    assert codec.address(data) == b"\x00\x00"
    entry = codec.prefix(ADDRESS) + data
    assert codec.address(entry) == ADDRESS
    assert codec.placed(entry, 5) == data
    assert RecordBatch(codec.to_record_batch(entry, 0, 0)).records()[0].octets(neutral.ORIGIN) == b"\x03" + ADDRESS
    assert codec.first_at(entry, 7, 1_000) == (7, 1_000)


@mode
def test_the_place_of_an_entry_in_another_log(module: Any) -> None:
    codec = module.KafkaEntryCodec()
    data = batch(plain([b"a", b"b"]), base_offset=5)
    assert codec.placed(data, 5) is data
    assert codec.placed(data, 2**40) == batch(plain([b"a", b"b"]), base_offset=2**40)


@mode
def test_a_stand_in_for_offsets(module: Any) -> None:
    data = module.KafkaEntryCodec().placeholder(40, 7)
    found = DefaultRecordBatch(data)
    assert found.validate_crc()
    assert (found.base_offset, found.next_offset, list(found)) == (40, 47, [])


@mode
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_the_first_record_of_a_time(module: Any, compression: int) -> None:
    codec = module.KafkaEntryCodec()
    data = batch([record(None, b"x", delta=index, time_delta=delta) for index, delta in enumerate((5, 2, 9, 7))], compression, base_time=100)
    assert codec.first_at(data, 50, 0) == (50, 105)
    assert codec.first_at(data, 50, 106) == (52, 109)
    assert codec.first_at(data, 50, 110) == (50, -1)
    appended = codec.stamp(batch(plain([b"a", b"b"]), compression), 50, 0, 7_000)
    assert codec.first_at(appended, 50, 6_000) == (50, 7_000)


@mode
def test_timestamps_of_the_append_are_those_of_all_records(module: Any) -> None:
    codec = module.KafkaEntryCodec()
    data = codec.stamp(batch([record(delta=index, time_delta=index) for index in range(3)]), 0, 0, 9_999)
    assert [item.number(neutral.EVENT_TIME) for item in RecordBatch(codec.to_record_batch(data, 0, 1)).records()] == [9_999] * 3


@mode
def test_what_unpacks_to_more_than_the_limit_is_opaque(module: Any) -> None:
    data = batch([record(None, bytes(100_000))], ZSTD)
    assert module.KafkaEntryCodec(1 << 16).to_record_batch(data, 0, 0) is None
    assert module.KafkaEntryCodec(1 << 17).to_record_batch(data, 0, 0) is not None


record_lists = st.lists(st.tuples(contents, contents, header_lists, st.integers(-1000, 10**6)), min_size=1, max_size=6)


@settings(max_examples=examples(150), deadline=None)
@given(fields=record_lists, compression=st.sampled_from(COMPRESSIONS), base_time=st.integers(1_000, 2**42), offset=st.integers(0, 2**50))
def test_there_and_back_a_record_is_the_same(fields: list[Any], compression: int, base_time: int, offset: int) -> None:
    data = batch(numbered(fields), compression, base_time=base_time, base_offset=offset)
    made = []
    for module in MODES:
        codec = module.KafkaEntryCodec()
        middle = codec.to_record_batch(data, offset, 5)
        made.append((middle, codec.from_record_batch(middle, offset, 5, b"")))
    assert made[0] == made[1]
    back = read(made[0][1])
    assert back == read(data)


@settings(max_examples=examples(60), deadline=None)
@given(data=valid_batches)
def test_all_of_a_batch_arrives_in_amqp(data: bytes) -> None:
    codec = MODES[0].KafkaEntryCodec()
    entry = AMQP.from_record_batch(codec.to_record_batch(data, 0, 0), 0, 0, b"\x00\x01t")
    assert AMQP.address(entry) == b"\x00\x01t"
    records = AMQP.split(entry, AMQP.start(entry), len(read(data)))
    values = [value or b"" for _, _, _, value, _ in read(data)]
    assert [item[8 + int.from_bytes(item[:4], "big") :] for item in records] == values


@settings(max_examples=examples(150), deadline=None)
@given(content=st.lists(st.tuples(property_lists(), st.binary(max_size=30)), min_size=1, max_size=3))
def test_amqp_to_kafka_and_back(content: list[tuple[bytes, bytes]]) -> None:
    """Both modes make the same of everything that AMQP can say, a client can read it, and what it says comes back."""
    records = [amqp_record(properties, body) for properties, body in content]
    entry = PREFIX + b"".join(records)
    middle = AMQP.to_record_batch(entry, 0, 7_000)
    made = [module.KafkaEntryCodec().from_record_batch(middle, 3, 7_000, b"") for module in MODES]
    assert made[0] == made[1]
    assert len(read(made[0])) == len(records)
    back = [module.KafkaEntryCodec().to_record_batch(made[0], 3, 7_000) for module in MODES]
    assert back[0] == back[1]
    for sent, came in zip(RecordBatch(middle).records(), RecordBatch(back[0]).records(), strict=True):
        assert came.key == sent.key
        assert came.value == sent.value
        assert came.number(neutral.EVENT_TIME) == (7_000 if sent.number(neutral.EVENT_TIME) is None else sent.number(neutral.EVENT_TIME))


def typed(*values: tuple[bytes, int, bytes]) -> bytes:
    """A batch of one record with these headers."""
    builder = BatchBuilder()
    builder.begin()
    opened = builder.open(neutral.HEADERS)
    for name, kind, raw in values:
        builder.name(name, 0, len(name))
        builder.value(kind, raw, 0, len(raw))
    builder.close(opened)
    builder.end()
    return builder.build()


INTEGERS = {
    neutral.I8: "<b",
    neutral.U8: "<B",
    neutral.I16: "<h",
    neutral.U16: "<H",
    neutral.I32: "<i",
    neutral.U32: "<I",
    neutral.I64: "<q",
    neutral.U64: "<Q",
}


def integers(kind: int) -> st.SearchStrategy[tuple[int, bytes]]:
    bits = 8 * struct.calcsize(INTEGERS[kind])
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if (kind - neutral.I8) % 2 == 0 else (0, (1 << bits) - 1)
    return st.one_of(st.integers(low, high), st.sampled_from([low, high])).map(lambda value: (kind, struct.pack(INTEGERS[kind], value)))


header_values = st.one_of(
    st.just((neutral.NULL, b"")),
    st.booleans().map(lambda value: (neutral.BOOL, bytes([value]))),
    st.sampled_from(sorted(INTEGERS)).flatmap(integers),
    st.integers(-(1 << 63), (1 << 63) - 1).map(lambda value: (neutral.TIMESTAMP, struct.pack("<q", value))),
    st.floats(width=32, allow_nan=False).map(lambda value: (neutral.F32, struct.pack("<f", value))),
    st.floats(allow_nan=False).map(lambda value: (neutral.F64, struct.pack("<d", value))),
    st.tuples(st.integers(0, 20), st.integers(0, 2**32 - 1)).map(lambda value: (neutral.DECIMAL, bytes([value[0]]) + value[1].to_bytes(4, "little"))),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8).map(lambda value: (neutral.STRING, value.encode())),
    st.binary(max_size=8).map(lambda value: (neutral.STRING, value)),
    st.binary(max_size=8).map(lambda value: (neutral.BYTES, value)),
)


@settings(max_examples=examples(300), deadline=None)
@given(values=st.lists(st.tuples(st.sampled_from([b"a", b"b", b"retries"]), header_values), max_size=5))
def test_types_of_headers_come_back(values: list[tuple[bytes, tuple[int, bytes]]]) -> None:
    source = typed(*((name, kind, raw) for name, (kind, raw) in values))
    for module in MODES:
        codec = module.KafkaEntryCodec()
        data = codec.from_record_batch(source, 0, 5, b"")
        headers = RecordBatch(codec.to_record_batch(data, 0, 5)).records()[0].entries(neutral.HEADERS)
        assert headers == [(name, kind, raw) for name, (kind, raw) in values]


@mode
@pytest.mark.parametrize("letters", [b"g", b"ggg", b"zz", b"\x00\xff", b"gj", b"kl", b"qr", b"mb", b"n\x80"])
def test_types_that_do_not_fit_are_no_types(module: Any, letters: bytes) -> None:
    data = batch([record(None, b"", [(b"a", b"text"), (b"b", b"\xff"), (b"entrepot.types", letters)])])
    headers = RecordBatch(module.KafkaEntryCodec().to_record_batch(data, 0, 0)).records()[0].headers
    assert headers == [("a", "text"), ("b", b"\xff")]


@mode
@pytest.mark.parametrize(
    ("letter", "text"),
    [(b"c", b"128"), (b"c", b"-129"), (b"d", b"256"), (b"d", b"-1"), (b"j", b"18446744073709551616"), (b"i", b"9223372036854775808"), (b"i", b""), (b"i", b"-"),
     (b"i", b"+1"), (b"i", b"01"), (b"b", b"yes"), (b"k", b"1e60"), (b"m", b"-1"), (b"m", b"1e5"), (b"m", b"4294967296"),
     (b"q", b"{}"), (b"r", b"[" * 2000), (b"r", b"nan")],
)  # fmt: skip
def test_a_value_that_is_not_of_its_type_is_text(module: Any, letter: bytes, text: bytes) -> None:
    data = batch([record(None, b"", [(b"a", text), (b"entrepot.types", letter)])])
    assert RecordBatch(module.KafkaEntryCodec().to_record_batch(data, 0, 0)).records()[0].headers == [("a", text.decode())]


@mode
@pytest.mark.parametrize("size", [65_535, 65_536, 70_000, 131_080])
def test_a_header_with_a_name_too_long_for_the_neutral_form_is_left_out(module: Any, size: int) -> None:
    data = batch([record(None, b"value", [(b"first", b"1"), (b"n" * size, b"2"), (b"last", b"3")])])
    found_batch = module.KafkaEntryCodec().to_record_batch(data, 0, 0)
    (found,) = RecordBatch(found_batch).records()
    assert [entry[0] for entry in found.headers] == (["first", "n" * size, "last"] if size <= 0xFFFF else ["first", "last"])
    assert found.value == b"value"
