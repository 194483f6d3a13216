"""Rows of a queue that keeps the last value of each address (docs/formats/last-values.md). Folded state, replaced whole, in the queue's shard.

b"a:" log id (16 bytes) b"v" exchange's short string, routing key
    -> u8 format (1), u64 offset, u32 bytes of the record, u64 when it expires in ms (0: never), little-endian
b"a:" log id b"t" u64 when it expires in ms, u64 offset, big-endian
    -> the address (model/addresses.py)

and of any queue into which last values are still to be copied:

b"a:" log id b"c" exchange's short string, pattern
    -> u8 format (1), u32 the subscription's identifier, little-endian, the routing key behind which to go on
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from entrepot.broker.state import LAST_VALUE_PREFIX
from entrepot.model.errors import CorruptData

FORMAT = 1

_VALUE = struct.Struct("<BQIQ")
_COPY = struct.Struct("<BI")
_TIME = struct.Struct(">QQ")


class LastValue(NamedTuple):
    """Where the last record of an address lies, how many bytes it has, and when it expires, in ms; 0: never."""

    offset: int
    size: int
    due_ms: int


def value_prefix(log_id: bytes) -> bytes:
    """What keys of last values begin with."""
    return LAST_VALUE_PREFIX + log_id + b"v"


def time_prefix(log_id: bytes) -> bytes:
    """What keys of times begin with."""
    return LAST_VALUE_PREFIX + log_id + b"t"


def value_key(log_id: bytes, address: bytes) -> bytes:
    """Of the last value of an address (model/addresses.py)."""
    key_at = 1 + address[0]
    return b"".join((value_prefix(log_id), address[:key_at], address[key_at + 1 :]))


def time_key(log_id: bytes, due_ms: int, offset: int) -> bytes:
    """Of the time of a last value that expires."""
    return time_prefix(log_id) + _TIME.pack(due_ms, offset)


def copy_prefix(log_id: bytes) -> bytes:
    """What keys of copies begin with."""
    return LAST_VALUE_PREFIX + log_id + b"c"


def copy_key(log_id: bytes, exchange: bytes, pattern: bytes) -> bytes:
    """Of what is still to be copied into a queue of what a pattern matches."""
    return b"".join((copy_prefix(log_id), bytes((len(exchange),)), exchange, pattern))


def copy_value(identifier: int, after: bytes) -> bytes:
    """As a row has it."""
    return _COPY.pack(FORMAT, identifier) + after


def copy_of(log_id: bytes, key: bytes, row: bytes) -> tuple[bytes, bytes, int, bytes]:
    """Exchange, pattern, identifier, and behind what to go on. Raises CorruptData."""
    if len(row) < _COPY.size or row[0] != FORMAT:
        raise CorruptData(f"a copy that is under way of format {row[:1]!r} with {len(row)} bytes")
    rest = key[len(copy_prefix(log_id)) :]
    end = 1 + rest[0]
    return rest[1:end], rest[end:], _COPY.unpack_from(row)[1], row[_COPY.size :]


def encoded(value: LastValue) -> bytes:
    """As a row has it."""
    return _VALUE.pack(FORMAT, *value)


def decoded(row: bytes) -> LastValue:
    """What a row says. Raises CorruptData."""
    if len(row) != _VALUE.size or row[0] != FORMAT:
        raise CorruptData(f"a last value of format {row[:1]!r} with {len(row)} bytes")
    return LastValue(*_VALUE.unpack(row)[1:])


def time_of(log_id: bytes, key: bytes) -> tuple[int, int]:
    """What the key of a time says: when, and which offset."""
    due_ms, offset = _TIME.unpack(key[len(time_prefix(log_id)) :])
    return due_ms, offset
