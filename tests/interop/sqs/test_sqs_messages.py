"""Messages with boto3, in both wire protocols: bodies, attributes and their checksums, what is refused, batches and their partial failures, sizes."""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from sqs_endpoint import (
    BAD_ENTRY_ID,
    BAD_HANDLE,
    BAD_VALUE,
    BATCH_TOO_LONG,
    EMPTY_BATCH,
    MISSING,
    NOT_DISTINCT,
    TOO_MANY,
    Queue,
    bodies,
    client,
    refused,
)

Queues = Callable[..., Queue]

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TEXT = {"DataType": "String", "StringValue": "text ü"}
NUMBER = {"DataType": "Number.int", "StringValue": "-12.50"}
BINARY = {"DataType": "Binary.png", "BinaryValue": bytes(range(256))}
MIB = 1 << 20


def digest(attributes: dict[str, dict[str, Any]]) -> str:
    """MD5 of message attributes, as "Amazon SQS message metadata" of the Developer Guide computes it."""
    parts = bytearray()
    for name in sorted(attributes):
        value = attributes[name]
        for text in (name, value["DataType"]):
            parts += struct.pack(">I", len(text.encode())) + text.encode()
        octets = value["BinaryValue"] if "BinaryValue" in value else value["StringValue"].encode()
        parts += bytes([2 if "BinaryValue" in value else 1]) + struct.pack(">I", len(octets)) + octets
    return hashlib.md5(parts, usedforsecurity=False).hexdigest()


@pytest.mark.parametrize(
    "body", ["x", "ü€😀", "<a>&amp;\"'</a>", '{"json": [1, "\\u00e9"]}', " spaces ", "line\nfeed\tand\rreturn", "\ud7ff\ue000\ufffd", "0" * 70_000]
)
def test_bodies(queue: Queue, body: str) -> None:
    sent = queue.send(body)
    assert sent["MD5OfMessageBody"] == hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()
    assert UUID.fullmatch(sent["MessageId"])
    message = queue.one()
    assert (message["Body"], message["MessageId"], message["MD5OfBody"]) == (body, sent["MessageId"], sent["MD5OfMessageBody"])


@pytest.mark.parametrize("character", ["\x00", "\x0b", "\x1f", "\ufffe", "\uffff"])
def test_characters_that_are_not_allowed(json_sqs: Any, queues: Queues, character: str) -> None:
    queue = queues(json_sqs)
    with refused("InvalidMessageContents"):
        queue.send(f"a{character}b")
    with pytest.raises(ClientError, match="Invalid(MessageContents|ParameterValue)"):
        queue.send("x", MessageAttributes={"a": {"DataType": "String", "StringValue": f"a{character}"}})


def test_an_empty_body(queue: Queue) -> None:
    with refused(MISSING, "MessageBody"):
        queue.send("")


def test_attributes(queue: Queue) -> None:
    attributes = {"text": TEXT, "number": NUMBER, "binary": BINARY, "Type_of-it.1": {"DataType": "String.own", "StringValue": "1"}}
    sent = queue.send("x", MessageAttributes=attributes)
    assert sent["MD5OfMessageAttributes"] == digest(attributes)
    message = queue.one(MessageAttributeNames=["All"])
    assert message["MessageAttributes"] == attributes
    assert message["MD5OfMessageAttributes"] == digest(attributes)


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        (["All"], {"one", "two.a", "two.b", "three"}),
        ([".*"], {"one", "two.a", "two.b", "three"}),
        (["one"], {"one"}),
        (["two.*"], {"two.a", "two.b"}),
        (["one", "two.b", "nobody"], {"one", "two.b"}),
        (["nobody"], set()),
        ([], set()),
    ],
)
def test_only_the_attributes_that_are_asked_for(queue: Queue, asked: list[str], given: set[str]) -> None:
    attributes = dict.fromkeys(("one", "two.a", "two.b", "three"), TEXT)
    queue.send("x", MessageAttributes=attributes)
    message = queue.one(MessageAttributeNames=asked)
    assert set(message.get("MessageAttributes") or {}) == given
    if given:
        assert message["MD5OfMessageAttributes"] == digest(dict.fromkeys(given, TEXT))
    else:
        assert "MD5OfMessageAttributes" not in message


