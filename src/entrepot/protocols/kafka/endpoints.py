"""Where Kafka's clients find a broker that they are tested against."""

from __future__ import annotations

from entrepot.model.endpoints import Endpoints, Place


def kafka_bootstrap(place: Place) -> str:
    """What Kafka clients call bootstrap.servers."""
    return place.host_port


ENDPOINTS = Endpoints("kafka", {"kafka_bootstrap": kafka_bootstrap}, client="kafka_bootstrap")
