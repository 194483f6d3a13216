"""Typed argument and header values: what they are in Python, how they compare, how errors show them, how they are kept.

    AMQP type                         Python
    void                              None
    boolean                           bool
    integers of every width           int
    float, double                     float
    decimal                           Decimal
    long string                       str (surrogateescape where it is not UTF-8)
    byte array                        bytes
    timestamp                         datetime, aware, UTC
    table, array                      dict[str, ...], list

Values compare by class and value, as RabbitMQ does: 1 of any integer width equals 1, and neither True nor 1.0 nor "1".
Kept values are MessagePack; extension 1 is a decimal (text), 2 a long string that is not UTF-8 (its bytes), 3 a table with such a name: its names as bytes
and its values in turn, an array.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, TypeAlias

import msgspec

Value: TypeAlias = Any  # one of the Python types above
Arguments: TypeAlias = Mapping[str, Value]

_EXT_DECIMAL = 1
_EXT_OCTETS = 2
_EXT_TABLE = 3
_TYPE_NAMES: dict[type, str] = {
    bool: "bool",
    float: "double",
    Decimal: "decimal",
    str: "longstr",
    bytes: "binary",
    dt.datetime: "timestamp",
    dict: "table",
    list: "array",
    type(None): "void",
}


def same_value(a: Value, b: Value) -> bool:
    """Whether two values are of one class and equal."""
    if a.__class__ is not b.__class__:
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same_value(value, b[name]) for name, value in a.items())
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same_value, a, b))
    return bool(a == b)


def type_name(value: Value) -> str:
    """The value's type as RabbitMQ's error texts call it; an integer's width is the smallest a client would have chosen."""
    if value.__class__ is int:
        return "signedint" if -0x80000000 <= value <= 0x7FFFFFFF else "long"
    return _TYPE_NAMES.get(value.__class__, "unknown")


def describe(value: Value) -> str:
    """`the value '1000' of type 'signedint'`, or `none` for None: half of an inequivalent-argument text."""
    if value is None:
        return "none"
    return f"the value '{text_of(value)}' of type '{type_name(value)}'"


def text_of(value: Value) -> str:
    r"""A value in an error text, as AMQP's clients write it: true, seconds since 1970, [1, 2], {name: value}; bytes that are no UTF-8 as \xe9."""
    kind = value.__class__
    if kind is bool:
        return "true" if value else "false"
    if kind is str:
        return value if _is_utf8(value) else text_of(value.encode(errors="surrogateescape"))
    if kind is bytes:
        return str(value, errors="backslashreplace")
    if kind is dt.datetime:
        return str(int(value.timestamp()))
    if kind is list:
        return f"[{', '.join(map(text_of, value))}]"
    if kind is dict:
        return f"{{{', '.join(f'{text_of(name)}: {text_of(item)}' for name, item in value.items())}}}"
    return "none" if value is None else str(value)


def pack(value: Value) -> bytes:
    """The kept form; the same value gives the same bytes whatever the order of a table's fields."""
    return _ENCODER.encode(_to_plain(value))


def unpack(data: bytes) -> Value:
    """What pack() was given."""
    return from_plain(msgspec.msgpack.decode(data, ext_hook=_ext_hook))


def to_plain(arguments: Arguments) -> Any:
    """Arguments as MessagePack can say them, fields sorted."""
    plain = {name: _to_plain(arguments[name]) for name in sorted(arguments)}
    if all(map(_is_utf8, plain)):
        return plain
    parts = [part for name, value in plain.items() for part in (name.encode(errors="surrogateescape"), value)]
    return msgspec.msgpack.Ext(_EXT_TABLE, _ENCODER.encode(parts))


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _to_plain(value: Value) -> Any:
    kind = value.__class__
    if kind is str:
        if not _is_utf8(value):
            return msgspec.msgpack.Ext(_EXT_OCTETS, value.encode(errors="surrogateescape"))
    elif kind is dict:
        return to_plain(value)
    elif kind is list:
        return [_to_plain(item) for item in value]
    elif kind is Decimal:
        return msgspec.msgpack.Ext(_EXT_DECIMAL, str(value).encode())
    return value


def from_plain(value: Any) -> Value:
    """Undo what a decoder without ext_hook() left: extensions inside tables and arrays."""
    kind = value.__class__
    if kind is msgspec.msgpack.Ext:
        return _ext_hook(value.code, memoryview(value.data))
    if kind is dict:
        return {name: from_plain(item) for name, item in value.items()}
    if kind is list:
        return [from_plain(item) for item in value]
    return value


def _ext_hook(code: int, data: memoryview) -> Any:
    if code == _EXT_DECIMAL:
        return Decimal(bytes(data).decode())
    if code == _EXT_OCTETS:
        return bytes(data).decode(errors="surrogateescape")
    if code == _EXT_TABLE:
        parts = msgspec.msgpack.decode(data, ext_hook=_ext_hook)
        return {name.decode(errors="surrogateescape"): from_plain(value) for name, value in zip(parts[::2], parts[1::2], strict=True)}
    raise ValueError(f"argument value of unknown extension {code}")


_ENCODER = msgspec.msgpack.Encoder()
