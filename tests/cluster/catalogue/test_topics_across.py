"""Topics of very many partitions, whose shards are of several processes: each makes the logs of its own, over turns of the loop, and all are there at once."""

from collections import Counter

import pytest
from brokers import NS, same
from whole_brokers import WholeCluster

from entrepot.broker.calls.port import DONE, PENDING, REFUSED, UNAVAILABLE
from entrepot.broker.calls.topic_requests import CreatePartitions, CreateTopic, DeleteTopic, DescribeTopics
from entrepot.broker.groups.work import STEPS
from entrepot.broker.operations.steps import PREPARED_STEPS
from entrepot.broker.operations.topic_ending import PIECE
from entrepot.broker.topic.live_topic import LiveTopic
from entrepot.model.errors import Reason

COUNT = 800


@pytest.fixture(params=[2, 3])
def cluster(request):
    cluster = WholeCluster(request.param)
    cluster.wait_open()
    return cluster


@pytest.fixture
def me(cluster):
    """At a process that follows, or, of three, at the one that decides."""
    return cluster.processes[1 if cluster.count == 2 else 0].connect()


def check(cluster, count):
    """All processes have the topic with so many partitions, or have none, and the logs of their own shards, and no others."""
    cluster.wait_open()
    cluster.run(3.0)
    assert same(cluster)
    for process in cluster.processes:
        topic = process.space.topics.get("t")
        assert (topic is not None) == bool(count)
        logs = {log.id for log in process.store.logs()}
        if topic is None:
            assert logs == set()
            continue
        assert len(topic.partitions) == len(set(topic.partitions)) == count
        shards = process.broker.shards.shards("topic", NS, "t", range(count))
        assert logs == {log_id for log_id, shard in zip(topic.partitions, shards, strict=True) if process.owners.is_here(shard)}
        live = topic.runtime
        assert [partition.number for partition in live.partitions] == list(range(count))
        assert [partition.log.id for partition in live.partitions] == topic.partitions
        assert [partition.gone is None for partition in live.partitions] == [process.owners.is_here(shard) for shard in shards]
        assert all(partition.log is process.store.log(partition.log.id) for partition in live.partitions if partition.gone is None)
        assert process.broker.live.prepared == {}
        assert not any(process.broker.shard_moves._partitions.values())


def test_made_added_to_and_deleted(cluster, me):
    assert me.ask(CreateTopic("t", COUNT)).partition_count == COUNT
    for process in cluster.processes:
        assert len(process.space.topics["t"].partitions) == COUNT, "it is everywhere when it is answered"
    check(cluster, COUNT)
    assert me.ask(CreatePartitions("t", 2 * COUNT)).partition_count == 2 * COUNT
    check(cluster, 2 * COUNT)
    assert me.ask(CreatePartitions("t", 2 * COUNT + 3)).partition_count == 2 * COUNT + 3
    check(cluster, 2 * COUNT + 3)
    me.ask(DeleteTopic("t"))
    check(cluster, 0)


def test_messages_go_to_all_of_them_and_come_back(cluster, me):
    me.ask(CreateTopic("t", COUNT))
    for number in range(60):
        assert me.put(b"%d" % number, key="t", headers=[(b"x-key", b"S\0\0\0\x02%02d" % number)]).outcome == DONE
    filled = [sum(log.durable_offset for log in process.store.logs()) for process in cluster.processes]
    assert sum(filled) == 60
    assert min(filled) > 0
    me.consume("reader", "t", limit=100, start="first")
    cluster.loop.run_until(lambda: len(me.got.get("reader", ())) == 60, 20)
    assert sorted(int(body) for body in me.bodies("reader")) == list(range(60))


def count_made(cluster, monkeypatch):
    """How many partitions each process makes in each turn."""
    made = Counter()
    prepared = LiveTopic.prepared

    def counted(self, log, number):
        made[cluster.loop.steps, self._hub] += 1
        return prepared(self, log, number)

    monkeypatch.setattr(LiveTopic, "prepared", counted)
    return made


def test_a_few_in_a_turn_at_every_process(cluster, me, monkeypatch):
    made = count_made(cluster, monkeypatch)
    cluster.run()
    call = me.submit(CreateTopic("t", COUNT))
    cluster.loop.step()
    cluster.loop.run_until(lambda: call.outcome == DONE, 20)
    assert made.total() == COUNT * cluster.count
    assert max(made.values()) <= 2 * (STEPS // PREPARED_STEPS + PIECE)  # where it begins in the turn of a call, another may follow in the same step


def test_a_process_that_is_not_there(cluster, me):
    first = cluster.processes[0]
    first.owners.crossings.pop("w1")
    for request in (CreateTopic("t", COUNT), CreateTopic("t", 20)):
        call = me.submit(request)
        cluster.loop.run_until(lambda call=call: call.outcome != PENDING, 20)
        assert call.outcome == UNAVAILABLE
    cluster.run(3.0)
    assert all(list(process.store.logs()) == [] for process in cluster.processes)


def test_a_name_that_is_taken_meanwhile(cluster, me):
    call = me.submit(CreateTopic("t", COUNT))
    cluster.loop.step()
    other = cluster.processes[0].connect()
    other.ask(CreateTopic("t", 3))
    cluster.loop.run_until(lambda: call.outcome != PENDING, 20)
    if call.outcome == DONE:  # it was the later one that came too late
        check(cluster, COUNT)
    else:
        assert (call.outcome, call.error.reason) == (REFUSED, Reason.EXISTS_DIFFERENT)
        check(cluster, 3)


@pytest.mark.parametrize("dies", ["decider", "follower"])
@pytest.mark.parametrize("amid", [0, 40, 60, 100])
def test_one_dies_amid_it(dies, amid):
    cluster = WholeCluster(2, seed=amid + 1)
    cluster.wait_open()
    cluster.processes[0].connect().submit(CreateTopic("t", COUNT))
    for _ in range(amid):
        cluster.loop.step()
    cluster.restart(0 if dies == "decider" else 1)
    cluster.wait_open()
    cluster.run(5.0)
    check(cluster, COUNT if "t" in cluster.processes[0].space.topics else 0)


@pytest.mark.parametrize("amid", [0, 1, 2, 4])
def test_the_decider_dies_while_a_follower_makes_what_it_decided(amid):
    cluster = WholeCluster(2)
    cluster.wait_open()
    other = cluster.processes[1]
    cluster.processes[0].connect().submit(CreateTopic("t", COUNT))
    cluster.loop.run_until(lambda: other.following._applying is not None, 20)
    for _ in range(amid):
        cluster.loop.step()
    before = len(list(other.store.logs()))
    assert before > 0 or amid == 0
    cluster.restart(0)
    assert other.broker.live.prepared == {}
    cluster.wait_open()
    check(cluster, COUNT)  # it was durable: its change was sent


def test_a_follower_that_joins_makes_it_over_turns(cluster, me, monkeypatch):
    me.ask(CreateTopic("t", COUNT))
    cluster.run()
    made = count_made(cluster, monkeypatch)
    cluster.restart(1)
    cluster.settle()
    assert made.total() >= COUNT
    assert max(made.values()) <= 2 * (STEPS // PREPARED_STEPS + PIECE)
    check(cluster, COUNT)


def test_described_at_every_process(cluster, me):
    me.ask(CreateTopic("t", COUNT))
    for process in cluster.processes:
        (description,) = process.connect().ask(DescribeTopics(["t"]))
        assert description.partition_count == COUNT
