"""SEND: runs of them, to one destination or to several at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot.broker.calls.port import Publish, make_ask, make_publish
from entrepot.broker.calls.requests import CommitTogether
from entrepot.model.entry import CODEC_STOMP, HAS_EXPIRY
from entrepot.protocols.stomp import frames, rewriting
from entrepot.protocols.stomp.destinations import EXCHANGE, EXISTING, QUEUE, TEMPORARY, Destination
from entrepot.protocols.stomp.events import EXPIRES, TEMP_REPLY, Frame, SendRun
from entrepot.protocols.stomp.handshake import OPEN
from entrepot.protocols.stomp.records import ENTRY_VERSION

if TYPE_CHECKING:
    from entrepot.protocols.stomp.session import Session

HEADERS_RUN = 4  # messages at a time where each is routed by its headers, which may be long work
UNASKED = Frame("", {}, 0)  # what a SEND asks first has no RECEIPT


def on_send(session: Session, run: SendRun) -> None:
    """A run of SENDs. What has several destinations goes to all of them in one commit, or nowhere. Raises StompError."""
    destination = session.destination(run.destination)
    missing = frames.before_send(session, destination, run)
    if missing is not None:  # a queue is to be made first
        session.backlog.insert(0, run)
        session.begin(missing, UNASKED)
        return
    if destination.kind == TEMPORARY:
        destination = Destination(EXISTING, session.temporaries[run.destination.decode()], "")
    targets = destination.several or (destination,)
    if run.count > HEADERS_RUN and any(one.kind == EXCHANGE and session.attachment.by_headers(one.address) for one in targets):
        session.backlog.insert(0, run.cut(HEADERS_RUN))
    if run.flags & TEMP_REPLY:
        run.data = rewriting.with_replies(run.data, run.count, frames.reply_names(session))
    flags = 0
    if run.flags & EXPIRES:
        run.data = rewriting.with_time_to_live(run.data, run.count, session.wall_ms())
        flags = HAS_EXPIRY
    calls = [_publish(target, run, flags) for target in targets]
    if run.transaction:
        transaction = session.transaction(run.transaction)
        for call in calls:
            transaction.publish(call)
        if run.receipts and session.state == OPEN:
            session.put(run.receipts)
        return
    if len(calls) == 1:
        call = calls[0]
        call.confirm = True
        session.expect(call, run.receipts)
        session.attachment.submit(call)
        return
    together = make_ask(frames.STREAM, CommitTogether(calls, [], all_routed=True))
    session.expect(together, run.receipts)
    session.attachment.submit(together)


def _publish(target: Destination, run: SendRun, flags: int) -> Publish:
    call = make_publish(frames.STREAM, target.address, CODEC_STOMP, ENTRY_VERSION, flags, run.data, run.count, run.body_bytes)
    call.mandatory = target.kind in (QUEUE, EXISTING)
    return call
