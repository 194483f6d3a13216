"""Deciding: the side of the process that has shard 0: members that follow, what is waited for, and what they ask to have decided.

    begin() -> nothing is decided, nor answered here, until every other process has joined or is dead; nobody is told who decides until something is durable
               of this epoch, for the next one would be the same otherwise
    Join    -> what it is home of is here again, it is sent a snapshot, and every change from then on; it is waited for
    Heartbeat -> answered where it has applied all that was answered; not answered for LEASE_S and MARGIN_S, it is waited for no more, but sent on
    Request -> carried out by the broker's own operations, through a door that stands for the connection there; answered when the barrier lets it through

A start that is dead takes with it what it was home of. Frames that cannot be understood raise CorruptData: the end of the link's start.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import Any

from entrepot.broker.broker import Broker
from entrepot.broker.calls.port import DONE, Delivery, Sink, make_ask
from entrepot.broker.catalogue.changes import Revision, Row, decode_change
from entrepot.broker.catalogue.definitions import QueueDefinition
from entrepot.broker.catalogue.timed_definition import timed_by_default
from entrepot.broker.front.door import Door
from entrepot.cluster.catalogue import frames as f
from entrepot.cluster.catalogue.announcing import taken_in
from entrepot.cluster.catalogue.asking import pack_result, request_of
from entrepot.cluster.catalogue.homes import Homes, home_row
from entrepot.cluster.catalogue.leases import BEAT_S, Leases
from entrepot.cluster.catalogue.members import MemberLink
from entrepot.cluster.link import Link
from entrepot.model.errors import CorruptData, NotDone, OutcomeUnknown, Unavailable
from entrepot.model.principal import Principal

BEHIND_MAX = 10_000  # revisions: a member that is further behind is not answered
ROOM_S = 0.01  # until it is looked again whether there is room for a piece of a snapshot
NO_CODEC = 0  # of doors that are delivered nothing
NOT_YET = "the catalogue's decisions begin in a moment"


class Deciding:
    """Of one process, called `name`. may_serve(): whether it is still certain that nobody else has shard 0."""

    def __init__(self, broker: Broker, homes: Homes, name: str, leases: Leases, may_serve: Callable[[], bool]) -> None:
        self._broker = broker
        self._stream = broker.decisions.stream
        self._homes = homes
        self._name = name
        self._leases = leases
        self._may_serve = may_serve
        self._others: Collection[str] | None = ()
        self._links: dict[str, Link] = {}
        self._members: dict[str, MemberLink] = {}
        self._called: set[str] = set()  # who was told who decides, and has not joined since
        self._absent: set[str] = set()  # processes that were said to be dead, and have not been heard of since
        self._announced: dict[bytes, int] = {}  # the epoch in which a start has last said what it is home of
        self._over: deque[str] = deque()  # who is to be waited for no more
        self._not_yet = NotYet()
        self._dead: set[bytes] = set()  # ids of starts whose homes are still to be removed
        self._timer: Any = None
        self._may_call = False  # the epoch is nobody else's any more
        self.is_begun = False

    # ---- its life

    def begin(self, others: Collection[str] | None = None) -> None:
        """Shard 0 is open here. `others`: the names of all other processes that there are; None: nobody knows, and time has to pass."""
        self.is_begun = True
        self._others = others
        self._called.clear()
        self._leases.begin()
        for name in self._members:  # those of a time before, who are still waited for
            self._leases.answer(name)
        self._stream.elsewhere = NOT_YET
        self._broker.decider = self._not_yet
        self._broker.shard_moves.forget_found()
        revision = self._stream.commit([home_row(self._broker.start_id, self._name)], announced=True)
        self._may_call = False
        self._stream.keep_epoch(partial(self._epoch_is_kept, revision.epoch))
        if self._timer is not None:
            self._timer.cancel()
        self._tick()

    def _epoch_is_kept(self, epoch: int) -> None:
        if self.is_begun and epoch == self._stream.revision.epoch:
            self._may_call = True
            for link in self._links.values():
                self._call(link)

    def end(self) -> None:
        """Shard 0 is not here any more, or is about to go. What is to be answered still waits for members as long as they may answer."""
        self.is_begun = False
        self._decides_here()

    def linked(self, link: Link) -> None:
        """There is a link with a start of a process; one with an earlier start of it is none any more."""
        before = self._links.get(link.name)
        if before is not None and before is not link:
            self.dead(before)
        self._links[link.name] = link
        self._called.discard(link.name)
        self._absent.discard(link.name)
        if self.is_begun:
            self._call(link)

    def dead(self, link: Link) -> None:
        """The start at its other end was declared dead."""
        if self._links.get(link.name) is link:
            del self._links[link.name]
            self._absent.add(link.name)
        member = self._members.get(link.name)
        if member is not None and member.link is link:
            self._dead.add(member.start_id)
            self._leave(link.name)
        self._clean()
        self._begin_to_decide()

    def absent(self, name: str) -> None:
        """No start of that process is alive; no link with one is known."""
        self._absent.add(name)
        self._begin_to_decide()

    def _call(self, link: Link) -> None:
        """Once until it joins: an outage leaves many heartbeats, and each would have it take a snapshot."""
        if not self._may_call or link.name in self._called:
            return
        self._called.add(link.name)
        link.send(*f.encode(f.Decides(self._stream.revision.epoch)))

    def _leave(self, name: str) -> None:
        del self._members[name]
        self._leases.leave(name)
        self._stream.leave(name)

    def _tick(self) -> None:
        self._timer = self._broker.scheduler.call_later(BEAT_S, self._tick) if self.is_begun or self._members else None
        self._over.extend(map(str, self._leases.left_out()))
        while self._over:
            self._leave_out(self._over.popleft())
        self._begin_to_decide()

    def _leave_out(self, name: str) -> None:
        member = self._members.get(name)
        if member is None or self._leases.is_counted(name):
            return
        if member.is_lost or not self.is_begun:
            self._leave(name)
        else:
            self._stream.leave_out(name)

    def _begin_to_decide(self) -> None:
        if not self.is_begun or self._stream.elsewhere != NOT_YET or not self._all_are_here():
            return
        self._stream.elsewhere = ""
        self._stream.let_through = self._stream.revision  # what homes have announced was answered by who decided before
        self._decides_here()
        self._clean()
        self._broker.operations.decide_again()

    def _decides_here(self) -> None:
        if self._broker.decider is self._not_yet:
            self._broker.decider = None

    def _all_are_here(self) -> bool:
        """What everybody is home of is known, and nobody answers by what the decider before has let him."""
        if self._others is None:
            return not self._leases.waits
        return all(name in self._absent or self._has_joined(name) for name in self._others)

    def _has_joined(self, name: str) -> bool:
        return name in self._members and self._stream.applied_by(name).epoch == self._stream.revision.epoch

    # ---- what comes

    def frame(self, link: Link, frame: f.Frame) -> None:
        """Of a process that follows, or means to. Raises CorruptData."""
        handler: Any = _HANDLERS.get(type(frame))
        if handler is None:
            raise CorruptData(f"a {type(frame).__name__} comes from who does not decide")
        handler(self, link, frame)

    def _join(self, link: Link, frame: f.Join) -> None:
        """See frames.Join."""
        _, rows = decode_change(frame.change)
        epoch = self._stream.revision.epoch
        if not self.is_begun or frame.epoch != epoch or self._links.get(link.name) is not link:
            return
        self._called.discard(link.name)
        member = self._members.get(link.name)
        if link.is_full or (member is not None and member.link is link and not member.is_lost and not member.is_sent):
            return  # it is called again, or its snapshot is on its way
        found = taken_in(self._broker.catalogue, rows, frame.start_id)
        if self._announced.get(frame.start_id) == epoch:
            found = []  # what is not here of what it had was deleted here
        self._stream.commit([home_row(frame.start_id, link.name), *found], announced=True)
        self._announced[frame.start_id] = epoch
        member = self._members[link.name] = MemberLink(link, frame.start_id, lambda: self._stream.revision)
        self._leases.answer(link.name)
        self._stream.join_by_pieces(link.name, member, self._cut)
        self._clean()

    def _cut(self, pieces: Iterator[bool]) -> None:
        """A piece of a snapshot in a turn of the loop, as long as there is room for it."""
        is_cut = next(pieces, None)
        if is_cut:
            self._broker.scheduler.call_soon(self._cut, pieces)
        elif is_cut is not None:
            self._broker.scheduler.call_later(ROOM_S, self._cut, pieces)

    def _applied(self, link: Link, frame: f.Applied) -> None:
        """See frames.Applied."""
        self._has(link, Revision(frame.epoch, frame.number))
        self._begin_to_decide()

    def _has(self, link: Link, revision: Revision) -> MemberLink | None:
        """The member, which has applied so much; None: it has to join."""
        member = self._members.get(link.name)
        if member is None or member.link is not link:
            return None
        if revision > self._stream.revision:
            raise CorruptData(f"'{link.name}' has applied {revision}; {self._stream.revision} is the latest")
        self._stream.applied(link.name, revision)
        member.has_applied(self._stream.applied_by(link.name))
        return None if member.is_lost else member

    def _heartbeat(self, link: Link, frame: f.Heartbeat) -> None:
        """See frames.Heartbeat."""
        stream = self._stream
        if not self.is_begun or frame.decider > stream.revision.epoch:
            return
        if frame.decider < stream.revision.epoch or self._has(link, Revision(frame.epoch, frame.number)) is None:
            self._call(link)
            return
        has = stream.applied_by(link.name)
        if has.epoch < stream.revision.epoch or has < stream.let_through or stream.revision.number - has.number > BEHIND_MAX:
            return
        if stream.elsewhere or not self._may_serve():
            return
        self._leases.answer(link.name)
        stream.count_in(link.name)
        link.send(*f.encode(f.Heard(frame.beat, stream.revision.epoch)))

    # ---- what is asked

    def _request(self, link: Link, frame: f.Request) -> None:
        """See frames.Request."""
        request = request_of(frame.name, frame.fields)
        call = make_ask(0, request)
        principal = Principal(frame.user, frozenset(frame.tags), frame.mechanism)
        home = self._home(link, frame.start_id, frame.connection)
        if home is None:
            self._answer(link, frame.number, Unavailable("the process that asked has to join first"))
            return
        broker = self._broker
        door = Door(broker, Answering(self, link, frame.number), principal, frame.namespace, NO_CODEC, frame.by_policy, home)
        call.attachment = door
        broker.ask(door, call)

    def _end_home(self, link: Link, frame: f.EndHome) -> None:
        """See frames.EndHome."""
        home = self._home(link, frame.start_id, frame.connection)
        if home is None:
            self._answer(link, frame.number, Unavailable("the process that asked has to join first"))
            return
        try:
            for definition in self._broker.catalogue.exclusive_queues(home):
                self._broker.decisions.remove_queue(definition)
        except NotDone as error:
            self._answer(link, frame.number, error)
            return
        self._stream.ticket().calls.append(lambda: self._answer(link, frame.number, None, pack_result(None, None)))

    def _remove_unused(self, link: Link, frame: f.RemoveUnused) -> None:
        """See frames.RemoveUnused."""
        self._decide(link, frame, self._broker.decisions.remove_queue)

    def _make_timed(self, link: Link, frame: f.MakeTimed) -> None:
        """See frames.MakeTimed."""

        def make(queue: QueueDefinition) -> None:
            if queue.timed is None:
                self._broker.decisions.change_timed(queue, timed_by_default(queue.policy, self._broker.clock.wall_ms() // 1000))

        self._decide(link, frame, make)

    def _decide(self, link: Link, frame: f.RemoveUnused | f.MakeTimed, do: Callable[[QueueDefinition], None]) -> None:
        """Something about a queue, if it is still there."""
        space = self._broker.catalogue.namespaces.get(frame.namespace)
        queue = None if space is None else space.queues.get(frame.name)
        try:
            self._stream.check()
            if queue is not None and queue.log_id == frame.log_id:
                do(queue)
        except NotDone as error:
            self._answer(link, frame.number, error)
            return
        self._stream.ticket().calls.append(lambda: self._answer(link, frame.number, None, pack_result(None, None)))

    def _home(self, link: Link, start_id: bytes, connection: int) -> tuple[bytes, int] | None:
        """A connection of a member; None: it is none that is known. Raises CorruptData: it speaks for somebody else."""
        member = self._members.get(link.name)
        if not self.is_begun or member is None or member.link is not link:
            return None
        if member.start_id != start_id:
            raise CorruptData(f"'{link.name}' speaks for a start that is not its own")
        return start_id, connection

    def _answer(self, link: Link, number: int, error: NotDone | None, result: bytes = b"") -> None:
        if self._links.get(link.name) is link:
            link.send(*f.encode(f.Answer(number, f.said(error), result)))

    def answer(self, link: Link, number: int, call: Any) -> None:
        """A call that was asked is complete."""
        if call.outcome != DONE:
            self._answer(link, number, call.error)
            return
        try:
            result = pack_result(call.request, call.result)
        except (UnicodeEncodeError, TypeError, OverflowError) as error:
            self._answer(link, number, OutcomeUnknown(f"it was done, and its result cannot be told: {error}"))
            return
        self._answer(link, number, None, result)

    # ---- homes

    def _clean(self) -> None:
        """What lived in starts that are dead goes: those that were said to be, and those whose process has joined in another start."""
        if not self.is_begun or not self._stream.decides:
            return
        for start_id, name in list(self._homes.names.items()):
            if name == self._name:
                current = self._broker.start_id
            else:
                member = self._members.get(name)
                current = start_id if member is None and start_id not in self._dead else b"" if member is None else member.start_id
            if start_id != current:
                self._remove_home(start_id, name)
                self._announced.pop(start_id, None)
                self._dead.discard(start_id)

    def _remove_home(self, start_id: bytes, name: str) -> None:
        decisions = self._broker.decisions
        for space in list(self._broker.catalogue.namespaces.values()):
            for queue in [queue for queue in space.queues.values() if queue.home == start_id]:
                decisions.remove_queue(queue)
            for exchange in [exchange.name for exchange in space.exchanges.values() if exchange.home == start_id]:
                decisions.delete_exchange(space.name, exchange)
        rows: list[Row] = [home_row(start_id, name, gone=True)]
        self._stream.commit(rows)


class NotYet:
    """What the decider's own front sees until decisions begin: nothing is answered by a catalogue that may lack what other processes are home of."""

    is_known = False

    def check(self) -> None:
        """See operations.parts.Decider."""
        raise Unavailable(NOT_YET)

    def ask(self, door: Door, call: Any) -> None:
        """See operations.parts.Decider."""
        raise Unavailable(NOT_YET)

    def ended(self, door: Door) -> None:
        """See operations.parts.Decider: nobody is known who could be told."""
        raise AssertionError(door)

    def remove_unused(self, definition: QueueDefinition) -> None:
        """See operations.parts.Decider: nobody is known who could be asked."""
        raise AssertionError(definition)

    def make_timed(self, definition: QueueDefinition) -> None:
        """See operations.parts.Decider."""
        raise Unavailable(NOT_YET)


