"""Broken peers: each gets the reply code the specification has for it, and nobody else notices (bare frames).

Where RabbitMQ 3.10 merely drops the socket (its reader crashes on unknown methods and tables), a proper connection.close is accepted too.
"""

from __future__ import annotations

import struct
from typing import Any

import pytest
from harness import get, publish
from wire import (
    BASIC_GET,
    BASIC_PUBLISH,
    BODY,
    CHANNEL_CLOSE,
    CHANNEL_CLOSE_OK,
    CHANNEL_OPEN,
    CHANNEL_OPEN_OK,
    CONNECTION_CLOSE,
    CONNECTION_OPEN_OK,
    CONNECTION_START_OK,
    END,
    HEARTBEAT,
    METHOD,
    QUEUE_DECLARE,
    QUEUE_DECLARE_OK,
    Frame,
    Wire,
    declare,
    frame,
    header,
    long,
    method,
    short,
)
from wire import (
    publish as publish_method,
)

CLOSE_CHANNEL = struct.pack(">HBHH", 200, 0, 0, 0)
OPEN_ROOT = short("/") + b"\x00\x00"
DECLARE = b"\x00\x00" + short("") + b"\x00"


def converse(amqp_url: str, *octets: bytes, **tuning: int) -> Frame | None:
    """What the broker says to `octets` on a connection with channel 1 open: its next close, None when it only hangs up."""
    with Wire(amqp_url) as wire:
        wire.connect(**tuning)
        wire.open_channel()
        wire.send(*octets)
        while True:
            received = wire.read_frame()
            if received is None or received.method in (CONNECTION_CLOSE, CHANNEL_CLOSE):
                return received


CASES = {
    "frame end": (501, frame(METHOD, 1, struct.pack(">HH", *CHANNEL_OPEN) + b"\x00", end=b"\x00")),
    "unknown frame type": (501, frame(7, 1, b"abc")),
    "frame type 0": (501, frame(0, 0, b"")),
    "oversized": (501, struct.pack(">BHI", BODY, 1, 2**31) + b"x" * 70_000),
    "oversized by one": (501, struct.pack(">BHI", BODY, 1, 131_072 - 8 + 2) + b"x" * 131_100),
    "heartbeat on a channel": (505, frame(HEARTBEAT, 1, b"")),
    "heartbeat with a payload": (501, frame(HEARTBEAT, 0, b"abc")),
    "arguments cut short": (501, method(1, QUEUE_DECLARE, b"\x00")),
    "arguments too long": (501, method(1, QUEUE_DECLARE, DECLARE + long(b"") + b"zz")),
    "short string past the end": (501, method(1, QUEUE_DECLARE, b"\x00\x00\xffabc")),
    "body without publish": (505, frame(BODY, 1, b"x")),
    "header without publish": (505, header(1, 1)),
    "method in the place of the header": (505, publish_method(1, "", "k") + declare(1, "")),
    "body in the place of the header": (505, publish_method(1, "", "k") + frame(BODY, 1, b"x")),
    "method in the place of the body": (505, publish_method(1, "", "k") + header(1, 5) + declare(1, "")),
    "header in the place of the body": (505, publish_method(1, "", "k") + header(1, 5) + header(1, 5)),
    "body longer than said": (
        505,
        publish_method(1, "", "k") + header(1, 5) + frame(BODY, 1, b"x" * 6) + declare(1, ""),
    ),  # RabbitMQ says so at the next frame only
    "header of another class": (505, publish_method(1, "", "k") + header(1, 5, class_id=50)),
    "channel not open": (504, declare(5, "")),
    "channel.close of what is not open": (504, method(5, CHANNEL_CLOSE, CLOSE_CHANNEL)),
    "channel opened twice": (504, method(1, CHANNEL_OPEN, b"\x00")),
    "channel method on zero": (504, declare(0, "")),
    "publish on zero": (504, publish_method(0, "", "k")),
    "channel.open on zero": (504, method(0, CHANNEL_OPEN, b"\x00")),
    "connection opened twice": (504, method(0, (10, 40), OPEN_ROOT)),
    "start-ok again": (504, method(0, CONNECTION_START_OK, long(b"") + short("PLAIN") + long(b"") + short("en_US"))),
    "connection method on a channel": (503, method(1, (10, 40), OPEN_ROOT)),
    "a server's method": (503, method(1, QUEUE_DECLARE_OK, short("q") + b"\x00" * 8)),
}


@pytest.mark.parametrize("case", CASES)
def test_reply_code(amqp_url: str, case: str) -> None:
    code, octets = CASES[case]
    close = converse(amqp_url, octets, frame_max=131_072)
    assert close is not None
    assert (close.method, close.channel) == (CONNECTION_CLOSE, 0)
    assert close.reply[0] in also(case, code), close.reply


