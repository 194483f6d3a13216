"""Finding things: Metadata, DescribeTopicPartitions, DescribeCluster, FindCoordinator. There is one broker, which leads and coordinates everything."""

from __future__ import annotations

from collections import deque
from typing import Any

from entrepot.broker.port import DONE
from entrepot.broker.topic_requests import AllowedActions, DescribeTopics, TopicDescription
from entrepot.model.errors import Reason, Refused
from entrepot.protocols.kafka import operations
from entrepot.protocols.kafka.answers import broker_node, code_of, error_code
from entrepot.protocols.kafka.error_codes import NAMING, ErrorCode
from entrepot.protocols.kafka.exchange import Exchange

NO_ID = bytes(16)
GROUP, TRANSACTION = 0, 1
TURN_TOPICS = 500  # looked up for one Metadata request in a turn of the loop
NO_TRANSACTIONS = ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
"""What is told to clients that want transactions, which are not there: every client takes it for final, where librdkafka tries UNSUPPORTED_VERSION for ever."""
TURN_ALLOWED = 500  # topics of which is looked up, in a turn of the loop, what one request's user may do with them
PARTITION_LIMIT_MAX = 2000  # of one DescribeTopicPartitions answer, as Kafka's max.request.partition.size.limit


# ---- Metadata


def metadata(exchange: Exchange, values: dict[str, Any]) -> None:
    """Handler of Metadata. A null list of topics, or in version 0 an empty one, asks for all."""
    topics = values["topics"]
    exchange.wanted = values
    if topics is None or (not topics and exchange.version == 0):
        exchange.ask([DescribeTopics()], _all_described)
        return
    ids = [topic["topic_id"] for topic in topics if topic.get("topic_id", NO_ID) != NO_ID]
    names = [topic["name"] or "" for topic in topics if topic.get("topic_id", NO_ID) == NO_ID]
    if not names and not ids:
        _answer_metadata(exchange, [])
        return
    exchange.state = _Lookup(names, ids, values.get("allow_auto_topic_creation", True))
    _look_on(exchange)


class _Lookup:
    """What a Metadata request asks for, in parts of at most TURN_TOPICS: others have their turn between them."""

    def __init__(self, names: list[str], ids: list[bytes], create: bool) -> None:
        self.parts: deque[tuple[list[Any], DescribeTopics]] = deque()
        for at in range(0, len(names), TURN_TOPICS):
            part = names[at : at + TURN_TOPICS]
            self.parts.append((part, DescribeTopics(names=part, create_missing=create)))
        for at in range(0, len(ids), TURN_TOPICS):
            some = ids[at : at + TURN_TOPICS]
            self.parts.append((some, DescribeTopics(ids=some)))
        self.topics: list[dict[str, Any]] = []


def _look_on(exchange: Exchange) -> None:
    if not exchange.session.closing:
        exchange.ask([exchange.state.parts[0][1]], _described)


def _all_described(exchange: Exchange, calls: list[Any]) -> None:
    call = calls[0]
    if call.outcome != DONE:
        _answer_metadata(exchange, [], code_of(exchange, call, NAMING))
        return
    _answer_metadata(exchange, [_topic(exchange, found) for found in call.result if isinstance(found, TopicDescription)])


def _described(exchange: Exchange, calls: list[Any]) -> None:
    lookup = exchange.state
    call = calls[0]
    asked, _ = lookup.parts.popleft()
    results = call.result if call.outcome == DONE else [call.error] * len(asked)
    for key, found in zip(asked, results, strict=True):
        lookup.topics.append(_topic(exchange, found) if isinstance(found, TopicDescription) else _missing(exchange, key, found))
    if lookup.parts:
        exchange.session.shared.later(lambda: _look_on(exchange))
    else:
        _answer_metadata(exchange, lookup.topics)


def _missing(exchange: Exchange, key: str | bytes, error: BaseException) -> dict[str, Any]:
    """A topic that is not described, by name or id."""
    code = error_code(exchange, error, NAMING, ErrorCode.LEADER_NOT_AVAILABLE)
    if isinstance(key, str):
        return {"name": key, "topic_id": NO_ID, "error_code": code}
    if isinstance(error, Refused) and error.reason in (Reason.NOT_FOUND, Reason.NOT_PERMITTED):
        code = ErrorCode.UNKNOWN_TOPIC_ID
    return {"name": None if exchange.version >= 12 else "", "topic_id": key, "error_code": code}


def _topic(exchange: Exchange, topic: TopicDescription) -> dict[str, Any]:
    node = [exchange.session.settings.node_id]
    return {
        "error_code": 0,
        "name": topic.name,
        "topic_id": topic.id,
        "is_internal": topic.internal,
        "partitions": [
            {
                "error_code": 0,
                "partition_index": partition.partition,
                "leader_id": node[0],
                "leader_epoch": partition.epoch,
                "replica_nodes": node,
                "isr_nodes": node,
            }
            for partition in topic.partitions
        ],
    }


def _answer_metadata(exchange: Exchange, topics: list[dict[str, Any]], code: int = 0) -> None:
    values = exchange.wanted
    settings = exchange.session.settings
    answer = {
        "brokers": [broker_node(exchange, "node_id")],
        "cluster_id": settings.cluster_id,
        "controller_id": settings.node_id,
        "topics": topics,
        "error_code": code,
    }
    of_topics, of_cluster = values.get("include_topic_authorized_operations", False), values.get("include_cluster_authorized_operations", False)
    _with_operations(exchange, answer, topics if of_topics else [], of_cluster)


