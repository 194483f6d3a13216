"""Door: one connection's attachment to the broker in this process."""

from __future__ import annotations

from typing import Any

from entrepot.broker.calls.lease_calls import EndLeases, Receive, Send, Withdraw
from entrepot.broker.calls.partition_calls import Append, CloseParts, Read
from entrepot.broker.calls.port import ACCEPT, DONE, Attachment, Call, Publish, Settle, Sink, fail
from entrepot.broker.catalogue.definitions import Home
from entrepot.broker.catalogue.quotas import CONSUMERS
from entrepot.broker.catalogue.routing import KEY_OCTETS, REPLY_PREFIX
from entrepot.broker.front.appending import Appender
from entrepot.broker.front.lending import SharedLimit
from entrepot.broker.front.places import Place
from entrepot.broker.front.publisher import Path, Publisher
from entrepot.broker.logs.hub import Hub
from entrepot.broker.owners import Owner
from entrepot.broker.subscription.consumer import Consumer
from entrepot.broker.topic.partition import TopicTable
from entrepot.broker.topic.reading import Reads
from entrepot.broker.users.authorization import Action
from entrepot.model.errors import NotDone
from entrepot.store.interface import Store

PLACES_MAX = 1024  # queues with timed leases that one door knows by name; one more empties its table
PATHS_MAX = 4096  # paths that one connection has ready; one more empties its table. Of long addresses fewer, as of routes
STAGED_HIGH_BYTES = 67_108_864  # staged and not yet durable: above this publishers wait

CONSUMER = {CONSUMERS: 1}  # what one takes of the quotas

_PATHS_MAX, _KEY_OCTETS, _PLACES_MAX, _STAGED_HIGH = PATHS_MAX, KEY_OCTETS, PLACES_MAX, STAGED_HIGH_BYTES
_REPLY_PREFIX = REPLY_PREFIX.encode()


