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
from entrepot.protocols.kafka.record_scan import first_of, piece_end

Result = TypeVar("Result")

PIECE_RECORDS = 2048
PIECE_BYTES = 512 << 10  # but of one record at least

_HEADER = 61
_ATTRIBUTES_AT, _COUNT_AT = 21, 57
_COMPRESSION = 0x07


def pieces_of(data: bytes, at: int, unpacked_max_bytes: int, record_max_bytes: int) -> list[tuple[int, bytes]]:
    """How many records and what they are, for each piece of the batch at `at` of `data`, with what is before it in front; b"" for a record that is
    larger than may be. Empty: it cannot be unpacked within the bound."""
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
        found.append((count, b"" if end - position > max(PIECE_BYTES, record_max_bytes) else b"".join((head, records[position:end]))))
        position = end
        left -= count
    return found
