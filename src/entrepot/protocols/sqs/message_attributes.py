"""Message attributes: checked, packed with their MD5, and read again (packing.py has the layout).

The MD5 is over every attribute in the order of names: u32 size and name, u32 size and type, u8 1 (text) or 2 (bytes), u32 size and value,
big-endian.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any

import cython

from entrepot.protocols.sqs.actions import MessageAttributeValue
from entrepot.protocols.sqs.characters import ALLOWED, ATTRIBUTE_NAME
from entrepot.protocols.sqs.errors import SqsError, invalid_value

if not cython.compiled:
    from entrepot.model.octets import get_u16_le, get_u32_le, take
    from entrepot.protocols.sqs.characters import illegal_at
    from entrepot.protocols.sqs.writing import Writer

ATTRIBUTES_MAX = 10
NAME_MAX = 256
TYPE_MAX = 255  # bytes; one octet holds the size
TRACE_HEADER = "AWSTraceHeader"
TRACE_MAX = 65_535

_BINARY = 66  # B
_KIND = re.compile(r"[A-Za-z0-9_\-.]{1,256}")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)


def pack_attributes(attributes: dict[str, MessageAttributeValue]) -> tuple[bytes, int]:
    """MD5 and packed attributes, and how many bytes of the message's size they are. Raises SqsError."""
    if len(attributes) > ATTRIBUTES_MAX:
        raise invalid_value(f"Number of message attributes [{len(attributes)}] exceeds the allowed maximum [{ATTRIBUTES_MAX}].")
    parts: list[bytes] = []
    digest = hashlib.md5(usedforsecurity=False)
    counted = 0
    for name in sorted(attributes):
        kind, value = _checked(name, attributes[name])
        raw_name, raw_kind = name.encode(), kind.encode()
        counted += len(raw_name) + len(raw_kind) + len(value)
        parts += (
            len(raw_name).to_bytes(2, "little"),
            raw_name,
            len(raw_kind).to_bytes(1, "little"),
            raw_kind,
            len(value).to_bytes(4, "little"),
            value,
        )
        _digest(digest, raw_name, raw_kind, value)
    return digest.digest() + b"".join(parts), counted


def pack_trace(attributes: dict[str, MessageAttributeValue]) -> tuple[bytes, str]:
    """The value of AWSTraceHeader and the MD5 of the system attributes. Raises SqsError."""
    for name in attributes:
        if name != TRACE_HEADER:
            raise invalid_value(f"Value {name[:80]} for parameter MessageSystemAttributeName is invalid. Reason: only {TRACE_HEADER} can be set.")
    value = attributes.get(TRACE_HEADER)
    if value is None:
        return b"", ""
    kind, raw = _checked(TRACE_HEADER, value, system=True)
    if kind != "String" or len(raw) > TRACE_MAX:
        raise invalid_value(f"The message system attribute '{TRACE_HEADER}' must be of type String, and at most {TRACE_MAX} bytes.")
    digest = hashlib.md5(usedforsecurity=False)
    _digest(digest, TRACE_HEADER.encode(), kind.encode(), raw)
    return raw, digest.hexdigest()


def trace_of(header: bytes) -> bytes:
    """What the header X-Amzn-Trace-Id says, as the value of AWSTraceHeader where a message has none of its own; b"": nothing that one may say."""
    return header if len(header) <= TRACE_MAX and header.isascii() and header.decode().isprintable() else b""


def _digest(digest: Any, name: bytes, kind: bytes, value: bytes) -> None:
    digest.update(len(name).to_bytes(4, "big") + name + len(kind).to_bytes(4, "big") + kind)
    digest.update((b"\x02" if kind[0] == _BINARY else b"\x01") + len(value).to_bytes(4, "big"))
    digest.update(value)


def digest_of(attributes: list[tuple[bytes, bytes, bytes]]) -> bytes:
    """The MD5 of attributes that are in the order of their names."""
    digest = hashlib.md5(usedforsecurity=False)
    for name, kind, value in attributes:
        _digest(digest, name, kind, value)
    return digest.digest()


