"""Snapshots that come, and are taken in, over many turns of the loop: what a front does in that time, and what comes behind them."""

import pytest
from brokers import NS, Cluster, same

from entrepot.broker.calls import requests as r
from entrepot.broker.calls.port import DONE, PENDING, UNAVAILABLE
from entrepot.broker.catalogue import snapshots
from entrepot.broker.catalogue.catalogue import Catalogue
from entrepot.broker.catalogue.changes import Revision, Row, encode_change
from entrepot.broker.catalogue.kept_definitions import QUEUE_KEY, named_key
from entrepot.broker.groups.work import STEPS
from entrepot.cluster.catalogue import frames as f
from entrepot.model.errors import CorruptData, Unavailable


@pytest.fixture
def slow(monkeypatch):
    """A row in a turn."""
    monkeypatch.setattr(snapshots, "PIECE_ROWS", 4)
    monkeypatch.setattr(snapshots, "AT_ONCE", 5)
    monkeypatch.setattr(snapshots, "SLICE", 1)
    monkeypatch.setattr(snapshots, "_APPLIED_STEPS", STEPS)


class Outage:
    """A follower was cut off while much was declared: its link was full. `there`: a client of it, whose lease still runs."""

    def __init__(self, count=2):
        self.cluster = cluster = Cluster(count, held_max=4000)
        cluster.settle()
        self.first, self.other = cluster.processes[0], cluster.processes[1]
        self.here, self.there = self.first.connect(), self.other.connect()
        own = (f"own{number}" for number in range(10_000))
        self.own = next(name for name in own if self.first.broker.shards.shard("queue", NS, name) % count == 1)
        self.there.declare(self.own)
        assert self.there.put(b"1", key=self.own).outcome == DONE
        self.wire = cluster.wires[0, 1]
        self.wire.break_off()
        self.calls = [self.here.submit(r.DeclareQueue(f"q{number}", durable=True)) for number in range(100)]
        cluster.run(0.3)

    def until_applying(self):
        self.wire.begin()
        self.cluster.loop.run_until(lambda: self.other.following._applying is not None, 20)


def test_a_front_answers_nothing_by_a_catalogue_that_is_half_another(slow):
    outage = Outage()
    cluster, other, there = outage.cluster, outage.other, outage.there
    assert there.publish(b"2", key=outage.own).outcome != UNAVAILABLE, "its lease runs"
    outage.until_applying()
    beats, turns = other.following._lease._number, 0
    while other.following._applying is not None:
        assert there.publish(b"3", key=outage.own).outcome == UNAVAILABLE
        assert there.submit(r.DeclareQueue(outage.own, passive=True)).outcome == UNAVAILABLE
        with pytest.raises(Unavailable):
            other.broker.check_catalogue()
        assert other.following._lease._number == beats
        assert other.decisions.stream.revision < outage.first.decisions.stream.revision
        cluster.loop.step()
        turns += 1
    assert turns > 50
    cluster.settle()
    assert there.put(b"4", key=outage.own).outcome == DONE
    cluster.loop.run_until(lambda: all(call.outcome == DONE for call in outage.calls), 20)
    assert same(cluster)


def test_what_differs_little_is_one_change():
    outage = Outage()
    applied = []
    outage.other.catalogue.on_applied = lambda found, right=outage.other.catalogue.on_applied: (applied.append(len(found.made)), right(found))
    outage.cluster.settle()
    assert max(applied) > 80
    assert sum(applied) == 100
    assert same(outage.cluster)


def test_while_it_only_compares_a_front_answers(monkeypatch):
    monkeypatch.setattr(snapshots, "_COMPARED", 1)
    monkeypatch.setattr(snapshots, "_COMPARED_STEPS", STEPS)
    outage = Outage()
    outage.until_applying()
    turns = 0
    while outage.other.following._applying is not None:
        assert outage.there.submit(r.DeclareQueue(outage.own, passive=True)).outcome == DONE
        outage.cluster.loop.step()
        turns += 1
    assert turns > 10
    assert same(outage.cluster)


def test_what_comes_behind_it_waits(slow):
    outage = Outage()
    cluster, other = outage.cluster, outage.other
    outage.until_applying()
    call = outage.here.submit(r.DeclareQueue("late", durable=True))
    while other.following._applying is not None:
        assert "late" not in other.space.queues
        assert call.outcome == PENDING
        cluster.loop.step()
    cluster.loop.run_until(lambda: call.outcome == DONE, 20)
    assert "late" in other.space.queues
    assert same(cluster)


