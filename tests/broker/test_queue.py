"""Queues through the port: who gets what, in which order, how often, and what becomes of the rest."""

import pytest
from broker_bench import Bench, longstr_array, refused

from entrepot.broker import requests as r
from entrepot.broker.port import DONE, PENDING
from entrepot.broker.queue import MARK_STEP

TEN = [b"%d" % number for number in range(10)]


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
def me(bench):
    connection = bench.connect()
    connection.declare()
    return connection


class TestDelivering:
    @pytest.mark.parametrize("durable", [True, False])
    def test_in_order_and_gone_when_accepted(self, bench, durable):
        me = bench.connect()
        me.declare(durable=durable)
        me.put(*TEN)
        me.consume()
        bench.run()
        assert me.deliveries() == [(body, False) for body in TEN]
        assert me.accept() == TEN
        bench.run()
        queue = bench.queue()
        assert (queue.subscription.floor, queue.subscription.leased_count, queue.depth()) == (10, 0, 0)
        assert queue.log.first_offset == 10

    def test_nothing_before_it_is_durable(self, bench, me):
        me.consume()
        bench.run()
        call = me.publish(b"x")
        bench.loop.step()
        assert call.outcome == PENDING
        assert me.bodies() == []
        bench.run()
        assert call.outcome == DONE
        assert me.bodies() == [b"x"]

    def test_settled_as_sent(self, bench, me):
        me.put(*TEN)
        me.consume(auto_settle=True)
        bench.run()
        assert me.bodies() == TEN
        assert me.held == {}
        assert bench.queue().subscription.floor == 10

    @pytest.mark.parametrize("limit", [1, 3, 10, 100])
    def test_the_limit_of_a_consumer(self, bench, me, limit):
        me.put(*TEN)
        me.consume(limit=limit)
        bench.run()
        assert me.bodies() == TEN[:limit]
        for number in range(10):
            me.accept(count=1)
            bench.run(0.05)
            assert me.bodies() == TEN[limit + number : limit + number + 1]

    def test_the_limit_of_a_stream(self, bench, me):
        me.declare("other")
        me.ask(r.StreamLimit(4))
        me.put(*TEN)
        me.put(*TEN, key="other")
        me.consume("a", limit=3)
        me.consume("b", "other")
        bench.run()
        assert len(me.held["a"]) + len(me.held["b"]) == 4
        me.accept("a")
        bench.run()
        assert len(me.held["a"]) + len(me.held["b"]) == 4
        me.ask(r.StreamLimit(0))
        bench.run()
        assert (len(me.held["a"]), len(me.held["b"])) == (3, 10)

    def test_a_cancelled_consumers_settlements_let_others_of_its_stream_go_on(self, bench, me):
        me.declare("other")
        me.ask(r.StreamLimit(2))
        me.put(*TEN[:2])
        me.consume("a")
        bench.run()
        me.put(*TEN, key="other")
        me.consume("b", "other")
        me.cancel("a")
        bench.run()
        assert me.bodies("b") == []
        me.accept("a")
        bench.run()
        assert me.bodies("b") == TEN[:2]
        assert list(me.link.consumers) == [me.ids["b"]]  # the cancelled one is forgotten

    def test_dead_lettering_gives_a_shared_limit_back_too(self, bench, me):
        me.declare("dying", x_dead_letter_exchange="")
        me.declare("other")
        me.ask(r.StreamLimit(1))
        me.put(b"x", key="dying")
        me.consume("a", "dying")
        bench.run()
        me.put(*TEN, key="other")
        me.consume("b", "other")
        me.reject("a")
        bench.run()
        assert me.bodies("b") == TEN[:1]

    def test_a_peer_that_does_not_read_is_passed_over(self, bench, me):
        slow = bench.connect()
        slow.consume()
        slow.link.writable = False
        me.consume()
        me.put(*TEN)
        bench.run()
        assert me.bodies() == TEN
        me.close()
        bench.run()
        assert slow.bodies() == []
        slow.link.resume()
        bench.run()
        assert slow.deliveries() == [(body, True) for body in TEN]

    def test_in_turn(self, bench, me):
        for name in "abc":
            me.consume(name, limit=1000)
        for number in range(30):
            me.put(b"%d" % number)
        bench.run()
        assert {name: len(me.bodies(name)) for name in "abc"} == dict.fromkeys("abc", 10)

    def test_a_run_is_shared_out(self, bench, me):
        for name in "ab":
            me.consume(name, limit=1000)
        me.put(*[b"x"] * 100)
        bench.run()
        assert 30 <= len(me.bodies("a")) <= 70

    def test_priorities(self, bench, me):
        me.consume("low", limit=2)
        me.consume("high", limit=3, priority=5)
        me.consume("also high", limit=3, priority=5)
        me.put(*TEN)
        bench.run()
        assert {name: len(me.bodies(name)) for name in ("low", "high", "also high")} == {"low": 2, "high": 3, "also high": 3}
        me.accept("high")
        bench.run()
        assert me.bodies("high") == TEN[8:]

    def test_one_active_at_a_time(self, bench):
        me = bench.connect()
        me.declare(x_single_active_consumer=True)
        me.consume("a", limit=4)
        me.consume("b", limit=100)
        me.put(*TEN)
        bench.run()
        assert me.bodies("a") == TEN[:4]
        assert me.bodies("b") == []
        me.cancel("a")
        bench.run()
        assert me.bodies("b") == TEN[4:]
        other = bench.connect()
        other.consume("c")
        me.close()
        bench.run()
        assert other.deliveries("c") == [(body, True) for body in TEN]

    def test_one_active_leaves_while_its_records_are_being_buried(self, bench):
        me, other = bench.connect(), bench.connect()
        me.declare("dead")
        me.declare(x_single_active_consumer=True, x_dead_letter_exchange="", x_dead_letter_routing_key="dead")
        me.consume("a")
        me.put(*TEN)
        bench.run()
        other.consume("b")
        me.reject("a", 5)
        me.close()
        bench.run()
        assert other.bodies("b") == TEN[5:]
        assert bench.queue("dead").depth() == 5
        assert len(bench.queue().consumers) == 1
        assert bench.broker.statistics()["consumers"] == 1

    def test_exclusive_consumers(self, bench, me):
        me.consume("a")
        assert refused(me.consume, "b", exclusive=True) == "queue 'q' in vhost '/' in exclusive use"
        me.cancel("a")
        me.consume("b", exclusive=True)
        assert refused(me.consume, "c") == "queue 'q' in vhost '/' in exclusive use"


