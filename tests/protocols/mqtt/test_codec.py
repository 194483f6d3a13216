"""Packets to events: whole, split everywhere, broken in every way; compiled and source agree."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mqtt_feeding import BAD_ALIAS, BROKEN, MALFORMED, TOO_LARGE, accepted, error_of, feed
from mqtt_streams import ALIAS_MAX, hostile, streams
from mqtt_wire import (
    PING,
    PUBACK,
    PUBREC,
    PUBREL,
    ack,
    alias,
    connect,
    expiry,
    listed,
    normalised,
    plain,
    publish,
    record,
    string,
    subscribe,
    u16,
    user,
    variable,
)

from both_modes import examples, interpreted
from entrepot.protocols.mqtt import codec
from entrepot.protocols.mqtt.reason_codes import MqttError, ReasonCode

source = interpreted("entrepot.protocols.mqtt.codec", "entrepot.net.receive_buffer", "entrepot.protocols.mqtt.publish_properties")


def decode(module: Any, reads: list[bytes], **limits: int) -> list[tuple[Any, ...]]:
    decoder = module.Decoder(**limits)
    events: list[Any] = []
    for data in reads:
        if decoder.error is None:
            events.extend(map(plain, feed(decoder, data)))
    return events


@settings(max_examples=examples(150), deadline=None)
@given(streams(), st.data())
def test_any_split_gives_the_same_events(stream: bytes, data: st.DataObject) -> None:
    whole = normalised(decode(codec, [stream]))
    assert "MqttError" not in [event[0] for event in whole]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=30)))
    reads = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert normalised(decode(codec, reads)) == whole


@settings(max_examples=examples(40), deadline=None)
@given(streams())
def test_cut_at_every_byte(stream: bytes) -> None:
    whole = normalised(decode(codec, [stream]))
    assert normalised(decode(codec, [stream[at : at + 1] for at in range(len(stream))])) == whole
    for at in range(0, len(stream), max(1, len(stream) // 200)):
        assert normalised(decode(codec, [stream[:at], stream[at:]])) == whole


def test_every_prefix_yields_only_what_is_whole() -> None:
    parts = [
        connect(5),
        publish(b"a", b"one", properties=b"\0"),
        subscribe(1, (b"#", 0), properties=b"\0"),
        ack(PUBACK, 3),
        PING,
        publish(b"b", properties=b"\0"),
    ]
    stream = b"".join(parts)
    for cut in range(len(stream) + 1):
        whole = sum(1 for count in range(1, len(parts) + 1) if sum(map(len, parts[:count])) <= cut)
        assert len(decode(codec, [stream[:cut]])) == whole


@settings(max_examples=examples(120), deadline=None)
@given(streams())
def test_compiled_agrees_with_source(stream: bytes) -> None:
    assert decode(codec, [stream]) == decode(source, [stream])


def test_hostile_streams_get_the_same_answer_in_both_modes_and_all_splits() -> None:
    errors = set()
    for number, data in enumerate(hostile(seed=1, count=examples(2_500))):
        events = decode(codec, [data])
        assert events == decode(source, [data])
        errors.update(event[1] for event in events if event[0] == "MqttError")
        if number % 10 == 0:
            assert normalised(decode(codec, [data[at : at + 3] for at in range(0, len(data), 3)])) == normalised(events)
    assert {MALFORMED, BROKEN, BAD_ALIAS, 0x84} <= errors


def test_octets_at_random_end_in_an_error_or_wait() -> None:
    chance = random.Random(4)
    for _ in range(examples(1_000)):
        data = chance.randbytes(chance.randint(1, 60))
        for start in (b"", connect(4), connect(5)):
            events = normalised(decode(codec, [start + data]))
            assert events == normalised(decode(codec, [start, *(data[at : at + 1] for at in range(len(data)))]))


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("properties", [b"", user("n", "v"), expiry(7) + user("n", "v"), user("n", "v") + expiry(7) + b"\x01\x01" + alias(2)])
def test_a_message_that_differs_in_one_octet_from_the_last_is_decoded_as_when_it_comes_alone(version: int, properties: bytes) -> None:
    if version == 4 and properties:
        return
    own = listed(properties) if version == 5 else None
    messages = [publish(b"to/pic", bytes(size), 1, number, properties=own) for number, size in enumerate((5, 5, 7, 5), start=1)]
    for number in (1, 2):
        for at in range(len(messages[number])):
            for mask in (1, 2, 0x80, 0xFF):
                changed = bytearray(messages[number])
                changed[at] ^= mask
                parts = [*messages[:number], bytes(changed), *messages[number + 1 :]]
                assert normalised(decode(codec, [connect(version), b"".join(parts)])) == normalised(decode(codec, [connect(version), *parts]))


# --- runs -------------------------------------------------------------------------------------------------------------------------


def test_a_run_of_publishes() -> None:
    (run,) = feed(accepted(4), publish(b"a/b", b"one", 1, 7) + publish(b"a/b", b"", 1, 8, dup=True))
    assert (run.topic, run.qos, run.retain, run.count, run.packet_ids, run.body_bytes, run.expires) == (b"a/b", 1, False, 2, u16(7) + u16(8), 3, False)
    assert run.data == record(1, b"one") + record(1, b"")


def test_properties_are_kept_as_they_came_but_for_alias_and_expiry() -> None:
    properties = user("a", "1") + alias(3) + b"\x01\x01" + expiry(60) + user("a", "2") + b"\x09" + string(b"\xff")
    (run,) = feed(accepted(), publish(b"t", b"x", retain=True, properties=listed(properties)))
    assert run.data == record(4, b"x", user("a", "1") + b"\x01\x01" + user("a", "2") + b"\x09" + string(b"\xff"), 60)
    assert run.expires
    assert run.retain
    assert run.packet_ids == b""


@pytest.mark.parametrize(
    "parts",
    [(alias(1), expiry(5)), (expiry(5), alias(1)), (alias(1), user("u", "v"), expiry(5)), (expiry(5), user("u", "v"), alias(1)), (expiry(5),), (alias(1),)],
)
def test_wherever_alias_and_expiry_stand(parts: tuple[bytes, ...]) -> None:
    (run,) = feed(accepted(), publish(b"t", b"x", properties=listed(*parts)))
    rest = user("u", "v") if user("u", "v") in parts else b""
    assert run.data == record(0, b"x", rest, 5 if expiry(5) in parts else -1)


def test_what_differs_in_topic_qos_or_retain_is_another_run() -> None:
    packets = [publish(b"a"), publish(b"a", retain=True), publish(b"a", qos=1), publish(b"a", qos=2), publish(b"b", qos=2), publish(b"ab", qos=2)]
    assert [run.count for run in feed(accepted(4), b"".join(one * 2 for one in packets))] == [2] * 6


def test_runs_have_a_greatest_count_and_size() -> None:
    decoder = accepted(4)
    feed(decoder, publish(b"a", bytes(400_000)))  # for one large read
    runs = feed(decoder, publish(b"a", b"", 1) * 2500)
    assert [run.count for run in runs] == [1024, 1024, 452]
    assert [len(run.packet_ids) for run in runs] == [2048, 2048, 904]
    runs = feed(decoder, publish(b"a", bytes(30_000)) * 5 + publish(b"a", bytes(100_000)))
    assert [run.count for run in runs] == [2, 2, 1, 1]
    assert all(len(run.data) <= codec.RUN_MAX_BYTES for run in runs[:3])


def test_the_expiry_of_one_run_is_not_told_of_another() -> None:
    runs = feed(accepted(), publish(b"a", bytes(60_000), properties=b"\0") + publish(b"a", bytes(60_000), properties=listed(expiry(1))))
    assert [run.expires for run in runs] == [False, True]


def test_runs_of_acknowledgements() -> None:
    data = (
        ack(PUBACK, 65534)
        + ack(PUBACK, 65535)
        + ack(PUBACK, 1)
        + ack(PUBREL, 5)
        + ack(PUBREC, 6, b"\x87")
        + ack(PUBREC, 7, b"\x87\x00")
        + ack(PUBREC, 8, b"\x00")
    )
    runs = feed(accepted(), data)
    assert [(run.kind, run.reason_code, run.count, run.first, run.ascending) for run in runs] == [
        (4, 0, 3, 65534, False),
        (6, 0, 1, 5, True),
        (5, 0x87, 2, 6, True),
        (5, 0, 1, 8, True),
    ]
    assert runs[0].packet_ids == u16(65534) + u16(65535) + u16(1)


def test_pings_are_counted() -> None:
    assert [event.count for event in feed(accepted(4), PING * 5)] == [5]


def test_no_feed_gives_more_events_than_there_may_be() -> None:
    decoder = accepted(4)
    data = (PING + ack(PUBACK, 1)) * 3000
    room = decoder.writable()
    sizes = []
    while data:
        room = decoder.writable()
        step = min(len(room), len(data))
        room[:step] = data[:step]
        data = data[step:]
        sizes.append(len(decoder.feed(step)))
        while decoder.more:
            sizes.append(len(decoder.feed(0)))
    assert max(sizes) <= codec.STEPS_MAX + 1
    assert sum(sizes) == 6000


# --- aliases ----------------------------------------------------------------------------------------------------------------------


def test_an_alias_stands_for_its_topic() -> None:
    data = (
        publish(b"a", b"1", properties=listed(alias(1)))
        + publish(b"", b"2", properties=listed(alias(1)))
        + publish(b"b", b"3", properties=listed(alias(2)))
        + publish(b"", b"4", properties=listed(alias(1)))
        + publish(b"c", b"5", properties=listed(alias(1)))
        + publish(b"", b"6", properties=listed(alias(1)))
        + publish(b"", b"7", properties=listed(alias(2)))
        + publish(b"", b"8", properties=listed(alias(1)))
    )
    runs = feed(accepted(), data)
    assert [(run.topic, run.count) for run in runs] == [(b"a", 2), (b"b", 1), (b"a", 1), (b"c", 2), (b"b", 1), (b"c", 1)]


def test_aliases_outlast_a_read() -> None:
    decoder = accepted()
    feed(decoder, publish(b"a", properties=listed(alias(3))))
    assert [run.topic for run in feed(decoder, publish(b"", properties=listed(alias(3))))] == [b"a"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (publish(b"a", properties=listed(alias(0))), BAD_ALIAS),
        (publish(b"a", properties=listed(alias(ALIAS_MAX + 1))), BAD_ALIAS),
        (publish(b"", properties=listed(alias(1))), BROKEN),
        (publish(b"", properties=b"\0"), BROKEN),
    ],
)
def test_wrong_aliases(data: bytes, reason: int) -> None:
    assert error_of(data) == reason


def test_without_a_maximum_there_are_no_aliases() -> None:
    decoder = codec.Decoder()
    decoder.push(connect(5))
    decoder.accept(256 * 1024, None)
    assert int(decoder.push(publish(b"a", properties=listed(alias(1))))[-1].reason_code) == BAD_ALIAS  # type: ignore[attr-defined]


# --- limits -----------------------------------------------------------------------------------------------------------------------


def test_a_strangers_packet_is_small() -> None:
    decoder = codec.Decoder(stranger_max=1000)
    assert int(decoder.push(b"\x10\xe9\x07")[-1].reason_code) == TOO_LARGE  # type: ignore[attr-defined]  # 1001 and its header
    with pytest.raises(MqttError):
        decoder.feed(0)
    decoder = codec.Decoder(stranger_max=1000)
    assert decoder.push(b"\x10\xe5\x07") == []


def test_memory_grows_with_what_arrives_and_not_with_what_is_claimed() -> None:
    decoder = accepted(4)
    decoder.push(b"\x30\xff\xff\xff\x7f\x00\x01a")
    assert decoder.buffer_bytes < 16 * 1024
    decoder.push(bytes(1_000_000))
    assert decoder.buffer_bytes < 4_000_000


def test_a_packet_over_the_limit_is_refused_by_its_header() -> None:
    assert error_of(b"\x30" + variable(999) + b"\0", packet_max=1000) == TOO_LARGE
    assert feed(accepted(packet_max=1002), publish(b"a", bytes(900), properties=b"\0"))[0].count == 1
    assert error_of(b"\x82" + variable(codec.CONTROL_MAX_BYTES)) == TOO_LARGE


def test_a_large_message_leaves_no_memory_behind() -> None:
    decoder = accepted(4)
    (run,) = feed(decoder, publish(b"a", bytes(5_000_000)))
    assert len(run.data) == 5_000_009
    assert decoder.buffer_bytes < 6_000_000  # the receive buffer's alone
    feed(decoder, PING)
    decoder.release()
    assert decoder.buffer_bytes == 4096


def test_who_holds_too_much_is_ended() -> None:
    decoder = accepted(4)
    assert decoder.overrun() is None
    decoder.push(publish(b"a", bytes(1000))[:-1])
    error = decoder.overrun()
    assert error is not None
    assert error.reason_code == ReasonCode.QUOTA_EXCEEDED
    assert decoder.buffer_bytes == 4096


class Share:
    """Makes its decoder give back once it holds much."""

    def __init__(self, decoder: Any) -> None:
        self.decoder = decoder
        self.most = 0

    def hold(self, size: int) -> None:
        self.most = max(self.most, size)
        if size > 1_000_000:
            self.decoder.overrun()

    def finished(self) -> None:
        pass

    def close(self) -> None:
        pass


def flood(decoder: Any) -> None:
    for _ in range(100):
        decoder.push(bytes(100_000))


def test_the_share_hears_of_what_is_held() -> None:
    decoder = codec.Decoder()
    decoder.push(connect(4))
    share = Share(decoder)
    decoder.accept(256 * 1024, share)
    decoder.push(b"\x30\xff\xff\xff\x7f\x00\x01a")
    with pytest.raises(MqttError):
        flood(decoder)
    assert 1_000_000 < share.most < 4_000_000
    assert decoder.error is not None
    assert decoder.error.reason_code == ReasonCode.QUOTA_EXCEEDED
