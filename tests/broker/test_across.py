"""What crosses protocols: Kafka's batches in streams and queues, AMQP's messages in Kafka's reads; limits, dead letters, routes."""

from __future__ import annotations

import pytest
from aiokafka.record.default_records import DefaultRecordBatch
from crossing_bench import Bench
from kafka_batches import COMPRESSIONS, LZ4, ZSTD
from partition_bench import ROOMY

from entrepot.broker.calls import requests as r
from entrepot.broker.calls.partition_calls import make_read_part
from entrepot.broker.logs.key_hash import key_hash
from entrepot.model.entry import OPAQUE


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
def client(bench):
    return bench.connect()


class TestStreams:
    @pytest.mark.parametrize("compression", COMPRESSIONS)
    def test_a_topic_of_kafka_is_read_as_a_stream(self, bench, client, compression):
        client.topic()
        client.write(b"a", b"b", compression=compression)
        client.consume(queue="t", start="first", limit=100)
        client.write(b"c", compression=compression)
        bench.run()
        assert client.bodies() == [b"a", b"b", b"c"]
        assert client.headers[0][0] == b"t"  # the routing key

    def test_from_the_middle_of_a_batch(self, bench, client):
        client.topic()
        client.write(b"a", b"b", b"c", compression=LZ4)
        client.consume(queue="t", start=1, limit=100)
        bench.run()
        assert client.bodies() == [b"b", b"c"]

    def test_slices_of_a_batch_against_credit(self, bench, client):
        client.topic()
        client.write(*(b"%d" % number for number in range(50)), compression=ZSTD)
        client.consume(queue="t", start="first", limit=7)
        bench.run()
        got = client.bodies()
        assert len(got) == 7
        for _ in range(10):
            client.accept()
            bench.run()
            got += client.bodies()
        assert got == [b"%d" % number for number in range(50)]
        assert bench.figure("translated_total") == 50

    def test_what_is_opaque_is_skipped_and_counted(self, bench, client):
        client.topic()
        client.write(b"a")
        client.write(b"secret", flags=OPAQUE)
        client.write(b"b")
        client.consume(queue="t", start="first", limit=100)
        bench.run()
        assert client.bodies() == [b"a", b"b"]
        assert bench.figure("opaque_skipped_total") == 1
        assert client.values() == [b"a", b"secret", b"b"]  # whole for readers of its own protocol


class TestReads:
    def test_messages_of_amqp_at_their_offsets(self, bench, client):
        client.topic()
        client.write(b"k0")
        client.put(b"a", b"b", key="t", headers=[(b"x-key", b"S" + (3).to_bytes(4, "big") + b"key")])
        client.write(b"k1")
        assert [(offset, key, value) for offset, _, key, value, _ in client.fetched()] == [
            (0, None, b"k0"),
            (1, b"key", b"a"),
            (2, b"key", b"b"),
            (3, None, b"k1"),
        ]

    def test_they_have_the_time_of_their_append(self, bench, client):
        client.topic()
        client.put(b"a", key="t")
        (_, timestamp, _, _, _) = client.fetched()[0]
        assert abs(timestamp - bench.clock.wall_ms()) < 60_000

    def test_a_read_again_translates_nothing(self, bench, client):
        client.topic()
        client.put(b"a", b"b", key="t")
        assert client.values() == client.values() == [b"a", b"b"]
        assert bench.figure("translated_total") == 2
        assert bench.figure("translations_found_total") == 2
        assert bench.figure("translations_bytes") > 0

    def test_one_answer_translates_so_many_and_no_more(self):
        client = Bench(settings=ROOMY).connect()
        client.topic()
        for number in range(70):
            client.put(*[b"%d" % number] * 512, key="t")
        part = make_read_part("t", 0, 0, 1 << 24)
        client.wait(client.ask_read([part], max_bytes=1 << 24))
        read = sum(len(list(DefaultRecordBatch(data))) for data in part.data)
        assert 6_000 <= read < 7_000  # three in a step
        assert len(client.values()) == 70 * 512

    def test_an_answer_ends_where_a_tick_has_translated_enough(self):
        client = Bench(settings=ROOMY).connect()
        client.topic()
        for number in range(4):
            client.put(bytes([number]) * (3 << 20), key="t")
        part = make_read_part("t", 0, 0, 1 << 26)
        client.wait(client.ask_read([part], max_bytes=1 << 26))
        assert len(part.data) == 2  # 1536 steps each, of 2000

    def test_translations_are_bounded(self, bench, client):
        client.topic()
        bench.broker.hub.translations.size_max = 2000
        for _ in range(30):
            client.put(b"x" * 100, key="t")
        assert len(client.values()) == 30
        assert bench.figure("translations_bytes") <= 2000

    def test_of_a_topic_of_several_partitions_by_key(self, bench, client):
        client.topic(partitions=3)
        for key in (b"red", b"green", b"blue", b"red"):
            client.put(b"of " + key, key="t", headers=[(b"x-key", b"x" + len(key).to_bytes(4, "big") + key)])
        for partition in range(3):
            for _, _, key, value, _ in client.fetched(partition=partition):
                assert key_hash(key) % 3 == partition
                assert value == b"of " + key
        assert sum(len(client.values(partition=partition)) for partition in range(3)) == 4

    def test_without_a_key_runs_take_turns(self, bench, client):
        client.topic(partitions=3)
        for number in range(6):
            client.put(b"a%d" % number, b"b%d" % number, key="t")
        runs = [client.values(partition=partition) for partition in range(3)]
        assert sorted(map(len, runs)) == [4, 4, 4]
        for run in runs:
            assert [value[1:] for value in run[::2]] == [value[1:] for value in run[1::2]]


