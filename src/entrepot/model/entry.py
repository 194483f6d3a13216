"""Entry: one stored batch, with its producer's own bytes and a codec tag.

An entry is open while its commit gathers (neighbouring small publishes join it), then sealed and immutable. One entry may lie
in many logs; each has its own base offset for it (StoredEntry).
"""

from __future__ import annotations

import cython

# Flags of an entry. What a payload carries is noted here once, when it arrives, so that later steps need not scan for it.
CONTROL = 0x0001  # a transaction marker: has offsets, is never delivered
TRANSACTIONAL = 0x0002
OPAQUE = 0x0004  # encrypted or undecodable: served whole to its own protocol, skipped for others
HAS_EXPIRY = 0x0008  # some record has its own time to live
HAS_PRIORITY = 0x0010
HAS_DELIVER_AT = 0x0020
TRANSIENT = 0x0040  # its producer did not ask for durability; kept as durable in a durable log
HAS_GROUPS = 0x0080  # some record is in a group, within which a queue keeps order or fairness
HAS_SENT_TIME = 0x0100  # some record was first sent before it was appended: it was moved here

# Codec tags: who understands the bytes. 0 is never used.
CODEC_RECORD_BATCH = 1
CODEC_AMQP_091 = 2
CODEC_KAFKA = 3
CODEC_MARKER = 4  # a transaction's end in one log: broker/transactions/marker.py
CODEC_COORDINATOR = 5  # a transaction coordinator's records: broker/transactions/coordinator.py
CODEC_SQS = 6
CODEC_STOMP = 7
CODEC_MQTT = 8


ENTRY_OVERHEAD = 320  # bytes of objects around the data of one in memory
_OVERHEAD = ENTRY_OVERHEAD
_NO_PARTS: list[bytes] = []  # of all that are sealed


# Not the collector's: there are as many as messages in memory, and none is in a circle.
@cython.no_gc
@cython.cclass
class Entry:
    """One stored batch.

    `count` records over `span` offsets (count is less than span only after compaction). Times are milliseconds since 1970;
    `append_time_ms` is set at sealing by the store; `max_time_ms` is the greatest record timestamp, or 0. `producer_id` and
    `transaction_id` are -1 where there is none. `data` is None while the entry is open, and when it has left memory.
    """

    __slots__ = (
        "append_time_ms",
        "codec",
        "codec_version",
        "count",
        "data",
        "epoch",
        "first_sequence",
        "flags",
        "max_time_ms",
        "parts",
        "producer_epoch",
        "producer_id",
        "sealed",
        "size",
        "span",
        "targets_alive",
        "transaction_id",
    )

    codec: int
    codec_version: int
    flags: int
    count: int
    span: int
    epoch: int
    append_time_ms: int
    max_time_ms: int
    producer_id: int
    producer_epoch: int
    first_sequence: int
    transaction_id: int
    data: bytes | None
    parts: list[bytes]
    size: int
    sealed: bool
    targets_alive: int

    def extend(self, part: bytes, count: int, size_max: int, count_max: int) -> bool:
        """Add `count` records' bytes if the entry is open and stays within both limits; whether it did."""
        if self.sealed or len(part) > size_max - self.size or count + self.count > count_max:
            return False
        self.parts.append(part)
        self.size += len(part)
        self.count += count
        self.span += count
        return True

    def seal(self) -> int:
        """Join the parts into `data`; idempotent. Nothing can be added afterwards."""
        if not self.sealed:
            self.data = self.parts[0] if len(self.parts) == 1 else b"".join(self.parts)
            self.parts = _NO_PARTS
            self.sealed = True
        return 0


def make_entry(codec: int, codec_version: int, flags: int, prefix: bytes, part: bytes, count: int) -> Entry:
    """An open entry of `count` records: `prefix`, which the codec puts before its records, then `part`."""
    entry = Entry.__new__(Entry)
    entry.codec = codec
    entry.codec_version = codec_version
    entry.flags = flags
    entry.count = count
    entry.span = count
    entry.epoch = 0
    entry.append_time_ms = 0
    entry.max_time_ms = 0
    entry.producer_id = -1
    entry.producer_epoch = -1
    entry.first_sequence = -1
    entry.transaction_id = -1
    entry.data = None
    entry.parts = [prefix, part] if prefix else [part]
    entry.size = len(prefix) + len(part)
    entry.sealed = False
    entry.targets_alive = 0
    return entry


def restore_entry(codec: int, codec_version: int, flags: int, count: int, span: int, data: bytes) -> Entry:
    """A sealed entry as read back from a store; the caller sets times, producer and transaction."""
    entry = make_entry(codec, codec_version, flags, b"", data, count)
    entry.span = span
    entry.seal()
    return entry


@cython.no_gc
@cython.cclass
class StoredEntry:
    """An entry as it lies in one log: offsets base to base + entry.span - 1."""

    __slots__ = ("base", "entry")

    base: int
    entry: Entry


def stored_entry(base: int, entry: Entry) -> StoredEntry:
    """Pair an entry with its base offset in a log."""
    stored = StoredEntry.__new__(StoredEntry)
    stored.base = base
    stored.entry = entry
    return stored


def bytes_of(entries: list[StoredEntry]) -> int:
    """What they take in memory, with their objects."""
    size = 0
    for stored in entries:
        size += stored.entry.size + _OVERHEAD
    return size
