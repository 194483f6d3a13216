"""STOMP's port: 61613, or 61614 with TLS."""

from __future__ import annotations

from entrepot.net.session_listener import SessionListener
from entrepot.protocols.stomp.session import Session


class StompListener(SessionListener):
    """Gives each connection a STOMP session."""

    name = "stomp"
    made = Session
