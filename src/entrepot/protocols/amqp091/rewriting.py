"""Changed records: dead-lettered ones with RabbitMQ's x-death, counted ones, ones without a header. Rare paths, interpreted.

A record is taken apart into its property values' bytes and its header table's entries, (name, type octet and value), and put together
again; what is not changed keeps its bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

from entrepot.broker.logs.entry_codec import DeadLetter
from entrepot.protocols.amqp091 import properties as p

LONG_KEY = b"x-routing-key"
"""Header of a record whose routing key has more than 255 octets."""

_BITS = tuple(1 << bit for bit in range(15, 1, -1))
Entries = list[tuple[bytes, bytes]]


@dataclass(slots=True)
class Parts:
    """A record taken apart: values by flag (the headers apart), header entries or None, body, which is not copied: it may be large."""

    values: dict[int, bytes]
    headers: Entries | None
    body: bytes | memoryview

    def set_header(self, name: bytes, value: bytes) -> None:
        """Put the header, first, in place of one it had."""
        self.headers = [(name, value)] + [entry for entry in self.headers or [] if entry[0] != name]

    def header(self, name: bytes) -> bytes | None:
        """Type octet and value of the first header of that name."""
        return next((value for other, value in self.headers or [] if other == name), None)

    def packed(self) -> bytes:
        """The record again."""
        flags = 0
        values = []
        for bit in _BITS:
            if bit == p.HEADERS:
                if self.headers is not None:
                    flags |= bit
                    values.append(_table(self.headers))
            elif bit in self.values:
                flags |= bit
                values.append(self.values[bit])
        listed = flags.to_bytes(2, "big") + b"".join(values)
        return b"".join((len(listed).to_bytes(4, "big"), len(self.body).to_bytes(4, "big"), listed, self.body))


def take_apart(record: bytes) -> Parts:
    """The parts of one packed record."""
    size = int.from_bytes(record[:4], "big")
    flags = int.from_bytes(record[8:10], "big")
    pos = 10
    values = {}
    headers = None
    for bit in _BITS:
        if not flags & bit:
            continue
        if bit == p.HEADERS:
            headers = _entries(record, pos)
            end = pos + 4 + int.from_bytes(record[pos : pos + 4], "big")
        else:
            end = pos + (1 if bit in (p.DELIVERY_MODE, p.PRIORITY) else 8 if bit == p.TIMESTAMP else 1 + record[pos])
            values[bit] = record[pos:end]
        pos = end
    return Parts(values, headers, memoryview(record)[8 + size :])


def strings(data: bytes, pos: int) -> list[bytes]:
    """The long strings of the array whose type octet is at `pos`; none where it is no array."""
    if data[pos] != 0x41:
        return []
    stop = pos + 5 + int.from_bytes(data[pos + 1 : pos + 5], "big")
    pos += 5
    found = []
    while pos < stop:
        end = p.value_end(data, pos)
        if data[pos] == 0x53:
            found.append(data[pos + 5 : end])
        pos = end
    return found


def without_header(record: bytes, name: bytes) -> tuple[bytes, bytes]:
    """The record without its headers of that name (the table stays, even if empty), and the first one's type octet and value; b"": it has none."""
    parts = take_apart(record)
    value = parts.header(name)
    if value is None:
        return record, b""
    parts.headers = [entry for entry in parts.headers or [] if entry[0] != name]
    return parts.packed(), value


def with_delivery_count(record: bytes, count: int) -> bytes:
    """The record with the header x-delivery-count: how often it was delivered before."""
    parts = take_apart(record)
    parts.set_header(b"x-delivery-count", _i64(count))
    return parts.packed()


def with_long_key(data: bytes, key: bytes) -> bytes:
    """An entry whose records have a routing key that is none here: each says it in a header, and has none itself."""
    at = 3 + int.from_bytes(data[1:3], "big")
    pieces = [data[:at]]
    while at < len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big") + int.from_bytes(data[at + 4 : at + 8], "big")
        parts = take_apart(data[at:end])
        parts.set_header(LONG_KEY, _longstr(key))
        pieces.append(parts.packed())
        at = end
    return b"".join(pieces)


def is_cycle(record: bytes, queue: bytes) -> bool:
    """Whether the record died in `queue` before and was not rejected anywhere since (RabbitMQ drops it then)."""
    for death in _deaths(take_apart(record)):
        fields = dict(death)
        if fields.get(b"reason") == _longstr(b"rejected"):
            return False
        if fields.get(b"queue") == _longstr(queue):
            return True
    return False


