"""What each request asks of the broker, and how every outcome is told: one table of the rare APIs, then what is particular to some."""

from __future__ import annotations

import pytest
from kafka_bench import Client, done, refuse, unavailable

from entrepot.broker.calls import group_requests as groups
from entrepot.broker.calls import topic_requests as topics
from entrepot.model.errors import Reason, Refused, Unavailable
from entrepot.protocols.kafka.apis import APIS
from entrepot.protocols.kafka.error_codes import ErrorCode
from entrepot.protocols.kafka.metadata import ALLOWED_AT_ONCE

ID = bytes(range(16))
NO_ID = bytes(16)
BY_NAME = {api.name: key for key, api in APIS.items()}


@pytest.fixture
def client() -> Client:
    return Client()


def described(name="t", count=2, topic_id=ID):
    return topics.TopicDescription(name, topic_id, count, 3)


def exchange(client, api, version, values, *outcomes):
    """Send a request; each call it makes, in order, gets an outcome: a result, or a Reason it is refused for. (requests, answer)."""
    client.send(BY_NAME[api], version, values)
    asked = []
    left = list(outcomes)
    while client.port.calls:
        for request, call in zip(client.port.requests(), client.port.taken, strict=True):
            asked.append(request)
            outcome = left.pop(0)
            if isinstance(outcome, Reason):
                refuse(call, outcome, result="made-up" if outcome is Reason.MEMBER_ID_REQUIRED else None)
            elif isinstance(outcome, Unavailable):
                unavailable(call)
            else:
                done(call, outcome)
    assert left == []
    return asked, client.answer()


# ---- Metadata and its kin


def metadata(names, **more):
    rows = None if names is None else [{"topic_id": NO_ID, "name": name} if isinstance(name, str) else {"topic_id": name, "name": ""} for name in names]
    values = {"topics": rows, "allow_auto_topic_creation": True, "include_cluster_authorized_operations": False, "include_topic_authorized_operations": False}
    return values | more


@pytest.mark.parametrize("version", range(14))
def test_metadata_by_name(client, version):
    missing = Refused(Reason.NOT_FOUND, "no")
    asked, answer = exchange(client, "Metadata", version, metadata(["t", "u"]), [described(), missing])
    assert asked == [topics.DescribeTopics(names=["t", "u"], create_missing=True)]
    assert [(broker["node_id"], broker["host"], broker["port"]) for broker in answer["brokers"]] == [(1, "10.0.0.1", 9092)]
    found, lost = answer["topics"]
    assert (found["name"], found["error_code"], [part["partition_index"] for part in found["partitions"]]) == ("t", 0, [0, 1])
    assert {(part["leader_id"], tuple(part["replica_nodes"]), tuple(part["isr_nodes"]), part.get("leader_epoch", 3)) for part in found["partitions"]} == {
        (1, (1,), (1,), 3)
    }
    assert found.get("topic_id", ID) == ID
    assert (lost["name"], lost["error_code"], lost["partitions"]) == ("u", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, [])


@pytest.mark.parametrize(("version", "names"), [(0, []), (1, None), (13, None)])
def test_metadata_of_all(client, version, names):
    asked, answer = exchange(client, "Metadata", version, metadata(names), [described("a"), described("b")])
    assert asked == [topics.DescribeTopics()]
    assert [topic["name"] for topic in answer["topics"]] == ["a", "b"]


def test_metadata_of_none(client):
    asked, answer = exchange(client, "Metadata", 9, metadata([]))
    assert (asked, answer["topics"], answer["controller_id"]) == ([], [], 1)


def test_metadata_by_id(client):
    asked, answer = exchange(client, "Metadata", 12, metadata([ID, b"x" * 16]), [described(), Refused(Reason.NOT_FOUND, "no")])
    assert asked == [topics.DescribeTopics(ids=[ID, b"x" * 16])]
    assert [(topic["name"], topic["topic_id"], topic["error_code"]) for topic in answer["topics"]] == [("t", ID, 0), (None, b"x" * 16, 100)]


def test_metadata_that_makes_no_topics(client):
    asked, _ = exchange(client, "Metadata", 9, metadata(["t"], allow_auto_topic_creation=False), [described()])
    assert asked[0].create_missing is False


