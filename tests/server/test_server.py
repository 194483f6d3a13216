"""The whole process: what it keeps, how it ends, and what it refuses."""

from __future__ import annotations

import gc
import resource
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pika
import pika.exceptions
import pytest
from prometheus_client.parser import text_string_to_metric_families

from entrepot.config import keys
from entrepot.testing import Broker, BrokerFailed

# pika leaves the sockets of connections that the broker closed, or never opened, to the collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"),
]
PERSISTENT = pika.BasicProperties(delivery_mode=2)


def connect(broker: Broker, user: str = "guest", password: str = "guest", vhost: str = "/") -> pika.BlockingConnection:
    credentials = pika.PlainCredentials(user, password)
    return pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", broker.amqp_port, vhost, credentials))


def metrics(broker: Broker) -> dict[str, float]:
    with urllib.request.urlopen(broker.http_url + "/metrics") as answer:
        families = text_string_to_metric_families(answer.read().decode())
        samples = [sample for family in families for sample in family.samples if sample.labels.keys() <= {"worker"}]
        return {sample.name + sample.labels.get("worker", ""): sample.value for sample in samples}


@pytest.fixture(autouse=True)
def _collect() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture
def broker() -> Iterator[Broker]:
    with Broker() as running:
        yield running


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_what_was_confirmed_is_there_after_a_restart(broker: Broker, end: str) -> None:
    connection = connect(broker)
    channel = connection.channel()
    channel.queue_declare("q", durable=True)
    channel.confirm_delivery()
    for number in range(20):
        channel.basic_publish("", "q", b"%d" % number, PERSISTENT)
    getattr(broker, end)()
    broker.start()
    connection = connect(broker)
    channel = connection.channel()
    assert channel.queue_declare("q", durable=True, passive=True).method.message_count == 20
    assert [channel.basic_get("q", auto_ack=True)[2] for _ in range(20)] == [b"%d" % number for number in range(20)]
    connection.close()


def test_clients_are_told_when_it_stops(broker: Broker) -> None:
    connection = connect(broker)
    connection.channel()
    process = broker.process
    assert process is not None
    process.terminate()
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as told:
        connection.sleep(30)  # until the broker says something
    assert told.value.reply_code == 320
    assert process.wait(30) == 0


def test_a_client_that_does_not_answer_does_not_hold_up_the_stop() -> None:
    with Broker(settings={"limits.stop_grace_ms": 100}) as broker, socket.create_connection(("127.0.0.1", broker.amqp_port)) as silent:
        silent.sendall(b"AMQP\x00\x00\x09\x01")
        assert silent.recv(1)
        broker.stop()


@pytest.fixture
def one_process() -> Iterator[Broker]:
    """For what ends a process: a worker would be started again."""
    with Broker(workers=1) as running:
        yield running


def test_a_failed_disk_ends_the_process_and_nothing_is_confirmed(one_process: Broker) -> None:
    broker = one_process
    connection = connect(broker)
    channel = connection.channel()
    channel.queue_declare("q", durable=True)
    channel.confirm_delivery()
    process = broker.process
    assert process is not None
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (100_000, 100_000))  # writes beyond are errors from now on
    with pytest.raises(pika.exceptions.AMQPConnectionError):
        channel.basic_publish("", "q", b"x" * 1_000_000, PERSISTENT)
    assert process.wait(30) == 74
    assert "the store has failed" in broker.log
    broker.process = None
    broker.start()
    connection = connect(broker)
    assert connection.channel().queue_declare("q", durable=True, passive=True).method.message_count == 0
    connection.close()


def test_a_data_directory_has_one_broker(broker: Broker) -> None:
    with pytest.raises(BrokerFailed, match="in use by another process"), Broker(broker.data_dir):
        pass


