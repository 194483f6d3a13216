"""The commands that ask a running broker, as a user runs them, with clients of three protocols connected."""

from __future__ import annotations

import gc
import io
import json
import os
import select
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import boto3
import pika
import pika.exceptions
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from entrepot.admin import socket_file
from entrepot.admin.client import Client
from entrepot.admin.listener import CONNECTIONS_MAX
from entrepot.admin.requests import AddUser, ListQueues, QueueRow
from entrepot.cli import main
from entrepot.model.errors import OutcomeUnknown, Refused, Unavailable
from entrepot.testing import Broker

# pika leaves the sockets of connections that the broker closed, or never opened, to the collector.
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


def ran_apart(data: Path, *arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    """The command as a process of its own, for what opens the data directory."""
    command = [sys.executable, "-m", "entrepot", *arguments, "--data", str(data)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, input=given, env={**os.environ, "NO_COLOR": "1"})


def ran(data: Path, *arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    """The command, in this process, which takes half a second less."""
    output, errors = io.StringIO(), io.StringIO()
    command = ["entrepot", *arguments, "--data", str(data)]
    with (
        patch.object(sys, "argv", command),
        patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO((given or "").encode()))),
        patch.dict(os.environ, {"NO_COLOR": "1"}),
        redirect_stdout(output),
        redirect_stderr(errors),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    return subprocess.CompletedProcess(command, int(ended.value.code or 0), output.getvalue(), errors.getvalue())


def told(data: Path, *arguments: str, given: str | None = None, by: Any = ran) -> str:
    done = by(data, *arguments, given=given)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def listed(data: Path, kind: str, *arguments: str, by: Any = ran) -> list[dict[str, Any]]:
    document = json.loads(told(data, kind, "list", "--json", *arguments, by=by))
    assert list(document) == [kind]
    rows: list[dict[str, Any]] = document[kind]
    return rows


def until(found: Callable[[], Any], what: str) -> Any:
    give_up = time.monotonic() + DEADLINE_S
    while not (answer := found()):
        assert time.monotonic() < give_up, what
    return answer


def amqp(broker: Broker, user: str = "guest", password: str = "guest", **more: Any) -> pika.BlockingConnection:
    return pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", broker.amqp_port, "/", pika.PlainCredentials(user, password), **more))


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path / "data", listeners=("amqp", "kafka", "sqs", "http")) as running:
        yield running


@pytest.fixture
def one_process(tmp_path: Path) -> Iterator[Broker]:
    """For what is said over one process's socket: each worker has one of its own."""
    with Broker(tmp_path / "data", listeners=("amqp", "http"), workers=1) as running:
        yield running


