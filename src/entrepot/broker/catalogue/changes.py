"""Changes of the catalogue: rows of its state, in the order in which everybody applies them (docs/decisions/catalogue-revisions.md).

A row says what is now under a key of kept_definitions.py, or that nothing is. What is kept is folded into shard 0; what is not lives as long as its
home, the process in which it was declared, and its rows say so. A revision is (epoch of shard 0, number within it), and grows with every change.

A change on its way to other processes is MessagePack: `[version, minimum reader version, epoch, number, [[key, fields, gone, kept], ...]]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from entrepot.model.errors import CorruptData

CHANGE_VERSION = 1
NUMBER_MAX = (1 << 63) - 1  # of an epoch, and of what counts within it

KIND_SIZE = 3  # bytes of a key that say of what kind it is


class Revision(NamedTuple):
    """Which state of the catalogue it is."""

    epoch: int
    number: int


NO_REVISION = Revision(0, 0)


class Row(NamedTuple):
    """One thing as it is now, or `gone`: then `fields` say what cannot be seen in the key. `kept`: it survives a restart.

    `fields` are a dictionary of plain values, or bytes where the kept value is no dictionary.
    """

    key: bytes
    fields: Any
    gone: bool = False
    kept: bool = True


def encode_row(row: Row) -> msgspec.Raw:
    """One row, for encode_change()."""
    return msgspec.Raw(_ENCODER.encode(row))


def encode_change(revision: Revision, rows: Sequence[Row | msgspec.Raw]) -> bytes:
    """A change, for other processes."""
    return _ENCODER.encode((CHANGE_VERSION, CHANGE_VERSION, *revision, rows))


def decode_change(data: bytes) -> tuple[Revision, list[Row]]:
    """What encode_change() was given. Raises CorruptData where it is none, or of a version this one cannot read."""
    try:
        _, reader_min, epoch, number, rows = _DECODER.decode(data)
    except (msgspec.DecodeError, ValueError, ArithmeticError, RecursionError) as error:
        raise CorruptData(f"a change of the catalogue does not decode: {error}") from None
    if reader_min > CHANGE_VERSION:
        raise CorruptData(f"a change of the catalogue needs a reader of version {reader_min}; this one is {CHANGE_VERSION}")
    if not (0 <= epoch <= NUMBER_MAX and 0 <= number <= NUMBER_MAX):
        raise CorruptData(f"a change of the catalogue is of revision ({epoch}, {number})")
    return Revision(epoch, number), rows


def difference(prefixes: tuple[bytes, ...], here: list[Row], wanted: list[Row]) -> list[Row]:
    """The change that makes of `here` what is `wanted`; rows of the kinds `prefixes` in their order, for what leads to something comes behind it."""

    def kind(row: Row) -> int:
        return prefixes.index(row.key[:KIND_SIZE])

    before = {row.key: row for row in here}
    after = {row.key: row for row in wanted}
    ends = [row._replace(gone=True) for key, row in before.items() if key not in after]
    begins = [row for key, row in after.items() if before.get(key) != row]
    return sorted(ends, key=kind, reverse=True) + sorted(begins, key=kind)


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(tuple[int, int, int, int, list[Row]])
