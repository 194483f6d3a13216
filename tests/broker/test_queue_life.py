"""How queues begin and end, and what remains over a restart."""

import pytest
from broker_bench import Bench, refused

from entrepot.broker.calls import requests as r

TEN = [b"%d" % number for number in range(10)]


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
def me(bench):
    connection = bench.connect()
    connection.declare()
    return connection


class TestLife:
    def test_auto_delete(self, bench, me):
        me.declare("a", auto_delete=True)
        me.consume("x", "a").consume("y", "a")
        me.cancel("x")
        bench.run()
        assert bench.exists("a")
        me.cancel("y")
        bench.run()
        assert not bench.exists("a")
        me.declare("a", auto_delete=True)
        assert bench.exists("a")  # nobody ever consumed it
        me.consume("x", "a")
        me.close()
        bench.run()
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

    def test_after_a_stop_only_what_was_delivered_is_redelivered(self, bench, me):
        me.put(*TEN)
        me.consume(limit=3)
        bench.run()
        me.accept(count=1, index=1)  # which brings the next one
        bench.run()
        again = bench.reopen()
        you = again.connect()
        you.put(b"new")
        you.consume(limit=5)
        again.run()
        marked = [(b"0", True), (b"2", True), (b"3", True)]
        assert you.deliveries() == [*marked, (b"4", False), (b"5", False)]
        you.close()
        once_more = again.reopen()
        you = once_more.connect()
        you.consume()
        once_more.run()
        assert you.deliveries() == [*marked, *((b"%d" % number, number < 6) for number in range(4, 10)), (b"new", False)]

    def test_after_a_crash_all_that_may_have_been_delivered_is_redelivered(self, bench, me):
        me.put(*TEN)
        me.consume(limit=3)
        bench.run()
        bench.disk.kill()
        after_a_crash = bench.start_again()
        you = after_a_crash.connect()
        you.put(b"new")
        you.consume(limit=5)
        after_a_crash.run()
        assert you.deliveries() == [(b"%d" % number, True) for number in range(5)]
        you.close()
        stopped = after_a_crash.reopen()  # which does not know better than the crash left it
        you = stopped.connect()
        you.consume()
        stopped.run()
        assert you.deliveries() == [*((body, True) for body in TEN), (b"new", False)]

    def test_a_stop_and_then_a_crash(self, bench, me):
        me.put(*TEN)
        me.consume(limit=3)
        bench.run()
        again = bench.reopen()
        you = again.connect()
        you.consume(limit=6)
        again.run()
        assert len(you.deliveries()) == 6
        again.disk.crash()
        last = again.start_again()
        you = last.connect()
        you.consume()
        last.run()
        assert you.deliveries() == [(body, True) for body in TEN]

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


def test_what_a_cancelled_consumer_held_for_a_dead_letter_counts_no_more_once_its_queue_is_deleted(bench):
    me, other = bench.connect(), bench.connect()
    other.declare("dead")
    other.declare("gone", x_dead_letter_exchange="", x_dead_letter_routing_key="dead")
    other.declare("next")
    other.put(b"1", b"2", key="gone")
    me.ask(r.StreamLimit(1))
    me.consume("c", "gone")
    bench.run()
    me.cancel("c")
    me.reject("c", count=1)
    other.submit(r.DeleteQueue("gone", False, False))
    bench.run()
    me.consume("on", "next")
    other.put(b"x", key="next")
    bench.run()
    assert [body for body, *_ in me.held["on"]] or me.bodies("on")
