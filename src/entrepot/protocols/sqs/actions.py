"""THE table: every action of Amazon SQS (API version 2012-11-05), with the fields of its request and answer and their types.

A structure is a msgspec.Struct whose fields are called as in AWS JSON 1.0. `query("Name")` says what a field is called in the Query
protocol where that is different: lists and maps are flattened there (`AttributeName.1`, `Attribute.1.Name`), and so they are in its XML.
All fields can be left out; `required` names those without which an action is refused.
"""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import msgspec


def query(name: str, key: str = "Name") -> msgspec.Meta:
    """What a field is called in the Query protocol; of a map, what its keys are called there (its values: Value)."""
    return msgspec.Meta(extra={"query": name, "key": key})


class Shape(msgspec.Struct, omit_defaults=True, kw_only=True, gc=False):
    """A structure of the API: a tree, which the collector of cycles need not look at."""


Integer = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
Strings = list[str] | None


class MessageAttributeValue(Shape):
    """One message attribute, or message system attribute."""

    StringValue: str | None = None
    BinaryValue: bytes | None = None
    StringListValues: Annotated[Strings, query("StringListValue")] = None
    BinaryListValues: Annotated[list[bytes] | None, query("BinaryListValue")] = None
    DataType: str | None = None


AttributeMap = dict[str, MessageAttributeValue] | None


# ---- requests


class SendMessageRequest(Shape):
    """SendMessage."""

    QueueUrl: str | None = None
    MessageBody: str | None = None
    DelaySeconds: Integer | None = None
    MessageAttributes: Annotated[AttributeMap, query("MessageAttribute")] = None
    MessageSystemAttributes: Annotated[AttributeMap, query("MessageSystemAttribute")] = None
    MessageDeduplicationId: str | None = None
    MessageGroupId: str | None = None


class SendMessageBatchRequestEntry(Shape):
    """One message of a SendMessageBatch."""

    Id: str | None = None
    MessageBody: str | None = None
    DelaySeconds: Integer | None = None
    MessageAttributes: Annotated[AttributeMap, query("MessageAttribute")] = None
    MessageSystemAttributes: Annotated[AttributeMap, query("MessageSystemAttribute")] = None
    MessageDeduplicationId: str | None = None
    MessageGroupId: str | None = None


class SendMessageBatchRequest(Shape):
    """SendMessageBatch."""

    QueueUrl: str | None = None
    Entries: Annotated[list[SendMessageBatchRequestEntry] | None, query("SendMessageBatchRequestEntry")] = None


class ReceiveMessageRequest(Shape):
    """ReceiveMessage."""

    QueueUrl: str | None = None
    AttributeNames: Annotated[Strings, query("AttributeName")] = None
    MessageSystemAttributeNames: Annotated[Strings, query("MessageSystemAttributeName")] = None
    MessageAttributeNames: Annotated[Strings, query("MessageAttributeName")] = None
    MaxNumberOfMessages: Integer | None = None
    VisibilityTimeout: Integer | None = None
    WaitTimeSeconds: Integer | None = None
    ReceiveRequestAttemptId: str | None = None


class DeleteMessageRequest(Shape):
    """DeleteMessage."""

    QueueUrl: str | None = None
    ReceiptHandle: str | None = None


class DeleteMessageBatchRequestEntry(Shape):
    """One message of a DeleteMessageBatch."""

    Id: str | None = None
    ReceiptHandle: str | None = None


class DeleteMessageBatchRequest(Shape):
    """DeleteMessageBatch."""

    QueueUrl: str | None = None
    Entries: Annotated[list[DeleteMessageBatchRequestEntry] | None, query("DeleteMessageBatchRequestEntry")] = None


class ChangeMessageVisibilityRequest(Shape):
    """ChangeMessageVisibility."""

    QueueUrl: str | None = None
    ReceiptHandle: str | None = None
    VisibilityTimeout: Integer | None = None


class ChangeMessageVisibilityBatchRequestEntry(Shape):
    """One message of a ChangeMessageVisibilityBatch."""

    Id: str | None = None
    ReceiptHandle: str | None = None
    VisibilityTimeout: Integer | None = None


class ChangeMessageVisibilityBatchRequest(Shape):
    """ChangeMessageVisibilityBatch."""

    QueueUrl: str | None = None
    Entries: Annotated[list[ChangeMessageVisibilityBatchRequestEntry] | None, query("ChangeMessageVisibilityBatchRequestEntry")] = None


class CreateQueueRequest(Shape):
    """CreateQueue."""

    QueueName: str | None = None
    Attributes: Annotated[dict[str, str] | None, query("Attribute")] = None
    tags: Annotated[dict[str, str] | None, query("Tag", "Key")] = None


class QueueUrlRequest(Shape):
    """DeleteQueue, PurgeQueue, ListQueueTags."""

    QueueUrl: str | None = None


