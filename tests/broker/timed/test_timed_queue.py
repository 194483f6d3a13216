"""Send, Receive and EndLeases on standard queues, over a real store in virtual time."""

import pytest
from broker_bench import bytes_at_hand
from test_revocation import Doors
from timed_bench import TimedBench, TimedConnection

from entrepot.broker.lease_calls import ENDED, FOREIGN, SUPERSEDED, TOO_LONG, PolicyChanged
from entrepot.broker.port import DONE, PENDING
from entrepot.broker.queue_requests import DeleteTimedQueue, ListQueues, PurgeTimedQueue, SetQueuePolicy, TimedPolicy
from entrepot.model.errors import Reason, Refused
from entrepot.model.principal import Principal


@pytest.fixture
def bench():
    return TimedBench()


@pytest.fixture
def link(bench):
    link = bench.connect()
    link.create(visibility_ms=30_000)
    return link


def reopened(bench):
    bench.run()
    bench = bench.reopen()
    return bench, bench.connect()


def test_what_is_sent_is_received_once_and_gone_when_settled(link):
    link.send(b"a", b"b", b"c")
    assert link.counts() == (3, 0, 0)
    messages = link.receive()
    assert [message.body for message in messages] == [b"a", b"b", b"c"]
    assert [message.deliveries for message in messages] == [1, 1, 1]
    assert link.receive() == []
    assert link.counts() == (0, 3, 0)
    assert link.end(messages) == [ENDED] * 3
    assert link.counts() == (0, 0, 0)
    assert link.end(messages) == [SUPERSEDED] * 3


def test_a_lease_ends_and_the_record_comes_again(bench, link):
    link.send(b"a", b"b")
    first = link.receive(1)
    bench.run(29)
    assert link.received_bodies() == [b"b"]
    assert link.receive() == []
    bench.run(2)
    again = link.receive()
    assert [(message.body, message.deliveries, message.first_received_ms) for message in again] == [(b"a", 2, first[0].first_received_ms)]
    assert again[0].lease_id != first[0].lease_id
    assert link.end(first) == [SUPERSEDED]
    assert link.end(again) == [ENDED]


def test_the_latest_handle_is_good_after_its_deadline_until_it_is_leased_again(bench, link):
    link.send(b"a")
    messages = link.receive()
    bench.run(31)
    assert link.counts() == (1, 0, 0)
    assert link.end(messages, 10_000) == [ENDED]  # as AWS does
    assert link.counts() == (0, 1, 0)
    bench.run(11)
    assert link.counts() == (1, 0, 0)
    assert link.end(messages) == [ENDED]
    assert link.counts() == (0, 0, 0)
    assert link.receive() == []


def test_new_deadlines(bench, link):
    link.send(b"a")
    messages = link.receive()
    assert link.end(messages, 100_000) == [ENDED]
    bench.run(60)
    assert link.receive() == []
    assert link.end(messages, 0) == [ENDED]
    again = link.receive()
    assert [message.deliveries for message in again] == [2]
    bench.run(1)
    assert link.end(again, 43_200_000) == [TOO_LONG]
    assert link.end(again, 43_100_000) == [ENDED]


def test_foreign_handles(bench, link):
    link.create("other")
    link.send(b"a")
    link.send(b"a", queue="other")
    mine = link.receive()
    others = link.receive(queue="other")
    assert link.end(others) == [FOREIGN]
    others[0].queue_id = mine[0].queue_id
    assert link.end(others) == [SUPERSEDED]
    mine[0].offset = 17
    assert link.end(mine) == [FOREIGN]
    mine[0].offset = 2**64 - 1
    assert link.end(mine) == [FOREIGN]


def test_a_long_poll_wakes_at_once_in_the_order_of_waiting(bench, link):
    calls = [bench.connect().start_receive(1, wait_ms=20_000) for _ in range(3)]
    bench.run(1)
    assert [call.outcome for call in calls] == [PENDING] * 3
    before = bench.loop.time()
    link.send(b"a", b"b")
    link.until_done(calls[1])
    assert bench.loop.time() - before < 0.01
    assert [link.messages(call)[0].body for call in calls[:2]] == [b"a", b"b"]
    assert calls[2].outcome == PENDING
    bench.run(18)
    assert calls[2].outcome == PENDING
    bench.run(2)
    assert calls[2].outcome == DONE
    assert calls[2].received == []


