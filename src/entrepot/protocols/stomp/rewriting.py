"""Changed records: dead-lettered ones, counted ones, ones whose headers say when they expire. Rare paths, interpreted."""

from __future__ import annotations

import json
from typing import Any

from entrepot.broker.logs.entry_codec import DeadLetter
from entrepot.model.addresses import KEY_MAX_BYTES, pack_address
from entrepot.model.names import NAME_SIZE_MAX
from entrepot.protocols.stomp import headers
from entrepot.protocols.stomp.destinations import text_of
from entrepot.protocols.stomp.errors import StompError
from entrepot.protocols.stomp.events import HAS_TTL, NO_DESTINATION

TTL_MAX_MS = (1 << 53) - 1
DEATHS_MAX = 100  # of x-death

_EXPIRY = (b"expires", b"expiration")


def packed(bits: int, ttl_ms: int, block: bytes, body: bytes | memoryview) -> bytes:
    """A record. `ttl_ms` -1: none."""
    bits = bits & ~HAS_TTL | (HAS_TTL if ttl_ms >= 0 else 0)
    ttl = ttl_ms.to_bytes(8, "big") if ttl_ms >= 0 else b""
    return b"".join((len(block).to_bytes(4, "big"), len(body).to_bytes(4, "big"), bytes((bits,)), ttl, block, body))


def take_apart(data: bytes, position: int = 0) -> tuple[int, int, bytes, memoryview, int]:
    """(bits, time to live or -1, block, body, position behind) of the record at `position`."""
    size = int.from_bytes(data[position : position + 4], "big")
    body_size = int.from_bytes(data[position + 4 : position + 8], "big")
    bits = data[position + 8]
    position += 9
    ttl = -1
    if bits & HAS_TTL:
        ttl = int.from_bytes(data[position : position + 8], "big")
        position += 8
    body = position + size
    return bits, ttl, data[position:body], memoryview(data)[body : body + body_size], body + body_size


def with_headers(record: bytes, lines: list[tuple[bytes, bytes]], drops: tuple[bytes, ...] = (), ttl_ms: int | None = None) -> bytes:
    """The record with these headers, unescaped, in front, in place of those of their names and of `drops`; None: its time to live stays."""
    bits, ttl, block, body, _ = take_apart(record)
    names = {headers.escape(name) for name, _ in lines} | set(drops)
    kept = [line for line in block.split(b"\n")[:-1] if line.partition(b":")[0] not in names]
    changed = b"".join([headers.line(name, value) for name, value in lines] + [line + b"\n" for line in kept])
    return packed(bits, ttl if ttl_ms is None else ttl_ms, changed, body)


def with_time_to_live(data: bytes, count: int, now_ms: int) -> bytes:
    """`count` records, each with the time to live that its headers say: `expiration` in milliseconds, or `expires` as a time. Raises StompError."""
    parts = []
    position = 0
    for _ in range(count):
        bits, _, block, body, position = take_apart(data, position)
        said = dict(reversed(headers.entries(block)))
        ttl = -1
        if b"expiration" in said:
            ttl = _milliseconds(b"expiration", said[b"expiration"])
        elif b"expires" in said:
            at = _milliseconds(b"expires", said[b"expires"])
            ttl = max(at - now_ms, 0) if at else -1
        parts.append(packed(bits, ttl, block, body))
    return b"".join(parts)


def with_replies(data: bytes, count: int, replies: dict[bytes, bytes]) -> bytes:
    """`count` records, with what `replies` has for their reply-to in its place."""
    parts = []
    position = 0
    for _ in range(count):
        begun = position
        bits, ttl, block, body, position = take_apart(data, position)
        reply = dict(reversed(headers.entries(block))).get(b"reply-to")
        if reply in replies:
            parts.append(with_headers(data[begun:position], [(b"reply-to", replies[reply])]))
        else:
            parts.append(packed(bits, ttl, block, body))
    return b"".join(parts)


