"""The worst requests that a valid user can send; see stalls.py."""

from __future__ import annotations

import json
import os
import struct
import threading
from collections.abc import Callable
from typing import Any

from benchmarks.system.stalls import Clients, Kafka, batch, case, large_record, produce, small_records, topics, varint
from entrepot.broker.operations.together import WORK_MAX

MANY = 95_000  # elements of one request, below its limit
MIB = 1 << 20


# ---- Kafka: batches


def _pipelined(clients: Clients, records: bytes, count: int, codec: int, times: int) -> None:
    kafka = clients.kafka()
    topics(kafka, ["t"])
    data = produce({"t": {0: batch(records, count, codec)}})
    clients.begin()
    kafka.send(data * times)
    kafka.answers(times)


for _number, _name in ((1, "gzip"), (2, "snappy"), (3, "lz4"), (4, "zstd")):

    @case(f"kafka produce: 12 batches of 60 MB in {_name}")
    def _(clients: Clients, number: int = _number) -> None:
        _pipelined(clients, large_record(60_000_000), 1, number, 12)


@case("kafka produce: 8 000 000 records in one zstd batch")
def _(clients: Clients) -> None:
    _pipelined(clients, small_records(8_000_000), 8_000_000, 4, 2)


@case("kafka produce: 60 MB as it is")
def _(clients: Clients) -> None:
    _pipelined(clients, large_record(60_000_000), 1, 0, 2)


@case("kafka produce: 2 batches of 60 MB in lz4, for a topic that wants gzip")
def _(clients: Clients) -> None:
    kafka = clients.kafka()
    wanted = [{"name": "compression.type", "value": "gzip"}]
    row = {"name": "t", "num_partitions": 1, "replication_factor": 1, "assignments": [], "configs": wanted}
    kafka.ask("CreateTopics", 5, {"topics": [row], "timeout_ms": 60_000, "validate_only": False})
    data = produce({"t": {0: batch(large_record(60_000_000), 1, 3)}})
    clients.begin()
    kafka.send(data * 2)
    kafka.answers(2)


@case("kafka produce: 40 000 partitions")
def _(clients: Clients) -> None:
    kafka = clients.kafka()
    topics(kafka, ["a", "b", "c", "d"], 10_000)
    one = batch(large_record(10), 1, 0)
    data = produce({name: dict.fromkeys(range(10_000), one) for name in "abcd"})
    clients.begin()
    kafka.send(data)
    kafka.answers()


@case("kafka produce: 60 connections, 12 batches of 1 MB in zstd each")
def _(clients: Clients) -> None:
    kafkas = [clients.kafka() for _ in range(60)]
    topics(kafkas[0], ["t"])
    data = produce({"t": {0: batch(small_records(120_000), 120_000, 4)}}) * 12
    clients.begin()
    for kafka in kafkas:
        kafka.send(data)
    for kafka in kafkas:
        kafka.answers(12)


# ---- Kafka: everything else


def _ask(api: str, version: int, values: dict[str, Any], names: int = 0, partitions: int = 1, times: int = 1) -> Any:
    def run(clients: Clients) -> None:
        kafka = clients.kafka()
        if names:
            topics(kafka, [f"t{number}" for number in range(names)], partitions)
        data = kafka.frame(api, version, values) * times
        clients.begin()
        kafka.send(data)
        kafka.answers(times)

    return run


def _numbered(**fields: Any) -> list[dict[str, Any]]:
    return [{key: f"t{number}" if value == "#" else value for key, value in fields.items()} for number in range(MANY)]


def _in_one(key: str, name_field: str = "name", **fields: Any) -> list[dict[str, Any]]:
    return [{name_field: "t0", "partitions": [{key: number % 10_000, **fields} for number in range(MANY)]}]


