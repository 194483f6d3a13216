"""Publishes whose records fare differently: a run of many is worth as many publishes of one."""

from itertools import pairwise

import pytest
from broker_bench import CODEC, Bench, address_of, record_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from both_modes import examples
from entrepot.broker.calls import requests as r
from entrepot.broker.calls.port import DONE, PENDING, REFUSED, make_publish
from entrepot.broker.calls.topic_requests import CreateTopic
from entrepot.broker.logs.entry_codec import EntryCodec


def longstr(text):
    return b"S" + len(text).to_bytes(4, "big") + text


def publish(me, records, exchange="", key="", count=1):
    """One run; its call, complete."""
    data = b"".join(records)
    call = make_publish(1, address_of(exchange, key), CODEC.tag, 1, 0, data, len(records), CODEC.body_bytes(data, 0, len(records)))
    call.confirm = call.mandatory = True
    me.door.submit(call)
    me.bench.loop.run_until(lambda: call.outcome != PENDING, 60)
    return call


def fates(me, records, whole, **where):
    """(indices that came back, indices that were refused)."""
    calls = [publish(me, records, **where)] if whole else [publish(me, [record], **where) for record in records]
    back, refused, at = [], [], 0
    for call in calls:
        back += range(at, at + call.count) if call.unroutable else [at + index for index in call.returned or ()]
        refused += [at + index for index in call.nacked or ()]
        at += call.count
    return back, refused


def contents(me, names):
    for name in names:
        me.consume(name, name, auto_settle=True)
    me.bench.run()
    return {name: me.bodies(name) for name in names}


RECORDS = st.lists(st.tuples(st.sampled_from([None, b"1", b"2", b"both", b"none"]), st.integers(0, 40)), min_size=1, max_size=40)


def packed(records, name=b"n"):
    return [
        record_of(b"%03d" % number + bytes(size), headers=None if value is None else [(name, longstr(value))]) for number, (value, size) in enumerate(records)
    ]


