"""A port of one protocol whose connections are sessions that log in and attach to the broker; something else may carry them (websocket.py)."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any, ClassVar

from entrepot.net.listener import Listener
from entrepot.net.network import Network
from entrepot.net.session import Client, Peer, Wake


class SessionListener(Listener):
    """Gives each connection a session: `made` is its class, which is given what is handed in here, in this order, and then peer, wake, journal, turns and
    shares of memory.

    `port` has attach(); `authenticator` checks credentials; `settings` are the protocol's; `new_name` makes a session's name.
    """

    made: ClassVar[type[Any]]

    def __init__(
        self,
        network: Network,
        host: str,
        port_number: int,
        *,
        port: Any,
        authenticator: Any,
        settings: Any,
        new_name: Callable[[], str],
        wall_ms: Callable[[], int],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(network, host, port_number, tls)
        if tls is not None:
            self.name += "s"
        self.broker_port = port
        self.authenticator = authenticator
        self.settings = settings
        self.new_name = new_name
        self.wall_ms = wall_ms

    def make_session(self, peer: Peer, wake: Wake) -> Any:
        """See net.listener.Listener."""
        return self.session_of(peer, wake, self.note)

    def session_of(self, peer: Peer, wake: Wake, journal: Callable[..., None]) -> Any:
        """A session, whatever carries it."""
        network = self.network
        given = self.broker_port, self.authenticator, self.settings, self.new_name(), self.wall_ms
        return self.made(*given, peer, wake, journal, network.turns, network.unfinished, network.strangers)

    def client_of(self, session: Any) -> Client:
        """See net.listener.Listener."""
        if session.attachment is None:
            return Client()
        return Client((session.principal.name,), (session.attachment.namespace,), session.client_id, consumers=len(session.subscriptions))
