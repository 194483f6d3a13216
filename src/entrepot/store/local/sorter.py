"""Sorter: in the background, what is alive of closed journal files goes sorted into segments, and segments are merged and rewritten.

    sort     a journal file's living rows -> one segment for about every 8 MiB alive; nothing alive costs nothing.
             A file that is mostly alive, in large entries, is adopted: it stays as it is, and the segment refers to it
    merge    neighbouring segments of one tier -> one of the next; a mostly dead one -> a smaller; a wholly dead one -> none

Both take their steps on the loop, a slice per turn, and read, write and sync in the BACKGROUND lane. Neither changes the set of
segments: the caller saves a checkpoint that names the new ones, then calls Segments.replace(). It must not save that checkpoint before
every discard staged up to the call of done() is durable, since what was discarded is left out.

Segments are never made at the cost of the last of the disk: below `keep_free` bytes the job ends with ENOSPC, and what it made is removed.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Generator
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeAlias

from entrepot.model.errors import CorruptData
from entrepot.store.interface import Scheduler
from entrepot.store.local.checkpoint import AdoptedRow, SegmentRow
from entrepot.store.local.disk import Disk, File
from entrepot.store.local.passes import BODY, FINISHED, MORE, AdoptPass, SortPass, copy_frames
from entrepot.store.local.segment import HEAD_SIZE, HEADER_SIZE, OUTPUT_SIZE, Frame, Piece, SegmentIndex, SegmentWriter, frame_size
from entrepot.store.local.segments import Part, Segment, Segments, resolve, segment_name

WINDOW_SIZE = 8 * 1024 * 1024  # alive bytes that are sorted at once, in memory
READ_SIZE = 1024 * 1024
SLICE_ROWS = 1200
SLICE_BYTES = 1024 * 1024
WRITE_SIZE = 4 * 1024 * 1024  # written at once: a thread that has written waits for its turn among Python's before it can go on
BEHIND_MAX = 1  # writes that a job has under way while it goes on
SLICE_PIECES = 150
SLICE_HEADS = 256  # of entries that stay where they are
TIER_SIZES = (16 << 20, 128 << 20, 1 << 30)  # a segment below the n-th is of tier n
MERGE_COUNT = 8  # neighbours of one tier that make a merge
MERGE_COUNT_MAX = 32  # or so many, however small some are
MERGED_SIZE_MAX = 1 << 30


class LiveLog(Protocol):
    """What the sorter asks of a log."""

    @property
    def first_offset(self) -> int:
        """Everything below is discarded."""

    def dead(self, first: int, end: int) -> bool:
        """Whether all of [first, end) is discarded."""

    def whole(self, first: int, end: int) -> bool:
        """Whether nothing of [first, end) is discarded."""


Sorted: TypeAlias = Callable[[list[SegmentRow], BaseException | None], None]
"""done(added, error): the new segments, oldest first, synced with their directory."""
Merged: TypeAlias = Callable[[list[SegmentRow], list[int], BaseException | None], None]
"""done(added, removed, error): both empty if there was nothing to do."""

_Steps: TypeAlias = Generator[Any, Any, Any]
"""Yields None (let the loop turn), blocking work for the BACKGROUND lane (is sent its result), _Behind (the same, nobody waits for it: what
fails is thrown at a later step, at the latest that of the next work waited for), _Reads (is sent their bytes) or a Segment (its index is wanted)."""


class _Behind(NamedTuple):
    """Work that the job need not wait for."""

    work: Callable[[], Any]


class _Reads(NamedTuple):
    """Reads for the READ lane, which does not wait for writes: (position, size) of each."""

    file: File
    extents: list[tuple[int, int]]


def tier_of(size: int) -> int:
    """A segment's tier, by its size."""
    return sum(size >= limit for limit in TIER_SIZES)


