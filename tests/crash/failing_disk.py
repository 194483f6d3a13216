"""`entrepot` on a disk whose journal syncs fail once a file named by the first argument exists: written, and not synced."""

from __future__ import annotations

import errno
import os
import sys
from typing import Any

from entrepot.store.local.disk import Done
from entrepot.store.local.posix_disk import PosixDisk, PosixFile


class FailingDisk(PosixDisk):
    """See the module."""

    trigger = ""

    def commit(self, file: PosixFile, position: int, parts: list[bytes], *, sync: bool, done: Done) -> None:
        if not os.path.exists(self.trigger):
            super().commit(file, position, parts, sync=sync, done=done)
            return
        error = OSError(errno.EIO, os.strerror(errno.EIO))
        super().commit(file, position, parts, sync=False, done=lambda _result, failure: done(None, failure or error))


if __name__ == "__main__":
    from entrepot import node
    from entrepot.cli import main

    FailingDisk.trigger = sys.argv.pop(1)
    open_store = node.open_store

    def failing(where: str, **words: Any) -> Any:
        """The node's store, on a failing disk."""
        return open_store(FailingDisk(where, words["scheduler"]), **words)

    node.open_store = failing  # type: ignore[assignment]
    main()
