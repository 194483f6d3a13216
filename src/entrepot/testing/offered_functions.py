"""What type checkers and editors know of the protocols' functions beforehand, as of their endpoints (offered.py)."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from entrepot.testing.namespace import Namespace

if TYPE_CHECKING:

    def amqp() -> AbstractContextManager[str]:
        """The URL of a virtual host of its own."""

    def kafka() -> AbstractContextManager[str]:
        """The bootstrap servers of a Kafka listener with topics and groups of its own."""

    def mqtt() -> AbstractContextManager[Namespace]:
        """A namespace of its own, and a listener that leads there: `mqtt_address`."""

    def sqs() -> AbstractContextManager[Namespace]:
        """An SQS account of its own; in the block every AWS SDK without an endpoint or credentials of its own goes there."""
