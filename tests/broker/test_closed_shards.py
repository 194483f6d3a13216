"""Shards that close amid what goes on over turns of the loop, and what is made or decided while one is closed: unavailable, and nothing half done."""

from dataclasses import replace

import pytest
from broker_bench import NS, Bench
from partition_bench import Bench as TopicBench
from timed_bench import TimedBench

from entrepot.broker.calls import group_requests as groups
from entrepot.broker.calls import queue_requests as queues
from entrepot.broker.calls import requests as r
from entrepot.broker.calls import topic_requests as topics
from entrepot.broker.calls.port import ACCEPT, DONE, PENDING, REJECT, UNAVAILABLE, UNKNOWN, make_settle
from entrepot.broker.catalogue.shards import CATALOGUE
from entrepot.broker.groups import work
from entrepot.broker.users.users import Users
from entrepot.model.errors import Unavailable

PARTITIONS = 1200
GROUP = "g"


def close(bench, shard):
    """Close a shard, and let it come to its end."""
    done = []
    bench.broker.shard_moves.close(shard, lambda: done.append(True))
    bench.loop.run_until(lambda: bool(done), 60)


def open_again(bench, *shards):
    for shard in shards:
        done = []
        bench.broker.shard_moves.open(shard, 2, lambda done=done: done.append(True))
        bench.loop.run_until(lambda done=done: bool(done), 60)


def shard_of(bench, kind, name, partition=0):
    return bench.broker.shards.shard(kind, NS, name, partition)


def told(bench, call):
    """The outcome, once it is there."""
    bench.loop.run_until(lambda: call.outcome != PENDING, 60)
    return call.outcome


@pytest.fixture
def small_turns(monkeypatch):
    """What takes turns has one piece in each."""
    monkeypatch.setattr(work, "STEPS", 1)


# ---- groups' turns


@pytest.fixture
def bench(small_turns):
    return TopicBench()


@pytest.fixture
def me(bench):
    return bench.connect()


@pytest.fixture
def committed(bench, me):
    """The shard of a group with very many offsets."""
    me.topic("t", PARTITIONS)
    assert me.ask(groups.CommitOffsets(GROUP, -1, "", None, {("t", number): groups.CommittedOffset(5) for number in range(PARTITIONS)})) == {}
    return shard_of(bench, "group", GROUP)


def kept(me):
    return len(me.ask(groups.FetchOffsets(GROUP, None)))


@pytest.mark.parametrize("pieces", range(4))
def test_all_offsets_of_a_group_are_told_or_none(bench, me, committed, pieces):
    call = me.submit(groups.FetchOffsets(GROUP, None))
    for _ in range(pieces):
        bench.broker.desk.work._turn()
    close(bench, committed)
    assert told(bench, call) in ((DONE, UNAVAILABLE) if pieces == 3 else (UNAVAILABLE,))
    assert call.outcome != DONE or len(call.result) == PARTITIONS
    open_again(bench, committed)
    assert kept(me) == PARTITIONS


def test_offsets_whose_telling_has_not_begun(bench, me, committed):
    bench.broker.desk.work.run(iter([1, 1, 1]))  # others are before it
    call = me.submit(groups.FetchOffsets(GROUP, None))
    close(bench, committed)
    assert told(bench, call) == UNAVAILABLE


def test_a_group_that_leaves_while_it_is_deleted_is_not_said_to_be_gone(bench, me, committed):
    call = me.submit(groups.DeleteGroup(GROUP))
    bench.broker.desk.work._turn()
    close(bench, committed)
    assert told(bench, call) == UNKNOWN
    open_again(bench, committed)
    left = kept(me)
    assert 0 < left < PARTITIONS
    me.ask(groups.DeleteGroup(GROUP))
    assert me.ask(groups.ListGroups()) == []


