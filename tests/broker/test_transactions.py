import pytest
from transaction_bench import QUEUE, Bench

from entrepot.broker.state_kinds import default_folds
from entrepot.broker.transactions.log_transactions import OPEN_MAX, TRANSACTION_PREFIX
from entrepot.broker.transactions.marker import make_marker, read_marker
from entrepot.model.entry import CODEC_MARKER, CONTROL
from entrepot.model.errors import CorruptData, Refused


@pytest.fixture
def bench():
    return Bench()


def test_readers_stop_at_the_first_open_transaction(bench):
    one, two = bench.coordinator.begin(b"one"), bench.coordinator.begin(b"two")
    bench.publish([0], b"0")
    bench.publish([0], b"1", b"2", transaction=one)
    bench.publish([0], b"3", transaction=two)
    bench.publish([0], b"4")
    assert bench.read(0) == [(0, b"0")]
    bench.end(two, True)
    assert bench.read(0) == [(0, b"0")]
    bench.end(one, True)
    assert bench.read(0) == [(number, b"%d" % number) for number in range(5)]
    assert not bench.coordinator.transactions


def test_what_was_aborted_is_passed_over(bench):
    one = bench.coordinator.begin(b"one", producer_id=77)
    bench.publish([0], b"0", transaction=one)
    bench.publish([0], b"1")
    bench.publish([0], b"2", transaction=one)
    bench.end(one, False)
    bench.publish([0], b"4")
    assert bench.read(0) == [(1, b"1"), (4, b"4")]
    of_log = bench.transactions.of(bench.logs[0])
    assert [(aborted.first, aborted.marker) for aborted in of_log.aborted_within(2, 4)] == [(0, 3)]
    assert of_log.aborted_within(4, 9) == []


def test_a_marker_counts_once_it_is_durable(bench):
    one = bench.coordinator.begin(b"one")
    bench.publish([0, QUEUE], b"0", transaction=one)
    bench.settle_down()
    bench.end(one, True)
    of_log = bench.transactions.of(bench.logs[0])
    assert of_log.visible_end(bench.logs[0].durable_offset) == 0
    assert bench.queue.visible_end() == 0
    bench.settle_down()
    assert of_log.visible_end(bench.logs[0].durable_offset) == 2
    assert bench.delivered == [(0, b"0")]


def test_a_transaction_over_several_logs_is_seen_whole(bench):
    one = bench.coordinator.begin(b"one")
    bench.publish([0, 1, QUEUE], b"0", transaction=one)
    bench.publish([1, QUEUE], b"1", transaction=one)
    bench.settle_down()
    assert (bench.read(0), bench.read(1), bench.delivered) == ([], [], [])
    bench.end(one, True)
    bench.settle_down()
    assert bench.read(0) == [(0, b"0")]
    assert bench.read(1) == bench.delivered == [(0, b"0"), (1, b"1")]


@pytest.mark.parametrize("committed", [True, False])
def test_settlements_wait_for_the_end(bench, committed):
    bench.publish([QUEUE], b"0", b"1", b"2")
    bench.settle_down()
    assert len(bench.delivered) == 3
    one = bench.coordinator.begin(b"one")
    assert bench.settle_in(one, 0, 2) == 2
    assert bench.settle_in(one, 0, 2) == 0
    bench.settle_down()
    assert bench.queue.subscription.leased_count == 3
    assert bench.consumer.leased == 1
    assert bench.logs[QUEUE].first_offset == 0
    bench.end(one, committed)
    bench.settle_down()
    assert bench.logs[QUEUE].first_offset == (2 if committed else 0)
    assert bench.delivered[3:] == ([] if committed else [(0, b"0"), (1, b"1")])


def test_what_was_settled_is_not_redelivered_before_the_abort_is_durable(bench):
    bench.publish([QUEUE], b"0")
    bench.settle_down()
    one = bench.coordinator.begin(b"one")
    bench.settle_in(one, 0, 1)
    bench.end(one, False)
    assert bench.queue.subscription.ready_count == 0
    bench.settle_down()
    assert bench.delivered == [(0, b"0")] * 2


@pytest.mark.parametrize("power", [True, False])
def test_a_prepared_transaction_survives_a_restart(bench, power):
    bench.publish([QUEUE], b"0", b"1")
    bench.settle_down()
    one = bench.coordinator.begin(b"xid", deadline_ms=5)
    bench.publish([0, QUEUE], b"2", transaction=one)
    bench.settle_in(one, 0, 1)
    bench.coordinator.prepare(one)
    bench.settle_down()
    bench.down(power)
    bench.open()
    bench.settle_down()
    assert bench.delivered == [(1, b"1")]
    assert bench.read(0) == []
    one = bench.coordinator.named(b"xid")
    assert bench.coordinator.expired(1 << 60) == []
    with pytest.raises(Refused, match="is prepared: it cannot be joined"):
        bench.publish([1], b"3", transaction=one)
    bench.end(one, True)
    bench.settle_down()
    assert bench.delivered == [(1, b"1"), (2, b"2")]
    assert bench.read(0) == [(0, b"2")]
    bench.down(power)
    bench.open()
    bench.settle_down()
    assert not bench.coordinator.transactions
    assert bench.delivered == [(1, b"1"), (2, b"2")]


