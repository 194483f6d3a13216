"""Folded state by kind: one store has one fold function, every kind of state its own prefix and its own fold.

A key is `prefix + rest`; a prefix is two bytes and ends in a colon. Kinds register before the store opens; a key that no kind owns
means data of a newer version, and stops the start.
"""

from __future__ import annotations

from collections.abc import Callable

from entrepot.model.errors import CorruptData
from entrepot.store.interface import Fold

CATALOGUE_PREFIX = b"c:"
GROUP_PREFIX = b"g:"
OFFSET_PREFIX = b"o:"
PRODUCER_IDS_PREFIX = b"i:"
CLUSTER_PREFIX = b"n:"
MOVE_PREFIX = b"m:"
NOTED_PREFIX = b"v:"
SUBJECT_PREFIX = b"w:"
FRONT_PREFIX = b"f:"
LAST_VALUE_PREFIX = b"a:"

PREFIX_SIZE = 2  # bytes

FoldMany = Callable[[bytes, "bytes | None", list[bytes]], "bytes | None"]

SET = b"\x01"
DELETE = b"\x00"


class StateFolds:
    """The store's Fold, made of one fold per key prefix."""

    def __init__(self) -> None:
        self._folds: dict[bytes, Fold] = {}
        self.absolute: frozenset[bytes] = frozenset()
        self._folds_of_many: dict[bytes, FoldMany] = {}

    @property
    def fold(self) -> Fold:
        """The store's Fold."""
        return self

    def register(self, prefix: bytes, fold: Fold, *, absolute: bool = False, many: FoldMany | None = None) -> None:
        """Hand every key that starts with `prefix` to `fold`; a prefix belongs to one kind for good. `absolute`, `many`: see store.interface.Fold."""
        assert len(prefix) == PREFIX_SIZE, prefix
        assert prefix.endswith(b":"), prefix
        assert prefix not in self._folds, prefix
        self._folds[prefix] = fold
        if absolute:
            self.absolute |= {prefix}
        if many is not None:
            self._folds_of_many[prefix] = many

    def __call__(self, key: bytes, value: bytes | None, delta: bytes) -> bytes | None:
        """The store's Fold. Raises CorruptData for a key of no known kind."""
        fold = self._folds.get(key[:PREFIX_SIZE])
        if fold is None:
            raise CorruptData(f"state key {key[:40]!r} is of no kind this version knows: written by a newer version?")
        return fold(key, value, delta)

    def many(self, key: bytes, value: bytes | None, deltas: list[bytes]) -> bytes | None:
        """As one delta after the other."""
        fold = self._folds_of_many.get(key[:PREFIX_SIZE])
        if fold is not None:
            return fold(key, value, deltas)
        for delta in deltas:
            value = self(key, value, delta)
        return value


def fold_value(key: bytes, value: bytes | None, delta: bytes) -> bytes | None:  # noqa: ARG001 - the shape of every fold
    """State that is replaced whole: a delta is SET and the new value, or DELETE."""
    return delta[1:] if delta[:1] == SET else None


def set_value(value: bytes) -> bytes:
    """The delta that makes `value` the value of a fold_value() key."""
    return SET + value


def prefix_end(prefix: bytes) -> bytes:
    """The first key after all that start with `prefix`, for Store.scan()."""
    return prefix[: len(prefix) - 1] + bytes((prefix[len(prefix) - 1] + 1,))
