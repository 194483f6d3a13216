"""Plain-Python twins of the checked byte helpers in octets.pxd, for interpreted mode.

A compiled module gets them inline by `cimport` in its .pxd; its .py imports these only under `if not cython.compiled:`.
Every helper raises IndexError outside its buffer; nothing wraps.
"""

from __future__ import annotations

import sys

import cython

if sys.byteorder != "little":
    raise ImportError("entrepot's compiled modules assume a little-endian machine")

if not cython.compiled:

    def _check(size: int, pos: int, count: int) -> None:
        if count < 0 or pos < 0 or count > size - pos:
            raise IndexError("outside a buffer")

    def copy(target: bytearray, target_pos: int, source: bytes, source_pos: int, count: int) -> int:
        """target[target_pos:+count] = source[source_pos:+count]."""
        _check(len(target), target_pos, count)
        _check(len(source), source_pos, count)
        target[target_pos : target_pos + count] = source[source_pos : source_pos + count]
        return 0

    def copy_ba(target: bytearray, target_pos: int, source: bytearray, source_pos: int, count: int) -> int:
        """As copy(), from a bytearray; the two may overlap."""
        _check(len(target), target_pos, count)
        _check(len(source), source_pos, count)
        target[target_pos : target_pos + count] = source[source_pos : source_pos + count]
        return 0

    def same_ba(data: bytearray, a: int, b: int, count: int) -> bool:
        """Whether data[a:a+count] equals data[b:b+count]."""
        _check(len(data), a, count)
        _check(len(data), b, count)
        return data[a : a + count] == data[b : b + count]

    def same(a: bytes, a_pos: int, b: bytes, b_pos: int, count: int) -> bool:
        """Whether a[a_pos:a_pos+count] equals b[b_pos:b_pos+count]."""
        _check(len(a), a_pos, count)
        _check(len(b), b_pos, count)
        return a[a_pos : a_pos + count] == b[b_pos : b_pos + count]

    def take(source: bytes, pos: int, count: int) -> bytes:
        """source[pos:pos+count], never short."""
        _check(len(source), pos, count)
        return source[pos : pos + count]

    def take_ba(source: bytearray, pos: int, count: int) -> bytes:
        """As take(), from a bytearray."""
        _check(len(source), pos, count)
        return bytes(source[pos : pos + count])

    def get_u16_be(source: bytes, pos: int) -> int:
        _check(len(source), pos, 2)
        return int.from_bytes(source[pos : pos + 2], "big")

    def get_u16_be_ba(source: bytearray, pos: int) -> int:
        _check(len(source), pos, 2)
        return int.from_bytes(source[pos : pos + 2], "big")

    def get_u32_le_ba(source: bytearray, pos: int) -> int:
        _check(len(source), pos, 4)
        return int.from_bytes(source[pos : pos + 4], "little")

    def resize_ba(target: bytearray, size: int) -> int:
        """Grow or cut; what is new must be written before it is read."""
        if size < 0:
            raise IndexError("negative size")
        if size < len(target):
            del target[size:]
        else:
            target.extend(bytes(size - len(target)))
        return 0

    def put_u16_be(target: bytearray, pos: int, value: int) -> int:
        _check(len(target), pos, 2)
        target[pos : pos + 2] = value.to_bytes(2, "big")
        return 0

    def get_u16_le(source: bytes, pos: int) -> int:
        _check(len(source), pos, 2)
        return int.from_bytes(source[pos : pos + 2], "little")

    def put_u16_le(target: bytearray, pos: int, value: int) -> int:
        _check(len(target), pos, 2)
        target[pos : pos + 2] = value.to_bytes(2, "little")
        return 0

    def get_u32_be(source: bytes, pos: int) -> int:
        _check(len(source), pos, 4)
        return int.from_bytes(source[pos : pos + 4], "big")

    def get_u32_be_ba(source: bytearray, pos: int) -> int:
        _check(len(source), pos, 4)
        return int.from_bytes(source[pos : pos + 4], "big")

    def put_u32_be(target: bytearray, pos: int, value: int) -> int:
        _check(len(target), pos, 4)
        target[pos : pos + 4] = value.to_bytes(4, "big")
        return 0

    def get_u32_le(source: bytes, pos: int) -> int:
        _check(len(source), pos, 4)
        return int.from_bytes(source[pos : pos + 4], "little")

    def put_u32_le(target: bytearray, pos: int, value: int) -> int:
        _check(len(target), pos, 4)
        target[pos : pos + 4] = value.to_bytes(4, "little")
        return 0

    def get_u64_be(source: bytes, pos: int) -> int:
        _check(len(source), pos, 8)
        return int.from_bytes(source[pos : pos + 8], "big")

    def get_u64_be_ba(source: bytearray, pos: int) -> int:
        _check(len(source), pos, 8)
        return int.from_bytes(source[pos : pos + 8], "big")

    def put_u64_be(target: bytearray, pos: int, value: int) -> int:
        _check(len(target), pos, 8)
        target[pos : pos + 8] = value.to_bytes(8, "big")
        return 0

    def get_u64_le(source: bytes, pos: int) -> int:
        _check(len(source), pos, 8)
        return int.from_bytes(source[pos : pos + 8], "little")

    def put_u64_le(target: bytearray, pos: int, value: int) -> int:
        _check(len(target), pos, 8)
        target[pos : pos + 8] = value.to_bytes(8, "little")
        return 0

    def get_u16_le_ba(source: bytearray, pos: int) -> int:
        _check(len(source), pos, 2)
        return int.from_bytes(source[pos : pos + 2], "little")

    def get_u64_le_ba(source: bytearray, pos: int) -> int:
        _check(len(source), pos, 8)
        return int.from_bytes(source[pos : pos + 8], "little")

    def new_bytes(count: int) -> bytes:
        """So many, whose values must be written before they are read."""
        return bytes(count)

    def over_ba(data: bytes, pos: int, source: bytearray, source_pos: int, count: int) -> bytes:
        """`data` with source[source_pos:+count] at `pos`."""
        _check(len(data), pos, count)
        _check(len(source), source_pos, count)
        return data[:pos] + bytes(source[source_pos : source_pos + count]) + data[pos + count :]

    def over_u16_be(data: bytes, pos: int, value: int) -> bytes:
        """`data` with this in it: compiled, changed where it lies, so that only its sole owner may ask for it."""
        _check(len(data), pos, 2)
        return data[:pos] + (value & 0xFFFF).to_bytes(2, "big") + data[pos + 2 :]

    def over_u32_be(data: bytes, pos: int, value: int) -> bytes:
        _check(len(data), pos, 4)
        return data[:pos] + (value & 0xFFFFFFFF).to_bytes(4, "big") + data[pos + 4 :]

    def over_u64_be(data: bytes, pos: int, value: int) -> bytes:
        _check(len(data), pos, 8)
        return data[:pos] + (value & 0xFFFFFFFFFFFFFFFF).to_bytes(8, "big") + data[pos + 8 :]

    def ones_u64(value: int) -> int:
        """How many bits are set."""
        return value.bit_count()

    def lowest_one_u64(value: int) -> int:
        """Position of the lowest set bit."""
        if not value:
            raise IndexError("no bit is set")
        return (value & -value).bit_length() - 1

    def highest_one_u64(value: int) -> int:
        """Position of the highest set bit."""
        if not value:
            raise IndexError("no bit is set")
        return value.bit_length() - 1
