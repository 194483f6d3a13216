"""Answers with messages of many bytes: the same octets as in one go, a piece a turn, in order, and as the client takes them."""

import hashlib
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from port_double import Bench, http, json_request, parse_answers

from both_modes import examples
from entrepot.net.turns import TURN_STEPS
from entrepot.protocols.sqs import query_protocol, receiving
from entrepot.protocols.sqs.from_neutral import pack_checked
from entrepot.protocols.sqs.long_answers import PIECE_BYTES, WRITTEN_STEPS, LongAnswer
from entrepot.protocols.sqs.packing import pack
from entrepot.protocols.sqs.receiving import LONG_BYTES, SHORT_BYTES
from entrepot.protocols.sqs.settings import Settings
from entrepot.protocols.sqs.writing import Writer, string_size, xml_size

CREATE = json_request("CreateQueue", b'{"QueueName":"q"}')
ASK = {"QueueUrl": "/000000000000/q", "MaxNumberOfMessages": 10, "MessageAttributeNames": ["All"], "AttributeNames": ["All"], "VisibilityTimeout": 0}
FORM = b"Action=ReceiveMessage&Version=2012-11-05&MaxNumberOfMessages=10&MessageAttributeName.1=All&AttributeName.1=All&VisibilityTimeout=0"
FORM += b"&QueueUrl=/000000000000/q"
KIND = {"Content-Type": "application/x-www-form-urlencoded"}
RECEIVES = {
    "JSON": json_request("ReceiveMessage", json.dumps(ASK).encode()),
    "XML": http(FORM, KIND),
    "JSON of the Query protocol": http(FORM, {**KIND, "Accept": "application/json"}),
    "XML of a GET": http(b"", {}, "GET", "/?" + FORM.decode()),
    "the head of XML": http(b"", {}, "HEAD", "/?" + FORM.decode()),
    "JSON, closing": json_request("ReceiveMessage", json.dumps(ASK).encode()).replace(b"\r\n", b"\r\nConnection: close\r\n", 1),
}
LIST = http(b"Action=ListQueues", KIND)
SOME = 'quotes " \\ & < > \r\n\t \x7f \u4e2d \U0001f600'.encode()
LONG = SOME * (2 * LONG_BYTES // len(SOME))


def record(body, attributes=(), source=b""):
    return bytes(pack(b"0123456789abcdef", body, hashlib.md5(body).digest(), b"me", b"", b"", -1, -1, b"", source, pack_checked(list(attributes))))


class LongBench(Bench):
    """With messages in a queue. step() is one turn of the loop."""

    def __init__(self, *records, **how):
        super().__init__(**how)
        self.session().send(CREATE)
        (self.queue,) = self.port.queues.values()
        self.queue.records += records

    def step(self):
        due, self.later[:] = self.later[:], []
        for function in due:
            function()
        return bool(self.later)

    def feed(self, connection, data):
        connection.session.get_buffer(-1)[: len(data)] = data
        connection.session.buffer_updated(len(data))


def masked(connection):
    return re.sub(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{26}", b"id", connection.received()), connection.session.closing


def received_at_once(exchange, call):
    """What received() does with few bytes."""
    if exchange.is_json:
        return exchange.answer_written(receiving.write_messages(exchange, call))
    wanted = exchange.state
    found = [receiving.as_structure(exchange, call, item, wanted, receiving.body_text(item)) for item in call.received]
    return exchange.answer(receiving.ReceiveMessageResult(Messages=found))


@pytest.mark.parametrize("request_", RECEIVES.values(), ids=RECEIVES)
def test_an_answer_in_pieces_is_that_in_one_go(request_):
    attributes = [(b"a", b"String", b'text & "'), (b"b", b"Binary", b"\0\xff"), (b"c", b"Number", b"1")]
    found = []
    for then in (None, received_at_once):
        bench = LongBench(record(LONG, attributes), record(b""), record(b"short", attributes, b"q\xff\0"), record(LONG[7:]))
        connection = bench.session()
        bench.port.held = True
        connection.send(request_)
        exchange = connection.session.active
        exchange.then = then or exchange.then
        bench.port.carry_out(bench.port.calls.pop())
        assert (exchange.writing is not None) == (then is None)
        bench.turn()
        found.append(masked(connection))
    assert found[0] == found[1]
    assert found[0][0].startswith(b"HTTP/1.1 200 OK")


@given(st.lists(st.sampled_from([*b'"\\/\n\r\t\0\x1f\x20&<>\x7f\x80\xff;', ord("a")]), max_size=40).map(bytes), st.integers(0, 3))
def test_the_size_of_what_will_be_written(text, cut):
    for size_of, write in ((string_size, "string"), (xml_size, "xml")):
        writer = Writer()
        getattr(writer, write)(text, min(cut, len(text)), len(text) - min(cut, len(text)))
        assert len(writer.take()) == size_of(text, min(cut, len(text)), len(text) - min(cut, len(text)))


@given(st.text(max_size=60))
@settings(max_examples=examples(50))
def test_xml_is_escaped_as_elsewhere(text):
    data = text.encode(errors="ignore")
    writer = Writer()
    writer.xml(data, 0, len(data))
    assert b"<a>" + writer.take() + b"</a>" == query_protocol.element("a", data.decode()).encode()


def test_it_takes_turns_and_others_have_theirs():
    bench = LongBench(record(LONG * 4))
    first, second = bench.session(), bench.session()
    bench.feed(first, RECEIVES["JSON"])
    sizes, answered = [len(first.received())], 0
    while True:
        bench.feed(second, LIST)
        more = bench.step()
        sizes.append(len(first.received()))
        answered += len(parse_answers(second.received()))
        if not more:
            break
    assert sum(sizes) > len(LONG * 4)
    assert max(sizes) <= (TURN_STEPS // WRITTEN_STEPS + 2) * 6 * PIECE_BYTES
    assert answered > sum(size > 0 for size in sizes) > 2


def test_what_is_shorter_waits_for_a_turn_with_room():
    bench = LongBench(record(b"x" * (SHORT_BYTES + 1)))
    connection = bench.session()
    bench.port.held = True
    bench.feed(connection, RECEIVES["JSON"])
    bench.step()
    bench.shared.turns.spend(TURN_STEPS)
    bench.port.carry_out(bench.port.calls.pop())
    assert connection.received() == b""
    bench.turn()
    ((status, _, body),) = parse_answers(connection.received())
    assert (status, json.loads(body)["Messages"][0]["Body"]) == (200, "x" * (SHORT_BYTES + 1))


def test_answers_of_few_bytes_are_written_at_once():
    bench = LongBench(record(b"x" * SHORT_BYTES))
    connection = bench.session()
    bench.feed(connection, RECEIVES["JSON"])
    assert len(parse_answers(connection.received())) == 1


def test_pipelined_requests_wait_for_it():
    bench = LongBench(record(LONG))
    connection = bench.session()
    bench.feed(connection, RECEIVES["XML"] + LIST + RECEIVES["JSON"] + LIST)
    bench.turn()
    answers = parse_answers(connection.received())
    assert [status for status, _, _ in answers] == [200] * 4
    assert [b"Messages" in body or b"<Message>" in body for _, _, body in answers] == [True, False, True, False]


def test_no_more_is_written_than_the_client_takes():
    bench = LongBench(record(LONG * 8))
    connection = bench.session()
    bench.feed(connection, RECEIVES["JSON"] + LIST)
    data = b""
    while not data:
        bench.step()
        data = connection.received()
    for _ in range(3):
        connection.session.writable(False)
        bench.turn()
        assert connection.received() == b""
        assert not bench.later
        connection.session.writable(True)
        bench.step()
        more = connection.received()
        assert more
        data += more
    bench.turn()
    data += connection.received()
    assert [json.loads(parse_answers(data)[0][2])["Messages"][0]["Body"], len(parse_answers(data))] == [(LONG * 8).decode(), 2]


@pytest.mark.parametrize("is_stalled", [False, True])
def test_who_is_gone_costs_nothing_more(is_stalled):
    bench = LongBench(record(LONG * 4))
    connection = bench.session()
    bench.feed(connection, RECEIVES["JSON"] + LIST)
    bench.step()
    connection.received()
    if is_stalled:
        connection.session.writable(False)
        bench.turn()
    connection.session.lost("reset")
    connection.session.writable(True)
    bench.turn()
    assert connection.received() == b""
    assert connection.session.active is None


def test_who_takes_nothing_of_it_is_silent():
    bench = LongBench(record(LONG * 4))
    connection = bench.session(settings=Settings(idle_s=120))
    bench.feed(connection, RECEIVES["JSON"])
    bench.step()
    connection.session.writable(False)
    bench.turn()
    connection.session.deadline_reached(1000.0)
    connection.session.deadline_reached(1119.0)
    connection.session.writable(True)  # it takes some
    connection.session.writable(False)
    bench.turn()
    connection.session.deadline_reached(1121.0)
    connection.session.deadline_reached(1240.0)
    assert not connection.session.closing
    connection.session.deadline_reached(1241.0)
    assert connection.session.closing


def test_a_bug_of_ours_ends_the_connection(monkeypatch):
    bench = LongBench(record(LONG))
    connection = bench.session()
    monkeypatch.setattr(LongAnswer, "_pieces", lambda *_: iter([1, "not a number"]))
    bench.feed(connection, RECEIVES["JSON"])
    assert connection.session.closing
    assert "bug" in connection.notes[0]


def test_web_pages_are_told_that_they_may_read_it():
    bench = LongBench(record(LONG), origins=("http://page.test",))
    connection = bench.session()
    connection.send(RECEIVES["JSON"].replace(b"\r\n", b"\r\nOrigin: http://page.test\r\n", 1))
    ((status, headers, _),) = parse_answers(connection.received())
    assert (status, headers.get("access-control-allow-origin")) == (200, "http://page.test")
