"""What is received too often moves to another queue; tasks move it on, or back."""

import pytest
from timed_bench import TimedBench

from entrepot.broker.calls.lease_calls import ENDED, SUPERSEDED
from entrepot.broker.calls.queue_requests import CancelMove, CreateTimedQueue, DeleteTimedQueue, ListMoves, ListSources, SetQueuePolicy, StartMove, TimedPolicy
from entrepot.broker.calls.requests import DeclareQueue
from entrepot.model.errors import Reason, Refused


@pytest.fixture
def bench():
    return TimedBench()


@pytest.fixture
def door(bench):
    door = bench.connect()
    door.create("dead")
    door.create(dead_letter_queue="dead", receive_max=2, visibility_ms=1_000)
    return door


def reopened(bench):
    bench.run()
    bench = bench.reopen()
    return bench, bench.connect()


def exhaust(bench, door, queue="q"):
    """Let everything there be received as often as it may, and once more."""
    for _ in range(2):
        while door.receive(queue=queue):
            pass
        bench.run(1.1)
    assert door.receive(queue=queue) == []
    bench.run()


def refusal(door, request):
    with pytest.raises(Refused) as refused:
        door.ask(request)
    return refused.value.reason


def test_what_is_received_too_often_is_dead(bench, door):
    door.send(b"a", b"b")
    messages = door.receive(2)
    door.end(messages[1:])
    bench.run(1.1)
    assert [message.deliveries for message in door.receive()] == [2]
    bench.run(1.1)
    waiting = door.start_receive(wait_ms=20_000, queue="dead")
    assert door.receive() == []
    door.until_done(waiting)
    found = door.messages(waiting)
    assert [(message.body, message.deliveries, message.first_received_ms) for message in found] == [(b"a", 3, messages[0].first_received_ms)]
    assert door.counts() == (0, 0, 0)
    assert bench.broker.statistics()["dead_lettered_total"] == 1
    bench, door = reopened(bench)
    bench.run(31)
    assert [message.deliveries for message in door.receive(queue="dead")] == [4]
    assert door.end(found, queue="dead") == [SUPERSEDED]


def test_without_its_dead_letter_queue_it_stays(bench, door):
    door.send(b"a")
    door.ask(DeleteTimedQueue("dead"))
    for count in (1, 2, 3):
        assert [message.deliveries for message in door.receive()] == [count]
        bench.run(1.1)


def test_a_queue_with_priorities_is_no_dead_letter_queue(bench, door):
    """It can have no timed leases: what would go there stays, and a task that would is over."""
    door.send(b"a")
    door.ask(DeleteTimedQueue("dead"))
    door.ask(DeclareQueue("dead", durable=True, arguments={"x-max-priority": 3}))
    for count in (1, 2, 3):
        assert [message.deliveries for message in door.receive()] == [count]
        bench.run(1.1)
    door.create("source")
    door.create("user", dead_letter_queue="source", receive_max=1)
    door.create("target")
    door.send(b"b", b"c", b"d", queue="source")
    door.ask(StartMove("source", "target", 1))
    door.ask(DeleteTimedQueue("target"))
    door.ask(DeclareQueue("target", durable=True, arguments={"x-max-priority": 3}))
    bench.run(3)
    found = door.ask(ListMoves("source"))[0]
    assert (found.status, found.failure) == ("FAILED", "queue 'target' has priorities, or does not exist")


def test_a_limit_holds_over_a_restart(bench, door):
    door.send(b"a")
    door.receive()
    bench.run(1.1)
    door.receive()
    bench, door = reopened(bench)
    bench.run(1.1)
    assert door.receive() == []
    bench.run()
    assert door.received_bodies(queue="dead") == [b"a"]


def test_of_a_group_the_next_comes_when_the_dead_one_is_gone(bench):
    door = bench.connect()
    door.create("dead", groups=True)
    door.create(groups=True, dead_letter_queue="dead", receive_max=1, visibility_ms=1_000)
    door.send(b"a1", b"a2", groups=[b"a"] * 2)
    assert door.received_bodies(1) == [b"a1"]
    bench.run(1.1)
    waiting = door.start_receive(wait_ms=20_000)
    door.until_done(waiting)
    assert [message.body for message in door.messages(waiting)] == [b"a2"]
    assert door.received_bodies(queue="dead") == [b"a1"]


def test_all_of_a_group_that_are_dead_go_at_once(bench):
    door = bench.connect()
    door.create("dead", groups=True)
    door.create(groups=True, dead_letter_queue="dead", receive_max=1, visibility_ms=1_000)
    door.send(b"a1", b"a2", b"a3", groups=[b"a"] * 3)
    assert door.received_bodies(2) == [b"a1", b"a2"]
    bench.run(1.1)
    assert door.received_bodies() == [b"a3"]
    assert door.received_bodies(queue="dead") == [b"a1", b"a2"]


