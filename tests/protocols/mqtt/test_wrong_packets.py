"""Single packets: what each says, and what ends a connection with which reason code."""

from __future__ import annotations

from typing import Any

import pytest
from mqtt_feeding import BROKEN, MALFORMED, TOO_LARGE, accepted, error_of, feed
from mqtt_wire import (
    DISCONNECT,
    PING,
    PUBACK,
    PUBREL,
    ack,
    connect,
    expiry,
    listed,
    packet,
    publish,
    record,
    string,
    subscribe,
    u16,
    unsubscribe,
    user,
)

from entrepot.protocols.mqtt import codec
from entrepot.protocols.mqtt.events import Auth, Connect, Disconnect, Subscribe, Subscription, Unsubscribe
from entrepot.protocols.mqtt.property_table import PROPERTIES, PropertyId, PropertyType
from entrepot.protocols.mqtt.reason_codes import MqttError

# --- CONNECT ----------------------------------------------------------------------------------------------------------------------


def greet(data: bytes) -> Any:
    (event,) = codec.Decoder().push(data)
    return event


@pytest.mark.parametrize("version", [3, 4, 5])
def test_connect(version: int) -> None:
    will = string(b"w/t") + string(b"gone")
    properties = listed(b"\x18\x00\x00\x00\x05", expiry(9), user("a", "b")) if version == 5 else b""
    event = greet(connect(version, "näme", flags=0xEE, keep_alive=300, rest=properties + will + string(b"user") + string(b"\xff\0")))
    assert isinstance(event, Connect)
    assert (event.version, event.client_id, event.clean_start, event.keep_alive_s) == (version, "näme", True, 300)
    assert (event.user_name, event.password) == ("user", b"\xff\0")
    assert event.will is not None
    assert (event.will.topic, event.will.qos, event.will.retain, event.will.body_bytes) == (b"w/t", 1, True, 4)
    kept = (5, b"gone", user("a", "b"), 9) if version == 5 else (5, b"gone")
    assert event.will.record == record(*kept)  # type: ignore[arg-type]
    assert (event.will.delay_s, event.will.expires) == ((5, True) if version == 5 else (0, False))


def test_connect_says_what_its_properties_are() -> None:
    event = greet(connect(5, properties=listed(b"\x21\x00\x0a", b"\x11\x00\x00\x00\x3c", user("a", "1"), user("a", "2"))))
    assert event.properties.items == [
        (PropertyId.RECEIVE_MAXIMUM, 10),
        (PropertyId.SESSION_EXPIRY_INTERVAL, 60),
        (PropertyId.USER_PROPERTY, ("a", "1")),
        (PropertyId.USER_PROPERTY, ("a", "2")),
    ]
    assert greet(connect(5, flags=0x40, rest=string(b"secret"))).password == b"secret"  # without a user name: 3.1.2.9


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (PING, BROKEN),
        (publish(b"a"), BROKEN),
        (b"\x00\x00", BROKEN),
        (b"GET / HTTP/1.1\r\n\r\n", BROKEN),
        (connect(6), 0x84),
        (connect(4, name=b"MQIsdp"), 0x84),
        (connect(3, name=b"MQTT"), 0x84),
        (connect(0x84), 0x84),  # a bridge of another broker
        (connect(4, name=b"mqtt"), 0x84),
        (b"\x11" + connect(4)[1:], MALFORMED),
        (connect(4, flags=3), MALFORMED),
        (connect(4, flags=0x42, rest=string(b"p")), MALFORMED),
        (connect(4, flags=0x0A), MALFORMED),
        (connect(4, flags=0x22), MALFORMED),
        (connect(4, flags=0x1E, rest=string(b"t") + string(b"")), MALFORMED),
        (connect(4, flags=0x06, rest=string(b"t/#") + string(b"")), MALFORMED),
        (connect(4, flags=0x06, rest=string(b"") + string(b"")), MALFORMED),
        (connect(4, flags=0x06, rest=string(b"t")), MALFORMED),
        (connect(4, rest=b"x"), MALFORMED),
        (connect(4, b"\xff"), MALFORMED),
        (connect(4, b"a\0b"), MALFORMED),
        (connect(4, b"\xed\xa0\x80"), MALFORMED),  # a surrogate
        (connect(5, properties=listed(b"\x21\x00\x00")), BROKEN),
        (connect(5, properties=listed(b"\x27\x00\x00\x00\x00")), BROKEN),
        (connect(5, properties=listed(b"\x17\x02")), BROKEN),
        (connect(5, properties=listed(b"\x17\x01\x17\x01")), BROKEN),
        (connect(5, properties=listed(b"\x16" + string(b"data"))), BROKEN),
        (connect(5, properties=listed(b"\x24\x01")), MALFORMED),
        (connect(5, properties=listed(b"\x7f\x01")), MALFORMED),
        (connect(5, properties=listed(b"\x26" + string(b"a"))), MALFORMED),
        (connect(5, properties=b"\x05\x21\x00\x01"), MALFORMED),
        (connect(5, properties=listed(user("a", "b") * 1001)), 0x97),
        (connect(5, properties=b"\x80\x00"), MALFORMED),
        (connect(5, properties=b"\x80\x80\x80\x80\x00"), MALFORMED),
        (connect(5, flags=0x06, rest=listed(b"\x08" + string(b"r/+")) + string(b"t") + string(b"")), MALFORMED),
        (b"\x10\x80\x80\x80\x80\x01", MALFORMED),
        (b"\x10\xff\xff\xff\x7f", TOO_LARGE),
    ],
)
def test_what_is_no_connect(data: bytes, reason: int) -> None:
    error = greet(data)
    assert isinstance(error, MqttError)
    assert int(error.reason_code) == reason


