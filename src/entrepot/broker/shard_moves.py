"""ShardMoves: shards close and open while the broker runs. Closing one disturbs no other.

What is in a shard is queues, partitions, what groups keep, producers and transactions; shard 0 has the catalogue's decisions and producers' ids. When it
closes, everything of it that lives here ends, and whoever asks for it is told *unavailable*, never *not found*; what waits is answered so. When it opens,
all of it is made again from what the store has. Nobody keeps what he had found there: doors and caches forget it at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Protocol

from entrepot.broker.calls import administration, queue_requests, requests, session_requests, shared_requests, topic_requests
from entrepot.broker.calls.port import Ask
from entrepot.broker.catalogue.routing import REPLY_PREFIX
from entrepot.broker.catalogue.shards import CATALOGUE
from entrepot.broker.front.door import Door
from entrepot.broker.front.subjects import Subjects
from entrepot.broker.groups.coordinator import HANDLERS as GROUP_HANDLERS
from entrepot.broker.operations.live_objects import LiveObjects
from entrepot.broker.operations.operations import Operations
from entrepot.broker.operations.parts import BrokerParts
from entrepot.broker.queue.away import AwayQueue
from entrepot.broker.queue.last_values import drop_rows_of_none
from entrepot.broker.queue.priority_queue import Level
from entrepot.broker.queue.queue import Queue
from entrepot.broker.subscription.consumer import Consumer
from entrepot.broker.topic.live_topic import LiveTopic
from entrepot.broker.topic.partition import Partition

DECISIONS = frozenset(
    {
        requests.DeleteQueue,
        requests.DeleteExchange,
        requests.Bind,
        topic_requests.CreateTopic,
        topic_requests.CreatePartitions,
        topic_requests.DeleteTopic,
        topic_requests.AlterTopicConfig,
        queue_requests.CreateTimedQueue,
        queue_requests.SetQueuePolicy,
        queue_requests.DeleteTimedQueue,
        shared_requests.JoinShared,
        shared_requests.LeaveShared,
        *administration.REQUESTS,
    }
)
"""Requests that only the owner of shard 0 can carry out; a DeclareQueue and a DeclareExchange, too, where they are not passive."""

ANY_TIME = frozenset(
    {
        requests.Cancel,
        requests.Release,
        requests.CloseStream,
        requests.StreamLimit,
        session_requests.CloseSession,
        session_requests.ReleaseIncoming,
        session_requests.ReleaseOutgoing,
        session_requests.CompleteOutgoing,
    }
)
"""Requests that are not answered by the catalogue; nor are those of groups."""


class MovingParts(BrokerParts, Protocol):
    """The broker, as what comes and goes with a shard is seen: also who keeps what was found there, and who brings it back to life."""

    doors: set[Door]
    live: LiveObjects
    subjects: Subjects
    operations: Operations

    def forget_paths(self) -> None:
        """What addresses led to."""


class ShardMoves:
    """Over one broker."""

    def __init__(self, broker: MovingParts) -> None:
        self._broker = broker
        self._queues: dict[int, list[AwayQueue]] = {}  # shard -> queues of it
        self._partitions: dict[int, list[tuple[LiveTopic, int]]] = {}
        self._opening: dict[int, object] = {}  # shards that wait for the store, or for the catalogue, to come to life
        broker.live.queue_away = lambda shard, away: self._queues.setdefault(shard, []).append(away)
        broker.live.partition_away = lambda shard, topic, number: self._partitions.setdefault(shard, []).append((topic, number))

    def is_sent_on(self, door: Door, call: Ask) -> bool:
        """Whether a call goes to the owner of shard 0, which it needs. Raises Unavailable: nobody is known to be that, or this process may not answer now."""
        broker = self._broker
        if broker.decider is None:
            if self._is_decision(call.request):
                broker.decisions.stream.check()  # also where nothing is left to do: not everybody may know that yet
            return False
        if not self._is_decision(call.request) and not self._makes_topics(door, call.request):
            if type(call.request) not in ANY_TIME and type(call.request) not in GROUP_HANDLERS and not _lists_topics(call.request):
                broker.decider.check()
            return False
        broker.decider.ask(door, call)
        return True

    @staticmethod
    def _is_decision(request: Any) -> bool:
        if isinstance(request, requests.DeclareQueue):
            return not request.passive and not request.name.startswith(REPLY_PREFIX)
        if isinstance(request, requests.DeclareExchange):
            return not request.passive
        return type(request) in DECISIONS

    def _makes_topics(self, door: Door, request: Any) -> bool:
        """Whether a request makes topics that are missing, or gives a producer's id: only who decides can."""
        if isinstance(request, topic_requests.NewProducer):
            return True
        if not isinstance(request, topic_requests.DescribeTopics) or not request.create_missing or not request.names:
            return False
        space = self._broker.catalogue.namespaces.get(door.namespace)
        return space is not None and not request.sizes and any(name not in space.topics for name in request.names)

    # ---- closing

    def begin_closed(self, shards: Iterable[int]) -> None:
        """At the start of a process that has none of them yet, and nothing alive."""
        closed = list(shards)
        self._broker.groups.begin_closed(closed)
        for shard in closed:
            self._broker.store.close_shard(shard, _nothing)

    def close(self, shard: int, done: Callable[[], None]) -> None:
        """End all of a shard that lives here; done() when somebody else may have it. For a turn of the loop's own, with nobody at work below."""
        broker = self._broker
        self._opening.pop(shard, None)
        holders = self._holders()
        queues = self._queues.setdefault(shard, [])  # those of a shard that closes amid opening have not come to life yet
        partitions = self._partitions.setdefault(shard, [])
        store = broker.owners.here(shard).store
        broker.owners.here(shard).seals.gone(list(store.logs(shard)))
        broker.owners.here(shard).answering.sessions.unload(shard)
        for log in store.logs(shard):
            owner = log.owner
            if isinstance(owner, Level):
                log.owner = None  # it ends with its queue
            elif isinstance(owner, Queue):
                away = AwayQueue(owner.definition, broker.live.leave(owner))
                away.leave(owner, holders.get(owner, []))
                owner.definition.runtime = away
                log.owner = None
                queues.append(away)
            elif isinstance(owner, Partition):
                part: Any = owner.topic
                topic: LiveTopic | None = part.definition.runtime
                if topic is None or not topic.has(owner):  # it was deleted, or is not there yet: nothing of it comes back
                    log.owner = None
                    continue
                topic.leave(owner)
                partitions.append((topic, owner.number))
        broker.outbox.close(shard)
        broker.transactions.unload(shard)
        broker.producers.unload(shard)
        broker.groups.unload(shard)
        broker.noted.forget(shard)
        broker.hub.let_go()  # cursors of what has ended
        broker.owners.let_go()
        self.forget_found()
        store.close_shard(shard, done)

    def _holders(self) -> dict[Any, list[Consumer]]:
        """Consumers by what they read."""
        found: dict[Any, list[Consumer]] = {}
        for door in (*self._broker.doors, *self._broker.owners.kept_doors()):
            for consumer in door.consumers.values():
                found.setdefault(consumer.reads, []).append(consumer)
        return found

    # ---- opening

    def open(self, shard: int, epoch: int, done: Callable[[], None]) -> None:
        """Bring to life what is in a shard; done() then."""
        self._broker.outbox.opening(shard)
        opening = self._opening[shard] = object()
        self._broker.owners.here(shard).store.open_shard(shard, epoch, partial(self._opened, shard, opening, done))

    def _opened(self, shard: int, opening: object, done: Callable[[], None]) -> None:
        broker = self._broker
        if self._opening.get(shard) is not opening:
            return
        if shard == CATALOGUE:
            broker.decisions.stream.reload()
        broker.catalogue.when(broker.noted.of(shard), partial(self._open, shard, opening, done))

    def _open(self, shard: int, opening: object, done: Callable[[], None]) -> None:
        broker = self._broker
        if self._opening.get(shard) is not opening:  # it has closed meanwhile
            return
        broker.transactions.load([shard])
        broker.producers.load([shard])
        self._return_partitions(shard)
        broker.subjects.load([shard])
        broker.groups.load([shard])
        self.forget_found()
        broker.outbox.load(shard, partial(self._read, shard, opening, done))

    def _return_partitions(self, shard: int) -> None:
        for topic, number in self._partitions.pop(shard, ()):
            if topic.definition.runtime is topic:
                self._broker.live.return_partition(topic, number)

    def _read(self, shard: int, opening: object, done: Callable[[], None]) -> None:
        """What is on its way from there is known: its queues are made, and the broker holds that before anybody is given something."""
        broker = self._broker
        if self._opening.get(shard) is not opening:
            return
        self._opening.pop(shard, None)
        queues = [
            (away, broker.live.make_queue(away.definition))
            for away in self._queues.pop(shard, ())
            if away.definition.runtime is away  # it has not been deleted meanwhile
        ]
        broker.outbox.open([shard])
        self._return_partitions(shard)  # those that were made meanwhile
        for away, queue in queues:
            away.return_to(queue)
        store = broker.owners.here(shard).store
        broker.live.drop_unnamed(store.logs(shard))
        drop_rows_of_none(store, shard, broker.scheduler)
        broker.owners.here(shard).answering.sessions.load([shard])
        self.forget_found()
        broker.outbox.opened(shard)
        if shard == CATALOGUE:
            broker.operations.decide_again()
        broker.subjects.wake()
        done()

    def forget_found(self) -> None:
        """What was found by name may be another now, or may not be answered by."""
        broker = self._broker
        broker.forget_paths()
        broker.subjects.forget_found()
        for door in broker.doors:
            door.forget_found()
        broker.catalogue.routes_changed()


def _lists_topics(request: Any) -> bool:
    """Of all topics, those that are known are told at any time: Kafka's clients cannot be told to ask again, and take none for none."""
    return isinstance(request, topic_requests.DescribeTopics) and request.names is None and request.ids is None


def _nothing() -> None:
    """Nobody waits for it."""
