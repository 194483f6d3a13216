"""Offsets: where partitions begin and end (ListOffsets, OffsetForLeaderEpoch), and what groups have committed (OffsetCommit, OffsetFetch, OffsetDelete)."""

from __future__ import annotations

from collections import Counter
from typing import Any

from entrepot.broker.group_requests import CommitOffsets, CommittedOffset, DeleteOffsets, FetchOffsets
from entrepot.broker.port import DONE
from entrepot.broker.topic_requests import EpochEnd, FindOffset
from entrepot.protocols.kafka.answers import by_topic, code_of, error_code, per_partition
from entrepot.protocols.kafka.error_codes import GROUP, OFFSETS_PARTITION, TOPIC, ErrorCode
from entrepot.protocols.kafka.exchange import Exchange

PLACES = {-1: "end", -2: "first", -3: "max_time", -4: "first"}
"""ListOffsets' special timestamps; -4 is the first offset that is on the broker's own disk."""

NOWHERE = -5  # the greatest offset that is in tiered storage: there is none


# ---- of partitions


def list_offsets(exchange: Exchange, values: dict[str, Any]) -> None:
    """Handler of ListOffsets. A partition named twice is an error at both places, as Kafka has it."""
    committed = values.get("isolation_level", 0) == 1
    named = Counter((topic, partition["partition_index"]) for topic, partition in per_partition(values))
    exchange.state = values, named
    requests = []
    for topic, partition in per_partition(values):
        index, where = partition["partition_index"], partition["timestamp"]
        if _is_place(where) and named[topic, index] == 1:
            requests.append(FindOffset(topic, index, PLACES.get(where, where), committed, partition.get("current_leader_epoch", -1)))
    exchange.ask(requests, _offsets_listed)


def _is_place(timestamp: int) -> bool:
    return timestamp >= 0 or timestamp in PLACES


def _offsets_listed(exchange: Exchange, calls: list[Any]) -> None:
    values, named = exchange.state
    answers = iter(calls)
    rows = []
    for topic, partition in per_partition(values):
        index, where = partition["partition_index"], partition["timestamp"]
        row: dict[str, Any] = {"partition_index": index, "error_code": 0}
        if named[topic, index] > 1:
            row["error_code"] = int(ErrorCode.INVALID_REQUEST)
        elif _is_place(where):
            call = next(answers)
            row["error_code"] = code_of(exchange, call, TOPIC)
            if call.outcome == DONE:
                row["offset"], time_ms, row["leader_epoch"] = call.result
                row["timestamp"] = time_ms if where >= 0 or where == -3 else -1
        elif where != NOWHERE:
            row["error_code"] = int(ErrorCode.INVALID_REQUEST)
        rows.append((topic, row))
    exchange.answer({"topics": by_topic(rows)})


def offset_for_leader_epoch(exchange: Exchange, values: dict[str, Any]) -> None:
    """Handler of OffsetForLeaderEpoch: where an epoch of the partition's owner ended."""
    exchange.state = values
    requests = [
        EpochEnd(topic, partition["partition"], partition["leader_epoch"], partition.get("current_leader_epoch", -1))
        for topic, partition in per_partition(values, "topic")
    ]
    exchange.ask(requests, _epochs_ended)


def _epochs_ended(exchange: Exchange, calls: list[Any]) -> None:
    rows = []
    for (topic, partition), call in zip(per_partition(exchange.state, "topic"), calls, strict=True):
        epoch, end = call.result if call.outcome == DONE else (-1, -1)
        rows.append((topic, {"partition": partition["partition"], "error_code": code_of(exchange, call, TOPIC), "leader_epoch": epoch, "end_offset": end}))
    exchange.answer({"topics": by_topic(rows, "topic")})


# ---- of groups


