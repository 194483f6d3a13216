"""SubjectRun: a KafkaRun whose topics' subjects lead to queues, in shards of their own: to one with everything, to some by a header, to one that is often full.

What must hold at the end, of every partition and queue: what is in the queue of the partition are the records of the partition's log that were to go
there, each exactly once (it is all one store's commits, so crashes change nothing of that), in the order of the log. Of the queue that is often full,
and of one whose binding comes and goes, some of them, each once, in that order.
"""

from __future__ import annotations

from typing import Any, cast

from entrepot.broker.broker import Broker
from entrepot.broker.calls import requests as asked
from entrepot.broker.calls.port import DONE, PENDING, Sink, make_ask
from entrepot.broker.front.door import Door
from entrepot.model.principal import Principal
from entrepot.net.network import Network
from entrepot.protocols.amqp091.handshake import Settings
from entrepot.protocols.amqp091.listener import AmqpListener
from entrepot.simulation.amqp_client import AmqpClient
from entrepot.simulation.crashing_run import NETWORK_LIMITS
from entrepot.simulation.kafka_client import Place
from entrepot.simulation.kafka_run import KafkaRun
from entrepot.simulation.store_model import Violation
from entrepot.simulation.store_run import Seams

NAMESPACE = "public/default"
COLOURS = (b"red", b"green", b"blue")
ALL, FULL, AT_TIMES = "all", "full", "at-times"
FULL_AT = 20
BINDS = 0.02  # how likely in one action the binding of AT_TIMES comes, or goes
QUIET_S = 5


def colour_of(value: bytes) -> tuple[bytes, bytes]:
    """The header of a record."""
    return b"colour", COLOURS[sum(value[:40]) % len(COLOURS)]


