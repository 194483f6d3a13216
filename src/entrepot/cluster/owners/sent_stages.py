"""SentStages: publishes that a front has sent to an owner elsewhere, and that are not said to be taken for good.

Where what the owner takes survives its start, all of each frame is kept, to go again to the next start in the same order (taken_stages.py has what that
knows of them). A publish that somebody waits for is answered by itself; of the others all up to a number are, but for those that are refused.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TypeAlias

from entrepot.broker.calls.port import Publish
from entrepot.broker.owners import Lane
from entrepot.model.errors import CorruptData

STAGE_BYTES = 512  # about what a publish that waits takes in memory besides its octets

_Sent: TypeAlias = tuple[Publish, Lane | None, tuple[bytes, ...], int]


class SentStages:
    """Of one owner. `size`: octets that are kept, about. `last_except`: the last that was answered otherwise than that all of it is taken."""

    def __init__(self) -> None:
        self.size = 0
        self.last_except = 0
        self._sent: dict[int, _Sent] = {}
        self._order: deque[int] = deque()  # and perhaps some that are answered
        self._unheard: deque[int] = deque()  # of those, the ones of which nobody waits

    def __len__(self) -> int:
        return len(self._sent)

    def put(self, number: int, call: Publish, lane: Lane | None, parts: tuple[bytes, ...]) -> None:
        """It waits. `parts`: its frame, if it may have to go again."""
        size = sum(map(len, parts)) + STAGE_BYTES
        self.size += size
        sent, order = self._sent, self._order
        sent[number] = (call, lane, parts, size)
        while order and order[0] not in sent:
            order.popleft()
        order.append(number)
        if not call.confirm:
            self._unheard.append(number)

    def get(self, number: int) -> Publish:
        """The publish of that number. Raises CorruptData: none waits."""
        found = self._sent.get(number)
        if found is None:
            raise CorruptData(f"an answer to {number}, which waits for none")
        return found[0]

    def take(self, number: int) -> None:
        """It is answered."""
        self.size -= self._sent.pop(number)[3]

    def passed(self, number: int) -> None:
        """All up to that number of which nobody waits are taken for good."""
        unheard = self._unheard
        while unheard and unheard[0] <= number:
            found = self._sent.pop(unheard.popleft(), None)
            if found is not None:
                self.size -= found[3]

    def first(self, otherwise: int) -> int:
        """The first that waits, or that number."""
        return next((number for number in self._order if number in self._sent), otherwise)

    def again(self) -> Iterator[tuple[int, Lane | None, tuple[bytes, ...]]]:
        """All that wait, in order."""
        return ((number, sent[1], sent[2]) for number, sent in list(self._sent.items()))

    def end(self) -> list[tuple[int, Publish]]:
        """Nobody will answer: which they were."""
        ended = [(number, sent[0]) for number, sent in self._sent.items()]
        self.size = 0
        for kept in (self._sent, self._order, self._unheard):
            kept.clear()
        return ended
