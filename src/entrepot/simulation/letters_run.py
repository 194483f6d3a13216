"""LettersRun: queues whose messages die in every way, and tasks that move them, while shards close and open, and machines fail.

Nobody takes anything out of the queues that the dead go to. At the end, of every message that was confirmed:

    nothing lost   it is in its own queue, or else in each queue that its death leads to
    nothing twice  and in none of them more than once; one whose publish is said not to be done is nowhere
    order          what one publisher sent, and what died in order, lies in order where it went
    counts         the tasks have moved as many as lie where they moved them to
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Protocol

from entrepot.broker.broker import Broker
from entrepot.broker.calls import requests
from entrepot.broker.calls.lease_calls import make_receive, make_send
from entrepot.broker.calls.port import (
    DONE,
    PENDING,
    REJECT,
    RELEASE,
    UNAVAILABLE,
    Attachment,
    Call,
    Delivery,
    Publish,
    Sink,
    make_ask,
    make_publish,
    make_settle,
)
from entrepot.broker.calls.queue_requests import CreateTimedQueue, ListMoves, StartMove, TimedPolicy
from entrepot.broker.front.parting import make_address
from entrepot.broker.logs.cursor import GAP, LATER, Cursor
from entrepot.broker.logs.entry_codec import EntryCodec
from entrepot.broker.queue.queue import Queue
from entrepot.model.entry import HAS_GROUPS
from entrepot.model.principal import Principal
from entrepot.protocols.amqp091 import rewriting
from entrepot.simulation.crashing_run import CrashingRun
from entrepot.simulation.loop import SimulatedLoop
from entrepot.simulation.store_model import Violation
from entrepot.simulation.store_run import Seams

NAMESPACE = "public/default"
ACTIONS = 60  # between two crashes
TASKS = 8  # that move something; as many as are remembered
DIES = 40.0  # seconds in which whatever can die does
GRAVES = ("grave.a", "grave.b", "grave.c")
QUEUES: dict[str, dict[str, Any]] = {
    "short": {"x-max-length": 3, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dropped"},
    "fading": {"x-message-ttl": 200, "x-dead-letter-exchange": "graves"},
    "spurned": {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "buried"},
    "fragile": {"x-queue-type": "quorum", "x-delivery-limit": 1, "x-dead-letter-exchange": "graves", "x-dead-letter-routing-key": "fragile"},
    "dropped": {},
    "buried": {},
    **{name: {} for name in GRAVES},
}
POLICIES = {
    "dead": TimedPolicy(visibility_ms=500),
    "moved": TimedPolicy(),
    "standard": TimedPolicy(visibility_ms=100, dead_letter_queue="dead", receive_max=1),
    "dead.fifo": TimedPolicy(groups=True),
    "fifo": TimedPolicy(groups=True, visibility_ms=100, dead_letter_queue="dead.fifo", receive_max=1),
}
PUBLISHED = ("short", "fading", "spurned", "fragile")
SENT = ("standard", "fifo")
ENDS: dict[str, list[tuple[str, ...]]] = {  # of each queue: the sets of queues of which each has its messages once, together with it
    "short": [("dropped",)],
    "fading": [(grave,) for grave in GRAVES],
    "spurned": [("buried",)],
    "fragile": [(grave,) for grave in GRAVES],
    "standard": [("dead", "moved")],
    "fifo": [("dead.fifo",)],
}
ORDERED = {"dropped": "short", "buried": "spurned", "dead.fifo": "fifo", **dict.fromkeys(GRAVES, "fading")}


class LettersRun(CrashingRun):
    """One seed's run."""

    actions = ACTIONS

    def __init__(self, seed: int, seams: Seams | None = None) -> None:
        super().__init__(seed, seams)
        self.wandering.also = []
        # this life of the broker
        self.client: LettersClient
        # all lives
        self.sent: dict[bytes, str] = {}  # body -> queue
        self.confirmed: set[bytes] = set()
        self.refused: set[bytes] = set()
        self.tasks = 0
        self.dead = 0
        self.apart = 0  # the most intents that were made in one life

    def start(self) -> None:
        """Recover; make the queues the first time."""
        self.broker = self.recovered()
        self.broker.outbox.loaded_per_tick = self.chance.choice((1, 256))
        rate, self.faults.rate = self.faults.rate, 0.0
        client = self.client = LettersClient(self)
        for name, arguments in QUEUES.items():
            client.ask(requests.DeclareQueue(name, False, True, False, False, arguments))
        client.ask(requests.DeclareExchange("graves", "fanout", durable=True))
        for name in GRAVES:
            client.ask(requests.Bind("graves", name, "queue", ""))
        for name, policy in POLICIES.items():
            client.ask(CreateTimedQueue(name, policy, frozenset(), {}, {}))
        for name in ("spurned", "fragile"):
            client.ask(requests.Consume(name, name, limit=10))
        self.faults.rate = rate

    def act(self) -> None:
        """Somebody does something, and some time passes."""
        what = self.chance.random()
        client = self.client
        if what < 0.5:
            client.publish(self.chance.choice(PUBLISHED), self.chance.choice((1, 2, 5)))
        elif what < 0.65:
            client.send(self.chance.choice(SENT), self.chance.choice((1, 3)))
        elif what < 0.85:
            client.receive(self.chance.choice(SENT))
        elif what < 0.95:
            client.settle(self.chance.choice((1, 5, 100)))
        else:
            client.move()
        self.loop.run_for(self.chance.choice((1e-5, 1e-3, 1e-2, 0.1)))
        self.apart = max(self.apart, int(self.broker.statistics()["intents_total"]))
        self.check_store()

    def drain(self) -> None:
        """Let everything die, and arrive."""
        self.wandering.come_home()
        end = self.loop.time() + DIES
        while self.loop.time() < end:
            for queue in SENT:
                self.client.receive(queue)
            self.client.settle(100)
            self.loop.run_for(0.2)
            self.check_store()

    def conclude(self) -> None:
        """See CrashingRun."""
        statistics = self.broker.statistics()
        if statistics["intents"]:
            raise Violation(f"{statistics['intents']} intents are left, though everything is open")
        found = {name: bodies_of(self.broker, self.loop, name) for name in (*QUEUES, *POLICIES)}
        check_letters(found, self.sent, self.confirmed, self.refused)
        self.dead = sum(len(found[queue]) for queue in ("dropped", "buried", "dead", "moved", "dead.fifo", *GRAVES))
        moved = sum(task.moved for task in self.client.ask(ListMoves("dead", limit=TASKS)))
        if moved != len(found["moved"]):
            raise Violation(f"tasks have moved {moved} by their count, and {len(found['moved'])} are there")


