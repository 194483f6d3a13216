"""Shared subscriptions (4.8.2): `$share/GROUP/FILTER` is a queue that all members consume from, made by the first and gone with the last.

A member is a queue of a session: of one that is kept it stays one while its client is away. What a member has not acknowledged when its connection ends goes
to another. Of QoS 2 they are granted QoS 1: nothing notes yet to whom a message is promised.
"""

from __future__ import annotations

from collections.abc import Generator
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from entrepot.broker.calls import requests
from entrepot.broker.calls.shared_requests import JoinShared, LeaveShared
from entrepot.model.names import NAME_SIZE_MAX
from entrepot.protocols.mqtt.delivering import MAIN, Source
from entrepot.protocols.mqtt.events import Subscription
from entrepot.protocols.mqtt.reserved import SHARED_PREFIX
from entrepot.protocols.mqtt.topics import key_of, shared

if TYPE_CHECKING:
    from entrepot.protocols.mqtt.session import Session

LONG_PREFIX = SHARED_PREFIX + "long."
FILTER = "x-mqtt-filter"
"""Argument of a member's binding, where the queue's name does not say the filter."""

QOS_MAX = 1


def name_of(topic_filter: bytes) -> str:
    """The queue's; the filter is a shared one. One that is too long for a name has a digest in its place, which no filter is, for it has no `/`."""
    name = SHARED_PREFIX + topic_filter.partition(b"/")[2].decode()
    if len(name.encode()) <= NAME_SIZE_MAX:
        return name
    return LONG_PREFIX + blake2b(topic_filter, digest_size=16).hexdigest()


def filter_named(queue: str, arguments: dict[str, Any]) -> bytes | None:
    """The shared filter whose queue has that name, with the arguments of a member's binding; None: it is no such queue's."""
    if not queue.startswith(SHARED_PREFIX):
        return None
    topic_filter = b"$share/" + queue[len(SHARED_PREFIX) :].encode(errors="surrogateescape")
    said = arguments.get(FILTER)
    if queue.startswith(LONG_PREFIX) and isinstance(said, str):
        topic_filter = said.encode(errors="surrogateescape")
    found = shared(topic_filter)
    return topic_filter if found is not None and found[0] and name_of(topic_filter) == queue else None


def subscribe(session: Session, wanted: Subscription, identifier: int, arguments: dict[str, Any], member: str) -> Generator[Any, Any, int]:
    """One more of the session; the code. `member`: its queue."""
    wanted.qos = min(wanted.qos, QOS_MAX)
    yield joining(session, wanted, arguments, member)
    replaced = session.shared.get(wanted.filter)
    if replaced is not None and replaced.is_loose == (wanted.qos == 0):
        replaced.subscription, replaced.identifier = wanted, identifier
        replaced.matches.clear()
        return wanted.qos
    if replaced is not None:
        yield from _leave(session, replaced)
    source = add(session, wanted, identifier)
    yield from consume(session, source)
    return wanted.qos


def joining(session: Session, wanted: Subscription, arguments: dict[str, Any], member: str) -> JoinShared:
    """What makes `member`, a queue of the session, one of its members."""
    found = shared(wanted.filter)
    assert found is not None
    name = name_of(wanted.filter)
    if name.startswith(LONG_PREFIX):
        arguments = {**arguments, FILTER: wanted.filter.decode()}
    return JoinShared(name, key_of(found[1]).decode(), member, arguments, session.settings.kept_arguments())


def add(session: Session, subscription: Subscription, identifier: int) -> Source:
    """The session has it; it is to be consumed from."""
    _forget_ended(session)
    session.last_place += 1
    source = Source(session.last_place, subscription.qos == 0)
    source.queue = name_of(subscription.filter)
    source.subscription, source.identifier = subscription, identifier
    session.sources[source.place] = session.shared[subscription.filter] = source
    return source


def consume(session: Session, source: Source) -> Generator[Any, Any, None]:
    """Deliveries begin."""
    limit = 0 if source.is_loose else session.flights.receive_maximum
    source.consumer_id = yield requests.Consume(source.queue, source, limit, source.is_loose)


def unsubscribe(session: Session, topic_filter: bytes) -> Generator[Any, Any, None]:
    """It is one of the session's. What was begun to be sent is completed (3.10.4)."""
    source = session.shared[topic_filter]
    yield from _leave(session, source)
    yield LeaveShared(source.queue, session.sources[MAIN].queue)


def _leave(session: Session, source: Source) -> Generator[Any, Any, None]:
    assert source.subscription is not None
    session.shared.pop(source.subscription.filter, None)
    source.ended = True
    yield requests.Cancel(source.consumer_id)
    unsent = [(held.source.consumer_id, held.offset, held.count) for held in session.held if held.source is source]
    if unsent:
        yield requests.Release(unsent)
        session.held = type(session.held)(held for held in session.held if held.source is not source)


def _forget_ended(session: Session) -> None:
    """Of those that have ended, and wait for no acknowledgement."""
    waiting = {span.source for span in session.flights.spans()}
    for place in [place for place, source in session.sources.items() if source.ended and place not in waiting]:
        del session.sources[place]


def restored(session: Session, exchange: str, arguments: dict[str, Any], subscription: Subscription, identifier: int) -> bool:
    """A binding of a kept session's queue, with the options of a subscription: whether it is a member's, which is found again."""
    topic_filter = filter_named(exchange, arguments)
    if topic_filter is None:
        return False
    subscription.filter = topic_filter
    add(session, subscription, identifier)
    return True