def test_keys_are_where_kafkas_producers_put_them():
    # the values of Kafka's own test of its hash
    known = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536, b"a-little-bit-longer-string": -1486304829, b"abc": 479470107}
    for key, hashed in known.items():
        assert key_hash(key) == hashed & 0x7FFFFFFF


class TestQueues:
    @pytest.mark.parametrize("compression", COMPRESSIONS)
    @pytest.mark.parametrize("durable", [True, False])
    def test_a_topics_subject_leads_to_queues(self, bench, client, compression, durable):
        client.topic("orders.eu")
        client.declare(durable=durable)
        client.declare("other")
        client.bind(key="orders.*")
        client.bind("other", key="elsewhere")
        client.write(b"a", b"b", topic="orders.eu", compression=compression)
        client.consume()
        bench.run()
        assert client.bodies() == [b"a", b"b"]
        assert client.headers[0][0] == b"orders.eu"
        assert client.get("other") is None
        assert client.values(topic="orders.eu") == [b"a", b"b"]
        client.accept()
        bench.run()
        assert bench.queue().depth() == 0
        assert bench.figure("sent_on_total") == 2

    def test_a_topic_that_leads_nowhere_is_stored_as_it_came(self, bench, client):
        client.topic()
        client.write(b"a")
        assert bench.figure("sent_on_total") == 0
        (stored,) = [bench.topic().logs[0].reader().at(0)]
        assert stored.entry.codec_version == 1
        assert stored.entry.data[0] == 0

    def test_bindings_come_and_go(self, bench, client):
        client.topic()
        client.declare()
        client.write(b"before")
        client.bind()
        client.write(b"between")
        client.ask(r.Bind("amq.topic", "q", routing_key="t", remove=True))
        client.write(b"after")
        client.consume()
        bench.run()
        assert client.bodies() == [b"between"]
        assert client.values() == [b"before", b"between", b"after"]

    def test_one_entry_in_several_logs_survives_a_restart(self, bench, client):
        client.topic()
        for name in ("q1", "q2"):
            client.declare(name)
            client.bind(name)
        client.write(b"a", b"b", compression=ZSTD)
        bench = bench.reopen()
        client = bench.connect()
        assert client.get("q1", auto_settle=True) == (b"a", False, 1)
        assert client.get("q2", auto_settle=True) == (b"a", False, 1)
        assert client.values() == [b"a", b"b"]

    def test_a_record_is_given_back_and_comes_again(self, bench, client):
        client.topic()
        client.declare()
        client.bind()
        client.write(b"a", b"b", b"c", compression=LZ4)
        client.consume()
        bench.run()
        assert client.bodies() == [b"a", b"b", b"c"]
        client.release(count=1, index=1)
        bench.run()
        assert client.deliveries() == [(b"b", True)]

    def test_records_of_both_protocols_in_one_queue(self, bench, client):
        client.topic()
        client.declare()
        client.bind()
        client.put(b"1", key="q")
        client.write(b"2", b"3")
        client.put(b"4", key="q")
        client.write(b"5", compression=ZSTD)
        client.consume()
        bench.run()
        assert client.bodies() == [b"1", b"2", b"3", b"4", b"5"]

    def test_rejected_ones_are_dead_lettered(self, bench, client):
        client.topic()
        client.declare("dead")
        client.declare(x_dead_letter_exchange="", x_dead_letter_routing_key="dead")
        client.bind()
        client.write(b"a", b"b", compression=ZSTD, headers=[(b"h", b"text")])
        client.consume()
        bench.run()
        client.reject(count=1, index=1)
        bench.run()
        assert client.get("dead") == (b"b", False, 0)
        headers = client.headers[-1][1]
        assert headers["h"] == b"S\x00\x00\x00\x04text"
        assert "x-death" in headers

    def test_rejected_ones_wait_for_a_target_that_is_elsewhere(self, bench, client):
        client.topic()
        client.declare("grave")
        client.declare(x_dead_letter_exchange="", x_dead_letter_routing_key="grave")
        client.bind()
        client.write(b"a", b"b", compression=ZSTD, headers=[(b"h", b"text")])
        client.consume()
        bench.run()
        moves, shard = bench.broker.shard_moves, bench.broker.shards.shard("queue", "public/default", "grave")
        moves.close(shard, lambda: None)
        bench.run()
        client.reject()
        bench.run()
        assert bench.figure("intents") == 1
        moves.open(shard, bench.store.epoch, lambda: None)
        bench.run()
        assert [client.get("grave")[0], client.get("grave")[0]] == [b"a", b"b"]
        headers = client.headers[-1][1]
        assert headers["h"] == b"S\x00\x00\x00\x04text"
        assert "x-death" in headers

    def test_they_expire_as_the_queue_says(self, bench, client):
        client.topic()
        client.declare("dead")
        client.declare(x_message_ttl=1000, x_dead_letter_exchange="", x_dead_letter_routing_key="dead")
        client.bind()
        client.write(b"a", b"b", compression=ZSTD)
        bench.run(3)
        assert client.get() is None
        assert [client.get("dead")[0], client.get("dead")[0]] == [b"a", b"b"]

    def test_a_limit_in_messages_drops_the_head(self, bench, client):
        client.topic()
        client.declare(x_max_length=3)
        client.bind()
        client.write(b"a", b"b", compression=ZSTD)
        client.write(b"c", b"d")
        bench.run()
        client.consume()
        bench.run()
        assert client.bodies() == [b"b", b"c", b"d"]

    def test_a_limit_in_bytes_drops_the_head(self, bench, client):
        client.topic()
        client.declare(x_max_length_bytes=25)
        client.bind()
        client.write(b"a" * 10, b"b" * 10, compression=ZSTD)
        client.write(b"c" * 10)
        bench.run()
        client.consume()
        bench.run()
        assert client.bodies() == [b"b" * 10, b"c" * 10]
        assert client.values() == [b"a" * 10, b"b" * 10, b"c" * 10]

    def test_what_a_full_queue_refuses_is_in_the_topic_alone(self, bench, client):
        client.topic()
        client.declare("dead")
        client.declare(x_max_length=3, x_overflow="reject-publish-dlx", x_dead_letter_exchange="", x_dead_letter_routing_key="dead")
        client.bind()
        client.write(b"a", b"b")
        client.write(b"c", b"d")
        bench.run()
        client.consume()
        bench.run()
        assert client.bodies() == [b"a", b"b", b"c"]
        assert client.get("dead")[0] == b"d"
        assert client.values() == [b"a", b"b", b"c", b"d"]

    def test_opaque_batches_stay_in_the_topic(self, bench, client):
        client.topic()
        client.declare()
        client.bind()
        client.write(b"secret", flags=OPAQUE)
        assert client.get() is None
        assert client.values() == [b"secret"]
        assert bench.figure("sent_on_opaque_total") == 1

    def test_by_headers(self, bench, client):
        client.topic()
        client.declare()
        client.ask(r.DeclareExchange("match", "headers", durable=True))
        client.ask(r.Bind("amq.topic", "match", "exchange", "t"))
        client.bind(exchange="match", key="", headers={"x-match": "all", "colour": "red"})
        client.write(b"a", headers=[(b"colour", b"red")])
        client.write(b"b", headers=[(b"colour", b"blue")])
        assert client.get()[0] == b"a"
        assert client.get() is None
        assert client.values() == [b"a", b"b"]


