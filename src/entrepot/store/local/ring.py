"""JournalRing: the journal's files, used in turn. Which one the next commit goes to, which are ready, which wait to be sorted.

A file's use is a life: numbered, with a salt of its own. Files are zeroed ahead once, small ones before there is traffic, then reused whole. Where none is
ready the commit goes to a new file that grows as it is written; while commits are large no file is zeroed, since one that grows costs them little,
and most of it will stay: see Sorter.
"""

from __future__ import annotations

from functools import partial

from entrepot.entropy import Entropy
from entrepot.model.errors import CorruptData
from entrepot.store.local.disk import Disk, File
from entrepot.store.local.journal import FILE_HEADER_SIZE, FileHeader, decode_file_header, encode_file_header
from entrepot.store.local.settings import StoreSettings

PREFIX = "journal-"
POSITION_MAX = (1 << 32) - 1
_SMALL_MAX = 16  # commits that are not large, in a file that grows, after which others are zeroed ahead


def journal_name(slot: int) -> str:
    """The name of the file with that number."""
    return f"{PREFIX}{slot:08d}"


def slot_of(name: str) -> int:
    """The number in a journal file's name. Raises CorruptData if that is none."""
    try:
        return int(name[len(PREFIX) :])
    except ValueError:
        raise CorruptData(f"{name}: not a journal file's name; move it out of the directory") from None


class JournalFile:
    """One life of a file, of up to `capacity` octets.

    `end` is where the next commit goes; `pins` counts reads under way, `grows`: written behind its end, not over octets.
    """

    __slots__ = ("capacity", "end", "file", "first_sequence", "grows", "is_adopted", "life", "name", "pins", "salt")

    def __init__(self, name: str, file: File, life: int, salt: int, first_sequence: int, end: int) -> None:
        self.name = name
        self.file = file
        self.life = life
        self.salt = salt
        self.first_sequence = first_sequence
        self.end = end
        self.capacity = 0
        self.pins = 0
        self.grows = False
        self.is_adopted = False  # its entries are read through a segment


