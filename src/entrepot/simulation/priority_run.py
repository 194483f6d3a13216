"""PriorityRun: a queue with priorities whose publishers and consumers come and go, while its shard closes and opens, and machines fail.

A consumer has one message at a time. What must hold:

    order          who takes or gives back a message is given the highest that is ready then, of those the oldest; what was given back is in its old place
    nothing lost   what was confirmed is delivered until somebody takes it
    nothing twice  what somebody holds, or took long enough before a crash, or in this life, is given to nobody; the second time a message is marked
"""

from __future__ import annotations

from typing import Any

from entrepot.broker.broker import Broker
from entrepot.broker.calls import requests as r
from entrepot.broker.calls.port import ACCEPT, DONE, PENDING, RELEASE, Attachment, Call, Delivery, Sink, make_ask, make_publish, make_settle
from entrepot.broker.front.parting import make_address
from entrepot.model.principal import Principal
from entrepot.protocols.amqp091 import rewriting
from entrepot.protocols.amqp091.properties import PRIORITY
from entrepot.simulation.crashing_run import CrashingRun
from entrepot.simulation.letters_run import NAMESPACE
from entrepot.simulation.store_model import Violation
from entrepot.simulation.store_run import Seams

QUEUE = "urgent"
TOP = 3
PRIORITIES = (0, 0, 1, 2, 3, 9)  # what is above TOP counts as TOP
ACTIONS = 100  # between two crashes
CONSUMERS = 3
DURABLE_S = 1.0  # after which what was taken stays so, where the queue is open
REST_S = 0.5  # after which what a connection held that has ended is ready


class Message:
    """One that was published. `ready_s`: when it was certainly ready, and is since; None: it is not, or nobody knows."""

    def __init__(self, body: bytes, serial: int, level: int) -> None:
        self.body = body
        self.serial = serial
        self.level = level
        self.ready_s: float | None = None
        self.must_arrive = False
        self.holder: Consumer | None = None
        self.taken_s: float | None = None
        self.is_over = False  # it was taken so long ago that a crash does not bring it back
        self.was_given = False

    def comes_before(self, other: Message) -> bool:
        """Whether it is to be given first, if both are ready."""
        return (-self.level, self.serial) < (-other.level, other.serial)


class PriorityRun(CrashingRun):
    """One seed's run."""

    actions = ACTIONS

    def __init__(self, seed: int, seams: Seams | None = None) -> None:
        super().__init__(seed, seams)
        self.wandering.also = []
        self.faults.rate = 0.0
        self.broker: Broker
        self.publisher: Publisher
        self.consumers: list[Consumer] = []
        self.messages: dict[bytes, Message] = {}
        self.home_s = 0.0  # since when the queue's shard has been open, all the time
        self.given_back = 0
        self.delivered = 0
        self.ordered = 0  # deliveries before which others were ready that were to come later

    def start(self) -> None:
        """Recover; what was not taken, or not long ago, is there again."""
        now_s = self.loop.time()
        for message in self.messages.values():
            message.holder = None
            message.ready_s = None
            if message.taken_s is not None:
                message.is_over |= max(message.taken_s, self.home_s) < now_s - DURABLE_S
                message.taken_s = None
                message.must_arrive = False  # it may be gone, or not
        self.consumers = []
        self.broker = self.recovered()
        self.publisher = Publisher(self)
        rate, self.wandering.rate = self.wandering.rate, 0.0
        self.publisher.ask(r.DeclareQueue(QUEUE, durable=True, arguments={"x-max-priority": TOP}))
        self.wandering.rate = rate
        for message in self.messages.values():
            if message.must_arrive and not message.is_over:
                message.ready_s = self.loop.time()

    def act(self) -> None:
        """Somebody does something, and some time passes."""
        what = self.chance.random()
        if what < 0.4:
            self.publisher.publish(self.chance.choice((1, 1, 2, 5)))
        elif len(self.consumers) < CONSUMERS and what < 0.5:
            self.consumers.append(Consumer(self))
        elif self.consumers and what < 0.95:
            self.chance.choice(self.consumers).settle(self.chance.random() < 0.3)
        elif self.consumers:
            self.consumers.pop(self.chance.randrange(len(self.consumers))).close()
        self.loop.run_for(self.chance.choice((1e-5, 1e-3, 1e-2, 0.1)))
        self.check_store()
        if not self.wandering.is_home(self.broker.shards.shard("queue", NAMESPACE, QUEUE)):
            self.home_s = self.loop.time()

    def drain(self) -> None:
        """One takes all of it."""
        self.wandering.come_home()
        for consumer in self.consumers:
            consumer.close()
        self.consumers = []
        self.loop.run_for(5.0)
        for message in self.messages.values():
            if message.must_arrive and message.taken_s is None and not message.is_over:
                message.ready_s = self.loop.time()
        last = Consumer(self)
        quiet_since = self.loop.time()
        while self.loop.time() - quiet_since < 2.0:
            if last.held is not None:
                quiet_since = self.loop.time()
                last.settle(False)
            self.loop.run_for(0.01)
            self.check_store()

    def conclude(self) -> None:
        """See CrashingRun."""
        lost = [message.body for message in self.messages.values() if message.must_arrive and message.taken_s is None and not message.is_over]
        if lost:
            raise Violation(f"{len(lost)} messages are lost, such as {lost[0]!r}")

    def given(self, consumer: Consumer, body: bytes, redelivered: bool) -> Message:
        """Somebody is given a message. Raises Violation."""
        message = self.messages.get(body)
        if message is None:
            raise Violation(f"{body!r} is delivered, which nobody published")
        if message.holder is not None:
            raise Violation(f"{body!r} is given to a second one")
        if message.taken_s is not None or message.is_over:
            raise Violation(f"{body!r} was taken, and is delivered again")
        if message.was_given and not redelivered:
            raise Violation(f"{body!r} was delivered twice, and the second time is not marked redelivered")
        self.check_order(consumer, message)
        message.was_given = True
        message.must_arrive = True
        message.holder = consumer
        message.ready_s = None
        self.delivered += 1
        return message

    def check_order(self, consumer: Consumer, message: Message) -> None:
        """Nothing that was ready when it had room, and is since, was to come before it. Raises Violation."""
        is_ordered = False
        for other in self.messages.values():
            if other is message or other.ready_s is None:
                continue
            if other.comes_before(message) and other.ready_s < consumer.free_s:
                raise Violation(f"{message.body!r} of level {message.level} comes before {other.body!r} of level {other.level}, which was ready")
            is_ordered = True
        self.ordered += is_ordered


