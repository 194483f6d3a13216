"""Three whole brokers as Kafka's clients see them: any node says where everything is, and each answers for its own alone."""

from __future__ import annotations

import pytest
from kafka_bench import fetch
from kafka_cluster import NO_ID, NODE_ID, REACHED, KafkaCluster
from test_handlers import metadata

from entrepot.protocols.kafka.error_codes import ErrorCode

NOT_LEADER, NOT_COORDINATOR = int(ErrorCode.NOT_LEADER_OR_FOLLOWER), int(ErrorCode.NOT_COORDINATOR)
BROKERS = [(1, REACHED, 9101), (2, "far.example", 9102), (3, REACHED, 9103)]


@pytest.fixture
def cluster():
    return KafkaCluster()


@pytest.fixture
def clients(cluster):
    return cluster.clients()


def led_by(cluster, topic, number):
    """A partition that this node leads."""
    return next(index for index in range(12) if cluster.leader(topic, index) == number)


def nodes_of(answer, field):
    return [(broker[field], broker["host"], broker["port"]) for broker in answer["brokers"]]


# ---- finding things


def test_every_node_says_the_same_of_all(cluster, clients):
    assert clients[2].create("t", 12) == 0
    found = [[NODE_ID + cluster.leader("t", index) for index in range(12)]] * 3
    assert [client.leaders("t") for client in clients] == found
    assert set(found[0]) == {1, 2, 3}
    for client in clients:
        answer = client.metadata("t")
        assert (nodes_of(answer, "node_id"), answer["controller_id"]) == (BROKERS, 1)
        for part in answer["topics"][0]["partitions"]:
            assert part["replica_nodes"] == part["isr_nodes"] == [part["leader_id"]]
            assert part["leader_epoch"] == -1
        answer = client.call("DescribeCluster", 2, {"include_cluster_authorized_operations": False, "endpoint_type": 1, "include_fenced_brokers": False})
        assert (nodes_of(answer, "broker_id"), answer["controller_id"]) == (BROKERS, 1)
        answer = client.call(
            "DescribeTopicPartitions", 0, {"topics": [{"name": "t"}], "response_partition_limit": 5, "cursor": {"topic_name": "t", "partition_index": 3}}
        )
        assert [(part["partition_index"], part["leader_id"]) for part in answer["topics"][0]["partitions"]] == list(enumerate(found[0]))[3:8]


@pytest.mark.parametrize("version", range(14))
def test_leaders_in_every_version(cluster, clients, version):
    clients[0].create("t", 5)
    (topic,) = clients[1].metadata("t", version=version)["topics"]
    assert [part["leader_id"] for part in topic["partitions"]] == [NODE_ID + cluster.leader("t", index) for index in range(5)]
    assert [part["partition_index"] for part in topic["partitions"]] == list(range(5))


def test_a_topic_that_is_asked_for_at_any_node_is_made_and_answered_with_its_leaders(cluster, clients):
    for number, client in enumerate(clients):
        assert client.leaders(f"new{number}") == [NODE_ID + cluster.leader(f"new{number}", 0)]
    assert {name for process in cluster.processes for name in process.space.topics} == {"new0", "new1", "new2"}


def test_coordinators(cluster, clients):
    names = [cluster.group_of(number) for number in range(3)]
    for client in clients:
        assert client.find_coordinators(*names) == {name: (0, *broker) for name, broker in zip(names, BROKERS, strict=True)}
        answer = client.call("FindCoordinator", 3, {"key": names[1], "key_type": 0})
        assert (answer["node_id"], answer["host"], answer["port"]) == BROKERS[1]


# ---- partitions


def test_a_partition_is_written_and_read_at_its_leader_alone(cluster, clients):
    clients[1].create("t", 12)
    for index in range(12):
        leader = cluster.leader("t", index)
        for client in clients:
            if client.process.number == leader:
                assert client.produce("t", index, b"at its leader") == (0, 0)
                error, records = client.fetch("t", index)
                assert (error, b"at its leader" in records) == (0, True)
                assert client.list_offset("t", index) == (0, 1)
            else:
                assert client.produce("t", index, b"elsewhere") == (NOT_LEADER, -1)
                assert client.fetch("t", index) == (NOT_LEADER, b"")
                assert client.list_offset("t", index) == (NOT_LEADER, -1)
    for client in clients:
        assert client.produce("t", 12)[0] == client.fetch("t", 12)[0] == client.list_offset("t", 12)[0] == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def test_a_fetch_of_what_is_elsewhere_alone_is_answered_at_once(cluster, clients):
    clients[0].create("t", 12)
    index = led_by(cluster, "t", 1)
    clients[0].send(1, 12, fetch({"t": {index: 0}}))
    (row,) = clients[0].answer()["responses"][0]["partitions"]
    assert row["error_code"] == NOT_LEADER


