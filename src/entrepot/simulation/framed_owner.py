"""FramedOwner: an owner as it looks from another process: what goes to it, and what it answers, goes through octets, and nothing else does.

What cannot be written down (a live queue, a connection, a lane of the owner's own) cannot come by: `marshal` takes plain values and no others. Errors are
words. Requests arrive in the order in which they are sent; answers come at a later turn of the loop.
"""

from __future__ import annotations

import marshal
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from entrepot.broker.calls.port import DONE, REFUSED, UNAVAILABLE, Ask, Attachment, Call, Delivery, Publish, Sink, fail, make_ask, make_publish
from entrepot.broker.front.owner_table import OwnerTable
from entrepot.broker.logs.hub import Hub
from entrepot.broker.owner.local_owner import LocalOwner
from entrepot.broker.owners import Lane, Owner, Run
from entrepot.broker.subscription.consumer import Consumer, Pool, make_consumer
from entrepot.model.errors import NotDone, OutcomeUnknown, Reason, Refused, Unavailable
from entrepot.store.interface import Scheduler, Store


def carried(*values: Any) -> Any:
    """What arrives of values that are sent. Raises ValueError for what is not plain."""
    return marshal.loads(marshal.dumps(values))


def _said(error: NotDone | None) -> tuple[str, str, str] | None:
    if error is None:
        return None
    return type(error).__name__, error.reason.name if isinstance(error, Refused) else "", str(error)


def _heard(said: tuple[str, str, str] | None) -> NotDone | None:
    if said is None:
        return None
    kind, reason, text = said
    if kind == "Refused":
        return Refused(Reason[reason], text)
    return Unavailable(text) if kind == "Unavailable" else OutcomeUnknown(text)


DELIVERY = ("codec", "codec_version", "data", "position", "count", "offset", "deliveries", "counted", "redelivered", "settled", "from_topic")


class FramedLane(Lane):
    """The number of one over there."""

    def __init__(self, owner: Owner, number: int) -> None:
        self.owner = owner
        self.number = number