class SubjectRun(KafkaRun):
    """One seed's run."""

    def __init__(self, seed: int, seams: Seams | None = None) -> None:
        super().__init__(seed, seams)
        self.header_of = colour_of
        settings: tuple[dict[str, str], ...] = ({}, {"message.timestamp.type": "LogAppendTime"}, {"compression.type": "gzip"})
        self.topics = {name: (count, self.chance.choice(settings)) for name, (count, _) in self.topics.items()}
        for model in self.partitions.values():
            model.is_sized = False
        self.by_header = self.chance.random() < 0.7
        self.refuses = self.chance.random() < 0.3
        self.queues = [ALL, AT_TIMES, *([FULL] if self.refuses else []), *((colour.decode() for colour in COLOURS) if self.by_header else ())]
        self.begun = False
        self.bound = False
        self.behind = 0  # greatest number of partitions that were
        self.arrived: dict[str, list[bytes]] = {}

    # ---- the broker

    def recovered(self) -> Broker:
        """See CrashingRun."""
        broker = super().recovered()
        chance = self.chance
        subjects = broker.subjects
        subjects.at_once_records = chance.choice((0, 2, 64))
        subjects.slice_records = chance.choice((1, 3, 2048))
        subjects.turn_steps = chance.choice((1, 100, 2000))
        subjects.staged_max_bytes = chance.choice((0, 2000, 16 << 20))  # with little of it pieces are in different commits
        return broker

    def start(self) -> None:
        """See CrashingRun."""
        super().start()
        loop = cast("Any", self.loop)
        listener = AmqpListener(
            Network(loop, self.clock, NETWORK_LIMITS), "simulated", 5672, port=self.broker, authenticator=self.everyone, settings=Settings()
        )
        self.network.listen("amqp", listener._accept)  # noqa: SLF001 - what create_server() is given
        if not self.begun:
            self.begun = True
            self._declare()

    def _declare(self) -> None:
        for queue in self.queues:
            arguments: dict[str, Any] = {"x-max-length": FULL_AT, "x-overflow": "reject-publish"} if queue == FULL else {}
            self.ask(asked.DeclareQueue(queue, False, True, False, False, arguments))
        self.ask(asked.DeclareExchange("colours", "headers", durable=True))
        for topic in self.topics:
            for queue in (ALL, FULL) if self.refuses else (ALL,):
                self.ask(asked.Bind("amq.topic", queue, routing_key=topic))
            if self.by_header:
                self.ask(asked.Bind("amq.topic", "colours", "exchange", topic))
        for colour in COLOURS if self.by_header else ():
            self.ask(asked.Bind("colours", colour.decode(), arguments={"x-match": "all", "colour": colour.decode()}))

    def ask(self, request: object) -> bool:
        """Have something done by a door that knows no faults; whether it was, before long."""
        broker = self.broker
        broker.make_door = Door
        door = broker.attach(_Quiet(), Principal("me"), NAMESPACE)
        broker.make_door = self.faults.door
        call = make_ask(1, request)
        door.submit(call)
        self.loop.run_until(lambda: call.outcome != PENDING, 60)
        door.close()
        return bool(call.outcome == DONE)

    # ---- its clients

    def act(self) -> None:
        """See CrashingRun."""
        super().act()
        self.behind = max(self.behind, int(self.broker.subjects.statistics()["partitions_behind"]))
        if self.chance.random() < BINDS and self.ask(asked.Bind("amq.topic", AT_TIMES, routing_key="#", remove=self.bound)):
            self.bound = not self.bound

    def _delete(self) -> None:
        """Nobody does: what is deleted need not be sent on."""

    # ---- the end

    def drain(self) -> None:
        """See CrashingRun: then the queues are, too."""
        super().drain()
        subjects = self.broker.subjects
        subjects.slice_records, subjects.turn_steps, subjects.staged_max_bytes = 2048, 2000, 1 << 20
        self._until(lambda: not self.broker.subjects.statistics()["partitions_behind"], [])
        for queue in self.queues:
            reader = _Reader(queue)
            self.arrived[queue] = reader.found
            self.network.connect("amqp", reader)
            count, quiet_since = 0, self.loop.time()
            while self.loop.time() - quiet_since < QUIET_S:
                self.loop.run_for(0.1)
                self.check()
                if len(reader.found) > count:
                    count, quiet_since = len(reader.found), self.loop.time()

    def conclude(self) -> None:
        """See CrashingRun."""
        for queue, bodies in self.arrived.items():
            by_place: dict[bytes, list[bytes]] = {}
            for body in bodies:
                by_place.setdefault(body.split(b":")[0], []).append(body)
            for place in self.partitions:
                self._check(queue, place, by_place.pop(b"%s-%d" % (place[0].encode(), place[1]), []))
            if by_place:
                raise Violation(f"queue {queue} has records of {sorted(by_place)}")

    def _check(self, queue: str, place: Place, arrived: list[bytes]) -> None:
        log = self.partitions[place].log
        expected = [value for base in sorted(log) for value in log[base].values]
        if queue.encode() in COLOURS:
            expected = [value for value in expected if colour_of(value)[1] == queue.encode()]
        if queue in (FULL, AT_TIMES):
            left = iter(expected)
            if not all(any(value == one for one in left) for value in arrived):
                raise Violation(f"{place}: queue {queue} has {len(arrived)} records, some twice or not in their order")
        elif arrived != expected:
            lost, more = set(expected) - set(arrived), len(arrived) - len(set(arrived))
            raise Violation(
                f"{place}: queue {queue} has {len(arrived)} records of {len(expected)}: {len(lost)} are not there, {more} twice, or they are not in order"
            )


class _Reader(AmqpClient):
    def __init__(self, queue: str) -> None:
        super().__init__(queue, 100, _FULL_ARGUMENTS if queue == FULL else b"")
        self.found: list[bytes] = []
        self.on_delivery = self._takes

    def _takes(self, tag: int, redelivered: bool, body: bytes) -> None:
        self.found.append(body)
        self.ack(tag)


class _Quiet(Sink):
    def completed(self, call: object) -> None:
        """The run looks at the call."""

    def throttle(self, blocked: bool, reason: str) -> None:
        """It does not publish."""


_FULL_ARGUMENTS = b"\x0cx-max-lengthI" + FULL_AT.to_bytes(4, "big") + b"\x0ax-overflowS\x00\x00\x00\x0ereject-publish"
