"""Entries of SENDs, and what becomes of them in the neutral form and back: the rows of docs/conversion.md."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stomp_wire import entry, read, record, records_of, route, unescaped

from both_modes import both, examples
from entrepot.broker.logs.entry_codec import DeadLetter
from entrepot.model import batch as neutral
from entrepot.model.batch import BatchBuilder, Record, RecordBatch
from entrepot.model.entry import CODEC_AMQP_091, CODEC_STOMP
from entrepot.protocols.amqp091.records import AmqpEntryCodec
from entrepot.protocols.kafka.records import KafkaEntryCodec
from entrepot.protocols.sqs.records import SqsEntryCodec
from entrepot.protocols.stomp import headers as lines
from entrepot.protocols.stomp import translation
from entrepot.protocols.stomp.output import Output
from entrepot.protocols.stomp.records import StompEntryCodec

CODEC = StompEntryCodec()
QUEUE = route(b"", b"q")
NONE = b"\x00\x00"
NOW_MS = 1_700_000_000_000


def block(*headers: tuple[str, str] | str) -> bytes:
    return b"".join(lines.line(*(part.encode() for part in (header.partition(":")[::2] if isinstance(header, str) else header))) for header in headers)


def message(*headers: tuple[str, str] | str, body: bytes = b"v", address: bytes = QUEUE, **how: Any) -> bytes:
    return entry(address, record(block("destination:/queue/q", *headers), body, **how))


def to_neutral(data: bytes) -> Record:
    batch = CODEC.to_record_batch(data, 0, NOW_MS)
    assert batch is not None
    (found,) = RecordBatch(batch).records()
    return found


class Seen:
    """What a STOMP client sees of a record."""

    def __init__(self, data: bytes) -> None:
        ((raw, self.body, self.bits, self.ttl),) = records_of(data[CODEC.start(data) :])
        self.headers: dict[str, str] = {}
        self.names = []
        for line in raw.decode().split("\n")[:-1]:
            name, _, value = line.partition(":")
            self.headers.setdefault(unescaped(name), unescaped(value))
            self.names.append(unescaped(name))


def to_stomp(make: Callable[[BatchBuilder], object], address: bytes = QUEUE) -> Seen:
    """A record of another protocol's, whose fields `make` writes; its value last."""
    builder = BatchBuilder()
    builder.begin()
    make(builder)
    builder.end()
    return Seen(CODEC.from_record_batch(builder.build(), 0, NOW_MS, address))


def put(builder: BatchBuilder, field: int, value: bytes) -> None:
    builder.octets(field, value, 0, len(value))


def with_header(kind: int, raw: bytes, name: bytes = b"h") -> Callable[[BatchBuilder], None]:
    def make(builder: BatchBuilder) -> None:
        opened = builder.open(neutral.HEADERS)
        builder.name(name, 0, len(name))
        builder.value(kind, raw, 0, len(raw))
        builder.close(opened)

    return make


ROWS: dict[str, dict[str, Callable[[], None]]] = {}


