"""What is asked about topics: made, described, configured, trimmed, searched by time; ids of producers."""

from pathlib import Path

import pytest
from partition_bench import NAMESPACE, ROOMY, Bench, Guard

from entrepot.broker.calls import topic_requests as asked
from entrepot.broker.calls.port import DONE, PENDING
from entrepot.broker.calls.requests import DeclareQueue
from entrepot.broker.catalogue.kept_definitions import CATALOGUE_SHARD, TOPIC_KEY, decode_value, encode_value, named_key
from entrepot.broker.operations.topic_ending import PIECE
from entrepot.broker.producers.producer_ids import BLOCK_SIZE, EPOCH_MAX
from entrepot.broker.state import set_value
from entrepot.broker.topic.topic_config import SETTINGS, TopicDefaults
from entrepot.model.entry import CODEC_KAFKA
from entrepot.model.errors import Reason, Refused


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
def client(bench):
    return bench.connect()


def reason(client, request):
    with pytest.raises(Refused) as caught:
        client.ask(request)
    return caught.value.reason


def described(client, *names):
    return client.ask(asked.DescribeTopics(list(names)))


def config(client, name="t", *keys):
    return {entry.name: (entry.value, entry.is_default) for entry in client.ask(asked.DescribeTopicConfig(name, list(keys) or None))}


def alter(client, *changes, name="t", check_only=False):
    return client.ask(asked.AlterTopicConfig(name, list(changes), check_only))


