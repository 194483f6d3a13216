"""The handshake: what the broker says of itself, authentication, virtual hosts, negotiation, heartbeats (bare frames; pika where it can)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pika
import pytest
from harness import Inbox, drain, get, publish
from pika.exceptions import ProbableAccessDeniedError, ProbableAuthenticationError
from wire import (
    CHANNEL_OPEN,
    CONNECTION_CLOSE,
    CONNECTION_CLOSE_OK,
    CONNECTION_OPEN_OK,
    CONNECTION_TUNE,
    HEARTBEAT,
    Wire,
    declare,
    frame,
    long,
    method,
    short,
)

CAPABILITIES = [
    "publisher_confirms",
    "exchange_exchange_bindings",
    "basic.nack",
    "consumer_cancel_notify",
    "connection.blocked",
    "consumer_priorities",
    "authentication_failure_close",
    "per_consumer_qos",
    "direct_reply_to",
]
WANTS_CLOSE = short("capabilities") + b"F" + long(short("authentication_failure_close") + b"t\x01")


def amqplain(user: str, password: str) -> bytes:
    return b"".join(short(key) + b"S" + long(value.encode()) for key, value in (("LOGIN", user), ("PASSWORD", password)))


def with_path(url: str, path: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=path))


def test_server_properties(connection: Any) -> None:
    properties = connection._impl.server_properties
    assert {key: properties["capabilities"].get(key) for key in CAPABILITIES} == dict.fromkeys(CAPABILITIES, True)
    for key in ("product", "version", "platform", "cluster_name"):
        assert isinstance(properties[key], str)
        assert properties[key]


def test_connection_start(amqp_url: str) -> None:
    with Wire(amqp_url) as wire:
        start = wire.start().payload
        assert start[4:6] == b"\x00\x09"  # AMQP 0-9
        size = struct.unpack_from(">I", start, 6)[0]
        rest = start[10 + size :]
        length = struct.unpack_from(">I", rest)[0]
        mechanisms = rest[4 : 4 + length].decode().split()
        assert {"PLAIN", "AMQPLAIN"} <= set(mechanisms)
        locales = rest[4 + length :]
        assert "en_US" in locales[4:].decode().split()


def test_tune_proposal(amqp_url: str) -> None:
    with Wire(amqp_url) as wire:
        wire.start()
        wire.start_ok()
        channel_max, frame_max, heartbeat_s = wire.tune()
        assert channel_max >= 1000
        assert frame_max >= 4096
        assert heartbeat_s > 0


@pytest.mark.parametrize(
    "header",
    [b"GET / HTTP/1.1\r\n\r\n", b"AMQP\x01\x01\x00\x0a", b"AMQP\x00\x00\x09\x02", b"\x00" * 8, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"],
    ids=["http", "0-10", "0-9-2", "zeros", "tls"],
)
def test_another_protocol_is_told_ours_and_hung_up_on(amqp_url: str, header: bytes) -> None:
    with Wire(amqp_url) as wire:
        wire.send(header)
        assert wire.read(8) == b"AMQP\x00\x00\x09\x01"
        assert wire.read(1) is None


def test_amqplain(amqp_url: str) -> None:
    with Wire(amqp_url) as wire:
        wire.start()
        wire.start_ok("AMQPLAIN", amqplain(wire.user, wire.password))
        wire.tune()
        wire.open()
        wire.expect(CONNECTION_OPEN_OK)


@pytest.mark.parametrize(("user", "password"), [("guest", "wrong"), ("nobody", "guest"), ("guest", ""), ("", "")])
def test_wrong_password(connect: Any, amqp_url: str, user: str, password: str) -> None:
    with pytest.raises(ProbableAuthenticationError, match="403.*ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN"):
        connect(amqp_url, credentials=pika.PlainCredentials(user, password))


def test_wrong_password_with_amqplain(amqp_url: str) -> None:
    with Wire(amqp_url) as wire:
        wire.start()
        wire.start_ok("AMQPLAIN", amqplain("guest", "wrong"), WANTS_CLOSE)
        assert wire.expect(CONNECTION_CLOSE).reply[0] == 403


def test_a_client_that_does_not_know_authentication_failure_close_is_hung_up_on(amqp_url: str) -> None:
    with Wire(amqp_url) as wire:
        wire.start()
        wire.start_ok("PLAIN", b"\0guest\0wrong")
        assert wire.read_frame() is None


@pytest.mark.parametrize(
    ("mechanism", "response"), [("BOGUS", b""), ("PLAIN", b"no zeros in here"), ("PLAIN", b""), ("AMQPLAIN", b"\x05LO"), ("AMQPLAIN", b"")]
)
def test_authentication_that_makes_no_sense(amqp_url: str, mechanism: str, response: bytes) -> None:
    """RabbitMQ hangs up; a connection.close before it does no harm."""
    with Wire(amqp_url) as wire:
        wire.start()
        wire.start_ok(mechanism, response, WANTS_CLOSE)
        last = wire.read_frame()
        if last is not None:
            assert last.method == CONNECTION_CLOSE
            wire.send(method(0, CONNECTION_CLOSE_OK))
            assert wire.read_frame() is None


@pytest.mark.parametrize(("path", "said"), [("/nope", "nope"), ("/a%2Fb", "a/b")])
def test_unknown_virtual_host(connect: Any, amqp_url: str, path: str, said: str) -> None:
    with pytest.raises(ProbableAccessDeniedError, match=f"530.*NOT_ALLOWED.*{said}"):
        connect(with_path(amqp_url, path))


def test_default_virtual_host_spelled_out(connect: Any, amqp_url: str) -> None:
    assert connect(with_path(amqp_url, "/%2F")).is_open


@pytest.mark.parametrize("frame_max", [100, 4095, 2_000_000_000])
def test_frame_max_out_of_bounds(amqp_url: str, frame_max: int) -> None:
    """RabbitMQ hangs up. A connection.close with 530 says why; it may come before or instead of open-ok."""
    with Wire(amqp_url) as wire:
        wire.start()
        wire.start_ok()
        wire.tune(frame_max=frame_max)
        wire.open()
        last = wire.read_frame()
        assert last is None or (last.method == CONNECTION_CLOSE and last.reply[0] in (501, 530))


@pytest.mark.parametrize("frame_max", [4096, 4097, 8192])
def test_frame_max_is_kept_by_the_broker(connect: Any, channel: Any, queue: str, frame_max: int) -> None:
    publish(channel, queue, b"x" * 100_000)
    small = connect(frame_max=frame_max)
    sizes: list[int] = []
    impl = small._impl
    deliver = impl._process_frame

    def spy(each: Any) -> None:
        sizes.append(len(each.fragment) if isinstance(each, pika.frame.Body) else 0)
        deliver(each)

    impl._process_frame = spy
    assert get(small.channel(), queue) == b"x" * 100_000
    assert max(sizes) == frame_max - 8


def test_channel_max(connect: Any) -> None:
    connection = connect(channel_max=3)
    for _ in range(3):
        connection.channel()
    with pytest.raises(pika.exceptions.NoFreeChannels):
        connection.channel()


def test_heartbeats_come_at_the_negotiated_pace(amqp_url: str) -> None:
    with Wire(amqp_url) as wire:
        wire.connect(heartbeat_s=1)
        for _ in range(2):
            received = wire.read_frame()
            assert received is not None
            assert (received.kind, received.channel, received.payload) == (HEARTBEAT, 0, b"")
            wire.send(frame(HEARTBEAT, 0, b""))


def test_a_silent_client_is_dropped(amqp_url: str) -> None:
    with Wire(amqp_url) as wire:
        wire.connect(heartbeat_s=1)
        while (received := wire.read_frame()) is not None:
            assert received.kind == HEARTBEAT or received.method == CONNECTION_CLOSE


def test_any_frame_keeps_a_connection_alive(connect: Any, channel: Any, queue: str) -> None:
    """A busy client that never gets round to heartbeats (pika sends them only while it is served; declares count as life)."""
    import time

    connection = connect(heartbeat=1)
    busy = connection.channel()
    until = time.monotonic() + 3.5
    while time.monotonic() < until:
        busy.queue_declare(queue, passive=True)
    assert busy.is_open


def test_no_heartbeats_when_turned_off(amqp_url: str) -> None:
    with Wire(amqp_url) as wire:
        wire.connect(heartbeat_s=0)
        wire.socket.settimeout(2.5)
        with pytest.raises(TimeoutError):
            wire.read_frame()


@pytest.mark.parametrize("early", [declare(1, "q"), method(1, CHANNEL_OPEN, b"\x00"), frame(3, 0, b"body"), frame(HEARTBEAT, 0, b"") * 3 + declare(0, "q")])
def test_nothing_works_before_the_handshake(amqp_url: str, early: bytes) -> None:
    with Wire(amqp_url) as wire:
        wire.start()
        wire.send(early)
        last = wire.read_frame()
        assert last is None or last.method == CONNECTION_CLOSE


def test_open_before_tune_ok(amqp_url: str) -> None:
    with Wire(amqp_url) as wire:
        wire.start()
        wire.start_ok()
        wire.expect(CONNECTION_TUNE)
        wire.open()
        last = wire.read_frame()
        assert last is None or last.method == CONNECTION_CLOSE


def test_close_is_answered_and_drops_what_follows(amqp_url: str, channel: Any, queue: str) -> None:
    with Wire(amqp_url) as wire:
        wire.connect()
        wire.open_channel()
        wire.send(method(0, CONNECTION_CLOSE, struct.pack(">HBHH", 200, 0, 0, 0)), declare(1, "interop.never"))
        wire.expect(CONNECTION_CLOSE_OK)
    assert drain(channel, queue) == []


def test_update_secret_or_nothing(connection: Any, channel: Any) -> None:
    """connection.update-secret is RabbitMQ's own; without an OAuth back end it is acknowledged and changes nothing."""
    done: list[Any] = []
    connection.update_secret("new", "because") if hasattr(connection, "update_secret") else done.append(None)
    channel.exchange_declare("amq.direct", passive=True)


def test_client_properties_of_every_kind(connect: Any, name: Callable[..., str]) -> None:
    connection = connect(client_properties={"product": "interop", "connection_name": "Ünïcødé", "numbers": [1, 2**40], "nested": {"deep": {"er": True}}})
    inbox = Inbox.on(connection.channel(), connection.channel().queue_declare("", exclusive=True).method.queue)
    assert inbox.bodies == []


def test_after_close_ok_the_socket_is_left_to_the_client(amqp_url: str) -> None:
    """RabbitMQ keeps it open for the heartbeat's time, at most 30 s; to some clients an end of the stream together with close-ok is a failure."""
    with Wire(amqp_url) as wire:
        wire.connect()
        wire.send(method(0, CONNECTION_CLOSE, struct.pack(">HBHH", 200, 0, 0, 0)))
        wire.expect(CONNECTION_CLOSE_OK)
        with Wire(amqp_url) as other:  # by its answers the broker has had its turns
            other.connect()
            other.open_channel()
        wire.socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            wire.socket.recv(1)