def row(section: str, cell: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    def add(check: Callable[[], None]) -> Callable[[], None]:
        ROWS.setdefault(section, {})[cell] = check
        return check

    return add


# ---- STOMP to the others

OUT = "STOMP to the others"


@row(OUT, "body")
def _() -> None:
    found = to_neutral(message(body=b"a\0b"))
    assert (found.value, found.headers, found.durable) == (b"a\0b", [], False)
    assert to_neutral(message(body=b"")).value == b""


@row(OUT, "empty body, header `x-null-value:true`")
def _() -> None:
    assert to_neutral(message("x-null-value:true", body=b"")).value is None
    found = to_neutral(message("x-null-value:true", body=b"x"))
    assert (found.value, found.headers) == (b"x", [("x-null-value", "true")])


@row(OUT, "headers `content-type`, `content-encoding`, `correlation-id`, `type`")
def _() -> None:
    found = to_neutral(message("type:t", "content-type:text/plain", ("correlation-id", "a:b"), "content-encoding:gzip"))
    assert found.text(neutral.TYPE) == "t"
    assert found.text(neutral.CONTENT_TYPE) == "text/plain"
    assert found.text(neutral.CONTENT_ENCODING) == "gzip"
    assert found.text(neutral.CORRELATION_ID) == "a:b"
    assert found.headers == []


@row(OUT, "header `priority`, 0 to 255 in digits")
def _() -> None:
    assert to_neutral(message("priority:9")).priority == 9
    for text in ("256", "-1", "high", ""):
        found = to_neutral(message(f"priority:{text}"))
        assert (found.priority, found.headers) == (None, [("priority", text)])


@row(OUT, "header `reply-to` that names a queue (`/queue/N`, `/amq/queue/N`, `/reply-queue/N`, `queue://N`)")
def _() -> None:
    for text in ("/queue/a%2Fb", "/amq/queue/a%2Fb", "/reply-queue/a%2Fb", "queue://a/b"):
        assert to_neutral(message(("reply-to", text))).text(neutral.REPLY_TO) == "a/b"


@row(OUT, "any other `reply-to`")
def _() -> None:
    for text in ("/topic/a.b", "plain", "/exchange/e/k", "/queue/a/b"):
        assert to_neutral(message(("reply-to", text))).text(neutral.REPLY_TO) == text


@row(OUT, "header `persistent:true`")
def _() -> None:
    assert to_neutral(message("persistent:true", bits=2)).durable


@row(OUT, "header `expiration`, in ms, or `expires`, a time")
def _() -> None:
    found = to_neutral(message("expires:9", "expiration:8", ttl=700))
    assert (found.number(neutral.TIME_TO_LIVE), found.headers) == (700, [])


@row(OUT, "header `amqp-message-id`")
def _() -> None:
    assert to_neutral(message("amqp-message-id:m")).text(neutral.MESSAGE_ID) == "m"


@row(OUT, "header `timestamp`, in ms; in seconds where it is below 10^11")
def _() -> None:
    assert to_neutral(message(f"timestamp:{NOW_MS}")).number(neutral.EVENT_TIME) == NOW_MS
    assert to_neutral(message(f"timestamp:{NOW_MS // 1000}")).number(neutral.EVENT_TIME) == NOW_MS
    assert to_neutral(message("timestamp:noon")).headers == [("timestamp", "noon")]


@row(OUT, "header `JMSXGroupID`, else `x-group-id`")
def _() -> None:
    assert to_neutral(message("JMSXGroupID:g", "x-group-id:h")).text(neutral.GROUP) == "g"
    assert to_neutral(message("x-group-id:h")).text(neutral.GROUP) == "h"
    assert CODEC.group(message("x-group-id:h"), CODEC.start(message())) == b"h"


@row(OUT, "header `x-key`, else `x-key-base64`")
def _() -> None:
    assert to_neutral(message("x-key:k")).key == b"k"
    assert to_neutral(message("x-key-base64:AP8=")).key == b"\x00\xff"
    assert to_neutral(message("x-key-base64:?")).key is None
    assert CODEC.key(message("x-key:k"), CODEC.start(message())) == b"k"


@row(OUT, "headers `user-id`, `app-id`, `cluster-id`")
def _() -> None:
    found = to_neutral(message("app-id:a", "user-id:u", "cluster-id:c"))
    assert found.annotations == [("amqp.user-id", "u"), ("amqp.app-id", "a"), ("amqp.cluster-id", "c")]


@row(OUT, "header `x-death` as this broker wrote it")
def _() -> None:
    deaths = [{"count": 1, "reason": "expired", "queue": "q", "routing-keys": ["q"]}]
    assert to_neutral(message(("x-death", json.dumps(deaths)))).headers == [("x-death", deaths)]
    for text in ("soon", "[{", '[{"a":{"b":1}}]', "[1]", '[{"a":[[1]]}]', '[{"a":1.5}]'):
        assert to_neutral(message(("x-death", text))).headers == [("x-death", text)]


@row(OUT, "any other header")
def _() -> None:
    assert to_neutral(message(("a:b", "c:\\d\n\r"), "e:")).headers == [("a:b", "c:\\d\n\r"), ("e", "")]


@row(OUT, "headers of one name")
def _() -> None:
    found = to_neutral(message("a:1", "a:2", "type:x", "type:y"))
    assert (found.headers, found.text(neutral.TYPE)) == ([("a", "1")], "x")


@row(OUT, "header `destination`")
def _() -> None:
    found = to_neutral(message())
    assert found.octets(neutral.ORIGIN) == bytes([CODEC_STOMP]) + QUEUE


@row(OUT, "headers `receipt`, `transaction`, `content-length`, `message-id`, `subscription`, `ack`, `redelivered`")
def _() -> None:
    from stomp_wire import CONNECT, send

    from entrepot.protocols.stomp.codec import Decoder

    names = ("receipt", "transaction", "message-id", "subscription", "ack", "redelivered")
    _, run = Decoder().push(CONNECT[12] + send("/queue/q", b"v", *(f"{name}:1" for name in names), "content-length:1"))
    assert run.data == record(b"destination:/queue/q\n", b"v", 1)


# ---- the others to STOMP

BACK = "The others to STOMP"


@row(BACK, "value")
def _() -> None:
    found = to_stomp(lambda builder: put(builder, neutral.VALUE, b"a\0b"))
    assert (found.body, found.bits, found.headers) == (b"a\0b", 1, {"destination": "/queue/q"})


@row(BACK, "no value")
def _() -> None:
    found = to_stomp(lambda builder: None)
    assert (found.body, found.headers["x-null-value"]) == (b"", "true")


@row(BACK, "address: the default exchange")
def _() -> None:
    assert to_stomp(lambda _: None, route(b"", b"a/b%")).headers["destination"] == "/queue/a%2Fb%25"


@row(BACK, "address: `amq.topic`")
def _() -> None:
    assert to_stomp(lambda _: None, route(b"amq.topic", b"a.b")).headers["destination"] == "/topic/a.b"


@row(BACK, "address: any other exchange")
def _() -> None:
    assert to_stomp(lambda _: None, route(b"e/f", b"k/l")).headers["destination"] == "/exchange/e%2Ff/k/l"
    origin = bytes([CODEC_AMQP_091]) + route(b"e", b"k")
    assert to_stomp(lambda builder: put(builder, neutral.ORIGIN, origin), NONE).headers["destination"] == "/exchange/e/k"


@row(BACK, "no address")
def _() -> None:
    entry_ = CODEC.from_record_batch(_empty_batch(), 0, NOW_MS, NONE)
    seen = Seen(entry_)
    assert (seen.bits & 8, "destination" in seen.headers) == (8, False)
    output = Output()
    output.deliver(entry_, CODEC.start(entry_), 1, b"MESSAGE\nmessage-id:", b"", b"\n", b"destination:/queue/here\n", 1, 12, -1)
    (heard,) = read(output.take_joined())
    assert heard["destination"] == "/queue/here"


def _empty_batch() -> bytes:
    builder = BatchBuilder()
    builder.begin()
    builder.end()
    return builder.build()


@row(BACK, "content type and encoding, correlation id, type")
def _() -> None:
    def make(builder: BatchBuilder) -> None:
        for field in (neutral.CONTENT_TYPE, neutral.CONTENT_ENCODING, neutral.CORRELATION_ID, neutral.TYPE):
            put(builder, field, b"f%d" % field)

    found = to_stomp(make).headers
    assert [found[name] for name in ("content-type", "content-encoding", "correlation-id", "type")] == ["f1", "f2", "f6", "f11"]


@row(BACK, "reply-to")
def _() -> None:
    assert to_stomp(lambda builder: put(builder, neutral.REPLY_TO, b"a/b")).headers["reply-to"] == "/reply-queue/a%2Fb"
    assert to_stomp(lambda builder: put(builder, neutral.REPLY_TO, b"/topic/x")).headers["reply-to"] == "/topic/x"


@row(BACK, "durable")
def _() -> None:
    found = to_stomp(lambda builder: builder.mark(neutral.DURABLE))
    assert (found.headers["persistent"], found.bits & 2) == ("true", 2)


@row(BACK, "priority")
def _() -> None:
    assert to_stomp(lambda builder: builder.octet(neutral.PRIORITY, 9)).headers["priority"] == "9"


@row(BACK, "time to live")
def _() -> None:
    found = to_stomp(lambda builder: builder.number(neutral.TIME_TO_LIVE, 700))
    assert (found.headers["expiration"], found.headers["expires"], found.ttl) == ("700", str(NOW_MS + 700), 700)


@row(BACK, "message id")
def _() -> None:
    assert to_stomp(lambda builder: put(builder, neutral.MESSAGE_ID, b"m")).headers["amqp-message-id"] == "m"


@row(BACK, "event time")
def _() -> None:
    assert to_stomp(lambda builder: builder.number(neutral.EVENT_TIME, NOW_MS)).headers["timestamp"] == str(NOW_MS)


@row(BACK, "ordering key")
def _() -> None:
    assert to_stomp(lambda builder: put(builder, neutral.GROUP, b"g")).headers["JMSXGroupID"] == "g"


@row(BACK, "key")
def _() -> None:
    assert to_stomp(lambda builder: put(builder, neutral.KEY, b"k")).headers["x-key"] == "k"


@row(BACK, "annotations `amqp.user-id`, `amqp.app-id`, `amqp.cluster-id`")
def _() -> None:
    def make(builder: BatchBuilder) -> None:
        opened = builder.open(neutral.ANNOTATIONS)
        for name in (b"amqp.user-id", b"amqp.app-id", b"amqp.cluster-id"):
            builder.name(name, 0, len(name))
            builder.value(neutral.STRING, name, 5, len(name) - 5)
        builder.close(opened)

    found = to_stomp(make).headers
    assert [found[name] for name in ("user-id", "app-id", "cluster-id")] == ["user-id", "app-id", "cluster-id"]


@row(BACK, "header, text or bytes that are UTF-8 without NUL")
def _() -> None:
    for kind in (neutral.STRING, neutral.BYTES):
        assert to_stomp(with_header(kind, "a:\\\n\ré".encode(), b"n:m")).headers["n:m"] == "a:\\\n\ré"


@row(BACK, "header, bytes or text that are not, a key too")
def _() -> None:
    for raw, text in ((b"\xff", "/w=="), (b"a\0", "YQA=")):
        found = to_stomp(with_header(neutral.STRING, raw)).headers
        assert (found["h-base64"], "h" in found) == (text, False)
    assert to_stomp(lambda builder: put(builder, neutral.KEY, b"\x00\xff")).headers["x-key-base64"] == "AP8="


@row(BACK, "header, integer, floating point, decimal, time (ms)")
def _() -> None:
    cases = [
        (neutral.I8, b"\xff", "-1"), (neutral.U64, b"\xff" * 8, str(2**64 - 1)), (neutral.F64, struct.pack("<d", 0.1), "0.1"),
        (neutral.F32, struct.pack("<f", 0.1), "0.1"), (neutral.DECIMAL, b"\x02" + struct.pack("<I", 314), "3.14"),
        (neutral.TIMESTAMP, struct.pack("<q", NOW_MS), str(NOW_MS)), (neutral.F32, struct.pack("<f", float("nan")), "nan"),
    ]  # fmt: skip
    for kind, raw, text in cases:
        assert to_stomp(with_header(kind, raw)).headers["h"] == text


@row(BACK, "header, boolean")
def _() -> None:
    assert [to_stomp(with_header(neutral.BOOL, raw)).headers["h"] for raw in (b"\x00", b"\x01")] == ["false", "true"]


@row(BACK, "header, list or map")
def _() -> None:
    raw = bytes([neutral.STRING]) + struct.pack("<I", 1) + b"a" + bytes([neutral.NULL]) + struct.pack("<I", 0)
    assert to_stomp(with_header(neutral.LIST, raw)).headers["h"] == '["a",null]'
    named = struct.pack("<H", 1) + b"k" + bytes([neutral.BYTES]) + struct.pack("<I", 1) + b"\xff"
    assert to_stomp(with_header(neutral.MAP, named)).headers["h"] == '{"k":"\\ufffd"}'


@row(BACK, "header, null")
def _() -> None:
    assert to_stomp(with_header(neutral.NULL, b"")).headers["h"] == ""


@row(BACK, "headers of one name")
def _() -> None:
    def make(builder: BatchBuilder) -> None:
        opened = builder.open(neutral.HEADERS)
        for value in (b"1", b"2"):
            builder.name(b"a", 0, 1)
            builder.value(neutral.STRING, value, 0, 1)
        builder.close(opened)

    found = to_stomp(make)
    assert (found.headers["a"], found.names.count("a")) == ("1", 1)


@row(
    BACK,
    "header called as one that is written already, or as one of a frame's own (`subscription`, `message-id`, `ack`, `receipt`, `transaction`, `redelivered`)",
)
def _() -> None:
    for name in ("destination", "subscription", "message-id", "ack", "receipt", "transaction", "redelivered", "content-length"):
        found = to_stomp(with_header(neutral.STRING, b"x", name.encode()))
        assert found.names.count(name) == (name == "destination")


PAGE = Path(__file__).parents[3] / "docs" / "conversion.md"


def written() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for section in PAGE.read_text("utf-8").split("\n## ")[1:]:
        title, *rest = section.splitlines()
        if title in (OUT, BACK):
            found[title] = [line.split(" | ")[0].removeprefix("| ") for line in [one for one in rest if one.startswith("|")][2:]]
    return found


CASES = [(section, cell) for section, cells in written().items() for cell in cells]


@pytest.mark.parametrize(("section", "cell"), CASES, ids=[re.sub(r"[^A-Za-z0-9]+", "-", f"{section} {cell}") for section, cell in CASES])
def test_row(section: str, cell: str) -> None:
    ROWS[section][cell]()


def test_every_check_stands_on_the_page() -> None:
    assert written() == {section: list(cells) for section, cells in ROWS.items()}


# ---- entries

texts = st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), max_size=10)
messages = st.tuples(
    st.lists(st.tuples(texts.filter(bool), texts), max_size=5), st.binary(max_size=30), st.one_of(st.none(), st.integers(0, 2**50)), st.integers(0, 3)
)


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(messages, min_size=1, max_size=6), st.data())
def test_what_the_broker_asks(made: list[Any], data: st.DataObject) -> None:
    packed = [record(block(*headers), body, bits=bits, ttl=ttl) for headers, body, ttl, bits in made]
    for module in both("entrepot.protocols.stomp.records"):
        codec = module.StompEntryCodec()
        whole = codec.prefix(QUEUE) + b"".join(packed)
        start = codec.start(whole)
        assert codec.address(whole) == QUEUE
        assert codec.skip(whole, start, len(packed)) == len(whole)
        assert codec.split(whole, start, len(packed)) == packed
        assert codec.body_bytes(whole, start, len(packed)) == sum(len(body) for _, body, _, _ in made)
        at = start
        for one, (headers, _, ttl, _) in zip(packed, made, strict=True):
            assert codec.time_to_live_ms(whole, at) == (-1 if ttl is None else ttl)
            assert codec.headers(whole, at) == dict(reversed(headers))
            at += len(one)
        age = data.draw(st.integers(0, 2**50))
        expired = next((index for index, (_, _, ttl, _) in enumerate(made) if ttl is None or ttl > age), len(made))
        assert codec.expired_count(whole, start, len(made), age) == expired
        room = data.draw(st.integers(0, 60))
        sizes = [len(body) for _, body, _, _ in made]
        assert codec.fitting_count(whole, start, len(made), room) == max(count for count in range(len(made) + 1) if sum(sizes[:count]) <= room)
        assert codec.larger_count(whole, start, len(made), room) == next((index for index, size in enumerate(sizes) if size <= room), len(made))


