"""Ahead: what other processes have sent by a revision that has not come here yet waits until it has, and whatever they send behind it.

A stage is routed by the catalogue of its front, and its owner may be behind: it has the queue that it goes to only when it is as far. What one sender has
sent stays in its order; senders do not wait for each other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable

from entrepot.broker.catalogue.catalogue import Catalogue
from entrepot.broker.catalogue.changes import Revision

WAITING_MAX = 100_000  # of one sender: it is one that sends what nobody has decided


class Ahead:
    """Over one process's catalogue. `count`: how many wait."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._waiting: dict[Hashable, deque[tuple[Revision, Callable[[], None]]]] = {}
        self.count = 0

    @property
    def revision(self) -> Revision:
        """How far this process is: what a front says with what it sends."""
        return self._catalogue.revision

    def take(self, sender: Hashable, revision: Revision, do: Callable[[], None]) -> bool:
        """Do what came from a sender, at once or in its turn; whether it can be taken at all: False: too much of it waits."""
        waiting = self._waiting.get(sender)
        if waiting is None:
            if revision <= self._catalogue.revision:
                do()
                return True
            waiting = self._waiting[sender] = deque()
            self._catalogue.when(revision, lambda: self._go_on(sender, waiting))
        elif len(waiting) >= WAITING_MAX:
            return False
        waiting.append((revision, do))
        self.count += 1
        return True

    def forget(self, sender: Hashable) -> None:
        """Its start is dead: nothing of what waits is done."""
        self.count -= len(self._waiting.pop(sender, ()))

    def _go_on(self, sender: Hashable, waiting: deque[tuple[Revision, Callable[[], None]]]) -> None:
        """The catalogue is as far as what came first."""
        while self._waiting.get(sender) is waiting and waiting:
            revision, do = waiting[0]
            if revision > self._catalogue.revision:
                self._catalogue.when(revision, lambda: self._go_on(sender, waiting))
                return
            waiting.popleft()
            self.count -= 1
            do()
        if self._waiting.get(sender) is waiting:
            del self._waiting[sender]
