"""Topics made, changed and removed; records deleted; producers' ids."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from itertools import chain
from operator import itemgetter
from typing import Any

from entrepot.broker.calls.port import DONE
from entrepot.broker.calls.topic_requests import (
    CHANGES_MAX,
    INTERNAL_TOPICS,
    CreatePartitions,
    CreateTopic,
    DeleteTopic,
    DescribeTopicConfig,
    DescribeTopics,
    NewProducer,
    TopicDescription,
    TrimPartition,
)
from entrepot.model.errors import Reason, Refused
from entrepot.protocols.kafka.answers import chunks, code_of, counted, failed_code, partition_rows, per_partition, text_of
from entrepot.protocols.kafka.cluster import not_led, undecided
from entrepot.protocols.kafka.error_codes import NAMING, PARTITIONS, TOPIC, ErrorCode
from entrepot.protocols.kafka.exchange import ASK_STEPS, Exchange
from entrepot.protocols.kafka.metadata import NO_ID, NO_TRANSACTIONS, TOPICS_AT_ONCE
from entrepot.protocols.kafka.schema import Rows

DEFAULT_CONFIG, TOPIC_CONFIG = 5, 1  # config_source
DESCRIPTION_STEPS = 120  # of what is set of a topic


# ---- CreateTopics


def create_topics(exchange: Exchange, values: dict[str, Any]) -> Generator[int, None, None]:
    """Handler of CreateTopics. A partition is one node's: a replication factor of 1 or the default, and assignments to that node alone, are possible."""
    names: dict[str, int] = {}
    yield from counted((topic["name"] for topic in values["topics"]), names)
    rows: list[Any] = []
    for name, (code, text) in _twice(names):
        rows.append({"name": name, "topic_id": NO_ID, "error_code": int(code), "error_message": text})
        yield 2
    exchange.state = (values, rows)
    yield from exchange.asking(_creations(exchange, rows, names), _topics_created)


def _creations(exchange: Exchange, rows: list[Any], named: dict[str, int]) -> Iterator[CreateTopic | None]:
    """Requests for the topics that may be made. `rows` gets their names, and the answers of those that may not."""
    values = exchange.state[0]
    for topic in values["topics"]:
        if named[topic["name"]] > 1:
            yield None
            continue
        refused = _cannot_create(exchange, topic)
        if refused is not None:
            rows.append({"name": topic["name"], "topic_id": NO_ID, "error_code": int(refused[0]), "error_message": refused[1]})
            yield None
            continue
        rows.append(topic["name"])
        partitions = len(topic["assignments"]) or topic["num_partitions"]
        config = {entry["name"]: entry["value"] for entry in topic["configs"]}
        yield CreateTopic(topic["name"], partitions, config, values["validate_only"])


Refusal = tuple[ErrorCode, str]


def _twice(named: dict[str, int]) -> Iterable[tuple[str, Refusal]]:
    """What a request names more than once, which is done for none of them, and told once."""
    for name, count in named.items():
        if count > 1:
            yield name, (ErrorCode.INVALID_REQUEST, f"topic '{name}' is named twice")


def _cannot_create(exchange: Exchange, topic: dict[str, Any]) -> Refusal | None:
    assignments = topic["assignments"]
    if topic["name"] in INTERNAL_TOPICS:
        return ErrorCode.INVALID_REQUEST, f"'{topic['name']}' is the name of a topic that Kafka keeps for itself; there is none here, and none can be made"
    if len(topic["configs"]) > CHANGES_MAX:
        return ErrorCode.INVALID_CONFIG, f"{len(topic['configs'])} settings at once; {CHANGES_MAX} are allowed"
    if assignments:
        if topic["num_partitions"] != -1 or topic["replication_factor"] != -1:
            return ErrorCode.INVALID_REQUEST, "with assignments, the number of partitions and the replication factor must be -1"
        if sorted(assignment["partition_index"] for assignment in assignments) != list(range(len(assignments))):
            return ErrorCode.INVALID_REPLICA_ASSIGNMENT, "assignments are of partitions 0 and up, each once"
        in_order = sorted(assignments, key=itemgetter("partition_index"))
        return _cannot_assign(exchange, topic["name"], [assignment["broker_ids"] for assignment in in_order], 0)
    if topic["num_partitions"] != -1 and topic["num_partitions"] <= 0:
        return ErrorCode.INVALID_PARTITIONS, f"{topic['num_partitions']} partitions; a topic has at least 1"
    if topic["replication_factor"] not in (-1, 1):
        return ErrorCode.INVALID_REPLICATION_FACTOR, f"replication factor {topic['replication_factor']}: a partition is one broker's"
    return None


