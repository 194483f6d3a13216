"""Queues with priorities (x-max-priority): which levels come to be, what comes first, what the limits end, and what is left of it when the queue is gone."""

import gc

import pytest
from broker_bench import CODEC, NS, Bench, refused

from entrepot.broker.calls import requests as r
from entrepot.broker.calls.lease_calls import make_receive
from entrepot.broker.calls.port import ACCEPT, DONE, REFUSED
from entrepot.broker.calls.questions import AskQueues
from entrepot.broker.queue.parts import parts_of


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
def me(bench):
    connection = bench.connect()
    connection.declare(x_max_priority=5)
    return connection


def put(me, *priorities, **how):
    """One run of messages that are called by their place and priority."""
    return me.put(*[f"{place}:{priority}".encode() for place, priority in enumerate(priorities)], priorities=list(priorities), **how)


def everything(me, queue="q"):
    me.consume("all", queue, auto_settle=True)
    me.bench.run()
    me.cancel("all")
    return [body.decode() for body in me.bodies("all")]


def names_of(bench):
    return {part.log.id for part in parts_of(bench.queue())}


class TestOrder:
    def test_the_highest_first_and_within_a_level_the_oldest(self, me):
        put(me, None, 0, 3, 5, 6, 255, 1, 3)
        assert everything(me) == ["3:5", "4:6", "5:255", "2:3", "7:3", "6:1", "0:None", "1:0"]

    def test_one_level_alone_is_published_as_it_came(self, bench, me):
        put(me, 2, 2, 2)
        put(me, 4)
        assert sorted(part.origin >> 55 for part in parts_of(bench.queue())) == [0, 2, 4]
        assert everything(me) == ["0:4", "0:2", "1:2", "2:2"]

    def test_with_a_prefetch_of_one_what_comes_later_goes_before(self, bench, me):
        put(me, 0)
        me.consume(limit=1)
        bench.run()
        put(me, 1, 5, 3, 5)
        seen = []
        for _ in range(5):
            seen += me.accept()
            bench.run()
        assert seen == [b"0:0", b"1:5", b"3:5", b"2:3", b"0:1"]

    def test_what_is_out_already_stays_before(self, bench, me):
        put(me, 0, 1)
        me.consume(limit=2)
        bench.run()
        put(me, 5)
        assert me.bodies() == [b"1:1", b"0:0"]
        me.release()
        bench.run()
        assert me.deliveries() == [(b"0:5", False), (b"1:1", True)]

    def test_what_comes_back_is_in_its_place(self, bench, me):
        put(me, 1, 1, 5, 5)
        me.consume(limit=4)
        bench.run()
        assert me.bodies() == [b"2:5", b"3:5", b"0:1", b"1:1"]
        me.cancel("c")
        me.release(index=3)
        me.release(index=0, count=2)
        bench.run()
        assert [me.get()[:2] for _ in range(3)] == [(b"2:5", True), (b"3:5", True), (b"1:1", True)]
        assert me.get() is None

    def test_a_get_says_how_many_are_left_in_all(self, me):
        put(me, 0, 5, 3)
        assert [me.get() for _ in range(3)] == [(b"1:5", False, 2), (b"2:3", False, 1), (b"0:0", False, 0)]

    def test_of_many_consumers_each_has_its_share(self, bench, me):
        me.consume("a", limit=2).consume("b", limit=2)
        put(me, 1, 5, 1, 5)
        bench.run()
        assert sorted(me.bodies("a") + me.bodies("b")) == [b"0:1", b"1:5", b"2:1", b"3:5"]

    def test_in_memory_alone_too(self, bench, me):
        me.declare("v", durable=False, x_max_priority=2)
        put(me, 0, 2, 1, 9, key="v")
        assert everything(me, "v") == ["1:2", "3:9", "2:1", "0:0"]

    def test_to_several_queues_at_once(self, me):
        me.declare("plain")
        me.declare("other", x_max_priority=1)
        me.declare("like q", x_max_priority=5)
        for name in ("q", "plain", "other", "like q"):
            me.ask(r.Bind("amq.fanout", name))
        put(me, 0, 5, 1, exchange="amq.fanout", key="")
        assert everything(me) == ["1:5", "2:1", "0:0"]
        assert everything(me, "other") == ["1:5", "2:1", "0:0"]
        assert everything(me, "like q") == ["1:5", "2:1", "0:0"]
        assert everything(me, "plain") == ["0:0", "1:5", "2:1"]

    @pytest.mark.parametrize("names", [["v"], ["v", "like v"]])
    def test_what_has_begun_is_not_refused(self, monkeypatch, names):
        """In memory alone, where there is room for the first level's part."""
        monkeypatch.setattr(Bench, "memory_size_max", 40)
        me = Bench().connect()
        for name in names:
            me.declare(name, durable=False, x_max_priority=2)
            me.ask(r.Bind("amq.fanout", name))
        bodies = [b"%d" % number + bytes(100) for number in range(3)]
        assert me.put(*bodies, exchange="amq.fanout", priorities=[0, 2, 1]).outcome == DONE
        assert me.put(*bodies, exchange="amq.fanout", priorities=[0, 2, 1]).outcome == REFUSED
        for name in names:
            assert [body[0] for body in everything(me, name)] == ["1", "2", "0"]

    def test_neighbours_join_one_entry_of_their_level(self, bench, me):
        calls = [me.publish(b"%d" % number, priorities=[number % 2]) for number in range(10)]
        bench.run()
        assert {call.outcome for call in calls} == {DONE}
        entries = set()
        for part in parts_of(bench.queue()):
            reader = part.log.reader()
            entries.add((part.log.next_offset, reader.at(0).entry.count))
            reader.close()
        assert entries == {(5, 5)}


