"""From a publish to every queue it leads to: order, copies, refusals, dead letters and their circles, pressure."""

from dataclasses import replace

import pytest
from broker_bench import SMALL, Bench, address_of, bytes_at_hand, longstr_array, table_of

from entrepot.broker.calls import requests as r
from entrepot.broker.calls.port import DONE, PENDING, REFUSED
from entrepot.broker.operations.thinning import THINNED_AT_ONCE
from entrepot.model.errors import Reason, Refused


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
def me(bench):
    return bench.connect()


def bind(me, exchange, kind, *bindings):
    me.ask(r.DeclareExchange(exchange, kind, durable=True))
    for queue, key in bindings:
        me.ask(r.Bind(exchange, queue, "queue", key))


@pytest.mark.parametrize("durable", [True, False])
def test_order_is_that_of_the_publishes_whichever_way_they_take(bench, me, durable):
    """One queue hears through several routes that share some of its neighbours: nothing overtakes."""
    me.declare("q", durable=durable)
    me.declare("p")
    bind(me, "f", "fanout", ("q", ""), ("p", ""))
    bind(me, "d", "direct", ("q", "k"))
    me.consume("q", "q", auto_settle=True).consume("p", "p", auto_settle=True)
    ways = [{"key": "q"}, {"exchange": "f", "key": "x"}, {"exchange": "d", "key": "k"}, {"key": "q", "ttl_ms": 100_000}]
    expected = []
    for number in range(200):
        body = b"%d" % number
        way = (number * number) % 4
        me.publish(body, **ways[way])
        expected.append((body, way))
        if number % 37 == 0:
            bench.run(0.01)
    bench.run()
    assert me.bodies("q") == [body for body, _ in expected]
    assert me.bodies("p") == [body for body, way in expected if way == 1]


def test_two_publishers_of_one_address_keep_their_own_order(bench, me):
    me.declare()
    other = bench.connect()
    me.consume(auto_settle=True)
    for number in range(100):
        me.publish(b"m%d" % number)
        other.publish(b"o%d" % number, b"p%d" % number)
    bench.run()
    bodies = me.bodies()
    for first in (b"m", b"o", b"p"):
        assert [body for body in bodies if body[:1] == first] == [first + b"%d" % number for number in range(100)]


def test_a_confirm_waits_for_every_target(bench, me):
    me.declare("lasting")
    me.declare("passing", durable=False)
    bind(me, "f", "fanout", ("lasting", ""), ("passing", ""))
    call = me.publish(b"x", exchange="f")
    assert call.outcome == PENDING
    bench.run()
    assert call.outcome == DONE
    assert (bench.queue("lasting").depth(), bench.queue("passing").depth()) == (1, 1)


def test_without_targets(bench, me):
    call = me.put(b"x", key="nowhere", mandatory=True)
    assert (call.outcome, call.unroutable) == (DONE, True)


def test_without_its_exchange(bench, me):
    call = me.put(b"x", exchange="none")
    assert call.outcome == REFUSED
    assert call.error.reason is Reason.NOT_FOUND


def test_a_new_binding_is_seen_at_once(bench, me):
    me.declare("a")
    me.declare("b")
    bind(me, "f", "fanout", ("a", ""))
    me.put(b"1", exchange="f")
    me.ask(r.Bind("f", "b"))
    me.put(b"2", exchange="f")
    me.ask(r.Bind("f", "a", remove=True))
    me.put(b"3", exchange="f")
    assert (bench.queue("a").depth(), bench.queue("b").depth()) == (2, 2)


def test_a_queue_made_again_under_its_name(bench, me):
    for _ in range(3):
        me.declare()
        me.put(b"x")
        assert bench.queue().depth() == 1
        me.ask(r.DeleteQueue("q"))
        assert me.put(b"x", mandatory=True).unroutable


def test_headers_decide_record_by_record(bench, me):
    me.declare("one")
    me.ask(r.DeclareExchange("h", "headers"))
    me.ask(r.Bind("h", "one", "queue", "", {"x-match": "all", "n": "1"}))
    put = [me.put(b"x", exchange="h", headers=[(b"n", b"S\x00\x00\x00\x01%d" % number)], mandatory=True) for number in (1, 2)]
    assert [call.unroutable for call in put] == [False, True]
    assert bench.queue("one").depth() == 1


