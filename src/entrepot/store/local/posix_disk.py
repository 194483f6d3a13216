"""PosixDisk: the disk contract over a directory, for Linux and macOS."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from entrepot.model.errors import Reason, Refused
from entrepot.store.local.cached_read import read_apart_cached, read_cached
from entrepot.store.local.committer import Committer, write_parts
from entrepot.store.local.disk import Done

T = TypeVar("T")

LOCK = "lock"  # its file: every data directory has it
_READERS = 2
_SPARE = 8  # descriptors held for files that cannot wait until somebody else closes one
_CACHED_SIZE_MAX = 4 << 20  # read without another thread in one turn of the loop: a millisecond's work
_CACHED_COUNT_MAX = 64
_POSTPONED_SIZE_MAX = 8 << 20  # read so in the turns after this one; the readers' threads do what is more


def lock_directory(path: str) -> int:
    """Lock a directory against other processes as long as the descriptor that it gives is open. Raises Refused where one has it; OSError."""
    lock = os.open(os.path.join(path, LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise Refused(Reason.IN_USE, f"{path} is in use by another process: a data directory has one broker") from error
    return lock


def sync_directory(path: str | os.PathLike[str]) -> None:
    """What was made, renamed and removed in it is durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class PosixFile:
    """A File of a PosixDisk."""

    __slots__ = ("_full_sync", "fd", "name")

    def __init__(self, name: str, fd: int, full_sync: int) -> None:
        self.name = name
        self.fd = fd
        self._full_sync = full_sync

    def size(self) -> int:
        """See File.size."""
        return os.fstat(self.fd).st_size

    def pread(self, position: int, size: int) -> bytes:
        """See File.pread."""
        data = os.pread(self.fd, size, position)
        if len(data) == size or not data:
            return data
        parts = [data]
        got = len(data)
        while got < size:
            data = os.pread(self.fd, size - got, position + got)
            if not data:
                break
            parts.append(data)
            got += len(data)
        return b"".join(parts)

    def pwrite(self, position: int, parts: list[bytes]) -> None:
        """See File.pwrite."""
        write_parts(self.fd, position, parts)

    def truncate(self, size: int) -> None:
        """See File.truncate."""
        os.ftruncate(self.fd, size)

    def sync(self) -> None:
        """See File.sync."""
        if self._full_sync:
            fcntl.fcntl(self.fd, self._full_sync)
        else:
            os.fdatasync(self.fd)

    def close(self) -> None:
        """See File.close."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class PosixDisk:
    """One directory, locked against a second process, and readable by its owner alone where we make it. `loop` is an asyncio loop: completions arrive on it.

    `full_sync` is the fcntl command that syncs where fdatasync does not reach the platter (macOS), else 0. `lock`: who has the directory locked
    already gives a duplicate of the descriptor that lock_directory() gave; the directory stays locked as long as either is open.
    """

    def __init__(self, path: str, loop: Any, *, full_sync: int | None = None, lock: int = -1) -> None:
        self.path = path
        self._loop = loop
        self._full_sync = (getattr(fcntl, "F_FULLFSYNC", 0) if sys.platform == "darwin" else 0) if full_sync is None else full_sync
        os.makedirs(path, mode=0o700, exist_ok=True)
        self._directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self._lock = lock if lock >= 0 else lock_directory(path)
        except BaseException:
            os.close(self._directory)
            raise
        self._closed = False
        self._spare = [os.dup(self._directory) for _ in range(_SPARE)]
        self._cached_left = _CACHED_SIZE_MAX
        self._postponed: deque[tuple[int, int, Callable[[], Any], Callable[[], Any], Done]] = deque()  # reads for which this turn has no share left
        self._postponed_size = 0
        self._jobs: deque[tuple[PosixFile, int, list[bytes], bool, Done]] = deque()
        self._running: Done | None = None
        self._committer: Committer | None = None
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="entrepot-read")
        self._background = ThreadPoolExecutor(1, thread_name_prefix="entrepot-background")

    def open(self, name: str, *, create: bool = False) -> PosixFile:
        """See Disk.open."""
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if create else 0)
        fd = self._with_spare(lambda: os.open(os.path.join(self.path, name), flags, 0o600))
        return PosixFile(name, fd, self._full_sync)

    def _with_spare(self, work: Callable[[], T]) -> T:
        """Do what takes descriptors; where there are none, with those that were held for this."""
        try:
            done = work()
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            with contextlib.suppress(IndexError):  # another thread may be giving them up, too
                while True:
                    os.close(self._spare.pop())
            done = work()
        if len(self._spare) < _SPARE:
            with contextlib.suppress(OSError):  # none to spare yet
                self._spare.append(os.dup(self._directory))
        return done

    def names(self) -> list[str]:
        """See Disk.names."""
        return sorted(name for name in os.listdir(self.path) if name != LOCK)

    def rename(self, old: str, new: str) -> None:
        """See Disk.rename."""
        os.rename(os.path.join(self.path, old), os.path.join(self.path, new))

    def remove(self, name: str) -> None:
        """See Disk.remove."""
        os.remove(os.path.join(self.path, name))

    def sync_directory(self) -> None:
        """See Disk.sync_directory."""
        os.fsync(self._directory)

    def free_bytes(self) -> int:
        """See Disk.free_bytes."""
        figures = os.fstatvfs(self._directory)
        return figures.f_bavail * figures.f_frsize

    def commit(self, file: PosixFile, position: int, parts: list[bytes], *, sync: bool, done: Done) -> None:
        """See Disk.commit."""
        if self._running is not None:
            self._jobs.append((file, position, parts, sync, done))
            return
        if self._committer is None:
            self._committer = self._with_spare(lambda: Committer(self._full_sync))
            self._loop.add_reader(self._committer.wake_read, self._committed)
        self._running = done
        self._committer.submit(file.fd, position, parts, sync)

    def read(self, file: PosixFile, position: int, size: int, done: Done) -> None:
        """See Disk.read."""
        self._read(size, 1, lambda: read_cached(file.fd, position, size), lambda: file.pread(position, size), done)

    def read_many(self, reads: list[tuple[PosixFile, int, int]], done: Done) -> None:
        """See Disk.read_many."""
        self._read(
            sum(read[2] for read in reads),
            len(reads),
            lambda: _all_of(read_cached(file.fd, position, size) for file, position, size in reads),
            lambda: [file.pread(position, size) for file, position, size in reads],
            done,
        )

    def read_apart(self, reads: list[tuple[PosixFile, int, int, int]], done: Done) -> None:
        """See Disk.read_apart."""
        self._read(
            sum(read[3] for read in reads),
            len(reads),
            lambda: _all_of(read_apart_cached(file.fd, position, head_size, size) for file, position, head_size, size in reads),
            lambda: [(file.pread(position, head_size), file.pread(position + head_size, size - head_size)) for file, position, head_size, size in reads],
            done,
        )

    def _read(self, size: int, count: int, cached: Callable[[], Any], read: Callable[[], Any], done: Done) -> None:
        """On the loop if the system has it in memory, now or, where this turn has had its share, in the next ones; else in another thread."""
        if count <= _CACHED_COUNT_MAX and size <= _CACHED_SIZE_MAX:
            if size <= self._cached_left and not self._postponed:
                if (data := cached()) is not None:
                    if self._cached_left == _CACHED_SIZE_MAX:
                        self._loop.call_soon(self._next_turn)
                    self._cached_left -= size
                    self._loop.call_soon(done, data, None)
                    return
            elif self._postponed_size + size <= _POSTPONED_SIZE_MAX:
                self._postponed.append((size, count, cached, read, done))
                self._postponed_size += size
                return
        self._readers.submit(self._run, read, done)

    def _next_turn(self) -> None:
        self._cached_left = _CACHED_SIZE_MAX
        if self._closed:
            return
        postponed = self._postponed
        self._postponed = deque()
        self._postponed_size = 0
        for job in postponed:
            self._read(*job)

    def background(self, work: Callable[[], Any], done: Done) -> None:
        """See Disk.background."""
        self._background.submit(self._run, work, done)

    def uncache(self, name: str) -> None:
        """See Disk.uncache."""
        advise = getattr(os, "posix_fadvise", None)
        if advise is None:
            return
        with contextlib.suppress(OSError):
            fd = os.open(os.path.join(self.path, name), os.O_RDONLY | os.O_CLOEXEC)
            try:
                advise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(fd)

    def close(self) -> None:
        """See Disk.close."""
        if self._closed:
            return
        self._closed = True
        if self._committer is not None:
            self._loop.remove_reader(self._committer.wake_read)
            self._committer.close()
        for _, _, _, read, done in self._postponed:
            self._readers.submit(self._run, read, done)
        self._readers.shutdown()
        self._background.shutdown()
        os.close(self._lock)
        os.close(self._directory)
        while self._spare:
            os.close(self._spare.pop())

    def _committed(self) -> None:
        assert self._committer is not None
        error, seconds = self._committer.result()
        done = self._running
        assert done is not None
        self._running = None
        if error:
            jobs = list(self._jobs)
            self._jobs.clear()
            for job in jobs:
                self._loop.call_soon(job[4], None, OSError(error, f"not attempted: the one before failed: {os.strerror(error)}"))
        elif self._jobs:
            self.commit(self._jobs[0][0], self._jobs[0][1], self._jobs[0][2], sync=self._jobs[0][3], done=self._jobs.popleft()[4])
        if error:
            done(None, OSError(error, os.strerror(error)))
        else:
            done(seconds, None)

    def _run(self, work: Callable[[], Any], done: Done) -> None:
        result: Any = None
        failure: BaseException | None = None
        try:
            result = work()
        except BaseException as error:
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(done, result, failure)


def _all_of(found: Iterable[T | None]) -> list[T] | None:
    """All of them, as long as each is there."""
    have: list[T] = []
    for one in found:
        if one is None:
            return None
        have.append(one)
    return have