def offset_commit(exchange: Exchange, values: dict[str, Any]) -> None:
    """Handler of OffsetCommit. Retention times of old versions are not kept by partition: the broker's own counts."""
    offsets = {
        (topic, partition["partition_index"]): CommittedOffset(
            partition["committed_offset"], partition.get("committed_leader_epoch", -1), partition["committed_metadata"] or ""
        )
        for topic, partition in per_partition(values)
    }
    exchange.state = values
    generation = values["generation_id_or_member_epoch"]
    exchange.ask([CommitOffsets(values["group_id"], generation, values["member_id"], values.get("group_instance_id"), offsets)], _committed)


def _committed(exchange: Exchange, calls: list[Any]) -> None:
    call = calls[0]
    code = code_of(exchange, call, GROUP, ErrorCode.COORDINATOR_NOT_AVAILABLE)
    if code == ErrorCode.GROUP_ID_NOT_FOUND and exchange.version < 9:
        code = int(ErrorCode.ILLEGAL_GENERATION)  # what clients of the older kind of groups know
    refused = call.result if call.outcome == DONE else {}
    rows = []
    for topic, partition in per_partition(exchange.state):
        index = partition["partition_index"]
        error = refused.get((topic, index))
        rows.append((topic, {"partition_index": index, "error_code": error_code(exchange, error, OFFSETS_PARTITION) if error is not None else code}))
    exchange.answer({"topics": by_topic(rows)})


def offset_fetch(exchange: Exchange, values: dict[str, Any]) -> None:
    """Handler of OffsetFetch: of several groups from version 8 on. A null list of topics, from version 2 on, asks for all."""
    groups = values["groups"] if exchange.version >= 8 else [values]
    exchange.state = groups
    exchange.ask(
        [FetchOffsets(group["group_id"], _places(group["topics"]), group.get("member_id"), group.get("member_epoch", -1)) for group in groups], _offsets_fetched
    )


def _places(topics: list[dict[str, Any]] | None) -> list[tuple[str, int]] | None:
    if topics is None:
        return None
    return [(topic["name"], index) for topic in topics for index in topic["partition_indexes"]]


def _offsets_fetched(exchange: Exchange, calls: list[Any]) -> None:
    rows = [_group_offsets(exchange, group, call) for group, call in zip(exchange.state, calls, strict=True)]
    exchange.answer({"groups": rows} if exchange.version >= 8 else rows[0])


def _group_offsets(exchange: Exchange, group: dict[str, Any], call: Any) -> dict[str, Any]:
    """One group's answer. Version 1 has no place for an error but at each partition."""
    code = code_of(exchange, call, GROUP, ErrorCode.COORDINATOR_NOT_AVAILABLE)
    found: dict[tuple[str, int], Any] = call.result if call.outcome == DONE else {}
    rows = []
    for topic, index in _places(group["topics"]) or list(found):
        offset = found.get((topic, index))
        row: dict[str, Any] = {"partition_index": index, "committed_offset": -1, "metadata": "", "error_code": code if exchange.version < 2 else 0}
        if isinstance(offset, CommittedOffset):
            row |= {"committed_offset": offset.offset, "committed_leader_epoch": offset.leader_epoch, "metadata": offset.metadata}
        elif offset is not None:
            row["error_code"] = error_code(exchange, offset, OFFSETS_PARTITION)
        rows.append((topic, row))
    return {"group_id": group["group_id"], "topics": by_topic(rows) if not code or exchange.version < 2 else [], "error_code": code}


def offset_delete(exchange: Exchange, values: dict[str, Any]) -> None:
    """Handler of OffsetDelete."""
    places = [(topic, partition["partition_index"]) for topic, partition in per_partition(values)]
    exchange.state = places
    exchange.ask([DeleteOffsets(values["group_id"], places)], _offsets_deleted)


def _offsets_deleted(exchange: Exchange, calls: list[Any]) -> None:
    call = calls[0]
    if call.outcome != DONE:
        exchange.answer({"error_code": code_of(exchange, call, GROUP, ErrorCode.COORDINATOR_NOT_AVAILABLE)})
        return
    rows = []
    for topic, index in exchange.state:
        rows.append((topic, {"partition_index": index, "error_code": error_code(exchange, call.result.get((topic, index)), OFFSETS_PARTITION)}))
    exchange.answer({"error_code": 0, "topics": by_topic(rows)})
