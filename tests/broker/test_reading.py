"""Read calls: what they bring, how they wait, how parts take turns, what is cold, gone or not for the reader."""

import pytest
from broker_bench import CODEC, record_of
from partition_bench import HEAD, ROOMY, Batch, Bench, Client, Guard, PlainCodec

from entrepot.broker.calls.partition_calls import make_close_parts, make_read_part
from entrepot.broker.calls.port import DONE, PENDING
from entrepot.broker.calls.topic_requests import CreatePartitions, DeleteTopic
from entrepot.broker.logs.entry_codec import EntryCodec
from entrepot.broker.topic.reading import COLD_MAX, PARTS_MAX, SHARE_SIZE_MAX, STRETCH_SIZE_MAX
from entrepot.model.entry import OPAQUE, make_entry
from entrepot.model.errors import Reason


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
def client(bench):
    client = bench.connect()
    client.topic("t", 3)
    return client


def texts(part):
    return [Batch(data).text for data in part.data]


class TestWhatIsThere:
    def test_it_comes_at_once_and_the_part_goes_on_from_there(self, client):
        client.append(b"a", 3)
        client.append(b"b", 2)
        parts = client.reading(0)
        call = client.ask_read(parts)
        assert call.outcome == DONE
        assert texts(parts[0]) == [b"a", b"b"]
        assert (parts[0].first_offset, parts[0].durable_end, parts[0].stable_end, parts[0].error, parts[0].aborted) == (0, 5, 5, None, None)
        parts[0].offset = 5
        client.append(b"c")
        assert client.read(parts) == [[b"c"]]

    def test_an_offset_within_a_batch_brings_the_whole_batch(self, client):
        client.append(b"a", 3)
        assert client.read(client.reading(2)) == [[b"a"]]

    def test_the_same_offset_again_brings_the_same(self, client):
        client.append(b"a", 3)
        parts = client.reading(0)
        for _ in range(3):
            client.wait(client.ask_read(parts))
            assert texts(parts[0]) == [b"a"]

    @pytest.mark.parametrize(("ahead", "expected"), [(-1, Reason.ENDED_EPOCH), (0, None), (1, Reason.UNKNOWN_EPOCH)])
    def test_a_reader_that_knows_another_epoch_of_the_owner(self, client, bench, ahead, expected):
        client.append(b"a")
        client = bench.reopen().connect()
        client.append(b"b")
        (part,) = parts = client.reading(0)
        part.leader_epoch = client.bench.broker.appender.epoch + ahead
        client.wait(client.ask_read(parts))
        assert (part.error and part.error.reason) == expected
        assert bool(part.data) == (ahead == 0)
        part.leader_epoch = client.bench.broker.appender.epoch
        client.wait(client.ask_read(parts))
        assert texts(part)

    def test_what_is_staged_is_not_seen_before_it_is_durable(self, client):
        append = client.send(client.part(b"a"))
        read = client.ask_read(client.reading(0))
        assert (read.outcome, append.outcome) == (PENDING, PENDING)
        client.wait(read)
        assert append.outcome == DONE

    @pytest.mark.parametrize("offset", [-1, 2, 1 << 40])
    def test_an_offset_that_is_not_there(self, client, offset):
        client.append(b"a")
        parts = client.reading(offset)
        assert client.ask_read(parts).outcome == DONE
        assert parts[0].error.reason is Reason.OUT_OF_RANGE
        assert (parts[0].first_offset, parts[0].durable_end) == (0, 1)
        parts[0].offset = 0
        assert client.read(parts) == [[b"a"]]

    def test_an_offset_that_was_trimmed(self, client, bench):
        for text in (b"a", b"b", b"c"):
            client.append(text)
        bench.store.discard(bench.topic().logs[0], 0, 2)
        parts = client.reading(1)
        client.ask_read(parts)
        assert parts[0].error.reason is Reason.OUT_OF_RANGE
        assert client.read(client.reading(2)) == [[b"c"]]

    def test_a_hole_is_passed_over(self, client, bench):
        for text in (b"a", b"b", b"c"):
            client.append(text)
        bench.store.discard(bench.topic().logs[0], 1, 2)
        assert client.read(client.reading(1)) == [[b"c"]]

    def test_unknown_topics_and_partitions(self, client):
        parts = client.reading(("nowhere", 0, 0), ("t", 3, 0), ("t", -1, 0), ("t", 0, 0))
        client.wait(client.ask_read(parts, wait_ms=1))
        assert [part.error and part.error.reason for part in parts] == [Reason.NOT_FOUND] * 3 + [None]

    def test_by_id(self, client):
        client.append(b"a")
        part = make_read_part("", 0, 0, 1 << 20)
        part.topic_id = client.bench.catalogue.find_topic("public/default", "t").id
        assert client.read([part]) == [[b"a"]]
        stranger = make_read_part("t", 0, 0, 1 << 20)
        stranger.topic_id = bytes(16)
        client.ask_read([stranger])
        assert stranger.error.reason is Reason.NOT_FOUND

    def test_nothing_to_read_is_answered_at_once(self, client):
        assert client.ask_read([]).outcome == DONE

    def test_partitions_that_are_added_can_be_read(self, client):
        parts = client.reading(("t", 3, 0))
        client.ask_read(parts)
        assert parts[0].error.reason is Reason.NOT_FOUND
        client.ask(CreatePartitions("t", 4))
        client.append(b"late", partition=3)
        assert client.read(parts) == [[b"late"]]

    def test_permissions_are_asked_again_when_they_change(self):
        class Guarded(Bench):
            authorizer = Guard()

        client = Guarded().connect()
        client.topic()
        client.append(b"a")
        parts = client.reading(0)
        assert client.read(parts) == [[b"a"]]
        Guarded.authorizer.refuse(("read", "t"))
        client.ask_read(parts)
        assert parts[0].error.reason is Reason.NOT_PERMITTED
        Guarded.authorizer.refuse()
        client.append(b"b")
        assert client.read(parts) == [[b"b"]]


