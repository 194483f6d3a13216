"""What the worst request of each kind costs everybody else: the longest time that `/healthz` took while it was answered, asked for every millisecond.

    python -m benchmarks.system.stalls [word...] [--source=/another/tree/src]

Every case has a broker of its own. Three columns: the longest wait without the case's traffic, with it, and the longest that the loop was away by the
broker's own metric. `--source` measures another tree's broker with this one's clients.
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import socket
import struct
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import cramjam
from crc32c import crc32c

from entrepot.protocols.kafka.apis import APIS
from entrepot.protocols.kafka.primitives import Writer
from entrepot.protocols.kafka.schema import plan_for
from entrepot.testing.broker import Broker

QUIET_S = 0.5
ANSWER_TIMEOUT_S = 120.0
PARTITIONS_AT_ONCE = 500
BY_NAME = {api.name: key for key, api in APIS.items()}
NO_ID = bytes(16)

Case = Callable[["Clients"], None]
CASES: dict[str, Case] = {}


def case(name: str) -> Callable[[Case], Case]:
    """A case by its name."""

    def add(function: Case) -> Case:
        CASES[name] = function
        return function

    return add


# ---- watching


def _watch(port: int, pipe: Any) -> None:
    """In a process of its own: the longest answer of /healthz between two messages of `pipe`."""
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    longest = 0.0
    while True:
        began = time.perf_counter()
        sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        if not sock.recv(4096):
            pipe.send(-1.0)
            return
        longest = max(longest, time.perf_counter() - began)
        if pipe.poll(0.001):
            if pipe.recv() == "end":
                return
            pipe.send(longest)
            longest = 0.0


class Watch:
    """The watching process."""

    def __init__(self, port: int) -> None:
        self._pipe, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("spawn").Process(target=_watch, args=(port, theirs), daemon=True)
        self._process.start()
        self.longest_ms()

    def longest_ms(self) -> float:
        """Since the last look; infinite if the broker has left the watching connection without an answer."""
        try:
            self._pipe.send("look")
            longest: float = self._pipe.recv()
        except (OSError, EOFError):
            return math.inf
        return longest * 1000 if longest >= 0 else math.inf

    def end(self) -> None:
        """No more."""
        with contextlib.suppress(OSError):
            self._pipe.send("end")
        self._process.join()


# ---- asking


class Clients:
    """Raw connections to one broker."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.watch: Watch | None = None
        self.quiet_ms = 0.0

    def begin(self) -> None:
        """What comes now is measured; before it, what is quiet."""
        assert self.watch is not None
        self.watch.longest_ms()
        time.sleep(QUIET_S)
        self.quiet_ms = self.watch.longest_ms()

    def kafka(self) -> Kafka:
        """A Kafka connection."""
        return Kafka(self.broker.kafka_port)

    def amqp(self) -> Amqp:
        """An AMQP connection with channel 1."""
        return Amqp(self.broker.amqp_port)

    def http(self) -> socket.socket:
        """A connection to SQS."""
        sock = socket.create_connection(("127.0.0.1", self.broker.port("sqs")))
        sock.settimeout(ANSWER_TIMEOUT_S)
        return sock


