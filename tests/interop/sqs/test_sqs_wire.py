"""What is on the wire in both protocols, by raw requests: envelopes, errors and their two codes, request ids, paths, hosts, methods, framing."""

from __future__ import annotations

import json
import re
import socket
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqs_endpoint import Queue
from sqs_wire import SIGNED, json_call, query_call, send

Queues = Callable[..., Queue]

NAMESPACE = "http://queue.amazonaws.com/doc/2012-11-05/"
TAG = f"{{{NAMESPACE}}}"


@pytest.fixture
def queue(queues: Queues, json_sqs: Any) -> Queue:
    return queues(json_sqs)


def found(answer: bytes, *path: str) -> str:
    """The text of an element of an XML answer."""
    element = ET.fromstring(answer).find("/".join(TAG + part for part in path))
    assert element is not None, answer
    return element.text or ""


def test_json(endpoint: str, queue: Queue) -> None:
    answer = json_call(endpoint, "SendMessage", {"QueueUrl": queue.url, "MessageBody": "x"})
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/x-amz-json-1.0"
    assert answer.headers["x-amzn-RequestId"]
    assert set(answer.json()) == {"MD5OfMessageBody", "MessageId"}


def test_query(endpoint: str, queue: Queue) -> None:
    answer = query_call(endpoint, {"Action": "SendMessage", "Version": "2012-11-05", "QueueUrl": queue.url, "MessageBody": "a&b"})
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/xml")
    assert ET.fromstring(answer.body).tag == f"{TAG}SendMessageResponse"
    assert re.fullmatch(r"[0-9a-f-]{36}", found(answer.body, "SendMessageResult", "MessageId"))
    assert found(answer.body, "ResponseMetadata", "RequestId")


def test_answers_without_content(endpoint: str, queue: Queue) -> None:
    answer = json_call(endpoint, "PurgeQueue", {"QueueUrl": queue.url})
    assert (answer.status, answer.body) in ((200, b""), (200, b"{}"))
    received = json_call(endpoint, "ReceiveMessage", {"QueueUrl": queue.url})
    assert not received.json().get("Messages")
    answer = query_call(endpoint, {"Action": "SetQueueAttributes", "QueueUrl": queue.url, "Attribute.1.Name": "DelaySeconds", "Attribute.1.Value": "1"})
    assert answer.status == 200
    assert ET.fromstring(answer.body).tag == f"{TAG}SetQueueAttributesResponse"
    assert queue.attribute("DelaySeconds") == "1"


@pytest.mark.parametrize(
    ("action", "words", "name", "query_code"),
    [
        ("GetQueueUrl", {"QueueName": "nobody"}, "QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue"),
        ("DeleteMessage", {"ReceiptHandle": "garbage"}, "ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid"),
        ("SendMessageBatch", {"Entries": []}, "EmptyBatchRequest", "AWS.SimpleQueueService.EmptyBatchRequest"),
    ],
)
@pytest.mark.usefixtures("as_documented")
def test_errors_in_json(endpoint: str, queue: Queue, action: str, words: dict[str, object], name: str, query_code: str) -> None:
    """The service's own name of the error, and the Query protocol's in a header, for SDKs that still look for that."""
    answer = json_call(endpoint, action, {"QueueUrl": queue.url, **words} if action != "GetQueueUrl" else words)
    assert 400 <= answer.status < 500
    assert answer.json()["__type"] == f"com.amazonaws.sqs#{name}"
    assert answer.json()["message"]
    assert answer.headers["x-amzn-query-error"] == f"{query_code};Sender"
    assert answer.headers["x-amzn-RequestId"]


def test_errors_in_xml(endpoint: str) -> None:
    answer = query_call(endpoint, {"Action": "GetQueueUrl", "QueueName": "nobody"})
    assert answer.status == 400
    assert ET.fromstring(answer.body).tag == f"{TAG}ErrorResponse"
    assert found(answer.body, "Error", "Type") == "Sender"
    assert found(answer.body, "Error", "Code") == "AWS.SimpleQueueService.NonExistentQueue"
    assert found(answer.body, "Error", "Message")
    assert found(answer.body, "RequestId")


JSON_WANTED = {"Accept": "application/json"}


