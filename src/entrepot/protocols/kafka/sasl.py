"""Logging in: SaslHandshake names a mechanism, SaslAuthenticate carries its messages (KIP-152).

After version 0 of SaslHandshake the messages come without Kafka's header, each behind its size alone (KIP-43), as kafka-python 2.0 still sends them.

An authenticator has anonymous(peer), plain(user, password, peer, done), wrong(name, peer, answer), scram(name, mechanism, peer),
scram_done(name, mechanism, verifier) and namespace_of(principal, namespace); see entrepot.authentication.
"""

from __future__ import annotations

import base64
from typing import Any

from entrepot.broker.users.credentials import SCRAM_SHA_256, SCRAM_SHA_512
from entrepot.broker.users.scram import ScramError, ScramServer
from entrepot.model.errors import Refused
from entrepot.protocols.kafka.error_codes import ErrorCode
from entrepot.protocols.kafka.exchange import Exchange

PLAIN = "PLAIN"
MECHANISMS = (PLAIN, SCRAM_SHA_256, SCRAM_SHA_512)
NONCE_SIZE = 18  # bytes, which base64 makes 24 characters


class Login:
    """A login under way. `raw`: its messages have no header."""

    __slots__ = ("mechanism", "raw", "scram")

    def __init__(self, mechanism: str, raw: bool) -> None:
        self.mechanism = mechanism
        self.raw = raw
        self.scram: ScramServer | None = None


def handshake(exchange: Exchange, values: dict[str, Any]) -> None:
    """Handler of SaslHandshake."""
    session = exchange.session
    mechanism = values["mechanism"]
    code = ErrorCode.NONE
    if session.sasl is not None or session.attachment is not None:
        code = ErrorCode.ILLEGAL_SASL_STATE
    elif mechanism not in MECHANISMS:
        code = ErrorCode.UNSUPPORTED_SASL_MECHANISM
    else:
        session.sasl = Login(mechanism, exchange.version == 0)
        session.framing.raw = session.sasl.raw
    if code:
        session.count_error(exchange)
    exchange.answer({"error_code": int(code), "mechanisms": list(MECHANISMS)})
    if code:
        session.fail(f"SaslHandshake for '{mechanism[:100]}' answered with {code.name}")


def authenticate(exchange: Exchange, values: dict[str, Any]) -> None:
    """Handler of SaslAuthenticate. A failed login is answered, then the connection ends."""
    login = exchange.session.sasl
    if login is None or login.raw:
        exchange.session.count_error(exchange)
        text = "SaslHandshake comes first, and a connection logs in once"
        exchange.answer({"error_code": int(ErrorCode.ILLEGAL_SASL_STATE), "error_message": text})
        exchange.session.fail(text)
        return
    message(exchange, login, values["auth_bytes"])


def message(exchange: Exchange, login: Login, token: bytes) -> None:
    """One message of the mechanism."""
    if login.mechanism == PLAIN:
        _plain(exchange, login, token)
        return
    session = exchange.session
    try:
        if login.scram is None:
            nonce = base64.b64encode(session.shared.entropy.octets(NONCE_SIZE)).decode()
            login.scram = ScramServer(lambda name: session.authenticator.scram(name, login.mechanism, session.peer), nonce)
            _go_on(exchange, login, login.scram.first(token))
            return
        answer = login.scram.final(token)
    except ScramError as error:
        why = f"'{_name(login)}': {error}"
        session.authenticator.wrong(_name(login), session.peer, lambda: None if session.closing else _refuse(exchange, login, why))
        return
    _enter(exchange, login, session.authenticator.scram_done(login.scram.name, login.mechanism, login.scram.verifier), answer)


def _plain(exchange: Exchange, login: Login, token: bytes) -> None:
    """RFC 4616: authorization identity, name and password, between NULs."""
    parts = token.split(b"\0")
    try:
        authorization, name, password = (part.decode() for part in parts)
    except ValueError:
        _refuse(exchange, login, "not 'authzid NUL user NUL password' of UTF-8")
        return
    if authorization and authorization != name:
        _refuse(exchange, login, "an authorization identity other than the user is not possible")
        return
    session = exchange.session

    def checked(principal: Any) -> None:
        if session.closing:
            return
        if principal is None:
            _refuse(exchange, login, f"'{name[:100]}'")
        else:
            _enter(exchange, login, principal, b"")

    session.authenticator.plain(name, password, session.peer, checked)


def _enter(exchange: Exchange, login: Login, principal: Any, answer: bytes) -> None:
    """The mechanism is content."""
    session = exchange.session
    if principal is None:
        _refuse(exchange, login, f"'{_name(login)}'")
        return
    try:
        session.attach(principal)
    except Refused as refused:
        _refuse(exchange, login, str(refused))
        return
    session.sasl = None
    session.framing.raw = False
    _go_on(exchange, login, answer)


def _go_on(exchange: Exchange, login: Login, answer: bytes) -> None:
    if login.raw:
        exchange.parts = [len(answer).to_bytes(4, "big") + answer]
        exchange.session.answered()
    else:
        exchange.answer({"error_code": 0, "error_message": None, "auth_bytes": answer})


def _refuse(exchange: Exchange, login: Login, why: str) -> None:
    """Says nothing of what was wrong; a login without header has no words for it at all."""
    session = exchange.session
    session.count_error(exchange)
    if not login.raw:
        text = f"Authentication failed: invalid credentials with SASL mechanism {login.mechanism}"
        exchange.answer({"error_code": int(ErrorCode.SASL_AUTHENTICATION_FAILED), "error_message": text})
    session.fail(f"login refused ({login.mechanism}): {why}")


def _name(login: Login) -> str:
    return login.scram.name[:100] if login.scram is not None else ""