def test_who_gives_up_gets_nothing_and_keeps_nothing(bench, link):
    waiting = link.start_receive(wait_ms=20_000)
    link.withdraw(waiting)
    assert (waiting.outcome, waiting.received) == (DONE, [])
    other = bench.connect()
    call = other.start_receive(wait_ms=20_000)
    other.close()
    link.send(b"a")
    granted = link.start_receive()
    assert granted.outcome == PENDING  # its lease is not durable yet
    link.withdraw(granted)
    link.until_done(granted)
    assert granted.received == []
    assert call.received == []
    assert link.received_bodies() == [b"a"]
    third = bench.connect()
    link.send(b"b")
    lost = third.start_receive()
    third.close()
    bench.run(0.1)
    assert lost.outcome == PENDING
    assert link.received_bodies() == [b"b"]


def test_leases_survive_a_restart(bench, link):
    link.send(b"a", b"b", b"c", b"d")
    first = link.receive(2)
    bench.run(31)
    second = link.receive(1)  # a, for the second time; b lapsed, with its handle
    assert second[0].body == b"a"
    bench, link = reopened(bench)
    assert link.counts() == (3, 1, 0)
    assert link.end(first[1:]) == [ENDED]
    assert link.received_bodies() == [b"c", b"d"]
    bench.run(31)
    again = {message.body: message for message in link.receive()}
    assert again[b"a"].deliveries == 3
    assert again[b"a"].first_received_ms == first[0].first_received_ms
    assert again[b"c"].deliveries == 2
    bench, link = reopened(bench)
    assert link.end(list(again.values())) == [ENDED] * 3
    bench, link = reopened(bench)
    assert link.counts() == (0, 0, 0)


def test_consumers_of_a_connection_and_timed_leases_share_a_queue(bench, link):
    link.send(*[b"%d" % number for number in range(6)])
    held = link.receive(2)
    other = bench.connect()
    other.consume("c", limit=2)
    bench.run()
    assert other.bodies() == [b"2", b"3"]
    assert link.received_bodies() == [b"4", b"5"]
    bench.run(31)
    other.accept("c")
    bench.run()
    assert [body for body, again in other.deliveries() if again] == [b"0", b"1"]
    assert link.end(held) == [SUPERSEDED] * 2
    other.close()
    bench.run()
    assert {message.body: message.deliveries for message in link.receive()}[b"0"] == 3


def test_a_queue_that_amqp_declared_has_timed_leases_too(bench):
    link = bench.connect()
    link.declare("q", x_message_ttl=60_000)
    link.put(b"a")
    assert link.describe().policy == TimedPolicy(retention_ms=60_000)
    assert link.received_bodies() == [b"a"]
    bench, link = reopened(bench)
    assert link.counts() == (0, 1, 0)
    bench.run(31)
    assert link.counts() == (1, 0, 0)
    bench.run(31)
    assert link.counts() == (0, 0, 0)


def test_retention(bench):
    link = bench.connect()
    link.create(retention_ms=60_000)
    link.send(b"a")
    bench.run(59)
    assert link.counts() == (1, 0, 0)
    bench.run(2)
    assert link.counts() == (0, 0, 0)


def test_creating_again(bench, link):
    description, created = link.create(visibility_ms=30_000)
    assert not created
    assert description.queue_id == bench.queue().log.id
    assert link.create()[1] is False
    with pytest.raises(Refused, match="visibility_ms") as refused:
        link.create(visibility_ms=10_000)
    assert refused.value.reason is Reason.EXISTS_DIFFERENT
    link.create("dead", attributes={"A": "1"}, tags={"t": "x"}, receive_max=3, dead_letter_queue="q")
    bench, link = reopened(bench)
    found = link.describe("dead")
    assert (found.attributes, found.tags, found.policy.receive_max, found.policy.dead_letter_queue) == ({"A": "1"}, {"t": "x"}, 3, "q")
    assert link.ask(ListQueues()) == (["dead", "q"], False)
    assert link.ask(ListQueues(limit=1)) == (["dead"], True)
    assert link.ask(ListQueues(after="dead")) == (["q"], False)
    assert link.ask(ListQueues(prefix="d")) == (["dead"], False)


