"""Dead letters whose targets are not open here: by intents, once each, in order."""

import pytest
from away_bench import AwayBench
from broker_bench import longstr_array, table_of
from test_publisher import bind

from entrepot.broker.calls import requests as r
from entrepot.broker.calls.port import DONE, UNAVAILABLE
from entrepot.broker.calls.topic_requests import CreateTopic
from entrepot.broker.catalogue.shards import HOME
from entrepot.broker.outbox import outbox as outbox_module
from entrepot.broker.queue import dead_letters as dead_letters_module
from entrepot.broker.queue.away import AwayQueue
from entrepot.broker.subscription.consumer import BROKER_ID


@pytest.fixture
def bench():
    return AwayBench()


@pytest.fixture
def me(bench):
    me = bench.connect()
    me.declare("grave")
    return me


def held_by_broker(bench, name="q"):
    return bench.queue(name).subscription.held_count(BROKER_ID)


def source(me, name="q", **arguments):
    me.declare(name, x_dead_letter_exchange="", x_dead_letter_routing_key="grave", **arguments)


def reject(me, bench, *bodies, name="c"):
    """Publish, take and reject."""
    me.put(*bodies)
    bench.run()
    me.reject(name)
    bench.run()


def rejected(bench, me):
    source(me)
    me.consume(limit=2)
    me.put(b"a", b"b")
    bench.run()
    me.reject()


def expired(bench, me):
    source(me, x_message_ttl=100)
    me.put(b"a", b"b")
    bench.run(0.2)


def over_the_length(bench, me):
    source(me, x_max_length=1)
    me.put(b"a", b"b", b"c")


def delivered_too_often(bench, me):
    source(me, x_queue_type="quorum", x_delivery_limit=1)
    me.consume(limit=2)
    me.put(b"a", b"b")
    for _ in range(2):
        bench.run()
        me.release()


WAYS = {"rejected": rejected, "expired": expired, "maxlen": over_the_length, "delivery_limit": delivered_too_often}


@pytest.mark.parametrize("reason", WAYS)
def test_where_all_is_here_nothing_is_noted(bench, me, reason):
    WAYS[reason](bench, me)
    bench.run()
    assert bench.bodies("grave") == [b"a", b"b"]
    assert bench.figure("intents_total") == bench.figure("handovers_sent_total") == 0


@pytest.mark.parametrize("reason", WAYS)
def test_they_wait_as_intents_and_arrive_once(bench, me, reason):
    bench.close_shard_of("grave")
    WAYS[reason](bench, me)
    bench.run()
    assert (bench.figure("intents"), held_by_broker(bench), bench.figure("dead_lettered_total")) == (1, 2, 0)
    assert bench.queue().burying == 0
    bench.open_shard_of("grave")
    bench.run()
    assert bench.bodies("grave") == [b"a", b"b"]
    assert bench.bodies("q") == ([b"c"] if reason == "maxlen" else [])
    assert (bench.figure("intents"), bench.figure("intent_bytes"), bench.figure("dead_lettered_total")) == (0, 0, 2)
    me.consume("d", "grave")
    bench.run()
    (death,) = table_of(me.headers[-1][1]["x-death"])
    assert (death["queue"], death["reason"], death["count"]) == ("q", reason, 1)
    (frame,) = bench.frames.sent
    assert (frame.source, frame.target, frame.sequence, frame.first_waited, frame.count) == (bench.shard("q"), bench.shard("grave"), 1, 1, 2)


def test_who_rejected_has_its_credit_back(bench, me):
    bench.close_shard_of("grave")
    source(me)
    me.consume(limit=1)
    me.put(b"a", b"b", b"c")
    for _ in range(3):
        bench.run()
        assert len(me.reject()) == 1
    bench.run()
    assert bench.figure("intents") == 3
    me.close()
    bench.run()
    assert (held_by_broker(bench), bench.queue().subscription.ready_count) == (3, 0)


def test_one_intent_for_all_targets_of_a_route(bench, me):
    for name in ("here", "away", "fleeting"):
        me.declare(name, durable=name != "fleeting")
    bind(me, "graves", "fanout", ("here", ""), ("away", ""), ("fleeting", ""))
    me.declare("q", x_dead_letter_exchange="graves")
    me.consume()
    bench.close_shard_of("away")
    reject(me, bench, b"a", b"b")
    assert bench.figure("intents") == 1
    assert (bench.bodies("here"), bench.bodies("fleeting")) == ([b"a", b"b"], [b"a", b"b"])
    assert held_by_broker(bench) == 2
    bench.open_shard_of("away")
    bench.run()
    assert bench.bodies("away") == bench.bodies("here") == bench.bodies("fleeting") == [b"a", b"b"]
    assert (bench.figure("intents"), bench.bodies("q")) == (0, [])
    assert bench.figure("dead_lettered_total") == 2