class Sorter:
    """One job at a time."""

    def __init__(
        self,
        disk: Disk,
        scheduler: Scheduler,
        segments: Segments,
        log_of: Callable[[bytes], LiveLog | None],
        *,
        window_size: int = WINDOW_SIZE,
        keep_free: int = 0,
        adopt_size_min: int = 0,
        adopt_entry_size_min: int = 0,
    ) -> None:
        self._disk = disk
        self._scheduler = scheduler
        self._segments = segments
        self._log_of = log_of
        self._window_size = window_size
        self._keep_free = keep_free
        self._adopt_size_min = adopt_size_min
        self._adopt_entry_size_min = adopt_entry_size_min
        self._made: list[_Output] = []  # by the job under way
        self._steps: _Steps | None = None
        self._finish: Callable[[Any, BaseException | None], None] | None = None
        self._behind = 0  # writes under way that nobody waits for
        self._behind_error: BaseException | None = None
        self.sorted_bytes = 0  # written by sorting
        self.adopted_bytes = 0  # of journal files that stay as they are
        self.merged_bytes = 0  # written by merging

    @property
    def busy(self) -> bool:
        """Whether a job is under way."""
        return self._steps is not None

    def sort(
        self,
        sources: list[tuple[int, File]],
        logs: list[tuple[int, bytes, bytes]],
        done: Sorted,
        adoptable: list[AdoptedRow] | None = None,
    ) -> None:
        """Sort journal files (life, file), oldest first, of which `logs` (shard, log id, packed rows) are alive; those that are `adoptable` may be adopted."""
        jobs = sorted((shard, log_id, rows, log) for shard, log_id, rows in logs if rows and (log := self._log_of(log_id)) is not None)
        if not jobs:
            done([], None)
            return
        self._start(self._sort(sources, jobs, {row.number: row for row in adoptable or ()}), lambda added, error: done(added or [], error))

    def merge(self, done: Merged) -> None:
        """Do the merge that is most worth it, if one is."""

        def finish(result: tuple[list[SegmentRow], list[int]] | None, error: BaseException | None) -> None:
            added, removed = result or ([], [])
            done(added, removed, error)

        self._start(self._merge(), finish)

    def stop(self) -> None:
        """Give up the job under way, without done(); its files are strays."""
        if self._steps is not None:
            self._steps.close()
            self._steps = None

    # -- taking steps ----------------------------------------------------------------------------------------------------------

    def _start(self, steps: _Steps, finish: Callable[[Any, BaseException | None], None]) -> None:
        assert self._steps is None, "one job at a time"
        self._steps = steps
        self._finish = finish
        self._made = []
        self._behind_error = None
        self._scheduler.call_soon(self._step, steps, None, None)

    def _step(self, steps: _Steps, result: Any, error: BaseException | None) -> None:
        if steps is not self._steps:
            return  # stopped
        finish = self._finish
        assert finish is not None
        error = error or self._behind_error
        try:
            wanted = steps.throw(error) if error is not None else steps.send(result)
        except StopIteration as stop:
            self._steps = None
            finish(stop.value, None)
        except (OSError, CorruptData) as failure:
            made, self._made = self._made, []
            self._disk.background(partial(_remove, self._disk, made), partial(self._failed, steps, failure))
        else:
            if wanted is None:
                self._scheduler.call_soon(self._step, steps, None, None)
            elif isinstance(wanted, Segment):
                self._segments.with_index(wanted, partial(self._indexed, steps, wanted))
            elif isinstance(wanted, _Reads):
                self._disk.read_many([(wanted.file, position, size) for position, size in wanted.extents], partial(self._read, steps))
            elif isinstance(wanted, _Behind) and self._behind < BEHIND_MAX:
                self._behind += 1
                self._disk.background(wanted.work, partial(self._behind_done, steps))
                self._scheduler.call_soon(self._step, steps, None, None)
            else:
                self._disk.background(wanted.work if isinstance(wanted, _Behind) else wanted, partial(self._step, steps))

    def _read(self, steps: _Steps, parts: list[bytes], error: BaseException | None) -> None:
        self._step(steps, None if error is not None else parts[0] if len(parts) == 1 else b"".join(parts), error)

    def _behind_done(self, steps: _Steps, _: Any, error: BaseException | None) -> None:
        self._behind -= 1
        if error is not None and steps is self._steps:
            self._behind_error = error

    def _failed(self, steps: _Steps, failure: BaseException, _: Any, __: BaseException | None) -> None:
        """What the job had made is removed (what could not be is a stray, and goes at the next start)."""
        if steps is self._steps:
            self._steps = None
            assert self._finish is not None
            self._finish(None, failure)

    def _output(self, adopted: AdoptedRow | None = None) -> _Output:
        output = _Output(self._disk, self._segments.take_id(), self._keep_free, adopted)
        self._made.append(output)
        return output

    def _indexed(self, steps: _Steps, segment: Segment, error: BaseException | None) -> None:
        # By way of the loop: a step must not run within a step.
        self._scheduler.call_soon(self._step, steps, segment.index, error)

    # -- sorting ---------------------------------------------------------------------------------------------------------------

    def _sort(self, sources: list[tuple[int, File]], logs: list[tuple[int, bytes, bytes, LiveLog]], adoptable: dict[int, AdoptedRow]) -> _Steps:
        outputs: list[_Output] = []
        for life, file in sources:
            if life in adoptable and (kept := (yield from self._adopt(file, adoptable[life], logs))) is not None:
                outputs.append(kept)
                continue
            work = SortPass(file.name, life, file.size(), logs)
            while not work.mark(4 * SLICE_ROWS):
                yield None
            while extents := work.next_window(self._window_size):
                yield None
                work.load((yield _Reads(file, extents)))
                output = self._output()
                while not work.emit(output.writer, SLICE_ROWS, SLICE_BYTES):
                    yield output.maybe_write()
                if output.writer.piece_count:
                    yield _Behind(output.finish())
                    outputs.append(output)
        if outputs:
            yield self._disk.sync_directory  # the lane keeps its order: the files are whole and synced by then
        added = [output.row() for output in outputs]
        self.sorted_bytes += sum(row.size for row in added)
        return added

    def _adopt(self, file: File, adopted: AdoptedRow, logs: list[tuple[int, bytes, bytes, LiveLog]]) -> _Steps:
        """A segment that refers to the file's entries, if they are worth to stay as they lie; else None."""
        work = AdoptPass(file.name, adopted.number, logs)
        while not work.measure(4 * SLICE_ROWS):
            yield None
        size = work.alive_bytes
        if size < self._adopt_size_min or size * 2 < adopted.size or size < self._adopt_entry_size_min * work.alive_count or work.alive_count == 0:
            return None
        output = self._output(adopted)
        while heads := work.next_heads(SLICE_HEADS):
            work.emit(output.writer, (yield _Reads(file, heads)))
            yield output.maybe_write()
        work.finish(output.writer)
        yield _Behind(output.finish())
        self.adopted_bytes += adopted.size
        return output

    # -- merging ---------------------------------------------------------------------------------------------------------------

    def _merge(self) -> _Steps:
        alive = {}
        for segment in list(self._segments.segments()):
            alive[segment.id] = yield from self._assess(segment)
        inputs = self._plan(alive)
        if not inputs:
            return [], []
        removed = [segment.id for segment in inputs]
        if not any(alive[segment.id] for segment in inputs):
            return [], removed
        windows = [_Window(segment, number, *self._segments.pin(segment)) for number, segment in enumerate(inputs)]
        try:
            output = self._output()
            for window in windows:
                window.open((yield window.segment))
            by_id = {window.segment.id: window for window in windows}
            while (key := min((window.key for window in windows if window.key), default=b"")) != b"":
                found = [(window.segment, window.take(key)) for window in reversed(windows)]
                pieces = [(segment, piece) for segment, taken in found if segment.covers(key) for piece in taken]
                log = self._log_of(key[4:])
                if log is not None:
                    yield from self._merge_log(output, key, log, [(by_id[part.segment.id], part) for part in resolve(pieces)])
                else:
                    yield None
            if output.writer.piece_count == 0:
                return [], removed
            yield output.finish()
            yield self._disk.sync_directory
        finally:
            for window in windows:
                self._segments.unpin(window.segment)
        self.merged_bytes += output.row().size
        return [output.row()], removed

    def _merge_log(self, output: _Output, key: bytes, log: LiveLog, parts: list[tuple[_Window, Part]]) -> _Steps:
        writer = output.writer
        piece_end = -1
        for window, part in parts:
            if log.dead(part.first, part.end):
                continue
            if piece_end >= 0 and piece_end != part.first and not log.dead(piece_end, part.first):
                writer.end(piece_end)
                piece_end = -1
            if piece_end < 0:
                writer.begin(int.from_bytes(key[:4], "big"), key[4:], part.first)
            piece_end = part.end
            if part.piece.step_count:
                yield from self._copy(output, log, window, part)
        if piece_end >= 0:
            writer.end(piece_end)

    def _copy(self, output: _Output, log: LiveLog, window: _Window, part: Part) -> _Steps:
        writer = output.writer
        index = window.index
        assert index is not None
        first = max(part.first, log.first_offset)
        position = index.step(index.step_of_offset(part.piece, first))[1]
        piece_end = part.piece.position + part.piece.size
        # The first entry kept may begin before first_offset, but never before the part.
        while position < piece_end:
            if not window.holds(position):
                window.put(position, (yield partial(window.file.pread, position, READ_SIZE)))
            data = window.data
            at = position - window.position
            stop = min(len(data), piece_end - window.position)
            at, why, frame = copy_frames(
                writer, window.segment.name, window.position, data, at, stop, part.first, part.end, log, window.number, SLICE_ROWS, SLICE_BYTES
            )
            position = window.position + at
            if why == BODY:
                assert frame is not None
                yield from self._add_body(output, window, frame)
            elif why == MORE:
                needed = HEAD_SIZE
                if len(data) - at >= HEAD_SIZE:
                    needed = frame_size(window.segment.name, window.position, data, at)
                if needed > piece_end - position:
                    raise CorruptData(f"{window.segment.name}: the frame at position {position} goes past its piece; run 'entrepot store verify'")
                data = yield partial(window.file.pread, position, max(needed, READ_SIZE))
                if len(data) < needed:
                    raise CorruptData(f"{window.segment.name}: the frame at position {position} is cut; run 'entrepot store verify'")
                window.put(position, data)
            elif why == FINISHED and (stop == piece_end - window.position or at < stop):
                break
            if (work := output.maybe_write()) is not None or why != MORE:
                yield work
        if (work := output.maybe_write()) is not None:
            yield work

    def _add_body(self, output: _Output, window: _Window, frame: Frame) -> _Steps:
        data = yield partial(window.body.pread, frame.position, frame.size)
        if len(data) != frame.size:
            raise CorruptData(f"{window.segment.name}: the entry at position {frame.position} is cut; run 'entrepot store verify'")
        output.writer.add(frame.base, frame.span, frame.time_ms, data, 0, frame.size, (window.number << 48) | frame.position)

    def _assess(self, segment: Segment) -> _Steps:
        """Whether anything in it is alive; the bytes of its entries that are dead, to within a step."""
        index: SegmentIndex = yield segment
        segment.data_size = index.data_size(HEADER_SIZE, index.index_position)
        dead = 0
        alive = False
        looked = 0
        for number in range(index.piece_count):
            piece = index.piece(number)
            log = self._log_of(piece.key[4:])
            looked += 1
            if log is None or not segment.covers(piece.key) or log.dead(piece.first, piece.end):
                dead += piece.data_size
            elif log.whole(piece.first, piece.end):
                alive = True
            else:
                alive = True
                end = piece.end
                position = piece.position + piece.size
                for step in range(piece.step_first + piece.step_count - 1, piece.step_first - 1, -1):
                    looked += 1
                    base, at, _ = index.step(step)
                    if log.dead(base, end):
                        dead += index.data_size(at, position)
                    end, position = base, at
            if looked >= SLICE_PIECES:
                looked = 0
                yield None
        segment.dead_bytes = dead
        return alive

    def _plan(self, alive: dict[int, bool]) -> list[Segment]:
        """Neighbours to be replaced; [] if nothing is worth it. A journal file that was adopted is not copied as long as half of what was alive then is."""
        segments = [segment for segment in self._segments.segments() if segment.id in alive]
        for segment in segments:
            if not alive[segment.id]:
                return [segment]
        for segment in segments:
            if segment.dead_bytes * 2 > segment.data_size:
                return [segment]
        for tier in range(len(TIER_SIZES)):
            run: list[Segment] = []
            for segment in segments:
                fits = segment.adopted is None and segment.tier <= tier and sum(map(_alive_bytes, run)) + _alive_bytes(segment) <= MERGED_SIZE_MAX
                if fits and len(run) < MERGE_COUNT_MAX:
                    run.append(segment)
                elif _is_worth_it(run, tier):
                    break
                else:
                    run = [segment] if segment.tier <= tier and segment.adopted is None else []
            if _is_worth_it(run, tier):
                return run
        return []


