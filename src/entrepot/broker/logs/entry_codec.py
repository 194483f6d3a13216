"""What the broker asks of a payload: answered by the codec registered for the entry's tag. The broker itself knows no wire format.

Positions are byte positions in an entry's data; each codec's entry begins with a prefix of its own, then its records one behind
the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cython

from entrepot.model.batch import HEADER_BYTES, PRIORITY

if not cython.compiled:
    from entrepot.broker.logs.key_hash import key_hash
    from entrepot.model.batch import field_at


@dataclass(slots=True)
class DeadLetter:
    """Where and why records are dead-lettered; `routing_key` None keeps each record's own."""

    namespace: str
    queue: str
    reason: str  # "rejected", "expired", "maxlen" or "delivery_limit"
    exchange: str
    routing_key: str | None
    time_ms: int


class EntryCodec:
    """Base of the codecs. The hot methods are compiled calls; all are total over data that the codec itself accepted."""

    __slots__ = ("by_record", "tag", "version")

    tag: int
    version: int
    by_record: bool
    """Records of an entry can be taken apart, and stand alone: without that, what concerns single records is done in a translation of the entry, and split,
    body_bytes, headers and what rewrites records are not asked."""

    def prefix(self, address: bytes) -> bytes:
        """What an entry for `address` begins with."""
        raise NotImplementedError

    def start(self, data: bytes) -> int:
        """Position of the first record."""
        raise NotImplementedError

    def skip(self, data: bytes, position: int, count: int) -> int:
        """Position `count` records further."""
        raise NotImplementedError

    def expired_count(self, data: bytes, position: int, count: int, age_ms: int) -> int:
        """How many of the first records (without a gap) carry a time to live of at most `age_ms` milliseconds."""
        raise NotImplementedError

    def time_to_live_ms(self, data: bytes, position: int) -> int:
        """The record's own time to live, or -1."""
        raise NotImplementedError

    def body_bytes(self, data: bytes, position: int, count: int) -> int:
        """Sum of the records' body sizes."""
        raise NotImplementedError

    def address(self, data: bytes) -> bytes:
        """The address that the entry was published to."""
        raise NotImplementedError

    def headers(self, data: bytes, position: int) -> dict[str, Any]:
        """One record's headers: rare paths only."""
        raise NotImplementedError

    def key(self, data: bytes, position: int) -> bytes | None:
        """One record's key, which decides its partition; None: any."""
        return None

    def further_keys(self, data: bytes, position: int) -> list[str]:
        """Further routing keys that one record names (CC, BCC); rare paths only."""
        raise NotImplementedError

    def split(self, data: bytes, position: int, count: int) -> list[bytes]:
        """Each record's packed bytes."""
        raise NotImplementedError

    def by_partition(self, data: bytes, count: int, partitions: int, keyless: int) -> list[tuple[int, bytes, int]]:
        """`count` packed records as they go to `partitions` partitions by their keys, those without one to `keyless`: (partition, records, how many)."""
        runs: dict[int, list[bytes]] = {}
        for record in self.split(data, 0, count):
            key = self.key(record, 0)
            runs.setdefault(keyless if key is None else key_hash(key) % partitions, []).append(record)
        return [(number, b"".join(records), len(records)) for number, records in runs.items()]

    def priority(self, data: bytes, position: int) -> int:
        """One record's priority, 0 to 255; 0 where it says none."""
        record = self.split(data, position, 1)[0]
        batch = self.to_record_batch(self.prefix(b"\0\0") + record, 0, 0)
        at = -1 if batch is None else field_at(batch, HEADER_BYTES, PRIORITY)
        return 0 if batch is None or at < 0 else batch[at]

    def by_priority(self, data: bytes, count: int, top: int) -> list[tuple[int, bytes, int]]:
        """`count` packed records by their priorities, where what is above `top` counts as that: (priority, records, how many)."""
        runs: dict[int, list[bytes]] = {}
        for record in self.split(data, 0, count):
            runs.setdefault(min(self.priority(record, 0), top), []).append(record)
        return [(number, b"".join(records), len(records)) for number, records in runs.items()]

    def header_runs(self, data: bytes, count: int) -> list[tuple[bytes, int, int, int]]:
        """`count` packed records as runs of neighbours with equal headers: (something that is equal where they are, position, end, how many)."""
        runs = []
        position = 0
        for record in self.split(data, 0, count):
            runs.append((record, position, position + len(record), 1))
            position += len(record)
        return runs

    def fitting_count(self, data: bytes, position: int, count: int, body_bytes_max: int) -> int:
        """How many of the first records have bodies of at most `body_bytes_max` in all."""
        found = 0
        while found < count and self.body_bytes(data, position, found + 1) <= body_bytes_max:
            found += 1
        return found

    def larger_count(self, data: bytes, position: int, count: int, body_bytes_max: int) -> int:
        """How many of the first records each have a body of more than `body_bytes_max`."""
        found = 0
        while found < count and self.body_bytes(data, self.skip(data, position, found), 1) > body_bytes_max:
            found += 1
        return found

    def without_hidden_keys(self, record: bytes) -> tuple[bytes, bytes]:
        """One packed record without the header that receivers must not see (BCC), and what it said, for hiding_prefix(); b"": nothing."""
        raise NotImplementedError

    def hiding_prefix(self, address: bytes, keys: bytes) -> bytes:
        """As prefix(), with hidden keys, which a dead letter is published with again."""
        raise NotImplementedError

    def dead_letter(self, data: bytes, record: bytes, letter: DeadLetter) -> tuple[bytes, bytes] | None:
        """(address, packed record) to publish instead; None: drop it."""
        raise NotImplementedError

    def is_cycle(self, record: bytes, queue: str) -> bool:
        """Whether a dead letter was in this queue before, and went round in a circle since without any rejection."""
        raise NotImplementedError

    def mark_delivery_count(self, record: bytes, count: int) -> bytes:
        """One packed record saying how often it was delivered before."""
        raise NotImplementedError

    def group(self, data: bytes, position: int) -> bytes:
        """The group within which one record is ordered; empty: none."""
        return b""

    def sent_time_ms(self, data: bytes, position: int) -> int:
        """When one record was first sent, ms since 1970; -1: when its entry was appended. Asked where the entry's flags say HAS_SENT_TIME."""
        return -1

    def moved(self, record: bytes, source: str, sent_ms: int, time_ms: int) -> bytes:
        """One packed record as it goes to another queue: dead-lettered from queue `source` at `time_ms`.

        `sent_ms`: when it was first sent; -1: from now on, it is as old as its new entry.
        """
        return record

    def renewed(self, record: bytes, record_id: bytes) -> bytes:
        """One packed record as a new message, sent now: a task has moved it. `record_id`: 16 random octets, where the protocol has ids of its own."""
        return record

    def source_of(self, data: bytes, position: int) -> str:
        """The queue that one record was dead-lettered from, as moved() noted it; empty: none, or not known."""
        return ""

    def stamp(self, data: bytes, base_offset: int, epoch: int, append_time_ms: int) -> bytes:
        """An entry that is about to be appended to its topic's partition, with what the protocol's own format says of its place.

        `append_time_ms` -1: the records keep their own times. `data` is the caller's alone: it may be changed where it lies.
        """
        return data

    def is_compressed_as(self, data: bytes, compression: int) -> bool:
        """Whether an entry that is about to be appended is compressed as its topic wants it: a number of topic_config.COMPRESSIONS."""
        return True

    def recompressed(self, data: bytes, compression: int) -> tuple[bytes, int]:
        """The entry compressed so, and its size in bytes when it is not compressed; of one that is not yet. Raises EntrepotError."""
        raise NotImplementedError

    def placeholder(self, base_offset: int, span: int) -> bytes | None:
        """An entry without records that stands for `span` offsets which its readers pass over; None: the protocol can do without."""
        return None

    def first_at(self, data: bytes, base_offset: int, time_ms: int) -> tuple[int, int]:
        """Offset and time of the first record of a whole entry that is of `time_ms` or later; the entry's first, and -1, where records have no times.

        Of a long entry, on any thread.
        """
        return base_offset, -1

    def placed(self, data: bytes, base_offset: int) -> bytes:
        """An entry of this codec as its readers get it from a log where it begins at `base_offset`; it may lie in several."""
        return data

    def to_record_batch(self, data: bytes, base_offset: int, append_time_ms: int) -> bytes | None:
        """A whole entry as a RecordBatch (model/batch.py), each record at its place; None if it is opaque."""
        raise NotImplementedError

    def from_record_batch(self, batch: bytes, base_offset: int, append_time_ms: int, address: bytes) -> bytes:
        """A RecordBatch as an entry of this codec, as if it had been stored so at `base_offset`: as many records, each at its place.

        `address` (as port.Publish has it) is used where the batch's origin says none.
        """
        raise NotImplementedError

    def is_long(self, data: bytes) -> bool:
        """Whether a whole entry is more than is translated in one go: pieces() of it are."""
        return False

    def pieces(self, data: bytes) -> list[tuple[int, bytes]]:
        """A long entry as several, each with its count of records, b"" for what is opaque to others, as all is where there are none. On any thread."""
        raise NotImplementedError

    def without_value(self, data: bytes) -> tuple[bytes, int, int] | None:
        """A whole entry of one record with an empty value, to be translated, and where in `data` its value lies, and its size; None: it cannot be cut out."""
        return None

    def takes_value(self) -> bool:
        """Whether there is a with_value(), or a from_record_batch_with() of its own."""
        return False

    def with_value(self, data: bytes, source: bytes, at: int, size: int) -> bytes:
        """What from_record_batch() has made of a record with an empty value, with source[at:at+size] as that."""
        raise NotImplementedError

    def from_record_batch_with(self, batch: bytes, base_offset: int, append_time_ms: int, address: bytes, source: bytes, at: int, size: int) -> bytes:
        """from_record_batch() of one record, whose value is empty there: source[at:at+size] is. Where takes_value(), and on any thread."""
        return self.with_value(self.from_record_batch(batch, base_offset, append_time_ms, address), source, at, size)

    def looks_into_values(self) -> bool:
        """Whether it looks at each octet of a value: for what is large that is long."""
        return False

    def last_value_copy(self, record: bytes, age_ms: int, identifier: int) -> bytes:
        """One packed record of `age_ms` as it is copied for who has subscribed after it, under the subscription's `identifier` (0: none): marked as a copy.

        What is left of its time to live counts from now. It has not expired.
        """
        return record
