"""A broker of a few lines that does one thing wrong: what the load generator must notice. One thread a connection, blocking calls."""

from __future__ import annotations

import queue
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self

Deliveries = list[tuple[int, bytes]]  # (delivery tag, body)
_START = b"\x00\x0a\x00\x0a\x00\x09" + bytes(4) + b"\x00\x00\x00\x05PLAIN" + b"\x00\x00\x00\x05en_US"
_CONSUME_OK = b"\x00\x3c\x00\x15\x02c0"


BATCH = 10  # messages delivered at once; tests publish a multiple of it


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


def right(deliveries: Deliveries) -> Deliveries:
    return deliveries


class FaultyBroker:
    """One queue. `deliver` changes what is delivered of each read; `confirm` what is answered to publish number n; `body_frame_max` splits bodies."""

    def __init__(
        self, *, deliver: Callable[[Deliveries], Deliveries] = right, confirm: Callable[[int], bytes] | None = None, body_frame_max: int = 131064
    ) -> None:
        self.deliver = deliver
        self.confirm = confirm or (lambda tag: ack(tag))
        self.body_frame_max = body_frame_max
        self.bodies: queue.Queue[bytes | None] = queue.Queue()
        self.acknowledged = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"amqp://127.0.0.1:{self.listener.getsockname()[1]}/"
        self.threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._thread(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.bodies.put(None)
        for thread in self.threads:
            thread.join(10)
            assert not thread.is_alive()

    def _thread(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self.threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                self._thread(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        lock = threading.Lock()
        with connection, connection.makefile("rb") as stream, suppress(OSError):
            stream.read(8)
            connection.sendall(frame(1, 0, _START))
            published, body, body_size = 0, b"", 0
            while head := stream.read(7):
                kind, channel, size = struct.unpack(">BHI", head)
                payload = stream.read(size + 1)[:-1]
                if kind == 2:
                    body, body_size = b"", int(struct.unpack_from(">Q", payload, 4)[0])
                elif kind == 3:
                    body += payload
                    if len(body) == body_size:
                        published += 1
                        self.bodies.put(body)
                        with lock:
                            connection.sendall(self.confirm(published))
                elif kind == 1:
                    answer = self._answer(connection, lock, payload)
                    with lock:
                        connection.sendall(frame(1, channel, answer) if answer else b"")
                    if payload[:4] == b"\x00\x3c\x00\x14":
                        self._thread(self._deliver, connection, lock)

    def _answer(self, connection: socket.socket, lock: threading.Lock, payload: bytes) -> bytes:
        method = struct.unpack_from(">HH", payload)
        arguments = {(10, 40): b"\0", (20, 10): bytes(4), (50, 10): b"\x01q" + bytes(8), (50, 30): bytes(4), (50, 40): bytes(4), (60, 30): b"\x02c0"}
        if method == (10, 11):
            return struct.pack(">HHHIH", 10, 30, 0, 131072, 0)
        if method == (60, 80):
            self.acknowledged = int(struct.unpack_from(">Q", payload, 4)[0])
        if method in ((10, 31), (60, 40), (60, 80)):
            return b""
        if method == (60, 20):
            return _CONSUME_OK
        return struct.pack(">HH", method[0], method[1] + 1) + arguments.get(method, b"")

    def _deliver(self, connection: socket.socket, lock: threading.Lock) -> None:
        waiting: Deliveries = []
        tag = 0
        with suppress(OSError):
            while (body := self.bodies.get()) is not None:
                tag += 1
                waiting.append((tag, body))
                if len(waiting) == BATCH:
                    with lock:
                        connection.sendall(b"".join(self._encoded(*each) for each in self.deliver(waiting)))
                    waiting = []

    def _encoded(self, tag: int, body: bytes) -> bytes:
        method = b"\x00\x3c\x00\x3c\x02c0" + struct.pack(">Q", tag) + b"\0\0\x04load"
        out = frame(1, 1, method) + frame(2, 1, struct.pack(">HHQHB", 60, 0, len(body), 0x1000, 2))
        for at in range(0, len(body), self.body_frame_max):
            out += frame(3, 1, body[at : at + self.body_frame_max])
        return out


def ack(tag: int, *, multiple: bool = False, method: int = 80) -> bytes:
    return frame(1, 1, struct.pack(">HHQB", 60, method, tag, multiple))
