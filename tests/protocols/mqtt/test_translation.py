"""Stored MQTT publishes: what the broker asks of them, and what becomes of them in the neutral form, AMQP and Kafka, and back: rows of docs/conversion.md."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from amqp_wire import route
from hypothesis import given, settings
from hypothesis import strategies as st
from mqtt_streams import OTHERS, TOPICS
from mqtt_wire import record, string, user

from both_modes import both, examples
from entrepot.broker.logs.entry_codec import DeadLetter
from entrepot.model import batch as neutral
from entrepot.model.batch import BatchBuilder, Record, RecordBatch
from entrepot.model.entry import CODEC_MQTT
from entrepot.protocols.amqp091.records import AmqpEntryCodec
from entrepot.protocols.amqp091.rewriting import take_apart
from entrepot.protocols.kafka.records import KafkaEntryCodec
from entrepot.protocols.mqtt import packing, user_properties
from entrepot.protocols.mqtt.properties import variable
from entrepot.protocols.mqtt.records import MqttEntryCodec
from entrepot.protocols.mqtt.topics import key_of
from entrepot.protocols.sqs.records import SqsEntryCodec

CODEC, AMQP, KAFKA, SQS = MqttEntryCodec(), AmqpEntryCodec(), KafkaEntryCodec(), SqsEntryCodec()
CODECS = [module.MqttEntryCodec() for module in both("entrepot.protocols.mqtt.records")]
ADDRESS = route(b"amq.topic", b"room.7")
ELSEWHERE = route(b"amq.topic", b"else")
QOS_1, RETAIN = 1, 4


def entry(*records: bytes, address: bytes = ADDRESS) -> bytes:
    return CODEC.prefix(address) + b"".join(records)


def to_neutral(one: bytes) -> Record:
    batch = CODEC.to_record_batch(entry(one), 0, 0)
    assert batch is not None
    (found,) = RecordBatch(batch).records()
    return found


def build(**fields: Any) -> bytes:
    """A batch of one record; `headers`: (name, type, value bytes)."""
    builder = BatchBuilder()
    builder.begin()
    for name in ("KEY", "CONTENT_TYPE", "CONTENT_ENCODING", "HEADERS", "DURABLE", "PRIORITY", "CORRELATION_ID", "REPLY_TO", "TIME_TO_LIVE", "MESSAGE_ID",
                 "EVENT_TIME", "TYPE", "GROUP", "ANNOTATIONS", "ORIGIN", "VALUE"):  # fmt: skip
        if name.lower() not in fields:
            continue
        number, value = getattr(neutral, name), fields[name.lower()]
        if name in ("HEADERS", "ANNOTATIONS"):
            opened = builder.open(number)
            for header, kind, octets in value:
                builder.name(header, 0, len(header))
                builder.value(kind, octets, 0, len(octets))
            builder.close(opened)
        elif name == "DURABLE":
            builder.mark(number)
        elif name == "PRIORITY":
            builder.octet(number, value)
        elif isinstance(value, int):
            builder.number(number, value)
        else:
            builder.octets(number, value, 0, len(value))
    builder.end()
    return builder.build()


class Mqtt:
    """What a client of MQTT's sees of a message."""

    def __init__(self, data: bytes) -> None:
        self.address = CODEC.address(data)
        (one,) = CODEC.split(data, CODEC.start(data), 1)
        assert len(one) == len(data) - CODEC.start(data)
        self.qos = packing.flags_of(one, 0) & 3
        self.expiry_s = packing.expiry_of(one, 0)
        self.payload = packing.payload_of(one, 0)
        listed = user_properties.items(packing.properties_of(one, 0))
        self.user = [(name, value) for kind, name, value in listed if kind == 0x26]
        self.properties = {kind: value for kind, value, _ in listed if kind != 0x26}


def from_neutral(address: bytes = ADDRESS, **fields: Any) -> Mqtt:
    return Mqtt(CODEC.from_record_batch(build(**{"value": b"v", **fields}), 0, 0, address))


