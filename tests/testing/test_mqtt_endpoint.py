"""MQTT for somebody else's tests: a namespace and a listener of their own."""

from __future__ import annotations

import threading

from mqtt_client import Peer
from mqtt_client import seen as found

from entrepot.testing import mqtt


def test_two_endpoints_are_apart() -> None:
    """The same topic, the same client identifier, a retained message: nothing of it is seen by the other, without a word about namespaces."""
    with mqtt() as one, mqtt() as other:
        assert one.mqtt_address != other.mqtt_address
        mine, theirs = Peer(one.mqtt_address, client_id="c"), Peer(other.mqtt_address, client_id="c")
        mine.publish("a", b"x", retain=True)
        for peer in (mine, theirs):
            peer.subscribe("#", 1)
        assert [each for each in found(mine.rest()) if each[0] == "a"] == [("a", b"x", 1, True)]
        assert [each for each in found(theirs.rest()) if each[0] == "a"] == []
        named = Peer(one.mqtt_address, user=(one.mqtt_user, "guest"))
        named.subscribe("a", 1)
        assert found([named.one()]) == [("a", b"x", 1, True)]
        for peer in (mine, theirs, named):
            peer.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("paho")]
