"""A RecordBatch (model/batch.py) as a version 2 record batch, uncompressed; record_batch.py has its layout.

| neutral | Kafka |
|---|---|
| key, value | key, value; null stays null |
| event time | timestamp; without one, the time of the append |
| content type, content encoding, correlation id, reply-to, message id | headers content-type, content-encoding, correlation-id, reply-to, message-id |
| type, priority, group | headers message-type, priority (digits), x-group-id |
| time to live | header time-to-live-ms (digits) |
| annotations | headers of their name |
| origin: an exchange that is not the default one, and the routing key | headers entrepot.exchange, entrepot.routing-key |
| headers | headers, in order, what is not UTF-8 in a name replaced: strings and bytes as they are, null as null, others as text (header_types.py) |
| what type the headers had | header entrepot.types, a letter each, where one does not follow from its bytes |
| durable, append time, deliver-at, schema, producer, sequence | - |
"""

from __future__ import annotations

import cython

from entrepot.model import batch as neutral
from entrepot.model.batch import HEADER_BYTES as NEUTRAL_HEADER_BYTES
from entrepot.protocols.kafka.header_types import LETTERS, to_text

if not cython.compiled:
    from entrepot.model.octets import (
        copy,
        copy_ba,
        get_u16_le,
        get_u32_le,
        get_u64_le,
        put_u16_be,
        put_u32_be,
        put_u64_be,
        take,
        take_ba,
    )
    from entrepot.protocols.kafka.record_batch import seal_batch
    from entrepot.protocols.kafka.to_neutral import is_text

_KEY, _HEADERS, _DURABLE, _PRIORITY, _TIME_TO_LIVE = neutral.KEY, neutral.HEADERS, neutral.DURABLE, neutral.PRIORITY, neutral.TIME_TO_LIVE
_EVENT_TIME, _ANNOTATIONS, _ORIGIN, _VALUE, _FIELDS = neutral.EVENT_TIME, neutral.ANNOTATIONS, neutral.ORIGIN, neutral.VALUE, neutral.VALUE + 1
_NUMBERS = 0
for _field in (neutral.TIME_TO_LIVE, neutral.EVENT_TIME, neutral.APPEND_TIME, neutral.DELIVER_AT, neutral.SCHEMA_VERSION, neutral.SEQUENCE):
    _NUMBERS |= 1 << _field
_NULL, _BOOL, _I8, _U64, _TIMESTAMP, _STRING, _BYTES = (
    neutral.NULL,
    neutral.BOOL,
    neutral.I8,
    neutral.U64,
    neutral.TIMESTAMP,
    neutral.STRING,
    neutral.BYTES,
)
_NAMES: list[bytes | None] = [None] * _FIELDS  # of the headers that carry fields
_NAMES[neutral.CONTENT_TYPE] = b"content-type"
_NAMES[neutral.CONTENT_ENCODING] = b"content-encoding"
_NAMES[neutral.CORRELATION_ID] = b"correlation-id"
_NAMES[neutral.REPLY_TO] = b"reply-to"
_NAMES[neutral.MESSAGE_ID] = b"message-id"
_NAMES[neutral.TYPE] = b"message-type"
_NAMES[neutral.GROUP] = b"x-group-id"
_PRIORITY_NAME, _TIME_TO_LIVE_NAME, _TYPES_NAME = b"priority", b"time-to-live-ms", b"entrepot.types"
_EXCHANGE_NAME, _ROUTING_KEY_NAME = b"entrepot.exchange", b"entrepot.routing-key"
_TRUE, _FALSE = b"true", b"false"
_FIRST_LETTER = LETTERS[0]
_BATCH_HEADER, _NEUTRAL_HEADER = 61, NEUTRAL_HEADER_BYTES
_SIGN, _U64_MAX = 0x8000000000000000, 0xFFFFFFFFFFFFFFFF


