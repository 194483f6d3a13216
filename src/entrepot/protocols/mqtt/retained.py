"""Retained messages for who has subscribed (3.3.1.3, 3.8.3.1): copied into the subscription's queue, a page at a time while few of them wait there.

They come as all else does, marked KEPT. How many wait is what was copied less what has come; what has expired meanwhile, or was dropped, does not come, so
every look of the network at the connection's time begins anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot.broker.calls.port import DONE, Ask, Delivery, make_ask
from entrepot.broker.calls.retained_requests import COPIES_MAX, CopyRetained
from entrepot.protocols.mqtt.packing import KEPT, flags_of
from entrepot.protocols.mqtt.topics import key_of

if TYPE_CHECKING:
    from entrepot.protocols.mqtt.state import State

STREAM = 1
WAITING_MAX = COPIES_MAX  # copies that have not come; above this no more are made


class Copy:
    """What one subscription is still to be sent: what its filter matches, `after` the last one that was copied."""

    __slots__ = ("after", "filter", "identifier", "queue")

    def __init__(self, topic_filter: bytes, queue: str, identifier: int) -> None:
        self.filter = topic_filter
        self.queue = queue
        self.identifier = identifier
        self.after = b""


class Copies:
    """Those of a session, one after the other."""

    __slots__ = ("call", "under_way", "waiting")

    def __init__(self) -> None:
        self.under_way: list[Copy] = []
        self.call: Ask | None = None  # of the first
        self.waiting = 0


def begin(session: State, topic_filter: bytes, queue: str, identifier: int) -> None:
    """Somebody has subscribed who is to be sent what is retained."""
    forget(session, topic_filter)
    session.copies.under_way.append(Copy(topic_filter, queue, identifier))
    _next(session)


def forget(session: State, topic_filter: bytes) -> None:
    """The subscription is another one, or none."""
    copies = session.copies
    copies.under_way = [copy for copy in copies.under_way if copy.filter != topic_filter]


def _next(session: State) -> None:
    copies = session.copies
    if copies.call is None and copies.under_way and copies.waiting < WAITING_MAX:
        copy = copies.under_way[0]
        call = copies.call = make_ask(STREAM, CopyRetained(key_of(copy.filter).decode(), copy.queue, copy.identifier, copy.after))
        session.attachment.submit(call)


def copied(session: State, call: Ask) -> None:
    """A page is in the queue; or it will not be, for this is no longer allowed, or not now."""
    copies = session.copies
    copies.call = None
    count, after = call.result if call.outcome == DONE else (0, None)
    copies.waiting += count
    copy = copies.under_way[0] if copies.under_way else None
    if copy is not None and (copy.filter, copy.after) == (_filter_of(call), call.request.after):
        if after is None:
            copies.under_way.pop(0)
        else:
            copy.after = after
    _next(session)


def _filter_of(call: Ask) -> bytes:
    pattern: str = call.request.pattern
    return key_of(pattern.encode())


def came(session: State, delivery: Delivery) -> None:
    """Something is delivered while there is more to be copied."""
    if flags_of(delivery.data, delivery.position) & KEPT:
        session.copies.waiting -= delivery.count
        if session.copies.call is None:
            _next(session)


def look(session: State) -> None:
    """Time has passed: what has not come by now will not."""
    if session.copies.under_way and not session.overfull and not session.held:
        session.copies.waiting = 0
        _next(session)