def test_an_epoch_that_a_client_says_it_knows_is_passed_over(cluster, clients):
    """librdkafka says 0 where it was told none."""
    clients[0].create("t", 12)
    index = led_by(cluster, "t", 1)
    clients[1].produce("t", index)
    for epoch in (0, 99):
        (row,) = clients[1].call("Fetch", 12, fetch({"t": {index: 0}}, leader_epoch=epoch))["responses"][0]["partitions"]
        assert (row["error_code"], b"v" in row["records"]) == (0, True)
        part = {"partition_index": index, "current_leader_epoch": epoch, "timestamp": -1}
        values = {"replica_id": -1, "isolation_level": 0, "topics": [{"name": "t", "partitions": [part]}], "timeout_ms": 1000}
        (row,) = clients[1].call("ListOffsets", 10, values)["topics"][0]["partitions"]
        assert (row["error_code"], row["offset"]) == (0, 1)
        part = {"partition": index, "current_leader_epoch": epoch, "leader_epoch": 1}
        (row,) = clients[1].call("OffsetForLeaderEpoch", 4, {"replica_id": -1, "topics": [{"topic": "t", "partitions": [part]}]})["topics"][0]["partitions"]
        assert (row["error_code"], row["end_offset"]) == (0, 1)


def test_records_are_deleted_and_epochs_told_by_the_leader(cluster, clients):
    clients[0].create("t", 12)
    index = led_by(cluster, "t", 2)
    clients[2].produce("t", index, count=5)
    part = {"partition": index, "current_leader_epoch": -1, "leader_epoch": 1}
    epochs = {"replica_id": -1, "topics": [{"topic": "t", "partitions": [part]}]}
    deleting = {"topics": [{"name": "t", "partitions": [{"partition_index": index, "offset": 3}]}], "timeout_ms": 1000}
    for client in clients:
        (epoch,) = client.call("OffsetForLeaderEpoch", 4, epochs)["topics"][0]["partitions"]
        (deleted,) = client.call("DeleteRecords", 2, deleting)["topics"][0]["partitions"]
        if client is clients[2]:
            assert (epoch["error_code"], epoch["end_offset"], deleted["error_code"], deleted["low_watermark"]) == (0, 5, 0, 3)
        else:
            assert (epoch["error_code"], deleted["error_code"]) == (NOT_LEADER, NOT_LEADER)


def test_a_leader_that_starts_again_goes_on_and_knows_its_producers(cluster, clients):
    clients[0].create("t", 12)
    index = led_by(cluster, "t", 1)
    producer = clients[2].call("InitProducerId", 5, {"transactional_id": None, "transaction_timeout_ms": 0, "producer_id": -1, "producer_epoch": -1})
    who = producer["producer_id"], producer["producer_epoch"]
    assert clients[1].produce("t", index, producer=(*who, 0)) == (0, 0)
    cluster.restart(1)
    cluster.settle()
    again = cluster.client(1)
    assert again.produce("t", index, producer=(*who, 0)) == (0, 0)
    assert again.produce("t", index, producer=(*who, 1)) == (0, 1)
    assert again.fetch("t", index)[0] == 0
    assert cluster.client(0).leaders("t") == again.leaders("t")


def test_producers_have_ids_of_their_own_whichever_node_they_ask(clients):
    values = {"transactional_id": None, "transaction_timeout_ms": 0, "producer_id": -1, "producer_epoch": -1}
    found = [client.call("InitProducerId", 5, values) for client in clients for _ in range(3)]
    assert [answer["error_code"] for answer in found] == [0] * 9
    assert len({answer["producer_id"] for answer in found}) == 9


def test_each_node_tells_of_its_own_directory(cluster, clients):
    clients[0].create("t", 12)
    told = []
    for client in clients:
        (folder,) = client.call("DescribeLogDirs", 4, {"topics": None})["results"]
        told.append([part["partition_index"] for topic in folder["topics"] for part in topic["partitions"]])
    assert [{cluster.leader("t", index) for index in indexes} for indexes in told] == [{0}, {1}, {2}]
    assert sorted(index for indexes in told for index in indexes) == list(range(12))


