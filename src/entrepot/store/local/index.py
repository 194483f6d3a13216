"""Rows: where entries lie that are in no segment yet. One packed array per log, ascending, no object per entry.

A row is 24 bytes, little-endian: base u64, life u32 (of the journal file), position u32 and size u32 (of the encoded entry in it),
span u32.
"""

from __future__ import annotations

from typing import Any

import cython

from entrepot.model.entry import StoredEntry

if not cython.compiled:
    from entrepot.model.entry import stored_entry
    from entrepot.model.octets import get_u32_le, get_u32_le_ba, get_u64_le, get_u64_le_ba, put_u32_le, put_u64_le, resize_ba, take_ba
    from entrepot.store.entry_codec import decode_apart, decode_entry

ROW_SIZE = 24
_ROW = ROW_SIZE
_GAP = 16 * 1024  # bytes between two entries that are read rather than skipped
_READS = 64  # stretches of one fetch
APART_SIZE_MIN = 32 * 1024  # bytes of an entry from which on it is read by itself, straight to where it stays
_APART = APART_SIZE_MIN


class Rows:
    """Ascending by base; rows leave at the front, or by journal file."""

    __slots__ = ("count", "data")

    def __init__(self) -> None:
        self.data = bytearray()
        self.count = 0

    def append(self, base: int, life: int, position: int, size: int, span: int) -> int:
        """Add a row behind all others."""
        p = self.count * _ROW
        resize_ba(self.data, p + _ROW)
        put_u64_le(self.data, p, base)
        put_u32_le(self.data, p + 8, life)
        put_u32_le(self.data, p + 12, position)
        put_u32_le(self.data, p + 16, size)
        put_u32_le(self.data, p + 20, span)
        self.count += 1
        return 0

    def base(self, row: int) -> int:
        """First offset."""
        return get_u64_le_ba(self.data, row * _ROW)

    def life(self, row: int) -> int:
        """The journal file's life."""
        return get_u32_le_ba(self.data, row * _ROW + 8)

    def position(self, row: int) -> int:
        """Where the encoded entry starts in that file."""
        return get_u32_le_ba(self.data, row * _ROW + 12)

    def size(self, row: int) -> int:
        """Bytes of the encoded entry."""
        return get_u32_le_ba(self.data, row * _ROW + 16)

    def span(self, row: int) -> int:
        """Offsets it covers."""
        return get_u32_le_ba(self.data, row * _ROW + 20)

    def find(self, offset: int) -> int:
        """The row that holds `offset`, else the first one after it; `count` if there is none."""
        low = 0
        high = self.count
        while low < high:
            middle = (low + high) >> 1
            if self.base(middle) <= offset:
                low = middle + 1
            else:
                high = middle
        if low > 0 and offset - self.base(low - 1) < self.span(low - 1):
            return low - 1
        return low

    def drop_front(self, rows: int) -> int:
        """Forget the first `rows`."""
        del self.data[: rows * _ROW]
        self.count -= rows
        return 0

    def packed(self, first: int, end: int) -> bytes:
        """The rows [first, end) as they lie."""
        return take_ba(self.data, first * _ROW, (end - first) * _ROW)

    def stretches(self, row: int, durable_offset: int, size_max: int, file: Any, head_size: int) -> tuple[list[tuple[Any, int, int, int]], list[bytes], int]:
        """What one fetch from `row` on reads: (file, position, head size, size) stretches, the packed rows of each, and the offset that it ends at.

        Entries of one log among many lie far apart: what is read is the rows' own bytes, near ones in one stretch, of one journal file. A long entry
        is a stretch of its own, with the head size given; others have none.
        """
        life = self.life(row)
        reads: list[tuple[Any, int, int, int]] = []
        packed: list[bytes] = []
        first = row
        last = row
        start = self.position(row)
        stop = start
        read = 0
        while True:
            more = last < self.count and self.base(last) < durable_offset and self.life(last) == life and read + stop - start < size_max
            if not more or (last > first and self._lies_apart(first, last, start, stop)):
                reads.append((file, start, head_size if self.size(first) >= _APART else 0, stop - start))
                packed.append(self.packed(first, last))
                if not more or len(reads) == _READS:
                    break
                read += stop - start
                first = last
                start = self.position(last)
            stop = self.position(last) + self.size(last)
            last += 1
        return reads, packed, self.base(last - 1) + self.span(last - 1)

    def _lies_apart(self, first: int, row: int, start: int, stop: int) -> bool:
        """Whether `row` is not read together with the rows from `first` on, which lie in [start, stop)."""
        position = self.position(row)
        return position < start or position - stop > _GAP or self.size(row) >= _APART or self.size(first) >= _APART

    def through(self, life: int) -> int:
        """How many rows, from the first on, point into journal files up to `life`."""
        low = 0
        high = self.count
        while low < high:
            middle = (low + high) >> 1
            if self.life(middle) <= life:
                low = middle + 1
            else:
                high = middle
        return low


def decode_row(head: bytes, data: bytes, row: bytes) -> StoredEntry:
    """The entry of a packed row, read as two pieces (decode_apart). CorruptData if it does not hold."""
    return stored_entry(get_u64_le(row, 0), decode_apart(head, data))


def decode_rows(data: bytes, start: int, rows: bytes) -> list[StoredEntry]:
    """The entries of packed rows, from `data`, which was read at file position `start`. CorruptData if one does not hold."""
    found: list[StoredEntry] = []
    p = 0
    while p < len(rows):
        pos = get_u32_le(rows, p + 12) - start
        found.append(stored_entry(get_u64_le(rows, p), decode_entry(data, pos, pos + get_u32_le(rows, p + 16))))
        p += _ROW
    return found