def test_nothing_overtakes_what_is_on_its_way(bench, me):
    source(me)
    me.consume()
    bench.close_shard_of("grave")
    reject(me, bench, b"a")
    queue = bench.queue()
    bench.broker.shard_moves.open(bench.shard("grave"), bench.store.epoch, lambda: None)
    bench.loop.run_until(lambda: not bench.store.closed)
    assert bench.figure("intents") == 1
    outbox = bench.broker.outbox
    outbox.owners.is_open = lambda _: False  # it is not answered yet
    me.put(b"b")
    bench.loop.run_until(lambda: bool(me.held.get("c")))
    outbox.opened(bench.shard("grave"))
    me.reject()
    bench.run()
    assert bench.figure("intents_total") == 2  # though its target is open
    del outbox.owners.is_open
    outbox.opened(bench.shard("grave"))
    bench.run()
    assert bench.bodies("grave") == [b"a", b"b"]
    assert queue.subscription.leased_count == 0
    reject(me, bench, b"c")
    assert bench.bodies("grave") == [b"a", b"b", b"c"]
    assert bench.figure("intents_total") == 2  # in one commit again


def test_with_as_many_as_there_may_be_the_rest_waits(bench, me, monkeypatch):
    monkeypatch.setattr(outbox_module, "INTENTS_MAX", 2)
    source(me)
    me.consume()
    bench.close_shard_of("grave")
    for body in (b"a", b"b", b"c", b"d"):
        reject(me, bench, body)
    assert (bench.figure("intents"), held_by_broker(bench)) == (2, 2)
    assert bench.figure("intents_full_total") > 0
    assert bench.queue().subscription.leased_count == 4
    bench.open_shard_of("grave")
    bench.run(3)
    assert bench.bodies("grave") == [b"a", b"b", b"c", b"d"]
    assert bench.queue().subscription.leased_count == 0


def test_all_of_them_have_so_much_room(bench, me, monkeypatch):
    monkeypatch.setattr(outbox_module, "BYTES_MAX", 1)
    source(me)
    source(me, "q2")
    me.consume()
    me.consume("c2", "q2")
    bench.close_shard_of("grave")
    reject(me, bench, b"a")
    assert bench.figure("intent_bytes") > 1
    me.put(b"b", key="q2")
    bench.run()
    me.reject("c2")
    bench.run()
    assert bench.figure("intents") == 1
    bench.open_shard_of("grave")
    bench.run(3)
    assert bench.bodies("grave") == [b"a", b"b"]


def test_they_go_by_turns(bench, me):
    source(me, x_max_length=0)
    bench.close_shard_of("grave")
    for _ in range(40):
        me.put(*[b"x"] * 64)  # as many as an entry holds here
    bench.run()
    assert bench.figure("intents") >= 40
    ticks = []
    hand_over = bench.frames.hand_over
    bench.frames.hand_over = lambda handover: (ticks.append(bench.loop.steps), hand_over(handover))
    bench.open_shard_of("grave")
    bench.run(5)
    assert len(bench.bodies("grave")) == 40 * 64
    assert max(ticks.count(tick) for tick in ticks) * 64 <= outbox_module.RECORDS_PER_TICK


def test_the_source_moves_meanwhile(bench, me):
    source(me)
    me.consume()
    bench.close_shard_of("grave")
    reject(me, bench, b"a")
    bench.close_shard_of("q")
    assert bench.figure("intents") == 0
    bench.open_shard_of("q")
    assert (bench.figure("intents"), held_by_broker(bench)) == (1, 1)
    me.put(b"b")
    bench.run()
    assert me.bodies() == [b"a", b"b"]  # that is, "a" came before it was rejected, and not again
    bench.open_shard_of("grave")
    bench.run()
    assert (bench.bodies("grave"), bench.bodies("q")) == ([b"a"], [b"b"])


def test_a_source_with_many_opens_by_turns(bench, me):
    source(me)
    me.consume()
    bench.close_shard_of("grave")
    for body in (b"a", b"b", b"c"):
        reject(me, bench, body)
    bench.close_shard_of("q")
    bench.broker.outbox.loaded_per_tick = 1
    turns = 0
    opened = []
    bench.broker.shard_moves.open(bench.shard("q"), bench.store.epoch, lambda: opened.append(True))
    while not opened:
        bench.loop.step()
        turns += 1
        assert isinstance(bench.queue(), AwayQueue) == (not opened)  # nobody is given anything before all is known
    assert turns > 3
    assert held_by_broker(bench) == 3
    bench.open_shard_of("grave")
    bench.run()
    assert bench.bodies("grave") == [b"a", b"b", b"c"]


