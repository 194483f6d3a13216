"""What waits for a topic's subject while routes change; how long it is kept, where, and what there is no room for."""

from __future__ import annotations

import pytest
from crossing_bench import Bench, by_headers, catch_up, differently, numbered, prepared

from entrepot.broker.calls import requests as r
from entrepot.broker.calls.topic_requests import TrimPartition
from entrepot.broker.front import subject_hop
from entrepot.broker.state import SUBJECT_PREFIX, set_value
from entrepot.broker.topic import retention
from entrepot.model.errors import CorruptData
from entrepot.store.interface import LOG_ID_SIZE


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
def client(bench):
    return prepared(bench)


class TestRoutesThatChange:
    @pytest.mark.parametrize("over", ["nothing", "a crash", "a move"])
    def test_a_binding_gets_nothing_of_what_is_older(self, bench, client, over):
        client.declare("later")
        away = bench.shard("q")
        bench.close_shard(away)
        client.write(b"0")
        client.bind("later")
        client.write(b"1")
        bench.run(2)
        if over == "a crash":
            bench = bench.fail()
            client = bench.connect()
        else:
            if over == "a move":
                bench.close_shard(bench.shard())
                bench.open_shard(bench.shard())
            bench.open_shard(away)
        catch_up(bench)
        assert client.taken() == [b"0", b"1"]
        assert client.taken("later") == [b"1"]
        assert bench.rows() == []

    def test_one_that_was_made_after_all_of_them(self, bench, client):
        client.declare("later")
        away = bench.shard("q")
        bench.close_shard(away)
        client.write(b"0")
        client.bind("later")
        bench = bench.fail()
        client = bench.connect()
        catch_up(bench)
        assert client.taken() == [b"0"]
        assert client.taken("later") == []

    def test_by_headers(self, bench, client):
        client.declare("later")
        away = bench.shard("q")
        bench.close_shard(away)
        client.write(*numbered(200), headers_of=differently)
        by_headers(client, "later", colour="red")
        client.write(*numbered(200, 200), headers_of=differently)
        bench.open_shard(away)
        catch_up(bench)
        assert client.taken() == numbered(400)
        assert client.taken("later") == numbered(200, 200)[::2]

    def test_a_binding_that_is_gone_carries_nothing(self, bench, client):
        client.declare("other")
        client.bind("other")
        away = bench.shard("q")
        bench.close_shard(away)
        client.write(b"0")
        client.ask(r.Bind("amq.topic", "other", routing_key="t", remove=True))
        client.write(b"1")
        client.bind("other")
        client.write(b"2")
        bench.open_shard(away)
        catch_up(bench)
        assert client.taken() == [b"0", b"1", b"2"]
        assert client.taken("other") == [b"0", b"2"]

    def test_none_is_left_for_a_while(self, bench, client):
        away = bench.shard("q")
        bench.close_shard(away)
        client.write(b"0")
        client.ask(r.Bind("amq.topic", "q", routing_key="t", remove=True))
        client.write(b"1")
        client.bind()
        client.write(b"2")
        bench.open_shard(away)
        catch_up(bench)
        assert client.taken() == [b"0", b"2"]
        client.ask(r.Bind("amq.topic", "q", routing_key="t", remove=True))
        client.write(b"3")
        assert bench.topic().rules.onward is None  # a comparison again

    def test_of_very_many_changes_the_last_are_one(self, bench, client, monkeypatch):
        monkeypatch.setattr(subject_hop, "ERAS_MAX", 3)
        away = bench.shard("q")
        bench.close_shard(away)
        for number in range(6):
            client.declare(f"q{number}")
            client.bind(f"q{number}")
            client.write(b"%d" % number)
        assert len(bench.rows()) == 4
        bench = bench.fail()
        client = bench.connect()
        catch_up(bench)
        assert client.taken() == [b"%d" % number for number in range(6)]
        assert client.taken("q1") == [b"%d" % number for number in range(1, 6)]
        assert client.taken("q5") == [b"%d" % number for number in range(2, 6)]  # as the third era is of all that came after it
        assert bench.rows() == []


class TestMemoryAlone:
    def test_queues_of_both_kinds(self, bench, client):
        client.declare("transient", durable=False)
        client.bind("transient")
        by_headers(client, colour="red")
        client.write(*numbered(500), headers_of=differently)
        catch_up(bench)
        assert client.taken() == client.taken("transient") == numbered(500)

    def test_where_there_is_no_room_durable_ones_get_it(self):
        bench = SmallMemory()
        client = prepared(bench)
        for name in ("filler", "transient"):
            client.declare(name, durable=False)
        client.bind("transient")
        client.put(b"x" * 30_000, key="filler")
        assert bench.volatile.is_full()
        client.write(b"000000")  # whole
        by_headers(client, colour="red")
        client.write(*numbered(10, 1), headers_of=differently)
        catch_up(bench)
        assert client.taken() == numbered(11)
        assert client.taken("filler")
        assert client.taken("transient") == []


