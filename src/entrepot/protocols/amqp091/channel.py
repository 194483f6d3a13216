"""Channel: what one AMQP channel remembers: its consumers, the deliveries not yet settled, the publishes not yet confirmed.

Deliveries are spans: neighbouring delivery tags with neighbouring offsets of one consumer are one object, however many.
"""

from __future__ import annotations

from typing import Any

from entrepot.broker.calls.port import PENDING, Publish

_TIDY_AT = 64  # settled entries at the front of a list before it is cut


class Span:
    """Delivery tags first_tag .. first_tag + count - 1 are offsets offset .. of one consumer."""

    __slots__ = ("consumer_id", "count", "first_tag", "offset")

    first_tag: int
    count: int
    consumer_id: int
    offset: int


def make_span(first_tag: int, count: int, consumer_id: int, offset: int) -> Span:
    """A Span."""
    span = Span.__new__(Span)
    span.first_tag = first_tag
    span.count = count
    span.consumer_id = consumer_id
    span.offset = offset
    return span


def _first_tag(span: Span) -> int:
    return span.first_tag


class Channel:
    """One channel. `stream` numbers it for the port: unlike `number` it is never used again.

    `waiting` is the call whose answer the client waits for; what arrives meanwhile is in `deferred`. `closing`: somebody has
    closed it. Nothing more is sent on it; where it was us, everything but the answer to our channel.close is ignored.
    """

    __slots__ = (
        "closing",
        "confirmed_head",
        "confirmed_tag",
        "confirming",
        "consumers",
        "deferred",
        "head",
        "last_queue",
        "limited",
        "next_consumer",
        "next_tag",
        "number",
        "prefetch",
        "reply_consumer",
        "reply_queue",
        "spans",
        "stream",
        "transaction",
        "unconfirmed",
        "waiting",
    )

    def __init__(self, number: int, stream: int) -> None:
        self.number = number
        self.stream = stream
        self.closing = False
        self.waiting: Any = None
        self.deferred: list[Any] = []
        self.last_queue = ""
        self.consumers: dict[str, Any] = {}  # consumer tag -> the session's Subscriber
        self.next_consumer = 1
        self.prefetch = 0  # for consumers to come
        self.limited = False  # they have a limit together, too
        self.reply_consumer: Any = None  # the Subscriber that takes direct replies
        self.reply_queue = b""  # its queue's name as a short string; empty: none
        self.next_tag = 1
        self.spans: list[Span] = []  # ascending by tag, from `head`
        self.head = 0
        self.transaction: Any = None  # a staging.Transaction, once the channel is transactional
        self.confirming = False
        self.unconfirmed: list[Publish] = []  # in order of publishing, from `confirmed_head`
        self.confirmed_head = 0
        self.confirmed_tag = 0  # every publish up to this one is answered

    @property
    def may_leave(self) -> bool:
        """Whether nothing of it is bound to this process."""
        bound = self.consumers or self.reply_consumer is not None or self.transaction is not None or self.limited or self.closing
        return not bound and self.head == len(self.spans)

    @property
    def is_bare(self) -> bool:
        """Whether nothing is begun on it besides, and all that was published is answered."""
        return self.may_leave and not self.deferred and self.confirmed_head == len(self.unconfirmed)

    # ---- deliveries

    def delivered(self, consumer_id: int, offset: int, count: int) -> int:
        """`count` records go out unsettled: the first one's delivery tag."""
        tag = self.next_tag
        self.next_tag += count
        if self.head < len(self.spans):
            last = self.spans[len(self.spans) - 1]
            if last.consumer_id == consumer_id and last.offset + last.count == offset and last.first_tag + last.count == tag:
                last.count += count
                return tag
        self.spans.append(make_span(tag, count, consumer_id, offset))
        return tag

    def find(self, tag: int) -> int:
        """Index of the span that holds `tag`; the number of spans if none does."""
        low = self.head
        high = len(self.spans)
        while low < high:
            middle = (low + high) // 2
            span = self.spans[middle]
            if span.first_tag + span.count <= tag:
                low = middle + 1
            else:
                high = middle
        if low < len(self.spans):
            span = self.spans[low]
            if span.first_tag <= tag:
                return low
        return len(self.spans)

    def settle_range(self, low: int, high: int) -> list[Span]:
        """Take out tags low..high, each of which must be unsettled; where one is not, the last span has count 0 and that tag."""
        taken: list[Span] = []
        while low <= high:
            index = self.find(low)
            if index == len(self.spans):
                taken.append(make_span(low, 0, 0, 0))
                return taken
            span = self.spans[index]
            count = min(high, span.first_tag + span.count - 1) - low + 1
            taken.append(make_span(low, count, span.consumer_id, span.offset + (low - span.first_tag)))
            before = low - span.first_tag
            after = span.first_tag + span.count - low - count
            if before == 0 and after == 0:
                if index == self.head:
                    self.head += 1
                    self.tidy()
                else:
                    del self.spans[index]
            elif before == 0:
                span.first_tag += count
                span.offset += count
                span.count = after
            else:
                span.count = before
                if after:
                    self.spans.insert(index + 1, make_span(low + count, after, span.consumer_id, span.offset + before + count))
            low += count
        return taken

    def settle_through(self, high: int) -> list[Span]:
        """Take out everything unsettled up to tag `high` (0: everything)."""
        taken: list[Span] = []
        while self.head < len(self.spans):
            span = self.spans[self.head]
            if high and span.first_tag > high:
                break
            if high == 0 or span.first_tag + span.count - 1 <= high:
                taken.append(span)
                self.head += 1
                continue
            count = high - span.first_tag + 1
            taken.append(make_span(span.first_tag, count, span.consumer_id, span.offset))
            span.first_tag += count
            span.offset += count
            span.count -= count
            break
        self.tidy()
        return taken

    def settle_before(self, tag: int) -> list[Span]:
        """Take out everything unsettled below `tag`."""
        return self.settle_through(tag - 1) if tag > 1 else []

    def put_back(self, taken: list[Span]) -> None:
        """What settle_range() and settle_through() took out is unsettled again."""
        self.spans = sorted(self.spans[self.head :] + taken, key=_first_tag)
        self.head = 0

    def tidy(self) -> None:
        """Cut off spans at the front that are settled, now and then."""
        if self.head == len(self.spans):
            self.spans.clear()
            self.head = 0
        elif self.head >= _TIDY_AT and self.head * 2 >= len(self.spans):
            del self.spans[: self.head]
            self.head = 0

    # ---- publisher confirms

    def maybe_completed(self) -> Publish | None:
        """The next publish in order, if it has completed: it leaves the list."""
        if self.confirmed_head == len(self.unconfirmed):
            return None
        call = self.unconfirmed[self.confirmed_head]
        if call.outcome == PENDING:
            return None
        self.confirmed_head += 1
        if self.confirmed_head == len(self.unconfirmed):
            self.unconfirmed.clear()
            self.confirmed_head = 0
        elif self.confirmed_head >= _TIDY_AT and self.confirmed_head * 2 >= len(self.unconfirmed):
            del self.unconfirmed[: self.confirmed_head]
            self.confirmed_head = 0
        return call
