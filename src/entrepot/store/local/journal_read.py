"""JournalRead: entries of one log read back from a journal file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from entrepot.model.errors import EntrepotError
from entrepot.store.local.log import LocalReader, decode_rows

if TYPE_CHECKING:
    from entrepot.store.local.store import LocalStore


class JournalRead:
    """Completion of one read; the file is pinned until then."""

    def __init__(self, store: LocalStore, reader: LocalReader, journal_file: Any, start: int, rows: bytes, offset: int, end: int) -> None:
        self.store = store
        self.reader = reader
        self.journal_file = journal_file
        self.start = start
        self.rows = rows
        self.offset = offset
        self.end = end

    def done(self, data: bytes, error: BaseException | None) -> None:
        """The read is done."""
        self.journal_file.pins -= 1
        if error is None:
            try:
                entries = decode_rows(data, self.start, self.rows)
            except EntrepotError as damage:
                error = type(damage)(f"{self.journal_file.name} at {self.start}: {damage}")
        if error is not None:
            self.store.fail(error)
            return
        self.reader.loaded(self.offset, self.end, entries)