@pytest.mark.parametrize("cut", range(1, 40))
def test_damage_is_an_error(cut: int) -> None:
    data = message("k:v", ttl=5)
    for module in both("entrepot.protocols.stomp.records"):
        with pytest.raises((IndexError, ValueError)):
            module.StompEntryCodec().skip(data[: len(data) - cut], CODEC.start(data), 1)


def test_the_format_stays() -> None:
    """docs/formats/stomp-entry.md: what is on disks already is read like this."""
    golden = bytes.fromhex("01000300016100000012000000020700000000000002bc") + b"destination:a\nk:v\nhi"
    assert CODEC.prefix(route(b"", b"a")) == golden[:6]
    assert list(records_of(golden[CODEC.start(golden) :])) == [(b"destination:a\nk:v\n", b"hi", 7, 700)]
    assert CODEC.skip(golden, CODEC.start(golden), 1) == len(golden)


def test_a_value_is_cut_out_and_put_in() -> None:
    data = message("k:v", body=b"large" * 100, ttl=5)
    found = CODEC.without_value(data)
    assert found is not None
    empty, at, size = found
    assert data[at : at + size] == b"large" * 100
    assert empty == message("k:v", body=b"", ttl=5)
    assert CODEC.takes_value()
    assert CODEC.with_value(empty, data, at, size) == data
    assert CODEC.without_value(data + record(block(), b"")) is None


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(messages, min_size=1, max_size=4))
def test_every_other_protocol_has_a_form_of_it_and_back(made: list[Any]) -> None:
    whole = CODEC.prefix(QUEUE) + b"".join(record(block(*headers), body, bits=bits, ttl=ttl) for headers, body, ttl, bits in made)
    batch = CODEC.to_record_batch(whole, 7, NOW_MS)
    assert batch is not None
    for other in (AmqpEntryCodec(), KafkaEntryCodec(), SqsEntryCodec()):
        there = other.from_record_batch(batch, 7, NOW_MS, QUEUE)
        middle = other.to_record_batch(there, 7, NOW_MS)
        assert middle is not None
        again = CODEC.from_record_batch(middle, 7, NOW_MS, QUEUE)
        bodies = [body for _, body, _, _ in records_of(again[CODEC.start(again) :])]
        assert bodies == [body for _, body, _, _ in made]


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(st.tuples(st.text("abcxyz-é:\\\n\r", min_size=1, max_size=6), texts), max_size=5, unique_by=lambda header: header[0]), st.binary(max_size=20))
def test_through_amqp_and_back_a_message_is_as_it_was(headers: list[tuple[str, str]], body: bytes) -> None:
    amqp = AmqpEntryCodec()
    batch = CODEC.to_record_batch(message(*headers, "persistent:true", body=body, bits=3), 0, NOW_MS)
    assert batch is not None
    middle = amqp.to_record_batch(amqp.from_record_batch(batch, 0, NOW_MS, NONE), 0, NOW_MS)
    assert middle is not None
    seen = Seen(CODEC.from_record_batch(middle, 0, NOW_MS, NONE))
    assert seen.headers == {"destination": "/queue/q", "persistent": "true", **dict(headers)}
    assert (seen.body, seen.bits) == (body, 3)