def test_deleting_ends_what_waits(bench, link):
    waiting = link.start_receive(wait_ms=20_000)
    link.ask(DeleteTimedQueue("q"))
    assert waiting.error.reason is Reason.NOT_FOUND
    with pytest.raises(Refused):
        link.send(b"a")
    link.create()
    assert link.counts() == (0, 0, 0)


def test_purging_takes_what_is_leased_too(bench, link):
    link.send(b"a", b"b")
    link.receive(1)
    link.ask(PurgeTimedQueue("q"))
    assert link.counts() == (0, 0, 0)
    with pytest.raises(Refused):
        link.ask(PurgeTimedQueue("q"))
    bench, link = reopened(bench)
    assert link.counts() == (0, 0, 0)


def test_as_many_in_flight_as_there_may_be(bench, link):
    bench.queue().timed.in_flight_max = 3
    link.send(*[b"x"] * 5)
    held = link.receive()
    assert len(held) == 3
    with pytest.raises(Refused) as refused:
        link.receive()
    assert refused.value.reason is Reason.LIMIT
    link.end(held[:1])
    assert len(link.receive()) == 1


def test_a_record_that_is_too_large_is_refused_alone(bench):
    link = bench.connect()
    link.create(record_max_bytes=3)
    call = link.send(b"abc", b"abcd", b"x")
    assert [error and error.reason for error in call.errors] == [None, Reason.TOO_LARGE, None]
    assert link.received_bodies() == [b"abc", b"x"]


def test_a_changed_policy_is_brought_along(bench, link):
    link.ask(SetQueuePolicy("q", access_policy="{}"))
    with pytest.raises(PolicyChanged) as changed:
        link.send(b"a")
    assert changed.value.policy == "{}"
    version = changed.value.version
    link.send(b"a", version=version)
    assert [message.body for message in link.receive(version=version)] == [b"a"]
    link.ask(DeleteTimedQueue("q", policy_version=version))
    assert link.create(access_policy="{1}")[0].policy_version != version


def test_who_waits_was_let_in_by_the_policy_before(bench, link):
    waiting = bench.connect().start_receive(wait_ms=20_000)
    bench.run()
    assert waiting.outcome == PENDING
    link.ask(SetQueuePolicy("q", attributes={"a": "b"}))
    assert waiting.outcome == PENDING
    link.ask(SetQueuePolicy("q", access_policy="{}"))
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


def test_what_is_on_disk_is_received_too(bench, link):
    bodies = [b"%05d" % number * 100 for number in range(500)]
    for start in range(0, 500, 50):
        link.send(*bodies[start : start + 50])
    bench, link = reopened(bench)
    got = []
    while messages := link.receive():
        got += [message.body for message in messages]
    assert got == bodies


def test_delays(bench):
    link = bench.connect()
    link.create(delay_ms=10_000)
    link.send(b"own", b"queue", b"now", b"own2", delays=[5_000, -1, 0, 5_000])
    assert link.counts() == (1, 0, 3)
    assert link.received_bodies() == [b"now"]
    waiting = link.start_receive(wait_ms=20_000)
    bench.run(5.2)
    assert [message.body for message in link.messages(waiting)] == [b"own", b"own2"]
    bench, link = reopened(bench)
    assert link.counts() == (0, 3, 1)
    bench.run(5)
    assert link.received_bodies() == [b"queue"]
    link.send(b"later")
    link.ask(PurgeTimedQueue("q"))
    assert link.counts() == (0, 0, 0)
    bench.run(11)
    assert link.counts() == (0, 0, 0)


def test_a_delay_that_ends_while_the_broker_is_down(bench):
    link = bench.connect()
    link.create()
    link.send(b"a", b"b", delays=[1_000, 60_000])
    bench.run()
    bench = bench.reopen()
    bench.run(2)
    link = bench.connect()
    assert link.received_bodies() == [b"a"]
    assert link.counts() == (0, 1, 1)


def test_a_mark_alone_is_no_delivery(bench):
    link = bench.connect()
    link.create("dead")
    link.create(dead_letter_queue="dead", receive_max=1)
    link.send(b"a", b"b")
    other = bench.connect()
    other.consume("c", limit=1)
    bench.run()
    other.close()
    bench, link = reopened(bench)
    assert [message.deliveries for message in link.receive()] == [1, 1]