def test_what_is_published_while_a_shard_opens_by_turns_is_taken_nowhere(bench, me):
    source(me)
    me.declare("passing", durable=False)
    me.ask(r.DeclareExchange("h", "headers"))
    for name in ("q", "passing"):
        me.ask(r.Bind("h", name, "queue", "", {"x-match": "all", "to": "both"}))
    me.consume()
    bench.close_shard_of("grave")
    for body in (b"a", b"b", b"c"):
        reject(me, bench, body)
    bench.close_shard_of("q")
    bench.broker.outbox.loaded_per_tick = 1
    opened = []
    bench.broker.shard_moves.open(bench.shard("q"), bench.store.epoch, lambda: opened.append(True))
    bench.loop.run_until(lambda: bench.shard("q") not in bench.store.closed)
    assert not opened
    to_both = {"exchange": "h", "headers": [(b"to", b"S\0\0\0\x04both")]}
    assert me.put(b"x", **to_both).outcome == UNAVAILABLE
    assert bench.queue("passing").depth() == 0
    bench.loop.run_until(lambda: bool(opened), 60)
    assert me.put(b"x", **to_both).outcome == DONE
    assert bench.queue("passing").depth() == 1


def test_between_the_opening_of_a_shard_and_of_its_queues_nobody_is_gone(bench, me):
    source(me)
    me.consume()
    bench.close_shard_of("grave")
    reject(me, bench, b"a")
    bench.broker.shard_moves.open(bench.shard("grave"), bench.store.epoch, lambda: None)
    bench.broker.outbox.opened(bench.shard("grave"))
    bench.run()
    assert (bench.bodies("grave"), bench.figure("handovers_gone_total")) == ([b"a"], 0)


def in_shard(bench, shard, *but):
    """A queue's name."""
    names = (f"other{number}" for number in range(10_000))
    return next(name for name in names if bench.broker.shards.shard("queue", "public/default", name) == shard and name not in but)


def test_to_a_shard_that_is_about_to_be_open_it_goes_when_it_is(bench, me):
    source(me)
    me.consume()
    other = in_shard(bench, bench.shard("grave"))
    me.declare("elsewhere")
    me.declare(other, x_dead_letter_exchange="", x_dead_letter_routing_key="elsewhere")
    me.consume("o", other)
    bench.close_shard_of("elsewhere")
    for body in (b"1", b"2", b"3"):
        me.put(body, key=other)
        bench.run()
        me.reject("o")
        bench.run()
    bench.close_shard_of("grave")
    reject(me, bench, b"a")
    bench.broker.outbox.loaded_per_tick = 1
    bench.broker.shard_moves.open(bench.shard("grave"), bench.store.epoch, lambda: None)
    bench.loop.run_until(lambda: bool(bench.broker.outbox.loading))
    reject(me, bench, b"b")
    bench.run()
    assert bench.bodies("grave") == [b"a", b"b"]
    assert bench.figure("handovers_gone_total") == 0


def test_a_repeat_is_answered_and_not_appended(bench, me):
    source(me)
    me.consume()
    bench.close_shard_of("grave")
    reject(me, bench, b"a")
    bench.broker.inbox.answer = lambda _: None  # answers are lost
    bench.open_shard_of("grave")
    bench.run()
    assert (bench.bodies("grave"), bench.figure("intents")) == ([b"a"], 1)
    bench.broker.inbox.answer = bench.frames.answer
    bench.broker.outbox.opened(bench.shard("grave"))
    bench.run()
    assert (bench.bodies("grave"), bench.figure("intents")) == ([b"a"], 0)
    assert bench.figure("handovers_again_total") == 1


def test_a_repeat_to_what_is_not_durable(bench, me):
    me.declare("fleeting", durable=False)
    bind(me, "graves", "fanout", ("grave", ""), ("fleeting", ""))
    me.declare("q", x_dead_letter_exchange="graves")
    me.consume()
    bench.close_shard_of("grave")
    bench.broker.inbox.answer = lambda _: None  # answers are lost
    reject(me, bench, b"a")
    assert bench.bodies("fleeting") == [b"a"]
    bench.broker.inbox.answer = bench.frames.answer
    bench.broker.outbox.opened(HOME)
    bench.open_shard_of("grave")
    bench.run()
    assert (bench.bodies("fleeting"), bench.bodies("grave"), bench.figure("intents")) == ([b"a"], [b"a"], 0)


