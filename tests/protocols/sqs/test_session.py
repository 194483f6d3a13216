"""HTTP and the port from the session's side: requests in pieces, outcomes of every kind, limits."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from port_double import Bench, http, json_request, parse_answers

from both_modes import examples
from entrepot.broker.calls.port import DONE, REFUSED, UNAVAILABLE, UNKNOWN
from entrepot.model.errors import OutcomeUnknown, Reason, Refused, Unavailable
from entrepot.net.turns import TURN_STEPS
from entrepot.net.unfinished import Unfinished
from entrepot.protocols.sqs.framing import HEAD_MAX, HEADERS_MAX
from entrepot.protocols.sqs.json_values import VALUES_MAX
from entrepot.protocols.sqs.session import LONG_BYTES, PIPELINE_MAX, REQUEST_STEPS, WAITING_MAX_BYTES
from entrepot.protocols.sqs.settings import Settings

CREATE = json_request("CreateQueue", b'{"QueueName":"q"}')
SEND = json_request("SendMessage", b'{"QueueUrl":"/000000000000/q","MessageBody":"hello"}')
RECEIVE = json_request("ReceiveMessage", b'{"QueueUrl":"/000000000000/q","WaitTimeSeconds":20}')
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


LIST = http(b"Action=ListQueues", FORM)


def answers(connection):
    return parse_answers(connection.received())


def statuses(connection):
    return [status for status, _, _ in answers(connection)]


# ---- requests in pieces


def conversation():
    return [CREATE, SEND, http(b"Action=ListQueues", FORM), json_request("Nothing", b"{}"), SEND, json_request("SendMessage", b"{"), http(b"", {}, "GET")]


def played(pieces):
    connection = Bench().session()
    for piece in pieces:
        connection.send(piece)
    return [(status, body) for status, _, body in answers(connection)]


@given(st.data())
@settings(max_examples=examples(60), deadline=None)
def test_any_split_of_the_input_gives_the_same_answers(data):
    whole = b"".join(conversation())
    cuts = sorted(data.draw(st.sets(st.integers(1, len(whole) - 1), max_size=30)))
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert played(pieces) == played([whole])


def test_octet_by_octet():
    whole = b"".join(conversation())
    assert played([whole[at : at + 1] for at in range(len(whole))]) == played([whole])
    assert [status for status, _ in played([whole])] == [200, 200, 200, 400, 200, 400, 200]


def test_a_chunked_body():
    connection = Bench().session()
    connection.send(
        b'POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: AmazonSQS.CreateQueue\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n{"QueueName\r\n6\r\n":"q"}\r\n0\r\n\r\n'
    )
    [(status, _, body)] = answers(connection)
    assert (status, json.loads(body)) == (200, {"QueueUrl": "http://x/000000000000/q"})


def test_a_request_that_asks_whether_to_go_on():
    connection = Bench().session()
    head, body = http(b'{"QueueName":"q"}', {"X-Amz-Target": "AmazonSQS.CreateQueue", "Expect": "100-continue"}).split(b"\r\n\r\n")
    connection.send(head + b"\r\n\r\n")
    assert connection.received() == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.send(body)
    assert statuses(connection) == [200]


def test_a_connection_ends_where_the_client_says_so():
    connection = Bench().session()
    connection.send(http(b"Action=ListQueues", FORM | {"Connection": "close"}) + CREATE)
    [(status, headers, _)] = answers(connection)
    assert (status, headers["connection"]) == (200, "close")
    assert connection.session.closing


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),  # TLS
        (b"HELO there\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA: " + b"x" * (3 * HEAD_MAX) + b"\r\n\r\n", 431),
        (b"GET /" + b"x" * (HEAD_MAX + 10) + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\n" + b"A: x\r\n" * (HEADERS_MAX + 1) + b"\r\n", 431),
        (b"POST / HTTP/1.1\r\nContent-Length: 4194305\r\n\r\n" + b"x" * 4_194_305, 413),  # by default: it is decoded in one go
        (b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", 400),
    ],
)
def test_what_is_no_request_ends_its_connection_only(data, status):
    bench = Bench()
    connection = bench.session()
    connection.send(data)
    assert statuses(connection) in ([status], [431] if status == 414 else [status])
    assert connection.session.closing
    other = bench.session()
    other.send(CREATE)
    assert statuses(other) == [200]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (http(b"", {}, "GET"), 200),
        (http(b"", {}, "GET", "/elsewhere"), 404),
        (http(b"", {}, "DELETE"), 405),
        (http(b"{}", {"Content-Type": "application/json"}), 400),
        (http(b"Action=Nothing", FORM), 400),
        (http(b"\xff=1", FORM), 400),
        (http(b"&".join(b"a%d=1" % n for n in range(5000)), FORM), 400),
        (json_request("ListQueues", b""), 400),
        (json_request("ListQueues", b"[]"), 400),
        (json_request("ListQueues", b"\xff"), 400),
        (json_request("ListQueues", b"[" * 100_000), 400),
        (json_request("ListQueues", b'{"MaxResults":"ten"}'), 400),
        (json_request("ListQueues", b'{"MaxResults":true}'), 400),
        (json_request("ReceiveMessage", b'{"QueueUrl":"/000000000000/q","MaxNumberOfMessages":1' + b"0" * 4000 + b"}"), 400),
        (json_request("ReceiveMessage", b'{"QueueUrl":"/000000000000/q","WaitTimeSeconds":-100000000000000000000}'), 400),
        (http(b"Action=ReceiveMessage&QueueUrl=/000000000000/q&MaxNumberOfMessages=1" + b"0" * 4000, FORM), 400),
        (json_request("SendMessage", b'{"QueueUrl":"/000000000000/q","MessageBody":"\\ud800"}'), 400),
        (json_request("SendMessage", b'{"QueueUrl":null,"MessageBody":"x"}'), 400),
        (json_request("SendMessage", b'{"QueueUrl":"?","MessageBody":"x"}'), 400),
    ],
)
def test_what_the_api_does_not_know_is_answered_and_the_connection_goes_on(data, status):
    connection = Bench().session()
    connection.send(data)
    assert statuses(connection) == [status]
    connection.send(CREATE)
    assert statuses(connection) == [200]


@given(st.binary(max_size=2000), st.sampled_from(["SendMessage", "SendMessageBatch", "CreateQueue", "DeleteMessageBatch", "ReceiveMessage"]))
@settings(max_examples=examples(150), deadline=None)
def test_any_body_is_answered(body, action):
    connection = Bench().session()
    connection.send(json_request(action, body) + http(body, FORM) + http(b"Action=" + action.encode() + b"&" + body, FORM))
    assert len(statuses(connection)) == 3


def test_changed_requests_cost_their_sender_an_error_only():
    chance = random.Random(5)
    bench = Bench()
    whole = b"".join(conversation())
    for _ in range(300):
        broken = bytearray(whole)
        for _ in range(chance.randrange(1, 6)):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        connection = bench.session()
        connection.send(bytes(broken))
        connection.received()
    healthy = bench.session()
    healthy.send(http(b"Action=ListQueues", FORM))
    assert statuses(healthy) == [200]


def test_trailers_and_chunks_without_end():
    for data in (b"0\r\nTrailer: " + b"x" * (4 * HEAD_MAX), b"1\r\nx\r\n" * 60_000):
        connection = Bench().session()
        connection.send(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + data)
        assert statuses(connection) == [431]
    many = Bench().session()
    many.send(http(b"Action=ListQueues", FORM) * 2000)
    assert statuses(many) == [200] * 2000


def test_a_bug_of_ours_costs_one_request():
    bench = Bench()
    connection = bench.session()
    connection.send(CREATE)
    connection.received()
    bench.port.held = True
    connection.send(SEND)
    [call] = bench.port.calls
    bench.port.complete(call, DONE)  # without what a Send answers
    assert statuses(connection) == [500]


# ---- pipelining and flow control


def test_pipelined_requests_are_carried_out_and_answered_in_order():
    bench = Bench()
    connection = bench.session()
    connection.send(CREATE)
    connection.received()
    bench.port.held = True
    connection.send(SEND + RECEIVE)
    assert len(bench.port.calls) == 1
    bench.port.carry_out(bench.port.calls[0])
    assert len(bench.port.calls) == 2
    bench.port.carry_out(bench.port.calls[1])
    assert [b"MessageId" in body for _, _, body in answers(connection)] == [True, True]


def test_reading_stops_while_much_waits_for_an_answer():
    bench = Bench()
    bench.port.held = True
    connection = bench.session()
    connection.send(SEND)
    assert not connection.session.paused
    connection.send(SEND * PIPELINE_MAX)
    assert connection.session.paused
    other = bench.session()
    other.send(SEND)
    other.send(json_request("SendMessage", b'{"QueueUrl":"/000000000000/q","MessageBody":"' + b"x" * WAITING_MAX_BYTES + b'"}'))
    assert other.session.paused
    bench.port.complete(bench.port.calls[1], UNAVAILABLE, Unavailable("later"))
    assert len(bench.port.calls) == 2  # what is long has a turn of its own
    bench.turn()
    assert len(bench.port.calls) == 3
    assert not other.session.paused


def test_much_that_is_unfinished_is_given_up():
    unfinished = Unfinished(250_000)
    bench = Bench(unfinished=unfinished)
    first, second = bench.session(), bench.session()
    for connection in (first, second):
        connection.send(CREATE)
        assert statuses(connection) == [200]
        connection.send(b"POST / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 200_000)
    assert unfinished.ended_count == 1
    assert statuses(first) == [503]  # it need not send anything more
    assert first.session.closing
    assert statuses(second) == []
    second.session.lost("gone")
    assert unfinished.held_bytes == 0


BEGUN = b"POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: AmazonSQS.SendMessage\r\nContent-Length: 1000000\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "pieces"),
    [
        (BEGUN + b"x" * 200_000, 1),
        (BEGUN + b"x" * 3000, 1500),  # each piece is an object of its own
        (b"POST / HTTP/1.1\r\nContent-Length: 9\r\n" + b"".join(b"A%d: x\r\n" % number for number in range(200)) + b"\r\n", 1),
        (b"POST / HTTP/1.1\r\nA: " + b"x" * 60_000, 1),
        (b"GET /" + b"x" * 60_000, 1),
    ],
)
def test_what_a_stranger_has_begun_counts_and_of_many_the_oldest_pays(data, pieces):
    strangers = Unfinished(1 << 20)
    bench = Bench(strangers=strangers)
    bench.users.add_user("ann", "secret-password")
    connections = []
    while not strangers.ended_count and len(connections) < 500:
        connections.append(bench.session())
        step = len(data) // pieces
        for at in range(0, len(data), step):
            connections[-1].send(data[at : at + step])
    assert strangers.ended_count == 1
    assert strangers.held_bytes <= strangers.limit_bytes
    assert statuses(connections[0]) == [503]
    assert [statuses(connection) for connection in connections[1:]] == [[]] * (len(connections) - 1)
    for connection in connections:
        connection.session.lost("gone")
    assert strangers.held_bytes == 0


def test_a_guest_is_no_stranger():
    """Where there are no users, who comes from this machine is the guest: what he has begun counts as a user's, from the first octet on."""
    strangers, unfinished = Unfinished(100_000), Unfinished(1 << 20)
    bench = Bench(strangers=strangers, unfinished=unfinished)
    connection = bench.session()
    connection.send(BEGUN + b"x" * 300_000)
    assert (strangers.held_bytes, unfinished.held_bytes > 200_000) == (0, True)
    bench.users.add_user("ann", "secret-password")
    connection.send(b"x" * 700_000 + LIST + BEGUN + b"x" * 90_000)
    assert statuses(connection) == [400, 403]  # nobody may do it any more
    assert (strangers.held_bytes > 80_000, unfinished.held_bytes) == (True, 0)


