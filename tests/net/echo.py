"""A protocol for the tests: what comes in goes out; `close` ends, `boom` is a bug, `pause` stops reading, `fill N` makes N bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from entrepot.clock import SystemClock
from entrepot.net.listener import Listener
from entrepot.net.network import Network, NetworkLimits
from entrepot.net.session import Peer, Wake

LIMITS = {
    "connections": 100,
    "connections_per_listener": 100,
    "accept_backlog": 100,
    "socket_output_bytes": 65_536,
    "connection_output_bytes": 65_536,
    "close_timeout_ms": 60_000,
    "dead_peer_timeout_ms": 60_000,
    "unfinished_bytes": 1 << 26,
    "strangers_per_listener": 100,
    "strangers_per_address": 100,
    "strangers_bytes": 1 << 26,
}


class EchoOutput:
    def __init__(self) -> None:
        self.parts: list[Any] = []
        self.takes = 0

    @property
    def size(self) -> int:
        return sum(len(part or b"?") for part in self.parts)

    def take(self) -> list[bytes]:
        self.takes += 1
        parts, self.parts = self.parts, []
        return parts


class EchoSession:
    def __init__(self, peer: Peer, wake: Wake) -> None:
        self.peer = peer
        self.wake = wake
        self.output = EchoOutput()
        self.closing = False
        self.paused = False
        self.next_deadline = 0.0
        self.buffer = bytearray(65_536)
        self.received = 0
        self.established = True
        self.flushes = 0
        self.log: list[Any] = []
        self.answer_shut_down = True

    def get_buffer(self, size_hint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, count: int) -> None:
        data = bytes(self.buffer[:count])
        self.received += count
        match data.split():
            case [b"close"]:
                self.closing = True
            case [b"boom"]:
                raise ZeroDivisionError("a bug")
            case [b"bang"]:
                self.output.parts.append(None)  # fails when it is sent
            case [b"pause"]:
                self.paused = True
            case [b"fill", size]:
                self.output.parts.append(bytes(int(size)))
            case _:
                self.output.parts.append(data)

    def writable(self, is_writable: bool) -> None:
        self.log.append(("writable", is_writable))

    def flushed(self) -> None:
        self.flushes += 1
        if self.output.size:
            self.wake()

    def deadline_reached(self, now: float) -> None:
        self.log.append(("deadline", now >= self.next_deadline))
        self.closing = True

    def shut_down(self, reason: str) -> None:
        if self.answer_shut_down:
            self.output.parts.append(reason.encode())
            self.closing = True

    def lost(self, reason: str) -> None:
        self.log.append(("lost", reason))


class EchoListener(Listener):
    name = "echo"

    def __init__(self, network: Network, **given: Any) -> None:
        super().__init__(network, "127.0.0.1", 0, **given)
        self.sessions: list[EchoSession] = []

    def make_session(self, peer: Peer, wake: Wake) -> EchoSession:
        self.sessions.append(EchoSession(peer, wake))
        return self.sessions[-1]


async def network(**limits: int) -> Network:
    return Network(asyncio.get_running_loop(), SystemClock(), NetworkLimits(**(LIMITS | limits)))


async def listening(on: Network, **given: Any) -> EchoListener:
    listener = EchoListener(on, **given)
    await on.listen(listener)
    return listener


async def connect(listener: EchoListener, **given: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(listener.host, listener.port, **given)


async def until(condition: Callable[[], object]) -> None:
    """Run the loop until `condition` holds."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)
