"""What is sent to a client: deliveries of the port as PUBLISHes with what its subscriptions want of them, flow control, acknowledgements.

A message comes from one of the session's queues (subscribing.py says which). For each topic it is worked out once which filters match: that is its QoS at
most, its subscription identifiers, what becomes of RETAIN. What no filter matches any more is done with and not sent.
"""

from __future__ import annotations

from collections.abc import Sequence

import cython

from entrepot.broker.calls.port import ACCEPT, Delivery, Settle
from entrepot.broker.calls.session_requests import CompleteOutgoing, ReleaseOutgoing
from entrepot.model.addresses import key_in, pack_address
from entrepot.protocols.mqtt import retained
from entrepot.protocols.mqtt.events import AckRun, Subscription
from entrepot.protocols.mqtt.flights import Span
from entrepot.protocols.mqtt.incoming import pack_ids
from entrepot.protocols.mqtt.output import RETAIN_AS_PUBLISHED, RETAIN_CLEAR, Template
from entrepot.protocols.mqtt.packets import MQTT_5, PacketType
from entrepot.protocols.mqtt.packing import EXPIRES, KEPT
from entrepot.protocols.mqtt.properties import variable
from entrepot.protocols.mqtt.property_table import PropertyId
from entrepot.protocols.mqtt.reason_codes import ReasonCode
from entrepot.protocols.mqtt.state import STREAM, State
from entrepot.protocols.mqtt.topics import LONG_BYTES, is_apart, key_of, shared, topic_of

if not cython.compiled:
    from entrepot.broker.calls.port import make_settle
    from entrepot.model.octets import get_u16_be, take
    from entrepot.protocols.mqtt.incoming import ids_of, runs_of
    from entrepot.protocols.mqtt.output import make_template
    from entrepot.protocols.mqtt.packing import alike_count, flags_of, qos_of, skip

EXCHANGE = b"amq.topic"
OUTPUT_HIGH_BYTES = 1_048_576  # waiting to be sent in one tick: above this the subscriptions wait for the next
MATCHES_MAX = 1024  # topics that are remembered; of long ones fewer
MAIN, LOOSE = 0, 1
"""Places of a session's queues: of subscriptions of QoS 1 and 2, and of QoS 0."""

