"""STOMP entries to the neutral RecordBatch and back.

| STOMP | neutral |
|---|---|
| headers content-type, content-encoding, correlation-id, type, priority (0 to 255) | the field of that name |
| reply-to | reply-to; a queue's name where it names a queue, and back `/reply-queue/NAME` |
| persistent:true | durable |
| expires, expiration (before they were stored: a time to live) | time to live; come back as both |
| amqp-message-id | message id |
| timestamp, in ms, or in seconds where it is below 10^11 | event time; comes back in ms |
| JMSXGroupID, x-group-id | ordering key; comes back as JMSXGroupID |
| x-key; x-key-base64 | key; comes back so where it is no text |
| user-id, app-id, cluster-id | annotations amqp.user-id, amqp.app-id, amqp.cluster-id |
| x-null-value:true with an empty body | the value is null |
| x-death in JSON | header x-death, a list |
| any other header | header, text; of repeated ones the first |
| exchange, routing key | origin; comes back as destination |

Header values that are no texts come back as the digits, words or JSON that say the same; octets that are no text, in base64, with `-base64` behind the name.
"""

from __future__ import annotations

import base64
import binascii
import json
import struct
from decimal import Decimal
from typing import Any

from entrepot.model import batch as neutral
from entrepot.model.batch import HEADER_BYTES, BatchBuilder, Record, RecordBatch, decode_value, skip
from entrepot.model.entry import CODEC_STOMP
from entrepot.protocols.stomp import headers
from entrepot.protocols.stomp.destinations import queue_meant, reply_destination, text_of
from entrepot.protocols.stomp.events import HAS_LENGTH, HAS_TTL, NO_DESTINATION, PERSISTENT
from entrepot.protocols.stomp.plain_records import plain_from, plain_to
from entrepot.protocols.stomp.rewriting import deaths_in, packed, take_apart

_SECONDS_BELOW = 100_000_000_000  # a timestamp that says less is RabbitMQ's, in seconds
_NUMBER_MAX = (1 << 63) - 1

_FIELDS = {b"content-type": neutral.CONTENT_TYPE, b"content-encoding": neutral.CONTENT_ENCODING, b"correlation-id": neutral.CORRELATION_ID}
_NOTES = {b"user-id": b"amqp.user-id", b"app-id": b"amqp.app-id", b"cluster-id": b"amqp.cluster-id"}
_SAID_OTHERWISE = (b"destination", b"persistent", b"expires", b"expiration", b"amqp-message-id", b"x-key", b"x-key-base64")
_PROPERTIES = frozenset({*_FIELDS, *_NOTES, *_SAID_OTHERWISE, b"type", b"reply-to", b"JMSXGroupID", b"x-group-id"})
_OF_FRAMES = frozenset({b"subscription", b"message-id", b"ack", b"content-length", b"receipt", b"transaction", b"redelivered"})
_INTEGERS = (neutral.I8, neutral.U8, neutral.I16, neutral.U16, neutral.I32, neutral.U32, neutral.I64, neutral.U64, neutral.TIMESTAMP)


def key_in(block: bytes) -> bytes | None:
    """The key that a canonical block says."""
    if b"x-key" not in block:
        return None
    said = dict(reversed(headers.entries(block)))
    key = said.get(b"x-key")
    return key if key is not None else _from_base64(said.get(b"x-key-base64"))


def to_batch(data: bytes) -> bytes:
    """All records of an entry."""
    builder = BatchBuilder()
    position = 3 + int.from_bytes(data[1:3], "big")
    origin = bytes((CODEC_STOMP,)) + data[3:position]
    while position < len(data):
        behind = plain_to(builder, data, position, origin)
        position = behind if behind >= 0 else _record_to(builder, data, position, origin)
    return builder.build()