def test_a_target_that_is_deleted_is_left_out(bench, me):
    source(me)
    me.consume()
    bench.close_shard_of("grave")
    reject(me, bench, b"a")
    bench.broker.outbox.owners.is_open = lambda _: False
    bench.open_shard_of("grave")
    me.ask(r.DeleteQueue("grave"))
    me.declare("grave")  # another
    del bench.broker.outbox.owners.is_open
    bench.broker.outbox.opened(bench.shard("grave"))
    bench.run()
    assert (bench.bodies("grave"), bench.bodies("q"), bench.figure("intents")) == ([], [], 0)
    assert (bench.figure("handovers_gone_total"), bench.figure("dead_lettered_total")) == (1, 0)


def test_a_source_that_is_deleted_leaves_a_gap(bench, me):
    other = in_shard(bench, bench.broker.shards.shard("queue", "public/default", "q"))
    source(me)
    source(me, other)
    me.consume()
    me.consume("o", other)
    bench.close_shard_of("grave")
    reject(me, bench, b"a")
    me.put(b"b", key=other)
    bench.run()
    me.reject("o")
    bench.run()
    assert bench.figure("intents") == 2
    me.ask(r.DeleteQueue("q"))
    assert bench.figure("intents") == 1
    bench.open_shard_of("grave")
    bench.run()
    assert (bench.bodies("grave"), bench.figure("intents"), bench.figure("intent_bytes")) == ([b"b"], 0, 0)
    assert [frame.sequence for frame in bench.frames.sent] == [2]


def test_to_a_topic_of_several_partitions(bench, me):
    me.ask(CreateTopic("t", 2))
    me.declare("q", x_dead_letter_exchange="", x_dead_letter_routing_key="t")
    me.consume(limit=4)
    logs = bench.catalogue.namespace("public/default").topics["t"].runtime.logs
    for log in logs:
        closed = []
        bench.broker.shard_moves.close(log.shard, lambda closed=closed: closed.append(True))
        bench.loop.run_until(lambda closed=closed: bool(closed), 60)
    for body in (b"a", b"b", b"c", b"d"):
        reject(me, bench, body)
    assert bench.figure("intents") == 4
    for log in logs:
        bench.broker.shard_moves.open(log.shard, bench.store.epoch, lambda: None)
    bench.run()
    assert sum(log.durable_offset for log in logs) == 4
    assert bench.figure("intents") == 0


def test_to_a_stream(bench, me):
    me.declare("stream", x_queue_type="stream")
    me.declare("q", x_dead_letter_exchange="", x_dead_letter_routing_key="stream")
    me.consume()
    bench.close_shard_of("stream")
    reject(me, bench, b"a", b"b")
    assert bench.figure("intents") == 1
    bench.open_shard_of("stream")
    bench.run()
    log = bench.catalogue.namespace("public/default").topics["stream"].runtime.logs[0]
    assert [bench.body_at(log, offset) for offset in range(log.next_offset)] == [b"a", b"b"]
    assert bench.figure("intents") == 0


def test_what_nobody_may_see_stays_hidden(bench, me):
    me.declare("k")
    me.declare("copy")
    me.declare("q", x_dead_letter_exchange="amq.direct")
    me.ask(r.Bind("amq.direct", "k", "queue", "q"))
    me.ask(r.Bind("amq.direct", "copy", "queue", "copy"))
    me.put(b"x", headers=[(b"BCC", longstr_array(b"copy"))], key="q")
    me.put(b"y", headers=[(b"CC", longstr_array(b"copy"))], key="q")
    me.ask(r.PurgeQueue("copy"))
    me.consume()
    bench.close_shard_of("copy")
    bench.run()
    me.reject()
    bench.run()
    assert bench.figure("intents") == 2  # one has something to hide
    bench.open_shard_of("copy")
    bench.run()
    assert (bench.bodies("k"), bench.bodies("copy")) == ([b"x", b"y"], [b"x", b"y"])
    me.consume("d", "copy")
    bench.run()
    assert [("BCC" in headers, "CC" in headers) for _, headers, _ in me.headers[-2:]] == [(False, False), (False, True)]


