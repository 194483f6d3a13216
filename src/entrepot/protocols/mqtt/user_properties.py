"""User properties (3.3.2.3.7) in a property list that was checked: found and put there, for what the broker and other protocols ask of a stored record."""

from __future__ import annotations

from entrepot.protocols.mqtt.packing import payload_of, properties_of
from entrepot.protocols.mqtt.property_table import BY_ID, SIZES, PropertyId, PropertyType

USER = int(PropertyId.USER_PROPERTY)
_FIXED = {int(one.id): SIZES[one.type] for one in BY_ID.values() if one.type in SIZES}
_VARIABLE = {int(one.id) for one in BY_ID.values() if one.type == PropertyType.VARIABLE}


def items(listed: bytes) -> list[tuple[int, bytes, bytes]]:
    """(identifier, value, b""), and of a user property (identifier, name, value), of a list of PUBLISH. Values without their sizes."""
    found = []
    pos = 0
    while pos < len(listed):
        kind = listed[pos]
        size = _variable_size(listed, pos + 1) if kind in _VARIABLE else _FIXED.get(kind, -1)
        if size >= 0:
            found.append((kind, listed[pos + 1 : pos + 1 + size], b""))
            pos += 1 + size
            continue
        value, pos = _sized(listed, pos + 1)
        second = b""
        if kind == USER:
            second, pos = _sized(listed, pos)
        found.append((kind, value, second))
    return found


def _variable_size(listed: bytes, pos: int) -> int:
    """Bytes of the variable byte integer there (1.5.5)."""
    size = 1
    while listed[pos + size - 1] & 0x80:
        size += 1
    return size


def _sized(listed: bytes, pos: int) -> tuple[bytes, int]:
    after = pos + 2 + int.from_bytes(listed[pos : pos + 2], "big")
    if after > len(listed):
        raise IndexError("a property list ends in a property")
    return listed[pos + 2 : after], after


def find(data: bytes, pos: int, name: bytes) -> bytes | None:
    """The first user property of that name of the record at `pos`."""
    listed = properties_of(data, pos)
    if name not in listed:
        return None
    return next((value for kind, other, value in items(listed) if kind == USER and other == name), None)


def pack_user(name: bytes, value: bytes) -> bytes:
    """One, as it stands in a list."""
    return b"".join((bytes((USER,)), len(name).to_bytes(2, "big"), name, len(value).to_bytes(2, "big"), value))


def pack_item(kind: int, value: bytes, second: bytes = b"") -> bytes:
    """What items() gives, as it stands in a list."""
    if kind == USER:
        return pack_user(value, second)
    if kind in _FIXED or kind in _VARIABLE:
        return bytes((kind,)) + value
    return bytes((kind,)) + len(value).to_bytes(2, "big") + value


def parts(record: bytes) -> tuple[list[tuple[int, bytes, bytes]], bytes]:
    """Properties and payload of one packed record."""
    return items(properties_of(record, 0)), payload_of(record, 0)
