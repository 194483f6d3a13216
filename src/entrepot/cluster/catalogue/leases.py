"""How long a front may answer by its catalogue: LEASE_S from when it sent the last heartbeat that the decider has answered.

    FrontLease   the front's: it counts from the sending, whenever the answer comes
    Leases       the decider's: it leaves a member out of what is waited for only LEASE_S and MARGIN_S after its last answer to it

An answer is given after the heartbeat was sent, so the front is always the first to stop; the margin is what two clocks may run apart in that time. A new
decider waits as long before it decides, for it knows nobody whom the one before has answered. Clocks are elapsed_s(): a machine that was suspended has let
its leases end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable

from entrepot.clock import Clock

LEASE_S = 3.0
MARGIN_S = 0.5
BEAT_S = 0.5
UNANSWERED_MAX = 64  # heartbeats; answers to earlier ones are none


class FrontLease:
    """The front's side. It begins without: it may answer nothing."""

    def __init__(self, clock: Clock, lease_s: float = LEASE_S) -> None:
        self._clock = clock
        self._lease_s = lease_s
        self._number = 0
        self._sent: deque[tuple[int, float]] = deque(maxlen=UNANSWERED_MAX)
        self._end_s = clock.elapsed_s()

    def beat(self) -> int:
        """A heartbeat is sent now; its number."""
        self._number += 1
        self._sent.append((self._number, self._clock.elapsed_s()))
        return self._number

    def answered(self, number: int) -> None:
        """The decider has answered that heartbeat."""
        while self._sent and self._sent[0][0] <= number:
            sent, at_s = self._sent.popleft()
            if sent == number:
                self._end_s = max(self._end_s, at_s + self._lease_s)

    def forget(self) -> None:
        """Somebody else decides: answers to what was sent before say nothing."""
        self._sent.clear()

    def end(self) -> None:
        """It may answer nothing any more, until somebody has answered what is sent from now on."""
        self._sent.clear()
        self._end_s = self._clock.elapsed_s()

    @property
    def may_answer(self) -> bool:
        """Whether the front may answer by its catalogue now."""
        return self._clock.elapsed_s() < self._end_s

    @property
    def left_s(self) -> float:
        """For how long it may."""
        return max(0.0, self._end_s - self._clock.elapsed_s())


class Leases:
    """The decider's side, of the members that are waited for. `ready_s`: when it may decide, whoever has not been heard of."""

    def __init__(self, clock: Clock, lease_s: float = LEASE_S, margin_s: float = MARGIN_S) -> None:
        self._clock = clock
        self._wait_s = lease_s + margin_s
        self._end_s: dict[Hashable, float] = {}
        self.ready_s = clock.elapsed_s() + self._wait_s

    def begin(self) -> None:
        """It decides from now on; somebody else did before."""
        self._end_s.clear()
        self.ready_s = self._clock.elapsed_s() + self._wait_s

    @property
    def waits(self) -> bool:
        """Whether somebody may still answer by what the decider before has let him."""
        return self._clock.elapsed_s() < self.ready_s

    def answer(self, name: Hashable) -> None:
        """A member joins, or a heartbeat of it is answered: it is waited for from now on."""
        self._end_s[name] = self._clock.elapsed_s() + self._wait_s

    def leave(self, name: Hashable) -> None:
        """It is dead."""
        self._end_s.pop(name, None)

    def is_counted(self, name: Hashable) -> bool:
        """Whether it is waited for."""
        return name in self._end_s

    def left_out(self) -> list[Hashable]:
        """Those who are not waited for any more."""
        now_s = self._clock.elapsed_s()
        over = [name for name, end_s in self._end_s.items() if end_s <= now_s]
        for name in over:
            del self._end_s[name]
        return over
