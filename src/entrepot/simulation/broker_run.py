"""BrokerRun: the whole broker, AMQP session and all, over simulated network and disk; clients that come and go; machines that fail.

What must hold, of each durable queue: a message that was confirmed, or that somebody was given, is delivered until somebody accepts it;
what is delivered was published; no message is delivered twice without being marked redelivered; each consumer is given what a
publisher sent in its order, unless it is marked redelivered. Where deliveries are limited, each says of how many others it comes after, all
that anybody saw among them, and after the last the message is in the dead-letter queue.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, cast

from entrepot.net.network import Network
from entrepot.protocols.amqp091.handshake import Settings
from entrepot.protocols.amqp091.listener import AmqpListener
from entrepot.simulation.amqp_client import AmqpClient, number_field, text_field
from entrepot.simulation.crashing_run import NETWORK_LIMITS, CrashingRun
from entrepot.simulation.network import SimulatedNetwork
from entrepot.simulation.store_model import Violation
from entrepot.simulation.store_run import Seams

LIMIT = 1
DEAD = "dead"
QUEUES = {
    "orders": b"",
    "returns": b"",
    "fragile": text_field("x-queue-type", "quorum")
    + number_field("x-delivery-limit", LIMIT)
    + text_field("x-dead-letter-exchange", "")
    + text_field("x-dead-letter-routing-key", DEAD),
}
PUBLISHERS = 3
CONSUMERS = 3
ACTIONS = 120  # between two crashes


class BrokerRun(CrashingRun):
    """One seed's run."""

    actions = ACTIONS

    def __init__(self, seed: int, seams: Seams | None = None) -> None:
        super().__init__(seed, seams)
        # this life of the broker
        self.network = SimulatedNetwork(self.loop)
        self.publishers: list[_Publisher] = []
        self.consumers: list[Consumer] = []
        # all lives
        self.published: set[bytes] = set()
        self.must_arrive: set[bytes] = set()  # confirmed, or given to somebody
        self.accepted: set[bytes] = set()
        self.accepted_by: dict[bytes, Consumer] = {}  # in this life
        self.given_unmarked: set[bytes] = set()
        self.given_of_limit: Counter[bytes] = Counter()
        self.settled: set[bytes] = set()  # for certain: accepted in a transaction that was done
        self.void: set[bytes] = set()  # published in transactions that certainly were not done
        self.confirms = 0
        self.deliveries = 0
        self.dead = 0

    def conclude(self) -> None:
        """See CrashingRun."""
        for queue in QUEUES:
            leased = self.broker.catalogue.namespace("public/default").queues[queue].runtime.subscription.leased_count
            if leased:
                raise Violation(f"{leased} records of queue {queue} are held, though all were accepted")
        lost = self.must_arrive - self.accepted
        if lost:
            raise Violation(f"{len(lost)} messages are lost, such as {min(lost)[:40]!r}")

    # ---- the broker

    def start(self) -> None:
        """Recover, and listen."""
        self.publishers = []
        self.consumers = []
        self.accepted_by.clear()
        loop = cast("Any", self.loop)
        broker = self.broker = self.recovered()
        listener = AmqpListener(Network(loop, self.clock, NETWORK_LIMITS), "simulated", 5672, port=broker, authenticator=self.everyone, settings=Settings())
        self.network.listen("amqp", listener._accept)  # noqa: SLF001 - what create_server() is given
        self.sessions = listener.network
        self.consumers = [Consumer(self, DEAD, 100)]
        while not self.consumers[0].client.ready:  # the queue is there before anything dies
            self.loop.run_for(1e-3)
            self.check_store()

    # ---- its clients

    def act(self) -> None:
        """Somebody does something, and some time passes."""
        what = self.chance.random()
        if len(self.publishers) < PUBLISHERS:
            self.publishers.append(_Publisher(self, self.chance.choice(list(QUEUES))))
        elif len(self.consumers) < CONSUMERS:
            self.consumers.append(Consumer(self, self.chance.choice(list(QUEUES)), self.chance.choice((1, 5, 100))))
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
        self.check_store()
        if self.sessions.session_failures:
            raise Violation("a session failed by its own fault")

    def drain(self) -> None:
        """Accept everything, until nothing more comes."""
        consumers = self.consumers + [Consumer(self, queue, 50) for queue in (*QUEUES, DEAD)]
        for _ in range(40):
            self.wandering.step()
            for consumer in consumers:
                consumer.accept_all()
            self.loop.run_for(0.01)
        self.wandering.come_home()
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
        """A door to the broker."""
        self.network.connect("amqp", client)


