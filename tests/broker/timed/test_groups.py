"""FIFO queues and fair queues: order, exclusion, deduplication, fairness."""

import pytest
from timed_bench import TimedBench

from entrepot.broker.lease_calls import ENDED, NOT_LEASED
from entrepot.broker.port import PENDING
from entrepot.broker.queue_requests import PurgeTimedQueue, SetQueuePolicy, TimedPolicy
from entrepot.model.errors import Reason


@pytest.fixture
def bench():
    return TimedBench()


@pytest.fixture
def link(bench):
    link = bench.connect()
    link.create(groups=True)
    return link


def reopened(bench):
    bench.run()
    bench = bench.reopen()
    return bench, bench.connect()


def put(link, text, **how):
    """`a1 b1 a2`: bodies, the first letter is the group."""
    bodies = text.encode().split()
    return link.send(*bodies, groups=[body[:1] for body in bodies], **how)


def got(link, count=10, **how):
    return b" ".join(link.received_bodies(count, **how)).decode()


def test_nothing_of_a_group_comes_while_an_earlier_one_is_in_flight(bench, link):
    put(link, "a1 a2 b1 a3 b2 c1")
    first = link.receive(1)
    assert first[0].body == b"a1"
    assert got(link, 2) == "b1 b2"
    assert got(link) == "c1"
    assert got(link) == ""
    link.end(first)
    assert got(link) == "a2 a3"
    assert link.counts() == (0, 5, 0)


def test_a_batch_takes_the_oldest_group_first(link):
    put(link, "a1 b1 a2 b2")
    assert got(link) == "a1 a2 b1 b2"


@pytest.mark.parametrize("how", ["given back", "expired", "received for no time", "a connection's"])
@pytest.mark.parametrize("groups", [True, False])
def test_what_always_comes_back_keeps_no_other_group_from_its_turn(bench, how, groups):
    """One worker takes one at a time and cannot do anything of group a: everybody else is served, and then a again, in order."""
    link = bench.connect()
    link.create(groups=groups)
    put(link, "a1 a2 b1 c1 b2")
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
            [message] = link.receive(1, visibility_ms=0 if how == "received for no time" and not takes else -1)
            body = message.body
            if not body.startswith(b"a"):
                link.end([message])
            elif how == "given back":
                link.end([message], 0)
            elif how == "expired":
                bench.run(31)
        if not body.startswith(b"a"):
            served.append(body)
    assert served == [b"b1", b"c1", b"b2"]
    bench.run(31)
    worker.close()
    assert got(link) == "a1 a2"


def test_groups_that_lie_beyond_what_is_kept_in_memory_have_their_turn_too(bench, link):
    """The shelf is full of one group's records, the first of which comes back again and again."""
    bench.queue().hub.shelved_max_bytes = 4000
    for number in range(30):
        put(link, f"a{number}")
        bench.run()
    put(link, "b1")
    bodies = []
    while b"b1" not in bodies and len(bodies) < 5:  # what is not in memory is read while others are served
        [message] = link.receive(1)
        bodies.append(message.body)
        link.end([message], 0)
    assert bodies == [b"a0"] * (len(bodies) - 1) + [b"b1"]


def test_what_comes_back_comes_first(bench, link):
    put(link, "a1 a2 a3 a4")
    messages = link.receive(3)
    link.end(messages[1:2], 60_000)
    bench.run(31)
    assert got(link) == "a1"  # a2 is in flight; a3 and a4 wait for it
    assert got(link) == ""
    assert link.end(messages[:1]) == [2]
    assert link.end(messages[2:]) == [NOT_LEASED]
    assert link.end(messages[1:2]) == [ENDED]
    assert got(link) == ""
    bench.run(31)
    assert got(link) == "a1 a3 a4"


def test_groups_are_excluded_after_a_restart_too(bench, link):
    put(link, "a1 a2 b1")
    messages = link.receive(1)
    bench, link = reopened(bench)
    assert got(link) == "b1"
    assert link.end(messages) == [ENDED]
    assert got(link) == "a2"


