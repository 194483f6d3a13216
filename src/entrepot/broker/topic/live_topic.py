"""LiveTopic: a topic as far as it is in this process: its partitions by number, each with the Topic of the owner that has it.

What looks for a partition finds it here: Kafka's appends, reads and searches, whose clients were told where it is. What a consumer reads it reads at the
owners, who know nothing of each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from entrepot.broker.logs.hub import Hub
from entrepot.broker.subscription.consumer import Consumer
from entrepot.broker.topic.partition import Partition, TopicRules
from entrepot.broker.topic.topic import Topic
from entrepot.broker.topic.topic_config import TopicPolicy
from entrepot.model.errors import NotDone, Unavailable
from entrepot.store.interface import Log, Store


class LiveTopic:
    """Of one definition. `rules`, which all its partitions share, are as its configuration is; `gone`: why not all of them are open here, or None."""

    def __init__(self, definition: Any, hub: Hub, store_of: Callable[[Log], Store], logs: list[Log], policy: TopicPolicy | None = None) -> None:
        self.definition = definition
        self.rules = TopicRules(definition.name)
        self.partitions: list[Partition] = []
        self.topics: dict[Store, Topic] = {}  # by where the owner keeps them
        self.gone: NotDone | None = None
        self._hub = hub
        self._store_of = store_of
        self._away: set[int] = set()
        self._policy = policy or TopicPolicy(definition.policy.max_age_ms, definition.policy.max_length_bytes)
        for log in logs:
            self.add_log(log)
        self.configure(self._policy)

    @property
    def logs(self) -> list[Log]:
        """Its partitions' logs."""
        return [partition.log for partition in self.partitions]

    def consumer_count(self) -> int:
        """How many read it at the owners that are here."""
        return sum(topic.consumer_count() for topic in self.topics.values())

    def ready_count(self) -> int:
        """Records there are, those not yet durable and control records included."""
        return sum(partition.log.next_offset - partition.log.first_offset for partition in self.partitions)

    def add_log(self, log: Log) -> None:
        """One more partition."""
        self.add([self.prepared(log, len(self.partitions))])

    def prepared(self, log: Log, number: int) -> Partition:
        """A partition that add() takes."""
        store = self._store_of(log)
        topic = self.topics.get(store)
        if topic is None:
            topic = self.topics[store] = Topic(self.definition, self._hub, store, self.rules, self._policy)
            topic.configure(self._policy)
        return topic.prepared(log, number)

    def add(self, partitions: Iterable[Partition]) -> None:
        """More partitions: the next in number."""
        for partition in partitions:
            self.partitions.append(partition)
            topic: Any = partition.topic
            topic.add(partition)

    def describe_by(self, definition: Any) -> None:
        """What it is, in the catalogue: it was prepared by another description."""
        self.definition = definition
        for topic in self.topics.values():
            topic.definition = definition

    def configure(self, policy: TopicPolicy) -> None:
        """What holds from now on."""
        self._policy = policy
        rules = self.rules
        rules.append_time = policy.append_time
        rules.compression = policy.compression
        rules.max_message_bytes = policy.max_message_bytes
        rules.before_max_ms = policy.before_max_ms
        rules.after_max_ms = policy.after_max_ms
        for topic in self.topics.values():
            topic.configure(policy)

    # ---- partitions whose shard closes and opens

    def has(self, partition: Partition) -> bool:
        """Whether it is one of this topic's, and not one that is being made or has ended."""
        return partition.number < len(self.partitions) and self.partitions[partition.number] is partition

    def leave(self, partition: Partition) -> None:
        """It is not open here any more."""
        self.gone = Unavailable(f"partition {partition.number} of topic '{self.definition.name}' is on its way to another owner")
        self._away.add(partition.number)
        topic: Any = partition.topic
        topic.leave(partition, self.gone)

    def return_to(self, number: int) -> None:
        """It is open again."""
        left = self.partitions[number]
        self.partitions[number] = self.topics[self._store_of(left.log)].return_to(left)
        self._away.discard(number)
        if not self._away:
            self.gone = None

    def close(self) -> list[Consumer]:
        """The topic is gone: nobody finds it, and reading ends. Who was reading. Its partitions are closed by themselves (operations/topic_ending.py)."""
        self.rules.closed = True
        return [consumer for topic in self.topics.values() for consumer in topic.close()]
