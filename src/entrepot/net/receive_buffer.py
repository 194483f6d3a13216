"""ReceiveBuffer: where the bytes of one connection arrive, and stay until its codec has taken them. Codecs derive from it.

It grows as bytes arrive, never because of a size that is only claimed, and shrinks when the connection is quiet.
"""

from __future__ import annotations

from typing import Any

import cython

if not cython.compiled:
    from entrepot.model.octets import copy_ba, resize_ba

BUFFER_MIN_BYTES = 4096
BUFFER_MAX_BYTES = 256 * 1024  # more is held only while what lies at the front needs it

_BUFFER_MIN = BUFFER_MIN_BYTES
_BUFFER_MAX = BUFFER_MAX_BYTES
_ROOM = 64 * 1024
_LARGE = 4 * 1024 * 1024
_QUIET_READS = 128


class ReceiveBuffer:
    """Fill the room that writable() gives, and say received(count). `_buffer[_start:_end]` is not taken yet.

    `_limit` is how far it grows unless what lies at the front needs more: `_total` bytes, as far as the codec knows. `share`, if it is set, is told of
    what the connection holds beyond `_free` bytes (unfinished.Share): BUFFER_MAX_BYTES, and next to nothing for a stranger.
    """

    def __init__(self) -> None:
        self.share: Any = None
        self._buffer = bytearray(_BUFFER_MIN)
        self._view = memoryview(self._buffer)
        self._capacity = _BUFFER_MIN
        self._start = 0
        self._end = 0
        self._total = 0
        self._limit = _BUFFER_MAX
        self._free = _BUFFER_MAX
        self._gathered = 0  # bytes that the codec has taken of what is not whole yet
        self._filled = False  # the last read left no room: the next one gets more
        self._quiet = 0  # small reads in a row
        self._lent = False  # somebody reads the buffer for longer
        self._readers = 0  # who do so, of this buffer or of ones before it

    @property
    def buffer_bytes(self) -> int:
        """Bytes of memory held."""
        return self._capacity

    @property
    def waiting_bytes(self) -> int:
        """Bytes that are here and not taken."""
        return self._end - self._start

    def of_stranger(self, limit: int) -> int:
        """Nobody has logged in yet: at most `limit` bytes, and all that is more than the least counts."""
        self._limit = limit
        self._free = _BUFFER_MIN
        return 0

    def of_user(self, limit: int, share: Any) -> int:
        """Somebody has: up to `limit` bytes, counted by another share (or None) and beyond BUFFER_MAX_BYTES only."""
        if self.share is not None:
            self.share.close()
        self.share = share
        self._limit = limit
        self._free = _BUFFER_MAX
        return 0

    def lend(self) -> int:
        """What is in the buffer now stays as it is until give_back(), for who reads it; what comes meanwhile arrives in another one."""
        self._lent = True
        self._readers += 1
        return 0

    def give_back(self) -> int:
        """One reads it no more."""
        self._readers -= 1
        if not self._readers:
            self._lent = False
        return 0

    def writable(self) -> memoryview:
        """Room for the next read, never empty; valid until the next call of writable() or shrink()."""
        left = self._end - self._start
        if self._lent:
            self._resize(max(_BUFFER_MIN, left + _ROOM))
        if left == 0:
            self._start = 0
            self._end = 0
            if self._capacity > _LARGE:
                self._resize(max(_BUFFER_MAX, self._limit))
            elif self._quiet >= _QUIET_READS:
                self._quiet = 0
                if self._capacity > _BUFFER_MIN:
                    self._resize(max(self._capacity // 4, _BUFFER_MIN))
        if self._filled or left > self._capacity // 2:
            self._filled = False
            limit = max(self._limit, self._total)
            if self._capacity < limit:
                self._resize(min(self._capacity * 2, limit))
        if self._start and (self._start + self._total > self._capacity or self._capacity - self._end < self._capacity // 2):
            copy_ba(self._buffer, 0, self._buffer, self._start, left)
            self._start = 0
            self._end = left
        if self._end == self._capacity:
            self._resize(self._capacity + _ROOM)
        if self._end == 0:
            return self._view
        return self._view[self._end :]

    def received(self, count: int) -> int:
        """`count` bytes were written at the front of writable()."""
        if count < 0 or count > self._capacity - self._end:
            raise ValueError(f"received {count} bytes into a room of {self._capacity - self._end}")
        self._end += count
        if self._end == self._capacity:
            self._filled = True
        if count < self._capacity // 16:
            self._quiet += 1
        else:
            self._quiet = 0
        return 0

    def shrink(self) -> int:
        """To the least memory; call it when the connection has been idle for a while."""
        if self._end - self._start <= _BUFFER_MIN // 2 and self._capacity > _BUFFER_MIN:
            self._resize(_BUFFER_MIN)
        self._quiet = 0
        return 0

    def drop(self) -> int:
        """Forget what has arrived: nothing of it will be taken any more."""
        self._start = 0
        self._end = 0
        self._total = 0
        self._filled = False
        return self._resize(_BUFFER_MIN)

    def _resize(self, capacity: int) -> int:
        """A buffer of `capacity`, with what is not taken yet at its front."""
        left = self._end - self._start
        if self._lent or self._start or capacity < self._capacity or self._capacity < _LARGE or not self._grow(capacity):
            buffer = bytearray(capacity)
            copy_ba(buffer, 0, self._buffer, self._start, left)
            self._buffer = buffer
            self._lent = False
        self._view = memoryview(self._buffer)
        was = self._capacity
        self._capacity = capacity
        self._start = 0
        self._end = left
        if capacity > self._free or was > self._free:
            self._hold()  # may call drop()
        return 0

    def _grow(self, capacity: int) -> bool:
        """Where it lies, or rather where the system moves its pages to; False if somebody still looks at it."""
        try:
            self._view.release()
            resize_ba(self._buffer, capacity)
        except BufferError:
            return False
        return True

    def _hold(self) -> int:
        """Tell the share what is held."""
        if self.share is not None:
            self.share.hold(self._capacity + self._gathered - self._free)
        return 0
