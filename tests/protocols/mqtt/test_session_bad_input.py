"""What a client may not send, and what is not sent to it."""

from __future__ import annotations

import pytest
from mqtt_bench import Bench
from mqtt_wire import PING, listed, packet, publish, string, subscribe, u16, unsubscribe

from entrepot.protocols.mqtt.connecting import Settings
from entrepot.protocols.mqtt.negotiation import Offer


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize(
    ("octets", "code"),
    [
        (b"\x36\x03\0\1a", 0x81),  # QoS 3
        (b"\x38\x04\0\1a\0", 0x81),  # a duplicate of QoS 0
        (publish(b"a/#", b"", properties=b"\0"), 0x81),
        (publish(b"a", b"", 1, 0, properties=b"\0"), 0x82),
        (subscribe(1, properties=b"\0"), 0x82),
        (subscribe(1, (b"a", 3), properties=b"\0"), 0x82),
        (subscribe(1, (b"a", 0x30), properties=b"\0"), 0x82),
        (subscribe(1, (b"$share/g/a", 4), properties=b"\0"), 0x82),
        (b"\x80\x07\0\1\0\0\1a\0", 0x81),  # flags of SUBSCRIBE
        (packet(0x20, b"\0\0"), 0x82),  # a server's
        (packet(0xF0, b"\x18" + listed(b"\x15" + string("x"))), 0x82),
        (packet(0xE0, b"\x8b"), 0x82),
        (b"\x00\x00", 0x81),
        (b"\xc0\x01\x00", 0x81),
    ],
)
def test_what_breaks_the_protocol_ends_the_connection(bench: Bench, octets: bytes, code: int) -> None:
    client = bench.connected()
    client.send(PING + octets + PING)
    assert client.hear() == [("PINGRESP",), ("DISCONNECT", code)]
    assert client.ended
    assert client.notes


def test_a_packet_that_is_too_large(bench: Bench) -> None:
    client = bench.connected(settings=Settings(Offer(packet_max=1000)))
    client.publish(b"a", bytes(1000))
    assert client.hear() == [("DISCONNECT", 0x95)]


def test_many_filters_at_once(bench: Bench) -> None:
    client = bench.connected(settings=Settings(subscriptions_max=300))
    filters = [(b"t/%d" % (n % 350), n // 350 % 3) for n in range(1000)]
    client.send(subscribe(1, *filters, properties=b"\0"))
    ((_, _, codes),) = client.hear()
    assert codes == [n // 350 % 3 if n % 350 < 300 else 0x97 for n in range(1000)]
    client.publish(b"t/299", b"x", 2).publish(b"t/0", b"y", 2, 2)
    assert [(one[1]["payload"], one[1]["qos"]) for one in client.hear() if one[0] == "PUBLISH"] == [(b"x", 2), (b"y", 2)]
    client.send(unsubscribe(2, *[one for one, _ in filters], properties=b"\0"))
    ((_, _, codes),) = client.hear()
    assert codes == [0 if n < 300 else 0x11 for n in range(1000)]
    assert not client.session.subscriptions.no_local_count
    assert not [one for queue in bench.queues().values() for one in queue.bindings_in]


@pytest.mark.parametrize("qos", [0, 1])
def test_what_is_not_sent_is_settled_all_the_same(bench: Bench, qos: int) -> None:
    reader, writer = bench.connected("r", properties=listed(b"\x27\0\0\0\x40", b"\x21" + u16(3))), bench.connected("w")
    reader.subscribe(b"#", 1)
    for n in range(20):
        writer.publish(b"$apart" if n % 2 else b"a", bytes(100), qos, n + 1)
    writer.publish(b"a", b"short", 1, 30).hear()
    assert reader.payloads() == [b"short"]
    (queue,) = bench.queues().values()
    assert queue.runtime.depth() == 0
    (consumer,) = reader.session.attachment.consumers.values()
    assert consumer.leased == 1
