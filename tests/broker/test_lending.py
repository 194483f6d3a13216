"""Limits that span owners: each comes to have its turn, nobody gets more, and owners know nothing of each other. Directly, and by octets."""

import pytest
from broker_bench import Bench, Connection
from lending_bench import LendingBench, Lost, Overdrawn, Wandering, check_stream

from entrepot.broker.calls import requests as r
from entrepot.broker.calls.port import UNAVAILABLE
from entrepot.broker.calls.topic_requests import CreatePartitions, DeleteTopic
from entrepot.broker.front.lending import Lending
from entrepot.broker.front.owner_table import OwnerTable
from entrepot.broker.front.spread import Spread
from entrepot.cluster.owners import kinds
from entrepot.cluster.owners.served_owner import ServedOwner
from entrepot.model.errors import CorruptData, Unavailable
from entrepot.simulation.linked_owners import BreakingOwnerTable, LinkedOwnerTable

TABLES = [OwnerTable, LinkedOwnerTable]
SEEDS = 40


@pytest.fixture(params=TABLES)
def bench(request):
    return LendingBench(request.param)


@pytest.fixture
def me(bench):
    return bench.me


def shared_of(me):
    return me.door.limits[1]


def put_everywhere(bench, count=60):
    put = []
    for number in range(count):
        key = [key for keys in bench.keys.values() for key in keys][number * 7 % 24]
        bench.put_key(key, b"%03d" % number)
        put.append(key + b":%03d" % number)
    return put


@pytest.mark.parametrize("together", [0, 1, 4])
@pytest.mark.parametrize("prefetch", [1, 10])
def test_a_stream_comes_whole_and_in_order(bench, me, prefetch, together):
    if together:
        me.limit(together)
    me.consume("c", "news", limit=prefetch, start="next")
    assert len(shared_of(me).lending.parts[me.ids["c"]]) == 3
    put = put_everywhere(bench)
    bench.run()
    assert len(me.held["c"]) == min(prefetch, together or prefetch)
    check_stream(bench.accept()["c"], put)


@pytest.mark.parametrize("prefetch", [1, 2])
def test_who_was_idle_for_long_has_his_turn(bench, me, prefetch):
    """Where its credit lies with others, who have nothing more."""
    me.consume("c", "news", limit=prefetch, start="next")
    for owner in (0, 1, 2, 1, 0, 2):
        put = []
        for number in range(5):
            put.append(bench.keys[owner][0] + b":%d" % number)
            bench.put_key(*put[-1].split(b":"))
        assert bench.accept(0.5)["c"] == put


def test_who_has_much_leaves_others_their_turns(bench, me):
    me.consume("c", "news", limit=1, start="next")
    for number in range(30):
        for owner in range(3):
            bench.put_key(bench.keys[owner][0], b"%02d" % number)
    bench.run()
    owner_of = {keys[0]: owner for owner, keys in bench.keys.items()}
    turns = []
    for _ in range(60):
        (body,) = me.accept()
        turns.append(owner_of[body[:2]])
        bench.run(0.02)
    assert all(set(turns[at : at + 5]) == {0, 1, 2} for at in range(len(turns) - 5))


@pytest.mark.parametrize("together", [1, 2, 7])
def test_a_limit_of_queues_at_several_owners(bench, me, together):
    for name in bench.queues:
        me.consume(name, name, limit=5)
    me.limit(together)
    bodies = {name: [b"%s:%02d" % (name.encode(), number) for number in range(20)] for name in bench.queues}
    for name in bench.queues:
        me.put(*bodies[name], key=name)
    bench.run()
    assert sum(map(len, me.held.values())) == together
    assert bench.accept() == bodies


def test_the_limit_counts_what_owners_gave_before_it_spanned_them(bench, me):
    first, second, _ = bench.queues
    me.limit(4)
    me.put(*[b"1"] * 9, key=first)
    me.put(*[b"2"] * 9, key=second)
    me.consume("1", first)
    bench.run()
    assert shared_of(me).lending is None
    assert len(me.held["1"]) == 4
    me.consume("2", second)
    bench.run()
    assert me.held.get("2", []) == []
    for _ in range(2):  # each in his turn
        me.accept("1", 1)
        bench.run()
    assert (len(me.held["1"]), len(me.held["2"])) == (3, 1)
    assert {name: len(got) for name, got in bench.accept().items()} == {"1": 9, "2": 9}


