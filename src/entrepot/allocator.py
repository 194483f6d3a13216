"""The C library's allocator: what is free is kept for what is read next.

By itself glibc gives memory back to the system as soon as a few megabytes of it are free, and takes it again a moment later. What is read from
segments for consumers comes in pieces of up to 2 MiB, each of whose pages then has to be mapped and zeroed anew: a fifth of the processor time of reading.
So it is with long messages: of one of 16 MiB each copy takes 2 ms where its memory was used before, and 5 where it was not.
"""

from __future__ import annotations

import ctypes
import os
import sys

TRIM_BYTES = 64 << 20  # free at the end of the heap, before any of it is given back
MAPPED_BYTES = 32 << 20  # a larger piece is mapped by itself, and given back at once

_M_TRIM_THRESHOLD = -1  # malloc.h
_M_MMAP_THRESHOLD = -3


def keep_free_memory() -> bool:
    """Have the allocator keep up to TRIM_BYTES; whether it does. Not where it is not glibc's, or the environment sets it (mallopt(3))."""
    if not sys.platform.startswith("linux") or any(name.startswith("MALLOC_") for name in os.environ) or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, MAPPED_BYTES)) and bool(mallopt(_M_TRIM_THRESHOLD, TRIM_BYTES))
