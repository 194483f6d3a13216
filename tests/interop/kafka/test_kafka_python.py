"""kafka-python: everything that its producer, consumer and admin client do."""

from __future__ import annotations

import secrets
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from kafka_messages import DEADLINE_S, assorted, wait_until

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # it reads its schemas by a call that Python 3.11 deprecates
    from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
    from kafka.admin import NewTopic
    from kafka.errors import MessageSizeTooLargeError, TopicAlreadyExistsError
    from kafka.structs import OffsetAndMetadata

NewTopicName = Callable[..., str]


@contextmanager
def producing(bootstrap: str, **options: Any) -> Iterator[Any]:
    producer = KafkaProducer(bootstrap_servers=bootstrap, **({"enable_idempotence": False} | options))
    try:
        yield producer
    finally:
        producer.close(DEADLINE_S)


@contextmanager
def consuming(bootstrap: str, *topics: str, **options: Any) -> Iterator[Any]:
    options = {"auto_offset_reset": "earliest", "enable_auto_commit": False, "fetch_max_wait_ms": 100, "heartbeat_interval_ms": 300} | options
    consumer = KafkaConsumer(*topics, bootstrap_servers=bootstrap, **options)
    try:
        yield consumer
    finally:
        consumer.close()


def take(consumer: Any, count: int) -> list[Any]:
    taken: list[Any] = []

    def poll() -> None:
        for records in consumer.poll(timeout_ms=200, max_records=count - len(taken)).values():
            taken.extend(records)

    wait_until(lambda: len(taken) >= count, f"{count} records", poll=poll)
    return taken


@pytest.mark.parametrize("compression", [None, "gzip", "snappy", "lz4", "zstd"])
def test_every_field_comes_back(bootstrap: str, topic: NewTopicName, compression: str | None) -> None:
    name, sent = topic(), [one for one in assorted() if ("null", None) not in one.headers]  # which this client would not send
    with producing(bootstrap, compression_type=compression, linger_ms=20) as producer:
        futures = [producer.send(name, one.value, one.key, list(one.headers), 0, one.timestamp_ms) for one in sent]
        assert [future.get(DEADLINE_S).offset for future in futures] == list(range(len(sent)))
    with consuming(bootstrap, name) as consumer:
        records = take(consumer, len(sent))
    assert [(r.value, r.key, tuple(r.headers), r.timestamp) for r in records] == [(one.value, one.key, one.headers, one.timestamp_ms) for one in sent]


@pytest.mark.parametrize("options", [{"acks": 0}, {"acks": 1}, {"acks": "all"}, {"enable_idempotence": True}], ids=["0", "1", "all", "idempotent"])
def test_acks(bootstrap: str, topic: NewTopicName, options: dict[str, Any]) -> None:
    name = topic(2)
    with producing(bootstrap, linger_ms=5, **options) as producer:
        for number in range(500):
            producer.send(name, b"%d" % number, partition=number % 2)
        producer.flush(DEADLINE_S)
    with consuming(bootstrap, name) as consumer:
        records = take(consumer, 500)
    for partition in (0, 1):
        assert [int(r.value) for r in records if r.partition == partition] == list(range(partition, 500, 2))


def test_groups_rebalance_and_resume(bootstrap: str, topic: NewTopicName, group: str) -> None:
    name = topic(4)
    with producing(bootstrap) as producer:
        for number in range(40):
            producer.send(name, b"%d" % number, partition=number % 4)
    with consuming(bootstrap, name, group_id=group) as one:
        assert {int(r.value) for r in take(one, 40)} == set(range(40))
        one.commit()
        with consuming(bootstrap, name, group_id=group) as two:

            def poll() -> None:
                one.poll(timeout_ms=50)
                two.poll(timeout_ms=50)

            wait_until(lambda: len(one.assignment()) == len(two.assignment()) == 2, "a share for each", poll=poll)
            assert not one.assignment() & two.assignment()
        wait_until(lambda: len(one.assignment()) == 4, "all for the one that stays", poll=lambda: one.poll(timeout_ms=50))
        one.commit({TopicPartition(name, 2): OffsetAndMetadata(3, "three", -1)})
    with consuming(bootstrap, name, group_id=group) as three:
        assert [three.committed(TopicPartition(name, n)) for n in range(4)] == [10, 10, 3, 10]
        assert three.committed(TopicPartition(name, 2), metadata=True).metadata == "three"
        assert [(r.partition, r.offset) for r in take(three, 7)] == [(2, n) for n in range(3, 10)]


def test_positions_and_times(bootstrap: str, topic: NewTopicName) -> None:
    name = topic()
    part = TopicPartition(name, 0)
    start = 1_700_000_000_000
    with producing(bootstrap, linger_ms=10) as producer:
        for number in range(50):
            producer.send(name, b"%d" % number, timestamp_ms=start + number * 1000)
    with consuming(bootstrap) as consumer:
        consumer.assign([part])
        assert (consumer.beginning_offsets([part]), consumer.end_offsets([part])) == ({part: 0}, {part: 50})
        found = consumer.offsets_for_times({part: start + 20_500})
        assert (found[part].offset, found[part].timestamp) == (21, start + 21_000)
        assert consumer.offsets_for_times({part: start + 60_000}) == {part: None}
        consumer.seek(part, 33)
        assert take(consumer, 1)[0].value == b"33"
        consumer.seek_to_end(part)
        assert consumer.position(part) == 50
        consumer.seek_to_beginning(part)
        assert take(consumer, 1)[0].value == b"0"


def test_large_messages(bootstrap: str, topic: NewTopicName) -> None:
    name = topic(max_message_bytes=3 << 20)
    body = secrets.token_bytes(2 << 20)
    with producing(bootstrap, max_request_size=8 << 20) as producer:
        producer.send(name, body).get(DEADLINE_S)
        with pytest.raises(MessageSizeTooLargeError):
            producer.send(name, body * 2).get(DEADLINE_S)
    with consuming(bootstrap, name, max_partition_fetch_bytes=1000, fetch_max_bytes=1000) as consumer:
        assert take(consumer, 1)[0].value == body


def test_administration(bootstrap: str, group: str) -> None:
    name = f"interop.{secrets.token_hex(6)}"
    with closing(KafkaAdminClient(bootstrap_servers=bootstrap)) as client:
        client.create_topics([NewTopic(name, 2, 1)])
        with pytest.raises(TopicAlreadyExistsError):
            client.create_topics([NewTopic(name, 2, 1)])
        assert name in client.list_topics()
        (described,) = client.describe_topics([name])
        assert len(described["partitions"]) == 2
        client.create_partitions({name: 3})
        (described,) = client.describe_topics([name])
        assert len(described["partitions"]) == 3
        with producing(bootstrap) as producer:
            for _ in range(10):
                producer.send(name, b"x", partition=1).get(DEADLINE_S)
        client.delete_records({TopicPartition(name, 1): 4})
        with consuming(bootstrap, name, group_id=group) as consumer:
            assert [record.offset for record in take(consumer, 6)] == list(range(4, 10))
            consumer.commit()
            assert client.describe_groups([group])[group]["group_state"] == "Stable"
        offsets = client.list_group_offsets({group: None})[group]
        assert offsets[TopicPartition(name, 1)].offset == 10
        assert group in {each["group_id"] for each in client.list_groups()}
        client.delete_groups([group])
        assert group not in {each["group_id"] for each in client.list_groups()}
        assert client.describe_cluster()["cluster_id"]
        client.delete_topics([name])
        wait_until(lambda: name not in client.list_topics(), "its end")
