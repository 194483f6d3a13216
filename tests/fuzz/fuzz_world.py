"""World: a whole broker with all its listeners in virtual time, and wires to them that a fuzzer writes to. One seed is one world.

The sessions, the connections of net and the broker are the real ones; the loop is the simulator's, the store is in memory, and a wire is what
takes the socket's place. What goes wrong is a Finding: an exception that leaves a session or a callback, work without end, memory that is held.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from entrepot.authentication import Authenticator
from entrepot.broker.broker import Broker
from entrepot.broker.calls.administration import MakeNamespace
from entrepot.broker.catalogue.decisions import Decisions
from entrepot.broker.catalogue.quotas import QuotaLimits
from entrepot.broker.catalogue.stream import CatalogueStream
from entrepot.broker.operations.administration import Administration
from entrepot.broker.state_kinds import default_folds
from entrepot.broker.users.authorization import Authorizer
from entrepot.broker.users.credentials import ITERATIONS_MIN
from entrepot.broker.users.secret_box import KEY_SIZE, SecretBox
from entrepot.broker.users.users import Permission, Users
from entrepot.http.health import Health
from entrepot.http.listener import HttpListener
from entrepot.metrics import Metrics
from entrepot.model.names import DEFAULT_NAMESPACE
from entrepot.net.network import Network, NetworkLimits
from entrepot.net.pages import Pages
from entrepot.net.websocket import Terms, around
from entrepot.protocols.amqp091.handshake import Settings as AmqpSettings
from entrepot.protocols.amqp091.listener import AmqpListener
from entrepot.protocols.amqp091.records import AmqpEntryCodec
from entrepot.protocols.kafka.listener import KafkaListener
from entrepot.protocols.kafka.record_batch import BatchValidator
from entrepot.protocols.kafka.records import KafkaEntryCodec
from entrepot.protocols.kafka.session import Settings as KafkaSettings
from entrepot.protocols.kafka.session import Shared as KafkaShared
from entrepot.protocols.mqtt import protocol as mqtt_protocol
from entrepot.protocols.mqtt.connecting import Settings as MqttSettings
from entrepot.protocols.mqtt.listener import MqttListener
from entrepot.protocols.mqtt.negotiation import Offer
from entrepot.protocols.mqtt.records import MqttEntryCodec
from entrepot.protocols.sqs.accounts import Accounts
from entrepot.protocols.sqs.callers import Callers
from entrepot.protocols.sqs.cors import Cors
from entrepot.protocols.sqs.listener import SqsListener
from entrepot.protocols.sqs.records import SqsEntryCodec
from entrepot.protocols.sqs.session import Shared as SqsShared
from entrepot.protocols.sqs.settings import Settings as SqsSettings
from entrepot.protocols.stomp import protocol as stomp_protocol
from entrepot.protocols.stomp.handshake import Settings as StompSettings
from entrepot.protocols.stomp.listener import StompListener
from entrepot.protocols.stomp.records import StompEntryCodec
from entrepot.simulation.loop import Handle, SimulatedClock, SimulatedEntropy, SimulatedLoop
from entrepot.store.interface import LOG_ID_SIZE
from entrepot.store.shard_time import ShardTime
from entrepot.store.volatile import VolatileStore

USER, PASSWORD = "alice", "wonderland"
CALLBACKS_MAX = 50_000  # that one run of the loop may take: more is work without end
HELD_MAX_BYTES = 8 << 20  # of answers, by one connection whose peer does not read
UNFINISHED_BYTES = 4 << 20
UNPACKED_BYTES = 1 << 20
LISTENERS = ("amqp", "amqps", "kafka", "kafkas", "sqs", "sqss", "stomp", "stomps", "http", "stomp-ws", "mqtt", "mqtts", "mqtt-ws")
PORTS = dict(zip(LISTENERS, (5672, 5671, 9092, 9093, 9324, 9325, 61613, 61614, 8080, 15674, 1883, 8883, 15675), strict=True))
_NETWORK = NetworkLimits(
    connections=100,
    connections_per_listener=50,
    accept_backlog=10,
    socket_output_bytes=65_536,
    connection_output_bytes=65_536,
    close_timeout_ms=1000,
    dead_peer_timeout_ms=60_000,
    unfinished_bytes=UNFINISHED_BYTES,
    strangers_per_listener=100,
    strangers_per_address=100,
    strangers_bytes=UNFINISHED_BYTES,
)


def _mqtt_settings() -> MqttSettings:
    offer = Offer(receive_maximum=50, packet_max=1 << 20, topic_alias_maximum=5, in_flight_max=20, session_expiry_max_s=600)
    return MqttSettings(offer, subscriptions_max=100, queued_max=1000)


class Finding(AssertionError):
    """The broker did what no input may make it do."""


class Loop(SimulatedLoop):
    """The simulator's, which runs what threads would by itself, and knows the longest step where `measured`: in seconds of the thread's own processor time."""

    def __init__(self, seed: int, measured: bool) -> None:
        super().__init__(seed)
        self.measured = measured
        self.longest_s = 0.0
        self.longest = ""

    def timed(self, what: object, function: Callable[..., object], *args: Any) -> None:
        """Call it, and remember how long it took if that was long."""
        if not self.measured:
            function(*args)
            return
        begun = time.thread_time()
        function(*args)
        took = time.thread_time() - begun
        if took > self.longest_s:
            self.longest_s = took
            self.longest = str(what)

    def perform(self, handle: Handle) -> None:
        """See SimulatedLoop."""
        self.timed(handle.callback, handle.callback, *handle.args)

    def run_for(self, seconds: float) -> None:
        """See SimulatedLoop. Finding: there is no end of it."""
        end = self._now + seconds
        last = self.steps + CALLBACKS_MAX + int(seconds) * 1000
        reached = self.call_at(end, _nothing)
        while self._now < end and self.step():
            if self.steps > last:
                following = self._soon[0].callback if self._soon else None
                raise Finding(f"{CALLBACKS_MAX} callbacks in {seconds} s of virtual time, the next of them {following}")
        reached.cancel()

    def run_in_executor(self, executor: object, function: Callable[[], object]) -> _Done:
        """See asyncio: it is done in the loop's next turn."""
        return _Done(self, function)


