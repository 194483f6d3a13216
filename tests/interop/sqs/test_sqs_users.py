"""Users with access keys: what an unmodified SDK signs is checked, what is not signed is refused, and a queue's policy lets others in."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from sqs_endpoint import DEADLINE_S, REGION, client, new_name, refused

ANN, BOB = "ann", "bob"


def entrepot(*arguments: str) -> str:
    """A command of a user's, before the broker runs."""
    return subprocess.run([sys.executable, "-m", "entrepot", *arguments], check=True, capture_output=True, text=True, timeout=60).stdout


@pytest.fixture(scope="module")
def keys(is_entrepot: bool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, dict[str, str]]]]:
    """(endpoint, credentials by user): ann may do everything, bob what his queues' names begin with his."""
    if not is_entrepot:
        pytest.skip("the endpoint's users are not ours")
    from entrepot.testing import Broker

    data: Path = tmp_path_factory.mktemp("users") / "data"
    where = ("--data", str(data))
    found = {}
    for user in (ANN, BOB):
        entrepot("users", "add", user, "--password", "correct horse", *where)
        key_id, secret = entrepot("users", "keys", "add", user, *where).split()
        found[user] = {"aws_access_key_id": key_id, "aws_secret_access_key": secret}
    entrepot("users", "permit", BOB, "--configure", "bob-.*", "--write", "bob-.*", "--read", "bob-.*", *where)
    with Broker(data, listeners=("sqs", "http")) as broker:
        yield f"http://127.0.0.1:{broker.port('sqs')}", found


def test_unsigned_bodies_make_no_room_scarce_for_who_signs(keys: Any) -> None:
    """Two hundred connections hold what nobody has signed: more than strangers may, so the oldest are answered 503 and closed, and ann is served."""
    endpoint, credentials = keys
    address = urlsplit(endpoint)
    head = b"POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: AmazonSQS.SendMessage\r\nContent-Length: 262144\r\n\r\n"
    with ExitStack() as stack:
        held = []
        for _ in range(200):
            held.append(stack.enter_context(socket.create_connection((address.hostname, address.port), DEADLINE_S)))
            held[-1].sendall(head + b"x" * 204_800)
        assert held[0].recv(12) == b"HTTP/1.1 503"
        ann = client(endpoint, **credentials[ANN])
        url = ann.create_queue(QueueName=new_name())["QueueUrl"]
        ann.send_message(QueueUrl=url, MessageBody="x" * 1_000_000)
        assert ann.receive_message(QueueUrl=url)["Messages"][0]["Body"] == "x" * 1_000_000


@pytest.fixture(params=["json", "query"])
def model(request: pytest.FixtureRequest) -> Path | None:
    """Both wire protocols."""
    return None if request.param == "json" else request.getfixturevalue("query_model")


def test_what_is_signed_is_done_and_what_is_not_is_refused(keys: Any, model: Path | None) -> None:
    endpoint, credentials = keys
    ann = client(endpoint, model=model, **credentials[ANN])
    url = ann.create_queue(QueueName=new_name())["QueueUrl"]
    ann.send_message(QueueUrl=url, MessageBody="signed")
    with refused("SignatureDoesNotMatch", status=403):
        client(endpoint, model=model, **(credentials[ANN] | {"aws_secret_access_key": "wrong"})).send_message(QueueUrl=url, MessageBody="x")
    with refused("InvalidClientTokenId", status=403):
        client(endpoint, model=model, aws_access_key_id="AKIAUNKNOWN", aws_secret_access_key="x").list_queues()
    assert [message["Body"] for message in ann.receive_message(QueueUrl=url, WaitTimeSeconds=10)["Messages"]] == ["signed"]


def test_a_user_may_what_its_permissions_say_and_what_a_queue_allows_it(keys: Any) -> None:
    endpoint, credentials = keys
    ann, bob = (client(endpoint, **credentials[user]) for user in (ANN, BOB))
    bob.create_queue(QueueName=f"bob-{new_name()}")
    with refused("AccessDenied", status=403):
        bob.create_queue(QueueName=new_name())
    url = ann.create_queue(QueueName=new_name())["QueueUrl"]
    arn = ann.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    with refused("AccessDenied", status=403):
        bob.send_message(QueueUrl=url, MessageBody="not yet")
    account = arn.split(":")[4]
    statement = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{account}:user/{BOB}"}, "Action": "sqs:SendMessage", "Resource": arn}
    ann.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps({"Version": "2012-10-17", "Statement": [statement]})})
    bob.send_message(QueueUrl=url, MessageBody="allowed")
    with refused("AccessDenied", status=403):
        bob.receive_message(QueueUrl=url)
    assert ann.receive_message(QueueUrl=url, WaitTimeSeconds=10)["Messages"][0]["Body"] == "allowed"


def test_unsigned_requests_are_nobody_s_until_a_queue_lets_everybody_in(keys: Any) -> None:
    endpoint, credentials = keys
    ann = client(endpoint, **credentials[ANN])
    url = ann.create_queue(QueueName=new_name())["QueueUrl"]
    arn = ann.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    nobody = boto3.client("sqs", endpoint_url=endpoint, region_name=REGION, config=Config(signature_version=UNSIGNED, retries={"total_max_attempts": 1}))
    with pytest.raises(nobody.exceptions.ClientError) as caught:
        nobody.send_message(QueueUrl=url, MessageBody="x")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    statement = {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": arn}
    ann.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps({"Version": "2012-10-17", "Statement": [statement]})})
    nobody.send_message(QueueUrl=url, MessageBody="from anybody")
    with pytest.raises(nobody.exceptions.ClientError):
        nobody.delete_queue(QueueUrl=url)
    assert ann.receive_message(QueueUrl=url, WaitTimeSeconds=10)["Messages"][0]["Body"] == "from anybody"


def test_a_denied_message_is_denied_in_a_batch(keys: Any) -> None:
    endpoint, credentials = keys
    ann, bob = (client(endpoint, **credentials[user]) for user in (ANN, BOB))
    url = ann.create_queue(QueueName=new_name())["QueueUrl"]
    account = url.split("/")[3]
    bob_arn = f"arn:aws:iam::{account}:user/{BOB}"
    allow = {"Effect": "Allow", "Principal": {"AWS": bob_arn}, "Action": "sqs:*"}
    entries = [{"Id": "1", "MessageBody": "x"}]
    ann.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps({"Version": "2012-10-17", "Statement": [allow]})})
    bob.send_message_batch(QueueUrl=url, Entries=entries)
    deny = allow | {"Effect": "Deny", "Action": "sqs:SendMessage"}
    ann.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps({"Version": "2012-10-17", "Statement": [allow, deny]})})
    with refused("AccessDenied", status=403):
        bob.send_message_batch(QueueUrl=url, Entries=entries)


def test_a_presigned_url_does_what_it_was_signed_for(keys: Any, query_model: Path) -> None:
    endpoint, credentials = keys
    ann = client(endpoint, model=query_model, **credentials[ANN])
    url = ann.create_queue(QueueName=new_name())["QueueUrl"]
    signed = ann.generate_presigned_url("send_message", Params={"QueueUrl": url, "MessageBody": "presigned"}, HttpMethod="GET")
    with urllib.request.urlopen(signed, timeout=DEADLINE_S) as answer:
        assert b"<MessageId>" in answer.read()
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(signed.replace("presigned", "changed"), timeout=DEADLINE_S)
    assert caught.value.code == 403
    caught.value.close()
    assert ann.receive_message(QueueUrl=url, WaitTimeSeconds=10)["Messages"][0]["Body"] == "presigned"