class ListQueuesRequest(Shape):
    """ListQueues."""

    QueueNamePrefix: str | None = None
    NextToken: str | None = None
    MaxResults: Integer | None = None


class GetQueueUrlRequest(Shape):
    """GetQueueUrl."""

    QueueName: str | None = None
    QueueOwnerAWSAccountId: str | None = None


class GetQueueAttributesRequest(Shape):
    """GetQueueAttributes."""

    QueueUrl: str | None = None
    AttributeNames: Annotated[Strings, query("AttributeName")] = None


class SetQueueAttributesRequest(Shape):
    """SetQueueAttributes."""

    QueueUrl: str | None = None
    Attributes: Annotated[dict[str, str] | None, query("Attribute")] = None


class TagQueueRequest(Shape):
    """TagQueue."""

    QueueUrl: str | None = None
    Tags: Annotated[dict[str, str] | None, query("Tag", "Key")] = None


class UntagQueueRequest(Shape):
    """UntagQueue."""

    QueueUrl: str | None = None
    TagKeys: Annotated[Strings, query("TagKey")] = None


class AddPermissionRequest(Shape):
    """AddPermission."""

    QueueUrl: str | None = None
    Label: str | None = None
    AWSAccountIds: Annotated[Strings, query("AWSAccountId")] = None
    Actions: Annotated[Strings, query("ActionName")] = None


class RemovePermissionRequest(Shape):
    """RemovePermission."""

    QueueUrl: str | None = None
    Label: str | None = None


class ListDeadLetterSourceQueuesRequest(Shape):
    """ListDeadLetterSourceQueues."""

    QueueUrl: str | None = None
    NextToken: str | None = None
    MaxResults: Integer | None = None


class StartMessageMoveTaskRequest(Shape):
    """StartMessageMoveTask."""

    SourceArn: str | None = None
    DestinationArn: str | None = None
    MaxNumberOfMessagesPerSecond: Integer | None = None


class CancelMessageMoveTaskRequest(Shape):
    """CancelMessageMoveTask."""

    TaskHandle: str | None = None


class ListMessageMoveTasksRequest(Shape):
    """ListMessageMoveTasks."""

    SourceArn: str | None = None
    MaxResults: Integer | None = None


# ---- answers


class SendMessageResult(Shape):
    """SendMessage."""

    MD5OfMessageBody: str | None = None
    MD5OfMessageAttributes: str | None = None
    MD5OfMessageSystemAttributes: str | None = None
    MessageId: str | None = None
    SequenceNumber: str | None = None


class SendMessageBatchResultEntry(Shape):
    """One message of a SendMessageBatch that was taken."""

    Id: str | None = None
    MessageId: str | None = None
    MD5OfMessageBody: str | None = None
    MD5OfMessageAttributes: str | None = None
    MD5OfMessageSystemAttributes: str | None = None
    SequenceNumber: str | None = None


class BatchResultErrorEntry(Shape):
    """One entry of a batch that failed."""

    Id: str | None = None
    SenderFault: bool | None = None
    Code: str | None = None
    Message: str | None = None


Failed = Annotated[list[BatchResultErrorEntry] | None, query("BatchResultErrorEntry")]


class SendMessageBatchResult(Shape):
    """SendMessageBatch."""

    Successful: Annotated[list[SendMessageBatchResultEntry] | None, query("SendMessageBatchResultEntry")] = None
    Failed: Failed = None


class BatchResultEntry(Shape):
    """One entry of a batch that was done."""

    Id: str | None = None


class DeleteMessageBatchResult(Shape):
    """DeleteMessageBatch."""

    Successful: Annotated[list[BatchResultEntry] | None, query("DeleteMessageBatchResultEntry")] = None
    Failed: Failed = None


class ChangeMessageVisibilityBatchResult(Shape):
    """ChangeMessageVisibilityBatch."""

    Successful: Annotated[list[BatchResultEntry] | None, query("ChangeMessageVisibilityBatchResultEntry")] = None
    Failed: Failed = None


class Message(Shape):
    """One message as it is received."""

    MessageId: str | None = None
    ReceiptHandle: str | None = None
    MD5OfBody: str | None = None
    Body: str | None = None
    Attributes: Annotated[dict[str, str] | None, query("Attribute")] = None
    MD5OfMessageAttributes: str | None = None
    MessageAttributes: Annotated[AttributeMap, query("MessageAttribute")] = None


class ReceiveMessageResult(Shape):
    """ReceiveMessage."""

    Messages: Annotated[list[Message] | None, query("Message")] = None


class QueueUrlResult(Shape):
    """CreateQueue, GetQueueUrl."""

    QueueUrl: str | None = None


