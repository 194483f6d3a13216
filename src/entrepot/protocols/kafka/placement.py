"""What tools ask of a cluster: who leads, where partitions lie and how large they are, what has a configuration."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

from entrepot.broker.calls.topic_requests import DescribeTopics, TopicDescription
from entrepot.protocols.kafka.answers import by_topic, chunks, failed_code
from entrepot.protocols.kafka.cluster import node_ids, not_led
from entrepot.protocols.kafka.configs import BROKER_RESOURCE, TOPIC_RESOURCE
from entrepot.protocols.kafka.error_codes import NAMING, ErrorCode
from entrepot.protocols.kafka.exchange import Exchange
from entrepot.protocols.kafka.schema import Rows

AT_ONCE = 64  # topics in one request to the broker
LOG_DIR = "data"  # where the directory really is, is nobody's business over the network


def _known(calls: list[Any]) -> Generator[int, None, dict[str, TopicDescription]]:
    """The topics that were found, by name."""
    topics = {}
    for call in calls:
        for found in call.result:
            if isinstance(found, TopicDescription):
                topics[found.name] = found
                yield 2 + len(found.sizes or ()) // 4
    return topics


def _has(topics: dict[str, TopicDescription], name: str, partition: int) -> bool:
    return name in topics and 0 <= partition < topics[name].partition_count


def _asked(rows: list[dict[str, Any]] | None, topics: dict[str, TopicDescription], name_field: str, partitions_field: str) -> Iterator[tuple[str, int]]:
    """Every (topic, partition) of a request, in order; of all topics where it names none."""
    if rows is None:
        for name in sorted(topics):
            for number in range(topics[name].partition_count):
                yield name, number
        return
    for row in rows:
        for index in row[partitions_field]:
            yield row[name_field], index


def _describe(exchange: Exchange, values: dict[str, Any], names: list[str] | None, answer: Any, *, sizes: bool = False) -> None:
    exchange.state = values
    if names is None:
        exchange.ask([DescribeTopics(sizes=sizes)], answer)
    else:
        exchange.ask((DescribeTopics(names=some, sizes=sizes) for some in chunks(dict.fromkeys(names), AT_ONCE)), answer, 6 * AT_ONCE)


# ---- ElectLeaders


def elect_leaders(exchange: Exchange, values: dict[str, Any]) -> None:
    """Handler of ElectLeaders: the leader is the one that it has to be."""
    rows = values["topic_partitions"]
    _describe(exchange, values, None if rows is None else [row["topic"] for row in rows], _elected)


def _elected(exchange: Exchange, calls: list[Any]) -> Generator[int, None, None]:
    code = failed_code(exchange, calls, NAMING)
    if code:
        failed = {"error_code": code}
        rows = [
            {"topic": row["topic"], "partition_result": Rows(len(row["partitions"]), (failed | {"partition_id": index} for index in row["partitions"]))}
            for row in exchange.state["topic_partitions"] or ()
        ]
        exchange.answer({"error_code": code, "replica_election_results": rows})
        return
    topics = yield from _known(calls)
    results: list[dict[str, Any]] = []
    for name, index in _asked(exchange.state["topic_partitions"], topics, "topic", "partitions"):
        code = ErrorCode.ELECTION_NOT_NEEDED if _has(topics, name, index) else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        if not results or results[-1]["topic"] != name:
            results.append({"topic": name, "partition_result": []})
        results[-1]["partition_result"].append({"partition_id": index, "error_code": int(code), "error_message": None})
        yield 1
    exchange.answer({"error_code": 0, "replica_election_results": results})


# ---- AlterPartitionReassignments, ListPartitionReassignments


def alter_reassignments(exchange: Exchange, values: dict[str, Any]) -> None:
    """Handler of AlterPartitionReassignments: a partition may only stay where it is."""
    _describe(exchange, values, [topic["name"] for topic in values["topics"]], _reassigned)


def _reassigned(exchange: Exchange, calls: list[Any]) -> Generator[int, None, None]:
    code = failed_code(exchange, calls, NAMING)
    if code:
        exchange.answer({"error_code": code, "error_message": None, "responses": []})
        return
    topics, values = (yield from _known(calls)), exchange.state
    rows = []
    for topic in values["topics"]:
        for part in topic["partitions"]:
            code, text = 0, None
            if not _has(topics, topic["name"], part["partition_index"]):
                code, text = int(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION), "there is no such partition"
            elif part["replicas"] is None:
                code, text = int(ErrorCode.NO_REASSIGNMENT_IN_PROGRESS), "there is no reassignment to be cancelled"
            else:
                text = not_led(exchange.session, topic["name"], [part["replicas"]], part["partition_index"])
                code = 0 if text is None else int(ErrorCode.INVALID_REPLICA_ASSIGNMENT)
            rows.append((topic["name"], {"partition_index": part["partition_index"], "error_code": code, "error_message": text}))
            yield 2
    changes = values.get("allow_replication_factor_change", True)
    exchange.answer({"allow_replication_factor_change": changes, "error_code": 0, "error_message": None, "responses": by_topic(rows)})


def list_reassignments(exchange: Exchange, values: dict[str, Any]) -> None:  # noqa: ARG001 - every handler has the table's signature
    """Handler of ListPartitionReassignments: there are none."""
    exchange.answer({"error_code": 0, "error_message": None, "topics": []})


# ---- DescribeLogDirs


def describe_log_dirs(exchange: Exchange, values: dict[str, Any]) -> None:
    """Handler of DescribeLogDirs: all that is this node's lies in one directory. A partition's size is that of its records as they were sent."""
    rows = values["topics"]
    _describe(exchange, values, None if rows is None else [row["topic"] for row in rows], _log_dirs_described, sizes=True)


def _log_dirs_described(exchange: Exchange, calls: list[Any]) -> Generator[int, None, None]:
    code = failed_code(exchange, calls, NAMING)
    if code:
        exchange.answer({"error_code": code, "results": [{"error_code": code, "log_dir": LOG_DIR, "topics": []}]})
        return
    topics = yield from _known(calls)
    rows = []
    for name, index in _asked(exchange.state["topics"], topics, "topic", "partitions"):
        if _has(topics, name, index):
            sizes = topics[name].sizes
            size = 0 if sizes is None else sizes[index]
            if size is not None:  # what lies elsewhere is told there, as in Kafka
                rows.append((name, {"partition_index": index, "partition_size": size, "offset_lag": 0, "is_future_key": False}))
        yield 1
    exchange.answer({"error_code": 0, "results": [{"error_code": 0, "log_dir": LOG_DIR, "topics": by_topic(rows)}]})


# ---- ListConfigResources


def list_config_resources(exchange: Exchange, values: dict[str, Any]) -> None:
    """Handler of ListConfigResources. Version 0 asks for client metrics' subscriptions alone, of which there are none."""
    exchange.state = [] if exchange.version == 0 else values["resource_types"] or [TOPIC_RESOURCE, BROKER_RESOURCE]
    if TOPIC_RESOURCE in exchange.state:
        exchange.ask([DescribeTopics()], _resources_found)
    else:
        exchange.ask((), _resources_found)


def _resources_found(exchange: Exchange, calls: list[Any]) -> Generator[int, None, None]:
    code = failed_code(exchange, calls, NAMING)
    if code:
        exchange.answer({"error_code": code, "config_resources": []})
        return
    topics = yield from _known(calls)
    found = [(name, TOPIC_RESOURCE) for name in sorted(topics)]
    if BROKER_RESOURCE in exchange.state:
        found.extend((str(number), BROKER_RESOURCE) for number in node_ids(exchange.session))
    rows = ({"resource_name": name, "resource_type": kind} for name, kind in found)
    exchange.answer({"error_code": 0, "config_resources": Rows(len(found), rows)})
