"""Disk: the only way the local store touches files. The real one is below this contract; the simulator has another.

Names are plain file names within the store's one directory. Blocking calls are for opening, recovery and closing; while serving,
everything goes through the three lanes, whose completions arrive on the loop in the order of submission within a lane:

    COMMIT       the journal's writes and syncs, one at a time (the committer thread); after one fails, those behind it fail too, not attempted
    BACKGROUND   segments, checkpoints, zeroing ahead, directory syncs
    READ         cold reads (several threads; no order between them)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class File(Protocol):
    """An open file. Positions and sizes are bytes. Errors are OSError."""

    name: str

    def size(self) -> int:
        """The file's size now."""

    def pread(self, position: int, size: int) -> bytes:
        """Up to `size` bytes at `position`; short only at the end of the file."""

    def pwrite(self, position: int, parts: list[bytes]) -> None:
        """Write all parts one behind the other (short writes are continued)."""

    def truncate(self, size: int) -> None:
        """Cut or extend (with zeroes) to `size`."""

    def sync(self) -> None:
        """fdatasync (macOS: F_FULLFSYNC): what was written is durable when it returns."""

    def close(self) -> None:
        """Release the descriptor; idempotent."""


Done = Callable[[Any, BaseException | None], None]
"""done(result, error): called on the loop; exactly one of the two is meaningful."""


class Disk(Protocol):
    """One directory and the lanes to it."""

    def open(self, name: str, *, create: bool = False) -> File:
        """Open for reading and writing; `create` makes a new, empty file and fails if it exists."""

    def names(self) -> list[str]:
        """Every file's name, sorted."""

    def rename(self, old: str, new: str) -> None:
        """Atomic; durable after sync_directory()."""

    def remove(self, name: str) -> None:
        """Durable after sync_directory()."""

    def sync_directory(self) -> None:
        """Makes creates, renames and removes durable."""

    def free_bytes(self) -> int:
        """What is free for us on the file system."""

    def commit(self, file: File, position: int, parts: list[bytes], *, sync: bool, done: Done) -> None:
        """COMMIT lane: write all parts at `position`, then fdatasync if `sync`; one section without the GIL. result: seconds it took."""

    def read(self, file: File, position: int, size: int, done: Done) -> None:
        """READ lane: pread. result: bytes."""

    def read_many(self, reads: list[tuple[File, int, int]], done: Done) -> None:
        """READ lane, as one job: pread(position, size) of each (file, position, size). result: list[bytes], in their order."""

    def read_apart(self, reads: list[tuple[File, int, int, int]], done: Done) -> None:
        """READ lane, as one job: pread(position, size) of each (file, position, head size, size), in two pieces, the first as long as the head, so that
        what is behind it lies by itself. result: list[tuple[bytes, bytes]], in their order."""

    def background(self, work: Callable[[], Any], done: Done) -> None:
        """BACKGROUND lane: run `work` (blocking File and Disk calls, SQLite; short interpreted stretches only). result: what it returned."""

    def uncache(self, name: str) -> None:
        """A hint, blocking: the system need not keep in memory what it has of a file that is synced. Errors are of no consequence."""

    def close(self) -> None:
        """Finish the lanes (all submitted work done), release the directory lock."""
