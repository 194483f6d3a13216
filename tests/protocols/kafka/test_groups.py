"""Groups, topics and their configuration: what each request asks of the broker, and how its outcomes are told."""

from __future__ import annotations

import pytest
from kafka_bench import Client
from test_handlers import ID, NO_ID, described, exchange

from entrepot.broker.calls import group_requests as groups
from entrepot.broker.calls import topic_requests as topics
from entrepot.model.errors import Reason, Refused, Unavailable
from entrepot.protocols.kafka.error_codes import ErrorCode


@pytest.fixture
def client() -> Client:
    return Client()


# ---- groups whose members agree among themselves


def join(member="m"):
    return {
        "group_id": "g",
        "session_timeout_ms": 9000,
        "rebalance_timeout_ms": 7000,
        "member_id": member,
        "group_instance_id": None,
        "protocol_type": "consumer",
        "protocols": [{"name": "range", "metadata": b"x"}, {"name": "sticky", "metadata": b"y"}],
        "reason": None,
    }


@pytest.mark.parametrize("version", range(10))
def test_join_group(client, version):
    result = groups.JoinResult(4, "consumer", "range", "m", "m", [("m", None, b"x"), ("n", "i", b"y")], True)
    asked, answer = exchange(client, "JoinGroup", version, join(), result)
    assert asked == [
        groups.JoinGroup(
            "g",
            "m",
            None,
            "tester",
            "/10.0.0.9",
            9000,
            7000 if version else 9000,
            "consumer",
            [("range", b"x"), ("sticky", b"y")],
            version >= 4,
            version >= 9,
        )
    ]
    assert (answer["error_code"], answer["generation_id"], answer["protocol_name"], answer["leader"], answer["member_id"]) == (0, 4, "range", "m", "m")
    assert [(member["member_id"], member["metadata"]) for member in answer["members"]] == [("m", b"x"), ("n", b"y")]
    assert answer.get("skip_assignment", True)


@pytest.mark.parametrize("version", [4, 6, 9])
def test_a_member_without_an_id_gets_one_to_come_back_with(client, version):
    _, answer = exchange(client, "JoinGroup", version, join(""), Reason.MEMBER_ID_REQUIRED)
    assert (answer["error_code"], answer["member_id"], answer["members"]) == (ErrorCode.MEMBER_ID_REQUIRED, "made-up", [])


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (Reason.UNKNOWN_MEMBER, 25),
        (Reason.INCONSISTENT_GROUP, 23),
        (Reason.INVALID_SESSION_TIMEOUT, 26),
        (Reason.FENCED_INSTANCE, 82),
        (Reason.INVALID_GROUP, 24),
        (Reason.NOT_PERMITTED, 30),
        (Reason.LIMIT, 81),
        (Unavailable("no"), 15),
    ],
)
@pytest.mark.parametrize("version", [0, 9])
def test_a_join_that_fails(client, outcome, code, version):
    _, answer = exchange(client, "JoinGroup", version, join(), outcome)
    assert (answer["error_code"], answer["member_id"], answer["generation_id"]) == (code, "m", -1)


@pytest.mark.parametrize("version", range(6))
def test_sync_group(client, version):
    values = {
        "group_id": "g",
        "generation_id": 4,
        "member_id": "m",
        "group_instance_id": None,
        "protocol_type": "consumer",
        "protocol_name": "range",
        "assignments": [{"member_id": "m", "assignment": b"a"}, {"member_id": "n", "assignment": b"b"}],
    }
    asked, answer = exchange(client, "SyncGroup", version, values, ("consumer", "range", b"mine"))
    told = ("consumer", "range") if version >= 5 else (None, None)
    assert asked == [groups.SyncGroup("g", 4, "m", None, *told, {"m": b"a", "n": b"b"})]
    assert (answer["error_code"], answer["assignment"], answer.get("protocol_name", "range")) == (0, b"mine", "range")
    _, answer = exchange(client, "SyncGroup", version, values, Reason.REBALANCING)
    assert (answer["error_code"], answer["assignment"]) == (ErrorCode.REBALANCE_IN_PROGRESS, b"")


