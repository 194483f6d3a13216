"""Every action through botocore's client in both protocols, over queues in memory."""

import hashlib

import pytest
from aws_client import client
from botocore.exceptions import ClientError
from port_double import NOW_MS, Bench

URL = "http://127.0.0.1:9324/000000000000/{}"


@pytest.fixture(params=["json", "query"])
def protocol(request):
    return request.param


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
def sqs(bench, protocol):
    return client(bench, protocol)


@pytest.fixture
def url(sqs):
    return sqs.create_queue(QueueName="q")["QueueUrl"]


def fails(call, *code, **words):
    with pytest.raises(ClientError) as caught:
        call(**words)
    assert caught.value.response["Error"]["Code"] in code
    return caught.value.response["Error"]["Message"]


def md5(text):
    return hashlib.md5(text.encode()).hexdigest()


def test_a_message_goes_round(sqs, url):
    sent = sqs.send_message(
        QueueUrl=url,
        MessageBody='h\u00e9 "llo"\n\t\\ <&> \U0001f600',
        MessageAttributes={
            "text": {"DataType": "String", "StringValue": "v\u00e9 <&>"},
            "number.of": {"DataType": "Number.int", "StringValue": "12"},
            "raw": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
        },
        MessageSystemAttributes={"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1-5759e988"}},
    )
    # botocore checks the MD5s of what it sent and of what it gets
    assert len(sent["MessageId"]) == 36
    assert len(sent["MD5OfMessageSystemAttributes"]) == 32
    assert "SequenceNumber" not in sent
    [message] = sqs.receive_message(QueueUrl=url, AttributeNames=["All"], MessageAttributeNames=["All"], WaitTimeSeconds=1)["Messages"]
    assert message["MessageId"] == sent["MessageId"]
    assert message["Body"] == 'h\u00e9 "llo"\n\t\\ <&> \U0001f600'
    assert message["MD5OfBody"] == sent["MD5OfMessageBody"]
    assert message["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"]
    assert message["MessageAttributes"]["raw"] == {"DataType": "Binary", "BinaryValue": b"\x00\xff"}
    assert message["MessageAttributes"]["number.of"] == {"DataType": "Number.int", "StringValue": "12"}
    assert message["Attributes"] == {
        "SenderId": "000000000000",
        "SentTimestamp": str(NOW_MS),
        "ApproximateReceiveCount": "1",
        "ApproximateFirstReceiveTimestamp": str(NOW_MS + 5),
        "AWSTraceHeader": "Root=1-5759e988",
    }
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    assert "MessageNotInflight" in fails_with(sqs.change_message_visibility, QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=9)
    [again] = sqs.receive_message(QueueUrl=url)["Messages"]
    assert set(again) == {"MessageId", "ReceiptHandle", "MD5OfBody", "Body"}
    sqs.delete_message(QueueUrl=url, ReceiptHandle=again["ReceiptHandle"])
    sqs.delete_message(QueueUrl=url, ReceiptHandle=again["ReceiptHandle"])
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
    message = fails(sqs.change_message_visibility, "InvalidParameterValue", QueueUrl=url, ReceiptHandle=again["ReceiptHandle"], VisibilityTimeout=9)
    assert "not available for visibility timeout change" in message


def fails_with(call, **words):
    with pytest.raises(ClientError) as caught:
        call(**words)
    return caught.value.response["Error"]["Code"]


def test_attributes_are_chosen_by_name_and_prefix(sqs, url):
    attributes = {name: {"DataType": "String", "StringValue": name} for name in ("a.one", "a.two", "b")}
    sqs.send_message(QueueUrl=url, MessageBody="x", MessageAttributes=attributes)
    for asked, expected in ((["b"], {"b"}), (["a.*"], {"a.one", "a.two"}), ([".*"], set(attributes)), (["c"], set()), (["a.one", "b"], {"a.one", "b"})):
        [message] = sqs.receive_message(QueueUrl=url, MessageAttributeNames=asked, VisibilityTimeout=0)["Messages"]
        assert set(message.get("MessageAttributes", {})) == expected
        assert ("MD5OfMessageAttributes" in message) == bool(expected)
    [message] = sqs.receive_message(QueueUrl=url, MessageSystemAttributeNames=["SentTimestamp", "MessageGroupId"])["Messages"]
    assert message["Attributes"] == {"SentTimestamp": str(NOW_MS)}


