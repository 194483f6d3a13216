"""What a record costs: checking batches as they arrive. ns per record, best of some rounds.

python benchmarks/micro/bench_kafka_records.py
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "tests" / "protocols" / "kafka"))

from kafka_batches import GZIP, LZ4, NONE, SNAPPY, ZSTD, batch, record

from entrepot.protocols.kafka.record_batch import BatchValidator, stamp

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


def main() -> None:
    validator = BatchValidator()
    for size, count in ((100, 1), (100, 160), (100, 10_000), (1024, 16), (1024, 1000)):
        records = [record(None, value, delta=index) for index, value in enumerate(values(size, count))]
        for compression, name in NAMES.items():
            data = batch(records, compression)
            checked = best_ns(lambda data=data: validator.validate(data), count)  # type: ignore[misc]
            stamped = best_ns(lambda data=data: stamp(data, 5, 0, -1), count)  # type: ignore[misc]
            print(f"{count:6} x {size:5} B {name:7} {len(data):9} bytes: check {checked:8.1f} ns, stamp {stamped:6.2f} ns a record")


if __name__ == "__main__":
    main()