class TestDeadLetters:
    def test_what_is_said_of_a_death(self, bench, me):
        me.declare("dead")
        me.declare("q", x_dead_letter_exchange="", x_dead_letter_routing_key="dead")
        me.put(b"x", ttl_ms=10_000)
        me.consume()
        bench.run()
        me.reject()
        bench.run()
        me.consume("d", "dead")
        bench.run()
        key, headers, expires = me.headers[-1]
        (death,) = table_of(headers["x-death"])
        assert (key, expires) == (b"dead", False)
        assert {name: death[name] for name in ("queue", "reason", "count", "exchange", "routing-keys", "original-expiration")} == {
            "queue": "q",
            "reason": "rejected",
            "count": 1,
            "exchange": "",
            "routing-keys": ["q"],
            "original-expiration": "10000",
        }
        assert headers["x-last-death-queue"] == headers["x-first-death-queue"] == b"S\x00\x00\x00\x01q"

    def test_a_circle_of_expiry_ends(self, bench, me):
        me.declare("a", x_message_ttl=100, x_dead_letter_exchange="", x_dead_letter_routing_key="b")
        me.declare("b", x_message_ttl=100, x_dead_letter_exchange="", x_dead_letter_routing_key="a")
        me.put(b"x", key="a")
        bench.run(5)
        assert (bench.queue("a").depth(), bench.queue("b").depth()) == (0, 0)
        assert bench.broker.statistics()["dead_lettered_total"] == 2

    def test_only_the_target_that_closes_the_circle_is_left_out(self, bench, me):
        me.declare("a", x_message_ttl=100, x_dead_letter_exchange="f")
        me.declare("other")
        bind(me, "f", "fanout", ("a", ""), ("other", ""))
        me.put(b"x", key="a")
        bench.run(3)
        assert (bench.queue("a").depth(), bench.queue("other").depth()) == (0, 1)

    def test_with_a_rejection_it_may_go_round(self, bench, me):
        me.declare("a", x_dead_letter_exchange="", x_dead_letter_routing_key="wait")
        me.declare("wait", x_message_ttl=100, x_dead_letter_exchange="", x_dead_letter_routing_key="a")
        me.put(b"x", key="a")
        me.consume("c", "a")
        for _ in range(5):
            bench.run(1)
            assert me.bodies() == [b"x"]
            me.reject()
        bench.run(1)
        (count,) = {death["count"] for death in table_of(me.headers[-1][1]["x-death"])}
        assert count == 5

    def test_copies_are_routed_again_unless_there_is_a_key(self, bench, me):
        for name in ("k", "copy", "fixed"):
            me.declare(name)
        me.declare("q", x_dead_letter_exchange="amq.direct")
        for name in ("q", "copy"):
            me.ask(r.Bind("amq.direct", "k" if name == "q" else name, "queue", name))
        me.put(b"x", headers=[(b"CC", longstr_array(b"copy"))], key="q")
        me.ask(r.PurgeQueue("copy"))
        me.consume()
        bench.run()
        me.reject()
        bench.run()
        assert (bench.queue("k").depth(), bench.queue("copy").depth()) == (1, 1)

    def test_without_its_exchange_they_are_dropped(self, bench, me):
        me.declare("q", x_dead_letter_exchange="missing")
        me.put(b"x")
        me.consume()
        bench.run()
        me.reject()
        bench.run()
        assert bench.queue().subscription.leased_count == 0
        assert bench.failed == []


