"""The HTTP port."""

from __future__ import annotations

import ssl

from entrepot.http.session import Handler, HttpSession
from entrepot.net.listener import Listener
from entrepot.net.network import Network
from entrepot.net.session import Peer, Wake


class HttpListener(Listener):
    """Gives every connection an HttpSession over one handler."""

    name = "http"

    def __init__(self, network: Network, host: str, port: int, handler: Handler, request_bytes: int, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(network, host, port, tls)
        self._handler = handler
        self._request_bytes = request_bytes

    def make_session(self, peer: Peer, wake: Wake) -> HttpSession:
        """See Listener."""
        return HttpSession(self._handler, self.network.clock, self._request_bytes, wake)
