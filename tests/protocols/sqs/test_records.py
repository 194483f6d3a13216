"""Entries of SQS messages, and what becomes of them in the neutral form and back: the rows of docs/conversion.md."""

import base64
import hashlib
import struct
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from both_modes import both
from entrepot.broker.logs.entry_codec import DeadLetter
from entrepot.model import batch as neutral
from entrepot.model.batch import BatchBuilder, RecordBatch
from entrepot.protocols.amqp091.records import AmqpEntryCodec
from entrepot.protocols.sqs import packing
from entrepot.protocols.sqs.actions import MessageAttributeValue
from entrepot.protocols.sqs.message_attributes import pack_attributes, unpack
from entrepot.protocols.sqs.packing import body_of, field_of, number_of, pack
from entrepot.protocols.sqs.records import SqsEntryCodec

CODEC = SqsEntryCodec()
ID = uuid.UUID("12345678-1234-4234-8234-123456789abc").bytes
NONE = b"\x00\x00"


def record(body=b"hello", group=b"", deduplication=b"", sent_ms=-1, trace=b"", source=b"", delay_ms=-1, sender=b"me", **attributes):
    packed = pack_attributes(attributes)[0] if attributes else b""
    return bytes(pack(ID, body, hashlib.md5(body).digest(), sender, group, deduplication, delay_ms, sent_ms, trace, source, packed))


def entry(*records):
    return CODEC.prefix(NONE) + b"".join(records)


def text(value):
    return MessageAttributeValue(StringValue=value, DataType="String")


short = st.binary(max_size=255)


@given(st.binary(max_size=300), short, short, short, st.integers(-1, 2**31), st.integers(-1, 2**45), st.binary(max_size=400), st.binary(max_size=400))
def test_what_is_packed_is_read(body, sender, group, deduplication, delay_ms, sent_ms, trace, source):
    for module in both("entrepot.protocols.sqs.packing"):
        one = bytes(module.pack(ID, body, b"m" * 16, sender, group, deduplication, delay_ms, sent_ms, trace, source, b""))
        data = one + one
        at = module.skip(data, 0, 1)
        assert at == len(one)
        for position in (0, at):
            assert module.body_of(data, position) == body
            assert module.field_of(data, position, module.SENDER) == sender
            assert module.field_of(data, position, module.GROUP) == group
            assert module.field_of(data, position, module.DEDUPLICATION) == deduplication
            assert module.field_of(data, position, module.TRACE) == trace
            assert module.field_of(data, position, module.SOURCE) == source
            assert module.number_of(data, position, module.DELAY) == delay_ms
            assert module.number_of(data, position, module.SENT_TIME) == sent_ms
        moved = module.with_fields(one, 77, b"from", False)
        assert module.number_of(moved, 0, module.SENT_TIME) == 77
        assert module.field_of(moved, 0, module.SOURCE) == b"from"
        assert module.number_of(moved, 0, module.DELAY) == -1
        assert module.body_of(moved, 0) == body


def test_what_the_broker_asks():
    one, two = record(group=b"g", delay_ms=5, sent_ms=9), record(b"", source=b"old", a=text("b"))
    data = CODEC.prefix(b"\x01x\x01y") + one + two
    start = CODEC.start(data)
    assert CODEC.address(data) == b"\x01x\x01y"
    assert CODEC.split(data, start, 2) == [one, two]
    assert CODEC.skip(data, start, 2) == len(data)
    assert CODEC.body_bytes(data, start, 2) == 5
    assert (CODEC.group(data, start), CODEC.key(data, start), CODEC.sent_time_ms(data, start)) == (b"g", b"g", 9)
    second = CODEC.skip(data, start, 1)
    assert (CODEC.group(data, second), CODEC.key(data, second), CODEC.sent_time_ms(data, second)) == (b"", None, -1)
    assert (CODEC.source_of(data, second), CODEC.headers(data, second)) == ("old", {"a": "b"})
    assert CODEC.expired_count(data, start, 2, 10**9) == 0
    assert CODEC.time_to_live_ms(data, start) == -1
    address, moved = CODEC.dead_letter(data, one, DeadLetter("public/default", "q", "rejected", "", "dead", 5))
    assert address == b"\x00\x04dead"
    assert (CODEC.source_of(moved, 0), CODEC.sent_time_ms(moved, 0), body_of(moved, 0)) == ("q", 9, b"hello")


# ---- SQS to the neutral form


def to_neutral(data):
    [found] = RecordBatch(CODEC.to_record_batch(entry(data), 0, 1234)).records()
    return found


