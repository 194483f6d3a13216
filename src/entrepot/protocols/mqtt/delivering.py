"""What is sent to a client: deliveries of the port as PUBLISHes with what its subscriptions want of them, flow control, acknowledgements.

A message comes from one of the session's queues (subscribing.py says which). For each topic it is worked out once which filters match: that is its QoS at
most, its subscription identifiers, what becomes of RETAIN. What no filter matches any more is done with and not sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from entrepot.broker.calls.port import ACCEPT, Delivery, Settle, make_settle
from entrepot.broker.calls.session_requests import CompleteOutgoing, ReleaseOutgoing
from entrepot.protocols.mqtt import retained
from entrepot.protocols.mqtt.events import AckRun, Subscription
from entrepot.protocols.mqtt.flights import Span
from entrepot.protocols.mqtt.incoming import ids_of, pack_ids, runs_of
from entrepot.protocols.mqtt.output import RETAIN_AS_PUBLISHED, RETAIN_CLEAR, Template, make_template
from entrepot.protocols.mqtt.packets import MQTT_5, PacketType
from entrepot.protocols.mqtt.packing import KEPT, alike_count, flags_of, qos_of, skip
from entrepot.protocols.mqtt.properties import variable
from entrepot.protocols.mqtt.property_table import PropertyId
from entrepot.protocols.mqtt.reason_codes import ReasonCode
from entrepot.protocols.mqtt.topics import is_apart, shared, topic_of

if TYPE_CHECKING:
    from entrepot.protocols.mqtt.session import Session

STREAM = 1
OUTPUT_HIGH_BYTES = 1_048_576  # waiting to be sent in one tick: above this the subscriptions wait for the next
MATCHES_MAX = 1024  # topics that are remembered
MAIN, LOOSE = 0, 1
"""Places of a session's queues: of subscriptions of QoS 1 and 2, and of QoS 0."""

_TEMPLATES_MAX = 8
_PUBREL = int(PacketType.PUBREL)
_FAILED = 0x80
_IDENTIFIER, _ALIAS = bytes((PropertyId.SUBSCRIPTION_IDENTIFIER,)), bytes((PropertyId.TOPIC_ALIAS,))


class Source:
    """A queue of the session, as the port's token. `queue` "", `consumer_id` 0: there is none yet.

    `is_loose`: done with when it is taken. `subscription`: the shared one whose queue it is, with its identifier, and what it wants of which topic.
    """

    __slots__ = ("consumer_id", "ended", "identifier", "is_loose", "matches", "place", "queue", "subscription")

    def __init__(self, place: int, is_loose: bool) -> None:
        self.place = place
        self.is_loose = is_loose
        self.subscription: Subscription | None = None
        self.identifier = 0
        self.matches: dict[bytes, Match] = {}
        self.queue = ""
        self.consumer_id = 0
        self.ended = False


class Match:
    """What the subscriptions that match a topic want of its messages; `qos` -1: there are none.

    `is_apart`: that of QoS 0 is all that it comes by, whatever the exchange, which knows nothing of `$`, has put it into. `plain`: of messages of
    QoS 0 that are not KEPT; None: it is another for each, for the client takes topic aliases.
    """

    __slots__ = ("identifiers", "is_apart", "plain", "qos", "retain", "templates", "topic")

    def __init__(self, topic: bytes, qos: int, identifiers: bytes, retain: int) -> None:
        self.topic = topic
        self.qos = qos
        self.identifiers = identifiers
        self.retain = retain
        self.is_apart = not qos and is_apart(topic)
        self.templates: dict[tuple[int, bool, bool, int, bool], Template] = {}
        self.plain: Template | None = None


class Held:
    """`count` records of a delivery that cannot be sent yet, from `pos` on."""

    __slots__ = ("append_time_ms", "count", "data", "match", "offset", "pos", "redelivered", "source")

    def __init__(self, delivery: Delivery, match: Match) -> None:
        self.source: Source = delivery.token
        self.match = match
        self.data = delivery.data
        self.pos = delivery.position
        self.count = delivery.count
        self.offset = delivery.offset
        self.append_time_ms = delivery.append_time_ms
        self.redelivered = delivery.redelivered


