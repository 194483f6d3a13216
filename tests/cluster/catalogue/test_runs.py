"""Seeded runs: two or three brokers, whose clients declare, delete, bind and publish through all of them, while links break and processes start again."""

import random

import pytest
from brokers import Cluster

from entrepot.broker.calls import requests as r
from entrepot.broker.calls.port import DONE, PENDING, REFUSED, UNAVAILABLE, UNKNOWN
from entrepot.broker.catalogue import snapshots
from entrepot.broker.catalogue.stream import CatalogueStream
from entrepot.broker.groups.work import STEPS
from entrepot.cluster.catalogue import following
from entrepot.cluster.catalogue.deciding import Deciding
from entrepot.cluster.catalogue.following import Following
from entrepot.model.errors import Unavailable
from entrepot.store.local import store

SEEDS = 25 if str(store.__file__).endswith(".so") else 4
QUEUES = [f"q{number}" for number in range(4)]
EXCHANGES = ["e0", "e1"]
KEYS = ["a", "b"]
DEAD_S = 10.0  # what was asked from a process that is dead is done by then, or not


class Wrong(AssertionError):
    pass


class Thing:
    """One queue, exchange or binding by its name: what calls have asked to become of it.

    Each call is [made or not, when it was asked, when it was over, or None, whether it was done for certain]. What may be so is what any call says that is
    not overtaken: over before another one was asked, which was done in turn.
    """

    def __init__(self):
        self.calls = [[False, -1.0, -0.5, True]]

    def may_be(self, asked_s, now_s):
        """What somebody may be told who asks between these times."""
        found = set()
        done = [begun for _, begun, end, sure in self.calls if sure and end < asked_s]
        for made, begun, end, _ in self.calls:
            overtaken = end is not None and any(later > end for later in done)
            if begun <= now_s and not overtaken:
                found.add(made)
        return found