class TestTopics:
    def test_made_and_described(self, client):
        made = client.topic("t", 3)
        assert (made.name, len(made.id), made.partition_count) == ("t", 16, 3)
        by_name, by_id = client.ask(asked.DescribeTopics(["t"], [made.id]))
        assert by_name == by_id == made
        assert list(client.ask(asked.DescribeTopics())) == [made]

    def test_limits_of_retention_change_where_they_are(self, bench, client):
        """A topic may have ten thousand partitions."""
        client.topic("t", 3, retention_ms="5000")
        topic = bench.catalogue.find_topic(NAMESPACE, "t").runtime
        before = [partition.retention for partition in topic.partitions]
        client.ask(asked.CreatePartitions("t", 5))
        alter(client, ("set", "max.message.bytes", "5000"))
        alter(client, ("set", "retention.bytes", "1000"), ("set", "retention.ms", "-1"))
        assert [partition.retention for partition in topic.partitions[:3]] == before
        for _ in range(100):
            client.append(b"x" * 100, 1, partition=1)
        assert topic.partitions[1].log.bytes_alive <= 1000 + 1000 // 16
        alter(client, ("set", "retention.bytes", "-1"))
        assert {partition.retention for partition in topic.partitions} == {None}

    def test_as_many_partitions_as_the_broker_says(self, client):
        assert client.topic("t", -1).partition_count == 2

    def test_it_is_there_after_a_restart_with_the_same_id(self, client):
        made = client.topic("t", 3, retention_bytes="1000000")
        client.append(b"a", 2, partition=2)
        again = client.bench.reopen().connect()
        found = described(again, "t")[0]
        assert (found.id, found.partition_count) == (made.id, 3)
        assert found.epoch > made.epoch
        assert config(again, "t", "retention.bytes") == {"retention.bytes": ("1000000", False)}
        assert again.append(b"b", partition=2) == 2

    @pytest.mark.parametrize("name", ["", ".", "..", "a b", "a/b", "ü", "x" * 250, "a\n"])
    def test_names_that_kafka_does_not_have(self, client, name):
        assert reason(client, asked.CreateTopic(name, 1)) is Reason.INVALID

    @pytest.mark.parametrize("partitions", [0, -2, 10_001, 1 << 40])
    def test_numbers_of_partitions_that_cannot_be(self, client, partitions):
        assert reason(client, asked.CreateTopic("t", partitions)) is Reason.INVALID

    def test_what_partitions_cost_is_told(self, client):
        door = client.door
        door.spent = 0
        client.topic("t", 200)
        made, door.spent = door.spent, 0
        client.ask(asked.CreatePartitions("t", 400))
        added, door.spent = door.spent, 0
        client.ask(asked.DeleteTopic("t"))
        assert (made, added, door.spent) == (700, 600, 100 + 3 * PIECE)

    def test_one_that_exists(self, client):
        client.topic("t")
        assert reason(client, asked.CreateTopic("t", 1)) is Reason.EXISTS_DIFFERENT

    @pytest.mark.parametrize(("key", "value", "expected"), [("no.such.key", "1", Reason.UNKNOWN_KEY), ("retention.ms", "soon", Reason.INVALID_VALUE)])
    def test_bad_configuration_makes_nothing(self, client, key, value, expected):
        assert reason(client, asked.CreateTopic("t", 1, {key: value})) is expected
        assert list(client.ask(asked.DescribeTopics())) == []

    def test_only_checked(self, client):
        assert client.ask(asked.CreateTopic("t", 1, check_only=True)).name == "t"
        assert list(client.ask(asked.DescribeTopics())) == []

    def test_a_queue_may_have_the_same_name(self, client):
        client.declare("both")
        client.topic("both")
        assert [topic.name for topic in client.ask(asked.DescribeTopics())] == ["both"]

    def test_deleted_by_name_or_id(self, client):
        for request in (lambda topic: asked.DeleteTopic("t"), lambda topic: asked.DeleteTopic("", topic.id)):
            made = client.topic("t")
            client.append()
            assert client.ask(request(made)) == made
            found = client.ask(asked.DescribeTopics(["t"], [made.id]))
            assert [refused.reason for refused in found] == [Reason.NOT_FOUND] * 2
        assert client.topic("t").id != made.id
        assert reason(client, asked.DeleteTopic("u")) is Reason.NOT_FOUND
        assert reason(client, asked.DeleteTopic("", bytes(16))) is Reason.NOT_FOUND

    def test_an_amqp_consumer_ends_with_its_topic(self, client):
        client.declare("s", x_queue_type="stream")
        client.consume("c", "s", limit=10)
        client.ask(asked.DeleteTopic("s"))
        assert client.ended == ["c"]

    def test_streams_are_topics_if_kafka_may_know_their_names(self, client):
        client.declare("s", x_queue_type="stream")
        client.ask(DeclareQueue("not for Kafka", False, True, False, False, {"x-queue-type": "stream"}))
        assert [(topic.name, topic.partition_count) for topic in client.ask(asked.DescribeTopics())] == [("s", 1)]

    def test_a_stream_has_one_partition_for_good(self, client):
        client.declare("s", x_queue_type="stream")
        assert reason(client, asked.CreatePartitions("s", 2)) is Reason.NOT_SUPPORTED

    def test_one_that_is_missing_is_made_if_asked_for(self, client):
        assert [refused.reason for refused in described(client, "auto")] == [Reason.NOT_FOUND]
        request = asked.DescribeTopics(["auto", "bad name", "auto"], create_missing=True)
        made, refused, again = client.ask(request)
        assert (made.partition_count, refused.reason, again) == (2, Reason.INVALID, made)

    def test_unless_the_broker_does_not(self):
        class Strict(Bench):
            topic_defaults = TopicDefaults(auto_create=False)

        client = Strict().connect()
        assert client.ask(asked.DescribeTopics(["auto"], create_missing=True))[0].reason is Reason.NOT_FOUND

    def test_a_topic_made_before_there_were_ids_gets_one_that_stays(self, bench, client):
        client.topic("t")
        key = named_key(TOPIC_KEY, NAMESPACE, "t")
        fields = decode_value(key, bench.store.get(CATALOGUE_SHARD, key))
        del fields["id"], fields["config"]
        bench.store.fold(CATALOGUE_SHARD, key, set_value(encode_value(fields)))
        bench.store.urgent()
        ids = set()
        for _ in range(2):
            bench = bench.reopen()
            ids.add(described(bench.connect(), "t")[0].id)
        assert len(ids) == 1
        assert len(ids.pop()) == 16


