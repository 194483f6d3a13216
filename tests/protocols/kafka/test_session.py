"""One connection: order of answers, pipelining, flow control, versions, all four outcomes, bad bytes."""

from __future__ import annotations

import kafka_batches
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka_bench import Client, batch, done, fetch, produce, refuse, unavailable

from both_modes import examples
from entrepot.broker.calls.partition_calls import Append, Read
from entrepot.model.errors import Reason, Refused
from entrepot.net.turns import TURN_STEPS
from entrepot.net.unfinished import Unfinished
from entrepot.protocols.kafka.answers import TEXTS_MAX
from entrepot.protocols.kafka.apis import APIS
from entrepot.protocols.kafka.error_codes import ErrorCode
from entrepot.protocols.kafka.produce_codec import STEP_BYTES
from entrepot.protocols.kafka.session import PIPELINE_MAX, QUEUED_MAX_BYTES, SIZE_BEFORE_LOGIN_MAX, TURN, TURN_OTHER

VERSIONS = {"client_software_name": "test", "client_software_version": "1"}
METADATA = {"topics": None, "allow_auto_topic_creation": True, "include_cluster_authorized_operations": False, "include_topic_authorized_operations": False}


@pytest.fixture
def client() -> Client:
    return Client()


def appended(call, base=0):
    """The append has happened."""
    for part in call.parts:
        part.base_offset, part.first_offset = base, 0
        base += part.count
    done(call)


# ---- ApiVersions


@pytest.mark.parametrize("version", range(5))
def test_api_versions_is_the_table(client, version):
    answer = client.ask(18, version, VERSIONS)
    assert answer["error_code"] == 0
    assert {api["api_key"]: (api["min_version"], api["max_version"]) for api in answer["api_keys"]} == {
        key: (api.told_least, api.most) for key, api in APIS.items()
    }
    assert client.port.calls == []


@pytest.mark.parametrize("version", [5, 99, -1])
def test_an_api_versions_of_the_future_is_answered_in_version_0(client, version):
    frame = bytearray(client.frame(18, 0, VERSIONS))
    frame[6:8] = version.to_bytes(2, "big", signed=True)
    client.feed(bytes(frame))
    answer = client.answer()
    assert answer["error_code"] == ErrorCode.UNSUPPORTED_VERSION
    assert len(answer["api_keys"]) == len(APIS)
    assert not client.session.closing


@pytest.mark.parametrize(("key", "version"), [(0, 2), (0, 13), (1, 3), (3, 14), (4, 0), (-1, 0), (999, 0), (12, -1)])
def test_what_is_not_served_ends_the_connection(client, key, version):
    frame = bytearray(client.frame(3, 9, METADATA))
    frame[4:8] = key.to_bytes(2, "big", signed=True) + version.to_bytes(2, "big", signed=True)
    client.feed(bytes(frame))
    assert client.session.closing
    assert client.octets() == b""
    assert "is not served" in client.notes[0]


# ---- order


def test_produces_are_taken_in_at_once_and_answered_in_order(client):
    for offset in range(3):
        client.send(0, 9, produce({"t": {offset: batch()}}))
    calls = list(client.port.calls)
    assert [type(call) for call in calls] == [Append] * 3
    appended(calls[2], 20)
    appended(calls[1], 10)
    assert client.answers() == []
    appended(calls[0], 0)
    answers = client.answers()
    assert [answer["responses"][0]["partition_responses"][0]["base_offset"] for answer in answers] == [0, 10, 20]
    assert not client.session.paused


def test_a_produce_behind_a_waiting_fetch_is_taken_in(client):
    client.send(1, 11, fetch({"t": {0: 0}}))
    client.send(0, 9, produce({"t": {0: batch()}}))
    read, append = client.port.calls
    assert (type(read), type(append)) == (Read, Append)
    appended(append)
    assert client.answers() == []
    done(read)
    assert ["session_id" in answer for answer in client.answers()] == [True, False]


def test_anything_else_waits_for_those_before_it(client):
    client.send(0, 9, produce({"t": {0: batch()}}))
    append = client.port.take()
    client.send(3, 9, METADATA)
    client.send(0, 9, produce({"t": {0: batch()}}))
    assert client.port.calls == []
    assert client.session.paused
    appended(append)
    describe, append = client.port.calls
    appended(append)
    assert len(client.answers()) == 1
    done(describe, [])
    assert len(client.answers()) == 2
    assert not client.session.paused


def test_requests_in_flight_are_limited(client):
    for _ in range(PIPELINE_MAX + 5):
        client.send(0, 9, produce({"t": {0: batch()}}))
        client.turn()
    assert len(client.port.calls) == PIPELINE_MAX
    assert client.session.paused
    first = client.port.calls[0]
    appended(first)
    assert len(client.port.calls) == PIPELINE_MAX + 1
    for call in list(client.port.calls[1:]):
        appended(call)
    for call in client.port.calls[PIPELINE_MAX + 1 :]:
        appended(call)
    assert len(client.answers()) == PIPELINE_MAX + 5
    assert not client.session.paused