def test_a_waiting_receive_gets_a_group_that_is_free_again(bench, link):
    put(link, "a1 a2")
    messages = link.receive(1)
    waiting = bench.connect().start_receive(wait_ms=20_000)
    bench.run(1)
    assert waiting.outcome == PENDING
    link.end(messages)
    link.until_done(waiting)
    assert [message.body for message in link.messages(waiting)] == [b"a2"]


def test_consumers_of_a_connection_keep_order_and_exclusion(bench, link):
    put(link, "a1 a2 b1 b2")
    held = link.receive(1)
    other = bench.connect()
    other.consume("c", limit=10)
    bench.run()
    assert other.bodies() == [b"b1"]
    assert got(link) == ""
    other.release("c")
    bench.run()
    assert other.bodies() == [b"b1"]
    other.accept("c")
    link.end(held)
    bench.run()
    assert other.bodies() == [b"a2", b"b2"]
    assert got(link) == ""
    other.close()
    bench.run()
    assert got(link) == "a2 b2"


def test_looking_ahead_is_bounded(bench, link):
    bench.queue().timed.scan.lookahead = 5
    put(link, "a1 a2 a3 a4 a5 b1")
    first = link.receive(1)
    assert got(link) == ""  # b1 is too far behind
    link.end(first)
    assert got(link, 1) == "a2"
    assert got(link) == "b1"


def test_delays_keep_order(bench):
    link = bench.connect()
    link.create(groups=True, delay_ms=5_000)
    put(link, "a1 a2")
    call = put(link, "b1", delays=[1_000])
    assert [error.reason for error in call.errors] == [Reason.INVALID]
    assert got(link) == ""
    bench.run(6)
    assert got(link) == "a1 a2"


def test_what_is_sent_again_is_answered_as_the_first_was(bench, link):
    first = put(link, "a1", ids=[b"one"])
    again = put(link, "a2", ids=[b"one"])
    assert (again.offsets, again.stored_ids) == (first.offsets, first.stored_ids)
    together = put(link, "b1 b2 b3", ids=[b"two", b"three", b"two"])
    assert together.stored_ids[0] == together.stored_ids[2]
    messages = link.receive()
    assert [message.body for message in messages] == [b"a1", b"b1", b"b2"]
    link.end(messages)
    bench, link = reopened(bench)
    assert put(link, "b9", ids=[b"three"]).stored_ids == together.stored_ids[1:2]
    assert got(link) == ""
    bench.run(301)
    put(link, "b9", ids=[b"three"])
    assert got(link) == "b9"
    bench, link = reopened(bench)
    bench.run(311)
    put(link, "b8", ids=[b"three"])
    bench.run()
    keys = [key for key, _ in bench.store.scan(bench.queue().log.shard, b"e:", b"e;", 100)]
    assert len(keys) == 1


def test_a_repeat_of_what_is_not_durable_yet_waits_for_it(bench, link):
    first = link.start_send(b"a1", groups=[b"a"], ids=[b"one"])
    bench.loop.run_until(lambda: bench.store.group() is not first and first.outcome == PENDING, 1)
    again = link.start_send(b"a1", groups=[b"a"], ids=[b"one"])
    assert again.outcome == PENDING
    link.until_done(again)
    assert first.outcome != PENDING
    assert again.offsets == first.offsets


