"""CONNECT, keep alive, take-over, DISCONNECT, and the end of a connection.

    WAITING -> SECURING -> OPENING -> OPEN -> LEAVING -> CLOSED

An authenticator has `plain(user, password, peer, done)`: done(principal or None) is called now or later; and anonymous(peer).
A user name `VHOST:NAME` says the virtual host, as RabbitMQ's clients write it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from entrepot.broker.calls.session_requests import CloseSession, OpenSession, Will
from entrepot.model.entry import CODEC_MQTT, HAS_EXPIRY
from entrepot.model.errors import OutcomeUnknown, Reason, Refused
from entrepot.model.names import DEFAULT_NAMESPACE, namespace_of_vhost
from entrepot.net.session import peer_text
from entrepot.protocols.mqtt import answers, authenticating, delivering, events, publishing, retained, subscribing, system_topics
from entrepot.protocols.mqtt.aliases import OutgoingAliases
from entrepot.protocols.mqtt.delivering import LOOSE, MAIN, Source
from entrepot.protocols.mqtt.events import Connect, Disconnect
from entrepot.protocols.mqtt.flights import Flights
from entrepot.protocols.mqtt.incoming import UNLIMITED, Incoming
from entrepot.protocols.mqtt.negotiation import Offer, agree, connack_properties
from entrepot.protocols.mqtt.packets import MQTT_5, PacketType
from entrepot.protocols.mqtt.properties import NONE, Properties
from entrepot.protocols.mqtt.property_table import PropertyId
from entrepot.protocols.mqtt.reason_codes import REASONS, MqttError, ReasonCode, broken_rule
from entrepot.protocols.mqtt.records import ENTRY_VERSION
from entrepot.protocols.mqtt.reserved import SESSION_PREFIX
from entrepot.protocols.mqtt.state import CLOSED, LEAVING, OPEN, OPENING, SECURING
from entrepot.protocols.mqtt.steps import Steps
from entrepot.protocols.mqtt.times import changed_expiry, silent_after

if TYPE_CHECKING:
    from entrepot.protocols.mqtt.session import Session

IDLE_S = 30.0  # without keep alive: how often buffers are given back
SWEEPS = 8  # looks at whether something was heard in one keep alive
REASON_MAX = 1000  # characters of a reason string
STOPS, REVOKED = ReasonCode.SERVER_SHUTTING_DOWN, ReasonCode.ADMINISTRATIVE_ACTION


@dataclass(frozen=True, slots=True)
class Settings:
    """Of MQTT connections: seconds, counts. `namespace`: of connections that name none; `is_only`: the only one that they may use."""

    offer: Offer = field(default_factory=Offer)
    handshake_timeout_s: float = 10.0
    namespace: str = DEFAULT_NAMESPACE
    is_only: bool = False
    subscriptions_max: int = 1000
    figures: Callable[[], Mapping[bytes, bytes]] | None = None  # by topic of $SYS
    queued_max: int = 0  # messages that wait in each queue of a session that is not kept; 0: any
    kept_max: int = 0  # that wait in the queue of one that is; 0: any
    kept_bytes_max: int = 256 << 20

    def kept_arguments(self) -> dict[str, Any]:
        """Of a queue that is there while its clients are away."""
        return {"x-max-length": self.kept_max, "x-kept-bytes": self.kept_bytes_max} if self.kept_max else {}


def connect(session: Session, packet: Connect) -> None:
    """CONNECT. Raises MqttError."""
    settings = session.settings
    session.version = packet.version
    session.connect = packet
    terms = session.terms = agree(packet, settings.offer, f"auto-{session.name}")
    session.client_id = terms.client_id
    if packet.will is not None:
        publishing.address_of(packet.will.topic)
    session.virtual_host, separator, session.user = (packet.user_name or "").rpartition(":")
    if separator and not session.virtual_host:
        raise MqttError(ReasonCode.BAD_USER_NAME_OR_PASSWORD, "a virtual host without a name")
    session.state = SECURING
    if packet.properties.get(PropertyId.AUTHENTICATION_METHOD) is not None:
        authenticating.begin(session, packet.properties)
        return
    session.authenticating = True
    session.update_paused()
    if not session.user and not packet.password:
        session.authenticated(session.authenticator.anonymous(session.peer))
        return
    try:
        password = (packet.password or b"").decode()
    except UnicodeDecodeError:
        raise _bad_password() from None
    session.authenticator.plain(session.user, password, session.peer, session.authenticated)


def _bad_password() -> MqttError:
    return MqttError(ReasonCode.BAD_USER_NAME_OR_PASSWORD, "bad user name or password")


def authenticated(session: Session, principal: Any) -> None:
    """Who it is is known; None: nobody."""
    session.authenticating = False
    if session.state != SECURING:
        return  # lost meanwhile
    try:
        if principal is None:
            raise _bad_password()
        session.principal = principal
        session.attachment = _attachment(session)
        session.attachment.wait_for_catalogue()
        session.state = OPENING
        session.begin(_open(session))
    except MqttError as error:
        session.fail(error)
        return
    session.update_paused()
    session.go_on_soon()


def _attachment(session: Session) -> Any:
    """Raises MqttError."""
    settings = session.settings
    namespace = namespace_of_vhost(session.virtual_host) if session.virtual_host else settings.namespace
    try:
        if settings.is_only and namespace != settings.namespace:
            raise Refused(Reason.NOT_FOUND, "another namespace")
        return session.attach(namespace)
    except Refused as refused:
        if refused.reason is Reason.NOT_FOUND:
            raise MqttError(ReasonCode.NOT_AUTHORIZED, f"there is no virtual host '{session.virtual_host[:100] or namespace}'") from None
        raise MqttError(ReasonCode.NOT_AUTHORIZED, f"user '{session.user[:100]}' may not use the virtual host") from None


def _open(session: Session) -> Steps:
    """The session is this connection's from now on. What there was of it is found again before CONNACK, and sent behind it."""
    packet, terms, offer = session.connect, session.terms, session.settings.offer
    assert packet is not None
    assert terms is not None
    try:
        opened = yield OpenSession(
            SESSION_PREFIX + terms.client_id, terms.clean_start, terms.session_expiry_s, _will(packet.will), session.settings.kept_arguments()
        )
    except OutcomeUnknown as error:  # whose owner has ended amid it: nothing but to come again
        raise MqttError(ReasonCode.SERVER_BUSY, str(error)) from None
    session.number = opened.number
    session.is_kept = opened.queue != ""
    session.flights = Flights(terms.receive_maximum)
    session.flights.restore(opened.released)
    session.incoming = Incoming(offer.receive_maximum if terms.version == MQTT_5 else UNLIMITED)
    session.incoming.restore(opened.incoming)
    session.aliases = OutgoingAliases(terms.topic_alias_maximum)
    session.sources = {MAIN: Source(MAIN, False), LOOSE: Source(LOOSE, True)}
    session.sources[MAIN].queue = opened.queue
    if opened.present and session.is_kept:
        yield from subscribing.restore(session)
        yield from retained.restore(session, opened.queue)
    said = connack_properties(packet, terms, offer)
    if session.login is not None:
        said.items += session.login.said(session.login.answer).items
    session.put(answers.connack(terms.version, opened.present, ReasonCode.SUCCESS, said, terms.packet_max))
    session.state = OPEN
    session.next_deadline = 1.0
    session.give_room()
    delivering.resume(session)
    for source in list(session.sources.values()):
        if source.queue:
            yield from subscribing.consume_again(session, source)
    retained.look(session)


