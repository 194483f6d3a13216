from __future__ import annotations

from typing import Any

from entrepot.net.stall import BOUNDS_S, INTERVAL_S, StallWatch


class Time:
    """A loop and a clock that stand still until told."""

    def __init__(self) -> None:
        self.now = 5.0
        self.callback: Any = None

    def monotonic_s(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Any) -> Time:
        self.callback = callback
        return self

    def cancel(self) -> None:
        self.callback = None

    def fire_after(self, seconds: float) -> None:
        self.now += seconds
        self.callback()


def test_lateness_is_counted_by_size() -> None:
    time = Time()
    watch = StallWatch(time, time)
    watch.start()
    time.fire_after(INTERVAL_S)
    time.fire_after(INTERVAL_S + 0.015)
    time.fire_after(INTERVAL_S + 3)
    assert watch.counts[0] == 1
    assert watch.counts[BOUNDS_S.index(0.02)] == 1
    assert watch.counts[-1] == 1
    assert 2.999 < watch.longest_s < 3.001
    watch.stop()
    assert time.callback is None
