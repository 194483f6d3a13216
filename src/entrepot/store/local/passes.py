"""The loops of sorting and merging that touch every entry: compiled, each call bounded by a budget so that the loop never waits long.

SortPass takes one journal file's living rows (`<QIIII`: base, the file's life, position, size, span; per log ascending by base) and
writes them log by log. It works in windows of the file, so that its memory is bounded whatever the file's size; of a window only the
4 KiB pages that hold something alive are read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cython

from entrepot.model.errors import CorruptData
from entrepot.store.local.segment import Frame, SegmentWriter

if TYPE_CHECKING:
    from entrepot.store.local.sorter import LiveLog

if not cython.compiled:
    from entrepot.model.octets import get_u32_le, get_u32_le_ba, get_u64_le, put_u32_le
    from entrepot.store.entry_codec import entry_time
    from entrepot.store.local.segment import read_frame

_PAGE_SIZE = 4096
_ROW_SIZE = 24
_GAP_PAGES = 16  # dead pages between living ones that are read rather than skipped
_ENTRY_HEAD_SIZE = 64  # of an encoded entry, its time is in them
_BODY_SIZE_MIN = 4096  # as the writer's: larger bodies may be shared

FINISHED = 0
MORE = 1
BODY = 2
SLICE = 3
_FINISHED = FINISHED
_MORE = MORE
_BODY = BODY
_SLICE = SLICE


class SortPass:
    """One journal file. mark() until true; then for each next_window(): load(), emit() until true.

    `logs` are (shard, log id, rows, log), ascending by shard and id.
    """

    __slots__ = (
        "_arena",
        "_end_page",
        "_first_page",
        "_last",
        "_log",
        "_logs",
        "_name",
        "_open",
        "_ordered",
        "_page",
        "_page_count",
        "_place",
        "_reach",
        "_row",
        "_run_end",
        "_starts",
        "life",
    )

    life: int

    def __init__(self, name: str, life: int, file_size: int, logs: list[tuple[int, bytes, bytes, LiveLog]]) -> None:
        self.life = life
        self._name = name
        self._logs = logs
        self._page_count = (file_size + _PAGE_SIZE - 1) // _PAGE_SIZE
        self._reach = bytearray(4 * self._page_count)  # per page: 1 + the last page that an entry beginning in it reaches; 0: none begins
        self._place = bytearray(4 * self._page_count)  # per page of the window: which page of the arena it is
        self._arena = b""
        self._page = 0
        self._first_page = 0
        self._end_page = 0
        self._starts = bytearray(4 * len(logs))  # per log: the row to begin the next window with
        self._ordered = bytearray(len(logs))  # per log: whether its rows ascend in the file too (all but rewritten ones do)
        self._log = 0
        self._row = 0
        self._last = 0
        self._open = False
        self._run_end = 0

    def mark(self, rows_max: int) -> bool:
        """Look at up to `rows_max` rows; whether all have been seen. Raises CorruptData if one lies outside the file."""
        seen = 0
        while self._log < len(self._logs):
            rows: bytes = self._logs[self._log][2]
            if self._row == 0:
                self._ordered[self._log] = 1
                self._last = 0
            while self._row < len(rows):
                if seen >= rows_max:
                    return False
                seen += 1
                if get_u32_le(rows, self._row + 8) != self.life:
                    self._ordered[self._log] = 0
                else:
                    position = get_u32_le(rows, self._row + 12)
                    if position < self._last:
                        self._ordered[self._log] = 0
                    self._last = position
                    first = position // _PAGE_SIZE
                    last = (position + get_u32_le(rows, self._row + 16) - 1) // _PAGE_SIZE
                    if last >= self._page_count:
                        raise CorruptData(f"{self._name}: an entry at position {position} goes past the file's end; run 'entrepot store verify'")
                    if get_u32_le_ba(self._reach, 4 * first) < last + 1:
                        put_u32_le(self._reach, 4 * first, last + 1)
                self._row += _ROW_SIZE
            self._row = 0
            self._log += 1
        return True

    def next_window(self, size_max: int) -> list[tuple[int, int]]:
        """(position, size) of what to read for the next window, about `size_max` bytes; [] if nothing is left."""
        extents: list[tuple[int, int]] = []
        loaded = 0  # pages
        start = -1  # of the extent
        last = -1  # page that must be read
        page = self._page
        while page < self._page_count and get_u32_le_ba(self._reach, 4 * page) == 0:
            page += 1
        self._first_page = page
        full = False
        needed = 0  # pages up to here, exclusive
        while page < self._page_count:
            if not full:
                reach = get_u32_le_ba(self._reach, 4 * page)
                if reach > needed:
                    needed = reach
            if page < needed:
                if start < 0:
                    start = page
                elif page - last > _GAP_PAGES:
                    extents.append((start * _PAGE_SIZE, (last + 1 - start) * _PAGE_SIZE))
                    start = page
                else:
                    while last + 1 < page:  # a short gap: read it too
                        last += 1
                        put_u32_le(self._place, 4 * last, loaded)
                        loaded += 1
                put_u32_le(self._place, 4 * page, loaded)
                loaded += 1
                last = page
            elif full:
                break
            page += 1
            if not full and loaded * _PAGE_SIZE >= size_max:
                full = True
                self._page = page
        if not full:
            self._page = page
        self._end_page = self._page
        if start >= 0:
            extents.append((start * _PAGE_SIZE, (last + 1 - start) * _PAGE_SIZE))
        self._log = 0
        self._row = get_u32_le_ba(self._starts, 0)
        return extents

    def load(self, arena: bytes) -> int:
        """What was read for the window, all extents one behind the other."""
        self._arena = arena
        return 0

    def emit(self, writer: SegmentWriter, rows_max: int, bytes_max: int) -> bool:
        """Write the window's entries, up to `rows_max` rows looked at and about `bytes_max` bytes; whether all are written. Raises CorruptData."""
        seen = 0
        start = writer.position()
        while self._log < len(self._logs):
            row = self._logs[self._log]
            rows: bytes = row[2]
            while self._row < len(rows):
                if seen >= rows_max or writer.position() - start >= bytes_max:
                    return False
                seen += 1
                at = self._row
                position = get_u32_le(rows, at + 12)
                page = position // _PAGE_SIZE
                if page >= self._end_page and self._ordered[self._log]:
                    break
                self._row = at + _ROW_SIZE
                if get_u32_le(rows, at + 8) != self.life or page < self._first_page or page >= self._end_page:
                    if self._open:
                        writer.end(self._run_end)
                        self._open = False
                    continue
                base = get_u64_le(rows, at)
                size = get_u32_le(rows, at + 16)
                span = get_u32_le(rows, at + 20)
                if self._open and base != self._run_end and not row[3].dead(self._run_end, base):
                    writer.end(self._run_end)
                    self._open = False
                if not self._open:
                    writer.begin(row[0], row[1], base)
                    self._open = True
                self._run_end = base + span
                there = get_u32_le_ba(self._place, 4 * page) * _PAGE_SIZE + position % _PAGE_SIZE
                if size > len(self._arena) - there or get_u32_le(self._arena, there) != size:
                    raise CorruptData(f"{self._name}: no entry of {size} bytes at position {position}; run 'entrepot store verify'")
                time_ms = entry_time(self._arena, there)
                writer.add(base, span, max(0, time_ms), self._arena, there, size, position)
            if self._open:
                writer.end(self._run_end)
                self._open = False
            if self._ordered[self._log]:
                put_u32_le(self._starts, 4 * self._log, self._row)
            self._log += 1
            if self._log < len(self._logs):
                self._row = get_u32_le_ba(self._starts, 4 * self._log)
        self._arena = b""
        return True