def _cannot_assign(exchange: Exchange, name: str, replicas: list[list[int]], first: int) -> Refusal | None:
    """What is wrong with the brokers of partitions from `first` on."""
    wrong = not_led(exchange.session, name, replicas, first)
    return None if wrong is None else (ErrorCode.INVALID_REPLICA_ASSIGNMENT, wrong)


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
        return code_of(exchange, call, PARTITIONS, undecided(exchange.session))
    return code_of(exchange, call, NAMING, undecided(exchange.session))


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


def delete_topics(exchange: Exchange, values: dict[str, Any]) -> Generator[int, None, None]:
    """Handler of DeleteTopics: by name, from version 6 on also by id. What is named twice is not deleted, and told once."""
    if exchange.version >= 6:
        topics = [(topic["name"], topic["topic_id"]) for topic in values["topics"]]
    else:
        topics = [(name, NO_ID) for name in values["topic_names"]]
    named: dict[Any, int] = {}
    yield from counted(topics, named)
    left: dict[tuple[str | None, bytes], None] = {}
    refused: dict[tuple[str | None, bytes], str] = {}
    names = []
    for (name, topic_id), count in named.items():
        yield 1
        if name is not None and topic_id != NO_ID:
            refused[name, topic_id] = "named by its name and an id"
        elif count > 1:
            refused[name, topic_id] = "named twice"
        else:
            left[name, topic_id] = None
            if name:
                names.append(name)
    exchange.state = (left, refused)
    if len(names) in (0, len(left)):
        yield from _delete_topics(exchange, [])
    else:
        requests = (DescribeTopics(names=some) for some in chunks(names, TOPICS_AT_ONCE))
        yield from exchange.asking(requests, _delete_topics, ASK_STEPS + 6 * min(TOPICS_AT_ONCE, len(names)))


def _delete_topics(exchange: Exchange, calls: list[Any]) -> Generator[int, None, None]:
    """Delete what is left; `calls`: what those that are named are, where others are said by id."""
    left, refused = exchange.state
    code = failed_code(exchange, calls, NAMING)
    if code:
        rows = ({"name": name, "topic_id": topic_id, "error_code": code} for name, topic_id in (*refused, *left))
        exchange.answer({"responses": Rows(len(refused) + len(left), rows)})
        return
    for call in calls:
        for topic in call.result:
            yield 1
            if isinstance(topic, TopicDescription) and (None, topic.id) in left:
                del left[topic.name, NO_ID], left[None, topic.id]
                refused[topic.name, topic.id] = "named by its name and by its id"
    requests = (DeleteTopic(name or "", b"" if name else topic_id) for name, topic_id in left)
    yield from exchange.asking(requests, _topics_deleted)


def _topics_deleted(exchange: Exchange, calls: list[Any]) -> None:
    left, refused = exchange.state
    exchange.answer({"responses": Rows(len(refused) + len(left), _deletions(exchange, left, refused, calls))})


def _deletions(exchange: Exchange, left: Iterable[Any], refused: dict[Any, str], calls: list[Any]) -> Iterator[dict[str, Any]]:
    for (name, topic_id), text in refused.items():
        exchange.session.count_error(exchange)
        what = f"topic '{name}'" if name is not None else "a topic's id"
        yield {"name": name, "topic_id": topic_id, "error_code": int(ErrorCode.INVALID_REQUEST), "error_message": f"{what} is {text}"}
    for (name, topic_id), call in zip(left, calls, strict=True):
        code = code_of(exchange, call, NAMING, undecided(exchange.session))
        if call.outcome == DONE:
            name, topic_id = call.result.name, call.result.id
        elif name is None and code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
            code = int(ErrorCode.UNKNOWN_TOPIC_ID)
        yield {"name": name, "topic_id": topic_id, "error_code": code, "error_message": text_of(call.error)}


