"""Cursor: finds the entry and the byte position of a record by its offset; cheap when the records are asked for in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from entrepot.broker.logs.entry_shelf import EntryShelf
from entrepot.broker.logs.hub import Hub
from entrepot.model.entry import CONTROL, Entry, StoredEntry
from entrepot.store.interface import Log

HERE = 1
LATER = 0
GAP = -1

_HERE = HERE
_LATER = LATER
_GAP = GAP
_CONTROL = CONTROL
_OVERHEAD = 256  # bytes of an entry besides its data


class Cursor:
    """A place in one log. After locate() was HERE, `entry` holds the offset asked for, with offsets base to end - 1; data() is it as the codec `tag`
    packs it, which can take it apart: its own, or else the hub's for that. That holds for this turn of the loop; in the next one it is asked again.

    on_loaded() is called when what was LATER may be asked for again.
    """

    __slots__ = (
        "at_hand",
        "base",
        "end",
        "entry",
        "fetched",
        "form",
        "gap_end",
        "hub",
        "loading",
        "log",
        "next_offset",
        "next_position",
        "on_loaded",
        "reader",
        "shelf",
        "stored",
        "tag",
        "used",
    )

    # not set before the first HERE
    entry: Entry
    stored: StoredEntry

    def __init__(self, hub: Hub, log: Log, on_loaded: Callable[[], None]) -> None:
        self.hub = hub
        self.log = log
        self.on_loaded = on_loaded
        self.reader = log.reader()
        self.at_hand = 0  # bytes of its entry and of what the reader holds, as the hub counts them; 0: it has none
        self.used = False  # since the hub looked last
        self.base = 0
        self.end = 0
        self.form: bytes | None = None  # the translation, where the entry's own codec cannot take it apart
        self.tag = 0
        self.gap_end = 0
        self.loading = False
        self.shelf: EntryShelf | None = None  # where entries lie that were read ahead, if any are
        self.fetched: Any = None  # the offset of the last fetch, until it was looked at
        self.next_offset = 0
        self.next_position = -1

    def locate(self, offset: int) -> int:
        """HERE; LATER: being fetched; GAP: no record that can be told stands at `offset` .. `gap_end` - 1 (compacted, gone, or opaque)."""
        if self.base <= offset < self.end and self.entry.data is not None and (self.form is not None or self.tag == self.entry.codec):
            return _HERE
        if self.loading:
            return _LATER
        stored = self.reader.at(offset)
        if stored is None and self.shelf is not None:
            stored = self.shelf.find(offset)
        if stored is None:
            if self.fetched == offset:
                self.fetched = None
                self.gap_end = self.log.durable_offset
                return _GAP
            self.fetched = offset
            self.loading = True
            self.reader.stretch_size = self.hub.stretch_size()
            self.reader.fetch(offset, self.loaded)
            return _LATER
        self.fetched = None
        if stored.base > offset:
            self.gap_end = stored.base
            return _GAP
        entry = stored.entry
        form = None
        tag = entry.codec
        if not entry.flags & _CONTROL and not self.hub.codec(tag).by_record:
            tag = self.hub.record_tag
            if self.hub.is_spent():
                self.loading = True
                self.hub.scheduler.call_soon(self.loaded)
                return _LATER
            if self.hub.is_long(stored, tag):
                stored = self.hub.pieces.find(stored, self.hub.codec(entry.codec), offset, self.loaded)
                if stored is None:
                    self.loading = True
                    return _LATER
                entry = stored.entry
            form = self.hub.translated(stored, tag)
            if form is None:
                self.gap_end = stored.base + entry.span
                return _GAP
        self.form = form
        self.tag = tag
        self.stored = stored
        self.entry = entry
        self.base = stored.base
        self.end = stored.base + entry.span
        self.next_position = -1
        size = len(self.data()) + _OVERHEAD + self.reader.held_bytes
        self.used = True
        self.hub.locating(self, size, self.at_hand)
        self.at_hand = size
        return _HERE

    def is_ready(self, tag: int) -> bool:
        """Whether the entry that locate() has found is to be asked of the hub as the codec `tag` packs it; if not, it is as if locate() were LATER."""
        if self.loading or not self.hub.is_ready(self.stored, tag, self.loaded):
            self.loading = True
            return False
        return True

    def let_go(self) -> None:
        """See Hub.locating."""
        self.at_hand = 0
        self.base = 0
        self.end = 0
        self.form = None
        self.entry = None  # type: ignore[assignment]  # as before the first HERE
        self.stored = None  # type: ignore[assignment]
        if not self.loading and self.fetched is None:  # else what was fetched is still to be looked at
            self.reader.close()
            self.reader = self.log.reader()

    def rest(self) -> None:
        """Nothing is read here for a while, and nobody uses what locate() has found."""
        if self.at_hand > 0:
            self.hub.closed(self, self.at_hand)
        if not self.loading:
            self.fetched = None  # nobody looks at it any more
        self.let_go()

    def data(self) -> bytes:
        """The entry that locate() has found."""
        if self.form is not None:
            return self.form
        data = self.entry.data
        assert data is not None
        return data

    def position_of(self, offset: int) -> int:
        """Byte position of the record `offset` of the current entry."""
        if self.next_position >= 0 and offset == self.next_offset:
            return self.next_position
        codec = self.hub.codec(self.tag)
        data = self.data()
        if self.next_position >= 0 and offset > self.next_offset:
            position = codec.skip(data, self.next_position, offset - self.next_offset)
        else:
            position = codec.skip(data, codec.start(data), offset - self.base)
        self.next_offset = offset
        self.next_position = position
        return position

    def passed(self, next_offset: int, next_position: int) -> None:
        """The caller goes on at `next_offset`, and knows where that begins (-1: it does not)."""
        if next_offset >= self.end:
            self.form = None
        if next_position >= 0:
            self.next_offset = next_offset
            self.next_position = next_position

    def loaded(self) -> None:
        """A fetch has ended."""
        self.loading = False
        self.on_loaded()

    def close(self) -> None:
        """Unpin what it holds."""
        if self.at_hand > 0:
            self.hub.closed(self, self.at_hand)
            self.at_hand = 0
        self.on_loaded = _nobody
        self.reader.close()


def _nobody() -> None:
    """Waits for it any more."""
