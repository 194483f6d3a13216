"""A decider that begins, outages, and who may not answer: with two and three whole brokers."""

import pytest
from brokers import Cluster, same

from entrepot.broker.calls import requests as r
from entrepot.broker.calls.port import DONE, REFUSED, UNAVAILABLE
from entrepot.broker.calls.queue_requests import CreateTimedQueue, TimedPolicy
from entrepot.broker.calls.topic_requests import CreateTopic
from entrepot.broker.catalogue.changes import NO_REVISION, encode_change
from entrepot.broker.catalogue.stream import CatalogueStream
from entrepot.cluster.catalogue import deciding
from entrepot.cluster.catalogue import frames as f
from entrepot.cluster.catalogue.following import Following
from entrepot.model.errors import Unavailable


def is_mine(cluster, process, name):
    return process.broker.shards.place(process.space.queues[name]) % cluster.count == process.number


def test_a_new_decider_to_whom_nobody_says_who_there_is_waits_for_a_time():
    cluster = Cluster(2)
    cluster.settle()
    first = cluster.processes[0]
    cluster.restart(0)
    cluster.wires[0, 1].break_off()
    first.deciding.begin()
    here = first.connect()
    cluster.run(3.0)
    assert here.submit(r.DeclareQueue("q", durable=True)).outcome == UNAVAILABLE
    cluster.run(2.0)
    assert here.declare("q")[0] == "q"


def test_a_new_decider_waits_for_no_process_that_has_no_start():
    cluster = Cluster(3)
    cluster.settle()
    first = cluster.processes[0]
    cluster.restart(0)
    for other in (1, 2):
        cluster.wires[0, other].break_off()
    here = first.connect()
    first.deciding.absent("w1")
    assert here.submit(r.DeclareQueue("w", durable=True)).outcome == UNAVAILABLE  # one of w1's
    first.deciding.absent("w2")
    assert here.declare("w")[0] == "w"


def test_nobody_answers_by_what_a_new_decider_does_not_know_yet():
    cluster = Cluster(3)
    cluster.settle()
    first, one, other = cluster.processes
    other.connect().declare("x", durable=False)
    at_one = one.connect()
    assert at_one.declare("x", durable=False, passive=True)[0] == "x"
    cluster.restart(0)
    cluster.wires[0, 2].break_off()
    at_first = first.connect()
    for _ in range(100):
        cluster.run(0.1)
        for connection in (at_first, at_one):
            assert connection.submit(r.DeclareQueue("x", passive=True)).outcome in (UNAVAILABLE, DONE)
    for connection in (at_first, at_one):
        assert connection.submit(r.DeclareQueue("x", passive=True)).outcome == UNAVAILABLE
        assert connection.publish(b"m", key="x", mandatory=True).outcome == UNAVAILABLE
        with pytest.raises(Unavailable):
            connection.door.broker.check_catalogue()
    assert at_first.submit(r.DeclareQueue("", exclusive=True)).outcome == UNAVAILABLE
    at_first.close()
    cluster.settle()
    assert at_one.declare("x", durable=False, passive=True)[0] == "x"
    assert first.connect().submit(r.DeclareQueue("x", passive=True)).outcome != REFUSED
    assert same(cluster)


def test_heartbeats_are_answered_by_nobody_who_does_not_decide_yet(monkeypatch):
    cluster = Cluster(3)
    cluster.settle()
    cluster.restart(0)
    cluster.wires[0, 2].break_off()
    heard = []
    monkeypatch.setattr(Following, "_heard", lambda _, frame: heard.append(frame))
    cluster.run(10.0)
    assert cluster.processes[1].following.epoch == cluster.processes[0].store.epoch
    assert heard == []


def test_what_was_announced_has_to_be_known_before_somebody_answers():
    cluster = Cluster(3)
    cluster.settle()
    first = cluster.processes[0]
    cluster.processes[2].connect().declare("x", durable=False)
    cluster.restart(0)
    cluster.loop.run_until(lambda: first.decisions.stream.decides, 60)
    assert "x" in first.space.queues
    assert first.decisions.stream.let_through == first.decisions.stream.revision


