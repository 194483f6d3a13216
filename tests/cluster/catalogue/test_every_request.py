"""Every request of the port, at a process that has neither shard 0 nor the shard of what it is about: three brokers, of which the asker is the second, and
what it asks about is the third's. Kafka's appends, reads, offsets and groups are not among them: its clients are told where they are.
"""

import itertools
from pathlib import Path

import pytest
from broker_bench import refused
from brokers import NS, same
from msgspec import Struct
from timed_bench import TimedConnection
from whole_brokers import WholeCluster

from entrepot.broker.calls import queue_requests as q
from entrepot.broker.calls import requests as r
from entrepot.broker.calls import topic_requests as t
from entrepot.broker.calls.port import ACCEPT, DONE, PENDING, RELEASE, make_settle
from entrepot.model.errors import Reason, Refused


class TheirBench:
    """What a TimedConnection needs."""

    sent = 0

    def __init__(self, process):
        self.broker = process.broker
        self.loop = process.loop
        self._cluster = process.cluster

    def queue(self, name):
        """The live one, wherever it is."""
        return next(found for found in (one.space.queues[name].runtime for one in self._cluster.processes) if hasattr(found, "timed"))


@pytest.fixture
def cluster():
    cluster = WholeCluster(3)
    cluster.wait_open()
    return cluster


@pytest.fixture
def bench(cluster):
    return TheirBench(cluster.processes[1])


@pytest.fixture
def me(bench):
    return TimedConnection(bench)


@pytest.fixture
def names(cluster):
    """Of queues of the third process."""
    shards = cluster.processes[0].broker.shards
    return (name for number in itertools.count() if shards.shard("queue", NS, name := f"q{number}") % 3 == 2)


@pytest.fixture
def stream(cluster):
    """The name of a stream whose only partition is there."""
    shards = cluster.processes[0].broker.shards
    return next(name for number in itertools.count() if shards.shard("topic", NS, name := f"s{number}") % 3 == 2)


def logs(cluster):
    return [len(list(process.store.logs())) for process in cluster.processes]


def test_queues(cluster, me, names):
    name = next(names)
    assert me.declare(name) == (name, 0, 0)
    assert logs(cluster) == [0, 0, 1]
    me.put(b"1", b"2", b"3", key=name)
    assert me.declare(name) == me.declare(name, passive=True) == (name, 3, 0)
    slices, place, ready = me.ask(r.Browse(name, -1, 2))
    assert (sum(count for _, _, count, _ in slices), place != -1, ready) == (2, True, 3)
    assert me.get(name)[::2] == (b"1", 2)
    me.release("get")
    assert me.get(name)[:2] == (b"1", True)
    me.accept("get")
    me.consume("c", name, limit=10)
    cluster.run()
    assert me.declare(name, passive=True) == (name, 0, 1)
    assert me.bodies() == [b"2", b"3"]
    assert refused(me.ask, r.DeleteQueue(name, if_unused=True))
    (_, consumer_id, first), _ = me.held.pop("c")
    me.ask(r.Release([(consumer_id, first, 2)]))
    cluster.run()
    assert me.bodies() == [b"2", b"3"]
    me.settle(ACCEPT, count=1)
    me.cancel("c")
    me.settle(RELEASE)
    cluster.run()
    assert refused(me.ask, r.DeleteQueue(name, if_empty=True))
    assert me.ask(r.PurgeQueue(name)) == 1
    me.put(b"4", key=name)
    assert me.ask(r.DeleteQueue(name)) == 1
    cluster.run(3.0)
    assert logs(cluster) == [0, 0, 0]
    assert same(cluster)


def test_queues_that_go_by_themselves(cluster, me, names):
    name, other = next(names), next(names)
    me.declare(name, auto_delete=True)
    me.declare(other, x_expires=1000)
    me.consume("c", name)
    me.cancel("c")
    cluster.run(5.0)
    assert all(process.space.queues == {} for process in cluster.processes)
    assert logs(cluster) == [0, 0, 0]


def test_conditions_that_hold(cluster, me, names):
    name = next(names)
    me.declare(name)
    assert me.ask(r.DeleteQueue(name, if_unused=True, if_empty=True)) == 0
    cluster.run()
    assert logs(cluster) == [0, 0, 0]


