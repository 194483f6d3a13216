"""`entrepot` on a disk that says that nothing is free while a file named by the first argument exists."""

from __future__ import annotations

import os
import sys
from typing import Any

from entrepot.store.local.posix_disk import PosixDisk


class FullDisk(PosixDisk):
    """See the module."""

    trigger = ""

    def free_bytes(self) -> int:
        return 0 if os.path.exists(self.trigger) else super().free_bytes()


if __name__ == "__main__":
    from entrepot import node
    from entrepot.cli import main

    FullDisk.trigger = sys.argv.pop(1)
    open_store = node.open_store

    def filling(where: str, **words: Any) -> Any:
        """The node's store, on such a disk."""
        return open_store(FullDisk(where, words["scheduler"]), **words)

    node.open_store = filling  # type: ignore[assignment]
    main()