@pytest.mark.parametrize(
    ("data", "version"),
    [
        (connect(5, b"\xff"), 5),
        (connect(4, b"\xff"), 4),
        (connect(3, b"\xff"), 3),
        (connect(6), 4),
        (connect(0x84), 4),
        (connect(4, name=b"MQIsdp"), 4),
        (connect(4, name=b"mqtt"), 0),
        (packet(0x10, b"\x00\x04MQ"), 0),
        (PING, 0),
    ],
)
def test_in_which_version_a_connect_is_refused(data: bytes, version: int) -> None:
    decoder = codec.Decoder()
    assert isinstance(decoder.push(data)[-1], MqttError)
    assert decoder.version == version


def test_nothing_is_decoded_before_the_client_is_let_in() -> None:
    decoder = codec.Decoder()
    assert len(decoder.push(connect(4) + publish(b"a") + PING)) == 1
    assert decoder.feed(0) == []
    assert not decoder.more
    decoder.accept(256 * 1024, None)
    assert len(decoder.feed(0)) == 2


def test_amid_authentication_there_is_auth_and_nothing_else() -> None:
    by_auth = connect(5, properties=listed(b"\x15" + string(b"SCRAM-SHA-256")))
    more = packet(0xF0, b"\x18" + listed(b"\x15" + string(b"SCRAM-SHA-256"), b"\x16" + string(b"x")))
    decoder = codec.Decoder()
    first, second = decoder.push(by_auth + more)
    assert isinstance(first, Connect)
    assert isinstance(second, Auth)
    assert (second.reason_code, second.properties.get(PropertyId.AUTHENTICATION_DATA)) == (0x18, b"x")
    assert int(decoder.push(PING)[-1].reason_code) == BROKEN  # type: ignore[attr-defined]
    decoder = codec.Decoder()
    assert isinstance(decoder.push(by_auth + DISCONNECT + PING)[-1], Disconnect)
    assert decoder.feed(0) == []


def test_a_client_may_leave_before_it_is_let_in() -> None:
    assert isinstance(codec.Decoder().push(connect(4) + DISCONNECT)[-1], Disconnect)


# --- other packets ----------------------------------------------------------------------------------------------------------------


