"""FaultyDoor: a door that delays, reorders, refuses and withholds, as one does whose owners are other processes that come and go.

What a session asks may arrive late (behind it whatever its stream asks next), may be answered *unavailable* without ever arriving, or *unknown* having
arrived or not; what completes is told late and in another order. Deliveries are not touched, and a Consume completes before they come.
"""

from __future__ import annotations

import random
from collections import deque
from typing import Any

from entrepot.broker.calls.lease_calls import Receive, Withdraw
from entrepot.broker.calls.partition_calls import CloseParts, Read
from entrepot.broker.calls.port import PENDING, UNKNOWN, Ask, Call, Delivery, Settle, Sink, fail
from entrepot.broker.calls.requests import CloseStream, Consume, ConsumeReplies
from entrepot.broker.front.door import Door
from entrepot.model.errors import OutcomeUnknown, Unavailable
from entrepot.simulation.loop import SimulatedLoop

_AT_ONCE = (Consume, ConsumeReplies)  # told when it is known, so before deliveries
_LATE_S = (1e-5, 1e-3, 0.02)


class Faults:
    """How often what goes wrong, of a run; stop() ends it. Counts tell a test that it happened."""

    def __init__(self, loop: SimulatedLoop, chance: random.Random, rate: float) -> None:
        self.loop = loop
        self.chance = chance
        self.rate = rate
        self.lies = False  # what is said certainly not to be done is done: a test of who must notice
        self.unavailable_count = 0
        self.unknown_count = 0
        self.late_count = 0

    def stop(self) -> None:
        """From now on nothing goes wrong."""
        self.rate = 0.0

    def hits(self) -> bool:
        """Whether this one has a fault."""
        return self.rate > 0 and self.chance.random() < self.rate

    def door(self, broker: Any, sink: Sink, *arguments: Any) -> FaultyDoor:
        """What the broker makes in place of a Door."""
        door = FaultyDoor(broker, _LateSink(self, sink), *arguments)
        door.faults = self
        return door


class FaultyDoor(Door):
    """See above. Made by Faults.door()."""

    faults: Faults

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._behind: dict[int, deque[Call]] = {}  # stream -> what waits behind a late call of it, that one first

    def submit(self, call: Call) -> None:
        """See port.Attachment."""
        call.attachment = self
        waiting = self._behind.get(call.stream)
        if waiting is not None:
            waiting.append(call)
        elif self.faults.hits():
            self._behind[call.stream] = deque([call])
            self._late(call.stream)
        else:
            self._arrive(call)

    def _late(self, stream: int) -> None:
        self.faults.late_count += 1
        self.faults.loop.call_later(self.faults.chance.choice(_LATE_S), self._go_on, stream)

    def _go_on(self, stream: int) -> None:
        waiting = self._behind[stream]
        while waiting and not self.closed:
            self._arrive(waiting.popleft())
            if waiting and self.faults.hits():
                self._late(stream)
                return
        del self._behind[stream]

    def _arrive(self, call: Call) -> None:
        faults = self.faults
        if not _is_answered(call) or not faults.hits():
            super().submit(call)
            return
        what = faults.chance.random()
        if what < 0.5:
            faults.unavailable_count += 1
            fail(call, Unavailable("the owner is moving"))
            if faults.lies:
                self.sink.will_be_silent(call)  # type: ignore[attr-defined]
                super().submit(call)
        elif what < 0.75:
            faults.unknown_count += 1
            fail(call, OutcomeUnknown("the owner was lost"))
        else:
            faults.unknown_count += 1
            self.sink.will_be_unknown(call)  # type: ignore[attr-defined]
            super().submit(call)


def _is_answered(call: Call) -> bool:
    """Whether it may be said not to be done: not what ends something, and not what has no answer."""
    return not isinstance(call, (Settle, CloseParts, Withdraw)) and not (isinstance(call, Ask) and isinstance(call.request, CloseStream))


class _LateSink(Sink):
    """Between the broker and a session."""

    def __init__(self, faults: Faults, sink: Sink) -> None:
        self._faults = faults
        self._sink = sink
        self._unknown: set[Call] = set()
        self._silent: set[Call] = set()

    def will_be_unknown(self, call: Call) -> None:
        """Whatever becomes of it, its session is not told."""
        self._unknown.add(call)

    def will_be_silent(self, call: Call) -> None:
        """Its session has been told already."""
        self._silent.add(call)

    def completed(self, call: Call) -> None:
        """See port.Sink."""
        if call in self._silent:
            return
        if call in self._unknown:
            self._unknown.discard(call)
            call.outcome, call.error, call.result = UNKNOWN, OutcomeUnknown("the answer was lost"), None
        at_once = isinstance(call, (Read, Receive)) or (isinstance(call, Ask) and isinstance(call.request, _AT_ONCE))
        if at_once or not self._faults.hits():
            self._sink.completed(call)
            return
        self._faults.late_count += 1
        outcome, call.outcome = call.outcome, PENDING
        self._faults.loop.call_later(self._faults.chance.choice(_LATE_S), self._tell, call, outcome)

    def _tell(self, call: Call, outcome: int) -> None:
        call.outcome = outcome
        if not call.attachment.closed:
            self._sink.completed(call)

    def deliver(self, delivery: Delivery) -> int:
        """See port.Sink."""
        return self._sink.deliver(delivery)

    def cancelled(self, token: Any) -> None:
        """See port.Sink."""
        self._sink.cancelled(token)

    def revoked(self, reason: str) -> None:
        """See port.Sink."""
        self._sink.revoked(reason)

    def taken_over(self, number: int) -> None:
        """See port.Sink."""
        self._sink.taken_over(number)

    def throttle(self, blocked: bool, reason: str) -> None:
        """See port.Sink."""
        self._sink.throttle(blocked, reason)
