"""A version 2 record batch: checked as it arrives, and stamped with its place before it is stored.

Big-endian (Kafka's documentation, message format):

     0 i64 base offset          21 i16 attributes          43 i64 producer id
     8 i32 size of what follows 23 i32 last offset delta   51 i16 producer epoch
    12 i32 leader epoch         27 i64 base timestamp      53 i32 first sequence
    16 i8  magic (2)            35 i64 greatest timestamp  57 i32 count
    17 u32 CRC-32C of 21..      61 records (record_cursor.py), compressed as attributes say

Attributes: bits 0 to 2 compression, 3 timestamps are those of the append, 4 transactional, 5 control, 6 delete horizon. Times are milliseconds
since 1970, -1 for none.

Stored as it arrived, but for base offset and leader epoch, which the checksum leaves out; and, where the topic's timestamps are those of the
append, attribute bit 3, greatest timestamp and checksum.
"""

from __future__ import annotations

from collections.abc import Callable

import cython
from crc32c import crc32c

from entrepot.model.entry import TRANSACTIONAL
from entrepot.protocols.kafka.batch_errors import (
    CORRUPT_MESSAGE,
    INVALID_RECORD,
    INVALID_TIMESTAMP,
    MESSAGE_TOO_LARGE,
    UNSUPPORTED_COMPRESSION_TYPE,
    InvalidBatch,
)
from entrepot.protocols.kafka.compression import LZ4, UNPACKED_MAX_BYTES, ZSTD, Unpacker
from entrepot.protocols.kafka.record_cursor import ANY_NUMBER, TooManyHeaders

if not cython.compiled:
    from entrepot.model.octets import (
        get_u16_be,
        get_u32_be,
        get_u64_be,
        over_u16_be,
        over_u32_be,
        over_u64_be,
        put_u16_be,
        put_u32_be,
        put_u64_be,
        take,
        take_ba,
    )
    from entrepot.protocols.kafka.lz4_frame import check_lz4
    from entrepot.protocols.kafka.record_cursor import make_cursor

HEADER_BYTES = 61
BATCH_VERSION = 1  # of entries with tag CODEC_KAFKA: one version 2 batch each
LARGE_BYTES = 512 << 10  # of a batch, packed or unpacked: above this it is checked beside the loop (checking.py)
PLAIN_BYTES = 5 << 18  # the same of one that is not packed and has few records and headers: what librdkafka makes by default is checked at once
PLAIN_ELEMENTS_MAX = 16_384  # records and headers together: a millisecond
REQUEST_UNPACKED_MAX = 4  # what the batches of one request may unpack to together, in the bound of one

_HEADER = HEADER_BYTES
_LARGE, _PLAIN, _PLAIN_ELEMENTS = LARGE_BYTES, PLAIN_BYTES, PLAIN_ELEMENTS_MAX
_ANY_NUMBER = ANY_NUMBER
_REQUEST_UNPACKED_MAX = REQUEST_UNPACKED_MAX
_SIZE, _EPOCH, _MAGIC, _CRC, _ATTRIBUTES, _LAST_DELTA = 8, 12, 16, 17, 21, 23
_BASE_TIME, _MAX_TIME, _PRODUCER_ID, _PRODUCER_EPOCH, _FIRST_SEQUENCE, _COUNT = 27, 35, 43, 51, 53, 57
_BEFORE_SIZE = 12
_COPIED_MAX = 4096  # bytes: below this a copy costs less than a view
_COMPRESSION, _APPEND_TIME, _TRANSACTIONAL, _CONTROL, _DELETE_HORIZON = 0x07, 0x08, 0x10, 0x20, 0x40
_COMPRESSION_MAX = ZSTD
_LZ4 = LZ4
_ENTRY_TRANSACTIONAL = TRANSACTIONAL
_TIME_MAX = 2**63 - 1
_TIME_MIN = -_TIME_MAX - 1