def test_fifo(sqs):
    url = sqs.create_queue(QueueName="q.fifo", Attributes={"FifoQueue": "true", "ContentBasedDeduplication": "true"})["QueueUrl"]
    sent = sqs.send_message(QueueUrl=url, MessageBody="x", MessageGroupId="g!", MessageDeduplicationId="d")
    assert sent["SequenceNumber"] == "10000000000000000000"
    batch = sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": "1", "MessageBody": "y", "MessageGroupId": "h"}])
    assert batch["Successful"][0]["SequenceNumber"] == "10000000000000000001"
    messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, AttributeNames=["All"], ReceiveRequestAttemptId="again")["Messages"]
    assert [m["Attributes"]["MessageGroupId"] for m in messages] == ["g!", "h"]
    assert [m["Attributes"]["SequenceNumber"] for m in messages] == ["10000000000000000000", "10000000000000000001"]
    assert messages[0]["Attributes"]["MessageDeduplicationId"] == "d"
    assert messages[1]["Attributes"]["MessageDeduplicationId"] == hashlib.sha256(b"y").hexdigest()
    fails(sqs.send_message, "MissingParameter", QueueUrl=url, MessageBody="x")
    fails(sqs.send_message, "InvalidParameterValue", QueueUrl=url, MessageBody="x", MessageGroupId="g", DelaySeconds=1)
    fails(sqs.send_message_batch, "InvalidParameterValue", QueueUrl=url, Entries=[{"Id": "1", "MessageBody": "y"}])
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert attributes["FifoQueue"] == attributes["ContentBasedDeduplication"] == "true"
    assert (attributes["DeduplicationScope"], attributes["FifoThroughputLimit"]) == ("queue", "perQueue")


