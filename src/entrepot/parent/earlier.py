"""Workers of a start whose parent was killed: they end by themselves, but not at once where a disk holds them up, and until then their addresses are taken."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from entrepot.cluster.workers.opening import LOCK_NAME
from entrepot.model.errors import Reason, Refused
from entrepot.store.local.whole_file import is_held, wait_until_free

log = logging.getLogger("entrepot.parent")

WAIT_S = 10.0
ADDRESSES_S = 0.1  # the system closes what a process had open one after another: its listeners a moment behind its lock


def wait_for_earlier(stores: Sequence[Path], wait_s: float = WAIT_S) -> None:
    """Returns when no process has any of these stores and its addresses; at once, as a rule. Raises Refused: one does not end, OSError."""
    held = [store for store in stores if is_held(store / LOCK_NAME)]
    if not held:
        return
    names = ", ".join(store.name for store in held)
    log.warning("waiting for workers of an earlier start to end: %s", names)
    all_free = threading.Event()
    threading.Thread(target=_wait, args=(held, all_free), name="entrepot-earlier", daemon=True).start()
    if not all_free.wait(wait_s):
        left = next((store for store in held if is_held(store / LOCK_NAME)), held[-1])
        raise Refused(
            Reason.IN_USE,
            f"{left} is in use by another process, a worker of an earlier start that does not end, or a command: `fuser {left / LOCK_NAME}` says which",
        )
    threading.Event().wait(ADDRESSES_S)


def _wait(held: Sequence[Path], all_free: threading.Event) -> None:
    for store in held:
        with suppress(OSError):  # whoever opens it will say so
            wait_until_free(store / LOCK_NAME)
    all_free.set()