class TestPermissions:
    @pytest.fixture
    def guard(self):
        return Guard()

    @pytest.fixture
    def client(self, guard):
        class Guarded(Bench):
            authorizer = guard

        client = Guarded().connect()
        client.topic("t")
        return client

    def test_configuring(self, client, guard):
        guard.refuse(("configure", "t"), ("configure", "u"))
        for request in (
            asked.CreateTopic("u"),
            asked.DeleteTopic("t"),
            asked.CreatePartitions("t", 5),
            asked.AlterTopicConfig("t", [("set", "retention.ms", "5")]),
            asked.TrimPartition("t", 0, 0),
        ):
            assert reason(client, request) is Reason.NOT_PERMITTED
        assert client.ask(asked.DescribeTopics(["u"], create_missing=True))[0].reason is Reason.NOT_PERMITTED

    def test_seeing(self, client, guard):
        found = described(client, "t")[0]
        hidden = [(action, "t") for action in ("configure", "read", "write")]
        guard.refuse(*hidden[:2])
        assert described(client, "t")[0] == found
        guard.refuse(*hidden)
        assert described(client, "t")[0].reason is Reason.NOT_PERMITTED
        assert client.ask(asked.DescribeTopics(ids=[found.id]))[0].reason is Reason.NOT_FOUND
        assert list(client.ask(asked.DescribeTopics())) == []
        for request in (asked.DescribeTopicConfig("t"), asked.FindOffset("t", 0, "end"), asked.EpochEnd("t", 0, 1)):
            assert reason(client, request) is Reason.NOT_PERMITTED


class TestPartitions:
    def test_more_of_them(self, client):
        client.topic("t", 2)
        client.append(b"a")
        assert client.ask(asked.CreatePartitions("t", 4)).partition_count == 4
        assert [client.append(b"b", partition=partition) for partition in range(4)] == [1, 0, 0, 0]
        again = client.bench.reopen().connect()
        assert described(again, "t")[0].partition_count == 4
        assert [again.append(b"b", partition=partition) for partition in range(4)] == [2, 1, 1, 1]

    def test_not_fewer_nor_too_many(self, client):
        client.topic("t", 2)
        for count in (2, 1, 0, -1, 10_001):
            assert reason(client, asked.CreatePartitions("t", count)) is Reason.INVALID
        assert client.ask(asked.CreatePartitions("t", 3, check_only=True)).partition_count == 2

    def test_publishes_from_amqp_reach_the_new_ones(self, client, bench):
        client.topic("t", 1)
        client.put(b"1", key="t")
        client.ask(asked.CreatePartitions("t", 2))
        client.put(b"2", key="t")
        client.put(b"3", key="t")
        assert sorted(log.next_offset for log in bench.topic().logs) == [1, 2]