def _record_to(builder: BatchBuilder, data: bytes, position: int, origin: bytes) -> int:
    """Add the record at `position`; return the position behind it."""
    bits, ttl, block, body, behind = take_apart(data, position)
    said = dict(reversed(headers.entries(block)))
    first = dict.fromkeys(name for name, _ in headers.entries(block))  # in the order in which they came
    null = not body and said.get(b"x-null-value") == b"true"
    priority, timestamp = _digits(said.get(b"priority"), 255), _digits(said.get(b"timestamp"), _NUMBER_MAX // 1000)
    builder.begin()
    _put(builder, neutral.KEY, key_in(block))
    for name, field in _FIELDS.items():
        if field != neutral.CORRELATION_ID:
            _put(builder, field, said.get(name))
    consumed = {b"priority": priority, b"timestamp": timestamp, b"x-null-value": True if null else None}
    others = [name for name in first if name not in _PROPERTIES and consumed.get(name) is None]
    if others:
        opened = builder.open(neutral.HEADERS)
        for name in others:
            _header_to(builder, name, said[name])
        builder.close(opened)
    if bits & PERSISTENT:
        builder.mark(neutral.DURABLE)
    if priority is not None:
        builder.octet(neutral.PRIORITY, priority)
    _put(builder, neutral.CORRELATION_ID, said.get(b"correlation-id"))
    reply = said.get(b"reply-to")
    _put(builder, neutral.REPLY_TO, None if reply is None else queue_meant(reply))
    if ttl >= 0:
        builder.number(neutral.TIME_TO_LIVE, ttl)
    _put(builder, neutral.MESSAGE_ID, said.get(b"amqp-message-id"))
    if timestamp is not None:
        builder.number(neutral.EVENT_TIME, timestamp * 1000 if timestamp < _SECONDS_BELOW else timestamp)
    _put(builder, neutral.TYPE, said.get(b"type"))
    _put(builder, neutral.GROUP, said.get(b"JMSXGroupID") or said.get(b"x-group-id"))
    notes = [(note, said[name]) for name, note in _NOTES.items() if name in said]
    if notes:
        opened = builder.open(neutral.ANNOTATIONS)
        for note, value in notes:
            builder.name(note, 0, len(note))
            builder.value(neutral.STRING, value, 0, len(value))
        builder.close(opened)
    builder.octets(neutral.ORIGIN, origin, 0, len(origin))
    if not null:
        builder.octets(neutral.VALUE, data, behind - len(body), len(body))
    builder.end()
    return behind


def _put(builder: BatchBuilder, field: int, value: bytes | None) -> None:
    if value is not None:
        builder.octets(field, value, 0, len(value))


def _digits(value: bytes | None, most: int) -> int | None:
    """A number in digits up to `most`; None where it is none."""
    if value is None or not value.isdigit() or len(value) > 18 or int(value) > most:
        return None
    return int(value)


def _header_to(builder: BatchBuilder, name: bytes, value: bytes) -> None:
    deaths = deaths_in(value) if name == b"x-death" else []
    builder.name(name, 0, len(name))
    if deaths:
        _value_to(builder, deaths)
    else:
        builder.value(neutral.STRING, value, 0, len(value))


def _value_to(builder: BatchBuilder, value: Any) -> None:
    """What JSON says."""
    if isinstance(value, dict):
        opened = builder.open_value(neutral.MAP)
        for name, item in value.items():
            raw = name.encode(errors="replace")[:255]
            builder.name(raw, 0, len(raw))
            _value_to(builder, item)
        builder.close(opened)
    elif isinstance(value, list):
        opened = builder.open_value(neutral.LIST)
        for item in value:
            _value_to(builder, item)
        builder.close(opened)
    elif isinstance(value, bool):
        builder.small(neutral.BOOL, 1, value)
    elif isinstance(value, int) and abs(value) <= _NUMBER_MAX:
        builder.small(neutral.I64, 8, value)
    else:
        raw = str(value).encode(errors="replace")
        builder.value(neutral.STRING, raw, 0, len(raw))


# ---- back


def from_batch(batch: RecordBatch, append_time_ms: int, address: bytes) -> bytes:
    """An entry with the batch's records at `address` (exchange and routing key short strings)."""
    parts = [b"\x01", len(address).to_bytes(2, "big"), address]
    destination = headers.line(b"destination", text_of(address)) if len(address) > 2 else b""
    position = HEADER_BYTES
    for _ in range(batch.count):
        plain = plain_from(batch.data, position, append_time_ms, destination)
        parts.append(_record_from(Record(batch.data, position), append_time_ms, destination) if plain is None else plain)
        position = skip(batch.data, position, 1)
    return b"".join(parts)


def _record_from(record: Record, append_time_ms: int, destination: bytes) -> bytes:
    lines = [destination] if destination else []
    for name, field in _FIELDS.items():
        _line(lines, name, record.octets(field))
    reply = record.octets(neutral.REPLY_TO)
    _line(lines, b"reply-to", None if reply is None else reply_destination(reply))
    if record.durable:
        lines.append(b"persistent:true\n")
    if record.priority is not None:
        lines.append(b"priority:%d\n" % record.priority)
    ttl = record.number(neutral.TIME_TO_LIVE)
    if ttl is not None and ttl >= 0:
        lines.append(b"expiration:%d\nexpires:%d\n" % (ttl, append_time_ms + ttl))
    _line(lines, b"amqp-message-id", record.octets(neutral.MESSAGE_ID))
    time = record.number(neutral.EVENT_TIME)
    if time is not None and time >= 0:
        lines.append(b"timestamp:%d\n" % time)
    _line(lines, b"type", record.octets(neutral.TYPE))
    _line(lines, b"JMSXGroupID", record.octets(neutral.GROUP))
    _line(lines, b"x-key", record.octets(neutral.KEY))
    notes = {name: raw for name, kind, raw in record.entries(neutral.ANNOTATIONS) if kind == neutral.STRING}
    for name, note in _NOTES.items():
        _line(lines, name, notes.get(note))
    value = record.value
    if value is None:
        lines.append(b"x-null-value:true\n")
    taken = {b"destination", *(line.partition(b":")[0] for line in lines)}
    for name, kind, raw in record.entries(neutral.HEADERS):
        escaped = headers.escape(name)
        if escaped in taken or escaped in _OF_FRAMES or not headers.is_text(name) or not name:
            continue
        taken.add(escaped)
        _line(lines, name, raw if kind in (neutral.STRING, neutral.BYTES) else header_text(kind, raw))
    bits = HAS_LENGTH | (PERSISTENT if record.durable else 0) | (0 if destination else NO_DESTINATION)
    return packed(bits & ~HAS_TTL, -1 if ttl is None or ttl < 0 else ttl, b"".join(lines), value or b"")


def _line(lines: list[bytes], name: bytes, value: bytes | None) -> None:
    """One header; what is no text goes in base64."""
    if value is None:
        return
    if headers.is_text(value):
        lines.append(headers.line(name, value))
    else:
        lines.append(headers.line(name + b"-base64", base64.b64encode(value)))


def header_text(kind: int, raw: bytes) -> bytes:
    """A header's value that is neither a text nor octets, in the characters that say it."""
    value = decode_value(kind, raw)
    if kind == neutral.NULL:
        return b""
    if kind == neutral.BOOL:
        return b"true" if value else b"false"
    if kind in _INTEGERS:
        return b"%d" % value
    if kind == neutral.F32:
        return shortest_f32(value).encode()
    if kind in (neutral.LIST, neutral.MAP):
        return json.dumps(value, default=_as_json, separators=(",", ":")).encode(errors="replace")
    return str(value).encode()


def shortest_f32(value: float) -> str:
    """The shortest digits that are the same number in 32 bits."""
    for digits in range(1, 9):
        text = f"{value:.{digits}g}"
        if struct.pack("<f", float(text)) == struct.pack("<f", value):
            return repr(float(text))
    return repr(value)


def _as_json(value: Any) -> Any:
    return str(value) if isinstance(value, Decimal) else bytes(value).decode(errors="replace")


def _from_base64(text: bytes | None) -> bytes | None:
    try:
        return None if text is None else base64.b64decode(text, validate=True)
    except binascii.Error:
        return None