def deliver(session: Session, delivery: Delivery) -> int:
    """See port.Sink."""
    source: Source = delivery.token
    if source.ended:  # the broker has not heard of it yet, and gives back what it had leased when it does
        return -1
    data, pos, count = delivery.data, delivery.position, delivery.count
    match = (session.matches if source.subscription is None else source.matches).get(data[3 : 3 + (data[1] << 8 | data[2])])
    if match is None:
        match = _remember(session, source, data)
    if session.copies.under_way:
        retained.came(session, delivery)
    is_kept = flags_of(data, pos) & KEPT != 0
    if match.qos < 0 or ((match.qos > 0 if source.is_loose else match.is_apart and source.place == MAIN) and not is_kept):
        if not delivery.settled:
            _settle(session, source, delivery.offset, count)
        return -1
    if not source.is_loose:
        held = Held(delivery, match)
        if session.held or not _begin(session, held):
            session.held.append(held)
            return -1
        end = held.pos
    elif match.plain is None or is_kept:
        end = _send(session, match, data, pos, count, delivery.append_time_ms)
    else:
        output = session.output
        end = output.deliver(data, pos, count, match.plain, 0, _age_s(session, delivery.append_time_ms))
        if output.written < count:
            end = _send(session, match, data, end, count - output.written, delivery.append_time_ms)
    _written(session)
    return end


def _written(session: Session) -> None:
    if session.output.size > OUTPUT_HIGH_BYTES:
        session.overfull = True
        session.attachment.writable = False
    session.wake()


def _settle(session: Session, source: Source, offset: int, count: int) -> None:
    """Done with, when what is written by now is handed to the socket."""
    session.unsettled.append(make_settle(STREAM, source.consumer_id, offset, count, ACCEPT))
    session.wake()


# ---- which subscriptions a topic is for


def _remember(session: Session, source: Source, data: bytes) -> Match:
    """What the topic's subscriptions want, from now on."""
    address = data[3 : 3 + int.from_bytes(data[1:3], "big")]
    matches = session.matches if source.subscription is None else source.matches
    if len(matches) >= MATCHES_MAX:
        matches.clear()
    found = matches[address] = _find(session, source, address)
    if found.qos >= 0 and not session.aliases.maximum:
        found.plain = _template(session, found, (0, False, False, 0, False))
    return found


def _find(session: Session, source: Source, address: bytes) -> Match:
    topic = topic_of(address[2 + address[0] :])
    if source.subscription is not None:
        wanted = [(source.subscription, source.identifier)]
    else:
        wanted = session.subscriptions.matching(topic) if topic is not None else []
    if topic is None or not wanted or (source.subscription is not None and is_apart(topic) and _begins_wild(source.subscription)):
        return Match(b"", -1, b"", RETAIN_CLEAR)
    identifiers = b""
    if session.version == MQTT_5:
        identifiers = b"".join([_IDENTIFIER + variable(identifier) for _, identifier in wanted if identifier])
    as_published = any(subscription.retain_as_published for subscription, _ in wanted)
    qos = max(subscription.qos for subscription, _ in wanted)
    return Match(topic, qos, identifiers, RETAIN_AS_PUBLISHED if as_published else RETAIN_CLEAR)


def _begins_wild(subscription: Subscription) -> bool:
    found = shared(subscription.filter)
    return found is not None and found[1][:1] in (b"+", b"#")


# ---- sending


def _begin(session: Session, held: Held) -> bool:
    """Send on what can be: whether that was all."""
    match, source, flights = held.match, held.source, session.flights
    while held.count:
        data, pos = held.data, held.pos
        count = alike_count(data, pos, held.count, match.qos)
        qos = qos_of(data, pos, match.qos)
        if not qos:
            held.pos = _send(session, match, data, pos, count, held.append_time_ms)
            _settle(session, source, held.offset, count)
        else:
            room = min(flights.room, count)
            begin = flights.begin_own if session.is_kept and source.place == MAIN else flights.begin
            spans = begin(source.place, held.offset, room, qos) if room else []
            for span in spans:
                held.pos = _send_span(session, held, span)
            if sum(span.count for span in spans) < count:
                _took(held, sum(span.count for span in spans))
                return False
        _took(held, count)
    return True


def _took(held: Held, count: int) -> None:
    held.offset += count
    held.count -= count


def _send_span(session: Session, held: Held, span: Span) -> int:
    """PUBLISHes of a span that was begun; the position behind it."""
    pos, at = held.pos, 0
    is_repeated = held.redelivered and session.is_kept and held.source.place == MAIN
    while at < span.count:
        pos, written = _deliver(session, held.match, held.data, pos, span.count - at, held.append_time_ms, span.qos, span.first_id + at, is_repeated)
        at += written
        if at < span.count:  # one that has expired, or is too long: it needs its identifier no more
            ended, _ = session.flights.acknowledged(span.first_id + at, 1, span.qos)
            assert ended
            _settle(session, held.source, span.first + at, 1)
            pos = skip(held.data, pos, 1)
            at += 1
    return pos


def _send(session: Session, match: Match, data: bytes, pos: int, count: int, append_time_ms: int) -> int:
    """PUBLISHes of QoS 0; the position behind them. What has expired, or is too long, is passed over."""
    while count:
        alike = alike_count(data, pos, count, 0) if match.identifiers else count
        count -= alike
        while alike:
            pos, written = _deliver(session, match, data, pos, alike, append_time_ms, 0, 0, False)
            alike -= written
            if alike:
                pos = skip(data, pos, 1)
                alike -= 1
    return pos


