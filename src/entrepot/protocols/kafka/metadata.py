"""Finding things: Metadata, DescribeTopicPartitions, DescribeCluster, FindCoordinator. Which node has what: cluster.py."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any

from entrepot.broker.calls.port import DONE
from entrepot.broker.calls.topic_requests import AllowedActions, DescribeTopics, TopicDescription
from entrepot.model.errors import Reason, Refused
from entrepot.protocols.kafka import operations
from entrepot.protocols.kafka.answers import chunks, code_of, counted, error_code
from entrepot.protocols.kafka.cluster import brokers, coordinator, epoch_told, leaders, maybe_broker, node_id
from entrepot.protocols.kafka.error_codes import NAMING, ErrorCode
from entrepot.protocols.kafka.exchange import ASK_STEPS, Exchange
from entrepot.protocols.kafka.schema import Rows

NO_ID = bytes(16)
GROUP, TRANSACTION = 0, 1
TOPICS_AT_ONCE = 16  # described, and made where they are missing, in one request to the broker
ALLOWED_AT_ONCE = 128  # topics in one question of what the user may do with them
NO_TRANSACTIONS = ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
"""What is told to clients that want transactions, which are not there: every client takes it for final, where librdkafka tries UNSUPPORTED_VERSION for ever."""
PARTITIONS_A_STEP = 2  # whose nodes are looked for
PARTITION_LIMIT_MAX = 2000  # of one DescribeTopicPartitions answer, as Kafka's max.request.partition.size.limit


# ---- Metadata


def metadata(exchange: Exchange, values: dict[str, Any]) -> Generator[int, None, None]:
    """Handler of Metadata. A null list of topics, or in version 0 an empty one, asks for all. What is named twice is answered once."""
    topics = values["topics"]
    exchange.wanted = values
    if topics is None or (not topics and exchange.version == 0):
        exchange.ask([DescribeTopics()], _all_described)
        return
    ids: dict[bytes, int] = {}
    names: dict[str, int] = {}
    yield from counted((topic["topic_id"] for topic in topics if topic.get("topic_id", NO_ID) != NO_ID), ids)
    yield from counted((topic["name"] or "" for topic in topics if topic.get("topic_id", NO_ID) == NO_ID), names)
    exchange.state = names, ids
    exchange.ask(_descriptions(names, ids, values.get("allow_auto_topic_creation", True)), _described, ASK_STEPS + 6 * min(TOPICS_AT_ONCE, len(topics)))


def _descriptions(names: Iterable[str], ids: Iterable[bytes], create: bool) -> Iterable[DescribeTopics]:
    for some_names in chunks(names, TOPICS_AT_ONCE):
        if some_names:
            yield DescribeTopics(names=some_names, create_missing=create)
    for some_ids in chunks(ids, TOPICS_AT_ONCE):
        if some_ids:
            yield DescribeTopics(ids=some_ids)


def _all_described(exchange: Exchange, calls: list[Any]) -> Generator[int, None, None]:
    call = calls[0]
    if call.outcome != DONE:
        yield from _answer_metadata(exchange, [], code_of(exchange, call, NAMING))
        return
    topics = []
    for found in call.result:
        topics.append(found)
        yield 2
    yield from _answer_metadata(exchange, Rows(len(topics), (_topic(exchange, found) for found in topics)))


def _described(exchange: Exchange, calls: list[Any]) -> Generator[int, None, None]:
    names, ids = exchange.state
    return _answer_metadata(exchange, Rows(len(names) + len(ids), _found(exchange, names, ids, calls)))


def _found(exchange: Exchange, names: Iterable[str], ids: Iterable[bytes], calls: list[Any]) -> Iterable[dict[str, Any]]:
    answers = iter(calls)
    for keys in (names, ids):
        for asked in chunks(keys, TOPICS_AT_ONCE):
            if asked:
                call = next(answers)
                results = call.result if call.outcome == DONE else [call.error] * len(asked)
                for key, found in zip(asked, results, strict=True):
                    yield _topic(exchange, found) if isinstance(found, TopicDescription) else _missing(exchange, key, found)


def _missing(exchange: Exchange, key: str | bytes, error: BaseException) -> dict[str, Any]:
    """A topic that is not described, by name or id."""
    code = error_code(exchange, error, NAMING, ErrorCode.LEADER_NOT_AVAILABLE)
    if isinstance(key, str):
        return {"name": key, "topic_id": NO_ID, "error_code": code}
    if isinstance(error, Refused) and error.reason in (Reason.NOT_FOUND, Reason.NOT_PERMITTED):
        code = ErrorCode.UNKNOWN_TOPIC_ID
    return {"name": None if exchange.version >= 12 else "", "topic_id": key, "error_code": code}


def _topic(exchange: Exchange, topic: TopicDescription) -> dict[str, Any]:
    version, session = exchange.version, exchange.session
    plan, rows, count, epoch = exchange.api.response_plan(version), session.shared.partition_rows, topic.partition_count, epoch_told(session, topic.epoch)
    if session.settings.nodes.count == 1:
        partitions = rows.encoded(plan, version, node_id(session, 0), epoch, count)
    else:
        partitions = rows.spread(plan, version, leaders(session, topic.name, range(count)), epoch)
        session.turns.spend(count // PARTITIONS_A_STEP)
    return {"error_code": 0, "name": topic.name, "topic_id": topic.id, "is_internal": topic.internal, "partitions": partitions}


def _answer_metadata(exchange: Exchange, topics: list[dict[str, Any]] | Rows, code: int = 0) -> Generator[int, None, None]:
    values = exchange.wanted
    session = exchange.session
    answer = {
        "brokers": brokers(session, "node_id"),
        "cluster_id": session.settings.cluster_id,
        "controller_id": node_id(session, 0),
        "topics": topics,
        "error_code": code,
    }
    of_topics, of_cluster = values.get("include_topic_authorized_operations", False), values.get("include_cluster_authorized_operations", False)
    return _with_operations(exchange, answer, of_topics=of_topics, of_cluster=of_cluster)


def _with_operations(exchange: Exchange, answer: dict[str, Any], *, of_topics: bool = False, of_cluster: bool = False) -> Generator[int, None, None]:
    """Answer, saying what the user may do with each of the answer's topics, and with the cluster. Of what it may not see nothing is said."""
    named: list[dict[str, Any] | None] = []
    if of_topics:
        rows = []
        for row in answer["topics"]:
            rows.append(row)
            if row["name"] and row["error_code"] != ErrorCode.TOPIC_AUTHORIZATION_FAILED:
                named.append(row)
            yield 2
        answer["topics"] = rows
    if of_cluster:
        named.append(None)
    if not named:
        exchange.answer(answer)
        return

    def told(exchange: Exchange, calls: list[Any]) -> Generator[int, None, None]:
        for call, some in zip(calls, chunks(named, ALLOWED_AT_ONCE), strict=True):
            for row, actions in zip(some, call.result if call.outcome == DONE else (), strict=False):
                if row is None:
                    answer["cluster_authorized_operations"] = operations.bits(operations.CLUSTER, actions)
                else:
                    row["topic_authorized_operations"] = operations.bits(operations.TOPIC, actions)
                yield 2
        exchange.answer(answer)

    requests = (AllowedActions([None if row is None else row["name"] for row in some]) for some in chunks(named, ALLOWED_AT_ONCE))
    yield from exchange.asking(requests, told, ASK_STEPS + 4 * min(ALLOWED_AT_ONCE, len(named)))


