"""Requests as they are on the wire, for what SDKs do not let one say."""

from __future__ import annotations

import http.client
import json
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from sqs_endpoint import ACCOUNT, REGION

SIGNATURE = f"AWS4-HMAC-SHA256 Credential={ACCOUNT}/20260101/{REGION}/sqs/aws4_request, SignedHeaders=host, Signature={'0' * 64}"
SIGNED = {"Authorization": SIGNATURE, "X-Amz-Date": "20260101T000000Z"}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> dict[str, Any]:
        return dict(json.loads(self.body))


def send(endpoint: str, method: str, path: str, headers: dict[str, str], body: bytes | None = None) -> Answer:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection(urlsplit(endpoint).netloc, timeout=30)
    try:
        connection.request(method, path, body, {**SIGNED, **headers})
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


def json_call(endpoint: str, action: str, words: object, headers: dict[str, str] | None = None, path: str = "/") -> Answer:
    """An action in AWS's JSON protocol; `words` may be octets."""
    body = words if isinstance(words, bytes) else json.dumps(words).encode()
    return send(endpoint, "POST", path, {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": f"AmazonSQS.{action}", **(headers or {})}, body)


def query_call(endpoint: str, words: dict[str, str], path: str = "/", method: str = "POST", headers: dict[str, str] | None = None) -> Answer:
    """An action in the Query protocol, as a form or in the path."""
    form = urlencode(words)
    if method == "GET":
        return send(endpoint, "GET", f"{path}?{form}", headers or {})
    return send(endpoint, "POST", path, {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8", **(headers or {})}, form.encode())


def hang_up_on_poll(endpoint: str, queue_url: str) -> None:
    """Begin a long poll, and close the connection once the request is out."""
    body = json.dumps({"QueueUrl": queue_url, "WaitTimeSeconds": 20}).encode()
    parts = urlsplit(endpoint)
    head = (
        f"POST / HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/x-amz-json-1.0\r\nX-Amz-Target: AmazonSQS.ReceiveMessage\r\n"
        f"X-Amz-Date: 20260101T000000Z\r\nAuthorization: {SIGNATURE}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((parts.hostname or "", parts.port or 80), 30) as connection:
        connection.sendall(head.encode() + body)