def test_subscribe_and_unsubscribe() -> None:
    first, second = feed(
        accepted(), subscribe(9, (b"a/+", 0x2D), ("ü".encode(), 2), properties=listed(b"\x0b\x80\x01")) + unsubscribe(10, b"x", b"", properties=b"\0")
    )
    assert first == Subscribe(9, [Subscription(b"a/+", 1, True, True, 2), Subscription("ü".encode(), 2)], 128, first.properties)
    assert second == Unsubscribe(10, [b"x", b""], second.properties)
    (event,) = feed(accepted(4), subscribe(9, (b"a/+", 2)))
    assert event.subscriptions == [Subscription(b"a/+", 2)]


def test_disconnect_is_the_last() -> None:
    (event,) = feed(accepted(), packet(0xE0, b"\x04" + listed(b"\x11\x00\x00\x00\x05")) + b"anything")
    assert (event.reason_code, event.properties.get(PropertyId.SESSION_EXPIRY_INTERVAL)) == (4, 5)
    (event,) = feed(accepted(), DISCONNECT)
    assert event.reason_code == 0


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (connect(5), BROKEN),
        (packet(0x20, b"\0\0\0"), BROKEN),
        (packet(0x90, b"\0\1\0"), BROKEN),
        (packet(0xB0, b"\0\1\0"), BROKEN),
        (b"\xd0\x00", BROKEN),
        (b"\x00\x00", MALFORMED),
        (b"\xf0\x00", BROKEN),  # without an authentication method in CONNECT
        (b"\xc1\x00", MALFORMED),
        (b"\xc0\x01\x00", MALFORMED),
        (b"\x36\x03\x00\x01a", MALFORMED),
        (b"\x38\x04\x00\x01a\x00", MALFORMED),
        (b"\x30\x00", MALFORMED),
        (b"\x30\x01\x00", MALFORMED),
        (b"\x30\x02\x00\x05", MALFORMED),
        (b"\x32\x04\x00\x01a\x00", MALFORMED),
        (b"\x30\x03\x00\x01a", MALFORMED),  # no property length
        (b"\x30\x04\x00\x01a\x05", MALFORMED),
        (b"\x30\x05\x00\x01a\x80\x00", MALFORMED),  # longer than it need be
        (b"\x30\x84\x00\x00\x01a\x00", MALFORMED),
        (publish(b"a", qos=1, packet_id=0, properties=b"\0"), BROKEN),
        (publish(b"a/#", properties=b"\0"), MALFORMED),
        (publish(b"a+", properties=b"\0"), MALFORMED),
        (publish(b"\xc0\x80", properties=b"\0"), MALFORMED),
        (publish(b"\0", properties=b"\0"), MALFORMED),
        (publish(b"a", properties=listed(b"\x0b\x01")), BROKEN),
        (publish(b"a", properties=listed(b"\x01\x02")), BROKEN),
        (publish(b"a", properties=listed(b"\x08" + string(b"#"))), MALFORMED),
        (publish(b"a", properties=listed(b"\x08" + string(b""))), MALFORMED),
        (publish(b"a", properties=listed(b"\x03" + string(b"\xff"))), MALFORMED),
        (publish(b"a", properties=listed(b"\x26" + string(b"a") + b"\0")), MALFORMED),
        (publish(b"a", properties=listed(b"\x02\0\0\0")), MALFORMED),
        (publish(b"a", properties=listed(b"\x23\0")), MALFORMED),
        (publish(b"a", properties=listed(b"\x11\0\0\0\0")), MALFORMED),
        (publish(b"a", properties=listed(b"\xff\x01")), MALFORMED),
        (publish(b"a", properties=listed(user("a", "b") * 1001)), 0x97),
        (publish(b"a", properties=listed(user("a", "b" * 60000) + user("a", "b" * 60000))), TOO_LARGE),
        (ack(PUBACK, 0), BROKEN),
        (b"\x40\x01\x00", MALFORMED),
        (b"\x60\x02\x00\x01", MALFORMED),
        (ack(PUBACK, 1, b"\x01"), BROKEN),
        (ack(PUBREL, 1, b"\x80"), BROKEN),
        (ack(PUBACK, 1, b"\x00\x00\x00"), MALFORMED),
        (ack(PUBACK, 1, b"\x00\x03\x21\x00\x01"), MALFORMED),
        (packet(0x82, u16(1) + b"\0"), BROKEN),
        (subscribe(0, (b"a", 0), properties=b"\0"), BROKEN),
        (subscribe(1, (b"a", 3), properties=b"\0"), BROKEN),
        (subscribe(1, (b"a", 0x30), properties=b"\0"), BROKEN),
        (subscribe(1, (b"a", 0x40), properties=b"\0"), MALFORMED),
        (subscribe(1, (b"$share/g/a", 4), properties=b"\0"), BROKEN),
        (subscribe(1, (b"\xff", 0), properties=b"\0"), MALFORMED),
        (subscribe(1, (b"a", 0), properties=listed(b"\x0b\x00")), BROKEN),
        (subscribe(1, (b"a", 0), properties=listed(b"\x0b\x01\x0b\x02")), BROKEN),
        (packet(0x82, u16(1) + b"\0" + string(b"a")), MALFORMED),
        (packet(0x80, u16(1) + b"\0" + string(b"a") + b"\0"), MALFORMED),
        (packet(0xA2, u16(1) + b"\0"), BROKEN),
        (packet(0xA0, u16(1) + b"\0" + string(b"a")), MALFORMED),
        (packet(0xE0, b"\x8b"), BROKEN),
        (packet(0xE0, b"\x00" + listed(b"\x1c" + string(b"there"))), BROKEN),
        (packet(0xE1, b""), MALFORMED),
    ],
)
def test_what_ends_a_connection_of_version_5(data: bytes, reason: int) -> None:
    assert error_of(data) == reason


