"""Socket files whose path is longer than a socket's may be: by a descriptor of their directory, where the system has that."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATH_MAX = 100  # bytes; systems take 104 to 108, with the zero
DESCRIPTORS = Path("/proc/self/fd")  # of Linux: a way to name a directory shortly


@contextmanager
def short_path(path: Path) -> Iterator[str]:
    """The path of a socket file that is short enough, good while the context lasts. OSError where there is none, or no directory."""
    if len(os.fsencode(path)) <= PATH_MAX:
        yield str(path)
        return
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        short = DESCRIPTORS / str(descriptor)
        if not short.exists():
            raise OSError(f"{path}: the path is too long for a socket; a data directory whose path is shorter has one")
        yield str(short / path.name)
    finally:
        os.close(descriptor)