class TestConfiguration:
    def test_all_of_it_with_its_defaults(self, client):
        client.topic("t")
        shown = {entry.name: entry for entry in client.ask(asked.DescribeTopicConfig("t"))}
        assert set(shown) == set(SETTINGS)
        assert all(entry.is_default and entry.value == entry.default and entry.documentation for entry in shown.values())
        assert shown["retention.ms"].value == "-1"  # the broker's own
        assert shown["max.message.bytes"].value == "1048588"

    def test_the_guide_has_the_same_table(self):
        guide = (Path(__file__).parents[2] / "docs" / "topics.md").read_text()
        for key, setting in SETTINGS.items():
            assert f"| `{key}` | {setting.type} | `{setting.default}` | {setting.documentation} |" in guide

    def test_the_keys_that_are_asked_for(self, client):
        client.topic("t", 1, retention_ms="5000")
        assert config(client, "t", "retention.ms", "no.such.key") == {"retention.ms": ("5000", False)}

    def test_changes(self, client):
        client.topic("t")
        alter(client, ("set", "retention.ms", " 5000 "), ("set", "cleanup.policy", "delete"))
        assert config(client, "t", "retention.ms", "cleanup.policy") == {"retention.ms": ("5000", False), "cleanup.policy": ("delete", False)}
        alter(client, ("delete", "retention.ms", None), ("append", "cleanup.policy", "delete"))
        again = client.bench.reopen().connect()
        assert config(again, "t", "retention.ms", "cleanup.policy") == {"retention.ms": ("-1", True), "cleanup.policy": ("delete", False)}

    @pytest.mark.parametrize(("kind", "lowest", "highest"), [("gzip", "-1", "9"), ("lz4", "1", "17"), ("zstd", "-131072", "22")])
    def test_levels_of_compression_are_kept(self, client, kind, lowest, highest):
        client.topic("t", 1)
        for level in (lowest, highest):
            alter(client, ("set", f"compression.{kind}.level", level))
            assert config(client, "t", f"compression.{kind}.level") == {f"compression.{kind}.level": (level, False)}

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            (("set", "no.such.key", "1"), Reason.UNKNOWN_KEY),
            (("append", "no.such.key", "1"), Reason.UNKNOWN_KEY),
            (("set", "cleanup.policy", "compact"), Reason.INVALID_VALUE),
            (("append", "cleanup.policy", "compact"), Reason.INVALID_VALUE),
            (("subtract", "cleanup.policy", "delete"), Reason.INVALID_VALUE),
            (("append", "cleanup.policy", None), Reason.INVALID),
            (("append", "retention.ms", "1"), Reason.INVALID_VALUE),
            (("set", "compression.type", "none"), Reason.INVALID_VALUE),
            (("set", "compression.type", "GZIP"), Reason.INVALID_VALUE),
            *((("set", "compression.gzip.level", level), Reason.INVALID_VALUE) for level in ("0", "10", "-2", "fast")),
            *((("set", "compression.lz4.level", level), Reason.INVALID_VALUE) for level in ("0", "18", "-1")),
            *((("set", "compression.zstd.level", level), Reason.INVALID_VALUE) for level in ("23", "-131073")),
            (("set", "min.insync.replicas", "2"), Reason.INVALID_VALUE),
            (("set", "retention.ms", "-2"), Reason.INVALID_VALUE),
            (("set", "retention.ms", str(1 << 63)), Reason.INVALID_VALUE),
            (("set", "retention.ms", "1" * 5000), Reason.INVALID_VALUE),
            (("set", "retention.ms", None), Reason.INVALID),
            (("set", "message.timestamp.type", "createtime"), Reason.INVALID_VALUE),
            (("multiply", "retention.ms", "2"), Reason.INVALID),
        ],
    )
    def test_changes_that_are_refused_change_nothing(self, client, change, expected):
        client.topic("t")
        assert reason(client, asked.AlterTopicConfig("t", [("set", "retention.bytes", "5"), change])) is expected
        assert config(client, "t", "retention.bytes") == {"retention.bytes": ("-1", True)}

    def test_deleting_what_is_no_setting_changes_nothing(self, client):
        client.topic("t")
        alter(client, ("set", "retention.ms", "5000"), ("delete", "no.such.key", None))
        assert config(client, "t", "retention.ms") == {"retention.ms": ("5000", False)}

    def test_only_checked(self, client):
        client.topic("t")
        alter(client, ("set", "retention.ms", "5"), check_only=True)
        assert config(client, "t", "retention.ms") == {"retention.ms": ("-1", True)}

    def test_a_streams_arguments_count_as_defaults(self, client):
        client.declare("s", x_queue_type="stream", x_max_age="1h")
        assert config(client, "s", "retention.ms", "retention.bytes") == {"retention.ms": ("3600000", True), "retention.bytes": ("-1", True)}
        client.declare("for-ever", x_queue_type="stream")
        assert config(client, "for-ever", "retention.ms") == {"retention.ms": ("-1", True)}
        alter(client, ("set", "retention.ms", "5000"), name="s")
        assert client.declare("s", x_queue_type="stream", x_max_age="1h")[0] == "s"

    def test_a_week_unless_the_broker_is_told_otherwise(self):
        class Plain(Bench):
            topic_defaults = TopicDefaults()

        client = Plain().connect()
        client.topic("t")
        assert config(client, "t", "retention.ms") == {"retention.ms": ("604800000", True)}

    def test_unknown_topics(self, client):
        assert reason(client, asked.DescribeTopicConfig("t")) is Reason.NOT_FOUND
        assert reason(client, asked.AlterTopicConfig("t", [])) is Reason.NOT_FOUND


