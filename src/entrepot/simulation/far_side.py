"""FarSide: what stands before a real owner for a front that reaches it by octets (framed_owner.py)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from entrepot.broker.calls.lease_calls import EndLeases, Receive, Send, make_end_leases, make_receive, make_send
from entrepot.broker.calls.port import REFUSED, UNAVAILABLE, Ask, Attachment, Call, Delivery, Publish, Sink, fail, make_ask, make_publish
from entrepot.broker.calls.questions import QUESTIONS, Load
from entrepot.broker.owners import Lane, Owner, Run
from entrepot.broker.subscription.consumer import Consumer, Pool, make_consumer
from entrepot.model.errors import NotDone, Refused, Unavailable
from entrepot.simulation.frames import DELIVERY, OF_RECORDS, RECEIVED, carried, fill, said, words
from entrepot.store.interface import Scheduler


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
        for other in self.consumers.values() if consumer.pool.limit else ():
            if other.pool is consumer.pool and other.reads is not consumer.reads:
                other.owner.credit(other)

    def wants(self, consumer: Consumer) -> None:
        """The owner has something for it, and no credit."""
        side: Any = self.sink
        side.tell("wants", consumer.id)

    def gone(self, consumer: Consumer) -> None:
        """The consumer's queue was deleted."""
        self.forget(consumer)
        consumer.active = False
        consumer.freed(consumer.leased)
        side: Any = self.sink
        side.tell("gone", consumer.id)

    def timed_out(self, call: Receive) -> None:
        """A Receive has waited long enough."""
        call.timed.wait_over(call)

    def forget(self, consumer: Consumer) -> None:
        """It is not known any more."""
        self.consumers.pop(consumer.id, None)


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
            return 0, said(error)
        self._registered.append((address, log_ids))
        return number, None

    def let_go(self) -> None:
        """A shard moves: lanes are made again when they are used."""
        self._lanes.clear()

    def stage(self, number: int, fields: Any, lane: int) -> None:
        """See Owner."""

        def stage(call: Publish) -> bool:
            return self._owner.stage(self._lane(lane), call)

        self._carry_out(number, fields, stage)

    def _lane(self, number: int) -> Lane:
        """One to stage on. Unavailable: something of it is not open there."""
        known = self._lanes.get(number)
        if known is None:
            known = self._lanes[number] = self._owner.lane(*self._registered[number])
        return known

    def stage_runs(self, number: int, fields: Any, address: bytes, runs: list[Run]) -> None:
        """See Owner."""
        self._carry_out(number, fields, partial(self._owner.stage_runs, address, runs))

    def completed(self, call: Call) -> None:
        """The owner has answered one."""
        number = self._numbers.pop(call)
        if isinstance(call, Publish):
            self.tell("answered", number, call.outcome, said(call.error), call.nacked)
            return
        if isinstance(call, Send):
            errors = None if call.errors is None else [said(one) for one in call.errors]
            self.tell("ended", number, call.outcome, said(call.error), ("offsets", "stored_ids", "errors"), (call.offsets, call.stored_ids, errors))
            return
        if isinstance(call, Receive):
            received = [words(item, RECEIVED) for item in call.received]
            self.tell("ended", number, call.outcome, said(call.error), ("received", "lease_id", "queue_id"), (received, call.lease_id, call.queue_id))
            return
        if isinstance(call, EndLeases):
            self.tell("ended", number, call.outcome, said(call.error), ("statuses",), (call.statuses,))
            return
        result = call.result
        if isinstance(result, tuple):
            delivery, left = result
            result = (delivery.consumer_id, words(delivery, DELIVERY), left)
        self.tell("asked_for", number, call.outcome, said(call.error), result)

    def tell(self, what: str, *arguments: Any) -> None:
        """The front, later."""
        self._scheduler.call_soon(self.send, what, *carried(*arguments))

    # ---- consuming

    def deliver(self, delivery: Delivery) -> int:
        """See Sink."""
        self.tell("delivered", delivery.consumer_id, words(delivery, DELIVERY))
        return -1

    def consume(self, number: int, terms: Any, log_ids: list[bytes], start: Any) -> None:
        """See Owner."""
        consumer = self._consumer(terms)

        def done(error: NotDone | None) -> None:
            if error is not None:
                self._door_of(consumer).forget(consumer)
            self.tell("done", number, said(error))

        self._owner.consume(consumer, log_ids, start, done)

    def settle(self, consumer_id: int, first: int, count: int, disposition: int) -> None:
        """See Owner."""
        consumer = self._known(consumer_id)
        if consumer is not None:
            self._owner.settle(consumer, first, count, disposition)
            self._door_of(consumer).credit_returned(consumer)

    def credit(self, consumer_id: int) -> None:
        """See Owner."""
        consumer = self._known(consumer_id)
        if consumer is not None:
            self._owner.credit(consumer)

    def lend(self, consumer_id: int, count: int) -> None:
        """See Owner."""
        consumer = self._known(consumer_id)
        if consumer is not None:
            self._owner.lend(consumer, count)

    def take_back(self, number: int, consumer_id: int) -> None:
        """See Owner."""
        consumer = self._known(consumer_id)
        if consumer is None:
            self.tell("done", number, None, 0)
        else:
            self._owner.take_back(consumer, lambda count: self.tell("done", number, None, count))

    def limit(self, consumer_id: int, together: int) -> None:
        """See Owner."""
        consumer = self._known(consumer_id)
        if consumer is not None:
            self._owner.limit(consumer, together)

    def door(self, number: int, codec: int, writable: bool) -> Any:
        """A connection of which nothing was heard before."""
        door = self.doors[number] = FarDoor(self, codec)
        door.writable = writable

    def window(self, door: int, writable: bool) -> None:
        """Whether the connection reads for now."""
        self.doors[door].writable = writable

    def cancel(self, consumer_id: int) -> None:
        """See Owner."""
        consumer = self._known(consumer_id)
        if consumer is not None:
            self._owner.cancel(consumer)
            if consumer.leased == 0:
                self._door_of(consumer).forget(consumer)

    def end(self, consumer_id: int) -> None:
        """See Owner."""
        consumer = self._known(consumer_id)
        if consumer is not None:
            self._door_of(consumer).forget(consumer)
            self._owner.end(consumer)

    def get(self, number: int, terms: Any, log_id: bytes) -> None:
        """See Owner."""
        getter = self._known(terms[1]) or self._consumer(terms)
        self._owner.get(log_id, getter, self._ask(number, getter.attachment))

    def purge(self, number: int, log_id: bytes) -> None:
        """See Owner."""
        self._owner.purge(log_id, self._ask(number, self._attachment))

    def count(self, number: int, log_ids: list[bytes]) -> None:
        """See Owner."""
        self._owner.count(log_ids, lambda error, ready, consumers: self.tell("done", number, said(error), ready, consumers))

    def together(self, number: int, stages: Any, settlements: Any, loads: list[Load]) -> None:
        """See Owner."""
        done = partial(self._done_together, number)
        known = [(self._known(consumer_id), first, count, disposition) for consumer_id, first, count, disposition in settlements]
        ends = [(consumer, *rest) for consumer, *rest in known if consumer is not None]
        try:
            parts = [(None if lane is None else self._lane(lane), address, runs, self._unheard(fields)) for lane, address, runs, fields in stages]
        except NotDone as error:
            done(error, None)
            return
        self._owner.together(parts, ends, loads, done)
        for consumer, *_ in ends:
            self._door_of(consumer).credit_returned(consumer)

    def _done_together(self, number: int, error: NotDone | None, answer: Any) -> None:
        self.tell("done", number, said(error), answer)

    def _unheard(self, fields: Any) -> Publish:
        call = make_publish(*fields)
        call.attachment = self._attachment
        return call

    def ask(self, number: int, what: str, fields: Any) -> None:
        """See Owner."""
        self._owner.ask(QUESTIONS[what](*fields), lambda error, answer: self.tell("done", number, said(error), answer))

    # ---- leases that are timed

    def timed(self, log_id: bytes) -> Any:
        """See Owner."""
        number = len(self._registered)
        try:
            self._lanes[number] = self._owner.timed(log_id)
        except NotDone as error:
            return 0, said(error)
        self._registered.append((b"", [log_id]))
        return number, None

    def holds(self, number: int) -> Any:
        """See Owner."""
        lane = self._lanes.get(number)
        return lane is not None and self._owner.holds(lane), None

    def timed_send(self, number: int, lane: int, fields: Any, more: Any) -> None:
        """See Owner."""
        call = make_send(*fields)
        fill(call, (*OF_RECORDS, "policy_version"), more)
        self._timed(number, call, self._attachment, lane, self._owner.send)

    def timed_receive(self, number: int, lane: int, door: int, fields: Any, more: Any) -> None:
        """See Owner."""
        call = make_receive(*fields)
        fill(call, ("attempt_id", "policy_version"), more)
        self._timed(number, call, self.doors[door], lane, self._owner.receive)

    def timed_end(self, number: int, lane: int, fields: Any, policy_version: int) -> None:
        """See Owner."""
        call = make_end_leases(*fields)
        call.policy_version = policy_version
        self._timed(number, call, self._attachment, lane, self._owner.end_leases)

    def withdraw(self, number: int) -> None:
        """See port.Withdraw."""
        for call, known in self._numbers.items():
            if known == number and isinstance(call, Receive) and call.timed is not None:
                call.timed.withdraw(call)
                return

    def withdraw_all(self, lane: int, door: int, closed: bool) -> None:
        """See Owner."""
        self.doors[door].closed = closed
        if lane in self._lanes:
            self._owner.withdraw_all(self._lanes[lane], self.doors[door])

    def _timed(self, number: int, call: Any, attachment: Attachment, lane: int, do: Callable[[Lane, Any], bool | None]) -> None:
        call.attachment = attachment
        self._numbers[call] = number
        try:
            known = self._lanes.get(lane)
            if known is None:
                raise Unavailable("the queue is on its way to another owner")
            if do(known, call):
                self.completed(call)
        except NotDone as error:
            fail(call, error)

    def _ask(self, number: int, attachment: Attachment) -> Ask:
        call = make_ask(0, None)
        call.attachment = attachment
        self._numbers[call] = number
        return call

    def _consumer(self, terms: Any) -> Consumer:
        number, consumer_id, stream, pool_limit, limit, auto_settle, exclusive, priority, is_sent, lent, counts = terms
        door = self.doors[number]
        pool = door.pools.setdefault(stream, Pool(stream)) if is_sent else Pool(stream)
        pool.limit = pool_limit
        token = consumer_id if is_sent else None
        consumer = make_consumer(consumer_id, door, token, None, pool, limit, auto_settle, exclusive, priority)
        consumer.owner = self._owner
        consumer.lent = lent
        consumer.counts = counts
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
