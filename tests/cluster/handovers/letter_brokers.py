"""Whole brokers as in brokers.py, whose outboxes hand over to each other, and runs of letters over them."""

import random

from broker_bench import CODEC, Connection
from brokers import Bench, Cluster, FarOwner, Process
from crossing_bench import Client as KafkaClient
from timed_bench import TimedConnection

from entrepot.broker.broker import Broker
from entrepot.broker.calls import requests as r
from entrepot.broker.calls.port import DONE, Attachment, Sink, make_publish
from entrepot.broker.calls.queue_requests import CreateTimedQueue, ListMoves
from entrepot.broker.catalogue.shards import CATALOGUE
from entrepot.broker.owners import Lane
from entrepot.cluster.handover_frames import FIRST_KIND, HANDOVER, LAST_KIND
from entrepot.cluster.handovers import Handovers
from entrepot.model.errors import NotDone
from entrepot.protocols.kafka.records import KafkaEntryCodec
from entrepot.simulation.letters_run import GRAVES, POLICIES, PUBLISHED, QUEUES, SENT, TASKS, LettersClient, bodies_of, check_letters
from entrepot.simulation.store_model import Violation


class FarLane(Lane):
    def __init__(self, owner, address, log_ids):
        self.owner = owner
        self.address = address
        self.log_ids = log_ids


class Unheard(Sink):
    def completed(self, call):
        pass


class ReachedOwner(FarOwner):
    """What is published without anybody waiting goes there at a later turn."""

    def lane(self, address, log_ids):
        self._owner()
        return FarLane(self, address, log_ids)

    def stage(self, lane, call):
        self._owner()
        part = make_publish(0, call.address, call.codec, call.codec_version, call.flags, call.data, call.count, call.body_bytes)
        part.attachment = Attachment()
        part.attachment.sink = Unheard()

        def stage():
            try:
                owner = self._owner()
                owner.stage(owner.lane(lane.address, lane.log_ids), part)
            except NotDone:
                self.front.lost += 1

        assert not call.confirm
        self.front.direct += 1
        self.front.scheduler.loop.call_soon(stage)
        call.outcome = DONE
        return True


class LetterProcess(Process):
    far_owner = ReachedOwner
    lost = direct = 0

    def made(self):
        self.shards_open = {CATALOGUE} if self.number == 0 else set()
        names = [f"w{number}" for number in range(self.cluster.count)]
        self.handovers = Handovers(self.broker, self.name, names, self._worker_of, self.homes)
        self.broker.outbox.loaded_per_tick = self.cluster.random.choice((1, 256))

    def _worker_of(self, shard):
        number = shard % self.cluster.count
        return None if number == self.number else f"w{number}"

    def opened(self, shard):
        self.shards_open.add(shard)
        if len(self.shards_open) == len(range(self.number, self.broker.shards.count, self.cluster.count)):
            self.handovers.opened_here(self.shards_open)

    def linked(self, other):
        link = super().linked(other)
        self.handovers.linked(link)
        return link

    def frames(self, link, found):
        for data in found:
            if self.links.get(link.name) is not link:
                return
            if FIRST_KIND <= data[0] <= LAST_KIND:
                self.cluster.handed_over += data[0] == HANDOVER
                self.handovers.frame(link, data)
            else:
                super().frames(link, [data])

    def connect(self):
        return TimedConnection(SentBench(self))

    def connect_kafka(self):
        return KafkaClient(SentBench(self))


class SentBench(Bench):
    sent = 0

    def __init__(self, process):
        super().__init__(process)
        self.process = process

    def queue(self, name):
        return self.process.space.queues[name].runtime


class LetterCluster(Cluster):
    process = LetterProcess
    codecs = (KafkaEntryCodec,)

    def __init__(self, count=2, seed=1, **how):
        self.handed_over = 0
        super().__init__(count, seed, **how)
        self.settle()
        self.loop.run_until(lambda: all(process.handovers._opened for process in self.processes), 60)

    def process_of(self, name):
        first = self.processes[0]
        return self.processes[first.broker.shards.place(first.space.queues[name]) % self.count]

    def name_at(self, number, but=()):
        """The name of a queue whose shard that process has."""
        shards = self.processes[0].broker.shards
        return next(name for n in range(10_000) if shards.shard("queue", "public/default", name := f"q{n}") % self.count == number and name not in but)

    def bodies(self, name):
        return bodies_of(self.process_of(name).broker, self.loop, name)

    def figure(self, name):
        return sum(process.broker.statistics()[name] for process in self.processes if process.broker is not None)


