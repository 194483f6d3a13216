"""RangeSet: an ordered set of offsets that is small where they lie together.

Offsets fall into blocks of 65,536 (range_block.py). A block is full, or runs (sorted pairs of u16, first and last), or, when it would
take more than 2,048 runs, a bitmap of 8 KiB; neighbouring full blocks are one piece however many there are. A million offsets in order
are one run.
"""

from __future__ import annotations

from collections.abc import Iterator

import cython

from entrepot.model.range_block import Block

if not cython.compiled:
    from entrepot.model.range_block import make_block

END = 0xFFFFFFFFFFFFFFFF  # "no offset"
OFFSET_LIMIT = 1 << 63  # offsets lie below

_END = END
_LIMIT = OFFSET_LIMIT
_RUNS = 0  # as in range_block.py
_FULL = 2
_BLOCK = 65536
_BLOCK_U64 = 65536


class RangeSet:
    """An ordered set of offsets below 2^63.

    `count` is how many are present. With `track_changes` it remembers which blocks changed (take_changed), for incremental persistence.
    Ranges are [first, end). Errors: ValueError for a range beyond OFFSET_LIMIT.
    """

    __slots__ = ("blocks", "changed", "count", "hint", "last_changed", "run_end", "run_first", "track_changes")

    count: int
    run_first: int  # what run_at() found
    run_end: int
    blocks: list[Block]  # ascending, not overlapping; full ones never touch
    hint: int  # where the last search ended
    track_changes: bool
    last_changed: int
    changed: set[int] | None  # None unless track_changes

    def __init__(self, track_changes: bool = False) -> None:
        self.count = 0
        self.run_first = 0
        self.run_end = 0
        self.blocks = []
        self.hint = 0
        self.track_changes = track_changes
        self.last_changed = _END
        self.changed = set() if track_changes else None

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Every maximal range, ascending, as it is now."""
        return iter(self.ranges(0, _LIMIT, 0x7FFFFFFFFFFFFFFF))

    # pieces

    def find(self, number: int) -> int:
        """Index of the piece that holds block `number`, else of the first after it, else len(blocks)."""
        high = len(self.blocks)
        if self.hint < high:
            block = self.blocks[self.hint]
            if block.number <= number < block.number + block.span:
                return self.hint
        low = 0
        while low < high:
            middle = (low + high) >> 1
            block = self.blocks[middle]
            if block.number + block.span <= number:
                low = middle + 1
            else:
                high = middle
        self.hint = low
        return low

    def note_changed(self, first: int, end: int) -> int:
        """Blocks of [first, end) changed."""
        assert self.changed is not None
        number = first >> 16
        if number == self.last_changed and (end - 1) >> 16 == number:
            return 0
        while number <= (end - 1) >> 16:
            self.changed.add(number)
            self.last_changed = number
            number += 1
        return 0

    def fuse(self, index: int) -> int:
        """The block at `index` is full: join it with full neighbours."""
        block = self.blocks[index]
        block.kind = _FULL
        block.runs = 0
        block.data = bytearray()
        if index + 1 < len(self.blocks):
            near = self.blocks[index + 1]
            if near.kind == _FULL and near.number == block.number + block.span:
                block.span += near.span
                del self.blocks[index + 1]
        if index > 0:
            near = self.blocks[index - 1]
            if near.kind == _FULL and near.number + near.span == block.number:
                near.span += block.span
                del self.blocks[index]
        return 0

    def split(self, index: int, number: int, count: int) -> int:
        """Take blocks [number, number + count) out of the full piece at `index`; a single one stays as a block of one run, more go."""
        block = self.blocks[index]
        position = index
        if number > block.number:
            self.blocks.insert(position, make_block(block.number, number - block.number, _FULL))
            position += 1
        if count == 1:
            alone = make_block(number, 1, _RUNS)
            alone.add(0, _BLOCK)
            self.blocks.insert(position, alone)
            position += 1
        if number + count < block.number + block.span:
            block.span = block.number + block.span - number - count
            block.number = number + count
        else:
            del self.blocks[position]
        return 0

    # changes

    def add(self, first: int, end: int) -> int:
        """Add [first, end); how many were not yet present."""
        if end > _LIMIT:
            raise ValueError(f"range [{first}, {end}) goes beyond the greatest offset 2^63 - 1")
        if end <= first:
            return 0
        if self.track_changes:
            self.note_changed(first, end)
        added = 0
        while first < end:
            number = first >> 16
            base = number << 16
            low = first - base
            index = self.find(number)
            if index < len(self.blocks):
                block = self.blocks[index]
                if block.number <= number:
                    if block.kind == _FULL:
                        first = (block.number + block.span) << 16
                        continue
                    stop = base + _BLOCK_U64 if end - base > _BLOCK_U64 else end
                    grown = block.add(low, stop - base)
                    added += grown
                    if block.count == _BLOCK:
                        self.fuse(index)
                    first = stop
                    continue
            if low == 0 and end - first >= _BLOCK_U64:
                last = end >> 16
                if index < len(self.blocks):
                    block = self.blocks[index]
                    if block.number < last:
                        last = block.number
                self.blocks.insert(index, make_block(number, last - number, _FULL))
                added += (last - number) << 16
                self.fuse(index)
                first = last << 16
            else:
                stop = base + _BLOCK_U64 if end - base > _BLOCK_U64 else end
                block = make_block(number, 1, _RUNS)
                added += block.add(low, stop - base)
                self.blocks.insert(index, block)
                first = stop
        self.count += added
        return added

    def remove(self, first: int, end: int) -> int:
        """Remove [first, end); how many were present."""
        if end > _LIMIT:
            end = _LIMIT
        if end <= first or not self.blocks:
            return 0
        removed = 0
        while first < end:
            number = first >> 16
            index = self.find(number)
            if index >= len(self.blocks):
                break
            block = self.blocks[index]
            base = block.number << 16
            if base > first:
                first = base
                continue
            block_end = (block.number + block.span) << 16
            stop = min(end, block_end)
            if block.kind == _FULL:
                if first & 0xFFFF == 0 and stop - first >= 2 * _BLOCK_U64:
                    stop = stop >> 16 << 16
                    if self.track_changes:
                        self.note_changed(first, stop)
                    self.split(index, number, (stop - first) >> 16)
                    removed += stop - first
                    first = stop
                else:
                    self.split(index, number, 1)  # and again, with a block of runs
                continue
            shrunk = block.remove(first - base, stop - base)
            if shrunk:
                removed += shrunk
                if self.track_changes:
                    self.note_changed(first, stop)
                if block.count == 0:
                    del self.blocks[index]
            first = stop
        self.count -= removed
        return removed

    def clear_below(self, offset: int) -> int:
        """Remove everything below `offset`; how many were present."""
        return self.remove(0, offset)

    def clear(self) -> None:
        """Remove everything."""
        self.remove(0, _LIMIT)

    # questions

    def contains(self, offset: int) -> bool:
        """Whether `offset` is present."""
        index = self.find(offset >> 16)
        if index >= len(self.blocks):
            return False
        block = self.blocks[index]
        return block.number <= offset >> 16 and block.contains(offset & 0xFFFF)

    def next_present(self, offset: int) -> int:
        """The first present at or after `offset`, else END."""
        index = self.find(offset >> 16)
        while index < len(self.blocks):
            block = self.blocks[index]
            base = block.number << 16
            if block.kind == _FULL:
                return max(offset, base)
            found = block.next_present(offset - base if offset > base else 0)
            if found < _BLOCK:
                return base + found
            index += 1
        return _END

    def next_absent(self, offset: int) -> int:
        """The first absent at or after `offset`."""
        while True:
            index = self.find(offset >> 16)
            if index >= len(self.blocks):
                return offset
            block = self.blocks[index]
            if block.number > offset >> 16:
                return offset
            if block.kind != _FULL:
                found = block.next_absent(offset & 0xFFFF)
                if found < _BLOCK:
                    return (block.number << 16) + found
            offset = (block.number + block.span) << 16

    def run_at(self, offset: int) -> bool:
        """Find the whole run that contains `offset`, else the first after it: [run_first, run_end). False if there is none."""
        first = self.next_present(offset)
        if first == _END:
            return False
        self.run_end = self.next_absent(first)
        if first == offset:
            while first > 0:
                index = self.find((first - 1) >> 16)
                if index >= len(self.blocks):
                    break
                block = self.blocks[index]
                if block.number > (first - 1) >> 16:
                    break
                if block.kind != _FULL:
                    found = block.absent_before((first - 1) & 0xFFFF)
                    if found >= 0:
                        first = (block.number << 16) + found + 1
                        break
                first = block.number << 16
        self.run_first = first
        return True

    def count_in(self, first: int, end: int) -> int:
        """How many of [first, end) are present."""
        if end > _LIMIT:
            end = _LIMIT
        if end <= first:
            return 0
        total = 0
        index = self.find(first >> 16)
        while index < len(self.blocks):
            block = self.blocks[index]
            base = block.number << 16
            if base >= end:
                break
            stop = (block.number + block.span) << 16
            if stop > end:
                stop = end
            low = max(base, first)
            total += stop - low if block.kind == _FULL else block.count_in(low - base, stop - base)
            index += 1
        return total

    def ranges(self, first: int, end: int, limit: int) -> list[tuple[int, int]]:
        """Up to `limit` maximal ranges of what is present within [first, end), ascending, cut at its edges."""
        found: list[tuple[int, int]] = []
        position = self.next_present(first)
        while position < end and len(found) < limit:
            stop = self.next_absent(position)
            if stop >= end:
                found.append((position, end))
                break
            found.append((position, stop))
            position = self.next_present(stop)
        return found

    # persistence, a block at a time

    def take_changed(self) -> list[int]:
        """Numbers of the blocks changed since the last call, ascending; needs track_changes."""
        assert self.changed is not None, "made without track_changes"
        changed = sorted(self.changed)
        self.changed = set()
        self.last_changed = _END
        return changed

    def encode_block(self, number: int) -> bytes:
        """Block `number` in its stored form; empty if nothing in it is present."""
        index = self.find(number)
        if index >= len(self.blocks):
            return b""
        block = self.blocks[index]
        if block.number > number:
            return b""
        return block.encode()

    def restore_block(self, number: int, value: bytes) -> None:
        """Replace block `number` by an encoded one (empty: nothing present). CorruptData if it is not one."""
        self.remove(number << 16, (number + 1) << 16)
        if not value:
            return
        block = make_block(number, 1, _RUNS)
        block.decode(value)
        if block.count == 0:
            return
        index = self.find(number)
        self.blocks.insert(index, block)
        self.count += block.count
        if block.count == _BLOCK:
            self.fuse(index)
        if self.track_changes:
            self.note_changed(number << 16, (number + 1) << 16)