@pytest.mark.parametrize(("outcome", "code"), [(Reason.NOT_PERMITTED, 29), (Reason.INVALID, 17), (Unavailable("no"), 5), (Reason.LIMIT, 44)])
def test_metadata_that_fails(client, outcome, code):
    _, answer = exchange(client, "Metadata", 9, metadata(["t"]), outcome)
    assert answer["topics"][0]["error_code"] == code


def test_the_address_that_is_told_can_be_set():
    client = Client(advertised=("kafka.example", 19092), node_id=7)
    _, answer = exchange(client, "Metadata", 9, metadata([]))
    assert [(broker["node_id"], broker["host"], broker["port"]) for broker in answer["brokers"]] == [(7, "kafka.example", 19092)]


UNSAID = -(2**31)
EVERYTHING = {"read", "write", "configure"}


@pytest.mark.parametrize(("actions", "bits"), [(EVERYTHING, 3576), ({"read"}, 0b101_0000_1000), ({"write"}, 0b101_0001_0000), (set(), 0)])
def test_what_may_be_done_with_topics(client, actions, bits):
    values = metadata(["t", "u"], include_topic_authorized_operations=True)
    refused = Refused(Reason.NOT_PERMITTED, "no")
    asked, answer = exchange(client, "Metadata", 9, values, [described(), refused], [actions])
    assert asked[1] == topics.AllowedActions(["t"])
    assert [topic["topic_authorized_operations"] for topic in answer["topics"]] == [bits, UNSAID]
    assert answer["cluster_authorized_operations"] == UNSAID


@pytest.mark.parametrize(("actions", "bits"), [(EVERYTHING, 0b1_0101_0010_0000), ({"read"}, 0b101_0000_0000), (set(), 0)])
def test_what_may_be_done_with_the_cluster(client, actions, bits):
    asked, answer = exchange(client, "Metadata", 9, metadata([], include_cluster_authorized_operations=True), [actions])
    assert (asked, answer["cluster_authorized_operations"]) == ([topics.AllowedActions([None])], bits)
    values = {"include_cluster_authorized_operations": True, "endpoint_type": 1, "include_fenced_brokers": False}
    asked, answer = exchange(client, "DescribeCluster", 2, values, [actions])
    assert (asked, answer["cluster_authorized_operations"]) == ([topics.AllowedActions([None])], bits)
    _, answer = exchange(client, "DescribeCluster", 2, values | {"include_cluster_authorized_operations": False})
    assert answer["cluster_authorized_operations"] == UNSAID


def test_what_may_be_done_with_very_many_topics_is_looked_up_in_turns(client):
    names = [f"t{number}" for number in range(ALLOWED_AT_ONCE + 1)]
    client.send(BY_NAME["Metadata"], 9, metadata(None, include_topic_authorized_operations=True))
    done(client.port.take(), [described(name, 1) for name in names])
    while client.turn():
        pass
    calls = list(client.port.calls)
    assert [call.request for call in calls] == [topics.AllowedActions(part) for part in (names[:ALLOWED_AT_ONCE], names[ALLOWED_AT_ONCE:])]
    for call in calls:
        done(call, [EVERYTHING] * len(call.request.names))
    while client.turn():
        pass
    assert [topic["topic_authorized_operations"] for topic in client.answer()["topics"]] == [3576] * len(names)


def test_describe_topic_partitions_goes_page_by_page(client):
    values = {"topics": [{"name": "b"}, {"name": "a"}], "response_partition_limit": 3, "cursor": None}
    pages = []
    while True:
        asked, answer = exchange(client, "DescribeTopicPartitions", 0, values, [described("a", 2), described("b", 4)], [EVERYTHING, EVERYTHING])
        assert asked[0] == topics.DescribeTopics(names=["a", "b"])
        assert {topic["topic_authorized_operations"] for topic in answer["topics"]} == {3576}
        pages.append([(topic["name"], [part["partition_index"] for part in topic["partitions"]]) for topic in answer["topics"]])
        if answer["next_cursor"] is None:
            break
        values["cursor"] = answer["next_cursor"]
    assert pages == [[("a", [0, 1]), ("b", [0])], [("b", [1, 2, 3])]]