class Side:
    """What the client of one process keeps: see letters_run.Run."""

    codec = CODEC

    def __init__(self, run, broker):
        self.run = run
        self.broker: Broker = broker
        self.loop = run.loop
        self.chance = run.chance
        self.sent, self.confirmed, self.refused = run.sent, run.confirmed, run.refused

    @property
    def serial(self):
        return self.run.serial

    @serial.setter
    def serial(self, value):
        self.run.serial = value

    @property
    def tasks(self):
        return self.run.tasks

    @tasks.setter
    def tasks(self, value):
        self.run.tasks = value


class LettersRun:
    """One seed's: queues at all processes whose messages die, and tasks that move them, while links break and processes are killed."""

    def __init__(self, seed, count, deaths=3, cluster=LetterCluster):
        self.chance = random.Random(seed)
        self.cluster = cluster(count, seed)
        self.loop = self.cluster.loop
        self.deaths = deaths
        self.sent, self.confirmed, self.refused = {}, set(), set()
        self.serial = self.tasks = 0
        self.clients = {}
        maker = self.client(0)
        for name, arguments in QUEUES.items():
            maker.ask(r.DeclareQueue(name, False, True, False, False, arguments))
        maker.ask(r.DeclareExchange("graves", "fanout", durable=True))
        for name in GRAVES:
            maker.ask(r.Bind("graves", name, "queue", ""))
        for name, policy in POLICIES.items():
            maker.ask(CreateTimedQueue(name, policy, frozenset(), {}, {}))
        self.cluster.run()
        for number in range(count):
            self.consume(number)

    def client(self, number):
        client = self.clients.get(number)
        if client is None:
            client = self.clients[number] = LettersClient(Side(self, self.cluster.processes[number].broker))
        return client

    def of(self, name):
        return self.client(self.cluster.process_of(name).number)

    def consume(self, number):
        """Those who read at a process: what they hold is theirs."""
        for name in ("spurned", "fragile"):
            if self.cluster.process_of(name).number == number:
                self.client(number).ask(r.Consume(name, name, limit=10))

    def go(self, steps=80):
        for _ in range(steps):
            self.step()
            self.loop.run_for(self.chance.choice((1e-5, 1e-3, 1e-2, 0.1)))
        self.cluster.settle()
        self.rest()
        self.conclude()
        return self

    def step(self):
        what = self.chance.random()
        if what < 0.45:
            name = self.chance.choice(PUBLISHED)
            self.of(name).publish(name, self.chance.choice((1, 2, 5)))
        elif what < 0.6:
            name = self.chance.choice(SENT)
            self.of(name).send(name, self.chance.choice((1, 3)))
        elif what < 0.75:
            name = self.chance.choice(SENT)
            self.of(name).receive(name)
        elif what < 0.85:
            self.chance.choice(list(self.clients.values())).settle(self.chance.choice((1, 5, 100)))
        elif what < 0.9:
            self.of("dead").move()
        elif what < 0.96:
            wire = self.chance.choice(list(self.cluster.wires.values()))
            if wire.is_up:
                wire.break_off()
                self.loop.call_later(self.chance.choice((0.01, 0.5, 2.0)), self.mend, wire)
        elif self.deaths:
            self.deaths -= 1
            self.restart(self.chance.randrange(self.cluster.count))

    def mend(self, wire):
        if wire.alive and not wire.is_up:
            wire.begin()

    def restart(self, number):
        """A process is killed, and another start of it goes on with what is on its disk."""
        self.cluster.restart(number)
        self.clients.pop(number, None)
        self.cluster.settle()
        process = self.cluster.processes[number]
        self.loop.run_until(lambda: process.handovers._opened is not None, 60)
        self.consume(number)

    def rest(self, seconds=12):
        """Everything dies, and arrives."""
        end = self.loop.time() + seconds
        while self.loop.time() < end:
            for name in SENT:
                self.of(name).receive(name)
            for client in list(self.clients.values()):
                client.settle(100)
            self.loop.run_for(0.2)

    def conclude(self):
        if self.cluster.figure("intents"):
            raise Violation(f"{self.cluster.figure('intents')} intents are left, though everything is open")
        found = {name: self.cluster.bodies(name) for name in (*QUEUES, *POLICIES)}
        check_letters(found, self.sent, self.confirmed, self.refused)
        moved = sum(task.moved for task in self.of("dead").ask(ListMoves("dead", limit=TASKS)))
        if moved != len(found["moved"]):
            raise Violation(f"tasks have moved {moved} by their count, and {len(found['moved'])} are there")
        self.dead = sum(len(found[name]) for name in ("dropped", "buried", "dead", "moved", "dead.fifo", *GRAVES))


__all__ = ["Connection", "LetterCluster", "LettersRun"]
