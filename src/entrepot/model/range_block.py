"""Block: 65,536 offsets of a RangeSet, as runs or as a bitmap, or any number of full such blocks.

Layout of an encoded block, little-endian (docs/formats/range-blocks.md); whoever stores it adds the checksum:

    0  u8   format, 1          2  u16  number of runs; 0 unless runs
    1  u8   0 runs, 1 bitmap, 2 full
    4  runs: (u16 first, u16 last)*, ascending, not touching; bitmap: 8,192 bytes, offset n is bit n % 8 of byte n / 8; full: nothing
"""

from __future__ import annotations

import cython

from entrepot.model.errors import CorruptData

if not cython.compiled:
    from entrepot.model.octets import (
        copy_ba,
        get_u16_le_ba,
        get_u64_le_ba,
        highest_one_u64,
        lowest_one_u64,
        ones_u64,
        put_u16_le,
        put_u64_le,
        take_ba,
    )

_ALL_ONES = 0xFFFFFFFFFFFFFFFF
_RUNS = 0
_BITS = 1
_FULL = 2
_RUNS_MAX = 2048  # as large as the bitmap
_RUNS_AGAIN = 512  # a bitmap with so few offsets present, or absent, becomes runs
_BITS_BYTES = 8192
_BLOCK = 65536
_FORMAT = 1