@pytest.mark.parametrize("version", range(5))
@pytest.mark.parametrize(("outcome", "code"), [(None, 0), (Reason.REBALANCING, 27), (Reason.STALE_MEMBER, 22), (Reason.UNKNOWN_MEMBER, 25)])
def test_heartbeat(client, version, outcome, code):
    values = {"group_id": "g", "generation_id": 4, "member_id": "m", "group_instance_id": "i"}
    asked, answer = exchange(client, "Heartbeat", version, values, outcome)
    assert asked == [groups.Heartbeat("g", 4, "m", "i" if version >= 3 else None)]
    assert answer["error_code"] == code


@pytest.mark.parametrize("version", range(6))
def test_leave_group(client, version):
    members = [{"member_id": "m", "group_instance_id": None, "reason": "bye"}, {"member_id": "", "group_instance_id": "i", "reason": None}]
    values = {"group_id": "g", "member_id": "m", "members": members}
    if version < 3:
        asked, answer = exchange(client, "LeaveGroup", version, values, [Refused(Reason.UNKNOWN_MEMBER, "no")])
        assert asked == [groups.LeaveGroup("g", [("m", None, None)])]
        assert answer["error_code"] == ErrorCode.UNKNOWN_MEMBER_ID
    else:
        asked, answer = exchange(client, "LeaveGroup", version, values, [None, Refused(Reason.UNKNOWN_MEMBER, "no")])
        assert asked == [groups.LeaveGroup("g", [("m", None, "bye" if version >= 5 else None), ("", "i", None)])]
        assert [(row["member_id"], row["group_instance_id"], row["error_code"]) for row in answer["members"]] == [("m", None, 0), ("", "i", 25)]
    _, answer = exchange(client, "LeaveGroup", version, values, Reason.NOT_PERMITTED)
    assert answer["error_code"] == ErrorCode.GROUP_AUTHORIZATION_FAILED


# ---- groups whose coordinator assigns


@pytest.mark.parametrize("version", [0, 1])
def test_consumer_group_heartbeat(client, version):
    values = {
        "group_id": "g",
        "member_id": "m",
        "member_epoch": 3,
        "instance_id": None,
        "rack_id": "r",
        "rebalance_timeout_ms": 5000,
        "subscribed_topic_names": ["t"],
        "subscribed_topic_regex": "x.*",
        "server_assignor": "uniform",
        "topic_partitions": [{"topic_id": ID, "partitions": [0, 1]}],
    }
    asked, answer = exchange(client, "ConsumerGroupHeartbeat", version, values, groups.ConsumerHeartbeatResult("m", 4, 5000, {ID: [2]}))
    regex = "x.*" if version else None
    assert asked == [groups.ConsumerHeartbeat("g", "m", 3, None, "r", 5000, "tester", "/10.0.0.9", ["t"], regex, "uniform", {ID: [0, 1]})]
    assert (answer["member_id"], answer["member_epoch"], answer["heartbeat_interval_ms"]) == ("m", 4, 5000)
    assert answer["assignment"]["topic_partitions"] == [{"topic_id": ID, "partitions": [2]}]
    asked, answer = exchange(client, "ConsumerGroupHeartbeat", version, values | {"topic_partitions": None}, groups.ConsumerHeartbeatResult("m", 4, 5000, None))
    assert asked[0].owned is None
    assert answer["assignment"] is None
    for reason, code in (
        (Reason.FENCED_MEMBER, 110),
        (Reason.UNKNOWN_MEMBER, 25),
        (Reason.UNSUPPORTED_ASSIGNOR, 112),
        (Reason.UNRELEASED_INSTANCE, 111),
        (Reason.INVALID_PATTERN, 128),
        (Reason.INVALID, 42),
        (Reason.INCONSISTENT_GROUP, 69),
    ):
        _, answer = exchange(client, "ConsumerGroupHeartbeat", version, values, reason)
        assert (answer["error_code"], answer["error_message"]) == (code, "because")


def member(**more):
    return groups.MemberDescription("m", "i", "tester", "/h", b"meta", b"assigned", **more)


