"""AMQP entries to record batches and back."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from amqp_streams import EVERYTHING, PROPERTIES
from amqp_wire import PERSISTENT, entry, longstr, record, route, short, table
from hypothesis import given, settings
from hypothesis import strategies as st
from test_methods import EVERY_TYPE

from both_modes import both, examples, interpreted
from entrepot.model import batch as neutral
from entrepot.protocols.amqp091 import records, translation

BELOW = (
    "entrepot.model.batch",
    "entrepot.protocols.amqp091.properties",
    "entrepot.protocols.amqp091.records",
)
MODES = both("entrepot.protocols.amqp091.translation", *BELOW)
mode = pytest.mark.parametrize("module", MODES, ids=["installed", "interpreted"])
ADDRESS = route(b"ex", b"key")
PREFIX = records.AmqpEntryCodec().prefix(ADDRESS)

NUMBERS = {b"t": 1, b"b": 1, b"B": 1, b"s": 2, b"u": 2, b"I": 4, b"i": 4, b"f": 4, b"l": 8, b"d": 8, b"D": 5, b"V": 0}
names = st.binary(max_size=12)


def header_tables(values: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return st.lists(st.builds(lambda name, value: short(name) + value, names, values), max_size=3).map(lambda parts: table(*parts))


scalars = st.one_of(
    st.sampled_from(sorted(NUMBERS)).flatmap(
        lambda kind: st.binary(min_size=NUMBERS[kind], max_size=NUMBERS[kind]).map(lambda raw: kind + (b"\x01" if kind == b"t" else raw))
    ),
    st.integers(0, 2**40).map(lambda seconds: b"T" + seconds.to_bytes(8, "big")),
    st.builds(lambda kind, raw: kind + longstr(raw), st.sampled_from([b"S", b"x"]), st.binary(max_size=20)),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3).map(lambda items: b"A" + table(*items)), header_tables(inner).map(lambda raw: b"F" + raw)),
    max_leaves=6,
)
strings = st.binary(max_size=255).map(short)
lists = {
    0x8000: strings,
    0x4000: strings,
    0x2000: header_tables(values),
    0x1000: st.just(b"\x02"),
    0x0800: st.integers(0, 255).map(lambda value: bytes([value])),
    0x0400: strings,
    0x0200: strings,
    0x0100: st.integers(0, 2**32 - 1).map(lambda ttl: short(str(ttl).encode())),
    0x0080: strings,
    0x0040: st.integers(0, 2**40).map(lambda seconds: seconds.to_bytes(8, "big")),
    0x0020: strings,
    0x0010: strings,
    0x0008: strings,
    0x0004: strings,
}


@st.composite
def property_lists(draw: st.DrawFn) -> bytes:
    flags = draw(st.integers(0, 0xFFFF)) & 0xFFFC
    return flags.to_bytes(2, "big") + b"".join(draw(strategy) for flag, strategy in lists.items() if flags & flag)


@settings(max_examples=examples(120), deadline=None)
@given(st.lists(st.tuples(property_lists(), st.binary(max_size=30)), max_size=4))
def test_there_and_back_in_both_modes(content: list[tuple[bytes, bytes]]) -> None:
    data = PREFIX + b"".join(record(*message) for message in content)
    batches = [module.to_batch(data) for module in MODES]
    assert batches[0].data == batches[1].data
    assert batches[0].count == len(content)
    for module in MODES:
        assert module.from_batch(batches[0], ADDRESS) == data


@mode
def test_every_field(module: Any) -> None:
    listed = EVERYTHING[:2].replace(b"\xff", b"\xff") + EVERYTHING[2:]
    (view,) = module.to_batch(PREFIX + record(listed, b"body")).records()
    fields = {
        neutral.CONTENT_TYPE: "type",
        neutral.CONTENT_ENCODING: "enc",
        neutral.CORRELATION_ID: "id",
        neutral.REPLY_TO: "re",
        neutral.MESSAGE_ID: "mid",
        neutral.TYPE: "name",
    }
    assert {field: view.text(field) for field in fields} == fields
    assert (view.number(neutral.TIME_TO_LIVE), view.number(neutral.EVENT_TIME), view.priority) == (60_000, 0, 5)
    assert view.key is None
    assert view.value == b"body"
    assert view.headers == [("a", "text"), ("n", {"t": True}), ("l", [0])]
    assert view.annotations == [("amqp.user-id", "guest"), ("amqp.app-id", "app"), ("amqp.cluster-id", "")]
    assert view.octets(neutral.ORIGIN) == b"\x02" + ADDRESS
    assert view.durable


@mode
def test_every_header_type(module: Any) -> None:
    (view,) = module.to_batch(PREFIX + record(b"\x20\x00" + EVERY_TYPE, b"")).records()
    assert dict(reversed(view.headers)) == {
        "t": True, "b": -1, "B": 255, "s": -2, "u": 65534, "I": -3, "i": 4294967293, "l": -1, "L": -1, "f": 1.0, "d": 1.0, "D": Decimal("3.00"), "S": "é",
        "bad": "\udcff", "x": b"\xff", "T": 1_700_000_000_000, "far": 2**63 - 1, "A": [None, False], "F": {"": None}, "V": None,
    }  # fmt: skip
    assert [name for name, _ in view.headers].count("t") == 2


@mode
def test_key_and_group_travel_in_headers(module: Any) -> None:
    listed = b"\x20\x00" + table(entry(b"x-key", b"x", longstr(b"k")), entry(b"x-group-id", b"S", longstr(b"g")), entry(b"other", b"V", b""))
    data = PREFIX + record(listed, b"")
    batch = module.to_batch(data)
    (view,) = batch.records()
    assert (view.key, view.text(neutral.GROUP), view.headers) == (b"k", "g", [("other", None)])
    assert module.from_batch(batch, ADDRESS) == data
    number = PREFIX + record(b"\x20\x00" + table(entry(b"x-key", b"I", bytes(4))), b"")
    (view,) = module.to_batch(number).records()
    assert (view.key, view.headers) == (None, [("x-key", 0)])


def foreign(module: Any, **fields: Any) -> bytes:
    """A record as another protocol may make it, translated to AMQP: its one packed record."""
    builder = neutral.BatchBuilder()
    builder.begin()
    for field, value in sorted((getattr(neutral, name), value) for name, value in fields.items()):
        if isinstance(value, bytes):
            builder.octets(field, value, 0, len(value))
        else:
            builder.number(field, value)
    builder.end()
    made: bytes = module.from_batch(neutral.RecordBatch(builder.build()), ADDRESS)
    assert made.startswith(PREFIX)
    assert records.count_records(made, len(PREFIX)) == 1
    return made[len(PREFIX) :]


@mode
def test_what_amqp_cannot_say_is_left_out(module: Any) -> None:
    if module is not MODES[0]:
        module = interpreted("entrepot.protocols.amqp091.translation", *BELOW)
    assert foreign(module, VALUE=b"") == record(b"\x00\x00", b"")
    assert foreign(module, MESSAGE_ID=bytes(256), CORRELATION_ID=bytes(255), VALUE=b"") == record(b"\x04\x00\xff" + bytes(255), b"")
    assert foreign(module, APPEND_TIME=5, DELIVER_AT=6, SCHEMA_ID=b"s", SCHEMA_VERSION=1, PRODUCER=b"p", SEQUENCE=7, VALUE=b"v") == record(b"\x00\x00", b"v")
    assert foreign(module, EVENT_TIME=-1, TIME_TO_LIVE=-5, VALUE=b"") == record(b"\x00\x00", b"")
    assert foreign(module, EVENT_TIME=1999, TIME_TO_LIVE=2**63 - 1, VALUE=b"") == record(
        b"\x01\x40" + short(str(2**63 - 1).encode()) + (1).to_bytes(8, "big"), b""
    )
    long_name = (300).to_bytes(2, "little") + bytes(300) + b"\x00" + bytes(4)
    kept = b"\x01\x00" + b"a" + b"\x00" + bytes(4)
    assert foreign(module, HEADERS=long_name + kept, VALUE=b"") == record(b"\x20\x00" + table(entry(b"a", b"V", b"")), b"")


@mode
def test_a_null_value_is_told_from_an_empty_one(module: Any) -> None:
    if module is not MODES[0]:
        module = interpreted("entrepot.protocols.amqp091.translation", *BELOW)
    null = record(b"\x20\x00" + table(entry(b"x-null-value", b"t", b"\x01")), b"")
    assert foreign(module) == null
    (view,) = module.to_batch(PREFIX + null).records()
    assert (view.value, view.headers) == (None, [])
    (view,) = module.to_batch(PREFIX + record(b"\x20\x00" + table(entry(b"x-null-value", b"t", b"\x01")), b"full")).records()
    assert view.value == b"full"
    (view,) = module.to_batch(PREFIX + record(b"\x20\x00" + table(entry(b"x-null-value", b"S", longstr(b"x"))), b"")).records()
    assert (view.value, view.headers) == (b"", [("x-null-value", "x")])


@pytest.mark.parametrize("listed", PROPERTIES)
def test_plain_lists_come_back_as_they_were(listed: bytes) -> None:
    data = PREFIX + record(listed.replace(b"\x02\x05\x02id", b"\x02\x05\x02id"), b"x" * 100) + record(PERSISTENT, b"")
    assert translation.from_batch(translation.to_batch(data), ADDRESS) == data


def test_damage_does_not_reach_outside() -> None:
    data = translation.to_batch(PREFIX + record(EVERYTHING, b"body")).data
    for cut in range(neutral.HEADER_BYTES, len(data)):
        with pytest.raises(IndexError):
            translation.from_batch(neutral.RecordBatch(data[:cut]), ADDRESS)
    packed = PREFIX + record(EVERYTHING, b"body")
    for cut in range(len(PREFIX) + 1, len(packed)):
        with pytest.raises(IndexError):
            translation.to_batch(packed[:cut])
