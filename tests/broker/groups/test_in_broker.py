"""Groups behind the port of a whole broker: answered through its sinks, kept in its store."""

import pytest
from broker_bench import Bench

from entrepot.broker import group_requests as r
from entrepot.broker import requests, topic_requests


@pytest.fixture
def bench():
    return Bench()


class TestInBroker:
    def test_a_group_and_its_offsets_outlive_the_broker(self, bench):
        me = bench.connect()
        me.ask(requests.DeclareQueue("t", durable=True, arguments={"x-queue-type": "stream"}))
        joined = me.ask(r.JoinGroup("g", "", None, "client", "host", 10_000, 60_000, "consumer", [("range", b"m")]))
        assert me.ask(r.SyncGroup("g", joined.generation, joined.member_id, None, None, None, {joined.member_id: b"all"}))[2] == b"all"
        assert me.ask(r.CommitOffsets("g", 1, joined.member_id, None, {("t", 0): r.CommittedOffset(7)})) == {}
        again = bench.reopen()
        me = again.connect()
        assert me.ask(r.Heartbeat("g", 1, joined.member_id, None)) is None
        assert me.ask(r.FetchOffsets("g", None))["t", 0].offset == 7
        assert again.broker.statistics()["groups"] == 1
        me.ask(requests.DeleteQueue("t"))
        assert me.ask(r.FetchOffsets("g", None)) == {}
        assert again.reopen().connect().ask(r.FetchOffsets("g", None)) == {}

    def test_members_hear_of_topics_made_grown_and_deleted(self, bench):
        me = bench.connect()
        first = me.ask(topic_requests.CreateTopic("t", 2)).id

        def beat(epoch, owned=None):
            timeout_ms, names = (1000, ["t", "u"]) if epoch == 0 else (-1, None)
            return me.ask(r.ConsumerHeartbeat("g", "m", epoch, None, None, timeout_ms, "client", "host", names, None, None, owned))

        assert beat(0, {}).assignment == {first: [0, 1]}
        second = me.ask(topic_requests.CreateTopic("u", 1)).id
        assert beat(1).assignment == {first: [0, 1], second: [0]}
        me.ask(topic_requests.CreatePartitions("u", 2))
        assert beat(2).assignment == {first: [0, 1], second: [0, 1]}
        me.ask(r.CommitOffsets("g", 3, "m", None, {("t", 1): r.CommittedOffset(5), ("u", 1): r.CommittedOffset(6)}))
        me.ask(topic_requests.DeleteTopic("t"))
        assert beat(3).assignment == {second: [0, 1]}
        assert list(me.ask(r.FetchOffsets("g", None))) == [("u", 1)]
        again = bench.reopen()
        me = again.connect()
        assert beat(3, {second: [0, 1]}).member_epoch == 5  # amid a reconciliation the target is made anew
        assert list(me.ask(r.FetchOffsets("g", None))) == [("u", 1)]
