"""Work: what groups do that may be long, in pieces: topics of a pattern looked at, targets made.

A piece of work is a generator of what its pieces cost, in steps of about a microsecond. All groups together have STEPS in a turn of the loop; what is
not done by then goes on in a later one, behind those that waited before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from typing import Any, TypeVar

STEPS = 1000
_EMPTIED = 256  # objects that are let go of in a piece; each is half a step

Pieces = Generator[int, None, None]
Result = TypeVar("Result")


class Work:
    """Of one broker. call_soon(function) calls it in the loop's next turn."""

    __slots__ = ("_arranged", "_call_soon", "_left", "_waiting")

    def __init__(self, call_soon: Callable[[Callable[[], object]], object]) -> None:
        self._call_soon = call_soon
        self._waiting: deque[Pieces] = deque()
        self._left = STEPS
        self._arranged = False

    def run(self, pieces: Pieces) -> None:
        """Do it now, as far as this turn allows, and the rest later."""
        self._waiting.append(pieces)
        if len(self._waiting) == 1:
            self._go_on()

    def _turn(self) -> None:
        self._arranged = False
        self._left = STEPS
        self._go_on()

    def _go_on(self) -> None:
        try:
            while self._waiting and self._left > 0:
                pieces = self._waiting.popleft()
                for steps in pieces:
                    self._left -= steps
                    if self._left <= 0:
                        self._waiting.append(pieces)
                        break
        finally:
            if (self._waiting or self._left < STEPS) and not self._arranged:
                self._arranged = True
                self._call_soon(self._turn)


def emptying(table: dict[Any, Any]) -> Pieces:
    """Let go of what is in a table that nobody uses any more."""
    while table:
        for _ in range(min(_EMPTIED, len(table))):
            table.popitem()
        yield _EMPTIED // 2


def at_once(pieces: Generator[int, None, Result]) -> Result:
    """All of it, and what it returns."""
    while True:
        try:
            next(pieces)
        except StopIteration as end:
            result: Result = end.value
            return result