class Answering(Sink):
    """What a door has that stands for a connection in another process: it hears of one call."""

    __slots__ = ("_deciding", "_link", "_number")

    def __init__(self, deciding: Deciding, link: Link, number: int) -> None:
        self._deciding = deciding
        self._link = link
        self._number = number

    def completed(self, call: Any) -> None:
        """See port.Sink."""
        self._deciding.answer(self._link, self._number, call)

    def deliver(self, delivery: Delivery) -> int:
        """See port.Sink: it consumes nothing."""
        raise AssertionError(delivery)

    def cancelled(self, token: Any) -> None:
        """See port.Sink."""

    def revoked(self, reason: str) -> None:
        """See port.Sink."""

    def throttle(self, blocked: bool, reason: str) -> None:
        """See port.Sink."""


_HANDLERS = {
    f.Join: Deciding._join,  # noqa: SLF001 - the table of this class
    f.Applied: Deciding._applied,  # noqa: SLF001
    f.Heartbeat: Deciding._heartbeat,  # noqa: SLF001
    f.Request: Deciding._request,  # noqa: SLF001
    f.EndHome: Deciding._end_home,  # noqa: SLF001
    f.RemoveUnused: Deciding._remove_unused,  # noqa: SLF001
    f.MakeTimed: Deciding._make_timed,  # noqa: SLF001
}
