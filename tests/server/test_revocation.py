"""A change of users in a real process: connections of real clients end, their consumers are cancelled, what waits is answered."""

from __future__ import annotations

import gc
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import botocore.exceptions
import pika
import pika.exceptions
import pytest
from botocore.config import Config
from confluent_kafka import Consumer, KafkaError, Producer

from entrepot.testing import Broker

pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"),
]
DEADLINE_S = 30
NS = "public/default"


@pytest.fixture(autouse=True)
def _collect() -> Iterator[None]:
    yield
    gc.collect()


def entrepot(*arguments: str) -> str:
    return subprocess.run([sys.executable, "-m", "entrepot", *arguments], check=True, capture_output=True, text=True, timeout=60).stdout


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """ann and bob may do everything, before a test changes that."""
    file = tmp_path / "entrepot.toml"
    file.write_text('[users.ann]\npassword = "secret"\n[users.bob]\npassword = "secret"\n', "utf-8")
    with Broker(tmp_path / "data", listeners=("amqp", "kafka", "sqs", "http"), arguments=("--config", str(file))) as running:
        yield running


def amqp(broker: Broker, user: str) -> pika.BlockingConnection:
    return pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", broker.amqp_port, "/", pika.PlainCredentials(user, "secret")))


def kafka(broker: Broker, user: str, mechanism: str = "PLAIN", **more: Any) -> dict[str, Any]:
    return {
        "bootstrap.servers": broker.kafka_bootstrap,
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": mechanism,
        "sasl.username": user,
        "sasl.password": "secret",
        "log_level": 0,
        **more,
    }


def until(found: Callable[[], Any], what: str) -> Any:
    give_up = time.monotonic() + DEADLINE_S
    while not (answer := found()):
        assert time.monotonic() < give_up, what
    return answer


@pytest.mark.parametrize(
    "change",
    [
        ("delete_user", "bob"),
        ("set_password", "bob", "other"),
        ("clear_permission", "bob", NS),
    ],
    ids=lambda change: change[0],
)
def test_an_amqp_connection_ends(broker: Broker, change: tuple[str, ...]) -> None:
    ann, bob = amqp(broker, "ann"), amqp(broker, "bob")
    bob.channel().queue_declare("q", durable=True)
    broker.change_users(*change)
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as caught:
        until(lambda: bob.process_data_events(time_limit=0.1), "the connection is open")
    assert caught.value.reply_code == 320
    assert "user 'bob'" in caught.value.reply_text
    with pytest.raises(pika.exceptions.AMQPError):
        amqp(broker, "bob")
    ann.channel().queue_declare("q", passive=True)
    ann.close()


def test_an_amqp_consumer_is_cancelled_and_a_publisher_refused(broker: Broker) -> None:
    ann, bob = amqp(broker, "ann"), amqp(broker, "bob")
    channel = bob.channel()
    channel.queue_declare("q", durable=True)
    cancelled: list[str] = []
    channel.add_on_cancel_callback(lambda frame: cancelled.append(frame.method.consumer_tag))
    got: list[bytes] = []
    tag = channel.basic_consume("q", lambda _channel, _method, _properties, body: got.append(body), auto_ack=True)
    publisher = bob.channel()
    publisher.basic_publish("", "q", b"before")
    until(lambda: bob.process_data_events(time_limit=0.1) or got, "nothing came")
    broker.change_users("set_permission", "bob", NS, [".*", "", ""])
    until(lambda: bob.process_data_events(time_limit=0.1) or cancelled, "not cancelled")
    assert cancelled == [tag]
    publisher.basic_publish("", "q", b"refused")
    with pytest.raises(pika.exceptions.ChannelClosedByBroker, match=r"access to exchange 'amq\.default'"):
        until(lambda: publisher.queue_declare("q", passive=True) and False, "not refused")
    here = ann.channel()
    here.basic_publish("", "q", b"after")
    assert until(lambda: here.basic_get("q", auto_ack=True)[2], "it is gone") == b"after"
    assert got == [b"before"]
    ann.close()
    bob.close()


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
@pytest.mark.parametrize("namespace", [True, False])
def test_a_kafka_consumer_gets_nothing_more(broker: Broker, namespace: bool, mechanism: str) -> None:
    producer = Producer(kafka(broker, "ann"))
    producer.produce("t", b"before")
    assert producer.flush(DEADLINE_S) == 0
    errors: list[KafkaError] = []
    consumer = Consumer(
        kafka(broker, "bob", mechanism, **{"group.id": "g", "auto.offset.reset": "earliest", "fetch.wait.max.ms": 20_000, "error_cb": errors.append})
    )
    consumer.subscribe(["t"])
    assert until(lambda: consumer.poll(0.5), "nothing came").value() == b"before"
    if namespace:
        broker.change_users("clear_permission", "bob", NS)
    else:
        broker.change_users("set_permission", "bob", NS, [".*", ".*", "^g$"])
    producer.produce("t", b"after")
    assert producer.flush(DEADLINE_S) == 0

    def said() -> KafkaError | None:
        message = consumer.poll(0.2)
        assert message is None or message.error() is not None, message.value()
        return message.error() if message is not None else next(iter(errors), None)

    found = until(said, "nothing is said")
    expected = {KafkaError._AUTHENTICATION, KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT} if namespace else {KafkaError.TOPIC_AUTHORIZATION_FAILED}
    assert found.code() in expected
    broker.change_users("set_permission", "bob", NS, [".*", ".*", ".*"])  # or it takes its time to close
    consumer.close()


