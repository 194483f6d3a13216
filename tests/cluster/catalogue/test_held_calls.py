"""What comes while nobody who decides is heard of: of connections that wait it is carried out when somebody is again, in its order."""

import pytest
from broker_bench import CODEC, record_of
from brokers import same

from entrepot.broker.calls import requests as r
from entrepot.broker.calls.lease_calls import ENDED, make_end_leases, make_receive, make_send, make_withdraw
from entrepot.broker.calls.port import DONE, PENDING, UNAVAILABLE
from entrepot.broker.calls.queue_requests import CreateTimedQueue, TimedPolicy
from entrepot.broker.front import held_calls
from entrepot.model.errors import Unavailable


@pytest.fixture
def waits(there):
    there.door.wait_for_catalogue()
    return there


def own_queue(cluster, connection):
    """A queue that is where the connection is, so that publishing needs no other process."""
    process = cluster.processes[-1]
    for number in range(20):
        connection.declare(f"own{number}")
        if process.broker.shards.place(process.space.queues[f"own{number}"]) % cluster.count == process.number:
            return f"own{number}"
    raise AssertionError("no queue is there")


def cut_off(cluster):
    """The last process, from who decides, until its lease is over."""
    cluster.wires[0, cluster.count - 1].break_off()
    cluster.run(4.0)
    with pytest.raises(Unavailable):
        cluster.processes[-1].following.check()


def test_what_comes_while_nobody_decides_is_done_in_its_order(cluster, waits):
    queue = own_queue(cluster, waits)
    cut_off(cluster)
    first = waits.publish(b"1", key=queue)
    asked = [
        waits.submit(r.DeclareQueue("q", durable=True)),
        waits.submit(r.DeclareQueue(queue, passive=True)),
        waits.submit(r.DeclareQueue("", exclusive=True)),
    ]
    later = waits.publish(b"2", key=queue), waits.publish(b"3", key=queue)
    assert {call.outcome for call in (first, *later, *asked)} == {PENDING}
    cluster.wires[0, cluster.count - 1].begin()
    cluster.settle()
    cluster.run(1)
    assert {call.outcome for call in (first, *later, *asked)} == {DONE}
    assert waits.put(b"4", key=queue).outcome == DONE
    assert [waits.get(queue)[0] for _ in range(4)] == [b"1", b"2", b"3", b"4"]
    assert same(cluster)


def test_a_decider_that_starts_again_finds_what_came_meanwhile(cluster, waits):
    queue = own_queue(cluster, waits)
    last = cluster.processes[-1]
    last.following.dead(last.following.link)
    calls = [waits.submit(r.DeclareQueue("q", durable=True)), waits.submit(r.DeleteQueue("other"))]
    assert {call.outcome for call in calls} == {PENDING}
    assert waits.put(b"1", key=queue).outcome == DONE  # its lease is not over
    cluster.restart(0)
    calls.append(waits.publish(b"2", key=queue))
    cluster.settle()
    calls.append(waits.publish(b"3", key=queue))
    cluster.run(1)
    assert {call.outcome for call in calls} == {DONE}
    assert [waits.get(queue)[0] for _ in range(3)] == [b"1", b"2", b"3"]


def test_it_does_not_wait_for_ever(cluster, waits):
    queue = own_queue(cluster, waits)
    cut_off(cluster)
    first = waits.publish(b"1", key=queue)
    cluster.run(held_calls.HELD_S / 2)
    second = waits.submit(r.DeclareQueue("q", durable=True))
    cluster.run(held_calls.HELD_S / 2 + 0.1)
    assert (first.outcome, second.outcome) == (UNAVAILABLE, PENDING)
    cluster.run(held_calls.HELD_S / 2)
    assert second.outcome == UNAVAILABLE
    assert len(cluster.processes[-1].broker.held) == 0


def test_a_connection_that_does_not_wait_is_told_at_once(cluster, there):
    queue = own_queue(cluster, there)
    cut_off(cluster)
    assert there.publish(b"1", key=queue).outcome == UNAVAILABLE
    assert there.submit(r.DeclareQueue("q")).outcome == UNAVAILABLE


def test_there_is_room_for_so_much(cluster, waits, monkeypatch):
    monkeypatch.setattr(held_calls, "HELD_MAX_BYTES", 1000)
    queue = own_queue(cluster, waits)
    cut_off(cluster)
    calls = [waits.publish(bytes(400), key=queue) for _ in range(5)]
    assert [call.outcome for call in calls] == [PENDING, PENDING, UNAVAILABLE, UNAVAILABLE, UNAVAILABLE]