def test_batches(sqs, url):
    answer = sqs.send_message_batch(
        QueueUrl=url,
        Entries=[
            {"Id": "a", "MessageBody": "one", "MessageAttributes": {"n": {"DataType": "Number", "StringValue": "1"}}},
            {"Id": "b", "MessageBody": "two", "DelaySeconds": 901},
            {"Id": "c", "MessageBody": "three", "MessageGroupId": "fair"},
        ],
    )
    assert [(one["Id"], one["MD5OfMessageBody"]) for one in answer["Successful"]] == [("a", md5("one")), ("c", md5("three"))]
    [failed] = answer["Failed"]
    assert (failed["Id"], failed["SenderFault"], failed["Code"]) == ("b", True, "InvalidParameterValue")
    messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    changes = [{"Id": f"m{n}", "ReceiptHandle": m["ReceiptHandle"], "VisibilityTimeout": 60} for n, m in enumerate(messages)]
    changed = sqs.change_message_visibility_batch(
        QueueUrl=url, Entries=[*changes, {"Id": "x", "ReceiptHandle": "no", "VisibilityTimeout": 1}, {**changes[0], "Id": "y", "VisibilityTimeout": 43_201}]
    )
    assert [one["Id"] for one in changed["Successful"]] == ["m0", "m1"]
    assert sorted((one["Id"], one["Code"]) for one in changed["Failed"]) == [("x", "ReceiptHandleIsInvalid"), ("y", "InvalidParameterValue")]
    other = sqs.create_queue(QueueName="other")["QueueUrl"]
    sqs.send_message(QueueUrl=other, MessageBody="x")
    [foreign] = sqs.receive_message(QueueUrl=other)["Messages"]
    deleted = sqs.delete_message_batch(
        QueueUrl=url,
        Entries=[
            {"Id": "f", "ReceiptHandle": foreign["ReceiptHandle"]},
            *({"Id": f"m{n}", "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(messages)),
        ],
    )
    assert [one["Id"] for one in deleted["Successful"]] == ["m0", "m1"]
    assert [(one["Id"], one["Code"]) for one in deleted["Failed"]] == [("f", "ReceiptHandleIsInvalid")]


@pytest.mark.parametrize(
    ("entries", "code"),
    [
        ([], "EmptyBatchRequest"),
        ([{"Id": str(n), "MessageBody": "x"} for n in range(11)], "TooManyEntriesInBatchRequest"),
        ([{"Id": "a", "MessageBody": "x"}, {"Id": "a", "MessageBody": "y"}], "BatchEntryIdsNotDistinct"),
        ([{"Id": "a b", "MessageBody": "x"}], "InvalidBatchEntryId"),
        ([{"Id": "", "MessageBody": "x"}], "InvalidBatchEntryId"),
        ([{"Id": "x" * 81, "MessageBody": "x"}], "InvalidBatchEntryId"),
        ([{"Id": str(n), "MessageBody": "x" * 200_000} for n in range(6)], "BatchRequestTooLong"),
        ([{"Id": "0", "MessageBody": "x" * (1_048_576 + 1)}], "BatchRequestTooLong"),
    ],
)
def test_batches_that_are_refused_whole(sqs, url, entries, code):
    fails(sqs.send_message_batch, f"AWS.SimpleQueueService.{code}", QueueUrl=url, Entries=entries)
    assert "Messages" not in sqs.receive_message(QueueUrl=url)


ATTRIBUTE = {"DataType": "String", "StringValue": "v"}


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ({"MessageBody": ""}, "MissingParameter"),
        ({"MessageBody": "a\x00b"}, "InvalidMessageContents"),
        ({"MessageBody": "a\ufffeb"}, "InvalidMessageContents"),
        ({"MessageBody": "x" * 1_048_577}, "InvalidParameterValue"),
        ({"DelaySeconds": -1}, "InvalidParameterValue"),
        ({"DelaySeconds": 901}, "InvalidParameterValue"),
        ({"MessageDeduplicationId": "d"}, "InvalidParameterValue"),
        ({"MessageGroupId": "a b"}, "InvalidParameterValue"),
        ({"MessageGroupId": "x" * 129}, "InvalidParameterValue"),
        ({"MessageAttributes": {f"a{n}": ATTRIBUTE for n in range(11)}}, "InvalidParameterValue"),
        ({"MessageAttributes": {"AWS.x": ATTRIBUTE}}, "InvalidParameterValue"),
        ({"MessageAttributes": {"amazon.x": ATTRIBUTE}}, "InvalidParameterValue"),
        ({"MessageAttributes": {".x": ATTRIBUTE}}, "InvalidParameterValue"),
        ({"MessageAttributes": {"x.": ATTRIBUTE}}, "InvalidParameterValue"),
        ({"MessageAttributes": {"x..y": ATTRIBUTE}}, "InvalidParameterValue"),
        ({"MessageAttributes": {"x y": ATTRIBUTE}}, "InvalidParameterValue"),
        ({"MessageAttributes": {"x" * 257: ATTRIBUTE}}, "InvalidParameterValue"),
        ({"MessageAttributes": {"x": {"DataType": "", "StringValue": "v"}}}, "InvalidParameterValue"),
        ({"MessageAttributes": {"x": {"DataType": "Text", "StringValue": "v"}}}, "InvalidParameterValue"),
        ({"MessageAttributes": {"x": {"DataType": "String", "StringValue": ""}}}, "InvalidParameterValue"),
        ({"MessageAttributes": {"x": {"DataType": "String", "BinaryValue": b"v"}}}, "InvalidParameterValue"),
        ({"MessageAttributes": {"x": {"DataType": "Number", "StringValue": "twelve"}}}, "InvalidParameterValue"),
        ({"MessageAttributes": {"x": {"DataType": "Binary", "BinaryValue": b""}}}, "InvalidParameterValue"),
        ({"MessageSystemAttributes": {"Other": ATTRIBUTE}}, "InvalidParameterValue"),
    ],
)
def test_messages_that_are_refused(sqs, url, words, code):
    fails(sqs.send_message, code, **{"QueueUrl": url, "MessageBody": "x", **words})
    sqs.send_message(QueueUrl=url, MessageBody="x" * 1_048_576)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ({"MaxNumberOfMessages": 0}, "InvalidParameterValue"),
        ({"MaxNumberOfMessages": 11}, "InvalidParameterValue"),
        ({"WaitTimeSeconds": -1}, "InvalidParameterValue"),
        ({"WaitTimeSeconds": 21}, "InvalidParameterValue"),
        ({"VisibilityTimeout": -1}, "InvalidParameterValue"),
        ({"VisibilityTimeout": 43_201}, "InvalidParameterValue"),
        ({"ReceiveRequestAttemptId": "a"}, "InvalidParameterValue"),
        ({"AttributeNames": ["Nothing"]}, "InvalidAttributeName"),
        ({"MessageAttributeNames": ["x.*"] * 101}, "InvalidParameterValue"),
        ({"MaxNumberOfMessages": 2**31 - 1}, "InvalidParameterValue"),
        ({"QueueUrl": URL.format("none")}, "AWS.SimpleQueueService.NonExistentQueue"),
        ({"QueueUrl": "http://127.0.0.1:9324/999999999999/q"}, "AWS.SimpleQueueService.NonExistentQueue"),
    ],
)
def test_receives_that_are_refused(sqs, url, words, code):
    fails(sqs.receive_message, code, **{"QueueUrl": url, **words})


