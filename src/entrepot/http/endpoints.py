"""Where a broker that is tested against says how it is."""

from __future__ import annotations

from entrepot.model.endpoints import Endpoints, Place


def http_url(place: Place) -> str:
    """Where /healthz, /readyz and /metrics are."""
    return f"http://{place.host_port}"


ENDPOINTS = Endpoints("http", {"http_url": http_url})
