"""MQTT's port: 1883, or 8883 with TLS."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

from entrepot.net.listener import Listener
from entrepot.net.network import Network
from entrepot.net.session import Client, Peer, Wake
from entrepot.protocols.mqtt.connecting import Settings
from entrepot.protocols.mqtt.session import Session


class MqttListener(Listener):
    """Gives each connection an MQTT session.

    `port` has attach(); `authenticator` checks credentials; `new_name` makes a session's name.
    """

    name = "mqtt"

    def __init__(
        self,
        network: Network,
        host: str,
        port_number: int,
        *,
        port: Any,
        authenticator: Any,
        settings: Settings,
        new_name: Callable[[], str],
        wall_ms: Callable[[], int],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(network, host, port_number, tls)
        if tls is not None:
            self.name = "mqtts"
        self.broker_port = port
        self.authenticator = authenticator
        self.settings = settings
        self.new_name = new_name
        self.wall_ms = wall_ms

    def make_session(self, peer: Peer, wake: Wake) -> Any:
        """See net.listener.Listener."""
        return self.session_of(peer, wake, self.note)

    def session_of(self, peer: Peer, wake: Wake, journal: Callable[..., None]) -> Session:
        """A session, whatever carries it."""
        network = self.network
        given = self.broker_port, self.authenticator, self.settings, self.new_name(), self.wall_ms
        return Session(*given, peer, wake, journal, network.turns, network.unfinished, network.strangers)

    def client_of(self, session: Any) -> Client:
        """See net.listener.Listener."""
        if session.attachment is None:
            return Client()
        return Client((session.principal.name,), (session.attachment.namespace,), session.client_id, consumers=len(session.subscriptions))
