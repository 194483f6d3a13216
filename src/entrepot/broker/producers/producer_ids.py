"""Producer ids: numbers that are given once, whatever happens. A process takes blocks of them, a change of the catalogue each, and gives from its own.

State of shard 0, key PRODUCER_IDS_KEY: u8 version 1, u64 first id that no block has (little-endian). Ids of a block that were not given when the
process ended are lost.
"""

from __future__ import annotations

from collections.abc import Iterator

from entrepot.broker.catalogue.changes import Revision, Row
from entrepot.broker.catalogue.stream import CatalogueStream, Ticket
from entrepot.broker.state import PRODUCER_IDS_PREFIX
from entrepot.model.errors import CorruptData, Reason, Refused

BLOCK_SIZE = 1000
EPOCH_MAX = 0x7FFE  # of an i16; behind it comes a new id
PRODUCER_IDS_KEY = PRODUCER_IDS_PREFIX + b"next"

_VERSION = 1
_SIZE = 9
_SHARD = 0


class ProducerIds:
    """Of one process. While shard 0 is elsewhere it gives what is left of its block."""

    prefixes: tuple[bytes, ...] = (PRODUCER_IDS_KEY[:3],)

    def __init__(self, stream: CatalogueStream) -> None:
        self._stream = stream
        self._next = 0
        self._end = 0
        self._taken_end = 0  # of all blocks that anybody has
        self._ticket: Ticket | None = None  # of the commit that keeps our block's end

    def load(self) -> None:
        """At opening. Raises CorruptData for a value of a newer version."""
        kept = self._stream.store.get(_SHARD, PRODUCER_IDS_KEY)
        if kept is not None:
            self._taken_end = _end_in(kept)
        self._stream.add(self)

    def apply(self, revision: Revision, rows: list[Row], *, more: bool = False) -> None:
        """See snapshots.Part."""
        for row in rows:
            if row.key == PRODUCER_IDS_KEY and not row.gone:
                self._taken_end = max(self._taken_end, _end_in(row.fields))

    def rows(self) -> Iterator[Row]:
        """See snapshots.Part."""
        if self._taken_end:
            yield _row(self._taken_end)

    def value(self, key: bytes, kept: bytes) -> bytes:
        """See snapshots.Part."""
        return kept

    def new(self) -> tuple[int, Ticket | None]:
        """An id never given before, and the commit before which it must not be told (None: it is durable). Unavailable: there is none without shard 0."""
        if self._next == self._end:
            first = self._taken_end
            self._stream.commit([_row(first + BLOCK_SIZE)])
            self._next, self._end = first, first + BLOCK_SIZE
            self._ticket = self._stream.ticket()
        given = self._next
        self._next += 1
        if self._ticket is not None and self._ticket.durable:
            self._ticket = None
        return given, self._ticket

    def following(self, producer_id: int, epoch: int) -> tuple[int, int, Ticket | None]:
        """The same id with the next epoch, or a new one with epoch 0 where there is no next. Refused UNKNOWN_PRODUCER: it was not given."""
        if not 0 <= producer_id < self._taken_end or self._next <= producer_id < self._end or epoch < 0:
            raise Refused(Reason.UNKNOWN_PRODUCER, f"producer id {producer_id} with epoch {epoch} was not given by this broker")
        if epoch < EPOCH_MAX:
            return producer_id, epoch + 1, self._ticket
        given, ticket = self.new()
        return given, 0, ticket


def _row(end: int) -> Row:
    return Row(PRODUCER_IDS_KEY, bytes((_VERSION,)) + end.to_bytes(8, "little"))


def _end_in(kept: bytes) -> int:
    if len(kept) != _SIZE or kept[0] != _VERSION:
        raise CorruptData(f"the next producer id is kept as {kept!r}, which this version cannot read")
    return int.from_bytes(kept[1:], "little")
