"""Queue policies by themselves: what they say of a request, what is not kept, and what is not understood, which never opens a queue."""

import fnmatch
import json

import pytest
from aws_client import client
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st
from port_double import Bench, json_request, parse_answers

from entrepot.protocols.sqs.errors import SqsError
from entrepot.protocols.sqs.patterns import Exhausted, Pattern, Steps
from entrepot.protocols.sqs.policy import STEPS_MAX, Context, Policy
from entrepot.protocols.sqs.policy_rules import check_policy

QUEUE = "arn:aws:sqs:us-east-1:000000000000:q"
KEYS = {"aws:sourceip": "10.0.0.1", "aws:securetransport": "false", "aws:username": "me", "aws:principalarn": "arn:aws:iam::111111111111:user/me"}
ME = Context("SendMessage", QUEUE, "111111111111", "arn:aws:iam::111111111111:user/me", KEYS)
BASE = {"Effect": "Allow", "Principal": "*", "Action": "*"}


def text_of(*statements, **document):
    made = [{name: value for name, value in (BASE | statement).items() if value is not None} for statement in statements]
    return json.dumps({"Version": "2012-10-17", "Statement": made} | document)


def said(text, context=ME):
    return Policy(text).decide(context)


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ({}, "Allow"),
        ({"Effect": "Deny"}, "Deny"),
        ({"Principal": {"AWS": "*"}}, "Allow"),
        ({"Principal": {"AWS": "111111111111"}}, "Allow"),
        ({"Principal": {"AWS": ["arn:aws:iam::222222222222:root", "arn:aws:iam::111111111111:root"]}}, "Allow"),
        ({"Principal": {"AWS": "arn:aws:iam::111111111111:user/you"}}, None),
        ({"Principal": {"Service": "sns.amazonaws.com"}}, None),
        ({"Principal": {"Service": "sns.amazonaws.com", "AWS": "111111111111"}}, "Allow"),
        ({"Effect": "Deny", "Principal": {"Service": "sns.amazonaws.com"}}, None),
        ({"Effect": "Deny", "Principal": {"AWS": "222222222222"}}, None),
        ({"Principal": None, "NotPrincipal": {"AWS": "111111111111"}}, None),
        ({"Principal": None, "NotPrincipal": {"AWS": "222222222222"}}, "Allow"),
        ({"Action": "sqs:SendMessage"}, "Allow"),
        ({"Action": "SQS:Send*"}, "Allow"),
        ({"Action": "sqs:S?ndMess*"}, "Allow"),
        ({"Action": ["sqs:ReceiveMessage"]}, None),
        ({"Action": None, "NotAction": "sqs:SendMessage"}, None),
        ({"Action": None, "NotAction": "sqs:ReceiveMessage"}, "Allow"),
        ({"Resource": "arn:aws:sqs:*:000000000000:?"}, "Allow"),
        ({"Resource": "*"}, "Allow"),
        ({"Resource": "arn:aws:sqs:us-east-1:000000000000:other"}, None),
        ({"NotResource": QUEUE}, None),
        ({"Condition": {"StringEquals": {"aws:username": ["you", "me"]}}}, "Allow"),
        ({"Condition": {"StringNotEquals": {"aws:username": "me"}}}, None),
        ({"Condition": {"StringEqualsIgnoreCase": {"aws:UserName": "ME"}}}, "Allow"),
        ({"Condition": {"StringLike": {"aws:username": "m?"}}}, "Allow"),
        ({"Condition": {"IpAddress": {"aws:SourceIp": ["192.168.0.0/16", "10.0.0.0/8"]}}}, "Allow"),
        ({"Condition": {"IpAddress": {"aws:SourceIp": "10.9.9.9/8"}}}, "Allow"),
        ({"Condition": {"IpAddress": {"aws:SourceIp": "::ffff:10.0.0.0/104"}}}, "Allow"),
        ({"Condition": {"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}, None),
        ({"Condition": {"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:user/*"}}}, "Allow"),
        ({"Condition": {"ArnLike": {"aws:PrincipalArn": "arn:*:iam:*:*:*"}}}, "Allow"),
        ({"Condition": {"ArnEquals": {"aws:SourceArn": "arn:aws:sns:us-east-1:111111111111:t"}}}, None),
        ({"Condition": {"Bool": {"aws:SecureTransport": True}}}, None),
        ({"Condition": {"Bool": {"aws:SecureTransport": "false"}}}, "Allow"),
        ({"Condition": {"Null": {"aws:SourceArn": "true"}}}, "Allow"),
        ({"Condition": {"Null": {"aws:SourceArn": "false"}}}, None),
        ({"Condition": {"ArnEqualsIfExists": {"aws:SourceArn": "arn:aws:sns:*:*:x"}}}, "Allow"),
        ({"Condition": {"StringEqualsIfExists": {"aws:SourceArn": "x"}}}, "Allow"),
        ({"Effect": "Deny", "Condition": {"StringEquals": {"aws:username": "you"}, "DateLessThan": {"aws:CurrentTime": "2030-01-01T00:00:00Z"}}}, None),
    ],
)
def test_statements(statement, expected):
    text = text_of(statement)
    check_policy(text)
    assert said(text) == expected


