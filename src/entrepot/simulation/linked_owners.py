"""Owners that a front reaches over a link, in one process and one simulated loop: real links, sessions and frames, over connections in memory.

What one end sends arrives at a later turn. Connections of a BreakingOwnerTable break at random, amid any octet, and another one follows: nothing is lost, and
nothing comes twice.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from entrepot.broker.catalogue.shards import SHARD_COUNT_DEFAULT
from entrepot.broker.front.owner_table import OwnerTable
from entrepot.broker.logs.entry_codec import EntryCodec
from entrepot.broker.logs.hub import Hub
from entrepot.broker.owner.local_owner import LocalOwner
from entrepot.broker.owners import Owner
from entrepot.broker.queue.queue import Queue
from entrepot.broker.subscription.consumer import Consumer
from entrepot.cluster.greeting import NONCE_SIZE, START_SIZE
from entrepot.cluster.link import Link
from entrepot.cluster.link_session import Identity, LinkSession
from entrepot.cluster.owners.crossing import Crossing
from entrepot.cluster.owners.remote_owner import RemoteOwner
from entrepot.cluster.owners.served_owner import ServedOwner
from entrepot.model.errors import CorruptData
from entrepot.store.interface import Scheduler, Store

NAMES = ("front", "owner")
KEY = bytes(32)
SERVED_FROM = 1 << 40  # numbers of consumers that are served over a link
BREAKS = 0.02  # how likely a connection breaks when it carries something
_starts = itertools.count(1)  # each is another: what is kept of one is not the next one's
RESTARTS = 0.3  # and how likely it was the death of the other process
DOWN_S = (0.0, 0.001, 0.05)  # for how long there is none then


class End:
    """One process of the two, as its connections see it."""

    def __init__(self, number: int, starts: list[bytes], clock: Any, wake: Callable[[], None]) -> None:
        self.name, self.other = NAMES[number], NAMES[1 - number]
        self._start = starts[number]
        self.link = Link(self.other, starts[1 - number])
        self.session: LinkSession | None = None
        self.crossing: Crossing | None = None
        self._clock = clock
        self._wake = wake

    def anew(self, starts: list[bytes], number: int) -> None:
        """One of the two has started again."""
        self._start = starts[number]
        self.link = Link(self.other, starts[1 - number])

    def connect(self, dials: bool, nonce: bytes) -> LinkSession:
        """The end of a new connection."""
        identity = Identity("simulated", self.name, self._start, KEY)
        self.session = LinkSession(identity, self, self.other if dials else None, self._clock, nonce, self._wake, lambda _, tell: tell(), lambda _: None)
        return self.session

    # ---- see link_session.Ends

    def known(self, name: str) -> Link | None:
        """See Ends."""
        return self.link

    def admit(self, name: str, start: bytes) -> Link:
        """See Ends."""
        return self.link

    def opened(self, session: LinkSession) -> None:
        """See Ends."""

    def frames(self, link: Link, found: list[bytes]) -> None:
        """See Ends. What fails amid a frame is raised as it is, for whoever looks for it."""
        assert self.crossing is not None
        try:
            self.crossing.heed(found)
        except CorruptData as error:
            raise error.__cause__ or error from None

    def ended(self, session: LinkSession, reason: str) -> None:
        """See Ends."""


class Wire:
    """The connection between two ends, and the next one when it has broken. What an end has to send is carried at a later turn."""

    def __init__(self, hub: Hub, breaks: float) -> None:
        self._loop: Any = hub.scheduler
        self._breaks = breaks
        self._due = [False, False]
        self._connection = 0
        self.broken_count = 0
        self.broken: Callable[[], None] = _nothing
        self._starts = [next(_starts).to_bytes(START_SIZE, "big") for _ in NAMES]
        self.ends = [End(number, self._starts, hub.clock, partial(self.wake, number)) for number in (0, 1)]
        self._connect()

    def _connect(self) -> None:
        self._connection += 1
        for number, end in enumerate(self.ends):
            end.connect(number == 0, self._connection.to_bytes(NONCE_SIZE, "big"))
        for number in (0, 1):
            self.wake(number)

    def wake(self, number: int) -> None:
        """An end has something to send."""
        if not self._due[number]:
            self._due[number] = True
            self._loop.call_soon(self._carry, number)

    def _carry(self, number: int) -> None:
        self._due[number] = False
        sender, receiver = self.ends[number].session, self.ends[1 - number].session
        if sender is None or receiver is None:
            return
        sent = bytearray()
        while sender.output.size:
            for part in sender.output.take():
                sent += part
        if sent and self._breaks and self._loop.random.random() < self._breaks:
            give(receiver, bytes(sent[: self._loop.random.randrange(len(sent) + 1)]))
            self.break_off(self._loop.random.choice(DOWN_S))
        elif sent:
            give(receiver, bytes(sent))
        assert not receiver.closing or receiver is not self.ends[1 - number].session, "a session has ended by itself"

    def restart(self) -> None:
        """The owners' process has started again: nothing of what was under way comes."""
        self.break_off(0.0)
        self._starts[1] = next(_starts).to_bytes(START_SIZE, "big")
        for number, end in enumerate(self.ends):
            end.anew(self._starts, number)

    def break_off(self, down_s: float) -> None:
        """What is under way is lost; for so long there is no connection."""
        self.broken_count += 1
        self.broken()
        for end in self.ends:
            if end.session is not None:
                session, end.session = end.session, None
                session.lost("reset")
        self._loop.call_later(down_s, self._connect)


