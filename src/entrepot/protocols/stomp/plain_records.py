"""Records without anything odd about them, to the neutral form and back: what translation.py says, compiled, for those that most are.

Odd are names with escapes, more than a few headers that carry no field, a number that is none, a header whose bytes are no text, and what only this broker
writes (x-death, x-null-value, x-key-base64). Of such records these functions say that they are not for them.
"""

from __future__ import annotations

import cython

from entrepot.model import batch as neutral
from entrepot.model.batch import BatchBuilder
from entrepot.protocols.stomp import headers
from entrepot.protocols.stomp.destinations import queue_meant, reply_destination
from entrepot.protocols.stomp.events import HAS_LENGTH, HAS_TTL, NO_DESTINATION, PERSISTENT

if not cython.compiled:
    from entrepot.model.batch import field_at
    from entrepot.model.octets import get_u16_le, get_u32_be, get_u32_le, get_u64_be, get_u64_le, same, take

OTHERS_MAX = 16  # headers of a record that carry no field; each is compared with those before it

RARE = frozenset({b"x-key-base64", b"x-null-value", b"x-death"})
_UNSAID = frozenset({b"destination", b"persistent", b"expires", b"expiration"})  # it is said otherwise
_FIELDS = (
    b"x-key",
    b"content-type",
    b"content-encoding",
    b"correlation-id",
    b"reply-to",
    b"amqp-message-id",
    b"timestamp",
    b"type",
    b"JMSXGroupID",
    b"x-group-id",
    b"user-id",
    b"app-id",
    b"cluster-id",
    b"priority",
)
_PLACES = {name: place for place, name in enumerate(_FIELDS)}
_AT_KEY, _AT_CONTENT_TYPE, _AT_ENCODING, _AT_CORRELATION, _AT_REPLY, _AT_MESSAGE_ID, _AT_TIME, _AT_TYPE, _AT_GROUP, _AT_OTHER_GROUP = range(10)
_AT_USER, _AT_APP, _AT_CLUSTER, _AT_PRIORITY = range(10, 14)
_NOTES = (b"amqp.user-id", b"amqp.app-id", b"amqp.cluster-id")
_NOT_PLAIN = frozenset({*RARE, *_UNSAID, *_FIELDS, b"subscription", b"message-id", b"ack", b"content-length", b"receipt", b"transaction", b"redelivered"})
_RARE = RARE
_SECONDS_BELOW = 100_000_000_000
_TIME_MAX = ((1 << 63) - 1) // 1000
_OTHERS_MAX = OTHERS_MAX
_CONTENT_TYPE, _CONTENT_ENCODING, _CORRELATION_ID, _TYPE = neutral.CONTENT_TYPE, neutral.CONTENT_ENCODING, neutral.CORRELATION_ID, neutral.TYPE
_HEADERS, _DURABLE, _PRIORITY, _TIME_TO_LIVE, _ORIGIN, _VALUE = (
    neutral.HEADERS,
    neutral.DURABLE,
    neutral.PRIORITY,
    neutral.TIME_TO_LIVE,
    neutral.ORIGIN,
    neutral.VALUE,
)
_MESSAGE_ID, _EVENT_TIME, _KEY, _REPLY_TO, _GROUP, _ANNOTATIONS = (
    neutral.MESSAGE_ID,
    neutral.EVENT_TIME,
    neutral.KEY,
    neutral.REPLY_TO,
    neutral.GROUP,
    neutral.ANNOTATIONS,
)
_STRING, _BYTES, _I32, _I64 = neutral.STRING, neutral.BYTES, neutral.I32, neutral.I64
_HAS_LENGTH, _HAS_TTL, _NO_DESTINATION, _PERSISTENT = HAS_LENGTH, HAS_TTL, NO_DESTINATION, PERSISTENT
_PLAIN_TEXTS = (_KEY, _CONTENT_TYPE, _CONTENT_ENCODING, _CORRELATION_ID, _REPLY_TO, _MESSAGE_ID, _TYPE, _GROUP)
_PLAIN_FIELDS = sum(1 << field for field in (*_PLAIN_TEXTS, _HEADERS, _DURABLE, _PRIORITY, _TIME_TO_LIVE, _EVENT_TIME, _ORIGIN, _VALUE))