def check_letters(found: dict[str, list[bytes]], sent: dict[bytes, str], confirmed: set[bytes], refused: set[bytes]) -> None:
    """`found`: what lies in each queue, by its place. Raises Violation for what is lost, there twice, or not in order."""
    for name, ends in ENDS.items():
        for end in ends:
            there = Counter(body for queue in (name, *end) for body in found[queue] if sent[body] == name)
            for body, queue in sent.items():
                if queue != name:
                    continue
                where = f"{body!r} is {there[body]} times in queues {name} and {', '.join(end)}"
                if there[body] > 1 or (body in refused and there[body]):
                    raise Violation(where)
                if body in confirmed and not there[body]:
                    raise Violation(f"{where}: it is lost")
    for queue, source in ORDERED.items():
        bodies = [body for body in found[queue] if sent[body] == source]
        if bodies != sorted(bodies):
            raise Violation(f"what died in queue {source} is not in order in queue {queue}")


def bodies_of(broker: Broker, loop: SimulatedLoop, name: str) -> list[bytes]:
    """What is in a queue and not settled, by its place."""
    queue = broker.catalogue.namespace(NAMESPACE).queues[name].runtime
    assert isinstance(queue, Queue)
    loaded = [True]
    cursor = Cursor(broker.hub, queue.log, lambda: loaded.append(True))
    bodies: list[bytes] = []
    offset = queue.subscription.next_unsettled(0)
    while offset < queue.subscription.end:
        found = cursor.locate(offset)
        if found == LATER:
            loaded.clear()
            loop.run_until(lambda: bool(loaded), 60)
            continue
        if found == GAP:
            raise Violation(f"record {offset} of queue {name} is not there, and not settled")
        record = broker.hub.codec(cursor.tag).split(cursor.data(), cursor.position_of(offset), 1)[0]
        bodies.append(bytes(rewriting.take_apart(record).body))
        offset = queue.subscription.next_unsettled(offset + 1)
    cursor.close()
    return bodies


