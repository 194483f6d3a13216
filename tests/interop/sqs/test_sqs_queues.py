"""Queues with boto3, in both wire protocols: making, finding, listing and deleting them, attributes, tags, permissions, purging."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqs_endpoint import (
    BAD_ATTRIBUTE_NAME,
    BAD_ATTRIBUTE_VALUE,
    BAD_VALUE,
    EXISTS,
    NO_QUEUE,
    REGION,
    Queue,
    bodies,
    client,
    new_name,
    redrive,
    refused,
)

Queues = Callable[..., Queue]

STANDARD = {
    "ApproximateNumberOfMessages": "0",
    "ApproximateNumberOfMessagesDelayed": "0",
    "ApproximateNumberOfMessagesNotVisible": "0",
    "DelaySeconds": "0",
    "MaximumMessageSize": "1048576",
    "MessageRetentionPeriod": "345600",
    "ReceiveMessageWaitTimeSeconds": "0",
    "VisibilityTimeout": "30",
}
FIFO = {
    **STANDARD,
    "FifoQueue": "true",
    "ContentBasedDeduplication": "false",
    "DeduplicationScope": "queue",
    "FifoThroughputLimit": "perQueue",
}


def test_the_url_is_where_the_client_called(sqs: Any, endpoint: str, queue: Queue) -> None:
    called, told = urlsplit(endpoint), urlsplit(queue.url)
    assert (told.scheme, told.netloc) == (called.scheme, called.netloc)
    account, name = told.path.split("/")[-2:]
    assert name == queue.name
    assert account.isdigit()
    assert len(account) == 12


@pytest.mark.usefixtures("as_documented")
def test_the_account_is_the_access_key(sqs: Any, queue: Queue, account: str) -> None:
    assert queue.url.endswith(f"/{account}/{queue.name}")
    assert queue.arn == f"arn:aws:sqs:{REGION}:{account}:{queue.name}"


def test_defaults(queue: Queue) -> None:
    found = queue.attributes()
    assert {name: found.get(name) for name in STANDARD} == STANDARD
    assert found["QueueArn"].endswith(f":{queue.name}")
    assert int(found["CreatedTimestamp"]) > 1_700_000_000
    assert int(found["LastModifiedTimestamp"]) >= int(found["CreatedTimestamp"])
    assert not {"FifoQueue", "Policy", "RedrivePolicy", "RedriveAllowPolicy", "ContentBasedDeduplication"} & set(found)


def test_defaults_of_a_fifo_queue(fifo: Queue) -> None:
    found = fifo.attributes()
    assert {name: found.get(name) for name in FIFO} == FIFO


def test_attributes_are_kept(sqs: Any, queues: Queues) -> None:
    given = {
        "DelaySeconds": "900",
        "MaximumMessageSize": "1024",
        "MessageRetentionPeriod": "1209600",
        "ReceiveMessageWaitTimeSeconds": "20",
        "VisibilityTimeout": "43200",
    }
    queue = queues(sqs, **given)
    assert queue.attributes(*given) == given
    other = {"DelaySeconds": "0", "MaximumMessageSize": "2048", "MessageRetentionPeriod": "60", "ReceiveMessageWaitTimeSeconds": "1", "VisibilityTimeout": "0"}
    queue.set(**other)
    assert queue.attributes(*other) == other


def test_only_the_attributes_that_are_asked_for(queue: Queue) -> None:
    assert queue.attributes("VisibilityTimeout") == {"VisibilityTimeout": "30"}
    assert set(queue.attributes("VisibilityTimeout", "QueueArn")) == {"VisibilityTimeout", "QueueArn"}
    assert queue.attributes("RedrivePolicy") == {}


def test_making_it_again(sqs: Any, queues: Queues) -> None:
    queue = queues(sqs, VisibilityTimeout=40, DelaySeconds=1)
    for same in ({}, {"VisibilityTimeout": "40"}, {"VisibilityTimeout": "40", "DelaySeconds": "1"}):
        assert sqs.create_queue(QueueName=queue.name, Attributes=same)["QueueUrl"] == queue.url
    with refused(EXISTS, "DelaySeconds"):
        sqs.create_queue(QueueName=queue.name, Attributes={"VisibilityTimeout": "40", "DelaySeconds": "2"})
    queue.set(DelaySeconds=2)
    assert sqs.create_queue(QueueName=queue.name, Attributes={"DelaySeconds": "2"})["QueueUrl"] == queue.url
    with pytest.raises(sqs.exceptions.QueueNameExists):
        sqs.create_queue(QueueName=queue.name, Attributes={"DelaySeconds": "1"})


@pytest.mark.parametrize("name", ["", "a" * 81, "a b", "a/b", "a.b", "é", "a.fifo.b"])
def test_names_that_no_queue_may_have(sqs: Any, name: str) -> None:
    with refused(BAD_VALUE):
        sqs.create_queue(QueueName=name)


def test_names_that_queues_may_have(sqs: Any, queues: Queues) -> None:
    base = queues(sqs).name
    for name in (f"{base}{'x' * (80 - len(base))}", f"{base}_A-9"):
        url = sqs.create_queue(QueueName=name)["QueueUrl"]
        assert url.endswith(f"/{name}")
        sqs.delete_queue(QueueUrl=url)


def test_fifo_and_its_suffix_belong_together(sqs: Any) -> None:
    with refused(BAD_VALUE):
        sqs.create_queue(QueueName=new_name(), Attributes={"FifoQueue": "true"})
    with refused(BAD_VALUE):
        sqs.create_queue(QueueName=new_name() + ".fifo")
    with refused(BAD_ATTRIBUTE_NAME, "Unknown Attribute FifoQueue."):
        sqs.create_queue(QueueName=new_name(), Attributes={"FifoQueue": "false"})
    with refused(BAD_ATTRIBUTE_NAME, "ContentBasedDeduplication"):
        sqs.create_queue(QueueName=new_name(), Attributes={"ContentBasedDeduplication": "true"})


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("DelaySeconds", "901"),
        ("DelaySeconds", "-1"),
        ("DelaySeconds", "x"),
        ("MaximumMessageSize", "1023"),
        ("MaximumMessageSize", "1048577"),
        ("MessageRetentionPeriod", "59"),
        ("MessageRetentionPeriod", "1209601"),
        ("ReceiveMessageWaitTimeSeconds", "21"),
        ("VisibilityTimeout", "43201"),
        ("VisibilityTimeout", "-1"),
    ],
)
@pytest.mark.usefixtures("as_documented")
def test_values_out_of_bounds(sqs: Any, queue: Queue, attribute: str, value: str) -> None:
    with refused(BAD_ATTRIBUTE_VALUE, attribute):
        queue.set(**{attribute: value})
    with refused(BAD_ATTRIBUTE_VALUE, attribute):
        sqs.create_queue(QueueName=new_name(), Attributes={attribute: value})


def test_attributes_that_there_are_not(sqs: Any, queue: Queue) -> None:
    with refused(BAD_ATTRIBUTE_NAME):
        queue.set(Nonsense="1")
    with refused(BAD_ATTRIBUTE_NAME):
        queue.attributes("Nonsense")
    with refused(BAD_ATTRIBUTE_NAME):
        queue.set(QueueArn="arn")
    with refused(BAD_ATTRIBUTE_NAME):
        sqs.create_queue(QueueName=new_name(), Attributes={"Nonsense": "1"})


def test_one_that_is_not_there(sqs: Any, queue: Queue) -> None:
    nobody = Queue(sqs, f"{queue.url}-nobody")
    with pytest.raises(sqs.exceptions.QueueDoesNotExist):
        sqs.get_queue_url(QueueName=nobody.name)
    for call in (
        nobody.attributes,
        nobody.receive,
        lambda: nobody.send("x"),
        lambda: sqs.delete_queue(QueueUrl=nobody.url),
        lambda: nobody.set(DelaySeconds=1),
    ):
        with refused(NO_QUEUE, "does not exist"):
            call()


def test_deleting(sqs: Any, queues: Queues) -> None:
    queue = queues(sqs)
    queue.send("x")
    sqs.delete_queue(QueueUrl=queue.url)
    with refused(NO_QUEUE):
        sqs.get_queue_url(QueueName=queue.name)
    with refused(NO_QUEUE):
        queue.send("y")


def test_finding_by_name(sqs: Any, queue: Queue) -> None:
    assert sqs.get_queue_url(QueueName=queue.name)["QueueUrl"] == queue.url


def test_listing_by_prefix(sqs: Any, queues: Queues) -> None:
    first = queues(sqs)
    prefix = first.name
    more = [sqs.create_queue(QueueName=f"{prefix}-{number}")["QueueUrl"] for number in range(6)]
    urls = [first.url, *more]
    try:
        assert sorted(sqs.list_queues(QueueNamePrefix=prefix)["QueueUrls"]) == sorted(urls)
        assert not sqs.list_queues(QueueNamePrefix=f"{prefix}-none").get("QueueUrls")
        assert set(urls) <= set(sqs.list_queues()["QueueUrls"])
        pages = sqs.get_paginator("list_queues").paginate(QueueNamePrefix=prefix, PaginationConfig={"PageSize": 3})
        sizes, found = [], []
        for page in pages:
            sizes.append(len(page.get("QueueUrls") or []))
            found += page.get("QueueUrls") or []
        assert sorted(found) == sorted(urls)
        assert sizes[:2] == [3, 3]
        assert "NextToken" not in sqs.list_queues(QueueNamePrefix=prefix)
    finally:
        for url in more:
            sqs.delete_queue(QueueUrl=url)


@pytest.mark.usefixtures("as_documented")
def test_accounts_do_not_see_each_other(endpoint: str, sqs: Any, queue: Queue) -> None:
    with closing(client(endpoint, aws_access_key_id="999999999999")) as other:
        assert queue.url not in (other.list_queues().get("QueueUrls") or [])
        with refused(NO_QUEUE):
            other.get_queue_url(QueueName=queue.name)
        url = other.create_queue(QueueName=queue.name, Attributes={"DelaySeconds": "5"})["QueueUrl"]
        assert url != queue.url
        assert queue.attribute("DelaySeconds") == "0"
        other.delete_queue(QueueUrl=url)
    assert queue.attribute("DelaySeconds") == "0"


def test_tags(sqs: Any, queues: Queues) -> None:
    queue = queues(sqs, tags={"one": "1", "two": ""})

    def tags() -> dict[str, str]:
        return sqs.list_queue_tags(QueueUrl=queue.url).get("Tags") or {}

    assert tags() == {"one": "1", "two": ""}
    sqs.tag_queue(QueueUrl=queue.url, Tags={"two": "2", "Two": "ü", "three": "3"})
    assert tags() == {"one": "1", "two": "2", "Two": "ü", "three": "3"}
    sqs.untag_queue(QueueUrl=queue.url, TagKeys=["one", "nobody"])
    assert tags() == {"two": "2", "Two": "ü", "three": "3"}
    sqs.untag_queue(QueueUrl=queue.url, TagKeys=["two", "Two", "three"])
    assert tags() == {}


@pytest.mark.usefixtures("as_documented")
def test_too_many_tags(sqs: Any, queue: Queue) -> None:
    sqs.tag_queue(QueueUrl=queue.url, Tags={f"key{number}": "x" for number in range(50)})
    with refused(BAD_VALUE):
        sqs.tag_queue(QueueUrl=queue.url, Tags={"one more": "x"})


@pytest.mark.usefixtures("as_documented")
def test_permissions_make_a_policy(sqs: Any, queue: Queue) -> None:
    with refused(BAD_VALUE, "can't find label"):
        sqs.remove_permission(QueueUrl=queue.url, Label="share")
    sqs.add_permission(QueueUrl=queue.url, Label="share", AWSAccountIds=["111122223333", "444455556666"], Actions=["SendMessage", "ReceiveMessage"])
    policy = json.loads(queue.attribute("Policy"))
    (statement,) = policy["Statement"]
    assert policy["Id"] == f"{queue.arn}/SQSDefaultPolicy"
    assert policy["Version"] == "2008-10-17"
    assert (statement["Sid"], statement["Effect"], statement["Resource"]) == ("share", "Allow", queue.arn)
    assert statement["Principal"] == {"AWS": ["arn:aws:iam::111122223333:root", "arn:aws:iam::444455556666:root"]}
    assert statement["Action"] == ["SQS:SendMessage", "SQS:ReceiveMessage"]
    with refused(BAD_VALUE, "Already exists"):
        sqs.add_permission(QueueUrl=queue.url, Label="share", AWSAccountIds=["111122223333"], Actions=["*"])
    with refused(BAD_VALUE):
        sqs.add_permission(QueueUrl=queue.url, Label="own", AWSAccountIds=["111122223333"], Actions=["Nonsense"])
    sqs.add_permission(QueueUrl=queue.url, Label="other", AWSAccountIds=["111122223333"], Actions=["*"])
    assert [statement["Sid"] for statement in json.loads(queue.attribute("Policy"))["Statement"]] == ["share", "other"]
    sqs.remove_permission(QueueUrl=queue.url, Label="share")
    assert [statement["Sid"] for statement in json.loads(queue.attribute("Policy"))["Statement"]] == ["other"]
    with refused(BAD_VALUE, "can't find label"):
        sqs.remove_permission(QueueUrl=queue.url, Label="share")
    sqs.remove_permission(QueueUrl=queue.url, Label="other")
    assert queue.attributes("Policy") == {}
    with refused(BAD_VALUE, "Reason: can't find label."):  # as AWS was recorded, also once there is no policy any more
        sqs.remove_permission(QueueUrl=queue.url, Label="other")


def test_a_policy_is_kept_and_taken_away(sqs: Any, queue: Queue) -> None:
    policy = {
        "Version": "2012-10-17",
        "Id": "p",
        "Statement": [{"Sid": "s", "Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": queue.arn}],
    }
    queue.set(Policy=json.dumps(policy))
    assert json.loads(queue.attribute("Policy")) == policy
    queue.set(Policy="")
    assert queue.attributes("Policy") == {}


@pytest.mark.usefixtures("as_documented")
def test_policies_that_are_refused(sqs: Any, queue: Queue) -> None:
    statement = {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": queue.arn}

    def policy(*statements: dict[str, Any]) -> str:
        return json.dumps({"Version": "2012-10-17", "Statement": statements})

    for wrong in (
        {"Conditions": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}},
        {"Condition": {"NotIpAddress": {"aws:SourceIp": "10.0.0.0/33"}}},
        {"Condition": {"StringLikes": {"aws:UserAgent": "x"}}},
        {"Principal": {"Foo": "x"}},
        {"Principal": {"AWS": []}},
        {"NotAction": "sqs:DeleteMessage"},
        {"Action": 7},
    ):
        with refused("InvalidAttributeValue", "Invalid value for the parameter Policy."):
            queue.set(Policy=policy(statement | wrong))
    with refused("OverLimit", "21 statements were found in the submitted policy, max allowed is 20", status=403):
        queue.set(Policy=policy(*[statement] * 21))
    with refused("OverLimit", "8 actions were found in a statement from the submitted policy, max allowed is 7", status=403):
        queue.set(Policy=policy(statement | {"Action": ["sqs:SendMessage"] * 8}))
    with refused("OverLimit", "Submitted policy is over max allowed size.", status=403):
        queue.set(Policy=policy(statement | {"Sid": "s" * 8192}))
    assert queue.attributes("Policy") == {}
    queue.set(Policy=policy(statement | {"Principal": {"Service": "sns.amazonaws.com"}, "Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:sns:*:*:t"}}}))


def test_purging(sqs: Any, queue: Queue) -> None:
    queue.send("ready", "out")
    queue.send("late", DelaySeconds=900)
    queue.one()
    sqs.purge_queue(QueueUrl=queue.url)
    queue.wait_counts(0, 0, 0)
    queue.send("new")
    assert bodies([queue.one()]) == ["new"]


@pytest.mark.usefixtures("as_documented")
def test_purging_again_within_a_minute(sqs: Any, queue: Queue) -> None:
    sqs.purge_queue(QueueUrl=queue.url)
    with refused("AWS.SimpleQueueService.PurgeQueueInProgress", queue.name, status=403):
        sqs.purge_queue(QueueUrl=queue.url)


def test_encryption_attributes_are_kept(sqs: Any, queues: Queues) -> None:
    """Nothing is encrypted by them; tools that set them read them back."""
    queue = queues(sqs, KmsMasterKeyId="alias/mine", KmsDataKeyReusePeriodSeconds=600)
    assert queue.attributes("KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds") == {"KmsMasterKeyId": "alias/mine", "KmsDataKeyReusePeriodSeconds": "600"}


SSE = ("KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds", "SqsManagedSseEnabled")


@pytest.mark.usefixtures("as_documented")
def test_one_way_of_encryption_at_a_time(sqs: Any, queues: Queues, queue: Queue) -> None:
    both = {"KmsMasterKeyId": "alias/mine", "SqsManagedSseEnabled": "true"}
    with refused(BAD_ATTRIBUTE_NAME, "one type of server-side encryption (SSE) at one time"):
        queue.set(**both)
    with refused(BAD_ATTRIBUTE_NAME, "one type of server-side encryption (SSE) at one time"):
        sqs.create_queue(QueueName=new_name(), Attributes=both)
    assert queue.attributes(*SSE) == {"SqsManagedSseEnabled": "true"}
    queue.set(KmsMasterKeyId="alias/mine", KmsDataKeyReusePeriodSeconds=6000)
    assert queue.attributes(*SSE) == {"KmsMasterKeyId": "alias/mine", "KmsDataKeyReusePeriodSeconds": "6000", "SqsManagedSseEnabled": "false"}
    queue.set(KmsMasterKeyId="", KmsDataKeyReusePeriodSeconds=300)
    assert queue.attributes(*SSE) == {"SqsManagedSseEnabled": "false"}
    queue.set(KmsMasterKeyId="alias/mine")
    queue.set(SqsManagedSseEnabled="true")
    assert queue.attributes(*SSE) == {"SqsManagedSseEnabled": "true"}
    keyed = queues(sqs, KmsMasterKeyId="alias/mine")
    assert sqs.create_queue(QueueName=keyed.name, Attributes={"KmsMasterKeyId": "alias/mine"})["QueueUrl"] == keyed.url
    assert sqs.create_queue(QueueName=keyed.name)["QueueUrl"] == keyed.url
    with refused(EXISTS, "SqsManagedSseEnabled"):
        sqs.create_queue(QueueName=keyed.name, Attributes={"SqsManagedSseEnabled": "true"})


def test_a_redrive_policy_that_says_too_little(sqs: Any, queues: Queues, queue: Queue) -> None:
    dead = queues(sqs)
    for policy in (
        {"deadLetterTargetArn": dead.arn},
        {"maxReceiveCount": 3},
        {"deadLetterTargetArn": dead.arn, "maxReceiveCount": "many"},
        {"deadLetterTargetArn": dead.arn, "maxReceiveCount": 0},
    ):
        with refused(BAD_VALUE):
            queue.set(RedrivePolicy=json.dumps(policy))
    queue.set(RedrivePolicy=redrive(dead, 1000))
    assert json.loads(queue.attribute("RedrivePolicy")) == {"deadLetterTargetArn": dead.arn, "maxReceiveCount": 1000}
    queue.set(RedrivePolicy="")
    assert queue.attributes("RedrivePolicy") == {}
