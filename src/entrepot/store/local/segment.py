"""The segment format: an immutable file of entries sorted by shard and log. Pure functions of bytes; no file is touched here.

Little-endian, except the shard in an index key. Layout, versions 1 and 2 (docs/formats/segment.md explains it):

    header, 64 bytes    0 magic "EntrSegm" | 8 u16 version | 10 u16 minimum reader | 12 u32 0 | 16 u64 segment id |
                        24 u32 life of the journal file that it adopts, version 2 then (0: none) | 28 zeroes | 60 u32 CRC-32C of 0..60
    frames              of one piece after the other; a piece is a run of one log's entries, ascending
        frame head, 32  0 u64 base | 8 u64 time ms | 16 u32 size | 20 u32 span | 24 u32 kind | 28 u32 CRC-32C of 0..28
        kind 0          then the encoded entry, `size` bytes, with a CRC-32C of its own
        kind 1          then u64 position of that encoded entry in this file and u64 position + base mod 2^64 (its check): a payload stored once
        kind 2          the same, but of the encoded entry in the journal file adopted
    index               pieces, 72 bytes each, ascending by (shard, log, first); then steps, 24 bytes each
        piece           0 u32 shard, big-endian | 4 log id, 16 | 20 u32 steps | 24 u64 first | 32 u64 end | 40 u64 position | 48 u64 size |
                        56 u64 greatest time ms | 64 u32 number of its first step | 68 u32 entries
        step            0 u64 base | 8 u64 position | 16 u64 greatest time ms of the entries up to the next step
    footer, 64 bytes    0 magic "EntrSegE" | 8 u16 version | 10 u16 minimum reader | 12 u32 pieces | 16 u64 segment id | 24 u64 position of the index |
                        32 u32 steps | 36 u32 CRC-32C of the index | 40 u64 size of the file | 48 zeroes | 60 u32 CRC-32C of 0..60

A piece is authoritative for every offset of [first, end): what it does not hold there is gone (discarded or compacted).
"""

from __future__ import annotations

from typing import TypeAlias

import cython
from crc32c import crc32c as _crc32c

from entrepot.model.entry import StoredEntry, stored_entry
from entrepot.model.errors import CorruptData
from entrepot.store.entry_codec import decode_apart, decode_entry

if not cython.compiled:
    from entrepot.model.octets import copy, get_u16_le, get_u32_le, get_u64_le, put_u16_le, put_u32_le, put_u64_le, take, take_ba

_MAGIC = b"EntrSegm"
_END_MAGIC = b"EntrSegE"
_VERSION = 2
_PLAIN_VERSION = 1  # of a segment that adopts no journal file
_HEADER_SIZE = 64
_FOOTER_SIZE = 64
_HEAD_SIZE = 32
_PIECE_SIZE = 72
_STEP_SIZE = 24
_STEP_BYTES = 64 * 1024  # a step of the index covers about so many bytes of frames
_SHARED_SIZE_MIN = 4 * 1024  # bodies over this are stored once per shard
_SHARED_COUNT_MAX = 65_536  # of them remembered at once
_OUTPUT_SIZE = 1024 * 1024
_PAGE_SIZE = 4096
_INLINE = 0
_REFERENCE = 1
_ADOPTED = 2

HEADER_SIZE = _HEADER_SIZE
FOOTER_SIZE = _FOOTER_SIZE
HEAD_SIZE = _HEAD_SIZE
OUTPUT_SIZE = _OUTPUT_SIZE
STEP_BYTES = _STEP_BYTES

Reference: TypeAlias = tuple[int, int, int, int]
"""(place in the list of entries, base, position, size) of an entry whose bytes lie elsewhere in the file, or in the journal file adopted."""