def create_partitions(exchange: Exchange, values: dict[str, Any]) -> Generator[int, None, None]:
    """Handler of CreatePartitions. First it is asked whether the topics may have so many, and how many they have: assignments are of what is added."""
    named: dict[str, int] = {}
    yield from counted((topic["name"] for topic in values["topics"]), named)
    rows: list[Any] = []
    for name, (code, text) in _twice(named):
        rows.append({"name": name, "error_code": int(code), "error_message": text})
        yield 2
    topics = []
    for topic in values["topics"]:
        if named[topic["name"]] == 1:
            topics.append(topic)
        yield 1
    exchange.state = (topics, rows, values["validate_only"])
    yield from exchange.asking((CreatePartitions(topic["name"], topic["count"], check_only=True) for topic in topics), _partitions_checked)


def _partitions_checked(exchange: Exchange, calls: list[Any]) -> Generator[int, None, None]:
    topics, rows, check_only = exchange.state
    left = []
    for topic, call in zip(topics, calls, strict=True):
        yield 2 + len(topic["assignments"] or ()) // 8
        if call.outcome != DONE:
            rows.append(
                {"name": topic["name"], "error_code": code_of(exchange, call, PARTITIONS, undecided(exchange.session)), "error_message": text_of(call.error)}
            )
            continue
        refused = _cannot_add(exchange, topic, call.result.partition_count)
        if refused is not None:
            exchange.session.count_error(exchange)
            rows.append({"name": topic["name"], "error_code": int(refused[0]), "error_message": refused[1]})
        elif check_only:
            rows.append({"name": topic["name"], "error_code": 0, "error_message": None})
        else:
            left.append(topic)
    exchange.state = (left, rows)
    yield from exchange.asking((CreatePartitions(topic["name"], topic["count"]) for topic in left), _partitions_created)


def _cannot_add(exchange: Exchange, topic: dict[str, Any], first: int) -> Refusal | None:
    """What is wrong with the brokers of the partitions that are added, from `first` on."""
    assignments = topic["assignments"]
    if assignments is None:
        return None
    count = topic["count"] - first
    refused = _cannot_assign(exchange, topic["name"], [assignment["broker_ids"] for assignment in assignments], first)
    if refused is None and len(assignments) != count:
        return ErrorCode.INVALID_REPLICA_ASSIGNMENT, f"{len(assignments)} assignments for {count} partitions that are added"
    return refused


def _partitions_created(exchange: Exchange, calls: list[Any]) -> None:
    left, rows = exchange.state
    added = (
        {"name": topic["name"], "error_code": code_of(exchange, call, PARTITIONS, undecided(exchange.session)), "error_message": text_of(call.error)}
        for topic, call in zip(left, calls, strict=True)
    )
    exchange.answer({"results": Rows(len(rows) + len(left), chain(rows, added))})


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
    """Handler of InitProducerId, of idempotent producers: there are no transactions yet (see metadata.NO_TRANSACTIONS)."""
    if values["transactional_id"] is not None:
        exchange.session.count_error(exchange)
        exchange.answer({"error_code": int(NO_TRANSACTIONS), "producer_epoch": -1})
        return
    exchange.ask([NewProducer(values.get("producer_id", -1), values.get("producer_epoch", -1))], _producer_made)


def _producer_made(exchange: Exchange, calls: list[Any]) -> None:
    call = calls[0]
    if call.outcome != DONE:
        exchange.answer({"error_code": code_of(exchange, call, TOPIC, ErrorCode.COORDINATOR_NOT_AVAILABLE), "producer_epoch": -1})
        return
    producer_id, epoch = call.result
    exchange.answer({"error_code": 0, "producer_id": producer_id, "producer_epoch": epoch})
