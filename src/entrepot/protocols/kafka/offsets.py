"""Offsets: where partitions begin and end (ListOffsets, OffsetForLeaderEpoch), and what groups have committed (OffsetCommit, OffsetFetch, OffsetDelete)."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from itertools import starmap
from typing import Any

from entrepot.broker.calls.group_requests import CommitOffsets, CommittedOffset, DeleteOffsets, FetchOffsets
from entrepot.broker.calls.port import DONE
from entrepot.broker.calls.topic_requests import EpochEnd, FindOffset
from entrepot.protocols.kafka.answers import ASKED_AT_ONCE, chunks, code_of, counted, error_code, partition_rows, per_partition, results_of
from entrepot.protocols.kafka.cluster import epoch_known, group_code
from entrepot.protocols.kafka.error_codes import OFFSETS_PARTITION, TOPIC, ErrorCode
from entrepot.protocols.kafka.exchange import ASK_STEPS, Exchange
from entrepot.protocols.kafka.schema import Rows

PLACES = {-1: "end", -2: "first", -3: "max_time", -4: "first"}
"""ListOffsets' special timestamps; -4 is the first offset that is on the broker's own disk."""

COMMIT_STEPS, FETCH_STEPS = 8, 3  # of keeping one offset, and of looking one up
DELETE_STEPS = 40  # of deleting one: what every member reads is looked at
NOWHERE = -5  # the greatest offset that is in tiered storage: there is none


# ---- of partitions


def list_offsets(exchange: Exchange, values: dict[str, Any]) -> Generator[int, None, None]:
    """Handler of ListOffsets. A partition named twice is an error at both places, as Kafka has it."""
    named: dict[tuple[str, int], int] = {}
    yield from counted(((topic, partition["partition_index"]) for topic, partition in per_partition(values)), named)
    exchange.state = values, named
    exchange.ask(_searches(exchange.session, values, named), _offsets_listed)


def _searches(session: Any, values: dict[str, Any], named: dict[tuple[str, int], int]) -> Iterator[FindOffset | None]:
    committed = values.get("isolation_level", 0) == 1
    for topic, partition in per_partition(values):
        index, where = partition["partition_index"], partition["timestamp"]
        if _is_place(where) and named[topic, index] == 1:
            yield FindOffset(topic, index, PLACES.get(where, where), committed, epoch_known(session, partition.get("current_leader_epoch", -1)))
        else:
            yield None


def _is_place(timestamp: int) -> bool:
    return timestamp >= 0 or timestamp in PLACES


def _offsets_listed(exchange: Exchange, calls: list[Any]) -> None:
    values, named = exchange.state
    answers = iter(calls)

    def row(topic: str, partition: dict[str, Any]) -> dict[str, Any]:
        index, where = partition["partition_index"], partition["timestamp"]
        found: dict[str, Any] = {"partition_index": index, "error_code": 0}
        if named[topic, index] > 1:
            found["error_code"] = int(ErrorCode.INVALID_REQUEST)
        elif _is_place(where):
            call = next(answers)
            found["error_code"] = code_of(exchange, call, TOPIC)
            if call.outcome == DONE:
                found["offset"], time_ms, found["leader_epoch"] = call.result
                found["timestamp"] = time_ms if where >= 0 or where == -3 else -1
        elif where != NOWHERE:
            found["error_code"] = int(ErrorCode.INVALID_REQUEST)
        return found

    exchange.answer({"topics": partition_rows(values, row)})


def offset_for_leader_epoch(exchange: Exchange, values: dict[str, Any]) -> None:
    """Handler of OffsetForLeaderEpoch: where an epoch of the partition's owner ended."""
    exchange.state = values
    requests = (
        EpochEnd(topic, partition["partition"], partition["leader_epoch"], epoch_known(exchange.session, partition.get("current_leader_epoch", -1)))
        for topic, partition in per_partition(values, "topic")
    )
    exchange.ask(requests, _epochs_ended)


