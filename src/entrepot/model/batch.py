"""RecordBatch: the packed neutral form, through which every protocol's records become every other's (docs/formats/record-batch.md).

All integers little-endian. A batch is

    u8 version (1) | u8 least version of a reader (1) | u16 0 | u32 count | records

and a record

    u32 size of what follows | u32 which fields are there, a bit each | the fields, lowest bit first

A field is nothing (DURABLE), u8 (PRIORITY), i64 (times in milliseconds since 1970, TIME_TO_LIVE in milliseconds, SEQUENCE,
SCHEMA_VERSION), or u32 size and bytes (all others; text is UTF-8 where its producer's was). Key and value that are absent are null.
HEADERS and ANNOTATIONS are entries in order, duplicates allowed: (u16 name size, name, u8 type, u32 value size, value)*, a MAP holds
the same, a LIST (u8 type, u32 value size, value)*.

Builder and readers are compiled calls for translators. Reads are bounds-checked: IndexError means damage. Record is a view for rare
paths and tests.
"""

from __future__ import annotations

import struct
from decimal import Decimal
from typing import Any

import cython

from entrepot.model.errors import CorruptData

if not cython.compiled:
    from entrepot.model.octets import copy, copy_ba, get_u32_le, get_u64_le, put_u16_le, put_u32_le, put_u64_le, take, take_ba

BATCH_VERSION = 1
HEADER_BYTES = 8

# Fields, as bit numbers. Translators write them in this order.
KEY = 0
CONTENT_TYPE = 1
CONTENT_ENCODING = 2
HEADERS = 3
DURABLE = 4
PRIORITY = 5
CORRELATION_ID = 6
REPLY_TO = 7
TIME_TO_LIVE = 8  # after the append
MESSAGE_ID = 9
EVENT_TIME = 10
TYPE = 11
APPEND_TIME = 12
DELIVER_AT = 13
GROUP = 14  # ordering key
SCHEMA_ID = 15
SCHEMA_VERSION = 16
PRODUCER = 17
SEQUENCE = 18
ANNOTATIONS = 19
ORIGIN = 20  # u8 codec tag, then the address in that protocol's form
VALUE = 21

# Types of header values, with their value's bytes.
NULL = 0  # 0
BOOL = 1  # 1
I8 = 2
U8 = 3
I16 = 4
U16 = 5
I32 = 6
U32 = 7
I64 = 8
U64 = 9
F32 = 10
F64 = 11
DECIMAL = 12  # u8 scale, u32
TIMESTAMP = 13  # i64, milliseconds since 1970
STRING = 14
BYTES = 15
LIST = 16
MAP = 17

_NUMBERS = 1 << TIME_TO_LIVE | 1 << EVENT_TIME | 1 << APPEND_TIME | 1 << DELIVER_AT | 1 << SCHEMA_VERSION | 1 << SEQUENCE
_DURABLE, _PRIORITY = 1 << DURABLE, 1 << PRIORITY
_FIELDS = 22
_VERSION = BATCH_VERSION

_STRUCTS = {
    I8: struct.Struct("<b"),
    U8: struct.Struct("<B"),
    I16: struct.Struct("<h"),
    U16: struct.Struct("<H"),
    I32: struct.Struct("<i"),
    U32: struct.Struct("<I"),
    I64: struct.Struct("<q"),
    U64: struct.Struct("<Q"),
    F32: struct.Struct("<f"),
    F64: struct.Struct("<d"),
    TIMESTAMP: struct.Struct("<q"),
}


def field_at(data: bytes, pos: int, field: int) -> int:
    """Where the content of `field` of the record at `pos` starts, -1 where it is absent; of a sized field its u32 size is before that."""
    present = get_u32_le(data, pos + 4)
    if not present >> field & 1:
        return -1
    at = pos + 8
    for other in range(field):
        if present >> other & 1:
            at = _after(data, at, other)
    return at if (_NUMBERS | _DURABLE | _PRIORITY) >> field & 1 else at + 4


def _after(data: bytes, at: int, field: int) -> int:
    """The position behind `field`, which starts at `at`."""
    bit = 1 << field
    if bit & _NUMBERS:
        return at + 8
    if bit == _DURABLE:
        return at
    if bit == _PRIORITY:
        return at + 1
    return at + 4 + get_u32_le(data, at)


