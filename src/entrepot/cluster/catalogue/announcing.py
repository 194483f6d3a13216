"""What is not kept is announced by its home to whoever decides: rows of the catalogue, checked here before anybody applies them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from entrepot.broker.calls.queue_requests import TimedPolicy
from entrepot.broker.catalogue.arguments import pack
from entrepot.broker.catalogue.catalogue import Catalogue
from entrepot.broker.catalogue.changes import Row
from entrepot.broker.catalogue.definitions import TO_EXCHANGE, TO_QUEUE, TO_TOPIC, Destination, Home
from entrepot.broker.catalogue.kept_definitions import (
    BINDING_KEY,
    EXCHANGE_KEY,
    QUEUE_KEY,
    binding_key,
    exchange_of,
    identity_in,
    kept_arguments,
    queue_of,
    split_key,
)
from entrepot.broker.catalogue.matching import check_headers_match
from entrepot.broker.catalogue.namespace import Namespace
from entrepot.broker.catalogue.routing import HEADERS
from entrepot.model.errors import CorruptData, Refused

_WRONG = (KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError, RecursionError, msgspec.MsgspecError, Refused)
_LOG_ID = Annotated[bytes, Meta(min_length=16, max_length=16)]


class _Timed(Struct):
    policy: TimedPolicy
    attributes: dict[str, str] = {}
    tags: dict[str, str] = {}
    created_s: int = 0
    modified_s: int = 0
    policy_version: int = 0
    access_policy: str = ""


class _Queue(Struct):
    log_id: _LOG_ID
    auto_delete: bool
    home: bytes
    durable: bool = True
    maker: str = ""
    exclusive_to: tuple[bytes, int] | None = None
    timed: _Timed | None = None


class _Exchange(Struct):
    type: str
    auto_delete: bool
    internal: bool
    home: bytes
    durable: bool = True
    maker: str = ""


class _Binding(Struct):
    source: str
    kind: Literal["exchange", "queue", "topic"]
    destination: str
    routing_key: Any  # text, or octets that are none
    makers: list[str] = []


_FIELDS: dict[bytes, Any] = {QUEUE_KEY: _Queue, EXCHANGE_KEY: _Exchange, BINDING_KEY: _Binding}
"""What rows say, besides arguments."""


def announced(catalogue: Catalogue, start_id: bytes, ended: set[Home]) -> list[Row]:
    """What a start is home of, but for connections that have ended, and all that is bound to something that is not kept."""
    found = []
    for row in catalogue.transient_rows():
        is_home = row.fields.get("home") == start_id and tuple(row.fields.get("exclusive_to") or ()) not in ended
        if is_home or row.key.startswith(BINDING_KEY):
            found.append(row)
    return found


def taken_in(catalogue: Catalogue, rows: list[Row], start_id: bytes) -> list[Row]:
    """Those of a start's rows that may be: what has its name meanwhile stays. Raises CorruptData: they are none, or speak for another start."""
    found = []
    for row in rows:
        try:
            if row.gone or row.kept or not _is_free(catalogue, row, start_id):
                continue
        except _WRONG as error:
            raise CorruptData(f"a row {row.key[:100]!r} that is announced, and says nothing: {error!r}") from None
        found.append(row)
    if len({row.key for row in found}) < len(found):
        raise CorruptData("something is announced twice")
    return found


def _is_free(catalogue: Catalogue, row: Row, start_id: bytes) -> bool:
    prefix = row.key[: len(QUEUE_KEY)]
    kind = _FIELDS.get(prefix)
    if kind is None or (prefix != BINDING_KEY and row.fields.get("home") != start_id):
        raise CorruptData(f"a row {row.key[:100]!r} is announced by who is not its home")
    msgspec.convert(row.fields, kind)
    _check_arguments(row.fields)
    namespace, rest = split_key(row.key, prefix)
    space = catalogue.namespaces.get(namespace)
    if prefix == BINDING_KEY:
        if not isinstance(row.fields["routing_key"], str | bytes) or binding_key(namespace, identity_in(row.fields)) != row.key:
            raise CorruptData(f"a binding {row.key[:100]!r} that is announced is another")
        return space is not None and _may_be_bound(space, row)
    name = rest.decode()
    return space is not None and _may_be(space, row, prefix, name)


def _check_arguments(fields: dict[str, Any]) -> None:
    """They are as everybody writes them, and can be read, and written again."""
    arguments = kept_arguments(fields)
    if not isinstance(arguments, dict) or pack(arguments) != msgspec.msgpack.encode(fields["arguments"]):
        raise CorruptData("arguments that are announced cannot be")


def _may_be_bound(space: Namespace, row: Row) -> bool:
    fields = row.fields
    ends: dict[str, Any] = {TO_EXCHANGE: space.exchanges, TO_QUEUE: space.queues, TO_TOPIC: space.topics}
    source = space.exchanges.get(fields["source"])
    destination: Destination | None = ends[fields["kind"]].get(fields["destination"])
    if source is not None and source.routes.kind == HEADERS:
        check_headers_match(kept_arguments(fields))
    if source is not None and destination is not None and source.persistent and destination.persistent:
        return False  # it would be kept: one of them was another when it was bound
    return identity_in(fields) not in space.bindings


def _may_be(space: Namespace, row: Row, prefix: bytes, name: str) -> bool:
    if prefix == EXCHANGE_KEY:
        return not exchange_of(space, name, row.fields).durable and name not in space.exchanges
    queue = queue_of(space, name, row.fields)
    if queue.persistent or (queue.exclusive_to is not None and queue.exclusive_to[0] != queue.home):
        raise CorruptData(f"queue '{name}' is announced, and lives nowhere")
    return name not in space.queues
