"""What a client is told of a call that is not done."""

from __future__ import annotations

from typing import Any

from entrepot.broker.calls.port import DONE, UNAVAILABLE, Call, Publish
from entrepot.model.errors import NotDone, Reason, Refused, Unavailable
from entrepot.model.names import without_vhosts
from entrepot.protocols.stomp.errors import StompError
from entrepot.protocols.stomp.events import AckRange, Frame, SendRun, receipt_of
from entrepot.protocols.stomp.headers import encode

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


def of_publish(call: Publish, receipts: bytes) -> tuple[StompError, bytes]:
    """By a run of SENDs, all or some of which were not done: the ERROR, about the first of those, and the RECEIPTs of the others."""
    failed: set[int] = set()
    if call.outcome != DONE:
        error = of_call(call)
        failed.update(range(call.count))
    elif call.mandatory and (call.unroutable or call.returned):
        error = StompError("not found", f"There is no queue '{call.address[2 + call.address[0] :].decode(errors='replace')}'.")
        failed.update(range(call.count) if call.unroutable else call.returned or ())
    elif call.error is not None:
        error = StompError("outcome unknown", f"It is at some of its targets only: {without_vhosts(str(call.error))}")
        failed.update(call.nacked or ())
    else:
        error = StompError("full", "A queue has no room for the message, and is declared to refuse it then.")
        failed.update(call.nacked or ())
    each = receipts.split(b"\0")[:-1]
    if len(each) != call.count:
        error.receipt = receipt_of(receipts)
        return error, b""
    error.receipt = receipt_of(each[min(failed)])
    return error, b"".join(one + b"\0" for index, one in enumerate(each) if index not in failed)


def receipt_in(event: Any, version: int) -> bytes:
    """The receipt that an event asks for, the first of them, as it is written on its connection."""
    if isinstance(event, Frame):
        text = event.headers.get("receipt", "")
        return encode("", [("", text)], version)[2:-3] if text else b""
    return receipt_of(event.receipts) if isinstance(event, SendRun | AckRange) else b""
