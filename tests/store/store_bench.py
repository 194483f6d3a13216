"""A loop in virtual time, a disk in memory that can lose what was not synced, and an owner that notes what it is told."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from typing import Any

from entrepot.model.entry import Entry, make_entry
from entrepot.store.interface import Group, Log
from entrepot.store.local.opening import open_store
from entrepot.store.local.settings import StoreSettings
from entrepot.store.local.store import LocalStore

SECTOR = 4096
SMALL = StoreSettings(journal_file_size=16 << 10, journal_ready_files=1, reserve_size=0, cache_size=8 << 10)


class Timer:
    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.callback = callback
        self.args = args
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """Runs callbacks in order; time passes only when nothing else is to do."""

    def __init__(self) -> None:
        self.now = 0.0
        self.ready: list[Timer] = []
        self.timers: list[tuple[float, int, Timer]] = []
        self.count = 0

    def time(self) -> float:
        return self.now

    def monotonic_s(self) -> float:
        return self.now

    def elapsed_s(self) -> float:
        return self.now

    def wall_ms(self) -> int:
        return 1_700_000_000_000 + int(self.now * 1000)

    def call_soon(self, callback: Callable[..., object], *args: Any) -> Timer:
        timer = Timer(callback, args)
        self.ready.append(timer)
        return timer

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> Timer:
        timer = Timer(callback, args)
        self.count += 1
        heapq.heappush(self.timers, (self.now + delay, self.count, timer))
        return timer

    def step(self) -> bool:
        if not self.ready:
            while self.timers and self.timers[0][2].cancelled:
                heapq.heappop(self.timers)
            if not self.timers:
                return False
            self.now, _, timer = heapq.heappop(self.timers)
            self.ready.append(timer)
        timer = self.ready.pop(0)
        if not timer.cancelled:
            timer.callback(*timer.args)
        return True

    def run(self, until: Callable[[], bool] | None = None) -> None:
        while (until is None or not until()) and self.step():
            pass


class Chance:
    """Entropy from a seed."""

    def __init__(self, seed: int = 0) -> None:
        self.random = random.Random(seed)

    def octets(self, count: int) -> bytes:
        return self.random.randbytes(count)

    def below(self, bound: int) -> int:
        return self.random.randrange(bound)


class Crashed(BaseException):
    """The machine has lost its power."""


class MemoryFile:
    def __init__(self, disk: MemoryDisk, name: str, node: Node) -> None:
        self.disk = disk
        self.name = name
        self.node = node

    def size(self) -> int:
        return len(self.node.data)

    def pread(self, position: int, size: int) -> bytes:
        return bytes(self.node.data[position : position + size])

    def pwrite(self, position: int, parts: list[bytes]) -> None:
        self.disk.check(self.name)
        data = b"".join(parts)
        self.disk.used += max(0, position + len(data) - len(self.node.data))
        if len(self.node.data) < position + len(data):
            self.node.data.extend(bytes(position + len(data) - len(self.node.data)))
        self.node.data[position : position + len(data)] = data
        self.node.dirty.update(range(position // SECTOR, (position + len(data) + SECTOR - 1) // SECTOR))

    def truncate(self, size: int) -> None:
        self.disk.check(self.name)
        if size < len(self.node.data):
            del self.node.data[size:]
        else:
            self.node.data.extend(bytes(size - len(self.node.data)))

    def sync(self) -> None:
        self.disk.check_sync(self.name)
        self.node.durable = bytearray(self.node.data)
        self.node.dirty.clear()

    def close(self) -> None:
        pass


class Node:
    """A file's content: as it is, as it is durable, and the sectors in which the two may differ."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = bytearray(data)
        self.durable = bytearray(data)
        self.dirty: set[int] = set()