class FramedOwner(Owner):
    """The front's side. Counts what went over."""

    def __init__(self, far: FarSide) -> None:
        self.far = far
        self.frame_count = 0
        self._waiting: dict[int, Any] = {}  # number -> the call, or what is to be called, with the answer
        self._doors: dict[Attachment, int] = {}
        self._reads: dict[int, bool] = {}  # what was said of these doors last
        self._consumers: dict[int, Consumer] = {}
        far.send = self._heard_of

    def lane(self, address: bytes, log_ids: list[bytes]) -> Lane:
        """See Owner."""
        number, error = self._asked("lane", address, log_ids)
        if error is not None:
            raise error
        return FramedLane(self, number)

    def stage(self, lane: Lane, call: Publish) -> bool:
        """See Owner."""
        assert isinstance(lane, FramedLane)
        return self._staged(call, "stage", lane.number)

    def stage_runs(self, address: bytes, runs: list[Run], call: Publish) -> bool:
        """See Owner."""
        return self._staged(call, "stage_runs", address, [(ids, hidden, data, count, list(indices)) for ids, hidden, data, count, indices in runs])

    def is_full(self) -> bool:
        """See Owner."""
        full, _ = self._asked("is_full")
        return bool(full)

    def is_over(self, log_id: bytes, count: int, body_bytes: int) -> bool:
        """See Owner."""
        over, error = self._asked("is_over", log_id, count, body_bytes)
        if error is not None:
            raise error
        return bool(over)

    # ---- consuming

    def consume(self, consumer: Consumer, log_id: bytes, start: Any, partition: Any, done: Callable[[NotDone | None], None]) -> None:
        """See Owner."""
        self._consumers[consumer.id] = consumer
        number = self._wait(done)
        self._send("consume", number, self._words_of(consumer), log_id, start, partition)

    def settle(self, consumer: Consumer, first: int, count: int, disposition: int) -> None:
        """See Owner."""
        self._send("settle", consumer.id, first, count, disposition)
        consumer.freed(min(count, consumer.leased))

    def credit(self, consumer: Consumer) -> None:
        """See Owner."""
        self._send("credit", consumer.id, consumer.pool.limit)

    def cancel(self, consumer: Consumer) -> None:
        """See Owner."""
        consumer.active = False
        self._send("cancel", consumer.id)

    def end(self, consumer: Consumer) -> None:
        """See Owner."""
        consumer.active = False
        self._send("end", consumer.id)
        consumer.freed(consumer.leased)

    def get(self, log_id: bytes, getter: Consumer, call: Ask) -> None:
        """See Owner."""
        self._consumers[getter.id] = getter
        self._send("get", self._wait(call), self._words_of(getter), log_id)

    def purge(self, log_id: bytes, call: Ask) -> None:
        """See Owner."""
        self._send("purge", self._wait(call), log_id)

    def count(self, log_id: bytes, done: Callable[[NotDone | None, int, int], None]) -> None:
        """See Owner."""
        self._send("count", self._wait(done), log_id)

    def _words_of(self, consumer: Consumer) -> tuple[Any, ...]:
        door = self._doors.setdefault(consumer.attachment, len(self._doors))
        self._reads.setdefault(door, consumer.attachment.writable)
        what = (consumer.auto_settle, consumer.exclusive, consumer.priority, consumer.token is not None)
        return (door, consumer.codec, consumer.attachment.writable, consumer.id, consumer.stream, consumer.pool.limit, consumer.limit, *what)

    def _wait(self, who: Any) -> int:
        number = self.frame_count
        self._waiting[number] = who
        return number

    # ---- what comes back

    def _heard_of(self, what: str, *arguments: Any) -> None:
        getattr(self, f"_{what}")(*arguments)

    def _asked_for(self, number: int, outcome: int, said: tuple[str, str, str] | None, result: Any) -> None:
        """Of a get or purge."""
        call = self._waiting.pop(number)
        if said is not None:
            error = _heard(said)
            assert error is not None
            fail(call, error)
            return
        if isinstance(result, tuple):
            consumer_id, fields, left = result
            consumer = self._consumers[consumer_id]
            result = (self._delivery(consumer, fields), left)
        call.result = result
        call.outcome = outcome
        call.attachment.sink.completed(call)

    def _done(self, number: int, said: tuple[str, str, str] | None, *result: Any) -> None:
        """Of a consume or count."""
        self._waiting.pop(number)(_heard(said), *result)

    def _delivered(self, consumer_id: int, fields: tuple[Any, ...]) -> None:
        consumer = self._consumers[consumer_id]
        if consumer.attachment.closed or not consumer.active:
            return  # it went back to its place, or will be settled by nobody
        consumer.attachment.sink.deliver(self._delivery(consumer, fields))
        self._tell_windows()

    def _delivery(self, consumer: Consumer, fields: tuple[Any, ...]) -> Delivery:
        delivery = Delivery.__new__(Delivery)
        delivery.consumer_id = consumer.id
        delivery.token = consumer.token
        for name, value in zip(DELIVERY, fields, strict=True):
            setattr(delivery, name, value)
        if not consumer.auto_settle:
            consumer.gave(delivery.count)
        return delivery

    def _gone(self, consumer_id: int) -> None:
        consumer = self._consumers.pop(consumer_id)
        door: Any = consumer.attachment
        door.gone(consumer)

    # ---- publishing

    def _staged(self, call: Publish, what: str, *where: Any) -> bool:
        """Send it; it is answered later, if anybody waits, or if it is refused."""
        number = self._wait(call)
        fields = (call.stream, call.address, call.codec, call.codec_version, call.flags, call.data, call.count, call.body_bytes)
        self._send(what, number, fields, *where)
        if call.confirm:
            return False
        call.outcome = DONE
        return True

    def _asked(self, what: str, *arguments: Any) -> tuple[Any, NotDone | None]:
        result, said = self._send(what, *arguments)
        return result, _heard(said)

    def _tell_windows(self) -> None:
        """Which connections have stopped reading since they were told of last, or read again."""
        for door, number in self._doors.items():
            if self._reads[number] != door.writable:
                self._reads[number] = door.writable
                self.far.window(*carried(number, door.writable))

    def _send(self, what: str, *arguments: Any) -> Any:
        self.frame_count += 1
        self._tell_windows()
        what, arguments = carried(what, arguments)
        return carried(getattr(self.far, what)(*arguments))[0]

    def _answered(self, number: int, outcome: int, said: tuple[str, str, str] | None, nacked: list[int] | None) -> None:
        call = self._waiting.pop(number)
        error = _heard(said)
        if error is not None:
            fail(call, error)
        elif call.confirm:
            call.nacked = nacked
            call.outcome = outcome
            call.attachment.sink.completed(call)