def test_an_outage_costs_one_snapshot(monkeypatch):
    cluster = Cluster(2, held_max=4000)
    cluster.settle()
    first, other = cluster.processes
    here = first.connect()
    cut = []
    right = CatalogueStream.join_by_pieces
    monkeypatch.setattr(CatalogueStream, "join_by_pieces", lambda stream, name, *how: (cut.append(name), right(stream, name, *how)))
    cluster.wires[0, 1].break_off()
    for number in range(100):
        here.submit(r.DeclareQueue(f"q{number}", durable=True))
    held = other.links["w0"].held_bytes
    cluster.run(60.0)
    assert other.links["w0"].held_bytes - held < 2000  # a few heartbeats
    cluster.settle()
    cluster.run(3.0)
    assert cut == ["w1"]
    assert same(cluster)


def test_a_join_whose_snapshot_is_on_its_way_needs_no_second_one(monkeypatch):
    cluster = Cluster(2)
    cluster.settle()
    first, other = cluster.processes
    cut = []
    right = CatalogueStream.join_by_pieces
    monkeypatch.setattr(CatalogueStream, "join_by_pieces", lambda stream, name, *how: (cut.append(name), right(stream, name, *how)))
    first.disk.commit_s = (1.0, 1.0)
    first.connect().submit(r.DeclareQueue("q", durable=True))
    join = f.Join(first.store.epoch, other.broker.start_id, encode_change(NO_REVISION, []))
    for _ in range(3):
        first.deciding.frame(first.links["w1"], join)
    assert cut == ["w1"]
    cluster.run(5.0)
    first.deciding.frame(first.links["w1"], join)
    assert cut == ["w1", "w1"]


def test_an_answer_that_fails_does_not_stop_the_decider(cluster, here, monkeypatch):
    first = cluster.processes[0]
    cluster.wires[0, cluster.count - 1].break_off()
    call = here.submit(r.DeclareQueue("q", durable=True))
    cluster.run(1.0)
    failing = []

    def fail_once(self):
        failing.append(1)
        if len(failing) == 1:
            raise OSError("nothing to do with it")

    monkeypatch.setattr(deciding.Deciding, "_begin_to_decide", fail_once)
    with pytest.raises(OSError, match="nothing to do"):
        first.deciding._tick()
    monkeypatch.undo()
    cluster.run(6.0)
    assert call.outcome == DONE


def test_a_heartbeat_of_who_is_behind_what_was_answered_is_not_answered(cluster, here):
    first = cluster.processes[0]
    name = f"w{cluster.count - 1}"
    cluster.wires[0, cluster.count - 1].break_off()
    has = cluster.processes[-1].decisions.stream.revision
    call = here.submit(r.DeclareQueue("q", durable=True))
    cluster.run(6.0)
    assert call.outcome == DONE
    first.deciding.frame(first.links[name], f.Heartbeat(1, first.store.epoch, *has))
    assert not first.deciding._leases.is_counted(name)


def test_a_queue_that_was_used_after_its_expiry_was_refused_stays_as_long_as_any():
    cluster = Cluster(2)
    cluster.settle()
    first, process = cluster.processes
    there = process.connect()
    name = next(name for name in (f"q{number}" for number in range(100)) if there.declare(name, x_expires=4000) and is_mine(cluster, process, name))
    first.decisions.stream.elsewhere = "on its way"
    cluster.run(4.5)
    assert name in process.space.queues
    first.decisions.stream.elsewhere = ""
    cluster.run(3.0)
    assert name in process.space.queues
    cluster.run(4.0)
    assert name not in process.space.queues


def test_topics_and_timed_queues_are_not_found_by_who_may_not_answer(cluster, there):
    process = cluster.processes[-1]
    there.ask(CreateTopic("t", 2))
    policy = TimedPolicy()
    names = [f"s{number}" for number in range(12)]
    for name in names:
        there.ask(CreateTimedQueue(name=name, policy=policy, given=frozenset(), attributes={}, tags={}))
    mine = next(name for name in names if is_mine(cluster, process, name))
    version = process.broker.authorizer.version
    assert there.door.topics.access("t", version).partitions
    cluster.wires[0, cluster.count - 1].break_off()
    cluster.run(6.0)
    for name in ("t", "made meanwhile"):
        with pytest.raises(Unavailable):
            there.door.topics.access(name, version)
    for name in (mine, "made meanwhile"):
        with pytest.raises(Unavailable):
            process.broker.timed.place(there.door, name)
    with pytest.raises(Unavailable):
        there.door.topics.by_id(b"made meanwhile", version)


def test_who_has_not_joined_is_called_once(cluster):
    first = cluster.processes[0]
    link = first.links["w1"]
    sent = link.sent
    for beat in range(3):
        first.deciding.frame(link, f.Heartbeat(beat, first.store.epoch - 1, 0, 0))
    assert link.sent == sent + 1
    cluster.settle()
