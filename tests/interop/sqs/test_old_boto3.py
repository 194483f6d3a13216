"""A boto3 of 2023, whole, in an environment of its own: what many services still run, and the Query protocol as it was spoken."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from sqs_endpoint import environment, new_name

PROGRAM = """
import boto3, json, sys
sqs = boto3.resource("sqs", endpoint_url=sys.argv[1])
queue = sqs.create_queue(QueueName=sys.argv[2], Attributes={"FifoQueue": "true", "ContentBasedDeduplication": "true"})
said = {"protocol": sqs.meta.client.meta.service_model.metadata["protocol"]}
binary = {"b": {"DataType": "Binary", "BinaryValue": bytes(range(256))}}
said["sent"] = [queue.send_message(MessageBody=body, MessageGroupId="g", MessageAttributes=binary).get("SequenceNumber") for body in ("<1>", "2&", "3")]
messages = queue.receive_messages(MaxNumberOfMessages=2, WaitTimeSeconds=5, MessageAttributeNames=["All"], AttributeNames=["All"])
said["bodies"] = [message.body for message in messages]
said["binary"] = [message.message_attributes == binary for message in messages]
said["group"] = [message.attributes["MessageGroupId"] for message in messages]
said["deleted"] = len(queue.delete_messages(Entries=[{"Id": str(n), "ReceiptHandle": m.receipt_handle} for n, m in enumerate(messages)])["Successful"])
said["rest"] = [message.body for message in queue.receive_messages(WaitTimeSeconds=5)]
said["found"] = sqs.get_queue_by_name(QueueName=sys.argv[2]).url == queue.url
queue.delete()
try:
    sqs.get_queue_by_name(QueueName=sys.argv[2])
except sqs.meta.client.exceptions.QueueDoesNotExist as error:
    said["error"] = error.response["Error"]["Code"]
print(json.dumps(said))
"""


def test_a_conversation(old_boto3: Path, endpoint: str) -> None:
    command = [str(old_boto3), "-W", "ignore", "-c", PROGRAM, endpoint, f"{new_name()}.fifo"]
    done = subprocess.run(command, env=environment(endpoint), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert len(set(said.pop("sent"))) == 3
    assert said == {
        "protocol": "query",
        "bodies": ["<1>", "2&"],
        "binary": [True, True],
        "group": ["g", "g"],
        "deleted": 2,
        "rest": ["3"],
        "found": True,
        "error": "AWS.SimpleQueueService.NonExistentQueue",
    }
