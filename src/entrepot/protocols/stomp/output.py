r"""What goes out on a STOMP connection: MESSAGE frames from packed records (records.py), and ready-made frames.

    MESSAGE \n subscription:ID \n message-id:PREFIX SUBSCRIPTION-DELIVERY \n [ack:SUBSCRIPTION-DELIVERY \n] [redelivered:true \n]
    the record's own headers, destination among them | content-length:N \n \n body NUL

A frame ends with its NUL, without a line end behind it: a client that looks for one would wait for it.
"""

from __future__ import annotations

import cython

from entrepot.protocols.stomp import headers
from entrepot.protocols.stomp.events import HAS_TTL, NO_DESTINATION

if not cython.compiled:
    from entrepot.model.octets import copy, copy_ba, get_u32_be, take, take_ba

BUFFER_MIN_BYTES = 512
PART_BYTES = 128 * 1024
REFERENCED_BODY_MIN_BYTES = 16 * 1024

_BUFFER_MIN = BUFFER_MIN_BYTES
_PART = PART_BYTES
_REFERENCED_MIN = REFERENCED_BODY_MIN_BYTES
_QUIET_TAKES = 64
_NUMBERS = 160  # octets that four numbers, two names and the line ends take at most
_LENGTH = b"content-length:"
_OFFSET = b"x-stream-offset:"
_V12 = headers.V12
_HAS_TTL, _NO_DESTINATION = HAS_TTL, NO_DESTINATION
_NOTHING = b""


class Output:
    """Frames waiting to be written to one connection, in order. `size` is how many bytes wait.

    Bodies of REFERENCED_BODY_MIN_BYTES and more are not copied: their part refers to the record data it was given.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._capacity = 0
        self._filled = 0
        self._parts: list[bytes | memoryview] = []
        self._sealed = 0
        self._quiet = 0

    @property
    def size(self) -> int:
        """Bytes that take() would return."""
        return self._sealed + self._filled

    def raw(self, data: bytes) -> int:
        """Append whole frames, or a line end."""
        size = len(data)
        self._room(size)
        copy(self._buffer, self._filled, data, 0, size)
        self._filled += size
        return 0

    def deliver(
        self, data: bytes, pos: int, count: int, head: bytes, middle: bytes, more: bytes, destination: bytes, delivery: int, version: int, offset: int
    ) -> int:
        """Append a MESSAGE for each of `count` records from data[pos]; `delivery` numbers the first. Return the position behind the last.

        `offset`: of the first in its stream, -1 where it has none. `head`: what stands before the delivery's number; `middle`: between it and its second time,
        b"" for once; `more`: header lines behind that; `destination`: one for records that have none.
        """
        while count > 0:
            size = get_u32_be(data, pos)
            body = get_u32_be(data, pos + 4)
            bits = data[pos + 8]
            pos += 17 if bits & _HAS_TTL else 9
            referenced = body >= _REFERENCED_MIN
            where = destination if bits & _NO_DESTINATION else _NOTHING
            if version != _V12 and _has_escape(data, pos, size):
                block = headers.for_version(take(data, pos, size), version)
                self._room(len(head) + len(middle) + len(more) + len(where) + _NUMBERS + len(block))
                self._begin(head, middle, more, delivery)
                self._put(where, 0, len(where))
                self._put(block, 0, len(block))
            else:
                self._room(len(head) + len(middle) + len(more) + len(where) + _NUMBERS + size)
                self._begin(head, middle, more, delivery)
                self._put(where, 0, len(where))
                self._put(data, pos, size)
            pos += size
            if offset >= 0:
                self._put(_OFFSET, 0, 16)
                self._digits(offset)
                self._buffer[self._filled] = 10
                self._filled += 1
                offset += 1
            self._put(_LENGTH, 0, 15)
            self._digits(body)
            self._buffer[self._filled] = 10
            self._buffer[self._filled + 1] = 10
            self._filled += 2
            if referenced:
                if body > len(data) - pos:
                    raise IndexError("body outside its record data")
                self._seal()
                self._parts.append(memoryview(data)[pos : pos + body])
                self._sealed += body
            else:
                self._room(body)
                self._put(data, pos, body)
            self._room(1)
            self._buffer[self._filled] = 0
            self._filled += 1
            pos += body
            delivery += 1
            count -= 1
        return pos

    def take_joined(self) -> bytes:
        """All that waits, as one bytes; nothing waits afterwards."""
        if not self._parts:
            data = take_ba(self._buffer, 0, self._filled)
            self._emptied(self._filled)
            return data
        return b"".join(self.take())

    def take(self) -> list[bytes | memoryview]:
        """All that waits, in parts for a gathering write; nothing waits afterwards."""
        self._seal()
        parts = self._parts
        self._parts = []
        self._emptied(self._sealed)
        self._sealed = 0
        return parts

    def release(self) -> None:
        """Give the buffer back; call it when the connection has been idle for a while."""
        if self._filled == 0:
            self._buffer = bytearray()
            self._capacity = 0
            self._quiet = 0

    def _begin(self, head: bytes, middle: bytes, more: bytes, delivery: int) -> int:
        self._put(head, 0, len(head))
        self._digits(delivery)
        if middle:
            self._put(middle, 0, len(middle))
            self._digits(delivery)
        return self._put(more, 0, len(more))

    def _put(self, data: bytes, pos: int, size: int) -> int:
        """Append data[pos:pos+size], for which there is room."""
        copy(self._buffer, self._filled, data, pos, size)
        self._filled += size
        return 0

    def _digits(self, number: int) -> int:
        """Append a number, for which there is room."""
        count = 1
        rest = number // 10
        while rest:
            rest //= 10
            count += 1
        self._filled += count
        at = self._filled
        while count:
            at -= 1
            self._buffer[at] = 48 + number % 10
            number //= 10
            count -= 1
        return 0

    def _room(self, need: int) -> int:
        """Make the buffer take `need` more bytes; a long one is set aside as a part instead of grown."""
        if need <= self._capacity - self._filled:
            return 0
        if self._filled >= _PART:
            self._seal()
            if need <= self._capacity:
                return 0
        capacity = max(self._capacity, _BUFFER_MIN)
        while need > capacity - self._filled:
            capacity *= 2
        buffer = bytearray(capacity)
        copy_ba(buffer, 0, self._buffer, 0, self._filled)
        self._buffer = buffer
        self._capacity = capacity
        return 0

    def _seal(self) -> int:
        if self._filled:
            self._parts.append(take_ba(self._buffer, 0, self._filled))
            self._sealed += self._filled
            self._filled = 0
        return 0

    def _emptied(self, size: int) -> int:
        """After `size` bytes were taken: start over, with no buffer where a large one has been of little use for long."""
        if size > self._capacity // 8 or self._capacity <= 4 * _BUFFER_MIN:
            self._quiet = 0
        else:
            self._quiet += 1
            if self._quiet >= _QUIET_TAKES:
                self._quiet = 0
                self._buffer = bytearray()
                self._capacity = 0
        self._filled = 0
        return 0


def _has_escape(data: bytes, pos: int, size: int) -> bool:
    stop = pos + size
    while pos < stop:
        if data[pos] == 92:
            return True
        pos += 1
    return False
