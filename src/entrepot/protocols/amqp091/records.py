"""Entries of AMQP 0-9-1 publishes: what the broker asks of them.

An entry holds records that were published with one exchange and routing key (docs/formats/amqp091-entry.md), all big-endian:

    u8 version (1) | u16 address size | address: exchange short string, routing key short string | records
    u8 version (2) | the same         | u32 size | hidden keys: the value of the header BCC      | records
    record: u32 properties size | u32 body size | properties (flag word and values, as published) | body

The decoder checked every property list, so what is read here parses; damage shows as IndexError. rewriting.py makes changed records.
"""

from __future__ import annotations

from typing import Any

import cython

from entrepot.broker.logs.entry_codec import DeadLetter, EntryCodec
from entrepot.model.addresses import is_wide, key_in, narrow
from entrepot.model.batch import HEADER_BYTES, ORIGIN, RecordBatch
from entrepot.model.entry import CODEC_AMQP_091
from entrepot.protocols.amqp091 import rewriting
from entrepot.protocols.amqp091.fields import TableLimits, decode_table

if not cython.compiled:
    from entrepot.broker.logs.key_hash import key_hash
    from entrepot.model.batch import sized
    from entrepot.model.octets import copy, get_u16_be, get_u32_be, resize_ba, take, take_ba
    from entrepot.protocols.amqp091.properties import expiration_ms, find_header, property_at
    from entrepot.protocols.amqp091.translation import from_batch, start_of, to_batch

ENTRY_VERSION = 1
ENTRY_VERSION_HIDING = 2

_HEADERS, _PRIORITY = 0x2000, 0x0800
_KEY = b"x-key"
_STRING = 0x53  # S
_OCTETS = 0x78  # x
_VERSION, _VERSION_HIDING = ENTRY_VERSION, ENTRY_VERSION_HIDING
_SHORT_ADDRESS = 257  # what is longer may have a key that is none here
_BATCH_HEADER, _ORIGIN = HEADER_BYTES, ORIGIN
_UNLIMITED = TableLimits(size_max_bytes=0xFFFFFFFF, nesting_max=1000, values_max=0xFFFFFFFF)

# Positions are summed from the left, where each sum is 64 bits wide: C adds two 32-bit sizes in 32 bits.


def skip(data: bytes, pos: int, count: int) -> int:
    """The position `count` records behind `pos`."""
    while count > 0:
        pos = pos + 8 + get_u32_be(data, pos) + get_u32_be(data, pos + 4)
        count -= 1
    return pos


def count_records(data: bytes, pos: int) -> int:
    """How many records lie from `pos` to the end of `data`."""
    count = 0
    while pos < len(data):
        pos = pos + 8 + get_u32_be(data, pos) + get_u32_be(data, pos + 4)
        count += 1
    if pos != len(data):
        raise IndexError(f"the last record ends at {pos} in {len(data)} bytes")
    return count


def positions(data: bytes, pos: int, count: int) -> list[int]:
    """Where each of `count` records from `pos` starts."""
    found = []
    while count > 0:
        found.append(pos)
        pos = pos + 8 + get_u32_be(data, pos) + get_u32_be(data, pos + 4)
        count -= 1
    return found


class PartitionRun:
    """Records of one partition, or level, while they are gathered: `size` octets, and the neighbours from `first` to `end` that are not copied yet."""

    __slots__ = ("buffer", "count", "end", "first", "number", "size")

    number: int
    count: int
    first: int
    end: int
    size: int
    buffer: bytearray


class PartitionRuns:
    """The records of `data` by number; neighbours of one number are copied together."""

    __slots__ = ("data", "last", "runs")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.runs: dict[int, PartitionRun] = {}
        self.last: PartitionRun | None = None

    def put(self, number: int, position: int, after: int) -> None:
        """The next record, which ends at `after`."""
        run = self.last
        if run is None or number != run.number:
            if run is not None:
                self._copy(run)
            run = self.runs.get(number)
            if run is None:
                run = PartitionRun.__new__(PartitionRun)
                run.number = number
                run.count = 0
                run.size = 0
                run.buffer = bytearray()
                self.runs[number] = run
            run.first = position
            self.last = run
        run.end = after
        run.count += 1

    def _copy(self, run: PartitionRun) -> None:
        count = run.end - run.first
        size = run.size + count
        if size > len(run.buffer):
            resize_ba(run.buffer, 2 * size)
        copy(run.buffer, run.size, self.data, run.first, count)
        run.size = size

    def taken(self, count: int) -> list[tuple[int, bytes, int]]:
        """(number, records, how many) of all `count` of them."""
        run = self.last
        if run is None or run.count == count:
            return [] if run is None else [(run.number, self.data, count)]
        self._copy(run)
        found = []
        for run in self.runs.values():
            records = take_ba(run.buffer, 0, run.size)
            found.append((run.number, records, run.count))
        return found


