"""Append calls: offsets, answers, refusals, producers that number their batches."""

import pytest
from partition_bench import HEAD, ROOMY, Batch, Bench, Guard, PlainCodec

from entrepot.broker.calls.port import DONE, PENDING
from entrepot.broker.calls.topic_requests import AlterTopicConfig, DeleteTopic
from entrepot.broker.front.appending import REWRITTEN_MAX_BYTES
from entrepot.model.errors import Reason, Refused

PRODUCER = 7


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
def client(bench):
    client = bench.connect()
    client.topic("t", 2)
    return client


def reason(action, *args, **how):
    with pytest.raises(Refused) as caught:
        action(*args, **how)
    return caught.value.reason


def test_offsets_are_dense_in_each_partition_and_the_batch_is_stamped_with_its_place(client):
    assert [client.append(b"a", 3), client.append(b"b", 2), client.append(b"c", 1, partition=1)] == [0, 3, 0]
    assert client.drain() == [(0, 3, b"a"), (3, 2, b"b")]
    assert client.drain(partition=1) == [(0, 1, b"c")]


def test_a_call_is_answered_when_its_commit_is_durable_and_not_before(client):
    call = client.send(client.part(), client.part(partition=1))
    assert call.outcome == PENDING
    assert client.bench.topic().logs[0].durable_offset == 0
    client.wait(call)
    assert [log.durable_offset for log in client.bench.topic().logs] == [1, 1]


def test_without_confirm_it_is_answered_at_once_and_yet_stored(client):
    call = client.send(client.part(b"quick"), confirm=False)
    assert (call.outcome, client.done[-1]) == (DONE, call)
    client.bench.run()
    assert client.drain() == [(0, 1, b"quick")]


def test_parts_fare_each_on_its_own(client):
    parts = [client.part(b"1"), client.part(topic="nowhere"), client.part(partition=2), client.part(partition=-1), client.part(b"2")]
    client.wait(client.send(*parts))
    assert [part.error and part.error.reason for part in parts] == [None, Reason.NOT_FOUND, Reason.NOT_FOUND, Reason.NOT_FOUND, None]
    assert client.drain() == [(0, 1, b"1"), (1, 1, b"2")]


def test_a_call_of_refusals_only_is_complete_at_once(client):
    call = client.send(client.part(topic="nowhere"))
    assert call.outcome == DONE


def test_a_deleted_topic_is_not_appended_to_nor_one_of_the_same_name_mistaken_for_it(client):
    client.append(b"old")
    client.ask(DeleteTopic("t"))
    assert reason(client.append) is Reason.NOT_FOUND
    client.topic("t")
    assert client.append(b"new") == 0
    assert client.drain() == [(0, 1, b"new")]


def test_permissions_are_asked_again_when_they_change():
    class Guarded(Bench):
        authorizer = Guard()

    client = Guarded().connect()
    client.topic()
    client.append()
    Guarded.authorizer.refuse(("write", "t"))
    assert reason(client.append) is Reason.NOT_PERMITTED
    Guarded.authorizer.refuse()
    assert client.append() == 1


def test_a_batch_over_the_limit_of_its_topic_is_refused(client):
    client.ask(AlterTopicConfig("t", [("set", "max.message.bytes", "100")]))
    assert reason(client.append, b"x" * 100) is Reason.TOO_LARGE
    client.append(b"x" * 76)


class Packing(PlainCodec):
    """A batch's text says how it is compressed: by its first octet, which is a digit."""

    def is_compressed_as(self, data, compression):
        return data[HEAD.size] == 0x30 + compression

    def recompressed(self, data, compression):
        return data[: HEAD.size] + b"%d" % compression + data[HEAD.size + 1 :] + b"+" * compression, len(data)


class PackingBench(Bench):
    codecs = (Packing,)


@pytest.fixture
def packing():
    client = PackingBench().connect()
    client.topic("t", 2, compression_type="lz4")
    return client