def test_limits_of_a_stream(cluster, me, names):
    one, other = next(names), next(names)
    for name in (one, other):
        me.declare(name)
        me.put(*[b"%d" % number for number in range(10)], key=name)
    me.ask(r.StreamLimit(3), stream=7)
    me.consume("a", one, stream=7)
    me.consume("b", other, stream=7)
    cluster.run()
    assert sum(len(held) for held in me.held.values()) == 3
    me.ask(r.CloseStream(), stream=7)
    cluster.run()
    assert [me.declare(name, passive=True) for name in (one, other)] == [(one, 10, 0), (other, 10, 0)]


def test_exchanges_and_bindings(cluster, me, names):
    name = next(names)
    me.declare(name)
    me.ask(r.DeclareExchange("e", "headers", durable=True))
    me.ask(r.Bind("e", name, "queue", "", {"x-match": "all", "to": "a"}))
    assert me.ask(r.ListBindings(name)) == [("e", "", {"x-match": "all", "to": "a"})]
    me.ask(r.DeclareExchange("e", "headers", passive=True))
    assert me.put(b"x", exchange="e", key="", headers=[(b"to", b"S\0\0\0\1a")]).outcome == DONE
    assert me.put(b"y", exchange="e", key="", headers=[(b"to", b"S\0\0\0\1b")], mandatory=True).unroutable
    me.ask(r.CheckPublish(b"\x01e\x00"))
    assert me.get(name)[0] == b"x"
    me.ask(r.Bind("e", name, "queue", "", {"x-match": "all", "to": "a"}, remove=True))
    me.ask(r.DeleteExchange("e"))
    assert same(cluster)


def test_transactions(cluster, me, names):
    one, other = next(names), next(names)
    for name in (one, other):
        me.declare(name, x_max_length=3, x_overflow="reject-publish")
    me.declare("here", exclusive=True)
    me.put(b"1", b"2", key=one)
    me.consume("c", one)
    cluster.run()
    settled = [make_settle(1, consumer_id, offset, 1, ACCEPT) for _, consumer_id, offset in me.held.pop("c")]
    me.ask(r.CommitTogether([me.run_of(b"a", key=other), me.run_of(b"b", key="here")], settled))
    me.cancel("c")
    cluster.run()
    assert [me.declare(name, passive=True)[1] for name in (one, other)] == [0, 1]
    assert me.get("here")[0] == b"b"
    call = me.submit(r.CommitTogether([me.run_of(*[b"x"] * 3, key=other), me.run_of(b"b", key="here")], []))
    cluster.loop.run_until(lambda: call.outcome != PENDING, 20)
    assert call.error.reason is Reason.FULL
    assert me.get("here") is None


def test_streams(cluster, me, stream):
    me.declare(stream, x_queue_type="stream")
    assert logs(cluster) == [0, 0, 1]
    me.put(*[b"%d" % number for number in range(10)], key=stream)
    assert me.declare(stream, passive=True)[1:] == (10, 0)
    me.consume("c", stream, limit=4, start="first")
    cluster.run()
    assert me.bodies() == [b"0", b"1", b"2", b"3"]
    me.accept(count=2)
    cluster.run()
    assert me.bodies() == [b"4", b"5"]
    assert me.declare(stream, passive=True)[1:] == (10, 1)
    assert refused(me.ask, r.DeleteQueue(stream, if_unused=True))
    me.cancel("c")
    cluster.run()
    assert me.ask(r.DeleteQueue(stream, if_unused=True)) == 10
    cluster.run(3.0)
    assert logs(cluster) == [0, 0, 0]


def test_replies(cluster, me):
    other = cluster.processes[2].connect()
    me.ids["answers"], name = me.ask(r.ConsumeReplies("answers"))
    other.publish(b"1", key=name)
    cluster.run()
    assert me.bodies("answers") == [b"1"]
    me.cancel("answers")


