"""What the tests with librdkafka share: topics, producing a list, consuming a number, waiting."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

DEADLINE_S = float(os.environ.get("ENTREPOT_TEST_DEADLINE_S", "30"))  # how long anything is waited for

Headers = list[tuple[str, bytes | None]]


@dataclass(frozen=True)
class Sent:
    """One record as a client hands it over, and as another gets it back."""

    value: bytes | None
    key: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    timestamp_ms: int = 0

    @classmethod
    def of(cls, message: Message) -> Sent:
        return cls(message.value(), message.key(), tuple(message.headers() or ()), message.timestamp()[1])


def assorted(count: int = 60) -> list[Sent]:
    """Records with every kind of key, value and headers there is; with neither key nor value none, some clients would not send it."""
    keys = (None, b"", b"key", b"\x00\xff", "schlüssel".encode())
    values = (b"value", b"", None, b"x" * 2000, bytes(range(256)))
    headers: tuple[tuple[tuple[str, bytes | None], ...], ...] = (
        (),
        (("a", b"1"),),
        (("a", b"1"), ("a", b"2"), ("empty", b""), ("null", None)),
        (("ü", b"\xff"),),
    )
    return [Sent(values[n % 5], keys[n // 5 % 5], headers[n % 4], 1_700_000_000_000 + n * 1000) for n in range(count) if n % 5 != 2 or n // 5 % 5]


def create_topic(admin: AdminClient, name: str, partitions: int = 1, configuration: Mapping[str, str] | None = None) -> None:
    admin.create_topics([NewTopic(name, partitions, 1, config=dict(configuration or {}))], operation_timeout=DEADLINE_S)[name].result(DEADLINE_S)


def wait_until(condition: Callable[[], Any], what: str = "", deadline_s: float = DEADLINE_S, poll: Callable[[], Any] | None = None) -> None:
    """Until `condition()` holds; `poll` is what takes the time, and must wait a little itself if given."""
    give_up = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < give_up, f"not within {deadline_s} s: {what or condition}"
        poll() if poll else time.sleep(0.02)


def produce(bootstrap: str, topic: str, records: Iterable[Sent | bytes], partition: int = -1, **configuration: Any) -> list[Message]:
    """Produce everything; the delivery reports. Underscores in configuration keys are dots."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, **_keys(configuration)})
    reports: list[Message] = []
    errors: list[Any] = []

    def report(error: Any, message: Message) -> None:
        if error is None:
            reports.append(message)
        else:
            errors.append(error)

    for record in records:
        sent = record if isinstance(record, Sent) else Sent(record)
        producer.produce(
            topic,
            sent.value,
            sent.key,
            **({"partition": partition} if partition >= 0 else {}),
            headers=list(sent.headers),
            timestamp=sent.timestamp_ms,
            on_delivery=report,
        )
        producer.poll(0)
    left = producer.flush(DEADLINE_S)
    if errors:
        raise KafkaException(errors[0])
    assert not left, f"{left} records of {topic} were not acknowledged within {DEADLINE_S} s"
    return reports


@contextmanager
def consumer(bootstrap: str, group: str = "interop.unused", **configuration: Any) -> Iterator[Consumer]:
    """A consumer that starts at the beginning unless told otherwise, closed at the end."""
    settings = {"bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False, "fetch.wait.max.ms": 100}
    if configuration.get("group_protocol") != "consumer":  # there the broker says how often
        settings |= {"heartbeat.interval.ms": 300}
    made = Consumer(settings | _keys(configuration))
    try:
        yield made
    finally:
        made.close()


def take(one: Consumer, count: int, deadline_s: float = DEADLINE_S) -> list[Message]:
    """The next `count` messages; an error raises."""
    taken: list[Message] = []
    give_up = time.monotonic() + deadline_s
    while len(taken) < count:
        assert time.monotonic() < give_up, f"{len(taken)} of {count} messages within {deadline_s} s"
        for message in one.consume(min(count - len(taken), 1000), timeout=0.2):
            if message.error():
                raise KafkaException(message.error())
            taken.append(message)
    return taken


def nothing_more(one: Consumer, seconds: float = 0.3) -> bool:
    """Whether nothing comes for a while."""
    return one.poll(seconds) is None


def read_all(bootstrap: str, topic: str, count: int, partitions: Iterable[int] = (0,), **configuration: Any) -> list[Message]:
    """`count` messages from the beginning of these partitions, and no more are there."""
    with consumer(bootstrap, **configuration) as one:
        one.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions])
        messages = take(one, count)
        assert nothing_more(one)
    return messages


def _keys(configuration: Mapping[str, Any]) -> dict[str, Any]:
    return {key.replace("_", "."): value for key, value in configuration.items()}