def dead_letter(address: bytes, record: bytes, letter: DeadLetter, hidden: bytes = b"") -> tuple[bytes, bytes]:
    """(address, record) as RabbitMQ 3.13 publishes it to the dead-letter exchange.

    The death of this queue and reason comes first in x-death, its count one higher if it was there; x-first-death-* are written once, x-last-death-* each time;
    the expiration moves into the death. With a routing key of its own the CC header goes; without one it goes to all the keys that it was published with,
    those of its BCC header (`hidden`: type octet and value) among them, which x-death does not tell.
    """
    parts = take_apart(record)
    exchange = address[1 : 1 + address[0]]
    routing_key = address[2 + address[0] :]
    queue = letter.queue.encode(errors="surrogateescape")
    reason = letter.reason.encode()
    copies = parts.header(b"CC")
    keys = [routing_key, *(strings(copies, 0) if copies else [])]
    deaths = _deaths(parts)
    same = next((death for death in deaths if (b"queue", _longstr(queue)) in death and (b"reason", _longstr(reason)) in death), None)
    if same is not None:
        death = [(name, _i64(_count(value) + 1) if name == b"count" else value) for name, value in same]
        deaths.remove(same)
    else:
        death = [
            (b"count", _i64(1)),
            (b"reason", _longstr(reason)),
            (b"queue", _longstr(queue)),
            (b"time", b"T" + max(letter.time_ms // 1000, 0).to_bytes(8, "big")),
            (b"exchange", _longstr(exchange)),
            (b"routing-keys", b"A" + _sized(b"".join(map(_longstr, keys)))),
        ]
        expiration = parts.values.get(p.EXPIRATION)
        if expiration is not None:
            death.append((b"original-expiration", _longstr(expiration[1:])))
    parts.values.pop(p.EXPIRATION, None)
    if letter.routing_key is not None:
        parts.headers = [entry for entry in parts.headers or [] if entry[0] != b"CC"]
        routing_key = letter.routing_key.encode(errors="surrogateescape")
    elif hidden:
        parts.set_header(b"BCC", hidden)
    if parts.header(b"x-first-death-queue") is None:
        for name, value in ((b"x-first-death-reason", reason), (b"x-first-death-queue", queue), (b"x-first-death-exchange", exchange)):
            parts.set_header(name, _longstr(value))
    for name, value in ((b"x-last-death-reason", reason), (b"x-last-death-queue", queue), (b"x-last-death-exchange", exchange)):
        parts.set_header(name, _longstr(value))
    parts.set_header(b"x-death", b"A" + _sized(b"".join(b"F" + _table(item) for item in [death, *deaths])))
    return _short(letter.exchange.encode(errors="surrogateescape")) + _short(routing_key), parts.packed()


def _deaths(parts: Parts) -> list[Entries]:
    """The tables of the x-death header; what a client made up in another shape does not count."""
    value = parts.header(b"x-death")
    if value is None or value[:1] != b"A":
        return []
    pos = 5
    found = []
    while pos < len(value):
        if value[pos] == 0x46:
            found.append(_entries(value, pos + 1))
        pos = p.value_end(value, pos)
    return found


def _entries(data: bytes, pos: int) -> Entries:
    """Entries of the table whose size is at `pos`."""
    stop = pos + 4 + int.from_bytes(data[pos : pos + 4], "big")
    pos += 4
    entries = []
    while pos < stop:
        name_end = pos + 1 + data[pos]
        end = p.value_end(data, name_end)
        entries.append((data[pos + 1 : name_end], data[name_end:end]))
        pos = end
    return entries


def _count(value: bytes) -> int:
    return int.from_bytes(value[1:], "big", signed=True) if value[:1] in (b"l", b"I") else 0


def _table(entries: Entries) -> bytes:
    return _sized(b"".join(_short(name) + value for name, value in entries))


def _short(text: bytes) -> bytes:
    return bytes((len(text),)) + text


def _longstr(text: bytes) -> bytes:
    return b"S" + _sized(text)


def _i64(number: int) -> bytes:
    return b"l" + min(number, 2**63 - 1).to_bytes(8, "big", signed=True)


def _sized(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data