def header_table(data: bytes, position: int) -> bytes:
    """The record's header table as it lies, nothing where it has none."""
    if not get_u16_be(data, position + 8) & _HEADERS:
        return b""
    at = property_at(data, position + 8, _HEADERS)
    return take(data, at, 4 + get_u32_be(data, at))


def key_of(data: bytes, position: int) -> bytes | None:
    """The header x-key, a string or bytes."""
    if not get_u16_be(data, position + 8) & _HEADERS:
        return None
    at = find_header(data, property_at(data, position + 8, _HEADERS), _KEY)
    if at < 0 or (data[at + 6] != _STRING and data[at + 6] != _OCTETS):
        return None
    return take(data, at + 11, get_u32_be(data, at + 7))


class AmqpEntryCodec(EntryCodec):
    """The codec with tag CODEC_AMQP_091."""

    def __init__(self) -> None:
        self.tag = CODEC_AMQP_091
        self.version = _VERSION
        self.by_record = True

    def prefix(self, address: bytes) -> bytes:
        """What an entry for `address` (both short strings) begins with."""
        return b"\x01" + len(address).to_bytes(2, "big") + address

    def hiding_prefix(self, address: bytes, keys: bytes) -> bytes:
        """See EntryCodec."""
        return b"\x02" + len(address).to_bytes(2, "big") + address + len(keys).to_bytes(4, "big") + keys

    def start(self, data: bytes) -> int:
        """Position of the first record."""
        return start_of(data)

    def skip(self, data: bytes, position: int, count: int) -> int:
        """Position `count` records further."""
        return skip(data, position, count)

    def expired_count(self, data: bytes, position: int, count: int, age_ms: int) -> int:
        """How many of the first records carry a time to live of at most `age_ms`."""
        found = 0
        while found < count:
            ttl = expiration_ms(data, position)
            if ttl < 0 or ttl > age_ms:
                break
            position = position + 8 + get_u32_be(data, position) + get_u32_be(data, position + 4)
            found += 1
        return found

    def time_to_live_ms(self, data: bytes, position: int) -> int:
        """The record's own time to live, or -1."""
        return expiration_ms(data, position)

    def body_bytes(self, data: bytes, position: int, count: int) -> int:
        """Sum of the records' body sizes."""
        total = 0
        while count > 0:
            size = get_u32_be(data, position + 4)
            total += size
            position = position + 8 + get_u32_be(data, position) + size
            count -= 1
        return total

    def address(self, data: bytes) -> bytes:
        """Exchange and routing key short strings."""
        return take(data, 3, get_u16_be(data, 1))

    def headers(self, data: bytes, position: int) -> dict[str, Any]:
        """The record's header table as Python values (fields.py)."""
        if not get_u16_be(data, position + 8) & _HEADERS:
            return {}
        at = property_at(data, position + 8, _HEADERS)
        return decode_table(take(data, at, 4 + get_u32_be(data, at)), 0, _UNLIMITED)[0]

    def key(self, data: bytes, position: int) -> bytes | None:
        """The header x-key, a string or bytes."""
        return key_of(data, position)

    def by_partition(self, data: bytes, count: int, partitions: int, keyless: int) -> list[tuple[int, bytes, int]]:
        """See EntryCodec."""
        runs = PartitionRuns(data)
        position = 0
        left = count
        while left > 0:
            key = key_of(data, position)
            after = position + 8 + get_u32_be(data, position) + get_u32_be(data, position + 4)
            runs.put(keyless if key is None else key_hash(key) % partitions, position, after)
            position = after
            left -= 1
        return runs.taken(count)

    def by_priority(self, data: bytes, count: int, top: int) -> list[tuple[int, bytes, int]]:
        """See EntryCodec."""
        runs = PartitionRuns(data)
        position = 0
        left = count
        while left > 0:
            number = data[property_at(data, position + 8, _PRIORITY)] if get_u16_be(data, position + 8) & _PRIORITY else 0
            after = position + 8 + get_u32_be(data, position) + get_u32_be(data, position + 4)
            runs.put(min(number, top), position, after)
            position = after
            left -= 1
        return runs.taken(count)

    def header_runs(self, data: bytes, count: int) -> list[tuple[bytes, int, int, int]]:
        """See EntryCodec: equal are header tables, octet by octet."""
        runs: list[tuple[bytes, int, int, int]] = []
        table = b""
        first = 0
        position = 0
        alike = 0
        while count > 0:
            other = header_table(data, position)
            if alike and other != table:
                runs.append((table, first, position, alike))
                first = position
                alike = 0
            table = other
            alike += 1
            position = position + 8 + get_u32_be(data, position) + get_u32_be(data, position + 4)
            count -= 1
        if alike:
            runs.append((table, first, position, alike))
        return runs

    def fitting_count(self, data: bytes, position: int, count: int, body_bytes_max: int) -> int:
        """See EntryCodec."""
        found = 0
        while found < count:
            size = get_u32_be(data, position + 4)
            if size > body_bytes_max:
                break
            body_bytes_max -= size
            position = position + 8 + get_u32_be(data, position) + size
            found += 1
        return found

    def larger_count(self, data: bytes, position: int, count: int, body_bytes_max: int) -> int:
        """See EntryCodec."""
        found = 0
        while found < count:
            size = get_u32_be(data, position + 4)
            if size <= body_bytes_max:
                break
            position = position + 8 + get_u32_be(data, position) + size
            found += 1
        return found

    def group(self, data: bytes, position: int) -> bytes:
        """The header x-group-id, a string or bytes."""
        if not get_u16_be(data, position + 8) & _HEADERS:
            return b""
        at = find_header(data, property_at(data, position + 8, _HEADERS), b"x-group-id")
        if at < 0 or data[at + 11] not in b"Sx":
            return b""
        return take(data, at + 16, get_u32_be(data, at + 12))

    def further_keys(self, data: bytes, position: int) -> list[str]:
        """Routing keys of the headers CC and BCC; items that are no strings do not count."""
        if not get_u16_be(data, position + 8) & _HEADERS:
            return []
        table = property_at(data, position + 8, _HEADERS)
        keys: list[str] = []
        for name in (b"CC", b"BCC"):
            at = find_header(data, table, name)
            if at >= 0:
                keys.extend(key.decode(errors="surrogateescape") for key in rewriting.strings(data, at + 1 + len(name)))
        return keys

    def split(self, data: bytes, position: int, count: int) -> list[bytes]:
        """Each record's packed bytes."""
        records = []
        while count > 0:
            after = skip(data, position, 1)
            records.append(take(data, position, after - position))
            position = after
            count -= 1
        return records

    def without_hidden_keys(self, record: bytes) -> tuple[bytes, bytes]:
        """See EntryCodec: the header BCC, type octet and value."""
        return rewriting.without_header(record, b"BCC")

    def dead_letter(self, data: bytes, record: bytes, letter: DeadLetter) -> tuple[bytes, bytes] | None:
        """(address, packed record) to publish instead, with RabbitMQ's x-death; with the header BCC again, unless the letter has a routing key."""
        hidden = b""
        if data[0] == _VERSION_HIDING:
            at = 3 + get_u16_be(data, 1)
            hidden = take(data, at + 4, get_u32_be(data, at))
        return rewriting.dead_letter(self.address(data), record, letter, hidden)

    def moved(self, record: bytes, source: str, sent_ms: int, time_ms: int) -> bytes:
        """See EntryCodec: as a dead letter, with x-death; what is brought back keeps it."""
        name = source.encode("utf-8", "surrogateescape")
        letter = DeadLetter("", source, "delivery_limit", "", None, time_ms)
        again = rewriting.dead_letter(b"\0" + bytes((len(name),)) + name, record, letter)
        return record if again is None else again[1]

    def source_of(self, data: bytes, position: int) -> str:
        """See EntryCodec: the queue of the latest x-death."""
        deaths = self.headers(data, position).get("x-death")
        queue = deaths[0].get("queue") if isinstance(deaths, list) and deaths and isinstance(deaths[0], dict) else None
        return queue if isinstance(queue, str) else ""

    def is_cycle(self, record: bytes, queue: str) -> bool:
        """See EntryCodec: RabbitMQ leaves such a target queue out."""
        return rewriting.is_cycle(record, queue.encode(errors="surrogateescape"))

    def mark_delivery_count(self, record: bytes, count: int) -> bytes:
        """One packed record with the header x-delivery-count."""
        return rewriting.with_delivery_count(record, count)

    def to_record_batch(self, data: bytes, base_offset: int, append_time_ms: int) -> bytes | None:
        """See EntryCodec; translation.py says what becomes what."""
        return to_batch(data).data

    def from_record_batch(self, batch: bytes, base_offset: int, append_time_ms: int, address: bytes) -> bytes:
        """See EntryCodec."""
        origin = sized(batch, _BATCH_HEADER, _ORIGIN)
        if origin is not None and len(origin) > 2:
            address = take(origin, 1, len(origin) - 1)
        if len(address) > _SHORT_ADDRESS and is_wide(address):
            return rewriting.with_long_key(from_batch(RecordBatch(batch), narrow(address)), key_in(address))
        return from_batch(RecordBatch(batch), address)

    def without_value(self, data: bytes) -> tuple[bytes, int, int] | None:
        """See EntryCodec."""
        position = start_of(data)
        at = position + 8 + get_u32_be(data, position)
        size = get_u32_be(data, position + 4)
        if size != len(data) - at:
            return None  # there are more records
        return b"".join((data[: position + 4], bytes(4), data[position + 8 : at])), at, size

    def takes_value(self) -> bool:
        """See EntryCodec."""
        return True

    def with_value(self, data: bytes, source: bytes, at: int, size: int) -> bytes:
        """See EntryCodec."""
        position = start_of(data) + 4
        return b"".join((data[:position], size.to_bytes(4, "big"), data[position + 4 :], memoryview(source)[at : at + size]))
