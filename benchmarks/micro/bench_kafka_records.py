"""What a record costs: checking batches as they arrive, and what crosses to AMQP and back. ns per record, best of some rounds.

python benchmarks/micro/bench_kafka_records.py
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "tests" / "protocols" / "kafka"))

import cramjam
from kafka_batches import GZIP, LZ4, NONE, SNAPPY, ZSTD, batch, record

from entrepot.protocols.amqp091.records import AmqpEntryCodec
from entrepot.protocols.kafka.record_batch import BatchValidator, stamp
from entrepot.protocols.kafka.records import KafkaEntryCodec

NAMES = {NONE: "none", GZIP: "gzip", SNAPPY: "snappy", LZ4: "lz4", ZSTD: "zstd"}


def best_ns(call: Callable[[], object], count: int, rounds: int = 9) -> float:
    """Of `rounds`, per record."""
    repeat = max(1, 20_000 // count)
    found = []
    for _ in range(rounds):
        begun = time.perf_counter_ns()
        for _ in range(repeat):
            call()
        found.append((time.perf_counter_ns() - begun) / repeat / count)
    return min(found)


def values(size: int, count: int) -> list[bytes]:
    """Bodies that compress somewhat, as real ones do."""
    return [
        (b'{"id":%d,"name":"customer-%d","amount":%d.50}' % (index, index * 7919 % 9973, index * 31 % 977) * (size // 40 + 1))[:size] for index in range(count)
    ]


def lz4_batch(records: list[bytes]) -> bytes:
    """With independent blocks and without a checksum of the content, as Kafka's clients make LZ4 frames."""
    packer = cramjam.lz4.Compressor(level=1, content_checksum=False, block_linked=False)
    packer.compress(b"".join(records))
    return batch([bytes(packer.finish())], attributes=LZ4, count=len(records), last_delta=len(records) - 1)


def main() -> None:
    validator = BatchValidator()
    for size, count in ((100, 1), (100, 160), (100, 10_000), (1024, 16), (1024, 1000)):
        records = [record(None, value, delta=index) for index, value in enumerate(values(size, count))]
        for compression, name in NAMES.items():
            data = lz4_batch(records) if compression == LZ4 else batch(records, compression)
            checked = best_ns(lambda data=data: (validator.begin(), validator.validate(data)), count)  # type: ignore[misc]
            stamped = best_ns(lambda data=data: stamp(data, 5, 0, -1), count)  # type: ignore[misc]
            print(f"{count:6} x {size:5} B {name:7} {len(data):9} bytes: check {checked:8.1f} ns, stamp {stamped:6.2f} ns a record")
    kafka, amqp = KafkaEntryCodec(), AmqpEntryCodec()
    heads = [(b"content-type", b"application/json"), (b"trace", b"4bf92f3577b34da6"), (b"retries", b"3")]
    for title, key, headers in (("value", None, []), ("key and value", b"customer-17", []), ("key, value, 3 headers", b"customer-17", heads)):
        for size in (100, 1024):
            data = batch([record(key, value, headers, delta=index) for index, value in enumerate(values(size, 160))])
            middle = kafka.to_record_batch(data, 0, 0)
            assert middle is not None
            entry = amqp.from_record_batch(middle, 0, 0, b"\x00\x01t")
            steps = {
                "Kafka to neutral": lambda data=data: kafka.to_record_batch(data, 0, 0),
                "neutral to AMQP": lambda middle=middle: amqp.from_record_batch(middle, 0, 0, b"\x00\x01t"),
                "AMQP to neutral": lambda entry=entry: amqp.to_record_batch(entry, 0, 0),
                "neutral to Kafka": lambda middle=middle: kafka.from_record_batch(middle, 0, 0, b""),
            }
            figures = ", ".join(f"{name} {best_ns(call, 160):5.0f}" for name, call in steps.items())
            print(f"{title:22} {size:5} B: {figures} ns a record")


if __name__ == "__main__":
    main()
