"""Entries of STOMP's SENDs: what the broker asks of them (docs/formats/stomp-entry.md).

An entry holds records that were published with one exchange and routing key, all big-endian:

    u8 version (1) | u16 address size | address: exchange short string, routing key short string | records
    record: u32 headers size | u32 body size | u8 bits | u64 time to live in ms, where the bits say so | headers (a canonical block, headers.py) | body

Of a SEND's headers those that are about the frame alone are not kept: receipt, transaction, content-length (a bit says whether there was one), and what only
a MESSAGE has. The decoder made every block, so what is read here parses; damage shows as IndexError. rewriting.py makes changed records.
"""

from __future__ import annotations

from typing import Any

import cython

from entrepot.broker.logs.entry_codec import DeadLetter, EntryCodec
from entrepot.model.batch import HEADER_BYTES, ORIGIN, RecordBatch
from entrepot.model.entry import CODEC_STOMP
from entrepot.protocols.stomp import headers, rewriting
from entrepot.protocols.stomp.events import HAS_TTL
from entrepot.protocols.stomp.translation import from_batch, key_in, to_batch

if not cython.compiled:
    from entrepot.model.batch import sized
    from entrepot.model.octets import get_u16_be, get_u32_be, get_u64_be, take

ENTRY_VERSION = 1
TTL_MAX_MS = 1 << 60

_TAG, _VERSION = CODEC_STOMP, ENTRY_VERSION
_HAS_TTL = HAS_TTL
_BATCH_HEADER = HEADER_BYTES
_ORIGIN = ORIGIN


def after(data: bytes, pos: int) -> int:
    """The position behind the record at `pos`."""
    end = pos + 9 + get_u32_be(data, pos) + get_u32_be(data, pos + 4)
    if data[pos + 8] & _HAS_TTL:
        end += 8
    if end > len(data):
        raise IndexError(f"a record ends at {end} in {len(data)} bytes")
    return end


def block_at(data: bytes, pos: int) -> bytes:
    """The header block of the record at `pos`."""
    return take(data, pos + 9 + (8 if data[pos + 8] & _HAS_TTL else 0), get_u32_be(data, pos))


def ttl_at(data: bytes, pos: int) -> int:
    """Its time to live in milliseconds, -1 for none."""
    if not data[pos + 8] & _HAS_TTL:
        return -1
    ttl = get_u64_be(data, pos + 9)
    return min(ttl, TTL_MAX_MS)


def priority_in(block: bytes) -> int:
    """The header priority, 0 to 255 in digits; 0 where it says nothing of that kind."""
    at = 0 if block.startswith(b"priority:") else block.find(b"\npriority:") + 1
    if at == 0 and not block.startswith(b"priority:"):
        return 0
    digits = block[at + 9 : block.index(b"\n", at)]
    number = int(digits) if digits.isdigit() and len(digits) <= 18 else 256
    return number if number < 256 else 0