def test_a_request_that_waits_for_messages_holds_no_body():
    bench = Bench()
    bench.port.held = True
    connection = bench.session()
    connection.send(json_request("ReceiveMessage", b'{"QueueUrl":"/000000000000/q","WaitTimeSeconds":20,"x":"%b"}' % (b"x" * 100_000)))
    assert connection.session.active.action.name == "ReceiveMessage"
    assert connection.session.active.request.body == b""


def test_a_request_that_fails_by_a_bug_in_a_later_turn_ends_its_connection(monkeypatch):
    bench = Bench()
    connection = bench.session()
    data = http(b"", {}, "GET", "/x") * 40 + LIST
    connection.session.get_buffer(-1)[: len(data)] = data
    connection.session.buffer_updated(len(data))
    assert connection.session.paused
    monkeypatch.setattr(bench.port, "attach", None)
    with pytest.raises(TypeError):
        bench.turn()
    assert connection.session.closing


def test_a_turn_ends_however_much_is_here():
    bench = Bench()
    connection = bench.session()
    data = http(b"", {}, "GET", "/x") * 100
    connection.session.get_buffer(-1)[: len(data)] = data
    connection.session.buffer_updated(len(data))
    assert connection.session.paused
    assert len(statuses(connection)) < 100
    while bench.later:
        bench.later.pop(0)()
    assert not connection.session.paused


