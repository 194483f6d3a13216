"""Segments: the store's set of segment files, and cold reads from it.

The set is a list; of two segments that cover an offset of a log, the later is right. In memory a segment is a few numbers until it is
read; then its index, in a cache of bounded size, and per log that is being read a *layout*: which part of the log lies where.
Files are read in the READ lane; a file that was replaced is removed when the last read of it has ended.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from entrepot.model.errors import CorruptData
from entrepot.store.interface import Log
from entrepot.store.local.checkpoint import AdoptedRow, SegmentRow, SharedRow
from entrepot.store.local.cold_read import ColdRead, Fetched, Found, JoinedRead, TimeSearch
from entrepot.store.local.disk import Disk, File
from entrepot.store.local.ring import journal_name
from entrepot.store.local.segment import FOOTER_SIZE, HEADER_SIZE, Piece, SegmentIndex, index_place, load_index

FETCH_SIZE = 256 * 1024
INDEX_CACHE_SIZE_MAX = 16 * 1024 * 1024
IDLE_COUNT_MAX = 128  # segments whose files stay open while nobody reads them
LAYOUT_COUNT_MAX = 256

_JOINED_PARTS_MAX = 8


def segment_name(segment_id: int) -> str:
    """The file's name."""
    return f"segment-{segment_id:016d}"


class Segment:
    """One segment of the set."""

    __slots__ = ("adopted", "body", "data_size", "dead_bytes", "doomed", "file", "id", "index", "name", "pins", "shared", "size", "tier", "waiting")

    def __init__(self, row: SegmentRow) -> None:
        self.id = row.id
        self.size = row.size
        self.tier = row.tier
        self.adopted: AdoptedRow | None = row.adopted
        self.shared: SharedRow | None = row.shared
        self.name = segment_name(row.id)
        self.file: File | None = None
        self.body: File | None = None  # the journal file adopted, or the same file
        self.index: SegmentIndex | None = None  # while in the cache
        self.pins = 0  # reads under way
        self.doomed = False  # no longer in the set
        self.data_size = 0  # bytes of entries, and how many of them are dead, as of the last assessment
        self.dead_bytes = 0
        self.waiting: list[Callable[[BaseException | None], None]] = []

    def row(self) -> SegmentRow:
        """As the checkpoint names it."""
        return SegmentRow(self.id, self.size, self.tier, self.adopted, self.shared)

    def covers(self, key: bytes) -> bool:
        """Whether what it has of a log (key: shard, big-endian, and log id) counts."""
        return self.shared is None or counts_of(self.shared, int.from_bytes(key[:4], "big"))

    def names(self) -> list[str]:
        """Of its files."""
        return [self.name] if self.adopted is None else [self.name, journal_name(self.adopted.slot)]

    def close(self) -> None:
        """Release its files; idempotent."""
        if self.file is not None:
            self.file.close()
        if self.body is not None and self.body is not self.file:
            self.body.close()
        self.file = self.body = None


def counts_of(shared: SharedRow, shard: int) -> bool:
    """Whether such a segment counts of a shard."""
    return not shared.shards or (shard >> 3 < len(shared.shards) and bool(shared.shards[shard >> 3] >> (shard & 7) & 1))


def said_id(row: SegmentRow) -> int:
    """The id that the file of a segment says."""
    return row.id if row.shared is None else row.shared.said


class Part(NamedTuple):
    """Offsets [first, end) of a log lie in `piece` of `segment`."""

    first: int
    end: int
    segment: Segment
    piece: Piece


def resolve(pieces: list[tuple[Segment, Piece]]) -> list[Part]:
    """Which piece is right for which offsets, ascending; `pieces` come from the newest segment to the oldest."""
    parts: list[Part] = []
    for segment, piece in pieces:
        first = piece.first
        place = bisect_right(parts, first, key=_first_of)
        if place and parts[place - 1].end > first:
            first = parts[place - 1].end
        while first < piece.end:
            end = piece.end if place == len(parts) else min(piece.end, parts[place].first)
            if first < end:
                parts.insert(place, Part(first, end, segment, piece))
                place += 1
            if place == len(parts):
                break
            first = parts[place].end
            place += 1
    return parts


