"""BrokerParts: the broker, as those see it who carry out its requests: what it is made of, and the little that it does for them itself."""

from __future__ import annotations

from typing import Any, Protocol

from entrepot.broker.calls.port import Ask
from entrepot.broker.catalogue.decisions import Decisions
from entrepot.broker.catalogue.definitions import QueueDefinition
from entrepot.broker.catalogue.noted_revisions import NotedRevisions
from entrepot.broker.catalogue.quotas import LastValueLimits
from entrepot.broker.catalogue.shards import Shards
from entrepot.broker.dropped import Dropped
from entrepot.broker.front.appending import Appender
from entrepot.broker.front.door import Door
from entrepot.broker.front.owner_table import OwnerTable
from entrepot.broker.front.publisher import Path, Publisher
from entrepot.broker.front.replies import Replies
from entrepot.broker.front.wills import Wills
from entrepot.broker.groups.coordinator import GroupCoordinator
from entrepot.broker.groups.desk import Desk
from entrepot.broker.logs.hub import Hub
from entrepot.broker.outbox.outbox import Outbox
from entrepot.broker.owner.timed_sides import TimedSides
from entrepot.broker.producers.deduplication import Deduplication
from entrepot.broker.producers.producer_ids import ProducerIds
from entrepot.broker.topic.topic_config import TopicDefaults
from entrepot.broker.transactions.log_transactions import Transactions
from entrepot.model.errors import Refused
from entrepot.store.interface import Scheduler, Store


class Decider(Protocol):
    """Who decides the catalogue, as a process sees it that does not, or not yet. `is_known`: somebody can be asked; else only the first two are called."""

    is_known: bool

    def check(self) -> None:
        """Raises Unavailable where this process may not answer by its catalogue now."""

    def ask(self, door: Door, call: Ask) -> None:
        """Have it carry out a call, which completes with its answer. Raises NotDone: it is not asked."""

    def ended(self, door: Door) -> None:
        """A connection has ended: what is exclusive to it goes."""

    def remove_unused(self, definition: QueueDefinition) -> None:
        """Nobody reads a queue any more that goes then, and lives here."""

    def make_timed(self, definition: QueueDefinition) -> None:
        """A queue of another protocol's is to have timed leases."""


class BrokerParts(Protocol):
    """Of one broker, which has them all before it opens. `decider`: where the catalogue is decided, None: here, or nobody knows."""

    decider: Decider | None

    # handed to it
    scheduler: Scheduler
    clock: Any
    entropy: Any
    store: Store
    volatile: Store
    catalogue: Any
    decisions: Decisions
    authorizer: Any
    topic_defaults: TopicDefaults
    last_value_limits: LastValueLimits
    # its own
    hub: Hub
    shards: Shards
    noted: NotedRevisions
    owners: OwnerTable
    sides: TimedSides
    start_id: bytes
    desk: Desk
    groups: GroupCoordinator
    transactions: Transactions
    producers: Deduplication
    producer_ids: ProducerIds
    publisher: Publisher
    appender: Appender
    outbox: Outbox
    replies: Replies
    wills: Wills
    dropped: Dropped
    refusing: Refused | None

    def ask(self, door: Door, call: Ask) -> None:
        """See Broker.ask()."""

    def check_catalogue(self) -> None:
        """See Broker.check_catalogue()."""

    def path_for(self, door: Door, address: bytes) -> Path:
        """See Broker.path_for()."""

    def check_pressure(self) -> None:
        """See Broker.check_pressure()."""

    def next_consumer_id(self) -> int:
        """See Broker.next_consumer_id()."""
