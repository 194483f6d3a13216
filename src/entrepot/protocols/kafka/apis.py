"""The one table: every API that is served, its versions, and who answers it. ApiVersions tells exactly this.

Versions begin where Kafka 4 begins (KIP-896), which is what clients of the last five years need. `told_least` is lower for Produce alone: librdkafka
of many years takes compression to be unsupported unless Produce version 0 is said to be served (as Kafka 4 says, KAFKA-18659).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from entrepot.protocols.kafka import admin, configs, fetch, groups, metadata, offsets, placement, produce, sasl
from entrepot.protocols.kafka import schemas_cluster as _k
from entrepot.protocols.kafka import schemas_connection as _c
from entrepot.protocols.kafka import schemas_groups as _g
from entrepot.protocols.kafka import schemas_records as _r
from entrepot.protocols.kafka import schemas_topics as _t
from entrepot.protocols.kafka.schema import Plan, plan_for

MANY = 20_000  # elements of a request each of which is worth many
ANSWERED_WITH_MANY = frozenset({11, 13, 14, 15, 32, 33, 42, 44, 69, 75})  # APIs whose elements are: groups, what is in one, configurations; what is sorted
NEVER = 0x7FFF  # no version of it is flexible


class Api:
    """One row. `handler(exchange, values)` gets the request as a dict, or with `takes_reader` the Reader behind the header.

    `elements_max`: how many elements a request may have, where each is worth more than a few numbers; 0 for primitives.ELEMENTS_MAX.
    """

    __slots__ = (
        "_requests",
        "_responses",
        "elements_max",
        "flexible_from",
        "handler",
        "key",
        "least",
        "most",
        "name",
        "request_table",
        "response_table",
        "takes_reader",
        "told_least",
    )

    def __init__(
        self,
        key: int,
        name: str,
        least: int,
        most: int,
        flexible_from: int,
        handler: Callable[..., object],
        request_table: str,
        response_table: str,
        *,
        takes_reader: bool = False,
        told_least: int | None = None,
    ) -> None:
        self.key = key
        self.name = name
        self.least = least
        self.most = most
        self.flexible_from = flexible_from
        self.handler = handler
        self.request_table = request_table
        self.response_table = response_table
        self.takes_reader = takes_reader
        self.elements_max = MANY if key in ANSWERED_WITH_MANY else 0
        self.told_least = least if told_least is None else told_least
        self._requests: dict[int, Plan] = {}
        self._responses: dict[int, Plan] = {}

    def request_plan(self, version: int) -> Plan:
        """How a request of that version is read; made at its first use."""
        plan = self._requests.get(version)
        if plan is None:
            plan = self._requests[version] = plan_for(self.request_table, version, version >= self.flexible_from)
        return plan

    def response_plan(self, version: int) -> Plan:
        """How a response of that version is written."""
        plan = self._responses.get(version)
        if plan is None:
            plan = self._responses[version] = plan_for(self.response_table, version, version >= self.flexible_from)
        return plan


def _api_versions(exchange: Any, values: dict[str, Any] | None) -> None:
    """Handler of ApiVersions; without values for a version that is not served (KIP-511)."""
    if values is not None and "client_software_name" in values:
        product = f"{values['client_software_name']} {values['client_software_version']}"
        exchange.session.product = product[:PRODUCT_MAX].strip()
    exchange.answer(
        {
            "error_code": 0 if values is not None else 35,
            "api_keys": [{"api_key": api.key, "min_version": api.told_least, "max_version": api.most} for api in APIS.values()],
        }
    )


_ROWS = (
    # key, name, versions, flexible from, who answers, tables
    Api(0, "Produce", 3, 12, 9, produce.produce, _r.PRODUCE_REQUEST, _r.PRODUCE_RESPONSE, takes_reader=True, told_least=0),
    Api(1, "Fetch", 4, 17, 12, fetch.fetch, _r.FETCH_REQUEST, _r.FETCH_RESPONSE, takes_reader=True),
    Api(2, "ListOffsets", 1, 10, 6, offsets.list_offsets, _r.LIST_OFFSETS_REQUEST, _r.LIST_OFFSETS_RESPONSE),
    Api(3, "Metadata", 0, 13, 9, metadata.metadata, _c.METADATA_REQUEST, _c.METADATA_RESPONSE),
    Api(8, "OffsetCommit", 2, 9, 8, offsets.offset_commit, _g.OFFSET_COMMIT_REQUEST, _g.OFFSET_COMMIT_RESPONSE),
    Api(9, "OffsetFetch", 1, 9, 6, offsets.offset_fetch, _g.OFFSET_FETCH_REQUEST, _g.OFFSET_FETCH_RESPONSE),
    Api(10, "FindCoordinator", 0, 6, 3, metadata.find_coordinator, _c.FIND_COORDINATOR_REQUEST, _c.FIND_COORDINATOR_RESPONSE),
    Api(11, "JoinGroup", 0, 9, 6, groups.join_group, _g.JOIN_GROUP_REQUEST, _g.JOIN_GROUP_RESPONSE),
    Api(12, "Heartbeat", 0, 4, 4, groups.heartbeat, _g.HEARTBEAT_REQUEST, _g.HEARTBEAT_RESPONSE),
    Api(13, "LeaveGroup", 0, 5, 4, groups.leave_group, _g.LEAVE_GROUP_REQUEST, _g.LEAVE_GROUP_RESPONSE),
    Api(14, "SyncGroup", 0, 5, 4, groups.sync_group, _g.SYNC_GROUP_REQUEST, _g.SYNC_GROUP_RESPONSE),
    Api(15, "DescribeGroups", 0, 6, 5, groups.describe_groups, _g.DESCRIBE_GROUPS_REQUEST, _g.DESCRIBE_GROUPS_RESPONSE),
    Api(16, "ListGroups", 0, 5, 3, groups.list_groups, _g.LIST_GROUPS_REQUEST, _g.LIST_GROUPS_RESPONSE),
    Api(17, "SaslHandshake", 0, 1, NEVER, sasl.handshake, _c.SASL_HANDSHAKE_REQUEST, _c.SASL_HANDSHAKE_RESPONSE),
    Api(18, "ApiVersions", 0, 4, 3, _api_versions, _c.API_VERSIONS_REQUEST, _c.API_VERSIONS_RESPONSE),
    Api(19, "CreateTopics", 2, 7, 5, admin.create_topics, _t.CREATE_TOPICS_REQUEST, _t.CREATE_TOPICS_RESPONSE),
    Api(20, "DeleteTopics", 1, 6, 4, admin.delete_topics, _t.DELETE_TOPICS_REQUEST, _t.DELETE_TOPICS_RESPONSE),
    Api(21, "DeleteRecords", 0, 2, 2, admin.delete_records, _r.DELETE_RECORDS_REQUEST, _r.DELETE_RECORDS_RESPONSE),
    Api(22, "InitProducerId", 0, 5, 2, admin.init_producer_id, _r.INIT_PRODUCER_ID_REQUEST, _r.INIT_PRODUCER_ID_RESPONSE),
    Api(23, "OffsetForLeaderEpoch", 2, 4, 4, offsets.offset_for_leader_epoch, _r.OFFSET_FOR_LEADER_EPOCH_REQUEST, _r.OFFSET_FOR_LEADER_EPOCH_RESPONSE),
    Api(32, "DescribeConfigs", 1, 4, 4, configs.describe_configs, _t.DESCRIBE_CONFIGS_REQUEST, _t.DESCRIBE_CONFIGS_RESPONSE),
    Api(33, "AlterConfigs", 0, 2, 2, configs.alter_configs, _t.ALTER_CONFIGS_REQUEST, _t.ALTER_CONFIGS_RESPONSE),
    Api(35, "DescribeLogDirs", 1, 5, 2, placement.describe_log_dirs, _k.DESCRIBE_LOG_DIRS_REQUEST, _k.DESCRIBE_LOG_DIRS_RESPONSE),
    Api(36, "SaslAuthenticate", 0, 2, 2, sasl.authenticate, _c.SASL_AUTHENTICATE_REQUEST, _c.SASL_AUTHENTICATE_RESPONSE),
    Api(37, "CreatePartitions", 0, 3, 2, admin.create_partitions, _t.CREATE_PARTITIONS_REQUEST, _t.CREATE_PARTITIONS_RESPONSE),
    Api(42, "DeleteGroups", 0, 2, 2, groups.delete_groups, _g.DELETE_GROUPS_REQUEST, _g.DELETE_GROUPS_RESPONSE),
    Api(43, "ElectLeaders", 0, 2, 2, placement.elect_leaders, _k.ELECT_LEADERS_REQUEST, _k.ELECT_LEADERS_RESPONSE),
    Api(44, "IncrementalAlterConfigs", 0, 1, 1, configs.incremental_alter_configs, _t.INCREMENTAL_ALTER_CONFIGS_REQUEST, _t.INCREMENTAL_ALTER_CONFIGS_RESPONSE),
    Api(45, "AlterPartitionReassignments", 0, 1, 0, placement.alter_reassignments, _k.ALTER_REASSIGNMENTS_REQUEST, _k.ALTER_REASSIGNMENTS_RESPONSE),
    Api(46, "ListPartitionReassignments", 0, 0, 0, placement.list_reassignments, _k.LIST_REASSIGNMENTS_REQUEST, _k.LIST_REASSIGNMENTS_RESPONSE),
    Api(47, "OffsetDelete", 0, 0, NEVER, offsets.offset_delete, _g.OFFSET_DELETE_REQUEST, _g.OFFSET_DELETE_RESPONSE),
    Api(60, "DescribeCluster", 0, 2, 0, metadata.describe_cluster, _c.DESCRIBE_CLUSTER_REQUEST, _c.DESCRIBE_CLUSTER_RESPONSE),
    Api(68, "ConsumerGroupHeartbeat", 0, 1, 0, groups.consumer_group_heartbeat, _g.CONSUMER_GROUP_HEARTBEAT_REQUEST, _g.CONSUMER_GROUP_HEARTBEAT_RESPONSE),
    Api(69, "ConsumerGroupDescribe", 0, 1, 0, groups.consumer_group_describe, _g.CONSUMER_GROUP_DESCRIBE_REQUEST, _g.CONSUMER_GROUP_DESCRIBE_RESPONSE),
    Api(74, "ListConfigResources", 0, 1, 0, placement.list_config_resources, _k.LIST_CONFIG_RESOURCES_REQUEST, _k.LIST_CONFIG_RESOURCES_RESPONSE),
    Api(75, "DescribeTopicPartitions", 0, 0, 0, metadata.describe_partitions, _c.DESCRIBE_TOPIC_PARTITIONS_REQUEST, _c.DESCRIBE_TOPIC_PARTITIONS_RESPONSE),
)  # fmt: skip

APIS = {api.key: api for api in _ROWS}

API_VERSIONS = 18
PRODUCT_MAX = 128  # characters kept of what a client says its software is
SASL_AUTHENTICATE = 36
WITHOUT_LOGIN = frozenset({API_VERSIONS, 17, SASL_AUTHENTICATE})
"""What is answered before anybody is logged in."""