@pytest.mark.usefixtures("as_documented")
def test_the_query_protocol_in_json(endpoint: str, queue: Queue) -> None:
    path = urlsplit(queue.url).path
    queue.send("x", MessageAttributes={"a": {"DataType": "String", "StringValue": "1"}})
    answer = query_call(endpoint, {"Action": "GetQueueAttributes", "AttributeName.1": "QueueArn"}, path, "GET", JSON_WANTED)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    said = answer.json()["GetQueueAttributesResponse"]
    assert said["GetQueueAttributesResult"] == {"Attributes": [{"Name": "QueueArn", "Value": queue.arn}]}
    assert said["ResponseMetadata"]["RequestId"] == answer.headers["x-amzn-RequestId"]
    [message] = query_call(endpoint, {"Action": "ReceiveMessage", "WaitTimeSeconds": "5", "MessageAttributeName.1": "All"}, path, headers=JSON_WANTED).json()[
        "ReceiveMessageResponse"
    ]["ReceiveMessageResult"]["messages"]
    assert message["Body"] == "x"
    assert message["MessageAttributes"][0]["Name"] == "a"
    assert message["MessageAttributes"][0]["Value"]["StringValue"] == "1"
    for words in ({"Action": "PurgeQueue"}, {"Action": "ListQueueTags"}):
        assert list(query_call(endpoint, words, path, headers=JSON_WANTED).json()) == [f"{words['Action']}Response"]
    failed = query_call(endpoint, {"Action": "ListQueues"}, path, "GET", JSON_WANTED)
    assert (failed.status, failed.json()["Error"]["Code"]) == (400, "InvalidAction")
    assert failed.json()["Error"]["Message"] == "The action ListQueues is not valid for this endpoint."
    assert query_call(endpoint, {"Action": "ListQueues"}, headers=JSON_WANTED).json()["ListQueuesResponse"]["ListQueuesResult"]["queueUrls"]


@pytest.mark.usefixtures("as_documented")
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_a_queue_s_url_is_no_address_for(endpoint: str, queue: Queue, method: str) -> None:
    path = urlsplit(queue.url).path
    for words in ({"Action": "ListQueues"}, {"Action": "CreateQueue", "QueueName": "another"}):
        answer = query_call(endpoint, words, path, method)
        assert (answer.status, found(answer.body, "Error", "Code")) == (400, "InvalidAction")
        assert found(answer.body, "Error", "Message") == f"The action {words['Action']} is not valid for this endpoint."
    assert query_call(endpoint, {"Action": "GetQueueUrl", "QueueName": queue.name}, path, method).status == 200
    assert json_call(endpoint, "ListQueues", {}, path=path).status == 200  # as PHP's SDK sends it


@pytest.mark.usefixtures("as_documented")
@pytest.mark.parametrize("headers", [{}, JSON_WANTED])
def test_a_queue_s_url_without_an_action(endpoint: str, queue: Queue, headers: dict[str, str]) -> None:
    for method in ("GET", "POST"):
        answer = query_call(endpoint, {"Version": "2012-11-05"}, urlsplit(queue.url).path, method, headers)
        assert (answer.status, answer.headers["Content-Type"]) == (404, "text/xml")
        assert ET.fromstring(answer.body).tag == "UnknownOperationException"


@pytest.mark.usefixtures("as_documented")
def test_an_action_that_there_is_not(endpoint: str) -> None:
    assert json_call(endpoint, "Nonsense", {}).status in (400, 404)
    answer = query_call(endpoint, {"Action": "Nonsense"})
    assert answer.status == 400
    assert found(answer.body, "Error", "Code") == "InvalidAction"
    assert query_call(endpoint, {"Version": "2012-11-05"}).status in (400, 404)


@pytest.mark.usefixtures("as_documented")
@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"x"', b"\xff\xfe", b'{"QueueUrl": 5}', b'{"QueueUrl": null}', b"{}", b'{"QueueUrl": {"a": []}}', b"[" * 100_000]
)
def test_bodies_that_make_no_sense(endpoint: str, body: bytes) -> None:
    answer = json_call(endpoint, "ReceiveMessage", body)
    assert answer.status == 400
    assert answer.json()["__type"]


