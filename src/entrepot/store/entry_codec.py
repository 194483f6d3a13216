"""The encoded entry: the bytes of one entry in journal, segments and spill files alike, so that sorting copies them as they lie.

Little-endian, self-contained; base offsets are not part of it (they differ per log):
    0 size u32 of all of it | 4 CRC-32C of bytes 8..size | 8 header size u8, codec u8, codec version u8, presence u8 | 12 flags u16, u16 0
    16 count u32 | 20 append time i64, ms | then, as presence says: epoch u32 (1), span u32 (2), greatest time i64 (4),
    producer (8: id i64, epoch i32, first sequence i64), transaction i64 (16) | then the data, from header size on
"""

from __future__ import annotations

import cython
from crc32c import crc32c

from entrepot.model.entry import Entry
from entrepot.model.errors import CorruptData

if not cython.compiled:
    from entrepot.model.entry import restore_entry
    from entrepot.model.octets import get_u16_le, get_u32_le, get_u64_le, put_u16_le, put_u32_le, put_u64_le, take, take_ba

ENTRY_HEADER_MIN = 28
ENTRY_SIZE_MAX = 1 << 30  # bytes of data
_HEADER_MIN = ENTRY_HEADER_MIN
_SIZE_MAX = ENTRY_SIZE_MAX
_HEADER_MAX = 255  # its size is one octet
_LARGE = 4096
_ALL = 0xFFFFFFFFFFFFFFFF
_HAS_EPOCH = 1
_HAS_SPAN = 2
_HAS_MAX_TIME = 4
_HAS_PRODUCER = 8
_HAS_TRANSACTION = 16


def encode_header(entry: Entry) -> bytes:
    """What stands before a sealed entry's data, checksum of both included; [header, entry.data] is the encoded entry."""
    data = entry.data
    assert data is not None
    presence = 0
    size = _HEADER_MIN
    if entry.epoch != 0:
        presence |= _HAS_EPOCH
        size += 4
    if entry.span != entry.count:
        presence |= _HAS_SPAN
        size += 4
    if entry.max_time_ms != 0:
        presence |= _HAS_MAX_TIME
        size += 8
    if entry.producer_id != -1:
        presence |= _HAS_PRODUCER
        size += 20
    if entry.transaction_id != -1:
        presence |= _HAS_TRANSACTION
        size += 8
    length = len(data)
    if length > _SIZE_MAX:
        raise ValueError(f"an entry of {length} bytes; the format's limit is {_SIZE_MAX}")
    head = bytearray(size)
    put_u32_le(head, 0, size + length)
    head[8] = size
    head[9] = entry.codec
    head[10] = entry.codec_version
    head[11] = presence
    put_u16_le(head, 12, entry.flags)
    put_u32_le(head, 16, entry.count)
    put_u64_le(head, 20, entry.append_time_ms & _ALL)
    p = _HEADER_MIN
    if presence & _HAS_EPOCH:
        put_u32_le(head, p, entry.epoch)
        p += 4
    if presence & _HAS_SPAN:
        put_u32_le(head, p, entry.span)
        p += 4
    if presence & _HAS_MAX_TIME:
        put_u64_le(head, p, entry.max_time_ms & _ALL)
        p += 8
    if presence & _HAS_PRODUCER:
        put_u64_le(head, p, entry.producer_id & _ALL)
        put_u32_le(head, p + 8, entry.producer_epoch & 0xFFFFFFFF)
        put_u64_le(head, p + 12, entry.first_sequence & _ALL)
        p += 20
    if presence & _HAS_TRANSACTION:
        put_u64_le(head, p, entry.transaction_id & _ALL)
    put_u32_le(head, 4, crc32c(data, crc32c(take_ba(head, 8, size - 8))))
    return take_ba(head, 0, size)


def entry_size(data: bytes, pos: int, end: int) -> int:
    """The size of the whole encoded entry at `pos`. CorruptData unless it lies before `end`."""
    left = end - pos
    if left < _HEADER_MIN:
        raise CorruptData(f"an entry is cut short: {left} bytes")
    size = get_u32_le(data, pos)
    if size > left or size < _HEADER_MIN:
        raise CorruptData(f"an entry says it has {size} bytes, {left} are there")
    return size


def appended_time(data: bytes, pos: int) -> int:
    """When the encoded entry at `pos`, which is whole, was appended."""
    return _signed(get_u64_le(data, pos + 20))


