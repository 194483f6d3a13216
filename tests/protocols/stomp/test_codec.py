"""Bytes to events: whole, split everywhere, broken in every way; compiled and source agree."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stomp_wire import CONNECT, frame, hostile, normalised, plain, record, records_of, send

from both_modes import examples, interpreted
from entrepot.protocols.stomp import codec
from entrepot.protocols.stomp.errors import StompError
from entrepot.protocols.stomp.events import EXPIRES, HAS_LENGTH, PERSISTENT, TEMP_REPLY, AckRange, Frame, SendRun

source = interpreted(
    "entrepot.protocols.stomp.codec", "entrepot.net.receive_buffer", "entrepot.protocols.stomp.events", "entrepot.protocols.stomp.header_reader"
)
PREFIX = b"s-"


def make(module: Any = codec, **limits: int) -> Any:
    decoder = module.Decoder(**{"header_max": 2048, "message_size_max": 8192, **limits})
    decoder.ack_prefix = PREFIX
    return decoder


def connected(version: int = 12, **limits: int) -> Any:
    decoder = make(**limits)
    (event,) = decoder.push(CONNECT[version])
    assert isinstance(event, Frame)
    assert decoder.version == version
    return decoder


def decode(module: Any, reads: list[bytes], **limits: int) -> list[tuple[Any, ...]]:
    """Events of all reads up to an error, as asyncio's BufferedProtocol would make them."""
    decoder = make(module, **limits)
    events = []
    for data in reads:
        pos = 0
        while pos < len(data) and decoder.error is None:
            room = decoder.writable()
            assert len(room) > 0
            step = min(len(room), len(data) - pos)
            room[:step] = data[pos : pos + step]
            events.extend(map(plain, decoder.feed(step)))
            pos += step
    return events


TEXT = st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), min_size=1, max_size=8)


def escaped(text: str, version: int) -> str:
    if version == 10:
        return "".join(char for char in text if char not in "\n\r:").strip(" \t") or "-"
    found = text.replace("\\", "\\\\").replace("\n", "\\n").replace(":", "\\c")
    return found.replace("\r", "\\r") if version == 12 else found.replace("\r", "") or "-"


@st.composite
def frames(draw: st.DrawFn) -> tuple[int, list[bytes]]:
    """A version, and frames of it."""
    version = draw(st.sampled_from((10, 11, 12)))
    end = draw(st.sampled_from((b"\n", b"\r\n"))) if version == 12 else b"\n"
    made = [CONNECT[version]]
    for _ in range(draw(st.integers(0, 8))):
        kind = draw(st.integers(0, 5))
        extra = [f"{escaped(draw(TEXT), version)}:{escaped(draw(TEXT), version)}" for _ in range(draw(st.integers(0, 2)))]
        if draw(st.booleans()):
            extra.append(f"receipt:{escaped(draw(TEXT), version)}")
        if kind <= 2:
            body = draw(st.binary(max_size=40))
            length = b"\0" in body or draw(st.booleans())
            made.append(send(draw(st.sampled_from(("/queue/a", "/queue/b"))), body, *extra, length=length, end=end))
        elif kind == 3:
            number = draw(st.integers(0, 5))
            made.append(frame("ACK", f"id:1-{number}" if version == 12 else f"message-id:s-1-{number}", *extra, end=end))
        elif kind == 4:
            made.append(frame("SUBSCRIBE", "id:0", "destination:/queue/a", *extra, end=end))
        else:
            made.append(draw(st.sampled_from((b"\n", b"\r\n", b"\n\n\n"))))
    return version, made


@settings(max_examples=examples(200), deadline=None)
@given(frames(), st.data())
def test_any_split_gives_the_same_events(made: tuple[int, list[bytes]], data: st.DataObject) -> None:
    stream = b"".join(made[1])
    whole = normalised(decode(codec, [stream]))
    assert whole[-1][0] != "StompError"
    assert sum(event[4] for event in whole if event[0] == "SendRun") == sum(part.startswith(b"SEND") for part in made[1])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=30)))
    reads = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert normalised(decode(codec, reads)) == whole
    assert normalised(decode(codec, [stream[at : at + 1] for at in range(len(stream))])) == whole
    assert normalised([plain(event) for event in make().push(stream)]) == whole


@settings(max_examples=examples(200), deadline=None)
@given(frames())
def test_compiled_agrees_with_source(made: tuple[int, list[bytes]]) -> None:
    stream = b"".join(made[1])
    assert decode(codec, [stream]) == decode(source, [stream])


