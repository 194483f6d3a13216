"""SQS messages as a RecordBatch: docs/conversion.md has the table."""

from __future__ import annotations

import binascii
import struct

import cython

from entrepot.model.batch import (
    BYTES,
    CONTENT_ENCODING,
    CONTENT_TYPE,
    CORRELATION_ID,
    DURABLE,
    EVENT_TIME,
    F64,
    GROUP,
    HEADERS,
    I64,
    KEY,
    MESSAGE_ID,
    ORIGIN,
    PRIORITY,
    REPLY_TO,
    STRING,
    TYPE,
    VALUE,
)
from entrepot.model.entry import CODEC_SQS
from entrepot.protocols.sqs import packing
from entrepot.protocols.sqs.message_attributes import unpack

if not cython.compiled:
    from entrepot.model.batch import BatchBuilder
    from entrepot.model.octets import get_u32_le
    from entrepot.protocols.sqs.packing import body_of, field_of, number_of
    from entrepot.protocols.sqs.writing import Writer

# Attributes that carry what the neutral form has a field for, by the field.
CARRIERS = {
    b"x-key": KEY,
    b"content-type": CONTENT_TYPE,
    b"content-encoding": CONTENT_ENCODING,
    b"correlation-id": CORRELATION_ID,
    b"reply-to": REPLY_TO,
    b"message-type": TYPE,
    b"priority": PRIORITY,
}
BODY_ENCODING = b"x-body-encoding"  # String: "base64" where the body is bytes that SQS cannot carry
NULL_BODY = b"x-null-value"
DEDUPLICATION_HEADER = b"x-deduplication-id"
TRACE_HEADER = b"x-amzn-trace-id"
SOURCE_HEADER = b"x-dead-letter-source"

_SENT_TIME, _GROUP_FIELD, _DEDUPLICATION, _TRACE, _SOURCE, _ATTRIBUTES = (
    packing.SENT_TIME,
    packing.GROUP,
    packing.DEDUPLICATION,
    packing.TRACE,
    packing.SOURCE,
    packing.ATTRIBUTES,
)
_MESSAGE_ID_AT = packing.MESSAGE_ID
_KEY, _CONTENT_TYPE, _CONTENT_ENCODING, _HEADERS, _DURABLE, _PRIORITY = KEY, CONTENT_TYPE, CONTENT_ENCODING, HEADERS, DURABLE, PRIORITY
_CORRELATION_ID, _REPLY_TO, _MESSAGE_ID, _EVENT_TIME, _TYPE, _GROUP = CORRELATION_ID, REPLY_TO, MESSAGE_ID, EVENT_TIME, TYPE, GROUP
_ORIGIN, _VALUE, _I64, _F64, _STRING, _BYTES = ORIGIN, VALUE, I64, F64, STRING, BYTES
_ORIGIN_BYTES = bytes((CODEC_SQS,))
_F64_STRUCT = struct.Struct("<d")


def to_batch(data: bytes, position: int, append_time_ms: int) -> bytes:
    """Every record from `position` on, where those of an entry begin. What came by an exchange (a dead letter) says by which."""
    origin = _ORIGIN_BYTES + data[3:position] if position > 3 and data[3] else _ORIGIN_BYTES
    builder = BatchBuilder()
    writer = Writer()
    end = len(data)
    while position < end:
        _record(builder, writer, data, position, append_time_ms, origin)
        position = position + 4 + get_u32_le(data, position)
    return builder.build()


