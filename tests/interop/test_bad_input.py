"""Hostile peers against the real process: each gets AMQP's own error, the log says what and from whom, memory stays bounded, nobody else notices."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from wire import (
    BODY,
    CHANNEL_CLOSE,
    CHANNEL_CLOSE_OK,
    CHANNEL_OPEN,
    CONNECTION_CLOSE,
    END,
    METHOD,
    PROTOCOL_HEADER,
    QUEUE_DECLARE,
    QUEUE_DECLARE_OK,
    Wire,
    declare,
    frame,
    header,
    long,
    method,
    publish,
    short,
)

from entrepot.testing import Broker

GROWTH_MAX_BYTES = 200 * 1024 * 1024


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    with Broker() as running:
        yield running


@pytest.fixture
def bystander(broker: Broker) -> Iterator[Wire]:
    """A connection that works before, during and after whatever the test does."""
    with Wire(broker.amqp_url) as wire:
        wire.connect()
        wire.open_channel()
        before = resident_bytes(broker)
        works(wire)
        yield wire
        works(wire)
        assert broker.process is not None
        assert broker.process.poll() is None
        assert resident_bytes(broker) - before < GROWTH_MAX_BYTES


def works(wire: Wire) -> None:
    wire.send(declare(1, "bystander"))
    wire.expect(QUEUE_DECLARE_OK)


def resident_bytes(broker: Broker) -> int:
    status = Path(f"/proc/{broker.pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS"))


def arguments(table: bytes) -> bytes:
    return method(1, QUEUE_DECLARE, b"\x00\x00" + short("t") + b"\x00" + long(table))


def nested(depth: int) -> bytes:
    table = b""
    for _ in range(depth):
        table = short("n") + b"F" + long(table)
    return table


BAD: dict[str, tuple[bytes, set[int]]] = {
    "end of frame": (frame(METHOD, 1, b"\x00\x14\x00\x0a\x00", b"\x00"), {501}),
    "frame of an unknown kind": (frame(7, 1, b"abc"), {501}),
    "frame of 4 GiB": (struct.pack(">BHI", METHOD, 1, 0xFFFFFFFF), {501}),
    "frame above frame_max": (struct.pack(">BHI", BODY, 1, 10_000_000), {501}),
    "method without its number": (frame(METHOD, 1, b"\x00"), {501, 502, 503, 540}),
    "unknown class": (method(1, (999, 1)), {503, 540}),
    "unknown method": (method(1, (50, 999)), {503, 540}),
    "a server's method": (method(1, QUEUE_DECLARE_OK, short("x") + bytes(8)), {503}),
    "arguments cut short": (method(1, QUEUE_DECLARE, b"\x00\x00"), {501}),
    "octets behind the arguments": (declare(1, "x")[:-1].replace(b"\x00\x00\x00\x0e", b"\x00\x00\x00\x0f", 1) + b"\x00" + END, {501}),
    "table that lies about its size": (method(1, QUEUE_DECLARE, b"\x00\x00" + short("t") + b"\x00" + b"\xff\xff\xff\xff"), {501, 502}),
    "table with an unknown type": (arguments(short("x") + b"?"), {501, 502}),
    "table nested too deep": (arguments(nested(2000)), {501, 502}),
    "table with too many values": (arguments(b"".join(short(str(number)) + b"V" for number in range(10_000))), {501, 502}),
    "header table nested too deep": (publish(1, "", "q") + header(1, 0, b"\x20\x00" + long(nested(2000))), {501, 502}),
    "header with unknown flags": (publish(1, "", "q") + header(1, 0, b"\x00\x01"), {501, 502}),
    "header of another class": (publish(1, "", "q") + header(1, 0, class_id=50), {501, 505}),
    "body without a header": (publish(1, "", "q") + frame(BODY, 1, b"x"), {505}),
    "body longer than said": (publish(1, "", "q") + header(1, 2) + frame(BODY, 1, b"xyz"), {501, 505}),
    "body out of nowhere": (frame(BODY, 1, b"x"), {505}),
    "name that is not UTF-8": (method(1, QUEUE_DECLARE, b"\x00\x00\x01\xff\x00" + long(b"")), {501, 502}),
    "one channel too many": (b"".join(method(number, CHANNEL_OPEN, b"\x00") for number in range(60_000, 62_047)), {530}),
    "messages begun on channels that are not open": (b"".join(publish(number, "", "q") for number in range(1, 65_535)), {504}),
    "channel opened twice": (method(1, CHANNEL_OPEN, b"\x00"), {504}),
    "channel never opened": (declare(9, "x"), {504}),
}


@pytest.mark.parametrize("name", BAD)
def test_each_gets_its_own_error(broker: Broker, bystander: Wire, name: str) -> None:
    octets, codes = BAD[name]
    with Wire(broker.amqp_url) as wire:
        wire.connect()
        wire.open_channel()
        wire.send(octets)
        works(bystander)
        while (answer := wire.read_frame()) is not None and answer.method == (20, 11):
            pass
        assert answer is not None
        assert answer.method == CONNECTION_CLOSE
        assert answer.reply[0] in codes


@pytest.mark.parametrize(("size", "code"), [(0xFFFFFFFFFFFFFFFF, 406), (1 << 40, 406), ((16 << 20) + 1, 406)])
def test_absurd_messages_close_their_channel(broker: Broker, bystander: Wire, size: int, code: int) -> None:
    with Wire(broker.amqp_url) as wire:
        wire.connect()
        wire.open_channel()
        wire.send(publish(1, "", "q"), header(1, size))
        assert wire.expect(CHANNEL_CLOSE).reply[0] == code


def test_the_log_says_what_and_from_whom(bystander: Wire) -> None:
    with Broker() as fresh, Wire(fresh.amqp_url) as wire:
        wire.connect()
        host, port = wire.socket.getsockname()
        wire.send(method(0, CHANNEL_OPEN, b"\x00"))
        text = wire.expect(CONNECTION_CLOSE).reply[1]
        assert f" amqp: {host}:{port} (user 'guest', virtual host '/'): connection closed: {text}" in fresh.log


def test_names_at_their_limit(broker: Broker, bystander: Wire) -> None:
    with Wire(broker.amqp_url) as wire:
        wire.connect()
        wire.open_channel()
        wire.send(declare(1, "n" * 255))
        wire.expect(QUEUE_DECLARE_OK)
        wire.send(declare(1, "amq." + "n" * 251))
        assert wire.expect(CHANNEL_CLOSE).reply[0] == 403


def test_half_open_handshakes(broker: Broker, bystander: Wire) -> None:
    pieces = [b"", b"AM", PROTOCOL_HEADER, PROTOCOL_HEADER + b"\x01\x00\x00", PROTOCOL_HEADER + method(0, (10, 11))[:-3]]
    opened = [socket.create_connection(("127.0.0.1", broker.amqp_port), timeout=20) for _ in range(100)]
    try:
        for index, connection in enumerate(opened):
            connection.sendall(pieces[index % len(pieces)])
        works(bystander)
        assert opened[2].recv(3) == b"\x01\x00\x00"
    finally:
        for connection in opened:
            connection.close()


def test_every_channel_there_is(broker: Broker, bystander: Wire) -> None:
    with Wire(broker.amqp_url) as wire:
        wire.connect()
        for first in range(1, 2048, 200):
            numbers = range(first, min(first + 200, 2048))
            wire.send(*[method(number, CHANNEL_OPEN, b"\x00") for number in numbers])
            for _ in numbers:
                wire.expect((20, 11))
        wire.send(*[method(number, CHANNEL_CLOSE, struct.pack(">HBHH", 200, 0, 0, 0)) for number in range(1, 2048)])
        for _ in range(2047):
            wire.expect(CHANNEL_CLOSE_OK)
        wire.open_channel(1)


def test_channels_by_the_hundred_thousand(broker: Broker, bystander: Wire) -> None:
    before = resident_bytes(broker)
    with Wire(broker.amqp_url) as wire:
        wire.connect()
        for _ in range(100):
            wire.send((method(1, CHANNEL_OPEN, b"\x00") + method(1, CHANNEL_CLOSE, struct.pack(">HBHH", 200, 0, 0, 0))) * 1000)
            for _ in range(1000):
                wire.expect((20, 11))
                wire.expect(CHANNEL_CLOSE_OK)
        assert resident_bytes(broker) - before < 30 * 1024 * 1024


def test_unfinished_messages_on_many_channels(broker: Broker, bystander: Wire) -> None:
    with Wire(broker.amqp_url) as wire:
        wire.connect()
        wire.send(*[method(number, CHANNEL_OPEN, b"\x00") for number in range(1, 101)])
        for _ in range(100):
            wire.expect((20, 11))
        for number in range(1, 101):
            wire.send(publish(number, "", "q"), header(number, 100 << 20), frame(BODY, number, bytes(100_000)))
        works(bystander)


def test_a_peer_that_asks_and_never_reads(broker: Broker, bystander: Wire) -> None:
    """Its answers pile up to a limit; then it is not read any more, and its own sending stops."""
    with Wire(broker.amqp_url) as wire:
        wire.connect()
        wire.open_channel()
        wire.socket.settimeout(1.0)
        with pytest.raises(TimeoutError):
            flood(wire, declare(1, "q" * 200) * 500, 400 << 20)
        works(bystander)


def flood(wire: Wire, octets: bytes, limit: int) -> None:
    """Send and never read, up to `limit` octets."""
    sent = 0
    while sent < limit:
        sent += wire.socket.send(octets)


def test_a_consumer_that_never_reads(broker: Broker, bystander: Wire) -> None:
    with Wire(broker.amqp_url) as wire, Wire(broker.amqp_url) as publisher:
        publisher.connect()
        publisher.open_channel()
        publisher.send(declare(1, "deep"))
        publisher.expect(QUEUE_DECLARE_OK)
        wire.connect()
        wire.open_channel()
        wire.send(method(1, (60, 20), b"\x00\x00" + short("deep") + short("t") + b"\x02" + long(b"")))  # no-ack: no prefetch holds it
        body = bytes(100_000)
        for _ in range(30):  # of three workers each may hold 43 MB of it before the disk has it
            publisher.send((publish(1, "", "deep") + header(1, len(body)) + frame(BODY, 1, body)) * 10)
        publisher.send(declare(1, "deep", 1))
        publisher.expect(QUEUE_DECLARE_OK)
        works(bystander)


def test_lost_in_the_middle_of_anything(broker: Broker, bystander: Wire) -> None:
    """Cut after every so many octets of a whole conversation."""
    octets = (
        PROTOCOL_HEADER
        + method(0, (10, 11), long(b"") + short("PLAIN") + long(b"\0guest\0guest") + short("en_US"))
        + method(0, (10, 31), struct.pack(">HIH", 0, 131072, 0))
        + method(0, (10, 40), short("/") + b"\x00\x00")
        + method(1, CHANNEL_OPEN, b"\x00")
        + declare(1, "cut")
        + publish(1, "", "cut")
        + header(1, 5)
        + frame(BODY, 1, b"12345")
    )
    for end in range(0, len(octets), 7):
        with socket.create_connection(("127.0.0.1", broker.amqp_port), timeout=20) as connection:
            connection.sendall(octets[:end])
    works(bystander)