def test_at_one_owner_nothing_is_lent(bench, me):
    me.limit(2)
    for name in ("1", "2"):
        me.consume(name, bench.queues[0])
    (pool,) = shared_of(me).pools
    assert (shared_of(me).lending, pool.limit, pool.lent) == (None, 2, False)
    me.put(*[b"x"] * 6, key=bench.queues[0])
    bench.run()
    assert sum(map(len, me.held.values())) == 2
    me.ask(r.Consume("news", "one", limit=3, start="next", arguments={"x-stream-partition": 0}), 2)
    assert me.door.limits[2].lending is None


def test_a_limit_that_is_set_anew(bench, me):
    me.limit(1)
    for name in bench.queues:
        me.consume(name, name)
        me.put(*[b"x"] * 9, key=name)
    bench.run()
    assert sum(map(len, me.held.values())) == 1
    me.limit(6)
    bench.run()
    assert sum(map(len, me.held.values())) == 6
    me.limit(2)
    for _ in range(5):
        me.accept(next(name for name, held in me.held.items() if held), 1)
        bench.run()
    assert sum(map(len, me.held.values())) == 2
    me.limit(0)
    bench.run()
    assert (shared_of(me).is_lent, shared_of(me).lending) == (False, None)
    assert {name: len(got) for name, got in bench.accept().items()} == dict.fromkeys(bench.queues, 9)


def test_who_comes_while_the_limit_changes(bench, me):
    """Before owners have answered that they give by it no more."""
    for name in bench.queues[:2]:
        me.consume(name, name)
    for limit in (2, 0):
        me.submit(r.StreamLimit(limit))
    me.submit(r.Consume(bench.queues[2], "late"))
    me.together = 2
    me.submit(r.StreamLimit(2))
    bench.run()
    for name in bench.queues:
        me.put(*[b"x"] * 9, key=name)
    bench.run()
    assert sum(map(len, me.held.values())) == 2
    assert sorted(map(len, bench.accept().values())) == [9, 9, 9]


def test_credit_that_lies_idle_is_taken_back_when_the_limit_falls(bench, me):
    me.limit(9)
    for name in bench.queues:
        me.consume(name, name)
        me.put(b"x", key=name)
    bench.accept(0.5)
    assert sum(pool.credit for pool in shared_of(me).pools) > 1
    me.limit(1)
    bench.run()
    assert sum(pool.credit for pool in shared_of(me).pools) <= 1


@pytest.mark.parametrize("prefetch", [1, 10])
def test_an_owner_that_is_away(bench, me, prefetch):
    me.consume("c", "news", limit=prefetch, start="next")
    put = put_everywhere(bench, 30)
    away = [shard for shard in bench.shards if shard % 3 == 1]
    for shard in away:
        bench.close(shard)
    some = bench.accept(0.5)["c"]
    assert 10 < len(some) < 30
    for shard in away:
        bench.open(shard)
    more = put_everywhere(bench, 30)
    check_stream(some + bench.accept(0.5)["c"], put + more)


def test_a_topic_that_is_deleted_says_so_once(bench, me):
    me.limit(2)
    me.consume("c", "news", limit=10, start="first")
    me.consume("q", bench.queues[1])
    me.put(*[b"x"] * 5, key=bench.queues[1])
    bench.run()
    assert sum(map(len, me.held.values())) == 2
    me.ask(DeleteTopic("news"))
    bench.run()
    assert me.ended == ["c"]
    assert list(me.door.consumers) == [me.ids["q"]]
    assert len(bench.accept(0.5)["q"]) == 5


