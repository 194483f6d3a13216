"""quarantine: set the damaged parts of a data directory aside, so that it opens again, and say what is missing from then on.

    segment    moved aside; what is whole of it is copied to a new segment in its place
    journal    a copy is put aside; the damaged commit and everything after it, which cannot be trusted without it, is cut off
    checkpoint not mended: without it nobody knows which segments and which state are right

Then the store is opened as the broker would, the offsets that lie nowhere any more are discarded in a commit of their own, so that
readers and subscriptions step over them, and the journal is left as it is. What is put aside is named `quarantine-<file>`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from entrepot.clock import SystemClock
from entrepot.entropy import SystemEntropy
from entrepot.model.entry import StoredEntry
from entrepot.model.errors import CorruptData, OutcomeUnknown
from entrepot.model.ranges import RangeSet
from entrepot.store.entry_codec import encode_header, entry_time
from entrepot.store.interface import Group, Scheduler
from entrepot.store.local.checkpoint import Changes, Checkpoint, ImageCheckpoint, JournalRow, SegmentRow, SqliteCheckpoint
from entrepot.store.local.disk import Disk, File
from entrepot.store.local.log import LocalLog
from entrepot.store.local.opening import open_store
from entrepot.store.local.posix_disk import PosixDisk
from entrepot.store.local.ring import PREFIX, journal_name, read_header
from entrepot.store.local.segment import OUTPUT_SIZE, SegmentIndex, SegmentWriter
from entrepot.store.local.segments import Segments, counts_of, segment_name
from entrepot.store.local.settings import StoreSettings
from entrepot.store.local.sorter import tier_of
from entrepot.store.local.verify import Missing, Progress, Report, Verification, check_piece, read_index

QUARANTINE = "quarantine-"
Run = Callable[[Callable[[Callable[[], None]], None]], None]
"""run(start): call start(done), and turn the loop until done() is called."""


def quarantine(where: str | Path, on_progress: Progress | None = None) -> Report:
    """Set damage aside in a directory that no broker runs on; without damage, change nothing. Raises OSError, Refused (in use)."""
    loop = asyncio.new_event_loop()

    def run(start: Callable[[Callable[[], None]], None]) -> None:
        finished = loop.create_future()
        start(lambda: None if finished.done() else finished.set_result(None))
        loop.run_until_complete(finished)

    try:
        disk: Any = PosixDisk(str(where), loop)
        try:
            return Quarantine(disk, loop, run, on_progress).run()
        finally:
            disk.close()
    finally:
        loop.close()


class Quarantine:
    """One run over a disk, which is changed."""

    def __init__(self, disk: Disk, scheduler: Scheduler, run: Run, on_progress: Progress | None, *, clock: Any = None, entropy: Any = None) -> None:
        self._disk = disk
        self._scheduler = scheduler
        self._run = run
        self._clock = clock or SystemClock()
        self._entropy = entropy or SystemEntropy()
        self._verification = Verification(disk, on_progress)
        self._report = self._verification.report
        self._gone: dict[bytes, RangeSet] = {}  # per log: offsets that may have been in what is lost

    def run(self) -> Report:
        """Everything; what is found and done."""
        found = self._verification
        found.run()
        if self._report.is_whole:
            return self._report
        if found.checkpoint_is_bad:
            self._report.cannot_mend = "without the checkpoint nobody knows which segments and which state are right; restore the directory from a copy"
            return self._report
        changes = Changes()
        changes.segments([row for before in found.checkpoint.segments if (row := self._segment(before)) is not None])
        if found.bad_journal is not None:
            self._cut_journal(found.bad_journal, changes)
        checkpoint = self._checkpoint()
        checkpoint.save(changes)()
        checkpoint.close()
        for row in found.bad_segments:
            self._set_aside(segment_name(row.id))
            if row.adopted is not None:
                self._set_aside(journal_name(row.adopted.slot))
        self._disk.sync_directory()
        self._discard_missing()
        self._report.is_mended = True
        return self._report

    def _checkpoint(self) -> Checkpoint:
        path = getattr(self._disk, "path", None)
        return ImageCheckpoint(self._disk) if path is None else SqliteCheckpoint(path)

    def _set_aside(self, name: str) -> None:
        names = self._disk.names()
        if name in names:
            self._disk.rename(name, self._aside(name))

    def _aside(self, name: str) -> str:
        """A name that is free, noted in the report."""
        names = self._disk.names()
        number = 0
        aside = QUARANTINE + name
        while aside in names:
            number += 1
            aside = f"{QUARANTINE}{name}.{number}"
        self._report.moved.append(aside)
        return aside

    # -- segments --------------------------------------------------------------------------------------------------------------

    def _segment(self, row: SegmentRow) -> SegmentRow | None:
        """The segment that takes the place of `row`: itself if it is whole, what is whole of it, or none."""
        if row not in self._verification.bad_segments:
            return row
        name = segment_name(row.id)
        try:
            file = self._disk.open(name)
        except OSError:
            return None
        body = file
        try:
            if row.adopted is not None:
                body = self._disk.open(journal_name(row.adopted.slot))
            index = read_index(name, file)
            return self._salvage(row, file, body, index)
        except (CorruptData, OSError):
            return None
        finally:
            file.close()
            if body is not file:
                body.close()

    def _salvage(self, row: SegmentRow, file: File, body: File, index: SegmentIndex) -> SegmentRow | None:
        name = segment_name(row.id)
        taken = [int(other[8:]) for other in self._disk.names() if other.startswith("segment-") and other[8:].isdigit()]
        writer = SegmentWriter(1 + max([*taken, *[known.id for known in self._verification.checkpoint.segments]]))
        target = self._disk.open(segment_name(writer.segment_id), create=True)
        written = 0
        try:
            for number in range(index.piece_count):
                piece = index.piece(number)
                shard = int.from_bytes(piece.key[:4], "big")
                if row.shared is not None and not counts_of(row.shared, shard):
                    continue
                kept: list[StoredEntry] = []
                damaged = check_piece(name, file, body, index, piece, kept.extend)
                log_id = piece.key[4:]
                writer.begin(shard, log_id, piece.first)
                offset = piece.first
                for stored in kept:
                    if stored.base < offset or stored.base + stored.entry.span > piece.end:
                        continue
                    if damaged and stored.base > offset:
                        self._gone.setdefault(log_id, RangeSet()).add(offset, stored.base)
                    assert stored.entry.data is not None
                    encoded = encode_header(stored.entry) + stored.entry.data
                    writer.add(stored.base, stored.entry.span, max(0, entry_time(encoded, 0)), encoded, 0, len(encoded), -1)
                    offset = stored.base + stored.entry.span
                    if writer.pending() >= OUTPUT_SIZE:
                        output = writer.take()
                        target.pwrite(written, [output])
                        written += len(output)
                if damaged and offset < piece.end:
                    self._gone.setdefault(log_id, RangeSet()).add(offset, piece.end)
                writer.end(piece.end)
            output = writer.finish()
            target.pwrite(written, [output])
            target.sync()
        finally:
            target.close()
        written += len(output)
        return SegmentRow(writer.segment_id, written, tier_of(written))

    # -- journal ---------------------------------------------------------------------------------------------------------------

    def _cut_journal(self, bad: tuple[int, str, int, int] | None, changes: Changes) -> None:
        """Cut until what is left is a chain without damage."""
        checkpoint = self._verification.checkpoint
        while bad is not None and self._cut(*bad):
            again = Verification(self._disk, None)
            again.checkpoint = checkpoint
            again.check_journal(0)
            bad = again.bad_journal
        left = Verification(self._disk, None)
        left.checkpoint = checkpoint
        left.check_journal(0)
        # Commits are numbered on from what is left: the checkpoint must not seem to cover the new ones.
        for name in ("covered", "captured"):
            changes.meta(name, min(checkpoint.meta.get(name, 0), left.last_sequence))
        there = set(self._lives().values())
        rows = [JournalRow(*row) for row in checkpoint.journals if row.number in there]
        if checkpoint.journals and not rows:
            # What is left are files between two lives: without a chain, they must not be taken for one.
            for name in self._journal_names():
                self._set_aside(name)
        changes.journals(rows)

    def _lives(self) -> dict[str, int]:
        """The life of each journal file that has one."""
        lives = {}
        for name in self._journal_names():
            file = self._disk.open(name)
            try:
                header = read_header(file, name)
            except CorruptData:
                header = None
            finally:
                file.close()
            if header is not None:
                lives[name] = header.life
        return lives

    def _journal_names(self) -> list[str]:
        """The journal's files, without those that are parts of segments."""
        adopted = self._verification.adopted_names()
        return [name for name in self._disk.names() if name.startswith(PREFIX) and name not in adopted]

    def _cut(self, life: int, name: str, position: int, _sequence: int) -> bool:
        """Nothing of `life` from `position` of file `name` on ("": that file is missing), nor of later lives; whether that changed anything."""
        lives = self._lives()
        later = [other for other in self._journal_names() if other != name and lives.get(other, life + 1) > life]
        if name:
            file = self._disk.open(name)
            size = file.size()
            aside = self._disk.open(self._aside(name), create=True)
            at = 0
            while at < size:
                part = file.pread(at, min(OUTPUT_SIZE, size - at))
                aside.pwrite(at, [part])
                at += len(part)
            aside.sync()
            aside.close()
            self._disk.sync_directory()
            at = position
            while at < size:
                step = min(OUTPUT_SIZE, size - at)
                file.pwrite(at, [bytes(step)])
                at += step
            file.sync()
            file.close()
        for other in later:
            self._set_aside(other)
        return bool(name or later)

    # -- what is missing -------------------------------------------------------------------------------------------------------

    def _discard_missing(self) -> None:
        """Open as the broker would; discard what lies nowhere."""
        settings = StoreSettings(journal_sort_files=1 << 30, journal_ready_files=0, reserve_size=0)
        store = open_store(
            self._disk,
            scheduler=self._scheduler,
            clock=self._clock,
            entropy=self._entropy,
            fold=_no_fold,
            settings=settings,
        )
        owner = _Owner()
        store.set_owner(owner)
        checkpoint = self._checkpoint()
        segments = Segments(self._disk, store.log)
        segments.adopt(checkpoint.load().segments)
        checkpoint.close()
        for log in store.logs():
            assert isinstance(log, LocalLog)
            for first, end in self._missing(log, segments):
                self._report.missing.append(Missing(log.id, first, end))
                store.discard(log, first, end)
        if self._report.missing:

            def commit(done: Callable[[], None]) -> None:
                owner.done = done
                store.urgent()

            self._run(commit)
            if owner.error is not None:
                raise OutcomeUnknown(f"the missing offsets could not be noted: {owner.error}")
        segments.close()
        store.ring.close()

    def _missing(self, log: LocalLog, segments: Segments) -> list[tuple[int, int]]:
        """Offsets of a log that are neither discarded nor in journal or segments."""
        there = RangeSet()
        rows = log.rows
        for row in range(rows.count):
            there.add(rows.base(row), rows.base(row) + rows.span(row))

        def layout(done: Callable[[], None]) -> None:
            def resolved(parts: list[Any], error: BaseException | None) -> None:
                if error is not None:
                    raise error
                for part in parts:
                    there.add(part.first, part.end)
                done()

            segments.with_layout(log.shard.to_bytes(4, "big") + log.id, resolved)

        self._run(layout)
        for first, end in self._gone.get(log.id, ()):
            there.remove(first, end)
        # A checkpoint's discards count; what the cut took with it of later ones does not matter: those records were settled.
        there.add(0, log.first_offset)
        for first, end in log.holes():
            there.add(first, end)
        found = []
        offset = there.next_absent(0)
        while offset < log.next_offset:
            end = min(there.next_present(offset), log.next_offset)
            found.append((offset, end))
            offset = there.next_absent(end)
        return found


class _Owner:
    """Waits for one commit."""

    def __init__(self) -> None:
        self.done: Callable[[], None] | None = None
        self.error: BaseException | None = None

    def committed(self, group: Group) -> None:
        if self.done is not None and group.durable:
            self.done()

    def store_failed(self, error: BaseException) -> None:
        self.error = error
        if self.done is not None:
            self.done()


def _no_fold(key: bytes, value: bytes | None, delta: bytes) -> bytes | None:  # noqa: ARG001
    raise AssertionError("no state is folded here: the broker's functions are not known")
