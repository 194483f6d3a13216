"""What a front asks of two owners, each with half of the shards: described, purged, moved, deleted, done together, and counted for lists."""

import pytest
from broker_bench import NS
from owners_bench import OwnersBench
from timed_bench import TimedConnection

from entrepot.admin.figures import Figures
from entrepot.broker.calls import requests as r
from entrepot.broker.calls.port import ACCEPT, DONE, PENDING, REFUSED, UNAVAILABLE, UNKNOWN, make_settle
from entrepot.broker.calls.queue_requests import CancelMove, ListMoves, PurgeTimedQueue, StartMove
from entrepot.broker.calls.topic_requests import CreateTopic
from entrepot.broker.front.owner_table import OwnerTable
from entrepot.broker.outbox.intents import INTENTS, INTENTS_END
from entrepot.broker.outbox.taken import taken_key
from entrepot.model.errors import Reason, Refused
from entrepot.simulation.linked_owners import LinkedOwnerTable


class AskedBench(OwnersBench):
    sent = 0

    def connect(self):
        return TimedConnection(self)

    def close_shard(self, shard):
        closed = []
        self.broker.shard_moves.close(shard, lambda: closed.append(True))
        self.loop.run_until(lambda: bool(closed))


@pytest.fixture(params=[OwnerTable, LinkedOwnerTable])
def bench(request):
    return AskedBench(request.param)


@pytest.fixture
def me(bench):
    return bench.connect()


@pytest.fixture
def names(bench):
    """Of two queues, each at one owner."""
    return [next(bench.names(odd)) for odd in (0, 1)]


def depths(bench, *names):
    return [bench.queue(name).depth() for name in names]


def refused(me, request):
    with pytest.raises(Refused) as caught:
        me.ask(request)
    return caught.value


class TestTimed:
    def test_counts_and_purges_of_each(self, bench, me, names):
        for name in names:
            me.create(name)
            me.send(b"1", b"2", b"3", queue=name)
            me.send(b"later", queue=name, delays=[60_000])
            me.receive(1, queue=name)
        bench.run()
        assert [me.counts(name) for name in names] == [(2, 1, 1)] * 2
        for name in names:
            me.ask(PurgeTimedQueue(name))
        assert [me.counts(name) for name in names] == [(0, 0, 0)] * 2
        assert refused(me, PurgeTimedQueue(names[1])).reason is Reason.IN_USE

    @pytest.mark.parametrize("source", [0, 1])
    def test_what_is_received_too_often_goes_to_the_other(self, bench, me, names, source):
        dead, alive = names[1 - source], names[source]
        me.create(dead)
        me.create(alive, dead_letter_queue=dead, receive_max=1, visibility_ms=1000)
        me.send(b"x", queue=alive)
        assert me.received_bodies(queue=alive) == [b"x"]
        bench.run(2.0)
        assert me.received_bodies(queue=alive) == []
        bench.run(5.0)
        assert me.received_bodies(queue=dead) == [b"x"]
        assert bench.broker.outbox.statistics()["handovers_sent_total"] == 1  # no commit spans two owners

    @pytest.mark.parametrize("source", [0, 1])
    def test_what_is_on_its_way_is_kept_with_its_source_and_as_taken_with_its_target(self, bench, me, names, source):
        dead, alive = names[1 - source], names[source]
        stores = bench.stores
        shards = [bench.broker.shards.shard("queue", NS, name) for name in names]
        me.create(dead)
        me.create(alive, dead_letter_queue=dead)
        me.send(b"x", queue=dead)
        bench.broker.outbox.owners.is_open = lambda _: False
        me.ask(StartMove(dead, alive))
        bench.run()
        intents = [[*store.scan(shard, INTENTS, INTENTS_END, 9)] for store, shard in zip(stores, shards, strict=True)]
        assert [len(found) for found in intents] == [source, 1 - source]
        del bench.broker.outbox.owners.is_open
        bench.broker.outbox.opened(shards[source])
        bench.run(5.0)
        assert me.received_bodies(queue=alive) == [b"x"]
        assert [store.get(shards[source], taken_key(shards[1 - source])) is not None for store in stores] == [source == 0, source == 1]

    @pytest.mark.parametrize("source", [0, 1])
    def test_a_task_moves_to_the_other(self, bench, me, names, source):
        dead, alive = names[source], names[1 - source]
        me.create(dead)
        me.create(alive, dead_letter_queue=dead, receive_max=1)
        me.send(b"1", b"2", b"3", queue=dead)
        task = me.ask(StartMove(dead, alive))
        bench.run(5.0)
        assert sorted(me.received_bodies(queue=alive)) == [b"1", b"2", b"3"]
        (found,) = me.ask(ListMoves(dead, 10))
        assert (found.task_id, found.status, found.moved) == (task.task_id, "COMPLETED", 3)
        assert refused(me, CancelMove(task.task_id)).reason is Reason.NOT_FOUND

    @pytest.mark.parametrize("source", [0, 1])
    def test_a_task_is_found_at_whichever_runs_it(self, bench, me, names, source):
        dead, alive = names[source], names[1 - source]
        me.create(dead)
        me.create(alive, dead_letter_queue=dead, receive_max=1)
        me.send(*(b"%d" % number for number in range(9)), queue=dead)
        task = me.ask(StartMove(dead, alive, 1))
        assert refused(me, StartMove(dead, alive)).reason is Reason.IN_USE
        assert me.ask(CancelMove(task.task_id)).status == "CANCELLED"
        assert [found.status for found in me.ask(ListMoves(dead, 10))] == ["CANCELLED"]

    def test_a_task_that_may_run_in_a_shard_that_is_away(self, bench, me, names):
        for name in names:
            me.create(name)
        bench.close_shard(bench.queue(names[0]).log.shard)
        call = me.submit(CancelMove(bytes(16)))
        bench.run()
        assert call.outcome == UNAVAILABLE


