"""Where STOMP's clients find a broker that they are tested against."""

from __future__ import annotations

from entrepot.model.endpoints import Endpoints, Place


def stomp_address(place: Place) -> tuple[str, int]:
    """Host and port, as stomp.py takes them; the namespace is the header host: `stomp_host`."""
    host, _, port = place.host_port.rpartition(":")
    return host, int(port)


def stomp_host(place: Place) -> str:
    """The header host of CONNECT, for a namespace's virtual host or the default one."""
    return place.account or "/"


ENDPOINTS = Endpoints("stomp", {"stomp_address": stomp_address, "stomp_host": stomp_host}, client="")