# --- what the broker asks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", CODECS, ids=["installed", "source"])
def test_what_the_broker_asks(codec: Any) -> None:
    one = record(QOS_1, b"hello", user("x-key", "k") + user("x-group-id", "g") + user("a", "1") + user("a", "2"), 60)
    two = record(RETAIN, b"", b"\x01\x01" + b"\x08" + string(b"x-key"))
    data = codec.prefix(ADDRESS) + one + two
    start = codec.start(data)
    second = codec.skip(data, start, 1)
    assert codec.address(data) == ADDRESS
    assert codec.split(data, start, 2) == [one, two]
    assert codec.skip(data, start, 2) == len(data)
    assert codec.body_bytes(data, start, 2) == 5
    assert (codec.key(data, start), codec.group(data, start)) == (b"k", b"g")
    assert (codec.key(data, second), codec.group(data, second)) == (None, b"")
    assert codec.headers(data, start) == {"x-key": "k", "x-group-id": "g", "a": "2"}
    assert codec.headers(data, second) == {}
    assert (codec.time_to_live_ms(data, start), codec.time_to_live_ms(data, second)) == (60_000, -1)
    assert [codec.expired_count(data, start, 2, age_ms) for age_ms in (0, 59_999, 60_000, 10**9)] == [0, 0, 1, 1]
    assert codec.expired_count(codec.prefix(ADDRESS) + one * 3, start, 3, 60_000) == 3
    assert codec.further_keys(data, start) == []
    assert codec.without_hidden_keys(one) == (one, b"")
    assert codec.mark_delivery_count(one, 3) == one
    assert codec.fitting_count(data, start, 2, 4) == 0
    assert codec.fitting_count(data, start, 2, 5) == 2
    assert codec.larger_count(data, start, 2, 4) == 1
    assert codec.by_partition(one + two, 2, 4, 3) == [*codec.by_partition(one, 1, 4, 3), (3, two, 1)]


def test_what_is_cut_off_is_not_read() -> None:
    data = entry(record(QOS_1, b"hello", user("a", "b"), 60))
    for cut in range(CODEC.start(data), len(data)):
        with pytest.raises(IndexError):
            CODEC.split(data[:cut], CODEC.start(data), 1)
    with pytest.raises(IndexError):
        user_properties.items(user("a", "b")[:-1])


@pytest.mark.parametrize("codec", CODECS, ids=["installed", "source"])
def test_a_value_is_cut_out_and_put_in(codec: Any) -> None:
    data = codec.prefix(ADDRESS) + record(QOS_1, b"hello", user("a", "b"), 60)
    without, at, size = codec.without_value(data)
    assert without == codec.prefix(ADDRESS) + record(QOS_1, b"", user("a", "b"), 60)
    assert data[at : at + size] == b"hello"
    assert codec.takes_value()
    assert codec.with_value(without, data, at, size) == data
    assert codec.without_value(data + record(0, b"")) is None


def letter(queue: str, reason: str, routing_key: str | None = "dead") -> DeadLetter:
    return DeadLetter("public/default", queue, reason, "dlx", routing_key, 5)


def test_dead_letters() -> None:
    one = record(QOS_1 | RETAIN, b"x", user("a", "b"), 60)
    address, first = CODEC.dead_letter(entry(one), one, letter("q", "expired")) or (b"", b"")
    assert address == route(b"dlx", b"dead")
    assert first == record(QOS_1 | RETAIN, b"x", user("a", "b") + user("x-death", "expired q"))
    assert (CODEC.dead_letter(entry(one), one, letter("q", "expired", None)) or (b"",))[0] == route(b"dlx", b"room.7")
    assert CODEC.dead_letter(entry(one), one, letter("q", "expired", "k" * 65_001)) is None
    assert (CODEC.is_cycle(one, "q"), CODEC.is_cycle(first, "q"), CODEC.is_cycle(first, "p")) == (False, True, False)
    _, second = CODEC.dead_letter(entry(first), first, letter("p", "rejected")) or (b"", b"")
    assert not CODEC.is_cycle(second, "q")  # rejected since
    assert CODEC.source_of(entry(second), CODEC.start(entry(second))) == "p"
    _, third = CODEC.dead_letter(entry(second), second, letter("q", "expired")) or (b"", b"")
    assert third == record(QOS_1 | RETAIN, b"x", user("a", "b") + user("x-death", "rejected p") + user("x-death", "expired q"))
    assert CODEC.is_cycle(third, "q")
    assert CODEC.moved(one, "s", -1, 5) == record(QOS_1 | RETAIN, b"x", user("a", "b") + user("x-death", "delivery_limit s"))
    assert CODEC.source_of(entry(one), CODEC.start(entry(one))) == ""


