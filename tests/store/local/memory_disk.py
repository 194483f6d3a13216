"""A disk in memory behind the store's contract: work of the lanes runs when the test says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class MemoryFile:
    def __init__(self, name: str, data: bytearray) -> None:
        self.name = name
        self.data = data

    def size(self) -> int:
        return len(self.data)

    def pread(self, position: int, size: int) -> bytes:
        return bytes(self.data[position : position + size])

    def pwrite(self, position: int, parts: list[bytes]) -> None:
        data = b"".join(parts)
        if position > len(self.data):
            self.data.extend(bytes(position - len(self.data)))
        self.data[position : position + len(data)] = data

    def truncate(self, size: int) -> None:
        del self.data[size:]
        self.data.extend(bytes(size - len(self.data)))

    def sync(self) -> None:
        pass

    def close(self) -> None:
        pass


class MemoryDisk:
    """Files by name. run() works off what the lanes hold; `fail` makes the next operation of that kind fail; `reads` are (name, position, size)."""

    def __init__(self) -> None:
        self.files: dict[str, bytearray] = {}
        self.pending: list[tuple[Callable[[], Any], Callable[[Any, BaseException | None], None]]] = []
        self.reads: list[tuple[str, int, int]] = []
        self.syncs = 0
        self.free = 1 << 40

    def open(self, name: str, *, create: bool = False) -> MemoryFile:
        if create:
            if name in self.files:
                raise FileExistsError(name)
            self.files[name] = bytearray()
        elif name not in self.files:
            raise FileNotFoundError(name)
        return MemoryFile(name, self.files[name])

    def names(self) -> list[str]:
        return sorted(self.files)

    def rename(self, old: str, new: str) -> None:
        self.files[new] = self.files.pop(old)

    def remove(self, name: str) -> None:
        del self.files[name]

    def sync_directory(self) -> None:
        self.syncs += 1

    def free_bytes(self) -> int:
        return self.free

    def commit(self, file: MemoryFile, position: int, parts: list[bytes], *, sync: bool, done: Any) -> None:
        self.background(lambda: file.pwrite(position, parts), done)

    def read(self, file: MemoryFile, position: int, size: int, done: Any) -> None:
        self.reads.append((file.name, position, size))
        self.background(lambda: file.pread(position, size), done)

    def read_many(self, reads: list[tuple[MemoryFile, int, int]], done: Any) -> None:
        self.reads += [(file.name, position, size) for file, position, size in reads]
        self.background(lambda: [file.pread(position, size) for file, position, size in reads], done)

    def read_apart(self, reads: list[tuple[MemoryFile, int, int, int]], done: Any) -> None:
        self.reads += [(file.name, position, size) for file, position, _, size in reads]
        self.background(lambda: [(file.pread(position, head), file.pread(position + head, size - head)) for file, position, head, size in reads], done)

    def background(self, work: Callable[[], Any], done: Any) -> None:
        self.pending.append((work, done))

    def run(self) -> None:
        """Until nothing is pending."""
        while self.pending:
            work, done = self.pending.pop(0)
            try:
                result = work()
            except OSError as error:
                done(None, error)
            else:
                done(result, None)

    def close(self) -> None:
        self.run()


class MemoryLoop:
    """A scheduler whose time moves when the test says so."""

    def __init__(self, disk: MemoryDisk) -> None:
        self.disk = disk
        self.ready: list[tuple[Callable[..., object], tuple[Any, ...]]] = []
        self.now = 0.0

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        self.ready.append((callback, args))

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> None:
        raise NotImplementedError

    def time(self) -> float:
        return self.now

    def run(self) -> None:
        while self.ready or self.disk.pending:
            ready, self.ready = self.ready, []
            for callback, args in ready:
                callback(*args)
            if not self.ready:
                self.disk.run()
