"""The worst that a receiver of SQS can ask for: messages of other protocols, which may be many times as large as its own; see stalls.py."""

from __future__ import annotations

import json
import os
import socket
import struct

from benchmarks.system.stalls import Amqp, Clients, Kafka, batch, case, large_record, produce, topics, varint

SIZE = 16_000_000
_DECLARE = b"\0\0\x01q\x02\0\0\0\0"  # of the durable queue q
_QUERY = "application/x-www-form-urlencoded"
_SIGNED = "Authorization: AWS4-HMAC-SHA256 Credential=guest/20261129/us-east-1/sqs/aws4_request, SignedHeaders=host, Signature=00\r\n"


def _request(body: bytes, *, form: bool = False, action: str = "ReceiveMessage", accept: str = "") -> bytes:
    head = f"POST /000000000000/q HTTP/1.1\r\nHost: localhost\r\nContent-Type: {_QUERY if form else 'application/x-amz-json-1.0'}\r\n"
    head += f"Content-Length: {len(body)}\r\n" + ("" if form else f"X-Amz-Target: AmazonSQS.{action}\r\n") + (f"Accept: {accept}\r\n" if accept else "")
    return (head + _SIGNED + "\r\n").encode() + body


_RECEIVE = _request(b'{"QueueUrl":"http://localhost/000000000000/q","MaxNumberOfMessages":10,"WaitTimeSeconds":10,"MessageAttributeNames":["All"]}')
_FORM = b"Action=ReceiveMessage&Version=2012-11-05&MaxNumberOfMessages=10&WaitTimeSeconds=10&MessageAttributeName.1=All"