class TestRetention:
    def test_by_time_from_when_it_is_set(self, client, bench):
        client.topic("t", 2)
        log = bench.topic().logs[1]
        client.append(b"old", partition=1)
        bench.run(5000)
        client.append(b"new", partition=1)
        assert log.first_offset == 0
        alter(client, ("set", "retention.ms", "3600000"))
        bench.run(120)
        assert log.first_offset == 1
        alter(client, ("delete", "retention.ms", None))
        bench.run(10_000)
        assert log.first_offset == 1

    def test_by_size(self, client, bench):
        client.topic("t")
        alter(client, ("set", "retention.bytes", "10000"))
        for _ in range(50):
            client.append(b"x" * 1000)
        bench.run()
        log = bench.topic().logs[0]
        assert 5000 < log.bytes_alive < 12_000
        assert log.first_offset > 30

    def test_many_partitions_are_looked_at(self):
        bench = Bench(settings=ROOMY)
        client = bench.connect()
        client.topic("t", 200, retention_ms="60000")
        client.wait(client.send(*[client.part(partition=partition) for partition in range(200)]))
        bench.run(200)
        assert [log.first_offset for log in bench.topic().logs] == [1] * 200


class TestTrimming:
    def test_up_to_an_offset_or_the_end(self, client, bench):
        client.topic("t")
        for text in (b"a", b"b", b"c"):
            client.append(text, 2)
        assert client.ask(asked.TrimPartition("t", 0, 3)) == 3
        assert client.ask(asked.TrimPartition("t", 0, 1)) == 3
        assert [text for _, _, text in client.drain(3)] == [b"b", b"c"]
        assert client.ask(asked.TrimPartition("t", 0, -1)) == 6
        assert client.bench.reopen().connect().drain(6) == []

    @pytest.mark.parametrize("offset", [3, -2, 1 << 40])
    def test_not_behind_the_end(self, client, offset):
        client.topic("t")
        client.append(b"a", 2)
        assert reason(client, asked.TrimPartition("t", 0, offset)) is Reason.OUT_OF_RANGE

    def test_what_is_not_there(self, client):
        client.topic("t")
        assert reason(client, asked.TrimPartition("t", 1, 0)) is Reason.NOT_FOUND
        assert reason(client, asked.TrimPartition("u", 0, 0)) is Reason.NOT_FOUND


