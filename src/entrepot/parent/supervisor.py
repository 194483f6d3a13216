"""Supervisor: which workers run, which are started again and when, whether the node is ready, and how all of it ends. No process, socket or clock of its own.

start     all at once; ready when all are. One that ends before that ends the start, with its status and its words
restart   one that ends later is started again, at once or by and by (cluster/workers/restarts.py), whatever it ended with
hang      each that is ready is asked every LOOK_S whether it is here. One that does not answer for SILENT_S makes the node not ready, until it does; it is
          not ended: it may be that the machine has no time for it
stop      LEAVING: none accepts clients, and those that there are say goodbye; ENDING: all but worker 0 store what they have and end;
          LAST: worker 0, which decides the catalogue. Who takes longer than it may is killed
kill      all at once
"""

from __future__ import annotations

import enum
import logging
import signal
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Protocol

from entrepot.cluster.workers.place import name_of
from entrepot.cluster.workers.restarts import Restarts
from entrepot.leaving import STOPPED_TWICE, STORE_FAILED

log = logging.getLogger("entrepot.parent")

LEAVE_MARGIN_S = 5.0  # beyond the time that clients have
LOOK_S = 5.0
SILENT_S = 10.0
END_LIMIT_S = 60.0  # to store everything: a checkpoint may have much to write


class Launched(Protocol):
    """A process (child.py)."""

    pid: int

    def say(self, said: dict[str, Any]) -> None:
        """A line."""

    def kill(self) -> None:
        """Its end is told later, as any is."""


class Timer(Protocol):
    """What call_later gives."""

    def cancel(self) -> object:
        """It will not be."""


class Step(enum.Enum):
    """Where the node is."""

    STARTING = "starts"
    RUNNING = "runs"
    LEAVING = "says goodbye to clients"
    ENDING = "ends all workers but w0"
    LAST = "ends w0"
    KILLING = "ends at once"
    OVER = "is over"


