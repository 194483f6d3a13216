"""What type checkers and editors know of the protocols' endpoints beforehand. Nothing of it runs: what is not here is offered all the same, as Any."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from entrepot.testing.namespace import Namespace


class Offered:
    """Attributes of a Broker and of a Namespace, where that listener is."""

    amqp_port: int
    amqp_url: str
    kafka_port: int
    kafka_bootstrap: str
    sqs_port: int
    sqs_url: str
    credentials: dict[str, str]
    http_url: str


if TYPE_CHECKING:

    def amqp() -> AbstractContextManager[str]:
        """The URL of a virtual host of its own."""

    def kafka() -> AbstractContextManager[str]:
        """The bootstrap servers of a Kafka listener with topics and groups of its own."""

    def sqs() -> AbstractContextManager[Namespace]:
        """An SQS account of its own; in the block every AWS SDK without an endpoint or credentials of its own goes there."""
