"""TakenStages: what an owner has taken of the stages of one start of a front elsewhere, kept in its store: the next start of the owner knows it.

A row in the state of the lowest shard that the owner has, staged in the commit of what was taken. Key: `f:`, the start's id. Value: u8 version 1, u8 minimum
reader version 1, u64 the call of the last stage (integers little-endian), u8 octets of its process's name, and it; then of each stage that was not plainly
taken, and that the front may still wait for: u64 its call, u8 whether it was refused, u32 octets of the rest, and it: a Why (words.py), or the indices
that are in no queue, u32 each.
"""

from __future__ import annotations

import struct

from entrepot.broker.state import DELETE, FRONT_PREFIX, prefix_end, set_value
from entrepot.model.errors import CorruptData
from entrepot.store.interface import Store

_HEAD = struct.Struct("<BBQB")
_ANSWER = struct.Struct("<QBI")
_VERSION = 1
_READER_MIN = 1
_ROWS_MAX = 4096  # starts of fronts that are read at once


class TakenStages:
    """Of the start `start` of the process `name`, kept in `shard`; while that is `closed` nothing may be taken.

    `known`: what the start of the owner before this one had taken; frames up to there come again. `answers`: those to stages that were not plainly taken:
    whether it was refused, and the rest of the answer's frame.
    """

    def __init__(self, store: Store, shard: int, name: str, start: bytes) -> None:
        self._store = store
        self.closed = store.closed
        self.shard = shard
        self._key = FRONT_PREFIX + start
        self._name = name
        self.answers: dict[int, tuple[bool, bytes]] = {}
        self.last = 0
        value = store.get(shard, self._key)
        if value is not None:
            self._read(value)
        self.known = self.last
        self._is_alone = False  # the rows of others of its name are gone

    def _read(self, value: bytes) -> None:
        try:
            _, reader_min, self.last, size = _HEAD.unpack_from(value)
            at = _HEAD.size + size
            while at < len(value):
                number, failed, size = _ANSWER.unpack_from(value, at)
                at += _ANSWER.size
                self.answers[number] = bool(failed), value[at : at + size]
                at += size
        except struct.error:
            at = reader_min = -1
        if at != len(value) or reader_min > _VERSION:
            raise CorruptData(f"what was taken of a front is kept as {value[:80]!r}, which this version cannot read")

    def refused(self, number: int, why: bytes) -> None:
        """Nothing of it was taken."""
        self.last = number
        self.answers[number] = True, why

    def took_part(self, number: int, nacked: bytes) -> None:
        """Some of it is in no queue."""
        self.answers[number] = False, nacked

    def waits_from(self, number: int) -> None:
        """The front waits for no answer before that."""
        for one in [one for one in self.answers if one < number]:
            del self.answers[one]

    def stage(self) -> None:
        """Have it kept, with what is staged in the same go."""
        if not self._is_alone:
            self._forget_others()
        name = self._name.encode()
        parts = [_HEAD.pack(_VERSION, _READER_MIN, self.last, len(name)), name]
        for number, (failed, rest) in self.answers.items():
            parts += (_ANSWER.pack(number, failed, len(rest)), rest)
        self._store.fold(self.shard, self._key, set_value(b"".join(parts)))

    def _forget_others(self) -> None:
        """Earlier starts of its process are dead, whether or not this owner lived then."""
        self._is_alone = True
        name = self._name.encode()
        for key, value in self._store.scan(self.shard, FRONT_PREFIX, prefix_end(FRONT_PREFIX), _ROWS_MAX):
            if key != self._key and value[_HEAD.size : _HEAD.size + _HEAD.unpack_from(value)[3]] == name:
                self._store.fold(self.shard, key, DELETE)

    def drop(self) -> None:
        """The front's start is dead: nothing of it comes again."""
        if self.shard not in self.closed and self._store.failed is None:
            self._store.fold(self.shard, self._key, DELETE)
