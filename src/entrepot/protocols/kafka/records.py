"""Entries of Kafka's record batches: what the broker asks of them.

An entry is one version 2 batch (docs/formats/kafka-entry.md), perhaps with the address that it was sent on to in front:

    batch                                          the first octet of its base offset is 0
    u8 2 | u16 size | address: exchange short string, routing key short string | batch

Batches are not taken apart: a position in an entry is the index of a record.
"""

from __future__ import annotations

from typing import Any

import cython

from entrepot.broker.logs.entry_codec import EntryCodec
from entrepot.model.batch import RecordBatch
from entrepot.model.entry import CODEC_KAFKA
from entrepot.protocols.kafka import large_values
from entrepot.protocols.kafka.batch_errors import InvalidBatch
from entrepot.protocols.kafka.compression import UNPACKED_MAX_BYTES, Unpacker
from entrepot.protocols.kafka.from_neutral import FromNeutral
from entrepot.protocols.kafka.pieces import first_at, pieces_of
from entrepot.protocols.kafka.recompression import recompressed
from entrepot.protocols.kafka.record_cursor import RecordCursor
from entrepot.protocols.kafka.to_neutral import ToNeutral

if not cython.compiled:
    from entrepot.model.octets import copy, get_u16_be, get_u32_be, get_u64_be, put_u16_be, put_u32_be, put_u64_be, take, take_ba
    from entrepot.protocols.kafka.record_batch import seal_batch, signed_u64, stamp
    from entrepot.protocols.kafka.record_cursor import make_cursor

ENTRY_VERSION = 2
"""The newest that is written; a bare batch is version 1 (record_batch.BATCH_VERSION)."""

LONG_RECORDS = 4096
LONG_BYTES = 1 << 20  # of a batch, packed or unpacked: longer ones are translated in pieces
RECORD_MAX_BYTES = 16 << 20
_DELTA_MAX = 2**63 - 1

_VERSION = ENTRY_VERSION
_LONG_RECORDS, _LONG_BYTES = LONG_RECORDS, LONG_BYTES
_ADDRESSED = 2
_TAG = CODEC_KAFKA
_HEADER = 61
_ATTRIBUTES, _BASE_TIME, _MAX_TIME, _COUNT = 21, 27, 35, 57
_COMPRESSION, _APPEND_TIME = 0x07, 0x08


def batch_at(data: bytes) -> int:
    """Where the batch of an entry begins."""
    if data[0] == _ADDRESSED:
        return 3 + get_u16_be(data, 1)
    return 0


