"""Schedule: what waits for a time (delays, redelivery back-off), in the store by due time; memory holds the next of it.

    key     b"d:" schedule id (16 bytes) due_ms (u64, big-endian) first offset (u64, big-endian)
    value   format (u8, 1), count (u32, little-endian), the caller's own bytes
    delta   a value, or nothing: done

Times are the shard's: max(the wall clock, the last one journalled), so that nothing is early after a step of the clock or a takeover.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Iterator

from entrepot.model.errors import CorruptData
from entrepot.store.interface import Store

SCHEDULE_PREFIX = b"d:"
SCHEDULE_ID_SIZE = 16  # bytes
NEVER = 0xFFFFFFFFFFFFFFFF
NEAR_MAX = 4096  # entries in memory; the rest is read from the store when they are due

_FORMAT = 1
_KEY = struct.Struct(">QQ")
_VALUE = struct.Struct("<BI")
_LAST_KEY = b"\xff" * _KEY.size


def fold_schedule(key: bytes, value: bytes | None, delta: bytes) -> bytes | None:
    """The fold of every key that starts with SCHEDULE_PREFIX: the delta replaces the value."""
    if delta == b"":
        return None
    if delta[0] != _FORMAT:
        raise CorruptData(f"schedule {key!r} has format {delta[0]}, expected {_FORMAT}; it replaces {value!r}")
    return delta


class ShardTime:
    """The shard's time: never behind what it once said, over restarts, when `last_ms` is journalled with what depends on it."""

    def __init__(self, last_ms: int) -> None:
        self.last_ms = last_ms

    def now_ms(self, wall_ms: int) -> int:
        """max(wall_ms, all times told before)."""
        self.last_ms = max(self.last_ms, wall_ms)
        return self.last_ms


class Schedule:
    """Ranges of offsets that wait for a time.

    `_near` is sorted and holds everything in the store up to and including the key `_horizon`; what lies behind it is only in the store.
    """

    def __init__(self, store: Store, shard: int, schedule_id: bytes, near_max: int = NEAR_MAX) -> None:
        assert len(schedule_id) == SCHEDULE_ID_SIZE, schedule_id
        self._store = store
        self._shard = shard
        self._prefix = SCHEDULE_PREFIX + schedule_id
        self._near_max = near_max
        self._near: list[tuple[int, int, int, bytes]] = []  # due_ms, first, count, data
        self._horizon = b""
        self._load()

    def add(self, due_ms: int, first: int, count: int, data: bytes = b"") -> None:
        """Stage that [first, +count) waits until `due_ms`. One (due_ms, first) is there once."""
        key = _KEY.pack(due_ms, first)
        self._store.fold(self._shard, self._prefix + key, _VALUE.pack(_FORMAT, count) + data)
        if key > self._horizon:
            return
        index = bisect_left(self._near, (due_ms, first))
        if index < len(self._near) and self._near[index][:2] == (due_ms, first):
            self._near[index] = (due_ms, first, count, data)
            return
        self._near.insert(index, (due_ms, first, count, data))
        if len(self._near) > 2 * self._near_max:
            del self._near[self._near_max :]
            self._horizon = _KEY.pack(*self._near[-1][:2])

    def cancel(self, due_ms: int, first: int) -> None:
        """Stage that this does not wait any more; nothing if it does not."""
        self._store.fold(self._shard, self._prefix + _KEY.pack(due_ms, first), b"")
        self._near = [entry for entry in self._near if entry[:2] != (due_ms, first)]

    def next_due(self) -> int:
        """When the next is due, in ms; NEVER if nothing waits."""
        if not self._near:
            self._load()
        return self._near[0][0] if self._near else NEVER

    def due(self, now_ms: int, limit: int) -> list[tuple[int, int, bytes]]:
        """Take out up to `limit` whose time has come, in order of time: (first, count, data). Their end is staged in the open commit."""
        found: list[tuple[int, int, bytes]] = []
        while len(found) < limit and self.next_due() <= now_ms:
            due_ms, first, count, data = self._near.pop(0)
            self._store.fold(self._shard, self._prefix + _KEY.pack(due_ms, first), b"")
            found.append((first, count, data))
        return found

    def rows(self) -> Iterator[tuple[int, int, int]]:
        """Everything that waits, in order of time: (due_ms, first, count). For opening: nothing may be added meanwhile."""
        first = self._prefix
        while True:
            found = self._store.scan(self._shard, first, self._prefix + _LAST_KEY + b"\x00", self._near_max)
            for key, value in found:
                due_ms, offset = _KEY.unpack(key[len(self._prefix) :])
                yield due_ms, offset, _VALUE.unpack_from(value)[1]
            if len(found) < self._near_max:
                return
            first = found[-1][0] + b"\x00"

    def drop(self) -> None:
        """Stage that nothing waits any more."""
        for due_ms, first, _ in list(self.rows()):
            self._store.fold(self._shard, self._prefix + _KEY.pack(due_ms, first), b"")
        self._near = []

    def drop_some(self, limit: int) -> bool:
        """Stage that up to `limit` of the next wait no more; whether nothing is left. Nothing is added any more."""
        self._near = []
        found = self._store.scan(self._shard, self._prefix, self._prefix + _LAST_KEY + b"\x00", limit)
        for key, _ in found:
            self._store.fold(self._shard, key, b"")
        return len(found) < limit

    def _load(self) -> None:
        """Read the next of what waits."""
        if self._horizon == _LAST_KEY:
            return
        found = self._store.scan(
            self._shard, self._prefix + self._horizon + (b"\x00" if self._horizon else b""), self._prefix + _LAST_KEY + b"\x00", self._near_max
        )
        for key, value in found:
            version, count = _VALUE.unpack_from(value)
            if version != _FORMAT:
                raise CorruptData(f"schedule {key!r} has format {version}, expected {_FORMAT}")
            due_ms, first = _KEY.unpack(key[len(self._prefix) :])
            self._near.append((due_ms, first, count, value[_VALUE.size :]))
        self._horizon = found[-1][0][len(self._prefix) :] if len(found) == self._near_max else _LAST_KEY