def test_by_headers(bench, me):
    me.declare("one")
    me.declare("two")
    me.ask(r.DeclareExchange("h", "headers", durable=True))
    for name in ("one", "two"):
        me.ask(r.Bind("h", name, "queue", "", {"x-match": "all", "n": name}))
    me.declare("q", x_dead_letter_exchange="h")
    me.consume()
    bench.close_shard_of("one", "two")
    for body, name in ((b"a", b"one"), (b"b", b"two"), (b"c", b"none"), (b"d", b"one")):
        me.put(body, headers=[(b"n", b"S\0\0\0" + bytes((len(name),)) + name)])
    bench.run()
    me.reject()
    bench.run()
    assert bench.figure("intents") == 3  # "c" goes nowhere
    bench.open_shard_of("one", "two")
    bench.run()
    assert (bench.bodies("one"), bench.bodies("two"), bench.bodies("q")) == ([b"a", b"d"], [b"b"], [])


def test_a_queue_that_is_not_there_yet_is_asked_again(bench, me):
    source(me)
    me.consume()
    bench.close_shard_of("grave")
    reject(me, bench, b"a")
    bench.open_shard_of("grave")
    log = bench.queue("grave").log
    owner, log.owner = log.owner, None  # as between the opening of its shard and its own
    bench.run()
    assert bench.figure("intents") == 1
    log.owner = owner
    bench.run(2)
    assert (bench.bodies("grave"), bench.figure("intents")) == ([b"a"], 0)


def test_a_source_that_is_not_durable_waits(bench, me):
    source(me, "q", durable=False)
    me.consume()
    bench.close_shard_of("grave")
    reject(me, bench, b"a")
    assert bench.figure("intents") == 0
    assert bench.queue().subscription.leased_count == 1
    bench.open_shard_of("grave")
    bench.run(2)
    assert bench.bodies("grave") == [b"a"]


def test_what_never_was_in_the_queue_holds_up_nobody(bench, me, monkeypatch):
    monkeypatch.setattr(dead_letters_module, "REFUSED_MAX", 2)
    source(me, x_max_length=1, x_overflow="reject-publish-dlx")
    bench.close_shard_of("grave")
    me.put(b"a")
    for body in (b"b", b"c", b"d"):
        assert me.put(body).nacked == [0]
    me.consume()
    bench.run()
    me.reject()
    bench.run()
    assert bench.figure("intents") == 1
    bench.open_shard_of("grave")
    bench.run(3)
    assert bench.bodies("grave") == [b"a", b"b", b"c"]  # "d" was one too many
    assert bench.figure("dead_letters_dropped_total") == 1


def test_where_the_disk_is_nearly_full_it_is_sent_again(bench, me):
    source(me)
    me.consume()
    bench.close_shard_of("grave")
    reject(me, bench, b"a")
    bench.broker.hub.refusing = True
    bench.open_shard_of("grave")
    bench.run()
    assert (bench.bodies("grave"), bench.figure("intents")) == ([], 1)
    bench.broker.hub.refusing = False
    bench.run(2)
    assert (bench.bodies("grave"), bench.figure("intents")) == ([b"a"], 0)


class LittleMemory(AwayBench):
    memory_size_max = 20_000


@pytest.mark.parametrize("durable", [True, False])
def test_to_what_has_no_room_in_memory_they_wait(durable):
    bench = LittleMemory()
    me = bench.connect()
    me.declare("grave", durable=False)
    me.declare("fill", durable=False)
    source(me, durable=durable)
    me.consume(limit=3)
    me.put(b"a", b"b", b"c")
    bench.run()
    while not bench.volatile.is_full():
        me.publish(b"x" * 1000, key="fill", confirm=False)
        bench.run(1e-6)
    me.reject()
    bench.run(3)
    assert bench.bodies("grave") == []
    me.ask(r.PurgeQueue("fill"))
    bench.run(3)
    assert (bench.bodies("grave"), bench.bodies("q")) == ([b"a", b"b", b"c"], [])


def test_to_a_topic_some_of_whose_partitions_are_away(bench, me):
    me.ask(CreateTopic("t", 4, {}))
    me.declare("q", x_dead_letter_exchange="amq.topic", x_dead_letter_routing_key="t")
    me.consume()
    logs = bench.catalogue.namespace("public/default").topics["t"].runtime.logs
    shards = sorted({log.shard for log in logs} - {bench.shard("q")})[:2]
    for shard in shards:
        bench.broker.shard_moves.close(shard, lambda: None)
        bench.run()
    for number in range(20):
        reject(me, bench, b"%d" % number)
    assert bench.figure("intents") > 0
    for shard in shards:
        bench.broker.shard_moves.open(shard, bench.store.epoch, lambda: None)
    bench.run(3)
    assert sum(log.next_offset for log in logs) == 20
    assert all(log.next_offset for log in logs)
    assert (bench.bodies("q"), bench.figure("intents")) == ([], 0)