def _alive_bytes(segment: Segment) -> int:
    return segment.size - segment.dead_bytes


def _is_worth_it(run: list[Segment], tier: int) -> bool:
    """Whether enough of a run are of the tier: smaller ones between them come along, but do not count, lest the large be copied for their sake."""
    return sum(segment.tier == tier for segment in run) >= MERGE_COUNT or len(run) >= MERGE_COUNT_MAX


class _Output:
    """A segment file being made."""

    def __init__(self, disk: Disk, segment_id: int, keep_free: int, adopted: AdoptedRow | None) -> None:
        self.disk = disk
        self.keep_free = keep_free
        self.adopted = adopted
        self.writer = SegmentWriter(segment_id, adopted.number if adopted is not None else 0)
        self.file: File | None = None
        self.parts: list[bytes] = []  # taken, and not yet on their way to the file
        self.gathered = 0  # bytes of these
        self.written = 0

    def maybe_write(self) -> _Behind | None:
        """Work that writes what has gathered, if it is much."""
        if self.writer.pending() >= OUTPUT_SIZE:
            self._take(self.writer.take())
        if self.gathered < WRITE_SIZE:
            return None
        return _Behind(self._work(sync=False))

    def finish(self) -> Callable[[], None]:
        """Work that writes the rest and syncs the file."""
        self._take(self.writer.finish())
        return self._work(sync=True)

    def _take(self, part: bytes) -> None:
        self.parts.append(part)
        self.gathered += len(part)

    def _work(self, *, sync: bool) -> Callable[[], None]:
        parts, self.parts = self.parts, []
        size, self.gathered = self.gathered, 0
        return partial(self._write, parts, size, sync=sync)

    def _write(self, parts: list[bytes], size: int, *, sync: bool) -> None:
        if self.disk.free_bytes() < self.keep_free + size:
            raise OSError(errno.ENOSPC, f"less than {self.keep_free} bytes would stay free: segments wait")
        if self.file is None:
            self.file = self.disk.open(segment_name(self.writer.segment_id), create=True)
        self.file.pwrite(self.written, parts)
        self.written += size
        if sync:
            self.file.sync()
            self.file.close()

    def row(self) -> SegmentRow:
        """The finished segment."""
        size = self.written + (self.adopted.size if self.adopted is not None else 0)
        return SegmentRow(self.writer.segment_id, self.written, tier_of(size), self.adopted)