# ---- topics


def test_topics_are_changed_at_any_node(cluster, clients):
    clients[2].create("t", 2)
    (row,) = clients[1].call("CreatePartitions", 3, {"topics": [{"name": "t", "count": 7, "assignments": None}], "timeout_ms": 1000, "validate_only": False})[
        "results"
    ]
    assert row["error_code"] == 0
    assert [len(client.leaders("t")) for client in clients] == [7, 7, 7]
    change = {"name": "retention.ms", "config_operation": 0, "value": "1234"}
    resource = {"resource_type": 2, "resource_name": "t", "configs": [change]}
    (row,) = clients[2].call("IncrementalAlterConfigs", 1, {"resources": [resource], "validate_only": False})["responses"]
    assert row["error_code"] == 0
    asked = {"resources": [{"resource_type": 2, "resource_name": "t", "configuration_keys": ["retention.ms"]}], "include_synonyms": False}
    for client in clients:
        (row,) = client.call("DescribeConfigs", 4, asked | {"include_documentation": False})["results"]
        assert [config["value"] for config in row["configs"]] == ["1234"]
    (row,) = clients[1].call("DeleteTopics", 6, {"topics": [{"name": "t", "topic_id": NO_ID}], "timeout_ms": 1000})["responses"]
    assert row["error_code"] == 0
    assert all("t" not in process.space.topics for process in cluster.processes)


def test_topics_of_very_many_partitions(cluster, clients):
    assert clients[1].create("t", 1000) == 0
    values = {"topics": [{"name": "t", "count": 1500, "assignments": None}], "timeout_ms": 1000, "validate_only": False}
    assert clients[2].call("CreatePartitions", 3, values)["results"][0]["error_code"] == 0
    cluster.run()
    leaders = clients[0].leaders("t")
    for process in cluster.processes:
        logs = {log.id for log in process.store.logs()}
        definition = process.space.topics["t"]
        assert [index for index, log_id in enumerate(definition.partitions) if log_id in logs] == [
            index for index, leader in enumerate(leaders) if leader == NODE_ID + process.number
        ]
    (row,) = clients[1].call("DeleteTopics", 6, {"topics": [{"name": "t", "topic_id": NO_ID}], "timeout_ms": 1000})["responses"]
    assert row["error_code"] == 0
    cluster.run()
    assert [list(process.store.logs()) for process in cluster.processes] == [[], [], []]


def test_partitions_are_assigned_to_where_they_are_and_nowhere_else(cluster, clients):
    clients[0].create("t", 4)
    right = [[leader] for leader in clients[0].leaders("t")]
    other = {"name": "t", "topic_id": NO_ID}
    clients[0].call("DeleteTopics", 6, {"topics": [other], "timeout_ms": 1000})
    wrong = [[leader % 3 + 1] for (leader,) in right]
    refused = int(ErrorCode.INVALID_REPLICA_ASSIGNMENT)
    assert [clients[1].create("t", 4, assigned) for assigned in (wrong, [[1, 2, 3]] * 4, [[9]] * 4, right)] == [refused, refused, refused, 0]
    parts = [{"partition_index": index, "replicas": replicas} for index, replicas in ((0, right[0]), (1, wrong[1]))]
    values = {"timeout_ms": 1000, "allow_replication_factor_change": True, "topics": [{"name": "t", "partitions": parts}]}
    answer = clients[2].call("AlterPartitionReassignments", 1, values)
    assert [part["error_code"] for part in answer["responses"][0]["partitions"]] == [0, refused]


def test_brokers_have_a_configuration_each(clients):
    for number, client in enumerate(clients):
        resources = [{"resource_type": 4, "resource_name": name, "configuration_keys": ["broker.id"]} for name in ("1", "2", "3", "", "4")]
        rows = client.call("DescribeConfigs", 4, {"resources": resources, "include_synonyms": False, "include_documentation": False})["results"]
        assert [config["value"] for row in rows for config in row["configs"]] == ["1", "2", "3", str(NODE_ID + number)]
        assert rows[-1]["error_code"] == ErrorCode.INVALID_REQUEST
        found = client.call("ListConfigResources", 1, {"resource_types": [4]})["config_resources"]
        assert [row["resource_name"] for row in found] == ["1", "2", "3"]


