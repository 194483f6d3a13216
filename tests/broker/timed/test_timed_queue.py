"""Send, Receive and EndLeases on standard queues, over a real store in virtual time."""

import pytest
from broker_bench import bytes_at_hand
from test_revocation import Doors
from timed_bench import TimedBench, TimedConnection

from entrepot.broker.calls.lease_calls import ENDED, FOREIGN, SUPERSEDED, TOO_LONG, PolicyChanged
from entrepot.broker.calls.port import DONE, PENDING
from entrepot.broker.calls.queue_requests import DeleteTimedQueue, ListQueues, PurgeTimedQueue, SetQueuePolicy, TimedPolicy
from entrepot.model.errors import Reason, Refused
from entrepot.model.principal import Principal


@pytest.fixture
def bench():
    return TimedBench()


@pytest.fixture
def door(bench):
    door = bench.connect()
    door.create(visibility_ms=30_000)
    return door


def reopened(bench):
    bench.run()
    bench = bench.reopen()
    return bench, bench.connect()


def test_what_is_sent_is_received_once_and_gone_when_settled(door):
    door.send(b"a", b"b", b"c")
    assert door.counts() == (3, 0, 0)
    messages = door.receive()
    assert [message.body for message in messages] == [b"a", b"b", b"c"]
    assert [message.deliveries for message in messages] == [1, 1, 1]
    assert door.receive() == []
    assert door.counts() == (0, 3, 0)
    assert door.end(messages) == [ENDED] * 3
    assert door.counts() == (0, 0, 0)
    assert door.end(messages) == [SUPERSEDED] * 3


def test_a_lease_ends_and_the_record_comes_again(bench, door):
    door.send(b"a", b"b")
    first = door.receive(1)
    bench.run(29)
    assert door.received_bodies() == [b"b"]
    assert door.receive() == []
    bench.run(2)
    again = door.receive()
    assert [(message.body, message.deliveries, message.first_received_ms) for message in again] == [(b"a", 2, first[0].first_received_ms)]
    assert again[0].lease_id != first[0].lease_id
    assert door.end(first) == [SUPERSEDED]
    assert door.end(again) == [ENDED]


def test_the_latest_handle_is_good_after_its_deadline_until_it_is_leased_again(bench, door):
    door.send(b"a")
    messages = door.receive()
    bench.run(31)
    assert door.counts() == (1, 0, 0)
    assert door.end(messages, 10_000) == [ENDED]  # as AWS does
    assert door.counts() == (0, 1, 0)
    bench.run(11)
    assert door.counts() == (1, 0, 0)
    assert door.end(messages) == [ENDED]
    assert door.counts() == (0, 0, 0)
    assert door.receive() == []


def test_new_deadlines(bench, door):
    door.send(b"a")
    messages = door.receive()
    assert door.end(messages, 100_000) == [ENDED]
    bench.run(60)
    assert door.receive() == []
    assert door.end(messages, 0) == [ENDED]
    again = door.receive()
    assert [message.deliveries for message in again] == [2]
    bench.run(1)
    assert door.end(again, 43_200_000) == [TOO_LONG]
    assert door.end(again, 43_100_000) == [ENDED]


def test_a_handle_that_is_named_twice(door):
    door.send(b"one", b"two")
    messages = door.receive(10)
    assert door.end([messages[0], messages[1], messages[0]]) == [ENDED] * 3
    assert door.counts() == (0, 0, 0)


def test_foreign_handles(bench, door):
    door.create("other")
    door.send(b"a")
    door.send(b"a", queue="other")
    mine = door.receive()
    others = door.receive(queue="other")
    assert door.end(others) == [FOREIGN]
    others[0].queue_id = mine[0].queue_id
    assert door.end(others) == [SUPERSEDED]
    mine[0].offset = 17
    assert door.end(mine) == [FOREIGN]
    mine[0].offset = 2**64 - 1
    assert door.end(mine) == [FOREIGN]


def test_a_long_poll_wakes_at_once_in_the_order_of_waiting(bench, door):
    calls = [bench.connect().start_receive(1, wait_ms=20_000) for _ in range(3)]
    bench.run(1)
    assert [call.outcome for call in calls] == [PENDING] * 3
    before = bench.loop.time()
    door.send(b"a", b"b")
    door.until_done(calls[1])
    assert bench.loop.time() - before < 0.01
    assert [door.messages(call)[0].body for call in calls[:2]] == [b"a", b"b"]
    assert calls[2].outcome == PENDING
    bench.run(18)
    assert calls[2].outcome == PENDING
    bench.run(2)
    assert calls[2].outcome == DONE
    assert calls[2].received == []