NAMES = [f"t{number}" for number in range(MANY)]
_METADATA = {"allow_auto_topic_creation": False, "include_cluster_authorized_operations": False, "include_topic_authorized_operations": False}
case("kafka Metadata: 95 000 names")(_ask("Metadata", 9, {"topics": _numbered(name="#"), **_METADATA}))
case("kafka Metadata: of 10 topics of 10 000 partitions, 100 times")(
    _ask("Metadata", 9, {"topics": [{"name": f"t{n}"} for n in range(10)], **_METADATA}, 10, 10_000, 100)
)
case("kafka Metadata: all of 20 000 topics")(_ask("Metadata", 9, {"topics": None, **_METADATA}, 20_000, 1, 5))
case("kafka Metadata: 95 000 ids")(_ask("Metadata", 12, {"topics": [{"topic_id": n.to_bytes(16, "big"), "name": None} for n in range(1, MANY)], **_METADATA}))
case("kafka Metadata: 9 000 names with creation")(
    _ask("Metadata", 9, {"topics": [{"name": f"new{n}"} for n in range(9000)], **_METADATA, "allow_auto_topic_creation": True})
)
case("kafka DescribeTopicPartitions: 19 000 names")(
    _ask("DescribeTopicPartitions", 0, {"topics": _numbered(name="#")[:19_000], "response_partition_limit": 2000, "cursor": None})
)
case("kafka FindCoordinator: 95 000 keys")(_ask("FindCoordinator", 4, {"key_type": 0, "coordinator_keys": NAMES}))
case("kafka ListOffsets: 95 000 partitions")(
    _ask("ListOffsets", 7, {"replica_id": -1, "isolation_level": 0, "topics": _in_one("partition_index", timestamp=-1, current_leader_epoch=-1)}, 1, 10_000)
)
case("kafka ListOffsets: 10 000 partitions")(
    _ask(
        "ListOffsets",
        7,
        {
            "replica_id": -1,
            "isolation_level": 0,
            "topics": [{"name": "t0", "partitions": [{"partition_index": n, "timestamp": -1, "current_leader_epoch": -1} for n in range(10_000)]}],
        },
        1,
        10_000,
    )
)
case("kafka OffsetForLeaderEpoch: 95 000 partitions")(
    _ask("OffsetForLeaderEpoch", 4, {"replica_id": -2, "topics": _in_one("partition", "topic", current_leader_epoch=-1, leader_epoch=0)}, 1, 10_000)
)
_COMMIT = {"group_id": "g", "generation_id_or_member_epoch": -1, "member_id": "", "group_instance_id": None}
case("kafka OffsetCommit: 95 000 partitions")(
    _ask("OffsetCommit", 8, {**_COMMIT, "topics": _in_one("partition_index", committed_offset=1, committed_leader_epoch=-1, committed_metadata="")}, 1, 10_000)
)
case("kafka OffsetFetch: 95 000 partitions")(
    _ask("OffsetFetch", 7, {"group_id": "g", "topics": [{"name": "t0", "partition_indexes": list(range(MANY))}], "require_stable": False}, 1, 10_000)
)
case("kafka OffsetFetch: 95 000 groups")(_ask("OffsetFetch", 8, {"groups": [{"group_id": name, "topics": None} for name in NAMES], "require_stable": False}))
case("kafka OffsetDelete: 95 000 partitions")(_ask("OffsetDelete", 0, {"group_id": "g", "topics": _in_one("partition_index")}, 1, 10_000))
case("kafka DeleteRecords: 95 000 partitions")(_ask("DeleteRecords", 2, {"topics": _in_one("partition_index", offset=0), "timeout_ms": 1000}, 1, 10_000))
_NEW = {"num_partitions": 1, "replication_factor": 1, "assignments": [], "configs": []}
case("kafka CreateTopics: 95 000 names to check")(_ask("CreateTopics", 5, {"topics": _numbered(name="#", **_NEW), "timeout_ms": 1000, "validate_only": True}))
case("kafka CreateTopics: 20 000 topics")(
    _ask("CreateTopics", 5, {"topics": [{"name": f"n{n}", **_NEW} for n in range(20_000)], "timeout_ms": 1000, "validate_only": False})
)
case("kafka CreateTopics: 10 topics of 10 000 partitions")(
    _ask("CreateTopics", 5, {"topics": [{"name": f"n{n}", **_NEW, "num_partitions": 10_000} for n in range(10)], "timeout_ms": 1000, "validate_only": False})
)
case("kafka CreatePartitions: 10 topics to 10 000")(
    _ask(
        "CreatePartitions",
        2,
        {"topics": [{"name": f"t{n}", "count": 10_000, "assignments": None} for n in range(10)], "timeout_ms": 1000, "validate_only": False},
        10,
    )
)
case("kafka DeleteTopics: 10 topics of 10 000 partitions")(
    _ask("DeleteTopics", 5, {"topic_names": [f"t{n}" for n in range(10)], "timeout_ms": 1000}, 10, 10_000)
)
case("kafka DeleteTopics: 95 000 names")(_ask("DeleteTopics", 5, {"topic_names": NAMES, "timeout_ms": 1000}))
_CONFIG = {"resource_type": 2, "configuration_keys": None}
case("kafka DescribeConfigs: 19 000 times a topic")(
    _ask("DescribeConfigs", 4, {"resources": [{"resource_name": "t0", **_CONFIG}] * 19_000, "include_synonyms": True, "include_documentation": True}, 1)
)
case("kafka IncrementalAlterConfigs: 19 000 resources")(
    _ask(
        "IncrementalAlterConfigs",
        1,
        {"resources": [{"resource_type": 2, "resource_name": name, "configs": []} for name in NAMES[:19_000]], "validate_only": True},
    )
)
case("kafka DescribeGroups: 19 000 groups")(_ask("DescribeGroups", 5, {"groups": NAMES[:19_000], "include_authorized_operations": False}))
case("kafka DeleteGroups: 19 000 groups")(_ask("DeleteGroups", 2, {"groups_names": NAMES[:19_000]}))
case("kafka ConsumerGroupDescribe: 19 000 groups")(_ask("ConsumerGroupDescribe", 0, {"group_ids": NAMES[:19_000], "include_authorized_operations": False}))
case("kafka LeaveGroup: 19 000 members")(
    _ask("LeaveGroup", 5, {"group_id": "g", "members": [{"member_id": name, "group_instance_id": None, "reason": None} for name in NAMES[:19_000]]})
)
_JOIN = {
    "group_id": "g",
    "session_timeout_ms": 10_000,
    "rebalance_timeout_ms": 10_000,
    "member_id": "",
    "group_instance_id": None,
    "protocol_type": "consumer",
    "reason": None,
}
case("kafka JoinGroup: 19 000 protocols")(_ask("JoinGroup", 8, {**_JOIN, "protocols": [{"name": name, "metadata": b""} for name in NAMES[:19_000]]}))
case("kafka SyncGroup: 95 000 assignments")(
    _ask(
        "SyncGroup",
        5,
        {
            "group_id": "g", "generation_id": 1, "member_id": "m", "group_instance_id": None, "protocol_type": "c", "protocol_name": "p",
            "assignments": [{"member_id": name, "assignment": b"x"} for name in NAMES],
        },
    )
)  # fmt: skip
_BEAT = {
    "group_id": "g", "member_id": "m" * 22, "member_epoch": 0, "instance_id": None, "rack_id": None, "rebalance_timeout_ms": 10_000,
    "server_assignor": None, "topic_partitions": [], "subscribed_topic_names": None, "subscribed_topic_regex": None,
}  # fmt: skip
case("kafka ConsumerGroupHeartbeat: 95 000 names")(_ask("ConsumerGroupHeartbeat", 1, {**_BEAT, "subscribed_topic_names": NAMES}))
case("kafka ConsumerGroupHeartbeat: pattern over 20 000 topics")(
    _ask("ConsumerGroupHeartbeat", 1, {**_BEAT, "subscribed_topic_regex": "(t|x)*[0-9]*(5|y)+"}, 20_000)
)
case("kafka ConsumerGroupHeartbeat: 10 000 partitions")(_ask("ConsumerGroupHeartbeat", 1, {**_BEAT, "subscribed_topic_names": ["t0"]}, 1, 10_000))
case("kafka ElectLeaders: 95 000 partitions")(
    _ask("ElectLeaders", 2, {"election_type": 0, "topic_partitions": [{"topic": "t0", "partitions": list(range(MANY))}], "timeout_ms": 1}, 1, 10_000)
)
case("kafka AlterPartitionReassignments: 40 000 partitions")(
    _ask(
        "AlterPartitionReassignments",
        0,
        {"timeout_ms": 1, "topics": [{"name": "t0", "partitions": [{"partition_index": n % 10_000, "replicas": [1]} for n in range(40_000)]}]},
        1,
        10_000,
    )
)
case("kafka DescribeLogDirs: 10 topics of 10 000 partitions")(_ask("DescribeLogDirs", 2, {"topics": None}, 10, 10_000))
case("kafka ListConfigResources: 20 000 topics")(_ask("ListConfigResources", 1, {"resource_types": [2]}, 20_000))
case("kafka ListGroups, 100 times")(_ask("ListGroups", 4, {"states_filter": []}, times=100))


