"""The payload of a transaction marker: a control entry of one record that ends a transaction in one log.

    0 version u8 | 1 minimum reader version u8 | 2 outcome u8: 0 abort, 1 commit | 3 u8 0 | 4 coordinator epoch u32, little-endian

Whose end it is stands in the entry's own header: transaction id, and the producer's id and epoch. docs/formats/transaction-marker.md.
"""

from __future__ import annotations

import struct

from entrepot.model.entry import CODEC_MARKER, CONTROL, TRANSACTIONAL, Entry, make_entry
from entrepot.model.errors import CorruptData

MARKER_VERSION = 1
_MARKER = struct.Struct("<BBBxI")


def make_marker(transaction_id: int, committed: bool, producer_id: int, producer_epoch: int, coordinator_epoch: int) -> Entry:
    """The control entry that ends the transaction in whatever log it is appended to."""
    data = _MARKER.pack(MARKER_VERSION, MARKER_VERSION, committed, coordinator_epoch)
    entry = make_entry(CODEC_MARKER, MARKER_VERSION, CONTROL | TRANSACTIONAL, b"", data, 1)
    entry.transaction_id = transaction_id
    entry.producer_id = producer_id
    entry.producer_epoch = producer_epoch
    return entry


def read_marker(entry: Entry) -> tuple[bool, int]:
    """(committed, coordinator epoch) of a marker. CorruptData if it is none that this version reads."""
    data = entry.data
    if entry.codec != CODEC_MARKER or data is None or len(data) < _MARKER.size:
        raise CorruptData(f"a control entry with codec {entry.codec} and {len(data or b'')} bytes is no transaction marker")
    version, minimum, outcome, coordinator_epoch = _MARKER.unpack_from(data)
    if minimum > MARKER_VERSION or outcome > 1:
        raise CorruptData(f"a transaction marker of version {version} (readers from {minimum} on) says outcome {outcome}; this version reads {MARKER_VERSION}")
    return outcome == 1, coordinator_epoch