def test_an_answer_that_waits_behind_it_comes(slow):
    outage = Outage()
    call = outage.there.submit(r.DeclareQueue("mine", durable=True))
    outage.until_applying()
    assert call.outcome == PENDING
    outage.cluster.loop.run_until(lambda: call.outcome == DONE, 20)
    assert "mine" in outage.other.space.queues
    assert same(outage.cluster)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("dies", [0, 1])
def test_one_of_them_dies_amid_it(slow, dies, seed):
    outage = Outage()
    cluster = outage.cluster
    calls = [*outage.calls, outage.there.submit(r.DeclareQueue("mine", durable=True))]
    outage.until_applying()
    for _ in range(seed * 37):
        cluster.loop.step()
    cluster.restart(dies)
    cluster.settle()
    cluster.run(5.0)
    assert same(cluster)
    if dies == 0:
        assert PENDING not in {call.outcome for call in calls[-1:]}


def test_a_start_that_says_what_cannot_be_is_condemned_in_a_later_turn(slow):
    outage = Outage()
    outage.cluster.settle()
    first, other = outage.first, outage.other
    link = other.links["w0"]
    wrong = [Row(named_key(QUEUE_KEY, NS, f"wrong{number}"), {"log_id": b"1"}) for number in range(10)]
    revision = Revision(first.store.epoch, 1 << 30)
    condemned = []
    other.following.on_corrupt = lambda *what: condemned.append(what)
    other.following.frame(link, f.Snapshot(encode_change(revision, wrong)))
    outage.cluster.run(0.1)
    ((found, why),) = condemned
    assert found is link
    assert "cannot be applied" in why


def test_where_nobody_listens_it_is_told_with_the_next_frame(slow):
    outage = Outage()
    outage.cluster.settle()
    other = outage.other
    link = other.links["w0"]
    wrong = [Row(named_key(QUEUE_KEY, NS, f"right{number}"), {"log_id": bytes(16), "auto_delete": False, "arguments": {}}) for number in range(10)]
    wrong.insert(0, Row(named_key(QUEUE_KEY, NS, "wrong"), {}))
    other.following.frame(link, f.Snapshot(encode_change(Revision(1 << 20, 1), wrong)))
    assert other.following._applying is not None
    while other.following._applying is not None:
        outage.cluster.loop.step()
    with pytest.raises(CorruptData, match="cannot be applied"):
        other.following.frame(link, f.Heard(1, 1))


def test_pieces_that_have_not_begun_are_corrupt():
    cluster = Cluster(2)
    cluster.settle()
    link = cluster.processes[1].links["w0"]
    with pytest.raises(CorruptData):
        cluster.processes[1].following.frame(link, f.Snapshot(encode_change(Revision(1, 1), []), 1, True))


QUEUES = 3000


def test_no_turn_is_long(monkeypatch):
    """As it is set: so many rows are cut, compared, and taken in, in a turn at most."""
    cluster = Cluster(2)
    cluster.settle()
    first, other = cluster.processes
    other.kill()
    for number in range(QUEUES):
        first.decisions.declare_queue(NS, f"q{number}", durable=True, exclusive=False, auto_delete=False, arguments={}, connection=(b"somebody", 1))
    cluster.run(5.0)
    other.start()
    cluster._wire((0, 1))
    taken, cut = [0], [0]
    apply, rows_of = Catalogue.apply, Catalogue.rows

    def counted(self, revision, rows, *, more=False):
        taken[-1] += len(rows)
        apply(self, revision, rows, more=more)

    def told(self):
        for row in rows_of(self):
            cut[-1] += 1
            yield row

    monkeypatch.setattr(Catalogue, "apply", counted)
    monkeypatch.setattr(Catalogue, "rows", told)
    while not cluster.is_settled():
        cluster.loop.step()
        taken.append(0)
        cut.append(0)
    assert sum(taken) >= QUEUES
    assert sum(cut) >= QUEUES
    assert max(taken) <= 2 * (STEPS // 40 + snapshots.SLICE)
    assert max(cut) <= 2 * snapshots.PIECE_ROWS + STEPS // 5 + 2
    assert same(cluster)
