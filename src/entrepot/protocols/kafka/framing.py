"""Framing: the bytes of one connection become whole requests.

A request is i32 size, then i16 API key, i16 version and the rest. It stays where it arrived until consume(), so that a request which is not to
be answered yet costs nothing but its own bytes. The buffer grows as bytes arrive, never because of a size that is only claimed.
"""

from __future__ import annotations

import cython

from entrepot.net.receive_buffer import BUFFER_MAX_BYTES, ReceiveBuffer
from entrepot.protocols.kafka.primitives import Malformed, Reader

if not cython.compiled:
    from entrepot.model.octets import get_u16_be_ba, get_u32_be_ba, take_ba

PRODUCE = 0

_RAW_MAX = 64 * 1024
_PRODUCE = PRODUCE


class Framing(ReceiveBuffer):
    """Fill writable(), say received(count), then next() until it is False.

    `produce_size_max` and `size_max`: bytes of a Produce request and of any other; they may be set again. `raw`: what comes has a size and no
    header (old logins). After next(): `api_key`, -1 of what is raw.
    """

    def __init__(self, produce_size_max: int, size_max: int) -> None:
        super().__init__()
        self.produce_size_max = produce_size_max
        self.size_max = size_max
        self.api_key = -1
        self.raw = False

    @property
    def request_bytes(self) -> int:
        """Of the request at the front, once next() has said that it is there."""
        return self._total

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

    def first(self) -> bytes:
        """Up to eight bytes at the front."""
        return take_ba(self._buffer, self._start, min(8, self._end - self._start))

    def consume(self) -> int:
        """The request at the front is done with; what reads it may do so until the next writable()."""
        self._start += self._total
        self._total = 0
        if self.share is not None and self._capacity > BUFFER_MAX_BYTES:
            self.share.finished()
        return 0