class TestOffsets:
    TIMES = (1000, 3000, 2000, 9000, 4000)

    @pytest.fixture
    def client(self, bench):
        """Entries of two records, with these greatest timestamps (now - TIMES), all long out of the cache."""
        client = bench.connect()
        client.topic("t", 2)
        self.now = bench.clock.wall_ms() - 100_000
        for time_ms in self.TIMES:
            client.append(b"x" * 70_000, 2, time_ms=self.now + time_ms)
        return client

    def find(self, client, where, **how):
        return client.ask(asked.FindOffset("t", 0, where, **how))

    def test_first_and_end(self, client):
        epoch = described(client, "t")[0].epoch
        assert self.find(client, "first") == (0, -1, epoch)
        assert self.find(client, "end") == (10, -1, epoch)
        client.ask(asked.TrimPartition("t", 0, 3))
        assert self.find(client, "first") == (3, -1, epoch)

    @pytest.mark.parametrize(("since", "offset"), [(0, 0), (1000, 0), (1001, 2), (3001, 6), (9000, 6), (9001, -1)])
    def test_by_time(self, client, since, offset):
        # the codec says that it is the entry's second record
        assert self.find(client, self.now + since)[0] == (offset + 1 if offset >= 0 else -1)

    def test_the_greatest_time(self, client):
        assert self.find(client, "max_time")[:2] == (7, self.now + 9000)
        client.append(b"later", time_ms=self.now + 20_000)
        assert self.find(client, "max_time")[:2] == (11, self.now + 20_000)

    def test_of_an_empty_partition(self, client):
        for where in ("max_time", 0, 5):
            assert client.ask(asked.FindOffset("t", 1, where)) == (-1, -1, -1)

    def test_after_a_restart(self, client):
        again = client.bench.reopen().connect()
        assert self.find(again, "max_time")[:2] == (7, self.now + 9000)
        assert self.find(again, self.now + 1001)[0] == 3

    def test_stable_end(self, client, bench):
        log = bench.topic().logs[0]
        bench.broker.transactions.of(log).appending(1, 5, 0)
        client.append(b"within", time_ms=self.now + 50_000)
        assert self.find(client, "end")[0] == 11
        assert self.find(client, "end", committed=True)[0] == 10
        assert self.find(client, self.now + 20_000, committed=True)[0] == -1
        assert self.find(client, self.now + 20_000)[0] == 11

    def test_what_cannot_be_read_is_an_error_of_its_part(self, client, bench, monkeypatch):
        def damaged(codec, data, base_offset, time_ms):
            raise Refused(Reason.TOO_LARGE, "unpacks to too much")

        monkeypatch.setattr(type(bench.broker.hub.codec(CODEC_KAFKA)), "first_at", damaged)
        for where in ("max_time", self.now):
            assert reason(client, asked.FindOffset("t", 0, where)) is Reason.TOO_LARGE
        assert self.find(client, "end")[0] == 10

    def test_each_search_looks_into_one_entry(self, client, bench, monkeypatch):
        kind = type(bench.broker.hub.codec(CODEC_KAFKA))
        looks = []
        first_at = kind.first_at

        def counted(codec, data, base_offset, time_ms):
            looks.append(base_offset)
            return first_at(codec, data, base_offset, time_ms)

        monkeypatch.setattr(kind, "first_at", counted)
        calls = [client.submit(asked.FindOffset("t", 0, self.now + time_ms % 9000)) for time_ms in range(0, 30_000, 1000)]
        calls.append(client.submit(asked.FindOffset("t", 0, "max_time")))
        bench.run()
        assert [call.outcome for call in calls] == [DONE] * 31
        assert len(looks) == 31

    @pytest.mark.parametrize(("ahead", "expected"), [(-1, Reason.ENDED_EPOCH), (1, Reason.UNKNOWN_EPOCH)])
    def test_a_client_that_knows_another_epoch_of_the_owner(self, client, bench, ahead, expected):
        epoch = bench.broker.appender.epoch
        for request in (asked.FindOffset("t", 0, "end", leader_epoch=epoch + ahead), asked.EpochEnd("t", 0, 0, epoch + ahead)):
            assert reason(client, request) is expected
        assert self.find(client, "end", leader_epoch=epoch)[0] == 10

    def test_nonsense(self, client):
        for where in (-5, "middle"):
            assert reason(client, asked.FindOffset("t", 0, where)) is Reason.INVALID
        assert reason(client, asked.FindOffset("t", 2, "end")) is Reason.NOT_FOUND

    def test_markers_are_passed_over(self, client, bench):
        log = bench.topic().logs[0]
        for number in range(100):
            bench.broker.transactions.of(log).appending(number, 5, 0)
            bench.broker.transactions.end([log.id], number, True)
        bench.run()
        client.append(b"late", time_ms=bench.clock.wall_ms() + 1000)
        assert self.find(client, bench.clock.wall_ms() - 5000)[0] == 10 + 100 + 1