# ---- DescribeTopicPartitions


def describe_partitions(exchange: Exchange, values: dict[str, Any]) -> Generator[int, None, None]:
    """Handler of DescribeTopicPartitions (KIP-966): topics by name in order, so many partitions at a time, and where to go on."""
    asked: dict[str, int] = {}
    yield from counted((topic["name"] for topic in values["topics"]), asked)
    names = sorted(asked)
    exchange.state = values, names
    exchange.ask((DescribeTopics(names=some or None) for some in chunks(names, TOPICS_AT_ONCE)), _partitions_described, ASK_STEPS + 6 * TOPICS_AT_ONCE)


def _partitions_described(exchange: Exchange, calls: list[Any]) -> Generator[int, None, None]:
    values, names = exchange.state
    cursor = values["cursor"]
    refused = next((call for call in calls if call.outcome != DONE), None)
    if refused is not None:
        code = code_of(exchange, refused, NAMING)
        exchange.answer({"topics": Rows(len(names), ({"error_code": code, "name": name} for name in names))})
        return
    found = []
    for call in calls:
        for topic in call.result:
            found.append(topic)
            yield 1
    rows = list(zip(names, found, strict=True)) if names else sorted((topic.name, topic) for topic in found)
    left = values["response_partition_limit"]
    left = PARTITION_LIMIT_MAX if left <= 0 else min(left, PARTITION_LIMIT_MAX)
    topics: list[dict[str, Any]] = []
    next_cursor = None
    for at, (name, topic) in enumerate(rows):
        if at % 64 == 0:
            yield 64
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
        count = max(0, topic.partition_count - first)
        shown = range(first, first + min(left, count))
        found_leaders = leaders(exchange.session, topic.name, shown)
        partitions = [_partition(exchange, topic, number, leader) for number, leader in zip(shown, found_leaders, strict=True)]
        topics.append({"error_code": 0, "name": topic.name, "topic_id": topic.id, "is_internal": topic.internal, "partitions": partitions})
        if count > left:
            next_cursor = {"topic_name": name, "partition_index": first + left}
            break
        left -= count
    yield from _with_operations(exchange, {"topics": topics, "next_cursor": next_cursor}, of_topics=True)