class BatchHead:
    """What a checked batch says of itself; `flags` as model.entry's. `data` is the batch, with the greatest timestamp of its records."""

    __slots__ = ("base_time_ms", "compression", "count", "data", "first_sequence", "flags", "max_time_ms", "producer_epoch", "producer_id")

    data: bytes
    flags: int
    compression: int
    count: int
    base_time_ms: int
    max_time_ms: int
    producer_id: int
    producer_epoch: int
    first_sequence: int


class BatchValidator:
    """Checks batches as a partition's leader does before it stores them; every record is read. Of one thread.

    `left_bytes`: what the batches of the request that is being read may still unpack to; who reads several in turns sets it for each.
    """

    def __init__(self, unpacked_max_bytes: int = UNPACKED_MAX_BYTES) -> None:
        self._unpacker = Unpacker(unpacked_max_bytes)
        self._small = Unpacker(min(unpacked_max_bytes, _LARGE))
        self.size_max = unpacked_max_bytes
        self.left_bytes = 0
        self.unpacked_bytes = 0  # since it was made
        self.begin()

    def begin(self) -> int:
        """A request begins: its batches together may unpack to REQUEST_UNPACKED_MAX times the bound of one, whatever it costs elsewhere."""
        self.left_bytes = _REQUEST_UNPACKED_MAX * self.size_max
        return 0

    def validate(self, data: bytes) -> BatchHead:
        """Check what one partition of a Produce request holds: one whole batch, which the caller gives up.

        Raises InvalidBatch: CORRUPT_MESSAGE (size or checksum, damaged compression), UNSUPPORTED_COMPRESSION_TYPE, MESSAGE_TOO_LARGE (unpacked),
        INVALID_TIMESTAMP (timestamps of the append), INVALID_RECORD (anything else).
        """
        head = _head_of(data)
        records = data
        start = _HEADER
        if head.compression:
            records = self._unpack(self._unpacker, head.compression, take(data, start, len(data) - start))
            start = 0
        return _finished(head, data, check_records(records, start, head.count, head.base_time_ms, _ANY_NUMBER))

    def maybe_validate(self, data: bytes) -> BatchHead | None:
        """As validate(), of a batch that is not large, or is plain; None for any other, of which nothing is known then."""
        size = len(data)
        if size > _PLAIN or (size > _LARGE and (get_u16_be(data, _ATTRIBUTES) & _COMPRESSION or get_u32_be(data, _COUNT) > _PLAIN_ELEMENTS)):
            return None
        head = _head_of(data)
        records = data
        start = _HEADER
        headers_max = _ANY_NUMBER if size <= _LARGE else _PLAIN_ELEMENTS - head.count
        if head.compression:
            left = self.left_bytes
            try:
                records = self._unpack(self._small, head.compression, take(data, start, len(data) - start))
            except InvalidBatch as invalid:
                if invalid.code != MESSAGE_TOO_LARGE or left <= 0 or self.size_max <= _LARGE:
                    raise
                self.left_bytes = left
                self.unpacked_bytes += _LARGE
                return None
            start = 0
        try:
            greatest = check_records(records, start, head.count, head.base_time_ms, headers_max)
        except TooManyHeaders:
            return None
        return _finished(head, data, greatest)

    @staticmethod
    def validate_with(data: bytes, greatest_time: Callable[[BatchHead, bytes], int]) -> BatchHead:
        """As validate(), with greatest_time(head, data) to check the records. Touches nothing else: of any thread."""
        head = _head_of(data)
        return _finished(head, data, greatest_time(head, data))

    def _unpack(self, unpacker: Unpacker, compression: int, packed: bytes) -> bytes:
        if self.left_bytes <= 0:
            raise self.too_much()
        left = self.left_bytes
        self.left_bytes -= self.size_max  # what fails may have cost as much as the largest that does not
        if compression == _LZ4:
            check_lz4(packed)
        records: bytes = unpacker.unpack(compression, packed)
        self.left_bytes = left - len(records)
        self.unpacked_bytes += len(records)
        return records

    def too_much(self) -> InvalidBatch:
        """What a batch is told where those before it have unpacked to all that a request may."""
        return InvalidBatch(MESSAGE_TOO_LARGE, f"the batches of one request unpack to more than {_REQUEST_UNPACKED_MAX * self.size_max} bytes")