class Kafka:
    """A Kafka connection."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.settimeout(ANSWER_TIMEOUT_S)

    def frame(self, api: str, version: int, values: dict[str, Any]) -> bytes:
        """A request."""
        row = APIS[BY_NAME[api]]
        flexible = version >= row.flexible_from
        writer = Writer()
        writer.i16(row.key)
        writer.i16(version)
        writer.i32(7)
        writer.string("stalls", False)
        if flexible:
            writer.uvarint(0)
        plan_for(row.request_table, version, flexible).write(writer, values)
        return b"".join(writer.finish())

    def send(self, data: bytes) -> None:
        """All of it."""
        self.sock.sendall(data)

    def answers(self, count: int = 1) -> list[int]:
        """Wait for so many answers: their sizes. An end of the connection is one of size -1."""
        sizes: list[int] = []
        for _ in range(count):
            head = self._exactly(4)
            if head is None:
                return [*sizes, -1]
            (size,) = struct.unpack(">i", head)
            if self._exactly(size) is None:
                return [*sizes, -1]
            sizes.append(size)
        return sizes

    def ask(self, api: str, version: int, values: dict[str, Any]) -> list[int]:
        """Send and wait."""
        self.send(self.frame(api, version, values))
        return self.answers()

    def body(self) -> bytes:
        """The next answer. ConnectionError: none comes."""
        head = self._exactly(4)
        body = None if head is None else self._exactly(struct.unpack(">i", head)[0])
        if body is None:
            raise ConnectionError("ended")
        return body

    def _exactly(self, size: int) -> bytes | None:
        parts = []
        while size:
            try:
                part = self.sock.recv(min(size, 1 << 20))
            except ConnectionError:
                return None
            if not part:
                return None
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


def topics(kafka: Kafka, names: list[str], partitions: int = 1) -> None:
    """Make topics, of many partitions little by little: what is measured comes later."""
    begun = min(partitions, PARTITIONS_AT_ONCE)
    for at in range(0, len(names), 1000):
        rows = [{"name": name, "num_partitions": begun, "replication_factor": 1, "assignments": [], "configs": []} for name in names[at : at + 1000]]
        kafka.ask("CreateTopics", 5, {"topics": rows, "timeout_ms": 60_000, "validate_only": False})
    for count in range(begun + PARTITIONS_AT_ONCE, partitions + 1, PARTITIONS_AT_ONCE):
        for name in names:
            rows = [{"name": name, "count": count, "assignments": None}]
            kafka.ask("CreatePartitions", 2, {"topics": rows, "timeout_ms": 60_000, "validate_only": False})


def batch(records: bytes, count: int, codec: int, level: int = 3) -> bytes:
    """A record batch. `level`: of zstd."""
    pack: dict[int, Callable[[bytes], Any]] = {
        0: bytes,
        1: gzip,
        2: cramjam.snappy.compress_raw,
        3: lz4,
        4: lambda data: cramjam.zstd.compress(data, level=level),
    }
    packed = bytes(pack[codec](records))
    body = struct.pack(">hiqqqhii", codec, count - 1, 0, 0, -1, -1, -1, count) + packed
    tail = struct.pack(">ib", -1, 2) + struct.pack(">I", crc32c(body)) + body
    return struct.pack(">qi", 0, len(tail)) + tail


def lz4(data: bytes) -> bytes:
    """As one frame, whose blocks do not refer to each other: others are refused at once."""
    frame = cramjam.lz4.Compressor(content_checksum=False, block_linked=False)
    frame.compress(data)
    return bytes(frame.finish())


def gzip(data: bytes) -> bytes:
    """As gzip."""
    stream = zlib.compressobj(wbits=31)
    return stream.compress(data) + stream.flush()


def varint(value: int) -> bytes:
    """Zigzag."""
    raw = value << 1 if value >= 0 else (-value << 1) - 1
    out = bytearray()
    while raw >= 0x80:
        out.append(raw & 0x7F | 0x80)
        raw >>= 7
    out.append(raw)
    return bytes(out)


def small_records(count: int) -> bytes:
    """As many as there are, each as small as can be."""
    rows = []
    for number in range(count):
        body = b"\0\0" + varint(number) + b"\1\1\0"
        rows.append(varint(len(body)) + body)
    return b"".join(rows)


def large_record(size: int) -> bytes:
    """One record, whose value has `size` zeros."""
    body = b"\0\0\0\1" + varint(size) + bytes(size) + b"\0"
    return varint(len(body)) + body


def produce(data: dict[str, dict[int, bytes]]) -> bytes:
    """A Produce request."""
    rows = [{"name": name, "partitions": [{"index": index, "records": records} for index, records in parts.items()]} for name, parts in data.items()]
    writer = Writer()
    writer.i16(0)
    writer.i16(3)
    writer.i32(7)
    writer.string("stalls", False)
    writer.string(None, False)
    writer.i16(-1)
    writer.i32(1000)
    writer.i32(len(rows))
    for row in rows:
        writer.string(row["name"], False)  # type: ignore[arg-type]
        writer.i32(len(row["partitions"]))
        for part in row["partitions"]:
            writer.i32(part["index"])  # type: ignore[index]
            writer.sized_octets(part["records"], False)  # type: ignore[index]
    return b"".join(writer.finish())


class Amqp:
    """An AMQP connection, with channel 1 open."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.settimeout(ANSWER_TIMEOUT_S)
        self._received = b""
        self.sock.sendall(b"AMQP\0\0\x09\x01")
        self.wait(10, 10)
        plain = b"\0guest\0guest"
        self.sock.sendall(self.method(10, 11, _table(b"") + b"\x05PLAIN" + struct.pack(">I", len(plain)) + plain + b"\x05en_US", channel=0))
        self.wait(10, 30)
        self.sock.sendall(self.method(10, 31, struct.pack(">HIH", 2047, 131072, 0), channel=0) + self.method(10, 40, b"\x01/\0\0", channel=0))
        self.wait(10, 41)
        self.ask(20, 10, b"\0", 11)

    def method(self, class_id: int, method_id: int, arguments: bytes, channel: int = 1) -> bytes:
        """A frame."""
        payload = struct.pack(">HH", class_id, method_id) + arguments
        return struct.pack(">BHI", 1, channel, len(payload)) + payload + b"\xce"

    def ask(self, class_id: int, method_id: int, arguments: bytes, answer: int) -> bytes:
        """Send, and wait for the answer: its arguments."""
        self.sock.sendall(self.method(class_id, method_id, arguments))
        return self.wait(class_id, answer)

    def until_ready(self, queue: bytes, count: int) -> None:
        """Wait until so many messages are in a queue."""
        ends = time.monotonic() + ANSWER_TIMEOUT_S
        answer = b""
        while not answer or struct.unpack_from(">I", answer, 1 + answer[0])[0] < count:
            if time.monotonic() > ends:
                raise TimeoutError(f"{answer!r}")
            answer = self.ask(50, 10, b"\0\0" + _short(queue) + b"\1" + _table(b""), 11)
            time.sleep(0.01)

    def publish(self, exchange: bytes, key: bytes, body: bytes, headers: bytes = b"") -> bytes:
        """The frames of a publish."""
        head = struct.pack(">HHQ", 60, 0, len(body)) + (b"\x20\0" + _table(headers) if headers else b"\0\0")
        return (
            self.method(60, 40, b"\0\0" + _short(exchange) + _short(key) + b"\0")
            + struct.pack(">BHI", 2, 1, len(head))
            + head
            + b"\xce"
            + struct.pack(">BHI", 3, 1, len(body))
            + body
            + b"\xce"
        )

    def wait(self, class_id: int, method_id: int) -> bytes:
        """Until that method has come: its arguments; what comes before it is passed over. ConnectionError: it does not come."""
        while True:
            while len(self._received) >= 8:
                kind, _, size = struct.unpack_from(">BHI", self._received)
                if len(self._received) < 8 + size:
                    break
                payload, self._received = self._received[7 : 7 + size], self._received[8 + size :]
                if kind == 1:
                    found = struct.unpack_from(">HH", payload)
                    if found == (class_id, method_id):
                        return payload[4:]
                    if found in ((10, 50), (20, 40)):
                        raise ConnectionError(payload[4:200])
            more = self.sock.recv(1 << 20)
            if not more:
                raise ConnectionError("ended")
            self._received += more

    def drain(self) -> None:
        """Whatever has come."""
        self.sock.setblocking(False)
        try:
            while self.sock.recv(1 << 20):
                pass
        except BlockingIOError:
            pass
        self.sock.settimeout(ANSWER_TIMEOUT_S)


