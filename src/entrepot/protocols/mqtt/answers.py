"""The packets that a server sends seldom: CONNACK, SUBACK, UNSUBACK, DISCONNECT, AUTH, and acknowledgements that say why.

Where the client takes no packet as long, user properties are left out, and then the reason string (3.2.2.3.9, 3.2.2.3.10): `packet_max`, 0: any.
"""

from __future__ import annotations

from collections.abc import Sequence

from entrepot.protocols.mqtt.packets import MQTT_5, PacketType
from entrepot.protocols.mqtt.properties import NONE, Properties, variable, write_properties
from entrepot.protocols.mqtt.property_table import PropertyId
from entrepot.protocols.mqtt.reason_codes import RETURN_CODES_311, SUBACK_FAILURE_311, ReasonCode


def connack(version: int, session_present: bool, reason_code: int, properties: Properties = NONE, packet_max: int = 0) -> bytes:
    """CONNACK (3.2); nothing, where 3.1 and 3.1.1 have no code for the reason: the connection is closed without it."""
    reason = ReasonCode(reason_code)
    if version < MQTT_5:
        if reason not in RETURN_CODES_311:
            return b""
        code, present = RETURN_CODES_311[reason], session_present and version > 3  # 3.1 has no such flag
        return _packet(PacketType.CONNACK, bytes((present and code == 0, code)))
    return _fitting(PacketType.CONNACK, bytes((session_present and reason < 0x80, reason)), properties, b"", packet_max)


def suback(version: int, packet_id: int, reason_codes: Sequence[int], properties: Properties = NONE, packet_max: int = 0) -> bytes:
    """SUBACK (3.9), a code for each filter in order."""
    head = packet_id.to_bytes(2, "big")
    if version < MQTT_5:
        return _packet(PacketType.SUBACK, head + bytes([code if code <= 2 else SUBACK_FAILURE_311 for code in reason_codes]))
    return _fitting(PacketType.SUBACK, head, properties, bytes(reason_codes), packet_max)


def unsuback(version: int, packet_id: int, reason_codes: Sequence[int], properties: Properties = NONE, packet_max: int = 0) -> bytes:
    """UNSUBACK (3.11); a code for each filter in version 5."""
    head = packet_id.to_bytes(2, "big")
    if version < MQTT_5:
        return _packet(PacketType.UNSUBACK, head)
    return _fitting(PacketType.UNSUBACK, head, properties, bytes(reason_codes), packet_max)


def acknowledgement(kind: int, packet_id: int, reason_code: int, properties: Properties = NONE, packet_max: int = 0) -> bytes:
    """PUBACK, PUBREC, PUBREL or PUBCOMP of version 5 with properties (3.4 to 3.7); Output.acks() writes those without."""
    return _fitting(PacketType(kind), packet_id.to_bytes(2, "big") + bytes((reason_code,)), properties, b"", packet_max)


def disconnect(reason_code: int, properties: Properties = NONE, packet_max: int = 0) -> bytes:
    """DISCONNECT (3.14) of version 5."""
    return _fitting(PacketType.DISCONNECT, bytes((reason_code,)), properties, b"", packet_max)


def auth(reason_code: int, properties: Properties, packet_max: int = 0) -> bytes:
    """AUTH (3.15) of version 5."""
    return _fitting(PacketType.AUTH, bytes((reason_code,)), properties, b"", packet_max)


def _fitting(kind: PacketType, head: bytes, properties: Properties, tail: bytes, packet_max: int) -> bytes:
    for _ in range(2):
        packet = _packet(kind, head + write_properties(properties) + tail)
        if not packet_max or len(packet) <= packet_max:
            return packet
        unneeded = PropertyId.USER_PROPERTY if properties.get(PropertyId.USER_PROPERTY) else PropertyId.REASON_STRING
        properties = properties.without(unneeded)
    return _packet(kind, head + write_properties(properties) + tail)


def _packet(kind: PacketType, rest: bytes) -> bytes:
    flags = 2 if kind == PacketType.PUBREL else 0
    return bytes((kind << 4 | flags,)) + variable(len(rest)) + rest
