"""The stores of some directories become the stores of others: shards are dealt anew, and nothing that is immutable is copied.

    settle    opens a store, brings all that is alive into segments, and closes it: then its checkpoint and its segments are all of it
    divide    makes the new stores: checkpoints with the rows of their shards, and hard links of the segments, and of the journal files that those
              adopt, in which they have something. The old stores are only read

A segment may then be in several directories, and hold what counts in none of the others: it is never written to, each removes its own name of it, and
what is of other shards is dead there, so that merging leaves it out (docs/decisions/splitting.md). Sequences begin anew, lives (and with them epochs) go on
behind the greatest of all old stores, and the time behind the latest. Blocks; nobody has the directories open.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from entrepot.clock import SystemClock
from entrepot.entropy import SystemEntropy
from entrepot.model.errors import CorruptData
from entrepot.store.interface import Fold, Group, Store
from entrepot.store.local.checkpoint import CHECKPOINT_NAME, Changes, Checkpointed, SegmentRow, SharedRow, SqliteCheckpoint
from entrepot.store.local.opening import Progress, open_store
from entrepot.store.local.posix_disk import PosixDisk, PosixFile, sync_directory
from entrepot.store.local.ring import journal_name
from entrepot.store.local.segments import counts_of, said_id, segment_name
from entrepot.store.local.settings import StoreSettings
from entrepot.store.local.verify import read_index

Step = Callable[[str], None]
"""on_step(what): before each change of the file system."""

_SETTINGS = StoreSettings(journal_sort_files=1 << 30, journal_ready_files=0, reserve_size=0)
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}
_ROWS_MAX = 10_000  # of one transaction
_BYTES_MAX = 8 << 20
_NO_READER = 65_535  # no version reads such a checkpoint


@dataclass(frozen=True)
class Part:
    """A directory, and the shards that its store has."""

    path: Path
    shards: frozenset[int]


@dataclass
class Divided:
    """What was done. `left`: values of shards that their store has not, which stayed behind. Sizes are bytes: of files that got further names; of copies."""

    logs: int = 0
    values: int = 0
    left: int = 0
    segments: int = 0
    linked_size: int = 0
    copied_size: int = 0


def settle(path: Path, lock: int, fold: Fold, look: Callable[[Store], None] | None = None, on_progress: Progress | None = None) -> None:
    """Leave the store of a directory in segments and checkpoint. `lock`: see PosixDisk; look(store) is called once it is open, and may stage something.

    Raises CorruptData, OSError.
    """
    loop = asyncio.new_event_loop()
    try:
        disk: Any = PosixDisk(str(path), loop, lock=lock)
        try:
            store = open_store(disk, scheduler=loop, clock=SystemClock(), entropy=SystemEntropy(), fold=fold, settings=_SETTINGS, on_progress=on_progress)
            owner = _Owner(loop)
            store.set_owner(owner)
            if look is not None:
                look(store)
            owner.wait(store.maintenance.empty_journal)
            owner.wait(store.close)
            _check_settled(path, store.sequence)
        finally:
            disk.close()
    finally:
        loop.close()


class _Owner:
    """Of a store that nobody uses: runs its loop until something is done, or the store has failed."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: asyncio.Future[None] | None = None
        self.failed: BaseException | None = None

    def wait(self, start: Callable[[Callable[[], None]], None]) -> None:
        self._waiting = waiting = self._loop.create_future()
        start(lambda: None if waiting.done() else waiting.set_result(None))
        self._loop.run_until_complete(waiting)
        if self.failed is not None:
            raise self.failed

    def committed(self, group: Group) -> None:
        for call in group.calls:
            call()

    def store_failed(self, error: BaseException) -> None:
        self.failed = error
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


def _check_settled(path: Path, sequence: int) -> None:
    checkpoint = SqliteCheckpoint(str(path), read_only=True)
    try:
        covered = checkpoint.load().meta.get("covered", 0)
    finally:
        checkpoint.close()
    assert covered == sequence, f"{path}: the checkpoint covers {covered} of {sequence} commits"


def divide(sources: list[Part], targets: list[Part], on_step: Step, on_progress: Progress | None = None) -> Divided:
    """Make the stores of `targets`, in directories that are not there, from settled ones; durable but for their parents' entries.

    Raises CorruptData, OSError. What was made until then is of no use.
    """
    return _Division(sources, targets, on_step, on_progress).run()