class SegmentWriter:
    """Encodes one segment; its output is taken piecemeal and written by the caller, one behind the other from position 0.

    `life` is that of the journal file which it adopts, 0 if none: then every entry is given by adopt(), else by add().
    begin(shard, log, first) add(...)... end(end) for each piece, ascending by (shard, log, first); then finish().
    """

    __slots__ = (
        "_entries",
        "_first",
        "_greatest_ms",
        "_key",
        "_last_key",
        "_out",
        "_piece_position",
        "_piece_step",
        "_pieces",
        "_shared",
        "_step_size",
        "_step_time_ms",
        "_steps",
        "_taken",
        "_used",
        "_version",
        "piece_count",
        "segment_id",
        "step_count",
    )

    segment_id: int
    piece_count: int
    step_count: int

    def __init__(self, segment_id: int, life: int = 0) -> None:
        self.segment_id = segment_id
        self._version = _VERSION if life else _PLAIN_VERSION
        self.piece_count = 0
        self.step_count = 0
        self._out = bytearray(_OUTPUT_SIZE + 65_536)
        self._used = 0
        self._taken = 0
        self._pieces: list[bytes] = []
        self._steps = bytearray()
        self._shared: dict[int, int] = {}
        self._key = b""
        self._last_key = b""
        self._first = 0
        self._entries = 0
        self._piece_position = 0
        self._piece_step = 0
        self._greatest_ms = 0
        self._step_size = 0  # bytes of entries and heads since the step began
        self._step_time_ms = 0
        header = bytearray(_HEADER_SIZE)
        header[0:8] = _MAGIC
        put_u16_le(header, 8, self._version)
        put_u16_le(header, 10, self._version)
        put_u64_le(header, 16, segment_id)
        put_u32_le(header, 24, life)
        put_u32_le(header, 60, _crc32c(take_ba(header, 0, 60)))
        self._put(bytes(header), 0, _HEADER_SIZE)

    def position(self) -> int:
        """Where the next byte goes in the file."""
        return self._taken + self._used

    def pending(self) -> int:
        """Bytes of output that take() would give."""
        return self._used

    def begin(self, shard: int, log_id: bytes, first: int) -> int:
        """Start a piece that is authoritative from offset `first`."""
        key = shard.to_bytes(4, "big") + log_id
        assert len(key) == 20, "a log id has 16 bytes"
        assert self._key == b"", "the last piece is not ended"
        assert (key, first) >= (self._last_key, self._first), "pieces out of order"
        if take(key, 0, 4) != self._last_key[:4]:
            self._shared.clear()
        self._key = key
        self._first = first
        self._entries = 0
        self._greatest_ms = 0
        self._piece_position = self._taken + self._used
        self._piece_step = self.step_count
        return 0

    def add(self, base: int, span: int, time_ms: int, source: bytes, pos: int, size: int, key: int) -> int:
        """One entry: `size` encoded bytes at source[pos:]. Entries with the same `key` (none: -1) have the same bytes."""
        position = self._taken + self._used
        self._in_step(base, position, time_ms)
        shared = -1
        if key >= 0 and size > _SHARED_SIZE_MIN:
            found = self._shared.get(key)
            if found is not None:
                shared = found
            else:
                if len(self._shared) >= _SHARED_COUNT_MAX:
                    self._shared.clear()
                self._shared[key] = position + _HEAD_SIZE
        if shared >= 0:
            return self._refer(base, span, time_ms, size, _REFERENCE, shared)
        self._room(_HEAD_SIZE + size)
        at = self._head(base, span, time_ms, size, _INLINE)
        copy(self._out, at, source, pos, size)
        self._used = at + size
        self._step_size += _HEAD_SIZE + size
        return 0

    def adopt(self, base: int, span: int, time_ms: int, position: int, size: int) -> int:
        """One entry whose `size` encoded bytes stay at `position` of the journal file adopted."""
        self._in_step(base, self._taken + self._used, time_ms)
        self._refer(base, span, time_ms, size, _ADOPTED, position)
        self._step_size += size
        return 0

    def _in_step(self, base: int, position: int, time_ms: int) -> int:
        """Count an entry that begins at `position`; it begins a step if the last one is long enough."""
        if self._entries == 0 or self._step_size >= _STEP_BYTES:
            self._end_step()
            start = len(self._steps)
            self._steps.extend(bytes(_STEP_SIZE))
            put_u64_le(self._steps, start, base)
            put_u64_le(self._steps, start + 8, position)
            self.step_count += 1
            self._step_size = 0
            self._step_time_ms = 0
        if time_ms > self._step_time_ms:
            self._step_time_ms = time_ms
        self._entries += 1
        return 0

    def _head(self, base: int, span: int, time_ms: int, size: int, kind: int) -> int:
        """A frame's head, for which there is room; where what follows it goes."""
        at = self._used
        put_u64_le(self._out, at, base)
        put_u64_le(self._out, at + 8, time_ms)
        put_u32_le(self._out, at + 16, size)
        put_u32_le(self._out, at + 20, span)
        put_u32_le(self._out, at + 24, kind)
        put_u32_le(self._out, at + 28, _crc32c(take_ba(self._out, at, 28)))
        return at + _HEAD_SIZE

    def _refer(self, base: int, span: int, time_ms: int, size: int, kind: int, position: int) -> int:
        """A frame that says where the entry's bytes are."""
        self._room(_HEAD_SIZE + 16)
        at = self._head(base, span, time_ms, size, kind)
        put_u64_le(self._out, at, position)
        put_u64_le(self._out, at + 8, (position + base) & 0xFFFFFFFFFFFFFFFF)
        self._used = at + 16
        self._step_size += _HEAD_SIZE + 16
        return 0

    def knows(self, key: int) -> bool:
        """Whether an entry with this key may be added without its bytes."""
        return key in self._shared

    def end(self, end: int) -> int:
        """End the piece at offset `end`. A piece without entries is kept: it says that all of its range is gone."""
        self._end_step()
        piece = bytearray(_PIECE_SIZE)
        copy(piece, 0, self._key, 0, 20)
        put_u32_le(piece, 20, self.step_count - self._piece_step)
        put_u64_le(piece, 24, self._first)
        put_u64_le(piece, 32, end)
        put_u64_le(piece, 40, self._piece_position)
        put_u64_le(piece, 48, self._taken + self._used - self._piece_position)
        put_u64_le(piece, 56, self._greatest_ms)
        put_u32_le(piece, 64, self._piece_step)
        put_u32_le(piece, 68, self._entries)
        self._pieces.append(bytes(piece))
        self.piece_count += 1
        self._last_key = self._key
        self._key = b""
        self._first = end
        return 0

    def take(self) -> bytes:
        """The output since the last call, up to the last whole page: a write that begins within a cache line is many times slower."""
        return self._take(self._used & ~(_PAGE_SIZE - 1))

    def _take(self, size: int) -> bytes:
        output = take_ba(self._out, 0, size)
        rest = take_ba(self._out, size, self._used - size)
        if len(self._out) > 2 * _OUTPUT_SIZE:
            self._out = bytearray(_OUTPUT_SIZE + 65_536)
        copy(self._out, 0, rest, 0, len(rest))
        self._taken += size
        self._used = len(rest)
        return output

    def finish(self) -> bytes:
        """The last output, whole: what was not taken yet, index and footer. position() is then the file's size."""
        index = b"".join(self._pieces) + bytes(self._steps)
        index_position = self._taken + self._used
        footer = bytearray(_FOOTER_SIZE)
        footer[0:8] = _END_MAGIC
        put_u16_le(footer, 8, self._version)
        put_u16_le(footer, 10, self._version)
        put_u32_le(footer, 12, self.piece_count)
        put_u64_le(footer, 16, self.segment_id)
        put_u64_le(footer, 24, index_position)
        put_u32_le(footer, 32, self.step_count)
        put_u32_le(footer, 36, _crc32c(index))
        put_u64_le(footer, 40, index_position + len(index) + _FOOTER_SIZE)
        put_u32_le(footer, 60, _crc32c(take_ba(footer, 0, 60)))
        self._put(index, 0, len(index))
        self._put(bytes(footer), 0, _FOOTER_SIZE)
        return self._take(self._used)

    def _end_step(self) -> int:
        if self.step_count > self._piece_step:
            put_u64_le(self._steps, len(self._steps) - 8, self._step_time_ms)
        if self._step_time_ms > self._greatest_ms:
            self._greatest_ms = self._step_time_ms
        self._step_time_ms = 0
        return 0

    def _room(self, size: int) -> int:
        if size > len(self._out) - self._used:
            self._out.extend(bytes(size + self._used - len(self._out) + _OUTPUT_SIZE))
        return 0

    def _put(self, data: bytes, pos: int, size: int) -> int:
        self._room(size)
        copy(self._out, self._used, data, pos, size)
        self._used += size
        return 0