def test_who_gives_up_gets_nothing_and_keeps_nothing(bench, door):
    waiting = door.start_receive(wait_ms=20_000)
    door.withdraw(waiting)
    assert (waiting.outcome, waiting.received) == (DONE, [])
    other = bench.connect()
    call = other.start_receive(wait_ms=20_000)
    other.close()
    door.send(b"a")
    granted = door.start_receive()
    assert granted.outcome == PENDING  # its lease is not durable yet
    door.withdraw(granted)
    door.until_done(granted)
    assert granted.received == []
    assert call.received == []
    assert door.received_bodies() == [b"a"]
    third = bench.connect()
    door.send(b"b")
    lost = third.start_receive()
    third.close()
    bench.run(0.1)
    assert lost.outcome == PENDING
    assert door.received_bodies() == [b"b"]


def test_leases_survive_a_restart(bench, door):
    door.send(b"a", b"b", b"c", b"d")
    first = door.receive(2)
    bench.run(31)
    second = door.receive(1)  # a, for the second time; b lapsed, with its handle
    assert second[0].body == b"a"
    bench, door = reopened(bench)
    assert door.counts() == (3, 1, 0)
    assert door.end(first[1:]) == [ENDED]
    assert door.received_bodies() == [b"c", b"d"]
    bench.run(31)
    again = {message.body: message for message in door.receive()}
    assert again[b"a"].deliveries == 3
    assert again[b"a"].first_received_ms == first[0].first_received_ms
    assert again[b"c"].deliveries == 2
    bench, door = reopened(bench)
    assert door.end(list(again.values())) == [ENDED] * 3
    bench, door = reopened(bench)
    assert door.counts() == (0, 0, 0)


def test_consumers_of_a_connection_and_timed_leases_share_a_queue(bench, door):
    door.send(*[b"%d" % number for number in range(6)])
    held = door.receive(2)
    other = bench.connect()
    other.consume("c", limit=2)
    bench.run()
    assert other.bodies() == [b"2", b"3"]
    assert door.received_bodies() == [b"4", b"5"]
    bench.run(31)
    other.accept("c")
    bench.run()
    assert [body for body, again in other.deliveries() if again] == [b"0", b"1"]
    assert door.end(held) == [SUPERSEDED] * 2
    other.close()
    bench.run()
    assert {message.body: message.deliveries for message in door.receive()}[b"0"] == 3


def test_a_queue_that_amqp_declared_has_timed_leases_too(bench):
    door = bench.connect()
    door.declare("q", x_message_ttl=60_000)
    door.put(b"a")
    assert door.describe().policy == TimedPolicy(retention_ms=60_000)
    assert door.received_bodies() == [b"a"]
    bench, door = reopened(bench)
    assert door.counts() == (0, 1, 0)
    bench.run(31)
    assert door.counts() == (1, 0, 0)
    bench.run(31)
    assert door.counts() == (0, 0, 0)


def test_retention(bench):
    door = bench.connect()
    door.create(retention_ms=60_000)
    door.send(b"a")
    bench.run(59)
    assert door.counts() == (1, 0, 0)
    bench.run(2)
    assert door.counts() == (0, 0, 0)


def test_creating_again(bench, door):
    description, created = door.create(visibility_ms=30_000)
    assert not created
    assert description.queue_id == bench.queue().log.id
    assert door.create()[1] is False
    with pytest.raises(Refused, match="visibility_ms") as refused:
        door.create(visibility_ms=10_000)
    assert refused.value.reason is Reason.EXISTS_DIFFERENT
    door.create("dead", attributes={"A": "1"}, tags={"t": "x"}, receive_max=3, dead_letter_queue="q")
    bench, door = reopened(bench)
    found = door.describe("dead")
    assert (found.attributes, found.tags, found.policy.receive_max, found.policy.dead_letter_queue) == ({"A": "1"}, {"t": "x"}, 3, "q")
    assert door.ask(ListQueues()) == (["dead", "q"], False)
    assert door.ask(ListQueues(limit=1)) == (["dead"], True)
    assert door.ask(ListQueues(after="dead")) == (["q"], False)
    assert door.ask(ListQueues(prefix="d")) == (["dead"], False)


def test_deleting_ends_what_waits(bench, door):
    waiting = door.start_receive(wait_ms=20_000)
    bench.run()
    door.ask(DeleteTimedQueue("q"))
    bench.run()
    assert waiting.error.reason is Reason.NOT_FOUND
    with pytest.raises(Refused):
        door.send(b"a")
    door.create()
    assert door.counts() == (0, 0, 0)


