"""Stalls: what a session publishes once, or remembers, waits in its order while its owner cannot be asked (a worker that starts again, mostly).

Its connection has said that it waits (Attachment.wait_for_catalogue()); others are told *unavailable* at once. Only what was certainly not done is tried again.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Callable
from functools import partial
from operator import attrgetter
from typing import Any, NamedTuple

from entrepot.broker.calls.port import DONE, Ask, fail
from entrepot.broker.owners import Done
from entrepot.broker.sessions.attached import taken_over
from entrepot.model.errors import NotDone, Unavailable
from entrepot.store.interface import Scheduler

WAITING_S = 30.0
AGAIN_S = 0.1  # until the first that waits is tried again
STALLED_MAX = 1000  # calls of one session

Attempt = Callable[[Done], None]


class Stalled(NamedTuple):
    """A call of a session, in the order in which they came; how to do it, and until when."""

    serial: int
    call: Ask
    attempt: Attempt
    until_s: float


class Stalls:
    """Of one front. is_there(session): whether its door has it still. `session.stalled`: what waits, the first of which is tried; None: nothing does."""

    def __init__(self, scheduler: Scheduler, is_there: Callable[[Any], bool]) -> None:
        self._scheduler = scheduler
        self._is_there = is_there
        self._serial = 0

    def begin(self, session: Any, call: Ask, attempt: Attempt) -> None:
        """Have it done: attempt(done), which may raise a NotDone. Behind what waits."""
        self._serial += 1
        one = Stalled(self._serial, call, attempt, self._scheduler.time() + WAITING_S)
        if session.stalled is None:
            self._try(session, one, False)
        elif len(session.stalled) < STALLED_MAX:
            session.stalled.append(one)
        else:
            fail(call, Unavailable("too much waits for the session's owner"))

    def _try(self, session: Any, one: Stalled, is_first: bool) -> None:
        done = partial(self._done, session, one, is_first)
        try:
            one.attempt(done)
        except NotDone as error:
            done(error, None)

    def _done(self, session: Any, one: Stalled, is_first: bool, error: NotDone | None, result: Any) -> None:
        waits = isinstance(error, Unavailable) and session.door.waits and self._is_there(session) and self._scheduler.time() < one.until_s
        if not waits:
            _tell(one.call, error, result)
            if is_first:
                session.stalled.popleft()
                self._scheduler.call_soon(self._again, session)
            return
        if not is_first and session.stalled is not None:
            insort(session.stalled, one, key=attrgetter("serial"))  # what came after it may wait already
            return
        if not is_first:
            session.stalled = deque([one])
        self._scheduler.call_later(AGAIN_S, self._again, session)

    def _again(self, session: Any) -> None:
        """Try the first; when it is answered, the next."""
        if session.stalled and self._is_there(session):
            self._try(session, session.stalled[0], True)
            return
        stalled, session.stalled = session.stalled, None
        for one in stalled:
            _tell(one.call, taken_over(session.name), None)


def _tell(call: Ask, error: NotDone | None, result: Any) -> None:
    if error is not None:
        fail(call, error)
        return
    call.result = result
    call.outcome = DONE
    if not call.attachment.closed:
        call.attachment.sink.completed(call)