PROPERTIES = ["content-type", "content-encoding", "correlation-id", "type", "priority", "persistent", "expires", "reply-to", "x-key", "timestamp"]
plain_names = st.sampled_from([*PROPERTIES, "subscription", "a", "b", "c"])
plain_texts = st.one_of(st.text("abc19", max_size=3), st.sampled_from(["7", "10", "true", "a:b", "a\\b", "\u00e9"]))
plain_pairs = st.lists(st.tuples(plain_names, plain_texts), max_size=6)
plain_messages = st.tuples(plain_pairs, st.binary(max_size=5), st.one_of(st.none(), st.integers(0, 9)), st.integers(0, 3))


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(plain_messages, min_size=1, max_size=4))
def test_the_short_way_is_the_long_way(made: list[Any]) -> None:
    data = CODEC.prefix(QUEUE) + b"".join(record(block(*headers), body, bits=bits, ttl=ttl) for headers, body, ttl, bits in made)
    for module in both("entrepot.protocols.stomp.plain_records"):
        batches = []
        for short in (module.plain_to, lambda *_: -1):
            with patch.object(translation, "plain_to", short):
                batches.append(translation.to_batch(data))
        assert batches[0] == batches[1]
        through = AmqpEntryCodec().to_record_batch(AmqpEntryCodec().from_record_batch(batches[0], 0, NOW_MS, QUEUE), 0, NOW_MS)
        for batch in (batches[0], through):
            assert batch is not None
            entries = []
            for short in (module.plain_from, lambda *_: None):
                with patch.object(translation, "plain_from", short):
                    entries.append(translation.from_batch(RecordBatch(batch), NOW_MS, QUEUE))
            assert entries[0] == entries[1]


