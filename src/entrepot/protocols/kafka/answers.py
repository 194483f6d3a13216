"""What handlers share: the codes of calls' outcomes, and who the broker says that it is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from entrepot.broker.port import DONE
from entrepot.model.errors import Reason
from entrepot.model.names import without_vhosts
from entrepot.protocols.kafka.error_codes import ErrorCode, code_for

TEXT_MAX = 400  # characters of an error's text
TEXTS_MAX = 100  # texts of one Produce's answer: further errors have their code alone


def code_of(exchange: Any, call: Any, table: dict[Reason, ErrorCode], unavailable: ErrorCode = ErrorCode.NOT_LEADER_OR_FOLLOWER) -> int:
    """The code of a call's outcome; counted if it is an error."""
    if call.outcome == DONE:
        return 0
    return error_code(exchange, call.error, table, unavailable)


def error_code(exchange: Any, error: BaseException | None, table: dict[Reason, ErrorCode], unavailable: ErrorCode = ErrorCode.NOT_LEADER_OR_FOLLOWER) -> int:
    """The code of an error; counted."""
    code = code_for(error, table, unavailable)
    if code:
        exchange.session.count_error(exchange)
    return int(code)


def text_of(error: BaseException | None) -> str | None:
    """What a response says of an error, short enough for the strings of every version."""
    return None if error is None else without_vhosts(str(error))[:TEXT_MAX]


def broker_address(exchange: Any) -> tuple[str, int]:
    """Where this client finds the broker: where it found it, unless the listener says otherwise."""
    session = exchange.session
    if session.settings.advertised is not None:
        host, port = session.settings.advertised
        return host, port
    return session.peer.local_host, session.peer.local_port


def broker_node(exchange: Any, id_field: str) -> dict[str, Any]:
    """The one broker, as Metadata and its kin list it."""
    host, port = broker_address(exchange)
    return {id_field: exchange.session.settings.node_id, "host": host, "port": port}


def per_partition(values: dict[str, Any], name_field: str = "name") -> Iterable[tuple[str, dict[str, Any]]]:
    """(topic, partition's fields) of a request, in order."""
    for topic in values["topics"]:
        for partition in topic["partitions"]:
            yield topic[name_field], partition


def by_topic(rows: Iterable[tuple[str, dict[str, Any]]], name_field: str = "name") -> list[dict[str, Any]]:
    """Partitions' answers as a response lists them: under their topic, neighbours together."""
    topics: list[dict[str, Any]] = []
    for name, row in rows:
        if not topics or topics[-1][name_field] != name:
            topics.append({name_field: name, "partitions": []})
        topics[-1]["partitions"].append(row)
    return topics
