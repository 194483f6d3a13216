"""Snapshots of the catalogue in pieces: cut over turns of the loop while changes go on, put together again, and taken in over turns.

A piece has rows as they are when it is cut. Pieces and changes come to a member in the order in which they were cut and made, so that a row is always as the
last of them says: with the last piece it has what there was then. What is taken in is the difference; a small one is one change.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import Any, Protocol, TypeAlias

import msgspec

from entrepot.broker.catalogue.changes import KIND_SIZE, NO_REVISION, Revision, Row, encode_change, encode_row
from entrepot.model.errors import CorruptData

PIECE_ROWS = 100
PIECE_BYTES = 64 << 10
AT_ONCE = 500  # weight of a difference that is one change: a row, or a partition
SLICE = 16  # weight of what is taken in of a larger one at a time

_COMPARED = 100  # rows in a piece of work,
_COMPARED_STEPS, _APPLIED_STEPS = 5, 40  # and what one costs in it; taking one in

Pieces: TypeAlias = Generator[int, None, None]

Ahead: TypeAlias = "Callable[[list[Row], Callable[[], None]], Pieces]"
"""Of rows, and what applies them: pieces of work in which that is done, behind what had to be made for it."""


class Part(Protocol):
    """Something of the catalogue that applies rows: definitions, users, producer ids. `prefixes`: of their keys, in the order in which they are made."""

    prefixes: tuple[bytes, ...]

    def apply(self, revision: Revision, rows: list[Row], *, more: bool = False) -> None:
        """Take in all rows of a change that are its own; never fails for what they say. `more`: it is not as far as the revision yet."""

    def rows(self) -> Iterator[Row]:
        """Rows that make another one as this one is. What changes before the last is asked for may be in any, or no, state of that time."""

    def value(self, key: bytes, kept: bytes) -> Any:
        """A row's fields, from what is kept under its key. Raises CorruptData."""


def cut(parts: list[Part], revision: Callable[[], Revision]) -> Iterator[tuple[bytes, bool]]:
    """Changes that say together all there is, each as it is when it is asked for; whether it is the last."""
    piece: list[msgspec.Raw] = []
    size = 0
    for part in parts:
        for row in part.rows():
            piece.append(encode_row(row))
            size += len(piece[-1])
            if len(piece) >= PIECE_ROWS or size >= PIECE_BYTES:
                yield encode_change(revision(), piece), False
                piece, size = [], 0
    yield encode_change(revision(), piece), True


class Arriving:
    """A snapshot of which not all pieces are here. Raises CorruptData for one that is not the next, or a change of the past."""

    def __init__(self) -> None:
        self.revision = NO_REVISION
        self._pieces = 0
        self._rows: dict[bytes, dict[bytes, Row]] = {}  # by kind

    def piece(self, number: int, revision: Revision, rows: list[Row]) -> None:
        """The next one."""
        if number != self._pieces or revision < self.revision:
            raise CorruptData(f"piece {number} of revision {revision} comes behind {self._pieces} pieces of a snapshot, of {self.revision}")
        self._pieces += 1
        self._take(revision, rows)

    def change(self, revision: Revision, rows: list[Row]) -> None:
        """What was decided since the last piece was cut."""
        if revision <= self.revision:
            raise CorruptData(f"revision {revision} comes behind {self.revision}")
        self._take(revision, rows)

    def _take(self, revision: Revision, rows: list[Row]) -> None:
        self.revision = revision
        for row in rows:
            of_kind = self._rows.setdefault(row.key[:KIND_SIZE], {})
            if row.gone:
                of_kind.pop(row.key, None)
            else:
                of_kind[row.key] = row

    def difference(self, part: Part) -> Generator[int, None, deque[list[Row]]]:
        """The change that makes of a part what is wanted, as changes.difference(), each kind's rows from the last on; nothing changes there meanwhile.

        What is wanted is let go of.
        """
        wanted = [self._rows.pop(prefix, {}) for prefix in part.prefixes]
        ends: list[list[Row]] = [[] for _ in wanted]
        begins: list[list[Row]] = [[] for _ in wanted]
        for count, row in enumerate(part.rows()):
            kind = part.prefixes.index(row.key[:KIND_SIZE])
            other = wanted[kind].pop(row.key, None)
            if other is None:
                ends[kind].append(row._replace(gone=True))
            elif other != row:
                begins[kind].append(other)
            if count % _COMPARED == _COMPARED - 1:
                yield _COMPARED * _COMPARED_STEPS
        for of_kind, more in zip(begins, wanted, strict=True):
            of_kind += more.values()
        return deque((*reversed(ends), *begins))


def take_in(arrived: Arriving, parts: list[Part], ahead: Ahead, last: Callable[[Revision], None]) -> Pieces:
    """Have the parts be as a snapshot says. last(revision): just before all is as it says."""
    differences = []
    for part in parts:
        kinds = yield from arrived.difference(part)
        if not _is_small(kinds):
            yield from _take_in(part, arrived.revision, kinds, ahead)
        differences.append((part, [row for rows in kinds for row in reversed(rows)]))
    last(arrived.revision)
    for part, rows in differences:
        part.apply(arrived.revision, rows)


def _is_small(kinds: deque[list[Row]]) -> bool:
    left = AT_ONCE
    for rows in kinds:
        for row in rows:
            left -= weight(row)
            if left < 0:
                return False
    return True


def _take_in(part: Part, revision: Revision, kinds: deque[list[Row]], ahead: Ahead) -> Pieces:
    """All of it; what is taken in is let go of."""
    while kinds:
        some: list[Row] = []
        size = 0
        while kinds and size < SLICE:
            if kinds[0]:
                some.append(kinds[0].pop())
                size += weight(some[-1])
            else:
                kinds.popleft()
        yield from ahead(some, partial(part.apply, revision, some, more=True))
        yield size * _APPLIED_STEPS


def weight(row: Row) -> int:
    """What taking in a row costs, about: of a topic's, its partitions, too."""
    fields = row.fields
    return 1 + len(fields.get("partitions", ())) if isinstance(fields, dict) else 1
