"""The journal's bytes: file header, commit header, operations, encoded entries. Little-endian; docs/formats/journal.md is the page.

File header, 64 bytes at position 0 (commits follow from FILE_HEADER_SIZE, each 8-byte aligned):
    0 magic "EntrpJrn" | 8 version u8, minimum reader u8, u16 0 | 12 life u32 | 16 salt u64 | 24 predecessor's life u32 (0: none), u32 0
    32 predecessor's salt u64 | 40 first sequence u64: of the commit expected first here; the predecessor counts only below it
    48 chain u32: header checksum of the predecessor's last commit | 52 u64 0 | 60 CRC-32C of bytes 0..60

Commit header, 56 bytes:
    0 magic u32 "EJC1" | 4 version u8, minimum reader u8, flags u16 | 8 sequence u64 | 16 known synced u64 | 24 salt u64
    32 payload length u32 (without padding) | 36 payload CRC-32C u32 | 40 chain u32: the predecessor's header checksum | 44 operations u32
    48 u32 0 | 52 CRC-32C of bytes 0..52

Payload: u32 number of logs, their ids (16 bytes each), then operations, each: code u8, flags u8, u16 0, size u32 of what follows.
"""

from __future__ import annotations

import cython
from crc32c import crc32c

from entrepot.model.entry import Entry
from entrepot.model.errors import CorruptData

if not cython.compiled:
    from entrepot.model.octets import (
        copy,
        get_u32_le,
        get_u64_le,
        put_u16_le,
        put_u32_le,
        put_u64_le,
        resize_ba,
        take_ba,
    )
    from entrepot.store.entry_codec import encode_header

FILE_HEADER_SIZE = 64
COMMIT_HEADER_SIZE = 56
FILE_MAGIC = b"EntrpJrn"
COMMIT_MAGIC = 0x31434A45  # "EJC1"
VERSION = 1

OP_APPEND = 1
OP_DISCARD = 2
OP_MARK = 3
OP_FOLD = 4
OP_CREATE = 5
OP_DROP = 6
OP_REWRITE = 7

_SMALL = 2048  # data up to this many bytes is copied beside its header; larger is written from where it lies


class FileHeader:
    """A journal file's life: see the module's text."""

    __slots__ = ("chain", "first_sequence", "life", "previous_life", "previous_salt", "salt")

    def __init__(self, life: int, salt: int, previous_life: int, previous_salt: int, first_sequence: int, chain: int) -> None:
        self.life = life
        self.salt = salt
        self.previous_life = previous_life
        self.previous_salt = previous_salt
        self.first_sequence = first_sequence
        self.chain = chain


def encode_file_header(header: FileHeader) -> bytes:
    """FILE_HEADER_SIZE bytes."""
    head = bytearray(FILE_HEADER_SIZE)
    head[0:8] = FILE_MAGIC
    head[8] = VERSION
    head[9] = VERSION
    put_u32_le(head, 12, header.life)
    put_u64_le(head, 16, header.salt)
    put_u32_le(head, 24, header.previous_life)
    put_u64_le(head, 32, header.previous_salt)
    put_u64_le(head, 40, header.first_sequence)
    put_u32_le(head, 48, header.chain)
    put_u32_le(head, 60, crc32c(bytes(head[0:60])))
    return bytes(head)


def decode_file_header(data: bytes) -> FileHeader | None:
    """The header, or None if these bytes are none (a file not yet used, or cut, or damaged). CorruptData if it is from a newer version."""
    if len(data) < FILE_HEADER_SIZE or data[0:8] != FILE_MAGIC or get_u32_le(data, 60) != crc32c(data[0:60]):
        return None
    if data[9] > VERSION:
        raise CorruptData(f"journal file written by a newer version: needs a reader of format {data[9]}, this one reads {VERSION}")
    return FileHeader(get_u32_le(data, 12), get_u64_le(data, 16), get_u32_le(data, 24), get_u64_le(data, 32), get_u64_le(data, 40), get_u32_le(data, 48))


def encode_commit_header(sequence: int, synced: int, salt: int, length: int, payload_crc: int, chain: int, operations: int) -> bytes:
    """COMMIT_HEADER_SIZE bytes; the last four are its checksum, which the next commit carries as `chain`."""
    head = bytearray(COMMIT_HEADER_SIZE)
    put_u32_le(head, 0, COMMIT_MAGIC)
    head[4] = VERSION
    head[5] = VERSION
    put_u64_le(head, 8, sequence)
    put_u64_le(head, 16, synced)
    put_u64_le(head, 24, salt)
    put_u32_le(head, 32, length)
    put_u32_le(head, 36, payload_crc)
    put_u32_le(head, 40, chain)
    put_u32_le(head, 44, operations)
    put_u32_le(head, 52, crc32c(take_ba(head, 0, 52)))
    return bytes(head)


