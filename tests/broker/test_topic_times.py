import pytest
from stream_bench import Bench
from test_topic import filled, numbers


@pytest.fixture
def bench():
    return Bench()


def test_a_time_begins_at_the_entry_that_has_it(bench):
    topic = bench.stream()
    times = []
    for number in range(5):
        bench.publish(topic, *numbers(number * 3, number * 3 + 3))
        bench.settle_down(1)
        times.append(bench.clock.wall_ms())
    reader = bench.subscribe(topic, ("time", times[2]))
    ancient = bench.subscribe(topic, ("time", 0))
    future = bench.subscribe(topic, ("time", times[4] + 10_000))
    bench.settle_down()
    assert reader.offsets == list(range(9, 15))
    assert ancient.offsets == list(range(15))
    assert future.got == []


def test_by_age(bench):
    topic = bench.stream(x_max_age="10s")
    log = topic.partitions[0].log
    filled(bench, topic)
    bench.settle_down(8)
    bench.publish(topic, b"100")
    bench.settle_down(4)
    assert (log.first_offset, log.next_offset) == (100, 101)
    bench.settle_down(30)
    assert log.first_offset == 101
    reader = bench.subscribe(topic, "first")
    bench.publish(topic, b"101")
    bench.settle_down()
    assert reader.got == [(101, b"101")]


def test_by_size_what_has_left_memory(bench):
    topic = bench.stream(x_max_length_bytes=300_000)
    log = topic.partitions[0].log
    for number in range(1500):
        bench.publish(topic, *[b"%04d" % number + b"x" * 95] * 10)
        bench.settle_down(0.01)
    assert 270_000 <= log.bytes_alive <= 320_000
    assert 15_000 - 3300 < log.first_offset < 15_000 - 2500