def _epochs_ended(exchange: Exchange, calls: list[Any]) -> None:
    answers = iter(calls)

    def row(topic: str, partition: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001 - every row is asked alike
        call = next(answers)
        epoch, end = call.result if call.outcome == DONE else (-1, -1)
        return {"partition": partition["partition"], "error_code": code_of(exchange, call, TOPIC), "leader_epoch": epoch, "end_offset": end}

    exchange.answer({"topics": partition_rows(exchange.state, row, "topic")})


# ---- of groups


def offset_commit(exchange: Exchange, values: dict[str, Any]) -> None:
    """Handler of OffsetCommit. Retention times of old versions are not kept by partition: the broker's own counts."""
    exchange.state = values
    generation = values["generation_id_or_member_epoch"]
    exchange.ask(
        (
            CommitOffsets(values["group_id"], generation, values["member_id"], values.get("group_instance_id"), _committed_offsets(some))
            for some in chunks(per_partition(values))
        ),
        _committed,
        lambda request: ASK_STEPS + COMMIT_STEPS * len(request.offsets),
    )


def _committed_offsets(partitions: list[tuple[str, dict[str, Any]]]) -> dict[tuple[str, int], CommittedOffset]:
    return {
        (topic, partition["partition_index"]): CommittedOffset(
            partition["committed_offset"], partition.get("committed_leader_epoch", -1), partition["committed_metadata"] or ""
        )
        for topic, partition in partitions
    }


def _committed(exchange: Exchange, calls: list[Any]) -> None:
    code = _first_code(exchange, calls)
    if code == ErrorCode.GROUP_ID_NOT_FOUND and exchange.version < 9:
        code = int(ErrorCode.ILLEGAL_GENERATION)  # what clients of the older kind of groups know
    refused = results_of(calls)

    def row(topic: str, partition: dict[str, Any]) -> dict[str, Any]:
        index = partition["partition_index"]
        error = next(refused).get((topic, index))
        return {"partition_index": index, "error_code": error_code(exchange, error, OFFSETS_PARTITION) if error is not None else code}

    exchange.answer({"topics": partition_rows(exchange.state, row)})


def _first_code(exchange: Exchange, calls: list[Any]) -> int:
    """The first code that is one, of calls about one group."""
    for call in calls:
        code = group_code(exchange, call)
        if code:
            return code
    return 0


def offset_fetch(exchange: Exchange, values: dict[str, Any]) -> Generator[int, None, None]:
    """Handler of OffsetFetch: of several groups from version 8 on. A null list of topics, from version 2 on, asks for all."""
    groups = values["groups"] if exchange.version >= 8 else [values]
    named: dict[Any, int] = {}
    yield from counted((group["group_id"] for group in groups), named)
    exchange.state = groups, named
    exchange.ask(_fetches(groups, named), _offsets_fetched, _fetch_steps)


def _fetch_steps(request: FetchOffsets) -> int:
    return ASK_STEPS + FETCH_STEPS * (ASKED_AT_ONCE if request.partitions is None else len(request.partitions))


def _fetches(groups: list[dict[str, Any]], named: dict[Any, int]) -> Iterator[FetchOffsets | None]:
    for group in groups:
        if named[group["group_id"]] > 1:
            yield None
        else:
            for places in [None] if group["topics"] is None else chunks(_places(group["topics"])):
                yield FetchOffsets(group["group_id"], places, group.get("member_id"), group.get("member_epoch", -1))


def _places(topics: list[dict[str, Any]]) -> Iterator[tuple[str, int]]:
    return ((topic["name"], index) for topic in topics for index in topic["partition_indexes"])


def _offsets_fetched(exchange: Exchange, calls: list[Any]) -> None:
    groups, named = exchange.state
    answers = iter(calls)
    rows = (_group_offsets(exchange, group, named, answers) for group in groups)
    exchange.answer({"groups": Rows(len(groups), rows)} if exchange.version >= 8 else next(rows))


def _group_offsets(exchange: Exchange, group: dict[str, Any], named: dict[Any, int], answers: Iterator[Any]) -> dict[str, Any]:
    """One group's answer. Version 1 has no place for an error but at each partition. A group that is named twice is an error: who asks so wants too much."""
    if named[group["group_id"]] > 1:
        exchange.session.count_error(exchange)
        return {"group_id": group["group_id"], "topics": [], "error_code": int(ErrorCode.INVALID_REQUEST)}
    calls = [next(answers)] if group["topics"] is None else [next(answers) for _ in chunks(_places(group["topics"]))]
    code = _first_code(exchange, calls)
    found = results_of(calls)

    def row(topic: str, index: Any) -> dict[str, Any]:
        offset = next(found).get((topic, index))
        if isinstance(offset, CommittedOffset):
            return _offset_row(index, offset)
        told: dict[str, Any] = {"partition_index": index, "committed_offset": -1, "metadata": "", "error_code": code if exchange.version < 2 else 0}
        if offset is not None:
            told["error_code"] = error_code(exchange, offset, OFFSETS_PARTITION)
        return told

    topics: Any = []
    if not code or exchange.version < 2:
        if group["topics"] is not None:
            topics = partition_rows(group, row, asked_field="partition_indexes")
        else:
            topics = _all_offsets(calls[0].result)
    return {"group_id": group["group_id"], "topics": topics, "error_code": code}


def _all_offsets(found: dict[tuple[str, int], Any]) -> list[dict[str, Any]]:
    offsets: dict[str, list[tuple[int, Any]]] = {}
    for (topic, index), offset in found.items():
        offsets.setdefault(topic, []).append((index, offset))
    return [{"name": topic, "partitions": Rows(len(some), starmap(_offset_row, some))} for topic, some in offsets.items()]


def _offset_row(index: int, offset: CommittedOffset) -> dict[str, Any]:
    return {
        "partition_index": index,
        "committed_offset": offset.offset,
        "metadata": offset.metadata,
        "error_code": 0,
        "committed_leader_epoch": offset.leader_epoch,
    }


def offset_delete(exchange: Exchange, values: dict[str, Any]) -> None:
    """Handler of OffsetDelete."""
    exchange.state = values
    exchange.ask(
        (DeleteOffsets(values["group_id"], [(topic, part["partition_index"]) for topic, part in some]) for some in chunks(per_partition(values), 1)),
        _offsets_deleted,
        DELETE_STEPS,
    )


def _offsets_deleted(exchange: Exchange, calls: list[Any]) -> None:
    code = _first_code(exchange, calls)
    if code:
        exchange.answer({"error_code": code})
        return
    refused = results_of(calls, 1)

    def row(topic: str, partition: dict[str, Any]) -> dict[str, Any]:
        index = partition["partition_index"]
        return {"partition_index": index, "error_code": error_code(exchange, next(refused).get((topic, index)), OFFSETS_PARTITION)}

    exchange.answer({"error_code": 0, "topics": partition_rows(exchange.state, row)})