@pytest.mark.usefixtures("as_documented")
@pytest.mark.parametrize(
    "words",
    [
        {"QueueUrl": 1},
        {"MaxNumberOfMessages": "many"},
        {"MaxNumberOfMessages": 1.5},
        {"AttributeNames": "All"},
        {"MessageAttributeNames": [1]},
        {"MaxNumberOfMessages": 10**18},
    ],
)
def test_values_of_the_wrong_type(endpoint: str, queue: Queue, words: dict[str, object]) -> None:
    answer = json_call(endpoint, "ReceiveMessage", {"QueueUrl": queue.url, **words})
    assert answer.status == 400


def test_members_that_there_are_not_are_passed_over(endpoint: str, queue: Queue) -> None:
    assert json_call(endpoint, "SendMessage", {"QueueUrl": queue.url, "MessageBody": "x", "Nonsense": [1, {"a": None}]}).status == 200


def test_the_queue_in_the_path(endpoint: str, queue: Queue) -> None:
    """As clients of the Query protocol call: the form says no QueueUrl."""
    path = urlsplit(queue.url).path
    assert query_call(endpoint, {"Action": "SendMessage", "MessageBody": "by path"}, path).status == 200
    answer = query_call(endpoint, {"Action": "ReceiveMessage", "WaitTimeSeconds": "5"}, path, "GET")
    assert found(answer.body, "ReceiveMessageResult", "Message", "Body") == "by path"


def test_the_queue_url_s_host_does_not_matter(endpoint: str, queue: Queue) -> None:
    path = urlsplit(queue.url).path
    answer = json_call(endpoint, "SendMessage", {"QueueUrl": f"https://somewhere.else:99{path}", "MessageBody": "x"})
    assert answer.status == 200
    assert [message["Body"] for message in queue.take(1)] == ["x"]


@pytest.mark.usefixtures("as_documented")
def test_urls_carry_the_host_that_was_called(endpoint: str, queue: Queue) -> None:
    port = urlsplit(endpoint).port
    for host in (f"localhost:{port}", "broker.example:8080", "broker.example"):
        answer = json_call(endpoint, "GetQueueUrl", {"QueueName": queue.name}, {"Host": host})
        assert answer.json()["QueueUrl"] == f"http://{host}{urlsplit(queue.url).path}"


def test_lists_in_both_spellings_of_the_query_protocol(endpoint: str, queue: Queue) -> None:
    """Flattened, as the service takes them, numbered from 1."""
    form = {"Action": "SendMessageBatch", "QueueUrl": queue.url}
    for number in (1, 2, 3):
        form |= {f"SendMessageBatchRequestEntry.{number}.Id": f"i{number}", f"SendMessageBatchRequestEntry.{number}.MessageBody": f"b{number}"}
    form |= {
        "SendMessageBatchRequestEntry.2.MessageAttribute.1.Name": "a",
        "SendMessageBatchRequestEntry.2.MessageAttribute.1.Value.DataType": "Binary",
        "SendMessageBatchRequestEntry.2.MessageAttribute.1.Value.BinaryValue": "AAEC",
    }
    answer = query_call(endpoint, form)
    assert len(ET.fromstring(answer.body).findall(f".//{TAG}SendMessageBatchResultEntry")) == 3
    messages = {message["Body"]: message for message in queue.take(3, MessageAttributeNames=["All"])}
    assert messages["b2"]["MessageAttributes"] == {"a": {"DataType": "Binary", "BinaryValue": b"\x00\x01\x02"}}


@pytest.mark.usefixtures("as_documented")
def test_many_requests_on_one_connection(endpoint: str, queue: Queue) -> None:
    """Pipelined: answers come in order, also behind one that waits."""
    parts = urlsplit(endpoint)
    requests = []
    for number in range(20):
        body = json.dumps({"QueueUrl": queue.url, "MessageBody": f"{number}"}).encode()
        lines = [f"{name}: {value}" for name, value in SIGNED.items()]
        head = "\r\n".join(
            [
                "POST / HTTP/1.1",
                f"Host: {parts.netloc}",
                "Content-Type: application/x-amz-json-1.0",
                "X-Amz-Target: AmazonSQS.SendMessage",
                f"Content-Length: {len(body)}",
                *lines,
            ]
        )
        requests.append(head.encode() + b"\r\n\r\n" + body)
    requests[-1] = requests[-1].replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
    with socket.create_connection((parts.hostname or "", parts.port or 80), 30) as connection:
        connection.sendall(b"".join(requests))
        answered = b""
        while part := connection.recv(65536):
            answered += part
    assert answered.count(b"HTTP/1.1 200") == 20
    assert len(re.findall(rb'"MessageId"', answered)) == 20
    assert len(queue.take(20)) == 20


