"""What is inside a compressed record batch: gzip, snappy (plain and in the framing of Java's clients), one LZ4 frame, zstd.

What is taken is what Kafka's clients read. gzip may have several members; what is behind them and is none is passed over, as Java does. Java's snappy
framing: 0x82 "SNAPPY" 0x00, two u32 of versions, then blocks of u32 size (big-endian) and a plain snappy block; the header may come again
between blocks. Of LZ4 all is unpacked that the library unpacks; lz4_frame.py looks at what comes in.
docs/decisions/compression.md says which libraries, and why.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import TypeVar

import cramjam

from entrepot.protocols.kafka.batch_errors import CORRUPT_MESSAGE, MESSAGE_TOO_LARGE, UNSUPPORTED_COMPRESSION_TYPE, InvalidBatch

BytesT = TypeVar("BytesT", bytes, memoryview)

# A batch's compression, bits 0 to 2 of its attributes.
NONE = 0
GZIP = 1
SNAPPY = 2
LZ4 = 3
ZSTD = 4

NAMES = ("none", "gzip", "snappy", "lz4", "zstd")

UNPACKED_MAX_BYTES = 64 << 20  # unless told otherwise
_ROOM_BYTES = 1 << 20  # kept from batch to batch; Kafka's clients make batches of 16 KiB to 1 MiB
_GROWTH = 8
FRAMED = b"\x82SNAPPY\x00"
FRAME_HEADER = 16
FRAME_VERSION_MIN = 1
MEMBER = b"\x1f\x8b\x08"
MEMBER_MIN_BYTES = 19  # Java looks for no further member in less
MEMBERS_MAX = 1_000
_CHUNK_BYTES = 64 << 10
SNAPPY_RATIO_MAX = 64  # a copy of 64 bytes takes at least 2
_FULL = "failed to write whole buffer"  # what the library says when the target has no more room


def is_full(error: cramjam.DecompressionError) -> bool:
    """Whether the library had no more room, and nothing else was wrong so far."""
    return _FULL in str(error)


class Unpacker:
    """Decompresses, at most `unpacked_max_bytes` a batch, whatever the compressed bytes claim. Holds a buffer; of one thread."""

    def __init__(self, unpacked_max_bytes: int = UNPACKED_MAX_BYTES) -> None:
        self.unpacked_max_bytes = unpacked_max_bytes
        self._room = bytearray(min(_ROOM_BYTES, unpacked_max_bytes))

    def unpack(self, compression: int, packed: bytes) -> bytes:
        """The bytes that were compressed.

        Raises InvalidBatch: UNSUPPORTED_COMPRESSION_TYPE, MESSAGE_TOO_LARGE (over the bound), CORRUPT_MESSAGE.
        """
        try:
            if compression == NONE:
                return packed
            if compression == GZIP:
                return self._gzip(packed)
            if compression == SNAPPY:
                return self._snappy(packed)
            if compression == LZ4:
                return self._into_room(cramjam.lz4.decompress_into, packed)
            if compression == ZSTD:
                return self._into_room(cramjam.zstd.decompress_into, packed)
        except (cramjam.DecompressionError, zlib.error) as error:
            raise InvalidBatch(CORRUPT_MESSAGE, f"a batch's {NAMES[compression]} is damaged: {error}") from None
        raise InvalidBatch(UNSUPPORTED_COMPRESSION_TYPE, f"no compression has the number {compression}")

    def _gzip(self, packed: bytes) -> bytes:
        stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
        data = stream.decompress(packed, self.unpacked_max_bytes + 1)
        if len(data) > self.unpacked_max_bytes:
            raise self._too_large()
        if not stream.eof:
            raise InvalidBatch(CORRUPT_MESSAGE, "a batch's gzip is cut off")
        if not stream.unused_data:
            return data
        return data + self._further_members(stream.unused_data, self.unpacked_max_bytes - len(data))

    def _further_members(self, rest: bytes, left: int) -> bytes:
        """What the gzip members at the start of `rest` have, at most `left` bytes. It is fed by pieces, for of each the library copies what it has not used."""
        parts = []
        pos = 0
        members = 1
        while len(rest) - pos >= MEMBER_MIN_BYTES and rest.startswith(MEMBER, pos):
            members += 1
            if members > MEMBERS_MAX:
                raise InvalidBatch(CORRUPT_MESSAGE, f"a batch's gzip has more than {MEMBERS_MAX} members")
            stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
            while not stream.eof:
                chunk = rest[pos : pos + _CHUNK_BYTES]
                if not chunk:
                    raise InvalidBatch(CORRUPT_MESSAGE, "a batch's gzip is cut off")
                parts.append(stream.decompress(chunk, left + 1))
                left -= len(parts[-1])
                if left < 0:
                    raise self._too_large()
                pos += len(chunk) - len(stream.unused_data)
        return b"".join(parts)

    def _snappy(self, packed: bytes) -> bytes:
        if not packed.startswith(FRAMED):
            return self._block(packed, self.unpacked_max_bytes)
        parts = []
        left = self.unpacked_max_bytes
        for block in framed_blocks(packed):
            parts.append(self._block(block, left))
            left -= len(parts[-1])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _block(self, block: bytes, size_max: int) -> bytes:
        """A plain snappy block, which begins with the size of what it unpacks to."""
        size = cramjam.snappy.decompress_raw_len(block)
        if size > len(block) * SNAPPY_RATIO_MAX:
            raise InvalidBatch(CORRUPT_MESSAGE, f"a batch's snappy claims {size} bytes out of {len(block)}")
        if size > size_max:
            raise self._too_large()
        room = bytearray(size)
        filled = cramjam.snappy.decompress_raw_into(block, room)
        if filled != size:
            raise InvalidBatch(CORRUPT_MESSAGE, f"a batch's snappy claims {size} bytes and has {filled}")
        return bytes(room)

    def _into_room(self, decompress_into: Callable[[bytes, bytearray], int], packed: bytes) -> bytes:
        """Decompress into the buffer, or into larger ones until it fits or the bound is reached."""
        room = self._room
        while True:
            try:
                filled = decompress_into(packed, room)
            except cramjam.DecompressionError as error:
                if not is_full(error):
                    raise
                if len(room) >= self.unpacked_max_bytes:
                    raise self._too_large() from None
                room = bytearray(min(len(room) * _GROWTH, self.unpacked_max_bytes))
            else:
                return bytes(memoryview(room)[:filled])

    def _too_large(self) -> InvalidBatch:
        return InvalidBatch(MESSAGE_TOO_LARGE, f"a batch unpacks to more than {self.unpacked_max_bytes} bytes")


def framed_blocks(packed: BytesT) -> Iterator[BytesT]:
    """The blocks of snappy as xerial's library frames it, headers before and between them. Raises InvalidBatch."""
    pos = FRAME_HEADER
    while pos < len(packed):
        if packed[pos : pos + len(FRAMED)] == FRAMED:
            if int.from_bytes(packed[pos + 8 : pos + 12], "big") < FRAME_VERSION_MIN or pos + FRAME_HEADER > len(packed):
                raise InvalidBatch(CORRUPT_MESSAGE, "a batch's snappy has a header within it that is none")
            pos += FRAME_HEADER
            continue
        size = int.from_bytes(packed[pos : pos + 4], "big")
        pos += 4
        if size > len(packed) - pos:
            raise InvalidBatch(CORRUPT_MESSAGE, f"a batch's snappy has a block of {size} bytes, where {len(packed) - pos} are left")
        yield packed[pos : pos + size]
        pos += size
