"""Many MQTT sessions, or many retained messages, against any broker; prints one line of JSON.

  sessions  open --count clients with a session that is kept and three subscriptions each; with --hold print the line and keep them until standard input ends,
            else leave their sessions behind
  retained  publish --count retained messages, then subscribe to all of them at once, and remove them again
  offline   leave --count sessions behind, publish --messages to them in turn, and come back for all of it

Every message is counted by its topic and number: lost, repeated, wrong. Plain Python, one thread, MQTT 5: look at the broker's processor time.
"""

from __future__ import annotations

import argparse
import json
import resource
import select
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

CONNACK, PUBLISH, PUBACK, SUBACK = 0x20, 0x30, 0x40, 0x90
SESSION_EXPIRY = b"\x11\xff\xff\xff\xff"
BATCH = 250  # connections at a time that are waited for
_WINDOW = 500  # unacknowledged publishes
_TIMEOUT_S = 60.0


def packed(kind: int, body: bytes) -> bytes:
    """A packet."""
    size, head = len(body), bytearray((kind,))
    while True:
        size, digit = size >> 7, size & 0x7F
        head.append(digit | 0x80 if size else digit)
        if not size:
            return bytes(head) + body


def text(value: str) -> bytes:
    octets = value.encode()
    return len(octets).to_bytes(2, "big") + octets


def connect_packet(name: str, *, clean: bool, kept: bool) -> bytes:
    properties = SESSION_EXPIRY if kept else b""
    return packed(0x10, text("MQTT") + bytes((5, 2 if clean else 0, 0, 0, len(properties))) + properties + text(name))


def subscribe_packet(*filters: str, qos: int = 1) -> bytes:
    return packed(0x82, b"\0\1\0" + b"".join(text(each) + bytes((qos,)) for each in filters))


def publish_packet(topic: bytes, identifier: int, payload: bytes, *, retain: bool = False) -> bytes:
    """Of QoS 1."""
    return packed(0x33 if retain else 0x32, topic + identifier.to_bytes(2, "big") + b"\0" + payload)


