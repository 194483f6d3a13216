"""Follower: another process that follows the catalogue, as far as its stream can tell: what it is sent waits until it is applied.

Following: one that applies some time later, through a run, and must have come to the same at its end.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from entrepot.broker.broker import Broker
from entrepot.broker.catalogue.catalogue import Catalogue
from entrepot.broker.catalogue.changes import NO_REVISION, Revision, Row, decode_change, difference
from entrepot.broker.catalogue.snapshots import Part
from entrepot.simulation.loop import SimulatedLoop
from entrepot.simulation.store_model import Violation

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
            rows = difference(self.part.prefixes, list(self.part.rows()), self._own(rows))
        else:
            assert revision > self.revision, (revision, self.revision)
        self.part.apply(revision, rows)
        self.revision = revision
        return True

    def _own(self, rows: list[Row]) -> list[Row]:
        return [row for row in rows if row.key.startswith(self.part.prefixes)]


class Following(Follower[Catalogue]):
    """Of one run: a new process joins each life of the broker. `delay_s`: the longest that it takes to apply a change; 0: nobody follows."""

    def __init__(self, loop: SimulatedLoop, delay_s: float) -> None:
        super().__init__(Catalogue())
        self._loop = loop
        self._delay_s = delay_s
        self._broker: Broker | None = None
        self.applied_count = 0

    def begin(self, broker: Broker) -> None:
        """A life of the broker begins."""
        if self._delay_s:
            super().__init__(Catalogue())
            self._broker = broker
            broker.decisions.stream.join(self, self)

    def restart(self, snapshot: bytes) -> None:
        """See stream.Member."""
        super().restart(snapshot)
        self._apply_later()

    def take(self, change: bytes) -> None:
        """See stream.Member."""
        super().take(change)
        self._apply_later()

    def conclude(self) -> None:
        """At the end: it comes to rest. Violation where it is not as the broker's then."""
        if self._broker is None:
            return
        stream = self._broker.decisions.stream
        self._loop.run_until(lambda: not stream.behind(self), 60)
        theirs, ours = self._broker.catalogue.snapshot(), self.part.snapshot()
        if sorted(theirs, key=_key) != sorted(ours, key=_key):
            raise Violation(f"who follows has {ours}, and the broker {theirs}")

    def _apply_later(self) -> None:
        self._loop.call_later(self._loop.random.random() * self._delay_s, self._apply, self._broker)

    def _apply(self, broker: Broker | None) -> None:
        if broker is self._broker and broker is not None and self.apply_one():
            self.applied_count += 1
            broker.decisions.stream.applied(self, self.revision)


def _key(row: Row) -> bytes:
    return row.key