def also(case: str, code: int) -> tuple[int, ...]:
    """RabbitMQ's code, and another that the specification's words fit as well."""
    return (code, {"body longer than said": 501, "connection opened twice": 503, "start-ok again": 503}.get(case, code))


MAY_HANG_UP = {
    "unknown class": method(1, (99, 10)),
    "unknown method": method(1, (50, 99)),
    "unknown method on zero": method(0, (10, 99)),
    "method frame of three octets": frame(METHOD, 1, b"\x00\x32\x00"),
    "field type nobody knows": method(1, QUEUE_DECLARE, DECLARE + long(b"\x01aZ\x00")),
    "table longer than its frame": method(1, QUEUE_DECLARE, DECLARE + struct.pack(">I", 2**31) + b"\x01at\x01"),
    "table cut short": method(1, QUEUE_DECLARE, DECLARE + long(b"\x05abc")),
    "deeply nested tables": method(1, QUEUE_DECLARE, DECLARE + long((b"\x01aF" + struct.pack(">I", 90_000)) * 3000)),
}


@pytest.mark.parametrize("case", MAY_HANG_UP)
def test_thrown_out(amqp_url: str, case: str) -> None:
    close = converse(amqp_url, MAY_HANG_UP[case], frame_max=131_072)
    if close is not None:
        assert close.method == CONNECTION_CLOSE
        assert close.reply[0] in (501, 502, 503, 540)


def test_close_names_the_culprit(amqp_url: str) -> None:
    close = converse(amqp_url, method(1, QUEUE_DECLARE, b"\x00"))
    assert close is not None
    assert close.culprit == QUEUE_DECLARE
    close = converse(amqp_url, publish_method(1, "interop.nowhere", "k"), header(1, 0))
    assert close is not None
    assert (close.method, close.channel, close.culprit) == (CHANNEL_CLOSE, 1, BASIC_PUBLISH)
    assert close.reply[0] == 404


def test_after_a_channel_error_the_rest_of_the_channel_is_dropped_until_close_ok(amqp_url: str, queue: str) -> None:
    with Wire(amqp_url) as wire:
        wire.connect()
        wire.open_channel(1)
        wire.open_channel(2)
        content = header(1, 3) + frame(BODY, 1, b"abc")
        wire.send(method(1, QUEUE_DECLARE, b"\x00\x00" + short("interop.nowhere") + b"\x01" + long(b"")))  # passive: 404
        wire.send(publish_method(1, "", queue) + content, declare(1, "interop.never", bits=0))
        wire.send(method(2, QUEUE_DECLARE, b"\x00\x00" + short(queue) + b"\x01" + long(b"")))
        replies = {1: wire.read_frame(), 2: None}
        other = wire.read_frame()
        assert replies[1] is not None
        assert other is not None
        by_channel = {replies[1].channel: replies[1], other.channel: other}  # the order between channels is nobody's business
        assert by_channel[1].method == CHANNEL_CLOSE
        assert by_channel[2].method == QUEUE_DECLARE_OK
        assert struct.unpack(">II", by_channel[2].payload[-8:]) == (0, 0)  # nothing was published by the channel in error
        wire.send(method(1, CHANNEL_CLOSE_OK), method(1, CHANNEL_OPEN, b"\x00"))
        wire.expect(CHANNEL_OPEN_OK)


def test_any_split_of_the_bytes(amqp_url: str, channel: Any, queue: str) -> None:
    octets = (
        publish_method(1, "", queue) + header(1, 10) + frame(BODY, 1, b"01234") + frame(BODY, 1, b"") + frame(BODY, 1, b"56789") + declare(1, queue, bits=2)
    )
    with Wire(amqp_url) as wire:
        wire.connect()
        wire.open_channel()
        wire.socket.setsockopt(6, 1, 1)  # TCP_NODELAY: each octet its own segment
        for octet in octets:
            wire.send(bytes([octet]))
        wire.expect(QUEUE_DECLARE_OK)
    assert get(channel, queue) == b"0123456789"


def test_channels_interleave_between_frames_of_a_message(amqp_url: str, channel: Any, queue: str) -> None:
    with Wire(amqp_url) as wire:
        wire.connect()
        wire.open_channel(1)
        wire.open_channel(2)
        wire.send(
            publish_method(1, "", queue),
            publish_method(2, "", queue),
            header(2, 3),
            header(1, 4),
            frame(BODY, 1, b"on"),
            frame(BODY, 2, b"two"),
            frame(BODY, 1, b"e."),
        )
        wire.send(frame(HEARTBEAT, 0, b""), declare(1, queue, bits=2), declare(2, queue, bits=2))
        wire.expect(QUEUE_DECLARE_OK)
        wire.expect(QUEUE_DECLARE_OK)
    assert sorted([get(channel, queue), get(channel, queue)]) == [b"one.", b"two"]


