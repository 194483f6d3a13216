"""Publishes and settlements in one commit: all of them or none, whatever refuses one and whenever the power goes."""

import random
from dataclasses import replace

import pytest
from broker_bench import NS, SMALL, Bench, address_of, longstr_array, record_of, refused

from entrepot.broker.calls import requests as r
from entrepot.broker.calls.port import ACCEPT, DONE, PENDING, REFUSED, REJECT, RELEASE, UNAVAILABLE, make_settle
from entrepot.broker.calls.topic_requests import CreateTopic
from entrepot.broker.front.parting import Parting
from entrepot.broker.operations import together
from entrepot.broker.operations.together import WORK_MAX
from entrepot.broker.shard_moves import ShardMoves
from entrepot.model.errors import Reason, Refused


class LittleMemory(Bench):
    memory_size_max = 10_000


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
def me(bench):
    return bench.connect()


def settlement(me, disposition, name="c", index=0):
    _, consumer_id, offset = me.held[name][index]
    return make_settle(1, consumer_id, offset, 1, disposition)


def taken(bench, me, *bodies, queue="source"):
    """A consumer that holds these messages of a queue."""
    me.put(*bodies, key=queue)
    me.consume("c", queue)
    bench.run()
    assert me.bodies("c") == list(bodies)


def depths(bench, *names):
    return [bench.queue(name).depth() for name in names]


def test_all_of_it_is_done_when_it_is_complete(bench, me):
    for name in ("source", "durable", "other"):
        me.declare(name)
    me.declare("passing", durable=False)
    taken(bench, me, b"1", b"2", b"3")
    publishes = [me.run_of(b"a", b"b", key="durable"), me.run_of(b"c", key="passing"), me.run_of(b"d", key="other")]
    call = me.submit(r.CommitTogether(publishes, [settlement(me, ACCEPT, index=1), settlement(me, RELEASE, index=2)]))
    assert call.outcome == PENDING
    bench.run()
    assert call.outcome == DONE
    assert depths(bench, "durable", "passing", "other", "source") == [2, 1, 1, 0]
    assert me.deliveries("c") == [(b"3", True)]
    assert [me.get("durable", auto_settle=True)[0] for _ in range(2)] == [b"a", b"b"]


def test_it_is_one_commit_of_the_store(bench, me):
    for number in range(20):
        me.declare(f"q{number}")
    bench.run()
    before = bench.store.commit_count
    me.ask(r.CommitTogether([me.run_of(b"x" * 50_000, key=f"q{number % 20}") for number in range(200)], []))
    assert bench.store.commit_count == before + 1
    assert depths(bench, *(f"q{number}" for number in range(20))) == [10] * 20


@pytest.mark.parametrize("parts", ["nothing", "volatile", "settled"])
def test_it_completes_without_anything_durable_to_append(bench, me, parts):
    me.declare("source", durable=parts == "settled")
    if parts == "nothing":
        me.ask(r.CommitTogether([], []))
    elif parts == "volatile":
        me.ask(r.CommitTogether([me.run_of(b"x", key="source")], []))
        assert me.get("source")[0] == b"x"
    else:
        taken(bench, me, b"1")
        me.ask(r.CommitTogether([], [settlement(me, ACCEPT)]))
        assert bench.queue("source").subscription.leased_count == 0


def test_what_has_no_target_is_told_before(bench, me):
    me.declare("q")
    lost, kept, silent = me.run_of(b"x", key="nowhere", mandatory=True), me.run_of(b"y", mandatory=True), me.run_of(b"z", key="nowhere")
    call = me.submit(r.CommitTogether([lost, kept, silent], []))
    bench.run()
    assert (lost.unroutable, kept.unroutable) == (True, False)
    assert me.done.index(lost) < me.done.index(call)
    assert silent not in me.done


