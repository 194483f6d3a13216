"""SUBSCRIBE and UNSUBSCRIBE: a filter is a binding from amq.topic to a queue of the session.

A session has two: what its filters of QoS 1 and 2 find comes through one, and is leased until the client has it; of QoS 0 through the other, and is done
with when it is taken. Each is made when it is first needed. Who is in both is sent what is in the first.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from entrepot.broker.calls import requests
from entrepot.model.errors import NotDone
from entrepot.protocols.mqtt import answers, outcomes, retained, sharing
from entrepot.protocols.mqtt.delivering import LOOSE, MAIN, Source
from entrepot.protocols.mqtt.events import Subscribe, Subscription, Unsubscribe
from entrepot.protocols.mqtt.reason_codes import ReasonCode
from entrepot.protocols.mqtt.topics import KEY_MAX_BYTES, filter_of, key_of, shared

if TYPE_CHECKING:
    from entrepot.protocols.mqtt.session import Session, Steps

EXCHANGE = "amq.topic"
NOTED = b"*0."
"""What a binding's pattern begins with that only notes a subscription: a first word that no topic has, for `+0` would be none."""

OPTIONS, IDENTIFIER = "x-mqtt-options", "x-mqtt-identifier"
"""Arguments of a binding that is a subscription: the octet of its options as SUBSCRIBE has it (3.8.3.1), and its identifier, if it has one."""

MOST_QOS = 2


def subscribe(session: Session, packet: Subscribe) -> Steps:
    """SUBSCRIBE; SUBACK when all of its filters are bound, or are not to be."""
    codes = []
    due: list[tuple[bytes, str, int]] = []
    for wanted in packet.subscriptions:
        try:
            codes.append((yield from _subscribe(session, wanted, packet.identifier, due)))
        except NotDone as error:
            error.__traceback__ = None
            codes.append(outcomes.reason_of(error))
    session.put(answers.suback(session.version, packet.packet_id, codes))
    for one in due:
        retained.begin(session, *one)


def _subscribe(session: Session, wanted: Subscription, identifier: int, due: list[tuple[bytes, str, int]]) -> Generator[Any, Any, int]:
    """The code for one filter; `due` is told of what it is to be sent of what is retained."""
    parts = shared(wanted.filter)
    if parts is None or len(wanted.filter) > KEY_MAX_BYTES:
        return ReasonCode.TOPIC_FILTER_INVALID
    replaced = session.subscriptions.get(wanted.filter)
    is_new = replaced is None and wanted.filter not in session.shared
    if is_new and len(session.subscriptions) + len(session.shared) >= session.settings.subscriptions_max:
        return ReasonCode.QUOTA_EXCEEDED
    if parts[0]:
        main = session.sources[MAIN]
        yield from _queue_at(session, main)
        wanted.qos = min(wanted.qos, sharing.QOS_MAX)
        return (yield from sharing.subscribe(session, wanted, identifier, _arguments(wanted, identifier), main.queue))
    if session.is_kept and not wanted.qos and len(wanted.filter) > KEY_MAX_BYTES - len(NOTED):
        return ReasonCode.TOPIC_FILTER_INVALID
    yield from source_at(session, place_of(wanted))
    new = bindings(session, wanted, identifier)
    old = bindings(session, *replaced) if replaced else []
    for binding in new:
        if binding not in old:
            yield binding
    session.subscriptions.put(wanted, identifier)
    session.subscribed_anew()
    yield from _unbind([binding for binding in old if binding not in new])
    if wanted.retain_handling == 0 or (wanted.retain_handling == 1 and replaced is None):
        due.append((wanted.filter, session.sources[place_of(wanted)].queue, identifier))
    return wanted.qos


def _unbind(old: list[requests.Bind]) -> Generator[Any, Any, None]:
    for binding in old:
        binding.remove = True
        yield binding


def place_of(subscription: Subscription) -> int:
    """Through which of the session's queues its messages come."""
    return MAIN if subscription.qos else LOOSE