class AdoptPass:
    """One journal file that is to stay as it is, as a part of a segment: measure() until true; then for each next_heads() emit(), then finish().

    `logs` are (shard, log id, rows, log), ascending by shard and id.
    """

    __slots__ = ("_batch", "_log", "_logs", "_name", "_open", "_row", "_run_end", "alive_bytes", "alive_count", "life")

    life: int
    alive_bytes: int
    alive_count: int

    def __init__(self, name: str, life: int, logs: list[tuple[int, bytes, bytes, LiveLog]]) -> None:
        self.life = life
        self._name = name
        self._logs = logs
        self._log = 0
        self._row = 0
        self._batch: list[tuple[int, int]] = []  # (number of the log, place of the row; -1: its run ends)
        self._open = False
        self._run_end = 0
        self.alive_bytes = 0  # of the file's entries
        self.alive_count = 0

    def measure(self, rows_max: int) -> bool:
        """Look at up to `rows_max` rows; whether all have been seen: then alive_bytes and alive_count say what the file holds."""
        seen = 0
        while self._log < len(self._logs):
            row = self._logs[self._log]
            rows: bytes = row[2]
            while self._row < len(rows):
                if seen >= rows_max:
                    return False
                seen += 1
                at = self._row
                self._row = at + _ROW_SIZE
                base = get_u64_le(rows, at)
                if get_u32_le(rows, at + 8) == self.life and not row[3].dead(base, base + get_u32_le(rows, at + 20)):
                    self.alive_bytes += get_u32_le(rows, at + 16)
                    self.alive_count += 1
            self._row = 0
            self._log += 1
        self._log = 0
        return True

    def next_heads(self, rows_max: int) -> list[tuple[int, int]]:
        """(position, size) of the heads of the next entries alive, of up to `rows_max` rows; [] if none is left."""
        extents: list[tuple[int, int]] = []
        seen = 0
        while self._log < len(self._logs):
            row = self._logs[self._log]
            rows: bytes = row[2]
            while self._row < len(rows):
                if seen >= rows_max and extents:
                    return extents
                seen += 1
                at = self._row
                self._row = at + _ROW_SIZE
                base = get_u64_le(rows, at)
                if get_u32_le(rows, at + 8) != self.life:
                    self._batch.append((self._log, -1))
                elif not row[3].dead(base, base + get_u32_le(rows, at + 20)):
                    self._batch.append((self._log, at))
                    extents.append((get_u32_le(rows, at + 12), min(get_u32_le(rows, at + 16), _ENTRY_HEAD_SIZE)))
            self._row = 0
            self._batch.append((self._log, -1))
            self._log += 1
        return extents

    def emit(self, writer: SegmentWriter, heads: bytes) -> int:
        """Write what next_heads() gave; `heads` is what was read of it, one behind the other. Raises CorruptData."""
        there = 0
        for number, at in self._batch:
            if at < 0:
                self.finish(writer)
                continue
            row = self._logs[number]
            rows: bytes = row[2]
            base = get_u64_le(rows, at)
            position = get_u32_le(rows, at + 12)
            size = get_u32_le(rows, at + 16)
            span = get_u32_le(rows, at + 20)
            if self._open and base != self._run_end and not row[3].dead(self._run_end, base):
                self.finish(writer)
            if not self._open:
                writer.begin(row[0], row[1], base)
                self._open = True
            self._run_end = base + span
            head = min(size, _ENTRY_HEAD_SIZE)
            if head > len(heads) - there or get_u32_le(heads, there) != size:
                raise CorruptData(f"{self._name}: no entry of {size} bytes at position {position}; run 'entrepot store verify'")
            time_ms = entry_time(heads, there)
            writer.adopt(base, span, max(0, time_ms), position, size)
            there += head
        self._batch = []
        return 0

    def finish(self, writer: SegmentWriter) -> int:
        """End the run that is open."""
        if self._open:
            writer.end(self._run_end)
            self._open = False
        return 0