class TestDeletes:
    def topic(self, bench, me):
        me.ask(CreateTopic("t", 8))
        return bench.catalogue.namespace(NS).topics["t"]

    def test_a_topic_that_both_have_is_empty_where_both_say_so(self, bench, me):
        self.topic(bench, me)
        assert me.put(b"x", key="t", headers=[(b"x-key", b"S\0\0\0\1k")]).outcome == DONE
        assert str(refused(me, r.DeleteQueue("t", if_empty=True))) == "queue 't' in vhost '/' not empty"
        bench.run()
        for number in range(16):  # the owner that had sealed its part goes on
            assert me.put(b"x", key="t", headers=[(b"x-key", b"S\0\0\0\2%02d" % number)]).outcome == DONE
        me.consume("c", "t", limit=10)
        assert refused(me, r.DeleteQueue("t", if_unused=True)).reason is Reason.IN_USE
        bench.run()
        assert me.put(b"x", key="t").outcome == DONE
        assert me.ask(r.DeleteQueue("t")) == 18
        assert "t" not in bench.catalogue.namespace(NS).topics
        assert not any(owner.sealed for owner in bench.broker.owners.local())

    def test_how_many_went_with_it(self, bench, me, names):
        for name in names:
            me.declare(name)
            me.put(b"1", b"2", key=name)
            assert me.ask(r.DeleteQueue(name)) == 2
        assert not any(owner.sealed for owner in bench.broker.owners.local())


