"""SUBSCRIBE and UNSUBSCRIBE: a filter is a binding from amq.topic to a queue of the session.

A session has two: what its filters of QoS 1 and 2 find comes through one, and is leased until the client has it; of QoS 0 through the other, and is done
with when it is taken. Each is made when it is first needed. Who is in both is sent what is in the first.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from entrepot.broker.calls import requests
from entrepot.model.errors import NotDone, Reason, Refused
from entrepot.protocols.mqtt import answers, outcomes, retained, sharing, system_topics
from entrepot.protocols.mqtt.delivering import LOOSE, MAIN, Source
from entrepot.protocols.mqtt.events import Subscribe, Subscription, Unsubscribe
from entrepot.protocols.mqtt.packets import VARIABLE_MAX
from entrepot.protocols.mqtt.reason_codes import ReasonCode
from entrepot.protocols.mqtt.steps import Steps, side_by_side
from entrepot.protocols.mqtt.subscriptions import weight_of
from entrepot.protocols.mqtt.topics import filter_of, is_bounded, key_of, shared

if TYPE_CHECKING:
    from entrepot.protocols.mqtt.session import Session

EXCHANGE = "amq.topic"
NOTED = b"*0."
"""What a binding's pattern begins with that only notes a subscription: a first word that no topic has, for `+0` would be none."""

OPTIONS, IDENTIFIER = "x-mqtt-options", "x-mqtt-identifier"
"""Arguments of a binding that is a subscription: the octet of its options as SUBSCRIBE has it (3.8.3.1), and its identifier, if it has one."""

MOST_QOS = 2
BATCH_MAX = 100  # filters that are asked about together
PACKET_STEPS = 20  # of net/turns.py, for a packet
FAILED = 0x80

Wanted: TypeAlias = tuple[Subscription, int]
"""With the identifier."""

Packet = TypeVar("Packet")


def subscribe(session: Session, packet: Subscribe) -> Steps:
    """SUBSCRIBE; SUBACK when all of its filters are bound, or are not to be. Those that wait behind it go on with it, some together."""
    packets = [packet]
    while packets:
        yield from _subscribe_packets(session, packets)
        packets = _next_of(session, Subscribe, lambda one: len(one.subscriptions))
        if packets:
            yield None


def _next_of(session: Session, kind: type[Packet], filters: Callable[[Packet], int]) -> list[Packet]:
    """Packets of that kind that have come behind the one that is answered, as many as are asked about together."""
    found: list[Packet] = []
    room = BATCH_MAX
    for packet in session.backlog:
        if not isinstance(packet, kind) or filters(packet) > room:
            break
        room -= filters(packet)
        found.append(packet)
    if found:
        session.backlog = session.backlog[len(found) :]
        session.turns.spend(PACKET_STEPS * len(found))
    return found


def _subscribe_packets(session: Session, packets: list[Subscribe]) -> Steps:
    wanted = [(one, packet.identifier) for packet in packets for one in packet.subscriptions]
    codes: list[int] = []
    due: dict[bytes, tuple[str, int]] = {}
    for at in range(0, len(wanted), BATCH_MAX):
        if at:
            yield None
        codes += yield from _subscribe_batch(session, wanted[at : at + BATCH_MAX], due)
    session.subscribed_anew()
    answered = iter(codes)
    for packet in packets:
        session.put(answers.suback(session.version, packet.packet_id, [next(answered) for _ in packet.subscriptions]))
    for topic_filter, (queue, identifier) in due.items():
        retained.begin(session, topic_filter, queue, identifier)
        system_topics.begin(session, topic_filter)


def _subscribe_batch(session: Session, wanted: list[Wanted], due: dict[bytes, tuple[str, int]]) -> Generator[Any, Any, list[int]]:
    """The codes. Of what is said of one filter the last is done; what was said before would not have lasted, and has the same outcome."""
    last = {one.filter: (one, identifier) for one, identifier in wanted}
    handling: dict[bytes, list[int]] = {}
    for one, _ in wanted:
        handling.setdefault(one.filter, []).append(one.retain_handling)
    results = yield from _subscribe_all(session, list(last.values()), handling, due)
    found = dict(zip(last, results, strict=True))
    return [found[one.filter] if found[one.filter] >= FAILED else granted(one) for one, _ in wanted]


def granted(wanted: Subscription) -> int:
    """The QoS of a filter that may be."""
    return min(wanted.qos, sharing.QOS_MAX) if shared_in(wanted) else wanted.qos


def _subscribe_all(
    session: Session, batch: list[Wanted], handling: dict[bytes, list[int]], due: dict[bytes, tuple[str, int]]
) -> Generator[Any, Any, list[int]]:
    """The codes of different filters. What is asked of the broker goes out together."""
    codes = _refusals(session, [one for one, _ in batch])
    accepted = [one for one, code in zip(batch, codes, strict=True) if not code]
    failed: NotDone | None = None
    for place in sorted({MAIN if shared_in(one) else place_of(one) for one, _ in accepted}):
        try:
            yield from source_at(session, place)
        except NotDone as error:
            failed = error
    if failed is not None:
        failed.__traceback__ = None
        return [code or outcomes.reason_of(failed) for code in codes]
    found = iter((yield from side_by_side([_subscribe(session, one, identifier, handling[one.filter], due) for one, identifier in accepted])))
    results = [code or next(found) for code in codes]
    return [int(outcomes.reason_of(result)) if isinstance(result, NotDone) else result for result in results]


