"""A topic and queues at several owners, read by consumers whose limits span them, and whoever looks on: no limit is ever exceeded, here or there."""

import random

from broker_bench import NS, Connection
from owners_bench import OwnersBench

from entrepot.broker.calls import requests as r
from entrepot.broker.calls.port import DONE, UNAVAILABLE, make_ask
from entrepot.broker.calls.topic_requests import CreateTopic
from entrepot.broker.queue.away import AwayQueue

PARTITIONS = 8
KEYS = [b"%02d" % number for number in range(24)]


class Overdrawn(AssertionError):
    """Somebody has, or may be given, more than a limit."""


class Lost(AssertionError):
    """Something did not come, or not as it should."""


class Watched(Connection):
    """A connection that counts: `limits` of its consumers by name, `together` of its only stream, 0 for none."""

    def __init__(self, bench):
        super().__init__(bench)
        self.limits = {}
        self.together = 0
        self.ceiling = 0  # what was the limit a moment ago

    def deliver(self, delivery):
        position = super().deliver(delivery)
        held = {name: len(held) for name, held in self.held.items()}
        name = delivery.token
        if self.limits.get(name) and held.get(name, 0) > self.limits[name]:
            raise Overdrawn(f"{name} holds {held[name]} of {self.limits[name]}")
        if self.together and sum(held.values()) > max(self.together, self.ceiling):
            raise Overdrawn(f"all hold {sum(held.values())} of {self.together}")
        return position

    def cancelled(self, token):
        super().cancelled(token)
        self.held.pop(token, None)  # what it held counts no more

    def consume(self, name="c", queue="q", stream=1, **how):
        self.limits[name] = how.get("limit", 0)
        return super().consume(name, queue, stream, **how)

    def limit(self, together):
        self.ceiling = max(self.together, together) if self.together else 1 << 30
        self.together = together
        self.ask(r.StreamLimit(together))
        self.bench.run(0.05)
        self.ceiling = together


class LendingBench(OwnersBench):
    """`looked`: how often the owners were looked at."""

    def __init__(self, table, count=3, seed=1):
        super().__init__(table, count, seed)
        self.looked = 0
        self.me = Watched(self)
        self.queues = [next(self.names(owner)) for owner in range(count)]
        for name in self.queues:
            self.me.declare(name)
        self.me.ask(CreateTopic("news", PARTITIONS))
        self.topic = self.catalogue.namespace(NS).topics["news"].runtime
        self.keys = {}  # owner -> keys of its partitions
        for key in KEYS:
            before = [log.next_offset for log in self.topic.logs]
            self.put_key(key, b"")
            (log,) = (log for log, offset in zip(self.topic.logs, before, strict=True) if log.next_offset > offset)
            self.keys.setdefault(log.shard % count, []).append(key)
        assert sorted(self.keys) == list(range(count)), self.keys
        self.shards = sorted({log.shard for log in self.topic.logs})

    def put_key(self, key, body, wait=True):
        put = self.me.put if wait else self.me.publish
        call = put(key + b":" + body, key="news", headers=[(b"x-key", b"S\0\0\0\x02" + key)])
        assert not wait or call.outcome == DONE

    def run(self, seconds=0.3):
        """Step by step, with a look at the owners after each."""
        end = self.loop.time() + seconds
        over = []
        self.loop.call_later(seconds, over.append, True)
        while not over:
            self.loop.step()
            self.look()
        assert self.loop.time() >= end

    def at_owners(self):
        """What owners go by: all consumers that they know and send to."""
        table = self.broker.owners
        if hasattr(table, "served"):
            return [consumer for door in table.kept_doors() for consumer in door.consumers.values() if consumer.active]
        shared = self.me.door.limits.get(1)
        if shared is None:
            return []
        return [*shared.consumers, *(shared.lending.borrowers if shared.lending else ())]

    def look(self):
        self.looked += 1
        found = {id(consumer): consumer for consumer in self.at_owners() if consumer.reads is not None}.values()
        by_id = {}
        for consumer in found:
            by_id.setdefault(consumer.id, []).append(consumer)
        for parts in by_id.values():
            limit = parts[0].limit
            much = sum(map(given, parts))
            if limit and much > limit:
                raise Overdrawn(f"owners gave {much} of {limit}")
        together = self.me.together
        much = sum(map(given, found))
        if together and much > max(together, self.me.ceiling) and any(consumer.credit for consumer in found):
            raise Overdrawn(f"owners gave {much} of {together} together")

    def accept(self, seconds=2.0, names=None):
        """Take what comes, one by one, until nothing has come for so long; the bodies by consumer."""
        quiet = 0.0
        got = {}
        while quiet < seconds:
            for name in [name for name, held in self.me.held.items() if held and (names is None or name in names)]:
                self.me.accept(name, 1)
                quiet = 0.0
            self.run(0.02)
            quiet += 0.02
        for name in list(self.me.got):
            got[name] = self.me.bodies(name)
        return got


def given(consumer):
    """What an owner has given it, and may give it. Of a queue that is away all may be settled long since: it is kept until the queue is back."""
    return consumer.credit + (0 if isinstance(consumer.reads, AwayQueue) else consumer.leased)


def check_stream(got, put):
    """All that was put came once, what has one key in its order."""
    if sorted(got) != sorted(put):
        raise Lost(f"{len(put)} were put, {len(got)} came")
    for key in {body[:2] for body in put}:
        if [body for body in got if body[:2] == key] != [body for body in put if body[:2] == key]:
            raise Lost(f"what has key {key} is out of order")


