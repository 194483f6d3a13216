"""STOMP frames as clients write them, a naive reader of what they are sent, and the records that they become."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

CONNECT = {10: b"CONNECT\n\n\0", 11: b"CONNECT\naccept-version:1.0,1.1\nhost:/\n\n\0", 12: b"CONNECT\naccept-version:1.0,1.1,1.2\nhost:/\n\n\0"}


def frame(command: str, *headers: tuple[str, str] | str, body: bytes = b"", length: bool = False, end: bytes = b"\n") -> bytes:
    """A frame; headers as `name:value`, already escaped, or pairs."""
    lines = [command, *(header if isinstance(header, str) else ":".join(header) for header in headers)]
    if length:
        lines.append(f"content-length:{len(body)}")
    return b"".join(line.encode() + end for line in lines) + end + body + b"\0"


def send(destination: str, body: bytes = b"", *headers: str, **how: Any) -> bytes:
    return frame("SEND", f"destination:{destination}", *headers, body=body, **how)


def record(block: bytes, body: bytes, bits: int = 0, ttl: int | None = None) -> bytes:
    """A packed record (records.py)."""
    head = len(block).to_bytes(4, "big") + len(body).to_bytes(4, "big") + bytes([bits | (4 if ttl is not None else 0)])
    return head + (b"" if ttl is None else ttl.to_bytes(8, "big")) + block + body


def route(exchange: bytes, key: bytes) -> bytes:
    return bytes([len(exchange)]) + exchange + bytes([len(key)]) + key


def entry(address: bytes, *records: bytes) -> bytes:
    return b"\x01" + len(address).to_bytes(2, "big") + address + b"".join(records)


def records_of(data: bytes) -> Iterator[tuple[bytes, bytes, int, int]]:
    """(block, body, bits, time to live or -1) of packed records."""
    pos = 0
    while pos < len(data):
        size, body, bits = int.from_bytes(data[pos : pos + 4], "big"), int.from_bytes(data[pos + 4 : pos + 8], "big"), data[pos + 8]
        pos += 9
        ttl = -1
        if bits & 4:
            ttl = int.from_bytes(data[pos : pos + 8], "big")
            pos += 8
        yield data[pos : pos + size], data[pos + size : pos + size + body], bits, ttl
        pos += size + body
    assert pos == len(data)


class Heard:
    """A frame as a client reads it; of repeated headers the first."""

    def __init__(self, command: str, headers: dict[str, str], body: bytes) -> None:
        self.command, self.headers, self.body = command, headers, body

    def __getitem__(self, name: str) -> str:
        return self.headers[name]

    def __repr__(self) -> str:
        return f"{self.command} {self.headers} {self.body!r}"


def read(data: bytes, version: int = 12) -> list[Heard]:
    """All frames of `data`, which are whole; heart-beats are passed over."""
    frames = []
    pos = 0
    while pos < len(data):
        if data[pos : pos + 1] == b"\n":
            pos += 1
            continue
        end = data.index(b"\n\n", pos)
        command, *lines = data[pos:end].decode().split("\n")
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            if version > 10 and command != "CONNECTED":
                name, value = unescaped(name), unescaped(value)
            headers.setdefault(name, value)
        start = end + 2
        stop = start + int(headers["content-length"]) if "content-length" in headers else data.index(b"\0", start)
        assert data[stop] == 0
        frames.append(Heard(command, headers, data[start:stop]))
        pos = stop + 1
    return frames


def unescaped(text: str) -> str:
    out, at = "", 0
    while at < len(text):
        if text[at] == "\\":
            out += {"n": "\n", "c": ":", "\\": "\\", "r": "\r"}[text[at + 1]]
            at += 1
        else:
            out += text[at]
        at += 1
    return out


def plain(event: Any) -> tuple[Any, ...]:
    """An event as values."""
    kind = type(event).__name__
    if kind == "SendRun":
        return kind, event.destination, event.transaction, event.data, event.count, event.body_bytes, event.flags, event.receipts
    if kind == "AckRange":
        return kind, event.subscription, event.lo, event.hi, event.negative, event.requeue, event.transaction, event.receipts
    if kind == "Frame":
        return kind, event.command, tuple(event.headers.items()), event.size
    return kind, event.text, event.detail, event.receipt


def normalised(events: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Neighbouring runs and ranges that any split may have made of one are one."""
    found: list[tuple[Any, ...]] = []
    for event in events:
        last = found[-1] if found else ("",)
        if event[0] == last[0] == "SendRun" and event[1:3] == last[1:3]:
            found[-1] = (*last[:3], last[3] + event[3], last[4] + event[4], last[5] + event[5], last[6] | event[6], last[7] + event[7])
        elif event[0] == last[0] == "AckRange" and (event[1], event[4:7]) == (last[1], last[4:7]) and event[2] == last[3] + 1:
            found[-1] = (*last[:3], event[3], *last[4:7], last[7] + event[7])
        else:
            found.append(event)
    return found


def hostile(seed: int, count: int) -> Iterator[bytes]:
    """Streams that begin well and go wrong, or seem to."""
    dice = random.Random(seed)
    whole = [
        send("/queue/a", b"x"), send("/queue/a", b"a\0b", "receipt:1", length=True), send("/topic/b.c", b"y", "x:\\c\\n\\\\"), b"\n", b"\r\n",
        frame("ACK", "id:1-1"), frame("ACK", "id:1-2", "receipt:7"), frame("NACK", "id:1-3", "requeue:false"), frame("ACK", "message-id:s-1-4"),
        frame("SUBSCRIBE", "id:0", "destination:/queue/a"), frame("BEGIN", "transaction:t"), send("/queue/a", b"z", "transaction:t", end=b"\r\n"),
        frame("COMMIT", "transaction:t"), frame("DISCONNECT", "receipt:9"), send("/queue/\u00e9", b"", "expires:5"),
    ]  # fmt: skip
    for _ in range(count):
        stream = bytearray(CONNECT[dice.choice((10, 11, 12))] + b"".join(dice.choice(whole) for _ in range(dice.randrange(1, 6))))
        for _ in range(dice.choice((0, 1, 1, 1, 3))):
            at = dice.randrange(len(stream) or 1)
            what = dice.randrange(4)
            if what == 0 and stream:
                stream[at] = dice.choice(b"\0\n\r:\\a0\xff")
            elif what == 1:
                del stream[at : at + dice.randrange(1, 4)]
            elif what == 2:
                stream[at:at] = dice.choice((b"\0", b"\n", b"\n\n", b":", b"\\", b"content-length:3\n", b"\r\n", b"\xc3"))
            else:
                del stream[at:]
        yield bytes(stream)