class Limited:
    """`mine` only."""

    version = 0

    def watch(self, tell):
        pass

    def authorize_namespace(self, *asked):
        pass

    def may(self, principal, action, namespace, name):
        return name.startswith("mine")

    def authorize(self, principal, action, namespace, kind, name, granted=False):
        if not granted and not name.startswith("mine"):
            raise Refused(Reason.NOT_PERMITTED, name)


def test_dead_letters_go_where_their_owner_may_write(bench, door):
    door.create("mine-dead")
    door.create("others", dead_letter_queue="mine-dead", receive_max=1)
    bench.broker.authorizer = Limited()
    assert refusal(door, CreateTimedQueue("mine", TimedPolicy(dead_letter_queue="dead", receive_max=1), frozenset(), {}, {})) is Reason.NOT_PERMITTED
    door.create("mine")
    assert refusal(door, SetQueuePolicy("mine", TimedPolicy(dead_letter_queue="dead", receive_max=1))) is Reason.NOT_PERMITTED
    assert refusal(door, StartMove("mine-dead")) is Reason.NOT_PERMITTED
    assert refusal(door, StartMove("mine-dead", "dead")) is Reason.NOT_PERMITTED
    assert refusal(door, CreateTimedQueue("q2", TimedPolicy(), frozenset(), {}, {}, granted=True)) is Reason.NOT_PERMITTED


def test_who_may_be_a_dead_letter_queue(door):
    assert refusal(door, CreateTimedQueue("x", TimedPolicy(dead_letter_queue="none", receive_max=1), frozenset(), {}, {})) is Reason.NOT_FOUND
    assert refusal(door, CreateTimedQueue("x", TimedPolicy(dead_letter_queue="dead", receive_max=1, groups=True), frozenset(), {}, {})) is Reason.INVALID
    door.create("closed", sources_allowed=())
    door.create("choosy", sources_allowed=("x",))
    assert refusal(door, CreateTimedQueue("x", TimedPolicy(dead_letter_queue="closed", receive_max=1), frozenset(), {}, {})) is Reason.INVALID
    assert refusal(door, SetQueuePolicy("q", TimedPolicy(dead_letter_queue="choosy", receive_max=1))) is Reason.INVALID
    door.create("x", dead_letter_queue="choosy", receive_max=1)
    assert door.ask(ListSources("choosy")) == (["x"], False)
    assert door.ask(ListSources("dead")) == (["q"], False)


def test_a_task_brings_everything_back(bench, door):
    door.create("p", dead_letter_queue="dead", receive_max=2, visibility_ms=1_000)
    door.send(*[b"q%d" % number for number in range(300)])
    door.send(b"p0", queue="p")
    exhaust(bench, door)
    exhaust(bench, door, "p")
    assert door.counts("dead") == (301, 0, 0)
    task = door.ask(StartMove("dead"))
    assert (task.status, task.to_move) == ("RUNNING", 301)
    bench.run(2)
    tasks = door.ask(ListMoves("dead"))
    assert [(one.task_id, one.status, one.moved) for one in tasks] == [(task.task_id, "COMPLETED", 301)]
    assert door.counts("dead") == (0, 0, 0)
    assert door.counts() == (300, 0, 0)
    assert door.received_bodies(queue="p") == [b"p0"]
    bench, door = reopened(bench)
    assert door.ask(ListMoves("dead")) == tasks


def test_a_limited_task_goes_on_after_a_restart_until_it_is_cancelled(bench, door):
    door.create("other")
    door.send(*[b"x"] * 100, queue="dead")
    task = door.ask(StartMove("dead", "other", 10))
    assert refusal(door, StartMove("dead")) is Reason.IN_USE
    bench.run(2)
    bench, door = reopened(bench)
    bench.run(2)
    visible = door.counts("other")[0]
    assert 30 <= visible <= 50
    assert door.counts("dead")[0] == 100 - visible
    cancelled = door.ask(CancelMove(task.task_id))
    assert (cancelled.status, cancelled.moved) == ("CANCELLED", door.counts("other")[0])
    assert refusal(door, CancelMove(task.task_id)) is Reason.NOT_FOUND
    bench.run(5)
    assert door.counts("other")[0] == cancelled.moved


def test_tasks_that_cannot_be(bench, door):
    assert refusal(door, StartMove("q")) is Reason.INVALID
    assert refusal(door, StartMove("none")) is Reason.NOT_FOUND
    assert refusal(door, StartMove("dead", "none")) is Reason.NOT_FOUND
    door.create("other")
    door.send(b"a", b"b", b"c", queue="dead")
    door.ask(StartMove("dead", "other", 1))
    door.ask(DeleteTimedQueue("other"))
    bench.run(2)
    found = door.ask(ListMoves("dead"))[0]
    assert (found.status, found.failure) == ("FAILED", "queue 'other' has priorities, or does not exist")
    door.send(b"nobody's", queue="dead")
    door.ask(StartMove("dead"))
    bench.run(1)
    assert door.ask(ListMoves("dead"))[0].status == "FAILED"
    assert door.end(door.receive(queue="dead"), queue="dead")[0] == ENDED
