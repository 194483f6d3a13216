"""Which figures Kafka gives to the metrics."""

from __future__ import annotations

from functools import partial

from entrepot.metrics import Metrics
from entrepot.protocols.kafka.apis import APIS
from entrepot.protocols.kafka.session import Shared


def register(metrics: Metrics, shared: Shared) -> None:
    """Requests by API."""
    counted = shared.statistics
    for key, api in APIS.items():
        metrics.counter("entrepot_kafka_requests_total", "Kafka requests, by API", partial(counted.requests.__getitem__, key), api=api.name)
        metrics.counter("entrepot_kafka_errors_total", "Kafka requests answered with an error, by API", partial(counted.errors.__getitem__, key), api=api.name)
    metrics.gauge("entrepot_kafka_fetch_sessions", "Connections with a fetch session", lambda: shared.fetch_slots.count)
