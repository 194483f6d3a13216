"""What a broker answers where no client's API shows it, in Kafka's own protocol: each as Apache Kafka answers it."""

from __future__ import annotations

import secrets
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kafka_batches import batch
from kafka_endpoints import Endpoint
from kafka_forms import REFUSED, TAKEN
from kafka_messages import Sent, assorted, produce, read_all, wait_until
from kafka_wire import Wire

WORKERS = 1  # all that is asked over one connection is this one's; of others' see tests/cluster/test_kafka_nodes.py
NewTopicName = Callable[..., str]


@pytest.fixture
def wire(endpoint: Endpoint) -> Iterator[Wire]:
    with Wire(endpoint) as one:
        yield one


def id_of(wire: Wire, name: str) -> uuid.UUID:
    (found,) = wire.ask("Metadata", 12, topics=[{"topic_id": uuid.UUID(int=0), "name": name}], allow_auto_topic_creation=False)["topics"]
    assert found["error_code"] == 0
    return found["topic_id"]  # type: ignore[no-any-return]


# ---- Fetch


def fetching(*places: tuple[str | uuid.UUID, int, int], max_wait_ms: int = 60_000) -> dict[str, Any]:
    """A Fetch of (topic, partition, offset), that waits for a byte."""
    topics = [
        {
            "topic" if isinstance(topic, str) else "topic_id": topic,
            "partitions": [{"partition": partition, "fetch_offset": offset, "partition_max_bytes": 1 << 20}],
        }
        for topic, partition, offset in places
    ]
    return {"max_wait_ms": max_wait_ms, "min_bytes": 1, "max_bytes": 1 << 20, "session_id": 0, "session_epoch": -1, "topics": topics}


def led(wire: Wire, name: str, partitions: int = 1) -> str:
    """A topic's name, as soon as its partitions are served: Kafka says that a topic is made a moment before."""
    places = [(name, partition, 0) for partition in range(partitions)]
    wait_until(lambda: {code for code, _ in codes(wire.ask("Fetch", 12, **fetching(*places, max_wait_ms=1)))} == {0}, "leaders of the partitions")
    return name


def codes(answer: dict[str, Any]) -> list[tuple[int, bool]]:
    """(error, whether there are records), in order."""
    return [(part["error_code"], bool(part["records"])) for topic in answer["responses"] for part in topic["partitions"]]


@pytest.mark.parametrize("what", ["a topic", "a number", "an id"])
def test_a_fetch_of_what_is_not_there_waits_with_what_is(wire: Wire, bootstrap: str, topic: NewTopicName, what: str) -> None:
    name = led(wire, topic())
    there, missing, version, code = {
        "a topic": (name, (f"interop.{secrets.token_hex(6)}", 0, 0), 12, 3),
        "a number": (name, (name, 7, 0), 12, 3),
        "an id": (id_of(wire, name), (uuid.uuid4(), 0, 0), 13, 100),
    }[what]
    wire.send("Fetch", version, **fetching((there, 0, 0), missing))  # type: ignore[arg-type]
    produce(bootstrap, name, [b"here"])
    assert codes(wire.answer()) == [(0, True), (code, False)]


def test_a_fetch_of_nothing_that_is_there_is_answered_at_once(wire: Wire) -> None:
    assert codes(wire.ask("Fetch", 12, **fetching((f"interop.{secrets.token_hex(6)}", 0, 0)))) == [(3, False)]


def test_a_fetch_of_an_offset_that_is_not_there_is_answered_at_once(wire: Wire, topic: NewTopicName) -> None:
    name = led(wire, topic(2), 2)
    assert codes(wire.ask("Fetch", 12, **fetching((name, 0, 0), (name, 1, 99)))) == [(0, False), (1, False)]


# ---- offsets of groups


@pytest.fixture
def offsets(wire: Wire, topic: NewTopicName) -> Offsets:
    name = led(wire, topic(2), 2)
    return Offsets(wire, name)