def test_hostile_streams_get_the_same_answer_in_both_modes_and_all_splits() -> None:
    errors = set()
    for number, data in enumerate(hostile(seed=1, count=examples(3_000))):
        events = decode(codec, [data])
        assert events == decode(source, [data]), data
        errors.update(event[1] for event in events if event[0] == "StompError")
        if number % 10 == 0:
            assert normalised(decode(codec, [data[at : at + 1] for at in range(len(data))])) == normalised(events), data
    assert {"malformed frame", "malformed header", "unknown command", "no such message", "missing destination"} <= errors


def test_every_cut_of_every_frame() -> None:
    parts = [
        CONNECT[12], send("/queue/a", b"one", "receipt:r", "x:y"), send("/queue/a", b"a\0b", length=True), b"\r\n", send("/queue/a", b"t", end=b"\r\n"),
        frame("ACK", "id:7-1"), frame("SUBSCRIBE", "id:0", "destination:/queue/a"),
    ]  # fmt: skip
    stream = b"".join(parts)
    whole = normalised(decode(codec, [stream]))
    for cut in range(len(stream) + 1):
        assert normalised(decode(codec, [stream[:cut], stream[cut:]])) == whole, cut
        complete = sum(1 for count in range(1, len(parts) + 1) if len(b"".join(parts[:count])) <= cut and parts[count - 1] != b"\r\n")
        found = decode(codec, [stream[:cut]])
        assert sum(event[4] if event[0] == "SendRun" else 1 for event in found) == complete, cut


def test_mode_is_the_one_asked_for() -> None:
    if os.environ.get("ENTREPOT_PURE"):
        assert Path(codec.__file__).suffix == ".py"


# ---- what a run is


def test_a_run() -> None:
    (run,) = connected().push(
        send("/queue/a", b"one", "x:y", "receipt:1", "persistent:true") + send("/queue/a", b"t\0o", "receipt:b\\cc", "message-id:9", "ack:8", length=True)
    )
    assert isinstance(run, SendRun)
    assert (run.destination, run.transaction, run.count, run.body_bytes) == (b"/queue/a", b"", 2, 6)
    assert run.data == record(b"destination:/queue/a\nx:y\npersistent:true\n", b"one", PERSISTENT) + record(b"destination:/queue/a\n", b"t\0o", HAS_LENGTH)
    assert run.flags == PERSISTENT | HAS_LENGTH
    assert run.receipts == b"RECEIPT\nreceipt-id:1\n\n\0RECEIPT\nreceipt-id:b\\cc\n\n\0"


def test_a_run_ends_with_destination_and_transaction() -> None:
    events = connected().push(send("/queue/a") + send("/queue/b") + send("/queue/b", b"", "transaction:t") + send("/queue/b", b"", "transaction:u"))
    assert [(event.destination, event.transaction) for event in events] == [
        (b"/queue/a", b""), (b"/queue/b", b""), (b"/queue/b", b"t"), (b"/queue/b", b"u"),
    ]  # fmt: skip


def test_a_run_asks_for_receipts_of_all_or_of_none() -> None:
    asks = [True, True, False, False, True]
    events = connected().push(b"".join(send("/queue/a", b"x", *(["receipt:r"] if asked else [])) for asked in asks))
    assert [(event.count, event.receipts.count(b"\0")) for event in events] == [(2, 2), (2, 0), (1, 1)]
    rest = events[0].cut(1)
    assert (events[0].count, events[0].data, events[0].receipts) == (rest.count, rest.data, rest.receipts)


def test_a_run_is_limited_in_count_and_bytes() -> None:
    decoder = connected()
    decoder.push(send("/queue/a", bytes(3000), length=True) * 200)  # its buffer has grown: the next are read in one go
    events = decoder.push(send("/queue/a") * 2500)
    assert [event.count for event in events] == [codec.RUN_MAX_COUNT, codec.RUN_MAX_COUNT, 452]
    events = decoder.push(send("/queue/a", bytes(1000), length=True) * 100)
    assert all(len(event.data) <= codec.RUN_MAX_BYTES for event in events)
    assert sum(event.count for event in events) == 100


def test_a_large_body_is_a_run_of_its_own() -> None:
    decoder = connected(message_size_max=1 << 20)
    events = decoder.push(send("/queue/a", b"s", "receipt:1") + send("/queue/a", b"L" * 200_000, "receipt:2", length=True) + send("/queue/a", b"s"))
    assert [(event.count, event.body_bytes) for event in events] == [(1, 1), (1, 200_000), (1, 1)]
    assert events[1].data == record(b"destination:/queue/a\n", b"L" * 200_000, HAS_LENGTH)
    assert [event.receipts.count(b"RECEIPT") for event in events] == [1, 1, 0]