def test_describe_cluster(client):
    _, answer = exchange(client, "DescribeCluster", 2, {"include_cluster_authorized_operations": False, "endpoint_type": 1, "include_fenced_brokers": False})
    assert (answer["controller_id"], [broker["host"] for broker in answer["brokers"]]) == (1, ["10.0.0.1"])
    _, answer = exchange(client, "DescribeCluster", 2, {"include_cluster_authorized_operations": False, "endpoint_type": 2, "include_fenced_brokers": False})
    assert (answer["error_code"], answer["brokers"]) == (115, [])


@pytest.mark.parametrize("version", range(7))
def test_this_broker_coordinates_groups_and_no_transactions(client, version):
    for kind, code in ((0, 0), (1, ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED), (9, ErrorCode.INVALID_REQUEST)):
        _, answer = exchange(client, "FindCoordinator", version, {"key": "g", "key_type": kind, "coordinator_keys": ["g", "h"]})
        rows = answer["coordinators"] if version >= 4 else [answer]
        if version == 0:
            code = 0
        assert [row["error_code"] for row in rows] == [code] * len(rows)
        assert {(row["node_id"], row["port"]) for row in rows} == ({(1, 9092)} if not code else {(-1, -1)})


# ---- offsets of partitions


@pytest.mark.parametrize("version", range(1, 11))
def test_list_offsets(client, version):
    where = {0: -1, 1: -2, 2: -3, 3: -4, 4: -5, 5: -9, 6: 1234}
    partitions = [{"partition_index": index, "current_leader_epoch": -1, "timestamp": time} for index, time in where.items()]
    values = {"replica_id": -1, "isolation_level": 1, "topics": [{"name": "t", "partitions": partitions}], "timeout_ms": 0}
    asked, answer = exchange(client, "ListOffsets", version, values, (10, -1, 3), (0, -1, 3), (7, 99, 3), Reason.NOT_FOUND, (5, 1300, 3))
    committed = version >= 2
    assert asked == [topics.FindOffset("t", index, place, committed) for index, place in ((0, "end"), (1, "first"), (2, "max_time"), (3, "first"), (6, 1234))]
    rows = [(row["partition_index"], row["error_code"], row["offset"], row["timestamp"]) for row in answer["topics"][0]["partitions"]]
    assert rows == [(0, 0, 10, -1), (1, 0, 0, -1), (2, 0, 7, 99), (3, 3, -1, -1), (4, 0, -1, -1), (5, 42, -1, -1), (6, 0, 5, 1300)]


@pytest.mark.parametrize("version", [1, 3, 4, 10])
def test_list_offsets_passes_on_the_epoch_and_refuses_what_is_named_twice(client, version):
    partitions = [{"partition_index": index, "current_leader_epoch": 5, "timestamp": 99} for index in (0, 1, 0)]
    values = {"replica_id": -1, "isolation_level": 0, "topics": [{"name": "t", "partitions": partitions}], "timeout_ms": 0}
    asked, answer = exchange(client, "ListOffsets", version, values, Reason.ENDED_EPOCH)
    assert asked == [topics.FindOffset("t", 1, 99, False, 5 if version >= 4 else -1)]
    rows = [(row["partition_index"], row["error_code"]) for row in answer["topics"][0]["partitions"]]
    assert rows == [(0, ErrorCode.INVALID_REQUEST), (1, ErrorCode.FENCED_LEADER_EPOCH), (0, ErrorCode.INVALID_REQUEST)]


def test_offset_for_leader_epoch(client):
    partitions = [{"partition": index, "current_leader_epoch": 3, "leader_epoch": 4} for index in range(2)]
    values = {"replica_id": -2, "topics": [{"topic": "t", "partitions": partitions}]}
    asked, answer = exchange(client, "OffsetForLeaderEpoch", 4, values, (4, 50), Reason.UNKNOWN_EPOCH)
    assert asked == [topics.EpochEnd("t", 0, 4, 3), topics.EpochEnd("t", 1, 4, 3)]
    rows = [(row["partition"], row["error_code"], row["leader_epoch"], row["end_offset"]) for row in answer["topics"][0]["partitions"]]
    assert rows == [(0, 0, 4, 50), (1, ErrorCode.UNKNOWN_LEADER_EPOCH, -1, -1)]


# ---- offsets of groups


