"""Stored MQTT publishes to the neutral RecordBatch and back (docs/conversion.md has the tables).

| MQTT | neutral |
|---|---|
| payload | value |
| QoS above 0 | durable (back: 1) |
| message expiry interval (seconds) | time to live (milliseconds; back: rounded up) |
| content type, correlation data | the field of that name |
| response topic | reply-to, as a routing key (topics.key_of); what is none comes back as the user property `reply-to` |
| user properties | headers, text, in order |
| user properties of CARRIERS, the first of each | the field of that name |
| user property `x-null-value` = `true` of an empty payload | the value is null |
| topic | origin: exchange and routing key |

Not in the neutral form: RETAIN, QoS 2, the payload format indicator. Not in MQTT: times but for the expiry, schema, producer, sequence; text that is not
UTF-8, has U+0000 or more than 65,535 bytes.
"""

from __future__ import annotations

import msgspec

from entrepot.model import batch as neutral
from entrepot.model.batch import HEADER_BYTES, BatchBuilder, RecordBatch, decode_entries, decode_value, field_at, sized, skip
from entrepot.model.entry import CODEC_MQTT
from entrepot.protocols.mqtt.packets import STRING_MAX
from entrepot.protocols.mqtt.packing import QOS, expiry_of, flags_of, pack_record, payload_of, properties_of
from entrepot.protocols.mqtt.packing import skip as skip_records
from entrepot.protocols.mqtt.property_table import PropertyId
from entrepot.protocols.mqtt.topics import key_of, topic_of
from entrepot.protocols.mqtt.user_properties import USER, items, pack_item, pack_user

CARRIERS = {
    b"x-key": neutral.KEY,
    b"content-encoding": neutral.CONTENT_ENCODING,
    b"priority": neutral.PRIORITY,
    b"message-id": neutral.MESSAGE_ID,
    b"message-type": neutral.TYPE,
    b"x-group-id": neutral.GROUP,
}
NULL_PAYLOAD = b"x-null-value"
REPLY_TO = b"reply-to"

_CONTENT_TYPE, _RESPONSE_TOPIC, _CORRELATION = int(PropertyId.CONTENT_TYPE), int(PropertyId.RESPONSE_TOPIC), int(PropertyId.CORRELATION_DATA)
_FIELDS = {_CONTENT_TYPE: neutral.CONTENT_TYPE, _CORRELATION: neutral.CORRELATION_ID}
_EXPIRY_MAX_S = 0xFFFFFFFF
_U63 = 1 << 63


def start_of(data: bytes) -> int:
    """Position of an entry's first record."""
    return 3 + int.from_bytes(data[1:3], "big")


def to_batch(data: bytes) -> bytes:
    """Every record of an entry."""
    builder = BatchBuilder()
    position = start_of(data)
    origin = bytes((CODEC_MQTT,)) + data[3:position]
    while position < len(data):
        _to_record(builder, data, position, origin)
        position = skip_records(data, position, 1)
    return builder.build()


def _to_record(builder: BatchBuilder, data: bytes, position: int, origin: bytes) -> None:
    """One record; the order of the fields is the neutral form's."""
    fields: dict[int, bytes] = {}
    headers: list[tuple[bytes, bytes]] = []
    payload = payload_of(data, position)
    is_null = False
    for kind, first, second in items(properties_of(data, position)):
        if kind == USER:
            field = CARRIERS.get(first)
            if first == NULL_PAYLOAD and second == b"true" and not payload:
                is_null = True
            elif field is not None and field not in fields and (field != neutral.PRIORITY or _priority(second) is not None):
                fields[field] = second
            else:
                headers.append((first, second))
        elif kind == _RESPONSE_TOPIC:
            fields[neutral.REPLY_TO] = key_of(first)
        elif kind in _FIELDS:
            fields[_FIELDS[kind]] = first
    if headers:
        fields[neutral.HEADERS] = b""
    if flags_of(data, position) & QOS:
        fields[neutral.DURABLE] = b""
    expiry_s = expiry_of(data, position)
    if expiry_s >= 0:
        fields[neutral.TIME_TO_LIVE] = b""
    builder.begin()
    for field in sorted(fields):
        value = fields[field]
        if field == neutral.HEADERS:
            _write_headers(builder, headers)
        elif field == neutral.DURABLE:
            builder.mark(field)
        elif field == neutral.TIME_TO_LIVE:
            builder.number(field, expiry_s * 1000)
        elif field == neutral.PRIORITY:
            builder.octet(field, _priority(value) or 0)
        else:
            builder.octets(field, value, 0, len(value))
    builder.octets(neutral.ORIGIN, origin, 0, len(origin))
    if not is_null:
        builder.octets(neutral.VALUE, payload, 0, len(payload))
    builder.end()


