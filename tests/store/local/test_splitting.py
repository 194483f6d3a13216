"""Stores divided among others and put together again: everything that can be read stays what it was, and files are shared, not copied."""

from __future__ import annotations

import asyncio
import errno
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from store_bench import SMALL, Told, fold

from entrepot.clock import SystemClock
from entrepot.entropy import SystemEntropy
from entrepot.model.entry import make_entry, stored_entry
from entrepot.model.errors import CorruptData
from entrepot.store.interface import Log
from entrepot.store.local.checkpoint import CHECKPOINT_NAME, Changes, LogRow, SqliteCheckpoint
from entrepot.store.local.opening import open_store
from entrepot.store.local.posix_disk import PosixDisk, lock_directory
from entrepot.store.local.quarantine import quarantine
from entrepot.store.local.splitting import Divided, Part, divide, make_gravestone, settle
from entrepot.store.local.verify import verify

SEEDS = int(os.environ.get("ENTREPOT_SPLIT_SEEDS", "6"))
SHARDS = 12
SETTINGS = replace(SMALL, adopt_size_min=4096, adopt_entry_size_min=500, cache_size=0)
HOUR_MS = 3_600_000


class AheadClock(SystemClock):
    """An hour ahead."""

    def wall_ms(self) -> int:
        return super().wall_ms() + HOUR_MS


class Opened:
    """A store of a directory, and a loop that is turned until something is done."""

    def __init__(self, path: Path, clock: Any = None) -> None:
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
        while maintenance._running or maintenance._sorter.busy or maintenance._merger.busy or maintenance._merge_result is not None:
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


@dataclass
class ModelLog:
    shard: int
    entries: list[tuple[int, int, bytes]] = field(default_factory=list)
    gone: set[int] = field(default_factory=set)
    next: int = 0
    marked: int = 0

    def first(self) -> int:
        first = 0
        while first in self.gone:
            first += 1
        return first

    def alive(self) -> list[tuple[int, int, bytes]]:
        return [entry for entry in self.entries if any(offset not in self.gone for offset in range(entry[0], entry[0] + entry[1]))]