class MemoryDisk:
    """A Disk. Lanes take their time from the loop; faults are set from outside."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.nodes: dict[str, Node] = {}
        self.durable_names: dict[str, Node] = {}
        self.commits: list[tuple[Any, ...]] = []
        self.fail_write: OSError | None = None
        self.fail_sync: OSError | None = None
        self.free = 1 << 40
        self.used = 0
        self.trace: list[str] = []

    def check(self, name: str) -> None:
        self.trace.append(f"write {name}")
        if self.fail_write is not None:
            raise self.fail_write

    def check_sync(self, name: str) -> None:
        self.trace.append(f"sync {name}")
        if self.fail_sync is not None:
            raise self.fail_sync

    def open(self, name: str, *, create: bool = False) -> MemoryFile:
        if create:
            if name in self.nodes:
                raise FileExistsError(17, "exists", name)
            self.nodes[name] = Node()
        elif name not in self.nodes:
            raise FileNotFoundError(2, "not found", name)
        return MemoryFile(self, name, self.nodes[name])

    def names(self) -> list[str]:
        return sorted(self.nodes)

    def rename(self, old: str, new: str) -> None:
        self.nodes[new] = self.nodes.pop(old)

    def remove(self, name: str) -> None:
        del self.nodes[name]

    def sync_directory(self) -> None:
        self.trace.append("sync directory")
        self.durable_names = dict(self.nodes)

    def free_bytes(self) -> int:
        return self.free - self.used

    def commit(self, file: MemoryFile, position: int, parts: list[bytes], *, sync: bool, done: Any) -> None:
        self.commits.append((file, position, parts, sync, done))
        if len(self.commits) == 1:
            self.loop.call_later(0.0001, self._write)

    def _write(self) -> None:
        file, position, parts, sync, done = self.commits[0]
        try:
            if parts:
                file.pwrite(position, parts)
        except OSError as error:
            self.commits.pop(0)
            done(None, error)
            return
        self.loop.call_later(0.0001, self._sync, file, sync, done)

    def _sync(self, file: MemoryFile, sync: bool, done: Any) -> None:
        failure = None
        try:
            if sync:
                file.sync()
        except OSError as error:
            failure = error
        self.commits.pop(0)
        if self.commits:
            self.loop.call_later(0.0001, self._write)
        done(None if failure else 0.0001, failure)

    def read(self, file: MemoryFile, position: int, size: int, done: Any) -> None:
        self.loop.call_later(0.0001, lambda: done(file.pread(position, size), None))

    def read_many(self, reads: list[tuple[MemoryFile, int, int]], done: Any) -> None:
        self.loop.call_later(0.0001, lambda: done([file.pread(position, size) for file, position, size in reads], None))

    def read_apart(self, reads: list[tuple[MemoryFile, int, int, int]], done: Any) -> None:
        self.loop.call_later(
            0.0001, lambda: done([(file.pread(position, head), file.pread(position + head, size - head)) for file, position, head, size in reads], None)
        )

    def background(self, work: Callable[[], Any], done: Any) -> None:
        self.loop.call_later(0.0002, self._work, work, done)

    def _work(self, work: Callable[[], Any], done: Any) -> None:
        result, failure = None, None
        try:
            result = work()
        except Exception as error:
            failure = error
        done(result, failure)

    def uncache(self, name: str) -> None:
        pass

    def close(self) -> None:
        pass

    def crashed(self, loop: Loop, keep: Callable[[str, int], bool]) -> MemoryDisk:
        """What is left after the power went: synced sectors, and of the others those that `keep(name, sector)` says."""
        after = MemoryDisk(loop)
        names = {name: node for name, node in {**self.nodes, **self.durable_names}.items() if name in self.durable_names or keep(name, -1)}
        for name, node in names.items():
            data = bytearray(node.durable)
            for sector in sorted(node.dirty):
                if keep(name, sector):
                    at = sector * SECTOR
                    if len(data) < at:
                        data.extend(bytes(at - len(data)))
                    data[at : at + SECTOR] = node.data[at : at + SECTOR]
            after.nodes[name] = Node(bytes(data))
        after.durable_names = dict(after.nodes)
        return after

    def copy(self, loop: Loop) -> MemoryDisk:
        """As a killed process leaves it: everything written is there."""
        after = MemoryDisk(loop)
        for name, node in self.nodes.items():
            after.nodes[name] = Node(bytes(node.data))
        after.durable_names = dict(after.nodes)
        return after


class Told:
    """An owner."""

    def __init__(self) -> None:
        self.groups: list[Group] = []
        self.failed: BaseException | None = None

    def committed(self, group: Group) -> None:
        assert self.failed is None
        assert group.durable
        self.groups.append(group)
        for call in group.calls:
            call()

    def store_failed(self, error: BaseException) -> None:
        assert self.failed is None
        self.failed = error


def fold(key: bytes, value: bytes | None, delta: bytes) -> bytes | None:
    """Deltas are appended; `-` deletes."""
    return None if delta == b"-" else (value or b"") + delta


class Bench:
    """A store over a memory disk, with what a test needs around it."""

    def __init__(self, disk: MemoryDisk | None = None, settings: StoreSettings = SMALL, seed: int = 0) -> None:
        self.loop = disk.loop if disk is not None else Loop()
        self.disk = disk if disk is not None else MemoryDisk(self.loop)
        self.settings = settings
        self.seed = seed
        self.told = Told()
        self.store: LocalStore = open_store(self.disk, scheduler=self.loop, clock=self.loop, entropy=Chance(seed), fold=fold, settings=settings)
        self.store.set_owner(self.told)

    def create(self, number: int, shard: int = 0) -> Log:
        return self.store.create_log(shard, number.to_bytes(16, "big"))

    def log(self, number: int) -> Log:
        log = self.store.log(number.to_bytes(16, "big"))
        assert log is not None
        return log

    def append(self, *logs: Log, data: bytes = b"data", count: int = 1) -> Entry:
        entry = make_entry(2, 1, 0, b"", data, count)
        self.store.append(list(logs), entry)
        return entry

    def commit(self) -> bool:
        """Commit what is staged; whether it became durable."""
        done: list[bool] = []
        self.store.group().calls.append(lambda: done.append(True))
        self.store.urgent()
        self.loop.run(lambda: bool(done) or self.told.failed is not None)
        return bool(done)

    def read(self, log: Log, offset: int = 0) -> list[tuple[int, int, bytes]]:
        """Everything alive from `offset` on: (base, span, data)."""
        reader = log.reader()
        found = []
        while offset < log.durable_offset:
            stored = reader.at(offset)
            if stored is not None:
                assert stored.entry.data is not None
                found.append((stored.base, stored.entry.span, stored.entry.data))
                offset = stored.base + stored.entry.span
                continue
            done: list[bool] = []
            reader.fetch(offset, lambda done=done: done.append(True))
            self.loop.run(lambda: bool(done) or self.told.failed is not None)  # noqa: B023
            if self.told.failed is not None:
                raise self.told.failed
            if reader.at(offset) is None:
                break
        reader.close()
        return found

    def close(self) -> None:
        done: list[bool] = []
        self.store.close(lambda: done.append(True))
        self.loop.run(lambda: bool(done))
        assert done

    def reopened(self, disk: MemoryDisk | None = None) -> Bench:
        return Bench(disk if disk is not None else self.disk.copy(Loop()), self.settings, self.seed + 1)
