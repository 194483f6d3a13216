"""Long batches of Kafka's, and large messages, as readers of other protocols get them: in pieces of so many records and bytes, values copied once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from crossing_bench import Bench as AcrossBench
from kafka_batches import COMPRESSIONS, GZIP, NONE, ZSTD, batch, record

from entrepot.broker.calls.port import PENDING
from entrepot.broker.calls.topic_requests import FindOffset
from entrepot.broker.logs.hub import LARGE_BYTES, STEPS_MAX, Hub
from entrepot.model.entry import CODEC_AMQP_091, CODEC_KAFKA, restore_entry, stored_entry
from entrepot.protocols.amqp091.records import AmqpEntryCodec
from entrepot.protocols.kafka import records as kafka_records
from entrepot.protocols.kafka.pieces import PIECE_BYTES, PIECE_RECORDS
from entrepot.protocols.kafka.records import LONG_BYTES, LONG_RECORDS, KafkaEntryCodec

LONG = LONG_RECORDS + 1000
ADDRESS = b"\0\x01t"


class Noted(KafkaEntryCodec):
    """Notes how much is translated in one go: (records, bytes)."""

    def __init__(self):
        super().__init__(record_max_bytes=2 * LONG_BYTES)
        self.noted = []

    def to_record_batch(self, data, base_offset, append_time_ms):
        found = super().to_record_batch(data, base_offset, append_time_ms)
        at = kafka_records.batch_at(data)
        self.noted.append((int.from_bytes(data[at + 57 : at + 61], "big"), 0 if found is None else len(found)))
        return found

    def from_record_batch(self, batch, base_offset, append_time_ms, address):
        self.noted.append((1, len(batch)))
        return super().from_record_batch(batch, base_offset, append_time_ms, address)


class Loop:
    def call_soon(self, function):
        pass


class Elsewhere:
    """A thread beside the loop that works when it is told to."""

    def __init__(self):
        self.jobs: list[tuple[Callable[[], object], Callable[[], object]]] = []

    def __call__(self, run, done):
        self.jobs.append((run, done))

    def work(self):
        count = len(self.jobs)
        for run, done in self.jobs[:count]:
            run()
            done()
        del self.jobs[:count]
        return count


class Bench(AcrossBench):
    codecs = (Noted,)

    def __init__(self, *args, **how):
        super().__init__(*args, **how)
        self.elsewhere = self.broker.hub.pieces.elsewhere = Elsewhere()

    @property
    def noted(self):
        return self.broker.hub.codec(CODEC_KAFKA).noted

    def run_all(self):
        self.run()
        while self.elsewhere.work():
            self.run()


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
def client(bench):
    return bench.connect()


def numbered(count):
    return [b"%d" % number for number in range(count)]


def everything(bench, client, limit=1000):
    """What the consumer gets, each part of it accepted."""
    got = []
    bench.run_all()
    while bodies := client.bodies():
        assert len(bodies) <= limit
        got += bodies
        client.accept()
        bench.run_all()
    return got


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_many_records_in_a_stream(bench, client, compression):
    client.topic()
    client.write(*numbered(LONG), compression=compression)
    client.write(b"behind", compression=compression)
    client.consume(queue="t", start="first", limit=1000)
    assert everything(bench, client) == [*numbered(LONG), b"behind"]
    assert max(bench.noted)[0] <= PIECE_RECORDS
    assert bench.figure("divided_total") == 1
    assert bench.figure("translated_total") == LONG + 1


def test_the_loop_waits_for_no_piece_and_others_go_on(bench, client):
    client.topic()
    client.topic("u")
    client.write(*numbered(LONG), compression=ZSTD)
    client.write(b"other", topic="u")
    client.consume(queue="t", start=LONG_RECORDS, limit=10)
    client.consume("again", queue="t", start=3, limit=2)
    client.consume("d", queue="u", start="first", limit=10)
    bench.run()
    assert (client.bodies(), client.bodies("again"), client.bodies("d")) == ([], [], [b"other"])
    assert bench.elsewhere.work() == 1  # for both
    bench.run()
    assert client.bodies() == numbered(LONG)[LONG_RECORDS : LONG_RECORDS + 10]
    assert client.bodies("again") == [b"3", b"4"]


@pytest.mark.once
@pytest.mark.parametrize("queue", ["t", "q"])
def test_so_much_is_translated_in_a_tick(bench, client, queue, monkeypatch):
    """Whoever asks: here two consumers with room for all of it, of many batches that are not long."""
    client.topic()
    client.declare()
    client.bind()
    for number in range(12):
        client.write(*[b"%d %d" % (number, index) for index in range(LONG_RECORDS)])
    bench.run()
    hub, steps = bench.broker.hub, []
    translate = Noted.to_record_batch

    def noted(codec, *what):
        steps.append(hub.translation_steps)
        return translate(codec, *what)

    monkeypatch.setattr(Noted, "to_record_batch", noted)
    how = {"start": "first"} if queue == "t" else {}
    client.consume(queue=queue, limit=100_000, **how)
    client.consume("again", queue=queue, limit=100_000, **how)
    bench.run_all()
    assert len(client.bodies()) + len(client.bodies("again")) == 12 * LONG_RECORDS * (2 if queue == "t" else 1)
    assert len(steps) >= 12
    assert max(steps) < STEPS_MAX


def test_a_consumer_that_has_gone_meanwhile_gets_nothing(bench, client):
    client.topic()
    client.write(*numbered(LONG))
    client.consume(queue="t", start="first", limit=10)
    bench.run()
    client.door.close()
    bench.run_all()
    assert client.bodies() == []


@pytest.mark.parametrize("compression", [NONE, GZIP])
def test_many_records_in_a_queue(bench, client, compression):
    client.topic()
    client.declare()
    client.bind()
    client.write(*numbered(LONG), compression=compression)
    client.consume(limit=1000)
    assert everything(bench, client) == numbered(LONG)
    assert max(bench.noted)[0] <= PIECE_RECORDS


def test_many_bytes_in_few(bench, client):
    """They unpack to fifty times what they come in."""
    client.topic()
    values = [b"%d" % number + bytes(LONG_BYTES // 8) for number in range(40)]
    client.write(*values, compression=ZSTD)
    client.consume(queue="t", start="first", limit=100)
    assert everything(bench, client) == values
    assert max(size for _, size in bench.noted) <= 2 * PIECE_BYTES


def test_a_record_that_no_message_may_be_as_large_as_is_skipped(bench, client):
    client.topic(max_message_bytes=str(8 << 20))
    client.write(b"before", bytes(2 * LONG_BYTES + 1), b"behind")
    client.consume(queue="t", start="first", limit=100)
    assert everything(bench, client) == [b"before", b"behind"]
    assert bench.figure("opaque_skipped_total") == 1


def test_what_cannot_be_unpacked_any_more_is_skipped(bench, client, monkeypatch):
    """The limit was lowered since."""
    lowered = KafkaEntryCodec(LONG_BYTES)
    monkeypatch.setattr(Noted, "pieces", lambda _codec, data: lowered.pieces(data))
    client.topic()
    client.write(*[bytes(LONG_BYTES)] * 2, compression=ZSTD)
    client.write(b"behind")
    client.consume(queue="t", start="first", limit=100)
    assert everything(bench, client) == [b"behind"]


def test_pieces_are_bounded_and_made_again(bench, client):
    client.topic()
    bench.broker.hub.pieces.size_max = 1
    for _ in range(3):
        client.write(*numbered(LONG))
    client.consume(queue="t", start="first", limit=LONG)
    client.consume("d", queue="t", start=LONG, limit=LONG)
    bench.run_all()
    assert (client.bodies(), client.bodies("d")) == (numbered(LONG), numbered(LONG))
    assert bench.figure("pieces_bytes") < LONG * 20


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("count", [10, LONG])
def test_the_first_record_of_a_time(count, compression):
    codec = KafkaEntryCodec()
    data = batch([record(delta=index, time_delta=3 * index - 10) for index in range(count)], compression, base_time=5_000)
    for entry in (data, codec.prefix(ADDRESS) + data):
        for time_ms, expected in ((0, 0), (4_990, 0), (4_991, 1), (5_000, 4), (5_000 + 3 * (count - 1) - 10, count - 1)):
            assert codec.first_at(entry, 100, time_ms) == (100 + expected, 4_990 + 3 * expected)
        assert codec.first_at(entry, 100, 5_000 + 3 * count) == (100, -1)
        assert codec.first_at(entry, 100, 2**62) == (100, -1)


def test_it_is_looked_for_in_a_long_batch_beside_the_loop(bench, client):
    client.topic()
    client.write(*numbered(LONG), compression=ZSTD)
    call = client.submit(FindOffset("t", 0, 5_000))
    bench.run()
    assert call.outcome == PENDING
    assert bench.elsewhere.work() == 1
    bench.run()
    assert call.result[:2] == (0, 5_000)


def hub():
    found = Hub(Loop(), None)
    found.translations.size_max = 0
    found.register(AmqpEntryCodec())
    found.register(Noted())
    return found


@pytest.mark.parametrize("headers", [[], [(b"name", b"value"), (b"priority", b"3")]])
@pytest.mark.parametrize("key", [None, b"key"])
@pytest.mark.parametrize("size", [LARGE_BYTES + 1, 3 << 20])
def test_a_large_value_is_the_same_and_copied_once(headers, key, size):
    value = bytes(range(256)) * (size // 256)
    noted = hub()
    codec, amqp = noted.codec(CODEC_KAFKA), noted.codec(CODEC_AMQP_091)
    data = batch([record(key, value, headers)], base_offset=9)
    there = amqp.from_record_batch(KafkaEntryCodec().to_record_batch(data, 9, 5), 9, 5, ADDRESS)
    assert noted.translated(stored_entry(9, restore_entry(CODEC_KAFKA, 1, 0, 1, 1, data)), CODEC_AMQP_091, ADDRESS) == there
    back = KafkaEntryCodec().from_record_batch(amqp.to_record_batch(there, 7, 5), 7, 5, ADDRESS)
    assert noted.translated(stored_entry(7, restore_entry(CODEC_AMQP_091, 1, 0, 1, 1, there)), CODEC_KAFKA, ADDRESS) == back
    assert max(size for _, size in codec.noted) < 1024


def test_a_large_value_that_is_said_to_be_null_is_there():
    amqp = AmqpEntryCodec()
    table = b"\x0cx-null-valuet\x01"
    properties = b"\x20\0" + len(table).to_bytes(4, "big") + table
    body = bytes(LARGE_BYTES)
    data = amqp.prefix(ADDRESS) + len(properties).to_bytes(4, "big") + len(body).to_bytes(4, "big") + properties + body
    found = hub().translated(stored_entry(0, restore_entry(CODEC_AMQP_091, 1, 0, 1, 1, data)), CODEC_KAFKA)
    assert found == KafkaEntryCodec().from_record_batch(amqp.to_record_batch(data, 0, 0), 0, 0, ADDRESS)
    assert found is not None
    assert body in found