class FarDoor(Attachment):
    """What the owner keeps for a connection of the front's."""

    def __init__(self, side: FarSide, codec: int) -> None:
        self.sink = side
        self.codec = codec
        self.closed = False
        self.writable = True
        self.consumers: dict[int, Consumer] = {}
        self.pools: dict[int, Pool] = {}

    def credit_returned(self, consumer: Consumer) -> None:
        """As a front's door: with a shared limit every consumer of the stream may go on."""
        if not consumer.active and consumer.leased == 0:
            self.consumers.pop(consumer.id, None)
        if consumer.pool.limit:
            for other in consumer.pool.consumers:
                if other.reads is not consumer.reads:
                    other.owner.credit(other)

    def gone(self, consumer: Consumer) -> None:
        """The consumer's queue was deleted."""
        self.forget(consumer)
        consumer.active = False
        consumer.freed(consumer.leased)
        side: Any = self.sink
        side.tell("gone", consumer.id)

    def forget(self, consumer: Consumer) -> None:
        """It is not known any more."""
        self.consumers.pop(consumer.id, None)
        if consumer in consumer.pool.consumers:
            consumer.pool.consumers.remove(consumer)


class FarSide(Sink):
    """The owner's side: carries out what arrives at a real owner, with calls, doors and consumers of its own.

    `send` takes over what comes back, at a later turn.
    """

    def __init__(self, owner: Owner, scheduler: Scheduler) -> None:
        self._owner = owner
        self._scheduler = scheduler
        self._attachment = Attachment()
        self._attachment.sink = self
        self._attachment.closed = False
        self._registered: list[tuple[bytes, list[bytes]]] = []
        self._lanes: dict[int, Lane] = {}  # those at hand
        self._numbers: dict[Call, int] = {}
        self.doors: dict[int, FarDoor] = {}
        self.send: Callable[..., None] = lambda *_: None

    def lane(self, address: bytes, log_ids: list[bytes]) -> Any:
        """Registers it by the next number."""
        number = len(self._registered)
        try:
            self._lanes[number] = self._owner.lane(address, log_ids)
        except NotDone as error:
            return 0, _said(error)
        self._registered.append((address, log_ids))
        return number, None

    def let_go(self) -> None:
        """A shard moves: lanes are made again when they are used."""
        self._lanes.clear()

    def stage(self, number: int, fields: Any, lane: int) -> None:
        """See Owner."""

        def stage(call: Publish) -> bool:
            known = self._lanes.get(lane)
            if known is None:
                known = self._lanes[lane] = self._owner.lane(*self._registered[lane])
            return self._owner.stage(known, call)

        self._carry_out(number, fields, stage)

    def stage_runs(self, number: int, fields: Any, address: bytes, runs: list[Run]) -> None:
        """See Owner."""
        self._carry_out(number, fields, partial(self._owner.stage_runs, address, runs))

    def is_full(self) -> Any:
        """See Owner."""
        return self._owner.is_full(), None

    def is_over(self, log_id: bytes, count: int, body_bytes: int) -> Any:
        """See Owner."""
        try:
            return self._owner.is_over(log_id, count, body_bytes), None
        except NotDone as error:
            return False, _said(error)

    def completed(self, call: Call) -> None:
        """The owner has answered one."""
        number = self._numbers.pop(call)
        if isinstance(call, Publish):
            self.tell("answered", number, call.outcome, _said(call.error), call.nacked)
            return
        result = call.result
        if isinstance(result, tuple):
            delivery, left = result
            result = (delivery.consumer_id, self._fields(delivery), left)
        self.tell("asked_for", number, call.outcome, _said(call.error), result)

    def tell(self, what: str, *arguments: Any) -> None:
        """The front, later."""
        self._scheduler.call_soon(self.send, what, *carried(*arguments))

    # ---- consuming

    def deliver(self, delivery: Delivery) -> int:
        """See Sink."""
        self.tell("delivered", delivery.consumer_id, self._fields(delivery))
        return -1

    @staticmethod
    def _fields(delivery: Delivery) -> tuple[Any, ...]:
        return tuple(getattr(delivery, name) for name in DELIVERY)

    def consume(self, number: int, words: Any, log_id: bytes, start: Any, partition: Any) -> None:
        """See Owner."""
        consumer = self._consumer(words)

        def done(error: NotDone | None) -> None:
            if error is not None:
                self._door_of(consumer).forget(consumer)
            self.tell("done", number, _said(error))

        consumer.pool.consumers.append(consumer)
        self._owner.consume(consumer, log_id, start, partition, done)

    def settle(self, consumer_id: int, first: int, count: int, disposition: int) -> None:
        """See Owner."""
        consumer = self._known(consumer_id)
        if consumer is not None:
            self._owner.settle(consumer, first, count, disposition)
            self._door_of(consumer).credit_returned(consumer)

    def credit(self, consumer_id: int, limit: int) -> None:
        """See Owner."""
        consumer = self._known(consumer_id)
        if consumer is not None:
            consumer.pool.limit = limit
            self._owner.credit(consumer)

    def window(self, door: int, writable: bool) -> None:
        """Whether the connection reads for now."""
        self.doors[door].writable = writable

    def cancel(self, consumer_id: int) -> None:
        """See Owner."""
        consumer = self._known(consumer_id)
        if consumer is not None:
            if consumer in consumer.pool.consumers:
                consumer.pool.consumers.remove(consumer)
            self._owner.cancel(consumer)
            if consumer.leased == 0:
                self._door_of(consumer).forget(consumer)

    def end(self, consumer_id: int) -> None:
        """See Owner."""
        consumer = self._known(consumer_id)
        if consumer is not None:
            self._door_of(consumer).forget(consumer)
            self._owner.end(consumer)

    def get(self, number: int, words: Any, log_id: bytes) -> None:
        """See Owner."""
        getter = self._known(words[3]) or self._consumer(words)
        self._owner.get(log_id, getter, self._ask(number, getter.attachment))

    def purge(self, number: int, log_id: bytes) -> None:
        """See Owner."""
        self._owner.purge(log_id, self._ask(number, self._attachment))

    def count(self, number: int, log_id: bytes) -> None:
        """See Owner."""
        self._owner.count(log_id, lambda error, ready, consumers: self.tell("done", number, _said(error), ready, consumers))

    def _ask(self, number: int, attachment: Attachment) -> Ask:
        call = make_ask(0, None)
        call.attachment = attachment
        self._numbers[call] = number
        return call

    def _consumer(self, words: Any) -> Consumer:
        number, codec, writable, consumer_id, stream, pool_limit, limit, auto_settle, exclusive, priority, is_sent = words
        door = self.doors.get(number)
        if door is None:
            door = self.doors[number] = FarDoor(self, codec)
        door.writable = writable
        pool = door.pools.setdefault(stream, Pool(stream)) if is_sent else Pool(stream)
        pool.limit = pool_limit
        token = consumer_id if is_sent else None
        consumer = make_consumer(consumer_id, door, token, None, pool, limit, auto_settle, exclusive, priority)
        consumer.owner = self._owner
        door.consumers[consumer_id] = consumer
        return consumer

    def _known(self, consumer_id: int) -> Consumer | None:
        return next((door.consumers[consumer_id] for door in self.doors.values() if consumer_id in door.consumers), None)

    @staticmethod
    def _door_of(consumer: Consumer) -> FarDoor:
        assert isinstance(consumer.attachment, FarDoor)
        return consumer.attachment

    def _carry_out(self, number: int, fields: Any, stage: Callable[[Publish], bool]) -> None:
        call = make_publish(*fields)
        call.attachment = self._attachment
        call.confirm = True
        self._numbers[call] = number
        try:
            if stage(call):
                self.completed(call)
        except NotDone as error:
            call.outcome = REFUSED if isinstance(error, Refused) else UNAVAILABLE
            call.error = error
            self.completed(call)


class FramedOwnerTable(OwnerTable):
    """What a front has that reaches every owner over a link."""

    def __init__(self, hub: Hub, store: Store, volatile: Store) -> None:
        super().__init__(hub, store, volatile)
        self.framed = {owner: FramedOwner(FarSide(owner, hub.scheduler)) for owner in self.local()}

    def let_go(self) -> None:
        """See OwnerTable."""
        super().let_go()
        for framed in self.framed.values():
            framed.far.let_go()

    def kept_doors(self) -> Iterable[Any]:
        """See OwnerTable."""
        return [door for framed in self.framed.values() for door in framed.far.doors.values()]

    def reached(self, owner: LocalOwner) -> Owner:
        """See OwnerTable."""
        return self.framed[owner]
