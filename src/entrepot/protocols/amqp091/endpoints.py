"""Where clients of AMQP 0-9-1 find a broker that they are tested against."""

from __future__ import annotations

from entrepot.model.endpoints import Endpoints, Place


def amqp_url(place: Place) -> str:
    """With the default user, to a namespace's virtual host or to the default one."""
    return f"amqp://guest:guest@{place.host_port}/{place.account or '%2F'}"


ENDPOINTS = Endpoints("amqp", {"amqp_url": amqp_url}, client="amqp_url")
