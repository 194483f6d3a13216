"""FramedOwner: an owner as it looks from another process: what goes to it, and what it answers, goes through octets, and nothing else does.

Requests arrive in the order in which they are sent; answers and deliveries come at a later turn of the loop. What a front cannot do without an answer it
asks at once (lane, timed, holds): between processes it would have to wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from entrepot.broker.calls.lease_calls import EndLeases, Receive, Received, Send, make_end_leases
from entrepot.broker.calls.port import DONE, Ask, Attachment, Delivery, Publish, fail
from entrepot.broker.calls.questions import Load
from entrepot.broker.front.owner_table import OwnerTable
from entrepot.broker.logs.hub import Hub
from entrepot.broker.owner.local_owner import LocalOwner
from entrepot.broker.owners import Done, Lane, Owner, Run, Settlement, Stage
from entrepot.broker.subscription.consumer import Consumer
from entrepot.model.errors import NotDone
from entrepot.simulation.far_side import FarSide
from entrepot.simulation.frames import DELIVERY, END_LEASES, OF_RECORDS, PUBLISH, RECEIVE, RECEIVED, SEND, Said, carried, fill, heard, words
from entrepot.store.interface import Store


class FramedLane(Lane):
    """The number of one over there."""

    def __init__(self, owner: Owner, number: int) -> None:
        self.owner = owner
        self.number = number


class Waiting:
    """Where a Receive waits, for who withdraws it: what it is given then goes back."""

    def __init__(self, owner: FramedOwner, number: int, lane: Lane) -> None:
        self._owner = owner
        self._number = number
        self.lane = lane
        self.withdrawn = False

    def withdraw(self, _: Receive) -> None:
        """See Owner.receive()."""
        self.withdrawn = True
        self._owner.withdraw(self._number)


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

    # ---- consuming

    def consume(self, consumer: Consumer, log_ids: list[bytes], start: Any, done: Callable[[NotDone | None], None]) -> None:
        """See Owner."""
        self._consumers[consumer.id] = consumer
        number = self._wait(done)
        self._send("consume", number, self._words_of(consumer), log_ids, start)

    def settle(self, consumer: Consumer, first: int, count: int, disposition: int) -> None:
        """See Owner."""
        self._send("settle", consumer.id, first, count, disposition)
        consumer.freed(min(count, consumer.leased))

    def credit(self, consumer: Consumer) -> None:
        """See Owner."""
        self._send("credit", consumer.id)

    def lend(self, consumer: Consumer, count: int) -> None:
        """See Owner."""
        consumer.borrowed(count)
        self._send("lend", consumer.id, count)

    def take_back(self, consumer: Consumer, done: Callable[[int], None]) -> None:
        """See Owner."""

        def answered(_: NotDone | None, count: int) -> None:
            consumer.lent = True
            consumer.returned(min(count, consumer.credit))
            done(count)

        self._send("take_back", self._wait(answered), consumer.id)

    def limit(self, consumer: Consumer, together: int) -> None:
        """See Owner."""
        consumer.returned(consumer.credit)
        consumer.lent = False
        consumer.pool.limit = together
        self._send("limit", consumer.id, together)

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

    def count(self, log_ids: list[bytes], done: Callable[[NotDone | None, int, int], None]) -> None:
        """See Owner."""
        self._send("count", self._wait(done), log_ids)

    def together(self, stages: list[Stage], settlements: list[Settlement], loads: list[Load], done: Done) -> None:
        """See Owner."""

        def answered(error: NotDone | None, answer: Any) -> None:
            for consumer, _, count, _ in settlements if error is None else ():
                door: Any = consumer.attachment
                consumer.freed(min(count, consumer.leased))
                door.credit_returned(consumer)
            done(error, answer)

        sent = []
        for lane, address, runs, call in stages:
            plain = [(ids, hidden, data, count, list(indices)) for ids, hidden, data, count, indices in runs]
            sent.append((None if lane is None else self._number(lane), address, plain, words(call, PUBLISH)))
        ends = [(consumer.id, first, count, disposition) for consumer, first, count, disposition in settlements]
        self._send("together", self._wait(answered), sent, ends, loads)

    def ask(self, question: Any, done: Done) -> None:
        """See Owner."""
        self._send("ask", self._wait(done), type(question).__name__, tuple(question))

    def _words_of(self, consumer: Consumer) -> tuple[Any, ...]:
        door = self._door(consumer.attachment)
        what = (consumer.auto_settle, consumer.exclusive, consumer.priority, consumer.token is not None, consumer.lent, consumer.counts)
        return (door, consumer.id, consumer.stream, consumer.pool.limit, consumer.limit, *what)

    def _door(self, attachment: Attachment) -> int:
        number = self._doors.setdefault(attachment, len(self._doors))
        if number not in self._reads:
            self._reads[number] = attachment.writable
            self._send("door", number, attachment.codec, attachment.writable)
        return number

    def _wait(self, who: Any) -> int:
        number = self.frame_count
        self._waiting[number] = who
        return number

    # ---- leases that are timed

    def timed(self, log_id: bytes) -> Lane:
        """See Owner."""
        number, error = self._asked("timed", log_id)
        if error is not None:
            raise error
        return FramedLane(self, number)

    def holds(self, lane: Lane) -> bool:
        """See Owner."""
        return bool(self._asked("holds", self._number(lane))[0])

    def send(self, lane: Lane, call: Send) -> bool:
        """See Owner."""
        self._send("timed_send", self._wait(call), self._number(lane), words(call, SEND), words(call, (*OF_RECORDS, "policy_version")))
        return False

    def receive(self, lane: Lane, call: Receive) -> None:
        """See Owner."""
        number = self._wait(call)
        call.timed = Waiting(self, number, lane)
        door = self._door(call.attachment)
        self._send("timed_receive", number, self._number(lane), door, words(call, RECEIVE), words(call, ("attempt_id", "policy_version")))

    def end_leases(self, lane: Lane, call: EndLeases) -> None:
        """See Owner."""
        self._send("timed_end", self._wait(call), self._number(lane), words(call, END_LEASES), call.policy_version)

    def withdraw_all(self, lane: Lane, attachment: Attachment) -> None:
        """See Owner."""
        self._send("withdraw_all", self._number(lane), self._door(attachment), attachment.closed)

    def withdraw(self, number: int) -> None:
        """Of one Receive, unless its answer is on the way."""
        self._send("withdraw", number)

    @staticmethod
    def _number(lane: Lane) -> int:
        assert isinstance(lane, FramedLane)
        return lane.number

    # ---- what comes back

    def _ended(self, number: int, outcome: int, why: Said | None, names: tuple[str, ...], values: tuple[Any, ...]) -> None:
        """Of a timed call."""
        call = self._waiting.pop(number, None)
        if call is None:
            return  # what was given back
        error = heard(why)
        waiting: Any = None
        if isinstance(call, Receive):
            waiting, call.timed = call.timed, None
        if error is not None:
            fail(call, error)
            return
        fill(call, names, values)
        if isinstance(call, Send) and call.errors is not None:
            call.errors = [heard(one) for one in values[-1]]  # type: ignore[misc]
        if isinstance(call, Receive):
            call.received = [_received(one) for one in values[0]]
            if call.received and (waiting.withdrawn or call.attachment.closed):
                self._give_back(waiting.lane, call)
        call.outcome = outcome
        if not call.attachment.closed:
            call.attachment.sink.completed(call)

    def _heard_of(self, what: str, *arguments: Any) -> None:
        getattr(self, f"_{what}")(*arguments)

    def _give_back(self, lane: Lane, call: Receive) -> None:
        """Nobody waits for it any more."""
        offsets = [item.offset for item in call.received]
        end = make_end_leases(call.stream, call.queue, call.queue_id, offsets, [call.lease_id] * len(offsets), [0] * len(offsets))
        self._send("timed_end", self.frame_count, self._number(lane), words(end, END_LEASES), call.policy_version)
        call.received = []

    def _asked_for(self, number: int, outcome: int, why: Said | None, result: Any) -> None:
        """Of a get or purge."""
        call = self._waiting.pop(number)
        error = heard(why)
        if error is not None:
            fail(call, error)
            return
        if isinstance(result, tuple):
            consumer_id, fields, left = result
            consumer = self._consumers[consumer_id]
            result = (self._delivery(consumer, fields), left)
        call.result = result
        call.outcome = outcome
        call.attachment.sink.completed(call)

    def _done(self, number: int, why: Said | None, *result: Any) -> None:
        """Of a consume, count, transaction or question, or of what is taken back."""
        self._waiting.pop(number)(heard(why), *result)

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
        fill(delivery, DELIVERY, fields)
        if not consumer.auto_settle:
            consumer.gave(delivery.count)
        return delivery

    def _wants(self, consumer_id: int) -> None:
        consumer = self._consumers.get(consumer_id)
        if consumer is not None:
            door: Any = consumer.attachment
            door.wants(consumer)

    def _gone(self, consumer_id: int) -> None:
        consumer = self._consumers.pop(consumer_id)
        door: Any = consumer.attachment
        door.gone(consumer)

    # ---- publishing

    def _staged(self, call: Publish, what: str, *where: Any) -> bool:
        """Send it; it is answered later, if anybody waits, or if it is refused."""
        number = self._wait(call)
        self._send(what, number, words(call, PUBLISH), *where)
        if call.confirm:
            return False
        call.outcome = DONE
        return True

    def _asked(self, what: str, *arguments: Any) -> tuple[Any, NotDone | None]:
        result, why = self._send(what, *arguments)
        return result, heard(why)

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

    def _answered(self, number: int, outcome: int, why: Said | None, nacked: list[int] | None) -> None:
        call = self._waiting.pop(number)
        error = heard(why)
        if error is not None:
            fail(call, error)
        elif call.confirm:
            call.nacked = nacked
            call.outcome = outcome
            call.attachment.sink.completed(call)


def _received(values: tuple[Any, ...]) -> Received:
    item = Received.__new__(Received)
    fill(item, RECEIVED, values)
    return item


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
