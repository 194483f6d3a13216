"""Transaction: what a transactional channel has published and settled since its last commit, held back until the next.

What is published is checked at once, as far as RabbitMQ checks it then: its exchange, permissions, properties. It is routed at the commit. Messages
that follow each other to one address make runs of the codec's size, whether they came in one read or one by one: what a commit costs does not depend on
that. Settled tags are out of the channel's book until a rollback puts them back. What all channels hold counts as what is unfinished of all connections
(net/unfinished.py): over that limit the transactions of the connection that has gone without a commit for longest end, with their channels. A commit
counts if what it ends is no less than what the connection's other channels still hold.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from entrepot.broker.calls.port import Publish, make_ask
from entrepot.broker.calls.requests import CheckPublish
from entrepot.net.unfinished import Share
from entrepot.protocols.amqp091 import handlers
from entrepot.protocols.amqp091.channel import Channel, Span
from entrepot.protocols.amqp091.codec import RUN_MAX_BYTES, RUN_MAX_COUNT
from entrepot.protocols.amqp091.reply_codes import AmqpError, ReplyCode

if TYPE_CHECKING:
    from entrepot.protocols.amqp091.session import Session

STAGED_MAX = 100_000  # messages, and runs of settled tags, of one transaction
RUNS_MAX = 10_000  # runs of messages, which follow each other to one address: more cannot be committed (broker/operations/together.py)
_OVERHEAD = 256  # bytes that a publish or a settlement costs besides its message
_JOINED_OVERHEAD = 48  # and one that joins the run before it
_GIVEN_BACK = "transactions of all connections hold more than limits.unfinished_bytes, and this connection's have gone without a commit for longest"


class Transaction:
    """Of one channel, between two commits. `share` counts what all of its connection hold; None: nobody counts."""

    __slots__ = ("_last_bytes", "_parts", "bytes", "checked", "count", "publishes", "settled", "share")

    def __init__(self, share: Share | None) -> None:
        self.share = share
        self.bytes = 0
        self.count = 0
        self.checked = b""  # the address that was asked about last
        self.publishes: list[Publish] = []
        self.settled: list[tuple[Span, int]] = []  # with their dispositions, in order
        self._parts: list[bytes] = []  # the data of the last publish and of those that joined it, if any did
        self._last_bytes = 0  # of the data of the last publish, with what joined it

    def joins(self, call: Publish) -> bool:
        """Whether it goes on with the run of the last publish."""
        if not self.publishes:
            return False
        last = self.publishes[-1]
        alike = last.address == call.address and last.mandatory == call.mandatory and last.scattered == call.scattered and last.flags == call.flags
        return alike and last.count + call.count <= RUN_MAX_COUNT and self._last_bytes + len(call.data) <= RUN_MAX_BYTES

    def join(self, call: Publish) -> None:
        """What `joins` says may be one with the last publish becomes so."""
        last = self.publishes[-1]
        self._parts = self._parts or [last.data]
        self._parts.append(call.data)
        self._last_bytes += len(call.data)
        last.count += call.count
        last.body_bytes += call.body_bytes

    def append(self, call: Publish) -> None:
        """A run of its own."""
        self.complete()
        self.publishes.append(call)
        self._last_bytes = len(call.data)

    def complete(self) -> None:
        """The last publish has the data of all that joined it."""
        if self._parts:
            self.publishes[-1].data = b"".join(self._parts)
            self._parts = []

    def hold(self, size: int) -> None:
        """It holds so much more. May end it, and others."""
        self.bytes += size
        if self.share is not None:
            self.share.hold(self.share.held_bytes + size)

    def end(self) -> None:
        """It holds nothing any more."""
        if self.share is not None:
            self.share.hold(self.share.held_bytes - self.bytes)
        self.bytes = 0


def begin(session: Session) -> Transaction:
    """A new transaction for a channel of the session."""
    if session.staging is None and session.unfinished is not None:
        session.staging = session.unfinished.share(partial(_give_back, session))
    return Transaction(session.staging)


def stage_publish(session: Session, channel: Channel, call: Publish) -> None:
    """A publish on a transactional channel. Raises AmqpError 406 where it is more than a transaction may hold."""
    transaction: Transaction = channel.transaction
    joins = transaction.joins(call)
    size = len(call.data) + (_JOINED_OVERHEAD if joins else _OVERHEAD)
    if transaction.publishes and transaction.bytes + size > session.settings.message_size_max:
        raise _too_much(f"{session.settings.message_size_max} bytes of messages", 40)
    _count(transaction, call.count, 40)
    if joins:
        transaction.join(call)
        transaction.hold(size)
        return
    if len(transaction.publishes) >= RUNS_MAX:
        raise _too_much(f"{RUNS_MAX} messages that do not follow another to the same address", 40)
    transaction.append(call)
    if call.address != transaction.checked:
        transaction.checked = call.address
        session.attachment.submit(make_ask(channel.stream, CheckPublish(call.address)))
        if channel.transaction is not transaction:
            return
    transaction.hold(size)


def stage_settled(channel: Channel, taken: list[Span], disposition: int, method_id: int) -> None:
    """Tags that are taken out of the channel's book. Raises AmqpError 406 where it is more than a transaction may hold."""
    transaction: Transaction = channel.transaction
    before = len(transaction.settled)
    for span in taken:
        if transaction.settled:
            last, same = transaction.settled[-1]
            follows = last.first_tag + last.count == span.first_tag and last.offset + last.count == span.offset
            if same == disposition and last.consumer_id == span.consumer_id and follows:
                last.count += span.count
                continue
        _count(transaction, 1, method_id)
        transaction.settled.append((span, disposition))
    transaction.hold((len(transaction.settled) - before) * _OVERHEAD)


def _give_back(session: Session) -> bool:
    for channel in list(session.channels.values()):
        if channel.transaction is not None and channel.transaction.bytes:
            handlers.fail_on(session, channel, AmqpError(ReplyCode.PRECONDITION_FAILED, _GIVEN_BACK))
    return False


def _count(transaction: Transaction, count: int, method_id: int) -> None:
    transaction.count += count
    if transaction.count > STAGED_MAX:
        raise _too_much(f"{STAGED_MAX} messages and acknowledgements", method_id)


def _too_much(what: str, method_id: int) -> AmqpError:
    return AmqpError(ReplyCode.PRECONDITION_FAILED, f"a transaction holds at most {what}: commit it sooner", 60, method_id)
