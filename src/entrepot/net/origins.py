"""From which web pages a browser's scripts may speak to a listener: the origins of a setting, and what `Origin` and `Host` of a WebSocket's request say.

A browser opens a WebSocket to this machine for any page that it shows, and asks nobody. It says so in Origin, always; who is no browser says nothing there, or
the address that it connects to. What would let a page in is that clients of this machine need no password, or one that everybody knows. So only pages that are
listed by their name, and those that come from the broker's own address, count as this machine's; others, where they are let in at all, as from elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from entrepot.model.errors import Reason, Refused
from entrepot.net.pages import Pages

ANY = "*"

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:\d{1,5})?", re.ASCII)


class Origins:
    """Those of the setting `key`. `any`: it has a `*`, which lists nobody by name. Raises Refused for what is no origin."""

    def __init__(self, key: str, origins: Iterable[str] = ()) -> None:
        given = frozenset(origins)
        for origin in given:
            if origin != ANY and _ORIGIN.fullmatch(origin) is None:
                raise Refused(Reason.INVALID, f"{key}: {origin!r}: as browsers write it, https://app.example.com or http://localhost:3000, or *")
        self.key = key
        self.any = ANY in given
        self._listed = frozenset(origin.encode() for origin in given - {ANY})

    def is_listed(self, origin: bytes) -> bool:
        """Whether an origin is there by its name."""
        return origin in self._listed

    def may_speak(self, origin: bytes, host: str, local_host: str, pages: Pages) -> tuple[bool, bool]:
        """(whether who asks for a WebSocket may have it, whether it counts as from elsewhere even if it is not).

        origin: the header's value, b"" if it is not there; host: that of Host; local_host: the address that the connection came in on.
        """
        if not origin or self.is_listed(origin):
            return True, False
        _, found, authority = origin.decode("latin-1").partition("://")
        if found and authority.lower() == host.lower():  # a name that was made to lead here is the same in both, but nobody's own
            return True, not pages.is_ours(host, local_host)
        return self.any, True
