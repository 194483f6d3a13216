"""OwnerMap: which owner has what where several processes are one broker: by the process whose a shard is, and by the start in which a home is.

What is another process's is reached through its Crossing, which a start that is dead leaves as long as its process may return; else it is Unavailable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from entrepot.broker.calls.port import Attachment
from entrepot.broker.front.held_calls import CatalogueAway
from entrepot.broker.front.owner_table import Definition, OwnerTable
from entrepot.broker.logs.hub import Hub
from entrepot.broker.owner.local_owner import LocalOwner
from entrepot.broker.owners import Owner
from entrepot.cluster.owners.crossing import HOME, Crossing
from entrepot.model.errors import Unavailable
from entrepot.store.interface import Store

START_ID_AT = 8  # of a start (greeting.py): what follows is chance, and the id of its homes

DURABLE = 1  # the owner of a process, by its number on a link, that its next start is again


def start_id_of(start: bytes) -> bytes:
    """What the homes of that start are called."""
    return start[START_ID_AT:]


class OwnerMap(OwnerTable):
    """Of the front of the process `name`. worker_of(shard): the name of the process whose that is. `crossings`: by the name of the other process."""

    def __init__(self, name: str, worker_of: Callable[[int], str], hub: Hub, store: Store, volatile: Store) -> None:
        super().__init__(hub, store, volatile)
        self._name = name
        self._worker_of = worker_of
        self.crossings: dict[str, Crossing] = {}

    def is_here(self, shard: int) -> bool:
        """Whether a shard is this process's, open or not."""
        return self._worker_of(shard) == self._name

    def owner_of(self, shard: int) -> Owner:
        """See OwnerTable."""
        name = self._worker_of(shard)
        if name == self._name:
            return super().owner_of(shard)
        crossing = self.crossings.get(name)
        if crossing is None:
            raise Unavailable(f"shard {shard} is of '{name}', which is not there now")
        return crossing.remote[DURABLE]

    def home_of(self, definition: Definition) -> Owner:
        """See OwnerTable. A start that is not there is dead, and the catalogue will say so, or is about to be reached: see Member and Following, which
        then release what has waited for it.
        """
        if not definition.home or definition.home == self.start_id:
            return super().home_of(definition)
        owner = self.home_of_start(definition.home)
        if owner is None:
            raise CatalogueAway(f"queue '{definition.name}' lives in a process that is not there now")
        return owner

    def home_of_start(self, start_id: bytes) -> Owner | None:
        """See OwnerTable."""
        found = (crossing for crossing in self.crossings.values() if not crossing.is_over and start_id_of(crossing.link.peer) == start_id)
        return next((crossing.remote[HOME] for crossing in found), None)

    def process_of(self, owners: Iterable[Owner]) -> str:
        """See OwnerTable. One that is not there now is none."""
        wanted = set(owners)
        found = (name for name, crossing in self.crossings.items() if wanted and wanted.issubset(crossing.remote) and not crossing.is_over)
        return next(found, "")

    def owes(self, attachment: Attachment) -> bool:
        """See OwnerTable."""
        return any(remote.owes(attachment) for crossing in self.crossings.values() for remote in crossing.remote)

    def check_open(self, definition: Definition) -> None:
        """See OwnerTable: there is always something that is not open here."""
        self.by_owner(definition)

    def everyone(self) -> list[Owner]:
        """See OwnerTable."""
        return [*super().everyone(), *(remote for crossing in self.crossings.values() for remote in crossing.remote[crossing.is_over :])]

    def kept_doors(self) -> Iterable[Any]:
        """See OwnerTable."""
        return [door for crossing in self.crossings.values() for served in crossing.served for door in served.doors.values()]

    def served(self) -> list[LocalOwner]:
        """The owners here, by their numbers on a link."""
        return [self.home, self.durable]
