"""SUBSCRIBE and UNSUBSCRIBE: a filter is a binding from amq.topic to a queue of the session.

A session has two: what its filters of QoS 1 and 2 find comes through one, and is leased until the client has it; of QoS 0 through the other, and is done
with when it is taken. Each is made when it is first needed. Who is in both is sent what is in the first.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from entrepot.broker.calls import requests
from entrepot.model.errors import NotDone
from entrepot.protocols.mqtt import answers, outcomes
from entrepot.protocols.mqtt.delivering import LOOSE, MAIN, Source
from entrepot.protocols.mqtt.events import Subscribe, Subscription, Unsubscribe
from entrepot.protocols.mqtt.reason_codes import ReasonCode
from entrepot.protocols.mqtt.topics import KEY_MAX_BYTES, key_of, shared

if TYPE_CHECKING:
    from entrepot.protocols.mqtt.session import Session, Steps

EXCHANGE = "amq.topic"


def subscribe(session: Session, packet: Subscribe) -> Steps:
    """SUBSCRIBE; SUBACK when all of its filters are bound, or are not to be."""
    codes = []
    for wanted in packet.subscriptions:
        try:
            codes.append((yield from _subscribe(session, wanted, packet.identifier)))
        except NotDone as error:
            error.__traceback__ = None
            codes.append(outcomes.reason_of(error))
    session.put(answers.suback(session.version, packet.packet_id, codes))


def _subscribe(session: Session, wanted: Subscription, identifier: int) -> Generator[Any, Any, int]:
    """The code for one filter."""
    parts = shared(wanted.filter)
    if parts is None or len(wanted.filter) > KEY_MAX_BYTES:
        return ReasonCode.TOPIC_FILTER_INVALID
    if parts[0]:
        return ReasonCode.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED
    replaced = session.subscriptions.get(wanted.filter)
    if replaced is None and len(session.subscriptions) >= session.settings.subscriptions_max:
        return ReasonCode.QUOTA_EXCEEDED
    place = place_of(wanted)
    if replaced is None or place_of(replaced) != place:
        source = yield from source_at(session, place)
        yield _binding(source, wanted.filter)
    session.subscriptions.put(wanted, identifier)
    session.matches.clear()
    if replaced is not None and place_of(replaced) != place:
        yield _binding(session.sources[place_of(replaced)], wanted.filter, remove=True)
    return wanted.qos


def place_of(subscription: Subscription) -> int:
    """Through which of the session's queues its messages come."""
    return MAIN if subscription.qos else LOOSE


def source_at(session: Session, place: int) -> Generator[Any, Any, Source]:
    """The session's queue, made and consumed from if it is not there."""
    source = session.sources[place]
    if not source.queue:
        arguments = {"x-max-length": session.settings.queued_max} if session.settings.queued_max else {}
        source.queue, _, _ = yield requests.DeclareQueue("", exclusive=True, arguments=arguments)
    if not source.consumer_id:
        yield from consume(session, source)
    return source


def consume(session: Session, source: Source) -> Generator[Any, Any, None]:
    """Deliveries begin."""
    limit = 0 if source.is_loose else session.flights.receive_maximum
    source.consumer_id = yield requests.Consume(source.queue, source, limit, source.is_loose)


def unsubscribe(session: Session, packet: Unsubscribe) -> Steps:
    """UNSUBSCRIBE; UNSUBACK when nothing more is bound."""
    codes: list[int] = []
    for topic_filter in packet.filters:
        found = session.subscriptions.get(topic_filter)
        if found is None:
            codes.append(ReasonCode.NO_SUBSCRIPTION_EXISTED if shared(topic_filter) is not None else ReasonCode.TOPIC_FILTER_INVALID)
            continue
        try:
            yield _binding(session.sources[place_of(found)], topic_filter, remove=True)
        except NotDone as error:
            error.__traceback__ = None
            codes.append(outcomes.reason_of(error))
            continue
        session.subscriptions.take(topic_filter)
        session.matches.clear()
        codes.append(ReasonCode.SUCCESS)
    session.put(answers.unsuback(session.version, packet.packet_id, codes))


def _binding(source: Source, topic_filter: bytes, remove: bool = False) -> requests.Bind:
    return requests.Bind(EXCHANGE, source.queue, "queue", key_of(topic_filter).decode(), remove=remove)