class Wandering:
    """Clients and shards that do what a seed says; whatever they do, no limit is exceeded, and what is there comes, once and in order."""

    def __init__(self, seed, table):
        self.chance = random.Random(seed)
        self.bench = LendingBench(table, self.chance.choice((2, 3)), seed)
        self.me = self.bench.me
        self.put = []  # into the topic
        self.queued = set()
        self.taken = []
        self.since = {}  # reader -> how many were put when it began
        self.read = {}  # reader -> what it got
        self.number = 0
        self.closed = {}  # shard -> its epoch
        self.epochs = {}

    def run(self, actions=60):
        steps = (
            [self.publish] * 6
            + [self.enqueue] * 3
            + [self.accept] * 8
            + [self.begin_reader, self.begin_worker, self.cancel, self.limit, self.limits, self.wander, self.pause]
        )
        for _ in range(actions):
            self.chance.choice(steps)()
            self.bench.run(self.chance.choice((1e-5, 1e-3, 0.02)))
            self.note()
        self.come_to_rest()

    def publish(self):
        for _ in range(self.chance.choice((1, 1, 8))):
            self.number += 1
            key = self.chance.choice(KEYS)
            call = self.me.put(key + b":%06d" % self.number, key="news", headers=[(b"x-key", b"S\0\0\0\x02" + key)])
            assert call.outcome in (DONE, UNAVAILABLE)
            if call.outcome == DONE:
                self.put.append(key + b":%06d" % self.number)

    def enqueue(self):
        self.number += 1
        body = b"q:%06d" % self.number
        if self.me.put(body, key=self.chance.choice(self.bench.queues)).outcome == DONE:
            self.queued.add(body)

    def note(self):
        for name in list(self.me.got):
            for body in self.me.bodies(name):
                if name.startswith("w"):
                    assert body in self.queued
                elif body[3:]:
                    self.read.setdefault(name, []).append(body)

    def accept(self):
        held = [name for name, held in self.me.held.items() if held]
        if held:
            name = self.chance.choice(held)
            taken = self.me.accept(name, self.chance.choice((1, 1, 100)))
            if name.startswith("w"):
                self.taken += taken

    def begin_reader(self):
        if len(self.since) < 4 and self.asked(
            r.Consume("news", name := f"r{len(self.since)}", limit=(limit := self.chance.choice((1, 3, 10))), start="first"), name
        ):
            self.since[name] = True
            self.me.limits[name] = limit

    def begin_worker(self):
        if len(self.me.ids) < 9:
            name = f"w{len(self.me.ids)}"
            limit = self.chance.choice((0, 1, 5))
            if self.asked(r.Consume(self.chance.choice(self.bench.queues), name, limit=limit), name):
                self.me.limits[name] = limit

    def asked(self, request, name):
        call = make_ask(1, request)
        self.me.door.submit(call)
        self.bench.loop.run_until(lambda: call.outcome, 60)
        if call.outcome == DONE:
            self.me.ids[name] = call.result
        return call.outcome == DONE

    def cancel(self):
        if self.me.ids and self.chance.random() < 0.5:
            name = self.chance.choice(list(self.me.ids))
            self.me.cancel(name)
            self.since[name] = False
            self.note()

    def limit(self):
        self.me.limit(self.chance.choice((0, 1, 2, 7)))

    def limits(self):
        """One after the other, before anybody has answered; a worker comes in between."""
        self.me.ceiling = 1 << 30
        for _ in range(2):
            self.me.submit(r.StreamLimit(self.chance.choice((0, 0, 1, 7))))
        name = f"w{len(self.me.ids)}"
        if call := self.me.submit(r.Consume(self.chance.choice(self.bench.queues), name, limit=0)) if len(self.me.ids) < 9 else None:
            self.me.limits[name] = 0
        self.me.together = self.chance.choice((0, 1, 2, 7))
        self.me.submit(r.StreamLimit(self.me.together))
        self.bench.run(0.05)
        if call is not None and call.outcome == DONE:
            self.me.ids[name] = call.result
        self.me.ceiling = self.me.together

    def wander(self):
        if self.closed and self.chance.random() < 0.7:
            self.open(self.chance.choice(list(self.closed)))
        elif len(self.closed) < 2:
            shard = self.chance.choice(
                [*self.bench.shards, *(self.bench.queue(name).log.shard for name in self.bench.queues if hasattr(self.bench.queue(name), "log"))]
            )
            if shard and shard not in self.closed:
                self.bench.close(shard)
                self.closed[shard] = True

    def open(self, shard):
        del self.closed[shard]
        self.epochs[shard] = self.epochs.get(shard, 1) + 1
        self.bench.open(shard, self.epochs[shard])

    def pause(self):
        """The connection does not read for a while."""
        self.me.door.writable = False
        self.bench.run(0.01)
        self.me.door.resume()

    def come_to_rest(self):
        for shard in list(self.closed):
            self.open(shard)
        for _ in range(4000):
            before = self.number, len(self.taken), sum(map(len, self.read.values()))
            while any(self.me.held.values()):
                self.accept()
            self.bench.run(0.5)  # longer than a link is down
            self.note()
            if before == (self.number, len(self.taken), sum(map(len, self.read.values()))) and not any(self.me.held.values()):
                break
        for name, active in self.since.items():
            if active and name.startswith("r"):
                check_stream(self.read.get(name, []), self.put)
        assert len(set(self.taken)) == len(self.taken)
        reading = {consumer.source.name for consumer in self.me.door.limits[1].consumers} if 1 in self.me.door.limits else set()
        self.me.close()
        self.bench.run(0.5)
        left = {name: self.bench.queue(name).depth() for name in self.bench.queues}
        assert len(self.queued) - len(self.taken) == sum(left.values())
        kept = [name for name in self.bench.queues if name in reading and left[name]]
        if kept:
            raise Lost(f"{kept} are read, and not empty")