def test_purging_takes_what_is_leased_too(bench, door):
    door.send(b"a", b"b")
    door.receive(1)
    door.ask(PurgeTimedQueue("q"))
    assert door.counts() == (0, 0, 0)
    with pytest.raises(Refused):
        door.ask(PurgeTimedQueue("q"))
    bench, door = reopened(bench)
    assert door.counts() == (0, 0, 0)


def test_as_many_in_flight_as_there_may_be(bench, door):
    bench.queue().timed.in_flight_max = 3
    door.send(*[b"x"] * 5)
    held = door.receive()
    assert len(held) == 3
    with pytest.raises(Refused) as refused:
        door.receive()
    assert refused.value.reason is Reason.LIMIT
    door.end(held[:1])
    assert len(door.receive()) == 1


def test_a_record_that_is_too_large_is_refused_alone(bench):
    door = bench.connect()
    door.create(record_max_bytes=3)
    call = door.send(b"abc", b"abcd", b"x")
    assert [error and error.reason for error in call.errors] == [None, Reason.TOO_LARGE, None]
    assert door.received_bodies() == [b"abc", b"x"]


def test_a_changed_policy_is_brought_along(bench, door):
    door.ask(SetQueuePolicy("q", access_policy="{}"))
    with pytest.raises(PolicyChanged) as changed:
        door.send(b"a")
    assert changed.value.policy == "{}"
    version = changed.value.version
    door.send(b"a", version=version)
    assert [message.body for message in door.receive(version=version)] == [b"a"]
    door.ask(DeleteTimedQueue("q", policy_version=version))
    assert door.create(access_policy="{1}")[0].policy_version != version


def test_who_waits_was_let_in_by_the_policy_before(bench, door):
    waiting = bench.connect().start_receive(wait_ms=20_000)
    bench.run()
    assert waiting.outcome == PENDING
    door.ask(SetQueuePolicy("q", attributes={"a": "b"}))
    assert waiting.outcome == PENDING
    door.ask(SetQueuePolicy("q", access_policy="{}"))
    assert waiting.outcome == DONE


def test_a_receive_of_who_may_not_read_any_more_ends(bench):
    doors = Doors()
    doors.users.add_user("bob", "secret")
    bob = TimedConnection(doors, Principal("bob"))
    bob.create()
    bob.create("mine-q")
    waiting = [bob.start_receive(wait_ms=20_000, queue=queue) for queue in ("q", "mine-q")]
    doors.run()
    doors.permit("bob")
    assert [call.outcome for call in waiting] == [DONE, PENDING]
    with pytest.raises(Refused, match="access to queue 'q' in vhost '/' refused for user 'bob'"):
        bob.receive()


def test_what_is_on_disk_is_received_too(bench, door):
    bodies = [b"%05d" % number * 100 for number in range(500)]
    for start in range(0, 500, 50):
        door.send(*bodies[start : start + 50])
    bench, door = reopened(bench)
    got = []
    while messages := door.receive():
        got += [message.body for message in messages]
    assert got == bodies


def test_delays(bench):
    door = bench.connect()
    door.create(delay_ms=10_000)
    door.send(b"own", b"queue", b"now", b"own2", delays=[5_000, -1, 0, 5_000])
    assert door.counts() == (1, 0, 3)
    assert door.received_bodies() == [b"now"]
    waiting = door.start_receive(wait_ms=20_000)
    bench.run(5.2)
    assert [message.body for message in door.messages(waiting)] == [b"own", b"own2"]
    bench, door = reopened(bench)
    assert door.counts() == (0, 3, 1)
    bench.run(5)
    assert door.received_bodies() == [b"queue"]
    door.send(b"later")
    door.ask(PurgeTimedQueue("q"))
    assert door.counts() == (0, 0, 0)
    bench.run(11)
    assert door.counts() == (0, 0, 0)


def test_a_delay_that_ends_while_the_broker_is_down(bench):
    door = bench.connect()
    door.create()
    door.send(b"a", b"b", delays=[1_000, 60_000])
    bench.run()
    bench = bench.reopen()
    bench.run(2)
    door = bench.connect()
    assert door.received_bodies() == [b"a"]
    assert door.counts() == (0, 1, 1)


