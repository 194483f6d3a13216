"""Texts of errors as users of each protocol read them, from a real process: in their protocol's words, with the value at fault, and with no Python in them."""

from __future__ import annotations

import gc
import json
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import botocore.exceptions
import pika
import pika.exceptions
import pytest
from botocore.config import Config
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic
from kafka_endpoints import Endpoint
from kafka_wire import Wire

from entrepot.testing import Broker, BrokerFailed

pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module", autouse=True)
def sockets_left_by_clients() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    with Broker() as running:
        yield running


ANN: list[str] = []  # id and secret of her access key


def entrepot(*arguments: str) -> str:
    return subprocess.run([sys.executable, "-m", "entrepot", *arguments], check=True, capture_output=True, text=True, timeout=60).stdout


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """ann may do nothing in the namespace that she may use."""
    data = tmp_path_factory.mktemp("guarded") / "data"
    entrepot("users", "add", "ann", "--password", "secret", "--data", str(data))
    ANN[:] = entrepot("users", "keys", "add", "ann", "--data", str(data)).split()
    with Broker(data) as running:
        running.change_users("set_permission", "ann", "public/default", ["^$", "^$", "^$"])
        yield running


def sasl(broker: Broker) -> dict[str, Any]:
    return {
        "bootstrap.servers": broker.kafka_bootstrap,
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "ann",
        "sasl.password": "secret",
        "log_level": 0,
    }


def boto(broker: Broker, **credentials: str) -> Any:
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"} | credentials
    return boto3.client("sqs", endpoint_url=broker.sqs_url, config=Config(retries={"total_max_attempts": 1}), **keys)


def said(action: Callable[[], object]) -> str:
    """What boto3's user is told."""
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        action()
    text: str = caught.value.response["Error"]["Message"]
    return text


def post(broker: Broker, body: bytes, action: str = "SendMessage") -> str:
    """What a request as it is written here is answered."""
    headers = {"X-Amz-Target": f"AmazonSQS.{action}", "Content-Type": "application/x-amz-json-1.0"}
    request = urllib.request.Request(broker.sqs_url, body, headers)
    with pytest.raises(urllib.error.HTTPError) as caught, urllib.request.urlopen(request, timeout=30):
        pass
    with caught.value as answer:
        text: str = json.loads(answer.read())["message"]
    return text


# ---- whose words


def test_kafka_s_users_hear_of_no_virtual_host(guarded: Broker) -> None:
    admin = AdminClient(sasl(guarded))
    with pytest.raises(KafkaException) as caught:
        admin.create_topics([NewTopic("orders", 1)])["orders"].result(30)
    assert caught.value.args[0].str() == "access to topic 'orders' refused for user 'ann'"


def test_nor_where_a_topic_is_there_already_or_none(broker: Broker) -> None:
    admin = AdminClient({"bootstrap.servers": broker.kafka_bootstrap, "log_level": 0})
    admin.create_topics([NewTopic("twice", 1)])["twice"].result(30)
    for action in (
        lambda: admin.create_topics([NewTopic("twice", 1)])["twice"].result(30),
        lambda: admin.create_partitions([NewPartitions("none", 3)])["none"].result(30),
    ):
        with pytest.raises(KafkaException) as caught:
            action()
        text = caught.value.args[0].str()
        assert "topic '" in text
        assert "vhost" not in text


def test_sqs_s_users_hear_of_no_virtual_host(guarded: Broker) -> None:
    sqs = boto(guarded, aws_access_key_id=ANN[0], aws_secret_access_key=ANN[1])
    assert said(lambda: sqs.create_queue(QueueName="orders")) == "access to queue 'orders' refused for user 'ann'"


def test_amqp_s_users_do(guarded: Broker) -> None:
    parameters = pika.ConnectionParameters("127.0.0.1", guarded.amqp_port, "/", pika.PlainCredentials("ann", "secret"))
    with pika.BlockingConnection(parameters) as connection, pytest.raises(pika.exceptions.ChannelClosedByBroker) as caught:
        connection.channel().queue_declare("orders")
    assert caught.value.reply_text == "ACCESS_REFUSED - access to queue 'orders' in vhost '/' refused for user 'ann'"


# ---- no Python


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (datetime(1970, 1, 1, 0, 1, tzinfo=UTC), "the value '60' of type 'timestamp'"),
        (b"caf\xe9", "the value 'caf\\xe9' of type 'binary'"),
        ({"a": [1, True, None], "b": b"\xff"}, "the value '{a: [1, true, none], b: \\xff}' of type 'table'"),
    ],
    ids=["timestamp", "bytes", "table"],
)
def test_amqp_s_values(broker: Broker, value: Any, text: str) -> None:
    with pika.BlockingConnection(pika.URLParameters(broker.amqp_url)) as connection:
        channel = connection.channel()
        channel.queue_declare("typed", exclusive=True)
        with pytest.raises(pika.exceptions.ChannelClosedByBroker) as caught:
            channel.queue_declare("typed", exclusive=True, arguments={"x-max-length": value})
    assert f"received {text} but current is none" in caught.value.reply_text