def _record(builder: BatchBuilder, writer: Writer, data: bytes, position: int, append_time_ms: int, origin: bytes) -> int:
    """One record. The order of the fields is the neutral form's."""
    headers: list[tuple[bytes, bytes, bytes]] = []
    carried: dict[int, bytes] = {}
    body = body_of(data, position)
    is_null = False
    packed = field_of(data, position, _ATTRIBUTES)
    if len(packed) > 0:
        for attribute in unpack(packed):
            name, kind, value = attribute
            field = CARRIERS.get(name)
            if name == BODY_ENCODING and value == b"base64":
                body = decoded(body)
            elif name == NULL_BODY and value == b"true" and len(body) == 0:
                is_null = True
            elif field is not None and field not in carried and carries(field, kind, value):
                carried[field] = value
            else:
                headers.append(attribute)
    builder.begin()
    _carry(builder, carried, _KEY)
    _carry(builder, carried, _CONTENT_TYPE)
    _carry(builder, carried, _CONTENT_ENCODING)
    _headers(builder, data, position, headers)
    builder.mark(_DURABLE)
    if _PRIORITY in carried:
        builder.octet(_PRIORITY, int(carried[_PRIORITY]))
    _carry(builder, carried, _CORRELATION_ID)
    _carry(builder, carried, _REPLY_TO)
    writer.uuid(data, position + _MESSAGE_ID_AT)
    message_id = writer.take()
    builder.octets(_MESSAGE_ID, message_id, 0, len(message_id))
    sent_ms = number_of(data, position, _SENT_TIME)
    builder.number(_EVENT_TIME, append_time_ms if sent_ms < 0 else sent_ms)
    _carry(builder, carried, _TYPE)
    group = field_of(data, position, _GROUP_FIELD)
    if len(group) > 0:
        builder.octets(_GROUP, group, 0, len(group))
    builder.octets(_ORIGIN, origin, 0, len(origin))
    if not is_null:
        builder.octets(_VALUE, body, 0, len(body))
    return builder.end()


def _carry(builder: BatchBuilder, carried: dict[int, bytes], field: int) -> int:
    value = carried.get(field)
    if value is not None:
        builder.octets(field, value, 0, len(value))
    return 0


def _headers(builder: BatchBuilder, data: bytes, position: int, attributes: list[tuple[bytes, bytes, bytes]]) -> int:
    deduplication_id = field_of(data, position, _DEDUPLICATION)
    trace = field_of(data, position, _TRACE)
    source = field_of(data, position, _SOURCE)
    if len(attributes) == 0 and len(deduplication_id) == 0 and len(trace) == 0 and len(source) == 0:
        return 0
    at = builder.open(_HEADERS)
    for name, kind, value in attributes:
        builder.name(name, 0, len(name))
        if kind[0] == 66:  # Binary
            builder.value(_BYTES, value, 0, len(value))
        elif kind == b"Number":
            _number(builder, value)
        else:
            builder.value(_STRING, value, 0, len(value))
    _text(builder, DEDUPLICATION_HEADER, deduplication_id)
    _text(builder, TRACE_HEADER, trace)
    _text(builder, SOURCE_HEADER, source)
    return builder.close(at)


def _text(builder: BatchBuilder, name: bytes, value: bytes) -> int:
    if len(value) > 0:
        builder.name(name, 0, len(name))
        builder.value(_STRING, value, 0, len(value))
    return 0


def _number(builder: BatchBuilder, text: bytes) -> int:
    """An integer or a floating point number where that says the same digits again, else the text."""
    if len(text) < 20:
        try:
            whole = int(text)
        except ValueError:
            pass
        else:
            if str(whole).encode() == text and -(2**63) <= whole < 2**63:
                return builder.small(_I64, 8, whole & 0xFFFFFFFFFFFFFFFF)
    number = float(text)
    if repr(number).encode() == text:
        packed = _F64_STRUCT.pack(number)
        return builder.value(_F64, packed, 0, 8)
    return builder.value(_STRING, text, 0, len(text))


def carries(field: int, kind: bytes, value: bytes) -> bool:
    """Whether an attribute of that type and value may stand for the field."""
    if field == KEY:
        return kind in (b"Binary", b"String")
    if field == PRIORITY:
        return kind == b"Number" and value.isdigit() and len(value) <= 3 and int(value) <= 255 and str(int(value)).encode() == value
    return kind == b"String" and len(value) <= 255


def decoded(body: bytes) -> bytes:
    """What the base64 of a body says; the body itself where it is none."""
    try:
        return binascii.a2b_base64(body, strict_mode=True)
    except (binascii.Error, ValueError):
        return body
