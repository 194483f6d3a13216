"""Rows: where entries lie that are in no segment yet. One packed array per log, ascending, no object per entry.

A row is 24 bytes, little-endian: base u64, life u32 (of the journal file), position u32 and size u32 (of the encoded entry in it),
span u32.
"""

from __future__ import annotations

from typing import Any

import cython

if not cython.compiled:
    from entrepot.model.octets import get_u32_le_ba, get_u64_le_ba, put_u32_le, put_u64_le, resize_ba, take_ba

ROW_SIZE = 24
_ROW = ROW_SIZE
_GAP = 16 * 1024  # bytes between two entries that are read rather than skipped
_READS = 64  # stretches of one fetch


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

    def stretches(self, row: int, durable_offset: int, size_max: int, file: Any) -> tuple[list[tuple[Any, int, int]], list[bytes], int]:
        """What one fetch from `row` on reads: (file, position, size) stretches, the packed rows of each, and the offset that it ends at.

        Entries of one log among many lie far apart: what is read is the rows' own bytes, near ones in one stretch, of one journal file.
        """
        life = self.life(row)
        reads: list[tuple[Any, int, int]] = []
        packed: list[bytes] = []
        first = row
        last = row
        start = self.position(row)
        stop = start
        read = 0
        while True:
            more = last < self.count and self.base(last) < durable_offset and self.life(last) == life and read + stop - start < size_max
            if not more or self.position(last) < start or self.position(last) - stop > _GAP:
                reads.append((file, start, stop - start))
                packed.append(self.packed(first, last))
                if not more or len(reads) == _READS:
                    break
                read += stop - start
                first = last
                start = self.position(last)
            stop = self.position(last) + self.size(last)
            last += 1
        return reads, packed, self.base(last - 1) + self.span(last - 1)

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