def test_a_group_that_is_back_before_the_next_turn_is_deleted(bench, me, committed):
    call = me.submit(groups.DeleteGroup(GROUP))
    broker = bench.broker
    broker.shard_moves.close(committed, lambda: None)
    broker.store.open_shard(committed, 2, lambda: None)
    broker.shard_moves._opened(committed, None, lambda: None)
    assert told(bench, call) == DONE
    assert me.ask(groups.ListGroups()) == []


def test_offsets_that_expire_leave_with_their_shard(bench, me, committed):
    bench.broker.desk.settings = replace(bench.broker.desk.settings, offsets_retention_ms=1)
    bench.run(1)
    bench.broker.groups._sweep._begin()
    bench.broker.desk.work._turn()
    close(bench, committed)
    bench.run(1)
    open_again(bench, committed)
    assert 0 < kept(me) < PARTITIONS
    bench.broker.groups._sweep._begin()
    bench.run(1)
    assert me.ask(groups.ListGroups()) == []


def test_groups_that_leave_while_all_are_listed_are_not_listed(bench, me):
    me.topic("t", 1)
    names = [f"g{number}" for number in range(100)]
    for name in names:
        me.ask(groups.CommitOffsets(name, -1, "", None, {("t", 0): groups.CommittedOffset(5)}))
    call = me.submit(groups.ListGroups())
    shard = shard_of(bench, "group", names[-1])
    close(bench, shard)
    assert told(bench, call) == DONE
    assert {name for name, *_ in call.result} == {name for name in names if shard_of(bench, "group", name) != shard}


# ---- what is thinned out


def bound(me, count=1000):
    me.declare("q")
    me.ask(r.DeclareExchange("x", "direct", False, True, False, False, {}))
    for number in range(count):
        me.submit(r.Bind("x", "q", "queue", f"key{number}", {}))
    me.bench.run()


def bindings(bench, name="x"):
    return len(bench.catalogue.namespace(NS).exchanges[name].bindings_out)


@pytest.mark.parametrize("request_", [r.DeleteQueue("q"), r.DeleteExchange("x", False)])
def test_what_loses_its_bindings_when_the_catalogue_leaves_keeps_the_rest(bench, me, request_):
    bound(me)
    call = me.submit(request_)
    close(bench, CATALOGUE)
    assert told(bench, call) == UNKNOWN
    left = bindings(bench)
    assert 0 < left < 1000
    open_again(bench, CATALOGUE)
    again = bench.start_again()
    assert bindings(again) == left
    again.connect().ask(request_)


def test_what_has_not_begun_to_lose_its_bindings_keeps_all(bench, me):
    bound(me)
    bench.broker.desk.work.run(iter([1, 1, 1]))
    call = me.submit(r.DeleteQueue("q"))
    close(bench, CATALOGUE)
    assert told(bench, call) == UNAVAILABLE
    assert bindings(bench) == 1000


# ---- what is made in a closed shard


def definitions(bench):
    namespace = bench.catalogue.namespace(NS)
    return (
        set(namespace.queues),
        {name: list(topic.partitions) for name, topic in namespace.topics.items()},
        bench.catalogue.statistics(),
    )


MADE = {
    "a topic": (topics.CreateTopic("new", 2, {}), "topic"),
    "partitions": (topics.CreatePartitions("t", 3), "topic"),
    "a stream": (r.DeclareQueue("new", durable=True, arguments={"x-queue-type": "stream"}), "topic"),
    "a queue": (r.DeclareQueue("new", durable=True), "queue"),
    "a queue of timed leases": (queues.CreateTimedQueue("new", queues.TimedPolicy(), frozenset(), {}, {}), "queue"),
}


@pytest.mark.parametrize("what", MADE)
@pytest.mark.parametrize("catalogue", [False, True])
def test_what_is_made_in_a_closed_shard_is_not_there(bench, me, what, catalogue):
    request, kind = MADE[what]
    me.topic("t", 1)
    shard = CATALOGUE if catalogue else shard_of(bench, kind, "new") if kind == "queue" or "partitions" not in what else shard_of(bench, kind, "t", 2)
    before = definitions(bench)
    close(bench, shard)
    call = me.submit(request)
    assert told(bench, call) == UNAVAILABLE
    assert definitions(bench) == before
    open_again(bench, shard)
    me.ask(request)
    assert definitions(bench) != before


