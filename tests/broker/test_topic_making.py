"""Topics of very many partitions: made over turns of the loop, and there in one commit."""

import pytest
from partition_bench import NAMESPACE, Bench

from entrepot.broker.calls import topic_requests as asked
from entrepot.broker.calls.port import DONE, PENDING, REFUSED
from entrepot.broker.catalogue.quotas import PARTITIONS, TOPICS
from entrepot.broker.groups.work import STEPS
from entrepot.broker.operations.topic_making import LOG_STEPS
from entrepot.model.errors import Reason


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
def client(bench):
    return bench.connect()


class TestVeryManyPartitions:
    """Made over turns of the loop; all of them are there at once, or none."""

    COUNT = 1000

    @pytest.fixture
    def counts(self, bench, monkeypatch):
        """Ids of logs that are made in each turn."""
        counts = [0]
        new_log_id = bench.decisions.new_log_id

        def counted():
            counts[-1] += 1
            return new_log_id()

        monkeypatch.setattr(bench.decisions, "new_log_id", counted)
        return counts

    @pytest.fixture(params=["made", "added"])
    def submitted(self, request, client, counts):
        """The call that is under way; how many there are before it, and with it."""
        if request.param == "made":
            return client.submit(asked.CreateTopic("t", self.COUNT)), None, self.COUNT
        client.topic("t", 2)
        return client.submit(asked.CreatePartitions("t", self.COUNT)), 2, self.COUNT

    def seen(self, bench):
        """The topic's partitions, if it is there: in the catalogue, and alive."""
        topic = bench.catalogue.namespace(NAMESPACE).topics.get("t")
        if topic is None:
            return None
        assert len(topic.partitions) == len(topic.runtime.logs) == len(topic.runtime.partitions)
        assert [partition.number for partition in topic.runtime.partitions] == list(range(len(topic.partitions)))
        assert [log.id for log in topic.runtime.logs] == topic.partitions
        return len(topic.partitions)

    def test_a_few_in_a_turn_and_nobody_sees_them_before_the_last(self, bench, client, submitted, counts):
        call, before, after = submitted
        turns = 0
        while self.seen(bench) == before:
            counts.append(0)
            bench.loop.step()
            turns += 1
        assert max(counts) <= STEPS // LOG_STEPS + 64
        assert sum(counts) == after + 1  # the topic has one, too
        assert self.seen(bench) == after
        assert call.outcome == PENDING
        client.wait(call)
        assert call.result.partition_count == after
        assert client.append(topic="t", partition=after - 1) == 0
        assert self.seen(bench.reopen()) == after

    @pytest.mark.parametrize("seed", range(3))
    def test_after_a_crash_all_of_it_or_nothing(self, seed):
        found = []
        steps, ended = 0, False
        while not ended:
            bench = Bench(seed)
            call = bench.connect().submit(asked.CreateTopic("t", self.COUNT))
            for _ in range(steps):
                bench.loop.step()
            ended = call.outcome == DONE
            steps += 1
            bench.disk.crash()
            again = bench.start_again()
            found.append(self.seen(again))
            assert sum(1 for _ in again.store.logs()) == (found[-1] or 0)
        assert set(found) == {None, self.COUNT}
        assert found[-1] == self.COUNT

    def test_a_name_that_is_taken_meanwhile(self, bench, client):
        call = client.submit(asked.CreateTopic("t", self.COUNT))
        client.topic("t", 3)
        bench.loop.run_until(lambda: call.outcome != PENDING, 60)
        assert (call.outcome, call.error.reason) == (REFUSED, Reason.EXISTS_DIFFERENT)
        assert self.seen(bench) == 3
        assert sum(1 for _ in bench.store.logs()) == 3

    def test_room_that_is_taken_meanwhile(self, bench, client):
        call = client.submit(asked.CreateTopic("t", self.COUNT))
        bench.catalogue.quotas.count("other", {PARTITIONS: bench.catalogue.quotas.limits.total_partitions - self.COUNT + 1})
        bench.loop.run_until(lambda: call.outcome != PENDING, 60)
        assert (call.outcome, call.error.reason) == (REFUSED, Reason.LIMIT)
        assert self.seen(bench) is None
        assert bench.catalogue.quotas.used(TOPICS) == 0

    @pytest.mark.parametrize(("meanwhile", "expected"), [(5, 1000), (None, Reason.NOT_FOUND), ("anew", 1000)])
    def test_partitions_that_change_meanwhile(self, bench, client, meanwhile, expected):
        client.topic("t", 2)
        call = client.submit(asked.CreatePartitions("t", self.COUNT))
        if meanwhile is None or meanwhile == "anew":
            client.submit(asked.DeleteTopic("t"))
            if meanwhile == "anew":
                client.submit(asked.CreateTopic("t", 7))
        else:
            client.submit(asked.CreatePartitions("t", meanwhile))
        bench.loop.run_until(lambda: call.outcome != PENDING, 60)
        if isinstance(expected, Reason):
            assert (call.outcome, call.error.reason) == (REFUSED, expected)
        else:
            assert call.result.partition_count == self.seen(bench) == expected
        assert bench.catalogue.quotas.used(PARTITIONS) == (self.seen(bench) or 0) == sum(1 for _ in bench.store.logs())

    def test_the_same_twice(self, bench, client):
        client.topic("t", 2)
        calls = [client.submit(asked.CreatePartitions("t", self.COUNT)) for _ in range(2)]
        bench.loop.run_until(lambda: all(call.outcome != PENDING for call in calls), 60)
        assert [call.outcome for call in calls] == [DONE, REFUSED]
        assert calls[1].error.reason is Reason.INVALID
        assert self.seen(bench) == self.COUNT

    def test_whose_connection_is_gone(self, bench, client, submitted):
        _, _, after = submitted
        client.door.close()
        bench.run()
        assert self.seen(bench) == after
