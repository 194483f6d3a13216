"""What a topic's subject does not send on in the commit of its append: it waits in the partition, and is sent on in order, once, whatever moves or fails."""

from __future__ import annotations

import pytest
from crossing_bench import Bench, by_headers, catch_up, differently, is_behind, numbered, prepared
from kafka_batches import GZIP, ZSTD
from partition_bench import ROOMY

from entrepot.broker.calls import requests as r
from entrepot.broker.calls.topic_requests import DeleteTopic
from entrepot.broker.front import subject_hop, subjects
from entrepot.broker.front.subject_hop import Hop
from entrepot.broker.front.subjects import TURN_STEPS
from entrepot.broker.state import SUBJECT_PREFIX
from entrepot.model.entry import CODEC_KAFKA, OPAQUE, make_entry
from entrepot.model.errors import Reason, Refused


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
def client(bench):
    return prepared(bench)


class TestAtOnce:
    """What needs no position."""

    def test_a_batch_that_goes_whole_is_one_entry_of_one_commit(self, bench, client):
        client.write(*numbered(5000))
        assert not is_behind(bench)
        assert bench.rows() == []
        assert bench.topic().logs[0].durable_offset == bench.queue().log.durable_offset == 5000

    def test_a_short_one_whose_targets_differ(self, bench, client):
        by_headers(client, colour="red")
        call = client.send(client.batch_of(*numbered(10), headers_of=differently))
        assert not is_behind(bench)
        client.wait(call)
        assert bench.rows() == []
        assert bench.queue().log.durable_offset == 10

    def test_more_than_a_turn_may_cost_waits(self, bench, client):
        by_headers(client, colour="red")
        for number in range(20):
            client.send(client.batch_of(*numbered(60, 60 * number), headers_of=differently))
        assert is_behind(bench)
        catch_up(bench)
        assert client.taken() == numbered(1200)


