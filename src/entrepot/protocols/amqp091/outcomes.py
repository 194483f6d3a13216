"""What a client is told of a call that is not done."""

from __future__ import annotations

from entrepot.broker.calls.port import UNAVAILABLE, Call
from entrepot.model.errors import Reason, Refused
from entrepot.protocols.amqp091.reply_codes import AmqpError, ReplyCode

REASONS = dict.fromkeys(Reason, ReplyCode.PRECONDITION_FAILED) | {  # what only other protocols' clients can ask for is refused with the general one
    Reason.NOT_FOUND: ReplyCode.NOT_FOUND,
    Reason.NOT_PERMITTED: ReplyCode.ACCESS_REFUSED,
    Reason.LOCKED: ReplyCode.RESOURCE_LOCKED,
    Reason.NOT_SUPPORTED: ReplyCode.NOT_IMPLEMENTED,
    Reason.UNAUTHENTICATED: ReplyCode.ACCESS_REFUSED,
}


def as_amqp(call: Call, class_id: int, method_id: int) -> AmqpError:
    """What the client is told of a call that is not done, of which the channel alone knows. It ends no connection unless a refusal says so.

    What cannot be done now, and certainly was not, is 405: the code that clients know as worth another try. RabbitMQ says 404 of a queue whose
    node is down, which clients take for a queue that is not there.
    """
    error = call.error
    if isinstance(error, Refused):
        code = REASONS[error.reason]
        if error.reason is Reason.NOT_SUPPORTED and class_id == 40:
            code = ReplyCode.COMMAND_INVALID
        return AmqpError(code, str(error), class_id, method_id)
    if call.outcome == UNAVAILABLE:
        return AmqpError(ReplyCode.RESOURCE_LOCKED, f"{error}; nothing was changed, try again", class_id, method_id)
    return AmqpError(ReplyCode.INTERNAL_ERROR, f"the outcome is not known: {error}", class_id, method_id, channel_only=True)


def closes_channel(error: BaseException | None) -> bool:
    """Whether a refused publish is the publisher's error, rather than something to be told by basic.nack."""
    return isinstance(error, Refused) and error.reason not in (Reason.LIMIT, Reason.FULL)
