"""Which workers run, which are started again, and how it ends: with processes, timers and a clock that the test moves."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from entrepot.parent.supervisor import END_LIMIT_S, LEAVE_MARGIN_S, LOOK_S, SILENT_S, Step, Supervisor

GRACE_S = 5.0
KILLED = -9


class Process:
    """One start of a worker that does what the test says."""

    def __init__(self, node: Node, number: int, start: str) -> None:
        self.node = node
        self.number = number
        self.start = start
        self.pid = 1000 + len(node.all)
        self.said: list[dict[str, Any]] = []
        self.is_killed = False
        self.is_alive = True

    def say(self, said: dict[str, Any]) -> None:
        assert self.is_alive, "nobody is there"
        self.said.append(said)

    def kill(self) -> None:
        assert self.is_alive
        self.is_killed = True

    def tell(self, **said: Any) -> None:
        self.node.supervisor.heard(self.number, self.start, said)

    def end(self, status: int) -> None:
        self.is_alive = False
        self.node.supervisor.ended(self.number, self.start, status)

    def words(self, *kinds: str) -> list[str]:
        """What it was told, of these kinds, in order."""
        return [kind for said in self.said for kind in said if kind in kinds]


class Later:
    def __init__(self, at_s: float, call: Callable[[], object]) -> None:
        self.at_s = at_s
        self.call = call
        self.is_over = False

    def cancel(self) -> None:
        self.is_over = True


class Node:
    """A supervisor and its processes."""

    def __init__(self, count: int = 3, cannot_fork_from: int = 100) -> None:
        self.cannot_fork_from = cannot_fork_from
        self.now_s = 100.0
        self.all: list[Process] = []
        self.timers: list[Later] = []
        self.ready = 0
        self.over: list[tuple[int, str]] = []
        self.answers: list[tuple[int, dict[str, Any]]] = []
        self.ready_again: list[int] = []
        self.cannot_fork = False
        self.starts = 0
        self.supervisor = Supervisor(
            count,
            launch=self.launch,
            next_start=self.next_start,
            call_later=self.call_later,
            monotonic_s=lambda: self.now_s,
            grace_s=GRACE_S,
            on_ready=self.on_ready,
            on_over=lambda status, why: self.over.append((status, why)),
            on_answer=lambda number, answer: self.answers.append((number, answer)),
            on_ready_again=self.ready_again.append,
        )
        self.supervisor.start()

    def on_ready(self) -> None:
        self.ready += 1

    def next_start(self) -> str:
        self.starts += 1
        return f"{self.starts:032x}"

    def launch(self, number: int, start: str) -> Process:
        if self.cannot_fork or (number >= self.cannot_fork_from):
            raise OSError(11, "Resource temporarily unavailable")
        assert not any(process.is_alive and process.number == number for process in self.all), "two processes of one worker"
        self.all.append(Process(self, number, start))
        return self.all[-1]

    def call_later(self, delay_s: float, call: Callable[[], object]) -> Later:
        self.timers.append(Later(self.now_s + delay_s, call))
        return self.timers[-1]

    def pass_s(self, seconds: float) -> None:
        """Time goes by; timers fire in order."""
        end_s = self.now_s + seconds
        while due := [timer for timer in self.timers if not timer.is_over and timer.at_s <= end_s]:
            first = min(due, key=lambda timer: timer.at_s)
            first.is_over = True
            self.now_s = max(self.now_s, first.at_s)
            first.call()
        self.now_s = end_s

    def next_restart_s(self) -> float:
        """How long until a worker is started again."""
        return min(timer.at_s for timer in self.timers if not timer.is_over and timer.call != self.supervisor._look) - self.now_s

    def now(self, number: int) -> Process:
        """The process of a worker that lives."""
        return next(process for process in self.all if process.number == number and process.is_alive)

    def living(self) -> list[int]:
        return sorted(process.number for process in self.all if process.is_alive)

    def make_ready(self) -> Node:
        for process in self.all:
            process.tell(ready={"pid": process.pid})
        return self


def test_it_is_ready_when_all_are() -> None:
    node = Node()
    assert node.supervisor.why_not_ready() == "w0 starts, w1 starts, w2 starts"
    node.now(1).tell(ready={})
    node.now(0).tell(locked=True)
    node.now(0).tell(ready={})
    assert (node.ready, node.supervisor.why_not_ready()) == (0, "w2 starts")
    node.now(2).tell(ready={})
    assert (node.ready, node.supervisor.why_not_ready()) == (1, None)


def test_one_that_hangs_makes_the_node_not_ready_until_it_answers(caplog: pytest.LogCaptureFixture) -> None:
    node = Node().make_ready()
    for _ in range(12):  # who is here is asked again and again
        node.pass_s(LOOK_S)
        assert [process.words("look") for process in node.all] == [["look"]] * 3
        for process in node.all:
            process.tell(here=True)
            process.said.clear()
    assert node.supervisor.why_not_ready() is None
    node.pass_s(LOOK_S)
    node.now(0).tell(here=True)
    node.now(2).tell(here=True)
    node.pass_s(SILENT_S - 1)
    assert node.supervisor.why_not_ready() is None
    for number in (0, 2):
        node.now(number).tell(here=True)
    node.pass_s(LOOK_S)
    for number in (0, 2):
        node.now(number).tell(here=True)
    assert node.supervisor.why_not_ready() == "w1 does not answer"
    node.pass_s(LOOK_S)
    assert node.now(1).words("look") == ["look"]
    assert not node.now(1).is_killed
    node.now(1).tell(here=True)
    assert node.supervisor.why_not_ready() is None
    assert [record.message for record in caplog.records] == ["w1 (process 1001) does not answer; clients that come to it wait", "w1 answers again"]


def test_one_that_hung_and_is_started_again_owes_no_answer() -> None:
    node = Node().make_ready()
    node.pass_s(LOOK_S + SILENT_S)
    for number in (0, 2):
        node.now(number).tell(here=True)
    node.now(1).end(KILLED)
    node.pass_s(0)
    node.now(1).tell(ready={})
    assert node.supervisor.why_not_ready() is None
    node.supervisor.stop("it stops")
    node.pass_s(0.1)
    before = [len(process.said) for process in node.all]
    node.pass_s(LOOK_S * 0.9)
    assert [len(process.said) for process in node.all] == before


@pytest.mark.parametrize(
    ("words", "status", "over"),
    [
        ("the port is taken", 2, (2, "the port is taken")),
        ("", 74, (74, "w1 (process 1001) ended before the broker was ready: exit status 74: its disk has failed")),
        ("", KILLED, (1, "w1 (process 1001) ended before the broker was ready: signal 9 (SIGKILL)")),
        ("", 0, (1, "w1 (process 1001) ended before the broker was ready: exit status 0")),
    ],
)
def test_one_that_cannot_start_ends_the_start(words: str, status: int, over: tuple[int, str]) -> None:
    node = Node()
    node.now(0).tell(ready={})
    failing = node.now(1)
    if words:
        failing.tell(failed=words)
    failing.end(status)
    assert node.now(0).is_killed
    assert node.now(2).is_killed
    assert node.over == []
    node.now(0).end(KILLED)
    node.now(2).end(2)  # it has failed for the same reason, perhaps
    assert node.over == [over]
    node.pass_s(1000)
    assert len(node.all) == 3


def test_one_that_dies_is_started_again_and_the_others_hear_of_it() -> None:
    node = Node().make_ready()
    first = node.now(1)
    first.end(KILLED)
    assert [process.said for process in node.all if process.is_alive] == [[{"dead": ["w1", first.start]}]] * 2
    assert node.supervisor.why_not_ready() == "w1 has ended"
    node.pass_s(0)
    second = node.now(1)
    assert second.start > first.start
    assert second.said == []
    assert node.supervisor.why_not_ready() == "w1 starts"
    second.tell(ready={})
    assert node.supervisor.why_not_ready() is None
    assert [worker.restarts.count for worker in node.supervisor.workers] == [0, 1, 0]
    assert (node.ready, node.ready_again) == (1, [1])


def test_a_new_start_is_told_who_is_not_there() -> None:
    node = Node().make_ready()
    second = node.now(2)
    second.end(74)  # and is started again by and by
    first = node.now(0)
    first.end(KILLED)
    node.pass_s(0)
    assert node.now(0).said == [{"dead": ["w2", second.start]}]
    node.pass_s(1)
    assert node.now(2).said == []
    assert node.now(0).said == [{"dead": ["w2", second.start]}]


def test_commands_are_asked_of_who_is_ready() -> None:
    node = Node().make_ready()
    assert node.supervisor.ask(1, {"open": "a/b"})
    assert node.now(1).said == [{"ask": {"open": "a/b"}}]
    node.now(1).tell(answer={"ports": {}})
    assert node.answers == [(1, {"ports": {}})]
    node.now(1).end(KILLED)
    assert not node.supervisor.ask(1, {})
    node.pass_s(0)
    assert not node.supervisor.ask(1, {})


def test_restarts_take_longer_and_longer_until_it_was_steady() -> None:
    node = Node().make_ready()
    waits = []
    for _ in range(9):
        node.now(2).end(1)
        waits.append(round(node.next_restart_s(), 3))
        node.pass_s(waits[-1])
    node.now(2).tell(ready={})
    node.pass_s(30)
    node.now(2).end(1)
    waits.append(node.next_restart_s())
    assert waits == [0, 0.25, 0.5, 1, 2, 4, 8, 10, 10, 0]


def test_a_failed_disk_is_tried_again_by_and_by(caplog: pytest.LogCaptureFixture) -> None:
    node = Node().make_ready()
    node.pass_s(1000)
    node.now(0).end(74)
    node.pass_s(0.2)
    assert node.living() == [1, 2]
    node.pass_s(0.1)
    assert node.living() == [0, 1, 2]
    assert "w0 (process 1000) has ended, and is started again in 0.25 s: exit status 74: its disk has failed" in caplog.text


def test_where_there_can_be_no_process_it_is_tried_again() -> None:
    node = Node().make_ready()
    node.cannot_fork = True
    node.now(1).end(KILLED)
    node.pass_s(5)
    node.cannot_fork = False
    node.pass_s(10)
    assert node.living() == [0, 1, 2]


def test_words_of_an_earlier_start_count_no_more() -> None:
    node = Node().make_ready()
    first = node.now(1)
    first.end(KILLED)
    node.pass_s(0)
    first.tell(ready={})
    assert node.supervisor.why_not_ready() == "w1 starts"


def test_a_condemned_start_is_killed_and_no_other() -> None:
    node = Node().make_ready()
    first = node.now(1)
    node.now(0).tell(condemned=["w2", first.start, "no"])
    node.now(0).tell(condemned=["w1", "00" * 16, "no"])
    assert not any(process.is_killed for process in node.all)
    node.now(0).tell(condemned=["w1", first.start, "a frame that cannot be understood"])
    assert [process.is_killed for process in node.all] == [False, True, False]
    first.end(KILLED)
    node.now(2).tell(condemned=["w1", first.start, "the same"])  # late
    node.pass_s(0)
    node.now(2).tell(condemned=["w1", first.start, "the same"])
    assert not node.now(1).is_killed


def test_it_stops_in_order() -> None:
    node = Node().make_ready()
    workers = [node.now(number) for number in range(3)]
    node.supervisor.stop("bye")
    assert node.supervisor.why_not_ready() == "the broker stops"
    assert [worker.words("leave", "end") for worker in workers] == [["leave"]] * 3
    workers[0].tell(left=True)
    workers[2].tell(left=True)
    assert [worker.words("end") for worker in workers] == [[], [], []]
    workers[1].tell(left=True)
    assert [worker.words("end") for worker in workers] == [[], ["end"], ["end"]]
    workers[1].end(0)
    assert workers[0].words("end") == []
    workers[2].end(0)
    assert workers[0].words("end") == ["end"]
    assert workers[0].words("dead") == ["dead", "dead"]
    assert node.over == []
    workers[0].end(0)
    assert node.over == [(0, "")]
    node.pass_s(1000)
    assert len(node.all) == 3


def test_who_does_not_leave_is_killed() -> None:
    node = Node().make_ready()
    node.supervisor.stop("bye")
    node.now(0).tell(left=True)
    node.now(1).tell(left=True)
    node.pass_s(GRACE_S + LEAVE_MARGIN_S)
    assert [process.is_killed for process in node.all] == [False, False, True]
    node.now(2).end(KILLED)
    node.now(1).end(0)
    node.pass_s(END_LIMIT_S - 1)
    assert not node.now(0).is_killed
    node.pass_s(1)
    assert node.now(0).is_killed
    node.now(0).end(KILLED)
    assert node.over == [(1, "")]


@pytest.mark.parametrize(("statuses", "status"), [((0, 1, 0), 1), ((74, 1, 0), 74), ((1, 74, KILLED), 74), ((0, 0, 0), 0)])
def test_the_exit_status_is_of_who_ended_worst(statuses: tuple[int, ...], status: int) -> None:
    node = Node().make_ready()
    node.supervisor.stop("bye")
    for process in node.all:
        process.tell(left=True)
    for number in (1, 2, 0):
        node.now(number).end(statuses[number])
    assert node.over == [(status, "")]


def test_one_that_is_not_there_is_not_waited_for() -> None:
    node = Node().make_ready()
    node.now(0).end(1)
    node.pass_s(0)
    node.now(0).end(1)  # and is started again by and by
    node.supervisor.stop("bye")
    for number in (1, 2):
        node.now(number).tell(left=True)
        node.now(number).end(0)
    assert node.over == [(0, "")]
    node.pass_s(1000)
    assert node.living() == []


@pytest.mark.parametrize("was_ready", [False, True])
def test_a_second_signal_or_an_early_one_ends_it_at_once(was_ready: bool) -> None:
    node = Node()
    if was_ready:
        node.make_ready().supervisor.stop("bye")
    node.supervisor.stop("bye")
    assert all(process.is_killed for process in node.all)
    node.supervisor.stop("bye")  # a third changes nothing
    for process in node.all:
        process.end(KILLED)
    assert node.over == [(1, "")]


def test_where_there_can_be_no_process_at_first_that_is_all() -> None:
    node = Node(cannot_fork_from=1)
    assert node.all[0].is_killed
    node.all[0].end(KILLED)
    assert node.over == [(1, "a worker cannot be started: Resource temporarily unavailable")]


@pytest.mark.parametrize("seed", range(40))
def test_whatever_happens_it_ends_once_and_worker_0_last(seed: int) -> None:
    chance = random.Random(seed)
    count = chance.randint(2, 5)
    node = Node(count).make_ready()
    for _ in range(chance.randint(0, 60)):
        living = [process for process in node.all if process.is_alive]
        what = chance.randrange(4)
        if what == 0 and living:
            ending = chance.choice(living)
            others = {id(process): len(process.words("dead")) for process in living if process is not ending}
            ending.end(chance.choice([KILLED, 1, 74, 0]))
            assert all(len(process.words("dead")) == others[id(process)] + 1 for process in living if process is not ending)
        elif what == 1 and living:
            chance.choice(living).tell(ready={})
        else:
            node.pass_s(chance.choice([0, 0.1, 1, 11, 40]))
    assert [process.start for process in node.all] == sorted(process.start for process in node.all)
    launched = len(node.all)
    node.supervisor.stop("bye")
    for _ in range(10_000):
        living = [process for process in node.all if process.is_alive]
        first = [process for process in living if process.number == 0]
        if any(process.words("end") for process in first):
            assert living == first
        if not living:
            break
        one = chance.choice(living)
        if one.is_killed or one.words("end"):
            one.end(KILLED if one.is_killed else 0)
        elif chance.random() < 0.7:
            one.tell(left=True)
        elif chance.random() < 0.3:
            one.end(chance.choice([0, 1, KILLED]))
        else:
            node.pass_s(chance.choice([0, 1, 30]))
    assert len(node.over) == 1
    assert node.supervisor.step is Step.OVER
    node.pass_s(1000)
    assert len(node.all) == launched