def test_a_frame_that_differs_in_one_octet_from_the_last_is_decoded_as_when_it_comes_alone() -> None:
    messages = [send("/queue/a", b"abc", "k:v", length=True) for _ in range(3)]
    for at in range(len(messages[1])):
        for mask in (1, 2, 0x80, 0xFF):
            changed = bytearray(messages[1])
            changed[at] ^= mask
            parts = [messages[0], bytes(changed), messages[2]]
            assert normalised(decode(codec, [CONNECT[12] + b"".join(parts)])) == normalised(decode(codec, [CONNECT[12], *parts])), (at, mask)


def test_marks_of_what_the_session_looks_at() -> None:
    events = connected().push(
        send("/queue/a", b"", "expires:1") + send("/queue/b", b"", "expiration:1") + send("/queue/c", b"", "reply-to:/temp-queue/r") + send("/queue/d", b"")
    )
    assert [event.flags for event in events] == [EXPIRES, EXPIRES, TEMP_REPLY, 0]


# ---- acknowledgements


def test_acknowledgements_of_neighbours_are_a_range() -> None:
    events = connected().push(b"".join(frame("ACK", f"id:3-{number}") for number in (1, 2, 3, 5)) + frame("ACK", "id:4-6") + frame("NACK", "id:4-7"))
    assert [plain(event)[1:5] for event in events] == [(3, 1, 3, False), (3, 5, 5, False), (4, 6, 6, False), (4, 7, 7, True)]


@pytest.mark.parametrize("version", [10, 11])
def test_before_1_2_a_message_id_is_acknowledged(version: int) -> None:
    (event,) = connected(version).push(frame("ACK", "message-id:s-2-9", "subscription:x"))
    assert isinstance(event, AckRange)
    assert (event.subscription, event.lo, event.hi) == (2, 9, 9)


@pytest.mark.parametrize("text", ["", "1", "1-", "-1", "1-2-3", "a-1", "1-a", "1-99999999999999999999999", "s-1-1", " 1-1"])
def test_an_id_that_is_none(text: str) -> None:
    events = connected().push(frame("ACK", f"id:{text}", "receipt:r"))
    assert [(event.text, event.receipt) for event in events] == [("no such message", b"r")]


def test_nack_says_whether_to_requeue() -> None:
    events = connected().push(frame("NACK", "id:1-1") + frame("NACK", "id:1-2", "requeue:false") + frame("NACK", "id:1-3", "requeue:true"))
    assert [event.requeue for event in events] == [True, False, True]


# ---- versions


@pytest.mark.parametrize(
    ("version", "raw", "stored"),
    [
        (12, rb"a\cb\n\\\r", rb"a\cb\n\\\r"),
        (11, rb"a\cb\n\\", rb"a\cb\n\\"),
        (11, b"a\rb", rb"a\rb"),
        (10, rb"a\cb", rb"a\\cb"),
        (10, b" a:b ", b"a:b"),
        (12, b" a ", b" a "),
        (11, b" a ", b" a "),
        (12, "\u00e9".encode(), "\u00e9".encode()),
    ],
)
def test_headers_are_stored_in_one_form(version: int, raw: bytes, stored: bytes) -> None:
    (run,) = connected(version).push(b"SEND\ndestination:/queue/a\nk:" + raw + b"\n\n\0")
    ((block, _, _, _),) = records_of(run.data)
    assert block == b"destination:/queue/a\nk:" + stored + b"\n"


@pytest.mark.parametrize(("version", "raw"), [(12, rb"\t"), (12, b"a\\"), (11, rb"\r"), (12, b"a\rb"), (12, b"\xff"), (11, b"\xc3"), (10, b"\xff")])
def test_what_a_version_does_not_define_is_an_error(version: int, raw: bytes) -> None:
    (error,) = connected(version).push(b"SEND\ndestination:/queue/a\nreceipt:7\nk:" + raw + b"\n\n\0")
    assert (error.text, error.receipt) == ("malformed header", b"7")


def test_a_destination_is_unescaped() -> None:
    (run,) = connected().push(send("/queue/a\\cb"))
    assert run.destination == b"/queue/a:b"


@pytest.mark.parametrize(
    ("accept", "version"), [(None, 10), ("1.0", 10), ("1.1,1.0", 11), ("1.2", 12), ("1.0,1.1,1.2,2.0", 12), ("2.0", 0), ("", 0), ("1.2 , 1.1", 12)]
)
def test_the_version_is_the_best_that_both_know(accept: str | None, version: int) -> None:
    decoder = make()
    decoder.push(frame("STOMP", *([] if accept is None else [f"accept-version:{accept}"])))
    assert decoder.version == version