@pytest.mark.parametrize("where", ["its own", "the catalogue's"])
def test_a_topic_that_somebody_asks_for_is_not_made_in_a_closed_shard(bench, me, where):
    shard = CATALOGUE if where == "the catalogue's" else shard_of(bench, "topic", "new", 1)
    before = definitions(bench)
    close(bench, shard)
    (found,) = me.ask(topics.DescribeTopics(["new"], create_missing=True))
    assert isinstance(found, Unavailable)
    assert definitions(bench) == before
    open_again(bench, shard)
    (found,) = me.ask(topics.DescribeTopics(["new"], create_missing=True))
    assert found.partition_count == 2


def test_queues_that_the_broker_names_are_made_in_open_shards_alone(bench, me):
    closed = {shard_of(bench, "queue", f"amq.{number}") for number in range(150)} - {CATALOGUE, shard_of(bench, "queue", "")}
    for shard in closed:
        bench.broker.shard_moves.close(shard, lambda: None)
    bench.run()
    before = definitions(bench)
    outcomes = [told(bench, me.submit(r.DeclareQueue("", durable=True))) for _ in range(20)]
    assert set(outcomes) == {DONE, UNAVAILABLE}
    assert len(definitions(bench)[0] - before[0]) == outcomes.count(DONE)
    assert all(shard_of(bench, "queue", name) not in closed for name in definitions(bench)[0])
    open_again(bench, *closed)


def test_exclusive_queues_are_made_wherever_their_name_leads(bench, me):
    shard = shard_of(bench, "queue", "mine")
    close(bench, shard)
    me.declare("mine", exclusive=True)  # it is kept nowhere


# ---- what is changed of what is away


class TestTimed:
    @pytest.fixture
    def bench(self):
        return TimedBench()

    @pytest.mark.parametrize("what", ["policy", "deleted", "cancelled"])
    def test_nothing_is_changed_of_a_queue_that_is_away(self, bench, me, what):
        me.create("q")
        definition = bench.catalogue.namespace(NS).queues["q"]
        before = definition.timed
        shard = definition.runtime.log.shard
        close(bench, shard)
        asked = {
            "policy": queues.SetQueuePolicy("q", queues.TimedPolicy(delay_ms=7_000), None, None),
            "deleted": queues.DeleteTimedQueue("q"),
            "cancelled": queues.CancelMove(bytes(16)),
        }
        assert told(bench, me.submit(asked[what])) == UNAVAILABLE
        assert bench.catalogue.namespace(NS).queues["q"] is definition
        assert definition.timed is before
        open_again(bench, shard)
        me.create("q")


def test_sizes_of_the_other_partitions_are_told(bench, me):
    me.topic("t", 3)
    me.topic("u", 1)
    for partition in range(3):
        me.append(b"x" * 50, partition=partition)
    shard = shard_of(bench, "topic", "t", 1)
    close(bench, shard)
    for asked in (topics.DescribeTopics(["t", "u"], sizes=True), topics.DescribeTopics(sizes=True)):
        sizes = {found.name: found.sizes for found in me.ask(asked)}
        assert [size is not None and size > 0 for size in sizes["t"]] == [True, False, True]
        assert sizes["t"][1] is None
        assert sizes["u"] == [0]
    open_again(bench, shard)
    (found,) = me.ask(topics.DescribeTopics(["t"], sizes=True))
    assert all(found.sizes)


def test_what_is_looked_for_in_a_partition_that_leaves_is_unavailable(bench, me):
    me.topic("t", 1)
    me.append()
    call = me.submit(topics.FindOffset("t", 0, 5))
    close(bench, shard_of(bench, "topic", "t"))
    assert told(bench, call) == UNAVAILABLE


