"""The receive buffer of one connection: bytes become whole requests.

A request is i32 size, then i16 API key, i16 version and the rest. It stays where it arrived until consume(), so that a request which is not to
be answered yet costs nothing but its own bytes. The buffer grows as bytes arrive, never because of a size that is only claimed.
"""

from __future__ import annotations

import cython

from entrepot.protocols.kafka.primitives import Malformed, Reader

if not cython.compiled:
    from entrepot.model.octets import copy_ba, get_u16_be_ba, get_u32_be_ba, take_ba

BUFFER_MIN_BYTES = 4096
BUFFER_MAX_BYTES = 256 * 1024  # more is held only while one request needs it
ROOM_BYTES = 64 * 1024
PRODUCE = 0

_BUFFER_MIN = BUFFER_MIN_BYTES
_BUFFER_MAX = BUFFER_MAX_BYTES
_ROOM = ROOM_BYTES
_RAW_MAX = 64 * 1024
_LARGE = 4 * 1024 * 1024
_PRODUCE = PRODUCE
_QUIET_READS = 128


class Framing:
    """Fill writable(), say received(count), then next() until it is False.

    `produce_size_max` and `size_max`: bytes of a Produce request and of any other; they may be set again. `raw`: what comes has a size and no
    header (old logins). After next(): `api_key`, -1 of what is raw.
    """

    def __init__(self, produce_size_max: int, size_max: int) -> None:
        self.produce_size_max = produce_size_max
        self.size_max = size_max
        self.api_key = -1
        self.raw = False
        # buffer[start:end] is not consumed yet
        self._buffer = bytearray(_BUFFER_MIN)
        self._view = memoryview(self._buffer)
        self._capacity = _BUFFER_MIN
        self._start = 0
        self._end = 0
        self._total = 0  # bytes of the request at start with its size field; 0 while that is not known
        self._quiet = 0

    @property
    def buffer_bytes(self) -> int:
        """Bytes of memory held."""
        return self._capacity

    def writable(self) -> memoryview:
        """Room for the next read, never empty; valid until the next call of writable() or release()."""
        left = self._end - self._start
        if left == 0:
            self._start = 0
            self._end = 0
            if self._capacity > _LARGE:
                self._resize(_BUFFER_MAX)
            elif self._quiet >= _QUIET_READS and self._capacity > _BUFFER_MIN:
                self._quiet = 0
                self._resize(max(self._capacity // 4, _BUFFER_MIN))
        elif self._start and (self._start + self._total > self._capacity or self._capacity - self._end < self._capacity // 2):
            copy_ba(self._buffer, 0, self._buffer, self._start, left)
            self._start = 0
            self._end = left
        if self._end == self._capacity:
            limit = max(_BUFFER_MAX, self._total)
            if self._capacity < limit:
                self._resize(min(self._capacity * 2, limit))
            else:
                self._resize(self._capacity + _ROOM)
        if self._end == 0:
            return self._view
        return self._view[self._end :]

    def received(self, count: int) -> int:
        """`count` bytes were written at the front of writable()."""
        if count < 0 or count > self._capacity - self._end:
            raise ValueError(f"received {count} bytes into a room of {self._capacity - self._end}")
        self._end += count
        if count < self._capacity // 16:
            self._quiet += 1
        else:
            self._quiet = 0
        return 0

    def next(self) -> bool:
        """Whether a whole request lies at the front. Raises Malformed for a size that is not allowed."""
        left = self._end - self._start
        self._total = 0
        if left < 4:
            return False
        size = get_u32_be_ba(self._buffer, self._start)
        if size > self.produce_size_max and size > self.size_max:
            raise Malformed(f"a request of {size} bytes; at most {max(self.produce_size_max, self.size_max)} are allowed")
        if self.raw:
            self.api_key = -1
            if size > _RAW_MAX:
                raise Malformed(f"a login message of {size} bytes; at most {_RAW_MAX} are allowed")
            self._total = 4 + size
            return left >= self._total
        if size < 8:
            raise Malformed(f"a request of {size} bytes, which is less than its header")
        if left >= 6:
            self.api_key = get_u16_be_ba(self._buffer, self._start + 4)
            limit = self.produce_size_max if self.api_key == _PRODUCE else self.size_max
            if size > limit:
                raise Malformed(f"a request of {size} bytes with API key {self.api_key}; at most {limit} are allowed")
        self._total = 4 + size
        return left >= self._total

    def reader(self) -> Reader:
        """Over the request at the front, from its API key on."""
        return Reader(self._buffer, self._start + 4, self._start + self._total)

    def token(self) -> bytes:
        """What is raw at the front."""
        return take_ba(self._buffer, self._start + 4, self._total - 4)

    def consume(self) -> int:
        """The request at the front is done with; what reads it may do so until the next writable()."""
        self._start += self._total
        self._total = 0
        return 0

    def release(self) -> int:
        """Shrink to the least memory; call it when the connection has been idle for a while."""
        if self._end - self._start <= _BUFFER_MIN // 2 and self._capacity > _BUFFER_MIN:
            self._resize(_BUFFER_MIN)
        self._quiet = 0
        return 0

    def _resize(self, capacity: int) -> int:
        left = self._end - self._start
        buffer = bytearray(capacity)
        copy_ba(buffer, 0, self._buffer, self._start, left)
        self._buffer = buffer
        self._view = memoryview(buffer)
        self._capacity = capacity
        self._start = 0
        self._end = left
        return 0
