"""Long messages as receivers of SQS get them: translated beside the loop, once for all who ask, while everybody else goes on."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from crossing_bench import Bench as AcrossBench
from crossing_bench import Client as AcrossClient
from kafka_batches import ZSTD, batch, record
from test_pieces import Elsewhere
from timed_bench import TimedConnection

from entrepot.broker.calls.lease_calls import make_receive
from entrepot.broker.calls.port import DONE, PENDING
from entrepot.broker.calls.queue_requests import PurgeTimedQueue
from entrepot.broker.logs.hub import LARGE_BYTES, STEPS_MAX
from entrepot.broker.logs.long_translations import LongTranslations
from entrepot.broker.logs.pieces import Pieces
from entrepot.model.entry import CODEC_SQS
from entrepot.protocols.kafka.pieces import BESIDE_VALUE_MAX_BYTES, pieces_of
from entrepot.protocols.kafka.records import KafkaEntryCodec
from entrepot.protocols.sqs.packing import body_of
from entrepot.protocols.sqs.records import SqsEntryCodec

LONG = b"long" * (LARGE_BYTES // 4)


class Noted(SqsEntryCodec):
    """Notes how much was translated in the tick when it is asked for one more."""

    look = steps = None

    def from_record_batch(self, *what):
        if self.look is not None:
            self.steps.append(self.look())
        return super().from_record_batch(*what)


class Bench(AcrossBench):
    codecs = (KafkaEntryCodec, Noted)
    sent = 0

    def __init__(self, *args, **how):
        super().__init__(*args, **how)
        self.elsewhere = self.broker.hub.pieces.elsewhere = Elsewhere()

    def connect(self):
        return Client(self)

    def run_all(self):
        self.run()
        while self.elsewhere.work():
            self.run()


class Leased(NamedTuple):
    queue_id: bytes
    offset: int
    lease_id: bytes


class Client(AcrossClient, TimedConnection):
    """Receives as SQS does."""

    def start(self, count=10, wait_ms=0, visibility_ms=30_000, queue="q", attempt=b""):
        call = make_receive(1, queue, CODEC_SQS, count, visibility_ms, wait_ms)
        call.attempt_id = attempt
        self.door.submit(call)
        return call

    def messages_of(self, call):
        return [Leased(call.queue_id, item.offset, call.lease_id) for item in call.received]

    def bodies_of(self, call):
        assert call.outcome == DONE
        return [body_of(item.data, item.position) for item in call.received]


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
def client(bench):
    client = bench.connect()
    client.create()
    return client


def test_who_would_not_wait_waits_for_it_and_others_go_on(bench, client):
    client.create("d")
    client.put(LONG)
    client.put(b"short", key="d")
    call, other = client.start(), client.start(queue="d")
    bench.run()
    assert (call.outcome, client.bodies_of(other)) == (PENDING, [b"short"])
    assert bench.elsewhere.work() == 1
    bench.run()
    assert client.bodies_of(call) == [LONG]


def test_several_get_one_each_in_order(bench, client):
    for number in range(3):
        client.put(LONG + b"%d" % number)
    calls = [client.start(count=1, wait_ms=20_000) for _ in range(4)]
    bench.run_all()
    assert [client.bodies_of(call) for call in calls[:3]] == [[LONG + b"%d" % number] for number in range(3)]
    assert calls[3].outcome == PENDING
    assert bench.figure("long_translated_total") == 3


def test_what_is_short_before_it_is_answered_without_it(bench, client):
    client.put(b"short")
    client.put(LONG)
    call = client.start()
    bench.run()
    assert client.bodies_of(call) == [b"short"]


def test_again_without_translating_it_again(bench, client):
    client.put(LONG)
    for _ in range(3):
        call = client.start(visibility_ms=0)
        bench.run_all()
        assert client.bodies_of(call) == [LONG]
    assert bench.figure("long_translated_total") == 1
    assert bench.figure("long_translations_bytes") > len(LONG)


def test_so_much_is_kept_or_one(bench, client):
    bench.broker.hub.long_translations.size_max = 3 * len(LONG)
    client.create("d")
    for number in range(5):
        client.put(LONG + b"%d" % number)
    call = [client.start(count=1) for _ in range(5)]
    bench.run_all()
    assert [client.bodies_of(one) for one in call] == [[LONG + b"%d" % number] for number in range(5)]
    assert bench.figure("long_translations_bytes") < 3 * len(LONG)
    client.put(LONG * 4, key="d")
    one = client.start(queue="d")
    bench.run_all()
    assert client.bodies_of(one) == [LONG * 4]


@pytest.mark.parametrize("how", ["gone", "purged", "withdrawn"])
def test_meanwhile(bench, client, how):
    client.put(LONG)
    other = bench.connect()
    call = client.start(wait_ms=20_000)
    bench.run()
    if how == "gone":
        client.door.close()
    elif how == "purged":
        other.ask(PurgeTimedQueue("q"))
    else:
        client.withdraw(call)
    bench.run_all()
    again = other.start()
    bench.run_all()
    assert other.bodies_of(again) == ([] if how == "purged" else [LONG])
    assert call.received == []


def test_a_lease_that_ends_meanwhile(bench, client):
    client.put(LONG)
    client.put(LONG + b"2")
    first = client.start(count=1, visibility_ms=1000)
    bench.run_all()
    second = client.start(count=1, wait_ms=20_000)
    bench.run(2)
    bench.run_all()
    assert client.bodies_of(first) == client.bodies_of(second) == [LONG]  # the first is there again, before the second
    assert second.received[0].deliveries == 2


def test_in_the_order_of_groups(bench):
    client = bench.connect()
    client.create(groups=True)
    for number in range(3):
        client.until_done(client.start_send(LONG + b"%d" % number, groups=[b"g"], ids=[b"%d" % number]))
    call = client.start(attempt=b"a")
    bench.run_all()
    assert client.bodies_of(call) == [LONG + b"0"]  # what is there when it may be answered
    again = client.start(attempt=b"a")
    bench.run_all()
    assert client.bodies_of(again) == [LONG + b"0"]
    client.end(client.messages_of(call))
    behind = client.start()
    bench.run_all()
    assert client.bodies_of(behind) == [LONG + b"1"]


def test_an_attempt_again_whose_translations_are_gone(bench):
    client = bench.connect()
    client.create(groups=True)
    client.until_done(client.start_send(LONG, groups=[b"g"], ids=[b"1"]))
    call = client.start(attempt=b"a")
    bench.run_all()
    bench.broker.hub.long_translations._kept.clear()
    again = client.start(attempt=b"a")
    bench.run()
    assert again.outcome == PENDING
    bench.run_all()
    assert client.bodies_of(again) == client.bodies_of(call) == [LONG]


def test_what_cannot_be_translated_is_dropped_and_counted(bench, client, monkeypatch):
    client.put(LONG)
    client.put(b"behind")
    monkeypatch.setattr(Elsewhere, "work", work_that_fails)
    monkeypatch.setattr("entrepot.protocols.sqs.long_bodies.hashlib", None)
    call = client.start()
    bench.run_all()
    assert client.bodies_of(call) == [b"behind"]
    assert bench.figure("opaque_skipped_total") == 1


def work_that_fails(elsewhere):
    """As Beside does it: what fails is told all the same."""
    count = len(elsewhere.jobs)
    for run, done in elsewhere.jobs[:count]:
        with pytest.raises(AttributeError):
            run()
        done()
    del elsewhere.jobs[:count]
    return count


def test_so_much_is_translated_in_a_tick(bench, client):
    """Of messages that are not long, whoever asks for them."""
    hub = bench.broker.hub
    codec = hub.codec(CODEC_SQS)
    codec.look, codec.steps = (lambda: hub.translation_steps), []
    for number in range(12):
        client.create(f"q{number}")
        client.put(bytes(LARGE_BYTES - 1000), key=f"q{number}")
    calls = [client.start(queue=f"q{number}") for number in range(12)]
    bench.run_all()
    assert [call.outcome for call in calls] == [DONE] * 12
    assert len(codec.steps) == 12
    assert max(codec.steps) < STEPS_MAX


def test_a_record_of_kafka(bench, client):
    client.topic(max_message_bytes=str(8 << 20))
    client.bind()
    client.write(LONG * 5, compression=ZSTD)
    call = client.start(wait_ms=20_000)
    bench.run_all()
    assert client.bodies_of(call) == [LONG * 5]


@pytest.mark.parametrize("where", ["key", "header"])
@pytest.mark.parametrize("size", [BESIDE_VALUE_MAX_BYTES - 100, BESIDE_VALUE_MAX_BYTES + 1])
@pytest.mark.parametrize("value", [None, b"", b"v" * 100, b"v" * 2_000_000])
def test_so_much_besides_its_value(where, size, value):
    large = b"x" * size
    data = batch([record(large if where == "key" else None, value, [] if where == "key" else [(b"h", large)]), record(b"k", b"behind", delta=1)])
    pieces = pieces_of(data, 0, 1 << 26, 1 << 26)
    assert [bool(piece) for _, piece in pieces] == [size < BESIDE_VALUE_MAX_BYTES, True]
    assert sum(count for count, _ in pieces) == 2


def test_without_a_thread_it_is_there_at_once():
    found, told = LongTranslations(Pieces()), []
    entry = object()
    assert found.make(entry, 0, 1, b"", lambda: b"x", lambda: told.append(1))
    assert found.get(entry, 0, 1, b"") == (b"x",)
    assert found.get(entry, 1, 1, b"") is None
    assert told == []
