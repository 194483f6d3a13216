"""confluent-kafka (librdkafka): what is produced is what is consumed."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

import pytest
from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    TIMESTAMP_CREATE_TIME,
    TIMESTAMP_LOG_APPEND_TIME,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from kafka_messages import DEADLINE_S, Sent, assorted, consumer, nothing_more, produce, read_all, take, wait_until

NewTopicName = Callable[..., str]


@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_every_field_comes_back(bootstrap: str, topic: NewTopicName, compression: str) -> None:
    name = topic()
    sent = assorted()
    reports = produce(bootstrap, name, sent, compression_type=compression)
    assert [message.offset() for message in reports] == list(range(len(sent)))
    messages = read_all(bootstrap, name, len(sent))
    assert [Sent.of(message) for message in messages] == sent
    assert [message.offset() for message in messages] == list(range(len(sent)))
    assert {message.timestamp()[0] for message in messages} == {TIMESTAMP_CREATE_TIME}


@pytest.mark.parametrize("acks", ["0", "1", "all"])
def test_acks(bootstrap: str, topic: NewTopicName, acks: str) -> None:
    name = topic()
    produce(bootstrap, name, [b"%d" % n for n in range(200)], acks=acks)
    assert [message.value() for message in read_all(bootstrap, name, 200)] == [b"%d" % n for n in range(200)]


def test_an_idempotent_producer(bootstrap: str, topic: NewTopicName) -> None:
    name = topic(3)
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 1, "batch.num.messages": 50})
    offsets: dict[int, list[int]] = {0: [], 1: [], 2: []}
    for number in range(3000):
        producer.produce(name, b"%d" % number, partition=number % 3, on_delivery=lambda error, message: offsets[message.partition()].append(message.offset()))
    assert producer.flush(DEADLINE_S) == 0
    assert offsets == {partition: list(range(1000)) for partition in range(3)}
    messages = read_all(bootstrap, name, 3000, range(3))
    for partition in range(3):
        assert [int(message.value() or b"") for message in messages if message.partition() == partition] == list(range(partition, 3000, 3))


def test_a_transactional_producer_is_told_at_once(bootstrap: str, is_entrepot: bool) -> None:
    """It ends on its first request, where one that is told UNSUPPORTED_VERSION would ask for ever."""
    if not is_entrepot:
        pytest.skip("has transactions")
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": "interop"})
    with pytest.raises(KafkaException) as raised:
        producer.init_transactions(DEADLINE_S)
    error = raised.value.args[0]
    assert (error.code(), error.fatal(), error.retriable()) == (KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, True, False)


def test_batches_interleave_over_partitions_and_producers(bootstrap: str, topic: NewTopicName) -> None:
    name = topic(4)
    producers = [Producer({"bootstrap.servers": bootstrap, "linger.ms": 0}) for _ in range(4)]
    for number in range(400):
        for who, producer in enumerate(producers):
            producer.produce(name, b"%d:%d" % (who, number), partition=number % 4)
    assert [producer.flush(DEADLINE_S) for producer in producers] == [0] * 4
    messages = read_all(bootstrap, name, 1600, range(4))
    for who in range(4):
        for partition in range(4):
            mine = [int((m.value() or b"").split(b":")[1]) for m in messages if m.partition() == partition and (m.value() or b"").startswith(b"%d:" % who)]
            assert mine == list(range(partition, 400, 4))


def test_timestamps_of_the_append(bootstrap: str, topic: NewTopicName) -> None:
    name = topic(message_timestamp_type="LogAppendTime")
    before = time.time() * 1000
    produce(bootstrap, name, [Sent(b"old", timestamp_ms=1_000_000)] * 3)
    produce(bootstrap, name, [Sent(b"old", timestamp_ms=1_000_000)] * 3, compression_type="lz4")
    for message in read_all(bootstrap, name, 6):
        kind, when = message.timestamp()
        assert kind == TIMESTAMP_LOG_APPEND_TIME
        assert before - 1000 <= when <= time.time() * 1000 + 1000


def test_a_large_message(bootstrap: str, topic: NewTopicName) -> None:
    name = topic(max_message_bytes=8 << 20)
    body = secrets.token_bytes(5 << 20)
    produce(bootstrap, name, [b"before", body, b"after"], message_max_bytes=8 << 20)
    # a first batch comes whole, however little is asked for
    messages = read_all(bootstrap, name, 3, fetch_max_bytes=100_000, message_max_bytes=100_000, max_partition_fetch_bytes=1000)
    assert [message.value() for message in messages] == [b"before", body, b"after"]


def test_a_message_that_is_too_large_is_refused(bootstrap: str, topic: NewTopicName) -> None:
    name = topic(max_message_bytes=2000)
    with pytest.raises(KafkaException) as caught:
        produce(bootstrap, name, [secrets.token_bytes(3000)])
    assert caught.value.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE
    produce(bootstrap, name, [b"small"])
    assert [message.value() for message in read_all(bootstrap, name, 1)] == [b"small"]


def test_many_partitions(bootstrap: str, topic: NewTopicName) -> None:
    name = topic(300)
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20})
    for round_ in range(3):
        for partition in range(300):
            producer.produce(name, b"%d" % round_, partition=partition)
    assert producer.flush(DEADLINE_S) == 0
    messages = read_all(bootstrap, name, 900, range(300))
    seen: dict[int, list[bytes | None]] = {}
    for message in messages:
        seen.setdefault(message.partition(), []).append(message.value())
    assert seen == {partition: [b"0", b"1", b"2"] for partition in range(300)}


def test_keys_choose_partitions(bootstrap: str, topic: NewTopicName) -> None:
    name = topic(8)
    produce(bootstrap, name, [Sent(b"%d" % n, b"key-%d" % (n % 20)) for n in range(400)])
    where: dict[bytes, set[int]] = {}
    for message in read_all(bootstrap, name, 400, range(8)):
        where.setdefault(message.key() or b"", set()).add(message.partition())
    assert len(where) == 20
    assert {len(partitions) for partitions in where.values()} == {1}


def test_seek_and_watermarks(bootstrap: str, topic: NewTopicName) -> None:
    name = topic()
    produce(bootstrap, name, [b"%d" % n for n in range(100)], batch_num_messages=7)
    with consumer(bootstrap) as one:
        one.assign([TopicPartition(name, 0, 42)])  # in the middle of a batch
        assert [message.value() for message in take(one, 3)] == [b"42", b"43", b"44"]
        assert one.get_watermark_offsets(TopicPartition(name, 0), timeout=DEADLINE_S) == (0, 100)
        for where, first in ((OFFSET_BEGINNING, b"0"), (99, b"99"), (7, b"7")):
            one.seek(TopicPartition(name, 0, where))
            assert take(one, 1)[0].value() == first
        one.seek(TopicPartition(name, 0, OFFSET_END))
        wait_until(lambda: one.position([TopicPartition(name, 0)])[0].offset in (-1001, 100), poll=lambda: one.poll(0.05))
        assert nothing_more(one)
        produce(bootstrap, name, [b"new"])
        assert take(one, 1)[0].value() == b"new"


def test_offsets_by_time(bootstrap: str, topic: NewTopicName) -> None:
    name = topic(2)
    start = 1_700_000_000_000
    produce(bootstrap, name, [Sent(b"%d" % n, timestamp_ms=start + n * 1000) for n in range(100)], partition=0, batch_num_messages=9)
    with consumer(bootstrap) as one:
        asked = {0: 0, start: 0, start + 50_000: 50, start + 50_001: 51, start + 99_000: 99}
        for when, offset in asked.items():
            assert one.offsets_for_times([TopicPartition(name, 0, when)], timeout=DEADLINE_S)[0].offset == offset
        late, empty = (one.offsets_for_times([TopicPartition(name, partition, start + 99_001)], timeout=DEADLINE_S)[0].offset for partition in (0, 1))
        assert (late, empty) == (OFFSET_END, OFFSET_END)


def test_out_of_range(bootstrap: str, topic: NewTopicName) -> None:
    name = topic()
    produce(bootstrap, name, [b"0", b"1"])
    with consumer(bootstrap, auto_offset_reset="error") as one:
        one.assign([TopicPartition(name, 0, 77)])
        with pytest.raises(KafkaException) as caught:
            take(one, 1)
    assert caught.value.args[0].code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE)
    with consumer(bootstrap) as one:
        one.assign([TopicPartition(name, 0, 77)])
        assert take(one, 2)[0].value() == b"0"


def test_the_end_is_reported(bootstrap: str, topic: NewTopicName) -> None:
    name = topic()
    produce(bootstrap, name, [b"0", b"1"])
    with consumer(bootstrap, enable_partition_eof=True) as one:
        one.assign([TopicPartition(name, 0, OFFSET_BEGINNING)])
        messages = take(one, 2)
        assert [message.offset() for message in messages] == [0, 1]
        wait_until(lambda: (end := one.poll(0.5)) is not None and end.error().code() == KafkaError._PARTITION_EOF, "the end")


def test_a_waiting_fetch_answers_when_something_comes(bootstrap: str, topic: NewTopicName) -> None:
    name = topic()
    with consumer(bootstrap, fetch_wait_max_ms=55_000, fetch_min_bytes=1) as one:  # longer than take() waits
        one.assign([TopicPartition(name, 0, OFFSET_BEGINNING)])
        assert nothing_more(one, 0.5)  # its fetch waits now
        produce(bootstrap, name, [b"now"])
        assert take(one, 1)[0].value() == b"now"


def test_pause_and_resume(bootstrap: str, topic: NewTopicName) -> None:
    name = topic(2)
    with consumer(bootstrap) as one:
        both = [TopicPartition(name, partition, OFFSET_BEGINNING) for partition in (0, 1)]
        one.assign(both)
        one.pause(both[:1])
        for partition in (0, 1):
            produce(bootstrap, name, [b"%d" % partition] * 5, partition=partition)
        assert {message.value() for message in take(one, 5)} == {b"1"}
        assert nothing_more(one)
        one.resume(both[:1])
        assert {message.value() for message in take(one, 5)} == {b"0"}


def test_a_missing_topic_is_made_on_demand(bootstrap: str, admin: AdminClient) -> None:
    name = f"interop.auto.{secrets.token_hex(6)}"
    try:
        produce(bootstrap, name, [b"first"])
        assert name in admin.list_topics(timeout=DEADLINE_S).topics
        count = len(admin.list_topics(name, timeout=DEADLINE_S).topics[name].partitions)
        assert [message.value() for message in read_all(bootstrap, name, 1, range(count))] == [b"first"]
    finally:
        admin.delete_topics([name])[name].exception(DEADLINE_S)


def test_a_missing_topic_is_an_error_where_it_must_not_be_made(bootstrap: str) -> None:
    with consumer(bootstrap, allow_auto_create_topics=False) as one:
        one.subscribe([f"interop.missing.{secrets.token_hex(6)}"])
        with pytest.raises(KafkaException) as caught:
            take(one, 1)
    assert caught.value.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART


def test_a_missing_partition_is_an_error(bootstrap: str, topic: NewTopicName) -> None:
    with pytest.raises(KafkaException) as caught:
        produce(bootstrap, topic(), [b"lost"], partition=9)
    assert caught.value.args[0].code() in (KafkaError._UNKNOWN_PARTITION, KafkaError.UNKNOWN_TOPIC_OR_PART)


def test_retention_by_size_moves_the_beginning(bootstrap: str, topic: NewTopicName, is_entrepot: bool) -> None:
    if not is_entrepot:
        pytest.skip("Kafka looks every five minutes only")
    name = topic(retention_bytes=200_000, segment_bytes=1 << 20)
    for _ in range(30):
        produce(bootstrap, name, [secrets.token_bytes(50_000)] * 2)
    with consumer(bootstrap) as one:
        wait_until(lambda: one.get_watermark_offsets(TopicPartition(name, 0), timeout=DEADLINE_S)[0] > 0, "a beginning above 0")
        low, high = one.get_watermark_offsets(TopicPartition(name, 0), timeout=DEADLINE_S)
        assert high == 60
        one.assign([TopicPartition(name, 0, OFFSET_BEGINNING)])
        assert take(one, 1)[0].offset() >= low
