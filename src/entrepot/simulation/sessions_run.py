"""SessionsRun: clients whose sessions outlive their connections publish and are sent records that are to come exactly once, while all goes wrong.

A client remembers what it has not finished, as its protocol would have it do; connections are lost, taken over, or closed in good order; the broker's machine
fails; shards close and open. What a session's own protocol would remember of one connection is here, too (_Server). What must hold:

    exactly once   every record that a client has published, in the end, comes to each client once, and lies once in a queue beside them
    presence       a session that was there is there
    wills          one that is due at once comes once if its connection was lost, and none twice
    none           of a connection that was left, or whose client was back in time
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from entrepot.broker.broker import Broker
from entrepot.broker.calls import requests as r
from entrepot.broker.calls import session_requests as s
from entrepot.broker.calls.port import ACCEPT, DONE, PENDING, Attachment, Call, Delivery, Sink, make_ask, make_publish, make_settle
from entrepot.broker.front.parting import make_address
from entrepot.model.principal import Principal
from entrepot.protocols.amqp091 import rewriting
from entrepot.simulation.crashing_run import CrashingRun
from entrepot.simulation.letters_run import NAMESPACE, bodies_of
from entrepot.simulation.store_model import Violation
from entrepot.simulation.store_run import Seams

CLIENTS = ("s.a", "s.b", "s.c")
LIMITED = CLIENTS[2]  # whose session has limits, which are never reached
KEPT = {"x-max-length": 1_000_000, "x-kept-bytes": 1 << 40}
ACTIONS = 80  # between two crashes
NUMBERS = 6  # that a client publishes with: few, so that they come again soon
OUT_NUMBERS = 16  # that records are sent with, by their offsets
LIMIT = 5  # records that are under way to a client
DELAYS_S = (0, 0, 1, 5)  # of wills; whole seconds
MARGIN_S = 0.5
DRAIN_S = 240.0
TOPIC = "amq.topic"


class Will:
    """One that a connection has. `expected`: how often it must come; None: once at most."""

    def __init__(self, body: bytes, delay_s: int) -> None:
        self.body = body
        self.delay_s = delay_s
        self.is_armed = False
        self.left_s = -1.0  # when its connection was lost
        self.expected: int | None = None


class SessionsRun(CrashingRun):
    """One seed's run."""

    actions = ACTIONS

    def __init__(self, seed: int, seams: Seams | None = None) -> None:
        super().__init__(seed, seams)
        self.wandering.also = []
        self.faults.rate = 0.0
        self.clients = [Client(self, name) for name in CLIENTS]
        self.sent: list[bytes] = []
        self.wills: list[Will] = []
        self.broker: Broker
        # what came of it
        self.repeated = 0  # publishes that were sent again, and known
        self.resumed = 0  # numbers that were released when a session was opened again
        self.taken_over = 0
        self.bound = False

    def start(self) -> None:
        """Recover; make the sessions the first time."""
        self.crashed()
        self.broker = self.recovered()
        rate, self.wandering.rate = self.wandering.rate, 0.0
        self.prepare()
        self.loop.run_for(0.05)
        self.wandering.rate = rate

    def prepare(self) -> None:
        """What there is to be: queues and, the first time, the sessions."""
        setting = Setting(self)
        for name, durable in (("log", True), ("wills", True), ("memory", False)):
            setting.ask(r.DeclareQueue(name, durable=durable))
            setting.ask(r.Bind(TOPIC, name, "queue", "will.#" if name == "wills" else "x.#"))
        if not self.bound:
            for client in self.clients:
                setting.ask(s.OpenSession(client.name, expiry_s=s.FOREVER_S, arguments=KEPT if client.name == LIMITED else {}))
                setting.ask(r.Bind(TOPIC, client.name, "queue", "x.#"))
            self.bound = True
        setting.door.close()

    def attach(self, sink: Sink, name: str) -> Attachment:
        """A connection."""
        return self.broker.attach(sink, Principal(name), NAMESPACE)

    def bodies(self, queue: str) -> Counter[bytes]:
        """What lies in a queue."""
        return Counter(bodies_of(self.broker, self.loop, queue))

    def act(self) -> None:
        """Somebody does something, and some time passes."""
        client = self.chance.choice(self.clients)
        what = self.chance.random()
        if client.connection is None:
            client.connect()
        elif what < 0.6:
            client.publish()
        elif what < 0.68:
            client.connection.lose()
        elif what < 0.73:
            client.connection.leave()
        elif what < 0.78:
            client.connect()  # over it
        self.loop.run_for(self.chance.choice((1e-4, 1e-3, 1e-2, 0.2)))
        self.check_store()

    def crashed(self) -> None:
        """All connections are lost."""
        for client in self.clients:
            for connection in client.connections:
                connection.is_lost(self.loop.time())
            client.connections.clear()

    def drain(self) -> None:
        """Until every client has finished what it began, and has everything."""
        self.wandering.come_home()
        end = self.loop.time() + DRAIN_S
        while self.loop.time() < end:
            for client in self.clients:
                if client.connection is None:
                    client.connect(with_will=False)
            self.loop.run_for(0.5)
            self.check_store()
            if all(client.is_done for client in self.clients):
                break
        for client in self.clients:
            if client.connection is not None:
                client.connection.leave()
        self.loop.run_for(20.0)

    def conclude(self) -> None:
        """See CrashingRun."""
        for client in self.clients:
            if not client.is_done:
                raise Violation(f"client {client.name} does not come to its end: {client.published}, {len(client.got)} of {len(self.sent)}")
            self.check_came(f"client {client.name}", client.got, self.sent)
        self.check_came("queue log", self.bodies("log"), self.sent)
        came = self.bodies("wills")
        for will in self.wills:
            count = came.pop(will.body, 0)
            if count > 1 or (will.expected is not None and will.expected != count):
                raise Violation(f"will {will.body!r}, delayed {will.delay_s} s, came {count} times, and should {will.expected}")
        if came:
            raise Violation(f"wills of nobody: {came}")

    def check_came(self, where: str, found: Counter[bytes], sent: list[bytes]) -> None:
        """All of it, and nothing else, and nothing twice."""
        for body in sent:
            if found[body] != 1:
                raise Violation(f"{where} has {body!r} {found[body]} times")
        if len(found) != len(sent):
            raise Violation(f"{where} has what nobody sent")


