"""The connection class of AMQP 0-9-1: greeting, SASL, tuning, opening, closing, heartbeats.

    HEADER -> STARTED -> SECURING -> TUNING -> TUNED -> OPEN -> CLOSING -> CLOSED (states.py)

EXPECTED is the table of what a client may send in which state. An authenticator has
`plain(user, password, peer, done)`: done(principal or None) is called now or later.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from entrepot import __version__
from entrepot.model.errors import Reason, Refused
from entrepot.model.names import namespace_of_vhost
from entrepot.net.session import peer_text
from entrepot.protocols.amqp091 import states
from entrepot.protocols.amqp091.events import PROTOCOL_HEADER, Control, ProtocolHeader
from entrepot.protocols.amqp091.fields import decode_table
from entrepot.protocols.amqp091.methods import MethodFrame, decode, encode_frame
from entrepot.protocols.amqp091.reply_codes import AmqpError, ReplyCode

if TYPE_CHECKING:
    from entrepot.protocols.amqp091.session import Session

FRAME_MIN = 4096  # bytes; the specification's frame-min-size
CLOSE_TIMEOUT_S = 10.0
HEARTBEATS_MISSED_MAX = 4  # half intervals of silence
IDLE_S = 30.0  # without heartbeats: how often buffers are given back

CAPABILITIES = {
    "publisher_confirms": True,
    "exchange_exchange_bindings": True,
    "basic.nack": True,
    "consumer_cancel_notify": True,
    "connection.blocked": True,
    "consumer_priorities": True,
    "authentication_failure_close": True,
    "per_consumer_qos": True,
    "direct_reply_to": True,
}
MECHANISMS = b"PLAIN AMQPLAIN"


@dataclass(frozen=True, slots=True)
class Settings:
    """Limits of AMQP connections: bytes, seconds, counts."""

    frame_max: int = 131_072
    channel_max: int = 2047
    message_size_max: int = 134_217_728
    heartbeat_s: int = 60
    handshake_timeout_s: float = 10.0
    consumer_prefetch_max: int = 0


def on_event(session: Session, event: Any) -> None:
    """An event before the connection is open, or after it began to close. Raises AmqpError."""
    if session.state == states.CLOSED:
        return
    if isinstance(event, ProtocolHeader):
        _greet(session, event)
        return
    if isinstance(event, AmqpError):
        if session.state == states.CLOSING:
            _end(session)  # its answer can no longer be read
            return
        raise event
    if session.state == states.CLOSING:
        if isinstance(event, Control) and event.channel == 0:
            _while_closing(session, decode(event.payload))
        return
    if session.state == states.SECURING:
        session.early.append(event)
        return
    if not isinstance(event, Control) or event.channel != 0:
        raise AmqpError(ReplyCode.CHANNEL_ERROR, "expected 'connection.open'" if session.state == states.TUNED else "the connection is not open yet")
    frame = decode(event.payload)
    expected = EXPECTED.get(session.state, {})
    handler = expected.get(frame.method.name)
    if handler is None:
        names = " or ".join(sorted(expected)) or "nothing"
        raise AmqpError(ReplyCode.COMMAND_INVALID, f"{frame.method.name} is not expected now; send {names}", frame.method.class_id, frame.method.method_id)
    handler(session, frame)


def _greet(session: Session, header: ProtocolHeader) -> None:
    if not header.supported:
        _note_greeting(session, header.data)
        session.output.raw(PROTOCOL_HEADER)
        session.state = states.CLOSED
        session.closing = True
        session.wake()
        return
    properties = {
        "capabilities": CAPABILITIES,
        "cluster_name": "entrepot",
        "product": "Entrepot",
        "version": __version__,
        "platform": "Python",
        "information": "RabbitMQ's AMQP 0-9-1; see docs/amqp091.md for what is supported",
    }
    _send(session, "connection.start", version_major=0, version_minor=9, server_properties=properties, mechanisms=MECHANISMS, locales=b"en_US")
    session.state = states.STARTED


def _note_greeting(session: Session, greeting: bytes) -> None:
    if greeting.startswith(b"AMQP"):
        session.journal(f"{session.peer}: connection closed: AMQP {'.'.join(map(str, greeting[5:]))} is asked for, and 0-9-1 is spoken here")
    else:
        text = greeting.decode("latin-1")
        session.journal(f"{session.peer}: connection closed: it began with '{text}' instead of AMQP's protocol header", greeting)


def _start_ok(session: Session, frame: MethodFrame) -> None:
    session.client_properties = frame["client_properties"]
    mechanism = frame["mechanism"]
    response = _octets(frame["response"])
    if mechanism == "PLAIN":
        parts = response.split(b"\0")
        if len(parts) != 3:
            raise AmqpError(ReplyCode.SYNTAX_ERROR, "PLAIN response is not 'authzid NUL user NUL password'")
        user, password = parts[1], parts[2]
    elif mechanism == "AMQPLAIN":
        table, _ = decode_table(len(response).to_bytes(4, "big") + response, 0)
        user, password = _octets(table.get("LOGIN")), _octets(table.get("PASSWORD"))
    else:
        raise AmqpError(ReplyCode.COMMAND_INVALID, f"unknown authentication mechanism '{mechanism}'; offered are {MECHANISMS.decode()}")
    session.user = user
    session.state = states.SECURING
    session.authenticating = True
    session.paused = True
    done = partial(_authenticated, session, mechanism)
    session.authenticator.plain(user.decode("utf-8", "replace"), password.decode("utf-8", "replace"), session.peer, done)


def _octets(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    return value if isinstance(value, bytes) else b""


def _authenticated(session: Session, mechanism: str, principal: Any) -> None:
    session.authenticating = False
    session.paused = False
    if session.state != states.SECURING:
        return  # lost meanwhile
    if principal is None:
        session.journal(f"{who(session)}: login of '{session.user.decode('utf-8', 'replace')}' refused ({mechanism})")
        session.state = states.CLOSED
        session.closing = True
        if client_can(session, "authentication_failure_close"):
            text = f"ACCESS_REFUSED - Login was refused using authentication mechanism {mechanism}. For details see the broker logfile."
            _send(session, "connection.close", reply_code=403, reply_text=text, class_id=0, method_id=0)
        session.wake()
        return
    session.principal = principal
    settings = session.settings
    session.give_room()
    _send(session, "connection.tune", channel_max=settings.channel_max, frame_max=settings.frame_max, heartbeat=settings.heartbeat_s)
    session.state = states.TUNING
    early = session.early
    session.early = []
    if early:
        session.come_next(early)
    session.wake()


def _tune_ok(session: Session, frame: MethodFrame) -> None:
    settings = session.settings
    frame_max = frame["frame_max"] or settings.frame_max
    channel_max = frame["channel_max"] or settings.channel_max
    if not FRAME_MIN <= frame_max <= settings.frame_max:
        raise AmqpError(ReplyCode.NOT_ALLOWED, f"negotiated frame_max = {frame_max} is outside {FRAME_MIN} to {settings.frame_max}", 10, 31)
    if channel_max > settings.channel_max:
        raise AmqpError(
            ReplyCode.NOT_ALLOWED, f"negotiated channel_max = {channel_max} is higher than the maximum allowed value ({settings.channel_max})", 10, 31
        )
    session.frame_max = frame_max
    session.channel_max = channel_max
    session.decoder.set_frame_max(frame_max)
    session.decoder.channel_max = channel_max
    session.heartbeat_s = frame["heartbeat"]
    session.state = states.TUNED


def _open(session: Session, frame: MethodFrame) -> None:
    vhost = frame["virtual_host"]
    try:
        session.attachment = session.port.attach(session, session.principal, namespace_of_vhost(vhost))
    except Refused as refused:
        if refused.reason is Reason.NOT_FOUND:
            raise AmqpError(ReplyCode.NOT_ALLOWED, f"vhost {vhost} not found", 10, 40) from None
        user = session.user.decode("utf-8", "replace")
        raise AmqpError(ReplyCode.NOT_ALLOWED, f"access to vhost '{vhost}' refused for user '{user}'", 10, 40) from None
    session.attachment.wait_for_catalogue()
    session.vhost = vhost
    session.state = states.OPEN
    session.silent_periods = 0
    session.next_deadline = 1.0
    _send(session, "connection.open_ok")
    if session.blocked_reason:
        tell_blocked(session, True, session.blocked_reason)


def close_requested(session: Session, frame: MethodFrame) -> None:
    """connection.close of the client: say goodbye, and leave the socket to it for a while. An end of the stream beside close-ok looks like a failure."""
    _send(session, "connection.close_ok")
    session.state = states.CLOSED
    _detach(session)
    session.paused = False  # else its end of the stream would not be seen
    _await_end(session)


def _while_closing(session: Session, frame: MethodFrame) -> None:
    if frame.method.name == "connection.close":  # both at once: its close-ok, or its end of the stream, is still to come
        _send(session, "connection.close_ok")
    elif frame.method.name == "connection.close_ok":
        _end(session)


def _await_end(session: Session) -> None:
    """deadline_reached sets the time that the peer is given to end the connection."""
    session.next_deadline = 1.0
    session.silent_periods = -1


def _end(session: Session) -> None:
    session.state = states.CLOSED
    session.closing = True
    _detach(session)
    session.wake()


def _detach(session: Session) -> None:
    session.channels.clear()
    session.by_stream.clear()
    session.deferred_count = 0
    if session.staging is not None:
        session.staging.hold(0)
    session.recent = None
    if session.attachment is not None:
        session.attachment.close()


def close_with(session: Session, error: AmqpError) -> None:
    """connection.close: tell the peer why, release what it held, wait for its answer where its bytes can still be read."""
    session.journal(f"{who(session)}: connection closed: {error.reply_text}")
    if session.state < states.TUNED and session.state != states.TUNING:
        session.state = states.CLOSED
        session.closing = True
        session.wake()
        return
    if session.state >= states.CLOSING:
        return
    _send(session, "connection.close", reply_code=int(error.reply_code), reply_text=error.reply_text, class_id=error.class_id, method_id=error.method_id)
    session.state = states.CLOSING
    _detach(session)
    session.paused = False
    _await_end(session)
    if session.decoder.error is not None:
        session.state = states.CLOSED
        session.closing = True


def shut_down(session: Session, reason: str) -> None:
    """The broker stops, or ends this connection: 320, as RabbitMQ does."""
    if states.TUNED <= session.state < states.CLOSED:
        close_with(session, AmqpError(ReplyCode.CONNECTION_FORCED, f"broker forced connection closure with reason '{reason}'"))
    else:
        session.state = states.CLOSED
        session.closing = True
        session.wake()


def deadline_reached(session: Session, now: float) -> None:
    """Handshakes and closings that take too long end; heartbeats go out every half interval; a silent peer is given up."""
    if session.state == states.OPEN:
        _beat(session, now)
        return
    if session.silent_periods <= 0 and session.next_deadline == 1.0:
        timeout_s = CLOSE_TIMEOUT_S if session.state >= states.CLOSING else session.settings.handshake_timeout_s
        session.next_deadline = now + timeout_s
        return
    if session.state < states.CLOSING:
        session.journal(f"{who(session)}: handshake not finished in {session.settings.handshake_timeout_s:g} s; connection closed")
    session.state = states.CLOSED
    session.closing = True
    session.wake()


def _beat(session: Session, now: float) -> None:
    session.decoder.release()  # what a busy connection needs it has again with its next read
    session.output.release()
    if not session.heartbeat_s:
        session.next_deadline = now + IDLE_S
        return
    session.next_deadline = now + session.heartbeat_s / 2
    if session.heard or session.paused:
        session.silent_periods = 0
    else:
        session.silent_periods += 1
        if session.silent_periods >= HEARTBEATS_MISSED_MAX:
            session.journal(f"{who(session)}: missed heartbeats from client, timeout: {session.heartbeat_s}s; connection closed")
            session.state = states.CLOSED
            session.closing = True
            _detach(session)
            session.wake()
            return
    session.heard = False
    if not session.spoke:
        session.output.heartbeat()
        session.wake()
    session.spoke = False


def who(session: Session) -> str:
    """The connection, as the log names it: address, and user, virtual host and the name that the client gave it, as far as they are known."""
    name = session.client_properties.get("connection_name")
    user = session.user.decode("utf-8", "replace") if session.principal is not None else ""
    return peer_text(session.peer, user=user, virtual_host=session.vhost, connection=name if isinstance(name, str) else "")


def client_can(session: Session, capability: str) -> bool:
    """Whether the client said that it understands this extension."""
    capabilities = session.client_properties.get("capabilities")
    return isinstance(capabilities, dict) and capabilities.get(capability) is True


def tell_blocked(session: Session, blocked: bool, reason: str) -> None:
    """connection.blocked or unblocked, to a client that understands it."""
    if not client_can(session, "connection.blocked"):
        return
    if blocked:
        _send(session, "connection.blocked", reason=reason.encode()[:255].decode(errors="ignore"))
    else:
        _send(session, "connection.unblocked")


def _send(session: Session, name: str, **arguments: Any) -> None:
    session.output.raw(encode_frame(0, name, **arguments))
    session.wake()


EXPECTED = {
    states.STARTED: {"connection.start_ok": _start_ok, "connection.close": close_requested},
    states.TUNING: {"connection.tune_ok": _tune_ok, "connection.close": close_requested},
    states.TUNED: {"connection.open": _open, "connection.close": close_requested},
}
