"""MQTT sessions on a bench: their clients' bytes in, a whole broker behind them over a simulated loop, disk and clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mqtt_wire as wire

from entrepot.broker.broker import Broker
from entrepot.broker.catalogue.decisions import Decisions
from entrepot.broker.catalogue.stream import CatalogueStream
from entrepot.broker.state_kinds import default_folds
from entrepot.broker.users.credentials import ScramVerifier, derive
from entrepot.model.errors import Reason, Refused
from entrepot.model.principal import Principal
from entrepot.net.turns import Turns
from entrepot.protocols.amqp091.records import AmqpEntryCodec
from entrepot.protocols.mqtt.connecting import Settings
from entrepot.protocols.mqtt.records import MqttEntryCodec
from entrepot.protocols.mqtt.session import Session
from entrepot.simulation.disk import SimulatedDisk
from entrepot.simulation.loop import SimulatedClock, SimulatedEntropy, SimulatedLoop
from entrepot.store.local.opening import open_store
from entrepot.store.local.settings import StoreSettings
from entrepot.store.shard_time import ShardTime
from entrepot.store.volatile import VolatileStore

NS = "public/default"
VERSIONS = (3, 4, 5)
SMALL = StoreSettings(journal_file_size=1 << 20, journal_unsorted_max=64 << 20, cache_size=1 << 16, entry_count_max=64)
NAMES = {
    2: "CONNACK",
    3: "PUBLISH",
    4: "PUBACK",
    5: "PUBREC",
    6: "PUBREL",
    7: "PUBCOMP",
    9: "SUBACK",
    11: "UNSUBACK",
    13: "PINGRESP",
    14: "DISCONNECT",
    15: "AUTH",
}


class Authorizer:
    """Nobody is refused anything but what `forbidden` names: exchanges, queues, routing keys."""

    version = 0

    def __init__(self) -> None:
        self.forbidden: set[str] = set()

    def watch(self, tell: Any) -> None:
        pass

    def authorize(self, *asked: Any) -> None:
        if not self.may(*asked):
            raise Refused(Reason.NOT_PERMITTED, "no")

    def authorize_namespace(self, principal: Any, namespace: str) -> None:
        if principal.name == "stranger":
            raise Refused(Reason.NOT_PERMITTED, "not yours")

    def may(self, *asked: Any) -> bool:
        return not any(isinstance(one, str) and one in self.forbidden for one in asked)

    def may_some(self, *asked: Any) -> bool:
        return True


class Authenticator:
    """Whoever says its own name as its password; nobody is guest. `held` keeps the answers back."""

    def __init__(self) -> None:
        self.held: list[Callable[[], object]] | None = None
        self.open = True

    def plain(self, user: str, password: str, peer: Any, done: Callable[[Any], object]) -> None:
        principal = Principal(user) if user == password else None
        if self.held is None:
            done(principal)
        else:
            self.held.append(lambda: done(principal))

    def scram(self, name: str, mechanism: str, peer: Any) -> ScramVerifier:
        return derive(mechanism, name, b"salt", 4096)

    def scram_done(self, name: str, mechanism: str, verifier: ScramVerifier) -> Any:
        return Principal(name)

    def wrong(self, name: str, peer: Any, answer: Callable[[], object]) -> None:
        answer()

    def anonymous(self, peer: Any) -> Any:
        return Principal("guest") if self.open else None


class Bench:
    """`former`: a bench whose process is gone; this one starts on its disk."""

    def __init__(self, seed: int = 1, former: Bench | None = None) -> None:
        self.loop = SimulatedLoop(seed) if former is None else former.loop
        self.clock = SimulatedClock(self.loop)
        self.entropy = SimulatedEntropy(self.loop)
        self.disk = SimulatedDisk(self.loop) if former is None else former.disk
        fold = default_folds().fold
        self.store = open_store(self.disk, scheduler=self.loop, clock=self.clock, entropy=self.entropy, fold=fold, settings=SMALL)
        self.volatile = VolatileStore(self.loop, ShardTime(self.clock), fold)
        self.decisions = Decisions.over(CatalogueStream(self.store), lambda: self.entropy.octets(16))
        self.authorizer = Authorizer()
        self.failed: list[BaseException] = []
        self.broker = Broker(
            scheduler=self.loop,
            clock=self.clock,
            entropy=self.entropy,
            store=self.store,
            volatile=self.volatile,
            decisions=self.decisions,
            authorizer=self.authorizer,
            on_failed=self.failed.append,
        )
        self.broker.register(AmqpEntryCodec())
        self.broker.register(MqttEntryCodec())
        self.broker.open()
        self.authenticator = Authenticator()
        self.turns = Turns(self.loop.call_soon)
        self.clients: list[Client] = []
        self.names = 0

    def crash(self) -> Bench:
        """The process is gone, and another one starts on the same disk."""
        self.loop.forget_all()
        self.disk.crash()
        return Bench(former=self)

    def run(self, seconds: float = 0.05) -> None:
        """Let what is under way come to its end."""
        for _ in range(4):
            self.loop.run_for(seconds / 4)
            for client in self.clients:
                client.read()
        assert not self.failed

    def client(self, version: int = 5, settings: Settings | None = None) -> Client:
        self.clients.append(Client(self, version, settings or Settings()))
        return self.clients[-1]

    def connected(self, client_id: str = "c", version: int = 5, settings: Settings | None = None, **how: Any) -> Client:
        """Somebody who is connected; how: as of wire.connect()."""
        client = self.client(version, settings)
        client.send(wire.connect(version, client_id, **how))
        heard = client.hear()
        assert heard[0][0] == "CONNACK", heard
        assert heard[0][2] == 0, heard
        return client

    def queues(self) -> dict[str, Any]:
        return dict(self.decisions.catalogue.namespace(NS).queues)


class Client:
    """The peer of one session."""

    def __init__(self, bench: Bench, version: int, settings: Settings) -> None:
        self.bench = bench
        self.version = version
        self.notes: list[str] = []
        self.present = False
        self.rest: list[Any] = []  # what came behind CONNACK
        self.received = b""
        self.reads = True  # takes what it is sent
        bench.names += 1
        given = bench.broker, bench.authenticator, settings, f"s{bench.names}", bench.clock.wall_ms
        self.session = Session(*given, "peer", lambda: None, lambda text, *_: self.notes.append(text), bench.turns)

    def feed(self, data: bytes) -> None:
        position = 0
        while position < len(data):
            room = memoryview(self.session.get_buffer(-1))
            step = min(len(room), len(data) - position)
            room[:step] = data[position : position + step]
            position += step
            self.session.buffer_updated(step)

    def send(self, *packets: bytes) -> Client:
        """Octets of the client, as the connection takes them: it waits while it is paused."""
        for packet in packets:
            for _ in range(1000):
                if not self.session.paused:
                    break
                self.bench.run(0.004)
            self.feed(packet)
        return self

    def read(self) -> None:
        """Take what waits for the client."""
        if not self.reads:
            return
        parts = self.session.output.take()
        for part in parts:
            self.received += bytes(part)
        if parts:  # as the network says it
            self.session.flushed()

    def hear(self) -> list[tuple[Any, ...]]:
        """Packets that came meanwhile, as values."""
        self.bench.run()
        data, self.received = self.received, b""
        server = wire.Server(data, self.version)
        return [self.plain(kind, flags, rest) for kind, flags, rest in server.packets]

    def plain(self, kind: int, flags: int, rest: bytes) -> tuple[Any, ...]:
        name = NAMES[kind]
        if name == "PUBLISH":
            return name, wire.Server(b"", self.version).publish(flags, rest)
        if name == "CONNACK":
            return name, rest[0], rest[1], rest[2:]
        if name in ("PUBACK", "PUBREC", "PUBREL", "PUBCOMP"):
            assert flags == (2 if name == "PUBREL" else 0)
            return name, int.from_bytes(rest[:2], "big"), rest[2] if len(rest) > 2 else 0
        if name in ("SUBACK", "UNSUBACK"):
            return name, int.from_bytes(rest[:2], "big"), list(rest[3:] if self.version == 5 else rest[2:])
        return (name, rest[0] if rest else 0) if name in ("DISCONNECT", "AUTH") else (name,)

    def subscribe(self, topic_filter: bytes, options: int = 0, packet_id: int = 1, properties: bytes = b"\0") -> None:
        """SUBSCRIBE, granted."""
        self.send(wire.subscribe(packet_id, (topic_filter, options), properties=properties if self.version == 5 else b""))
        assert ("SUBACK", packet_id, [options & 3]) in self.hear()

    def publish(
        self, topic: bytes, payload: bytes = b"", qos: int = 0, packet_id: int = 1, *, retain: bool = False, properties: bytes = b"\0", **how: Any
    ) -> Client:
        return self.send(wire.publish(topic, payload, qos, packet_id, retain=retain, properties=properties if self.version == 5 else b"", **how))

    def ack(self, name: str, packet_id: int, rest: bytes = b"") -> Client:
        return self.send(wire.ack({"PUBACK": 4, "PUBREC": 5, "PUBREL": 6, "PUBCOMP": 7}[name], packet_id, rest))

    def lost(self) -> None:
        """Its socket is gone."""
        self.session.lost("gone")
        self.bench.clients.remove(self)

    @property
    def ended(self) -> bool:
        return self.session.closing or self.session.state >= 4

    def payloads(self) -> list[bytes]:
        """Of the PUBLISHes that came meanwhile."""
        return [one[1]["payload"] for one in self.hear() if one[0] == "PUBLISH"]
