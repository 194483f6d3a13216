"""StoreRun: the real store over the simulated disk, worked hard, brought down at bad moments, and checked each time it comes up.

One seed is one run: commits of every kind, small files so that they rotate, are sorted, checkpointed and reused all the time, then a
power failure, a kill or a failing disk in the middle of it; one of the crashes is in recovery.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from entrepot.model.entry import make_entry
from entrepot.model.errors import EntrepotError
from entrepot.simulation.disk import UNLIMITED, Crashed, SimulatedDisk
from entrepot.simulation.loop import SimulatedClock, SimulatedEntropy, SimulatedLoop
from entrepot.simulation.store_model import CODEC_MANY, CODEC_ONE, RECORD_SIZE, StoreModel, Violation, fold, records_of
from entrepot.store.interface import Group, Log, Store
from entrepot.store.local.disk import Disk
from entrepot.store.local.journal import FILE_HEADER_SIZE, FILE_MAGIC, decode_file_header
from entrepot.store.local.opening import open_store
from entrepot.store.local.settings import Durability, StoreSettings

COMMITS_MIN = 210  # of a run
LOGS_MAX = 6
_RESERVE = 256 << 10
DOWNS = 3  # crashes that are followed by more work; one more is in recovery, and one at the end


@dataclass(frozen=True)
class Seams:
    """Where a test puts something else in: that is how it shows that the run would notice."""

    disk: Callable[[SimulatedLoop], SimulatedDisk] = SimulatedDisk
    entropy: Callable[[SimulatedLoop], Any] = SimulatedEntropy
    delivers_staged: bool = False  # hand records to consumers when they are staged


class StoreRun:
    """The owner of the store of one run."""

    def __init__(self, seed: int, seams: Seams | None = None, commits_min: int = COMMITS_MIN) -> None:
        self.seams = seams or Seams()
        self.loop = SimulatedLoop(seed)
        self.chance = self.loop.random
        self.disk = self.seams.disk(self.loop)
        self.clock = SimulatedClock(self.loop)
        self.entropy = self.seams.entropy(self.loop)
        self.model = StoreModel()
        self.monitor = JournalMonitor(self.disk)
        self.commits_min = commits_min
        self.waits_for_sync = self.chance.random() < 0.8
        self.settings = StoreSettings(
            durability=Durability.FSYNC if self.waits_for_sync else Durability.INTERVAL,
            sync_interval_ms=self.chance.choice((2, 20, 200)),
            linger_ms=self.chance.choice((0, 1, 5)),
            group_size_max=self.chance.choice((500, 4 << 10, 32 << 10)),
            entry_size_max=2048,
            entry_count_max=64,
            journal_file_size=self.chance.choice((16 << 10, 32 << 10, 64 << 10)),
            journal_first_file_size=self.chance.choice((2 << 10, 8 << 10, 64 << 10)),
            journal_ready_files=self.chance.choice((1, 2)),
            journal_sort_files=self.chance.choice((1, 2, 3)),
            journal_bulk_file_size=self.chance.choice((0, 64 << 10, 128 << 10)),
            journal_bulk_commit_size=self.chance.choice((256, 2048, 1 << 20)),
            adopt_size_min=self.chance.choice((0, 4096, 1 << 30)),
            adopt_entry_size_min=self.chance.choice((0, 100, 1000)),
            file_cache_size=self.chance.choice((0, 64 << 10)),
            journal_unsorted_max=512 << 10,
            cache_size=self.chance.choice((0, 16 << 10, 1 << 20)),
            reserve_size=_RESERVE,
        )
        self.fills_up = self.chance.random() < 0.25  # the disk is nearly full in the middle of the run
        # the store that is open now
        self.store: Any = None
        self.failed: BaseException | None = None
        self.last_entry: Any = None
        self.serial = 0
        # what came of it
        self.commits = 0
        self.lost_power = False  # since the store was last open
        self.downs: list[str] = []
        self.unknown_kept = 0
        self.refusals = 0  # times that the disk was nearly full, and appends were refused

    # ---- the store's owner

    def committed(self, group: Group) -> None:
        """See Owner."""
        self.commits += 1
        self.loop.note("committed", group.sequence)
        if self.waits_for_sync:
            self.model.committed(group)
        else:
            self.model.written(group)

    def store_failed(self, error: BaseException) -> None:
        """See Owner."""
        self.failed = error

    # ---- the run

    def run(self) -> str:
        """Do all of it; the digest of the trace. Violation if the store broke a promise."""
        self.open()
        for number in range(DOWNS):
            self.work(self.commits_min * (number + 1) // (DOWNS + 1))
            self.go_down()
            if number == DOWNS - 2:
                self.crash_in_recovery()
            self.open()
        self.work(self.commits_min)
        self.close()
        self.open()
        self.loop.note("end", self.commits, self.disk.operations)
        return self.loop.digest()

    def open(self) -> None:
        """Recover, and check what is there."""
        self.failed = None
        self.last_entry = None
        self.monitor.opened()
        self.store = self._opened()
        self.store.set_owner(self)
        self.unknown_kept += self.model.recovered(self.store, self._run_until, keeps_reported=not self.lost_power)
        self.lost_power = False

    def _opened(self) -> Store:
        try:
            return open_store(cast("Disk", self.disk), scheduler=self.loop, clock=self.clock, entropy=self.entropy, fold=fold, settings=self.settings)
        except (EntrepotError, OSError) as error:
            raise Violation(f"the store does not open: {error!r}") from error

    def _run_until(self, condition: Callable[[], bool]) -> None:
        self.loop.run_until(lambda: condition() or self.failed is not None, 600)
        if self.failed is not None:
            raise Violation(f"the store failed on its own: {self.failed!r}") from self.failed

    def crash_in_recovery(self) -> None:
        """Power fails while the store is being opened, or right after."""
        self.disk.crash_after = self.chance.randint(1, 6)
        self.monitor.opened()
        try:
            self.store = self._opened()
            self.store.set_owner(self)
            self.loop.run_for(self.chance.uniform(0, 0.05))
            self.downs.append("after recovery")
        except Crashed:
            self.downs.append("in recovery")
        self.loop.forget_all()
        self.lost_power = True
        self.disk.crash()

    def work(self, commits: int) -> None:
        """Until so many commits of the run are done. If the disk fills up: appends end, all else goes on; with space they go on too."""
        began = self.commits
        while self.commits < commits:
            if self.fills_up and self.disk.capacity == UNLIMITED and self.commits > (began + commits) // 2:
                self.disk.capacity = self.disk.used + _RESERVE + self.chance.randint(0, 128 << 10)
            self.act()
            if self.failed is not None:
                raise Violation(f"the store failed on its own: {self.failed!r}") from self.failed
        if self.disk.capacity != UNLIMITED:
            self.refusals += self.store.full
            self.disk.capacity = UNLIMITED
            self.fills_up = False
            self._run_until(self._has_room)

    def _has_room(self) -> bool:
        self.fold()
        return not self.store.full

    def go_down(self) -> None:
        """Work on until something fails."""
        way = self.chance.choice(("power", "power", "power", "kill", "write fails", "sync fails"))
        end = self.loop.time() + 60
        try:
            if way in ("power", "kill"):
                self.disk.crash_after = self.chance.randint(1, 80)
                while self.loop.time() < end:
                    self.act()
            while self.failed is None and self.loop.time() < end:
                self.disk.fail_next["write" if way == "write fails" else "sync"] = errno.EIO  # again, if it was not a commit's
                self.act()
            assert self.failed is not None, f"{way}: nothing happened"
        except Crashed:
            pass
        except EntrepotError:
            if self.failed is None:
                raise
        self.monitor.check()
        if not self.waits_for_sync:
            self.model.synced(self.store.synced)
        self.downs.append(way)
        self.loop.note("down", way)
        self.loop.forget_all()
        if way == "power":
            self.lost_power = True
            self.disk.crash()
        else:
            self.disk.kill()  # a failed store's process exits; what it wrote is in the page cache

    def close(self) -> None:
        """A clean end: everything staged is durable."""
        done: list[bool] = []
        self.store.urgent()
        self.store.close(lambda: done.append(True))
        self.loop.run_until(lambda: bool(done) or self.failed is not None, 600)
        self.model.synced(1 << 62)
        if self.model.unknown:
            raise Violation(f"{len(self.model.unknown)} groups are unknown after a clean close; {self.failed!r}")
        self.monitor.check()
        self.loop.forget_all()

    # ---- what it does

    def act(self) -> None:
        """One random thing, then perhaps some time."""
        action = self.chance.choices(_ACTIONS, _WEIGHTS)[0]
        action(self)
        if self.chance.random() < 0.7:
            self.store.urgent()
        if self.chance.random() < 0.5:
            self.loop.run_for(self.chance.choice((1e-5, 3e-4, 2e-3)))
        self.monitor.check()
        if not self.waits_for_sync:
            self.model.synced(self.store.synced)

    def _log(self) -> Log | None:
        logs = sorted(self.store.logs(), key=_log_id)
        return self.chance.choice(logs) if logs else None

    def create(self) -> None:
        """A log."""
        if sum(1 for _ in self.store.logs()) < LOGS_MAX:
            log_id = self.chance.randbytes(16)
            shard = self.chance.randrange(4)
            group = self.store.group()
            self.store.create_log(shard, log_id)
            self.model.staged(group, ("create", log_id, shard))

    def drop(self) -> None:
        """Sometimes."""
        log = self._log()
        if log is not None and self.chance.random() < 0.2:
            group = self.store.group()
            self.store.drop_log(log)
            self.last_entry = None
            self.model.staged(group, ("drop", log.id))

    def append(self) -> None:
        """An entry to some logs, or more to the last one."""
        logs = sorted(self.store.logs(), key=_log_id)
        if not logs:
            return
        self.serial += 1
        if self.chance.random() < 0.2:
            records = [b"%015d:" % self.serial * self.chance.randint(1, 700)]
            codec = CODEC_ONE
        else:
            records = [b"%010d-%04d:" % (self.serial, index) for index in range(self.chance.randint(1, 20))]
            codec = CODEC_MANY
        assert codec == CODEC_ONE or len(records[0]) == RECORD_SIZE
        group = self.store.group()
        if self.last_entry is not None and codec == CODEC_MANY and self.chance.random() < 0.5:
            targets, entry = self.last_entry
            if self.store.extend(targets, entry, b"".join(records), len(records)):
                self._appended(group, targets, records)
                return
        targets = self.chance.sample(logs, min(len(logs), self.chance.choice((1, 1, 1, 2, 3))))
        entry = make_entry(codec, 1, 0, b"", b"".join(records), len(records))
        try:
            self.store.append(targets, entry)
        except EntrepotError:
            return  # the disk is nearly full
        self.last_entry = (targets, entry) if codec == CODEC_MANY else None
        self._appended(group, targets, records)

    def _appended(self, group: Group, targets: list[Log], records: list[bytes]) -> None:
        for log in targets:
            self.model.staged(group, ("append", log.id, records))
            if self.seams.delivers_staged:
                self.model.delivered(log.id, log.next_offset - 1, records[-1])

    def discard(self) -> None:
        """From the front, in the middle, or all of it."""
        log = self._log()
        if log is None or log.durable_offset == log.first_offset:
            return
        first, end = log.first_offset, log.durable_offset
        way = self.chance.random()
        if way < 0.5:
            end = first + self.chance.randint(1, min(200, end - first))
        elif way < 0.9:
            first = self.chance.randrange(first, end)
            end = min(end, first + self.chance.randint(1, 30))
        group = self.store.group()
        self.store.discard(log, first, end)
        self.model.staged(group, ("discard", log.id, first, end))

    def mark(self) -> None:
        """That something may have been delivered."""
        log = self._log()
        if log is not None:
            offset = self.chance.randint(0, log.next_offset)
            group = self.store.group()
            self.store.mark(log, offset)
            self.model.staged(group, ("mark", log.id, offset))

    def fold(self) -> None:
        """A change of state."""
        shard = self.chance.randrange(4)
        key = b"key-%d" % self.chance.randrange(8)
        delta = b"" if self.chance.random() < 0.1 else self.chance.randbytes(self.chance.randint(1, 8))
        group = self.store.group()
        self.store.fold(shard, key, delta)
        self.model.staged(group, ("fold", shard, key, delta))

    def read(self) -> None:
        """Deliver what lies somewhere."""
        log = self._log()
        if log is None or log.first_offset == log.durable_offset:
            return
        reader = log.reader()
        offset = self.chance.randrange(log.first_offset, log.durable_offset)
        stored = reader.at(offset)
        if stored is None and self.chance.random() < 0.3:
            done: list[bool] = []
            reader.fetch(offset, lambda: done.append(True))
            self.loop.run_until(lambda: bool(done) or self.failed is not None, 600)
            stored = reader.at(offset)
        if stored is not None and self.failed is None:
            end = stored.base + stored.entry.span
            if end > log.durable_offset:
                raise Violation(f"a reader was given offsets up to {end}, durable is up to {log.durable_offset}")
            for index, record in enumerate(records_of(stored.entry) if self.waits_for_sync else ()):
                self.model.delivered(log.id, stored.base + index, record)
        reader.close()

    def wait(self) -> None:
        """Let sorting and checkpoints get on."""
        self.loop.run_for(self.chance.choice((0.001, 0.02, 0.2)))


_ACTIONS = [StoreRun.append, StoreRun.discard, StoreRun.fold, StoreRun.mark, StoreRun.read, StoreRun.create, StoreRun.drop, StoreRun.wait]
_WEIGHTS = [40, 15, 12, 5, 10, 4, 2, 3]


def _log_id(log: Log) -> bytes:
    return log.id


class JournalMonitor:
    """Rules of the journal that a lucky run may break unpunished: salts are never used twice, a file found at opening is never appended to."""

    def __init__(self, disk: SimulatedDisk) -> None:
        self._salts: set[int] = set()
        self._begun: set[str] = set()  # written from the start since the store was opened
        self._broken: str | None = None
        disk.monitors.append(self._written)

    def opened(self) -> None:
        """A process begins."""
        self._begun.clear()

    def check(self) -> None:
        """Violation if a rule was broken."""
        if self._broken is not None:
            raise Violation(self._broken)

    def _written(self, name: str, position: int, data: bytes) -> None:
        if not name.startswith("journal-") or not data:
            return
        if position == 0:
            self._begun.add(name)
        elif name not in self._begun:
            self._broken = f"{name} was found at opening and is appended to at {position}"
        if position == 0 and data[: len(FILE_MAGIC)] == FILE_MAGIC:
            header = decode_file_header(data[:FILE_HEADER_SIZE])
            if header is not None and header.salt in self._salts:
                self._broken = f"{name}: the salt of life {header.life} was used before"
            elif header is not None:
                self._salts.add(header.salt)
