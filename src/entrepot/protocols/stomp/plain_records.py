"""Records without anything odd about them, to the neutral form and back: what translation.py says, compiled, for those that most are.

Nothing odd: no escape in the headers, few of them, none of the rare ones that carry a neutral field in another form; back, texts of printable ASCII without
a colon. Of all others these functions say that they are not for them.
"""

from __future__ import annotations

import cython

from entrepot.model import batch as neutral
from entrepot.model.batch import BatchBuilder
from entrepot.protocols.stomp.events import HAS_LENGTH, HAS_TTL, NO_DESTINATION, PERSISTENT

if not cython.compiled:
    from entrepot.model.batch import field_at
    from entrepot.model.octets import get_u16_le, get_u32_be, get_u32_le, get_u64_be, get_u64_le, same, take

OTHERS_MAX = 16  # headers of a record that are neither; each is compared with those before it

RARE = frozenset(
    {b"reply-to", b"timestamp", b"amqp-message-id", b"JMSXGroupID", b"user-id", b"app-id", b"cluster-id"}
    | {b"x-key", b"x-key-base64", b"x-null-value", b"x-death", b"x-group-id"}
)
_TAKEN = RARE | {b"destination", b"persistent", b"expires", b"expiration", b"content-type", b"content-encoding", b"correlation-id", b"type", b"priority"}
_KEPT = frozenset({b"subscription", b"message-id", b"ack", b"content-length", b"receipt", b"transaction", b"redelivered"})

_RARE, _NOT_PLAIN = RARE, _TAKEN | _KEPT
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
_MESSAGE_ID, _EVENT_TIME, _KEY = neutral.MESSAGE_ID, neutral.EVENT_TIME, neutral.KEY
_STRING, _BYTES, _I32, _I64 = neutral.STRING, neutral.BYTES, neutral.I32, neutral.I64
_HAS_LENGTH, _HAS_TTL, _NO_DESTINATION, _PERSISTENT = HAS_LENGTH, HAS_TTL, NO_DESTINATION, PERSISTENT
_PLAIN_FIELDS = sum(
    1 << field
    for field in (_KEY, _CONTENT_TYPE, _CONTENT_ENCODING, _HEADERS, _DURABLE, _PRIORITY, _CORRELATION_ID, _MESSAGE_ID, _EVENT_TIME, _TYPE, _ORIGIN, _VALUE)
)


def plain_to(builder: BatchBuilder, data: bytes, pos: int, origin: bytes) -> int:
    """Add the record at `pos`; the position behind it, -1 where it is not plain: nothing was added then."""
    size = get_u32_be(data, pos)
    body_size = get_u32_be(data, pos + 4)
    bits = data[pos + 8]
    ttl = pos + 9
    at = ttl + 8 if bits & _HAS_TTL else ttl
    stop = at + size
    others: list[int] = []  # where each begins, its colon, its end
    content_type = content_encoding = correlation_id = kind = -1  # where each begins, its name
    priority = -1
    while at < stop:
        first = at
        colon = -1
        while data[at] != 10:
            if data[at] == 92:
                return -1
            if data[at] == 58 and colon < 0:
                colon = at
            at += 1
        name = take(data, first, colon - first)
        at += 1
        if name in _RARE:
            return -1
        if name == b"destination" or name == b"persistent" or name == b"expires" or name == b"expiration":
            continue
        if name == b"content-type":
            content_type = first if content_type < 0 else content_type
        elif name == b"content-encoding":
            content_encoding = first if content_encoding < 0 else content_encoding
        elif name == b"correlation-id":
            correlation_id = first if correlation_id < 0 else correlation_id
        elif name == b"type":
            kind = first if kind < 0 else kind
        elif name == b"priority":
            if at - colon != 3 or data[colon + 1] < 48 or data[colon + 1] > 57:
                return -1
            priority = data[colon + 1] - 48 if priority < 0 else priority
        elif not _is_repeated(data, others, first, colon - first):
            if len(others) >= 3 * _OTHERS_MAX:
                return -1
            others.append(first)
            others.append(colon)
            others.append(at - 1)
    builder.begin()
    _text_to(builder, _CONTENT_TYPE, data, content_type, 13)
    _text_to(builder, _CONTENT_ENCODING, data, content_encoding, 17)
    if others:
        opened = builder.open(_HEADERS)
        index = 0
        while index < len(others):
            first = others[index]
            colon = others[index + 1]
            builder.name(data, first, colon - first)
            builder.value(_STRING, data, colon + 1, others[index + 2] - colon - 1)
            index += 3
        builder.close(opened)
    if bits & _PERSISTENT:
        builder.mark(_DURABLE)
    if priority >= 0:
        builder.octet(_PRIORITY, priority)
    _text_to(builder, _CORRELATION_ID, data, correlation_id, 15)
    if bits & _HAS_TTL:
        builder.number(_TIME_TO_LIVE, get_u64_be(data, ttl))
    _text_to(builder, _TYPE, data, kind, 5)
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


def _text_to(builder: BatchBuilder, field: int, data: bytes, first: int, behind: int) -> int:
    """Write the value of the line at `first`, `behind` octets from there on, to the line's end; nothing where there is none."""
    if first < 0:
        return 0
    stop = first + behind
    while data[stop] != 10:
        stop += 1
    return builder.octets(field, data, first + behind, stop - first - behind)


def plain_from(data: bytes, pos: int, destination: bytes) -> bytes | None:
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
    if present >> _DURABLE & 1:
        bits |= _PERSISTENT
        parts.append(b"persistent:true\n")
    if present >> _PRIORITY & 1:
        parts.append(b"priority:%d\n" % data[field_at(data, pos, _PRIORITY)])
    if not _text_from(parts, b"amqp-message-id:", data, field_at(data, pos, _MESSAGE_ID)):
        return None
    at = field_at(data, pos, _EVENT_TIME)
    if at >= 0:
        if data[at + 7] >= 128:
            return None
        parts.append(b"timestamp:%d\n" % get_u64_le(data, at))
    if not _text_from(parts, b"type:", data, field_at(data, pos, _TYPE)) or not _text_from(parts, b"x-key:", data, field_at(data, pos, _KEY)):
        return None
    at = field_at(data, pos, _HEADERS)
    if at >= 0 and not _headers_from(parts, data, at, at + get_u32_le(data, at - 4)):
        return None
    at = field_at(data, pos, _VALUE)
    size = get_u32_le(data, at - 4)
    block_size = 0
    for part in parts:
        block_size += len(part)
    parts[0] = block_size.to_bytes(4, "big") + size.to_bytes(4, "big") + bytes((bits,))
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
            if not _is_plain(data, value + 5, size):
                return False
            parts.append(b":")
            parts.append(take(data, value + 5, size))
            parts.append(b"\n")
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
    size = get_u32_le(data, at - 4)
    if not _is_plain(data, at, size):
        return False
    parts.append(name)
    parts.append(take(data, at, size))
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
