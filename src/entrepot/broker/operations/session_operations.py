"""SessionOperations: what the requests of broker/calls/session_requests.py do, as the front of a connection: the sessions that it has, by number.

Whoever a session's owner is, it is asked by questions and by Owner.together(); that the session is lost is the answer to the one that is asked for as long as
it is there (HoldSession). An owner that cannot be reached, or has given its shard away, is asked again.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import Any

from entrepot.broker.calls.port import DONE, Ask, Settle, fail
from entrepot.broker.calls.questions import DetachSession, HoldSession, Note, WillFields
from entrepot.broker.calls.session_requests import (
    CloseSession,
    CompleteOutgoing,
    Opened,
    OpenSession,
    PublishOnce,
    ReleaseIncoming,
    ReleaseOutgoing,
    Runs,
    Will,
)
from entrepot.broker.catalogue.definitions import QueueDefinition
from entrepot.broker.front.door import Door
from entrepot.broker.front.parting import split_address
from entrepot.broker.operations.once import Once
from entrepot.broker.operations.operations import LATER, FurtherHandler, Operations, Outcome
from entrepot.broker.operations.parts import BrokerParts
from entrepot.broker.operations.session_opening import Opening
from entrepot.broker.operations.stalls import Stalled, Stalls
from entrepot.broker.owners import Done, Owner, Settlement
from entrepot.broker.sessions.attached import taken_over
from entrepot.broker.users.authorization import Action, ResourceKind
from entrepot.model.errors import NotDone, Reason, Refused, Unavailable

AGAIN_S = 0.5  # until an owner that could not be asked is asked again


class Session:
    """One that a door has. `log_id`: of its queue; b"": it is not kept. `will`: of such a one. `is_open`: the door was told its number."""

    __slots__ = ("door", "generation", "is_open", "log_id", "name", "number", "owner", "shard", "stalled", "takes_any", "will")

    def __init__(self, door: Door, number: int, name: str, shard: int, owner: Owner) -> None:
        self.door = door
        self.number = number
        self.name = name
        self.shard = shard
        self.owner = owner
        self.generation = 0
        self.is_open = False
        self.takes_any = False  # from another user's connection
        self.stalled: deque[Stalled] | None = None  # what waits for its owner
        self.log_id = b""
        self.will: WillFields | None = None


class SessionOperations:
    """The requests, over one broker."""

    def __init__(self, broker: BrokerParts, operations: Operations) -> None:
        self._broker = broker
        self._operations = operations
        self._stalls = Stalls(broker.scheduler, lambda session: self._sessions.get(session.number) is session)
        self._sessions: dict[int, Session] = {}
        self._by_door: dict[Door, dict[int, Session]] = {}

    def handlers(self) -> dict[type, FurtherHandler]:
        """For Operations."""
        return {
            OpenSession: self._open,
            CloseSession: self._close,
            PublishOnce: self._publish_once,
            ReleaseIncoming: self._release_incoming,
            ReleaseOutgoing: self._release_outgoing,
            CompleteOutgoing: self._complete_outgoing,
        }

    # ---- opening

    def _open(self, door: Door, call: Ask, request: OpenSession) -> Outcome:
        """See OpenSession."""
        broker = self._broker
        _check_name(request.name)
        definition = broker.catalogue.namespace(door.namespace).queues.get(request.name)
        if request.expiry_s or definition is not None:
            broker.authorizer.authorize(door.principal, Action.CONFIGURE, door.namespace, ResourceKind.QUEUE, request.name)
        if definition is not None and not self._may_read(door, definition):
            request.clean = True
        if request.will is not None:
            self._check_will(door, request.will)
        broker.check_catalogue()
        shard = broker.shards.shard("queue", door.namespace, request.name)
        session = Session(door, broker.next_consumer_id(), request.name, shard, broker.owners.owner_of(shard))
        session.takes_any = broker.authorizer.may(door.principal, Action.CONFIGURE, door.namespace, request.name)
        Opening(broker, session, call, self._opened, self._give_up).begin()
        return LATER, None

    def _may_read(self, door: Door, definition: QueueDefinition) -> bool:
        """Whether the door's principal may still read all that a session's queue is bound to; of what it shares it is a member, and reads the queue."""
        sources = {binding.source.name for binding in definition.bindings_in.values() if not binding.source.internal}
        may = self._broker.authorizer.may
        return all(may(door.principal, Action.READ, door.namespace, source) for source in sources)

    def _check_will(self, door: Door, will: Will) -> None:
        """Whether the door's principal may publish it. What is not open now is open when it is due, perhaps."""
        exchange, _ = split_address(will.address)
        self._broker.authorizer.authorize(door.principal, Action.WRITE, door.namespace, ResourceKind.EXCHANGE, exchange)
        try:
            self._broker.path_for(door, will.address)
        except Unavailable:
            return

    def _opened(self, session: Session, call: Ask, present: bool, incoming: Runs, released: Runs) -> None:
        door = session.door
        self._sessions[session.number] = session
        self._by_door.setdefault(door, {})[session.number] = session
        self._hold(session)
        if session.number not in self._sessions:
            fail(call, taken_over(session.name))
            return
        call.result = Opened(session.number, present, session.name if session.log_id else "", session.generation, incoming, released)
        call.outcome = DONE
        session.is_open = True
        door.sink.completed(call)

    def _give_up(self, session: Session) -> None:
        """Its opening has failed, or its connection has ended meanwhile."""
        self._leave(session, -1, False, _unheard)

    def _hold(self, session: Session) -> None:
        question = HoldSession(
            self._broker.start_id, session.door.namespace, session.name, session.log_id, session.generation, session.will, session.door.principal.name
        )
        session.owner.ask(question, partial(self._over, session))

    def _over(self, session: Session, error: NotDone | None, _: Any) -> None:
        """It is lost; or its owner does not know any more who has it."""
        if self._sessions.get(session.number) is not session:
            return
        if error is not None:
            self._broker.scheduler.call_later(AGAIN_S, self._hold_again, session)
            return
        door = session.door
        self._forget(session)
        self._end_consumers(session)
        if session.is_open and not door.closed:
            door.sink.taken_over(session.number)

    def _hold_again(self, session: Session) -> None:
        if self._sessions.get(session.number) is not session:
            return
        try:
            session.owner = self._broker.owners.owner_of(session.shard)
        except Unavailable:
            self._broker.scheduler.call_later(AGAIN_S, self._hold_again, session)
            return
        self._hold(session)

    # ---- closing

    def _close(self, door: Door, call: Ask, request: CloseSession) -> Outcome:
        """See CloseSession."""
        session = self._session(door, request.number)
        self._forget(session)
        self._end_consumers(session)
        self._leave(session, request.expiry_s, request.drop_will, partial(_answer, call))
        return LATER, None

    def detach(self, door: Door) -> None:
        """A connection has ended, and what it consumed."""
        for session in self._by_door.pop(door, {}).values():
            del self._sessions[session.number]
            self._leave(session, -1, False, _unheard)

    def _leave(self, session: Session, expiry_s: int, drop_will: bool, done: Any) -> None:
        """Have its owner know that its connection has left it, however long that takes."""
        question = DetachSession(session.door.namespace, session.name, session.generation, expiry_s, drop_will)
        session.owner.ask(question, partial(self._left, session, question, done))

    def _left(self, session: Session, question: DetachSession, done: Any, error: NotDone | None, answer: Any) -> None:
        if error is None or isinstance(error, Refused):
            done(error, answer)
        else:
            self._broker.scheduler.call_later(AGAIN_S, self._leave_again, session, question, done)

    def _leave_again(self, session: Session, question: DetachSession, done: Any) -> None:
        left = partial(self._left, session, question, done)
        try:
            session.owner = self._broker.owners.owner_of(session.shard)
        except Unavailable as error:
            left(error, None)
        else:
            session.owner.ask(question, left)

    def _forget(self, session: Session) -> None:
        del self._sessions[session.number]
        of_door = self._by_door.get(session.door, {})
        of_door.pop(session.number, None)
        if not of_door:
            self._by_door.pop(session.door, None)

    def _end_consumers(self, session: Session) -> None:
        """Of its queue: what they hold goes back."""
        door = session.door
        for consumer in list(door.consumers.values()) if session.log_id else ():
            source = consumer.source
            if source is not None and not source.is_topic and source.log_id == session.log_id:
                self._operations.end_consumer(door, consumer)

    # ---- what it remembers

    def _publish_once(self, door: Door, call: Ask, request: PublishOnce) -> Outcome:
        """See PublishOnce."""
        session = self._session(door, request.number)
        _check_runs(request.numbers, sum(publish.count for publish in request.publishes))
        self._stalls.begin(session, call, lambda done: Once(self._broker, door, call, session.owner, session.log_id, session.generation, done).begin())
        return LATER, None

    def _release_incoming(self, door: Door, call: Ask, request: ReleaseIncoming) -> Outcome:
        """See ReleaseIncoming."""
        return self._remember(self._session(door, request.number), call, [], False, [], request.numbers)

    def _release_outgoing(self, door: Door, call: Ask, request: ReleaseOutgoing) -> Outcome:
        """See ReleaseOutgoing."""
        return self._remember(self._session(door, request.number), call, request.settlements, True, request.numbers, [])

    def _complete_outgoing(self, door: Door, call: Ask, request: CompleteOutgoing) -> Outcome:
        """See CompleteOutgoing."""
        return self._remember(self._session(door, request.number), call, [], True, [], request.numbers)

    def _remember(self, session: Session, call: Ask, settlements: list[Settle], released: bool, adds: Runs, removes: Runs) -> Outcome:
        """One commit at its owner."""
        door = session.door
        _check_runs(adds)
        _check_runs(removes)
        own: list[Settle] = []
        for settle in settlements:
            consumer = door.consumers.get(settle.consumer_id)
            if consumer is not None and session.log_id and consumer.owner is session.owner and not consumer.source.is_topic:
                own.append(settle)
            else:
                settle.attachment = door
                door.settle(settle)
        if not session.log_id:
            return None, None
        note = Note(session.log_id, session.generation, released, [], adds, removes, [])
        self._stalls.begin(session, call, partial(_do_together, session, own, note))
        return LATER, None

    def _session(self, door: Door, number: int) -> Session:
        """One that this door has. Raises Refused."""
        session = self._sessions.get(number)
        if session is None or session.door is not door:
            raise taken_over(str(number))
        return session


