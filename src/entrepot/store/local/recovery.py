"""Replay: reading the journal back, and telling damage from a torn tail.

Compiled: scanning and replaying cost per commit, not per object. open.py decides which files make the chain.
"""

from __future__ import annotations

from typing import Any

import cython
from crc32c import crc32c

from entrepot.model.errors import CorruptData
from entrepot.store.local.journal import COMMIT_HEADER_SIZE, COMMIT_MAGIC, OP_APPEND, OP_CREATE, OP_DISCARD, OP_DROP, OP_FOLD, OP_MARK, VERSION
from entrepot.store.local.log import LocalLog

if not cython.compiled:
    from entrepot.model.octets import get_u32_le, get_u64_le, take
    from entrepot.store.entry_codec import appended_time, entry_size, entry_span

_MAGIC = COMMIT_MAGIC
_MAGIC_BYTES = COMMIT_MAGIC.to_bytes(4, "little")
_HEADER = COMMIT_HEADER_SIZE
_VERSION = VERSION
_APPEND = OP_APPEND
_DISCARD = OP_DISCARD
_MARK = OP_MARK
_FOLD = OP_FOLD
_CREATE = OP_CREATE
_DROP = OP_DROP


def header_holds(data: bytes, pos: int) -> bool:
    """Whether a commit header that verifies stands at `pos`."""
    if len(data) - pos < _HEADER or get_u32_le(data, pos) != _MAGIC:
        return False
    crc: int = crc32c(take(data, pos, 52))
    return crc == get_u32_le(data, pos + 52)


def commit_holds(data: bytes, pos: int) -> bool:
    """Whether a whole commit that verifies stands at `pos`."""
    if not header_holds(data, pos):
        return False
    length = get_u32_le(data, pos + 32)
    if length > len(data) - pos - _HEADER:
        return False
    crc: int = crc32c(take(data, pos + _HEADER, length))
    return crc == get_u32_le(data, pos + 36)


def find_covering(data: bytes, pos: int, sequence: int) -> int:
    """Position of a valid commit at or after `pos` that says `sequence` was synced before it; -1 if there is none."""
    end = len(data) - _HEADER
    pos = data.find(_MAGIC_BYTES, (pos + 7) & ~7)
    while 0 <= pos <= end:
        if pos & 7 == 0 and get_u64_le(data, pos + 16) >= sequence and get_u64_le(data, pos + 8) > sequence and commit_holds(data, pos):
            return pos
        pos = data.find(_MAGIC_BYTES, (pos + 8) & ~7)
    return -1


class Scan:
    """Walks the valid commits of one life, in order."""

    def __init__(self, name: str, data: bytes, start: int, salt: int, sequence: int, chain: int) -> None:
        self.name = name
        self.data = data
        self.position = start  # of the next commit
        self.salt = salt
        self.sequence = sequence  # expected next
        self.chain = chain  # header checksum of the one before
        self.chain_known = True
        self.synced = 0  # greatest known synced sequence seen
        self.commit_position = 0  # of the commit that advance() stepped over
        self.length = 0

    def advance(self) -> bool:
        """Step over the next commit; False where none stands that belongs here."""
        pos = self.position
        data = self.data
        if len(data) - pos < _HEADER or get_u32_le(data, pos) != _MAGIC:
            return False
        if get_u64_le(data, pos + 24) != self.salt or get_u64_le(data, pos + 8) != self.sequence:
            return False
        if self.chain_known and get_u32_le(data, pos + 40) != self.chain:
            return False
        if not commit_holds(data, pos):
            return False
        if data[pos + 5] > _VERSION:
            raise CorruptData(f"{self.name} at {pos}: a commit of a newer version: needs a reader of format {data[pos + 5]}, this one reads {_VERSION}")
        self.chain = get_u32_le(data, pos + 52)
        self.chain_known = True
        self.sequence += 1
        self.commit_position = pos
        self.length = get_u32_le(data, pos + 32)
        if get_u64_le(data, pos + 16) > self.synced:
            self.synced = get_u64_le(data, pos + 16)
        self.position = pos + _HEADER + ((self.length + 7) & ~7)
        return True


