"""What the local store does besides commits: files zeroed ahead, sorting, checkpoints, pressure, the last steps of closing.

A round, one at a time, all of it in slices on the loop or in the background lane:

    sort      what is alive of the closed journal files -> new segments (or: a merge of segments)
    cut       the next group sealed is commit S: the folded state freezes there
    capture   logs changed since the last checkpoint, in slices; what is staged meanwhile may be in it or not
    settle    every group that was open while capturing is durable, up to commit L; the journal is synced
    save      the checkpoint: state as of S, logs as of S to L. Replay goes from S on, and knows that up to L a log may be ahead
    release   rows of sorted files are forgotten; the files may be reused once nobody reads them
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from entrepot.store.local.checkpoint import AdoptedRow, Changes, Checkpoint, JournalRow, LogRow, SegmentRow
from entrepot.store.local.disk import Disk
from entrepot.store.local.file_window import FileWindow
from entrepot.store.local.journal import FILE_HEADER_SIZE
from entrepot.store.local.journal_read import JournalTimes
from entrepot.store.local.log import LocalLog
from entrepot.store.local.log_table import Walk
from entrepot.store.local.reserve import Reserve
from entrepot.store.local.rewriting import Rewriting
from entrepot.store.local.ring import JournalFile, slot_of
from entrepot.store.local.segments import Segments
from entrepot.store.local.settings import Durability
from entrepot.store.local.sorter import Sorter

if TYPE_CHECKING:
    from entrepot.model.entry import StoredEntry
    from entrepot.store.local.log import LocalReader
    from entrepot.store.local.store import LocalStore

REST_S = 5.0  # before another try, when there was no room for segments
SLICE_LOGS = 100
SLICE_KEYS = 200
SLICE_FREED = 1000  # elements
FULL_WATCH_S = 0.25  # how often the disk is asked while it is full
STATE_SIZE = 32 << 20  # bytes of changed state that start a round


class Maintenance:
    """Driven by the store's events."""

    def __init__(self, store: LocalStore, disk: Disk, checkpoint: Checkpoint, segments: Segments) -> None:
        self._store = store
        self._disk = disk
        self._checkpoint = checkpoint
        self._segments = segments
        self._sorter = Sorter(
            disk,
            store.scheduler,
            segments,
            self._local,
            keep_free=store.settings.reserve_size // 2,
            adopt_size_min=store.settings.adopt_size_min,
            adopt_entry_size_min=store.settings.adopt_entry_size_min,
        )
        # Merging goes on beside the rounds, since sorting must not wait for it: a round takes its result up.
        self._merger = Sorter(disk, store.scheduler, segments, self._local, keep_free=store.settings.reserve_size // 2)
        self._merge_result: tuple[list[SegmentRow], list[int]] | None = None
        self._reserve = Reserve(disk, store.settings)
        self._window = FileWindow(disk, store.settings.file_cache_size)
        # the round under way
        self._running = False
        self._sources: list[JournalFile] = []
        self._added: list[SegmentRow] = []
        self._removed: list[int] = []
        self._changes = Changes()
        self._waiting_for = 0  # number of a group; 0: for none
        self._waiting_sync = False
        self._sync_needed = 0
        self._last_round = False
        self._watch: Any = None  # timer, while the disk is full
        # there was no room for segments
        self._is_cramped = False  # since the last checkpoint: sort one file at a time
        self._is_resting = False  # and not before a while has passed
        self._rewrites: list[Rewriting] = []
        self._rewriting: Rewriting | None = None
        self._rotating_for = 0  # number of the group that starts a new journal file, so that the one before can be sorted; 0: none
        self._placed_seen = 0  # rows placed when they were last counted
        self._counting = False  # the rows in memory
        self._crowded = False  # there are too many of them, or none are wanted
        self._emptied: Callable[[], None] | None = None  # to be told once there are none
        self.rounds = 0

    def start(self) -> None:
        """The store is open."""
        for name in self._segments.strays():
            self._disk.remove(name)
        self._store.ring.prepare()
        self.assess()

    # -- events ----------------------------------------------------------------------------------------------------------------

    def rotated(self) -> None:
        """The journal goes on in another file."""
        self._store.ring.prepare()
        self.assess()

    def committed(self) -> None:
        """A group is durable."""
        store = self._store
        if store.ring.retired:
            store.ring.sweep()
        if self._waiting_for:
            self._settled()
        if self._rotating_for and store.durable_number >= self._rotating_for:
            self._rotating_for = 0
            self._sort()
        if store.pressure or self._reserve.due(store.commit_bytes):
            self.assess()
        if store.placed - self._placed_seen > store.settings.index_rows_max >> 2:
            self._placed_seen = store.placed
            if not self._counting:
                self._counting = True
                self._count(store.table.walk(), 0)
        if not self._running and store.closing is None and self._round_is_due():
            self._begin()

    def synced(self) -> None:
        """A sync of its own is done."""
        if self._waiting_sync and self._store.synced >= self._sync_needed:
            self._save()

    def quiet(self) -> None:
        """The store is closing and everything staged is durable."""
        if self._last_round:
            return
        self._merger.stop()
        if self._running:
            if not self._sorter.busy:
                return  # the round ends by itself
            self._sorter.stop()
            self._running = False
        self._last_round = True
        told = getattr(self._store.owner, "store_closing", None)
        if told is not None:
            told()
        self._sources, self._added, self._removed = [], [], []
        self._running = True
        self._store.want_cut()

    def assess(self) -> None:
        """Look at disk and backlog: are producers to be slowed, appends to be refused?"""
        store = self._store
        settings = store.settings
        full = self._reserve.is_full(store.commit_bytes)
        pressure = full or store.staged_bytes > settings.staged_max or store.ring.bytes_unsorted() > settings.journal_unsorted_max
        if (pressure, full) != (store.pressure, store.full):
            store.pressure = pressure
            store.full = full
            self._tell()
        if full and self._watch is None and store.closing is None:
            self._watch = store.scheduler.call_later(FULL_WATCH_S, self._look_again)

    def _tell(self) -> None:
        told = getattr(self._store.owner, "store_pressure", None)
        if told is not None:
            told(self._store.pressure)

    def _look_again(self) -> None:
        """The disk was full. Nobody may commit anything while it is, so that time alone brings the question up again; and whoever came since is told."""
        self._watch = None
        if self._is_open():
            self.assess()
            self._tell()

    def look(self) -> None:
        """What is free of the disk may be less though this store has taken nothing: others have it, too."""
        if self._is_open():
            self.assess()

    def _is_open(self) -> bool:
        return self._store.closing is None and self._store.failed is None

    def _count(self, walk: Walk, count: int) -> None:
        """The rows of every log: are there too many?"""
        for log in walk.take(SLICE_LOGS):
            count += log.rows.count
        if not walk.is_over:
            self._store.scheduler.call_soon(self._count, walk, count)
            return
        self._counting = False
        self._crowded = count > self._store.settings.index_rows_max
        if self._crowded:
            self._again()

    def rewrite(self, request: Rewriting) -> None:
        """Take a request; they are carried out one by one."""
        self._rewrites.append(request)
        if not self._running and self._store.closing is None:
            self._store.scheduler.call_soon(self._again)

    def empty_journal(self, done: Callable[[], None]) -> None:
        """done() once all that is alive lies in segments; nothing else is staged meanwhile. What is in the way fails the store."""
        self._emptied = done
        self._store.scheduler.call_soon(self._empty)

    def _empty(self) -> None:
        if self._running or self._emptied is None:
            return  # the round that is under way comes back to it
        if any(log.rows.count for log in self._store.table.by_id.values()):
            self._crowded = True
            self._again()
        else:
            done, self._emptied = self._emptied, None
            done()

    # -- a round ---------------------------------------------------------------------------------------------------------------

    def _round_is_due(self) -> bool:
        store = self._store
        if self._is_resting:
            return False
        if self._rewrites or self._crowded:
            return True
        return len(store.ring.lives) > store.settings.journal_sort_files or store.state.changed_bytes() > STATE_SIZE or self._merge_result is not None

    def _begin(self) -> None:
        self._running = True
        self._added, self._removed = [], []
        ring = self._store.ring
        if self._rewrites:
            request = self._rewrites[0]
            if request.log.dropped or request.is_sorted():
                self._sources = []
                self._write(self._rewrites.pop(0))
            else:
                ring.seal_current()
                self._rotating_for = self._store.flush()
            return
        if self._crowded:
            self._crowded = False
            ring.seal_current()
            self._rotating_for = self._store.flush()
            return
        if len(ring.lives) <= self._store.settings.journal_sort_files:
            self._sources = []
            if self._merge_result is not None:
                self._added, self._removed = self._merge_result
                self._merge_result = None
            self._store.want_cut()
            return
        self._sort()

    def _sort(self) -> None:
        self._sources = self._store.ring.closed()
        if self._is_cramped:
            del self._sources[1:]
        self._gather(self._store.table.walk(), [], self._sources[-1].life)

    def _write(self, request: Rewriting) -> None:
        if request.log.dropped:
            request.done()
            self._finished()
            return
        self._rewriting = request
        self._disk.background(request.work(self._disk, self._segments.take_id()), self._rewritten)

    def _rewritten(self, row: SegmentRow, error: BaseException | None) -> None:
        if error is not None:
            self._store.fail(error)
            return
        self._added = [row]
        self._store.want_cut()

    def _gather(self, walk: Walk, packed: list[tuple[int, bytes, bytes]], life: int) -> None:
        """The rows of every log that point into the files to be sorted; closed files get no more of them."""
        for log in walk.take(SLICE_LOGS):
            rows = log.rows_through(life)
            if rows and not log.dropped:
                packed.append((log.shard, log.id, rows))
        if not walk.is_over:
            self._store.scheduler.call_soon(self._gather, walk, packed, life)
        elif self._store.failed is None:
            adoptable = [AdoptedRow(source.life, slot_of(source.name), source.salt, source.end) for source in self._sources]
            self._sorter.sort([(source.life, source.file) for source in self._sources], packed, self._sorted, adoptable)

    def _sorted(self, added: list[SegmentRow], error: BaseException | None) -> None:
        if error is not None:
            self._no_room_or_fail(error)
            return
        self._added = added
        self._store.want_cut()

    def _no_room_or_fail(self, error: BaseException) -> None:
        """A segment could not be made. Nothing durable depends on it: if it was for want of disk, it is tried again, a file at a time."""
        if self._emptied is not None or not isinstance(error, OSError) or error.errno not in (errno.ENOSPC, errno.EDQUOT):
            self._store.fail(error)
            return
        self._sources = []
        self._is_cramped = True
        self._is_resting = True
        self._store.scheduler.call_later(REST_S, self._rested)
        self._finished()

    def _rested(self) -> None:
        self._is_resting = False
        self._again()

    def _merged(self, added: list[SegmentRow], removed: list[int], error: BaseException | None) -> None:
        if error is not None:
            # Nothing depends on it; for want of disk it is tried again after the next round.
            if not isinstance(error, OSError) or error.errno not in (errno.ENOSPC, errno.EDQUOT):
                self._store.fail(error)
            return
        if added or removed:
            self._merge_result = added, removed
            self._again()

    def cut(self, sequence: int) -> None:
        """Commit `sequence` is sealed: everything staged so far is in it or before it."""
        self._store.state.freeze()
        self._changes = changes = Changes()
        changes.meta("covered", sequence)
        self._capture(self._store.table.walk(), [])

    def _capture(self, walk: Walk, captured: list[tuple[LogRow, list[tuple[int, bytes | None]]]]) -> None:
        for log in walk.take(SLICE_LOGS):
            if log.dropped or not log.changed:
                continue
            log.changed = False
            blocks = [(block, log.holes_set.encode_block(block) or None) for block in log.holes_set.take_changed()]
            captured.append((LogRow(log.id, log.shard, log.first_offset, log.next_offset, log.mark_high, log.bytes_alive), blocks))
        if walk.is_over:
            self._write_logs(captured)
        else:
            self._store.scheduler.call_soon(self._capture, walk, captured)

    def _write_logs(self, captured: list[tuple[LogRow, list[tuple[int, bytes | None]]]]) -> None:
        for row, blocks in captured[-SLICE_LOGS:]:
            self._changes.log(row)
            for block, data in blocks:
                self._changes.hole(row.id, block, data)
        del captured[-SLICE_LOGS:]
        self._store.scheduler.call_soon(*((self._write_logs, captured) if captured else (self._write_state,)))

    def _write_state(self) -> None:
        rows = self._store.state.prepare(SLICE_KEYS)
        for row in rows:
            self._changes.value(*row)
        if rows:
            self._store.scheduler.call_soon(self._write_state)
            return
        # Logs dropped up to now are dropped by groups that are waited for; later ones are the next checkpoint's.
        gone, self._store.dropped_ids = self._store.dropped_ids, []
        self._write_drops(gone, set(), self._store.numbers)

    def _write_drops(self, left: list[bytes], gone: set[bytes], number: int) -> None:
        """The logs of `left` are dropped by groups up to `number`."""
        changes = self._changes
        for log_id in left[-SLICE_LOGS:]:
            if log_id not in gone:
                changes.drop_log(log_id)
        gone.update(left[-SLICE_LOGS:])
        del left[-SLICE_LOGS:]
        if left:
            self._store.scheduler.call_soon(self._write_drops, left, gone, number)
        elif gone:
            rows: tuple[list[Any], list[Any]] = changes.logs_rows, changes.holes_rows
            changes.logs_rows, changes.holes_rows = [], []
            self._sift(rows, gone, number)
        else:
            self._captured(number)

    def _sift(self, left: tuple[list[Any], list[Any]], gone: set[bytes], number: int) -> None:
        """Rows of logs, and of their holes, that are not gone."""
        changes = self._changes
        for rows, kept in zip(left, (changes.logs_rows, changes.holes_rows), strict=True):
            kept += [row for row in rows[-SLICE_LOGS:] if row[0] not in gone]
            del rows[-SLICE_LOGS:]
        if any(left):
            self._store.scheduler.call_soon(self._sift, left, gone, number)
        else:
            self._captured(number)

    def _captured(self, number: int) -> None:
        """All that changes is; it counts with the group of that number."""
        self._waiting_for = number
        self._settled()

    def _settled(self) -> None:
        """Go on once every group that was open while capturing is durable, and synced."""
        store = self._store
        if store.failed is not None or (store.durable_number < self._waiting_for and store.staged()):
            return
        self._waiting_for = 0
        if store.settings.durability is not Durability.FSYNC and store.synced < store.sequence:
            self._waiting_sync = True
            self._sync_needed = store.sequence
            store.sync_now()
            return
        self._save()

    def _save(self) -> None:
        self._waiting_sync = False
        store = self._store
        changes = self._changes
        changes.meta("captured", store.synced)
        changes.meta("next_life", store.ring.next_life)
        changes.meta("time", store.time.now_ms())
        sorted_lives = {source.life for source in self._sources}
        changes.journals([JournalRow(one.life, one.salt, FILE_HEADER_SIZE) for one in store.ring.lives.values() if one.life not in sorted_lives])
        changes.segments(self._segments.rows_after(self._added, self._removed))
        self._disk.background(self._checkpoint.save(changes), self._saved)

    def _saved(self, _: Any, error: BaseException | None) -> None:
        store = self._store
        if store.failed is not None:
            return
        if error is not None:
            store.fail(error)
            return
        self.rounds += 1
        self._is_cramped = False
        changes, self._changes = self._changes, Changes()
        self._let_go([*store.state.saved(), *changes.lists()])
        self._segments.replace(self._added, self._removed)
        if (self._added or self._removed) and not self._merger.busy and self._merge_result is None and store.closing is None:
            self._merger.merge(self._merged)
        if self._rewriting is not None:
            request = self._rewriting
            self._rewriting = None
            if not request.log.dropped:
                store.replaced(request.log, request.end)
            request.done()
        self._window.add(self._added)
        if self._sources:
            self._forget(store.table.walk(), self._sources[-1].life)
        else:
            self._finished()

    def _let_go(self, left: list[Any]) -> None:
        """Of lists and dicts that nobody uses any more, little by little: a hundred thousand of their elements take ten milliseconds."""
        count = SLICE_FREED
        while left and count > 0:
            container = left[-1]
            if not container:
                left.pop()
            elif isinstance(container, list):
                container.pop()
            else:
                container.popitem()
            count -= 1
        if left:
            self._store.scheduler.call_soon(self._let_go, left)

    def _forget(self, walk: Walk, life: int) -> None:
        for log in walk.take(SLICE_LOGS):
            log.forget_through(life)
        if not walk.is_over:
            self._store.scheduler.call_soon(self._forget, walk, life)
            return
        adopted = {row.adopted.number for row in self._added if row.adopted is not None}
        for source in self._sources:
            self._store.ring.retire(source.life, adopted=source.life in adopted)
        self._sources = []
        self._finished()

    def _finished(self) -> None:
        self._running = False
        self.assess()
        if self._last_round:
            self._end()
        elif self._store.closing is not None:
            self.quiet()
        elif self._emptied is not None:
            self._store.scheduler.call_soon(self._empty)
        elif self._round_is_due():
            self._store.scheduler.call_soon(self._again)

    def _again(self) -> None:
        if not self._running and self._store.closing is None and self._store.failed is None and self._round_is_due():
            self._begin()

    def _end(self) -> None:
        done = self._store.closing
        if self._watch is not None:
            self._watch.cancel()
        self._store.ended(ConnectionAbortedError("closed"))
        self._disk.close()
        self._store.ring.close()
        self._segments.close()
        self._checkpoint.close()
        if done is not None:
            done()

    # -- reads -----------------------------------------------------------------------------------------------------------------

    def fetch(self, reader: LocalReader, offset: int, end: int) -> None:
        """Bring what segments hold in [offset, end) to a reader."""

        def done(entries: list[StoredEntry], next_offset: int, error: BaseException | None) -> None:
            if error is not None:
                self._store.fail(error)
            else:
                reader.loaded(offset, next_offset, entries)

        self._segments.fetch(reader.log.id, offset, end, reader.stretch_size, done)

    def find(self, log: LocalLog, timestamp_ms: int, done: Callable[[int], None]) -> None:
        """See Log.find."""

        def found(base: int | None, error: BaseException | None) -> None:
            if error is not None:
                self._store.fail(error)
            elif base is not None:
                done(base)
            else:
                JournalTimes(log, timestamp_ms, done).go()

        self._segments.find(log.id, timestamp_ms, log.first_offset, found)

    def _local(self, log_id: bytes) -> LocalLog | None:
        log = self._store.log(log_id)
        assert log is None or isinstance(log, LocalLog)
        return log

    def statistics(self) -> dict[str, float]:
        """Figures of journal files, segments, sorting and state."""
        return {
            "journal_unsorted_bytes": self._store.ring.bytes_unsorted(),
            "journal_files": len(self._store.ring.lives),
            "checkpoints": self.rounds,
            "sorted_bytes": self._sorter.sorted_bytes,
            "adopted_bytes": self._sorter.adopted_bytes,
            "merged_bytes": self._merger.merged_bytes,
            "state_changed_bytes": self._store.state.changed_bytes(),
            "disk_free_bytes": self._reserve.free_bytes,
            **self._segments.statistics(),
        }
