"""The neutral batch: what the builder writes, the readers and views read."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from both_modes import both, examples
from entrepot.model.errors import CorruptData

MODES = both("entrepot.model.batch")
mode = pytest.mark.parametrize("batch", MODES, ids=["installed", "interpreted"])
FIELDS = ["KEY", "CONTENT_TYPE", "CONTENT_ENCODING", "CORRELATION_ID", "REPLY_TO", "MESSAGE_ID", "TYPE", "GROUP", "SCHEMA_ID", "PRODUCER", "ORIGIN", "VALUE"]
NUMBERS = ["TIME_TO_LIVE", "EVENT_TIME", "APPEND_TIME", "DELIVER_AT", "SCHEMA_VERSION", "SEQUENCE"]

contents = st.fixed_dictionaries(
    {},
    optional={
        **{name: st.binary(max_size=12) for name in FIELDS},
        **{name: st.integers(-(2**63), 2**63 - 1) for name in NUMBERS},
        "DURABLE": st.just(True),
        "PRIORITY": st.integers(0, 255),
        "HEADERS": st.lists(st.tuples(st.binary(max_size=5), st.binary(max_size=9)), max_size=3),
    },
)


def build(batch: Any, records: list[dict[str, Any]]) -> bytes:
    builder = batch.BatchBuilder()
    for record in records:
        builder.begin()
        for name, value in sorted(record.items(), key=lambda item: getattr(batch, item[0])):
            field = getattr(batch, name)
            if name == "DURABLE":
                builder.mark(field)
            elif name == "PRIORITY":
                builder.octet(field, value)
            elif name == "HEADERS":
                at = builder.open(field)
                for header, raw in value:
                    builder.name(header, 0, len(header))
                    builder.value(batch.BYTES, b"." + raw, 1, len(raw))
                builder.close(at)
            elif isinstance(value, int):
                builder.number(field, value)
            else:
                builder.octets(field, b"." + value, 1, len(value))
        builder.end()
    data: bytes = builder.build()
    return data


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(contents, max_size=4))
def test_what_was_written_is_read(records: list[dict[str, Any]]) -> None:
    data = build(MODES[0], records)
    assert build(MODES[1], records) == data
    for batch in MODES:
        views = batch.RecordBatch(data).records()
        assert len(views) == len(records)
        assert batch.skip(data, batch.HEADER_BYTES, len(records)) == len(data)
        for view, record in zip(views, records, strict=True):
            assert {name: view.octets(getattr(batch, name)) for name in FIELDS} == {name: record.get(name) for name in FIELDS}
            assert {name: view.number(getattr(batch, name)) for name in NUMBERS} == {name: record.get(name) for name in NUMBERS}
            assert (view.durable, view.priority) == (record.get("DURABLE", False), record.get("PRIORITY"))
            assert view.entries(batch.HEADERS) == [(name, batch.BYTES, raw) for name, raw in record.get("HEADERS", [])]
            assert (view.key, view.value) == (record.get("KEY"), record.get("VALUE"))


@mode
def test_null_and_empty_differ(batch: Any) -> None:
    first, second = batch.RecordBatch(build(batch, [{}, {"KEY": b"", "VALUE": b""}])).records()
    assert (first.key, first.value, second.key, second.value) == (None, None, b"", b"")


@mode
def test_every_type_of_header(batch: Any) -> None:
    builder = batch.BatchBuilder()
    builder.begin()
    at = builder.open(batch.HEADERS)
    samples = [
        (batch.NULL, 0, 0, None),
        (batch.BOOL, 1, 1, True), (batch.I8, 1, 255, -1), (batch.U8, 1, 255, 255), (batch.I16, 2, 65535, -1), (batch.U16, 2, 65535, 65535),
        (batch.I32, 4, 2**32 - 1, -1), (batch.U32, 4, 2**32 - 1, 2**32 - 1), (batch.I64, 8, 2**64 - 1, -1), (batch.U64, 8, 2**64 - 1, 2**64 - 1),
        (batch.F32, 4, 0x3F800000, 1.0), (batch.F64, 8, 0x3FF0 << 48, 1.0), (batch.DECIMAL, 5, 2 | 300 << 8, Decimal("3.00")), (batch.TIMESTAMP, 8, 5, 5),
    ]  # fmt: skip
    for kind, width, value, _ in samples:
        builder.name(b"n", 0, 1)
        builder.small(kind, width, value)
    builder.name(b"n", 0, 1)
    builder.value(batch.STRING, b"\xc3\xa9\xff", 0, 3)
    builder.name(b"n", 0, 1)
    outer = builder.open_value(batch.LIST)
    builder.small(batch.BOOL, 1, 0)
    inner = builder.open_value(batch.MAP)
    builder.name(b"k", 0, 1)
    builder.value(batch.BYTES, b"v", 0, 1)
    builder.close(inner)
    builder.close(outer)
    builder.close(at)
    builder.end()
    (view,) = batch.RecordBatch(builder.build()).records()
    assert view.headers == [*(("n", value) for *_, value in samples), ("n", "é\udcff"), ("n", [False, {"k": b"v"}])]


@mode
def test_a_builder_starts_over(batch: Any) -> None:
    builder = batch.BatchBuilder()
    for _ in range(2):
        builder.begin()
        builder.octets(batch.VALUE, b"x" * 2000, 0, 2000)
        builder.end()
        built = batch.RecordBatch(builder.build())
        assert (built.count, built.records()[0].value) == (1, b"x" * 2000)


@mode
def test_fields_in_another_order_are_our_bug(batch: Any) -> None:
    builder = batch.BatchBuilder()
    builder.begin()
    builder.octets(batch.VALUE, b"", 0, 0)
    with pytest.raises(AssertionError):
        builder.octets(batch.KEY, b"", 0, 0)


@mode
def test_damage_and_later_versions_are_refused(batch: Any) -> None:
    with pytest.raises(CorruptData):
        batch.RecordBatch(b"\x01\x01\x00\x00\x00\x00\x00")
    with pytest.raises(CorruptData, match="version 2"):
        batch.RecordBatch(b"\x02\x02\x00\x00\x00\x00\x00\x00")
    assert batch.RecordBatch(b"\x02\x01\x00\x00\x00\x00\x00\x00").count == 0
    data = build(batch, [{"KEY": b"key", "EVENT_TIME": 5, "PRIORITY": 1, "VALUE": b"value"}])
    for cut in range(batch.HEADER_BYTES, len(data)):
        with pytest.raises(IndexError):
            _ = batch.Record(data[:cut], batch.HEADER_BYTES).value
    assert batch.skip(b"\xfc\xff\xff\xff", 0, 1) == 2**32
    with pytest.raises(CorruptData, match="unknown type"):
        batch.decode_value(99, b"")
