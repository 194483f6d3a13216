"""Where MQTT's clients find a broker that they are tested against."""

from __future__ import annotations

from entrepot.model.endpoints import Endpoints, Place


def mqtt_address(place: Place) -> tuple[str, int]:
    """Host and port, as paho-mqtt takes them; of a namespace, those of a listener of its own."""
    host, _, port = place.host_port.rpartition(":")
    return host, int(port)


def mqtt_user(place: Place) -> str:
    """The user name of guest, with the namespace's virtual host: what leads there from the whole broker's listener."""
    return f"{place.account or '/'}:guest"


ENDPOINTS = Endpoints("mqtt", {"mqtt_address": mqtt_address, "mqtt_user": mqtt_user}, client="")
