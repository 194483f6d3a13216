"""verify: read everything a data directory holds and check every checksum, order and reference. Changes nothing.

It goes through the disk contract, so a simulated disk is checked as a real one is. What is found is data, not an exception: the report
names file, position and what is wrong. Whether the store would open is the same question for the journal: a torn tail is not damage.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from entrepot.model.entry import StoredEntry
from entrepot.model.errors import CorruptData
from entrepot.model.printable import printable
from entrepot.store.local.checkpoint import CHECKPOINT_NAME, IMAGE_NAME, AdoptedRow, Checkpoint, Checkpointed, ImageCheckpoint, SegmentRow, SqliteCheckpoint
from entrepot.store.local.disk import Disk, File
from entrepot.store.local.journal import FILE_HEADER_SIZE
from entrepot.store.local.posix_disk import PosixDisk
from entrepot.store.local.recovery import Scan, find_covering
from entrepot.store.local.ring import PREFIX, journal_name, read_header
from entrepot.store.local.segment import (
    FOOTER_SIZE,
    HEAD_SIZE,
    HEADER_SIZE,
    Piece,
    Reference,
    SegmentIndex,
    check_header,
    decode_referred,
    frame_size,
    index_place,
    load_index,
    parse_frames,
)
from entrepot.store.local.segments import said_id, segment_name

READ_SIZE = 1 << 20
Progress = Callable[[str, int, int], None]
"""on_progress(what, done, total), in bytes."""


@dataclass
class Damage:
    """One thing that is wrong: the file, where in it (-1: all of it), and what."""

    file: str
    position: int
    what: str

    def __str__(self) -> str:
        place = f" at {self.position}" if self.position >= 0 else ""
        return f"{self.file}{place}: {self.what}"


@dataclass
class Missing:
    """Offsets [first, end) of a log are not there any more."""

    log: bytes
    first: int
    end: int

    def __str__(self) -> str:
        return f"log {self.log.hex()}: offsets {self.first} to {self.end - 1}"


@dataclass
class Report:
    """What was read, and what is wrong with it."""

    damages: list[Damage] = field(default_factory=list)
    files: int = 0
    size: int = 0  # bytes read
    commits: int = 0
    entries: int = 0  # in segments
    torn_tail: str = ""  # where the journal ends in a commit that was never acknowledged; not damage
    moved: list[str] = field(default_factory=list)  # by quarantine
    missing: list[Missing] = field(default_factory=list)  # found by quarantine
    is_mended: bool = False  # quarantine has set all of it aside
    cannot_mend: str = ""  # why quarantine has not

    @property
    def is_whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.damages

    def __str__(self) -> str:
        lines = [f"{self.files} files, {self.size:,} bytes: {self.commits:,} commits in the journal, {self.entries:,} entries in segments"]
        if self.torn_tail:
            lines.append(f"The last write was cut off, at {self.torn_tail}. It was never acknowledged; the broker leaves it out when it starts.")
        lines += [f"DAMAGED {damage}" for damage in self.damages]
        lines += [f"moved to quarantine: {name}" for name in self.moved]
        lines += [f"missing from now on: {missing}" for missing in self.missing]
        if not self.damages:
            lines.append("Everything is whole.")
        elif self.cannot_mend:
            lines.append(f"Not mended: {self.cannot_mend}")
        elif not self.is_mended:
            lines.append("Stop here and keep a copy. 'entrepot store quarantine DIR' sets the damaged parts aside, so that the broker starts without them.")
        return "\n".join([printable(line) for line in lines])


def verify(where: str | Path | Disk, on_progress: Progress | None = None) -> Report:
    """Check a data directory (or a disk) that no broker runs on. Raises OSError, Refused (in use)."""
    if isinstance(where, (str, Path)):
        disk: Any = PosixDisk(str(where), None)
        try:
            return Verification(disk, on_progress).run()
        finally:
            disk.close()
    return Verification(where, on_progress).run()


class Verification:
    """One run over a disk; what it learns is used by quarantine too."""

    def __init__(self, disk: Disk, on_progress: Progress | None) -> None:
        self.disk = disk
        self.report = Report()
        self.checkpoint = Checkpointed({}, [], [], [], [])
        self.bad_segments: list[SegmentRow] = []
        self.bad_journal: tuple[int, str, int, int] | None = None  # life, name, position and sequence of the commit that is missing
        self.checkpoint_is_bad = False
        self.last_sequence = 0  # of the last commit that stands in the chain
        self._progress = on_progress

    def run(self) -> Report:
        """Everything."""
        self.check_checkpoint()
        for row in self.checkpoint.segments:
            before = len(self.report.damages)
            self.check_segment(row)
            if len(self.report.damages) > before:
                self.bad_segments.append(row)
        self.check_journal(self.checkpoint.meta.get("covered", 0))
        return self.report

    # -- checkpoint ------------------------------------------------------------------------------------------------------------

    def check_checkpoint(self) -> None:
        """The checkpoint itself; its content is then known."""
        names = self.disk.names()
        path = getattr(self.disk, "path", None)
        name = IMAGE_NAME if path is None else CHECKPOINT_NAME
        if name not in names:
            return
        self.report.files += 1
        try:
            checkpoint: Checkpoint = ImageCheckpoint(self.disk, read_only=True) if path is None else SqliteCheckpoint(path, read_only=True)
        except (CorruptData, OSError) as error:
            self._bad_checkpoint(name, error)
            return
        try:
            for problem in checkpoint.problems():
                self.checkpoint_is_bad = True
                self.report.damages.append(Damage(name, -1, problem))
            self.checkpoint = checkpoint.load()
        except (CorruptData, OSError) as error:
            if not self.checkpoint_is_bad:
                self._bad_checkpoint(name, error)
        finally:
            checkpoint.close()

    def _bad_checkpoint(self, name: str, error: BaseException) -> None:
        self.checkpoint_is_bad = True
        self.report.damages.append(Damage(name, -1, _without_name(name, error)))

    # -- segments --------------------------------------------------------------------------------------------------------------

    def check_segment(self, row: SegmentRow) -> None:
        """A segment that the checkpoint names."""
        name = segment_name(row.id)
        try:
            file = self.disk.open(name)
        except OSError as error:
            self.report.damages.append(Damage(name, -1, f"the checkpoint names it, but: {error.strerror or error}"))
            return
        self.report.files += 1
        body = file
        try:
            if row.adopted is not None:
                body = self._adopted(row.adopted)
            index = read_index(name, file)
            if index.segment_id != said_id(row):
                self.report.damages.append(Damage(name, -1, f"is segment {index.segment_id} by its footer; was the file renamed?"))
                return
            position = HEADER_SIZE
            for number in range(index.piece_count):
                piece = index.piece(number)
                if piece.position != position:
                    self.report.damages.append(Damage(name, position, "bytes that belong to no log"))
                position = piece.position + piece.size
                for damage in check_piece(name, file, body, index, piece, self._count):
                    self.report.damages.append(damage)
                self._tell(name, position, row.size)
            self.report.size += row.size + (row.adopted.size if row.adopted is not None else 0)
        except CorruptData as error:
            self.report.damages.append(Damage(name, -1, _without_name(name, error)))
        except OSError as error:
            self.report.damages.append(Damage(name, -1, f"cannot be read: {error}"))
        finally:
            file.close()
            if body is not file:
                body.close()

    def _adopted(self, row: AdoptedRow) -> File:
        """The journal file that a segment refers to. Raises CorruptData, OSError."""
        name = journal_name(row.slot)
        try:
            file = self.disk.open(name)
        except OSError as error:
            raise CorruptData(f"the journal file that it refers to, {name}: {error.strerror or error}") from error
        self.report.files += 1
        header = read_header(file, name)
        if header is None or header.life != row.number or header.salt != row.salt:
            self.report.damages.append(Damage(name, 0, f"its header is damaged, or it is not life {row.number} of the journal any more"))
        return file

    def _count(self, entries: list[StoredEntry]) -> None:
        self.report.entries += len(entries)

    # -- journal ---------------------------------------------------------------------------------------------------------------

    def adopted_names(self) -> set[str]:
        """Journal files that are parts of segments."""
        return {journal_name(row.adopted.slot) for row in self.checkpoint.segments if row.adopted is not None}

    def check_journal(self, covered: int) -> None:
        """The chain of lives, as opening the store walks it; a commit up to `covered` that is not there is damage."""
        first_life = self.checkpoint.journals[0].number if self.checkpoint.journals else 0
        data_of: dict[str, bytes] = {}
        lives = {}
        adopted = self.adopted_names()
        for name in self.disk.names():
            if not name.startswith(PREFIX) or name in adopted:
                continue
            file = self.disk.open(name)
            try:
                header = read_header(file, name)
                data_of[name] = file.pread(0, file.size())
            except CorruptData as error:
                self.report.damages.append(Damage(name, 0, _without_name(name, error)))
                continue
            except OSError as error:
                self.report.damages.append(Damage(name, -1, f"cannot be read: {error}"))
                continue
            finally:
                file.close()
            self.report.files += 1
            self.report.size += len(data_of[name])
            self._tell(name, len(data_of[name]), len(data_of[name]))
            if header is not None:
                lives[header.life] = (name, header)
        chain: list[tuple[str, Any]] = []
        life = max(lives, default=0)
        while life >= max(1, first_life):
            if life not in lives:
                name = chain[0][0]
                self.report.damages.append(Damage(name, 0, f"the journal file before it (life {life}) is missing, or its header is damaged"))
                self.bad_journal = (life, "", 0, chain[0][1].first_sequence)
                break
            if chain and lives[life][1].salt != chain[0][1].previous_salt:
                self.report.damages.append(Damage(lives[life][0], 0, f"its salt is not the one that {chain[0][0]} names"))
                self.bad_journal = (life, "", 0, chain[0][1].first_sequence)
                break
            chain.insert(0, lives[life])
            life = chain[0][1].previous_life
        if not chain:
            if first_life:
                self.report.damages.append(Damage(PREFIX, -1, f"the journal file of life {first_life}, which the checkpoint names, is missing"))
                self.bad_journal = (first_life, "", 0, covered + 1)
            return
        if self.bad_journal is None:
            self._walk(chain, data_of, covered)

    def _walk(self, chain: list[tuple[str, Any]], data_of: dict[str, bytes], covered: int) -> None:
        sequence = chain[0][1].first_sequence
        check = chain[0][1].chain
        for place, (name, header) in enumerate(chain):
            data = data_of[name]
            scan = Scan(name, data, FILE_HEADER_SIZE, header.salt, sequence, check)
            stop = chain[place + 1][1].first_sequence if place + 1 < len(chain) else 0
            while scan.sequence != stop and scan.advance():
                self.report.commits += 1
            sequence, check = scan.sequence, scan.chain
            self.last_sequence = sequence - 1
            if sequence == stop:
                continue
            # Nothing stands here that belongs: damage if something says that it was synced, else a torn tail.
            witness = "the checkpoint covers it" if sequence <= covered else ""
            before = {other for other, _ in chain[:place]}
            for other, content in data_of.items():
                if other not in before and not witness:
                    found = find_covering(content, scan.position if other == name else 0, sequence)
                    witness = f"{other} at {found} says that it was synced" if found >= 0 else ""
            if witness:
                self.report.damages.append(Damage(name, scan.position, f"commit {sequence} is damaged or missing; {witness}"))
                self.bad_journal = (header.life, name, scan.position, sequence)
            elif data[scan.position : scan.position + 4] == b"EJC1" and int.from_bytes(data[scan.position + 24 : scan.position + 32], "little") == header.salt:
                self.report.torn_tail = f"{name} at {scan.position}"
            return

    def _tell(self, what: str, done: int, total: int) -> None:
        if self._progress is not None:
            self._progress(what, done, total)


def read_index(name: str, file: File) -> SegmentIndex:
    """A segment's index, its header and footer checked. Raises CorruptData."""
    check_header(name, file.pread(0, HEADER_SIZE))
    size = file.size()
    footer = file.pread(max(0, size - FOOTER_SIZE), FOOTER_SIZE)
    position, index_size = index_place(name, size, footer)
    return load_index(name, footer, file.pread(position, index_size))