@case("kafka Fetch: 40 000 partitions")
def _(clients: Clients) -> None:
    kafka = clients.kafka()
    topics(kafka, ["a", "b", "c", "d"], 10_000)
    part = {"current_leader_epoch": -1, "fetch_offset": 0, "last_fetched_epoch": -1, "log_start_offset": -1, "partition_max_bytes": MIB}
    rows = [{"topic": name, "partitions": [{"partition": n, **part} for n in range(10_000)]} for name in "abcd"]
    values = {"replica_id": -1, "max_wait_ms": 100, "min_bytes": 1, "max_bytes": 50 * MIB, "isolation_level": 0, "session_id": 0, "session_epoch": -1}
    data = kafka.frame("Fetch", 12, {**values, "topics": rows, "forgotten_topics_data": [], "rack_id": ""})
    clients.begin()
    kafka.send(data)
    kafka.answers()


@case("kafka: 16 MiB of small arrays that are not understood")
def _(clients: Clients) -> None:
    kafka = clients.kafka()
    body = b"\0\x03\0\x09\0\0\0\x07\0\x01x\0" + b"\xff\xff\xff\x07" + bytes(16_000_000)
    clients.begin()
    kafka.send(struct.pack(">i", len(body)) + body)
    kafka.answers()


@case("kafka: 100 connections, 32 Metadata of 500 names each")
def _(clients: Clients) -> None:
    kafkas: list[Kafka] = [clients.kafka() for _ in range(100)]
    data = kafkas[0].frame("Metadata", 9, {"topics": [{"name": name} for name in NAMES[:500]], **_METADATA}) * 32
    clients.begin()
    for kafka in kafkas:
        kafka.send(data)
    for kafka in kafkas:
        kafka.answers(32)


