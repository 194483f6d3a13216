"""Runs of topics whose subjects lead to queues and topics at all of several processes, while links break and processes are killed."""

import random

from letter_brokers import LetterCluster

from entrepot.broker.calls import requests as r
from entrepot.broker.calls.topic_requests import CreateTopic
from entrepot.broker.logs.cursor import GAP, LATER, Cursor
from entrepot.protocols.amqp091 import rewriting
from entrepot.simulation.letters_run import bodies_of
from entrepot.simulation.store_model import Violation

NS = "public/default"
COLOURS = (b"red", b"blue")
PARTITIONS = 4
FURTHER = "copy"  # a topic that the subject leads to


def colour_of(value):
    return COLOURS[value[-1] % 2]


class SubjectsRun:
    """One seed's. Of each partition all is in every queue that is bound to everything, and in the further topic, once and in order; of its colour in others."""

    def __init__(self, seed, count, deaths=3):
        self.chance = random.Random(seed)
        self.cluster = LetterCluster(count, seed)
        self.loop = self.cluster.loop
        self.deaths = deaths
        self.count = count
        self.serial = self.behind = 0
        maker = self.cluster.processes[0].connect()
        maker.ask(CreateTopic("t", PARTITIONS))
        maker.ask(CreateTopic(FURTHER, PARTITIONS))
        self.whole = []
        for number in range(count):
            name = self.cluster.name_at(number)
            maker.declare(name)
            maker.ask(r.Bind("amq.topic", name, "queue", "t"))
            self.whole.append(name)
        maker.ask(r.Bind("amq.topic", FURTHER, "queue", "t"))
        maker.ask(r.DeclareExchange("colours", "headers", durable=True))
        maker.ask(r.Bind("amq.topic", "colours", "exchange", "t"))
        for colour in COLOURS:
            maker.declare(colour.decode())
            maker.ask(r.Bind("colours", colour.decode(), arguments={"x-match": "all", "colour": colour.decode()}))
        self.clients = {}

    def process_of(self, topic, partition):
        shards = self.cluster.processes[0].broker.shards
        return self.cluster.processes[shards.shard("topic", NS, topic, partition) % self.count]

    def write(self):
        partition = self.chance.randrange(PARTITIONS)
        number = self.process_of("t", partition).number
        client = self.clients.get(number)
        if client is None:
            client = self.clients[number] = self.cluster.processes[number].connect_kafka()
        values = []
        for _ in range(self.chance.choice((1, 3, 20))):
            self.serial += 1
            values.append(b"%d:%07d" % (partition, self.serial))
        part = client.batch_of(*values, partition=partition, headers_of=lambda index: [(b"colour", colour_of(values[index]))])
        client.send(part)

    def go(self, steps=60):
        for _ in range(steps):
            what = self.chance.random()
            if what < 0.8:
                self.write()
            elif what < 0.93:
                wire = self.chance.choice(list(self.cluster.wires.values()))
                if wire.is_up:
                    wire.break_off()
                    self.loop.call_later(self.chance.choice((0.01, 0.5, 2.0)), self.mend, wire)
            elif self.deaths:
                self.deaths -= 1
                self.restart(self.chance.randrange(self.count))
            self.loop.run_for(self.chance.choice((1e-5, 1e-3, 1e-2, 0.1)))
            self.behind = max(self.behind, self.cluster.figure("partitions_behind"))
        self.cluster.settle()
        self.loop.run_for(5)
        self.conclude()
        return self

    def mend(self, wire):
        if wire.alive and not wire.is_up:
            wire.begin()

    def restart(self, number):
        self.cluster.restart(number)
        self.clients.pop(number, None)
        self.cluster.settle()
        process = self.cluster.processes[number]
        self.loop.run_until(lambda: process.handovers._opened is not None, 60)
        chance, subjects = self.chance, process.broker.subjects
        subjects.at_once_records = chance.choice((0, 2, 64))
        subjects.slice_records = chance.choice((1, 3, 2048))

    def conclude(self):
        if self.cluster.figure("intents") or self.cluster.figure("partitions_behind"):
            raise Violation(f"{self.cluster.figure('intents')} intents are left, {self.cluster.figure('partitions_behind')} partitions are behind")
        there = {partition: self.records("t", partition) for partition in range(PARTITIONS)}
        found = {name: bodies_of(self.cluster.process_of(name).broker, self.loop, name) for name in (*self.whole, *(colour.decode() for colour in COLOURS))}
        for partition, values in there.items():
            for name, bodies in found.items():
                expected = [value for value in values if name in self.whole or colour_of(value) == name.encode()]
                self.check(name, partition, [body for body in bodies if body.startswith(b"%d:" % partition)], expected)
        copied = sorted(value for partition in range(PARTITIONS) for value in self.records(FURTHER, partition))
        if copied != sorted(value for values in there.values() for value in values):
            raise Violation(f"topic {FURTHER} has {len(copied)} records")
        self.written = sum(map(len, there.values()))

    def check(self, name, partition, found, expected):
        if found != expected:
            missing = len(set(expected) - set(found))
            raise Violation(f"of partition {partition} queue {name} has {len(found)} of {len(expected)}, {missing} are missing, or they are not in order")

    def records(self, topic, partition):
        """What is in a partition."""
        process = self.process_of(topic, partition)
        log = process.space.topics[topic].runtime.partitions[partition].log
        loaded = [True]
        cursor = Cursor(process.broker.hub, log, lambda: loaded.append(True))
        values, offset = [], log.first_offset
        while offset < log.durable_offset:
            found = cursor.locate(offset)
            if found == LATER:
                loaded.clear()
                self.loop.run_until(lambda: bool(loaded), 60)
                continue
            assert found != GAP
            codec = process.broker.hub.codec(cursor.tag)
            count = cursor.end - offset
            values += [bytes(rewriting.take_apart(record).body) for record in codec.split(cursor.data(), cursor.position_of(offset), count)]
            offset = cursor.end
        cursor.close()
        return values