def test_what_clients_of_three_protocols_have_is_listed(broker: Broker) -> None:
    with ExitStack() as ending:
        connection = amqp(broker, client_properties={"connection_name": "billing\x1b[2J"})
        ending.callback(connection.close)
        channel = connection.channel()
        channel.queue_declare("orders\u202e", durable=True)
        channel.queue_declare("log", durable=True, arguments={"x-queue-type": "stream"})
        for _ in range(3):
            channel.basic_publish("", "orders\u202e", b"x")
        assert until(lambda: channel.basic_get("orders\u202e")[0], "nothing to get")
        channel.basic_consume("orders\u202e", lambda *_: None, consumer_tag="reader")
        sqs = boto3.client("sqs", endpoint_url=broker.sqs_url, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test")
        ending.callback(sqs.close)
        url = sqs.create_queue(QueueName="jobs")["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody="now")
        sqs.send_message(QueueUrl=url, MessageBody="later", DelaySeconds=900)
        producer = Producer({"bootstrap.servers": broker.kafka_bootstrap})
        for number in range(5):
            producer.produce("events", str(number), partition=0)
        producer.flush()
        consumer = Consumer({"bootstrap.servers": broker.kafka_bootstrap, "group.id": "readers", "client.id": "kafka-reader", "enable.auto.commit": False})
        ending.callback(consumer.close)
        consumer.subscribe(["events"])
        until(lambda: consumer.poll(0.1) is None and consumer.assignment(), "no assignment")
        consumer.commit(offsets=[TopicPartition("events", 0, 2)], asynchronous=False)

        data = broker.data_dir
        queues = {row["name"]: row for row in listed(data, "queues")}
        kept = {key: queues["orders\u202e"][key] for key in ("namespace", "type", "durable", "exclusive", "messages_unacknowledged", "consumers")}
        assert kept == {"namespace": NS, "type": "classic", "durable": True, "exclusive": False, "messages_unacknowledged": 3, "consumers": 1}
        assert queues["orders\u202e"]["bytes"] > 0
        assert (queues["jobs"]["messages_ready"], queues["jobs"]["messages_delayed"]) == (1, 1)
        topics = {row["name"]: row for row in listed(data, "topics")}
        assert (topics["log"]["kind"], topics["events"]["kind"], topics["events"]["records"]) == ("stream", "topic", 5)
        assert topics["events"]["offsets"][0] == [0, 5]
        (group,) = listed(data, "groups")
        assert (group["name"], group["members"], group["partitions_committed"], group["lag"]) == ("readers", 1, 1, 3)
        connections = listed(data, "connections")
        (of_amqp,) = (row for row in connections if row["protocol"] == "amqp")
        assert of_amqp["users"] == ["guest"]
        assert of_amqp["namespaces"] == [NS]
        assert (of_amqp["channels"], of_amqp["consumers"]) == (1, 1)
        assert of_amqp["name"] == "billing\x1b[2J"
        assert {row["name"] for row in connections if row["protocol"] == "kafka"} >= {"kafka-reader"}
        assert all(row["product"].startswith("confluent-kafka-python ") for row in connections if row["protocol"] == "kafka")
        assert [row["users"] for row in connections if row["protocol"] == "sqs"] == [["guest"]]
        assert listed(data, "namespaces")[0]["queues"] == 2
        assert [row["name"] for row in listed(data, "queues", "--prefix", "jo")] == ["jobs"]
        channel.exchange_declare("routes", "topic", auto_delete=True)
        channel.exchange_bind("routes", "amq.headers", "", {"x-match": "any", "kind": "\x1b[2J"})
        channel.queue_bind("orders\u202e", "routes", "a.#")
        exchanges = {row["name"]: row for row in listed(data, "exchanges")}
        assert exchanges["routes"] == {
            "namespace": NS, "name": "routes", "type": "topic", "durable": False, "auto_delete": True, "internal": False, "bindings": 1
        }  # fmt: skip
        assert exchanges["amq.headers"]["bindings"] == 1
        bindings = {row["source"]: row for row in listed(data, "bindings")}
        assert bindings["routes"] == {
            "namespace": NS, "source": "routes", "destination_kind": "queue", "destination": "orders\u202e", "routing_key": "a.#", "arguments": "",
            "users": ["guest"],
        }  # fmt: skip
        assert bindings["amq.headers"]["arguments"] == "kind=\x1b[2J, x-match=any"
        assert [row["source"] for row in listed(data, "bindings", "--prefix", "rou")] == ["routes"]
        assert listed(data, "connections", "--user", "nobody") == []

        # nothing that strangers have named reaches a terminal as it is
        shown = told(data, "queues", "list") + told(data, "queues", "list", "--json") + told(data, "connections", "list") + told(data, "topics", "list")
        shown += told(data, "exchanges", "list") + told(data, "bindings", "list")
        assert "orders\\u202e" in shown
        assert shown.isascii()
        assert shown.replace("\n", "").isprintable()


def test_users_are_changed_while_the_broker_runs_and_at_once(broker: Broker) -> None:
    data = broker.data_dir
    assert told(data, "users", "add", "ann", "--password-file", "-", given="secret\n") == "ann added\n"
    told(data, "users", "add", "bob", "--password-file", "-", given="secret\n")
    assert told(data, "users", "list").startswith("ann\tall namespaces\nbob\t")
    assert [row["name"] for row in listed(data, "users", "--prefix", "b", "--namespace", NS)] == ["bob"]
    ann, bob = amqp(broker, "ann", "secret"), amqp(broker, "bob", "secret")
    channel = bob.channel()
    channel.queue_declare("q", durable=True)
    told(data, "users", "permit", "bob", "--configure", "", "--read", ".*", "--write", "")
    with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="403"):
        channel.queue_declare("another")
    told(data, "users", "set-password", "bob", "--password-file", "-", given="other\n")
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker) as caught:
        until(lambda: bob.process_data_events(time_limit=0.1), "the connection is open")
    assert caught.value.reply_code == 320
    amqp(broker, "bob", "other").close()
    told(data, "users", "forbid", "bob", "--namespace", NS)
    with pytest.raises(pika.exceptions.ProbableAccessDeniedError, match="530"):
        amqp(broker, "bob", "other")
    key = json.loads(told(data, "users", "keys", "add", "ann", "--json"))
    with closing(
        boto3.client("sqs", endpoint_url=broker.sqs_url, region_name="us-east-1", aws_access_key_id=key["id"], aws_secret_access_key=key["secret"])
    ) as sqs:
        sqs.list_queues()
        told(data, "users", "keys", "delete", key["id"])
        with pytest.raises(sqs.exceptions.ClientError, match="security token"):
            sqs.list_queues()
    told(data, "users", "delete", "bob")
    assert "administration: users/set-password: name 'bob'\n" in broker.log
    assert {row["name"] for row in listed(data, "users")} == {"ann", "guest"}
    ann.channel().queue_declare("q", passive=True)
    ann.close()
    broker.restart()
    assert {row["name"] for row in listed(data, "users")} == {"ann", "guest"}
    broker.stop()
    assert {row["name"] for row in listed(data, "users", by=ran_apart)} == {"ann", "guest"}  # the same command, with no broker there


