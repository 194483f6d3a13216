"""Repeats: what was sent in the last five minutes, by deduplication id: a repeat is answered as the first was and not stored again.

Kept as folded state, some rows under each key (docs/formats/deduplication-state.md), dropped whole when the time of the last is over:

    key     b"e:" log id (16 bytes) number of the slot (u64, big-endian), ascending
    value   u8 format (1), then rows in the order of sending; a delta is more of them, nothing at all: the key is gone
    row     16 bytes digest, u64 time (ms since 1970), u64 offset, 16 bytes message id

In memory the rows stand in chunks, numbered on, with tables by the first eight bytes of their digests: one at first, then TABLES of them, so that
no growth of one takes long.
"""

from __future__ import annotations

import hashlib

import cython

from entrepot.broker.timed.offset_table import OffsetTable
from entrepot.model.errors import CorruptData
from entrepot.store.interface import Log, Store

if not cython.compiled:
    from entrepot.model.octets import copy, get_u64_le, get_u64_le_ba, put_u64_le, take_ba

REPEAT_PREFIX = b"e:"
INTERVAL_MS = 300_000
REPEATS_MAX = 2_000_000  # remembered of one queue; one more is refused
FORGET_MAX = 1024  # forgotten at once; the rest at the next sends
SLOT_MS = 10_000  # a slot's rows are of so long
SLOT_ROWS = 1024  # and so many
TABLES = 64
SPLIT_AT = 4096  # rows: more have TABLES tables
DIGEST_SIZE = 16  # bytes
SCAN_LIMIT = 16  # keys read at once at opening

_ROW = 48
_FORMAT = b"\x01"
_INTERVAL = INTERVAL_MS
_SLOT = SLOT_MS
_SLOT_ROWS = SLOT_ROWS
_TABLES = TABLES
_SPLIT_AT = SPLIT_AT
_CHUNK = 1024  # rows
_WRAP = 0x7FFFFFFF  # tables know the low bits of a row's number
_MAX = REPEATS_MAX
_FORGET_MAX = FORGET_MAX


def fold_repeats(key: bytes, value: bytes | None, delta: bytes) -> bytes | None:
    """The fold of every key that starts with REPEAT_PREFIX."""
    return fold_all_repeats(key, value, [delta])


def fold_all_repeats(key: bytes, value: bytes | None, deltas: list[bytes]) -> bytes | None:
    """As fold_repeats() of one delta after the other, at once. CorruptData for what no version wrote."""
    parts = [] if value is None else [value]
    for delta in deltas:
        if delta:
            parts.append(delta)
        else:
            parts = []
    if not parts:
        return None
    for part in parts:
        if part[:1] != _FORMAT or (len(part) - 1) % _ROW:
            raise CorruptData(f"deduplication state {key!r} has format {part[:1]!r} and {len(part)} bytes, expected format 1 and whole rows")
    return _FORMAT + b"".join([part[1:] for part in parts])


