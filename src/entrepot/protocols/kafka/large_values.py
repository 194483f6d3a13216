"""Large values: a batch of one record whose value is cut out, and put in again once the rest has been translated, so that it is copied once.

Pages that are touched for the first time cost more than what is written to them: of 16 MiB, 5 ms.
"""

from __future__ import annotations

import struct

from crc32c import crc32c

from entrepot.protocols.kafka.record_cursor import RecordCursor

_HEADER = 61
_SIZE_AT, _CRC_AT, _ATTRIBUTES_AT = 8, 17, 21
_BEFORE_SIZE = 12


def without_value(data: bytes, at: int, cursor: RecordCursor) -> bytes:
    """The batch at `at`, to the end of `data`, with an empty value; `cursor` is behind its only record. Its size and checksum are not made anew."""
    start = at + _HEADER
    body = _behind_varint(data, start)
    value = cursor.value_at - len(_varint(cursor.value_size))
    record = data[body:value] + b"\0" + data[cursor.value_at + cursor.value_size :]
    return b"".join((data[:start], _varint(len(record)), record))


def with_value(data: bytes, cursor: RecordCursor, source: bytes, at: int, size: int) -> bytes:
    """A batch of one record with an empty value, `cursor` behind it, with source[at:at+size] as its value."""
    head, tail = data[_behind_varint(data, _HEADER) : cursor.value_at - 1] + _varint(size), data[cursor.value_at :]
    head = _varint(len(head) + size + len(tail)) + head
    value = memoryview(source)[at : at + size]
    front = bytearray(data[:_HEADER])
    struct.pack_into(">i", front, _SIZE_AT, _HEADER + len(head) + size + len(tail) - _BEFORE_SIZE)
    checked = crc32c(tail, crc32c(value, crc32c(head, crc32c(bytes(front[_ATTRIBUTES_AT:])))))
    struct.pack_into(">I", front, _CRC_AT, checked)
    return b"".join((front, head, value, tail))


def _behind_varint(data: bytes, at: int) -> int:
    while data[at] >= 0x80:
        at += 1
    return at + 1


def _varint(value: int) -> bytes:
    """Zigzag, of a number that is not negative."""
    rest = 2 * value
    out = bytearray()
    while rest >= 0x80:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)
