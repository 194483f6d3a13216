"""Shards: the fixed hash slots that resources belong to; in a cluster, the unit of ownership.

How many there are is set when a data directory is made, and kept (state of shard 0, key SHARD_COUNT_KEY: u8 version 2, u16 count,
little-endian). A resource's shard never changes while its name lives: the upper half of the 32-bit product of 0x9E3779B1 and CRC-32C over its kind, a zero
octet, its namespace, a slash and its name, to which its partition is added, modulo the count. So the partitions of a topic follow each other, and are spread
over members evenly; and names that differ by a digit are not alike in the bits that count (CRC is linear: by itself it left "q0" to "q7" to two of four).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import crc32c

from entrepot.broker.state import CATALOGUE_PREFIX, set_value
from entrepot.model.errors import CorruptData, Unavailable
from entrepot.store.interface import Store

CATALOGUE = 0  # the shard whose owner decides what there is
HOME = 0xFFFF  # in place of a shard: what is not persistent is in none, and lives in one process
HOMES_FIRST = 0xFFFE  # the same, of process number 0 of a cluster, as the others name it; that of number n is n less
HOMES_MAX = 256
SHARD_COUNT_DEFAULT = 256
SHARD_COUNT_KEY = CATALOGUE_PREFIX + b"s"

_VERSION = 2
_SIZE = 3
_SPREAD = 0x9E3779B1  # 2^32 by the golden ratio, odd (Knuth, The Art of Computer Programming, volume 3, 6.4: multiplicative hashing)


class Shards:
    """The shards of one store."""

    def __init__(self, count: int) -> None:
        self.count = count

    @classmethod
    def of(cls, store: Store) -> Shards:
        """Those that the store was made with; a new store keeps the default. Raises CorruptData for a value of another version."""
        kept = store.get(0, SHARD_COUNT_KEY)
        if kept is None:
            store.fold(0, SHARD_COUNT_KEY, set_value(bytes([_VERSION]) + SHARD_COUNT_DEFAULT.to_bytes(2, "little")))
            return cls(SHARD_COUNT_DEFAULT)
        count = int.from_bytes(kept[1:_SIZE], "little")
        if len(kept) != _SIZE or kept[0] != _VERSION or count == 0:
            raise CorruptData(f"the number of shards is kept as {kept!r}, which this version cannot read")
        return cls(count)

    def shard(self, kind: str, namespace: str, name: str, partition: int = 0) -> int:
        """The shard of a "queue" or of a partition of a "topic"."""
        return (_first(kind, namespace, name) + partition) % self.count

    def place(self, definition: Placed, partition: int = 0) -> int:
        """The shard of a queue, or of one partition of a topic; HOME: it has none."""
        if partition:
            return self.shard("topic", definition.namespace, definition.name, partition)
        if definition.shard is None:
            kind = "topic" if definition.is_topic else "queue"
            definition.shard = self.shard(kind, definition.namespace, definition.name) if definition.persistent else HOME
        return definition.shard

    def shards(self, kind: str, namespace: str, name: str, partitions: range) -> list[int]:
        """shard() of each of many partitions."""
        count, first = self.count, _first(kind, namespace, name)
        return [(first + partition) % count for partition in partitions]


def _first(kind: str, namespace: str, name: str) -> int:
    return (crc32c.crc32c(f"{kind}\0{namespace}/{name}".encode("utf-8", "surrogateescape")) * _SPREAD & 0xFFFFFFFF) >> 16


class Placed(Protocol):
    """A definition of a queue or topic, as far as it says where it is. `shard`: place() of it, or of its first partition, once somebody has asked."""

    namespace: str
    name: str
    shard: int | None

    @property
    def is_topic(self) -> bool:
        """Whether it has partitions."""

    @property
    def persistent(self) -> bool:
        """Whether it survives a restart."""


class HasShards(Protocol):
    """A store, as far as it says which of its shards are not open here."""

    closed: set[int]


def check_open(store: HasShards, shards: Iterable[int]) -> None:
    """Raises Unavailable where something is to be made in a shard that is not open here."""
    for shard in shards:
        if shard in store.closed:
            raise Unavailable(f"shard {shard} is on its way to another owner")
