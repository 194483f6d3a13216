"""The types of Kafka's wire, read from a request and written to a response.

All numbers are big-endian. A *compact* string, bytes or array (the flexible versions of an API) begins with its size plus one as an
unsigned varint, 0 for null; others with an i16 or i32, -1 for null. Flexible structures end with tagged fields (KIP-482).

Reader is total: whatever the bytes are, it returns a value or raises Malformed; nothing is allocated before it is known that the request
holds what a size or count claims, and `elements_left` bounds how many elements all arrays of a request may have together.
"""

from __future__ import annotations

import struct

import cython

from entrepot.model.errors import ProtocolError

if not cython.compiled:
    from entrepot.model.octets import (
        copy,
        copy_ba,
        get_u16_be_ba,
        get_u32_be_ba,
        get_u64_be_ba,
        over_ba,
        put_u16_be,
        put_u32_be,
        put_u64_be,
        resize_ba,
        take_ba,
    )

ELEMENTS_MAX = 100_000
REFERENCED_MIN_BYTES = 4096  # bytes objects from this size on are referred to by a response, not copied into it
BUFFER_BYTES = 256
SEALED_MIN_BYTES = 256 * 1024  # what a long response is written in

_ELEMENTS_MAX = ELEMENTS_MAX
_REFERENCED_MIN = REFERENCED_MIN_BYTES
_BUFFER = BUFFER_BYTES
_SEALED_MIN = SEALED_MIN_BYTES


class Malformed(ProtocolError):
    """The request is not what its API and version say: the connection ends, as Kafka does it."""


class Reader:
    """Reads data[pos:end], front to back. `data` must not change meanwhile."""

    def __init__(self, data: bytearray, pos: int, end: int) -> None:
        if not 0 <= pos <= end <= len(data):
            raise IndexError("outside a buffer")
        self.data = data
        self.pos = pos
        self.end = end
        self.elements_left = _ELEMENTS_MAX

    def need(self, size: int) -> int:
        """Raise Malformed unless `size` more bytes are there."""
        if size < 0 or size > self.end - self.pos:
            raise Malformed(f"a field of {size} bytes where {self.end - self.pos} are left")
        return 0

    def i8(self) -> int:
        """A signed octet."""
        self.need(1)
        value = self.data[self.pos]
        self.pos += 1
        return value if value < 128 else value - 256

    def i16(self) -> int:
        """A signed number of 2 bytes."""
        self.need(2)
        value = get_u16_be_ba(self.data, self.pos)
        self.pos += 2
        return value if value < 0x8000 else value - 0x10000

    def u16(self) -> int:
        """An unsigned number of 2 bytes."""
        self.need(2)
        value = get_u16_be_ba(self.data, self.pos)
        self.pos += 2
        return value

    def i32(self) -> int:
        """A signed number of 4 bytes."""
        self.need(4)
        value = get_u32_be_ba(self.data, self.pos)
        self.pos += 4
        return value if value < 0x80000000 else value - 0x100000000

    def i64(self) -> int:
        """A signed number of 8 bytes."""
        self.need(8)
        raw = get_u64_be_ba(self.data, self.pos)
        self.pos += 8
        low = raw & 0x7FFFFFFFFFFFFFFF
        if raw == low:
            return low
        return low - 0x7FFFFFFFFFFFFFFF - 1

    def f64(self) -> float:
        """A float of 8 bytes."""
        value: float = struct.unpack(">d", self.octets(8))[0]
        return value

    def uvarint(self) -> int:
        """An unsigned varint of at most 5 bytes, below 2**32."""
        value = 0
        shift = 0
        while shift < 35:
            self.need(1)
            octet = self.data[self.pos]
            self.pos += 1
            value |= (octet & 0x7F) << shift
            if octet < 0x80:
                if value > 0xFFFFFFFF:
                    break
                return value
            shift += 7
        raise Malformed("a varint over 32 bits")

    def octets(self, size: int) -> bytes:
        """The next `size` bytes."""
        self.need(size)
        value = take_ba(self.data, self.pos, size)
        self.pos += size
        return value

    def copy_over(self, target: bytes, at: int, size: int) -> bytes:
        """The next `size` bytes into `target`, which nobody else has seen: what it is then."""
        self.need(size)
        target = over_ba(target, at, self.data, self.pos, size)
        self.pos += size
        return target

    def size_or_null(self, flexible: bool, is_string: bool) -> int:
        """The size that a string, bytes or array begins with; -1 for null. What is behind it is not checked."""
        if flexible:
            return self.uvarint() - 1
        size = self.i16() if is_string else self.i32()
        if size < -1:
            raise Malformed(f"a size of {size}")
        return size

    def maybe_string(self, flexible: bool) -> str | None:
        """A string, or None."""
        size = self.size_or_null(flexible, True)
        if size < 0:
            return None
        if size > 0x7FFF:
            raise Malformed(f"a string of {size} bytes; at most 32767 are allowed")
        try:
            return self.octets(size).decode()
        except UnicodeDecodeError as error:
            raise Malformed(f"a string is not UTF-8: {error.reason}") from None

    def string(self, flexible: bool) -> str:
        """A string that is not null."""
        value = self.maybe_string(flexible)
        if value is None:
            raise Malformed("null where a string must be")
        return value

    def maybe_octets(self, flexible: bool) -> bytes | None:
        """Bytes, or None."""
        size = self.size_or_null(flexible, False)
        if size < 0:
            return None
        return self.octets(size)

    def count_or_null(self, flexible: bool, element_min_size: int) -> int:
        """How many elements an array has, -1 for null; not more than the request can hold."""
        count = self.size_or_null(flexible, False)
        if count > 0:
            if count > (self.end - self.pos) // element_min_size:
                raise Malformed(f"an array of {count} elements where {self.end - self.pos} bytes are left")
            self.elements_left -= count
            if self.elements_left < 0:
                raise Malformed(f"too many elements in one request: {-self.elements_left} more than are allowed")
        return count

    def count(self, flexible: bool, element_min_size: int) -> int:
        """How many elements an array has that is not null."""
        count = self.count_or_null(flexible, element_min_size)
        if count < 0:
            raise Malformed("null where an array must be")
        return count

    def tags(self) -> int:
        """How many tagged fields follow; they count as elements."""
        count = self.uvarint()
        self.elements_left -= count
        if self.elements_left < 0:
            raise Malformed("too many elements, tagged fields among them, in one request")
        return count

    def detach(self) -> int:
        """What is left to read is the reader's own from now on: what it was read from may change."""
        if self.pos < self.end:
            self.data = self.data[self.pos : self.end]
        else:
            self.data = bytearray()
        self.end -= self.pos
        self.pos = 0
        return 0

    def skip_tags(self) -> int:
        """Pass over tagged fields, all of them unknown."""
        left = self.tags()
        while left > 0:
            self.uvarint()
            size = self.uvarint()
            self.need(size)
            self.pos += size
            left -= 1
        return 0

    def finish(self) -> int:
        """Raise Malformed unless everything was read."""
        if self.pos != self.end:
            raise Malformed(f"{self.end - self.pos} bytes behind the end of a request")
        return 0