class Worker:
    """One of them, over all its starts."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.name = name_of(number)
        self.restarts = Restarts()
        self.start = ""  # the last one, hexadecimal
        self.process: Launched | None = None  # None: there is none now
        self.ready: dict[str, Any] | None = None  # what it said of itself when it was
        self.ready_s = 0.0  # since when
        self.asked_s: float | None = None  # since when it does not say that it is here; None: it owes no answer
        self.is_silent = False  # for so long that it was said in the log
        self.has_left = False
        self.failure = ""  # why it could not start, in its own words
        self.timer: Timer | None = None  # until it is started again


class Supervisor:
    """Of one node. launch(number, start): a process, whose lines go to heard() and whose end to ended(); may raise OSError.

    on_ready: once, when all are for the first time; on_over(status, why): once, when no process is left; `why` where it never was ready, in words.
    on_answer(number, answer), on_ready_again(number): of workers.
    """

    def __init__(
        self,
        count: int,
        *,
        launch: Callable[[int, str], Launched],
        next_start: Callable[[], str],
        call_later: Callable[[float, Callable[[], object]], Timer],
        monotonic_s: Callable[[], float],
        grace_s: float,
        on_ready: Callable[[], object],
        on_over: Callable[[int, str], object],
        on_answer: Callable[[int, dict[str, Any]], object],
        on_ready_again: Callable[[int], object],
    ) -> None:
        self.workers = [Worker(number) for number in range(count)]
        self.step = Step.STARTING
        self.has_users = False
        self._launch = launch
        self._next_start = next_start
        self._call_later = call_later
        self._monotonic_s = monotonic_s
        self._grace_s = grace_s
        self._on_ready = on_ready
        self._on_over = on_over
        self._on_answer = on_answer
        self._on_ready_again = on_ready_again
        self._status = 0
        self._why = ""
        self._limit: Timer | None = None  # of the step

    # ---- what is asked of it

    def start(self) -> None:
        """All of them."""
        try:
            for worker in self.workers:
                worker.start = self._next_start()
                worker.process = self._launch(worker.number, worker.start)
        except OSError as error:
            self.kill(1, f"a worker cannot be started: {error.strerror or error}")

    def why_not_ready(self) -> str | None:
        """In words; None: it is."""
        if self.step not in (Step.STARTING, Step.RUNNING):
            return "the broker stops"
        missing = [f"{worker.name} {state}" for worker in self.workers if (state := self._state(worker)) is not None]
        return ", ".join(missing) or None

    def _state(self, worker: Worker) -> str | None:
        """Why it is not ready, in a word; None: it is."""
        if worker.ready is None:
            return "starts" if worker.process is not None else "has ended"
        return "does not answer" if self._is_silent(worker) else None

    def stop(self, reason: str) -> None:
        """In order, once the node was ready; before that, and the second time, at once."""
        if self.step is not Step.RUNNING:
            self.kill(STOPPED_TWICE)
            return
        self.step = Step.LEAVING
        self._cancel_restarts()
        for worker in self._living():
            worker.say({"leave": reason})
        self._limit_to(self._grace_s + LEAVE_MARGIN_S, lambda worker: not worker.has_left)
        self._go_on()

    def ask(self, number: int, command: dict[str, Any]) -> bool:
        """Have a command carried out by a worker; False: it is not ready now."""
        worker = self.workers[number]
        if worker.process is None or worker.ready is None:
            return False
        worker.process.say({"ask": command})
        return True

    def kill(self, status: int, why: str = "") -> None:
        """All of them, now."""
        if self.step in (Step.KILLING, Step.OVER):
            return
        self.step = Step.KILLING
        self._status, self._why = status, why
        self._cancel_restarts()
        self._cancel_limit()
        for worker in self._living():
            worker.kill()
        self._go_on()

    # ---- what processes say

    def heard(self, number: int, start: str, said: dict[str, Any]) -> None:
        """A line of that start."""
        worker = self.workers[number]
        if start != worker.start:
            return
        if "ready" in said:
            self._is_ready(worker, said["ready"])
        elif "left" in said:
            worker.has_left = True
            self._go_on()
        elif "failed" in said:
            worker.failure = str(said["failed"])
        elif "here" in said:
            self._is_here(worker)
        elif "users" in said:
            self.has_users = bool(said["users"])
        elif "condemned" in said:
            self._condemn(worker, *said["condemned"])
        elif "answer" in said:
            self._on_answer(number, said["answer"])

    def ended(self, number: int, start: str, status: int) -> None:
        """That start can never act again."""
        worker = self.workers[number]
        assert start == worker.start
        assert worker.process is not None
        pid, ready, ready_s = worker.process.pid, worker.ready, worker.ready_s
        worker.process, worker.ready, worker.has_left = None, None, False
        worker.asked_s, worker.is_silent = None, False
        for other in self._living():
            other.say({"dead": [worker.name, start]})
        if self.step is Step.STARTING:
            self.kill(status if status > 0 else 1, worker.failure or f"{worker.name} (process {pid}) ended before the broker was ready: {_ending(status)}")
        elif self.step is Step.RUNNING:
            self._start_again(worker, pid, status, None if ready is None else self._monotonic_s() - ready_s)
        else:
            if self.step is not Step.KILLING and ready is not None and status:
                log.error("%s (process %d) did not end well: %s", worker.name, pid, _ending(status))
                self._status = STORE_FAILED if STORE_FAILED in (status, self._status) else 1
            self._go_on()

    # ---- restarts

    def _is_ready(self, worker: Worker, ready: dict[str, Any]) -> None:
        worker.ready, worker.ready_s = ready, self._monotonic_s()
        if self.step is Step.RUNNING:
            log.info("%s is ready again (process %d)", worker.name, ready.get("pid", 0))
            self._on_ready_again(worker.number)
        elif self.step is Step.STARTING and all(one.ready is not None for one in self.workers):
            self.step = Step.RUNNING
            self._call_later(LOOK_S, self._look)
            self._on_ready()

    def _look(self) -> None:
        """Whether those that are ready are here."""
        if self.step is not Step.RUNNING:
            return
        for worker in self.workers:
            if worker.process is None or worker.ready is None:
                continue
            if worker.asked_s is None:
                worker.asked_s = self._monotonic_s()
                worker.process.say({"look": True})
            elif self._is_silent(worker) and not worker.is_silent:
                worker.is_silent = True
                log.error("%s (process %d) does not answer; clients that come to it wait", worker.name, worker.process.pid)
        self._call_later(LOOK_S, self._look)

    def _is_silent(self, worker: Worker) -> bool:
        return worker.asked_s is not None and self._monotonic_s() - worker.asked_s >= SILENT_S

    def _is_here(self, worker: Worker) -> None:
        worker.asked_s = None
        if worker.is_silent:
            worker.is_silent = False
            log.warning("%s answers again", worker.name)

    def _start_again(self, worker: Worker, pid: int, status: int, ready_s: float | None) -> None:
        delay_s = worker.restarts.delay_s(ready_s, has_failed=status == STORE_FAILED)
        when = f"in {delay_s:g} s" if delay_s else "at once"
        why = worker.failure or _ending(status)
        worker.failure = ""
        log.error("%s (process %d) has ended, and is started again %s: %s", worker.name, pid, when, why)
        worker.timer = self._call_later(delay_s, partial(self._start_now, worker))

    def _start_now(self, worker: Worker) -> None:
        worker.timer = None
        try:
            worker.start = self._next_start()
            worker.process = self._launch(worker.number, worker.start)
        except OSError as error:
            delay_s = worker.restarts.delay_s(None, has_failed=True)
            log.error("%s cannot be started, and is tried again in %g s: %s", worker.name, delay_s, error)
            worker.timer = self._call_later(delay_s, partial(self._start_now, worker))
            return
        for other in self.workers:  # whom it would wait for
            if other.process is None:
                worker.process.say({"dead": [other.name, other.start]})

    def _cancel_restarts(self) -> None:
        for worker in self.workers:
            if worker.timer is not None:
                worker.timer.cancel()
                worker.timer = None

    def _condemn(self, by: Worker, name: str, start: str, why: str) -> None:
        """Only the start that is meant; one that has ended since is gone anyway."""
        for worker in self.workers:
            if (worker.name, worker.start) == (name, start) and worker.process is not None:
                log.error("%s (process %d) is ended: %s says: %s", name, worker.process.pid, by.name, why)
                worker.process.kill()

    # ---- the end

    def _go_on(self) -> None:
        """From step to step, as far as it goes now."""
        if self.step is Step.LEAVING and all(worker.has_left for worker in self.workers if worker.process is not None):
            self._end_step(Step.ENDING, self.workers[1:])
        if self.step is Step.ENDING and all(worker.process is None for worker in self.workers[1:]):
            self._end_step(Step.LAST, self.workers[:1])
        if self.step in (Step.LAST, Step.KILLING) and not any(self._living()):
            self._cancel_limit()
            self.step = Step.OVER
            self._on_over(self._status, self._why)

    def _end_step(self, step: Step, workers: list[Worker]) -> None:
        self.step = step
        for worker in workers:
            if worker.process is not None:
                worker.process.say({"end": "the broker stops"})
        self._limit_to(END_LIMIT_S, lambda worker: worker in workers)

    def _limit_to(self, limit_s: float, concerns: Callable[[Worker], bool]) -> None:
        """Whoever it concerns is killed when the step takes longer."""
        self._cancel_limit()

        def over() -> None:
            for worker in self.workers:
                if worker.process is not None and concerns(worker):
                    log.error("%s (process %d) did not end within %g s and is killed", worker.name, worker.process.pid, limit_s)
                    worker.process.kill()

        self._limit = self._call_later(limit_s, over)

    def _cancel_limit(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None

    def _living(self) -> Iterator[Launched]:
        return (worker.process for worker in self.workers if worker.process is not None)


def _ending(status: int) -> str:
    """How a process ended, in words."""
    if status == STORE_FAILED:
        return f"exit status {status}: its disk has failed"
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"signal {-status} ({signal.Signals(-status).name})"
    except ValueError:
        return f"signal {-status}"
