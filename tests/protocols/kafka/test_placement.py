"""What tools ask of a cluster, answered by a broker that is alone."""

from __future__ import annotations

import pytest
from kafka_bench import Client
from test_handlers import described, exchange

from entrepot.broker.calls import topic_requests as topics
from entrepot.model.errors import Reason, Refused


@pytest.fixture
def client() -> Client:
    return Client()


def missing() -> Refused:
    return Refused(Reason.NOT_FOUND, "no")


@pytest.mark.parametrize("version", range(3))
def test_leaders_need_no_election(client, version):
    values = {"election_type": 0, "topic_partitions": [{"topic": "t", "partitions": [0, 9]}, {"topic": "u", "partitions": [0]}], "timeout_ms": 1}
    asked, answer = exchange(client, "ElectLeaders", version, values, [described(), missing()])
    assert asked == [topics.DescribeTopics(names=["t", "u"])]
    found = [(row["topic"], [(part["partition_id"], part["error_code"]) for part in row["partition_result"]]) for row in answer["replica_election_results"]]
    assert found == [("t", [(0, 84), (9, 3)]), ("u", [(0, 3)])]


def test_leaders_of_every_topic(client):
    _, answer = exchange(client, "ElectLeaders", 2, {"election_type": 0, "topic_partitions": None, "timeout_ms": 1}, [described("b"), described("a", 1)])
    assert [(row["topic"], len(row["partition_result"])) for row in answer["replica_election_results"]] == [("a", 1), ("b", 2)]


@pytest.mark.parametrize("version", range(2))
def test_partitions_stay_where_they_are(client, version):
    node = client.session.settings.node_id
    parts = [{"partition_index": index, "replicas": replicas} for index, replicas in ((0, [node]), (1, [node, 7]), (0, None), (5, [node]))]
    values = {"timeout_ms": 1, "allow_replication_factor_change": True, "topics": [{"name": "t", "partitions": parts}]}
    _, answer = exchange(client, "AlterPartitionReassignments", version, values, [described()])
    assert [part["error_code"] for part in answer["responses"][0]["partitions"]] == [0, 39, 85, 3]
    _, answer = exchange(client, "ListPartitionReassignments", 0, {"timeout_ms": 1, "topics": None})
    assert answer["topics"] == []


@pytest.mark.parametrize("version", range(1, 6))
def test_partitions_and_their_sizes(client, version):
    topic = described()
    topic.sizes = [0, 4711]
    asked, answer = exchange(client, "DescribeLogDirs", version, {"topics": None}, [topic])
    assert asked == [topics.DescribeTopics(sizes=True)]
    (folder,) = answer["results"]
    assert [(part["partition_index"], part["partition_size"]) for part in folder["topics"][0]["partitions"]] == [(0, 0), (1, 4711)]
    _, answer = exchange(
        client, "DescribeLogDirs", version, {"topics": [{"topic": "t", "partitions": [1, 2]}, {"topic": "u", "partitions": [0]}]}, [topic, missing()]
    )
    assert [(found["name"], len(found["partitions"])) for found in answer["results"][0]["topics"]] == [("t", 1)]


def test_what_has_a_configuration(client):
    node = str(client.session.settings.node_id)
    _, answer = exchange(client, "ListConfigResources", 0, {})
    assert answer["config_resources"] == []
    _, answer = exchange(client, "ListConfigResources", 1, {"resource_types": []}, [described("b"), described("a")])
    assert [(row["resource_name"], row["resource_type"]) for row in answer["config_resources"]] == [("a", 2), ("b", 2), (node, 4)]
    _, answer = exchange(client, "ListConfigResources", 1, {"resource_types": [4]})
    assert [row["resource_name"] for row in answer["config_resources"]] == [node]


def test_the_brokers_configuration(client):
    node = str(client.session.settings.node_id)
    resources = [{"resource_type": 4, "resource_name": name, "configuration_keys": keys} for name, keys in ((node, None), (node, ["broker.id"]), ("77", None))]
    _, answer = exchange(client, "DescribeConfigs", 4, {"resources": resources, "include_synonyms": False, "include_documentation": False})
    found = [{config["name"]: (config["value"], config["read_only"]) for config in row["configs"]} for row in answer["results"]]
    assert found[0]["broker.id"] == (node, True)
    assert len(found[0]) > 1
    assert found[1] == {"broker.id": (node, True)}
    assert [row["error_code"] for row in answer["results"]] == [0, 0, 42]
