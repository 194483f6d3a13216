"""AMQP 0-9-1 entries to the neutral RecordBatch and back.

| AMQP | neutral |
|---|---|
| content-type, -encoding, correlation-id, reply-to, message-id, type, priority, body | the field of that name (body: value) |
| delivery-mode 2 | durable |
| expiration | time to live (one that is no number is dropped) |
| timestamp (seconds) | event time (milliseconds; cut to what 63 bits hold) |
| headers | headers, types kept (`L` comes back as `l`) |
| header x-key (x or S), x-group-id (S) | key, ordering key; come back as x and S |
| header x-null-value (t true) of a message with an empty body | the value is null |
| user-id, app-id, cluster-id | annotations amqp.user-id, amqp.app-id, amqp.cluster-id |
| exchange, routing key | origin; not read back: the reader says what its address is |

Not in AMQP: append time, deliver-at, schema, producer, sequence, U64 above 2^63 - 1 (wraps). A text
over 255 bytes where AMQP has a short string is left out, and so is a header with such a name.
"""

from __future__ import annotations

import cython

from entrepot.model import batch as neutral
from entrepot.model.batch import HEADER_BYTES, BatchBuilder, RecordBatch
from entrepot.model.entry import CODEC_AMQP_091

if not cython.compiled:
    from entrepot.model.batch import field_at
    from entrepot.model.octets import (
        copy,
        get_u16_be,
        get_u16_le,
        get_u32_be,
        get_u32_le,
        get_u64_be,
        get_u64_le,
        put_u16_be,
        put_u32_be,
        put_u64_be,
        take,
        take_ba,
    )
    from entrepot.protocols.amqp091.properties import expiration_ms, find_header, property_at, value_end

_KEY, _HEADERS, _DURABLE, _PRIORITY, _TIME_TO_LIVE = neutral.KEY, neutral.HEADERS, neutral.DURABLE, neutral.PRIORITY, neutral.TIME_TO_LIVE
_EVENT_TIME, _GROUP, _ANNOTATIONS, _ORIGIN, _VALUE = neutral.EVENT_TIME, neutral.GROUP, neutral.ANNOTATIONS, neutral.ORIGIN, neutral.VALUE
_CONTENT_TYPE, _CONTENT_ENCODING, _CORRELATION_ID = neutral.CONTENT_TYPE, neutral.CONTENT_ENCODING, neutral.CORRELATION_ID
_REPLY_TO, _MESSAGE_ID, _TYPE = neutral.REPLY_TO, neutral.MESSAGE_ID, neutral.TYPE
_NULL, _BOOL, _DECIMAL, _TIMESTAMP, _STRING, _BYTES, _LIST, _MAP = (
    neutral.NULL,
    neutral.BOOL,
    neutral.DECIMAL,
    neutral.TIMESTAMP,
    neutral.STRING,
    neutral.BYTES,
    neutral.LIST,
    neutral.MAP,
)
_I8, _U8, _I16, _U16, _I32, _U32, _I64, _U64, _F32, _F64 = (
    neutral.I8,
    neutral.U8,
    neutral.I16,
    neutral.U16,
    neutral.I32,
    neutral.U32,
    neutral.I64,
    neutral.U64,
    neutral.F32,
    neutral.F64,
)
_BATCH_HEADER = HEADER_BYTES
_CODEC = CODEC_AMQP_091
_SECONDS_MAX = (2**63 - 1) // 1000
_MILLISECONDS_MAX = 2**63 - 1
_KEY_NAME = b"x-key"
_GROUP_NAME = b"x-group-id"
_NULL_NAME = b"x-null-value"
_USER_ID_NAME, _APP_ID_NAME, _CLUSTER_ID_NAME = b"amqp.user-id", b"amqp.app-id", b"amqp.cluster-id"


def to_batch(data: bytes) -> RecordBatch:
    """All records of an entry."""
    builder = BatchBuilder()
    pos = start_of(data)
    origin = bytes((_CODEC,)) + take(data, 3, get_u16_be(data, 1))
    end = len(data)
    while pos < end:
        pos = _record_to(builder, data, pos, origin)
    return RecordBatch(builder.build())


