"""State: what is not a log, as an ordered map per shard, changed by opaque deltas that a fold function turns into values.

Three layers, the newest first:

    changed    keys with deltas since the last cut: a value once somebody asked for it, and deltas not yet folded
    frozen     keys as of the cut that a checkpoint is being made of; absolute values once prepared
    base       the last checkpoint's values, on disk

Frozen values are absolute, so a checkpoint that is already in the base and not yet reported changes nothing that is read.
Memory is bounded by what changes between two checkpoints.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Protocol

from entrepot.store.interface import ABSOLUTE_PREFIX_SIZE, Fold

PREPARED_BYTES = 1 << 20  # folded in one go


class Base(Protocol):
    """Where values lie that have not changed: a checkpoint."""

    def get(self, shard: int, key: bytes) -> bytes | None:
        """The value."""

    def scan(self, shard: int, first: bytes, end: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Up to `limit` (key, value) with first <= key < end, ascending."""


class NoBase:
    """The base of a store that keeps nothing."""

    def get(self, shard: int, key: bytes) -> bytes | None:
        """None."""
        return None

    def scan(self, shard: int, first: bytes, end: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Nothing."""
        return []


class _Cell:
    """A changed key: its value if `known`, then deltas to fold into it."""

    __slots__ = ("deltas", "known", "value")

    def __init__(self) -> None:
        self.known = False
        self.value: bytes | None = None
        self.deltas: list[bytes] = []


class _Layer:
    """Changed keys of all shards."""

    __slots__ = ("_ordered", "cells", "count", "size")

    def __init__(self) -> None:
        self.cells: dict[int, dict[bytes, _Cell]] = {}
        self.count = 0  # keys
        self.size = 0  # bytes of keys and deltas
        self._ordered: dict[int, list[bytes]] = {}  # per shard: keys in order, those that there were when somebody asked

    def containers(self) -> list[Any]:
        """All that it consists of; it is not used any more."""
        return [*self.cells.values(), *self._ordered.values()]

    def keys(self, shard: int, first: bytes, end: bytes, limit: int) -> tuple[list[bytes], bytes]:
        """Its first `limit` keys with first <= key < end, ascending, and below what key these are all."""
        cells = self.cells.get(shard)
        if not cells:
            return [], end
        ordered = self._ordered.get(shard)
        if ordered is None:
            ordered = self._ordered[shard] = []
        if len(ordered) != len(cells):  # keys are only ever added, behind those that there are
            ordered.extend(islice(cells, len(ordered), None))
            ordered.sort()
        begin = bisect_left(ordered, first)
        stop = bisect_left(ordered, end, begin)
        if stop - begin <= limit:
            return ordered[begin:stop], end
        return ordered[begin : begin + limit], ordered[begin + limit]


class State:
    """The folded state over `base`."""

    def __init__(self, base: Base, fold: Fold) -> None:
        self._base = base
        self._fold = fold
        self._many: Callable[[bytes, bytes | None, list[bytes]], bytes | None] | None = getattr(fold, "many", None)
        self._absolute: frozenset[bytes] = getattr(fold, "absolute", frozenset())
        self._changed = _Layer()
        self._frozen: _Layer | None = None
        self._unprepared: Iterator[tuple[int, bytes, _Cell]] | None = None

    def fold(self, shard: int, key: bytes, delta: bytes) -> None:
        """Stage a change."""
        layer = self._changed
        cells = layer.cells.get(shard)
        if cells is None:
            cells = layer.cells[shard] = {}
        cell = cells.get(key)
        if cell is None:
            cell = cells[key] = _Cell()
            layer.count += 1
            layer.size += len(key)
        if key[:ABSOLUTE_PREFIX_SIZE] in self._absolute:
            for last in cell.deltas:
                layer.size -= len(last)
            cell.known = True  # no value before it matters
            cell.deltas = [delta]
        else:
            cell.deltas.append(delta)
        layer.size += len(delta)

    def get(self, shard: int, key: bytes) -> bytes | None:
        """The value now, staged changes included."""
        cells = self._changed.cells.get(shard)
        cell = cells.get(key) if cells is not None else None
        if cell is None:
            return self._settled(shard, key)
        if not cell.known:
            cell.value = self._settled(shard, key)
            cell.known = True
        return self._current(key, cell)

    def scan(self, shard: int, first: bytes, end: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Up to `limit` (key, value) with first <= key < end, ascending, staged changes included."""
        found: list[tuple[bytes, bytes]] = []
        while limit > len(found) and first < end:
            wanted = limit - len(found)
            rows = self._base.scan(shard, first, end, wanted)
            # What the base says is complete below `covered`, and so is what has changed: merge both up to there, then go on behind it.
            keys, covered = self._keys(shard, first, rows[-1][0] + b"\0" if len(rows) == wanted else end, wanted)
            merged = {key: value for key, value in rows if key < covered}
            for key in keys:
                current = self.get(shard, key)
                if current is None:
                    merged.pop(key, None)
                else:
                    merged[key] = current
            found.extend(sorted(merged.items()))
            first = covered
        return found[:limit]

    def _keys(self, shard: int, first: bytes, end: bytes, limit: int) -> tuple[list[bytes], bytes]:
        """Keys from `first` on that have changed, ascending, and below what key these are all: `limit` of them, at least, if there are so many below `end`."""
        keys, covered = self._changed.keys(shard, first, end, limit)
        if self._frozen is None:
            return keys, covered
        frozen, frozen_covered = self._frozen.keys(shard, first, end, limit)
        covered = min(covered, frozen_covered)
        return sorted({key for key in (*keys, *frozen) if key < covered}), covered

    def freeze(self) -> None:
        """Cut: everything staged up to now is what the next checkpoint covers. Costs nothing. One cut at a time."""
        assert self._frozen is None, "the last cut is not saved yet"
        self._frozen = self._changed
        self._changed = _Layer()
        self._unprepared = ((shard, key, cell) for shard, cells in self._frozen.cells.items() for key, cell in cells.items())

    def prepare(self, limit: int, size: int = PREPARED_BYTES) -> list[tuple[int, bytes, bytes | None]]:
        """Fold up to `limit` keys of the cut, about `size` bytes of values: (shard, key, value or None if gone), each key once over all calls.

        [] when there are no more.
        """
        assert self._frozen is not None, "no cut to prepare"
        assert self._unprepared is not None
        rows: list[tuple[int, bytes, bytes | None]] = []
        for shard, key, cell in self._unprepared:
            if not cell.known:
                cell.value = self._base.get(shard, key)
                cell.known = True
            value = self._current(key, cell)
            rows.append((shard, key, value))
            size -= 0 if value is None else len(value)
            if len(rows) == limit or size <= 0:
                break
        return rows

    def saved(self) -> list[Any]:
        """The checkpoint of the cut is durable and in the base: forget what it covers. The containers that it was in, which may be many elements to free."""
        frozen, self._frozen = self._frozen, None
        self._unprepared = None
        return [] if frozen is None else frozen.containers()

    def changed_count(self) -> int:
        """Keys held in memory."""
        return self._changed.count + (self._frozen.count if self._frozen is not None else 0)

    def changed_bytes(self) -> int:
        """Bytes of keys and deltas staged since the last cut, and of the cut."""
        return self._changed.size + (self._frozen.size if self._frozen is not None else 0)

    def _settled(self, shard: int, key: bytes) -> bytes | None:
        """The value as of the last cut."""
        if self._frozen is not None:
            cells = self._frozen.cells.get(shard)
            cell = cells.get(key) if cells is not None else None
            if cell is not None:
                if not cell.known:
                    cell.value = self._base.get(shard, key)
                    cell.known = True
                return self._current(key, cell)
        return self._base.get(shard, key)

    def _current(self, key: bytes, cell: _Cell) -> bytes | None:
        if cell.deltas:
            if self._many is not None and len(cell.deltas) > 1:
                cell.value = self._many(key, cell.value, cell.deltas)
            else:
                for delta in cell.deltas:
                    cell.value = self._fold(key, cell.value, delta)
            cell.deltas = []
        return cell.value