class TestGivingBack:
    def test_to_its_place_and_marked(self, bench, me):
        me.put(*TEN)
        me.consume(limit=5)
        bench.run()
        me.deliveries()
        me.release(count=3, index=1)
        bench.run()
        assert me.deliveries() == [(body, True) for body in TEN[1:4]]
        me.accept()
        bench.run()
        assert me.deliveries() == [(body, False) for body in TEN[5:]]

    @pytest.mark.parametrize("how", ["close", "stream"])
    def test_all_when_its_holder_ends(self, bench, me, how):
        me.put(*TEN)
        me.consume()
        bench.run()
        held = sum(map(len, me.held.values()))
        assert held == 10
        if how == "close":
            me.close()
        else:
            me.ask(r.CloseStream())
        other = bench.connect().consume()
        bench.run()
        assert other.deliveries() == [(body, True) for body in TEN]

    def test_recover(self, bench, me):
        me.put(*TEN)
        me.consume(limit=5)
        bench.run()
        me.deliveries()
        me.held.clear()
        me.ask(r.Recover())
        bench.run()
        assert me.deliveries() == [(body, True) for body in TEN[:5]]

    def test_recover_while_some_of_it_is_being_buried(self, bench):
        me = bench.connect()
        me.declare("dead")
        me.declare(x_dead_letter_exchange="", x_dead_letter_routing_key="dead")
        me.put(*TEN)
        me.consume()
        bench.run()
        me.deliveries()
        me.reject(count=4)
        me.held.clear()
        me.ask(r.Recover())
        bench.run()
        assert me.deliveries() == [(body, True) for body in TEN[4:]]
        assert bench.queue("dead").depth() == 4
        me.put(b"new")
        bench.run()
        assert me.bodies() == [b"new"]

    def test_delivery_limit_counts_each_record_by_itself(self, bench):
        me = bench.connect()
        me.declare("dead")
        me.declare(x_queue_type="quorum", x_delivery_limit=2, x_dead_letter_exchange="", x_dead_letter_routing_key="dead")
        me.put(*TEN[:4])
        me.consume(limit=10)
        for at in (0, 2):
            bench.run()
            me.deliveries()
            assert me.release(count=2, index=at) == TEN[:2]  # delivered, and given back, twice
        bench.run()
        me.held.clear()
        me.ask(r.Recover())  # all at once: 0 and 1 are over the limit, 2 and 3 are not
        bench.run()
        assert [body for body, _ in me.deliveries()][-2:] == TEN[2:4]
        assert bench.queue("dead").depth() == 2
        assert bench.queue().subscription.leased_count == 2

    def test_marked_as_delivered_after_a_restart(self, bench, me):
        me.put(*TEN)
        me.consume(limit=3)
        bench.run()
        me.accept(count=1)
        bench.run()
        again = bench.reopen()
        you = again.connect().consume()
        again.run()
        assert you.deliveries() == [(body, True) for body in TEN[1:]]  # all below the mark may have been

    def test_never_delivered_is_not_marked_after_a_restart(self, bench, me):
        me.put(*TEN)
        bench.run()
        again = bench.reopen()
        you = again.connect().consume()
        again.run()
        assert you.deliveries() == [(body, False) for body in TEN]

    def test_the_mark_goes_on_past_its_step(self, bench, me):
        me.consume(auto_settle=True)
        count = MARK_STEP * 2 + 100
        for first in range(0, count, 500):
            me.put(*[b"%d" % number for number in range(first, min(first + 500, count))])
        bench.run()
        assert me.bodies() == [b"%d" % number for number in range(count)]

    def test_a_mark_beyond_a_large_hole(self, bench, me):
        me.put(b"first")
        me.get()
        for _ in range(0, MARK_STEP * 2, 500):
            me.put(*[b"x"] * 500)
        assert me.ask(r.PurgeQueue("q")) >= MARK_STEP * 2
        me.put(b"last")
        again = bench.reopen()
        you = again.connect().consume()
        again.run(2)
        assert you.bodies() == [b"first", b"last"]


