"""What the log says of those who come to the wrong port, whom TLS keeps out, and who did what: one real broker with every listener, over real sockets."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pika
import pika.exceptions
import pytest
from identities import Identity, make_identity
from log_lines import line_with

from entrepot.protocol_table import listeners
from entrepot.testing import Broker

LISTENERS = listeners().kinds
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"),
]
API_VERSIONS = b"\x00\x12\x00\x00\x00\x00\x00\x01\x00\x04test"
FIRST = {
    "AMQP": b"AMQP\x00\x00\x09\x01",
    "HTTP": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "Kafka": len(API_VERSIONS).to_bytes(4, "big") + API_VERSIONS,
}


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return make_identity(tmp_path_factory.mktemp("server"), "server")


@pytest.fixture(scope="module")
def broker(identity: Identity, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    file = tmp_path_factory.mktemp("users") / "entrepot.toml"
    file.write_text('namespaces = ["public/shop"]\n[users.ann]\npassword = "correct horse"\n')
    settings = {"tls.certificate": identity.certificate, "tls.key": identity.key}
    with Broker(settings=settings, listeners=tuple(LISTENERS), arguments=("--config", str(file))) as broker:
        yield broker


def knock(port: int, first: bytes) -> str:
    """Say `first` to a port, wait for its end, and how the log names us."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
        name = "{}:{}".format(*sock.getsockname())
        sock.sendall(first)
        try:
            while sock.recv(4096):
                pass
        except ConnectionError:
            pass
    return name


