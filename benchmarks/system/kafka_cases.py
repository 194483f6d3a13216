"""What is measured over Kafka's protocol, beside Apache Kafka in the same run, and what is expected of Entrepot, which syncs where Kafka does not."""

from __future__ import annotations

import statistics
from collections.abc import Callable

from benchmarks.system import probes
from benchmarks.system.brokers import Broker
from benchmarks.system.case import MIB, Case, Expectation, Scale
from benchmarks.system.kafka_measure import bootstrap, java, librdkafka, make_topic, new_topic, produced, remove_topic, warmed
from benchmarks.system.kafka_members import holding
from benchmarks.system.measure import Figures, measured, settle, stalls

Measure = Callable[[Broker, Scale], Figures]

_SLICES = 5
_CPU = "broker_cpu_us_per_message"


def _produce(*words: str) -> Measure:
    def measure(broker: Broker, scale: Scale) -> Figures:
        return produced(broker, "produce", *words, "--seconds", str(scale.seconds))

    return measure


def _bulk(*words: str) -> Measure:
    def measure(broker: Broker, scale: Scale) -> Figures:
        return produced(broker, "produce", *words, "--seconds", str(scale.bulk_seconds), watch_unsorted=True)

    return measure


def _consume(count: int, *words: str) -> Measure:
    def measure(broker: Broker, scale: Scale) -> Figures:
        topic, records = new_topic(), scale.count(count)
        librdkafka(broker, ["produce", "--topic", topic, "--partitions", "4", "--count", records, *words])
        size = words[words.index("--size") : words.index("--size") + 2] if "--size" in words else ()
        figures = measured(broker, ["consume", "--topic", topic, "--count", records, *size], by=librdkafka)
        remove_topic(broker, topic)  # not by the consumer: old versions of librdkafka may hang while they end when a topic they read goes
        return figures

    return measure