# ---- AMQP


def _amqp_frames(name: str, make: Any, after: tuple[int, int, bytes, int] = (20, 20, b"\x01", 21)) -> None:
    @case(name)
    def _(clients: Clients) -> None:
        amqp = clients.amqp()
        data = make(amqp)
        clients.begin()
        sender = threading.Thread(target=amqp.sock.sendall, args=(data,))
        sender.start()
        received = 0
        sender.join(60)
        amqp.ask(*after)
        del received


_QUEUE = b"\0\0\x01q\x00" + b"\0\0\0\0"
_amqp_frames("amqp: 1 000 000 heartbeats", lambda _: b"\x08\0\0\0\0\0\0\xce" * 1_000_000)
_amqp_frames("amqp: 100 000 queue.declare without wait", lambda amqp: amqp.method(50, 10, b"\0\0\x01q\x10\0\0\0\0") * 100_000)
_amqp_frames(
    "amqp: 30 000 queue.declare of other queues without wait",
    lambda amqp: b"".join(amqp.method(50, 10, b"\0\0\x05" + b"%05d" % n + b"\x10\0\0\0\0") for n in range(30_000)),
)
_amqp_frames("amqp: 100 000 basic.qos", lambda amqp: amqp.method(60, 10, b"\0\0\0\0\0\x01\0") * 100_000)
_amqp_frames("amqp: 200 000 channel.flow-ok", lambda amqp: amqp.method(20, 21, b"\x01") * 200_000)
_amqp_frames(
    "amqp: 100 000 queue.bind without wait",
    lambda amqp: (
        amqp.method(50, 10, b"\0\0\x01q\x10\0\0\0\0")
        + b"".join(amqp.method(50, 20, b"\0\0\x01q\x09amq.topic\x05" + b"%05d" % n + b"\x01\0\0\0\0") for n in range(100_000))
    ),
)
_amqp_frames(
    "amqp: 20 000 declares with a table of 4000 values",
    lambda amqp: amqp.method(50, 10, b"\0\0\x01q\x10" + struct.pack(">I", 8000) + b"\x01aA" + struct.pack(">I", 7993) + b"t\x01" * 3996 + b"V") * 300,
)
_amqp_frames("amqp: 100 000 publishes, each to another key", lambda amqp: b"".join(amqp.publish(b"amq.direct", b"%06d" % n, b"x") for n in range(100_000)))


