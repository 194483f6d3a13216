"""WorkersSharedRun: shared subscriptions over three workers that are killed, stand still and lose their links; members at each of them come and go.

One group has a member that is kept, so that it is there for good; the other is there while one of its members is. Of each message that was confirmed while a
group was there, and has been since:

    nothing lost   a member of the group takes it in the end
    one of them    it is with one at a time, comes to nobody when somebody has taken it whose connection lives, and is marked when it comes again
"""

from __future__ import annotations

from functools import partial

from entrepot.broker.calls import requests as r
from entrepot.broker.calls.port import ACCEPT, DONE, RELEASE, Call, Delivery, make_publish, make_settle
from entrepot.broker.calls.shared_requests import JoinShared, LeaveShared
from entrepot.broker.front.parting import make_address
from entrepot.model.errors import NotDone
from entrepot.protocols.amqp091 import rewriting
from entrepot.simulation.store_model import Violation
from entrepot.simulation.store_run import Seams
from entrepot.simulation.workers_port_run import Peer, Steps, WorkersPortRun

KEPT, LOOSE = "share.kept", "share.loose"
MEMBER = "m.kept"  # the one that is kept
PUBLISHERS = 2
MEMBERS = 5
LIMITS = (1, 5, 20)
QUIET_S = 5.0
DRAIN_S = 120.0


class Group:
    """What its members were given. `count`: those who are members for certain."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.count = 0
        self.must: set[bytes] = set()  # that it may not lose
        self.given: set[bytes] = set()
        self.held: dict[bytes, Member] = {}
        self.taken: dict[bytes, tuple[Member, int]] = {}  # by whom, and how often somebody had stood still; -1: so did its own worker
        self.gone_count = 0  # how often nobody was a member


class WorkersSharedRun(WorkersPortRun):
    """One seed's run."""

    def __init__(self, seed: int, seams: Seams | None = None) -> None:
        super().__init__(seed, seams)
        self.groups = {name: Group(name) for name in (KEPT, LOOSE)}
        self.publishers: list[Publisher] = []
        self.members: list[Member] = []
        # what came of it
        self.confirmed = 0
        self.shared = 0  # messages that had to come, of both groups
        self.left = 0

    def prepare(self) -> None:
        """The group that stays has its first member."""
        keeper = Keeper(self)
        self.loop.run_until(lambda: keeper.is_done, 60)
        keeper.close()
        self.groups[KEPT].count = 1

    def act(self) -> None:
        """Somebody does something."""
        what = self.chance.random()
        if len(self.publishers) < PUBLISHERS:
            self.publishers.append(Publisher(self))
        elif len(self.members) < MEMBERS and what < 0.3:
            Member(self, self.chance.choice((KEPT, LOOSE)), self.chance.choice(LIMITS))
        elif what < 0.6:
            self.chance.choice(self.publishers).publish(self.chance.choice((1, 1, 5)))
        elif self.members and what < 0.93:
            self.chance.choice(self.members).settle()
        elif self.members and what < 0.97:
            self.left += 1
            self.chance.choice(self.members).leave()
        elif self.members:
            self.chance.choice(self.members).close()

    def drain(self) -> None:
        """Members of both take everything, until nothing more comes."""
        for name in (KEPT, LOOSE):
            Member(self, name, 20)
        quiet_since = self.loop.time()
        end = quiet_since + DRAIN_S
        while self.loop.time() - quiet_since < QUIET_S and self.loop.time() < end:
            for member in list(self.members):
                if member.held:
                    quiet_since = self.loop.time()
                    member.take_all()
            self.loop.run_for(0.05)

    def conclude(self) -> None:
        """See CrashingRun."""
        for group in self.groups.values():
            lost = group.must - group.taken.keys()
            if lost:
                raise Violation(f"{len(lost)} messages of {group.name} are lost, such as {min(lost)!r}")

    def left_group(self, group: Group) -> None:
        """One of its members is none any more, or will be."""
        group.count -= 1
        if group.count == 0:
            group.gone_count += 1
            group.must.clear()


class Keeper(Peer):
    """Makes the member that is kept."""

    def __init__(self, run: WorkersSharedRun) -> None:
        super().__init__(run)
        self.is_done = False
        self.begin(self._steps())

    def _steps(self) -> Steps:
        yield r.DeclareQueue(MEMBER, durable=True)
        yield JoinShared(KEPT, "x.#", MEMBER)
        self.is_done = True


