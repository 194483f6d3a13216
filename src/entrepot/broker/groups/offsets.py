"""GroupOffsets: what one group has committed, in memory and in the store."""

from __future__ import annotations

from collections.abc import Iterator

from entrepot.broker.group_requests import CommittedOffset
from entrepot.broker.groups.desk import Desk
from entrepot.broker.groups.kept import encode_offset, group_key, offset_key
from entrepot.broker.quotas import METADATA, OFFSETS, Account
from entrepot.broker.state import DELETE, OFFSET_PREFIX

NOTHING = CommittedOffset(-1)


class GroupOffsets:
    """Committed offsets by topic and partition. Every change is staged; who waits for it hangs on the open commit."""

    __slots__ = ("_account", "_desk", "_key", "_shard", "table")

    def __init__(self, desk: Desk, namespace: str, group: str, account: Account) -> None:
        self._desk = desk
        self._account = account
        self._shard = desk.shard(namespace, group)
        self._key = group_key(OFFSET_PREFIX, namespace, group)
        self.table: dict[str, dict[int, CommittedOffset]] = {}

    def commit(self, topic: str, partition: int, committed: CommittedOffset) -> None:
        """Remember one offset. Refused (LIMIT): there are as many as there may be."""
        partitions = self.table.get(topic)
        before = None if partitions is None else partitions.get(partition)
        if before is None:
            self._account.take({OFFSETS: 1, METADATA: len(committed.metadata)})
        elif committed.metadata != before.metadata:
            self._account.take({METADATA: len(committed.metadata) - len(before.metadata)})
        if partitions is None:
            partitions = self.table[topic] = {}
        partitions[partition] = committed
        self._desk.store.fold(self._shard, offset_key(self._key, topic, partition), encode_offset(committed))

    def get(self, topic: str, partition: int) -> CommittedOffset:
        """What was committed; NOTHING if nothing was."""
        partitions = self.table.get(topic)
        return NOTHING if partitions is None else partitions.get(partition, NOTHING)

    def all(self) -> Iterator[tuple[tuple[str, int], CommittedOffset]]:
        """Everything."""
        for topic, partitions in self.table.items():
            for partition, committed in partitions.items():
                yield (topic, partition), committed

    def delete(self, topic: str, partition: int) -> None:
        """Forget one; nothing if there is none."""
        partitions = self.table.get(topic)
        gone = None if partitions is None else partitions.pop(partition, None)
        if gone is not None:
            self._account.count({OFFSETS: -1, METADATA: -len(gone.metadata)})
            self._desk.store.fold(self._shard, offset_key(self._key, topic, partition), DELETE)
            if not partitions:
                del self.table[topic]

    def delete_topic(self, topic: str) -> None:
        """Forget all of a topic."""
        for partition in list(self.table.get(topic, ())):
            self.delete(topic, partition)

    def delete_all(self) -> None:
        """Forget everything."""
        for topic in list(self.table):
            self.delete_topic(topic)

    def expire(self, before_ms: int) -> None:
        """Forget what was committed before."""
        old = [place for place, committed in self.all() if committed.time_ms < before_ms]
        for topic, partition in old:
            self.delete(topic, partition)

    def restore(self, topic: str, partition: int, committed: CommittedOffset) -> None:
        """Take in what was kept."""
        self._account.count({OFFSETS: 1, METADATA: len(committed.metadata)})
        self.table.setdefault(topic, {})[partition] = committed