def _checked(name: str, attribute: MessageAttributeValue, system: bool = False) -> tuple[str, bytes]:
    """Type and value of one attribute. Raises SqsError."""
    lower = name.lower()
    if (
        not ATTRIBUTE_NAME.fullmatch(name)
        or name.startswith(".")
        or name.endswith(".")
        or ".." in name
        or (not system and lower.startswith(("aws.", "amazon.")))
    ):
        raise invalid_value(
            f"The message attribute name '{name[:300]}' is invalid. "
            "Attribute name can contain A-Z, a-z, 0-9, underscore (_), hyphen (-), and period (.) characters."
        )
    kind = attribute.DataType
    if not kind:
        raise invalid_value(f"The message attribute '{name}' must contain non-empty message attribute type.")
    base, _, label = kind.partition(".")
    if base not in ("String", "Number", "Binary") or ("." in kind and not label) or len(kind) > TYPE_MAX or not _KIND.fullmatch(kind):
        raise invalid_value(
            f"The message attribute '{name}' has an invalid message attribute type, the set of supported type prefixes is Binary, Number, and String."
        )
    if attribute.StringListValues or attribute.BinaryListValues:
        raise SqsError("UnsupportedOperation", "Message attribute list values in SendMessage operation are not supported.")
    if attribute.StringValue is not None and attribute.BinaryValue is not None:
        raise invalid_value(f"Message attribute '{name}' has two values: StringValue and BinaryValue exclude each other.")
    if base == "Binary":
        if not attribute.BinaryValue:
            raise _empty(name, kind)
        return kind, attribute.BinaryValue
    if not attribute.StringValue:
        raise _empty(name, kind)
    text = attribute.StringValue
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        raise _characters(name) from None
    if illegal_at(raw) >= 0:
        raise _characters(name)
    if base == "Number" and not _NUMBER.fullmatch(text):
        raise invalid_value(f"Can't cast the value of message (user) attribute '{name}' to a number.")
    return kind, raw


def _empty(name: str, kind: str) -> SqsError:
    return invalid_value(f"Message (user) attribute '{name}' must contain a non-empty value of type '{kind[:80]}'.")


def _characters(name: str) -> SqsError:
    return invalid_value(f"The value of message attribute '{name}' contains a character that is not allowed, the set of allowed characters is {ALLOWED}")


class Selection:
    """Which message attributes a receiver asked for: names, prefixes (`name.*`), or all (`All`, `.*`)."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names: set[bytes] = set()
        self.prefixes: list[bytes] = []
        self.all = False
        for name in names:
            if name in ("All", ".*", "*"):
                self.all = True
            elif name.endswith(".*"):
                self.prefixes.append(name.removesuffix(".*").encode(errors="replace"))
            else:
                self.names.add(name.encode(errors="replace"))

    def has(self, name: bytes) -> bool:
        """Whether this one is asked for."""
        return self.all or name in self.names or any(name.startswith(prefix) for prefix in self.prefixes)


def unpack(packed: bytes) -> list[tuple[bytes, bytes, bytes]]:
    """Name, type and value of each; `packed` begins with the MD5."""
    pos = 16
    found: list[tuple[bytes, bytes, bytes]] = []
    while pos < len(packed):
        size = get_u16_le(packed, pos)
        name = take(packed, pos + 2, size)
        pos = pos + 2 + size
        size = packed[pos]
        kind = take(packed, pos + 1, size)
        pos = pos + 1 + size
        size = get_u32_le(packed, pos)
        found.append((name, kind, take(packed, pos + 4, size)))
        pos = pos + 4 + size
    return found


def select(packed: bytes, selection: Selection) -> tuple[list[tuple[bytes, bytes, bytes]], bytes]:
    """Those asked for, and their MD5 (b"" where there is none)."""
    found = unpack(packed)
    if selection.all:
        return found, take(packed, 0, 16)
    chosen = [attribute for attribute in found if selection.has(attribute[0])]
    if len(chosen) == len(found):
        return chosen, take(packed, 0, 16)
    if not chosen:
        return [], b""
    return chosen, digest_of(chosen)


def write_json(writer: Writer, attributes: list[tuple[bytes, bytes, bytes]]) -> int:
    """The attributes as a JSON object."""
    first = True
    writer.raw(b"{")
    for name, kind, value in attributes:
        writer.raw(b'"' if first else b',"')
        first = False
        writer.string(name, 0, len(name))
        if kind[0] == _BINARY:
            writer.raw(b'":{"BinaryValue":"')
            writer.base64(value, 0, len(value))
        else:
            writer.raw(b'":{"StringValue":"')
            writer.string(value, 0, len(value))
        writer.raw(b'","DataType":"')
        writer.string(kind, 0, len(kind))
        writer.raw(b'"}')
    writer.raw(b"}")
    return 0


def as_values(attributes: list[tuple[bytes, bytes, bytes]]) -> dict[str, MessageAttributeValue]:
    """The attributes as the API's structures."""
    return {
        name.decode(): MessageAttributeValue(BinaryValue=value, DataType=kind.decode())
        if kind[0] == _BINARY
        else MessageAttributeValue(StringValue=value.decode(errors="replace"), DataType=kind.decode())
        for name, kind, value in attributes
    }