def test_consumer_group_describe(client):
    one = member(member_epoch=4, rack_id=None, subscribed_names=["t"], assigned={ID: [0]}, target={ID: [0, 1], b"z" * 16: [5]})
    new = groups.GroupDescription("g", "consumer", "Stable", "consumer", "", [one], 7, 6, "uniform")
    old = groups.GroupDescription("h", "classic", "Stable", "consumer", "range", [member()])
    values = {"group_ids": ["g", "h", "i"], "include_authorized_operations": False}
    asked, answer = exchange(client, "ConsumerGroupDescribe", 1, values, new, old, Reason.NOT_FOUND, [described(), Refused(Reason.NOT_FOUND, "no")])
    assert asked[3] == topics.DescribeTopics(ids=[ID, b"z" * 16])
    assert [row["error_code"] for row in answer["groups"]] == [0, 69, 69]
    row = answer["groups"][0]
    assert (row["group_state"], row["group_epoch"], row["assignment_epoch"], row["assignor_name"]) == ("Stable", 7, 6, "uniform")
    (found,) = row["members"]
    assert (found["member_id"], found["member_epoch"], found["member_type"]) == ("m", 4, 1)
    assert found["target_assignment"]["topic_partitions"] == [
        {"topic_id": ID, "topic_name": "t", "partitions": [0, 1]},
        {"topic_id": b"z" * 16, "topic_name": "", "partitions": [5]},
    ]


# ---- looking at groups


@pytest.mark.parametrize("version", range(7))
def test_describe_groups(client, version):
    old = groups.GroupDescription("g", "classic", "Stable", "consumer", "range", [member()])
    new = groups.GroupDescription("h", "consumer", "Stable", "consumer", "", [])
    values = {"groups": ["g", "h", "i", "j"], "include_authorized_operations": False}
    asked, answer = exchange(client, "DescribeGroups", version, values, old, new, Reason.NOT_FOUND, Reason.NOT_PERMITTED)
    assert asked == [groups.DescribeGroup(name) for name in "ghij"]
    missing = 69 if version >= 6 else 0
    assert [(row["group_state"], row["error_code"]) for row in answer["groups"]] == [("Stable", 0), ("Dead", missing), ("Dead", missing), ("", 30)]
    (found,) = answer["groups"][0]["members"]
    assert (found["client_host"], found["member_metadata"], found["member_assignment"]) == ("/h", b"meta", b"assigned")


def test_what_may_be_done_with_groups(client):
    old = groups.GroupDescription("g", "classic", "Empty", "", "", [])
    values = {"groups": ["g", "h", "i"], "include_authorized_operations": True}
    allowed = [{"read", "write", "configure"}, {"read"}, set()]
    asked, answer = exchange(client, "DescribeGroups", 5, values, old, Reason.NOT_FOUND, Reason.NOT_PERMITTED, allowed)
    assert asked[3] == topics.AllowedActions(["g", "h", "i"])
    assert [row["authorized_operations"] for row in answer["groups"]] == [0b1_0100_1000, 0b1_0000_1000, -(2**31)]
    new = groups.GroupDescription("g", "consumer", "Empty", "consumer", "", [])
    values = {"group_ids": ["g", "h"], "include_authorized_operations": True}
    _, answer = exchange(client, "ConsumerGroupDescribe", 1, values, new, Reason.NOT_FOUND, [{"configure"}, {"read"}])
    assert [row["authorized_operations"] for row in answer["groups"]] == [0b100_0000, -(2**31)]


@pytest.mark.parametrize("version", range(6))
def test_list_groups(client, version):
    values = {"states_filter": ["Stable"], "types_filter": ["classic"]}
    asked, answer = exchange(client, "ListGroups", version, values, [("g", "consumer", "Stable", "classic")])
    assert asked == [groups.ListGroups(["Stable"] if version >= 4 else [], ["classic"] if version >= 5 else [])]
    (row,) = answer["groups"]
    assert (row["group_id"], row["protocol_type"], row.get("group_state", "Stable"), row.get("group_type", "classic")) == ("g", "consumer", "Stable", "classic")


