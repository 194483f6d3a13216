"""The conversion tables of docs/conversion.md: every row is a test, under the text of its first cell."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiokafka.record.default_records import DefaultRecordBatch
from amqp_wire import entry as header
from amqp_wire import longstr, route, short, table
from amqp_wire import record as packed
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka_batches import ZSTD, batch, plain
from kafka_batches import record as kafka_record

from both_modes import examples
from entrepot.model.batch import RecordBatch
from entrepot.protocols.amqp091.records import AmqpEntryCodec
from entrepot.protocols.amqp091.rewriting import take_apart
from entrepot.protocols.kafka.records import KafkaEntryCodec

AMQP, KAFKA = AmqpEntryCodec(), KafkaEntryCodec()
STREAM = route(b"", b"orders")
APPENDED_MS = 1_700_000_000_123
FLAGS = dict(
    zip(
        ["content-type", "content-encoding", "headers", "delivery-mode", "priority", "correlation-id", "reply-to", "expiration", "message-id",
         "timestamp", "type", "user-id", "app-id", "cluster-id"],
        (0x8000 >> bit for bit in range(14)),
        strict=True,
    )
)  # fmt: skip


class Amqp:
    """What an AMQP client sees of a message."""

    def __init__(self, entry: bytes) -> None:
        parts = take_apart(AMQP.split(entry, AMQP.start(entry), 1)[0])
        self.body = bytes(parts.body)
        self.properties = {name: parts.values[flag] for name, flag in FLAGS.items() if flag in parts.values and name != "headers"}
        self.headers = [(name, value[:1], value[1:]) for name, value in parts.headers or []]
        size = entry[3]
        self.exchange, self.routing_key = entry[4 : 4 + size], entry[5 + size : AMQP.start(entry)]

    def text(self, name: str) -> bytes:
        value = self.properties[name]
        assert value[0] == len(value) - 1
        return value[1:]


def to_amqp(key: bytes | None = None, value: bytes | None = b"v", headers: Any = (), address: bytes = STREAM, **how: Any) -> Amqp:
    """A record of Kafka's, as an AMQP client is given it."""
    data = batch([kafka_record(key, value, headers)], **how)
    middle = KAFKA.to_record_batch(data, 0, APPENDED_MS)
    assert middle is not None
    return Amqp(AMQP.from_record_batch(middle, 0, APPENDED_MS, address))


def message(body: bytes = b"v", *headers: bytes, address: bytes = STREAM, **properties: bytes) -> bytes:
    """An AMQP entry of one message; properties as their bytes."""
    values = {name.replace("_", "-"): value for name, value in properties.items()}
    if headers:
        values["headers"] = table(*headers)
    flags = sum(FLAGS[name] for name in values)
    listed = flags.to_bytes(2, "big") + b"".join(values[name] for name in FLAGS if name in values)
    return AMQP.prefix(address) + packed(listed, body)


class Kafka:
    """What a client of Kafka's sees of a record."""

    def __init__(self, data: bytes) -> None:
        read = DefaultRecordBatch(data)
        assert read.validate_crc()
        (item,) = list(read)
        self.data = data
        self.key, self.value, self.timestamp, self.headers = item.key, item.value, item.timestamp, list(item.headers)


def to_kafka(*message_is: Any, **properties: Any) -> Kafka:
    middle = AMQP.to_record_batch(message(*message_is, **properties), 0, APPENDED_MS)
    assert middle is not None
    return Kafka(KAFKA.from_record_batch(middle, 0, APPENDED_MS, b"\x00\x00"))


def there_and_back(*message_is: Any, **properties: Any) -> Amqp:
    """Published over AMQP, read and copied by a Kafka client, read over AMQP."""
    middle = KAFKA.to_record_batch(to_kafka(*message_is, **properties).data, 0, APPENDED_MS)
    assert middle is not None
    return Amqp(AMQP.from_record_batch(middle, 0, APPENDED_MS, STREAM))


ROWS: dict[str, dict[str, Callable[[], None]]] = {}