def sized(data: bytes, pos: int, field: int) -> bytes | None:
    """The bytes of a sized field of the record at `pos`, None where it is absent."""
    at = field_at(data, pos, field)
    if at < 0:
        return None
    return take(data, at, get_u32_le(data, at - 4))


def skip(data: bytes, pos: int, count: int) -> int:
    """The position `count` records behind `pos`."""
    while count > 0:
        pos = pos + 4 + get_u32_le(data, pos)  # not +=: C would add in 32 bits
        count -= 1
    return pos


class BatchBuilder:
    """Makes a batch, record by record: begin(), fields in their order, end(); then build()."""

    def __init__(self) -> None:
        self._buffer = bytearray(512)
        self._capacity = 512
        self._filled = HEADER_BYTES
        self._count = 0
        self._record = 0
        self._present = 0

    def begin(self) -> int:
        """Start a record."""
        self._room(8)
        self._record = self._filled
        self._present = 0
        self._filled += 8
        return 0

    def end(self) -> int:
        """Finish the record."""
        put_u32_le(self._buffer, self._record, self._filled - self._record - 4)
        put_u32_le(self._buffer, self._record + 4, self._present)
        self._count += 1
        return 0

    def mark(self, field: int) -> int:
        """Set a field without content."""
        self._next(field)
        return 0

    def octet(self, field: int, value: int) -> int:
        """Write a u8 field."""
        self._next(field)
        self._room(1)
        self._buffer[self._filled] = value
        self._filled += 1
        return 0

    def number(self, field: int, value: int) -> int:
        """Write an i64 field."""
        self._next(field)
        self._room(8)
        put_u64_le(self._buffer, self._filled, value & 0xFFFFFFFFFFFFFFFF)
        self._filled += 8
        return 0

    def octets(self, field: int, source: bytes, pos: int, size: int) -> int:
        """Write a sized field: source[pos:pos+size]."""
        self._next(field)
        self._room(4 + size)
        put_u32_le(self._buffer, self._filled, size)
        copy(self._buffer, self._filled + 4, source, pos, size)
        self._filled += 4 + size
        return 0

    def open(self, field: int) -> int:
        """Start a sized field that is written piece by piece; give what this returns to close()."""
        self._next(field)
        self._room(4)
        self._filled += 4
        return self._filled

    def close(self, at: int) -> int:
        """Finish what open() or open_value() started."""
        put_u32_le(self._buffer, at - 4, self._filled - at)
        return 0

    def name(self, source: bytes, pos: int, size: int) -> int:
        """Write an entry's name; its value comes next."""
        self._room(2 + size)
        put_u16_le(self._buffer, self._filled, size)
        copy(self._buffer, self._filled + 2, source, pos, size)
        self._filled += 2 + size
        return 0

    def value(self, kind: int, source: bytes, pos: int, size: int) -> int:
        """Write a value of type `kind` whose bytes are source[pos:pos+size]."""
        self._room(5 + size)
        self._buffer[self._filled] = kind
        put_u32_le(self._buffer, self._filled + 1, size)
        copy(self._buffer, self._filled + 5, source, pos, size)
        self._filled += 5 + size
        return 0

    def small(self, kind: int, width: int, value: int) -> int:
        """Write a value of type `kind` that is the lowest `width` (to 8) bytes of `value`."""
        self._room(13)
        self._buffer[self._filled] = kind
        put_u32_le(self._buffer, self._filled + 1, width)
        put_u64_le(self._buffer, self._filled + 5, value & 0xFFFFFFFFFFFFFFFF)
        self._filled += 5 + width
        return 0

    def open_value(self, kind: int) -> int:
        """Start a LIST or MAP; give what this returns to close()."""
        self._room(5)
        self._buffer[self._filled] = kind
        self._filled += 5
        return self._filled

    def build(self) -> bytes:
        """The batch; the builder starts over."""
        self._buffer[0] = _VERSION
        self._buffer[1] = _VERSION
        put_u16_le(self._buffer, 2, 0)
        put_u32_le(self._buffer, 4, self._count)
        data = take_ba(self._buffer, 0, self._filled)
        self._filled = HEADER_BYTES
        self._count = 0
        return data

    def _next(self, field: int) -> int:
        assert self._present >> field == 0, f"field {field} after a later one"
        self._present |= 1 << field
        return 0

    def _room(self, need: int) -> int:
        if need > self._capacity - self._filled:
            capacity = self._capacity * 2
            while need > capacity - self._filled:
                capacity *= 2
            buffer = bytearray(capacity)
            copy_ba(buffer, 0, self._buffer, 0, self._filled)
            self._buffer = buffer
            self._capacity = capacity
        return 0