def test_by_content_and_by_group(bench):
    link = bench.connect()
    link.create(groups=True, deduplicate_content=True, deduplication_by_group=True)
    put(link, "a1 a1 b1", content=[b"x", b"x", b"x"])
    assert got(link) == "a1 b1"
    link.create("strict", groups=True)
    call = link.send(b"x", b"y", b"z", groups=[b"g", b"", b"g"], ids=[b"", b"1", b"2"], content=[b"c"] * 3, queue="strict")
    assert [error and error.reason for error in call.errors] == [Reason.INVALID, Reason.INVALID, None]


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("by_group", [False, True])
def test_another_scope_holds_for_what_is_sent_from_then_on(bench, by_group, restarted):
    """What is remembered keeps the scope that it was sent under, for the five minutes that it is remembered."""
    link = bench.connect()
    link.create(groups=True, deduplication_by_group=by_group)
    first = put(link, "a1", ids=[b"one"])
    link.ask(SetQueuePolicy("q", TimedPolicy(groups=True, deduplication_by_group=not by_group)))
    if restarted:
        bench, link = reopened(bench)
    assert put(link, "a2", ids=[b"one"]).stored_ids == first.stored_ids
    others = put(link, "b1", ids=[b"one"])
    assert (others.stored_ids == first.stored_ids) == (not by_group)
    put(link, "c1 d1", ids=[b"two", b"two"])
    assert sorted(got(link).split()) == sorted(["a1"] + ["b1"] * by_group + ["c1"] + ["d1"] * (not by_group))


def test_purging_forgets_what_was_sent(link):
    put(link, "a1", ids=[b"one"])
    link.ask(PurgeTimedQueue("q"))
    put(link, "a2", ids=[b"one"])
    assert got(link) == "a2"


def test_a_noisy_group_does_not_starve_the_quiet(bench):
    link = bench.connect()
    link.create()
    for _ in range(10):
        link.send(*[b"n"] * 50, groups=[b"noisy"] * 50)
    for _ in range(3):
        assert len(link.receive()) == 10
    link.send(b"q1", b"q2", groups=[b"quiet"] * 2)
    link.send(b"nobody's")
    assert got(link) == "q1 q2 nobody's n n n n n n n"
    bench, link = reopened(bench)
    bench.run(31)
    assert link.counts() == (503, 0, 0)
    assert len(link.receive()) == 10


def test_the_same_attempt_brings_the_same(bench, link):
    put(link, "a1 a2 b1")
    first = link.receive(2, attempt=b"one")
    again = link.receive(10, attempt=b"one")
    assert [(message.body, message.lease_id, message.deliveries) for message in again] == [(message.body, message.lease_id, 1) for message in first]
    bench, link = reopened(bench)
    bench.run(20)
    assert got(link, attempt=b"one") == "a1 a2"
    bench.run(20)
    assert got(link, attempt=b"two") == "b1"  # a's lease was renewed
    assert link.end(first[:1]) == [ENDED]
    assert got(link, attempt=b"one") == ""
    bench.run(31)
    assert got(link, attempt=b"one") == "a2 b1"


def test_what_lies_on_disk_in_several_entries_comes_together(bench, link):
    put(link, "a1")
    put(link, "b1")
    put(link, "a2")
    bench, link = reopened(bench)
    assert got(link) == "a1 a2 b1"


def test_what_was_purged_while_it_was_delayed_holds_nobody_up(bench):
    link = bench.connect()
    link.create(groups=True, delay_ms=5_000)
    put(link, "a1 a2")
    link.ask(PurgeTimedQueue("q"))
    put(link, "a3")
    bench.run(6)
    assert got(link) == "a3"
    assert link.counts() == (0, 1, 0)


def test_an_attempt_is_answered_while_others_wait(bench, link):
    put(link, "a1 a2")
    first = link.receive(1, attempt=b"one")
    waiting = bench.connect().start_receive(wait_ms=20_000)
    assert got(link, attempt=b"one") == "a1"
    assert waiting.outcome == PENDING
    bench, link = reopened(bench)
    bench.connect().start_receive(wait_ms=20_000)
    assert got(link, attempt=b"one") == "a1"
    assert link.end(first) == [ENDED]


def test_leases_that_end_out_of_order(bench):
    link = bench.connect()
    link.create()
    link.send(*[b"%03d" % number for number in range(300)], groups=[b"g"] * 300)
    messages = [message for _ in range(30) for message in link.receive()]
    for message in messages[::-3]:
        link.end([message], 0)
    assert link.counts() == (100, 200, 0)
    bench.run(31)
    assert {message.body for _ in range(30) for message in link.receive()} == {message.body for message in messages}
