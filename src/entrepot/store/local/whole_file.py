"""Small files that are there whole or not at all, and locks of directories: what lies beside a store."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def write_whole(path: Path, data: bytes) -> None:
    """`path` holds `data`, on the disk, readable by its owner alone; after a crash what it held before, or `data`. OSError."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(file, left) :]
        os.fsync(file)
    finally:
        os.close(file)
    new.rename(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def hold(path: Path) -> int | None:
    """The file's lock is held as long as the returned descriptor is open; None: another process has it. The file is made where there is none. OSError."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    except BaseException:
        os.close(file)
        raise
    return file


def is_held(path: Path) -> bool:
    """Whether a process holds the file's lock now. OSError."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def wait_until_free(path: Path) -> None:
    """Returns when nobody holds the file's lock, or there is no such file. Blocks its thread. OSError."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
    finally:
        os.close(file)
