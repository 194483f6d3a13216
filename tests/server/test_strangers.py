"""The whole process before anybody logs in: few descriptors, silent sockets on every port, large and unfinished requests, floods of wrong logins."""

from __future__ import annotations

import base64
import os
import resource
import socket
import stat
import struct
import threading
from contextlib import ExitStack
from pathlib import Path

import pika
import pika.exceptions
import pytest

from entrepot.testing import Broker

pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"),
]
HEADER = b"AMQP\x00\x00\x09\x01"


def publish(broker: Broker, user: str = "guest", password: str = "guest") -> None:
    parameters = pika.ConnectionParameters("127.0.0.1", broker.amqp_port, "/", pika.PlainCredentials(user, password))
    with pika.BlockingConnection(parameters) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare("q", durable=True)
        channel.basic_publish("", "q", b"x", pika.BasicProperties(delivery_mode=2))


def with_ann(tmp_path: Path) -> Broker:
    """With a user of its own, and time to log in for all who come at once, however slow the machine is."""
    file = tmp_path / "entrepot.toml"
    file.write_text('[users.ann]\npassword = "correct horse"\n[limits]\nhandshake_timeout_ms = 120000\n')
    return Broker(tmp_path / "data", arguments=("--config", str(file)))


def knock(port: int, first: bytes = b"") -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=120)
    if first:
        sock.sendall(first)
    return sock


def test_silent_sockets_on_every_port_keep_nobody_out(tmp_path: Path) -> None:
    with Broker(tmp_path / "data") as broker, ExitStack() as stack:
        soft, hard = resource.prlimit(broker.pid, resource.RLIMIT_NOFILE)
        for pid in broker.pids:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{pid}/fd")) + 20, hard))  # less than it reckoned with
        for port in (broker.amqp_port, broker.port("kafka"), broker.port("sqs"), broker.port("http")):
            for _ in range(60):
                stack.enter_context(knock(port))
        for _ in range(100):  # those that are still to be accepted may outwait it
            try:
                publish(broker)
                break
            except pika.exceptions.AMQPError:
                continue
        else:
            pytest.fail("nobody comes in")
        for pid in broker.pids:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
        publish(broker)


def test_the_data_directory_is_its_owner_s_alone(tmp_path: Path) -> None:
    with Broker(tmp_path / "data") as broker:
        publish(broker)
        for path in (tmp_path / "data", *(tmp_path / "data").rglob("*")):
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


@pytest.mark.parametrize("mechanism", ["PLAIN", "AMQPLAIN"])
def test_a_frame_before_login_has_at_most_4096_bytes(tmp_path: Path, mechanism: str) -> None:
    with Broker(tmp_path / "data") as broker:
        with knock(broker.amqp_port, HEADER) as sock:
            assert sock.recv(65_536)
            name = mechanism.encode()
            response = b"\0ann\0" + "\u0301\u0323".encode() * 20_000
            arguments = struct.pack(">I", 0) + bytes([len(name)]) + name + struct.pack(">I", len(response)) + response + b"\x05en_US"
            payload = struct.pack(">HH", 10, 11) + arguments
            sock.sendall(b"\x01" + struct.pack(">HI", 0, len(payload)) + payload + b"\xce")
            try:
                while sock.recv(65_536):
                    pass
            except ConnectionResetError:
                pass
        publish(broker)


def test_a_kafka_request_before_login_has_at_most_16_kib(tmp_path: Path) -> None:
    with (
        with_ann(tmp_path) as broker,
        knock(broker.port("kafka"), struct.pack(">I", 16_385) + bytes(100)) as sock,
    ):
        assert sock.recv(1) == b""


def plain_login(port: int, user: str, password: str) -> bytes:
    """The first bytes of the answer to a login by PLAIN: connection.tune, or the end."""
    with knock(port, HEADER) as sock:
        sock.recv(65_536)
        response = f"\0{user}\0{password}".encode()
        payload = struct.pack(">HH", 10, 11) + struct.pack(">I", 0) + b"\x05PLAIN" + struct.pack(">I", len(response)) + response + b"\x05en_US"
        sock.sendall(b"\x01" + struct.pack(">HI", 0, len(payload)) + payload + b"\xce")
        try:
            return sock.recv(11)
        except ConnectionError:
            return b""


@pytest.mark.parametrize("name", ["{}", "ann"], ids=["many names", "one name"])
def test_a_flood_of_wrong_logins_has_no_right_one_refused(tmp_path: Path, name: str) -> None:
    with with_ann(tmp_path) as broker, ExitStack() as stack:
        payloads = []
        for number in range(1050):
            response = f"\0{name.format(number)}\0{base64.b64encode(os.urandom(6)).decode()}".encode()
            payload = struct.pack(">HH", 10, 11) + struct.pack(">I", 0) + b"\x05PLAIN" + struct.pack(">I", len(response)) + response + b"\x05en_US"
            payloads.append(b"\x01" + struct.pack(">HI", 0, len(payload)) + payload + b"\xce")
        socks = [stack.enter_context(knock(broker.amqp_port, HEADER)) for _ in range(len(payloads))]
        sending = threading.Thread(target=lambda: [sock.sendall(payload) for sock, payload in zip(socks[100:], payloads[100:], strict=True)])
        sending.start()
        sending.join()
        assert plain_login(broker.amqp_port, "ann", "correct horse")[7:11] == struct.pack(">HH", 10, 30)