class TestTopics:
    def test_one_hop_and_never_back(self, bench, client):
        for name in ("a", "b", "c"):
            client.topic(name)
        client.bind("b", key="a")
        client.bind("a", key="a")
        client.bind("c", key="b")
        client.write(b"x", topic="a")
        client.write(b"y", topic="b")
        assert client.values(topic="a") == [b"x"]
        assert client.values(topic="b") == [b"x", b"y"]
        assert client.values(topic="c") == [b"y"]

    def test_a_batch_in_another_log_has_its_offsets_there(self, bench, client):
        client.topic("a")
        client.topic("b")
        client.bind("b", key="a")
        client.write(b"0", b"1", topic="b")
        client.write(b"2", b"3", topic="a", compression=ZSTD)
        assert [(offset, value) for offset, _, _, value, _ in client.fetched(topic="b")] == [(0, b"0"), (1, b"1"), (2, b"2"), (3, b"3")]
        assert [(offset, value) for offset, _, _, value, _ in client.fetched(topic="a")] == [(0, b"2"), (1, b"3")]

    def test_to_a_topic_of_several_partitions(self, bench, client):
        client.topic("a")
        client.topic("b", partitions=2)
        client.bind("b", key="a")
        client.write(b"0", b"1", b"2", topic="a", keys=[b"red", b"green", b"red"])
        found = {partition: client.fetched(topic="b", partition=partition) for partition in range(2)}
        for partition, records in found.items():
            assert all(key_hash(key) % 2 == partition for _, _, key, _, _ in records)
        assert sorted(value for records in found.values() for _, _, _, value, _ in records) == [b"0", b"1", b"2"]
