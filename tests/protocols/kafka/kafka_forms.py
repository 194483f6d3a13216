"""The same records in every form that compression may take, as other writers make them: what Kafka's readers read, and what they do not."""

from __future__ import annotations

import gzip
import struct

import cramjam
from kafka_batches import GZIP, LZ4, SNAPPY, ZSTD, lz4_frame, plain

RECORDS = plain([b"0" * 30, b"1" * 30, b"2" * 30, b"3" * 30])
FIRST, SECOND = b"".join(RECORDS[:2]), b"".join(RECORDS[2:])
ALL = FIRST + SECOND
MAGIC = b"\x82SNAPPY\x00"
HEADER = MAGIC + struct.pack(">ii", 1, 1)
SKIPPABLE = b"\x50\x2a\x4d\x18" + struct.pack("<I", 4) + b"abcd"


def member(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def block(data: bytes) -> bytes:
    packed = bytes(cramjam.snappy.compress_raw(data))
    return struct.pack(">i", len(packed)) + packed


def frame(data: bytes) -> bytes:
    return bytes(cramjam.zstd.compress(data))


TAKEN = {
    "gzip of two members": (GZIP, member(FIRST) + member(SECOND)),
    "gzip with an empty member": (GZIP, member(b"") + member(ALL)),
    "gzip with zeros behind it": (GZIP, member(ALL) + bytes(100)),
    "gzip with something behind it": (GZIP, member(ALL) + b"something"),
    "gzip with the start of a member behind it": (GZIP, member(ALL) + member(b"")[:12]),
    "snappy whose header comes again": (SNAPPY, HEADER + block(FIRST) + HEADER + block(SECOND)),
    "snappy whose header comes twice": (SNAPPY, HEADER + HEADER + block(ALL)),
    "snappy with a header behind it": (SNAPPY, HEADER + block(ALL) + HEADER),
    "lz4": (LZ4, lz4_frame(ALL)),
    "lz4 with a checksum": (LZ4, lz4_frame(ALL, checksum=True)),
    "zstd of two frames": (ZSTD, frame(FIRST) + frame(SECOND)),
}

REFUSED = {
    "gzip whose second member is cut": (GZIP, member(FIRST) + member(SECOND)[:-6]),
    "gzip with zeros between its members": (GZIP, member(FIRST) + bytes(30) + member(SECOND)),
    "gzip with more records behind it": (GZIP, member(ALL) + member(b"tail")),
    "gzip that is cut": (GZIP, member(ALL)[:-6]),
    "snappy with another header in it": (SNAPPY, HEADER + block(FIRST) + MAGIC + bytes(8) + block(SECOND)),
    "lz4 whose blocks refer to each other": (LZ4, lz4_frame(ALL, linked=True)),
    "lz4 of two frames": (LZ4, lz4_frame(FIRST) + lz4_frame(SECOND)),
    "lz4 behind a skippable frame": (LZ4, SKIPPABLE + lz4_frame(ALL)),
    "lz4 behind an empty frame": (LZ4, lz4_frame(b"") + lz4_frame(ALL)),
    "lz4 without an end": (LZ4, lz4_frame(ALL)[:-4]),
    "zstd with zeros behind it": (ZSTD, frame(ALL) + bytes(8)),
}

REFUSED_HERE = {
    "lz4 before a skippable frame": (LZ4, lz4_frame(ALL) + SKIPPABLE),
    "lz4 with something behind it": (LZ4, lz4_frame(ALL) + b"something"),
}
"""Java reads these, and librdkafka's readers stop at them."""