def test_kafka_s_operations_are_listed(broker: Broker) -> None:
    change = {"name": "retention.ms", "config_operation": 9, "value": "1"}
    resource = {"resource_type": 2, "resource_name": "any", "configs": [change]}
    with Wire(Endpoint(broker.kafka_bootstrap)) as wire:
        answer = wire.ask("IncrementalAlterConfigs", 1, resources=[resource], validate_only=True)
    assert answer["responses"][0]["error_message"] == "operations are 0 (set), 1 (delete), 2 (append), 3 (subtract)"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"QueueUrl":"http://h/1/q","MessageBody":5}', "MessageBody must be a string, and is a whole number"),
        (b'{"QueueUrl":"http://h/1/q","MessageBody":"x","DelaySeconds":"5"}', "DelaySeconds must be a whole number, and is a string"),
        (b'{"QueueUrl":"http://h/1/q","MessageBody":"x","MessageAttributes":[]}', "MessageAttributes must be an object, and is a list"),
        (b"[]", "it must be an object, and is a list"),
        (b"{", "its JSON ends too early"),
        (b'{"a" 1}', "it is not JSON: expected ':' (byte 5)"),
        (b'{"MessageBody":"caf\xe9"}', "it is not UTF-8"),
        (b'{"MessageAttributes":{"a":{"DataType":"Binary","BinaryValue":"*"}}}', "MessageAttributes[...].BinaryValue is not base64"),
        (b'{"QueueUrl":"http://h/1/q","MessageBody":"cut \\ud83d"}', "\\ud83d is half of a surrogate pair without the other half"),
        (b'{"QueueUrl":"http://h/1/q","MessageBody":"cut \\ud83d here"}', "\\ud83d is half of a surrogate pair without the other half"),
        (b'{"QueueUrl":"http://h/1/q","MessageBody":"\\ude00"}', "\\ude00 is half of a surrogate pair without the other half"),
        (b'{"QueueUrl":"http://h/1/q","MessageBody":"\xed\xa0\xbd"}', "\\ud83d is half of a surrogate pair without the other half"),
        (b'{"x":' + b"[" * 10_000, "it is nested too deeply"),
    ],
)
def test_sqs_s_requests_that_are_none(broker: Broker, body: bytes, text: str) -> None:
    found = post(broker, body)
    assert found.startswith(f"The request is not what SendMessage takes: {text}")
    assert found.endswith(".")
    assert "`" not in found


def form(broker: Broker, query: str) -> str:
    with pytest.raises(urllib.error.HTTPError) as caught, urllib.request.urlopen(f"{broker.sqs_url}/?{query}", timeout=30):
        pass
    with caught.value as answer:
        return answer.read().decode()


def test_the_query_protocol_says_the_same(broker: Broker) -> None:
    found = form(broker, "Action=ReceiveMessage&QueueUrl=q&MaxNumberOfMessages=x")
    assert "The request has a parameter of the wrong type: MaxNumberOfMessages must be a whole number, and is a string." in found
    found = form(broker, "Action=SendMessage&QueueUrl=q&MessageBody=cut%ED%A0%BD")
    assert "no form of UTF-8: \\ud83d is half of a surrogate pair without the other half" in found


def test_http_quotes_no_bytes(broker: Broker) -> None:
    with socket.create_connection(("127.0.0.1", broker.port("http")), timeout=30) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nno header \xe9\r\n\r\n")
        answer = b"".join(iter(lambda: sock.recv(4096), b""))
    assert answer.endswith(b"\r\n\r\nillegal header line\n")


# ---- what is meant


def test_a_get_of_a_queue_s_url_says_what_it_is(broker: Broker) -> None:
    url = boto(broker).create_queue(QueueName="seen")["QueueUrl"]
    for address, text in ((url, "This is the URL of an Amazon SQS queue: hand it to an SDK"), (f"{broker.sqs_url}/favicon.ico", "queues are at /ACCOUNT/NAME")):
        with pytest.raises(urllib.error.HTTPError) as caught, urllib.request.urlopen(address, timeout=30):
            pass
        with caught.value as answer:
            found = answer.read().decode()
        assert answer.code == 404
        assert found.startswith("<UnknownOperationException/>")
        assert text in found


def test_a_dead_letter_target_that_is_not_there_is_named(broker: Broker) -> None:
    sqs = boto(broker)
    policy = json.dumps({"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:nowhere", "maxReceiveCount": 3})
    wanted = f"Value {policy} for parameter RedrivePolicy is invalid. Reason: Dead letter target does not exist."
    assert said(lambda: sqs.create_queue(QueueName="sick", Attributes={"RedrivePolicy": policy})) == wanted
    url = sqs.create_queue(QueueName="sick")["QueueUrl"]
    assert said(lambda: sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": policy})) == wanted
    wrong = json.dumps({"deadLetterTargetArn": "nowhere", "maxReceiveCount": 3})
    assert said(lambda: sqs.create_queue(QueueName="other", Attributes={"RedrivePolicy": wrong})).endswith("Invalid value for deadLetterTargetArn: nowhere.")


@pytest.mark.parametrize("name", ["amqps", "kafkas", "sqss"])
@pytest.mark.parametrize(("given", "missing"), [("", "tls.certificate and tls.key"), ("certificate", "tls.key"), ("key", "tls.certificate")])
def test_a_tls_listener_without_its_settings(name: str, given: str, missing: str, tmp_path: Path) -> None:
    settings = {f"tls.{given}": tmp_path / "x.pem"} if given else {}
    with pytest.raises(BrokerFailed) as caught, Broker(listeners=(name,), settings=settings):
        pass
    assert f"entrepot: listen.{name} = '127.0.0.1:0': a listener over TLS needs {missing}: PEM files, by their paths" in str(caught.value)
