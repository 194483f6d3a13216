"""Shared subscriptions whose members are in several processes, and last values that lie in another than who publishes and who subscribes."""

import itertools

from brokers import NS, Cluster, same
from retained_bench import CODEC, RetainedConnection
from whole_brokers import WholeCluster

from entrepot.broker.calls.retained_requests import RETAINED_QUEUE
from entrepot.broker.calls.shared_requests import JoinShared, LeaveShared
from entrepot.protocols.mqtt.records import MqttEntryCodec

NAME = "share.g/a/#"


def member(process, name, **how):
    one = process.connect()
    one.declare(name, durable=False, exclusive=True, **how)
    one.ask(JoinShared(NAME, "a.#", name, {"said": name}))
    return one


def is_there(cluster):
    found = {(NAME in process.space.queues, NAME in process.space.exchanges) for process in cluster.processes}
    assert len(found) == 1
    return found == {(True, True)}


def test_members_of_all_processes_share_it(cluster):
    first, last = cluster.processes[0], cluster.processes[-1]
    one, two = member(first, "one"), member(last, "two")
    cluster.settle()
    assert is_there(cluster)
    one.ask(LeaveShared(NAME, "one"))
    cluster.settle()
    assert is_there(cluster)
    two.close()
    cluster.run(3.0)
    cluster.settle()
    assert not is_there(cluster)
    assert same(cluster)


def test_a_new_decider_waits_for_members_elsewhere():
    cluster = Cluster(3)
    cluster.settle()
    member(cluster.processes[0], "one")
    member(cluster.processes[2], "two")
    cluster.settle()
    cluster.restart(0)
    cluster.settle()
    cluster.run(3.0)
    assert is_there(cluster)
    bindings = cluster.processes[0].space.exchanges[NAME].bindings_out.values()
    assert [binding.destination.name for binding in bindings] == ["two"]
    cluster.restart(2)
    cluster.settle()
    cluster.run(6.0)
    cluster.settle()
    assert not is_there(cluster)
    assert same(cluster)


def test_a_new_decider_takes_away_what_nobody_is_a_member_of():
    cluster = Cluster(2)
    cluster.settle()
    member(cluster.processes[0], "one")
    cluster.settle()
    cluster.restart(0)
    cluster.settle()
    cluster.run(3.0)
    assert not is_there(cluster)
    assert same(cluster)


class ValuesCluster(WholeCluster):
    codecs = (MqttEntryCodec,)


class Connected(RetainedConnection):
    def __init__(self, process):
        super().__init__(Bench(process))


class Bench:
    """What a connection needs; tests look at its own process."""

    def __init__(self, process):
        self.broker = process.broker
        self.loop = process.loop

    def run(self, seconds=0.3):
        self.loop.run_for(seconds)


def test_values_lie_where_their_queue_is_and_are_copied_elsewhere():
    cluster = ValuesCluster(3)
    cluster.wait_open()
    shards = cluster.processes[0].broker.shards
    owner = cluster.processes[shards.shard("queue", NS, RETAINED_QUEUE) % 3]
    others = [process for process in cluster.processes if process is not owner]
    names = (name for number in itertools.count() if shards.shard("queue", NS, name := f"q{number}") % 3 == others[1].number)
    publisher, subscriber = Connected(others[0]), Connected(others[1])
    for number in range(600):
        publisher.retaining(f"k.{number:03d}", b"%d" % number, expiry_s=-1 if number % 2 else 1000)
    publisher.retain("k.000", b"new")
    publisher.retain("k.001", b"")
    assert [RETAINED_QUEUE in process.space.queues for process in cluster.processes] == [True] * 3
    assert owner.space.queues[RETAINED_QUEUE].runtime.heads.count == 599
    kept, loose = next(names), "loose"
    subscriber.declare(kept, durable=True)
    subscriber.declare(loose, durable=False, exclusive=True)
    for name in (kept, loose):
        assert sum(subscriber.copy("k.#", name, identifier=5)) == 599
        subscriber.consume(name, name, auto_settle=True)
        cluster.run(2.0)
        copies = subscriber.copies[name]
        assert [key for key, *_ in copies] == [f"k.{number:03d}" for number in range(600) if number != 1]
        assert copies[0][1] == b"new"
        assert {tuple(identifiers) for *_, identifiers in copies} == {(b"\x05",)}
    assert CODEC.tag == subscriber.door.codec


def test_a_value_that_is_published_while_its_owner_is_away_is_kept_or_told():
    cluster = ValuesCluster(3)
    cluster.wait_open()
    shards = cluster.processes[0].broker.shards
    owner = shards.shard("queue", NS, RETAINED_QUEUE) % 3
    publisher = Connected(cluster.processes[(owner + 1) % 3])
    publisher.retain("a", b"1")
    calls = [publisher.retaining("a", b"%d" % number) for number in range(2, 6)]
    cluster.restart(owner)
    cluster.wait_open()
    cluster.run(40.0)
    heard = [call.outcome for call in calls]
    found = dict(publisher.copied("#"))
    assert found["a"] in [b"1"] + [b"%d" % number for number in range(2, 6)]
    assert all(outcome for outcome in heard)  # none is forgotten
    assert publisher.retain("a", b"9").nacked is None
    assert dict(publisher.copied("#")) == {"a": b"9"}
