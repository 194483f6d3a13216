"""The committer's thread, compiled and interpreted: what it writes, how it fails, and the way macOS syncs."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import select
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from both_modes import both

MODULES = both("entrepot.store.local.committer")


@pytest.fixture(params=MODULES, ids=["installed", "interpreted"])
def committer(request: pytest.FixtureRequest) -> Iterator[Any]:
    made = request.param.Committer(0)
    yield made
    made.close()
    made.close()


def result(committer: Any) -> int:
    select.select([committer.wake_read], [], [])
    error, seconds = committer.result()
    assert seconds >= 0.0
    return int(error)


def test_parts_are_written_one_behind_the_other_at_the_position(committer: Any, tmp_path: Path) -> None:
    fd = os.open(tmp_path / "f", os.O_RDWR | os.O_CREAT)
    parts = [b"%d," % number for number in range(3000)]  # more than one vector of the kernel's
    parts[5] = b""
    for sync in (False, True):
        committer.submit(fd, 7, parts, sync)
        assert result(committer) == 0
    assert os.pread(fd, 1 << 20, 0) == bytes(7) + b"".join(parts)
    committer.submit(fd, 0, [], True)
    assert result(committer) == 0
    os.close(fd)


def test_a_short_write_is_continued_and_its_error_reported(committer: Any, tmp_path: Path) -> None:
    # The kernel writes up to the limit, short, and refuses what comes after it.
    fd = os.open(tmp_path / "f", os.O_RDWR | os.O_CREAT)
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, usual[1]))
        committer.submit(fd, 0, [b"a" * 6000, b"b" * 6000, b"c" * 6000], True)
        assert result(committer) == errno.EFBIG
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
        signal.signal(signal.SIGXFSZ, ignored)
    assert os.pread(fd, 1 << 20, 0) == b"a" * 6000 + b"b" * 4000
    os.close(fd)


def test_a_short_write_to_a_pipe_is_continued(tmp_path: Path) -> None:
    # write_parts() is what interpreted mode and blocking calls use; pwritev is made short for it.
    for module in MODULES:
        path = tmp_path / module.__name__
        fd = os.open(path, os.O_RDWR | os.O_CREAT)
        usual = os.pwritev
        os.pwritev = lambda file, parts, position: os.pwrite(file, bytes(parts[0])[:3], position)  # type: ignore[assignment,misc]
        try:
            module.write_parts(fd, 2, [b"", b"abcdefgh", b"", b"ij", b""])
        finally:
            os.pwritev = usual  # type: ignore[misc]
        assert path.read_bytes() == b"\0\0abcdefghij"
        os.close(fd)


def test_an_error_of_the_sync_is_reported(committer: Any) -> None:
    read, write = os.pipe()
    committer.submit(write, 0, [], True)  # a pipe cannot be synced
    assert result(committer) == errno.EINVAL
    committer.submit(-1, 0, [b"x"], True)
    assert result(committer) == errno.EBADF
    os.close(read)
    os.close(write)


@pytest.mark.parametrize("module", MODULES, ids=["installed", "interpreted"])
def test_where_fcntl_syncs_it_is_called_instead(module: Any, tmp_path: Path) -> None:
    # macOS: F_FULLFSYNC. Here a harmless command stands for it: on a pipe it succeeds where fdatasync does not.
    committer = module.Committer(fcntl.F_GETFD)
    read, write = os.pipe()
    committer.submit(write, 0, [], True)
    assert result(committer) == 0
    os.close(read)
    os.close(write)
    committer.submit(write, 0, [], True)
    assert result(committer) == errno.EBADF
    committer.close()