def _one_in_flight(broker: Broker, scale: Scale) -> Figures:
    """One record at a time, in slices, each between two probes of the disk in the same directory."""
    probed = [probes.sync_us(broker.directory)["p50"]]
    slices: list[Figures] = []
    for _ in range(_SLICES):
        slices.append(produced(broker, "latency", "--partitions", "1", "--seconds", str(scale.seconds / _SLICES)))
        probed.append(probes.sync_us(broker.directory)["p50"])
    above = [figures["confirm_us p50"] - (before + after) / 2 for figures, before, after in zip(slices, probed, probed[1:], strict=False)]
    middle = sorted(slices, key=lambda figures: float(figures["confirm_us p50"]))[_SLICES // 2]
    errors = sum(figures["errors"] for figures in slices)
    return middle | {"disk_sync_4k_us": statistics.median(probed), "confirm_above_disk_us": statistics.median(above), "errors": errors}


def _java_produce(count: int, *settings: str, size: int = 100) -> Measure:
    def measure(broker: Broker, scale: Scale) -> Figures:
        topic = make_topic(broker, 4)
        words = ["ProducerPerformance", "--topic", topic, "--num-records", scale.count(count), "--record-size", str(size), "--throughput", "-1"]
        figures = measured(broker, [*words, "--command-property", "acks=all", *settings], by=java)
        remove_topic(broker, topic)
        return figures

    return measure


def _java_consume(broker: Broker, scale: Scale) -> Figures:
    topic, records = new_topic(), scale.count(2_000_000)
    librdkafka(broker, ["produce", "--topic", topic, "--partitions", "4", "--count", records])
    figures = measured(broker, ["ConsumerPerformance", "--topic", topic, "--num-records", records, "--timeout", "60000"], by=java)
    remove_topic(broker, topic)
    return figures


def _by_partitions(broker: Broker, scale: Scale) -> Figures:
    """Batches of 100 records, whatever the number of partitions: what one costs with 10,000 by what it costs with 1."""
    costs: dict[int, float] = {}
    figures: Figures = {"errors": 0}
    for partitions in (1, 10, 100, 1000, 10_000):
        words = ("--partitions", str(partitions), "--run", "100", "--linger", "1000", "--set", "batch.num.messages=100", "--window", "200000")
        found = produced(broker, "produce", *words, "--count", scale.count(2_000_000))
        costs[partitions] = found[_CPU]
        figures[f"cpu_us_of_{partitions}"] = found[_CPU]
        figures[f"publish_per_s_of_{partitions}"] = found["publish_per_s"]
        figures["errors"] += found["errors"]
    worst = max(costs[partitions] for partitions in costs)
    return figures | {"part_of_one": worst / max(costs[1], 1e-9), _CPU: costs[10_000]}


def _held(members: bool) -> Measure:
    def measure(broker: Broker, scale: Scale) -> Figures:
        settle(broker)
        before = probes.rss_bytes(broker.pids())
        count = max(100, int(5_000 * scale.part))
        with holding(bootstrap(broker), count, count // 5 if members else 0):
            settle(broker)
            after = probes.rss_bytes(broker.pids())
            away = stalls(probes.metrics(broker.metrics_url))
            return {"rss_bytes": after, "rss_added_bytes": after - before, "connections": count, **away, "errors": 0}

    return measure


def _at_least_kafka(times: float) -> tuple[Expectation, ...]:
    """That many times Kafka's rate, or, where the client is what limits, two thirds of its processor time for a record."""
    return (Expectation("publish_per_s", at_least=times, of_peer=True, otherwise=Expectation(_CPU, at_most=2 / 3, of_peer=True)),)


_BULK = (Expectation("publish_per_s", at_least=1.0, of_peer=True), Expectation(_CPU, at_most=1.0, of_peer=True))
_READ = (Expectation("consume_per_s", at_least=1.0, of_peer=True), Expectation(_CPU, at_most=1.0, of_peer=True))
_STALL = Expectation("loop_stall_own_longest_ms", at_most=10.0)


def _case(name: str, about: str, case: Measure, *expectations: Expectation, peers: bool = True, repetitions: int | None = None) -> Case:
    def measure(broker: Broker, scale: Scale) -> Figures:
        if not name.startswith("memory"):
            warmed(broker)
        return case(broker, scale)

    return Case(f"kafka-{name}", about, measure, expectations, peers, repetitions, "kafka")


KAFKA_CASES = (
    _case("produce-100", "100 B, acks=all, linger 5 ms, 4 partitions", _produce(), *_BULK, _STALL),
    _case("produce-100-lz4", "the same, lz4", _produce("--compression", "lz4"), *_BULK, _STALL),
    _case("produce-1k", "1 KiB", _produce("--size", "1024"), *_at_least_kafka(1.5), _STALL),
    _case("produce-1k-lz4", "1 KiB, lz4", _produce("--size", "1024", "--compression", "lz4"), *_at_least_kafka(1.5), _STALL),
    _case("linger-0", "100 B, linger 0", _produce("--linger", "0", "--window", "2000"), *_at_least_kafka(1.5), _STALL),
    _case("partitions-1", "100 B, 1 partition", _produce("--partitions", "1"), *_BULK, _STALL),
    _case("partitions-10", "100 B, 10 partitions", _produce("--partitions", "10"), *_BULK, _STALL),
    _case("partitions-1000", "100 B, 1,000 partitions, record by record", _produce("--partitions", "1000", "--run", "1"), *_at_least_kafka(1.5), _STALL),
    _case(
        "clients-50",
        "50 producers, 100 B, linger 0, 100 records on their way each",
        _produce("--producers", "50", "--linger", "0", "--window", "100"),
        *_at_least_kafka(1.5),
        _STALL,
    ),
    _case("one-in-flight", "one record at a time, beside the disk's own sync", _one_in_flight, Expectation("confirm_above_disk_us", at_most=150.0)),
    _case("consume-100", "2 million records of 100 B from the beginning", _consume(2_000_000), *_READ, _STALL),
    _case("consume-100-lz4", "the same, lz4", _consume(2_000_000, "--compression", "lz4"), *_READ, _STALL),
    _case("consume-1k", "400,000 records of 1 KiB", _consume(400_000, "--size", "1024"), *_READ, _STALL),
    _case("java-produce", "ProducerPerformance, 100 B, linger 5 ms", _java_produce(2_000_000, "linger.ms=5"), *_at_least_kafka(1.5), _STALL),
    _case(
        "java-small",
        "ProducerPerformance, linger.ms=0 batch.size=1024",
        _java_produce(500_000, "linger.ms=0", "batch.size=1024"),
        *_at_least_kafka(1.5),
        _STALL,
    ),
    _case("java-1k", "ProducerPerformance, 1 KiB, linger 5 ms", _java_produce(500_000, "linger.ms=5", size=1024), *_at_least_kafka(1.5), _STALL),
    _case("java-consume", "ConsumerPerformance, 2 million records of 100 B", _java_consume, *_READ, _STALL),
    _case("bulk-100", "as kafka-produce-100 for 60 s", _bulk(), *_BULK, _STALL, Expectation("unsorted_grows", at_most=0.0), repetitions=1),
    _case(
        "bulk-1k",
        "as kafka-produce-1k for 60 s",
        _bulk("--size", "1024"),
        *_at_least_kafka(1.5),
        _STALL,
        Expectation("unsorted_grows", at_most=0.0),
        repetitions=1,
    ),
    _case(
        "by-partitions",
        "batches of 100 records over 1 to 10,000 partitions",
        _by_partitions,
        Expectation("part_of_one", at_most=1.5),
        peers=False,
        repetitions=1,
    ),
    _case("memory-connections", "5,000 idle connections", _held(members=False), Expectation("rss_added_bytes", at_most=200 * MIB), repetitions=1),
    _case(
        "memory-members",
        "5,000 connections, 1,000 of them members of groups",
        _held(members=True),
        Expectation("rss_added_bytes", at_most=200 * MIB),
        repetitions=1,
    ),
)