def test_a_mark_alone_is_no_delivery(bench):
    door = bench.connect()
    door.create("dead")
    door.create(dead_letter_queue="dead", receive_max=1)
    door.send(b"a", b"b")
    other = bench.connect()
    other.consume("c", limit=1)
    bench.run()
    other.close()
    bench, door = reopened(bench)
    assert [message.deliveries for message in door.receive()] == [1, 1]


def test_a_record_that_stays_does_not_keep_the_state_of_those_behind_it(bench, door):
    door.send(b"stays")
    stuck = door.receive(1, visibility_ms=40_000_000)
    for _ in range(10):
        door.send(*[b"x"] * 1000)
        while messages := door.receive():
            door.end(messages)
    bench.run()
    keys = bench.store.scan(bench.queue().log.shard, b"l:", b"l;", 100)
    assert len(keys) <= 2
    bench, door = reopened(bench)
    assert door.counts() == (0, 1, 0)
    assert door.end(stuck) == [ENDED]


def test_a_clock_that_is_set_back_stops_nothing(bench, door):
    door.send(b"a")
    door.receive()
    bench.clock.skew_ms -= 3_600_000
    bench.run(29)
    assert door.receive() == []
    bench.run(2)
    assert door.received_bodies() == [b"a"]
    bench.clock.skew_ms += 3_600_000
    bench.run(31)
    assert door.received_bodies() == [b"a"]


def test_a_deleted_queue_keeps_nothing(bench, door):
    door.send(*[b"x"] * 3000, delays=[1000 + number for number in range(3000)])
    door.send(b"a")
    door.receive()
    shard = bench.queue().log.shard
    door.ask(DeleteTimedQueue("q"))
    bench.run(1)
    for prefix in (b"l:", b"d:", b"e:", b"m:"):
        assert bench.store.scan(shard, prefix, prefix[:1] + b";", 10) == []


def test_who_is_gone_waits_no_more(bench, door):
    other = bench.connect()
    other.start_receive(wait_ms=20_000)
    mine = door.start_receive(wait_ms=20_000)
    other.close()
    assert bench.queue().timed.line.first is mine


def test_an_answer_has_about_a_mebibyte(bench, door):
    door.create("f", groups=True)
    bodies = [b"%d" % number * 300_000 for number in range(8)]
    for queue, groups in (("q", None), ("f", [b"g"])):
        for body in bodies:
            door.send(body, queue=queue, groups=groups)
        got = []
        while messages := door.receive(queue=queue):
            assert len(messages) <= 4
            got += [message.body for message in messages]
            door.end(messages, queue=queue)
        assert got == bodies


def test_a_receive_that_would_not_wait_sees_what_is_on_its_way_to_the_disk(door):
    door.start_send(b"a")
    assert door.received_bodies(wait_ms=0) == [b"a"]


def test_dead_letters_are_there_as_soon_as_the_receive_that_found_them_dead_is_answered(bench, door):
    door.create("dead")
    door.create("source", visibility_ms=1000, dead_letter_queue="dead", receive_max=1)
    door.send(b"a", queue="source")
    assert door.received_bodies(queue="source") == [b"a"]
    bench.run(2)
    assert door.received_bodies(queue="source") == []
    assert door.received_bodies(queue="dead") == [b"a"]


def test_a_lease_whose_time_is_over_ends_for_the_next_receive_whenever_its_timer_fires(door):
    door.send(b"a")
    for _ in range(3):
        assert door.received_bodies(visibility_ms=0) == [b"a"]


def test_a_session_that_fails_costs_nobody_else_of_its_commit_an_answer(bench, door):
    other = bench.connect()

    def fail(call):
        raise RuntimeError("a bug of a session")

    door.send(b"a", b"b")
    broken, sent, received = door.start_send(b"c"), other.start_send(b"d"), other.start_receive(1)
    first = door.start_receive(1)
    door.completed = fail
    with pytest.raises(RuntimeError, match="a bug of a session"):
        bench.run(1)
    bench.run(1)
    assert [call.outcome for call in (broken, sent, received, first)] == [DONE] * 4
    assert len(other.messages(received)) == 1
    assert bench.queue("q").log.durable_offset == 4


def test_what_was_sent_and_received_last_of_each_of_many_queues_leaves_memory(bench, door):
    bench.broker.hub.located_max_bytes = 300_000
    for number in range(50):
        door.create(f"q{number}")
        door.send(b"x" * 100_000, queue=f"q{number}")
        door.end(door.receive(1, queue=f"q{number}"), queue=f"q{number}")
    door.done.clear()
    bench.run()
    assert bytes_at_hand() < 800_000