# ---- groups


def in_a_group(client, group):
    """A member of it."""
    first = client.join(group)
    assert first["error_code"] == ErrorCode.MEMBER_ID_REQUIRED
    joined = client.join(group, first["member_id"])
    assert joined["error_code"] == 0
    member, generation = joined["member_id"], joined["generation_id"]
    values = {
        "group_id": group,
        "generation_id": generation,
        "member_id": member,
        "group_instance_id": None,
        "protocol_type": "consumer",
        "protocol_name": "range",
    }
    synced = client.call("SyncGroup", 5, values | {"assignments": [{"member_id": member, "assignment": b"mine"}]})
    assert (synced["error_code"], synced["assignment"]) == (0, b"mine")
    return member, generation


def test_a_group_is_at_its_coordinator_alone(cluster, clients):
    clients[0].create("t", 3)
    group = cluster.group_of(1)
    there = clients[1]
    member, generation = in_a_group(there, group)
    beat = {"group_id": group, "generation_id": generation, "member_id": member, "group_instance_id": None}
    assert there.call("Heartbeat", 4, beat)["error_code"] == 0
    assert there.commit(group, "t", 0, 5, member, generation) == 0
    assert there.committed("t", 0, group) == [(0, [5])]
    for client in (clients[0], clients[2]):
        assert client.join(group)["error_code"] == NOT_COORDINATOR
        assert client.join(group, member)["error_code"] == NOT_COORDINATOR
        assert client.call("Heartbeat", 4, beat)["error_code"] == NOT_COORDINATOR
        sync = beat | {"protocol_type": "consumer", "protocol_name": "range", "assignments": []}
        assert client.call("SyncGroup", 5, sync)["error_code"] == NOT_COORDINATOR
        leaving = {"group_id": group, "members": [{"member_id": member, "group_instance_id": None, "reason": None}]}
        assert client.call("LeaveGroup", 5, leaving)["error_code"] == NOT_COORDINATOR
        assert client.commit(group, "t", 0, 7, member, generation) == NOT_COORDINATOR
        assert client.commit(group, "t", 0, 7) == NOT_COORDINATOR
        assert client.committed("t", 0, group) == [(NOT_COORDINATOR, [])]
        found = client.call("DescribeGroups", 5, {"groups": [group], "include_authorized_operations": True})["groups"]
        assert [row["error_code"] for row in found] == [NOT_COORDINATOR]
        asked = {"group_ids": [group], "include_authorized_operations": False}
        assert [row["error_code"] for row in client.call("ConsumerGroupDescribe", 1, asked)["groups"]] == [NOT_COORDINATOR]
        assert [row["error_code"] for row in client.call("DeleteGroups", 2, {"groups_names": [group]})["results"]] == [NOT_COORDINATOR]
        deleting = {"group_id": group, "topics": [{"name": "t", "partitions": [{"partition_index": 0}]}]}
        assert client.call("OffsetDelete", 0, deleting)["error_code"] == NOT_COORDINATOR
    assert there.call("Heartbeat", 4, beat)["error_code"] == 0
    assert there.committed("t", 0, group) == [(0, [5])]
    assert [process.broker.groups.places() for process in (cluster.processes[0], cluster.processes[2])] == [[], []]


def test_consumers_whose_coordinator_assigns(cluster, clients):
    clients[0].create("t", 3)
    group = cluster.group_of(2)
    values = {
        "group_id": group,
        "member_id": "m",
        "member_epoch": 0,
        "instance_id": None,
        "rack_id": None,
        "rebalance_timeout_ms": 5000,
        "subscribed_topic_names": ["t"],
        "subscribed_topic_regex": None,
        "server_assignor": None,
        "topic_partitions": [],
    }
    assert [client.call("ConsumerGroupHeartbeat", 1, values)["error_code"] for client in clients[:2]] == [NOT_COORDINATOR] * 2
    answer = clients[2].call("ConsumerGroupHeartbeat", 1, values)
    assert (answer["error_code"], [part["partitions"] for part in answer["assignment"]["topic_partitions"]]) == (0, [[0, 1, 2]])


