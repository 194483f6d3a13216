"""How the process ends: exit statuses, and the end that waits for nothing."""

from __future__ import annotations

import logging
import os
import sys
from typing import NoReturn

STOPPED_TWICE = 1  # after a second signal, or one before it was ready
STORE_FAILED = 74  # EX_IOERR of sysexits.h
PARENT_GONE = 75  # of a worker whose parent has ended; EX_TEMPFAIL of sysexits.h


def leave(status: int) -> NoReturn:
    """End the process now, from whichever thread: nothing more is written, sent or acknowledged."""
    try:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)
