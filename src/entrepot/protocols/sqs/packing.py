"""How one SQS message lies in an entry (docs/formats/sqs-entry.md). All integers little-endian.

u32 size of what follows | u32 which fields are there, a bit each | 16 message id | 16 MD5 of the body | the fields, lowest bit first | body

SENT_TIME      i64 milliseconds since 1970; without it: the append time of the entry
SENDER         u8 size, bytes
GROUP          u8 size, bytes
DEDUPLICATION  u8 size, bytes
DELAY          u32 milliseconds; without it: the queue's own
TRACE          u16 size, bytes: the system attribute AWSTraceHeader
SOURCE         u16 size, bytes: the queue that it was dead-lettered from
ATTRIBUTES     u32 size of what follows, 16 MD5 of the attributes, then (u16 name size, name, u8 type size, type, u32 value size, value)*,
               in the order of the names; a type that begins with "B" has bytes, all others text
"""

from __future__ import annotations

import cython

if not cython.compiled:
    from entrepot.model.octets import copy, get_u16_le, get_u32_le, get_u64_le, put_u16_le, put_u32_le, put_u64_le, take

SENT_TIME = 0x01
SENDER = 0x02
GROUP = 0x04
DEDUPLICATION = 0x08
DELAY = 0x10
TRACE = 0x20
SOURCE = 0x40
ATTRIBUTES = 0x80

MESSAGE_ID = 8  # where it lies in a record
BODY_MD5 = 24
FIELDS = 40
SHORT_MAX = 255  # bytes of sender, group and deduplication id

_SENT_TIME, _SENDER, _GROUP, _DEDUPLICATION, _DELAY, _TRACE, _SOURCE, _ATTRIBUTES = SENT_TIME, SENDER, GROUP, DEDUPLICATION, DELAY, TRACE, SOURCE, ATTRIBUTES
_MESSAGE_ID, _BODY_MD5, _FIELDS = MESSAGE_ID, BODY_MD5, FIELDS


def pack(
    message_id: bytes,
    body: bytes,
    body_md5: bytes,
    sender: bytes,
    group: bytes,
    deduplication_id: bytes,
    delay_ms: int,
    sent_ms: int,
    trace: bytes,
    source: bytes,
    attributes: bytes,
) -> bytearray:
    """One record. Empty bytes, and numbers below 0: the field is not there. `attributes` begin with their MD5; the sizes fit their fields."""
    present = 0
    size = _FIELDS + len(body)
    if sent_ms >= 0:
        present |= _SENT_TIME
        size += 8
    if len(sender) > 0:
        present |= _SENDER
        size += 1 + len(sender)
    if len(group) > 0:
        present |= _GROUP
        size += 1 + len(group)
    if len(deduplication_id) > 0:
        present |= _DEDUPLICATION
        size += 1 + len(deduplication_id)
    if delay_ms >= 0:
        present |= _DELAY
        size += 4
    if len(trace) > 0:
        present |= _TRACE
        size += 2 + len(trace)
    if len(source) > 0:
        present |= _SOURCE
        size += 2 + len(source)
    if len(attributes) > 0:
        present |= _ATTRIBUTES
        size += 4 + len(attributes)
    record = bytearray(size)
    put_u32_le(record, 0, size - 4)
    put_u32_le(record, 4, present)
    copy(record, _MESSAGE_ID, message_id, 0, 16)
    copy(record, _BODY_MD5, body_md5, 0, 16)
    at = _FIELDS
    if present & _SENT_TIME:
        put_u64_le(record, at, sent_ms)
        at += 8
    if present & _SENDER:
        at = _short(record, at, sender)
    if present & _GROUP:
        at = _short(record, at, group)
    if present & _DEDUPLICATION:
        at = _short(record, at, deduplication_id)
    if present & _DELAY:
        put_u32_le(record, at, delay_ms)
        at += 4
    if present & _TRACE:
        put_u16_le(record, at, len(trace))
        copy(record, at + 2, trace, 0, len(trace))
        at += 2 + len(trace)
    if present & _SOURCE:
        put_u16_le(record, at, len(source))
        copy(record, at + 2, source, 0, len(source))
        at += 2 + len(source)
    if present & _ATTRIBUTES:
        put_u32_le(record, at, len(attributes))
        copy(record, at + 4, attributes, 0, len(attributes))
        at += 4 + len(attributes)
    copy(record, at, body, 0, len(body))
    return record


def _short(record: bytearray, at: int, value: bytes) -> int:
    size = len(value)
    record[at] = size
    copy(record, at + 1, value, 0, size)
    return at + 1 + size


def field_at(data: bytes, position: int, field: int) -> int:
    """Where a field of the record begins, its size (if it has one) included; where the body begins for a bit that no field has. -1: it is not there."""
    present = get_u32_le(data, position + 4)
    if field != 0x100 and not present & field:
        return -1
    at = position + _FIELDS
    bit = 1
    while bit < field:
        if present & bit:
            if bit == _SENT_TIME:
                at += 8
            elif bit == _DELAY:
                at += 4
            elif bit == _ATTRIBUTES:
                at = at + 4 + get_u32_le(data, at)
            elif bit in (_TRACE, _SOURCE):
                at = at + 2 + get_u16_le(data, at)
            else:
                at = at + 1 + data[at]
        bit = bit << 1
    return at


def field_of(data: bytes, position: int, field: int) -> bytes:
    """The content of a sized field; b"" where it is not there."""
    at = field_at(data, position, field)
    if at < 0:
        return b""
    if field == _ATTRIBUTES:
        return take(data, at + 4, get_u32_le(data, at))
    if field in (_TRACE, _SOURCE):
        return take(data, at + 2, get_u16_le(data, at))
    return take(data, at + 1, data[at])


def number_of(data: bytes, position: int, field: int) -> int:
    """SENT_TIME or DELAY; -1 where it is not there."""
    at = field_at(data, position, field)
    if at < 0:
        return -1
    if field == _SENT_TIME:
        return get_u64_le(data, at)
    return get_u32_le(data, at)


def body_at(data: bytes, position: int) -> int:
    """Where the body begins."""
    return field_at(data, position, 0x100)


def body_of(data: bytes, position: int) -> bytes:
    """The body."""
    at = body_at(data, position)
    return take(data, at, position + 4 + get_u32_le(data, position) - at)


def skip(data: bytes, position: int, count: int) -> int:
    """The position `count` records behind."""
    while count > 0:
        position = position + 4 + get_u32_le(data, position)
        count -= 1
    return position


def with_fields(record: bytes, sent_ms: int, source: bytes, delay: bool) -> bytes:
    """One record with another sent time and source queue (-1, b"": none), without its delay unless `delay`."""
    return bytes(
        pack(
            take(record, _MESSAGE_ID, 16),
            body_of(record, 0),
            take(record, _BODY_MD5, 16),
            field_of(record, 0, _SENDER),
            field_of(record, 0, _GROUP),
            field_of(record, 0, _DEDUPLICATION),
            number_of(record, 0, _DELAY) if delay else -1,
            sent_ms,
            field_of(record, 0, _TRACE),
            source,
            field_of(record, 0, _ATTRIBUTES),
        )
    )
