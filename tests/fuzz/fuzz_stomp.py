"""STOMP as a fuzzer speaks it: every command with headers that mostly make sense, in all three versions, and what is wrong with them."""

from __future__ import annotations

import re

from fuzz_values import Chance, damaged, number, payload, text
from fuzz_world import PASSWORD, USER, Wire, World

DESTINATIONS = (
    b"/queue/orders", b"/queue/returns", b"/queue/stream", b"/topic/a.b.c", b"/topic/a.*", b"/topic/a.>", b"topic://a.#", b"/exchange/fan/k",
    b"/exchange/amq.topic/a",
    b"/amq/queue/orders", b"/temp-queue/r", b"/reply-queue/orders", b"queue://events", b"bare", b"/queue/stomp.new",
)  # fmt: skip
ODD_DESTINATIONS = (
    b"/queue/", b"/nothing", b"/temp-topic/t", b"/queue/a,/queue/b", b"/queue/%zz%2F", b"queue://a?b=c", b"/exchange/none/k", b"/amq/queue/none", b"/" * 2000,
)  # fmt: skip
KEYS = (b"1", b"2", b"3", b"/temp-queue/r")
TRANSACTIONS = (b"t", b"u", b"v\\cw")
MODES = (b"auto", b"client", b"client-individual")
OPTIONS: tuple[tuple[bytes, tuple[bytes, ...]], ...] = (
    (b"prefetch-count", (b"0", b"1", b"10", b"-1")),
    (b"activemq.prefetchSize", (b"0", b"1", b"1000")),
    (b"activemq.subscriptionName", (b"news", b"other")),
    (b"durable", (b"true", b"false")),
    (b"auto-delete", (b"true", b"false")),
    (b"exclusive", (b"true", b"false")),
    (b"x-max-length", (b"1", b"0", b"5")),
    (b"x-overflow", (b"reject-publish", b"drop-head")),
    (b"x-message-ttl", (b"0", b"1000")),
    (b"x-dead-letter-exchange", (b"", b"fan", b"amq.topic")),
    (b"x-stream-offset", (b"first", b"next", b"offset=3", b"timestamp=1", b"1h")),
    (b"x-queue-type", (b"stream", b"classic")),
    (b"selector", (b"", b"", b"", b"a = 1")),
    (b"browser", (b"false",)),
    (b"x-queue-name", (b"orders", b"mine", b"")),
)
PROPERTIES: tuple[tuple[bytes, tuple[bytes, ...]], ...] = (
    (b"expires", (b"0", b"1", b"99999999999999")),
    (b"expiration", (b"0", b"1000", b"999999999999999999")),
    (b"priority", (b"0", b"9", b"255", b"256")),
    (b"persistent", (b"true",)),
    (b"reply-to", (b"/temp-queue/r", b"/temp-queue/s", b"/queue/orders", b"/temp-queue/" + b"n" * 300)),
    (b"x-key", (b"k", b"")),
    (b"x-death", (b'[{"queue"\\c"orders"}]', b"[[[[", b"[" * 5000)),
    (b"timestamp", (b"1", b"9999999999999999")),
    (b"a", (b"1", b"b\\cc\\n", b"\xc3\xa9")),
    (b"x-null-value", (b"true",)),
)
_TOLD = re.compile(rb"(?:ack|message-id):([^\n]+)\n")


def frame(command: bytes, headers: list[tuple[bytes, bytes]], body: bytes = b"", end: bytes = b"\n") -> bytes:
    """One frame, as it is said."""
    return command + end + b"".join(name + b":" + value + end for name, value in headers) + end + body + b"\0"


