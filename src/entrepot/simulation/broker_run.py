"""BrokerRun: the whole broker, AMQP session and all, over simulated network and disk; clients that come and go; machines that fail.

What must hold, of each durable queue: a message that was confirmed, or that somebody was given, is delivered until somebody accepts it;
what is delivered was published; no message is delivered twice without being marked redelivered; each consumer is given what a
publisher sent in its order, unless it is marked redelivered.
"""

from __future__ import annotations

from typing import Any, cast

from entrepot.broker.broker import Broker
from entrepot.broker.catalogue import Catalogue, CatalogueLimits
from entrepot.broker.state import default_folds
from entrepot.model.errors import EntrepotError
from entrepot.model.principal import Principal
from entrepot.net.network import Network, NetworkLimits
from entrepot.protocols.amqp091.handshake import Settings
from entrepot.protocols.amqp091.listener import AmqpListener
from entrepot.protocols.amqp091.records import AmqpEntryCodec
from entrepot.simulation.amqp_client import AmqpClient
from entrepot.simulation.disk import Crashed
from entrepot.simulation.loop import SimulatedClock, SimulatedLoop
from entrepot.simulation.network import SimulatedNetwork
from entrepot.simulation.store_model import Violation
from entrepot.simulation.store_run import Seams
from entrepot.store.interface import LOG_ID_SIZE
from entrepot.store.local.disk import Disk
from entrepot.store.local.opening import open_store
from entrepot.store.local.settings import StoreSettings
from entrepot.store.local.store import LocalStore

QUEUES = ("orders", "returns")
PUBLISHERS = 3
CONSUMERS = 3
CRASHES = 3
ACTIONS = 120  # between two crashes
_LIMITS = NetworkLimits(
    connections=100,
    connections_per_listener=100,
    accept_backlog=10,
    socket_output_bytes=65_536,
    connection_output_bytes=1 << 20,
    close_timeout_ms=1000,
    dead_peer_timeout_ms=60_000,
    unfinished_bytes=1 << 26,
)


class _Everyone:
    """Anybody may log in, and do anything."""

    version = 0

    def plain(self, name: str, password: str, peer: Any, done: Any) -> None:
        done(Principal(name))

    def authorize(self, *_: object) -> None:
        pass

    def authorize_namespace(self, *_: object) -> None:
        pass

    def may(self, *_: object) -> bool:
        return True


class BrokerRun:
    """One seed's run."""

    def __init__(self, seed: int, seams: Seams | None = None) -> None:
        seams = seams or Seams()
        self.loop = SimulatedLoop(seed)
        self.chance = self.loop.random
        self.disk = seams.disk(self.loop)
        self.clock = SimulatedClock(self.loop)
        self.entropy = seams.entropy(self.loop)
        self.settings = StoreSettings(
            journal_file_size=64 << 10, journal_ready_files=1, cache_size=self.chance.choice((0, 32 << 10, 1 << 20)), reserve_size=64 << 10, linger_ms=1
        )
        # this life of the broker
        self.network = SimulatedNetwork(self.loop)
        self.publishers: list[_Publisher] = []
        self.consumers: list[_Consumer] = []
        self.failed: BaseException | None = None
        # all lives
        self.serial = 0
        self.published: set[bytes] = set()
        self.must_arrive: set[bytes] = set()  # confirmed, or given to somebody
        self.accepted: set[bytes] = set()
        self.given_unmarked: set[bytes] = set()
        self.confirms = 0
        self.deliveries = 0

    def run(self) -> str:
        """Do all of it; the digest of the trace. Violation if the broker broke a promise."""
        for _ in range(CRASHES):
            self.start()
            try:
                for _ in range(ACTIONS):
                    self.act()
                self.disk.crash_after = self.chance.randint(1, 60)
                for _ in range(50 * ACTIONS):
                    self.act()
            except Crashed:
                pass
            self.loop.forget_all()
            if self.chance.random() < 0.7:
                self.disk.crash()
            else:
                self.disk.kill()
        self.start()
        self.drain()
        lost = self.must_arrive - self.accepted
        if lost:
            raise Violation(f"{len(lost)} messages are lost, such as {min(lost)[:40]!r}")
        return self.loop.digest()

    # ---- the broker

    def start(self) -> None:
        """Recover, and listen."""
        self.failed = None
        self.publishers = []
        self.consumers = []
        loop = cast("Any", self.loop)
        store = self._opened()
        catalogue = Catalogue(store, lambda: self.entropy.octets(LOG_ID_SIZE), CatalogueLimits(10, 100, 100, 100, 100, 100))
        catalogue.load()
        everyone = _Everyone()
        broker = Broker(
            scheduler=self.loop,
            clock=self.clock,
            entropy=self.entropy,
            store=store,
            volatile=store,
            catalogue=catalogue,
            authorizer=everyone,
            on_failed=self._store_failed,
        )
        broker.register(AmqpEntryCodec())
        broker.open()
        listener = AmqpListener(Network(loop, self.clock, _LIMITS), "simulated", 5672, port=broker, authenticator=everyone, settings=Settings())
        self.network.listen("amqp", listener._accept)  # noqa: SLF001 - what create_server() is given
        self.sessions = listener.network

    def _opened(self) -> LocalStore:
        disk = cast("Disk", self.disk)
        try:
            return open_store(disk, scheduler=self.loop, clock=self.clock, entropy=self.entropy, fold=default_folds().fold, settings=self.settings)
        except (EntrepotError, OSError) as error:
            raise Violation(f"the store does not open: {error!r}") from error

    def _store_failed(self, error: BaseException) -> None:
        self.failed = error

    # ---- its clients

    def act(self) -> None:
        """Somebody does something, and some time passes."""
        what = self.chance.random()
        if len(self.publishers) < PUBLISHERS:
            self.publishers.append(_Publisher(self, self.chance.choice(QUEUES)))
        elif len(self.consumers) < CONSUMERS:
            self.consumers.append(_Consumer(self, self.chance.choice(QUEUES), self.chance.choice((1, 5, 100))))
        elif what < 0.6:
            self.chance.choice(self.publishers).publish(self.chance.choice((1, 1, 5, 40)))
        elif what < 0.97:
            self.chance.choice(self.consumers).settle()
        elif what < 0.98:
            self.publishers.pop(self.chance.randrange(PUBLISHERS)).client.transport.abort()
        else:
            self.consumers.pop(self.chance.randrange(CONSUMERS)).client.transport.abort()
        self.loop.run_for(self.chance.choice((1e-5, 1e-3, 1e-2)))
        self.check()

    def check(self) -> None:
        """Nothing has gone wrong inside."""
        if self.failed is not None:
            raise Violation(f"the store failed on its own: {self.failed!r}") from self.failed
        if self.sessions.session_failures:
            raise Violation("a session failed by its own fault")

    def drain(self) -> None:
        """Accept everything, until nothing more comes."""
        consumers = [_Consumer(self, queue, 50) for queue in QUEUES]
        quiet_since = self.loop.time()
        while self.loop.time() - quiet_since < 5:
            before = self.deliveries
            for consumer in consumers:
                consumer.accept_all()
            self.loop.run_for(0.05)
            self.check()
            if self.deliveries > before:
                quiet_since = self.loop.time()

    def connect(self, client: AmqpClient) -> None:
        """A link to the broker."""
        self.network.connect("amqp", client)