def test_delete_groups(client):
    asked, answer = exchange(client, "DeleteGroups", 2, {"groups_names": ["g", "h", "i"]}, None, Reason.NOT_EMPTY, Reason.NOT_FOUND)
    assert asked == [groups.DeleteGroup(name) for name in "ghi"]
    assert [row["error_code"] for row in answer["results"]] == [0, 68, 69]


# ---- topics


def topic(name="t", partitions=2, factor=1, assignments=(), **config):
    rows = [{"partition_index": index, "broker_ids": brokers} for index, brokers in assignments]
    configs = [{"name": key, "value": value} for key, value in config.items()]
    return {"name": name, "num_partitions": partitions, "replication_factor": factor, "assignments": rows, "configs": configs}


def create(*rows, check=False):
    return {"topics": list(rows), "timeout_ms": 1000, "validate_only": check}


@pytest.mark.parametrize("version", range(2, 8))
def test_create_topics(client, version):
    config = [topics.ConfigEntry("retention.ms", "5", False, "long", "how long", "6")] if version >= 5 else None
    outcomes = [described(), Reason.EXISTS_DIFFERENT] + ([config] if config else [])
    asked, answer = exchange(client, "CreateTopics", version, create(topic(a="1"), topic("u", -1, -1)), *outcomes)
    assert asked[:2] == [topics.CreateTopic("t", 2, {"a": "1"}), topics.CreateTopic("u", -1, {})]
    made, refused = answer["topics"]
    assert (made["error_code"], made.get("num_partitions", 2), made.get("topic_id", ID)) == (0, 2, ID)
    assert (refused["error_code"], refused["error_message"]) == (ErrorCode.TOPIC_ALREADY_EXISTS, "because")
    if version >= 5:
        assert [(row["name"], row["value"], row["config_source"]) for row in made["configs"]] == [("retention.ms", "5", 1)]


@pytest.mark.parametrize(
    ("row", "code"),
    [
        (topic(partitions=0), 37),
        (topic(partitions=-2), 37),
        (topic(factor=2), 38),
        (topic(partitions=-1, factor=-1, assignments=[(0, [2])]), 39),
        (topic(partitions=-1, factor=-1, assignments=[(1, [1])]), 39),
        (topic(partitions=1, factor=1, assignments=[(0, [1])]), 42),
        (topic(partitions=-1, factor=-1, assignments=[(0, [1, 1])]), 39),
        (topic(partitions=-1, factor=-1, assignments=[(0, [])]), 39),
        (topic("__consumer_offsets"), 42),
        (topic("__cluster_metadata"), 42),
    ],
)
def test_topics_that_cannot_be(client, row, code):
    asked, answer = exchange(client, "CreateTopics", 7, create(row))
    assert asked == []
    assert answer["topics"][0]["error_code"] == code


@pytest.mark.parametrize(
    ("reason", "code"),
    [(Reason.UNKNOWN_KEY, 40), (Reason.INVALID_VALUE, 40), (Reason.INVALID, 17), (Reason.NOT_PERMITTED, 29), (Reason.LIMIT, 44)],
)
def test_topics_that_the_broker_refuses(client, reason, code):
    _, answer = exchange(client, "CreateTopics", 7, create(topic()), reason)
    assert answer["topics"][0]["error_code"] == code


def test_a_topic_named_twice_and_one_with_assignments(client):
    asked, answer = exchange(client, "CreateTopics", 4, create(topic("t"), topic("t"), topic("u", -1, -1, [(1, [1]), (0, [1])]), check=True), described("u"))
    assert asked == [topics.CreateTopic("u", 2, {}, True)]
    assert [(row["name"], row["error_code"]) for row in answer["topics"]] == [("t", 42), ("u", 0)]


@pytest.mark.parametrize("version", range(1, 7))
def test_delete_topics(client, version):
    values = {"topics": [{"name": "t", "topic_id": NO_ID}, {"name": None, "topic_id": ID}], "topic_names": ["t", "u"], "timeout_ms": 0}
    known = [[described("t", topic_id=b"t" * 16)]] if version >= 6 else []
    asked, answer = exchange(client, "DeleteTopics", version, values, *known, described(), Reason.NOT_FOUND)
    assert asked[len(known) :] == [topics.DeleteTopic("t"), topics.DeleteTopic("", ID) if version >= 6 else topics.DeleteTopic("u")]
    rows = [(row["name"], row["error_code"]) for row in answer["responses"]]
    assert rows == [("t", 0), (None, 100) if version >= 6 else ("u", 3)]


