"""Field tables and arrays of AMQP 0-9-1 to Python values and back, with the types RabbitMQ reads (its 0-9-1 errata page).

    t bool | b B s u I i l L int | f d float | D Decimal | S str | x bytes | T datetime | F dict | A list | V None

Text that is not UTF-8 keeps its bytes as surrogate escapes; a timestamp (u64 seconds since 1970, read as aware UTC) that datetime cannot
hold is an int. Where a name stands twice in a table the first value counts, as RabbitMQ looks names up. `U`, and `s` as a short string, are the
specification's and not RabbitMQ's: refused. Interpreted, for the rare control methods; what is in messages is never decoded here.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from entrepot.protocols.amqp091.reply_codes import AmqpError

_NUMBERS = {
    0x62: struct.Struct(">b"),
    0x42: struct.Struct(">B"),
    0x73: struct.Struct(">h"),
    0x75: struct.Struct(">H"),
    0x49: struct.Struct(">i"),
    0x69: struct.Struct(">I"),
    0x6C: struct.Struct(">q"),
    0x4C: struct.Struct(">q"),  # RabbitMQ reads both as signed
    0x66: struct.Struct(">f"),
    0x64: struct.Struct(">d"),
}
_I32 = struct.Struct(">i")
_I64 = struct.Struct(">q")
_U32 = struct.Struct(">I")
_DOUBLE = struct.Struct(">d")
_TIMESTAMP_MAX_S = int(datetime.max.replace(tzinfo=UTC).timestamp())


@dataclass(frozen=True, slots=True)
class TableLimits:
    """What one table may be: bytes, tables and arrays inside one another (itself counted), and values in all of it."""

    size_max_bytes: int = 128 * 1024
    nesting_max: int = 16
    values_max: int = 4096


DEFAULT_LIMITS = TableLimits()


def decode_table(data: bytes, pos: int = 0, limits: TableLimits = DEFAULT_LIMITS) -> tuple[dict[str, Any], int]:
    """The table at `pos` and the position after it. Raises AmqpError 501 where it is malformed or over a limit."""
    return _Reader(data, limits).table(pos, len(data), 1)


def encode_table(values: Mapping[str, Any]) -> bytes:
    """The field table of `values`. Raises ValueError for what has no field type or does not fit one."""
    parts = []
    for name, value in values.items():
        raw = name.encode(errors="surrogateescape")
        if len(raw) > 255:
            raise ValueError(f"field name of {len(raw)} bytes; the limit is 255")
        parts.append(bytes((len(raw),)) + raw + encode_value(value))
    return _sized(b"".join(parts))


def encode_value(value: Any) -> bytes:
    """Type octet and value; the type follows the Python type, an int's its size (I, else l)."""
    match value:
        case bool():
            return b"t\x01" if value else b"t\x00"
        case None:
            return b"V"
        case datetime():
            seconds = int(value.timestamp())
            if seconds < 0:
                raise ValueError(f"timestamp {value}; a field holds them from 1970")
            return b"T" + seconds.to_bytes(8, "big")
        case int():
            if -(2**31) <= value < 2**31:
                return b"I" + _I32.pack(value)
            if -(2**63) <= value < 2**63:
                return b"l" + _I64.pack(value)
            raise ValueError(f"integer {value} does not fit a field (64 bits, signed)")
        case str():
            return b"S" + _sized(value.encode(errors="surrogateescape"))
        case bytes() | bytearray():
            return b"x" + _sized(bytes(value))
        case float():
            return b"d" + _DOUBLE.pack(value)
        case Decimal():
            return _encode_decimal(value)
        case Mapping():
            return b"F" + encode_table(value)
        case Sequence():
            return b"A" + _sized(b"".join(encode_value(item) for item in value))
    raise ValueError(f"a field cannot hold {type(value).__name__}")