def test_what_nobody_hears_of_is_published_though_its_connection_has_ended(cluster, waits):
    queue = own_queue(cluster, waits)
    cut_off(cluster)
    waits.publish(b"told of", key=queue)
    waits.publish(b"not", key=queue, confirm=False)
    waits.close()
    cluster.wires[0, cluster.count - 1].begin()
    cluster.settle()
    other = cluster.processes[-1].connect()
    assert other.get(queue)[0] == b"not"


def test_two_who_declare_one_queue_at_a_time(cluster, here, there):
    """The second's count is asked of its owner when that knows it."""
    calls = [connection.submit(r.DeclareQueue(f"q{number}", durable=True)) for number in range(12) for connection in (here, there, here)]
    cluster.run(2)
    assert {call.outcome for call in calls} == {DONE}


# ---- queues with timed leases


@pytest.fixture
def timed(cluster, waits):
    """The name of one that is where the connection is."""
    process = cluster.processes[-1]
    for number in range(20):
        waits.submit(CreateTimedQueue(f"t{number}", TimedPolicy(visibility_ms=60_000), frozenset(), {}, {}, ""))
        cluster.run(1)
        if process.broker.shards.place(process.space.queues[f"t{number}"]) % cluster.count == process.number:
            return f"t{number}"
    raise AssertionError("no queue is there")


def start(connection, call):
    connection.door.submit(call)
    return call


def send(connection, queue, body):
    return start(connection, make_send(1, queue, CODEC.tag, CODEC.version, 0, record_of(body), 1, [len(body)], [body.rjust(16)]))


def receive(connection, queue, wait_ms=0):
    return start(connection, make_receive(1, queue, CODEC.tag, 1, -1, wait_ms))


def go_on(cluster):
    cluster.wires[0, cluster.count - 1].begin()
    cluster.settle()
    cluster.run(1)


def test_timed_calls_wait_too(cluster, waits, timed):
    send(waits, timed, b"1")
    held = receive(waits, timed, 1000)
    cluster.run(1)
    cut_off(cluster)
    end = make_end_leases(1, timed, held.queue_id, [held.received[0].offset], [held.lease_id], None)
    calls = [send(waits, timed, b"2"), start(waits, end), receive(waits, timed, 10_000)]
    assert {call.outcome for call in calls} == {PENDING}
    go_on(cluster)
    assert {call.outcome for call in calls} == {DONE}
    assert end.statuses == [ENDED]
    assert [item.offset for item in calls[2].received] == calls[0].offsets


@pytest.mark.parametrize(("wait_ms", "after_s"), [(2000, 2.0), (0, 5.0), (-1, 5.0)])
def test_a_receive_is_over_in_its_time(cluster, waits, timed, wait_ms, after_s):
    cut_off(cluster)
    call = receive(waits, timed, wait_ms)
    cluster.run(after_s - 0.1)
    assert call.outcome == PENDING
    cluster.run(0.2)
    assert (call.outcome, call.received, call.timed) == (DONE, [], None)
    go_on(cluster)
    assert len(cluster.processes[-1].broker.held) == 0


def test_what_is_left_of_its_time_a_receive_waits_at_its_queue(cluster, waits, timed):
    cut_off(cluster)
    call = receive(waits, timed, 4000)
    cluster.run(1.5)
    go_on(cluster)
    cluster.run(0.9)
    assert call.outcome == PENDING
    cluster.run(0.7)
    assert (call.outcome, call.received) == (DONE, [])


def test_a_receive_that_is_given_up(cluster, waits, timed):
    cut_off(cluster)
    call, other = receive(waits, timed, 10_000), receive(waits, timed, 10_000)
    start(waits, make_withdraw(1, call))
    assert (call.outcome, other.outcome) == (DONE, PENDING)
    waits.close()
    go_on(cluster)
    cluster.run(10)
    assert other.outcome == PENDING


def test_timed_calls_do_not_wait_for_ever(cluster, waits, timed):
    cut_off(cluster)
    call, waiting = send(waits, timed, b"1"), receive(waits, timed, 60_000)
    cluster.run(held_calls.HELD_S + 0.1)
    assert (call.outcome, waiting.outcome, waiting.timed) == (UNAVAILABLE, UNAVAILABLE, None)


def test_there_is_room_for_so_much_that_is_sent(cluster, waits, timed, monkeypatch):
    monkeypatch.setattr(held_calls, "HELD_MAX_BYTES", 1000)
    cut_off(cluster)
    calls = [send(waits, timed, bytes(400)) for _ in range(3)]
    assert [call.outcome for call in calls] == [PENDING, PENDING, UNAVAILABLE]
