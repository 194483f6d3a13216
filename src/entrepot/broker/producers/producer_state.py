"""What is kept of a producer: the key, value and delta of its state, and how they fold (docs/formats/producers.md).

key     b"p:" log id (16 bytes) producer id (u64, big-endian, two's complement)
value   format (u8, 1 or 2), then, little-endian: producer epoch i32, time of the last batch in ms since 1970 i64,
        then of the last batches, oldest first: (first sequence i64, base offset u64, count u32)*, at most BATCHES_MAX;
        in format 2 each with the time i64 that its records got at the append, ms since 1970, -1 if they kept their own
delta   the new value; nothing at all: forgotten
"""

from __future__ import annotations

import enum
import struct
from typing import NamedTuple

from entrepot.model.errors import CorruptData

PRODUCER_PREFIX = b"p:"
BATCHES_MAX = 5  # remembered of one producer: as many as a Kafka producer has in flight
HEAD_SIZE = 13  # bytes of a value before its batches
BATCH_SIZE = 20  # bytes
TIMED_BATCH_SIZE = 28
FORMAT = 1
TIMED_FORMAT = 2  # written where it is needed alone: a quarter more

_BATCH = struct.Struct("<qQI")
_TIMED_BATCH = struct.Struct("<qQIq")
_BATCH_SIZES = {FORMAT: BATCH_SIZE, TIMED_FORMAT: TIMED_BATCH_SIZE}


class Verdict(enum.IntEnum):
    """What a batch is."""

    OK = 0  # the next one
    DUPLICATE = 1  # appended before
    GAP = 2  # not the next one
    FENCED = 3  # of an epoch that is over
    FULL = 4  # of a producer that there is no room to remember


class Batch(NamedTuple):
    """One that was appended: `span` records, offsets `base` onwards; `time_ms` is the time they got at the append, -1: they kept their own."""

    first_sequence: int
    base: int
    span: int
    time_ms: int = -1


def unpack_batches(packed: bytes | bytearray, timed: bool) -> list[Batch]:
    """The batches of a value, behind its head."""
    return [Batch(*row) for row in (_TIMED_BATCH if timed else _BATCH).iter_unpack(packed)]


def fold_producer(key: bytes, value: bytes | None, delta: bytes) -> bytes | None:  # noqa: ARG001 - the shape of every fold
    """The fold of every key that starts with PRODUCER_PREFIX. CorruptData for what no version wrote."""
    if delta == b"":
        return None
    check_producer(key, delta)
    return delta


def check_producer(key: bytes, value: bytes) -> None:
    """CorruptData unless `value` is of a format that this version reads."""
    size = _BATCH_SIZES.get(value[0]) if value else None
    if size is None or not HEAD_SIZE <= len(value) <= HEAD_SIZE + BATCHES_MAX * size or (len(value) - HEAD_SIZE) % size:
        raise CorruptData(f"producer state {key!r} has format {value[:1]!r} and {len(value)} bytes, expected 1 or 2 and at most {BATCHES_MAX} batches")
