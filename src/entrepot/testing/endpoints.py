"""sqs(), kafka(), amqp(), and whatever else is in the table: an endpoint of its own for a block, on one broker for the whole process."""

from __future__ import annotations

import atexit
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from entrepot.model.endpoints import Endpoints
from entrepot.testing.broker import Broker

SETTINGS = {"limits.namespaces": 1_000_000}  # one a test, and a run has many

_shared: list[Broker] = []  # none, or the one


def shared_broker() -> Broker:
    """The broker of this process: started when it is first asked for, stopped when the process ends."""
    if not _shared:
        _shared.append(Broker(settings=SETTINGS).start())
        atexit.register(_shared[0].close)
    return _shared[0]


def endpoint(offered: Endpoints) -> Callable[[], AbstractContextManager[Any]]:
    """The function that is called as the protocol is."""

    @contextmanager
    def opened() -> Iterator[Any]:
        with shared_broker().namespace() as space:
            if offered.client:
                yield getattr(space, offered.client)
            else:
                with space.in_environment():
                    yield space

    opened.__name__ = opened.__qualname__ = offered.name
    opened.__doc__ = (
        f"`{offered.client}` of a namespace of its own."
        if offered.client
        else "A namespace of its own; in the block its clients without an endpoint or credentials of their own go there."
    )
    return opened