def _head_of(data: bytes) -> BatchHead:
    """What a batch says of itself, all but its records checked."""
    _check_frame(data)
    attributes = get_u16_be(data, _ATTRIBUTES)
    head = BatchHead.__new__(BatchHead)
    head.flags = 0
    head.compression = attributes & _COMPRESSION
    head.count = _signed_u32(get_u32_be(data, _COUNT))
    head.base_time_ms = signed_u64(get_u64_be(data, _BASE_TIME))
    head.producer_id = signed_u64(get_u64_be(data, _PRODUCER_ID))
    head.producer_epoch = _signed_u16(get_u16_be(data, _PRODUCER_EPOCH))
    head.first_sequence = _signed_u32(get_u32_be(data, _FIRST_SEQUENCE))
    if attributes & _TRANSACTIONAL:
        head.flags = _ENTRY_TRANSACTIONAL
    _check_head(head, attributes, _signed_u32(get_u32_be(data, _LAST_DELTA)))
    return head


def _finished(head: BatchHead, data: bytes, max_time_ms: int) -> BatchHead:
    """The head with its batch, whose records' greatest timestamp is `max_time_ms`."""
    head.max_time_ms = max_time_ms
    if max_time_ms != signed_u64(get_u64_be(data, _MAX_TIME)):
        # Clients that leave it out are taken, as Kafka takes them: readers must find records by it.
        data = over_u64_be(data, _MAX_TIME, max_time_ms)
        data = over_u32_be(data, _CRC, checksum(data))
    head.data = data
    return head


def checksum(data: bytes) -> int:
    """CRC-32C of what a batch's checksum covers."""
    size = len(data) - _ATTRIBUTES
    covered: int = crc32c(take(data, _ATTRIBUTES, size) if size < _COPIED_MAX else memoryview(data)[_ATTRIBUTES:])
    return covered


def _check_frame(data: bytes) -> int:
    """Size, magic and checksum."""
    if len(data) < _HEADER:
        raise InvalidBatch(CORRUPT_MESSAGE, f"a record batch of {len(data)} bytes; its header alone has {_HEADER}")
    size = _signed_u32(get_u32_be(data, _SIZE))
    magic = data[_MAGIC]
    if magic != 2:
        raise InvalidBatch(INVALID_RECORD, f"a record batch of magic {magic}; only 2 is taken")
    if size < _HEADER - _BEFORE_SIZE or size > len(data) - _BEFORE_SIZE:
        raise InvalidBatch(CORRUPT_MESSAGE, f"a record batch says {size} bytes follow its size, where {len(data) - _BEFORE_SIZE} do")
    if size < len(data) - _BEFORE_SIZE:
        raise InvalidBatch(INVALID_RECORD, f"{len(data) - _BEFORE_SIZE - size} bytes behind a partition's record batch; one batch a partition is taken")
    crc = checksum(data)
    if crc != get_u32_be(data, _CRC):
        raise InvalidBatch(CORRUPT_MESSAGE, f"a record batch's checksum is {crc:#010x}; the batch says {get_u32_be(data, _CRC):#010x}")
    return 0


def _check_head(head: BatchHead, attributes: int, last_delta: int) -> int:
    if attributes & _CONTROL:
        raise InvalidBatch(INVALID_RECORD, "a control batch; clients do not write them")
    if attributes & _DELETE_HORIZON:
        raise InvalidBatch(INVALID_RECORD, "a batch with a delete horizon; clients do not set one")
    if head.count <= 0 or last_delta != head.count - 1:
        raise InvalidBatch(
            INVALID_RECORD, f"a batch of {head.count} records whose last offset delta is {last_delta}; they are numbered from 0, and one at least"
        )
    if attributes & _APPEND_TIME:
        raise InvalidBatch(INVALID_TIMESTAMP, "a batch that says its timestamps are those of the append; only the broker does")
    if head.compression > _COMPRESSION_MAX:
        raise InvalidBatch(UNSUPPORTED_COMPRESSION_TYPE, f"no compression has the number {head.compression}")
    if head.producer_id >= 0 and (head.producer_epoch < 0 or head.first_sequence < 0):
        raise InvalidBatch(
            INVALID_RECORD,
            f"a batch of producer {head.producer_id} with the epoch {head.producer_epoch} and the sequence {head.first_sequence}; neither is below 0",
        )
    if head.flags and head.producer_id < 0:
        raise InvalidBatch(INVALID_RECORD, "a transactional batch without a producer id")
    return 0