def _write_headers(builder: BatchBuilder, headers: list[tuple[bytes, bytes]]) -> None:
    opened = builder.open(neutral.HEADERS)
    for name, value in headers:
        builder.name(name, 0, len(name))
        builder.value(neutral.STRING, value, 0, len(value))
    builder.close(opened)


def _priority(digits: bytes) -> int | None:
    """0 to 255 as plain digits."""
    if not 0 < len(digits) <= 3 or not digits.isdigit() or int(digits) > 255 or (digits[:1] == b"0" and digits != b"0"):
        return None
    return int(digits)


def from_batch(batch: bytes, address: bytes) -> bytes:
    """An entry of as many records; `address` unless the batch's origin says one."""
    count = RecordBatch(batch).count
    if count:
        origin = sized(batch, HEADER_BYTES, neutral.ORIGIN)
        if origin is not None and len(origin) > 2:
            address = origin[1:]
    made = [b"\x01", len(address).to_bytes(2, "big"), address]
    position = HEADER_BYTES
    for _ in range(count):
        made.append(_from_record(batch, position))
        position = skip(batch, position, 1)
    return b"".join(made)


def _from_record(batch: bytes, position: int) -> bytes:
    payload = sized(batch, position, neutral.VALUE)
    at = field_at(batch, position, neutral.TIME_TO_LIVE)
    expiry_s = -1
    if at >= 0:
        ttl_ms = int.from_bytes(batch[at : at + 8], "little")
        if ttl_ms < _U63:
            expiry_s = min(-(-ttl_ms // 1000), _EXPIRY_MAX_S)
    properties = [*_carried(batch, position)]
    for field in (neutral.HEADERS, neutral.ANNOTATIONS):
        raw = sized(batch, position, field)
        for name, kind, value in [] if raw is None else decode_entries(raw):
            text = _text_of(kind, value)
            if text is not None and _is_text(name) and _is_text(text):
                properties.append(pack_user(name, text))
    if payload is None:
        properties.append(pack_user(NULL_PAYLOAD, b"true"))
    qos = 1 if field_at(batch, position, neutral.DURABLE) >= 0 else 0
    return pack_record(qos, expiry_s, b"".join(properties), payload or b"")


def _carried(batch: bytes, position: int) -> list[bytes]:
    """The properties that fields of the neutral form become."""
    found = []
    content_type = sized(batch, position, neutral.CONTENT_TYPE)
    if content_type is not None and _is_text(content_type):
        found.append(pack_item(_CONTENT_TYPE, content_type))
    correlation = sized(batch, position, neutral.CORRELATION_ID)
    if correlation is not None and len(correlation) <= STRING_MAX:
        found.append(pack_item(_CORRELATION, correlation))
    reply_to = sized(batch, position, neutral.REPLY_TO)
    if reply_to is not None:
        topic = topic_of(reply_to)
        if topic is not None and len(topic) <= STRING_MAX:
            found.append(pack_item(_RESPONSE_TOPIC, topic))
        elif _is_text(reply_to):
            found.append(pack_user(REPLY_TO, reply_to))
    for name, field in CARRIERS.items():
        if field == neutral.PRIORITY:
            at = field_at(batch, position, field)
            value = None if at < 0 else str(batch[at]).encode()
        else:
            value = sized(batch, position, field)
        if value is not None and _is_text(value):
            found.append(pack_user(name, value))
    return found


def _is_text(octets: bytes) -> bool:
    """Whether it can be a UTF-8 string of MQTT."""
    if len(octets) > STRING_MAX or b"\0" in octets:
        return False
    try:
        octets.decode()
    except UnicodeDecodeError:
        return False
    return True


def _text_of(kind: int, value: bytes) -> bytes | None:
    """A header's value as text; None: it has none."""
    if kind in (neutral.STRING, neutral.BYTES):
        return value
    if kind == neutral.NULL:
        return None
    decoded = decode_value(kind, value)
    if kind == neutral.BOOL:
        return b"true" if decoded else b"false"
    if kind in (neutral.F32, neutral.F64):
        return repr(decoded).encode()
    if kind == neutral.DECIMAL:
        return format(decoded, "f").encode()
    if kind in (neutral.LIST, neutral.MAP):
        try:
            return msgspec.json.encode(decoded, enc_hook=str)
        except (TypeError, ValueError, UnicodeEncodeError, RecursionError):
            return None
    return str(decoded).encode()
