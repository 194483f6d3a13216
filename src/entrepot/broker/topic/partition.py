"""Partition: one log of a topic, with whoever watches it; TopicTable: the topics that one attachment has resolved.

A commit that appended to the log tells the partition (LogOwner), which tells its topic's consumers, its retention and its watchers: places
of reads (reading.py). What nobody watches costs nothing.
"""

from __future__ import annotations

from typing import Any

from entrepot.broker.catalogue.routing import Router
from entrepot.broker.logs.log_owner import LogOwner
from entrepot.broker.users.authorization import Action, ResourceKind
from entrepot.model.errors import NotDone, Reason, Refused
from entrepot.store.interface import Log

TOPICS_MAX = 65_536  # topics that one attachment has ready; one more empties its table
TIME_UNBOUNDED_MS = 0x7FFFFFFFFFFFFFFF

_TOPICS_MAX = TOPICS_MAX


class TopicRules:
    """What a topic's configuration says of appends; one object per topic, changed where it is. `closed`: the topic is gone.

    `compression`: of batches, as topic_config.COMPRESSIONS numbers them; -1: as they come.
    `append_time`: records carry the time of their append. A record may be `before_max_ms` older and `after_max_ms` newer than its append.
    """

    __slots__ = ("after_max_ms", "append_time", "before_max_ms", "closed", "compression", "max_message_bytes", "name", "onward", "onward_version", "router")

    name: str
    closed: bool
    append_time: bool
    compression: int
    max_message_bytes: int
    before_max_ms: int
    after_max_ms: int
    router: Router | None  # of the namespace, once somebody writes
    onward: Any  # Path of what its subject leads to, None if to nothing; valid while `onward_version` is the router's (front/subjects.py)
    onward_version: int

    def __init__(self, name: str) -> None:
        self.name = name
        self.closed = False
        self.router = None
        self.onward = None
        self.onward_version = 0
        self.append_time = False
        self.compression = -1
        self.max_message_bytes = 0x7FFFFFFF
        self.before_max_ms = TIME_UNBOUNDED_MS
        self.after_max_ms = TIME_UNBOUNDED_MS


class Watcher:
    """Wants to hear when its partition has something new, or is gone. `slot`: its place in the partition's list."""

    __slots__ = ("slot",)

    slot: int

    def wake(self) -> None:
        """Look again."""
        raise NotImplementedError


class Partition(LogOwner):
    """One partition of the topic `topic`, which hears of everything through it. `logs` is the log alone, as a store's append() wants it."""

    __slots__ = ("gone", "hop", "log", "logs", "number", "retention", "rules", "sized", "topic", "transactions", "watchers")

    def __init__(self, topic: LogOwner, rules: TopicRules, number: int, log: Log, transactions: Any) -> None:
        self.dirty = False
        self.topic = topic
        self.rules = rules
        self.number = number
        self.log = log
        self.logs = [log]
        self.transactions = transactions  # the log's LogTransactions, None if it has none
        self.retention: Any = None
        self.hop: Any = None  # while it is behind in sending on (front/subject_hop.py)
        self.sized = False  # the retention looks at how much there is
        self.watchers: list[Watcher] = []
        self.gone: NotDone | None = None  # why it has ended
        log.owner = self

    def on_durable(self, log: Log) -> None:
        """See LogOwner."""
        if self.sized:
            self.retention.check_size()
        self.topic.on_durable(log)
        for watcher in self.watchers:
            watcher.wake()

    def dispatch(self) -> None:
        """See LogOwner: the topic does."""

    def follow(self, log: Log, transactions: Any) -> None:
        """See LogOwner."""
        self.transactions = transactions
        self.topic.follow(log, transactions)

    def end_pending(self, transaction_id: int, committed: bool) -> None:
        """See LogOwner: a topic itself has nothing to settle; its subscriptions have ids of their own."""

    def watch(self, watcher: Watcher) -> None:
        """Tell it from now on."""
        watcher.slot = len(self.watchers)
        self.watchers.append(watcher)

    def unwatch(self, watcher: Watcher) -> None:
        """Tell it no more."""
        last = self.watchers.pop()
        if last is not watcher:
            last.slot = watcher.slot
            self.watchers[watcher.slot] = last

    def close(self, gone: NotDone) -> None:
        """Its topic is deleted, or its shard open elsewhere: `gone` for whoever asks."""
        self.gone = gone
        if self.retention is not None:
            self.retention.close()
            self.retention = None
        self.sized = False
        self.log.owner = None
        for watcher in self.watchers:
            watcher.wake()
        self.topic = _GONE  # which holds all its partitions: nothing is to be left to the search for garbage


_GONE = LogOwner()


class TopicAccess:
    """A resolved topic, as long as its rules are not closed and `version` is the authorizer's. `no_read`, `no_write`: why not, or None."""

    __slots__ = ("no_read", "no_write", "partitions", "rules", "version")

    rules: TopicRules
    partitions: list[Partition]
    version: int
    no_read: Refused | None
    no_write: Refused | None


class TopicTable:
    """Topics of one attachment's namespace by name, with what its principal may do. `watchers` are those of its reads.

    check() raises Unavailable where nothing may be answered by the catalogue now.
    """

    __slots__ = ("authorizer", "by_name", "catalogue", "check", "namespace", "principal", "watchers")

    def __init__(self, catalogue: Any, authorizer: Any, namespace: str, principal: Any, check: Any) -> None:
        self.catalogue = catalogue
        self.check = check
        self.authorizer = authorizer
        self.namespace = namespace
        self.principal = principal
        self.by_name: dict[str, TopicAccess] = {}
        self.watchers: set[Any] = set()

    def access(self, name: str, version: int) -> TopicAccess:
        """The topic of that name. Refused NOT_FOUND; Unavailable. `version` is the authorizer's now."""
        found = self.by_name.get(name)
        if found is None or found.rules.closed or found.version != version:
            found = self._resolve(name, version)
        return found

    def by_id(self, topic_id: bytes, version: int) -> TopicAccess:
        """The topic of that id. Refused NOT_FOUND; Unavailable."""
        definition = self.catalogue.topic_by_id(topic_id)
        if definition is None or definition.namespace != self.namespace:
            self.check()
            raise Refused(Reason.NOT_FOUND, f"no topic has the id {topic_id.hex()}")
        return self.access(definition.name, version)

    def partition(self, access: TopicAccess, number: int) -> Partition:
        """One of its partitions. Refused NOT_FOUND; Unavailable: its shard is not open here."""
        if not 0 <= number < len(access.partitions):
            raise Refused(Reason.NOT_FOUND, f"topic '{access.rules.name}' has {len(access.partitions)} partitions, counted from 0: there is no {number}")
        partition = access.partitions[number]
        if partition.gone is not None:
            raise partition.gone.again()
        return partition

    def _resolve(self, name: str, version: int) -> TopicAccess:
        self.check()
        topic = self.catalogue.find_topic(self.namespace, name).runtime
        access = TopicAccess.__new__(TopicAccess)
        access.rules = topic.rules
        access.rules.router = self.catalogue.namespace(self.namespace).router
        access.partitions = topic.partitions
        access.version = version
        access.no_read = self._why_not(Action.READ, name)
        access.no_write = self._why_not(Action.WRITE, name)
        if len(self.by_name) >= _TOPICS_MAX:
            self.by_name.clear()
        self.by_name[name] = access
        return access

    def _why_not(self, action: Action, name: str) -> Refused | None:
        try:
            self.authorizer.authorize(self.principal, action, self.namespace, ResourceKind.TOPIC, name)
        except Refused as refused:
            return refused
        return None