class JournalRing:
    """The files in order of life: `lives`, the last of which is written to; `ready` ones have no life yet."""

    def __init__(self, disk: Disk, entropy: Entropy, settings: StoreSettings) -> None:
        self._disk = disk
        self._entropy = entropy
        self._settings = settings
        self.lives: dict[int, JournalFile] = {}
        self.current: JournalFile | None = None
        self.ready: list[tuple[str, File]] = []
        self.empty: list[tuple[str, File]] = []  # made ahead, to grow
        self.retired: list[JournalFile] = []
        self.next_life = 1
        self._next_slot = 1
        self.preparing = False
        self._sealed = False
        self._is_bulk = False  # commits are large
        self._small_count = 0  # small commits in the current file, which grows
        self._ahead_size = min(settings.journal_first_file_size, settings.journal_file_size)  # of the next that is zeroed ahead

    def adopt(self, journal_file: JournalFile) -> None:
        """Recovery: a life of the chain, in order."""
        self.lives[journal_file.life] = journal_file
        self.current = journal_file
        self._learn(journal_file.end)
        self.next_life = max(self.next_life, journal_file.life + 1)

    def adopt_free(self, name: str, file: File) -> None:
        """Recovery: a file that is in no chain; it may be reused."""
        self.ready.append((name, file))

    def forget_after(self, life: int) -> None:
        """Recovery: what later lives held has been copied; their files may be reused."""
        for later in [number for number in self.lives if number > life]:
            gone = self.lives.pop(later)
            self.ready.append((gone.name, gone.file))
        self.current = self.lives.get(life)

    def seal_current(self) -> None:
        """Recovery: nothing is written to the files that were found; the first commit starts a new life."""
        self._sealed = True

    def note_slot(self, name: str) -> None:
        """Recovery: a name that is taken."""
        self._next_slot = max(self._next_slot, slot_of(name) + 1)

    def fits(self, size: int) -> bool:
        """Whether `size` bytes more still go to the current file: one that grows syncs at half the speed, and is left when another is ready."""
        current = self.current
        if current is None or self._sealed or (current.grows and self.ready):
            return False
        if current.grows and size < self._settings.journal_bulk_commit_size:
            self._small_count += 1
            if self._small_count == _SMALL_MAX:
                self._is_bulk = False
                self.prepare()
        return current.end + size <= current.capacity

    def rotate(self, sequence: int, chain: int) -> bytes:
        """Start a new life with the commit `sequence`; the file header, to be written before that commit at position 0."""
        previous = self.current
        if previous is not None:
            self._is_bulk = previous.end >= self._settings.journal_bulk_commit_size * max(1, sequence - previous.first_sequence)
            self._learn(previous.end)
        self._small_count = 0
        grows = not self.ready
        if self.ready:
            name, file = self.ready.pop(0)
        elif self.empty:
            name, file = self.empty.pop(0)
        else:
            name, file = self.create_file()
            self._disk.sync_directory()
        life = self.next_life
        self.next_life = life + 1
        salt = int.from_bytes(self._entropy.octets(8), "little")
        header = FileHeader(life, salt, previous.life if previous else 0, previous.salt if previous else 0, sequence, chain)
        self._sealed = False
        self.current = self.lives[life] = JournalFile(name, file, life, salt, sequence, FILE_HEADER_SIZE)
        self.current.grows = grows
        at_least = self._settings.journal_file_size
        self.current.capacity = file.size() if not grows else max(at_least, self._settings.journal_bulk_file_size) if self._is_bulk else at_least
        return encode_file_header(header)

    def _learn(self, size: int) -> None:
        """So much came into one file. If that is traffic, those zeroed ahead have full size from now on: any between would be zeroed to be thrown away."""
        if size > self._ahead_size // 2:
            self._ahead_size = self._settings.journal_file_size

    def create_file(self) -> tuple[str, File]:
        """A new, empty file; its directory is not synced yet."""
        name = self._take_name()
        return name, self._disk.open(name, create=True)

    def prepare(self) -> None:
        """Zero one file ahead in the background, if there are too few; in bulk only make one."""
        if self.preparing:
            return
        if self._is_bulk:
            if not self.ready and not self.empty:
                self.preparing = True
                self._disk.background(partial(self._make, self._take_name()), self._made)
            return
        if len(self.ready) >= self._settings.journal_ready_files:
            return
        self.preparing = True
        name = self._take_name()
        size = self._ahead_size

        def work() -> File:
            if self._disk.free_bytes() < size + self._settings.reserve_size:
                raise OSError(28, "not enough disk to prepare a journal file")
            file = self._disk.open(name, create=True)
            zeroes = bytes(min(size, 1 << 20))
            position = 0
            while position < size:
                step = min(len(zeroes), size - position)
                file.pwrite(position, [zeroes[:step]])
                position += step
            file.sync()
            self._disk.sync_directory()
            return file

        self._disk.background(work, lambda file, error: self._prepared(name, file, error))

    def _take_name(self) -> str:
        self._next_slot += 1
        return journal_name(self._next_slot - 1)

    def _make(self, name: str) -> tuple[str, File]:
        file = self._disk.open(name, create=True)
        self._disk.sync_directory()
        return name, file

    def _made(self, made: tuple[str, File] | None, error: BaseException | None) -> None:
        self.preparing = False
        if error is None:
            assert made is not None
            self.empty.append(made)

    def retire(self, life: int, *, adopted: bool = False) -> None:
        """A life is over: a durable checkpoint no longer names it, and no row. Its file may be reused once nobody reads it, unless a segment has it."""
        gone = self.lives.pop(life)
        assert gone is not self.current
        gone.is_adopted = adopted
        self.retired.append(gone)
        self.sweep()

    def sweep(self) -> None:
        """Retired files that nobody reads any more are ready, unless they are too short to be worth it: most of such a file would grow again."""
        size = self._settings.journal_file_size
        for gone in [one for one in self.retired if not one.pins]:
            self.retired.remove(gone)
            if gone.is_adopted:
                gone.file.close()
            elif gone.file.size() >= size - size // 8:
                self.ready.append((gone.name, gone.file))
            else:
                self._disk.background(partial(self._remove, gone), _removed)

    def _remove(self, gone: JournalFile) -> None:
        gone.file.close()
        self._disk.remove(gone.name)

    def trim(self) -> None:
        """Opening, when all that counts is recovered: of the free files keep some of full length; remove the others, else every crash would leave one more."""
        free, self.ready = self.ready, []
        room = self._settings.journal_ready_files + self._settings.journal_sort_files
        for name, file in free:
            if len(self.ready) < room and file.size() >= self._settings.journal_file_size:
                self.ready.append((name, file))
            else:
                file.close()
                self._disk.remove(name)

    def closed(self) -> list[JournalFile]:
        """Lives that nothing more is written to, oldest first."""
        return [journal_file for journal_file in self.lives.values() if journal_file is not self.current]

    def bytes_unsorted(self) -> int:
        """What lies in the journal and in no segment."""
        return sum(journal_file.end for journal_file in self.lives.values())

    def close(self) -> None:
        """Release every descriptor."""
        for journal_file in (*self.lives.values(), *self.retired):
            journal_file.file.close()
        for _, file in (*self.ready, *self.empty):
            file.close()

    def _prepared(self, name: str, file: File | None, error: BaseException | None) -> None:
        self.preparing = False
        if error is None:
            assert file is not None
            self.ready.append((name, file))
            self.prepare()


def _removed(_: None, __: BaseException | None) -> None:
    """A file that could not be removed is removed at the next opening."""


def read_header(file: File, name: str) -> FileHeader | None:
    """The header of a journal file, None if it has none that holds."""
    try:
        return decode_file_header(file.pread(0, FILE_HEADER_SIZE))
    except CorruptData as error:
        raise CorruptData(f"{name}: {error}") from error