# --- MQTT to the neutral form -----------------------------------------------------------------------------------------------------


def test_mqtt_topic_is_the_origin() -> None:
    assert to_neutral(record(0, b"")).octets(neutral.ORIGIN) == bytes((CODEC_MQTT,)) + ADDRESS


def test_mqtt_payload_is_the_value() -> None:
    assert to_neutral(record(0, b"\0\xff")).value == b"\0\xff"
    assert to_neutral(record(0, b"")).value == b""


def test_mqtt_null_value() -> None:
    found = to_neutral(record(0, b"", user("x-null-value", "true")))
    assert (found.value, found.headers) == (None, [])
    found = to_neutral(record(0, b"x", user("x-null-value", "true")))
    assert (found.value, found.headers) == (b"x", [("x-null-value", "true")])


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_mqtt_qos_says_whether_it_is_durable(qos: int) -> None:
    assert to_neutral(record(qos, b"")).durable == (qos > 0)


def test_mqtt_expiry_is_the_time_to_live() -> None:
    assert to_neutral(record(0, b"", b"", 60)).number(neutral.TIME_TO_LIVE) == 60_000
    assert to_neutral(record(0, b"")).number(neutral.TIME_TO_LIVE) is None


def test_mqtt_properties() -> None:
    found = to_neutral(record(0, b"", b"\x03" + string(b"text/plain") + b"\x09" + string(b"\0\xff") + b"\x08" + string(b"re/p.ly") + b"\x01\x01"))
    assert found.octets(neutral.CONTENT_TYPE) == b"text/plain"
    assert found.octets(neutral.CORRELATION_ID) == b"\0\xff"
    assert found.octets(neutral.REPLY_TO) == b"re.p/ly"
    assert found.headers == []


def test_mqtt_user_properties_are_headers() -> None:
    assert to_neutral(record(0, b"", user("a", "1") + user("b", "") + user("a", "2"))).headers == [("a", "1"), ("b", ""), ("a", "2")]


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("x-key", neutral.KEY),
        ("x-group-id", neutral.GROUP),
        ("content-encoding", neutral.CONTENT_ENCODING),
        ("message-id", neutral.MESSAGE_ID),
        ("message-type", neutral.TYPE),
    ],
)
def test_mqtt_user_property_that_carries_a_field(name: str, field: int) -> None:
    found = to_neutral(record(0, b"", user(name, "v") + user(name, "w")))
    assert (found.octets(field), found.headers) == (b"v", [(name, "w")])


@pytest.mark.parametrize(("digits", "number"), [("0", 0), ("255", 255), ("256", None), ("07", None), ("", None), ("x", None), ("-1", None), ("²", None)])
def test_mqtt_priority(digits: str, number: int | None) -> None:
    found = to_neutral(record(0, b"", user("priority", digits)))
    assert (found.priority, found.headers) == (number, [] if number is not None else [("priority", digits)])


# --- the neutral form to MQTT -----------------------------------------------------------------------------------------------------


def test_value_is_the_payload() -> None:
    found = from_neutral(value=b"\0\xff")
    assert (found.payload, found.user, found.address) == (b"\0\xff", [], ADDRESS)


def test_no_value() -> None:
    builder = BatchBuilder()
    builder.begin()
    builder.end()
    found = Mqtt(CODEC.from_record_batch(builder.build(), 0, 0, ADDRESS))
    assert (found.payload, found.user) == (b"", [(b"x-null-value", b"true")])


def test_durable_is_qos_1() -> None:
    assert (from_neutral(durable=True).qos, from_neutral().qos) == (1, 0)


@pytest.mark.parametrize(("ttl_ms", "expiry_s"), [(0, 0), (1, 1), (1000, 1), (1001, 2), (2**62, 2**32 - 1), (-1, -1)])
def test_time_to_live_is_the_expiry(ttl_ms: int, expiry_s: int) -> None:
    assert from_neutral(time_to_live=ttl_ms).expiry_s == expiry_s
    assert from_neutral().expiry_s == -1


