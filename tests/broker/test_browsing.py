"""Pages of what is ready in a queue, by an owner in this process and by one behind a link: nothing is taken, and what readers would not get is not there."""

from __future__ import annotations

import random

import pytest
from broker_bench import CODEC, Bench, refused
from linked_bench import LinkedBench

from entrepot.broker.calls import requests as r
from entrepot.broker.calls.port import ACCEPT, DONE, PENDING, RELEASE, UNAVAILABLE, make_settle
from entrepot.broker.queue.browsing import PAGE_BYTES
from entrepot.model.errors import Reason
from entrepot.protocols.amqp091 import rewriting

TEN = [b"%d" % number for number in range(10)]


@pytest.fixture(params=[Bench, LinkedBench])
def bench(request):
    return request.param()


@pytest.fixture
def me(bench):
    connection = bench.connect()
    connection.declare()
    return connection


def bodies_of(slices):
    found = []
    for version, _, count, data in slices:
        assert version == CODEC.version
        records = CODEC.split(data, 0, count)
        assert b"".join(records) == data
        found += [bytes(rewriting.take_apart(record).body) for record in records]
    return found


def pages(me, queue="q", limit=100):
    """Bodies of each page."""
    place, found = -1, []
    while place != -1 or not found:
        slices, place, _ = me.ask(r.Browse(queue, place, limit))
        found.append(bodies_of(slices))
        assert len(found[-1]) <= limit
        assert found[-1] or place == -1
    return found


def browsed(me, **how):
    return [body for page in pages(me, **how) for body in page]


@pytest.mark.parametrize("durable", [True, False])
def test_all_that_is_ready_in_order(bench, durable):
    me = bench.connect()
    me.declare("other", durable=durable)
    me.put(*TEN, key="other")
    assert pages(me, queue="other") == [TEN]
    assert pages(me, queue="other", limit=4) == [TEN[:4], TEN[4:8], TEN[8:]]
    assert pages(me, queue="other", limit=5) == [TEN[:5], TEN[5:]]
    queue = bench.queue("other")
    assert (queue.subscription.ready_count, queue.subscription.leased_count) == (10, 0)


def test_the_highest_first(bench, me):
    me.declare("levels", x_max_priority=3)
    me.put(*TEN, key="levels", priorities=[number % 5 for number in range(10)])
    ordered = [b"%d" % number for level in (3, 2, 1, 0) for number in range(10) if min(number % 5, 3) == level]
    assert browsed(me, queue="levels") == ordered
    for limit in range(1, 11):
        assert browsed(me, queue="levels", limit=limit) == ordered
    assert me.ask(r.Browse("levels", -1, 3))[2] == 10
    me.consume(queue="levels", limit=5)
    bench.run()
    assert me.bodies() == ordered[:5]
    assert browsed(me, queue="levels", limit=2) == ordered[5:]
    assert browsed(me, queue="levels", limit=1) == ordered[5:]


def test_a_place_in_another_queue_of_that_name(bench, me):
    """It is deleted and declared anew between two pages: there is nothing behind, and nobody fails."""
    me.declare("levels", x_max_priority=9)
    me.put(*TEN, key="levels", priorities=list(range(10)))
    _, place, _ = me.ask(r.Browse("levels", -1, 4))
    for arguments in ({}, {"x_max_priority": 2}):
        me.ask(r.DeleteQueue("levels"))
        me.declare("levels", **arguments)
        me.put(*TEN, key="levels")
        assert me.ask(r.Browse("levels", place, 4)) == ([], -1, 10)


def test_where_it_begins(me):
    assert me.ask(r.Browse("q", -1, 0)) == ([], -1, 0)
    me.put(*TEN)
    slices, place, ready = me.ask(r.Browse("q", -1, 0))
    assert (slices, ready) == ([], 10)
    assert bodies_of(me.ask(r.Browse("q", place, 3))[0]) == TEN[:3]


def test_nothing(me):
    assert me.ask(r.Browse("q")) == ([], -1, 0)


def test_what_is_not_durable_yet_is_waited_for(bench, me):
    me.publish(*TEN)
    call = me.submit(r.Browse("q"))
    assert call.outcome == PENDING
    bench.run()
    assert call.outcome == DONE
    assert bodies_of(call.result[0]) == TEN


def test_what_is_taken_is_not_there(bench, me):
    me.put(*TEN)
    me.consume(limit=3)
    bench.run()
    assert browsed(me) == TEN[3:]
    assert me.ask(r.Browse("q"))[2] == 7
    me.cancel("c")
    me.give_all_back()
    slices, _, _ = me.ask(r.Browse("q"))
    assert bodies_of(slices) == TEN
    assert [(count, deliveries) for _, deliveries, count, _ in slices] == [(3, 1), (7, 0)]


def test_what_has_expired_is_not_there(bench, me):
    me.put(b"short", ttl_ms=1000)
    me.put(b"long", ttl_ms=100_000)
    me.put(b"never")
    assert browsed(me) == [b"short", b"long", b"never"]
    bench.run(2.0)
    assert browsed(me) == [b"long", b"never"]


def test_a_page_is_of_so_many_bytes(me):
    large = [bytes([number]) * 20_000 for number in range(8)]
    for body in large:
        me.put(body)
    found = pages(me)
    assert [body for page in found for body in page] == large
    assert all(sum(map(len, page)) <= PAGE_BYTES + 20_000 for page in found)
    me.put(b"x" * 500_000)
    assert pages(me)[-1] == [b"x" * 500_000]


def test_what_is_no_queue_of_mine(me):
    assert "no queue 'nowhere'" in refused(me.ask, r.Browse("nowhere"))
    me.declare("stream", x_queue_type="stream")
    assert "browsing not supported by stream" in refused(me.ask, r.Browse("stream"))


def test_a_queue_that_goes_meanwhile(bench, me):
    me.publish(*TEN)
    call = me.submit(r.Browse("q"))
    me.submit(r.DeleteQueue("q"))
    bench.run()
    assert call.outcome in (DONE, UNAVAILABLE) or call.error.reason is Reason.NOT_FOUND


@pytest.mark.parametrize("seed", range(10))
def test_any_holes(bench, seed):
    """What was acknowledged, and what is held, is not there, however records lie in entries."""
    dice = random.Random(seed)
    me = bench.connect()
    me.declare()
    while bench.queue().log.next_offset < 200:
        me.put(*(b"%d-" % dice.randrange(1000) + b"x" * dice.choice((0, 10, 3000)) for _ in range(dice.randrange(1, 20))))
    me.consume(limit=200)
    bench.run()
    held = me.held.pop("c")
    what = {offset: dice.choice((RELEASE, ACCEPT, None)) for _, _, offset in held}
    for _, consumer_id, offset in held:
        if what[offset] is not None:
            me.door.submit(make_settle(1, consumer_id, offset, 1, what[offset]))
    me.cancel("c")
    bench.run()
    ready = [body for body, _, offset in held if what[offset] == RELEASE]
    rest = bench.queue().subscription.end - len(held)
    found = browsed(me, limit=dice.choice((1, 7, 100)))
    assert found[: len(ready)] == ready
    assert len(found) == len(ready) + rest