class Offsets:
    """Commits and reads offsets of one topic, as (partition, offset or error)."""

    def __init__(self, wire: Wire, topic: str) -> None:
        self.wire = wire
        self.topic = topic
        wait_until(lambda: self.commit(f"interop.{secrets.token_hex(6)}") == [(0, 0)], "the coordinator")

    def commit(self, group: str, generation: int = -1, member: str = "", topic: str = "", partition: int = 0, version: int = 9) -> list[tuple[int, int]]:
        """Errors."""
        part = {"partition_index": partition, "committed_offset": 5, "committed_metadata": ""}
        values = {"group_id": group, "generation_id_or_member_epoch": generation, "member_id": member}
        answer = self.wire.ask("OffsetCommit", version, **values, topics=[{"name": topic or self.topic, "partitions": [part]}])
        return [(part["partition_index"], part["error_code"]) for topic in answer["topics"] for part in topic["partitions"]]

    def fetch(self, group: str) -> list[tuple[int, int]]:
        """Offsets."""
        (found,) = self.wire.ask("OffsetFetch", 8, groups=[{"group_id": group, "topics": [{"name": self.topic, "partition_indexes": [0]}]}])["groups"]
        assert found["error_code"] == 0
        return [(part["partition_index"], part["committed_offset"]) for topic in found["topics"] for part in topic["partitions"]]


@pytest.mark.parametrize("member", ["", "somebody"])
def test_offsets_are_committed_from_outside_whoever_it_is(offsets: Offsets, group: str, member: str) -> None:
    assert offsets.commit(group, member=member) == [(0, 0)]
    assert offsets.fetch(group) == [(0, 5)]


def test_offsets_are_not_committed(offsets: Offsets, group: str) -> None:
    assert offsets.commit(group, 3, "somebody") == [(0, 69)]
    assert offsets.commit(group, 3, "somebody", version=8) == [(0, 22)]
    assert offsets.commit(group, 3, "somebody", topic=f"interop.{secrets.token_hex(6)}") == [(0, 3)]
    assert offsets.commit(group, partition=7) == [(7, 3)]
    (described,) = offsets.wire.ask("DescribeGroups", 5, groups=[group])["groups"]
    assert described["group_state"] == "Dead"


def test_the_empty_group_has_offsets_and_no_members(offsets: Offsets) -> None:
    assert offsets.commit("") == [(0, 0)]
    assert offsets.fetch("") == [(0, 5)]
    (described,) = offsets.wire.ask("DescribeGroups", 5, groups=[""])["groups"]
    assert (described["error_code"], described["group_state"]) == (0, "Empty")
    protocols = [{"name": "range", "metadata": b""}]
    member = {"group_id": "", "session_timeout_ms": 30_000, "rebalance_timeout_ms": 30_000, "member_id": "", "protocol_type": "consumer"}
    assert offsets.wire.ask("JoinGroup", 6, **member, protocols=protocols)["error_code"] == 24
    assert offsets.wire.ask("Heartbeat", 4, group_id="", generation_id=0, member_id="x")["error_code"] == 24
    assert offsets.wire.ask("SyncGroup", 4, group_id="", generation_id=0, member_id="x", assignments=[])["error_code"] == 24
    assert offsets.wire.ask("LeaveGroup", 4, group_id="", members=[{"member_id": "x"}])["error_code"] == 24
    assert offsets.wire.ask("DeleteGroups", 2, groups_names=[""])["results"][0]["error_code"] == 0
    assert offsets.wire.ask("DeleteGroups", 2, groups_names=[""])["results"][0]["error_code"] == 69


# ---- topics


@pytest.mark.parametrize(
    ("count", "brokers", "code"),
    [
        (3, [[0]], 0),
        (3, [[9]], 39),
        (3, [[0, 0]], 39),
        (3, [[0, 9]], 39),
        (3, [[]], 39),
        (3, [], 39),
        (3, [[0], [0]], 39),
        (4, [[0]], 39),
        (2, [[9]], 37),
    ],
    ids=["the broker", "another", "repeated", "with another", "none", "no assignment", "too many", "too few", "nothing added"],
)
def test_partitions_are_added_with_assignments(wire: Wire, topic: NewTopicName, count: int, brokers: list[list[int]], code: int) -> None:
    """`brokers`: 0 and 9 stand for the broker's own number and for another one."""
    name = led(wire, topic(2), 2)
    node = wire.ask("Metadata", 9, topics=[])["brokers"][0]["node_id"]
    assignments = [{"broker_ids": [node + broker for broker in some]} for some in brokers]
    answer = wire.ask("CreatePartitions", 3, topics=[{"name": name, "count": count, "assignments": assignments}], timeout_ms=10_000, validate_only=False)
    assert [row["error_code"] for row in answer["results"]] == [code]


