"""What is not kept is announced by its home to whoever decides: rows of the catalogue, checked here before anybody applies them."""

from __future__ import annotations

from entrepot.broker.catalogue.catalogue import Catalogue
from entrepot.broker.catalogue.changes import Row
from entrepot.broker.catalogue.definitions import Home
from entrepot.broker.catalogue.kept_definitions import BINDING_KEY, EXCHANGE_KEY, QUEUE_KEY, exchange_of, identity_in, kept_arguments, queue_of, split_key
from entrepot.broker.catalogue.matching import check_headers_match
from entrepot.broker.catalogue.namespace import Namespace
from entrepot.broker.catalogue.routing import HEADERS
from entrepot.model.errors import CorruptData, Refused

_WRONG = (KeyError, TypeError, ValueError, AttributeError, IndexError, Refused)


def announced(catalogue: Catalogue, start_id: bytes, ended: set[Home]) -> list[Row]:
    """What a start is home of, but for connections that have ended, and all that is bound to something that is not kept."""
    found = []
    for row in catalogue.snapshot():
        if row.kept:
            continue
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
    return found


def _is_free(catalogue: Catalogue, row: Row, start_id: bytes) -> bool:
    prefix = row.key[: len(QUEUE_KEY)]
    namespace, rest = split_key(row.key, prefix)
    space = catalogue.namespaces.get(namespace)
    if space is None:
        return False
    if prefix == BINDING_KEY:
        source = space.exchanges.get(row.fields["source"])
        if source is not None and source.routes.kind == HEADERS:
            check_headers_match(kept_arguments(row.fields))
        return identity_in(row.fields) not in space.bindings
    if prefix not in (QUEUE_KEY, EXCHANGE_KEY) or row.fields.get("home") != start_id:
        raise CorruptData(f"a row {row.key[:100]!r} is announced by who is not its home")
    return _may_be(space, row, prefix, rest.decode())


def _may_be(space: Namespace, row: Row, prefix: bytes, name: str) -> bool:
    if prefix == EXCHANGE_KEY:
        return not exchange_of(space, name, row.fields).durable and name not in space.exchanges
    queue = queue_of(space, name, row.fields)
    if queue.persistent or (queue.exclusive_to is not None and queue.exclusive_to[0] != queue.home):
        raise CorruptData(f"queue '{name}' is announced, and lives nowhere")
    return name not in space.queues
