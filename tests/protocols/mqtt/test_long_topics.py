"""Topics and filters that are longer than a routing key of AMQP 0-9-1."""

from __future__ import annotations

import pytest
from mqtt_bench import VERSIONS, Bench, Client
from mqtt_wire import alias, connect, listed, publish, record, string, subscribe, unsubscribe
from test_kept_sessions import kept

from entrepot.broker.calls.port import make_publish
from entrepot.broker.catalogue.quotas import METADATA
from entrepot.broker.logs.entry_codec import DeadLetter
from entrepot.model.addresses import KEY_MAX_BYTES, pack_address
from entrepot.model.entry import CODEC_MQTT
from entrepot.protocols.amqp091.records import AmqpEntryCodec
from entrepot.protocols.amqp091.rewriting import take_apart
from entrepot.protocols.kafka.records import KafkaEntryCodec
from entrepot.protocols.mqtt.codec import Decoder
from entrepot.protocols.mqtt.connecting import Settings
from entrepot.protocols.mqtt.records import MqttEntryCodec
from entrepot.protocols.mqtt.topics import key_of
from entrepot.protocols.stomp.records import StompEntryCodec

LONG = [b"t" * 256, b"room/" * 100 + b"x", b"x/" * 255 + b"y", b"\xc3\xa4.+*"[:3] + b"z" * 1024, b"m" * KEY_MAX_BYTES]
NAMES = ["256", "100 levels", "256 levels", "1024", "most"]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def heard(client: Client) -> list[tuple[bytes, bytes]]:
    found = [one[1] for one in client.hear() if one[0] == "PUBLISH"]
    for one in found:
        if one["qos"] == 1:
            client.ack("PUBACK", one["id"])
    return sorted((one["topic"], one["payload"]) for one in found)


@pytest.mark.parametrize("topic", LONG, ids=NAMES)
@pytest.mark.parametrize("version", VERSIONS)
def test_they_come_to_whom_they_match(bench: Bench, version: int, topic: bytes) -> None:
    reader, writer = bench.connected("r", version, settings=Settings(subscriptions_max=2000)), bench.connected("w", version)
    first = topic.partition(b"/")[0]
    for packet_id, one in enumerate((topic, b"#", first + b"/#", b"$share/g/" + topic, topic[:-1], topic + b"/+"), 1):
        reader.send(subscribe(packet_id, (one, 1), properties=b"\0" if version == 5 else b""))
    writer.publish(topic, b"1", 1, 1).publish(topic, b"2", 2, 2).publish(topic, b"3").publish(topic[:-2] + b"??", b"not")
    topics = [one for one in heard(reader) if one[1] != b"not"]
    assert topics == [(topic, payload) for payload in (b"1", b"1", b"2", b"2", b"3", b"3")]
    reader.send(unsubscribe(9, topic, b"#", first + b"/#", b"$share/g/" + topic, properties=b"\0" if version == 5 else b""))
    writer.publish(topic, b"4", 1, 4)
    assert heard(reader) == []
    assert not [name for name in bench.queues() if name.startswith("mqtt.share")]


@pytest.mark.parametrize("qos", [0, 1])
def test_a_session_that_is_kept_finds_them_again_after_a_crash(bench: Bench, qos: int) -> None:
    topic = b"m" * KEY_MAX_BYTES
    member, writer = kept(bench, "m"), bench.connected("w", settings=Settings(subscriptions_max=5000))
    member.subscribe(topic, qos)
    member.subscribe(b"$share/g/" + b"long/" * 100 + b"#", qos)
    writer.publish(topic, b"kept", 1, 1, retain=True)
    writer.hear()
    heard(member)
    bench = bench.crash()
    again, other = kept(bench, "m"), bench.connected("o")
    assert [one.filter for one, _ in again.session.subscriptions] == [topic]
    assert list(again.session.shared) == [b"$share/g/" + b"long/" * 100 + b"#"]
    heard(again)
    other.publish(b"long/" * 100 + b"x", b"shared", 1, 2).publish(topic, b"live", 1, 3)
    assert heard(again) == sorted([(b"long/" * 100 + b"x", b"shared"), (topic, b"live")])
    other.feed(subscribe(1, (b"#", 1), properties=b"\0"))
    assert heard(other) == [(topic, b"kept")]
    again.send(unsubscribe(9, b"$share/g/" + b"long/" * 100 + b"#", topic, properties=b"\0"))
    assert again.hear() == [("UNSUBACK", 9, [0, 0])]
    assert "mqtt.share" not in " ".join(bench.queues())