class Run:
    """One seed's. Queues are durable; who declared what does not matter."""

    def __init__(self, seed, count, restarts):
        self.cluster = Cluster(count, seed)
        self.chance = random.Random(seed)
        self.restarts = restarts
        self.things = {}
        self.waiting = []
        self.counts = {DONE: 0, REFUSED: 0, UNAVAILABLE: 0, UNKNOWN: 0}
        self.deaths = 0
        self.cluster.settle()
        self.connect()

    def connect(self):
        self.connections = [process.connect() for process in self.cluster.processes]
        self.own = {}  # what is exclusive: by name, the connection and the call that declared it

    @property
    def now(self):
        return self.cluster.loop.time()

    def thing(self, *name):
        return self.things.setdefault(name, Thing())

    def go(self, steps=250):
        for _ in range(steps):
            self.step()
            self.cluster.run(self.chance.choice((0.0001, 0.001, 0.01, 0.05, 0.3)))
            self.gather()
        self.cluster.settle()
        self.cluster.run(1.0)
        self.gather()
        if self.waiting:
            raise Wrong(f"{len(self.waiting)} calls have no answer: {self.waiting[0][0].request}")
        if self.counts[UNKNOWN] and not self.deaths:
            raise Wrong("an outcome is unknown, and nobody died")
        self.check_rest()
        return self

    def step(self):
        what = self.chance.random()
        if what < 0.25:
            self.change(("queue", self.chance.choice(QUEUES)))
        elif what < 0.3:
            self.change(("exchange", self.chance.choice(EXCHANGES)))
        elif what < 0.55:
            self.change(("binding", self.chance.choice(EXCHANGES), self.chance.choice(QUEUES), self.chance.choice(KEYS)))
        elif what < 0.7:
            self.look()
        elif what < 0.85:
            self.publish()
        elif what < 0.91:
            self.declare_own()
        elif what < 0.93:
            self.close_one()
        elif what < 0.95:
            self.pause()
        elif what < 0.99:
            wire = self.chance.choice(list(self.cluster.wires.values()))
            if wire.is_up:
                wire.break_off()
                self.cluster.loop.call_later(self.chance.choice((0.01, 0.5, 5.0)), self.mend, wire)
        elif self.restarts and self.deaths < 4:
            self.restart()

    def mend(self, wire):
        if wire.alive and not wire.is_up:
            wire.begin()

    def restart(self):
        self.deaths += 1
        number = self.chance.randrange(self.cluster.count)
        self.cluster.restart(number)
        self.forget(self.connections[number], self.now + DEAD_S)
        self.connections[number] = self.cluster.processes[number].connect()

    def who(self):
        """A client of a process that does not stand still."""
        return self.chance.choice([one for one, process in zip(self.connections, self.cluster.processes, strict=True) if not process.scheduler.paused])

    def pause(self):
        """A process stands still for a while, unless it is the last that does not."""
        schedulers = [process.scheduler for process in self.cluster.processes if not process.scheduler.paused]
        if len(schedulers) > 1:
            one = self.chance.choice(schedulers)
            one.paused = True
            self.cluster.loop.call_later(self.chance.choice((0.01, 0.5, 6.0)), one.go_on)

    # ---- what clients do

    def change(self, name):
        kind = name[0]
        made = self.chance.random() < {"queue": 0.7, "exchange": 0.85, "binding": 0.7}[kind]
        if kind == "queue":
            request = r.DeclareQueue(name[1], durable=True) if made else r.DeleteQueue(name[1])
        elif kind == "exchange":
            request = r.DeclareExchange(name[1], "direct", durable=True) if made else r.DeleteExchange(name[1])
        else:
            request = r.Bind(name[1], name[2], "queue", name[3], remove=not made)
        said = [made, self.now, None, False]
        self.thing(*name).calls.append(said)
        self.waiting.append((self.who().submit(request), name, said, self.now))

    def declare_own(self):
        """Something exclusive, bound to something that is not durable, if that is there."""
        who = self.who()
        name = f"own{len(self.own)}"
        self.own[name] = (who, who.submit(r.DeclareQueue(name, exclusive=True, durable=self.chance.random() < 0.5)))
        who.submit(r.DeclareExchange("passing", "fanout"))
        who.submit(r.Bind("passing", name))

    def close_one(self):
        gone = self.who()
        number = self.connections.index(gone)
        gone.close()
        self.forget(gone)
        self.connections[number] = self.cluster.processes[number].connect()

    def forget(self, connection, end_s=None):
        """It hears nothing any more. `end_s`: when what it had asked for is done, or not, if its process is dead; else it may be on its way for long."""
        for _, _, said, _ in [waiting for waiting in self.waiting if waiting[0].attachment is connection.door]:
            if said is not None:
                said[2] = end_s
        self.waiting = [waiting for waiting in self.waiting if waiting[0].attachment is not connection.door]
        for name, (who, _) in list(self.own.items()):
            if who is connection:
                self.own[name] = (None, None)

    def look(self):
        name = self.chance.choice(QUEUES)
        self.waiting.append((self.who().submit(r.DeclareQueue(name, passive=True)), ("queue", name), None, self.now))

    def publish(self):
        """Somewhere: what was bound must be reached. Whether all of it is reached its process's own routes say."""
        exchange, key = self.chance.choice(EXCHANGES), self.chance.choice(KEYS)
        certain = any(self.is_bound(exchange, queue, key) for queue in QUEUES)
        call = self.who().publish(b"x", key=key, exchange=exchange, mandatory=True)
        if certain and (call.outcome == REFUSED or (call.outcome == DONE and call.unroutable)):
            raise Wrong(f"{exchange} {key} leads nowhere: {call.error}")
        self.look_at_routes()

    def look_at_routes(self):
        number = self.connections.index(self.who())
        process = self.cluster.processes[number]
        try:
            if number:
                process.following.check()
        except Unavailable:
            return
        exchange, key = self.chance.choice(EXCHANGES), self.chance.choice(KEYS)
        if exchange not in process.space.exchanges:
            return
        found = {target.name for target in process.space.router.route(exchange, key).targets}
        for queue in QUEUES:
            if queue not in found and self.is_bound(exchange, queue, key):
                raise Wrong(f"{process.name} does not route {exchange} {key} to {queue}, which was bound")

    def is_bound(self, exchange, queue, key):
        """Whether that is certain."""
        parts = [self.thing("exchange", exchange), self.thing("queue", queue), self.thing("binding", exchange, queue, key)]
        return all(thing.may_be(self.now, self.now) == {True} for thing in parts) and self.was_bound_since(exchange, queue, key)

    def was_bound_since(self, exchange, queue, key):
        """Whether the binding was answered after its ends were last made: it goes with them."""
        bound = max((begun for made, begun, _, sure in self.thing("binding", exchange, queue, key).calls if made and sure), default=-1)
        ends = [*self.thing("exchange", exchange).calls, *self.thing("queue", queue).calls]
        return all(end is not None and end < bound for made, _, end, _ in ends if not made)

    # ---- what they are told

    def gather(self):
        for waiting in [waiting for waiting in self.waiting if waiting[0].outcome != PENDING]:
            self.waiting.remove(waiting)
            self.answered(*waiting)

    def answered(self, call, name, said, asked_s):
        self.counts[call.outcome] += 1
        thing = self.thing(*name)
        if said is None:
            if call.outcome in (DONE, REFUSED) and (call.outcome == DONE) not in thing.may_be(asked_s, self.now):
                raise Wrong(f"{call.attachment.home} is told {call.outcome} of {name}: {call.error}; {thing.calls}")
        elif call.outcome in (DONE, UNKNOWN):
            said[2:] = [self.now, call.outcome == DONE]
        else:
            thing.calls = [one for one in thing.calls if one is not said]  # it was not done

    def check_own(self, space):
        starts = {process.broker.start_id for process in self.cluster.processes}
        for name, (who, call) in self.own.items():
            queue = space.queues.get(name)
            if queue is not None and (who is None or queue.exclusive_to != who.door.home):
                raise Wrong(f"{name} is exclusive to {queue.exclusive_to}, who is gone")
            if queue is None and who is not None and call.outcome == DONE:
                raise Wrong(f"{name} is gone, though its connection is not")
        for one in [*space.queues.values(), *space.exchanges.values()]:
            if one.home and one.home not in starts:
                raise Wrong(f"{one.name} lives in a start that is dead")

    def check_rest(self):
        first, *others = [process.rows() for process in self.cluster.processes]
        if any(rows != first for rows in others):
            raise Wrong("not all have the same")
        space = self.cluster.processes[0].space
        for name in QUEUES:
            if (name in space.queues) not in self.thing("queue", name).may_be(self.now, self.now):
                raise Wrong(f"{name} is {'' if name in space.queues else 'not '}there: {self.thing('queue', name).calls}")
        self.check_own(space)
        for process in self.cluster.processes:
            kept = [queue for queue in space.queues.values() if queue.persistent]
            wanted = {queue.log_id for queue in kept if process.broker.shards.place(queue) % self.cluster.count == process.number}
            if {log.id for log in process.store.logs()} != wanted:
                raise Wrong(f"{process.name} has other logs than its queues'")


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("seed", range(SEEDS))
def test_links_that_break(seed, count):
    run = Run(seed, count, False).go()
    assert run.counts[DONE] > 10
    assert run.counts[UNKNOWN] == 0


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("seed", range(100, 100 + SEEDS))
def test_processes_that_die(seed, count):
    Run(seed, count, True).go()