def _refusals(session: Session, batch: list[Subscription]) -> list[int]:
    """Why a filter is not granted, whoever asks; 0: it may be."""
    room = session.settings.subscriptions_max - session.subscriptions.weight - sum(map(weight_of, session.shared))
    codes: list[int] = []
    for one in batch:
        weight = weight_of(one.filter)
        is_new = session.subscriptions.get(one.filter) is None and one.filter not in session.shared
        found = shared(one.filter)
        if found is None or not is_bounded(found[1]):
            codes.append(ReasonCode.TOPIC_FILTER_INVALID)
        elif is_new and weight > room:
            codes.append(ReasonCode.QUOTA_EXCEEDED)
        else:
            room -= weight if is_new else 0
            codes.append(0)
    return codes


def shared_in(subscription: Subscription) -> bool:
    """Whether it is a shared one."""
    found = shared(subscription.filter)
    return found is not None and found[0] != b""


def _subscribe(session: Session, wanted: Subscription, identifier: int, handling: list[int], due: dict[bytes, tuple[str, int]]) -> Generator[Any, Any, int]:
    """The code for one filter; `due` is told of what it is to be sent of what is retained. `handling`: retain handling, each time it was said."""
    if shared_in(wanted):
        wanted.qos = min(wanted.qos, sharing.QOS_MAX)
        return (yield from sharing.subscribe(session, wanted, identifier, _arguments(wanted, identifier), session.sources[MAIN].queue))
    replaced = session.subscriptions.get(wanted.filter)
    new = bindings(session, wanted, identifier)
    old = bindings(session, *replaced) if replaced else []
    for binding in new:
        if binding not in old:
            yield binding
    session.subscriptions.put(wanted, identifier)
    session.subscribed_anew()
    yield from _unbind([binding for binding in old if binding not in new])
    if 0 in handling or (handling[0] == 1 and replaced is None):
        due[wanted.filter] = session.sources[place_of(wanted)].queue, identifier
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


def consume_again(session: Session, source: Source) -> Generator[Any, Any, None]:
    """Deliveries begin, in a session that was there before: a shared subscription whose queue was deleted meanwhile is joined again."""
    try:
        yield from consume(session, source)
    except Refused as refused:
        wanted = source.subscription
        if wanted is None or refused.reason is not Reason.NOT_FOUND:
            raise
        yield sharing.joining(session, wanted, _arguments(wanted, source.identifier), session.sources[MAIN].queue)
        yield from consume(session, source)


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
    again: list[requests.Bind] = []
    listed = yield requests.ListBindings(session.sources[MAIN].queue)
    for exchange, routing_key, arguments in listed:
        found = _noted(routing_key, arguments)
        if found is None or sharing.restored(session, exchange, arguments, *found) or exchange != EXCHANGE:
            continue
        subscription, identifier = found
        session.subscriptions.put(subscription, identifier)
        if not subscription.qos:
            yield from _queue_at(session, session.sources[LOOSE])
            again.append(bindings(session, subscription, identifier)[0])
    for at in range(0, len(again), BATCH_MAX):
        for answer in (yield again[at : at + BATCH_MAX]):
            if isinstance(answer, NotDone):
                raise answer


def _noted(routing_key: str, arguments: dict[str, Any]) -> tuple[Subscription, int] | None:
    """The subscription that a binding is, with its identifier; None: it is none, for somebody else has made it."""
    options, identifier = arguments.get(OPTIONS), arguments.get(IDENTIFIER, 0)
    if not isinstance(options, int) or not isinstance(identifier, int) or options & 3 > MOST_QOS or not 0 <= identifier <= VARIABLE_MAX:
        return None
    pattern = routing_key.encode(errors="surrogateescape")
    pattern = pattern.removeprefix(NOTED)
    topic_filter = filter_of(pattern)
    if topic_filter is None:
        return None
    return Subscription(topic_filter, options & 3, bool(options & 4), bool(options & 8), options >> 4 & 3), identifier


def unsubscribe(session: Session, packet: Unsubscribe) -> Steps:
    """UNSUBSCRIBE; UNSUBACK when nothing more is bound. Those that wait behind it go on with it, some together."""
    packets = [packet]
    while packets:
        codes = yield from _unsubscribe_all(session, [topic_filter for one in packets for topic_filter in one.filters])
        answered = iter(codes)
        for one in packets:
            session.put(answers.unsuback(session.version, one.packet_id, [next(answered) for _ in one.filters]))
        packets = _next_of(session, Unsubscribe, lambda one: len(one.filters))
        if packets:
            yield None


def _unsubscribe_all(session: Session, filters: list[bytes]) -> Generator[Any, Any, list[int]]:
    """The codes; of a filter that is said twice the first time counts."""
    codes: list[int] = []
    for at in range(0, len(filters), BATCH_MAX):
        if codes:
            yield None
        batch = filters[at : at + BATCH_MAX]
        once = list(dict.fromkeys(batch))
        results = yield from side_by_side([_unsubscribe(session, topic_filter) for topic_filter in once])
        found = {one: int(outcomes.reason_of(result)) if isinstance(result, NotDone) else result for one, result in zip(once, results, strict=True)}
        for topic_filter in batch:
            codes.append(found[topic_filter])
            found[topic_filter] = found[topic_filter] or ReasonCode.NO_SUBSCRIPTION_EXISTED
    return codes


def _unsubscribe(session: Session, topic_filter: bytes) -> Generator[Any, Any, int]:
    """The code for one filter."""
    found = session.subscriptions.get(topic_filter)
    if topic_filter in session.shared:
        yield from sharing.unsubscribe(session, topic_filter)
        return ReasonCode.SUCCESS
    if found is None:
        return ReasonCode.NO_SUBSCRIPTION_EXISTED if shared(topic_filter) is not None else ReasonCode.TOPIC_FILTER_INVALID
    yield from _unbind(bindings(session, *found))
    session.subscriptions.take(topic_filter)
    retained.forget(session, topic_filter)
    session.subscribed_anew()
    return ReasonCode.SUCCESS
