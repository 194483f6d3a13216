"""A cold read of one log in one segment, and a search by time: chains of reads in the READ lane, each ending in one call.

Both pin the segment that they read, so that its file stays however the set changes; found replaced before they begin, they ask the
set again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from entrepot.model.entry import StoredEntry
from entrepot.model.errors import CorruptData
from entrepot.store.local.disk import Disk, File
from entrepot.store.local.index import APART_SIZE_MIN
from entrepot.store.local.segment import (
    HEAD_SIZE,
    HEADER_SIZE,
    STEP_BYTES,
    Reference,
    decode_referred,
    decode_referred_apart,
    find_time,
    frame_size,
    parse_frames,
)

if TYPE_CHECKING:
    from entrepot.store.local.segments import Part, Segments

_JOINED_READ_SIZE_MAX = 1024 * 1024
_JOINED_GAP_SIZE_MAX = 64 * 1024
_FRAMES_SIZE = 32 * 1024  # of a segment whose entries are elsewhere

Fetched: TypeAlias = Callable[[list[StoredEntry], int, BaseException | None], None]
"""done(entries, next_offset, error): all that the segments hold in [offset, next_offset)."""
Found: TypeAlias = Callable[[int | None, BaseException | None], None]
"""done(base or None, error)."""


class ColdRead:
    """One cold read: frames from the index step on, then what they refer to."""

    def __init__(self, owner: Segments, disk: Disk, part: Part, offset: int, end: int, size_max: int, done: Fetched) -> None:
        self.owner = owner
        self.disk = disk
        self.segment = part.segment
        self.piece = part.piece
        self.offset = offset
        self.end = end
        self.size_max = size_max
        self.done = done
        self.file: File | None = None
        self.body: File | None = None
        self.frames = b""  # all of them, if they are in memory
        self.position = 0
        self.next_offset = end
        self.entries: list[StoredEntry | None] = []
        self.references: list[Reference] = []

    def go(self) -> None:
        """Begin; `done` is called once."""
        if self.segment.doomed:  # replaced between layout and read: ask the set again
            piece_key = self.piece.key
            self.owner.fetch(piece_key[4:], self.offset, self.end, self.size_max, self.done)
            return
        try:
            self.file, self.body = self.owner.pin(self.segment)
        except OSError as error:
            self.done([], self.offset, error)
            return
        self.owner.with_index(self.segment, self._indexed)

    def _indexed(self, error: BaseException | None) -> None:
        if error is not None:
            self._finish(error)
            return
        index = self.segment.index
        assert index is not None
        self.frames = index.frames
        self.position = index.step(index.step_of_offset(self.piece, self.offset))[1]
        self._read(self._first_size())

    def _first_size(self) -> int:
        """What is read first: the entries, or else the frames that say where they are."""
        return self.size_max + STEP_BYTES if self.segment.adopted is None else _FRAMES_SIZE

    def _read(self, size: int) -> None:
        assert self.file is not None
        size = min(size, self.piece.position + self.piece.size - self.position)
        if self.frames:
            start = self.position - HEADER_SIZE
            self._have(self.frames[start : start + size], None)
        else:
            self.disk.read(self.file, self.position, size, self._have)

    def _have(self, data: bytes, error: BaseException | None) -> None:
        if error is not None:
            self._finish(error)
            return
        left = self.piece.position + self.piece.size - self.position
        try:
            consumed = parse_frames(self.segment.name, self.position, data, self.offset, self.end, self.size_max, self.entries, self.references)
            if consumed == 0:
                wanted = frame_size(self.segment.name, self.position, data, 0) if len(data) >= HEAD_SIZE else left + 1
                if wanted > left or wanted <= len(data):
                    raise CorruptData(f"{self.segment.name}: the frame at position {self.position} goes past its piece; run 'entrepot store verify'")
                self._read(wanted)
                return
        except CorruptData as damage:
            self._finish(damage)
            return
        self.position += consumed
        if consumed <= len(data) and consumed < left:
            if not self.entries:
                self._read(self._first_size())
                return
            self.next_offset = self._last_end()
        self._resolve_references()

    def _last_end(self) -> int:
        last = self.entries[-1]
        if last is not None:
            return min(self.end, last.base + last.entry.span)
        # Ends with a reference: its span is known once it is read; finish() does it.
        return 0

    def _resolve_references(self) -> None:
        if not self.references:
            self._finish(None)
            return
        assert self.body is not None
        self.references.sort(key=lambda reference: reference[2])
        joined: list[list[Reference]] = []
        for reference in self.references:
            start = joined[-1][0][2] if joined else 0
            behind = joined[-1][-1][2] + joined[-1][-1][3] if joined else 0
            apart = reference[3] >= APART_SIZE_MIN or (joined and joined[-1][0][3] >= APART_SIZE_MIN)
            if joined and not apart and reference[2] - behind <= _JOINED_GAP_SIZE_MAX and reference[2] + reference[3] - start <= _JOINED_READ_SIZE_MAX:
                joined[-1].append(reference)
            else:
                joined.append([reference])
        heads = [self.owner.head_size if some[0][3] >= APART_SIZE_MIN else 0 for some in joined]
        reads = [(self.body, some[0][2], head, some[-1][2] + some[-1][3] - some[0][2]) for head, some in zip(heads, joined, strict=True)]
        self.disk.read_apart(reads, partial(self._referred, joined))

    def _referred(self, joined: list[list[Reference]], read: list[tuple[bytes, bytes]], error: BaseException | None) -> None:
        if error is None:
            name = self.segment.names()[-1]
            try:
                for references, (head, data) in zip(joined, read, strict=True):
                    start = references[0][2]
                    for place, base, position, size in references:
                        if head:
                            stored = decode_referred_apart(name, position, base, head, data)
                        else:
                            stored = decode_referred(name, position, base, data, position - start, size)
                        self.entries[place] = stored
                        if size >= APART_SIZE_MIN:
                            self.owner.head_size = size - stored.entry.size
            except CorruptData as damage:
                error = damage
        self._finish(error)

    def _finish(self, error: BaseException | None) -> None:
        if error is None and self.next_offset == 0:
            self.next_offset = self._last_end()
        self.owner.unpin(self.segment)
        if error is not None:
            self.done([], self.offset, error)
        else:
            self.done([stored for stored in self.entries if stored is not None], self.next_offset, None)


class JoinedRead:
    """Cold reads of neighbouring parts under way together: a log among many has a short piece in each segment, and each costs a wait."""

    def __init__(self, count: int, done: Fetched) -> None:
        self.results: list[tuple[list[StoredEntry], int]] = [([], 0)] * count
        self.firsts: list[int] = [0] * count
        self.left = count
        self.done = done
        self.error: BaseException | None = None

    def part_done(self, place: int, entries: list[StoredEntry], next_offset: int, error: BaseException | None) -> None:
        """One of the reads has ended; with the last one `done` is called, with what there is without a gap."""
        self.results[place] = entries, next_offset
        self.error = self.error or error
        self.left -= 1
        if self.left:
            return
        found: list[StoredEntry] = []
        end = self.firsts[0]
        for first, (some, following) in zip(self.firsts, self.results, strict=True):
            if first > end:
                break  # the one before was cut short
            found += some
            end = following
        self.done(found, end, self.error)


class TimeSearch:
    """One search by time: over the parts whose greatest time is high enough, step by step."""

    def __init__(self, owner: Segments, disk: Disk, parts: list[Part], first: int, time_ms: int, done: Found) -> None:
        self.owner = owner
        self.disk = disk
        self.parts = parts
        self.place = 0
        self.first = first
        self.time_ms = time_ms
        self.done = done
        self.position = 0
        self.step_end = 0
        self.number = 0
        self.file: File | None = None

    def next_part(self) -> None:
        """Begin, or go on behind a part that held nothing; `done` is called once."""
        if self.place == len(self.parts):
            self.done(None, None)
            return
        segment = self.parts[self.place].segment
        if segment.doomed:
            self.owner.find(self.parts[self.place].piece.key[4:], self.time_ms, max(self.first, self.parts[self.place].first), self.done)
            return
        try:
            self.file, _ = self.owner.pin(segment)
        except OSError as error:
            self.done(None, error)
            return
        self.number = -1
        self.owner.with_index(segment, self._next_step)

    def _next_step(self, error: BaseException | None) -> None:
        part = self.parts[self.place]
        if error is not None:
            self._end_part(None, error)
            return
        index = part.segment.index
        assert index is not None
        if self.number < 0:
            self.number = index.step_of_offset(part.piece, max(self.first, part.first))
        self.number = index.step_of_time(part.piece, self.time_ms, self.number)
        if self.number < 0 or index.step(self.number)[0] >= part.end:
            self._end_part(None, None)
            return
        self.position = index.step(self.number)[1]
        last = self.number + 1 == part.piece.step_first + part.piece.step_count
        self.step_end = part.piece.position + part.piece.size if last else index.step(self.number + 1)[1]
        self._read()

    def _read(self) -> None:
        assert self.file is not None
        self.disk.read(self.file, self.position, min(2 * STEP_BYTES, self.step_end - self.position), self._have)

    def _have(self, data: bytes, error: BaseException | None) -> None:
        part = self.parts[self.place]
        base = -1
        before = self.position
        if error is None:
            try:
                base, self.position = find_time(part.segment.name, self.position, data, max(self.first, part.first), part.end, self.time_ms)
                if base < 0 and self.position == before:
                    raise CorruptData(f"{part.segment.name}: the frame at position {before} is cut; run 'entrepot store verify'")
            except CorruptData as damage:
                error = damage
        if error is not None:
            self._end_part(None, error)
        elif base >= 0:
            self._end_part(base, None)
        elif self.position < self.step_end:
            self._read()
        else:
            self.number += 1
            self.owner.with_index(part.segment, self._next_step)

    def _end_part(self, base: int | None, error: BaseException | None) -> None:
        self.owner.unpin(self.parts[self.place].segment)
        if base is not None or error is not None:
            self.done(base, error)
        else:
            self.place += 1
            self.next_part()
