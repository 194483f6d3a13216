"""Topics of very many partitions: what they need is made over turns of the loop, where nobody finds it, and comes to be in one commit of the catalogue.

Ten thousand partitions are ten thousand logs and as many objects of the broker's. Until the last is made no definition names any of them; then the topic,
or what is added to it, is checked once more, since others had their turn meanwhile, and is there at once. What was made for one that does not come to
be goes again, as it does where its shard opens after a crash. What it will take of its maker's quota is taken from the beginning.

Logs are made in shards of this process; in those of others their owners make them with the change, likewise over turns, before they apply it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import NamedTuple

from entrepot.broker.catalogue.changes import Row
from entrepot.broker.catalogue.definitions import TopicDefinition
from entrepot.broker.catalogue.kept_definitions import TOPIC_KEY, split_key, topic_of
from entrepot.broker.catalogue.quotas import PARTITIONS, Account
from entrepot.broker.catalogue.shards import CATALOGUE, check_open
from entrepot.broker.groups.work import Pieces
from entrepot.broker.operations.parts import BrokerParts
from entrepot.broker.operations.steps import PREPARED_STEPS
from entrepot.broker.operations.topic_ending import PIECE, end_partitions
from entrepot.broker.topic.live_topic import LiveTopic
from entrepot.broker.topic.partition import Partition
from entrepot.broker.topic.topic_config import policy_of
from entrepot.model.errors import Unavailable
from entrepot.store.interface import Log

AT_ONCE = 256  # partitions that are made in one go

Making = Generator[int, None, TopicDefinition]


class Prepared(NamedTuple):
    """What was made for a topic before it is in the catalogue, or for more partitions of one."""

    topic: LiveTopic
    partitions: list[Partition]


class TopicMaking:
    """Over one broker. `prepared`: where whoever brings a topic to life finds what was made for it, by its id."""

    def __init__(self, broker: BrokerParts, prepared: dict[bytes, Prepared]) -> None:
        self._broker = broker
        self._prepared = prepared

    def create(self, topic: TopicDefinition, count: int) -> Making:
        """Make the topic that Decisions.new_topic() has described, of `count` partitions. Raises Refused if it may not be by then."""
        return self._create(topic, count, self._taken(topic, count))

    def add(self, topic: TopicDefinition, count: int) -> Making:
        """Have `count` partitions: the topic of that name by then. Raises Refused, as Decisions.add_partitions(), also by what is then."""
        self._broker.decisions.add_partitions(topic, count, check_only=True)
        return self._add(topic, count, self._taken(topic, count - len(topic.partitions)))

    def ahead(self, rows: list[Row], apply: Callable[[], None]) -> Pieces:
        """apply() rows that somebody else has decided; what that takes of topics with very many partitions is made before, over turns of the loop."""
        begun: dict[bytes, Prepared] = {}
        try:
            for row in rows:
                if row.key.startswith(TOPIC_KEY) and not row.gone and len(row.fields["partitions"]) > AT_ONCE:
                    yield from self._ahead(row, begun)
            apply()
        finally:
            for topic_id, (live, made) in begun.items():
                if self._prepared.pop(topic_id, None) is None:
                    continue  # it is what it was made for
                if live.definition.runtime is not live:
                    live.close()
                end_partitions(self._broker, live.definition.name, made)
        yield 0

    def _ahead(self, row: Row, begun: dict[bytes, Prepared]) -> Pieces:
        """What a topic is to have, and has not."""
        broker = self._broker
        namespace, name = split_key(row.key, TOPIC_KEY)
        space = broker.catalogue.namespace(namespace)
        topic = topic_of(space, name.decode(), row.fields)
        existing = space.topics.get(topic.name)
        live: LiveTopic
        if existing is not None and existing.id == topic.id:
            live = existing.runtime
        else:
            live = LiveTopic(topic, broker.hub, broker.owners.store_of, [], policy_of(topic, broker.topic_defaults))
        made: list[Partition] = []
        begun[topic.id] = self._prepared[topic.id] = Prepared(live, made)
        for start in range(len(live.partitions), len(topic.partitions), PIECE):
            numbers = range(start, min(start + PIECE, len(topic.partitions)))
            for shard, number in zip(broker.shards.shards("topic", namespace, topic.name, numbers), numbers, strict=True):
                made.append(live.prepared(self._log(shard, topic.partitions[number]), number))
            if live.definition is topic:
                self._add_piece(live, made[-len(numbers) :])
            yield PREPARED_STEPS * len(numbers)

    def _add_piece(self, live: LiveTopic, partitions: list[Partition]) -> None:
        """To a topic that nobody finds yet. Those of other processes are not open here."""
        live.add(partitions)
        for partition in partitions:
            if not self._broker.owners.is_here(partition.log.shard):
                live.leave(partition)

    def _log(self, shard: int, log_id: bytes) -> Log:
        """That of a partition; where its shard is not open here, one that is nowhere."""
        store = self._broker.owners.here(shard).store
        return store.log(log_id) or (store.make_log if shard in store.closed else store.create_log)(shard, log_id)

    def _taken(self, topic: TopicDefinition, count: int) -> Account:
        """Of its maker's quota. Refused LIMIT."""
        account = self._broker.decisions.account(topic.maker)
        account.take({PARTITIONS: count})
        return account

    def _create(self, topic: TopicDefinition, count: int, account: Account) -> Making:
        broker = self._broker
        live = LiveTopic(topic, broker.hub, broker.owners.store_of, [], policy_of(topic, broker.topic_defaults))
        made: list[Partition] = []
        try:
            for piece in self._make(topic, live, 0, count, made):
                self._add_piece(live, made[len(live.partitions) :])
                yield piece
            self._check(made)
            topic.partitions = [partition.log.id for partition in made]
            self._prepared[topic.id] = Prepared(live, made)
            account.close()
            return broker.decisions.add_topic(topic)
        except Exception:
            live.close()
            end_partitions(broker, topic.name, made)
            raise
        finally:
            self._prepared.pop(topic.id, None)
            account.close()

    def _add(self, topic: TopicDefinition, count: int, account: Account) -> Making:
        broker = self._broker
        made: list[Partition] = []
        try:
            while True:
                topic = broker.catalogue.find_topic(topic.namespace, topic.name)
                account.close()
                broker.decisions.add_partitions(topic, count, check_only=True)
                account = self._taken(topic, count - len(topic.partitions))
                live: LiveTopic = topic.runtime
                begun = len(topic.partitions)
                for piece in self._make(topic, live, begun, count, made):
                    yield piece
                    if topic.runtime is not live:
                        break
                if topic.runtime is live and len(topic.partitions) == begun:
                    break
                end_partitions(broker, topic.name, made)  # somebody has added some, or it was deleted
                made = []
            account.close()
            self._check(made)
            self._prepared[topic.id] = Prepared(live, made)
            broker.decisions.add_partitions(topic, count, [partition.log.id for partition in made])
            return topic
        except Exception:
            end_partitions(broker, topic.name, made)
            raise
        finally:
            self._prepared.pop(topic.id, None)
            account.close()

    def _make(self, topic: TopicDefinition, live: LiveTopic, first: int, end: int, made: list[Partition]) -> Pieces:
        """Into `made` partitions `first` to `end`, over logs that no definition names. Raises Unavailable."""
        broker = self._broker
        owners = broker.owners
        for start in range(first, end, PIECE):
            numbers = range(start, min(start + PIECE, end))
            shards = broker.shards.shards("topic", topic.namespace, topic.name, numbers)
            self._check_open(shards)
            for shard, number in zip(shards, numbers, strict=True):
                store = owners.here(shard).store
                make = store.create_log if owners.is_here(shard) else store.make_log
                made.append(live.prepared(make(shard, broker.decisions.new_log_id()), number))
            yield PREPARED_STEPS * len(numbers)

    def _check_open(self, shards: list[int]) -> None:
        """Whether partitions can be made in these shards, here or where they are. Raises Unavailable."""
        owners = self._broker.owners
        check_open(self._broker.store, (CATALOGUE, *filter(owners.is_here, shards)))
        for shard in {shard for shard in shards if not owners.is_here(shard)}:
            owners.owner_of(shard)

    def _check(self, made: list[Partition]) -> None:
        """Whether all of them are still there: a shard that closes leaves nothing that no definition names. Raises Unavailable."""
        check_open(self._broker.store, (CATALOGUE,))
        is_here = self._broker.owners.is_here
        if any(partition.log.owner is not partition and is_here(partition.log.shard) for partition in made):
            raise Unavailable("a shard has gone to another owner while partitions were made in it")