@pytest.mark.parametrize(
    "attributes",
    [
        {"": TEXT},
        {"a" * 257: TEXT},
        {"a b": TEXT},
        {".a": TEXT},
        {"a.": TEXT},
        {"a..b": TEXT},
        {"a\u00a7b": TEXT},
        {"a?b": TEXT},
        {"a": {"DataType": "String", "StringValue": "x\x08,\x0b"}},
        {"a": {"DataType": "Number", "StringValue": "1\uffff"}},
        {"AWS.a": TEXT},
        {"amazon.a": TEXT},
        {"a": {"DataType": "", "StringValue": "x"}},
        {"a": {"DataType": "Integer", "StringValue": "1"}},
        {"a": {"DataType": "String", "StringValue": ""}},
        {"a": {"DataType": "Number", "StringValue": "one"}},
        {"a": {"DataType": "Number", "StringValue": ""}},
        {"a": {"DataType": "Binary", "BinaryValue": b""}},
        {"a": {"DataType": "String", "BinaryValue": b"x"}},
        {"a": {"DataType": "String." + "x" * 256, "StringValue": "x"}},
        {f"a{number}": TEXT for number in range(11)},
    ],
    ids=lambda attributes: ",".join(f"{name[:12]}:{value['DataType'][:12]}" for name, value in list(attributes.items())[:2]),
)
@pytest.mark.usefixtures("as_documented")
def test_attributes_that_are_refused(queue: Queue, attributes: dict[str, dict[str, Any]]) -> None:
    with refused(BAD_VALUE):
        queue.send("x", MessageAttributes=attributes)


@pytest.mark.usefixtures("as_documented")
def test_attribute_names_in_other_scripts(queue: Queue) -> None:
    given = {"attr.1\u00f8\u00df\u00e4": TEXT, "\u65e5\u672c-\u8a9e": TEXT, "\U00020000_\u0663": TEXT}
    queue.send("x", MessageAttributes=given)
    message = queue.one(MessageAttributeNames=["All"], VisibilityTimeout=0)
    assert message["MessageAttributes"] == given
    assert message["MD5OfMessageAttributes"] == digest(given)
    assert set(queue.one(MessageAttributeNames=["\u65e5.*"])["MessageAttributes"]) == {"\u65e5\u672c-\u8a9e"}


TRACE = "Root=1-3152b799-8954dae64eda91bc9a23a7e8;Parent=7fa8c0f79203be72;Sampled=1"


@pytest.mark.usefixtures("as_documented")
@pytest.mark.parametrize("header", [TRACE, "x\xe9"])
def test_the_trace_header_of_a_request(endpoint: str, queues: Queues, header: str) -> None:
    """What X-Ray's SDK adds to a request is the message's, all of a batch's, unless one has its own; what is no text of ASCII is passed over."""
    sqs = client(endpoint)
    queue = queues(sqs)
    own = {"AWSTraceHeader": {"DataType": "String", "StringValue": "own"}}

    def add(request: Any, **_: Any) -> None:
        request.headers["X-Amzn-Trace-Id"] = header.encode("latin-1")

    for action in ("SendMessage", "SendMessageBatch"):
        sqs.meta.events.register(f"before-send.sqs.{action}", add)
    sent = queue.send("a")
    assert "MD5OfMessageSystemAttributes" not in sent
    queue.send("b", MessageSystemAttributes=own)
    queue.send_batch({"MessageBody": "c"}, {"MessageBody": "d", "MessageSystemAttributes": own})
    messages = queue.take(4, AttributeNames=["AWSTraceHeader"])
    expected = TRACE if header == TRACE else None
    assert {message["Body"]: message.get("Attributes", {}).get("AWSTraceHeader") for message in messages} == {
        "a": expected,
        "b": "own",
        "c": expected,
        "d": "own",
    }


@pytest.mark.usefixtures("as_documented")
def test_words_of_errors(queue: Queue) -> None:
    """As AWS was recorded to say them."""
    with refused(BAD_HANDLE, 'The input receipt handle "garbage" is not a valid receipt handle.', status=404):
        queue.sqs.delete_message(QueueUrl=queue.url, ReceiptHandle="garbage")
    with refused(BAD_HANDLE, "The input receipt handle is invalid.", status=404):
        queue.sqs.change_message_visibility(QueueUrl=queue.url, ReceiptHandle="garbage", VisibilityTimeout=1)
    queue.set(MaximumMessageSize=1024)
    failed = queue.send_batch({"MessageBody": "x"}, {"MessageBody": "x" * 1025})["Failed"]
    assert [(entry["Code"], entry["Message"], entry["SenderFault"]) for entry in failed] == [
        (BAD_VALUE, "One or more parameters cannot be validated. Reason: Message must be shorter than 1024 bytes.", True)
    ]


def test_system_attributes(json_sqs: Any, queues: Queues) -> None:
    queue = queues(json_sqs)
    trace = {"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"}}
    sent = queue.send("x", MessageSystemAttributes=trace)
    assert sent["MD5OfMessageSystemAttributes"] == digest(trace)
    assert "MD5OfMessageAttributes" not in sent
    message = queue.one(MessageSystemAttributeNames=["All"])
    assert message["Attributes"]["AWSTraceHeader"] == trace["AWSTraceHeader"]["StringValue"]
    assert "MD5OfMessageAttributes" not in message


