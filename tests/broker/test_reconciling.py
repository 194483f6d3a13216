"""Logs and committed offsets follow the catalogue: made where a definition lacks them, dropped where none names them, and not before that can be known."""

import pytest
from broker_bench import NS, Bench

from entrepot.broker.calls import group_requests as g
from entrepot.broker.calls import requests as r
from entrepot.broker.calls import topic_requests as t
from entrepot.broker.calls.port import DONE, UNAVAILABLE
from entrepot.broker.catalogue.changes import Revision
from entrepot.broker.catalogue.kept_definitions import gone, queue_row, topic_row
from entrepot.broker.catalogue.noted_revisions import NOTED_KEY, NotedRevisions
from entrepot.broker.groups.kept import group_key, offset_key
from entrepot.broker.state import OFFSET_PREFIX, set_value
from entrepot.model.errors import CorruptData

LATER = Revision(99, 1)


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
def me(bench):
    return bench.connect()


def shard_of(bench, kind, name, partition=0):
    return bench.broker.shards.shard(kind, NS, name, partition)


def close(bench, shard):
    closed = []
    bench.broker.shard_moves.close(shard, lambda: closed.append(True))
    bench.run()
    assert closed


def reopen(bench, shard):
    """Whether it is open."""
    opened = []
    bench.broker.shard_moves.open(shard, bench.store.epoch, lambda: opened.append(True))
    bench.run()
    return bool(opened)


def log_ids(bench):
    return {log.id for log in bench.store.logs()}


def test_a_log_that_a_definition_lacks_is_made(bench, me):
    bench.catalogue.on_applied = None  # the power goes before any owner has heard of it
    queue, _ = bench.decisions.declare_queue(NS, "q", durable=True, exclusive=False, auto_delete=False, arguments={}, connection=me.door.home)
    topic, _ = bench.decisions.declare_topic(NS, "t", partitions=3)
    assert log_ids(bench) == set()
    again = bench.reopen()
    assert log_ids(again) == {queue.log_id, *topic.partitions}
    me = again.connect()
    me.put(b"1", key="q")
    assert me.get("q", auto_settle=True)[0] == b"1"
    assert len(log_ids(again.reopen())) == 4


def test_a_log_that_no_definition_names_is_dropped_when_the_broker_starts(bench, me):
    me.declare("q")
    bench.store.create_log(3, b"n" * 16)
    again = bench.reopen()
    assert log_ids(again) == {again.catalogue.namespace(NS).queues["q"].log_id}


def test_what_others_delete_while_its_shard_is_elsewhere(bench, me):
    me.declare("q")
    me.put(b"1", key="q")
    me.consume("c", "q")
    bench.run()
    shard = shard_of(bench, "queue", "q")
    queue = bench.catalogue.namespace(NS).queues["q"]
    close(bench, shard)
    bench.catalogue.apply(LATER, [gone(queue_row(queue))])
    assert me.ended == ["c"]
    assert bench.broker.statistics()["consumers"] == 0
    assert queue.log_id in log_ids(bench)
    assert reopen(bench, shard)
    assert log_ids(bench) == set()
    assert bench.broker.statistics()["queues"] == 0
    me.declare("q")  # another one
    assert me.get("q", auto_settle=True) is None


def test_a_topic_that_others_delete_while_one_of_its_partitions_is_elsewhere(bench, me):
    me.ask(t.CreateTopic("t", 3))
    shard = shard_of(bench, "topic", "t", 1)
    topic = bench.catalogue.find_topic(NS, "t")
    close(bench, shard)
    bench.catalogue.apply(LATER, [gone(topic_row(topic))])
    assert log_ids(bench) == {topic.partitions[1]}
    assert reopen(bench, shard)
    assert log_ids(bench) == set()


def test_what_others_make_while_its_shard_is_elsewhere(bench, me):
    """It is unavailable until its shard opens; then it is made, as it had no log yet."""
    elsewhere = Bench()
    queue, _ = elsewhere.decisions.declare_queue(NS, "q", durable=True, exclusive=False, auto_delete=False, arguments={}, connection=me.door.home)
    topic, _ = elsewhere.decisions.declare_topic(NS, "t", partitions=3)
    few = topic_row(topic, partitions=topic.partitions[:2])
    shards = {shard_of(bench, "queue", "q"), shard_of(bench, "topic", "t", 0), shard_of(bench, "topic", "t", 2)}
    assert shard_of(bench, "topic", "t", 1) not in shards
    for shard in shards:
        close(bench, shard)
    bench.catalogue.apply(LATER, [queue_row(queue), few])
    bench.catalogue.apply(Revision(99, 2), [topic_row(topic)])
    assert log_ids(bench) == {topic.partitions[1]}
    for request in (r.PurgeQueue("q"), t.TrimPartition("t", 0, 0), t.TrimPartition("t", 2, 0)):
        call = me.submit(request)
        bench.run()
        assert call.outcome == UNAVAILABLE, request
    assert bench.broker.statistics()["queues"] == 0
    for shard in shards:
        assert reopen(bench, shard)
    assert log_ids(bench) == {queue.log_id, *topic.partitions}
    assert bench.broker.statistics()["queues"] == 1
    me.put(b"1", key="q")
    assert me.get("q", auto_settle=True)[0] == b"1"
    assert me.ask(t.TrimPartition("t", 2, 0)) == 0


