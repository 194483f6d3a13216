"""LiveObjects: what is alive here of what the catalogue defines: queues and topics whose shards are open. Made and ended as changes are applied.

Logs are reconciled: what a definition of an open shard lacks is made, what no definition names is dropped. A shard opens once the catalogue is as far as
it was when something was last made in it (catalogue/noted_revisions.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from entrepot.broker.calls.questions import Place
from entrepot.broker.catalogue.catalogue import Applied
from entrepot.broker.catalogue.definitions import QueueDefinition, TopicDefinition
from entrepot.broker.operations.parts import BrokerParts
from entrepot.broker.operations.topic_ending import drop_logs, end_partitions
from entrepot.broker.operations.topic_making import Prepared
from entrepot.broker.outbox.handover import Target
from entrepot.broker.owner.answering import Answering
from entrepot.broker.owner.seals import Seals
from entrepot.broker.queue import parts
from entrepot.broker.queue.away import AwayQueue
from entrepot.broker.queue.head_drops import HeadDrops
from entrepot.broker.queue.heads import Heads
from entrepot.broker.queue.kept_drops import KeptDrops
from entrepot.broker.queue.last_values import LastValues, drop_rows, drop_rows_of_none
from entrepot.broker.queue.priority_queue import PriorityQueue
from entrepot.broker.queue.queue import Queue
from entrepot.broker.queue.unused_queues import UnusedQueues
from entrepot.broker.sessions.session_table import SessionTable
from entrepot.broker.subscription.consumer import Consumer
from entrepot.broker.topic.live_topic import LiveTopic
from entrepot.broker.topic.partition import Partition
from entrepot.broker.topic.topic_config import policy_of
from entrepot.store.interface import Log, Store


class LiveObjects:
    """Of one broker. `queue_count`: queues that are alive; consumer_gone(consumer) is called for those whose queue was deleted."""

    def __init__(self, broker: BrokerParts) -> None:
        self._broker = broker
        self.queue_count = 0
        self.last_values: set[LastValues] = set()  # of queues that are alive
        self.consumer_gone: Callable[[Consumer], None]  # set with the operations
        self.queue_away: Callable[[int, AwayQueue], None]  # with who moves shards: what was made in a shard of this process that is not open
        self.partition_away: Callable[[int, LiveTopic, int], None]
        self.unused = UnusedQueues(broker.scheduler, self._may_remove, self._remove_unused)
        for owner in broker.owners.local():
            owner.unused = self.unused
            asked = (self._shard_of_queue, self._may_remove, self._remove_unused, broker.wills.publish, self._target_of)
            sessions = SessionTable(broker.hub, owner.store, *asked)
            owner.answering = Answering(owner, broker.sides, broker.replies, sessions)
            owner.seals = Seals(owner, self._routes_changed)
        self.prepared: dict[bytes, Prepared] = {}  # by topic id: what was made for it beforehand
        self._noted = broker.noted

    def open(self) -> None:
        """Bring everything in the catalogue to life."""
        broker = self._broker
        broker.catalogue.on_applied = self.applied
        for definition in broker.catalogue.queues():
            self._make_queue(definition)
        for definition in broker.catalogue.topics():
            self._make_topic(definition)
        for owner in broker.owners.local():
            if owner is not broker.owners.home:
                self.drop_unnamed(owner.store.logs() if not owner.store.closed else (log for log in owner.store.logs() if log.shard not in owner.store.closed))
                for shard in range(broker.shards.count):
                    if shard not in owner.store.closed:
                        drop_rows_of_none(owner.store, shard, broker.scheduler)

    def applied(self, applied: Applied) -> None:
        """The catalogue has changed: end, make and change what is alive of it."""
        for definition in applied.removed:
            self._remove(definition)
        for definition in applied.made:
            if isinstance(definition, TopicDefinition):
                self._make_topic(definition)
            else:
                self._make_queue(definition)
        for definition in applied.changed:
            if isinstance(definition, TopicDefinition):
                self._change_topic(definition)
            else:
                self._broker.sides.changed(definition)

    # ---- queues

    def _make_queue(self, definition: QueueDefinition) -> None:
        """The live queue of a definition, or what stands for it where it does not live here."""
        broker = self._broker
        if definition.home and definition.home != broker.start_id:
            definition.runtime = AwayQueue(definition)
        elif (broker.store.closed or broker.outbox.loading) and self._is_closed(broker.store, broker.shards.place(definition)):
            away = definition.runtime = AwayQueue(definition)
            if broker.owners.is_here(broker.shards.place(definition)):
                self.queue_away(broker.shards.place(definition), away)
        else:
            self.make_queue(definition)

    def _is_closed(self, store: Store, shard: int) -> bool:
        """Whether what is in a shard is not alive: the store has it not, or has it, and what is on its way from there is not known yet."""
        return shard in store.closed or shard in self._broker.outbox.loading

    def make_queue(self, definition: QueueDefinition) -> Queue:
        """The live queue of a definition, over its log."""
        broker = self._broker
        ((shard, log_id, owner),) = broker.owners.holders(definition)
        log = owner.store.log(log_id)
        if log is None:
            log = owner.store.create_log(shard, log_id)
            if definition.persistent:
                self._noted.note(shard, broker.catalogue.becoming)
        heads: Callable[[Queue], Heads] = HeadDrops
        if definition.policy.last_value:
            heads = partial(LastValues, limits=broker.last_value_limits)
        elif definition.policy.kept_bytes is not None:
            heads = partial(KeptDrops, dropped=broker.dropped)
        kind = PriorityQueue if definition.policy.max_priority else Queue
        queue = kind(definition, broker.hub, owner.store, log, definition.namespace, heads)
        definition.runtime = queue
        if isinstance(queue.heads, LastValues):
            self.last_values.add(queue.heads)
        queue.on_unused = self.unused.unused
        self.queue_count += 1
        self.unused.touch(queue)
        if definition.timed is not None:
            self._broker.sides.changed(definition)
        return queue

    def leave(self, queue: Queue) -> bool:
        """A queue is about to end, because its shard closes or it was deleted; whether it was about to be deleted, for nobody reads it."""
        queue.on_unused = None
        if isinstance(queue.heads, LastValues):
            self.last_values.discard(queue.heads)
        self.queue_count -= 1
        is_due = self.unused.is_due(queue)
        self.unused.used(queue)
        return is_due

    def _shard_of_queue(self, namespace: str, name: str) -> int:
        return self._broker.shards.shard("queue", namespace, name)

    def _target_of(self, namespace: str, place: Place) -> Target | None:
        """Where a log is, by the catalogue here; None: it is not there any more."""
        log_id, name, number = place
        space = self._broker.catalogue.namespaces.get(namespace)
        definition = None if space is None else space.queues.get(name) if number < 0 else space.topics.get(name)
        if definition is None:
            return None
        if number < 0:
            return (self._broker.owners.place(definition), log_id) if definition.log_id == log_id else None
        there = number < len(definition.partitions) and definition.partitions[number] == log_id
        return (self._broker.owners.place(definition, number), log_id) if there else None

    def _routes_changed(self, namespace: str) -> None:
        self._broker.catalogue.namespace(namespace).router.changed()

    def _may_remove(self) -> bool:
        """Whether those can be asked who could decide that a queue goes: exchanges that are kept may go with it, though it is not."""
        if self._broker.hub.held:
            return False  # who reads them may say so yet
        decider = self._broker.decider
        return self._broker.decisions.stream.decides if decider is None else decider.is_known

    def _remove_unused(self, queue: Queue) -> None:
        if self._broker.decider is not None:
            self._broker.decider.remove_unused(queue.definition)
            return
        self._broker.decisions.remove_queue(queue.definition)

    # ---- topics

    def _make_topic(self, definition: TopicDefinition) -> None:
        broker = self._broker
        prepared = self.prepared.pop(definition.id, None)
        if prepared is None:
            logs = self._partition_logs(definition, 0)
            definition.runtime = LiveTopic(definition, broker.hub, broker.owners.store_of, logs, policy_of(definition, broker.topic_defaults))
            self._leave_closed(definition.runtime, 0)
        else:
            self._note(prepared.partitions)
            prepared.topic.describe_by(definition)
            definition.runtime = prepared.topic
            self._leave_closed(prepared.topic, 0)
        broker.groups.topics_changed(definition.namespace)

    def _change_topic(self, definition: TopicDefinition) -> None:
        broker = self._broker
        topic: LiveTopic = definition.runtime
        first = len(topic.partitions)
        if first < len(definition.partitions):
            prepared = self.prepared.pop(definition.id, None)
            if prepared is None:
                for log in self._partition_logs(definition, first):
                    topic.add_log(log)
                self._leave_closed(topic, first)
            else:
                self._note(prepared.partitions)
                topic.add(prepared.partitions)
                self._leave_closed(topic, first)
            broker.catalogue.namespace(definition.namespace).router.changed()  # paths may hold the topic's logs
            broker.groups.topics_changed(definition.namespace)
        topic.configure(policy_of(definition, broker.topic_defaults))

    def return_partition(self, topic: LiveTopic, number: int) -> None:
        """Its shard is open again; for the first time, perhaps, since it was made."""
        partition = topic.partitions[number]
        store = self._broker.owners.store_of(partition.log)
        if store.log(partition.log.id) is None:
            store.add_log(partition.log)
            self._note([partition])
        topic.return_to(number)

    def _leave_closed(self, topic: LiveTopic, first: int) -> None:
        """Partitions from `first` on whose shards are not open here are not here."""
        owners = self._broker.owners
        closed = self._closed() | self._broker.outbox.loading
        for partition in topic.partitions[first:] if closed else ():
            shard = partition.log.shard
            if partition.gone is None and shard in closed:
                topic.leave(partition)
                if owners.is_here(shard):
                    self.partition_away(shard, topic, partition.number)

    def _closed(self) -> set[int]:
        """Shards that are not open here."""
        owners = self._broker.owners
        return {shard for owner in owners.local() for shard in owner.store.closed if owners.here(shard) is owner}

    def _partition_logs(self, definition: TopicDefinition, first: int) -> list[Log]:
        """Logs of a topic's partitions from `first` on, those that there are and those that it lacks; there may be ten thousand."""
        broker = self._broker
        logs = []
        for shard, log_id, owner in broker.owners.holders(definition, first):
            log = owner.store.log(log_id)
            if log is None and shard in owner.store.closed:
                log = owner.store.make_log(shard, log_id)  # see return_partition()
            elif log is None:
                log = owner.store.create_log(shard, log_id)
                self._noted.note(shard, broker.catalogue.becoming)
            logs.append(log)
        return logs

    def _note(self, partitions: list[Partition]) -> None:
        """Their logs are named by what the catalogue has now; there may be ten thousand. A shard may have opened since they were made."""
        owners = self._broker.owners
        closed = self._closed()
        logs = [partition.log for partition in partitions if partition.log.shard not in closed]
        for log in logs if closed else ():
            store = owners.store_of(log)
            if store.log(log.id) is None:
                store.add_log(log)
        for shard in {log.shard for log in logs}:
            self._noted.note(shard, self._broker.catalogue.becoming)

    # ---- ending

    def _remove(self, definition: QueueDefinition | TopicDefinition) -> None:
        """End the live object of what the catalogue has removed."""
        broker = self._broker
        queue = definition.runtime
        definition.runtime = None
        if isinstance(queue, LiveTopic):
            for consumer in queue.close():
                self.consumer_gone(consumer)
            broker.groups.topic_deleted(definition.namespace, definition.name)
            for owner in broker.owners.local():
                owner.seals.gone(partition.log for partition in queue.partitions)
                owner.ended()
            end_partitions(broker, definition.name, queue.partitions)
            return
        if isinstance(queue, Queue):
            self.leave(queue)
            queue.forget()
            logs = [part.log for part in parts.parts_of(queue)]
            for log in logs:
                broker.outbox.forget(log)
            dying = parts.dying(queue)
            queue.close()
            for holder, _, count, _ in dying:  # of those who read still consumer_gone() tells
                if holder is not None and not holder.active:
                    holder.freed(min(count, holder.leased))
                    door: Any = holder.attachment
                    door.credit_returned(holder)
            owner = broker.owners.holder(queue.log)
            owner.answering.sessions.queue_removed(queue.log)
            for log in logs:
                broker.transactions.drop(log)
                owner.store.drop_log(log)
            if definition.persistent:
                drop_rows(owner.store, queue.log.shard, queue.log.id, broker.scheduler)
            owner.seals.gone([queue.log])
            owner.ended()
        for consumer in list(queue.consumers):  # of an AwayQueue, too: its log goes when its shard opens
            self.consumer_gone(consumer)
        queue.consumers = []

    def drop_unnamed(self, logs: Iterable[Log]) -> None:
        """Drop those that no definition names."""
        drop_logs(self._broker, [log for log in logs if log.owner is None])