class FromNeutral:
    """Translates one RecordBatch; records without a time get `append_time_ms`."""

    def __init__(self, source: bytes, append_time_ms: int) -> None:
        self._source = source
        self._append_time_ms = append_time_ms
        self._buffer = bytearray(2 * len(source) + 512)
        self._capacity = 2 * len(source) + 512
        self._filled = _BATCH_HEADER
        self._base_time_ms = append_time_ms
        self._max_time_ms = append_time_ms
        # of the record
        self._heads = bytearray(1024)
        self._heads_capacity = 1024
        self._heads_filled = 0
        self._heads_count = 0
        self._letters = bytearray(64)
        self._letters_capacity = 64
        self._letters_count = 0
        self._letters_wanted = False

    def build(self, base_offset: int) -> bytes:
        """The batch, its first record at `base_offset`."""
        count = get_u32_le(self._source, 4)
        pos = _NEUTRAL_HEADER
        index = 0
        while index < count:
            pos = self._record(pos, index)
            index += 1
        buffer = self._buffer
        put_u16_be(buffer, 21, 0)
        put_u32_be(buffer, 23, count - 1)
        put_u64_be(buffer, 27, self._base_time_ms)
        put_u64_be(buffer, 35, self._max_time_ms)
        return seal_batch(buffer, self._filled, base_offset, count)

    def _record(self, pos: int, index: int) -> int:
        """Write the record at `pos` of the source; return the position behind it."""
        source = self._source
        behind = pos + 4 + get_u32_le(source, pos)
        present = get_u32_le(source, pos + 4)
        self._heads_filled = 0
        self._heads_count = 0
        self._letters_count = 0
        self._letters_wanted = False
        key_at = value_at = headers_at = -1
        key_size = value_size = headers_size = 0
        time_ms = self._append_time_ms
        at = pos + 8
        field = 0
        while present:
            if present & 1 and field != _DURABLE:
                if field == _PRIORITY:
                    self._head_digits(_PRIORITY_NAME, source[at])
                    at += 1
                elif _NUMBERS >> field & 1:
                    number = get_u64_le(source, at)
                    if number < _SIGN:
                        if field == _EVENT_TIME:
                            time_ms = number
                        elif field == _TIME_TO_LIVE:
                            self._head_digits(_TIME_TO_LIVE_NAME, number)
                    at += 8
                else:
                    size = get_u32_le(source, at)
                    at += 4
                    if field == _KEY:
                        key_at = at
                        key_size = size
                    elif field == _VALUE:
                        value_at = at
                        value_size = size
                    elif field == _HEADERS:
                        headers_at = at
                        headers_size = size
                    elif field == _ANNOTATIONS:
                        self._entries(at, at + size, False)
                    elif field == _ORIGIN:
                        self._origin(at + 1, at + size)
                    else:
                        name = _NAMES[field] if field < _FIELDS else None
                        if name is not None:
                            self._head(name, source, at, size)
                    at += size
            present >>= 1
            field += 1
        if headers_at >= 0:
            self._entries(headers_at, headers_at + headers_size, True)
            if self._letters_wanted:
                letters = take_ba(self._letters, 0, self._letters_count)
                self._head(_TYPES_NAME, letters, 0, len(letters))
        if index == 0:
            self._base_time_ms = time_ms
            self._max_time_ms = time_ms
        elif time_ms > self._max_time_ms:
            self._max_time_ms = time_ms
        delta = time_ms - self._base_time_ms
        size = 1 + _width(delta) + _width(index) + key_size + value_size + _width(self._heads_count) + self._heads_filled
        size += _width(key_size if key_at >= 0 else -1) + _width(value_size if value_at >= 0 else -1)
        if size + 5 > self._capacity - self._filled:
            self._grow(size + 5)
        self._varint(size)
        self._buffer[self._filled] = 0
        self._filled += 1
        self._varint(delta)
        self._varint(index)
        self._sized(key_at, key_size)
        self._sized(value_at, value_size)
        self._varint(self._heads_count)
        copy_ba(self._buffer, self._filled, self._heads, 0, self._heads_filled)
        self._filled += self._heads_filled
        return behind

    def _origin(self, at: int, stop: int) -> int:
        """Exchange and routing key of where the record came in, unless that was the default exchange."""
        if at >= stop:
            return 0
        size = self._source[at]
        if size:
            self._head(_EXCHANGE_NAME, self._source, at + 1, size)
            at += 1 + size
            self._head(_ROUTING_KEY_NAME, self._source, at + 1, stop - at - 1)
        return 0

    def _entries(self, at: int, stop: int, typed: bool) -> int:
        """Write the entries source[at:stop] as headers."""
        source = self._source
        while at < stop:
            name_size = get_u16_le(source, at)
            value = at + 2 + name_size
            kind = source[value]
            size = get_u32_le(source, value + 1)
            if is_text(source, at + 2, name_size):
                self._head_name(source, at + 2, name_size)
            else:  # clients fail on a name that is none
                name = take(source, at + 2, name_size).decode(errors="replace").encode()
                self._head_name(name, 0, len(name))
            if typed:
                self._letter(kind)
            value += 5
            if kind in (_STRING, _BYTES):
                if typed and is_text(source, value, size) != (kind == _STRING):
                    self._letters_wanted = True
                self._head_value(source, value, size)
            elif kind == _NULL:
                self._heads_filled = _put_varint(self._heads, self._heads_filled, -1)
            else:
                self._letters_wanted = True
                self._text(kind, value, size)
            at = value + size
        return 0

    def _text(self, kind: int, at: int, size: int) -> int:
        source = self._source
        if kind == _BOOL:
            text = _TRUE if source[at] else _FALSE
        elif (kind >= _I8 and kind <= _U64) or kind == _TIMESTAMP:
            text = self._integer(kind, at, size)
        else:
            text = to_text(kind, take(source, at, size))
        return self._head_value(text, 0, len(text))

    def _integer(self, kind: int, at: int, size: int) -> bytes:
        source = self._source
        raw = 0
        end = at + size
        while end > at:
            end -= 1
            raw = raw << 8 | source[end]
        if kind != _TIMESTAMP and (kind - _I8) & 1:
            return b"%d" % raw
        top = raw >> (8 * size - 1)
        if top == 0:
            return b"%d" % raw
        raw = (_U64_MAX >> (64 - 8 * size)) - raw + 1
        return b"-%d" % raw

    def _letter(self, kind: int) -> int:
        if self._letters_count == self._letters_capacity:
            self._letters.extend(bytes(self._letters_capacity))
            self._letters_capacity *= 2
        self._letters[self._letters_count] = _FIRST_LETTER + kind
        self._letters_count += 1
        return 0

    def _head(self, name: bytes, source: bytes, at: int, size: int) -> int:
        """Write a header."""
        self._head_name(name, 0, len(name))
        return self._head_value(source, at, size)

    def _head_digits(self, name: bytes, number: int) -> int:
        text = b"%d" % number
        return self._head(name, text, 0, len(text))

    def _head_name(self, source: bytes, at: int, size: int) -> int:
        self._heads_count += 1
        return self._head_value(source, at, size)

    def _head_value(self, source: bytes, at: int, size: int) -> int:
        if size + 16 > self._heads_capacity - self._heads_filled:
            while size + 16 > self._heads_capacity - self._heads_filled:
                self._heads_capacity *= 2
            self._heads.extend(bytes(self._heads_capacity - len(self._heads)))
        self._heads_filled = _put_varint(self._heads, self._heads_filled, size)
        copy(self._heads, self._heads_filled, source, at, size)
        self._heads_filled += size
        return 0

    def _sized(self, at: int, size: int) -> int:
        if at < 0:
            return self._varint(-1)
        self._varint(size)
        copy(self._buffer, self._filled, self._source, at, size)
        self._filled += size
        return 0

    def _varint(self, value: int) -> int:
        self._filled = _put_varint(self._buffer, self._filled, value)
        return 0

    def _grow(self, need: int) -> int:
        while need > self._capacity - self._filled:
            self._capacity *= 2
        self._buffer.extend(bytes(self._capacity - len(self._buffer)))
        return 0


def _put_varint(target: bytearray, at: int, value: int) -> int:
    """Write a zigzag varint; return the position behind it."""
    rest = value * 2 if value >= 0 else -2 * value - 1
    while rest > 0x7F:
        target[at] = rest & 0x7F | 0x80
        at += 1
        rest >>= 7
    target[at] = rest
    return at + 1


def _width(value: int) -> int:
    """Bytes of a zigzag varint."""
    rest = value * 2 if value >= 0 else -2 * value - 1
    width = 1
    while rest > 0x7F:
        width += 1
        rest >>= 7
    return width
