"""HeldCalls: what came while this process may not answer by its catalogue, in its order, until it may again: mostly, until the process that decides is back,
or has said of a queue that its home is no more.

Only of doors whose clients do not ask again by themselves, or not for long (`waits`); the others are told so at once. What has waited for HELD_S is told
*unavailable*, and so is what is more than HELD_MAX_BYTES, or HELD_MAX calls. A Receive is done when its own time is over, with nothing.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from entrepot.broker.calls.lease_calls import Receive, Send
from entrepot.broker.calls.port import DONE, PENDING, Ask, Call, Publish, fail
from entrepot.broker.calls.retained_requests import PublishRetained
from entrepot.broker.front.door import Door
from entrepot.model.errors import NotDone, Unavailable
from entrepot.store.interface import Scheduler

HELD_S = 30.0
HELD_MAX_BYTES = 64 << 20  # of what is published
HELD_MAX = 100_000
SHORT_MS = 5_000  # for which a Receive waits that would not wait, or goes by its queue's time

NOT_HEARD_OF = "who decides the catalogue has not been heard of for a while"


class CatalogueAway(Unavailable):
    """This process may not answer by its catalogue now."""


class HeldReceive:
    """A Receive that waits, as who withdraws it finds it: its `timed`. What of its time is left then is what it waits for at its queue."""

    def __init__(self, scheduler: Scheduler, call: Receive) -> None:
        self._scheduler = scheduler
        self._call = call
        wait_s = (call.wait_ms if call.wait_ms > 0 else SHORT_MS) / 1000
        self._until_s = scheduler.time() + wait_s
        self._timer = scheduler.call_later(wait_s, self.withdraw, call)
        call.timed = self

    def end(self) -> None:
        """It waits here no more."""
        self._timer.cancel()
        call = self._call
        call.timed = None
        if call.wait_ms > 0:
            call.wait_ms = max(0, int((self._until_s - self._scheduler.time()) * 1000))

    def withdraw(self, call: Receive) -> None:
        """See Withdraw; or its time is over."""
        self.end()
        call.received, call.lease_id, call.queue_id = [], b"", b""
        call.outcome = DONE
        if not call.attachment.closed:
            call.attachment.sink.completed(call)


class HeldCalls:
    """Of one process."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._calls: deque[tuple[Door, Call, float]] = deque()  # and until when
        self._bytes = 0
        self._again: float | None = None  # until when what is tried again now may wait
        self._timer: Any = None

    def __len__(self) -> int:
        return len(self._calls)

    def has(self, door: Door) -> bool:
        """Whether something of that door is kept."""
        return any(held[0] is door for held in self._calls)

    def takes(self, door: Door, call: Call, error: NotDone) -> bool:
        """Whether a call that failed so is kept; else it is to be told."""
        size = _size_of(call)
        if not isinstance(error, CatalogueAway) or len(self._calls) >= HELD_MAX or self._bytes + size > HELD_MAX_BYTES:
            return False
        until_s = self._scheduler.time() + HELD_S if self._again is None else self._again
        self._calls.append((door, call, until_s))
        self._bytes += size
        if isinstance(call, Receive):
            HeldReceive(self._scheduler, call)
        if self._timer is None:
            self._wait()
        return True

    def release(self) -> None:
        """The catalogue may be answered by: all of it goes on, before anything that comes from now on."""
        if not self._calls or self._again is not None:
            return
        calls, self._calls, self._bytes = self._calls, deque(), 0
        self._stop()
        try:
            for door, call, until_s in calls:
                if isinstance(call, Receive):
                    if call.outcome != PENDING:
                        continue
                    call.timed.end()
                self._again = until_s
                door.go_on(call)
        finally:
            self._again = None

    def _over(self) -> None:
        """The first has waited long enough."""
        self._timer = None
        now_s = self._scheduler.time()
        while self._calls and self._calls[0][2] <= now_s:
            _, call, _ = self._calls.popleft()
            self._bytes -= _size_of(call)
            if isinstance(call, Receive):
                if call.outcome != PENDING:
                    continue
                call.timed.end()
            fail(call, CatalogueAway(NOT_HEARD_OF))
        if self._calls:
            self._wait()

    def _wait(self) -> None:
        self._timer = self._scheduler.call_later(max(0.0, self._calls[0][2] - self._scheduler.time()), self._over)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _size_of(call: Call) -> int:
    if isinstance(call, Ask) and isinstance(call.request, PublishRetained):
        call = call.request.publish
    return len(call.data) if isinstance(call, (Publish, Send)) else 0
