"""Statistics of SQS connections, for metrics."""

from __future__ import annotations

from entrepot.protocols.sqs.handlers import ROUTES


class Statistics:
    """Counted over all SQS connections, since start: requests by action, and errors by their name in AWS JSON."""

    __slots__ = ("errors", "requests")

    def __init__(self) -> None:
        self.requests: dict[str, int] = {route.action.name: 0 for route in ROUTES.values()}
        self.errors: dict[str, int] = {}
