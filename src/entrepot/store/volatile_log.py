"""VolatileLog and its reader: one log's entries in memory and in spilled blocks. Only its store stages on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import cython

from entrepot.model.entry import StoredEntry
from entrepot.model.ranges import RangeSet
from entrepot.store.interface import Log, LogReader
from entrepot.store.scratch import Block

if not cython.compiled:
    from entrepot.model.entry import bytes_of, stored_entry
    from entrepot.model.octets import get_u64_le
    from entrepot.store.entry_codec import decode_entry, entry_size

_PACK_AT = 256


class Item:
    """Offsets [first, end) of a log: an entry in memory, a spilled block, or nothing alive."""

    __slots__ = ("block", "end", "first", "own", "size", "stored")

    first: int
    end: int
    size: int  # bytes alive
    own: bool  # whether the entry lies in volatile logs only; its memory is then counted once over all of them
    stored: StoredEntry | None
    block: Block | None


def make_item(first: int, end: int, size: int, stored: StoredEntry | None, block: Block | None, own: bool) -> Item:
    """An item of a log."""
    item = Item.__new__(Item)
    item.first = first
    item.end = end
    item.size = size
    item.stored = stored
    item.block = block
    item.own = own
    return item


class VolatileLog(Log):
    """One volatile log. Its items cover [first item's first, next_offset) without gaps."""

    __slots__ = ("append_group", "dropped", "gone", "head", "holes_set", "items", "memory_bytes", "queued", "store")

    def __init__(self, shard: int, log_id: bytes, store: Any) -> None:
        self.id = log_id
        self.shard = shard
        self.epoch = 0
        self.volatile = True
        self.first_offset = 0
        self.next_offset = 0
        self.durable_offset = 0
        self.marked_offset = 0
        self.bytes_alive = 0
        self.owner = None
        self.store = store
        self.dropped = False
        self.holes_set = RangeSet()
        self.items: list[Item | None] = []
        self.head = 0
        self.gone = 0  # items that have left the list's front
        self.memory_bytes = 0  # of entries in memory, as if none were shared
        self.queued = False  # whether it waits to be looked at for spilling
        self.append_group = 0

    def reader(self) -> LogReader:
        """See Log.reader."""
        return VolatileReader(self)

    def find(self, timestamp_ms: int, done: Callable[[int], None]) -> None:
        """See Log.find."""
        self.store.find(self, timestamp_ms, done)

    def holes(self) -> Iterator[tuple[int, int]]:
        """See Log.holes."""
        return iter(self.holes_set.ranges(self.first_offset, self.next_offset, 1 << 62))

    def dead(self, first: int, end: int) -> bool:
        """Whether all of [first, end) is discarded."""
        if end <= self.first_offset:
            return True
        if first < self.first_offset:
            first = self.first_offset
        return self.holes_set.count != 0 and self.holes_set.next_absent(first) >= end

    def item_at(self, index: int) -> Item:
        """The item at that place of the list."""
        item = self.items[index]
        assert item is not None
        return item

    def find_item(self, offset: int) -> int:
        """Index of the item that holds `offset`, which lies below next_offset; the first one if it lies below all."""
        low = self.head
        high = len(self.items)
        while high - low > 1:
            middle = (low + high) >> 1
            if self.item_at(middle).first <= offset:
                low = middle
            else:
                high = middle
        return low

    def pack(self) -> int:
        """Forget the list's empty front, now and then."""
        if self.head >= _PACK_AT and 2 * self.head > len(self.items):
            del self.items[: self.head]
            self.gone += self.head
            self.head = 0
        return 0


class VolatileReader(LogReader):
    """Reads one log: from memory, or from the block that it fetched last."""

    __slots__ = ("block", "done", "entries", "hint", "log")

    def __init__(self, log: VolatileLog) -> None:
        self.log = log
        self.held_bytes = 0
        self.hint = 0
        self.block: Block | None = None
        self.entries: list[StoredEntry] = []  # of the block
        self.done: Callable[[], None] | None = None

    def at(self, offset: int) -> StoredEntry | None:
        """See LogReader.at."""
        log = self.log
        if log.dropped:
            return None
        while True:
            if offset < log.first_offset:
                offset = log.first_offset
            if log.holes_set.count:
                offset = log.holes_set.next_absent(offset)
            if offset >= log.durable_offset:
                return None
            index = self.hint - log.gone
            if index < log.head or index >= len(log.items):
                index = log.find_item(offset)
            item = log.item_at(index)
            if offset >= item.end and index + 1 < len(log.items):
                index += 1
                item = log.item_at(index)
            if offset < item.first or offset >= item.end:
                index = log.find_item(offset)
                item = log.item_at(index)
            self.hint = index + log.gone
            if item.stored is not None:
                return item.stored
            if item.block is None:
                offset = item.end
            elif item.block is not self.block:
                return None
            else:
                stored = self.fetched(offset)
                if stored is not None and (stored.base <= offset or not log.dead(stored.base, stored.base + stored.entry.span)):
                    return stored
                offset = item.end if stored is None else stored.base + stored.entry.span

    def fetched(self, offset: int) -> StoredEntry | None:
        """The block's entry that holds `offset`, else the next after it."""
        low = 0
        high = len(self.entries)
        while low < high:
            middle = (low + high) >> 1
            stored: StoredEntry = self.entries[middle]
            if stored.base + stored.entry.span <= offset:
                low = middle + 1
            else:
                high = middle
        return self.entries[low] if low < len(self.entries) else None

    def fetch(self, offset: int, done: Callable[[], None]) -> None:
        """See LogReader.fetch."""
        assert self.done is None, "one fetch at a time"
        self.done = done
        self.log.store.fetch(self, offset)

    def loaded(self, block: Block | None, entries: list[StoredEntry]) -> None:
        """The store brought a block; None if there was none to bring."""
        done = self.done
        self.done = None
        if done is not None:
            if block is not None:
                self.block = block
                self.entries = entries
                self.held_bytes = bytes_of(entries)
            done()

    def close(self) -> None:
        """See LogReader.close."""
        self.done = None
        self.block = None
        self.entries = []
        self.held_bytes = 0


def volatile_log(log: Log) -> VolatileLog:
    """The log as the volatile store knows it; another store's is our bug."""
    assert isinstance(log, VolatileLog), "a log of another store"
    return log


def decode_block(data: bytes) -> list[StoredEntry]:
    """The entries of a spilled block, ascending. CorruptData if one does not hold."""
    found: list[StoredEntry] = []
    at = 0
    while at < len(data):
        base = get_u64_le(data, at)
        size = entry_size(data, at + 8, len(data))
        found.append(stored_entry(base, decode_entry(data, at + 8, at + 8 + size)))
        at += 8 + size
    return found
