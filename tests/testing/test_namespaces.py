"""Namespaces of their own on one broker: for every protocol, as context manager and as fixture."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from typing import Any

import boto3
import pika
import pytest
from botocore.exceptions import ClientError
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from entrepot.testing import Broker, Namespace, amqp, kafka, shared_broker, sqs

pytest_plugins = ["pytester"]


def client_of(space: Namespace) -> Any:
    return boto3.client("sqs", endpoint_url=space.sqs_url, **space.credentials)


def topics_of(bootstrap: str) -> set[str]:
    return set(AdminClient({"bootstrap.servers": bootstrap}).list_topics(timeout=20).topics)


def declare(url: str, queue: str) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    connection.channel().queue_declare(queue, durable=True)
    connection.close()


def is_declared(url: str, queue: str) -> bool:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    try:
        channel.queue_declare(queue, passive=True)
    except pika.exceptions.ChannelClosedByBroker:
        return False
    else:
        return True
    finally:
        connection.close()


@pytest.fixture
def pair() -> Any:
    with ExitStack() as stack:
        yield [stack.enter_context(shared_broker().namespace()) for _ in range(2)]


def test_accounts_are_apart(pair: list[Namespace]) -> None:
    one, other = map(client_of, pair)
    url = one.create_queue(QueueName="q")["QueueUrl"]
    assert url == f"{pair[0].sqs_url}/{pair[0].account}/q"
    with pytest.raises(ClientError):
        other.get_queue_url(QueueName="q")
    other.create_queue(QueueName="q", Attributes={"DelaySeconds": "5"})
    one.send_message(QueueUrl=url, MessageBody="x")
    assert one.receive_message(QueueUrl=url, WaitTimeSeconds=5)["Messages"][0]["Body"] == "x"


def test_virtual_hosts_are_apart(pair: list[Namespace]) -> None:
    declare(pair[0].amqp_url, "q")
    assert is_declared(pair[0].amqp_url, "q")
    assert not is_declared(pair[1].amqp_url, "q")


def test_kafka_listeners_are_apart(pair: list[Namespace]) -> None:
    assert pair[0].kafka_bootstrap != pair[1].kafka_bootstrap
    producer = Producer({"bootstrap.servers": pair[0].kafka_bootstrap})
    producer.produce("t", b"x")
    assert producer.flush(20) == 0
    assert "t" in topics_of(pair[0].kafka_bootstrap)
    assert "t" not in topics_of(pair[1].kafka_bootstrap)
    assert "t" not in topics_of(shared_broker().kafka_bootstrap)


def test_the_protocols_of_one_namespace_meet(pair: list[Namespace]) -> None:
    sqs_client = client_of(pair[0])
    url = sqs_client.create_queue(QueueName="meeting")["QueueUrl"]
    connection = pika.BlockingConnection(pika.URLParameters(pair[0].amqp_url))
    channel = connection.channel()
    channel.confirm_delivery()
    channel.basic_publish("", "meeting", b"from AMQP")
    connection.close()
    assert sqs_client.receive_message(QueueUrl=url, WaitTimeSeconds=10)["Messages"][0]["Body"] == "from AMQP"


def test_sqs_without_arguments() -> None:
    """As a test of an application that knows nothing of it: clients of the environment, also in another process."""
    before = dict(os.environ)
    with sqs() as space:
        found = boto3.client("sqs")
        assert found.meta.endpoint_url == space.sqs_url
        url = found.create_queue(QueueName="q")["QueueUrl"]
        assert space.account in url
        program = 'import boto3; print(boto3.client("sqs").get_queue_url(QueueName="q")["QueueUrl"])'
        assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip() == url
    with sqs():
        assert not boto3.client("sqs").list_queues().get("QueueUrls"), "the next one sees what the first has made"
    assert dict(os.environ) == before


def test_kafka_and_amqp_without_arguments() -> None:
    with kafka() as bootstrap, amqp() as url:
        assert topics_of(bootstrap) == set()
        declare(url, "q")
        assert is_declared(url, "q")


def test_one_broker_for_all() -> None:
    with sqs() as one, sqs() as other:
        assert one.sqs_url == other.sqs_url
        assert one.account != other.account


def test_a_closed_listener_is_closed() -> None:
    with Broker() as broker:
        with broker.namespace() as space:
            bootstrap = space.kafka_bootstrap
            assert topics_of(bootstrap) == set()
        with pytest.raises(Exception, match="_TRANSPORT|Failed|timed out"):
            AdminClient({"bootstrap.servers": bootstrap, "log_level": 0}).list_topics(timeout=1)


def test_namespaces_over_a_restart() -> None:
    with Broker() as broker, broker.namespace() as space:
        bootstrap = space.kafka_bootstrap
        client = client_of(space)
        url = client.create_queue(QueueName="q")["QueueUrl"]
        client.send_message(QueueUrl=url, MessageBody="kept")
        broker.kill()
        broker.start()
        assert space.kafka_bootstrap == bootstrap
        assert topics_of(bootstrap) == set()
        assert client.receive_message(QueueUrl=url, WaitTimeSeconds=10)["Messages"][0]["Body"] == "kept"


def test_the_fixtures(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import os
        import boto3

        def test_one(entrepot_sqs):
            boto3.client("sqs").create_queue(QueueName="q")
            assert os.environ["AWS_ENDPOINT_URL_SQS"] == entrepot_sqs.sqs_url

        def test_other(entrepot_sqs):
            assert not boto3.client("sqs").list_queues().get("QueueUrls")

        def test_all(entrepot_sqs, entrepot_kafka, entrepot_amqp, entrepot_stomp, entrepot_namespace):
            assert entrepot_amqp == entrepot_namespace.amqp_url
            assert entrepot_kafka == entrepot_namespace.kafka_bootstrap
            assert entrepot_sqs is entrepot_stomp is entrepot_namespace
            assert entrepot_stomp.stomp_host in entrepot_amqp
            assert entrepot_stomp.stomp_address[1]
        """
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=3)