_TEMPLATES_MAX = 8
_PUBREL = int(PacketType.PUBREL)
_FAILED = 0x80
_STREAM, _ACCEPT, _V5 = STREAM, ACCEPT, MQTT_5
_MAIN = MAIN
_OUTPUT_HIGH = OUTPUT_HIGH_BYTES
_KEPT, _EXPIRES = KEPT, EXPIRES
_IS_REPEATED, _IS_KEPT, _IS_KNOWN, _ALIAS_SHIFT = 4, 8, 16, 5
"""Of what a template is for: the QoS in the lowest two bits, these, the topic alias above."""
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

    `is_apart`: that of QoS 0 is all that it comes by, whatever the exchange, which knows nothing of `$`, has put it into. `has_alias`: it may
    have one. `template`: the last one that was used, and `key` what for.
    """

    __slots__ = ("has_alias", "identifiers", "is_apart", "key", "qos", "retain", "template", "templates", "topic")

    def __init__(self, topic: bytes, qos: int, identifiers: bytes, retain: int) -> None:
        self.topic = topic
        self.qos = qos
        self.identifiers = identifiers
        self.retain = retain
        self.is_apart = not qos and is_apart(topic)
        self.has_alias = False
        self.templates: dict[int, Template] = {}
        self.template: Template | None = None
        self.key = -1


class Held:
    """`count` records of a delivery that cannot be sent yet, from `pos` on."""

    __slots__ = ("append_time_ms", "count", "data", "match", "offset", "pos", "redelivered", "source")

    source: Source
    match: Match
    data: bytes
    pos: int
    count: int
    offset: int
    append_time_ms: int
    redelivered: bool


def _held(delivery: Delivery, match: Match) -> Held:
    held = Held.__new__(Held)
    held.source = delivery.token
    held.match = match
    held.data = delivery.data
    held.pos = delivery.position
    held.count = delivery.count
    held.offset = delivery.offset
    held.append_time_ms = delivery.append_time_ms
    held.redelivered = delivery.redelivered
    return held


def deliver(session: State, delivery: Delivery) -> int:
    """See port.Sink."""
    source: Source = delivery.token
    if source.ended:  # the broker has not heard of it yet, and gives back what it had leased when it does
        return -1
    data = delivery.data
    pos = delivery.position
    matches = session.matches if source.subscription is None else source.matches
    match = matches.get(take(data, 3, get_u16_be(data, 1)))
    if match is None:
        match = _remember(session, source, data)
    if session.copies.under_way:
        retained.came(session, delivery)
    if match.qos < 0 or ((match.qos > 0 if source.is_loose else match.is_apart and source.place == _MAIN) and not flags_of(data, pos) & _KEPT):
        if not delivery.settled:
            _settle(session, source, delivery.offset, delivery.count)
        return -1
    if source.is_loose:
        end = _send(session, match, data, pos, delivery.count, delivery.append_time_ms)
    else:
        held = _held(delivery, match)
        if not session.held and _begin(session, held):
            end = held.pos
        else:
            session.held.append(held)
            end = -1
    _written(session)
    return end


def _written(session: State) -> int:
    size: int = session.output.size
    if size > _OUTPUT_HIGH:
        session.overfull = True
        session.attachment.writable = False
    if session.unsettled and not size:  # nothing of it was sent
        session.settle_soon()
    session.wake()
    return 0


def _settle(session: State, source: Source, offset: int, count: int) -> int:
    """Done with, when what is written by now is handed to the socket; soon, if nothing is."""
    session.unsettled.append(make_settle(_STREAM, source.consumer_id, offset, count, _ACCEPT))
    if not session.output.size:
        session.settle_soon()
    return 0


# ---- which subscriptions a topic is for


def _remember(session: State, source: Source, data: bytes) -> Match:
    """What the topic's subscriptions want, from now on."""
    address = take(data, 3, get_u16_be(data, 1))
    matches = session.matches if source.subscription is None else source.matches
    if len(matches) >= (MATCHES_MAX if source.subscription is None else MATCHES_MAX // max(1, len(session.shared))) // (1 + len(address) // LONG_BYTES):
        matches.clear()
    found = matches[address] = _find(session, source, address)
    found.has_alias = session.aliases.maximum > 0
    return found


def _find(session: State, source: Source, address: bytes) -> Match:
    topic = topic_of(key_in(address))
    if source.subscription is not None:
        wanted = [(source.subscription, source.identifier)]
    else:
        wanted = session.subscriptions.matching(topic) if topic is not None else []
    if topic is None or not wanted or (source.subscription is not None and is_apart(topic) and _begins_wild(source.subscription)):
        return Match(b"", -1, b"", RETAIN_CLEAR)
    identifiers = _identifiers(session, wanted)
    as_published = any(subscription.retain_as_published for subscription, _ in wanted)
    qos = max(subscription.qos for subscription, _ in wanted)
    return Match(topic, qos, identifiers, RETAIN_AS_PUBLISHED if as_published else RETAIN_CLEAR)


def _identifiers(session: State, wanted: list[tuple[Subscription, int]]) -> bytes:
    return b"".join([_IDENTIFIER + variable(identifier) for _, identifier in wanted if identifier]) if session.version == MQTT_5 else b""


def identifiers_of(session: State, topic: bytes) -> bytes:
    """Of the subscriptions that match, as properties."""
    return _identifiers(session, session.subscriptions.matching(topic))


def _begins_wild(subscription: Subscription) -> bool:
    found = shared(subscription.filter)
    return found is not None and found[1][:1] in (b"+", b"#")


# ---- sending


def _begin(session: State, held: Held) -> bool:
    """Send on what can be: whether that was all."""
    match, source, flights = held.match, held.source, session.flights
    is_own = session.is_kept and source.place == _MAIN
    while held.count:
        count = alike_count(held.data, held.pos, held.count, match.qos)
        qos = qos_of(held.data, held.pos, match.qos)
        if not qos:
            held.pos = _send(session, match, held.data, held.pos, count, held.append_time_ms)
            _settle(session, source, held.offset, count)
            begun = count
        else:
            begun = 0
            room = min(flights.room(), count)
            if room:
                spans = flights.begin_own(source.place, held.offset, room, qos) if is_own else flights.begin(source.place, held.offset, room, qos)
                for span in spans:
                    held.pos = _send_span(session, held, span)
                    begun += span.count
        held.offset += begun
        held.count -= begun
        if begun < count:
            return False
    return True


def _send_span(session: State, held: Held, span: Span) -> int:
    """PUBLISHes of a span that was begun; the position behind it."""
    pos = held.pos
    at = 0
    is_repeated = held.redelivered and session.is_kept and held.source.place == _MAIN
    while at < span.count:
        pos = _deliver(session, held.match, held.data, pos, span.count - at, held.append_time_ms, span.qos, span.first_id + at, is_repeated)
        at += session.output.written
        if at < span.count:  # one that has expired, or is too long: it needs its identifier no more
            ended, _ = session.flights.acknowledged(span.first_id + at, 1, span.qos)
            assert ended
            _settle(session, held.source, span.first + at, 1)
            pos = skip(held.data, pos, 1)
            at += 1
    return pos


def _send(session: State, match: Match, data: bytes, pos: int, count: int, append_time_ms: int) -> int:
    """PUBLISHes of QoS 0; the position behind them. What has expired, or is too long, is passed over."""
    while count:
        alike = alike_count(data, pos, count, 0) if match.identifiers else count
        count -= alike
        while alike:
            pos = _deliver(session, match, data, pos, alike, append_time_ms, 0, 0, False)
            alike -= session.output.written
            if alike:
                pos = skip(data, pos, 1)
                alike -= 1
    return pos


def tell(session: State, topic: bytes, record: bytes) -> int:
    """A message of nobody's, of QoS 0: its client alone is told it, if it is subscribed."""
    address = pack_address(EXCHANGE, key_of(topic))
    data = b"\x01" + len(address).to_bytes(2, "big") + address + record
    match = session.matches.get(address)
    if match is None:
        match = _remember(session, session.sources[MAIN], data)
    if match.qos >= 0:
        _send(session, match, data, len(data) - len(record), 1, 0)
        _written(session)
    return 0


def _deliver(session: State, match: Match, data: bytes, pos: int, count: int, append_time_ms: int, qos: int, first_id: int, is_repeated: bool) -> int:
    """Output.deliver(): the position behind what was written."""
    flags = flags_of(data, pos)
    key = qos | (_IS_REPEATED if is_repeated else 0) | (_IS_KEPT if flags & _KEPT else 0)
    if match.has_alias:
        return _deliver_by_alias(session, match, data, pos, count, append_time_ms, first_id, key)
    template = match.template if key == match.key else _template_of(session, match, key)
    age_s = _age_s(session, append_time_ms) if append_time_ms and (count > 1 or flags & _EXPIRES) else 0
    end: int = session.output.deliver(data, pos, count, template, first_id, age_s)
    return end


def _deliver_by_alias(session: State, match: Match, data: bytes, pos: int, count: int, append_time_ms: int, first_id: int, key: int) -> int:
    alias, is_known = session.aliases.of(match.topic)
    key = alias << _ALIAS_SHIFT | (_IS_KNOWN if is_known else 0) | key
    template = match.template if key == match.key else _template_of(session, match, key)
    end: int = session.output.deliver(data, pos, count, template, first_id, _age_s(session, append_time_ms) if append_time_ms else 0)
    if alias and not is_known and not session.output.written:
        session.aliases.forget(match.topic)
    return end


def _age_s(session: State, append_time_ms: int) -> int:
    return max(0, session.wall_ms() - append_time_ms) // 1000


def _template_of(session: State, match: Match, key: int) -> Template:
    template = match.templates.get(key)
    if template is None:
        if len(match.templates) >= _TEMPLATES_MAX:
            match.templates.clear()
        template = match.templates[key] = _template(session, match, key)
    match.key = key
    match.template = template
    return template


def _template(session: State, match: Match, key: int) -> Template:
    properties = b"" if key & _IS_KEPT else match.identifiers  # a kept one has its own
    alias = key >> _ALIAS_SHIFT
    if alias:
        properties += _ALIAS + alias.to_bytes(2, "big")
    assert session.terms is not None
    topic = b"" if key & _IS_KNOWN else match.topic
    return make_template(topic, key & 3, session.version == _V5, properties, match.retain, key & _IS_REPEATED != 0, session.terms.packet_max)


def pump(session: State) -> int:
    """Send what was held, as far as the client takes it now."""
    held = session.held
    if not held:
        return 0
    while held and _begin(session, held[0]):
        held.popleft()
    return _written(session)


# ---- acknowledgements


def _ranges(run: AckRun) -> list[tuple[int, int]]:
    """(first identifier, count) of a run."""
    return [(run.first, run.count)] if run.ascending else runs_of(ids_of(run.packet_ids))


def _settlements(session: State, spans: list[Span]) -> list[Settle]:
    """The client has them."""
    found = []
    for span in spans:
        source = session.sources.get(span.source)
        if source is not None:
            found.append(make_settle(_STREAM, source.consumer_id, span.first, span.count, _ACCEPT))
    return found


def _settle_spans(session: State, spans: list[Span]) -> int:
    for settlement in _settlements(session, spans):
        session.attachment.submit(settlement)
    return 0


def acknowledged(session: State, run: AckRun) -> int:
    """PUBACK, whatever its reason."""
    for first, count in _ranges(run):
        spans, _ = session.flights.acknowledged(first, count, 1)
        _settle_spans(session, spans)
    return pump(session)


def received(session: State, run: AckRun) -> int:
    """PUBREC; one that refuses ends its message (4.3.3)."""
    if run.reason_code >= _FAILED:
        for first, count in _ranges(run):
            spans, _ = session.flights.acknowledged(first, count, 2)
            _settle_spans(session, spans)
        return pump(session)
    for first, count in _ranges(run):
        spans, unknown = session.flights.received(first, count)
        if not session.is_kept:
            _settle_spans(session, spans)
        _release(session, first, count, unknown > 0, spans)
    session.wake()
    return 0


def _release(session: State, first: int, count: int, some_unknown: bool, spans: list[Span]) -> int:
    """PUBREL for identifiers from `first` on, when it is remembered that it is due; in version 5, for those that are not in flight, with the reason."""
    known: Sequence[int] = range(first, first + count)
    unknown: list[int] = []
    if some_unknown and session.version == _V5:
        unknown = [packet_id for packet_id in known if not session.flights.is_released(packet_id)]
        known = [packet_id for packet_id in known if session.flights.is_released(packet_id)]
    if not spans:  # those of before may still be waited for
        due = {packet_id for kind, packet_ids in session.releasing.values() if kind == _PUBREL for packet_id in ids_of(packet_ids)}
        known = [packet_id for packet_id in known if packet_id not in due] if due else known
    if session.is_kept and spans:
        request = ReleaseOutgoing(session.number, _settlements(session, spans), runs_of(known))
        session.when_done(request, _PUBREL, pack_ids(known))
    else:
        session.output.acks(_PUBREL, pack_ids(known), 0)
    session.output.acks(_PUBREL, pack_ids(unknown), int(ReasonCode.PACKET_IDENTIFIER_NOT_FOUND))
    return 0


def completed(session: State, run: AckRun) -> int:
    """PUBCOMP."""
    for first, count in _ranges(run):
        unknown = session.flights.completed(first, count)
        if session.is_kept and unknown < count:
            session.submit(CompleteOutgoing(session.number, [(first, count)]))
    return pump(session)


def resume(session: State) -> None:
    """Packets that the session's connection before was to send: PUBREL for what its client has. Messages come again by themselves."""
    for span in session.flights.again():
        session.output.acks(_PUBREL, pack_ids(range(span.first_id, span.first_id + span.count)), 0)
