r"""Destinations, in ActiveMQ's and RabbitMQ's words, and the addresses (exchange and routing key) that they stand for.

| destination | SEND goes to | SUBSCRIBE reads |
|---|---|---|
| `/queue/N`, `queue://N`, `N` | queue N, made if need be (a topic of that name, if there is one) | the same |
| `/amq/queue/N`, `/reply-queue/N`, `/remote-temp-queue/N` | queue N, which must exist | the same |
| `/topic/K`, `topic://K` | exchange amq.topic, routing key K | a queue bound to it; `*` is a word, `>` at the end and `#` any number of them |
| `/exchange/E`, `/exchange/E/K` | exchange E, routing key K | a queue bound to it |
| `/temp-queue/N` | as replies alone: a queue of this connection | that queue |
| `/temp-topic/N` | exchange amq.topic, a routing key of this connection's own | a queue bound to it |
| several of these, with commas between them | all of them | - |

In the forms that begin with a slash `%2F` is a slash, as RabbitMQ's clients write it, and any other octet may be written so.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from entrepot.protocols.stomp.errors import StompError

QUEUE, EXISTING, SUBJECT, EXCHANGE, TEMPORARY = "queue", "existing queue", "topic", "exchange", "temporary queue"
TEMPORARY_TOPIC, SEVERAL = "temporary topic", "several destinations"
SEVERAL_MAX = 16
TOPIC_EXCHANGE = "amq.topic"
REPLY_QUEUE = "/reply-queue/"

_PERCENT = re.compile(rb"%([0-9A-Fa-f]{2})")
_SLASHED = {
    "queue": QUEUE,
    "topic": SUBJECT,
    "amq": EXISTING,
    "exchange": EXCHANGE,
    "temp-queue": TEMPORARY,
    "temp-topic": TEMPORARY_TOPIC,
    "reply-queue": EXISTING,
    "remote-temp-queue": EXISTING,
}
_SCHEMES = {"queue": QUEUE, "topic": SUBJECT, "temp-queue": TEMPORARY, "temp-topic": TEMPORARY_TOPIC}
_NEXT = re.compile(r",\s*(?=/(?:queue|topic|amq|exchange|reply-queue|remote-temp-queue|temp-queue|temp-topic)/|(?:temp-)?(?:queue|topic)://)")
_NAMES_QUEUE = re.compile(rb"/(?:queue|amq/queue|reply-queue)/([^/]+)|queue://([^,?]+)")
_SHORT_MAX = 255


class Destination(NamedTuple):
    """`name`: of the queue, of the exchange; `key`: the routing key; `several`: what is meant by SEVERAL, none of them twice."""

    kind: str
    name: str
    key: str
    several: tuple[Destination, ...] = ()

    @property
    def address(self) -> bytes:
        """As port.Publish has it."""
        exchange = self.name if self.kind in (SUBJECT, EXCHANGE) else ""
        key = self.key if self.kind in (SUBJECT, EXCHANGE) else self.name
        return _short(exchange) + _short(key)

    @property
    def pattern(self) -> str:
        """The routing key of a binding: ActiveMQ's `>` at the end is AMQP's `#`."""
        words = self.key.split(".")
        return ".".join([*words[:-1], "#"]) if self.kind == SUBJECT and words[-1] == ">" else self.key


def parse(text: str) -> Destination:
    """What a destination means. Raises StompError."""
    if "," in text:
        parts = _NEXT.split(text)
        if len(parts) > 1:
            return _several(text, parts)
    if text.startswith("/"):
        kind_text, slash, rest = text[1:].partition("/")
        kind = _SLASHED.get(kind_text)
        if kind is None or not slash:
            raise _wrong(text, "it is none of those that docs/stomp.md lists")
        if kind_text == "amq":
            word, slash, rest = rest.partition("/")
            if word != "queue" or not slash:
                raise _wrong(text, "behind /amq/ queue/NAME is expected")
        return _of(text, kind, rest, True)
    scheme, found, rest = text.partition("://")
    if not found:
        return _of(text, QUEUE, text, False)
    kind = _SCHEMES.get(scheme)
    if kind is None:
        raise _wrong(text, f"{scheme}:// is not supported")
    if "," in rest:
        return _several(text, [f"{scheme}://{name.strip()}" for name in rest.split(",")])
    name, question, options = rest.partition("?")
    if question and options:
        raise _wrong(text, "options behind a question mark are not supported: give them as headers")
    return _of(text, kind, name, False)


def _several(text: str, parts: list[str]) -> Destination:
    found = dict.fromkeys(one for part in parts for parsed in [parse(part)] for one in parsed.several or [parsed])
    if max(len(parts), len(found)) > SEVERAL_MAX:
        raise _wrong(text, f"it is more than {SEVERAL_MAX} destinations")
    if any(one.kind in (TEMPORARY, TEMPORARY_TOPIC) for one in found):
        raise _wrong(text, "a temporary destination stands alone")
    return Destination(SEVERAL, "", "", tuple(found))


def _of(text: str, kind: str, rest: str, decodes: bool) -> Destination:
    if kind == EXCHANGE:
        name, _, key = rest.partition("/")
        found = Destination(kind, _decoded(name), _decoded(key))
        if not found.name:
            raise _wrong(text, "the default exchange has no name here: send to a queue")
    elif kind == SUBJECT:
        found = Destination(kind, TOPIC_EXCHANGE, _decoded(rest) if decodes else rest)
    else:
        found = Destination(kind, _decoded(rest) if decodes else rest, "")
    if not (found.key if kind == SUBJECT else found.name):
        raise _wrong(text, "it has no name")
    if max(len(found.name.encode()), len(found.key.encode())) > _SHORT_MAX:
        raise _wrong(text, f"a name has more than {_SHORT_MAX} octets")
    return found


def text_of(address: bytes) -> bytes:
    """The destination that stands for an address (both short strings), unescaped."""
    exchange = address[1 : 1 + address[0]]
    key = address[2 + address[0] :]
    if not exchange:
        return b"/queue/" + _encoded(key, True)
    if exchange == b"amq.topic":
        return b"/topic/" + _encoded(key, False)
    return b"/exchange/%b/%b" % (_encoded(exchange, True), _encoded(key, False))


def queue_meant(destination: bytes) -> bytes:
    """The queue that a reply-to names, for readers of other protocols; what names none stays as it is."""
    found = _NAMES_QUEUE.fullmatch(destination)
    if found is None:
        return destination
    return found[2] if found[1] is None else _PERCENT.sub(lambda octet: bytes((int(octet[1], 16),)), found[1])


def reply_destination(name: bytes) -> bytes:
    """A reply-to of another protocol, which names a queue, as a destination; what is one already stays as it is."""
    return name if name.startswith(b"/") or b"://" in name else REPLY_QUEUE.encode() + _encoded(name, True)


def _decoded(text: str) -> str:
    if "%" not in text:
        return text
    return _PERCENT.sub(lambda octet: bytes((int(octet[1], 16),)), text.encode()).decode(errors="replace")


def _encoded(name: bytes, slashes: bool) -> bytes:
    encoded = name.replace(b"%", b"%25")
    return encoded.replace(b"/", b"%2F") if slashes else encoded


def _short(text: str) -> bytes:
    octets = text.encode()
    return bytes((len(octets),)) + octets


def _wrong(text: str, why: str) -> StompError:
    return StompError("invalid destination", f"'{text[:200]}' is not a destination here: {why}.")