def _partition(exchange: Exchange, topic: TopicDescription, number: int, leader: int) -> dict[str, Any]:
    return {
        "error_code": 0,
        "partition_index": number,
        "leader_id": leader,
        "leader_epoch": epoch_told(exchange.session, topic.epoch),
        "replica_nodes": [leader],
        "isr_nodes": [leader],
        "eligible_leader_replicas": [],
        "last_known_elr": [],
    }


# ---- nodes


def describe_cluster(exchange: Exchange, values: dict[str, Any]) -> Generator[int, None, None]:
    """Handler of DescribeCluster. Controllers (endpoint type 2) are not for clients here."""
    session = exchange.session
    code = 0 if values.get("endpoint_type", 1) == 1 else 115  # UNSUPPORTED_ENDPOINT_TYPE
    answer = {
        "error_code": code,
        "error_message": "there is no controller apart from the brokers" if code else None,
        "endpoint_type": 1,
        "cluster_id": session.settings.cluster_id,
        "controller_id": node_id(session, 0),
        "brokers": [] if code else brokers(session, "broker_id"),
    }
    return _with_operations(exchange, answer, of_cluster=values["include_cluster_authorized_operations"] and not code)


def find_coordinator(exchange: Exchange, values: dict[str, Any]) -> None:
    """Handler of FindCoordinator: the node that has the group's shard."""
    kind = values.get("key_type", GROUP)
    code, text = (0, None) if kind == GROUP else (int(ErrorCode.INVALID_REQUEST), f"a coordinator of kind {kind}: only consumer groups have one here")
    if kind == TRANSACTION:
        code, text = int(NO_TRANSACTIONS), "transactions are not supported by this broker"
    if code:
        exchange.session.count_error(exchange)
    none = {"error_code": code, "error_message": text, "node_id": -1, "host": "", "port": -1}
    if exchange.version >= 4:
        keys = values["coordinator_keys"]
        exchange.answer({"coordinators": Rows(len(keys), ({"key": key, **(none if code else _coordinator(exchange, key))} for key in keys))})
    else:
        exchange.answer(none if code else _coordinator(exchange, values["key"]))


def _coordinator(exchange: Exchange, group: str) -> dict[str, Any]:
    session = exchange.session
    found = maybe_broker(session, coordinator(session, group), "node_id")
    if found is None:
        exchange.session.count_error(exchange)
        return {"error_code": int(ErrorCode.COORDINATOR_NOT_AVAILABLE), "error_message": "its node is not known", "node_id": -1, "host": "", "port": -1}
    return {"error_code": 0, "error_message": None, **found}