def source_at(session: Session, place: int) -> Generator[Any, Any, Source]:
    """The session's queue, made and consumed from if it is not there."""
    source = session.sources[place]
    yield from _queue_at(session, source)
    if not source.consumer_id:
        yield from consume(session, source)
    return source


def _queue_at(session: Session, source: Source) -> Generator[Any, Any, None]:
    if not source.queue:
        source.queue, _, _ = yield requests.DeclareQueue("", exclusive=True, arguments=session.queue_arguments())


def consume(session: Session, source: Source) -> Generator[Any, Any, None]:
    """Deliveries begin."""
    limit = 0 if source.is_loose else session.flights.receive_maximum
    source.consumer_id = yield requests.Consume(source.queue, source, limit, source.is_loose)


def bindings(session: Session, subscription: Subscription, identifier: int) -> list[requests.Bind]:
    """What a subscription is at the port. Where the session is kept it says its options; of QoS 0 by a binding of the queue that lasts, which finds nothing."""
    source, key = session.sources[place_of(subscription)], key_of(subscription.filter).decode()
    if not session.is_kept:
        return [requests.Bind(EXCHANGE, source.queue, "queue", key)]
    arguments = _arguments(subscription, identifier)
    if not source.is_loose:
        return [requests.Bind(EXCHANGE, source.queue, "queue", key, arguments)]
    noted = requests.Bind(EXCHANGE, session.sources[MAIN].queue, "queue", NOTED.decode() + key, arguments)
    return [requests.Bind(EXCHANGE, source.queue, "queue", key), noted]


def _arguments(subscription: Subscription, identifier: int) -> dict[str, Any]:
    options = subscription.qos | subscription.no_local << 2 | subscription.retain_as_published << 3 | subscription.retain_handling << 4
    return {OPTIONS: options, IDENTIFIER: identifier} if identifier else {OPTIONS: options}


def restore(session: Session) -> Generator[Any, Any, None]:
    """The subscriptions of a session that was there before, by the bindings of its queue; those of QoS 0 are bound again."""
    listed = yield requests.ListBindings(session.sources[MAIN].queue)
    for exchange, routing_key, arguments in listed:
        found = _noted(routing_key, arguments)
        if found is None or sharing.restored(session, exchange, *found) or exchange != EXCHANGE:
            continue
        subscription, identifier = found
        if not subscription.qos:
            yield from _queue_at(session, session.sources[LOOSE])
            yield bindings(session, subscription, identifier)[0]
        session.subscriptions.put(subscription, identifier)


def _noted(routing_key: str, arguments: dict[str, Any]) -> tuple[Subscription, int] | None:
    """The subscription that a binding is, with its identifier; None: it is none, for somebody else has made it."""
    options, identifier = arguments.get(OPTIONS), arguments.get(IDENTIFIER, 0)
    if not isinstance(options, int) or not isinstance(identifier, int) or options & 3 > MOST_QOS:
        return None
    pattern = routing_key.encode(errors="surrogateescape")
    pattern = pattern.removeprefix(NOTED)
    topic_filter = filter_of(pattern)
    if topic_filter is None:
        return None
    return Subscription(topic_filter, options & 3, bool(options & 4), bool(options & 8), options >> 4 & 3), identifier


def unsubscribe(session: Session, packet: Unsubscribe) -> Steps:
    """UNSUBSCRIBE; UNSUBACK when nothing more is bound."""
    codes: list[int] = []
    for topic_filter in packet.filters:
        found = session.subscriptions.get(topic_filter)
        if found is None and topic_filter not in session.shared:
            codes.append(ReasonCode.NO_SUBSCRIPTION_EXISTED if shared(topic_filter) is not None else ReasonCode.TOPIC_FILTER_INVALID)
            continue
        try:
            yield from (sharing.unsubscribe(session, topic_filter) if found is None else _unbind(bindings(session, *found)))
        except NotDone as error:
            error.__traceback__ = None
            codes.append(outcomes.reason_of(error))
            continue
        session.subscriptions.take(topic_filter)
        retained.forget(session, topic_filter)
        session.subscribed_anew()
        codes.append(ReasonCode.SUCCESS)
    session.put(answers.unsuback(session.version, packet.packet_id, codes))