def test_a_connection_is_closed(broker: Broker) -> None:
    connection = amqp(broker)
    producer = Producer({"bootstrap.servers": broker.kafka_bootstrap, "client.id": "other", "log_level": 0})
    producer.produce("events", "x")
    assert producer.flush(DEADLINE_S) == 0
    ids = {row["protocol"]: row["id"] for row in listed(broker.data_dir, "connections")}
    told(broker.data_dir, "connections", "close", str(ids["amqp"]), "--reason", "too loud")
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker, match="too loud"):
        until(lambda: connection.process_data_events(time_limit=0.1), "the connection is open")
    told(broker.data_dir, "connections", "close", str(ids["kafka"]))
    until(lambda: ids["kafka"] not in {row["id"] for row in listed(broker.data_dir, "connections")}, "it is there still")
    again = ran(broker.data_dir, "connections", "close", str(ids["amqp"]))
    assert (again.returncode, again.stderr) == (2, f"entrepot: there is no connection {ids['amqp']}\n")


def test_the_socket_is_its_owners_and_what_a_crash_leaves_of_it_is_no_hindrance(tmp_path: Path) -> None:
    data = tmp_path / ("d" * 120)  # further than a socket's name goes
    with Broker(data, listeners=("amqp",)) as broker:
        path = (data if broker.workers == 1 else data / "w0") / socket_file.NAME
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(data.stat().st_mode) == 0o700
        told(data, "namespaces", "add", "acme/orders")
        broker.kill()
        assert path.is_socket()
        assert {row["name"] for row in listed(data, "namespaces", by=ran_apart)} == {NS, "acme/orders"}
        gone = ran_apart(data, "queues", "list")
        assert gone.returncode == 2
        assert f"no broker runs on {data}" in gone.stderr
        assert subprocess.run([sys.executable, "-m", "entrepot", "store", "verify", str(data)], capture_output=True, timeout=60).returncode == 0
        broker.start()
        assert listed(data, "queues") == []
        told(data, "namespaces", "delete", "acme/orders")
        assert [row["name"] for row in listed(data, "namespaces")] == [NS]
        broker.stop()
        assert not path.exists()


