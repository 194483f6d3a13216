"""Transaction: what was sent and settled in it, held back until its COMMIT, which is one commit of the store.

What a SEND asks for is checked at once, as far as that can be: its destination and permissions. Runs that follow each other to one address are joined to runs
of the codec's size. What all connections hold counts as what is unfinished of all (net/unfinished.py): over that limit the connection that has gone
without a commit for longest ends.
"""

from __future__ import annotations

from entrepot.broker.calls.port import Publish
from entrepot.net.unfinished import Share
from entrepot.protocols.stomp.codec import RUN_MAX_BYTES, RUN_MAX_COUNT
from entrepot.protocols.stomp.errors import StompError
from entrepot.protocols.stomp.subscription import Span, Subscription

STAGED_MAX = 100_000  # messages, and runs of settled deliveries, of one transaction
RUNS_MAX = 10_000  # runs of messages
TRANSACTIONS_MAX = 100  # open on one connection
_OVERHEAD = 256  # bytes that a run costs besides its messages


class Transaction:
    """One, from its BEGIN to its end. `share` counts what all of its connection hold; None: nobody counts."""

    def __init__(self, share: Share | None, bytes_max: int) -> None:
        self.share = share
        self.bytes_max = bytes_max
        self.bytes = 0
        self.count = 0
        self.checked = b""  # the address that was asked about last
        self.publishes: list[Publish] = []
        self.settled: list[tuple[Subscription, Span, int]] = []  # with their dispositions, in order
        self._parts: list[bytes] = []  # the data of the last publish and of those that joined it, if any did
        self._last_bytes = 0
        self.hold(_OVERHEAD)

    def publish(self, call: Publish) -> None:
        """A run more. Raises StompError where that is too much."""
        size = len(call.data) + _OVERHEAD
        if self.publishes and self.bytes + size > self.bytes_max:
            raise _too_much(f"{self.bytes_max} octets of messages")
        self._count(call.count)
        last = self.publishes[-1] if self.publishes else None
        alike = last is not None and last.address == call.address and last.flags == call.flags and last.mandatory == call.mandatory
        if last is not None and alike and last.count + call.count <= RUN_MAX_COUNT and self._last_bytes + len(call.data) <= RUN_MAX_BYTES:
            self._parts = self._parts or [last.data]
            self._parts.append(call.data)
            self._last_bytes += len(call.data)
            last.count += call.count
            last.body_bytes += call.body_bytes
        else:
            if len(self.publishes) >= RUNS_MAX:
                raise _too_much(f"{RUNS_MAX} messages that do not follow another to the same destination")
            self.complete()
            self.publishes.append(call)
            self._last_bytes = len(call.data)
        self.hold(size)

    def settle(self, subscription: Subscription, spans: list[Span], disposition: int) -> None:
        """Deliveries that are taken out of a subscription's book. Raises StompError where that is too much."""
        for span in spans:
            if self.settled:
                whose, last, same = self.settled[-1]
                follows = last.first + last.count == span.first and last.offset + last.count == span.offset and last.consumer_id == span.consumer_id
                if whose is subscription and same == disposition and follows:
                    last.count += span.count
                    continue
            self._count(1)
            self.settled.append((subscription, span, disposition))
            self.hold(_OVERHEAD)

    def complete(self) -> None:
        """The last publish has the data of all that joined it."""
        if self._parts:
            self.publishes[-1].data = b"".join(self._parts)
            self._parts = []

    def hold(self, size: int) -> None:
        """It holds so much more. May end its connection, and others."""
        self.bytes += size
        if self.share is not None:
            self.share.hold(self.share.held_bytes + size)

    def end(self) -> None:
        """It holds nothing any more."""
        if self.share is not None:
            held, self.bytes = self.bytes, 0
            self.share.hold(self.share.held_bytes - held)
            if held >= self.share.held_bytes:  # else small ones would keep a large one from ever being the oldest
                self.share.finished()

    def _count(self, count: int) -> None:
        self.count += count
        if self.count > STAGED_MAX:
            raise _too_much(f"{STAGED_MAX} messages and acknowledgements")


def _too_much(what: str) -> StompError:
    return StompError("transaction too large", f"A transaction holds at most {what}: commit it sooner.")