@pytest.mark.parametrize("choosy", [False, True])
def test_all_of_it_has_a_target_or_nothing_is_done(bench, me, choosy):
    me.declare("q", **({"x_overflow": "reject-publish"} if choosy else {}))
    gone = me.run_of(b"x", key="gone", mandatory=True)
    assert "no queue 'gone'" in refused(me.ask, r.CommitTogether([me.run_of(b"y", mandatory=True), gone], [], all_routed=True))
    assert depths(bench, "q") == [0]
    assert gone not in me.done
    me.ask(r.CommitTogether([me.run_of(b"y", mandatory=True), me.run_of(b"z", key="gone")], [], all_routed=True))
    assert depths(bench, "q") == [1]


def fill(bench, me):
    me.declare("full", x_max_length=3, x_overflow="reject-publish")
    me.put(b"1", b"2", key="full")


REFUSALS = {
    "an exchange that is gone": (lambda bench, me: [me.run_of(b"x", exchange="gone")], "no exchange 'gone'"),
    "a queue over its length": (lambda bench, me: [fill(bench, me), me.run_of(b"x", key="full"), me.run_of(b"y", key="full")][1:], "queue 'full'"),
    "a queue over its length, by a further key": (
        lambda bench, me: [fill(bench, me), me.run_of(b"x", b"y", key="kept", headers=[(b"CC", longstr_array(b"full"))])][1:],
        "queue 'full'",
    ),
    "too much work": (lambda bench, me: [me.run_of(b"", key="kept")] * (WORK_MAX + 1), "commit it sooner"),
}


@pytest.mark.parametrize("why", REFUSALS)
def test_what_is_refused_leaves_nothing_behind(bench, me, why):
    make, text = REFUSALS[why]
    me.declare("source")
    me.declare("kept")
    taken(bench, me, b"1")
    publishes = make(bench, me)
    before = depths(bench, *(name for name in ("kept", "full") if bench.exists(name)))
    assert text in refused(me.ask, r.CommitTogether([me.run_of(b"a", key="kept"), *publishes, me.run_of(b"b", key="kept")], [settlement(me, ACCEPT)]))
    assert depths(bench, *(name for name in ("kept", "full") if bench.exists(name))) == before
    assert bench.queue("source").subscription.leased_count == 1
    me.ask(r.CommitTogether([me.run_of(b"a", key="kept")], [settlement(me, ACCEPT)]))  # goes on as if nothing had been
    assert depths(bench, "kept") == [1]


def dear(me, patterns=400):
    """A topic exchange that has to look at very many nodes for every key."""
    me.ask(r.DeclareExchange("dear", "topic", False, True, False, False, {}))
    for number in range(patterns):
        me.ask(r.Bind("dear", "kept", "queue", "#." + "*." * 8 + f"{number}.#", {}))


def test_what_routing_costs_counts(bench, me, monkeypatch):
    me.declare("kept")
    dear(me)
    key = ".".join("x" * 120)
    me.door.spent = 0
    me.ask(r.CheckPublish(me.run_of(b"", exchange="dear", key=key).address))
    each = me.door.spent
    assert each > 5
    publishes = [me.run_of(b"x", exchange="dear", key=f"{number}.{key}") for number in range(20)]
    me.door.spent = 0
    monkeypatch.setattr(together, "WORK_MAX", 10 * each)
    assert "commit it sooner" in refused(me.ask, r.CommitTogether([*publishes, me.run_of(b"x", key="kept")], []))
    assert depths(bench, "kept") == [0]
    me.ask(r.CommitTogether(publishes[:5], []))  # known by now: no walk is due again


def test_a_commit_costs_its_connection_its_turn(bench, me):
    me.declare("source")
    taken(bench, me, b"1")
    me.door.spent = 0
    me.ask(r.CommitTogether([me.run_of(b"x", key="source") for _ in range(500)], [settlement(me, ACCEPT)]))
    assert me.door.spent >= 501


def test_as_many_as_fit_go_in(bench, me):
    fill(bench, me)
    me.ask(r.CommitTogether([me.run_of(b"x", key="full")], []))
    assert depths(bench, "full") == [3]