class TestWaiting:
    def test_it_waits_until_there_is_enough(self, client):
        parts = client.reading(0)
        call = client.ask_read(parts, min_bytes=3 * HEAD.size, wait_ms=60_000)
        client.append(b"a")
        client.append(b"b")
        assert call.outcome == PENDING
        client.append(b"c")
        client.bench.run()
        assert call.outcome == DONE
        assert texts(parts[0]) == [b"a", b"b", b"c"]

    def test_or_until_its_time_is_over(self, client):
        parts = client.reading(0)
        call = client.ask_read(parts, min_bytes=1000, wait_ms=100)
        client.append(b"a")
        client.bench.run(0.09)
        assert call.outcome == PENDING
        client.bench.run(0.02)
        assert call.outcome == DONE
        assert texts(parts[0]) == [b"a"]

    def test_what_is_trimmed_while_it_waits(self, client):
        """An answer has no gap: it ends before what is gone, and whoever goes on from there hears of it."""
        client.topic("small", retention_bytes="5000")
        client.append(b"a", topic="small")
        parts = client.reading(("small", 0, 0))
        call = client.ask_read(parts, min_bytes=1 << 20)
        client.send(*(client.part(text * 3000, topic="small") for text in (b"b", b"c", b"d")))
        client.wait(call)
        assert texts(parts[0]) == [b"a"]
        parts[0].offset = 1
        client.wait(client.ask_read(parts))
        assert parts[0].error.reason is Reason.OUT_OF_RANGE
        parts[0].offset = parts[0].first_offset
        assert client.read(parts)[0][-1] == b"d" * 3000

    def test_it_does_not_wait_if_it_may_not(self, client):
        assert client.ask_read(client.reading(0), wait_ms=0).outcome == DONE
        assert client.ask_read(client.reading(0), min_bytes=0).outcome == DONE

    def test_it_hears_of_every_partition(self, client):
        parts = client.reading(("t", 0, 0), ("t", 1, 0), ("t", 2, 0))
        for partition in (2, 0, 1):
            call = client.ask_read(parts, wait_ms=60_000)
            client.append(b"x", partition=partition)
            client.bench.run()
            assert call.outcome == DONE
            assert [bool(part.data) for part in parts] == [number == partition for number in range(3)]
            parts[partition].offset += 1

    @pytest.mark.parametrize("places", [[("nowhere", 0, 0)], [("t", 0, 0), ("t", 1, 99)]], ids=["nothing else to wait for", "an offset that is not there"])
    def test_an_error_is_told_at_once(self, client, places):
        assert client.ask_read(client.reading(*places), wait_ms=60_000).outcome == DONE

    @pytest.mark.parametrize("missing", [("nowhere", 0, 0), ("t", 7, 0)])
    def test_what_is_not_there_waits_with_what_is(self, client, missing):
        parts = client.reading(missing, ("t", 0, 0))
        call = client.ask_read(parts, wait_ms=100)
        client.bench.run(0.09)
        assert call.outcome == PENDING
        client.bench.run(0.02)
        assert call.outcome == DONE
        assert [part.error and part.error.reason for part in parts] == [Reason.NOT_FOUND, None]
        call = client.ask_read(parts, wait_ms=60_000)
        assert call.outcome == PENDING
        client.append(b"a")
        client.wait(call)
        assert [part.error and part.error.reason for part in parts] == [Reason.NOT_FOUND, None]
        assert texts(parts[1]) == [b"a"]

    def test_what_may_not_be_read_waits_with_what_may(self):
        class Guarded(Bench):
            authorizer = Guard()

        client = Guarded().connect()
        client.topic()
        client.topic("u")
        Guarded.authorizer.refuse(("read", "u"))
        parts = client.reading(0, ("u", 0, 0))
        call = client.ask_read(parts, wait_ms=60_000)
        assert call.outcome == PENDING
        client.append(b"a")
        client.wait(call)
        assert (texts(parts[0]), parts[1].error.reason) == ([b"a"], Reason.NOT_PERMITTED)

    def test_a_topic_that_is_deleted_meanwhile(self, client):
        parts = client.reading(0)
        call = client.ask_read(parts, wait_ms=60_000)
        client.ask(DeleteTopic("t"))
        client.bench.run()
        assert call.outcome == DONE
        assert parts[0].error.reason is Reason.NOT_FOUND
        client.topic("t")
        client.append(b"new")
        assert client.read(parts) == [[b"new"]]

    def test_it_ends_with_its_attachment_without_an_answer(self, client, bench):
        other = bench.connect()
        call = client.ask_read(client.reading(0), wait_ms=100)
        client.close()
        other.append(b"a")
        bench.run(1)
        assert call.outcome == PENDING
        assert call not in client.done

    def test_closing_parts_ends_it_without_an_answer(self, client):
        parts = client.reading(0)
        call = client.ask_read(parts, wait_ms=100)
        client.door.submit(make_close_parts(1, parts))
        client.append(b"a")
        client.bench.run(1)
        assert call.outcome == PENDING
        assert parts[0].place is None
        assert client.read(parts) == [[b"a"]]

    def test_another_read_of_the_same_parts_answers_the_first(self, client):
        parts = client.reading(0)
        first = client.ask_read(parts, wait_ms=60_000)
        second = client.ask_read(parts, wait_ms=60_000)
        assert (first.outcome, second.outcome) == (DONE, PENDING)

    def test_a_session_may_read_on_from_within_the_answer(self, bench):
        class Eager(Client):
            rounds = 0

            def completed(self, call):
                super().completed(call)
                if self.rounds:
                    self.rounds -= 1
                    parts = call.parts
                    if parts[0].data:
                        parts[0].offset = Batch(parts[0].data[-1]).end
                    self.ask_read(parts, wait_ms=10)

        writer, eager = bench.connect(), Eager(bench)
        writer.topic()
        eager.rounds = 5
        eager.ask_read(eager.reading(0), wait_ms=10)
        for _ in range(3):
            writer.append(b"a")
        bench.run(1)
        assert eager.rounds == 0
        assert len(eager.done) == 6


