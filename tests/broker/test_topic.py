import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stream_bench import Bench

from both_modes import examples
from entrepot.broker.subscription.consumer import Pool
from entrepot.broker.topic.stream_start import CONSUMER_PARTITIONS_MAX, parse_partition, parse_start
from entrepot.model.entry import CONTROL
from entrepot.model.errors import Reason, Refused


def numbers(first, end):
    return [b"%d" % number for number in range(first, end)]


def filled(bench, topic, entries=10, each=10):
    for number in range(entries):
        bench.publish(topic, *numbers(number * each, (number + 1) * each))
        bench.settle_down(0.01)


class Late:
    """A log that says later where a time is."""

    def __init__(self, log, asked):
        self.log = log
        self.asked = asked

    def find(self, time_ms, found):
        self.asked.append(found)

    def __getattr__(self, name):
        return getattr(self.log, name)


@pytest.fixture
def bench():
    return Bench()


@pytest.mark.parametrize(
    ("start", "first"),
    [("first", 0), ("next", 100), ("last", 90), (0, 0), (1, 1), (57, 57), (99, 99), (100, 100), (5000, 100)],
)
def test_where_readers_begin(bench, start, first):
    topic = bench.stream()
    filled(bench, topic)
    reader = bench.subscribe(topic, start)
    bench.publish(topic, b"100", b"101")
    bench.settle_down()
    assert reader.got == [(number, b"%d" % number) for number in range(first, 102)]


@pytest.mark.parametrize("start", ["first", "last", "next", 0, 7, ("time", 0), ("time", 1 << 50)])
def test_an_empty_stream_can_be_read_from_anywhere(bench, start):
    topic = bench.stream()
    reader = bench.subscribe(topic, start)
    bench.settle_down()
    bench.publish(topic, b"0", b"1")
    bench.settle_down()
    assert reader.got == [(0, b"0"), (1, b"1")]


def test_readers_are_independent_and_nothing_is_taken(bench):
    topic = bench.stream()
    filled(bench, topic)
    readers = [bench.subscribe(topic, start) for start in (0, 0, 50)]
    bench.settle_down()
    assert [len(reader.got) for reader in readers] == [100, 100, 50]
    assert topic.definition.runtime.ready_count() == 100
    assert topic.consumer_count() == 3


def test_the_limit_holds_and_settling_gives_credit(bench):
    topic = bench.stream()
    filled(bench, topic)
    reader = bench.subscribe(topic, "first", limit=7)
    bench.settle_down()
    assert reader.offsets == list(range(7))
    topic.settle(reader.consumer, 0, 3)
    bench.settle_down()
    assert reader.offsets == list(range(10))
    assert reader.consumer.leased == 7
    topic.settle(reader.consumer, 0, 1000)  # never below nothing
    bench.settle_down()
    assert reader.offsets == list(range(17))
    topic.release_all(reader.consumer)
    bench.settle_down()
    assert reader.offsets == list(range(24))


def test_a_limit_shared_by_a_streams_consumers(bench):
    topic = bench.stream()
    filled(bench, topic)
    pool = Pool(1)
    pool.limit = 10
    readers = [bench.subscribe(topic, 0, limit=8, pool=pool) for _ in range(2)]
    bench.settle_down()
    assert sorted(len(reader.got) for reader in readers) == [2, 8]


def test_without_settling_there_is_no_limit_but_a_peer_that_reads(bench):
    topic = bench.stream()
    filled(bench, topic)
    reader = bench.subscribe(topic, 0, limit=0, auto_settle=True)
    stopped = bench.subscribe(topic, 0, limit=0, auto_settle=True)
    stopped.consumer.attachment.writable = False
    bench.settle_down()
    assert len(reader.got) == 100
    assert stopped.got == []
    stopped.consumer.attachment.writable = True
    topic.wake()
    bench.settle_down()
    assert stopped.got == reader.got


def test_one_slice_per_entry_and_credit(bench):
    topic = bench.stream()
    filled(bench, topic, entries=4, each=10)
    reader = bench.subscribe(topic, 5, limit=1000)
    bench.settle_down()
    assert reader.slices == 4
    assert reader.offsets == list(range(5, 40))


def test_a_sink_that_does_not_say_where_it_ended_is_served_alike(bench):
    topic = bench.stream()
    filled(bench, topic)
    reader = bench.subscribe(topic, 3, limit=4, tells=False)
    for _ in range(30):
        bench.settle_down(0.1)
        topic.release_all(reader.consumer)
    assert reader.got == [(number, b"%d" % number) for number in range(3, 100)]


