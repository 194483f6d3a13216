"""Reserve: the disk is never filled by appends. Below `reserve_size` free they are refused; what frees space goes on."""

from __future__ import annotations

from entrepot.store.local.disk import Disk
from entrepot.store.local.settings import StoreSettings

_STEP = 4 << 20


class Reserve:
    """Asks the disk now and then: after every few megabytes committed."""

    def __init__(self, disk: Disk, settings: StoreSettings) -> None:
        self._disk = disk
        self._size = settings.reserve_size
        self._step = min(_STEP, max(1, settings.reserve_size // 16))
        self._asked_at = 0
        self._full = False
        self.free_bytes = 0

    def due(self, committed_bytes: int) -> bool:
        """Whether it is time to ask again; always, while the disk is full."""
        return self._full or committed_bytes - self._asked_at >= self._step

    def is_full(self, committed_bytes: int) -> bool:
        """Ask. Once full, a quarter of the reserve more must be free before it is not."""
        self._asked_at = committed_bytes
        self.free_bytes = self._disk.free_bytes()
        self._full = self.free_bytes < (self._size + self._size // 4 if self._full else self._size)
        return self._full