@case("amqp: a fanout to 20 000 queues, 20 messages")
def _(clients: Clients) -> None:
    amqp = clients.amqp()
    for start in range(0, 20_000, 1000):
        amqp.sock.sendall(
            b"".join(
                amqp.method(50, 10, b"\0\0\x05" + b"%05d" % n + b"\x10\0\0\0\0")
                + amqp.method(50, 20, b"\0\0\x05" + b"%05d" % n + b"\x0aamq.fanout\0\x01\0\0\0\0")
                for n in range(start, start + 1000)
            )
        )
        amqp.ask(20, 20, b"\x01", 21)
    clients.begin()
    amqp.sock.sendall(amqp.publish(b"amq.fanout", b"", b"x") * 20)
    amqp.ask(20, 20, b"\x01", 21)


@case("amqp: topic patterns of many # against a long key")
def _(clients: Clients) -> None:
    amqp = clients.amqp()
    amqp.ask(50, 10, _QUEUE, 11)
    for number in range(2000):
        pattern = b".".join([b"#", b"a", b"*"] * 30)[:240] + b".%d" % number
        amqp.sock.sendall(amqp.method(50, 20, b"\0\0\x01q\x09amq.topic" + bytes((len(pattern),)) + pattern + b"\x01\0\0\0\0"))
    amqp.ask(20, 20, b"\x01", 21)
    clients.begin()
    amqp.sock.sendall(b"".join(amqp.publish(b"amq.topic", b".".join([b"a"] * 120) + b".%d" % n, b"x") for n in range(200)))
    amqp.ask(20, 20, b"\x01", 21)


def _headers_exchange(name: str, wanted: Callable[[int], bytes], headers: bytes) -> None:
    """5,000 bindings, and 100 messages that match none of them."""

    @case(name)
    def _(clients: Clients) -> None:
        amqp = clients.amqp()
        amqp.ask(50, 10, _QUEUE, 11)
        for number in range(5000):
            inside = wanted(number)
            amqp.sock.sendall(amqp.method(50, 20, b"\0\0\x01q\x0bamq.headers\0\x01" + struct.pack(">I", len(inside)) + inside))
        amqp.ask(20, 20, b"\x01", 21)
        clients.begin()
        amqp.sock.sendall(amqp.publish(b"amq.headers", b"", b"x", headers) * 100)
        amqp.ask(20, 20, b"\x01", 21)


