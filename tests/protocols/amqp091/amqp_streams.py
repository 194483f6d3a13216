"""Hypothesis strategies for whole and broken AMQP streams, and events as plain data."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from amqp_wire import (
    PERSISTENT,
    PROTOCOL_HEADER,
    ack,
    bodies,
    content_header,
    entry,
    frame,
    longstr,
    publish,
    publish_method,
    route,
    settle,
    table,
)
from hypothesis import strategies as st

FRAME_MAX = 4096
HEADERS = b"\x20\x00" + table(
    entry(b"a", b"S", longstr(b"text")), entry(b"n", b"F", table(entry(b"t", b"t", b"\x01"))), entry(b"l", b"A", table(b"l" + bytes(8)))
)
EVERYTHING = (
    b"\xff\xfc"
    b"\x04type"
    b"\x03enc" + HEADERS[2:] + b"\x02\x05" + b"\x02id" + b"\x02re" + b"\x0560000" + b"\x03mid" + bytes(8) + b"\x04name" + b"\x05guest" + b"\x03app" + b"\x00"
)
PROPERTIES = (b"\x00\x00", PERSISTENT, HEADERS, EVERYTHING)

keys = st.sampled_from([route(b"", b"q"), route(b"amq.topic", b"a.b.c"), route(b"", b"q2"), route("é".encode(), b"")])
bodies_ = st.one_of(st.binary(max_size=12), st.integers(0, 9000).map(bytes))
channels = st.integers(1, 3)


def _interleaved(first: tuple[Any, ...], second: tuple[Any, ...]) -> bytes:
    """Two messages on channels 4 and 5, frame by frame in turn."""
    frames = []
    for channel, (key, body, properties) in ((4, first), (5, second)):
        step = max(1, len(body) // 3)
        frames.append(
            [publish_method(channel, key), content_header(channel, len(body), properties)]
            + [bodies(channel, body[at : at + step], FRAME_MAX) for at in range(0, len(body), step)]
        )
    out = []
    for index in range(max(map(len, frames))):
        out.extend(parts[index] for parts in frames if index < len(parts))
    return b"".join(out)


messages = st.tuples(keys, bodies_, st.sampled_from(PROPERTIES))
pieces = st.one_of(
    st.builds(
        lambda channel, message, bits, count: publish(channel, message[0], message[1], message[2], bits, FRAME_MAX - 8) * count,
        channels,
        messages,
        st.integers(0, 3),
        st.integers(1, 4),
    ),
    st.builds(lambda channel, tag, count: b"".join(ack(channel, tag + step) for step in range(count)), channels, st.integers(0, 2**64 - 4), st.integers(1, 4)),
    st.builds(ack, channels, st.integers(0, 2**64 - 1), st.just(True)),
    st.builds(settle, channels, st.sampled_from([90, 120]), st.integers(0, 5), st.integers(0, 3)),
    st.builds(
        frame,
        st.just(1),
        st.integers(0, 3),
        st.sampled_from([b"\x00\x0a\x00\x1e" + bytes(8), b"\x00\x32\x00\x0a\x00\x00\x01q\x00" + bytes(4), b"\x00\x14\x00\x28"]),
    ),
    st.just(frame(8, 0, b"")),
    st.builds(_interleaved, messages, messages),
)
streams = st.lists(pieces, max_size=8).map(lambda parts: PROTOCOL_HEADER + b"".join(parts))


def plain(event: Any) -> tuple[Any, ...]:
    """An event as a tuple that says all of it."""
    name = type(event).__name__
    match name:
        case "ProtocolHeader":
            return name, event.data, event.supported
        case "PublishRun":
            properties = properties_of(event.data)
            assert len(properties) == event.count
            assert event.alike == (len(set(properties)) == 1)
            return (
                name,
                event.channel,
                event.key,
                event.mandatory,
                event.immediate,
                event.data,
                event.count,
                event.body_bytes,
                event.property_flags_or,
            )
        case "AckRange":
            return name, event.channel, event.lo, event.hi, event.multiple
        case "NackRange":
            return name, event.channel, event.requeue, event.method, event.lo, event.hi, event.multiple
        case "Control":
            return name, event.channel, event.method, event.payload
        case "TooLarge":
            return name, event.channel, event.body_size
        case "AmqpError":
            return name, int(event.reply_code), event.class_id, event.method_id, str(event)
    raise AssertionError(name)


def properties_of(data: bytes) -> list[bytes]:
    """Of each packed record."""
    pos = 0
    found = []
    while pos < len(data):
        size = int.from_bytes(data[pos : pos + 4], "big")
        found.append(data[pos + 8 : pos + 8 + size])
        pos += 8 + size + int.from_bytes(data[pos + 4 : pos + 8], "big")
    assert pos == len(data)
    return found


def normalised(events: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Events with neighbouring runs and ranges merged as far as they go, whatever the reads were."""
    result: list[tuple[Any, ...]] = []
    for event in events:
        last = result[-1] if result else ("",)
        if event[0] == "PublishRun" and last[0] == "PublishRun" and last[1:5] == event[1:5]:
            result[-1] = (*last[:5], last[5] + event[5], last[6] + event[6], last[7] + event[7], last[8] | event[8])
            continue
        if event[0] == last[0] and event[0] in ("AckRange", "NackRange") and event[1:-3] == last[1:-3]:
            *head, lo, hi, multiple = last
            if (multiple and event[-1] and 0 < hi < event[-3]) or (not multiple and not event[-1] and event[-3] == hi + 1):
                result[-1] = (*head, lo, event[-2], multiple)
                continue
        result.append(event)
    return result


def hostile(seed: int, count: int) -> Iterator[bytes]:
    """Valid streams that are then cut, have octets changed, or a size field replaced."""
    rng = random.Random(seed)
    parts = [publish(1, route(b"", b"q"), rng.randbytes(30), properties) for properties in PROPERTIES]
    parts += [publish(2, route(b"x", b"k"), rng.randbytes(200), EVERYTHING, step=50), ack(1, 5), settle(1, 120, 7, 3), settle(1, 90, 7, 1), frame(8, 0, b"")]
    parts += [publish_method(3, route(b"", b"z")), content_header(3, 10), bodies(3, bytes(10), 4), frame(1, 3, b"\x00\x14\x00\x29")]
    for _ in range(count):
        chosen = [rng.choice(parts) for _ in range(rng.randrange(1, 6))]
        data = bytearray(b"".join(chosen))
        for _ in range(rng.randrange(4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        if rng.random() < 0.3:
            at = rng.choice([0, len(chosen[0])])
            if at + 7 <= len(data):
                data[at + 3 : at + 7] = rng.choice(
                    [0, 1, 7, 8, 13, len(data), FRAME_MAX, FRAME_MAX + 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFF]
                ).to_bytes(4, "big")
        yield PROTOCOL_HEADER + bytes(data[: rng.randrange(len(data) + 1)])