def start_of(data: bytes) -> int:
    """Where the first record of an entry begins (records.py has the layout)."""
    pos = 3 + get_u16_be(data, 1)
    if data[0] != 1:
        pos = pos + 4 + get_u32_be(data, pos)
    return pos


def _record_to(builder: BatchBuilder, data: bytes, pos: int, origin: bytes) -> int:
    """Add the record at `pos`; return the position behind it."""
    properties_size = get_u32_be(data, pos)
    body_size = get_u32_be(data, pos + 4)
    flags = get_u16_be(data, pos + 8)
    builder.begin()
    group = -1
    null = False
    if flags & 0x2000:
        table = property_at(data, pos + 8, 0x2000)
        key = _carrier(data, table, _KEY_NAME)
        if key >= 0:
            builder.octets(_KEY, data, key + 5, get_u32_be(data, key + 1))
        group = _carrier(data, table, _GROUP_NAME)
        null = body_size == 0 and _says_null(data, table)
    at = pos + 10
    if flags & 0x8000:
        at = _short_to(builder, _CONTENT_TYPE, data, at)
    if flags & 0x4000:
        at = _short_to(builder, _CONTENT_ENCODING, data, at)
    if flags & 0x2000:
        opened = builder.open(_HEADERS)
        at = _table_to(builder, data, at, True)
        builder.close(opened)
    if flags & 0x1000:
        if data[at] == 2:
            builder.mark(_DURABLE)
        at += 1
    if flags & 0x0800:
        builder.octet(_PRIORITY, data[at])
        at += 1
    if flags & 0x0400:
        at = _short_to(builder, _CORRELATION_ID, data, at)
    if flags & 0x0200:
        at = _short_to(builder, _REPLY_TO, data, at)
    if flags & 0x0100:
        ttl = expiration_ms(data, pos)
        if ttl >= 0:
            builder.number(_TIME_TO_LIVE, ttl)
        at += 1 + data[at]
    if flags & 0x0080:
        at = _short_to(builder, _MESSAGE_ID, data, at)
    if flags & 0x0040:
        builder.number(_EVENT_TIME, _milliseconds(get_u64_be(data, at)))
        at += 8
    if flags & 0x0020:
        at = _short_to(builder, _TYPE, data, at)
    if group >= 0:
        builder.octets(_GROUP, data, group + 5, get_u32_be(data, group + 1))
    if flags & 0x001C:
        opened = builder.open(_ANNOTATIONS)
        if flags & 0x0010:
            at = _note(builder, _USER_ID_NAME, data, at)
        if flags & 0x0008:
            at = _note(builder, _APP_ID_NAME, data, at)
        if flags & 0x0004:
            at = _note(builder, _CLUSTER_ID_NAME, data, at)
        builder.close(opened)
    builder.octets(_ORIGIN, origin, 0, len(origin))
    pos += 8 + properties_size
    if not null:
        builder.octets(_VALUE, data, pos, body_size)
    builder.end()
    return pos + body_size


def _short_to(builder: BatchBuilder, field: int, data: bytes, at: int) -> int:
    size = data[at]
    builder.octets(field, data, at + 1, size)
    return at + 1 + size


def _note(builder: BatchBuilder, name: bytes, data: bytes, at: int) -> int:
    size = data[at]
    builder.name(name, 0, len(name))
    builder.value(_STRING, data, at + 1, size)
    return at + 1 + size


def _carrier(data: bytes, table: int, name: bytes) -> int:
    """Where the type octet of the header `name` lies if it can carry a neutral field (x or S), else -1."""
    at = find_header(data, table, name)
    if at < 0:
        return -1
    at += 1 + len(name)
    return at if data[at] == 0x78 or data[at] == 0x53 else -1


def _says_null(data: bytes, table: int) -> bool:
    """Whether the header x-null-value is true."""
    at = find_header(data, table, _NULL_NAME)
    return at >= 0 and data[at + 13] == 0x74 and data[at + 14] != 0