def test_topics(cluster, me):
    me.ask(t.CreateTopic("t", 20))
    me.ask(t.CreatePartitions("t", 30))
    (description,) = me.ask(t.DescribeTopics(["t"]))
    assert description.partition_count == 30
    assert sum(logs(cluster)) == 30
    assert min(logs(cluster)) > 0
    me.ask(t.AlterTopicConfig("t", [("set", "retention.ms", "86400000")]))
    (entry,) = me.ask(t.DescribeTopicConfig("t", ["retention.ms"]))
    assert entry.value == "86400000"
    me.ask(t.AllowedActions([None, "t"]))
    first, _ = me.ask(t.NewProducer())
    second, _ = me.ask(t.NewProducer())
    assert first != second
    for number in range(60):
        assert me.put(b"%d" % number, key="t", headers=[(b"x-key", b"S\0\0\0\x02%02d" % number)]).outcome == DONE
    me.consume("c", "t", limit=100, start="first")
    cluster.run()
    assert len(me.bodies()) == 60
    assert me.declare("t", passive=True)[1:] == (60, 1)
    me.ask(t.DeleteTopic("t"))
    cluster.run(3.0)
    assert me.ended == ["c"]
    assert logs(cluster) == [0, 0, 0]
    assert same(cluster)


def test_queues_with_timed_leases(cluster, me, names):
    dead, alive = next(names), next(names)
    me.create(dead)
    me.create(alive, dead_letter_queue=dead, receive_max=1, visibility_ms=1000)
    assert logs(cluster) == [0, 0, 2]
    me.send(b"1", b"2", queue=alive)
    me.send(b"later", queue=alive, delays=[60_000])
    (message,) = me.receive(1, queue=alive)
    assert me.counts(alive) == (1, 1, 1)
    assert me.end([message], 20_000, queue=alive) == [0]
    assert me.end([message], queue=alive) == [0]
    waiting = me.start_receive(wait_ms=5000, queue=dead)
    cluster.run()
    me.withdraw(waiting)
    cluster.run()
    me.ask(q.SetQueuePolicy(alive, attributes={"a": "b"}))
    assert me.describe(alive).attributes == {"a": "b"}
    assert dead in me.ask(q.ListQueues())[0]
    assert me.ask(q.ListSources(dead)) == ([alive], False)
    assert me.received_bodies(queue=alive) == [b"2"]
    cluster.run(3.0)
    assert me.received_bodies(queue=alive) == []
    cluster.run(3.0)
    assert me.counts(dead)[0] == 1
    task = me.ask(q.StartMove(dead, alive, 1))
    assert me.ask(q.ListMoves(dead, 10))[0].task_id == task.task_id
    cluster.run(5.0)
    with pytest.raises(Refused):
        me.ask(q.CancelMove(task.task_id))
    assert me.received_bodies(queue=alive) == [b"2"]
    me.ask(q.PurgeTimedQueue(alive))
    assert me.counts(alive) == (0, 0, 0)
    with pytest.raises(Refused):
        me.ask(q.PurgeTimedQueue(alive))
    me.ask(q.DeleteTimedQueue(alive))
    me.ask(q.DeleteTimedQueue(dead))
    cluster.run(3.0)
    assert logs(cluster) == [0, 0, 0]


def test_a_task_is_cancelled(cluster, me, names):
    dead, alive = next(names), next(names)
    me.create(dead)
    me.create(alive, dead_letter_queue=dead)
    me.send(*(b"%d" % number for number in range(9)), queue=dead)
    task = me.ask(q.StartMove(dead, alive, 1))
    assert me.ask(q.CancelMove(task.task_id)).status == "CANCELLED"


BY_HELPERS = {r.DeclareQueue: "me.declare(", r.Get: "me.get(", r.Consume: "me.consume(", r.Cancel: "me.cancel("} | {
    q.CreateTimedQueue: "me.create(",
    q.DescribeQueue: "me.describe(",
}
KAFKA = {t.TrimPartition, t.FindOffset, t.EpochEnd}
RESULTS = {t.TopicDescription, t.ConfigEntry, q.Checked}


def test_nothing_is_left_out():
    here = Path(__file__).read_text()
    of_modules = {one for module in (r, q, t) for one in vars(module).values() if isinstance(one, type) and issubclass(one, Struct) and one is not Struct}
    for request in of_modules - KAFKA - RESULTS:
        assert BY_HELPERS.get(request, f".{request.__name__}(") in here, request