class KafkaEntryCodec(EntryCodec):
    """The codec with tag CODEC_KAFKA."""

    __slots__ = ("_packed", "_record_max_bytes", "_small", "_unpacked", "_unpacker")

    def __init__(self, unpacked_max_bytes: int = UNPACKED_MAX_BYTES, record_max_bytes: int = RECORD_MAX_BYTES) -> None:
        """`record_max_bytes`: of one record of a long batch; a larger one is for Kafka's clients alone."""
        self.tag = _TAG
        self.version = _VERSION
        self.by_record = False
        self._unpacker = Unpacker(unpacked_max_bytes)
        self._small = Unpacker(min(unpacked_max_bytes, LONG_BYTES))
        self._record_max_bytes = record_max_bytes
        self._packed: bytes | None = None  # the batch that was looked at last, and what it unpacks to
        self._unpacked = b""

    def prefix(self, address: bytes) -> bytes:
        """What stands before a batch that is sent on to `address`."""
        return bytes((_ADDRESSED,)) + len(address).to_bytes(2, "big") + address

    def start(self, data: bytes) -> int:
        """Position of the first record."""
        return 0

    def skip(self, data: bytes, position: int, count: int) -> int:
        """Position `count` records further."""
        return position + count

    def expired_count(self, data: bytes, position: int, count: int, age_ms: int) -> int:
        """None: records of Kafka's have no time to live of their own."""
        return 0

    def time_to_live_ms(self, data: bytes, position: int) -> int:
        """None."""
        return -1

    def address(self, data: bytes) -> bytes:
        """The address that the batch was sent on to; two empty names where it was not."""
        if data[0] != _ADDRESSED:
            return b"\x00\x00"
        return take(data, 3, get_u16_be(data, 1))

    def further_keys(self, data: bytes, position: int) -> list[str]:
        """None."""
        return []

    def headers(self, data: bytes, position: int) -> dict[str, Any]:
        """One record's headers as they are in its neutral form."""
        batch = self.to_record_batch(data, 0, 0)
        return {} if batch is None else dict(RecordBatch(batch).records()[position].headers)

    def stamp(self, data: bytes, base_offset: int, epoch: int, append_time_ms: int) -> bytes:
        """See EntryCodec: base offset, leader epoch, and the time of the append."""
        return stamp(data, base_offset, epoch, append_time_ms)

    def is_compressed_as(self, data: bytes, compression: int) -> bool:
        """See EntryCodec; the numbers are Kafka's own."""
        return get_u16_be(data, _ATTRIBUTES) & _COMPRESSION == compression

    def recompressed(self, data: bytes, compression: int) -> tuple[bytes, int]:
        """See EntryCodec."""
        return recompressed(data, compression, self._unpacker)

    def placed(self, data: bytes, base_offset: int) -> bytes:
        """The bare batch with its base offset in the log that is read."""
        at = batch_at(data)
        if at == 0 and get_u64_be(data, 0) == base_offset:
            return data
        size = len(data) - at
        buffer = bytearray(size)
        copy(buffer, 0, data, at, size)
        put_u64_be(buffer, 0, base_offset)
        return take_ba(buffer, 0, size)

    def placeholder(self, base_offset: int, span: int) -> bytes | None:
        """A batch without records over `span` offsets, as compaction leaves them."""
        buffer = bytearray(_HEADER)
        put_u16_be(buffer, _ATTRIBUTES, 0)
        put_u32_be(buffer, 23, span - 1)
        put_u64_be(buffer, _BASE_TIME, 0xFFFFFFFFFFFFFFFF)
        put_u64_be(buffer, _MAX_TIME, 0xFFFFFFFFFFFFFFFF)
        return seal_batch(buffer, _HEADER, base_offset, 0)

    def first_at(self, data: bytes, base_offset: int, time_ms: int) -> tuple[int, int]:
        """Offset and timestamp of the first record of `time_ms` or later; the entry's first and -1 where no record is."""
        at = batch_at(data)
        if get_u16_be(data, at + _ATTRIBUTES) & _APPEND_TIME:
            return base_offset, signed_u64(get_u64_be(data, at + _MAX_TIME))
        base_time_ms = signed_u64(get_u64_be(data, at + _BASE_TIME))
        count = get_u32_be(data, at + _COUNT)
        if count > _LONG_RECORDS or len(data) > _LONG_BYTES or self._is_packed(data, at):  # perhaps on another thread
            delta, later = first_at(data, at, self._unpacker.unpacked_max_bytes, min(time_ms - int(base_time_ms), _DELTA_MAX))
            return (base_offset, -1) if delta < 0 else (base_offset + delta, base_time_ms + later)
        cursor = self._cursor(data, at)
        while count > 0:
            cursor.advance()
            if base_time_ms + cursor.time_delta >= time_ms:
                return base_offset + cursor.offset_delta, base_time_ms + cursor.time_delta
            count -= 1
        return base_offset, -1

    def to_record_batch(self, data: bytes, base_offset: int, append_time_ms: int) -> bytes | None:
        """See EntryCodec; to_neutral.py says what becomes what. None: a limit was lowered since it was stored, and it unpacks to more."""
        at = batch_at(data)
        all_times = -1
        if get_u16_be(data, at + _ATTRIBUTES) & _APPEND_TIME:
            all_times = signed_u64(get_u64_be(data, at + _MAX_TIME))
        origin = bytes((_TAG,))
        if at:
            origin += take(data, 3, at - 3)
        try:
            cursor = self._cursor(data, at)
            translator = ToNeutral(cursor, signed_u64(get_u64_be(data, at + _BASE_TIME)), all_times, origin)
            return translator.build(get_u32_be(data, at + _COUNT))
        except InvalidBatch:
            return None

    def from_record_batch(self, batch: bytes, base_offset: int, append_time_ms: int, address: bytes) -> bytes:
        """See EntryCodec; from_neutral.py says what becomes what."""
        return FromNeutral(batch, append_time_ms).build(base_offset)

    def is_long(self, data: bytes) -> bool:
        """See EntryCodec. What is compressed is unpacked for it, which is kept until the next one is."""
        at = batch_at(data)
        if get_u32_be(data, at + _COUNT) > _LONG_RECORDS or len(data) > _LONG_BYTES:
            return True
        compression = get_u16_be(data, at + _ATTRIBUTES) & _COMPRESSION
        if compression and data is not self._packed:
            try:
                self._unpacked = self._small.unpack(compression, take(data, at + _HEADER, len(data) - at - _HEADER))
            except InvalidBatch:
                return True
            self._packed = data
        return False

    def pieces(self, data: bytes) -> list[tuple[int, bytes]]:
        """See EntryCodec."""
        return pieces_of(data, batch_at(data), self._unpacker.unpacked_max_bytes, self._record_max_bytes)

    def without_value(self, data: bytes) -> tuple[bytes, int, int] | None:
        """See EntryCodec."""
        at = batch_at(data)
        if get_u32_be(data, at + _COUNT) != 1 or get_u16_be(data, at + _ATTRIBUTES) & _COMPRESSION:
            return None
        cursor = self._cursor(data, at)
        cursor.advance()
        if cursor.value_size < 0:
            return None
        return large_values.without_value(data, at, cursor), cursor.value_at, cursor.value_size

    def takes_value(self) -> bool:
        """See EntryCodec."""
        return True

    def with_value(self, data: bytes, source: bytes, at: int, size: int) -> bytes:
        """See EntryCodec."""
        cursor = self._cursor(data, 0)
        cursor.advance()
        return large_values.with_value(data, cursor, source, at, size)

    def _is_packed(self, data: bytes, at: int) -> bool:
        """Whether it is compressed, and not known to be short."""
        return bool(get_u16_be(data, at + _ATTRIBUTES) & _COMPRESSION) and data is not self._packed

    def _cursor(self, data: bytes, at: int) -> RecordCursor:
        """Before the first record of the batch at `at`."""
        compression = get_u16_be(data, at + _ATTRIBUTES) & _COMPRESSION
        at += _HEADER
        if compression:
            if data is self._packed:
                data = self._unpacked
            else:
                data = self._unpacker.unpack(compression, take(data, at, len(data) - at))
            at = 0
        return make_cursor(data, at, len(data))
