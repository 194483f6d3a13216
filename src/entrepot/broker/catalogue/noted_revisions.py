"""NotedRevisions: how far the catalogue was when something was last made in a shard for one of its definitions: a log, or a group's offsets of a topic.

An owner serves a shard once its catalogue is at or past that revision: before, what no definition names may be something whose definition is on its way.
Then it is nothing, and dropped.
State of every shard under NOTED_KEY: u8 version (1), u32 epoch, u64 number, little-endian.
"""

from __future__ import annotations

import struct

from entrepot.broker.catalogue.changes import NO_REVISION, Revision
from entrepot.broker.state import NOTED_PREFIX, set_value
from entrepot.model.errors import CorruptData
from entrepot.store.interface import Store

NOTED_KEY = NOTED_PREFIX

_VERSION = 1
_REVISION = struct.Struct("<BIQ")


class NotedRevisions:
    """Of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[int, Revision] = {}  # of open shards that were asked for

    def of(self, shard: int) -> Revision:
        """What is noted in a shard. Raises CorruptData."""
        known = self._known.get(shard)
        if known is None:
            kept = self._store.get(shard, NOTED_KEY)
            known = self._known[shard] = NO_REVISION if kept is None else _read(kept)
        return known

    def note(self, shard: int, revision: Revision) -> None:
        """Something is made, in the open commit."""
        if revision > self.of(shard):
            self._known[shard] = revision
            self._store.fold(shard, NOTED_KEY, set_value(_REVISION.pack(_VERSION, *revision)))

    def forget(self, shard: int) -> None:
        """The shard closes."""
        self._known.pop(shard, None)


def _read(kept: bytes) -> Revision:
    if len(kept) != _REVISION.size or kept[0] != _VERSION:
        raise CorruptData(f"a shard's revision is kept as {kept!r}, which this version cannot read")
    _, epoch, number = _REVISION.unpack(kept)
    return Revision(epoch, number)