@pytest.mark.long
@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("seed", range(1000, 1500))
def test_processes_that_die_over_and_over(seed, count):
    Run(seed, count, True).go()


@pytest.fixture
def pieces(monkeypatch):
    """Snapshots come a row a piece, and are taken in a row a turn; how many were in more than one of both."""
    monkeypatch.setattr(snapshots, "PIECE_ROWS", 1)
    monkeypatch.setattr(snapshots, "AT_ONCE", 0)
    monkeypatch.setattr(snapshots, "SLICE", 1)
    monkeypatch.setattr(snapshots, "_APPLIED_STEPS", STEPS)
    counts = [0, 0]
    piece, stop = Following._piece, Following._stop_applying

    def counted(self, frame):
        piece(self, frame)
        counts[0] += self._applying is not None

    def stopped(self):
        counts[1] += self._applying is not None
        stop(self)

    monkeypatch.setattr(Following, "_piece", counted)
    monkeypatch.setattr(Following, "_stop_applying", stopped)
    return counts


@pytest.mark.parametrize("seed", range(300, 300 + SEEDS // 3))
def test_snapshots_in_small_pieces(seed, pieces):
    Run(seed, 3, True).go()
    assert pieces[0] >= 2


@pytest.mark.long
@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("seed", range(2000, 2500))
def test_snapshots_in_small_pieces_over_and_over(seed, count, pieces):
    Run(seed, count, True).go()


def test_the_same_seed_is_the_same_run():
    first, second = (Run(7, 3, True).go() for _ in range(2))
    assert first.counts == second.counts
    assert first.cluster.loop.digest() == second.cluster.loop.digest()


# ---- what is done wrongly is seen


def seen(monkeypatch, target, name, wrong, seeds=range(200, 230), restarts=False):
    monkeypatch.setattr(target, name, wrong)
    for seed in seeds:
        try:
            Run(seed, 2, restarts).go()
        except AssertionError:  # of the run, or of the broker itself
            return True
    return False


def test_homes_that_are_not_announced_are_seen(monkeypatch):
    assert seen(monkeypatch, following, "announced", lambda *_: [], restarts=True)


def test_homes_of_the_dead_that_stay_are_seen(monkeypatch):
    assert seen(monkeypatch, Deciding, "_remove_home", lambda *_: None, restarts=True)


def test_connections_whose_end_is_not_told_are_seen(monkeypatch):
    assert seen(monkeypatch, Following, "ended", lambda *_: None)


def test_an_answer_before_the_barrier_is_seen(monkeypatch):
    def ticket(self):
        self.store.urgent()
        return self.store.group()

    assert seen(monkeypatch, CatalogueStream, "ticket", ticket)


def test_a_front_that_always_answers_is_seen(monkeypatch):
    assert seen(monkeypatch, Following, "check", lambda self: None)


def test_a_change_that_is_passed_over_is_seen(monkeypatch):
    right = CatalogueStream.take

    def take(self, revision, rows):
        right(self, revision, rows if revision.number % 7 else [])

    assert seen(monkeypatch, CatalogueStream, "take", take)


def test_calls_that_are_forgotten_with_their_decider_are_seen(monkeypatch):
    def lost(self):
        self.link = None
        self._asked.clear()

    assert seen(monkeypatch, Following, "_lost", lost, restarts=True)