def test_a_record_that_stays_does_not_keep_the_state_of_those_behind_it(bench, link):
    link.send(b"stays")
    stuck = link.receive(1, visibility_ms=40_000_000)
    for _ in range(10):
        link.send(*[b"x"] * 1000)
        while messages := link.receive():
            link.end(messages)
    bench.run()
    keys = bench.store.scan(bench.queue().log.shard, b"l:", b"l;", 100)
    assert len(keys) <= 2
    bench, link = reopened(bench)
    assert link.counts() == (0, 1, 0)
    assert link.end(stuck) == [ENDED]


def test_a_clock_that_is_set_back_stops_nothing(bench, link):
    link.send(b"a")
    link.receive()
    bench.clock.skew_ms -= 3_600_000
    bench.run(29)
    assert link.receive() == []
    bench.run(2)
    assert link.received_bodies() == [b"a"]
    bench.clock.skew_ms += 3_600_000
    bench.run(31)
    assert link.received_bodies() == [b"a"]


def test_a_deleted_queue_keeps_nothing(bench, link):
    link.send(*[b"x"] * 3000, delays=[1000 + number for number in range(3000)])
    link.send(b"a")
    link.receive()
    shard = bench.queue().log.shard
    link.ask(DeleteTimedQueue("q"))
    bench.run(1)
    for prefix in (b"l:", b"d:", b"e:", b"m:"):
        assert bench.store.scan(shard, prefix, prefix[:1] + b";", 10) == []


def test_who_is_gone_waits_no_more(bench, link):
    other = bench.connect()
    other.start_receive(wait_ms=20_000)
    mine = link.start_receive(wait_ms=20_000)
    other.close()
    assert bench.queue().timed.line.first is mine


def test_an_answer_has_about_a_mebibyte(bench, link):
    link.create("f", groups=True)
    bodies = [b"%d" % number * 300_000 for number in range(8)]
    for queue, groups in (("q", None), ("f", [b"g"])):
        for body in bodies:
            link.send(body, queue=queue, groups=groups)
        got = []
        while messages := link.receive(queue=queue):
            assert len(messages) <= 4
            got += [message.body for message in messages]
            link.end(messages, queue=queue)
        assert got == bodies


def test_a_receive_that_would_not_wait_sees_what_is_on_its_way_to_the_disk(link):
    link.start_send(b"a")
    assert link.received_bodies(wait_ms=0) == [b"a"]


def test_dead_letters_are_there_as_soon_as_the_receive_that_found_them_dead_is_answered(bench, link):
    link.create("dead")
    link.create("source", visibility_ms=1000, dead_letter_queue="dead", receive_max=1)
    link.send(b"a", queue="source")
    assert link.received_bodies(queue="source") == [b"a"]
    bench.run(2)
    assert link.received_bodies(queue="source") == []
    assert link.received_bodies(queue="dead") == [b"a"]


def test_a_lease_whose_time_is_over_ends_for_the_next_receive_whenever_its_timer_fires(link):
    link.send(b"a")
    for _ in range(3):
        assert link.received_bodies(visibility_ms=0) == [b"a"]


def test_a_session_that_fails_costs_nobody_else_of_its_commit_an_answer(bench, link):
    other = bench.connect()

    def fail(call):
        raise RuntimeError("a bug of a session")

    link.send(b"a", b"b")
    broken, sent, received = link.start_send(b"c"), other.start_send(b"d"), other.start_receive(1)
    first = link.start_receive(1)
    link.completed = fail
    with pytest.raises(RuntimeError, match="a bug of a session"):
        bench.run(1)
    bench.run(1)
    assert [call.outcome for call in (broken, sent, received, first)] == [DONE] * 4
    assert len(other.messages(received)) == 1
    assert bench.queue("q").log.durable_offset == 4


def test_what_was_sent_and_received_last_of_each_of_many_queues_leaves_memory(bench, link):
    bench.broker.hub.located_max_bytes = 300_000
    for number in range(50):
        link.create(f"q{number}")
        link.send(b"x" * 100_000, queue=f"q{number}")
        link.end(link.receive(1, queue=f"q{number}"), queue=f"q{number}")
    link.done.clear()
    bench.run()
    assert bytes_at_hand() < 800_000