def test_requests_wait_while_the_broker_or_the_peer_is_behind():
    bench = Bench()
    connection = bench.session()
    connection.session.throttle(True, "")
    connection.send(CREATE)
    assert connection.session.paused
    assert statuses(connection) == []
    connection.session.throttle(False, "")
    assert statuses(connection) == [200]
    connection.session.throttle(True, "the disk is full")
    connection.session.writable(False)
    connection.send(CREATE)
    assert statuses(connection) == []
    connection.session.writable(True)
    assert statuses(connection) == [200]


def test_all_connections_have_one_budget_of_a_turn():
    bench = Bench()
    connections = [bench.session() for _ in range(10)]
    data = http(b"", {}, "GET", "/x") * 30
    before, counts = 0, []
    for connection in connections:
        connection.session.get_buffer(-1)[: len(data)] = data
        connection.session.buffer_updated(len(data))
    answered = sum(len(statuses(connection)) for connection in connections)
    counts.append(answered)
    while bench.later:
        due, bench.later[:] = bench.later[:], []
        for function in due:
            function()
        before, answered = answered, answered + sum(len(statuses(connection)) for connection in connections)
        counts.append(answered - before)
    assert sum(counts) == 300
    assert max(counts) <= 1 + TURN_STEPS // REQUEST_STEPS