def _first_of(part: Part) -> int:
    return part.first


class _Layout:
    """One log's pieces by segment, and what they resolve to."""

    __slots__ = ("parts", "pieces", "version")

    def __init__(self) -> None:
        self.version = -1
        self.pieces: dict[int, list[Piece]] = {}
        self.parts: list[Part] = []


class Segments:
    """The set. `log_of` gives a log by its id, None if it is gone. Driven from the loop; `fetch` and `find` answer at once or later."""

    def __init__(self, disk: Disk, log_of: Callable[[bytes], Log | None], *, index_cache_size_max: int = INDEX_CACHE_SIZE_MAX) -> None:
        self._disk = disk
        self._log_of = log_of
        self._index_cache_size_max = index_cache_size_max
        self._segments: list[Segment] = []
        self._version = 0
        self._indexes: OrderedDict[int, Segment] = OrderedDict()  # by id; least recently used first
        self._index_bytes = 0
        self._layouts: OrderedDict[bytes, _Layout] = OrderedDict()
        self._idle: OrderedDict[int, Segment] = OrderedDict()  # with open files that nobody reads; least recently used first
        self.next_id = 1
        self.head_size = 0  # of the long entry that was read last, header without data: most are alike; 0: none was

    # -- the set ---------------------------------------------------------------------------------------------------------------

    def adopt(self, rows: list[SegmentRow]) -> None:
        """The set as a checkpoint names it; once, at the start. Other segment files are left-overs: see strays()."""
        self._segments = [Segment(row) for row in rows]
        taken = [int(name[8:]) for name in self._disk.names() if name.startswith("segment-") and name[8:].isdigit()]
        self.next_id = 1 + max([row.id for row in rows] + taken, default=0)
        self._version += 1

    def strays(self) -> list[str]:
        """Segment files of the directory that are not in the set: made and never checkpointed, or replaced; they may be removed at the start."""
        known = {segment.name for segment in self._segments}
        return [name for name in self._disk.names() if name.startswith("segment-") and name not in known]

    def rows(self) -> list[SegmentRow]:
        """The set, in order, for a checkpoint."""
        return [segment.row() for segment in self._segments]

    def rows_after(self, added: list[SegmentRow], removed: list[int]) -> list[SegmentRow]:
        """What rows() will be after replace()."""
        return [segment.row() for segment in self._after(added, removed)]

    def replace(self, added: list[SegmentRow], removed: list[int]) -> None:
        """`added` take the place of `removed` (ids, neighbours in the set), or come last; call when the checkpoint that says so is durable.

        Removed files go as soon as no read is under way on them.
        """
        after = self._after(added, removed)
        gone = set(removed)
        doomed = [segment for segment in self._segments if segment.id in gone]
        self._segments = after
        self._version += 1
        for segment in doomed:
            segment.doomed = True
            self._forget_index(segment)
            self._remove_if_free(segment)

    def _after(self, added: list[SegmentRow], removed: list[int]) -> list[Segment]:
        gone = set(removed)
        places = [place for place, segment in enumerate(self._segments) if segment.id in gone]
        assert len(places) == len(gone), "removed segments are in the set"
        assert not places or places[-1] - places[0] == len(places) - 1, "removed segments are neighbours"
        place = places[0] if places else len(self._segments)
        return [*self._segments[:place], *map(Segment, added), *self._segments[place + len(places) :]]

    def segments(self) -> list[Segment]:
        """The set, in order."""
        return self._segments

    def take_id(self) -> int:
        """An id for a new segment."""
        self.next_id += 1
        return self.next_id - 1

    def statistics(self) -> dict[str, float]:
        """segments: files in the set; segment_bytes: their sizes, with the journal files adopted; segment_dead_bytes: of their entries, known dead;
        segment_index_bytes: indexes in memory.
        """
        return {
            "segments": len(self._segments),
            "segment_bytes": sum(segment.size + (segment.adopted.size if segment.adopted is not None else 0) for segment in self._segments),
            "segment_dead_bytes": sum(segment.dead_bytes for segment in self._segments),
            "segment_index_bytes": self._index_bytes,
        }

    def close(self) -> None:
        """Release the files; no read is under way."""
        for segment in self._segments:
            segment.close()

    # -- files and indexes -----------------------------------------------------------------------------------------------------

    def pin(self, segment: Segment) -> tuple[File, File]:
        """The file, and the one that its references are to: they stay until unpin()."""
        if segment.file is None:
            segment.file = self._disk.open(segment.name)
        if segment.body is None:
            segment.body = segment.file if segment.adopted is None else self._disk.open(journal_name(segment.adopted.slot))
        segment.pins += 1
        self._idle.pop(segment.id, None)
        return segment.file, segment.body

    def unpin(self, segment: Segment) -> None:
        """A read has ended."""
        segment.pins -= 1
        if segment.pins == 0 and not segment.doomed:
            self._idle[segment.id] = segment
            if len(self._idle) > IDLE_COUNT_MAX:
                self._idle.popitem(last=False)[1].close()
        self._remove_if_free(segment)

    def _remove_if_free(self, segment: Segment) -> None:
        if segment.doomed and segment.pins == 0:
            self._idle.pop(segment.id, None)
            segment.close()
            # If this fails, or is undone by a crash, the file is a stray at the next start, or a journal file that is free.
            self._disk.background(partial(self._remove, segment.names()), lambda _result, _error: None)

    def _remove(self, names: list[str]) -> None:
        for name in names:
            self._disk.remove(name)

    def with_index(self, segment: Segment, then: Callable[[BaseException | None], None]) -> None:
        """then(None) once segment.index is there (perhaps at once), valid for that call."""
        if segment.index is not None:
            if not segment.doomed:
                self._indexes.move_to_end(segment.id)
            then(None)
            return
        segment.waiting.append(then)
        if len(segment.waiting) > 1:
            return
        try:
            file, _ = self.pin(segment)
        except OSError as error:
            self._index_read(segment, None, error, pinned=False)
            return
        try:
            size = file.size()
        except OSError as error:
            self._index_read(segment, None, error)
            return
        footer = b""

        def footer_read(data: bytes, error: BaseException | None) -> None:
            nonlocal footer
            if error is None:
                try:
                    footer = data
                    position, index_size = index_place(segment.name, size, data)
                except CorruptData as damage:
                    error = damage
                else:
                    first = position if segment.adopted is None else HEADER_SIZE
                    self._disk.read(file, first, position + index_size - first, partial(index_read, position - first))
                    return
            self._index_read(segment, None, error)

        def index_read(frames_size: int, data: bytes, error: BaseException | None) -> None:
            index = None
            if error is None:
                try:
                    index = load_index(segment.name, footer, data[frames_size:])
                    if index.segment_id != said_id(segment.row()):
                        raise CorruptData(f"{segment.name}: is segment {index.segment_id} by its footer; was the file renamed?")
                except CorruptData as damage:
                    index, error = None, damage
                else:
                    index.frames = data[:frames_size]
            self._index_read(segment, index, error)

        self._disk.read(file, max(0, size - FOOTER_SIZE), FOOTER_SIZE, footer_read)

    def _index_read(self, segment: Segment, index: SegmentIndex | None, error: BaseException | None, *, pinned: bool = True) -> None:
        waiting = segment.waiting
        segment.waiting = []
        if index is not None:
            segment.index = index
            if not segment.doomed:
                self._indexes[segment.id] = segment
                self._index_bytes += index.size()
        for then in waiting:
            segment.index = index  # a caller before may have pushed it out of the cache
            then(error)
        if segment.id not in self._indexes or segment.doomed:
            segment.index = None
        while self._index_bytes > self._index_cache_size_max and len(self._indexes) > 1:
            self._forget_index(next(iter(self._indexes.values())))
        if pinned:
            self.unpin(segment)

    def _forget_index(self, segment: Segment) -> None:
        if self._indexes.pop(segment.id, None) is not None and segment.index is not None:
            self._index_bytes -= segment.index.size()
            segment.index = None

    def with_layout(self, key: bytes, then: Callable[[list[Part], BaseException | None], None]) -> None:
        """then(parts of the log, ascending, as of this set), perhaps at once."""
        layout = self._layouts.get(key)
        if layout is None:
            layout = self._layouts[key] = _Layout()
            if len(self._layouts) > LAYOUT_COUNT_MAX:
                self._layouts.popitem(last=False)
        else:
            self._layouts.move_to_end(key)
        if layout.version == self._version:
            then(layout.parts, None)
            return
        _Resolving(self, key, layout, then).go()

    # -- reading ---------------------------------------------------------------------------------------------------------------

    def fetch(self, log_id: bytes, offset: int, limit: int, size_max: int, done: Fetched) -> None:
        """Read about `size_max` bytes of a log's entries that meet [offset, limit), ascending."""
        log = self._log_of(log_id)
        if log is None or not self._segments:
            done([], limit, None)
            return

        def resolved(parts: list[Part], error: BaseException | None) -> None:
            if error is not None:
                done([], offset, error)
                return
            at = offset
            place = bisect_right(parts, at, key=_first_of)
            if place and parts[place - 1].end > at:
                place -= 1
            some: list[Part] = []
            size = 0
            while place < len(parts) and parts[place].first < limit and size < size_max and len(some) < _JOINED_PARTS_MAX:
                part = parts[place]
                if part.piece.step_count:
                    some.append(part)
                    size += part.piece.data_size * (part.end - max(at, part.first)) // (part.end - part.first)
                place += 1
            if some:
                self._read_together(some, at, limit, size_max, done)
                return
            done([], limit, None)

        self.with_layout(log.shard.to_bytes(4, "big") + log_id, resolved)

    def _read_together(self, parts: list[Part], at: int, limit: int, size_max: int, done: Fetched) -> None:
        joined = JoinedRead(len(parts), done)
        end = at
        for place, part in enumerate(parts):
            first = max(at, part.first)
            # what lies between two parts is in no segment: nothing is missed there
            joined.firsts[place] = end if place else first
            end = min(part.end, limit)
            ColdRead(self, self._disk, part, first, end, size_max, partial(joined.part_done, place)).go()

    def find(self, log_id: bytes, timestamp_ms: int, first: int, done: Found) -> None:
        """done(base of the log's first entry at or after offset `first` whose time is at or after `timestamp_ms`)."""
        log = self._log_of(log_id)
        if log is None or not self._segments:
            done(None, None)
            return

        def resolved(parts: list[Part], error: BaseException | None) -> None:
            if error is not None:
                done(None, error)
                return
            wanted = [part for part in parts if part.end > first and part.piece.max_time_ms >= timestamp_ms]
            TimeSearch(self, self._disk, wanted, first, timestamp_ms, done).next_part()

        self.with_layout(log.shard.to_bytes(4, "big") + log_id, resolved)

    def version(self) -> int:
        """Grows with every change of the set."""
        return self._version


