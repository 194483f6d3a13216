"""Browsers: subscriptions that look at what is ready in a queue, and take nothing. The last MESSAGE of one says `browser:end`, as ActiveMQ's does.

What was ready when it began is sent, page by page: the next one is asked for when all of the last is with the network. One browser of a connection is at work
at a time, so that a connection holds one page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from entrepot.broker.calls.port import DONE, Ask, make_ask
from entrepot.broker.calls.requests import Browse
from entrepot.protocols.stomp import outcomes
from entrepot.protocols.stomp.errors import StompError
from entrepot.protocols.stomp.handshake import OPEN
from entrepot.protocols.stomp.headers import encode
from entrepot.protocols.stomp.subscription import Subscription

if TYPE_CHECKING:
    from entrepot.protocols.stomp.session import Session, Steps

BROWSERS_MAX = 1000  # of one connection, until they are unsubscribed
PAGE_RECORDS = 500
STREAM = 1


class Browser:
    """Of one subscription. `place`: where the next page begins, -1: nowhere; `left`: how many messages are to be sent yet; `page`: what is to be sent next."""

    __slots__ = ("call", "left", "page", "place")

    def __init__(self, page: Any) -> None:
        self.page, self.place, self.left = page
        self.call: Ask | None = None  # that reads the next one


def check(session: Session) -> None:
    """Whether one more may be. Raises StompError."""
    if sum(subscription.browser is not None for subscription in session.subscriptions.values()) >= BROWSERS_MAX:
        raise StompError("too many browsers", f"A connection has at most {BROWSERS_MAX}: UNSUBSCRIBE those that have ended.")


def begin(session: Session, subscription: Subscription) -> Steps:
    """See that the queue may be browsed, and read its first page; behind others only where that begins."""
    subscription.browser = Browser((yield Browse(subscription.queue, -1, 0 if session.browsers else PAGE_RECORDS)))


def start(session: Session, subscription: Subscription) -> None:
    """Send what there is, as others before it end."""
    session.browsers.append(subscription)
    go_on(session)


def go_on(session: Session) -> None:
    """What was sent before has gone out: send, or ask for, what is next."""
    while session.browsers and session.browse_call is None and session.state == OPEN and session.attachment.writable:
        subscription = session.browsers[0]
        browser = subscription.browser
        if browser.page:
            page, browser.page = browser.page, []
            _send(session, subscription, page)
            return
        if browser.place < 0 or browser.left <= 0:
            del session.browsers[0]
            _say_end(session, subscription)
        else:
            call = session.browse_call = browser.call = make_ask(STREAM, Browse(subscription.queue, browser.place, min(browser.left, PAGE_RECORDS)))
            session.attachment.submit(call)


def answered(session: Session) -> None:
    """The page that was asked for is here. Raises StompError."""
    call, session.browse_call = session.browse_call, None
    assert call is not None
    for subscription in session.browsers[:1]:
        browser = subscription.browser
        if browser.call is call:  # else it is unsubscribed
            browser.call = None
            if call.outcome != DONE:
                raise outcomes.of_call(call)
            browser.page, browser.place, _ = call.result
    go_on(session)


def end(session: Session, subscription: Subscription) -> None:
    """It is unsubscribed."""
    if subscription in session.browsers:
        session.browsers.remove(subscription)


def _send(session: Session, subscription: Subscription, page: list[tuple[int, int, int, bytes]]) -> None:
    for _, deliveries, count, data in page:
        more = b"\nredelivered:true\n" if deliveries else b"\n"
        first = subscription.next_delivery
        subscription.next_delivery += count
        session.output.deliver(data, 0, count, subscription.head, b"", more, subscription.destination, first, session.version, -1)
        subscription.browser.left -= count
    session.wake()


def _say_end(session: Session, subscription: Subscription) -> None:
    said = [] if subscription.id is None else [("subscription", subscription.id)]
    number = f"{session.decoder.ack_prefix.decode()}{subscription.number}-{subscription.next_delivery}"
    said += [("message-id", number), ("destination", subscription.text), ("browser", "end"), ("content-length", "0")]
    subscription.next_delivery += 1
    session.put(encode("MESSAGE", said, session.version))