def test_what_is_long_out_of_memory_is_fetched_and_comes_in_order(bench):
    topic = bench.stream()
    for number in range(2000):
        bench.publish(topic, *[b"%06d" % (number * 10 + index) + b"x" * 50 for index in range(10)])
        if number % 50 == 0:
            bench.settle_down(0.02)
    bench.settle_down()
    reader = bench.subscribe(topic, "first", limit=0)
    late = bench.subscribe(topic, 19_990, limit=0)
    bench.loop.run_until(lambda: len(reader.got) == 20_000, 60)
    assert reader.offsets == list(range(20_000))
    assert all(record.startswith(b"%06d" % offset) for offset, record in reader.got)
    assert late.offsets == list(range(19_990, 20_000))


def test_nothing_is_delivered_before_it_is_durable(bench):
    topic = bench.stream()
    bench.settle_down()
    reader = bench.subscribe(topic, "first")
    bench.publish(topic, b"0")
    bench.loop.step()
    bench.loop.step()
    assert reader.got == []
    assert topic.partitions[0].log.durable_offset == 0
    bench.settle_down()
    assert reader.got == [(0, b"0")]


def test_control_records_are_passed_over(bench):
    topic = bench.topic()
    bench.publish(topic, b"0")
    for _ in range(100):
        bench.publish(topic, b"commit", flags=CONTROL)
        bench.settle_down(0.01)
    bench.publish(topic, b"101")
    reader = bench.subscribe(topic, "first")
    bench.settle_down()
    assert reader.got == [(0, b"0"), (101, b"101")]


def test_discarded_records_are_passed_over(bench):
    topic = bench.stream()
    filled(bench, topic)
    bench.store.discard(topic.partitions[0].log, 0, 35)
    reader = bench.subscribe(topic, "first")
    clamped = bench.subscribe(topic, 12)
    bench.settle_down()
    assert reader.offsets == list(range(35, 100))
    assert clamped.offsets == reader.offsets


def test_a_reader_waits_behind_what_was_all_discarded(bench):
    topic = bench.stream()
    filled(bench, topic)
    bench.store.discard(topic.partitions[0].log, 0, 100)
    reader = bench.subscribe(topic, "first")
    last = bench.subscribe(topic, "last")
    bench.settle_down()
    assert reader.got == last.got == []
    bench.publish(topic, b"100")
    bench.settle_down()
    assert reader.got == last.got == [(100, b"100")]


def test_cancelling_ends_deliveries_also_with_a_fetch_under_way(bench):
    topic = bench.stream()
    filled(bench, topic)
    reader = bench.subscribe(topic, ("time", 0))
    other = bench.subscribe(topic, 0, limit=5)
    topic.remove_consumer(reader.consumer)
    bench.settle_down()
    assert reader.got == []
    assert topic.consumer_count() == 1
    topic.remove_consumer(other.consumer)
    topic.settle(other.consumer, 0, 5)
    bench.settle_down()
    assert len(other.got) == 5
    assert other.consumer.leased == 0


def test_closing_says_who_was_reading_and_ends_everything(bench):
    topic = bench.stream(x_max_age="1h")
    filled(bench, topic)
    reader = bench.subscribe(topic, ("time", 0))
    (partition,) = topic.partitions
    assert topic.close() == [reader.consumer]
    partition.close(Refused(Reason.NOT_FOUND, "gone"))
    bench.store.drop_log(partition.log)
    bench.settle_down(200)
    assert reader.got == []
    assert partition.log.owner is None
    assert topic.partitions == []


def test_a_stream_survives_a_restart(bench):
    topic = bench.stream()
    filled(bench, topic)
    bench.store.close(lambda: None)
    bench.settle_down()
    again = Bench(disk=bench.disk)
    again.disk = bench.disk
    # The disk's events are the first loop's.
    reopened = again.open(again.catalogue.namespace("public/default").topics["s"])
    reader = again.subscribe(reopened, 42)
    for _ in range(50):
        again.settle_down(0.01)
        bench.settle_down(0.01)
    assert reader.got == [(number, b"%d" % number) for number in range(42, 100)]