def _short(text: bytes) -> bytes:
    return bytes((len(text),)) + text


def _table(inside: bytes) -> bytes:
    return struct.pack(">I", len(inside)) + inside


# ---- running


def measure(name: str, source: str | None) -> tuple[float, float, float, str]:
    """(quiet, under the case, the broker's own figure: milliseconds; what became of it)."""
    environment = {"PYTHONPATH": source} if source else {}
    settings = {"durability.mode": "none"}
    with Broker(settings=settings, environment=environment) as broker:
        clients = Clients(broker)
        clients.watch = Watch(broker.port("http"))
        said = "ok"
        try:
            CASES[name](clients)
        except (ConnectionError, TimeoutError) as error:
            said = f"{type(error).__name__}: {error}"[:60]
        longest = clients.watch.longest_ms()
        own = float(next(iter(_metrics(broker.port("http"), "entrepot_loop_stall_own_longest_seconds")), "nan")) * 1000
        clients.watch.end()
        return clients.quiet_ms, longest, own, said


def _metrics(port: int, name: str) -> Iterator[str]:
    sock = socket.create_connection(("127.0.0.1", port))
    sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    data = b""
    while more := sock.recv(1 << 20):
        data += more
    for line in data.decode().splitlines():
        if line.startswith(name + " "):
            yield line.split()[1]


def main() -> None:
    """Run the cases whose names have one of the words, or all."""
    from benchmarks.system import stall_cases, stall_large_cases, subject_stall_cases  # noqa: F401 - they add themselves to CASES

    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    source = next((word.partition("=")[2] for word in sys.argv[1:] if word.startswith("--source=")), None)
    print(f"{'case':58} {'quiet':>8} {'with it':>9} {'own':>9}  ms", flush=True)
    for name in CASES:
        if not words or any(word in name for word in words):
            quiet, longest, own, said = measure(name, source)
            print(f"{name:58} {quiet:8.1f} {longest:9.1f} {own:9.1f}  {said}", flush=True)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    from benchmarks.system import stalls

    stalls.main()
