"""A whole front, with its sessions, whose owners' start dies and is followed by another: what clients see of that, which is a pause."""

import pytest
from linked_bench import LinkedBench

from entrepot.broker.calls import requests as r
from entrepot.broker.calls.port import DONE, PENDING
from entrepot.broker.calls.topic_requests import CreateTopic

TEN = [b"%d" % number for number in range(10)]


@pytest.fixture
def bench():
    return LinkedBench()


@pytest.fixture
def me(bench):
    me = bench.connect()
    me.declare()
    return me


def restart(bench):
    bench.table.restart()
    bench.run()


def test_a_consumer_goes_on(bench, me):
    me.consume("c", limit=3)
    me.put(*TEN)
    bench.run()
    assert me.bodies("c") == TEN[:3]
    restart(bench)
    assert (me.bodies("c"), me.ended) == ([], [])
    assert me.accept("c", 2) == TEN[:2]
    bench.run()
    assert me.bodies("c") == TEN[3:5]
    restart(bench)
    me.accept("c")
    bench.run()
    assert me.bodies("c") == TEN[5:8]
    me.close()
    bench.run()
    assert bench.queue().depth() == 5


def test_a_consumer_of_levels_goes_on(bench, me):
    me.declare("p", x_max_priority=5)
    me.put(*TEN, key="p", priorities=[number % 7 for number in range(10)])
    me.consume("c", "p", limit=3)
    bench.run()
    assert me.bodies("c") == [b"5", b"6", b"4"]
    restart(bench)
    assert (me.bodies("c"), me.ended) == ([], [])
    assert bench.queue("p").depth() == 7
    assert me.accept("c", 1) == [b"5"]
    assert me.release("c", 1) == [b"6"]
    bench.run()
    assert me.deliveries("c") == [(b"6", True), (b"3", False)]
    restart(bench)
    me.reject("c", 1)
    me.accept("c")
    bench.run()
    assert me.bodies("c") == [b"2", b"9", b"1"]
    me.close()
    bench.run()
    assert bench.queue("p").depth() == 6


@pytest.mark.parametrize("turns", range(0, 12, 2))
def test_publishes_are_confirmed_once(bench, me, turns):
    calls = [me.publish(body) for body in TEN]
    quiet = me.publish(b"quiet", confirm=False)
    bench.steps(turns)
    bench.table.restart()
    later = me.publish(b"later")
    bench.run()
    assert {call.outcome for call in (*calls, quiet, later)} == {DONE}
    me.consume("c", limit=0)
    bench.run()
    assert me.bodies("c") == [*TEN, b"quiet", b"later"]


def test_what_is_asked_meanwhile(bench, me):
    me.put(b"0")
    bench.table.restart()
    get, passive = me.submit(r.Get("q")), me.submit(r.DeclareQueue("q", passive=True, durable=True))
    assert (get.outcome, passive.outcome) == (PENDING, PENDING)
    bench.run()
    assert (get.outcome, passive.outcome) == (DONE, DONE)
    assert get.result[1] == 0


def test_a_limit_over_two_owners(bench, me):
    """Of which the one at home is dead for good: what it lent comes back."""
    me.declare("passing", durable=False)
    me.ask(r.StreamLimit(4))
    me.consume("c", limit=0)
    me.consume("p", "passing", limit=0)
    me.put(*TEN)
    bench.run()
    assert me.bodies("c") == TEN[:4]
    restart(bench)
    assert me.ended == ["p"]
    for low in range(0, 6, 2):
        me.accept("c", 2)
        bench.run()
        assert me.bodies("c") == TEN[4 + low : 6 + low]
    assert len(me.held["c"]) == 4


def test_a_stream_goes_on(bench, me):
    me.ask(CreateTopic("t", 4))
    me.consume("c", "t", limit=5, start="first")
    got = []
    for number in range(40):
        me.publish(b"%02d" % number, key="t", headers=[(b"x-key", b"S\0\0\0\x02%02d" % number)])
    for _ in range(20):
        bench.steps(3)
        restart(bench)
        assert len(me.held.get("c", [])) <= 5
        got += me.accept("c")
    assert sorted(got) == [b"%02d" % number for number in range(40)]


def test_nobody_comes_back(bench, me):
    me.consume("c")
    call = me.publish(b"x")
    bench.table.front.dead(returns=True)
    assert (me.ended, call.outcome) == ([], PENDING)
    bench.table.front.give_up()
    assert me.ended == ["c"]
    assert call.outcome != PENDING
