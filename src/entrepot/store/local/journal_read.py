"""JournalRead: entries of one log read back from a journal file."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from entrepot.model.entry import StoredEntry
from entrepot.model.errors import EntrepotError
from entrepot.store.local.index import APART_SIZE_MIN, ROW_SIZE, decode_row, decode_rows
from entrepot.store.local.log import LocalLog, LocalReader

if TYPE_CHECKING:
    from entrepot.store.local.store import LocalStore


class JournalRead:
    """Completion of one read of several stretches of a journal file, each with its rows; the file is pinned until then."""

    def __init__(
        self,
        store: LocalStore,
        reader: LocalReader,
        journal_file: Any,
        reads: list[tuple[Any, int, int, int]],
        stretches: list[bytes],
        offset: int,
        end: int,
    ) -> None:
        self.store = store
        self.reader = reader
        self.journal_file = journal_file
        self.reads = reads
        self.stretches = stretches
        self.offset = offset
        self.end = end

    def done(self, read: list[tuple[bytes, bytes]], error: BaseException | None) -> None:
        """The read is done."""
        self.journal_file.pins -= 1
        entries: list[StoredEntry] = []
        if error is None:
            start = 0
            try:
                for (_, start, _, size), rows, (head, data) in zip(self.reads, self.stretches, read, strict=True):
                    if head:
                        entries.append(decode_row(head, data, rows))
                    else:
                        entries += decode_rows(data, start, rows)
                    if size >= APART_SIZE_MIN and (head or len(rows) == ROW_SIZE):
                        self.reader.log.head_size = size - entries[-1].entry.size
            except EntrepotError as damage:
                error = type(damage)(f"{self.journal_file.name} at {start}: {damage}")
        if error is not None:
            self.store.fail(error)
            return
        self.reader.loaded(self.offset, self.end, entries)


def fetch(store: LocalStore, disk: Any, reader: LocalReader, offset: int) -> None:
    """Read what lies at and after `offset` of a log, from the journal or from segments, and give it to its reader."""
    log = reader.log
    if log.holes_set.count:
        offset = log.holes_set.next_absent(offset)  # what is brought would all be dead, and the reader no further
    rows = log.rows
    row = rows.find(offset)
    first_row = rows.base(0) if rows.count else log.next_offset
    if offset < first_row:
        store.maintenance.fetch(reader, offset, first_row)
        return
    if row == rows.count or rows.base(row) >= log.durable_offset:
        # nothing lies there, or nothing yet (a row is there before its bytes): complete up to what is in memory
        store.scheduler.call_soon(reader.loaded_nothing, offset, log.durable_offset)
        return
    journal_file = store.ring.lives[rows.life(row)]
    reads, stretches, end = rows.stretches(row, log.durable_offset, reader.stretch_size, journal_file.file, log.head_size)
    journal_file.pins += 1
    fetched = JournalRead(store, reader, journal_file, reads, stretches, offset, end)
    disk.read_apart(reads, fetched.done)


class JournalTimes:
    """Finds the first entry at or after a time among those in no segment, reading them in order."""

    def __init__(self, log: LocalLog, timestamp_ms: int, done: Callable[[int], None]) -> None:
        self.log = log
        self.timestamp_ms = timestamp_ms
        self.done = done
        self.reader = log.reader()
        self.offset = max(log.first_offset, log.rows.base(0) if log.rows.count else log.tail_first())
        self.fetched = False

    def go(self) -> None:
        """Look at what is in memory, then fetch more."""
        log = self.log
        while self.offset < log.durable_offset and not log.dropped:
            stored = self.reader.at(self.offset)
            if stored is None:
                if self.fetched:
                    break  # nothing alive is left
                self.fetched = True
                self.reader.fetch(self.offset, self.go)
                return
            self.fetched = False
            if (stored.entry.max_time_ms or stored.entry.append_time_ms) >= self.timestamp_ms:
                self.reader.close()
                self.done(stored.base)
                return
            self.offset = stored.base + stored.entry.span
        self.reader.close()
        self.done(log.durable_offset)