class Repeats:
    """Of one queue. find() tells whether something is a repeat; `offset` and `message_id` are then the first's."""

    __slots__ = ("base", "chunks", "first", "log", "message_id", "next", "offset", "prefix", "slot_began", "slot_ends", "slot_rows", "slots", "store", "tables")

    offset: int
    message_id: bytes

    def __init__(self, store: Store, log: Log) -> None:
        self.store = store
        self.log = log
        self.prefix = REPEAT_PREFIX + log.id
        self.tables = [OffsetTable()]
        self.chunks: list[bytearray] = []
        self.base = 0  # number of the first row of the first chunk
        self.first = 0  # rows first .. next - 1 are remembered
        self.next = 0
        self.slots: list[int] = []  # numbers of the keys that there are, ascending
        self.slot_ends: list[int] = []  # when the last row of each was sent
        self.slot_began = 0  # when the first row of the last slot was sent
        self.slot_rows = 0  # in the last slot
        self.offset = 0
        self.message_id = b""

    def __len__(self) -> int:
        """How many are remembered."""
        return self.next - self.first

    def find(self, digest: bytes, now_ms: int) -> bool:
        """Whether something with that digest was sent in the last five minutes."""
        self.expire(now_ms)
        key = get_u64_le(digest, 0) >> 1
        found = self.table(key).get(key)
        if found < 0:
            return False
        number = self.first + ((found - self.first) & _WRAP)
        chunk = self.chunks[(number - self.base) // _CHUNK]
        p = (number % _CHUNK) * _ROW
        if get_u64_le_ba(chunk, p) != get_u64_le(digest, 0) or get_u64_le_ba(chunk, p + 8) != get_u64_le(digest, 8):
            return False
        if get_u64_le_ba(chunk, p + 16) + _INTERVAL <= now_ms:
            return False
        self.offset = get_u64_le_ba(chunk, p + 24)
        self.message_id = take_ba(chunk, p + 32, 16)
        return True

    def is_full(self) -> bool:
        """Whether no more can be remembered."""
        return self.next - self.first >= _MAX

    def add(self, digest: bytes, offset: int, message_id: bytes, now_ms: int) -> None:
        """Stage that this was sent now, in the commit that appends it."""
        row = bytearray(_ROW)
        copy(row, 0, digest, 0, 16)
        put_u64_le(row, 16, now_ms)
        put_u64_le(row, 24, offset)
        copy(row, 32, message_id, 0, 16)
        packed = take_ba(row, 0, _ROW)
        self.put(packed, 0)
        last = len(self.slots) - 1
        if last < 0 or self.slot_rows >= _SLOT_ROWS or now_ms - self.slot_began >= _SLOT:
            self.slots.append(max(now_ms, self.slots[last] + 1 if last >= 0 else 0))
            self.slot_ends.append(now_ms)
            self.slot_began = now_ms
            self.slot_rows = 0
            last += 1
        self.slot_ends[last] = now_ms
        self.slot_rows += 1
        if not self.log.volatile:
            self.store.fold(self.log.shard, self.key(self.slots[last]), _FORMAT + packed)

    def table(self, key: int) -> OffsetTable:
        """The one that a key belongs into."""
        return self.tables[0] if len(self.tables) == 1 else self.tables[key >> 57]

    def put(self, packed: bytes, position: int) -> None:
        """A row, as the last one."""
        if len(self.tables) == 1 and self.next - self.first >= _SPLIT_AT:
            self.split()
        place = self.next % _CHUNK
        if place == 0 or not self.chunks:
            self.chunks.append(bytearray(_CHUNK * _ROW))
            if len(self.chunks) == 1:
                self.base = self.next - place
        copy(self.chunks[len(self.chunks) - 1], place * _ROW, packed, position, _ROW)
        key = get_u64_le(packed, position) >> 1
        self.table(key).put(key, self.next & _WRAP)
        self.next += 1

    def split(self) -> None:
        """Have TABLES tables."""
        self.tables = [OffsetTable() for _ in range(_TABLES)]
        number = self.first
        while number < self.next:
            key = get_u64_le_ba(self.chunks[(number - self.base) // _CHUNK], (number % _CHUNK) * _ROW) >> 1
            self.table(key).put(key, number & _WRAP)
            number += 1

    def expire(self, now_ms: int) -> None:
        """Forget what was sent more than five minutes ago, FORGET_MAX of it at the most."""
        left = _FORGET_MAX
        while self.first < self.next and left:
            left -= 1
            chunk = self.chunks[0]
            p = (self.first % _CHUNK) * _ROW
            if get_u64_le_ba(chunk, p + 16) + _INTERVAL > now_ms:
                break
            key = get_u64_le_ba(chunk, p) >> 1
            table = self.table(key)
            if table.get(key) == self.first & _WRAP:
                table.remove(key)
            self.first += 1
            if self.first % _CHUNK == 0:
                del self.chunks[0]
                self.base = self.first
        if self.first == self.next and self.next:
            self.forget_all()
        while self.slots and self.slot_ends[0] + _INTERVAL <= now_ms:
            self.forget_slot()

    def forget_slot(self) -> None:
        """The oldest key goes."""
        slot = self.slots.pop(0)
        self.slot_ends.pop(0)
        if not self.log.volatile:
            self.store.fold(self.log.shard, self.key(slot), b"")

    def forget_all(self) -> None:
        """No row is left in memory."""
        self.tables = [OffsetTable()]
        self.chunks = []
        self.base = 0
        self.first = 0
        self.next = 0

    def clear(self) -> None:
        """Stage that nothing was sent."""
        while self.slots:
            self.forget_slot()
        self.forget_all()

    def load(self, now_ms: int) -> None:
        """At opening: what was kept."""
        if self.log.volatile:
            return
        first = self.prefix
        while True:
            found = self.store.scan(self.log.shard, first, self.prefix + b"\xff" * 9, SCAN_LIMIT)
            for key, value in found:
                self.slots.append(int.from_bytes(key[len(key) - 8 :], "big"))
                self.slot_ends.append(get_u64_le(value, len(value) - _ROW + 16))
                self.slot_rows = _SLOT_ROWS  # the next row begins another one
                position = 1
                while position < len(value):
                    if get_u64_le(value, position + 16) + _INTERVAL > now_ms:
                        self.put(value, position)
                    position += _ROW
            if len(found) < SCAN_LIMIT:
                break
            first = found[len(found) - 1][0] + b"\0"
        self.expire(now_ms)

    def key(self, slot: int) -> bytes:
        """The state's key."""
        return self.prefix + slot.to_bytes(8, "big")


def digest_of(scope: bytes, name: bytes) -> bytes:
    """Of a deduplication id within a group (b"": the whole queue)."""
    return hashlib.blake2b(len(scope).to_bytes(2, "big") + scope + name, digest_size=DIGEST_SIZE).digest()