def check_piece(name: str, file: File, body: File, index: SegmentIndex, piece: Piece, take: Callable[[list[StoredEntry]], object]) -> list[Damage]:
    """Read a piece step by step; take(entries) for what is whole of each step. A bad entry costs the rest of its step.

    `body` is the file that references are to.
    """
    damages = []
    for number in range(piece.step_first, piece.step_first + piece.step_count):
        _, position, _ = index.step(number)
        last = number + 1 == piece.step_first + piece.step_count
        end = piece.position + piece.size if last else index.step(number + 1)[1]
        entries: list[StoredEntry | None] = []
        try:
            while position < end:
                position = _read_frames(name, file, body, piece, position, end, entries)
        except CorruptData as error:
            damages.append(Damage(name, position, _without_name(name, error)))
        found = [stored for stored in entries if stored is not None]
        before = piece.first
        for stored in found:
            if stored.base < before or stored.base + stored.entry.span > piece.end:
                damages.append(Damage(name, position, f"offset {stored.base} is out of order in log {piece.key[4:].hex()}"))
            before = stored.base + stored.entry.span
        take(found)
    return damages


def _read_frames(name: str, file: File, body: File, piece: Piece, position: int, end: int, entries: list[StoredEntry | None]) -> int:
    """Decode frames from `position` on, at least one; where the next begins. Raises CorruptData; `entries` then has what came before."""
    data = file.pread(position, min(READ_SIZE, end - position))
    references: list[Reference] = []
    try:
        consumed = parse_frames(name, position, data, 0, 1 << 63, 1 << 62, entries, references)
        if consumed == 0:
            whole = frame_size(name, position, data, 0) if len(data) >= HEAD_SIZE else end
            if whole > end - position:
                raise CorruptData(f"{name}: the frame at position {position} of log {piece.key[4:].hex()} is cut")
            data = file.pread(position, whole)
            consumed = parse_frames(name, position, data, 0, 1 << 63, 1 << 62, entries, references)
            if consumed != whole:
                raise CorruptData(f"{name}: the frame at position {position} of log {piece.key[4:].hex()} is cut")
    finally:
        for place, base, at, size in references:
            entries[place] = decode_referred(body.name, at, base, body.pread(at, size), 0, size)
    return position + consumed


def _without_name(name: str, error: BaseException) -> str:
    text = str(error)
    return text[len(name) :].lstrip(": ").removesuffix("; run 'entrepot store verify'") if text.startswith(name) else text