def test_handles_that_are_none(sqs, url):
    sqs.send_message(QueueUrl=url, MessageBody="x")
    [message] = sqs.receive_message(QueueUrl=url)["Messages"]
    handle = message["ReceiptHandle"]
    other = "A" if handle[-1] != "A" else "B"
    padded = (handle[:-1] + "=", handle[:-2] + "==", handle[:-4] + "====", "=" * 60)
    for bad in (
        "x",
        handle[:-1],
        handle[:-1] + other,
        handle[:30] + "!" + handle[31:],
        handle[:-1] + "\N{FULLWIDTH LATIN CAPITAL LETTER A}",
        "-_" * 30,
        *padded,
    ):
        fails(sqs.delete_message, "ReceiptHandleIsInvalid", QueueUrl=url, ReceiptHandle=bad)
        fails(sqs.change_message_visibility, "ReceiptHandleIsInvalid", QueueUrl=url, ReceiptHandle=bad, VisibilityTimeout=1)
    sqs.delete_message(QueueUrl=url, ReceiptHandle=handle)


def test_queues_are_made_found_and_deleted(sqs):
    made = sqs.create_queue(QueueName="q", Attributes={"DelaySeconds": "5", "KmsMasterKeyId": "k"}, tags={"a": "b"})["QueueUrl"]
    assert made == URL.format("q")
    assert sqs.create_queue(QueueName="q")["QueueUrl"] == made
    assert sqs.create_queue(QueueName="q", Attributes={"DelaySeconds": "5"})["QueueUrl"] == made
    assert fails(sqs.create_queue, "QueueAlreadyExists", QueueName="q", Attributes={"DelaySeconds": "6"}).endswith("different value for attribute DelaySeconds")
    fails(sqs.create_queue, "QueueAlreadyExists", QueueName="q", Attributes={"KmsMasterKeyId": "other"})
    assert sqs.get_queue_url(QueueName="q")["QueueUrl"] == made
    assert sqs.get_queue_url(QueueName="q", QueueOwnerAWSAccountId="000000000000")["QueueUrl"] == made
    missing = "AWS.SimpleQueueService.NonExistentQueue"
    fails(sqs.get_queue_url, missing, QueueName="q", QueueOwnerAWSAccountId="123456789012")
    fails(sqs.get_queue_url, missing, QueueName="r")
    fails(sqs.get_queue_url, missing, QueueName="r", QueueOwnerAWSAccountId="nobody")
    sqs.delete_queue(QueueUrl=made)
    fails(sqs.delete_queue, missing, QueueUrl=made)