class _Publisher:
    def __init__(self, run: BrokerRun, queue: str) -> None:
        self.run = run
        run.serial += 1
        self.name = b"%s-%04d" % (queue.encode(), run.serial)
        self.bodies: dict[int, bytes] = {}
        self.client = AmqpClient(queue)
        self.client.on_confirm = self.confirmed
        run.connect(self.client)

    def publish(self, count: int) -> None:
        if not self.client.ready or self.client.lost:
            return
        for _ in range(count):
            body = b"%s:%06d:" % (self.name, self.client.next_tag) + b"." * self.run.chance.choice((0, 0, 10, 100, 5000))
            self.run.published.add(body)
            self.bodies[self.client.publish(body)] = body

    def confirmed(self, low: int, high: int, acked: bool) -> None:
        for tag in range(low, high + 1):
            body = self.bodies.pop(tag, None)
            if body is not None and acked:
                self.run.confirms += 1
                self.run.must_arrive.add(body)


class _Consumer:
    def __init__(self, run: BrokerRun, queue: str, prefetch: int) -> None:
        self.run = run
        self.held: dict[int, bytes] = {}
        self.last: dict[bytes, bytes] = {}  # publisher -> the last unmarked body
        self.queue = queue
        self.prefetch = prefetch
        self.client = AmqpClient(queue, prefetch)
        self.client.on_delivery = self.delivered
        run.connect(self.client)

    def delivered(self, tag: int, redelivered: bool, body: bytes) -> None:
        run = self.run
        run.deliveries += 1
        if body not in run.published or not body.startswith(self.queue.encode()):
            raise Violation(f"queue {self.queue} delivered {body[:40]!r}, which nobody published to it")
        if not redelivered:
            publisher = body.split(b":")[0]
            if body in run.given_unmarked:
                raise Violation(f"{body[:40]!r} was delivered twice, and the second time is not marked redelivered")
            if self.last.get(publisher, b"") >= body:
                raise Violation(f"{body[:40]!r} was delivered after {self.last[publisher][:40]!r}")
            self.last[publisher] = body
            run.given_unmarked.add(body)
        run.must_arrive.add(body)
        self.held[tag] = body
        if len(self.held) > self.prefetch:
            raise Violation(f"a consumer with prefetch {self.prefetch} holds {len(self.held)} deliveries")

    def settle(self) -> None:
        """One of the things that consumers do with what they hold."""
        if not self.held or self.client.lost:
            return
        chance = self.run.chance
        tag = chance.choice(sorted(self.held))
        way = chance.random()
        if way < 0.1:
            del self.held[tag]
            self.client.requeue(tag)
        elif way < 0.5:
            self.run.accepted.add(self.held.pop(tag))
            self.client.ack(tag)
        else:
            for earlier in [held for held in self.held if held <= tag]:
                self.run.accepted.add(self.held.pop(earlier))
            self.client.ack(tag, multiple=True)

    def accept_all(self) -> None:
        """Everything it holds."""
        if self.held:
            last = max(self.held)
            self.run.accepted.update(self.held.values())
            self.held.clear()
            self.client.ack(last, multiple=True)