def test_other_machines_need_users(tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    elsewhere = ("--listen", "amqp=0.0.0.0:0")
    with pytest.raises(BrokerFailed, match="there are no users"), Broker(data, listeners=(), arguments=elsewhere):
        pass
    subprocess.run([sys.executable, "-m", "entrepot", "users", "add", "ann", "--password", "secret", "--data", data], check=True, capture_output=True)
    with Broker(data, listeners=(), arguments=elsewhere) as broker:
        connection = connect(broker, "ann", "secret")
        connection.close()
        with pytest.raises(pika.exceptions.ProbableAuthenticationError):
            connect(broker, "ann", "wrong")


def test_users_and_namespaces_of_the_configuration(tmp_path: Path) -> None:
    file = tmp_path / "entrepot.toml"
    file.write_text('namespaces = ["public/default", "tenant/space"]\n[users.bob]\npassword = "b"\nnamespaces = ["tenant/space"]\n')
    with Broker(arguments=("--config", str(file))) as broker:
        connection = connect(broker, "bob", "b", "tenant/space")
        connection.channel().queue_declare("q")
        connection.close()
        with pytest.raises(pika.exceptions.ProbableAccessDeniedError):
            connect(broker, "bob", "b", "/")


def test_metrics_count_what_happened(broker: Broker) -> None:
    before = metrics(broker)
    connection = connect(broker)
    channel = connection.channel()
    channel.queue_declare("q", durable=True)
    channel.confirm_delivery()
    for _ in range(5):
        channel.basic_publish("", "q", b"x", PERSISTENT)
    channel.basic_get("q", auto_ack=True)
    after = metrics(broker)
    assert after["entrepot_broker_published_total"] - before["entrepot_broker_published_total"] == 5
    assert after["entrepot_broker_delivered_total"] - before["entrepot_broker_delivered_total"] == 1
    assert after["entrepot_store_commits_total"] - before["entrepot_store_commits_total"] >= 5
    assert after["entrepot_store_commit_seconds_total"] > before["entrepot_store_commit_seconds_total"]
    assert after["entrepot_queues"] == 1
    assert after["entrepot_connections"] == (2 if broker.workers == 1 else 1 + broker.workers)  # who asks is one, at each worker
    assert after["entrepot_session_failures_total"] == 0
    resident = [value for name, value in after.items() if name.startswith("entrepot_memory_resident_bytes")]  # of several by worker
    assert len(resident) == broker.workers
    assert min(resident) > 1 << 20
    connection.close()


def test_over_tls(tmp_path: Path) -> None:
    import ssl

    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost -days 2 -keyout"
    subprocess.run([*words.split(), str(key), "-out", str(certificate)], check=True, capture_output=True)
    with Broker(listeners=("amqps",), settings={"tls.certificate": certificate, "tls.key": key}) as broker:
        trust = ssl.create_default_context(cafile=str(certificate))
        parameters = pika.ConnectionParameters("127.0.0.1", broker.port("amqps"), ssl_options=pika.SSLOptions(trust, "localhost"))
        connection = pika.BlockingConnection(parameters)
        channel = connection.channel()
        channel.queue_declare("q")
        channel.confirm_delivery()
        body = bytes(range(256)) * 2000
        channel.basic_publish("", "q", body)
        same = channel.basic_get("q")[2] == body
        assert same
        connection.close()
    with (
        pytest.raises(BrokerFailed, match=r"tls: .*none\.pem is not a file"),
        Broker(listeners=("amqps",), settings={"tls.certificate": "none.pem", "tls.key": key}),
    ):
        pass


def test_every_figure_that_the_limits_name_is_there(broker: Broker) -> None:
    named = {found.extra["metric"] for found in keys() if found.extra["metric"]}
    assert named <= set(metrics(broker))


STANDS_STILL = """
from entrepot import server
from entrepot.cli import main
server.Node = lambda *_: (print("recovering", flush=True), input())
main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_it_recovers_ends_it_at_once(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-c", STANDS_STILL, "serve", "--data", str(tmp_path / "data"), "--listen", "http=127.0.0.1:0"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "recovering\n"
        process.send_signal(number)
        assert process.wait(30) == 1
        assert "stopping before it is ready" in process.stderr.read()
