"""Fetch: the compiled codec against kio in every version, sessions, what is read and told."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka_bench import Chance, Client, done, fetch, refuse, unavailable
from kio_bridge import decode_kio, encode_kio

from both_modes import both, examples
from entrepot.broker.calls.partition_calls import CloseParts, Read
from entrepot.model.entry import CODEC_KAFKA
from entrepot.model.errors import Reason, Refused
from entrepot.protocols.kafka.error_codes import ErrorCode
from entrepot.protocols.kafka.fetch_session import FetchSlots
from entrepot.protocols.kafka.primitives import Malformed

VERSIONS = range(4, 18)
KAFKA = "entrepot.protocols.kafka"
PRIMITIVES = both(f"{KAFKA}.primitives")
MODES = both(f"{KAFKA}.fetch_codec", "entrepot.broker.calls.partition_calls", f"{KAFKA}.primitives")
ID = bytes(range(16))


@pytest.fixture
def client() -> Client:
    return Client()


def keys(version):
    return st.binary(min_size=16, max_size=16) if version >= 13 else st.text(st.characters(codec="utf-8"), max_size=4)


@st.composite
def requests(draw):
    version = draw(st.sampled_from(VERSIONS))
    topics = draw(st.dictionaries(keys(version), st.dictionaries(st.integers(0, 9), st.integers(0, 2**50), max_size=3), max_size=3))
    forgotten = draw(st.dictionaries(keys(version), st.lists(st.integers(0, 9), max_size=2), max_size=2)) if version >= 7 else {}
    session = (draw(st.integers(0, 2**31 - 1)), draw(st.integers(-1, 2**31 - 1))) if version >= 7 else (0, -1)
    return version, topics, forgotten, session, draw(st.integers(0, 1))


def decode(codec, reader, version):
    codec.decode_head(reader, version)
    read_topics(codec, reader, version, codec.FetchTable(), 1)


def read_topics(codec, reader, version, table, most):
    """The parts that are gone, of a request that is read so many topics and partitions at a time."""
    reading = codec.TopicsReading(reader, version, table)
    while not reading.read(most):
        pass
    return reading.gone


@pytest.mark.parametrize("mode", [0, 1], ids=["installed", "interpreted"])
@given(requests(), st.integers(1, 9))
@settings(max_examples=examples(80))
def test_requests_are_read_as_kafka_writes_them(mode, drawn, most):
    version, topics, forgotten, session, committed = drawn
    codec = MODES[mode]
    data = encode_kio(1, version, "request", fetch(topics, session=session, forgotten=forgotten, by_id=version >= 13, committed=committed, leader_epoch=7))
    reader = PRIMITIVES[mode].Reader(bytearray(data), 0, len(data))
    request = codec.decode_head(reader, version)
    assert (request.max_wait_ms, request.min_bytes, request.max_bytes, request.committed) == (500, 1, 10_000, committed == 1)
    assert (request.session_id, request.session_epoch) == session
    table = codec.FetchTable()
    gone = read_topics(codec, reader, version, table, most)
    assert reader.pos == len(data)
    left = [(key, partition, offset) for key, parts in topics.items() for partition, offset in parts.items() if partition not in forgotten.get(key, ())]
    assert [(part.topic_id or part.topic, part.partition, part.offset) for part in table.all_parts()] == left
    assert {part.leader_epoch for part in table.all_parts()} <= {7 if version >= 9 else -1}
    assert table.count == len(left)
    assert len(gone) == sum(len(set(parts) & set(forgotten.get(key, ()))) for key, parts in topics.items())
    for size in range(len(data)):
        with pytest.raises(PRIMITIVES[mode].Malformed):
            decode(codec, PRIMITIVES[mode].Reader(bytearray(data), 0, size), version)


@given(st.binary(max_size=100), st.sampled_from(VERSIONS))
@settings(max_examples=examples(200))
def test_any_bytes_are_read_or_malformed(data, version):
    from entrepot.protocols.kafka import fetch_codec
    from entrepot.protocols.kafka.primitives import Reader

    reader = Reader(bytearray(data), 0, len(data))
    try:
        decode(fetch_codec, reader, version)
    except Malformed:
        return
    assert reader.pos <= len(data)


found = st.tuples(st.lists(st.binary(min_size=1, max_size=6000), max_size=3), st.sampled_from([None, Reason.NOT_FOUND, Reason.OUT_OF_RANGE]), st.booleans())


@pytest.mark.parametrize("mode", [0, 1], ids=["installed", "interpreted"])
@given(data=st.data())
@settings(max_examples=examples(60))
def test_responses_are_as_kafka_reads_them(mode, data):
    codec = MODES[mode]
    version = data.draw(st.sampled_from(VERSIONS))
    asked = data.draw(st.dictionaries(keys(version), st.dictionaries(st.integers(0, 9), found, min_size=1, max_size=3), max_size=3))
    table = codec.FetchTable()
    for key, parts in asked.items():
        for partition in parts:
            table.name(key, partition, 0, 100, -1)
    for part in table.all_parts():
        records, reason, is_aborted = asked[part.topic_id or part.topic][part.partition]
        part.data, part.size = list(records), sum(map(len, records))
        part.error = None if reason is None else Refused(reason, "no")
        part.durable_end, part.stable_end, part.first_offset = 100, 90, 10
        part.aborted = [(7, 55)] if is_aborted else None
    writer = PRIMITIVES[mode].Writer()
    errors = codec.encode_fetch(writer, version, table, 99 if version >= 7 else 0, False)
    raw = b"".join(writer.finish())
    assert int.from_bytes(raw[:4], "big") == len(raw) - 4
    answer = decode_kio(1, version, "response", raw[4:])
    assert answer.get("session_id", 99) == 99
    assert errors == sum(reason is not None for parts in asked.values() for _, reason, _ in parts.values())
    name = "topic_id" if version >= 13 else "topic"
    assert {topic[name]: [part["partition_index"] for part in topic["partitions"]] for topic in answer["responses"]} == {
        key: list(parts) for key, parts in asked.items()
    }
    for topic in answer["responses"]:
        for part in topic["partitions"]:
            records, reason, is_aborted = asked[topic[name]][part["partition_index"]]
            offsets = (part["high_watermark"], part["last_stable_offset"], part.get("log_start_offset", -1 if reason else 10))
            if reason is None:
                assert (part["error_code"], part["records"], offsets) == (0, b"".join(records), (100, 90, 10))
                assert part["aborted_transactions"] == ([{"producer_id": 7, "first_offset": 55}] if is_aborted else None)
            else:
                unknown = ErrorCode.UNKNOWN_TOPIC_ID if version >= 13 else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
                code = unknown if reason is Reason.NOT_FOUND else ErrorCode.OFFSET_OUT_OF_RANGE
                assert (part["error_code"], part["records"], offsets) == (code, b"", (-1, -1, -1))


# ---- what is asked of the broker


def answered(call, **brought):
    """The read is done: by default nothing is there."""
    for part in call.parts:
        part.durable_end = part.stable_end = 10
        part.first_offset = 0
        part.data, part.size = [], 0
        for records in brought.get(f"p{part.partition}", []):
            part.data.append(records)
            part.size += len(records)
    done(call)


def told(answer):
    return {(topic["topic"], part["partition_index"]): part["records"] for topic in answer["responses"] for part in topic["partitions"]}


def test_one_read_for_all(client):
    client.send(1, 11, fetch({"a": {0: 5, 1: 6}, "b": {0: 7}}, committed=1))
    call = client.port.take()
    assert isinstance(call, Read)
    assert (call.codec, call.min_bytes, call.max_bytes, call.max_wait_ms, call.committed) == (CODEC_KAFKA, 1, 10_000, 500, True)
    assert [(part.topic, part.partition, part.offset, part.max_bytes) for part in call.parts] == [("a", 0, 5, 1000), ("a", 1, 6, 1000), ("b", 0, 7, 1000)]
    answered(call, p1=[b"one", b"two"])
    assert told(client.answer()) == {("a", 0): b"", ("a", 1): b"onetwo", ("b", 0): b""}


def test_large_entries_go_out_as_they_lie(client):
    client.send(1, 11, fetch({"a": {0: 5}}))
    entry = bytes(100_000)
    answered(client.port.take(), p0=[entry])
    parts = client.session.output.take()
    assert any(part is entry for part in parts)


def test_max_bytes_has_a_limit():
    client = Client(fetch_size_max=4000)
    client.send(1, 11, fetch({"a": {0: 5}}))
    assert client.port.take().max_bytes == 4000


def test_without_a_session_parts_stay_and_what_is_not_named_goes(client):
    client.send(1, 11, fetch({"a": {0: 5, 1: 6}}))
    first = client.port.take()
    answered(first)
    client.send(1, 11, fetch({"a": {1: 8, 2: 0}}))
    closed, second = client.port.calls
    assert isinstance(closed, CloseParts)
    assert closed.parts == [first.parts[0]]
    assert second.parts[0] is first.parts[1]
    assert [(part.partition, part.offset) for part in second.parts] == [(1, 8), (2, 0)]
    answered(second)
    assert told(client.answers()[1]) == {("a", 1): b"", ("a", 2): b""}


def test_a_partition_named_twice_is_one(client):
    request = fetch({"a": {0: 5}})
    request["topics"] += fetch({"a": {0: 6}})["topics"]
    client.send(1, 11, request)
    assert [part.offset for part in client.port.take().parts] == [6]


def test_nothing_to_fetch_is_answered_at_once(client):
    assert client.ask(1, 11, fetch({}))["responses"] == []


@pytest.mark.parametrize(("fail", "code"), [(lambda call: refuse(call, Reason.NOT_PERMITTED), 29), (unavailable, 6)])
def test_a_read_that_fails_is_told_at_each_partition(client, fail, code):
    client.send(1, 11, fetch({"a": {0: 5, 1: 6}}))
    fail(client.port.take())
    assert [part["error_code"] for part in client.answer()["responses"][0]["partitions"]] == [code, code]


def test_by_id(client):
    client.send(1, 13, fetch({ID: {0: 5}}, by_id=True))
    call = client.port.take()
    assert (call.parts[0].topic_id, call.parts[0].topic) == (ID, "")
    call.parts[0].error = Refused(Reason.NOT_FOUND, "no")
    done(call)
    assert client.answer()["responses"][0]["partitions"][0]["error_code"] == ErrorCode.UNKNOWN_TOPIC_ID


# ---- sessions


def open_session(client, topics, version=11, **more):
    client.send(1, version, fetch(topics, session=(0, 0), **more))
    call = client.port.take()
    answered(call)
    return client.answer()["session_id"], call


def test_a_session_tells_only_what_changed(client):
    session_id, call = open_session(client, {"a": {0: 5, 1: 6}})
    assert session_id != 0
    client.send(1, 11, fetch({}, session=(session_id, 1)))
    again = client.port.take()
    assert again.parts is call.parts
    answered(again)
    assert client.answer()["responses"] == []
    client.send(1, 11, fetch({"a": {1: 9}}, session=(session_id, 2)))
    again = client.port.take()
    assert [(part.partition, part.offset) for part in again.parts] == [(0, 5), (1, 9)]
    answered(again, p1=[b"new"])
    assert told(client.answer()) == {("a", 1): b"new"}
    client.send(1, 11, fetch({}, session=(session_id, 3)))
    again = client.port.take()
    answered(again)
    assert client.answer()["responses"] == []
    client.send(1, 11, fetch({}, session=(session_id, 4)))
    again = client.port.take()
    for part in again.parts:
        part.durable_end, part.data, part.size = (11 if part.partition == 0 else 10), [], 0
    done(again)
    assert told(client.answer()) == {("a", 0): b""}


def test_an_error_is_told_each_time_and_its_end_too(client):
    session_id, _ = open_session(client, {"a": {0: 5}})
    for epoch in (1, 2):
        client.send(1, 11, fetch({}, session=(session_id, epoch)))
        call = client.port.take()
        call.parts[0].error = Refused(Reason.OUT_OF_RANGE, "no")
        done(call)
        assert client.answer()["responses"][0]["partitions"][0]["error_code"] == ErrorCode.OFFSET_OUT_OF_RANGE
    client.send(1, 11, fetch({}, session=(session_id, 3)))
    call = client.port.take()
    call.parts[0].error = None
    answered(call)
    assert client.answer()["responses"][0]["partitions"][0]["error_code"] == 0


def test_partitions_come_and_go(client):
    session_id, first = open_session(client, {"a": {0: 5, 1: 6}})
    client.send(1, 11, fetch({"b": {0: 0}}, session=(session_id, 1), forgotten={"a": [0], "zz": [1]}))
    closed, call = client.port.calls
    client.port.calls.clear()
    assert closed.parts == [first.parts[0]]
    assert [(part.topic, part.partition) for part in call.parts] == [("a", 1), ("b", 0)]
    answered(call)
    assert told(client.answer()) == {("b", 0): b""}


@pytest.mark.parametrize(("wrong_id", "epoch", "code"), [(1, 1, 70), (0, 2, 71), (0, 0x7FFFFFFF, 71)])
def test_wrong_sessions(client, wrong_id, epoch, code):
    session_id, _ = open_session(client, {"a": {0: 5}})
    answer = client.ask(1, 11, fetch({}, session=(session_id + wrong_id, epoch)))
    assert (answer["error_code"], answer["session_id"], answer["responses"]) == (code, 0, [])
    client.send(1, 11, fetch({}, session=(session_id, 1)))
    answered(client.port.take())
    assert client.answer()["error_code"] == 0


def test_names_do_not_become_ids_within_a_session(client):
    session_id, _ = open_session(client, {"a": {0: 5}}, 12)
    assert client.ask(1, 13, fetch({ID: {0: 1}}, session=(session_id, 1), by_id=True))["error_code"] == ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR
    client.send(1, 13, fetch({ID: {0: 1}}, session=(session_id, 0), by_id=True))
    _, call = client.port.calls
    answered(call)
    assert client.answer()["session_id"] not in (0, session_id)


def test_a_session_ends_with_the_epoch_that_says_so_and_with_the_connection(client):
    session_id, _ = open_session(client, {"a": {0: 5}})
    assert client.shared.fetch_slots.count == 1
    client.send(1, 11, fetch({"a": {0: 5}}, session=(session_id, -1)))
    answered(client.port.take())
    assert client.answer()["session_id"] == 0
    assert client.shared.fetch_slots.count == 0
    assert client.ask(1, 11, fetch({}, session=(session_id, 1)))["error_code"] == ErrorCode.FETCH_SESSION_ID_NOT_FOUND
    open_session(client, {"a": {0: 5}})
    client.session.lost("gone")
    assert client.shared.fetch_slots.count == 0


def test_sessions_are_limited(client):
    client.shared.fetch_slots = FetchSlots(Chance(), 1)
    client.session.fetches._slots = client.shared.fetch_slots
    client.shared.fetch_slots.open()
    session_id, _ = open_session(client, {"a": {0: 5}})
    assert session_id == 0


@pytest.mark.once
def test_a_session_may_not_grow_without_end(client, monkeypatch):
    session_id, _ = open_session(client, {"a": {0: 5}})
    for number in range(3):
        parts = dict.fromkeys(range(number * 45_000, (number + 1) * 45_000), 0)
        frame = client.frame(1, 11, fetch({f"t{number}": parts}, session=(session_id, number + 1)))
        client.feed(frame)
        while client.turn():
            pass
        if client.session.closing:
            break
        done(client.port.take())
        while client.turn():
            pass
        client.octets()
    assert number == 2
    assert "100000 partitions" in client.notes[0]


def test_the_epoch_goes_round(client):
    session_id, _ = open_session(client, {"a": {0: 5}})
    client.session.fetches.epoch = 0x7FFFFFFF
    for epoch in (0x7FFFFFFF, 1):
        client.send(1, 11, fetch({}, session=(session_id, epoch)))
        answered(client.port.take())
        assert client.answer()["error_code"] == 0
