"""A long batch as several short ones without compression, for readers of other protocols: on a thread, mostly without the GIL.

They are for translation alone: their checksums are not made anew, and their records keep the offset deltas that they had.
"""

from __future__ import annotations

import mmap
import zlib
from collections.abc import Callable
from typing import TypeVar

import cramjam

from entrepot.protocols.kafka.batch_errors import CORRUPT_MESSAGE, InvalidBatch
from entrepot.protocols.kafka.checking import unpack_into
from entrepot.protocols.kafka.compression import NAMES
from entrepot.protocols.kafka.record_scan import first_of, piece_end, piece_of

Result = TypeVar("Result")

PIECE_RECORDS = 2048
PIECE_BYTES = 512 << 10  # but of one record at least
BESIDE_VALUE_MAX_BYTES = 1 << 20  # of a record's key and headers: others look into them in the loop

_HEADER = 61
_ATTRIBUTES_AT, _COUNT_AT = 21, 57
_COMPRESSION = 0x07


def pieces_of(data: bytes, at: int, unpacked_max_bytes: int, record_max_bytes: int) -> list[tuple[int, bytes]]:
    """How many records and what they are, for each piece of the batch at `at` of `data`, with what is before it in front; b"" for a record that is
    larger than may be, or whose key and headers are. Empty: it cannot be unpacked within the bound."""
    front = data[: at + _HEADER]
    try:
        return _with_records(data, at, unpacked_max_bytes, lambda records: _divided(front, at, records, record_max_bytes))
    except InvalidBatch:
        return []


def first_at(data: bytes, at: int, unpacked_max_bytes: int, delta: int) -> tuple[int, int]:
    """Offset delta and time delta of the first record of the batch at `at` of `data` whose time delta is `delta` or more; (-1, 0): there is none.
    Raises InvalidBatch."""
    count = int.from_bytes(data[at + _COUNT_AT : at + _COUNT_AT + 4], "big")
    return _with_records(data, at, unpacked_max_bytes, lambda records: first_of(records, 0, count, delta))


def _with_records(data: bytes, at: int, unpacked_max_bytes: int, work: Callable[[memoryview], Result]) -> Result:
    """What work() makes of the records of the batch at `at`, unpacked. Raises InvalidBatch."""
    compression = data[at + _ATTRIBUTES_AT + 1] & _COMPRESSION
    packed = memoryview(data)[at + _HEADER :]
    if not compression:
        return work(packed)
    with mmap.mmap(-1, unpacked_max_bytes) as room:  # no memory until it is written to
        whole = memoryview(room)
        try:
            with whole[: unpack_into(compression, packed, whole)] as records:
                return work(records)
        except (cramjam.DecompressionError, zlib.error) as error:
            raise InvalidBatch(CORRUPT_MESSAGE, f"a batch's {NAMES[compression]} is damaged: {error}") from None
        finally:
            whole.release()


def _divided(front: bytes, at: int, records: memoryview, record_max_bytes: int) -> list[tuple[int, bytes]]:
    left = int.from_bytes(front[at + _COUNT_AT : at + _COUNT_AT + 4], "big")
    head = bytearray(front)
    head[at + _ATTRIBUTES_AT + 1] &= ~_COMPRESSION & 0xFF
    found: list[tuple[int, bytes]] = []
    position = 0
    while left > 0:
        count, end = piece_end(records, position, min(left, PIECE_RECORDS), PIECE_BYTES)
        if count == 0:
            return []
        head[at + _COUNT_AT : at + _COUNT_AT + 4] = count.to_bytes(4, "big")
        size = end - position
        is_too_large = size > max(PIECE_BYTES, record_max_bytes) or (
            size > BESIDE_VALUE_MAX_BYTES and size - _value_bytes(records, position) > BESIDE_VALUE_MAX_BYTES
        )
        found.append((count, b"" if is_too_large else piece_of(bytes(head), records, position, end)))
        position = end
        left -= count
    return found


def _value_bytes(records: memoryview, at: int) -> int:
    """Of the record at `at`, which is well formed."""
    at = _number(records, at)[1] + 1  # its size; attributes
    for _ in range(2):
        at = _number(records, at)[1]  # its time and offset
    size, at = _number(records, at)
    return max(_number(records, at + max(size, 0))[0], 0)  # behind the key


def _number(records: memoryview, at: int) -> tuple[int, int]:
    """A zigzag varint, and where it ends."""
    raw = shift = 0
    while True:
        octet = records[at]
        at += 1
        raw |= (octet & 0x7F) << shift
        if octet < 0x80:
            return (raw >> 1) ^ -(raw & 1), at
        shift += 7
