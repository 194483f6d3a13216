"""read_cached: what the system has of a file in memory, without waiting for the disk, and so without another thread: a hop there and back costs
more than the copy."""

from __future__ import annotations

import os

import cython

_NO_WAIT = getattr(os, "RWF_NOWAIT", 0)


def read_apart_cached(fd: int, position: int, head_size: int, size: int) -> tuple[bytes, bytes] | None:
    """The same as two pieces, the first of `head_size` bytes."""
    if cython.compiled:
        return cached_apart(fd, position, head_size, size)  # type: ignore[name-defined,no-any-return]  # noqa: F821
    data = read_cached(fd, position, size)
    return None if data is None else (data[:head_size], data[head_size:])


def read_cached(fd: int, position: int, size: int) -> bytes | None:
    """`size` bytes at `position`, if all of them are in the system's cache and it can tell (Linux); else None. Raises nothing of the disk's."""
    if cython.compiled:
        return cached(fd, position, size)  # type: ignore[name-defined,no-any-return]  # noqa: F821
    if not _NO_WAIT:
        return None
    buffer = bytearray(size)
    try:
        got = os.preadv(fd, [buffer], position, _NO_WAIT)
    except OSError:
        return None
    return bytes(buffer) if got == size else None
