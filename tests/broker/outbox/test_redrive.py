"""Queues with timed leases whose dead-letter queue, or whose move task's target, is not open here."""

import pytest
from away_bench import AwayBench
from timed_bench import TimedConnection

from entrepot.broker.calls.port import PENDING
from entrepot.broker.calls.queue_requests import CancelMove, DeleteTimedQueue, ListMoves, SetQueuePolicy, StartMove, TimedPolicy
from entrepot.broker.calls.requests import PurgeQueue
from entrepot.broker.outbox import outbox as outbox_module
from entrepot.broker.subscription.consumer import BROKER_ID
from entrepot.model.entry import HAS_SENT_TIME


@pytest.fixture
def bench():
    return AwayBench()


@pytest.fixture
def door(bench):
    door = TimedConnection(bench)
    door.create("grave")
    door.create("other")
    door.create(dead_letter_queue="grave", receive_max=1, visibility_ms=1_000)
    return door


def exhaust(bench, door, *bodies, groups=None):
    """Send, receive as often as may be, and once more; what was received."""
    door.send(*bodies, groups=groups)
    messages = door.receive()
    bench.run(1.1)
    call = door.start_receive()
    bench.run()
    return messages, call


def held_by_broker(bench, name="q"):
    return bench.queue(name).subscription.held_count(BROKER_ID)


def test_it_arrives_with_what_is_known_of_it(bench, door):
    bench.close_shard_of("grave")
    messages, _ = exhaust(bench, door, b"a", b"b")
    assert (bench.figure("intents"), held_by_broker(bench), bench.queue().burying) == (1, 2, 0)
    bench.open_shard_of("grave")
    bench.run()
    found = door.receive(queue="grave")
    assert [(message.body, message.deliveries, message.first_received_ms) for message in found] == [
        (b"a", 2, messages[0].first_received_ms),
        (b"b", 2, messages[1].first_received_ms),
    ]
    assert door.counts() == (0, 0, 0)
    assert (bench.figure("intents"), bench.figure("dead_lettered_total")) == (0, 2)


def test_what_is_known_of_it_holds_over_a_restart_in_between(bench, door):
    bench.close_shard_of("grave")
    messages, _ = exhaust(bench, door, b"a")
    bench.broker.outbox.owners.is_open = lambda _: False
    bench = bench.reopen()
    door = TimedConnection(bench)
    bench.run()
    (found,) = door.receive(queue="grave")
    assert (found.body, found.deliveries, found.first_received_ms) == (b"a", 2, messages[0].first_received_ms)


def test_who_would_not_wait_is_answered_when_it_is_there(bench, door):
    door.send(b"a")
    door.receive()
    bench.close_shard_of("grave")
    bench.run(1.1)
    door.until_done(door.start_receive())  # on its way somewhere that is away: nobody waits for that
    door.send(b"b")
    door.receive()
    bench.run(1.1)
    bench.broker.shard_moves.open(bench.shard("grave"), bench.store.epoch, lambda: None)
    bench.loop.run_until(lambda: not bench.store.closed)
    call = door.start_receive()
    assert call.outcome == PENDING
    door.until_done(call)
    assert call.received == []
    assert sorted(bench.bodies("grave")) == [b"a", b"b"]


def test_without_its_target_it_is_in_its_place_again(bench, door):
    bench.close_shard_of("grave")
    exhaust(bench, door, b"a", b"b")
    bench.broker.outbox.owners.is_open = lambda _: False
    bench.open_shard_of("grave")
    door.ask(DeleteTimedQueue("grave"))
    del bench.broker.outbox.owners.is_open
    bench.broker.outbox.opened(bench.broker.shards.shard("queue", "public/default", "grave"))
    bench.run()
    assert (bench.figure("intents"), held_by_broker(bench), bench.figure("dead_lettered_total")) == (0, 0, 0)
    assert [(message.body, message.deliveries) for message in door.receive()] == [(b"a", 2), (b"b", 2)]


def test_the_policy_may_go_meanwhile(bench, door):
    bench.close_shard_of("grave")
    exhaust(bench, door, b"a")
    door.ask(SetQueuePolicy("q", TimedPolicy(visibility_ms=1_000)))
    bench.broker.outbox.owners.is_open = lambda _: False
    bench = bench.reopen()
    bench.run()
    assert (bench.bodies("q"), bench.bodies("grave")) == ([], [b"a"])