@pytest.mark.parametrize("values", [b"[" + b"1," * VALUES_MAX + b"1]", b"[" * (VALUES_MAX + 1), b"{" * (VALUES_MAX + 1)])
def test_json_of_very_many_values_is_refused(values):
    connection = Bench().session()
    connection.send(json_request("SendMessage", b'{"QueueUrl":"/000000000000/q","MessageBody":"hello","Other":' + values.ljust(LONG_BYTES) + b"}"))
    ((status, _, body),) = answers(connection)
    assert (status, b"SerializationException" in body, b"values" in body) == (400, True, True)


def test_what_is_within_strings_is_no_value():
    connection = Bench().session()
    connection.send(CREATE)
    body = b'\\"{[,' * (VALUES_MAX + LONG_BYTES // 6)
    connection.send(json_request("SendMessage", b'{"QueueUrl":"/000000000000/q","MessageBody":"' + body + b'"}'))
    assert statuses(connection) == [200, 200]


# ---- time


def test_deadlines():
    connection = Bench().session(settings=Settings(request_timeout_s=30, idle_s=120))
    session = connection.session
    session.deadline_reached(1000.0)
    connection.send(CREATE[:-3])
    session.deadline_reached(1005.0)
    session.deadline_reached(1034.0)
    assert not session.closing
    connection.send(CREATE[-3:])
    assert statuses(connection) == [200]
    session.deadline_reached(1060.0)  # between requests nothing is late
    session.deadline_reached(1100.0)
    assert connection.received() == b""
    connection.send(SEND[:10])
    session.deadline_reached(1105.0)
    session.deadline_reached(1136.0)
    assert statuses(connection) == [408]
    assert session.closing


def test_a_connection_that_asks_for_nothing_ends_in_silence():
    connection = Bench().session(settings=Settings(idle_s=120))
    connection.session.deadline_reached(1000.0)
    connection.session.deadline_reached(1119.0)
    assert not connection.session.closing
    connection.session.deadline_reached(1120.0)
    assert connection.session.closing
    assert connection.received() == b""


def test_a_waiting_receive_is_not_silence():
    bench = Bench()
    bench.port.held = True
    connection = bench.session(settings=Settings(idle_s=5))
    connection.send(RECEIVE)
    for now in (1000.0, 1010.0, 1020.0):
        connection.session.deadline_reached(now)
    assert not connection.session.closing


# ---- outcomes

REQUESTS = {
    "SendMessage": b'{"QueueUrl":"/000000000000/q","MessageBody":"x"}',
    "SendMessageBatch": b'{"QueueUrl":"/000000000000/q","Entries":[{"Id":"a","MessageBody":"x"}]}',
    "ReceiveMessage": b'{"QueueUrl":"/000000000000/q"}',
    "DeleteMessage": b'{"QueueUrl":"/000000000000/q","ReceiptHandle":"%s"}',
    "ChangeMessageVisibilityBatch": b'{"QueueUrl":"/000000000000/q","Entries":[{"Id":"a","ReceiptHandle":"%s","VisibilityTimeout":1}]}',
    "CreateQueue": b'{"QueueName":"q"}',
    "SetQueueAttributes": b'{"QueueUrl":"/000000000000/q","Attributes":{"DelaySeconds":"1"}}',
    "PurgeQueue": b'{"QueueUrl":"/000000000000/q"}',
    "ListQueues": b"{}",
}
OUTCOMES = [
    (UNAVAILABLE, Unavailable("not now"), 503, "ServiceUnavailable;Receiver"),
    (UNKNOWN, OutcomeUnknown("the store failed"), 500, "InternalFailure;Receiver"),
    (REFUSED, Refused(Reason.NOT_FOUND, "gone"), 400, "AWS.SimpleQueueService.NonExistentQueue;Sender"),
    (REFUSED, Refused(Reason.NOT_PERMITTED, "no"), 403, "AccessDenied;Sender"),
    (REFUSED, Refused(Reason.FULL, "disk"), 503, "ServiceUnavailable;Receiver"),
]


@pytest.mark.parametrize("action", sorted(REQUESTS))
@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: str(outcome[1]))
def test_outcomes(action, outcome):
    number, error, status, code = outcome
    bench = Bench()
    connection = bench.session()
    connection.send(CREATE + SEND + RECEIVE)
    handle = json.loads(answers(connection)[2][2])["Messages"][0]["ReceiptHandle"].encode()
    body = REQUESTS[action]
    bench.port.held = True
    connection.send(json_request(action, body % handle if b"%s" in body else body))
    [call] = bench.port.calls
    bench.port.complete(call, number, error)
    [(found, headers, _)] = answers(connection)
    if action == "CreateQueue" and isinstance(error, Refused) and error.reason is Reason.NOT_FOUND:
        status, code = 400, "InvalidParameterValue;Sender"  # the queue that is not there is its dead-letter queue
    assert (found, headers["x-amzn-query-error"]) == (status, code)
    bench.port.complete(call, DONE)  # a second completion is nobody's
    assert connection.received() == b""


