"""Random work on a queue against a naive model: nothing lost, nothing twice without being given back, order kept, counts right."""

from broker_bench import Bench
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from both_modes import examples
from entrepot.broker.calls import requests as r
from entrepot.broker.calls.port import ACCEPT, REJECT, RELEASE, make_settle
from entrepot.broker.queue.parts import parts_of

NAMES = ("a", "b", "c")


class QueueMachine(RuleBasedStateMachine):
    """`ready` are the bodies that the queue must still have, in order; `held` what each consumer has out; `dead` what was rejected, in order."""

    durable = True
    arguments = ()  # of the queue: pairs

    @initialize(seed=st.integers(0, 1000))
    def begin(self, seed):
        self.bench = Bench(seed)
        self.ready = []  # (number, was out before)
        self.held = {}  # name -> {number: (consumer id, offset)}
        self.limits = {}
        self.dead = []
        self.connections = {}
        self.gone = set()
        self.marked = 0  # after a restart everything that may have been delivered is marked
        self.next = 0
        self.admin = self.bench.connect()
        self.admin.declare("dead")
        self.admin.declare(durable=self.durable, x_dead_letter_exchange="", x_dead_letter_routing_key="dead", **dict(self.arguments))
        self.publisher = self.bench.connect()

    # ---- what happens

    @rule(runs=st.lists(st.integers(1, 6), min_size=1, max_size=4))
    def publish(self, runs):
        for size in runs:
            numbers = range(self.next, self.next + size)
            self.publisher.publish(*[b"%d" % number for number in numbers])
            self.ready += [(number, False) for number in numbers]
            self.next += size
        self.flow()

    @rule(name=st.sampled_from(NAMES), limit=st.integers(1, 5))
    def consume(self, name, limit):
        if name in self.connections:
            return
        self.connections[name] = self.bench.connect()
        self.connections[name].consume(name, limit=limit)
        self.limits[name] = limit
        self.held[name] = {}
        self.flow()

    @precondition(lambda self: any(self.held.values()))
    @rule(data=st.data(), disposition=st.sampled_from([ACCEPT, ACCEPT, RELEASE, REJECT]))
    def settle(self, data, disposition):
        name = data.draw(st.sampled_from([name for name, held in self.held.items() if held]))
        chosen = data.draw(st.lists(st.sampled_from(sorted(self.held[name])), unique=True, min_size=1))
        for number in chosen:
            consumer_id, offset = self.held[name].pop(number)
            self.connections[name].door.submit(make_settle(1, consumer_id, offset, 1, disposition))
            if disposition == RELEASE:
                self.back(number)
            elif disposition == REJECT:
                self.dead.append(number)
            else:
                self.gone.add(number)
        self.flow()

    @precondition(lambda self: self.connections)
    @rule(data=st.data())
    def disconnect(self, data):
        name = data.draw(st.sampled_from(sorted(self.connections)))
        for number in self.held.pop(name):
            self.back(number)
        self.connections.pop(name).close()
        self.flow()

    @precondition(lambda self: self.connections)
    @rule(data=st.data())
    def cancel(self, data):
        name = data.draw(st.sampled_from(sorted(self.connections)))
        self.connections[name].cancel(name)
        self.limits[name] = 0  # keeps what it holds
        self.flow()

    @rule(auto_settle=st.booleans())
    def get(self, auto_settle):
        got = self.admin.get(auto_settle=True) if auto_settle else self.admin.get()
        if not self.ready:
            assert got is None
            return
        number, was_out = self.ready.pop(0)
        assert got is not None
        assert int(got[0]) == number
        assert got[2] == len(self.ready)
        if was_out:
            assert got[1]
        if auto_settle:
            self.gone.add(number)
        else:
            self.admin.accept("get")
            self.gone.add(number)
        self.flow()

    @precondition(lambda self: len(self.ready) > 3)
    @rule()
    def purge(self):
        assert self.admin.ask(r.PurgeQueue("q")) == len(self.ready)
        self.gone.update(number for number, _ in self.ready)
        self.ready = []
        self.flow()

    @precondition(lambda self: self.durable)
    @rule()
    def reopen(self):
        self.bench.run()
        self.begin_again(self.bench.reopen())

    def begin_again(self, bench):
        """A new process; what was held is ready again."""
        self.bench = bench
        for held in self.held.values():
            for number in held:
                self.back(number)
        self.held = {}
        self.connections = {}
        self.limits = {}
        self.admin = self.bench.connect()
        self.publisher = self.bench.connect()
        self.flow()

    # ---- what must follow

    def back(self, number):
        self.ready.append((number, True))
        self.ready.sort()

    def flow(self):
        """Let deliveries happen, and take them over into the model."""
        self.bench.run()
        out = []
        for name, connection in self.connections.items():
            numbers = [int(body) for body, _ in connection.got.get(name, [])]
            assert numbers == sorted(numbers), "order"
            was_out = dict(self.ready)
            for number, redelivered in ((int(body), again) for body, again in connection.deliveries(name)):
                assert number in was_out, f"{number} is not the queue's to give"
                assert redelivered or not was_out[number]
                out.append(number)
            for body, consumer_id, offset in connection.held.pop(name, []):
                self.held[name][int(body)] = (consumer_id, offset)
            assert not self.limits[name] or len(self.held[name]) <= self.limits[name]
        assert len(out) == len(set(out)), "twice"
        assert sorted(out) == [number for number, _ in self.ready[: len(out)]], "the oldest first"
        self.ready = self.ready[len(out) :]
        if self.ready:
            for name in self.connections:
                assert len(self.held[name]) >= self.limits[name], f"{name} has room"

    @invariant()
    def counts(self):
        if not hasattr(self, "bench"):
            return
        queue = self.bench.queue()
        assert queue.depth() == len(self.ready)
        assert sum(part.subscription.leased_count for part in parts_of(queue)) == sum(map(len, self.held.values()))
        assert self.bench.queue("dead").depth() == len(self.dead)
        assert self.bench.failed == []

    def teardown(self):
        if not hasattr(self, "bench"):
            return
        for name in list(self.connections):
            for number in self.held.pop(name):
                self.back(number)
            self.connections.pop(name).close()
        reader = self.bench.connect()
        reader.consume("rest", auto_settle=True).consume("dead", "dead", auto_settle=True)
        self.bench.run()
        assert [int(body) for body in reader.bodies("rest")] == [number for number, _ in self.ready]
        self.check_dead([int(body) for body in reader.bodies("dead")])
        assert len(self.gone) + len(self.ready) + len(self.dead) == self.next

    def check_dead(self, numbers):
        assert numbers == self.dead