class StompEntryCodec(EntryCodec):
    """The codec with tag CODEC_STOMP."""

    __slots__ = ()

    def __init__(self) -> None:
        self.tag = _TAG
        self.version = _VERSION
        self.by_record = True

    def prefix(self, address: bytes) -> bytes:
        """What an entry for `address` (both short strings) begins with."""
        return b"\x01" + len(address).to_bytes(2, "big") + address

    def start(self, data: bytes) -> int:
        """Position of the first record."""
        return 3 + get_u16_be(data, 1)

    def skip(self, data: bytes, position: int, count: int) -> int:
        """Position `count` records further."""
        while count > 0:
            position = after(data, position)
            count -= 1
        return position

    def expired_count(self, data: bytes, position: int, count: int, age_ms: int) -> int:
        """How many of the first records carry a time to live of at most `age_ms`."""
        found = 0
        while found < count:
            ttl = ttl_at(data, position)
            if ttl < 0 or ttl > age_ms:
                break
            position = after(data, position)
            found += 1
        return found

    def time_to_live_ms(self, data: bytes, position: int) -> int:
        """The record's own time to live, or -1."""
        return ttl_at(data, position)

    def body_bytes(self, data: bytes, position: int, count: int) -> int:
        """Sum of the records' body sizes."""
        total = 0
        while count > 0:
            total = total + get_u32_be(data, position + 4)
            position = after(data, position)
            count -= 1
        return total

    def address(self, data: bytes) -> bytes:
        """Exchange and routing key short strings."""
        return take(data, 3, get_u16_be(data, 1))

    def headers(self, data: bytes, position: int) -> dict[str, Any]:
        """One record's headers, all of them texts; of repeated ones the first."""
        found: dict[str, Any] = {}
        for name, value in headers.entries(block_at(data, position)):
            found.setdefault(name.decode(errors="surrogateescape"), value.decode(errors="surrogateescape"))
        return found

    def key(self, data: bytes, position: int) -> bytes | None:
        """The header x-key."""
        return key_in(block_at(data, position))

    def further_keys(self, data: bytes, position: int) -> list[str]:
        """None: STOMP's headers are texts, not lists."""
        return []

    def split(self, data: bytes, position: int, count: int) -> list[bytes]:
        """Each record's packed bytes."""
        records = []
        while count > 0:
            end = after(data, position)
            records.append(take(data, position, end - position))
            position = end
            count -= 1
        return records

    def priority(self, data: bytes, position: int) -> int:
        """See EntryCodec: the header priority."""
        return priority_in(block_at(data, position))

    def fitting_count(self, data: bytes, position: int, count: int, body_bytes_max: int) -> int:
        """See EntryCodec."""
        found = 0
        while found < count:
            size = get_u32_be(data, position + 4)
            if size > body_bytes_max:
                break
            body_bytes_max = body_bytes_max - size
            position = after(data, position)
            found += 1
        return found

    def larger_count(self, data: bytes, position: int, count: int, body_bytes_max: int) -> int:
        """See EntryCodec."""
        found = 0
        while found < count:
            size = get_u32_be(data, position + 4)
            if size <= body_bytes_max:
                break
            position = after(data, position)
            found += 1
        return found

    def without_hidden_keys(self, record: bytes) -> tuple[bytes, bytes]:
        """Nothing is hidden."""
        return record, b""

    def dead_letter(self, data: bytes, record: bytes, letter: DeadLetter) -> tuple[bytes, bytes] | None:
        """(address, packed record) to publish instead, with x-death as RabbitMQ's clients know it, in JSON."""
        return rewriting.dead_letter(self.address(data), record, letter)

    def is_cycle(self, record: bytes, queue: str) -> bool:
        """See EntryCodec."""
        return rewriting.is_cycle(record, queue)

    def mark_delivery_count(self, record: bytes, count: int) -> bytes:
        """One packed record with the header x-delivery-count."""
        return rewriting.with_headers(record, [(b"x-delivery-count", str(count).encode())])

    def group(self, data: bytes, position: int) -> bytes:
        """The header JMSXGroupID, or x-group-id."""
        found = dict(reversed(headers.entries(block_at(data, position))))
        return found.get(b"JMSXGroupID") or found.get(b"x-group-id") or b""

    def moved(self, record: bytes, source: str, sent_ms: int, time_ms: int) -> bytes:
        """See EntryCodec: as a dead letter; what is brought back keeps it."""
        name = source.encode("utf-8", "surrogateescape")
        again = rewriting.dead_letter(b"\0" + bytes((len(name),)) + name, record, DeadLetter("", source, "delivery_limit", "", None, time_ms))
        return record if again is None else again[1]

    def source_of(self, data: bytes, position: int) -> str:
        """See EntryCodec: the queue of the latest death."""
        return rewriting.source_of(block_at(data, position))

    def to_record_batch(self, data: bytes, base_offset: int, append_time_ms: int) -> bytes | None:
        """See EntryCodec; translation.py says what becomes what."""
        return to_batch(data)

    def from_record_batch(self, batch: bytes, base_offset: int, append_time_ms: int, address: bytes) -> bytes:
        """See EntryCodec."""
        origin = sized(batch, _BATCH_HEADER, _ORIGIN)
        if origin is not None and len(origin) > 2:
            address = take(origin, 1, len(origin) - 1)
        return from_batch(RecordBatch(batch), append_time_ms, address)

    def without_value(self, data: bytes) -> tuple[bytes, int, int] | None:
        """See EntryCodec."""
        position = 3 + get_u16_be(data, 1)
        size = get_u32_be(data, position + 4)
        if after(data, position) != len(data):
            return None  # there are more records
        at = len(data) - size
        return b"".join((data[: position + 4], bytes(4), data[position + 8 : at])), at, size

    def takes_value(self) -> bool:
        """See EntryCodec."""
        return True

    def with_value(self, data: bytes, source: bytes, at: int, size: int) -> bytes:
        """See EntryCodec."""
        position = 3 + get_u16_be(data, 1) + 4
        return b"".join((data[:position], size.to_bytes(4, "big"), data[position + 4 :], memoryview(source)[at : at + size]))
