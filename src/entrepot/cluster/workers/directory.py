"""workers.json: how many workers a node's directory is divided for. A directory without it has one, whose store is the directory itself.

Worker n's store is in `wn` below it. docs/formats/workers.md has the files.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

import msgspec

from entrepot.cluster.workers.place import name_of
from entrepot.model.errors import CorruptData, Reason, Refused
from entrepot.store.local.posix_disk import sync_directory

T = TypeVar("T")

WORKERS_FILE = "workers.json"
SPLIT_FILE = "split.json"  # there while a split is being finished: splitting.py
VERSION = 1
SHARDS_MAX = 65_535


class WorkersFile(msgspec.Struct, frozen=True, kw_only=True):
    """So many workers, among which so many shards are divided."""

    version: int = VERSION
    workers: int
    cluster_id: str = ""
    shards: int

    def __post_init__(self) -> None:
        if not 1 <= self.workers <= self.shards <= SHARDS_MAX:
            raise ValueError(f"{self.workers} workers for {self.shards} shards")


class SplitFile(msgspec.Struct, frozen=True, kw_only=True):
    """split.json: of so many workers the directory was, and what it is to be."""

    version: int = VERSION
    old: int
    new: WorkersFile


def read(directory: Path) -> WorkersFile | None:
    """What the file says; None: there is none. Raises CorruptData, OSError."""
    try:
        data = (directory / WORKERS_FILE).read_bytes()
    except FileNotFoundError:
        return None
    return parse(WORKERS_FILE, data, WorkersFile)


def write(directory: Path, file: WorkersFile) -> None:
    """Replace the file, durably."""
    replace(directory / WORKERS_FILE, msgspec.json.encode(file))


def read_split(directory: Path) -> SplitFile | None:
    """The split that has been decided and is not finished."""
    try:
        data = (directory / SPLIT_FILE).read_bytes()
    except FileNotFoundError:
        return None
    return parse(SPLIT_FILE, data, SplitFile)


def check_whole(directory: Path) -> None:
    """Before a broker opens a directory: raises Refused where a split of it was interrupted, once it had been decided."""
    if (pending := read_split(directory)) is not None:
        raise Refused(
            Reason.IN_USE,
            f"a split of {directory} was interrupted: run 'entrepot store split {directory} --workers {pending.new.workers}' to finish it",
        )


def check_single(directory: Path) -> None:
    """Before one process opens a directory as its store: raises Refused where a split of it was interrupted, or it is divided among several."""
    check_whole(directory)
    found = read(directory)
    if found is not None and found.workers > 1:
        raise Refused(
            Reason.INVALID,
            f"{directory} is divided among {found.workers} workers: serve it with as many, or run 'entrepot store split {directory} --workers 1'",
        )


def stores_of(directory: Path) -> list[Path]:
    """The directories of the stores of a node's directory. Raises Refused where a split of it was interrupted, CorruptData."""
    check_whole(directory)
    found = read(directory)
    return stores_for(directory, found.workers if found is not None else 1)


def stores_for(directory: Path, workers: int) -> list[Path]:
    """Those of so many workers."""
    return [directory] if workers == 1 else [directory / name_of(number) for number in range(workers)]


def parse(name: str, data: bytes, kind: type[T]) -> T:
    """The content of a file of this directory. Raises CorruptData."""
    try:
        version = msgspec.json.decode(data, type=dict[str, object]).get("version")
        if version != VERSION:
            raise CorruptData(f"{name}: is of version {version}, this one reads {VERSION}; use a newer entrepot")
        return msgspec.json.decode(data, type=kind)
    except msgspec.MsgspecError as error:
        raise CorruptData(f"{name}: {error}") from None


def replace(path: Path, data: bytes) -> None:
    """Write a file whole, readable by its owner alone, and durable with its name."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    new.touch(0o600, exist_ok=False)
    with new.open("r+b") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)
    sync_directory(path.parent)
