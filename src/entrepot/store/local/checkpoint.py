"""The checkpoint: what recovery starts from. A transactional table store, replaced atomically, costing what changed.

It names the journal files in order with their salts and positions, the segments in order, with the journal files that some of them adopt, every
log with its offsets and holes, and the folded state. Two keepers behind one contract:

    SqliteCheckpoint    a SQLite file beside the journal; one checkpoint is one of its transactions, synced
    ImageCheckpoint     the same tables in memory, written whole through the Disk contract (temporary file, sync, rename, directory
                        sync): for simulated disks, where SQLite cannot open files

docs/formats/checkpoint.md has the tables. Every row carries a CRC-32C, since SQLite's pages do not.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from crc32c import crc32c

from entrepot.model.errors import CorruptData
from entrepot.store.local.disk import Disk

CHECKPOINT_NAME = "checkpoint.sqlite"
IMAGE_NAME = "checkpoint.image"
IMAGE_TEMPORARY_NAME = "checkpoint.image.tmp"
FORMAT_LEVEL = 3  # that this reader knows: of a store that has segments which count in part, or by another id
_ADOPTING_LEVEL = 2  # of one in which a segment has adopted a journal file
_FIRST_LEVEL = 1
_APPLICATION_ID = 0x456E7472  # "Entr"
_IMAGE_MAGIC = b"EntrChkI"
_IMAGE_HEADER_SIZE = 32
_SIGN = 1 << 63
_WRAP = 1 << 64

_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE journals (place INTEGER PRIMARY KEY, number INTEGER NOT NULL, salt INTEGER NOT NULL, start INTEGER NOT NULL, crc INTEGER NOT NULL);
CREATE TABLE segments (place INTEGER PRIMARY KEY, id INTEGER NOT NULL, size INTEGER NOT NULL, tier INTEGER NOT NULL, crc INTEGER NOT NULL);
CREATE TABLE logs (id BLOB PRIMARY KEY, shard INTEGER NOT NULL, first INTEGER NOT NULL, next INTEGER NOT NULL, marked INTEGER NOT NULL,
  alive INTEGER NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE holes (log BLOB, block INTEGER, data BLOB NOT NULL, crc INTEGER NOT NULL, PRIMARY KEY (log, block)) WITHOUT ROWID;
CREATE TABLE state (shard INTEGER, key BLOB, value BLOB NOT NULL, crc INTEGER NOT NULL, PRIMARY KEY (shard, key)) WITHOUT ROWID;
"""
# Made with the first segment that adopts a journal file.
_ADOPTED = """
CREATE TABLE IF NOT EXISTS adopted (segment INTEGER PRIMARY KEY, number INTEGER NOT NULL, slot INTEGER NOT NULL, salt INTEGER NOT NULL,
  size INTEGER NOT NULL, crc INTEGER NOT NULL)
"""
# Made with the first segment that was another store's and counts in part, or by another id.
_SHARED = """
CREATE TABLE IF NOT EXISTS shared (segment INTEGER PRIMARY KEY, said INTEGER NOT NULL, shards BLOB NOT NULL, crc INTEGER NOT NULL)
"""


class JournalRow(NamedTuple):
    """A journal file in the chain: its number, the salt of its life, and where replay of it starts."""

    number: int
    salt: int
    start: int


class AdoptedRow(NamedTuple):
    """A journal file that stays as it is, since a segment refers to its entries: its number, the number in its name, the salt of its life, bytes in use."""

    number: int
    slot: int
    salt: int
    size: int


class SharedRow(NamedTuple):
    """Of a segment that was another store's: the id that its file says, and of which shards it counts here: bit n mod 8 of octet n / 8; b"": of all."""

    said: int
    shards: bytes


class SegmentRow(NamedTuple):
    """A segment; of two that hold an offset, the one later in the list is right."""

    id: int
    size: int
    tier: int
    adopted: AdoptedRow | None = None
    shared: SharedRow | None = None


class LogRow(NamedTuple):
    """A log as of the checkpoint."""

    id: bytes
    shard: int
    first: int
    next: int
    marked: int
    bytes_alive: int


class HoleRow(NamedTuple):
    """Discarded offsets above a log's first offset, one block; the store's logs say what the bytes mean."""

    log: bytes
    block: int
    data: bytes


class Checkpointed(NamedTuple):
    """What load() found; all empty in a new store. The folded state is read by get() and scan()."""

    meta: dict[str, int]
    journals: list[JournalRow]
    segments: list[SegmentRow]
    logs: list[LogRow]
    holes: list[HoleRow]