def test_what_came_by_an_exchange_says_so():
    """A dead letter that a dead-letter exchange brought; what was sent to a queue by its name has no address."""
    data = CODEC.prefix(b"\x09amq.topic\x03a.b") + record(b"x")
    told = AmqpEntryCodec().from_record_batch(CODEC.to_record_batch(data, 0, 5), 0, 5, b"\0\0")
    assert AmqpEntryCodec().address(told) == b"\x09amq.topic\x03a.b"
    plain = CODEC.prefix(b"\0\x01q") + record(b"x")
    assert AmqpEntryCodec().address(AmqpEntryCodec().from_record_batch(CODEC.to_record_batch(plain, 0, 5), 0, 5, b"\0\0")) == b"\0\0"


def test_sqs_body_is_the_value():
    assert to_neutral(record(b"h\xc3\xa9")).value == b"h\xc3\xa9"


def test_sqs_body_of_base64_is_the_bytes():
    found = to_neutral(record(base64.b64encode(b"\x00\xff"), **{"x-body-encoding": text("base64")}))
    assert (found.value, found.headers) == (b"\x00\xff", [])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (text("v"), "v"),
        (MessageAttributeValue(StringValue="v", DataType="String.kind"), "v"),
        (MessageAttributeValue(StringValue="-12", DataType="Number"), -12),
        (MessageAttributeValue(StringValue="1.5", DataType="Number"), 1.5),
        (MessageAttributeValue(StringValue="012", DataType="Number"), "012"),
        (MessageAttributeValue(StringValue="12", DataType="Number.int"), "12"),
        (MessageAttributeValue(BinaryValue=b"\x00", DataType="Binary"), b"\x00"),
    ],
)
def test_sqs_attribute_is_a_header(value, expected):
    assert to_neutral(record(name=value)).headers == [("name", expected)]


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("content-type", neutral.CONTENT_TYPE),
        ("content-encoding", neutral.CONTENT_ENCODING),
        ("correlation-id", neutral.CORRELATION_ID),
        ("reply-to", neutral.REPLY_TO),
        ("message-type", neutral.TYPE),
        ("x-key", neutral.KEY),
    ],
)
def test_sqs_attribute_that_carries_a_property(name, field):
    found = to_neutral(record(**{name: text("v")}))
    assert (found.octets(field), found.headers) == (b"v", [])


def test_sqs_priority():
    assert to_neutral(record(priority=MessageAttributeValue(StringValue="7", DataType="Number"))).priority == 7


def test_sqs_group_id_is_the_ordering_key():
    assert to_neutral(record(group=b"g")).octets(neutral.GROUP) == b"g"


def test_sqs_ids_and_times():
    found = to_neutral(record(deduplication=b"d", trace=b"Root=1", source=b"q"))
    assert found.text(neutral.MESSAGE_ID) == "12345678-1234-4234-8234-123456789abc"
    assert found.number(neutral.EVENT_TIME) == 1234
    assert found.headers == [("x-deduplication-id", "d"), ("x-amzn-trace-id", "Root=1"), ("x-dead-letter-source", "q")]
    assert to_neutral(record(sent_ms=99)).number(neutral.EVENT_TIME) == 99
    assert found.durable


# ---- the neutral form to SQS


def from_neutral(write, offset=5):
    builder = BatchBuilder()
    builder.begin()
    write(builder)
    builder.end()
    data = CODEC.from_record_batch(builder.build(), offset, 1234, NONE)
    return CODEC.split(data, CODEC.start(data), 1)[0]


def with_header(kind, raw, name=b"name"):
    def write(builder):
        at = builder.open(neutral.HEADERS)
        builder.name(name, 0, len(name))
        builder.value(kind, raw, 0, len(raw))
        builder.close(at)
        builder.octets(neutral.VALUE, b"x", 0, 1)

    return write


def attributes_of(packed):
    return {name.decode(): (kind.decode(), value) for name, kind, value in unpack(field_of(packed, 0, packing.ATTRIBUTES) or b"0" * 16)}


@pytest.mark.parametrize("value", [b"", b"text \xc3\xa9\n", b"{}"])
def test_text_stays_as_it_is(value):
    made = from_neutral(lambda builder: builder.octets(neutral.VALUE, value, 0, len(value)))
    assert (body_of(made, 0), attributes_of(made)) == (value, {})
    assert made[packing.BODY_MD5 : packing.BODY_MD5 + 16] == hashlib.md5(value).digest()


@pytest.mark.parametrize("value", [b"\x00", b"\xff\xfe", b"a\x01", "\ufffe".encode()])
def test_what_is_no_text_is_base64(value):
    made = from_neutral(lambda builder: builder.octets(neutral.VALUE, value, 0, len(value)))
    assert body_of(made, 0) == base64.b64encode(value)
    assert attributes_of(made) == {"x-body-encoding": ("String", b"base64")}
    assert to_neutral(made).value == value


def test_no_value_is_an_empty_body():
    made = from_neutral(lambda builder: None)
    assert (body_of(made, 0), attributes_of(made)) == (b"", {"x-null-value": ("String", b"true")})
    assert to_neutral(made).value is None


