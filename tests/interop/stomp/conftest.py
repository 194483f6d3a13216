"""stomp.py against a real broker process over real sockets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from stomp_client import CONNECTIONS, Peer


@pytest.fixture(scope="session")
def stomp_broker() -> Iterator[Any]:
    from entrepot.testing import Broker

    with Broker(listeners=("amqp", "kafka", "sqs", "stomp", "stomp-ws", "http"), settings={"stomp.heart_beat_ms": 500}) as broker:
        yield broker


@pytest.fixture
def space(stomp_broker: Any) -> Iterator[Any]:
    """A namespace of this test's own."""
    with stomp_broker.namespace() as space:
        yield space


@pytest.fixture(params=CONNECTIONS)
def version(request: pytest.FixtureRequest) -> str:
    """Each that there is."""
    found: str = request.param
    return found


@pytest.fixture
def connect(space: Any) -> Iterator[Callable[..., Peer]]:
    """connect(version="1.2", **stomp.py's own) → a Peer in this test's namespace, disconnected at the end."""
    opened: list[Peer] = []

    def make(version: str = "1.2", headers: dict[str, str] | None = None, **how: Any) -> Peer:
        opened.append(Peer(space.stomp_address, space.stomp_host, version, headers, **how))
        return opened[-1]

    yield make
    for peer in opened:
        peer.close()
