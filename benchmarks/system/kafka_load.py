"""Load for any broker of Kafka's protocol, by librdkafka (confluent-kafka); prints one line of JSON.

  produce    producers with a window of unconfirmed records each, records dealt out to partitions in runs
  consume    all partitions from their beginning; every record is checked
  latency    one record at a time: no linger, a window of one

Every value starts with its producer's number and its number in its partition, the rest is noise, half of it compressible. Consuming tells what is
lost, repeated, reordered or damaged.

The client is one Python thread over librdkafka's own: it reaches some hundred thousand records a second, and what it needs of a shared
machine the broker does not get. Exit status 0: all well; 3: records were lost, repeated, reordered, damaged or refused; 1: anything else failed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import struct
import sys
import time
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

_NUMBERS = struct.Struct(">IQ")  # producer, number within the partition
_WAIT_S = 60.0
_CHUNK = 200  # records between two looks at the clock


def parser() -> argparse.ArgumentParser:
    """The command line; the options are those that other generators of the kind have, too."""
    out = argparse.ArgumentParser(prog="python -m benchmarks.system.kafka_load", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = out.add_argument
    add("mode", choices=["produce", "consume", "latency"])
    add("--brokers", default="127.0.0.1:9092")
    add("--topic", default="load")
    add("--partitions", type=int, default=0, help="create the topic with so many; 0: it is there")
    add("--delete", action="store_true", help="delete the topic afterwards")
    add("--producers", type=int, default=1)
    add("--size", type=int, default=100, help="bytes of a value, from 16")
    add("--count", type=int, default=0, help="records in all; 0: no limit")
    add("--seconds", type=float, default=0.0, help="0: no limit")
    add("--window", type=int, default=50_000, help="records without an answer, per producer")
    add("--led-by", type=int, default=-1, help="only partitions of one leader, by its place among the topic's")
    add("--run", type=int, default=1000, help="records in a row to one partition")
    add("--acks", default="all")
    add("--linger", type=float, default=5.0, help="ms")
    add("--compression", default="none")
    add("--set", default="", help="other settings of librdkafka: name=value,name=value")
    return out


def settings(options: argparse.Namespace) -> dict[str, Any]:
    """What every client is told."""
    return {"bootstrap.servers": options.brokers, **dict(each.split("=", 1) for each in options.set.split(",") if each)}


class Source:
    """Values of one producer: numbered per partition; the noise differs from record to record."""

    def __init__(self, producer: int, partitions: list[int], size: int, run: int) -> None:
        self._producer = producer
        self._partitions = partitions
        self._run = run
        self._sent = dict.fromkeys(partitions, 0)
        self._at = 0
        self._left = run
        dice = random.Random(producer)
        length = max(0, size - _NUMBERS.size)
        noise = dice.randbytes(length + 4096)
        self._fillers = [noise[start : start + length // 2] + bytes(length - length // 2) for start in range(0, 4096, 64)]

    def next(self) -> tuple[int, bytes]:
        """(partition, value)."""
        if not self._left:
            self._left = self._run
            self._at = (self._at + 1) % len(self._partitions)
        self._left -= 1
        partition = self._partitions[self._at]
        number = self._sent[partition]
        self._sent[partition] = number + 1
        return partition, _NUMBERS.pack(self._producer, number) + self._fillers[number & 63]


class Check:
    """What consuming finds wrong."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._next: dict[tuple[int, int], int] = {}
        self.errors = {"gaps": 0, "duplicates": 0, "corrupt": 0}
        self.consumed = 0

    def see(self, messages: list[Message]) -> None:
        for message in messages:
            if message.error():
                raise KafkaException(message.error())
            value = message.value() or b""
            if len(value) != self._size:
                self.errors["corrupt"] += 1
                continue
            producer, number = _NUMBERS.unpack_from(value)
            key = (producer, message.partition() or 0)
            expected = self._next.get(key, 0)
            if number > expected:
                self.errors["gaps"] += number - expected
            elif number < expected:
                self.errors["duplicates"] += 1  # or reordered: a gap was counted then
            self._next[key] = max(expected, number + 1)
        self.consumed += len(messages)


def partitions_of(admin: AdminClient, topic: str, led_by: int = -1) -> list[int]:
    """Of this topic; or those that one of its leaders has, by its place among them."""
    found = admin.list_topics(topic, timeout=_WAIT_S).topics[topic].partitions
    leaders = sorted({each.leader for each in found.values()})
    return sorted(number for number, each in found.items() if led_by < 0 or each.leader == leaders[led_by])


def produce(options: argparse.Namespace, partitions: list[int], result: dict[str, Any]) -> None:
    refused: list[int] = []

    def report(error: Any, _: Message) -> None:
        if error is not None:
            refused.append(error.code())

    told = {
        "linger.ms": options.linger,
        "acks": options.acks,
        "compression.type": options.compression,
        "queue.buffering.max.messages": options.window,
        "queue.buffering.max.kbytes": 1 << 20,
        "delivery.report.only.error": True,
        **settings(options),
    }
    producers = [Producer(told) for _ in range(options.producers)]
    sources = [
        Source(number, partitions[number % len(partitions) :] + partitions[: number % len(partitions)], options.size, options.run)
        for number in range(options.producers)
    ]
    for producer in producers:
        producer.list_topics(options.topic, timeout=_WAIT_S)  # connected, before the clock starts
    left = options.count or sys.maxsize
    begin, cpu = time.perf_counter(), time.process_time()
    end = begin + (options.seconds or (3600.0 if options.count else 5.0))
    published = 0
    while left > 0 and time.perf_counter() < end:
        took = 0
        for producer, source in zip(producers, sources, strict=True):
            room = min(_CHUNK, left, options.window - len(producer))
            for _ in range(room):
                partition, value = source.next()
                producer.produce(options.topic, value, partition=partition, on_delivery=report)
            producer.poll(0)
            took += max(room, 0)
            left -= max(room, 0)
        published += took
        if not took:
            producers[0].poll(0.001)
    unconfirmed = sum(producer.flush(_WAIT_S) for producer in producers)
    seconds = time.perf_counter() - begin
    confirmed = published - unconfirmed - len(refused)
    result |= {"published": published, "confirmed": confirmed, "publish_per_s": confirmed / seconds, "seconds": seconds, "cpu_s": time.process_time() - cpu}
    result["errors"] |= {"failed": len(refused), "unconfirmed": unconfirmed}