class TestGet:
    def test_one_by_one(self, bench, me):
        me.put(*TEN[:3])
        assert me.get() == (b"0", False, 2)
        assert me.get(auto_settle=True) == (b"1", False, 1)
        assert me.get() == (b"2", False, 0)
        assert me.get() is None
        me.release("get")
        assert me.get() == (b"0", True, 1)

    def test_it_is_not_counted_against_limits(self, bench, me):
        me.ask(r.StreamLimit(1))
        me.put(*TEN[:3])
        assert [me.get()[0] for _ in range(3)] == TEN[:3]

    def test_from_disk(self, bench, me):
        for first in range(0, 3000, 10):
            me.put(*[b"%06d" % number + b"x" * 100 for number in range(first, first + 10)])
        for number in range(20):
            assert me.get()[0].startswith(b"%06d" % number)

    def test_what_it_waits_for_may_be_deleted(self, bench, me):
        me.put(b"x")
        call = me.submit(r.Get("q"))  # its mark has to be journalled first
        assert call.outcome == PENDING
        me.ask(r.DeleteQueue("q"))
        bench.run()
        assert (call.outcome, call.result) == (DONE, None)

    @pytest.mark.parametrize("auto_settle", [True, False])
    @pytest.mark.parametrize("how", ["close", "stream"])
    def test_nothing_is_lost_when_its_channel_ends_meanwhile(self, bench, me, auto_settle, how):
        me.put(b"x")
        call = me.submit(r.Get("q", auto_settle), stream=5)
        assert call.outcome == PENDING
        if how == "close":
            me.close()
        else:
            me.ask(r.CloseStream(), stream=5)
        bench.run()
        other = bench.connect()
        assert other.get()[0] == b"x"

    def test_queues_that_were_read_once_are_forgotten(self, bench, me):
        for number in range(200):
            name = f"q{number}"
            me.declare(name)
            assert me.get(name) is None
            me.ask(r.DeleteQueue(name))
        assert len(me.link.consumers) <= 64


