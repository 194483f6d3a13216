"""OwnersHere: an OwnerTable as those see it who write in one commit with what they have done already: what is open in this process, and nothing else."""

from __future__ import annotations

from typing import TypeVar

from entrepot.broker.catalogue.shards import HOME
from entrepot.broker.front.owner_table import Definition, OwnerTable
from entrepot.broker.owner.local_owner import LocalOwner
from entrepot.broker.owners import Owner
from entrepot.model.errors import Unavailable

Of = TypeVar("Of")


class OwnersHere:
    """Of one table. Whatever is elsewhere is Unavailable: it goes there by intent (outbox/), and never over a link, where it would be a commit of its own."""

    def __init__(self, table: OwnerTable) -> None:
        self.table = table
        self.home: LocalOwner = table.home
        self.durable: LocalOwner = table.durable

    def owner(self, definition: Definition, partition: int = 0) -> Owner:
        """The owner of a queue, or of one partition of a topic, called directly. Unavailable: it is not open here."""
        shard = self.table.place(definition, partition)
        if shard == HOME and definition.home in (b"", self.table.start_id):
            return self.home
        if self.is_open(shard):
            return self.table.here(shard)
        raise Unavailable(f"'{definition.name}' is not open in this process")

    def is_open(self, shard: int) -> bool:
        """Whether that shard is open in this process."""
        shards = self.table.shards
        assert shards is not None
        return shard < shards.count and shard not in self.table.here(shard).store.closed and shard not in self.table.loading

    def in_order(self, by_owner: dict[Owner, Of]) -> list[tuple[Owner, Of]]:
        """See OwnerTable: the one at home first."""
        return sorted(by_owner.items(), key=lambda item: item[0] is not self.home)