def test_a_topic_is_not_deleted_twice(wire: Wire, topic: NewTopicName) -> None:
    first, second = topic(), topic()
    answer = wire.ask("DeleteTopics", 5, topic_names=[first, second, first], timeout_ms=10_000)
    assert sorted((row["name"], row["error_code"]) for row in answer["responses"]) == sorted([(first, 42), (second, 0)])
    first_id, nobody = id_of(wire, first), uuid.UUID(int=0)
    for rows in ([(None, first_id)] * 2, [(first, nobody), (None, first_id)], [(first, first_id)]):
        answer = wire.ask("DeleteTopics", 6, topics=[{"name": name, "topic_id": topic_id} for name, topic_id in rows], timeout_ms=10_000)
        assert [row["error_code"] for row in answer["responses"]] == [42], rows
    assert id_of(wire, first) == first_id


SETTING = "retention.ms"


@pytest.mark.parametrize(
    ("operation", "key", "value", "code"),
    [
        (0, SETTING, "5000", 0),
        (1, SETTING, None, 0),
        (1, "no.such.setting", None, 0),
        (0, "no.such.setting", "1", 40),
        (2, "no.such.setting", "1", 40),
        (0, SETTING, None, 42),
        (2, "cleanup.policy", None, 42),
        (3, "cleanup.policy", None, 42),
        (2, SETTING, "1", 40),
    ],
)
def test_a_setting_is_altered(wire: Wire, topic: NewTopicName, operation: int, key: str, value: str | None, code: int) -> None:
    resource = {"resource_type": 2, "resource_name": topic(), "configs": [{"name": key, "config_operation": operation, "value": value}]}
    assert [row["error_code"] for row in wire.ask("IncrementalAlterConfigs", 1, resources=[resource], validate_only=False)["responses"]] == [code]


def test_a_setting_without_a_value_or_a_resource_that_is_named_twice(wire: Wire, topic: NewTopicName) -> None:
    resource = {"resource_type": 2, "resource_name": topic(), "configs": [{"name": SETTING, "value": None}]}
    assert [row["error_code"] for row in wire.ask("AlterConfigs", 1, resources=[resource], validate_only=False)["responses"]] == [42]
    resource["configs"] = [{"name": SETTING, "config_operation": 0, "value": "5000"}]
    answer = wire.ask("IncrementalAlterConfigs", 1, resources=[resource, resource], validate_only=False)
    assert {row["error_code"] for row in answer["responses"]} == {42}
    new = {"name": f"interop.{secrets.token_hex(6)}", "num_partitions": 1, "replication_factor": 1, "configs": [{"name": SETTING, "value": None}]}
    assert wire.ask("CreateTopics", 5, topics=[new | {"assignments": []}], timeout_ms=10_000, validate_only=False)["topics"][0]["error_code"] == 40


def test_what_kafka_keeps_for_itself_is_not_made(wire: Wire, is_entrepot: bool) -> None:
    """Kafka makes its own of those that it needs; here there are none, and clients that look for them find none that are empty."""
    for name in ("__cluster_metadata", "__consumer_offsets") if is_entrepot else ("__cluster_metadata",):
        new = {"name": name, "num_partitions": 1, "replication_factor": 1, "assignments": [], "configs": []}
        assert wire.ask("CreateTopics", 5, topics=[new], timeout_ms=10_000, validate_only=False)["topics"][0]["error_code"] == 42
        wire.ask("Metadata", 9, topics=[{"name": name}], allow_auto_topic_creation=True)
        (found,) = wire.ask("Metadata", 9, topics=[{"name": name}], allow_auto_topic_creation=True)["topics"]
        assert found["error_code"] == 3


# ---- what may be done

OF_TOPICS, OF_GROUPS, OF_THE_CLUSTER = {3, 4, 5, 6, 7, 8, 10, 11}, {3, 6, 8}, {5, 8, 10, 12}
"""What somebody who may do everything is told at least; Kafka's groups and clusters have settings, and more to be done with them."""


