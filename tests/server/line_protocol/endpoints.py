from __future__ import annotations

from entrepot.model.endpoints import Endpoints, Place


def line_url(place: Place) -> str:
    """What line clients call it."""
    return f"line://{place.host_port}"


def environment(place: Place) -> dict[str, str]:
    return {"LINE_URL": line_url(place)}


ENDPOINTS = Endpoints("line", {"line_url": line_url}, client="line_url", environment=environment, unset=("LINE_PROFILE",))