def check_records(records: bytes, start: int, count: int, base_time_ms: int, headers_max: int) -> int:
    """Read all records from `start`, which must be `count`, numbered from 0; return the greatest timestamp. TooManyHeaders: there are more than that."""
    cursor = make_cursor(records, start, len(records))
    cursor.headers_left = headers_max
    greatest = _TIME_MIN
    index = 0
    while index < count:
        cursor.advance()
        if cursor.offset_delta != index:
            raise InvalidBatch(INVALID_RECORD, f"record {index} has the offset delta {cursor.offset_delta}", index)
        delta = cursor.time_delta
        if delta > 0:
            if base_time_ms > _TIME_MAX - delta:
                raise InvalidBatch(INVALID_TIMESTAMP, f"record {index} has a timestamp {delta} ms behind {base_time_ms}", index)
        elif base_time_ms < _TIME_MIN - delta:
            raise InvalidBatch(INVALID_TIMESTAMP, f"record {index} has a timestamp {-delta} ms before {base_time_ms}", index)
        time_ms = base_time_ms + delta
        if time_ms > greatest:
            greatest = time_ms
        index += 1
    if cursor.pos != len(records):
        raise InvalidBatch(INVALID_RECORD, f"{len(records) - cursor.pos} bytes behind the {count} records that a batch says it has")
    return greatest


def stamp(data: bytes, base_offset: int, leader_epoch: int, append_time_ms: int) -> bytes:
    """The batch with its place in the log; `append_time_ms` -1: its records keep their own times. Compiled, changes `data` where it lies."""
    if len(data) < _HEADER:
        raise InvalidBatch(CORRUPT_MESSAGE, f"a record batch of {len(data)} bytes")
    data = over_u64_be(data, 0, base_offset)
    data = over_u32_be(data, _EPOCH, leader_epoch)
    if append_time_ms >= 0:
        attributes = get_u16_be(data, _ATTRIBUTES)
        data = over_u16_be(data, _ATTRIBUTES, attributes | _APPEND_TIME)
        data = over_u64_be(data, _MAX_TIME, append_time_ms)
        data = over_u32_be(data, _CRC, checksum(data))
    return data


def seal_batch(buffer: bytearray, size: int, base_offset: int, count: int) -> bytes:
    """The batch whose header from the attributes to the timestamps, and whose records, lie in the first `size` bytes: of no producer."""
    put_u64_be(buffer, 0, base_offset)
    put_u32_be(buffer, _SIZE, size - _BEFORE_SIZE)
    put_u32_be(buffer, _EPOCH, 0xFFFFFFFF)
    buffer[_MAGIC] = 2
    put_u64_be(buffer, _PRODUCER_ID, 0xFFFFFFFFFFFFFFFF)
    put_u16_be(buffer, _PRODUCER_EPOCH, 0xFFFF)
    put_u32_be(buffer, _FIRST_SEQUENCE, 0xFFFFFFFF)
    put_u32_be(buffer, _COUNT, count)
    data = take_ba(buffer, 0, size)
    return over_u32_be(data, _CRC, checksum(data))


def _signed_u16(value: int) -> int:
    return value - 0x10000 if value >= 0x8000 else value


def _signed_u32(value: int) -> int:
    return value - 0x100000000 if value >= 0x80000000 else value


def signed_u64(value: int) -> int:
    """As two's complement."""
    # In two steps: C's unsigned numbers do not go below 0.
    low = value & 0x7FFFFFFFFFFFFFFF
    if value > 0x7FFFFFFFFFFFFFFF:
        return low + _TIME_MIN
    return low
