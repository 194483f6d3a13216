"""RemoteDoor: a connection of this process as an owner elsewhere knows it. Readers: who reads there, through which door; what comes for them.

An owner delivers to a door until DOOR_WINDOW_BYTES of it are not read: a connection that does not read holds up nobody else's. What comes meanwhile waits
here, in its order; what waits, or is on its way, for who has cancelled is given back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TypeAlias

from entrepot.broker.calls.port import ACCEPT, UNSENT, Attachment, Delivery
from entrepot.broker.subscription.consumer import Consumer
from entrepot.cluster.owners.words import DoorEnd, DoorIs
from entrepot.model.errors import CorruptData

DOOR_WINDOW_BYTES = 1 << 20
READ_STEP_BYTES = DOOR_WINDOW_BYTES // 4  # how much is read before it is said
IDLE_DOORS_MAX = 1024  # through which nobody reads or waits, and that are kept

Say: TypeAlias = Callable[[DoorIs | DoorEnd], None]
Settle: TypeAlias = Callable[[int, int, int, int], None]
"""consumer, first, count, disposition"""


class RemoteDoor:
    """`calls`: Receives that wait there. `unread`: octets that were taken and not said to be. `paused`: it is said not to read."""

    __slots__ = ("attachment", "calls", "held", "is_busy", "number", "paused", "readers", "unread")

    def __init__(self, number: int, attachment: Attachment) -> None:
        self.number = number
        self.attachment = attachment
        self.readers: dict[int, Reader] = {}
        self.calls = 0
        self.unread = 0
        self.held: deque[tuple[Reader, Delivery]] = deque()
        self.is_busy = False
        self.paused = False


class Reader:
    """A consumer, or getter. `settles`: what it takes is settled by being taken, and by this end: what does not come to it goes back.

    `lent`: how much it was in all; `limits`: how often that was ended.
    """

    __slots__ = ("consumer", "door", "gets", "lent", "limits", "settles")

    def __init__(self, consumer: Consumer, door: RemoteDoor) -> None:
        self.consumer = consumer
        self.door = door
        self.gets: list[int] = []  # calls under way, of a getter
        self.lent = self.limits = 0
        self.settles = consumer.auto_settle and not consumer.source.is_topic


class Readers:
    """Of one owner elsewhere. say(words) and settle(...) tell it; taken(door, octets, paused): what it may deliver again, and whether at all."""

    def __init__(self, say: Say, settle: Settle, taken: Callable[[int, int, bool], None]) -> None:
        self._say = say
        self._settle = settle
        self._taken = taken
        self._count = 0
        self._doors: dict[Attachment, RemoteDoor] = {}
        self._by_number: dict[int, RemoteDoor] = {}
        self._idle: dict[RemoteDoor, None] = {}  # the longest so first
        self._readers: dict[int, Reader] = {}

    def door(self, attachment: Attachment) -> RemoteDoor:
        """Of a connection, which the owner knows by then."""
        door = self._doors.get(attachment)
        if door is None:
            self._count += 1
            door = RemoteDoor(self._count, attachment)
            self._doors[attachment] = self._by_number[door.number] = door
            self._say(DoorIs(door.number, attachment.codec))
        self._idle.pop(door, None)
        return door

    def known(self, attachment: Attachment) -> RemoteDoor | None:
        """The same, if there is one."""
        return self._doors.get(attachment)

    # ---- who reads

    def enter(self, consumer: Consumer) -> Reader:
        """It will read, or get."""
        reader = self._readers.get(consumer.id)
        if reader is None:
            door = self.door(consumer.attachment)
            reader = Reader(consumer, door)
            self._readers[consumer.id] = door.readers[consumer.id] = reader
            self.flush(door)
        return reader

    def get(self, number: int) -> Reader | None:
        """Who has that number."""
        return self._readers.get(number)

    def everyone(self) -> list[Reader]:
        """All of them."""
        return list(self._readers.values())

    def leave(self, number: int) -> Reader | None:
        """It is not known any more, and has nothing of what waits."""
        reader = self._readers.pop(number, None)
        if reader is not None:
            del reader.door.readers[number]
            self._drop_held(reader)
            self.rest(reader.door)
        return reader

    def cancel(self, reader: Reader) -> None:
        """It is sent nothing more: what waits for it goes back."""
        for delivery in self._drop_held(reader):
            if not reader.consumer.auto_settle:
                reader.consumer.freed(delivery.count)
            self._settle(reader.consumer.id, delivery.offset, delivery.count, UNSENT)

    def _drop_held(self, reader: Reader) -> list[Delivery]:
        door = reader.door
        dropped = [delivery for one, delivery in door.held if one is reader]
        if dropped:
            door.held = deque(item for item in door.held if item[0] is not reader)
            self._read(door, sum(len(delivery.data) for delivery in dropped))
        return dropped

    def rest(self, door: RemoteDoor) -> None:
        """Perhaps nothing is left of it: then it ends with its connection, or when there are many such."""
        if door.readers or door.calls or self._by_number.get(door.number) is not door:
            return
        if door.attachment.closed:
            self._forget(door)
            return
        self._idle[door] = None
        oldest = next(iter(self._idle))
        if len(self._idle) > IDLE_DOORS_MAX or oldest.attachment.closed:
            self._forget(oldest)

    def _forget(self, door: RemoteDoor) -> None:
        self._idle.pop(door, None)
        del self._doors[door.attachment], self._by_number[door.number]
        self._say(DoorEnd(door.number))

    def forget_all(self) -> None:
        """The owner is no more."""
        for of in (self._doors, self._by_number, self._idle, self._readers):
            of.clear()

    # ---- what comes

    def came(self, number: int, consumer_id: int, delivery: Delivery) -> None:
        """Something for a consumer, through that door. Raises CorruptData: it is more than was lent."""
        reader = self._readers.get(consumer_id)
        if reader is None or not reader.consumer.active:
            self._settle(consumer_id, delivery.offset, delivery.count, UNSENT)
            door = self._by_number.get(number)
            if door is not None:
                self._read(door, len(delivery.data))
            return
        consumer, door = reader.consumer, reader.door
        if consumer.lent and not consumer.auto_settle and delivery.count > consumer.credit:
            raise CorruptData(f"{delivery.count} records for a consumer that is lent {consumer.credit}")
        delivery.consumer_id = consumer.id
        delivery.token = consumer.token
        if not consumer.auto_settle:
            consumer.gave(delivery.count)
        door.held.append((reader, delivery))
        self.flush(door)

    def _hand_over(self, reader: Reader, delivery: Delivery) -> None:
        door = reader.door
        if door.attachment.closed:
            return  # all of it goes back
        if reader.settles:
            delivery.settled = True
            self._settle(delivery.consumer_id, delivery.offset, delivery.count, ACCEPT)
        size = len(delivery.data)
        door.is_busy = True
        try:
            door.attachment.sink.deliver(delivery)
        finally:
            door.is_busy = False
        self._read(door, size)

    def _read(self, door: RemoteDoor, size: int) -> None:
        door.unread += size
        if door.unread >= READ_STEP_BYTES and door.attachment.writable:
            self._say_read(door)

    def _say_read(self, door: RemoteDoor) -> None:
        if self._by_number.get(door.number) is door:
            self._taken(door.number, door.unread, door.paused)
            door.unread = 0

    def flush(self, door: RemoteDoor) -> None:
        """The connection may read again: it is given what waits, and the owner hears what it has taken."""
        if door.is_busy:
            return
        while door.held and door.attachment.writable and not door.attachment.closed:
            self._hand_over(*door.held.popleft())
        if door.paused == bool(door.held):
            if door.unread >= READ_STEP_BYTES and door.attachment.writable:
                self._say_read(door)
        elif not door.attachment.closed:
            door.paused = not door.paused
            self._say_read(door)