def _table_to(builder: BatchBuilder, data: bytes, at: int, outer: bool) -> int:
    stop = at + 4 + get_u32_be(data, at)
    at += 4
    while at < stop:
        size = data[at]
        kind = at + 1 + size
        if outer and (size == 5 or size == 10 or size == 12) and _is_carrier(data, at + 1, size, data[kind]):
            at = value_end(data, kind)
            continue
        builder.name(data, at + 1, size)
        at = _value_to(builder, data, kind)
    return stop


def _is_carrier(data: bytes, pos: int, size: int, kind: int) -> bool:
    if size == 12:
        return kind == 0x74 and take(data, pos, size) == _NULL_NAME
    if kind != 0x78 and kind != 0x53:
        return False
    return take(data, pos, size) == (_KEY_NAME if size == 5 else _GROUP_NAME)


def _value_to(builder: BatchBuilder, data: bytes, at: int) -> int:
    """Add the value whose type octet is at `at`; return the position behind it."""
    kind = data[at]
    at += 1
    if kind == 0x53 or kind == 0x78:
        size = get_u32_be(data, at)
        builder.value(_STRING if kind == 0x53 else _BYTES, data, at + 4, size)
        return at + 4 + size
    if kind == 0x74:
        builder.small(_BOOL, 1, 1 if data[at] else 0)
        return at + 1
    if kind == 0x62 or kind == 0x42:
        builder.small(_I8 if kind == 0x62 else _U8, 1, data[at])
        return at + 1
    if kind == 0x73 or kind == 0x75:
        builder.small(_I16 if kind == 0x73 else _U16, 2, get_u16_be(data, at))
        return at + 2
    if kind == 0x49 or kind == 0x69 or kind == 0x66:
        builder.small(_I32 if kind == 0x49 else _U32 if kind == 0x69 else _F32, 4, get_u32_be(data, at))
        return at + 4
    if kind == 0x6C or kind == 0x4C or kind == 0x64:
        builder.small(_F64 if kind == 0x64 else _I64, 8, get_u64_be(data, at))
        return at + 8
    if kind == 0x54:
        builder.small(_TIMESTAMP, 8, _milliseconds(get_u64_be(data, at)))
        return at + 8
    if kind == 0x44:
        number = get_u32_be(data, at + 1)
        builder.small(_DECIMAL, 5, number << 8 | data[at])
        return at + 5
    if kind == 0x56:
        builder.small(_NULL, 0, 0)
        return at
    if kind == 0x46:
        opened = builder.open_value(_MAP)
        at = _table_to(builder, data, at, False)
        builder.close(opened)
        return at
    opened = builder.open_value(_LIST)
    stop = at + 4 + get_u32_be(data, at)
    at += 4
    while at < stop:
        at = _value_to(builder, data, at)
    builder.close(opened)
    return at


def _milliseconds(seconds: int) -> int:
    if seconds > _SECONDS_MAX:
        return _MILLISECONDS_MAX
    return seconds * 1000


def from_batch(batch: RecordBatch, address: bytes) -> bytes:
    """An entry with the batch's records at `address` (exchange and routing key short strings)."""
    writer = _Writer(batch.data)
    writer.start(address)
    pos = _BATCH_HEADER
    for _ in range(batch.count):
        pos = writer.record(pos)
    return writer.data()