@pytest.mark.parametrize(
    ("name", "attributes", "code"),
    [
        ("", {}, "InvalidParameterValue"),
        ("a b", {}, "InvalidParameterValue"),
        ("x" * 81, {}, "InvalidParameterValue"),
        ("x" * 76 + ".fifo", {"FifoQueue": "true"}, "InvalidParameterValue"),
        ("x", {"FifoQueue": "true"}, "InvalidParameterValue"),
        ("x.fifo", {}, "InvalidParameterValue"),
        ("x", {"ContentBasedDeduplication": "true"}, "InvalidAttributeName"),
        ("x", {"Nothing": "true"}, "InvalidAttributeName"),
        ("x", {"QueueArn": "a"}, "InvalidAttributeName"),
        ("x", {"VisibilityTimeout": "43201"}, "InvalidAttributeValue"),
        ("x", {"VisibilityTimeout": "-1"}, "InvalidAttributeValue"),
        ("x", {"DelaySeconds": "901"}, "InvalidAttributeValue"),
        ("x", {"DelaySeconds": "1.5"}, "InvalidAttributeValue"),
        ("x", {"MaximumMessageSize": "1023"}, "InvalidAttributeValue"),
        ("x", {"MaximumMessageSize": "1048577"}, "InvalidAttributeValue"),
        ("x", {"MessageRetentionPeriod": "59"}, "InvalidAttributeValue"),
        ("x", {"ReceiveMessageWaitTimeSeconds": "21"}, "InvalidAttributeValue"),
        ("x", {"Policy": "{"}, "InvalidAttributeValue"),
        ("x", {"SqsManagedSseEnabled": "perhaps"}, "InvalidAttributeValue"),
        ("x", {"RedrivePolicy": "no"}, "InvalidAttributeValue"),
        ("x", {"RedrivePolicy": '{"maxReceiveCount": 3}'}, "InvalidParameterValue"),
        ("x", {"RedrivePolicy": '{"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:d", "maxReceiveCount": 0}'}, "InvalidParameterValue"),
        ("x", {"RedrivePolicy": '{"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:d.fifo", "maxReceiveCount": 1}'}, "InvalidParameterValue"),
        ("x", {"RedriveAllowPolicy": '{"redrivePermission": "some"}'}, "InvalidAttributeValue"),
        ("x", {"RedriveAllowPolicy": '{"redrivePermission": "byQueue"}'}, "InvalidAttributeValue"),
        ("x.fifo", {"FifoQueue": "true", "FifoThroughputLimit": "perMessageGroupId"}, "InvalidAttributeValue"),
    ],
)
def test_queues_that_are_refused(sqs, name, attributes, code):
    fails(sqs.create_queue, code, QueueName=name, Attributes=attributes)


def test_attributes_are_set_and_shown(sqs, url):
    sqs.create_queue(QueueName="dead")
    arn = "arn:aws:sqs:us-east-1:000000000000:dead"
    wished = {
        "VisibilityTimeout": "77",
        "MaximumMessageSize": "2048",
        "MessageRetentionPeriod": "60",
        "DelaySeconds": "9",
        "ReceiveMessageWaitTimeSeconds": "20",
        "RedrivePolicy": f'{{"deadLetterTargetArn":"{arn}","maxReceiveCount":3}}',
        "RedriveAllowPolicy": f'{{"redrivePermission":"byQueue","sourceQueueArns":["{arn}"]}}',
        "Policy": '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"sqs:*"}]}',
        "KmsMasterKeyId": "alias/key",
    }
    sqs.set_queue_attributes(QueueUrl=url, Attributes=wished)
    shown = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert wished.items() <= shown.items()
    assert shown["QueueArn"] == "arn:aws:sqs:us-east-1:000000000000:q"
    assert shown["KmsDataKeyReusePeriodSeconds"] == "300"
    assert shown["ApproximateNumberOfMessages"] == shown["ApproximateNumberOfMessagesNotVisible"] == shown["ApproximateNumberOfMessagesDelayed"] == "0"
    assert "FifoQueue" not in shown
    assert sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn", "DelaySeconds"])["Attributes"] == {
        "QueueArn": "arn:aws:sqs:us-east-1:000000000000:q",
        "DelaySeconds": "9",
    }
    assert "Attributes" not in sqs.get_queue_attributes(QueueUrl=url)
    fails(sqs.get_queue_attributes, "InvalidAttributeName", QueueUrl=url, AttributeNames=["Nothing"])
    fails(sqs.set_queue_attributes, "InvalidAttributeName", QueueUrl=url, Attributes={"FifoQueue": "true"})
    assert sqs.list_dead_letter_source_queues(QueueUrl=URL.format("dead"))["queueUrls"] == [url]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": "", "RedriveAllowPolicy": "", "Policy": "", "KmsMasterKeyId": ""})
    shown = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert not {"RedrivePolicy", "RedriveAllowPolicy", "Policy", "KmsMasterKeyId"} & set(shown)
    assert shown["VisibilityTimeout"] == "77"
    assert sqs.list_dead_letter_source_queues(QueueUrl=URL.format("dead")).get("queueUrls", []) == []