def test_each_node_lists_its_groups(cluster, clients):
    clients[0].create("t", 1)
    names = [cluster.group_of(number) for number in range(3)]
    for name, client in zip(names, clients, strict=True):
        assert client.commit(name, "t", 0, 1) == 0
    listed = [[row["group_id"] for row in client.call("ListGroups", 5, {"states_filter": [], "types_filter": []})["groups"]] for client in clients]
    assert listed == [[name] for name in names]
    codes = [[error for error, _ in client.committed("t", 0, *names)] for client in clients]
    assert codes == [[0 if there == here else NOT_COORDINATOR for there in range(3)] for here in range(3)]


def test_a_topic_that_is_deleted_takes_its_offsets_with_it_at_every_coordinator(cluster, clients):
    clients[0].create("t", 1)
    names = [cluster.group_of(number) for number in range(3)]
    for name, client in zip(names, clients, strict=True):
        client.commit(name, "t", 0, 3)
    clients[1].call("DeleteTopics", 6, {"topics": [{"name": "t", "topic_id": NO_ID}], "timeout_ms": 1000})
    clients[1].create("t", 1)
    for name, client in zip(names, clients, strict=True):
        assert client.committed("t", 0, name) == [(0, [-1])]


def test_a_coordinator_that_starts_again_has_what_was_committed(cluster, clients):
    clients[0].create("t", 1)
    group = cluster.group_of(1)
    clients[1].commit(group, "t", 0, 5)
    cluster.restart(1)
    cluster.settle()
    assert cluster.client(1).committed("t", 0, group) == [(0, [5])]
    assert cluster.client(0).committed("t", 0, group) == [(NOT_COORDINATOR, [])]


# ---- what is this node's, and not open yet


def test_what_is_about_to_open_is_to_be_tried_again_here(cluster, clients):
    clients[0].create("t", 12)
    group, index = cluster.group_of(1), led_by(cluster, "t", 1)
    moves, broker = cluster.processes[1].broker.shard_moves, cluster.processes[1].broker
    shards = {broker.desk.shard("public/default", group), broker.shards.shard("topic", "public/default", "t", index)}
    for shard in shards:
        moves.close(shard, lambda: None)
    assert clients[1].join(group)["error_code"] == ErrorCode.COORDINATOR_NOT_AVAILABLE
    assert clients[1].find_coordinators(group) == {group: (0, *BROKERS[1])}
    assert clients[1].produce("t", index) == (NOT_LEADER, -1)
    assert clients[1].leaders("t")[index] == 2
    for shard in shards:
        moves.open(shard, cluster.processes[1].store.epoch, lambda: None)
    cluster.run()
    in_a_group(clients[1], group)
    assert clients[1].produce("t", index) == (0, 0)


def test_while_nobody_decides_it_is_told_that_the_controller_is_another(cluster, clients):
    cluster.wires[0, 1].break_off()
    cluster.loop.run_until(lambda: not cluster.processes[1].following._lease.may_answer, 30)
    assert clients[1].create("t", 1) == ErrorCode.NOT_CONTROLLER
    cluster.settle()
    assert clients[1].create("t", 1) == 0


def test_while_nobody_is_sure_of_the_catalogue_no_topic_is_told_to_be_gone(cluster, clients):
    """Who subscribes to a pattern asks for all of them, and has no field for an error."""
    clients[1].create("t", 3)
    cluster.wires[0, 1].break_off()
    cluster.loop.run_until(lambda: not cluster.processes[1].following._lease.may_answer, 30)
    assert [topic["name"] for topic in clients[1].call("Metadata", 12, metadata(None))["topics"]] == ["t"]
    assert [topic["error_code"] for topic in clients[1].metadata("t", "u")["topics"]] == [ErrorCode.LEADER_NOT_AVAILABLE] * 2
    assert {clients[1].produce("t", index)[0] for index in range(3)} == {NOT_LEADER}


# ---- clients that know nothing beforehand


def test_clients_find_their_way_from_any_node(cluster, clients):
    """A client that knows one node: it goes where it is told, and looks again when it is told that it is wrong."""
    clients[0].create("t", 12)
    for first in clients:
        known = dict(enumerate(first.leaders("t")))
        for index in range(12):
            error, base = clients[known[index] - NODE_ID].produce("t", index, b"from anywhere")
            assert (error, base) == (0, clients.index(first))
        (node,) = {node for _, node, _, _ in first.find_coordinators("g").values()}
        assert clients[node - NODE_ID].commit("g", "t", 0, clients.index(first)) == 0
    node = cluster.coordinator("g")
    assert clients[node].committed("t", 0, "g") == [(0, [2])]