@pytest.mark.parametrize("version", range(2, 10))
def test_offset_commit(client, version):
    partitions = [
        {"partition_index": index, "committed_offset": 10 + index, "committed_leader_epoch": 2, "committed_metadata": text}
        for index, text in enumerate(("m", None))
    ]
    values = {
        "group_id": "g",
        "generation_id_or_member_epoch": 4,
        "member_id": "m",
        "group_instance_id": None,
        "retention_time_ms": 0,
        "topics": [{"name": "t", "partitions": partitions}],
    }
    asked, answer = exchange(client, "OffsetCommit", version, values, {("t", 1): Refused(Reason.TOO_LARGE, "no")})
    epoch = 2 if version >= 6 else -1
    offsets = {("t", 0): groups.CommittedOffset(10, epoch, "m"), ("t", 1): groups.CommittedOffset(11, epoch, "")}
    assert asked == [groups.CommitOffsets("g", 4, "m", None, offsets)]
    assert [row["error_code"] for row in answer["topics"][0]["partitions"]] == [0, ErrorCode.OFFSET_METADATA_TOO_LARGE]
    _, answer = exchange(client, "OffsetCommit", version, values, Reason.STALE_MEMBER)
    assert [row["error_code"] for row in answer["topics"][0]["partitions"]] == [ErrorCode.ILLEGAL_GENERATION] * 2


@pytest.mark.parametrize("version", range(1, 10))
def test_offset_fetch(client, version):
    wanted = [{"name": "t", "partition_indexes": [0, 1, 2]}]
    group = {"group_id": "g", "member_id": "m", "member_epoch": 5, "topics": wanted}
    values = group | {"groups": [group], "require_stable": False}
    found = {("t", 0): groups.CommittedOffset(10, 2, "m"), ("t", 1): groups.CommittedOffset(-1), ("t", 2): Refused(Reason.NOT_PERMITTED, "no")}
    asked, answer = exchange(client, "OffsetFetch", version, values, found)
    member = ("m", 5) if version >= 9 else (None, -1)
    assert asked == [groups.FetchOffsets("g", [("t", 0), ("t", 1), ("t", 2)], *member)]
    rows = (answer["groups"][0] if version >= 8 else answer)["topics"][0]["partitions"]
    assert [(row["committed_offset"], row["metadata"], row["error_code"]) for row in rows] == [(10, "m", 0), (-1, "", 0), (-1, "", 29)]
    _, answer = exchange(client, "OffsetFetch", version, values, Reason.NOT_PERMITTED)
    if version == 1:
        assert {row["error_code"] for row in answer["topics"][0]["partitions"]} == {ErrorCode.GROUP_AUTHORIZATION_FAILED}
    else:
        assert (answer["groups"][0] if version >= 8 else answer)["error_code"] == ErrorCode.GROUP_AUTHORIZATION_FAILED


def test_offset_fetch_of_several_groups_and_of_all(client):
    rows = [{"group_id": name, "member_id": None, "member_epoch": -1, "topics": None} for name in ("g", "h")]
    found = {("a", 0): groups.CommittedOffset(1), ("b", 3): groups.CommittedOffset(2)}
    asked, answer = exchange(client, "OffsetFetch", 8, {"groups": rows, "require_stable": True}, found, Reason.INVALID_GROUP)
    assert asked == [groups.FetchOffsets("g", None), groups.FetchOffsets("h", None)]
    assert [[topic["name"] for topic in group["topics"]] for group in answer["groups"]] == [["a", "b"], []]
    assert [group["error_code"] for group in answer["groups"]] == [0, ErrorCode.INVALID_GROUP_ID]


def test_offset_delete(client):
    values = {"group_id": "g", "topics": [{"name": "t", "partitions": [{"partition_index": 0}, {"partition_index": 1}]}]}
    asked, answer = exchange(client, "OffsetDelete", 0, values, {("t", 0): None}, {("t", 1): Refused(Reason.IN_USE, "no")})
    assert asked == [groups.DeleteOffsets("g", [("t", 0)]), groups.DeleteOffsets("g", [("t", 1)])]
    assert [row["error_code"] for row in answer["topics"][0]["partitions"]] == [0, ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC]
    _, answer = exchange(client, "OffsetDelete", 0, values, Reason.NOT_FOUND, Reason.NOT_FOUND)
    assert (answer["error_code"], answer["topics"]) == (ErrorCode.GROUP_ID_NOT_FOUND, [])