def plain_to(builder: BatchBuilder, data: bytes, pos: int, origin: bytes) -> int:
    """Add the record at `pos`; the position behind it, -1 where it is not plain: nothing was added then."""
    size = get_u32_be(data, pos)
    body_size = get_u32_be(data, pos + 4)
    bits = data[pos + 8]
    ttl = pos + 9
    at = ttl + 8 if bits & _HAS_TTL else ttl
    stop = at + size
    others: list[int] = []  # where each begins, its colon, its end
    places = [-1] * 14  # where the value begins of each that carries a field
    while at < stop:
        first = at
        colon = -1
        while data[at] != 10:
            if data[at] == 58 and colon < 0:
                colon = at
            elif data[at] == 92 and colon < 0:
                return -1
            at += 1
        name = take(data, first, colon - first)
        at += 1
        place = _PLACES.get(name)
        if place is not None:
            if places[place] < 0:
                places[place] = colon + 1
        elif name in _RARE:
            return -1
        elif name not in _UNSAID and not _is_repeated(data, others, first, colon - first):
            if len(others) >= 3 * _OTHERS_MAX:
                return -1
            others.append(first)
            others.append(colon)
            others.append(at - 1)
    priority = _number_at(data, places[_AT_PRIORITY], 255)
    time = _number_at(data, places[_AT_TIME], _TIME_MAX)
    if priority == -2 or time == -2:
        return -1
    builder.begin()
    _text_to(builder, _KEY, data, places[_AT_KEY])
    _text_to(builder, _CONTENT_TYPE, data, places[_AT_CONTENT_TYPE])
    _text_to(builder, _CONTENT_ENCODING, data, places[_AT_ENCODING])
    if others:
        opened = builder.open(_HEADERS)
        index = 0
        while index < len(others):
            first = others[index]
            colon = others[index + 1]
            builder.name(data, first, colon - first)
            _value_to(builder, data, colon + 1, others[index + 2])
            index += 3
        builder.close(opened)
    if bits & _PERSISTENT:
        builder.mark(_DURABLE)
    if priority >= 0:
        builder.octet(_PRIORITY, priority)
    _text_to(builder, _CORRELATION_ID, data, places[_AT_CORRELATION])
    if places[_AT_REPLY] >= 0:
        meant = queue_meant(headers.unescape(take(data, places[_AT_REPLY], _line_end(data, places[_AT_REPLY]) - places[_AT_REPLY])))
        builder.octets(_REPLY_TO, meant, 0, len(meant))
    if bits & _HAS_TTL:
        builder.number(_TIME_TO_LIVE, get_u64_be(data, ttl))
    _text_to(builder, _MESSAGE_ID, data, places[_AT_MESSAGE_ID])
    if time >= 0:
        builder.number(_EVENT_TIME, time * 1000 if time < _SECONDS_BELOW else time)
    _text_to(builder, _TYPE, data, places[_AT_TYPE])
    group = places[_AT_GROUP]
    if group < 0 or data[group] == 10:
        group = places[_AT_OTHER_GROUP]
    _text_to(builder, _GROUP, data, group)
    if places[_AT_USER] >= 0 or places[_AT_APP] >= 0 or places[_AT_CLUSTER] >= 0:
        opened = builder.open(_ANNOTATIONS)
        for index in range(3):
            first = places[_AT_USER + index]
            if first >= 0:
                name = _NOTES[index]
                builder.name(name, 0, len(name))
                _value_to(builder, data, first, _line_end(data, first))
        builder.close(opened)
    builder.octets(_ORIGIN, origin, 0, len(origin))
    builder.octets(_VALUE, data, stop, body_size)
    builder.end()
    return stop + body_size


def _is_repeated(data: bytes, others: list[int], first: int, size: int) -> bool:
    """Whether a header of that name was there before: the first holds."""
    index = 0
    while index < len(others):
        if others[index + 1] - others[index] == size and same(data, first, data, others[index], size):
            return True
        index += 3
    return False


def _line_end(data: bytes, at: int) -> int:
    while data[at] != 10:
        at += 1
    return at


def _has_escape(data: bytes, at: int, stop: int) -> bool:
    while at < stop:
        if data[at] == 92:
            return True
        at += 1
    return False


def _number_at(data: bytes, at: int, most: int) -> int:
    """The number in digits that begins there and goes to the line's end; -1 where nothing is (at is -1), -2 where it is none, or more than `most`."""
    if at < 0:
        return -1
    stop = _line_end(data, at)
    if stop == at or stop - at > 18:
        return -2
    number = 0
    while at < stop:
        if data[at] < 48 or data[at] > 57:
            return -2
        number = number * 10 + (data[at] - 48)
        at += 1
    return -2 if number > most else number


def _text_to(builder: BatchBuilder, field: int, data: bytes, at: int) -> int:
    """Write the value that begins at `at`; nothing where that is -1."""
    if at < 0:
        return 0
    stop = _line_end(data, at)
    if _has_escape(data, at, stop):
        plain = headers.unescape(take(data, at, stop - at))
        return builder.octets(field, plain, 0, len(plain))
    return builder.octets(field, data, at, stop - at)


def _value_to(builder: BatchBuilder, data: bytes, at: int, stop: int) -> int:
    """Write data[at:stop] as a header's value."""
    if _has_escape(data, at, stop):
        plain = headers.unescape(take(data, at, stop - at))
        return builder.value(_STRING, plain, 0, len(plain))
    return builder.value(_STRING, data, at, stop - at)


