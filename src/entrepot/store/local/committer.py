"""Committer: one thread that writes and syncs, without the GIL and without running Python while it serves.

The loop hands it one job at a time; it writes all parts at a position (continuing short writes, at most _IOV_MAX parts a call),
syncs, stores the result, and makes `wake_read` readable. The compiled thread's loop is in committer.pxd; interpreted mode has a
Python one.
"""

from __future__ import annotations

import os
import threading
import time
from types import SimpleNamespace
from typing import Any

import cython

if not cython.compiled:
    import fcntl

_IOV_MAX = 1024


class Committer:
    """One thread, one job at a time: submit(), then result() once `wake_read` is readable.

    `full_sync` is 0 for fdatasync, else the fcntl command that syncs (macOS: F_FULLFSYNC).
    """

    __slots__ = ("_busy", "_job", "_job_read", "_job_write", "_keep", "_room", "_stop", "_thread", "_wake_write", "wake_read")

    def __init__(self, full_sync: int) -> None:
        self._job: Any
        if cython.compiled:
            self._job.parts = cython.NULL
        else:
            self._job = SimpleNamespace()
        self._job.full_sync = full_sync
        self._room = 0
        self._job_read, self._job_write = os.pipe()
        self.wake_read, self._wake_write = os.pipe()
        os.set_blocking(self.wake_read, False)
        self._keep: list[bytes] = []
        self._busy = False
        self._stop = False
        self._thread: threading.Thread | None = threading.Thread(target=self.run, name="entrepot-committer", daemon=True)
        self._thread.start()

    def submit(self, fd: int, position: int, parts: list[bytes], sync: bool) -> None:
        """Write `parts` at `position`, then sync if asked. The parts are kept until result()."""
        assert not self._busy, "one job at a time"
        self._job.fd = fd
        self._job.position = position
        self._job.sync = sync
        self._job.error = 0
        self.load(parts)
        self._busy = True
        os.write(self._job_write, b"j")

    def load(self, parts: list[bytes]) -> int:
        """Note where the parts lie, and keep them there."""
        self._keep = parts
        if cython.compiled:
            if len(parts) > self._room:
                room = len(parts) + 64
                self._job.parts = cython.cast(cython.pointer(iovec), realloc(self._job.parts, room * cython.sizeof(iovec)))  # type: ignore[name-defined]  # noqa: F821
                if self._job.parts == cython.NULL:
                    self._room = 0
                    raise MemoryError
                self._room = room
            index = 0
            for part in parts:
                self._job.parts[index].iov_base = PyBytes_AS_STRING(part)  # type: ignore[name-defined]  # noqa: F821
                self._job.parts[index].iov_len = PyBytes_GET_SIZE(part)  # type: ignore[name-defined]  # noqa: F821
                index += 1  # noqa: SIM113 - no tuple per part
        self._job.count = len(parts)
        return 0

    def result(self) -> tuple[int, float]:
        """(errno or 0, seconds it took); the thread is free again."""
        os.read(self.wake_read, 1)
        self._busy = False
        self._keep = []
        return self._job.error, self._job.seconds

    def close(self) -> None:
        """Finish the job under way, end the thread, release the descriptors."""
        if self._thread is None:
            return
        if self._busy:
            os.set_blocking(self.wake_read, True)
            os.read(self.wake_read, 1)
            self._busy = False
        self._stop = True
        os.write(self._job_write, b"s")
        self._thread.join()
        self._thread = None
        for fd in (self._job_read, self._job_write, self.wake_read, self._wake_write):
            os.close(fd)
        if cython.compiled:
            free(self._job.parts)  # type: ignore[name-defined]  # noqa: F821
            self._job.parts = cython.NULL
        self._keep = []

    def run(self) -> None:
        """The thread, until close()."""
        if cython.compiled:
            with cython.nogil:
                serve_jobs(cython.address(self._job), cython.address(self._stop), self._job_read, self._wake_write)  # type: ignore[name-defined]  # noqa: F821
            return
        while True:
            os.read(self._job_read, 1)
            if self._stop:
                return
            job = self._job
            started = time.perf_counter()
            try:
                write_parts(job.fd, job.position, self._keep)
                if job.sync and job.full_sync:
                    fcntl.fcntl(job.fd, job.full_sync)
                elif job.sync:
                    os.fdatasync(job.fd)
            except OSError as error:
                job.error = error.errno or 5
            job.seconds = time.perf_counter() - started
            os.write(self._wake_write, b"w")


def write_parts(fd: int, position: int, parts: list[bytes]) -> None:
    """Write all parts one behind the other from `position`; short writes are continued."""
    left = [memoryview(part) for part in parts]
    first = 0
    while first < len(left):
        written = os.pwritev(fd, left[first : first + _IOV_MAX], position)
        position += written
        while first < len(left) and written >= len(left[first]):
            written -= len(left[first])
            first += 1
        if written:
            left[first] = left[first][written:]
