"""split: a node's directory is divided for another number of workers, while no broker runs on it. It is interrupted at any moment without harm.

    locked      the directory and every store in it
    settled     each old store is opened, brought into segments, and closed: nothing else is changed of it
    made        the new stores are made below `split.new`, of hard links and new checkpoints. Until here the old stores are what counts: who opens the
                directory finds them, and a split that is begun anew removes `split.new` first
    decided     `split.json` is there: from here on the new stores count. Nobody serves the directory; the next split, whatever it is asked for, goes on here
    finished    old files are removed, new ones take their places, `workers.json` says how many. At last `split.json` goes

docs/decisions/splitting.md says why.
"""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from entrepot.broker.catalogue.cluster_id import cluster_id
from entrepot.broker.catalogue.shards import SHARD_COUNT_DEFAULT, Shards
from entrepot.broker.state_kinds import default_folds
from entrepot.broker.users.secret_box import KEY_FILE_NAME
from entrepot.cluster.workers.directory import SPLIT_FILE, WORKERS_FILE, SplitFile, WorkersFile, read, read_split, replace, stores_for, write
from entrepot.cluster.workers.place import name_of
from entrepot.entropy import Entropy
from entrepot.model.errors import Reason, Refused
from entrepot.store.interface import Store
from entrepot.store.local.checkpoint import CHECKPOINT_NAME
from entrepot.store.local.opening import Progress
from entrepot.store.local.posix_disk import LOCK, lock_directory, sync_directory
from entrepot.store.local.splitting import Divided, Part, Step, divide, make_gravestone, settle

STAGED = "split.new"
LINK_KEY_FILE = "link.key"
LINK_KEY_SIZE = 32
WORKERS_MAX = 64
_GRAVESTONE = "gravestone"  # in STAGED; it takes the place of the directory's own checkpoint where the stores lie below it
_VOLATILE = "volatile"
_ADMIN_SOCKET = "admin.sock"


@dataclass
class Outcome:
    """What a split has done. `divided` is None where all was done before, but for the last steps (`resumed`), or there was nothing to do."""

    old: int
    new: int
    resumed: bool = False
    divided: Divided | None = None


def _no_step(_: str) -> None:
    pass


def split(directory: Path, workers: int, entropy: Entropy, on_progress: Progress | None = None, on_step: Step = _no_step) -> Outcome:
    """Divide a directory for so many workers. Raises Refused (in use; no data directory; a number that cannot be), CorruptData, OSError."""
    if not 1 <= workers <= WORKERS_MAX:
        raise Refused(Reason.INVALID, f"{workers} workers: 1 to {WORKERS_MAX} are possible")
    if not any((directory / name).exists() for name in (CHECKPOINT_NAME, WORKERS_FILE, SPLIT_FILE)):
        raise Refused(Reason.NOT_FOUND, f"{directory} is no data directory")
    with ExitStack() as held:
        lock = _lock(directory, held)
        resumed = read_split(directory)
        if resumed is not None:
            with ExitStack() as stores:
                for path in map(directory.joinpath, _names(resumed)):
                    if path.is_dir():
                        _lock(path, stores)
                _finish(directory, resumed, on_step)
        found = read(directory)
        old = found.workers if found is not None else 1
        if old == workers:
            return Outcome(resumed.old if resumed is not None else old, old, resumed is not None)
        return Outcome(old, workers, resumed is not None, _Split(directory, lock, old, workers, entropy, on_progress, on_step).run(held))


def _lock(directory: Path, held: ExitStack) -> int:
    lock = lock_directory(str(directory))
    held.callback(os.close, lock)
    return lock


class _Split:
    """One run, up to where it is decided, and on."""

    def __init__(self, directory: Path, lock: int, old: int, new: int, entropy: Entropy, on_progress: Progress | None, on_step: Step) -> None:
        self._directory = directory
        self._lock = lock
        self._staged = directory / STAGED
        self._old = old
        self._new = new
        self._entropy = entropy
        self._on_progress = on_progress
        self._on_step = on_step
        self._cluster_id = ""
        self._shards = SHARD_COUNT_DEFAULT

    def run(self, held: ExitStack) -> Divided:
        in_the_way = [path for number in range(self._old if self._old > 1 else 0, self._new) if (path := self._directory / name_of(number)).exists()]
        if in_the_way and self._new > 1:
            raise Refused(Reason.IN_USE, f"{in_the_way[0]} is in the way: it is none of this directory's; move it elsewhere")
        self._remove_staged()
        self._settle(held)
        try:
            divided = self._make()
        except Exception:
            self._remove_staged()
            raise
        pending = SplitFile(old=self._old, new=WorkersFile(workers=self._new, cluster_id=self._cluster_id, shards=self._shards))
        self._on_step("decide")
        replace(self._directory / SPLIT_FILE, msgspec.json.encode(pending))
        _finish(self._directory, pending, self._on_step)
        return divided

    def _remove_staged(self) -> None:
        if self._staged.exists():
            self._on_step("remove what was made before")
            shutil.rmtree(self._staged)
            sync_directory(self._directory)

    def _settle(self, held: ExitStack) -> None:
        fold = default_folds().fold
        paths = stores_for(self._directory, self._old)
        locks = [self._lock]
        if self._old > 1:
            for path in paths:
                path.mkdir(mode=0o700, exist_ok=True)
            locks = [_lock(path, held) for path in paths]
        for number, (path, lock) in enumerate(zip(paths, locks, strict=True)):
            self._on_step("settle a store")
            settle(path, os.dup(lock), fold, self._look if number == 0 else None, self._on_progress)

    def _look(self, store: Store) -> None:
        self._cluster_id = cluster_id(store, self._entropy)
        self._shards = Shards.of(store).count
        if self._new > self._shards:
            raise Refused(Reason.INVALID, f"{self._new} workers: the directory has {self._shards} shards")

    def _make(self) -> Divided:
        self._on_step("begin to make")
        self._staged.mkdir(mode=0o700)
        sources = _parts(stores_for(self._directory, self._old), self._shards)
        targets = _parts([self._staged / name_of(number) for number in range(self._new)], self._shards)
        divided = divide(sources, targets, self._on_step, self._on_progress)
        if self._new > 1:
            gravestone = self._staged / _GRAVESTONE
            gravestone.mkdir(mode=0o700)
            make_gravestone(gravestone)
            key = self._directory / LINK_KEY_FILE
            if not key.exists():
                replace(key, self._entropy.octets(LINK_KEY_SIZE))
        sync_directory(self._staged)
        sync_directory(self._directory)
        return divided


