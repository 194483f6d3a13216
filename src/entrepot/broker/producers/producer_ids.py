"""Producer ids: numbers that are given once, whatever happens. They are taken from blocks, whose end is kept before the first of them is told.

State of shard 0, key PRODUCER_IDS_KEY: u8 version 1, u64 first id that no block has (little-endian). Ids of a block that were not given when the
process ended are lost.
"""

from __future__ import annotations

from entrepot.broker.state import PRODUCER_IDS_PREFIX, set_value
from entrepot.model.errors import CorruptData, Reason, Refused
from entrepot.store.interface import Group, Store

BLOCK_SIZE = 1000
EPOCH_MAX = 0x7FFE  # of an i16; behind it comes a new id
PRODUCER_IDS_KEY = PRODUCER_IDS_PREFIX + b"next"

_VERSION = 1
_SIZE = 9
_SHARD = 0


class ProducerIds:
    """Of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._next = 0
        self._end = 0
        self._group: Group | None = None  # the commit that keeps the block's end

    def load(self) -> None:
        """At opening. Raises CorruptData for a value of a newer version."""
        kept = self._store.get(_SHARD, PRODUCER_IDS_KEY)
        if kept is None:
            return
        if len(kept) != _SIZE or kept[0] != _VERSION:
            raise CorruptData(f"the next producer id is kept as {kept!r}, which this version cannot read")
        self._next = self._end = int.from_bytes(kept[1:], "little")

    def new(self) -> tuple[int, Group | None]:
        """An id never given before, and the commit before which it must not be told (None: it is durable)."""
        if self._next == self._end:
            self._end += BLOCK_SIZE
            self._store.fold(_SHARD, PRODUCER_IDS_KEY, set_value(bytes((_VERSION,)) + self._end.to_bytes(8, "little")))
            self._store.urgent()
            self._group = self._store.group()
        given = self._next
        self._next += 1
        if self._group is not None and self._group.durable:
            self._group = None
        return given, self._group

    def following(self, producer_id: int, epoch: int) -> tuple[int, int, Group | None]:
        """The same id with the next epoch, or a new one with epoch 0 where there is no next. Refused UNKNOWN_PRODUCER: it was never given."""
        if not 0 <= producer_id < self._next or epoch < 0:
            raise Refused(Reason.UNKNOWN_PRODUCER, f"producer id {producer_id} with epoch {epoch} was not given by this broker")
        if epoch < EPOCH_MAX:
            return producer_id, epoch + 1, self._group
        given, group = self.new()
        return given, 0, group