class _Publisher:
    def __init__(self, run: BrokerRun, queue: str) -> None:
        self.run = run
        run.serial += 1
        self.name = b"%s-%04d" % (queue.encode(), run.serial)
        self.bodies: dict[int, bytes] = {}  # by delivery tag
        self.sent = 0
        self.client = AmqpClient(queue, arguments=QUEUES[queue])
        self.client.on_confirm = self.confirmed
        self.client.on_closed = self.bodies.clear
        run.connect(self.client)

    def publish(self, count: int) -> None:
        if not self.client.ready or self.client.lost:
            return
        for _ in range(count):
            self.sent += 1
            body = b"%s:%06d:" % (self.name, self.sent) + b"." * self.run.chance.choice((0, 0, 10, 100, 5000))
            self.run.published.add(body)
            self.bodies[self.client.publish(body)] = body

    def confirmed(self, low: int, high: int, acked: bool) -> None:
        for tag in range(low, high + 1):
            body = self.bodies.pop(tag, None)
            if body is not None and acked:
                self.run.confirms += 1
                self.run.must_arrive.add(body)


class Consumer:
    """Reads one queue, and checks what it is given."""

    loses = False  # it loses what it holds while its connection lives: what comes to it then may have been others' since

    def __init__(self, run: BrokerRun, queue: str, prefetch: int) -> None:
        self.run = run
        self.held: dict[int, bytes] = {}
        self.last: dict[bytes, bytes] = {}  # publisher -> the last unmarked body
        self.queue = queue
        self.prefetch = prefetch
        self.client = self.make_client()
        self.client.on_delivery = self.delivered
        self.client.on_closed = self.closed
        self.was_closed = False
        run.connect(self.client)

    def make_client(self) -> AmqpClient:
        """Its side of a connection that is still to be made."""
        return AmqpClient(self.queue, self.prefetch, QUEUES.get(self.queue, b""))

    def closed(self) -> None:
        """Its channel was closed: nothing is held any more."""
        self.was_closed = True
        self.held.clear()

    def accept(self, tag: int) -> None:
        """It takes what has this tag."""
        body = self.held.pop(tag)
        self.run.accepted.add(body)
        self.run.accepted_by[body] = self

    def check_once(self, body: bytes) -> None:
        """What was accepted does not come again, unless who accepted it may not have been heard."""
        before = self.run.accepted_by.get(body)
        if before is None or before.was_closed or before.client.lost or before.client.is_cut_off:
            return
        if self.run.faults.rate == 0:
            raise Violation(f"{body[:40]!r} was accepted, and delivered again")

    def delivered(self, tag: int, redelivered: bool, body: bytes) -> None:
        """It is given something. Raises Violation."""
        run = self.run
        run.deliveries += 1
        if body not in run.published or not body.startswith(b"fragile" if self.queue == DEAD else self.queue.encode()):
            raise Violation(f"queue {self.queue} delivered {body[:40]!r}, which nobody published to it")
        if body in run.void:
            raise Violation(f"{body[:40]!r} is there, and its transaction was said not to be done")
        if body in run.settled and not self.loses:
            raise Violation(f"{body[:40]!r} was accepted in a transaction that was done, and delivered again")
        if self.queue != DEAD and not self.loses:
            self.check_once(body)
        if self.queue == "fragile":
            self.counted(body)
        if self.queue == DEAD:
            run.dead += 1
        elif not redelivered:
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

    def counted(self, body: bytes) -> None:
        """Of a queue with a limit."""
        given = self.run.given_of_limit
        if self.client.deliveries < given[body] and not self.loses:
            raise Violation(f"{body[:40]!r} says that it was delivered {self.client.deliveries} times before, and it was {given[body]} times")
        given[body] += 1
        if given[body] > LIMIT + 1:
            raise Violation(f"{body[:40]!r} was delivered {given[body]} times, with a limit of {LIMIT}")

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
            self.accept(tag)
            self.client.ack(tag)
        else:
            for earlier in [held for held in self.held if held <= tag]:
                self.accept(earlier)
            self.client.ack(tag, multiple=True)

    def accept_all(self) -> None:
        """Everything it holds."""
        if self.held:
            last = max(self.held)
            self.run.accepted.update(self.held.values())
            self.held.clear()
            self.client.ack(last, multiple=True)
