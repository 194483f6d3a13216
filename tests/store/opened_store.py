"""A store of a real directory, small enough that everything it does happens soon."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from store_bench import SMALL, Told, fold

from entrepot.clock import SystemClock
from entrepot.entropy import SystemEntropy
from entrepot.store.interface import Log
from entrepot.store.local.opening import open_store
from entrepot.store.local.posix_disk import PosixDisk

SETTINGS = replace(SMALL, adopt_size_min=4096, adopt_entry_size_min=500, cache_size=0)


class Opened:
    """A store of a directory, and a loop that is turned until something is done."""

    def __init__(self, path: Path, clock: Any = None, fold: Any = fold) -> None:
        self.loop = asyncio.new_event_loop()
        self.disk = PosixDisk(str(path), self.loop)
        words: dict[str, Any] = {"scheduler": self.loop, "clock": clock or SystemClock(), "entropy": SystemEntropy(), "fold": fold, "settings": SETTINGS}
        self.store = open_store(self.disk, **words)  # type: ignore[arg-type]
        self.told = Told()
        self.store.set_owner(self.told)

    def run(self, start: Callable[[Callable[[], None]], None]) -> None:
        done = self.loop.create_future()
        start(lambda: None if done.done() else done.set_result(None))
        self.loop.run_until_complete(asyncio.wait_for(done, 30))
        assert self.told.failed is None

    def commit(self) -> None:
        def start(done: Callable[[], None]) -> None:
            self.store.group().calls.append(done)
            self.store.urgent()

        self.run(start)

    def rest(self) -> None:
        """Until sorting and merging have ended."""
        maintenance = self.store.maintenance
        while maintenance._running or maintenance._merger.busy or maintenance._round_is_due():
            self.run(lambda done: self.loop.call_later(0.001, done))

    def read(self, log: Log) -> list[tuple[int, int, bytes]]:
        reader = log.reader()
        found = []
        offset = 0
        while offset < log.durable_offset:
            stored = reader.at(offset)
            if stored is None:
                self.run(lambda done, offset=offset: reader.fetch(offset, done))  # type: ignore[misc]
                if (stored := reader.at(offset)) is None:
                    break
            found.append((stored.base, stored.entry.span, bytes(stored.entry.data)))
            offset = stored.base + stored.entry.span
        reader.close()
        return found

    def close(self) -> None:
        self.run(self.store.close)
        self.loop.close()

    def abandon(self) -> None:
        """As a killed process leaves it."""
        self.disk.close()
        self.store.ring.close()
        self.store.maintenance._checkpoint.close()
        self.loop.close()