class Door(Attachment):
    """The port for one connection. Consumers and their limits are its own; everything else is the broker's.

    `home` is what the catalogue calls it. `publishes` tells whether it ever published: only such doors are throttled. `by_policy`: see Broker.attach().
    `waits`: see wait_for_catalogue().
    """

    __slots__ = (
        "appender",
        "blocked",
        "broker",
        "by_policy",
        "consumers",
        "getters",
        "home",
        "hub",
        "limits",
        "paths",
        "places",
        "publisher",
        "publishes",
        "reads",
        "reply_path",
        "store",
        "topics",
        "waits",
    )

    def __init__(self, broker: Any, sink: Sink, principal: Any, namespace: str, codec: int, by_policy: bool = False, home: Home | None = None) -> None:
        self.broker = broker
        self.home: Home = home or (broker.start_id, broker.connected_count)
        self.hub: Hub = broker.hub
        self.publisher: Publisher = broker.publisher
        self.appender: Appender = broker.appender
        self.store: Store = broker.store
        self.reads: Reads = broker.reads
        self.sink = sink
        self.codec = codec
        self.principal = principal
        self.namespace = namespace
        self.by_policy = by_policy
        self.writable = True
        self.closed = False
        self.spent = 0
        self.blocked = False
        self.waits = False
        self.publishes = False
        self.consumers: dict[int, Consumer] = {}
        self.limits: dict[int, SharedLimit] = {}  # by stream
        self.getters: dict[tuple[int, str, bool], Consumer] = {}  # (stream, queue, auto_settle) -> who holds what Get took
        self.paths: dict[bytes, Path] = {}
        self.reply_path: Path | None = None  # of all addresses that are names of replies
        self.places: dict[str, Place] = {}
        self.topics = TopicTable(broker.catalogue, broker.authorizer, namespace, principal, broker.check_catalogue)

    def submit(self, call: Call) -> None:
        """See port.Attachment."""
        call.attachment = self
        if self.closed:
            return
        if isinstance(call, Publish):
            self.publish(call)
        elif isinstance(call, Settle):
            self.settle(call)
        elif isinstance(call, Append):
            self.append(call)
        elif isinstance(call, Read):
            self.reads.read(call, self.topics)
        elif isinstance(call, CloseParts):
            self.reads.close_parts(call)
        elif isinstance(call, Send):
            self.send(call)
        elif isinstance(call, Receive):
            self.receive(call)
        elif isinstance(call, EndLeases):
            self.end_leases(call)
        elif isinstance(call, Withdraw):
            self.withdraw(call)
        else:
            self.broker.ask(self, call)

    def wait_for_catalogue(self) -> None:
        """See port.Attachment."""
        self.waits = True

    def go_on(self, call: Call) -> None:
        """With a call that was held (held_calls.py). What nobody hears of is published though the connection has ended."""
        if isinstance(call, Publish):
            if not self.closed or not (call.confirm or call.mandatory):
                self.publish(call)
        else:
            self.submit(call)

    def publish(self, call: Publish) -> None:
        """A Publish: resolve its path, stage it."""
        try:
            path = self.paths.get(call.address)
            if path is None or path.version != path.router.version:
                path = self._path(call.address)
                self.spent += path.router.taken_steps()
            if self.hub.refusing and not path.to_reply:
                raise self.broker.refusing.with_traceback(None)
            if self.store.staged_bytes > _STAGED_HIGH and not self.broker.throttled:
                self.broker.check_pressure()
            complete = self.publisher.publish(path, call)
            if path.by_record or call.scattered:
                self.spent += path.router.taken_steps() + self.publisher.parting.taken_steps()
        except NotDone as error:
            if not self.waits or not self.broker.held.takes(self, call, error):
                fail(call, error)
            return
        if complete and (call.confirm or call.mandatory):
            self.sink.completed(call)

    def by_headers(self, address: bytes) -> bool:
        """See port.Attachment."""
        path = self.paths.get(address)
        if path is None or path.version != path.router.version:
            try:
                path = self._path(address)
            except NotDone:  # as the Publish will be told
                return False
            self.spent += path.router.taken_steps()
        return bool(path.by_record)

    def compression_of(self, topic: str, size: int) -> int:
        """See port.Attachment."""
        try:
            access = self.topics.access(topic, self.broker.authorizer.version)
        except NotDone:
            return -1
        return access.rules.compression if access.no_write is None and size <= access.rules.max_message_bytes else -1

    def append(self, call: Append) -> None:
        """An Append."""
        self.publishes = True
        if self.store.staged_bytes > _STAGED_HIGH and not self.broker.throttled:
            self.broker.check_pressure()
        self.appender.append(call, self.topics)

    # ---- queues whose leases are timed

    def place(self, name: str) -> Place:
        """The queue of that name. Raises Refused."""
        place = self.places.get(name)
        if place is None or place.version != self.broker.authorizer.version or not place.lane.owner.holds(place.lane):
            found: Place = self.broker.timed.place(self, name)
            if len(self.places) >= _PLACES_MAX:
                self.places.clear()
            self.places[name] = found
            place = found
        return place

    def send(self, call: Send) -> None:
        """A Send."""
        try:
            place = self.place(call.queue)
            if not place.may_write and not call.granted:
                self.broker.timed.not_permitted(self, call, True)
            if self.hub.refusing:
                raise self.broker.refusing.with_traceback(None)
            self.publishes = True
            if self.store.staged_bytes > _STAGED_HIGH and not self.broker.throttled:
                self.broker.check_pressure()
            complete = place.lane.owner.send(place.lane, call)
        except NotDone as error:
            if not self.waits or not self.broker.held.takes(self, call, error):
                fail(call, error)
            return
        if complete:
            self.sink.completed(call)

    def receive(self, call: Receive) -> None:
        """A Receive."""
        try:
            place = self.place(call.queue)
            if not place.may_read and not call.granted:
                self.broker.timed.not_permitted(self, call, False)
            place.lane.owner.receive(place.lane, call)
        except NotDone as error:
            if not self.waits or not self.broker.held.takes(self, call, error):
                fail(call, error)

    def end_leases(self, call: EndLeases) -> None:
        """An EndLeases."""
        try:
            place = self.place(call.queue)
            if not place.may_read and not call.granted:
                self.broker.timed.not_permitted(self, call, False)
            place.lane.owner.end_leases(place.lane, call)
        except NotDone as error:
            if not self.waits or not self.broker.held.takes(self, call, error):
                fail(call, error)

    def withdraw(self, call: Withdraw) -> None:
        """A Withdraw."""
        if call.receive.timed is not None:
            call.receive.timed.withdraw(call.receive)
        call.outcome = DONE

    def forget_found(self) -> None:
        """Something that it has found by name may have moved."""
        self.paths.clear()
        holding = [(name, place.lane) for name, place in self.places.items() if place.lane.owner.holds(place.lane)]
        self.places = {name: Place(lane, False, False, None) for name, lane in holding}  # found anew when next asked for; calls may wait there
        self.topics.by_name.clear()

    def ask_again(self) -> None:
        """Users have changed: what waits for a queue or topic that may not be read any more waits no longer."""
        self.reads.ask_again(self.topics)
        for name, place in self.places.items():
            if not self.broker.authorizer.may(self.principal, Action.READ, self.namespace, name):
                place.lane.owner.withdraw_all(place.lane, self)

    def timed_out(self, call: Receive) -> None:
        """A Receive has waited long enough."""
        call.timed.wait_over(call)

    def _path(self, address: bytes) -> Path:
        """Resolve an address, and keep it at hand."""
        self.publishes = True
        if address[0] == 0 and address.startswith(_REPLY_PREFIX, 2):
            if self.reply_path is None or self.reply_path.version != self.reply_path.router.version:
                self.reply_path = self.broker.path_for(self, address)
            return self.reply_path
        path: Path = self.broker.path_for(self, address)
        if len(self.paths) >= _PATHS_MAX // (1 + len(address) // _KEY_OCTETS):
            self.paths.clear()
        self.paths[address] = path
        return path

    def settle(self, call: Settle) -> None:
        """A Settle, for whatever its consumer reads."""
        consumer = self.consumers.get(call.consumer_id)
        if consumer is None:
            return
        if call.disposition != ACCEPT and consumer.source is not None and consumer.source.is_topic:
            fail(call, self.broker.operations.not_for_streams(consumer.source, "basic.nack and basic.reject"))
            return
        owner: Owner = consumer.owner
        owner.settle(consumer, call.first, call.count, call.disposition)
        call.outcome = DONE
        self.credit_returned(consumer)

    def credit_returned(self, consumer: Consumer) -> None:
        """It holds less: with a shared limit every consumer of the stream may go on; a cancelled one that holds nothing is forgotten."""
        if not consumer.active and consumer.leased == 0:
            self.consumers.pop(consumer.id, None)
        if consumer.pool.limit:
            for other in consumer.pool.consumers:
                if other.source is not consumer.source:
                    owner: Owner = other.owner
                    owner.credit(other)
        if consumer.pool.lent:
            self._freed(consumer)

    def _freed(self, consumer: Consumer) -> None:
        """What it holds less others may be lent."""
        shared = self.limits.get(consumer.stream)
        if shared is not None and shared.lending is not None:
            shared.lending.freed(consumer)

    def wants(self, consumer: Consumer) -> None:
        """An owner has something for a consumer that is lent its credit, and has none (see Owner.lend())."""
        shared = self.limits.get(consumer.stream)
        if shared is not None and shared.lending is not None:
            shared.lending.wants(consumer)

    def gone(self, consumer: Consumer) -> None:
        """A consumer's queue was deleted: its session is told, and its credit is free again. Where it is at several owners, each of them says so."""
        known = self.consumers.get(consumer.id)
        if known is not None and known is not consumer:
            consumer = known
            known.owner.end(known)
        consumer.active = False
        consumer.freed(consumer.leased)
        if known is None:
            return
        self.leave(consumer)
        self.credit_returned(consumer)
        self.consumers.pop(consumer.id, None)
        if not self.closed:
            self.sink.cancelled(consumer.token)

    def limit_of(self, stream: int) -> SharedLimit:
        """What the consumers of a stream may hold together."""
        shared = self.limits.get(stream)
        if shared is None:
            shared = self.limits[stream] = SharedLimit(stream)
        return shared

    def enter(self, consumer: Consumer, parts: list[Consumer] | None = None) -> None:
        """One consumer more; `parts`: of one that is at several owners."""
        self.broker.catalogue.quotas.count(self.principal.name, CONSUMER)
        self.consumers[consumer.id] = consumer
        self.limit_of(consumer.stream).enter(consumer, parts)

    def leave(self, consumer: Consumer) -> None:
        """One less; what it holds it may still settle."""
        shared = self.limits.get(consumer.stream)
        if shared is not None and consumer in shared.consumers:
            shared.leave(consumer)
            self.broker.catalogue.quotas.give_back(self.principal.name, CONSUMER)

    def resume(self) -> None:
        """See port.Attachment."""
        self.writable = True
        for consumer in self.consumers.values():
            if consumer.active:
                owner: Owner = consumer.owner
                owner.credit(consumer)

    def hold(self) -> None:
        """See port.Attachment."""
        self.broker.hold(self)

    def let_go(self) -> None:
        """See port.Attachment."""
        self.broker.let_go(self)

    def close(self) -> None:
        """See port.Attachment."""
        if not self.closed:
            self.closed = True
            self.writable = False
            for place in self.places.values():
                place.lane.owner.withdraw_all(place.lane, self)
            self.forget_found()
            self.places.clear()
            self.broker.detach(self)