def decode_entry(data: bytes, pos: int, end: int) -> Entry:
    """The encoded entry at `pos`, its checksum verified. CorruptData if it does not hold or does not lie before `end`; the caller adds file and position."""
    size = entry_size(data, pos, end)
    if size > _LARGE:  # looked at where it lies, and copied once
        if crc32c(memoryview(data)[pos + 8 : pos + size]) != get_u32_le(data, pos + 4):
            raise CorruptData("an entry's checksum does not hold")
        body = take(data, pos + 8, _HEADER_MAX - 8)
    else:
        body = take(data, pos + 8, size - 8)
        if crc32c(body) != get_u32_le(data, pos + 4):
            raise CorruptData("an entry's checksum does not hold")
    header_size = body[0]
    _check_header(body, size)
    return _restored(body, take(data, pos + header_size, size - header_size))


def decode_apart(head: bytes, data: bytes) -> Entry:
    """The encoded entry of which `head` is the beginning and `data` the rest, checksum verified. Where `head` is its header, and no more, `data` is not
    copied. CorruptData if it does not hold."""
    whole = len(head) + len(data)
    is_header = len(head) >= _HEADER_MIN and head[8] == len(head)
    joined = head if is_header else head + data
    if entry_size(joined, 0, whole) != whole:
        raise CorruptData(f"an entry says it has {get_u32_le(joined, 0)} bytes, {whole} are there")
    if not is_header:
        return decode_entry(joined, 0, whole)
    body = take(head, 8, len(head) - 8)
    if crc32c(data, crc32c(body)) != get_u32_le(head, 4):
        raise CorruptData("an entry's checksum does not hold")
    _check_header(body, whole)
    return _restored(body, data)


def _check_header(body: bytes, size: int) -> int:
    """That a header, from its octet 8 on, is as long as its fields need."""
    header_size = body[0]
    presence = body[3]
    expected = _HEADER_MIN
    if presence & _HAS_EPOCH:
        expected += 4
    if presence & _HAS_SPAN:
        expected += 4
    if presence & _HAS_MAX_TIME:
        expected += 8
    if presence & _HAS_PRODUCER:
        expected += 20
    if presence & _HAS_TRANSACTION:
        expected += 8
    if header_size < expected or header_size > size:
        raise CorruptData(f"an entry's header says {header_size} bytes, its fields need {expected}")
    return 0


def _restored(body: bytes, data: bytes) -> Entry:
    """The entry of a header, from its octet 8 on, and its data."""
    presence = body[3]
    count = get_u32_le(body, 8)
    span = count
    epoch = 0
    p = _HEADER_MIN - 8
    if presence & _HAS_EPOCH:
        epoch = get_u32_le(body, p)
        p += 4
    if presence & _HAS_SPAN:
        span = get_u32_le(body, p)
        p += 4
    entry = restore_entry(body[1], body[2], get_u16_le(body, 4), count, span, data)
    entry.epoch = epoch
    entry.append_time_ms = _signed(get_u64_le(body, 12))
    if presence & _HAS_MAX_TIME:
        entry.max_time_ms = _signed(get_u64_le(body, p))
        p += 8
    if presence & _HAS_PRODUCER:
        entry.producer_id = _signed(get_u64_le(body, p))
        entry.producer_epoch = _signed32(get_u32_le(body, p + 8))
        entry.first_sequence = _signed(get_u64_le(body, p + 12))
        p += 20
    if presence & _HAS_TRANSACTION:
        entry.transaction_id = _signed(get_u64_le(body, p))
    return entry


def entry_span(data: bytes, pos: int) -> int:
    """The span of the encoded entry at `pos`, which the caller has checked to lie within a verified commit."""
    presence = data[pos + 11]
    if presence & _HAS_SPAN:
        return get_u32_le(data, pos + _HEADER_MIN + (4 if presence & _HAS_EPOCH else 0))
    return get_u32_le(data, pos + 16)


def entry_time(data: bytes, pos: int) -> int:
    """The time `find` goes by, of the encoded entry at `pos`: its greatest record time, or else its append time."""
    presence = data[pos + 11]
    p = pos + 20
    if presence & _HAS_MAX_TIME:
        p = pos + _HEADER_MIN
        if presence & _HAS_EPOCH:
            p += 4
        if presence & _HAS_SPAN:
            p += 4
    return _signed(get_u64_le(data, p))


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _signed32(value: int) -> int:
    return value - (1 << 32) if value >> 31 else value