class TestLimits:
    def fill(self, client, partition, count, size=76):
        client.wait(client.send(*[client.part(b"%d" % partition + b"." * (size - 1), partition=partition) for _ in range(count)]))

    def test_a_part_gets_no_more_than_its_own_but_a_first_batch_whole(self, client):
        self.fill(client, 0, 5)
        parts = client.reading(0, max_bytes=250)
        client.ask_read(parts)
        assert len(parts[0].data) == 2
        parts = client.reading(0, max_bytes=10)
        client.ask_read(parts)
        assert len(parts[0].data) == 1

    def test_the_whole_gets_no_more_than_its_own(self, client):
        for partition in range(3):
            self.fill(client, partition, 5)
        parts = client.reading(("t", 0, 0), ("t", 1, 0), ("t", 2, 0))
        client.ask_read(parts, max_bytes=700)
        assert [len(part.data) for part in parts] == [5, 2, 0]

    def test_parts_take_turns(self, client):
        for partition in range(3):
            self.fill(client, partition, 30)
        parts = client.reading(("t", 0, 0), ("t", 1, 0), ("t", 2, 0))
        got = [0, 0, 0]
        for _ in range(9):
            for index, found in enumerate(client.read(parts, max_bytes=500)):
                got[index] += len(found)
        assert got == [15, 15, 15]

    def test_a_batch_over_its_parts_limit_comes_when_it_is_its_parts_turn(self, client):
        self.fill(client, 0, 100)
        self.fill(client, 1, 1, size=5000)
        parts = client.reading(("t", 0, 0), ("t", 1, 0), max_bytes=200)
        rounds = 0
        while not client.read(parts)[1]:
            rounds += 1
            assert rounds < 4

    def test_many_small_batches_are_read_in_several_goes(self):
        client = Bench(settings=ROOMY).connect()
        client.topic()
        self.fill(client, 0, 20_000, size=1)
        parts = client.reading(0)
        client.ask_read(parts, max_bytes=1 << 30)
        assert len(parts[0].data) == 16_384
        assert len(client.drain()) == 20_000


