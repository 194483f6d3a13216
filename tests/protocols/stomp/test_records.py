"""Entries of SENDs, and what becomes of them in the neutral form and back: the rows of docs/conversion.md."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from stomp_records import CODEC, NONE, NOW_MS, QUEUE, Seen, message
from stomp_wire import read, record, route

from entrepot.model import batch as neutral
from entrepot.model.batch import BatchBuilder, Record, RecordBatch
from entrepot.model.entry import CODEC_AMQP_091, CODEC_STOMP
from entrepot.protocols.stomp.output import Output


def to_neutral(data: bytes) -> Record:
    batch = CODEC.to_record_batch(data, 0, NOW_MS)
    assert batch is not None
    (found,) = RecordBatch(batch).records()
    return found


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