_headers_exchange(
    "amqp: headers exchange, 5 000 bindings, 100 messages",
    lambda number: b"".join(b"\x02h%d" % n + b"I" + struct.pack(">I", number) for n in range(10)) + b"\x07x-matchS\0\0\0\x03any",
    b"".join(b"\x02h%d" % n + b"I\0\x0f\0\0" for n in range(10)),
)
_headers_exchange(
    "amqp: headers exchange, 5 000 bindings of which most want half",  # of each pair, so that all of them are looked at
    lambda number: b"\x03h%02d" % (number % 70) + b"I\0\0\0\1" + b"\x03g%02d" % (number // 70) + b"I\0\0\0\2",
    b"".join(b"\x03h%02d" % n + b"I\0\0\0\1" + b"\x03g%02d" % n + b"I\0\0\0\3" for n in range(72)),
)


# ---- SQS


def _sqs(name: str, body: bytes, *, form: bool = False, action: str = "SendMessage", times: int = 1) -> None:
    @case(name)
    def _(clients: Clients) -> None:
        sock = clients.http()
        kind = "application/x-www-form-urlencoded" if form else "application/x-amz-json-1.0"
        head = f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        head += "" if form else f"X-Amz-Target: AmazonSQS.{action}\r\n"
        head += "Authorization: AWS4-HMAC-SHA256 Credential=guest/20261129/us-east-1/sqs/aws4_request, SignedHeaders=host, Signature=00\r\n\r\n"
        clients.begin()
        sock.sendall((head.encode() + body) * times)
        for _ in range(times):
            if not sock.recv(1 << 20):
                raise ConnectionError("ended")


_sqs("sqs: 4 MB of JSON, nested", b"[" * 2_000_000 + b"]" * 2_000_000)
_sqs("sqs: 4 MB of JSON, a million elements", b'{"QueueUrl": "x", "Entries": [' + b",".join([b"{}"] * 1_300_000) + b"]}", action="SendMessageBatch")
_sqs("sqs: 4 MB of JSON, other action", b'{"QueueUrl": "x", "AttributeNames": [' + b",".join([b'"a"'] * 1_000_000) + b"]}", action="GetQueueAttributes")
_sqs("sqs: 4 MB of JSON, tags", json.dumps({"QueueUrl": "x", "Tags": {f"k{n}": "v" for n in range(250_000)}}).encode(), action="TagQueue")
_sqs("sqs: 4 MB of JSON, which it is not", b"Action=SendMessage&Version=2012-11-05&QueueUrl=x" + b"\\ud83d\\ude00" * 340_000)
_sqs("sqs: 4 MB of JSON, escaped", b'{"QueueUrl": "x", "MessageBody": "' + b"\\u0041" * 690_000 + b'"}')
_sqs("sqs: 4 MB of JSON, commas and escapes", b'{"QueueUrl": "x", "MessageBody": "' + b'\\",' * 1_390_000 + b'"}')
_sqs("sqs: 4 MB of form, a million parameters", b"Action=SendMessage&Version=2012-11-05&QueueUrl=x" + b"&a=b" * 1_040_000, form=True)
_sqs("sqs: 4 MB of form, escaped", b"Action=SendMessage&Version=2012-11-05&QueueUrl=x&MessageBody=" + b"%41" * 1_390_000, form=True)
_sqs(
    "sqs: 4 MB of form, attributes",
    b"Action=SendMessage&Version=2012-11-05&QueueUrl=x" + b"".join(b"&MessageAttribute.%d.Name=a" % n for n in range(130_000)),
    form=True,
)


# ---- more of each


@case("kafka produce: 4 topics that want gzip, 30 batches of 1 MB in lz4 each")
def _(clients: Clients) -> None:
    kafka = clients.kafka()
    wanted = [{"name": "compression.type", "value": "gzip"}]
    rows = [{"name": name, "num_partitions": 1, "replication_factor": 1, "assignments": [], "configs": wanted} for name in "abcd"]
    kafka.ask("CreateTopics", 5, {"topics": rows, "timeout_ms": 60_000, "validate_only": False})
    noise = os.urandom(400_000) * 2
    body = b"\0\0\0\1" + varint(len(noise)) + noise + b"\0"
    one = batch(varint(len(body)) + body, 1, 3)
    data = produce({name: {0: one} for name in "abcd"})
    clients.begin()
    kafka.send(data * 30)
    kafka.answers(30)


@case("kafka DeleteTopics: a topic whose offsets 50 000 groups hold")
def _(clients: Clients) -> None:
    kafka = clients.kafka()
    topics(kafka, ["t", "u"])
    place = [{"partition_index": 0, "committed_offset": 1, "committed_leader_epoch": -1, "committed_metadata": ""}]
    for start in range(0, 50_000, 500):
        for number in range(start, start + 500):
            kafka.send(kafka.frame("OffsetCommit", 8, {**_COMMIT, "group_id": f"g{number}", "topics": [{"name": name, "partitions": place} for name in "tu"]}))
        kafka.answers(500)
    clients.begin()
    kafka.ask("DeleteTopics", 5, {"topic_names": ["t"], "timeout_ms": 1000})


@case("kafka JoinGroup: a group of 990 members")
def _(clients: Clients) -> None:
    kafkas = [clients.kafka() for _ in range(990)]
    values = {**_JOIN, "protocols": [{"name": "p", "metadata": b"m" * 200}], "session_timeout_ms": 60_000, "rebalance_timeout_ms": 60_000}
    frame = kafkas[0].frame("JoinGroup", 2, values)
    clients.begin()
    for kafka in kafkas:
        kafka.send(frame)
    bodies = [kafka.body() for kafka in kafkas]
    ids = [_member_of(body) for body in bodies]
    generation = int.from_bytes(bodies[0][10:14], "big")
    for kafka, (member_id, leads) in zip(kafkas, ids, strict=True):
        assignments = [{"member_id": other, "assignment": b"a" * 200} for other, _ in ids] if leads else []
        kafka.send(kafka.frame("SyncGroup", 1, {"group_id": "g", "generation_id": generation, "member_id": member_id, "assignments": assignments}))
    for kafka in kafkas:
        kafka.answers()


def _member_of(body: bytes) -> tuple[str, bool]:
    """Who a JoinGroup's answer of version 2 is for, and whether it leads."""
    at = 14  # correlation, throttle time, error, generation
    texts = []
    for _ in range(3):
        size = int.from_bytes(body[at : at + 2], "big")
        texts.append(body[at + 2 : at + 2 + size].decode())
        at += 2 + size
    return texts[2], texts[1] == texts[2]


@case("amqp: a transaction of as much as there may be")
def _(clients: Clients) -> None:
    amqp = clients.amqp()
    for number in range(8):
        amqp.ask(50, 10, b"\0\0\x02q%d" % number + b"\0\0\0\0\0", 11)
        amqp.ask(50, 20, b"\0\0\x02q%d" % number + b"\x0aamq.fanout\0\0\0\0\0\0", 21)
    amqp.ask(90, 10, b"", 11)
    clients.begin()
    two = amqp.publish(b"amq.fanout", b"0", b"x" * 20) + amqp.publish(b"amq.fanout", b"1", b"x" * 20, b"\x01hI\0\0\0\0")
    amqp.sock.sendall(two * (WORK_MAX // 6 - 10))
    amqp.ask(90, 20, b"", 21)


@case("amqp: a transaction of 99 000 messages to one queue")
def _(clients: Clients) -> None:
    amqp = clients.amqp()
    amqp.ask(50, 10, _QUEUE, 11)
    amqp.ask(90, 10, b"", 11)
    clients.begin()
    amqp.sock.sendall(amqp.publish(b"", b"q", b"x" * 20) * 99_000)
    amqp.ask(90, 20, b"", 21)


@case("amqp: a transaction of settlements")
def _(clients: Clients) -> None:
    amqp = clients.amqp()
    amqp.ask(50, 10, _QUEUE, 11)
    amqp.ask(90, 10, b"", 11)
    for settled in range(2):
        amqp.sock.sendall(amqp.publish(b"", b"q", b"x" * 20) * WORK_MAX)
        amqp.ask(90, 20, b"", 21)
        amqp.sock.sendall(amqp.method(60, 70, b"\0\0\x01q\0") * WORK_MAX if not settled else b"")
        for _ in range(0 if settled else WORK_MAX):
            amqp.wait(60, 71)
    clients.begin()
    amqp.sock.sendall(b"".join(amqp.method(60, 80, struct.pack(">QB", tag, 0)) for tag in range(1, WORK_MAX - 20, 2)))
    amqp.ask(90, 20, b"", 21)


@case("amqp: a message of 16 MB, published and delivered")
def _(clients: Clients) -> None:
    amqp = clients.amqp()
    amqp.ask(50, 10, _QUEUE, 11)
    size = 16_000_000
    body = b"x" * 131_064
    frames = b"".join(struct.pack(">BHI", 3, 1, min(len(body), size - at)) + body[: size - at] + b"\xce" for at in range(0, size, len(body)))
    head = struct.pack(">HHQ", 60, 0, size) + b"\0\0"
    begin = amqp.method(60, 40, b"\0\0\0\x01q\0") + struct.pack(">BHI", 2, 1, len(head)) + head + b"\xce"
    clients.begin()
    amqp.sock.sendall(begin + frames)
    amqp.ask(20, 20, b"\x01", 21)
    amqp.sock.sendall(amqp.method(60, 20, b"\0\0\x01q\x01c\x02\0\0\0\0"))
    received = 0
    while received < size:
        received += len(amqp.sock.recv(1 << 20))


@case("kafka Fetch: a batch of 60 MB")
def _(clients: Clients) -> None:
    kafka = clients.kafka()
    topics(kafka, ["t"])
    kafka.send(produce({"t": {0: batch(large_record(50_000_000), 1, 0)}}))
    kafka.answers()
    clients.begin()
    for _ in range(3):
        kafka.ask("Fetch", 11, _fetch_all())


def _fetch_all() -> dict[str, Any]:
    part = {"partition": 0, "current_leader_epoch": -1, "fetch_offset": 0, "log_start_offset": -1, "partition_max_bytes": 100 * MIB}
    head = {"replica_id": -1, "max_wait_ms": 100, "min_bytes": 1, "max_bytes": 100 * MIB, "isolation_level": 0, "session_id": 0, "session_epoch": -1}
    return {**head, "topics": [{"topic": "t", "partitions": [part]}], "forgotten_topics_data": [], "rack_id": ""}


@case("kafka fetches a stream whose message has 16 MB")
def _(clients: Clients) -> None:
    amqp = clients.amqp()
    inside = b"\x0cx-queue-typeS\0\0\0\x06stream"
    amqp.ask(50, 10, b"\0\0\x01t\x02" + struct.pack(">I", len(inside)) + inside, 11)
    size = 16_000_000
    body = b"x" * 131_064
    frames = b"".join(struct.pack(">BHI", 3, 1, min(len(body), size - at)) + body[: size - at] + b"\xce" for at in range(0, size, len(body)))
    head = struct.pack(">HHQ", 60, 0, size) + b"\0\0"
    amqp.sock.sendall(amqp.method(60, 40, b"\0\0\0\x01t\0") + struct.pack(">BHI", 2, 1, len(head)) + head + b"\xce" + frames)
    amqp.ask(20, 20, b"\x01", 21)
    kafka = clients.kafka()
    clients.begin()
    kafka.ask("Fetch", 11, _fetch_all())


_FIRST = b"\x0fx-stream-offsetS\0\0\0\x05first"


def _streamed(clients: Clients, records: bytes, count: int) -> None:
    """A topic of Kafka's is read by a consumer of AMQP from its first batch on, all of it."""
    kafka = clients.kafka()
    wanted = [{"name": "max.message.bytes", "value": str(64 * MIB)}]
    row = {"name": "t", "num_partitions": 1, "replication_factor": 1, "assignments": [], "configs": wanted}
    kafka.ask("CreateTopics", 5, {"topics": [row], "timeout_ms": 60_000, "validate_only": False})
    kafka.send(produce({"t": {0: batch(records, count, 4)}}))
    kafka.answers()
    amqp = clients.amqp()
    amqp.ask(60, 10, struct.pack(">IHB", 0, 1000, 0), 11)
    clients.begin()
    amqp.ask(60, 20, b"\0\0\x01t\x01c\0" + struct.pack(">I", len(_FIRST)) + _FIRST, 21)
    amqp.wait(60, 60)
    kafka.ask("ListOffsets", 1, {"replica_id": -1, "topics": [{"name": "t", "partitions": [{"partition_index": 0, "timestamp": 1 << 40}]}]})


@case("amqp consumes a topic whose batch has 2 000 000 records in zstd")
def _(clients: Clients) -> None:
    _streamed(clients, small_records(2_000_000), 2_000_000)


@case("amqp consumes a topic whose batch unpacks to 4 records of 15 MB")
def _(clients: Clients) -> None:
    rows = []
    for number in range(4):
        body = b"\0\0" + varint(number) + b"\1" + varint(15_000_000) + bytes(15_000_000) + b"\0"
        rows.append(varint(len(body)) + body)
    _streamed(clients, b"".join(rows), 4)
