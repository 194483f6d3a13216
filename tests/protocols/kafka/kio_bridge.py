"""Our dicts as kio's entities and back: kio's classes are made from Kafka's own schema files, and say what a message is."""

from __future__ import annotations

import dataclasses
import datetime as dt
import importlib
import io
import types
import typing
import uuid
from functools import cache
from typing import Any

from hypothesis import strategies as st
from kio.schema.errors import ErrorCode
from kio.serial import entity_reader, entity_writer
from kio.static.constants import EntityType

from entrepot.protocols.kafka import apis
from entrepot.protocols.kafka.schema import Field, Plan

BOOL, I8, I16, I32, I64, U16, F64, STRING, BYTES, UUID, STRUCT = range(11)
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
NO_ID = bytes(16)


def folder(name: str) -> str:
    """kio's folder for an API."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


@cache
def entity(api_key: int, version: int, side: str) -> Any:
    module = importlib.import_module(f"kio.schema.{folder(apis.APIS[api_key].name)}.v{version}.{side}")
    wanted = EntityType.request if side == "request" else EntityType.response
    return next(
        found for found in vars(module).values() if dataclasses.is_dataclass(found) and found.__module__ == module.__name__ and found.__type__ is wanted
    )


def plan(api_key: int, version: int, side: str) -> Plan:
    api = apis.APIS[api_key]
    return api.request_plan(version) if side == "request" else api.response_plan(version)


@cache
def _fields(cls: Any) -> list[tuple[str, Any, Any]]:
    hints = typing.get_type_hints(cls)
    return [(field.name, hints[field.name], field.metadata.get("kafka_type")) for field in dataclasses.fields(cls)]


def _inner(hint: Any) -> tuple[Any, bool]:
    """(type of one value, whether it is a tuple of them)."""
    is_array = False
    while typing.get_origin(hint) in (typing.Union, types.UnionType, tuple):
        if typing.get_origin(hint) is tuple:
            is_array = True
            hint = typing.get_args(hint)[0]
        else:
            hint = next(one for one in typing.get_args(hint) if one is not type(None))
    return hint, is_array


def to_kio(cls: Any, values: dict[str, Any]) -> Any:
    arguments = {}
    for name, hint, kafka_type in _fields(cls):
        value = values[name] if name in values else values[f"{name}_ms"]
        kind, is_array = _inner(hint)
        if value is None:
            arguments[name] = None
        elif is_array:
            arguments[name] = tuple(_one_to_kio(kind, kafka_type, one) for one in value)
        else:
            arguments[name] = _one_to_kio(kind, kafka_type, value)
    return cls(**arguments)


def _one_to_kio(kind: Any, kafka_type: str | None, value: Any) -> Any:
    if dataclasses.is_dataclass(kind):
        return to_kio(kind, value)
    if kafka_type == "uuid":
        return None if value == NO_ID else uuid.UUID(bytes=value)
    if kafka_type == "error_code":
        return ErrorCode(value)
    if kafka_type in ("timedelta_i32", "timedelta_i64"):
        return dt.timedelta(milliseconds=value)
    if kafka_type == "datetime_i64":
        return None if value == -1 else EPOCH + dt.timedelta(milliseconds=value)
    return value


def from_kio(found: Any, plan: Plan) -> dict[str, Any]:
    values = {}
    for field in (*plan.fields, *plan.tagged):
        value = getattr(found, field.name) if hasattr(found, field.name) else getattr(found, field.name.removesuffix("_ms"))
        if field.array:
            values[field.name] = None if value is None else [_one_from_kio(field, one) for one in value]
        else:
            values[field.name] = _one_from_kio(field, value)
    return values


def _one_from_kio(field: Field, value: Any) -> Any:
    if value is None:
        return {UUID: NO_ID, I64: -1}.get(field.kind)
    if field.kind == STRUCT:
        return from_kio(value, field.plan)
    if isinstance(value, uuid.UUID):
        return value.bytes
    if isinstance(value, dt.timedelta):
        return round(value / dt.timedelta(milliseconds=1))
    if isinstance(value, dt.datetime):
        return (value - EPOCH) // dt.timedelta(milliseconds=1)
    if isinstance(value, ErrorCode):
        return value.value
    return bytes(value) if isinstance(value, bytes) else value


def encode_kio(api_key: int, version: int, side: str, values: dict[str, Any]) -> bytes:
    cls = entity(api_key, version, side)
    buffer = io.BytesIO()
    entity_writer(cls)(buffer, to_kio(cls, values))
    return buffer.getvalue()


def decode_kio(api_key: int, version: int, side: str, data: bytes) -> dict[str, Any]:
    cls = entity(api_key, version, side)
    found, size = entity_reader(cls)(data, 0)
    assert size == len(data), f"{len(data) - size} bytes behind the end"
    return from_kio(found, plan(api_key, version, side))


# ---- values at random


_CODES = st.sampled_from([code.value for code in ErrorCode])
_TEXT = st.text(st.characters(codec="utf-8"), max_size=8)


def messages(plan: Plan) -> st.SearchStrategy[dict[str, Any]]:
    """Dicts that a plan can write."""
    return st.fixed_dictionaries({field.name: _values(field) for field in (*plan.fields, *plan.tagged)})


def _values(field: Field) -> st.SearchStrategy[Any]:
    one = _scalars(field)
    if field.array:
        one = st.lists(one, max_size=3)
    if field.nullable:
        return st.none() | one
    return one


def _scalars(field: Field) -> st.SearchStrategy[Any]:
    kind, name = field.kind, field.name
    if kind == STRUCT:
        return messages(field.plan)
    if name.endswith("error_code"):
        return _CODES
    if kind == I64 and name.endswith("_ms"):
        return st.integers(0, 2**40)
    if kind == BOOL:
        return st.booleans()
    sizes = {I8: 7, I16: 15, I32: 31, I64: 63}
    if kind in sizes:
        return st.integers(-(2 ** sizes[kind]), 2 ** sizes[kind] - 1)
    if kind == U16:
        return st.integers(0, 2**16 - 1)
    if kind == STRING:
        return _TEXT
    if kind == UUID:
        return st.binary(min_size=16, max_size=16)
    assert kind == BYTES, kind
    return st.binary(max_size=6)