def _do_together(session: Session, settles: list[Settle], note: Note, done: Done) -> None:
    """Consumers that have ended meanwhile hold nothing."""
    consumers = session.door.consumers
    settlements: list[Settlement] = [(consumers[one.consumer_id], one.first, one.count, one.disposition) for one in settles if one.consumer_id in consumers]
    session.owner.together([], settlements, [], lambda error, _: done(error, None), note)
    for consumer, *_ in settlements:
        session.door.credit_returned(consumer)


def _answer(call: Ask, error: NotDone | None, _: Any) -> None:
    if error is not None:
        fail(call, error)
        return
    call.outcome = DONE
    if not call.attachment.closed:
        call.attachment.sink.completed(call)


def _unheard(error: NotDone | None, answer: Any) -> None:
    """Nobody waits for it."""


def _check_name(name: str) -> None:
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise Refused(Reason.INVALID, "the name of a session is no text") from None
    if not 0 < size <= 255:
        raise Refused(Reason.INVALID, f"the name of a session has {size} octets, and may have 1 to 255")


def _check_runs(runs: Runs, count: int = -1) -> None:
    """Numbers are the session's own protocol's: what is out of bounds is its fault."""
    assert all(first >= 0 and run > 0 and first + run <= 65_536 for first, run in runs), runs
    assert count in (-1, sum(run for _, run in runs)), (count, runs)