class _Resolving:
    """Brings a layout up to date, loading the indexes it lacks."""

    def __init__(self, owner: Segments, key: bytes, layout: _Layout, then: Callable[[list[Part], BaseException | None], None]) -> None:
        self.owner = owner
        self.key = key
        self.layout = layout
        self.then = then
        self.version = owner.version()
        self.missing = [segment for segment in owner.segments() if segment.id not in layout.pieces]

    def go(self) -> None:
        while self.missing:
            segment = self.missing[-1]
            if segment.index is None:
                self.owner.with_index(segment, self.loaded)
                return
            self.take(segment, segment.index)
        if self.version != self.owner.version():
            _Resolving(self.owner, self.key, self.layout, self.then).go()
            return
        layout = self.layout
        segments = self.owner.segments()
        layout.pieces = {segment.id: layout.pieces[segment.id] for segment in segments}
        layout.parts = resolve([(segment, piece) for segment in reversed(segments) for piece in layout.pieces[segment.id]])
        layout.version = self.version
        self.then(layout.parts, None)

    def take(self, segment: Segment, index: SegmentIndex) -> None:
        self.layout.pieces[segment.id] = index.pieces(self.key) if segment.covers(self.key) else []
        self.missing.pop()

    def loaded(self, error: BaseException | None) -> None:
        segment = self.missing[-1]
        if error is not None:
            if segment.doomed:  # replaced meanwhile
                _Resolving(self.owner, self.key, self.layout, self.then).go()
            else:
                self.then([], error)
            return
        assert segment.index is not None
        self.take(segment, segment.index)
        self.go()
