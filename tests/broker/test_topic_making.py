"""Topics of very many partitions: made over turns of the loop, and there in one commit; ended over turns, and not there from the first on."""

from itertools import pairwise

import pytest
from partition_bench import NAMESPACE, Bench

from entrepot.broker.calls import topic_requests as asked
from entrepot.broker.calls.port import DONE, PENDING, REFUSED, UNAVAILABLE
from entrepot.broker.catalogue.quotas import PARTITIONS, TOPICS
from entrepot.broker.groups.work import STEPS
from entrepot.broker.operations.steps import PREPARED_STEPS
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
        assert max(counts) <= STEPS // PREPARED_STEPS + 64
        assert sum(counts) == after + 1  # the topic has one, too
        assert self.seen(bench) == after
        assert call.outcome == PENDING
        client.wait(call)
        assert call.result.partition_count == after
        assert client.append(topic="t", partition=after - 1) == 0
        assert self.seen(bench.reopen()) == after

    @pytest.mark.once
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
        bench.run()
        assert sum(1 for _ in bench.store.logs()) == 3

    def test_room_that_is_taken_meanwhile(self, bench, client):
        call = client.submit(asked.CreateTopic("t", self.COUNT))
        bench.catalogue.quotas.count("other", {PARTITIONS: bench.catalogue.quotas.limits.total_partitions - self.COUNT + 1})
        bench.loop.run_until(lambda: call.outcome != PENDING, 60)
        assert (call.outcome, call.error.reason) == (REFUSED, Reason.LIMIT)
        assert self.seen(bench) is None
        assert bench.catalogue.quotas.used(TOPICS) == 0
        bench.run()
        assert sum(1 for _ in bench.store.logs()) == 0

    def test_what_is_under_way_is_counted(self, bench, client):
        quotas = bench.catalogue.quotas
        others = quotas.limits.total_partitions - 2 * self.COUNT
        quotas.count("other", {PARTITIONS: others})
        calls = [client.submit(asked.CreateTopic(f"t{number}", self.COUNT)) for number in range(4)]
        assert [call.outcome for call in calls] == [PENDING, PENDING, REFUSED, REFUSED]
        assert calls[-1].error.reason is Reason.LIMIT
        assert quotas.used(PARTITIONS) == others + 2 * self.COUNT
        bench.loop.run_until(lambda: all(call.outcome == DONE for call in calls[:2]), 60)
        assert quotas.used(PARTITIONS) == others + 2 * self.COUNT

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
        bench.run()
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

    def test_what_is_kept_changes_meanwhile(self, bench, client):
        client.topic("t", 2)
        call = client.submit(asked.CreatePartitions("t", self.COUNT))
        client.ask(asked.AlterTopicConfig("t", [("set", "retention.bytes", "1000")]))
        client.wait(call)
        assert self.seen(bench) == self.COUNT
        assert all(partition.sized and partition.retention is not None for partition in bench.topic().partitions)

    def test_a_topic_that_is_deleted_is_made_no_further(self, bench, client):
        client.topic("t", 2)
        call = client.submit(asked.CreatePartitions("t", 10_000))
        client.submit(asked.DeleteTopic("t"))
        bench.loop.step()
        assert sum(1 for _ in bench.store.logs()) < 3 * STEPS // PREPARED_STEPS
        bench.loop.run_until(lambda: call.outcome != PENDING, 60)
        assert (call.outcome, call.error.reason) == (REFUSED, Reason.NOT_FOUND)

    @pytest.mark.parametrize("steps", [0, 1, 2])
    def test_a_shard_that_closes_and_opens_meanwhile(self, bench, client, submitted, steps):
        call, before, _ = submitted
        for _ in range(steps):
            bench.loop.step()
        assert self.seen(bench) == before
        shard = next(log.shard for log in bench.store.logs() if log.owner.number >= 2)
        wander(bench, shard)
        bench.loop.run_until(lambda: call.outcome != PENDING, 60)
        assert call.outcome == UNAVAILABLE
        bench.run()
        assert self.seen(bench) == before
        assert bench.catalogue.quotas.used(PARTITIONS) == (before or 0) == sum(1 for _ in bench.store.logs())
        again = asked.CreateTopic("t", self.COUNT) if before is None else asked.CreatePartitions("t", self.COUNT)
        assert client.ask(again).partition_count == self.COUNT
        assert self.seen(bench.reopen()) == self.COUNT