def test_one_that_is_cancelled(bench, me):
    put_everywhere(bench, 30)
    me.consume("c", "news", limit=4, start="first")
    bench.run()
    assert len(me.held["c"]) == 4
    me.cancel("c")
    bench.run()
    me.accept("c", 3)
    assert list(me.door.consumers) == [me.ids["c"]]
    me.accept("c", 1)
    assert not me.door.consumers
    assert [(pool.leased, pool.credit) for pool in shared_of(me).pools] == [(0, 0)] * 3
    assert len(me.got["c"]) == 4


def test_what_a_connection_held_ends_with_it(bench, me):
    me.consume("c", "news", limit=4, start="first")
    bench.run()
    assert me.declare("news", passive=True)[2] == 1
    me.close()
    other = Connection(bench)
    bench.run()
    assert other.declare("news", passive=True)[2] == 0


def test_a_consumer_counts_once(bench, me):
    me.consume("all", "news", limit=1, start="first")
    for number in range(8):
        me.consume(str(number), "news", limit=1, start="first", arguments={"x-stream-partition": number})
    assert me.declare("news", passive=True)[2] == 9
    me.cancel("all")
    assert me.declare("news", passive=True)[2] == 8


def test_a_connection_that_does_not_read_is_sent_nothing(bench, me):
    me.consume("c", "news", limit=5, start="next")
    me.door.writable = False
    put = put_everywhere(bench, 20)
    bench.run()
    assert me.got == {}
    me.door.resume()
    check_stream(bench.accept()["c"], put)


class Refusing:
    """An owner that takes no consumer."""

    def target(self, log_id):
        raise Unavailable("away")

    def consume(self, consumer, log_ids, start, done):
        done(Unavailable("away"))


def test_an_owner_that_says_no(monkeypatch):
    """While the others took the consumer: nobody sends to it."""
    bench = LendingBench(LinkedOwnerTable)
    me = bench.me
    served = bench.broker.owners.served.served
    monkeypatch.setattr(served[-1], "owner", Refusing())
    call = me.submit(r.Consume("news", "c", limit=5, start="first"))
    bench.run()
    assert (call.outcome, str(call.error)) == (UNAVAILABLE, "away")
    assert not me.door.consumers
    assert not any(door.consumers for side in served for door in side.doors.values())
    assert me.got == {}
    monkeypatch.undo()
    me.consume("c", "news", limit=5, start="first")
    assert len(bench.accept()["c"]) == 24


def test_new_partitions_are_not_read_by_who_is_there(bench, me):
    me.consume("c", "news", limit=50, start="next")
    me.ask(CreatePartitions("news", 16))
    logs = bench.topic.logs[8:]
    for number in range(200):
        me.put(b"%d" % number, key="news", headers=[(b"x-key", b"S\0\0\0\x03%03d" % number)])
    new = sum(log.next_offset for log in logs)
    assert 0 < new < 200
    assert len(bench.accept()["c"]) == 200 - new


# ---- seeded


@pytest.mark.parametrize("table", [*TABLES, BreakingOwnerTable])
def test_promises_hold(table):
    for seed in range(SEEDS):
        try:
            Wandering(seed, table).run()
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise


# ---- what must be caught


def runs(table, seeds=20):
    for seed in range(seeds):
        Wandering(seed, table).run()


@pytest.mark.once
@pytest.mark.parametrize("table", TABLES)
def test_credit_that_is_lent_twice(monkeypatch, table):
    monkeypatch.setattr(Lending, "_left", lambda self, limit: limit - sum(pool.leased for pool in self._shared.pools))
    with pytest.raises(Overdrawn):
        runs(table)


@pytest.mark.once
@pytest.mark.parametrize("table", TABLES)
def test_credit_that_is_never_taken_back(monkeypatch, table):
    monkeypatch.setattr(Lending, "_call_back", lambda *_: None)
    with pytest.raises((Lost, Overdrawn)):  # who has none waits for ever, and a limit that is lower now is not kept
        runs(table)
    bench = LendingBench(table)
    bench.me.consume("c", "news", limit=1, start="next")
    put = []
    for owner in (0, 1):
        put.append(bench.keys[owner][0] + b":1")
        bench.put_key(*put[-1].split(b":"))
        got = bench.accept(0.5).get("c", [])
    assert put[1] not in got


