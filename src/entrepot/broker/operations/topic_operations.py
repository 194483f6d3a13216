"""TopicOperations: what the requests of broker/calls/topic_requests.py do. Each returns (result, group), as operations.py says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

from entrepot.broker.calls import topic_requests as asked
from entrepot.broker.calls.partition_calls import wrong_epoch
from entrepot.broker.calls.port import DONE, Ask, fail
from entrepot.broker.calls.topic_requests import ConfigEntry, TopicDescription
from entrepot.broker.catalogue.definitions import TopicDefinition
from entrepot.broker.catalogue.shards import CATALOGUE, check_open
from entrepot.broker.catalogue.stream import Ticket
from entrepot.broker.front.door import Door
from entrepot.broker.groups.work import Pieces
from entrepot.broker.operations.live_objects import LiveObjects
from entrepot.broker.operations.operations import LATER, FurtherHandler, Outcome
from entrepot.broker.operations.parts import BrokerParts
from entrepot.broker.operations.steps import PARTITION_STEPS, TOPIC_STEPS
from entrepot.broker.operations.thinning import is_thick, thin_out
from entrepot.broker.operations.topic_ending import PIECE
from entrepot.broker.operations.topic_making import AT_ONCE, Making, TopicMaking
from entrepot.broker.topic.offset_search import EpochSearch, MaxTimeSearch, SearchTurns, TimeSearch
from entrepot.broker.topic.partition import Partition
from entrepot.broker.topic.topic_config import SETTINGS, changed, check_value, default_of, setting_of
from entrepot.broker.users.authorization import Action, ResourceKind
from entrepot.model.errors import EntrepotError, NotDone, Reason, Refused
from entrepot.model.printable import printable
from entrepot.store.interface import Group, Log

_LEGAL = re.compile(r"[a-zA-Z0-9._-]{1,249}")


def is_legal(name: str) -> bool:
    """Whether Kafka's clients may know a topic by that name."""
    return _LEGAL.fullmatch(name) is not None and name not in (".", "..")


