"""What is received too often moves to another queue; tasks move it on, or back."""

import pytest
from timed_bench import TimedBench

from entrepot.broker.lease_calls import ENDED, SUPERSEDED
from entrepot.broker.queue_requests import CancelMove, CreateTimedQueue, DeleteTimedQueue, ListMoves, ListSources, SetQueuePolicy, StartMove, TimedPolicy
from entrepot.model.errors import Reason, Refused


@pytest.fixture
def bench():
    return TimedBench()


@pytest.fixture
def link(bench):
    link = bench.connect()
    link.create("dead")
    link.create(dead_letter_queue="dead", receive_max=2, visibility_ms=1_000)
    return link


def reopened(bench):
    bench.run()
    bench = bench.reopen()
    return bench, bench.connect()


def exhaust(bench, link, queue="q"):
    """Let everything there be received as often as it may, and once more."""
    for _ in range(2):
        while link.receive(queue=queue):
            pass
        bench.run(1.1)
    assert link.receive(queue=queue) == []
    bench.run()


def refusal(link, request):
    with pytest.raises(Refused) as refused:
        link.ask(request)
    return refused.value.reason


def test_what_is_received_too_often_is_dead(bench, link):
    link.send(b"a", b"b")
    messages = link.receive(2)
    link.end(messages[1:])
    bench.run(1.1)
    assert [message.deliveries for message in link.receive()] == [2]
    bench.run(1.1)
    waiting = link.start_receive(wait_ms=20_000, queue="dead")
    assert link.receive() == []
    link.until_done(waiting)
    found = link.messages(waiting)
    assert [(message.body, message.deliveries, message.first_received_ms) for message in found] == [(b"a", 3, messages[0].first_received_ms)]
    assert link.counts() == (0, 0, 0)
    assert bench.broker.statistics()["dead_lettered_total"] == 1
    bench, link = reopened(bench)
    bench.run(31)
    assert [message.deliveries for message in link.receive(queue="dead")] == [4]
    assert link.end(found, queue="dead") == [SUPERSEDED]


def test_without_its_dead_letter_queue_it_stays(bench, link):
    link.send(b"a")
    link.ask(DeleteTimedQueue("dead"))
    for count in (1, 2, 3):
        assert [message.deliveries for message in link.receive()] == [count]
        bench.run(1.1)


def test_a_limit_holds_over_a_restart(bench, link):
    link.send(b"a")
    link.receive()
    bench.run(1.1)
    link.receive()
    bench, link = reopened(bench)
    bench.run(1.1)
    assert link.receive() == []
    bench.run()
    assert link.received_bodies(queue="dead") == [b"a"]


def test_of_a_group_the_next_comes_when_the_dead_one_is_gone(bench):
    link = bench.connect()
    link.create("dead", groups=True)
    link.create(groups=True, dead_letter_queue="dead", receive_max=1, visibility_ms=1_000)
    link.send(b"a1", b"a2", groups=[b"a"] * 2)
    assert link.received_bodies(1) == [b"a1"]
    bench.run(1.1)
    waiting = link.start_receive(wait_ms=20_000)
    link.until_done(waiting)
    assert [message.body for message in link.messages(waiting)] == [b"a2"]
    assert link.received_bodies(queue="dead") == [b"a1"]


def test_all_of_a_group_that_are_dead_go_at_once(bench):
    link = bench.connect()
    link.create("dead", groups=True)
    link.create(groups=True, dead_letter_queue="dead", receive_max=1, visibility_ms=1_000)
    link.send(b"a1", b"a2", b"a3", groups=[b"a"] * 3)
    assert link.received_bodies(2) == [b"a1", b"a2"]
    bench.run(1.1)
    assert link.received_bodies() == [b"a3"]
    assert link.received_bodies(queue="dead") == [b"a1", b"a2"]


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


