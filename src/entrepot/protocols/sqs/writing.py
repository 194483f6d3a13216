"""Writer: answers put together from packed records by compiled calls, without an object for each field."""

from __future__ import annotations

import binascii

import cython

if not cython.compiled:
    from entrepot.model.octets import copy, copy_ba, get_u64_le, take, take_ba

HEX = b"0123456789abcdef"
BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

_HEX = HEX
_ONES, _SPACES, _QUOTES, _BACKSLASHES, _HIGH_BITS = (octet * 0x0101010101010101 for octet in (0x01, 0x20, 0x22, 0x5C, 0x80))
_b2a_base64, _hexlify = binascii.b2a_base64, binascii.hexlify
_QUOT, _AMP, _LT, _GT, _CR = b"&quot;", b"&amp;", b"&lt;", b"&gt;", b"&#13;"


class Writer:
    """Grows as needed; take() hands out what was written, and the writer starts over."""

    def __init__(self) -> None:
        self.filled = 0
        self._buffer = bytearray(1024)
        self._capacity = 1024

    def raw(self, source: bytes) -> int:
        """Bytes as they are."""
        size = len(source)
        self._room(size)
        copy(self._buffer, self.filled, source, 0, size)
        self.filled += size
        return 0

    def part(self, source: bytes, pos: int, size: int) -> int:
        """source[pos:pos+size]."""
        self._room(size)
        copy(self._buffer, self.filled, source, pos, size)
        self.filled += size
        return 0

    def hexadecimal(self, source: bytes, pos: int, count: int) -> int:
        """`count` bytes as lower case digits."""
        return self.raw(_hexlify(take(source, pos, count)))

    def uuid(self, source: bytes, pos: int) -> int:
        """16 bytes as 36 characters."""
        self._room(36)
        buffer = self._buffer
        at = self.filled
        digits = _hexlify(take(source, pos, 16))
        copy(buffer, at, digits, 0, 8)
        buffer[at + 8] = 45
        copy(buffer, at + 9, digits, 8, 4)
        buffer[at + 13] = 45
        copy(buffer, at + 14, digits, 12, 4)
        buffer[at + 18] = 45
        copy(buffer, at + 19, digits, 16, 4)
        buffer[at + 23] = 45
        copy(buffer, at + 24, digits, 20, 12)
        self.filled = at + 36
        return 0

    def decimal(self, value: int, width: int) -> int:
        """A number of at least 0, with zeros in front up to `width` (at most 20) digits."""
        self._room(20)
        digits = 1
        rest = value
        while rest > 9:
            rest = rest // 10
            digits += 1
        if width > digits:
            digits = width
        at = self.filled + digits
        self.filled = at
        while digits > 0:
            at -= 1
            self._buffer[at] = 48 + value % 10
            value = value // 10
            digits -= 1
        return 0

    def string(self, source: bytes, pos: int, size: int) -> int:
        """UTF-8 as what stands between the quotes of a JSON string."""
        self._room(6 * size)  # at most: every octet a control character
        buffer = self._buffer
        at = self.filled
        start = pos
        end = pos + size
        singly_to = pos  # so far, octets are looked at one by one
        while pos < end:
            if pos >= singly_to and end - pos >= 8:
                word = get_u64_le(source, pos)
                quote = word ^ _QUOTES
                backslash = word ^ _BACKSLASHES
                if ((word - _SPACES) & ~word | (quote - _ONES) & ~quote | (backslash - _ONES) & ~backslash) & _HIGH_BITS == 0:  # none is below 32, 34 or 92
                    pos += 8
                    continue
                singly_to = pos + 8
            octet = source[pos]
            if octet > 92 or (octet >= 32 and octet != 34 and octet != 92):
                pos += 1
                continue
            copy(buffer, at, source, start, pos - start)
            at += pos - start
            buffer[at] = 92
            at += 1
            if octet == 34 or octet == 92:
                buffer[at] = octet
            elif octet == 10:
                buffer[at] = 110
            elif octet == 13:
                buffer[at] = 114
            elif octet == 9:
                buffer[at] = 116
            else:
                buffer[at] = 117
                buffer[at + 1] = 48
                buffer[at + 2] = 48
                buffer[at + 3] = _HEX[octet >> 4]
                buffer[at + 4] = _HEX[octet & 15]
                at += 4
            at += 1
            pos += 1
            start = pos
        copy(buffer, at, source, start, end - start)
        self.filled = at + end - start
        return 0

    def xml(self, source: bytes, pos: int, size: int) -> int:
        """UTF-8 as what stands in an XML element."""
        self._room(6 * size)  # at most: every octet a quote
        buffer = self._buffer
        at = self.filled
        start = pos
        end = pos + size
        while pos < end:
            octet = source[pos]
            if octet > 62 or (octet != 34 and octet != 38 and octet != 60 and octet != 62 and octet != 13):
                pos += 1
                continue
            copy(buffer, at, source, start, pos - start)
            at += pos - start
            name = _QUOT if octet == 34 else _AMP if octet == 38 else _LT if octet == 60 else _GT if octet == 62 else _CR
            copy(buffer, at, name, 0, len(name))
            at += len(name)
            pos += 1
            start = pos
        copy(buffer, at, source, start, end - start)
        self.filled = at + end - start
        return 0

    def base64(self, source: bytes, pos: int, size: int) -> int:
        """RFC 4648, section 4, with padding."""
        text = _b2a_base64(take(source, pos, size))
        return self.part(text, 0, len(text) - 1)  # without the end of the line

    def take(self) -> bytes:
        """All that was written."""
        data = take_ba(self._buffer, 0, self.filled)
        self._start_over()
        return data

    def take_turned(self, middle: int) -> bytes:
        """All that was written, what stands from `middle` on first: a head is written once the size of what follows it is known."""
        self._room(middle)
        copy_ba(self._buffer, self.filled, self._buffer, 0, middle)
        data = take_ba(self._buffer, middle, self.filled)
        self._start_over()
        return data

    def _start_over(self) -> int:
        self.filled = 0
        if self._capacity > 1 << 20:  # one large answer is no reason to keep so much
            self._buffer = bytearray(1024)
            self._capacity = 1024
        return 0

    def _room(self, need: int) -> int:
        if need > self._capacity - self.filled:
            capacity = self._capacity * 2
            while need > capacity - self.filled:
                capacity = capacity * 2
            buffer = bytearray(capacity)
            copy_ba(buffer, 0, self._buffer, 0, self.filled)
            self._buffer = buffer
            self._capacity = capacity
        return 0


def string_size(source: bytes, pos: int, size: int) -> int:
    """How many bytes Writer.string() makes of that."""
    found = size
    for index in range(pos, pos + size):
        octet = source[index]
        if octet > 92 or (octet >= 32 and octet != 34 and octet != 92):
            continue
        found += 1 if octet in (34, 92, 10, 13, 9) else 5
    return found


def xml_size(source: bytes, pos: int, size: int) -> int:
    """How many bytes Writer.xml() makes of that."""
    found = size
    for index in range(pos, pos + size):
        octet = source[index]
        if octet > 62:
            continue
        if octet == 34:
            found += 5
        elif octet == 38 or octet == 13:
            found += 4
        elif octet == 60 or octet == 62:
            found += 3
    return found
