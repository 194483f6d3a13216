"""Groups behind the port of a whole broker: answered through its sinks, kept in its store."""

import pytest
from broker_bench import Bench

from entrepot.broker import group_requests as r
from entrepot.broker import requests


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