def test_a_batch_is_compressed_as_its_topic_wants_it(packing):
    call = packing.wait(packing.send(packing.part(b"3 as it is"), packing.part(b"0 anew"), packing.part(b"4 anew")))
    assert [text for _, _, text in packing.drain()] == [b"3 as it is", b"3 anew+++", b"3 anew+++"]
    assert call.rewritten_bytes == 2 * (HEAD.size + 6)
    packing.ask(AlterTopicConfig("t", [("set", "compression.type", "uncompressed")]))
    packing.append(b"3 anew")
    packing.ask(AlterTopicConfig("t", [("delete", "compression.type", None)]))
    packing.append(b"3 as it is")
    assert [text for _, _, text in packing.drain(3)] == [b"0 anew", b"3 as it is"]


def test_a_batch_that_was_sent_before_is_not_compressed_again(packing):
    assert packing.append(b"0 once", producer=(PRODUCER, 0, 0)) == 0
    part = packing.part(b"0 once", producer=(PRODUCER, 0, 0))
    call = packing.wait(packing.send(part))
    assert (part.base_offset, part.error, call.rewritten_bytes) == (0, None, 0)


def test_what_is_too_large_when_it_is_compressed_anew_is_refused(packing):
    packing.ask(AlterTopicConfig("t", [("set", "max.message.bytes", str(HEAD.size + 10))]))
    packing.append(b"3.........")
    packing.append(b"0......")
    assert reason(packing.append, b"0.........") is Reason.TOO_LARGE


def test_one_call_has_so_much_compressed_anew_and_no_more(packing, monkeypatch):
    size = REWRITTEN_MAX_BYTES // 2
    monkeypatch.setattr(Packing, "recompressed", lambda self, data, compression: (data, size))
    parts = [packing.part(b"0", partition=number % 2) for number in range(3)] + [packing.part(b"3")]
    packing.wait(packing.send(*parts))
    assert [part.error and part.error.reason for part in parts] == [None, None, Reason.TOO_LARGE, None]
    packing.append(b"0")


def test_append_time_goes_into_the_batch_and_the_answer(client):
    client.ask(AlterTopicConfig("t", [("set", "message.timestamp.type", "LogAppendTime")]))
    part = client.part(time_ms=5)
    client.wait(client.send(part))
    assert abs(part.append_time_ms - client.bench.clock.wall_ms()) < 1000
    read = client.reading(0)
    client.wait(client.ask_read(read))
    assert Batch(read[0].data[0]).append_time_ms == part.append_time_ms


def test_a_batch_sent_again_is_answered_with_the_time_of_its_append(client):
    client.ask(AlterTopicConfig("t", [("set", "message.timestamp.type", "LogAppendTime")]))
    first = client.part(producer=(7, 0, 0))
    client.wait(client.send(first))
    client.bench.run(2)
    client = client.bench.reopen().connect()
    again = client.part(producer=(7, 0, 0))
    client.wait(client.send(again))
    assert (again.base_offset, again.append_time_ms) == (first.base_offset, first.append_time_ms)
    assert again.append_time_ms > 0


def test_timestamps_beyond_the_bounds_are_refused_unless_the_broker_sets_them(client):
    now = client.bench.clock.wall_ms()
    client.ask(AlterTopicConfig("t", [("set", "message.timestamp.before.max.ms", "60000"), ("set", "message.timestamp.after.max.ms", "1000")]))
    assert reason(client.append, time_ms=now - 100_000) is Reason.INVALID
    assert reason(client.append, time_ms=now + 100_000) is Reason.INVALID
    client.append(time_ms=now - 30_000)
    client.append(time_ms=-1)
    client.ask(AlterTopicConfig("t", [("set", "message.timestamp.type", "LogAppendTime")]))
    client.append(time_ms=now - 100_000)


def test_while_the_disk_is_nearly_full_appends_are_refused(client):
    client.bench.broker.set_refusing(Refused(Reason.LIMIT, "full"))
    assert reason(client.append) is Reason.LIMIT
    client.bench.broker.set_refusing(None)
    assert client.append() == 0


def test_much_that_is_staged_throttles_publishers():
    client = Bench(settings=ROOMY).connect()
    client.topic()
    client.send(*[client.part(b"x" * 1_000_000) for _ in range(70)])
    client.send(client.part())
    assert client.blocked[0] == (True, "")
    client.bench.run(5)
    assert client.blocked[-1] == (False, "")