class TestPressure:
    def test_refusing_and_going_on(self, bench, me):
        me.declare()
        refused = Refused(Reason.LIMIT, "the disk is nearly full")
        bench.broker.set_refusing(refused)
        assert me.blocked == [(True, "the disk is nearly full")]
        call = me.put(b"x")
        assert (call.outcome, call.error) == (REFUSED, refused)
        late = bench.connect()
        assert late.blocked == me.blocked
        bench.broker.set_refusing(None)
        assert me.blocked[1:] == [(False, "the disk is nearly full")]
        assert me.put(b"x").outcome == DONE

    def test_refusals_keep_nothing_of_those_who_met_them(self, bench, me):
        me.declare()
        refused = Refused(Reason.LIMIT, "the disk is nearly full")
        bench.broker.set_refusing(refused)
        for _ in range(50):
            assert me.put(b"x").error is refused
        assert refused.__traceback__ is None

    def test_much_that_is_not_durable_yet(self):
        bench = Bench(settings=replace(SMALL, journal_unsorted_max=512 << 20))
        me = bench.connect()
        me.declare()
        reader = bench.connect()
        calls = [me.publish(bytes(1 << 20)) for _ in range(70)]
        assert me.blocked == [(True, "")]
        assert reader.blocked == []  # it publishes nothing
        bench.loop.run_until(lambda: all(call.outcome == DONE for call in calls), 600)
        bench.loop.run_until(lambda: me.blocked[-1] == (False, ""), 600)
        assert me.put(b"x").outcome == DONE


class TestManyBindings:
    """What is deleted with many bindings loses them over many turns of the loop."""

    COUNT = 3 * THINNED_AT_ONCE

    @pytest.fixture
    def me(self, bench):
        me = bench.connect()
        me.declare("q")
        me.declare("other")
        me.ask(r.DeclareExchange("x", "topic", durable=True))
        for number in range(self.COUNT):
            me.ask(r.Bind("x", "q", "queue", f"k{number}"))
        me.ask(r.Bind("x", "other", "queue", "k1"))
        return me

    def bindings(self, bench):
        return len(bench.catalogue.namespace("public/default").bindings)

    @pytest.mark.parametrize("request_", [r.DeleteExchange("x"), r.DeleteQueue("q")])
    def test_some_in_a_turn_and_all_in_the_end(self, bench, me, request_):
        call = me.submit(request_)
        assert call.outcome == PENDING
        assert self.bindings(bench) == self.COUNT + 1 - THINNED_AT_ONCE
        bench.run()
        assert call.outcome == DONE
        assert self.bindings(bench) == (1 if isinstance(request_, r.DeleteQueue) else 0)
        again = bench.reopen()
        assert self.bindings(again) == (1 if isinstance(request_, r.DeleteQueue) else 0)
        assert ("x" in again.catalogue.namespace("public/default").exchanges, again.exists("q")) == (
            (True, False) if isinstance(request_, r.DeleteQueue) else (False, True)
        )

    def test_a_binding_made_meanwhile_goes_too(self, bench, me):
        call = me.submit(r.DeleteExchange("x"))
        me.submit(r.Bind("x", "other", "queue", "late"), stream=2)
        bench.run()
        assert call.outcome == DONE
        assert self.bindings(bench) == 0

    def test_two_at_once(self, bench, me):
        calls = [me.submit(r.DeleteQueue("q"), stream=stream) for stream in (1, 2)]
        bench.run()
        assert [call.outcome for call in calls] == [DONE, DONE]
        assert not bench.exists("q")

    def test_a_crash_on_the_way_leaves_what_a_client_could_have_made(self, bench, me):
        me.submit(r.DeleteExchange("x"))
        bench.run(0)
        again = type(bench)(bench=bench)
        left = self.bindings(again)
        assert left == 0 or "x" in again.catalogue.namespace("public/default").exchanges

    def test_with_a_condition_it_is_done_at_once_or_not_at_all(self, bench, me):
        with pytest.raises(Refused):
            me.ask(r.DeleteExchange("x", if_unused=True))
        me.put(b"x")
        with pytest.raises(Refused):
            me.ask(r.DeleteQueue("q", if_empty=True))
        assert self.bindings(bench) == self.COUNT + 1

    def test_an_exchange_that_goes_with_its_last_binding(self, bench, me):
        me.ask(r.DeclareExchange("auto", "direct", auto_delete=True))
        for number in range(self.COUNT):
            me.ask(r.Bind("auto", "q", "queue", f"k{number}"))
        call = me.submit(r.DeleteQueue("q"))
        bench.run()
        assert call.outcome == DONE
        assert "auto" not in bench.catalogue.namespace("public/default").exchanges


