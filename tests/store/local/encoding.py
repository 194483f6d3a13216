"""Entries and their encoded bytes, for tests of what stores them."""

from __future__ import annotations

from entrepot.model.entry import CODEC_AMQP_091, Entry, make_entry
from entrepot.store.entry_codec import encode_header


def entry_of(body: bytes, *, count: int = 1, append_time_ms: int = 1, max_time_ms: int = 0) -> Entry:
    entry = make_entry(CODEC_AMQP_091, 1, 0, b"", body, count)
    entry.append_time_ms = append_time_ms
    entry.max_time_ms = max_time_ms
    entry.seal()
    return entry


def encode(entry: Entry) -> bytes:
    assert entry.data is not None
    return encode_header(entry) + entry.data