def wander(bench, shard):
    """Close it and open it again, and do nothing else meanwhile."""
    done = []
    bench.broker.shard_moves.close(shard, lambda: done.append("closed"))
    bench.loop.run_until(lambda: done, 60)
    bench.broker.shard_moves.open(shard, bench.store.epoch, lambda: done.append("opened"))
    bench.loop.run_until(lambda: len(done) == 2, 60)


class TestManyThatEnd:
    """Nobody finds the topic from the first turn on; its logs go over the next ones."""

    COUNT = 3000

    def many(self, client):
        return client.ask(asked.CreateTopic("t", self.COUNT))

    def logs(self, bench):
        return sum(1 for _ in bench.store.logs())

    def test_a_few_in_a_turn(self, bench, client):
        self.many(client)
        client.append(b"old", partition=self.COUNT - 1)
        client.append(b"old")
        call = client.submit(asked.DeleteTopic("t"))
        left = [self.logs(bench)]
        while left[-1]:
            bench.loop.step()
            left.append(self.logs(bench))
        assert max(before - after for before, after in pairwise(left)) <= STEPS // 2 + 64
        client.wait(call)
        assert bench.catalogue.quotas.used(PARTITIONS) == 0

    @pytest.mark.parametrize("partition", [0, 2999])
    def test_nobody_finds_it_from_the_first_turn_on(self, bench, client, partition):
        self.many(client)
        client.append(b"old", partition=partition)
        parts = client.reading(("t", partition, 0))
        assert client.read(parts) == [[b"old"]]
        client.submit(asked.DeleteTopic("t"))
        assert self.logs(bench) > 0
        for refused in (client.send(client.part(partition=partition)), client.ask_read(parts), client.ask_read(client.reading(("t", partition, 0)))):
            client.wait(refused)
            assert refused.parts[0].error.reason is Reason.NOT_FOUND
        assert self.logs(bench) > 0

    def test_one_of_the_same_name_is_another(self, bench, client):
        self.many(client)
        parts = client.reading(("t", 0, 0), ("t", 1, 0))
        client.append(b"old")
        client.submit(asked.DeleteTopic("t"))
        client.ask(asked.CreateTopic("t", 2))
        client.append(b"new", partition=1)
        assert client.read(parts, wait_ms=0) == [[], [b"new"]]
        bench.run()
        assert self.logs(bench) == 2
        assert client.read(client.reading(("t", 1, 0)), wait_ms=0) == [[b"new"]]
        again = bench.reopen()
        assert self.logs(again) == 2

    def test_who_waits_for_one_is_told(self, bench, client):
        self.many(client)
        waiting = [client.ask_read(client.reading(("t", partition, 0)), wait_ms=3_600_000) for partition in (0, self.COUNT - 1)]
        client.submit(asked.DeleteTopic("t"))
        for call in waiting:
            client.wait(call)
            assert call.parts[0].error.reason is Reason.NOT_FOUND

    @pytest.mark.parametrize("seed", range(3))
    def test_after_a_crash_all_of_it_or_nothing(self, seed):
        steps, found = 0, []
        while not found or found[-1]:
            bench = Bench(seed)
            client = bench.connect()
            self.many(client)
            call = client.submit(asked.DeleteTopic("t"))
            for _ in range(steps):
                bench.loop.step()
            ended = call.outcome == DONE
            bench.disk.crash()
            again = bench.start_again()
            found.append(self.logs(again))
            assert found[-1] in (0, self.COUNT)
            assert ("t" in again.catalogue.namespace(NAMESPACE).topics) == bool(found[-1])
            assert not (ended and found[-1])
            steps += 1
        assert found[0] == self.COUNT

    @pytest.mark.parametrize("steps", range(4))
    def test_a_shard_that_closes_meanwhile(self, bench, client, steps):
        self.many(client)
        client.submit(asked.DeleteTopic("t"))
        for _ in range(steps):
            bench.loop.step()
        shard = next(log.shard for log in bench.store.logs())
        wander(bench, shard)
        bench.run()
        assert self.logs(bench) == 0
        assert self.many(client).partition_count == self.COUNT