@pytest.mark.usefixtures("as_documented")
def test_system_attributes_that_there_are_not(json_sqs: Any, queues: Queues) -> None:
    queue = queues(json_sqs)
    with refused(BAD_VALUE):
        queue.send("x", MessageSystemAttributes={"Nonsense": {"DataType": "String", "StringValue": "x"}})


def test_what_the_service_says_of_a_message(queue: Queue) -> None:
    queue.send("x")
    first = queue.one(AttributeNames=["All"], VisibilityTimeout=0)["Attributes"]
    again = queue.one(AttributeNames=["All"])["Attributes"]
    assert (first["ApproximateReceiveCount"], again["ApproximateReceiveCount"]) == ("1", "2")
    assert first["SentTimestamp"] == again["SentTimestamp"]
    assert first["ApproximateFirstReceiveTimestamp"] == again["ApproximateFirstReceiveTimestamp"]
    assert 1_700_000_000_000 < int(first["SentTimestamp"]) <= int(first["ApproximateFirstReceiveTimestamp"])
    assert first["SenderId"]
    queue.send("y")
    assert set(queue.one(AttributeNames=["SentTimestamp"])["Attributes"]) == {"SentTimestamp"}
    queue.send("z")
    assert "Attributes" not in queue.one()


def test_system_attributes_by_their_newer_name(json_sqs: Any, queues: Queues) -> None:
    queue = queues(json_sqs)
    queue.send("x")
    assert set(queue.one(MessageSystemAttributeNames=["ApproximateReceiveCount"])["Attributes"]) == {"ApproximateReceiveCount"}


def test_a_batch(queue: Queue) -> None:
    entries = [{"Id": f"id-{number}", "MessageBody": f"body {number}", "MessageAttributes": {"n": NUMBER}} for number in range(10)]
    answer = queue.send_batch(*entries)
    assert not answer.get("Failed")
    assert [each["Id"] for each in answer["Successful"]] == [entry["Id"] for entry in entries]
    assert {each["MD5OfMessageAttributes"] for each in answer["Successful"]} == {digest({"n": NUMBER})}
    assert len({each["MessageId"] for each in answer["Successful"]}) == 10
    messages = queue.take(10, MessageAttributeNames=["All"])
    assert sorted(bodies(messages)) == [f"body {number}" for number in range(10)]
    assert {message["MessageId"] for message in messages} == {each["MessageId"] for each in answer["Successful"]}
    ended = queue.delete_batch(messages)
    assert [each["Id"] for each in ended["Successful"]] == [str(number) for number in range(10)]
    assert not ended.get("Failed")
    queue.wait_counts(0, 0, 0)


@pytest.mark.usefixtures("as_documented")
def test_a_batch_of_which_some_fail(sqs: Any, queues: Queues) -> None:
    queue = queues(sqs, MaximumMessageSize=1024)
    answer = queue.send_batch({"MessageBody": "good"}, {"MessageBody": "x" * 1025}, {"MessageBody": "late", "DelaySeconds": 901}, {"MessageBody": "good too"})
    assert [each["Id"] for each in answer["Successful"]] == ["0", "3"]
    failed = {each["Id"]: each for each in answer["Failed"]}
    assert set(failed) == {"1", "2"}
    assert {each["SenderFault"] for each in failed.values()} == {True}
    assert failed["1"]["Code"] == BAD_VALUE
    assert "1024" in failed["1"]["Message"]
    assert sorted(bodies(queue.take(2))) == ["good", "good too"]


@pytest.mark.usefixtures("as_documented")
def test_handles_of_which_some_are_wrong(queue: Queue) -> None:
    queue.send("a", "b")
    messages = queue.take(2)
    entries = [{"Id": "ok", "ReceiptHandle": messages[0]["ReceiptHandle"]}, {"Id": "bad", "ReceiptHandle": "garbage"}]
    answer = queue.sqs.delete_message_batch(QueueUrl=queue.url, Entries=entries)
    assert [each["Id"] for each in answer["Successful"]] == ["ok"]
    ((failed),) = answer["Failed"]
    assert (failed["Id"], failed["Code"], failed["SenderFault"]) == ("bad", BAD_HANDLE, True)
    entries = [
        {"Id": "ok", "ReceiptHandle": messages[1]["ReceiptHandle"], "VisibilityTimeout": 0},
        {"Id": "bad", "ReceiptHandle": "garbage", "VisibilityTimeout": 0},
    ]
    answer = queue.sqs.change_message_visibility_batch(QueueUrl=queue.url, Entries=entries)
    assert [each["Id"] for each in answer["Successful"]] == ["ok"]
    assert [each["Code"] for each in answer["Failed"]] == [BAD_HANDLE]
    assert bodies([queue.one()]) == [messages[1]["Body"]]