# Of each: what a statement has that is not understood, and whether it may be kept. Whatever it is, nobody is allowed and everybody is denied.
NOT_UNDERSTOOD = [
    ({"Conditions": {"StringEquals": {"aws:username": "you"}}}, False),
    ({"condition": {}}, False),
    ({"Sid": 7}, False),
    ({"Principal": "111111111111"}, False),
    ({"Principal": {"Foo": "me"}}, False),
    ({"Principal": {"AWS": "*", "Foo": "me"}}, False),
    ({"Principal": {"AWS": []}}, False),
    ({"Principal": {}}, False),
    ({"Principal": ["*"]}, False),
    ({"Principal": {"AWS": "arn:aws:iam::*:root"}}, False),
    ({"Principal": {"AWS": "me"}}, False),
    ({"Principal": {"AWS": 7}}, False),
    ({"Principal": {"AWS": {"a": "b"}}}, False),
    ({"Principal": None, "NotPrincipal": {"Foo": "me"}}, False),
    ({"Principal": None, "NotPrincipal": {"AWS": "me"}}, False),
    ({"Principal": None}, False),
    ({"NotPrincipal": {"AWS": "222222222222"}}, False),
    ({"Action": None}, False),
    ({"Action": []}, False),
    ({"Action": 7}, False),
    ({"Action": "SendMessage"}, False),
    ({"Action": [None]}, False),
    ({"Action": None, "NotAction": "SendMessage"}, False),
    ({"Action": None, "NotAction": []}, False),
    ({"NotAction": "sqs:ReceiveMessage"}, False),
    ({"Resource": "q"}, False),
    ({"Resource": "arn:aws:sqs:*"}, False),
    ({"Resource": []}, False),
    ({"Resource": [7]}, False),
    ({"NotResource": "q"}, False),
    ({"Resource": "*", "NotResource": "arn:aws:sqs:us-east-1:000000000000:x"}, False),
    ({"Resource": "arn:aws:sqs:us-east-1:000000000000:${aws:username}"}, True),
    ({"Condition": []}, False),
    ({"Condition": {"StringEquals": []}}, False),
    ({"Condition": {"StringEquals": {}}}, False),
    ({"Condition": {"StringEquals": {"aws:username": []}}}, False),
    ({"Condition": {"StringEquals": {"aws:username": None}}}, False),
    ({"Condition": {"StringEquals": {"aws:username": {"a": "b"}}}}, False),
    ({"Condition": {"StringEquals": {"username": "me"}}}, False),
    ({"Condition": {"Unheard": {"aws:username": "me"}}}, False),
    ({"Condition": {"IfExists": {"aws:username": "me"}}}, False),
    ({"Condition": {"StringEquals": {"aws:Unheard": "me"}}}, True),
    ({"Condition": {"StringEquals": {"aws:username": "${aws:username}"}}}, True),
    ({"Condition": {"StringNotEquals": {"aws:username": "${x:y}"}}}, True),
    ({"Condition": {"StringLike": {"aws:username": "${x:y}"}}}, True),
    ({"Condition": {"StringNotLike": {"aws:username": "${x:y}"}}}, True),
    ({"Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/33"}}}, False),
    ({"Condition": {"IpAddress": {"aws:SourceIp": ["192.168.0.0/16", "10.0.0"]}}}, False),
    ({"Condition": {"NotIpAddress": {"aws:SourceIp": "10.0.0.0/33"}}}, False),
    ({"Condition": {"NotIpAddress": {"aws:SourceIp": ["192.168.0.0/16", "nonsense"]}}}, False),
    ({"Condition": {"IpAddress": {"aws:username": "10.0.0.0/8"}}}, True),
    ({"Condition": {"NotIpAddress": {"aws:username": "10.0.0.0/8"}}}, True),
    ({"Condition": {"Null": {"aws:SourceArn": "perhaps"}}}, False),
    ({"Condition": {"Null": {"aws:SourceArn": ["true", "false"]}}}, True),
    ({"Condition": {"NullIfExists": {"aws:SourceArn": "true"}}}, False),
    ({"Condition": {"Bool": {"aws:SecureTransport": "maybe"}}}, False),
    ({"Condition": {"ArnLike": {"aws:PrincipalArn": "x"}}}, False),
    ({"Condition": {"ArnNotLike": {"aws:PrincipalArn": "x"}}}, False),
    ({"Condition": {"ArnNotEquals": {"aws:username": "arn:aws:iam::111111111111:root"}}}, True),
    ({"Condition": {"ForAllValues:StringEquals": {"aws:username": "me"}}}, True),
    ({"Condition": {"ForAnyValue:StringEquals": {"aws:username": "me"}}}, True),
    ({"Condition": {"ForAnyValue:ForAnyValue:StringEquals": {"aws:username": "me"}}}, False),
    ({"Condition": {"DateLessThan": {"aws:CurrentTime": "2030-01-01T00:00:00Z"}}}, True),
    ({"Condition": {"DateLessThan": {"aws:CurrentTime": "soon"}}}, False),
    ({"Condition": {"NumericLessThan": {"aws:MultiFactorAuthAge": 300}}}, True),
    ({"Condition": {"NumericLessThan": {"aws:MultiFactorAuthAge": "few"}}}, False),
    ({"Condition": {"BinaryEquals": {"aws:username": "bWU="}}}, True),
]


