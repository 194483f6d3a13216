"""Which requests over HTTP may do something without a signature: those that no web page can have had a browser send.

A browser sends requests to this machine, and to others of its network, for any page that it shows. It says so: in Origin, Sec-Fetch-Site and Referer (its
User-Agent says nothing: clients of libcurl call themselves Mozilla, too). On a GET there may be no Origin, and a page whose own name was made to lead here
(DNS rebinding) counts as the same origin; but the name is in Host then. So Host must be what no page's owner can have: an address of loopback, the address
that the connection came in on, `localhost`, or a name that the operator has given.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from entrepot.model.errors import Reason, Refused
from entrepot.model.printable import printable

_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,255})(:\d{0,5})?", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9._-]{1,255}|\[?[0-9A-Fa-f:.]{2,45}\]?", re.ASCII)
_SHOWN_MAX = 100

FROM_PAGE = "Requests of web pages must be signed."
READS_ONLY = "A browser may only read here without a signature."


class Pages:
    """The rule. `names` are those that the operator has given, of hosts; they are not case-sensitive. Raises Refused for what is none."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        given = list(names)
        for name in given:
            if _NAME.fullmatch(name) is None:
                raise Refused(Reason.INVALID, f"http_hosts: {name!r}: a host's name or address is expected, without a port")
        self._names = frozenset(_plain(name) for name in given)

    def why_not(self, host: str, local_host: str, *, from_page: bool = False, from_browser: bool = False, reads: bool = True) -> str | None:
        """Why a request without a signature is refused (403); None: it is not.

        host: the header's value, "" if it is not there. local_host: the address that the connection came in on. from_page: a page had it sent;
        from_browser: a browser sent it, perhaps for somebody who has typed it. reads: it changes nothing.
        """
        if from_page:
            return FROM_PAGE
        if not self.is_ours(host, local_host):
            shown = printable(host, _SHOWN_MAX)
            return f"Without a signature the header Host must be an address of loopback, localhost, or one of the setting http_hosts; it is '{shown}'."
        if from_browser and not reads:
            return READS_ONLY
        return None

    def is_ours(self, host: str, local_host: str) -> bool:
        """Whether a Host is one that no page's owner can have."""
        found = _AUTHORITY.fullmatch(host)
        if found is None:
            return False
        name = _plain(found[1])
        if name == "localhost" or name.endswith(".localhost") or name in self._names:
            return True
        address = _maybe_address(name)
        return address is not None and (address.is_loopback or address == _maybe_address(local_host))


def _plain(name: str) -> str:
    return name.lower().removesuffix(".").removeprefix("[").removesuffix("]")


def is_loopback(address: str) -> bool:
    """Whether it is an address of this machine's own."""
    found = _maybe_address(address)
    return found is not None and found.is_loopback


def _maybe_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, ipaddress.IPv6Address) else address
