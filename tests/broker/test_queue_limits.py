"""What ends in a queue by itself: expiry, and limits of length."""

import pytest
from broker_bench import Bench

from entrepot.broker.calls import requests as r
from entrepot.broker.calls.port import DONE

TEN = [b"%d" % number for number in range(10)]


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
def me(bench):
    connection = bench.connect()
    connection.declare()
    return connection


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

    @pytest.mark.parametrize("top", [0, 2])
    def test_nobody_is_given_what_has_expired_since_a_restart(self, bench, me, top):
        me.declare("m", x_max_priority=top)
        me.put(b"a", key="m", ttl_ms=1000, priorities=[top])
        me.put(b"b", b"c", key="m", ttl_ms=4000, priorities=[0, top])
        me.put(b"d", key="m", priorities=[0])
        again = bench.reopen()
        again.run(5)
        you = again.connect().consume(queue="m")
        again.run()
        assert you.bodies() == [b"d"]

    @pytest.mark.parametrize("top", [0, 2])
    @pytest.mark.parametrize("by", ["queue", "message"])
    def test_what_expires_after_a_restart_goes_though_nobody_uses_the_queue(self, bench, me, top, by):
        me.declare("dead")
        arguments = {"x_message_ttl": 3000} if by == "queue" else {}
        me.declare("m", x_max_priority=top, x_dead_letter_exchange="", x_dead_letter_routing_key="dead", **arguments)
        me.put(b"a", b"b", key="m", ttl_ms=3000 if by == "message" else None, priorities=[0, top])
        again = bench.reopen()
        again.run(1)
        assert (again.queue("m").depth(), again.queue("dead").depth()) == (2, 0)
        again.run(3)
        assert (again.queue("m").depth(), again.queue("dead").depth()) == (0, 2)

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