class SmallMemory(Bench):
    memory_size_max = 10_000


class TestRetention:
    def waiting(self, bench, **config):
        """What 20 batches of a kilobyte each are, for a queue that is away."""
        client = bench.connect()
        client.topic(**config)
        client.declare()
        client.bind()
        bench.close_shard(bench.shard("q"))
        for number in range(20):
            client.write(b"%06d" % number + b"." * 1000)
        return client

    def arrived(self, bench, client):
        bench.open_shard(bench.shard("q"))
        catch_up(bench)
        return [body[:6] for body in client.taken()]

    def test_by_size_is_held_back(self, bench):
        client = self.waiting(bench, retention_bytes="3000")
        bench.run(100)
        assert bench.topic().logs[0].first_offset == 0
        assert self.arrived(bench, client) == numbered(20)
        bench.run(100)
        assert bench.topic().logs[0].first_offset > 10

    def test_by_size_only_so_far(self, bench, monkeypatch):
        monkeypatch.setattr(retention, "HELD_MAX_BYTES", 8000)
        client = self.waiting(bench, retention_bytes="3000")
        bench.run(100)
        first = bench.topic().logs[0].first_offset
        assert 5 < first < 15
        assert self.arrived(bench, client) == numbered(20 - first, first)
        assert bench.figure("sent_on_lost_total") == first

    def test_by_age_is_held_back_only_so_long(self, bench, monkeypatch):
        monkeypatch.setattr(retention, "HELD_MAX_MS", 60_000)
        client = self.waiting(bench, retention_ms="10000", message_timestamp_type="LogAppendTime")
        bench.run(50)
        assert bench.topic().logs[0].first_offset == 0
        bench.run(50)
        assert bench.topic().logs[0].first_offset == 20
        client.write(b"000020")
        assert self.arrived(bench, client) == [b"000020"]
        assert bench.figure("sent_on_lost_total") == 20

    def test_by_age_is_let_go_of_once_it_is_sent(self, bench):
        client = self.waiting(bench, retention_ms="10000", message_timestamp_type="LogAppendTime")
        bench.run(50)
        assert self.arrived(bench, client) == numbered(20)
        bench.run(20)
        assert bench.topic().logs[0].first_offset == 20

    def test_who_deletes_records_deletes_what_waits(self, bench):
        client = self.waiting(bench)
        client.ask(TrimPartition("t", 0, 5))
        assert self.arrived(bench, client) == numbered(15, 5)
        assert bench.figure("sent_on_lost_total") == 5


class TestWhatIsKept:
    def test_rows_that_no_version_wrote(self, bench, client):
        log = bench.topic().logs[0]
        for key, value in ((b"", b"\x02" + bytes(8)), (b"", b"\x01"), (b"", b"\x01" + bytes(8)), (b"12345678", b"\x01" + bytes(16)), (b"1", b"\x01")):
            bench.store.fold(log.shard, SUBJECT_PREFIX + log.id + key, set_value(value))
            with pytest.raises(CorruptData):
                bench.broker.subjects.load([log.shard])
            bench.store.fold(log.shard, SUBJECT_PREFIX + log.id + key, b"\x00")

    def test_rows_of_a_log_that_is_gone_go(self, bench, client):
        key = SUBJECT_PREFIX + b"n" * LOG_ID_SIZE
        bench.store.fold(3, key, set_value(b"\x01" + bytes(8)))
        bench.store.fold(3, key + bytes(8), set_value(b"\x01"))
        bench.broker.subjects.load([3])
        assert bench.store.scan(3, SUBJECT_PREFIX, b"w;", 10) == []


def test_what_went_nowhere_goes_to_no_binding_that_is_newer_though_the_machine_fails(bench, client):
    client.declare("late")
    away = bench.shard("late")
    assert away not in (bench.shard(), bench.shard("q"), 0)
    bench.close_shard(bench.shard("q"))
    client.write(b"a")  # waits for "q"
    client.ask(r.Bind("amq.topic", "q", routing_key="t", remove=True))
    client.bind("late")
    bench.close_shard(away)
    client.write(b"b")
    bench.run(3)
    bench = bench.fail()
    client = bench.connect()
    catch_up(bench)
    assert (client.taken("late"), client.taken("q")) == ([b"b"], [])
