"""SimulatedDisk: the store's disk contract in memory and virtual time, with everything that a real disk does to those who trust it.

A file has what the system shows and what would be there after a crash. Writes change the first; a sync that has come to its end copies
what was written before it began to the second. A crash keeps of every file any subset of the sectors written since, an old or new
length, and of the directory any subset, or any prefix, of the creates, renames and removes since it was last synced.

    crash_after     the crash comes during the n-th operation from now that changes something, wherever that is: in a background job, in recovery
    fail_next       the next operation of a kind fails with an errno; after a failed sync its sectors are lost, and later syncs do not bring them back
    capacity        bytes; writes beyond fail with ENOSPC
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any

from entrepot.simulation.loop import SimulatedLoop
from entrepot.store.local.disk import Done

SECTOR_SIZE = 4096  # bytes that reach the disk together or not at all
UNLIMITED = 1 << 40  # bytes
COMMIT_S = (50e-6, 400e-6)  # how long the lanes take, virtual seconds
SLOW_COMMIT_S = (1e-3, 50e-3)  # of a disk that is slower than the network
BACKGROUND_S = (100e-6, 20e-3)
READ_S = (20e-6, 2e-3)


class Crashed(BaseException):
    """The machine went down in the middle of an operation. Not an Exception: nobody may handle it but who runs the simulation."""


class _Inode:
    """A file's contents, whatever its names."""

    __slots__ = ("dirty", "durable", "lost", "now", "number", "shortest")

    def __init__(self, number: int) -> None:
        self.number = number
        self.now = bytearray()
        self.durable = bytearray()
        self.dirty: set[int] = set()  # sectors that differ, or may, since the last sync
        self.lost: set[int] = set()  # sectors that a failed sync gave up
        self.shortest = 0  # the least size since the last sync

    def write(self, position: int, data: bytes) -> None:
        if not data:
            return
        if position > len(self.now):
            self._touch(len(self.now), position)
            self.now.extend(bytes(position - len(self.now)))
        self.now[position : position + len(data)] = data
        self._touch(position, position + len(data))

    def truncate(self, size: int) -> None:
        if size < len(self.now):
            self._touch(size, len(self.now))
            del self.now[size:]
        else:
            self._touch(len(self.now), size)
            self.now.extend(bytes(size - len(self.now)))
        self.shortest = min(self.shortest, size)

    def _touch(self, first: int, end: int) -> None:
        if first < end:
            sectors = range(first // SECTOR_SIZE, (end - 1) // SECTOR_SIZE + 1)
            self.dirty.update(sectors)
            self.lost.difference_update(sectors)

    def synced(self, sectors: set[int]) -> None:
        """These are durable, and so is the size."""
        size = len(self.now)
        if len(self.durable) > size:
            del self.durable[size:]
        else:
            self.durable.extend(bytes(size - len(self.durable)))
        for sector in sectors:
            start = sector * SECTOR_SIZE
            if start < size:
                self.durable[start : start + SECTOR_SIZE] = self.now[start : start + SECTOR_SIZE]
        self.dirty -= sectors
        self.shortest = size

    def crash(self, chance: Any) -> None:
        """Become what the disk kept."""
        at_risk = sorted(self.dirty | self.lost)
        if at_risk or len(self.now) != len(self.durable) or self.shortest < len(self.durable):
            sizes = [len(self.durable), len(self.now), min(self.shortest, len(self.durable))]
            size = chance.choice(sizes)
            kept_part = chance.choice((0.0, 0.5, 0.9, 1.0))
            kept = [sector for sector in at_risk if sector not in self.lost and chance.random() < kept_part]
            image = bytearray(self.durable[:size])
            image.extend(bytes(max(size, 0) - len(image)))
            for sector in kept:
                start = sector * SECTOR_SIZE
                data = self.now[start : start + SECTOR_SIZE]
                if start + len(data) > len(image):
                    image.extend(bytes(start + len(data) - len(image)))
                image[start : start + len(data)] = data
            self.now = image
        self.durable = bytearray(self.now)
        self.dirty = set()
        self.lost = set()
        self.shortest = len(self.now)


class _Job:
    """Work in a lane: steps at moments of their own; the last one's result is reported."""

    __slots__ = ("delay_s", "done", "steps")

    def __init__(self, steps: list[Callable[[], Any]], delay_s: tuple[float, float], done: Done) -> None:
        self.steps = steps
        self.delay_s = delay_s
        self.done = done


class SimulatedFile:
    """A File of a SimulatedDisk."""

    __slots__ = ("_disk", "_inode", "closed", "name")

    def __init__(self, disk: SimulatedDisk, name: str, inode: _Inode) -> None:
        self._disk = disk
        self._inode = inode
        self.name = name
        self.closed = False

    def _check(self) -> _Inode:
        assert not self.closed, f"{self.name} is used after close()"
        return self._inode

    def size(self) -> int:
        """See File.size."""
        return len(self._check().now)

    def pread(self, position: int, size: int) -> bytes:
        """See File.pread."""
        inode = self._check()
        self._disk.operation("read", self.name, position, size)
        return bytes(inode.now[position : position + size])

    def pwrite(self, position: int, parts: list[bytes]) -> None:
        """See File.pwrite."""
        inode = self._check()
        data = b"".join(parts)
        self._disk.make_room(len(inode.now), position + len(data))
        try:
            self._disk.operation("write", self.name, position, len(data))
        except Crashed:
            inode.write(position, data)  # on its way: the crash decides what of it stays
            raise
        for monitor in self._disk.monitors:
            monitor(self.name, position, data)
        inode.write(position, data)

    def truncate(self, size: int) -> None:
        """See File.truncate."""
        inode = self._check()
        self._disk.make_room(len(inode.now), size)
        self._disk.operation("truncate", self.name, size)
        self._disk.used -= max(0, len(inode.now) - size)
        inode.truncate(size)

    def sync(self) -> None:
        """See File.sync."""
        self._check()
        self.begin_sync()()

    def begin_sync(self) -> Callable[[], None]:
        """What ends the sync that begins now: only what is written by now becomes durable with it."""
        inode = self._inode
        sectors = set(inode.dirty)

        def end() -> None:
            try:
                self._disk.operation("sync", self.name)
            except OSError:
                inode.dirty -= sectors
                inode.lost |= sectors
                raise
            inode.synced(sectors)

        return end

    def close(self) -> None:
        """See File.close."""
        self.closed = True


class SimulatedDisk:
    """See the module. Everything that happens is noted in the loop's trace."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop
        self._inodes = 0
        self._names: dict[str, _Inode] = {}
        self._durable_names: dict[str, _Inode] = {}
        self._unsynced_names: list[tuple[str, _Inode, str]] = []  # ("link" | "rename" | "unlink"), inode, name (old name, NUL, new name)
        self._lanes: dict[str, list[_Job]] = {}  # those with work
        self._reads = 0
        self._life = 0  # of the machine: completions of an earlier one never arrive
        self.commit_s = COMMIT_S
        self.operations = 0
        self.crash_after = 0  # operations from now; 0: never
        self.fail_next: dict[str, int] = {}  # kind of operation -> errno
        self.capacity = UNLIMITED
        self.used = 0
        self.is_down = False
        self.monitors: list[Callable[[str, int, bytes], None]] = []  # told of every write: (name, position, data); may raise

    # ---- faults

    def operation(self, kind: str, *words: object) -> None:
        """One is about to take effect: it may be the one that fails, or that the crash comes in."""
        if self.is_down:
            raise Crashed(kind)
        self.operations += 1
        self._loop.note(kind, *words)
        if self.crash_after and kind != "read":
            self.crash_after -= 1
            if not self.crash_after:
                self.is_down = True
                raise Crashed(kind)
        failure = self.fail_next.pop(kind, 0)
        if failure:
            raise OSError(failure, os.strerror(failure))

    def make_room(self, size: int, wanted: int) -> None:
        """A file of `size` grows to `wanted`, or ENOSPC."""
        grown = max(0, wanted - size)
        if self.used + grown > self.capacity:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.used += grown

    def kill(self) -> None:
        """The process is gone: open files and submitted work with it. What was written is still there, and still not synced."""
        self._life += 1
        self._lanes = {}
        self.is_down = False
        self.crash_after = 0
        self.fail_next.clear()
        self._loop.note("kill")

    def crash(self) -> None:
        """The machine goes down, and comes up again with what the disk kept. Open files and submitted work are gone."""
        chance = self._loop.random
        self.kill()
        count = len(self._unsynced_names)
        if chance.random() < 0.5:
            kept = self._unsynced_names[: chance.randint(0, count)]
        else:
            kept = [change for change in self._unsynced_names if chance.random() < 0.5]
        for change in kept:
            _apply(self._durable_names, *change)
        self._unsynced_names = []
        self._names = dict(self._durable_names)
        for _, inode in sorted({inode.number: inode for inode in self._names.values()}.items()):
            inode.crash(chance)
        self.used = sum(len(inode.now) for inode in self._names.values())
        self._loop.note("crash", len(kept), count, self.used)

    # ---- Disk

    def open(self, name: str, *, create: bool = False) -> SimulatedFile:
        """See Disk.open."""
        if create:
            if name in self._names:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)
            self.operation("create", name)
            self._inodes += 1
            self._change("link", _Inode(self._inodes), name)
        elif name not in self._names:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        elif self.is_down:
            raise Crashed("open")
        return SimulatedFile(self, name, self._names[name])

    def names(self) -> list[str]:
        """See Disk.names."""
        return sorted(self._names)

    def rename(self, old: str, new: str) -> None:
        """See Disk.rename."""
        if old not in self._names:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), old)
        self.operation("rename", old, new)
        self._change("rename", self._names[old], f"{old}\0{new}")

    def remove(self, name: str) -> None:
        """See Disk.remove."""
        if name not in self._names:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        self.operation("remove", name)
        self.used -= len(self._names[name].now)
        self._change("unlink", self._names[name], name)

    def sync_directory(self) -> None:
        """See Disk.sync_directory."""
        self.operation("sync_directory")
        self._unsynced_names = []
        self._durable_names = dict(self._names)

    def free_bytes(self) -> int:
        """See Disk.free_bytes."""
        return self.capacity - self.used

    def commit(self, file: SimulatedFile, position: int, parts: list[bytes], *, sync: bool, done: Done) -> None:
        """See Disk.commit: written at one moment, synced at a later one."""
        started = self._loop.time()
        ends: list[Callable[[], None]] = []

        def write() -> float:
            file.pwrite(position, parts)
            if sync:
                ends.append(file.begin_sync())
            return self._loop.time() - started

        def end() -> float:
            for end_sync in ends:
                end_sync()
            return self._loop.time() - started

        self._submit("commit", _Job([write, end] if sync else [write], self.commit_s, done))

    def read(self, file: SimulatedFile, position: int, size: int, done: Done) -> None:
        """See Disk.read: no order between them."""
        self._reads += 1
        self._submit(f"read {self._reads}", _Job([lambda: file.pread(position, size)], READ_S, done))

    def read_many(self, reads: list[tuple[SimulatedFile, int, int]], done: Done) -> None:
        """See Disk.read_many."""
        self._reads += 1
        self._submit(f"read {self._reads}", _Job([lambda: [file.pread(position, size) for file, position, size in reads]], READ_S, done))

    def read_apart(self, reads: list[tuple[SimulatedFile, int, int, int]], done: Done) -> None:
        """See Disk.read_apart."""
        self._reads += 1

        def step() -> list[tuple[bytes, bytes]]:
            return [(file.pread(position, head), file.pread(position + head, size - head)) for file, position, head, size in reads]

        self._submit(f"read {self._reads}", _Job([step], READ_S, done))

    def background(self, work: Callable[[], Any], done: Done) -> None:
        """See Disk.background: the work happens at one moment, is reported at a later one."""
        results: list[Any] = []
        self._submit("background", _Job([lambda: results.append(work()), lambda: results[0]], BACKGROUND_S, done))

    def uncache(self, name: str) -> None:
        """See Disk.uncache: nothing is cached here."""

    def close(self) -> None:
        """See Disk.close: what was submitted is done at once; its completions do not arrive."""
        lanes = list(self._lanes.values())
        self._lanes = {}
        self._life += 1
        for lane in lanes:
            for job in lane:
                for step in job.steps:
                    step()

    # ---- lanes

    def _submit(self, name: str, job: _Job) -> None:
        lane = self._lanes.setdefault(name, [])
        lane.append(job)
        if len(lane) == 1:
            self._step_later(name, job)

    def _step_later(self, name: str, job: _Job) -> None:
        self._loop.call_later(self._loop.random.uniform(*job.delay_s), self._step, name, job, self._life)

    def _step(self, name: str, job: _Job, life: int) -> None:
        """The first job of a lane takes its next step; after its last it is reported, and the one behind it begins."""
        if life != self._life:
            return
        error: BaseException | None = None
        result: Any = None
        try:
            result = job.steps.pop(0)()
        except Exception as failure:  # but not Crashed: that comes out of the loop
            error = failure
        if job.steps and error is None:
            self._step_later(name, job)
            return
        lane = self._lanes[name]
        lane.pop(0)
        if error is not None and name == "commit":
            for behind in lane:
                self._loop.call_soon(behind.done, None, error)
            lane.clear()
        if lane:
            self._step_later(name, lane[0])
        else:
            del self._lanes[name]
        job.done(result, error)

    def _change(self, kind: str, inode: _Inode, name: str) -> None:
        self._unsynced_names.append((kind, inode, name))
        _apply(self._names, kind, inode, name)


def _apply(names: dict[str, _Inode], kind: str, inode: _Inode, name: str) -> None:
    """One change of a directory, as far as it fits there."""
    if kind == "link":
        names[name] = inode
    elif kind == "unlink":
        if names.get(name) is inode:
            del names[name]
    else:
        old, _, new = name.partition("\0")
        if names.get(old) is inode:
            del names[old]
        names[new] = inode
