"""What handlers share: the codes of calls' outcomes, and how rows of requests and responses are gone over."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice
from typing import Any

from entrepot.broker.calls.port import DONE
from entrepot.model.errors import Reason
from entrepot.model.names import without_vhosts
from entrepot.protocols.kafka.error_codes import ErrorCode, code_for
from entrepot.protocols.kafka.schema import Rows

TEXT_MAX = 400  # characters of an error's text
ASKED_AT_ONCE = 250  # offsets, names and the like in one request to the broker: those that are more are asked for in several
TEXTS_MAX = 100  # texts of one Produce's answer: further errors have their code alone


def code_of(exchange: Any, call: Any, table: dict[Reason, ErrorCode], unavailable: ErrorCode = ErrorCode.NOT_LEADER_OR_FOLLOWER) -> int:
    """The code of a call's outcome; counted if it is an error."""
    if call.outcome == DONE:
        return 0
    return error_code(exchange, call.error, table, unavailable)


def failed_code(exchange: Any, calls: Iterable[Any], table: dict[Reason, ErrorCode]) -> int:
    """The code of the first of the calls that is not done; 0: all are."""
    for call in calls:
        if call.outcome != DONE:
            return code_of(exchange, call, table)
    return 0


def error_code(exchange: Any, error: BaseException | None, table: dict[Reason, ErrorCode], unavailable: ErrorCode = ErrorCode.NOT_LEADER_OR_FOLLOWER) -> int:
    """The code of an error; counted."""
    code = code_for(error, table, unavailable)
    if code:
        exchange.session.count_error(exchange)
    return int(code)


def text_of(error: BaseException | None) -> str | None:
    """What a response says of an error, short enough for the strings of every version."""
    return None if error is None else without_vhosts(str(error))[:TEXT_MAX]


def per_partition(values: dict[str, Any], name_field: str = "name") -> Iterable[tuple[str, dict[str, Any]]]:
    """(topic, partition's fields) of a request, in order."""
    for topic in values["topics"]:
        for partition in topic["partitions"]:
            yield topic[name_field], partition


def partition_rows(
    values: dict[str, Any], row: Callable[[str, dict[str, Any]], dict[str, Any]], name_field: str = "name", asked_field: str = "partitions"
) -> Rows:
    """The topics of a request as its response lists them: row(topic, partition's fields) is asked of every partition, in order, as it is written."""
    return Rows(
        len(values["topics"]),
        (
            {name_field: topic[name_field], "partitions": Rows(len(topic[asked_field]), (row(topic[name_field], part) for part in topic[asked_field]))}
            for topic in values["topics"]
        ),
    )


def chunks(elements: Iterable[Any], count: int = ASKED_AT_ONCE) -> Iterator[list[Any]]:
    """Lists of `count` elements, the last with what is left; one empty list of no elements."""
    rest = iter(elements)
    some = list(islice(rest, count))
    yield some
    while len(some) == count and (some := list(islice(rest, count))):
        yield some


def results_of(calls: list[Any], count: int = ASKED_AT_ONCE) -> Iterator[dict[Any, Any]]:
    """For every element that chunks() made requests of, in order, the result of the call that asked for it; empty where it failed."""
    for call in calls:
        result = call.result if call.outcome == DONE else {}
        for _ in range(count):
            yield result


def counted(named: Iterable[Any], found: dict[Any, int]) -> Generator[int, None, None]:
    """Count into `found` how often each of `named` is there, in pieces."""
    for count, one in enumerate(named):
        found[one] = found.get(one, 0) + 1
        if count % 64 == 0:
            yield 32


def by_topic(rows: Iterable[tuple[str, dict[str, Any]]], name_field: str = "name") -> list[dict[str, Any]]:
    """Partitions' answers as a response lists them: under their topic, neighbours together."""
    topics: list[dict[str, Any]] = []
    for name, row in rows:
        if not topics or topics[-1][name_field] != name:
            topics.append({name_field: name, "partitions": []})
        topics[-1]["partitions"].append(row)
    return topics
