"""paho-mqtt of each version of the protocol: messages there and back, filters, subscriptions."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from mqtt_client import DEADLINE_S, Peer, new_name, said_of, seen

Connect = Callable[..., Peer]


@pytest.mark.parametrize("granted", [0, 1, 2])
def test_each_quality_of_service(connect: Connect, any_version: str, granted: int) -> None:
    """3.8.4: a message is sent with the lesser of what it was published with and what was granted."""
    topic, peer = new_name(), connect(any_version)
    assert peer.subscribe(topic, granted) == granted
    for qos in (0, 1, 2):
        assert peer.publish(topic, f"{qos}", qos) == 0
    expected = [(topic, f"{qos}".encode(), min(qos, granted), False) for qos in (0, 1, 2)]
    assert sorted(seen(peer.take(3))) == expected
    assert peer.rest() == []


def test_many_in_order(connect: Connect, version: str) -> None:
    """4.6: per topic and QoS in the order of their publishing."""
    topic, reader, writer = new_name(), connect(version), connect(version)
    reader.subscribe(f"{topic}/#", 2)
    for sent in [writer.client.publish(f"{topic}/{number % 3}", f"{number}".encode(), number % 3) for number in range(300)]:
        sent.wait_for_publish(DEADLINE_S)
    found: dict[str, list[bytes]] = {}
    for message in reader.take(300):
        found.setdefault(message.topic, []).append(message.payload)
    assert found == {f"{topic}/{qos}": [f"{number}".encode() for number in range(qos, 300, 3)] for qos in (0, 1, 2)}


def test_payloads(connect: Connect, version: str) -> None:
    """Any octets, none, and many."""
    topic, peer = new_name(), connect(version)
    peer.subscribe(topic, 2)
    payloads = [b"", bytes(range(256)), b"x" * 2_000_000]
    for qos in (1, 2):
        for payload in payloads:
            peer.publish(topic, payload, qos)
        assert [message.payload for message in peer.take(3)] == payloads


def test_topics_of_any_text(connect: Connect, version: str) -> None:
    """4.7.3: case and empty levels matter; dots, stars and what is not ASCII are nothing special."""
    root, peer = new_name(), connect(version)
    peer.subscribe(f"{root}/#")
    topics = [f"{root}/{rest}" for rest in ("", "/", "a.b", "a/b", "A/b", "*", "a b", "gr\u00fcn/\u00b0C", "\U0001f321", "a/", "/a")]
    for topic in topics:
        peer.publish(topic)
    assert [message.topic for message in peer.take(len(topics))] == topics
    peer.publish(root)
    assert peer.one().topic == root  # 4.7.1.2: the parent, too


@pytest.mark.parametrize(
    ("given", "matched", "others"),
    [
        ("a/+/c", ("a/b/c", "a//c", "a/b.b/c"), ("a/c", "a/b/c/d", "a/b")),
        ("+/b", ("a/b", "/b"), ("b", "a/b/c")),
        ("+", ("a", ""), ("a/", "/a")),
        ("a/#", ("a", "a/", "a/b", "a/b/c"), ("ab", "b/a")),
        ("+/+/#", ("a/b", "a/b/c/d", "/"), ("a",)),
        ("a/*", ("a/*",), ("a/b",)),
        ("a.b", ("a.b",), ("a/b",)),
    ],
)
def test_filters(connect: Connect, given: str, matched: tuple[str, ...], others: tuple[str, ...]) -> None:
    """4.7.1, below a level of the test's own."""
    root, peer = new_name(), connect()
    peer.subscribe(f"{root}/{given}")
    for topic in (*others, *matched):
        peer.publish(f"{root}/{topic}")
    assert [message.topic for message in peer.rest()] == [f"{root}/{topic}" for topic in matched]


@pytest.mark.parametrize("given", ["#", "+/{}", "+/#"])
def test_dollar_topics_and_wildcards(connect: Connect, version: str, given: str) -> None:
    """4.7.2: a filter that begins with a wildcard does not match a topic that begins with $."""
    name, peer = new_name(), connect(version)
    peer.subscribe(given.format(name))
    peer.publish(f"${name}/{name}")
    peer.publish(f"x/{name}")
    assert [message.topic for message in peer.rest() if name in message.topic] == [f"x/{name}"]
    named = connect(version)
    named.subscribe(f"${name}/#")
    peer.publish(f"${name}/{name}")
    assert named.one().topic == f"${name}/{name}"


def test_unsubscribe(connect: Connect, version: str) -> None:
    """3.10.4; 3.11.3: of MQTT 5 with a reason code for each filter."""
    topic, peer = new_name(), connect(version)
    peer.subscribe(topic, 1)
    peer.publish(topic, b"1")
    assert peer.one().payload == b"1"
    code = peer.unsubscribe(topic)
    assert code == (0 if peer.is_5 else None)
    peer.publish(topic, b"2")
    assert peer.rest() == []
    assert peer.unsubscribe(topic) == (0x11 if peer.is_5 else None)


def test_a_subscription_is_replaced(connect: Connect, version: str) -> None:
    """3.8.4: SUBSCRIBE with the same filter gives it a new QoS, and there is one message still."""
    topic, peer = new_name(), connect(version)
    for qos in (0, 2, 1):
        assert peer.subscribe(topic, qos) == qos
        peer.publish(topic, f"{qos}", 2)
        assert seen(peer.rest()) == [(topic, f"{qos}".encode(), qos, False)]


def test_several_filters_at_once(connect: Connect, version: str) -> None:
    topic, peer = new_name(), connect(version)
    _, mid = peer.client.subscribe([(f"{topic}/{qos}", qos) for qos in (2, 0, 1)])
    said, codes = peer.granted.get(timeout=DEADLINE_S)
    assert (said, [code.value for code in codes]) == (mid, [2, 0, 1])


def test_overlapping_filters(connect: Connect, version: str) -> None:
    """3.3.4: one message or several; the highest QoS of those that match has to be there."""
    topic, peer = new_name(), connect(version)
    peer.subscribe(f"{topic}/#", 1)
    peer.subscribe(f"{topic}/+", 2)
    peer.publish(f"{topic}/a", b"x", 2)
    found = [peer.one(), *peer.rest()]
    assert max(message.qos for message in found) == 2
    assert len(found) <= 2


def test_two_clients_and_the_same_filter(connect: Connect, version: str) -> None:
    topic, first, second, writer = new_name(), connect(version), connect(version), connect(version)
    first.subscribe(topic, 1)
    second.subscribe(topic, 0)
    writer.publish(topic, b"x", 2)
    assert [seen(peer.take()) for peer in (first, second)] == [[(topic, b"x", 1, False)], [(topic, b"x", 0, False)]]


@pytest.mark.parametrize(("publisher", "reader"), [("3.1", "5"), ("5", "3.1"), ("3.1.1", "5"), ("5", "3.1.1")])
def test_versions_meet(connect: Connect, publisher: str, reader: str) -> None:
    topic, sends, receives = new_name(), connect(publisher), connect(reader)
    receives.subscribe(topic, 2)
    for qos in (0, 1, 2):
        sends.publish(topic, f"{qos}", qos, **({"UserProperty": ("a", "b"), "ContentType": "text/plain"} if sends.is_5 else {}))
    found = receives.take(3)
    assert sorted(seen(found)) == [(topic, f"{qos}".encode(), qos, False) for qos in (0, 1, 2)]
    assert [said_of(message) for message in found] == [{}] * 3
