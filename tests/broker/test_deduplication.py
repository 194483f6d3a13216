import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transaction_bench import Bench

from both_modes import examples
from entrepot.broker.producers.deduplication import KAFKA_WRAP, NO_WRAP, Deduplication
from entrepot.broker.producers.producer_state import BATCHES_MAX, PRODUCER_PREFIX, Verdict, fold_producer
from entrepot.model.errors import CorruptData


@pytest.fixture
def bench():
    return Bench()


def send(bench, producers, sequence, count=1, producer=9, epoch=0, now_ms=1000, log=None):
    """As an owner does: judged, then appended if it is the next one."""
    log = log or bench.logs[0]
    verdict, batch = producers.check(log, producer, epoch, sequence, count, now_ms)
    if verdict is Verdict.OK:
        producers.append(log, producer, epoch, sequence, count, now_ms)
        bench.store.append([log], bench.entry(*[b"x"] * count))
        bench.store.urgent()
    return verdict, batch


def test_verdicts(bench):
    producers = bench.producers
    assert send(bench, producers, 40, 2) == (Verdict.OK, None)
    assert send(bench, producers, 42, 3)[0] is Verdict.OK
    verdict, batch = send(bench, producers, 40, 2)
    assert (verdict, batch.base, batch.span) == (Verdict.DUPLICATE, 0, 2)
    assert send(bench, producers, 42, 2)[0] is Verdict.GAP
    assert send(bench, producers, 46)[0] is Verdict.GAP
    assert send(bench, producers, 5, epoch=1)[0] is Verdict.GAP
    assert send(bench, producers, 0, epoch=1)[0] is Verdict.OK
    assert send(bench, producers, 45)[0] is Verdict.FENCED
    assert send(bench, producers, 3, producer=-5)[0] is Verdict.OK
    assert send(bench, producers, 0, log=bench.logs[1])[0] is Verdict.OK


def test_sequences_wrap_where_the_protocol_says_so(bench):
    last = KAFKA_WRAP - 2
    assert send(bench, bench.producers, last, 4)[0] is Verdict.OK
    assert send(bench, bench.producers, 2)[0] is Verdict.OK
    endless = Deduplication(bench.store, wrap=NO_WRAP)
    assert send(bench, endless, last, 4, producer=1)[0] is Verdict.OK
    assert send(bench, endless, last + 4, producer=1)[0] is Verdict.OK


def test_a_markers_epoch_fences(bench):
    send(bench, bench.producers, 0)
    bench.producers.fence(bench.logs[0], 9, 3, 1000)
    bench.producers.fence(bench.logs[0], 9, 2, 1000)
    assert send(bench, bench.producers, 1, epoch=2)[0] is Verdict.FENCED
    assert send(bench, bench.producers, 1, epoch=3)[0] is Verdict.GAP
    assert send(bench, bench.producers, 0, epoch=3)[0] is Verdict.OK


def test_the_table_is_capped_and_the_silent_make_room(bench):
    producers = Deduplication(bench.store, producers_max=2, idle_ms=100)
    assert send(bench, producers, 0, producer=1, now_ms=0)[0] is Verdict.OK
    assert send(bench, producers, 0, producer=2, now_ms=50)[0] is Verdict.OK
    assert send(bench, producers, 1, producer=1, now_ms=60)[0] is Verdict.OK
    assert send(bench, producers, 0, producer=3, now_ms=149)[0] is Verdict.FULL
    assert send(bench, producers, 2, producer=1, now_ms=149)[0] is Verdict.OK
    assert send(bench, producers, 0, producer=3, now_ms=150)[0] is Verdict.OK
    assert producers.producer(bench.logs[0], 2) is None
    assert len(bench.store.scan(0, PRODUCER_PREFIX, b"p;", 10)) == 2


def test_it_outlives_the_records_but_not_the_log(bench):
    send(bench, bench.producers, 0, 3)
    bench.settle_down()
    bench.store.discard(bench.logs[0], 0, 3)
    bench.settle_down()
    bench.down(True)
    bench.open()
    assert send(bench, bench.producers, 0, 3)[0] is Verdict.DUPLICATE
    bench.producers.forget(bench.logs[0])
    assert len(bench.producers) == 0
    assert bench.store.scan(0, PRODUCER_PREFIX, b"p;", 10) == []


def test_state_that_no_version_wrote():
    with pytest.raises(CorruptData):
        fold_producer(b"p:", None, b"\x03")
    with pytest.raises(CorruptData):
        fold_producer(b"p:", b"\x00", b"\x01")
    assert fold_producer(b"p:", b"\x01", b"") is None
    with pytest.raises(CorruptData):
        fold_producer(b"p:", None, b"\x01" + bytes(13))


step = st.one_of(
    st.tuples(st.just("send"), st.integers(0, 1), st.integers(1, 2), st.integers(-8, 3), st.integers(1, 3), st.integers(-1, 1)),
    st.tuples(st.just("down"), st.booleans(), st.booleans()),
)


