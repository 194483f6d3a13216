"""Records of a batch as a RecordBatch (model/batch.py).

| Kafka | neutral |
|---|---|
| key, value | key, value; null stays null |
| timestamp | event time, if there is one |
| headers content-type, content-encoding, correlation-id, reply-to, message-id, message-type, x-group-id | the field; the first of each name |
| header priority | priority, if it is 0 to 255 in digits |
| headers amqp.user-id, amqp.app-id, amqp.cluster-id | annotations of that name |
| headers entrepot.types, entrepot.exchange, entrepot.routing-key, time-to-live-ms | not themselves: the first says the types of the others |
| a header with a name of more than 65,535 bytes | left out |
| other headers | headers: of the type that entrepot.types says (header_types.py), else a string where it is UTF-8, else bytes; null is null |
| | durable |
"""

from __future__ import annotations

import cython

from entrepot.model import batch as neutral
from entrepot.model.batch import BatchBuilder
from entrepot.protocols.kafka.header_types import LETTERS, from_text
from entrepot.protocols.kafka.record_cursor import RecordCursor

if not cython.compiled:
    from entrepot.model.octets import get_u32_be_ba, put_u32_be, take

# What a header can carry: places in a table, by name.
_CONTENT_TYPE, _CONTENT_ENCODING, _CORRELATION_ID, _REPLY_TO, _MESSAGE_ID, _TYPE, _PRIORITY, _GROUP, _TYPES, _PLACES = range(10)
_NOTE, _DROPPED = 10, 11
_CARRIERS: dict[bytes, int] = {
    b"content-type": _CONTENT_TYPE,
    b"content-encoding": _CONTENT_ENCODING,
    b"correlation-id": _CORRELATION_ID,
    b"reply-to": _REPLY_TO,
    b"message-id": _MESSAGE_ID,
    b"message-type": _TYPE,
    b"priority": _PRIORITY,
    b"x-group-id": _GROUP,
    b"entrepot.types": _TYPES,
    b"amqp.user-id": _NOTE,
    b"amqp.app-id": _NOTE,
    b"amqp.cluster-id": _NOTE,
    b"entrepot.exchange": _DROPPED,
    b"entrepot.routing-key": _DROPPED,
    b"time-to-live-ms": _DROPPED,
}
_NAME_MIN, _NAME_MAX = min(map(len, _CARRIERS)), max(map(len, _CARRIERS))
_NO_CARRIER = 255
_NAME_SIZE_MAX = 0xFFFF  # of an entry in the neutral form

_F_KEY, _F_CONTENT_TYPE, _F_CONTENT_ENCODING, _F_HEADERS = neutral.KEY, neutral.CONTENT_TYPE, neutral.CONTENT_ENCODING, neutral.HEADERS
_F_DURABLE, _F_PRIORITY, _F_CORRELATION_ID, _F_REPLY_TO = neutral.DURABLE, neutral.PRIORITY, neutral.CORRELATION_ID, neutral.REPLY_TO
_F_MESSAGE_ID, _F_EVENT_TIME, _F_TYPE, _F_GROUP = neutral.MESSAGE_ID, neutral.EVENT_TIME, neutral.TYPE, neutral.GROUP
_F_ANNOTATIONS, _F_ORIGIN, _F_VALUE = neutral.ANNOTATIONS, neutral.ORIGIN, neutral.VALUE
_NULL, _BOOL, _I8, _U64, _TIMESTAMP, _STRING, _BYTES = (
    neutral.NULL,
    neutral.BOOL,
    neutral.I8,
    neutral.U64,
    neutral.TIMESTAMP,
    neutral.STRING,
    neutral.BYTES,
)
_FIRST_LETTER, _KINDS = LETTERS[0], len(LETTERS)
_TRUE, _FALSE = b"true", b"false"
_U64_MAX = 0xFFFFFFFFFFFFFFFF
_U64_MAX_TEXT = b"18446744073709551615"


