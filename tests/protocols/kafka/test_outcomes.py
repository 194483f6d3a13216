"""Of every API that asks the broker for something: what its client is told of each outcome of what was asked. No outcome ends the connection."""

from __future__ import annotations

from typing import Any

import pytest
from kafka_bench import Client, batch, refuse, unavailable, unknown
from kio_bridge import BOOL, BYTES, F64, STRING, STRUCT, UUID, plan

from entrepot.broker.calls.port import Ask
from entrepot.broker.calls.topic_requests import AllowedActions
from entrepot.model.errors import Reason
from entrepot.protocols.kafka.apis import APIS
from entrepot.protocols.kafka.error_codes import ErrorCode as E

# What a request says where a sample by its type would be refused before anything is asked.
VALUES: dict[str, Any] = {
    "acks": -1,
    "records": batch(),
    "transactional_id": None,
    "topic_id": b"1" * 16,
    "topics_regex": None,
    "subscribed_topic_regex": None,
    "key_type": 0,
    "resource_type": 2,
    "config_operation": 0,
    "name": "retention.ms",
    "value": "1000",
    "session_id": 0,
    "session_epoch": -1,
    "timestamp": -1,
    "num_partitions": 1,
    "replication_factor": 1,
    "count": 3,
    "assignments": [],
    "replicas": [1],
    "resource_types": [2],
    "states_filter": [],
    "types_filter": [],
    "forgotten_topics_data": [],
    "producer_id": -1,
    "producer_epoch": -1,
    "session_timeout_ms": 10_000,
    "rebalance_timeout_ms": 10_000,
    "group_instance_id": None,
    "instance_id": None,
    "server_assignor": None,
    "cursor": None,
    "response_partition_limit": 10,
    "offset": 1,
    "configs": [],
    "current_leader_epoch": -1,
}
BY_API: dict[str, dict[str, Any]] = {
    "CreateTopics": {"name": "t"},
    "Produce": {"name": "t"},
    "Metadata": {"name": "t", "topic_id": bytes(16)},
    "DeleteTopics": {"name": "t", "topic_id": bytes(16)},
    "ListOffsets": {"name": "t"},
    "CreatePartitions": {"name": "t"},
    "DescribeTopicPartitions": {"name": "t"},
    "AlterPartitionReassignments": {"name": "t"},
    "DeleteRecords": {"name": "t"},
    "OffsetCommit": {"name": "t"},
    "OffsetFetch": {"name": "t"},
    "OffsetDelete": {"name": "t"},
    "JoinGroup": {"name": "range"},
    "IncrementalAlterConfigs": {"configs": [{"name": "retention.ms", "config_operation": 0, "value": "1000"}]},
    "AlterConfigs": {"configs": [{"name": "retention.ms", "value": "1000"}]},
}

LEADER, COORDINATOR, PERHAPS = E.NOT_LEADER_OR_FOLLOWER, E.COORDINATOR_NOT_AVAILABLE, E.REQUEST_TIMED_OUT
TOPICS = (E.TOPIC_AUTHORIZATION_FAILED, LEADER, PERHAPS)
GROUPS = (E.GROUP_AUTHORIZATION_FAILED, COORDINATOR, COORDINATOR)