class _Window:
    """A segment being merged: its pieces in order, and a stretch of the file."""

    def __init__(self, segment: Segment, number: int, file: File, body: File) -> None:
        self.segment = segment
        self.number = number
        self.file = file
        self.body = body  # where entries lie that stand elsewhere
        self.index: SegmentIndex | None = None
        self.next_piece = 0
        self.key = b""  # of the next piece; b"" at the end
        self.position = 0
        self.data = b""

    def open(self, index: SegmentIndex) -> None:
        """Stand before the first piece."""
        self.index = index
        self.key = index.piece(0).key if index.piece_count else b""

    def take(self, key: bytes) -> list[Piece]:
        """The next pieces, as long as they have this key."""
        assert self.index is not None
        pieces = []
        while self.key == key:
            pieces.append(self.index.piece(self.next_piece))
            self.next_piece += 1
            self.key = self.index.piece(self.next_piece).key if self.next_piece < self.index.piece_count else b""
        return pieces

    def holds(self, position: int) -> bool:
        return self.position <= position < self.position + len(self.data)

    def put(self, position: int, data: bytes) -> None:
        if not data:
            raise CorruptData(f"{self.segment.name}: is cut at position {position}; run 'entrepot store verify'")
        self.position = position
        self.data = data


def _remove(disk: Disk, outputs: list[_Output]) -> None:
    """The files of a job that failed."""
    for output in outputs:
        if output.file is not None:
            output.file.close()
            with contextlib.suppress(OSError):
                disk.remove(segment_name(output.writer.segment_id))
