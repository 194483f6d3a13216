"""paho-mqtt: what MQTT 5 adds: properties, subscription options, shared subscriptions, limits, reason codes."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from mqtt_client import DEADLINE_S, Peer, new_name, properties, said_of, seen
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.subscribeoptions import SubscribeOptions

Connect = Callable[..., Peer]


def test_properties_arrive_as_they_were_sent(connect: Connect) -> None:
    """3.3.2.3: unaltered, user properties in their order, with those of one name."""
    topic, peer = new_name(), connect()
    peer.subscribe(topic, 2)
    given = {
        "ContentType": "application/json", "CorrelationData": bytes(range(256)), "ResponseTopic": "an/answer", "PayloadFormatIndicator": 1,
        "UserProperty": [("b", "1"), ("a", "2"), ("b", "3"), ("", ""), ("gr\u00fcn", "\U0001f321")],
    }  # fmt: skip
    for qos in (0, 1, 2):
        peer.publish(topic, "{}", qos, **given)
        assert said_of(peer.one()) == given | {"CorrelationData": bytes(range(256)).hex()}


def test_message_expiry(connect: Connect, kept: Connect, is_entrepot: bool) -> None:
    """3.3.2.3.3: what is left is sent along; what is over is not sent."""
    topic, writer, peer = new_name(), connect(), kept()
    peer.subscribe(topic, 1)
    writer.publish(topic, b"live", MessageExpiryInterval=100)
    assert 99 <= peer.one().properties.MessageExpiryInterval <= 100
    peer.close()
    writer.publish(topic, b"short", MessageExpiryInterval=1)
    writer.publish(topic, b"long", MessageExpiryInterval=100)
    writer.publish(topic, b"for ever")
    threading.Event().wait(1.1 if is_entrepot else 2.1)  # its time passes; others count whole seconds
    again = kept(client_id=peer.client_id)
    first, second = again.take(2)
    assert (first.payload, 96 <= first.properties.MessageExpiryInterval <= 99) == (b"long", True)
    assert (second.payload, said_of(second)) == (b"for ever", {})


def test_subscription_identifiers(connect: Connect) -> None:
    """3.8.4: of all filters that match, in one message or in several."""
    topic, peer = new_name(), connect()
    peer.subscribe(f"{topic}/#", 1, identifier=1)
    peer.subscribe(f"{topic}/a", 1, identifier=268_435_455)
    peer.subscribe(f"{topic}/+", 0)
    peer.publish(f"{topic}/a", b"x")
    found = [peer.one(), *peer.rest()]
    assert sorted(number for message in found for number in said_of(message).get("SubscriptionIdentifier", ())) == [1, 268_435_455]
    peer.subscribe(f"{topic}/#", 1, identifier=2)
    peer.publish(f"{topic}/b", b"x")
    found = [peer.one(), *peer.rest()]
    assert [number for message in found for number in said_of(message).get("SubscriptionIdentifier", ())] == [2]


def test_subscription_identifiers_are_kept(connect: Connect, kept: Connect) -> None:
    topic, peer = new_name(), kept()
    peer.subscribe(topic, 1, identifier=9)
    peer.close()
    connect().publish(topic)
    assert said_of(kept(client_id=peer.client_id).one())["SubscriptionIdentifier"] == [9]


def test_no_local(connect: Connect) -> None:
    """3.8.3.1: what a client publishes does not come back to it."""
    topic, peer, other = new_name(), connect(), connect()
    peer.subscribe(topic, 1, noLocal=True)
    other.subscribe(topic, 1)
    peer.publish(topic, b"mine")
    other.publish(topic, b"other's")
    assert [message.payload for message in other.take(2)] == [b"mine", b"other's"]
    assert [message.payload for message in peer.rest()] == [b"other's"]


def test_topic_aliases_of_a_client(connect: Connect) -> None:
    """3.3.2.3.4: as many as CONNACK says; without a topic the alias stands for the last one. Another client hears of topics alone."""
    topic, reader, peer = new_name(), connect(), connect()
    most = peer.said.get("TopicAliasMaximum", 0)
    assert most >= 1
    reader.subscribe(f"{topic}/#", 1)
    for payload, given, alias in (
        (b"1", f"{topic}/a", 1),
        (b"2", "", 1),
        (b"3", f"{topic}/b", min(2, most)),
        (b"4", "", min(2, most)),
        (b"5", f"{topic}/c", 1),
        (b"6", "", 1),
    ):
        peer.publish(given, payload, TopicAlias=alias)
    assert [(message.topic, message.payload, said_of(message)) for message in reader.take(6)] == [
        (f"{topic}/{rest}", payload, {}) for rest, payload in (("a", b"1"), ("a", b"2"), ("b", b"3"), ("b", b"4"), ("c", b"5"), ("c", b"6"))
    ]


def test_an_alias_beyond_the_maximum(connect: Connect) -> None:
    """3.3.4: reason 0x94."""
    peer = connect()
    peer.client.publish(new_name(), b"x", 0, properties=properties(PacketTypes.PUBLISH, {"TopicAlias": peer.said.get("TopicAliasMaximum", 0) + 1}))
    assert peer.wait_over() == 0x94


def test_topic_aliases_of_a_server(connect: Connect) -> None:
    """3.1.2.11.5: as many as the client allows. paho puts the topic in again itself, where the alias was said before."""
    topic, reader, writer = new_name(), connect(TopicAliasMaximum=3), connect()
    reader.subscribe(f"{topic}/#", 1)
    expected = [(f"{topic}/{number % 7}", f"{number}".encode()) for number in range(50)]
    for number, (given, payload) in enumerate(expected):
        writer.publish(given, payload, number % 2)
    known: dict[int, str] = {}
    found = []
    for message in reader.take(50):
        alias = said_of(message).get("TopicAlias")
        if alias is not None:
            assert 1 <= alias <= 3
            if message.topic:
                known[alias] = message.topic
        found.append((message.topic or known[alias], message.payload))
    assert sorted(found) == sorted(expected)


def test_receive_maximum_of_a_client(connect: Connect, kept: Connect) -> None:
    """3.1.2.11.3: no more than that many are without PUBACK; those of QoS 0 do not count."""
    topic, writer, peer = new_name(), connect(), kept(by_hand=True, ReceiveMaximum=3)
    peer.subscribe(f"{topic}/1", 1)
    peer.subscribe(f"{topic}/0", 0)
    for number in range(10):
        writer.publish(f"{topic}/1", f"{number}")
    first = peer.take(3)
    assert [message.payload for message in first] == [b"0", b"1", b"2"]
    writer.publish(f"{topic}/0", b"at once")
    assert [message.payload for message in peer.rest(0)] == [b"at once"]
    for number in range(3, 10):
        peer.acknowledge(first.pop(0))
        first.append(peer.one())
        assert first[-1].payload == f"{number}".encode()


def test_maximum_packet_size_of_a_client(connect: Connect, kept: Connect) -> None:
    """3.1.2.11.4: what is larger is dropped, and the session goes on as if it had been sent."""
    topic, writer, peer = new_name(), connect(), kept(MaximumPacketSize=200)
    peer.subscribe(topic, 2)
    for qos in (0, 1, 2):
        for payload in (b"a", b"x" * 300, b"b"):
            writer.publish(topic, payload, qos)
    assert sorted(seen(peer.rest())) == sorted((topic, payload, qos, False) for qos in (0, 1, 2) for payload in (b"a", b"b"))


def test_request_and_response(connect: Connect) -> None:
    """4.10: many askers, each with a response topic of its own; correlation data finds its question."""
    topic, answerer = new_name(), connect()
    answerer.subscribe(f"{topic}/ask", 1)
    askers = [connect() for _ in range(3)]
    for number, asker in enumerate(askers):
        asker.subscribe(f"{topic}/answers/{number}", 1)
        for question in range(5):
            asker.publish(f"{topic}/ask", f"{question}", ResponseTopic=f"{topic}/answers/{number}", CorrelationData=bytes((number, question)))
    for question in answerer.take(15):
        said = question.properties
        answerer.publish(said.ResponseTopic, question.payload * 2, CorrelationData=said.CorrelationData)
    for number, asker in enumerate(askers):
        assert [(answer.payload, answer.properties.CorrelationData) for answer in asker.take(5)] == [(f"{n}{n}".encode(), bytes((number, n))) for n in range(5)]


def test_shared_subscriptions(connect: Connect) -> None:
    """4.8.2: each message to one member of a group; a group of another name and who is subscribed alone get all of them."""
    topic, writer, alone, other = new_name(), connect(), connect(), connect()
    members = [connect() for _ in range(3)]
    for member in members:
        assert member.subscribe(f"$share/one/{topic}/+", 1) == 1
    other.subscribe(f"$share/two/{topic}/#", 1)
    alone.subscribe(f"{topic}/#", 1)
    expected = [f"{number}".encode() for number in range(60)]
    for payload in expected:
        writer.publish(f"{topic}/a", payload)
    assert [message.payload for message in alone.take(60)] == expected
    assert [message.payload for message in other.take(60)] == expected
    shares = [[message.payload for message in member.rest()] for member in members]
    while sum(map(len, shares)) < 60:  # a group's queue may be another than a member's own
        for share, member in zip(shares, members, strict=True):
            share += [message.payload for message in member.rest()]
    assert sorted(int(payload) for share in shares for payload in share) == list(range(60))
    assert all(shares)


def test_a_shared_subscription_loses_nothing_with_a_member(connect: Connect, is_entrepot: bool) -> None:
    """4.8.2: what a member did not acknowledge should go to another, of QoS 1."""
    if not is_entrepot:
        pytest.skip("others need not do so")
    topic, writer, first = new_name(), connect(), connect(by_hand=True)
    first.subscribe(f"$share/g/{topic}", 1)
    for number in range(10):
        writer.publish(topic, f"{number}")
    assert len(first.take(10)) == 10
    second = connect()
    second.subscribe(f"$share/g/{topic}", 1)
    first.drop()
    writer.publish(topic, b"10")
    assert sorted(int(message.payload) for message in second.take(11)) == list(range(11))


@pytest.mark.parametrize("bad", ["a/#/b", "a#", "+a/b", "$share/g", "$share//a", "$share/+/a"])
def test_bad_filters(connect: Connect, bad: str) -> None:
    """4.7.1, 4.8.2: a reason code, or the end of the connection; never a subscription."""
    peer = connect()
    peer.client._filter_wildcard_len_check = lambda _: 0  # paho would not send it
    peer.client.subscribe(bad, options=SubscribeOptions(1))
    peer.client.publish(new_name(), b"", 1)  # is answered, or the connection is over
    while not peer.over.is_set():
        if not peer.granted.empty():
            (code,) = peer.granted.get(timeout=DEADLINE_S)[1]
            assert code.value >= 0x80
            return
    assert peer.wait_over() in (0x81, 0x82, 0x8F)


def test_no_local_of_a_shared_subscription(connect: Connect) -> None:
    """3.8.3.1: a protocol error."""
    peer = connect()
    peer.client.subscribe(f"$share/g/{new_name()}", options=SubscribeOptions(1, noLocal=True))
    assert peer.wait_over() == 0x82


def test_server_keep_alive(connect: Connect) -> None:
    """3.2.2.3.14: what the broker says instead holds, if it says something."""
    said = connect(keep_alive=65_535).said
    assert 0 < said.get("ServerKeepAlive", 65_535) <= 65_535
    assert "ServerKeepAlive" not in connect(keep_alive=30).said


def test_what_connack_says(connect: Connect) -> None:
    """3.2.2.3: what a client may do with this broker."""
    said = connect(SessionExpiryInterval=60, RequestProblemInformation=1).said
    assert said.get("MaximumQoS", 2) == 2
    for name in ("RetainAvailable", "WildcardSubscriptionAvailable", "SubscriptionIdentifierAvailable", "SharedSubscriptionAvailable"):
        assert said.get(name, 1) == 1
    assert said.get("SessionExpiryInterval", 60) == 60
    assert said.get("ReceiveMaximum", 65_535) >= 10


def test_nobody_is_subscribed(connect: Connect, is_entrepot: bool) -> None:
    """3.4.2.1: reason 0x10, which brokers may give."""
    peer = connect()
    assert peer.publish(new_name(), b"x", 1) in ((0x10,) if is_entrepot else (0, 0x10))
    assert peer.publish(new_name(), b"x", 2) == 0


@pytest.mark.parametrize("topic", ["a/+", "#", "a/#/b"])
def test_a_topic_with_a_wildcard(connect: Connect, topic: str) -> None:
    """3.3.2.1: no topic to publish to."""
    peer = connect()
    peer.client._raise_for_invalid_topic = lambda *_: None  # paho would not send it
    peer.client._topic_wildcard_len_check = staticmethod(lambda _: 0)
    peer.client.publish(topic, b"x", 0)
    assert peer.wait_over() in (0x81, 0x82, 0x90)
