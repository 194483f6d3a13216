"""Shared subscriptions: one queue for several sessions, there as long as a queue is a member."""

import pytest
from broker_bench import NS, Bench, refused

from entrepot.broker.calls import requests as r
from entrepot.broker.calls.shared_requests import JoinShared, LeaveShared

NAME = "share.g/a/#"


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
def me(bench):
    return bench.connect()


def member(bench, name, kept=False, **how):
    """A session whose queue is a member, and which consumes with that name."""
    one = bench.connect()
    one.declare(name, durable=kept, exclusive=not kept)
    one.ask(JoinShared(NAME, "a.#", name, **how))
    one.consume(name, NAME, limit=10)
    return one


def is_there(bench):
    space = bench.catalogue.namespace(NS)
    there = NAME in space.queues
    assert (NAME in space.exchanges) == there
    assert there or not [binding for binding in space.bindings.values() if NAME in (binding.source.name, binding.destination.name)]
    return there


def test_each_record_goes_to_one(bench, me):
    one, two = member(bench, "one"), member(bench, "two")
    for number in range(20):
        me.put(b"%d" % number, exchange="amq.topic", key="a.b")
    me.put(b"x", exchange="amq.topic", key="b")
    bench.run()
    got = one.bodies("one") + two.bodies("two")
    assert sorted(got, key=int) == [b"%d" % number for number in range(20)]


def test_what_one_has_not_settled_goes_to_another(bench, me):
    one = member(bench, "one")
    me.put(b"1", b"2", exchange="amq.topic", key="a")
    bench.run()
    one.accept("one", 1)
    two = member(bench, "two")
    one.close()
    bench.run()
    assert two.deliveries("two") == [(b"2", True)]


@pytest.mark.parametrize("how", ["leaves", "is deleted", "ends"])
def test_it_goes_with_its_last_member(bench, me, how):
    members = [member(bench, name) for name in ("one", "two")]
    me.put(b"1", exchange="amq.topic", key="a")
    for number, (name, one) in enumerate(zip(("one", "two"), members, strict=True)):
        assert is_there(bench)
        if how == "leaves":
            one.ask(LeaveShared(NAME, name))
            one.ask(LeaveShared(NAME, name))
        elif how == "is deleted":
            one.ask(r.DeleteQueue(name))
        else:
            one.close()
        bench.run()
        assert is_there(bench) == (number == 0)
    member(bench, "three")
    assert is_there(bench)


def test_who_consumed_from_it_is_told(bench):
    one = member(bench, "one")
    one.ask(LeaveShared(NAME, "one"))
    bench.run()
    assert one.ended == ["one"]


def test_a_member_that_is_kept_keeps_it(bench, me):
    one = member(bench, "kept", kept=True)
    member(bench, "gone")
    one.close()
    me.put(b"1", exchange="amq.topic", key="a")
    bench = bench.start_again()
    assert is_there(bench)
    one = bench.connect()
    one.consume("c", NAME)
    bench.run()
    assert one.bodies() == [b"1"]
    one.ask(r.DeleteQueue("kept"))
    assert not is_there(bench)


def test_after_a_restart_there_is_none_without_members(bench, me):
    member(bench, "one")
    me.put(b"1", exchange="amq.topic", key="a")
    assert is_there(bench)
    bench = bench.start_again()
    bench.run()
    assert not is_there(bench)
    assert not is_there(bench.start_again())


def test_joining_again_replaces_what_was_said(bench):
    one = member(bench, "one", arguments={"x": 1})
    one.ask(JoinShared(NAME, "a.#", "one", {"x": 2}))
    one.ask(JoinShared(NAME, "a.#", "one", {"x": 2}))
    (binding,) = bench.catalogue.namespace(NS).exchanges[NAME].bindings_out.values()
    assert (binding.routing_key, binding.arguments) == ("a.#", {"x": 2})


def test_its_queue_is_as_its_first_member_says(bench, me):
    member(bench, "one", queue_arguments={"x-max-length": 2})
    member(bench, "two", queue_arguments={"x-max-length": 3})
    assert bench.catalogue.namespace(NS).queues[NAME].policy.max_length == 2


def test_names_that_are_something_else(bench, me):
    me.declare("one", exclusive=True, durable=False)
    me.declare(NAME)
    assert "no shared subscription" in refused(me.ask, JoinShared(NAME, "a", "one"))
    me.ask(r.DeclareExchange("e", "direct"))
    assert "no shared subscription" in refused(me.ask, JoinShared("e", "a", "one"))
    me.ask(LeaveShared("e", "one"))
    assert "maximum of 255" in refused(me.ask, JoinShared("x" * 256, "a", "one"))
    assert "no queue" in refused(me.ask, JoinShared("g", "a", "nobody"))
    assert "no exchange" in refused(me.ask, JoinShared("g", "a", "one", exchange="nowhere"))
    assert "g" not in bench.catalogue.namespace(NS).exchanges
    assert "g" not in bench.catalogue.namespace(NS).queues
    assert not bench.catalogue.namespace(NS).queues["one"].bindings_in


def test_anothers_queue_is_no_member(bench, me):
    bench.connect().declare("one", exclusive=True, durable=False)
    assert "exclusive" in refused(me.ask, JoinShared(NAME, "a", "one"))
    assert not is_there(bench)


def test_a_deleted_queue_is_made_again_by_who_joins(bench, me):
    member(bench, "one")
    me.ask(r.DeleteQueue(NAME))
    assert NAME in bench.catalogue.namespace(NS).exchanges
    member(bench, "two")
    assert is_there(bench)