def test_fields_that_mqtt_has() -> None:
    found = from_neutral(content_type=b"text/x", correlation_id=b"\xff", reply_to=b"re.p/ly")
    assert (found.properties, found.user) == ({3: b"text/x", 9: b"\xff", 8: b"re/p.ly"}, [])
    assert from_neutral(content_type=b"\xff", correlation_id=bytes(65_536)).properties == {}


@pytest.mark.parametrize("reply_to", [b"a.#", b"", b"x*"])
def test_a_reply_to_that_is_no_topic(reply_to: bytes) -> None:
    found = from_neutral(reply_to=reply_to)
    assert (found.properties, found.user) == ({}, [(b"reply-to", reply_to)])
    assert from_neutral(reply_to=b"\xff").user == []


def test_fields_that_user_properties_carry() -> None:
    found = from_neutral(key=b"k", content_encoding=b"gzip", priority=7, message_id=b"m", type=b"t", group=b"g")
    wanted = {"x-key": "k", "content-encoding": "gzip", "priority": "7", "message-id": "m", "message-type": "t", "x-group-id": "g"}
    assert dict(found.user) == {name.encode(): value.encode() for name, value in wanted.items()}
    assert from_neutral(key=b"\xff", message_id=b"a\0").user == []


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (neutral.STRING, b"text", b"text"),
        (neutral.BYTES, b"text", b"text"),
        (neutral.BYTES, b"\xff", None),
        (neutral.STRING, b"a\0", None),
        (neutral.STRING, b"x" * 65_536, None),
        (neutral.STRING, b"", b""),
        (neutral.NULL, b"", None),
        (neutral.BOOL, b"\x01", b"true"),
        (neutral.BOOL, b"\x00", b"false"),
        (neutral.I8, b"\xff", b"-1"),
        (neutral.U64, b"\xff" * 8, str(2**64 - 1).encode()),
        (neutral.F64, struct.pack("<d", 1.5), b"1.5"),
        (neutral.DECIMAL, b"\x02" + struct.pack("<I", 314), b"3.14"),
        (neutral.TIMESTAMP, struct.pack("<q", 1234), b"1234"),
        (neutral.LIST, b"\x0e\x01\x00\x00\x00a\x02\x01\x00\x00\x00\x05", b'["a",5]'),
        (neutral.MAP, b"\x01\x00n\x01\x01\x00\x00\x00\x01", b'{"n":true}'),
    ],
)
def test_headers_are_user_properties(kind: int, value: bytes, expected: bytes | None) -> None:
    assert from_neutral(headers=[(b"name", kind, value)]).user == ([(b"name", expected)] if expected is not None else [])


def test_headers_of_one_name_and_names_that_mqtt_has_not() -> None:
    headers = [(b"a", neutral.STRING, b"1"), (b"\xff", neutral.STRING, b"x"), (b"a", neutral.STRING, b"2"), (b"", neutral.STRING, b"3")]
    assert from_neutral(headers=headers).user == [(b"a", b"1"), (b"a", b"2"), (b"", b"3")]


def test_annotations() -> None:
    assert from_neutral(annotations=[(b"amqp.user-id", neutral.STRING, b"guest")]).user == [(b"amqp.user-id", b"guest")]


def test_origin_says_the_address() -> None:
    assert from_neutral(origin=b"\x02" + ELSEWHERE).address == ELSEWHERE
    assert from_neutral(origin=b"\x03").address == ADDRESS


# --- there and back, and to the other protocols -----------------------------------------------------------------------------------


@st.composite
def entries(draw: st.DrawFn) -> bytes:
    made = []
    for _ in range(draw(st.integers(1, 4))):
        listed = draw(st.lists(st.sampled_from([user("a", "1"), user("ü", ""), user("priority", "300"), user("x-null-value", "true")]), max_size=3))
        listed += draw(st.lists(st.sampled_from([user("x-key", "k"), user("priority", "3"), user("message-id", "m")]), max_size=3, unique=True))
        listed += draw(st.lists(st.sampled_from(OTHERS[1:]), max_size=3, unique=True))
        payload = draw(st.binary(min_size=1, max_size=20))
        made.append(record(draw(st.integers(0, 1)), payload, b"".join(listed), draw(st.sampled_from([-1, 0, 5, 315_360_000]))))
    topic = draw(st.sampled_from([topic for topic in TOPICS if len(topic) < 256]))
    return entry(*made, address=route(b"amq.topic", key_of(topic)))