class Block:
    """A piece of the set: one block of offsets, or `span` full ones. Offsets here are relative to the block, 0 to 65,535.

    `count` is how many are present of a single block; `runs` how many runs `data` holds (its capacity may be larger).
    """

    __slots__ = ("count", "data", "kind", "number", "runs", "span")

    number: int
    span: int
    kind: int
    count: int
    runs: int
    data: bytearray

    # runs

    def first_of(self, run: int) -> int:
        """First offset of run number `run`."""
        return get_u16_le_ba(self.data, 4 * run)

    def last_of(self, run: int) -> int:
        """Last offset (inclusive) of run number `run`."""
        return get_u16_le_ba(self.data, 4 * run + 2)

    def put_run(self, run: int, first: int, last: int) -> int:
        """Overwrite one run."""
        put_u16_le(self.data, 4 * run, first)
        put_u16_le(self.data, 4 * run + 2, last)
        return 0

    def search(self, offset: int) -> int:
        """The first run that ends at or after `offset`; self.runs if none."""
        low = 0
        high = self.runs
        if high == 0 or self.last_of(high - 1) < offset:
            return high
        while low < high:
            middle = (low + high) >> 1
            if self.last_of(middle) < offset:
                low = middle + 1
            else:
                high = middle
        return low

    def insert_run(self, run: int, first: int, last: int) -> int:
        """Insert before run number `run`."""
        need = 4 * (self.runs + 1)
        if need > len(self.data):
            self.data.extend(bytes(need))
        if run < self.runs:
            copy_ba(self.data, 4 * run + 4, self.data, 4 * run, 4 * (self.runs - run))
        self.runs += 1
        return self.put_run(run, first, last)

    def delete_runs(self, run: int, stop: int) -> int:
        """Delete runs number `run` to `stop` - 1."""
        if stop > run:
            copy_ba(self.data, 4 * run, self.data, 4 * stop, 4 * (self.runs - stop))
            self.runs -= stop - run
        return 0

    # changes

    def add(self, first: int, end: int) -> int:
        """Add [first, end); how many were new. Not for full blocks."""
        last = end - 1
        if self.kind == _BITS:
            grown = self.change_bits(first, last, True)
            self.count += grown
            if _BLOCK - self.count <= _RUNS_AGAIN:
                self.to_runs()
            return grown
        key = first - 1 if first > 0 else 0
        index = self.search(key)
        stop = index
        new_first = first
        new_last = last
        covered = 0
        while stop < self.runs:
            run_first = self.first_of(stop)
            if run_first > last + 1:
                break
            run_last = self.last_of(stop)
            covered += run_last - run_first + 1
            if run_first < new_first:
                new_first = run_first
            if run_last > new_last:
                new_last = run_last
            stop += 1
        if stop == index:
            self.insert_run(index, first, last)
        else:
            self.put_run(index, new_first, new_last)
            self.delete_runs(index + 1, stop)
        grown = new_last - new_first + 1 - covered
        self.count += grown
        if self.runs > _RUNS_MAX:
            self.to_bits()
        return grown

    def remove(self, first: int, end: int) -> int:
        """Remove [first, end); how many were present. Not for full blocks."""
        last = end - 1
        if self.kind == _BITS:
            removed = self.change_bits(first, last, False)
            self.count -= removed
            if self.count <= _RUNS_AGAIN:
                self.to_runs()
            return removed
        index = self.search(first)
        if index == self.runs:
            return 0
        run_first = self.first_of(index)
        run_last = self.last_of(index)
        if run_first > last:
            return 0
        if run_first < first and run_last > last:
            self.insert_run(index, run_first, first - 1)
            self.put_run(index + 1, last + 1, run_last)
            self.count -= last - first + 1
            if self.runs > _RUNS_MAX:
                self.to_bits()
            return last - first + 1
        removed = 0
        if run_first < first:
            removed = run_last - first + 1
            self.put_run(index, run_first, first - 1)
            index += 1
        stop = index
        while stop < self.runs and self.last_of(stop) <= last:
            removed += self.last_of(stop) - self.first_of(stop) + 1
            stop += 1
        if stop < self.runs and self.first_of(stop) <= last:
            removed += last - self.first_of(stop) + 1
            self.put_run(stop, last + 1, self.last_of(stop))
        self.delete_runs(index, stop)
        self.count -= removed
        return removed

    def change_bits(self, first: int, last: int, present: bool) -> int:
        """Set or clear the bits first to last (inclusive); how many changed."""
        changed = 0
        word = first >> 6
        word_last = last >> 6
        mask = (_ALL_ONES << (first & 63)) & _ALL_ONES
        while word <= word_last:
            if word == word_last:
                mask &= _ALL_ONES >> (63 - (last & 63))
            old = get_u64_le_ba(self.data, 8 * word)
            new = old | mask if present else old & (mask ^ _ALL_ONES)
            if new != old:
                changed += ones_u64(new ^ old)
                put_u64_le(self.data, 8 * word, new)
            mask = _ALL_ONES
            word += 1
        return changed

    # questions

    def find_bit(self, offset: int, present: bool) -> int:
        """The first set (or clear) bit at or after `offset`; 65,536 if none."""
        word = offset >> 6
        bits = get_u64_le_ba(self.data, 8 * word)
        if not present:
            bits ^= _ALL_ONES
        bits &= (_ALL_ONES << (offset & 63)) & _ALL_ONES
        while bits == 0:
            word += 1
            if word == 1024:
                return _BLOCK
            bits = get_u64_le_ba(self.data, 8 * word)
            if not present:
                bits ^= _ALL_ONES
        return 64 * word + lowest_one_u64(bits)

    def find_absent_bit_backwards(self, offset: int) -> int:
        """The last clear bit at or before `offset`; -1 if none."""
        word = offset >> 6
        bits = (get_u64_le_ba(self.data, 8 * word) ^ _ALL_ONES) & (_ALL_ONES >> (63 - (offset & 63)))
        while bits == 0:
            if word == 0:
                return -1
            word -= 1
            bits = get_u64_le_ba(self.data, 8 * word) ^ _ALL_ONES
        return 64 * word + highest_one_u64(bits)

    def contains(self, offset: int) -> bool:
        """Whether `offset` is present."""
        if self.kind == _FULL:
            return True
        if self.kind == _BITS:
            return (get_u64_le_ba(self.data, 8 * (offset >> 6)) >> (offset & 63)) & 1 != 0
        index = self.search(offset)
        return index < self.runs and self.first_of(index) <= offset

    def next_present(self, offset: int) -> int:
        """The first present at or after `offset`; 65,536 if none."""
        if self.kind == _FULL:
            return offset
        if self.kind == _BITS:
            return self.find_bit(offset, True)
        index = self.search(offset)
        if index == self.runs:
            return _BLOCK
        first = self.first_of(index)
        return max(offset, first)

    def next_absent(self, offset: int) -> int:
        """The first absent at or after `offset`; 65,536 if none."""
        if self.kind == _FULL:
            return _BLOCK
        if self.kind == _BITS:
            return self.find_bit(offset, False)
        index = self.search(offset)
        if index == self.runs or self.first_of(index) > offset:
            return offset
        return self.last_of(index) + 1

    def absent_before(self, offset: int) -> int:
        """The last absent at or before `offset`; -1 if none."""
        if self.kind == _FULL:
            return -1
        if self.kind == _BITS:
            return self.find_absent_bit_backwards(offset)
        index = self.search(offset)
        if index == self.runs or self.first_of(index) > offset:
            return offset
        return self.first_of(index) - 1

    def count_in(self, first: int, end: int) -> int:
        """How many of [first, end) are present."""
        if self.kind == _FULL:
            return end - first
        if first == 0 and end == _BLOCK:
            return self.count
        total = 0
        if self.kind == _BITS:
            position = self.find_bit(first, True)
            while position < end:
                stop = self.find_bit(position, False)
                total += (min(end, stop)) - position
                if stop >= end:
                    break
                position = self.find_bit(stop, True)
            return total
        index = self.search(first)
        while index < self.runs:
            run_first = self.first_of(index)
            run_last = self.last_of(index)
            if run_first >= end:
                break
            if run_first < first:
                run_first = first
            if run_last >= end:
                run_last = end - 1
            total += run_last - run_first + 1
            index += 1
        return total

    # forms

    def to_bits(self) -> int:
        """Runs become a bitmap."""
        bits = self.data
        index = self.runs
        self.data = bytearray(_BITS_BYTES)
        self.kind = _BITS
        self.runs = 0
        for run in range(index):
            self.change_bits(get_u16_le_ba(bits, 4 * run), get_u16_le_ba(bits, 4 * run + 2), True)
        return 0

    def to_runs(self) -> int:
        """The bitmap becomes runs."""
        runs = bytearray()
        count = 0
        position = self.find_bit(0, True)
        while position < _BLOCK:
            stop = self.find_bit(position, False)
            runs.extend(bytes(4))
            put_u16_le(runs, 4 * count, position)
            put_u16_le(runs, 4 * count + 2, stop - 1)
            count += 1
            if stop == _BLOCK:
                break
            position = self.find_bit(stop, True)
        self.data = runs
        self.kind = _RUNS
        self.runs = count
        return 0

    def encode(self) -> bytes:
        """As described at the top of this file."""
        header = bytearray(4)
        header[0] = _FORMAT
        header[1] = self.kind
        put_u16_le(header, 2, self.runs)
        if self.kind == _RUNS:
            return bytes(header) + take_ba(self.data, 0, 4 * self.runs)
        return bytes(header) + bytes(self.data)

    def decode(self, value: bytes) -> int:
        """Become what `value` says. CorruptData if it is not an encoded block."""
        body = bytearray(value[4:])
        if len(value) < 4 or value[0] != _FORMAT:
            raise CorruptData(f"a range block begins with {value[:4]!r}, expected format {_FORMAT}")
        kind = value[1]
        runs = value[2] + 256 * value[3]
        count = 0
        if kind == _RUNS:
            previous = -2
            if len(body) != 4 * runs:
                raise CorruptData(f"a range block of {runs} runs has {len(body)} bytes, expected {4 * runs}")
            for run in range(runs):
                if get_u16_le_ba(body, 4 * run) <= previous + 1 or get_u16_le_ba(body, 4 * run + 2) < get_u16_le_ba(body, 4 * run):
                    raise CorruptData(f"run {run} of a range block is out of order")
                previous = get_u16_le_ba(body, 4 * run + 2)
                count += previous - get_u16_le_ba(body, 4 * run) + 1
        elif kind == _BITS:
            if len(body) != _BITS_BYTES or runs:
                raise CorruptData(f"a bitmap range block has {len(body)} bytes, expected {_BITS_BYTES}")
            for word in range(1024):
                count += ones_u64(get_u64_le_ba(body, 8 * word))
        elif kind == _FULL:
            if len(body) or runs:
                raise CorruptData(f"a full range block has {len(body)} bytes, expected none")
            count = _BLOCK
        else:
            raise CorruptData(f"a range block is of kind {kind}, expected 0, 1 or 2")
        self.kind = _FULL if count == _BLOCK else kind
        self.runs = runs if self.kind == _RUNS else 0
        self.data = body if self.kind != _FULL else bytearray()
        self.count = count
        if self.runs > _RUNS_MAX:
            self.to_bits()
        return 0


def make_block(number: int, span: int, kind: int) -> Block:
    """An empty block of runs, or a full piece."""
    block = Block.__new__(Block)
    block.number = number
    block.span = span
    block.kind = kind
    block.count = _BLOCK if kind == _FULL else 0
    block.runs = 0
    block.data = bytearray()
    return block