def shake_hands(port: int, context: ssl.SSLContext) -> str:
    """TLS to a port that does not take it."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
        name = "{}:{}".format(*sock.getsockname())
        try:
            with context.wrap_socket(sock, server_hostname="localhost") as wrapped:
                assert wrapped.recv(1) == b""  # of TLS 1.3 a client may think that it is through
        except (ssl.SSLError, ConnectionError):
            pass
    return name


def where(broker: Broker, *names: str) -> str:
    return ", ".join(f"{name} at 127.0.0.1:{broker.port(name)}" for name in names)


@pytest.mark.parametrize("name", [name for name, kind in LISTENERS.items() if not kind.without_tls])
def test_tls_at_a_port_without(broker: Broker, name: str) -> None:
    context = ssl.create_default_context()
    line = line_with(broker, f" {name}: {shake_hands(broker.port(name), context)}", "looks like TLS")
    if name == "http":
        assert line.endswith("; it looks like TLS, and there is none here")
    else:
        assert line.endswith(f"; it looks like TLS: the TLS listener is {where(broker, name + 's')}")


@pytest.mark.parametrize("look", sorted(FIRST))
@pytest.mark.parametrize("name", [name for name, kind in LISTENERS.items() if kind.without_tls])
def test_plain_text_at_a_port_with_tls(broker: Broker, name: str, look: str) -> None:
    line = line_with(broker, f" {name}: {knock(broker.port(name), FIRST[look])}: TLS handshake failed: ")
    assert line.endswith(f"; it looks like plain text: the listener without TLS is {where(broker, LISTENERS[name].without_tls)}")


OTHERS = {"AMQP": ["amqp"], "Kafka": ["kafka"], "HTTP": ["http", "sqs"]}


@pytest.mark.parametrize(("name", "look"), [(name, look) for name, kind in LISTENERS.items() for look in FIRST if not kind.without_tls and look != kind.look])
def test_another_protocol_at_a_port(broker: Broker, name: str, look: str) -> None:
    found = knock(broker.port(name), FIRST[look])
    line = line_with(broker, f" {name}: {found}", "; it looks like ")
    assert f"; it looks like {look}: that is served by " in line
    assert all(where(broker, other) in line for other in OTHERS[look])


def test_another_protocol_within_tls(broker: Broker, identity: Identity) -> None:
    context = ssl.create_default_context(cafile=str(identity.certificate))
    with socket.create_connection(("127.0.0.1", broker.port("kafkas")), timeout=30) as sock, context.wrap_socket(sock, server_hostname="localhost") as wrapped:
        name = "{}:{}".format(*sock.getsockname()) if sock.fileno() >= 0 else "{}:{}".format(*wrapped.getsockname())
        wrapped.sendall(FIRST["HTTP"])
        assert wrapped.recv(1) == b""
    assert line_with(broker, f" kafkas: {name}", "looks like HTTP").endswith(f"that is served by {where(broker, 'sqss')}")


@pytest.mark.parametrize("name", [name for name, kind in LISTENERS.items() if kind.without_tls])
def test_a_certificate_that_is_not_trusted(broker: Broker, name: str) -> None:
    found = shake_hands(broker.port(name), ssl.create_default_context())
    assert line_with(broker, f" {name}: {found}: TLS handshake failed: ").endswith("the client does not trust the certificate (tls.certificate)")


def test_a_client_without_a_certificate(identity: Identity, tmp_path: Path) -> None:
    client, stranger = make_identity(tmp_path, "client"), make_identity(tmp_path, "stranger")
    settings = {"tls.certificate": identity.certificate, "tls.key": identity.key, "tls.client_authorities": client.certificate}
    with Broker(settings=settings, listeners=("sqss",)) as broker:
        context = ssl.create_default_context(cafile=str(identity.certificate))
        found = shake_hands(broker.port("sqss"), context)
        assert line_with(broker, found).endswith("the client shows no certificate, and tls.client_authorities asks for one")
        context.load_cert_chain(stranger.certificate, stranger.key)
        found = shake_hands(broker.port("sqss"), context)
        assert "the client's certificate is signed by none of tls.client_authorities" in line_with(broker, found)


def test_a_listener_that_is_not_there_is_named() -> None:
    with Broker(listeners=("kafka",)) as broker:
        found = shake_hands(broker.port("kafka"), ssl.create_default_context())
        assert line_with(broker, found).endswith("; it looks like TLS, and there is no TLS listener (listen.kafkas)")


def test_amqp_1_0_is_called_that(broker: Broker) -> None:
    found = knock(broker.amqp_port, b"AMQP\x00\x01\x00\x00")
    assert line_with(broker, found).endswith("connection closed: AMQP 1.0.0 is asked for, and 0-9-1 is spoken here")


def amqp(broker: Broker, password: str = "correct horse", vhost: str = "shop") -> pika.BlockingConnection:
    properties = {"connection_name": "billing\x1b[2J"}
    return pika.BlockingConnection(
        pika.ConnectionParameters("127.0.0.1", broker.amqp_port, vhost, pika.PlainCredentials("ann", password), client_properties=properties)
    )


def test_who_it_was_in_amqp(broker: Broker) -> None:
    with amqp(broker) as connection, pytest.raises(pika.exceptions.ChannelClosedByBroker):
        connection.channel().queue_declare("nothing", passive=True)
    line = line_with(broker, "no queue 'nothing'")
    assert re.search(r" amqp: 127\.0\.0\.1:\d+ \(user 'ann', virtual host 'shop', connection 'billing\\x1b\[2J'\): channel 1 closed: NOT_FOUND", line)
    with pytest.raises(pika.exceptions.AMQPError):
        amqp(broker, password="wrong")
    assert re.search(r" amqp: 127\.0\.0\.1:\d+ \(connection 'billing\\x1b\[2J'\): login of 'ann' refused", line_with(broker, "login of 'ann' refused (PLAIN)"))


def test_who_it_was_in_kafka(broker: Broker) -> None:
    def request(key: int, version: int, body: bytes) -> bytes:
        data = key.to_bytes(2, "big") + version.to_bytes(2, "big") + b"\x00\x00\x00\x07\x00\x07billing" + body
        return len(data).to_bytes(4, "big") + data

    token = b"\0ann\0correct horse"
    first = request(17, 1, b"\x00\x05PLAIN") + request(36, 0, len(token).to_bytes(4, "big") + token) + request(999, 0, b"")
    found = knock(broker.kafka_port, first)
    assert line_with(broker, f" kafka: {found} (user 'ann', namespace 'public/default', client 'billing'): connection closed: API key 999 is not served")


def test_who_it_was_in_sqs(broker: Broker) -> None:
    head = (
        "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Amz-Target: AmazonSQS.ListQueues\r\nX-Amz-Date: 20260101T000000Z\r\nContent-Length: 2\r\n"
    )
    signature = "AWS4-HMAC-SHA256 Credential=AKIDNOBODY/20260101/us-east-1/sqs/aws4_request, SignedHeaders=host;x-amz-date;x-amz-target, Signature=" + "0" * 64
    found = knock(broker.sqs_port, f"{head}Authorization: {signature}\r\n\r\n{{}}".encode())
    assert line_with(broker, f" sqs: {found} (access key 'AKIDNOBODY'): ListQueues refused: The security token included in the request is invalid.")


def test_one_warning_does_not_hide_another(broker: Broker) -> None:
    """All within one second, as far as this machine goes: each kind has its line."""
    found = [knock(broker.kafka_port, request) for request in (b"\xff" * 8, b"\x00\x00\x00\x02ab", b"\x00\x00\x00\x08\x03\xe7\x00\x00\x00\x00\x00\x01")]
    for name in found:
        assert line_with(broker, f" kafka: {name}: connection closed: ")


def test_what_is_left_out_of_a_flood_is_counted() -> None:
    with Broker(listeners=("amqp",)) as broker:
        header = FIRST["AMQP"]
        for _ in range(60):
            knock(broker.amqp_port, header[:4] + b"\x01\x01\x00\x0a")
        line_with(broker, "left out before it")
        broker.stop()
        lines = [line for line in broker.log.splitlines() if " is asked for" in line]
        left_out = sum(int(found[1]) for line in lines if (found := re.search(r"\((\d+) like this left out before it\)", line)))
        assert len(lines) + left_out == 60
        assert len(lines) < 60


def test_who_spoke_last_in_sqs() -> None:
    request = b"POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: AmazonSQS.ListQueues\r\nContent-Length: 2\r\n\r\n{}"
    with Broker(listeners=("sqs",)) as broker:
        found = knock(broker.sqs_port, request + b"no request\r\n\r\n")
        assert line_with(broker, f" sqs: {found} (user 'guest', namespace 'public/default'): connection closed: not HTTP/1.1: ")