def test_dead_letters_go_where_their_owner_may_write(bench, link):
    link.create("mine-dead")
    link.create("others", dead_letter_queue="mine-dead", receive_max=1)
    bench.broker.authorizer = Limited()
    assert refusal(link, CreateTimedQueue("mine", TimedPolicy(dead_letter_queue="dead", receive_max=1), frozenset(), {}, {})) is Reason.NOT_PERMITTED
    link.create("mine")
    assert refusal(link, SetQueuePolicy("mine", TimedPolicy(dead_letter_queue="dead", receive_max=1))) is Reason.NOT_PERMITTED
    assert refusal(link, StartMove("mine-dead")) is Reason.NOT_PERMITTED
    assert refusal(link, StartMove("mine-dead", "dead")) is Reason.NOT_PERMITTED
    assert refusal(link, CreateTimedQueue("q2", TimedPolicy(), frozenset(), {}, {}, granted=True)) is Reason.NOT_PERMITTED


def test_who_may_be_a_dead_letter_queue(link):
    assert refusal(link, CreateTimedQueue("x", TimedPolicy(dead_letter_queue="none", receive_max=1), frozenset(), {}, {})) is Reason.NOT_FOUND
    assert refusal(link, CreateTimedQueue("x", TimedPolicy(dead_letter_queue="dead", receive_max=1, groups=True), frozenset(), {}, {})) is Reason.INVALID
    link.create("closed", sources_allowed=())
    link.create("choosy", sources_allowed=("x",))
    assert refusal(link, CreateTimedQueue("x", TimedPolicy(dead_letter_queue="closed", receive_max=1), frozenset(), {}, {})) is Reason.INVALID
    assert refusal(link, SetQueuePolicy("q", TimedPolicy(dead_letter_queue="choosy", receive_max=1))) is Reason.INVALID
    link.create("x", dead_letter_queue="choosy", receive_max=1)
    assert link.ask(ListSources("choosy")) == (["x"], False)
    assert link.ask(ListSources("dead")) == (["q"], False)


def test_a_task_brings_everything_back(bench, link):
    link.create("p", dead_letter_queue="dead", receive_max=2, visibility_ms=1_000)
    link.send(*[b"q%d" % number for number in range(300)])
    link.send(b"p0", queue="p")
    exhaust(bench, link)
    exhaust(bench, link, "p")
    assert link.counts("dead") == (301, 0, 0)
    task = link.ask(StartMove("dead"))
    assert (task.status, task.to_move) == ("RUNNING", 301)
    bench.run(2)
    tasks = link.ask(ListMoves("dead"))
    assert [(one.task_id, one.status, one.moved) for one in tasks] == [(task.task_id, "COMPLETED", 301)]
    assert link.counts("dead") == (0, 0, 0)
    assert link.counts() == (300, 0, 0)
    assert link.received_bodies(queue="p") == [b"p0"]
    bench, link = reopened(bench)
    assert link.ask(ListMoves("dead")) == tasks


def test_a_limited_task_goes_on_after_a_restart_until_it_is_cancelled(bench, link):
    link.create("other")
    link.send(*[b"x"] * 100, queue="dead")
    task = link.ask(StartMove("dead", "other", 10))
    assert refusal(link, StartMove("dead")) is Reason.IN_USE
    bench.run(2)
    bench, link = reopened(bench)
    bench.run(2)
    visible = link.counts("other")[0]
    assert 30 <= visible <= 50
    assert link.counts("dead")[0] == 100 - visible
    cancelled = link.ask(CancelMove(task.task_id))
    assert (cancelled.status, cancelled.moved) == ("CANCELLED", link.counts("other")[0])
    assert refusal(link, CancelMove(task.task_id)) is Reason.NOT_FOUND
    bench.run(5)
    assert link.counts("other")[0] == cancelled.moved


def test_tasks_that_cannot_be(bench, link):
    assert refusal(link, StartMove("q")) is Reason.INVALID
    assert refusal(link, StartMove("none")) is Reason.NOT_FOUND
    assert refusal(link, StartMove("dead", "none")) is Reason.NOT_FOUND
    link.create("other")
    link.send(b"a", b"b", b"c", queue="dead")
    link.ask(StartMove("dead", "other", 1))
    link.ask(DeleteTimedQueue("other"))
    bench.run(2)
    found = link.ask(ListMoves("dead"))[0]
    assert (found.status, found.failure) == ("FAILED", "queue 'other' does not exist")
    link.send(b"nobody's", queue="dead")
    link.ask(StartMove("dead"))
    bench.run(1)
    assert link.ask(ListMoves("dead"))[0].status == "FAILED"
    assert link.end(link.receive(queue="dead"), queue="dead")[0] == ENDED
