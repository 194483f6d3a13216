"""Retained messages for who has subscribed (3.3.1.3, 3.8.3.1): copied into the subscription's queue, a page at a time while few of them wait there.

They come as all else does, marked KEPT. How many wait is what was copied less what has come; what has expired meanwhile, or was dropped, does not come, so
every look of the network at the connection's time begins anew. Of a session that is kept what is left to be copied is noted beside its queue: it goes on
when its client is back.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from entrepot.broker.calls.port import DONE, UNAVAILABLE, Ask, Delivery, make_ask
from entrepot.broker.calls.retained_requests import COPIES_MAX, CopyRetained, ForgetCopy, ListCopies
from entrepot.protocols.mqtt.packing import KEPT, flags_of
from entrepot.protocols.mqtt.topics import filter_of, key_of

if TYPE_CHECKING:
    from entrepot.protocols.mqtt.state import State

STREAM = 1
WAITING_MAX = COPIES_MAX  # copies that have not come; above this no more are made


class Copy:
    """What one subscription is still to be sent: what its filter matches, `after` the last one that was copied."""

    __slots__ = ("after", "filter", "identifier", "queue")

    def __init__(self, topic_filter: bytes, queue: str, identifier: int, after: bytes = b"") -> None:
        self.filter = topic_filter
        self.queue = queue
        self.identifier = identifier
        self.after = after


class Copies:
    """Those of a session, one after the other."""

    __slots__ = ("asked", "call", "under_way", "waiting")

    def __init__(self) -> None:
        self.under_way: dict[bytes, Copy] = {}  # by filter
        self.call: Ask | None = None  # for a page of `asked`, which may not be under way any more
        self.asked: Copy | None = None
        self.waiting = 0


def begin(session: State, topic_filter: bytes, queue: str, identifier: int) -> None:
    """Somebody has subscribed who is to be sent what is retained."""
    forget(session, topic_filter)
    session.copies.under_way[topic_filter] = Copy(topic_filter, queue, identifier)
    _next(session)


def forget(session: State, topic_filter: bytes) -> None:
    """The subscription is another one, or none."""
    copy = session.copies.under_way.pop(topic_filter, None)
    if copy is not None and session.is_kept:
        session.submit(ForgetCopy(copy.queue, key_of(topic_filter).decode()))


def restore(session: State, queue: str) -> Generator[Any, Any, None]:
    """A session that was there before: what was still to be copied is so again, if its subscription is there."""
    for one in (yield ListCopies(queue)):
        topic_filter = filter_of(one.pattern.encode(errors="surrogateescape"))
        if topic_filter is not None and session.subscriptions.get(topic_filter) is not None:
            session.copies.under_way[topic_filter] = Copy(topic_filter, queue, one.identifier, one.after)
        else:
            session.submit(ForgetCopy(queue, one.pattern, one.exchange))


def _next(session: State) -> None:
    copies = session.copies
    if copies.call is None and copies.under_way and copies.waiting < WAITING_MAX:
        copy = copies.asked = next(iter(copies.under_way.values()))
        call = copies.call = make_ask(STREAM, CopyRetained(key_of(copy.filter).decode(), copy.queue, copy.identifier, copy.after, noted=session.is_kept))
        session.attachment.submit(call)


def copied(session: State, call: Ask) -> None:
    """A page is in the queue; or it will not be, for this is no longer allowed. Whoever has it may not be there now: it is asked for again after a while."""
    copies = session.copies
    copies.call = None
    if call.outcome == UNAVAILABLE:
        return
    count, after = call.result if call.outcome == DONE else (0, None)
    copies.waiting += count
    copy = copies.asked
    if copy is not None and copies.under_way.get(copy.filter) is copy:
        if after is None:
            del copies.under_way[copy.filter]
        else:
            copy.after = after
    _next(session)


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
