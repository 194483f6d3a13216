"""What the tests of every SQS client share: clients, a queue as an object, waiting by long polls, expecting refusals."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

ACCOUNT = "123456789012"
REGION = "us-east-1"
CREDENTIALS = {"aws_access_key_id": ACCOUNT, "aws_secret_access_key": "secret", "region_name": REGION}
DEADLINE_S = float(os.environ.get("ENTREPOT_TEST_DEADLINE_S", "20"))  # how long anything is waited for

Message = dict[str, Any]


def client(endpoint: str, *, model: Path | None = None, **options: Any) -> Any:
    """boto3's client, which does not try again by itself. `model`: a folder of service models to be preferred."""
    session = botocore.session.get_session()
    if model is not None:
        session.get_component("data_loader").search_paths.insert(0, str(model))
    config = Config(retries={"total_max_attempts": 1}, read_timeout=DEADLINE_S + 25, max_pool_connections=50)
    return boto3.Session(botocore_session=session).client("sqs", endpoint_url=endpoint, config=config, **{**CREDENTIALS, **options})


def environment(endpoint: str) -> dict[str, str]:
    """For clients of other languages, that find their endpoint and credentials in the environment."""
    return os.environ | {
        "AWS_ENDPOINT_URL_SQS": endpoint,
        "AWS_ACCESS_KEY_ID": ACCOUNT,
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def new_name() -> str:
    """A queue name that nobody else uses."""
    return f"interop-{secrets.token_hex(6)}"


@dataclass
class Queue:
    """A queue, as one client sees it."""

    sqs: Any
    url: str

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]

    @property
    def arn(self) -> str:
        return self.attribute("QueueArn")

    def send(self, *bodies: str, **options: Any) -> dict[str, Any]:
        """Each by itself; the last answer."""
        answer: dict[str, Any] = {}
        for body in bodies:
            answer = self.sqs.send_message(QueueUrl=self.url, MessageBody=body, **options)
        return answer

    def send_batch(self, *entries: dict[str, Any]) -> dict[str, Any]:
        """Entries without an Id get their number."""
        numbered = [{"Id": str(number), **entry} for number, entry in enumerate(entries)]
        answer: dict[str, Any] = self.sqs.send_message_batch(QueueUrl=self.url, Entries=numbered)
        return answer

    def receive(self, count: int = 10, wait_s: int = 0, **options: Any) -> list[Message]:
        """One ReceiveMessage."""
        got: list[Message] = self.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=count, WaitTimeSeconds=wait_s, **options).get("Messages") or []
        return got

    def take(self, count: int, **options: Any) -> list[Message]:
        """Exactly so many, by as many calls as it takes; fails if they do not come."""
        got: list[Message] = []
        give_up = time.monotonic() + DEADLINE_S
        while len(got) < count:
            assert time.monotonic() < give_up, f"{len(got)} of {count} messages within {DEADLINE_S} s"
            got += self.receive(min(10, count - len(got)), 2, **options)
        return got

    def one(self, **options: Any) -> Message:
        """The next message, waited for."""
        return self.take(1, **options)[0]

    def delete(self, message: Message) -> None:
        self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])

    def delete_batch(self, messages: list[Message]) -> dict[str, Any]:
        entries = [{"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]} for number, message in enumerate(messages)]
        answer: dict[str, Any] = self.sqs.delete_message_batch(QueueUrl=self.url, Entries=entries)
        return answer

    def show(self, message: Message, after_s: int) -> None:
        """ChangeMessageVisibility."""
        self.sqs.change_message_visibility(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=after_s)

    def attributes(self, *names: str) -> dict[str, str]:
        found: dict[str, str] = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=list(names or ("All",))).get("Attributes") or {}
        return found

    def attribute(self, name: str) -> str:
        return self.attributes(name)[name]

    def set(self, **attributes: object) -> None:
        self.sqs.set_queue_attributes(QueueUrl=self.url, Attributes={key: str(value) for key, value in attributes.items()})

    def counts(self) -> tuple[int, int, int]:
        """Messages that can be received, that are in flight, that are delayed."""
        found = self.attributes("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed")
        return (
            int(found["ApproximateNumberOfMessages"]),
            int(found["ApproximateNumberOfMessagesNotVisible"]),
            int(found["ApproximateNumberOfMessagesDelayed"]),
        )

    def wait_counts(self, *expected: int) -> None:
        """Until `counts` are these: AWS's are approximate for a while."""
        give_up = time.monotonic() + DEADLINE_S
        while self.counts() != expected:
            assert time.monotonic() < give_up, f"{self.counts()} and not {expected} within {DEADLINE_S} s"


def redrive(target: Queue, count: int) -> str:
    """A RedrivePolicy."""
    return json.dumps({"deadLetterTargetArn": target.arn, "maxReceiveCount": count})


def bodies(messages: list[Message]) -> list[str]:
    return [message["Body"] for message in messages]


@contextmanager
def refused(code: str, *fragments: str, status: int = 400) -> Iterator[None]:
    """The call is refused with this code, as SDKs show it, and with a text that holds every fragment."""
    with pytest.raises(ClientError) as caught:
        yield
    error = caught.value.response["Error"]
    found = (error["Code"].rpartition("#")[2], caught.value.response["ResponseMetadata"]["HTTPStatusCode"])
    assert found == (code, status), error
    for fragment in fragments:
        assert fragment in error["Message"], error["Message"]


# The codes as the Query protocol spells them, which SDKs show in both.
NO_QUEUE = "AWS.SimpleQueueService.NonExistentQueue"
BAD_HANDLE = "ReceiptHandleIsInvalid"
NOT_IN_FLIGHT = "AWS.SimpleQueueService.MessageNotInflight"
BAD_VALUE = "InvalidParameterValue"
MISSING = "MissingParameter"
BAD_ATTRIBUTE_NAME = "InvalidAttributeName"
BAD_ATTRIBUTE_VALUE = "InvalidAttributeValue"
UNSUPPORTED = "AWS.SimpleQueueService.UnsupportedOperation"
EMPTY_BATCH = "AWS.SimpleQueueService.EmptyBatchRequest"
TOO_MANY = "AWS.SimpleQueueService.TooManyEntriesInBatchRequest"
NOT_DISTINCT = "AWS.SimpleQueueService.BatchEntryIdsNotDistinct"
BAD_ENTRY_ID = "AWS.SimpleQueueService.InvalidBatchEntryId"
BATCH_TOO_LONG = "AWS.SimpleQueueService.BatchRequestTooLong"
EXISTS = "QueueAlreadyExists"
