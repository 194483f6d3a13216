"""ServedDoor: what an owner keeps for a connection that another process serves: who reads through it, and how much of what went there is not read."""

from __future__ import annotations

from typing import Any

from entrepot.broker.calls.lease_calls import Receive
from entrepot.broker.calls.port import Attachment, Call, Delivery, Sink
from entrepot.broker.subscription.consumer import Consumer, Pool, make_consumer
from entrepot.cluster.owners.doors import DOOR_WINDOW_BYTES
from entrepot.cluster.owners.words import WordsOfConsumer
from entrepot.model.errors import CorruptData


class ServedDoor(Attachment):
    """`consumers`: by the number that their front gave them; here each has another, for fronts of several processes number for themselves."""

    def __init__(self, served: Any, number: int, codec: int) -> None:
        self.served = served
        self.number = number
        self.sink = ServedSink(served, self)
        self.codec = codec
        self.closed = False
        self.writable = True
        self.spent = 0
        self.consumers: dict[int, Consumer] = {}
        self.numbers: dict[Consumer, int] = {}
        self.pools: dict[int, Pool] = {}
        self.places: dict[int, dict[bytes, int]] = {}  # of consumers of partitions: which of those each log is
        self.unread = 0

    # ---- who reads

    def enter(self, words: WordsOfConsumer, number: int, owner: Any) -> Consumer:
        """One more, by a number of this process."""
        if words.is_alone:
            pool = Pool(words.stream)
        else:
            pool = self.pools.setdefault(words.stream, Pool(words.stream))
            pool.limit = words.pool_limit
        token = None if words.is_getter else words.number
        consumer = make_consumer(number, self, token, None, pool, words.limit, words.auto_settle, words.exclusive, words.priority)
        consumer.owner = owner
        consumer.lent = words.lent
        consumer.counts = words.counts
        self.consumers[words.number] = consumer
        self.numbers[consumer] = words.number
        return consumer

    def forget(self, consumer: Consumer) -> None:
        """It is not known any more."""
        number = self.numbers.pop(consumer, None)
        if number is not None:
            del self.consumers[number]
            self.places.pop(number, None)
            self.served.forget(number)

    def credit_returned(self, consumer: Consumer) -> None:
        """As a front's door: with a shared limit every consumer of the stream may go on; a cancelled one that holds nothing is forgotten."""
        if not consumer.active and consumer.leased == 0:
            self.forget(consumer)
        for other in self.consumers.values() if consumer.pool.limit else ():
            if other.pool is consumer.pool and other.reads is not consumer.reads:
                other.owner.credit(other)

    # ---- how much is read

    def sent(self, size: int) -> None:
        """So much more is on its way."""
        self.unread += size
        if self.unread >= DOOR_WINDOW_BYTES:
            self.writable = False

    def read(self, size: int, paused: bool) -> None:
        """So much of it is read: who waited for that goes on, unless it reads no more for now. Raises CorruptData: it was never sent."""
        if size > self.unread:
            raise CorruptData(f"{size} bytes were read of {self.unread} that were sent")
        self.unread -= size
        if paused or self.closed or self.unread >= DOOR_WINDOW_BYTES:
            self.writable = False
        elif not self.writable:
            self.writable = True
            for consumer in self.consumers.values():
                if consumer.active and consumer.reads is not None:
                    consumer.owner.credit(consumer)

    # ---- what an owner says of a consumer, as to a front's door

    def wants(self, consumer: Consumer) -> None:
        """There is something for it, and it has no credit."""
        self.served.wants(self.numbers[consumer])

    def gone(self, consumer: Consumer) -> None:
        """Its queue was deleted."""
        number = self.numbers.get(consumer)
        self.forget(consumer)
        consumer.active = False
        consumer.freed(consumer.leased)
        if number is not None:
            self.served.gone(number)

    def timed_out(self, call: Receive) -> None:
        """A Receive has waited long enough."""
        call.timed.wait_over(call)


class ServedSink(Sink):
    """Where what is for one door goes."""

    __slots__ = ("_door", "_served")

    def __init__(self, served: Any, door: ServedDoor | None) -> None:
        self._served = served
        self._door = door

    def completed(self, call: Call) -> None:
        """See Sink."""
        self._served.completed(call)

    def deliver(self, delivery: Delivery) -> int:
        """See Sink."""
        position: int = self._served.deliver(self._door, delivery)
        return position
