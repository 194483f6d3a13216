"""Groups behind the port of a whole broker: answered through its sinks, kept in its store."""

import pytest
from broker_bench import Bench

from entrepot.broker.calls import group_requests as r
from entrepot.broker.calls import requests, topic_requests
from entrepot.broker.calls.port import DONE, PENDING, REFUSED
from entrepot.broker.groups.offsets import FORGETTING_STEPS
from entrepot.broker.groups.work import STEPS
from entrepot.broker.operations.thinning import THINNED_AT_ONCE
from entrepot.broker.state import DELETE, OFFSET_PREFIX
from entrepot.model.errors import Reason


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


class Counting:
    """A store that counts how many offsets are forgotten in a turn of the loop, into the last of `counts`."""

    def __init__(self, store, counts):
        self.store, self.counts = store, counts

    def __getattr__(self, name):
        return getattr(self.store, name)

    def fold(self, shard, key, delta):
        self.counts[-1] += key.startswith(OFFSET_PREFIX) and delta == DELETE
        self.store.fold(shard, key, delta)


class TestVeryManyOffsets:
    """A topic whose offsets are many goes over turns of the loop; one that is made again under its name has none of them."""

    COUNT = 4 * THINNED_AT_ONCE

    def committed(self, bench, partitions):
        """A broker with a topic and a stream, and so many offsets of both, of groups that each hold all partitions."""
        me = bench.connect()
        for name in "tu":
            if partitions == 1:
                me.ask(requests.DeclareQueue(name, durable=True, arguments={"x-queue-type": "stream"}))
            else:
                me.ask(topic_requests.CreateTopic(name, partitions))
        groups = [f"g{number}" for number in range(self.COUNT // partitions)]
        for group in groups:
            places = [(name, number) for name in "tu" for number in range(partitions)]
            me.ask(r.CommitOffsets(group, -1, "", None, {place: r.CommittedOffset(7) for place in places}))
        return me, groups

    def held(self, me, groups):
        """How many offsets of each topic are there."""
        found = [topic for group in groups for topic, _ in me.ask(r.FetchOffsets(group, None))]
        return found.count("t"), found.count("u")

    def counted(self, bench, monkeypatch):
        counts = [0]
        monkeypatch.setattr(bench.broker.desk, "store", Counting(bench.store, counts))
        return counts

    def run_until(self, bench, call, counts):
        counts.append(0)
        while call.outcome == PENDING:
            bench.loop.step()
            counts.append(0)
        assert call.outcome == DONE

    @pytest.mark.parametrize(
        ("request_", "partitions"), [(requests.DeleteQueue("t"), 1), (topic_requests.DeleteTopic("t"), 1), (topic_requests.DeleteTopic("t"), 400)]
    )
    def test_go_over_turns_and_all_of_them(self, bench, monkeypatch, request_, partitions):
        me, groups = self.committed(bench, partitions)
        counts = self.counted(bench, monkeypatch)
        self.run_until(bench, me.submit(request_), counts)
        assert max(counts) <= 2 * THINNED_AT_ONCE
        assert sum(counts) == self.COUNT
        assert self.held(me, groups) == (0, self.COUNT)
        again = bench.reopen()
        assert self.held(again.connect(), groups) == (0, self.COUNT)

    @pytest.mark.once
    def test_after_a_crash_amid_it_one_made_again_has_none(self, bench):
        for steps in range(1, 12):
            bench = Bench(steps)
            me, groups = self.committed(bench, 400)
            call = me.submit(topic_requests.DeleteTopic("t"))
            for _ in range(steps):
                bench.loop.step()
            was_told = call.outcome == DONE
            bench.disk.crash()
            again = bench.start_again()
            me = again.connect()
            if "t" in again.catalogue.namespace("public/default").topics:
                assert not was_told
                me.ask(topic_requests.DeleteTopic("t"))
            me.ask(topic_requests.CreateTopic("t", 400))
            assert self.held(me, groups) == (0, self.COUNT)

    def test_a_topic_that_takes_its_name_meanwhile_keeps_its_own(self, bench):
        me, groups = self.committed(bench, 400)
        call = me.submit(topic_requests.DeleteTopic("t"))
        bench.decisions.remove_queue(bench.catalogue.find_topic("public/default", "t"))
        me.submit(topic_requests.CreateTopic("t", 250))
        commit = me.submit(r.CommitOffsets(groups[0], -1, "", None, {("t", number): r.CommittedOffset(9) for number in range(250)}))
        bench.run()
        assert (call.outcome, call.error.reason, commit.outcome) == (REFUSED, Reason.NOT_FOUND, DONE)
        assert self.held(me, groups) == (250, self.COUNT)

    def test_a_group_goes_over_turns_too(self, bench, monkeypatch):
        me = bench.connect()
        me.ask(topic_requests.CreateTopic("t", 2000))
        me.ask(r.CommitOffsets("g", -1, "", None, {("t", number): r.CommittedOffset(number) for number in range(2000)}))
        counts = self.counted(bench, monkeypatch)
        self.run_until(bench, me.submit(r.DeleteGroup("g")), counts)
        assert max(counts) <= STEPS // FORGETTING_STEPS + THINNED_AT_ONCE
        assert sum(counts) == 2000
        again = bench.reopen()
        assert self.held(again.connect(), ["g"]) == (0, 0)
        assert again.broker.statistics()["groups"] == 0

    @pytest.mark.once
    def test_old_ones_expire_over_turns(self, bench, monkeypatch):
        _, groups = self.committed(bench, 400)
        counts = self.counted(bench, monkeypatch)
        while bench.broker.statistics()["offsets"]:
            bench.loop.step()
            counts.append(0)
        assert max(counts) <= STEPS // FORGETTING_STEPS + 64
        assert sum(counts) == 2 * self.COUNT
        assert self.held(bench.connect(), groups) == (0, 0)

    def test_all_of_a_group_are_looked_up_over_turns(self, bench):
        me = bench.connect()
        me.ask(topic_requests.CreateTopic("t", 5000))
        me.ask(r.CommitOffsets("g", -1, "", None, {("t", number): r.CommittedOffset(number) for number in range(5000)}))
        call = me.submit(r.FetchOffsets("g", None))
        assert call not in bench.store.group().calls
        bench.run()
        assert [committed.offset for committed in call.result.values()] == list(range(5000))
