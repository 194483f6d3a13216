"""LeaseTable: what is known of records under a timed lease, and of those whose lease has ended without a settlement: 48 bytes each, no object.

A row, little-endian:

    0  u64  offset
    8  u64  deadline, ms since 1970 (of a lapsed lease: when it ended)
    16 u64  when the record was first received, ms since 1970
    24 16   id of the latest lease
    40 u32  how often it was received
    44 u32  place in the heap of deadlines; LAPSED: the lease has ended
"""

from __future__ import annotations

import cython

from entrepot.broker.timed.lease_state import BLOCK_SIZE, FORMAT, RUN_SIZE
from entrepot.broker.timed.offset_table import OffsetTable

if not cython.compiled:
    from entrepot.model.octets import (
        copy,
        copy_ba,
        get_u32_le_ba,
        get_u64_le,
        get_u64_le_ba,
        put_u16_le,
        put_u32_le,
        put_u64_le,
        resize_ba,
        take_ba,
    )

NO_DEADLINE = 0xFFFFFFFFFFFFFFFF

_ROW = 48
_LAPSED = 0xFFFFFFFF
_END = 0xFFFFFFFFFFFFFFFF
_NO_BLOCK = 0xFFFFFFFFFFFFFFFF
_BLOCK = BLOCK_SIZE
_RUN = RUN_SIZE
_FORMAT = FORMAT
_EMPTIED_MAX = 65_536


