"""A front's calls on queues with timed leases whose owner's process dies and starts again; and a seeded run of them, checked against what must hold."""

import itertools

from broker_bench import CODEC, record_of
from returning_bench import ReturningBench

from entrepot.broker.calls.lease_calls import ENDED, make_end_leases, make_receive, make_send
from entrepot.broker.calls.port import DONE, PENDING
from entrepot.broker.calls.queue_requests import CreateTimedQueue, TimedPolicy
from entrepot.model.entry import HAS_GROUPS
from entrepot.protocols.amqp091 import rewriting

POLICIES = {"t": TimedPolicy(visibility_ms=600_000), "fifo": TimedPolicy(visibility_ms=600_000, groups=True)}
VISIBILITY_S = 600


def timed_bench(fronts=1, seed=1, bench_class=ReturningBench):
    requests = [CreateTimedQueue(name, policy, frozenset(), {}, {}, "") for name, policy in POLICIES.items()]
    return bench_class(fronts=fronts, seed=seed, topics=requests)


class Client:
    """Of a front."""

    ids = itertools.count(1)

    def __init__(self, bench, front):
        self.bench = bench
        self.front = front
        self.door = front.door()

    def _on(self, queue, call, do):
        call.attachment = self.door
        do(self.front.remote.timed(self.bench.log_id(queue)), call)
        return call

    def send(self, *bodies, queue="t"):
        ids = [next(self.ids).to_bytes(16, "big") for _ in bodies]
        data = b"".join(map(record_of, bodies))
        call = make_send(1, queue, CODEC.tag, 1, HAS_GROUPS if queue == "fifo" else 0, data, len(bodies), [len(body) for body in bodies], ids)
        if queue == "fifo":
            call.groups, call.deduplication_ids = [b"g"] * len(bodies), ids
        return self._on(queue, call, self.front.remote.send)

    def receive(self, queue="t", count=1, wait_ms=0):
        return self._on(queue, make_receive(1, queue, CODEC.tag, count, -1, wait_ms), self.front.remote.receive)

    def end(self, held, visibility_ms=None, queue="t"):
        """`held`: (offset, lease id) of each."""
        times = None if visibility_ms is None else [visibility_ms] * len(held)
        call = make_end_leases(1, queue, self.bench.log_id(queue), [offset for offset, _ in held], [lease for _, lease in held], times)
        return self._on(queue, call, self.front.remote.end_leases)


def bodies_of(call):
    return [bytes(rewriting.take_apart(CODEC.split(item.data, item.position, 1)[0]).body) for item in call.received]


def held_of(call):
    return [(item.offset, call.lease_id) for item in call.received]


class TimedRun:
    """Of a seed. AssertionError: something that must hold does not."""

    def __init__(self, seed):
        bench_class = type("Bench", (ReturningBench,), {"breaks": 0.01 if seed % 2 else 0.0})
        self.bench = timed_bench(2, seed, bench_class)
        self.chance = self.bench.chance
        self.clients = [Client(self.bench, front) for front in self.bench.fronts]
        self.serial = 0
        self.sends = []  # (queue, bodies, call)
        self.receives = []  # (queue, call)
        self.ends = []  # (queue, held, visibility, call)
        self.held = {}  # (queue, offset) -> lease id
        self.deleted = set()
        self.body_at = {}

    def act(self):
        what = self.chance.random()
        if what < 0.35:
            self.send()
        elif what < 0.6:
            self.receive()
        elif what < 0.8:
            self.end()
        elif what < 0.9:
            self.die()
        self.bench.run(self.chance.choice((0.0, 0.0002, 0.0005, 0.001, 0.02)))
        self.take()

    def send(self):
        queue = self.chance.choice(sorted(POLICIES))
        bodies = []
        for _ in range(self.chance.choice((1, 1, 3))):
            self.serial += 1
            bodies.append(b"%d" % self.serial)
        self.sends.append((queue, bodies, self.chance.choice(self.clients).send(*bodies, queue=queue)))

    def receive(self):
        queue = self.chance.choice(sorted(POLICIES))
        self.receives.append((queue, self.chance.choice(self.clients).receive(queue, self.chance.choice((1, 3)), self.chance.choice((0, 500)))))

    def end(self):
        if not self.held:
            return
        queue, _ = self.chance.choice(sorted(self.held))
        places = [place for place in sorted(self.held) if place[0] == queue][: self.chance.choice((1, 2))]
        held = [(place[1], self.held.pop(place)) for place in places]
        visibility = self.chance.choice((None, None, 0, 700_000))
        if visibility is None:
            self.deleted.update(places)
        self.ends.append((queue, held, visibility, self.chance.choice(self.clients).end(held, visibility, queue)))

    def die(self):
        self.bench.die(self.chance.random() < 0.7)
        for _ in range(self.chance.choice((0, 2, 6))):
            self.chance.choice((self.send, self.receive, self.end))()
        self.bench.run(self.chance.choice((0.0, 0.2)))
        self.bench.come_back(linked=False)
        for front in self.bench.fronts:
            self.bench.link(front)
            if self.chance.random() < 0.3:
                self.bench.run(0.3)

    def take(self):
        """What has been answered."""
        for queue, bodies, call in list(self.sends):
            if call.outcome != PENDING:
                self.sends.remove((queue, bodies, call))
                assert call.outcome == DONE, call.error
                assert call.errors is None
                assert call.stored_ids == call.message_ids
                for body, offset in zip(bodies, call.offsets, strict=True):
                    assert self.body_at.setdefault((queue, offset), body) == body
        for queue, call in list(self.receives):
            if call.outcome != PENDING:
                self.receives.remove((queue, call))
                assert call.outcome == DONE, call.error
                for body, (offset, lease_id) in zip(bodies_of(call), held_of(call), strict=True):
                    place = queue, offset
                    assert place not in self.held, f"{place} is leased to two"
                    assert place not in self.deleted, f"{place} comes again"
                    assert self.body_at.setdefault(place, body) == body
                    self.held[place] = lease_id
        for queue, held, visibility, call in list(self.ends):
            if call.outcome != PENDING:
                self.ends.remove((queue, held, visibility, call))
                assert call.outcome == DONE, call.error
                assert call.statuses == [ENDED] * len(held)
                for offset, lease_id in held:
                    if visibility == 700_000:
                        self.held[queue, offset] = lease_id

    def run(self, actions=60):
        for _ in range(actions):
            self.act()
        self.bench.run(8)
        self.take()
        assert [*self.sends, *self.receives, *self.ends] == []
        self.conclude()
        return self

    def conclude(self):
        """Each message is there once, and each that was not deleted comes."""
        for queue in POLICIES:
            assert self.bench.queue(queue).log.next_offset == sum(1 for place in self.body_at if place[0] == queue), "a message is there twice"
        assert len(self.body_at) == len(set(self.body_at.values())) == self.serial
        self.held.clear()
        for _ in range(3):  # what was given in an answer that was lost is another's when its lease is over
            self.bench.run(VISIBILITY_S + 110)
            self.drain()
        assert len(self.deleted) == self.serial, "something does not come"

    def drain(self):
        before = -1
        while len(self.deleted) > before:
            before = len(self.deleted)
            for queue in POLICIES:
                self.receives.append((queue, self.clients[0].receive(queue, 10)))
                self.bench.run(0.1)
                self.take()
            for queue in POLICIES:
                places = [place for place in self.held if place[0] == queue]
                self.deleted.update(places)
                self.clients[0].end([(place[1], self.held.pop(place)) for place in places], None, queue)
            self.bench.run(0.1)
