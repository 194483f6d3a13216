"""LZ4 frames as Kafka's readers read them: one frame and nothing else, whose blocks do not refer to each other.

Little-endian: u32 magic, flags, block size, u64 size of the content (if the flags say so), header checksum; then blocks: u32 size, whose highest bit says
"not compressed", the bytes, u32 checksum (if the flags say so); u32 0; u32 checksum of the content (if the flags say so).

Java reads no block that refers to another, and passes over what is behind the first frame; librdkafka stops at it. The library here reads all of that.
Only what comes in is looked at: what is stored is unpacked whatever it is like.
"""

from __future__ import annotations

import cython

from entrepot.protocols.kafka.batch_errors import CORRUPT_MESSAGE, InvalidBatch

if not cython.compiled:
    from entrepot.model.octets import get_u32_le

BLOCKS_MAX = 16_384  # clients' blocks have 64 KiB

_BLOCKS_MAX = BLOCKS_MAX
_MAGIC = 0x184D2204
_HEADER = 7
_VERSION_BITS, _VERSION, _INDEPENDENT, _BLOCK_CHECKSUM, _SIZE, _CHECKSUM = 0xC0, 0x40, 0x20, 0x10, 0x08, 0x04


def check_lz4(packed: bytes) -> int:
    """Whether that is one frame that can be read. Raises InvalidBatch."""
    size = len(packed)
    if size < _HEADER or get_u32_le(packed, 0) != _MAGIC:
        raise InvalidBatch(CORRUPT_MESSAGE, "a batch's lz4 does not begin with a frame")
    flags = packed[4]
    if flags & _VERSION_BITS != _VERSION or not flags & _INDEPENDENT:
        raise InvalidBatch(CORRUPT_MESSAGE, "a batch's lz4 has blocks that refer to each other, or is of another version: Kafka's readers cannot read it")
    pos = _HEADER + 8 if flags & _SIZE else _HEADER
    after = 4 if flags & _BLOCK_CHECKSUM else 0
    blocks = 0
    while pos + 4 <= size:
        block = get_u32_le(packed, pos) & 0x7FFFFFFF
        pos += 4
        if block == 0:
            if flags & _CHECKSUM:
                pos += 4
            if pos == size:
                return 0
            break
        blocks += 1
        if blocks > _BLOCKS_MAX:
            raise InvalidBatch(CORRUPT_MESSAGE, f"a batch's lz4 has more than {_BLOCKS_MAX} blocks")
        pos += block + after
    raise InvalidBatch(CORRUPT_MESSAGE, "a batch's lz4 has bytes behind its frame, which no reader reads" if pos < size else "a batch's lz4 is cut off")
