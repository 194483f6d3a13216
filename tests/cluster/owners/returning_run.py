"""A seeded run of fronts whose owners' process dies again and again, checked against what must hold at every delivery and at the end."""

from returning_bench import Owners, ReturningBench, bodies_of

from entrepot.broker.calls.port import ACCEPT, DONE, PENDING, REJECT, RELEASE

QUEUES = {"q": {}, "other": {}, "full": {"x_max_length": 6, "x_overflow": "reject-publish"}, "sac": {"x_single_active_consumer": True}}
LANES = [("q",), ("q", "other"), ("full",), ("full", "q"), ("sac",)]


class Token:
    """Who reads a queue, as the client knows him."""

    def __init__(self, queue, consumer=None):
        self.queue = queue
        self.consumer = consumer


class Run:
    """Of a seed. `holds`: whether a start of the owners waits for claims, as it should. AssertionError: something that must hold does not."""

    def __init__(self, seed, holds=True):
        class Process(Owners):
            pass

        Process.holds = holds
        bench_class = type("Bench", (ReturningBench,), {"owners_class": Process, "breaks": 0.01 if seed % 2 else 0.0})
        self.bench = bench_class(fronts=2, seed=seed, queues=QUEUES)
        self.chance = self.bench.chance
        self.serial = 0
        self.published = []  # (front's number, lane, bodies, call)
        self.consumers = []
        self.getters = []
        self.holder = {}  # (queue, offset) -> token
        self.ended = set()  # (queue, offset) accepted or rejected
        self.body_at = {}
        self.active = None  # of "sac": who was given something last
        self.gets = []
        for front in self.bench.fronts:
            front.lanes = [front.lane(*names) for names in LANES]
            front.on_given = self.given

    # ---- what comes

    def given(self, token, delivery, bodies):
        consumer, queue = token.consumer, token.queue
        for index, body in enumerate(bodies):
            self.take(queue, delivery.offset + index, body, token)
        if not consumer.auto_settle:
            held = sum(1 for one in self.holder.values() if one is token)
            assert consumer.limit == 0 or held <= consumer.limit, "more than its limit"
        if queue == "sac":
            assert self.active is None or self.active is token or not self.active.consumer.active, "another is active"
            self.active = token

    def take(self, queue, offset, body, token):
        place = (queue, offset)
        assert place not in self.holder, f"{place} is held by another"
        assert place not in self.ended, f"{place} was settled and comes again"
        assert self.body_at.setdefault(place, body) == body, f"{place} is another record now"
        if token.consumer.auto_settle:
            self.ended.add(place)
        else:
            self.holder[place] = token

    # ---- what is done

    def act(self):
        chance = self.chance
        what = chance.random()
        if what < 0.45:
            self.publish()
        elif what < 0.7:
            self.settle()
        elif what < 0.78:
            self.consume()
        elif what < 0.82:
            self.leave()
        elif what < 0.88:
            self.get()
        elif what < 0.90:
            self.lend()
        elif what < 0.95 and self.bench.owners.broker is not None:
            self.die()
        for _ in range(chance.choice((0, 1, 3))):
            self.bench.loop.step()
        if chance.random() < 0.2:
            self.bench.run(chance.choice((0.001, 0.02)))
        self.take_gets()

    def publish(self):
        front = self.chance.choice(self.bench.fronts)
        lane = self.chance.randrange(len(LANES))
        bodies = []
        for _ in range(self.chance.choice((1, 1, 3))):
            self.serial += 1
            bodies.append(b"%d" % self.serial)
        confirm = self.chance.random() < 0.7
        if self.chance.random() < 0.2:
            call = front.publish_runs(LANES[lane], *bodies, confirm=confirm)
        else:
            call = front.publish(front.lanes[lane], *bodies, confirm=confirm)
        self.published.append((front.name, lane, bodies, call))

    def settle(self):
        if not self.holder:
            return
        place = self.chance.choice(sorted(self.holder))
        token = self.holder.pop(place)
        disposition = self.chance.choice((ACCEPT, ACCEPT, ACCEPT, REJECT, RELEASE))
        if disposition != RELEASE:
            self.ended.add(place)
        consumer = token.consumer
        consumer.owner.settle(consumer, place[1], 1, disposition)

    def consume(self, queue=None, may_lend=True, **how):
        front = self.chance.choice(self.bench.fronts)
        queue = queue or self.chance.choice(sorted(QUEUES))
        how = how or {"limit": self.chance.choice((0, 1, 5)), "auto_settle": self.chance.random() < 0.2}
        token = Token(queue)
        token.consumer = consumer = front.consumer(token, **how)
        consumer.lent = may_lend and not consumer.auto_settle and self.chance.random() < 0.3
        answers = []
        front.remote.consume(consumer, [self.bench.log_id(queue)], None, answers.append)
        self.consumers.append((token, answers))

    def lend(self):
        """To who is lent his credit, as much as his limit leaves."""
        for token, answers in self.consumers:
            consumer = token.consumer
            if consumer.lent and answers == [None] and consumer.active:
                held = sum(1 for one in self.holder.values() if one is token)
                room = (consumer.limit or 5) - consumer.credit - consumer.leased
                if room > 0 and held <= consumer.leased:
                    consumer.owner.lend(consumer, room)

    def leave(self):
        if self.getters and self.chance.random() < 0.4:
            self.end(self.getters.pop(self.chance.randrange(len(self.getters))))
            return
        if not self.consumers:
            return
        token, answers = self.consumers.pop(self.chance.randrange(len(self.consumers)))
        consumer = token.consumer
        if not answers or self.chance.random() < 0.5:
            self.end(token)
        else:
            consumer.owner.cancel(consumer)

    def end(self, token):
        token.consumer.owner.end(token.consumer)
        for place in [place for place, one in self.holder.items() if one is token]:
            del self.holder[place]

    def get(self):
        front = self.chance.choice(self.bench.fronts)
        queue = self.chance.choice(sorted(QUEUES))
        getter = front.consumer(None, limit=0, auto_settle=self.chance.random() < 0.3)
        call = front.get(queue, getter)
        self.getters.append(Token(queue, getter))
        self.gets.append((call, self.getters[-1]))

    def take_gets(self):
        for call, token in list(self.gets):
            if call.outcome == PENDING and token.consumer.active:
                continue
            self.gets.remove((call, token))
            if not token.consumer.active:
                continue  # nobody hears of it
            assert call.outcome == DONE
            if call.result is not None:
                delivery = call.result[0]
                self.take(token.queue, delivery.offset, bodies_of(delivery)[0], token)

    def die(self):
        self.bench.die(self.chance.random() < 0.7)
        for _ in range(self.chance.choice((0, 2, 10))):
            self.chance.choice((self.publish, self.publish, self.settle, self.settle, self.consume, self.leave, self.get, self.lend))()
            self.take_gets()
        self.bench.come_back(linked=False)
        fronts = list(self.bench.fronts)
        self.chance.shuffle(fronts)
        for front in fronts:
            self.bench.link(front)
            if self.chance.random() < 0.3:
                self.bench.run(0.3)

    # ---- at the end

    def run(self, actions=120):
        for _ in range(actions):
            self.act()
        self.bench.run(5)
        self.take_gets()
        self.conclude()
        return self

    def conclude(self):
        for _, _, _, call in self.published:
            assert call.outcome == DONE, call.error
        for front in self.bench.fronts:
            assert front.remote.under_way_count == 0
        while self.holder:
            place, token = min(self.holder.items(), key=lambda item: item[0])
            token.consumer.owner.settle(token.consumer, place[1], 1, ACCEPT)
            del self.holder[place]
            self.ended.add(place)
            self.bench.run(0.01)
        self.bench.run(1)
        for token in [*self.getters, *(token for token, _ in self.consumers)]:
            self.end(token)
        self.bench.run(1)
        for name in QUEUES:
            assert self.bench.queue(name).subscription.leased_count == 0, "something is held by nobody"
            self.consume(name, may_lend=False, limit=0, auto_settle=False)
        self.bench.run(2)
        for name in QUEUES:
            assert self.bench.queue(name).subscription.ready_count == 0
            self.check(name)

    def check(self, queue):
        """What was confirmed is there once, in the order of each front; what was said to be nowhere is nowhere."""
        there = [self.body_at[place] for place in sorted(self.body_at) if place[0] == queue]
        assert len(there) == len(set(there)), "a record is there twice"
        for front in self.bench.fronts:
            expected, unsure = [], set()
            for name, lane, bodies, call in self.published:
                if name != front.name or queue not in LANES[lane]:
                    continue
                for index, body in enumerate(bodies):
                    nacked = call.nacked is not None and index in call.nacked
                    if nacked and LANES[lane] == (queue,):
                        assert body not in there, "what was said to be nowhere is there"
                    if nacked or (queue == "full" and not call.confirm):
                        unsure.add(body)  # of several queues some may have it
                    assert not nacked or "full" in LANES[lane]
                    expected.append(body)
            of_front = set(expected)
            expected = [body for body in expected if body not in unsure or body in set(there)]
            assert [body for body in there if body in of_front] == expected, f"{queue} of {front.name}"
