"""Record batches for tests, written out field by field so that each of them can lie."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Sequence
from typing import Any

import cramjam
from crc32c import crc32c
from hypothesis import strategies as st

NONE, GZIP, SNAPPY, LZ4, ZSTD, SNAPPY_FRAMED = 0, 1, 2, 3, 4, 10
COMPRESSIONS = (NONE, GZIP, SNAPPY, LZ4, ZSTD, SNAPPY_FRAMED)
Headers = Sequence[tuple[bytes, bytes | None]]


def varint(value: int) -> bytes:
    raw = value << 1 if value >= 0 else (-value << 1) - 1
    out = bytearray()
    while raw > 0x7F:
        out.append(raw & 0x7F | 0x80)
        raw >>= 7
    out.append(raw)
    return bytes(out)


def sized(value: bytes | None) -> bytes:
    return varint(-1) if value is None else varint(len(value)) + value


def record(key: bytes | None = None, value: bytes | None = b"", headers: Headers = (), *, delta: int = 0, time_delta: int = 0) -> bytes:
    body = b"\x00" + varint(time_delta) + varint(delta) + sized(key) + sized(value) + varint(len(headers))
    body += b"".join(sized(name) + sized(content) for name, content in headers)
    return varint(len(body)) + body


def pack(compression: int, data: bytes) -> bytes:
    if compression == GZIP:
        return gzip.compress(data, 1, mtime=0)
    if compression == SNAPPY:
        return bytes(cramjam.snappy.compress_raw(data))
    if compression == SNAPPY_FRAMED:
        blocks = [bytes(cramjam.snappy.compress_raw(data[at : at + 40])) for at in range(0, len(data), 40)]
        return b"\x82SNAPPY\x00" + struct.pack(">ii", 1, 1) + b"".join(struct.pack(">i", len(block)) + block for block in blocks)
    if compression == LZ4:
        return lz4_frame(data)
    if compression == ZSTD:
        return bytes(cramjam.zstd.compress(data))
    return data


def lz4_frame(data: bytes, *, linked: bool = False, checksum: bool = False) -> bytes:
    """One frame; blocks that refer to each other are what Kafka's readers do not read."""
    frame = cramjam.lz4.Compressor(block_linked=linked, content_checksum=checksum)
    frame.compress(data)
    return bytes(frame.finish())


def seal(body: bytes, base_offset: int = 0, epoch: int = -1, magic: int = 2, crc: int | None = None, size: int | None = None) -> bytes:
    """Frame what follows the checksum."""
    crc = crc32c(body) if crc is None else crc
    return struct.pack(">qiiBI", base_offset, len(body) + 9 if size is None else size, epoch, magic, crc) + body


def batch(
    records: Sequence[bytes],
    compression: int = NONE,
    *,
    attributes: int = 0,
    last_delta: int | None = None,
    base_time: int = 1_000,
    max_time: int | None = None,
    producer: tuple[int, int, int] = (-1, -1, -1),
    count: int | None = None,
    **frame: Any,
) -> bytes:
    packed = pack(compression, b"".join(records))
    count = len(records) if count is None else count
    last_delta = len(records) - 1 if last_delta is None else last_delta
    fields = (attributes | (SNAPPY if compression == SNAPPY_FRAMED else compression), last_delta, base_time, base_time if max_time is None else max_time)
    return seal(struct.pack(">hiqqqhii", *fields, *producer, count) + packed, **frame)


def plain(values: Sequence[bytes]) -> list[bytes]:
    """Records with these values, numbered."""
    return [record(None, value, delta=index) for index, value in enumerate(values)]


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8).map(str.encode)
contents = st.one_of(st.none(), st.binary(max_size=40))
header_lists = st.lists(st.tuples(texts, contents), max_size=3)
record_fields = st.tuples(contents, contents, header_lists, st.integers(-1000, 10**6))


def numbered(fields: Sequence[tuple[bytes | None, bytes | None, Headers, int]]) -> list[bytes]:
    return [record(key, value, headers, delta=index, time_delta=delta) for index, (key, value, headers, delta) in enumerate(fields)]


valid_batches = st.builds(
    lambda fields, compression, base_time: batch(numbered(fields), compression, base_time=base_time, max_time=base_time + max(delta for *_, delta in fields)),
    st.lists(record_fields, min_size=1, max_size=6),
    st.sampled_from(COMPRESSIONS),
    st.integers(1_000, 2**42),
)