@pytest.mark.once
def test_answers_that_wait_are_limited_in_bytes(client):
    client.send(1, 11, fetch({"t": {0: 0}}))
    read = client.port.take()
    for _ in range(6):
        client.send(0, 9, produce({"t": dict.fromkeys(range(20_000))}))  # none has a batch: answered without the broker
        for _ in range(100):
            client.turn()
    begun = client.shared.statistics.requests[0]
    assert 1 < begun < 6
    assert client.session.paused
    assert QUEUED_MAX_BYTES <= client.session.queued_bytes < 2 * QUEUED_MAX_BYTES
    done(read)
    answered = len(client.answers())
    while client.turn():
        answered += len(client.answers())
    assert answered == 7
    assert client.session.queued_bytes == 0
    assert not client.session.paused


def test_errors_of_one_answer_have_texts_up_to_a_limit(client):
    answer = client.ask(0, 9, produce({"t" * 200: dict.fromkeys(range(500))}))
    texts = [part["error_message"] for part in answer["responses"][0]["partition_responses"]]
    assert all(texts[:TEXTS_MAX])
    assert texts[TEXTS_MAX:] == [None] * (500 - TEXTS_MAX)


def test_one_connection_has_its_turn_and_then_the_others(client):
    frames = b"".join(client.frame(18, 0, VERSIONS) for _ in range(200))
    client.feed(frames)
    seen = [len(client.answers())]
    assert client.session.paused
    while client.turn():
        seen.append(len(client.answers()))
    assert 1 < max(seen) <= TURN // TURN_OTHER
    assert sum(seen) == 200
    assert not client.session.paused


@pytest.mark.once
def test_what_is_not_sent_yet_stops_further_requests(client):
    for _ in range(6):
        client.send(0, 9, produce({"t": dict.fromkeys(range(20_000))}))
    assert client.session.paused
    assert client.session.output.size < 2 * QUEUED_MAX_BYTES
    answered = len(client.answers())
    while client.turn():
        answered += len(client.answers())
    assert answered == 6


def test_what_unpacks_to_much_takes_turns(client):
    packed = kafka_batches.batch([batch(value=bytes(500_000))[61:]], kafka_batches.LZ4)
    data = b"".join(client.frame(0, 9, produce({"t": {0: packed}})) for _ in range(12))
    client.feed(data)
    assert 0 < len(client.port.calls) <= 1 + TURN_STEPS * STEP_BYTES // 500_000
    turns = 0
    while client.turn():
        turns += 1
    assert len(client.port.calls) == 12
    assert turns >= 2


def test_all_connections_have_one_limit_of_what_is_unfinished():
    shared = Unfinished(900_000)
    slow, busy, quiet = (Client(unfinished=shared, produce_size_max=1 << 22) for _ in range(3))
    whole = quiet.frame(0, 9, produce({"t": dict.fromkeys((0, 1), batch(value=bytes(300_000)))}))
    for client in (slow, busy):
        client.feed(whole[:-1])
    assert (slow.session.closing, busy.session.closing) == (False, False)
    busy.feed(whole[-1:] + whole[:-1])
    quiet.feed(whole[:-1])
    assert slow.session.closing
    assert "limits.unfinished_bytes" in slow.notes[0]
    assert slow.session.framing.buffer_bytes < 10_000
    assert (busy.session.closing, quiet.session.closing) == (False, False)
    for client in (busy, quiet):
        client.feed(whole[-1:])
        assert client.port.calls
        client.session.lost("gone")
    assert (shared.held_bytes, shared.ended_count) == (0, 1)


def test_a_request_over_that_limit_ends_its_own_connection():
    client = Client(unfinished=Unfinished(1 << 19), produce_size_max=1 << 22)
    data = client.frame(0, 9, produce({"t": {0: batch(value=bytes(2_000_000))}}))
    while not client.session.closing:
        client.feed(data[:100_000])
        data = data[100_000:]
    assert "limits.unfinished_bytes" in client.notes[0]


@given(order=st.permutations(range(6)), split=st.integers(1, 200))
@settings(max_examples=examples(40))
def test_any_order_of_completions_and_any_split_of_bytes(order, split):
    client = Client()
    data = b"".join(client.frame(0, 9, produce({"t": {index: batch(index + 1)}})) for index in range(6))
    for at in range(0, len(data), split):
        client.feed(data[at : at + split])
    calls = list(client.port.calls)
    assert len(calls) == 6
    seen = []
    for index in order:
        appended(calls[index], index * 100)
        seen += client.answers()
    assert [answer["responses"][0]["partition_responses"][0]["base_offset"] for answer in seen] == [index * 100 for index in range(6)]


# ---- outcomes


def test_refused_and_unavailable_are_answered(client):
    for _ in range(2):
        client.send(0, 9, produce({"t": {0: batch(), 1: batch()}}))
    first, second = client.port.calls
    refuse(first, Reason.NOT_PERMITTED)
    unavailable(second)
    codes = [[part["error_code"] for part in answer["responses"][0]["partition_responses"]] for answer in client.answers()]
    assert codes == [[ErrorCode.TOPIC_AUTHORIZATION_FAILED] * 2, [ErrorCode.NOT_LEADER_OR_FOLLOWER] * 2]
    assert client.shared.statistics.errors[0] == 2
    assert client.shared.statistics.requests[0] == 2


