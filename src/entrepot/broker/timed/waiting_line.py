"""WaitingLine: the Receives that wait for one queue, in the order in which they came; a chain through the calls themselves."""

from __future__ import annotations

from entrepot.broker.calls.lease_calls import Receive
from entrepot.broker.timed.waits import Waits

# Receive.state
WAITING = 1
SHORT = 2  # it would not wait, but for the disk
GRANTED = 3
GIVEN_UP = 4  # after it was granted

_SHORT = SHORT


class WaitingLine:
    """`first` has waited longest. `short_count` of them wait for the disk only."""

    __slots__ = ("first", "last", "short_count", "waits")

    first: Receive | None
    short_count: int

    def __init__(self, waits: Waits) -> None:
        self.waits = waits
        self.first = None
        self.last: Receive | None = None
        self.short_count = 0

    def join(self, call: Receive, wait_ms: int) -> None:
        """Wait at the end of the line, for so long."""
        if call.state == _SHORT:
            self.short_count += 1
        self.waits.add(call, wait_ms)
        call.before = self.last
        if self.last is None:
            self.first = call
        else:
            self.last.after = call
        self.last = call

    def leave(self, call: Receive) -> None:
        """It waits no more."""
        before = call.before
        after = call.after
        if before is None:
            self.first = after
        else:
            before.after = after
        if after is None:
            self.last = before
        else:
            after.before = before
        call.before = None
        call.after = None
        if call.state == _SHORT:
            self.short_count -= 1
        self.waits.remove(call)