class Setting(Sink):
    """A connection that makes what there is to be."""

    def __init__(self, run: SessionsRun) -> None:
        self._run = run
        self.door: Attachment = run.attach(self, "me")

    def ask(self, request: Any) -> Any:
        """The result, as time passes."""
        call = make_ask(0, request)
        self.door.submit(call)
        self._run.loop.run_until(lambda: call.outcome != PENDING, 60)
        if call.outcome != DONE:
            raise Violation(f"{request} was refused: {call.error}")
        return call.result

    def completed(self, call: Call) -> None:
        """See Sink."""

    def throttle(self, blocked: bool, reason: str) -> None:
        """See Sink."""


class Client:
    """What a client keeps, whatever becomes of its connections and of the broker."""

    def __init__(self, run: SessionsRun, name: str) -> None:
        self.run = run
        self.name = name
        self.published: dict[int, tuple[bytes, bool]] = {}  # number -> body, and whether it was received and is being released
        self.taken: set[int] = set()  # numbers that were sent to it, and not released
        self.got: Counter[bytes] = Counter()
        self.connection: Connection | None = None
        self.connections: list[Connection] = []  # also those that it has given up, and the broker does not know
        self.last_will: Will | None = None
        self.last_opening_is_known = False  # it is `last_will`'s, or of a connection without one

    @property
    def is_done(self) -> bool:
        """Nothing is under way."""
        return not self.published and len(self.got) == len(self.run.sent) and not self.taken

    def connect(self, with_will: bool = True) -> None:
        """A new connection; the one before is given up without a word."""
        if self.connection is not None:
            self.connection.is_given_up = True
        Connection(self, with_will)

    def publish(self) -> None:
        """Something new, if it has a number left."""
        run, connection = self.run, self.connection
        if connection is None or not connection.is_open:
            return
        number = run.chance.randint(1, NUMBERS)
        if number in self.published:
            return
        run.serial += 1
        body = b"%06d" % run.serial + b"." * run.chance.choice((0, 50))
        run.sent.append(body)
        self.published[number] = (body, False)
        connection.up(connection.server_publish, number, body)

    # ---- what it is sent

    def opened(self) -> None:
        """It goes on with what it had not finished."""
        connection = self.connection
        assert connection is not None
        connection.is_open = True
        for number, (body, releasing) in self.published.items():
            if releasing:
                connection.up(connection.server_release, number)
            else:
                connection.up(connection.server_publish, number, body)

    def received(self, number: int) -> None:
        """The broker has what it published."""
        if number in self.published:
            self.published[number] = (self.published[number][0], True)
        assert self.connection is not None
        self.connection.up(self.connection.server_release, number)

    def completed(self, number: int) -> None:
        """Its number is free."""
        self.published.pop(number, None)

    def take(self, number: int, body: bytes) -> None:
        """A record."""
        if number not in self.taken:
            self.taken.add(number)
            self.got[body] += 1
            if self.got[body] > 1:
                raise Violation(f"client {self.name} is given {body!r} again")
        assert self.connection is not None
        self.connection.up(self.connection.server_received, number)

    def release(self, number: int) -> None:
        """It will not be sent again."""
        self.taken.discard(number)
        assert self.connection is not None
        self.connection.up(self.connection.server_complete, number)


