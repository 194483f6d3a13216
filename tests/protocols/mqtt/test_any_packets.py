"""Whatever clients send, in whatever order and pieces: nothing breaks, all that is told is a packet, and nobody leaves anything behind."""

from __future__ import annotations

import random
from typing import Any

import mqtt_wire as wire
import pytest
from mqtt_bench import Bench, Client

from entrepot.protocols.mqtt.connecting import Settings
from entrepot.protocols.mqtt.negotiation import Offer

TOPICS = (b"a", b"a/b", b"a/b/c", b"$x/a", b"long/topic/of/several/levels", b"$SYS/x", b"", b"+", b"x" * 256)
FILTERS = (b"a", b"a/+", b"#", b"+/b/#", b"$share/g/a", b"$share/g/#", b"$share/h/a/+", b"$x/#", b"a#", b"", b"/", b"$share/g", b"x" * 256)
SETTINGS = Settings(Offer(receive_maximum=5, packet_max=5000, topic_alias_maximum=2, in_flight_max=4), subscriptions_max=6, queued_max=20)


class Chance(random.Random):
    """A client's packets, mostly right."""

    def listed(self, version: int, *items: bytes) -> bytes:
        if version != 5:
            return b""
        return wire.listed(*[item for item in items if self.random() < 0.2])

    def packet_id(self) -> int:
        return self.choice((0, 1, 2, 3, 4, 5, 6, 7, 49_152, 49_153, 49_154)) if self.random() < 0.5 else self.randrange(1, 20)

    def connect(self, version: int) -> bytes:
        will = self.random() < 0.4
        flags = self.choice((0, 2, 2)) | (4 | self.randrange(3) << 3 | self.choice((0, 32)) if will else 0)
        properties = self.listed(version, b"\x11" + wire.u32(self.choice((0, 1, 100, 0xFFFFFFFF))), b"\x21" + wire.u16(self.choice((1, 3, 500))),
                                 b"\x22" + wire.u16(self.choice((0, 3))), b"\x27" + wire.u32(self.choice((0, 20, 100))))  # fmt: skip
        rest = b""
        if will:
            rest = self.listed(version, b"\x18" + wire.u32(1), wire.expiry(3)) + wire.string(self.choice(TOPICS[:5])) + wire.string(b"will")
        return wire.connect(version, self.choice((b"a", b"b", b"c", b"")), flags=flags, properties=properties, rest=rest, keep_alive=self.choice((0, 5)))

    def packet(self, version: int) -> bytes:
        what = self.randrange(12)
        if what < 4:
            qos = self.randrange(3)
            properties = self.listed(
                version,
                wire.expiry(self.randrange(4)),
                wire.alias(self.choice((1, 2, 1, 2, 1, 2, 0, 3))),
                wire.user("k", "v"),
                b"\x0b\x01" if self.random() < 0.1 else b"",
            )
            topic = self.choice(TOPICS[:5]) if self.random() < 0.97 else self.choice(TOPICS)
            return wire.publish(topic, bytes(self.choice((0, 1, 100, 3000))), qos, self.packet_id() or 1, retain=self.random() < 0.2, properties=properties)
        if what < 6:
            filters = [
                (self.choice(FILTERS), self.choice((0, 1, 2, 1, 8, 16, 4 if self.random() < 0.3 else 2)) if version == 5 else self.randrange(3))
                for _ in range(self.randrange(1, 4))
            ]
            return wire.subscribe(self.packet_id() or 1, *filters, properties=self.listed(version, b"\x0b\x07") if version == 5 else b"")
        if what == 6:
            return wire.unsubscribe(self.packet_id() or 1, self.choice(FILTERS), self.choice(FILTERS), properties=self.listed(version) if version == 5 else b"")
        if what < 10:
            return wire.ack(self.randrange(4, 8), self.packet_id() or 1, b"\x97" if version == 5 and self.random() < 0.05 else b"")
        if what == 10:
            return self.choice((wire.DISCONNECT, self.connect(version))) if self.random() < 0.2 else wire.PING
        return self.damaged(self.packet(version)) if self.random() < 0.1 else wire.PING

    def damaged(self, octets: bytes) -> bytes:
        changed = bytearray(octets)
        for _ in range(self.randrange(1, 4)):
            at = self.randrange(len(changed))
            if self.random() < 0.7:
                changed[at] = self.randrange(256)
            else:
                del changed[at:]
                changed += b"\0"
        return bytes(changed)


def arrived(client: Client) -> None:
    """What it was sent are packets; it acknowledges some of them."""
    for name, *more in client.hear():
        if client.ended or client.session.paused:
            continue
        if name == "PUBLISH" and more[0]["qos"]:
            client.feed(wire.ack(4 if more[0]["qos"] == 1 else 5, more[0]["id"]))
        elif name == "PUBREL":
            client.feed(wire.ack(7, more[0]))


@pytest.mark.parametrize("seed", range(20))
def test_any_packets(seed: int) -> None:
    chance, bench = Chance(seed), Bench(seed)
    for _ in range(60):
        if len(bench.clients) < 4:
            version = chance.choice((3, 4, 5, 5))
            client = bench.client(version, SETTINGS)
            feed(chance, client, chance.connect(version))
        client = chance.choice(bench.clients)
        for _ in range(chance.randrange(1, 6)):
            feed(chance, client, chance.packet(client.version))
        for one in list(bench.clients):
            one.reads = chance.random() < 0.9
            arrived(one)
            assert len(one.session.held) <= 40
            assert one.session.flights.count <= 4 + one.session.last_place * 4
            if one.session.closing or chance.random() < 0.05:
                one.lost()
        if chance.random() < 0.1:
            bench.run(chance.choice((0.5, 3.0)))
        if chance.random() < 0.1:
            for one in bench.clients:
                one.session.deadline_reached(bench.loop.time())
    for one in list(bench.clients):
        one.lost()
    bench.run(1.0)
    statistics: dict[str, Any] = bench.broker.statistics()
    assert statistics["attachments"] == 0
    assert statistics["consumers"] == 0
    assert not [queue for queue in bench.queues().values() if queue.exclusive_to is not None]


def feed(chance: random.Random, client: Client, octets: bytes) -> None:
    """In pieces, as the connection would: not while it is paused, or closed."""
    pos = 0
    while pos < len(octets) and not client.session.closing:
        for _ in range(100):
            if not client.session.paused:
                break
            client.bench.run(0.01)
        size = chance.choice((1, 3, 10_000))
        client.feed(octets[pos : pos + size])
        pos += size