def row(section: str, *cells: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    def add(check: Callable[[], None]) -> Callable[[], None]:
        for cell in cells:
            ROWS.setdefault(section, {})[cell] = check
        return check

    return add


def string(value: bytes) -> bytes:
    return longstr(value)


# ---- Kafka to AMQP

K2A = "Kafka to AMQP 0-9-1"


@row(K2A, "value")
def _() -> None:
    assert to_amqp(value=b"text").body == b"text"


@row(K2A, "value null (tombstone)")
def _() -> None:
    got = to_amqp(b"k", None)
    assert got.body == b""
    assert (b"x-null-value", b"t", b"\x01") in got.headers
    assert to_amqp(b"k", b"").headers == [(b"x-key", b"x", string(b"k"))]


@row(K2A, "key")
def _() -> None:
    assert to_amqp(b"k1").headers == [(b"x-key", b"x", string(b"k1"))]
    assert to_amqp(b"").headers == [(b"x-key", b"x", string(b""))]


@row(K2A, "key null")
def _() -> None:
    assert to_amqp(None).headers == []


@row(K2A, "timestamp")
def _() -> None:
    assert to_amqp(base_time=1_999).properties["timestamp"] == (1).to_bytes(8, "big")


@row(K2A, "timestamp under LogAppendTime")
def _() -> None:
    data = KAFKA.stamp(batch(plain([b"a"]), base_time=1), 0, 0, 7_000)
    middle = KAFKA.to_record_batch(data, 0, APPENDED_MS)
    assert middle is not None
    assert Amqp(AMQP.from_record_batch(middle, 0, 0, STREAM)).properties["timestamp"] == (7).to_bytes(8, "big")


@row(K2A, "no timestamp (-1)")
def _() -> None:
    assert "timestamp" not in to_amqp(base_time=-1).properties


@row(K2A, "header, UTF-8")
def _() -> None:
    assert to_amqp(headers=[(b"h", "grüße".encode())]).headers == [(b"h", b"S", string("grüße".encode()))]


@row(K2A, "header, not UTF-8")
def _() -> None:
    assert to_amqp(headers=[(b"h", b"\xff\x00")]).headers == [(b"h", b"x", string(b"\xff\x00"))]


@row(K2A, "header without a value (null)")
def _() -> None:
    assert to_amqp(headers=[(b"h", None)]).headers == [(b"h", b"V", b"")]


@row(K2A, "headers of one name")
def _() -> None:
    assert to_amqp(headers=[(b"h", b"1"), (b"g", b"2"), (b"h", b"3")]).headers == [
        (b"h", b"S", string(b"1")), (b"g", b"S", string(b"2")), (b"h", b"S", string(b"3"))]  # fmt: skip


@row(K2A, "header with a name over 255 bytes")
def _() -> None:
    assert to_amqp(headers=[(b"n" * 256, b"1"), (b"n" * 255, b"2")]).headers == [(b"n" * 255, b"S", string(b"2"))]


for _name, _property in {
    "content-type": "content-type",
    "content-encoding": "content-encoding",
    "correlation-id": "correlation-id",
    "reply-to": "reply-to",
    "message-id": "message-id",
    "message-type": "type",
}.items():

    @row(K2A, f"header `{_name}`")
    def _(name: str = _name, property_: str = _property) -> None:
        got = to_amqp(headers=[(name.encode(), b"some text")])
        assert got.text(property_) == b"some text"
        assert got.headers == []


@row(K2A, "header `priority`, 0 to 255 in digits")
def _() -> None:
    assert to_amqp(headers=[(b"priority", b"7")]).properties["priority"] == b"\x07"
    for text in (b"256", b"-1", b"high", b"", b"07"):
        got = to_amqp(headers=[(b"priority", text)])
        assert "priority" not in got.properties
        assert got.headers == [(b"priority", b"S", string(text))]


@row(K2A, "header `x-group-id`")
def _() -> None:
    assert to_amqp(headers=[(b"x-group-id", b"g")]).headers == [(b"x-group-id", b"S", string(b"g"))]


@row(K2A, "headers `amqp.user-id`, `amqp.app-id`, `amqp.cluster-id`")
def _() -> None:
    got = to_amqp(headers=[(b"amqp.user-id", b"u"), (b"amqp.app-id", b"a"), (b"amqp.cluster-id", b"c")])
    assert [got.text(name) for name in ("user-id", "app-id", "cluster-id")] == [b"u", b"a", b"c"]
    assert got.headers == []


@row(K2A, "one of these over 255 bytes")
def _() -> None:
    got = to_amqp(headers=[(b"message-id", b"m" * 256)])
    assert (got.headers, "message-id" in got.properties) == ([], False)


@row(K2A, "a second header of such a name")
def _() -> None:
    got = to_amqp(headers=[(b"message-id", b"1"), (b"message-id", b"2")])
    assert (got.text("message-id"), got.headers) == (b"1", [(b"message-id", b"S", string(b"2"))])


@row(K2A, "header `entrepot.types`")
def _() -> None:
    assert to_amqp(headers=[(b"n", b"5"), (b"entrepot.types", b"g")]).headers == [(b"n", b"I", (5).to_bytes(4, "big"))]


@row(K2A, "headers `entrepot.exchange`, `entrepot.routing-key`, `time-to-live-ms`")
def _() -> None:
    got = to_amqp(headers=[(b"entrepot.exchange", b"x"), (b"entrepot.routing-key", b"y"), (b"time-to-live-ms", b"5")])
    assert (got.headers, "expiration" in got.properties, got.exchange) == ([], False, b"")


@row(K2A, "read as a stream")
def _() -> None:
    got = to_amqp(address=STREAM)
    assert (got.exchange, got.routing_key) == (b"", b"orders")


@row(K2A, "sent on by its subject")
def _() -> None:
    entry = KAFKA.prefix(route(b"amq.topic", b"orders")) + batch(plain([b"a"]))
    middle = KAFKA.to_record_batch(entry, 0, APPENDED_MS)
    assert middle is not None
    got = Amqp(AMQP.from_record_batch(middle, 0, 0, b"\x00\x00"))
    assert (got.exchange, got.routing_key) == (b"amq.topic", b"orders")


@row(K2A, "every record")
def _() -> None:
    assert to_amqp().properties["delivery-mode"] == b"\x02"


@row(K2A, "compression, producer id, epoch and sequence, leader epoch")
def _() -> None:
    one, other = to_amqp(), to_amqp(compression=ZSTD, producer=(5, 6, 7), epoch=8)
    assert vars(one) == vars(other)


# ---- AMQP to Kafka

A2K = "AMQP 0-9-1 to Kafka"


@row(A2K, "body")
def _() -> None:
    assert to_kafka(b"text").value == b"text"


@row(A2K, "empty body")
def _() -> None:
    assert to_kafka(b"").value == b""


@row(A2K, "empty body, header `x-null-value` (`t`, true)")
def _() -> None:
    got = to_kafka(b"", header(b"x-null-value", b"t", b"\x01"))
    assert (got.value, got.headers) == (None, [])


@row(A2K, "header `x-key` (`S` or `x`)")
def _() -> None:
    for kind in (b"S", b"x"):
        got = to_kafka(b"v", header(b"x-key", kind, longstr(b"k1")))
        assert (got.key, got.headers) == (b"k1", [])


@row(A2K, "no header `x-key`")
def _() -> None:
    assert to_kafka().key is None


@row(A2K, "`timestamp`")
def _() -> None:
    assert to_kafka(timestamp=(1_700_000_000).to_bytes(8, "big")).timestamp == 1_700_000_000_000


@row(A2K, "no `timestamp`")
def _() -> None:
    assert to_kafka().timestamp == APPENDED_MS


for _property, _name in {
    "content_type": "content-type",
    "content_encoding": "content-encoding",
    "correlation_id": "correlation-id",
    "reply_to": "reply-to",
    "message_id": "message-id",
    "type": "message-type",
}.items():

    @row(A2K, f"`{_property.replace('_', '-')}`")
    def _(property_: str = _property, name: str = _name) -> None:
        assert to_kafka(**{property_: short(b"some text")}).headers == [(name, b"some text")]


@row(A2K, "`priority`")
def _() -> None:
    assert to_kafka(priority=b"\x09").headers == [("priority", b"9")]


@row(A2K, "`expiration`")
def _() -> None:
    assert to_kafka(expiration=short(b"60000")).headers == [("time-to-live-ms", b"60000")]


@row(A2K, "`expiration` that is no number")
def _() -> None:
    assert to_kafka(expiration=short(b"soon")).headers == []


@row(A2K, "`delivery-mode`")
def _() -> None:
    assert to_kafka(delivery_mode=b"\x02").headers == to_kafka(delivery_mode=b"\x01").headers == []


@row(A2K, "`user-id`, `app-id`, `cluster-id`")
def _() -> None:
    got = to_kafka(user_id=short(b"u"), app_id=short(b"a"), cluster_id=short(b"c"))
    assert got.headers == [("amqp.user-id", b"u"), ("amqp.app-id", b"a"), ("amqp.cluster-id", b"c")]


@row(A2K, "exchange and routing key")
def _() -> None:
    assert to_kafka(address=route(b"ex", b"a.b")).headers == [("entrepot.exchange", b"ex"), ("entrepot.routing-key", b"a.b")]


@row(A2K, "the default exchange")
def _() -> None:
    assert to_kafka(address=route(b"", b"orders")).headers == []


@row(A2K, "header `x-group-id` (`S` or `x`)")
def _() -> None:
    for kind in (b"S", b"x"):
        assert to_kafka(b"v", header(b"x-group-id", kind, longstr(b"g"))).headers == [("x-group-id", b"g")]


@row(A2K, "header of type `S` or `x`")
def _() -> None:
    assert to_kafka(b"v", header(b"h", b"S", longstr(b"text")), header(b"b", b"x", longstr(b"\xff"))).headers == [("h", b"text"), ("b", b"\xff")]
    assert to_kafka(b"v", header(b"h", b"x", longstr(b"text"))).headers == [("h", b"text"), ("entrepot.types", b"p")]
    assert to_kafka(b"v", header(b"h", b"S", longstr(b"\xff"))).headers == [("h", b"\xff"), ("entrepot.types", b"o")]


@row(A2K, "header of type `t`")
def _() -> None:
    assert to_kafka(b"v", header(b"y", b"t", b"\x01"), header(b"n", b"t", b"\x00")).headers == [("y", b"true"), ("n", b"false"), ("entrepot.types", b"bb")]


@row(A2K, "header of type `b` `B` `s` `u` `I` `i` `l` `L`")
def _() -> None:
    values = {"b": (">b", -5, "c"), "B": (">B", 200, "d"), "s": (">h", -300, "e"), "u": (">H", 60_000, "f"),
              "I": (">i", -70_000, "g"), "i": (">I", 2**32 - 1, "h"),
              "l": (">q", -(2**63), "i"), "L": (">q", 2**40, "i")}  # fmt: skip
    for kind, (form, value, letter) in values.items():
        got = to_kafka(b"v", header(b"n", kind.encode(), struct.pack(form, value)))
        assert got.headers == [("n", str(value).encode()), ("entrepot.types", letter.encode())]


@row(A2K, "header of type `f` or `d`")
def _() -> None:
    assert to_kafka(b"v", header(b"n", b"d", struct.pack(">d", 0.1))).headers == [("n", b"0.1"), ("entrepot.types", b"l")]
    assert to_kafka(b"v", header(b"n", b"f", struct.pack(">f", 1.5))).headers == [("n", b"1.5"), ("entrepot.types", b"k")]


@row(A2K, "header of type `D`")
def _() -> None:
    assert to_kafka(b"v", header(b"n", b"D", b"\x02" + (314).to_bytes(4, "big"))).headers == [("n", b"3.14"), ("entrepot.types", b"m")]


@row(A2K, "header of type `T`")
def _() -> None:
    assert to_kafka(b"v", header(b"n", b"T", (1_700_000_000).to_bytes(8, "big"))).headers == [("n", b"1700000000000"), ("entrepot.types", b"n")]


@row(A2K, "header of type `V`")
def _() -> None:
    assert to_kafka(b"v", header(b"n", b"V", b"")).headers == [("n", None)]


@row(A2K, "header of type `A` or `F`")
def _() -> None:
    listed = header(b"l", b"A", table(b"I" + (5).to_bytes(4, "big"), b"S" + longstr(b"x"), b"t\x01"))
    mapped = header(b"m", b"F", table(header(b"k", b"V", b"")))
    assert to_kafka(b"v", listed, mapped).headers == [("l", b'[5,"x",true]'), ("m", b'{"k":null}'), ("entrepot.types", b"qr")]


@row(A2K, "headers of one name")
def _() -> None:
    got = to_kafka(b"v", header(b"h", b"S", longstr(b"1")), header(b"h", b"S", longstr(b"2")))
    assert got.headers == [("h", b"1"), ("h", b"2")]


@row(A2K, "header name that is not UTF-8")
def _() -> None:
    assert to_kafka(b"v", header(b"a\xff", b"S", longstr(b"1"))).headers == [("a\ufffd", b"1")]


# ---- there and back

BACK = "There and back"


@row(BACK, "`delivery-mode`")
def _() -> None:
    assert there_and_back(delivery_mode=b"\x01").properties["delivery-mode"] == b"\x02"


@row(BACK, "no `timestamp`")
def _() -> None:
    assert there_and_back().properties["timestamp"] == (APPENDED_MS // 1000).to_bytes(8, "big")


@row(BACK, "`expiration`")
def _() -> None:
    assert "expiration" not in there_and_back(expiration=short(b"5")).properties


@row(BACK, "exchange, routing key")
def _() -> None:
    got = there_and_back(address=route(b"ex", b"key"))
    assert (got.exchange, got.routing_key, got.headers) == (b"", b"orders", [])


@row(BACK, "header of type `L`")
def _() -> None:
    assert there_and_back(b"v", header(b"n", b"L", (5).to_bytes(8, "big"))).headers == [(b"n", b"l", (5).to_bytes(8, "big"))]


@row(BACK, "inside `A` and `F`")
def _() -> None:
    items = (b"b\x05", b"f" + struct.pack(">f", 1.5), b"x" + longstr(b"raw"), b"D\x01" + (15).to_bytes(4, "big"), b"T" + (7).to_bytes(8, "big"))
    back = (b"l" + (5).to_bytes(8, "big"), b"d" + struct.pack(">d", 1.5), b"S" + longstr(b"raw"), b"S" + longstr(b"1.5"), b"l" + (7_000).to_bytes(8, "big"))
    assert there_and_back(b"v", header(b"a", b"A", table(*items))).headers == [(b"a", b"A", table(*back))]


@row(BACK, "header called as one that carries a property")
def _() -> None:
    got = there_and_back(b"v", header(b"message-id", b"S", longstr(b"1")))
    assert (got.text("message-id"), got.headers) == (b"1", [])
    got = there_and_back(b"v", header(b"message-id", b"S", longstr(b"1")), message_id=short(b"2"))
    assert (got.text("message-id"), got.headers) == (b"2", [(b"message-id", b"S", string(b"1"))])


@row(BACK, "the headers `x-key`, `x-group-id`, `x-null-value`")
def _() -> None:
    got = there_and_back(
        b"", header(b"h", b"V", b""), header(b"x-null-value", b"t", b"\x01"), header(b"x-group-id", b"x", longstr(b"g")), header(b"x-key", b"S", longstr(b"k"))
    )
    assert got.headers == [(b"x-key", b"x", string(b"k")), (b"x-group-id", b"S", string(b"g")), (b"x-null-value", b"t", b"\x01"), (b"h", b"V", b"")]


# ---- the tables

PAGE = Path(__file__).parents[2] / "docs" / "conversion.md"
# Held by a test of that protocol: test_records.py, and of MQTT test_translation.py.
ELSEWHERE = tuple(row for one in ("Amazon SQS", "STOMP", "MQTT") for row in (f"{one} to the others", f"The others to {one}"))


def written() -> dict[str, list[str]]:
    """The first cells of each section's table."""
    found: dict[str, list[str]] = {}
    for section in PAGE.read_text("utf-8").split("\n## ")[1:]:
        lines = [line for line in section.splitlines() if line.startswith("|")]
        if lines and not section.startswith(ELSEWHERE):
            found[section.splitlines()[0]] = [line.split(" | ")[0].removeprefix("| ") for line in lines[2:]]
    return found


CASES = [(section, cell) for section, cells in written().items() for cell in cells]


@pytest.mark.parametrize(("section", "cell"), CASES, ids=[re.sub(r"[^A-Za-z0-9]+", "-", f"{section} {cell}") for section, cell in CASES])
def test_row(section: str, cell: str) -> None:
    ROWS[section][cell]()


def test_every_check_stands_on_the_page() -> None:
    assert written() == {section: list(cells) for section, cells in ROWS.items()}


scalars = st.one_of(
    st.just(b"V"),
    st.booleans().map(lambda value: b"t" + bytes([value])),
    st.sampled_from([(b"b", 1), (b"B", 1), (b"s", 2), (b"u", 2), (b"I", 4), (b"i", 4), (b"l", 8)]).flatmap(
        lambda kind: st.binary(min_size=kind[1], max_size=kind[1]).map(lambda raw: kind[0] + raw)
    ),
    st.floats(allow_nan=False).map(lambda value: b"d" + struct.pack(">d", value)),
    st.floats(width=32, allow_nan=False).map(lambda value: b"f" + struct.pack(">f", value)),
    st.tuples(st.integers(0, 9), st.integers(0, 2**32 - 1)).map(lambda value: b"D" + bytes([value[0]]) + value[1].to_bytes(4, "big")),
    st.integers(0, 2**40).map(lambda value: b"T" + value.to_bytes(8, "big")),
    st.tuples(st.sampled_from([b"S", b"x"]), st.binary(max_size=10)).map(lambda value: value[0] + longstr(value[1])),
)  # fmt: skip
texts = st.binary(max_size=20).map(short)


@settings(max_examples=examples(200), deadline=None)
@given(
    body=st.binary(max_size=20),
    headers=st.lists(st.tuples(st.text("abcxyz-é", max_size=6).map(str.encode), scalars), max_size=4),
    texts=st.dictionaries(
        st.sampled_from(["content_type", "content_encoding", "correlation_id", "reply_to", "message_id", "type", "user_id", "app_id", "cluster_id"]), texts
    ),
    priority=st.one_of(st.none(), st.binary(min_size=1, max_size=1)),
    key=st.one_of(st.none(), st.binary(max_size=10)),
    seconds=st.integers(0, 2**40),
)  # fmt: skip
def test_all_else_comes_back_as_it_was(
    body: bytes, headers: list[tuple[bytes, bytes]], texts: dict[str, bytes], priority: bytes | None, key: bytes | None, seconds: int
) -> None:
    carried = [] if key is None else [header(b"x-key", b"x", longstr(key))]
    carried += [header(name, value[:1], value[1:]) for name, value in headers]
    properties: dict[str, Any] = {"delivery_mode": b"\x02", "timestamp": seconds.to_bytes(8, "big"), **texts}
    if priority is not None:
        properties["priority"] = priority
    sent = Amqp(message(body, *carried, **properties))
    assert vars(there_and_back(body, *carried, **properties)) == vars(sent)


def test_records_of_one_batch_are_each_their_own() -> None:
    data = batch([kafka_record(b"k%d" % index, b"v%d" % index, [(b"message-id", b"m%d" % index)] if index % 2 else [], delta=index) for index in range(9)])
    middle = KAFKA.to_record_batch(data, 0, 0)
    assert middle is not None
    assert [item.key for item in RecordBatch(middle).records()] == [b"k%d" % index for index in range(9)]
    entry = AMQP.from_record_batch(middle, 0, 0, STREAM)
    found = [take_apart(item) for item in AMQP.split(entry, AMQP.start(entry), 9)]
    assert [item.values.get(FLAGS["message-id"]) for item in found] == [short(b"m%d" % index) if index % 2 else None for index in range(9)]