class TopicOperations:
    """The requests, over one broker."""

    def __init__(self, broker: BrokerParts, live: LiveObjects) -> None:
        self._broker = broker
        self._turns = SearchTurns(broker.scheduler)
        self.making = TopicMaking(broker, live.prepared)

    def handlers(self) -> dict[type, FurtherHandler]:
        """Who carries out what."""
        return {
            asked.DescribeTopics: self.describe,
            asked.AllowedActions: self.allowed_actions,
            asked.CreateTopic: self.create,
            asked.DeleteTopic: self.delete,
            asked.CreatePartitions: self.create_partitions,
            asked.DescribeTopicConfig: self.describe_config,
            asked.AlterTopicConfig: self.alter_config,
            asked.TrimPartition: self.trim,
            asked.FindOffset: self.find_offset,
            asked.EpochEnd: self.epoch_end,
            asked.NewProducer: self.new_producer,
        }

    # ---- topics

    def describe(self, door: Door, call: Ask, request: asked.DescribeTopics) -> Outcome:
        """See DescribeTopics."""
        catalogue = self._broker.catalogue
        if request.names is None and request.ids is None:
            return self._all(door, sizes=request.sizes), None
        found: list[TopicDescription | NotDone] = []
        made = False
        for name in request.names or []:
            try:
                topic = catalogue.namespace(door.namespace).topics.get(name)
                if topic is None and request.create_missing and self._makes(door, name):
                    topic = self._create(door, name, self._broker.topic_defaults.partitions, {})
                    made = True
                self._check_visible(door, name)
                found.append(self._description(topic or catalogue.find_topic(door.namespace, name)))
            except NotDone as error:
                found.append(error)
        for topic_id in request.ids or []:
            topic = catalogue.topic_by_id(topic_id)
            if topic is None or topic.namespace != door.namespace or not self._may_see(door, topic.name):
                found.append(Refused(Reason.NOT_FOUND, f"no topic has the id {topic_id.hex()}"))
            else:
                found.append(self._description(topic))
        if request.sizes:
            self._with_sizes(door, found)
        return found, self._decided() if made else None

    def _all(self, door: Door, *, sizes: bool) -> Iterator[TopicDescription]:
        topics = self._broker.catalogue.namespace(door.namespace).topics
        for topic in list(topics.values()):
            if topics.get(topic.name) is topic and is_legal(topic.name) and self._may_see(door, topic.name):
                description = self._description(topic)
                if sizes:
                    self._with_sizes(door, [description])
                yield description

    def allowed_actions(self, door: Door, call: Ask, request: asked.AllowedActions) -> Outcome:
        """See AllowedActions."""
        authorizer = self._broker.authorizer
        found = []
        for name in request.names:
            if name is None:
                found.append({action.value for action in Action if authorizer.may_some(door.principal, action, door.namespace)})
            else:
                found.append({action.value for action in Action if authorizer.may(door.principal, action, door.namespace, name)})
        return found, None

    def _makes(self, door: Door, name: str) -> bool:
        """Whether a topic is made because somebody asks for it."""
        return self._broker.topic_defaults.auto_create and name not in asked.INTERNAL_TOPICS and self._may_see(door, name)

    def create(self, door: Door, call: Ask, request: asked.CreateTopic) -> Outcome:
        """See CreateTopic."""
        partitions = self._broker.topic_defaults.partitions if request.partitions == -1 else request.partitions
        if partitions > AT_ONCE and not request.check_only:
            self._check_creation(door, request.name)
            config = self._kept(request.config)
            new = self._broker.decisions.new_topic(door.namespace, request.name, partitions, config, door.principal.name)
            return self._in_pieces(call, self.making.create(new, partitions))
        topic = self._create(door, request.name, partitions, request.config, check_only=request.check_only)
        if topic is None:
            return TopicDescription(request.name, bytes(16), partitions, self._broker.appender.epoch), None
        return self._description(topic), self._decided()

    def delete(self, door: Door, call: Ask, request: asked.DeleteTopic) -> Outcome:
        """See DeleteTopic."""
        catalogue = self._broker.catalogue
        if request.name:
            self._authorize(door, Action.CONFIGURE, request.name)
            topic = catalogue.find_topic(door.namespace, request.name)
        else:
            topic = catalogue.topic_by_id(request.id)
            if topic is None or topic.namespace != door.namespace:
                raise Refused(Reason.NOT_FOUND, f"no topic has the id {request.id.hex()}")
            self._authorize(door, Action.CONFIGURE, topic.name)
        self._broker.owners.check_open(topic)  # nothing is done to one of which something is on its way
        if is_thick(self._broker, topic):
            thin_out(self._broker, door, call, topic)
            return LATER, None
        description = self._description(topic)
        self._broker.decisions.remove_queue(topic)
        door.spent += TOPIC_STEPS + PARTITION_STEPS * min(description.partition_count, PIECE)  # the others end in turns of their own
        return description, self._decided()

    def create_partitions(self, door: Door, call: Ask, request: asked.CreatePartitions) -> Outcome:
        """See CreatePartitions."""
        self._authorize(door, Action.CONFIGURE, request.name)
        decisions = self._broker.decisions
        topic: TopicDefinition = self._broker.catalogue.find_topic(door.namespace, request.name)
        if topic.is_stream:
            raise Refused(Reason.NOT_SUPPORTED, f"topic '{topic.name}' is an AMQP stream, which has one partition")
        if request.count > len(topic.partitions) + AT_ONCE and not request.check_only:
            return self._in_pieces(call, self.making.add(topic, request.count))
        if not request.check_only:
            self._check_open(topic.namespace, topic.name, range(len(topic.partitions), request.count))
        door.spent += PARTITION_STEPS * len(decisions.add_partitions(topic, request.count, check_only=request.check_only))
        if request.check_only:
            return self._description(topic), None
        return self._description(topic), self._decided()

    def _create(self, door: Door, name: str, partitions: int, config: dict[str, str | None], *, check_only: bool = False) -> TopicDefinition | None:
        self._check_creation(door, name)
        broker = self._broker
        kept = self._kept(config)
        if not check_only:
            self._check_open(door.namespace, name, range(partitions))
        topic: TopicDefinition | None = broker.decisions.create_topic(door.namespace, name, partitions, kept, check_only=check_only, maker=door.principal.name)
        if topic is not None:
            door.spent += TOPIC_STEPS + PARTITION_STEPS * partitions
        return topic

    def _check_creation(self, door: Door, name: str) -> None:
        """Whether a topic may be called so, and the principal may make it."""
        if not is_legal(name):
            raise Refused(
                Reason.INVALID, f"topic name '{printable(name, 300)}': 1 to 249 letters, digits, '.', '_' and '-' are allowed, and neither '.' nor '..'"
            )
        self._authorize(door, Action.CONFIGURE, name)

    def _check_open(self, namespace: str, name: str, partitions: range) -> None:
        """Whether these partitions may be made: raises Unavailable, with nothing changed."""
        broker = self._broker
        if broker.store.closed:
            check_open(broker.store, (CATALOGUE,))
            for shard in set(broker.shards.shards("topic", namespace, name, partitions)):
                broker.owners.owner_of(shard)

    @staticmethod
    def _kept(config: dict[str, str | None]) -> dict[str, str]:
        return {key: check_value(key, value) for key, value in config.items()}

    def _in_pieces(self, call: Ask, making: Making) -> Outcome:
        """Do it over turns of the loop; the call is answered with the commit of it."""
        self._broker.desk.work.run(self._answering(call, making))
        return LATER, None

    def _answering(self, call: Ask, making: Making) -> Pieces:
        try:
            topic = yield from making
        except EntrepotError as error:
            self._failed(call, error)
            return
        call.result = self._description(topic)
        self._decided().calls.append(call)
        yield len(topic.partitions)  # of what came last, in one go

    def _with_sizes(self, door: Door, found: list[Any]) -> list[Any]:
        for topic in found:
            if isinstance(topic, TopicDescription):
                partitions = door.topics.access(topic.name, self._broker.authorizer.version).partitions
                topic.sizes = [None if partition.gone is not None else partition.log.bytes_alive for partition in partitions[: topic.partition_count]]
        return found

    def _description(self, topic: TopicDefinition) -> TopicDescription:
        return TopicDescription(topic.name, topic.id, len(topic.partitions), self._broker.appender.epoch)

    # ---- configuration

    def describe_config(self, door: Door, call: Ask, request: asked.DescribeTopicConfig) -> Outcome:
        """See DescribeTopicConfig."""
        self._check_visible(door, request.name)
        topic = self._broker.catalogue.find_topic(door.namespace, request.name)
        shown = []
        for key in SETTINGS if request.keys is None else request.keys:
            if key not in SETTINGS:
                continue  # as Kafka: who asks for what is not there hears nothing of it
            setting = setting_of(key)
            default = default_of(key, topic, self._broker.topic_defaults)
            shown.append(ConfigEntry(key, topic.config.get(key, default), key not in topic.config, setting.type, setting.documentation, default))
        return shown, None

    def alter_config(self, door: Door, call: Ask, request: asked.AlterTopicConfig) -> Outcome:
        """See AlterTopicConfig."""
        self._authorize(door, Action.CONFIGURE, request.name)
        broker = self._broker
        topic = broker.catalogue.find_topic(door.namespace, request.name)
        config = changed(topic, broker.topic_defaults, request.changes)
        if request.check_only:
            return None, None
        broker.decisions.configure_topic(topic, config)
        return None, self._decided()

    # ---- partitions

    def trim(self, door: Door, call: Ask, request: asked.TrimPartition) -> Outcome:
        """See TrimPartition."""
        self._authorize(door, Action.CONFIGURE, request.name)
        log = self._partition(door, request.name, request.partition).log
        offset = log.durable_offset if request.offset == -1 else request.offset
        if not 0 <= offset <= log.durable_offset:
            raise Refused(Reason.OUT_OF_RANGE, f"offset {offset}: there are {log.first_offset} to {log.durable_offset}")
        if offset <= log.first_offset:
            return log.first_offset, None
        self._broker.owners.store_of(log).discard(log, log.first_offset, offset)
        return offset, self._durable()

    def find_offset(self, door: Door, call: Ask, request: asked.FindOffset) -> Outcome:
        """See FindOffset."""
        self._check_visible(door, request.name)
        partition = self._partition(door, request.name, request.partition)
        log = partition.log
        self._check_epoch(log, request.leader_epoch)
        end = log.durable_offset
        if request.committed and partition.transactions is not None:
            end = partition.transactions.visible_end(end)
        epoch = log.epoch
        if request.where == "first":
            return (log.first_offset, -1, epoch), None
        if request.where == "end":
            return (end, -1, epoch), None
        if request.where == "max_time":
            MaxTimeSearch(self._broker.hub, self._turns, log, end, partial(self._answer, call, partition), partial(self._failed, call)).find()
        elif isinstance(request.where, int) and request.where >= 0:
            TimeSearch(self._broker.hub, self._turns, log, end, partial(self._answer, call, partition), partial(self._failed, call)).find(request.where)
        else:
            raise Refused(Reason.INVALID, f"'{request.where}' is neither a time nor the name of an offset")
        return LATER, None

    def epoch_end(self, door: Door, call: Ask, request: asked.EpochEnd) -> Outcome:
        """See EpochEnd."""
        self._check_visible(door, request.name)
        partition = self._partition(door, request.name, request.partition)
        log = partition.log
        self._check_epoch(log, request.leader_epoch)
        EpochSearch(log, log.epoch, partial(self._answer, call, partition)).find(request.epoch)
        return LATER, None

    @staticmethod
    def _check_epoch(log: Log, known: int) -> None:
        error = wrong_epoch(known, log.epoch)
        if error is not None:
            raise error

    @staticmethod
    def _answer(call: Ask, partition: Partition, *result: int) -> None:
        """A search has ended. What was found is nothing to go by where the partition has left meanwhile."""
        if partition.gone is not None:
            fail(call, partition.gone.again())
            return
        call.result = result
        call.outcome = DONE
        if not call.attachment.closed:
            call.attachment.sink.completed(call)

    @staticmethod
    def _failed(call: Ask, error: EntrepotError) -> None:
        """A search has met something that it cannot read."""
        fail(call, error if isinstance(error, NotDone) else Refused(Reason.INVALID, str(error)))

    # ---- producers

    def new_producer(self, door: Door, call: Ask, request: asked.NewProducer) -> Outcome:
        """See NewProducer."""
        ids = self._broker.producer_ids
        if request.producer_id == -1:
            producer_id, group = ids.new()
            return self._with_commit((producer_id, 0), group)
        producer_id, epoch, group = ids.following(request.producer_id, request.epoch)
        return self._with_commit((producer_id, epoch), group)

    @staticmethod
    def _with_commit(result: Any, group: Ticket | None) -> Outcome:
        return result, None if group is None or group.durable else group

    # ---- shared

    def _partition(self, door: Door, name: str, number: int) -> Partition:
        access = door.topics.access(name, self._broker.authorizer.version)
        return door.topics.partition(access, number)

    def _authorize(self, door: Door, action: Action, name: str) -> None:
        self._broker.authorizer.authorize(door.principal, action, door.namespace, ResourceKind.TOPIC, name)

    def _check_visible(self, door: Door, name: str) -> None:
        """Refused NOT_PERMITTED unless the principal may do anything with a topic of that name."""
        for action in (Action.READ, Action.WRITE):
            try:
                self._authorize(door, action, name)
            except Refused:
                continue
            return
        self._authorize(door, Action.CONFIGURE, name)

    def _may_see(self, door: Door, name: str) -> bool:
        try:
            self._check_visible(door, name)
        except Refused:
            return False
        return True

    def _decided(self) -> Ticket:
        """Of a change of the catalogue."""
        return self._broker.decisions.stream.ticket()

    def _durable(self) -> Group:
        self._broker.store.urgent()
        return self._broker.store.group()
