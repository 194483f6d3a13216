"""Topics of very many partitions: what they need is made over turns of the loop, where nobody sees it, and all of it comes to be in one commit; it ends alike.

Ten thousand partitions are ten thousand logs and as many objects of the broker's. None of them is in the store or in the catalogue until the last
is made; then the topic, or what is added to it, is checked once more, since others had their turn meanwhile, and is there at once. After a crash there is
all of it or nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

from entrepot.broker.catalogue.definitions import TopicDefinition
from entrepot.broker.catalogue.shards import CATALOGUE, check_open
from entrepot.broker.groups.work import Pieces
from entrepot.broker.operations.parts import BrokerParts
from entrepot.broker.topic.partition import Partition
from entrepot.broker.topic.topic import Topic
from entrepot.broker.topic.topic_config import policy_of
from entrepot.store.interface import Log

AT_ONCE = 256  # partitions that are made in one go
LOG_STEPS = 3  # of making one log, of net/turns.py
_PIECE = 64

Making = Generator[int, None, TopicDefinition]


class TopicMaking:
    """Over one broker. partitions_added(definition) is called when those that are new are alive."""

    def __init__(self, broker: BrokerParts, partitions_added: Callable[[TopicDefinition], None]) -> None:
        self._broker = broker
        self._partitions_added = partitions_added

    def create(self, topic: TopicDefinition, count: int) -> Making:
        """Make the topic that Catalogue.new_topic() has described, of `count` partitions. Raises Refused if it may not be by then."""
        broker = self._broker
        runtime = Topic(topic, broker.hub, broker.owners.store_of, [], policy_of(topic, broker.topic_defaults))
        logs: list[Log] = []
        try:
            for piece in self._logs(topic, 0, count, logs):
                runtime.add([runtime.prepared(log, number) for number, log in enumerate(logs[len(runtime.logs) :], len(runtime.logs))])
                yield piece
            topic.partitions = [log.id for log in logs]
            check_open(broker.store, (CATALOGUE, *(log.shard for log in logs)))
            broker.catalogue.add_topic(topic)
        except BaseException:
            runtime.close()
            raise
        self._add_logs(logs)
        topic.runtime = runtime
        broker.groups.topics_changed(topic.namespace)
        return topic

    def add(self, topic: TopicDefinition, count: int) -> Making:
        """Have `count` partitions: the topic of that name by then. Raises Refused, as Catalogue.add_partitions(), also by what is then."""
        broker = self._broker
        while True:
            broker.catalogue.add_partitions(topic, count, check_only=True)
            runtime: Topic = topic.runtime
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
        broker.catalogue.add_partitions(topic, count, [log.id for log in logs])
        self._add_logs(logs)
        runtime.add(made)
        self._partitions_added(topic)
        return topic

    def _logs(self, topic: TopicDefinition, first: int, end: int, logs: list[Log]) -> Pieces:
        """Into `logs` those of partitions `first` to `end`."""
        broker = self._broker
        for start in range(first, end, _PIECE):
            numbers = range(start, min(start + _PIECE, end))
            shards = broker.shards.shards("topic", topic.namespace, topic.name, numbers)
            logs += [broker.owners.here(shard).store.make_log(shard, broker.catalogue.new_log_id()) for shard in shards]
            yield LOG_STEPS * len(numbers)

    def _add_logs(self, logs: list[Log]) -> None:
        owners = self._broker.owners
        for log in logs:
            owners.store_of(log).add_log(log)


def drop_logs(broker: BrokerParts, topic: Topic) -> None:
    """End the logs of a topic that is closed, all in this commit; their objects go over turns of the loop."""
    logs = list(topic.logs)
    for log in logs:
        broker.transactions.drop(log)
        broker.producers.forget(log)
        broker.owners.store_of(log).drop_log(log)
    broker.desk.work.run(_letting_go(logs, list(topic.partitions)))


def _letting_go(logs: list[Log], partitions: list[Partition]) -> Pieces:
    while logs:
        yield len(logs[-_PIECE:])
        del logs[-_PIECE:]
        del partitions[-_PIECE:]