def _with_operations(exchange: Exchange, answer: dict[str, Any], topics: list[dict[str, Any]], of_cluster: bool = False) -> None:
    """Answer, saying what the user may do with each of `topics`, and with the cluster. Of what it may not see nothing is said."""
    rows = [row for row in topics if row["name"] and row["error_code"] != ErrorCode.TOPIC_AUTHORIZATION_FAILED]
    if not rows and not of_cluster:
        exchange.answer(answer)
        return

    named: list[dict[str, Any] | None] = [*rows, *[None] * of_cluster]

    def look_on(at: int) -> None:
        part = named[at : at + TURN_ALLOWED]

        def told(exchange: Exchange, calls: list[Any]) -> None:
            call = calls[0]
            for row, actions in zip(part, call.result if call.outcome == DONE else (), strict=False):
                if row is None:
                    answer["cluster_authorized_operations"] = operations.bits(operations.CLUSTER, actions)
                else:
                    row["topic_authorized_operations"] = operations.bits(operations.TOPIC, actions)
            if at + TURN_ALLOWED < len(named):
                exchange.session.shared.later(lambda: look_on(at + TURN_ALLOWED))
            else:
                exchange.answer(answer)

        if not exchange.session.closing:
            exchange.ask([AllowedActions([None if row is None else row["name"] for row in part])], told)

    look_on(0)


# ---- DescribeTopicPartitions


def describe_partitions(exchange: Exchange, values: dict[str, Any]) -> None:
    """Handler of DescribeTopicPartitions (KIP-966): topics by name in order, so many partitions at a time, and where to go on."""
    names = sorted({topic["name"] for topic in values["topics"]})
    exchange.state = values
    exchange.ask([DescribeTopics(names=names or None)], _partitions_described)


def _partitions_described(exchange: Exchange, calls: list[Any]) -> None:
    values = exchange.state
    cursor = values["cursor"]
    call = calls[0]
    if call.outcome != DONE:
        names = sorted({topic["name"] for topic in values["topics"]})
        code = code_of(exchange, call, NAMING)
        exchange.answer({"topics": [{"error_code": code, "name": name} for name in names]})
        return
    names = sorted({topic["name"] for topic in values["topics"]})
    found: list[Any] = call.result
    rows = list(zip(names, found, strict=True)) if names else sorted((topic.name, topic) for topic in found if isinstance(topic, TopicDescription))
    left = values["response_partition_limit"]
    left = PARTITION_LIMIT_MAX if left <= 0 else min(left, PARTITION_LIMIT_MAX)
    topics = []
    next_cursor = None
    for name, topic in rows:
        first = 0
        if cursor is not None:
            if name < cursor["topic_name"]:
                continue
            first = max(0, cursor["partition_index"]) if name == cursor["topic_name"] else 0
        if left == 0:
            next_cursor = {"topic_name": name, "partition_index": first}
            break
        if not isinstance(topic, TopicDescription):
            topics.append(_missing(exchange, name, topic))
            continue
        row = _topic(exchange, topic)
        partitions = row["partitions"][first:]
        row["partitions"] = partitions[:left]
        for partition in row["partitions"]:
            partition |= {"eligible_leader_replicas": [], "last_known_elr": []}
        topics.append(row)
        if len(partitions) > left:
            next_cursor = {"topic_name": name, "partition_index": first + left}
            break
        left -= len(partitions)
    _with_operations(exchange, {"topics": topics, "next_cursor": next_cursor}, topics)


# ---- the broker


def describe_cluster(exchange: Exchange, values: dict[str, Any]) -> None:
    """Handler of DescribeCluster. Controllers (endpoint type 2) are not for clients here."""
    settings = exchange.session.settings
    code = 0 if values.get("endpoint_type", 1) == 1 else 115  # UNSUPPORTED_ENDPOINT_TYPE
    answer = {
        "error_code": code,
        "error_message": "there is no controller apart from the broker" if code else None,
        "endpoint_type": 1,
        "cluster_id": settings.cluster_id,
        "controller_id": settings.node_id,
        "brokers": [] if code else [broker_node(exchange, "broker_id")],
    }
    _with_operations(exchange, answer, [], values["include_cluster_authorized_operations"] and not code)


def find_coordinator(exchange: Exchange, values: dict[str, Any]) -> None:
    """Handler of FindCoordinator: this broker, of every group."""
    kind = values.get("key_type", GROUP)
    code, text = (0, None) if kind == GROUP else (int(ErrorCode.INVALID_REQUEST), f"a coordinator of kind {kind}: only consumer groups have one here")
    if kind == TRANSACTION:
        code, text = int(NO_TRANSACTIONS), "transactions are not supported by this broker"
    if code:
        exchange.session.count_error(exchange)
        row: dict[str, Any] = {"error_code": code, "error_message": text, "node_id": -1, "host": "", "port": -1}
    else:
        row = {"error_code": 0, "error_message": None, **broker_node(exchange, "node_id")}
    if exchange.version >= 4:
        exchange.answer({"coordinators": [{"key": key, **row} for key in values["coordinator_keys"]]})
    else:
        exchange.answer(row)