class StompTalk:
    """One client: logs in, talks, logs in again when it was closed."""

    listeners = ("stomp", "stomp", "stomps")

    def __init__(self, chance: Chance, world: World | None, has_users: bool) -> None:
        self._chance = chance
        self._has_users = has_users
        self._version = b"1.2"
        self._waiting: list[bytes] = []
        self._ids: list[bytes] = []  # of deliveries that were not settled
        self._number = 0
        self._begun: list[bytes] = []  # transactions

    # ---- what arrives

    def connection_made(self, transport: Wire) -> None:
        """See asyncio."""
        chance = self._chance
        self._ids.clear()
        self._begun.clear()
        self._version = chance.choice((b"1.0", b"1.1", b"1.2", b"1.2"))
        name, password = (USER, PASSWORD) if self._has_users and chance.random() < 0.9 else ("guest", "guest")
        headers = [(b"accept-version", self._version), (b"host", chance.choice((b"/", b"here.example", b"/")))]
        if chance.random() < 0.9:
            headers += [(b"login", name.encode()), (b"passcode", password.encode())]
        if chance.random() < 0.3:
            headers.append((b"heart-beat", chance.choice((b"0,0", b"1000,1000", b"0,500", b"1,1", b"x", b"60000,0"))))
        if chance.random() < 0.5:
            headers.append((b"client-id", b"me"))
        connect = frame(chance.choice((b"CONNECT", b"STOMP")), headers)
        self._waiting = [connect if chance.random() < 0.95 else damaged(chance, connect)]

    def data_received(self, data: bytes) -> None:
        """See asyncio. What is divided between two reads is not noticed."""
        self._ids += [one for one in _TOLD.findall(data) if len(one) < 60][:20]
        del self._ids[: max(len(self._ids) - 200, 0)]

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio."""

    # ---- what is sent

    def _headers(self, known: tuple[tuple[bytes, tuple[bytes, ...]], ...]) -> list[tuple[bytes, bytes]]:
        chance = self._chance
        found = []
        for _ in range(chance.choice((0, 0, 1, 1, 2, 3))):
            name, values = chance.choice(known)
            found.append((text(chance, (name,), 0.01).replace(b"\n", b"\\n"), text(chance, values, 0.02)))
        if chance.random() < 0.4:
            self._number += 1
            found.append((b"receipt", b"%d" % self._number if chance.random() < 0.98 else b"r" * 1025))
        return found

    def _destination(self) -> tuple[bytes, bytes]:
        chance = self._chance
        return b"destination", chance.choice(DESTINATIONS) if chance.random() < 0.985 else chance.choice(ODD_DESTINATIONS)

    def _transaction(self) -> list[tuple[bytes, bytes]]:
        """One that is open, if any is."""
        chance = self._chance
        if chance.random() < 0.02:
            return [(b"transaction", chance.choice(TRANSACTIONS))]
        return [(b"transaction", chance.choice(self._begun))] if self._begun else []

    def _transact(self) -> bytes:
        """BEGIN, or the end of what was begun."""
        chance = self._chance
        name = chance.choice(TRANSACTIONS)
        if name in self._begun:
            self._begun.remove(name)
            command = chance.choice((b"COMMIT", b"ABORT")) if chance.random() < 0.98 else b"BEGIN"
        else:
            self._begun.append(name)
            command = b"BEGIN" if chance.random() < 0.98 else b"COMMIT"
        return frame(command, [(b"transaction", name), *self._headers(((b"a", (b"b",)),))])

    def _send(self) -> bytes:
        chance = self._chance
        body = payload(chance)
        headers = [self._destination(), *self._headers(PROPERTIES)]
        if chance.random() < 0.1:
            headers += self._transaction()
        way = chance.random()
        if b"\0" in body or way < 0.5:
            headers.append((b"content-length", b"%d" % (len(body) if chance.random() < 0.99 else number(chance, 40))))
        return frame(b"SEND", headers, body, b"\r\n" if chance.random() < 0.05 else b"\n")

    def _settle(self) -> bytes:
        chance = self._chance
        known = self._ids.pop(chance.randrange(min(len(self._ids), 5))) if self._ids and chance.random() < 0.97 else b"1-%d" % number(chance, 40)
        name = b"id" if self._version == b"1.2" else b"message-id"
        headers = [(name, known), *self._headers(((b"requeue", (b"true", b"false")), (b"subscription", KEYS)))]
        if chance.random() < 0.1:
            headers += self._transaction()
        return frame(chance.choice((b"ACK", b"ACK", b"NACK")), headers)

    def _subscribe(self) -> bytes:
        headers = [(b"id", self._chance.choice(KEYS)), self._destination(), (b"ack", self._chance.choice(MODES)), *self._headers(OPTIONS)]
        return frame(b"SUBSCRIBE", headers)

    def next_frames(self) -> list[bytes]:
        """What it sends now: one frame or a few."""
        chance = self._chance
        if self._waiting:
            frames, self._waiting = self._waiting, []
            if chance.random() < 0.5:
                frames.append(self._subscribe())
            return frames
        way = chance.random()
        if way < 0.45:
            return [self._send() for _ in range(chance.choice((1, 1, 2, 20)))]
        if way < 0.65 and self._ids:
            return [self._settle() for _ in range(chance.choice((1, 1, 3)))]
        if way < 0.78:
            return [self._subscribe()]
        if way < 0.84:
            return [frame(b"UNSUBSCRIBE", [(b"id", chance.choice(KEYS)), *self._headers(OPTIONS[2:5])])]
        if way < 0.94:
            return [self._transact()]
        if way < 0.96:
            return [b"\n" * chance.choice((1, 100, 5000))]
        if way < 0.97:
            return [frame(b"DISCONNECT", self._headers(((b"a", (b"b",)),)))]
        if way < 0.98:
            return [damaged(chance, self._send())]
        if way < 0.985:
            return [frame(b"SEND", [(b"destination", b"/queue/orders"), *((b"h", b"x" * 100) for _ in range(chance.choice((10, 700, 1001))))])]
        if way < 0.99:
            return [frame(b"SEND", [(b"destination", b"/queue/orders"), (b"content-length", b"1000000")])[:-1], chance.randbytes(30_000)]
        return [chance.randbytes(chance.choice((1, 10, 1000)))]