@pytest.mark.parametrize(("part", "is_kept"), NOT_UNDERSTOOD, ids=[json.dumps(part)[:80] for part, _ in NOT_UNDERSTOOD])
def test_what_is_not_understood_never_allows_and_always_denies(part, is_kept):
    allow, deny = text_of(part), text_of(part | {"Effect": "Deny"})
    assert said(allow) is None
    assert said(deny) == "Deny"
    assert said(text_of({}, part | {"Effect": "Deny"})) == "Deny"
    for text in (allow, deny):
        if is_kept:
            check_policy(text)
        else:
            with pytest.raises(SqsError, match=r"^Invalid value for the parameter Policy\.$") as caught:
                check_policy(text)
            assert caught.value.code.shape == "InvalidAttributeValue"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "7",
        '{"Statement":[]}',
        '{"Statement":[7]}',
        '{"Statement":[{"Effect":"Maybe","Principal":"*","Action":"*"}]}',
        '{"Version":"1","Statement":[{"Effect":"Allow","Principal":"*","Action":"*"}]}',
        '{"Version":["2012-10-17"],"Statement":[{"Effect":"Allow","Principal":"*","Action":"*"}]}',
        '{"Id":7,"Statement":[{"Effect":"Allow","Principal":"*","Action":"*"}]}',
        '{"Statements":[],"Statement":[{"Effect":"Allow","Principal":"*","Action":"*"}]}',
        '{"Statement":[{"Effect":"Deny","Effect":"Allow","Principal":"*","Action":"*"}]}',
        '{"Statement":[],"Statement":[{"Effect":"Allow","Principal":"*","Action":"*"}]}',
        '{"Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Condition":{"Bool":{"aws:SecureTransport":"true","aws:SecureTransport":"false"}}}]}',
        '{"Statement":[{"Effect":"Allow","Principal":{"AWS":"222222222222","AWS":"*"},"Action":"*"}]}',
        '{"Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Condition":{"StringEquals":{"aws:username":NaN}}}]}',
        '{"Statement":' + "[" * 5000,
        '{"Statement":' + "9" * 5000 + "}",
    ],
)
def test_what_is_no_policy(text):
    with pytest.raises(SqsError) as caught:
        check_policy(text)
    assert caught.value.code.shape == "InvalidAttributeValue"
    assert said(text) != "Allow"