def test_of_a_group_the_next_comes_when_the_dead_one_is_gone(bench):
    door = TimedConnection(bench)
    door.create("grave", groups=True)
    door.create(groups=True, dead_letter_queue="grave", receive_max=1, visibility_ms=1_000)
    door.send(b"a1", b"a2", groups=[b"a"] * 2)
    assert door.received_bodies(1) == [b"a1"]
    bench.run(1.1)
    bench.close_shard_of("grave")
    assert door.received_bodies() == []
    bench.open_shard_of("grave")
    bench.run()
    assert door.received_bodies() == [b"a2"]
    assert bench.bodies("grave") == [b"a1"]
    bench.run(1.1)
    assert door.received_bodies() == []
    bench.run()
    assert bench.bodies("grave") == [b"a1", b"a2"]


def flags_at(bench, name, offset=0):
    return bench.queue(name).log.reader().at(offset).entry.flags


@pytest.mark.parametrize("ordered", [False, True])
def test_its_age_goes_with_it_but_to_a_queue_that_orders_groups(bench, ordered):
    door = TimedConnection(bench)
    door.create("grave", groups=ordered)
    door.create(groups=ordered, dead_letter_queue="grave", receive_max=1, visibility_ms=1_000)
    bench.close_shard_of("grave")
    exhaust(bench, door, b"a", groups=[b"g"] if ordered else None)
    bench.open_shard_of("grave")
    bench.run()
    assert bool(flags_at(bench, "grave") & HAS_SENT_TIME) == (not ordered)


def unanswered(bench, name):
    """Its shard opens, and nothing that is handed over arrives there; arrives() lets it."""
    bench.broker.outbox.owners.is_open = lambda _: False
    bench.open_shard_of(name)


def arrives(bench, name):
    del bench.broker.outbox.owners.is_open
    bench.broker.outbox.opened(bench.shard(name))
    bench.run(1)


def test_nothing_overtakes_what_is_on_its_way(bench, door):
    bench.close_shard_of("grave")
    exhaust(bench, door, b"a")
    unanswered(bench, "grave")
    exhaust(bench, door, b"b")
    assert (bench.figure("intents"), bench.bodies("grave")) == (2, [])
    arrives(bench, "grave")
    assert bench.bodies("grave") == [b"a", b"b"]
    exhaust(bench, door, b"c")
    assert (bench.figure("intents_total"), bench.bodies("grave")) == (2, [b"a", b"b", b"c"])


def test_with_as_many_as_there_may_be_the_rest_waits(bench, door, monkeypatch):
    monkeypatch.setattr(outbox_module, "INTENTS_MAX", 1)
    bench.close_shard_of("grave")
    exhaust(bench, door, b"a")
    exhaust(bench, door, b"b", b"c")
    assert (bench.figure("intents"), held_by_broker(bench)) == (1, 3)
    bench.open_shard_of("grave")
    bench.run(3)
    assert sorted(bench.bodies("grave")) == [b"a", b"b", b"c"]
    assert held_by_broker(bench) == 0


# ---- tasks


@pytest.fixture
def dead(bench, door):
    """Three messages in the dead-letter queue."""
    exhaust(bench, door, b"a", b"b", b"c")
    assert bench.bodies("grave") == [b"a", b"b", b"c"]
    return door


def task(door):
    found = door.ask(ListMoves("grave"))[0]
    return found.status, found.moved


def test_a_task_counts_what_is_there(bench, dead):
    bench.close_shard_of("other")
    dead.ask(StartMove("grave", "other"))
    bench.run(1)
    assert task(dead) == ("RUNNING", 0)
    assert (bench.figure("intents"), held_by_broker(bench, "grave")) == (3, 3)
    bench.open_shard_of("other")
    bench.run(1)
    assert task(dead) == ("COMPLETED", 3)
    assert (bench.bodies("grave"), bench.bodies("other")) == ([], [b"a", b"b", b"c"])
    assert bench.figure("dead_lettered_total") == 3  # when they died


