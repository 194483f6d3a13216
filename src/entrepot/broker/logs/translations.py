"""Translations: entries in another codec's form, kept beside the store's cache for the next reader. The least recently used goes first."""

from __future__ import annotations

from collections import OrderedDict

from entrepot.model.entry import Entry

SIZE_MAX = 16 << 20  # bytes, unless told otherwise

_Key = tuple[int, int, int, bytes]


class Translations:
    """At most `size_max` bytes. Counters since the start: records translated, found here, and entries that were opaque to their reader."""

    def __init__(self, size_max: int = SIZE_MAX) -> None:
        self.size_max = size_max
        self.size = 0
        self.translated_count = 0
        self.found_count = 0
        self.opaque_count = 0
        self._kept: OrderedDict[_Key, tuple[Entry, bytes]] = OrderedDict()  # the entry is held, so that its identity stays its own

    def get(self, entry: Entry, base: int, tag: int, address: bytes) -> bytes | None:
        """The translation, if it is here."""
        key = (id(entry), base, tag, address)
        kept = self._kept.get(key)
        if kept is None:
            return None
        self._kept.move_to_end(key)
        self.found_count += entry.count
        return kept[1]

    def has(self, entry: Entry, base: int, tag: int, address: bytes) -> bool:
        """Whether it is."""
        return (id(entry), base, tag, address) in self._kept

    def put(self, entry: Entry, base: int, tag: int, address: bytes, data: bytes) -> None:
        """Keep a translation, unless it alone is over half of the bound."""
        self.translated_count += entry.count
        size = _size(entry, data)
        if size > self.size_max // 2:
            return
        self._kept[id(entry), base, tag, address] = (entry, data)
        self.size += size
        while self.size > self.size_max:
            _, gone = self._kept.popitem(last=False)
            self.size -= _size(*gone)

    def statistics(self) -> dict[str, float]:
        """Figures for metrics."""
        return {
            "translated_total": self.translated_count,
            "translations_found_total": self.found_count,
            "translations_bytes": self.size,
            "opaque_skipped_total": self.opaque_count,
        }


def _size(entry: Entry, data: bytes) -> int:
    return entry.size + len(data)