class Connection(Sink):
    """One connection of a client, with what the broker's side remembers of it. What is said on it arrives in order, some time later, or never."""

    def __init__(self, client: Client, with_will: bool) -> None:
        run = client.run
        self.run = run
        self.client = client
        self.is_open = False  # and its client knows
        self.is_given_up = False  # by its client, and the broker does not know
        self.ended = False
        self._last_s = 0.0
        self._answers: dict[int, tuple[Call, Callable[[Any], None]]] = {}
        self._lost: set[int] = set()
        # of its session
        self.opened: s.Opened | None = None
        self.will: Will | None = None
        self.incoming: set[int] = set()
        self.storing: set[int] = set()
        self.flights: dict[int, tuple[int, int]] = {}  # number -> consumer, offset
        self.busy: set[int] = set()  # numbers that are released, and not complete
        self.waiting: list[tuple[int, int, bytes]] = []
        client.connection = self
        client.connections.append(self)
        self.door: Attachment = run.attach(self, client.name)
        if run.chance.random() < 0.5:
            self.door.wait_for_catalogue()
        self._open(with_will)

    def _open(self, with_will: bool) -> None:
        run, client = self.run, self.client
        fields = None
        if with_will and run.chance.random() < 0.7:
            run.serial += 1
            will = self.will = Will(b"w%06d" % run.serial, run.chance.choice(DELAYS_S))
            run.wills.append(will)
            data = rewriting.Parts({}, None, will.body).packed()
            fields = s.Will(make_address(TOPIC, "will.x"), run.codec.tag, run.codec.version, 0, data, len(will.body), will.delay_s)
        client.last_opening_is_known = False
        self._ask(s.OpenSession(client.name, expiry_s=s.FOREVER_S, will=fields), self._is_open)

    def _ask(self, request: Any, then: Callable[[Any], None]) -> None:
        call = make_ask(1, request)
        self._answers[id(call)] = (call, then)
        self.door.submit(call)

    def up(self, do: Callable[..., None], *said: Any) -> None:
        """The client says something."""
        if not self.is_given_up:
            self._later(do, *said)

    def down(self, do: Callable[..., None], *said: Any) -> None:
        """The broker's side does."""
        self._later(self._heard, do, *said)

    def _heard(self, do: Callable[..., None], *said: Any) -> None:
        if not self.is_given_up and self.client.connection is self:
            do(*said)

    def _later(self, do: Callable[..., None], *said: Any) -> None:
        now_s = self.run.loop.time()
        self._last_s = max(self._last_s + 1e-7, now_s + self.run.chance.choice((0.0, 1e-4, 1e-2)))
        self.run.loop.call_later(self._last_s - now_s, self._arrive, do, *said)

    def _arrive(self, do: Callable[..., None], *said: Any) -> None:
        if not self.ended:
            do(*said)

    # ---- it ends

    def lose(self) -> None:
        """The connection is lost."""
        if self.ended:
            return
        self.is_lost(self.run.loop.time())
        self.client.connections.remove(self)
        self.door.close()

    def is_lost(self, at_s: float) -> None:
        """Nothing comes or goes any more."""
        self.ended = True
        if self.client.connection is self:
            self.client.connection = None
        will = self.will
        if will is not None and will.is_armed:
            will.left_s = at_s
            if will.delay_s == 0:
                will.expected = 1

    def leave(self) -> None:
        """In good order."""
        if self.opened is None or self.ended:
            self.lose()
            return
        will, self.will = self.will, None  # it may come or not, until that is done
        self._ask(s.CloseSession(self.opened.number), lambda _: self._has_left(will))

    def _has_left(self, will: Will | None) -> None:
        if will is not None:
            will.expected = 0
        self.lose()

    # ---- what the port says

    def completed(self, call: Call) -> None:
        """See Sink."""
        waits = self._answers.pop(id(call), None)
        if waits is None or self.ended:
            return
        if call.outcome != DONE:
            self.lose()
        else:
            waits[1](call.result)

    def deliver(self, delivery: Delivery) -> int:
        """See Sink."""
        records = self.run.codec.split(delivery.data, delivery.position, delivery.count)
        for index, record in enumerate(records):
            body = bytes(rewriting.take_apart(record).body)
            self.waiting.append((delivery.consumer_id, delivery.offset + index, body))
        self._send_waiting()
        return -1

    def cancelled(self, token: Any) -> None:
        """See Sink: its shard has moved, or its session is another's."""
        self.lose()

    def taken_over(self, number: int) -> None:
        """See Sink."""
        self._lost.add(number)
        if self.opened is not None and self.opened.number == number:
            self.run.taken_over += 1
            self.lose()

    def throttle(self, blocked: bool, reason: str) -> None:
        """See Sink."""

    def elsewhere(self, process: str) -> None:
        """See Sink."""

    # ---- the broker's side

    def _is_open(self, opened: s.Opened) -> None:
        client, run = self.client, self.run
        if not opened.present:
            raise Violation(f"session {client.name} was there, and is not")
        self.opened = opened
        if opened.number in self._lost:
            self.lose()
            return
        before, client.last_will = client.last_will, self.will
        client.last_opening_is_known = client.connection is self
        if before is not None and before.delay_s and before.left_s >= 0 and run.loop.time() < before.left_s + before.delay_s - MARGIN_S:
            before.expected = 0
        if self.will is not None:
            self.will.is_armed = True
        self.incoming = {number for first, count in opened.incoming for number in range(first, first + count)}
        self.busy = {number for first, count in opened.released for number in range(first, first + count)}
        run.resumed += len(self.busy)
        self._ask(r.Consume(client.name, "c", limit=LIMIT, exclusive=True), lambda _: None)
        if client.connection is self:
            self.down(client.opened)
        for number in sorted(self.busy):
            self.down(client.release, number)

    def server_publish(self, number: int, body: bytes) -> None:
        """The client publishes, perhaps again."""
        if number in self.incoming:
            self.run.repeated += 1
            self.down(self.client.received, number)
        elif number not in self.storing:
            self.storing.add(number)
            codec = self.run.codec
            call = make_publish(1, make_address(TOPIC, "x.y"), codec.tag, codec.version, 0, rewriting.Parts({}, None, body).packed(), 1, len(body))
            assert self.opened is not None
            self._ask(s.PublishOnce(self.opened.number, [call], [(number, 1)]), lambda _: self._stored(number))

    def _stored(self, number: int) -> None:
        self.storing.discard(number)
        self.incoming.add(number)
        self.down(self.client.received, number)

    def server_release(self, number: int) -> None:
        """The client knows that its record was received."""
        if number not in self.incoming:
            self.down(self.client.completed, number)
            return
        assert self.opened is not None
        self._ask(s.ReleaseIncoming(self.opened.number, [(number, 1)]), lambda _: self._released(number))

    def _released(self, number: int) -> None:
        self.incoming.discard(number)
        self.down(self.client.completed, number)

    def _send_waiting(self) -> None:
        left = []
        for consumer, offset, body in self.waiting:
            number = 1 + offset % OUT_NUMBERS
            if number in self.busy or number in self.flights:
                left.append((consumer, offset, body))
                continue
            self.flights[number] = (consumer, offset)
            self.down(self.client.take, number, body)
        self.waiting = left

    def server_received(self, number: int) -> None:
        """The client has what it was sent."""
        if number not in self.flights or number in self.busy:
            return
        consumer, offset = self.flights[number]
        self.busy.add(number)
        assert self.opened is not None
        settle = make_settle(1, consumer, offset, 1, ACCEPT)
        self._ask(s.ReleaseOutgoing(self.opened.number, [settle], [(number, 1)]), lambda _: self.down(self.client.release, number))

    def server_complete(self, number: int) -> None:
        """The client has forgotten its number."""
        if number in self.busy:
            assert self.opened is not None
            self._ask(s.CompleteOutgoing(self.opened.number, [(number, 1)]), lambda _: self._complete(number))

    def _complete(self, number: int) -> None:
        self.busy.discard(number)
        self.flights.pop(number, None)
        self._send_waiting()
