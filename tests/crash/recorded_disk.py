"""A disk that notes what it does: every write, sync and change of names of a real process, in order, to be replayed into crash images.

The record is a file of pickled tuples, each appended with one write: what the file's size was at some moment tells what had happened by then.
A kill may come in the middle of such a write; who opens the record next cuts off what is not whole, which nothing was done after.

    ("open", file, name, created)   ("write", file, position, data)   ("truncate", file, size)
    ("begin", sync, file)           the sync covers what was written before      ("end", sync)     it has returned
    ("rename", old, new)            ("remove", name)                             ("directory",)    the directory is synced

Run as a program it is `entrepot`, with the durable store on such a disk; its first argument names the record.
"""

from __future__ import annotations

import itertools
import os
import pickle
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from entrepot.store.local.disk import Done
from entrepot.store.local.posix_disk import PosixDisk, PosixFile


def whole_size(record: str) -> int:
    """How many bytes of a record are whole tuples."""
    whole = 0
    with open(record, "rb") as stream, suppress(EOFError, pickle.UnpicklingError):
        while True:
            pickle.load(stream)
            whole = stream.tell()
    return whole


class RecordedFile:
    """A File whose changes are noted."""

    def __init__(self, file: PosixFile, disk: RecordedDisk, number: int) -> None:
        self.inner = file
        self.name = file.name
        self.number = number
        self._disk = disk

    def size(self) -> int:
        return self.inner.size()

    def pread(self, position: int, size: int) -> bytes:
        return self.inner.pread(position, size)

    def pwrite(self, position: int, parts: list[bytes]) -> None:
        self._disk.note("write", self.number, position, b"".join(parts))
        self.inner.pwrite(position, parts)

    def truncate(self, size: int) -> None:
        self._disk.note("truncate", self.number, size)
        self.inner.truncate(size)

    def sync(self) -> None:
        number = self._disk.next_sync()
        self._disk.note("begin", number, self.number)
        self.inner.sync()
        self._disk.note("end", number)

    def close(self) -> None:
        self.inner.close()


class RecordedDisk:
    """A Disk over a directory; without a path of its own, so that the checkpoint goes through it, too."""

    def __init__(self, path: str, loop: Any, record: str) -> None:
        self._inner = PosixDisk(path, loop)
        self._record = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.ftruncate(self._record, whole_size(record))
        self._lock = threading.Lock()
        self._jobs: deque[tuple[RecordedFile, int, list[bytes], bool, Done]] = deque()
        self._files = itertools.count(1)
        self._syncs = itertools.count(1)

    def note(self, *words: object) -> None:
        """Append to the record."""
        data = pickle.dumps(words)
        with self._lock:
            assert os.write(self._record, data) == len(data)

    def next_sync(self) -> int:
        """A number for a sync."""
        return next(self._syncs)

    def open(self, name: str, *, create: bool = False) -> RecordedFile:
        number = next(self._files)
        file = RecordedFile(self._inner.open(name, create=create), self, number)
        self.note("open", number, name, create)
        return file

    def names(self) -> list[str]:
        return self._inner.names()

    def rename(self, old: str, new: str) -> None:
        self.note("rename", old, new)
        self._inner.rename(old, new)

    def remove(self, name: str) -> None:
        self.note("remove", name)
        self._inner.remove(name)

    def sync_directory(self) -> None:
        self._inner.sync_directory()
        self.note("directory")

    def free_bytes(self) -> int:
        return self._inner.free_bytes()

    def commit(self, file: RecordedFile, position: int, parts: list[bytes], *, sync: bool, done: Done) -> None:
        self._jobs.append((file, position, parts, sync, done))
        if len(self._jobs) == 1:
            self._next_job()

    def _next_job(self) -> None:
        """A write is noted when it may happen, and not while the one before is still being synced."""
        file, position, parts, sync, _ = self._jobs[0]
        self.note("write", file.number, position, b"".join(parts))
        number = self.next_sync()
        if sync:
            self.note("begin", number, file.number)

        def noted(result: Any, error: BaseException | None) -> None:
            if sync and error is None:
                self.note("end", number)
            done = self._jobs.popleft()[4]
            if self._jobs:
                self._next_job()
            done(result, error)

        self._inner.commit(file.inner, position, parts, sync=sync, done=noted)

    def read(self, file: RecordedFile, position: int, size: int, done: Done) -> None:
        self._inner.read(file.inner, position, size, done)

    def read_many(self, reads: list[tuple[RecordedFile, int, int]], done: Done) -> None:
        self._inner.read_many([(file.inner, position, size) for file, position, size in reads], done)

    def read_apart(self, reads: list[tuple[RecordedFile, int, int, int]], done: Done) -> None:
        self._inner.read_apart([(file.inner, position, head_size, size) for file, position, head_size, size in reads], done)

    def background(self, work: Callable[[], Any], done: Done) -> None:
        self._inner.background(work, done)

    def uncache(self, name: str) -> None:
        self._inner.uncache(name)

    def close(self) -> None:
        self._inner.close()
        if self._record >= 0:
            os.close(self._record)
            self._record = -1


if __name__ == "__main__":
    from entrepot import node
    from entrepot.cli import main

    record = sys.argv.pop(1)
    open_store = node.open_store

    def recorded(where: str, **words: Any) -> Any:
        """The node's store, on a recorded disk."""
        return open_store(RecordedDisk(where, words["scheduler"], record), **words)

    node.open_store = recorded  # type: ignore[assignment]
    main()