class TestExpiry:
    @pytest.fixture
    def dead(self, bench, me):
        me.declare("dead")
        me.declare("t", x_message_ttl=1000, x_dead_letter_exchange="", x_dead_letter_routing_key="dead")
        return me

    def test_of_a_queue(self, bench, dead):
        dead.put(*TEN, key="t")
        bench.run(0.5)
        assert bench.queue("t").depth() == 10
        bench.run(0.8)
        assert bench.queue("t").depth() == 0
        assert [dead.get("dead")[0] for _ in range(10)] == TEN
        assert bench.broker.statistics()["expired_total"] == 10
        assert bench.broker.statistics()["dead_lettered_total"] == 10

    def test_of_a_message(self, bench, me):
        me.put(b"short", ttl_ms=500)
        me.put(b"long", ttl_ms=60_000)
        me.put(b"short behind long", ttl_ms=500)
        bench.run(1)
        assert bench.queue().depth() == 2  # the head decides
        assert me.get()[0] == b"long"
        bench.run()
        assert me.get() is None

    def test_the_lesser_counts(self, bench, dead):
        dead.put(b"x", key="t", ttl_ms=100)
        dead.put(b"y", key="t", ttl_ms=100_000)
        bench.run(0.5)
        assert bench.queue("t").depth() == 1
        bench.run(0.8)
        assert bench.queue("t").depth() == 0

    def test_a_new_head_that_ends_sooner(self, bench, me):
        me.declare("dead")
        me.declare("m", x_dead_letter_exchange="", x_dead_letter_routing_key="dead")
        me.put(b"late", key="m", ttl_ms=30_000)
        me.put(b"soon", key="m", ttl_ms=1000)
        assert me.get("m")[0] == b"late"
        bench.run(1.5)
        assert bench.queue("m").depth() == 0
        assert bench.queue("dead").depth() == 1

    def test_what_is_out_does_not_expire_until_it_comes_back(self, bench, dead):
        dead.put(*TEN[:2], key="t")
        dead.consume(queue="t")
        bench.run(5)
        assert bench.queue("t").subscription.leased_count == 2
        dead.release(count=1)
        bench.run()
        assert bench.queue("dead").depth() == 1
        dead.accept()
        bench.run()
        assert bench.queue("dead").depth() == 1

    @pytest.mark.parametrize("by", ["queue", "message"])
    def test_zero_is_at_once_or_never(self, bench, me, by):
        me.declare("dead")
        arguments = {"x_message_ttl": 0} if by == "queue" else {}
        ttl_ms = 0 if by == "message" else None
        me.declare("z", x_dead_letter_exchange="", x_dead_letter_routing_key="dead", **arguments)
        me.put(b"nobody there", key="z", ttl_ms=ttl_ms)
        bench.run()
        assert me.get("z") is None
        assert me.get("dead")[0] == b"nobody there"
        me.consume(queue="z", limit=1)
        bench.run()
        me.put(b"taken", key="z", ttl_ms=ttl_ms)
        me.put(b"no room", key="z", ttl_ms=ttl_ms)
        bench.run()
        assert me.bodies() == [b"taken"]
        assert me.get("dead")[0] == b"no room"

    def test_more_than_are_buried_at_once(self, bench, dead):
        for first in range(0, 3000, 500):
            dead.put(*[b"%d" % number for number in range(first, first + 500)], key="t")
        bench.run(3)
        assert bench.queue("t").depth() == 0
        dead.consume(queue="dead")
        bench.run()
        assert dead.bodies() == [b"%d" % number for number in range(3000)]

    def test_over_a_restart(self, bench, dead):
        dead.put(b"x", key="t")
        again = bench.reopen()
        again.run(2)
        you = again.connect()
        assert you.get("t") is None
        again.run()
        assert you.get("dead")[0] == b"x"


