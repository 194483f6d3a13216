"""Follower: another process that follows the catalogue, as far as its stream can tell: what it is sent waits until it is applied."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from entrepot.broker.catalogue.changes import NO_REVISION, Revision, Row, decode_change, difference
from entrepot.broker.catalogue.stream import Part

_Part = TypeVar("_Part", bound=Part)


class Follower(Generic[_Part]):
    """A member of a CatalogueStream, with a `part` of its own that applies what it is sent. `revision`: up to where it has."""

    def __init__(self, part: _Part) -> None:
        self.part = part
        self.revision: Revision = NO_REVISION
        self.waiting: deque[tuple[bool, bytes]] = deque()  # whether it is a snapshot
        self._begun = False  # its snapshot is here: before that, changes are none of its business

    def restart(self, snapshot: bytes) -> None:
        """See stream.Member."""
        self._begun = True
        self.waiting.clear()
        self.waiting.append((True, snapshot))

    def take(self, change: bytes) -> None:
        """See stream.Member."""
        if self._begun:
            self.waiting.append((False, change))

    def apply_one(self) -> bool:
        """Apply what came first of what waits; whether there was anything."""
        if not self.waiting:
            return False
        whole, data = self.waiting.popleft()
        revision, rows = decode_change(data)
        if whole:
            rows = difference(self.part.prefixes, self.part.snapshot(), self._own(rows))
        else:
            assert revision > self.revision, (revision, self.revision)
        self.part.apply(revision, rows)
        self.revision = revision
        return True

    def _own(self, rows: list[Row]) -> list[Row]:
        return [row for row in rows if row.key.startswith(self.part.prefixes)]