def plain_from(data: bytes, pos: int, append_time_ms: int, destination: bytes) -> bytes | None:
    """The record at `pos` of a batch as STOMP's, `destination` its first header line (or b""); None where it is not plain."""
    present = get_u32_le(data, pos + 4)
    if present & ~_PLAIN_FIELDS or not present >> _VALUE & 1:
        return None
    parts = [b"", destination]
    bits = _HAS_LENGTH if destination else _HAS_LENGTH | _NO_DESTINATION
    if not (
        _text_from(parts, b"content-type:", data, field_at(data, pos, _CONTENT_TYPE))
        and _text_from(parts, b"content-encoding:", data, field_at(data, pos, _CONTENT_ENCODING))
        and _text_from(parts, b"correlation-id:", data, field_at(data, pos, _CORRELATION_ID))
    ):
        return None
    at = field_at(data, pos, _REPLY_TO)
    if at >= 0 and not _reply_from(parts, take(data, at, get_u32_le(data, at - 4))):
        return None
    if present >> _DURABLE & 1:
        bits |= _PERSISTENT
        parts.append(b"persistent:true\n")
    if present >> _PRIORITY & 1:
        parts.append(b"priority:%d\n" % data[field_at(data, pos, _PRIORITY)])
    ttl = -1
    at = field_at(data, pos, _TIME_TO_LIVE)
    if at >= 0:
        if data[at + 7] >= 128:
            return None
        ttl = get_u64_le(data, at)
        bits |= _HAS_TTL
        parts.append(b"expiration:%d\nexpires:%d\n" % (ttl, append_time_ms + ttl))
    if not _text_from(parts, b"amqp-message-id:", data, field_at(data, pos, _MESSAGE_ID)):
        return None
    at = field_at(data, pos, _EVENT_TIME)
    if at >= 0:
        if data[at + 7] >= 128:
            return None
        parts.append(b"timestamp:%d\n" % get_u64_le(data, at))
    if not (
        _text_from(parts, b"type:", data, field_at(data, pos, _TYPE))
        and _text_from(parts, b"JMSXGroupID:", data, field_at(data, pos, _GROUP))
        and _text_from(parts, b"x-key:", data, field_at(data, pos, _KEY))
    ):
        return None
    at = field_at(data, pos, _HEADERS)
    if at >= 0 and not _headers_from(parts, data, at, at + get_u32_le(data, at - 4)):
        return None
    at = field_at(data, pos, _VALUE)
    size = get_u32_le(data, at - 4)
    block_size = 0
    for part in parts:
        block_size += len(part)
    parts[0] = block_size.to_bytes(4, "big") + size.to_bytes(4, "big") + bytes((bits,)) + (ttl.to_bytes(8, "big") if ttl >= 0 else b"")
    parts.append(take(data, at, size))
    return b"".join(parts)


def _headers_from(parts: list[bytes], data: bytes, at: int, stop: int) -> bool:
    """Write the entries data[at:stop]; whether all are plain."""
    seen: set[bytes] = set()
    while at < stop:
        name_size = get_u16_le(data, at)
        value = at + 2 + name_size
        kind = data[value]
        size = get_u32_le(data, value + 1)
        if name_size == 0 or not _is_plain(data, at + 2, name_size):
            return False
        name = take(data, at + 2, name_size)
        if name in _NOT_PLAIN or name in seen:
            return False
        seen.add(name)
        parts.append(name)
        if kind in (_STRING, _BYTES):
            parts.append(b":")
            if not _put(parts, data, value + 5, size):
                return False
        elif kind in (_I32, _I64):
            parts.append(b":%d\n" % int.from_bytes(data[value + 5 : value + 5 + size], "little", signed=True))
        else:
            return False
        at = value + 5 + size
    return True


def _text_from(parts: list[bytes], name: bytes, data: bytes, at: int) -> bool:
    """Write a text field, nothing where it is absent (-1); whether it is plain."""
    if at < 0:
        return True
    parts.append(name)
    return _put(parts, data, at, get_u32_le(data, at - 4))


def _reply_from(parts: list[bytes], reply: bytes) -> bool:
    destination = reply_destination(reply)
    parts.append(b"reply-to:")
    return _put(parts, destination, 0, len(destination))


def _put(parts: list[bytes], data: bytes, at: int, size: int) -> bool:
    """Write a value and the line's end; whether it is a text."""
    text = take(data, at, size)
    if not _is_plain(data, at, size):
        if not headers.is_text(text):
            return False
        text = headers.escape(text)
    parts.append(text)
    parts.append(b"\n")
    return True


def _is_plain(data: bytes, at: int, size: int) -> bool:
    stop = at + size
    while at < stop:
        octet = data[at]
        if octet < 32 or octet > 126 or octet == 58 or octet == 92:
            return False
        at += 1
    return True
