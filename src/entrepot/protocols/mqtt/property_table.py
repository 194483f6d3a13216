"""MQTT 5's properties (2.2.2.2, table 2-4): numbers, types, in which packets they stand, and how often."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from entrepot.protocols.mqtt.packets import PacketType as P


class PropertyType(enum.IntEnum):
    """How a value is written (1.5). What is below FIXED_TYPES_END has as many octets as SIZES says."""

    BYTE = 0
    TWO_BYTE = 1
    FOUR_BYTE = 2
    VARIABLE = 3
    BINARY = 4
    STRING = 5
    STRING_PAIR = 6


SIZES = {PropertyType.BYTE: 1, PropertyType.TWO_BYTE: 2, PropertyType.FOUR_BYTE: 4}


class PropertyId(enum.IntEnum):
    """Identifiers, named as in the specification."""

    PAYLOAD_FORMAT_INDICATOR = 0x01
    MESSAGE_EXPIRY_INTERVAL = 0x02
    CONTENT_TYPE = 0x03
    RESPONSE_TOPIC = 0x08
    CORRELATION_DATA = 0x09
    SUBSCRIPTION_IDENTIFIER = 0x0B
    SESSION_EXPIRY_INTERVAL = 0x11
    ASSIGNED_CLIENT_IDENTIFIER = 0x12
    SERVER_KEEP_ALIVE = 0x13
    AUTHENTICATION_METHOD = 0x15
    AUTHENTICATION_DATA = 0x16
    REQUEST_PROBLEM_INFORMATION = 0x17
    WILL_DELAY_INTERVAL = 0x18
    REQUEST_RESPONSE_INFORMATION = 0x19
    RESPONSE_INFORMATION = 0x1A
    SERVER_REFERENCE = 0x1C
    REASON_STRING = 0x1F
    RECEIVE_MAXIMUM = 0x21
    TOPIC_ALIAS_MAXIMUM = 0x22
    TOPIC_ALIAS = 0x23
    MAXIMUM_QOS = 0x24
    RETAIN_AVAILABLE = 0x25
    USER_PROPERTY = 0x26
    MAXIMUM_PACKET_SIZE = 0x27
    WILDCARD_SUBSCRIPTION_AVAILABLE = 0x28
    SUBSCRIPTION_IDENTIFIER_AVAILABLE = 0x29
    SHARED_SUBSCRIPTION_AVAILABLE = 0x2A


@dataclass(frozen=True, slots=True)
class Property:
    """One of them. A value outside least..most is a protocol error, as is a second one in a packet that does not stand in `repeated_in`."""

    id: PropertyId
    type: PropertyType
    packets: tuple[P, ...]
    sections: str
    least: int = 0
    most: int = 0xFFFFFFFF
    repeated_in: tuple[P, ...] = ()
    client_must_not: tuple[P, ...] = ()  # only a server sends it in these, though both send the packet


_ACKS = (P.PUBACK, P.PUBREC, P.PUBREL, P.PUBCOMP)
_ALL = (P.WILL, P.CONNECT, P.CONNACK, P.PUBLISH, *_ACKS, P.SUBSCRIBE, P.SUBACK, P.UNSUBSCRIBE, P.UNSUBACK, P.DISCONNECT, P.AUTH)
_I, _T = PropertyId, PropertyType

PROPERTIES: tuple[Property, ...] = (
    Property(_I.PAYLOAD_FORMAT_INDICATOR, _T.BYTE, (P.PUBLISH, P.WILL), "3.1.3.2.3, 3.3.2.3.2", most=1),
    Property(_I.MESSAGE_EXPIRY_INTERVAL, _T.FOUR_BYTE, (P.PUBLISH, P.WILL), "3.1.3.2.4, 3.3.2.3.3"),
    Property(_I.CONTENT_TYPE, _T.STRING, (P.PUBLISH, P.WILL), "3.1.3.2.5, 3.3.2.3.9"),
    Property(_I.RESPONSE_TOPIC, _T.STRING, (P.PUBLISH, P.WILL), "3.1.3.2.6, 3.3.2.3.5"),
    Property(_I.CORRELATION_DATA, _T.BINARY, (P.PUBLISH, P.WILL), "3.1.3.2.7, 3.3.2.3.6"),
    Property(
        _I.SUBSCRIPTION_IDENTIFIER,
        _T.VARIABLE,
        (P.PUBLISH, P.SUBSCRIBE),
        "3.3.2.3.8, 3.8.2.1.2",
        least=1,
        repeated_in=(P.PUBLISH,),
        client_must_not=(P.PUBLISH,),
    ),
    Property(_I.SESSION_EXPIRY_INTERVAL, _T.FOUR_BYTE, (P.CONNECT, P.CONNACK, P.DISCONNECT), "3.1.2.11.2, 3.2.2.3.2, 3.14.2.2.2"),
    Property(_I.ASSIGNED_CLIENT_IDENTIFIER, _T.STRING, (P.CONNACK,), "3.2.2.3.7"),
    Property(_I.SERVER_KEEP_ALIVE, _T.TWO_BYTE, (P.CONNACK,), "3.2.2.3.14"),
    Property(_I.AUTHENTICATION_METHOD, _T.STRING, (P.CONNECT, P.CONNACK, P.AUTH), "3.1.2.11.9, 3.2.2.3.17, 3.15.2.2.2"),
    Property(_I.AUTHENTICATION_DATA, _T.BINARY, (P.CONNECT, P.CONNACK, P.AUTH), "3.1.2.11.10, 3.2.2.3.18, 3.15.2.2.3"),
    Property(_I.REQUEST_PROBLEM_INFORMATION, _T.BYTE, (P.CONNECT,), "3.1.2.11.7", most=1),
    Property(_I.WILL_DELAY_INTERVAL, _T.FOUR_BYTE, (P.WILL,), "3.1.3.2.2"),
    Property(_I.REQUEST_RESPONSE_INFORMATION, _T.BYTE, (P.CONNECT,), "3.1.2.11.6", most=1),
    Property(_I.RESPONSE_INFORMATION, _T.STRING, (P.CONNACK,), "3.2.2.3.15"),
    Property(_I.SERVER_REFERENCE, _T.STRING, (P.CONNACK, P.DISCONNECT), "3.2.2.3.16, 3.14.2.2.5", client_must_not=(P.DISCONNECT,)),
    Property(
        _I.REASON_STRING,
        _T.STRING,
        (P.CONNACK, *_ACKS, P.SUBACK, P.UNSUBACK, P.DISCONNECT, P.AUTH),
        "3.2.2.3.9, 3.4.2.2.2, 3.5.2.2.2, 3.6.2.2.2, 3.7.2.2.2, 3.9.2.1.2, 3.11.2.1.2, 3.14.2.2.3, 3.15.2.2.4",
    ),
    Property(_I.RECEIVE_MAXIMUM, _T.TWO_BYTE, (P.CONNECT, P.CONNACK), "3.1.2.11.3, 3.2.2.3.3", least=1),
    Property(_I.TOPIC_ALIAS_MAXIMUM, _T.TWO_BYTE, (P.CONNECT, P.CONNACK), "3.1.2.11.5, 3.2.2.3.8"),
    Property(_I.TOPIC_ALIAS, _T.TWO_BYTE, (P.PUBLISH,), "3.3.2.3.4"),  # 0 is wrong with a reason code of its own, 0x94
    Property(_I.MAXIMUM_QOS, _T.BYTE, (P.CONNACK,), "3.2.2.3.4", most=1),
    Property(_I.RETAIN_AVAILABLE, _T.BYTE, (P.CONNACK,), "3.2.2.3.5", most=1),
    Property(_I.USER_PROPERTY, _T.STRING_PAIR, _ALL, "2.2.2.2", repeated_in=_ALL),
    Property(_I.MAXIMUM_PACKET_SIZE, _T.FOUR_BYTE, (P.CONNECT, P.CONNACK), "3.1.2.11.4, 3.2.2.3.6", least=1),
    Property(_I.WILDCARD_SUBSCRIPTION_AVAILABLE, _T.BYTE, (P.CONNACK,), "3.2.2.3.11", most=1),
    Property(_I.SUBSCRIPTION_IDENTIFIER_AVAILABLE, _T.BYTE, (P.CONNACK,), "3.2.2.3.12", most=1),
    Property(_I.SHARED_SUBSCRIPTION_AVAILABLE, _T.BYTE, (P.CONNACK,), "3.2.2.3.13", most=1),
)
BY_ID = {one.id: one for one in PROPERTIES}