def make_gravestone(path: Path) -> None:
    """Make in the directory `path` a checkpoint that no version reads: for where a store was, so that none takes the directory for an empty one."""
    checkpoint = SqliteCheckpoint(str(path))
    try:
        changes = Changes()
        changes.meta("minimum_reader", _NO_READER)
        checkpoint.save(changes)()
    finally:
        checkpoint.close()
    sync_directory(path)


@dataclass
class _Segment:
    """A segment of one old store: the shards of which it counts there, and those of whose logs, wherever they are now, the file has something."""

    source: Part
    row: SegmentRow
    counts: frozenset[int]
    present: frozenset[int]

    @property
    def file(self) -> Path:
        return self.source.path / segment_name(self.row.id)

    def identity(self) -> tuple[int, int]:
        """Of the file, whatever its names are."""
        found = self.file.stat()
        return found.st_dev, found.st_ino


class _Target:
    """A new store being made."""

    def __init__(self, part: Part, on_step: Step) -> None:
        self.part = part
        on_step("make a store")
        part.path.mkdir(mode=0o700)
        self.checkpoint = SqliteCheckpoint(str(part.path))
        self.changes = Changes()
        self.size = 0  # of what it changes, about

    def maybe_save(self, size: int) -> None:
        """That many bytes more are in `changes`."""
        self.size += size
        if self.size > _BYTES_MAX or len(self.changes.values_rows) + len(self.changes.logs_rows) + len(self.changes.holes_rows) >= _ROWS_MAX:
            self.save()

    def save(self) -> None:
        self.checkpoint.save(self.changes)()
        self.changes = Changes()
        self.size = 0


@dataclass
class _Division:
    sources: list[Part]
    targets: list[Part]
    on_step: Step
    on_progress: Progress | None
    done: Divided = field(default_factory=Divided)

    def run(self) -> Divided:
        loaded = [(source, _loaded(source)) for source in self.sources]
        logs = {row.id for _, checkpoint in loaded for row in checkpoint.logs}
        files = _in_order([found for source, checkpoint in loaded for found in self._segments(source, checkpoint, logs)])
        made: list[_Target] = []
        try:
            made += [_Target(part, self.on_step) for part in self.targets]
            owners = {shard: target for target in made for shard in target.part.shards}
            self.on_step("write checkpoints")
            for source, checkpoint in loaded:
                self._logs(source, checkpoint, owners)
                self._values(source, owners)
            for number, target in enumerate(made):
                target.changes.meta("next_life", max((checkpoint.meta.get("next_life", 1) for _, checkpoint in loaded), default=1))
                target.changes.meta("time", max((checkpoint.meta.get("time", 0) for _, checkpoint in loaded), default=0))
                target.changes.segments(self._link(target.part, files))
                target.save()
                self._tell("stores", number + 1, len(made))
        finally:
            for target in made:
                target.checkpoint.close()
        for target in made:
            sync_directory(target.part.path)
        return self.done

    def _tell(self, what: str, done: int, total: int) -> None:
        if self.on_progress is not None:
            self.on_progress(what, done, total)

    # -- rows ------------------------------------------------------------------------------------------------------------------

    def _logs(self, source: Part, checkpoint: Checkpointed, owners: dict[int, _Target]) -> None:
        """Logs with their holes."""
        target_of: dict[bytes, _Target] = {}
        for row in checkpoint.logs:
            target = target_of[row.id] = owners[row.shard]
            target.changes.log(row)
            target.maybe_save(64)
            self.done.logs += 1
        for hole in checkpoint.holes:
            target = target_of[hole.log]
            target.changes.hole(hole.log, hole.block, hole.data)
            target.maybe_save(64 + len(hole.data))

    def _values(self, source: Part, owners: dict[int, _Target]) -> None:
        """The folded state."""
        checkpoint = SqliteCheckpoint(str(source.path), read_only=True)
        try:
            for shard, key, value in checkpoint.values():
                if shard not in source.shards:
                    self.done.left += 1
                    continue
                target = owners[shard]
                target.changes.value(shard, key, value)
                target.maybe_save(64 + len(key) + len(value))
                self.done.values += 1
        finally:
            checkpoint.close()

    # -- segments --------------------------------------------------------------------------------------------------------------

    def _segments(self, source: Part, checkpoint: Checkpointed, logs: set[bytes]) -> Iterator[_Segment]:
        """Those of an old store, in its order."""
        for number, row in enumerate(checkpoint.segments):
            self._tell("segments", number + 1, len(checkpoint.segments))
            shared = row.shared
            counts = source.shards if shared is None else frozenset(shard for shard in source.shards if counts_of(shared, shard))
            yield _Segment(source, row, counts, _shards_of(source, row, logs))

    def _link(self, target: Part, files: list[list[_Segment]]) -> list[SegmentRow]:
        """Give names in a new directory to what it has something of; how its checkpoint has it."""
        rows = []
        taken: set[int] = set()
        wanted = [same for same in files if any(found.present & found.counts & target.shards for found in same)]
        free = 1 + max((said_id(same[0].row) for same in wanted), default=0)
        for slot, same in enumerate(wanted, 1):
            first = same[0]
            said = said_id(first.row)
            number = said
            if number in taken:
                number, free = free, free + 1
            taken.add(number)
            counts = frozenset[int]().union(*(found.counts for found in same)) & target.shards
            # Of shards of whose logs it has nothing it may count: what was not there when a file was made never comes into it.
            shared = SharedRow(said, b"" if first.present & target.shards <= counts else _bitmap(counts))
            row = SegmentRow(number, first.row.size, first.row.tier, None, shared if shared != (number, b"") else None)
            self._name(first.file, target.path / segment_name(number))
            if (adopted := first.row.adopted) is not None:
                self._name(first.source.path / journal_name(adopted.slot), target.path / journal_name(slot))
                row = row._replace(adopted=adopted._replace(slot=slot))
            rows.append(row)
            self.done.segments += 1
        return rows

    def _name(self, file: Path, name: Path) -> None:
        """A further name of a file; where the file system has no such thing, a copy."""
        self.on_step("link a segment")
        size = file.stat().st_size
        try:
            os.link(file, name)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            _copy(file, name)
            self.done.copied_size += size
        else:
            self.done.linked_size += size


