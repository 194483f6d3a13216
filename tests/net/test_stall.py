from __future__ import annotations

from typing import Any

from entrepot.figures import RunQueueWait
from entrepot.net.stall import BOUNDS_S, INTERVAL_S, StallWatch


class Time:
    """A loop and a clock that stand still until told."""

    def __init__(self) -> None:
        self.now = 5.0
        self.waited = 7.0  # for a processor, in all
        self.closed = False
        self.callback: Any = None

    def monotonic_s(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Any) -> Time:
        self.callback = callback
        return self

    def cancel(self) -> None:
        self.callback = None

    def seconds(self) -> float:
        return self.waited

    def close(self) -> None:
        self.closed = True

    def fire_after(self, seconds: float) -> None:
        self.now += seconds
        self.callback()


def test_lateness_is_counted_by_size() -> None:
    time = Time()
    watch = StallWatch(time, time, time)
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
    assert time.closed


def test_what_the_thread_waited_for_a_processor_is_not_the_loops_own() -> None:
    time = Time()
    watch = StallWatch(time, time, time)
    watch.start()
    time.waited += 0.4
    time.fire_after(INTERVAL_S + 0.5)
    time.fire_after(INTERVAL_S + 0.2)
    assert 0.499 < watch.longest_s < 0.501
    assert 0.199 < watch.longest_own_s < 0.201


def test_a_system_says_how_long_a_thread_waited_or_nothing() -> None:
    waited = RunQueueWait()
    before = waited.seconds()
    assert 0 <= before <= waited.seconds()
    waited.close()
    assert waited.seconds() == 0