@pytest.mark.parametrize("durable", [True, False])
def test_what_was_published_last_to_each_of_many_addresses_leaves_memory(bench, me, durable):
    """The cache is smaller than one of them."""
    me.declare("q", durable=durable)
    bind(me, "f", "fanout", ("q", ""))
    me.consume("c", "q", auto_settle=True)
    for number in range(50):
        me.put(bytes(100_000), exchange="f", key=f"{number}")
        bench.run(0.01)
    assert len(me.bodies()) == 50
    me.done.clear()
    bench.run()
    assert bytes_at_hand() < 500_000


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("way", ["consumer", "get"])
def test_what_was_read_last_of_each_of_many_queues_leaves_memory(bench, me, durable, way):
    bench.broker.hub.located_max_bytes = 300_000
    for number in range(50):
        me.declare(f"q{number}", durable=durable)
        if way == "consumer":
            me.consume("c", f"q{number}", auto_settle=True)
        me.put(bytes(100_000), key=f"q{number}")
        if way == "get":
            assert len(me.get(f"q{number}", auto_settle=True)[0]) == 100_000
        bench.run(0.01)
    assert way == "get" or len(me.bodies()) == 50
    me.done.clear()
    bench.run(3)
    assert bytes_at_hand() < 800_000


@pytest.mark.parametrize("durable", [True, False])
def test_what_was_read_of_a_queue_counts_once(bench, me, durable):
    """However much of it was read, and not any more once the queue is gone: else all let go of what they have at hand, again and again."""
    hub = bench.broker.hub
    me.declare("q", durable=durable)
    me.declare("other", durable=durable)
    for name in ("q", "other"):
        me.consume(name, name, auto_settle=True)
    counted = []
    for _ in range(20):
        me.put(bytes(10_000), key="q")
        bench.run(0.01)
        counted.append(hub.located_bytes)
    me.put(bytes(1000), key="other")
    bench.run(0.01)
    assert len(me.bodies("q")) == 20
    assert set(counted) == {counted[0]}
    assert 10_000 <= counted[0] < 11_000
    assert counted[0] + 1000 <= hub.located_bytes < counted[0] + 2000
    me.ask(r.DeleteQueue("q"))
    bench.run(0.01)
    assert 1000 <= hub.located_bytes < 2000
    hub.let_go()
    assert hub.located_bytes == 0
    me.put(bytes(500), key="other")
    bench.run(0.01)
    assert 500 <= hub.located_bytes < 1500


def test_what_is_half_read_is_found_again(bench, me):
    """Though every queue's place is given up with every turn."""
    bench.broker.hub.located_max_bytes = 0
    for name in ("a", "b"):
        me.declare(name)
        me.put(*[b"%d" % number for number in range(100)], key=name)
        me.consume(name, name, limit=3)
    bench.run()
    seen = {"a": [], "b": []}
    while len(seen["a"]) + len(seen["b"]) < 200:
        for name, bodies in seen.items():
            bodies += me.bodies(name)
            me.accept(name)
        bench.run(0.1)
    assert seen == {name: [b"%d" % number for number in range(100)] for name in "ab"}


def test_a_door_says_where_headers_say_the_way(bench, me):
    me.declare("q")
    me.declare("other")
    bind(me, "h", "headers")
    bind(me, "d", "direct", ("q", "k"))
    me.ask(r.Bind("h", "q", arguments={"x-match": "all", "a": 1}))
    ways = {("", "q"): False, ("d", "k"): False, ("d", "nowhere"): False, ("h", "k"): True, ("not there", ""): False}
    assert {way: me.door.by_headers(address_of(*way)) for way in ways} == ways
    me.ask(r.Bind("d", "h", "exchange", "k"))
    assert me.door.by_headers(address_of("d", "k"))
    assert not me.door.by_headers(address_of("d", "nowhere"))