class Run(Protocol):
    """What a client's owner keeps."""

    broker: Broker
    loop: SimulatedLoop
    chance: Any
    sent: dict[bytes, str]
    confirmed: set[bytes]
    refused: set[bytes]
    serial: int
    tasks: int

    @property
    def codec(self) -> EntryCodec:
        """Of what is published."""


class LettersClient(Sink):
    """The one connection of a life: what it publishes to a queue keeps its order."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.held: list[tuple[str, int, int]] = []  # queue, consumer, offset
        self.bodies: dict[int, list[bytes]] = {}  # by the call's id: published, or sent
        self.calls: dict[int, Call] = {}
        self.door: Attachment = run.broker.attach(self, Principal("me"), NAMESPACE)

    def ask(self, request: Any) -> Any:
        """The result, as time passes."""
        call = make_ask(0, request)
        self.door.submit(call)
        self.run.loop.run_until(lambda: call.outcome != PENDING, 60)
        if call.outcome != DONE:
            raise Violation(f"{request} was refused: {call.error}")
        return call.result

    def new_bodies(self, queue: str, count: int) -> list[bytes]:
        """Of new messages, ascending."""
        run = self.run
        bodies = []
        for _ in range(count):
            run.serial += 1
            body = b"%08d" % run.serial + b"." * run.chance.choice((0, 10, 500))
            run.sent[body] = queue
            bodies.append(body)
        return bodies

    def publish(self, queue: str, count: int) -> None:
        """Some messages, together."""
        codec = self.run.codec
        bodies = self.new_bodies(queue, count)
        data = b"".join(rewriting.Parts({}, None, body).packed() for body in bodies)
        call = make_publish(PUBLISHED.index(queue) + 1, make_address("", queue), codec.tag, codec.version, 0, data, count, sum(map(len, bodies)))
        call.confirm = True
        self.remember(call, bodies)
        self.door.submit(call)

    def send(self, queue: str, count: int) -> None:
        """The same, to a queue with timed leases."""
        codec = self.run.codec
        bodies = self.new_bodies(queue, count)
        headers = [(b"x-group-id", b"S\x00\x00\x00\x01g")] if queue == "fifo" else None
        data = b"".join(rewriting.Parts({}, headers, body).packed() for body in bodies)
        idents = [body[:8] * 2 for body in bodies]
        call = make_send(len(PUBLISHED) + 1, queue, codec.tag, codec.version, HAS_GROUPS if headers else 0, data, count, [1] * count, idents)
        if headers:
            call.groups = [b"g"] * count
            call.deduplication_ids = idents
        self.remember(call, bodies)
        self.door.submit(call)

    def remember(self, call: Call, bodies: list[bytes]) -> None:
        """Until its outcome is known."""
        self.bodies[id(call)] = bodies
        self.calls[id(call)] = call

    def receive(self, queue: str) -> None:
        """As much as one call may; it is not ended."""
        self.door.submit(make_receive(0, queue, self.run.codec.tag, 10, -1, 0))

    def settle(self, count: int) -> None:
        """Reject what is spurned, give back what is fragile: the first of what is held, in order."""
        for queue, consumer_id, offset in self.held[:count]:
            self.door.submit(make_settle(0, consumer_id, offset, 1, REJECT if queue == "spurned" else RELEASE))
        del self.held[:count]

    def move(self) -> None:
        """Another task, if none runs and not too many did."""
        dead = self.run.broker.catalogue.namespace(NAMESPACE).queues["dead"].runtime
        if self.run.tasks < TASKS and isinstance(dead, Queue) and dead.timed is not None and dead.timed.move is None:
            self.run.tasks += 1
            self.door.submit(make_ask(0, StartMove("dead", "moved")))

    # ---- what it is told

    def completed(self, call: Call) -> None:
        """See Sink."""
        bodies = self.bodies.pop(id(call), None)
        self.calls.pop(id(call), None)
        if bodies is None:
            return
        refused = bool(call.nacked) if isinstance(call, Publish) else False
        if call.outcome == DONE and not refused:
            self.run.confirmed.update(bodies)
        elif call.outcome == UNAVAILABLE:
            self.run.refused.update(bodies)

    def deliver(self, delivery: Delivery) -> int:
        """See Sink."""
        self.held += [(delivery.token, delivery.consumer_id, delivery.offset + index) for index in range(delivery.count)]
        return -1

    def cancelled(self, token: Any) -> None:
        """See Sink."""

    def throttle(self, blocked: bool, reason: str) -> None:
        """See Sink."""
