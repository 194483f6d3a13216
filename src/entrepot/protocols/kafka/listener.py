"""Kafka's port: 9092, or with TLS where it is configured."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from entrepot.model.nodes import Address
from entrepot.net.listener import Listener
from entrepot.net.network import Network
from entrepot.net.session import Client, Peer, Wake
from entrepot.protocols.kafka.session import Session, Settings, Shared


class KafkaListener(Listener):
    """Gives each connection a Kafka session. `port` has attach(); `authenticator` checks credentials; `shared` is of all Kafka listeners."""

    name = "kafka"

    def __init__(
        self,
        network: Network,
        host: str,
        port_number: int,
        *,
        port: Any,
        authenticator: Any,
        settings: Settings,
        shared: Shared,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(network, host, port_number, tls)
        if tls is not None:
            self.name = "kafkas"
        self.broker_port = port
        self.authenticator = authenticator
        self.settings = settings
        self.shared = shared

    def tell_nodes(self, addresses: Sequence[Address]) -> None:
        """See net.listener.Listener: connections that come from now on."""
        self.settings = replace(self.settings, addresses=tuple(addresses))

    def make_session(self, peer: Peer, wake: Wake) -> Any:
        """See net.listener.Listener."""
        return Session(self.broker_port, self.authenticator, self.settings, self.shared, peer, wake, self.note)

    def client_of(self, session: Any) -> Client:
        """See net.listener.Listener. What calls itself nothing has no name."""
        if session.attachment is None:
            return Client(name=session.client_id, product=session.product)
        return Client((session.principal.name,), (session.attachment.namespace,), session.client_id, session.product)