class _Done:
    """What run_in_executor() gives."""

    def __init__(self, loop: Loop, function: Callable[[], object]) -> None:
        self._loop = loop
        self._function = function

    def add_done_callback(self, callback: Callable[[Any], object]) -> Handle:
        return self._loop.call_soon(callback, self)

    def cancelled(self) -> bool:
        return False

    def result(self) -> object:
        return self._function()


def _nothing() -> None:
    pass


class Wire:
    """A client's end of a connection, and the transport of the broker's. `client` hears connection_made, data_received and connection_lost."""

    def __init__(self, world: World, name: str, client: Any) -> None:
        self.world = world
        self.name = name
        self.client = client
        self.outgoing = bytearray()  # to the broker, not yet read
        self.incoming = bytearray()  # from the broker, not yet read
        self.reads = True  # whether the client takes what comes
        self.lost = False
        self._reading = True
        self._writer_paused = False
        self.connection = world.listeners[name]._accept()
        self.connection.connection_made(_Socket(self))
        client.connection_made(self)

    # ---- the client's end

    def write(self, data: bytes) -> None:
        """Send bytes to the broker, which reads them in the loop's next turn."""
        self.outgoing += data
        self.world.loop.call_soon(self._arrive)

    def push(self, data: bytes) -> None:
        """Send bytes to the broker, which reads them at once if it reads. Not for who is being called."""
        self.outgoing += data
        self._arrive()

    def abort(self) -> None:
        """The client goes away without a word."""
        self.end(ConnectionResetError("connection reset by peer"))

    def read_on(self) -> None:
        """The client takes what waits, and what comes."""
        self.reads = True
        data, self.incoming = bytes(self.incoming), bytearray()
        if data and not self.lost:
            self.client.data_received(data)
        if self._writer_paused and not self.lost:
            self._writer_paused = False
            self.world.loop.timed("resume_writing", self.connection.resume_writing)

    # ---- the broker's end

    def _arrive(self) -> None:
        while self.outgoing and self._reading and not self.lost:
            buffer = memoryview(self.connection.get_buffer(-1))
            count = min(len(self.outgoing), len(buffer))
            buffer[:count] = self.outgoing[:count]
            buffer.release()
            del self.outgoing[:count]
            self.world.loop.timed(self.name, self.connection.buffer_updated, count)

    def resume(self) -> None:
        """The broker reads again."""
        self._reading = True
        self.world.loop.call_soon(self._arrive)

    def pause(self) -> None:
        """The broker does not read."""
        self._reading = False

    def take(self, data: bytes) -> None:
        """The broker has sent bytes."""
        if self.lost:
            return
        if self.reads:
            self.client.data_received(bytes(data))
            return
        self.incoming += data
        if len(self.incoming) > HELD_MAX_BYTES:
            raise Finding(f"{self.name}: {len(self.incoming)} bytes were sent to a peer that does not read")
        if len(self.incoming) > _NETWORK.socket_output_bytes and not self._writer_paused:
            self._writer_paused = True
            self.connection.pause_writing()

    def end(self, error: Exception | None) -> None:
        """The connection is over, for both."""
        if not self.lost:
            self.lost = True
            self.world.wires.discard(self)
            self.world.loop.call_soon(self.connection.connection_lost, error)
            self.client.connection_lost(error)