def temporary_replies(data: bytes, count: int) -> list[bytes]:
    """The temporary queues and topics that some of `count` records want their replies at, each once."""
    found: dict[bytes, None] = {}
    position = 0
    for _ in range(count):
        _, _, block, _, position = take_apart(data, position)
        reply = dict(reversed(headers.entries(block))).get(b"reply-to", b"")
        if reply.startswith((b"/temp-queue/", b"/temp-topic/")):
            found[reply] = None
    return list(found)


def dead_letter(address: bytes, record: bytes, letter: DeadLetter) -> tuple[bytes, bytes] | None:
    """(address, record) as it goes to the dead-letter exchange: the death of this queue and reason first in x-death, its count one higher if it was there."""
    exchange, routing_key = address[1 : 1 + address[0]], address[2 + address[0] :]
    _, ttl, block, _, _ = take_apart(record)
    said = dict(reversed(headers.entries(block)))
    deaths = deaths_in(said.get(b"x-death", b""))
    same = next((death for death in deaths if death.get("queue") == letter.queue and death.get("reason") == letter.reason), None)
    if same is not None:
        deaths.remove(same)
        count = same.get("count")
        death = {**same, "count": count + 1 if isinstance(count, int) else 1}
    else:
        death = {
            "count": 1,
            "reason": letter.reason,
            "queue": letter.queue,
            "time": max(letter.time_ms // 1000, 0),
            "exchange": exchange.decode(errors="replace"),
            "routing-keys": [routing_key.decode(errors="replace")],
        }
        if ttl >= 0:
            death["original-expiration"] = str(ttl)
    name = letter.exchange.encode(errors="surrogateescape")
    key = routing_key if letter.routing_key is None else letter.routing_key.encode(errors="surrogateescape")
    if len(name) > NAME_SIZE_MAX or len(key) > KEY_MAX_BYTES:
        return None
    there = pack_address(name, key)
    queue, reason = letter.queue.encode(errors="replace"), letter.reason.encode()
    lines = [(b"destination", text_of(there)), (b"x-death", json.dumps([death, *deaths][:DEATHS_MAX], separators=(",", ":")).encode())]
    lines.append((b"original-destination", said.get(b"original-destination") or said.get(b"destination") or text_of(address)))
    for which in (b"first", b"last") if b"x-first-death-queue" not in said else (b"last",):
        lines += [(b"x-%b-death-reason" % which, reason), (b"x-%b-death-queue" % which, queue), (b"x-%b-death-exchange" % which, exchange)]
    bits, _, _, _, _ = take_apart(again := with_headers(record, lines, _EXPIRY, -1))
    return there, again[:8] + bytes((bits & ~NO_DESTINATION,)) + again[9:]


def is_cycle(record: bytes, queue: str) -> bool:
    """Whether the record died in `queue` before and was not rejected anywhere since."""
    said = dict(reversed(headers.entries(take_apart(record)[2])))
    for death in deaths_in(said.get(b"x-death", b"")):
        if death.get("reason") == "rejected":
            return False
        if death.get("queue") == queue:
            return True
    return False


def source_of(block: bytes) -> str:
    """The queue of the latest death; empty: none."""
    deaths = deaths_in(dict(reversed(headers.entries(block))).get(b"x-death", b""))
    queue = deaths[0].get("queue") if deaths else None
    return queue if isinstance(queue, str) else ""


def deaths_in(text: bytes) -> list[dict[str, Any]]:
    """What x-death says; nothing where a client made up another thing."""
    if not text.startswith(b"[{") or len(text) > 65_536:
        return []
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return []
    return found if isinstance(found, list) and all(_is_death(death) for death in found) else []


def _is_death(death: Any) -> bool:
    if not isinstance(death, dict):
        return False
    plain = [value for value in death.values() if not isinstance(value, list)]
    listed = [item for value in death.values() if isinstance(value, list) for item in value]
    return all(isinstance(value, str | int) for value in [*plain, *listed])


def _milliseconds(name: bytes, value: bytes) -> int:
    text = value.strip()
    if not text.isdigit() or len(text) > 18:
        raise StompError("malformed header", f"The header {name.decode()} is no number of milliseconds: {headers.shown(value)}")
    return min(int(text), TTL_MAX_MS)
