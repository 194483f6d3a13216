"""Opening: one OpenSession on its way: its owner attaches it, the catalogue gets or loses its queue where that has to be, and then its owner has it so.

In a process that decides the catalogue, and has the session's shard, all of it is one commit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from entrepot.broker.calls.port import DONE, Ask, Attachment, Call, Sink, fail, make_ask
from entrepot.broker.calls.questions import CHANGE_CATALOGUE, PRESENT, AttachSession, SessionAttached, WillFields
from entrepot.broker.calls.requests import DeclareQueue, DeleteQueue
from entrepot.broker.calls.session_requests import OpenSession, Will
from entrepot.broker.catalogue.definitions import QueueDefinition
from entrepot.broker.operations.parts import BrokerParts
from entrepot.model.errors import NotDone, Reason, Refused, Unavailable

TRIES = 5  # to ask for a session whose queue was made or removed while that was on its way


class Opening:
    """Of one call. opened(session, call, present, incoming, released), or the call has failed, and give_up(session) where it was attached."""

    def __init__(self, broker: BrokerParts, session: Any, call: Ask, opened: Callable[..., None], give_up: Callable[[Any], None]) -> None:
        self._broker = broker
        self._session = session
        self._call = call
        self._request: OpenSession = call.request
        self._opened = opened
        self._give_up = give_up
        self._tries = TRIES

    def begin(self) -> None:
        """Raises a NotDone: nothing has begun."""
        definition = self._definition()
        self._attach(b"" if definition is None else definition.log_id)

    def _definition(self) -> QueueDefinition | None:
        """Of its queue. Raises Refused: something else has its name."""
        door, name = self._session.door, self._request.name
        found = self._broker.catalogue.namespace(door.namespace).queues.get(name)
        if found is not None and not found.persistent:
            raise Refused(Reason.EXISTS_DIFFERENT, f"queue '{name}' is there already, and is no session's")
        return found  # type: ignore[no-any-return]

    def _attach(self, log_id: bytes) -> None:
        session, request = self._session, self._request
        session.log_id = log_id
        question = AttachSession(
            self._broker.start_id,
            session.door.namespace,
            request.name,
            log_id,
            request.clean,
            request.expiry_s,
            _fields_of(request.will),
            session.generation,
            session.door.principal.name,
            session.takes_any,
        )
        session.owner.ask(question, self._attached)

    def _attached(self, error: NotDone | None, answer: SessionAttached) -> None:
        session, call = self._session, self._call
        if isinstance(error, Unavailable) and not session.generation and self._begins_again():
            return
        if error is not None:
            if session.generation:
                self._give_up(session)
            fail(call, error)
            return
        session.generation, status, incoming, released = answer
        if session.door.closed:
            self._give_up(session)
        elif status == CHANGE_CATALOGUE:
            self._go_on(self._remove)
        else:
            session.will = None if session.log_id else _fields_of(self._request.will)
            self._opened(session, call, status == PRESENT, incoming, released)

    def _begins_again(self) -> bool:
        """Whether its queue is another by now than it was when it was asked for, so that it is worth asking again."""
        try:
            definition = self._definition()
        except Refused:
            return False
        log_id = b"" if definition is None else definition.log_id
        if log_id == self._session.log_id or not self._tries:
            return False
        self._tries -= 1
        self._attach(log_id)
        return True

    def _go_on(self, step: Callable[[], None]) -> None:
        try:
            step()
        except NotDone as error:
            self._failed(error)

    def _failed(self, error: NotDone) -> None:
        self._give_up(self._session)
        fail(self._call, error)

    # ---- the catalogue

    def _remove(self) -> None:
        definition = self._definition()
        if definition is None:
            self._declare()
        elif self._broker.decider is not None:
            self._errand(DeleteQueue(self._request.name), self._declare)
        else:
            self._broker.decisions.stream.check()
            self._broker.decisions.remove_queue(definition)
            self._when_applied(self._declare)

    def _declare(self) -> None:
        door, name = self._session.door, self._request.name
        if not self._request.expiry_s:
            self._attach(b"")
        elif self._broker.decider is not None:
            self._errand(DeclareQueue(name, durable=True, arguments=self._request.arguments, is_own=True), self._attach_anew)
        else:
            self._broker.decisions.declare_queue(
                door.namespace,
                name,
                durable=True,
                exclusive=False,
                auto_delete=False,
                arguments=self._request.arguments,
                connection=door.home,
                maker=door.principal.name,
                is_own=True,
            )
            self._when_applied(self._attach_anew)

    def _attach_anew(self) -> None:
        definition = self._definition()
        if definition is None:
            raise Refused(Reason.NOT_FOUND, f"queue '{self._request.name}' was deleted while its session was opened")
        self._attach(definition.log_id)

    def _when_applied(self, step: Callable[[], None]) -> None:
        """By everybody; where nobody else follows, at once."""
        stream = self._broker.decisions.stream
        if stream.is_followed:
            stream.ticket().calls.append(lambda: self._go_on(step))
        else:
            step()

    def _errand(self, request: Any, step: Callable[[], None]) -> None:
        """Have the process that decides do it."""
        call = make_ask(self._call.stream, request)
        call.attachment = Attachment()
        call.attachment.sink = _Errand(self, step)
        call.attachment.closed = False
        assert self._broker.decider is not None
        self._broker.decider.ask(self._session.door, call)

    def done(self, call: Call, step: Callable[[], None]) -> None:
        """An errand is answered."""
        if call.outcome == DONE:
            self._go_on(step)
        else:
            assert call.error is not None
            self._failed(call.error)


class _Errand(Sink):
    def __init__(self, opening: Opening, step: Callable[[], None]) -> None:
        self._opening = opening
        self._step = step

    def completed(self, call: Call) -> None:
        """See Sink."""
        self._opening.done(call, self._step)


def _fields_of(will: Will | None) -> WillFields | None:
    if will is None:
        return None
    return (will.address, will.codec, will.codec_version, will.flags, will.data, will.body_bytes, will.delay_s, will.retained)