def test_a_full_disk_refuses_publishes_and_takes_settlements(bench, me):
    me.declare("source")
    taken(bench, me, b"1")
    bench.broker.set_refusing(Refused(Reason.LIMIT, "the disk is nearly full"))
    assert "nearly full" in refused(me.ask, r.CommitTogether([me.run_of(b"x", key="source")], [settlement(me, ACCEPT)]))
    assert bench.queue("source").subscription.leased_count == 1
    me.ask(r.CommitTogether([], [settlement(me, ACCEPT)]))
    assert bench.queue("source").subscription.leased_count == 0


def test_a_disk_that_fills_in_the_midst_of_it_does_not_cut_it_short():
    """With so much staged the store looks at the disk, and has its owner refuse publishes from then on."""
    bench = Bench(settings=replace(SMALL, staged_max=20_000))
    me = bench.connect()
    me.declare("q")
    call = me.submit(r.CommitTogether([me.run_of(bytes(1_000)) for _ in range(100)], []))
    bench.run()
    assert (call.outcome, bench.queue().depth()) == (DONE, 100)
    bench.disk.capacity = bench.disk.used + SMALL.reserve_size // 2
    call = me.submit(r.CommitTogether([me.run_of(bytes(1_000)) for _ in range(100)], []))
    bench.loop.run_until(lambda: bench.broker.refusing is not None)
    bench.run()
    assert (call.outcome, bench.queue().depth()) == (DONE, 200)
    assert "nearly full" in refused(me.ask, r.CommitTogether([me.run_of(b"x")], []))
    assert bench.queue().depth() == 200


def test_memory_that_is_full_refuses_all_of_it():
    bench = LittleMemory()
    me = bench.connect()
    me.declare("durable")
    me.declare("passing", durable=False)
    me.declare("filled", durable=False)
    while me.put(bytes(1_000), key="filled").outcome == DONE:
        pass
    both = [me.run_of(b"x", key="durable"), me.run_of(b"x", key="passing")]
    assert "no room" in refused(me.ask, r.CommitTogether(both, []))
    assert depths(bench, "durable", "passing") == [0, 0]
    me.ask(r.CommitTogether(both[:1], []))
    assert depths(bench, "durable") == [1]


def test_what_is_rejected_is_dead_lettered(bench, me):
    me.declare("dead")
    me.declare("source", x_dead_letter_exchange="", x_dead_letter_routing_key="dead")
    taken(bench, me, b"1", b"2")
    me.ask(r.CommitTogether([], [settlement(me, REJECT)]))
    bench.run()
    assert me.get("dead")[0] == b"1"
    assert bench.queue("source").subscription.leased_count == 1


def test_records_of_a_topic_are_not_rejected(bench, me):
    me.declare("topic", x_queue_type="stream")
    me.declare("kept")
    me.put(b"1", key="topic")
    me.consume("c", "topic", limit=10, start="first")
    bench.run()
    call = me.submit(r.CommitTogether([me.run_of(b"a", key="kept")], [settlement(me, REJECT)]))
    assert call.outcome == REFUSED
    assert call.error.reason is Reason.NOT_SUPPORTED
    assert depths(bench, "kept") == [0]
    me.ask(r.CommitTogether([], [settlement(me, ACCEPT)]))


def test_leases_that_are_named_are_released(bench, me):
    me.declare("source")
    taken(bench, me, b"1", b"2", b"3")
    held = me.held["c"]
    me.cancel("c")
    me.ask(r.Release([(consumer_id, offset, 1) for _, consumer_id, offset in (held[0], held[2])]))
    assert [me.get("source")[:2] for _ in range(2)] == [(b"1", True), (b"3", True)]
    assert bench.queue("source").subscription.leased_count == 3