class TestLimits:
    def test_over_a_length_the_next_to_be_delivered_go(self, me):
        me.declare("dead")
        me.declare("l", x_max_priority=5, x_max_length=3, x_dead_letter_exchange="", x_dead_letter_routing_key="dead")
        for number, priority in enumerate([1, 5, 3, 0, 5, 0]):
            me.put(b"%d:%d" % (number, priority), key="l", priorities=[priority])
        assert everything(me, "dead") == ["1:5", "4:5", "2:3"]
        assert everything(me, "l") == ["0:1", "3:0", "5:0"]

    def test_in_octets(self, bench, me):
        me.declare("b", x_max_priority=5, x_max_length_bytes=9)
        put(me, 1, 5, 3, 0, 5, 0, key="b")
        bench.run()
        assert everything(me, "b") == ["0:1", "3:0", "5:0"]
        put(me, 2, 2, 2, key="b")
        bench.run()
        assert bench.queue("b").depth() == 3
        assert bench.queue("b").ready_bytes == 9

    def test_octets_of_what_comes_back_count(self, bench, me):
        me.declare("b", x_max_priority=5, x_max_length_bytes=9)
        put(me, 1, 5, 3, key="b")
        me.consume(queue="b", limit=2)
        bench.run()
        put(me, 0, 0, key="b")
        bench.run()
        me.cancel("c")
        me.release()
        bench.run()
        assert everything(me, "b") == ["0:1", "0:0", "1:0"]

    def test_octets_after_a_restart(self, bench, me):
        me.declare("b", x_max_priority=5, x_max_length_bytes=9)
        put(me, 1, 5, 3, key="b")
        again = bench.reopen()
        you = again.connect()
        again.run()
        assert everything(you, "b") == ["1:5", "2:3", "0:1"]

    def test_refused_over_it(self, me):
        me.declare("f", x_max_priority=5, x_max_length=2, x_overflow="reject-publish")
        assert put(me, 1, 0, 5, key="f").nacked == [2]
        assert everything(me, "f") == ["0:1", "1:0"]

    def test_a_transaction_too_large(self, me):
        me.declare("f", x_max_priority=5, x_max_length=2, x_overflow="reject-publish")
        text = refused(me.ask, r.CommitTogether([me.run_of(b"a", b"b", b"c", key="f", priorities=[1, 2, 3])], []))
        assert "over its limit" in text
        me.ask(r.CommitTogether([me.run_of(b"a", b"b", key="f", priorities=[1, 2])], []))
        assert everything(me, "f") == ["b", "a"]

    def test_time_to_live_of_the_queue(self, bench, me):
        me.declare("dead")
        me.declare("t", x_max_priority=5, x_message_ttl=1000, x_dead_letter_exchange="", x_dead_letter_routing_key="dead")
        put(me, 1, 5, 3, key="t")
        bench.run(0.5)
        assert bench.queue("t").depth() == 3
        bench.run(1)
        assert bench.queue("t").depth() == 0
        assert everything(me, "dead") == ["1:5", "2:3", "0:1"]

    def test_time_to_live_of_messages_below_one_that_stays(self, bench, me):
        me.put(b"low", ttl_ms=500, priorities=[1])
        me.put(b"high", ttl_ms=60_000, priorities=[5])
        me.put(b"mid", ttl_ms=500, priorities=[3])
        bench.run(1)
        assert bench.queue().depth() == 1
        assert everything(me) == ["high"]

    def test_what_expires_while_it_is_out_of_the_way(self, bench, me):
        me.put(b"a", ttl_ms=0, priorities=[4])
        bench.run()
        assert me.get() is None

    def test_rejected_ones_are_dead_letters_of_their_level(self, bench, me):
        me.declare("dead")
        me.declare("d", x_max_priority=5, x_dead_letter_exchange="", x_dead_letter_routing_key="dead")
        put(me, 1, 5, 3, key="d")
        me.consume(queue="d", limit=3)
        bench.run()
        me.reject(count=2)
        bench.run()
        me.close()
        you = bench.connect()
        assert everything(you, "dead") == ["1:5", "2:3"]
        assert everything(you, "d") == ["0:1"]

    def test_a_dead_letter_keeps_its_priority(self, bench, me):
        me.declare("from", x_message_ttl=0, x_dead_letter_exchange="", x_dead_letter_routing_key="q")
        put(me, 1, 5, 3, key="from")
        bench.run()
        assert everything(me) == ["1:5", "2:3", "0:1"]