def test_lists_come_in_pages(sqs, bench):
    assert "QueueUrls" not in sqs.list_queues()
    for name in ("b1", "a1", "a2", "a3"):
        sqs.create_queue(QueueName=name)
    bench.port.queues["public/default", "not legal in SQS"] = bench.port.queues["public/default", "a1"]
    assert sqs.list_queues()["QueueUrls"] == [URL.format(name) for name in ("a1", "a2", "a3", "b1")]
    assert sqs.list_queues(QueueNamePrefix="b")["QueueUrls"] == [URL.format("b1")]
    first = sqs.list_queues(QueueNamePrefix="a", MaxResults=2)
    assert first["QueueUrls"] == [URL.format("a1"), URL.format("a2")]
    second = sqs.list_queues(QueueNamePrefix="a", MaxResults=2, NextToken=first["NextToken"])
    assert second["QueueUrls"] == [URL.format("a3")]
    assert "NextToken" not in second
    fails(sqs.list_queues, "InvalidParameterValue", MaxResults=1001)
    fails(sqs.list_queues, "InvalidParameterValue", MaxResults=1, NextToken="nonsense")
    fails(sqs.list_dead_letter_source_queues, "InvalidParameterValue", QueueUrl=URL.format("a1"), MaxResults=1, NextToken=first["NextToken"])


def test_names_that_sqs_cannot_say_are_passed_over_in_turns(sqs, bench):
    queue = sqs.create_queue(QueueName="z")["QueueUrl"]
    double = bench.port.queues["public/default", "z"]
    for number in range(5000):
        bench.port.queues["public/default", f"a.{number:05d}"] = double
    assert sqs.list_queues(MaxResults=1)["QueueUrls"] == [queue]


def test_tags(sqs, url):
    assert "Tags" not in sqs.list_queue_tags(QueueUrl=url)
    sqs.tag_queue(QueueUrl=url, Tags={"a": "1", "b": "2", "c": ""})
    sqs.tag_queue(QueueUrl=url, Tags={"a": "3"})
    sqs.untag_queue(QueueUrl=url, TagKeys=["b", "never"])
    assert sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"a": "3", "c": ""}
    fails(sqs.tag_queue, "InvalidParameterValue", QueueUrl=url, Tags={f"t{n}": "" for n in range(49)})
    fails(sqs.tag_queue, "InvalidParameterValue", QueueUrl=url, Tags={"aws:x": ""})
    fails(sqs.tag_queue, "InvalidParameterValue", QueueUrl=url, Tags={"x": "\x01"})
    fails(sqs.tag_queue, "InvalidParameterValue", QueueUrl=url, Tags={"x" * 129: ""})