class TestEpochs:
    def end(self, client, epoch):
        return client.ask(asked.EpochEnd("t", 0, epoch))

    def epoch(self, client):
        return described(client, "t")[0].epoch

    def test_of_one_owner(self, client):
        client.topic("t")
        assert self.end(client, self.epoch(client)) == (self.epoch(client), 0)
        client.append(b"a", 3)
        assert self.end(client, self.epoch(client)) == (self.epoch(client), 3)
        assert self.end(client, self.epoch(client) + 1) == (-1, -1)
        assert self.end(client, -1) == (-1, -1)

    def test_each_owner_has_its_end(self, bench):
        ends = {}
        client = bench.connect()
        client.topic("t")
        for _ in range(5):
            for _ in range(3):
                client.append(b"x" * 30_000, 2)
            ends[self.epoch(client)] = client.bench.topic().logs[0].durable_offset
            client = client.bench.reopen().connect()
        assert len(ends) == 5
        for epoch, end in ends.items():
            assert self.end(client, epoch) == (epoch, end)
        assert self.end(client, min(ends) - 1) == (min(ends) - 1, 0)
        assert self.end(client, self.epoch(client)) == (self.epoch(client), 30)

    def test_one_that_wrote_nothing_is_answered_by_the_one_before(self, client):
        client.topic("t")
        client.append()
        first = self.epoch(client)
        silent = client.bench.reopen()
        epoch = self.epoch(silent.connect())
        again = silent.reopen().connect()
        again.append()
        assert self.end(again, epoch) == (first, 1)


class TestProducerIds:
    def new(self, client, *args):
        return client.ask(asked.NewProducer(*args))

    def test_none_is_given_twice(self, client):
        given = [self.new(client) for _ in range(BLOCK_SIZE + 10)]
        assert len(set(given)) == len(given)
        assert {epoch for _, epoch in given} == {0}

    def test_it_is_told_when_its_block_is_kept(self, client):
        first, second = (client.submit(asked.NewProducer()) for _ in range(2))
        assert (first.outcome, second.outcome) == (PENDING, PENDING)
        client.bench.run()
        assert (first.outcome, second.outcome) == (DONE, DONE)
        assert client.submit(asked.NewProducer()).outcome == DONE

    def test_nor_after_a_restart(self, client):
        given = {self.new(client)[0] for _ in range(3)}
        again = client.bench.reopen().connect()
        assert self.new(again)[0] > max(given)

    def test_nor_after_a_crash(self, client):
        given = self.new(client)[0]
        client.bench.loop.forget_all()
        client.bench.disk.crash()
        again = Bench(bench=client.bench).connect()
        assert self.new(again)[0] > given

    def test_the_next_epoch_of_one(self, client):
        producer_id, epoch = self.new(client)
        assert self.new(client, producer_id, epoch) == (producer_id, 1)
        assert self.new(client, producer_id, 1) == (producer_id, 2)

    def test_behind_the_last_epoch_comes_another_id(self, client):
        producer_id, _ = self.new(client)
        other, epoch = self.new(client, producer_id, EPOCH_MAX)
        assert other != producer_id
        assert epoch == 0

    @pytest.mark.parametrize("asks", [(77, 0), (-5, 0), (0, -1)])
    def test_of_one_that_was_not_given(self, client, asks):
        self.new(client)
        assert reason(client, asked.NewProducer(*asks)) is Reason.UNKNOWN_PRODUCER