# refused (not permitted), certainly not applied, perhaps applied
TOLD: dict[str, tuple[E, E, E]] = {
    "Produce": TOPICS,
    "Fetch": TOPICS,
    "ListOffsets": TOPICS,
    "Metadata": (E.TOPIC_AUTHORIZATION_FAILED, E.LEADER_NOT_AVAILABLE, PERHAPS),
    "OffsetForLeaderEpoch": TOPICS,
    "CreateTopics": TOPICS,
    "DeleteTopics": TOPICS,
    "DeleteRecords": TOPICS,
    "CreatePartitions": TOPICS,
    "DescribeConfigs": TOPICS,
    "AlterConfigs": TOPICS,
    "IncrementalAlterConfigs": TOPICS,
    "DescribeLogDirs": TOPICS,
    "ElectLeaders": TOPICS,
    "AlterPartitionReassignments": TOPICS,
    "DescribeTopicPartitions": TOPICS,
    "ListConfigResources": TOPICS,
    "InitProducerId": (E.TOPIC_AUTHORIZATION_FAILED, COORDINATOR, COORDINATOR),
    "OffsetCommit": GROUPS,
    "OffsetFetch": GROUPS,
    "OffsetDelete": GROUPS,
    "JoinGroup": GROUPS,
    "SyncGroup": GROUPS,
    "Heartbeat": GROUPS,
    "LeaveGroup": GROUPS,
    "DescribeGroups": GROUPS,
    "DeleteGroups": GROUPS,
    "ListGroups": GROUPS,
    "ConsumerGroupHeartbeat": GROUPS,
    "ConsumerGroupDescribe": GROUPS,
}
ASK_SINCE = {"ListConfigResources": 1}  # the version from which it asks
ASK_NOTHING = {"ApiVersions", "SaslHandshake", "SaslAuthenticate", "FindCoordinator", "ListPartitionReassignments", "DescribeCluster"}


def sample(fields: Any, given: dict[str, Any]) -> dict[str, Any]:
    """A request with one element in each of its arrays."""
    values = {}
    for field in (*fields.fields, *fields.tagged):
        if field.name in given:
            values[field.name] = given[field.name]
            continue
        if field.kind == STRUCT:
            one: Any = sample(field.plan, given)
        else:
            one = {BOOL: False, BYTES: b"x", STRING: "t", UUID: b"1" * 16, F64: 0.0}.get(field.kind, 0)
        values[field.name] = [one] if field.array else one
    return values


def codes(answer: Any) -> set[int]:
    """Every code but NONE, wherever the answer has one."""
    if isinstance(answer, dict):
        own = {value for name, value in answer.items() if name.endswith("error_code") and value}
        return own.union(*(codes(value) for value in answer.values()))
    return set().union(*map(codes, answer)) if isinstance(answer, list) else set()


def test_every_api_is_here():
    assert set(TOLD) | ASK_NOTHING == {api.name for api in APIS.values()}


@pytest.mark.parametrize("version", ["least", "most"])
@pytest.mark.parametrize("outcome", ["refused", "unavailable", "unknown"])
@pytest.mark.parametrize("name", sorted(TOLD))
def test_what_is_told(name: str, outcome: str, version: str):
    api = next(api for api in APIS.values() if api.name == name)
    number = max(getattr(api, version), ASK_SINCE.get(name, 0))
    client = Client()
    client.send(api.key, number, sample(plan(api.key, number, "request"), VALUES | BY_API.get(name, {})))
    asked = 0
    while client.port.calls:
        calls, client.port.calls = client.port.calls, []
        for call in calls:
            asked += 1
            if outcome == "refused":
                refuse(call, Reason.NOT_PERMITTED)
            elif outcome == "unavailable":
                unavailable(call)
            else:
                unknown(call)
    assert asked > 0
    expected = TOLD[name][["refused", "unavailable", "unknown"].index(outcome)]
    assert {E(code) for code in codes(client.answer())} == {expected}


def test_what_is_left_out_where_operations_cannot_be_told():
    """DescribeCluster and Metadata tell of permitted operations where they can."""
    client = Client()
    api = next(api for api in APIS.values() if api.name == "DescribeCluster")
    client.send(api.key, api.most, sample(plan(api.key, api.most, "request"), VALUES | {"include_cluster_authorized_operations": True, "endpoint_type": 1}))
    call = client.port.take()
    assert isinstance(call, Ask)
    assert isinstance(call.request, AllowedActions)
    unavailable(call)
    answer = client.answer()
    assert answer["error_code"] == 0
    assert answer["cluster_authorized_operations"] == -(1 << 31)
