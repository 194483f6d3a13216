"""CORS: from which web pages scripts may call, and read what they are answered. A browser asks for it, by preflights (OPTIONS) and by `Origin`.

That lets nobody in: a script signs as every client does, and no browser adds a signature of its own. Only where nothing need be signed would the page's
visitor be asked instead of the page; so pages are kept out there (net/pages.py), but for those of an origin that is listed by its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from entrepot.net.origins import Origins

if TYPE_CHECKING:
    from entrepot.protocols.sqs.framing import Request

MAX_AGE_S = 600  # a browser need not ask again for so long
WANTED_MAX = 1024  # characters of a list of headers

_NAMES = re.compile(rb"[A-Za-z0-9_-]+(, ?[A-Za-z0-9_-]+)*")


class Cors:
    """The origins of the setting. Raises Refused for what is none."""

    def __init__(self, origins: Iterable[str] = ()) -> None:
        self._origins = Origins("sqs.allowed_origins", origins)

    def is_listed(self, origin: bytes) -> bool:
        """Whether an origin is in the setting by its name: `*` lists nobody."""
        return self._origins.is_listed(origin)

    def headers(self, origin: bytes) -> bytes:
        """The lines that let a page of this origin read the answer; b"": it may not."""
        if not origin or not (self._origins.any or self.is_listed(origin)):
            return b""
        shown = origin if self.is_listed(origin) else b"*"
        return b"Access-Control-Allow-Origin: %b\r\nAccess-Control-Expose-Headers: x-amzn-RequestId, x-amzn-query-error\r\nVary: Origin\r\n" % shown

    def preflight(self, request: Request) -> bytes | None:
        """The lines that answer whether a page may send what it asks for, besides those of headers(); None: it may not, or nobody asks."""
        if request.method != b"OPTIONS" or not self.headers(request.origin) or request.header(b"access-control-request-method") is None:
            return None
        lines = b"Access-Control-Allow-Methods: GET, POST\r\nAccess-Control-Max-Age: %d\r\n" % MAX_AGE_S
        wanted = request.header(b"access-control-request-headers")
        if wanted is not None and len(wanted) <= WANTED_MAX and _NAMES.fullmatch(wanted):
            lines += b"Access-Control-Allow-Headers: %b\r\n" % wanted
        if self.is_listed(request.origin) and request.header(b"access-control-request-private-network") == b"true":
            lines += b"Access-Control-Allow-Private-Network: true\r\n"
        return lines
