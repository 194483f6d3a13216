"""Frames to events: whole, split everywhere, broken in every way; compiled and source agree."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from amqp_streams import EVERYTHING, FRAME_MAX, HEADERS, hostile, normalised, plain, streams
from amqp_wire import PERSISTENT, PROTOCOL_HEADER, ack, bodies, content_header, entry, frame, longstr, publish, publish_method, record, route, settle, table
from hypothesis import given, settings
from hypothesis import strategies as st

from both_modes import examples, interpreted
from entrepot.protocols.amqp091 import codec
from entrepot.protocols.amqp091.reply_codes import AmqpError

source = interpreted("entrepot.protocols.amqp091.codec", "entrepot.net.receive_buffer", "entrepot.protocols.amqp091.properties")
Q = route(b"", b"q")


def make(module: Any = codec, **limits: int) -> Any:
    return module.Decoder(**{"frame_max": FRAME_MAX, "channel_max": 10, "message_size_max": 8192, "assembly_max_bytes": 20_000, **limits})


def greeted(**limits: int) -> Any:
    decoder = make(**limits)
    decoder.push(PROTOCOL_HEADER)
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


def test_mode_is_the_one_asked_for() -> None:
    compiled = Path(codec.__file__).suffix != ".py"
    if os.environ.get("ENTREPOT_PURE"):
        assert not compiled


@settings(max_examples=examples(150), deadline=None)
@given(streams, st.data())
def test_any_split_gives_the_same_events(stream: bytes, data: st.DataObject) -> None:
    whole = normalised(decode(codec, [stream]))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=30)))
    reads = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert normalised(decode(codec, reads)) == whole
    decoder = make()
    assert normalised([plain(event) for event in decoder.push(stream)]) == whole


def test_byte_by_byte() -> None:
    stream = (
        PROTOCOL_HEADER + publish(1, Q, b"hello", EVERYTHING) * 2 + ack(1, 1) + ack(1, 2) + publish(2, Q, bytes(5000), HEADERS, step=2000) + frame(8, 0, b"")
    )
    one_by_one = decode(codec, [stream[at : at + 1] for at in range(len(stream))])
    assert normalised(one_by_one) == normalised(decode(codec, [stream]))
    assert len(normalised(one_by_one)) == 4


def test_every_prefix_yields_only_what_is_whole() -> None:
    parts = [PROTOCOL_HEADER, publish(1, Q, b"one"), publish(1, route(b"", b"r"), b""), ack(1, 9), publish(1, Q, b"four", bits=1)]
    stream = b"".join(parts)
    for cut in range(len(stream) + 1):
        whole = sum(1 for count in range(1, len(parts) + 1) if sum(map(len, parts[:count])) <= cut)
        assert len(decode(codec, [stream[:cut]])) == whole


@settings(max_examples=examples(300), deadline=None)
@given(streams)
def test_compiled_agrees_with_source(stream: bytes) -> None:
    assert decode(codec, [stream]) == decode(source, [stream])


def test_hostile_streams_get_the_same_answer_in_both_modes_and_all_splits() -> None:
    errors = set()
    for number, data in enumerate(hostile(seed=1, count=6_000)):
        events = decode(codec, [data])
        assert events == decode(source, [data])
        errors.update(event[1] for event in events if event[0] == "AmqpError")
        if number % 20 == 0:
            assert normalised(decode(codec, [data[at : at + 3] for at in range(0, len(data), 3)])) == normalised(events)
    assert errors == {501, 502, 504, 505}


@pytest.mark.parametrize("properties", [PERSISTENT, HEADERS])
def test_a_message_that_differs_in_one_octet_from_the_last_is_decoded_as_when_it_comes_alone(properties: bytes) -> None:
    messages = [publish(3, route(b"ex", b"key"), bytes(size), properties) for size in (5, 5, 7, 5)]
    for number in (1, 2):
        for at in range(len(messages[number])):
            for mask in (1, 2, 0x80, 0xFF):
                changed = bytearray(messages[number])
                changed[at] ^= mask
                parts = [*messages[:number], bytes(changed), *messages[number + 1 :]]
                assert normalised(decode(codec, [PROTOCOL_HEADER + b"".join(parts)])) == normalised(decode(codec, [PROTOCOL_HEADER, *parts])), (
                    number,
                    at,
                    mask,
                )


def test_a_run() -> None:
    (run,) = greeted().push(publish(3, route(b"ex", b"key"), b"abc", PERSISTENT, bits=1) + publish(3, route(b"ex", b"key"), b"", HEADERS, bits=1))
    assert (run.channel, run.key, run.mandatory, run.immediate, run.count, run.body_bytes) == (3, b"\x02ex\x03key", True, False, 2, 3)
    assert run.data == record(PERSISTENT, b"abc") + record(HEADERS, b"")
    assert (run.property_flags_or, run.alike) == (0x3000, False)


def test_a_run_ends_with_channel_key_and_bits() -> None:
    events = greeted().push(publish(1, Q, b"") + publish(2, Q, b"") + publish(2, route(b"", b"r"), b"") + publish(2, route(b"", b"r"), b"", bits=2))
    assert [(event.channel, event.key, event.immediate) for event in events] == [
        (1, Q, False),
        (2, Q, False),
        (2, b"\x00\x01r", False),
        (2, b"\x00\x01r", True),
    ]


def test_a_run_is_limited_in_count_and_bytes() -> None:
    decoder = greeted()
    decoder.push(publish(1, Q, bytes(3000)) * 200)  # its buffer has grown: the next are read in one go
    for body in (b"", b"x"):
        events = decoder.push(publish(1, Q, body) * 2500)
        assert [event.count for event in events] == [codec.RUN_MAX_COUNT, codec.RUN_MAX_COUNT, 452]
    least = len(record(b"\x00\x00", b""))
    body = bytes(128 - least)
    events = decoder.push(publish(1, Q, body) * 1025)
    assert [(event.count, len(event.data)) for event in events] == [(512, codec.RUN_MAX_BYTES), (512, codec.RUN_MAX_BYTES), (1, 128)]
    events = decoder.push(publish(1, Q, body + b"x") + publish(1, Q, body) * 511)  # one octet more than a run holds
    assert [event.count for event in events] == [511, 1]
    (single,) = greeted(message_size_max=200_000, assembly_max_bytes=200_000).push(publish(1, Q, bytes(100_000), step=4000))
    assert single.count == 1


def test_a_message_larger_than_the_buffer_in_one_frame() -> None:
    body = os.urandom(1 << 20)
    decoder = make(frame_max=131072, message_size_max=1 << 20, assembly_max_bytes=1 << 21)
    header, run = decoder.push(PROTOCOL_HEADER + publish(1, Q, body, PERSISTENT))
    assert header.supported
    assert run.data == record(PERSISTENT, body)
    assert decoder.buffer_bytes < 1 << 20


def test_messages_interleaved_over_channels() -> None:
    parts = [publish_method(1, Q), publish_method(2, Q), content_header(1, 6), content_header(2, 4, PERSISTENT)]
    parts += [frame(3, 1, b"abc"), ack(3, 1), frame(3, 2, b"wxyz"), publish(4, Q, b"between"), frame(3, 1, b""), frame(3, 1, b"def")]
    events = greeted().push(b"".join(parts))
    assert [(type(event).__name__, event.channel) for event in events] == [("AckRange", 3), ("PublishRun", 2), ("PublishRun", 4), ("PublishRun", 1)]
    assert [events[1].data, events[3].data] == [record(PERSISTENT, b"wxyz"), record(b"\x00\x00", b"abcdef")]


def test_a_body_in_many_tiny_frames_costs_little_memory() -> None:
    decoder = greeted(message_size_max=100_000, assembly_max_bytes=100_000)
    decoder.push(publish_method(1, Q) + content_header(1, 50_000))
    decoder.push(bodies(1, bytes(49_999), 1))
    assert decoder.buffer_bytes < 500_000
    (run,) = decoder.push(frame(3, 1, b"x"))
    assert run.data == record(b"\x00\x00", bytes(49_999) + b"x")


def test_acknowledgements_join_to_ranges() -> None:
    def ranges(*frames: bytes) -> list[tuple[int, ...]]:
        return [(event.channel, event.lo, event.hi, event.multiple) for event in greeted().push(b"".join(frames))]

    assert ranges(ack(1, 1), ack(1, 2), ack(1, 3)) == [(1, 1, 3, False)]
    assert ranges(ack(1, 1), ack(1, 3), ack(1, 2)) == [(1, 1, 1, False), (1, 3, 3, False), (1, 2, 2, False)]
    assert ranges(ack(1, 1), ack(2, 2)) == [(1, 1, 1, False), (2, 2, 2, False)]
    assert ranges(ack(1, 4, True), ack(1, 9, True)) == [(1, 4, 9, True)]
    assert ranges(ack(1, 9, True), ack(1, 9, True), ack(1, 4, True)) == [(1, 9, 9, True), (1, 9, 9, True), (1, 4, 4, True)]
    assert ranges(ack(1, 0, True), ack(1, 4, True)) == [(1, 0, 0, True), (1, 4, 4, True)]
    assert ranges(ack(1, 2**64 - 1), ack(1, 0)) == [(1, 2**64 - 1, 2**64 - 1, False), (1, 0, 0, False)]
    assert ranges(ack(1, 4, True), ack(1, 5)) == [(1, 4, 4, True), (1, 5, 5, False)]


def test_negative_acknowledgements_and_rejects_join_to_ranges() -> None:
    rejects = [settle(1, 90, 1, 1), settle(1, 90, 2, 1), settle(1, 90, 3, 0)]
    nacks = [settle(1, 120, 4, 3), settle(1, 120, 6, 3), settle(1, 120, 7, 2), settle(1, 120, 8, 2)]
    events = greeted().push(b"".join(rejects + nacks))
    assert [(event.lo, event.hi, event.multiple, event.requeue, event.method) for event in events] == [
        (1, 2, False, True, 90),
        (3, 3, False, False, 90),
        (4, 6, True, True, 120),
        (7, 8, False, True, 120),
    ]


def test_order_is_kept_between_kinds() -> None:
    other = frame(1, 1, b"\x00\x3c\x00\x6e\x01")
    events = greeted().push(publish(1, Q, b"") + ack(1, 1) + publish(1, Q, b"") + settle(1, 90, 2) + other + ack(1, 3))
    assert [type(event).__name__ for event in events] == ["PublishRun", "AckRange", "PublishRun", "NackRange", "Control", "AckRange"]
    assert (events[4].method, events[4].payload) == (0x003C006E, b"\x00\x3c\x00\x6e\x01")


def test_heartbeats_are_counted() -> None:
    decoder = greeted()
    assert decoder.push(frame(8, 0, b"") * 3) == []
    assert decoder.heartbeats == 3


def test_another_protocol_header_is_shown_and_ends_decoding() -> None:
    decoder = make()
    (event,) = decoder.push(b"AMQP\x00\x01\x00\x00" + b"more")
    assert (event.data, event.supported) == (b"AMQP\x00\x01\x00\x00", False)
    with pytest.raises(AmqpError):
        decoder.feed(0)


def test_a_message_over_the_limit_is_skipped_and_said_from_its_header() -> None:
    decoder = greeted(message_size_max=10)
    (event,) = decoder.push(publish_method(1, Q) + content_header(1, 2**63 + 5))
    assert (type(event).__name__, event.channel, event.body_size) == ("TooLarge", 1, 2**63 + 5)
    assert decoder.push(bodies(1, bytes(50_000), 4000)) == []
    assert decoder.push(frame(1, 1, b"\x00\x14\x00\x29"))[0].method == 0x00140029
    (event, run) = decoder.push(publish(1, Q, bytes(11)) + publish(1, Q, bytes(10)))
    assert (event.body_size, run.body_bytes) == (11, 10)


def test_channel_close_ends_an_unfinished_message() -> None:
    for method in (40, 41):
        payload = b"\x00\x14" + method.to_bytes(2, "big")
        decoder = greeted()
        before = decoder.buffer_bytes
        events = decoder.push(
            publish_method(1, Q) + content_header(1, 5000, PERSISTENT) + frame(3, 1, bytes(4000)) + frame(1, 1, payload) + publish(1, Q, b"next")
        )
        assert [type(event).__name__ for event in events] == ["Control", "PublishRun"]
        decoder.release()
        assert decoder.buffer_bytes <= before


deep = b"\x00\x00\x00\x00"
for _ in range(64):
    deep = table(entry(b"", b"F", deep))
deep_array = b"\x00\x00\x00\x00"
for _ in range(64):
    deep_array = table(b"A" + deep_array)
deep_array = table(entry(b"", b"A", deep_array))

BROKEN: dict[str, tuple[int, bytes]] = {
    "end octet": (501, frame(8, 0, b"")[:-1] + b"\x00"),
    "end octet of a header": (501, publish_method(1, Q) + content_header(1, 0)[:-1] + b"\x00"),
    "end octet of a body": (501, publish_method(1, Q) + content_header(1, 1) + b"\x03\x00\x01\x00\x00\x00\x01xx"),
    "frame too large": (501, b"\x01\x00\x01" + (FRAME_MAX + 1).to_bytes(4, "big")),
    "frame of 4 GiB": (501, b"\x01\x00\x01\xff\xff\xff\xff"),
    "header too large": (501, publish_method(1, Q) + b"\x02\x00\x01\x00\x01\x00\x00" + bytes(1)),
    "body frame too large": (501, publish_method(1, Q) + content_header(1, 5000) + b"\x03\x00\x01\x00\x01\x00\x00" + bytes(1)),
    "unknown type": (501, frame(4, 0, b"")),
    "unknown type inside a message": (501, publish_method(1, Q) + frame(9, 1, b"")),
    "short method": (501, frame(1, 1, b"\x00\x3c\x00")),
    "heartbeat with payload": (501, frame(8, 0, b"x")),
    "heartbeat on a channel": (505, frame(8, 1, b"")),
    "heartbeat inside a message": (505, publish_method(1, Q) + frame(8, 1, b"")),
    "header without a method": (505, content_header(1, 0)),
    "body without a method": (505, frame(3, 1, b"x")),
    "header on channel 0": (505, content_header(0, 0)),
    "method inside a message": (505, publish_method(1, Q) + publish_method(1, Q)),
    "ack inside a message": (505, publish_method(1, Q) + content_header(1, 3) + ack(1, 1)),
    "two headers": (505, publish_method(1, Q) + content_header(1, 3) * 2),
    "body before its header": (505, publish_method(1, Q) + frame(3, 1, b"x")),
    "header of another class": (505, publish_method(1, Q) + frame(2, 1, b"\x00\x3d\x00\x00" + bytes(10))),
    "weight": (505, publish_method(1, Q) + frame(2, 1, b"\x00\x3c\x00\x01" + bytes(10))),
    "short header": (501, publish_method(1, Q) + frame(2, 1, b"\x00\x3c\x00\x00" + bytes(7))),
    "header without flags": (502, publish_method(1, Q) + frame(2, 1, b"\x00\x3c\x00\x00" + bytes(8))),
    "body longer than declared": (501, publish_method(1, Q) + content_header(1, 3) + frame(3, 1, b"abcd")),
    "later body longer than declared": (501, publish_method(1, Q) + content_header(1, 3) + frame(3, 1, b"ab") + frame(3, 1, b"cd")),
    "publish on channel 0": (504, publish_method(0, Q)),
    "ack on channel 0": (504, ack(0, 1)),
    "nack on channel 0": (504, settle(0, 120, 1)),
    "messages begun on more channels than there may be": (504, b"".join(publish_method(number, Q) for number in range(60_000, 60_012))),
    "publish too long": (501, frame(1, 1, b"\x00\x3c\x00\x28" + bytes(600))),
    "publish too short": (501, frame(1, 1, b"\x00\x3c\x00\x28\x00\x00\x00\x00") + content_header(1, 0)),
    "publish with a string past its end": (501, frame(1, 1, b"\x00\x3c\x00\x28\x00\x00\x05ab\x00\x00") + content_header(1, 0)),
    "publish with bytes left": (501, frame(1, 1, b"\x00\x3c\x00\x28\x00\x00\x00\x00\x00\x00") + content_header(1, 0)),
    "ack too short": (501, frame(1, 1, b"\x00\x3c\x00\x50" + bytes(8))),
    "reject too long": (501, frame(1, 1, b"\x00\x3c\x00\x5a" + bytes(10))),
    "flags nobody owns": (502, publish(1, Q, b"", b"\x00\x01\x00\x00")),
    "flag without value": (502, publish(1, Q, b"", b"\x10\x00")),
    "short string past the end": (502, publish(1, Q, b"", b"\x80\x00\x05ab")),
    "short string without length": (502, publish(1, Q, b"", b"\x00\x80")),
    "timestamp cut": (502, publish(1, Q, b"", b"\x00\x40" + bytes(7))),
    "bytes after the last": (502, publish(1, Q, b"", b"\x10\x00\x02\x00")),
    "table without size": (502, publish(1, Q, b"", b"\x20\x00\x00\x00")),
    "table past the end": (502, publish(1, Q, b"", b"\x20\x00\x00\x00\x00\x05")),
    "table of 4 GiB": (502, publish(1, Q, b"", b"\x20\x00\xff\xff\xff\xff")),
    "name past its table": (502, publish(1, Q, b"", b"\x20\x00" + table(b"\x09abc"))),
    "value without type": (502, publish(1, Q, b"", b"\x20\x00" + table(b"\x03abc"))),
    "unknown value type": (502, publish(1, Q, b"", b"\x20\x00" + table(entry(b"a", b"U", b"\x00\x01")))),
    "value past its table": (502, publish(1, Q, b"", b"\x20\x00" + table(entry(b"a", b"l", bytes(7))))),
    "string past its table": (502, publish(1, Q, b"", b"\x20\x00" + table(entry(b"a", b"S", b"\x00\x00\x00\x05abcd")))),
    "string of 4 GiB": (502, publish(1, Q, b"", b"\x20\x00" + table(entry(b"a", b"x", b"\xff\xff\xff\xff")))),
    "value of an array past it": (502, publish(1, Q, b"", b"\x20\x00" + table(entry(b"a", b"A", table(b"I\x00"))))),
    "inner table past its table": (502, publish(1, Q, b"", b"\x20\x00" + table(entry(b"a", b"F", b"\x00\x00\x00\x09")))),
    "tables too deep": (502, publish(1, Q, b"", b"\x20\x00" + deep)),
    "arrays too deep": (502, publish(1, Q, b"", b"\x20\x00" + deep_array)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_bad_input_gets_its_reply_code_after_what_came_before(name: str) -> None:
    code, data = BROKEN[name]
    stream = PROTOCOL_HEADER + publish(1, Q, b"good") + ack(1, 1) + data
    events = decode(codec, [stream])
    assert [event[0] for event in events] == ["ProtocolHeader", "PublishRun", "AckRange", "AmqpError"]
    assert events[-1][1] == code, events[-1]
    assert normalised(decode(codec, [stream[at : at + 1] for at in range(len(stream))])) == normalised(events)
    assert decode(source, [stream]) == events


@pytest.mark.parametrize("more", [0, 1, 7, 8])
@pytest.mark.parametrize("split", [1, 1000, 1 << 20])
def test_payloads_of_up_to_the_frame_size_are_taken(more: int, split: int) -> None:
    size = FRAME_MAX - 8 + more
    data = publish(65_535, Q, b"a" * size, step=size) + publish(1, Q, b"b" * size * 2, step=size)
    events = decode(codec, [PROTOCOL_HEADER, *(data[at : at + split] for at in range(0, len(data), split))], message_size_max=2 * FRAME_MAX)
    assert [(event[1], event[-2]) for event in events[1:]] == [(65_535, size), (1, 2 * size)]
    assert decode(source, [PROTOCOL_HEADER + data], message_size_max=2 * FRAME_MAX) == events


def test_the_deepest_allowed_table_passes() -> None:
    shallow = b"\x00\x00\x00\x00"
    for _ in range(63):
        shallow = table(entry(b"", b"F", shallow))
    (run,) = greeted().push(publish(1, Q, b"", b"\x20\x00" + shallow))
    assert run.count == 1


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *((kind, bytes(1)) for kind in b"tbB"),
        *((kind, bytes(2)) for kind in b"su"),
        *((kind, bytes(4)) for kind in b"Iif"),
        *((kind, bytes(8)) for kind in b"lLdT"),
        (ord("D"), bytes(5)),
        (ord("V"), b""),
        *((kind, longstr(b"abc")) for kind in b"Sx"),
        (ord("A"), table(b"V", b"S" + longstr(b"x"))),
        (ord("F"), table()),
    ],
)
def test_every_field_type_passes(kind: int, value: bytes) -> None:
    (run,) = greeted().push(publish(1, Q, b"", b"\x20\x00" + table(entry(b"name", bytes([kind]), value), entry(b"after", b"V", b""))))
    assert (run.property_flags_or, run.alike) == (0x2000, True)


def test_unfinished_messages_are_limited_together() -> None:
    decoder = greeted()
    for channel in range(1, 6):
        decoder.push(publish_method(channel, Q) + content_header(channel, 8000))
        assert decoder.push(bodies(channel, bytes(3900), 3900)) == []
    (error,) = decoder.push(bodies(1, bytes(3900), 3900))
    assert error.reply_code == 506


def test_nothing_is_decoded_after_an_error() -> None:
    decoder = greeted()
    (error,) = decoder.push(frame(4, 0, b""))
    assert decoder.error is error
    with pytest.raises(AmqpError):
        decoder.push(ack(1, 1))


def test_the_buffer_grows_under_load_and_shrinks_when_idle() -> None:
    decoder = greeted()
    small = decoder.buffer_bytes
    assert small <= 8192
    stream = publish(1, Q, bytes(1000)) * 2000
    pos = 0
    largest = 0
    while pos < len(stream):
        room = decoder.writable()
        largest = max(largest, len(room))
        step = min(len(room), len(stream) - pos)
        room[:step] = stream[pos : pos + step]
        decoder.feed(step)
        pos += step
    assert codec.BUFFER_MAX_BYTES // 2 < largest <= codec.BUFFER_MAX_BYTES
    one = ack(1, 1)
    for _ in range(2000):
        room = decoder.writable()
        room[: len(one)] = one
        decoder.feed(len(one))
    assert decoder.buffer_bytes <= small
    decoder.push(stream)
    decoder.release()
    assert decoder.buffer_bytes <= small


def test_a_declared_size_alone_costs_no_memory() -> None:
    decoder = make(frame_max=131072)
    decoder.push(PROTOCOL_HEADER + b"\x01\x00\x01\x00\x02\x00\x00" + bytes(10))
    assert len(decoder.writable()) <= 8192


def test_misuse_is_refused() -> None:
    decoder = make()
    with pytest.raises(ValueError, match="received"):
        decoder.feed(len(decoder.writable()) + 1)
    with pytest.raises(ValueError, match="received"):
        decoder.feed(-1)
    with pytest.raises(ValueError, match="frame_max"):
        codec.Decoder(frame_max=0)
    with pytest.raises(ValueError, match="message_size_max"):
        codec.Decoder(message_size_max=2**32)
