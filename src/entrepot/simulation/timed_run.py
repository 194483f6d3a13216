"""TimedRun: queues with timed leases in a whole broker over a simulated disk; clients that send, receive, settle, wait and vanish; machines that fail.

The model knows what clients were told. Outcomes that nobody was told are unknown: they may have happened or not.

    leases       nobody gets a record while another's lease holds (by the latest deadline that was told), crash or not
    nothing lost what was confirmed comes until its settlement was confirmed, and after that never again; in the dead-letter queue if it is not here
    order        of a group, a record does not come before an earlier one that is neither settled nor dead
    exclusion    of a group, nothing comes while an earlier one of it is leased
    duplicates   of one deduplication id, one record comes within five minutes, and each answer names it
    delays       nothing comes before its time
    counts       a delivery count is never lower than what was told before, and grows with every lease that was answered
    attempts     as many as receive_max, no more: then the record is in the dead-letter queue
"""

from __future__ import annotations

from typing import Any

from entrepot.broker.calls.lease_calls import ENDED, EndLeases, Receive, Send, make_end_leases, make_receive, make_send, make_withdraw
from entrepot.broker.calls.port import DONE, PENDING, UNAVAILABLE, UNKNOWN, Attachment, Call, Sink, make_ask
from entrepot.broker.calls.queue_requests import CreateTimedQueue, TimedPolicy
from entrepot.model.entry import HAS_GROUPS
from entrepot.model.principal import Principal
from entrepot.protocols.amqp091 import rewriting
from entrepot.simulation.crashing_run import CrashingRun
from entrepot.simulation.store_model import Violation
from entrepot.simulation.store_run import Seams
from entrepot.simulation.timed_model import TimedMessage

NAMESPACE = "public/default"
ACTIONS = 90  # between two crashes
CLIENTS = 4
GROUPS = (b"a", b"b", b"c", b"d")
RECEIVE_MAX = 6
QUEUES = ("fifo", "standard", "fair")
POLICIES = {
    "dead.fifo": TimedPolicy(groups=True, visibility_ms=2_000),
    "dead": TimedPolicy(visibility_ms=2_000),
    "fifo": TimedPolicy(groups=True, visibility_ms=1_500, dead_letter_queue="dead.fifo", receive_max=RECEIVE_MAX),
    "standard": TimedPolicy(visibility_ms=1_500, dead_letter_queue="dead", receive_max=RECEIVE_MAX),
    "fair": TimedPolicy(visibility_ms=1_500),
}
DEDUPLICATION_MS = 300_000
BEHIND_MS = 1  # a shard's time begins at a whole millisecond: what is counted from when something was asked for may end so much sooner


