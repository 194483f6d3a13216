"""Idempotent Kafka producers, a consumer and a committing group that go on over a broker's crashes, and what they know of what they were told.

librdkafka sends again what was not answered, with the same producer id and sequence numbers: a broker that keeps what it acknowledged, and
knows a batch again, ends with every record once, in order, whatever happened in between.
"""

from __future__ import annotations

import random
import struct
import threading
import time
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

TOPIC = "crashed"
GROUP = "crashed"
PARTITIONS = 3
COMPRESSIONS = ("none", "lz4", "zstd", "gzip", "snappy")
DEADLINE_S = 120.0
_NUMBERS = struct.Struct(">HHQ")  # producer, partition, number within both
_OUTSTANDING = 2000  # records of one producer without an answer


class Numbered:
    """One idempotent producer that numbers its records in each partition, from a thread of its own."""

    def __init__(self, bootstrap: str, number: int) -> None:
        self.number = number
        self.sent = dict.fromkeys(range(PARTITIONS), 0)
        self.acknowledged: dict[tuple[int, int], int] = {}  # partition, number -> offset
        self.failures: list[str] = []
        self.waits: list[tuple[float, float, int]] = []  # of a record in a while: when it was answered, after how long, in which partition
        self._asked: dict[tuple[int, int], float] = {}
        self._dice = random.Random(number)
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "compression.type": COMPRESSIONS[number % len(COMPRESSIONS)],
                "linger.ms": number % 3,
                "message.timeout.ms": 0,  # never given up
                "reconnect.backoff.ms": 20,
                "reconnect.backoff.max.ms": 100,
                "retry.backoff.ms": 20,
                "socket.timeout.ms": 10_000,
                "log_level": 0,
            }
        )
        self.ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self.ended.is_set():
            for _ in range(self._dice.choice((1, 20, 300))):
                self._send(self._dice.randrange(PARTITIONS))
            self._producer.poll(0)
            while len(self._producer) > _OUTSTANDING and not self.ended.is_set():
                self._producer.poll(0.05)
            self.ended.wait(0.005)

    def _send(self, partition: int) -> None:
        number = self.sent[partition]
        self.sent[partition] += 1
        value = _NUMBERS.pack(self.number, partition, number) + bytes(self._dice.choice((0, 50, 400)))
        if number % 20 == 0:
            self._asked[partition, number] = time.monotonic()
        self._producer.produce(TOPIC, value, partition=partition, on_delivery=self._answered)

    def _answered(self, error: Any, message: Message) -> None:
        if error is not None:
            self.failures.append(str(error))
            return
        _, partition, number = _NUMBERS.unpack_from(message.value() or b"")
        self.acknowledged[partition, number] = message.offset() or 0
        asked = self._asked.pop((partition, number), None)
        if asked is not None:
            now = time.monotonic()
            self.waits.append((now, now - asked, partition))

    def end(self) -> None:
        """Send no more, and hear of everything that was sent."""
        self.ended.set()
        self._thread.join()
        left = self._producer.flush(DEADLINE_S)
        assert not left, f"producer {self.number}: {left} records are not answered within {DEADLINE_S} s"
        assert not self.failures, self.failures[:3]


class Committer:
    """Commits ever larger offsets of a group from outside; what it was told is kept must be there after a crash."""

    def __init__(self, bootstrap: str) -> None:
        self._consumer = Consumer(
            {"bootstrap.servers": bootstrap, "group.id": GROUP, "enable.auto.commit": False, "reconnect.backoff.max.ms": 100, "log_level": 0}
        )
        self.tried = 0
        self.told = 0  # the last commit that was acknowledged
        self.ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self.ended.wait(0.003):
            self.tried += 1
            try:
                self._consumer.commit(offsets=[TopicPartition(TOPIC, 0, self.tried)], asynchronous=False)
            except KafkaException:
                continue  # the broker is down: perhaps kept, perhaps not
            self.told = self.tried

    def end(self) -> None:
        self.ended.set()
        self._thread.join()
        (kept,) = self._consumer.committed([TopicPartition(TOPIC, 0)], timeout=DEADLINE_S)
        assert self.told <= kept.offset <= self.tried, f"committed offset {kept.offset}: {self.told} was acknowledged, {self.tried} tried"
        self._consumer.close()


class KafkaSide:
    """Everything of Kafka's protocol that runs beside the crashes; `stop()` checks it all."""

    def __init__(self, bootstrap: str, producers: int = 3) -> None:
        self._bootstrap = bootstrap
        admin = AdminClient({"bootstrap.servers": bootstrap})
        admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1)])[TOPIC].result(DEADLINE_S)
        self.producers = [Numbered(bootstrap, number) for number in range(producers)]
        self.committer = Committer(bootstrap)

    @property
    def acknowledged_count(self) -> int:
        """Records so far."""
        return sum(len(producer.acknowledged) for producer in self.producers)

    def longest_wait_since(self, begun: float) -> float:
        """Of records that were acknowledged since then."""
        return max((waited for producer in self.producers for at, waited, _ in producer.waits if at >= begun), default=0.0)

    def wait(self, more: int) -> None:
        """Until so many more are acknowledged."""
        wanted, give_up = self.acknowledged_count + more, time.monotonic() + DEADLINE_S
        while self.acknowledged_count < wanted:
            assert time.monotonic() < give_up, f"{wanted - self.acknowledged_count} of {more} records are not acknowledged within {DEADLINE_S} s"
            time.sleep(0.01)

    def stop(self) -> None:
        """Every record is there once, in order, where its acknowledgement said; what was committed is."""
        for producer in self.producers:
            producer.end()
        self.committer.end()
        sent = sum(sum(producer.sent.values()) for producer in self.producers)
        seen: dict[tuple[int, int], int] = {}
        count = 0
        reader = Consumer({"bootstrap.servers": self._bootstrap, "group.id": "reader", "enable.auto.commit": False, "log_level": 0})
        reader.assign([TopicPartition(TOPIC, partition, OFFSET_BEGINNING) for partition in range(PARTITIONS)])
        offsets = dict.fromkeys(range(PARTITIONS), 0)
        give_up = time.monotonic() + DEADLINE_S
        while count < sent:
            messages = reader.consume(5000, timeout=0.3)  # it waits so long for all of the 5000
            assert time.monotonic() < give_up, f"{sent - count} of {sent} records are not there"
            for message in messages:
                assert message.error() is None, message.error()
                self._check(message, seen, offsets)
            count += len(messages)
        assert reader.poll(0.5) is None, "there is more than was sent"
        reader.close()

    def _check(self, message: Message, seen: dict[tuple[int, int], int], offsets: dict[int, int]) -> None:
        who, partition, number = _NUMBERS.unpack_from(message.value() or b"")
        assert partition == message.partition()
        expected = seen.get((who, partition), 0)
        assert number == expected, f"producer {who}, partition {partition}: record {number} where {expected} belongs, at offset {message.offset()}"
        seen[who, partition] = number + 1
        assert message.offset() == offsets[partition], f"partition {partition}: offset {message.offset()} after {offsets[partition] - 1}"
        offsets[partition] += 1
        told = self.producers[who].acknowledged[partition, number]
        # a batch sent again after a restart may be known only as one that is there: librdkafka then tells no offset
        assert told in (message.offset(), -1001), f"producer {who}, partition {partition}, record {number} lies at {message.offset()}, {told} was acknowledged"