@settings(max_examples=examples(25), deadline=None)
@given(seed=st.integers(0, 1000), steps=st.lists(step, max_size=40))
def test_agrees_with_a_model_that_remembers_every_batch(seed, steps):
    """The model keeps all batches of each (log, producer): what was told OK and made durable is a duplicate for ever, or too old to say."""
    bench = Bench(seed)
    model = {}  # (log, producer) -> (epoch, batches of it)
    history = [(None, {})]  # (group, model after it)
    for name, *words in steps:
        if name == "down":
            power, settled = words
            if settled:
                bench.settle_down()
            durable = max(number for number, (group, _) in enumerate(history) if group is None or group.durable)
            bench.down(power)
            bench.open()
            kept = {(log, producer): bench.producers.producer(bench.logs[log], producer) for log in (0, 1) for producer in (1, 2)}
            told = {key: (found.epoch, [batch[:3] for batch in found.batches]) for key, found in kept.items() if found is not None}
            possible = [after for _, after in history[durable:]]
            recent = [{key: (epoch, batches[-BATCHES_MAX:]) for key, (epoch, batches) in after.items()} for after in possible]
            assert told in recent
            model = copy.deepcopy(possible[recent.index(told)])
            history = [(None, copy.deepcopy(model))]
            continue
        log, producer, shift, count, newer = words
        epoch, batches = model.get((log, producer), (0, None))
        following = 0 if not batches else batches[-1][0] + batches[-1][2]
        sequence = max(0, following + shift)
        verdict, batch = send(bench, bench.producers, sequence, count, producer, epoch + newer, log=bench.logs[log])
        base = bench.logs[log].next_offset - count
        if batches is None:
            expected = Verdict.OK
        elif newer:
            expected = Verdict.FENCED if newer < 0 else Verdict.OK if sequence == 0 else Verdict.GAP
        elif any((first, size) == (sequence, count) for first, _, size in batches[-BATCHES_MAX:]):
            expected = Verdict.DUPLICATE
            assert (batch.first_sequence, batch.base, batch.span) in batches
        else:
            expected = Verdict.OK if sequence == following else Verdict.GAP
        assert verdict is expected
        if expected is Verdict.OK:
            model[log, producer] = (epoch + newer, ([] if newer or batches is None else batches) + [(sequence, base, count)])
            history.append((bench.store.group(), copy.deepcopy(model)))


def test_a_batch_that_got_its_time_at_the_append_is_answered_with_it(bench):
    log, producers = bench.logs[0], bench.producers
    send(bench, producers, 0, 2)
    for sequence, base, time_ms in ((2, 2, 5000), (4, 4, -1)):
        assert producers.judge(log, 9, 0, sequence, 2, 1000) == Verdict.OK
        producers.note(log, 9, 0, sequence, base, 2, 1000, time_ms)
        bench.store.append([log], bench.entry(b"x", b"x"))
        bench.store.urgent()
    expected = [(0, -1), (2, 5000), (4, -1)]
    assert [(sequence, producers.check(log, 9, 0, sequence, 2, 1000)[1].time_ms) for sequence, _ in expected] == expected
    bench.settle_down()
    bench.down(True)
    bench.open()
    log, producers = bench.logs[0], bench.producers
    assert [(sequence, producers.check(log, 9, 0, sequence, 2, 1000)[1].time_ms) for sequence, _ in expected] == expected
    for sequence in range(6, 20, 2):
        assert send(bench, producers, sequence, 2)[0] is Verdict.OK
    assert [batch.first_sequence for batch in producers.producer(log, 9).batches] == [10, 12, 14, 16, 18]
    assert send(bench, producers, 0, 2, epoch=1)[0] is Verdict.OK
    assert [batch.time_ms for batch in producers.producer(log, 9).batches] == [-1]


class TestManyProducers:
    """Two holders of a table for ten, eight of them for one."""

    @pytest.fixture
    def producers(self, bench):
        producers = Deduplication(bench.store, producers_max=10, idle_ms=1000, retry_ms=100)
        producers.hold("mallory")
        self.sent = [send(bench, producers, 0, producer=number, now_ms=number)[0] for number in range(20)]
        return producers

    def test_one_holder_cannot_have_it_all(self, bench, producers):
        assert self.sent == [Verdict.OK] * 8 + [Verdict.FULL] * 12
        producers.hold("ada")
        assert [send(bench, producers, 0, producer=100 + number, now_ms=20)[0] for number in range(3)] == [Verdict.OK, Verdict.OK, Verdict.FULL]
        assert send(bench, producers, 1, producer=100, now_ms=20)[0] is Verdict.OK

    def test_a_full_table_makes_room_as_soon_as_nobody_sends_again(self, bench, producers):
        producers.hold("ada")
        sent = [send(bench, producers, 0, producer=100 + number, now_ms=105)[0] for number in range(9)]
        assert sent == [Verdict.OK] * 8 + [Verdict.FULL]
        assert {number for number in range(8) if producers.producer(bench.logs[0], number)} == {6, 7}
        assert len(producers) == 10

    def test_ones_own_make_room_at_ones_own_limit(self, bench, producers):
        assert send(bench, producers, 1, producer=0, now_ms=99)[0] is Verdict.OK
        assert send(bench, producers, 0, producer=50, now_ms=101)[0] is Verdict.OK
        assert [producers.producer(bench.logs[0], number) is None for number in range(3)] == [False, True, False]

    def test_the_silent_are_forgotten_though_there_is_room(self, bench, producers):
        assert send(bench, producers, 0, producer=50, now_ms=1001)[0] is Verdict.OK
        assert len(producers) == 7

    def test_a_producer_is_of_who_sent_last(self, bench, producers):
        producers.hold("ada")
        for number in range(8):
            assert send(bench, producers, 1, producer=number, now_ms=30)[0] is Verdict.OK
        producers.hold("mallory")
        assert [send(bench, producers, 0, producer=50 + number, now_ms=30)[0] for number in range(3)] == [Verdict.OK, Verdict.OK, Verdict.FULL]
