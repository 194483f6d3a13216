"""The first call of an account, whose namespace somebody else has to make."""

import json

import pytest
from port_double import Bench, http, json_request, parse_answers

from entrepot.model.errors import OutcomeUnknown, Reason, Refused, Unavailable


def answers(connection):
    return parse_answers(connection.received())


def statuses(connection):
    return [status for status, _, _ in answers(connection)]


class Elsewhere:
    """Who makes namespaces in another process: answers come later."""

    def __init__(self, bench):
        self.bench = bench
        self.asked = []
        bench.accounts._create = lambda name, made: self.asked.append((name, made))

    def answer(self, error=None):
        name, made = self.asked.pop(0)
        if error is None:
            self.bench.port.namespaces[name] = None
        made(error)
        self.bench.turn()


ELSEWHERE = json_request("CreateQueue", b'{"QueueName":"q"}', key_id="123456789012")
BY_FORM = http(
    b"Action=CreateQueue&QueueName=q&Version=2012-11-05",
    {"Content-Type": "application/x-www-form-urlencoded", "Authorization": "AWS4-HMAC-SHA256 Credential=123456789012/20260101/us-east-1/sqs/aws4_request"},
)


@pytest.mark.parametrize("create", [ELSEWHERE, BY_FORM], ids=["json", "form"])
def test_the_first_call_of_an_account_waits_until_its_namespace_is_there(create):
    bench = Bench()
    connection = bench.session()
    elsewhere = Elsewhere(bench)
    connection.send(create + json_request("ListQueues", b"{}", key_id="123456789012"))
    assert connection.received() == b""
    assert [name for name, _ in elsewhere.asked] == ["public/123456789012"]
    elsewhere.answer()
    (status, _, body), (_, _, listed) = answers(connection)
    assert status == 200
    assert b"/123456789012/q" in body
    assert b"/123456789012/q" in listed
    assert elsewhere.asked == []


@pytest.mark.parametrize(
    ("error", "status", "shape"),
    [
        (Unavailable("nobody decides"), 503, "ServiceUnavailableException"),
        (OutcomeUnknown("who decides has ended"), 503, "ServiceUnavailableException"),
        (Refused(Reason.LIMIT, "as many as there may be"), 403, "OverLimit"),
    ],
    ids=repr,
)
def test_an_account_that_cannot_be_made_now_is_to_be_tried_again(error, status, shape):
    bench = Bench()
    connection = bench.session()
    elsewhere = Elsewhere(bench)
    connection.send(ELSEWHERE)
    elsewhere.answer(error)
    ((found, _, body),) = answers(connection)
    assert (found, json.loads(body)["__type"]) == (status, f"com.amazonaws.sqs#{shape}")
    connection.send(ELSEWHERE)
    elsewhere.answer()
    assert statuses(connection) == [200]


def test_an_account_that_is_gone_when_its_call_begins_again_is_made_again():
    bench = Bench()
    connection = bench.session()
    elsewhere = Elsewhere(bench)
    connection.send(ELSEWHERE)
    _, made = elsewhere.asked.pop()
    made(None)
    assert connection.received() == b""
    elsewhere.answer()
    assert statuses(connection) == [200]


def test_what_is_heard_of_an_account_that_nobody_waits_for_does_nothing():
    bench = Bench()
    connection = bench.session()
    told = []

    def create(name, made):
        bench.port.namespaces[name] = None
        told.append(made)

    bench.accounts._create = create
    connection.send(ELSEWHERE)
    assert statuses(connection) == [200]
    told[0](None)
    assert connection.received() == b""
    elsewhere = Elsewhere(bench)
    connection.send(json_request("ListQueues", b"{}", key_id="222222222222"))
    connection.session.lost("it is gone")
    elsewhere.answer()
    assert connection.received() == b""