@given(records=RECORDS, overlapping=st.booleans(), limits=st.tuples(st.integers(0, 30), st.integers(0, 600)))
@settings(max_examples=examples(30), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_headers_and_limits_in_a_run_as_one_by_one(records, overlapping, limits):
    outcomes = []
    for whole in (True, False):
        bench = Bench()
        me = bench.connect()
        me.declare("dead")
        me.declare("a", x_overflow="reject-publish", x_max_length=limits[0])
        me.declare("b", x_overflow="reject-publish-dlx", x_max_length_bytes=limits[1], x_dead_letter_exchange="", x_dead_letter_routing_key="dead")
        me.declare("c", durable=False)
        me.ask(r.DeclareExchange("h", "headers"))
        for queue, values in (("a", ("1", "both")), ("b", ("2", "both")), ("c", ("1", "2") if overlapping else ("both",))):
            for value in values if overlapping or queue == "c" else values[:1]:
                me.ask(r.Bind("h", queue, "queue", "", {"x-match": "all", "n": value}))
        outcomes.append((fates(me, packed(records), whole, exchange="h"), contents(me, ("a", "b", "c", "dead"))))
    assert outcomes[0] == outcomes[1]


@given(sizes=st.lists(st.integers(0, 40), min_size=1, max_size=40), limits=st.tuples(st.integers(-1, 30), st.integers(-1, 600)))
@settings(max_examples=examples(30), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_limits_of_neighbours_in_a_run_as_one_by_one(sizes, limits):
    outcomes = []
    for whole in (True, False):
        me = Bench().connect()
        arguments = {name: limit for name, limit in zip(("x_max_length", "x_max_length_bytes"), limits, strict=True) if limit >= 0}
        me.declare("a", x_overflow="reject-publish", **arguments)
        me.declare("b", x_overflow="reject-publish", x_max_length_bytes=300)
        me.declare("c")
        me.ask(r.DeclareExchange("f", "fanout"))
        for queue in "abc":
            me.ask(r.Bind("f", queue))
        outcomes.append((fates(me, packed([(None, size) for size in sizes]), whole, exchange="f"), contents(me, "abc")))
    assert outcomes[0] == outcomes[1]


@given(records=st.lists(st.tuples(st.sampled_from([None, b"1", b"2", b"both", b""]), st.integers(0, 5)), min_size=1, max_size=40))
@settings(max_examples=examples(30), deadline=None)
def test_the_partitions_of_a_run(records):
    data = b"".join(packed(records, b"x-key"))
    runs = CODEC.by_partition(data, len(records), 4, 3)
    assert sorted(runs) == sorted(EntryCodec.by_partition(CODEC, data, len(records), 4, 3))
    assert sum(count for _, _, count in runs) == len(records)


@given(records=RECORDS, position=st.integers(0, 40), limit=st.integers(-1, 400))
@settings(max_examples=examples(50), deadline=None)
def test_counts_of_a_run(records, position, limit):
    parts = packed(records)
    data = b"".join(parts)
    position = min(position, len(parts) - 1)
    left = len(parts) - position
    at = CODEC.skip(data, 0, position)
    for name in ("fitting_count", "larger_count"):
        assert getattr(CODEC, name)(data, at, left, limit) == getattr(EntryCodec, name)(CODEC, data, at, left, limit)
    runs = CODEC.header_runs(data, len(parts))
    assert b"".join(data[first:end] for _, first, end, _ in runs) == data
    assert sum(count for *_, count in runs) == len(parts)
    for table, first, _, count in runs:
        headers = [CODEC.headers(record, 0) for record in CODEC.split(data, first, count)]
        assert headers == [headers[0]] * count
        assert bool(table) == bool(headers[0])
    assert all(one[0] != other[0] for one, other in pairwise(runs))


def test_a_run_for_one_partition_is_not_copied():
    data = b"".join(packed([(b"1", 3)] * 5, b"x-key"))
    ((_, records, count),) = CODEC.by_partition(data, 5, 10, 0)
    assert records is data
    assert count == 5


def test_a_group_is_one_entry():
    """Records for two queues in turn: two entries, not one each."""
    me = Bench().connect()
    for name in ("odd", "even"):
        me.declare(name)
    me.ask(r.DeclareExchange("h", "headers"))
    for name in ("odd", "even"):
        me.ask(r.Bind("h", name, "queue", "", {"x-match": "all", "n": name}))
    publish(me, packed([(b"odd", 1), (b"even", 1)] * 20), exchange="h")
    for name in ("odd", "even"):
        assert me.bench.queue(name).log.reader().at(0).entry.count == 20
    assert contents(me, ("odd", "even")) == {
        "odd": [b"%03d\0" % number for number in range(0, 40, 2)],
        "even": [b"%03d\0" % number for number in range(1, 40, 2)],
    }


@pytest.mark.parametrize("whole", [True, False])
def test_a_queue_and_a_topic_of_several_partitions(whole):
    bench = Bench()
    me = bench.connect()
    me.declare("q", x_overflow="reject-publish", x_max_length=3)
    me.ask(CreateTopic("t", 3))
    me.ask(r.DeclareExchange("f", "fanout"))
    me.ask(r.Bind("f", "q"))
    me.ask(r.Bind("f", "t"))
    assert fates(me, packed([(b"%d" % (number % 5), 0) for number in range(10)], b"x-key"), whole, exchange="f") == ([], list(range(3, 10)))
    assert len(contents(me, ("q",))["q"]) == 3
    logs = bench.catalogue.namespace("public/default").topics["t"].runtime.logs
    assert sum(log.durable_offset for log in logs) == 10
    assert sum(1 for log in logs if log.durable_offset) > 1


def test_runs_without_keys_go_to_the_partitions_in_turn():
    bench = Bench()
    me = bench.connect()
    me.ask(CreateTopic("t", 3))
    logs = bench.catalogue.namespace("public/default").topics["t"].runtime.logs
    for number in range(1, 4):
        for _ in range(3):
            publish(me, [record_of(b"x"), record_of(b"y")], key="t")
        assert [log.durable_offset for log in logs] == [2 * number] * 3


@pytest.mark.parametrize("name", ["stream", "queue"])
def test_what_is_declared_is_counted_where_it_is(name):
    bench = Bench()
    me = bench.connect()
    me.declare("queue")
    me.declare("stream", x_queue_type="stream") if name == "stream" else None
    me.put(b"a", b"b", b"c", key=name)
    me.consume("reader", name, limit=1, start="first")
    bench.run()
    assert me.declare(name, passive=True) == (name, 3 if name == "stream" else 2, 1)


class LittleMemory(Bench):
    memory_size_max = 20_000


def nearly_full(bench, me):
    """One record more, and memory has no room."""
    me.declare("fill", durable=False)
    while bench.volatile.memory_bytes < 38_000:
        me.publish(b"x" * 1000, key="fill", confirm=False)
        bench.run(1e-6)
    bench.run()
    assert not bench.volatile.is_full()


def test_what_memory_has_room_for_in_part_is_taken_whole():
    """Refused would say that nothing of it was."""
    bench = LittleMemory()
    me = bench.connect()
    me.ask(r.DeclareExchange("match", "headers", durable=True))
    for colour in ("red", "blue"):
        me.declare(colour, durable=False)
        me.ask(r.Bind("match", colour, arguments={"x-match": "any", "colour": colour}))
    nearly_full(bench, me)
    records = b"".join(record_of(b"x" * 5000, None, [(b"colour", b"S" + len(colour).to_bytes(4, "big") + colour)]) for colour in (b"red", b"blue", b"red"))
    call = make_publish(1, address_of("match", ""), CODEC.tag, 1, 0, records, 3, 15_000)
    call.confirm = True
    me.door.submit(call)
    bench.run()
    assert (call.outcome, bench.queue("red").depth(), bench.queue("blue").depth()) == (DONE, 2, 1)
    assert me.put(b"x", exchange="match", key="", headers=[(b"colour", b"S\0\0\0\3red")]).outcome == REFUSED


def test_so_is_what_a_queue_refuses_in_part():
    bench = LittleMemory()
    me = bench.connect()
    for name, limit in (("few", 1), ("some", 2)):
        me.declare(name, durable=False, x_max_length=limit, x_overflow="reject-publish")
        me.ask(r.Bind("amq.fanout", name))
    nearly_full(bench, me)
    call = me.put(*[b"x" * 5000] * 3, exchange="amq.fanout", key="")
    bench.run()
    assert (call.outcome, call.nacked) == (DONE, [1, 2])
    assert (bench.queue("few").depth(), bench.queue("some").depth()) == (1, 2)