def _will(will: events.Will | None) -> Will | None:
    if will is None:
        return None
    flags = HAS_EXPIRY if will.expires else 0
    return Will(publishing.address_of(will.topic), CODEC_MQTT, ENTRY_VERSION, flags, will.record, will.body_bytes, will.delay_s, will.retain)


# ---- the end


def disconnect(session: Session, packet: Disconnect) -> None:
    """DISCONNECT of the client: without its will, unless it says so. Raises MqttError."""
    if session.state == OPEN:
        assert session.terms is not None
        wanted_s = packet.properties.get(PropertyId.SESSION_EXPIRY_INTERVAL)
        expiry_s = changed_expiry(session.terms.session_expiry_s, wanted_s, session.settings.offer.session_expiry_max_s)
        if expiry_s is None:
            raise broken_rule("a session that was to end with its connection is to go on (3.14.2.2.2)")
        session.submit(CloseSession(session.number, expiry_s, packet.reason_code != ReasonCode.DISCONNECT_WITH_WILL_MESSAGE))
    session.state = LEAVING
    session.release()
    session.closing = True
    session.wake()


def taken_over(session: Session) -> None:
    """Another connection has its session."""
    fail(session, MqttError(ReasonCode.SESSION_TAKEN_OVER, "another connection has come with the same client identifier"))


