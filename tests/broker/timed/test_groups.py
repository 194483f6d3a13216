"""FIFO queues and fair queues: order, exclusion, deduplication, fairness."""

import pytest
from timed_bench import TimedBench

from entrepot.broker.calls.lease_calls import ENDED, NOT_LEASED
from entrepot.broker.calls.port import PENDING
from entrepot.broker.calls.queue_requests import PurgeTimedQueue, SetQueuePolicy, TimedPolicy
from entrepot.model.errors import Reason


@pytest.fixture
def bench():
    return TimedBench()


@pytest.fixture
def door(bench):
    door = bench.connect()
    door.create(groups=True)
    return door


def reopened(bench):
    bench.run()
    bench = bench.reopen()
    return bench, bench.connect()


def put(door, text, **how):
    """`a1 b1 a2`: bodies, the first letter is the group."""
    bodies = text.encode().split()
    return door.send(*bodies, groups=[body[:1] for body in bodies], **how)


def got(door, count=10, **how):
    return b" ".join(door.received_bodies(count, **how)).decode()


def test_nothing_of_a_group_comes_while_an_earlier_one_is_in_flight(bench, door):
    put(door, "a1 a2 b1 a3 b2 c1")
    first = door.receive(1)
    assert first[0].body == b"a1"
    assert got(door, 2) == "b1 b2"
    assert got(door) == "c1"
    assert got(door) == ""
    door.end(first)
    assert got(door) == "a2 a3"
    assert door.counts() == (0, 5, 0)


def test_a_batch_takes_the_oldest_group_first(door):
    put(door, "a1 b1 a2 b2")
    assert got(door) == "a1 a2 b1 b2"


@pytest.mark.parametrize("how", ["given back", "expired", "received for no time", "a connection's"])
@pytest.mark.parametrize("groups", [True, False])
def test_what_always_comes_back_keeps_no_other_group_from_its_turn(bench, how, groups):
    """One worker takes one at a time and cannot do anything of group a: everybody else is served, and then a again, in order."""
    door = bench.connect()
    door.create(groups=groups)
    put(door, "a1 a2 b1 c1 b2")
    served = []
    worker = bench.connect()
    if how == "a connection's":
        worker.consume(limit=1)
    for takes in range(10):
        if len(served) == 3:
            break
        if how == "a connection's":
            bench.run()
            body, _, _ = worker.held["c"][0]
            (worker.release if body.startswith(b"a") else worker.accept)()
        else:
            [message] = door.receive(1, visibility_ms=0 if how == "received for no time" and not takes else -1)
            body = message.body
            if not body.startswith(b"a"):
                door.end([message])
            elif how == "given back":
                door.end([message], 0)
            elif how == "expired":
                bench.run(31)
        if not body.startswith(b"a"):
            served.append(body)
    assert served == [b"b1", b"c1", b"b2"]
    bench.run(31)
    worker.close()
    assert got(door) == "a1 a2"


def test_groups_that_lie_beyond_what_is_kept_in_memory_have_their_turn_too(bench, door):
    """The shelf is full of one group's records, the first of which comes back again and again."""
    bench.queue().hub.shelved_max_bytes = 4000
    for number in range(30):
        put(door, f"a{number}")
        bench.run()
    put(door, "b1")
    bodies = []
    while b"b1" not in bodies and len(bodies) < 5:  # what is not in memory is read while others are served
        [message] = door.receive(1)
        bodies.append(message.body)
        door.end([message], 0)
    assert bodies == [b"a0"] * (len(bodies) - 1) + [b"b1"]


def test_what_comes_back_comes_first(bench, door):
    put(door, "a1 a2 a3 a4")
    messages = door.receive(3)
    door.end(messages[1:2], 60_000)
    bench.run(31)
    assert got(door) == "a1"  # a2 is in flight; a3 and a4 wait for it
    assert got(door) == ""
    assert door.end(messages[:1]) == [2]
    assert door.end(messages[2:]) == [NOT_LEASED]
    assert door.end(messages[1:2]) == [ENDED]
    assert got(door) == ""
    bench.run(31)
    assert got(door) == "a1 a3 a4"


