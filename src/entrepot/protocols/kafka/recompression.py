"""A record batch in the compression that its topic wants (compression.type), where its producer has sent it in another.

Records, header and times stay as they are: only the attributes' compression, the size and the checksum are others. It costs an unpacking and a packing,
in the loop where it is little (produce_codec.REWRITTEN_AT_ONCE); so each kind is made at the speed of the fastest that still packs well: gzip and LZ4
with their level 1, zstd with 3, LZ4 in blocks of their own (what Java reads), snappy as one block, as librdkafka writes it and everyone reads it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import cramjam
from crc32c import crc32c

from entrepot.protocols.kafka.compression import GZIP, LZ4, NONE, SNAPPY, ZSTD, Unpacker

_SIZE, _CRC, _ATTRIBUTES, _HEADER = 8, 17, 21, 61  # record_batch.py has the layout
_COMPRESSION = 0x07
_BEFORE_SIZE = 12
_GZIP_LEVEL = 1
_LZ4_LEVEL = 1
_ZSTD_LEVEL = 3


def _gzip(records: bytes) -> bytes:
    stream = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    return stream.compress(records) + stream.flush()


def _lz4(records: Any) -> bytes:
    frame = cramjam.lz4.Compressor(level=_LZ4_LEVEL, content_checksum=False, block_linked=False)
    frame.compress(records if isinstance(records, bytes) else bytes(records))  # it takes no other buffer
    return bytes(frame.finish())


_PACK: dict[int, Callable[[Any], bytes]] = {
    NONE: bytes,
    GZIP: _gzip,
    SNAPPY: lambda records: bytes(cramjam.snappy.compress_raw(records)),
    LZ4: _lz4,
    ZSTD: lambda records: bytes(cramjam.zstd.compress(records, level=_ZSTD_LEVEL)),
}


def recompressed(data: bytes, compression: int, unpacker: Unpacker) -> tuple[bytes, int]:
    """The batch with its records compressed so, and how many bytes they are unpacked. Raises InvalidBatch, as Unpacker.unpack()."""
    attributes = int.from_bytes(data[_ATTRIBUTES : _ATTRIBUTES + 2], "big")
    records = unpacker.unpack(attributes & _COMPRESSION, data[_HEADER:])
    return with_records(data, pack(compression, records), compression), len(records)


def pack(compression: int, records: Any) -> bytes:
    """Records, as any buffer, compressed so."""
    return _PACK[compression](records)


def with_records(data: bytes, packed: bytes, compression: int) -> bytes:
    """The batch with other records in the place of its own."""
    attributes = int.from_bytes(data[_ATTRIBUTES : _ATTRIBUTES + 2], "big")
    batch = bytearray(data[:_HEADER])
    batch += packed
    batch[_ATTRIBUTES : _ATTRIBUTES + 2] = (attributes & ~_COMPRESSION | compression).to_bytes(2, "big")
    batch[_SIZE : _SIZE + 4] = (len(batch) - _BEFORE_SIZE).to_bytes(4, "big")
    batch[_CRC : _CRC + 4] = crc32c(memoryview(batch)[_ATTRIBUTES:]).to_bytes(4, "big")
    return bytes(batch)