def test_a_directory_that_takes_no_socket_costs_the_commands_and_no_more(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / socket_file.NAME).mkdir(parents=True)
    data.chmod(0o700)
    with Broker(data, listeners=("amqp",), workers=1) as broker:  # each worker has a directory of its own, made when it starts
        amqp(broker).close()
        assert "the broker cannot be administered while it runs: no socket in the data directory" in broker.log
        for kind in ("queues", "users"):
            done = ran(data, kind, "list")
            assert done.returncode != 0
            assert len(done.stderr.splitlines()) == 1


def test_it_answers_when_clients_have_all_connections(tmp_path: Path) -> None:
    with Broker(tmp_path / "data", listeners=("amqp",), settings={"limits.connections": "1"}, workers=1) as broker:  # each worker has its part of them
        connection = amqp(broker)
        with pytest.raises(pika.exceptions.AMQPConnectionError):
            amqp(broker)
        (row,) = listed(broker.data_dir, "connections")
        assert row["protocol"] == "amqp"
        connection.channel()
        connection.close()


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        (("queues", "list"), "nothing", "is no data directory"),
        (("users", "list"), "nothing", "is no data directory"),
        (("users", "delete", "guest"), "another", "is no data directory"),
        (("connections", "list"), "another", "is no data directory"),
        (("queues", "list"), "stopped", "no broker runs on"),
        (("users", "delete", "ann"), "stopped", "there is no user 'ann'"),
        (("queues", "list"), "locked", "no broker runs on"),
        (("users", "list"), "locked", "it does not take commands yet"),
    ],
)
def test_where_no_broker_answers_the_error_says_what_to_do(tmp_path: Path, arguments: tuple[str, ...], kind: str, words: str) -> None:
    import fcntl

    data = tmp_path / "data"
    if kind != "nothing":
        data.mkdir(mode=0o700)
    if kind in ("stopped", "locked"):
        (data / "lock").touch(mode=0o600)
    with ExitStack() as ending:
        if kind == "locked":
            fcntl.flock(ending.enter_context((data / "lock").open("w")), fcntl.LOCK_EX)
        done = ran_apart(data, *arguments)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert words in done.stderr
    assert kind not in ("nothing", "another") or not (data / "lock").exists()  # nothing was made there


def test_a_broker_that_does_not_answer_is_told_from_none(one_process: Broker) -> None:
    os.kill(one_process.pid, signal.SIGSTOP)
    try:
        for request, error in (
            (lambda client: client.rows(ListQueues(), QueueRow), Unavailable),
            (lambda client: client.change(AddUser("ann", "x")), OutcomeUnknown),
        ):
            with closing(Client(one_process.data_dir, 0.5)) as client, pytest.raises(error, match=str(one_process.data_dir)):
                request(client)
    finally:
        os.kill(one_process.pid, signal.SIGCONT)