@pytest.mark.parametrize("how", ["unsubscribe", "qos"])
def test_a_shared_subscription_is_left_while_messages_wait(bench: Bench, how: str) -> None:
    first, second, writer = bench.connected("a", properties=listed(b"\x21\0\1")), bench.connected("b"), bench.connected("w")
    first.subscribe(b"$share/g/t", 1)
    first.subscribe(b"t", 1)
    second.subscribe(b"$share/g/t", 1)
    for n in range(6):
        writer.publish(b"t", b"%d" % n, 1, n + 1)
    writer.hear()
    assert first.session.held
    if how == "qos":
        first.send(subscribe(9, (b"$share/g/t", 0), properties=b"\0"))
    else:
        first.send(unsubscribe(9, b"$share/g/t", properties=b"\0"))
    found: list[bytes] = []
    for _ in range(12):
        found += [payload for _, payload in heard(first) + heard(second)]
    assert sorted(found) == sorted(b"%d" % n for n in range(6) for _ in range(2))


def test_a_will(bench: Bench) -> None:
    topic, reader = b"will/" * 200 + b"x", bench.connected("r")
    reader.subscribe(b"will/#", 1)
    client = kept(bench, "k", expiry_s=1, flags=4, rest=b"\0" + string(topic) + string(b"gone"))
    client.lost()
    bench.run(3.0)
    assert heard(reader) == [(topic, b"gone")]


def test_a_filter_counts_for_its_length(bench: Bench) -> None:
    client = bench.connected(settings=Settings(subscriptions_max=5))
    client.send(subscribe(1, (b"x" * 600, 1), (b"y" * 600, 1), (b"z", 1), (b"a", 1), properties=b"\0"))
    assert client.hear() == [("SUBACK", 1, [1, 0x97, 1, 1])]
    used = bench.decisions.catalogue.quotas.used(METADATA)
    client.send(unsubscribe(2, b"x" * 600, properties=b"\0"))
    assert used - bench.decisions.catalogue.quotas.used(METADATA) == 600 - 255
    client.hear()
    client.send(subscribe(3, (b"y" * 600, 1), properties=b"\0"))
    assert client.hear() == [("SUBACK", 3, [1])]


def test_what_is_remembered_of_topics_is_bounded_by_octets(bench: Bench) -> None:
    reader, writer = bench.connected("r"), bench.connected("w")
    reader.subscribe(b"#", 0)
    for n in range(60):
        writer.publish(b"%d/" % n + b"x" * 60_000, b"")
    assert len(heard(reader)) == 60
    door = writer.session.attachment
    for table in (writer.session.addresses, reader.session.matches, door.paths):
        assert 0 < sum(map(len, table)) < 2 << 20


def test_of_a_long_topic_few_messages_go_together(bench: Bench) -> None:
    reader, writer = bench.connected("r"), bench.connected("w")
    reader.subscribe(b"#", 1)
    writer.publish(b"x" * 60_000, b"0", properties=listed(alias(1)))
    writer.feed(publish(b"", b"1", properties=listed(alias(1))) * 100)
    assert sum(len(heard(reader)) for _ in range(5)) == 101
    decoder = Decoder()
    decoder.push(connect(5))
    decoder.accept(1 << 20, None, 1)
    runs = decoder.push(publish(b"x" * 60_000, b"0", properties=listed(alias(1))) + publish(b"", b"1", properties=listed(alias(1))) * 100)
    assert {run.count for run in runs} <= {1, 4}
    assert sum(run.count for run in runs) == 101


def entry(topic: bytes, payload: bytes) -> bytes:
    return MqttEntryCodec().prefix(pack_address(b"amq.topic", key_of(topic))) + record(1, payload) * 3


def test_what_readers_of_other_protocols_are_told() -> None:
    topic = b"a/" * 200 + b"b"
    key = key_of(topic)
    neutral = MqttEntryCodec().to_record_batch(entry(topic, b"hello"), 0, 5) or b""
    amqp = AmqpEntryCodec()
    told = amqp.from_record_batch(neutral, 0, 5, b"\0\0")
    assert amqp.address(told) == b"\x09amq.topic\x00"
    records = amqp.split(told, amqp.start(told), 3)
    assert [bytes(take_apart(one).body) for one in records] == [b"hello"] * 3
    assert [take_apart(one).headers for one in records] == [[(b"x-routing-key", b"S" + len(key).to_bytes(4, "big") + key)]] * 3
    stomp = StompEntryCodec()
    assert b"destination:/topic/" + key + b"\n" in stomp.from_record_batch(neutral, 0, 5, b"\0\0")
    assert key in KafkaEntryCodec().from_record_batch(neutral, 0, 5, b"\0\0")


def test_a_dead_letter_keeps_its_key() -> None:
    codec, topic = MqttEntryCodec(), b"a/" * 200 + b"b"
    data = entry(topic, b"x")
    again = codec.dead_letter(data, codec.split(data, codec.start(data), 1)[0], DeadLetter("public/default", "q", "expired", "dlx", None, 5))
    assert again is not None
    assert again[0] == pack_address(b"dlx", key_of(topic))
    assert make_publish(1, again[0], CODEC_MQTT, 1, 0, again[1], 1, 1).address == again[0]
