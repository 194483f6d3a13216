"""Who may answer by its catalogue, and who is waited for: over clocks that drift, processes that stop and go on, and frames that take their time."""

import pytest
from memory_state import MemoryState

from entrepot.broker.catalogue.changes import NO_REVISION, Row, decode_change
from entrepot.broker.catalogue.stream import CatalogueStream
from entrepot.broker.state import CATALOGUE_PREFIX
from entrepot.cluster.catalogue.leases import FrontLease, Leases
from entrepot.simulation.loop import SimulatedLoop
from stopped_clock import StoppedClock

LEASE_S, MARGIN_S, BEAT_S = 3.0, 0.5, 0.5
DRIFT = 0.03


def test_the_lease_counts_from_the_sending():
    clock = StoppedClock()
    lease = FrontLease(clock, 3.0)
    assert not lease.may_answer
    number = lease.beat()
    clock.now_s += 2.0
    lease.answered(number)
    assert lease.left_s == 1.0
    clock.now_s += 1.0
    assert not lease.may_answer


def test_an_answer_to_an_earlier_heartbeat_takes_nothing_away():
    clock = StoppedClock()
    lease = FrontLease(clock, 3.0)
    first = lease.beat()
    clock.now_s += 1.0
    lease.answered(lease.beat())
    lease.answered(first)
    assert lease.left_s == 3.0


def test_what_was_sent_to_another_decider_is_nothing():
    clock = StoppedClock()
    lease = FrontLease(clock, 3.0)
    number = lease.beat()
    lease.forget()
    lease.answered(number)
    assert not lease.may_answer


def test_a_member_is_waited_for_until_its_time_is_over():
    clock = StoppedClock()
    leases = Leases(clock, 3.0, 0.5)
    leases.answer("a")
    clock.now_s += 3.4
    leases.answer("b")
    assert leases.left_out() == []
    clock.now_s += 0.2
    assert leases.left_out() == ["a"]
    assert (leases.is_counted("a"), leases.is_counted("b")) == (False, True)


def test_a_new_decider_waits_for_those_it_knows_nothing_of():
    clock = StoppedClock()
    leases = Leases(clock, 3.0, 0.5)
    clock.now_s += 3.4
    assert leases.waits
    clock.now_s += 0.2
    assert not leases.waits
    leases.begin()
    assert leases.waits


# ---- in a run


class Drifting:
    """A process's clock."""

    def __init__(self, loop, rate):
        self.loop = loop
        self.rate = rate

    def elapsed_s(self):
        return self.loop.time() * self.rate


class Process:
    """One that stops now and then: what comes meanwhile is heard in some order when it goes on, timers too."""

    def __init__(self, run, name):
        self.run = run
        self.name = name
        self.clock = Drifting(run.loop, 1 + run.random.uniform(-DRIFT, DRIFT))
        self.paused = False
        self.queued = []

    def does(self, do, *args):
        if self.paused:
            self.queued.append((do, args))
        else:
            do(*args)

    def later(self, delay_s, do, *args):
        self.run.loop.call_later(delay_s / self.clock.rate, self.does, do, *args)

    def go_on(self):
        self.paused = False
        frames = [item for item in self.queued if item[0].__name__ in ("take", "restart", "heard", "heartbeat", "applied")]
        others = [item for item in self.queued if item not in frames]
        self.queued = []
        while frames or others:
            do, args = (frames if frames and (not others or self.run.random.random() < 0.5) else others).pop(0)
            do(*args)


class Way:
    """Frames one way, in order, each with a delay of its own; cut off, they wait."""

    def __init__(self, run, to):
        self.run = run
        self.to = to
        self.free_s = 0.0

    def send(self, do, *args):
        delay = self.run.random.choice((0.001, 0.01, 0.1, self.run.random.random() * 3))
        at = self.free_s = max(self.free_s, self.run.loop.time() + delay)
        self.run.loop.call_at(at, self.to.does, do, *args)


class Front(Process):
    """Follows: a set of names is its catalogue."""

    def __init__(self, run, name):
        super().__init__(run, name)
        self.lease = run.front_lease(self.clock)
        self.revision = NO_REVISION
        self.names = set()
        self.begun = False
        self.in_, self.out = Way(run, self), Way(run, run.decider)
        self.answers = self.refusals = 0

    def beat(self):
        self.out.send(self.run.decider.heartbeat, self, self.lease.beat(), self.revision)
        self.later(BEAT_S, self.beat)

    def restart(self, data):
        self.begun = True
        self.names = set()
        self.take(data)

    def take(self, data):
        if self.begun:
            self.revision, rows = decode_change(data)
            for row in rows:
                (self.names.discard if row.gone else self.names.add)(row.key)
            self.out.send(self.run.decider.applied, self, self.revision)

    def heard(self, number):
        self.lease.answered(number)

    def publish(self):
        """Somebody asks for everything that was declared and answered before; what was asked while it stood still is as if asked now."""
        if not self.lease.may_answer:
            self.refusals += 1
            return
        self.answers += 1
        missing = self.run.answered - self.names
        if missing:
            self.run.violations.append((self.run.loop.time(), self.name, sorted(missing)[:3]))


