"""A list of MQTT 5's properties (2.2.2) of the packets that come seldom: read with every rule of the table, and written.

    variable byte integer: how many bytes follow | (u8 identifier, value)*

A value is u8, u16, u32, a variable byte integer, u16 size and bytes (binary data, or UTF-8), or two strings. codec.py reads those of PUBLISH by itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from entrepot.protocols.mqtt.packets import STRING_MAX, VARIABLE_MAX, PacketType
from entrepot.protocols.mqtt.property_table import BY_ID, SIZES, PropertyId, PropertyType
from entrepot.protocols.mqtt.reason_codes import MqttError, ReasonCode, broken_rule, malformed

PROPERTIES_MAX = 1000
"""Properties of one packet; more than that are refused, for each costs more than its bytes."""


class Properties:
    """(identifier, value) in the order in which they came. Text is str, binary data bytes, a user property a pair of str."""

    __slots__ = ("items",)

    def __init__(self, items: Iterable[tuple[PropertyId, Any]] = ()) -> None:
        self.items = list(items)

    def get(self, identifier: PropertyId, default: Any = None) -> Any:
        """The first value of that identifier."""
        return next((value for other, value in self.items if other == identifier), default)

    def without(self, *identifiers: PropertyId) -> Properties:
        """Those that are none of these."""
        return Properties(item for item in self.items if item[0] not in identifiers)


NONE = Properties()


class Reader:
    """Fields of a packet whose bytes are all here. MqttError, malformed, for what ends before it is whole."""

    __slots__ = ("data", "end", "pos")

    def __init__(self, data: bytes, pos: int = 0) -> None:
        self.data = data
        self.pos = pos
        self.end = len(data)

    @property
    def left(self) -> int:
        """Bytes that are not read."""
        return self.end - self.pos

    def octets(self, count: int) -> bytes:
        """So many bytes."""
        if count > self.end - self.pos:
            raise malformed(f"{count} bytes are to follow, and {self.end - self.pos} do")
        self.pos += count
        return self.data[self.pos - count : self.pos]

    def number(self, size: int) -> int:
        """An integer of `size` bytes."""
        return int.from_bytes(self.octets(size), "big")

    def variable(self) -> int:
        """A variable byte integer, as short as it can be (1.5.5)."""
        value = 0
        for shift in range(0, 28, 7):
            octet = self.number(1)
            value |= (octet & 0x7F) << shift
            if octet < 0x80:
                if octet == 0 and shift:
                    raise malformed("a variable byte integer has more bytes than it needs")
                return value
        raise malformed("a variable byte integer has more than four bytes")

    def binary(self) -> bytes:
        """Binary data (1.5.6), or the bytes of a string that is checked later."""
        return self.octets(self.number(2))

    def text(self) -> str:
        """A UTF-8 string (1.5.4)."""
        return checked_text(self.binary())


def checked_text(octets: bytes) -> str:
    """The text; malformed where it is not UTF-8, or has U+0000 (1.5.4). Surrogates are not UTF-8."""
    try:
        text = octets.decode()
    except UnicodeDecodeError as error:
        raise malformed(f"a string is not UTF-8: {error.reason} at byte {error.start}") from None
    if "\0" in text:
        raise malformed("a string has U+0000")
    return text


def read_properties(reader: Reader, packet: PacketType) -> Properties:
    """What a client's `packet` has, with its length in front; MqttError: malformed, or against a rule of the table."""
    size = reader.variable()
    if size > reader.left:
        raise malformed(f"properties of {size} bytes, where {reader.left} follow")
    inner = Reader(reader.octets(size))
    found: list[tuple[PropertyId, Any]] = []
    seen: set[int] = set()
    while inner.left:
        number = inner.variable()
        known = BY_ID.get(number)  # type: ignore[call-overload]
        if known is None or packet not in known.packets:
            raise malformed(f"property 0x{number:02x} in {packet.name}")
        if packet in known.client_must_not:
            raise broken_rule(f"{known.id.name} in a client's {packet.name}")
        if number in seen and packet not in known.repeated_in:
            raise broken_rule(f"{known.id.name} twice")
        if len(found) >= PROPERTIES_MAX:
            raise MqttError(ReasonCode.QUOTA_EXCEEDED, f"more than {PROPERTIES_MAX} properties")
        seen.add(number)
        value = _read(inner, known.type)
        if isinstance(value, int) and not known.least <= value <= known.most:
            raise broken_rule(f"{known.id.name} is {value}")
        found.append((known.id, value))
    return Properties(found)


def _read(reader: Reader, kind: PropertyType) -> Any:
    if kind in SIZES:
        return reader.number(SIZES[kind])
    if kind == PropertyType.VARIABLE:
        return reader.variable()
    if kind == PropertyType.BINARY:
        return reader.binary()
    if kind == PropertyType.STRING:
        return reader.text()
    return reader.text(), reader.text()


def variable(value: int) -> bytes:
    """As a variable byte integer."""
    if not 0 <= value <= VARIABLE_MAX:
        raise ValueError(f"{value} is no variable byte integer; they go to {VARIABLE_MAX}")
    octets = bytearray()
    while value >= 0x80:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    octets.append(value)
    return bytes(octets)


def binary(octets: bytes) -> bytes:
    """With its size in front."""
    if len(octets) > STRING_MAX:
        raise ValueError(f"string of {len(octets)} bytes; it holds {STRING_MAX}")
    return len(octets).to_bytes(2, "big") + octets


def text(value: str) -> bytes:
    """A UTF-8 string with its size in front."""
    return binary(value.encode())


def write_items(properties: Properties) -> bytes:
    """The list, without its length."""
    return b"".join([bytes((identifier,)) + _write(BY_ID[identifier].type, value) for identifier, value in properties.items])


def write_properties(properties: Properties) -> bytes:
    """The list, with its length in front."""
    items = write_items(properties)
    return variable(len(items)) + items


def _write(kind: PropertyType, value: Any) -> bytes:
    if kind in SIZES:
        octets: bytes = value.to_bytes(SIZES[kind], "big")
        return octets
    if kind == PropertyType.VARIABLE:
        return variable(value)
    if kind == PropertyType.BINARY:
        return binary(value)
    if kind == PropertyType.STRING:
        return text(value)
    return text(value[0]) + text(value[1])
