"""SentStages: publishes that a front has sent to an owner elsewhere, and that are not said to be taken for good.

Where what the owner takes survives its start, all of each frame is kept, to go again to the next start in the same order (taken_stages.py has what that
knows of them). A publish that somebody waits for is answered by its number; of the others all up to a number are, but for those that are refused.
"""

from __future__ import annotations

from collections import deque
from itertools import chain
from typing import TypeAlias

from entrepot.broker.calls.port import Attachment, Publish
from entrepot.broker.owners import Lane
from entrepot.model.errors import CorruptData

STAGE_BYTES = 512  # about what a publish that waits takes in memory besides its octets

_Sent: TypeAlias = tuple[int, Publish, Lane | None, tuple[bytes, ...], int]
"""Its number, the call, its lane, its frame (if it may have to go again), and about how much that is."""


class SentStages:
    """Of one owner. `size`: octets that are kept, about. `last_except`: the last that was answered otherwise than that all of it is taken."""

    def __init__(self) -> None:
        self.size = 0
        self.last_except = 0
        self._heard: dict[int, _Sent] = {}
        self._unheard: deque[_Sent] = deque()

    def __len__(self) -> int:
        return len(self._heard) + len(self._unheard)

    def put(self, number: int, call: Publish, lane: Lane | None, parts: tuple[bytes, ...], size: int) -> None:
        """It waits, with its frame of so many octets."""
        size += STAGE_BYTES
        self.size += size
        if call.confirm:
            self._heard[number] = (number, call, lane, parts, size)
        else:
            self._unheard.append((number, call, lane, parts, size))

    def get(self, number: int) -> Publish:
        """The publish of that number. Raises CorruptData: none waits."""
        found = self._heard.get(number)
        if found is None:
            found = next((sent for sent in self._unheard if sent[0] >= number), None)
            if found is None or found[0] != number:
                raise CorruptData(f"an answer to {number}, which waits for none")
        return found[1]

    def take(self, number: int) -> None:
        """It is answered."""
        found = self._heard.pop(number, None)
        if found is None:
            found = next(sent for sent in self._unheard if sent[0] >= number)
            self._unheard.remove(found)
        self.size -= found[4]

    def check_whole(self, numbers: tuple[int, ...]) -> None:
        """Raises CorruptData: for one of these nobody waits, or it is named twice."""
        if not self._heard.keys() >= set(numbers) or len(set(numbers)) < len(numbers):
            raise CorruptData(f"of {len(numbers)} stages that are said to be taken there is one for which nobody waits, or that is named twice")

    def take_heard(self, number: int) -> Publish:
        """One of these: it is answered."""
        _, call, _, _, size = self._heard.pop(number)
        self.size -= size
        return call

    def passed(self, number: int) -> None:
        """All up to that number of which nobody waits are taken for good."""
        unheard = self._unheard
        while unheard and unheard[0][0] <= number:
            self.size -= unheard.popleft()[4]

    def first(self, otherwise: int) -> int:
        """The first that waits, or that number."""
        return min(next(iter(self._heard), otherwise), self._unheard[0][0] if self._unheard else otherwise)

    def all(self) -> list[_Sent]:
        """Those that wait."""
        return [*self._heard.values(), *self._unheard]

    def has_of(self, attachment: Attachment) -> bool:
        """Whether one of that attachment waits. Who has published last is found first."""
        return any(sent[1].attachment is attachment for sent in chain(reversed(self._unheard), self._heard.values()))

    def end(self) -> list[tuple[int, Publish]]:
        """Nobody will answer: which they were."""
        ended = [sent[:2] for sent in self.all()]
        self.size = 0
        self._heard.clear()
        self._unheard.clear()
        return ended
