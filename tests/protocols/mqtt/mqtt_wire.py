"""A client's packets, octet by octet; and what a server's packets say, read without the code under test."""

from __future__ import annotations

from typing import Any

from entrepot.protocols.mqtt.reason_codes import MqttError

PUBACK, PUBREC, PUBREL, PUBCOMP = 4, 5, 6, 7


def variable(value: int) -> bytes:
    octets = []
    while True:
        octets.append(value % 128 + (128 if value >= 128 else 0))
        value //= 128
        if not value:
            return bytes(octets)


def packet(first: int, rest: bytes) -> bytes:
    return bytes((first,)) + variable(len(rest)) + rest


def string(octets: bytes | str) -> bytes:
    octets = octets.encode() if isinstance(octets, str) else octets
    return len(octets).to_bytes(2, "big") + octets


def u16(value: int) -> bytes:
    return value.to_bytes(2, "big")


def u32(value: int) -> bytes:
    return value.to_bytes(4, "big")


def listed(*properties: bytes) -> bytes:
    return variable(len(b"".join(properties))) + b"".join(properties)


def expiry(seconds: int) -> bytes:
    return b"\x02" + u32(seconds)


def alias(number: int) -> bytes:
    return b"\x23" + u16(number)


def user(name: bytes | str, value: bytes | str) -> bytes:
    return b"\x26" + string(name) + string(value)


def connect(
    version: int = 4,
    client_id: bytes | str = b"c",
    *,
    flags: int = 2,
    keep_alive: int = 60,
    properties: bytes = b"\0",
    rest: bytes = b"",
    name: bytes | None = None,
) -> bytes:
    name = (b"MQIsdp" if version == 3 else b"MQTT") if name is None else name
    head = string(name) + bytes((version, flags)) + u16(keep_alive)
    return packet(0x10, head + (properties if version == 5 else b"") + string(client_id) + rest)


def publish(
    topic: bytes, payload: bytes = b"", qos: int = 0, packet_id: int = 1, *, retain: bool = False, dup: bool = False, properties: bytes | None = None
) -> bytes:
    """`properties` with their length, for version 5."""
    first = 0x30 | dup << 3 | qos << 1 | retain
    return packet(first, string(topic) + (u16(packet_id) if qos else b"") + (properties or b"") + payload)


def ack(kind: int, packet_id: int, rest: bytes = b"") -> bytes:
    return packet(kind << 4 | (2 if kind == PUBREL else 0), u16(packet_id) + rest)


def subscribe(packet_id: int, *filters: tuple[bytes, int], properties: bytes = b"") -> bytes:
    return packet(0x82, u16(packet_id) + properties + b"".join(string(one) + bytes((options,)) for one, options in filters))


def unsubscribe(packet_id: int, *filters: bytes, properties: bytes = b"") -> bytes:
    return packet(0xA2, u16(packet_id) + properties + b"".join(map(string, filters)))


PING, DISCONNECT = b"\xc0\x00", b"\xe0\x00"


def record(flags: int, payload: bytes, properties: bytes = b"", expiry_s: int = -1) -> bytes:
    """As docs/formats/mqtt-entry.md says."""
    head = bytes((flags | (8 if expiry_s >= 0 else 0),)) + (u32(expiry_s) if expiry_s >= 0 else b"") + properties
    return u32(len(head)) + u32(len(payload)) + head + payload


def plain(event: Any) -> tuple[Any, ...]:
    if isinstance(event, MqttError):
        return ("MqttError", int(event.reason_code))
    if hasattr(event, "topic") and hasattr(event, "data"):
        return ("PublishRun", event.topic, event.qos, event.retain, event.data, event.count, event.packet_ids, event.body_bytes, event.expires)
    if hasattr(event, "ascending"):
        return ("AckRun", event.kind, event.reason_code, event.packet_ids, event.count, event.first, event.ascending)
    if type(event).__name__ == "Pings":
        return ("Pings", event.count)
    return (type(event).__name__, repr(event).replace(repr(event.properties), ""), tuple(event.properties.items))


def normalised(events: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """With neighbouring runs joined that one feed() would have given as one."""
    joined: list[tuple[Any, ...]] = []
    for event in events:
        before = joined[-1] if joined else ("",)
        if event[0] == before[0] == "PublishRun" and event[1:4] == before[1:4]:
            joined[-1] = (*before[:4], *(a + b for a, b in zip(before[4:8], event[4:8], strict=True)), before[8] or event[8])
        elif event[0] == before[0] == "AckRun" and event[1:3] == before[1:3]:
            ascending = before[6] and event[6] and event[5] == before[5] + before[4]
            joined[-1] = (*before[:3], before[3] + event[3], before[4] + event[4], before[5], ascending)
        elif event[0] == before[0] == "Pings":
            joined[-1] = ("Pings", before[1] + event[1])
        else:
            joined.append(event)
    return joined


class Server:
    """Packets that a server sent, read one by one."""

    def __init__(self, data: bytes, version: int) -> None:
        self.version = version
        self.packets: list[tuple[int, int, bytes]] = []  # type, flags, what follows
        pos = 0
        while pos < len(data):
            first, size, shift = data[pos], 0, 0
            while True:
                pos += 1
                size |= (data[pos] & 127) << shift
                shift += 7
                if data[pos] < 128:
                    break
            pos += 1
            assert pos + size <= len(data)
            self.packets.append((first >> 4, first & 15, data[pos : pos + size]))
            pos += size

    def publishes(self) -> list[dict[str, Any]]:
        return [self.publish(flags, rest) for kind, flags, rest in self.packets if kind == 3]

    def publish(self, flags: int, rest: bytes) -> dict[str, Any]:
        size = int.from_bytes(rest[:2], "big")
        found: dict[str, Any] = {"topic": rest[2 : 2 + size], "qos": flags >> 1 & 3, "retain": bool(flags & 1), "dup": bool(flags & 8)}
        rest = rest[2 + size :]
        if found["qos"]:
            found["id"], rest = int.from_bytes(rest[:2], "big"), rest[2:]
        if self.version == 5:
            size, at = read_variable(rest)
            found["properties"], rest = rest[at : at + size], rest[at + size :]
        return {**found, "payload": rest}


def read_variable(data: bytes) -> tuple[int, int]:
    value = at = 0
    while True:
        value |= (data[at] & 127) << (7 * at)
        at += 1
        if data[at - 1] < 128:
            return value, at
