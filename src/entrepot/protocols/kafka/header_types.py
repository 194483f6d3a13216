"""Header values that are not bytes, as the bytes that Kafka's clients see: text, and back by a letter for the type.

    a null   b bool (true, false)   c d e f g h i j  i8 u8 i16 u16 i32 u32 i64 u64   k l  f32 f64   m decimal   n timestamp (ms since 1970)
    o string   p bytes   q list, r map (JSON)

This module does the rare ones: floating point, decimals, lists, maps. translators do the others themselves.
"""

from __future__ import annotations

import json
import struct
from decimal import Decimal, InvalidOperation
from typing import Any

from entrepot.model.batch import BOOL, BYTES, DECIMAL, F32, F64, I64, LIST, MAP, NULL, STRING, decode_value

LETTERS = b"abcdefghijklmnopqr"
"""By the number of the type (model/batch.py)."""

_NESTING_MAX = 64


def to_text(kind: int, raw: bytes) -> bytes:
    """A value of the neutral form, as text."""
    value = decode_value(kind, raw)
    if kind in (LIST, MAP):
        return json.dumps(value, default=_plain, separators=(",", ":")).encode(errors="surrogateescape")
    if kind == DECIMAL:
        return f"{value:f}".encode()
    return repr(value).encode()


def _plain(value: Any) -> str:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)


def from_text(kind: int, text: bytes) -> bytes | None:
    """The value's bytes in the neutral form; None where the text is no such value."""
    try:
        if kind == F64:
            return struct.pack("<d", float(text))
        if kind == F32:
            return struct.pack("<f", float(text))
        if kind == DECIMAL:
            return _decimal(text.decode())
        if kind in (LIST, MAP):
            value = json.loads(text)
            return _encode(value, 0)[1] if isinstance(value, list if kind == LIST else dict) else None
    except (ValueError, OverflowError, InvalidOperation, RecursionError):
        return None
    return None


def _decimal(text: str) -> bytes | None:
    number = Decimal(text)
    sign, digits, exponent = number.as_tuple()
    if sign or not isinstance(exponent, int) or not -255 <= exponent <= 0:
        return None
    unscaled = int("".join(map(str, digits)))
    return bytes([-exponent]) + unscaled.to_bytes(4, "little") if unscaled < 1 << 32 else None


def _encode(value: Any, depth: int) -> tuple[int, bytes]:
    """Type and bytes of what JSON holds."""
    if depth > _NESTING_MAX:
        raise ValueError("nested too deep")
    if value is None:
        return NULL, b""
    if isinstance(value, bool):
        return BOOL, bytes([value])
    if isinstance(value, int):
        return I64, struct.pack("<q", value) if -(1 << 63) <= value < 1 << 63 else struct.pack("<q", -1)
    if isinstance(value, float):
        return F64, struct.pack("<d", value)
    if isinstance(value, str):
        return STRING, value.encode(errors="surrogateescape")
    if isinstance(value, list):
        return LIST, b"".join(_sized(*_encode(item, depth + 1)) for item in value)
    assert isinstance(value, dict)
    entries = []
    for name, item in value.items():
        raw = name.encode(errors="surrogateescape")
        entries.append(len(raw).to_bytes(2, "little") + raw + _sized(*_encode(item, depth + 1)))
    return MAP, b"".join(entries)


def _sized(kind: int, raw: bytes) -> bytes:
    return bytes([kind]) + len(raw).to_bytes(4, "little") + raw


assert len(LETTERS) > BYTES
