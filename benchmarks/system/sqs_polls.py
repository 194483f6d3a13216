"""Long polls as load: connections that wait for a message each, a sender at a steady rate, and how long each message took from its send to its receiver.

One process, one loop; a request is the same octets each time, an answer is looked at only as far as it has to be. Messages carry the time they
were due, so that a sender that is late shows in the figure. What came is deleted in batches.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import time
from typing import Any
from urllib.parse import urlsplit

from benchmarks.system.sqs_load import SIGNED, Figures, figures

_DELETE_MAX = 10
_CONNECTS_AT_ONCE = 200


def request(netloc: str, action: str, words: dict[str, Any]) -> bytes:
    """A whole HTTP request."""
    body = json.dumps(words).encode()
    lines = "".join(f"{name}: {value}\r\n" for name, value in {**SIGNED, "X-Amz-Target": f"AmazonSQS.{action}", "Host": netloc}.items())
    return f"POST / HTTP/1.1\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Connection(asyncio.Protocol):
    """One connection with one request on its way at a time; `answered` gets whole bodies with their status."""

    def __init__(self, answered: Any) -> None:
        self._answered = answered
        self._pending = bytearray()
        self.transport: Any = None
        self.closed = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True

    def data_received(self, data: bytes) -> None:
        self._pending += data
        while (end := self._pending.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._pending[:end]).lower()
            size = 0
            at = head.find(b"content-length:")
            if at >= 0:
                size = int(head[at + 15 :].split(b"\r\n", 1)[0])
            elif b"transfer-encoding: chunked" in head:
                stop = self._pending.find(b"0\r\n\r\n", end)
                if stop < 0:
                    return
                body = bytes(self._pending[end + 4 : stop])
                del self._pending[: stop + 5]
                self._answered(self, int(head[9:12]), body)
                continue
            if len(self._pending) < end + 4 + size:
                return
            body = bytes(self._pending[end + 4 : end + 4 + size])
            del self._pending[: end + 4 + size]
            self._answered(self, int(head[9:12]), body)


class Polls:
    """Waiting connections, what they received, and when."""

    def __init__(self, arguments: argparse.Namespace, queue_url: str) -> None:
        self.arguments = arguments
        parts = urlsplit(arguments.url)
        self.netloc, self.host, self.port = parts.netloc, parts.hostname or "", parts.port or 80
        self.queue_url = queue_url
        self._poll = request(self.netloc, "ReceiveMessage", {"QueueUrl": queue_url, "MaxNumberOfMessages": 1, "WaitTimeSeconds": 20, "VisibilityTimeout": 600})
        self.latencies_us: list[float] = []
        self.seen: set[str] = set()
        self.repeated = self.refused = self.sent = self.acknowledged = 0
        self._handles: list[str] = []
        self._deleter: Connection | None = None
        self._free: list[Connection] = []

    def received(self, connection: Connection, status: int, body: bytes) -> None:
        now = time.perf_counter()
        if status != 200:
            self.refused += 1
            print(body[:200], file=sys.stderr)
            return
        connection.transport.write(self._poll)
        for message in json.loads(body or b"{}").get("Messages") or ():
            self.latencies_us.append((now - float(message["Body"].split()[0])) * 1e6)
            self.repeated += message["MessageId"] in self.seen
            self.seen.add(message["MessageId"])
            self._handles.append(message["ReceiptHandle"])
        if len(self._handles) >= _DELETE_MAX and self._deleter is not None:
            entries = [{"Id": str(number), "ReceiptHandle": handle} for number, handle in enumerate(self._handles[:_DELETE_MAX])]
            del self._handles[:_DELETE_MAX]
            self._deleter.transport.write(request(self.netloc, "DeleteMessageBatch", {"QueueUrl": self.queue_url, "Entries": entries}))

    def done(self, connection: Connection, status: int, body: bytes) -> None:
        """A delete, or a send."""
        self.refused += status != 200
        if connection is not self._deleter:
            self.acknowledged += 1
            self._free.append(connection)

    async def connect(self, answered: Any) -> Connection:
        _, connection = await asyncio.get_running_loop().create_connection(lambda: Connection(answered), self.host, self.port)
        return connection

    async def run(self) -> Figures:
        count, rate = self.arguments.connections, self.arguments.rate
        self._deleter = await self.connect(self.done)
        self._free = [await self.connect(self.done) for _ in range(8)]
        waiting: list[Connection] = []
        while len(waiting) < count:
            waiting += await asyncio.gather(*(self.connect(self.received) for _ in range(min(_CONNECTS_AT_ONCE, count - len(waiting)))))
        for connection in waiting:
            connection.transport.write(self._poll)
        if self.arguments.hold:
            await asyncio.sleep(1)  # all of them are read and wait
            print("ready", flush=True)
            await asyncio.to_thread(sys.stdin.read)
        padding = "x" * max(0, self.arguments.size - 24)
        before = resource.getrusage(resource.RUSAGE_SELF)
        begun = time.perf_counter()
        total = int(rate * self.arguments.seconds)
        while self.sent < total:
            due = begun + self.sent / rate
            now = time.perf_counter()
            if due > now:
                await asyncio.sleep(due - now)
            elif not self._free:
                await asyncio.sleep(0)
            else:
                self.sent += 1
                self._free.pop().transport.write(request(self.netloc, "SendMessage", {"QueueUrl": self.queue_url, "MessageBody": f"{due:.7f} {padding}"}))
        seconds = time.perf_counter() - begun
        give_up = time.perf_counter() + 20
        while (len(self.seen) < total or self.acknowledged < total) and time.perf_counter() < give_up:
            await asyncio.sleep(0.01)
        after = resource.getrusage(resource.RUSAGE_SELF)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        lost = total - len(self.seen) + sum(connection.closed for connection in waiting)
        for connection in (*waiting, *self._free, self._deleter):
            connection.transport.abort()
        errors = {"lost": lost, "repeated": self.repeated, "refused": self.refused}
        out = figures(self.arguments.size, seconds, cpu, sent=self.acknowledged, taken=len(self.seen), errors=errors)
        times = sorted(self.latencies_us) or [0.0]
        out["end_to_end_us"] = {
            name: times[min(len(times) - 1, int(len(times) * part))] for name, part in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0))
        }
        return out


def run(arguments: argparse.Namespace, queue_url: str) -> Figures:
    """`latency`, `polls`: both the same, with few connections or many."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    return asyncio.run(Polls(arguments, queue_url).run())