class Piece:
    """A run of one log's entries in a segment: authoritative for offsets [first, end)."""

    __slots__ = ("data_size", "end", "entry_count", "first", "key", "max_time_ms", "position", "size", "step_count", "step_first")

    key: bytes  # shard (4 bytes, big-endian) and log id
    first: int
    end: int
    position: int
    size: int
    data_size: int  # bytes to be read for all of it
    max_time_ms: int
    step_first: int
    step_count: int
    entry_count: int


class SegmentIndex:
    """A segment's directory of pieces and steps, as loaded from its file; with its frames, if it adopts a journal file: they are few."""

    __slots__ = ("data", "frames", "index_position", "piece_count", "segment_id", "step_count")

    segment_id: int
    data: bytes  # pieces, then steps
    frames: bytes  # all that lies before the index, from HEADER_SIZE on; or nothing
    index_position: int
    piece_count: int
    step_count: int

    def size(self) -> int:
        """Bytes that it holds in memory."""
        return len(self.data) + len(self.frames)

    def data_size(self, position: int, end: int) -> int:
        """Bytes of the frames between two positions of the file, and of the entries that they refer to in a journal file adopted."""
        size = end - position
        if self.frames:
            start = position - _HEADER_SIZE
            end -= _HEADER_SIZE
            while start < end:
                size += get_u32_le(self.frames, start + 16)
                start += _HEAD_SIZE + 16
        return size

    def piece(self, number: int) -> Piece:
        """The piece of that number, from 0."""
        if number < 0 or number >= self.piece_count:
            raise IndexError(number)
        at = number * _PIECE_SIZE
        piece = Piece.__new__(Piece)
        piece.key = take(self.data, at, 20)
        piece.step_count = get_u32_le(self.data, at + 20)
        piece.first = get_u64_le(self.data, at + 24)
        piece.end = get_u64_le(self.data, at + 32)
        piece.position = get_u64_le(self.data, at + 40)
        piece.size = get_u64_le(self.data, at + 48)
        piece.data_size = self.data_size(piece.position, piece.position + piece.size)
        piece.max_time_ms = get_u64_le(self.data, at + 56)
        piece.step_first = get_u32_le(self.data, at + 64)
        piece.entry_count = get_u32_le(self.data, at + 68)
        return piece

    def pieces(self, key: bytes) -> list[Piece]:
        """The pieces of one log (key: shard, big-endian, and log id), ascending by offset."""
        low = 0
        high = self.piece_count
        while low < high:
            middle = (low + high) >> 1
            if take(self.data, middle * _PIECE_SIZE, 20) < key:
                low = middle + 1
            else:
                high = middle
        found = []
        while low < self.piece_count and take(self.data, low * _PIECE_SIZE, 20) == key:
            found.append(self.piece(low))
            low += 1
        return found

    def step(self, number: int) -> tuple[int, int, int]:
        """(base, position, greatest time in ms) of a step."""
        if number < 0 or number >= self.step_count:
            raise IndexError(number)
        at = self.piece_count * _PIECE_SIZE + number * _STEP_SIZE
        return get_u64_le(self.data, at), get_u64_le(self.data, at + 8), get_u64_le(self.data, at + 16)

    def step_of_offset(self, piece: Piece, offset: int) -> int:
        """The number of the last step of `piece` whose base is at or below `offset`, or its first."""
        steps = self.piece_count * _PIECE_SIZE
        low = piece.step_first
        high = piece.step_first + piece.step_count
        while high - low > 1:
            middle = (low + high) >> 1
            if get_u64_le(self.data, steps + middle * _STEP_SIZE) <= offset:
                low = middle
            else:
                high = middle
        return low

    def step_of_time(self, piece: Piece, time_ms: int, number: int) -> int:
        """The first step of `piece` from `number` on that holds an entry at or after `time_ms`; -1 if none does."""
        steps = self.piece_count * _PIECE_SIZE
        end = piece.step_first + piece.step_count
        while number < end:
            if get_u64_le(self.data, steps + number * _STEP_SIZE + 16) >= time_ms:
                return number
            number += 1
        return -1


