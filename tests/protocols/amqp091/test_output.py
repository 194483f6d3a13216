"""Packed records to frames, read back by pika's own frame decoder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from amqp_streams import EVERYTHING, PROPERTIES
from amqp_wire import PERSISTENT, entry, longstr, record, route, table
from hypothesis import given, settings
from hypothesis import strategies as st
from pika import frame as pika_frame
from pika import spec

from both_modes import both, examples
from entrepot.net.output_buffer import BUFFER_MIN_BYTES, PART_BYTES
from entrepot.protocols.amqp091 import output

BELOW = "entrepot.protocols.amqp091.properties"
MODES = both("entrepot.protocols.amqp091.output", BELOW)
mode = pytest.mark.parametrize("module", MODES, ids=["installed", "interpreted"])
KEY = route(b"ex", b"key")


def frames(data: bytes) -> Iterator[Any]:
    while data:
        size, frame = pika_frame.decode_frame(data)
        assert frame is not None
        yield frame
        data = data[size:]


def messages(data: bytes, frame_max: int = 131072) -> list[tuple[Any, int, spec.BasicProperties, bytes]]:
    """(method, channel, properties, body) of each message, and that each frame is as large as it may be."""
    found = []
    waiting = iter(frames(data))
    for method in waiting:
        header = next(waiting)
        assert header.channel_number == method.channel_number
        body = b""
        while len(body) < header.body_size:
            part = next(waiting)
            assert part.channel_number == method.channel_number
            assert len(part.fragment) == min(frame_max - 8, header.body_size - len(body))
            body += part.fragment
        found.append((method.method, method.channel_number, header.properties, body))
    return found


@mode
def test_deliveries(module: Any) -> None:
    data = b"skipped" + record(PERSISTENT, b"one") + record(EVERYTHING, b"") + record(b"\x00\x00", b"three") + record(b"\x00\x00", b"not sent")
    template, tag_at = module.deliver_template(b"ctag", True, KEY, 258)
    out = module.Output()
    pos = out.deliver(data, 7, 3, template, tag_at, 2**40, 258, 4096)
    assert data[pos:] == record(b"\x00\x00", b"not sent")
    sent = out.take_joined()
    found = messages(sent)
    assert [(method.consumer_tag, method.delivery_tag, method.redelivered, method.exchange, method.routing_key) for method, *_ in found] == [
        ("ctag", 2**40 + number, True, "ex", "key") for number in range(3)
    ]
    assert {channel for _, channel, _, _ in found} == {258}
    assert [body for *_, body in found] == [b"one", b"", b"three"]
    assert found[0][2].delivery_mode == 2
    assert found[1][2].user_id == "guest"
    assert out.take_joined() == b""


@mode
def test_get_ok_and_return(module: Any) -> None:
    out = module.Output()
    data = record(PERSISTENT, b"body")
    template, tag_at = module.get_ok_template(False, KEY, 2**40, 1)
    out.deliver(data, 0, 1, template, tag_at, 7, 1, 4096)
    template, tag_at = module.return_template(312, b"NO_ROUTE", KEY, 1)
    out.deliver(data, 0, 1, template, tag_at, 7, 1, 4096)
    (got, *_), (returned, *_) = messages(out.take_joined())
    assert (got.NAME, got.delivery_tag, got.redelivered, got.exchange, got.routing_key, got.message_count) == ("Basic.GetOk", 7, False, "ex", "key", 2**32 - 1)
    assert (returned.NAME, returned.reply_code, returned.reply_text, returned.exchange, returned.routing_key) == ("Basic.Return", 312, "NO_ROUTE", "ex", "key")


sizes = st.sampled_from([4087, 4088, 4089, 8176, 8177, 16384, 20000, 40000, 200_000])
contents = st.lists(st.tuples(st.sampled_from(PROPERTIES), st.one_of(st.binary(max_size=20), sizes.map(bytes))), max_size=5)


@settings(max_examples=examples(80), deadline=None)
@given(contents, st.sampled_from([4096, 8192, 131072]), st.booleans())
def test_both_modes_send_the_same_for_every_size_and_frame_max(content: list[tuple[bytes, bytes]], frame_max: int, stream: bool) -> None:
    data = b"".join(record(*message) for message in content)
    sent = []
    for module in MODES:
        template, tag_at = module.deliver_template(b"c", False, KEY, 3)
        out = module.Output()
        if stream:
            pos = out.deliver_numbered(data, 0, len(content), template, tag_at, 1, 3, frame_max, output.OFFSET_HEADER, 100, 1)
        else:
            pos = out.deliver(data, 0, len(content), template, tag_at, 1, 3, frame_max)
        assert pos == len(data)
        size = out.size
        parts = out.take()
        assert sum(map(len, parts)) == size
        assert out.size == 0
        sent.append(b"".join(parts))
    assert sent[0] == sent[1]
    found = messages(sent[0], frame_max)
    assert [body for *_, body in found] == [body for _, body in content]
    assert [method.delivery_tag for method, *_ in found] == list(range(1, len(content) + 1))
    if stream:
        assert [header.headers["x-stream-offset"] for _, _, header, _ in found] == list(range(100, 100 + len(content)))


OFFSET = b"x-stream-offset"


@mode
@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        (b"\x00\x00", {}),
        (PERSISTENT, {}),
        (b"\xa0\x00\x04type" + table(entry(b"a", b"S", longstr(b"b"))), {"a": "b"}),
        (b"\x20\x00" + table(entry(OFFSET, b"S", longstr(b"forged")), entry(b"z", b"I", bytes(4))), {"z": 0}),
        (b"\x20\x00" + table(entry(b"a", b"t", b"\x01"), entry(OFFSET, b"l", bytes(8)), entry(b"z", b"I", bytes(4))), {"a": True, "z": 0}),
        (b"\x20\x00" + table(entry(b"a", b"t", b"\x01"), entry(OFFSET, b"V", b"")), {"a": True}),
    ],
)
def test_the_offset_header_is_added_or_replaced(module: Any, listed: bytes, expected: dict[str, Any]) -> None:
    out = module.Output()
    template, tag_at = module.deliver_template(b"c", False, KEY, 1)
    out.deliver_numbered(record(listed, b"body"), 0, 1, template, tag_at, 1, 1, 4096, output.OFFSET_HEADER, 2**40, 1)
    ((_, _, header, body),) = messages(out.take_joined())
    assert header.headers == {**expected, "x-stream-offset": 2**40}
    assert body == b"body"
    before = spec.BasicProperties()
    before.decode(listed)
    assert (header.content_type, header.delivery_mode) == (before.content_type, before.delivery_mode)


@mode
def test_confirms_heartbeats_and_raw_frames_keep_their_order(module: Any) -> None:
    out = module.Output()
    out.ack(1, 2**63, True)
    out.nack(300, 5, False)
    out.heartbeat()
    out.raw(b"\x01\x00\x01\x00\x00\x00\x04\x00\x14\x00\x29\xce")
    found = list(frames(out.take_joined()))
    assert [(found[0].channel_number, found[0].method.delivery_tag, found[0].method.multiple)] == [(1, 2**63, True)]
    assert [(found[1].channel_number, found[1].method.delivery_tag, found[1].method.multiple, found[1].method.NAME)] == [(300, 5, False, "Basic.Nack")]
    assert found[2].NAME == "Heartbeat"
    assert found[3].method.NAME == "Channel.CloseOk"


@mode
def test_large_bodies_are_referenced_and_small_ones_copied(module: Any) -> None:
    template, tag_at = module.deliver_template(b"c", False, KEY, 1)
    out = module.Output()
    data = record(PERSISTENT, bytes(300_000)) + record(PERSISTENT, bytes(1000)) * 500
    out.deliver(data, 0, 501, template, tag_at, 1, 1, 131072)
    assert out.size > 800_000
    parts = out.take()
    views = [part for part in parts if isinstance(part, memoryview)]
    assert [len(view) for view in views] == [131064, 131064, 37872]
    assert all(view.obj is data for view in views)
    assert len(messages(b"".join(parts))) == 501
    big = bytes(200_000)
    out.raw(b"a")
    out.raw(big)
    out.raw(b"b")
    assert out.take()[1] is big


@mode
def test_the_buffer_is_bounded_and_given_back(module: Any) -> None:
    template, tag_at = module.deliver_template(b"c", False, KEY, 1)
    out = module.Output()
    assert out.buffer_bytes == 0
    data = record(PERSISTENT, bytes(1000)) * 2000
    out.deliver(data, 0, 2000, template, tag_at, 1, 1, 131072)
    assert len(b"".join(out.take())) > 2_000_000
    assert 0 < out.buffer_bytes <= 4 * PART_BYTES
    for tag in range(200):
        out.ack(1, tag, False)
        out.take_joined()
    assert out.buffer_bytes <= 4 * BUFFER_MIN_BYTES
    out.release()
    assert out.buffer_bytes == 0


@mode
def test_damaged_records_do_not_reach_outside(module: Any) -> None:
    template, tag_at = module.deliver_template(b"c", False, KEY, 1)
    for data in (b"", bytes(7), record(PERSISTENT, b"body")[:-1], (100).to_bytes(4, "big") + bytes(20), bytes(4) + (40_000).to_bytes(4, "big") + bytes(20)):
        with pytest.raises(IndexError):
            module.Output().deliver(data, 0, 1, template, tag_at, 1, 1, 131072)
        with pytest.raises(IndexError):
            module.Output().deliver_numbered(data, 0, 1, template, tag_at, 1, 1, 131072, output.OFFSET_HEADER, 0, 1)


@mode
def test_a_consumer_tag_is_a_short_string(module: Any) -> None:
    with pytest.raises(ValueError, match="255"):
        module.deliver_template(bytes(256), False, KEY, 1)