class TestLengths:
    def test_the_oldest_go(self, bench, me):
        me.declare("dead")
        me.declare("l", x_max_length=3, x_dead_letter_exchange="", x_dead_letter_routing_key="dead")
        me.put(*TEN, key="l")
        bench.run()
        assert [me.get("l")[0] for _ in range(3)] == TEN[7:]
        assert [me.get("dead")[0] for _ in range(7)] == TEN[:7]

    def test_only_ready_ones_count(self, bench, me):
        me.declare("l", x_max_length=3)
        me.consume(queue="l", limit=5)
        me.put(*TEN, key="l")
        bench.run()
        assert me.bodies() == TEN[:5]
        me.accept()
        bench.run()
        assert me.bodies() == TEN[7:]

    def test_none_at_all(self, bench, me):
        me.declare("l", x_max_length=0)
        me.put(b"lost", key="l")
        bench.run()
        assert me.get("l") is None
        me.consume(queue="l", limit=1)
        me.put(b"handed over", key="l")
        bench.run()
        assert me.bodies() == [b"handed over"]

    def test_in_bytes(self, bench, me):
        me.declare("l", x_max_length_bytes=100)
        for number in range(20):
            me.put(b"%03d" % number + b"x" * 27, key="l")  # properties and packing do not count
        bench.run()
        assert [me.get("l")[0][:3] for _ in range(3)] == [b"017", b"018", b"019"]
        assert me.get("l") is None
        for number in range(3):
            me.put(b"%03d" % number + b"x" * 27, key="l")
        bench.run()
        assert bench.queue("l").depth() == 3

    def test_in_bytes_with_returns(self, bench, me):
        me.declare("l", x_max_length_bytes=100)
        me.consume(queue="l", limit=3)
        me.put(*[b"x" * 30] * 3, key="l")
        for _ in range(5):
            bench.run()
            me.release()
        bench.run()
        me.accept()
        bench.run()
        me.cancel("c")
        me.put(*[b"y" * 30] * 3, key="l")
        bench.run()
        assert bench.queue("l").depth() == 3
        assert bench.queue("l").ready_bytes == 90

    def test_in_bytes_over_a_restart(self, bench, me):
        me.declare("l", x_max_length_bytes=100)
        for _ in range(3):
            me.put(b"x" * 30, key="l")
        again = bench.reopen()
        again.run()
        you = again.connect()
        assert again.queue("l").depth() == 3
        assert [you.get("l")[0] for _ in range(3)] == [b"x" * 30] * 3
        you.accept("get")
        again.run()
        for _ in range(3):
            you.put(b"y" * 30, key="l")
        again.run()
        assert again.queue("l").depth() == 3

    @pytest.mark.parametrize("limit", [{"x_max_length": 3}, {"x_max_length_bytes": 3}])
    def test_publishes_are_refused(self, bench, me, limit):
        me.declare("l", x_overflow="reject-publish", **limit)
        call = me.put(*TEN, key="l")
        assert call.outcome == DONE
        assert call.nacked == list(range(3, 10))
        call = me.put(b"x", key="l")
        assert call.nacked == [0]
        assert me.get("l")[0] == b"0"
        me.accept("get")
        assert me.put(b"x", key="l").nacked is None
        assert bench.queue("l").depth() == 3

    def test_and_dead_lettered(self, bench, me):
        me.declare("dead")
        me.declare("l", x_max_length=1, x_overflow="reject-publish-dlx", x_dead_letter_exchange="", x_dead_letter_routing_key="dead")
        call = me.put(*TEN[:3], key="l")
        assert call.nacked == [1, 2]
        bench.run()
        assert [me.get("dead")[0] for _ in range(2)] == TEN[1:3]
        assert bench.queue("l").depth() == 1

    def test_full_queues_that_dead_letter_into_one_another(self, bench, me):
        names = [f"l{number}" for number in range(400)]
        for name, following in zip(names, [*names[1:], names[0]], strict=True):
            me.submit(
                r.DeclareQueue(
                    name,
                    durable=True,
                    arguments={
                        "x-max-length": 0,
                        "x-overflow": "reject-publish-dlx",
                        "x-dead-letter-exchange": "",
                        "x-dead-letter-routing-key": following,
                    },
                )
            )
        bench.run()
        assert me.put(b"round", key="l0").nacked == [0]
        bench.run(5)
        assert bench.broker.statistics()["dead_lettered_total"] == 400  # once to each, then it is a circle