@pytest.mark.parametrize("power", [True, False])
def test_after_a_crash_all_of_it_is_there_or_nothing(power):
    """The power goes (or the process ends) at any moment around the commit; what was answered is there."""
    seen = set()
    for seed in range(60):
        chance = random.Random(seed)
        bench = Bench(seed)
        me = bench.connect()
        names = [f"q{number}" for number in range(5)]
        for name in ("source", *names):
            me.declare(name)
        taken(bench, me, b"1", b"2", b"3")
        bench.run()
        publishes = [me.run_of(bytes(chance.choice((1, 5_000, 60_000))), key=name) for name in names * 3]
        call = me.submit(r.CommitTogether(publishes, [settlement(me, ACCEPT, index=index) for index in (0, 2)]))
        bench.loop.run_for(chance.uniform(0, 0.02))
        answered = call.outcome == DONE
        bench.loop.forget_all()
        if power:
            bench.disk.crash()
        else:
            bench.disk.kill()
        again = Bench(bench=bench, settings=bench.settings)
        found = depths(again, *names, "source")
        assert found in ([3] * 5 + [1], [0] * 5 + [3])
        assert not answered or found[0] == 3
        seen.add((answered, found[0]))
    assert {(True, 3), (False, 0)} <= seen


def away(bench, *, while_closed):
    """Close the shard of the queue "source", do that, and open it again."""
    moves, done = ShardMoves(bench.broker), []
    shard = bench.queue("source").log.shard
    moves.close(shard, lambda: done.append("closed"))
    bench.run()
    assert done == ["closed"]
    while_closed()
    bench.run()
    moves.open(shard, 2, lambda: done.append("open"))
    bench.run()
    assert done == ["closed", "open"]


def test_what_is_recovered_while_its_queue_is_away_is_ready_again_and_not_lost(bench, me):
    me.declare("source")
    taken(bench, me, b"1", b"2")
    _, consumer_id, first = me.held["c"][0]
    away(bench, while_closed=lambda: me.submit(r.Release([(consumer_id, first, 2)])))
    assert me.deliveries("c")[-2:] == [(b"1", True), (b"2", True)]


def test_a_transaction_is_unavailable_while_a_queue_that_it_settles_is_away(bench, me):
    me.declare("source")
    me.declare("target")
    taken(bench, me, b"1")
    calls = []
    publish = me.run_of(b"a", key="target")
    away(bench, while_closed=lambda: calls.append(me.submit(r.CommitTogether([publish], [settlement(me, ACCEPT)]))))
    assert calls[0].outcome == UNAVAILABLE
    assert depths(bench, "target") == [0]
    assert bench.queue("source").subscription.leased_count == 1


def to_a_queue_by_headers(me, name):
    me.ask(r.DeclareExchange("match", "headers", durable=True))
    me.ask(r.Bind("match", name, arguments={"x-match": "any", "colour": "red"}))
    return me.run_of(b"b", exchange="match", key="", headers=[(b"colour", b"S\0\0\0\3red")])


def by_a_further_key(me, name):
    return me.run_of(b"b", key="target", headers=[(b"CC", longstr_array(name.encode()))])


def test_a_run_that_is_long_to_route_is_given_up_in_its_middle(bench, me, monkeypatch):
    """However many messages one run has: what is refused has not cost much more than may be."""
    me.declare("target")
    me.ask(r.DeclareExchange("match", "headers", durable=True))
    for number in range(200):
        me.ask(r.Bind("match", "target", arguments={"x-match": "any", "colour": "red", "number": number}))
    run = me.run_of(exchange="match", key="")
    run.data = b"".join(record_of(b"b", None, [(b"colour", b"S\0\0\0\3red"), (b"other", b"I" + number.to_bytes(4, "big"))]) for number in range(1000))
    run.count, run.body_bytes = 1000, 1000
    looked, targets = [], Parting._targets
    monkeypatch.setattr(Parting, "_targets", lambda *words: (looked.append(1), targets(*words))[1])
    call = me.submit(r.CommitTogether([run], []))
    bench.run()
    assert (call.outcome, call.error.reason) == (REFUSED, Reason.LIMIT)
    assert 1 < len(looked) < 500
    assert depths(bench, "target") == [0]