def padded(size: int) -> int:
    """`size` rounded up to the alignment of commits."""
    return (size + 7) & ~7


class CommitBuilder:
    """Builds one commit's payload as a list of parts; large data is a part as it lies. Call in the order of the format."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.head = bytearray()
        self.size = 0
        self.crc = 0  # of the payload, once it is sealed
        self.operations = 0
        self.entry_size = 0  # of the last append's encoded entry

    def begin(self, count: int) -> int:
        """The table of logs: `count`, then log_id() for each."""
        resize_ba(self.head, 4)
        put_u32_le(self.head, 0, count)
        self.size = 4
        return 0

    def log_id(self, log_id: bytes) -> int:
        """One row of the table; its number is its place."""
        h = self._grow(16)
        copy(self.head, h, log_id, 0, 16)
        return 0

    def append(self, targets: bytes, entry: Entry) -> int:
        """An append: `targets` is the packed (log u32, base u64) of each. The position of the encoded entry within the payload."""
        entry.seal()
        data = entry.data
        assert data is not None
        header = encode_header(entry)
        size = len(header)
        length = len(data)
        n = len(targets)
        h = self._grow(12 + n + size)
        head = self.head
        self.operations += 1
        head[h] = OP_APPEND
        head[h + 1] = 0
        put_u16_le(head, h + 2, 0)
        put_u32_le(head, h + 4, 4 + n + size + length)
        put_u32_le(head, h + 8, n // 12)
        copy(head, h + 12, targets, 0, n)
        copy(head, h + 12 + n, header, 0, size)
        position = self.size - size
        self.entry_size = size + length
        if length <= _SMALL:
            h = self._grow(length)
            copy(self.head, h, data, 0, length)
        else:
            self._flush()
            self.parts.append(data)
            self.size += length
        return position

    def discard(self, log: int, ranges: bytes) -> int:
        """Ranges of one log are gone: `ranges` is the packed (first u64, end u64) of each."""
        n = len(ranges)
        h = self._operation(OP_DISCARD, 4 + n)
        put_u32_le(self.head, h, log)
        copy(self.head, h + 4, ranges, 0, n)
        return 0

    def mark(self, log: int, offset: int) -> int:
        """May have been delivered below `offset`."""
        h = self._operation(OP_MARK, 12)
        put_u32_le(self.head, h, log)
        put_u64_le(self.head, h + 4, offset)
        return 0

    def fold(self, shard: int, key: bytes, delta: bytes) -> int:
        """A change of state."""
        n = len(key)
        m = len(delta)
        h = self._operation(OP_FOLD, 8 + n + m)
        put_u32_le(self.head, h, shard)
        put_u32_le(self.head, h + 4, n)
        copy(self.head, h + 8, key, 0, n)
        copy(self.head, h + 8 + n, delta, 0, m)
        return 0

    def create(self, log: int, shard: int) -> int:
        """A log of the table is new."""
        h = self._operation(OP_CREATE, 8)
        put_u32_le(self.head, h, log)
        put_u32_le(self.head, h + 4, shard)
        return 0

    def drop(self, log: int) -> int:
        """A log of the table is gone."""
        h = self._operation(OP_DROP, 4)
        put_u32_le(self.head, h, log)
        return 0

    def seal(self) -> int:
        """Nothing more is added: the payload has its checksum."""
        self._flush()
        crc = 0
        for part in self.parts:
            crc = crc32c(part, crc)
        self.crc = crc
        return 0

    def finish(self, sequence: int, synced: int, salt: int, chain: int) -> int:
        """Complete, after seal(): `parts` are header, payload and padding; the header's checksum is returned for the next commit's chain."""
        header = encode_commit_header(sequence, synced, salt, self.size, self.crc, chain, self.operations)
        padding = ((self.size + 7) & ~7) - self.size
        if padding:
            self.parts.append(bytes(padding))
        self.parts.insert(0, header)
        return get_u32_le(header, 52)

    def _operation(self, code: int, size: int) -> int:
        """Room for an operation; the position of its body in `head`."""
        h = self._grow(8 + size)
        self.operations += 1
        self.head[h] = code
        self.head[h + 1] = 0
        put_u16_le(self.head, h + 2, 0)
        put_u32_le(self.head, h + 4, size)
        return h + 8

    def _grow(self, size: int) -> int:
        h = len(self.head)
        resize_ba(self.head, h + size)
        self.size += size
        return h

    def _flush(self) -> int:
        n = len(self.head)
        if n:
            self.parts.append(take_ba(self.head, 0, n))
            resize_ba(self.head, 0)
        return 0