class Record:
    """A view of the record at `pos` of a batch's bytes."""

    def __init__(self, data: bytes, pos: int) -> None:
        self.data = data
        self.pos = pos

    def octets(self, field: int) -> bytes | None:
        """A sized field, None where it is absent."""
        return sized(self.data, self.pos, field)

    def text(self, field: int) -> str | None:
        """A sized field as text; what is not UTF-8 as surrogate escapes."""
        raw = sized(self.data, self.pos, field)
        return None if raw is None else raw.decode(errors="surrogateescape")

    def number(self, field: int) -> int | None:
        """An i64 field, None where it is absent."""
        at = field_at(self.data, self.pos, field)
        if at < 0:
            return None
        value = get_u64_le(self.data, at)
        return value - 2**64 if value >= 2**63 else value

    @property
    def key(self) -> bytes | None:
        """The key; None is null."""
        return self.octets(KEY)

    @property
    def value(self) -> bytes | None:
        """The value; None is null."""
        return self.octets(VALUE)

    @property
    def durable(self) -> bool:
        """Whether the producer asked for durability."""
        return field_at(self.data, self.pos, DURABLE) >= 0

    @property
    def priority(self) -> int | None:
        """0 to 255."""
        at = field_at(self.data, self.pos, PRIORITY)
        return None if at < 0 else self.data[at]

    @property
    def headers(self) -> list[tuple[str, Any]]:
        """Names and values, in order."""
        return [(name.decode(errors="surrogateescape"), decode_value(kind, raw)) for name, kind, raw in self.entries(HEADERS)]

    @property
    def annotations(self) -> list[tuple[str, Any]]:
        """What a protocol noted beside the headers."""
        return [(name.decode(errors="surrogateescape"), decode_value(kind, raw)) for name, kind, raw in self.entries(ANNOTATIONS)]

    def entries(self, field: int) -> list[tuple[bytes, int, bytes]]:
        """(name, type, value bytes) of HEADERS or ANNOTATIONS, in order."""
        raw = sized(self.data, self.pos, field)
        return [] if raw is None else decode_entries(raw)


class RecordBatch:
    """A batch's bytes, checked for version; `count` records."""

    def __init__(self, data: bytes) -> None:
        if len(data) < HEADER_BYTES:
            raise CorruptData(f"record batch of {len(data)} bytes")
        if data[1] > _VERSION:
            raise CorruptData(f"record batch for readers of version {data[1]}; this one is of {_VERSION}")
        self.data = data
        self.count = get_u32_le(data, 4)

    def records(self) -> list[Record]:
        """A view of each record."""
        views = []
        pos = HEADER_BYTES
        for _ in range(self.count):
            views.append(Record(self.data, pos))
            pos = skip(self.data, pos, 1)
        return views


def decode_entries(raw: bytes) -> list[tuple[bytes, int, bytes]]:
    """(name, type, value bytes) of what HEADERS, ANNOTATIONS or a MAP hold."""
    pos = 0
    found = []
    while pos < len(raw):
        name_end = pos + 2 + int.from_bytes(raw[pos : pos + 2], "little")
        size = get_u32_le(raw, name_end + 1)
        found.append((raw[pos + 2 : name_end], raw[name_end], take(raw, name_end + 5, size)))
        pos = name_end + 5 + size
    return found


def decode_value(kind: int, raw: bytes) -> Any:
    """A header value as Python's; a TIMESTAMP as its milliseconds."""
    if kind in _STRUCTS:
        return _STRUCTS[kind].unpack(raw)[0]
    if kind == STRING:
        return raw.decode(errors="surrogateescape")
    if kind == BYTES:
        return raw
    if kind == NULL:
        return None
    if kind == BOOL:
        return raw != b"\x00"
    if kind == DECIMAL:
        return Decimal(get_u32_le(raw, 1)).scaleb(-raw[0])
    if kind == MAP:
        return {name.decode(errors="surrogateescape"): decode_value(inner, value) for name, inner, value in decode_entries(raw)}
    if kind == LIST:
        pos = 0
        items = []
        while pos < len(raw):
            size = get_u32_le(raw, pos + 1)
            items.append(decode_value(raw[pos], take(raw, pos + 5, size)))
            pos += 5 + size
        return items
    raise CorruptData(f"header value of unknown type {kind}")