class Writer:
    """A response while it is written: parts, the first of which begins with the size of all (4 bytes, set by finish())."""

    def __init__(self) -> None:
        self._buffer = bytearray(_BUFFER)
        self._capacity = _BUFFER
        self._filled = 4
        self._sealed = 0
        self._parts: list[bytes | bytearray] = []

    @property
    def size(self) -> int:
        """Bytes so far, the size field included."""
        return self._sealed + self._filled

    def room(self, size: int) -> int:
        """Have room for `size` more bytes."""
        if size > self._capacity - self._filled:
            capacity = self._capacity * 2 or _BUFFER
            while size > capacity - self._filled:
                capacity *= 2
            buffer = bytearray(capacity)
            copy_ba(buffer, 0, self._buffer, 0, self._filled)
            self._buffer = buffer
            self._capacity = capacity
        return 0

    def i8(self, value: int) -> int:
        """A signed octet."""
        self.room(1)
        self._buffer[self._filled] = value & 0xFF
        self._filled += 1
        return 0

    def i16(self, value: int) -> int:
        """A number of 2 bytes."""
        self.room(2)
        put_u16_be(self._buffer, self._filled, value & 0xFFFF)
        self._filled += 2
        return 0

    def i32(self, value: int) -> int:
        """A number of 4 bytes."""
        self.room(4)
        put_u32_be(self._buffer, self._filled, value & 0xFFFFFFFF)
        self._filled += 4
        return 0

    def i64(self, value: int) -> int:
        """A number of 8 bytes."""
        self.room(8)
        put_u64_be(self._buffer, self._filled, value & 0xFFFFFFFFFFFFFFFF)
        self._filled += 8
        return 0

    def f64(self, value: float) -> int:
        """A float of 8 bytes."""
        return self.octets(struct.pack(">d", value))

    def uvarint(self, value: int) -> int:
        """An unsigned varint of at most 5 bytes."""
        self.room(5)
        filled = self._filled
        while value >= 0x80:
            self._buffer[filled] = (value & 0x7F) | 0x80
            value >>= 7
            filled += 1
        self._buffer[filled] = value
        self._filled = filled + 1
        return 0

    def octets(self, value: bytes) -> int:
        """Bytes as they are; many are referred to, not copied."""
        size = len(value)
        if size >= _REFERENCED_MIN:
            self._seal()
            self._parts.append(value)
            self._sealed += size
            return 0
        self.room(size)
        copy(self._buffer, self._filled, value, 0, size)
        self._filled += size
        return 0

    def string(self, value: str | None, flexible: bool) -> int:
        """A string, or null. The caller sees that it is not over 32767 bytes."""
        if value is None:
            if flexible:
                return self.uvarint(0)
            return self.i16(-1)
        raw = value.encode(errors="replace")
        size = len(raw)
        if size > 0x7FFF:
            raise ValueError(f"a string of {size} bytes; it holds 32767")
        if flexible:
            self.uvarint(size + 1)
        else:
            self.i16(size)
        return self.octets(raw)

    def sized_octets(self, value: bytes | None, flexible: bool) -> int:
        """Bytes with their size, or null."""
        if value is None:
            return self.count(-1, flexible)
        self.count(len(value), flexible)
        return self.octets(value)

    def count(self, count: int, flexible: bool) -> int:
        """What an array or bytes begin with; -1 for null."""
        if flexible:
            return self.uvarint(count + 1)
        return self.i32(count)

    def seal_full(self) -> int:
        """So far so long: go on in a buffer of its own, so that none grows large."""
        if self._filled >= _SEALED_MIN:
            self._seal()
        return 0

    def finish(self) -> list[bytes | bytearray]:
        """The whole response, in parts for a gathering write. Nothing may be written afterwards."""
        self._seal()
        first = self._parts[0]
        assert isinstance(first, bytearray)
        put_u32_be(first, 0, self._sealed - 4)
        return self._parts

    def _seal(self) -> int:
        if self._filled:
            buffer = self._buffer
            resize_ba(buffer, self._filled)
            self._parts.append(buffer)
            self._sealed += self._filled
            self._buffer = bytearray()
            self._capacity = 0
            self._filled = 0
        return 0