def test_back_to_where_it_came_from(bench, dead):
    bench.close_shard_of("q")
    dead.ask(StartMove("grave"))
    bench.run(1)
    assert bench.figure("intents") == 3
    bench.open_shard_of("q")
    bench.run(1)
    assert task(dead) == ("COMPLETED", 3)
    assert [message.deliveries for message in dead.receive()] == [1, 1, 1]  # new messages


def test_a_cancelled_task_counts_what_was_on_its_way(bench, dead):
    bench.close_shard_of("other")
    started = dead.ask(StartMove("grave", "other", per_second_max=1))
    bench.run(1.5)
    on_its_way = bench.figure("intents")
    assert on_its_way in (1, 2)
    assert dead.ask(CancelMove(started.task_id)).status == "CANCELLED"
    bench.open_shard_of("other")
    bench.run(3)
    assert task(dead) == ("CANCELLED", on_its_way)
    assert len(bench.bodies("other")) == on_its_way
    assert len(bench.bodies("grave")) == 3 - on_its_way


def test_nothing_that_a_task_moves_overtakes(bench, dead):
    bench.close_shard_of("other")
    dead.ask(StartMove("grave", "other", per_second_max=1))
    bench.run(0.5)
    assert bench.figure("intents") == 1
    unanswered(bench, "other")
    bench.run(3)
    assert (bench.figure("intents"), bench.bodies("other")) == (3, [])
    arrives(bench, "other")
    assert task(dead) == ("COMPLETED", 3)
    assert bench.bodies("other") == [b"a", b"b", b"c"]


def test_a_task_whose_target_is_gone_fails(bench, dead):
    bench.close_shard_of("other")
    dead.ask(StartMove("grave", "other"))
    bench.run()
    bench.broker.outbox.owners.is_open = lambda _: False
    bench.open_shard_of("other")
    dead.ask(DeleteTimedQueue("other"))
    del bench.broker.outbox.owners.is_open
    bench.broker.outbox.opened(bench.broker.shards.shard("queue", "public/default", "other"))
    bench.run(1)
    assert task(dead) == ("FAILED", 0)
    assert (bench.bodies("grave"), held_by_broker(bench, "grave")) == ([b"a", b"b", b"c"], 0)


def test_with_as_many_as_there_may_be_a_task_rests(bench, dead, monkeypatch):
    monkeypatch.setattr(outbox_module, "INTENTS_MAX", 2)
    bench.close_shard_of("other")
    dead.ask(StartMove("grave", "other"))
    bench.run(3)
    assert bench.figure("intents") == 2
    bench.open_shard_of("other")
    bench.run(3)
    assert task(dead) == ("COMPLETED", 3)
    assert bench.bodies("other") == [b"a", b"b", b"c"]


# ---- targets in memory


class LittleMemory(AwayBench):
    memory_size_max = 20_000


def full(bench, door):
    """Memory has no room until "fill" is purged."""
    door.declare("fill", durable=False)
    while not bench.volatile.is_full():
        door.publish(b"x" * 1000, key="fill", confirm=False)
        bench.run(1e-6)


def test_a_dead_letter_queue_in_memory_that_has_no_room():
    bench = LittleMemory()
    door = TimedConnection(bench)
    door.declare("grave", durable=False)
    door.create(dead_letter_queue="grave", receive_max=1, visibility_ms=1_000)
    full(bench, door)
    exhaust(bench, door, b"a", b"b")
    bench.run(3)
    assert (bench.bodies("grave"), held_by_broker(bench)) == ([], 2)
    door.ask(PurgeQueue("fill"))
    bench.run(3)
    assert (bench.bodies("grave"), held_by_broker(bench), bench.queue().burying) == ([b"a", b"b"], 0, 0)


def test_a_task_whose_target_in_memory_has_no_room():
    bench = LittleMemory()
    door = TimedConnection(bench)
    door.create("grave")
    door.declare("other", durable=False)
    door.create(dead_letter_queue="grave", receive_max=1, visibility_ms=1_000)
    exhaust(bench, door, b"a", b"b")
    full(bench, door)
    door.ask(StartMove("grave", "other"))
    bench.run(3)
    assert (task(door), bench.bodies("other")) == (("RUNNING", 0), [])
    door.ask(PurgeQueue("fill"))
    bench.run(3)
    assert (task(door), bench.bodies("other"), bench.bodies("grave")) == (("COMPLETED", 2), [b"a", b"b"], [])