@pytest.mark.parametrize(
    ("kind", "raw", "expected"),
    [
        (neutral.STRING, b"v", ("String", b"v")),
        (neutral.STRING, b"\xff", ("Binary", b"\xff")),
        (neutral.BYTES, b"v", ("Binary", b"v")),
        (neutral.I64, struct.pack("<q", -5), ("Number", b"-5")),
        (neutral.U8, b"\x07", ("Number", b"7")),
        (neutral.F64, struct.pack("<d", 1.5), ("Number", b"1.5")),
        (neutral.F64, struct.pack("<d", float("nan")), ("String", b"nan")),
        (neutral.DECIMAL, b"\x02" + struct.pack("<I", 125), ("Number", b"1.25")),
        (neutral.TIMESTAMP, struct.pack("<q", 1234), ("Number", b"1234")),
        (neutral.BOOL, b"\x01", ("String", b"true")),
        (neutral.LIST, bytes((neutral.I8,)) + struct.pack("<I", 1) + b"\x03", ("String", b"[3]")),
        (neutral.NULL, b"", None),
        (neutral.STRING, b"", None),
    ],
)
def test_headers(kind, raw, expected):
    assert attributes_of(from_neutral(with_header(kind, raw))).get("name") == expected


@pytest.mark.parametrize("name", ["\u00e9", "attr.1\u00f8", "\u65e5" * 256])
def test_names_of_other_letters_go_both_ways(name):
    found = attributes_of(from_neutral(with_header(neutral.STRING, b"v", name.encode())))
    assert found == {name: ("String", b"v")}
    assert to_neutral(record(**{name: text("v")})).headers == [(name, "v")]


@pytest.mark.parametrize("name", [b"a b", b"", b"x" * 257, b"AWS.x", b"Amazon.x", b".x", b"x.", "a\u00a7".encode(), "\u65e5".encode() * 257, b"\xe9"])
def test_headers_that_sqs_has_no_name_for_are_left_out(name):
    assert attributes_of(from_neutral(with_header(neutral.STRING, b"v", name))) == {}


@pytest.mark.parametrize(
    ("name", "field"), [(b"x-deduplication-id", packing.DEDUPLICATION), (b"x-amzn-trace-id", packing.TRACE), (b"x-dead-letter-source", packing.SOURCE)]
)
def test_headers_that_are_fields_of_a_message(name, field):
    made = from_neutral(with_header(neutral.STRING, b"v", name))
    assert (field_of(made, 0, field), attributes_of(made)) == (b"v", {})
    assert field_of(from_neutral(with_header(neutral.STRING, "\u00e9".encode() * 40_000, name)), 0, field) == b""


def test_properties_are_attributes():
    def write(builder):
        builder.octets(neutral.KEY, b"k", 0, 1)
        builder.octets(neutral.CONTENT_TYPE, b"text/plain", 0, 10)
        builder.octet(neutral.PRIORITY, 9)
        builder.octets(neutral.CORRELATION_ID, b"c", 0, 1)
        builder.number(neutral.EVENT_TIME, 88)
        builder.octets(neutral.GROUP, b"g", 0, 1)
        builder.octets(neutral.VALUE, b"x", 0, 1)

    made = from_neutral(write)
    assert attributes_of(made) == {
        "x-key": ("String", b"k"),
        "content-type": ("String", b"text/plain"),
        "priority": ("Number", b"9"),
        "correlation-id": ("String", b"c"),
    }
    assert field_of(made, 0, packing.GROUP) == b"g"
    assert number_of(made, 0, packing.SENT_TIME) == 88


def test_message_ids():
    def named(raw):
        return lambda builder: builder.octets(neutral.MESSAGE_ID, raw, 0, len(raw))

    kept = from_neutral(named(b"12345678-1234-4234-8234-123456789ABC"))
    assert kept[packing.MESSAGE_ID : packing.MESSAGE_ID + 16] == ID
    made = [from_neutral(named(raw), offset)[packing.MESSAGE_ID : packing.MESSAGE_ID + 16] for raw, offset in ((b"a", 1), (b"a", 2), (b"b", 1), (b"a", 1))]
    assert made[0] == made[3]
    assert len(set(made)) == 3


def test_there_and_back():
    whole = record(
        "h\u00e9".encode(), b"g", b"d", 5, b"Root=1", b"q", a=text("1"), b=MessageAttributeValue(BinaryValue=b"\x00", DataType="Binary"),
        c=MessageAttributeValue(StringValue="12", DataType="Number"), sender=b"",
    )  # fmt: skip
    batch = CODEC.to_record_batch(entry(whole), 0, 1234)
    data = CODEC.from_record_batch(batch, 0, 1234, NONE)
    assert CODEC.split(data, CODEC.start(data), 1) == [whole]