def test_permissions_are_statements_of_the_policy(sqs, url):
    sqs.add_permission(QueueUrl=url, Label="l", AWSAccountIds=["111111111111", "222222222222"], Actions=["SendMessage", "ReceiveMessage"])
    policy = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])["Attributes"]["Policy"]
    for part in ("arn:aws:iam::111111111111:root", "SQS:ReceiveMessage", '"Sid":"l"', "arn:aws:sqs:us-east-1:000000000000:q"):
        assert part in policy
    fails(sqs.add_permission, "InvalidParameterValue", QueueUrl=url, Label="l", AWSAccountIds=["111111111111"], Actions=["*"])
    fails(sqs.add_permission, "InvalidParameterValue", QueueUrl=url, Label="m", AWSAccountIds=["111111111111"], Actions=["DeleteQueue"])
    fails(sqs.add_permission, "InvalidParameterValue", QueueUrl=url, Label="m", AWSAccountIds=["somebody"], Actions=["*"])
    fails(sqs.add_permission, "OverLimit", QueueUrl=url, Label="m", AWSAccountIds=["111111111111"], Actions=["SendMessage"] * 8)
    sqs.remove_permission(QueueUrl=url, Label="l")
    fails(sqs.remove_permission, "InvalidParameterValue", QueueUrl=url, Label="l")
    assert "Attributes" not in sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])


def test_a_purge(sqs, url):
    sqs.send_message(QueueUrl=url, MessageBody="x")
    sqs.purge_queue(QueueUrl=url)
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
    fails(sqs.purge_queue, "AWS.SimpleQueueService.PurgeQueueInProgress", QueueUrl=url)


def test_move_tasks(sqs, url):
    dead = sqs.create_queue(QueueName="dead")["QueueUrl"]
    arn = "arn:aws:sqs:us-east-1:000000000000:dead"
    fails(sqs.start_message_move_task, "InvalidParameterValue", SourceArn=arn)
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": f'{{"deadLetterTargetArn":"{arn}","maxReceiveCount":"3"}}'})
    assert sqs.list_dead_letter_source_queues(QueueUrl=dead)["queueUrls"] == [url]
    fails(sqs.start_message_move_task, "ResourceNotFoundException", SourceArn="arn:aws:sqs:us-east-1:000000000000:none")
    fails(sqs.start_message_move_task, "InvalidParameterValue", SourceArn="dead")
    fails(sqs.start_message_move_task, "InvalidParameterValue", SourceArn=arn, MaxNumberOfMessagesPerSecond=501)
    handle = sqs.start_message_move_task(SourceArn=arn, MaxNumberOfMessagesPerSecond=5)["TaskHandle"]
    fails(sqs.start_message_move_task, "InvalidParameterValue", SourceArn=arn)
    [task] = sqs.list_message_move_tasks(SourceArn=arn)["Results"]
    assert task == {
        "TaskHandle": handle,
        "Status": "RUNNING",
        "SourceArn": arn,
        "MaxNumberOfMessagesPerSecond": 5,
        "ApproximateNumberOfMessagesMoved": 3,
        "ApproximateNumberOfMessagesToMove": 7,
        "StartedTimestamp": NOW_MS,
    }
    assert sqs.cancel_message_move_task(TaskHandle=handle)["ApproximateNumberOfMessagesMoved"] == 3
    fails(sqs.cancel_message_move_task, "ResourceNotFoundException", TaskHandle=handle)
    fails(sqs.cancel_message_move_task, "InvalidParameterValue", TaskHandle="nonsense")
    assert "TaskHandle" not in sqs.list_message_move_tasks(SourceArn=arn, MaxResults=10)["Results"][0]


def test_accounts_are_apart(bench, protocol):
    one, two = client(bench, protocol, "111111111111"), client(bench, protocol, "222222222222")
    assert one.create_queue(QueueName="q")["QueueUrl"] == "http://127.0.0.1:9324/111111111111/q"
    assert "QueueUrls" not in two.list_queues()
    fails(two.get_queue_url, "AWS.SimpleQueueService.NonExistentQueue", QueueName="q")
    assert two.get_queue_url(QueueName="q", QueueOwnerAWSAccountId="111111111111")["QueueUrl"] == "http://127.0.0.1:9324/111111111111/q"
    assert client(bench, protocol, "AKIAANYTHING").create_queue(QueueName="q")["QueueUrl"] == URL.format("q")
