"""open_store: what lies in the directory becomes a store that serves.

1. The checkpoint says what is in segments, and from which journal file on to replay.
2. Journal files with a header that holds are lives; from the newest, each names its predecessor: the chain.
3. Its commits are read in order. Where none stands that belongs, a later commit that says the missing one was synced means damage
   (CorruptData, with file and position); without one it is a torn tail, which was never acknowledged.
4. Commits beyond what is known to be synced are valid, yet perhaps only in the page cache: they are copied to a new file (copies
   synced first, then its header, then the directory). A file that was cut is never written to again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from entrepot.clock import Clock
from entrepot.entropy import Entropy
from entrepot.model.errors import CorruptData
from entrepot.store.interface import Fold, Scheduler
from entrepot.store.local.checkpoint import Checkpoint, Checkpointed, ImageCheckpoint, SqliteCheckpoint
from entrepot.store.local.disk import Disk, File
from entrepot.store.local.journal import COMMIT_HEADER_SIZE, FILE_HEADER_SIZE, FileHeader, encode_commit_header, encode_file_header
from entrepot.store.local.maintenance import Maintenance
from entrepot.store.local.posix_disk import PosixDisk
from entrepot.store.local.recovery import Replay, Scan, find_covering
from entrepot.store.local.ring import PREFIX, JournalFile, JournalRing, journal_name, read_header
from entrepot.store.local.segments import Segments, segment_name
from entrepot.store.local.settings import StoreSettings
from entrepot.store.local.store import LocalStore
from entrepot.store.shard_time import ShardTime
from entrepot.store.state import State

Progress = Callable[[str, int, int], None]
"""on_progress(what, done, total), in bytes."""


class _Life:
    """A life of the chain being read."""

    def __init__(self, name: str, file: File, header: FileHeader) -> None:
        self.name = name
        self.file = file
        self.header = header


def open_store(
    where: str | Disk,
    *,
    scheduler: Scheduler,
    clock: Clock,
    entropy: Entropy,
    fold: Fold,
    settings: StoreSettings | None = None,
    on_progress: Progress | None = None,
) -> LocalStore:
    """Recover and open. `where` is a directory (made if there is none) or a disk. Blocks; raises CorruptData, OSError, Refused (in use)."""
    settings = settings or StoreSettings()
    disk: Any = PosixDisk(where, scheduler) if isinstance(where, str) else where
    try:
        return _Opening(disk, scheduler, clock, entropy, fold, settings, on_progress).run()
    except BaseException:
        if isinstance(where, str):
            disk.close()
        raise


class _Opening:
    def __init__(
        self, disk: Disk, scheduler: Scheduler, clock: Clock, entropy: Entropy, fold: Fold, settings: StoreSettings, on_progress: Progress | None
    ) -> None:
        self._disk = disk
        self._entropy = entropy
        self._progress = on_progress
        self._ring = JournalRing(disk, entropy, settings)
        path = getattr(disk, "path", None)
        self._checkpoint: Checkpoint = ImageCheckpoint(disk) if path is None else SqliteCheckpoint(path)
        found = self._checkpoint.load()
        self._covered = found.meta.get("covered", 0)  # the checkpoint has everything up to this commit
        self._journals = found.journals
        self._first_life = found.journals[0].number if found.journals else 0  # the oldest that the checkpoint names; 0: none
        self._last_life = found.meta.get("next_life", 1) - 1
        self._store = LocalStore(disk, scheduler, ShardTime(clock), settings, self._ring, State(self._checkpoint, fold))
        self._segments = Segments(disk, self._store.log)
        self._segments.adopt(found.segments)
        self._adopted = {journal_name(row.adopted.slot): row for row in found.segments if row.adopted is not None}
        self._kept: set[str] = set()  # of these, the files that were found
        self._journalled_ms = found.meta.get("time", 0)
        self._replay = Replay(self._store, self._covered, found.meta.get("captured", 0))
        self._restore(found)

    def run(self) -> LocalStore:
        # A process that was killed may have left names that are not durable yet; what is done from here on relies on them.
        self._disk.sync_directory()
        chain, free = self._chain()
        self._read(chain)
        for name, file in free:
            self._ring.adopt_free(name, file)
        self._ring.trim()
        store = self._store
        store.epoch = self._ring.next_life
        for log in store.logs():
            log.epoch = store.epoch
        store.time.not_before(max(self._journalled_ms, self._replay.time_ms))
        store.maintenance = Maintenance(store, self._disk, self._checkpoint, self._segments)
        store.maintenance.start()
        return store

    def _restore(self, found: Checkpointed) -> None:
        """Logs and holes as the checkpoint has them."""
        for row in found.logs:
            log = self._store.restored_log(row.shard, row.id)
            log.restore(row.first, row.next, row.marked, row.bytes_alive)
            self._replay.logs[row.id] = log
        for hole in found.holes:
            log_found = self._replay.logs.get(hole.log)
            if log_found is None:
                raise CorruptData(f"{self._checkpoint.name}: it has holes of log {hole.log.hex()}, which it does not have")
            log_found.holes_set.restore_block(hole.block, hole.data)

    def _chain(self) -> tuple[list[_Life], list[tuple[str, File]]]:
        """The lives to replay in order; and the files that are in no chain, once it is certain that nothing is lost in them."""
        lives: dict[int, _Life] = {}
        files: list[tuple[str, File]] = []
        for name in self._disk.names():
            if not name.startswith(PREFIX):
                continue
            self._ring.note_slot(name)
            file = self._disk.open(name)
            header = read_header(file, name)
            if name in self._adopted:
                file.close()
                self._check_adopted(name, header)
                continue
            files.append((name, file))
            if header is not None:
                if header.life in lives:
                    raise CorruptData(f"{name} and {lives[header.life].name} both say they are life {header.life} of the journal")
                lives[header.life] = _Life(name, file, header)
        for name, row in self._adopted.items():
            raise CorruptData(f"{name} is missing, which {segment_name(row.id)} refers to; run 'entrepot store verify'")
        chain: list[_Life] = []
        life = max(lives, default=0)
        self._last_life = max(life, self._last_life)
        if life < self._first_life:
            raise CorruptData(f"the journal file of life {self._first_life}, which the checkpoint names, is missing")
        while life >= max(1, self._first_life):
            found = lives.get(life)
            if found is None:
                raise CorruptData(f"journal file of life {life} is missing or its header is damaged; {chain[0].name} follows it")
            if chain and found.header.salt != chain[0].header.previous_salt:
                raise CorruptData(f"{found.name} at 0: its salt is not the one that {chain[0].name} names")
            chain.insert(0, found)
            life = found.header.previous_life
        if self._journals and chain[0].header.salt != self._journals[0].salt:
            raise CorruptData(f"{chain[0].name} at 0: its salt is not the one that the checkpoint names")
        members = {found.name for found in chain}
        return chain, [(name, file) for name, file in files if name not in members]

    def _check_adopted(self, name: str, header: FileHeader | None) -> None:
        """A journal file that a segment refers to is the one that it was."""
        row = self._adopted.pop(name)
        assert row.adopted is not None
        if header is None or header.life != row.adopted.number or header.salt != row.adopted.salt:
            raise CorruptData(
                f"{name} at 0: not the life {row.adopted.number} of the journal that {segment_name(row.id)} refers to; run 'entrepot store verify'"
            )
        self._kept.add(name)

    def _read(self, chain: list[_Life]) -> None:
        total = sum(life.file.size() for life in chain)
        read = 0
        synced = self._covered
        sequence = chain[0].header.first_sequence if chain else 1
        check = chain[0].header.chain if chain else 0
        pending: list[tuple[str, bytes, int, int, int]] = []  # commits not known to be synced: name, data, position, size, sequence
        scan: Scan | None = None
        members = {life.name for life in chain}
        for place, life in enumerate(chain):
            if life.header.first_sequence != sequence:
                break  # what was to be here is missing: decided below
            data = life.file.pread(0, life.file.size())
            scan = Scan(life.name, data, FILE_HEADER_SIZE, life.header.salt, sequence, check)
            stop = chain[place + 1].header.first_sequence if place + 1 < len(chain) else 0
            journal_file = JournalFile(life.name, life.file, life.header.life, life.header.salt, sequence, FILE_HEADER_SIZE)
            self._ring.adopt(journal_file)
            while scan.sequence != stop and scan.advance():
                number = scan.sequence - 1
                size = scan.position - scan.commit_position
                if scan.synced > synced:
                    synced = scan.synced
                    pending = self._settle(pending, synced)
                pending.append((life.name, data, scan.commit_position, size, number))
                journal_file.end = scan.position
            pending = self._settle(pending, synced)
            sequence = scan.sequence
            check = scan.chain
            read += len(data)
            if self._progress is not None:
                self._progress("journal", read, total)
            if scan.sequence != stop and place + 1 < len(chain):
                break
        self._check_end(chain, scan, sequence, members)
        last_settled = sequence - 1 - len(pending)
        self._finish(pending, last_settled, sequence - 1, check)

    def _settle(self, pending: list[tuple[str, bytes, int, int, int]], synced: int) -> list[tuple[str, bytes, int, int, int]]:
        """Replay, where they lie, the commits that are known to be synced; the rest."""
        index = 0
        for name, data, position, _, number in pending:
            if number > synced:
                break
            self._replay.commit(name, data, position, number, self._life_of(name), 0)
            index += 1
        return pending[index:]

    def _life_of(self, name: str) -> int:
        for journal_file in self._ring.lives.values():
            if journal_file.name == name:
                return journal_file.life
        raise AssertionError(name)

    def _check_end(self, chain: list[_Life], scan: Scan | None, missing: int, members: set[str]) -> None:
        """The commit `missing` stands nowhere: refuse if some later one says that it was synced, or if the checkpoint covers it."""
        where = f"{scan.name} at {scan.position}" if scan is not None else "the journal"
        if missing <= self._covered:
            raise CorruptData(f"{where}: commit {missing} is damaged or missing; the checkpoint covers it, so it was durable")
        for name in self._disk.names():
            if not name.startswith(PREFIX) or name in self._kept:
                continue
            start = 0
            if scan is not None and name == scan.name:
                start = scan.position
            elif name in members and not self._unread(chain, name):
                continue
            file = self._disk.open(name)
            try:
                found = find_covering(file.pread(0, file.size()), start, missing)
            finally:
                file.close()
            if found >= 0:
                raise CorruptData(f"{where}: commit {missing} is damaged or missing; {name} at {found} has a later one which says that it was synced")

    def _unread(self, chain: list[_Life], name: str) -> bool:
        return any(life.name == name and life.header.life not in self._ring.lives for life in chain)

    def _finish(self, pending: list[tuple[str, bytes, int, int, int]], settled: int, last: int, check: int) -> None:
        """Copy what is not known to be synced to a new file, and leave the store ready for the commit after `last`."""
        store = self._store
        if pending:
            self._copy(pending, settled)
        else:
            store.chain = check
            self._ring.next_life = max(self._ring.next_life, self._last_life + 1)
        store.sequence = last
        store.synced = last
        self._ring.seal_current()

    def _copy(self, pending: list[tuple[str, bytes, int, int, int]], settled: int) -> None:
        ring = self._ring
        previous = self._life_before(pending[0][4])
        name, file = ring.create_file()
        life = max(ring.next_life, self._last_life + 1)
        salt = int.from_bytes(self._entropy.octets(8), "little")
        check = int.from_bytes(pending[0][1][pending[0][2] + 40 : pending[0][2] + 44], "little")
        header = FileHeader(life, salt, previous.life if previous else 0, previous.salt if previous else 0, pending[0][4], check)
        position = FILE_HEADER_SIZE
        parts: list[bytes] = [bytes(FILE_HEADER_SIZE)]
        copies: list[tuple[int, int]] = []
        for _, data, start, size, number in pending:
            length = int.from_bytes(data[start + 32 : start + 36], "little")
            crc = int.from_bytes(data[start + 36 : start + 40], "little")
            operations = int.from_bytes(data[start + 44 : start + 48], "little")
            head = encode_commit_header(number, settled, salt, length, crc, check, operations)
            check = int.from_bytes(head[52:56], "little")
            parts += [head, data[start + COMMIT_HEADER_SIZE : start + size]]
            copies.append((position, number))
            position += size
        file.pwrite(0, parts)
        file.sync()
        file.pwrite(0, [encode_file_header(header)])
        file.sync()
        self._disk.sync_directory()
        if previous is not None:
            ring.forget_after(previous.life)
        else:
            ring.forget_after(0)
        ring.adopt(JournalFile(name, file, life, salt, pending[0][4], position))
        copied = b"".join(parts)
        for start, number in copies:
            self._replay.commit(name, copied, start, number, life, 0)
        self._store.chain = check

    def _life_before(self, sequence: int) -> JournalFile | None:
        """The life that holds the commit before `sequence`."""
        found = None
        for journal_file in self._ring.lives.values():
            if journal_file.first_sequence < sequence:
                found = journal_file
        return found
