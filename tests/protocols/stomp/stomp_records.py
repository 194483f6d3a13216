"""Entries of SENDs as tests make them, and what a client sees of one."""

from __future__ import annotations

from typing import Any

from stomp_wire import entry, record, records_of, route, unescaped

from entrepot.protocols.stomp import headers as lines
from entrepot.protocols.stomp.records import StompEntryCodec

CODEC = StompEntryCodec()
QUEUE = route(b"", b"q")
NONE = b"\x00\x00"
NOW_MS = 1_700_000_000_000


def block(*headers: tuple[str, str] | str) -> bytes:
    return b"".join(lines.line(*(part.encode() for part in (header.partition(":")[::2] if isinstance(header, str) else header))) for header in headers)


def message(*headers: tuple[str, str] | str, body: bytes = b"v", address: bytes = QUEUE, **how: Any) -> bytes:
    return entry(address, record(block("destination:/queue/q", *headers), body, **how))


class Seen:
    """What a STOMP client sees of a record."""

    def __init__(self, data: bytes) -> None:
        ((raw, self.body, self.bits, self.ttl),) = records_of(data[CODEC.start(data) :])
        self.headers: dict[str, str] = {}
        self.names = []
        for line in raw.decode().split("\n")[:-1]:
            name, _, value = line.partition(":")
            self.headers.setdefault(unescaped(name), unescaped(value))
            self.names.append(unescaped(name))
