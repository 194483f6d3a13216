"""OutputBuffer: bytes on their way out of one connection, until the network takes them. What writes a protocol's frames derives from it.

Small frames are gathered in one buffer, which grows and is given back when the connection is quiet; long bodies are not copied, but referred to.
"""

from __future__ import annotations

import cython

if not cython.compiled:
    from entrepot.model.octets import copy, copy_ba, take_ba

BUFFER_MIN_BYTES = 512
PART_BYTES = 128 * 1024
REFERENCED_BODY_MIN_BYTES = 16 * 1024  # from there on a body is best referred to

_BUFFER_MIN = BUFFER_MIN_BYTES
_PART = PART_BYTES
_QUIET_TAKES = 64


class OutputBuffer:
    """Frames waiting to be written, in order. `size` is how many bytes wait.

    Who writes asks for _room(), writes behind _buffer[_filled] and moves _filled on.
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

    @property
    def buffer_bytes(self) -> int:
        """Bytes of memory held beyond `size`."""
        return self._capacity - self._filled

    def raw(self, data: bytes) -> int:
        """Append whole frames."""
        size = len(data)
        if size >= _PART:
            self._seal()
            self._parts.append(data)
            self._sealed += size
            return 0
        if size > self._capacity - self._filled:
            self._room(size)
        copy(self._buffer, self._filled, data, 0, size)
        self._filled += size
        return 0

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

    def _refer(self, data: bytes, pos: int, size: int) -> int:
        """Append data[pos:pos+size] as a part that refers to it. IndexError where that is not all there."""
        if size > len(data) - pos:
            raise IndexError("body outside its record data")
        self._seal()
        self._parts.append(memoryview(data)[pos : pos + size])
        self._sealed += size
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