class Changes:
    """What one checkpoint changes. Gathered on the loop, in slices; each log, hole block and key at most once."""

    __slots__ = (
        "adopted_rows",
        "drops_rows",
        "holes_gone_rows",
        "holes_rows",
        "journals_rows",
        "logs_rows",
        "meta_rows",
        "segments_rows",
        "shared_rows",
        "values_gone_rows",
        "values_rows",
    )

    def __init__(self) -> None:
        self.meta_rows: list[tuple[str, int, int]] = []
        self.journals_rows: list[tuple[int, ...]] | None = None
        self.segments_rows: list[tuple[int, ...]] | None = None
        self.adopted_rows: list[tuple[int, ...]] = []  # replaced with the segments, as are
        self.shared_rows: list[tuple[int, int, bytes, int]] = []
        self.logs_rows: list[tuple[Any, ...]] = []
        self.drops_rows: list[tuple[bytes]] = []
        self.holes_rows: list[tuple[bytes, int, bytes, int]] = []
        self.holes_gone_rows: list[tuple[bytes, int]] = []
        self.values_rows: list[tuple[int, bytes, bytes, int]] = []
        self.values_gone_rows: list[tuple[int, bytes]] = []

    def meta(self, name: str, value: int) -> None:
        """Set a number of the store's (0 to 2^64 - 1)."""
        self.meta_rows.append((name, _signed(value), _crc(name.encode(), value)))

    def journals(self, rows: list[JournalRow]) -> None:
        """Replace the list of journal files."""
        self.journals_rows = [(place, row.number, _signed(row.salt), row.start, _crc(b"", place, *row)) for place, row in enumerate(rows)]

    def segments(self, rows: list[SegmentRow]) -> None:
        """Replace the list of segments, and with it the journal files that they adopt, and what is said of those that were another store's."""
        self.segments_rows = [(place, *row[:3], _crc(b"", place, *row[:3])) for place, row in enumerate(rows)]
        for row in rows:
            if (file := row.adopted) is not None:
                self.adopted_rows.append((row.id, file.number, file.slot, _signed(file.salt), file.size, _crc(b"", row.id, *file)))
            if (part := row.shared) is not None:
                self.shared_rows.append((row.id, part.said, part.shards, _crc(part.shards, row.id, part.said)))
        level = FORMAT_LEVEL if self.shared_rows else _ADOPTING_LEVEL if self.adopted_rows else 0
        if level:
            self.meta("format_level", level)
            self.meta("minimum_reader", level)

    def log(self, row: LogRow) -> None:
        """Add or change a log."""
        self.logs_rows.append((*row, _crc(*row)))

    def drop_log(self, log_id: bytes) -> None:
        """Remove a log and its holes."""
        self.drops_rows.append((log_id,))

    def hole(self, log_id: bytes, block: int, data: bytes | None) -> None:
        """Set a block of holes; None removes it."""
        if data is None:
            self.holes_gone_rows.append((log_id, block))
        else:
            self.holes_rows.append((log_id, block, data, crc32c(data, _crc(log_id, block))))

    def value(self, shard: int, key: bytes, value: bytes | None) -> None:
        """Set a value of the folded state; None removes it."""
        if value is None:
            self.values_gone_rows.append((shard, key))
        else:
            self.values_rows.append((shard, key, value, crc32c(value, _crc(key, shard))))

    def count(self) -> int:
        """Rows that it touches."""
        rows = (
            self.meta_rows,
            self.journals_rows or (),
            self.segments_rows or (),
            self.logs_rows,
            self.drops_rows,
            self.holes_rows,
            self.holes_gone_rows,
            self.values_rows,
            self.values_gone_rows,
        )
        return sum(map(len, rows))

    def lists(self) -> list[list[Any]]:
        """Those whose rows may be many."""
        return [self.logs_rows, self.drops_rows, self.holes_rows, self.holes_gone_rows, self.values_rows, self.values_gone_rows]