class Replay:
    """Applies verified commits to a store that is being opened. Up to `covered` a checkpoint has everything but the places of entries."""

    def __init__(self, store: Any, covered: int, captured: int) -> None:
        self.store = store
        self.covered = covered
        self.captured = captured  # of commits up to this one the checkpoint may have some of what they did to logs
        self.strict = True
        self.time_ms = 0  # the latest append
        self.logs: dict[bytes, LocalLog] = {}
        self.entries = 0

    def commit(self, name: str, data: bytes, pos: int, sequence: int, life: int, shift: int) -> int:
        """The commit at `pos` of data; its entries lie `shift` bytes further in the file of `life`."""
        length = get_u32_le(data, pos + 32)
        start = pos + _HEADER
        end = start + length
        new = sequence > self.covered
        self.strict = sequence > self.captured
        try:
            return self.operations(data, start, end, new, life, shift)
        except IndexError as error:
            raise CorruptData(f"{name} at {pos}: commit {sequence} holds an operation that does not parse: {error}") from error
        except CorruptData as error:
            raise CorruptData(f"{name} at {pos}: commit {sequence}: {error}") from error

    def operations(self, data: bytes, start: int, end: int, new: bool, life: int, shift: int) -> int:
        """Every operation of [start, end)."""
        count = get_u32_le(data, start)
        p = start + 4
        if count > (end - p) // 16:
            raise CorruptData("its table of logs is cut short")
        table: list[LocalLog | None] = []
        ids = p
        i = 0
        while i < count:
            table.append(self.logs.get(take(data, p, 16)))
            p += 16
            i += 1
        while p < end:
            if end - p < 8:
                raise CorruptData("an operation is cut short")
            code = data[p]
            size = get_u32_le(data, p + 4)
            p += 8
            if size > end - p:
                raise CorruptData("an operation is cut short")
            if code == _APPEND:
                self.append(data, p, p + size, table, new, life, shift)
            elif not new:
                pass
            elif code == _DISCARD:
                log = self.log_of(table, get_u32_le(data, p))
                q = p + 4
                while log is not None and q < p + size:
                    log.discard_now(get_u64_le(data, q), get_u64_le(data, q + 8))
                    q += 16
            elif code == _MARK:
                log = self.log_of(table, get_u32_le(data, p))
                if log is not None:
                    log.marked(get_u64_le(data, p + 4))
            elif code == _FOLD:
                n = get_u32_le(data, p + 4)
                if n > size - 8:
                    raise CorruptData("a change of state is cut short")
                self.store.state.fold(get_u32_le(data, p), take(data, p + 8, n), take(data, p + 8 + n, size - 8 - n))
            elif code == _CREATE:
                i = get_u32_le(data, p)
                log_id = take(data, ids + 16 * i, 16)
                if i >= count or (log_id in self.logs and self.strict):
                    raise CorruptData("it creates a log that exists")
                if log_id not in self.logs:
                    log = self.store.restored_log(get_u32_le(data, p + 4), log_id)
                    self.logs[log_id] = log
                    table[i] = log
            elif code == _DROP:
                i = get_u32_le(data, p)
                log = self.log_of(table, i)
                if log is not None:
                    log.clear()
                    del self.logs[log.id]
                    self.store.forget_log(log.id)
                    table[i] = None
            else:
                raise CorruptData(f"operation code {code} is unknown to this version")
            p += size
        return 0

    def append(self, data: bytes, p: int, end: int, table: list[LocalLog | None], new: bool, life: int, shift: int) -> int:
        """An entry and its targets."""
        n = get_u32_le(data, p)
        if n > (end - p - 4) // 12:
            raise CorruptData("an append's targets are cut short")
        at = p + 4 + 12 * n
        size = entry_size(data, at, end)
        span = entry_span(data, at)
        self.entries += 1
        time_ms = appended_time(data, at)
        if time_ms > self.time_ms:
            self.time_ms = time_ms
        q = p + 4
        i = 0
        while i < n:
            index = get_u32_le(data, q)
            if index >= len(table):
                raise CorruptData(f"an append names log {index} of {len(table)}")
            log = table[index]
            if log is not None:
                base = get_u64_le(data, q + 4)
                if new and base != log.next_offset and (self.strict or base > log.next_offset):
                    raise CorruptData(f"an append at offset {base} of a log that ends at {log.next_offset}")
                log.replay_append(base, life, at + shift, size, span)
            elif new and self.strict:
                raise CorruptData("an append names a log that does not exist")
            q += 12
            i += 1
        return 0

    def log_of(self, table: list[LocalLog | None], index: int) -> LocalLog | None:
        """A log of the commit's table; it must exist, unless a later commit that the checkpoint covers has dropped it."""
        log = table[index] if index < len(table) else None
        if log is None and (self.strict or index >= len(table)):
            raise CorruptData(f"an operation names log {index} of {len(table)}, which does not exist")
        return log