@dataclass
class Client:
    """One connection; packets are read by `packets`."""

    address: tuple[str, int]
    name: str
    sock: socket.socket = field(init=False)
    left: bytes = b""

    def __post_init__(self) -> None:
        self.sock = socket.create_connection(self.address, _TIMEOUT_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def packets(self) -> Iterator[tuple[int, bytes]]:
        """What arrives next: kind and body of at least one packet."""
        data = self.sock.recv(1 << 18)
        if not data:
            raise ConnectionError(f"{self.name}: closed by the broker")
        data, position = self.left + data, 0
        while True:
            size = shift = 0
            start = position + 1
            while True:
                if start >= len(data):
                    self.left = data[position:]
                    return
                digit = data[start]
                start += 1
                size |= (digit & 0x7F) << shift
                if digit < 0x80:
                    break
                shift += 7
            if start + size > len(data):
                self.left = data[position:]
                return
            yield data[position], data[start : start + size]
            position = start + size

    def await_kind(self, kind: int) -> None:
        """Until a packet of this kind comes; CONNACK and SUBACK may not refuse."""
        while True:
            for found, body in self.packets():
                if found == CONNACK and body[1] >= 0x80:
                    raise ConnectionError(f"{self.name}: CONNACK {body[1]:#x}")
                if found == SUBACK and body[-1] >= 0x80:
                    raise ConnectionError(f"{self.name}: SUBACK {body[-1]:#x}")
                if found == kind:
                    return

    def leave(self) -> None:
        self.sock.sendall(b"\xe0\x00")
        self.sock.shutdown(socket.SHUT_WR)
        while self.sock.recv(65536):
            pass
        self.sock.close()


def delivered(kind: int, body: bytes) -> tuple[bytes, int, bytes]:
    """Topic, packet identifier (0: none) and payload of a PUBLISH."""
    size = int.from_bytes(body[:2], "big")
    position = 2 + size
    identifier = int.from_bytes(body[position : position + 2], "big") if kind & 6 else 0
    position += 2 if kind & 6 else 0
    return body[2 : 2 + size], identifier, body[position + 1 + body[position] :]  # properties are below 128 octets


def filters_of(name: str) -> tuple[str, ...]:
    """What a session may subscribe to: its own topic, below it, and what all do."""
    return f"{name}/+", f"{name}/more/#", "many/all"


def open_sessions(address: tuple[str, int], count: int, filters: slice) -> list[Client]:
    """Sessions that are kept, each with these subscriptions of `filters_of`; in batches, each written before any of it is read."""
    made: list[Client] = []
    while len(made) < count:
        batch = [Client(address, f"many-{number}") for number in range(len(made), min(count, len(made) + BATCH))]
        for client in batch:
            client.sock.sendall(connect_packet(client.name, clean=True, kept=True) + subscribe_packet(*filters_of(client.name)[filters]))
        for client in batch:
            client.await_kind(SUBACK)
        made += batch
    return made


def publish_all(address: tuple[str, int], topics: list[bytes], numbers: range, size: int, *, retain: bool = False) -> float:
    """Messages with these numbers to the topics in turn, acknowledged; the payload begins with the number. Seconds."""
    client = Client(address, "many-publisher")
    client.sock.sendall(connect_packet(client.name, clean=True, kept=False))
    client.await_kind(CONNACK)
    sent = acknowledged = 0
    filler = b"." * max(0, size - 4)
    begin = time.monotonic()
    while acknowledged < len(numbers):
        if some := numbers[sent : sent + _WINDOW - (sent - acknowledged)]:
            run = [publish_packet(topics[n % len(topics)], n % 65_535 + 1, n.to_bytes(4, "big") + filler if size else b"", retain=retain) for n in some]
            client.sock.sendall(b"".join(run))
            sent += len(some)
        acknowledged += sum(1 for kind, _ in client.packets() if kind == PUBACK)
    seconds = time.monotonic() - begin
    client.leave()
    return seconds


def sessions(arguments: argparse.Namespace, address: tuple[str, int]) -> dict[str, Any]:
    begin = time.monotonic()
    held = open_sessions(address, arguments.count, slice(3))
    said = {"sessions": len(held), "open_seconds": time.monotonic() - begin, "errors": {}}
    if arguments.hold:
        print(json.dumps(said), flush=True)
        sys.stdin.read()
    for client in held:
        client.leave()
    return said


def retained(arguments: argparse.Namespace, address: tuple[str, int]) -> dict[str, Any]:
    topics = [text(f"many/{n % 100}/{n}") for n in range(arguments.count)]
    published_s = publish_all(address, topics, range(len(topics)), arguments.size, retain=True)
    reader = Client(address, "many-reader")
    reader.sock.sendall(connect_packet(reader.name, clean=True, kept=False))
    reader.await_kind(CONNACK)
    expected = {topic[2:]: n for n, topic in enumerate(topics)}
    seen: set[bytes] = set()
    twice = wrong = 0
    begin = time.monotonic()
    reader.sock.sendall(subscribe_packet("many/#"))
    first_s = 0.0
    while len(seen) < len(topics):
        answers = []
        for kind, body in reader.packets():
            if kind & 0xF0 != PUBLISH:
                continue
            topic, identifier, payload = delivered(kind, body)
            first_s = first_s or time.monotonic() - begin
            answers.append(b"\x40\x02" + identifier.to_bytes(2, "big"))
            wrong += int.from_bytes(payload[:4], "big") != expected.get(topic) or not kind & 1
            twice += topic in seen
            seen.add(topic)
        reader.sock.sendall(b"".join(answers))
    received_s = time.monotonic() - begin
    reader.leave()
    if not arguments.keep:
        publish_all(address, topics, range(len(topics)), 0, retain=True)
    return _figures(len(topics), published_s, len(seen), received_s, {"duplicates": twice, "corrupt": wrong}) | {"first_s": first_s, "size": arguments.size}


def come_back(address: tuple[str, int], sessions: range, messages: int, step: int) -> tuple[int, dict[str, int]]:
    """These sessions take all that waits for them, and leave: how many messages, and what was wrong with them.

    Session n has every message whose number is n modulo `step`; with a step of 1 each has all of them.
    """
    received = twice = gaps = 0
    batch = {}
    poll = select.epoll()
    for n in sessions:
        client = Client(address, f"many-{n}")
        client.sock.sendall(connect_packet(client.name, clean=False, kept=True))
        poll.register(client.sock, select.EPOLLIN)
        batch[client.sock.fileno()] = (client, n)
    following = {n: n % step for n in sessions}  # the next number of each session
    open_count = sum(number < messages for number in following.values())
    while open_count:
        for descriptor, _ in poll.poll(_TIMEOUT_S):
            client, n = batch[descriptor]
            answers = []
            for kind, body in client.packets():
                if kind & 0xF0 != PUBLISH:
                    continue
                _, identifier, payload = delivered(kind, body)
                answers.append(b"\x40\x02" + identifier.to_bytes(2, "big"))
                number = int.from_bytes(payload[:4], "big")
                twice += number < following[n]
                gaps += number > following[n]
                open_count -= following[n] < messages <= number + step
                following[n] = number + step
                received += 1
            if answers:
                client.sock.sendall(b"".join(answers))
    for client, _ in batch.values():
        client.leave()
    poll.close()
    return received, {"duplicates": twice, "gaps": gaps}


def offline(arguments: argparse.Namespace, address: tuple[str, int]) -> dict[str, Any]:
    for client in open_sessions(address, arguments.count, slice(1)):
        client.leave()
    topics = [text(f"many-{n}/a") for n in range(arguments.count)]
    published_s = publish_all(address, topics, range(arguments.messages), arguments.size)
    if arguments.hold:
        print(json.dumps({"published": arguments.messages, "publish_seconds": published_s}), flush=True)
        sys.stdin.readline()
    begin = time.monotonic()
    received = 0
    errors = {"duplicates": 0, "gaps": 0}
    for first in range(0, arguments.count, BATCH):
        some, wrong = come_back(address, range(first, min(arguments.count, first + BATCH)), arguments.messages, arguments.count)
        received += some
        errors = {kind: errors[kind] + wrong[kind] for kind in errors}
    return _figures(arguments.messages, published_s, received, time.monotonic() - begin, errors) | {"size": arguments.size}


def _figures(published: int, published_s: float, consumed: int, consumed_s: float, errors: dict[str, int]) -> dict[str, Any]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "published": published,
        "publish_seconds": published_s,
        "publish_per_s": published / published_s,
        "consumed": consumed,
        "consume_seconds": consumed_s,
        "consume_per_s": consumed / consumed_s,
        "confirm_us": None,
        "end_to_end_us": None,
        "client_cpu_us_per_message": (usage.ru_utime + usage.ru_stime) * 1e6 / max(published, 1),
        "errors": {"lost": published - consumed} | errors,
    }


def raise_limit() -> None:
    """As many open files as may be."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=["sessions", "retained", "offline"])
    parser.add_argument("--url", default="mqtt://127.0.0.1:1883")
    parser.add_argument("--count", type=int, default=10_000, help="sessions, or retained messages")
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=100, help="octets of a payload, from 4")
    parser.add_argument("--hold", action="store_true", help="print a line and wait for standard input: to its end (sessions), or a line (offline)")
    parser.add_argument("--keep", action="store_true", help="leave the retained messages there")
    arguments = parser.parse_args()
    raise_limit()
    parts = urlsplit(arguments.url)
    said = {"sessions": sessions, "retained": retained, "offline": offline}[arguments.mode](arguments, (parts.hostname or "127.0.0.1", parts.port or 1883))
    print(json.dumps(said))
    return 3 if any(said["errors"].values()) else 0


if __name__ == "__main__":
    sys.exit(main())