def _nothing() -> None:
    pass


def give(session: LinkSession, data: bytes) -> None:
    """Octets arrive, as much in each read as there is room for."""
    while data and not session.closing:
        room = session.get_buffer(0)
        step = min(len(room), len(data))
        room[:step] = data[:step]
        session.buffer_updated(step)
        data = data[step:]


class Here:
    """What served owners need of their process."""

    def __init__(self, hub: Hub, row_shard: Callable[[LocalOwner], int]) -> None:
        self._hub = hub
        self.scheduler: Scheduler = hub.scheduler
        self.row_shard = row_shard
        self._numbers = itertools.count(SERVED_FROM)

    def codec(self, tag: int) -> EntryCodec | None:
        """See served_owner.Here."""
        return self._hub.maybe_codec(tag)

    def next_consumer_id(self) -> int:
        """See served_owner.Here."""
        return next(self._numbers)


class LinkedOwnerTable(OwnerTable):
    """What a front has that reaches every owner over one link. `wire`: the connection; `front` and `served`: what both ends have of it."""

    breaks = 0.0

    def __init__(self, hub: Hub, store: Store, volatile: Store) -> None:
        super().__init__(hub, store, volatile)
        self._hub = hub
        self._here = Here(hub, self._row_shard)
        self.wire = Wire(hub, self.breaks)
        self.front: Crossing | None = None
        self._left = 0  # stores that do not have all of it durable
        self._cross()

    def _cross(self) -> None:
        owners = self.local()
        front, served = self.wire.ends
        front.crossing = self.front = Crossing(front.link, [], len(owners), self._here, partial(self.wire.wake, 0), before=self.front)
        served.crossing = self.served = Crossing(served.link, owners, 0, self._here, partial(self.wire.wake, 1))
        self._remote: dict[LocalOwner, RemoteOwner] = dict(zip(owners, self.front.remote, strict=True))

    def restart(self) -> None:
        """As if the owners' process had died, and were there again: what its front had there is gone, but what is kept. (Its queues have not moved.)"""
        assert self.front is not None
        for served in self.served.served:
            served.taken = None  # its row stays
            for door in served.doors.values():
                _release(door.consumers.values())
        self.served.dead()
        self.front.dead(returns=True)
        self._hub.hold()
        self.wire.restart()
        stores = list({id(owner.store): owner.store for owner in self.local()}.values())
        self._left = len(stores)
        for store in stores:  # what the next start finds is durable
            store.group().calls.append(self._is_durable)
            store.urgent()

    def _is_durable(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._cross()
            self.served.claimed = self._claimed
            self.served.heed_claims()

    def _claimed(self) -> None:
        self.served.go_on()
        self._hub.go_on()

    def _row_shard(self, owner: LocalOwner) -> int:
        return next(shard for shard in range(SHARD_COUNT_DEFAULT) if self.here(shard) is owner)

    def served_owner(self, owner: LocalOwner) -> ServedOwner:
        """What stands before an owner."""
        return next(one for one in self.served.served if one.owner is owner)

    def kept_doors(self) -> Iterable[Any]:
        """See OwnerTable."""
        return [door for one in self.served.served for door in one.doors.values()]

    def reached(self, owner: LocalOwner) -> Owner:
        """See OwnerTable."""
        return self._remote[owner]


class BreakingOwnerTable(LinkedOwnerTable):
    """The same, over connections that break."""

    breaks = BREAKS


class ReturningOwnerTable(BreakingOwnerTable):
    """And whose owners' process starts again now and then, when its connection has broken."""

    def __init__(self, hub: Hub, store: Store, volatile: Store) -> None:
        super().__init__(hub, store, volatile)
        self.restart_count = 0
        self.wire.broken = self._broken

    def _broken(self) -> None:
        loop: Any = self._hub.scheduler
        if loop.random.random() < RESTARTS:
            loop.call_soon(self._restart)

    def _restart(self) -> None:
        if not self._hub.held:
            self.restart_count += 1
            self.restart()


def _release(consumers: Iterable[Consumer]) -> None:
    """What they hold is ready again, however often it was delivered: a process that dies buries nothing."""
    for consumer in consumers:
        queue = consumer.reads
        if isinstance(queue, Queue) and not queue.ended:
            held = list(queue.subscription.leased_by(consumer.id))
            for first, end in held if queue.dead_letters is None else queue.dead_letters.without_pending(consumer, held):
                queue.release_now(consumer, first, end - first, True)
            queue.overdelivered = queue.delivery_limit >= 0  # but what nobody claims is looked at, as at a start