class ToNeutral:
    """Translates the records of one batch."""

    def __init__(self, cursor: RecordCursor, base_time_ms: int, append_time_ms: int, origin: bytes) -> None:
        """`append_time_ms`: that of all records, where their timestamps are those of the append; else -1."""
        self._records = cursor.data
        self._cursor = cursor
        self._builder = BatchBuilder()
        self._base_time_ms = base_time_ms
        self._append_time_ms = append_time_ms
        self._origin = origin
        self._places = bytearray(8 * _PLACES)  # u32 position and u32 size of what carries a field
        self._carriers = bytearray(64)  # what each header of the record carries, 255 for nothing
        self._found = 0  # a bit for each that is there
        self._plain = 0  # headers that carry no field
        self._notes = 0

    def build(self, count: int) -> bytes:
        """A RecordBatch of the first `count` records."""
        while count > 0:
            self._record()
            count -= 1
        return self._builder.build()

    def _record(self) -> int:
        cursor, builder, records = self._cursor, self._builder, self._records
        cursor.advance()
        self._found = 0
        self._plain = 0
        self._notes = 0
        if cursor.headers_count:
            self._look_for_carriers()
        builder.begin()
        if cursor.key_size >= 0:
            builder.octets(_F_KEY, records, cursor.key_at, cursor.key_size)
        if self._found:
            self._carried(_CONTENT_TYPE, _F_CONTENT_TYPE)
            self._carried(_CONTENT_ENCODING, _F_CONTENT_ENCODING)
        if self._plain:
            self._headers()
        builder.mark(_F_DURABLE)
        if self._found:
            self._priority()
            self._carried(_CORRELATION_ID, _F_CORRELATION_ID)
            self._carried(_REPLY_TO, _F_REPLY_TO)
            self._carried(_MESSAGE_ID, _F_MESSAGE_ID)
        time_ms = self._append_time_ms if self._append_time_ms >= 0 else self._base_time_ms + cursor.time_delta
        if time_ms >= 0:
            builder.number(_F_EVENT_TIME, time_ms)
        if self._found:
            self._carried(_TYPE, _F_TYPE)
            self._carried(_GROUP, _F_GROUP)
        if self._notes:
            self._annotations()
        builder.octets(_F_ORIGIN, self._origin, 0, len(self._origin))
        if cursor.value_size >= 0:
            builder.octets(_F_VALUE, records, cursor.value_at, cursor.value_size)
        builder.end()
        return 0

    def _carrier(self) -> int:
        """What the cursor's header carries."""
        cursor = self._cursor
        size = cursor.name_size
        if size < _NAME_MIN or size > _NAME_MAX:
            return _NO_CARRIER
        first = self._records[cursor.name_at]
        # a c e m p r t x
        if first != 0x61 and first != 0x63 and first != 0x65 and first != 0x6D and first != 0x70 and first != 0x72 and first != 0x74 and first != 0x78:
            return _NO_CARRIER
        found = _CARRIERS.get(take(self._records, cursor.name_at, size))
        if found is None:
            return _NO_CARRIER
        carrier = int(found)
        if carrier == _PRIORITY and self._number(255) < 0:
            return _NO_CARRIER
        return carrier if cursor.header_size >= 0 else _NO_CARRIER

    def _look_for_carriers(self) -> int:
        """Note what the headers carry."""
        cursor = self._cursor
        count = cursor.headers_count
        if count > len(self._carriers):
            self._carriers = bytearray(2 * count)
        index = 0
        while index < count:
            cursor.next_header()
            carrier = self._carrier() if cursor.name_size <= _NAME_SIZE_MAX else _DROPPED
            if carrier == _NOTE:
                self._notes += 1
            elif carrier < _PLACES and self._found >> carrier & 1:
                carrier = _NO_CARRIER  # not the first of its name
            if carrier == _NO_CARRIER:
                self._plain += 1
            elif carrier < _PLACES:
                self._found |= 1 << carrier
                put_u32_be(self._places, 8 * carrier, cursor.header_at)
                put_u32_be(self._places, 8 * carrier + 4, cursor.header_size)
            self._carriers[index] = carrier
            index += 1
        return 0

    def _carried(self, carrier: int, field: int) -> int:
        if self._found >> carrier & 1:
            self._builder.octets(field, self._records, get_u32_be_ba(self._places, 8 * carrier), get_u32_be_ba(self._places, 8 * carrier + 4))
        return 0

    def _priority(self) -> int:
        if self._found >> _PRIORITY & 1:
            at = get_u32_be_ba(self._places, 8 * _PRIORITY)
            self._builder.octet(_F_PRIORITY, self._digits(at, get_u32_be_ba(self._places, 8 * _PRIORITY + 4)))
        return 0

    def _headers(self) -> int:
        """The headers that carry nothing, typed."""
        cursor, builder = self._cursor, self._builder
        letters = -1
        if self._found >> _TYPES & 1 and get_u32_be_ba(self._places, 8 * _TYPES + 4) == self._plain:
            letters = get_u32_be_ba(self._places, 8 * _TYPES)
        opened = builder.open(_F_HEADERS)
        cursor.first_header()
        index = 0
        while index < cursor.headers_count:
            cursor.next_header()
            if self._carriers[index] == _NO_CARRIER:
                builder.name(self._records, cursor.name_at, cursor.name_size)
                if letters < 0 or not self._typed(self._records[letters] - _FIRST_LETTER):
                    self._untyped()
                if letters >= 0:
                    letters += 1
            index += 1
        builder.close(opened)
        return 0

    def _annotations(self) -> int:
        cursor, builder = self._cursor, self._builder
        opened = builder.open(_F_ANNOTATIONS)
        cursor.first_header()
        index = 0
        while index < cursor.headers_count:
            cursor.next_header()
            if self._carriers[index] == _NOTE:
                builder.name(self._records, cursor.name_at, cursor.name_size)
                builder.value(_STRING, self._records, cursor.header_at, cursor.header_size)
            index += 1
        builder.close(opened)
        return 0

    def _untyped(self) -> int:
        cursor = self._cursor
        if cursor.header_size < 0:
            return self._builder.small(_NULL, 0, 0)
        kind = _STRING if is_text(self._records, cursor.header_at, cursor.header_size) else _BYTES
        return self._builder.value(kind, self._records, cursor.header_at, cursor.header_size)

    def _typed(self, kind: int) -> bool:
        """Write the cursor's header as a value of type `kind`; False: it is none."""
        cursor, builder = self._cursor, self._builder
        if kind < 0 or kind >= _KINDS or cursor.header_size < 0:
            return False
        if kind in (_STRING, _BYTES):
            builder.value(kind, self._records, cursor.header_at, cursor.header_size)
            return True
        if (kind >= _I8 and kind <= _U64) or kind == _TIMESTAMP:
            return self._integer(kind)
        text = take(self._records, cursor.header_at, cursor.header_size)
        if kind == _BOOL:
            if text != _TRUE and text != _FALSE:
                return False
            builder.small(_BOOL, 1, 1 if text == _TRUE else 0)
            return True
        raw = from_text(kind, text)
        if raw is None:
            return False
        builder.value(kind, raw, 0, len(raw))
        return True

    def _integer(self, kind: int) -> bool:
        cursor = self._cursor
        at, size = cursor.header_at, cursor.header_size
        unsigned = kind != _TIMESTAMP and (kind - _I8) & 1
        width = 8 if kind == _TIMESTAMP else 1 << ((kind - _I8) >> 1)
        negative = size > 1 and self._records[at] == 0x2D
        if negative:
            if unsigned:
                return False
            at += 1
            size -= 1
        greatest = _U64_MAX >> (64 - 8 * width)
        if not unsigned:
            greatest = (greatest >> 1) + (1 if negative else 0)
        if not self._all_digits(at, size):
            return False
        number = self._digits(at, size)
        if number > greatest or (number == _U64_MAX and take(self._records, at, size) != _U64_MAX_TEXT):
            return False
        self._builder.small(kind, width, (_U64_MAX - number + 1) & _U64_MAX if negative and number else number)
        return True

    def _number(self, greatest: int) -> int:
        """The cursor's header as a number of digits, -1 where it is none or more than `greatest`."""
        cursor = self._cursor
        if cursor.header_size < 1 or not self._all_digits(cursor.header_at, cursor.header_size):
            return -1
        number = self._digits(cursor.header_at, cursor.header_size)
        return number if number <= greatest else -1

    def _all_digits(self, at: int, size: int) -> bool:
        if size < 1 or size > 20 or (size > 1 and self._records[at] == 0x30):
            return False
        end = at + size
        while at < end:
            digit = self._records[at]
            if digit < 0x30 or digit > 0x39:
                return False
            at += 1
        return True

    def _digits(self, at: int, size: int) -> int:
        """The number that the digits say; 2^64 - 1 for any that is greater."""
        number = 0
        end = at + size
        while at < end:
            digit = self._records[at] - 0x30
            if number > (_U64_MAX - digit) // 10:
                return _U64_MAX
            number = number * 10 + digit
            at += 1
        return number


def is_text(data: bytes, at: int, size: int) -> bool:
    """Whether data[at:at+size] is UTF-8."""
    end = at + size
    while at < end:
        if data[at] >= 0x80:
            return _is_utf8(take(data, at, end - at))
        at += 1
    return True


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