class TestProducers:
    def numbered(self, client, sequence, count=1, epoch=0, **how):
        return client.append(b"%d" % sequence, count, producer=(PRODUCER, epoch, sequence), **how)

    def test_the_next_batch_is_taken_and_one_sent_again_answered_as_it_was(self, client):
        assert [self.numbered(client, 0, 3), self.numbered(client, 3, 2)] == [0, 3]
        assert [self.numbered(client, 0, 3), self.numbered(client, 3, 2)] == [0, 3]
        assert len(client.drain()) == 2
        assert client.bench.broker.statistics()["appended_duplicates_total"] == 2

    def test_one_sent_again_before_it_is_durable_waits_for_the_first(self, client):
        first, again = (client.send(client.part(producer=(PRODUCER, 0, 0))) for _ in range(2))
        assert (first.outcome, again.outcome) == (PENDING, PENDING)
        client.wait(again)
        assert first.outcome == DONE
        assert again.parts[0].base_offset == 0

    def test_again_while_its_commit_is_being_written_waits_too(self, client):
        first = client.send(client.part(producer=(PRODUCER, 0, 0)))
        client.bench.loop.run_for(1e-6)  # sealed, not yet synced
        assert first.outcome == PENDING
        again = client.send(client.part(producer=(PRODUCER, 0, 0)))
        assert again.outcome == PENDING
        client.wait(again)
        assert client.bench.topic().logs[0].durable_offset == 1

    def test_a_gap_is_refused_and_so_is_what_is_older_than_five_batches(self, client):
        for sequence in range(6):
            self.numbered(client, sequence)
        assert reason(self.numbered, client, 7) is Reason.OUT_OF_SEQUENCE
        assert reason(self.numbered, client, 0) is Reason.OUT_OF_SEQUENCE
        assert self.numbered(client, 1) == 1

    def test_a_batch_in_flight_behind_a_gap_is_refused_with_it(self, client):
        parts = [client.part(producer=(PRODUCER, 0, sequence)) for sequence in (0, 2, 3, 1)]
        client.wait(client.send(*parts))
        assert [part.error and part.error.reason for part in parts] == [None, Reason.OUT_OF_SEQUENCE, Reason.OUT_OF_SEQUENCE, None]

    def test_an_old_epoch_is_fenced_and_a_new_one_begins_at_0(self, client):
        self.numbered(client, 0)
        assert reason(self.numbered, client, 1, epoch=1) is Reason.OUT_OF_SEQUENCE
        self.numbered(client, 0, epoch=1)
        assert reason(self.numbered, client, 1) is Reason.STALE_PRODUCER

    def test_sequences_wrap(self, client):
        last = (1 << 31) - 2
        assert [self.numbered(client, last, 4), self.numbered(client, 2)] == [0, 4]
        assert self.numbered(client, last, 4) == 0

    def test_one_that_is_not_known_may_begin_anywhere(self, client):
        assert self.numbered(client, 1000) == 0

    def test_partitions_have_sequences_of_their_own(self, client):
        self.numbered(client, 0)
        assert self.numbered(client, 0, partition=1) == 0

    def test_it_outlives_a_restart(self, client):
        for sequence in range(3):
            self.numbered(client, sequence)
        again = client.bench.reopen().connect()
        assert self.numbered(again, 1) == 1
        assert reason(self.numbered, again, 5) is Reason.OUT_OF_SEQUENCE
        assert self.numbered(again, 3) == 3
        assert reason(self.numbered, again, 4, epoch=-1) is Reason.STALE_PRODUCER

    def test_it_outlives_the_records(self, client):
        self.numbered(client, 0)
        log = client.bench.topic().logs[0]
        client.bench.store.discard(log, 0, 1)
        assert self.numbered(client, 0) == 0
        assert self.numbered(client, 1) == 1

    def test_it_goes_with_its_topic(self, client):
        self.numbered(client, 0)
        assert client.bench.broker.statistics()["producers"] == 1
        client.ask(DeleteTopic("t"))
        assert client.bench.broker.statistics()["producers"] == 0

    def test_what_was_refused_is_not_remembered(self, client):
        client.bench.broker.set_refusing(Refused(Reason.LIMIT, "full"))
        assert reason(self.numbered, client, 0) is Reason.LIMIT
        client.bench.broker.set_refusing(None)
        assert self.numbered(client, 0) == 0