def seen(data: bytes) -> list[Any]:
    """What matters of an entry: of properties all, those of one kind in their order; the order of kinds says nothing."""
    found = []
    for one in CODEC.split(data, CODEC.start(data), packing_count(data)):
        listed = user_properties.items(packing.properties_of(one, 0))
        carriers = sorted(item for item in listed if item[0] == 0x26 and item[1] in (b"x-key", b"priority", b"message-id") and item[2] != b"300")
        plain = [item for item in listed if item[0] == 0x26 and item not in carriers]
        found.append((one[8] & 7, packing.expiry_of(one, 0), packing.payload_of(one, 0), sorted(item for item in listed if item[0] != 0x26), carriers, plain))
    return [CODEC.address(data), found]


def packing_count(data: bytes) -> int:
    count, position = 0, CODEC.start(data)
    while position < len(data):
        position = packing.skip(data, position, 1)
        count += 1
    return count


@settings(max_examples=examples(150), deadline=None)
@given(entries())
def test_there_and_back(data: bytes) -> None:
    batch = CODEC.to_record_batch(data, 0, 0)
    assert batch is not None
    assert RecordBatch(batch).count == packing_count(data)
    assert seen(CODEC.from_record_batch(batch, 0, 0, b"")) == seen(data)


@settings(max_examples=examples(100), deadline=None)
@given(entries())
def test_by_way_of_amqp(data: bytes) -> None:
    middle = AMQP.from_record_batch(CODEC.to_record_batch(data, 0, 0) or b"", 0, 0, b"")
    assert AMQP.address(middle) == CODEC.address(data)
    back = CODEC.from_record_batch(AMQP.to_record_batch(middle, 0, 0) or b"", 0, 0, b"")
    assert seen(back) == seen(data)


@settings(max_examples=examples(60), deadline=None)
@given(entries())
def test_kafka_and_sqs_take_all_of_it(data: bytes) -> None:
    batch = CODEC.to_record_batch(data, 0, 1000) or b""
    for codec in (KAFKA, SQS):
        made = codec.from_record_batch(batch, 0, 1000, ADDRESS)
        back = codec.to_record_batch(made, 0, 1000)
        assert back is not None
        assert [one.value for one in RecordBatch(back).records()] == [one.value for one in RecordBatch(batch).records()]


def test_as_an_amqp_client_sees_it() -> None:
    one = record(QOS_1, b"21.5", b"\x03" + string(b"text/x") + b"\x08" + string(b"re/ply") + b"\x09" + string(b"c") + user("unit", "C"), 60)
    middle = AMQP.from_record_batch(CODEC.to_record_batch(entry(one), 0, 0) or b"", 0, 0, b"")
    assert AMQP.address(middle) == ADDRESS
    parts = take_apart(AMQP.split(middle, AMQP.start(middle), 1)[0])
    assert bytes(parts.body) == b"21.5"
    assert {flag: value for flag, value in parts.values.items() if flag != 0x2000} == {
        0x8000: b"\x06text/x",
        0x1000: b"\x02",
        0x0400: b"\x01c",
        0x0200: b"\x06re.ply",
        0x0100: b"\x0560000",
    }
    assert parts.headers == [(b"unit", b"S\x00\x00\x00\x01C")]


@pytest.mark.parametrize("value", [0, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, 268_435_455])
def test_variable_byte_integers(value: int) -> None:
    from entrepot.protocols.mqtt.properties import Reader

    reader = Reader(variable(value))
    assert (reader.variable(), reader.left) == (value, 0)
    with pytest.raises(ValueError, match="variable byte integer"):
        variable(268_435_456)


def test_an_expiry_that_amqp_cannot_say() -> None:
    batch = CODEC.to_record_batch(entry(record(0, b"", b"", 2**32 - 1)), 0, 0) or b""
    middle = AMQP.from_record_batch(batch, 0, 0, b"")
    assert AMQP.time_to_live_ms(middle, AMQP.start(middle)) == -1
