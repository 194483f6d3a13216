"""Committer: one thread that writes and syncs, without the GIL and without running Python while it serves.

The loop hands it one job at a time; it writes all parts at a position (continuing short writes, at most _IOV_MAX parts a call),
syncs, stores the result, and makes `wake` readable. Interpreted mode does the same in a Python loop.
"""

from __future__ import annotations

import os
import threading
import time

import cython

if not cython.compiled:
    import fcntl

_IOV_MAX = 1024


class Committer:
    """One thread, one job at a time: submit(), then result() once `wake_read` is readable.

    `full_sync` is 0 for fdatasync, else the fcntl command that syncs (macOS: F_FULLFSYNC).
    """

    __slots__ = (
        "_busy",
        "_count",
        "_error",
        "_fd",
        "_full_sync",
        "_job_read",
        "_job_write",
        "_keep",
        "_parts",
        "_position",
        "_room",
        "_seconds",
        "_stop",
        "_sync",
        "_thread",
        "_wake_write",
        "wake_read",
    )

    def __init__(self, full_sync: int) -> None:
        self._full_sync = full_sync
        self._job_read, self._job_write = os.pipe()
        self.wake_read, self._wake_write = os.pipe()
        os.set_blocking(self.wake_read, False)
        self._keep: list[bytes] = []
        self._busy = False
        self._stop = False
        self._fd = 0
        self._position = 0
        self._sync = False
        self._error = 0
        self._seconds = 0.0
        self._thread = threading.Thread(target=self.run, name="entrepot-committer", daemon=True)
        self._thread.start()

    def submit(self, fd: int, position: int, parts: list[bytes], sync: bool) -> None:
        """Write `parts` at `position`, then sync if asked. The parts are kept until result()."""
        assert not self._busy, "one job at a time"
        self._busy = True
        self._keep = parts
        self._fd = fd
        self._position = position
        self._sync = sync
        self._error = 0
        self.load(parts)
        os.write(self._job_write, b"j")

    def load(self, parts: list[bytes]) -> int:
        """Where the parts lie, for the thread."""
        if not cython.compiled:
            return 0
        return self.fill(parts)

    def result(self) -> tuple[int, float]:
        """(errno or 0, seconds it took); the thread is free again."""
        os.read(self.wake_read, 1)
        self._busy = False
        self._keep = []
        return self._error, self._seconds

    def wait(self) -> None:
        """Block until the job under way is done; for closing."""
        if self._busy:
            os.set_blocking(self.wake_read, True)
            os.read(self.wake_read, 1)
            self._busy = False

    def close(self) -> None:
        """Finish the job under way, end the thread, release the descriptors."""
        if self._thread is None:
            return
        self.wait()
        self._stop = True
        os.write(self._job_write, b"s")
        self._thread.join()
        self._thread = None
        for fd in (self._job_read, self._job_write, self.wake_read, self._wake_write):
            os.close(fd)

    def run(self) -> None:
        """The thread."""
        if cython.compiled:
            self.serve()
            return
        while True:
            os.read(self._job_read, 1)
            if self._stop:
                return
            started = time.perf_counter()
            try:
                write_parts(self._fd, self._position, self._keep)
                if self._sync:
                    if self._full_sync:
                        fcntl.fcntl(self._fd, self._full_sync)
                    else:
                        os.fdatasync(self._fd)
            except OSError as error:
                self._error = error.errno or 5
            self._seconds = time.perf_counter() - started
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
        elif first < len(left) and not len(left[first]):
            first += 1
