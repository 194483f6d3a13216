"""A walk over the records of a version 2 record batch, one after the other; nothing is copied.

A record (Kafka's documentation, message format):

    varint size of what follows | i8 attributes (unused) | varlong timestamp delta | varint offset delta
    varint key size (-1: null), key | varint value size (-1: null), value | varint count of headers
    header: varint name size, name | varint value size (-1: null), value

Varints are zigzag, of 32 bits (at most 5 bytes) or 64 (10).
"""

from __future__ import annotations

from entrepot.protocols.kafka.batch_errors import INVALID_RECORD, InvalidBatch

ANY_NUMBER = 2**62

_ANY_NUMBER = ANY_NUMBER


class TooManyHeaders(Exception):
    """There are more than who reads has time for: it is no fault of theirs."""


class RecordCursor:
    """Reads records from `pos` to `end` of `data`.

    After advance() the fields describe one record: `index` among those read, `time_delta`, `offset_delta`, where key and value
    start and how long they are (size -1: null), `headers_count`. next_header() then goes through its headers, first_header() back to the
    first: `name_at`, `name_size`, `header_at`, `header_size`. Everything lies within the record. Raises InvalidBatch (INVALID_RECORD) for anything else.
    `headers_left`: how many more there may be, or TooManyHeaders.
    """

    __slots__ = (
        "_headers_at",
        "_next_header",
        "data",
        "end",
        "header_at",
        "header_size",
        "headers_count",
        "headers_left",
        "index",
        "key_at",
        "key_size",
        "name_at",
        "name_size",
        "offset_delta",
        "pos",
        "time_delta",
        "value_at",
        "value_size",
    )

    data: bytes
    pos: int
    end: int
    index: int
    time_delta: int
    offset_delta: int
    key_at: int
    key_size: int
    value_at: int
    value_size: int
    headers_count: int
    headers_left: int
    name_at: int
    name_size: int
    header_at: int
    header_size: int
    _headers_at: int
    _next_header: int

    def advance(self) -> int:
        """Read the next record; return the position behind it."""
        self.index += 1
        size = self._varint()
        if size < 0 or size > self.end - self.pos:
            raise self._invalid(f"has a size of {size}, where {self.end - self.pos} bytes are left")
        stop = self.pos + size
        self.pos += 1
        self.time_delta = self._varlong()
        self.offset_delta = self._varint()
        self.key_size = self._sized(stop)
        self.key_at = self.pos
        if self.key_size > 0:
            self.pos += self.key_size
        self.value_size = self._sized(stop)
        self.value_at = self.pos
        if self.value_size > 0:
            self.pos += self.value_size
        count = self._varint()
        if count < 0 or count > stop - self.pos:
            raise self._invalid(f"says it has {count} headers, where {stop - self.pos} bytes are left")
        self.headers_count = count
        self.headers_left -= count
        if self.headers_left < 0:
            raise TooManyHeaders
        self._headers_at = self.pos
        self._next_header = self.pos
        while count > 0:
            self._header(stop)
            count -= 1
        if self.pos != stop:
            raise self._invalid(f"ends at byte {self.pos}; its size says {stop}")
        return stop

    def first_header(self) -> int:
        """Go through the record's headers once more."""
        self._next_header = self._headers_at
        return 0

    def next_header(self) -> int:
        """Read the next header of the record; at most `headers_count` times."""
        behind = self.pos
        self.pos = self._next_header
        self._header(behind)
        self._next_header = self.pos
        self.pos = behind
        return 0

    def _header(self, stop: int) -> int:
        self.name_size = self._sized(stop)
        if self.name_size < 0:
            raise self._invalid("has a header without a name")
        self.name_at = self.pos
        self.pos += self.name_size
        self.header_size = self._sized(stop)
        self.header_at = self.pos
        if self.header_size > 0:
            self.pos += self.header_size
        return 0

    def _sized(self, stop: int) -> int:
        """The size of the field that starts behind it, -1 for null."""
        size = self._varint()
        if size > stop - self.pos:
            raise self._invalid(f"has a field of {size} bytes, where {stop - self.pos} are left")
        return size if size >= 0 else -1

    def _varint(self) -> int:
        if self.pos >= self.end:
            raise self._invalid("is cut off")
        octet = self.data[self.pos]
        self.pos += 1
        if octet < 0x80:
            return octet >> 1 if not octet & 1 else -(octet >> 1) - 1
        return self._longer(octet, 28, 0x0F)

    def _varlong(self) -> int:
        if self.pos >= self.end:
            raise self._invalid("is cut off")
        octet = self.data[self.pos]
        self.pos += 1
        if octet < 0x80:
            return octet >> 1 if not octet & 1 else -(octet >> 1) - 1
        return self._longer(octet, 63, 0x01)

    def _longer(self, octet: int, last: int, last_max: int) -> int:
        """The rest of a varint whose first octet was read; the one at bit `last` is at most `last_max`."""
        raw = octet & 0x7F
        shift = 7
        while True:
            if self.pos >= self.end:
                raise self._invalid("is cut off")
            octet = self.data[self.pos]
            self.pos += 1
            if shift == last and octet > last_max:
                raise self._invalid(f"has a varint at byte {self.pos} that is too long")
            low = octet & 0x7F
            raw |= low << shift
            if octet < 0x80:
                break
            shift += 7
        half = raw >> 1
        return half if not raw & 1 else -half - 1

    def _invalid(self, text: str) -> InvalidBatch:
        return InvalidBatch(INVALID_RECORD, f"record {self.index} {text}", self.index)


def make_cursor(data: bytes, pos: int, end: int) -> RecordCursor:
    """A RecordCursor before the record at `pos`."""
    cursor = RecordCursor.__new__(RecordCursor)
    cursor.data = data
    cursor.pos = pos
    cursor.end = min(end, len(data))
    cursor.index = -1
    cursor.headers_left = _ANY_NUMBER
    return cursor