@pytest.mark.parametrize(
    "data",
    [
        publish(b""),
        publish(b"a", qos=1, packet_id=0),
        publish(b"a", dup=True),
        ack(PUBACK, 1, b"\x00"),
        subscribe(1, (b"a", 4)),
        subscribe(1, (b"a", 3)),
        subscribe(1),
        packet(0xE0, b"\0"),
        b"\xf0\x00",
        b"\x62\x02\x00\x00",
        b"\x60\x02\x00\x01",
    ],
)
def test_what_ends_a_connection_of_version_311(data: bytes) -> None:
    assert error_of(data, version=4) in {MALFORMED, BROKEN}


def test_what_31_says_in_flags_that_later_versions_reserve() -> None:
    again = [b"\x8a" + subscribe(1, (b"a", 1))[1:], b"\xaa" + unsubscribe(2, b"a")[1:], b"\x6a" + ack(PUBREL, 3)[1:], b"\x42\x02\x00\x04"]
    assert [type(event).__name__ for event in feed(accepted(3), b"".join(again))] == ["Subscribe", "Unsubscribe", "AckRun", "AckRun"]
    for data in again:
        assert error_of(data, version=4) == MALFORMED


@pytest.mark.parametrize("one", PROPERTIES, ids=lambda one: one.id.name)
def test_each_property_is_taken_in_publish_as_the_table_says(one: Any) -> None:
    """The decoder has the rules of PUBLISH's properties in code of its own: here they are held against the table."""
    values = {
        PropertyType.BYTE: b"\x01",
        PropertyType.TWO_BYTE: b"\x00\x01",
        PropertyType.FOUR_BYTE: b"\x00\x00\x00\x01",
        PropertyType.VARIABLE: b"\x01",
        PropertyType.BINARY: string(b"b"),
        PropertyType.STRING: string(b"s"),
        PropertyType.STRING_PAIR: string(b"s") * 2,
    }
    written = bytes((one.id,)) + values[one.type]
    events = feed(accepted(), publish(b"a", properties=listed(written)))
    allowed = 3 in one.packets and 3 not in one.client_must_not
    assert isinstance(events[-1], MqttError) != allowed
    if allowed:
        repeated = feed(accepted(), publish(b"a", properties=listed(written * 2)))
        assert isinstance(repeated[-1], MqttError) != (3 in one.repeated_in)
        if one.most == 1:
            assert error_of(publish(b"a", properties=listed(bytes((one.id, 2))))) == BROKEN
    else:
        assert int(events[-1].reason_code) == (BROKEN if 3 in one.packets else MALFORMED)
