"""AMQP's port: 5672, or 5671 with TLS."""

from __future__ import annotations

import ssl
from typing import Any

from entrepot.net.listener import Listener
from entrepot.net.network import Network
from entrepot.net.session import Client, Peer, Wake
from entrepot.protocols.amqp091 import moving
from entrepot.protocols.amqp091.handshake import Settings
from entrepot.protocols.amqp091.session import Session


class AmqpListener(Listener):
    """Gives each connection an AMQP 0-9-1 session. `port` has attach(); `authenticator` checks credentials."""

    name = "amqp"
    mobile = moving

    def __init__(
        self, network: Network, host: str, port_number: int, *, port: Any, authenticator: Any, settings: Settings, tls: ssl.SSLContext | None = None
    ) -> None:
        super().__init__(network, host, port_number, tls)
        if tls is not None:
            self.name = "amqps"
        self.broker_port = port
        self.authenticator = authenticator
        self.settings = settings

    def make_session(self, peer: Peer, wake: Wake) -> Any:
        """See net.listener.Listener."""
        network = self.network
        return Session(self.broker_port, self.authenticator, self.settings, peer, wake, self.note, network.turns, network.unfinished, network.strangers)

    def client_of(self, session: Any) -> Client:
        """See net.listener.Listener."""
        if session.attachment is None:
            return Client()
        said = session.client_properties
        return Client(
            (session.principal.name,),
            (session.attachment.namespace,),
            str(said.get("connection_name", "")),
            " ".join(str(said[key]) for key in ("product", "version") if key in said),
            len(session.channels),
            sum(len(channel.consumers) for channel in session.channels.values()),
        )