class _Writer:
    """Entry bytes being made from the records of `source`."""

    def __init__(self, source: bytes) -> None:
        self._source = source
        self._buffer = bytearray(2 * len(source) + 1024)
        self._filled = 0

    def start(self, address: bytes) -> int:
        self._buffer[0] = 1
        put_u16_be(self._buffer, 1, len(address))
        if len(address) > 512:
            raise ValueError(f"address of {len(address)} bytes; two short strings hold 512")
        copy(self._buffer, 3, address, 0, len(address))
        self._filled = 3 + len(address)
        return 0

    def data(self) -> bytes:
        return take_ba(self._buffer, 0, self._filled)

    def record(self, pos: int) -> int:
        """Write the record at `pos` of the source; return the position behind it."""
        source = self._source
        size = get_u32_le(source, pos)
        # No AMQP form is longer than the neutral one, but for the digits of an expiration and the names that key and group get.
        self._room(size + 128)
        begun = self._filled
        self._filled = begun + 10
        flags = self._short(pos, _CONTENT_TYPE, 0x8000) | self._short(pos, _CONTENT_ENCODING, 0x4000)
        flags |= self._headers(pos)
        if field_at(source, pos, _DURABLE) >= 0:
            flags |= 0x1000
            self._buffer[self._filled] = 2
            self._filled += 1
        at = field_at(source, pos, _PRIORITY)
        if at >= 0:
            flags |= 0x0800
            self._buffer[self._filled] = source[at]
            self._filled += 1
        flags |= self._short(pos, _CORRELATION_ID, 0x0400) | self._short(pos, _REPLY_TO, 0x0200)
        at = field_at(source, pos, _TIME_TO_LIVE)
        if at >= 0 and source[at + 7] < 0x80:
            flags |= 0x0100
            self._digits(get_u64_le(source, at))
        flags |= self._short(pos, _MESSAGE_ID, 0x0080)
        at = field_at(source, pos, _EVENT_TIME)
        if at >= 0 and source[at + 7] < 0x80:
            flags |= 0x0040
            put_u64_be(self._buffer, self._filled, get_u64_le(source, at) // 1000)
            self._filled += 8
        flags |= self._short(pos, _TYPE, 0x0020)
        flags |= self._notes(pos)
        put_u16_be(self._buffer, begun + 8, flags)
        put_u32_be(self._buffer, begun, self._filled - begun - 8)
        at = field_at(source, pos, _VALUE)
        body_size = get_u32_le(source, at - 4) if at >= 0 else 0
        put_u32_be(self._buffer, begun + 4, body_size)
        if body_size:
            copy(self._buffer, self._filled, source, at, body_size)
            self._filled += body_size
        return pos + 4 + size

    def _short(self, pos: int, field: int, flag: int) -> int:
        """Write a field as a short string and return its flag; nothing and 0 where it is absent or too long."""
        at = field_at(self._source, pos, field)
        if at < 0:
            return 0
        size = get_u32_le(self._source, at - 4)
        if size > 255:
            return 0
        self._buffer[self._filled] = size
        copy(self._buffer, self._filled + 1, self._source, at, size)
        self._filled += 1 + size
        return flag

    def _digits(self, number: int) -> int:
        count = 1
        rest = number // 10
        while rest:
            rest //= 10
            count += 1
        self._buffer[self._filled] = count
        at = self._filled + count
        self._filled = at + 1
        while count:
            self._buffer[at] = 0x30 + number % 10
            number //= 10
            at -= 1
            count -= 1
        return 0

    def _headers(self, pos: int) -> int:
        """Write the header table: the headers, and what carries key and group. Returns the flag, 0 where there is nothing."""
        source = self._source
        at = field_at(source, pos, _HEADERS)
        key = field_at(source, pos, _KEY)
        group = field_at(source, pos, _GROUP)
        null = field_at(source, pos, _VALUE) < 0
        if at < 0 and key < 0 and group < 0 and not null:
            return 0
        begun = self._filled
        self._filled += 4
        if key >= 0:
            self._carry(_KEY_NAME, 0x78, key)
        if group >= 0:
            self._carry(_GROUP_NAME, 0x53, group)
        if null:
            self._say_null()
        if at >= 0:
            self._entries(at, at + get_u32_le(source, at - 4))
        put_u32_be(self._buffer, begun, self._filled - begun - 4)
        return 0x2000

    def _carry(self, name: bytes, kind: int, at: int) -> int:
        self._buffer[self._filled] = len(name)
        copy(self._buffer, self._filled + 1, name, 0, len(name))
        self._filled += 1 + len(name)
        self._buffer[self._filled] = kind
        self._filled += 1
        return self._long(at, get_u32_le(self._source, at - 4))

    def _say_null(self) -> int:
        self._buffer[self._filled] = 12
        copy(self._buffer, self._filled + 1, _NULL_NAME, 0, 12)
        self._filled += 13
        self._buffer[self._filled] = 0x74
        self._buffer[self._filled + 1] = 1
        self._filled += 2
        return 0

    def _long(self, at: int, size: int) -> int:
        put_u32_be(self._buffer, self._filled, size)
        copy(self._buffer, self._filled + 4, self._source, at, size)
        self._filled += 4 + size
        return 0

    def _entries(self, at: int, stop: int) -> int:
        """Write the entries source[at:stop] as those of a table."""
        source = self._source
        while at < stop:
            size = get_u16_le(source, at)
            value = at + 2 + size
            if size <= 255:
                self._buffer[self._filled] = size
                copy(self._buffer, self._filled + 1, source, at + 2, size)
                self._filled += 1 + size
                self._value(value)
            at = value + 5 + get_u32_le(source, value + 1)
        return 0

    def _value(self, at: int) -> int:
        """Write the value whose type is at `at` of the source."""
        source = self._source
        kind = source[at]
        size = get_u32_le(source, at + 1)
        at += 5
        if kind in (_STRING, _BYTES):
            self._type(0x53 if kind == _STRING else 0x78)
            return self._long(at, size)
        if kind in (_LIST, _MAP):
            self._type(0x41 if kind == _LIST else 0x46)
            begun = self._filled
            self._filled += 4
            if kind == _MAP:
                self._entries(at, at + size)
            else:
                stop = at + size
                while at < stop:
                    self._value(at)
                    at = at + 5 + get_u32_le(source, at + 1)
            return put_u32_be(self._buffer, begun, self._filled - begun - 4)
        if kind == _NULL:
            return self._type(0x56)
        if kind in (_BOOL, _I8, _U8):
            self._type(0x74 if kind == _BOOL else 0x62 if kind == _I8 else 0x42)
            self._buffer[self._filled] = source[at]
            self._filled += 1
            return 0
        if kind in (_I16, _U16):
            self._type(0x73 if kind == _I16 else 0x75)
            put_u16_be(self._buffer, self._filled, get_u16_le(source, at))
            self._filled += 2
            return 0
        if kind in (_I32, _U32, _F32):
            self._type(0x49 if kind == _I32 else 0x69 if kind == _U32 else 0x66)
            put_u32_be(self._buffer, self._filled, get_u32_le(source, at))
            self._filled += 4
            return 0
        if kind == _DECIMAL:
            self._type(0x44)
            self._buffer[self._filled] = source[at]
            put_u32_be(self._buffer, self._filled + 1, get_u32_le(source, at + 1))
            self._filled += 5
            return 0
        number = get_u64_le(source, at)
        if kind == _TIMESTAMP:
            self._type(0x54)
            number = number // 1000 if number <= _MILLISECONDS_MAX else 0
        else:
            self._type(0x64 if kind == _F64 else 0x6C)
        put_u64_be(self._buffer, self._filled, number)
        self._filled += 8
        return 0

    def _type(self, kind: int) -> int:
        self._buffer[self._filled] = kind
        self._filled += 1
        return 0

    def _notes(self, pos: int) -> int:
        """Write user-id, app-id and cluster-id from the annotations; returns their flags."""
        source = self._source
        at = field_at(source, pos, _ANNOTATIONS)
        if at < 0:
            return 0
        stop = at + get_u32_le(source, at - 4)
        return (
            self._one_note(at, stop, _USER_ID_NAME, 0x0010)
            | self._one_note(at, stop, _APP_ID_NAME, 0x0008)
            | self._one_note(at, stop, _CLUSTER_ID_NAME, 0x0004)
        )

    def _one_note(self, at: int, stop: int, name: bytes, flag: int) -> int:
        source = self._source
        while at < stop:
            name_size = get_u16_le(source, at)
            value = at + 2 + name_size
            size = get_u32_le(source, value + 1)
            if name_size == len(name) and size <= 255 and source[value] == _STRING and take(source, at + 2, name_size) == name:
                self._buffer[self._filled] = size
                copy(self._buffer, self._filled + 1, source, value + 5, size)
                self._filled += 1 + size
                return flag
            at = value + 5 + size
        return 0

    def _room(self, need: int) -> int:
        if need > len(self._buffer) - self._filled:
            buffer = bytearray(2 * (self._filled + need))
            buffer[: self._filled] = self._buffer[: self._filled]
            self._buffer = buffer
        return 0
