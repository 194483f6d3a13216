"""paho-mqtt's own packets, there and back: its client at one end of a pair of sockets, decoder and output at the other."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties as PahoProperties
from paho.mqtt.subscribeoptions import SubscribeOptions

from entrepot.protocols.mqtt import answers, packing
from entrepot.protocols.mqtt.codec import Decoder
from entrepot.protocols.mqtt.events import AckRun, Connect, Disconnect, Pings, PublishRun, Subscribe, Unsubscribe
from entrepot.protocols.mqtt.output import RETAIN_AS_PUBLISHED, Output, make_template
from entrepot.protocols.mqtt.properties import Properties
from entrepot.protocols.mqtt.property_table import PropertyId

PUBACK, PUBREC, PUBREL, PUBCOMP = 4, 5, 6, 7
FIRST_ID = 65_000
TURNS = 40


class Echo:
    """A server of the test: answers everything, and sends each publish back."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self.end = end
        self.decoder = Decoder()
        self.output = Output()
        self.events: list[Any] = []
        self.next_id = FIRST_ID
        self.unsent = b""

    def turn(self) -> None:
        try:
            self.read(self.end.recv_into(self.decoder.writable()))
        except BlockingIOError:
            pass
        self.unsent += self.output.take_joined()
        try:
            self.unsent = self.unsent[self.end.send(self.unsent) :] if self.unsent else b""
        except (BlockingIOError, BrokenPipeError):
            pass

    def read(self, count: int) -> None:
        events = self.decoder.feed(count)
        while events:
            for event in events:
                self.events.append(event)
                self.answer(event)
            events = self.decoder.feed(0)

    def answer(self, event: Any) -> None:
        out, version = self.output, self.decoder.version
        if isinstance(event, Connect):
            said = Properties([(PropertyId.TOPIC_ALIAS_MAXIMUM, 5), (PropertyId.RECEIVE_MAXIMUM, 100), (PropertyId.USER_PROPERTY, ("from", "server"))])
            out.raw(answers.connack(version, True, 0, said))
            self.decoder.accept(256 * 1024, None, 5)
        elif isinstance(event, Subscribe):
            out.raw(answers.suback(version, event.packet_id, [one.qos for one in event.subscriptions]))
        elif isinstance(event, Unsubscribe):
            out.raw(answers.unsuback(version, event.packet_id, [0] * len(event.filters)))
        elif isinstance(event, PublishRun):
            if event.qos:
                out.acks(PUBACK if event.qos == 1 else PUBREC, event.packet_ids, 0)
            template = make_template(
                event.topic, event.qos, has_properties=version == 5, properties=b"\x0b\x07" if version == 5 else b"", retain=RETAIN_AS_PUBLISHED
            )
            assert out.deliver(event.data, 0, event.count, template, self.next_id if event.qos else 0, 3) == len(event.data)
            self.next_id += event.count if event.qos else 0
        elif isinstance(event, AckRun) and event.kind in (PUBREC, PUBREL):
            out.acks(event.kind + 1, event.packet_ids, 0)
        elif isinstance(event, Pings):
            out.pings(event.count)


class Paired(paho.Client):
    """Connects to the end it is given."""

    end: socket.socket

    def _create_socket(self) -> socket.socket:
        return self.end


class Pair:
    def __init__(self, version: MQTTProtocolVersion) -> None:
        left, right = socket.socketpair()
        self.server = Echo(right)
        self.client = Paired(CallbackAPIVersion.VERSION2, "paho", protocol=version)
        self.client.end = left
        self.client.max_inflight_messages_set(0)
        self.seen: list[Any] = []
        self.client.on_connect = lambda *args: self.seen.append(("connect", args[2], args[3], args[4]))
        self.client.on_subscribe = lambda *args: self.seen.append(("subscribe", args[2], args[3]))
        self.client.on_unsubscribe = lambda *args: self.seen.append(("unsubscribe", args[2]))
        self.client.on_publish = lambda *args: self.seen.append(("publish", args[2], args[3]))
        self.client.on_message = lambda _client, _data, message: self.seen.append(message)

    def settle(self) -> list[Any]:
        """Let both talk until neither has anything to say."""
        for _ in range(TURNS):
            if self.client.want_write():
                self.client.loop_write()
            self.server.turn()
            if self.client.socket() is not None:
                self.client.loop_read(100)
        seen, self.seen = self.seen, []
        return seen


@pytest.fixture(params=[MQTTProtocolVersion.MQTTv31, MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5])
def version(request: pytest.FixtureRequest) -> MQTTProtocolVersion:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def pair(version: MQTTProtocolVersion) -> Iterator[Pair]:
    made = Pair(version)
    will = PahoProperties(PacketTypes.WILLMESSAGE)
    will.WillDelayInterval, will.MessageExpiryInterval, will.ContentType = 30, 60, "text/plain"
    own = PahoProperties(PacketTypes.CONNECT)
    own.SessionExpiryInterval, own.ReceiveMaximum, own.UserProperty = 3600, 10, ("a", "b")
    five = version == MQTTProtocolVersion.MQTTv5
    made.client.will_set("last/words", b"gone", 1, retain=True, properties=will if five else None)
    made.client.username_pw_set("user", "secret")
    made.client.connect("here", keepalive=30, clean_start=False if five else paho.MQTT_CLEAN_START_FIRST_ONLY, properties=own if five else None)
    yield made
    made.client.disconnect()
    made.settle()
    assert isinstance(made.server.events[-1], Disconnect)
    made.server.end.close()


