"""Enhanced authentication (4.12) by SCRAM-SHA-256 and SCRAM-SHA-512: at CONNECT, and again on a connection that is open.

    CONNECT method, client-first | AUTH client-first  ->  AUTH 0x18 server-first
    AUTH 0x18 client-final                            ->  CONNACK, or AUTH 0x00, server-final

An authenticator has, besides (connecting.py), scram(name, mechanism, peer), scram_done(name, mechanism, verifier) and wrong(name, peer, answer).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from entrepot.broker.users.credentials import SCRAM_SHA_256, SCRAM_SHA_512
from entrepot.broker.users.scram import ScramError, ScramServer
from entrepot.protocols.mqtt import answers
from entrepot.protocols.mqtt.events import Auth
from entrepot.protocols.mqtt.properties import Properties
from entrepot.protocols.mqtt.property_table import PropertyId
from entrepot.protocols.mqtt.reason_codes import MqttError, ReasonCode, broken_rule

if TYPE_CHECKING:
    from entrepot.protocols.mqtt.session import Session

METHODS = (SCRAM_SHA_256, SCRAM_SHA_512)


class Login:
    """One connection's: its `method`, the exchange under way, how many there were. `answer`: the last word to the client, which CONNACK brings."""

    __slots__ = ("answer", "count", "method", "scram")

    def __init__(self, method: str) -> None:
        self.method = method
        self.scram: ScramServer | None = None
        self.count = 0
        self.answer = b""

    def said(self, data: bytes) -> Properties:
        """What goes out with a message."""
        return Properties([(PropertyId.AUTHENTICATION_METHOD, self.method), (PropertyId.AUTHENTICATION_DATA, data)])


def begin(session: Session, said: Properties) -> None:
    """CONNECT names a method. Raises MqttError."""
    method = said.get(PropertyId.AUTHENTICATION_METHOD)
    if method not in METHODS:
        raise MqttError(ReasonCode.BAD_AUTHENTICATION_METHOD, f"authentication methods are {' and '.join(METHODS)}")
    session.login = Login(method)
    data = said.get(PropertyId.AUTHENTICATION_DATA)
    if data is None:  # the client's first message comes when it is asked for
        session.put(answers.auth(ReasonCode.CONTINUE_AUTHENTICATION, session.login.said(b"")))
    else:
        _first(session, session.login, data)


def authenticate(session: Session, packet: Auth, is_open: bool) -> None:
    """AUTH. Raises MqttError."""
    login = session.login
    if login is None or packet.properties.get(PropertyId.AUTHENTICATION_METHOD) != login.method:
        raise broken_rule("AUTH by another method than CONNECT's (4.12)")
    data = packet.properties.get(PropertyId.AUTHENTICATION_DATA, b"")
    again = packet.reason_code == ReasonCode.RE_AUTHENTICATE
    if again != (is_open and login.scram is None):
        raise broken_rule("AUTH of a reason that is not expected now")
    if login.scram is None:
        _first(session, login, data)
    else:
        _final(session, login, login.scram, data, is_open)


def _first(session: Session, login: Login, data: bytes) -> None:
    login.count += 1
    scram = login.scram = ScramServer(lambda name: session.authenticator.scram(name, login.method, session.peer), f"{session.name}{login.count}")
    try:
        answer = scram.first(data)
    except ScramError as error:
        _wrong(session, scram.name, error)
        return
    session.put(answers.auth(ReasonCode.CONTINUE_AUTHENTICATION, login.said(answer)))


def _final(session: Session, login: Login, scram: ScramServer, data: bytes, is_open: bool) -> None:
    try:
        login.answer = scram.final(data)
    except ScramError as error:
        _wrong(session, scram.name, error)
        return
    login.scram = None
    principal: Any = session.authenticator.scram_done(scram.name, login.method, scram.verifier)
    if principal is None:
        raise _refused("the user has changed")
    if not is_open:
        session.user = scram.name
        session.authenticated(principal)
    elif principal.name != session.principal.name:
        raise _refused("another user than at CONNECT")
    else:
        session.put(answers.auth(ReasonCode.SUCCESS, login.said(login.answer)))


def _wrong(session: Session, name: str, error: ScramError) -> None:
    """It is told when those who guess may know. The text is for the log."""
    session.authenticating = True
    session.update_paused()
    session.journal(f"{session.peer}: login of '{name[:100]}' refused: {error}")
    session.authenticator.wrong(name, session.peer, lambda: session.fail(_refused("authentication failed")))


def _refused(text: str) -> MqttError:
    return MqttError(ReasonCode.NOT_AUTHORIZED, text)
