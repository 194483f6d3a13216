"""The time of shards: never back, never faster than a thousandth beside the clock that counts, and no earlier than what was journalled."""

from hypothesis import given
from hypothesis import strategies as st

from entrepot.store.shard_time import SLEW, ShardTime

HOUR_MS = 3_600_000


class Clock:
    def __init__(self) -> None:
        self.elapsed = 5.0
        self.wall = 1_700_000_000_000

    def monotonic_s(self) -> float:
        return self.elapsed

    def elapsed_s(self) -> float:
        return self.elapsed

    def wall_ms(self) -> int:
        return self.wall


STEPS = st.lists(st.tuples(st.integers(0, 10 * HOUR_MS), st.integers(-10 * HOUR_MS, 10 * HOUR_MS)), max_size=20)


@given(STEPS)
def test_it_runs_by_what_passes_however_the_clock_is_set(steps):
    clock = Clock()
    time = ShardTime(clock)
    told = time.now_ms()
    for passed_ms, set_by_ms in steps:
        clock.elapsed += passed_ms / 1000
        clock.wall = max(0, clock.wall + passed_ms + set_by_ms)
        now = time.now_ms()
        assert abs(now - told - passed_ms) <= passed_ms * SLEW + 2
        assert now >= told
        told = now


def test_it_comes_to_the_wall_clock_and_stays():
    clock = Clock()
    time = ShardTime(clock)
    clock.wall += 1000  # set by a second
    for _ in range(1100):
        clock.elapsed += 1
        clock.wall += 1000
        time.now_ms()
    assert abs(time.now_ms() - clock.wall) <= 1


def test_it_begins_no_earlier_than_what_was_journalled():
    clock = Clock()
    time = ShardTime(clock)
    time.not_before(clock.wall + HOUR_MS)
    assert time.now_ms() == clock.wall + HOUR_MS
    time.not_before(clock.wall)
    assert time.now_ms() == clock.wall + HOUR_MS


def test_it_is_looked_at_once_a_tick():
    clock = Clock()
    time = ShardTime(clock)
    first = time.at(7)
    clock.elapsed += 1
    assert time.at(7) == first
    assert time.at(8) == first + 1000 - round(1000 * SLEW)