@pytest.mark.parametrize("in_transaction", [True, False])
def test_what_routing_cost_one_is_not_charged_to_another(bench, me, monkeypatch, in_transaction):
    """All connections of a namespace ask one router."""
    other = bench.connect()
    me.declare("target")
    me.ask(r.DeclareExchange("match", "headers", durable=True))
    for number in range(200):
        me.ask(r.Bind("match", "target", arguments={"x-match": "any", "colour": "red", "number": number}))
    other.ask(r.CheckPublish(address_of("", "target")))
    run = me.run_of(*[b"b"] * 50, exchange="match", key="", headers=[(b"colour", b"S\0\0\0\3red")])
    if in_transaction:
        call = me.submit(r.CommitTogether([run], []))
    else:
        run = me.run_of(*[b"b"] * 50, key="nowhere", exchange="match", headers=[(b"CC", longstr_array(*[b"%d" % number for number in range(50)]))])
        call = run
        call.mandatory = True
        me.door.submit(call)
    bench.run()
    assert call.outcome == DONE
    monkeypatch.setattr(together, "WORK_MAX", 10)
    call = other.submit(r.CommitTogether([other.run_of(b"x", key="target")], []))
    bench.run()
    assert call.outcome == DONE


def test_further_routing_keys_cost_whoever_names_them(bench, me):
    for number in range(20):
        me.declare(f"q{number}")
        me.ask(r.Bind("amq.fanout", f"q{number}"))
    me.door.spent = 0
    me.put(*[b"b"] * 50, exchange="amq.fanout", key="", headers=[(b"CC", longstr_array(b"z"))])
    assert me.door.spent >= 50 * 20 // 2


@pytest.mark.parametrize("further", [to_a_queue_by_headers, by_a_further_key])
def test_nothing_of_it_is_done_while_a_queue_that_some_record_goes_to_is_away(bench, me, further):
    me.declare("source")
    me.declare("target")
    publishes = [me.run_of(b"a", key="target"), further(me, "source")]
    calls = []
    away(bench, while_closed=lambda: calls.append(me.submit(r.CommitTogether(publishes, []))))
    assert calls[0].outcome == UNAVAILABLE
    assert depths(bench, "source", "target") == [0, 0]


def test_nothing_of_it_is_done_while_a_partition_that_a_record_may_go_to_is_away(bench, me):
    me.declare("target")
    me.ask(CreateTopic("t", 4, {}))
    publishes = [me.run_of(b"a", key="target"), me.run_of(b"b", exchange="amq.topic", key="t")]
    done = []
    shards = {log.shard for log in bench.catalogue.namespace(NS).topics["t"].runtime.logs} - {bench.queue("target").log.shard}
    ShardMoves(bench.broker).close(shards.pop(), lambda: done.append(True))
    bench.run()
    assert done
    for _ in range(4):  # whoever's turn it is
        call = me.submit(r.CommitTogether(publishes, []))
        bench.run()
        assert call.outcome == UNAVAILABLE
    assert depths(bench, "target") == [0]


def test_a_transaction_is_unavailable_before_a_queue_that_it_settles_is_back(bench, me):
    me.declare("source")
    me.declare("target")
    taken(bench, me, b"1")
    moves = ShardMoves(bench.broker)
    shard = bench.queue("source").log.shard
    moves.close(shard, lambda: None)
    bench.run()
    moves.open(shard, 2, lambda: None)  # its store has it; the queue is not there before a later turn
    call = me.submit(r.CommitTogether([me.run_of(b"a", key="target")], [settlement(me, ACCEPT)]))
    bench.run()
    assert call.outcome == UNAVAILABLE
    assert depths(bench, "target") == [0]
    assert bench.queue("source").subscription.leased_count == 1


def test_there_must_be_room_for_what_is_sorted_by_record():
    bench = LittleMemory()
    me = bench.connect()
    me.declare("target")
    me.declare("passing", durable=False)
    publish = to_a_queue_by_headers(me, "passing")
    while not bench.volatile.is_full():
        me.publish(b"x" * 1000, key="passing", confirm=False)
        bench.run(1e-6)
    with pytest.raises(Refused, match="no room"):
        me.ask(r.CommitTogether([me.run_of(b"a", key="target"), publish], []))
    assert depths(bench, "target") == [0]