def _deliver(
    session: Session, match: Match, data: bytes, pos: int, count: int, append_time_ms: int, qos: int, first_id: int, is_repeated: bool
) -> tuple[int, int]:
    """Output.deliver(): the position behind what was written, and how many that are."""
    kept = flags_of(data, pos) & KEPT != 0
    alias, is_known = session.aliases.of(match.topic)
    key = qos, is_repeated, kept, alias, is_known
    template = match.templates.get(key)
    if template is None:
        if len(match.templates) >= _TEMPLATES_MAX:
            match.templates.clear()
        template = match.templates[key] = _template(session, match, key)
    end: int = session.output.deliver(data, pos, count, template, first_id, _age_s(session, append_time_ms))
    written: int = session.output.written
    if alias and not is_known and not written:
        session.aliases.forget(match.topic)
    return end, written


def _age_s(session: Session, append_time_ms: int) -> int:
    return max(0, session.wall_ms() - append_time_ms) // 1000 if append_time_ms else 0


def _template(session: Session, match: Match, key: tuple[int, bool, bool, int, bool]) -> Template:
    qos, is_repeated, kept, alias, is_known = key
    properties = b"" if kept else match.identifiers  # a kept one has its own
    if alias:
        properties += _ALIAS + alias.to_bytes(2, "big")
    assert session.terms is not None
    topic = b"" if is_known else match.topic
    return make_template(topic, qos, session.version == MQTT_5, properties, match.retain, is_repeated, session.terms.packet_max)


def pump(session: Session) -> None:
    """Send what was held, as far as the client takes it now."""
    held = session.held
    if not held:
        return
    while held and _begin(session, held[0]):
        held.popleft()
    _written(session)


# ---- acknowledgements


def _ranges(run: AckRun) -> Iterable[tuple[int, int]]:
    """(first identifier, count) of a run."""
    return ((run.first, run.count),) if run.ascending else runs_of(ids_of(run.packet_ids))


def _settlements(session: Session, spans: Iterable[Span]) -> list[Settle]:
    """The client has them."""
    sources = session.sources
    return [make_settle(STREAM, sources[span.source].consumer_id, span.first, span.count, ACCEPT) for span in spans if span.source in sources]


def _settle_spans(session: Session, spans: Iterable[Span]) -> None:
    for settlement in _settlements(session, spans):
        session.attachment.submit(settlement)


def acknowledged(session: Session, run: AckRun) -> None:
    """PUBACK, whatever its reason."""
    for first, count in _ranges(run):
        spans, _ = session.flights.acknowledged(first, count, 1)
        _settle_spans(session, spans)
    pump(session)


def received(session: Session, run: AckRun) -> None:
    """PUBREC; one that refuses ends its message (4.3.3)."""
    if run.reason_code >= _FAILED:
        for first, count in _ranges(run):
            spans, _ = session.flights.acknowledged(first, count, 2)
            _settle_spans(session, spans)
        pump(session)
        return
    for first, count in _ranges(run):
        spans, unknown = session.flights.received(first, count)
        if not session.is_kept:
            _settle_spans(session, spans)
        _release(session, first, count, unknown > 0, spans)
    session.wake()


def _release(session: Session, first: int, count: int, some_unknown: bool, spans: list[Span]) -> None:
    """PUBREL for identifiers from `first` on, when it is remembered that it is due; in version 5, for those that are not in flight, with the reason."""
    known: Sequence[int] = range(first, first + count)
    unknown: list[int] = []
    if some_unknown and session.version == MQTT_5:
        unknown = [packet_id for packet_id in known if not session.flights.is_released(packet_id)]
        known = [packet_id for packet_id in known if session.flights.is_released(packet_id)]
    if session.is_kept and spans:
        request = ReleaseOutgoing(session.number, _settlements(session, spans), runs_of(known))
        session.when_done(request, _PUBREL, pack_ids(known))
    else:
        session.output.acks(_PUBREL, pack_ids(known), 0)
    session.output.acks(_PUBREL, pack_ids(unknown), ReasonCode.PACKET_IDENTIFIER_NOT_FOUND)


def completed(session: Session, run: AckRun) -> None:
    """PUBCOMP."""
    for first, count in _ranges(run):
        session.flights.completed(first, count)
        if session.is_kept:
            session.submit(CompleteOutgoing(session.number, [(first, count)]))
    pump(session)


def resume(session: Session) -> None:
    """Packets that the session's connection before was to send: PUBREL for what its client has. Messages come again by themselves."""
    for span in session.flights.again():
        session.output.acks(_PUBREL, pack_ids(range(span.first_id, span.first_id + span.count)), 0)