def deleting(*rows):
    return {"topics": [{"name": name, "topic_id": topic_id} for name, topic_id in rows], "topic_names": [name for name, _ in rows], "timeout_ms": 0}


def test_a_topic_deleted_twice_is_told_once_and_not_deleted(client):
    asked, answer = exchange(client, "DeleteTopics", 5, deleting(("t", NO_ID), ("u", NO_ID), ("t", NO_ID)), described("u"))
    assert asked == [topics.DeleteTopic("u")]
    assert [(row["name"], row["error_code"]) for row in answer["responses"]] == [("t", 42), ("u", 0)]
    asked, answer = exchange(client, "DeleteTopics", 6, deleting((None, ID), (None, ID), ("t", b"x" * 16)))
    assert asked == []
    assert [(row["name"], row["topic_id"], row["error_code"]) for row in answer["responses"]] == [(None, ID, 42), ("t", b"x" * 16, 42)]
    asked, answer = exchange(client, "DeleteTopics", 6, deleting(("t", NO_ID), (None, ID)), [described("t")])
    assert asked == [topics.DescribeTopics(names=["t"])]
    assert [(row["name"], row["topic_id"], row["error_code"]) for row in answer["responses"]] == [("t", ID, 42)]


def adding(name, count, *assignments):
    return {"name": name, "count": count, "assignments": [{"broker_ids": brokers} for brokers in assignments] if assignments else None}


def test_create_partitions(client):
    values = {"topics": [adding(name, 5) for name in ("t", "u", "v", "w", "w")], "timeout_ms": 0, "validate_only": False}
    asked, answer = exchange(client, "CreatePartitions", 3, values, described(), Reason.INVALID, Reason.NOT_FOUND, described(count=5))
    assert asked == [topics.CreatePartitions(name, 5, True) for name in "tuv"] + [topics.CreatePartitions("t", 5)]
    assert {row["name"]: row["error_code"] for row in answer["results"]} == {"t": 0, "u": 37, "v": 3, "w": 42}
    assert len(answer["results"]) == 4


@pytest.mark.parametrize(
    ("assignments", "code"),
    [([[1]], 0), ([[9]], 39), ([[1, 1]], 39), ([[1, 9]], 39), ([[]], 39), ([[1], [1]], 39)],
    ids=["this broker", "another", "repeated", "with another", "none", "too many"],
)
@pytest.mark.parametrize("check", [True, False])
def test_partitions_with_assignments(client, assignments, code, check):
    values = {"topics": [adding("t", 3, *assignments)], "timeout_ms": 0, "validate_only": check}
    made = [] if code or check else [described(count=3)]
    asked, answer = exchange(client, "CreatePartitions", 3, values, described(), *made)
    assert asked == [topics.CreatePartitions("t", 3, True), topics.CreatePartitions("t", 3)][: 1 + len(made)]
    assert answer["results"][0]["error_code"] == code


def test_partitions_with_too_few_assignments(client):
    _, answer = exchange(client, "CreatePartitions", 3, {"topics": [adding("t", 4, [1])], "timeout_ms": 0, "validate_only": False}, described())
    assert answer["results"][0]["error_code"] == ErrorCode.INVALID_REPLICA_ASSIGNMENT


def test_delete_records(client):
    values = {"topics": [{"name": "t", "partitions": [{"partition_index": 0, "offset": 9}, {"partition_index": 1, "offset": -1}]}], "timeout_ms": 0}
    asked, answer = exchange(client, "DeleteRecords", 2, values, 9, Reason.OUT_OF_RANGE)
    assert asked == [topics.TrimPartition("t", 0, 9), topics.TrimPartition("t", 1, -1)]
    assert [(row["low_watermark"], row["error_code"]) for row in answer["topics"][0]["partitions"]] == [(9, 0), (-1, 1)]


