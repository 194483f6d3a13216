"""confluent-kafka (librdkafka): topics, their configuration and partitions, deleting records, what a cluster says of itself."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import pytest
from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)
from kafka_messages import DEADLINE_S, consumer, produce, read_all, take, wait_until

NewTopicName = Callable[..., str]


def code_of(future: object) -> int:
    """The code of the error that the request ends with."""
    with pytest.raises(KafkaException) as caught:
        future.result(DEADLINE_S)  # type: ignore[attr-defined]
    code: int = caught.value.args[0].code()
    return code


def configuration(admin: AdminClient, name: str) -> dict[str, ConfigEntry]:
    resource = ConfigResource(ResourceType.TOPIC, name)
    entries: dict[str, ConfigEntry] = admin.describe_configs([resource], request_timeout=DEADLINE_S)[resource].result(DEADLINE_S)
    return entries


def alter(admin: AdminClient, name: str, *changes: tuple[str, str | None, AlterConfigOpType]) -> object:
    entries = [ConfigEntry(key, value, incremental_operation=operation) for key, value, operation in changes]
    resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries)
    return admin.incremental_alter_configs([resource], request_timeout=DEADLINE_S)[resource]


def test_create_list_and_delete(admin: AdminClient) -> None:
    name = f"interop.{secrets.token_hex(6)}"
    future = admin.create_topics([NewTopic(name, 3, 1)], operation_timeout=DEADLINE_S)[name]
    future.result(DEADLINE_S)
    metadata = admin.list_topics(name, timeout=DEADLINE_S).topics[name]
    assert sorted(metadata.partitions) == [0, 1, 2]
    assert metadata.error is None
    assert code_of(admin.create_topics([NewTopic(name, 3, 1)])[name]) == KafkaError.TOPIC_ALREADY_EXISTS
    admin.delete_topics([name], operation_timeout=DEADLINE_S)[name].result(DEADLINE_S)
    wait_until(lambda: name not in admin.list_topics(timeout=DEADLINE_S).topics, "its end")
    assert code_of(admin.delete_topics([name])[name]) == KafkaError.UNKNOWN_TOPIC_OR_PART


def test_a_topic_made_again_is_another(admin: AdminClient, bootstrap: str, topic: NewTopicName) -> None:
    name = topic(2)
    produce(bootstrap, name, [b"old"] * 3, partition=0)
    first = admin.describe_topics(TopicCollection([name]), request_timeout=DEADLINE_S)[name].result(DEADLINE_S)
    admin.delete_topics([name], operation_timeout=DEADLINE_S)[name].result(DEADLINE_S)
    admin.create_topics([NewTopic(name, 2, 1)], operation_timeout=DEADLINE_S)[name].result(DEADLINE_S)
    second = admin.describe_topics(TopicCollection([name]), request_timeout=DEADLINE_S)[name].result(DEADLINE_S)
    assert first.topic_id != second.topic_id
    produce(bootstrap, name, [b"new"], partition=0)
    assert [message.value() for message in read_all(bootstrap, name, 1)] == [b"new"]


def test_defaults_checks_and_refusals(admin: AdminClient) -> None:
    name = f"interop.{secrets.token_hex(6)}"
    admin.create_topics([NewTopic(name, 2, 1)], validate_only=True)[name].result(DEADLINE_S)
    assert name not in admin.list_topics(timeout=DEADLINE_S).topics
    assert code_of(admin.create_topics([NewTopic(name, 0, 1)])[name]) == KafkaError.INVALID_PARTITIONS
    assert code_of(admin.create_topics([NewTopic(name, 1, 1, config={"no.such.key": "1"})])[name]) == KafkaError.INVALID_CONFIG
    assert code_of(admin.create_topics([NewTopic(name, 1, 1, config={"retention.ms": "soon"})])[name]) == KafkaError.INVALID_CONFIG
    for bad in ("a/b", "..", "x" * 250):
        assert code_of(admin.create_topics([NewTopic(bad, 1, 1)])[bad]) == KafkaError.TOPIC_EXCEPTION
    assert code_of(admin.create_topics([NewTopic(name, 1, 3)])[name]) == KafkaError.INVALID_REPLICATION_FACTOR
    admin.create_topics([NewTopic(name)], operation_timeout=DEADLINE_S)[name].result(DEADLINE_S)  # the broker's own number of partitions
    assert admin.list_topics(name, timeout=DEADLINE_S).topics[name].partitions
    admin.delete_topics([name])[name].result(DEADLINE_S)


def test_names_that_differ_in_dots_alone(admin: AdminClient, is_entrepot: bool) -> None:
    first = f"interop.{secrets.token_hex(6)}.a"
    second = first.replace(".", "_")
    for name, code in ((first, 0), (second, 0 if is_entrepot else KafkaError.TOPIC_EXCEPTION)):
        future = admin.create_topics([NewTopic(name, 1, 1)])[name]
        assert (code_of(future) if code else future.result(DEADLINE_S)) == (code or None)
    made = {first, second} if is_entrepot else {first}
    wait_until(lambda: made <= set(admin.list_topics(timeout=DEADLINE_S).topics), "the topics")
    for future in admin.delete_topics(list(made)).values():
        future.result(DEADLINE_S)


def test_configuration(admin: AdminClient, topic: NewTopicName) -> None:
    name = topic(retention_ms=3_600_000)
    entries = configuration(admin, name)
    assert entries["retention.ms"].value == "3600000"
    assert not entries["retention.ms"].is_default
    assert entries["message.timestamp.type"].value == "CreateTime"
    assert entries["message.timestamp.type"].is_default
    assert entries["cleanup.policy"].value == "delete"
    assert entries["compression.type"].value == "producer"
    assert {"retention.bytes", "max.message.bytes"} <= set(entries)
    set_, delete = AlterConfigOpType.SET, AlterConfigOpType.DELETE
    alter(admin, name, ("retention.ms", None, delete), ("max.message.bytes", "5000", set_)).result(DEADLINE_S)  # type: ignore[attr-defined]
    entries = configuration(admin, name)
    assert entries["retention.ms"].is_default
    assert entries["max.message.bytes"].value == "5000"
    assert code_of(alter(admin, name, ("no.such.key", "1", set_))) == KafkaError.INVALID_CONFIG
    assert code_of(alter(admin, name, ("max.message.bytes", "-5", set_))) == KafkaError.INVALID_CONFIG
    assert configuration(admin, name)["max.message.bytes"].value == "5000"
    missing = ConfigResource(ResourceType.TOPIC, f"interop.missing.{secrets.token_hex(6)}")
    assert code_of(admin.describe_configs([missing], request_timeout=DEADLINE_S)[missing]) == KafkaError.UNKNOWN_TOPIC_OR_PART


def test_more_partitions(admin: AdminClient, bootstrap: str, topic: NewTopicName) -> None:
    name = topic(2)
    admin.create_partitions([NewPartitions(name, 5)], validate_only=True)[name].result(DEADLINE_S)
    assert len(admin.list_topics(name, timeout=DEADLINE_S).topics[name].partitions) == 2
    admin.create_partitions([NewPartitions(name, 5)])[name].result(DEADLINE_S)
    assert len(admin.list_topics(name, timeout=DEADLINE_S).topics[name].partitions) == 5
    produce(bootstrap, name, [b"new"], partition=4)
    assert [message.value() for message in read_all(bootstrap, name, 1, [4])] == [b"new"]
    for count in (5, 3):
        assert code_of(admin.create_partitions([NewPartitions(name, count)])[name]) == KafkaError.INVALID_PARTITIONS


def test_delete_records(admin: AdminClient, bootstrap: str, topic: NewTopicName) -> None:
    name = topic()
    produce(bootstrap, name, [b"%d" % n for n in range(30)], batch_num_messages=10)
    part = TopicPartition(name, 0, 14)
    (future,) = admin.delete_records([part], request_timeout=DEADLINE_S).values()
    assert future.result(DEADLINE_S).low_watermark == 14
    with consumer(bootstrap) as one:
        assert one.get_watermark_offsets(TopicPartition(name, 0), timeout=DEADLINE_S) == (14, 30)
        one.assign([TopicPartition(name, 0, OFFSET_BEGINNING)])
        assert [message.value() for message in take(one, 16)] == [b"%d" % n for n in range(14, 30)]
    (future,) = admin.delete_records([TopicPartition(name, 0, 99)], request_timeout=DEADLINE_S).values()
    assert code_of(future) == KafkaError.OFFSET_OUT_OF_RANGE
    (future,) = admin.delete_records([TopicPartition(name, 0, -1)], request_timeout=DEADLINE_S).values()
    assert future.result(DEADLINE_S).low_watermark == 30


def test_the_cluster(admin: AdminClient, bootstrap: str, topic: NewTopicName, node_count: int) -> None:
    name = topic(2)
    cluster = admin.describe_cluster(request_timeout=DEADLINE_S).result(DEADLINE_S)
    assert cluster.cluster_id
    ids = {node.id for node in cluster.nodes}
    places = {f"{node.host}:{node.port}" for node in cluster.nodes}
    assert len(ids) == len(places) == len(cluster.nodes) == node_count
    assert node_count > 1 or places == {bootstrap}, "the address that a client is told is the one it connected to"
    assert cluster.controller.id == min(ids)
    described = admin.describe_topics(TopicCollection([name]), request_timeout=DEADLINE_S)[name].result(DEADLINE_S)
    assert (described.name, described.is_internal, [part.id for part in described.partitions]) == (name, False, [0, 1])
    assert ids >= {part.leader.id for part in described.partitions}
    assert [[replica.id for replica in part.isr] for part in described.partitions] == [[part.leader.id] for part in described.partitions]


def test_topics_with_many_partitions_are_made_and_removed(admin: AdminClient) -> None:
    names = [f"interop.{secrets.token_hex(6)}" for _ in range(20)]
    for future in admin.create_topics([NewTopic(name, 25, 1) for name in names], operation_timeout=DEADLINE_S).values():
        future.result(DEADLINE_S)
    topics = admin.list_topics(timeout=DEADLINE_S).topics
    assert {len(topics[name].partitions) for name in names} == {25}
    for future in admin.delete_topics(names, operation_timeout=DEADLINE_S).values():
        future.result(DEADLINE_S)
    wait_until(lambda: not set(names) & set(admin.list_topics(timeout=DEADLINE_S).topics), "the topics' end")