@pytest.mark.parametrize(("arguments", "words"), [(("queues", "list"), "ended the connection"), (("users", "delete", "guest"), "may have been made")])
def test_a_broker_that_hangs_up_is_a_failure(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    listening = socket_file.bind(tmp_path, 1)
    listening.setblocking(True)

    def hang_up() -> None:
        accepted, _ = listening.accept()
        accepted.recv(1)
        accepted.close()

    thread = threading.Thread(target=hang_up)
    thread.start()
    done = ran(tmp_path, *arguments)
    thread.join()
    listening.close()
    assert done.returncode == 1
    assert words in done.stderr


def test_another_key_than_what_there_is_was_sealed_with_stops_the_start(tmp_path: Path) -> None:
    data, other = tmp_path / "data", tmp_path / "other"
    other.write_bytes(bytes(range(32)))
    told(data, "users", "add", "ann", "--password-file", "-", given="secret-word", by=ran_apart)
    key = json.loads(told(data, "users", "keys", "add", "ann", "--json", by=ran_apart))
    assert key["id"] in told(data, "users", "keys", "list", "ann", "--set", f"secrets_key_file={data / 'secrets.key'}", by=ran_apart)
    done = ran_apart(data, "users", "keys", "list", "ann", "--set", f"secrets_key_file={other}")
    assert done.returncode != 0
    assert "does not open with the key of secrets_key_file" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_cannot_be_done_now_is_told_from_what_is_refused(tmp_path: Path) -> None:
    listening = socket_file.bind(tmp_path, 1)
    listening.setblocking(True)
    body = b'{"error": "not now", "reason": "UNAVAILABLE"}'

    def answer() -> None:
        accepted, _ = listening.accept()
        received = b""
        while b'"ann"' not in received:  # its head comes before its body
            received += accepted.recv(65_536)
        accepted.sendall(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
        accepted.close()

    thread = threading.Thread(target=answer)
    thread.start()
    with closing(Client(tmp_path)) as client, pytest.raises(Unavailable, match="not now"):
        client.change(AddUser("ann", "x"))
    thread.join()
    listening.close()


def test_another_users_directory_says_whose_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> socket.socket:
        raise PermissionError

    monkeypatch.setattr(socket_file, "connect", refused)
    with pytest.raises(Refused, match=f"is another user's: run this as {tmp_path.owner()}"):
        Client(tmp_path)


def answer_to(data: Path, request: bytes) -> bytes:
    """What is answered until the broker hangs up, be it before all was sent."""
    answer = b""
    with socket_file.connect(data, DEADLINE_S) as sock:
        with suppress(BrokenPipeError):
            sock.sendall(request)
        with suppress(ConnectionResetError):
            while part := sock.recv(65536):
                answer += part
    return answer


def head(path: str, size: int) -> bytes:
    return f"POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {size}\r\n\r\n".encode()


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"\x00" * 100 + b"\r\n\r\n", b"400"),
        (head("/queues", 2) + b"{[", b"400"),
        (head("/queues", 1_000_000) + b" " * 1_000_000, b"413"),
        (b"POST /queues HTTP/1.1\r\nhost: x\r\nlong: " + b"x" * 1_000_000, b"431"),
        (head("/users/delete", 17) + b'{"name": "guest"}'.replace(b"name", b"nome"), b"400"),
    ],
)
def test_what_is_no_request_is_answered_in_few_words(one_process: Broker, request_: bytes, status: bytes) -> None:
    answer = answer_to(one_process.data_dir, request_)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert len(answer) < 1000
    assert [row["name"] for row in listed(one_process.data_dir, "users")] == ["guest"]


def test_who_is_slow_or_does_not_read_holds_nobody_up(one_process: Broker) -> None:
    with ExitStack() as ending:
        connection = amqp(one_process)
        ending.callback(connection.close)
        channel = connection.channel()
        for number in range(300):
            channel.queue_declare(f"{number}-{'q' * 200}")
        socks = [ending.enter_context(socket_file.connect(one_process.data_dir, DEADLINE_S)) for _ in range(3 * CONNECTIONS_MAX)]
        for number, sock in enumerate(socks):
            with suppress(BrokenPipeError):
                sock.sendall(head("/queues", 2) + b"{}" if number % 2 else b"POST /que")
        assert len(listed(one_process.data_dir, "queues")) == 300
        with urllib.request.urlopen(one_process.http_url + "/healthz") as answer:
            assert answer.status == 200
        silent = socks[: 2 * CONNECTIONS_MAX : 2]  # the oldest, which nothing was answered: what there is to read is their end
        assert select.select(silent, [], [], 0)[0] == silent
