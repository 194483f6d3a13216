"""Latency histogram: 64 buckets to each power of two, so a percentile is right to 1.6 %; the maximum is exact."""

from __future__ import annotations

from array import array

import cython

if not cython.compiled:
    from benchmarks.system.kernel import bit_length

_BUCKETS = 59 * 64


class Histogram:
    """Counts of durations in nanoseconds."""

    def __init__(self) -> None:
        self.buckets = memoryview(array("Q", bytes(8 * _BUCKETS)))
        self.count = 0
        self.max_ns = 0

    def add(self, duration_ns: int, count: int) -> int:
        """Notes the same duration `count` times."""
        exponent = bit_length(duration_ns)
        if exponent <= 6:
            index = duration_ns
        else:
            index = (exponent - 6) * 64 + ((duration_ns >> (exponent - 7)) & 63)
        if index >= 3776:  # 59 * 64: beyond 2^64 ns cannot be, but a bound is a bound
            index = 3775
        self.buckets[index] += count
        self.count += count
        if duration_ns > self.max_ns:
            self.max_ns = duration_ns
        return 0

    def percentile_ns(self, part: float) -> int:
        """The duration that `part` (0 to 1) of the samples do not exceed; 0 without samples."""
        wanted = part * self.count
        so_far = 0
        for index in range(_BUCKETS):
            so_far += self.buckets[index]
            if so_far and so_far >= wanted:
                top = index if index < 64 else ((65 + index % 64) << (index // 64 - 1)) - 1
                return int(min(top, self.max_ns))
        return int(self.max_ns)

    def summary_us(self) -> dict[str, float] | None:
        """p50, p99, p99.9 and max in microseconds; None without samples."""
        if not self.count:
            return None
        named = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
        return {name: round(self.percentile_ns(part) / 1e3, 1) for name, part in named.items()} | {"max": round(self.max_ns / 1e3, 1)}
