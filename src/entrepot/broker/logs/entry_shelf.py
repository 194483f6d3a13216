"""EntryShelf: entries that a scan has read ahead, kept until nothing in them is to be given any more.

Where records are given by group, those that come next lie far apart: without a shelf each would be a read of its own. A queue has a quarter at most of
what `hub.shelved_max_bytes` allows all queues of the process; where they want more, the one that has not been used for longest gives up all it has.
What is not here is read again.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from typing import TYPE_CHECKING

from entrepot.model.entry import StoredEntry

if TYPE_CHECKING:
    from entrepot.broker.logs.hub import Hub
    from entrepot.broker.subscription.leases import Subscription

SWEPT_AT_ONCE = 64
SHARES = 4  # a queue has one at most

_SWEPT = SWEPT_AT_ONCE
_SHARES = SHARES
_OVERHEAD = 320  # bytes of an entry's objects


class EntryShelf:
    """Of one queue."""

    __slots__ = ("bases", "entries", "hub", "size", "swept")

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.bases: list[int] = []  # ascending; some of entries that are gone
        self.entries: dict[int, StoredEntry] = {}
        self.size = 0
        self.swept = 0  # where the next sweep begins

    def is_full(self) -> bool:
        """Whether nothing more is added."""
        return _SHARES * self.size >= self.hub.shelved_max_bytes

    def is_half_full(self) -> bool:
        """Whether it is worth looking for what may go."""
        return 2 * _SHARES * self.size >= self.hub.shelved_max_bytes

    def used(self) -> None:
        """It is in use: others give up theirs before."""
        shelves = self.hub.shelves
        if self.size and len(shelves) > 1:
            del shelves[self]
            shelves[self] = None

    def put(self, stored: StoredEntry) -> bool:
        """Keep an entry; False: there is no room."""
        base = stored.base
        if base in self.entries:
            return True
        if self.is_full():
            return False
        if len(self.bases) == 0 or base > self.bases[len(self.bases) - 1]:
            self.bases.append(base)
        elif self.bases[bisect_right(self.bases, base) - 1] != base:  # else it was here before
            insort(self.bases, base)
        if len(self.entries) == 0:
            self.hub.shelves[self] = None
        self.entries[base] = stored
        size = stored.entry.size + _OVERHEAD
        self.size += size
        self.hub.shelved_bytes += size
        if self.hub.shelved_bytes > self.hub.shelved_max_bytes:
            oldest = next(iter(self.hub.shelves))
            if oldest is not self:
                oldest.clear()
        return True

    def find(self, offset: int) -> StoredEntry | None:
        """The entry that holds `offset`, if it is here."""
        index = bisect_right(self.bases, offset) - 1
        if index < 0:
            return None
        stored = self.entries.get(self.bases[index])
        if stored is None or offset >= stored.base + stored.entry.span:
            return None
        return stored

    def sweep(self, subscription: Subscription) -> None:
        """Look at the next few entries: those in which nothing is ready go."""
        left = _SWEPT
        bases = self.bases
        while left > 0 and self.swept < len(bases):
            left -= 1
            base = bases[self.swept]
            self.swept += 1
            stored = self.entries.get(base)
            if stored is not None and subscription.next_ready(base) >= base + stored.entry.span:
                self.drop(stored)
        if self.swept >= len(bases):
            self.swept = 0
            if len(bases) > 2 * len(self.entries):
                self.bases = sorted(self.entries)

    def drop(self, stored: StoredEntry) -> None:
        """An entry goes."""
        del self.entries[stored.base]
        size = stored.entry.size + _OVERHEAD
        self.size -= size
        self.hub.shelved_bytes -= size
        if len(self.entries) == 0:
            del self.hub.shelves[self]

    def clear(self) -> None:
        """All go."""
        if len(self.entries) > 0:
            del self.hub.shelves[self]
        self.hub.shelved_bytes -= self.size
        self.size = 0
        self.swept = 0
        self.bases = []
        self.entries = {}