class _Socket:
    """The transport that a Connection has."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def get_extra_info(self, name: str) -> Any:
        if name == "socket":
            return SimpleNamespace(family=socket.AF_UNIX)
        return ("127.0.0.1", 40_000) if name == "peername" else ("127.0.0.1", PORTS[self._wire.name])

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def write(self, data: bytes) -> None:
        self._wire.take(data)

    def writelines(self, parts: list[bytes]) -> None:
        self._wire.take(b"".join(parts))

    def pause_reading(self) -> None:
        self._wire.pause()

    def resume_reading(self) -> None:
        self._wire.resume()

    def close(self) -> None:
        self._wire.end(None)

    def abort(self) -> None:
        self._wire.end(None)

    def is_closing(self) -> bool:
        return self._wire.lost


class World:
    """See the module. `has_users`: somebody beside the guest may log in, so nobody gets in without credentials. `measured`: see Loop."""

    def __init__(self, seed: int, has_users: bool, measured: bool = False) -> None:
        self.loop = loop = Loop(seed, measured)
        self.clock = SimulatedClock(loop)
        self.entropy = entropy = SimulatedEntropy(loop)
        self.has_users = has_users
        self.wires: set[Wire] = set()
        self.failed: BaseException | None = None
        fold = default_folds().fold
        store = VolatileStore(loop, ShardTime(self.clock), fold)
        box = SecretBox(entropy.octets(KEY_SIZE), entropy)
        stream = CatalogueStream(store)
        self.users = Users(stream, self.clock, entropy, lambda: box, iterations=ITERATIONS_MIN)
        self.users.load()
        self.decisions = Decisions.over(stream, lambda: entropy.octets(LOG_ID_SIZE), QuotaLimits(20, 100, 200, 100, 64, 1000))
        self.catalogue = self.decisions.catalogue
        self.broker = Broker(
            scheduler=loop,
            clock=self.clock,
            entropy=entropy,
            store=store,
            volatile=store,
            decisions=self.decisions,
            authorizer=Authorizer(self.users),
            on_failed=self._store_failed,
        )
        for codec in (AmqpEntryCodec(), KafkaEntryCodec(UNPACKED_BYTES), SqsEntryCodec(), StompEntryCodec(), MqttEntryCodec()):
            self.broker.register(codec)
        self.administration = Administration(self.broker, self.users)
        self.broker.open()
        if DEFAULT_NAMESPACE not in self.catalogue.namespaces:
            self.decisions.create_namespace(DEFAULT_NAMESPACE)
        self.access_key = ("", "")
        if has_users:
            self.users.add_user(USER, PASSWORD)
            self.users.set_permission(USER, DEFAULT_NAMESPACE, Permission("([^c]|c[^a]).*", "([^c]|c[^a]).*", "([^c]|c[^a]).*"))
            key, secret = self.users.add_access_key(USER)
            self.access_key = (key.id, secret)
        self.network = Network(cast("Any", loop), self.clock, _NETWORK)
        self._listen()
        self.network._sweep()
        loop.run_for(0.01)

    def _make_namespace(self, name: str, made: Any) -> None:
        self.administration.ask(MakeNamespace(name), lambda error, _: self.loop.call_soon(made, error))

    def _listen(self) -> None:
        network, loop = self.network, self.loop
        authenticator = Authenticator(self.users, cast("Any", loop), self.clock)
        accounts = Accounts(self.catalogue.namespaces, self._make_namespace)
        pages = Pages(())
        callers = Callers(self.users, authenticator, accounts, "", self.clock, pages, Cors(("*", "http://localhost:3000")))
        kafka = self.kafka_shared = KafkaShared(self.entropy, BatchValidator(UNPACKED_BYTES), loop.call_soon, network.unfinished, network.strangers)
        sqs = SqsShared(callers, self.clock, self.entropy, loop.call_soon, network.unfinished, network.strangers)
        self.listeners: dict[str, Any] = {}
        for name in LISTENERS:
            at: Any = (network, "127.0.0.1", PORTS[name])
            tls: Any = object() if name in ("amqps", "kafkas", "sqss", "stomps", "mqtts") else None  # the bytes are those behind TLS
            if name.startswith("amqp"):
                amqp_settings = AmqpSettings(message_size_max=1 << 20, channel_max=64)
                self.listeners[name] = AmqpListener(*at, port=self.broker, authenticator=authenticator, settings=amqp_settings, tls=tls)
            elif name.startswith("kafka"):
                settings = KafkaSettings(produce_size_max=1 << 20, request_size_max=1 << 20, fetch_size_max=1 << 20)
                self.listeners[name] = KafkaListener(*at, port=self.broker, authenticator=authenticator, settings=settings, shared=kafka, tls=tls)
            elif name.startswith("stomp"):
                of: Any = {"settings": StompSettings(message_size_max=1 << 20), "new_name": lambda: self.entropy.octets(9).hex(), "wall_ms": self.clock.wall_ms}
                self.listeners[name] = StompListener(*at, port=self.broker, authenticator=authenticator, tls=tls, **of)
            elif name.startswith("mqtt"):
                of = {"settings": _mqtt_settings(), "new_name": lambda: self.entropy.octets(9).hex(), "wall_ms": self.clock.wall_ms}
                self.listeners[name] = MqttListener(*at, port=self.broker, authenticator=authenticator, tls=tls, **of)
            elif name.startswith("sqs"):
                self.listeners[name] = SqsListener(*at, port=self.broker, settings=SqsSettings(1 << 20, 5.0, 60.0), shared=sqs, tls=tls)
            else:
                self.listeners[name] = HttpListener(*at, Health(Metrics(), lambda: None), 65_536, pages=pages, has_users=self.users.has_own)
            if name.endswith("-ws"):
                spoken: Any = stomp_protocol if name.startswith("stomp") else mqtt_protocol
                terms = Terms(spoken.PATHS, spoken.SUBPROTOCOLS, 5.0, names_subprotocol=name.startswith("mqtt"))
                self.listeners[name] = around(network, self.listeners[name], name, terms, (), pages)
        network.listeners.extend(self.listeners.values())

    def connect(self, name: str, client: Any) -> Wire:
        """A connection to a listener."""
        wire = Wire(self, name, client)
        self.wires.add(wire)
        return wire

    def run_for(self, seconds: float) -> None:
        """Let time pass, and see that nothing broke."""
        self.loop.run_for(seconds)
        self.check()

    def check(self) -> None:
        """Nothing has gone wrong inside, and what is held is within its limits."""
        if self.network.session_failures:
            raise Finding("a session failed by its own fault")
        if self.failed is not None:
            raise Finding("the store failed") from self.failed
        if self.network.unfinished.held_bytes > UNFINISHED_BYTES:
            raise Finding(f"{self.network.unfinished.held_bytes} bytes of unfinished requests are held")
        if self.network.strangers.held_bytes > UNFINISHED_BYTES:
            raise Finding(f"{self.network.strangers.held_bytes} bytes of requests before a login are held")
        for wire in self.wires:
            held = wire.connection.output.size if wire.connection.output is not None else 0
            if held > HELD_MAX_BYTES:
                raise Finding(f"{wire.name}: {held} bytes wait for a peer that does not read")

    def leave(self) -> None:
        """Everybody goes, and time passes until what outlives a connection has ended. Finding: something is left behind."""
        for wire in list(self.wires):
            wire.abort()
        self.run_for(1.0)
        self.run_for(1900.0)  # the longest session of a member of a group
        figures = self.broker.statistics()
        left = {
            "connections": self.network.connection_count,
            "unfinished bytes": self.network.unfinished.held_bytes + self.network.strangers.held_bytes,
            "attachments": int(figures["attachments"]),
            "consumers": int(figures["consumers"]),
            "members of groups": int(figures["group_members"]),
            "fetch sessions": self.kafka_shared.fetch_slots.count,
            "exclusive queues": sum(1 for queue in self.catalogue.queues() if queue.exclusive_to is not None),
        }
        left = {what: count for what, count in left.items() if count}
        if left:
            raise Finding(f"nobody is connected any more, and there are still {left}")

    def _store_failed(self, error: BaseException) -> None:
        self.failed = error
