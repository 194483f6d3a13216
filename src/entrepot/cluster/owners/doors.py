"""RemoteDoor: a connection of this process as an owner elsewhere knows it. Readers: who reads there, through which door; what comes for them.

An owner delivers to a door until DOOR_WINDOW_BYTES of it are not read: a connection that does not read holds up nobody else's. What comes meanwhile waits
here, in its order; what waits, or is on its way, for who has cancelled is given back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias

from entrepot.broker.calls.port import ACCEPT, UNSENT, Attachment, Delivery
from entrepot.broker.subscription.consumer import Consumer
from entrepot.cluster.owners.settlements import FOR_GOOD, Ranges
from entrepot.cluster.owners.words import DoorEnd, DoorIs
from entrepot.model.errors import CorruptData
from entrepot.model.ranges import RangeSet

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
        self.held: deque[tuple[Reader, Delivery, int]] = deque()  # and how much of it is to be said to be read
        self.is_busy = False
        self.paused = False


class Reader:
    """A consumer, or getter. `settles`: what it takes is settled by being taken, and by this end: what does not come to it goes back.

    `lent`: how much it was in all; `limits`: how often that was ended. What it says at another start of its owner: the `log_ids` that it reads, and from
    where on it began; `asked`: it is not known yet whether it may; `was_given`: something came; of a queue what it `holds`, of partitions its `positions`.
    """

    __slots__ = ("asked", "consumer", "door", "gets", "holds", "keeps", "lent", "limits", "log_ids", "positions", "settles", "start", "was_given")

    def __init__(self, consumer: Consumer, door: RemoteDoor, log_ids: list[bytes], start: Any, keeps: bool) -> None:
        self.consumer = consumer
        self.door = door
        self.gets: list[int] = []  # calls under way, of a getter
        self.lent = self.limits = 0
        self.settles = consumer.auto_settle and not consumer.source.is_topic
        self.log_ids = log_ids
        self.start = start
        self.asked = self.was_given = False
        self.holds = RangeSet()
        self.keeps = keeps  # there is another start
        self.positions: list[int] | None = [-1] * len(log_ids) if consumer.source.is_topic else None

    def came(self, delivery: Delivery) -> None:
        """It is given something. Raises CorruptData: of a partition that it does not read."""
        self.was_given = True
        if not delivery.from_topic:
            if self.keeps:
                self.holds.add(delivery.offset, delivery.offset + delivery.count)
        elif self.positions is None or delivery.deliveries >= len(self.positions):
            raise CorruptData(f"a delivery of partition {delivery.deliveries} for who reads {len(self.log_ids)}")
        else:
            self.positions[delivery.deliveries] = delivery.offset + delivery.count
            delivery.deliveries = 0

    def settled(self, first: int, count: int, disposition: int) -> Ranges:
        """It holds these no more: what of it ends for good."""
        holds, end = self.holds, first + count
        ended: Ranges = []
        if disposition in FOR_GOOD and holds.count:
            ended = [(first, end)] if holds.count_in(first, end) == count else holds.ranges(first, end, count)
        holds.remove(first, end)
        return ended


class Readers:
    """Of one owner elsewhere. say(words) and settle(...) tell it; taken(door, octets, paused): what it may deliver again, and whether at all.

    left(reader): it has ended. `keeps`: it is known what is held, for another start of the owner.
    """

    def __init__(self, say: Say, settle: Settle, taken: Callable[[int, int, bool], None], left: Callable[[Reader], None], keeps: bool) -> None:
        self._say = say
        self._settle = settle
        self._taken = taken
        self._left = left
        self._keeps = keeps
        self.last = 0  # the greatest number of a reader
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

    def enter(self, consumer: Consumer, log_ids: list[bytes], start: Any = None) -> Reader:
        """It will read these, or get from one."""
        reader = self._readers.get(consumer.id)
        if reader is None:
            door = self.door(consumer.attachment)
            reader = Reader(consumer, door, log_ids, start, self._keeps)
            self.last = max(self.last, consumer.id)
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
            self._left(reader)
        return reader

    def cancel(self, reader: Reader) -> None:
        """It is sent nothing more: what waits for it goes back."""
        for delivery in self._drop_held(reader):
            if not reader.consumer.auto_settle:
                reader.consumer.freed(delivery.count)
            self._settle(reader.consumer.id, delivery.offset, delivery.count, UNSENT)

    def _drop_held(self, reader: Reader) -> list[Delivery]:
        door = reader.door
        dropped = [item for item in door.held if item[0] is reader]
        if dropped:
            door.held = deque(item for item in door.held if item[0] is not reader)
            self._read(door, sum(size for _, _, size in dropped))
        return [delivery for _, delivery, _ in dropped]

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

    # ---- another start of the owner

    def begin(self, left: list[Reader]) -> list[RemoteDoor]:
        """It knows no door yet: it hears of those that are in use, also of those of readers that have `left`, which are only needed for now; these."""
        kept: dict[int, RemoteDoor] = {door.number: door for door in self._by_number.values() if door.readers or door.calls}
        passing = {reader.door.number: reader.door for reader in left if reader.door.number not in kept}
        self._idle.clear()
        self._by_number = kept
        self._doors = {door.attachment: door for door in kept.values()}
        for door in (*kept.values(), *passing.values()):
            self._say(DoorIs(door.number, door.attachment.codec))
            door.unread = 0
            door.held = deque((reader, delivery, 0) for reader, delivery, _ in door.held)
            door.paused = bool(door.held)
            if door.paused:
                self._taken(door.number, 0, True)
        return list(passing.values())

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
        delivery.consumer_id = consumer_id
        delivery.token = consumer.token
        reader.came(delivery)
        if not consumer.auto_settle:
            consumer.gave(delivery.count)
        if door.held or door.paused or door.is_busy or not door.attachment.writable or door.attachment.closed:
            door.held.append((reader, delivery, len(delivery.data)))
            self.flush(door)
        else:
            self._hand_over(reader, delivery, len(delivery.data))

    def _hand_over(self, reader: Reader, delivery: Delivery, size: int) -> None:
        door = reader.door
        attachment = door.attachment
        if attachment.closed:
            return  # all of it goes back
        if reader.settles:
            delivery.settled = True
            self._settle(delivery.consumer_id, delivery.offset, delivery.count, ACCEPT)
        door.is_busy = True
        try:
            attachment.sink.deliver(delivery)
        finally:
            door.is_busy = False
        door.unread += size
        if door.unread >= READ_STEP_BYTES and attachment.writable:
            self._say_read(door)

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