class TestColdReads:
    COUNT = 400

    @pytest.fixture
    def cold(self, client):
        """Far more than the cache holds."""
        for number in range(self.COUNT):
            client.append(b"%04d" % number + b"." * 3000)
        return client

    def test_all_of_it_comes_in_order(self, cold):
        assert [text[:4] for _, _, text in cold.drain()] == [b"%04d" % number for number in range(self.COUNT)]

    def test_and_after_a_restart(self, cold):
        again = cold.bench.reopen().connect()
        assert [text[:4] for _, _, text in again.drain()] == [b"%04d" % number for number in range(self.COUNT)]
        assert again.append(b"more") == self.COUNT

    def test_what_is_in_memory_does_not_wait_for_what_is_not(self, cold):
        cold.append(b"hot", partition=1)
        parts = cold.reading(("t", 0, 0), ("t", 1, 0))
        assert cold.ask_read(parts).outcome == DONE
        assert [len(part.data) for part in parts] == [0, 1]
        parts[1].offset = 1
        assert cold.read(parts)[0][0][:4] == b"0000"

    def test_a_short_wait_is_stretched_until_it_has_come(self, cold):
        parts = cold.reading(0)
        call = cold.ask_read(parts, wait_ms=0)
        assert call.outcome == PENDING
        cold.wait(call)
        assert texts(parts[0])[0][:4] == b"0000"

    def test_going_elsewhere_while_it_is_fetched(self, cold):
        parts = cold.reading(0)
        cold.ask_read(parts)
        parts[0].offset = 100
        assert cold.read(parts)[0][0][:4] == b"0100"
        cold.bench.run()
        parts[0].offset = self.COUNT
        cold.append(b"tail")
        assert cold.read(parts) == [[b"tail"]]

    def test_what_is_trimmed_while_it_is_fetched(self, cold, bench):
        parts = cold.reading(10)
        call = cold.ask_read(parts)
        bench.store.discard(bench.topic().logs[0], 0, 20)
        cold.wait(call)
        assert texts(parts[0]) == []
        assert parts[0].error.reason is Reason.OUT_OF_RANGE
        assert (parts[0].first_offset, parts[0].durable_end) == (20, self.COUNT)
        parts[0].offset = 20
        assert cold.read(parts)[0][0][:4] == b"0020"

    def test_the_end_of_the_attachment_while_it_is_fetched(self, cold):
        other = cold.bench.connect()
        call = other.ask_read(other.reading(0))
        other.close()
        cold.bench.run()
        assert call.outcome == PENDING

    def test_more_than_may_fetch_at_once_take_turns(self, bench):
        count = 3 * COLD_MAX
        client = bench.connect()
        client.topic("wide", count)
        for text in (b"a", b"b"):
            client.wait(
                client.send(*[client.part(text + b"%d" % number + b"." * 200_000 * (number < 5), topic="wide", partition=number) for number in range(count)])
            )
        paused = bench.connect()
        idle = paused.reading(*[("wide", number, 0) for number in range(count)])
        paused.wait(paused.ask_read(idle))
        parts = client.reading(*[("wide", number, 0) for number in range(count)])
        got = [[] for _ in parts]
        while any(len(texts) < 2 for texts in got):
            assert len(bench.broker.reads.cold) <= COLD_MAX
            for number, found in enumerate(client.read(parts, wait_ms=10_000)):
                got[number] += found
        assert [[text.rstrip(b".") for text in texts] for texts in got] == [[b"a%d" % number, b"b%d" % number] for number in range(count)]
        client.close()
        paused.close()
        assert (len(bench.broker.reads.cold), any(place.queued for place in bench.broker.reads.waiting)) == (0, False)

    def test_who_has_fallen_behind_gets_answers_as_long_as_asked_for(self, client):
        sizes = [STRETCH_SIZE_MAX // 4 * number for number in (1, 6, 13)]
        for partition, size in enumerate(sizes):
            for _ in range(size // 65_536):
                client.append(b"." * 65_536, partition=partition)
        parts = client.reading(*[("t", partition, 0) for partition in range(3)], max_bytes=sum(sizes) * 2)
        client.wait(client.ask_read(parts, max_bytes=sum(sizes) * 2))
        assert [len(part.data) for part in parts] == [size // 65_536 for size in sizes]

    @pytest.mark.parametrize("min_bytes", [1, 4 * SHARE_SIZE_MAX])
    def test_but_no_longer_than_its_share_of_what_all_may_hold(self, client, min_bytes):
        count = SHARE_SIZE_MAX * 2 // 65_536
        for _ in range(count):
            client.append(b"." * 65_536)
        parts = client.reading(0, max_bytes=1 << 30)
        call = client.ask_read(parts, min_bytes=min_bytes, max_bytes=1 << 30, wait_ms=1 << 30)
        client.wait(call)
        assert SHARE_SIZE_MAX <= parts[0].size < SHARE_SIZE_MAX + STRETCH_SIZE_MAX + 65_536
        parts[0].offset = len(parts[0].data)
        found = len(parts[0].data) + len(client.read(parts, max_bytes=1 << 30)[0])
        assert found == count

    def test_a_topic_deleted_while_it_is_fetched(self, cold):
        parts = cold.reading(0)
        call = cold.ask_read(parts, wait_ms=60_000)
        cold.ask(DeleteTopic("t"))
        cold.bench.run()
        assert call.outcome == DONE
        assert parts[0].error.reason is Reason.NOT_FOUND


class TestWhatIsNotForTheReader:
    def other(self, client, bench, text=b"other", partition=0):
        """An entry of another protocol, which nobody else can read."""
        log = bench.topic().logs[partition]
        bench.store.append([log], make_entry(CODEC.tag, 1, OPAQUE, CODEC.prefix(b"\0\1t"), record_of(text), 1))
        bench.store.urgent()
        bench.run()

    def test_a_placeholder_stands_for_it(self, client, bench):
        client.append(b"a")
        self.other(client, bench)
        client.append(b"b")
        parts = client.reading(0)
        assert client.read(parts) == [[b"a", b"(nothing)", b"b"]]
        assert parts[0].skipped == 1
        assert bench.broker.statistics()["read_entries_skipped_total"] == 1

    def test_without_placeholders_it_is_passed_over_without_end(self):
        class Bare(PlainCodec):
            placeholder = EntryCodec.placeholder

        class BareBench(Bench):
            codecs = (Bare,)

        bench = BareBench()
        client = bench.connect()
        client.topic()
        self.other(client, bench)
        parts = client.reading(0)
        assert client.read(parts, wait_ms=100) == [[]]
        self.other(client, bench)
        client.append(b"a")
        assert client.read(parts) == [[b"a"]]
        assert parts[0].offset == 3


class TestTransactions:
    def entry(self, bench, text, count=1):
        log = bench.topic().logs[0]
        entry = make_entry(3, 1, 0, b"", HEAD.pack(log.next_offset, 0, count, -1) + text, count)
        entry.producer_id = 5
        entry.producer_epoch = 0
        return entry

    def test_committed_readers_stop_at_the_stable_end_and_hear_of_aborted_ones(self, client, bench):
        transactions, log = bench.broker.transactions, bench.topic().logs[0]
        client.append(b"before")
        transactions.append([log], self.entry(bench, b"within"), 1)
        client.append(b"behind")
        both = client.reading(0)
        assert client.read(both) == [[b"before", b"within", b"behind"]]
        committed = client.reading(0)
        assert client.read(committed, committed=True) == [[b"before"]]
        assert (committed[0].durable_end, committed[0].stable_end, committed[0].aborted) == (3, 1, [])
        waiting = client.ask_read(committed, committed=True, wait_ms=60_000)
        transactions.end([log.id], 1, False)
        client.wait(waiting)
        assert texts(committed[0]) == [b"within", b"behind", b"(nothing)"]
        assert committed[0].aborted == [(5, 1)]


class TestManyPartitions:
    COUNT = 1000

    def test_a_thousand_in_one_call(self):
        client = Bench(settings=ROOMY).connect()
        client.topic("wide", self.COUNT)
        parts = client.reading(*[("wide", number, 0) for number in range(self.COUNT)])
        call = client.ask_read(parts, wait_ms=60_000)
        client.wait(client.send(*[client.part(b"%d" % number, topic="wide", partition=number) for number in range(self.COUNT)]))
        client.wait(call)
        assert [texts(part) for part in parts] == [[b"%d" % number] for number in range(self.COUNT)]
        for part in parts:
            part.offset = 1
        call = client.ask_read(parts, wait_ms=60_000)
        client.append(b"one", topic="wide", partition=777)
        client.wait(call)
        assert [number for number, part in enumerate(parts) if part.data] == [777]
        client.close()
        assert all(part.place is None for part in parts)

    def test_very_many_are_gone_over_in_several_ticks(self, client):
        client.topic("wide", 4 * PARTS_MAX)
        parts = client.reading(*[("wide", number, 0) for number in range(4 * PARTS_MAX)])
        client.append(b"first", topic="wide", partition=0)
        call = client.ask_read(parts)
        assert sum(part.place is not None for part in parts) == PARTS_MAX
        client.wait(call)
        assert [texts(part) for part in parts[:2]] == [[b"first"], []]
        assert {part.durable_end for part in parts[1:]} == {0}
        parts[0].offset = 1
        call = client.ask_read(parts, wait_ms=60_000)
        client.append(b"one", topic="wide", partition=3 * PARTS_MAX)
        client.wait(call)
        assert [number for number, part in enumerate(parts) if part.data] == [3 * PARTS_MAX]

    def test_very_many_of_which_some_are_closed_meanwhile(self, client):
        client.topic("wide", 3 * PARTS_MAX)
        parts = client.reading(*[("wide", number, 0) for number in range(3 * PARTS_MAX)])
        call = client.ask_read(parts)
        client.door.submit(make_close_parts(1, [parts[0]]))
        client.bench.run()
        assert call.outcome == PENDING
        client.wait(client.ask_read(parts[1:], wait_ms=0))
        client.close()
        assert sum(part.place is not None for part in parts) == 2 * PARTS_MAX - 1
        client.bench.run()
        assert all(part.place is None for part in parts)