def check_header(name: str, data: bytes) -> int:
    """The segment id in a file's first HEADER_SIZE bytes. Raises CorruptData."""
    if len(data) != _HEADER_SIZE or take(data, 0, 8) != _MAGIC:
        raise CorruptData(f"{name}: no segment header at position 0; run 'entrepot store verify'")
    if _crc32c(take(data, 0, 60)) != get_u32_le(data, 60):
        raise CorruptData(f"{name}: the header at position 0 fails its checksum; run 'entrepot store verify'")
    if get_u16_le(data, 10) > _VERSION:
        raise CorruptData(f"{name}: needs a reader of version {get_u16_le(data, 10)}, this one reads up to {_VERSION}; use a newer entrepot")
    return get_u64_le(data, 16)


def index_place(name: str, file_size: int, footer: bytes) -> tuple[int, int]:
    """(position, size) of the index, from the file's last FOOTER_SIZE bytes. Raises CorruptData."""
    if len(footer) != _FOOTER_SIZE or file_size < _HEADER_SIZE + _FOOTER_SIZE or take(footer, 0, 8) != _END_MAGIC:
        raise CorruptData(f"{name}: no footer at the end (size {file_size}): the file is cut; run 'entrepot store verify'")
    at = file_size - _FOOTER_SIZE
    if _crc32c(take(footer, 0, 60)) != get_u32_le(footer, 60):
        raise CorruptData(f"{name}: the footer at position {at} fails its checksum; run 'entrepot store verify'")
    if get_u16_le(footer, 10) > _VERSION:
        raise CorruptData(f"{name}: needs a reader of version {get_u16_le(footer, 10)}, this one reads up to {_VERSION}; use a newer entrepot")
    size = get_u32_le(footer, 12) * _PIECE_SIZE + get_u32_le(footer, 32) * _STEP_SIZE
    position = get_u64_le(footer, 24)
    if get_u64_le(footer, 40) != file_size or position > at or at - position != size:
        raise CorruptData(f"{name}: the footer at position {at} speaks of a file of {get_u64_le(footer, 40)} bytes, this one has {file_size}")
    return position, size


