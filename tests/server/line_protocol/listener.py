from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from typing import Any

from entrepot.net.listener import Listener
from entrepot.net.network import Network
from entrepot.net.session import Client, Peer, Wake


class LineOutput:
    def __init__(self) -> None:
        self.parts: list[bytes] = []

    @property
    def size(self) -> int:
        return sum(map(len, self.parts))

    def take(self) -> Sequence[bytes]:
        parts, self.parts = self.parts, []
        return parts


class LineSession:
    established = True
    paused = False
    next_deadline = 0.0

    def __init__(self, greeting: bytes, line_max: int, counts: dict[str, int], peer: Peer, wake: Wake, journal: Callable[..., None]) -> None:
        self.output = LineOutput()
        self.closing = False
        self.counts = counts
        self.journal = journal
        self._greeting = greeting
        self._line_max = line_max
        self._peer = peer
        self._wake = wake
        self._buffer = bytearray(line_max)
        self._rest = b""

    def get_buffer(self, size_hint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, count: int) -> None:
        *lines, self._rest = (self._rest + self._buffer[:count]).split(b"\n")
        for line in lines:
            self.counts["lines"] += 1
            self.output.parts.append(self._greeting + line + b"\n")
        if b"\0" in self._rest or len(self._rest) > self._line_max:
            self.journal(f"{self._peer}: connection closed: that is no line", bytes(self._rest[:8]))
            self.closing = True

    def writable(self, is_writable: bool) -> None: ...

    def flushed(self) -> None: ...

    def deadline_reached(self, now: float) -> None: ...

    def shut_down(self, reason: str) -> None:
        self.closing = True

    def lost(self, reason: str) -> None: ...


class LineListener(Listener):
    def __init__(
        self, network: Network, host: str, port: int, tls: ssl.SSLContext | None, name: str, greeting: bytes, line_max: int, counts: dict[str, int]
    ) -> None:
        super().__init__(network, host, port, tls)
        self.name = name
        self._given = (greeting, line_max, counts)

    def make_session(self, peer: Peer, wake: Wake) -> LineSession:
        return LineSession(*self._given, peer, wake, self.note)

    def client_of(self, session: Any) -> Client:
        return Client(product="lines")
