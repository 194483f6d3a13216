"""GroupOffsets: what one group has committed, in memory and in the store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from entrepot.broker.calls.group_requests import CommittedOffset
from entrepot.broker.catalogue.quotas import METADATA, OFFSETS, Account
from entrepot.broker.groups.desk import Desk
from entrepot.broker.groups.kept import encode_offset, group_key, offset_key
from entrepot.broker.groups.work import Pieces
from entrepot.broker.state import DELETE, OFFSET_PREFIX

NOTHING = CommittedOffset(-1)
FORGETTING_STEPS = 3  # of forgetting one, of work.py
_PIECE = 64


class GroupOffsets:
    """Committed offsets by topic and partition. Every change is staged; who waits for it hangs on the open commit."""

    __slots__ = ("_account", "_desk", "_ids", "_key", "_namespace", "closed", "count", "shard", "table")

    def __init__(self, desk: Desk, namespace: str, group: str, account: Account) -> None:
        self._desk = desk
        self._account = account
        self._namespace = namespace
        self.shard = desk.shard(namespace, group)
        self._key = group_key(OFFSET_PREFIX, namespace, group)
        self.table: dict[str, dict[int, CommittedOffset]] = {}
        self._ids: dict[str, bytes] = {}  # of the topics in it
        self.count = 0
        self.closed = False  # their shard is not open here any more

    def commit(self, topic: str, topic_id: bytes, partition: int, committed: CommittedOffset) -> None:
        """Remember one offset. What was committed of another topic of that name is forgotten. Refused (LIMIT): there are as many as there may be."""
        if self._ids.get(topic, topic_id) != topic_id:
            self.delete_topic(topic)
        partitions = self.table.get(topic)
        before = None if partitions is None else partitions.get(partition)
        if before is None:
            self._account.take({OFFSETS: 1, METADATA: len(committed.metadata)})
        elif committed.metadata != before.metadata:
            self._account.take({METADATA: len(committed.metadata) - len(before.metadata)})
        self._put(topic, topic_id, partition, committed)
        self._desk.store.fold(self.shard, offset_key(self._key, topic, partition), encode_offset(committed, topic_id))

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
            self.count -= 1
            self._account.count({OFFSETS: -1, METADATA: -len(gone.metadata)})
            self._desk.store.fold(self.shard, offset_key(self._key, topic, partition), DELETE)
            if not partitions:
                del self.table[topic]
                del self._ids[topic]
                holders = self._desk.holders[self._namespace, topic]
                del holders[self]
                if not holders:
                    del self._desk.holders[self._namespace, topic]

    def close(self) -> None:
        """Their shard closes: they are known here no more, and whoever is at work on them over turns of the loop finds nothing left."""
        for topic in self.table:
            holders = self._desk.holders[self._namespace, topic]
            del holders[self]
            if not holders:
                del self._desk.holders[self._namespace, topic]
        self.table.clear()
        self.count = 0
        self.closed = True

    def delete_topic(self, topic: str) -> None:
        """Forget all of a topic."""
        for partition in list(self.table.get(topic, ())):
            self.delete(topic, partition)

    def delete_all(self) -> None:
        """Forget everything."""
        for topic in list(self.table):
            self.delete_topic(topic)

    def thin_out(self, count: int, topics: Iterable[str] | None = None) -> int:
        """Forget at most `count`, of these topics or of any; how many."""
        gone = 0
        for topic in list(self.table) if topics is None else topics:
            for partition in list(islice(self.table.get(topic, ()), count - gone)):
                self.delete(topic, partition)
                gone += 1
            if gone == count:
                break
        return gone

    def expiring(self, before_ms: int) -> Pieces:
        """Forget what was committed before, in pieces."""
        for topic in list(self.table):
            partitions = list(self.table.get(topic, ()))
            for start in range(0, len(partitions), _PIECE):
                for partition in partitions[start : start + _PIECE]:
                    committed = self.get(topic, partition)
                    if committed is not NOTHING and committed.time_ms < before_ms:
                        self.delete(topic, partition)
                yield FORGETTING_STEPS * len(partitions[start : start + _PIECE])

    def _put(self, topic: str, topic_id: bytes, partition: int, committed: CommittedOffset) -> None:
        partitions = self.table.get(topic)
        if partitions is None:
            partitions = self.table[topic] = {}
            self._ids[topic] = topic_id
            self._desk.holders.setdefault((self._namespace, topic), {})[self] = None
        self.count += partition not in partitions
        partitions[partition] = committed

    def restore(self, topic: str, topic_id: bytes, partition: int, committed: CommittedOffset) -> None:
        """Take in what was kept."""
        self._account.count({OFFSETS: 1, METADATA: len(committed.metadata)})
        self._put(topic, topic_id, partition, committed)

    def drop(self, topic: str, partition: int) -> None:
        """Forget what was kept of a topic that is not there any more."""
        self._desk.store.fold(self.shard, offset_key(self._key, topic, partition), DELETE)
