"""MQTT's control packets: numbers, flags of the fixed header, who sends them. Sections are those of MQTT 5.0; 3.1.1 has the same, unless said otherwise."""

from __future__ import annotations

import enum
from dataclasses import dataclass

MQTT_31, MQTT_311, MQTT_5 = 3, 4, 5
"""Versions, by the protocol level in CONNECT (3.1.2.2)."""

PROTOCOL_NAMES = {b"MQIsdp": (MQTT_31,), b"MQTT": (MQTT_311, MQTT_5)}
"""Protocol name (3.1.2.1; of 3.1: its section 3.1) and the levels that go with it."""

VARIABLE_MAX = 268_435_455
"""Greatest variable byte integer (1.5.5): four octets of seven bits."""

STRING_MAX = 65_535
"""Bytes of a UTF-8 string (1.5.4), and of binary data (1.5.6)."""


class PacketType(enum.IntEnum):
    """Upper four bits of a packet's first octet (2.1.2). WILL is none: the will's properties in CONNECT are a list of their own (3.1.3.2)."""

    WILL = 0
    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    PUBREC = 5
    PUBREL = 6
    PUBCOMP = 7
    SUBSCRIBE = 8
    SUBACK = 9
    UNSUBSCRIBE = 10
    UNSUBACK = 11
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14
    AUTH = 15


@dataclass(frozen=True, slots=True)
class Packet:
    """What the fixed header of a packet must be (2.1.3), and who sends it in which version."""

    type: PacketType
    section: str
    flags: int  # -1: they say something (PUBLISH)
    by_client: bool
    by_server: bool
    since: int = MQTT_31
    server_since: int = MQTT_31
    flags_ignored_31: int = 0  # of 3.1, section 2.1: a repeated request has DUP, and unused flags say nothing


PACKETS: tuple[Packet, ...] = (
    Packet(PacketType.CONNECT, "3.1", 0, True, False),
    Packet(PacketType.CONNACK, "3.2", 0, False, True),
    Packet(PacketType.PUBLISH, "3.3", -1, True, True),
    Packet(PacketType.PUBACK, "3.4", 0, True, True, flags_ignored_31=0x0F),
    Packet(PacketType.PUBREC, "3.5", 0, True, True, flags_ignored_31=0x0F),
    Packet(PacketType.PUBREL, "3.6", 2, True, True, flags_ignored_31=0x08),
    Packet(PacketType.PUBCOMP, "3.7", 0, True, True, flags_ignored_31=0x0F),
    Packet(PacketType.SUBSCRIBE, "3.8", 2, True, False, flags_ignored_31=0x08),
    Packet(PacketType.SUBACK, "3.9", 0, False, True),
    Packet(PacketType.UNSUBSCRIBE, "3.10", 2, True, False, flags_ignored_31=0x08),
    Packet(PacketType.UNSUBACK, "3.11", 0, False, True),
    Packet(PacketType.PINGREQ, "3.12", 0, True, False, flags_ignored_31=0x0F),
    Packet(PacketType.PINGRESP, "3.13", 0, False, True),
    Packet(PacketType.DISCONNECT, "3.14", 0, True, True, server_since=MQTT_5, flags_ignored_31=0x0F),
    Packet(PacketType.AUTH, "3.15", 0, True, True, since=MQTT_5, server_since=MQTT_5),
)
"""Table 2-1 and 2-2, without the reserved type 0."""
