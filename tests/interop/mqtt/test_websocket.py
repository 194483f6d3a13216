"""MQTT over WebSocket, with paho-mqtt's own."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from typing import Any

import pytest
from mqtt_client import DEADLINE_S, VERSIONS, new_name
from paho.mqtt.client import CallbackAPIVersion, Client


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Of a broker that listens for WebSockets."""
    from entrepot.testing import Broker

    with Broker(listeners=("mqtt-ws", "http")) as broker:
        yield broker.port("mqtt-ws")


@pytest.mark.parametrize("path", ["/mqtt", "/ws"])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_message(port: int, version: str, path: str) -> None:
    came: queue.Queue[Any] = queue.Queue()
    topic = new_name()
    client = Client(CallbackAPIVersion.VERSION2, new_name("c"), protocol=VERSIONS[version], transport="websockets")
    client.ws_set_options(path)
    client.on_connect = lambda client, *_: client.subscribe(topic, 1)
    client.on_subscribe = lambda client, *_: client.publish(topic, bytes(100_000), 1)
    client.on_message = lambda _client, _data, message: came.put((message.topic, message.payload))
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        assert came.get(timeout=DEADLINE_S) == (topic, bytes(100_000))
    finally:
        client.disconnect()
        client.loop_stop()