class TestLife:
    def test_auto_delete(self, bench, me):
        me.declare("a", auto_delete=True)
        me.consume("x", "a").consume("y", "a")
        me.cancel("x")
        assert bench.exists("a")
        me.cancel("y")
        assert not bench.exists("a")
        me.declare("a", auto_delete=True)
        assert bench.exists("a")  # nobody ever consumed it
        me.consume("x", "a")
        me.close()
        assert not bench.exists("a")

    def test_exclusive(self, bench, me):
        other = bench.connect()
        me.declare("e", exclusive=True)
        assert "cannot obtain exclusive access" in refused(other.declare, "e", passive=True)
        assert "cannot obtain exclusive access" in refused(other.get, "e")
        other.put(b"anybody may publish", key="e")
        assert me.get("e")[0] == b"anybody may publish"
        me.close()
        assert not bench.exists("e")

    def test_expires_when_nobody_uses_it(self, bench, me):
        me.declare("x", x_expires=1000)
        bench.run(0.8)
        me.declare("x", passive=True)
        bench.run(0.8)
        me.get("x")
        bench.run(0.8)
        me.consume(queue="x")
        bench.run(5)
        assert bench.exists("x")
        me.cancel("c")
        bench.run(0.8)
        me.put(b"no use", key="x")
        bench.run(0.5)
        assert not bench.exists("x")

    def test_deleted_with_consumers_and_leases(self, bench, me):
        other = bench.connect()
        me.put(*TEN)
        me.consume("a", limit=3)
        other.consume("b", limit=3)
        bench.run()
        assert me.ask(r.DeleteQueue("q")) == 4
        assert me.ended == ["a"]
        assert other.ended == ["b"]
        me.accept("a")
        other.release("b")
        bench.run()
        me.declare()
        me.put(b"new")
        me.consume("again")
        bench.run()
        assert me.bodies("again") == [b"new"]
        assert bench.broker.statistics()["consumers"] == 1

    def test_deleted_while_being_read_from_disk(self, bench, me):
        for first in range(0, 3000, 10):
            me.put(*[b"%06d" % number + b"x" * 100 for number in range(first, first + 10)])
        me.consume(limit=2000)
        bench.loop.step()
        bench.loop.step()
        me.ask(r.DeleteQueue("q"))
        bench.run()
        me.declare()
        me.put(b"new")
        assert me.get()[0] == b"new"

    def test_conditions_of_deletion(self, bench, me):
        me.put(b"x")
        assert refused(me.ask, r.DeleteQueue("q", if_empty=True)) == "queue 'q' in vhost '/' not empty"
        me.consume()
        assert refused(me.ask, r.DeleteQueue("q", if_unused=True)) == "queue 'q' in vhost '/' in use"
        assert me.ask(r.DeleteQueue("no such queue")) == 0

    def test_purge_spares_what_is_out(self, bench, me):
        me.put(*TEN)
        me.consume(limit=3)
        bench.run()
        assert me.ask(r.PurgeQueue("q")) == 7
        me.deliveries()
        me.release()
        bench.run()
        assert me.deliveries() == [(body, True) for body in TEN[:3]]
        again = bench.reopen()
        you = again.connect().consume()
        again.run()
        assert you.bodies() == TEN[:3]

    def test_counts(self, bench, me):
        me.put(*TEN)
        me.consume("a", limit=2)
        me.consume("b", limit=1)
        bench.run()
        assert me.declare(passive=True) == ("q", 7, 2)
        statistics = bench.broker.statistics()
        assert (statistics["queues"], statistics["consumers"]) == (1, 2)
        me.cancel("a")
        me.close()
        assert bench.broker.statistics()["consumers"] == 0
        assert bench.broker.statistics()["attachments"] == 0

    def test_settled_out_of_order_over_a_restart(self, bench, me):
        me.put(*TEN)
        me.consume()
        bench.run()
        me.accept(count=1, index=7)
        me.accept(count=2, index=3)
        bench.run()
        again = bench.reopen()
        you = again.connect().consume()
        again.run()
        assert you.bodies() == [body for body in TEN if body not in (b"7", b"3", b"4")]

    def test_cold_records_come_in_order(self, bench, me):
        count = 3000
        for first in range(0, count, 10):
            me.put(*[b"%06d" % number + b"x" * 100 for number in range(first, first + 10)])
        me.consume(limit=100)
        seen = []
        while len(seen) < count:
            before = len(seen)
            bench.run()
            seen += me.bodies()
            me.accept()
            assert len(seen) > before
        assert [int(body[:6]) for body in seen] == list(range(count))
        again = bench.reopen()
        assert again.queue().depth() == 0

    def test_cold_records_are_dead_lettered(self, bench, me):
        me.declare("dead")
        me.declare("cold", x_dead_letter_exchange="", x_dead_letter_routing_key="dead")
        for first in range(0, 2000, 10):
            me.put(*[b"%06d" % number + b"x" * 100 for number in range(first, first + 10)], key="cold")
        me.consume(queue="cold", limit=2000)
        bench.run(3)
        assert len(me.held["c"]) == 2000
        me.reject()
        bench.run(5)
        assert bench.queue("cold").subscription.leased_count == 0
        me.consume("d", "dead")
        bench.run(3)
        assert [int(body[:6]) for body in me.bodies("d")] == list(range(2000))


def test_a_message_with_copies_reaches_each_queue_once(bench, me):
    me.declare("other")
    me.put(b"x", headers=[(b"CC", longstr_array(b"other", b"q")), (b"BCC", longstr_array(b"other"))])
    me.consume("a").consume("b", "other")
    bench.run()
    assert (me.bodies("a"), me.bodies("b")) == ([b"x"], [b"x"])
    assert all("BCC" not in headers and "CC" in headers for _, headers, _ in me.headers)