def test_connect(pair: Pair, version: int) -> None:
    ((_, flags, reason, properties),) = pair.settle()
    (connect,) = pair.server.events
    assert (connect.version, connect.client_id, connect.keep_alive_s, connect.user_name, connect.password) == (int(version), "paho", 30, "user", b"secret")
    assert (connect.will.topic, connect.will.qos, connect.will.retain) == (b"last/words", 1, True)
    assert packing.payload_of(connect.will.record, 0) == b"gone"
    assert not reason.is_failure
    assert flags.session_present == (version > 3)
    if version == 5:
        assert not connect.clean_start
        assert connect.properties.items == [
            (PropertyId.SESSION_EXPIRY_INTERVAL, 3600),
            (PropertyId.RECEIVE_MAXIMUM, 10),
            (PropertyId.USER_PROPERTY, ("a", "b")),
        ]
        assert (connect.will.delay_s, packing.expiry_of(connect.will.record, 0)) == (30, 60)
        assert packing.properties_of(connect.will.record, 0) == b"\x03\x00\x0atext/plain"
        assert (properties.TopicAliasMaximum, properties.ReceiveMaximum, properties.UserProperty) == (5, 100, [("from", "server")])


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("payload", [b"", b"21.5", bytes(range(256)) * 400])
def test_messages_come_back_as_they_went(pair: Pair, version: int, qos: int, payload: bytes) -> None:
    pair.settle()
    said = PahoProperties(PacketTypes.PUBLISH)
    said.PayloadFormatIndicator, said.MessageExpiryInterval, said.ContentType = 1, 100, "text/x"
    said.ResponseTopic, said.CorrelationData, said.UserProperty = "re/ply", b"\0\xff", [("a", "1"), ("a", "2")]
    for _ in range(5):
        pair.client.publish("tö/pic", payload, qos, retain=True, properties=said if version == 5 else None)
    seen = pair.settle()
    messages = [one for one in seen if not isinstance(one, tuple)]
    assert len([one for one in seen if isinstance(one, tuple)]) == 5  # published
    assert [(one.topic, one.payload, one.qos, one.retain) for one in messages] == [("tö/pic", payload, qos, True)] * 5
    runs = [event for event in pair.server.events if isinstance(event, PublishRun)]
    assert sum(run.count for run in runs) == 5
    if qos:
        assert [one.mid for one in messages] == list(range(FIRST_ID, FIRST_ID + 5))
        acks = [event for event in pair.server.events if isinstance(event, AckRun) and event.kind == (PUBACK if qos == 1 else PUBCOMP)]
        assert sum(ack.count for ack in acks) == 5
        assert acks[0].first == FIRST_ID
    if version == 5:
        for one in messages:
            assert one.properties.json()["UserProperty"] == [("a", "1"), ("a", "2")]
            assert (one.properties.MessageExpiryInterval, one.properties.ContentType, one.properties.SubscriptionIdentifier) == (97, "text/x", [7])
            assert (one.properties.ResponseTopic, one.properties.CorrelationData, one.properties.PayloadFormatIndicator) == ("re/ply", b"\0\xff", 1)


def test_aliases_of_the_client(pair: Pair, version: int) -> None:
    if version != 5:
        return
    pair.settle()
    said = PahoProperties(PacketTypes.PUBLISH)
    said.TopicAlias = 4
    pair.client.publish("a/long/topic", b"1", properties=said)
    pair.client.publish("", b"2", properties=said)
    assert [(one.topic, one.payload) for one in pair.settle() if not isinstance(one, tuple)] == [("a/long/topic", b"1"), ("a/long/topic", b"2")]


def test_subscriptions_and_pings(pair: Pair, version: int) -> None:
    pair.settle()
    if version == 5:
        pair.client.subscribe([("a/#", SubscribeOptions(1, noLocal=True, retainAsPublished=True, retainHandling=2)), ("$share/g/b", SubscribeOptions(2))])
    else:
        pair.client.subscribe([("a/#", 1), ("$share/g/b", 2)])
    pair.client.unsubscribe(["a/#", "x"])
    pair.client._send_pingreq()
    seen = pair.settle()
    assert [one[0] for one in seen] == ["subscribe", "unsubscribe"]
    assert [code.value for code in seen[0][2]] == [1, 2]
    subscribe, unsubscribe, pings = pair.server.events[1:]
    first, second = subscribe.subscriptions
    assert (first.filter, first.qos, second.filter, second.qos) == (b"a/#", 1, b"$share/g/b", 2)
    assert (first.no_local, first.retain_as_published, first.retain_handling) == ((True, True, 2) if version == 5 else (False, False, 0))
    assert unsubscribe.filters == [b"a/#", b"x"]
    assert pings.count == 1
