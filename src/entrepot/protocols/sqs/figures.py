"""Which figures SQS gives to the metrics."""

from __future__ import annotations

from functools import partial

from entrepot.metrics import Metrics
from entrepot.protocols.sqs.session import Shared


def register(metrics: Metrics, shared: Shared) -> None:
    """Requests by action."""
    counted = shared.statistics
    for name in counted.requests:
        metrics.counter("entrepot_sqs_requests_total", "SQS requests, by action", partial(counted.requests.__getitem__, name), action=name)
    metrics.counter("entrepot_sqs_errors_total", "SQS requests answered with an error", lambda: sum(counted.errors.values()))