def _names(pending: SplitFile) -> list[str]:
    """Of the stores' directories, old and new."""
    return [name_of(number) for number in range(max(pending.old, pending.new.workers))]


def _parts(paths: list[Path], shards: int) -> list[Part]:
    return [Part(path, frozenset(range(number, shards, len(paths)))) for number, path in enumerate(paths)]


# -- what is decided is finished: each step may have been done before -------------------------------------------------------------


def _finish(directory: Path, pending: SplitFile, on_step: Step) -> None:
    staged = directory / STAGED
    old, new = pending.old, pending.new.workers
    if new > 1:
        _bury(directory, staged, on_step)
    if old == 1:
        for path in sorted(directory.iterdir()):
            if _is_of_store(path.name) and path.name != CHECKPOINT_NAME:
                on_step("remove an old file")
                _remove(path)
        sync_directory(directory)
    for number, name in enumerate(_names(pending)):
        own, ready = directory / name, staged / name
        if old > 1 and own.exists() and (ready.exists() or number >= new or new == 1):
            _clear(directory, own, on_step)
        if new > 1 and ready.exists():
            on_step("put a store in its place")
            ready.rename(own)
            sync_directory(directory)
    if new == 1:
        _move(staged / name_of(0), directory, on_step)
    on_step("say how many")
    if new > 1:
        write(directory, pending.new)
    else:
        for name in (WORKERS_FILE, LINK_KEY_FILE):
            (directory / name).unlink(missing_ok=True)
    if staged.exists():
        on_step("remove what is left over")
        shutil.rmtree(staged)
    sync_directory(directory)
    on_step("say that it is done")
    (directory / SPLIT_FILE).unlink()
    sync_directory(directory)


def _bury(directory: Path, staged: Path, on_step: Step) -> None:
    """No version finds a store in the directory itself, however little of it is left."""
    gravestone = staged / _GRAVESTONE / CHECKPOINT_NAME
    if gravestone.exists():
        on_step("bury the old checkpoint")
        _remove_sidecars(directory)
        gravestone.rename(directory / CHECKPOINT_NAME)
        sync_directory(directory)


def _remove_sidecars(directory: Path) -> None:
    """Of a checkpoint that is to be replaced: SQLite would take its log for that of the next."""
    for path in directory.glob(f"{CHECKPOINT_NAME}-*"):
        path.unlink()
    sync_directory(directory)


def _is_of_store(name: str) -> bool:
    """Whether a store, or a broker that serves it, makes a file of that name in its directory, and makes it anew."""
    return name.startswith(("segment-", "journal-", "checkpoint.")) or name in (_VOLATILE, _ADMIN_SOCKET)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _clear(directory: Path, own: Path, on_step: Step) -> None:
    """Remove an old worker's directory. What is no store's (what was set aside as damaged) is kept beside it."""
    for path in sorted(own.iterdir()):
        on_step("remove an old file")
        if _is_of_store(path.name) or path.name == LOCK:
            _remove(path)
        else:
            path.rename(_beside(directory, own.name, path.name))
    sync_directory(directory)
    on_step("remove an old directory")
    own.rmdir()
    sync_directory(directory)


def _beside(directory: Path, worker: str, name: str) -> Path:
    """Where to keep a file of an old worker's directory."""
    if name == KEY_FILE_NAME and not (directory / name).exists():
        return directory / name
    kept = directory / f"{worker}-{name}"
    number = 0
    while kept.exists():
        number += 1
        kept = directory / f"{worker}-{name}.{number}"
    return kept


def _move(ready: Path, directory: Path, on_step: Step) -> None:
    """The files of a new store into the directory itself, its checkpoint at last."""
    if not ready.exists():
        return
    _remove_sidecars(directory)
    for path in sorted(ready.iterdir(), key=lambda path: (path.name == CHECKPOINT_NAME, path.name)):
        on_step("put a file in its place")
        path.rename(directory / path.name)
    sync_directory(directory)
    with suppress(FileNotFoundError):
        ready.rmdir()
