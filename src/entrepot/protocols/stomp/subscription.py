"""Subscription: one of a connection, as the port's token, and the book of its deliveries that are not settled yet.

Deliveries are numbered from 1 on. They are kept as spans: neighbouring deliveries of neighbouring offsets of one consumer are one object, however many.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

from entrepot.protocols.stomp import headers

AUTO, CLIENT, INDIVIDUAL = "auto", "client", "client-individual"


class Span:
    """Deliveries `first` .. first + count - 1 are offsets `offset` .. of one consumer."""

    __slots__ = ("consumer_id", "count", "first", "offset")

    def __init__(self, first: int, count: int, consumer_id: int, offset: int) -> None:
        self.first = first
        self.count = count
        self.consumer_id = consumer_id
        self.offset = offset

    def cut(self, low: int, high: int) -> Span:
        """Deliveries low..high of it."""
        return Span(low, high - low + 1, self.consumer_id, self.offset + low - self.first)


def _first(span: Span) -> int:
    return span.first


class Subscription:
    """`key`: what UNSUBSCRIBE finds it by; `id`: as its MESSAGEs say it, None: not at all (1.0). `receipt`: is told with its first delivery, or before.
    `destination`: a header line with where it reads, for messages that do not say where they were sent.
    """

    __slots__ = (
        "browser",
        "consumer_id",
        "destination",
        "ended",
        "head",
        "id",
        "key",
        "middle",
        "mode",
        "next_delivery",
        "number",
        "queue",
        "receipt",
        "spans",
        "temporary",
        "text",
    )

    def __init__(self, number: int, key: str, subscription_id: str | None, destination: str, mode: str, version: int, ack_prefix: bytes) -> None:
        self.number = number
        self.key = key
        self.id = subscription_id
        self.mode = mode
        self.queue = ""  # that it reads
        self.text = destination
        self.browser: Any = None  # it takes nothing: see browsing.py
        self.temporary = ""  # the destination for replies that it was made for, by itself
        self.receipt = b""
        self.consumer_id = 0
        self.ended = False
        self.next_delivery = 1
        self.spans: list[Span] = []
        self.destination = headers.for_version(headers.line(b"destination", destination.encode()), version)
        said = [] if subscription_id is None else [(b"subscription", subscription_id.encode())]
        lines = b"".join(headers.line(name, value) for name, value in said)
        self.head = b"MESSAGE\n%bmessage-id:%b%d-" % (headers.for_version(lines, version), ack_prefix, number)
        self.middle = b"\nack:%d-" % number if version == headers.V12 and mode != AUTO else b""

    def delivered(self, consumer_id: int, offset: int, count: int) -> int:
        """`count` records go out unsettled: the first one's number."""
        first = self.next_delivery
        self.next_delivery = first + count
        if self.spans:
            last = self.spans[-1]
            if last.consumer_id == consumer_id and last.offset + last.count == offset and last.first + last.count == first:
                last.count += count
                return first
        self.spans.append(Span(first, count, consumer_id, offset))
        return first

    def holds(self, delivery: int) -> bool:
        """Whether it is out and not settled."""
        index = bisect_right(self.spans, delivery, key=_first) - 1
        return index >= 0 and delivery < self.spans[index].first + self.spans[index].count

    def take_through(self, high: int) -> list[Span]:
        """Take out all that is unsettled up to `high`."""
        index = bisect_right(self.spans, high, key=_first)
        taken = self.spans[:index]
        del self.spans[:index]
        if taken and taken[-1].first + taken[-1].count - 1 > high:
            last = taken[-1]
            taken[-1] = last.cut(last.first, high)
            self.spans.insert(0, last.cut(high + 1, last.first + last.count - 1))
        return taken

    def take_range(self, low: int, high: int) -> list[Span] | None:
        """Take out low..high, each of which must be unsettled; None, and nothing is taken, where one is not."""
        index = bisect_right(self.spans, low, key=_first) - 1
        taken = []
        at = low
        stop = index
        while at <= high:
            if stop < 0 or stop >= len(self.spans) or not self.spans[stop].first <= at < self.spans[stop].first + self.spans[stop].count:
                return None
            span = self.spans[stop]
            end = min(high, span.first + span.count - 1)
            taken.append(span.cut(at, end))
            at = end + 1
            stop += 1
        kept = []
        begun, ended = self.spans[index], self.spans[stop - 1]
        if begun.first < low:
            kept.append(begun.cut(begun.first, low - 1))
        if ended.first + ended.count - 1 > high:
            kept.append(ended.cut(high + 1, ended.first + ended.count - 1))
        self.spans[index:stop] = kept
        return taken

    def take_all(self) -> list[Span]:
        """Take out all that is unsettled."""
        taken, self.spans = self.spans, []
        return taken

    def put_back(self, spans: list[Span]) -> None:
        """What was taken out is unsettled again."""
        self.spans = sorted(self.spans + spans, key=_first)