class LeaseTable:
    """Rows by offset, and by deadline those that hold.

    `count` rows, of which `held` are leases that hold. `end` is behind the greatest offset that has had a row. Every lease and every new deadline is
    noted; take_deltas() gives what was noted as deltas of lease_state.py.
    """

    __slots__ = (
        "block",
        "block_change",
        "block_rows",
        "capacity",
        "count",
        "delta",
        "delta_block",
        "delta_next",
        "deltas",
        "emptied",
        "end",
        "free",
        "heap",
        "held",
        "index",
        "rows",
    )

    count: int
    held: int
    end: int

    def __init__(self) -> None:
        self.count = 0
        self.held = 0
        self.end = 0
        self.index = OffsetTable()
        self.rows = bytearray()
        self.capacity = 0
        self.free = -1  # a chain through the rows' deadlines: next + 1
        self.heap = bytearray()  # u64 deadline, u32 row, 4 unused; each
        self.delta = bytearray()
        self.delta_block = _NO_BLOCK
        self.delta_next = 0  # the offset that would lengthen the last run
        self.deltas: list[tuple[int, bytes]] = []
        self.block_rows: dict[int, int] = {}  # block -> rows, but for what was counted of the last one
        self.block = _NO_BLOCK
        self.block_change = 0
        self.emptied: set[int] = set()

    # ---- rows

    def find(self, offset: int) -> int:
        """The row of `offset`, or -1."""
        if self.count == 0 or offset >= self.end:
            return -1
        return self.index.get(offset)

    def is_held(self, row: int) -> bool:
        """Whether the lease has not ended."""
        return get_u32_le_ba(self.rows, row * _ROW + 44) != _LAPSED

    def has_id(self, row: int, lease_id: bytes) -> bool:
        """Whether the latest lease is this one."""
        p = row * _ROW
        if len(lease_id) != 16 or get_u64_le(lease_id, 0) == 0:  # as of what was never leased here
            return False
        return get_u64_le_ba(self.rows, p + 24) == get_u64_le(lease_id, 0) and get_u64_le_ba(self.rows, p + 32) == get_u64_le(lease_id, 8)

    def lease_id_of(self, row: int) -> bytes:
        """Id of the latest lease."""
        return take_ba(self.rows, row * _ROW + 24, 16)

    def offset_of(self, row: int) -> int:
        """Its offset."""
        return get_u64_le_ba(self.rows, row * _ROW)

    def deadline_of(self, row: int) -> int:
        """When the lease ends, or has ended."""
        return get_u64_le_ba(self.rows, row * _ROW + 8)

    def first_received_of(self, row: int) -> int:
        """When the record was first received."""
        return get_u64_le_ba(self.rows, row * _ROW + 16)

    def deliveries_of(self, row: int) -> int:
        """How often it was received."""
        return get_u32_le_ba(self.rows, row * _ROW + 40)

    def deliveries_at(self, offset: int) -> int:
        """How often `offset` was received; 0 where nothing is known."""
        if self.count == 0 or offset >= self.end:
            return 0
        row = self.index.get(offset)
        return 0 if row < 0 else self.deliveries_of(row)

    def same_deliveries(self, offset: int, limit: int) -> int:
        """How many of `limit` offsets from `offset` were received as often as it was."""
        if self.count == 0 or offset >= self.end:
            return limit
        first = self.deliveries_at(offset)
        count = 1
        while count < limit and self.deliveries_at(offset + count) == first:
            count += 1
        return count

    # ---- leases

    def lease(self, offset: int, lease_id: bytes, deadline_ms: int, now_ms: int, deliveries: int) -> int:
        """The record is leased, for the `deliveries`th time; its row."""
        row = self.index.get(offset)
        if row < 0:
            row = self.add(offset)
            put_u64_le(self.rows, row * _ROW + 16, now_ms)
        else:
            assert not self.is_held(row), offset
        p = row * _ROW
        put_u64_le(self.rows, p + 8, deadline_ms)
        copy(self.rows, p + 24, lease_id, 0, 16)
        put_u32_le(self.rows, p + 40, deliveries)
        self.push(row, deadline_ms)
        self.note(row)
        return row

    def restore(self, offset: int, lease_id: bytes, deadline_ms: int, first_received_ms: int, deliveries: int, held: bool) -> int:
        """At opening: as it was kept."""
        row = self.add(offset)
        p = row * _ROW
        put_u64_le(self.rows, p + 8, deadline_ms)
        put_u64_le(self.rows, p + 16, first_received_ms)
        copy(self.rows, p + 24, lease_id, 0, 16)
        put_u32_le(self.rows, p + 40, deliveries)
        if held:
            self.push(row, deadline_ms)
        return 0

    def adopt(self, offset: int, now_ms: int, first_received_ms: int, deliveries: int) -> int:
        """A record that was received elsewhere before: what is known goes on."""
        row = self.add(offset)
        p = row * _ROW
        put_u64_le(self.rows, p + 8, now_ms)
        put_u64_le(self.rows, p + 16, first_received_ms)
        put_u64_le(self.rows, p + 24, 0)
        put_u64_le(self.rows, p + 32, 0)
        put_u32_le(self.rows, p + 40, deliveries)
        self.note(row)
        return 0

    def change(self, row: int, deadline_ms: int) -> int:
        """A lease that holds ends at another time."""
        place = get_u32_le_ba(self.rows, row * _ROW + 44)
        put_u64_le(self.rows, row * _ROW + 8, deadline_ms)
        put_u64_le(self.heap, 16 * place, deadline_ms)
        self.sift(place)
        self.note(row)
        return 0

    def hold_again(self, row: int, deadline_ms: int) -> int:
        """A lapsed lease holds again."""
        assert not self.is_held(row), row
        put_u64_le(self.rows, row * _ROW + 8, deadline_ms)
        self.push(row, deadline_ms)
        self.note(row)
        return 0

    def lapse(self, row: int) -> int:
        """The lease has ended; what is known stays."""
        self.unheap(row)
        return 0

    def next_deadline(self) -> int:
        """When the next lease ends; NO_DEADLINE: none holds."""
        return get_u64_le_ba(self.heap, 0) if self.held else _END

    def lapse_next(self, now_ms: int) -> int:
        """End the lease whose deadline has come, the earliest first: its offset; NO_DEADLINE: none."""
        if self.held == 0 or get_u64_le_ba(self.heap, 0) > now_ms:
            return _END
        row = get_u32_le_ba(self.heap, 8)
        self.unheap(row)
        return get_u64_le_ba(self.rows, row * _ROW)

    def remove(self, offset: int) -> int:
        """Forget a record: it is settled. Whether there was something."""
        if self.count == 0 or offset >= self.end:
            return 0
        row = self.index.remove(offset)
        if row < 0:
            return 0
        if get_u32_le_ba(self.rows, row * _ROW + 44) != _LAPSED:
            self.unheap(row)
        put_u64_le(self.rows, row * _ROW, _END)
        put_u64_le(self.rows, row * _ROW + 8, self.free + 1)
        self.free = row
        self.count_block(offset // _BLOCK, -1)
        self.count -= 1
        if self.count == 0:
            self.clear()
        return 1

    def remove_range(self, first: int, end: int) -> int:
        """Forget all of [first, end): settled."""
        if self.count == 0 or first >= self.end:
            return 0
        if end > self.end:
            end = self.end
        if end - first <= self.capacity:
            while first < end and self.count:
                self.remove(first)
                first += 1
            return 0
        row = 0
        capacity = self.capacity
        while row < capacity and self.count:
            offset = get_u64_le_ba(self.rows, row * _ROW)
            if first <= offset < end:
                self.remove(offset)
            row += 1
        return 0

    def offsets(self) -> list[int]:
        """Every offset that has a row, ascending: rare paths only."""
        found = [self.offset_of(row) for row in range(self.capacity)]
        return sorted([offset for offset in found if offset != _END])

    # ---- what is to be kept

    def note(self, row: int) -> int:
        """The row is as it is to be kept."""
        p = row * _ROW
        offset = get_u64_le_ba(self.rows, p)
        block = offset // _BLOCK
        place = offset - block * _BLOCK
        size = len(self.delta)
        if block != self.delta_block:
            if size:
                self.deltas.append((self.delta_block, take_ba(self.delta, 0, size)))
            resize_ba(self.delta, 1)
            self.delta[0] = _FORMAT
            self.delta_block = block
            size = 1
        elif offset == self.delta_next and self.continues(size - _RUN, p):
            put_u16_le(self.delta, size - _RUN + 2, place)
            self.delta_next = offset + 1
            return 0
        resize_ba(self.delta, size + _RUN)
        put_u16_le(self.delta, size, place)
        put_u16_le(self.delta, size + 2, place)
        copy_ba(self.delta, size + 4, self.rows, p + 8, 36)
        self.delta_next = offset + 1
        return 0

    def continues(self, run: int, p: int) -> bool:
        """Whether the row says what the last run of the delta does."""
        at = 0
        while at < 32:
            if get_u64_le_ba(self.delta, run + 4 + at) != get_u64_le_ba(self.rows, p + 8 + at):
                return False
            at += 8
        return get_u32_le_ba(self.delta, run + 36) == get_u32_le_ba(self.rows, p + 40)

    def take_deltas(self) -> list[tuple[int, bytes]]:
        """(block number, delta) of everything noted since the last time."""
        deltas = self.deltas
        size = len(self.delta)
        if size:
            deltas.append((self.delta_block, take_ba(self.delta, 0, size)))
            resize_ba(self.delta, 0)
            self.delta_block = _NO_BLOCK
        if deltas:
            self.deltas = []
        return deltas

    # ---- below: rows and heap

    def add(self, offset: int) -> int:
        """A new row, lapsed."""
        if self.free >= 0:
            row = self.free
            self.free = get_u64_le_ba(self.rows, row * _ROW + 8)
            self.free -= 1
        else:
            row = self.capacity
            if (row + 1) * _ROW > len(self.rows):
                resize_ba(self.rows, _ROW * (2 * row + 64))
            self.capacity = row + 1
        put_u64_le(self.rows, row * _ROW, offset)
        put_u32_le(self.rows, row * _ROW + 44, _LAPSED)
        self.index.put(offset, row)
        self.count += 1
        if offset >= self.end:
            self.end = offset + 1
        self.count_block(offset // _BLOCK, 1)
        return row

    def count_block(self, block: int, change: int) -> int:
        """So many rows more of one block."""
        if block != self.block:
            self.sum_block()
            self.block = block
        self.block_change += change
        return 0

    def sum_block(self) -> int:
        """Sum up what was counted of the last block."""
        if self.block != _NO_BLOCK:
            rows = self.block_rows.pop(self.block, 0) + self.block_change
            if rows:
                self.block_rows[self.block] = rows
            else:
                if len(self.emptied) >= _EMPTIED_MAX:  # nobody asks
                    self.emptied.clear()
                self.emptied.add(self.block)
        self.block_change = 0
        return 0

    def take_emptied(self, below: int) -> list[int]:
        """Blocks below that number of which no row is left, each told once."""
        self.sum_block()
        if not self.emptied:
            return []
        found = [block for block in self.emptied if block < below]
        self.emptied.difference_update(found)
        return [block for block in found if block not in self.block_rows]

    def clear(self) -> int:
        """Forget everything but what was noted."""
        self.count = 0
        self.held = 0
        self.free = -1
        self.capacity = 0
        self.index.clear()
        if len(self.rows) > 65_536:
            self.rows = bytearray()
            self.heap = bytearray()
        return 0

    def push(self, row: int, deadline_ms: int) -> int:
        """Into the heap."""
        place = self.held
        if 16 * (place + 1) > len(self.heap):
            resize_ba(self.heap, 32 * place + 1024)
        self.held = place + 1
        self.set_place(place, deadline_ms, row)
        self.rise(place)
        return 0

    def unheap(self, row: int) -> int:
        """Out of the heap."""
        p = row * _ROW + 44
        place = get_u32_le_ba(self.rows, p)
        put_u32_le(self.rows, p, _LAPSED)
        self.held -= 1
        last = self.held
        if place != last:
            self.set_place(place, get_u64_le_ba(self.heap, 16 * last), get_u32_le_ba(self.heap, 16 * last + 8))
            self.sift(place)
        return 0

    def set_place(self, place: int, deadline_ms: int, row: int) -> int:
        """Put a row at a place of the heap."""
        put_u64_le(self.heap, 16 * place, deadline_ms)
        put_u32_le(self.heap, 16 * place + 8, row)
        put_u32_le(self.rows, row * _ROW + 44, place)
        return 0

    def sift(self, place: int) -> int:
        """Up or down, to where it belongs."""
        if place and get_u64_le_ba(self.heap, 16 * ((place - 1) >> 1)) > get_u64_le_ba(self.heap, 16 * place):
            self.rise(place)
        else:
            self.sink(place)
        return 0

    def rise(self, place: int) -> int:
        """Up to where it belongs."""
        deadline = get_u64_le_ba(self.heap, 16 * place)
        row = get_u32_le_ba(self.heap, 16 * place + 8)
        while place:
            parent = (place - 1) >> 1
            other = get_u64_le_ba(self.heap, 16 * parent)
            if other <= deadline:
                break
            self.set_place(place, other, get_u32_le_ba(self.heap, 16 * parent + 8))
            place = parent
        self.set_place(place, deadline, row)
        return 0

    def sink(self, place: int) -> int:
        """Down to where it belongs."""
        deadline = get_u64_le_ba(self.heap, 16 * place)
        row = get_u32_le_ba(self.heap, 16 * place + 8)
        while True:
            child = 2 * place + 1
            if child >= self.held:
                break
            other = get_u64_le_ba(self.heap, 16 * child)
            if child + 1 < self.held and get_u64_le_ba(self.heap, 16 * child + 16) < other:
                child += 1
                other = get_u64_le_ba(self.heap, 16 * child)
            if other >= deadline:
                break
            self.set_place(place, other, get_u32_le_ba(self.heap, 16 * child + 8))
            place = child
        self.set_place(place, deadline, row)
        return 0