def queue_gone(session: Session, source: Source) -> None:
    """A queue of the session, or of a shared subscription, was deleted, or may not be read any more: its client is to know, and to subscribe again."""
    source.ended = True
    fail(session, MqttError(ReasonCode.ADMINISTRATIVE_ACTION, f"the queue '{source.queue}' is gone, or may not be read any more"))


def fail(session: Session, error: MqttError) -> None:
    """The reason, where it can be said, then the end: what else arrives is not looked at, for a moment in which the client may read this."""
    if session.state >= LEAVING:
        return
    session.journal(
        f"{who(session)}: connection closed: {error} ({error.reason_code.name.lower()})", b"" if session.decoder.version else session.decoder.front()
    )
    _say(session, error)
    end(session)


def _say(session: Session, error: MqttError) -> None:
    version = session.version or session.decoder.version
    reason = Properties([(PropertyId.REASON_STRING, str(error)[:REASON_MAX])])
    if session.state == OPEN:
        if version == MQTT_5:
            assert session.terms is not None
            session.put(answers.disconnect(_allowed(PacketType.DISCONNECT, error.reason_code), reason, session.terms.packet_max))
    elif version:
        packet_max = session.terms.packet_max if session.terms is not None else 0
        session.put(answers.connack(version, False, _allowed(PacketType.CONNACK, error.reason_code), reason if version == MQTT_5 else NONE, packet_max))


def _allowed(packet: PacketType, reason_code: ReasonCode) -> ReasonCode:
    """The reason, or that there is one, in a packet that has no such reason."""
    return reason_code if reason_code in REASONS[packet] else ReasonCode.UNSPECIFIED_ERROR


def end(session: Session) -> None:
    """It is over but for what waits to be sent. The deadline that has passed by then ends it."""
    session.state = LEAVING
    session.release()
    session.paused = False
    session.next_deadline = 1.0
    session.wake()


def shut_down(session: Session, reason: str, code: ReasonCode = STOPS) -> None:
    """The broker stops, or ends this connection."""
    fail(session, MqttError(code, f"the broker ends this connection: {reason}"))
    session.state = CLOSED
    session.closing = True
    session.wake()


# ---- time


def deadline_reached(session: Session, now: float) -> None:
    """Handshakes that take too long end; a silent peer is given up; buffers are given back."""
    if session.state < OPEN:
        if session.next_deadline == 1.0:
            session.next_deadline = now + session.settings.handshake_timeout_s
            return
        session.journal(f"{who(session)}: not connected in {session.settings.handshake_timeout_s:g} s; connection closed")
        session.release()
        session.state = CLOSED
    if session.state >= LEAVING:
        session.state = CLOSED
        session.closing = True
        session.wake()
        return
    session.decoder.release()
    session.output.release()
    retained.look(session)
    _look(session, now)
    if session.state == OPEN:
        system_topics.look(session, now)


def _look(session: Session, now: float) -> None:
    """Whether the client is still there (3.1.2.10): something was heard since the last look, a part of the keep alive ago."""
    assert session.terms is not None
    if session.heard or session.paused or not session.heard_at:
        session.heard_at = now
        session.heard = False
    keep_alive_s = session.terms.keep_alive_s
    given_up = silent_after(session.heard_at, keep_alive_s)
    if not given_up:
        session.next_deadline = now + IDLE_S
    elif now < given_up:
        session.next_deadline = min(now + keep_alive_s / SWEEPS, given_up)
    else:
        fail(session, MqttError(ReasonCode.KEEP_ALIVE_TIMEOUT, f"nothing was heard for 1.5 times the keep alive of {keep_alive_s} s"))


def who(session: Session) -> str:
    """The connection, as the log names it."""
    user = session.user if session.principal is not None else ""
    return peer_text(session.peer, user=user, virtual_host=session.virtual_host, client=session.client_id)
