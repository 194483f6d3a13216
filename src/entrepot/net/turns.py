"""Turns: what all connections may do in one turn of the loop, and whose turn is next.

Work is counted in steps, of about a microsecond each on a machine of today: an element read or written, a request handed to the broker, so many
bytes unpacked. Who has more to do than is left waits, and goes on in a later turn behind those who waited before. Whatever one
connection asks for, and however many ask, the others are served in between.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from entrepot.net.leftovers import Leftovers

TURN_STEPS = 2000
LEFTOVERS = 250  # elements of what is left over that are let go of in a turn, with what each of them holds
_TURN_STEPS = TURN_STEPS
_MOST = TURN_STEPS * 3 // 4
_LEFTOVERS = LEFTOVERS


class Turns:
    """Of one process. later(function) calls it in the loop's next turn. `left`: steps of this turn; below 1, what can wait does."""

    def __init__(self, later: Callable[[Callable[[], object]], object]) -> None:
        self.left = _TURN_STEPS
        self._later = later
        self._arranged = False
        self._waiting: deque[Callable[[], object]] = deque()
        self._leftovers = Leftovers()

    @property
    def waiting_count(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def spend(self, steps: int) -> int:
        """So much is being done now. What leaves most of a turn needs no new one."""
        self.left -= steps
        if self.left < _MOST and not self._arranged:
            self._arranged = True
            self._later(self.turn)
        return 0

    def wait(self, function: Callable[[], object]) -> int:
        """Call function() in a later turn, once, when all that waited before it had theirs."""
        self._waiting.append(function)
        if not self._arranged:
            self._arranged = True
            self._later(self.turn)
        return 0

    def leave(self, containers: list[Any]) -> int:
        """These lists and dicts are not used any more: let go of them little by little (leftovers.py). `containers` is emptied."""
        self._leftovers.add(containers)
        if not self._arranged:
            self._arranged = True
            self._later(self.turn)
        return 0

    def turn(self) -> None:
        """A new turn. Who waits is called while steps are left, whoever comes to wait meanwhile in a later one."""
        self._arranged = False
        self.left = _TURN_STEPS
        if self._leftovers:
            self.left -= self._leftovers.let_go(_LEFTOVERS)
        count = len(self._waiting)
        try:
            while count > 0 and self.left > 0:
                count -= 1
                self._waiting.popleft()()
        finally:
            if (self._waiting or self._leftovers) and not self._arranged:
                self._arranged = True
                self._later(self.turn)