def test_what_others_make_and_delete_while_its_shard_is_elsewhere(bench, me):
    elsewhere = Bench()
    queue, _ = elsewhere.decisions.declare_queue(NS, "q", durable=True, exclusive=False, auto_delete=False, arguments={}, connection=me.door.home)
    topic, _ = elsewhere.decisions.declare_topic(NS, "t")
    shards = {shard_of(bench, "queue", "q"), shard_of(bench, "topic", "t")}
    for shard in shards:
        close(bench, shard)
    bench.catalogue.apply(LATER, [queue_row(queue), topic_row(topic)])
    bench.catalogue.apply(Revision(99, 2), [gone(queue_row(queue)), gone(topic_row(topic))])
    for shard in shards:
        assert reopen(bench, shard)
    assert log_ids(bench) == set()
    me.declare("q")  # another one
    assert bench.broker.statistics()["queues"] == 1


def test_a_shard_opens_once_the_catalogue_is_as_far_as_whoever_made_something_in_it(bench, me):
    me.declare("q")
    shard = shard_of(bench, "queue", "q")
    bench.store.create_log(shard, b"n" * 16)  # by an owner who knew a definition that is still on its way
    bench.store.fold(shard, NOTED_KEY, set_value(b"\x01" + LATER.epoch.to_bytes(4, "little") + LATER.number.to_bytes(8, "little")))
    close(bench, shard)
    assert not reopen(bench, shard)
    call = me.submit(r.PurgeQueue("q"))
    bench.run()
    assert call.outcome == UNAVAILABLE
    assert b"n" * 16 in log_ids(bench)
    bench.catalogue.apply(LATER, [])
    call = me.submit(r.PurgeQueue("q"))
    bench.run()
    assert call.outcome == DONE
    assert b"n" * 16 not in log_ids(bench)


def test_what_is_noted_grows_with_what_is_made(bench, me):
    me.declare("q")
    noted = NotedRevisions(bench.store)
    shard = shard_of(bench, "queue", "q")
    assert noted.of(shard) == bench.catalogue.revision
    me.ask(t.CreateTopic("t", 5))
    assert all(NotedRevisions(bench.store).of(shard_of(bench, "topic", "t", number)) == bench.catalogue.revision for number in range(5))
    before = bench.catalogue.revision
    me.declare("passing", durable=False)
    assert NotedRevisions(bench.store).of(shard_of(bench, "queue", "passing")) in ((0, 0), before)  # it has no shard


def test_what_is_noted_by_a_newer_version_is_refused(bench):
    bench.store.fold(7, NOTED_KEY, set_value(b"\x02" + bytes(12)))
    with pytest.raises(CorruptData):
        bench.broker.noted.of(7)


class TestOffsets:
    def commit(self, me, offset, topic="t"):
        me.ask(g.CommitOffsets("g", -1, "", None, {(topic, 0): g.CommittedOffset(offset)}))

    def fetch(self, me, topic="t"):
        return me.ask(g.FetchOffsets("g", [(topic, 0)]))[topic, 0].offset

    def test_a_topic_made_again_while_the_group_is_elsewhere_inherits_nothing(self, bench, me):
        me.ask(t.CreateTopic("t", 1))
        self.commit(me, 7)
        shard = shard_of(bench, "group", "g")
        close(bench, shard)
        me.ask(t.DeleteTopic("t"))
        me.ask(t.CreateTopic("t", 1))
        assert reopen(bench, shard)
        assert self.fetch(me) == -1
        key = offset_key(group_key(OFFSET_PREFIX, NS, "g"), "t", 0)
        assert bench.store.get(shard, key) is None
        self.commit(me, 3)
        again = bench.reopen()
        assert self.fetch(again.connect()) == 3

    def test_a_topic_that_others_have_made_again_amid_a_group_inherits_nothing(self, bench, me):
        me.ask(t.CreateTopic("t", 2))
        me.ask(g.CommitOffsets("g", -1, "", None, {("t", number): g.CommittedOffset(7) for number in range(2)}))
        bench.broker.groups.topic_deleted = lambda *_: None  # its owner has not heard of it yet
        me.ask(t.DeleteTopic("t"))
        me.ask(t.CreateTopic("t", 2))
        self.commit(me, 3)
        found = me.ask(g.FetchOffsets("g", [("t", 0), ("t", 1)]))
        assert [found["t", number].offset for number in range(2)] == [3, -1]

    def test_offsets_of_before_they_had_their_topics_id_are_the_topics_of_that_name(self, bench, me):
        me.ask(t.CreateTopic("t", 1))
        self.commit(me, 7)
        shard = shard_of(bench, "group", "g")
        key = offset_key(group_key(OFFSET_PREFIX, NS, "g"), "t", 0)
        new = bench.store.get(shard, key)
        bench.store.fold(shard, key, set_value(b"\x01\x01" + new[2:22]))
        again = bench.reopen()
        assert self.fetch(again.connect()) == 7