def test_groups_are_excluded_after_a_restart_too(bench, door):
    put(door, "a1 a2 b1")
    messages = door.receive(1)
    bench, door = reopened(bench)
    assert got(door) == "b1"
    assert door.end(messages) == [ENDED]
    assert got(door) == "a2"


def test_a_waiting_receive_gets_a_group_that_is_free_again(bench, door):
    put(door, "a1 a2")
    messages = door.receive(1)
    waiting = bench.connect().start_receive(wait_ms=20_000)
    bench.run(1)
    assert waiting.outcome == PENDING
    door.end(messages)
    door.until_done(waiting)
    assert [message.body for message in door.messages(waiting)] == [b"a2"]


def test_consumers_of_a_connection_keep_order_and_exclusion(bench, door):
    put(door, "a1 a2 b1 b2")
    held = door.receive(1)
    other = bench.connect()
    other.consume("c", limit=10)
    bench.run()
    assert other.bodies() == [b"b1"]
    assert got(door) == ""
    other.release("c")
    bench.run()
    assert other.bodies() == [b"b1"]
    other.accept("c")
    door.end(held)
    bench.run()
    assert other.bodies() == [b"a2", b"b2"]
    assert got(door) == ""
    other.close()
    bench.run()
    assert got(door) == "a2 b2"


def test_looking_ahead_is_bounded(bench, door):
    bench.queue().timed.scan.lookahead = 5
    put(door, "a1 a2 a3 a4 a5 b1")
    first = door.receive(1)
    assert got(door) == ""  # b1 is too far behind
    door.end(first)
    assert got(door, 1) == "a2"
    assert got(door) == "b1"


def test_delays_keep_order(bench):
    door = bench.connect()
    door.create(groups=True, delay_ms=5_000)
    put(door, "a1 a2")
    call = put(door, "b1", delays=[1_000])
    assert [error.reason for error in call.errors] == [Reason.INVALID]
    assert got(door) == ""
    bench.run(6)
    assert got(door) == "a1 a2"


def test_what_is_sent_again_is_answered_as_the_first_was(bench, door):
    first = put(door, "a1", ids=[b"one"])
    again = put(door, "a2", ids=[b"one"])
    assert (again.offsets, again.stored_ids) == (first.offsets, first.stored_ids)
    together = put(door, "b1 b2 b3", ids=[b"two", b"three", b"two"])
    assert together.stored_ids[0] == together.stored_ids[2]
    messages = door.receive()
    assert [message.body for message in messages] == [b"a1", b"b1", b"b2"]
    door.end(messages)
    bench, door = reopened(bench)
    assert put(door, "b9", ids=[b"three"]).stored_ids == together.stored_ids[1:2]
    assert got(door) == ""
    bench.run(301)
    put(door, "b9", ids=[b"three"])
    assert got(door) == "b9"
    bench, door = reopened(bench)
    bench.run(311)
    put(door, "b8", ids=[b"three"])
    bench.run()
    keys = [key for key, _ in bench.store.scan(bench.queue().log.shard, b"e:", b"e;", 100)]
    assert len(keys) == 1


def test_a_repeat_of_what_is_not_durable_yet_waits_for_it(bench, door):
    first = door.start_send(b"a1", groups=[b"a"], ids=[b"one"])
    bench.loop.run_until(lambda: bench.store.group() is not first and first.outcome == PENDING, 1)
    again = door.start_send(b"a1", groups=[b"a"], ids=[b"one"])
    assert again.outcome == PENDING
    door.until_done(again)
    assert first.outcome != PENDING
    assert again.offsets == first.offsets


