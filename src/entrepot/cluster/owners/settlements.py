"""SentSettlements: what a front has settled at an owner elsewhere, until what that ends is said to be durable: to be settled again at its next start.

Only what ends for good (accepted, rejected) is settled again. What was released may be another's by then, and is ready at a new start by itself.
"""

from __future__ import annotations

from collections import deque
from typing import Any, TypeAlias

from entrepot.broker.calls.port import ACCEPT, REJECT
from entrepot.model.errors import CorruptData

Ranges: TypeAlias = list[tuple[int, int]]

FOR_GOOD = frozenset({ACCEPT, REJECT})


class SentSettlements:
    """Of one owner, in the order in which they went. Both ends count them; of those that end nothing for good only that there were."""

    def __init__(self) -> None:
        self._sent: deque[tuple[int, int, Ranges, int]] = deque()  # its number, consumer, ranges [first, end), disposition
        self._count = 0  # over this link
        self._durable = 0  # of these
        self._left: deque[tuple[int, Any]] = deque()  # readers that have ended, and how many are durable when nothing of theirs is left here

    def __len__(self) -> int:
        return len(self._sent)

    def put(self, consumer: int, ranges: Ranges, disposition: int) -> None:
        """One has gone. `ranges`: what it ends for good."""
        self._count += 1
        if ranges:
            self._sent.append((self._count, consumer, ranges, disposition))

    def durable(self, count: int) -> None:
        """So many over this link are durable. Raises CorruptData."""
        if not self._durable <= count <= self._count:
            raise CorruptData(f"{count} settlements are said to be durable, of {self._count}")
        self._durable = count
        while self._sent and self._sent[0][0] <= count:
            self._sent.popleft()
        while self._left and self._left[0][0] <= count:
            self._left.popleft()

    def left(self, reader: Any) -> None:
        """It has ended; what it has settled may have to be settled again."""
        if self._sent:
            self._left.append((self._sent[-1][0], reader))

    def unsaid(self) -> dict[int, Ranges]:
        """What each consumer has ended of which that is not known."""
        found: dict[int, Ranges] = {}
        for _, consumer, ranges, _ in self._sent:
            found.setdefault(consumer, []).extend(ranges)
        return found

    def begin(self) -> list[tuple[int, Ranges, int]]:
        """Another link: those that are to go again, which are put again as they go."""
        again = [sent[1:] for sent in self._sent]
        self.forget_all()
        return again

    def ended(self) -> list[Any]:
        """Readers that have left."""
        return [reader for _, reader in self._left]

    def forget_all(self) -> None:
        """Nothing is settled again."""
        self._sent.clear()
        self._left.clear()
        self._count = self._durable = 0