def test_completions_after_the_connection_is_gone():
    bench = Bench()
    bench.port.held = True
    connection = bench.session()
    connection.send(RECEIVE)
    connection.session.lost("gone")
    assert all(attachment.closed for attachment in bench.port.attachments)
    bench.port.complete(bench.port.calls[0], UNKNOWN, OutcomeUnknown("x"))
    assert connection.received() == b""


def test_what_is_asked_waits_for_who_decides():
    bench = Bench()
    bench.session().send(CREATE)
    assert [attachment.waits for attachment in bench.port.attachments] == [True]


def test_many_connections_complete_in_any_order():
    bench = Bench()
    first = bench.session()
    first.send(CREATE)
    bench.port.held = True
    connections = [bench.session() for _ in range(20)]
    for number, connection in enumerate(connections):
        connection.send(json_request("SendMessage", b'{"QueueUrl":"/000000000000/q","MessageBody":"%d"}' % number))
    calls = list(bench.port.calls)
    random.Random(3).shuffle(calls)
    for call in calls:
        bench.port.carry_out(call)
    ids = [json.loads(answers(connection)[0][2])["MessageId"] for connection in connections]
    assert len(set(ids)) == 20


def test_a_conversation_over_many_accounts_keeps_few_attachments():
    bench = Bench()
    connection = bench.session()
    for number in range(100):
        connection.send(json_request("CreateQueue", b'{"QueueName":"q"}', key_id=f"{number:012d}"))
    assert statuses(connection) == [200] * 100
    assert sum(not attachment.closed for attachment in bench.port.attachments) <= 16


def test_urls_that_no_queue_can_have_are_not_remembered():
    bench = Bench()
    connection = bench.session()
    connection.send(CREATE)
    for number in range(20):
        connection.send(json_request("GetQueueAttributes", b'{"QueueUrl":"/000000000000/%d%s"}' % (number, b"q" * 2000)))
    assert statuses(connection) == [200] + [400] * 20
    connection.send(json_request("GetQueueAttributes", b'{"QueueUrl":"/000000000000/q"}'))
    assert answers(connection)[0][0] == 200
    assert [list(caller.targets) for caller in connection.session.by_key_id.values()] == [["/000000000000/q"]]