class TestPartitions:
    def test_a_reader_of_all_gets_each_partition_in_order(self, bench):
        topic = bench.topic(partitions=3)
        for number in range(30):
            bench.publish(topic, b"%d" % number, log=topic.partitions[number % 3].log)
        reader = bench.subscribe(topic, "first")
        one = bench.subscribe(topic, 4, partition=1)
        bench.settle_down()
        assert sorted(reader.offsets) == sorted(list(range(10)) * 3)
        by_partition = {}
        for _, record in reader.got:
            by_partition.setdefault(int(record) % 3, []).append(int(record))
        assert all(seen == sorted(seen) for seen in by_partition.values())
        assert one.offsets == list(range(4, 10))

    def test_of_very_many_partitions_a_consumer_says_which(self, bench):
        topic = bench.topic(partitions=CONSUMER_PARTITIONS_MAX + 1)
        with pytest.raises(Refused, match=f"at most {CONSUMER_PARTITIONS_MAX}: say which"):
            bench.subscribe(topic, "first")
        assert topic.consumer_count() == 0
        bench.publish(topic, b"a", log=topic.partitions[CONSUMER_PARTITIONS_MAX].log)
        one = bench.subscribe(topic, "first", partition=CONSUMER_PARTITIONS_MAX)
        bench.settle_down()
        assert one.offsets == [0]

    def test_an_offset_of_several_partitions_is_refused(self, bench):
        topic = bench.topic(partitions=2)
        with pytest.raises(Refused, match="say which with x-stream-partition"):
            bench.subscribe(topic, 4)
        with pytest.raises(Refused, match="has 2 partitions, counted from 0"):
            bench.subscribe(topic, 4, partition=2)
        assert topic.consumer_count() == 0


class TestRetention:
    def test_by_size_whoever_has_read(self, bench):
        topic = bench.stream(x_max_length_bytes=10_000)
        reader = bench.subscribe(topic, "first", limit=10)
        log = topic.partitions[0].log
        for number in range(300):
            bench.publish(topic, *[b"%04d" % number + b"x" * 95] * 10)
            bench.settle_down(0.01)
            assert log.bytes_alive <= 10_000 + 10_000 // 16 + 1010
        assert log.bytes_alive >= 8_000
        assert log.first_offset > 2800
        topic.release_all(reader.consumer)
        bench.settle_down()
        assert reader.offsets[10] == log.first_offset  # the rest of what it had not read is gone

    def test_a_check_under_way_discards_nothing_by_an_age_that_holds_no_more(self, bench):
        topic = bench.stream(x_max_age="1m")
        filled(bench, topic)
        log = topic.partitions[0].log
        asked = []
        topic.partitions[0].retention.log = Late(log, asked)
        bench.settle_down(10)
        assert log.first_offset == 0
        topic.configure(topic.policy._replace(max_age_ms=7 * 86_400_000))
        for found in asked:
            found(log.next_offset)
        bench.settle_down()
        assert len(asked) == 1
        assert log.first_offset == 0

    def test_none_without_a_policy(self, bench):
        topic = bench.stream()
        filled(bench, topic)
        bench.settle_down(1000)
        assert topic.partitions[0].log.first_offset == 0
        assert topic.partitions[0].retention is None

    @settings(max_examples=examples(15), deadline=None)
    @given(st.lists(st.tuples(st.integers(1, 20), st.integers(0, 250)), min_size=20, max_size=60), st.integers(1000, 20_000))
    def test_by_size_keeps_what_it_may_of_any_mixture(self, entries, limit):
        bench = Bench()
        topic = bench.stream(x_max_length_bytes=limit)
        log = topic.partitions[0].log
        for count, size in entries:
            bench.publish(topic, *[b"y" * size] * count)
            bench.settle_down(0.01)
            largest = max(count * (size + 1) + 2 for count, size in entries)
            assert log.bytes_alive <= limit + limit // 16 + largest
        total = sum(count * (size + 1) + 2 for count, size in entries)
        assert log.bytes_alive >= min(total, limit - largest)


NOW = 1_700_000_000_000


@pytest.mark.parametrize(
    ("value", "start"),
    [
        (None, "next"),
        ("first", "first"),
        ("last", "last"),
        ("next", "next"),
        (0, 0),
        (7, 7),
        (-3, 0),
        (("time", 5), ("time", 5)),
        ("1h", ("time", NOW - 3_600_000)),
        ("7D", ("time", NOW - 7 * 86_400_000)),
        ("90Y", ("time", 0)),
    ],
)
def test_starts(value, start):
    assert parse_start(value, NOW) == start


@pytest.mark.parametrize("value", ["", "First", "1", "1h30m", "-1h", "1.5h", True, 1.0, b"first", [], {}, ("time",), "9" * 50 + "h"])
def test_what_is_no_start(value):
    with pytest.raises(Refused, match="invalid arg 'x-stream-offset'"):
        parse_start(value, NOW)


def test_partitions_are_numbers():
    assert parse_partition(None) is None
    assert parse_partition(3) == 3
    for value in (-1, True, "1", 1.0):
        with pytest.raises(Refused, match="x-stream-partition"):
            parse_partition(value)
