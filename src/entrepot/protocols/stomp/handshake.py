"""CONNECT, heart-beats, ERROR, and the end of a connection.

    WAITING -> SECURING -> OPEN -> LEAVING -> CLOSED

An authenticator has `plain(user, password, peer, done)`: done(principal or None) is called now or later; and anonymous(peer).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from entrepot import __version__
from entrepot.model.errors import Reason, Refused
from entrepot.model.names import DEFAULT_NAMESPACE, namespace_of_vhost
from entrepot.net.session import peer_text
from entrepot.protocols.stomp.errors import StompError
from entrepot.protocols.stomp.events import Frame
from entrepot.protocols.stomp.headers import V10, VERSION_TEXTS, VERSIONS, encode

if TYPE_CHECKING:
    from typing import Any

    from entrepot.protocols.stomp.session import Session

WAITING, SECURING, OPEN, LEAVING, CLOSED = range(5)  # CONNECT is awaited; credentials are checked; ...; DISCONNECT waits for receipts; nothing is read
HEART_BEAT_MIN_MS = 500  # how often heart-beats can be sent at most
HEART_BEAT_MAX_MS = 86_400_000
IDLE_S = 30.0  # without heart-beats: how often buffers are given back
TOLERANCE = 2.0  # of a client's interval


@dataclass(frozen=True, slots=True)
class Settings:
    """Of STOMP connections: bytes, seconds, counts."""

    header_max: int = 65_536
    message_size_max: int = 134_217_728
    heart_beat_ms: int = 10_000
    handshake_timeout_s: float = 10.0
    prefetch_max: int = 0
    kept_max: int = 0  # messages that wait for a durable subscription; 0: any
    kept_bytes_max: int = 256 << 20
    namespace: str = DEFAULT_NAMESPACE  # of connections whose host is not one


def connect(session: Session, frame: Frame) -> None:
    """CONNECT or STOMP. Raises StompError."""
    said = frame.headers
    session.version = session.decoder.version
    if not session.version:
        raise StompError("version not supported", f"Supported are {', '.join(VERSIONS)}.")
    if session.version == V10:  # whose specification writes a blank behind the colon
        said = {name: value.strip(" \t") for name, value in said.items()}
    session.client_id = said.get("client-id", "")
    session.host = said.get("host", "/")
    client, server = _intervals(said.get("heart-beat", "0,0"))
    if session.version > V10:
        session.listen_s = max(client, session.settings.heart_beat_ms) / 1000 if client and session.settings.heart_beat_ms else 0.0
        session.beat_s = max(server, HEART_BEAT_MIN_MS) / 1000 if server else 0.0
    user = said.get("login", "")
    session.user = user
    session.state = SECURING
    session.authenticating = True
    session.update_paused()
    if not user and not said.get("passcode"):
        _authenticated(session, session.authenticator.anonymous(session.peer))
        return
    session.authenticator.plain(user, said.get("passcode", ""), session.peer, partial(_authenticated, session))


def _intervals(text: str) -> tuple[int, int]:
    """What a heart-beat header says: (how often its sender can, how often it wants to hear), in milliseconds."""
    numbers = [part.strip() for part in text.split(",")]
    if len(numbers) != 2 or not all(number.isdecimal() and number.isascii() and len(number) < 18 for number in numbers):
        raise StompError("malformed header", "heart-beat is not two numbers with a comma between them.")
    can, wants = (min(int(number), HEART_BEAT_MAX_MS) for number in numbers)
    return can, wants


def _authenticated(session: Session, principal: Any) -> None:
    session.authenticating = False
    if session.state != SECURING:
        return  # lost meanwhile
    try:
        if principal is None:
            raise StompError("access refused", "Bad login or passcode.")
        session.principal = principal
        session.attachment = _attachment(session)
    except StompError as error:
        session.fail(error)
        return
    session.attachment.wait_for_catalogue()
    session.give_room()
    session.state = OPEN
    session.next_deadline = 1.0
    said = [("version", VERSION_TEXTS[session.version]), ("session", session.name), ("server", f"Entrepot/{__version__}")]
    if session.version > V10:
        said.append(("heart-beat", f"{HEART_BEAT_MIN_MS},{session.settings.heart_beat_ms}"))
    session.put(encode("CONNECTED", said, 0))
    session.update_paused()
    session.go_on_soon()


def _attachment(session: Session) -> Any:
    """Raises StompError."""
    wanted = namespace_of_vhost(session.host)
    try:
        try:
            return session.attach(wanted)
        except Refused as refused:
            if refused.reason is not Reason.NOT_FOUND or not session.settings.namespace or session.settings.namespace == wanted:
                raise
            return session.attach(session.settings.namespace)
    except Refused as refused:
        if refused.reason is Reason.NOT_FOUND:
            raise StompError("access refused", f"There is no virtual host '{session.host[:100]}'.") from None
        raise StompError("access refused", f"User '{session.user[:100]}' may not use virtual host '{session.host[:100]}'.") from None


def fail(session: Session, error: StompError) -> None:
    """ERROR, then the end: what else arrives is not looked at, for a moment in which the client may read this."""
    if session.state == CLOSED:
        return
    session.journal(f"{who(session)}: connection closed: {error.text}: {error.detail}", session.first_bytes())
    receipt = b"receipt-id:%b\n" % error.receipt if error.receipt else b""
    body = error.detail.encode(errors="replace")
    said = [("message", error.text), ("content-type", "text/plain"), ("content-length", str(len(body)))]
    if not session.decoder.version:
        said.insert(0, ("version", ",".join(VERSIONS)))
    ready = encode("ERROR", said, session.version or V10, body)
    session.put(b"ERROR\n" + receipt + ready[6:])
    end(session)


def end(session: Session) -> None:
    """It is over but for what waits to be sent. The deadline that has passed by then ends it."""
    session.state = CLOSED
    session.release()
    session.paused = False
    session.next_deadline = 1.0
    session.wake()


def deadline_reached(session: Session, now: float) -> None:
    """Handshakes that take too long end; heart-beats go out; a silent peer is given up."""
    if session.state in (WAITING, SECURING):
        if session.next_deadline == 1.0:
            session.next_deadline = now + session.settings.handshake_timeout_s
            return
        session.journal(f"{who(session)}: not connected in {session.settings.handshake_timeout_s:g} s; connection closed")
        session.state = CLOSED
    if session.state == CLOSED:
        session.closing = True
        session.wake()
        return
    _beat(session, now)


def _beat(session: Session, now: float) -> None:
    """Beats are due when nothing was sent for two fifths of the interval: a sweep is late by a quarter of a second at most."""
    session.decoder.release()
    session.output.release()
    if session.heard or session.paused or not session.heard_at:
        session.heard_at = now
        session.heard = False
    if session.spoke or not session.spoke_at:
        session.spoke_at = now
        session.spoke = False
    deadline = now + IDLE_S
    if session.listen_s:
        silent = session.heard_at + session.listen_s * TOLERANCE
        if now >= silent:
            session.journal(f"{who(session)}: no heart-beat for {session.listen_s * TOLERANCE:g} s; connection closed")
            session.state = CLOSED
            session.release()
            session.closing = True
            session.wake()
            return
        deadline = min(deadline, now + session.listen_s / 2, silent)
    if session.beat_s:
        if now >= session.spoke_at + session.beat_s * 0.4:
            session.put(b"\n")
            session.spoke_at = now
        deadline = min(deadline, now + session.beat_s * 0.4)
    session.next_deadline = deadline


def shut_down(session: Session, reason: str) -> None:
    """The broker stops, or ends this connection."""
    if session.state in (OPEN, LEAVING):
        session.fail(StompError("connection closed", f"The broker ends this connection: {reason}"))
        session.closing = True
    else:
        session.state = CLOSED
        session.closing = True
        session.wake()


def who(session: Session) -> str:
    """The connection, as the log names it."""
    return peer_text(session.peer, user=session.user if session.principal is not None else "", virtual_host=session.host, client=session.client_id)
