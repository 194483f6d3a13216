"""What the local store does besides commits: files zeroed ahead, sorting, checkpoints, pressure, the last steps of closing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from entrepot.store.local.disk import Disk

if TYPE_CHECKING:
    from entrepot.store.local.log import LocalLog, LocalReader
    from entrepot.store.local.store import LocalStore


class Maintenance:
    """Driven by the store's events; all its work is in slices on the loop or in the background lane."""

    def __init__(self, store: LocalStore, disk: Disk) -> None:
        self._store = store
        self._disk = disk

    def start(self) -> None:
        """The store is open."""
        self._store.ring.prepare()

    def rotated(self) -> None:
        """The journal goes on in another file."""
        self._store.ring.prepare()

    def committed(self) -> None:
        """A group is durable."""

    def quiet(self) -> None:
        """The store is closing and everything staged is durable."""
        done = self._store.closing
        self._store.closing = None
        self._store.ended(ConnectionAbortedError("closed"))
        self._store.ring.close()
        self._disk.close()
        if done is not None:
            done()

    def fetch(self, reader: LocalReader, offset: int, end: int) -> None:
        """Bring what segments hold in [offset, end) to a reader."""
        self._store.scheduler.call_soon(reader.loaded, offset, end, [])

    def find(self, log: LocalLog, timestamp_ms: int, done: Callable[[int], None]) -> None:
        """See Log.find."""
        self._store.scheduler.call_soon(done, log.first_offset)