@pytest.mark.usefixtures("as_documented")
def test_batches_that_are_refused_as_a_whole(sqs: Any, queue: Queue) -> None:
    good = {"MessageBody": "x"}
    with refused(TOO_MANY, "You have sent 11."):
        queue.send_batch(*[good] * 11)
    with refused(NOT_DISTINCT):
        queue.send_batch({"Id": "a", **good}, {"Id": "a", **good})
    for wrong in ("", "a" * 81, "a b", "a:b", "é"):
        with refused(BAD_ENTRY_ID):
            queue.send_batch({"Id": wrong, **good})
    with refused(EMPTY_BATCH):
        sqs.send_message_batch(QueueUrl=queue.url, Entries=[])
    with refused(EMPTY_BATCH):
        sqs.delete_message_batch(QueueUrl=queue.url, Entries=[])
    with refused(TOO_MANY):
        sqs.delete_message_batch(QueueUrl=queue.url, Entries=[{"Id": str(number), "ReceiptHandle": "x"} for number in range(11)])
    with refused(NOT_DISTINCT):
        sqs.change_message_visibility_batch(QueueUrl=queue.url, Entries=[{"Id": "a", "ReceiptHandle": "x", "VisibilityTimeout": 1}] * 2)
    assert queue.counts() == (0, 0, 0)


def test_the_largest_message(sqs: Any, queue: Queue) -> None:
    attributes = {"name": {"DataType": "String", "StringValue": "value"}}
    body = "x" * (MIB - len("name") - len("String") - len("value"))
    queue.send(body, MessageAttributes=attributes)
    assert queue.one()["Body"] == body
    with refused(BAD_VALUE, "1048576"):
        queue.send(body + "x", MessageAttributes=attributes)
    with refused(BAD_VALUE, "1048576"):
        queue.send("ü" * (MIB // 2) + "x")


def test_the_largest_batch(sqs: Any, queue: Queue) -> None:
    part = "x" * (MIB // 8)
    answer = queue.send_batch(*[{"MessageBody": part}] * 8)
    assert len(answer["Successful"]) == 8
    with refused(BATCH_TOO_LONG, "1048577"):
        queue.send_batch(*[{"MessageBody": part}] * 8, {"MessageBody": "x"})
    got = []
    while len(got) < 8:
        got += queue.take(1)
    assert {len(message["Body"]) for message in got} == {len(part)}


def test_the_queue_s_own_limit(sqs: Any, queues: Queues) -> None:
    queue = queues(sqs, MaximumMessageSize=1024)
    queue.send("x" * 1024)
    with refused(BAD_VALUE, "1024"):
        queue.send("x" * 1025)
    queue.set(MaximumMessageSize=2048)
    queue.send("x" * 2048)


@pytest.mark.parametrize(("count", "wait_s"), [(0, 0), (11, 0), (1, -1), (1, 21)])
@pytest.mark.usefixtures("as_documented")
def test_receives_that_are_refused(queue: Queue, count: int, wait_s: int) -> None:
    with refused(BAD_VALUE):
        queue.receive(count, wait_s)


@pytest.mark.usefixtures("as_documented")
def test_visibility_timeouts_that_are_refused(queue: Queue) -> None:
    queue.send("x")
    with refused(BAD_VALUE):
        queue.receive(VisibilityTimeout=43_201)
    message = queue.one()
    with refused(BAD_VALUE):
        queue.show(message, 43_201)
    with refused(BAD_VALUE):
        queue.show(message, -1)


@pytest.mark.parametrize("delay_s", [-1, 901])
@pytest.mark.usefixtures("as_documented")
def test_delays_that_are_refused(queue: Queue, delay_s: int) -> None:
    with refused(BAD_VALUE):
        queue.send("x", DelaySeconds=delay_s)


def test_many_messages(queue: Queue) -> None:
    sent = {each["MessageId"] for batch in range(30) for each in queue.send_batch(*[{"MessageBody": f"{batch}"}] * 10)["Successful"]}
    assert len(sent) == 300
    queue.wait_counts(300, 0, 0)
    got = queue.take(300)
    assert {message["MessageId"] for message in got} == sent
    assert len({message["ReceiptHandle"] for message in got}) == 300
    queue.wait_counts(0, 300, 0)
    for first in range(0, 300, 10):
        queue.delete_batch(got[first : first + 10])
    queue.wait_counts(0, 0, 0)