class VolatileMachine(QueueMachine):
    durable = False


class LimitMachine(RuleBasedStateMachine):
    """Deliveries counted against a limit, over requeues, consumers that go and processes that die.

    `deliveries` is how often each number was delivered, as the broker has to know it; `maybe` are those that a crash may have made one more of,
    as the mark covered them and nobody had got them.
    """

    @initialize(seed=st.integers(0, 1000), limit=st.integers(0, 3), single_active=st.booleans())
    def begin(self, seed, limit, single_active):
        self.bench = Bench(seed)
        self.limit = limit
        self.ready = []
        self.held = {}  # name -> {number: (consumer id, offset)}
        self.connections = {}
        self.deliveries = {}
        self.maybe = set()
        self.dead = []
        self.next = 0
        admin = self.bench.connect()
        admin.declare("dead")
        arguments = {"x_dead_letter_exchange": "", "x_dead_letter_routing_key": "dead", "x_single_active_consumer": single_active}
        admin.declare(x_queue_type="quorum", x_delivery_limit=limit, **arguments)

    @rule(size=st.integers(1, 20))
    def publish(self, size):
        numbers = range(self.next, self.next + size)
        self.bench.connect().put(*[b"%d" % number for number in numbers])
        self.ready += numbers
        self.deliveries.update(dict.fromkeys(numbers, 0))
        self.next += size
        self.flow()

    @rule(name=st.sampled_from(NAMES), limit=st.integers(1, 5))
    def consume(self, name, limit):
        if name not in self.connections:
            self.held[name] = {}
            self.connections[name] = self.bench.connect().consume(name, limit=limit)
            self.flow()

    @precondition(lambda self: any(self.held.values()))
    @rule(data=st.data(), disposition=st.sampled_from([ACCEPT, RELEASE, RELEASE]))
    def settle(self, data, disposition):
        name = data.draw(st.sampled_from([name for name, held in self.held.items() if held]))
        for number in data.draw(st.lists(st.sampled_from(sorted(self.held[name])), unique=True, min_size=1)):
            self.connections[name].door.submit(make_settle(1, *self.held[name].pop(number), 1, disposition))
            if disposition == RELEASE:
                self.ended(number)
        self.flow()

    @precondition(lambda self: self.connections)
    @rule(data=st.data())
    def disconnect(self, data):
        name = data.draw(st.sampled_from(sorted(self.connections)))
        self.connections.pop(name).close()
        for number in sorted(self.held.pop(name)):
            self.ended(number)
        self.flow()

    @rule()
    def reopen(self):
        self.bench = self.bench.reopen()
        self.began()

    @rule()
    def kill(self):
        self.bench.disk.kill()
        self.bench = self.bench.start_again()
        self.maybe.update(number for number in self.ready if not self.deliveries[number])
        self.began()

    def began(self):
        for held in self.held.values():
            for number in sorted(held):
                self.ended(number)
        self.held = {}
        self.connections = {}
        self.flow()

    def ended(self, number):
        """A delivery of it has: it is ready again, or was the last."""
        if self.deliveries[number] <= self.limit:
            self.ready.append(number)
            self.ready.sort()
        else:
            self.dead.append(number)

    def flow(self):
        """Take over what was delivered."""
        self.bench.run()
        for name, connection in self.connections.items():
            for body, told in connection.told.pop(name, []):
                number = int(body)
                assert number in self.ready, f"{number} is not there to be given"
                self.ready.remove(number)
                if number in self.maybe and told:
                    self.deliveries[number] += 1
                self.maybe.discard(number)
                assert told == self.deliveries[number], f"{number} was delivered as often"
                self.deliveries[number] += 1
            for body, consumer_id, offset in connection.held.pop(name, []):
                self.held[name][int(body)] = (consumer_id, offset)

    @invariant()
    def what_there_is(self):
        if hasattr(self, "bench"):
            assert self.bench.queue().depth() == len(self.ready)
            assert self.bench.queue("dead").depth() == len(self.dead)
            counts = self.bench.queue().counts
            assert counts.kept.count <= len(self.ready) + sum(map(len, self.held.values())), "what is settled is forgotten"


TestDurable = QueueMachine.TestCase
TestDurable.settings = settings(max_examples=10, stateful_step_count=20, deadline=None)
TestLimit = LimitMachine.TestCase
TestLimit.settings = settings(max_examples=examples(25), stateful_step_count=25, deadline=None)
TestVolatile = VolatileMachine.TestCase
TestVolatile.settings = settings(max_examples=8, stateful_step_count=20, deadline=None)