def _encode_decimal(value: Decimal) -> bytes:
    sign, digits, exponent = value.as_tuple()
    if isinstance(exponent, str) or sign:
        raise ValueError(f"decimal {value}; a field holds finite ones from 0")
    number = int("".join(map(str, digits))) * 10 ** max(exponent, 0)
    scale = max(-exponent, 0)
    if scale > 255 or number > 0xFFFFFFFF:
        raise ValueError(f"decimal {value} does not fit a field (32 bits, scale to 255)")
    return b"D" + bytes((scale,)) + _U32.pack(number)


def _sized(data: bytes) -> bytes:
    return _U32.pack(len(data)) + data


class _Reader:
    """One table being read: counts its values."""

    def __init__(self, data: bytes, limits: TableLimits) -> None:
        self.data = data
        self.limits = limits
        self.values = 0

    def table(self, pos: int, end: int, nesting: int) -> tuple[dict[str, Any], int]:
        pos, stop = self._sized(pos, end, nesting)
        result: dict[str, Any] = {}
        while pos < stop:
            length = self.data[pos]
            pos += 1
            if length > stop - pos:
                raise AmqpError(501, "field table ends inside a name")
            name = self.data[pos : pos + length].decode(errors="surrogateescape")
            value, pos = self._value(pos + length, stop, nesting)
            result.setdefault(name, value)
        return result, pos

    def _array(self, pos: int, end: int, nesting: int) -> tuple[list[Any], int]:
        pos, stop = self._sized(pos, end, nesting)
        result = []
        while pos < stop:
            value, pos = self._value(pos, stop, nesting)
            result.append(value)
        return result, pos

    def _sized(self, pos: int, end: int, nesting: int) -> tuple[int, int]:
        if nesting > self.limits.nesting_max:
            raise AmqpError(501, f"field tables nested more than {self.limits.nesting_max} deep")
        size, pos = self._size(pos, end)
        if size > self.limits.size_max_bytes:
            raise AmqpError(501, f"field table of {size} bytes; the limit is {self.limits.size_max_bytes}")
        return pos, pos + size

    def _size(self, pos: int, end: int) -> tuple[int, int]:
        if end - pos < 4:
            raise AmqpError(501, "field table ends inside a size")
        size: int = _U32.unpack_from(self.data, pos)[0]
        if size > end - pos - 4:
            raise AmqpError(501, f"field of {size} bytes passes the end of what holds it")
        return size, pos + 4

    def _value(self, pos: int, end: int, nesting: int) -> tuple[Any, int]:
        self.values += 1
        if self.values > self.limits.values_max:
            raise AmqpError(501, f"field table with more than {self.limits.values_max} values")
        if pos >= end:
            raise AmqpError(501, "field table ends before a type")
        kind = self.data[pos]
        pos += 1
        number = _NUMBERS.get(kind)
        if number is not None:
            self._need(number.size, pos, end)
            return number.unpack_from(self.data, pos)[0], pos + number.size
        match kind:
            case 0x53 | 0x78:  # S x
                size, pos = self._size(pos, end)
                raw = self.data[pos : pos + size]
                return (raw if kind == 0x78 else raw.decode(errors="surrogateescape")), pos + size
            case 0x74:  # t
                self._need(1, pos, end)
                return self.data[pos] != 0, pos + 1
            case 0x54:  # T
                self._need(8, pos, end)
                seconds = int.from_bytes(self.data[pos : pos + 8], "big")
                return (datetime.fromtimestamp(seconds, UTC) if seconds <= _TIMESTAMP_MAX_S else seconds), pos + 8
            case 0x44:  # D
                self._need(5, pos, end)
                return Decimal(_U32.unpack_from(self.data, pos + 1)[0]).scaleb(-self.data[pos]), pos + 5
            case 0x46:  # F
                return self.table(pos, end, nesting + 1)
            case 0x41:  # A
                return self._array(pos, end, nesting + 1)
            case 0x56:  # V
                return None, pos
        raise AmqpError(501, f"field of unknown type 0x{kind:02x}")

    def _need(self, size: int, pos: int, end: int) -> None:
        if size > end - pos:
            raise AmqpError(501, "field table ends inside a value")
