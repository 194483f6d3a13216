"""Checks: large record batches are checked beside the loop.

A batch is large if it has more than LARGE_BYTES, packed or unpacked, unless it is plain (record_batch.py). Its checksum, its compression and its records
are gone through by one thread, which lets go of the GIL while it does; the connection that sent it takes in nothing more until then, all others go on.
"""

from __future__ import annotations

import mmap
import zlib
from collections.abc import Callable
from typing import Any

import cramjam

from entrepot.protocols.kafka.batch_errors import CORRUPT_MESSAGE, INVALID_RECORD, INVALID_TIMESTAMP, MESSAGE_TOO_LARGE, InvalidBatch
from entrepot.protocols.kafka.compression import (
    FRAMED,
    GZIP,
    LZ4,
    MEMBER,
    MEMBER_MIN_BYTES,
    MEMBERS_MAX,
    NAMES,
    SNAPPY,
    SNAPPY_RATIO_MAX,
    ZSTD,
    framed_blocks,
    is_full,
)
from entrepot.protocols.kafka.error_codes import ErrorCode
from entrepot.protocols.kafka.lz4_frame import check_lz4
from entrepot.protocols.kafka.recompression import pack, with_records
from entrepot.protocols.kafka.record_batch import HEADER_BYTES, BatchHead, BatchValidator
from entrepot.protocols.kafka.record_scan import GOOD, MISNUMBERED, OUT_OF_TIME, scan_records

NOT_CHECKED = int(ErrorCode.KAFKA_STORAGE_ERROR)  # it is tried again
FAILED = int(ErrorCode.UNKNOWN_SERVER_ERROR)
_INPUT_BYTES = 256 * 1024  # of gzip, at a time
_OUTPUT_BYTES = 1 << 20


class Check:
    """One large batch: `head` or `error` once run() has been called, on whatever thread. `unpacked_bytes`: what it cost.

    `compression`: what its topic wants it compressed with, -1: as it comes. It then is, in `batch`.
    """

    def __init__(self, data: bytes, unpacked_max_bytes: int, compression: int = -1) -> None:
        self.head: BatchHead | None = None
        self.error: InvalidBatch | None = InvalidBatch(NOT_CHECKED, "the batch could not be checked; nothing of it was taken")
        self.unpacked_bytes = 0
        self.batch = data
        self._data = data
        self._max = unpacked_max_bytes
        self._compression = compression
        self._packed: bytes | None = None

    def run(self) -> None:
        """Check it. Whatever it raises, `error` says what the producer is told."""
        try:
            head = BatchValidator.validate_with(self._data, self._records)
            self.batch = head.data
            if self._packed is not None:
                self.batch = with_records(head.data, self._packed, self._compression)
            self.head = head
            self.error = None
        except InvalidBatch as invalid:
            self.error = invalid
        except MemoryError:
            raise
        except Exception:  # our bug: it would fail again, so nobody is to try again
            self.error = InvalidBatch(FAILED, "the batch could not be checked, or compressed anew, because of a bug; nothing of it was taken")
            raise

    def _records(self, head: BatchHead, data: bytes) -> int:
        """The greatest timestamp of the records of `data`."""
        if not head.compression:
            view = memoryview(data)
            greatest = _scanned(view, HEADER_BYTES, head)
            self._pack(head, view[HEADER_BYTES:])
            return greatest
        if head.compression == LZ4:
            check_lz4(data[HEADER_BYTES:])
        self.unpacked_bytes = self._max  # unless it turns out to be less
        room = mmap.mmap(-1, self._max)  # no memory until it is written to
        whole = memoryview(room)
        try:
            filled = unpack_into(head.compression, memoryview(data)[HEADER_BYTES:], whole)
            self.unpacked_bytes = filled
            with whole[:filled] as records:
                greatest = _scanned(records, 0, head)
                self._pack(head, records)
                return greatest
        except (cramjam.DecompressionError, zlib.error) as error:
            raise InvalidBatch(CORRUPT_MESSAGE, f"a batch's {NAMES[head.compression]} is damaged: {error}") from None
        finally:
            whole.release()
            room.close()

    def _pack(self, head: BatchHead, records: memoryview) -> None:
        if self._compression >= 0 and head.compression != self._compression:
            self._packed = pack(self._compression, records)


