"""paho-mqtt: wills."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from mqtt_client import Peer, Will, new_name, said_of, seen
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

Connect = Callable[..., Peer]


@pytest.fixture
def topic() -> str:
    return new_name()


@pytest.fixture
def watch(connect: Connect, topic: str) -> Peer:
    """A client that is subscribed to the test's topic."""
    peer = connect()
    peer.subscribe(f"{topic}/#", 2)
    return peer


@pytest.mark.parametrize("qos", [0, 2])
def test_it_is_published_when_the_connection_is_lost(connect: Connect, watch: Peer, topic: str, version: str, qos: int) -> None:
    """3.1.2.5."""
    connect(version, will=Will(topic, b"gone", qos)).drop()
    assert seen([watch.one()]) == [(topic, b"gone", qos, False)]


def test_and_not_when_it_is_closed(connect: Connect, watch: Peer, topic: str, version: str) -> None:
    """3.14.4."""
    connect(version, will=Will(topic)).close()
    assert watch.rest() == []


def test_it_can_be_retained(connect: Connect, watch: Peer, topic: str, any_version: str) -> None:
    connect(any_version, will=Will(topic, b"gone", 1, retain=True)).drop()
    assert watch.one().payload == b"gone"
    late = connect(any_version)
    late.subscribe(topic, 1)
    assert seen([late.one()]) == [(topic, b"gone", 1, True)]
    late.publish(topic, retain=True)


def test_it_is_published_when_the_client_is_silent(connect: Connect, watch: Peer, topic: str) -> None:
    """3.1.2.10: one and a half times the keep-alive. paho's own thread is stopped, so that it sends nothing."""
    peer = connect(will=Will(topic), keep_alive=1)
    peer.client.loop_stop()
    assert watch.one().topic == topic
    peer.over.set()


def test_it_is_published_when_the_client_breaks_the_protocol(connect: Connect, watch: Peer, topic: str, version: str) -> None:
    peer = connect(version, will=Will(topic))
    socket: Any = peer.client.socket()
    socket.sendall(b"\xf7\x00")
    assert watch.one().topic == topic


def test_it_is_published_when_it_is_taken_over(connect: Connect, watch: Peer, topic: str, version: str) -> None:
    first = connect(version, will=Will(topic))
    connect(version, client_id=first.client_id)
    assert watch.one().topic == topic


def test_disconnect_with_will(connect: Connect, watch: Peer, topic: str) -> None:
    """3.14.2.1: reason 0x04."""
    connect(will=Will(topic)).close(ReasonCode(PacketTypes.DISCONNECT, identifier=4))
    assert watch.one().topic == topic


def test_its_properties(connect: Connect, watch: Peer, topic: str) -> None:
    given = {
        "ContentType": "text/plain", "CorrelationData": b"\0\1", "ResponseTopic": "back", "PayloadFormatIndicator": 1,
        "UserProperty": [("a", "1"), ("b", "2")], "MessageExpiryInterval": 600,
    }  # fmt: skip
    connect(will=Will(topic, properties=given)).drop()
    assert said_of(watch.one()) == given | {"CorrelationData": "0001"}


def test_a_delay(connect: Connect, kept: Connect, watch: Peer, topic: str) -> None:
    """3.1.3.2.2: it waits, and is not published if the client comes back; it is due with the session's end at the latest."""
    back = kept(will=Will(f"{topic}/back", properties={"WillDelayInterval": 1}))
    back.drop()
    late = kept(will=Will(f"{topic}/late", properties={"WillDelayInterval": 1}))
    late.drop()
    ends = connect(SessionExpiryInterval=2, will=Will(f"{topic}/ends", properties={"WillDelayInterval": 600}))
    ends.drop()
    without = connect(SessionExpiryInterval=0, will=Will(f"{topic}/without", properties={"WillDelayInterval": 600}))
    without.drop()
    kept(client_id=back.client_id)
    assert [message.topic for message in watch.take(3)] == [f"{topic}/{name}" for name in ("without", "late", "ends")]
    assert watch.rest() == []


def test_a_delay_and_a_clean_start(connect: Connect, kept: Connect, watch: Peer, topic: str) -> None:
    """3.1.3.2.2: a session that ends publishes it, whoever ends it."""
    peer = kept(will=Will(topic, properties={"WillDelayInterval": 600}))
    peer.drop()
    kept(client_id=peer.client_id, clean=True)
    assert watch.one().topic == topic


def test_a_will_for_oneself(kept: Connect, topic: str) -> None:
    """A session that goes on is sent its own will."""
    peer = kept(will=Will(topic))
    peer.subscribe(topic, 1)
    peer.drop()
    assert kept(client_id=peer.client_id).one().topic == topic
