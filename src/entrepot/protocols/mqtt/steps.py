"""Steps: what a packet does that asks the broker, as a generator; and several of them side by side.

A connection has one such packet at a time, and what arrives behind it waits. The generator yields a request of the port and is given its result, or thrown the
NotDone that it ended with; or a list of requests, which are asked together, and is given a list of their results, of which each may be a NotDone; or None, to
go on in a later turn.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from entrepot.broker.calls.port import PENDING, make_ask
from entrepot.model.errors import NotDone
from entrepot.protocols.mqtt import outcomes
from entrepot.protocols.mqtt.reason_codes import MqttError
from entrepot.protocols.mqtt.state import LEAVING, STREAM

if TYPE_CHECKING:
    from entrepot.protocols.mqtt.session import Session

Steps = Generator[Any, Any, None]


def side_by_side(generators: Sequence[Generator[Any, Any, Any]]) -> Generator[Any, Any, list[Any]]:
    """What each returns, or the NotDone that it raised. What they ask goes out together, one request of each at a time; they yield nothing but requests."""
    results: list[Any] = [None] * len(generators)
    answers: dict[int, Any] = dict.fromkeys(range(len(generators)))
    while answers:
        asked: dict[int, Any] = {}
        for index, answer in answers.items():
            try:
                asked[index] = generators[index].throw(answer) if isinstance(answer, NotDone) else generators[index].send(answer)
            except StopIteration as stop:
                results[index] = stop.value
            except NotDone as error:
                error.__traceback__ = None
                results[index] = error
        if not asked:
            break
        answered = yield list(asked.values())
        answers = dict(zip(asked, answered, strict=True))
    return results


def begin(session: Session, steps: Steps) -> None:
    """A packet that asks the broker. Raises MqttError."""
    session.steps = steps
    _advance(session, None)


def answered(session: Session) -> None:
    """One of the calls of the packet that waits is. Raises MqttError."""
    session.steps_waiting -= 1
    if not session.steps_waiting and not session.advancing:
        _advance(session, _answer(session))


def _advance(session: Session, answer: Any) -> None:
    """Give the packet that waits what it asked for, and ask what it wants next."""
    steps = session.steps
    assert steps is not None
    session.advancing = True
    try:
        while True:
            asked = steps.throw(answer) if isinstance(answer, NotDone) else steps.send(answer)
            if asked is None:
                session.turns.wait(partial(_advance_later, session, steps))
                return
            session.step_calls = [make_ask(STREAM, request) for request in (asked if isinstance(asked, list) else [asked])]
            session.is_list = isinstance(asked, list)
            session.steps_waiting = len(session.step_calls)
            for call in session.step_calls:
                session.attachment.submit(call)
            session.steps_waiting = sum(call.outcome == PENDING for call in session.step_calls)
            if session.steps_waiting:
                return
            answer = _answer(session)
    except StopIteration:
        session.steps = None
    except NotDone as not_done:
        not_done.__traceback__ = None
        session.steps = None
        raise outcomes.as_mqtt(not_done) from None
    except MqttError:
        session.steps = None
        raise
    finally:
        session.advancing = False


def _answer(session: Session) -> Any:
    """What the packet that waits is given: all that it asked is answered."""
    calls, session.step_calls = session.step_calls, []
    answers = [call.result if call.error is None else call.error for call in calls]
    return answers if session.is_list else answers[0]


def _advance_later(session: Session, steps: Steps) -> None:
    """The turn that it waited for."""
    if session.steps is not steps or session.state >= LEAVING:
        return
    try:
        _advance(session, None)
    except MqttError as error:
        session.fail(error)
        return
    if session.steps is None:
        session.go_on_soon()