def load_index(name: str, footer: bytes, index: bytes) -> SegmentIndex:
    """The index whose place index_place() told. Raises CorruptData."""
    position = get_u64_le(footer, 24)
    if _crc32c(index) != get_u32_le(footer, 36):
        raise CorruptData(f"{name}: the index at position {position} ({len(index)} bytes) fails its checksum; run 'entrepot store verify'")
    loaded = SegmentIndex.__new__(SegmentIndex)
    loaded.data = index
    loaded.frames = b""
    loaded.index_position = position
    loaded.segment_id = get_u64_le(footer, 16)
    loaded.piece_count = get_u32_le(footer, 12)
    loaded.step_count = get_u32_le(footer, 32)
    return loaded


def _check_head(name: str, position: int, data: bytes, at: int) -> int:
    """Check the frame head at data[at:]; the frame's whole size."""
    if _crc32c(take(data, at, 28)) != get_u32_le(data, at + 28):
        raise CorruptData(f"{name}: the frame at position {position + at} fails its checksum; run 'entrepot store verify'")
    kind = get_u32_le(data, at + 24)
    if kind == _INLINE:
        return _HEAD_SIZE + get_u32_le(data, at + 16)
    if kind in (_REFERENCE, _ADOPTED):
        return _HEAD_SIZE + 16
    raise CorruptData(f"{name}: the frame at position {position + at} is of unknown kind {kind}; use a newer entrepot")


def frame_size(name: str, position: int, data: bytes, at: int) -> int:
    """The whole size of the frame whose head lies at data[at:], `data` being at `position` of the file. Raises CorruptData."""
    return _check_head(name, position, data, at)


def _referred(name: str, position: int, data: bytes, at: int) -> int:
    target = get_u64_le(data, at + _HEAD_SIZE)
    if (target + get_u64_le(data, at)) & 0xFFFFFFFFFFFFFFFF != get_u64_le(data, at + _HEAD_SIZE + 8):
        raise CorruptData(f"{name}: the reference at position {position + at} fails its check; run 'entrepot store verify'")
    return target