def test_markers_that_a_crash_lost_are_written_again(bench):
    one = bench.coordinator.begin(b"one")
    bench.publish([0, 1], b"0", transaction=one)
    bench.coordinator.decide(one, False)
    bench.settle_down()
    bench.transactions.end([bench.logs[0].id], one.id, False)  # and the coordinator does not hear of it
    bench.settle_down()
    bench.down(True)
    bench.open()
    (one,) = bench.coordinator.decided()
    assert len(one.waiting) == 2
    bench.tell(one)
    bench.settle_down()
    assert [log.next_offset for log in bench.logs] == [2, 2, 0]
    assert bench.read(0) == bench.read(1) == []
    assert not bench.coordinator.decided()


def test_a_reader_that_begins_at_the_end_sees_what_was_held_back(bench):
    bench.publish([0], b"0")
    one = bench.coordinator.begin(b"one")
    bench.publish([0], b"1", transaction=one)
    bench.settle_down()
    assert bench.read(0, "last") == [(0, b"0")]
    consumer = bench._consumer(bench.topic)
    bench.topic.add_consumer(consumer, bench.topic.partitions[:1], "next")
    bench.end(one, True)
    bench.settle_down()
    assert consumer.attachment.sink.got == [(1, b"1")]


def test_a_reader_hears_of_the_first_transaction_of_its_log(bench):
    consumer = bench._consumer(bench.topic)
    bench.topic.add_consumer(consumer, bench.topic.partitions[:1], "first")
    bench.publish([0], b"0")
    bench.settle_down()
    one = bench.coordinator.begin(b"one")
    bench.publish([0], b"1", transaction=one)
    bench.settle_down()
    assert consumer.attachment.sink.got == [(0, b"0")]
    bench.end(one, False)
    bench.publish([0], b"3")
    bench.settle_down()
    assert consumer.attachment.sink.got == [(0, b"0"), (3, b"3")]


def test_get_looks_behind_what_is_passed_over(bench):
    bench.queue.remove_consumer(bench.consumer)
    one = bench.coordinator.begin(b"one")
    bench.publish([QUEUE], b"0", transaction=one)
    bench.publish([QUEUE], b"1")
    bench.end(one, False)
    bench.settle_down()
    getter = bench._consumer(bench.queue, token=None)
    found = bench.queue.take_one(getter)
    while found is None and bench.queue.is_waiting():
        bench.settle_down()
        found = bench.queue.take_one(getter)
    assert found is not None
    assert found.offset == 1


def test_trimming_forgets_what_was_aborted(bench):
    of_log = bench.transactions.of(bench.logs[0])
    for number in range(3):
        one = bench.coordinator.begin(b"")
        bench.publish([0], b"%d" % number, transaction=one)
        bench.end(one, False)
    bench.settle_down()
    bench.store.discard(bench.logs[0], 0, 4)
    of_log.trim()
    assert [aborted.marker for aborted in of_log.aborted_within(0, 100)] == [5]
    bench.transactions.drop(bench.logs[0])
    assert bench.store.scan(0, TRANSACTION_PREFIX, b"x;", 10) == []


def test_open_transactions_of_a_log_are_limited(bench):
    of_log = bench.transactions.of(bench.logs[0])
    for number in range(OPEN_MAX):
        of_log.appending(number + (1 << 40), -1, -1)
    with pytest.raises(Refused, match="10000 transactions are open"):
        bench.publish([0], b"x", transaction=bench.coordinator.begin(b""))
    assert bench.logs[0].next_offset == 0


def test_marker_bytes():
    entry = make_marker(7, True, 12, 3, 0x01020304)
    entry.seal()
    assert entry.data == bytes.fromhex("0101010004030201")
    assert (entry.codec, entry.flags & CONTROL, entry.count, entry.transaction_id, entry.producer_id, entry.producer_epoch) == (
        CODEC_MARKER,
        CONTROL,
        1,
        7,
        12,
        3,
    )
    assert read_marker(entry) == (True, 0x01020304)


@pytest.mark.parametrize("data", [b"", b"\x01\x01\x01\x00\x00\x00\x00", b"\x02\x02\x01\x00\x00\x00\x00\x00", b"\x01\x01\x02\x00\x00\x00\x00\x00"])
def test_what_is_no_marker(bench, data):
    entry = make_marker(7, True, -1, -1, 0)
    entry.seal()
    entry.data = data
    with pytest.raises(CorruptData):
        read_marker(entry)


@pytest.mark.parametrize(("kind", "value", "delta"), [(b"o", None, b"\x02"), (b"p", b"\x02", b"\x01"), (b"z", None, b"\x01")])
def test_state_that_no_version_wrote(kind, value, delta):
    with pytest.raises(CorruptData):
        default_folds().fold(TRANSACTION_PREFIX + bytes(16) + kind + bytes(8), value, delta)
