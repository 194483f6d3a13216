"""Topics made, changed and removed; records deleted; producers' ids."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

from entrepot.broker.port import DONE
from entrepot.broker.topic_requests import CreatePartitions, CreateTopic, DeleteTopic, DescribeTopicConfig, NewProducer, TrimPartition
from entrepot.model.errors import Reason, Refused
from entrepot.protocols.kafka.answers import code_of, counted, partition_rows, per_partition, text_of
from entrepot.protocols.kafka.error_codes import NAMING, PARTITIONS, TOPIC, ErrorCode
from entrepot.protocols.kafka.exchange import Exchange
from entrepot.protocols.kafka.metadata import NO_ID
from entrepot.protocols.kafka.schema import Rows

DEFAULT_CONFIG, TOPIC_CONFIG = 5, 1  # config_source
CREATION_STEPS, PARTITION_STEPS = 60, 5  # of making a topic, and each of its partitions
DESCRIPTION_STEPS = 60  # of what is set of a topic


# ---- CreateTopics


def create_topics(exchange: Exchange, values: dict[str, Any]) -> Generator[int, None, None]:
    """Handler of CreateTopics. There is one broker: a replication factor of 1 or the default, and assignments to it alone, are possible."""
    node_id = exchange.session.settings.node_id
    names: dict[str, int] = {}
    yield from counted((topic["name"] for topic in values["topics"]), names)
    rows: list[Any] = []
    exchange.state = (values, rows)
    yield from exchange.asking(_creations(values, rows, names, node_id), _topics_created, _creation_steps)


def _creation_steps(request: CreateTopic) -> int:
    return CREATION_STEPS + PARTITION_STEPS * max(1, request.partitions)


def _creations(values: dict[str, Any], rows: list[Any], names: dict[str, int], node_id: int) -> Iterator[CreateTopic]:
    """Requests for the topics that may be made. `rows` gets their names, and the answers of those that may not."""
    for topic in values["topics"]:
        refused = _cannot_create(topic, names, node_id)
        if refused is not None:
            rows.append({"name": topic["name"], "topic_id": NO_ID, "error_code": int(refused[0]), "error_message": refused[1]})
            continue
        rows.append(topic["name"])
        partitions = len(topic["assignments"]) or topic["num_partitions"]
        config = {entry["name"]: entry["value"] for entry in topic["configs"]}
        yield CreateTopic(topic["name"], partitions, config, values["validate_only"])


def _cannot_create(topic: dict[str, Any], names: dict[str, int], node_id: int) -> tuple[ErrorCode, str] | None:
    assignments = topic["assignments"]
    if names[topic["name"]] > 1:
        return ErrorCode.INVALID_REQUEST, f"topic '{topic['name']}' is named twice"
    if assignments:
        if topic["num_partitions"] != -1 or topic["replication_factor"] != -1:
            return ErrorCode.INVALID_REQUEST, "with assignments, the number of partitions and the replication factor must be -1"
        if sorted(assignment["partition_index"] for assignment in assignments) != list(range(len(assignments))):
            return ErrorCode.INVALID_REPLICA_ASSIGNMENT, "assignments are of partitions 0 and up, each once"
        if any(assignment["broker_ids"] != [node_id] for assignment in assignments):
            return ErrorCode.INVALID_REPLICA_ASSIGNMENT, f"there is one broker, {node_id}: every partition is its own"
    elif topic["num_partitions"] != -1 and topic["num_partitions"] <= 0:
        return ErrorCode.INVALID_PARTITIONS, f"{topic['num_partitions']} partitions; a topic has at least 1"
    if not assignments and topic["replication_factor"] not in (-1, 1):
        return ErrorCode.INVALID_REPLICATION_FACTOR, f"replication factor {topic['replication_factor']}: there is one broker"
    return None


def _topics_created(exchange: Exchange, calls: list[Any]) -> Generator[int, None, None]:
    values, rows = exchange.state
    answers = iter(calls)
    made = []
    for at, name in enumerate(rows):
        if at % 16 == 0:
            yield 32
        if not isinstance(name, str):
            exchange.session.count_error(exchange)
            continue
        call = next(answers)
        if call.outcome != DONE:
            rows[at] = {"name": name, "topic_id": NO_ID, "error_code": _creation_code(exchange, call), "error_message": text_of(call.error)}
            continue
        topic = call.result
        rows[at] = {
            "name": topic.name,
            "topic_id": topic.id,
            "error_code": 0,
            "error_message": None,
            "num_partitions": topic.partition_count,
            "replication_factor": 1,
            "configs": [],
        }
        made.append(rows[at])
    exchange.state = (rows, made)
    if exchange.version < 5 or values["validate_only"]:
        exchange.answer({"topics": rows})
        return
    exchange.ask((DescribeTopicConfig(row["name"]) for row in made), _configs_of_created, DESCRIPTION_STEPS)


def _creation_code(exchange: Exchange, call: Any) -> int:
    """INVALID is of the name, or of the number of partitions where the text says so."""
    if isinstance(call.error, Refused) and call.error.reason is Reason.INVALID and "partitions" in str(call.error):
        return code_of(exchange, call, PARTITIONS)
    return code_of(exchange, call, NAMING)


def _configs_of_created(exchange: Exchange, calls: list[Any]) -> Generator[int, None, None]:
    rows, made = exchange.state
    for row, call in zip(made, calls, strict=False):
        yield 10
        if call.outcome != DONE:
            row["topic_config_error_code"] = code_of(exchange, call, TOPIC)
            row["configs"] = None
            continue
        row["configs"] = [
            {"name": entry.name, "value": entry.value, "read_only": False, "config_source": DEFAULT_CONFIG if entry.is_default else TOPIC_CONFIG}
            for entry in call.result
        ]
    exchange.answer({"topics": rows})


# ---- DeleteTopics, CreatePartitions


def delete_topics(exchange: Exchange, values: dict[str, Any]) -> None:
    """Handler of DeleteTopics: by name, from version 6 on also by id."""
    if exchange.version >= 6:
        topics = [(topic["name"], topic["topic_id"]) for topic in values["topics"]]
    else:
        topics = [(name, NO_ID) for name in values["topic_names"]]
    exchange.state = topics
    exchange.ask((DeleteTopic(name or "", b"" if name else topic_id) for name, topic_id in topics), _topics_deleted, CREATION_STEPS)


def _topics_deleted(exchange: Exchange, calls: list[Any]) -> None:
    exchange.answer({"responses": Rows(len(calls), _deletions(exchange, calls))})


def _deletions(exchange: Exchange, calls: list[Any]) -> Iterator[dict[str, Any]]:
    for (name, topic_id), call in zip(exchange.state, calls, strict=True):
        code = code_of(exchange, call, NAMING)
        if call.outcome == DONE:
            name, topic_id = call.result.name, call.result.id
        elif name is None and code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
            code = int(ErrorCode.UNKNOWN_TOPIC_ID)
        yield {"name": name, "topic_id": topic_id, "error_code": code, "error_message": text_of(call.error)}


def create_partitions(exchange: Exchange, values: dict[str, Any]) -> None:
    """Handler of CreatePartitions. Assignments say nothing where there is one broker."""
    exchange.state = values
    exchange.ask(
        (CreatePartitions(topic["name"], topic["count"], values["validate_only"]) for topic in values["topics"]),
        _partitions_created,
        lambda request: CREATION_STEPS + PARTITION_STEPS * max(1, request.count),
    )


def _partitions_created(exchange: Exchange, calls: list[Any]) -> None:
    rows = (
        {"name": topic["name"], "error_code": code_of(exchange, call, PARTITIONS), "error_message": text_of(call.error)}
        for topic, call in zip(exchange.state["topics"], calls, strict=True)
    )
    exchange.answer({"results": Rows(len(calls), rows)})


# ---- DeleteRecords, InitProducerId


def delete_records(exchange: Exchange, values: dict[str, Any]) -> None:
    """Handler of DeleteRecords: everything below an offset; -1 is the high watermark."""
    exchange.state = values
    exchange.ask((TrimPartition(topic, partition["partition_index"], partition["offset"]) for topic, partition in per_partition(values)), _records_deleted)


def _records_deleted(exchange: Exchange, calls: list[Any]) -> None:
    answers = iter(calls)

    def row(topic: str, partition: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001 - every row is asked alike
        call = next(answers)
        low = call.result if call.outcome == DONE else -1
        return {"partition_index": partition["partition_index"], "error_code": code_of(exchange, call, TOPIC), "low_watermark": low}

    exchange.answer({"topics": partition_rows(exchange.state, row)})


def init_producer_id(exchange: Exchange, values: dict[str, Any]) -> None:
    """Handler of InitProducerId, of idempotent producers: there are no transactions yet."""
    if values["transactional_id"] is not None:
        exchange.session.count_error(exchange)
        exchange.answer({"error_code": int(ErrorCode.UNSUPPORTED_VERSION), "producer_epoch": -1})
        return
    exchange.ask([NewProducer(values.get("producer_id", -1), values.get("producer_epoch", -1))], _producer_made)


def _producer_made(exchange: Exchange, calls: list[Any]) -> None:
    call = calls[0]
    if call.outcome != DONE:
        exchange.answer({"error_code": code_of(exchange, call, TOPIC, ErrorCode.COORDINATOR_NOT_AVAILABLE), "producer_epoch": -1})
        return
    producer_id, epoch = call.result
    exchange.answer({"error_code": 0, "producer_id": producer_id, "producer_epoch": epoch})