def test_what_is_usual_goes_the_short_way() -> None:
    data = message("content-type:text/plain", "priority:4", "persistent:true", "colour:green", "correlation-id:7", bits=3)
    batch = CODEC.to_record_batch(data, 0, NOW_MS)
    assert batch is not None
    for module in both("entrepot.protocols.stomp.plain_records"):
        assert module.plain_to(BatchBuilder(), data, CODEC.start(data), b"origin") == len(data)
        assert module.plain_from(batch, 8, b"") is not None


# ---- changed records


def letter(queue: str = "q", reason: str = "rejected", key: str | None = None) -> DeadLetter:
    return DeadLetter("public/default", queue, reason, "dlx", key, NOW_MS)


def test_a_dead_letter() -> None:
    data = message("k:v", "expires:5", body=b"v", ttl=5)
    one = CODEC.split(data, CODEC.start(data), 1)[0]
    found = CODEC.dead_letter(data, one, letter(reason="expired"))
    assert found is not None
    address, again = found
    assert address == route(b"dlx", b"q")
    seen = Seen(entry(address, again))
    assert (seen.body, seen.ttl, seen.headers["destination"], seen.headers["original-destination"]) == (b"v", -1, "/exchange/dlx/q", "/queue/q")
    (death,) = json.loads(seen.headers["x-death"])
    assert death == {
        "count": 1, "reason": "expired", "queue": "q", "time": NOW_MS // 1000, "exchange": "", "routing-keys": ["q"], "original-expiration": "5",
    }  # fmt: skip
    assert "expires" not in seen.headers
    assert seen.headers["x-first-death-queue"] == "q"
    assert CODEC.is_cycle(again, "q")
    assert not CODEC.is_cycle(again, "other")
    assert CODEC.source_of(entry(address, again), CODEC.start(entry(address, again))) == "q"
    more = CODEC.dead_letter(entry(address, again), again, letter(reason="expired", key="elsewhere"))
    assert more is not None
    assert json.loads(Seen(entry(more[0], more[1])).headers["x-death"])[0]["count"] == 2
    assert more[0] == route(b"dlx", b"elsewhere")
    rejected = CODEC.dead_letter(entry(address, again), again, letter())
    assert rejected is not None
    assert not CODEC.is_cycle(rejected[1], "q")


def test_a_dead_letter_that_cannot_be_addressed_is_dropped() -> None:
    data = message()
    assert CODEC.dead_letter(data, CODEC.split(data, CODEC.start(data), 1)[0], letter(key="k" * 256)) is None


def test_moved_and_counted() -> None:
    data = message("k:v")
    one = CODEC.split(data, CODEC.start(data), 1)[0]
    moved = CODEC.moved(one, "q", -1, NOW_MS)
    assert CODEC.source_of(entry(QUEUE, moved), CODEC.start(data)) == "q"
    counted = CODEC.mark_delivery_count(CODEC.mark_delivery_count(one, 2), 3)
    assert Seen(entry(QUEUE, counted)).headers == {"destination": "/queue/q", "k": "v", "x-delivery-count": "3"}