class Model:
    """What all stores together must hold."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.logs: dict[bytes, ModelLog] = {}
        self.values: dict[tuple[int, bytes], bytes] = {}
        self.count = 0
        self.epoch = 0
        self.time_ms = 0

    def write(self, opened: Opened, shards: list[int], steps: int) -> None:
        """Random operations on a store, of its shards."""
        store, chance = opened.store, self.random
        self.epoch = max(self.epoch, store.epoch)
        logs = list(store.logs())
        for step in range(steps):
            kind = chance.random()
            log = chance.choice(logs) if logs else None
            if log is None or kind < 0.03:
                log = store.create_log(chance.choice(shards), chance.randbytes(16))
                self.logs[log.id] = ModelLog(log.shard)
                logs.append(log)
            elif kind < 0.6:
                targets = chance.sample(logs, min(len(logs), chance.choice([1, 1, 2, 3])))
                self.count += 1
                count = chance.choice([1, 1, 3])
                data = b"%d." % self.count * chance.choice([1, 30, 300, 2000])
                store.append(targets, make_entry(2, 1, 0, b"", data, count))
                for target in targets:
                    model = self.logs[target.id]
                    model.entries.append((model.next, count, data))
                    model.next += count
            elif kind < 0.8 and log.next_offset > log.first_offset:
                first = chance.choice([log.first_offset, chance.randrange(log.first_offset, log.next_offset)])
                end = min(log.next_offset, first + chance.choice([1, 2, 30]))
                store.discard(log, first, end)
                self.logs[log.id].gone.update(range(first, end))
            elif kind < 0.85:
                offset = chance.randrange(log.next_offset + 1)
                store.mark(log, offset)
                self.logs[log.id].marked = max(self.logs[log.id].marked, offset)
            elif kind < 0.98:
                shard, key, delta = chance.choice(shards), b"%d" % chance.randrange(5), chance.choice([b"a", b"b", b"-"])
                store.fold(shard, key, delta)
                value = fold(key, self.values.pop((shard, key), None), delta)
                if value is not None:
                    self.values[shard, key] = value
            elif len(logs) > 3:
                logs.remove(log)
                store.drop_log(log)
                del self.logs[log.id]
            if step % 3 == 0:
                opened.commit()
        opened.commit()
        for log in chance.sample(logs, min(2, len(logs))):
            self.compact(opened, log)
        self.time_ms = max(self.time_ms, store.time.now_ms())

    def compact(self, opened: Opened, log: Log) -> None:
        """Every other entry of a log's first half goes, as compaction has it: it stands in older segments, and is not discarded."""
        model = self.logs[log.id]
        end = next((base for base, _, _ in reversed(model.entries) if base <= log.durable_offset // 2), 0)
        if not log.first_offset < end:
            return
        kept = [entry for number, entry in enumerate(model.entries) if entry[0] >= end or number % 2]
        entries = []
        for base, span, data in kept:
            if base < end and base >= log.first_offset:
                entry = make_entry(2, 1, 0, b"", data + b"!", span)
                entry.seal() if hasattr(entry, "seal") else None
                entries.append(stored_entry(base, entry))
        opened.run(lambda done: opened.store.rewrite(log, log.first_offset, end, entries, done))
        first = log.first_offset
        model.entries = [(base, span, data + b"!") if first <= base < end else (base, span, data) for base, span, data in kept if base >= end or base >= first]

    def check(self, stores: list[Opened]) -> None:
        found: dict[bytes, Any] = {}
        values: dict[tuple[int, bytes], bytes] = {}
        for number, opened in enumerate(stores):
            assert opened.store.epoch > self.epoch
            assert opened.store.time.now_ms() >= self.time_ms
            for log in opened.store.logs():
                model = self.logs[log.id]
                assert log.shard % len(stores) == number
                assert (log.shard, log.next_offset, log.first_offset) == (model.shard, model.next, model.first())
                assert log.marked_offset >= model.marked
                assert {at for first, end in log.holes() for at in range(first, end)} == {at for at in model.gone if at >= model.first()}
                assert opened.read(log) == model.alive()
                found[log.id] = log
            for shard in range(SHARDS):
                values.update({(shard, key): value for key, value in opened.store.scan(shard, b"", b"\xff", 100)})
                assert shard % len(stores) == number or not opened.store.scan(shard, b"", b"\xff", 1)
        assert set(found) == set(self.logs)
        assert values == self.values


def parts(paths: list[Path]) -> list[Part]:
    return [Part(path, frozenset(range(number, SHARDS, len(paths)))) for number, path in enumerate(paths)]


def settled(path: Path) -> None:
    settle(path, lock_directory(str(path)), fold)


def divided(old: list[Path], new: list[Path]) -> Divided:
    for path in old:
        settled(path)
    return divide(parts(old), parts(new), lambda _: None)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_all_that_can_be_read_stays_what_it_was(tmp_path: Path, seed: int) -> None:
    model = Model(seed)
    paths = [tmp_path / "0.0"]
    for round_number, count in enumerate([1, *model.random.sample([[3, 2, 1, 4], [2, 3, 1, 2], [4, 1, 3, 1]], 1)[0]]):
        if round_number:
            new = [tmp_path / f"{round_number}.{number}" for number in range(count)]
            divided(paths, new)
            paths = new
            for path in paths:
                report = verify(path)
                assert report.is_whole, str(report)
        stores = [Opened(path, AheadClock() if round_number == 0 else None) for path in paths]
        model.check(stores)
        for number, opened in enumerate(stores):
            if model.random.random() < 0.8:
                model.write(opened, list(range(number, SHARDS, count)), model.random.choice([20, 150]))
            if model.random.random() < 0.5:
                opened.rest()
            opened.close() if model.random.random() < 0.5 else opened.abandon()