def parse_frames(
    name: str, position: int, data: bytes, first: int, end: int, size_max: int, entries: list[StoredEntry | None], references: list[Reference]
) -> int:
    """Decode the whole frames in `data`, which begins with a frame at `position` of the file; the number of bytes they take.

    Appends entries that meet offsets [first, end), until there are about `size_max` bytes of them; the number is len(data) + 1 if it met
    one that begins at or after `end`. An entry stored elsewhere is None in `entries` and stands in `references`. Raises CorruptData.
    """
    at = 0
    size = len(data)
    got = 0
    while size - at >= _HEAD_SIZE and got < size_max:
        whole = _check_head(name, position, data, at)
        if whole > size - at:
            break
        base = get_u64_le(data, at)
        if base >= end:
            return size + 1
        if base + get_u32_le(data, at + 20) > first:
            got += get_u32_le(data, at + 16)
            if get_u32_le(data, at + 24) == _INLINE:
                entries.append(decode_referred(name, position + at + _HEAD_SIZE, base, data, at + _HEAD_SIZE, whole - _HEAD_SIZE))
            else:
                references.append((len(entries), base, _referred(name, position, data, at), get_u32_le(data, at + 16)))
                entries.append(None)
        at += whole
    return at


def decode_referred(name: str, position: int, base: int, data: bytes, at: int, size: int) -> StoredEntry:
    """The entry that a reference points to: `size` bytes at data[at:], `position` of the file. Raises CorruptData."""
    if size < 4 or size > len(data) - at or get_u32_le(data, at) != size:
        raise CorruptData(f"{name}: the entry at position {position} (offset {base}) has not the {size} bytes it should; run 'entrepot store verify'")
    try:
        return stored_entry(base, decode_entry(data, at, at + size))
    except CorruptData as error:
        raise CorruptData(f"{name}: at position {position} (offset {base}): {error}; run 'entrepot store verify'") from None


def decode_referred_apart(name: str, position: int, base: int, head: bytes, data: bytes) -> StoredEntry:
    """The same, read as two pieces (decode_apart). Raises CorruptData."""
    try:
        return stored_entry(base, decode_apart(head, data))
    except CorruptData as error:
        raise CorruptData(f"{name}: at position {position} (offset {base}): {error}; run 'entrepot store verify'") from None


class Frame:
    """A frame's head, for merging and searching without decoding entries."""

    __slots__ = ("at", "base", "position", "size", "span", "time_ms", "whole_size")

    base: int
    span: int
    time_ms: int
    size: int  # of the encoded entry
    at: int  # where in the given data it lies; -1: at `position` of the file, or of the journal file adopted
    position: int  # where in that file the encoded entry lies
    whole_size: int


def read_frame(name: str, position: int, data: bytes, at: int) -> Frame | None:
    """The frame at data[at:] (data lies at `position` of the file); None if it is not whole. Raises CorruptData."""
    if len(data) - at < _HEAD_SIZE:
        return None
    whole = _check_head(name, position, data, at)
    if whole > len(data) - at:
        return None
    frame = Frame.__new__(Frame)
    frame.base = get_u64_le(data, at)
    frame.time_ms = get_u64_le(data, at + 8)
    frame.size = get_u32_le(data, at + 16)
    frame.span = get_u32_le(data, at + 20)
    frame.whole_size = whole
    if get_u32_le(data, at + 24) == _INLINE:
        frame.at = at + _HEAD_SIZE
        frame.position = position + at + _HEAD_SIZE
    else:
        frame.at = -1
        frame.position = _referred(name, position, data, at)
    return frame


def find_time(name: str, position: int, data: bytes, first: int, end: int, time_ms: int) -> tuple[int, int]:
    """(base of the first entry at or after `time_ms` that meets offsets [first, end), or -1; where in the file to go on if it is -1).

    `data` begins with a frame at `position`; a frame's head is enough. Raises CorruptData.
    """
    at = 0
    size = len(data)
    while at <= size and size - at >= _HEAD_SIZE:
        whole = _check_head(name, position, data, at)
        base = get_u64_le(data, at)
        if base < end and base + get_u32_le(data, at + 20) > first and get_u64_le(data, at + 8) >= time_ms:
            return base, position + at
        at += whole
    return -1, position + at
