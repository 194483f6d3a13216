"""The HTTP port."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from functools import partial

from entrepot.http.session import Handler, HttpSession
from entrepot.net.listener import Listener
from entrepot.net.network import Network
from entrepot.net.pages import Pages, is_loopback
from entrepot.net.session import Peer, Wake


class HttpListener(Listener):
    """Gives every connection an HttpSession over one handler."""

    name = "http"

    def __init__(
        self,
        network: Network,
        host: str,
        port: int,
        handler: Handler,
        request_bytes: int,
        tls: ssl.SSLContext | None = None,
        *,
        pages: Pages,
        has_users: Callable[[], bool],
    ) -> None:
        super().__init__(network, host, port, tls)
        self._pages = pages
        self._has_users = has_users
        self._handler = handler
        self._request_bytes = request_bytes

    def make_session(self, peer: Peer, wake: Wake) -> HttpSession:
        """See Listener."""
        return HttpSession(
            self._handler,
            self.network.clock,
            self._request_bytes,
            wake,
            lambda host: self._why_not(host, peer),
            partial(self._note_of, peer),
            self.network.known.look_of,
        )

    def _note_of(self, peer: Peer, text: str, first: bytes) -> None:
        self.note(f"{peer}: {text}", first)

    def _why_not(self, host: str | None, peer: Peer) -> str | None:
        """No answer is secret to who can connect; but no page of elsewhere is to read it through somebody's browser.

        A request without Host is of HTTP/1.0, as load balancers send it and browsers do not. On a network, with users, names are the network's affair.
        """
        if host is None or (self._has_users() and not is_loopback(peer.local_host)):
            return None
        return self._pages.why_not(host, peer.local_host)
