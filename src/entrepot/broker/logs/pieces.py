"""Pieces: long entries of a protocol whose entries cannot be taken apart, as several short ones, for readers of other protocols.

What such a reader gets is translated in the loop, an entry in one go; a batch of a megabyte may have a million records, or unpack to sixty megabytes.
Those are unpacked and divided by a thread beside the loop, and each piece is then an entry of its own: same codec, flags and producer, further on.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from entrepot.broker.logs.entry_codec import EntryCodec
from entrepot.model.entry import OPAQUE, Entry, StoredEntry, restore_entry, stored_entry

SIZE_MAX = 128 << 20  # bytes of pieces kept, those of the entry that was read last in any case

Elsewhere = Callable[[Callable[[], object], Callable[[], object]], object]


class Divided:
    """One long entry: the index of each piece's first record, and the piece, which is made into an entry when it is read."""

    __slots__ = ("_data", "_entries", "_firsts", "entry", "size")

    def __init__(self, entry: Entry, pieces: list[tuple[int, bytes]]) -> None:
        self.entry = entry  # held, so that its identity stays its own
        self.size = sum(len(data) for _, data in pieces)
        self._firsts: list[int] = []
        self._data = pieces
        self._entries: list[Entry | None] = [None] * len(pieces)
        first = 0
        for count, _ in pieces:
            self._firsts.append(first)
            first += count

    def at(self, base: int, index: int) -> StoredEntry:
        """The piece with the record `index`, where the entry lies at `base`."""
        place = bisect_right(self._firsts, index) - 1
        entry = self._entries[place]
        if entry is None:
            entry = self._entries[place] = self._piece(*self._data[place])
        return stored_entry(base + self._firsts[place], entry)

    def _piece(self, count: int, data: bytes) -> Entry:
        whole = self.entry
        piece = restore_entry(whole.codec, whole.codec_version, whole.flags if data else whole.flags | OPAQUE, count, count, data)
        piece.epoch = whole.epoch
        piece.append_time_ms = whole.append_time_ms
        piece.max_time_ms = whole.max_time_ms
        piece.producer_id = whole.producer_id
        piece.producer_epoch = whole.producer_epoch
        piece.transaction_id = whole.transaction_id
        return piece


class Pieces:
    """Of one broker. elsewhere(run, done) calls run() on another thread, then done() on the loop; None: both at once, where they are.

    `divided_count`: entries since the start.
    """

    def __init__(self, elsewhere: Elsewhere | None = None) -> None:
        self.elsewhere = elsewhere
        self.size_max = SIZE_MAX
        self.size = 0
        self.divided_count = 0
        self._kept: OrderedDict[int, Divided] = OrderedDict()  # by the entry's identity, the one that was read last at the end
        self._waiting: dict[int, list[Callable[[], object]]] = {}  # who is told, of those that are being divided

    def find(self, stored: StoredEntry, codec: EntryCodec, offset: int, loaded: Callable[[], object]) -> StoredEntry | None:
        """What is read at `offset` of a long entry; None: loaded() is called when it may be asked for again."""
        entry = stored.entry
        identity = id(entry)
        divided = self._kept.get(identity)
        if divided is None and identity not in self._waiting:
            self._divide(entry, codec)
            divided = self._kept.get(identity)
        if divided is None:
            self._waiting[identity].append(loaded)
            return None
        self._kept.move_to_end(identity)
        return divided.at(stored.base, offset - stored.base)

    def statistics(self) -> dict[str, float]:
        """Figures for metrics."""
        return {"divided_total": self.divided_count, "pieces_bytes": self.size}

    def _divide(self, entry: Entry, codec: EntryCodec) -> None:
        data: Any = entry.data
        found: list[list[tuple[int, bytes]]] = []
        self._waiting[id(entry)] = []

        def run() -> None:
            found.append(codec.pieces(data))

        def done() -> None:
            waiting = self._waiting.pop(id(entry))
            if found:
                self._keep(Divided(entry, found[0] or [(entry.count, b"")]))
            for loaded in waiting:
                loaded()

        if self.elsewhere is None:
            run()
            done()
        else:
            self.elsewhere(run, done)

    def _keep(self, divided: Divided) -> None:
        self.divided_count += 1
        self._kept[id(divided.entry)] = divided
        self.size += divided.size
        while self.size > self.size_max and len(self._kept) > 1:
            _, gone = self._kept.popitem(last=False)
            self.size -= gone.size