# ---- consumers of a queue that comes back


@pytest.fixture
def here():
    return Bench()


def moved(bench, *, name="source", while_closed=lambda: None):
    shard = bench.queue(name).log.shard
    close(bench, shard)
    while_closed()
    bench.run()
    open_again(bench, shard)
    bench.run()


def settled(me, name="c"):
    _, consumer_id, offset = me.held[name].pop(0)
    me.door.submit(make_settle(1, consumer_id, offset, 1, ACCEPT))


def test_a_cancelled_consumer_that_settles_the_last_while_its_queue_is_away_is_forgotten(here):
    me = here.connect()
    me.declare("source")
    me.put(b"1", key="source")
    me.consume("c", "source")
    here.run()
    me.cancel("c")
    assert len(me.door.consumers) == 1
    moved(here, while_closed=lambda: settled(me))
    assert me.door.consumers == {}


def test_what_is_settled_while_a_queue_is_away_lets_others_of_the_stream_go_on(here):
    me = here.connect()
    me.ask(r.StreamLimit(1))
    for name in ("source", "other"):
        me.declare(name)
        me.consume(name, name)
    me.put(b"1", key="source")
    here.run()
    me.put(b"2", key="other")
    here.run()
    assert (me.bodies("source"), me.bodies("other")) == ([b"1"], [])
    moved(here, while_closed=lambda: settled(me, "source"))
    assert me.bodies("other") == [b"2"]


def test_who_gets_from_a_queue_that_moves_is_not_remembered_anew_each_time(here):
    me = here.connect()
    me.declare("source")
    for _ in range(3):
        assert me.get("source") is None
        moved(here)
    assert len(me.door.consumers) == 1


# ---- queues that go with their readers


def exchange_of(me, queue):
    me.ask(r.DeclareExchange("kept", "fanout", False, True, True, False, {}))
    me.ask(r.Bind("kept", queue, "queue", "", {}))


@pytest.mark.parametrize("how", ["exclusive", "auto_delete"])
def test_queues_that_take_a_kept_exchange_along_wait_for_the_catalogue(here, how):
    me = here.connect()
    me.declare("passing", durable=False, exclusive=how == "exclusive", auto_delete=how == "auto_delete")
    exchange_of(me, "passing")
    me.consume("c", "passing")
    close(here, CATALOGUE)
    me.close()
    here.run()
    open_again(here, CATALOGUE)
    here.run(2)
    assert not here.exists("passing")
    assert "kept" not in here.catalogue.namespace(NS).exchanges
    assert "kept" not in here.reopen().catalogue.namespace(NS).exchanges


def test_a_queue_that_was_to_go_goes_though_it_moves_before(here):
    me = here.connect()
    me.declare("source", auto_delete=True)
    me.consume("c", "source")
    shard = here.queue("source").log.shard
    close(here, CATALOGUE)
    me.cancel("c")
    close(here, shard)
    here.run(2)
    open_again(here, shard)
    here.run(2)
    assert here.exists("source")
    open_again(here, CATALOGUE)
    here.run(2)
    assert not here.exists("source")


# ---- users and namespaces


