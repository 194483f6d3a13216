"""sqs(), kafka(), amqp(): an endpoint of its own for a block, on one broker for the whole process."""

from __future__ import annotations

import atexit
from collections.abc import Iterator
from contextlib import contextmanager

from entrepot.testing.broker import Broker
from entrepot.testing.namespace import Namespace

SETTINGS = {"limits.namespaces": 1_000_000}  # one a test, and a run has many

_shared: list[Broker] = []  # none, or the one


def shared_broker() -> Broker:
    """The broker of this process: started when it is first asked for, stopped when the process ends."""
    if not _shared:
        _shared.append(Broker(settings=SETTINGS).start())
        atexit.register(_shared[0].close)
    return _shared[0]


@contextmanager
def sqs() -> Iterator[Namespace]:
    """An SQS account of its own; in the block every AWS SDK without an endpoint or credentials of its own goes there."""
    with shared_broker().namespace() as space, space.in_environment():
        yield space


@contextmanager
def kafka() -> Iterator[str]:
    """The bootstrap servers of a Kafka listener with topics and groups of its own."""
    with shared_broker().namespace() as space:
        yield space.kafka_bootstrap


@contextmanager
def amqp() -> Iterator[str]:
    """The URL of a virtual host of its own."""
    with shared_broker().namespace() as space:
        yield space.amqp_url
