"""paho-mqtt: retained messages."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from mqtt_client import Peer, new_name, said_of, seen

Connect = Callable[..., Peer]


def sorted_by_topic(messages: list[object]) -> list[tuple[str, bytes, int, bool]]:
    return sorted(seen(messages))


def test_the_last_one_is_kept(connect: Connect, any_version: str) -> None:
    """3.3.1.3: a new subscription gets the last one with RETAIN; who is subscribed already gets each without."""
    topic, writer, early = new_name(), connect(any_version), connect(any_version)
    early.subscribe(topic, 2)
    for number in range(3):
        writer.publish(topic, f"{number}", number, retain=True)
    writer.publish(topic, b"not kept", 1)
    assert [(payload, retain) for _, payload, _, retain in seen(early.take(4))] == [(b"0", False), (b"1", False), (b"2", False), (b"not kept", False)]
    late = connect(any_version)
    late.subscribe(topic, 1)
    assert seen(late.rest()) == [(topic, b"2", 1, True)]
    writer.publish(topic, retain=True)


def test_an_empty_one_removes_it(connect: Connect, version: str) -> None:
    """3.3.1.3: and is itself sent to those who are subscribed, but not kept."""
    topic, peer, watch = new_name(), connect(version), connect(version)
    watch.subscribe(topic, 1)
    peer.publish(topic, b"x", retain=True)
    peer.publish(topic, b"", retain=True)
    assert [message.payload for message in watch.take(2)] == [b"x", b""]
    peer.subscribe(topic)
    assert peer.rest() == []


def test_wildcards(connect: Connect, version: str) -> None:
    root, writer = new_name(), connect(version)
    topics = [f"{root}/{rest}" for rest in ("a", "a/b", "a/c", "a/b/c", "b", "a.b", "")] + [root]
    for topic in topics:
        writer.publish(topic, topic, retain=True)
    for given, expected in {
        "#": topics,
        "+": [f"{root}/{rest}" for rest in ("a", "b", "a.b", "")],
        "a/#": [f"{root}/{rest}" for rest in ("a", "a/b", "a/c", "a/b/c")],
        "a/+": [f"{root}/a/b", f"{root}/a/c"],
        "+/+/c": [f"{root}/a/b/c"],
        "c/#": [],
    }.items():
        peer = connect(version)
        peer.subscribe(f"{root}/{given}", 1)
        assert sorted_by_topic(peer.rest()) == sorted((topic, topic.encode(), 1, True) for topic in expected)
    for topic in topics:
        writer.publish(topic, retain=True)


def test_many(connect: Connect, version: str) -> None:
    """More than fit in what a client takes at a time."""
    root, peer = new_name(), connect(version)
    for sent in [peer.client.publish(f"{root}/{number % 10}/{number}", f"{number}", 1, True) for number in range(500)]:
        sent.wait_for_publish(20)
    reader = connect(version)
    reader.subscribe(f"{root}/#", 1)
    found = reader.take(500)
    assert {message.topic: message.payload for message in found} == {f"{root}/{number % 10}/{number}": f"{number}".encode() for number in range(500)}
    assert all(message.retain for message in found)
    for sent in [peer.client.publish(f"{root}/{number % 10}/{number}", b"", 1, True) for number in range(500)]:
        sent.wait_for_publish(20)
    gone = connect(version)
    gone.subscribe(f"{root}/#", 1)
    assert gone.rest() == []


def test_a_subscription_again_sends_it_again(connect: Connect, version: str) -> None:
    """3.8.4: and of MQTT 5 retain handling 1 only if there was none, 2 never (3.8.3.1)."""
    topic, peer = new_name(), connect(version)
    peer.publish(topic, b"x", retain=True)
    peer.subscribe(topic, 1)
    peer.subscribe(topic, 1)
    assert seen(peer.take(2)) == [(topic, b"x", 1, True)] * 2
    if peer.is_5:
        peer.subscribe(topic, 1, retainHandling=1)
        assert peer.rest() == []
        peer.unsubscribe(topic)
        peer.subscribe(topic, 1, retainHandling=1)
        assert peer.one().payload == b"x"
        peer.unsubscribe(topic)
        peer.subscribe(topic, 1, retainHandling=2)
        assert peer.rest() == []
    peer.publish(topic, retain=True)


def test_retain_as_published(connect: Connect) -> None:
    """3.8.3.1: RETAIN as the publisher set it."""
    topic, peer = new_name(), connect()
    peer.subscribe(topic, 1, retainAsPublished=True)
    peer.publish(topic, b"1", retain=True)
    peer.publish(topic, b"2")
    assert [(message.payload, bool(message.retain)) for message in peer.take(2)] == [(b"1", True), (b"2", False)]
    peer.publish(topic, retain=True)


def test_it_keeps_its_properties(connect: Connect) -> None:
    topic, peer = new_name(), connect()
    given = {
        "ContentType": "text/plain", "CorrelationData": b"\0\1", "ResponseTopic": "back", "PayloadFormatIndicator": 1, "UserProperty": [("a", "1"), ("a", "2")],
    }  # fmt: skip
    peer.publish(topic, b"x", retain=True, **given)
    late = connect()
    late.subscribe(topic, 1, identifier=7)
    said = said_of(late.one())
    assert said.pop("SubscriptionIdentifier") == [7]
    assert said == given | {"CorrelationData": "0001"}
    peer.publish(topic, retain=True)


def test_it_expires(connect: Connect) -> None:
    """3.3.2.3.3: and says until then how long it has."""
    topic, peer, watch = new_name(), connect(), connect()
    peer.publish(f"{topic}/short", b"x", retain=True, MessageExpiryInterval=1)
    peer.publish(f"{topic}/long", b"x", retain=True, MessageExpiryInterval=600)
    watch.subscribe(f"{topic}/#")
    assert {message.topic: 0 < message.properties.MessageExpiryInterval <= 600 for message in watch.take(2)} == {
        f"{topic}/{rest}": True for rest in ("short", "long")
    }
    while True:  # until it is over
        late = connect()
        late.subscribe(f"{topic}/#", 1)
        found = [message.topic for message in late.rest()]
        late.close()
        if found == [f"{topic}/long"]:
            break
        assert sorted(found) == [f"{topic}/long", f"{topic}/short"]
    peer.publish(f"{topic}/long", retain=True)


def test_a_kept_session_gets_it_once(connect: Connect, kept: Connect, version: str) -> None:
    """Who comes back to its subscriptions does not subscribe anew."""
    topic, writer, peer = new_name(), connect(version), kept(version)
    writer.publish(topic, b"x", retain=True)
    peer.subscribe(topic, 1)
    assert seen([peer.one()]) == [(topic, b"x", 1, True)]
    peer.close()
    again = kept(version, client_id=peer.client_id)
    assert [message for message in again.rest() if not message.dup] == []  # repeated, if its acknowledgement is still on its way between two processes
    writer.publish(topic, retain=True)


@pytest.mark.parametrize("given", ["$share/g/{}", "{}"])
def test_a_shared_subscription_gets_none(connect: Connect, given: str) -> None:
    """4.8.2."""
    topic, peer = new_name(), connect()
    peer.publish(topic, b"x", retain=True)
    peer.subscribe(given.format(topic), 1)
    assert len(peer.rest()) == (not given.startswith("$share"))
    peer.publish(topic, retain=True)
