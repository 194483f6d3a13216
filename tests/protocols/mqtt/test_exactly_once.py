"""Clients by the book, whose connections end and whose broker crashes at any moment: each message of QoS 2 comes once, in its order (4.3, 4.4)."""

from __future__ import annotations

import random
from typing import Any

import mqtt_wire as wire
import pytest
from mqtt_bench import Bench, Client
from test_kept_sessions import connect

TOPIC = {1: b"q/1", 2: b"q/2"}


class Side:
    """A client with a session that is kept, over connections that come and go; it acknowledges later, in order."""

    def __init__(self, chance: random.Random, name: str) -> None:
        self.chance = chance
        self.name = name
        self.client: Client | None = None
        self.due: list[bytes] = []  # acknowledgements that it has not sent yet
        self.sent: dict[int, tuple[str, int, bytes]] = {}  # outgoing by identifier: PUBLISH or PUBREL, QoS, payload; in order
        self.next_id = 0
        self.count = 0  # packets that it was sent
        self.held: set[int] = set()  # incoming of QoS 2
        self.received: dict[int, list[bytes]] = {1: [], 2: []}

    def connect(self, bench: Bench) -> None:
        """Once more, perhaps while the former connection is still there."""
        former, self.client = self.client, bench.client(5)
        self.due = []
        self.client.send(connect(self.name, 5, 100_000, False, b"\x21" + wire.u16(self.chance.choice((1, 4, 50)))))
        for packet_id, (kind, qos, payload) in self.sent.items():
            again = wire.ack(6, packet_id) if kind == "PUBREL" else wire.publish(TOPIC[qos], payload, qos, packet_id, dup=True, properties=b"\0")
            self.client.send(again)
        if former is not None and former in bench.clients:
            former.lost()

    def publish(self, payload: bytes, qos: int) -> None:
        self.next_id = self.next_id % 9 + 1
        if self.client is not None and self.next_id not in self.sent:
            self.sent[self.next_id] = "PUBLISH", qos, payload
            self.client.send(wire.publish(TOPIC[qos], payload, qos, self.next_id, properties=b"\0"))

    def work(self) -> None:
        """Hear, and say some of what is due."""
        if self.client is None:
            return
        for one in self.client.hear():
            self.count += 1
            self.heard(*one)
        while self.due and self.chance.random() < 0.8:
            self.client.send(self.due.pop(0))

    def heard(self, name: str, *more: Any) -> None:
        if name == "PUBLISH":
            message = more[0]
            if message["qos"] == 1 or message["id"] not in self.held:
                self.received[message["qos"]].append(message["payload"])
            if message["qos"] == 2:
                self.held.add(message["id"])
            self.due.append(wire.ack(4 if message["qos"] == 1 else 5, message["id"]))
        elif name == "PUBREL":
            self.held.discard(more[0])
            self.due.append(wire.ack(7, more[0]))
        elif name == "PUBACK":
            self.sent.pop(more[0], None)
        elif name == "PUBREC" and more[0] in self.sent:
            assert more[1] in (0, 0x10)
            _, qos, payload = self.sent[more[0]]
            self.sent[more[0]] = "PUBREL", qos, payload
            self.due.append(wire.ack(6, more[0]))
        elif name == "PUBCOMP":
            self.sent.pop(more[0], None)


@pytest.mark.parametrize("seed", range(12))
def test_exactly_once(seed: int) -> None:
    chance, bench = random.Random(seed), Bench(seed)
    writer, reader = Side(chance, "w"), Side(chance, "r")
    sides = (writer, reader)
    for side in sides:
        side.connect(bench)
    assert reader.client is not None
    reader.client.subscribe(b"q/+", 2)
    published: dict[int, list[bytes]] = {1: [], 2: []}
    for number in range(150):
        qos = chance.choice((1, 2, 2))
        before = dict(writer.sent)
        writer.publish(b"%d" % number, qos)
        if writer.sent != before:
            published[qos].append(b"%d" % number)
        for side in sides:
            if chance.random() < 0.7:
                side.work()
        event = chance.random()
        if event < 0.04:
            chance.choice(sides).connect(bench)
        elif event < 0.06:
            bench = bench.crash()
            for side in sides:
                side.client = None
                side.connect(bench)
    quiet = 0
    while quiet < 5:
        had = reader.count + writer.count
        for side in sides:
            side.work()
        is_quiet = had == reader.count + writer.count and not any((side.sent or side.due) for side in sides)
        quiet = quiet + 1 if is_quiet else 0
    assert not writer.sent
    assert reader.received[2] == published[2]
    firsts = list(dict.fromkeys(reader.received[1]))
    assert firsts == published[1]
    assert reader.client is not None
    assert reader.client.session.flights.count == 0
    assert writer.client is not None
    assert writer.client.session.incoming.count == 0
    assert not reader.held
    assert bench.queues()["mqtt.r"].runtime.depth() == 0