class Checks:
    """Of one process. elsewhere(run, done) calls run() on another thread, then done() on the loop; None: both at once, where they are."""

    def __init__(self, unpacked_max_bytes: int, elsewhere: Callable[[Callable[[], object], Callable[[], object]], object] | None) -> None:
        self.unpacked_max_bytes = unpacked_max_bytes
        self.count = 0  # since start
        self._elsewhere = elsewhere

    def check(self, data: bytes, done: Callable[[Check], object], compression: int = -1) -> None:
        """Check a batch, and compress it as its topic wants it; done(check) is called when it is done."""
        self.count += 1
        check = Check(data, self.unpacked_max_bytes, compression)
        if self._elsewhere is None:
            try:
                check.run()
            finally:
                done(check)
        else:
            self._elsewhere(check.run, lambda: done(check))


def _scanned(records: memoryview, start: int, head: BatchHead) -> int:
    wrong, index, greatest = scan_records(records, start, head.count, head.base_time_ms)
    if wrong == GOOD:
        return greatest
    if wrong == MISNUMBERED:
        raise InvalidBatch(INVALID_RECORD, f"record {index} has an offset delta that is not {index}", index)
    if wrong == OUT_OF_TIME:
        raise InvalidBatch(INVALID_TIMESTAMP, f"record {index} has a timestamp too far from {head.base_time_ms}", index)
    if index < head.count:
        raise InvalidBatch(INVALID_RECORD, f"record {index} is malformed", index)
    raise InvalidBatch(INVALID_RECORD, f"bytes behind the {head.count} records that a batch says it has")


def unpack_into(compression: int, packed: memoryview, room: memoryview) -> int:
    """Decompress into `room`; how many bytes it is."""
    if compression == GZIP:
        return _gzip(packed, room)
    if compression == SNAPPY:
        return _snappy(packed, room)
    assert compression in (LZ4, ZSTD)
    library: Any = cramjam.lz4 if compression == LZ4 else cramjam.zstd
    try:
        filled: int = library.decompress_into(packed, room)
    except cramjam.DecompressionError as error:
        if is_full(error):
            raise _too_large(room) from None
        raise
    return filled


def _gzip(packed: memoryview, room: memoryview) -> int:
    filled = pos = members = 0
    while pos == 0 or (len(packed) - pos >= MEMBER_MIN_BYTES and packed[pos : pos + len(MEMBER)] == MEMBER):
        members += 1
        if members > MEMBERS_MAX:
            raise InvalidBatch(CORRUPT_MESSAGE, f"a batch's gzip has more than {MEMBERS_MAX} members")
        pos, filled = _member(packed, pos, room, filled)
    return filled


def _member(packed: memoryview, pos: int, room: memoryview, filled: int) -> tuple[int, int]:
    """Decompress the gzip member at `pos`: where it ends, and what is filled then."""
    stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
    while not stream.eof:
        chunk = packed[pos : pos + _INPUT_BYTES]
        if not chunk:
            raise InvalidBatch(CORRUPT_MESSAGE, "a batch's gzip is cut off")
        pos += len(chunk)
        left: bytes | memoryview = chunk
        while True:
            data = stream.decompress(left, _OUTPUT_BYTES)
            if len(data) > len(room) - filled:
                raise _too_large(room)
            room[filled : filled + len(data)] = data
            filled += len(data)
            left = stream.unconsumed_tail
            if stream.eof or (not left and len(data) < _OUTPUT_BYTES):
                break
    return pos - len(stream.unused_data), filled


def _snappy(packed: memoryview, room: memoryview) -> int:
    if packed[: len(FRAMED)] != FRAMED:
        return _block(packed, room, 0)
    filled = 0
    for block in framed_blocks(packed):
        filled += _block(block, room, filled)
    return filled


def _block(block: memoryview, room: memoryview, at: int) -> int:
    size: int = cramjam.snappy.decompress_raw_len(block)
    if size > len(block) * SNAPPY_RATIO_MAX:
        raise InvalidBatch(CORRUPT_MESSAGE, f"a batch's snappy claims {size} bytes out of {len(block)}")
    if size > len(room) - at:
        raise _too_large(room)
    filled: int = cramjam.snappy.decompress_raw_into(block, room[at : at + size])
    if filled != size:
        raise InvalidBatch(CORRUPT_MESSAGE, f"a batch's snappy claims {size} bytes and has {filled}")
    return size


def _too_large(room: memoryview) -> InvalidBatch:
    return InvalidBatch(MESSAGE_TOO_LARGE, f"a batch unpacks to more than {len(room)} bytes")