def copy_frames(
    writer: SegmentWriter,
    name: str,
    position: int,
    data: bytes,
    at: int,
    stop: int,
    first: int,
    end: int,
    log: LiveLog,
    source: int,
    frames_max: int,
    bytes_max: int,
) -> tuple[int, int, Frame | None]:
    """Copy living frames from data[at:stop] (data lies at `position` of the file `name`, number `source` of the merged) that begin in [first, end).

    (where it stopped, why, frame): FINISHED at `stop` or `end`; MORE: a frame is not whole; BODY: the frame's bytes lie elsewhere and are
    not known yet, it is to be added by the caller and `where` is behind it; SLICE: the budget is used up. Raises CorruptData.
    """
    seen = 0
    start = writer.position()
    while at < stop:
        if seen >= frames_max or writer.position() - start >= bytes_max:
            return at, _SLICE, None
        seen += 1
        frame = read_frame(name, position, data, at)
        if frame is None:
            return at, _MORE, None
        if frame.base >= end:
            return at, _FINISHED, None
        at += frame.whole_size
        if frame.base < first or log.dead(frame.base, frame.base + frame.span):
            continue
        key = -1
        if frame.size > _BODY_SIZE_MIN:
            key = (source << 48) | frame.position
        if frame.at >= 0:
            writer.add(frame.base, frame.span, frame.time_ms, data, frame.at, frame.size, key)
        elif writer.knows(key):
            writer.add(frame.base, frame.span, frame.time_ms, b"", 0, frame.size, key)
        else:
            return at, _BODY, frame
    return at, _FINISHED, None
