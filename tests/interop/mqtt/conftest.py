"""Unmodified MQTT clients against a real broker process over real sockets.

The broker is an Entrepot started for the run. To put the same tests to another broker, name it:

    ENTREPOT_TEST_MQTT=127.0.0.1:1883              a listener without authentication; tests that need other protocols are skipped

Of Mosquitto 2.0.11 that fails which the specification asks for and Mosquitto does not do: DISCONNECT with 0x8E, wills of sessions that end at once or by
another's clean start, no retained messages for shared subscriptions, bad names of groups, `no local` for them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from mqtt_client import VERSIONS, Peer

NAMED = os.environ.get("ENTREPOT_TEST_MQTT")


@pytest.fixture(scope="session")
def mqtt_broker() -> Iterator[Any]:
    """An Entrepot for the run."""
    if NAMED:
        pytest.skip("ENTREPOT_TEST_MQTT names another broker, which has no other protocols")
    from entrepot.testing import Broker  # not at the top: runs against another broker need no Entrepot

    with Broker(listeners=("amqp", "kafka", "sqs", "mqtt", "http")) as broker:
        yield broker


@pytest.fixture(scope="session")
def address(request: pytest.FixtureRequest) -> tuple[str, int]:
    """Where the broker listens for MQTT."""
    if NAMED:
        host, _, port = NAMED.rpartition(":")
        return host, int(port)
    return "127.0.0.1", request.getfixturevalue("mqtt_broker").port("mqtt")


@pytest.fixture(scope="session")
def is_entrepot() -> bool:
    """Whether the broker is an Entrepot: for the few things that others do otherwise, or do not do."""
    return not NAMED


@pytest.fixture(params=["3.1.1", "5"])
def version(request: pytest.FixtureRequest) -> str:
    """Each that most clients speak."""
    found: str = request.param
    return found


@pytest.fixture(params=VERSIONS)
def any_version(request: pytest.FixtureRequest) -> str:
    """3.1, too, which differs from 3.1.1 in how it connects alone."""
    found: str = request.param
    return found


@pytest.fixture
def connect(address: tuple[str, int]) -> Iterator[Callable[..., Peer]]:
    """connect(version="5", **Peer's own) → a Peer, disconnected at the end."""
    opened: list[Peer] = []

    def make(version: str = "5", **how: Any) -> Peer:
        opened.append(Peer(address, version, **how))
        return opened[-1]

    yield make
    for peer in opened:
        peer.close()


@pytest.fixture
def kept(connect: Callable[..., Peer]) -> Iterator[Callable[..., Peer]]:
    """kept(version="5", **Peer's own) → a Peer with a session that outlives it, which is ended when the test is through."""
    known: dict[str, str] = {}

    def make(version: str = "5", *, clean: bool = False, **how: Any) -> Peer:
        if version == "5":
            how.setdefault("SessionExpiryInterval", 600)
        peer = connect(version, clean=clean, **how)
        known[peer.client_id] = version
        return peer

    yield make
    for client_id, version in known.items():
        connect(version, client_id=client_id, clean=True)  # takes the session over, and ends with it
