"""Queues through the port: who gets what, in which order, how often, and what becomes of the rest."""

import itertools

import pytest
from broker_bench import Bench, longstr_array, refused

from entrepot.broker.calls import requests as r
from entrepot.broker.calls.port import DONE, PENDING
from entrepot.broker.queue.queue import MARK_STEP

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
        assert list(me.door.consumers) == [me.ids["b"]]  # the cancelled one is forgotten

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
        slow.door.writable = False
        me.consume()
        me.put(*TEN)
        bench.run()
        assert me.bodies() == TEN
        me.close()
        bench.run()
        assert slow.bodies() == []
        slow.door.resume()
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
        me.give_all_back()
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
        me.give_all_back()
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
        me.give_all_back()  # all at once: 0 and 1 are over the limit, 2 and 3 are not
        bench.run()
        assert [body for body, _ in me.deliveries()][-2:] == TEN[2:4]
        assert bench.queue("dead").depth() == 2
        assert bench.queue().subscription.leased_count == 2

    @pytest.mark.parametrize("limit", [0, 1, 3])
    @pytest.mark.parametrize("ends", ["release", "close", "kill", "reopen", "kill release", "close kill", "reopen kill", "get kill", "kill get reopen"])
    def test_what_kills_who_takes_it_is_buried_after_limit_and_one_deliveries(self, bench, ends, limit):
        """However its deliveries end: given back, with its consumer, with the broker; what lies behind it is not buried with it."""
        me = bench.connect()
        me.declare("dead")
        me.declare(x_queue_type="quorum", x_delivery_limit=limit, x_dead_letter_exchange="", x_dead_letter_routing_key="dead")
        me.put(*TEN)
        given = 0
        ways = itertools.cycle(ends.split())
        while given <= limit:
            way = next(ways)
            me = bench.connect()
            if way == "get":
                assert me.get()[0] == TEN[0]
                me.told["c"] = me.told.pop("get")
            else:
                me.consume(limit=1)
                bench.loop.run_until(lambda me=me: "c" in me.told)  # and not a moment longer
            assert me.told["c"] == [(TEN[0], given)], "counted, or delivered too often"
            given += 1
            if way == "release":
                me.cancel("c")
                me.release()
                bench.run()
            elif way in ("close", "get"):
                me.close()
                bench.run()
            elif way == "kill":
                bench.disk.kill()
                bench = bench.start_again()
                bench.run()
            else:
                bench = bench.reopen()
                bench.run()
        assert bench.queue().depth() == len(TEN) - 1
        assert bench.connect().get("dead")[0] == TEN[0]
        you = bench.connect().consume()
        bench.run()
        assert you.bodies() == list(TEN[1:])
        you.accept()
        bench.run()
        queue = bench.queue()
        assert bench.store.scan(queue.log.shard, b"s:" + queue.log.id, b"s:" + queue.log.id + b"\xff", 10) == [], "settled, and not forgotten"

    def test_all_of_a_prefetch_was_delivered(self, bench):
        """As RabbitMQ counts: whoever had ten of them and died has had ten deliveries."""
        me = bench.connect()
        me.declare("dead")
        me.declare(x_queue_type="quorum", x_delivery_limit=1, x_dead_letter_exchange="", x_dead_letter_routing_key="dead")
        me.put(*TEN, *TEN)
        for deliveries in (0, 1):
            me = bench.connect().consume(limit=10)
            bench.run()
            assert me.told["c"] == [(body, deliveries) for body in TEN]
            me.close()
            bench.run()
        assert bench.queue("dead").depth() == 10
        assert bench.queue().depth() == 10

    @pytest.mark.parametrize("why", ["single active", "shared limit", "gone meanwhile"])
    def test_what_was_told_and_not_delivered_does_not_count(self, bench, why):
        """Whoever had room takes none of it after all; the process dies over something else, again and again."""
        me = bench.connect()
        me.declare("dead")
        arguments = {"x_dead_letter_exchange": "", "x_dead_letter_routing_key": "dead", "x_single_active_consumer": why == "single active"}
        me.declare(x_queue_type="quorum", x_delivery_limit=2, **arguments)
        me.put(*TEN)
        for deliveries in range(3):
            me = bench.connect()
            if why == "shared limit":
                me.ask(r.StreamLimit(1))
            for name in ("a", "b", "c"):
                call = me.submit(r.Consume("q", name, limit=1 if name == "a" or why == "shared limit" else 3))
                if why == "gone meanwhile" and name != "a":
                    me.bench.loop.run_until(lambda call=call: call.outcome != PENDING)
                    me.submit(r.Cancel(call.result))
            if why == "gone meanwhile":
                you = bench.connect()
                you.submit(r.Consume("q", "gone", limit=9))
                you.close()
            bench.run()
            assert [told for consumer in me.told.values() for told in consumer] == [(TEN[0], deliveries)]
            bench.disk.kill()
            bench = bench.start_again()
        bench.run()
        assert bench.connect().get("dead")[0] == TEN[0]
        assert bench.queue("dead").depth() == 0
        assert bench.queue().depth() == 9

    def test_counts_are_told_for_all_who_have_room_at_once(self, bench):
        me = bench.connect()
        me.declare(x_queue_type="quorum", x_delivery_limit=5)
        me.put(*[b"%d" % number for number in range(100)])
        me.consume()
        bench.run()
        me.close()
        bench.run()
        before = bench.store.group().sequence
        for _ in range(10):
            bench.connect().consume(limit=10)
        bench.run()
        assert bench.queue().subscription.leased_count == 100
        assert bench.store.group().sequence - before <= 12, "a commit for each consumer, at most"

    def test_without_a_limit_nothing_is_kept(self, bench, me):
        me.put(*TEN)
        me.consume()
        for _ in range(3):
            bench.run()
            me.release()
        bench.run()
        assert me.told["c"][-1] == (TEN[-1], 3)
        assert [key for shard in range(256) for key, _ in bench.store.scan(shard, b"s:", b"s;", 10)] == []

    def test_the_state_of_a_deleted_queue_goes(self, bench):
        me = bench.connect()
        me.declare(x_queue_type="quorum", x_delivery_limit=5)
        me.put(*TEN)
        for _ in range(2):
            me = bench.connect().consume()
            bench.run()
            me.close()
            bench.run()
        bench.connect().consume()
        bench.run()
        log = bench.queue().log
        assert bench.store.scan(log.shard, b"s:" + log.id, b"s:" + log.id + b"\xff", 10)
        bench.connect().ask(r.DeleteQueue("q"))
        bench.run()
        assert bench.store.scan(log.shard, b"s:" + log.id, b"s:" + log.id + b"\xff", 10) == []

    def test_of_what_only_the_mark_covers_none_is_buried_unseen(self, bench):
        """A limit of 0: what a crash cannot tell from what was delivered is delivered once."""
        me = bench.connect()
        me.declare(x_queue_type="quorum", x_delivery_limit=0)
        me.put(*TEN)
        me.consume(limit=3)
        bench.run()
        bench.disk.kill()
        bench = bench.start_again()
        you = bench.connect().consume()
        bench.run()
        assert you.deliveries() == [(body, True) for body in TEN[3:]]

    def test_marked_as_delivered_after_a_crash(self, bench, me):
        me.put(*TEN)
        me.consume(limit=3)
        bench.run()
        me.accept(count=1)
        bench.run()
        bench.disk.kill()
        again = bench.start_again()
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
        assert len(me.door.consumers) <= 64


def test_a_message_with_copies_reaches_each_queue_once(bench, me):
    me.declare("other")
    me.put(b"x", headers=[(b"CC", longstr_array(b"other", b"q")), (b"BCC", longstr_array(b"other"))])
    me.consume("a").consume("b", "other")
    bench.run()
    assert (me.bodies("a"), me.bodies("b")) == ([b"x"], [b"x"])
    assert all("BCC" not in headers and "CC" in headers for _, headers, _ in me.headers)
