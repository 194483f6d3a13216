"""What a web page can have a browser send to a broker without users, on each of its ports."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from entrepot.testing import Broker

DEADLINE_S = 30.0


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    with Broker(settings={"http_hosts": "broker.example"}) as running:
        yield running


def said(port: int, request: bytes) -> bytes:
    """All that is answered before the other side closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S) as connection:
        connection.sendall(request)
        answer = b""
        while part := connection.recv(65_536):
            answer += part
        return answer


def get(path: str, host: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", f"Host: {host}", "Connection: close", *headers, "", ""]).encode()


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/metrics"])
def test_health_and_metrics_are_not_for_pages_of_elsewhere(broker: Broker, path: str) -> None:
    port = int(broker.http_url.rpartition(":")[2])
    for host in ("evil.test", f"evil.test:{port}", "localhost.evil.test", "0.0.0.0"):
        assert said(port, get(path, host)).startswith(b"HTTP/1.1 403 ")
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", "broker.example", f"BROKER.example:{port}"):
        assert said(port, get(path, host)).startswith(b"HTTP/1.1 200 ")
    assert said(port, f"GET {path} HTTP/1.0\r\n\r\n".encode()).startswith(b"HTTP/1.1 200 ")


def test_sqs_is_not_for_pages(broker: Broker) -> None:
    port = broker.sqs_port
    path = "/?Action=CreateQueue&QueueName=q&Version=2012-11-05"
    assert b" 403 " in said(port, get(path, "evil.test")).partition(b"\r\n")[0]
    assert b" 403 " in said(port, get(path, f"127.0.0.1:{port}", "Sec-Fetch-Site: cross-site")).partition(b"\r\n")[0]
    assert b" 403 " in said(port, get(path, f"127.0.0.1:{port}", "Sec-Fetch-Site: none")).partition(b"\r\n")[0]
    for host in (f"127.0.0.1:{port}", "broker.example"):
        assert b" 200 " in said(port, get(path, host)).partition(b"\r\n")[0]


@pytest.mark.parametrize("listener", ["amqp", "kafka"])
@pytest.mark.parametrize("body", [b"", b"AMQP\x00\x00\x09\x01", b"\x00\x00\x00\x12\x00\x12\x00\x00\x00\x00\x00\x01\x00\x04page" * 20])
def test_other_protocols_take_no_request_of_http(broker: Broker, listener: str, body: bytes) -> None:
    """A page may post to any port; what it has put into the body must not be taken for the protocol's own."""
    port = broker.amqp_port if listener == "amqp" else broker.kafka_port
    for method in ("POST", "GET", "OPTIONS", "PUT"):
        head = f"{method} / HTTP/1.1\r\nHost: evil.test\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
        assert said(port, head.encode() + body) in (b"", b"AMQP\x00\x00\x09\x01")