@pytest.mark.parametrize("action", ["sqs:SendMesage", "sns:Publish", "sqs:Nothing*"])
def test_actions_that_there_are_not(action):
    with pytest.raises(SqsError):
        check_policy(text_of({"Action": action}))
    assert said(text_of({"Action": action})) is None
    assert said(text_of({"Action": action, "Effect": "Deny"})) is None  # it is understood, and another


@pytest.mark.parametrize("action", ["SendMessage", "DeleteMessage", "ChangeMessageVisibility"])
def test_what_holds_for_one_message_holds_for_a_batch(action):
    context = Context(f"{action}Batch", QUEUE, ME.account, ME.arn, KEYS)
    assert said(text_of({"Action": f"sqs:{action}"}), context) == "Allow"
    assert said(text_of({}, {"Action": f"sqs:{action}", "Effect": "Deny"}), context) == "Deny"
    assert said(text_of({"Action": None, "NotAction": f"sqs:{action}"}), context) is None
    assert said(text_of({"Action": f"sqs:{action}Batch"}), Context(action, QUEUE, ME.account, ME.arn, KEYS)) is None


def test_deny_wins_in_any_order():
    deny = {"Effect": "Deny"}
    for statements in ([{}, deny], [deny, {}]):
        assert said(text_of(*statements)) == "Deny"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.0.0.1", "Deny"),
        ("::ffff:10.0.0.1", "Deny"),
        ("fe80::1%eth0", "Deny"),
        ("192.0.2.1", "Allow"),
        ("2001:db8::1", "Allow"),
        ("", "Deny"),
        ("x", "Deny"),
    ],
)
def test_addresses(address, expected):
    text = text_of({}, {"Effect": "Deny", "Condition": {"IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "fe80::/10"]}}})
    assert said(text, Context("SendMessage", QUEUE, "", "", {"aws:sourceip": address})) == expected


def test_nobody_is_no_principal():
    nobody = Context("SendMessage", QUEUE, "", "", {"aws:sourceip": "10.0.0.1"})
    for name in ("111111111111", "arn:aws:iam::111111111111:root", "arn:aws:iam:::root"):
        assert said(text_of({"Principal": {"AWS": name}}), nobody) is None


# ---- quotas


def principals(count):
    return {"AWS": [f"{number:012}" for number in range(count)]}


@pytest.mark.parametrize(
    ("fits", "over", "words"),
    [
        (text_of(*[{}] * 20), text_of(*[{}] * 21), "21 statements were found in the submitted policy, max allowed is 20"),
        (
            text_of({"Principal": principals(25)}, {"Principal": principals(25)}),
            text_of({"Principal": principals(25)}, {"Principal": principals(26)}),
            "51 principals were found in the submitted policy, max allowed is 50",
        ),
        (
            text_of({"Action": ["sqs:SendMessage"] * 7}),
            text_of({"Action": ["sqs:SendMessage"] * 8}),
            "8 actions were found in a statement from the submitted policy, max allowed is 7",
        ),
        (
            text_of({"Condition": {"StringEquals": {f"a:{number}": "x" for number in range(10)}}}),
            text_of({"Condition": {"StringEquals": {f"a:{number}": "x" for number in range(11)}}}),
            "11 conditions were found in a statement from the submitted policy, max allowed is 10",
        ),
        (text_of({}, Id="i" * 8000), text_of({}, Id="i" * 8192), "Submitted policy is over max allowed size."),
        (text_of({}, Id="i" * 8000), '{"Id":"' + "é" * 4097 + '"}', "Submitted policy is over max allowed size."),
    ],
)
def test_quotas(fits, over, words):
    check_policy(fits)
    with pytest.raises(SqsError) as caught:
        check_policy(over)
    assert (caught.value.code.shape, caught.value.text) == ("OverLimit", words)


# ---- what a client sees


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture(params=["json", "query"])
def sqs(bench, request):
    return client(bench, request.param)


def error_of(call, **words):
    with pytest.raises(ClientError) as caught:
        call(**words)
    error = caught.value.response
    return error["Error"]["Code"], error["Error"]["Message"], error["ResponseMetadata"]["HTTPStatusCode"]


def test_refusals_as_aws_says_them(sqs):
    url = sqs.create_queue(QueueName="q")["QueueUrl"]
    bad = ("InvalidAttributeValue", "Invalid value for the parameter Policy.", 400)
    text = text_of({"Conditions": {}})
    assert error_of(sqs.set_queue_attributes, QueueUrl=url, Attributes={"Policy": text}) == bad
    assert error_of(sqs.create_queue, QueueName="other", Attributes={"Policy": text}) == bad
    over = ("OverLimit", "21 statements were found in the submitted policy, max allowed is 20", 403)
    assert error_of(sqs.set_queue_attributes, QueueUrl=url, Attributes={"Policy": text_of(*[{}] * 21)}) == over
    for number in range(20):
        sqs.add_permission(QueueUrl=url, Label=f"l{number}", AWSAccountIds=["111111111111"], Actions=["SendMessage"])
    assert error_of(sqs.add_permission, QueueUrl=url, Label="l20", AWSAccountIds=["111111111111"], Actions=["SendMessage"]) == over


def test_a_policy_of_before_is_still_read(bench, sqs):
    """What would be refused now is shown, can be taken apart, and is replaced; adding to it is refused until it is right."""
    url = sqs.create_queue(QueueName="q")["QueueUrl"]
    kept = text_of({"Sid": "old", "Conditions": {}}, {"Sid": "right"})
    description = bench.port.queues["public/default", "q"].description
    object.__setattr__(description, "access_policy", kept)
    assert sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])["Attributes"]["Policy"] == kept
    words = {"QueueUrl": url, "AWSAccountIds": ["111111111111"], "Actions": ["SendMessage"]}
    assert error_of(sqs.add_permission, Label="new", **words)[0] == "InvalidAttributeValue"
    sqs.remove_permission(QueueUrl=url, Label="old")
    sqs.add_permission(Label="new", **words)


def test_what_is_said_twice_is_not_written_again(bench, sqs):
    """Writing the policy again would make one of the two meanings of it."""
    url = sqs.create_queue(QueueName="q")["QueueUrl"]
    twice = (
        '{"Statement":[{"Sid":"a","Effect":"Deny","Effect":"Allow","Principal":"*","Action":"*"},{"Sid":"b","Effect":"Allow","Principal":"*","Action":"*"}]}'
    )
    object.__setattr__(bench.port.queues["public/default", "q"].description, "access_policy", twice)
    assert error_of(sqs.remove_permission, QueueUrl=url, Label="b")[0] == "InvalidAttributeValue"


# ---- patterns, and what they cost


@given(st.text("ab*?", max_size=12), st.text("ab", max_size=12))
@settings(deadline=None)
def test_patterns(pattern, text):
    assert Pattern(pattern).matches(text, Steps(10_000)) == fnmatch.fnmatchcase(text, pattern)


class CountedSteps(Steps):
    """Counts what all evaluations take."""

    taken = 0

    def take(self, count):
        CountedSteps.taken += count
        super().take(count)


def long_condition(pattern, count, operator="StringLike"):
    return {"Condition": {operator: {"aws:UserAgent": [pattern] * count}}}


@pytest.mark.parametrize(
    "pattern",
    [pytest.param("*a" * 2000, marks=pytest.mark.once), "*?a" * 100 + "b", "?a" * 100 + "*b", "*" + "a?" * 100 + "b", "*" * 3000 + "b", "a" * 200 + "?*b*"],
)
@pytest.mark.parametrize("agent", ["a" * 256, "a" * 65_000, "a" * 255 + "c"])
def test_an_evaluation_has_a_bound(pattern, agent, monkeypatch):
    monkeypatch.setattr("entrepot.protocols.sqs.policy.Steps", CountedSteps)
    context = Context("SendMessage", QUEUE, "", "", {"aws:useragent": agent})
    for count in (1, 50):
        CountedSteps.taken = 0
        assert said(text_of(long_condition(pattern, count)), context) != "Allow"
        assert said(text_of(long_condition(pattern, count, "StringNotLike"), long_condition(pattern, count) | {"Effect": "Deny"}), context) is not None
        assert CountedSteps.taken <= 2 * (STEPS_MAX + 1000)


def test_a_value_that_is_too_long_is_not_understood():
    context = Context("SendMessage", QUEUE, "", "", {"aws:useragent": "a" * 257})
    for operator in ("StringLike", "StringEquals", "StringNotEquals", "StringNotLikeIfExists"):
        assert said(text_of(long_condition("*", 1, operator)), context) is None
        assert said(text_of({}, long_condition("*", 1, operator) | {"Effect": "Deny"}), context) == "Deny"


def test_one_policy_a_turn_is_asked(bench):
    """However many requests wait on a connection, and whatever their queues' policies cost, others have their turn in between."""
    sqs = client(bench)
    for number in range(8):
        sqs.create_queue(QueueName=f"q{number}", Attributes={"Policy": text_of({"Effect": "Deny", "Action": "sqs:SendMessage"})})
    asked = []
    decide = bench.callers.decide
    bench.callers.decide = lambda *words: asked.append(words) or decide(*words)
    data = b"".join(json_request("SendMessage", b'{"QueueUrl":"/000000000000/q%d","MessageBody":"x"}' % number) for number in range(8))
    session = bench.session().session
    session.get_buffer(-1)[: len(data)] = data
    session.buffer_updated(len(data))
    for turn in range(1, 9):
        assert len(asked) == turn
        if bench.later:
            bench.later.pop(0)()
    assert [status for status, _, _ in parse_answers(b"".join(session.output.take()))] == [403] * 8


def test_a_policy_that_costs_too_much_denies():
    with pytest.raises(Exhausted):
        Pattern("*?a?b*").matches("xa" * 100, Steps(5))
    text = text_of({}, *[long_condition("*?a?b*", 400)] * 3)
    assert said(text, Context("SendMessage", QUEUE, "", "", {"aws:useragent": "a" * 256})) == "Allow"  # the first allows, and the others are not asked
    text = text_of(*[long_condition("*?a?b*", 400)] * 3, {})
    assert said(text, Context("SendMessage", QUEUE, "", "", {"aws:useragent": "a" * 256})) == "Deny"