def _answer(sock: socket.socket) -> int:
    """The size of the next answer, which is read. ConnectionError: none comes, or it is no message."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(1 << 20)
        if not more:
            raise ConnectionError("ended")
        data += more
    head, _, start = data.partition(b"\r\n\r\n")
    size = int(next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")).split(b":")[1])
    left = size - len(start)
    while left > 0:
        more = sock.recv(min(left, 1 << 20))
        if not more:
            raise ConnectionError("ended")
        left -= len(more)
    if size < 1000:
        raise ConnectionError(start[:200].decode(errors="replace"))
    return size


def _publish(amqp: Amqp, body: bytes) -> None:
    frames = [struct.pack(">BHI", 3, 1, len(piece)) + piece + b"\xce" for piece in (body[at : at + 131_064] for at in range(0, len(body), 131_064))]
    head = struct.pack(">HHQ", 60, 0, len(body)) + b"\x10\0\x02"
    amqp.sock.sendall(amqp.method(60, 40, b"\0\0\0\x01q\0") + struct.pack(">BHI", 2, 1, len(head)) + head + b"\xce" + b"".join(frames))


def _queued(clients: Clients, bodies: list[bytes]) -> None:
    amqp = clients.amqp()
    amqp.ask(50, 10, _DECLARE, 11)
    for body in bodies:
        _publish(amqp, body)
        amqp.ask(20, 20, b"\x01", 21)


def _received(name: str, body: bytes, request: bytes = _RECEIVE, *, count: int = 1, at_once: int = 1) -> None:
    @case(name)
    def _(clients: Clients) -> None:
        _queued(clients, [body] * count)
        socks = [clients.http() for _ in range(at_once)]
        clients.begin()
        for sock in socks:
            sock.sendall(request * (count // at_once))
        for _ in range(count // at_once):
            for sock in socks:
                _answer(sock)


_OCTETS = os.urandom(1 << 16) * (SIZE >> 16)
_received("sqs receives an AMQP message of 16 MB: octets", _OCTETS)
_received("sqs receives an AMQP message of 16 MB: letters", b"x" * SIZE)
_received("sqs receives an AMQP message of 16 MB: of other scripts", "\u0436\u00fc\u4e2d\U0001f600".encode() * (SIZE // 11))
_received("sqs receives an AMQP message of 16 MB: quotes", b'"' * SIZE)
_received("sqs receives an AMQP message of 16 MB: not text at its end", b"x" * SIZE + b"\0")
_received("sqs receives an AMQP message of 16 MB: form", b"&" * SIZE, _request(_FORM, form=True))
_received("sqs receives an AMQP message of 16 MB: form, octets", _OCTETS, _request(_FORM, form=True))
_received("sqs receives an AMQP message of 16 MB: form, JSON", b'"' * SIZE, _request(_FORM, form=True, accept="application/json"))
_received("sqs receives 10 AMQP messages of 16 MB, pipelined", _OCTETS, count=10)
_received("sqs receives 10 AMQP messages of 16 MB, 10 connections", b'"' * SIZE, count=10, at_once=10)
_received("sqs receives 10 AMQP messages of 1.6 MB", b'"' * (SIZE // 10), count=10)
_received("sqs receives an AMQP message of 1 MB", b'"' * 1_000_000)
_received("sqs receives AMQP messages of 1 MB, 50 connections", os.urandom(1_000_000), count=100, at_once=50)


@case("sqs receives AMQP messages of 16 MB, and ends before the answer")
def _(clients: Clients) -> None:
    _queued(clients, [_OCTETS] * 8)
    clients.begin()
    for _ in range(8):
        sock = clients.http()
        sock.sendall(_RECEIVE)
        clients.http().close()
        sock.close()
    sock = clients.http()
    sock.sendall(_request(b'{"QueueUrl":"http://localhost/000000000000/q"}', action="PurgeQueue"))
    sock.recv(1000)


@case("sqs dead-letters an AMQP message of 16 MB")
def _(clients: Clients) -> None:
    sock = clients.http()
    policy = json.dumps({"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:d", "maxReceiveCount": "1"})
    for name, attributes in (("d", {}), ("q", {"RedrivePolicy": policy, "VisibilityTimeout": "0"})):
        sock.sendall(_request(json.dumps({"QueueName": name, "Attributes": attributes}).encode(), action="CreateQueue"))
        sock.recv(1000)
    amqp = clients.amqp()
    _publish(amqp, _OCTETS)
    amqp.ask(20, 20, b"\x01", 21)
    clients.begin()
    sock.sendall(_RECEIVE)
    _answer(sock)
    sock.sendall(_request(b'{"QueueUrl":"http://localhost/000000000000/q","WaitTimeSeconds":1}'))
    sock.recv(1000)
    sock.sendall(_RECEIVE.replace(b"/q", b"/d"))
    _answer(sock)


def _record(key: bytes, value: bytes, header: bytes) -> bytes:
    headers = b"\2" + varint(1) + b"h" + varint(len(header)) + header if header else b"\0"
    body = b"\0\0\0" + varint(len(key)) + key + varint(len(value)) + value + headers
    return varint(len(body)) + body


def _subject(name: str, records: bytes, codec: int, further: bool = False) -> None:
    @case(name)
    def _(clients: Clients) -> None:
        kafka: Kafka = clients.kafka()
        topics(kafka, ["t"])
        amqp = clients.amqp()
        amqp.ask(50, 10, _DECLARE, 11)
        amqp.ask(50, 20, b"\0\0\x01q\x09amq.topic\x01t\0\0\0\0\0", 21)
        kafka.send(produce({"t": {0: batch(records, 1, codec)}}))
        kafka.answers()
        if further:
            kafka.send(produce({"t": {0: batch(large_record(2000), 1, 0)}}))
            kafka.answers()
        sock = clients.http()
        clients.begin()
        sock.sendall(_RECEIVE)
        _answer(sock)


_subject("sqs receives a Kafka record of 16 MB: zstd, zeros", large_record(SIZE), 4)
_subject("sqs receives a Kafka record of 16 MB: zstd, letters", _record(b"k", b"x" * SIZE, b""), 4)
_subject("sqs receives a Kafka record with a key of 16 MB, and another", _record(b"x" * SIZE, b"v" * 2000, b""), 4, further=True)
_subject("sqs receives a Kafka record with a header of 16 MB, and another", _record(b"k", b"v" * 2000, b"x" * SIZE), 4, further=True)
_subject("sqs receives a Kafka record with a header of 1 MB", _record(b"k", b"v" * 2000, b"x" * 1_000_000), 4)
_subject("sqs receives a Kafka record with a header of 1 MB and 15 MB", _record(b"k", b'"' * 15_000_000, b"x" * 1_000_000), 4)