class Sent:
    """See stream.Member."""

    def __init__(self, front):
        self.front = front

    def restart(self, snapshot):
        self.front.in_.send(self.front.restart, snapshot)

    def take(self, change):
        self.front.in_.send(self.front.take, change)


class Decider(Process):
    """One start after another."""

    def __init__(self, run):
        super().__init__(run, "decider")
        self.state = MemoryState()
        self.names = set()
        self.number = 0

    def begin(self):
        self.stream = self.run.stream(self.state)
        self.stream.add(Kept(self))
        self.leases = self.run.leases(self.clock)
        self.joined = set()

    def declare(self):
        if self.leases.waits:
            return
        self.number += 1
        key = CATALOGUE_PREFIX + b"n%06d" % self.number
        self.stream.commit([Row(key, {})])
        self.stream.ticket().calls.append(lambda: self.run.answered.add(key))
        self.commit()

    def commit(self):
        self.later(self.run.random.choice((0.001, 0.1, 5.0)), self.state.commit)

    def applied(self, front, revision):
        if front.name in self.joined and revision.epoch == self.stream.revision.epoch:
            self.stream.applied(front.name, revision)

    def heartbeat(self, front, number, revision):
        if front.name not in self.joined:
            self.joined.add(front.name)
            self.leases.answer(front.name)
            self.stream.join(front.name, Sent(front))
            self.commit()
            front.lease.forget()  # its start is another's: what was sent before is nothing
            return
        self.applied(front, revision)
        if self.leases.waits or self.stream.applied_by(front.name) < self.stream.let_through:
            return
        self.leases.answer(front.name)
        self.stream.count_in(front.name)
        front.in_.send(front.heard, number)

    def tick(self):
        for name in self.leases.left_out():
            self.stream.leave_out(name)
        self.later(0.2, self.tick)

    def start_again(self):
        """Its process is dead, and another start of it opens what it had."""
        self.state.epoch += 1
        self.begin()


class Kept:
    """The decider's own catalogue."""

    prefixes = (CATALOGUE_PREFIX + b"n",)

    def __init__(self, decider):
        self.decider = decider

    def apply(self, revision, rows):
        self.decider.names |= {row.key for row in rows}

    def rows(self):
        return iter([Row(key, {}) for key in sorted(self.decider.names)])

    def value(self, key, kept):
        return {}


class Run:
    """One seed's. `violations`: answers by what was not all that had been answered."""

    def __init__(self, seed, front_lease=FrontLease, leases=Leases, stream=CatalogueStream, restarts=True):
        self.loop = SimulatedLoop(seed)
        self.random = self.loop.random
        self.front_lease = lambda clock: front_lease(clock, LEASE_S)
        self.leases = lambda clock: leases(clock, LEASE_S, MARGIN_S)
        self.stream = stream
        self.restarts = restarts
        self.answered = set()
        self.violations = []
        self.fronts = []
        self.decider = Decider(self)
        self.decider.begin()
        self.fronts = [Front(self, f"front{number}") for number in range(2)]

    def go(self, steps=600):
        self.decider.tick()
        for front in self.fronts:
            front.beat()
        for _ in range(steps):
            self.step()
            self.loop.run_for(self.random.choice((0.001, 0.01, 0.1, 0.5)))
        return self

    def step(self):
        what = self.random.random()
        one = self.random.choice([*self.fronts, self.decider])
        if what < 0.4:
            self.decider.does(self.decider.declare)
        elif what < 0.9:
            front = self.random.choice(self.fronts)
            front.does(front.publish)
        elif what < 0.94 and not one.paused:
            one.paused = True
            self.loop.call_later(self.random.choice((0.1, 1.0, 6.0)), one.go_on)
        elif what < 0.945 and self.restarts and not self.decider.paused:
            self.decider.start_again()


@pytest.mark.parametrize("seed", range(60))
def test_what_was_declared_and_answered_is_known_to_all_who_may_answer(seed):
    run = Run(seed).go()
    assert run.violations == []
    assert len(run.answered) > 10
    assert sum(front.answers for front in run.fronts) > 5


class NobodyIsWaitedFor(CatalogueStream):
    def _let_through(self):
        members, self._members = self._members, {}
        try:
            super()._let_through()
        finally:
            self._members = members


class FromTheArrival(FrontLease):
    def answered(self, number):
        self._end_s = self._clock.elapsed_s() + self._lease_s


class LeavesOutAtOnce(Leases):
    def answer(self, name):
        self._end_s[name] = self._clock.elapsed_s() + BEAT_S


class DecidesAtOnce(Leases):
    waits = False


@pytest.mark.parametrize(
    "wrong",
    [
        {"stream": NobodyIsWaitedFor},
        {"front_lease": FromTheArrival},
        {"leases": LeavesOutAtOnce},
        {"leases": DecidesAtOnce},
    ],
    ids=lambda wrong: next(iter(wrong.values())).__name__,
)
def test_each_wrong_way_is_seen(wrong):
    assert any(Run(seed, **wrong).go().violations for seed in range(60))