def _loaded(source: Part) -> Checkpointed:
    checkpoint = SqliteCheckpoint(str(source.path), read_only=True)
    try:
        found = checkpoint.load()
    finally:
        checkpoint.close()
    for row in found.logs:
        if row.shard not in source.shards:
            raise CorruptData(f"{source.path / CHECKPOINT_NAME}: log {row.id.hex()} is of shard {row.shard}, which this store has not")
    return found


def _shards_of(source: Part, row: SegmentRow, logs: set[bytes]) -> frozenset[int]:
    """The shards of those of the logs that a segment has something of."""
    name = segment_name(row.id)
    file = PosixFile(name, os.open(source.path / name, os.O_RDONLY | os.O_CLOEXEC), 0)
    try:
        index = read_index(name, file)
    finally:
        file.close()
    keys = (index.piece(number).key for number in range(index.piece_count))
    return frozenset(int.from_bytes(key[:4], "big") for key in keys if key[4:] in logs)


def _in_order(segments: list[_Segment]) -> list[list[_Segment]]:
    """Each file once with all who had it, so that of each old store's they come in its order. New stores have what they have in this order, all of them: so
    that there is one when they come together again."""
    same: dict[tuple[int, int], list[_Segment]] = {}
    order: TopologicalSorter[tuple[int, int]] = TopologicalSorter()
    before: dict[Path, tuple[int, int]] = {}
    for found in segments:
        identity = found.identity()
        same.setdefault(identity, []).append(found)
        order.add(identity, *([before[found.source.path]] if found.source.path in before else []))
        before[found.source.path] = identity
    try:
        return [same[identity] for identity in order.static_order()]
    except CycleError:  # each store's order is right by itself, and what it had counts of its own shards only: then a file has several names in a directory
        return [[found] for found in segments]


def _bitmap(shards: frozenset[int]) -> bytes:
    octets = bytearray((max(shards) >> 3) + 1)
    for shard in shards:
        octets[shard >> 3] |= 1 << (shard & 7)
    return bytes(octets)


def _copy(file: Path, name: Path) -> None:
    with contextlib.ExitStack() as files:
        source = files.enter_context(file.open("rb"))
        copy = files.enter_context(name.open("xb"))
        os.fchmod(copy.fileno(), 0o600)
        shutil.copyfileobj(source, copy, 1 << 20)
        copy.flush()
        os.fsync(copy.fileno())