class TestTogether:
    def test_each_does_its_part(self, bench, me, names):
        me.declare("passing", durable=False)
        for name in names:
            me.declare(name)
        me.put(b"1", b"2", key=names[0])
        me.consume("c", names[0])
        bench.run()
        settled = [make_settle(1, consumer_id, offset, 1, ACCEPT) for _, consumer_id, offset in me.held["c"]]
        publishes = [me.run_of(b"a", key=name) for name in (*names[::-1], "passing")]
        me.ask(r.CommitTogether(publishes[:1] + publishes[2:], settled))
        assert depths(bench, *names, "passing") == [0, 1, 1]
        assert bench.queue(names[0]).subscription.leased_count == 0
        assert me.get(names[1])[0] == b"a"

    @pytest.mark.parametrize("slow", [0, 1])
    def test_it_is_answered_when_the_last_part_is_durable(self, bench, me, names, slow):
        for name in names:
            me.declare(name)
        [bench.disk, bench.disks[1]][slow].commit_s = (5.0, 5.0)
        call = me.submit(r.CommitTogether([me.run_of(b"x", key=name) for name in names], []))
        bench.run(1.0)
        assert (call.outcome, depths(bench, *names)) == (PENDING, [1, 1])
        bench.run(10.0)
        assert call.outcome == DONE

    @pytest.mark.parametrize("full", [0, 1])
    def test_what_one_would_refuse_none_does(self, bench, me, names, full):
        for name in names:
            me.declare(name, x_max_length=1, x_overflow="reject-publish")
        me.put(b"1", key=names[full])
        call = me.submit(r.CommitTogether([me.run_of(b"x", key=name) for name in names], []))
        bench.run()
        assert (call.outcome, call.error.reason) == (REFUSED, Reason.FULL)
        assert depths(bench, *names) == ([1, 0] if full == 0 else [0, 1])

    def test_by_headers_to_both(self, bench, me, names):
        me.ask(r.DeclareExchange("h", "headers"))
        for name in names:
            me.declare(name)
            me.ask(r.Bind("h", name, "queue", "", {"x-match": "all", "to": name}))
        headers = [[(b"to", b"S" + len(name).to_bytes(4, "big") + name.encode())] for name in names]
        lost = me.run_of(b"lost", exchange="h", key="", mandatory=True)
        me.ask(r.CommitTogether([*(me.run_of(b"x", exchange="h", key="", headers=one) for one in headers), lost], []))
        assert depths(bench, *names) == [1, 1]
        assert (lost.outcome, lost.unroutable) == (DONE, True)

    @pytest.mark.parametrize("bench", [LinkedOwnerTable], indirect=True)  # called directly, nothing comes between what is asked first and what is done
    def test_one_that_refuses_after_another_has_done_its_part(self, bench, me, names):
        for name in names:
            me.declare(name, x_max_length=1, x_overflow="reject-publish")
        call = me.submit(r.CommitTogether([me.run_of(b"x", key=name) for name in names], []))
        me.publish(b"before", key=names[1])  # while what was asked first is answered
        bench.run()
        assert call.outcome == UNKNOWN
        assert [me.get(name)[0] for name in names] == [b"x", b"before"]


def test_lists_ask_each_for_its_own(bench, me, names):
    for count, name in enumerate(names, 1):
        me.declare(name)
        me.put(*[b"x"] * count, key=name)
        me.consume(name, name, limit=1)
    me.declare("passing", durable=False)
    me.put(b"x", key="passing")
    me.ask(CreateTopic("t", 8))
    for number in range(40):
        me.put(b"x", key="t", headers=[(b"x-key", b"S\0\0\0\x02%02d" % number)])
    bench.run()
    space = bench.catalogue.namespace(NS)
    figures = Figures(bench.broker.owners, bench.broker.scheduler)
    found = waited(bench, figures.of_queues([space.queues[name] for name in (*names, "passing")]))
    by_name = {definition.name: found[definition.log_id][:5] for definition in space.queues.values()}
    assert by_name == {names[0]: (0, 1, 0, 0, 1), names[1]: (1, 1, 0, 1, 1), "passing": (1, 0, 0, 1, 0)}
    partitions = waited(bench, figures.of_partitions(space.topics["t"], range(8)))
    assert sum(end - first for _, (first, end, *_) in partitions.values()) == 40
    bench.close_shard(bench.queue(names[1]).log.shard)
    assert waited(bench, figures.of_queues([space.queues[name] for name in names])).keys() == {space.queues[names[0]].log_id}


def waited(bench, asking):
    """What a generator comes to whose every step is a turn."""
    for _ in range(100):
        try:
            next(asking)
        except StopIteration as stop:
            return stop.value
        bench.loop.run_for(0.01)
    raise AssertionError("nobody answered")