@pytest.mark.usefixtures("as_documented")
def test_a_body_in_chunks(endpoint: str, queue: Queue) -> None:
    parts = urlsplit(endpoint)
    body = json.dumps({"QueueUrl": queue.url, "MessageBody": "in chunks"}).encode()
    lines = "".join(f"{name}: {value}\r\n" for name, value in SIGNED.items())
    head = (
        f"POST / HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/x-amz-json-1.0\r\nX-Amz-Target: AmazonSQS.SendMessage\r\n"
        f"{lines}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    )
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(body[first : first + 7]), body[first : first + 7]) for first in range(0, len(body), 7))
    with socket.create_connection((parts.hostname or "", parts.port or 80), 30) as connection:
        for octet in head.encode() + chunks + b"0\r\n\r\n":
            connection.sendall(bytes([octet]))
        answered = b""
        while part := connection.recv(65536):
            answered += part
    assert answered.startswith(b"HTTP/1.1 200")
    assert [message["Body"] for message in queue.take(1)] == ["in chunks"]


@pytest.mark.usefixtures("as_documented")
def test_expect_continue(endpoint: str, queue: Queue) -> None:
    """Some SDKs ask before they send a large body."""
    parts = urlsplit(endpoint)
    body = json.dumps({"QueueUrl": queue.url, "MessageBody": "x" * 10_000}).encode()
    lines = "".join(f"{name}: {value}\r\n" for name, value in SIGNED.items())
    head = (
        f"POST / HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/x-amz-json-1.0\r\nX-Amz-Target: AmazonSQS.SendMessage\r\n"
        f"{lines}Content-Length: {len(body)}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection((parts.hostname or "", parts.port or 80), 30) as connection:
        connection.sendall(head.encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 100")
        connection.sendall(body)
        answered = b""
        while part := connection.recv(65536):
            answered += part
    assert answered.startswith(b"HTTP/1.1 200")


@pytest.mark.usefixtures("as_documented")
@pytest.mark.parametrize(
    "octets",
    [
        b"\x00" * 64,
        b"GET\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST / HTTP/1.1\r\n" + b"X: y\r\n" * 100_000,
        b"POST /" + b"a" * 1_000_000 + b" HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_what_is_not_http(endpoint: str, queue: Queue, octets: bytes) -> None:
    """Its sender gets an error or is thrown out; the next one is served."""
    parts = urlsplit(endpoint)
    answered = b""
    with socket.create_connection((parts.hostname or "", parts.port or 80), 30) as connection:
        try:
            connection.sendall(octets)
            connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(65536):
                answered += part
        except OSError:
            pass  # thrown out while it was still sending
    assert not answered or answered.startswith(b"HTTP/1.1 4")
    assert json_call(endpoint, "SendMessage", {"QueueUrl": queue.url, "MessageBody": "x"}).status == 200


@pytest.mark.usefixtures("as_documented")
def test_a_script_of_a_page(endpoint: str, queue: Queue) -> None:
    """What a browser sends for the JavaScript SDK: a preflight, and then the request, whose answer it lets the script read."""
    names = "amz-sdk-invocation-id,amz-sdk-request,authorization,content-type,x-amz-date,x-amz-target,x-amz-user-agent,x-amzn-query-mode"
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": names}
    for origin, allowed in (("http://localhost:3000", True), ("http://evil.test", False)):
        answer = send(endpoint, "OPTIONS", "/", {"Origin": origin, **asked})
        assert (answer.status == 200, answer.headers["Access-Control-Allow-Origin"]) == (allowed, origin if allowed else None)
        assert answer.headers["Access-Control-Allow-Headers"] == (names if allowed else None)
        words = {"QueueUrl": queue.url, "MessageBody": origin}
        answer = json_call(endpoint, "SendMessage", words, {"Origin": origin, "Sec-Fetch-Site": "cross-site"})
        assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == ((200, origin) if allowed else (403, None))
    assert queue.one()["Body"] == "http://localhost:3000"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
@pytest.mark.usefixtures("as_documented")
def test_methods_that_there_are_not(endpoint: str, method: str) -> None:
    assert 400 <= send(endpoint, method, "/", {}, b"").status < 500
