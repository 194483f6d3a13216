"""OwnerTable: which owner has what, as a front knows it: by shard what is persistent; at home, in this process, what is not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from typing import Any, TypeAlias, TypeVar

from entrepot.broker.calls.port import Attachment
from entrepot.broker.catalogue.definitions import QueueDefinition, TopicDefinition
from entrepot.broker.catalogue.shards import HOME, Shards
from entrepot.broker.logs.hub import Hub
from entrepot.broker.owner.local_owner import LocalOwner
from entrepot.broker.owners import Owner
from entrepot.model.errors import Unavailable
from entrepot.store.interface import Log, Store

Definition: TypeAlias = QueueDefinition | TopicDefinition
Of = TypeVar("Of")


class OwnerTable:
    """Of one front. `shards` are set when it is known how many there are. Alone, one owner has all that is persistent.

    `loading`: shards that a store has opened, and that are not all alive again, and `start_id`, whose homes are here: the broker sets them.
    `home_shard`(start's id) is what stands for the home of another process in place of a shard; HOME, where nobody knows it: it is nowhere.
    """

    def __init__(self, hub: Hub, store: Store, volatile: Store) -> None:
        self.shards: Shards | None = None
        self.start_id = b""
        self.loading: AbstractSet[int] = frozenset()
        self.home_shard: Callable[[bytes], int] = _nowhere
        self.home = LocalOwner(hub, volatile)
        self.durable = LocalOwner(hub, store)

    def owner_of(self, shard: int) -> Owner:
        """Who has it. Unavailable: nobody, as far as is known here."""
        owner = self.here(shard)
        if shard in owner.store.closed or shard in self.loading:
            raise Unavailable(f"shard {shard} is on its way to another owner")
        return self.reached(owner)

    def in_order(self, by_owner: dict[Owner, Of]) -> list[tuple[Owner, Of]]:
        """What is for several owners, in the order in which they are asked: first the one at home, who may refuse for want of space."""
        found = list(by_owner.items())
        if len(found) > 1:
            home = self.reached(self.home)
            found.sort(key=lambda item: item[0] is not home)
        return found

    def by_owner(self, definition: Definition, partitions: range | None = None) -> dict[Owner, list[bytes]]:
        """The logs of a queue or topic, or of some of its partitions, by who has them. Unavailable, where one of them is not open anywhere."""
        if not isinstance(definition, TopicDefinition):
            return {self.owner(definition): [definition.log_id]}
        assert self.shards is not None
        numbers = range(len(definition.partitions)) if partitions is None else partitions
        found: dict[Owner, list[bytes]] = {}
        for number, shard in zip(numbers, self.shards.shards("topic", definition.namespace, definition.name, numbers), strict=True):
            try:
                owner = self.owner_of(shard)
            except Unavailable:
                raise _away(definition, number) from None
            found.setdefault(owner, []).append(definition.partitions[number])
        return found

    def owner(self, definition: Definition, partition: int = 0) -> Owner:
        """The owner of a queue, or of one partition of a topic. Unavailable, and the definition's name with it."""
        assert self.shards is not None
        shard = self.shards.place(definition, partition)
        if shard == HOME:
            return self.home_of(definition)
        try:
            return self.owner_of(shard)
        except Unavailable:
            raise _away(definition, partition) from None

    def place(self, definition: Definition, partition: int = 0) -> int:
        """The shard of a queue, or of one partition of a topic; what stands for its home, where it has none. Whether it is open anywhere is not looked at."""
        assert self.shards is not None
        shard = self.shards.place(definition, partition)
        return self.home_shard(definition.home) if shard == HOME and definition.home and definition.home != self.start_id else shard

    def home_of(self, definition: Definition) -> Owner:
        """Who has what is in no shard. Unavailable: another process."""
        if definition.home and definition.home != self.start_id:
            raise Unavailable(f"queue '{definition.name}' lives in another process")
        return self.reached(self.home)

    def home_of_start(self, start_id: bytes) -> Owner | None:
        """Who has what lives in that start of another process; None: none that is known."""
        return None

    def process_of(self, owners: Iterable[Owner]) -> str:
        """The other process in which all of these are; empty: there is none, or they are in several."""
        return ""

    def owes(self, attachment: Attachment) -> bool:
        """Whether an owner in another process has not yet said that it has all of what was published here."""
        return False

    def check_open(self, definition: Definition) -> None:
        """Unavailable, where some of it is not open anywhere. While everything is, nothing is looked for."""
        if self.loading or any(owner.store.closed for owner in self.local()):
            self.by_owner(definition)

    def everyone(self) -> list[Owner]:
        """All that are known, as this front reaches them."""
        return [self.reached(owner) for owner in self.local()]

    # ---- what is in this process

    def reached(self, owner: LocalOwner) -> Owner:
        """How this front reaches an owner: directly."""
        return owner

    def local(self) -> list[LocalOwner]:
        """The owners."""
        return [self.home, self.durable]

    def kept_doors(self) -> Iterable[Any]:
        """What these owners keep for connections that another front serves: each with its `consumers` by number."""
        return ()

    def let_go(self) -> None:
        """A shard moves: keep nothing of what is in it."""
        for owner in self.local():
            owner.let_go()

    def is_here(self, shard: int) -> bool:
        """Whether a shard is this process's, open or not."""
        return True

    def here(self, shard: int) -> LocalOwner:
        """Who has a shard of this process, open or not."""
        return self.durable

    def holder(self, log: Log) -> LocalOwner:
        """Who has a log."""
        return self.home if log.volatile else self.here(log.shard)

    def store_of(self, log: Log) -> Store:
        """Where a log is."""
        return self.holder(log).store

    def holders(self, definition: Definition, first: int = 0) -> list[tuple[int, bytes, LocalOwner]]:
        """Of each of its logs, of a topic from partition `first` on: its shard, its id, and who has it, or is to make it."""
        assert self.shards is not None
        if not isinstance(definition, TopicDefinition):
            shard = self.shards.shard("queue", definition.namespace, definition.name)  # its log has one, whether or not it survives
            return [(shard, definition.log_id, self.here(shard) if definition.persistent else self.home)]
        log_ids = definition.partitions[first:]
        shards = self.shards.shards("topic", definition.namespace, definition.name, range(first, first + len(log_ids)))
        return [(shard, log_id, self.here(shard)) for shard, log_id in zip(shards, log_ids, strict=True)]


def _nowhere(_start_id: bytes) -> int:
    return HOME


def _away(definition: Definition, partition: int) -> Unavailable:
    what = f"partition {partition} of topic" if definition.is_topic else "queue"
    return Unavailable(f"{what} '{definition.name}' is on its way to another owner")