class Publisher(Peer):
    """Who publishes to both groups."""

    def __init__(self, run: WorkersSharedRun) -> None:
        super().__init__(run)
        self.run = run

    def publish(self, count: int) -> None:
        """Some messages, one by one, with confirms."""
        run, codec = self.run, self.run.codec
        for _ in range(count):
            run.serial += 1
            body = b"%06d" % run.serial + b"." * run.chance.choice((0, 0, 300))
            data = rewriting.Parts({}, None, body).packed()
            call = make_publish(1, make_address("amq.topic", "x.y"), codec.tag, codec.version, 0, data, 1, len(body))
            call.confirm = True
            there = [(group, group.gone_count) for group in run.groups.values() if group.count]
            self.submit(call, partial(self._answered_of, body, there))

    def _answered_of(self, body: bytes, there: list[tuple[Group, int]], call: Call) -> None:
        if call.outcome != DONE:
            return
        self.run.confirmed += 1
        for group, gone_count in there:
            if group.gone_count == gone_count:  # it was there all the while
                self.run.shared += 1
                group.must.add(body)

    def lost(self) -> None:
        """See Peer."""
        self.run.publishers.remove(self)


class Member(Peer):
    """Who shares, until its connection ends, or it leaves."""

    def __init__(self, run: WorkersSharedRun, name: str, limit: int) -> None:
        super().__init__(run)
        self.run = run
        self.group = run.groups[name]
        self.is_member = False
        self.held: dict[bytes, tuple[int, int, int]] = {}  # consumer, offset, and how often somebody had stood still then
        run.members.append(self)
        run.serial += 1
        self.begin(self._steps(f"m.{run.serial}", limit))

    def _steps(self, queue: str, limit: int) -> Steps:
        self.queue = queue
        name = self.group.name
        try:
            yield r.DeclareQueue(queue, durable=False, exclusive=True)
            yield JoinShared(name, "x.#", queue)
            self.is_member = True
            self.group.count += 1
            yield r.Consume(name, "c", limit=limit)
        except NotDone:
            self.close()

    def deliver(self, delivery: Delivery) -> int:
        """See Sink."""
        group = self.group
        stood = self.run.workers.stopped_count
        records = self.run.codec.split(delivery.data, delivery.position, delivery.count)
        for index, record in enumerate(records):
            body = bytes(rewriting.take_apart(record).body)
            holder, (taker, taken_at) = group.held.get(body), group.taken.get(body, (None, 0))
            if holder is not None and holder.held[body][2] == stood:
                self.run.violated(f"{body!r} is given to a second member of {group.name}")
            if taker is not None and not taker.is_over and taken_at == stood:  # who stands still has not said so, and its owner does not wait for it for ever
                self.run.violated(f"{body!r} was taken, and comes to another member of {group.name}")
            if body in group.given and not delivery.redelivered:
                self.run.violated(f"{body!r} comes a second time to {group.name}, and is not marked")
            group.given.add(body)
            group.held[body] = self
            self.held[body] = (delivery.consumer_id, delivery.offset + index, stood)
        return -1

    def settle(self) -> None:
        """It takes some of what it has, or gives one back."""
        if not self.held:
            return
        if self.run.chance.random() < 0.15:
            self._end(next(iter(self.held)), RELEASE)
            return
        for body in list(self.held)[: self.run.chance.choice((1, 5, 20))]:
            self._end(body, ACCEPT)

    def take_all(self) -> None:
        """All of it."""
        for body in list(self.held):
            self._end(body, ACCEPT)

    def _end(self, body: bytes, disposition: int) -> None:
        consumer, offset, _ = self.held.pop(body)
        if self.group.held.get(body) is self:
            del self.group.held[body]
        if disposition == ACCEPT:
            self.group.taken[body] = (self, -1 if self.door.process.is_stopped else self.run.workers.stopped_count)
        self.door.submit(make_settle(1, consumer, offset, 1, disposition))

    def leave(self) -> None:
        """It is to be a member no more; then it goes."""
        self._is_none()
        self.begin(self._leaving())

    def _leaving(self) -> Steps:
        try:
            yield LeaveShared(self.group.name, self.queue)
        except NotDone:
            pass
        self.close()

    def _is_none(self) -> None:
        if self.is_member:
            self.is_member = False
            self.run.left_group(self.group)

    def cancelled(self, token: object) -> None:
        """See Sink. It is a violation: the group is there as long as somebody is a member."""
        if self.is_member:
            self.run.violated(f"a member of {self.group.name} is told that it is gone")

    def lost(self) -> None:
        """See Peer."""
        self._is_none()
        self.run.members.remove(self)
        for body in self.held:
            if self.group.held.get(body) is self:
                del self.group.held[body]
        self.held.clear()