def test_operations_are_told_where_they_are_asked_for(wire: Wire, offsets: Offsets, group: str) -> None:
    asked = {"topics": [{"name": offsets.topic}], "allow_auto_topic_creation": False}
    answer = wire.ask("Metadata", 9, **asked, include_topic_authorized_operations=True, include_cluster_authorized_operations=True)
    assert answer["topics"][0]["authorized_operations"] == OF_TOPICS
    assert answer["authorized_operations"] >= OF_THE_CLUSTER
    assert wire.ask("DescribeCluster", 1, include_cluster_authorized_operations=True, endpoint_type=1)["authorized_operations"] >= OF_THE_CLUSTER
    assert offsets.commit(group) == [(0, 0)]
    (found,) = wire.ask("DescribeGroups", 5, groups=[group], include_authorized_operations=True)["groups"]
    assert found["authorized_operations"] >= OF_GROUPS
    (found,) = wire.ask("DescribeTopicPartitions", 0, topics=[{"name": offsets.topic}], response_partition_limit=10, cursor=None)["topics"]
    assert found["topic_authorized_operations"] == sum(1 << operation for operation in OF_TOPICS)


def test_operations_are_not_told_where_they_are_not(wire: Wire, offsets: Offsets, group: str) -> None:
    answer = wire.ask("Metadata", 9, topics=[{"name": offsets.topic}], allow_auto_topic_creation=False)
    assert (answer["authorized_operations"], answer["topics"][0]["authorized_operations"]) == (None, None)
    assert wire.ask("DescribeCluster", 1, endpoint_type=1)["authorized_operations"] is None
    assert offsets.commit(group) == [(0, 0)]
    assert [found["authorized_operations"] for found in wire.ask("DescribeGroups", 5, groups=[group])["groups"]] == [None]


# ---- compression


def producing(name: str, batch: bytes) -> dict[str, Any]:
    return {"transactional_id": None, "acks": -1, "timeout_ms": 10_000, "topic_data": [{"name": name, "partition_data": [{"index": 0, "records": batch}]}]}


def produced(wire: Wire, name: str, form: tuple[int, bytes]) -> int:
    """What is said of a batch of four records in that form (kafka_forms.py): a code."""
    compression, packed = form
    now_ms = int(time.time() * 1000)
    data = batch([packed], attributes=compression, count=4, last_delta=3, base_time=now_ms, max_time=now_ms)
    return wire.ask("Produce", 8, **producing(name, data))["responses"][0]["partition_responses"][0]["error_code"]  # type: ignore[no-any-return]


@pytest.mark.parametrize("form", TAKEN)
def test_a_form_of_compression_that_readers_read_is_taken(wire: Wire, topic: NewTopicName, form: str) -> None:
    assert produced(wire, led(wire, topic()), TAKEN[form]) == 0


@pytest.mark.parametrize("form", REFUSED)
def test_one_that_they_do_not_is_refused(wire: Wire, topic: NewTopicName, form: str) -> None:
    assert produced(wire, led(wire, topic()), REFUSED[form]) != 0


def sizes_and_attributes(batches: bytes) -> Iterator[tuple[int, int]]:
    """Of each of these whole batches."""
    while batches:
        size = 12 + int.from_bytes(batches[8:12], "big")
        yield size, int.from_bytes(batches[21:23], "big")
        batches = batches[size:]


@pytest.mark.parametrize("sent", ["none", "gzip", "snappy", "lz4", "zstd"])
@pytest.mark.parametrize("wanted", ["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"])
def test_batches_are_compressed_as_the_topic_wants_it(wire: Wire, bootstrap: str, topic: NewTopicName, sent: str, wanted: str) -> None:
    name = led(wire, topic(compression_type=wanted))
    records = assorted()
    produce(bootstrap, name, records, compression_type=sent, linger_ms=10_000)  # one batch, or two: the flush may overtake metadata
    assert [Sent.of(message) for message in read_all(bootstrap, name, len(records))] == records
    (answer,) = wire.ask("Fetch", 12, **fetching((name, 0, 0)))["responses"]
    _, attributes = max(sizes_and_attributes(bytes(answer["partitions"][0]["records"])))  # of the largest: a record alone may not be worth compressing
    numbers = {"none": 0, "uncompressed": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
    assert attributes & 7 == numbers[sent if wanted == "producer" else wanted]