class TimedRun(CrashingRun):
    """One seed's run."""

    actions = ACTIONS

    def __init__(self, seed: int, seams: Seams | None = None) -> None:
        super().__init__(seed, seams)
        # this life of the broker
        self.clients: list[_Client] = []
        # all lives
        self.messages: dict[bytes, TimedMessage] = {}
        self.by_group: dict[tuple[str, bytes], list[TimedMessage]] = {}
        self.ids: dict[bytes, tuple[int, int]] = {}  # deduplication id -> when the last that was stored was sent, and its number
        self.last_ids: list[tuple[bytes, bytes]] = []
        self.receives = 0
        self.confirms = 0
        self.deaths = 0

    def conclude(self) -> None:
        """See CrashingRun."""
        for message in self.messages.values():
            if message.confirmed and not (message.settled or message.settling):
                raise Violation(f"{message.body!r} of queue {message.queue} is lost")

    # ---- the broker

    def start(self) -> None:
        """Recover; make the queues the first time."""
        self.clients = []
        self.broker = self.recovered()
        rate, self.faults.rate = self.faults.rate, 0.0
        self.make_queues()
        self.faults.rate = rate

    def make_queues(self) -> None:
        """Those that there are not yet. Violation: that cannot be done."""
        maker = _Client(self)
        for name, policy in POLICIES.items():
            call = make_ask(0, CreateTimedQueue(name, policy, frozenset(), {}, {}))
            maker.door.submit(call)
            self.loop.run_until(lambda call=call: call.outcome != PENDING, 60)  # type: ignore[misc]
            if call.outcome != DONE:
                raise Violation(f"queue {name} cannot be made: {call.error}")

    # ---- its clients

    def act(self) -> None:
        """Somebody does something, and some time passes."""
        while len(self.clients) < CLIENTS:
            self.clients.append(_Client(self))
        client = self.chance.choice(self.clients)
        what = self.chance.random()
        if what < 0.35:
            client.send(self.chance.choice(QUEUES))
        elif what < 0.65:
            client.receive(self.chance.choice((*QUEUES, "fifo", "dead", "dead.fifo")))
        elif what < 0.9:
            client.settle()
        elif what < 0.95:
            client.change()
        elif what < 0.98:
            client.withdraw()
        else:
            self.clients.remove(client)
            client.door.close()
        self.loop.run_for(self.chance.choice((1e-5, 1e-3, 1e-2, 0.2)))
        self.check_store()

    def drain(self) -> None:
        """Settle everything, until nothing more comes for longer than any lease and delay."""
        self.wandering.come_home()
        client = _Client(self)
        for other in self.clients:
            other.door.close()
        quiet_since = self.loop.time()
        while self.loop.time() - quiet_since < 8:
            before = self.receives
            for queue in POLICIES:
                client.receive(queue, wait_ms=0)
            self.loop.run_for(0.05)
            client.settle_all()
            self.loop.run_for(0.05)
            if self.receives > before:
                quiet_since = self.loop.time()

    # ---- what they are told

    def now_ms(self) -> int:
        """The broker's clock."""
        return self.clock.wall_ms()

    def received(self, queue: str, body: bytes, deliveries: int, until_ms: int, lease: tuple[bytes, int, bytes], batch: set[bytes], again: bool) -> None:
        """A client was given a record; `batch`: what came before it in the same answer."""
        message = self.messages.get(body)
        if message is None:
            raise Violation(f"queue {queue} gave {body!r}, which nobody sent")
        self.receives += 1
        now = self.now_ms()
        home = message.queue
        in_dead = queue != home
        if in_dead and queue != POLICIES[home].dead_letter_queue:
            raise Violation(f"queue {queue} gave {body!r} of queue {home}")
        if message.settled:
            raise Violation(f"{body!r} came after its settlement was confirmed")
        if now < message.due_ms and not in_dead:
            raise Violation(f"{body!r} came {message.due_ms - now} ms before its time")
        if message.held_until_ms > now and not again:
            raise Violation(f"{body!r} came while it was leased for {message.held_until_ms - now} ms more")
        if message.dead and not in_dead:
            raise Violation(f"{body!r} came from queue {queue} after it was dead")
        if in_dead and not message.dead:
            message.dead = True
            message.deliveries = 0
            self.deaths += 1
        if deliveries < message.deliveries + (0 if again else 1):
            raise Violation(f"{body!r} was delivered {deliveries} times by what is said, but {message.deliveries} times before")
        if not in_dead and POLICIES[home].receive_max and deliveries > RECEIVE_MAX:
            raise Violation(f"{body!r} was delivered {deliveries} times, more than {RECEIVE_MAX}")
        message.confirmed = True  # who got it knows that it is there
        message.settling = message.perhaps = False  # what was asked has not happened, or came too late
        if home == "fifo" and not in_dead:
            self.check_order(message, batch, now)
        message.deliveries = deliveries
        message.leased(lease, until_ms)
        self.loop.note("received", queue, body, deliveries)

    def check_order(self, message: TimedMessage, batch: set[bytes], now: int) -> None:
        """Every earlier one of its group is settled, dead, or came just before it; one of unknown fate may be anything."""
        for other in self.by_group[message.queue, message.group]:
            if other.offset < 0 or message.offset < 0 or other.offset >= message.offset:
                continue
            if other.body in batch or other.dead or other.settled or other.settling or not other.confirmed:
                continue
            if other.deliveries >= RECEIVE_MAX or self.is_gone(other):
                continue  # on its way to the dead-letter queue, or there: if it is nowhere, it is lost in the end
            how = "is leased" if other.held_until_ms > now else "did not come yet"
            raise Violation(f"{message.body!r} came before {other.body!r} of its group, which {how}")

    def is_gone(self, message: TimedMessage) -> bool:
        """Whether the record is settled in its queue, which nobody who settles it was told."""
        return bool(self.queue_of(message.queue).subscription.is_settled(message.offset))

    def queue_of(self, name: str) -> Any:
        """The live queue."""
        return self.broker.catalogue.namespace(NAMESPACE).queues[name].runtime

    def attach(self, client: _Client) -> Attachment:
        """A connection's side of the port."""
        return self.broker.attach(client, Principal("me"), NAMESPACE)

    def check_repeat(self, ident: bytes, number: int, asked_ms: int) -> None:
        """A Send with this deduplication id was stored as a record of its own."""
        first = self.ids.get(ident)
        if first is not None and first[1] != number and asked_ms - first[0] < DEDUPLICATION_MS - BEHIND_MS:
            raise Violation(f"a repeat of {ident!r} was stored after {asked_ms - first[0]} ms")
        self.ids[ident] = (asked_ms, number)