def test_of_many_addresses_not_each_has_a_lane_of_each_level(bench, me):
    me.declare("many", x_max_priority=255)
    me.ask(r.Bind("amq.topic", "many", "queue", "#"))
    for key in range(20):
        for priority in range(64):
            me.publish(b"x", key=f"k{key}", exchange="amq.topic", priorities=[priority], confirm=False)
        bench.run(0.02)
    assert sum(type(one).__name__ == "LocalLane" for one in gc.get_objects()) < 20 * 32


class TestLife:
    def test_no_priorities_up_to_none(self, bench, me):
        me.declare("none", x_max_priority=0)
        put(me, 0, 5, key="none")
        assert everything(me, "none") == ["0:0", "1:5"]
        assert len(parts_of(bench.queue("none"))) == 1

    @pytest.mark.parametrize(
        ("value", "text"),
        [(256, "{max_value_exceeded,256}"), (-1, "{value_negative,-1}"), ("x", "expected integer, got longstr"), (True, "expected integer, got bool")],
    )
    def test_arguments_that_are_none(self, me, value, text):
        assert text in refused(me.declare, "bad", x_max_priority=value)

    def test_declared_again_otherwise(self, me):
        me.declare(x_max_priority=5)
        assert "received '4' but current is '5'" in refused(me.declare, x_max_priority=4)
        assert "received none but current is the value '5' of type 'signedint'" in refused(me.declare)

    def test_not_of_a_quorum_queue(self, me):
        assert "rabbit_quorum_queue" in refused(me.declare, "bad", x_max_priority=5, x_queue_type="quorum")

    def test_over_a_restart(self, bench, me):
        put(me, 1, 5, None, 3)
        me.consume(limit=1)
        bench.run()
        assert me.accept() == [b"1:5"]
        bench.run()
        before = names_of(bench)
        again = bench.reopen()
        assert names_of(again) == before
        you = again.connect()
        you.consume(limit=0)
        again.run()
        assert you.deliveries() == [(b"3:3", True), (b"0:1", False), (b"2:None", False)]

    def test_when_it_is_deleted_nothing_is_left(self, bench, me):
        put(me, 1, 5, 3)
        ids = names_of(bench)
        assert len(ids) == 4
        assert me.ask(r.DeleteQueue("q")) == 3
        bench.run()
        assert [log for log in bench.store.logs() if log.id in ids] == []
        me.declare(x_max_priority=5)
        assert everything(me) == []

    def test_when_it_was_deleted_while_its_shard_was_closed(self, bench, me):
        put(me, 1, 5, 3)
        ids = names_of(bench)
        shard = bench.queue().log.shard
        moves = bench.broker.shard_moves
        done = []
        moves.close(shard, lambda: done.append(True))
        bench.loop.run_until(lambda: len(done) == 1, 60)
        bench.decisions.remove_queue(bench.catalogue.namespace(NS).queues["q"])
        moves.open(shard, 2, lambda: done.append(True))
        bench.loop.run_until(lambda: len(done) == 2, 60)
        bench.run()
        assert [log for log in bench.store.logs() if log.id in ids] == []

    def test_purged(self, bench, me):
        put(me, 1, 5, 3, 0)
        me.consume(limit=1)
        bench.run()
        assert me.ask(r.PurgeQueue("q")) == 3
        assert bench.queue().depth() == 0
        me.release()
        bench.run()
        assert me.bodies() == [b"1:5", b"1:5"]

    def test_counted(self, bench, me):
        put(me, 1, 5, 3, 0)
        me.consume(limit=1)
        bench.run()
        answers = []
        bench.broker.owners.durable.ask(AskQueues([bench.queue().log.id]), lambda error, figures: answers.append(figures[0]))
        bench.run()
        assert answers[0][:5] == (3, 1, 0, 3, 1)
        assert me.declare(passive=True, x_max_priority=5)[1:] == (3, 1)

    def test_only_so_many_out(self, bench, me):
        me.consume(limit=3)
        for number in range(30):
            me.put(b"%d" % number, priorities=[number % 7])
        bench.run()
        seen = []
        while me.held.get("c"):
            assert len(me.held["c"]) <= 3
            seen += me.settle(ACCEPT, count=1)
            bench.run()
        assert len(seen) == 30
        assert bench.queue().depth() == 0

    def test_not_leased_for_a_time(self, bench, me):
        put(me, 1)
        call = make_receive(1, "q", CODEC.tag, 1, 1000, 0)
        me.door.submit(call)
        bench.run()
        assert call.outcome == REFUSED
        assert "x-max-priority" in str(call.error)
        assert everything(me) == ["0:1"]
