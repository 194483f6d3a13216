"""Broker: the port's implementation in one process. Owns the live queues and topics, and hears of every commit.

Door.submit -> Publisher / Queue / operations -> what is staged is one commit -> committed(group)
    -> tickets complete -> queues learn what is durable -> the hub dispatches them at the end of the tick
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from entrepot.broker.calls.port import DONE, Ask, Attachment, Sink, complete, fail
from entrepot.broker.catalogue.cluster_id import cluster_id
from entrepot.broker.catalogue.decisions import Decisions
from entrepot.broker.catalogue.noted_revisions import NotedRevisions
from entrepot.broker.catalogue.quotas import METADATA, LastValueLimits
from entrepot.broker.catalogue.routing import KEY_OCTETS
from entrepot.broker.catalogue.shards import SHARD_COUNT_DEFAULT, Shards
from entrepot.broker.dropped import Dropped
from entrepot.broker.front import leaving
from entrepot.broker.front.appending import Appender
from entrepot.broker.front.dead_routes import DeadRoutes
from entrepot.broker.front.door import STAGED_HIGH_BYTES, Door
from entrepot.broker.front.held_calls import HeldCalls
from entrepot.broker.front.inbox import Inbox
from entrepot.broker.front.owner_table import OwnerTable
from entrepot.broker.front.parting import Parting, split_address
from entrepot.broker.front.publisher import Path, Publisher
from entrepot.broker.front.replies import Replies
from entrepot.broker.front.revocation import Revocation
from entrepot.broker.front.subject_hop import SubjectSender
from entrepot.broker.front.subjects import Subjects
from entrepot.broker.front.wills import Wills
from entrepot.broker.groups.coordinator import GroupCoordinator
from entrepot.broker.groups.desk import Desk
from entrepot.broker.groups.settings import GroupSettings
from entrepot.broker.groups.topics import CatalogueTopics
from entrepot.broker.groups.work import emptying
from entrepot.broker.logs.entry_codec import EntryCodec
from entrepot.broker.logs.hub import Hub
from entrepot.broker.logs.log_owner import LogOwner
from entrepot.broker.operations.live_objects import LiveObjects
from entrepot.broker.operations.operations import LATER, Operations
from entrepot.broker.operations.parts import Decider
from entrepot.broker.operations.retaining import Retaining
from entrepot.broker.operations.session_operations import SessionOperations
from entrepot.broker.operations.sharing import Sharing
from entrepot.broker.operations.timed_operations import TimedOperations
from entrepot.broker.operations.together import Together
from entrepot.broker.operations.topic_operations import TopicOperations
from entrepot.broker.outbox.handover import LETTER, MOVE, REDRIVE, SUBJECT, Handover
from entrepot.broker.outbox.outbox import Outbox
from entrepot.broker.owner.timed_sides import TimedSides
from entrepot.broker.producers.deduplication import IDLE_MS, Deduplication
from entrepot.broker.producers.producer_ids import ProducerIds
from entrepot.broker.queue.dead_letters import LetterSender
from entrepot.broker.queue.queue import Queue
from entrepot.broker.shard_moves import ShardMoves
from entrepot.broker.timed.redrive import RedriveSender, take_handed_over
from entrepot.broker.topic.reading import Reads
from entrepot.broker.topic.topic_config import TopicDefaults
from entrepot.broker.transactions.log_transactions import Transactions
from entrepot.broker.users.authorization import Action, ResourceKind
from entrepot.model.entry import CODEC_AMQP_091
from entrepot.model.errors import NotDone, Reason, Refused
from entrepot.store.interface import Group, Scheduler, Store

START_ID_SIZE = 8  # bytes of chance: which start of which process
PATHS_MAX = 65_536  # resolved addresses kept; one more empties the table
STAGED_LOW_BYTES = 33_554_432  # throttled publishers go on below this


class Broker:
    """One broker. `decisions`, over the catalogue, and `authorizer` are handed in loaded; on_failed(error) is called once when the store has ended.

    `start_id`: START_ID_SIZE octets that no other start of a process has, where others are told of it; b"": made up.
    """

    def __init__(
        self,
        *,
        scheduler: Scheduler,
        clock: Any,
        entropy: Any,
        store: Store,
        volatile: Store,
        decisions: Decisions,
        authorizer: Any,
        on_failed: Callable[[BaseException], None],
        group_settings: GroupSettings | None = None,
        topic_defaults: TopicDefaults | None = None,
        last_value_limits: LastValueLimits | None = None,
        producer_idle_ms: int = IDLE_MS,
        owners: Callable[[Hub, Store, Store], OwnerTable] = OwnerTable,
        start_id: bytes = b"",
    ) -> None:
        # shared with queues
        self.hub = Hub(scheduler, clock)
        self.scheduler = scheduler
        self.clock = clock
        self.entropy = entropy
        self.store = store
        self.volatile = volatile
        self.decisions = decisions
        self.catalogue = catalogue = decisions.catalogue
        self.noted = NotedRevisions(store)
        self.start_id: bytes = start_id or entropy.octets(START_ID_SIZE)
        self.decider: Decider | None = None  # of the catalogue, where that is another process
        self.authorizer = authorizer
        self.transactions = Transactions(store, self.hub.transactions)
        self.owners = owners(self.hub, store, volatile)
        self.owners.start_id = self.start_id
        self.replies = Replies(self.hub, entropy, self.owners)
        parting = Parting(self.hub, self.replies)
        parting.authorize_route = self._authorize_route
        self.publisher = Publisher(parting, self.replies, self.owners)
        self.producers = Deduplication(store, idle_ms=producer_idle_ms)
        self.producer_ids = ProducerIds(decisions.stream)
        self.shards = Shards(SHARD_COUNT_DEFAULT)  # until open()
        self.dead_routes = DeadRoutes(self.hub, catalogue, self.publisher, self._path, self._may)
        self.hub.publish_dead = self.dead_routes.publish
        self.hub.outbox = self.outbox = Outbox(self.hub, lambda shard: self.owners.here(shard).store)
        self.owners.loading = self.outbox.loading
        self.inbox = Inbox(self.hub, self.publisher, self._take_timed, self.outbox.answered, self.outbox.loading)
        self.subjects = Subjects(self.hub, self.publisher, catalogue)
        self.appender = Appender(self.hub, store, authorizer, self.producers, self.subjects)
        self.reads = Reads(self.hub, authorizer)
        self.topic_defaults = topic_defaults or TopicDefaults()
        self.wills = Wills(self.hub, self.publisher, self._path)
        self.dropped = Dropped()
        self.last_value_limits = last_value_limits or LastValueLimits()
        self.sides = TimedSides(self.hub, entropy, decisions, self.owners.holder, self.owners.place)
        self.live = LiveObjects(self)
        self.operations = Operations(self, self.live)
        self.topic_operations = TopicOperations(self, self.live)
        self.operations.add_handlers(self.topic_operations.handlers())
        self.operations.add_handlers(Together(self, self.operations).handlers())
        self.sessions = SessionOperations(self, self.operations)
        self.operations.add_handlers(self.sessions.handlers())
        retaining = Retaining(self)
        self.wills.retain = retaining.keep
        self.operations.add_handlers(retaining.handlers())
        sharing = Sharing(self)
        self.operations.add_handlers(sharing.handlers())
        self.operations.on_decides = sharing.sweep
        self.timed = TimedOperations(self)
        self.operations.add_handlers(self.timed.handlers())
        self.outbox.owners = self.inbox
        letters, on = LetterSender(self.hub, self.dead_routes), SubjectSender(self.subjects)
        self.outbox.senders = {LETTER: letters, REDRIVE: RedriveSender(), MOVE: self.sides.moves, SUBJECT: on}
        self.desk = Desk(scheduler, clock, entropy, store, self.shards, group_settings or GroupSettings(), catalogue.quotas)
        self.groups = GroupCoordinator(self.desk, CatalogueTopics(catalogue, self.noted), authorizer)
        # per connection
        self.doors: set[Door] = set()
        self.held = HeldCalls(scheduler)
        self.make_door: Callable[..., Door] = Door  # simulations have doors of their own
        # state
        self.paths: dict[tuple[str, bytes], Path] = {}
        self.refusing: Refused | None = None  # set while appends are refused (disk reserve)
        self.throttled = False
        self.holding: dict[Door, int] = {}  # publishers that wait for an owner elsewhere, and for how many
        self._pressed = False
        self.last_consumer_id = 0
        self.cluster_id = ""  # set by open()
        self.connected_count = 0
        self._on_failed = on_failed
        self.revocation = Revocation(scheduler, catalogue, authorizer, self.doors, self.operations.stop_consumer)
        self.shard_moves = ShardMoves(self)
        store.set_owner(self)
        volatile.set_owner(self)

    def register(self, codec: EntryCodec) -> None:
        """Make a protocol's entry codec known. All are registered before open()."""
        self.hub.register(codec)

    def open(self, own: Collection[int] | None = None, *, follows: bool = False, shards: Shards | None = None, cluster: str = "") -> None:
        """Bring the catalogue's queues and topics to life. `own`: shards that this process has, None: all of them. The others are closed.

        `follows`: the catalogue is decided elsewhere, and nothing of it is known yet; then none is its own before that has come. `shards`, `cluster`: how
        many there are, and the cluster's id, where that is said for several stores together; else this one's own.
        """
        self.shards = self.desk.shards = self.owners.shards = shards or Shards.of(self.store)
        self.producer_ids.load()
        self.cluster_id = cluster or cluster_id(self.store, self.entropy)
        if follows:
            self.decisions.stream.follow()
        opened = {log.shard for log in self.store.logs()}  # of all that was there
        if own is not None or follows:
            opened = set(own or ())
            self.shard_moves.begin_closed(shard for shard in range(self.shards.count) if shard not in opened)
        self.transactions.load(opened)
        self.producers.load(opened)
        self.live.open()
        self.outbox.open(opened)
        self.load_sessions(opened)
        every = own is None and not follows
        if every:
            self.operations.decide_again()
        self.groups.load(None if every else sorted(opened))
        self.subjects.load(range(self.shards.count) if every else sorted(opened))

    def load_sessions(self, shards: Collection[int]) -> None:
        """What is kept of sessions in shards whose queues are alive again."""
        for shard in shards:
            self.owners.here(shard).answering.sessions.load([shard])

    def stop(self) -> None:
        """The stores are about to close: what the broker does by itself, over turns of the loop, goes on after the next start."""
        self.subjects.stop()

    # ---- the port

    def attach(self, sink: Sink, principal: Any, namespace: str, codec: int = CODEC_AMQP_091, by_policy: bool = False) -> Attachment:
        """A session's side of the port; its deliveries are packed by `codec`. Refused NOT_FOUND: no such namespace; NOT_PERMITTED: not for this principal.

        `by_policy`: also for a principal that may not use the namespace, as a queue's own policy may still grant a call.
        """
        self.catalogue.namespace(namespace)
        if not by_policy:
            self.authorizer.authorize_namespace(principal, namespace)
        door = self.make_door(self, sink, principal, namespace, codec, by_policy)
        self.doors.add(door)
        self.connected_count += 1
        if self.throttled:
            sink.throttle(True, "")
        if self.refusing is not None:
            sink.throttle(True, str(self.refusing))
        return door

    def ask(self, door: Door, call: Ask) -> None:
        """Carry out a request and complete its call now, or with the commit that holds its effect."""
        try:
            if (self.store.closed or self.decider is not None) and self.shard_moves.is_sent_on(door, call):
                return
            result, group = self.operations.perform(door, call)
        except NotDone as error:
            if not door.waits or not self.held.takes(door, call, error):
                fail(call, error)
            return
        if result is LATER:
            return
        call.result = result
        if group is None:
            call.outcome = DONE
            door.sink.completed(call)
        else:
            group.calls.append(call)

    def process_of(self, door: Door, queue: str) -> str:
        """See leaving.py, for these three."""
        return leaving.process_of(door, queue)

    def may_leave(self, door: Door, process: str) -> bool:
        """Whether its connection might as well be in that process."""
        return leaving.may_leave(door, process)

    def owes(self, door: Door) -> bool:
        """Whether something of it is on its way to another process."""
        return leaving.owes(door)

    def detach(self, door: Door) -> None:
        """The door's connection has ended."""
        self.doors.discard(door)
        self.holding.pop(door, None)
        self.reads.detach(door.topics)
        self.operations.detach(door)
        self.sessions.detach(door)

    # ---- publishing

    def check_catalogue(self) -> None:
        """Raises Unavailable where this process may not answer by its catalogue now."""
        if self.decider is not None:
            self.decider.check()

    def path_for(self, door: Door, address: bytes) -> Path:
        """The path of an address for this door's principal. Refused: no such exchange, internal, or not permitted. Unavailable."""
        self.check_catalogue()
        exchange, routing_key = split_address(address)
        self.authorizer.authorize(door.principal, Action.WRITE, door.namespace, ResourceKind.EXCHANGE, exchange)
        path = self._path(door.namespace, address, exchange, routing_key)
        self._authorize_route(door, path.route)
        process = self.owners.process_of(lane.owner for lane in path.lanes)
        if process:
            door.sink.elsewhere(process)
        return path

    def _authorize_route(self, door: Attachment, route: Any) -> None:
        """Refused where a topic is reached by its name or subject that the door's principal may not write into."""
        for topic in route.named:
            self.authorizer.authorize(door.principal, Action.WRITE, door.namespace, ResourceKind.TOPIC, topic.name)

    def _may(self, *asked: Any) -> None:
        self.authorizer.authorize(*asked)

    def _take_timed(self, queue: Queue, handover: Handover) -> None:
        take_handed_over(self.sides.timed_of(queue.definition), handover)

    def _path(self, namespace: str, address: bytes, exchange: str, routing_key: str) -> Path:
        key = (namespace, address)
        path = self.paths.get(key)
        router = self.catalogue.namespace(namespace).router
        if path is None or path.version != router.version or path.router is not router:
            path = Path(address, exchange, router.route(exchange, routing_key), router, self.owners)
            if path.to_reply or len(address) > 2 * KEY_OCTETS:
                return path  # nothing is kept of names that come and go, nor of long ones, which would push out everybody's
            if len(self.paths) >= PATHS_MAX:
                self.forget_paths()
            self.paths[key] = path
        return path

    def forget_paths(self) -> None:
        """Keep none, and let go of those there were over turns of the loop."""
        for paths in (self.paths, self.dead_routes.paths):
            self.desk.work.run(emptying(paths))
        self.paths = {}
        self.dead_routes.paths = {}

    # ---- the store's owner

    def committed(self, group: Group) -> None:
        """See store.interface.Owner."""
        failure = complete(group.calls)
        for log in group.logs:
            owner: LogOwner | None = log.owner
            if owner is not None:
                owner.on_durable(log)
        if self.throttled:
            self.check_pressure()
        if failure is not None:
            raise failure

    def store_failed(self, error: BaseException) -> None:
        """See store.interface.Owner: what is pending stays unknown, and the process must end."""
        self._on_failed(error)

    def store_pressure(self, on: bool) -> None:
        """The durable store asks for publishers to wait, or lets them go on; while its disk is nearly full they are refused."""
        full = (
            Refused(Reason.LIMIT, "the disk is nearly full: publishing is refused until space is freed") if on and getattr(self.store, "full", False) else None
        )
        self.set_refusing(full)
        self._pressed = on and full is None
        self.check_pressure()

    def check_pressure(self) -> None:
        """Throttle publishers while much is staged and not yet durable, or the store asks for it; let them go on when that is over."""
        staged = self.store.staged_bytes + self.volatile.staged_bytes
        if self.throttled and staged < STAGED_LOW_BYTES and not self._pressed:
            self.throttled = False
            self._tell_publishers(False, "")
        elif not self.throttled and (staged > STAGED_HIGH_BYTES or self._pressed):
            self.throttled = True
            self._tell_publishers(True, "")

    def store_closing(self) -> None:
        """A stop in good order: everything staged is durable. What was marked ahead and never delivered will not be called redelivered."""
        for log in self.store.logs():
            owner = log.owner
            if isinstance(owner, Queue):
                log.unmark(max(owner.subscription.cursor, owner.subscription.redelivered_below))

    def set_refusing(self, refused: Refused | None) -> None:
        """Refuse appends (the disk reserve is reached), or take them again."""
        if (refused is None) != (self.refusing is None):
            was, self.refusing = self.refusing, refused
            self.hub.refusing = refused is not None
            self.appender.refusing = refused
            for door in self.doors:
                door.sink.throttle(refused is not None, str(refused or was))

    def _tell_publishers(self, blocked: bool, reason: str) -> None:
        for door in list(self.doors):
            if door.publishes if blocked else door not in self.holding:
                door.sink.throttle(blocked, reason)

    def hold(self, door: Door) -> None:
        """It waits for an owner elsewhere, which has much of what it published: see Attachment.hold()."""
        if door in self.doors:
            self.holding[door] = self.holding.get(door, 0) + 1
            if self.holding[door] == 1 and not self.throttled:
                door.sink.throttle(True, "")

    def let_go(self, door: Door) -> None:
        """One owner less. Nothing, where its connection has ended."""
        count = self.holding.get(door)
        if count is None:
            return
        if count > 1:
            self.holding[door] = count - 1
            return
        del self.holding[door]
        if not self.throttled:
            door.sink.throttle(False, "")

    # ---- consumers' numbers

    def next_consumer_id(self) -> int:
        """Never used before in this process; 0 is the broker itself."""
        self.last_consumer_id += 1
        return self.last_consumer_id

    def statistics(self) -> dict[str, float]:
        """Figures for metrics: counters since the start, and what is there now."""
        hub = self.hub
        return {
            "published_total": self.publisher.published_count,
            "published_bytes_total": self.publisher.published_bytes,
            "delivered_total": hub.delivered_count,
            "settled_total": hub.settled_count,
            "dead_lettered_total": hub.dead_lettered_count,
            "dead_letters_dropped_total": hub.dead_letters_dropped_count,
            "expired_total": hub.expired_count,
            "kept_dropped_total": self.dropped.count,
            "attachments": len(self.doors),
            "attachments_total": self.connected_count,
            "paths_cached": len(self.paths),
            "shelved_bytes": hub.shelved_bytes,
            **hub.translations.statistics(),
            **hub.pieces.statistics(),
            **hub.long_translations.statistics(),
            **self.replies.statistics(),
            **self.subjects.statistics(),
            **self.outbox.statistics(),
            **self.inbox.statistics(),
            "sent_on_total": self.subjects.sent_on_count + self.appender.sent_on_count,
            "publishers_throttled": float(self.throttled),
            "appended_batches_total": self.appender.batch_count,
            "appended_records_total": self.appender.appended_count,
            "appended_bytes_total": self.appender.appended_bytes,
            "appended_duplicates_total": self.appender.duplicate_count,
            "appends_refused_total": self.appender.refused_count,
            "reads_total": self.reads.read_count,
            "read_bytes_total": self.reads.read_bytes,
            "read_entries_skipped_total": self.reads.skipped_count,
            "producers": len(self.producers),
            **self.operations.statistics(),
            **self.owners.durable.answering.sessions.statistics(),
            **self.revocation.statistics(),
            **self.groups.statistics(),
            "metadata_bytes": self.catalogue.quotas.used(METADATA),
        }