class Checkpoint:
    """The contract of both keepers, and what they share. Driven from the loop; only the work that save() gives runs elsewhere."""

    name: str

    def __init__(self, reader: sqlite3.Connection) -> None:
        self._reader = reader
        self._has_state = True  # or may have: False if load() found none, until something is saved

    def load(self) -> Checkpointed:
        """Everything but the folded state; blocking, for the start. Raises CorruptData."""
        with _errors(self.name):
            loaded = _load(self.name, self._reader)
            self._has_state = self._reader.execute("SELECT 1 FROM state LIMIT 1").fetchone() is not None
        return loaded

    def save(self, changes: Changes) -> Callable[[], None]:
        """Blocking work for Disk.background: all of `changes` or nothing, durable when it returns. One at a time. Raises OSError."""
        raise NotImplementedError

    def get(self, shard: int, key: bytes) -> bytes | None:
        """A value of the folded state. Raises CorruptData."""
        if not self._has_state:
            return None
        with _errors(self.name):
            row = self._reader.execute("SELECT value, crc FROM state WHERE shard = ? AND key = ?", (shard, key)).fetchone()
        if row is None:
            return None
        value: bytes = row[0]
        if crc32c(value, _crc(key, shard)) != row[1]:
            raise CorruptData(f"{self.name}: the value of shard {shard}, key {key.hex()} fails its checksum; run 'entrepot store verify'")
        return value

    def scan(self, shard: int, first: bytes, end: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Up to `limit` (key, value) with first <= key < end, ascending. Raises CorruptData."""
        if not self._has_state:  # an opening broker scans each shard for a dozen kinds of state
            return []
        query = "SELECT key, value, crc FROM state WHERE shard = ? AND key >= ? AND key < ? ORDER BY key LIMIT ?"
        with _errors(self.name):
            rows = self._reader.execute(query, (shard, first, end, limit)).fetchall()
        for key, value, crc in rows:
            if crc32c(value, _crc(key, shard)) != crc:
                raise CorruptData(f"{self.name}: the value of shard {shard}, key {key.hex()} fails its checksum; run 'entrepot store verify'")
        return [(key, value) for key, value, _ in rows]

    def values(self) -> Iterator[tuple[int, bytes, bytes]]:
        """All of the folded state: (shard, key, value); blocking, for a store that is not open. Raises CorruptData."""
        with _errors(self.name):
            for shard, key, value, crc in self._reader.execute("SELECT shard, key, value, crc FROM state"):
                if crc32c(value, _crc(key, shard)) != crc:
                    raise CorruptData(f"{self.name}: the value of shard {shard}, key {key.hex()} fails its checksum; run 'entrepot store verify'")
                yield shard, key, value

    def problems(self) -> Iterator[str]:
        """What is damaged, one line each; blocking, for verification."""
        try:
            for (line,) in self._reader.execute("PRAGMA integrity_check(100)").fetchall():
                if line != "ok":
                    yield str(line)
            for shard, key, value, crc in self._reader.execute("SELECT shard, key, value, crc FROM state"):
                if crc32c(value, _crc(key, shard)) != crc:
                    yield f"the value of shard {shard}, key {key.hex()} fails its checksum"
            _load(self.name, self._reader)
        except (sqlite3.Error, CorruptData) as error:
            yield str(error)

    def close(self) -> None:
        """Release it; idempotent."""
        self._reader.close()


class SqliteCheckpoint(Checkpoint):
    """A SQLite file: `directory`/checkpoint.sqlite, made if there is none. Write-ahead mode, so that reading never waits for a save."""

    name = CHECKPOINT_NAME

    def __init__(self, directory: str, *, read_only: bool = False) -> None:
        path = os.path.join(directory, CHECKPOINT_NAME)
        with _errors(self.name):
            if read_only:
                self._writer: sqlite3.Connection | None = None
                super().__init__(_connect(f"file:{_quoted(path)}?mode=ro"))
                _check_level(self.name, self._reader)
                return
            self._writer = _connect(f"file:{_quoted(path)}?mode=rwc")
            self._writer.execute("PRAGMA journal_mode = WAL")
            self._writer.execute("PRAGMA synchronous = FULL")
            self._writer.execute("PRAGMA fullfsync = 1")
            self._writer.execute("PRAGMA checkpoint_fullfsync = 1")
            _create(self.name, self._writer)
            super().__init__(_connect(f"file:{_quoted(path)}?mode=rw"))
            self._reader.execute("PRAGMA query_only = 1")
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def save(self, changes: Changes) -> Callable[[], None]:
        """See Checkpoint.save."""
        self._has_state = True

        def work() -> None:
            assert self._writer is not None, "opened for reading"
            with _errors(self.name):
                _apply(self._writer, changes)

        return work

    def close(self) -> None:
        """See Checkpoint.close; also folds SQLite's own log into its file."""
        super().close()
        if self._writer is not None:
            self._writer.close()


class ImageCheckpoint(Checkpoint):
    """The tables in memory; each save writes all of them through `disk`. Costs what exists: for simulated disks and small stores."""

    name = IMAGE_NAME

    def __init__(self, disk: Disk, *, read_only: bool = False) -> None:
        self._disk = disk
        names = disk.names()
        if IMAGE_TEMPORARY_NAME in names and not read_only:
            disk.remove(IMAGE_TEMPORARY_NAME)
        super().__init__(_connect(":memory:", uri=False))
        with _errors(self.name):
            if IMAGE_NAME in names:
                self._reader.deserialize(self._read())
                _check_level(self.name, self._reader)
            else:
                _create(self.name, self._reader)

    def save(self, changes: Changes) -> Callable[[], None]:
        """See Checkpoint.save."""
        self._has_state = True

        def work() -> None:
            with _errors(self.name):
                _apply(self._reader, changes)
                image = self._reader.serialize()
            header = bytearray(_IMAGE_HEADER_SIZE)
            header[0:8] = _IMAGE_MAGIC
            header[8:10] = header[10:12] = _FIRST_LEVEL.to_bytes(2, "little")  # of the header; the tables say theirs
            header[12:16] = crc32c(image).to_bytes(4, "little")
            header[16:24] = len(image).to_bytes(8, "little")
            header[28:32] = crc32c(bytes(header[:28])).to_bytes(4, "little")
            file = self._disk.open(IMAGE_TEMPORARY_NAME, create=True)
            try:
                file.pwrite(0, [bytes(header), image])
                file.sync()
            finally:
                file.close()
            self._disk.rename(IMAGE_TEMPORARY_NAME, IMAGE_NAME)
            self._disk.sync_directory()

        return work

    def _read(self) -> bytes:
        file = self._disk.open(IMAGE_NAME)
        try:
            header = file.pread(0, _IMAGE_HEADER_SIZE)
            image = file.pread(_IMAGE_HEADER_SIZE, max(0, file.size() - _IMAGE_HEADER_SIZE))
        finally:
            file.close()
        if header[:8] != _IMAGE_MAGIC or crc32c(header[:28]).to_bytes(4, "little") != header[28:]:
            raise CorruptData(f"{IMAGE_NAME}: the header at position 0 fails its checksum; run 'entrepot store verify'")
        if int.from_bytes(header[10:12], "little") > FORMAT_LEVEL:
            raise CorruptData(f"{IMAGE_NAME}: needs a reader of version {header[10]}, this one reads up to {FORMAT_LEVEL}; use a newer entrepot")
        if len(image) != int.from_bytes(header[16:24], "little") or crc32c(image) != int.from_bytes(header[12:16], "little"):
            raise CorruptData(f"{IMAGE_NAME}: the tables at position {_IMAGE_HEADER_SIZE} fail their checksum; run 'entrepot store verify'")
        return image


def _connect(target: str, *, uri: bool = True) -> sqlite3.Connection:
    # One connection is used by one thread at a time; saving happens in the background lane's.
    return sqlite3.connect(target, uri=uri, isolation_level=None, check_same_thread=False, cached_statements=32)


def _quoted(path: str) -> str:
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")


@contextlib.contextmanager
def _errors(name: str) -> Iterator[None]:
    """SQLite's errors as ours: damage is CorruptData, everything else of the disk OSError."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise OSError(f"{name}: {error}") from error
    except sqlite3.DatabaseError as error:
        raise CorruptData(f"{name}: {error}; run 'entrepot store verify'") from error


def _create(name: str, connection: sqlite3.Connection) -> None:
    """Make the tables if there are none; else check that this reader knows them."""
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        _check_level(name, connection)
        return
    script = f"BEGIN IMMEDIATE; PRAGMA application_id = {_APPLICATION_ID}; PRAGMA user_version = {_FIRST_LEVEL}; {_SCHEMA} COMMIT;"
    connection.executescript(script)
    changes = Changes()
    changes.meta("format_level", _FIRST_LEVEL)
    changes.meta("minimum_reader", _FIRST_LEVEL)
    _apply(connection, changes)


def _check_level(name: str, connection: sqlite3.Connection) -> None:
    if connection.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION_ID:
        raise CorruptData(f"{name}: a SQLite file, but not a checkpoint; was it overwritten?")
    row = connection.execute("SELECT value FROM meta WHERE name = 'minimum_reader'").fetchone()
    if row is not None and row[0] > FORMAT_LEVEL:
        raise CorruptData(f"{name}: needs a reader of level {row[0]}, this one reads up to {FORMAT_LEVEL}; use a newer entrepot")


def _apply(connection: sqlite3.Connection, changes: Changes) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        many = connection.executemany
        many("INSERT OR REPLACE INTO meta VALUES (?, ?, ?)", changes.meta_rows)
        if changes.journals_rows is not None:
            connection.execute("DELETE FROM journals")
            many("INSERT INTO journals VALUES (?, ?, ?, ?, ?)", changes.journals_rows)
        if changes.segments_rows is not None:
            connection.execute("DELETE FROM segments")
            many("INSERT INTO segments VALUES (?, ?, ?, ?, ?)", changes.segments_rows)
            if changes.adopted_rows or _has(connection, "adopted"):
                connection.execute(_ADOPTED)
                connection.execute("DELETE FROM adopted")
                many("INSERT INTO adopted VALUES (?, ?, ?, ?, ?, ?)", changes.adopted_rows)
            if changes.shared_rows or _has(connection, "shared"):
                connection.execute(_SHARED)
                connection.execute("DELETE FROM shared")
                many("INSERT INTO shared VALUES (?, ?, ?, ?)", changes.shared_rows)
        many("DELETE FROM logs WHERE id = ?", changes.drops_rows)
        many("DELETE FROM holes WHERE log = ?", changes.drops_rows)
        many("INSERT OR REPLACE INTO logs VALUES (?, ?, ?, ?, ?, ?, ?)", changes.logs_rows)
        many("DELETE FROM holes WHERE log = ? AND block = ?", changes.holes_gone_rows)
        many("INSERT OR REPLACE INTO holes VALUES (?, ?, ?, ?)", changes.holes_rows)
        many("DELETE FROM state WHERE shard = ? AND key = ?", changes.values_gone_rows)
        many("INSERT OR REPLACE INTO state VALUES (?, ?, ?, ?)", changes.values_rows)
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _has(connection: sqlite3.Connection, table: str) -> bool:
    """Whether there is that table: not every store has needed it."""
    return bool(connection.execute("SELECT count(*) FROM sqlite_master WHERE name = ?", (table,)).fetchone()[0])


def _load(name: str, connection: sqlite3.Connection) -> Checkpointed:
    def bad(what: str) -> CorruptData:
        return CorruptData(f"{name}: {what} fails its checksum; run 'entrepot store verify'")

    meta = {}
    for key, value, crc in connection.execute("SELECT name, value, crc FROM meta"):
        meta[key] = value % _WRAP
        if _crc(key.encode(), meta[key]) != crc:
            raise bad(f"the number {key!r}")
    journals = []
    for place, number, salt, start, crc in connection.execute("SELECT * FROM journals ORDER BY place"):
        journals.append(JournalRow(number, salt % _WRAP, start))
        if _crc(b"", place, *journals[-1]) != crc:
            raise bad(f"journal file {number}'s row")
    adopted = {}
    for segment, number, slot, salt, size, crc in connection.execute("SELECT * FROM adopted") if _has(connection, "adopted") else ():
        adopted[segment] = AdoptedRow(number, slot, salt % _WRAP, size)
        if _crc(b"", segment, *adopted[segment]) != crc:
            raise bad(f"the row of segment {segment}'s journal file")
    shared = {}
    for segment, said, shards, crc in connection.execute("SELECT * FROM shared") if _has(connection, "shared") else ():
        shared[segment] = SharedRow(said, shards)
        if _crc(shards, segment, said) != crc:
            raise bad(f"what is said of segment {segment}")
    segments = []
    for place, *row, crc in connection.execute("SELECT * FROM segments ORDER BY place"):
        segments.append(SegmentRow(*row)._replace(adopted=adopted.get(row[0]), shared=shared.get(row[0])))
        if _crc(b"", place, *row) != crc:
            raise bad(f"segment {row[0]}'s row")
    logs = []
    for *row, crc in connection.execute("SELECT * FROM logs"):
        logs.append(LogRow(*row))
        if _crc(*row) != crc:
            raise bad(f"log {row[0].hex()}'s row")
    holes = []
    for log_id, block, data, crc in connection.execute("SELECT * FROM holes"):
        holes.append(HoleRow(log_id, block, data))
        if crc32c(data, _crc(log_id, block)) != crc:
            raise bad(f"log {log_id.hex()}'s holes, block {block},")
    return Checkpointed(meta, journals, segments, logs, holes)


def _signed(value: int) -> int:
    """SQLite's integers are signed, 64 bits."""
    return value - _WRAP if value & _SIGN else value


def _crc(data: bytes, *numbers: int) -> int:
    return crc32c(b"".join([number.to_bytes(8, "little") for number in numbers]), crc32c(data))
