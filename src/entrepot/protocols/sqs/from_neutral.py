"""A RecordBatch as SQS messages: docs/conversion.md has the table.

A body that is text SQS can carry stays; any other becomes base64, and the attribute x-body-encoding says so. A message id that is no UUID is replaced
by one made from it and from the record's place, the same for every reader.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re

import cython
import msgspec

from entrepot.model import batch as neutral
from entrepot.model.batch import HEADER_BYTES, RecordBatch
from entrepot.protocols.sqs.characters import ATTRIBUTE_NAME
from entrepot.protocols.sqs.long_bodies import base64_pieces, text_pieces
from entrepot.protocols.sqs.message_attributes import digest_of
from entrepot.protocols.sqs.sending import ENTRY_VERSION
from entrepot.protocols.sqs.to_neutral import BODY_ENCODING, CARRIERS, DEDUPLICATION_HEADER, NULL_BODY, SOURCE_HEADER, TRACE_HEADER

if not cython.compiled:
    from entrepot.model.batch import field_at, sized, skip
    from entrepot.model.octets import get_u64_le, put_u32_le, take
    from entrepot.protocols.sqs.characters import illegal_at
    from entrepot.protocols.sqs.packing import pack

_VALUE, _MESSAGE_ID, _GROUP, _HEADERS, _PRIORITY, _EVENT_TIME, _ORIGIN = (
    neutral.VALUE,
    neutral.MESSAGE_ID,
    neutral.GROUP,
    neutral.HEADERS,
    neutral.PRIORITY,
    neutral.EVENT_TIME,
    neutral.ORIGIN,
)
_HEADER = HEADER_BYTES
_VERSION = ENTRY_VERSION
_NAME = re.compile(rb"[A-Za-z0-9_\-.]{1,256}")
_UUID = re.compile(rb"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
_WHOLE = frozenset((neutral.I8, neutral.U8, neutral.I16, neutral.U16, neutral.I32, neutral.U32, neutral.I64, neutral.U64, neutral.TIMESTAMP))
_BEHIND = {DEDUPLICATION_HEADER, TRACE_HEADER, SOURCE_HEADER}  # headers that are fields of an SQS message
_SHORT_MAX = 255
_NAMED_BYTES = 1024  # of a body that a message id is made from
_FIELD_MAX = 65_535

Attribute = tuple[bytes, bytes, bytes]


def from_batch(batch: bytes, base_offset: int, append_time_ms: int, address: bytes) -> bytes:
    """An entry of as many records. An origin's address is used where there is one."""
    count = RecordBatch(batch).count
    position = _HEADER
    parts: list[bytes | bytearray] = [_prefix(batch, count, address)]
    index = 0
    while index < count:
        parts.append(_record(batch, position, base_offset + index, append_time_ms))
        position = skip(batch, position, 1)
        index += 1
    return b"".join(parts)


def from_batch_with(batch: bytes, base_offset: int, append_time_ms: int, address: bytes, source: bytes, at: int, size: int) -> bytes:
    """As from_batch(), of one record whose value, empty there, is source[at:at+size]. On any thread, mostly without the GIL."""
    value = memoryview(source)[at : at + size]
    found = text_pieces(value)
    is_base64 = found is None
    pieces, digest = base64_pieces(value) if found is None else found
    record = _packed(batch, _HEADER, base_offset, append_time_ms, b"", b"" if not pieces else pieces[0][:_NAMED_BYTES], digest, is_base64)
    put_u32_le(record, 0, len(record) - 4 + sum(map(len, pieces)))
    return b"".join((_prefix(batch, 1, address), bytes(record), *pieces))  # of so many bytes, and of nothing else, it is done without the GIL


def _prefix(batch: bytes, count: int, address: bytes) -> bytes:
    if count > 0:
        origin = sized(batch, _HEADER, _ORIGIN)
        if origin is not None and len(origin) > 2:
            address = take(origin, 1, len(origin) - 1)
    return bytes((_VERSION,)) + len(address).to_bytes(2, "big") + address


def _record(batch: bytes, position: int, offset: int, append_time_ms: int) -> bytearray:
    body = sized(batch, position, _VALUE)
    is_base64 = body is not None and not is_text(body)
    if body is not None and is_base64:
        body = base64.b64encode(body)
    digest = hashlib.md5(b"" if body is None else body, usedforsecurity=False).digest()
    return _packed(batch, position, offset, append_time_ms, body, b"" if body is None else body[:_NAMED_BYTES], digest, is_base64)