class ListQueuesResult(Shape):
    """ListQueues."""

    QueueUrls: Annotated[Strings, query("QueueUrl")] = None
    NextToken: str | None = None


class ListDeadLetterSourceQueuesResult(Shape):
    """ListDeadLetterSourceQueues."""

    queueUrls: Annotated[Strings, query("QueueUrl")] = None  # noqa: N815 - as the API calls it
    NextToken: str | None = None


class GetQueueAttributesResult(Shape):
    """GetQueueAttributes."""

    Attributes: Annotated[dict[str, str] | None, query("Attribute")] = None


class ListQueueTagsResult(Shape):
    """ListQueueTags."""

    Tags: Annotated[dict[str, str] | None, query("Tag", "Key")] = None


class StartMessageMoveTaskResult(Shape):
    """StartMessageMoveTask."""

    TaskHandle: str | None = None


class CancelMessageMoveTaskResult(Shape):
    """CancelMessageMoveTask."""

    ApproximateNumberOfMessagesMoved: int | None = None


class ListMessageMoveTasksResultEntry(Shape):
    """One task."""

    TaskHandle: str | None = None
    Status: str | None = None
    SourceArn: str | None = None
    DestinationArn: str | None = None
    MaxNumberOfMessagesPerSecond: int | None = None
    ApproximateNumberOfMessagesMoved: int | None = None
    ApproximateNumberOfMessagesToMove: int | None = None
    FailureReason: str | None = None
    StartedTimestamp: int | None = None


class ListMessageMoveTasksResult(Shape):
    """ListMessageMoveTasks."""

    Results: Annotated[list[ListMessageMoveTasksResultEntry] | None, query("ListMessageMoveTasksResultEntry")] = None


class Action(NamedTuple):
    """One action. `result` None: its answer has no content."""

    name: str
    request: type[Shape]
    result: type[Shape] | None
    required: tuple[str, ...]


def _table(*rows: tuple[str, Any, Any, tuple[str, ...]]) -> dict[str, Action]:
    return {row[0]: Action(*row) for row in rows}


ACTIONS = _table(
    ("SendMessage", SendMessageRequest, SendMessageResult, ("QueueUrl", "MessageBody")),
    ("SendMessageBatch", SendMessageBatchRequest, SendMessageBatchResult, ("QueueUrl", "Entries")),
    ("ReceiveMessage", ReceiveMessageRequest, ReceiveMessageResult, ("QueueUrl",)),
    ("DeleteMessage", DeleteMessageRequest, None, ("QueueUrl", "ReceiptHandle")),
    ("DeleteMessageBatch", DeleteMessageBatchRequest, DeleteMessageBatchResult, ("QueueUrl", "Entries")),
    ("ChangeMessageVisibility", ChangeMessageVisibilityRequest, None, ("QueueUrl", "ReceiptHandle", "VisibilityTimeout")),
    ("ChangeMessageVisibilityBatch", ChangeMessageVisibilityBatchRequest, ChangeMessageVisibilityBatchResult, ("QueueUrl", "Entries")),
    ("CreateQueue", CreateQueueRequest, QueueUrlResult, ("QueueName",)),
    ("DeleteQueue", QueueUrlRequest, None, ("QueueUrl",)),
    ("ListQueues", ListQueuesRequest, ListQueuesResult, ()),
    ("GetQueueUrl", GetQueueUrlRequest, QueueUrlResult, ("QueueName",)),
    ("GetQueueAttributes", GetQueueAttributesRequest, GetQueueAttributesResult, ("QueueUrl",)),
    ("SetQueueAttributes", SetQueueAttributesRequest, None, ("QueueUrl", "Attributes")),
    ("PurgeQueue", QueueUrlRequest, None, ("QueueUrl",)),
    ("TagQueue", TagQueueRequest, None, ("QueueUrl", "Tags")),
    ("UntagQueue", UntagQueueRequest, None, ("QueueUrl", "TagKeys")),
    ("ListQueueTags", QueueUrlRequest, ListQueueTagsResult, ("QueueUrl",)),
    ("AddPermission", AddPermissionRequest, None, ("QueueUrl", "Label", "AWSAccountIds", "Actions")),
    ("RemovePermission", RemovePermissionRequest, None, ("QueueUrl", "Label")),
    ("ListDeadLetterSourceQueues", ListDeadLetterSourceQueuesRequest, ListDeadLetterSourceQueuesResult, ("QueueUrl",)),
    ("StartMessageMoveTask", StartMessageMoveTaskRequest, StartMessageMoveTaskResult, ("SourceArn",)),
    ("CancelMessageMoveTask", CancelMessageMoveTaskRequest, CancelMessageMoveTaskResult, ("TaskHandle",)),
    ("ListMessageMoveTasks", ListMessageMoveTasksRequest, ListMessageMoveTasksResult, ("SourceArn",)),
)
