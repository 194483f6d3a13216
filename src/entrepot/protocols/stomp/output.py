r"""What goes out on a STOMP connection: MESSAGE frames from packed records (records.py), and ready-made frames.

    MESSAGE \n subscription:ID \n message-id:PREFIX SUBSCRIPTION-DELIVERY \n [ack:SUBSCRIPTION-DELIVERY \n] [redelivered:true \n]
    the record's own headers, destination among them | content-length:N \n \n body NUL

A frame ends with its NUL, without a line end behind it: a client that looks for one would wait for it.
"""

from __future__ import annotations

import cython

from entrepot.net.output_buffer import REFERENCED_BODY_MIN_BYTES, OutputBuffer
from entrepot.protocols.stomp import headers
from entrepot.protocols.stomp.events import HAS_TTL, NO_DESTINATION

if not cython.compiled:
    from entrepot.model.octets import copy, get_u32_be, take


_REFERENCED_MIN = REFERENCED_BODY_MIN_BYTES
_NUMBERS = 160  # octets that four numbers, two names and the line ends take at most
_LENGTH = b"content-length:"
_OFFSET = b"x-stream-offset:"
_V12 = headers.V12
_HAS_TTL, _NO_DESTINATION = HAS_TTL, NO_DESTINATION
_NOTHING = b""


class Output(OutputBuffer):
    """Frames waiting to be written to one connection, in order. `size` is how many bytes wait.

    Bodies of REFERENCED_BODY_MIN_BYTES and more are not copied: their part refers to the record data it was given.
    """

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
                self._refer(data, pos, body)
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


def _has_escape(data: bytes, pos: int, size: int) -> bool:
    stop = pos + size
    while pos < stop:
        if data[pos] == 92:
            return True
        pos += 1
    return False
