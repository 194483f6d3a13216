"""Scratch files: where volatile logs' blocks lie that do not fit into memory. Never synced, gone at the next start."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

FILE_SIZE = 64 * 1024 * 1024
_PREFIX = "scratch-"


class _ScratchFile:
    """A file with the number of blocks alive in it, reads and writes under way included."""

    def __init__(self, file: Any, name: str) -> None:
        self.file = file
        self.name = name
        self.end = 0
        self.used = 0


class Block:
    """A run of encoded entries in a scratch file."""

    __slots__ = ("latest_ms", "place", "position", "size")

    def __init__(self, place: _ScratchFile, position: int, size: int, latest_ms: int) -> None:
        self.place = place
        self.position = position
        self.size = size
        self.latest_ms = latest_ms  # the greatest time of its entries


class Scratch:
    """The scratch files of one directory; `disk` is the local store's Disk contract. Left-overs are removed at once."""

    def __init__(self, disk: Any) -> None:
        self._disk = disk
        self._number = 0
        self._files: list[_ScratchFile] = []
        for name in disk.names():
            if name.startswith(_PREFIX):
                disk.remove(name)

    def write(self, parts: list[bytes], size: int, latest_ms: int, done: Callable[[Block, BaseException | None], None]) -> Block:
        """Write a block in the background; done(block, error)."""
        if not self._files or self._files[-1].end >= FILE_SIZE:
            self._number += 1
            name = f"{_PREFIX}{self._number:08d}"
            self._files.append(_ScratchFile(self._disk.open(name, create=True), name))
        place = self._files[-1]
        block = Block(place, place.end, size, latest_ms)
        place.end += size
        place.used += 2
        self._disk.background(partial(place.file.pwrite, block.position, parts), partial(self._written, block, done))
        return block

    def read(self, block: Block, done: Callable[[Block, bytes, BaseException | None], None]) -> None:
        """Read a block; done(block, data, error)."""
        block.place.used += 1
        self._disk.read(block.place.file, block.position, block.size, partial(self._have, block, done))

    def release(self, block: Block) -> None:
        """Nothing in the block is alive; its file goes with its last block."""
        self._free(block.place)

    def size(self) -> int:
        """Bytes of the files."""
        return sum(place.end for place in self._files)

    def close(self) -> None:
        """Remove the files."""
        for place in self._files:
            place.file.close()
            self._disk.remove(place.name)
        self._files = []

    def _written(self, block: Block, done: Callable[[Block, BaseException | None], None], _result: object, error: BaseException | None) -> None:
        self._free(block.place)
        done(block, error)

    def _have(self, block: Block, done: Callable[[Block, bytes, BaseException | None], None], data: bytes, error: BaseException | None) -> None:
        self._free(block.place)
        done(block, data, error)

    def _free(self, place: _ScratchFile) -> None:
        place.used -= 1
        if place.used == 0 and place in self._files:
            if place is self._files[-1]:
                place.end = 0  # stays, to be written again
                return
            self._files.remove(place)
            place.file.close()
            self._disk.background(partial(self._disk.remove, place.name), _ignore)


def _ignore(_result: object, _error: BaseException | None) -> None:
    """A file that cannot be removed now is removed at the next start."""
