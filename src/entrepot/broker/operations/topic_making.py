"""Topics of very many partitions: what they need is made over turns of the loop, where nobody sees it, and all of it comes to be in one commit; it ends alike.

Ten thousand partitions are ten thousand logs and as many objects of the broker's. None of them is in the store or in the catalogue until the last
is made; then the topic, or what is added to it, is checked once more, since others had their turn meanwhile, and is there at once. After a crash there is
all of it or nothing.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import NamedTuple

from entrepot.broker.catalogue.definitions import TopicDefinition
from entrepot.broker.catalogue.shards import CATALOGUE, check_open
from entrepot.broker.groups.work import Pieces
from entrepot.broker.operations.parts import BrokerParts
from entrepot.broker.topic.live_topic import LiveTopic
from entrepot.broker.topic.partition import Partition
from entrepot.broker.topic.topic_config import policy_of
from entrepot.store.interface import Log

AT_ONCE = 256  # partitions that are made in one go
LOG_STEPS = 3  # of making one log, of net/turns.py
_PIECE = 64

Making = Generator[int, None, TopicDefinition]


class Prepared(NamedTuple):
    """What was made for a topic before it is in the catalogue, or for more partitions of one: `logs` that are in no store yet."""

    topic: LiveTopic
    logs: list[Log]
    partitions: list[Partition]


class TopicMaking:
    """Over one broker. `prepared`: where whoever brings a topic to life finds what was made for it, by its id."""

    def __init__(self, broker: BrokerParts, prepared: dict[bytes, Prepared]) -> None:
        self._broker = broker
        self._prepared = prepared

    def create(self, topic: TopicDefinition, count: int) -> Making:
        """Make the topic that Decisions.new_topic() has described, of `count` partitions. Raises Refused if it may not be by then."""
        broker = self._broker
        runtime = LiveTopic(topic, broker.hub, broker.owners.store_of, [], policy_of(topic, broker.topic_defaults))
        logs: list[Log] = []
        try:
            for piece in self._logs(topic, 0, count, logs):
                runtime.add([runtime.prepared(log, number) for number, log in enumerate(logs[len(runtime.partitions) :], len(runtime.partitions))])
                yield piece
            topic.partitions = [log.id for log in logs]
            check_open(broker.store, (CATALOGUE, *(log.shard for log in logs)))
            self._prepared[topic.id] = Prepared(runtime, logs, [])
            return broker.decisions.add_topic(topic)
        except BaseException:
            self._prepared.pop(topic.id, None)
            runtime.close()
            raise

    def add(self, topic: TopicDefinition, count: int) -> Making:
        """Have `count` partitions: the topic of that name by then. Raises Refused, as Decisions.add_partitions(), also by what is then."""
        broker = self._broker
        while True:
            broker.decisions.add_partitions(topic, count, check_only=True)
            runtime: LiveTopic = topic.runtime
            begun = len(topic.partitions)
            logs: list[Log] = []
            made: list[Partition] = []
            for piece in self._logs(topic, begun, count, logs):
                made += [runtime.prepared(log, number) for number, log in enumerate(logs[len(made) :], begun + len(made))]
                yield piece
            topic = broker.catalogue.find_topic(topic.namespace, topic.name)
            if topic.runtime is runtime and len(topic.partitions) == begun:
                break
        check_open(broker.store, (CATALOGUE, *(log.shard for log in logs)))
        self._prepared[topic.id] = Prepared(runtime, logs, made)
        try:
            broker.decisions.add_partitions(topic, count, [log.id for log in logs])
        finally:
            self._prepared.pop(topic.id, None)
        return topic

    def _logs(self, topic: TopicDefinition, first: int, end: int, logs: list[Log]) -> Pieces:
        """Into `logs` those of partitions `first` to `end`."""
        broker = self._broker
        for start in range(first, end, _PIECE):
            numbers = range(start, min(start + _PIECE, end))
            shards = broker.shards.shards("topic", topic.namespace, topic.name, numbers)
            logs += [broker.owners.here(shard).store.make_log(shard, broker.decisions.new_log_id()) for shard in shards]
            yield LOG_STEPS * len(numbers)


def drop_logs(broker: BrokerParts, logs: list[Log]) -> None:
    """End logs, and what is known of them, all in this commit."""
    for log in logs:
        broker.transactions.drop(log)
        broker.producers.forget(log)
        broker.owners.store_of(log).drop_log(log)


def let_go(broker: BrokerParts, logs: list[Log], partitions: list[Partition]) -> None:
    """Have the objects of a topic that is closed go over turns of the loop."""
    broker.desk.work.run(_letting_go(logs, partitions))


def _letting_go(logs: list[Log], partitions: list[Partition]) -> Pieces:
    while logs:
        yield len(logs[-_PIECE:])
        del logs[-_PIECE:]
        del partitions[-_PIECE:]