class TestLongBatches:
    @pytest.mark.once
    @pytest.mark.parametrize("compression", [0, ZSTD])
    def test_of_different_headers(self, bench, client, compression):
        client.declare("reds")
        by_headers(client, "reds", colour="red")
        assert client.write(*numbered(10_000), headers_of=differently, compression=compression) == 0
        catch_up(bench)
        assert client.taken() == numbered(10_000)
        assert client.taken("reds") == numbered(10_000)[::2]
        assert bench.rows() == []
        assert bench.figure("sent_on_total") == 10_000

    def test_of_a_queue_that_may_refuse(self, bench, client):
        client.declare("few", x_max_length=1000, x_overflow="reject-publish")
        client.bind("few")
        client.write(*numbered(5000))
        catch_up(bench)
        assert client.taken("few") == numbered(1000)
        assert client.taken() == numbered(5000)

    def test_no_turn_takes_long(self, bench, client, monkeypatch):
        by_headers(client, colour="red")
        taken = []
        advance = Hop.advance

        def watched(hop):
            before = bench.broker.subjects._left
            steps = advance(hop)
            taken.append((before, steps))
            return steps

        monkeypatch.setattr(Hop, "advance", watched)
        client.write(*numbered(10_000), headers_of=differently)
        catch_up(bench)
        assert sum(steps for _, steps in taken) > 20 * TURN_STEPS
        assert all(before > 0 and steps < TURN_STEPS for before, steps in taken)

    def test_who_comes_later_waits_behind(self, bench, client):
        by_headers(client, colour="red")
        client.send(client.batch_of(*numbered(500), headers_of=differently))
        for number in range(500, 520):
            client.send(client.batch_of(b"%06d" % number))
        catch_up(bench)
        assert client.taken() == numbered(520)

    def test_partitions_take_turns(self, bench, client):
        client.topic("two", partitions=2)
        client.declare("other")
        client.ask(r.DeclareExchange("headers", "headers", durable=True))
        client.ask(r.Bind("amq.topic", "headers", "exchange", "two"))
        client.bind("other", exchange="headers", key="", headers={"colour": "red"})
        for partition in range(2):
            client.send(client.batch_of(*numbered(3000, 10_000 * partition), topic="two", partition=partition, headers_of=differently))
        catch_up(bench)
        found = client.taken("other")
        assert found[:1500] != sorted(found)[:1500]
        for partition in range(2):
            assert [value for value in found if int(value) // 10_000 == partition] == numbered(3000, 10_000 * partition)[::2]

    def test_it_waits_while_much_is_staged(self, bench, client):
        bench.broker.subjects.staged_max_bytes = -1
        client.bind("q", exchange="amq.topic", key="t")
        by_headers(client, colour="red")
        client.write(*numbered(100), headers_of=differently)
        bench.run(0.1)
        assert is_behind(bench)
        bench.broker.subjects.staged_max_bytes = subjects.STAGED_MAX_BYTES
        catch_up(bench)
        assert client.taken() == numbered(100)

    def test_it_waits_while_the_disk_is_full(self, bench, client):
        by_headers(client, colour="red")
        client.send(client.batch_of(*numbered(5000), headers_of=differently))
        bench.broker.set_refusing(Refused(Reason.LIMIT, "the disk is nearly full"))
        bench.run(5)
        assert is_behind(bench)
        bench.broker.set_refusing(None)
        catch_up(bench)
        assert client.taken() == numbered(5000)


class TestTargetsThatAreAway:
    def test_the_batch_is_taken_and_waits(self, bench, client):
        client.declare("other")
        client.bind("other")
        shard = bench.shard("q")
        bench.close_shard(shard)
        client.write(*numbered(3))
        client.write(*numbered(3, 3))
        bench.run(5)
        assert is_behind(bench)
        assert client.get("other") is None  # all of them wait
        bench.open_shard(shard)
        catch_up(bench)
        client.write(*numbered(3, 6))
        assert client.taken() == client.taken("other") == numbered(9)
        assert bench.rows() == []

    def test_by_headers(self, bench, client):
        client.declare("other")
        by_headers(client, "other", colour="red")
        shard = bench.shard("other")
        bench.close_shard(shard)
        for number in range(4):
            client.write(b"%d" % number, headers=differently(number))
        bench.run(3)
        assert is_behind(bench)
        bench.open_shard(shard)
        catch_up(bench)
        assert client.taken("other") == [b"0", b"2"]
        assert client.taken() == [b"0", b"1", b"2", b"3"]

    def test_it_goes_at_once_again_under_traffic(self, bench, client):
        shard = bench.shard("q")
        bench.close_shard(shard)
        client.write(b"000000")
        bench.open_shard(shard)
        for number in range(1, 40):
            client.send(client.batch_of(b"%06d" % number))
            bench.loop.run_for(1e-5)  # nothing is durable in so short a time
        assert not is_behind(bench)
        assert bench.topic().logs[0].durable_offset < 40
        bench.run()
        assert client.taken() == numbered(40)

    def test_more_than_stays_in_memory(self, bench, client):
        shard = bench.shard("q")
        bench.close_shard(shard)
        for number in range(300):
            client.write(b"%06d" % number + b"." * 1000)
        bench.open_shard(shard)
        catch_up(bench)
        assert [body[:6] for body in client.taken()] == numbered(300)

    def test_no_queue_that_has_moved_is_kept(self, bench, client):
        client.write(b"a")
        bench.close_shard(bench.shard("q"))
        rules = bench.topic().rules
        assert rules.onward is None

    def test_a_target_that_is_unbound_holds_up_nobody(self, bench, client):
        client.declare("other")
        client.bind("other")
        shard = bench.shard("other")
        assert shard != 0
        bench.close_shard(shard)
        client.write(b"a")
        bench.run(2)
        client.ask(r.Bind("amq.topic", "other", routing_key="t", remove=True))
        catch_up(bench)
        assert client.taken() == [b"a"]

    def test_between_the_opening_of_a_shard_and_of_its_queues(self, bench, client):
        client.declare("near", durable=False)
        by_headers(client, colour="red")
        client.bind("near", exchange="match", key="", headers={"x-match": "any", "colour": "red"})
        bench.close_shard(bench.shard("q"))
        bench.broker.shard_moves.open(bench.shard("q"), bench.store.epoch, lambda: None)
        client.write(*numbered(5), headers=[(b"colour", b"red")])
        catch_up(bench)
        bench.run()
        assert client.taken() == numbered(5)
        assert client.taken("near") == numbered(5)


class TestCrashes:
    @pytest.mark.parametrize("steps", range(1, 40, 3))
    def test_each_record_arrives_once(self, client, bench, steps):
        by_headers(client, colour="red")
        client.declare("reds")
        client.bind("reds", exchange="match", key="", headers={"colour": "red"})
        bench.broker.subjects.turn_steps = bench.broker.subjects.slice_records = 1
        bench.broker.subjects.staged_max_bytes = 0  # each piece is a commit
        call = client.send(client.batch_of(*numbered(150), headers_of=differently, compression=GZIP))
        client.wait(call)
        bench.loop.run_until(lambda: bench.figure("sent_on_total") >= 3 * steps, 60)
        bench.loop.run_for(bench.loop.random.choice((0, 1e-5, 1e-3)))
        assert is_behind(bench)
        bench = bench.fail()
        client = bench.connect()
        catch_up(bench)
        assert client.taken() == numbered(150)
        assert client.taken("reds") == numbered(150)[::2]
        assert client.write(b"000150", headers=differently(0)) == 150
        assert client.taken() == [b"000150"]

    def test_a_stop_in_good_order(self, bench, client):
        by_headers(client, colour="red")
        client.send(client.batch_of(*numbered(3000), headers_of=differently))
        bench = bench.reopen()
        assert bench.figure("partitions_behind") > 0
        client = bench.connect()
        catch_up(bench)
        assert client.taken() == numbered(3000)

    def test_while_a_target_is_away(self, bench, client):
        bench.close_shard(bench.shard("q"))
        client.write(*numbered(3))
        client.write(*numbered(3, 3))
        bench = bench.fail()
        client = bench.connect()
        client.write(*numbered(3, 6))
        catch_up(bench)
        assert client.taken() == numbered(9)

    def test_a_position_that_is_settled_in_a_commit_before_its_records_loses_them(self, bench, client, monkeypatch):
        """A mutation: were it so, a crash between them would be seen."""
        by_headers(client, colour="red")
        publish = subject_hop.publish_records

        def later(publisher, path, form, records, count):
            bench.loop.call_later(0.05, publish, publisher, path, form, records, count)

        monkeypatch.setattr(subject_hop, "publish_records", later)
        client.write(*numbered(1500), headers_of=differently)
        bench.loop.run_until(lambda: bench.figure("sent_on_total") >= 1000, 60)
        bench.run(0.02)
        bench = bench.fail()
        monkeypatch.undo()
        client = bench.connect()
        catch_up(bench)
        assert client.taken() != numbered(1500)

    def test_a_retried_batch_goes_on_once(self, bench, client):
        by_headers(client, colour="red")
        away = bench.shard("q")
        bench.close_shard(away)
        for _ in range(3):
            assert client.write(*numbered(100), headers_of=differently, producer=(7, 0, 0)) == 0
        bench = bench.fail()
        client = bench.connect()
        assert client.write(*numbered(100), headers_of=differently, producer=(7, 0, 0)) == 0
        catch_up(bench)
        assert client.taken() == numbered(100)
        assert client.write(*numbered(100), headers_of=differently, producer=(7, 0, 0)) == 0
        bench.run()
        assert client.taken() == []


class TestThePartitionsShard:
    def test_it_goes_on_where_it_was(self, bench, client):
        by_headers(client, colour="red")
        client.write(*numbered(3000), headers_of=differently)
        shard = bench.shard()
        for _ in range(3):
            bench.loop.run_for(1e-3)
            bench.close_shard(shard)
            assert bench.figure("partitions_behind") == 0
            bench.run(2)
            bench.open_shard(shard)
        catch_up(bench)
        assert client.taken() == numbered(3000)

    def test_it_keeps_no_queue_then(self, bench, client):
        client.declare("few", x_max_length=1000, x_overflow="reject-publish")
        client.bind("few")
        bench.broker.subjects.staged_max_bytes = 0
        bench.broker.subjects.turn_steps = 1
        client.send(client.batch_of(*numbered(3000)))
        bench.loop.run_until(lambda: bench.figure("sent_on_total") > 0, 60)
        hop = bench.topic().partitions[0].hop
        assert hop.topic._paths
        bench.close_shard(bench.shard())
        assert not hop.topic._paths

    def test_what_is_being_fetched_then_is_nobodys(self, bench, client):
        away = bench.shard("q")
        bench.close_shard(away)
        for number in range(100):
            client.write(b"%06d" % number + b"." * 3000)
        bench.close_shard(bench.shard())
        bench.open_shard(bench.shard())  # nothing of it is at hand
        bench.open_shard(away)
        bench.loop.run_for(2e-5)
        bench.close_shard(bench.shard())
        bench.run(2)
        bench.open_shard(bench.shard())
        catch_up(bench)
        assert [body[:6] for body in client.taken()] == numbered(100)


class TestWhatElseIsInThePartition:
    def test_what_came_by_an_exchange_went_on_then(self, bench, client):
        by_headers(client, colour="red")
        client.send(client.batch_of(*numbered(200), headers_of=differently))
        client.put(b"amqp", key="t")
        client.topic("before")
        client.bind("t", key="before")
        client.write(b"of another", topic="before")
        client.write(*numbered(100, 200), headers_of=differently)
        catch_up(bench)
        found = client.taken()
        assert [body for body in found if body[:1] in b"0"] == numbered(300)
        assert found.count(b"amqp") == 1
        assert b"of another" not in found

    def test_what_is_gone_is_passed_over(self, bench, client):
        away = bench.shard("q")
        bench.close_shard(away)
        for number in range(10):
            client.write(b"%06d" % number + b"." * 9000)
        log = bench.topic().logs[0]
        bench.store.discard(log, 3, 6)
        bench.store.discard(log, 8, 10)
        bench.run()
        bench.open_shard(away)
        catch_up(bench)
        assert [int(body[:6]) for body in client.taken()] == [0, 1, 2, 6, 7]

    def test_opaque_ones_stay(self, bench, client):
        away = bench.shard("q")
        bench.close_shard(away)
        client.write(b"a")
        client.write(b"secret", flags=OPAQUE)
        client.write(b"b")
        bench.open_shard(away)
        catch_up(bench)
        assert client.taken() == [b"a", b"b"]
        assert bench.figure("sent_on_opaque_total") == 1

    @pytest.mark.parametrize("committed", [True, False])
    def test_transactions_hold_it_up_until_they_end(self, bench, client, committed):
        away = bench.shard("q")
        bench.close_shard(away)
        client.write(b"a")
        part = client.batch_of(b"in it")
        entry = make_entry(CODEC_KAFKA, 1, part.flags, b"", part.data, 1)
        entry.producer_id, entry.producer_epoch = 5, 0
        log = bench.topic().logs[0]
        bench.broker.transactions.append([log], entry, 77)
        client.write(b"b")
        bench.open_shard(away)
        bench.run(3)
        assert client.taken() == [b"a"]
        bench.broker.transactions.end([log.id], 77, committed)
        bench.run()
        catch_up(bench)
        assert client.taken() == [b"in it", b"b"] if committed else [b"b"]

    def test_what_is_deleted_with_its_topic(self, bench, client):
        bench.close_shard(bench.shard("q"))
        client.write(b"a")
        shard = bench.shard()
        client.ask(DeleteTopic("t"))
        assert bench.figure("partitions_behind") == 0
        assert bench.store.scan(shard, SUBJECT_PREFIX, b"w;", 10) == []
        bench.fail()


def test_a_broker_that_forgets_to_load_its_positions_is_seen(bench, client, monkeypatch):
    """A mutation."""
    bench.close_shard(bench.shard("q"))
    client.write(b"a")
    monkeypatch.setattr(subjects.Subjects, "load", lambda *_: None)
    bench = bench.fail()
    client = bench.connect()
    bench.run(5)
    assert client.taken() == []


@pytest.mark.once
def test_pieces_of_a_batch_that_unpacks_to_a_million(monkeypatch):
    bench = Bench(settings=ROOMY)
    client = prepared(bench)
    by_headers(client, colour="red")
    client.write(*[b""] * 200_000, compression=ZSTD)
    catch_up(bench)
    assert bench.queue().depth() == 200_000
    assert bench.figure("divided_total") == 1