@pytest.mark.parametrize("version", range(6))
def test_init_producer_id(client, version):
    values = {"transactional_id": None, "transaction_timeout_ms": 0, "producer_id": 5, "producer_epoch": 1}
    asked, answer = exchange(client, "InitProducerId", version, values, (5, 2))
    assert asked == [topics.NewProducer(5, 1) if version >= 3 else topics.NewProducer()]
    assert (answer["error_code"], answer["producer_id"], answer["producer_epoch"]) == (0, 5, 2)
    asked, answer = exchange(client, "InitProducerId", version, values | {"transactional_id": "x"})
    assert (asked, answer["error_code"]) == ([], ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED)


# ---- configuration

RETENTION = topics.ConfigEntry("retention.ms", "5", False, "long", "how long", "6")
CLEANUP = topics.ConfigEntry("cleanup.policy", "delete", True, "list", "how", "delete")


@pytest.mark.parametrize("version", range(1, 5))
def test_describe_configs(client, version):
    wanted = ((2, "t", None), (2, "u", ["a"]), (4, "1", None), (3, "x", None))
    resources = [{"resource_type": kind, "resource_name": name, "configuration_keys": keys} for kind, name, keys in wanted]
    values = {"resources": resources, "include_synonyms": True, "include_documentation": True}
    asked, answer = exchange(client, "DescribeConfigs", version, values, [RETENTION, CLEANUP], Reason.NOT_FOUND)
    assert asked == [topics.DescribeTopicConfig("t"), topics.DescribeTopicConfig("u", ["a"])]
    assert [row["error_code"] for row in answer["results"]] == [0, 3, 0, 42]
    first, second = answer["results"][0]["configs"]
    assert (first["name"], first["value"], first["config_source"], len(first["synonyms"])) == ("retention.ms", "5", 1, 2)
    assert (second["name"], second["config_source"], len(second["synonyms"])) == ("cleanup.policy", 5, 1)
    assert (first.get("config_type", 5), first.get("documentation", "how long"), second.get("config_type", 7)) == (5, "how long", 7)


def test_incremental_alter_configs(client):
    operations = (("a", 0, "1"), ("b", 1, None), ("c", 2, "x"), ("d", 3, "y"))
    changes = [{"name": key, "config_operation": operation, "value": value} for key, operation, value in operations]
    bad = [{"name": "a", "config_operation": 9, "value": None}]
    rows = [(2, "t", changes), (4, "1", changes), (2, "u", changes[:1] * 2), (2, "v", bad), (2, "w", [])]
    values = {"resources": [{"resource_type": kind, "resource_name": name, "configs": found} for kind, name, found in rows], "validate_only": False}
    asked, answer = exchange(client, "IncrementalAlterConfigs", 1, values, Reason.UNKNOWN_KEY, None)
    assert asked == [
        topics.AlterTopicConfig("t", [("set", "a", "1"), ("delete", "b", None), ("append", "c", "x"), ("subtract", "d", "y")]),
        topics.AlterTopicConfig("w", []),
    ]
    assert [row["error_code"] for row in answer["responses"]] == [40, 42, 42, 42, 0]


def test_a_resource_that_is_altered_twice_is_not_altered(client):
    rows = [{"resource_type": 2, "resource_name": name, "configs": [{"name": "a", "config_operation": 0, "value": "1"}]} for name in ("t", "u", "t")]
    asked, answer = exchange(client, "IncrementalAlterConfigs", 1, {"resources": rows, "validate_only": False}, None)
    assert asked == [topics.AlterTopicConfig("u", [("set", "a", "1")])]
    assert [row["error_code"] for row in answer["responses"]] == [42, 0, 42]


def test_alter_configs_puts_back_what_is_not_named(client):
    values = {"resources": [{"resource_type": 2, "resource_name": "t", "configs": [{"name": "a", "value": "1"}]}], "validate_only": True}
    asked, answer = exchange(client, "AlterConfigs", 2, values, [RETENTION, CLEANUP], None)
    assert asked[1] == topics.AlterTopicConfig("t", [("set", "a", "1"), ("delete", "retention.ms", None)], True)
    assert answer["responses"][0]["error_code"] == 0
