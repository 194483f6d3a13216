"""The method table and field tables against pika's, both ways, and what is malformed."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from amqp_wire import entry, frame, longstr, table
from hypothesis import given, settings
from hypothesis import strategies as st
from pika import data as pika_data
from pika import spec

from both_modes import examples
from entrepot.protocols.amqp091 import methods
from entrepot.protocols.amqp091.fields import TableLimits, decode_table, encode_table, encode_value
from entrepot.protocols.amqp091.methods import BY_NAME, TABLE, Method, decode, encode, encode_frame
from entrepot.protocols.amqp091.reply_codes import AmqpError, ReplyCode


def pika_class(method: Method) -> Any:
    return spec.methods[method.number]


def blank(method: Method) -> Any:
    theirs = pika_class(method)
    return theirs(**dict.fromkeys(inspect.signature(theirs.__init__).parameters.keys() - {"self"}))


def reply_code(payload: bytes) -> int:
    """What decode() answers: 0 where it took the payload."""
    try:
        decode(payload)
    except AmqpError as error:
        return error.reply_code
    return 0


def test_the_table_is_pikas() -> None:
    assert {method.number for method in TABLE} == set(spec.methods)
    assert len(BY_NAME) == len(TABLE) == len(methods.BY_NUMBER)
    for method in TABLE:
        theirs = pika_class(method)
        assert theirs.NAME.replace(".", "").lower() == method.name.replace("_", "").replace(".", "")
        assert [argument.name for argument in method.arguments] == list(inspect.signature(theirs.__init__).parameters)[1:]
        assert spec.has_content(method.number) == method.content
        for reply in method.replies:
            assert BY_NAME[reply].from_server or method.from_server
        assert method.synchronous == blank(method).synchronous


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "octet": st.integers(0, 2**8 - 1),
    "short": st.integers(0, 2**16 - 1),
    "long": st.integers(0, 2**32 - 1),
    "longlong": st.integers(0, 2**63 - 1),
    "bit": st.booleans(),
    "shortstr": st.text(max_size=60).filter(lambda text: len(text.encode()) <= 255),
    "name": st.text(max_size=60).filter(lambda text: len(text.encode()) <= 255 and not set(text) & {"\r", "\n"}),
    "longstr": st.text(max_size=300),
    "table": st.dictionaries(
        st.text(max_size=10),
        st.recursive(
            st.one_of(st.booleans(), st.none(), st.integers(-(2**63), 2**63 - 1), st.text(max_size=10), st.binary(max_size=10)),
            lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
            max_leaves=6,
        ),
        max_size=4,
    ),
}


@pytest.mark.parametrize("method", TABLE, ids=lambda method: method.name)
@settings(max_examples=examples(15), deadline=None)
@given(st.data())
def test_every_method_crosses_to_pika_and_back(method: Method, data: st.DataObject) -> None:
    values = {argument.name: data.draw(VALUES[argument.type]) for argument in method.arguments if not argument.reserved}
    payload = encode(method.name, **values)
    assert decode(payload).arguments == values
    theirs = blank(method)
    theirs.decode(payload, 4)
    if method.name == "connection.update_secret":  # pika reads it into an attribute of another name
        theirs.new_secret = theirs.mechanisms
    for name, value in values.items():
        seen = getattr(theirs, name)
        assert (seen.encode() if isinstance(seen, str) else seen) == (value.encode() if isinstance(value, str) else value)
    assert b"".join(theirs.encode()) == payload[4:]
    assert encode_frame(9, method.name, **values) == frame(1, 9, payload)


def test_bits_are_packed_from_the_lowest() -> None:
    payload = encode("queue.declare", queue="q", passive=False, durable=True, exclusive=False, auto_delete=True, nowait=True, arguments={})
    assert payload == b"\x00\x32\x00\x0a\x00\x00\x01q\x1a\x00\x00\x00\x00"


def test_what_encode_refuses() -> None:
    with pytest.raises(TypeError, match="needs queue"):
        encode("queue.declare_ok", message_count=0, consumer_count=0)
    with pytest.raises(TypeError, match="no argument extra"):
        encode("basic.qos_ok", extra=1)
    with pytest.raises(ValueError, match="255"):
        encode("basic.consume_ok", consumer_tag="x" * 256)
    with pytest.raises(ValueError, match="unsigned"):
        encode("queue.purge_ok", message_count=-1)
    with pytest.raises(ValueError, match="unsigned"):
        encode("queue.purge_ok", message_count=2**32)


@pytest.mark.parametrize("method", TABLE, ids=lambda method: method.name)
def test_every_cut_and_every_extra_octet_is_an_error(method: Method) -> None:
    samples = {"bit": True, "shortstr": "text", "name": "text", "longstr": "text", "table": {"a": 1}}
    payload = encode(method.name, **{argument.name: samples.get(argument.type, 1) for argument in method.arguments if not argument.reserved})
    for broken in [payload[:cut] for cut in range(len(payload))] + [payload + b"\x00"]:
        with pytest.raises(AmqpError) as caught:
            decode(broken)
        assert caught.value.reply_code == (501 if len(broken) >= 4 else 540)
        if len(broken) >= 4:
            assert (caught.value.class_id, caught.value.method_id) == (method.class_id, method.method_id)


def test_unknown_methods_and_text() -> None:
    with pytest.raises(AmqpError) as caught:
        decode(b"\x00\x63\x00\x0a")
    assert (caught.value.reply_code, caught.value.class_id, caught.value.method_id) == (540, 99, 10)
    with pytest.raises(AmqpError) as caught:
        decode(b"\x00\x3c\x00\x46\x00\x00\x01\xff\x00")
    assert caught.value.reply_code == 501
    assert decode(encode("connection.secure_ok", response=b"\x00\xff"))["response"] == b"\x00\xff"


def test_reply_codes() -> None:
    error = AmqpError(404, "no queue 'x' in vhost '/'", 50, 10)
    assert error.reply_code is ReplyCode.NOT_FOUND
    assert error.reply_text == "NOT_FOUND - no queue 'x' in vhost '/'"
    assert not error.closes_connection
    assert AmqpError(501, "x").closes_connection
    assert len(AmqpError(406, "é" * 300).reply_text.encode()) <= 255


EVERY_TYPE = table(
    entry(b"t", b"t", b"\x02"),
    entry(b"b", b"b", b"\xff"),
    entry(b"B", b"B", b"\xff"),
    entry(b"s", b"s", b"\xff\xfe"),
    entry(b"u", b"u", b"\xff\xfe"),
    entry(b"I", b"I", b"\xff\xff\xff\xfd"),
    entry(b"i", b"i", b"\xff\xff\xff\xfd"),
    entry(b"l", b"l", b"\xff" * 8),
    entry(b"L", b"L", b"\xff" * 8),
    entry(b"f", b"f", b"\x3f\x80\x00\x00"),
    entry(b"d", b"d", b"\x3f\xf0" + bytes(6)),
    entry(b"D", b"D", b"\x02\x00\x00\x01\x2c"),
    entry(b"S", b"S", longstr("é".encode())),
    entry(b"bad", b"S", longstr(b"\xff")),
    entry(b"x", b"x", longstr(b"\xff")),
    entry(b"T", b"T", (1_700_000_000).to_bytes(8, "big")),
    entry(b"far", b"T", b"\xff" * 8),
    entry(b"A", b"A", table(b"V", b"t\x00")),
    entry(b"F", b"F", table(entry(b"", b"V", b""))),
    entry(b"V", b"V", b""),
    entry(b"t", b"V", b""),
)


def test_every_field_type_is_read_as_rabbitmq_does() -> None:
    values, end = decode_table(EVERY_TYPE)
    assert end == len(EVERY_TYPE)
    assert values == {
        "t": True,
        "b": -1,
        "B": 255,
        "s": -2,
        "u": 65534,
        "I": -3,
        "i": 4294967293,
        "l": -1,
        "L": -1,
        "f": 1.0,
        "d": 1.0,
        "D": Decimal("3.00"),
        "S": "é",
        "bad": "\udcff",
        "x": b"\xff",
        "T": datetime.fromtimestamp(1_700_000_000, UTC),
        "far": 2**64 - 1,
        "A": [None, False],
        "F": {"": None},
        "V": None,
    }


def test_values_survive_their_way_to_pika() -> None:
    values = {
        "when": datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC),
        "amount": Decimal("3.50"),
        "deep": {"list": [1, -1, 2**40, "x", None, {"a": b"\x00"}]},
        "yes": True,
    }
    encoded = encode_table(values)
    assert pika_data.decode_table(encoded, 0) == (values, len(encoded))
    assert decode_table(encoded)[0] == values
    assert decode_table(encode_table({"\udcff": "\udcff"}))[0] == {"\udcff": "\udcff"}
    assert decode_table(encode_table({"d": 1.5}))[0] == {"d": 1.5}


@pytest.mark.parametrize(
    "value", [2**63, -(2**63) - 1, Decimal(-1), Decimal("NaN"), Decimal(2**32), object(), datetime(1900, 1, 1, tzinfo=UTC), {"n" * 256: 1}]
)
def test_what_no_field_holds(value: Any) -> None:
    with pytest.raises(ValueError, match=r"field|decimal|timestamp"):
        encode_value(value)


@pytest.mark.parametrize("kind", sorted(set(range(256)) - set(b"tbBsuIilLfdDSATFVx")))
def test_types_that_rabbitmq_does_not_know_are_refused(kind: int) -> None:
    with pytest.raises(AmqpError, match="unknown type"):
        decode_table(table(entry(b"a", bytes([kind]), bytes(20))))


def test_every_cut_of_a_table_is_an_error() -> None:
    for cut in range(len(EVERY_TYPE)):
        with pytest.raises(AmqpError):
            decode_table(EVERY_TYPE[:cut])
        if cut >= 4:
            inner = (cut - 4).to_bytes(4, "big") + EVERY_TYPE[4:cut]
            assert reply_code(b"\x00\x0a\x00\x0b" + inner + bytes(6)) in (0, 501)


def test_limits_of_tables() -> None:
    deep: dict[str, Any] = {}
    for _ in range(3):
        deep = {"a": [deep]}
    encoded = encode_table(deep)
    assert decode_table(encoded, 0, TableLimits(nesting_max=7))[0] == deep
    with pytest.raises(AmqpError, match="deep"):
        decode_table(encoded, 0, TableLimits(nesting_max=6))
    many = encode_table({str(number): number for number in range(10)})
    assert len(decode_table(many, 0, TableLimits(values_max=10))[0]) == 10
    with pytest.raises(AmqpError, match="more than 9 values"):
        decode_table(many, 0, TableLimits(values_max=9))
    with pytest.raises(AmqpError, match="the limit is"):
        decode_table(many, 0, TableLimits(size_max_bytes=len(many) - 5))
    bottom = b"\x00\x00\x00\x00"
    for _ in range(100_000):
        bottom = (len(bottom) + 6).to_bytes(4, "big")[:4] + b"\x00F" + bottom[-40:]
    with pytest.raises(AmqpError):
        decode_table(bottom)


@settings(max_examples=examples(500), deadline=None)
@given(st.binary(max_size=60))
def test_any_payload_decodes_or_is_an_amqp_error(payload: bytes) -> None:
    for method in (BY_NAME["queue.declare"], BY_NAME["connection.start_ok"]):
        assert reply_code(method.number.to_bytes(4, "big") + payload) in (0, 501)