def latency(options: argparse.Namespace, partitions: list[int], result: dict[str, Any]) -> None:
    producer = Producer({"linger.ms": 0, "acks": options.acks, **settings(options)})
    source = Source(0, partitions, options.size, options.run)
    failed = 0
    times: list[float] = []

    def report(error: Any, _: Message) -> None:
        nonlocal failed
        failed += error is not None
        times.append(time.perf_counter())

    def one() -> float:
        partition, value = source.next()
        before, begin = len(times), time.perf_counter()
        producer.produce(options.topic, value, partition=partition, on_delivery=report)
        while len(times) == before:
            producer.poll(1.0)
        return times[-1] - begin

    for _ in range(50):
        one()
    cpu, begin = time.process_time(), time.perf_counter()
    end = begin + (options.seconds or 5.0)
    found: list[float] = []
    while time.perf_counter() < end and (not options.count or len(found) < options.count):
        found.append(one())
    seconds = time.perf_counter() - begin
    found.sort()
    result |= {
        "published": len(found),
        "confirmed": len(found) - failed,
        "publish_per_s": len(found) / seconds,
        "seconds": seconds,
        "cpu_s": time.process_time() - cpu,
    }
    result["confirm_us"] = {
        name: found[min(len(found) - 1, int(len(found) * part))] * 1e6 for name, part in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0))
    }
    result["errors"] |= {"failed": failed}


def thread_s() -> float:
    """How long this thread has run, or waited for a processor, as Linux counts it; what is left of the time it slept. NaN elsewhere."""
    try:
        with open("/proc/thread-self/schedstat", "rb") as file:
            ran, waited, _ = file.read().split()
    except OSError:
        return float("nan")
    return (int(ran) + int(waited)) / 1e9


def consume(options: argparse.Namespace, partitions: list[int], result: dict[str, Any]) -> None:
    told = {
        "group.id": "load",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "queued.min.messages": 1_000_000,
        "queued.max.messages.kbytes": 1 << 18,
        "fetch.message.max.bytes": 8 << 20,
        **settings(options),
    }
    consumer = Consumer(told)
    consumer.assign([TopicPartition(options.topic, partition, OFFSET_BEGINNING) for partition in partitions])
    check = Check(options.size)
    begin = cpu = busy = 0.0
    assigned = last = silent_since = time.perf_counter()
    end = silent_since + (options.seconds or 3600.0)
    while time.perf_counter() < end and (not options.count or check.consumed < options.count):
        messages = consumer.consume(10_000, timeout=0.1)
        now = time.perf_counter()
        if messages:
            begin, cpu, busy = begin or now, cpu or time.process_time(), busy or thread_s()
            check.see(messages)
            last = silent_since = now
        elif now - silent_since > 5.0:
            break
    ended, busy = time.perf_counter(), thread_s() - busy
    consumer.close()
    result |= {
        "first_s": begin - assigned,
        "waited_s": ended - begin - busy if not math.isnan(busy) else None,
        "consumed": check.consumed,
        "consume_per_s": check.consumed / max(last - begin, 1e-9),
        "seconds": last - begin,
        "cpu_s": time.process_time() - cpu,
    }
    result["errors"] |= check.errors | {"lost": max(0, options.count - check.consumed)}


def main(words: list[str] | None = None) -> int:
    """The command; its exit status."""
    options = parser().parse_args(words)
    result: dict[str, Any] = {
        "mode": options.mode, "size": options.size, "published": 0, "confirmed": 0, "consumed": 0, "publish_per_s": 0.0, "consume_per_s": 0.0,
        "confirm_us": None, "end_to_end_us": None, "errors": {}, "generator": "confluent-kafka",
    }  # fmt: skip
    try:
        admin = AdminClient(settings(options))
        if options.partitions:
            admin.create_topics([NewTopic(options.topic, options.partitions, 1)], operation_timeout=_WAIT_S)[options.topic].result(_WAIT_S)
        partitions = partitions_of(admin, options.topic, options.led_by)
        {"produce": produce, "consume": consume, "latency": latency}[options.mode](options, partitions, result)
        if options.delete:
            admin.delete_topics([options.topic])[options.topic].result(_WAIT_S)
    except KafkaException as error:
        print(error, file=sys.stderr)
        return 1
    result["client_cpu_us_per_message"] = result.pop("cpu_s") * 1e6 / max(result["published"], result["consumed"], 1)
    print(json.dumps(result), flush=True)
    os._exit(3 if any(result["errors"].values()) else 0)  # librdkafka's threads are not waited for


if __name__ == "__main__":
    sys.exit(main())
