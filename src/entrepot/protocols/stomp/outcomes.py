"""What a client is told of a call that is not done."""

from __future__ import annotations

from entrepot.broker.calls.port import UNAVAILABLE, Call
from entrepot.model.errors import NotDone, Reason, Refused, Unavailable
from entrepot.model.names import without_vhosts
from entrepot.protocols.stomp.errors import StompError

TEXTS = dict.fromkeys(Reason, "precondition failed") | {
    Reason.NOT_FOUND: "not found",
    Reason.NOT_PERMITTED: "access refused",
    Reason.LOCKED: "in use",
    Reason.IN_USE: "in use",
    Reason.NOT_SUPPORTED: "not supported",
    Reason.LIMIT: "limit reached",
    Reason.FULL: "full",
    Reason.TOO_LARGE: "message too large",
    Reason.UNAUTHENTICATED: "access refused",
}


def as_stomp(error: NotDone) -> StompError:
    """By what was raised."""
    text = without_vhosts(str(error))
    if isinstance(error, Refused):
        return StompError(TEXTS[error.reason], text)
    if isinstance(error, Unavailable):
        return StompError("unavailable", f"{text}; nothing was changed, try again")
    return StompError("outcome unknown", f"the outcome is not known: {text}")


def of_call(call: Call) -> StompError:
    """By the call."""
    if call.error is not None:
        return as_stomp(call.error)
    return StompError("unavailable" if call.outcome == UNAVAILABLE else "outcome unknown")
