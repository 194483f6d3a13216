"""What the operator is told of an SQS connection, and of whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from entrepot.model.names import without_vhosts
from entrepot.net.session import peer_text
from entrepot.protocols.sqs.errors import SqsError
from entrepot.protocols.sqs.sigv4 import maybe_key_id

if TYPE_CHECKING:
    from entrepot.protocols.sqs.exchange import Exchange


def note_closed(session: Any, why: str, first: bytes = b"") -> None:
    """The connection is closed."""
    session.journal(f"{who(session)}: connection closed: {without_vhosts(why)}", first)


def note_refused(session: Any, exchange: Exchange, error: SqsError) -> None:
    """The signature of a request is not taken, or it has none and needs one."""
    action = "a request" if exchange.action is None else exchange.action.name
    why = error.text.partition("\n")[0]
    session.journal(f"{peer_text(session.peer, access_key=maybe_key_id(exchange.request))}: {action} refused: {why}")


def note_bug(session: Any, exchange: Exchange, error: Exception) -> None:
    """A request has failed by our own fault."""
    action = "a request" if exchange.action is None else exchange.action.name
    session.journal(f"{who(session)}: {action} failed by a bug: {error!r}")


def who(session: Any) -> str:
    """The connection, as the log names it: address, and user and namespace of who spoke last on it."""
    caller = session.last_caller
    if caller is None:
        return peer_text(session.peer)
    return peer_text(session.peer, user=caller.principal.name, namespace=caller.namespace)
