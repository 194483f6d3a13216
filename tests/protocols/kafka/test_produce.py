"""Produce: the compiled codec against kio in every version, batches that are wrong, acks."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka_bench import Client, batch, done, produce
from kio_bridge import decode_kio, encode_kio

from both_modes import both, examples
from entrepot.model.entry import CODEC_KAFKA
from entrepot.model.errors import Reason, Refused, Unavailable
from entrepot.model.names import without_vhosts
from entrepot.net.turns import TURN_STEPS
from entrepot.protocols.kafka.batch_errors import INVALID_RECORD, InvalidBatch
from entrepot.protocols.kafka.error_codes import ErrorCode
from entrepot.protocols.kafka.primitives import Malformed
from entrepot.protocols.kafka.produce_codec import STEP_BYTES
from entrepot.protocols.kafka.record_batch import BATCH_VERSION, BatchValidator

VERSIONS = range(3, 13)
KAFKA = "entrepot.protocols.kafka"
BENEATH = ("entrepot.broker.calls.partition_calls", f"{KAFKA}.primitives", f"{KAFKA}.record_cursor", f"{KAFKA}.record_batch")
MODES = both(f"{KAFKA}.produce_codec", *BENEATH)
PRIMITIVES = both(f"{KAFKA}.primitives")
VALIDATORS = both(f"{KAFKA}.record_batch", f"{KAFKA}.record_cursor")
CALLS = both("entrepot.broker.calls.partition_calls")

topics = st.dictionaries(
    st.text(st.characters(codec="utf-8"), max_size=5), st.dictionaries(st.integers(-1, 5), st.none() | st.integers(1, 3).map(batch), max_size=3), max_size=3
)


@pytest.fixture
def client() -> Client:
    return Client()


def decode_produce(module, reader, flexible, validator):
    """The whole request, in one go."""
    reading = module.ProduceReading(reader, flexible, validator)
    assert reading.read(1 << 40) == module.READ
    return reading.request


def partition_answers(answer):
    return {(topic["name"], part["index"]): part for topic in answer["responses"] for part in topic["partition_responses"]}


@pytest.mark.parametrize("mode", [0, 1], ids=["installed", "interpreted"])
@given(asked=topics, version=st.sampled_from(VERSIONS), acks=st.integers(-2, 2))
@settings(max_examples=examples(80))
def test_requests_are_read_as_kafka_writes_them(mode, asked, version, acks):
    data = encode_kio(0, version, "request", produce(asked, acks))
    flexible = version >= 9
    reader = PRIMITIVES[mode].Reader(bytearray(b"xx" + data + b"yy"), 2, 2 + len(data))
    request = decode_produce(MODES[mode], reader, flexible, VALIDATORS[mode].BatchValidator(1 << 20))
    assert reader.pos == 2 + len(data)
    assert (request.acks, request.timeout_ms, request.transactional_id) == (acks, 1000, None)
    assert [(topic.name, [part.partition for part in topic.parts]) for topic in request.topics] == [(name, list(parts)) for name, parts in asked.items()]
    assert [part.data for part in request.valid] == [records for parts in asked.values() for records in parts.values() if records is not None]
    for size in range(len(data)):
        with pytest.raises(PRIMITIVES[mode].Malformed):
            decode_produce(MODES[mode], PRIMITIVES[mode].Reader(bytearray(data), 0, size), flexible, VALIDATORS[mode].BatchValidator(1 << 20))


@given(st.binary(max_size=100), st.sampled_from(VERSIONS))
@settings(max_examples=examples(200))
def test_any_bytes_are_read_or_malformed(data, version):
    try:
        request = decode_produce(MODES[0], PRIMITIVES[0].Reader(bytearray(data), 0, len(data)), version >= 9, BatchValidator(1 << 20))
    except Malformed:
        return
    assert all(part.error is not None for topic in request.topics for part in topic.parts)


errors = st.sampled_from(
    [
        None,
        Refused(Reason.NOT_FOUND, "no such topic"),
        Refused(Reason.OUT_OF_SEQUENCE, "gap"),
        Refused(Reason.NOT_PERMITTED, "access to topic 't' in vhost '/' refused"),
        Unavailable("not now"),
        InvalidBatch(INVALID_RECORD, "record 2 is bad", 2),
        InvalidBatch(INVALID_RECORD, "all is bad"),
        RuntimeError("?"),
    ]
)
CODES = {"no such topic": 3, "gap": 45, "access to topic 't' in vhost '/' refused": 29, "not now": 6, "record 2 is bad": 87, "all is bad": 87, "?": -1}


@pytest.mark.parametrize("mode", [0, 1], ids=["installed", "interpreted"])
@given(asked=st.dictionaries(st.text(max_size=3, alphabet="ab"), st.lists(errors, max_size=3), max_size=3), version=st.sampled_from(VERSIONS))
@settings(max_examples=examples(80))
def test_responses_are_as_kafka_reads_them(mode, asked, version):
    codec = MODES[mode]
    found = []
    for name, outcomes in asked.items():
        topic = codec.ProduceTopic(name)
        for index, error in enumerate(outcomes):
            part = CALLS[mode].make_append_part(name, index, b"", 0, 1, -1)
            part.error, part.base_offset, part.append_time_ms, part.first_offset = error, 2**40 + index, 1234, 7
            topic.parts.append(part)
        found.append(topic)
    writer = PRIMITIVES[mode].Writer()
    count = codec.encode_produce(writer, version, version >= 9, found)
    assert count == sum(error is not None for outcomes in asked.values() for error in outcomes)
    data = b"".join(writer.finish())
    assert int.from_bytes(data[:4], "big") == len(data) - 4
    answer = decode_kio(0, version, "response", data[4:])
    answers = partition_answers(answer)
    assert len(answers) == sum(len(outcomes) for outcomes in asked.values())
    for (name, index), part in answers.items():
        error = asked[name][index]
        if error is None:
            assert (part["error_code"], part["base_offset"], part["log_append_time_ms"]) == (0, 2**40 + index, 1234)
            assert part.get("log_start_offset", 7) == 7
        else:
            assert (part["error_code"], part["base_offset"], part["log_append_time_ms"]) == (CODES[str(error)], -1, -1)
            assert part.get("error_message", without_vhosts(str(error))) == without_vhosts(str(error))
            wrong = [{"batch_index": 2, "batch_index_error_message": str(error)}] if "record 2" in str(error) else []
            assert part.get("record_errors", wrong) == wrong


def test_parts_of_a_request_are_limited(client):
    parts = (150_000).to_bytes(4, "big") + b"\0\0\0\0\xff\xff\xff\xff" * 150_000
    body = bytes.fromhex("0000 0007 00000001 ffff ffff 0001 00000000 00000001 000174") + parts
    client.feed(len(body).to_bytes(4, "big") + body)
    assert client.session.closing
    assert "elements" in client.notes[0]


# ---- what becomes of a request


def test_one_append_for_all_that_is_good(client):
    damaged = bytearray(batch(2))
    damaged[70] ^= 1
    records = batch(3, producer=(9, 1, 40))
    client.send(0, 11, produce({"a": {0: records, 1: bytes(damaged)}, "b": {0: b"short", 1: None, 2: batch(1)}}))
    call = client.port.take()
    assert (call.codec, call.codec_version, call.confirm) == (CODEC_KAFKA, BATCH_VERSION, True)
    assert [(part.topic, part.partition, part.count) for part in call.parts] == [("a", 0, 3), ("b", 2, 1)]
    first = call.parts[0]
    assert (first.data, first.producer_id, first.producer_epoch, first.first_sequence, first.max_time_ms) == (records, 9, 1, 40, 1000)
    for part in call.parts:
        part.base_offset = 5
    done(call)
    codes = {place: part["error_code"] for place, part in partition_answers(client.answer()).items()}
    assert codes == {("a", 0): 0, ("a", 1): ErrorCode.CORRUPT_MESSAGE, ("b", 0): ErrorCode.CORRUPT_MESSAGE, ("b", 1): ErrorCode.INVALID_RECORD, ("b", 2): 0}


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (Reason.NOT_FOUND, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        (Reason.NOT_PERMITTED, ErrorCode.TOPIC_AUTHORIZATION_FAILED),
        (Reason.LIMIT, ErrorCode.KAFKA_STORAGE_ERROR),
        (Reason.TOO_LARGE, ErrorCode.MESSAGE_TOO_LARGE),
        (Reason.INVALID, ErrorCode.INVALID_TIMESTAMP),
        (Reason.OUT_OF_SEQUENCE, ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER),
        (Reason.STALE_PRODUCER, ErrorCode.INVALID_PRODUCER_EPOCH),
        (Reason.UNKNOWN_PRODUCER, ErrorCode.UNKNOWN_PRODUCER_ID),
    ],
)
def test_what_the_broker_refuses_has_kafkas_code(client, reason, code):
    client.send(0, 9, produce({"t": {0: batch()}}))
    call = client.port.take()
    call.parts[0].error = Refused(reason, "no")
    done(call)
    assert partition_answers(client.answer())["t", 0]["error_code"] == code


def test_nothing_good_is_no_append(client):
    client.send(0, 9, produce({"t": {0: None}}))
    assert client.port.calls == []
    assert partition_answers(client.answer())["t", 0]["error_code"] == ErrorCode.INVALID_RECORD


@pytest.mark.parametrize("acks", [-2, 2, 32767])
def test_other_acks_are_refused(client, acks):
    client.send(0, 9, produce({"t": {0: batch()}}, acks))
    assert client.port.calls == []
    assert partition_answers(client.answer())["t", 0]["error_code"] == ErrorCode.INVALID_REQUIRED_ACKS


def test_what_is_compressed_anew_counts_as_unpacked(client):
    class Rewriting(list):
        def append(self, call):
            call.rewritten_bytes = 3 << 20
            super().append(call)

    client.port.calls = Rewriting()
    client.send(0, 9, produce({"t": {0: batch()}}))
    assert client.shared.turns.left < TURN_STEPS - (3 << 20) // STEP_BYTES


def test_transactions_are_refused(client):
    client.send(0, 9, produce({"t": {0: batch()}}, transactional_id="x"))
    assert partition_answers(client.answer())["t", 0]["error_code"] == ErrorCode.INVALID_TXN_STATE
    client.send(0, 9, produce({"t": {0: batch(producer=(1, 0, 0), attributes=0x10)}}))
    assert partition_answers(client.answer())["t", 0]["error_code"] == ErrorCode.INVALID_TXN_STATE
    assert client.port.calls == []


# ---- acks 0


def test_acks_0_is_not_answered(client):
    client.send(0, 9, produce({"t": {0: batch()}}, acks=0))
    call = client.port.take()
    assert not call.confirm
    done(call)
    assert client.octets() == b""
    client.send(0, 9, produce({"t": {0: batch()}}))
    done(client.port.take())
    assert len(client.answers()) == 1


def test_acks_0_that_is_refused_ends_the_connection(client):
    client.send(0, 9, produce({"t": {0: batch()}}, acks=0))
    call = client.port.take()
    call.parts[0].error = Refused(Reason.NOT_FOUND, "no such topic")
    done(call)
    assert client.session.closing
    assert client.octets() == b""
    assert "no such topic" in client.notes[0]


def test_a_damaged_batch_with_acks_0_ends_the_connection_after_earlier_answers(client):
    client.send(0, 9, produce({"t": {0: batch()}}))
    done(client.port.take())
    client.send(0, 9, produce({"t": {0: b"x" * 70}}, acks=0))
    assert client.session.closing
    assert len(client.answers()) == 1
