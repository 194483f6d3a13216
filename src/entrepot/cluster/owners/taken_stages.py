"""TakenStages: what an owner has taken of one start of a front elsewhere, kept in its store: the next start of the owner knows it. Stages, Sends, EndLeases.

A row in the state of the lowest shard that the owner has, staged in the commit of what was taken. Key: `f:`, the start's id. Value: u8 version 1, u8 minimum
reader version 1, u64 the last call (integers little-endian), u8 octets of its process's name, and it; then of each that the front may still wait for, and
that has another answer than that all was taken: u64 its call, u8 what follows, u32 octets of that, and it: PART, of a stage the indices that are in no queue,
u32 each; REFUSED, of a stage a Why (words.py); SAID, the words of the answer.
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
PART, REFUSED, SAID = range(3)

ANSWERS_MAX = 1 << 18  # a front never waits for as many
_ROWS_MAX = 4096  # starts of fronts that are read at once


class TakenStages:
    """Of the start `start` of the process `name`, kept in `shard`; while that is `closed` nothing may be taken.

    `known`: what the start of the owner before this one had taken; frames up to there come again. `answers`: those that are kept, as in the row.
    """

    def __init__(self, store: Store, shard: int, name: str, start: bytes) -> None:
        self._store = store
        self.closed = store.closed
        self.shard = shard
        self._key = FRONT_PREFIX + start
        self._name = name
        self.answers: dict[int, tuple[int, bytes]] = {}
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
                number, kind, size = _ANSWER.unpack_from(value, at)
                at += _ANSWER.size
                self.answers[number] = kind, value[at : at + size]
                at += size
        except struct.error:
            at = reader_min = -1
        if at != len(value) or reader_min > _VERSION or any(kind > SAID for kind, _ in self.answers.values()):
            raise CorruptData(f"what was taken of a front is kept as {value[:80]!r}, which this version cannot read")

    def refused(self, number: int, why: bytes) -> None:
        """Nothing of a stage was taken."""
        self.last = number
        self._keep(number, REFUSED, why)

    def took_part(self, number: int, nacked: bytes) -> None:
        """Some of a stage is in no queue."""
        self._keep(number, PART, nacked)

    def said(self, number: int, rest: bytes) -> None:
        """What is answered to a Send or an EndLeases; b"": that all of it was done."""
        self.last = number
        if rest:
            self._keep(number, SAID, rest)

    def _keep(self, number: int, kind: int, rest: bytes) -> None:
        if len(self.answers) >= ANSWERS_MAX:
            raise CorruptData(f"'{self._name}' has not said for long what it waits for")
        self.answers[number] = kind, rest

    def answer_to_stage(self, number: int) -> tuple[bool, bytes] | None:
        """Whether it was refused, and the rest of the answer's frame; None: it was plainly taken. Raises CorruptData: it was no stage."""
        kind, rest = self.answers.get(number, (PART, b""))
        if kind == SAID:
            raise CorruptData(f"call {number} comes again as a stage, and was none")
        return (kind == REFUSED, rest) if rest else None

    def said_before(self, number: int) -> bytes:
        """What said() was given. Raises CorruptData: it was a stage."""
        kind, rest = self.answers.get(number, (SAID, b""))
        if kind != SAID:
            raise CorruptData(f"call {number} was a stage, and comes again as something else")
        return rest

    def waits_from(self, number: int) -> None:
        """The front waits for no answer before that."""
        gone = []
        for one in self.answers:  # they are in their order
            if one >= number:
                break
            gone.append(one)
        for one in gone:
            del self.answers[one]

    def stage(self) -> None:
        """Have it kept, with what is staged in the same go."""
        if not self._is_alone:
            self._forget_others()
        name = self._name.encode()
        parts = [_HEAD.pack(_VERSION, _READER_MIN, self.last, len(name)), name]
        for number, (kind, rest) in self.answers.items():
            parts += (_ANSWER.pack(number, kind, len(rest)), rest)
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