class Peer(Sink):
    """A connection."""

    def __init__(self, run: PriorityRun) -> None:
        self.run = run
        self.door: Attachment = run.broker.attach(self, Principal("me"), NAMESPACE)

    def ask(self, request: Any) -> Any:
        """The result, as time passes."""
        call = make_ask(0, request)
        self.door.submit(call)
        self.run.loop.run_until(lambda: call.outcome != PENDING, 60)
        if call.outcome != DONE:
            raise Violation(f"{request} was refused: {call.error}")
        return call.result

    def completed(self, call: Call) -> None:
        """See Sink."""

    def cancelled(self, token: Any) -> None:
        """See Sink."""

    def throttle(self, blocked: bool, reason: str) -> None:
        """See Sink."""


class Publisher(Peer):
    """Who publishes, in one life."""

    def __init__(self, run: PriorityRun) -> None:
        super().__init__(run)
        self.calls: dict[int, tuple[Call, list[Message]]] = {}

    def publish(self, count: int) -> None:
        """A run of messages, of whatever priorities."""
        run, codec = self.run, self.run.codec
        messages = []
        data = b""
        for _ in range(count):
            run.serial += 1
            priority = run.chance.choice(PRIORITIES)
            body = b"%06d:%d" % (run.serial, priority) + b"." * run.chance.choice((0, 0, 200))
            messages.append(Message(body, run.serial, min(priority, TOP)))
            data += rewriting.Parts({PRIORITY: bytes((priority,))}, None, body).packed()
        run.messages.update((message.body, message) for message in messages)
        call = make_publish(1, make_address("", QUEUE), codec.tag, codec.version, 0, data, count, sum(len(message.body) for message in messages))
        call.confirm = True
        self.calls[id(call)] = (call, messages)
        self.door.submit(call)

    def completed(self, call: Call) -> None:
        """See Sink: what is confirmed is ready, unless somebody has it already."""
        found = self.calls.pop(id(call), None)
        if found is None or call.outcome != DONE:
            return
        for message in found[1]:
            message.must_arrive = True
            if message.holder is None and message.taken_s is None and not message.was_given:
                message.ready_s = self.run.loop.time()


class Consumer(Peer):
    """Who takes one message at a time. `free_s`: when it had room last."""

    def __init__(self, run: PriorityRun) -> None:
        super().__init__(run)
        self.held: tuple[Message, int, int] | None = None  # with the consumer's number, and the offset
        self.free_s = run.loop.time()
        self.door.submit(make_ask(0, r.Consume(QUEUE, "c", limit=1)))

    def deliver(self, delivery: Delivery) -> int:
        """See Sink."""
        run = self.run
        if self.held is not None or delivery.count != 1:
            raise Violation("a consumer that takes one message at a time is given more")
        (record,) = run.codec.split(delivery.data, delivery.position, 1)
        message = run.given(self, bytes(rewriting.take_apart(record).body), delivery.redelivered)
        self.held = (message, delivery.consumer_id, delivery.offset)
        return -1

    def settle(self, gives_back: bool) -> None:
        """It takes what it has, or gives it back."""
        if self.held is None:
            return
        run = self.run
        message, consumer_id, offset = self.held
        self.held = None
        message.holder = None
        now_s = run.loop.time()
        if gives_back:
            run.given_back += 1
            message.ready_s = now_s
        else:
            message.taken_s = now_s
        self.free_s = now_s
        self.door.submit(make_settle(0, consumer_id, offset, 1, RELEASE if gives_back else ACCEPT))

    def close(self) -> None:
        """Its connection ends: what it has is ready again, in a moment."""
        held, self.held = self.held, None
        self.door.close()
        if held is not None:
            held[0].holder = None
            self.run.loop.call_later(REST_S, self._is_back, held[0], self.run.broker)

    def _is_back(self, message: Message, broker: Broker) -> None:
        if self.run.broker is broker and message.holder is None and message.taken_s is None:
            message.ready_s = self.run.loop.time()
