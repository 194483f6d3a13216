"""The class tx: select, commit, rollback. staging.py holds what is staged.

A commit is one call, and one commit of the store: answered when it is durable, refused as a whole where any part of it is.
"""

from __future__ import annotations

from typing import Any

from entrepot.broker.calls.port import make_settle
from entrepot.broker.calls.requests import CommitTogether
from entrepot.protocols.amqp091 import staging
from entrepot.protocols.amqp091.channel import Channel
from entrepot.protocols.amqp091.handlers import Handler, ask, send
from entrepot.protocols.amqp091.methods import MethodFrame
from entrepot.protocols.amqp091.reply_codes import AmqpError, ReplyCode
from entrepot.protocols.amqp091.staging import Transaction


def _select(session: Any, channel: Channel, frame: MethodFrame) -> None:
    if channel.confirming:
        raise AmqpError(ReplyCode.PRECONDITION_FAILED, "cannot switch from confirm to tx mode", 90, 10)
    if channel.transaction is None:
        channel.transaction = staging.begin(session)
    send(session, channel.number, "tx.select_ok")


def _commit(session: Any, channel: Channel, frame: MethodFrame) -> None:
    ended = _ended(session, channel, frame)
    settlements = [make_settle(channel.stream, span.consumer_id, span.offset, span.count, disposition) for span, disposition in ended.settled]
    ask(session, channel, frame, CommitTogether(ended.publishes, settlements), _committed)


def _committed(session: Any, channel: Channel, result: Any) -> None:
    send(session, channel.number, "tx.commit_ok")


def _rollback(session: Any, channel: Channel, frame: MethodFrame) -> None:
    """What was published is forgotten; what was settled is unsettled again, and is not delivered again by itself."""
    ended = _ended(session, channel, frame)
    channel.put_back([span for span, _ in ended.settled])
    send(session, channel.number, "tx.rollback_ok")


def _ended(session: Any, channel: Channel, frame: MethodFrame) -> Transaction:
    """The channel's transaction, another one in its place. Raises AmqpError 406."""
    ended: Transaction | None = channel.transaction
    if ended is None:
        raise AmqpError(ReplyCode.PRECONDITION_FAILED, "channel is not transactional", 90, frame.method.method_id)
    channel.transaction = staging.begin(session)
    ended.complete()
    held = ended.bytes
    ended.end()
    if ended.share is not None and held >= ended.share.held_bytes:  # else small ones would keep a large one from ever being the oldest
        ended.share.finished()
    return ended


HANDLERS: dict[str, Handler] = {"tx.select": _select, "tx.commit": _commit, "tx.rollback": _rollback}