class _Client(Sink):
    """A connection."""

    def __init__(self, run: TimedRun) -> None:
        self.run = run
        self.held: list[TimedMessage] = []
        self.waiting: list[Receive] = []
        self.sent: dict[int, tuple[list[bytes], list[bytes]]] = {}
        self.asked: dict[int, tuple[list[TimedMessage], int | None]] = {}
        self.door: Attachment = run.attach(self)

    def throttle(self, blocked: bool, reason: str) -> None:
        pass

    # ---- what it does

    def send(self, queue: str) -> None:
        run = self.run
        chance = run.chance
        bodies, groups, ids, delays = [], [], [], []
        for _ in range(chance.choice((1, 1, 3, 10))):
            run.serial += 1
            group = chance.choice(GROUPS)
            delay = chance.choice((0, 0, 0, 500, 3_000)) if queue == "standard" else 0
            body = b"%s:%s:%06d" % (queue.encode(), group, run.serial) + b"." * chance.choice((0, 10, 500))
            ident = b"id%06d" % run.serial
            if queue == "fifo" and chance.random() < 0.2 and run.last_ids:
                ident = chance.choice(run.last_ids[-20:])[0]
            message = TimedMessage(body, queue, group, run.now_ms() + delay - BEHIND_MS, run.serial)
            run.messages[body] = message
            run.by_group.setdefault((queue, group), []).append(message)
            bodies.append(body)
            groups.append(group)
            ids.append(ident)
            delays.append(delay)
            if queue == "fifo":
                run.last_ids.append((ident, body))
        grouped = queue != "standard"
        data = b"".join(
            rewriting.Parts({}, [(b"x-group-id", b"S" + len(group).to_bytes(4, "big") + group)] if grouped else None, body).packed()
            for body, group in zip(bodies, groups, strict=True)
        )
        numbers = [b"%016d" % run.messages[body].number for body in bodies]
        flags = HAS_GROUPS if grouped else 0
        call = make_send(1, queue, run.codec.tag, run.codec.version, flags, data, len(bodies), [1] * len(bodies), numbers)
        call.groups = groups if grouped else None
        call.delays_ms = delays if queue == "standard" else None
        call.deduplication_ids = ids if queue == "fifo" else None
        call.tag = run.now_ms()
        self.sent[id(call)] = (bodies, ids)
        self.door.submit(call)

    def receive(self, queue: str, wait_ms: int = -1) -> None:
        chance = self.run.chance
        visibility = chance.choice((-1, -1, 0, 300, 5_000))
        call = make_receive(1, queue, self.run.codec.tag, chance.choice((1, 3, 10)), visibility, chance.choice((0, 500, 20_000)) if wait_ms < 0 else wait_ms)
        call.tag = self.run.now_ms()
        self.waiting.append(call)
        self.door.submit(call)

    def withdraw(self) -> None:
        if self.waiting:
            self.door.submit(make_withdraw(1, self.run.chance.choice(self.waiting)))

    def settle(self) -> None:
        chosen = [message for message in self.held if self.run.chance.random() < 0.6]
        self._end(chosen, None)

    def settle_all(self) -> None:
        self._end(list(self.held), None)

    def change(self) -> None:
        chosen = [message for message in self.held if self.run.chance.random() < 0.3]
        self._end(chosen, self.run.chance.choice((0, 400, 4_000)))

    def _end(self, chosen: list[TimedMessage], visibility_ms: int | None) -> None:
        homes: dict[str, list[TimedMessage]] = {}
        for message in chosen:
            home = POLICIES[message.queue].dead_letter_queue if message.dead else message.queue
            homes.setdefault(home or "", []).append(message)
        for queue, messages in homes.items():
            leases = [message.lease for message in messages if message.lease is not None]
            times = None if visibility_ms is None else [visibility_ms] * len(messages)
            call = make_end_leases(1, queue, leases[0][0], [lease[1] for lease in leases], [lease[2] for lease in leases], times)
            self.asked[id(call)] = (messages, visibility_ms)
            call.tag = [message.lease for message in messages]
            for message in messages:
                if visibility_ms is None:
                    message.settling = True
                    self.held.remove(message)
                else:
                    message.changing(call, self.run.now_ms() + visibility_ms - BEHIND_MS)
            self.door.submit(call)

    # ---- what it is told

    def completed(self, call: Call) -> None:
        if isinstance(call, Send):
            self._sent(call)
        elif isinstance(call, Receive):
            self._received(call)
        elif isinstance(call, EndLeases):
            self._ended(call)

    def _sent(self, call: Send) -> None:
        bodies, ids = self.sent.pop(id(call))
        run = self.run
        if call.outcome == UNAVAILABLE:
            for body in bodies:  # which must not come then
                message = run.messages.pop(body)
                run.by_group[message.queue, message.group].remove(message)
            return
        if call.outcome == UNKNOWN:
            return
        if call.outcome != DONE or call.errors is not None:
            raise Violation(f"a Send was refused: {call.error} {call.errors}")
        for body, ident, offset, stored_id in zip(bodies, ids, call.offsets, call.stored_ids, strict=True):
            message = run.messages[body]
            if int(stored_id) == message.number:
                if call.queue == "fifo":
                    run.check_repeat(ident, message.number, call.tag)
                message.confirmed = True
                message.offset = offset
                run.confirms += 1
            elif call.queue != "fifo":
                raise Violation(f"{body!r} was answered with the id of another message")
            else:
                first = next((other for other in run.messages.values() if other.number == int(stored_id)), None)
                if first is None:
                    raise Violation(f"{body!r} was answered as a repeat of a message which nobody sent")
                first.confirmed = True
                first.offset = offset
                run.by_group[message.queue, message.group].remove(message)
                del run.messages[body]

    def _received(self, call: Receive) -> None:
        self.waiting = [other for other in self.waiting if other is not call]
        if call.outcome in (UNAVAILABLE, UNKNOWN):
            return
        if call.outcome != DONE:
            raise Violation(f"a Receive was refused: {call.error}")
        run = self.run
        batch: set[bytes] = set()
        for item in call.received:
            body = bytes(rewriting.take_apart(run.codec.split(item.data, item.position, 1)[0]).body)
            visibility = call.visibility_ms
            lease = (call.queue_id, item.offset, call.lease_id)
            # The lease began between the call and the answer; it is certain from the lease id's own time on.
            until_ms = int.from_bytes(call.lease_id[:6], "big") + visibility
            message = run.messages.get(body)
            if message is not None and message.offset < 0:
                message.offset = item.offset
            run.received(call.queue, body, item.deliveries, until_ms, lease, batch, False)
            batch.add(body)
            for client in (self, *run.clients):
                client.held = [other for other in client.held if other.body != body]
            self.held.append(run.messages[body])

    def _ended(self, call: EndLeases) -> None:
        messages, visibility_ms = self.asked.pop(id(call))
        if call.outcome not in (DONE, UNAVAILABLE, UNKNOWN):
            raise Violation(f"an EndLeases was refused: {call.error}")
        statuses = call.statuses if call.outcome == DONE else [None] * len(messages)
        for message, status, lease in zip(messages, statuses, call.tag, strict=True):
            if visibility_ms is not None:
                if call.outcome != UNKNOWN:
                    message.changed(call, status == ENDED)
            elif call.outcome == UNKNOWN:
                message.perhaps = message.settling
            elif call.outcome == UNAVAILABLE:
                message.settling = message.settling and (message.lease != lease or message.perhaps)
            else:
                message.settling = message.settling and status != ENDED and message.lease == lease
                message.settled = message.settled or status == ENDED
