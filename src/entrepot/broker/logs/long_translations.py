"""LongTranslations: of entries whose reader looks into every octet of a message (SQS: characters, base64, MD5), made by a thread beside the loop."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from entrepot.broker.logs.pieces import Pieces
from entrepot.model.entry import Entry

SIZE_MAX = 64 << 20  # bytes kept, but the one that was asked for last in any case

Key = tuple[int, int, int, bytes]
Loaded = Callable[[], object]


class LongTranslations:
    """Of one broker. Work is done where pieces are divided; several that ask for the same share it, and who asks no more leaves it to the next one.

    `made_count`: since the start.
    """

    def __init__(self, pieces: Pieces) -> None:
        self.size_max = SIZE_MAX
        self.size = 0
        self.made_count = 0
        self._pieces = pieces
        self._kept: OrderedDict[Key, tuple[Entry, bytes | None]] = OrderedDict()  # the entry is held, so that its identity stays its own
        self._waiting: dict[Key, list[Loaded]] = {}  # who is told, of those that are being made

    def get(self, entry: Entry, base: int, tag: int, address: bytes) -> tuple[bytes | None] | None:
        """The translation, in a tuple (None: there is none, the entry is opaque), if it is here."""
        key = (id(entry), base, tag, address)
        kept = self._kept.get(key)
        if kept is None:
            return None
        self._kept.move_to_end(key)
        return (kept[1],)

    def make(self, entry: Entry, base: int, tag: int, address: bytes, work: Callable[[], bytes | None], loaded: Loaded) -> bool:
        """Whether it is here; if not, work() makes it, on the thread, and loaded() is called when it may be asked for again."""
        key = (id(entry), base, tag, address)
        if key in self._kept:
            return True
        waiting = self._waiting.get(key)
        if waiting is not None:
            waiting.append(loaded)
            return False
        waiting = self._waiting[key] = []
        made: list[bytes | None] = []

        def run() -> None:
            made.append(work())

        def done() -> None:
            del self._waiting[key]
            self._keep(key, entry, made[0] if made else None)
            for function in waiting:
                function()

        elsewhere: Any = self._pieces.elsewhere
        if elsewhere is None:
            run()
            done()
            return True
        waiting.append(loaded)
        elsewhere(run, done)
        return False

    def statistics(self) -> dict[str, float]:
        """Figures for metrics."""
        return {"long_translated_total": self.made_count, "long_translations_bytes": self.size}

    def _keep(self, key: Key, entry: Entry, data: bytes | None) -> None:
        self.made_count += 1
        self._kept[key] = (entry, data)
        self.size += _size(data)
        while self.size > self.size_max and len(self._kept) > 1:
            _, gone = self._kept.popitem(last=False)
            self.size -= _size(gone[1])


def _size(data: bytes | None) -> int:
    return 0 if data is None else len(data)
