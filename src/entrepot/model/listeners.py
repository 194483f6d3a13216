"""What a listener is called and where it is, and what the first bytes of a connection look like. Which there are, entrepot.protocol_table says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

# What the first bytes of a connection may look like, whoever speaks; what is one protocol's own, its package says.
HTTP = "HTTP"
WEBSOCKET = "WebSocket"  # which begins as HTTP does
TLS = "TLS"
PLAIN = "plain text"  # what is said where TLS is expected


class ListenerKind(NamedTuple):
    """`title`: what is spoken; `look`: which of Listeners.looks that looks like; `address`: where it is by default, or "" for nowhere."""

    title: str
    look: str
    address: str
    scheme: str
    clients: str  # whose it is, in the lines at the start
    without_tls: str = ""  # the listener that speaks the same in the clear


class Listeners(NamedTuple):
    """Every address that the broker may listen at, by the name that it has in the configuration, on the command line and in the log.

    `looks`: whether the first bytes of a connection, of which eight are enough, look like what is called that.
    The configuration's [listen], the command line's help, the lines at the start, and the hints to who came to the wrong port are made of it.
    """

    kinds: Mapping[str, ListenerKind]
    looks: Mapping[str, Callable[[bytes], bool]]

    def look_of(self, first: bytes) -> str:
        """What a connection looks like that begins with these bytes; "" for nothing that is known."""
        if first.startswith(b"\x16\x03"):  # a handshake record of SSL 3.0 or later
            return TLS
        return next((look for look, is_so in self.looks.items() if is_so(first)), "")

    def with_tls(self, name: str) -> str:
        """The listener that speaks over TLS what `name` does in the clear; "" for none."""
        return next((other for other, kind in self.kinds.items() if kind.without_tls == name), "")


NO_LISTENERS = Listeners({}, {})

_METHODS = (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"CONNECT ", b"TRACE ", b"PRI ")


def looks_like_http(first: bytes) -> bool:
    """Whether a request's method begins there."""
    return len(first) >= 3 and any(first.startswith(method) or method.startswith(first) for method in _METHODS)