def test_by_content_and_by_group(bench):
    door = bench.connect()
    door.create(groups=True, deduplicate_content=True, deduplication_by_group=True)
    put(door, "a1 a1 b1", content=[b"x", b"x", b"x"])
    assert got(door) == "a1 b1"
    door.create("strict", groups=True)
    call = door.send(b"x", b"y", b"z", groups=[b"g", b"", b"g"], ids=[b"", b"1", b"2"], content=[b"c"] * 3, queue="strict")
    assert [error and error.reason for error in call.errors] == [Reason.INVALID, Reason.INVALID, None]


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("by_group", [False, True])
def test_another_scope_holds_for_what_is_sent_from_then_on(bench, by_group, restarted):
    """What is remembered keeps the scope that it was sent under, for the five minutes that it is remembered."""
    door = bench.connect()
    door.create(groups=True, deduplication_by_group=by_group)
    first = put(door, "a1", ids=[b"one"])
    door.ask(SetQueuePolicy("q", TimedPolicy(groups=True, deduplication_by_group=not by_group)))
    if restarted:
        bench, door = reopened(bench)
    assert put(door, "a2", ids=[b"one"]).stored_ids == first.stored_ids
    others = put(door, "b1", ids=[b"one"])
    assert (others.stored_ids == first.stored_ids) == (not by_group)
    put(door, "c1 d1", ids=[b"two", b"two"])
    assert sorted(got(door).split()) == sorted(["a1"] + ["b1"] * by_group + ["c1"] + ["d1"] * (not by_group))


def test_purging_forgets_what_was_sent(door):
    put(door, "a1", ids=[b"one"])
    door.ask(PurgeTimedQueue("q"))
    put(door, "a2", ids=[b"one"])
    assert got(door) == "a2"


def test_a_noisy_group_does_not_starve_the_quiet(bench):
    door = bench.connect()
    door.create()
    for _ in range(10):
        door.send(*[b"n"] * 50, groups=[b"noisy"] * 50)
    for _ in range(3):
        assert len(door.receive()) == 10
    door.send(b"q1", b"q2", groups=[b"quiet"] * 2)
    door.send(b"nobody's")
    assert got(door) == "q1 q2 nobody's n n n n n n n"
    bench, door = reopened(bench)
    bench.run(31)
    assert door.counts() == (503, 0, 0)
    assert len(door.receive()) == 10


def test_the_same_attempt_brings_the_same(bench, door):
    put(door, "a1 a2 b1")
    first = door.receive(2, attempt=b"one")
    again = door.receive(10, attempt=b"one")
    assert [(message.body, message.lease_id, message.deliveries) for message in again] == [(message.body, message.lease_id, 1) for message in first]
    bench, door = reopened(bench)
    bench.run(20)
    assert got(door, attempt=b"one") == "a1 a2"
    bench.run(20)
    assert got(door, attempt=b"two") == "b1"  # a's lease was renewed
    assert door.end(first[:1]) == [ENDED]
    assert got(door, attempt=b"one") == ""
    bench.run(31)
    assert got(door, attempt=b"one") == "a2 b1"


def test_what_lies_on_disk_in_several_entries_comes_together(bench, door):
    put(door, "a1")
    put(door, "b1")
    put(door, "a2")
    bench, door = reopened(bench)
    assert got(door) == "a1 a2 b1"


def test_what_was_purged_while_it_was_delayed_holds_nobody_up(bench):
    door = bench.connect()
    door.create(groups=True, delay_ms=5_000)
    put(door, "a1 a2")
    door.ask(PurgeTimedQueue("q"))
    put(door, "a3")
    bench.run(6)
    assert got(door) == "a3"
    assert door.counts() == (0, 1, 0)


def test_an_attempt_is_answered_while_others_wait(bench, door):
    put(door, "a1 a2")
    first = door.receive(1, attempt=b"one")
    waiting = bench.connect().start_receive(wait_ms=20_000)
    assert got(door, attempt=b"one") == "a1"
    assert waiting.outcome == PENDING
    bench, door = reopened(bench)
    bench.connect().start_receive(wait_ms=20_000)
    assert got(door, attempt=b"one") == "a1"
    assert door.end(first) == [ENDED]


def test_leases_that_end_out_of_order(bench):
    door = bench.connect()
    door.create()
    door.send(*[b"%03d" % number for number in range(300)], groups=[b"g"] * 300)
    messages = [message for _ in range(30) for message in door.receive()]
    for message in messages[::-3]:
        door.end([message], 0)
    assert door.counts() == (100, 200, 0)
    bench.run(31)
    assert {message.body for _ in range(30) for message in door.receive()} == {message.body for message in messages}
