"""SASL (PLAIN, SCRAM-SHA-256, SCRAM-SHA-512) and TLS, through every client."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import secrets
import shutil
import ssl
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError as AiokafkaError
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient
from kafka_endpoints import PASSWORD, USER, Endpoint, named_endpoints
from kafka_java import jars_in, run_java
from kafka_messages import DEADLINE_S, create_topic, produce, read_all
from test_tls import make_identity

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from kafka import KafkaConsumer, KafkaProducer
    from kafka.errors import KafkaError as KafkaPythonError

NewTopicName = Callable[..., str]
SHORT_S = 0.7  # how long clients try what is never answered as they wish
MECHANISMS = pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])


@pytest.fixture(autouse=True)
def wrong_clients_end() -> Iterator[None]:
    """One whose error was caught lives on in its traceback, and goes on to be wrong: everybody else of that name would wait for it."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def sasl(endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """A listener that wants SASL, and where USER is known; Entrepot's does as soon as it has a user of somebody's own."""
    named = named_endpoints(os.environ)
    if named:
        if "sasl" not in named:
            pytest.skip("ENTREPOT_TEST_KAFKA_SASL names no listener")
        yield named["sasl"]
        return
    from entrepot.testing import Broker

    file = tmp_path_factory.mktemp("sasl") / "entrepot.toml"
    file.write_text(f'[users.{USER}]\npassword = "{PASSWORD}"\n')
    with Broker(listeners=("amqp", "kafka", "http"), arguments=("--config", str(file))) as broker:
        yield Endpoint(f"127.0.0.1:{broker.port('kafka')}")


@pytest.fixture
def topic(sasl: Endpoint) -> Iterator[NewTopicName]:
    """topic() → a new topic of one partition behind the listener with SASL."""
    client = AdminClient({"bootstrap.servers": sasl.bootstrap, **{key.replace("_", "."): value for key, value in login("PLAIN").items()}})
    made: list[str] = []

    def make(partitions: int = 1) -> str:
        made.append(f"interop.{secrets.token_hex(6)}")
        create_topic(client, made[-1], partitions)
        return made[-1]

    yield make
    for future in client.delete_topics(made).values() if made else ():
        future.result(DEADLINE_S)


@pytest.fixture(scope="module")
def tls(endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """A listener with TLS, with a certificate made for the test, and the authority to trust."""
    named = named_endpoints(os.environ)
    if named:
        if "tls" not in named:
            pytest.skip("ENTREPOT_TEST_KAFKA_TLS names no listener")
        yield named["tls"]
        return
    from entrepot.testing import Broker

    identity = make_identity(tmp_path_factory.mktemp("tls"), "server")
    settings = {"tls.certificate": identity.certificate, "tls.key": identity.key}
    with Broker(listeners=("amqp", "kafka", "kafkas", "http"), settings=settings) as broker:
        yield Endpoint(f"127.0.0.1:{broker.port('kafkas')}", str(identity.certificate))


def login(mechanism: str, password: str = PASSWORD) -> dict[str, Any]:
    """What librdkafka must be told, with underscores for dots."""
    return {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": mechanism, "sasl_username": USER, "sasl_password": password}


@MECHANISMS
def test_librdkafka(sasl: Endpoint, topic: NewTopicName, mechanism: str) -> None:
    name = topic()
    produce(sasl.bootstrap, name, [b"one", b"two"], **login(mechanism))
    assert [message.value() for message in read_all(sasl.bootstrap, name, 2, **login(mechanism))] == [b"one", b"two"]


@MECHANISMS
def test_librdkafka_with_a_wrong_password(sasl: Endpoint, mechanism: str) -> None:
    errors: list[KafkaError] = []
    options = {key.replace("_", "."): value for key, value in login(mechanism, "wrong").items()}
    client = AdminClient({"bootstrap.servers": sasl.bootstrap, "error_cb": errors.append, **options})
    with pytest.raises(KafkaException):
        client.list_topics(timeout=SHORT_S)
    give_up = time.monotonic() + 30  # who is wrong again and again waits for the answer
    while KafkaError._AUTHENTICATION not in [error.code() for error in errors]:
        assert time.monotonic() < give_up
        client.poll(0.1)


def test_nobody_comes_in_without(sasl: Endpoint) -> None:
    client = AdminClient({"bootstrap.servers": sasl.bootstrap, "api.version.request.timeout.ms": 1000})
    with pytest.raises(KafkaException):
        client.list_topics(timeout=SHORT_S)


@MECHANISMS
def test_aiokafka(sasl: Endpoint, topic: NewTopicName, mechanism: str) -> None:
    name = topic()
    options: dict[str, Any] = {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": mechanism, "sasl_plain_username": USER}

    async def run() -> None:
        async with AIOKafkaProducer(bootstrap_servers=sasl.bootstrap, sasl_plain_password=PASSWORD, **options) as producer:
            await producer.send_and_wait(name, b"one")
        settings = {"sasl_plain_password": PASSWORD, "auto_offset_reset": "earliest", **options}
        async with AIOKafkaConsumer(name, bootstrap_servers=sasl.bootstrap, **settings) as consumer:
            assert (await asyncio.wait_for(consumer.getone(), DEADLINE_S)).value == b"one"
        wrong = AIOKafkaProducer(bootstrap_servers=sasl.bootstrap, sasl_plain_password="wrong", **options)
        with pytest.raises(AiokafkaError):
            await wrong.start()
        await wrong.stop()

    asyncio.run(run())


@MECHANISMS
def test_kafka_python(sasl: Endpoint, topic: NewTopicName, mechanism: str) -> None:
    name = topic()
    options = {"bootstrap_servers": sasl.bootstrap, "security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": mechanism, "sasl_plain_username": USER}
    with closing(KafkaProducer(sasl_plain_password=PASSWORD, **options)) as producer:
        producer.send(name, b"one").get(DEADLINE_S)
    with closing(KafkaConsumer(name, sasl_plain_password=PASSWORD, auto_offset_reset="earliest", consumer_timeout_ms=DEADLINE_S * 1000, **options)) as consumer:
        assert next(consumer).value == b"one"
    with pytest.raises(KafkaPythonError):
        KafkaProducer(sasl_plain_password="wrong", bootstrap_timeout_ms=int(SHORT_S * 1000), **options)


@MECHANISMS
def test_kafkajs(sasl: Endpoint, fetched: Path, topic: NewTopicName, mechanism: str) -> None:
    library = fetched / "kafkajs-2.2.4" / "node_modules"
    if not shutil.which("node") or not library.exists():
        pytest.skip("node is not installed, or kafkajs not yet fetched (test_kafkajs.py does): kafkajs is not tested")
    program = """
        const { Kafka, logLevel } = require('kafkajs')
        const [broker, topic, mechanism, username] = process.argv.slice(1)
        const client = password => new Kafka({ brokers: [broker], logLevel: logLevel.NOTHING, sasl: { mechanism, username, password }, retry: { retries: 0 } })
        const run = async () => {
          const producer = client(process.env.PASSWORD).producer()
          await producer.connect()
          const [{ baseOffset }] = await producer.send({ topic, messages: [{ value: 'one' }] })
          await producer.disconnect()
          const wrong = await client('wrong').admin().connect().then(() => 'accepted', error => error.name)
          console.log(JSON.stringify([baseOffset, wrong]))
        }
        run()
    """
    environment = os.environ | {"PASSWORD": PASSWORD, "NODE_PATH": str(library), "KAFKAJS_NO_PARTITIONER_WARNING": "1"}
    words = ["node", "-e", program, sasl.bootstrap, topic(), mechanism.lower(), USER]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["0", "KafkaJSSASLAuthenticationError"]


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
def test_java(sasl: Endpoint, fetched: Path, topic: NewTopicName, tmp_path: Path, mechanism: str) -> None:
    jars = jars_in(fetched)
    name = topic(2)
    module = "plain.Plain" if mechanism == "PLAIN" else "scram.Scram"
    options = tmp_path / "client.properties"
    for password, accepted in ((PASSWORD, True), ("wrong", False)):
        options.write_text(
            f"security.protocol=SASL_PLAINTEXT\nsasl.mechanism={mechanism}\n"
            f'sasl.jaas.config=org.apache.kafka.common.security.{module}LoginModule required username="{USER}" password="{password}";\n'
        )
        words = ("--bootstrap-server", sasl.bootstrap, "--command-config", str(options), "--describe", "--topic", name)
        done = run_java(jars, "org.apache.kafka.tools.TopicCommand", *words)
        assert ("PartitionCount: 2" in done.stdout) is accepted, done.stdout + done.stderr
        assert ("Authentication failed" in done.stdout + done.stderr) is not accepted, done.stdout + done.stderr


def test_tls_with_librdkafka(tls: Endpoint) -> None:
    name = f"interop.tls.{os.getpid()}"
    options = {"security_protocol": "SSL", "ssl_ca_location": tls.authority}
    produce(tls.bootstrap, name, [b"one" * 100_000, b"two"], **options)
    client = AdminClient({"bootstrap.servers": tls.bootstrap, "security.protocol": "SSL", "ssl.ca.location": tls.authority})
    partitions = client.list_topics(name, timeout=DEADLINE_S).topics[name].partitions
    assert sorted(message.value() or b"" for message in read_all(tls.bootstrap, name, 2, partitions, **options)) == [b"one" * 100_000, b"two"]
    client.delete_topics([name])[name].result(DEADLINE_S)


def test_tls_with_the_others(tls: Endpoint) -> None:
    name = f"interop.tls.others.{os.getpid()}"
    context = ssl.create_default_context(cafile=tls.authority)

    async def run() -> None:
        async with AIOKafkaProducer(bootstrap_servers=tls.bootstrap, security_protocol="SSL", ssl_context=context) as producer:
            await producer.send_and_wait(name, b"one")

    asyncio.run(run())
    options = {"bootstrap_servers": tls.bootstrap, "security_protocol": "SSL", "ssl_context": context}
    with closing(KafkaConsumer(name, auto_offset_reset="earliest", consumer_timeout_ms=DEADLINE_S * 1000, **options)) as consumer:
        assert next(consumer).value == b"one"


def test_tls_that_is_not_trusted(tls: Endpoint) -> None:
    errors: list[KafkaError] = []
    producer = Producer({"bootstrap.servers": tls.bootstrap, "security.protocol": "SSL", "error_cb": errors.append})
    with pytest.raises(KafkaException):
        producer.list_topics(timeout=SHORT_S)
    give_up = time.monotonic() + DEADLINE_S
    while KafkaError._SSL not in [error.code() for error in errors]:
        assert time.monotonic() < give_up
        producer.poll(0.1)


def test_plain_text_on_the_tls_port_is_refused(tls: Endpoint) -> None:
    client = AdminClient({"bootstrap.servers": tls.bootstrap})
    with pytest.raises(KafkaException):
        client.list_topics(timeout=SHORT_S)
    test_tls_with_librdkafka(tls)  # and nobody else is hurt