CHANGES = {
    "a user": lambda users, _: users.add_user("bob", "secret"),
    "a password": lambda users, _: users.set_password("ann", "other"),
    "tags": lambda users, _: users.set_tags("ann", frozenset({"administrator"})),
    "no permission": lambda users, _: users.clear_permission("ann", NS),
    "a user less": lambda users, _: users.delete_user("ann"),
    "guest": lambda users, _: users.delete_user("guest"),
    "a namespace": lambda _, decisions: decisions.create_namespace("acme/new"),
    "a namespace less": lambda _, decisions: decisions.delete_namespace("acme/old"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_users_and_namespaces_are_changed_where_the_catalogue_is(here, what):
    users = Users(here.decisions.stream, here.clock, here.entropy, iterations=4096)
    users.load()
    users.add_user("ann", "secret")
    here.decisions.create_namespace("acme/old")
    changes = []
    users.on_changed.append(lambda: changes.append(True))

    def state():
        return list(users.users()), users.names(), set(here.catalogue.namespaces), here.catalogue.statistics()

    before = state()
    close(here, CATALOGUE)
    with pytest.raises(Unavailable):
        CHANGES[what](users, here.decisions)
    assert (state(), changes) == (before, [])
    open_again(here, CATALOGUE)
    CHANGES[what](users, here.decisions)
    assert state() != before


def test_a_stream_that_is_looked_for_by_time_begins_there_though_it_moves_before(here):
    me = here.connect()
    me.declare("s", x_queue_type="stream")
    me.put(b"early", key="s")
    here.run(10)
    me.put(b"late", key="s")
    since_s = here.clock.wall_ms() // 1000 - 3
    here = here.reopen()  # so that the disk has to be asked
    me = here.connect()
    shard = shard_of(here, "topic", "s")
    call = me.submit(r.Consume("s", "c", limit=10, start=("time", since_s * 1000)))
    here.broker.shard_moves.close(shard, lambda: None)
    assert call.outcome == DONE
    here.run()
    open_again(here, shard)
    here.run()
    assert me.bodies("c") == [b"late"]


def test_what_is_rejected_while_its_queue_is_away_dies_once_though_its_connection_ends_then(here):
    me, other = here.connect(), here.connect()
    me.declare("dead")
    me.declare("source", x_dead_letter_exchange="", x_dead_letter_routing_key="dead", x_delivery_limit=0, x_queue_type="quorum")
    me.put(b"1", b"2", key="source")
    other.consume("c", "source")
    here.run()
    assert other.bodies("c") == [b"1", b"2"]
    shard = here.queue("source").log.shard
    close(here, shard)
    _, consumer_id, first = other.held["c"][0]
    other.door.submit(make_settle(1, consumer_id, first, 1, REJECT))
    other.close()
    open_again(here, shard)
    here.run(2)
    assert sorted(me.get("dead", auto_settle=True)[0] for _ in range(2)) == [b"1", b"2"]
    assert me.get("dead", auto_settle=True) is None


def test_between_the_opening_of_a_shard_and_of_its_queues_nothing_is_published_there_or_beside(here):
    me = here.connect()
    me.declare("source")
    me.declare("near", durable=False)
    me.ask(r.DeclareExchange("match", "headers", durable=True))
    for name in ("source", "near"):
        me.ask(r.Bind("match", name, arguments={"x-match": "any", "colour": "red"}))
    shard = here.queue("source").log.shard
    close(here, shard)
    done = []
    here.broker.shard_moves.open(shard, 2, lambda: done.append(True))
    call = me.put(b"a", exchange="match", key="", headers=[(b"colour", b"S\0\0\0\3red")])
    assert (call.outcome, here.queue("near").depth()) == (UNAVAILABLE, 0)
    here.loop.run_until(lambda: bool(done), 60)
    assert me.put(b"b", exchange="match", key="", headers=[(b"colour", b"S\0\0\0\3red")]).outcome == DONE
    assert [me.get(name, auto_settle=True)[0] for name in ("source", "near")] == [b"b", b"b"]


@pytest.mark.parametrize("queue_type", ["classic", "stream"])
def test_a_queue_that_was_not_to_be_had_was_not_made(here, queue_type):
    """Between the opening of a shard and of its queues."""
    me = here.connect()
    shard = shard_of(here, "topic" if queue_type == "stream" else "queue", "new")
    close(here, shard)
    request = r.DeclareQueue("new", durable=True, arguments={"x-queue-type": queue_type})
    here.broker.shard_moves.open(shard, 2, lambda: None)
    before = definitions(here)
    assert told(here, me.submit(request)) == UNAVAILABLE
    here.run()
    assert definitions(here) == before
    assert me.ask(request) == ("new", 0, 0)