def test_what_follows_connect_at_once_is_understood() -> None:
    events = make().push(CONNECT[12] + send("/queue/a", b"x", end=b"\r\n"))
    assert [type(event).__name__ for event in events] == ["Frame", "SendRun"]


def test_connect_is_not_escaped() -> None:
    (event,) = make().push(frame("CONNECT", "passcode:a\\nb", end=b"\r\n"))
    assert event.headers["passcode"] == "a\\nb"


def test_of_repeated_headers_the_first_holds() -> None:
    first, second = connected().push(
        send("/queue/a", b"", "destination:/queue/b", "receipt:1", "receipt:2", "x:1", "x:2") + frame("BEGIN", "transaction:a", "transaction:b")
    )
    assert (first.destination, first.receipts.count(b"RECEIPT")) == (b"/queue/a", 1)
    assert next(records_of(first.data))[0] == b"destination:/queue/a\nx:1\nx:2\n"
    assert second.headers["transaction"] == "a"


# ---- what is wrong, and how much there may be


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "unknown command"),
        (b"x" * 40, "unknown command"),
        (b"SEND\ndestination:/queue/a\n\n\0", "unexpected frame"),
        (b"CONNECT\nno colon\n\n\0", "malformed header"),
        (b"CONNECT\n:x\n\n\0", "malformed header"),
        (b"CONNECT\n\nbody\0", "malformed frame"),
        (b"CONNECT\nhost:a\0", "malformed frame"),
        (b"CONNECT\nx:" + b"a" * 3000, "headers too long"),
        (b"\r\r", "malformed frame"),
    ],
)
def test_a_strangers_nonsense(data: bytes, text: str) -> None:
    for reads in ([data], [data[at : at + 1] for at in range(len(data))]):
        assert [(kind, what) for kind, what, *_ in decode(codec, reads)] == [("StompError", text)]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (frame("CONNECT"), "unexpected frame"),
        (frame("SEND"), "missing destination"),
        (send(""), "missing destination"),
        (send("/queue/a", b"abc", "content-length:2"), "malformed frame"),
        (send("/queue/a", b"abc", "content-length:x"), "malformed header"),
        (send("/queue/a", b"abc", "content-length:-1"), "malformed header"),
        (send("/queue/a", b"abc", "content-length:8193"), "message too large"),
        (send("/queue/a", b"a" * 9000), "message too large"),
        (send("/queue/a", b"", "receipt:" + "r" * 1025), "header too long"),
        (send("/queue/a", b"", *["a:b"] * 400), None),
        (frame("SUBSCRIBE", body=b"x"), "malformed frame"),
        (frame("SUBSCRIBE", body=b"x", length=True), "malformed frame"),
        (frame("ACK", "id:1-1", body=b"x"), "malformed frame"),
        (frame("send", "destination:/queue/a"), "unknown command"),
    ],
)
def test_a_users_nonsense(data: bytes, text: str | None) -> None:
    events = decode(codec, [CONNECT[12], data])
    assert [event[1] for event in events[1:] if event[0] == "StompError"] == ([] if text is None else [text])


def test_there_is_a_limit_to_lines() -> None:
    decoder = connected(header_max=65_536)
    (error,) = decoder.push(send("/queue/a", b"", *["a:b"] * 1001))
    assert error.text == "too many headers"
    with pytest.raises(StompError):
        decoder.push(b"\n")


def test_memory_grows_with_what_arrives_not_with_what_is_claimed() -> None:
    decoder = connected(message_size_max=1 << 30)
    decoder.push(send("/queue/a", b"", "content-length:1000000000")[:-1] + b"x" * 10_000)
    assert decoder.buffer_bytes < 100_000


def test_a_body_that_drips_in_is_looked_at_once() -> None:
    """A long header before a body without length: neither is read again for each octet. Octet by octet that would be 10^9 steps."""
    decoder = connected(header_max=65_536, message_size_max=1 << 20)
    decoder.push(send("/queue/a", b"", "h:" + "x" * 60_000)[:-1])
    for _ in range(20_000):
        assert decoder.push(b"b") == []
    (run,) = decoder.push(b"\0")
    assert run.body_bytes == 20_000


def test_what_is_unfinished_is_given_back() -> None:
    decoder = connected()
    assert decoder.overrun() is None
    decoder.push(send("/queue/a", b"half")[:-1])
    error = decoder.overrun()
    assert isinstance(error, StompError)
    assert decoder.waiting_bytes == 0