def _packed(batch: bytes, position: int, offset: int, append_time_ms: int, body: bytes | None, start: bytes, body_md5: bytes, is_base64: bool) -> bytearray:
    """One record of the body (None: null), which begins with `start`."""
    attributes: list[Attribute] = []
    fields: dict[bytes, bytes] = {}
    raw = sized(batch, position, _HEADERS)
    if raw is not None:
        _headers(raw, attributes, fields)
    for name, field in CARRIERS.items():
        if field == _PRIORITY:
            at = field_at(batch, position, field)
            if at >= 0:
                attributes.append((name, b"Number", str(batch[at]).encode()))
        else:
            value = sized(batch, position, field)
            if value is not None and len(value) > 0:
                attributes.append((name, b"String" if is_text(value) else b"Binary", value))
    if body is None:
        body = b""
        attributes.append((NULL_BODY, b"String", b"true"))
    elif is_base64:
        attributes.append((BODY_ENCODING, b"String", b"base64"))
    group = sized(batch, position, _GROUP)
    at = field_at(batch, position, _EVENT_TIME)
    sent_ms = -1
    if at >= 0:
        sent_ms = get_u64_le(batch, at)
    if sent_ms < 0 or sent_ms > 1 << 62:
        sent_ms = -1
    return pack(
        message_id(sized(batch, position, _MESSAGE_ID), offset, append_time_ms, start),
        body,
        body_md5,
        b"",
        fit(group),
        fit(fields.get(DEDUPLICATION_HEADER)),
        -1,
        sent_ms,
        fields.get(TRACE_HEADER, b""),
        fields.get(SOURCE_HEADER, b""),
        pack_checked(attributes),
    )


def fit(value: bytes | None) -> bytes:
    """An id that SQS can say; b"" for any other."""
    return b"" if value is None or len(value) > _SHORT_MAX or not is_text(value) else value


def is_text(value: bytes) -> bool:
    """Whether SQS can carry it as text."""
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return illegal_at(value) < 0


def message_id(text: bytes | None, offset: int, append_time_ms: int, start: bytes) -> bytes:
    """The UUID that a message id is, or one made from it and the body's start, the same whenever it is asked for."""
    if text is not None and _UUID.fullmatch(text):
        return binascii.unhexlify(text.replace(b"-", b""))
    digest = hashlib.blake2b((text or b"") + b"\x00" + start, digest_size=16)
    digest.update(offset.to_bytes(8, "big") + append_time_ms.to_bytes(8, "big", signed=True))
    raw = bytearray(digest.digest())
    raw[6] = raw[6] & 0x0F | 0x80  # version 8: made by a rule of one's own (RFC 9562)
    raw[8] = raw[8] & 0x3F | 0x80
    return bytes(raw)


def _headers(raw: bytes, attributes: list[Attribute], fields: dict[bytes, bytes]) -> None:
    """What headers become; the first of a name counts, and what SQS has no name for is left out."""
    seen = set(CARRIERS) | {BODY_ENCODING, NULL_BODY}
    for name, kind, value in neutral.decode_entries(raw):
        if name in _BEHIND:
            if kind == neutral.STRING and len(value) <= _FIELD_MAX and is_text(value):
                fields.setdefault(name, value)
            continue
        lower = name.lower()
        if (
            name in seen
            or not (_NAME.fullmatch(name) or _is_name_of_other_letters(name))
            or lower.startswith((b"aws.", b"amazon."))
            or name.startswith(b".")
            or name.endswith(b".")
        ):
            continue
        attribute = _attribute(kind, value)
        if attribute is not None and attribute[1]:
            seen.add(name)
            attributes.append((name, *attribute))


def _is_name_of_other_letters(name: bytes) -> bool:
    try:
        return not name.isascii() and ATTRIBUTE_NAME.fullmatch(name.decode()) is not None
    except UnicodeDecodeError:
        return False


def _attribute(kind: int, value: bytes) -> tuple[bytes, bytes] | None:
    """Type and value of a header as an attribute; None: it has none there."""
    if kind == neutral.STRING:
        return (b"String", value) if is_text(value) else (b"Binary", value)
    if kind == neutral.BYTES:
        return b"Binary", value
    if kind == neutral.NULL:
        return None
    decoded = neutral.decode_value(kind, value)
    if kind in _WHOLE:
        return b"Number", str(decoded).encode()
    if kind == neutral.BOOL:
        return b"String", b"true" if decoded else b"false"
    if kind in (neutral.F32, neutral.F64):
        text = repr(decoded).encode()
        return (b"Number", text) if text.strip(b"-+.0123456789e") == b"" else (b"String", text)
    if kind == neutral.DECIMAL:
        return b"Number", format(decoded, "f").encode()
    try:
        return b"String", msgspec.json.encode(decoded, enc_hook=str)
    except (TypeError, ValueError, UnicodeEncodeError, RecursionError):
        return None


def pack_checked(attributes: list[Attribute]) -> bytes:
    """Attributes, packed with their MD5 in front; b"" for none."""
    if not attributes:
        return b""
    attributes.sort()
    parts: list[bytes] = [digest_of(attributes)]
    for name, kind, value in attributes:
        parts += (len(name).to_bytes(2, "little"), name, len(kind).to_bytes(1, "little"), kind, len(value).to_bytes(4, "little"), value)
    return b"".join(parts)