def test_what_completes_after_the_end_is_nothing(client):
    client.send(0, 9, produce({"t": {0: batch()}}))
    call = client.port.take()
    client.session.lost("gone")
    assert client.port.door.closed
    appended(call)
    assert client.octets() == b""


# ---- flow control


def test_a_client_that_does_not_read_is_asked_nothing_more(client):
    client.ask(18, 3, VERSIONS)
    client.session.writable(False)
    assert client.session.paused
    client.send(18, 3, VERSIONS)
    assert client.answers() == []
    client.session.writable(True)
    assert len(client.answers()) == 1
    assert not client.session.paused


def test_a_throttled_publisher_is_not_read_from(client):
    client.send(0, 9, produce({"t": {0: batch()}}))
    client.port.door.sink.throttle(True, "")
    assert client.session.paused
    client.send(0, 9, produce({"t": {0: batch()}}))
    assert len(client.port.calls) == 1
    client.port.door.sink.throttle(True, "the disk is full")
    client.port.door.sink.throttle(False, "")
    assert len(client.port.calls) == 2
    assert not client.session.paused


# ---- bad bytes


@pytest.mark.parametrize("size", [b"\xff\xff\xff\xff", b"\x80\0\0\0", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\0\0\0\7"])
def test_sizes_that_cannot_be(client, size):
    client.feed(size + b"\0\3\0\1")
    assert client.session.closing
    assert client.octets() == b""
    assert len(client.notes) == 1


def test_large_requests_are_for_who_is_logged_in(client):
    client = Client(needs_login=True)
    client.feed((SIZE_BEFORE_LOGIN_MAX + 1).to_bytes(4, "big") + b"\0\0\0\x09")
    assert client.session.closing
    client = Client(produce_size_max=2_000_000, request_size_max=1_000_000)
    client.send(3, 9, METADATA)
    done(client.port.take(), [])
    client.answer()
    client.feed((1_500_000).to_bytes(4, "big") + b"\0\0\0\x09")
    assert not client.session.closing
    client.feed(b"\0" * 1_499_996)
    assert client.session.closing  # not a Produce, but all of it was taken
    client = Client(produce_size_max=2_000_000, request_size_max=1_000_000)
    client.send(3, 9, METADATA)
    done(client.port.take(), [])
    client.feed((1_500_000).to_bytes(4, "big") + b"\0\3\0\x09")
    assert client.session.closing
    assert "1000000" in client.notes[0]


def test_a_size_alone_takes_no_memory(client):
    client.ask(18, 3, VERSIONS)
    client.send(3, 9, METADATA)
    done(client.port.take(), [])
    client.feed((90 * 1024 * 1024).to_bytes(4, "big") + b"\0\0\0\x09")
    assert client.session.framing.buffer_bytes < 10_000
    assert not client.session.closing


@given(st.binary(max_size=120))
@settings(max_examples=examples(150))
def test_any_bytes_are_answered_or_end_the_connection(data):
    client = Client()
    client.feed(len(data).to_bytes(4, "big") + data)
    assert client.session.closing or client.session.pending or len(data) >= 8


@given(key=st.sampled_from(sorted(APIS)), data=st.data())
@settings(max_examples=examples(150))
def test_any_body_of_any_api(key, data):
    version = data.draw(st.integers(APIS[key].least, APIS[key].most))
    body = key.to_bytes(2, "big") + version.to_bytes(2, "big") + bytes(6) + (b"\0" if version >= APIS[key].flexible_from else b"")
    body += data.draw(st.binary(max_size=60))
    client = Client()
    client.feed(len(body).to_bytes(4, "big") + body)
    for call in list(client.port.calls):
        refuse(call, Reason.NOT_FOUND)
    for call in list(client.port.calls):
        if call.outcome == 0:
            refuse(call, Reason.NOT_FOUND)
    assert client.session.closing or not client.session.pending


# ---- the connection's life


def test_a_silent_connection_ends_after_its_time(client):
    client.session.deadline_reached(100.0)
    assert client.session.next_deadline == 110.0
    client.session.deadline_reached(110.0)
    client.ask(18, 3, VERSIONS)
    client.session.deadline_reached(690.0)
    client.session.deadline_reached(1_280.0)
    assert not client.session.closing
    client.session.deadline_reached(1_290.0)
    assert client.session.closing


def test_a_waiting_fetch_is_not_silence(client):
    client.send(1, 11, fetch({"t": {0: 0}}))
    client.session.deadline_reached(100.0)
    client.session.deadline_reached(5_000.0)
    client.session.deadline_reached(10_000.0)
    assert not client.session.closing


def test_shut_down_closes(client):
    client.session.shut_down("the broker stops")
    assert client.session.closing


def test_a_namespace_that_is_refused_ends_the_connection(client):
    client.port.refusal = Refused(Reason.NOT_PERMITTED, "not yours")
    client.send(3, 9, METADATA)
    assert client.session.closing
    assert "not yours" in client.notes[0]
