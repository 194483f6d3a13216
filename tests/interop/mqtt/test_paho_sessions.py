"""paho-mqtt: sessions that end with their connection, sessions that do not, take-over, what was not acknowledged."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from mqtt_client import Peer, Will, new_name, seen

Connect = Callable[..., Peer]


def test_a_kept_session(connect: Connect, kept: Connect, any_version: str) -> None:
    """4.4: what came meanwhile at QoS 1 and 2 is there, in order; its subscriptions hold on."""
    topic, writer = new_name(), connect(any_version)
    peer = kept(any_version)
    assert not peer.session_present
    peer.subscribe(f"{topic}/+", 2)
    peer.close()
    for number in range(30):
        writer.publish(f"{topic}/a", f"{number}", 1 + number % 2)
    again = kept(any_version, client_id=peer.client_id)
    assert again.session_present or any_version == "3.1"  # 3.1 has no such flag
    found = again.take(30)
    assert sorted(int(message.payload) for message in found) == list(range(30))
    for qos in (1, 2):
        assert [int(message.payload) for message in found if message.qos == qos] == list(range(qos - 1, 30, 2))
    writer.publish(f"{topic}/b", b"live", 0)
    assert seen([again.one()]) == [(f"{topic}/b", b"live", 0, False)]


def test_it_is_gone_after_a_clean_start(connect: Connect, kept: Connect, version: str) -> None:
    """3.1.2.4."""
    topic, writer, peer = new_name(), connect(version), kept(version)
    peer.subscribe(topic, 1)
    peer.close()
    writer.publish(topic, b"lost")
    peer = kept(version, client_id=peer.client_id, clean=True)
    assert not peer.session_present
    writer.publish(topic, b"lost, too")
    assert peer.rest() == []
    peer.close()
    assert kept(version, client_id=peer.client_id).session_present == (version == "5")  # before, a clean session ends with its connection


def test_a_clean_session_leaves_nothing(connect: Connect, version: str) -> None:
    topic, writer, peer = new_name(), connect(version), connect(version)
    peer.subscribe(topic, 1)
    peer.close()
    writer.publish(topic, b"lost")
    peer = connect(version, client_id=peer.client_id, clean=version == "5")
    assert not peer.session_present
    if version != "5":
        peer.close()
        peer = connect(version, client_id=peer.client_id)
    assert peer.rest() == []


@pytest.mark.parametrize("qos", [1, 2])
def test_what_was_not_acknowledged_comes_again(connect: Connect, kept: Connect, version: str, qos: int) -> None:
    """4.4; 3.3.1.1: under the packet identifier that it had, with DUP."""
    topic, writer = new_name(), connect(version)
    peer = kept(version, by_hand=True)
    peer.subscribe(topic, qos)
    for number in range(3):
        writer.publish(topic, f"{number}", qos)
    found = peer.take(3)
    assert [bool(message.dup) for message in found] == [False] * 3
    if qos == 1:
        peer.acknowledge(found[0])
        peer.rest(0)
    peer.drop()
    again = kept(version, client_id=peer.client_id)
    if qos == 1:  # of QoS 2 PUBREL came, and goes on from there without the payload
        expected = [(message.mid, message.payload) for message in found[1:]]
        assert [(message.mid, message.payload) for message in again.take(2)] == expected
        assert again.rest() == []
    else:
        assert again.rest() == []


def test_dup_is_set_on_repetition(connect: Connect, kept: Connect, version: str) -> None:
    topic, peer = new_name(), kept(version, by_hand=True)
    peer.subscribe(topic, 1)
    connect(version).publish(topic, b"x")
    assert not peer.one().dup
    peer.drop()
    assert kept(version, client_id=peer.client_id).one().dup


def test_it_was_away_while_sent_to(connect: Connect, kept: Connect, version: str) -> None:
    """A cut connection is no end of a session."""
    topic, writer, peer = new_name(), connect(version), kept(version)
    peer.subscribe(topic, 1)
    peer.drop()
    writer.publish(topic, b"x")
    assert kept(version, client_id=peer.client_id).one().payload == b"x"


def test_take_over(connect: Connect, any_version: str) -> None:
    """3.1.4: who comes with the same client identifier ends the other's connection, with reason 0x8E."""
    topic, first = new_name(), connect(any_version)
    first.subscribe(topic, 1)
    second = connect(any_version, client_id=first.client_id)
    assert first.wait_over() == (0x8E if first.is_5 else None)
    connect(any_version).publish(topic, b"x")
    assert second.rest() == []


def test_a_kept_session_is_taken_over(connect: Connect, kept: Connect, version: str) -> None:
    """What the former did not acknowledge goes to who is there now."""
    topic, writer, first = new_name(), connect(version), kept(version, by_hand=True)
    first.subscribe(topic, 1)
    writer.publish(topic, b"1")
    assert first.one().payload == b"1"
    second = kept(version, client_id=first.client_id)
    first.wait_over()
    assert second.session_present or version == "3.1"
    writer.publish(topic, b"2")
    assert [message.payload for message in second.take(2)] == [b"1", b"2"]


def test_a_session_of_one_version_goes_on_in_another(connect: Connect, kept: Connect) -> None:
    topic, old = new_name(), kept("3.1.1")
    old.subscribe(topic, 1)
    old.close()
    connect().publish(topic, b"x", ContentType="text/plain")
    new = kept("5", client_id=old.client_id)
    assert new.session_present
    assert new.one().properties.ContentType == "text/plain"


def test_expiry_of_a_session(connect: Connect, kept: Connect) -> None:
    """3.1.2.11.2: with none it ends with its connection, with one some seconds later."""
    topic, peer = new_name(), connect(clean=False)
    peer.subscribe(topic, 1)
    peer.close()
    assert not connect(client_id=peer.client_id, clean=False).session_present
    short = kept(SessionExpiryInterval=1)
    short.close()
    watch, gone = connect(), new_name()
    watch.subscribe(gone, 1)
    # the will of another whose session ends a second later, with it, says when to look
    other = connect(SessionExpiryInterval=2, will=Will(gone, properties={"WillDelayInterval": 600}))
    other.drop()
    assert watch.one().topic == gone
    assert not kept(client_id=short.client_id).session_present


def test_disconnect_changes_the_expiry(connect: Connect, kept: Connect) -> None:
    """3.14.2.2.2."""
    topic, peer = new_name(), kept(SessionExpiryInterval=600)
    peer.subscribe(topic, 1)
    peer.close(SessionExpiryInterval=0)
    again = kept(client_id=peer.client_id, SessionExpiryInterval=1)
    assert not again.session_present
    again.close(SessionExpiryInterval=600)
    assert kept(client_id=peer.client_id).session_present


def test_disconnect_cannot_keep_what_had_no_expiry(connect: Connect) -> None:
    """3.14.2.2.2: from zero to something is a protocol error."""
    peer = connect()
    peer.close(SessionExpiryInterval=600)
    assert not connect(client_id=peer.client_id, clean=False).session_present


def test_an_assigned_client_identifier(connect: Connect, kept: Connect, version: str) -> None:
    """3.1.3.1: of MQTT 5 it is said, and can be come back to."""
    if version != "5":
        connect(version, client_id="").publish(new_name())  # of 3.1 paho makes one itself
        return
    first = kept(version, client_id="")
    given = first.said["AssignedClientIdentifier"]
    first.subscribe(new_name(), 1)
    first.close()
    again = kept(version, client_id=given)
    assert again.session_present
    assert "AssignedClientIdentifier" not in again.said
    assert connect(version, client_id="").said["AssignedClientIdentifier"] != given
