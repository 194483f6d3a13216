"""Bytes that no client should send: the connection that sent them ends or is told so, within bounded memory, and nobody else is hurt."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kafka_endpoints import Endpoint
from kafka_messages import produce, read_all

WORKERS = 1  # what is answered by the one that has the partition
NewTopicName = Callable[..., str]
TIMEOUT_S = 20


def framed(body: bytes) -> bytes:
    return struct.pack(">i", len(body)) + body


def request(key: int, version: int, body: bytes = b"", client: bytes = b"bad") -> bytes:
    """A request with the header of version 1."""
    return framed(struct.pack(">hhih", key, version, 1, len(client)) + client + body)


def produce_request(records: bytes, topic: str = "interop.bad", size: int | None = None) -> bytes:
    """Produce version 3 of one batch; `size`: what the request says of it, if not the truth."""
    name = topic.encode()
    head = struct.pack(">hhii", -1, -1, 1000, 1) + struct.pack(">h", len(name)) + name
    return request(0, 3, head + struct.pack(">ii", 1, 0) + struct.pack(">i", len(records) if size is None else size) + records)


ENDS = {
    "negative size": struct.pack(">i", -1),
    "huge size": struct.pack(">i", 0x7FFFFFFF) + b"x" * 1000,
    "HTTP": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "TLS": bytes.fromhex("16030100c8010000c40303") + b"\x00" * 200,
    "AMQP": b"AMQP\x00\x00\x09\x01",
    "unknown key": request(999, 0),
    "unknown version": request(3, 99),
    "no header": framed(b"\x00"),
    "client id that lies": framed(struct.pack(">hhih", 3, 1, 1, 30000)),
    "array that lies": request(3, 1, struct.pack(">i", 0x7FFFFFF0)),
    "negative array": request(3, 1, struct.pack(">i", -5)),
    "string that lies": request(3, 1, struct.pack(">ih", 1, 32000) + b"x"),
    "endless varint": request(3, 9, b"\x00" + b"\xff" * 20),
    "records that lie": produce_request(b"x" * 10, size=1 << 30),
    "size of nothing": framed(b""),
}
REFUSED = {
    "noise for a batch": (b"\xff" * 200, {2, 87, 42}),
    "a cut batch": (struct.pack(">qi", 0, 5000) + b"\x00" * 100, {2, 87, 42}),
    "an old message set": (struct.pack(">qii", 0, 20, 0) + b"\x00" * 16, {2, 43, 76, 87, 42}),
}


def ended(endpoint: Endpoint, data: bytes) -> bool:
    """Whether the broker ends a connection that sends this."""
    with socket.create_connection((endpoint.host, endpoint.port), TIMEOUT_S) as one:
        try:
            one.sendall(data)
            while one.recv(65536):
                pass
        except ConnectionError:
            return True
        except TimeoutError:
            return False
    return True


def answer(endpoint: Endpoint, data: bytes) -> bytes:
    with socket.create_connection((endpoint.host, endpoint.port), TIMEOUT_S) as one:
        one.sendall(data)
        size = struct.unpack(">i", exactly(one, 4))[0]
        return exactly(one, size)


def exactly(one: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = one.recv(size - len(data))
        assert part, "the connection was ended"
        data += part
    return data


@pytest.mark.parametrize("what", ENDS)
def test_the_connection_ends(endpoint: Endpoint, what: str) -> None:
    assert ended(endpoint, ENDS[what])


@pytest.mark.parametrize("what", REFUSED)
def test_the_batch_is_refused(endpoint: Endpoint, topic: NewTopicName, bootstrap: str, what: str) -> None:
    name = topic()
    records, codes = REFUSED[what]
    said = answer(endpoint, produce_request(records, name))
    at = 4 + 4 + 2 + len(name) + 4 + 4  # correlation id, topics, name, partitions, partition
    assert struct.unpack_from(">h", said, at)[0] in codes
    produce(bootstrap, name, [b"good"])
    assert [message.value() for message in read_all(bootstrap, name, 1)] == [b"good"]


def test_nobody_else_is_hurt(endpoint: Endpoint, bootstrap: str, topic: NewTopicName, kafka_broker: Any) -> None:
    """While garbage comes in on many connections, a client goes on; the broker's memory stays what it was."""
    if kafka_broker is None:
        pytest.skip("looks at the memory of an Entrepot")
    name = topic()
    produce(bootstrap, name, [b"before"])
    before = [resident_mib(pid) for pid in kafka_broker.pids]
    threads = [threading.Thread(target=ended, args=(endpoint, data)) for data in ENDS.values() for _ in range(5)]
    for thread in threads:
        thread.start()
    produce(bootstrap, name, [b"%d" % n for n in range(500)])
    for thread in threads:
        thread.join()
    assert len(read_all(bootstrap, name, 501)) == 501
    assert all(resident_mib(pid) < was + 100 for pid, was in zip(kafka_broker.pids, before, strict=True))


def resident_mib(pid: int) -> int:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) // 1024
