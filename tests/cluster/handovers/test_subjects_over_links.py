"""A topic whose subject leads to queues of its own process and of another."""

import pytest
from letter_brokers import LetterCluster

from entrepot.broker.calls import requests as r
from entrepot.broker.calls.topic_requests import CreateTopic, DeleteTopic
from entrepot.broker.catalogue.shards import HOME
from entrepot.broker.outbox.handover import SUBJECT

NS = "public/default"


class Bench:
    """Topic `topic` of one partition, and queue `near` in process 0; queue `far` in process 1."""

    def __init__(self):
        self.cluster = LetterCluster(2)
        self.near, self.far = self.cluster.name_at(0), self.cluster.name_at(1)
        shards = self.cluster.processes[0].broker.shards
        self.topic = next(name for n in range(1000) if shards.shard("topic", NS, name := f"t{n}") % 2 == 0)
        self.me = self.cluster.processes[0].connect_kafka()
        self.me.ask(CreateTopic(self.topic, 1))
        for name in (self.near, self.far):
            self.me.declare(name)
            self.bind(name)

    @property
    def home(self):
        return self.cluster.processes[0].broker

    @property
    def partition(self):
        return self.cluster.processes[0].space.topics[self.topic].runtime.partitions[0]

    def bind(self, name, remove=False):
        self.me.ask(r.Bind("amq.topic", name, "queue", self.topic, remove=remove))

    def write(self, *values):
        return self.me.write(*values, topic=self.topic)

    def both(self):
        return self.cluster.bodies(self.near), self.cluster.bodies(self.far)

    def run(self, seconds=0.3):
        self.cluster.run(seconds)


@pytest.fixture
def bench():
    return Bench()


def test_it_goes_over_the_link(bench):
    bench.write(b"a", b"b")
    bench.run()
    assert bench.both() == ([b"a", b"b"], [b"a", b"b"])
    assert (bench.cluster.handed_over, bench.cluster.figure("intents"), bench.cluster.figure("partitions_behind")) == (1, 0, 0)
    assert bench.cluster.figure("dead_lettered_total") == 0


def test_where_all_is_here_nothing_is_handed_over(bench):
    bench.bind(bench.far, remove=True)
    bench.write(b"a")
    bench.run()
    assert bench.both() == ([b"a"], [])
    assert (bench.cluster.figure("intents_total"), bench.home.appender.sent_on_count) == (0, 1)


def test_while_the_other_is_gone_the_position_waits_and_holds_back_retention(bench):
    bench.cluster.processes[0].handovers.dead(bench.cluster.processes[0].links["w1"])
    bench.write(b"a")
    bench.write(b"b")
    bench.run(3)
    assert bench.both() == ([], [])
    assert (bench.cluster.figure("intents"), bench.partition.hop.held_from()) == (0, 0)
    bench.cluster.restart(1)
    bench.cluster.settle()
    bench.run(3)
    assert bench.both() == ([b"a", b"b"], [b"a", b"b"])
    assert bench.partition.hop is None


def test_what_is_on_its_way_holds_back_retention(bench):
    bench.cluster.wires[0, 1].break_off()
    bench.write(b"a")
    bench.run()
    bench.write(b"b")
    bench.run()
    assert bench.cluster.figure("intents") == 2
    hop = bench.partition.hop
    assert (hop.position, hop.held_from()) == (2, 0)
    bench.cluster.wires[0, 1].begin()
    bench.run()
    assert bench.partition.hop is None
    assert bench.both() == ([b"a", b"b"], [b"a", b"b"])


def test_what_has_gone_nowhere_else_does_not_overtake(bench):
    waiting = []
    hand_over = bench.home.inbox.hand_over
    bench.home.inbox.hand_over = waiting.append
    bench.write(b"a")
    bench.run()
    assert [handover.kind for handover in waiting] == [SUBJECT]
    bench.bind(bench.far, remove=True)
    bench.write(b"b")
    bench.run()
    assert bench.both() == ([], [b"a"])
    bench.home.inbox.hand_over = hand_over
    for handover in waiting:
        hand_over(handover)
    bench.run()
    assert bench.both() == ([b"a", b"b"], [b"a"])


@pytest.mark.parametrize("number", [0, 1])
def test_a_process_that_is_killed_amid_it(bench, number):
    bench.me.send(bench.me.batch_of(b"a", b"b", topic=bench.topic))
    bench.cluster.loop.run_until(lambda: bench.cluster.handed_over == 1, 5)
    bench.cluster.restart(number)
    bench.cluster.settle()
    bench.run(3)
    assert bench.both() == ([b"a", b"b"], [b"a", b"b"])
    assert bench.cluster.figure("intents") == bench.cluster.figure("partitions_behind") == 0


def test_a_topic_that_is_deleted_takes_its_intents_along(bench):
    bench.cluster.wires[0, 1].break_off()
    bench.write(b"a")
    bench.run()
    assert bench.cluster.figure("intents") == 1
    bench.me.ask(DeleteTopic(bench.topic))
    bench.run()
    assert bench.cluster.figure("intents") == bench.cluster.figure("partitions_behind") == 0
    assert bench.home.outbox.statistics()["intent_bytes"] == 0


def test_to_a_queue_that_lives_in_the_other_process(bench):
    there = bench.cluster.processes[1].connect()
    there.declare("passing", durable=False)
    there.consume("d", "passing")
    bench.bind("passing")
    bench.write(b"a", b"b")
    bench.run()
    assert there.bodies("d") == [b"a", b"b"]
    assert bench.both() == ([b"a", b"b"], [b"a", b"b"])


class Full:
    """A store that has room for nothing."""

    def __init__(self, store):
        self.store = store

    def is_full(self):
        return True

    def __getattr__(self, name):
        return getattr(self.store, name)


def test_memory_that_is_full_holds_up_nobody(bench, monkeypatch):
    there = bench.cluster.processes[1].connect()
    there.declare("passing", durable=False)
    bench.bind("passing")
    inbox = bench.cluster.processes[1].broker.inbox
    store_of = inbox._store_of
    monkeypatch.setattr(inbox, "_store_of", lambda shard: Full(store_of(shard)) if shard == HOME else store_of(shard))
    bench.write(b"a")
    bench.run()
    assert bench.both() == ([b"a"], [b"a"])
    assert (bench.cluster.figure("intents"), there.get("passing")) == (0, None)
