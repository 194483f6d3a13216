"""Record batches of version 2 as a client packs and reads them: values without keys and headers, not compressed by the client.

Written against Kafka's documentation and nothing of the broker's, so that both being wrong alike is unlikely.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import NamedTuple

from crc32c import crc32c

_HEAD = struct.Struct(">qiibI")  # base offset, size of what follows it, leader epoch, magic, checksum of what follows
_BODY = struct.Struct(">hiqqqhii")  # attributes, last offset delta, base and greatest timestamp, producer id, epoch and first sequence, count
_GZIP = 1
_RECORDS = _HEAD.size + _BODY.size


class Unexpected(AssertionError):
    """The broker sent what it must not."""


class FetchedBatch(NamedTuple):
    """A batch that was read."""

    base: int
    values: list[bytes]


def pack_batch(
    values: list[bytes],
    time_ms: int,
    producer_id: int = -1,
    epoch: int = -1,
    sequence: int = -1,
    header_of: Callable[[bytes], tuple[bytes, bytes]] | None = None,
) -> bytes:
    """One batch. `header_of`: the header that a record of this value has."""
    records = bytearray()
    for delta, value in enumerate(values):
        record = b"\0" + _varint(0) + _varint(delta) + _varint(-1) + _varint(len(value)) + value
        if header_of is None:
            record += _varint(0)
        else:
            record += _varint(1) + b"".join(_varint(len(part)) + part for part in header_of(value))
        records += _varint(len(record)) + record
    last = len(values) - 1
    body = _BODY.pack(0, last, time_ms, time_ms, producer_id, epoch, sequence, len(values)) + records
    return _HEAD.pack(0, len(body) + _HEAD.size - 12, -1, 2, crc32c(body)) + body


def unpack_batches(data: bytes) -> list[FetchedBatch]:
    """The batches of a Fetch's answer. Raises Unexpected for one that is not whole, or damaged."""
    batches = []
    position = 0
    while position < len(data):
        base, size, _, magic, checksum = _HEAD.unpack_from(data, position)
        end = position + 12 + size
        if end > len(data) or magic != 2:
            raise Unexpected(f"a batch of magic {magic} and {size} bytes at {position} of {len(data)}")
        if crc32c(data[position + _HEAD.size : end]) != checksum:
            raise Unexpected(f"the batch at offset {base} has a wrong checksum")
        attributes, last, *_, count = _BODY.unpack_from(data, position + _HEAD.size)
        records = data[position + _RECORDS : end]
        if attributes & 7 == _GZIP:
            records = zlib.decompress(records, 31)
        elif attributes & 7:
            raise Unexpected(f"the batch at offset {base} is compressed as {attributes & 7}, which nobody asked for")
        values = _values(records)
        if not len(values) == count == last + 1:
            raise Unexpected(f"the batch at offset {base} says {count} records, the last {last}; it has {len(values)}")
        batches.append(FetchedBatch(base, values))
        position = end
    return batches


def _values(records: bytes) -> list[bytes]:
    values = []
    at = 0
    while at < len(records):
        size, at = _read_varint(records, at)
        end = at + size
        at += 1
        _, at = _read_varint(records, at)  # time
        _, at = _read_varint(records, at)  # offset
        key_size, at = _read_varint(records, at)
        value_size, at = _read_varint(records, at + max(0, key_size))
        values.append(records[at : at + value_size])
        at = end
    return values


def _varint(number: int) -> bytes:
    rest = number << 1 if number >= 0 else (-number << 1) - 1
    octets = bytearray()
    while rest > 127:
        octets.append(rest & 127 | 128)
        rest >>= 7
    octets.append(rest)
    return bytes(octets)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    rest = shift = 0
    while True:
        octet = data[at]
        at += 1
        rest |= (octet & 127) << shift
        shift += 7
        if octet < 128:
            return (rest >> 1) ^ -(rest & 1), at