@pytest.mark.parametrize("size", [4088, 4089, 4095, 4096])
def test_frames_of_frame_max_and_the_eight_bytes_more_that_clients_err_by(amqp_url: str, channel: Any, queue: str, size: int) -> None:
    """Frame size tuned to 4096: RabbitMQ 3.10.8 tolerates payloads up to that, though the specification counts the frame's eight bytes."""
    with Wire(amqp_url) as wire:
        wire.connect(frame_max=4096)
        wire.open_channel()
        wire.send(publish_method(1, "", queue), header(1, size), frame(BODY, 1, b"x" * size), declare(1, queue, bits=2))
        wire.expect(QUEUE_DECLARE_OK)
    body = get(channel, queue)
    assert body == b"x" * size


@pytest.mark.parametrize("kind", [1, 2, 3])
def test_a_larger_frame_ends_the_connection(amqp_url: str, kind: int) -> None:
    with Wire(amqp_url) as wire:
        wire.connect(frame_max=4096)
        wire.open_channel()
        wire.send(frame(kind, 1, bytes(4097)))
        assert wire.closes_with()[0] == 501


def test_half_a_message_is_no_message(amqp_url: str, channel: Any, queue: str) -> None:
    with Wire(amqp_url) as wire:
        wire.connect()
        wire.open_channel()
        wire.send(publish_method(1, "", queue), header(1, 10), frame(BODY, 1, b"half"))
    publish(channel, queue, b"whole")
    assert get(channel, queue) == b"whole"
    assert channel.basic_get(queue)[0] is None


def test_access_request_of_old_clients(amqp_url: str) -> None:
    with Wire(amqp_url) as wire:
        wire.connect()
        wire.open_channel()
        wire.send(method(1, (30, 10), short("/data") + b"\x1f"))
        wire.expect((30, 11))


def test_consumer_tag_reuse(amqp_url: str, queue: str) -> None:
    consume = method(1, (60, 20), b"\x00\x00" + short(queue) + short("same") + b"\x00" + long(b""))
    close = converse(amqp_url, consume, consume)
    assert close is not None
    assert (close.method, close.reply) == (CONNECTION_CLOSE, (530, "NOT_ALLOWED - attempt to reuse consumer tag 'same'"))


def test_server_makes_consumer_tags(amqp_url: str, queue: str) -> None:
    with Wire(amqp_url) as wire:
        wire.connect()
        wire.open_channel()
        wire.send(method(1, (60, 20), b"\x00\x00" + short(queue) + short("") + b"\x00" + long(b"")))
        answer = wire.expect((60, 21)).payload
        assert answer[5:].startswith(b"amq.ctag-")


def test_no_wait_is_not_answered(amqp_url: str, queue: str) -> None:
    with Wire(amqp_url) as wire:
        wire.connect()
        wire.open_channel()
        wire.send(method(1, QUEUE_DECLARE, b"\x00\x00" + short(queue) + bytes([2 | 16]) + long(b"")))
        wire.send(method(1, (50, 20), b"\x00\x00" + short(queue) + short("amq.direct") + short("k") + b"\x01" + long(b"")))  # bind
        wire.send(method(1, (60, 20), b"\x00\x00" + short(queue) + short("t") + b"\x08" + long(b"")))  # consume
        wire.send(method(1, (60, 30), short("t") + b"\x01"))  # cancel
        wire.send(method(1, (85, 10), b"\x01"))  # confirm.select
        wire.send(method(1, BASIC_GET, b"\x00\x00" + short(queue) + b"\x01"))
        wire.expect((60, 72))  # get-empty is the first thing heard


def test_a_broken_peer_disturbs_nobody(amqp_url: str, channel: Any, queue: str) -> None:
    publish(channel, queue, b"before")
    for case, (code, octets) in CASES.items():
        close = converse(amqp_url, octets, frame_max=131_072)
        assert close is None or close.reply[0] in also(case, code)
    with Wire(amqp_url) as wire:
        wire.connect()
        wire.send(b"\x01\x00", END)
    assert get(channel, queue) == b"before"
    with Wire(amqp_url) as wire:
        wire.start()
        wire.start_ok()
        wire.tune()
        wire.open()
        wire.expect(CONNECTION_OPEN_OK)
