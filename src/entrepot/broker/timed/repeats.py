"""Repeats: what was sent in the last five minutes, by deduplication id: a repeat is answered as the first was and not stored again.

Kept as folded state, a key for each ten seconds (docs/formats/deduplication-state.md), dropped whole when its time is over:

    key     b"e:" log id (16 bytes) time div 10,000 ms (u64, big-endian)
    value   u8 format (1), then rows in the order of sending; a delta is more of them, nothing at all: the key is gone
    row     16 bytes digest, u64 time (ms since 1970), u64 offset, 16 bytes message id

In memory the rows stand in one ring, with a table by the first eight bytes of their digests.
"""

from __future__ import annotations

import hashlib

import cython

from entrepot.broker.timed.offset_table import OffsetTable
from entrepot.model.errors import CorruptData
from entrepot.store.interface import Log, Store

if not cython.compiled:
    from entrepot.model.octets import copy, copy_ba, get_u64_le, get_u64_le_ba, put_u64_le, take_ba

REPEAT_PREFIX = b"e:"
INTERVAL_MS = 300_000
REPEATS_MAX = 2_000_000  # remembered of one queue; one more is refused
FORGET_MAX = 1024  # forgotten at once; the rest at the next sends
SLOT_MS = 10_000
DIGEST_SIZE = 16  # bytes
SCAN_LIMIT = 16  # keys read at once at opening

_ROW = 48
_FORMAT = b"\x01"
_INTERVAL = INTERVAL_MS
_SLOT = SLOT_MS
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

    __slots__ = ("first", "index", "log", "message_id", "next", "offset", "places", "prefix", "ring", "slots", "store")

    offset: int
    message_id: bytes

    def __init__(self, store: Store, log: Log) -> None:
        self.store = store
        self.log = log
        self.prefix = REPEAT_PREFIX + log.id
        self.index = OffsetTable()
        self.ring = bytearray(64 * _ROW)
        self.places = 64
        self.first = 0  # rows first .. next - 1 stand in the ring, each at its number modulo `places`
        self.next = 0
        self.slots: list[int] = []  # numbers of the keys that there are, ascending
        self.offset = 0
        self.message_id = b""

    def __len__(self) -> int:
        """How many are remembered."""
        return self.next - self.first

    def find(self, digest: bytes, now_ms: int) -> bool:
        """Whether something with that digest was sent in the last five minutes."""
        self.expire(now_ms)
        number = self.index.get(get_u64_le(digest, 0) >> 1)
        if number < 0:
            return False
        p = number * _ROW
        if get_u64_le_ba(self.ring, p) != get_u64_le(digest, 0) or get_u64_le_ba(self.ring, p + 8) != get_u64_le(digest, 8):
            return False
        if get_u64_le_ba(self.ring, p + 16) + _INTERVAL <= now_ms:
            return False
        self.offset = get_u64_le_ba(self.ring, p + 24)
        self.message_id = take_ba(self.ring, p + 32, 16)
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
        slot = now_ms // _SLOT
        if not self.slots or self.slots[len(self.slots) - 1] != slot:
            self.slots.append(slot)
        if not self.log.volatile:
            self.store.fold(self.log.shard, self.key(slot), _FORMAT + packed)

    def put(self, packed: bytes, position: int) -> None:
        """A row, as the last one."""
        if self.next - self.first == self.places:
            self.grow()
        place = self.next % self.places
        copy(self.ring, place * _ROW, packed, position, _ROW)
        self.index.put(get_u64_le(packed, position) >> 1, place)
        self.next += 1

    def grow(self) -> None:
        """Twice as many places; rows begin at the first."""
        ring = bytearray(2 * self.places * _ROW)
        count = self.next - self.first
        self.index.clear()
        number = 0
        while number < count:
            copy_ba(ring, number * _ROW, self.ring, ((self.first + number) % self.places) * _ROW, _ROW)
            self.index.put(get_u64_le_ba(ring, number * _ROW) >> 1, number)
            number += 1
        self.ring = ring
        self.places = 2 * self.places
        self.first = 0
        self.next = count

    def expire(self, now_ms: int) -> None:
        """Forget what was sent more than five minutes ago, FORGET_MAX of it at the most."""
        left = _FORGET_MAX
        while self.first < self.next and left:
            left -= 1
            place = self.first % self.places
            if get_u64_le_ba(self.ring, place * _ROW + 16) + _INTERVAL > now_ms:
                break
            key = get_u64_le_ba(self.ring, place * _ROW) >> 1
            if self.index.get(key) == place:
                self.index.remove(key)
            self.first += 1
        while self.slots and (self.slots[0] + 1) * _SLOT + _INTERVAL <= now_ms:
            self.forget_slot()

    def forget_slot(self) -> None:
        """The oldest key goes."""
        slot = self.slots.pop(0)
        if not self.log.volatile:
            self.store.fold(self.log.shard, self.key(slot), b"")

    def clear(self) -> None:
        """Stage that nothing was sent."""
        while self.slots:
            self.forget_slot()
        self.index.clear()
        self.ring = bytearray(64 * _ROW)
        self.places = 64
        self.first = 0
        self.next = 0

    def load(self, now_ms: int) -> None:
        """At opening: what was kept."""
        if self.log.volatile:
            return
        first = self.prefix
        while True:
            found = self.store.scan(self.log.shard, first, self.prefix + b"\xff" * 9, SCAN_LIMIT)
            for key, value in found:
                self.slots.append(int.from_bytes(key[len(key) - 8 :], "big"))
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
