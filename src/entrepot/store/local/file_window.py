"""FileWindow: the newest files that are never written again stay in the system's cache, older ones leave it when they fall out of the window.

What a store keeps grows without end, and a cache that grows with it is filled with new pages all the time: on a virtual machine whose host
hands out memory when it is first touched, that costs several times what writing to pages costs that were just given back.
"""

from __future__ import annotations

from collections import deque
from functools import partial

from entrepot.store.local.checkpoint import SegmentRow
from entrepot.store.local.disk import Disk
from entrepot.store.local.ring import journal_name
from entrepot.store.local.segments import segment_name


class FileWindow:
    """Up to `size_max` bytes of files, 0 for any number."""

    def __init__(self, disk: Disk, size_max: int) -> None:
        self._disk = disk
        self._size_max = size_max
        self._files: deque[tuple[str, int]] = deque()  # name and size, oldest first
        self._size = 0

    def add(self, rows: list[SegmentRow]) -> None:
        """New segments, synced, and the journal files that they adopt."""
        if not self._size_max:
            return
        for row in rows:
            self._put(segment_name(row.id), row.size)
            if row.adopted is not None:
                self._put(journal_name(row.adopted.slot), row.adopted.size)
        while self._size > self._size_max:
            name, size = self._files.popleft()
            self._size -= size
            self._disk.background(partial(self._disk.uncache, name), _done)

    def _put(self, name: str, size: int) -> None:
        self._files.append((name, size))
        self._size += size


def _done(_: None, __: BaseException | None) -> None:
    """A file that is gone, or stays in the cache, does no harm."""
