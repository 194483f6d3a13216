"""SQS's port: 9324, or with TLS where it is configured."""

from __future__ import annotations

import ssl
from typing import Any

from entrepot.net.listener import Listener
from entrepot.net.network import Network
from entrepot.net.session import Client, Peer, Wake
from entrepot.protocols.sqs.session import Session, Shared
from entrepot.protocols.sqs.settings import Settings


class SqsListener(Listener):
    """Gives each connection an SQS session. `port` has attach(); `shared` is of all SQS listeners."""

    name = "sqs"

    def __init__(
        self, network: Network, host: str, port_number: int, *, port: Any, settings: Settings, shared: Shared, tls: ssl.SSLContext | None = None
    ) -> None:
        super().__init__(network, host, port_number, tls)
        if tls is not None:
            self.name = "sqss"
        self.broker_port = port
        self.settings = settings
        self.shared = shared

    def make_session(self, peer: Peer, wake: Wake) -> Any:
        """See net.listener.Listener."""
        return Session(self.broker_port, self.settings, self.shared, peer, wake, self.note)

    def client_of(self, session: Any) -> Client:
        """See net.listener.Listener. Requests say each by itself who sends them: these are the callers that the session remembers."""
        callers = session.by_key_id.values()
        users = dict.fromkeys(caller.principal.name for caller in callers if caller.principal.name)
        namespaces = dict.fromkeys(namespace for caller in callers for namespace in caller.attachments)
        return Client(tuple(users), tuple(namespaces))