@pytest.mark.parametrize("change", ["user", "key", "permission"])
def test_a_receive_that_waits_ends(tmp_path: Path, change: str) -> None:
    data = tmp_path / "data"
    for name in ("ann", "bob"):
        entrepot("users", "add", name, "--password", "secret", "--data", str(data))
    key_id, secret = entrepot("users", "keys", "add", "bob", "--data", str(data)).split()
    with Broker(data, listeners=("sqs", "http")) as broker, ThreadPoolExecutor(1) as threads:
        once = Config(retries={"total_max_attempts": 1}, read_timeout=60)
        sqs = boto3.client("sqs", endpoint_url=broker.sqs_url, region_name="us-east-1", aws_access_key_id=key_id, aws_secret_access_key=secret, config=once)
        url = sqs.create_queue(QueueName="q")["QueueUrl"]
        began = time.monotonic()
        waiting = threads.submit(sqs.receive_message, QueueUrl=url, WaitTimeSeconds=20)
        until(lambda: _figure(broker, 'entrepot_sqs_requests_total{action="ReceiveMessage"}') == 1, "it does not wait")
        if change == "user":
            broker.change_users("delete_user", "bob")
        elif change == "key":
            broker.change_users("delete_access_key", key_id)
        else:
            broker.change_users("set_permission", "bob", NS, [".*", ".*", ""])
        error = waiting.exception(60)
        if change == "permission":
            assert error is None
        else:
            assert isinstance(error, botocore.exceptions.ConnectionClosedError)
        assert time.monotonic() - began < 20
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            sqs.receive_message(QueueUrl=url)
        assert caught.value.response["Error"]["Code"] in ("InvalidClientTokenId", "UnrecognizedClientException", "AccessDenied", "AccessDeniedException")


def _figure(broker: Broker, name: str) -> float:
    import urllib.request

    with urllib.request.urlopen(broker.http_url + "/metrics") as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith(name):
                return float(line.rpartition(" ")[2])
    return 0.0


def test_a_user_goes_with_its_section_of_the_configuration(tmp_path: Path) -> None:
    data, file = tmp_path / "data", tmp_path / "entrepot.toml"
    entrepot("users", "add", "eve", "--password", "secret", "--data", str(data))
    both = '[users.ann]\npassword = "secret"\n[users.bob]\npassword = "secret"\n'
    file.write_text(both, "utf-8")
    with Broker(data, listeners=("amqp",), arguments=("--config", str(file))) as broker:
        amqp(broker, "bob").close()
    assert "bob" in entrepot("users", "list", "--data", str(data))  # a command without the file takes nobody away
    file.write_text(both.partition("[users.bob]")[0], "utf-8")
    with Broker(data, listeners=("amqp",), arguments=("--config", str(file))) as broker:
        assert "user 'bob' is deleted" in broker.log
        with pytest.raises(pika.exceptions.AMQPError):
            amqp(broker, "bob")
        for name in ("ann", "eve"):
            amqp(broker, name).close()


def test_a_forbidden_namespace_is_listed_and_stays_shut(tmp_path: Path) -> None:
    data = ("--data", str(tmp_path / "data"))
    entrepot("users", "add", "ann", "--password", "secret", *data)
    entrepot("users", "forbid", "ann", "--namespace", NS, *data)
    assert "ann\tall namespaces but public/default\n" in entrepot("users", "list", *data)
    with Broker(tmp_path / "data", listeners=("amqp",)) as broker, pytest.raises(pika.exceptions.ProbableAccessDeniedError, match="530"):
        amqp(broker, "ann")