@pytest.mark.once
def test_an_owner_that_keeps_what_it_gave_back(monkeypatch):
    def take_back(self, said):
        consumer = self._consumer(said.consumer)
        if consumer is not None:
            consumer.lent = True
        self._tell(said.call)(None, 0 if consumer is None else consumer.credit)

    monkeypatch.setitem(ServedOwner._seldom, kinds.TAKE_BACK, take_back)
    with pytest.raises((AssertionError, CorruptData)):  # by who looks on, or by the front, who is sent more than it lent
        runs(LinkedOwnerTable)


@pytest.mark.once
@pytest.mark.parametrize("table", TABLES)
def test_a_limit_that_does_not_wait_for_what_was_given_before(monkeypatch, table):
    def join(self, consumer):
        self.borrowers[consumer] = None

    monkeypatch.setattr(Lending, "join", join)
    with pytest.raises(AssertionError):
        runs(table)


@pytest.mark.once
@pytest.mark.parametrize("table", TABLES)
def test_settlements_that_free_nothing(monkeypatch, table):
    monkeypatch.setattr(Lending, "freed", lambda *_: None)
    with pytest.raises(Lost):
        runs(table)


@pytest.mark.once
@pytest.mark.parametrize("table", TABLES)
def test_a_consumer_that_settles_with_nobody(monkeypatch, table):
    monkeypatch.setattr(Spread, "settle", lambda *_: None)
    with pytest.raises(Lost):
        runs(table)


class TestOfTwoKinds:
    """What is durable and what is in memory alone is at two owners: a limit over both is lent."""

    @pytest.fixture
    def bench(self):
        bench = Bench()
        other = bench.connect()
        other.declare("memory", durable=False)
        return bench

    def taken(self, bench, me, names, count, steps=2000):
        """How many each gets that settles each as it comes."""
        got = dict.fromkeys(names, 0)
        for _ in range(steps):
            if sum(got.values()) == count:
                break
            bench.loop.step()
            for name in names:
                while me.held.get(name):
                    me.accept(name, count=1)
                    got[name] += 1
        return got

    @pytest.mark.parametrize("queues", [2, 3])
    def test_queues_that_count_deliveries_keep_what_they_were_lent_until_the_count_is_kept(self, bench, queues):
        me, other, before = bench.connect(), bench.connect(), bench.connect()
        names = [f"q{number}" for number in range(queues)]
        for name in names:
            other.ask(r.DeclareQueue(name, False, True, False, False, {"x-queue-type": "quorum", "x-delivery-limit": 50}))
            other.put(*[b"%d" % number for number in range(20)], key=name)
            before.consume(name, name)
        bench.run()
        before.close()  # all of it was delivered once
        bench.run()
        me.ask(r.StreamLimit(1))
        for name in ("memory", *names):
            me.consume(name, name)
        assert self.taken(bench, me, names, 20 * queues) == dict.fromkeys(names, 20)

    @pytest.mark.parametrize("first", ["high", "low"])
    def test_priorities_hold(self, bench, first):
        me, other = bench.connect(), bench.connect()
        other.declare("q")
        me.ask(r.StreamLimit(2))
        me.consume("memory", "memory")
        priorities = {"high": 10, "low": 0}
        for name in (first, *(priorities.keys() - {first})):
            me.consume(name, "q", priority=priorities[name])
        other.put(*[b"%d" % number for number in range(100)], key="q")
        assert self.taken(bench, me, ["high", "low"], 100) == {"high": 100, "low": 0}

    def test_who_is_behind_goes_on_once_the_first_has_all_that_it_may_have(self, bench):
        me, other = bench.connect(), bench.connect()
        other.declare("q")
        me.ask(r.StreamLimit(10))
        me.consume("memory", "memory")
        me.consume("low", "q")
        me.consume("high", "q", priority=10, limit=2)
        other.put(*[b"%d" % number for number in range(8)], key="q")
        bench.run()
        assert (len(me.bodies("high")), len(me.bodies("low"))) == (2, 6)
